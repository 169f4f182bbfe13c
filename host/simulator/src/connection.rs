//! TCP connections that are counted, stop together, and can send bytes that no HTTP library would.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Sleep;

/// Bytes that a connection sends instead of the HTTP library's response. Then it closes.
#[derive(Debug, Default)]
pub(super) struct Takeover {
    /// Bytes to send once.
    pub(super) bytes: Vec<u8>,
    /// Bytes to repeat after that until the client disconnects; empty for none.
    pub(super) forever: Vec<u8>,
    /// Sends single bytes, with this pause after each.
    pub(super) pause: Option<Duration>,
    /// Resets the connection at the end instead of closing it.
    pub(super) reset: bool,
}

/// Accepts connections on behalf of `axum::serve`.
pub(super) struct Listener {
    pub(super) listener: TcpListener,
    pub(super) accepted: Arc<AtomicUsize>,
    pub(super) stop: watch::Receiver<bool>,
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    // This only affects speed. A connection that is already gone fails later.
                    let _ = stream.set_nodelay(true);
                    let number = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
                    let peer = Peer { number: number as u64, address, slot: Arc::default() };
                    return (Connection::new(stream, peer, self.stop.clone()), address);
                }
                // Most likely there are no file descriptors left, so retrying immediately would be a busy loop.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The connection that a request came on.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) number: u64,
    pub(super) address: SocketAddr,
    /// Passes a takeover from a handler to its connection.
    slot: Arc<Mutex<Option<Takeover>>>,
}

impl Peer {
    /// Makes the connection send this instead of the handler's next response.
    pub(super) fn take_over(&self, takeover: Takeover) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(takeover);
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.io().peer.clone()
    }
}

/// A TCP stream that ends when the simulator stops, and sends takeovers.
pub(super) struct Connection {
    stream: TcpStream,
    peer: Peer,
    /// `None` after the simulator stopped.
    stop: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    takeover: Option<ActiveTakeover>,
}

struct ActiveTakeover {
    takeover: Takeover,
    sent: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    fn new(stream: TcpStream, peer: Peer, mut stop: watch::Receiver<bool>) -> Self {
        let stop: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            // An error means that the simulator was dropped.
            let _ = stop.wait_for(|stop| *stop).await;
        });
        Self { stream, peer, stop: Some(stop), takeover: None }
    }

    fn is_stopped(&mut self, context: &mut Context<'_>) -> bool {
        // A completed future must not be polled again.
        if self.stop.as_mut().is_some_and(|stop| stop.as_mut().poll(context).is_ready()) {
            self.stop = None;
        }
        self.stop.is_none()
    }

    /// Returns ready with `None` if the HTTP library may write. Otherwise sends the takeover, then returns an error.
    fn poll_takeover(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Error>> {
        if self.is_stopped(context) {
            return Poll::Ready(Some(closed()));
        }
        let takeover = self.peer.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(takeover) = takeover {
            self.takeover = Some(ActiveTakeover { takeover, sent: 0, pause: None });
        }
        let Some(active) = &mut self.takeover else { return Poll::Ready(None) };
        loop {
            if let Some(pause) = &mut active.pause {
                ready!(pause.as_mut().poll(context));
                active.pause = None;
            }
            let Takeover { bytes, forever, pause, reset } = &mut active.takeover;
            if active.sent == bytes.len() {
                if *reset {
                    // With zero linger, the system resets the connection when it is dropped.
                    return Poll::Ready(Some(match self.stream.set_zero_linger() {
                        Ok(()) => closed(),
                        Err(error) => error,
                    }));
                }
                if forever.is_empty() {
                    ready!(Pin::new(&mut self.stream).poll_shutdown(context)).ok();
                    return Poll::Ready(Some(closed()));
                }
                bytes.clone_from(forever);
                active.sent = 0;
            }
            let rest = &bytes[active.sent..];
            let piece = if pause.is_some() { &rest[..1] } else { rest };
            match ready!(Pin::new(&mut self.stream).poll_write(context, piece)) {
                Ok(count) => active.sent += count,
                Err(error) => return Poll::Ready(Some(error)),
            }
            active.pause = pause.map(|pause| Box::pin(tokio::time::sleep(pause)));
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "closed by the simulator")
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, into) {
            // The end of input makes the HTTP library close the connection.
            Poll::Pending if self.is_stopped(context) => Poll::Ready(Ok(())),
            polled => polled,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_takeover(context)) {
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
            Some(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
