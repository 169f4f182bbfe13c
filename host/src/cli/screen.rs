//! The whole screen of the terminal, for the inbox.

use super::signal::Signals;
use super::streams::Streams;
use super::terminal::{self, Settings};
use crate::exit::Exit;
use crate::inbox::terminal::{Happening, Tty};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::tcgetwinsize;
use std::io::{self, Write};
use std::sync::mpsc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, channel};

/// The terminal of this process with the whole screen taken, until it is dropped.
pub(super) struct FullScreen {
    streams: Streams,
    signals: Signals,
    keyboard: Keyboard,
    resized: Signal,
    _settings: Settings,
}

impl FullScreen {
    /// Takes the screen.
    pub(super) fn take(streams: &Streams) -> io::Result<Self> {
        // Signals count from the moment when there is something to restore.
        let signals = Signals::listen(streams);
        let keyboard = Keyboard::watch()?;
        let resized = signal(SignalKind::window_change())?;
        let settings = Settings::full_screen()?;
        Ok(Self { streams: streams.clone(), signals, keyboard, resized, _settings: settings })
    }
}

/// Writes to standard output.
struct Frames {
    streams: Streams,
    /// What is written at the next flush, in one piece.
    frame: Vec<u8>,
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.frame.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut stdout = self.streams.stdout();
        stdout.write_all(&self.frame)?;
        self.frame.clear();
        stdout.flush()
    }
}

impl Tty for FullScreen {
    fn writer(&self) -> impl Write + 'static {
        Frames { streams: self.streams.clone(), frame: Vec::new() }
    }

    fn size(&self) -> io::Result<(u16, u16)> {
        let size = tcgetwinsize(io::stdout())?;
        // Some terminals do not know their size.
        let known = |length, usual| if length == 0 { usual } else { length };
        Ok((known(size.ws_col, 80), known(size.ws_row, 24)))
    }

    fn discard_input(&mut self) -> io::Result<()> {
        match terminal::discard_input() {
            // It was closed, which the next read finds out.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Ok(()),
            done => done,
        }
    }

    async fn next(&mut self) -> io::Result<Happening> {
        let Self { signals, keyboard, resized, .. } = self;
        tokio::select! {
            biased;
            exit = signals.next() => Ok(Happening::Ended(exit)),
            _ = resized.recv() => Ok(Happening::Resized),
            typed = keyboard.typed() => typed,
        }
    }

    async fn ended(&mut self) -> Exit {
        self.signals.next().await
    }
}

/// Standard input. A thread waits until there is something to read, and reads nothing itself, so that what
/// is discarded is all that was typed.
struct Keyboard {
    ready: Receiver<io::Result<()>>,
    /// Lets the thread wait again.
    go_on: mpsc::Sender<()>,
}

impl Keyboard {
    fn watch() -> io::Result<Self> {
        let (told, ready) = channel(1);
        let (go_on, wanted) = mpsc::channel();
        std::thread::Builder::new().name("keyboard".into()).spawn(move || {
            let stdin = io::stdin();
            loop {
                let mut stdin = [PollFd::new(&stdin, PollFlags::IN)];
                let waited = rustix::io::retry_on_intr(|| poll(&mut stdin, None));
                let is_over = told.blocking_send(waited.map(drop).map_err(Into::into)).is_err();
                if is_over || wanted.recv().is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { ready, go_on })
    }

    async fn typed(&mut self) -> io::Result<Happening> {
        loop {
            match self.ready.recv().await {
                Some(waited) => waited?,
                // The thread ends with this program.
                None => return Ok(Happening::Closed),
            }
            let read = read();
            // The thread waits for it.
            let _ = self.go_on.send(());
            if let Some(happened) = read? {
                return Ok(happened);
            }
        }
    }
}

/// Reads what is there, without waiting; `None` if it was discarded.
fn read() -> io::Result<Option<Happening>> {
    let stdin = io::stdin();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&now))? == 0 {
        return Ok(None);
    }
    let mut bytes = [0; 4096];
    match rustix::io::read(&stdin, &mut bytes) {
        Ok(0) | Err(Errno::IO) => Ok(Some(Happening::Closed)),
        Ok(length) => Ok(Some(Happening::Typed(bytes[..length].to_vec()))),
        Err(error) => Err(error.into()),
    }
}
