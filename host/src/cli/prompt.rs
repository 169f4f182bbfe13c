//! Asking on the terminal whether a call may be made.

use super::streams::Streams;
use crate::approval::{Answer, Approver, Question};
use crate::text;
use std::pin::Pin;

/// Asks whoever sits at the terminal.
pub(super) struct TerminalPrompt(pub(super) Streams);

impl Approver for TerminalPrompt {
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        let streams = self.0.clone();
        let shown = show(question);
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || {
                write!(streams.stderr(), "{shown}")?;
                streams.stderr().flush()?;
                streams.read_line()
            });
            match asked.await {
                Ok(Ok(line)) if is_yes(&line) => Answer::Approved,
                Ok(Ok(_)) => Answer::Declined,
                // A terminal that cannot be read has nobody at it.
                _ => Answer::Nobody,
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
    format!(
        "The account `{}` is to call {}:\n{}\n{warning}Asked because of {}.\nMake this call? [y/N] ",
        question.account,
        question.function.json,
        text::printable_lines(&arguments),
        question.rule,
    )
}
