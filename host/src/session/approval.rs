//! Asks a person to approve a call.

use crate::error::PendingApproval;
use serde_json::Value;
use std::fmt;
use std::pin::Pin;
use whereby_authority::policy::Rule;
use whereby_authority::sentence::Sentence;
use whereby_authority::text;
use whereby_catalog::Function;

/// The call that a person is asked to approve, exactly as it would be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Question {
    /// The account of the call.
    pub account: String,
    /// The agent that makes the call.
    pub agent: Option<String>,
    /// The function.
    pub function: &'static Function,
    /// The normalized arguments, with secrets masked.
    pub arguments: Value,
    /// Whether the call destroys something permanently.
    pub is_destructive: bool,
    /// Whether the call sends a meeting's audio, video or transcript to a destination.
    pub has_destination: bool,
    /// The base URL of the API.
    pub api: String,
    /// The rule that requires approval.
    pub rule: Rule,
}

impl Question {
    /// Returns what the call will do, in one sentence.
    #[must_use]
    pub fn sentence(&self) -> Sentence {
        Sentence::of(self.function.json, &self.arguments)
    }
}

impl fmt::Display for Question {
    /// Writes the question in several lines: what the call will do comes first. The arguments come from an agent, so they are shown as plain
    /// text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments = serde_json::to_string_pretty(&self.arguments).unwrap_or_default();
        let (account, function, api) = (&self.account, self.function.json, &self.api);
        writeln!(f, "{}", self.sentence())?;
        if let Some(agent) = &self.agent {
            let agent = text::printable(agent, 60);
            writeln!(f, "The agent `{agent}` wants to make this call.")?;
        }
        writeln!(f, "The account `{account}` will call {function} at {api}:")?;
        writeln!(f, "{}", text::printable_lines(&arguments))?;
        // The arguments can be long, so this is said again where the person answers.
        if self.is_destructive {
            writeln!(f, "This permanently deletes the room and removes everyone in it.")?;
        }
        if self.has_destination {
            writeln!(
                f,
                "This sends the room's audio, video or transcript to the destination in the arguments."
            )?;
        }
        if let Some(unmet) = &self.rule.unmet {
            writeln!(f, "Your approval is needed because {}.", unmet.reason)?;
        }
        writeln!(f, "Required by {}.", self.rule)?;
        write!(f, "Call {function} by the account `{account}`?")
    }
}

/// A person's answer to a [`Question`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// A person approved the call.
    Approved,
    /// A person declined the call.
    Declined,
    /// Nobody can be asked, or nobody answered.
    Nobody,
}

/// How a person is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Channel {
    /// On the terminal of this process.
    Terminal,
    /// Through an MCP client, which asserts that a person answered. `permissions.elicitation` can forbid
    /// it.
    Elicitation,
    /// Through the program that embeds this library.
    #[default]
    Program,
}

impl Channel {
    /// Returns `terminal`, `elicitation` or `program`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Elicitation => "elicitation",
            Self::Program => "program",
        }
    }
}

/// Asks a person on behalf of a front end.
///
/// An implementation asserts that a person answered, and not the agent that makes the call.
pub trait Approver: Send + Sync {
    /// Asks, and waits for the answer. The wait does not count against the call's time limit.
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

    /// Returns how it asks.
    fn channel(&self) -> Channel {
        Channel::Program
    }

    /// Called when nobody could be asked, and the call was stored for approval.
    fn stored(&self, _question: &Question, _pending: &PendingApproval) {}
}

/// Asks nobody, so calls that need approval fail.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyToAsk;

impl Approver for NobodyToAsk {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(std::future::ready(Answer::Nobody))
    }
}
