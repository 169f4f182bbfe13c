//! One attempt of one request: sends it, and reads the response as it arrives.

use core::time::Duration;

use wasi::http::outgoing_handler;
use wasi::http::types::{
    Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, OutgoingBody, OutgoingRequest,
    Scheme,
};
use wasi::io::poll::Pollable;
use wasi::io::streams::{InputStream, StreamError};

use super::failure::{Stop, from_error_code};
use crate::date::Moment;
use crate::prelude::*;
use crate::retry::parse_retry_after;
use crate::settings::Settings;
use crate::transport::{FailureKind, Method, Reply, Request};
use crate::types::RateLimit;

/// The maximum size of a response, in bytes.
const LONGEST_ANSWER: usize = 2 * 1024 * 1024;

/// How many bytes of a response to read at once.
const READ_CHUNK: u64 = 256 * 1024;

/// How many bytes of a request `wasi:io` allows to be written at once.
const WRITE_CHUNK: usize = 4096;

/// An attempt in progress.
pub(super) struct Exchange {
    /// What the attempt waits for. It comes first because it must be dropped before its parent.
    ready: Pollable,
    stage: Stage,
}

enum Stage {
    Asked(FutureIncomingResponse),
    Reading(Reading),
}

/// A response whose body is being read. The stream must be dropped before its body.
struct Reading {
    stream: InputStream,
    _body: IncomingBody,
    answer: Answer,
}

/// A complete response.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    /// The wait that a header asks for.
    pub(super) retry_after: Option<Duration>,
}

/// The state of an attempt after a step.
pub(super) enum Progress {
    Pending,
    Answered(Answer),
    Failed(Stop),
}

impl Exchange {
    /// Sends a request.
    pub(super) fn begin(settings: &Settings, request: &Request) -> Result<Self, Stop> {
        let outgoing = outgoing_request(settings, request)?;
        let body = match request.body.is_empty() {
            true => None,
            false => Some(outgoing.body().map_err(|()| unsendable("body"))?),
        };
        let future = outgoing_handler::handle(outgoing, None).map_err(from_error_code)?;
        if let Some(body) = body {
            write(body, &request.body);
        }
        Ok(Self { ready: future.subscribe(), stage: Stage::Asked(future) })
    }

    /// What to wait for before going on.
    pub(super) fn pollable(&self) -> &Pollable {
        &self.ready
    }

    /// Continues as far as possible without waiting.
    pub(super) fn advance(&mut self, request: &Request) -> Progress {
        if let Stage::Asked(future) = &self.stage {
            let response = match future.get() {
                None => return Progress::Pending,
                Some(Ok(Ok(response))) => response,
                Some(Ok(Err(code))) => return Progress::Failed(from_error_code(code)),
                Some(Err(())) => return Progress::Failed(unreadable("the host gave no answer")),
            };
            let answer = read_head(&response, request);
            let Ok(body) = response.consume() else {
                return Progress::Failed(unreadable("the answer has no body"));
            };
            let Ok(stream) = body.stream() else {
                return Progress::Failed(unreadable("the body of the answer cannot be read"));
            };
            let mut reading = Reading { stream, _body: body, answer };
            // Often the whole body has arrived, and there is no need to wait.
            let progress = reading.advance();
            if matches!(progress, Progress::Pending) {
                self.ready = reading.stream.subscribe();
                self.stage = Stage::Reading(reading);
            }
            return progress;
        }
        match &mut self.stage {
            Stage::Reading(reading) => reading.advance(),
            Stage::Asked(_) => Progress::Pending,
        }
    }
}

impl Reading {
    fn advance(&mut self) -> Progress {
        let reply = &mut self.answer.reply;
        loop {
            match self.stream.read(READ_CHUNK) {
                Ok(chunk) if chunk.is_empty() => return Progress::Pending,
                Ok(chunk) if chunk.len() > LONGEST_ANSWER - reply.body.len() => {
                    return Progress::Failed(unreadable("the answer is longer than 2 MiB"));
                }
                Ok(chunk) if reply.body.is_empty() => reply.body = chunk,
                Ok(chunk) => reply.body.extend_from_slice(&chunk),
                Err(StreamError::Closed) => break,
                // Of a failed response, the status is what matters.
                Err(StreamError::LastOperationFailed(_)) if reply.status >= 300 => break,
                Err(StreamError::LastOperationFailed(_)) => {
                    return Progress::Failed(Stop::connection(
                        FailureKind::Unavailable,
                        "the connection failed before the answer was complete",
                        true,
                    ));
                }
            }
        }
        Progress::Answered(core::mem::take(&mut self.answer))
    }
}

fn outgoing_request(settings: &Settings, request: &Request) -> Result<OutgoingRequest, Stop> {
    let outgoing = OutgoingRequest::new(headers(settings, request)?);
    let method = match request.method {
        // This is the default.
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

fn headers(settings: &Settings, request: &Request) -> Result<Fields, Stop> {
    let mut entries = Vec::new();
    if let Some(token) = &settings.token {
        entries.push(("authorization".to_owned(), format!("Bearer {token}").into_bytes()));
    }
    if !request.body.is_empty() {
        entries.push(("content-type".to_owned(), b"application/json".to_vec()));
    }
    if entries.is_empty() {
        return Ok(Fields::new());
    }
    Fields::from_list(&entries).map_err(|_| unsendable("headers"))
}

/// Writes the body of a request. A failure appears in the response that the host returns.
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
fn read_head(response: &IncomingResponse, request: &Request) -> Answer {
    let status = response.status();
    let wants_wait = matches!(status, 429 | 502..=504);
    let mut answer = Answer { reply: Reply { status, ..Reply::default() }, retry_after: None };
    if wants_wait || request.wants_rate_limit {
        let headers = response.headers();
        let first = |name: &str| headers.get(name).into_iter().next();
        if wants_wait {
            // Whereby's clock counts, because this one may be wrong.
            let now = || first("date").and_then(|date| Moment::parse_http(&date));
            answer.retry_after =
                first("retry-after").and_then(|value| parse_retry_after(&value, now));
        } else {
            let points = |name| core::str::from_utf8(&first(name)?).ok()?.trim().parse().ok();
            let rate_limit = RateLimit {
                limit: points("x-ratelimit-limit"),
                remaining: points("x-ratelimit-remaining"),
            };
            let is_known = rate_limit.limit.is_some() || rate_limit.remaining.is_some();
            answer.reply.rate_limit = is_known.then_some(rate_limit);
        }
    }
    answer
}

/// Returns the failure of a request that the host did not accept.
fn unsendable(part: &str) -> Stop {
    Stop::other(FailureKind::Denied, &format!("the host does not take the request's {part}"), false)
}

fn unreadable(text: &str) -> Stop {
    Stop::other(FailureKind::Unreadable, text, true)
}
