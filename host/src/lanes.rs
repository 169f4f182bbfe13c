//! How many requests go out side by side, so that many calls at a time share few connections.
//!
//! Over HTTP/1.1 each request under way takes a connection of its own, and so does each of a burst that
//! comes before it is known that the server speaks HTTP/2. Then they share one, and nothing waits.

use crate::origin::ApiBase;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests to an origin are under way at most, where each takes a connection of its own.
const SIDE_BY_SIDE: usize = 32;

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
    is_multiplexed: AtomicBool,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            seats: Arc::new(Semaphore::new(SIDE_BY_SIDE)),
            is_multiplexed: AtomicBool::new(false),
        }
    }
}

impl Lane {
    /// Waits until a request may go out; it holds the seat until its answer is there.
    pub(crate) async fn seat(&self) -> Option<OwnedSemaphorePermit> {
        if self.is_multiplexed.load(Ordering::Relaxed) {
            return None;
        }
        // The seats are never closed.
        Arc::clone(&self.seats).acquire_owned().await.ok()
    }

    /// Learns by which version the server answered.
    pub(crate) fn answered(&self, version: http::Version) {
        let is_multiplexed = version >= http::Version::HTTP_2;
        if self.is_multiplexed.load(Ordering::Relaxed) != is_multiplexed {
            self.is_multiplexed.store(is_multiplexed, Ordering::Relaxed);
        }
    }
}
