//! Asynchronous standard input and output. MCP clients use pipes or sockets; those are read and written
//! without a thread in between, which would delay each message.
//!
//! The flags of the files do not change. Other programs may share the same open file, and would find it
//! non-blocking.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Returns standard input.
pub(super) fn stdin() -> Reader {
    #[cfg(unix)]
    if let Some(stdin) = unix::reader(&std::io::stdin()) {
        return stdin;
    }
    Box::new(tokio::io::stdin())
}

/// Returns standard output.
pub(super) fn stdout() -> Writer {
    #[cfg(unix)]
    if let Some(stdout) = unix::writer(&std::io::stdout()) {
        return stdout;
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
    use super::{CancellationToken, Reader, Writer};
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::fs::FileType;
    use rustix::net::{RecvFlags, SendFlags, recv, send};
    use std::io::{self, ErrorKind};
    use std::os::fd::{AsFd, OwnedFd};
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};
    use tokio::io::unix::AsyncFd;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    /// The stack size of a thread that waits for one event, in bytes.
    const STACK: usize = 64 * 1024;

    pub(super) fn reader(stream: &impl AsFd) -> Option<Reader> {
        match kind(stream)? {
            FileType::Fifo => Some(Box::new(Pipe(watched(stream)?))),
            FileType::Socket => Some(Box::new(Socket(watched(stream)?))),
            _ => None,
        }
    }

    pub(super) fn writer(stream: &impl AsFd) -> Option<Writer> {
        match kind(stream)? {
            FileType::Fifo => Some(Box::new(Pipe(watched(stream)?))),
            FileType::Socket => Some(Box::new(Socket(watched(stream)?))),
            _ => None,
        }
    }

    fn kind(stream: &impl AsFd) -> Option<FileType> {
        Some(FileType::from_raw_mode(rustix::fs::fstat(stream).ok()?.st_mode))
    }

    #[expect(deprecated, reason = "the other way is unsafe, and this descriptor is never replaced")]
    fn watched(stream: &impl AsFd) -> Option<AsyncFd<OwnedFd>> {
        AsyncFd::new(stream.as_fd().try_clone_to_owned().ok()?).ok()
    }

    /// Whether reading or writing would not block.
    fn is_ready(fd: &OwnedFd, events: PollFlags) -> io::Result<bool> {
        let mut events = [PollFd::new(fd, events)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(poll(&mut events, Some(&now))? > 0)
    }

    /// The other methods of [`AsyncWrite`] for an unbuffered stream.
    macro_rules! unbuffered {
        () => {
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                // The stream closes when the program ends; other code may write to it until then.
                Poll::Ready(Ok(()))
            }
        };
    }

    /// A pipe. Checks before each read or write whether it would block.
    struct Pipe(AsyncFd<OwnedFd>);

    /// A writable pipe has space for at least this many bytes (POSIX).
    const PIPE_BUF: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

    pub(super) fn watch(gone: CancellationToken) {
        let wait = move || {
            let stdout = io::stdout();
            // `poll` always reports errors and hang-ups.
            let mut events = [PollFd::new(&stdout, PollFlags::empty())];
            let polled = loop {
                match poll(&mut events, None) {
                    Err(rustix::io::Errno::INTR) => {}
                    polled => break polled,
                }
            };
            if polled.is_ok() {
                gone.cancel();
            }
        };
        // Without the thread, the next write fails.
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(wait);
    }

    /// A socket. Each call passes flags to prevent blocking.
    struct Socket(AsyncFd<OwnedFd>);

    impl AsyncRead for Pipe {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            loop {
                let mut ready = ready!(self.0.poll_read_ready(context))?;
                if !is_ready(self.0.get_ref(), PollFlags::IN)? {
                    ready.clear_ready();
                    continue;
                }
                match rustix::io::read(self.0.get_ref(), buffer.initialize_unfilled()) {
                    Ok(read) => {
                        buffer.advance(read);
                        return Poll::Ready(Ok(()));
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    // Another program made the pipe non-blocking and was faster.
                    Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
        }
    }

    impl AsyncWrite for Pipe {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            loop {
                let mut ready = ready!(self.0.poll_write_ready(context))?;
                if !is_ready(self.0.get_ref(), PollFlags::OUT)? {
                    ready.clear_ready();
                    continue;
                }
                let piece = &bytes[..bytes.len().min(PIPE_BUF)];
                match rustix::io::write(self.0.get_ref(), piece) {
                    Ok(written) => return Poll::Ready(Ok(written)),
                    Err(rustix::io::Errno::INTR) => {}
                    // Another program made the pipe non-blocking and was faster.
                    Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
        }

        unbuffered!();
    }

    impl AsyncRead for Socket {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            loop {
                let mut ready = ready!(self.0.poll_read_ready(context))?;
                let read = ready.try_io(|socket| {
                    let (read, _) =
                        recv(socket, buffer.initialize_unfilled(), RecvFlags::DONTWAIT)?;
                    Ok(read)
                });
                match read {
                    Ok(Ok(read)) => {
                        buffer.advance(read);
                        return Poll::Ready(Ok(()));
                    }
                    Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                    Ok(Err(error)) => return Poll::Ready(Err(error)),
                    // It was not ready after all.
                    Err(_) => {}
                }
            }
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            loop {
                let mut ready = ready!(self.0.poll_write_ready(context))?;
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                match ready.try_io(|socket| Ok(send(socket, bytes, flags)?)) {
                    Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                    Ok(written) => return Poll::Ready(written),
                    // It was not ready after all.
                    Err(_) => {}
                }
            }
        }

        unbuffered!();
    }
}
