//! Standard input and output without a thread between, where they are pipes or sockets, as MCP clients
//! make them: each message would wait for that thread to wake.
//!
//! Their flags stay as they are. Other programs may hold the same open file, and would find it
//! non-blocking during and after this one.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Standard input.
pub(super) fn stdin() -> Reader {
    #[cfg(unix)]
    if let Some(stdin) = unix::reader(&std::io::stdin()) {
        return stdin;
    }
    Box::new(tokio::io::stdin())
}

/// Standard output.
pub(super) fn stdout() -> Writer {
    #[cfg(unix)]
    if let Some(stdout) = unix::writer(&std::io::stdout()) {
        return stdout;
    }
    Box::new(tokio::io::stdout())
}

/// Returns a token that is cancelled when nobody can read standard output any more. Where that cannot
/// be noticed by itself, the next write fails.
pub(super) fn reader_gone() -> CancellationToken {
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

    /// Enough for a thread that waits for one event.
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

    /// Whether something can be done at once; else reading or writing would wait.
    fn is_ready(fd: &OwnedFd, events: PollFlags) -> io::Result<bool> {
        let mut events = [PollFd::new(fd, events)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(poll(&mut events, Some(&now))? > 0)
    }

    /// The rest of [`AsyncWrite`] for a stream that keeps nothing back.
    macro_rules! unbuffered {
        () => {
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                // It is closed with the program. Others may write into it until then.
                Poll::Ready(Ok(()))
            }
        };
    }

    /// A pipe that is asked each time whether reading or writing would wait.
    struct Pipe(AsyncFd<OwnedFd>);

    /// So many bytes fit into a pipe that has room for any (POSIX, PIPE_BUF).
    const AT_ONCE: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

    pub(super) fn watch(gone: CancellationToken) {
        let wait = move || {
            let stdout = io::stdout();
            // An error or a hang-up is told without being asked for.
            let mut events = [PollFd::new(&stdout, PollFlags::empty())];
            let told = loop {
                match poll(&mut events, None) {
                    Err(rustix::io::Errno::INTR) => {}
                    told => break told,
                }
            };
            if told.is_ok() {
                gone.cancel();
            }
        };
        // Without the thread, the next write shows it.
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(wait);
    }

    /// A socket that is asked not to wait, call by call.
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
                    // Another program has made it non-blocking and was quicker.
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
                let piece = &bytes[..bytes.len().min(AT_ONCE)];
                match rustix::io::write(self.0.get_ref(), piece) {
                    Ok(written) => return Poll::Ready(Ok(written)),
                    Err(rustix::io::Errno::INTR) => {}
                    // Another program has made it non-blocking and was quicker.
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
