//! Requests and responses, independent of `wasi:http`.

#[cfg(any(test, fuzzing))]
pub(crate) mod fake;

use crate::prelude::*;
use crate::types::RateLimit;

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    #[cfg(feature = "write")]
    Post,
    #[cfg(feature = "write")]
    Delete,
}

/// A request to Whereby.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Path and query below the base URL, percent-encoded: `/meetings?limit=1`.
    pub(crate) target: String,
    /// The JSON body; empty if there is none.
    pub(crate) body: Vec<u8>,
    /// Whether to read `Reply::rate_limit`. Reading a header costs calls into the host.
    pub(crate) wants_rate_limit: bool,
}

impl Request {
    /// Returns a GET request for a path and query.
    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self {
            method: Method::Get,
            target: target.into(),
            body: Vec::new(),
            wants_rate_limit: false,
        }
    }
}

/// A complete response with any status.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) rate_limit: Option<RateLimit>,
    /// Whether an earlier attempt of the same write may have been carried out.
    pub(crate) is_late: bool,
}

/// The error of a request that has no complete response after all safe attempts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SendError {
    pub(crate) kind: SendErrorKind,
    /// The message: `the connection was refused`.
    pub(crate) text: String,
    /// Whether Whereby may have carried the request out, in this attempt or an earlier one.
    pub(crate) maybe_sent: bool,
}

/// The kind of a failure. Each becomes one case of the WIT error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendErrorKind {
    /// Whereby's rate limit was reached, for this many more seconds; 0 if Whereby does not say.
    RateLimited(u32),
    /// No complete response arrived in time.
    Timeout,
    /// There was no connection, or it broke.
    Unavailable,
    /// The host refused the request.
    Denied,
    /// The response cannot be read.
    Unreadable,
}

/// Sends requests, and retries if that is safe.
pub(crate) trait Transport {
    /// Sends the requests in parallel and waits for all of them. The results are in the order of the
    /// requests.
    fn send_all(&mut self, requests: Vec<Request>) -> Vec<Result<Reply, SendError>>;
}

/// Sends one request.
pub(crate) fn send(transport: &mut dyn Transport, request: Request) -> Result<Reply, SendError> {
    transport.send_all(vec![request]).pop().unwrap_or_else(|| {
        Err(SendError {
            kind: SendErrorKind::Unavailable,
            text: "the request has no result".to_owned(),
            maybe_sent: true,
        })
    })
}
