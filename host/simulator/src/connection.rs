//! TCP connections: counted, without Nagle's delay, stopped together, and able to send what no HTTP library would.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Sleep;

/// What a connection sends instead of the answer that the HTTP library hands it. Then it closes.
#[derive(Debug, Default)]
pub(super) struct Takeover {
    /// Sent once.
    pub(super) bytes: Vec<u8>,
    /// Sent over and over after that, until the other side has had enough; nothing when empty.
    pub(super) forever: Vec<u8>,
    /// Sends single bytes, with this pause after each.
    pub(super) pause: Option<Duration>,
    /// Resets the connection at the end, instead of closing it.
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
                    // Only a matter of speed, and a connection that is already gone shows itself later.
                    let _ = stream.set_nodelay(true);
                    let number = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
                    let peer = Peer { number: number as u64, address, seat: Arc::default() };
                    return (Connection::new(stream, peer, self.stop.clone()), address);
                }
                // Out of descriptors, most likely: trying again at once would only burn the processor.
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
    seat: Arc<Seat>,
}

/// Where a handler leaves a takeover for its connection.
#[derive(Debug, Default)]
struct Seat {
    taken: AtomicBool,
    takeover: Mutex<Option<Takeover>>,
}

impl Peer {
    /// The connection will send this in place of the answer that the handler returns next.
    pub(super) fn take_over(&self, takeover: Takeover) {
        *self.seat.takeover.lock().unwrap_or_else(PoisonError::into_inner) = Some(takeover);
        self.seat.taken.store(true, Ordering::Release);
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        stream.io().peer.clone()
    }
}

/// A TCP stream that ends when the simulator stops, and obeys takeovers.
pub(super) struct Connection {
    stream: TcpStream,
    peer: Peer,
    /// None once the simulator has stopped.
    stop: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    takeover: Option<UnderWay>,
}

struct UnderWay {
    takeover: Takeover,
    sent: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    fn new(stream: TcpStream, peer: Peer, mut stop: watch::Receiver<bool>) -> Self {
        let stop: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            // An error means that the simulator is gone without having said so.
            let _ = stop.wait_for(|stop| *stop).await;
        });
        Self { stream, peer, stop: Some(stop), takeover: None }
    }

    fn is_stopped(&mut self, context: &mut Context<'_>) -> bool {
        // A future that has ended may not be asked again.
        if self.stop.as_mut().is_some_and(|stop| stop.as_mut().poll(context).is_ready()) {
            self.stop = None;
        }
        self.stop.is_none()
    }

    /// Ready with none where the HTTP library may write; otherwise sends the takeover, and ends with an error.
    fn poll_takeover(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Error>> {
        if self.is_stopped(context) {
            return Poll::Ready(Some(closed()));
        }
        if self.peer.seat.taken.swap(false, Ordering::Acquire) {
            let takeover =
                self.peer.seat.takeover.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.takeover = takeover.map(|takeover| UnderWay { takeover, sent: 0, pause: None });
        }
        let Some(under_way) = &mut self.takeover else { return Poll::Ready(None) };
        loop {
            if let Some(pause) = &mut under_way.pause {
                ready!(pause.as_mut().poll(context));
                under_way.pause = None;
            }
            let Takeover { bytes, forever, pause, reset } = &mut under_way.takeover;
            if under_way.sent == bytes.len() {
                if *reset {
                    // Without time to linger, the system resets it when it is let go of.
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
                under_way.sent = 0;
            }
            let rest = &bytes[under_way.sent..];
            let piece = if pause.is_some() { &rest[..1] } else { rest };
            match ready!(Pin::new(&mut self.stream).poll_write(context, piece)) {
                Ok(count) => under_way.sent += count,
                Err(error) => return Poll::Ready(Some(error)),
            }
            under_way.pause = pause.map(|pause| Box::pin(tokio::time::sleep(pause)));
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
            // An end of input is what makes the HTTP library let go of the connection.
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_takeover(context)) {
            None => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
            Some(error) => Poll::Ready(Err(error)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
