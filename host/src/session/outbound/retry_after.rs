//! Reads `Retry-After`.

use std::time::{Duration, SystemTime};
use whereby_authority::answer::{LONGEST_WAIT, whole_seconds};

/// Reads the header's value: seconds, or a date in one of the three forms of HTTP. Returns whole seconds,
/// rounded up, or `None` if the value is neither.
///
/// A date counts from `date`, the server's `Date` header, because this machine's clock may be wrong.
/// Without that header, it counts from `now`.
pub(crate) fn seconds(value: &str, date: Option<&str>, now: SystemTime) -> Option<u64> {
    let value = value.trim();
    if let Ok(until) = httpdate::parse_http_date(value) {
        let from = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok());
        let wait = until.duration_since(from.unwrap_or(now)).unwrap_or(Duration::ZERO);
        let part = u64::from(wait.subsec_nanos() > 0);
        return Some(wait.as_secs().saturating_add(part).min(LONGEST_WAIT));
    }
    whole_seconds(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_the_dates_of_http_are_read() {
        const DATE: &str = "Wed, 21 Oct 2026 07:28:00 GMT";
        let now = httpdate::parse_http_date("Wed, 21 Oct 2026 07:27:00 GMT").expect("a date");
        for (value, date, expected) in [
            ("0", None, Some(0)),
            ("120", None, Some(120)),
            (" 7 ", None, Some(7)),
            ("1.5", None, Some(2)),
            ("2.0", None, Some(2)),
            ("99999999999", None, Some(LONGEST_WAIT)),
            ("99999999999999999999999999", None, Some(LONGEST_WAIT)),
            ("99999999999999999999999999.9", None, Some(LONGEST_WAIT)),
            ("Wed, 21 Oct 2026 08:28:00 GMT", Some(DATE), Some(3600)),
            ("Wednesday, 21-Oct-26 08:28:00 GMT", Some(DATE), Some(3600)),
            ("Wed Oct 21 08:28:00 2026", Some(DATE), Some(3600)),
            ("Wed Oct  7 08:28:00 2026", Some(DATE), Some(0)),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None, Some(60)),
            ("Wed, 21 Oct 2026 07:28:00 GMT", Some("soon"), Some(60)),
            ("Wed, 21 Oct 2020 07:28:00 GMT", Some(DATE), Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(DATE), Some(LONGEST_WAIT)),
            ("", None, None),
            ("-5", None, None),
            ("+5", None, None),
            ("1e3", None, None),
            ("5.", None, None),
            ("soon", None, None),
            ("2026-10-21T07:28:00Z", None, None),
            ("Wed, 99 Oct 2026 08:28:00 GMT", Some(DATE), None),
        ] {
            assert_eq!(seconds(value, date, now), expected, "{value:?} {date:?}");
        }
    }
}
