//! Points in time on the command line.

use crate::error::Error;
use jiff::Span;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::time::SystemTime;
use whereby_authority::timestamp::Timestamp;

/// A point in time on the command line.
#[derive(Clone, Debug)]
pub(in crate::cli) enum When {
    /// In milliseconds since 1970.
    At(i64),
    /// Without an offset: in the time zone of the output.
    Local(DateTime),
    Ago(Span),
}

impl When {
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, String> {
        if let Some(moment) = Timestamp::parse(text) {
            return Ok(Self::At(moment.to_unix_ms()));
        }
        if let Ok(local) = text.parse() {
            return Ok(Self::Local(local));
        }
        let ago = text.parse::<Span>().ok().map(|span| Self::Ago(span.abs()));
        // Rejects a span that reaches beyond the range of dates.
        let ago = ago.filter(|ago| ago.unix_ms(SystemTime::now(), &TimeZone::UTC).is_ok());
        ago.ok_or_else(|| {
            "expected a date, such as 2026-03-02 or 2026-03-02T09:00:00Z, or how long ago, such as \
             30min, 2h or 7d"
                .into()
        })
    }

    pub(in crate::cli) fn unix_ms(&self, now: SystemTime, zone: &TimeZone) -> Result<i64, Error> {
        match self {
            Self::At(moment) => Ok(*moment),
            Self::Local(local) => {
                let there = local.to_zoned(zone.clone());
                let none = |_| Error::usage(format!("{local}: no such time"));
                Ok(there.map_err(none)?.timestamp().as_millisecond())
            }
            Self::Ago(span) => {
                let ago = jiff::Timestamp::try_from(now)
                    .and_then(|now| now.to_zoned(TimeZone::UTC).checked_sub(*span));
                let too_long =
                    |_| Error::usage(format!("{span} is too far in the past; use a date"));
                Ok(ago.map_err(too_long)?.timestamp().as_millisecond())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_moment_is_a_date_or_how_long_ago() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_772_442_000_000);
        for (text, expected) in [
            ("2026-03-02T09:00:00Z", 1_772_442_000_000),
            ("2026-03-02T09:00:00", 1_772_442_000_000),
            ("2026-03-02T10:00:00+01:00", 1_772_442_000_000),
            ("2026-03-02", 1_772_409_600_000),
            ("2h", 1_772_442_000_000 - 2 * 60 * 60 * 1000),
            ("90min", 1_772_442_000_000 - 90 * 60 * 1000),
            ("1w 1d", 1_772_442_000_000 - 8 * 24 * 60 * 60 * 1000),
        ] {
            let when = When::parse(text).expect(text);
            assert_eq!(when.unix_ms(now, &TimeZone::UTC).expect(text), expected, "{text}");
        }
        // What is shown in a time zone is read back in it.
        let zone = TimeZone::posix("XYZ-2").expect("a zone");
        let when = When::parse("2026-03-02 11:00:00").expect("a time");
        assert_eq!(when.unix_ms(now, &zone).expect("a time"), 1_772_442_000_000);
        for text in ["", "7", "yesterday", "2026-13-01", "99999999y", "2h\u{1b}[2J"] {
            assert!(When::parse(text).is_err(), "{text}");
        }
    }
}
