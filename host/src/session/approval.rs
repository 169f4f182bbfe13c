//! The question to a person about a call, and the ways to ask it.

use crate::error::PendingApproval;
use serde_json::Value;
use std::fmt;
use std::pin::Pin;
use whereby_authority::policy::Rule;
use whereby_authority::text;
use whereby_catalog::Function;

/// The question whether to make one call, with the exact arguments.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Question {
    /// The account that the call would use.
    pub account: String,
    /// The function.
    pub function: &'static Function,
    /// The arguments in their normal form, with secrets masked.
    pub arguments: Value,
    /// Whether the call permanently deletes something.
    pub is_destructive: bool,
    /// Whether the call sends what is said and shown in a meeting somewhere.
    pub has_destination: bool,
    /// The base URL of the API that the call would be sent to.
    pub api: String,
    /// The rule that requires approval.
    pub rule: Rule,
}

impl fmt::Display for Question {
    /// Writes the question on several lines. The arguments come from an agent, so they are made printable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments = serde_json::to_string_pretty(&self.arguments).unwrap_or_default();
        let (account, function, api) = (&self.account, self.function.json, &self.api);
        writeln!(f, "{function} for the account `{account}` at {api} needs your approval:")?;
        writeln!(f, "{}", text::printable_lines(&arguments))?;
        if self.is_destructive {
            writeln!(f, "This permanently deletes the room and removes everyone in it.")?;
        }
        if self.has_destination {
            writeln!(
                f,
                "This sends what is said and shown in the room to the destination in the arguments."
            )?;
        }
        writeln!(f, "Rule: {}.", self.rule)?;
        write!(f, "Call {function} by the account `{account}`?")
    }
}

/// The reply to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// A person approved the call.
    Approved,
    /// A person declined the call.
    Declined,
    /// Nobody could be asked, or nobody replied.
    Nobody,
}

/// The way to ask a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Channel {
    /// On the terminal of this process.
    Terminal,
    /// Through an MCP client, which vouches that a person replied. `permissions.elicitation` can forbid it.
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

/// Asks a person for approval, on behalf of a front end.
///
/// An implementation vouches that a person replied, and not the agent that makes the call.
pub trait Approver: Send + Sync {
    /// Asks, and waits for the reply. The wait does not count towards the call's time limit.
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

    /// Returns the way that this approver asks.
    fn channel(&self) -> Channel {
        Channel::Program
    }

    /// Called when nobody could be asked, and the call was stored for later approval.
    fn stored(&self, _question: &Question, _pending: &PendingApproval) {}
}

/// Asks nobody, so every call that needs approval fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyToAsk;

impl Approver for NobodyToAsk {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(std::future::ready(Answer::Nobody))
    }
}
