//! Asynchronous standard input and output. MCP clients use pipes or sockets; those are read and written
//! without a thread in between, which would delay each message.
//!
//! The flags of the files do not change. Other programs may share the same open file, and would find it
//! non-blocking.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Returns standard input.
pub(super) fn stdin() -> Box<dyn AsyncRead + Send + Unpin> {
    #[cfg(unix)]
    if let Some(stdin) = unix::stream(&std::io::stdin()) {
        return Box::new(stdin);
    }
    Box::new(tokio::io::stdin())
}

/// Returns standard output.
pub(super) fn stdout() -> Box<dyn AsyncWrite + Send + Unpin> {
    #[cfg(unix)]
    if let Some(stdout) = unix::stream(&std::io::stdout()) {
        return Box::new(stdout);
    }
    Box::new(tokio::io::stdout())
}

/// Returns a token that is cancelled when the other end of standard output is closed. If that cannot be
/// detected, the next write fails instead.
pub(super) fn stdout_closed() -> CancellationToken {
    let gone = CancellationToken::new();
    #[cfg(unix)]
    unix::watch(gone.clone());
    gone
}

#[cfg(unix)]
mod unix {
    use super::CancellationToken;
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::fs::FileType;
    use rustix::io::Errno;
    use rustix::net::{RecvFlags, SendFlags, recv, send};
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};
    use tokio::io::unix::AsyncFd;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    /// The stack size of a thread that waits for one event, in bytes.
    const STACK: usize = 64 * 1024;

    pub(super) fn stream(stream: &impl AsFd) -> Option<Stream> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(stream).ok()?.st_mode);
        let is_socket = match kind {
            FileType::Fifo => false,
            FileType::Socket => true,
            _ => return None,
        };
        Some(Stream { fd: watched(stream)?, is_socket })
    }

    #[expect(deprecated, reason = "the other way is unsafe, and this descriptor is never replaced")]
    fn watched(stream: &impl AsFd) -> Option<AsyncFd<OwnedFd>> {
        AsyncFd::new(stream.as_fd().try_clone_to_owned().ok()?).ok()
    }

    /// Fails if reading or writing would block.
    fn check_ready(fd: &OwnedFd, events: PollFlags) -> Result<(), Errno> {
        let mut events = [PollFd::new(fd, events)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut events, Some(&now))? > 0 { Ok(()) } else { Err(Errno::AGAIN) }
    }

    /// A pipe, which is checked before each read or write, or a socket, for which each call passes a flag:
    /// neither blocks.
    pub(super) struct Stream {
        fd: AsyncFd<OwnedFd>,
        is_socket: bool,
    }

    impl Stream {
        fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
            let fd = self.fd.get_ref();
            if self.is_socket {
                return recv(fd, buffer, RecvFlags::DONTWAIT).map(|(read, _)| read);
            }
            check_ready(fd, PollFlags::IN)?;
            rustix::io::read(fd, buffer)
        }

        fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
            let fd = self.fd.get_ref();
            if self.is_socket {
                return send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            }
            check_ready(fd, PollFlags::OUT)?;
            rustix::io::write(fd, &bytes[..bytes.len().min(PIPE_BUF)])
        }
    }

    /// A writable pipe has space for at least this many bytes (POSIX).
    const PIPE_BUF: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

    pub(super) fn watch(gone: CancellationToken) {
        let wait = move || {
            let stdout = io::stdout();
            // `poll` always reports errors and hang-ups.
            let mut events = [PollFd::new(&stdout, PollFlags::empty())];
            if rustix::io::retry_on_intr(|| poll(&mut events, None)).is_ok() {
                gone.cancel();
            }
        };
        // Without the thread, the next write fails.
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(wait);
    }

    impl AsyncRead for Stream {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            loop {
                let mut ready = ready!(self.fd.poll_read_ready(context))?;
                match self.read(buffer.initialize_unfilled()) {
                    Ok(read) => {
                        buffer.advance(read);
                        return Poll::Ready(Ok(()));
                    }
                    Err(Errno::INTR) => {}
                    // It was not ready after all, or another program was faster.
                    Err(Errno::AGAIN) => ready.clear_ready(),
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
        }
    }

    impl AsyncWrite for Stream {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            loop {
                let mut ready = ready!(self.fd.poll_write_ready(context))?;
                match self.write(bytes) {
                    Ok(written) => return Poll::Ready(Ok(written)),
                    Err(Errno::INTR) => {}
                    // It was not ready after all, or another program was faster.
                    Err(Errno::AGAIN) => ready.clear_ready(),
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            // The stream closes when the program ends; other code may write to it until then.
            Poll::Ready(Ok(()))
        }
    }
}
