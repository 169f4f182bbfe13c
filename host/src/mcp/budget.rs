//! Limits how many requests are served at a time, and how much memory they use.
//!
//! A request holds a permit until its handler has ended and its response has been sent or cancelled. A
//! request without a permit waits as text, or is not read, so a flood of requests uses little memory.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The maximum number of requests of all HTTP clients that are served at a time.
pub(super) const MAX_OPEN: usize = 128;

/// The memory for all requests with a permit, in KiB: enough for one of the largest.
pub(super) const MAX_WEIGHT: u32 = 24 * 1024;

/// The memory that a parsed JSON value uses besides its text, in bytes. The shortest values use most.
const VALUE: usize = 128;

/// A limit on the number and the memory of requests. Cheap to clone.
#[derive(Clone)]
pub(super) struct Budget {
    requests: Arc<Semaphore>,
    weight: Arc<Semaphore>,
}

/// A permit to serve a request. Dropping its last clone returns it to the budget.
#[derive(Clone)]
#[expect(dead_code, reason = "it is held, and returns its semaphore permits when it is dropped")]
pub(super) struct Permit(Arc<[OwnedSemaphorePermit]>);

impl Budget {
    /// Creates a budget for this many requests, which use at most [`MAX_WEIGHT`].
    pub(super) fn new(requests: usize) -> Self {
        let weight = usize::try_from(MAX_WEIGHT).unwrap_or(usize::MAX);
        Self {
            requests: Arc::new(Semaphore::new(requests)),
            weight: Arc::new(Semaphore::new(weight)),
        }
    }

    /// Waits for a permit for a request of this weight, in KiB. Permits are given in order of arrival.
    pub(super) async fn acquire(&self, weight: u32) -> Option<Permit> {
        // The semaphores are never closed.
        let request = Arc::clone(&self.requests).acquire_owned().await.ok()?;
        let weight = weight.min(MAX_WEIGHT);
        let weight = Arc::clone(&self.weight).acquire_many_owned(weight).await.ok()?;
        Some(Permit(Arc::new([request, weight])))
    }

    /// Returns a permit if one is free.
    pub(super) fn try_acquire(&self, weight: u32) -> Option<Permit> {
        let request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        let weight =
            Arc::clone(&self.weight).try_acquire_many_owned(weight.min(MAX_WEIGHT)).ok()?;
        Some(Permit(Arc::new([request, weight])))
    }
}

/// Estimates the memory that a message uses once it is parsed, in KiB. A string that looks like many
/// values counts as many.
pub(super) fn weight(text: &[u8]) -> u32 {
    let values = text.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
    u32::try_from((text.len() + values * VALUE) / 1024).unwrap_or(MAX_WEIGHT).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_of_a_message_follows_from_its_values() {
        for (text, kib) in [
            (String::new(), 1),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.into(), 1),
            ("x".repeat(200 * 1024), 200),
            ("0,".repeat(100 * 1024), 200 + 100 * 128),
        ] {
            assert_eq!(weight(text.as_bytes()), kib, "{:.20}", text);
        }
    }

    #[test]
    fn a_permit_is_free_after_its_last_clone_is_dropped() {
        let budget = Budget::new(2);
        let (one, heavy) =
            (budget.try_acquire(1).expect("a permit"), budget.try_acquire(MAX_WEIGHT));
        assert!(heavy.is_none());
        let (other, again) = (budget.try_acquire(1), one.clone());
        assert!(other.is_some() && budget.try_acquire(1).is_none());
        drop(one);
        assert!(budget.try_acquire(1).is_none());
        drop(again);
        assert!(budget.try_acquire(1).is_some());
        drop(other);
        // A request heavier than the budget takes all of it.
        assert!(budget.try_acquire(u32::MAX).is_some());
    }
}
