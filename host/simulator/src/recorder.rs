//! Records the requests that reach the simulator.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use tokio::sync::Notify;

/// One request that reached the simulator.
///
/// `Debug` does not show the value of `Authorization`, which is marked as sensitive on arrival.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// The number of its TCP connection, from 1.
    pub connection: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The method.
    pub method: String,
    /// The path as sent, with `/v1`, without the query.
    pub path: String,
    /// The query as sent, without the question mark; empty if there was none.
    pub query: String,
    /// The decoded names and values of the query, in order.
    pub pairs: Vec<(String, String)>,
    /// All headers, including `Authorization`.
    pub headers: HeaderMap,
    /// The body; empty until it arrives.
    pub body: Bytes,
    /// The status of the response; `None` before the response, and if a script sends something that is not HTTP.
    pub status: Option<u16>,
}

impl RecordedRequest {
    /// Returns the decoded value of a query parameter.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the value of a header; `None` if it is absent or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The recorded requests.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    requests: Mutex<Requests>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Requests {
    kept: Vec<RecordedRequest>,
    /// The number of cleared requests, so that a late response is not recorded for the wrong request.
    cleared: usize,
}

impl Requests {
    fn find(&mut self, number: usize) -> Option<&mut RecordedRequest> {
        self.kept.get_mut(number.checked_sub(self.cleared)?)
    }
}

impl Recorder {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request whose head has arrived, and returns its number.
    pub(super) fn arrived(&self, connection: u64, peer: SocketAddr, parts: &Parts) -> usize {
        let query = parts.uri.query().unwrap_or("");
        let mut headers = parts.headers.clone();
        if let Some(authorization) = headers.get_mut(header::AUTHORIZATION) {
            authorization.set_sensitive(true);
        }
        let request = RecordedRequest {
            connection,
            peer,
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: query.to_owned(),
            pairs: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            headers,
            body: Bytes::new(),
            status: None,
        };
        let mut requests = self.requests();
        requests.kept.push(request);
        let number = requests.cleared + requests.kept.len() - 1;
        drop(requests);
        self.arrived.notify_waiters();
        number
    }

    pub(super) fn received(&self, number: usize, body: Bytes) {
        if let Some(request) = self.requests().find(number) {
            request.body = body;
        }
    }

    pub(super) fn answered(&self, number: usize, status: u16) {
        if let Some(request) = self.requests().find(number) {
            request.status = Some(status);
        }
    }

    pub(super) fn all(&self) -> Vec<RecordedRequest> {
        self.requests().kept.clone()
    }

    pub(super) fn clear(&self) {
        let mut requests = self.requests();
        requests.cleared += requests.kept.len();
        requests.kept.clear();
    }

    pub(super) async fn wait_for(&self, count: usize) {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            // From here on, arrivals are noticed, so none is missed between the check and the wait.
            arrived.as_mut().enable();
            if self.requests().kept.len() >= count {
                return;
            }
            arrived.await;
        }
    }
}
