//! A sign of life while a call takes long, on a terminal.

use super::streams::Streams;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a call may take before there is a sign of life.
const PATIENCE: Duration = Duration::from_millis(500);

const FRAMES: [&str; 4] = ["-", "\\", "|", "/"];

/// Waits for something, with a sign of life on standard error where it takes long. Nothing is shown
/// while `quiet` is set, as it is while a question stands there.
pub(super) async fn wait<T>(
    streams: &Streams,
    what: &str,
    quiet: &Arc<AtomicBool>,
    future: impl Future<Output = T>,
) -> T {
    tokio::pin!(future);
    let mut shown = false;
    let mut pause = PATIENCE;
    let mut frames = FRAMES.iter().cycle();
    loop {
        if let Ok(result) = tokio::time::timeout(pause, &mut future).await {
            if shown {
                clear(streams);
            }
            return result;
        }
        pause = Duration::from_millis(120);
        if quiet.load(Ordering::Relaxed) {
            continue;
        }
        if let Some(frame) = frames.next() {
            let mut stderr = streams.stderr();
            // A terminal that went away shows nothing, and nothing is lost by it.
            let _ = write!(stderr, "\r{frame} {what} ").and_then(|()| stderr.flush());
            shown = true;
        }
    }
}

fn clear(streams: &Streams) {
    let mut stderr = streams.stderr();
    let _ = write!(stderr, "\r\u{1b}[K").and_then(|()| stderr.flush());
}
