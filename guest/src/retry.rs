//! Decides whether and when to retry a failed request.

use core::time::Duration;

use crate::date::Moment;
use crate::prelude::*;
use crate::transport::{Method, SendError, SendErrorKind};

/// The time limit of a call, including all its requests and waits.
pub(crate) const BUDGET: Duration = Duration::from_secs(20);

/// The maximum number of attempts per request.
const ATTEMPTS: u32 = 4;

/// The maximum number of attempts per call. Hosts end a call at 64 requests, without a result; the
/// difference is a margin for requests that a host may count in addition.
const CALL_ATTEMPTS: u32 = 60;

/// The first wait, if Whereby does not ask for one. It doubles with each attempt.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A status that may be temporary: 429 or 5xx.
    Status(u16),
    /// The connection failed.
    Connection,
}

/// The attempts that a call has left.
#[derive(Debug)]
pub(crate) struct Allowance(u32);

impl Allowance {
    /// Returns the attempts of a call that has sent nothing yet.
    pub(crate) const fn of_call() -> Self {
        Self(CALL_ATTEMPTS)
    }

    /// Takes one attempt. Returns whether one was left.
    pub(crate) fn take(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or_default();
        left.is_some()
    }
}

/// Returns the failure of a request that is not sent because the call has no attempts left.
pub(crate) fn out_of_attempts() -> SendError {
    SendError {
        kind: SendErrorKind::Unavailable,
        text: format!(
            "the request was not sent: the call already sent {CALL_ATTEMPTS}, the maximum"
        ),
        maybe_sent: false,
    }
}

/// The action after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Wait, then send the same request again. The attempt is already counted.
    Again(Duration),
    /// Return the result of this attempt.
    Settle,
    /// Give up because of Whereby's rate limit, which ends in this many seconds; 0 if Whereby does not say.
    RateLimited(u32),
}

/// Decides what to do after a failed attempt.
///
/// `attempts` includes that attempt. `asked` is the wait that Whereby asked for, and `left` the remaining
/// time. Another attempt is taken from `allowance`. `random` is called only if Whereby did not ask for a
/// wait.
pub(crate) fn decide(
    method: Method,
    attempts: u32,
    cause: Cause,
    asked: Option<Duration>,
    left: Duration,
    allowance: &mut Allowance,
    random: impl FnOnce() -> u64,
) -> Decision {
    let limited = cause == Cause::Status(429);
    // A wait of zero counts as none.
    let asked = asked.filter(|wait| !wait.is_zero());
    if !(limited || is_safe(method) && is_transient(cause)) {
        return Decision::Settle;
    }
    let again = attempts < ATTEMPTS;
    let wait = match asked {
        Some(wait) => wait,
        None => backoff(attempts, if again { random() } else { 0 }),
    };
    if again && wait < left && allowance.take() {
        Decision::Again(wait)
    } else if limited {
        Decision::RateLimited(asked.map_or(0, whole_seconds))
    } else {
        Decision::Settle
    }
}

/// Parses the header `Retry-After`: seconds, with or without decimals, or a date if `now` is known.
pub(crate) fn parse_retry_after(
    value: &[u8],
    now: impl FnOnce() -> Option<Moment>,
) -> Option<Duration> {
    if let Some(date) = Moment::parse_http(value) {
        return Some(Duration::from_secs(now()?.seconds_until(date)));
    }
    let value = core::str::from_utf8(value).ok()?.trim();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // The first three digits are milliseconds. Further digits add one, because a wait that is too short
    // is useless.
    let digits = fraction.bytes().chain([b'0'; 3]).take(3);
    let milliseconds = digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let rest = u64::from(fraction.bytes().skip(3).any(|digit| digit != b'0'));
    let whole = Duration::from_secs(whole.parse().ok()?);
    Some(whole.saturating_add(Duration::from_millis(milliseconds + rest)))
}

/// Returns whether sending the request twice has the same effect as sending it once.
fn is_safe(method: Method) -> bool {
    match method {
        Method::Get => true,
        #[cfg(feature = "write")]
        Method::Delete => true,
        #[cfg(feature = "write")]
        Method::Post => false,
    }
}

fn is_transient(cause: Cause) -> bool {
    matches!(cause, Cause::Status(502..=504) | Cause::Connection)
}

