//! Reads and writes dates in RFC 3339. Without an offset, a date is in UTC.

use crate::argument::invalid;
use crate::prelude::*;
use crate::types::Error;

/// The first second of the year 0 and the last second of the year 9999, counted from 1970: the range of
/// RFC 3339.
const FIRST: i64 = -62_167_219_200;
const LAST: i64 = 253_402_300_799;

const DAY: i64 = 24 * 60 * 60;

/// The names of the months in HTTP dates.
const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// A moment that RFC 3339 can write in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    /// Whole seconds since 1970.
    seconds: i64,
    nanoseconds: u32,
}

impl Moment {
    /// Returns the moment this long after the beginning of 1970 in UTC.
    pub(crate) fn from_unix(seconds: u64, nanoseconds: u32) -> Option<Self> {
        let seconds = i64::try_from(seconds).ok()?;
        (seconds <= LAST && nanoseconds < 1_000_000_000).then_some(Self { seconds, nanoseconds })
    }

    /// Parses a date and time. Without an offset, it is in UTC.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        let day = day_of(text.get(..10)?)?;
        let (time, tail) = text.get(10..)?.split_at_checked(9)?;
        let [b'T' | b't' | b' ', h, i, b':', m, n, b':', s, t] = *time else { return None };
        let number = |digits: [u8; 2], limit| number(&digits).filter(|number| *number < limit);
        let time = number([h, i], 24)? * 3600 + number([m, n], 60)? * 60 + number([s, t], 60)?;
        let (nanoseconds, offset) = split_fraction(tail)?;
        let offset = match *offset {
            [] | [b'Z' | b'z'] => 0,
            [sign @ (b'+' | b'-'), h, i, b':', m, n] => {
                let offset = number([h, i], 24)? * 3600 + number([m, n], 60)? * 60;
                if sign == b'-' { -offset } else { offset }
            }
            _ => return None,
        };
        let seconds = day * DAY + time - offset;
        (FIRST..=LAST).contains(&seconds).then_some(Self { seconds, nanoseconds })
    }

    /// Parses an HTTP date: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub(crate) fn parse_http(text: &[u8]) -> Option<Self> {
        let [_, _, _, b',', b' ', date @ .., b' ', b'G', b'M', b'T'] = text else { return None };
        let [d, t, b' ', m, o, n, b' ', y, e, a, r, b' ', h, i, b':', k, l, b':', s, c] = *date
        else {
            return None;
        };
        let month = MONTHS.chunks(3).position(|name| name == [m, o, n])? + 1;
        let (tens, ones) = (b'0' + (month / 10) as u8, b'0' + (month % 10) as u8);
        let day = day_of(&[y, e, a, r, b'-', tens, ones, b'-', d, t])?;
        let number = |digits: [u8; 2], limit| number(&digits).filter(|number| *number < limit);
        let time = number([h, i], 24)? * 3600 + number([k, l], 60)? * 60 + number([s, c], 60)?;
        Some(Self { seconds: day * DAY + time, nanoseconds: 0 })
    }

    /// Formats the moment in UTC, with as many fractional digits as it needs.
    pub(crate) fn format(self) -> String {
        let (year, month, day) = civil(self.seconds.div_euclid(DAY));
        let time = self.seconds.rem_euclid(DAY);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        if self.nanoseconds > 0 {
            let fraction = format!(".{:09}", self.nanoseconds);
            text.push_str(fraction.trim_end_matches('0'));
        }
        text.push('Z');
        text
    }

    /// Returns the moment this many seconds later, rounded down to a whole second.
    #[cfg(feature = "write")]
    pub(crate) fn whole_seconds_later(self, seconds: i64) -> Option<Self> {
        let seconds = self.seconds.checked_add(seconds)?;
        (FIRST..=LAST).contains(&seconds).then_some(Self { seconds, nanoseconds: 0 })
    }

    /// Returns the whole seconds until a later moment; 0 if it is earlier.
    pub(crate) fn seconds_until(self, end: Self) -> u64 {
        let is_partial = i64::from(end.nanoseconds < self.nanoseconds);
        u64::try_from(end.seconds - self.seconds - is_partial).unwrap_or(0)
    }
}

