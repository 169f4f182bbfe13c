//! One attempt of one request: sends it, and reads the response as it arrives.

use core::time::Duration;

use wasi::http::outgoing_handler;
use wasi::http::types::{
    Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, OutgoingBody, OutgoingRequest,
    Scheme,
};
use wasi::io::poll::Pollable;
use wasi::io::streams::{InputStream, StreamError};

use super::error::{AttemptError, from_error_code};
use crate::date::Moment;
use crate::prelude::*;
use crate::retry::parse_retry_after;
use crate::settings::Settings;
use crate::transport::{Method, Reply, Request, SendErrorKind};
use crate::types::RateLimit;

/// The maximum size of a response, in bytes.
const MAX_RESPONSE_BYTES: usize = 2 * 1024 * 1024;

/// The number of response bytes to read at once: a whole response, and a byte more if it is too long.
const READ_CHUNK: u64 = MAX_RESPONSE_BYTES as u64 + 1;

/// The maximum number of request bytes that `wasi:io` allows in one write.
const WRITE_CHUNK: usize = 4096;

/// An attempt in progress.
pub(super) struct Exchange {
    /// Ready when the attempt can continue. It comes first because it must be dropped before its parent.
    ready: Pollable,
    stage: Stage,
}

enum Stage {
    Sent(FutureIncomingResponse),
    Reading(Reading),
}

/// A response whose body is being read. The stream must be dropped before its body.
struct Reading {
    stream: InputStream,
    _body: IncomingBody,
    response: Response,
}

/// A complete response.
#[derive(Default)]
pub(super) struct Response {
    pub(super) reply: Reply,
    /// The wait that a header asks for.
    pub(super) retry_after: Option<Duration>,
}

/// The state of an attempt after a step.
pub(super) enum Progress {
    Pending,
    Complete(Response),
    Failed(AttemptError),
}

impl Exchange {
    /// Sends a request.
    pub(super) fn begin(settings: &Settings, request: &Request) -> Result<Self, AttemptError> {
        let outgoing = outgoing_request(settings, request)?;
        let body = if request.body.is_empty() {
            None
        } else {
            Some(outgoing.body().map_err(|()| unsendable("body"))?)
        };
        let future = outgoing_handler::handle(outgoing, None).map_err(from_error_code)?;
        if let Some(body) = body {
            write(body, &request.body);
        }
        Ok(Self { ready: future.subscribe(), stage: Stage::Sent(future) })
    }

    /// Returns the pollable to wait for before continuing.
    pub(super) fn pollable(&self) -> &Pollable {
        &self.ready
    }

    /// Continues as far as possible without waiting.
    pub(super) fn advance(&mut self, request: &Request) -> Progress {
        if let Stage::Sent(future) = &self.stage {
            let response = match future.get() {
                None => return Progress::Pending,
                Some(Ok(Ok(response))) => response,
                Some(Ok(Err(code))) => return Progress::Failed(from_error_code(code)),
                Some(Err(())) => {
                    return Progress::Failed(unreadable("the host returned no response"));
                }
            };
            let head = read_head(&response, request);
            let Ok(body) = response.consume() else {
                return Progress::Failed(unreadable("the response has no body"));
            };
            let Ok(stream) = body.stream() else {
                return Progress::Failed(unreadable("the response body cannot be read"));
            };
            let mut reading = Reading { stream, _body: body, response: head };
            // Often the whole body has already arrived.
            let progress = reading.advance();
            if matches!(progress, Progress::Pending) {
                self.ready = reading.stream.subscribe();
                self.stage = Stage::Reading(reading);
            }
            return progress;
        }
        match &mut self.stage {
            Stage::Reading(reading) => reading.advance(),
            Stage::Sent(_) => Progress::Pending,
        }
    }
}

