//! Points in time, in RFC 3339.

use crate::prelude::*;

/// A point in time, in UTC, in the years 0 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// The seconds of Unix time.
    seconds: i64,
    /// The nanoseconds after them.
    nanoseconds: u32,
}

/// The first second of the year 0, and the last of the year 9999: RFC 3339 can write only these years.
const SECONDS: core::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

/// The seconds of a day.
const DAY: i64 = 86_400;

/// The nanoseconds of a second.
const SECOND: u32 = 1_000_000_000;

impl Timestamp {
    fn new(seconds: i64, nanoseconds: u32) -> Option<Self> {
        SECONDS.contains(&seconds).then_some(Self { seconds, nanoseconds })
    }

    /// Reads a time in RFC 3339, with an offset.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = Digits(text.as_bytes());
        let year = rest.number(4)?;
        rest.one_of(b"-")?;
        let month = rest.number(2)?;
        rest.one_of(b"-")?;
        let day = rest.number(2)?;
        rest.one_of(b"Tt ")?;
        let hour = rest.number(2)?;
        rest.one_of(b":")?;
        let minute = rest.number(2)?;
        rest.one_of(b":")?;
        let second = rest.number(2)?;
        let mut nanoseconds = if rest.one_of(b".").is_some() { rest.fraction()? } else { 0 };
        let offset = match rest.one_of(b"Zz+-")? {
            sign @ (b'+' | b'-') => {
                let hours = rest.number(2)?;
                rest.one_of(b":")?;
                let minutes = rest.number(2)?;
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let offset = hours * 3600 + minutes * 60;
                if sign == b'-' { -offset } else { offset }
            }
            _ => 0,
        };
        let is_date = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
        if !rest.0.is_empty() || !is_date || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let is_leap = second == 60;
        let second = if is_leap { 59 } else { second };
        let day = days_to(year, month, day);
        let seconds = day * DAY + hour * 3600 + minute * 60 + second - offset;
        if is_leap {
            // A leap second can only end a month, in UTC.
            let (_, _, next_day) = date_of((seconds + 1).div_euclid(DAY));
            if (seconds + 1).rem_euclid(DAY) != 0 || next_day != 1 {
                return None;
            }
            nanoseconds = SECOND - 1;
        }
        Self::new(seconds, nanoseconds)
    }

    /// Reads an argument: RFC 3339, in UTC if it has no offset. With `date_alone`, a date without a time
    /// is accepted too and means the beginning of the day.
    ///
    /// # Errors
    ///
    /// Says what is expected.
    pub fn parse_argument(text: &str, date_alone: bool) -> Result<Self, String> {
        let example =
            if date_alone { "2026-03-02T09:00:00Z or 2026-03-02" } else { "2026-03-02T09:00:00Z" };
        let parsed = if text.len() == "2026-03-02".len() && date_alone {
            Self::parse(&[text, "T00:00:00Z"].concat())
        } else {
            Self::parse(text).or_else(|| Self::parse(&[text, "Z"].concat()))
        };
        let is_date = || Self::parse(&[text, "T00:00:00Z"].concat()).is_some();
        parsed.ok_or_else(|| {
            if is_date() {
                format!("needs a time of day, as in {example}")
            } else {
                format!("not a date in RFC 3339, such as {example}")
            }
        })
    }

    /// Like [`Self::parse_argument`], but a date without a time means the end of the day.
    pub fn parse_last(text: &str) -> Result<Self, String> {
        let first = Self::parse_argument(text, true)?;
        if text.len() == "2026-03-02".len() {
            return Ok(Self { seconds: first.seconds + DAY - 1, nanoseconds: SECOND - 1 });
        }
        Ok(first)
    }

    /// Truncates to seconds.
    pub fn to_seconds(self) -> Self {
        Self { nanoseconds: 0, ..self }
    }

    /// Truncates to milliseconds.
    pub fn to_milliseconds(self) -> Self {
        Self { nanoseconds: self.nanoseconds / 1_000_000 * 1_000_000, ..self }
    }

    /// Returns the time in RFC 3339, in UTC.
    pub fn to_rfc3339(self) -> String {
        let mut text = self.written();
        if self.nanoseconds != 0 {
            let mut fraction = *b".000000000";
            write_number(fraction.get_mut(1..).unwrap_or_default(), self.nanoseconds.into());
            text.push_str(core::str::from_utf8(&fraction).unwrap_or_default());
            text.truncate(text.trim_end_matches('0').len());
        }
        text.push('Z');
        text
    }

    /// Returns the time without a fraction and an offset.
    fn written(self) -> String {
        let (year, month, day) = date_of(self.seconds.div_euclid(DAY));
        let second = self.seconds.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let mut text = *b"0000-00-00T00:00:00";
        for (number, start, end) in [
            (year, 0, 4),
            (month, 5, 7),
            (day, 8, 10),
            (hour, 11, 13),
            (minute, 14, 16),
            (second, 17, 19),
        ] {
            write_number(text.get_mut(start..end).unwrap_or_default(), number);
        }
        let mut written = String::with_capacity("2026-01-01T00:00:00.000Z".len());
        written.push_str(core::str::from_utf8(&text).unwrap_or_default());
        written
    }

    /// Reads a Unix time in milliseconds.
    pub fn of_unix_ms(ms: i64) -> Option<Self> {
        let nanoseconds = u32::try_from(ms.rem_euclid(1000)).ok()? * 1_000_000;
        Self::new(ms.div_euclid(1000), nanoseconds)
    }

    /// Returns the Unix time in milliseconds.
    pub fn to_unix_ms(self) -> i64 {
        self.seconds * 1000 + i64::from(self.nanoseconds / 1_000_000)
    }

    /// Returns the time in RFC 3339, in UTC, always with milliseconds.
    pub fn to_rfc3339_ms(self) -> String {
        let mut text = self.written();
        text.push_str(&format!(".{:03}Z", self.nanoseconds / 1_000_000));
        text
    }

    /// Converts a time of the system's clock.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn of_system_time(time: std::time::SystemTime) -> Self {
        let (since, is_before) = match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => (since, false),
            Err(error) => (error.duration(), true),
        };
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let (seconds, nanoseconds) = match (is_before, since.subsec_nanos()) {
            (false, part) => (seconds, part),
            (true, 0) => (-seconds, 0),
            (true, part) => ((-seconds).saturating_sub(1), SECOND - part),
        };
        Self { seconds: seconds.clamp(*SECONDS.start(), *SECONDS.end()), nanoseconds }
    }

    /// Returns the time that many seconds later, or earlier for a negative number.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        let seconds = self.seconds.saturating_add(seconds);
        Self { seconds: seconds.clamp(*SECONDS.start(), *SECONDS.end()), ..self }
    }
}

