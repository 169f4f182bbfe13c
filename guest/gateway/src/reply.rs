//! The HTTP responses.

use crate::json::Json;
use crate::prelude::*;

/// A response.
#[derive(Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The header that the status requires, if any.
    pub(crate) header: Option<(&'static str, &'static str)>,
    pub(crate) body: Body,
}

/// The body of a response.
#[derive(Debug, PartialEq)]
pub(crate) enum Body {
    Empty,
    /// One line for people.
    Text(String),
    /// A message of the protocol.
    Json(String),
}

impl Reply {
    /// Returns a refusal by HTTP status, before the body is parsed.
    pub(crate) fn refusal(status: u16, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.push('\n');
        Self { status, header: None, body: Body::Text(text) }
    }

    /// Returns the response with a header.
    pub(crate) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// Returns the response to a notification or a response.
    pub(crate) fn accepted() -> Self {
        Self { status: 202, header: None, body: Body::Empty }
    }

    /// Returns the result of a request. The arguments are JSON.
    pub(crate) fn result(id: &str, result: &str) -> Self {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        Self { status: 200, header: None, body: Body::Json(text) }
    }

    /// Returns a JSON-RPC error. The id is JSON.
    pub(crate) fn error(
        status: u16,
        id: &str,
        code: i32,
        message: &str,
        data: Option<Json>,
    ) -> Self {
        let message = Json::Text(message.to_owned().into()).compact();
        let data = data.map_or_else(String::new, |data| format!(r#","data":{}"#, data.compact()));
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}{data}}}}}"#
        );
        Self { status, header: None, body: Body::Json(text) }
    }
}

impl Body {
    /// Returns the media type, unless the body is empty.
    pub(crate) fn content_type(&self) -> Option<&'static str> {
        match self {
            Self::Empty => None,
            Self::Text(_) => Some("text/plain; charset=utf-8"),
            Self::Json(_) => Some("application/json"),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Text(text) | Self::Json(text) => text.as_bytes(),
        }
    }
}
