//! The SDK's answers as each client takes them.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use rmcp::model::ErrorData;
use serde_json::Value;

use crate::mcp::message::Refusal;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: &str = "text/event-stream";

/// The code of an error for which JSON-RPC leaves no better one: the session is not known.
const NO_SESSION: i32 = -32001;

/// The longest explanation of an error that is passed on, in bytes.
const MAX_EXPLANATION: usize = 4096;

/// In which form a client takes answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// As a stream of events, in which questions and progress come before the answer.
    Events,
    /// As one JSON document.
    Json,
}

impl Form {
    /// What a client accepts; streams only where it names them. Nothing where it accepts neither.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut accept = headers.get_all(header::ACCEPT).iter().peekable();
        if accept.peek().is_none() {
            return Some(Self::Json);
        }
        let mut form = None;
        for range in accept.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(',')) {
            let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
            let range = parts.next().unwrap_or_default();
            if parts.any(|part| part.strip_prefix("q=").is_some_and(is_zero)) {
                continue;
            }
            match range.as_str() {
                EVENTS | "text/*" => return Some(Self::Events),
                "" | "*/*" | "application/*" | "application/json" => form = Some(Self::Json),
                _ => {}
            }
        }
        form
    }
}

fn is_zero(weight: &str) -> bool {
    weight.parse::<f32>().is_ok_and(|weight| weight == 0.0)
}

/// The answer to a message that is refused.
pub(super) fn refusal(status: StatusCode, refusal: &Refusal) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], refusal.to_json().to_string()).into_response()
}

/// An answer whose explanation is plain text, as a JSON-RPC error to the request with this id.
pub(super) async fn explained(response: Response, id: Value) -> Response {
    let is_json = response.headers().get(header::CONTENT_TYPE) == Some(&JSON);
    if is_json || !response.status().is_client_error() && !response.status().is_server_error() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, MAX_EXPLANATION).await.unwrap_or_default();
    let text = match text.trim_ascii() {
        [] => parts.status.canonical_reason().unwrap_or("the request is refused").into(),
        text => String::from_utf8_lossy(text).into_owned(),
    };
    let error = match parts.status {
        StatusCode::NOT_FOUND => ErrorData::new(rmcp::model::ErrorCode(NO_SESSION), text, None),
        status if status.is_server_error() => ErrorData::internal_error(text, None),
        _ => ErrorData::invalid_request(text, None),
    };
    parts.headers.insert(header::CONTENT_TYPE, JSON);
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = Refusal { id, error }.to_json().to_string();
    Response::from_parts(parts, Body::from(body))
}

/// The one answer in a stream of events, as a JSON document.
pub(super) async fn collected(response: Response) -> Response {
    if !is_events(&response) {
        return response;
    }
    let (mut parts, mut body) = response.into_parts();
    while let Some(Ok(frame)) = body.frame().await {
        // The SDK sends each event as one frame, and its data as one line.
        let Ok(event) = frame.into_data() else { continue };
        let data = event.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data:"));
        let message = data.and_then(|data| serde_json::from_slice::<Value>(data).ok());
        let Some(message) = message else { continue };
        if message.get("method").is_none() {
            parts.headers.insert(header::CONTENT_TYPE, JSON);
            return Response::from_parts(parts, Body::from(message.to_string()));
        }
    }
    // A request that the client took back has no answer.
    StatusCode::ACCEPTED.into_response()
}

/// A stream of events without those that have no data, which clients of the protocols before
/// 2025-11-25 take for broken messages.
pub(super) fn without_empty_events(response: Response) -> Response {
    if !is_events(&response) {
        return response;
    }
    response.map(|body| {
        Body::new(body.map_frame(|frame| {
            frame.map_data(|event| if is_empty_event(&event) { Bytes::new() } else { event })
        }))
    })
}

fn is_events(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == EVENTS)
}

/// Whether an event has data, and all of it is empty. A comment that keeps the stream alive has none.
fn is_empty_event(event: &[u8]) -> bool {
    let mut data = event
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"data:"))
        .peekable();
    data.peek().is_some() && data.all(|data| data.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_what_it_takes() {
        for (accept, form) in [
            (&[][..], Some(Form::Json)),
            (&["application/json, text/event-stream"], Some(Form::Events)),
            (&["application/json", "text/event-stream"], Some(Form::Events)),
            (&["Text/Event-Stream;q=0.5"], Some(Form::Events)),
            (&["*/*"], Some(Form::Json)),
            (&["application/*;q=0.1"], Some(Form::Json)),
            (&["application/json"], Some(Form::Json)),
            (&["application/json, text/event-stream; q=0"], Some(Form::Json)),
            (&["text/html, */*;q=0.8"], Some(Form::Json)),
            (&[""], Some(Form::Json)),
            (&["text/html"], None),
            (&["application/json;q=0.0"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(Form::of(&headers), form, "{accept:?}");
        }
    }
}
