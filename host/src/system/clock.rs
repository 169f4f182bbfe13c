//! The clock, which is passed in so that tests can move it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use whereby_authority::timestamp::Timestamp;

/// A clock.
///
/// The program always uses [`Clock::system`]; no variable and no option changes that. A test passes
/// its own clock in the [`Environment`](crate::Environment) and to
/// [`Store::with_clock`](crate::Store::with_clock).
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// Returns the clock of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self::new(SystemTime::now)
    }

    /// Returns a clock that calls a function for the time.
    #[must_use]
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::of_system_time(self.now())
    }

    /// Returns the current time in milliseconds since 1970, or 0 before that.
    pub(crate) fn unix_ms(&self) -> i64 {
        i64::try_from(self.since_epoch().as_millis()).unwrap_or(i64::MAX)
    }

    /// Returns the time since 1970, or zero before that.
    pub(crate) fn since_epoch(&self) -> Duration {
        self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock(…)")
    }
}

/// Returns a duration in milliseconds, rounded to microseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