/// Parses an argument that is a date and time.
#[cfg(feature = "write")]
pub(crate) fn argument(name: &str, text: &str) -> Result<Moment, Error> {
    Moment::parse(text).ok_or_else(|| {
        invalid(name, "is not a date and time in RFC 3339, such as 2099-03-02T10:00:00Z")
    })
}

/// The end of the day that a date without a time means.
#[derive(Clone, Copy)]
pub(crate) enum DayEdge {
    First,
    Last,
}

/// Parses an argument that is a date and time, or a date alone.
pub(crate) fn day_argument(name: &str, text: &str, edge: DayEdge) -> Result<Moment, Error> {
    let moment = match day_of(text.as_bytes()) {
        Some(day) => Some(match edge {
            DayEdge::First => Moment { seconds: day * DAY, nanoseconds: 0 },
            DayEdge::Last => Moment { seconds: day * DAY + DAY - 1, nanoseconds: 999_999_999 },
        }),
        None => Moment::parse(text),
    };
    moment.ok_or_else(|| {
        invalid(
            name,
            "is neither a date such as 2026-03-31 nor a date and time in RFC 3339 such as \
             2026-03-31T10:00:00Z",
        )
    })
}

/// Returns the number of a day such as `2026-03-31`, counted from 1970.
fn day_of(text: &[u8]) -> Option<i64> {
    let [y, e, a, r, b'-', m, n, b'-', d, t] = *text else { return None };
    let (year, month, day) = (number(&[y, e, a, r])?, number(&[m, n])?, number(&[d, t])?);
    if !(1..=12).contains(&month) || day < 1 {
        return None;
    }
    // Years begin in March here, so that the leap day comes last.
    let shifted = year - i64::from(month <= 2);
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let number = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    // An invalid day of the month becomes a different day when it is converted back.
    (civil(number) == (year, month, day)).then_some(number)
}

