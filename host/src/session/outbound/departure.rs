//! The moment at which a request leaves. Until then it can be stopped, however long connecting takes.
//!
//! Connections are shared and kept, so nothing about one of them may depend on a call. The client asks a
//! request's body for its length when a connection begins to write the request, and not before, so the body
//! notices the moment.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

const WAITING: u8 = 0;
const LEFT: u8 = 1;
const STOPPED: u8 = 2;

/// Whether a request waits for a connection, has left, or was stopped. It changes once.
#[derive(Clone, Default)]
pub(super) struct Departure(Arc<AtomicU8>);

impl Departure {
    pub(super) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::SeqCst) == WAITING
    }

    /// Stops the request. Returns whether it did: `false` if the request has left.
    pub(super) fn stop(&self) -> bool {
        self.change(STOPPED)
    }

    /// Lets the request leave. Returns whether it did: `false` if the request was stopped.
    fn leave(&self) -> bool {
        self.change(LEFT)
    }

    /// Makes the change, or keeps an earlier one. Returns whether it is in force.
    fn change(&self, to: u8) -> bool {
        let changed = self.0.compare_exchange(WAITING, to, Ordering::SeqCst, Ordering::SeqCst);
        changed.map_or_else(|earlier| earlier == to, |_| true)
    }
}

/// The body of a request.
pub(super) struct Outgoing {
    pub(super) content: Full<Bytes>,
    pub(super) departure: Departure,
}

/// The error of a request that was stopped at the moment when a connection took it. The connection ends
/// without writing it.
#[derive(Debug, thiserror::Error)]
#[error("the request was stopped")]
pub(super) struct Stopped;

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        if !self.departure.leave() {
            return Poll::Ready(Some(Err(Stopped)));
        }
        let polled = Pin::new(&mut self.content).poll_frame(context);
        polled.map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
    }

    fn is_end_stream(&self) -> bool {
        self.departure.leave() && self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Something to wait for keeps the head of a request from being flushed.
        let length =
            if self.departure.0.load(Ordering::SeqCst) == STOPPED { Some(1) } else { None };
        length.map_or_else(|| self.content.size_hint(), SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn outgoing(content: &'static str) -> Outgoing {
        Outgoing { content: Full::from(content), departure: Departure::default() }
    }

    #[test]
    fn a_request_leaves_or_is_stopped_and_never_both() {
        for content in ["", "{}"] {
            let left = outgoing(content);
            assert_eq!(left.size_hint().exact(), Some(content.len() as u64));
            assert!(left.departure.is_waiting(), "asking for the size takes nothing");
            assert_eq!(left.is_end_stream(), content.is_empty());
            assert!(!left.departure.is_waiting() && !left.departure.stop());
            assert_eq!(left.is_end_stream(), content.is_empty());

            let mut stopped = outgoing(content);
            assert!(stopped.departure.stop());
            // A head is written with a body, and the body cannot be read.
            assert!(!stopped.is_end_stream());
            assert_eq!(stopped.size_hint().exact(), Some(1));
            let mut context = Context::from_waker(Waker::noop());
            let frame = Pin::new(&mut stopped).poll_frame(&mut context);
            assert!(matches!(frame, Poll::Ready(Some(Err(Stopped)))));
        }
    }
}