/// The rest of a text of digits and separators.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    fn one_of(&mut self, separators: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        // `contains` is made for more bytes than these.
        if !separators.iter().any(|separator| separator == first) {
            return None;
        }
        self.0 = rest;
        Some(*first)
    }

    /// Reads a number of so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let mut number = 0;
        for _ in 0..digits {
            let (digit, rest) = self.0.split_first()?;
            if !digit.is_ascii_digit() {
                return None;
            }
            self.0 = rest;
            number = number * 10 + i64::from(digit - b'0');
        }
        Some(number)
    }

    /// Reads the fraction of a second, in nanoseconds. More than nine digits are cut off.
    fn fraction(&mut self) -> Option<u32> {
        let (mut nanoseconds, mut unit) = (0, SECOND / 10);
        nanoseconds += u32::try_from(self.number(1)?).ok()? * unit;
        while let Some(digit) = self.number(1) {
            unit /= 10;
            nanoseconds += u32::try_from(digit).ok()? * unit;
        }
        Some(nanoseconds)
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the days from 1970-01-01 to a date. The year begins in March here, so that a leap day is its last.
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

/// Writes a number over digits. The standard library's formatter takes longer than the rest of writing a date.
fn write_number(digits: &mut [u8], mut number: i64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Returns the year, the month and the day that is so many days after 1970-01-01.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = year + era * 400;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_normalized() {
        for (text, expected) in [
            ("2026-03-02T09:00:00Z", "2026-03-02T09:00:00Z"),
            ("2026-03-02T09:00:00+02:00", "2026-03-02T07:00:00Z"),
            ("2026-03-02T09:00:00.250Z", "2026-03-02T09:00:00.25Z"),
            ("2026-03-02T09:00:00", "2026-03-02T09:00:00Z"),
            ("2026-03-02", "2026-03-02T00:00:00Z"),
        ] {
            let parsed = Timestamp::parse_argument(text, true).expect(text);
            assert_eq!(parsed.to_rfc3339(), expected);
        }
        for text in [
            "",
            "tomorrow",
            "2026-03-02x09:00:00Z",
            "0000-01-01T00:30:00+01:00",
            "2026-13-02",
            "2026-03-02T25:00:00Z",
            "9999-12-31T23:59:59-23:00",
        ] {
            assert!(Timestamp::parse_argument(text, true).is_err(), "{text}");
        }
        assert!(Timestamp::parse_argument("2026-03-02", false).is_err());
    }

    #[test]
    fn unix_milliseconds_are_converted_both_ways() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_772_442_000_250, "2026-03-02T09:00:00.250Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            let moment = Timestamp::of_unix_ms(ms).expect("a moment");
            assert_eq!((moment.to_rfc3339_ms().as_str(), moment.to_unix_ms()), (text, ms));
        }
        assert_eq!(Timestamp::of_unix_ms(i64::MAX), None);
        assert_eq!(Timestamp::of_unix_ms(i64::MIN), None);
    }

    #[test]
    fn the_end_of_a_day_is_before_the_next_day() {
        let last = Timestamp::parse_last("2026-03-02").expect("a date");
        assert_eq!(last.to_rfc3339(), "2026-03-02T23:59:59.999999999Z");
        let exact = Timestamp::parse_last("2026-03-02T09:00:00Z").expect("a time");
        assert_eq!(exact.to_rfc3339(), "2026-03-02T09:00:00Z");
    }

    use proptest::prelude::*;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    /// Reads a time as the crate `time` does.
    fn theirs(text: &str) -> Option<OffsetDateTime> {
        let separated = matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '));
        let instant = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| separated)?;
        let instant = instant.checked_to_offset(time::UtcOffset::UTC)?;
        (0..=9999).contains(&instant.year()).then_some(instant)
    }

    fn assert_same(text: &str) {
        let (own, theirs) = (Timestamp::parse(text), theirs(text));
        let written = theirs.map(|theirs| theirs.format(&Rfc3339).expect("a year to 9999"));
        assert_eq!(own.map(Timestamp::to_rfc3339), written, "{text}");
        let ms = theirs.map(|theirs| theirs.unix_timestamp_nanos().div_euclid(1_000_000));
        assert_eq!(own.map(|own| i128::from(own.to_unix_ms())), ms, "{text}");
    }

    #[test]
    fn dates_are_read_as_another_library_reads_them() {
        for text in [
            "2026-02-29T00:00:00Z",
            "2024-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2000-02-29t00:00:00z",
            "0000-01-01T00:00:00Z",
            "9999-12-31 23:59:59.9999999999Z",
            "2016-12-31T23:59:60Z",
            "2016-12-31T23:59:60.25Z",
            "2017-01-01T00:59:60+01:00",
            "2016-12-30T23:59:60Z",
            "2016-12-31T22:59:60Z",
            "2026-03-02T09:00:00.Z",
            "2026-03-02T09:00:00+24:00",
            "2026-03-02T09:00:00-00:00",
            "2026-03-02T24:00:00Z",
            "2026-03-02T09:00:00Zx",
            "+026-03-02T09:00:00Z",
        ] {
            assert_same(text);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn times_are_read_as_another_library_reads_them(
            date in "[0-9]{4}-[01][0-9]-[0-3][0-9]", separator in "[Tt xT]",
            time in "[0-2][0-9]:[0-6][0-9]:[0-6][0-9]", fraction in "|[.][0-9]{0,11}",
            offset in "[Zz]|[-+][0-2][0-9]:[0-6][0-9]|",
        ) {
            assert_same(&format!("{date}{separator}{time}{fraction}{offset}"));
        }

        #[test]
        fn a_time_is_written_as_it_is_read(ms in -62_167_219_200_000_i64..=253_402_300_799_999) {
            let moment = Timestamp::of_unix_ms(ms).expect("in the range");
            assert_same(&moment.to_rfc3339());
            prop_assert_eq!(Timestamp::parse(&moment.to_rfc3339_ms()), Some(moment));
        }
    }

    #[test]
    fn the_clock_of_the_system_is_read() {
        let at = |seconds: u64, nanoseconds: u32| std::time::Duration::new(seconds, nanoseconds);
        let epoch = std::time::UNIX_EPOCH;
        for (time, text) in [
            (epoch + at(1_772_442_000, 250_000_000), "2026-03-02T09:00:00.25Z"),
            (epoch - at(0, 1_000_000), "1969-12-31T23:59:59.999Z"),
            (epoch - at(1, 0), "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp::of_system_time(time).to_rfc3339(), text);
        }
    }
}