/// Returns the year, month and day of a day's number.
fn civil(number: i64) -> (i64, i64, i64) {
    let number = number + 719_468;
    let (era, of_era) = (number.div_euclid(146_097), number.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// Returns the nanoseconds of a fraction such as `.25`, if there is one, and the rest of the string.
/// Digits after the ninth are dropped.
fn split_fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at_checked(length)?;
    if digits.is_empty() {
        return None;
    }
    let digits = digits.iter().chain([b'0'; 9].iter()).take(9);
    let nanoseconds = digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some((nanoseconds, rest))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::{DayEdge, FIRST, LAST, Moment, day_argument};

    fn moment(text: &str) -> Moment {
        Moment::parse(text).unwrap()
    }

    #[test]
    fn moments_are_normalized_to_utc() {
        for (text, expected) in [
            ("2026-03-02T09:00:10Z", "2026-03-02T09:00:10Z"),
            ("2026-03-02T09:00:10", "2026-03-02T09:00:10Z"),
            ("2026-03-02t09:00:10z", "2026-03-02T09:00:10Z"),
            ("2026-03-02 09:00:10Z", "2026-03-02T09:00:10Z"),
            ("2026-03-02T09:00:10.250", "2026-03-02T09:00:10.25Z"),
            ("2026-03-02T09:00:10.000Z", "2026-03-02T09:00:10Z"),
            ("2026-03-02T09:00:10.1234567899Z", "2026-03-02T09:00:10.123456789Z"),
            ("2026-03-02T09:00:10-05:00", "2026-03-02T14:00:10Z"),
            ("2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00Z"),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ] {
            assert_eq!(moment(text).format(), expected, "{text}");
        }
    }

    #[test]
    fn dates_of_http_are_read() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some("1994-11-06T08:49:37Z")),
            ("Sat, 29 Feb 2020 00:00:00 GMT", Some("2020-02-29T00:00:00Z")),
            ("Mon, 29 Feb 2021 00:00:00 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 nov 1994 08:49:37 GMT", None),
            ("Sun, 6 Nov 1994 08:49:37 GMT", None),
            ("1994-11-06T08:49:37Z", None),
            ("", None),
        ] {
            let read = Moment::parse_http(text.as_bytes()).map(Moment::format);
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn malformed_dates_are_refused() {
        for text in [
            "",
            "now",
            "2026-03-02",
            "2026-03-02T09:00Z",
            "2026-03-02T09:00:10 Z",
            "2026-03-02T09:00:10Z ",
            "2026-02-29T09:00:10Z",
            "2026-00-02T09:00:10Z",
            "2026-13-02T09:00:10Z",
            "2026-03-00T09:00:10Z",
            "2026-03-02T24:00:10Z",
            "2026-03-02T09:60:10Z",
            "2026-03-02T09:00:60Z",
            "2026-03-02T09:00:10.Z",
            "2026-03-02T09:00:10+24:00",
            "2026-03-02T09:00:10+0100",
            "2026-03-02T09:00:+1Z",
            "+026-03-02T09:00:10Z",
            "9999-12-31T23:59:59-01:00",
            "0000-01-01T00:00:00+01:00",
            "2026-03-02T09:00:1\u{e9}Z",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_day_means_its_first_or_last_moment() {
        let written = |text, edge| day_argument("to_date", text, edge).unwrap().format();
        assert_eq!(written("2026-03-31", DayEdge::First), "2026-03-31T00:00:00Z");
        assert_eq!(written("2026-03-31", DayEdge::Last), "2026-03-31T23:59:59.999999999Z");
        assert_eq!(written("2026-03-31T10:00:00", DayEdge::Last), "2026-03-31T10:00:00Z");
        for text in ["2026-02-29", "2026-3-31", "26-03-31", "+026-03-31", "2026-03-31 "] {
            assert!(day_argument("to_date", text, DayEdge::First).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_whole_seconds_and_never_negative() {
        let start = moment("2026-03-02T09:00:00.900Z");
        assert_eq!(start.seconds_until(moment("2026-03-02T09:00:02.800Z")), 1);
        assert_eq!(start.seconds_until(moment("2026-03-02T09:00:02.900Z")), 2);
        assert_eq!(start.seconds_until(start), 0);
        assert_eq!(start.seconds_until(moment("2026-03-02T08:00:00Z")), 0);
    }

    #[test]
    fn unix_time_ends_with_the_year_9999() {
        assert_eq!(Moment::from_unix(0, 0), Some(moment("1970-01-01T00:00:00Z")));
        let last = u64::try_from(LAST).unwrap();
        assert_eq!(Moment::from_unix(last, 0), Some(moment("9999-12-31T23:59:59Z")));
        assert_eq!(Moment::from_unix(last + 1, 0), None);
        assert_eq!(Moment::from_unix(u64::MAX, 0), None);
        assert_eq!(Moment::from_unix(0, 1_000_000_000), None);
    }

    proptest! {
        #[test]
        fn every_moment_matches_the_time_crate(
            seconds in FIRST..=LAST,
            nanoseconds in prop_oneof![Just(0), 0_u32..1_000_000_000],
        ) {
            let known = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            let text = known.replace_nanosecond(nanoseconds).unwrap().format(&Rfc3339).unwrap();
            let moment = Moment { seconds, nanoseconds };
            prop_assert_eq!(moment.format(), text.clone());
            prop_assert_eq!(Moment::parse(&text), Some(moment));
        }

        #[test]
        fn parsing_matches_the_time_crate(
            text in "[0-2][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-5][0-9])",
        ) {
            let known = OffsetDateTime::parse(&text, &Rfc3339).ok();
            let known = known.and_then(|moment| moment.checked_to_offset(time::UtcOffset::UTC));
            let known = known.and_then(|moment| moment.format(&Rfc3339).ok());
            prop_assert_eq!(Moment::parse(&text).map(Moment::format), known);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", digits in "[0-9TZ:.+-]{0,40}") {
            for text in [text, digits] {
                let _ = Moment::parse(&text).map(Moment::format);
                let _ = day_argument("from_date", &text, DayEdge::Last);
            }
        }
    }
}
