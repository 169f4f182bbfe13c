//! Points in time, in RFC 3339.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

/// A point in time, in UTC, in the years 0 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// Reads a time in RFC 3339, with an offset.
    pub fn parse(text: &str) -> Option<Self> {
        // The crate accepts any separator.
        let separated = matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '));
        let instant = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| separated)?;
        let instant = instant.checked_to_offset(UtcOffset::UTC)?;
        // RFC 3339 can write only these years.
        (0..=9999).contains(&instant.year()).then_some(Self(instant))
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
            Self::parse(&format!("{text}T00:00:00Z"))
        } else {
            Self::parse(text).or_else(|| Self::parse(&format!("{text}Z")))
        };
        let is_date = || Self::parse(&format!("{text}T00:00:00Z")).is_some();
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
            return Ok(Self(first.0.saturating_add(Duration::DAY - Duration::NANOSECOND)));
        }
        Ok(first)
    }

    /// Truncates to seconds.
    pub fn to_seconds(self) -> Self {
        Self(self.0.replace_nanosecond(0).unwrap_or(self.0))
    }

    /// Truncates to milliseconds.
    pub fn to_milliseconds(self) -> Self {
        let whole = self.0.nanosecond() / 1_000_000 * 1_000_000;
        Self(self.0.replace_nanosecond(whole).unwrap_or(self.0))
    }

    /// Returns the time in RFC 3339, in UTC.
    pub fn to_rfc3339(self) -> String {
        // Never fails for the years 0 to 9999.
        self.0.format(&Rfc3339).unwrap_or_default()
    }

    /// Reads a Unix time in milliseconds.
    pub fn of_unix_ms(ms: i64) -> Option<Self> {
        let instant = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
        (0..=9999).contains(&instant.year()).then_some(Self(instant))
    }

    /// Returns the Unix time in milliseconds.
    pub fn to_unix_ms(self) -> i64 {
        // Never fails for the years 0 to 9999.
        i64::try_from(self.0.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or_default()
    }

    /// Returns the time in RFC 3339, in UTC, always with milliseconds.
    pub fn to_rfc3339_ms(self) -> String {
        let seconds = self.0.replace_nanosecond(0).unwrap_or(self.0);
        let seconds = Self(seconds).to_rfc3339();
        format!("{}.{:03}Z", seconds.trim_end_matches('Z'), self.0.millisecond())
    }

    /// Converts a time of the system's clock.
    #[must_use]
    pub fn of_system_time(time: std::time::SystemTime) -> Self {
        Self(OffsetDateTime::from(time))
    }

    /// Returns the time that many seconds later, or earlier for a negative number.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(Duration::seconds(seconds)))
    }
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
}
