//! Takes a request of `wasi:http` and answers it. The only module that calls the host.

use wasi::cli::environment::get_environment;
use wasi::clocks::monotonic_clock;
use wasi::http::types::{
    ErrorCode, Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasi::io::poll;
use wasi::io::streams::StreamError;

use crate::admission::{self, Head, MOST_BODY_BYTES};
use crate::functions::Call;
use crate::prelude::*;
use crate::reply::Reply;
use crate::rpc;
use crate::settings::Settings;

/// How long a client may take for the body of a request, in nanoseconds.
const BODY_PATIENCE: u64 = 10_000_000_000;

/// How much of a body to ask for at once, in bytes.
const READ_CHUNK: u64 = 64 * 1024;

/// How much of an answer may be written at once, in bytes: a rule of `wasi:io`.
const WRITE_CHUNK: usize = 4096;

/// Answers a request.
pub(crate) fn serve(request: &IncomingRequest, response: ResponseOutparam) {
    send(response, &reply_to(request).unwrap_or_else(|refusal| refusal));
}

fn reply_to(request: &IncomingRequest) -> Result<Reply, Reply> {
    let settings = Settings::from_variables(get_environment())
        .map_err(|what| Reply::refusal(503, format!("the gateway is not set up: {what}")))?;
    let head = Head {
        is_post: matches!(request.method(), Method::Post),
        path: request.path_with_query().unwrap_or_default(),
        headers: request.headers().entries(),
    };
    admission::admit(&head, &settings)?;
    let body = read(request)?;
    Ok(rpc::answer(&body, admission::check_version(&head), &settings, &mut Call::make))
}

/// Reads the body, as far as it may go.
fn read(request: &IncomingRequest) -> Result<Vec<u8>, Reply> {
    let broken = || Reply::refusal(400, "the body cannot be read");
    let incoming = request.consume().map_err(|()| broken())?;
    let stream = incoming.stream().map_err(|()| broken())?;
    let arrived = stream.subscribe();
    let late = monotonic_clock::subscribe_duration(BODY_PATIENCE);
    let mut body = Vec::new();
    loop {
        match stream.read(READ_CHUNK) {
            Ok(chunk) if chunk.len() > MOST_BODY_BYTES - body.len() => {
                return Err(admission::too_long());
            }
            Ok(chunk) if chunk.is_empty() => {
                // A client that sends a byte now and then is too late all the same.
                poll::poll(&[&arrived, &late]);
                if late.ready() {
                    return Err(Reply::refusal(408, "the body did not come in time"));
                }
            }
            Ok(chunk) => body.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(body),
            Err(StreamError::LastOperationFailed(_)) => return Err(broken()),
        }
    }
}

/// Sends an answer.
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
    // A client that is gone does not miss the rest; for one that is not, an answer that was not finished
    // is cut off by the host.
    if is_written {
        let _ = OutgoingBody::finish(body, None);
    }
}

/// The head of an answer, and the body that is to be written.
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
