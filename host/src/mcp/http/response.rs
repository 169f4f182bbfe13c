//! Converts the SDK's responses to the form that each client accepts.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use rmcp::model::ErrorData;
use serde_json::Value;

use crate::mcp::message::Refusal;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: &str = "text/event-stream";

/// The error code for an unknown session, for which JSON-RPC defines none.
const NO_SESSION: i32 = -32001;

/// The maximum length of an error's explanation that is passed on, in bytes.
const MAX_EXPLANATION: usize = 4096;

/// The form of responses that a client accepts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// A stream of events, in which questions and progress come before the response.
    Events,
    /// A single JSON object.
    Json,
}

impl Form {
    /// Returns the form that a client accepts, or `None` if it accepts neither. A client gets streams
    /// only if it names them.
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

/// Returns the response to a refused message.
pub(super) fn refusal(status: StatusCode, refusal: &Refusal) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], refusal.to_json().to_string()).into_response()
}

/// Converts an error response in plain text to a JSON-RPC error for the request with this ID.
pub(super) async fn explained(response: Response, id: Value) -> Response {
    let is_json = response.headers().get(header::CONTENT_TYPE) == Some(&JSON);
    if is_json || !response.status().is_client_error() && !response.status().is_server_error() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, MAX_EXPLANATION).await.unwrap_or_default();
    let text = match text.trim_ascii() {
        [] => parts.status.canonical_reason().unwrap_or("the request was refused").into(),
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

/// Returns the only response in a stream of events as a JSON object.
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
    // A request that the client cancelled has no response.
    StatusCode::ACCEPTED.into_response()
}

/// Removes events with empty data from a stream. Clients of the protocols before 2025-11-25 report
/// them as malformed messages.
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

/// Returns whether an event has only empty data. A keep-alive comment has no data.
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
    fn the_form_follows_from_the_accept_headers() {
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
