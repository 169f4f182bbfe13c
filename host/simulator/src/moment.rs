//! Points in time, and the clock of the simulated API.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::switches::DateFormat;

/// A point in time: milliseconds since 1970, in the years 0 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i64);

impl Moment {
    /// 0000-01-01T00:00:00Z.
    const FIRST: Self = Self(-62_167_219_200_000);
    /// 9999-12-31T23:59:59.999Z.
    const LAST: Self = Self(253_402_300_799_999);

    /// Converts a date; `None` if its year in UTC is not from 0 to 9999.
    pub(super) fn from_date(date: OffsetDateTime) -> Option<Self> {
        let milliseconds = date.unix_timestamp_nanos().div_euclid(1_000_000);
        let moment = Self(i64::try_from(milliseconds).ok()?);
        // The type allows more, because the offset can move a date past the year 9999.
        (Self::FIRST..=Self::LAST).contains(&moment).then_some(moment)
    }

    /// Parses ISO 8601 with seconds. Without an offset, the date is in UTC.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let date = OffsetDateTime::parse(text, &Rfc3339)
            .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339));
        Self::from_date(date.ok()?)
    }

    /// Converts to a date. A time after the year 9999 becomes the end of that year.
    pub(super) fn to_date(self) -> OffsetDateTime {
        let within = self.clamp(Self::FIRST, Self::LAST);
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(within.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Formats the time in UTC: `2026-03-02T08:15:04.118Z`. Handwritten for speed, because lists of rooms are mostly
    /// dates.
    pub(super) fn to_text(self, format: DateFormat) -> String {
        let date = self.to_date();
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: usize, digits: usize, mut number: u32| {
            for place in (at..at + digits).rev() {
                text[place] = b'0' + u8::try_from(number % 10).unwrap_or(0);
                number /= 10;
            }
        };
        put(0, 4, date.year().unsigned_abs());
        put(5, 2, u8::from(date.month()).into());
        put(8, 2, date.day().into());
        put(11, 2, date.hour().into());
        put(14, 2, date.minute().into());
        put(17, 2, date.second().into());
        put(20, 3, date.millisecond().into());
        let mut text = String::from_utf8_lossy(&text).into_owned();
        if format == DateFormat::Seconds {
            text.replace_range(19..23, "");
        }
        text
    }

    /// Formats the time as JavaScript prints a `Date`: `Mon Mar 02 2026 08:16:00 GMT+0000 (Coordinated Universal Time)`.
    pub(super) fn to_javascript(self) -> String {
        let date = self.to_date();
        let (weekday, month) = (date.weekday().to_string(), date.month().to_string());
        format!(
            "{} {} {:02} {:04} {:02}:{:02}:{:02} GMT+0000 (Coordinated Universal Time)",
            &weekday[..3],
            &month[..3],
            date.day(),
            date.year(),
            date.hour(),
            date.minute(),
            date.second(),
        )
    }

    pub(super) fn milliseconds(self) -> i64 {
        self.0
    }

    pub(super) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(milliseconds(duration)))
    }

    pub(super) fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(milliseconds(duration)))
    }

    /// Returns the milliseconds since `earlier`; 0 if that is later.
    pub(super) fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).max(0)
    }

    /// Rounds down to five minutes.
    pub(super) fn rounded_down(self) -> Self {
        Self(self.0 - self.0.rem_euclid(5 * 60 * 1000))
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A clock with real time, or one that stands still. Both can be moved forward.
#[derive(Debug)]
pub(super) struct Clock {
    fixed: Option<Moment>,
    ahead: AtomicI64,
}

impl Clock {
    pub(super) fn new(fixed: Option<Moment>) -> Self {
        Self { fixed, ahead: AtomicI64::new(0) }
    }

    pub(super) fn now(&self) -> Moment {
        let base = self.fixed.unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Moment(milliseconds(since))
        });
        Moment(base.0.saturating_add(self.ahead.load(Ordering::Relaxed)))
    }

    pub(super) fn advance(&self, duration: Duration) {
        self.ahead.fetch_add(milliseconds(duration), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_and_without_an_offset_and_written_in_utc() {
        for (text, milliseconds, seconds) in [
            ("2026-03-02T08:15:04.118Z", "2026-03-02T08:15:04.118Z", "2026-03-02T08:15:04Z"),
            ("2026-03-02T08:15:04", "2026-03-02T08:15:04.000Z", "2026-03-02T08:15:04Z"),
            ("2026-03-02T08:15:04.5+02:00", "2026-03-02T06:15:04.500Z", "2026-03-02T06:15:04Z"),
            ("2025-12-31T23:30:00-05:00", "2026-01-01T04:30:00.000Z", "2026-01-01T04:30:00Z"),
            ("2099-02-18T14:23:00.123456Z", "2099-02-18T14:23:00.123Z", "2099-02-18T14:23:00Z"),
        ] {
            let moment = Moment::from_text(text).unwrap();
            assert_eq!(moment.to_text(DateFormat::Milliseconds), milliseconds);
            assert_eq!(moment.to_text(DateFormat::Seconds), seconds);
        }
        for text in
            ["", "tomorrow", "2026-03-02", "2026-13-02T08:15:04Z", "9999-12-31T23:59:59-05:00"]
        {
            assert_eq!(Moment::from_text(text), None, "{text}");
        }
        for (edge, text) in [
            (Moment::FIRST, "0000-01-01T00:00:00.000Z"),
            (Moment::LAST, "9999-12-31T23:59:59.999Z"),
            (Moment::LAST.after(Duration::from_secs(1)), "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(edge.to_text(DateFormat::Milliseconds), text);
        }
    }

    #[test]
    fn javascript_dates_are_formatted_like_javascript() {
        let moment = Moment::from_text("2026-03-02T08:16:00Z").unwrap();
        assert_eq!(
            moment.to_javascript(),
            "Mon Mar 02 2026 08:16:00 GMT+0000 (Coordinated Universal Time)"
        );
    }

    #[test]
    fn a_fixed_clock_moves_only_when_advanced() {
        let start = Moment::from_text("2026-03-02T08:16:02Z").unwrap();
        let clock = Clock::new(Some(start));
        assert_eq!(clock.now(), start);
        clock.advance(Duration::from_secs(60));
        assert_eq!(clock.now().since(start), 60_000);
        assert_eq!(start.since(clock.now()), 0);
        assert_eq!(clock.now().rounded_down().to_text(DateFormat::Seconds), "2026-03-02T08:15:00Z");
    }
}
