//! The signals that ask the program to end: Ctrl-C (SIGINT), `kill` and service managers (SIGTERM),
//! and a terminal that was closed (SIGHUP).
//!
//! A command that takes long listens for them, ends what it does, and says what came of it. As
//! process 1, for instance in a container, the program gets no signal that it does not listen for.

use super::Exit;
use super::streams::Streams;

/// The signals that a command listens for.
pub(super) struct Signals {
    #[cfg(unix)]
    listening: Vec<(Exit, tokio::signal::unix::Signal)>,
    #[cfg(not(unix))]
    is_listening: bool,
}

impl Signals {
    /// Listens from now on. Nothing is lost that comes before [`Signals::next`] is called. Only a
    /// program on its own streams listens: a process that runs commands for itself has its own ways.
    #[cfg(unix)]
    pub(super) fn listen(streams: &Streams) -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = [
            (Exit::Interrupted, SignalKind::interrupt()),
            (Exit::Terminated, SignalKind::terminate()),
            (Exit::HungUp, SignalKind::hangup()),
        ];
        let listen = |(exit, kind): (Exit, SignalKind)| {
            // What whoever started the program has it ignore, as nohup does, stays ignored. A signal
            // that cannot be listened for ends the program by itself.
            if is_ignored(kind.as_raw_value()) {
                return None;
            }
            signal(kind).ok().map(|signal| (exit, signal))
        };
        let wanted = if streams.is_process { &signals[..] } else { &[] };
        Self { listening: wanted.iter().copied().filter_map(listen).collect() }
    }

    /// Listens from now on, for Ctrl-C.
    #[cfg(not(unix))]
    pub(super) fn listen(streams: &Streams) -> Self {
        Self { is_listening: streams.is_process }
    }

    /// Waits for a signal. Returns the exit status of a program that it ended.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> Exit {
        use std::task::Poll;
        std::future::poll_fn(|context| {
            for (exit, signal) in &mut self.listening {
                if matches!(signal.poll_recv(context), Poll::Ready(Some(()))) {
                    return Poll::Ready(*exit);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Waits for Ctrl-C. Returns the exit status of a program that it ended.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) -> Exit {
        if self.is_listening && tokio::signal::ctrl_c().await.is_ok() {
            return Exit::Interrupted;
        }
        std::future::pending().await
    }
}

/// Whether a signal is ignored by the program since it was started.
#[cfg(unix)]
fn is_ignored(number: i32) -> bool {
    // Systems without this file are taken to ignore none.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}
