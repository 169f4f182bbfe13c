//! The signals that ask the program to end: Ctrl-C (SIGINT), `kill` and service managers (SIGTERM),
//! and a closed terminal (SIGHUP).
//!
//! A command that listens stops its work and reports the outcome. While no command listens, for example
//! during a read of standard input, a signal ends the program at once; after the output, with the command's own
//! exit status. Process 1, as in a container, gets only the signals that it handles, so the program handles
//! them from the start.

use super::Exit;
use super::streams::Streams;

#[cfg(unix)]
pub(super) use unix::{Signals, Watch};

#[cfg(unix)]
mod unix {
    use super::super::terminal;
    use super::{Exit, Streams};
    use std::io::Write as _;
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
    use std::task::{Context, Poll};
    use tokio::runtime::{Builder, Runtime};
    use tokio::signal::unix::{Signal, SignalKind, signal};
    use tokio::sync::watch;

    /// Handles the signals of this process for as long as it runs.
    #[derive(Clone)]
    pub(in super::super) struct Watch(Arc<Mutex<State>>);

    struct State {
        /// The number of [`Signals`].
        listeners: usize,
        sender: watch::Sender<Option<Exit>>,
        /// Printed if a signal ends the program while nothing listens.
        last_words: Option<String>,
        /// The exit status of a command that has printed its output.
        exit_code: Option<u8>,
    }

    impl Watch {
        /// Handles signals from now on.
        ///
        /// # Errors
        ///
        /// If the system has no thread or file descriptor left.
        pub(in super::super) fn start() -> std::io::Result<Self> {
            let watch = Self(Arc::new(Mutex::new(State {
                listeners: 0,
                sender: watch::Sender::new(None),
                last_words: None,
                exit_code: None,
            })));
            let (handlers, installed) = std::sync::mpsc::channel::<(Runtime, Vec<Handler>)>();
            let own = watch.clone();
            std::thread::Builder::new().name("signals".into()).spawn(move || {
                let Ok((runtime, mut handlers)) = installed.recv() else { return };
                runtime.block_on(async {
                    loop {
                        let exit =
                            std::future::poll_fn(|context| poll(&mut handlers, context)).await;
                        own.received(exit);
                    }
                });
            })?;
            let runtime = Builder::new_current_thread().enable_io().build()?;
            let installed = {
                let _context = runtime.enter();
                Handler::install()?
            };
            // The thread is waiting, so this does not fail.
            let _ = handlers.send((runtime, installed));
            Ok(watch)
        }

        fn state(&self) -> MutexGuard<'_, State> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Sets the text to print if a signal ends the program before anything listens.
        pub(in super::super) fn set_last_words(&self, words: Option<String>) {
            self.state().last_words = words;
        }

        /// Sets the exit status after a signal that comes while nothing listens.
        pub(in super::super) fn set_exit_code(&self, code: u8) {
            self.state().exit_code = Some(code);
        }

        fn received(&self, exit: Exit) {
            let mut state = self.state();
            if state.listeners == 0 {
                terminal::restore();
                if let Some(words) = state.last_words.take() {
                    // Standard output may be closed; the exit status stays the same.
                    let _ = writeln!(std::io::stdout(), "{words}");
                }
                std::process::exit(state.exit_code.unwrap_or(exit.code()).into());
            }
            state.sender.send_replace(Some(exit));
        }
    }

    /// A signal, and the exit status after it; `None` for a signal to ignore.
    struct Handler(Option<Exit>, Signal);

    impl Handler {
        fn install() -> std::io::Result<Vec<Self>> {
            let wanted = [
                (Some(Exit::Interrupted), SignalKind::interrupt()),
                (Some(Exit::Terminated), SignalKind::terminate()),
                (Some(Exit::HungUp), SignalKind::hangup()),
                // Handled and ignored, so that a write beyond the limit fails with an error.
                (None, SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())),
            ];
            let ignored = ignored();
            wanted
                .into_iter()
                // A signal that the parent process made us ignore, as nohup does, stays ignored.
                .filter(|(_, kind)| ignored >> (kind.as_raw_value() - 1) & 1 == 0)
                .map(|(exit, kind)| Ok(Self(exit, signal(kind)?)))
                .collect()
        }
    }

    fn poll(handlers: &mut [Handler], context: &mut Context<'_>) -> Poll<Exit> {
        for Handler(exit, signal) in handlers {
            while let Poll::Ready(Some(())) = signal.poll_recv(context) {
                if let Some(exit) = exit {
                    return Poll::Ready(*exit);
                }
            }
        }
        Poll::Pending
    }

    /// Receives signals for a command, which must then end.
    pub(in super::super) struct Signals(Option<(Watch, watch::Receiver<Option<Exit>>)>);

    impl Signals {
        /// Starts to listen. A signal that arrives before [`Signals::next`] is called is kept. If another
        /// process embeds the command line, no signals arrive here; that process handles its own.
        pub(in super::super) fn listen(streams: &Streams) -> Self {
            Self(streams.signals.as_ref().map(|watch| {
                let mut state = watch.state();
                state.listeners += 1;
                state.last_words = None;
                (watch.clone(), state.sender.subscribe())
            }))
        }

        /// Waits for a signal. Returns its exit status.
        pub(in super::super) async fn next(&mut self) -> Exit {
            if let Some((_, receiver)) = &mut self.0
                && receiver.changed().await.is_ok()
                && let Some(exit) = *receiver.borrow_and_update()
            {
                return exit;
            }
            std::future::pending().await
        }
    }

    impl Drop for Signals {
        fn drop(&mut self) {
            if let Some((watch, _)) = &self.0 {
                watch.state().listeners -= 1;
            }
        }
    }

    /// Returns the signals that the parent process made this program ignore, one bit each.
    fn ignored() -> u64 {
        // On a system without this file, no signal counts as ignored.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
    }
}

/// Receives Ctrl-C on systems without signals.
#[cfg(not(unix))]
pub(super) struct Signals {
    is_listening: bool,
}

#[cfg(not(unix))]
impl Signals {
    /// Starts to listen.
    pub(super) fn listen(streams: &Streams) -> Self {
        Self { is_listening: streams.is_process }
    }

    /// Waits for Ctrl-C. Returns its exit status.
    pub(super) async fn next(&mut self) -> Exit {
        if self.is_listening && tokio::signal::ctrl_c().await.is_ok() {
            return Exit::Interrupted;
        }
        std::future::pending().await
    }
}
