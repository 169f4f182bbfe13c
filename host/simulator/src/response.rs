//! The responses of the simulated API.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::switches::ErrorBody;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// A response. Its length is added when it is sent.
#[derive(Clone, Debug)]
pub(super) struct ApiResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The reason why a request is refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    text: &'static str,
    /// The member that the text is about, if any.
    about: Option<&'static str>,
}

impl ApiResponse {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Vec::new() }
    }

    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        // Serialization fails only for maps with keys other than strings, which no response has.
        let body = serde_json::to_vec(value).unwrap_or_default();
        Self::empty(status).with(header::CONTENT_TYPE, JSON).with_body(body)
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    /// Returns the head of the response as bytes of HTTP/1.1, with the header that marks the end of its body.
    pub(super) fn head(&self, framing: &str) -> Vec<u8> {
        let reason = self.status.canonical_reason().unwrap_or("");
        let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", self.status.as_u16()).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("{framing}\r\n\r\n").as_bytes());
        bytes
    }
}

impl Refusal {
    pub(super) const UNAUTHORIZED: Self = Self::new(StatusCode::UNAUTHORIZED, "Unauthorized");
    pub(super) const NOT_FOUND: Self = Self::new(StatusCode::NOT_FOUND, "Not found");
    pub(super) const TOO_LARGE: Self =
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body is too large");
    pub(super) const NOT_IN_PLAN: Self =
        Self::new(StatusCode::FORBIDDEN, "Recording and streaming are not part of your plan");

    const fn new(status: StatusCode, text: &'static str) -> Self {
        Self { status, text, about: None }
    }

    /// Returns a 400 for the whole request.
    pub(super) const fn bad_request(text: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// Returns a 400 for one member of the body or the query.
    pub(super) const fn invalid(about: &'static str, text: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text, about: Some(about) }
    }

    pub(super) fn to_response(self, form: ErrorBody) -> ApiResponse {
        let text = match self.about {
            Some(about) => format!("Invalid value for {about}: {}", self.text),
            None => self.text.to_owned(),
        };
        match form {
            ErrorBody::Json => {
                ApiResponse::json(self.status, &serde_json::json!({ "error": text }))
            }
            ErrorBody::Empty => ApiResponse::empty(self.status),
            ErrorBody::Html => {
                let page = format!(
                    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
                     <title>Error</title>\n</head>\n<body>\n<pre>{text}</pre>\n</body>\n</html>\n"
                );
                ApiResponse::empty(self.status)
                    .with(header::CONTENT_TYPE, HTML)
                    .with_body(page.into_bytes())
            }
        }
    }
}
