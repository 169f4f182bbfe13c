//! Response bodies that are sent as fast as the client reads them.

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// How much of a response is given to the connection at a time, in bytes.
const PIECE: usize = 16 * 1024;

/// Returns the response, which holds a value until all of its body has been sent.
pub(crate) fn holding<H: Send + Unpin + 'static>(response: Response, held: H) -> Response {
    response.map(|body| holding_body(body, held))
}

/// Returns the body, which holds a value until it has been read or dropped.
pub(crate) fn holding_body<H: Send + Unpin + 'static>(body: Body, held: H) -> Body {
    Body::new(Holding { body, rest: Bytes::new(), _held: held })
}

struct Holding<H> {
    body: Body,
    /// The unsent part of the last frame.
    rest: Bytes,
    _held: H,
}

impl<H: Unpin> HttpBody for Holding<H> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use http_body_util::BodyExt as _;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_response_is_sent_in_pieces_and_holds_its_value_until_the_last() {
        let (text, held) = ("x".repeat(3 * PIECE + 1), Arc::new(()));
        let response = holding(text.clone().into_response(), Arc::clone(&held));
        let mut body = response.into_body();
        assert_eq!(body.size_hint().exact(), u64::try_from(text.len()).ok());
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.expect("a frame").into_data().expect("data");
            assert!(data.len() <= PIECE && Arc::strong_count(&held) == 2);
            whole.extend_from_slice(&data);
        }
        assert!(body.is_end_stream() && whole == text.as_bytes());
        drop(body);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
