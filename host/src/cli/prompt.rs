//! Asks for approval on the terminal, and shows there which approval a call waits for.

use super::spinner::Status;
use super::streams::Streams;
use crate::error::PendingApproval;
use crate::session::approval::{Answer, Approver, Channel, Question};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How often to ask before a reply that is neither yes nor no counts as no.
const MAX_ATTEMPTS: usize = 3;

/// Asks the person at the terminal.
pub(super) struct TerminalPrompt {
    pub(super) streams: Streams,
    /// True while the terminal shows a question, so that nothing overwrites it.
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

/// Does not ask, but shows the command that approves the call from another terminal.
pub(super) struct ShowCommand {
    pub(super) streams: Streams,
    /// The status that the terminal shows during the wait.
    pub(super) status: Status,
    /// Whether to hide the command.
    pub(super) is_quiet: bool,
    /// How long the call waits at most, in seconds.
    pub(super) seconds: u64,
    /// The ID of the approval that the call waits for.
    pub(super) waits_for: Arc<OnceLock<String>>,
}

impl Approver for ShowCommand {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(std::future::ready(Answer::Nobody))
    }

    fn stored(&self, _: &Question, pending: &PendingApproval) {
        self.status.waiting_for("a person's approval");
        // Later pages have their own approvals; the first one stays.
        let _ = self.waits_for.set(pending.id.clone());
        if self.is_quiet {
            return;
        }
        // Standard error may be closed; `whereby approvals list` shows the approval too.
        let _ = writeln!(
            self.streams.stderr(),
            "waiting up to {} s for a person to decide; to approve: {}",
            self.seconds,
            if pending.way.needs_passkey { pending.how() } else { pending.command() }
        );
    }
}

/// Asks until the reply is yes or no. An empty line means no, and so does a reply that is still neither at
/// the last attempt.
pub(super) fn confirm(streams: &Streams, question: &str) -> Answer {
    // One question at a time: a reply must not be taken for that to another question.
    static ASKING: Mutex<()> = Mutex::new(());
    let _asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    for attempt in 1..=MAX_ATTEMPTS {
        let line = match streams.ask(question) {
            Ok(line) => line,
            // If the terminal cannot be read, nobody is there, unless somebody has already typed.
            Err(_) => {
                // Standard error may be closed, too.
                let _ = writeln!(streams.stderr());
                return if attempt == 1 { Answer::Nobody } else { Answer::Declined };
            }
        };
        match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return Answer::Approved,
            "" | "n" | "no" => return Answer::Declined,
            _ if attempt < MAX_ATTEMPTS => {
                let _ = writeln!(streams.stderr(), "answer y (yes) or n (no)");
            }
            _ => {}
        }
    }
    Answer::Declined
}
