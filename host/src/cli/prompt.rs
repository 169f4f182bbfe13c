//! Asking on the terminal whether a call may be made, and saying there what is stored to be approved.

use super::spinner::Status;
use super::streams::Streams;
use crate::approval::{Answer, Approver, Channel, PendingApproval, Question};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks whoever sits at the terminal.
pub(super) struct TerminalPrompt {
    pub(super) streams: Streams,
    /// Set while the question stands there, so that nothing is written over it.
    pub(super) asking: Arc<AtomicBool>,
}

impl Approver for TerminalPrompt {
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        let streams = self.streams.clone();
        let asking = Arc::clone(&self.asking);
        let shown = format!("{question} [y/N] ");
        Box::pin(async move {
            asking.store(true, Ordering::Relaxed);
            let asked = tokio::task::spawn_blocking(move || {
                write!(streams.stderr(), "{shown}")?;
                streams.stderr().flush()?;
                streams.read_line()
            });
            let answer = asked.await;
            asking.store(false, Ordering::Relaxed);
            match answer {
                Ok(Ok(line)) if is_yes(&line) => Answer::Approved,
                Ok(Ok(_)) => Answer::Declined,
                // A terminal that cannot be read has nobody at it, and stands behind the question.
                _ => {
                    let _ = writeln!(self.streams.stderr());
                    Answer::Nobody
                }
            }
        })
    }

    fn channel(&self) -> Channel {
        Channel::Terminal
    }
}

/// Asks nobody, and says by which command whoever is elsewhere approves what is waited for.
pub(super) struct Elsewhere {
    pub(super) streams: Streams,
    /// What is shown meanwhile.
    pub(super) status: Status,
}

impl Approver for Elsewhere {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(std::future::ready(Answer::Nobody))
    }

    fn stored(&self, _: &Question, pending: &PendingApproval) {
        self.status.waiting_for("a person's approval");
        // Whoever reads standard error may be gone; the approval can be found all the same.
        let _ = writeln!(self.streams.stderr(), "waiting for: {}", pending.command());
    }
}

pub(super) fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
