//! Standard input and output without a thread between, where they are pipes or sockets, as MCP clients
//! make them: each message would wait for that thread to wake.

use tokio::io::{AsyncRead, AsyncWrite};

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

#[cfg(unix)]
mod unix {
    use super::{Reader, Writer};
    use rustix::fs::FileType;
    use std::os::fd::{AsFd, OwnedFd};
    use tokio::net::UnixStream;
    use tokio::net::unix::pipe;

    pub(super) fn reader(stream: &impl AsFd) -> Option<Reader> {
        let (fd, kind) = open(stream)?;
        match kind {
            FileType::Fifo => Some(Box::new(pipe::Receiver::from_owned_fd(fd).ok()?)),
            FileType::Socket => Some(Box::new(socket(fd)?)),
            _ => None,
        }
    }

    pub(super) fn writer(stream: &impl AsFd) -> Option<Writer> {
        let (fd, kind) = open(stream)?;
        match kind {
            FileType::Fifo => Some(Box::new(pipe::Sender::from_owned_fd(fd).ok()?)),
            FileType::Socket => Some(Box::new(socket(fd)?)),
            _ => None,
        }
    }

    fn open(stream: &impl AsFd) -> Option<(OwnedFd, FileType)> {
        let fd = stream.as_fd().try_clone_to_owned().ok()?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd).ok()?.st_mode);
        Some((fd, kind))
    }

    fn socket(fd: OwnedFd) -> Option<UnixStream> {
        let stream = std::os::unix::net::UnixStream::from(fd);
        // One of another family cannot be asked this.
        stream.local_addr().ok()?;
        stream.set_nonblocking(true).ok()?;
        UnixStream::from_std(stream).ok()
    }
}
