//! The state that a running script shares with its caller: the stop switch, and the steps and time used.

use super::Limits;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Why a script was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stop {
    /// The script took too long.
    Time = 1,
    /// The script took too many steps.
    Steps,
    /// The script made too many calls.
    Calls,
    /// The script printed too much.
    Output,
    /// The user stopped the script.
    Interrupted,
    /// The caller no longer waits for the script.
    Abandoned,
}

impl Stop {
    const ALL: [Self; 6] =
        [Self::Time, Self::Steps, Self::Calls, Self::Output, Self::Interrupted, Self::Abandoned];
}

/// The stop switch of a script, and its meters.
///
/// After a stop, every further step of the script fails, so a script that catches errors also ends.
#[derive(Debug)]
pub(crate) struct Control {
    /// A [`Stop`], or 0.
    stop: AtomicU8,
    steps: AtomicU64,
    most_steps: AtomicU64,
    /// In microseconds since `epoch`.
    deadline: AtomicU64,
    epoch: Instant,
}

/// How many steps a script takes between two checks of the clock.
const CLOCK_EVERY: u64 = 64;

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            stop: AtomicU8::new(0),
            steps: AtomicU64::new(0),
            most_steps: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            epoch: Instant::now(),
        }
    }

    /// Resets the meters for another script.
    pub(crate) fn reset(&self, limits: &Limits) {
        self.steps.store(0, Ordering::Relaxed);
        self.most_steps.store(limits.steps, Ordering::Relaxed);
        self.set_deadline(limits.timeout);
        self.stop.store(0, Ordering::Relaxed);
    }

    /// Sets the deadline to this long from now.
    pub(crate) fn set_deadline(&self, left: Duration) {
        let at = (self.epoch.elapsed() + left).as_micros();
        self.deadline.store(u64::try_from(at).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Moves the deadline by this much.
    pub(crate) fn extend(&self, by: Duration) {
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        let at = self.deadline.load(Ordering::Relaxed).saturating_add(by);
        self.deadline.store(at, Ordering::Relaxed);
    }

    /// Returns how much time is left.
    pub(crate) fn left(&self) -> Duration {
        let deadline = Duration::from_micros(self.deadline.load(Ordering::Relaxed));
        deadline.saturating_sub(self.epoch.elapsed())
    }

    /// Stops the script. The first reason is the one that is reported.
    pub(crate) fn stop(&self, why: Stop) {
        let _ = self.stop.compare_exchange(0, why as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn stopped(&self) -> Option<Stop> {
        let stop = self.stop.load(Ordering::Relaxed);
        Stop::ALL.into_iter().find(|why| *why as u8 == stop)
    }

    /// Counts a step; returns false if the script must stop.
    pub(crate) fn step(&self) -> bool {
        if self.stop.load(Ordering::Relaxed) != 0 {
            return false;
        }
        let step = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        if step > self.most_steps.load(Ordering::Relaxed) {
            self.stop(Stop::Steps);
            return false;
        }
        if step.is_multiple_of(CLOCK_EVERY) {
            let now = self.epoch.elapsed().as_micros();
            if now > u128::from(self.deadline.load(Ordering::Relaxed)) {
                self.stop(Stop::Time);
                return false;
            }
        }
        true
    }
}
