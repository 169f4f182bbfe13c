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
            #[cfg(target_os = "linux")]
            FileType::Fifo => {
                let pipe = tokio::net::unix::pipe::OpenOptions::new();
                Some(Box::new(pipe.open_receiver(path(stream)).ok()?))
            }
            FileType::Socket => Some(Box::new(Socket::new(stream)?)),
            _ => None,
        }
    }

    pub(super) fn writer(stream: &impl AsFd) -> Option<Writer> {
        match kind(stream)? {
            #[cfg(target_os = "linux")]
            FileType::Fifo => {
                let pipe = tokio::net::unix::pipe::OpenOptions::new();
                Some(Box::new(pipe.open_sender(path(stream)).ok()?))
            }
            FileType::Socket => Some(Box::new(Socket::new(stream)?)),
            _ => None,
        }
    }

    fn kind(stream: &impl AsFd) -> Option<FileType> {
        Some(FileType::from_raw_mode(rustix::fs::fstat(stream).ok()?.st_mode))
    }

    /// Where Linux opens a pipe once more, as an open file of its own.
    #[cfg(target_os = "linux")]
    fn path(stream: &impl AsFd) -> String {
        use std::os::fd::AsRawFd as _;
        format!("/proc/self/fd/{}", stream.as_fd().as_raw_fd())
    }

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

    impl Socket {
        #[expect(
            deprecated,
            reason = "the other way is unsafe, and this descriptor is never replaced"
        )]
        fn new(stream: &impl AsFd) -> Option<Self> {
            Some(Self(AsyncFd::new(stream.as_fd().try_clone_to_owned().ok()?).ok()?))
        }
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

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            // It is closed with the program. Others may write into it until then.
            Poll::Ready(Ok(()))
        }
    }
}
