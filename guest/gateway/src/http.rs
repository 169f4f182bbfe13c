//! Serves requests over `wasi:http`. Only this module calls the host.

use wasi::cli::environment::get_environment;
use wasi::clocks::monotonic_clock;
use wasi::http::types::{
    ErrorCode, Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasi::io::poll;
use wasi::io::streams::StreamError;

use crate::admission::{self, Head, MAX_BODY_BYTES};
use crate::functions::Call;
use crate::prelude::*;
use crate::reply::Reply;
use crate::rpc;
use crate::settings::Settings;

/// The time limit for receiving a body, in nanoseconds.
const BODY_TIMEOUT: u64 = 10_000_000_000;

/// The maximum number of body bytes to read at once.
const READ_CHUNK: u64 = 64 * 1024;

/// The maximum number of response bytes that `wasi:io` allows in one write.
const WRITE_CHUNK: usize = 4096;

/// Responds to a request.
pub(crate) fn serve(request: &IncomingRequest, response: ResponseOutparam) {
    send(response, &reply_to(request).unwrap_or_else(|refusal| refusal));
}

fn reply_to(request: &IncomingRequest) -> Result<Reply, Reply> {
    let settings = Settings::from_variables(get_environment())
        .map_err(|what| Reply::refusal(503, format!("the gateway is not configured: {what}")))?;
    let head = Head {
        is_post: matches!(request.method(), Method::Post),
        path: request.path_with_query().unwrap_or_default(),
        headers: request.headers().entries(),
    };
    admission::admit(&head, &settings)?;
    let body = read(request)?;
    Ok(rpc::answer(&body, admission::check_version(&head), &settings, &mut Call::make))
}

/// Reads the body, within the limits of size and time.
fn read(request: &IncomingRequest) -> Result<Vec<u8>, Reply> {
    let broken = || Reply::refusal(400, "the body cannot be read");
    let incoming = request.consume().map_err(|()| broken())?;
    let stream = incoming.stream().map_err(|()| broken())?;
    let arrived = stream.subscribe();
    let late = monotonic_clock::subscribe_duration(BODY_TIMEOUT);
    let mut body = Vec::new();
    loop {
        match stream.read(READ_CHUNK) {
            Ok(chunk) if chunk.len() > MAX_BODY_BYTES - body.len() => {
                return Err(admission::too_long());
            }
            Ok(chunk) if chunk.is_empty() => {
                // The time limit also holds for a client that keeps sending a byte now and then.
                poll::poll(&[&arrived, &late]);
                if late.ready() {
                    return Err(Reply::refusal(408, "the body did not arrive in time"));
                }
            }
            Ok(chunk) => body.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(body),
            Err(StreamError::LastOperationFailed(_)) => return Err(broken()),
        }
    }
}

/// Sends a response.
fn send(response: ResponseOutparam, reply: &Reply) {
    let Some((head, body)) = outgoing(reply) else {
        ResponseOutparam::set(response, Err(ErrorCode::InternalError(None)));
        return;
    };
    ResponseOutparam::set(response, Ok(head));
    let Ok(stream) = body.write() else { return };
    let mut chunks = reply.body.as_bytes().chunks(WRITE_CHUNK);
    let is_written = chunks.all(|chunk| stream.blocking_write_and_flush(chunk).is_ok());
    drop(stream);
    // If writing failed, the host cuts the unfinished response off, so a client notices.
    if is_written {
        let _ = OutgoingBody::finish(body, None);
    }
}

/// Returns the head of a response, and its body to write to.
fn outgoing(reply: &Reply) -> Option<(OutgoingResponse, OutgoingBody)> {
    let length = reply.body.as_bytes().len().to_string();
    let mut headers = vec![("content-length".to_owned(), length.into_bytes())];
    let content_type = reply.body.content_type().map(|value| ("content-type", value));
    for (name, value) in content_type.into_iter().chain(reply.header) {
        headers.push((name.to_owned(), value.as_bytes().to_vec()));
    }
    let response = OutgoingResponse::new(Fields::from_list(&headers).ok()?);
    response.set_status_code(reply.status).ok()?;
    let body = response.body().ok()?;
    Some((response, body))
}
