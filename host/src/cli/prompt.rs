//! Asks on the terminal whether a call may be made, and says there what waits for approval.

use super::spinner::Status;
use super::streams::Streams;
use crate::error::PendingApproval;
use crate::session::approval::{Answer, Approver, Channel, Question};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How often a question is asked that gets neither a yes nor a no.
const TRIES: usize = 3;

/// Asks the person at the terminal.
pub(super) struct TerminalPrompt {
    pub(super) streams: Streams,
    /// Set while a question is on the terminal, so that nothing overwrites it.
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
            let asked = tokio::task::spawn_blocking(move || confirm(&streams, &shown));
            let answer = asked.await;
            asking.store(false, Ordering::Relaxed);
            answer.unwrap_or(Answer::Nobody)
        })
    }

    fn channel(&self) -> Channel {
        Channel::Terminal
    }
}

/// Asks nobody, and shows the command that approves the call from elsewhere.
pub(super) struct Elsewhere {
    pub(super) streams: Streams,
    /// What the terminal shows meanwhile.
    pub(super) status: Status,
    /// Whether the command is not shown.
    pub(super) is_quiet: bool,
    /// How long the call waits, in seconds.
    pub(super) seconds: u64,
    /// The approval that the call waits for.
    pub(super) waits_for: Arc<OnceLock<String>>,
}

impl Approver for Elsewhere {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(std::future::ready(Answer::Nobody))
    }

    fn stored(&self, _: &Question, pending: &PendingApproval) {
        self.status.waiting_for("a person's approval");
        // Each page of a listing asks for its own, and the first one that is not given ends it.
        let _ = self.waits_for.set(pending.id.clone());
        if self.is_quiet {
            return;
        }
        // Standard error may be closed; `whereby approvals list` shows the approval too.
        let _ = writeln!(
            self.streams.stderr(),
            "waiting up to {} s for a person to decide; to approve: {}",
            self.seconds,
            pending.command()
        );
    }
}

/// Asks until the answer is yes or no. An empty line is a no, and so is a person who never answers
/// with either.
pub(super) fn confirm(streams: &Streams, question: &str) -> Answer {
    // The answer to one question must not be read as that to another.
    static ASKING: Mutex<()> = Mutex::new(());
    let _asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    for attempt in 1..=TRIES {
        let line = match streams.ask(question) {
            Ok(line) => line,
            // A terminal that cannot be read has nobody at it, unless somebody has just typed.
            Err(_) => {
                // It may be closed, too.
                let _ = writeln!(streams.stderr());
                return if attempt == 1 { Answer::Nobody } else { Answer::Declined };
            }
        };
        match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return Answer::Approved,
            "" | "n" | "no" => return Answer::Declined,
            _ if attempt < TRIES => {
                let _ = writeln!(streams.stderr(), "answer y (yes) or n (no)");
            }
            _ => {}
        }
    }
    Answer::Declined
}
