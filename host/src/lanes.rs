//! How many requests go out side by side, so that many calls at a time share few connections.
//!
//! Over HTTP/1.1 each request under way takes a connection of its own, and so does each of a burst that
//! comes before it is known that the server speaks HTTP/2. Then they share one, and nothing waits.

use crate::origin::ApiBase;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests to an origin are under way at most, where each takes a connection of its own.
const SIDE_BY_SIDE: usize = 32;

/// How many of these may be a call's second or later request under way. The rest is for first ones,
/// so that a call with many slow requests holds up no other.
const FURTHER: usize = 16;

/// The lanes of a client, by origin.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<HashMap<String, Arc<Lane>>>);

impl Lanes {
    pub(crate) fn to(&self, api: &ApiBase) -> Arc<Lane> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lanes.entry(api.origin()).or_default())
    }
}

/// What goes to one origin.
pub(crate) struct Lane {
    seats: Arc<Semaphore>,
    further: Arc<Semaphore>,
    is_multiplexed: AtomicBool,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            seats: Arc::new(Semaphore::new(SIDE_BY_SIDE)),
            further: Arc::new(Semaphore::new(FURTHER)),
            is_multiplexed: AtomicBool::new(false),
        }
    }
}

/// The place of a request under way, held until its answer is there.
pub(crate) struct Seat<'a> {
    under_way: &'a AtomicUsize,
    /// None where requests share a connection.
    permits: [Option<OwnedSemaphorePermit>; 2],
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    /// Waits until a request may go out. `under_way` counts the requests of its call that have a seat
    /// or wait for one.
    pub(crate) async fn seat<'a>(&self, under_way: &'a AtomicUsize) -> Seat<'a> {
        let is_first = under_way.fetch_add(1, Ordering::Relaxed) == 0;
        let mut seat = Seat { under_way, permits: [None, None] };
        if self.is_multiplexed.load(Ordering::Relaxed) {
            return seat;
        }
        // Neither is ever closed.
        let further = match is_first {
            true => None,
            false => Arc::clone(&self.further).acquire_owned().await.ok(),
        };
        seat.permits = [further, Arc::clone(&self.seats).acquire_owned().await.ok()];
        seat
    }

    /// Learns by which version the server answered.
    pub(crate) fn answered(&self, version: http::Version) {
        let is_multiplexed = version >= http::Version::HTTP_2;
        if self.is_multiplexed.load(Ordering::Relaxed) != is_multiplexed {
            self.is_multiplexed.store(is_multiplexed, Ordering::Relaxed);
        }
    }
}
