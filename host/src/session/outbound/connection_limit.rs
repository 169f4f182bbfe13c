//! How many requests go out side by side, so that many calls at a time share few connections.
//!
//! Over HTTP/1.1 each request under way takes a connection of its own, and so does each of a burst that
//! comes before it is known that the server speaks HTTP/2. Then they share one, and nothing waits.

use crate::config::origin::ApiBase;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests to an origin are under way at most, where each takes a connection of its own.
const SIDE_BY_SIDE: usize = 32;

/// How many of these may be a call's second or later request under way. The rest is for first ones,
/// so that a call with many slow requests holds up no other.
const FURTHER: usize = 16;

/// The limits_by_origin of a client, by origin.
#[derive(Default)]
pub(crate) struct ConnectionLimits(Mutex<HashMap<String, Arc<ConnectionLimit>>>);

impl ConnectionLimits {
    pub(crate) fn to(&self, api: &ApiBase) -> Arc<ConnectionLimit> {
        let mut limits_by_origin = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(limits_by_origin.entry(api.origin()).or_default())
    }
}

/// What goes to one origin.
pub(crate) struct ConnectionLimit {
    permits_left: Arc<Semaphore>,
    further: Arc<Semaphore>,
    is_multiplexed: AtomicBool,
}

impl Default for ConnectionLimit {
    fn default() -> Self {
        Self {
            permits_left: Arc::new(Semaphore::new(SIDE_BY_SIDE)),
            further: Arc::new(Semaphore::new(FURTHER)),
            is_multiplexed: AtomicBool::new(false),
        }
    }
}

/// The place of a request under way, held until its answer is there.
pub(crate) struct ConnectionPermit<'a> {
    under_way: &'a AtomicUsize,
    /// None where requests share a connection.
    permits: [Option<OwnedSemaphorePermit>; 2],
}

impl Drop for ConnectionPermit<'_> {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConnectionLimit {
    /// Waits until a request may go out. `under_way` counts the requests of its call that have a permit
    /// or wait for one.
    pub(crate) async fn acquire<'a>(&self, under_way: &'a AtomicUsize) -> ConnectionPermit<'a> {
        let is_first = under_way.fetch_add(1, Ordering::Relaxed) == 0;
        let mut permit = ConnectionPermit { under_way, permits: [None, None] };
        if self.is_multiplexed.load(Ordering::Relaxed) {
            return permit;
        }
        // Neither is ever closed.
        let further = match is_first {
            true => None,
            false => Arc::clone(&self.further).acquire_owned().await.ok(),
        };
        permit.permits = [further, Arc::clone(&self.permits_left).acquire_owned().await.ok()];
        permit
    }

    /// Learns by which version the server answered.
    pub(crate) fn answered(&self, version: http::Version) {
        let is_multiplexed = version >= http::Version::HTTP_2;
        if self.is_multiplexed.load(Ordering::Relaxed) != is_multiplexed {
            self.is_multiplexed.store(is_multiplexed, Ordering::Relaxed);
        }
    }
}
