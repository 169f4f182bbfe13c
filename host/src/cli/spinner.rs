//! Progress on standard error: on a terminal, a line with what a command waits for; with `--verbose`, a
//! line for each request.

use super::Context;
use super::streams::Streams;
use crate::session::Traffic;
use crate::session::call::Call;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use textwrap::core::display_width;
use whereby_authority::text;

/// How long a command may take before the progress line appears.
const DELAY: Duration = Duration::from_millis(500);

const FRAMES: [&str; 4] = ["-", "\\", "|", "/"];

/// What a command is doing, and what it waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Status(Arc<Mutex<Words>>);

#[derive(Debug, Default)]
struct Words {
    doing: String,
    waiting_for: String,
}

impl Status {
    pub(super) fn new(doing: impl Into<String>) -> Self {
        let status = Self::default();
        status.doing(doing);
        status
    }

    /// Sets what the command is doing.
    pub(super) fn doing(&self, doing: impl Into<String>) {
        *self.words() = Words { doing: doing.into(), waiting_for: String::new() };
    }

    /// Sets what the command waits for; empty for nothing.
    pub(super) fn waiting_for(&self, what: impl Into<String>) {
        self.words().waiting_for = what.into();
    }

    fn words(&self) -> std::sync::MutexGuard<'_, Words> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the status on one line of at most this width.
    fn line(&self, width: usize) -> String {
        let words = self.words();
        let mut line = match words.waiting_for.as_str() {
            "" => words.doing.clone(),
            what => format!("{}: waiting for {what}", words.doing),
        };
        if display_width(&line) > width {
            while display_width(&line) >= width && line.pop().is_some() {}
            line.push('…');
        }
        line
    }
}

/// Shows the requests of a call in the status, and with `--verbose` as lines.
pub(super) fn watched(context: &Context, status: &Status, call: Call) -> Call {
    let (status, streams, verbose) =
        (status.clone(), context.streams.clone(), context.global.verbose);
    call.traffic(Arc::new(move |traffic| {
        let line = match traffic {
            Traffic::Sent { method, target } => {
                status.waiting_for(format!("{method} {}", text::printable(target, 500)));
                format!("> {method} {}", text::printable(target, 500))
            }
            Traffic::Answered { method, target, status: answer, duration } => {
                status.waiting_for("");
                let answer =
                    answer.map_or_else(|| "no response".into(), |status| status.to_string());
                let ms = duration.as_secs_f64() * 1e3;
                format!("< {method} {}: {answer} in {ms:.1} ms", text::printable(target, 500))
            }
        };
        if verbose {
            // Standard error may be closed; the call goes on.
            let _ = writeln!(streams.stderr(), "{line}");
        }
    }))
}

/// Waits for a future and shows the status if that takes long. Shows nothing while a question is on
/// the terminal, or with `--verbose`.
pub(super) async fn wait<T>(
    context: &Context,
    status: &Status,
    future: impl Future<Output = T>,
) -> T {
    let streams = &context.streams;
    // A terminal of unknown width may not support overwriting a line.
    let is_plain = context.environment.variable("TERM") == Some("dumb");
    let width = streams.width.filter(|_| streams.stderr_is_terminal && !is_plain);
    let Some(width) =
        width.filter(|_| !context.global.json && !context.global.quiet && !context.global.verbose)
    else {
        return future.await;
    };
    tokio::pin!(future);
    let mut shown = false;
    let mut pause = DELAY;
    let mut frames = FRAMES.iter().cycle();
    loop {
        if let Ok(result) = tokio::time::timeout(pause, &mut future).await {
            if shown {
                clear(streams);
            }
            return result;
        }
        pause = Duration::from_millis(120);
        if context.asking.load(std::sync::atomic::Ordering::Relaxed) {
            continue;
        }
        if let Some(frame) = frames.next() {
            let line = status.line(usize::from(width).saturating_sub(4));
            let mut stderr = streams.stderr();
            // The terminal may be closed.
            let _ = write!(stderr, "\r\u{1b}[K{frame} {line} ").and_then(|()| stderr.flush());
            shown = true;
        }
    }
}

fn clear(streams: &Streams) {
    let mut stderr = streams.stderr();
    let _ = write!(stderr, "\r\u{1b}[K").and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_it_waits_for_in_one_line() {
        let status = Status::new("list_meetings");
        assert_eq!(status.line(40), "list_meetings");
        status.waiting_for("GET /insights/rooms?roomName=/daily");
        assert_eq!(
            status.line(80),
            "list_meetings: waiting for GET /insights/rooms?roomName=/daily"
        );
        assert_eq!(status.line(30), "list_meetings: waiting for GE…");
        status.doing("list_meetings, page 2");
        assert_eq!(status.line(40), "list_meetings, page 2");
    }
}
