//! Sends the guard's requests, and reads responses.

use crate::bindings::wasi::clocks::monotonic_clock;
use crate::bindings::wasi::http::outgoing_handler;
use crate::bindings::wasi::http::types::{
    Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use crate::bindings::wasi::io::poll::{self, Pollable};
use crate::bindings::wasi::io::streams::{InputStream, StreamError};
use crate::guard::{Incoming, Stopped};
use crate::prelude::*;
use crate::settings::Settings;
use whereby_authority::grant::Admitted;

pub(crate) use crate::bindings::wasi::http::types::ErrorCode as TheirCode;

/// The maximum time until a response begins, in nanoseconds. The functions give up after 20 seconds, and
/// their error says more.
const FIRST_BYTE_TIME: u64 = 22_000_000_000;

/// The maximum time for the rest of a body after its first pause, and between two parts of it, in nanoseconds.
const BODY_TIME: u64 = 15_000_000_000;

/// How much of a response is read at once, in bytes.
const READ_CHUNK: u64 = 2 * 1024 * 1024 + 1;

/// The maximum number of bytes that `wasi:io` allows in one write.
const WRITE_CHUNK: usize = 4096;

/// The headers of a response that matter.
const HEADERS: [&str; 4] =
    ["content-encoding", "retry-after", "x-ratelimit-limit", "x-ratelimit-remaining"];

/// Why a response was not read.
pub(crate) enum Failure {
    /// The connection failed.
    Code(TheirCode),
    /// The guard stopped it.
    Stopped(Stopped),
}

/// Sends an admitted request, with the key.
pub(crate) fn send(
    settings: &Settings,
    admitted: &Admitted,
) -> Result<FutureIncomingResponse, TheirCode> {
    let mut headers = vec![("accept".to_owned(), b"application/json".to_vec())];
    if let Some(token) = &settings.token {
        headers.push(("authorization".to_owned(), ["Bearer ", token].concat().into_bytes()));
        // The key could not be redacted in a compressed response.
        headers.push(("accept-encoding".to_owned(), b"identity".to_vec()));
    }
    if let Some(body) = &admitted.body {
        headers.push(("content-type".to_owned(), b"application/json".to_vec()));
        headers.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
    }
    let unsendable = |()| TheirCode::HttpRequestUriInvalid;
    let fields = Fields::from_list(&headers).or_else(|_| {
        // Runtimes may reserve the length for themselves.
        headers.retain(|(name, _)| name != "content-length");
        Fields::from_list(&headers)
    });
    let request = OutgoingRequest::new(fields.map_err(|_| TheirCode::HttpRequestDenied)?);
    let api = &settings.api;
    let scheme = if api.is_https { Scheme::Https } else { Scheme::Http };
    let path = [api.path.as_str(), &admitted.path_and_query].concat();
    let is_write = admitted.method != "GET";
    if is_write {
        let method = if admitted.method == "POST" { Method::Post } else { Method::Delete };
        request.set_method(&method).map_err(unsendable)?;
    }
    request.set_scheme(Some(&scheme)).map_err(unsendable)?;
    request.set_authority(Some(&api.authority)).map_err(unsendable)?;
    request.set_path_with_query(Some(&path)).map_err(unsendable)?;
    let options = timeouts(is_write);
    let Some(bytes) = &admitted.body else {
        return outgoing_handler::handle(request, Some(options));
    };
    let body = request.body().map_err(unsendable)?;
    let future = outgoing_handler::handle(request, Some(options))?;
    let Ok(stream) = body.write() else { return Ok(future) };
    let is_written =
        bytes.chunks(WRITE_CHUNK).all(|chunk| stream.blocking_write_and_flush(chunk).is_ok());
    drop(stream);
    // If the body is not finished, the runtime knows that the request is incomplete.
    if is_written {
        let _ = OutgoingBody::finish(body, None);
    }
    Ok(future)
}

/// Returns the time limits of a request. A runtime may not support them.
fn timeouts(is_write: bool) -> RequestOptions {
    let options = RequestOptions::new();
    if is_write {
        // For Node.js, any silence would be a failed connection, as if nothing had been sent. After a read, that is
        // harmless.
        let _ = options.set_connect_timeout(None);
    }
    let _ = options.set_first_byte_timeout(Some(FIRST_BYTE_TIME));
    let _ = options.set_between_bytes_timeout(Some(BODY_TIME));
    options
}

/// Reads a whole response. `count` is told how many bytes there are, and how many more.
pub(crate) fn read(
    response: IncomingResponse,
    mut count: impl FnMut(usize, usize) -> Result<(), Stopped>,
) -> Result<Incoming, Failure> {
    let status = response.status();
    // In one call of the runtime, which costs less than a call for each name.
    let mut headers = Vec::new();
    for (name, value) in response.headers().entries() {
        if let Some(known) = HEADERS.into_iter().find(|known| known.eq_ignore_ascii_case(&name))
            && let Ok(value) = String::from_utf8(value)
        {
            headers.push((known, value));
        }
    }
    let is_encoded = headers.iter().any(|(name, value)| {
        *name == HEADERS[0] && !value.is_empty() && !value.eq_ignore_ascii_case("identity")
    });
    let incomplete = || Failure::Code(TheirCode::HttpResponseIncomplete);
    let body = response.consume().map_err(|()| incomplete())?;
    let stream = body.stream().map_err(|()| incomplete())?;
    // The time counts from the first pause: what has arrived is read at once, and its size is limited. Where reading
    // blocks, there is no pause, and the time counts from the second part.
    let mut late: Option<Pollable> = None;
    let new = || monotonic_clock::subscribe_duration(BODY_TIME);
    // Put together at the end, because what a growing list leaves behind is not freed during the call.
    let (mut chunks, mut size) = (Vec::new(), 0);
    loop {
        match stream.read(READ_CHUNK) {
            Ok(_) if late.as_ref().is_some_and(Pollable::ready) => {
                return Err(Failure::Code(TheirCode::ConnectionReadTimeout));
            }
            Ok(chunk) if chunk.is_empty() => {
                wait(&stream, late.get_or_insert_with(new));
            }
            Ok(chunk) => {
                count(size, chunk.len()).map_err(Failure::Stopped)?;
                if size > 0 {
                    late.get_or_insert_with(new);
                }
                size += chunk.len();
                chunks.push(chunk);
            }
            Err(StreamError::Closed) => break,
            // The status of an error response is enough.
            Err(StreamError::LastOperationFailed(_)) if status >= 300 => break,
            Err(StreamError::LastOperationFailed(_)) => return Err(incomplete()),
        }
    }
    let body = if chunks.len() == 1 { chunks.remove(0) } else { chunks.concat() };
    Ok(Incoming { status, headers, body: (!is_encoded).then_some(body) })
}

/// Waits for more of a body, or until it is late.
fn wait(stream: &InputStream, late: &Pollable) {
    poll::poll(&[&stream.subscribe(), late]);
}