/// Returns the wait, which doubles with each attempt, plus up to half at random so that many callers do not
/// retry at the same time.
fn backoff(attempts: u32, random: u64) -> Duration {
    let wait = FIRST_WAIT * 2_u32.pow(attempts.saturating_sub(1).min(ATTEMPTS));
    let half = u64::try_from(wait.as_millis() / 2).unwrap_or(0);
    wait + Duration::from_millis(random % (half + 1))
}

/// Returns the wait in seconds, rounded up and at least 1.
fn whole_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::prelude::*;

    use super::{
        ATTEMPTS, Allowance, BUDGET, CALL_ATTEMPTS, Cause, Decision, FIRST_WAIT, decide,
        out_of_attempts, parse_retry_after,
    };
    use crate::date::Moment;
    use crate::transport::Method;

    const SECOND: Duration = Duration::from_secs(1);

    fn decide_plainly(method: Method, attempts: u32, cause: Cause) -> Decision {
        decide(method, attempts, cause, None, BUDGET, &mut Allowance::of_call(), || 0)
    }

    #[test]
    fn reads_are_retried_after_transient_failures() {
        let again = Decision::Again(Duration::from_millis(250));
        for (cause, decision) in [
            (Cause::Connection, again),
            (Cause::Status(429), again),
            (Cause::Status(502), again),
            (Cause::Status(503), again),
            (Cause::Status(504), again),
            (Cause::Status(500), Decision::Settle),
            (Cause::Status(501), Decision::Settle),
            (Cause::Status(505), Decision::Settle),
            (Cause::Status(404), Decision::Settle),
        ] {
            assert_eq!(decide_plainly(Method::Get, 1, cause), decision, "{cause:?}");
            #[cfg(feature = "write")]
            assert_eq!(decide_plainly(Method::Delete, 1, cause), decision, "{cause:?}");
        }
    }

    #[cfg(feature = "write")]
    #[test]
    fn a_post_is_retried_only_after_429() {
        for cause in [Cause::Connection, Cause::Status(502), Cause::Status(503)] {
            assert_eq!(decide_plainly(Method::Post, 1, cause), Decision::Settle, "{cause:?}");
        }
        assert_eq!(
            decide_plainly(Method::Post, 1, Cause::Status(429)),
            Decision::Again(Duration::from_millis(250))
        );
    }

    #[test]
    fn the_wait_doubles_and_the_fourth_attempt_is_the_last() {
        for (attempts, milliseconds) in [(1, 250), (2, 500), (3, 1000)] {
            assert_eq!(
                decide_plainly(Method::Get, attempts, Cause::Connection),
                Decision::Again(Duration::from_millis(milliseconds))
            );
        }
        assert_eq!(decide_plainly(Method::Get, 4, Cause::Connection), Decision::Settle);
        assert_eq!(
            decide_plainly(Method::Get, 4, Cause::Status(429)),
            Decision::RateLimited(0),
            "no wait is known"
        );
    }

    #[test]
    fn whereby_says_how_long_to_wait() {
        let asked = |wait, left| {
            let mut allowance = Allowance::of_call();
            decide(Method::Get, 1, Cause::Status(429), Some(wait), left, &mut allowance, || {
                panic!("no random number is needed")
            })
        };
        assert_eq!(asked(SECOND * 3, BUDGET), Decision::Again(SECOND * 3));
        assert_eq!(asked(SECOND * 3, SECOND * 3), Decision::RateLimited(3));
        assert_eq!(asked(Duration::from_millis(20_001), BUDGET), Decision::RateLimited(21));
        assert_eq!(asked(Duration::from_nanos(1), Duration::ZERO), Decision::RateLimited(1));
        assert_eq!(asked(Duration::MAX, BUDGET), Decision::RateLimited(u32::MAX));
    }

    #[test]
    fn a_wait_of_zero_counts_as_none() {
        let asked = |attempts| {
            let (mut allowance, limited) = (Allowance::of_call(), Cause::Status(429));
            let none = Some(Duration::ZERO);
            decide(Method::Get, attempts, limited, none, BUDGET, &mut allowance, || 0)
        };
        assert_eq!(asked(1), Decision::Again(FIRST_WAIT));
        assert_eq!(asked(ATTEMPTS), Decision::RateLimited(0));
    }

    #[test]
    fn a_wait_beyond_the_time_limit_settles_other_failures() {
        let mut allowance = Allowance::of_call();
        let cause = Cause::Status(503);
        let decision = decide(Method::Get, 1, cause, Some(SECOND), SECOND, &mut allowance, || 0);
        assert_eq!(decision, Decision::Settle);
        assert_eq!(allowance.0, CALL_ATTEMPTS, "no attempt is taken, because nothing is sent");
    }

    #[test]
    fn a_call_stays_below_the_request_limit_of_hosts() {
        // Each page is tried four times, because the short waits use up no time.
        let mut allowance = Allowance::of_call();
        let (mut sent, mut unsent) = (0, 0);
        let mut last = Decision::Settle;
        for _ in 0..20 {
            if !allowance.take() {
                unsent += 1;
                continue;
            }
            for attempts in 1.. {
                sent += 1;
                let asked = Some(Duration::from_nanos(1));
                let limited = Cause::Status(429);
                last = decide(Method::Get, attempts, limited, asked, BUDGET, &mut allowance, || 0);
                if last != Decision::Again(Duration::from_nanos(1)) {
                    break;
                }
            }
        }
        assert_eq!((sent, unsent), (60, 5));
        assert_eq!(last, Decision::RateLimited(1), "the last response becomes the result");
        let failure = out_of_attempts();
        assert!(!failure.maybe_sent && failure.text.contains("60"), "{failure:?}");
    }

    #[test]
    fn parallel_requests_share_the_attempts() {
        let mut allowance = Allowance::of_call();
        let first = (0..57).filter(|_| allowance.take()).count();
        let decisions: Vec<Decision> = (0..8)
            .map(|_| {
                let cause = Cause::Status(503);
                decide(Method::Get, 1, cause, None, BUDGET, &mut allowance, || 0)
            })
            .collect();
        let again = decisions.iter().filter(|decision| **decision != Decision::Settle).count();
        assert_eq!((first, again), (57, 3));
    }

    #[test]
    fn retry_after_is_read_leniently() {
        for (value, milliseconds) in
            [("2", 2000), (" 1.5 ", 1500), ("3.000", 3000), ("0.25001", 251), ("0", 0)]
        {
            let read = parse_retry_after(value.as_bytes(), || panic!("no date is needed"));
            assert_eq!(read, Some(Duration::from_millis(milliseconds)), "{value}");
        }
        let now = Moment::parse("2026-10-21T07:28:00Z");
        for (value, seconds) in [
            ("Wed, 21 Oct 2026 08:28:00 GMT", 3600),
            ("Wed, 21 Oct 2026 07:28:01 GMT", 1),
            ("Wed, 21 Oct 2026 07:28:00 GMT", 0),
            ("Wed, 21 Oct 2020 07:28:00 GMT", 0),
        ] {
            let read = parse_retry_after(value.as_bytes(), || now);
            assert_eq!(read, Some(Duration::from_secs(seconds)), "{value}");
        }
        for value in
            ["", "-1", "1.", ".5", "1.x", "inf", "NaN", "1e300", "Wed, 32 Oct 2026 07:28:00 GMT"]
        {
            assert_eq!(parse_retry_after(value.as_bytes(), || now), None, "{value}");
        }
        assert_eq!(parse_retry_after(b"\xff", || now), None);
    }

    proptest! {
        #[test]
        fn waits_fit_the_budget(
            attempts in 0_u32..10, status in 100_u16..600, wait in proptest::option::of(0_u64..40_000),
            left in 0_u64..20_000, random in any::<u64>(),
        ) {
            let left = Duration::from_millis(left);
            let asked = wait.map(Duration::from_millis);
            let (cause, mut allowance) = (Cause::Status(status), Allowance::of_call());
            match decide(Method::Get, attempts, cause, asked, left, &mut allowance, || random) {
                Decision::Again(wait) => {
                    prop_assert!(wait < left && attempts < 4);
                    prop_assert!(matches!(status, 429 | 502..=504));
                }
                Decision::RateLimited(seconds) => {
                    prop_assert_eq!(seconds >= 1, asked.is_some());
                    prop_assert_eq!(status, 429);
                }
                Decision::Settle => prop_assert!(status != 429),
            }
        }
    }
}
