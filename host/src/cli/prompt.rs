//! Asking on the terminal whether a call may be made.

use super::streams::Streams;
use crate::approval::{Answer, Approver, Question};
use crate::text;
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
        let shown = show(question);
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
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// The question in plain words; the arguments come from an agent and are shown as plain text.
fn show(question: &Question) -> String {
    let arguments = serde_json::to_string_pretty(&question.arguments).unwrap_or_default();
    let warning = if question.is_destructive {
        "This deletes for ever and throws out whoever is in the room.\n"
    } else {
        ""
    };
    let destination = if question.has_destination {
        "This sends what is said and shown in the room to where the arguments say.\n"
    } else {
        ""
    };
    format!(
        "The account `{}` is to call {} at {}:\n{}\n{warning}{destination}Asked because of {}.\n\
         Call {} by the account `{}`? [y/N] ",
        question.account,
        question.function.json,
        question.api,
        text::printable_lines(&arguments),
        question.rule,
        question.function.json,
        question.account,
    )
}
