//! Escapes characters in outgoing JSON that a client may take for the end of a line.
//!
//! JSON strings may contain unescaped line separators and non-ASCII control characters, and so may the
//! names of people. Escape sequences have the same meaning to a JSON parser.

use axum::body::{Body, HttpBody as _};
use axum::http::header;
use axum::response::Response;
use http_body_util::BodyExt as _;
use std::borrow::Cow;
use whereby_authority::text;

/// Escapes a stream of JSON, piece by piece.
#[derive(Default)]
struct Escaper {
    /// The beginning of a character that the last piece split.
    begun: Vec<u8>,
}

impl Escaper {
    fn escape<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        if self.begun.is_empty() && piece.iter().all(|byte| *byte < 0x7f) {
            return Cow::Borrowed(piece);
        }
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(piece);
        let whole = match std::str::from_utf8(&bytes) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            // It is not JSON, so it passes unchanged.
            Err(_) => return Cow::Owned(bytes),
        };
        self.begun = bytes.split_off(whole);
        Cow::Owned(text::printable_json(&String::from_utf8_lossy(&bytes)).into_bytes())
    }
}

/// Escapes the body of a response as it streams.
pub(super) async fn response(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    // An event stream is JSON and ASCII keywords, so it can be escaped as a whole.
    if body.is_end_stream() {
        return Response::from_parts(head, body);
    }
    head.headers.remove(header::CONTENT_LENGTH);
    let mut escaper = Escaper::default();
    let body = body.map_frame(move |frame| {
        frame.map_data(|data| match escaper.escape(&data) {
            Cow::Borrowed(_) => data,
            Cow::Owned(escaped) => escaped.into(),
        })
    });
    Response::from_parts(head, Body::new(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_wherever_it_is_split() {
        let text = "{\"a\":\"ü\u{2028}\u{85}\u{7f}😀\u{e0041}\"}\n\ndata: {}\r\n";
        let escaped = "{\"a\":\"ü\\u2028\\u0085\\u007f😀\\udb40\\udc41\"}\n\ndata: {}\r\n";
        for size in 1..=text.len() {
            let mut escaper = Escaper::default();
            let pieces = text.as_bytes().chunks(size);
            let shown: Vec<u8> =
                pieces.flat_map(|piece| escaper.escape(piece).into_owned()).collect();
            assert_eq!(String::from_utf8(shown).expect("UTF-8"), escaped, "{size}");
        }
    }
}
