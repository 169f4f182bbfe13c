//! How many requests are served at a time.
//!
//! A request holds a place until its handler has ended and its answer is sent or was cancelled. A
//! request without a place waits as text, or is not read, so a flood of requests uses little memory.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests are served at a time over HTTP, whichever client they are from.
pub(super) const MAX_OPEN: usize = 128;

/// The memory that all requests with a place may use, in KiB: enough for one of the largest.
pub(super) const MAX_WEIGHT: u32 = 24 * 1024;

/// The memory that a parsed JSON value uses besides its text, in bytes. The shortest use most.
const VALUE: usize = 128;

/// Places for requests, and the memory that these may use. Cheap to clone.
#[derive(Clone)]
pub(super) struct Budget {
    places: Arc<Semaphore>,
    weight: Arc<Semaphore>,
}

/// A place, as long as any of its clones is there.
#[derive(Clone)]
#[expect(dead_code, reason = "it is held, and gives back what it took when it is dropped")]
pub(super) struct Place(Arc<[OwnedSemaphorePermit]>);

impl Budget {
    /// Makes a budget of so many places, whose requests use at most [`MAX_WEIGHT`].
    pub(super) fn new(places: usize) -> Self {
        let weight = usize::try_from(MAX_WEIGHT).unwrap_or(usize::MAX);
        Self { places: Arc::new(Semaphore::new(places)), weight: Arc::new(Semaphore::new(weight)) }
    }

    /// Waits for a place for a request of this weight. Requests get theirs in order of arrival.
    pub(super) async fn place(&self, weight: u32) -> Option<Place> {
        // The semaphores are never closed.
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let weight = weight.min(MAX_WEIGHT);
        let weight = Arc::clone(&self.weight).acquire_many_owned(weight).await.ok()?;
        Some(Place(Arc::new([place, weight])))
    }

    /// Takes a place if one is free.
    pub(super) fn try_place(&self, weight: u32) -> Option<Place> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let weight =
            Arc::clone(&self.weight).try_acquire_many_owned(weight.min(MAX_WEIGHT)).ok()?;
        Some(Place(Arc::new([place, weight])))
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
    fn a_message_weighs_what_its_values_take_up() {
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
    fn a_place_is_free_again_when_nobody_holds_it() {
        let budget = Budget::new(2);
        let (one, heavy) = (budget.try_place(1).expect("a place"), budget.try_place(MAX_WEIGHT));
        assert!(heavy.is_none());
        let (other, again) = (budget.try_place(1), one.clone());
        assert!(other.is_some() && budget.try_place(1).is_none());
        drop(one);
        assert!(budget.try_place(1).is_none());
        drop(again);
        assert!(budget.try_place(1).is_some());
        drop(other);
        // What is heavier than the budget waits for all of it.
        assert!(budget.try_place(u32::MAX).is_some());
    }
}