impl Reading {
    fn advance(&mut self) -> Progress {
        let reply = &mut self.response.reply;
        loop {
            match self.stream.read(READ_CHUNK) {
                Ok(chunk) if chunk.is_empty() => return Progress::Pending,
                Ok(chunk) if chunk.len() > MAX_RESPONSE_BYTES - reply.body.len() => {
                    return Progress::Failed(unreadable("the response is longer than 2 MiB"));
                }
                Ok(chunk) if reply.body.is_empty() => reply.body = chunk,
                Ok(chunk) => reply.body.extend_from_slice(&chunk),
                Err(StreamError::Closed) => break,
                // For a response that is not 2xx, the status is enough.
                Err(StreamError::LastOperationFailed(_)) if reply.status >= 300 => break,
                Err(StreamError::LastOperationFailed(_)) => {
                    return Progress::Failed(AttemptError::connection(
                        SendErrorKind::Unavailable,
                        "the connection failed before the response was complete",
                        true,
                    ));
                }
            }
        }
        Progress::Complete(core::mem::take(&mut self.response))
    }
}

fn outgoing_request(
    settings: &Settings,
    request: &Request,
) -> Result<OutgoingRequest, AttemptError> {
    let outgoing = OutgoingRequest::new(headers(settings, request)?);
    let method = match request.method {
        // The default.
        Method::Get => None,
        #[cfg(feature = "write")]
        Method::Post => Some(wasi::http::types::Method::Post),
        #[cfg(feature = "write")]
        Method::Delete => Some(wasi::http::types::Method::Delete),
    };
    if let Some(method) = method {
        outgoing.set_method(&method).map_err(|()| unsendable("method"))?;
    }
    let base = &settings.base;
    let scheme = if base.secure { Scheme::Https } else { Scheme::Http };
    outgoing.set_scheme(Some(&scheme)).map_err(|()| unsendable("scheme"))?;
    outgoing.set_authority(Some(&base.authority)).map_err(|()| unsendable("authority"))?;
    let mut path = String::with_capacity(base.path.len() + request.target.len());
    path.push_str(&base.path);
    path.push_str(&request.target);
    outgoing.set_path_with_query(Some(&path)).map_err(|()| unsendable("path"))?;
    Ok(outgoing)
}

fn headers(settings: &Settings, request: &Request) -> Result<Fields, AttemptError> {
    let mut entries = Vec::new();
    if let Some(token) = &settings.token {
        entries.push(("authorization".to_owned(), format!("Bearer {token}").into_bytes()));
    }
    if !request.body.is_empty() {
        entries.push(("content-type".to_owned(), b"application/json".to_vec()));
    }
    Fields::from_list(&entries).map_err(|_| unsendable("headers"))
}

/// Writes the body of a request. The response reports any failure.
fn write(body: OutgoingBody, bytes: &[u8]) {
    let Ok(stream) = body.write() else { return };
    let is_written =
        bytes.chunks(WRITE_CHUNK).all(|chunk| stream.blocking_write_and_flush(chunk).is_ok());
    drop(stream);
    // If the body is not finished, the host knows that the request is incomplete.
    if is_written {
        let _ = OutgoingBody::finish(body, None);
    }
}

/// Reads the status and the headers that are needed.
fn read_head(response: &IncomingResponse, request: &Request) -> Response {
    let status = response.status();
    let wants_wait = matches!(status, 429 | 502..=504);
    let mut head = Response { reply: Reply { status, ..Reply::default() }, retry_after: None };
    if wants_wait || request.wants_rate_limit {
        let headers = response.headers();
        let first = |name: &str| headers.get(name).into_iter().next();
        if wants_wait {
            // The wait follows Whereby's clock, because the local one may be wrong.
            let now = || first("date").and_then(|date| Moment::parse_http(&date));
            head.retry_after =
                first("retry-after").and_then(|value| parse_retry_after(&value, now));
        } else {
            let points = |name| core::str::from_utf8(&first(name)?).ok()?.trim().parse().ok();
            let rate_limit = RateLimit {
                limit: points("x-ratelimit-limit"),
                remaining: points("x-ratelimit-remaining"),
            };
            let is_known = rate_limit.limit.is_some() || rate_limit.remaining.is_some();
            head.reply.rate_limit = is_known.then_some(rate_limit);
        }
    }
    head
}

/// Returns the error for a request part that the host rejected.
fn unsendable(part: &str) -> AttemptError {
    AttemptError::other(
        SendErrorKind::Denied,
        &format!("the host rejected the request's {part}"),
        false,
    )
}

fn unreadable(text: &str) -> AttemptError {
    AttemptError::other(SendErrorKind::Unreadable, text, true)
}
