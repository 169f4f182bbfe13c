//! Limits concurrent requests, so that concurrent calls share a few connections.
//!
//! Over HTTP/1.1 each request in flight takes its own connection, and so does each request that is sent
//! before the server is known to speak HTTP/2. Over HTTP/2 requests share a connection, so none waits.

use crate::config::origin::ApiBase;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The maximum number of requests in flight to an origin over HTTP/1.1.
const SIDE_BY_SIDE: usize = 32;

/// How many of these may be a call's second or later request in flight. The rest is for first requests,
/// so that a call with many slow requests does not delay other calls.
const FURTHER: usize = 16;

/// The limits of a client, by origin.
#[derive(Default)]
pub(crate) struct ConnectionLimits(Mutex<HashMap<String, Arc<ConnectionLimit>>>);

impl ConnectionLimits {
    pub(crate) fn to(&self, api: &ApiBase) -> Arc<ConnectionLimit> {
        let mut limits_by_origin = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(limits_by_origin.entry(api.origin()).or_default())
    }
}

/// The limit of one origin.
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

/// The permit of a request in flight, held until its response is complete.
pub(crate) struct ConnectionPermit<'a> {
    in_flight: &'a AtomicUsize,
    /// Absent over HTTP/2.
    permits: [Option<OwnedSemaphorePermit>; 2],
}

impl Drop for ConnectionPermit<'_> {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConnectionLimit {
    /// Waits until a request may be sent. `in_flight` counts the requests of its call that have a permit
    /// or wait for one.
    pub(crate) async fn acquire<'a>(&self, in_flight: &'a AtomicUsize) -> ConnectionPermit<'a> {
        let is_first = in_flight.fetch_add(1, Ordering::Relaxed) == 0;
        let mut permit = ConnectionPermit { in_flight, permits: [None, None] };
        if self.is_multiplexed.load(Ordering::Relaxed) {
            return permit;
        }
        // The semaphores are never closed.
        let further =
            if is_first { None } else { Arc::clone(&self.further).acquire_owned().await.ok() };
        permit.permits = [further, Arc::clone(&self.permits_left).acquire_owned().await.ok()];
        permit
    }

    /// Records the HTTP version of a response.
    pub(crate) fn answered(&self, version: http::Version) {
        self.is_multiplexed.store(version >= http::Version::HTTP_2, Ordering::Relaxed);
    }
}
