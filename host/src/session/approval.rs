//! Asking a person: what is asked, and what they may answer.

use crate::error::PendingApproval;
use serde_json::Value;
use std::fmt;
use std::pin::Pin;
use whereby_authority::policy::Rule;
use whereby_authority::text;
use whereby_catalog::Function;

/// What a person is asked to approve: one call, exactly as it would be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Question {
    /// The account that it would use.
    pub account: String,
    /// The function.
    pub function: &'static Function,
    /// The arguments in their normal form, secrets masked.
    pub arguments: Value,
    /// Whether it destroys something for ever.
    pub is_destructive: bool,
    /// Whether it sends what is said and shown in a meeting somewhere.
    pub has_destination: bool,
    /// The base of the API that it would be sent to.
    pub api: String,
    /// The rule that says to ask.
    pub rule: Rule,
}

impl fmt::Display for Question {
    /// The question in plain words, over several lines; the arguments come from an agent and are shown
    /// as plain text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments = serde_json::to_string_pretty(&self.arguments).unwrap_or_default();
        let (account, function, api) = (&self.account, self.function.json, &self.api);
        writeln!(f, "The account `{account}` is to call {function} at {api}:")?;
        writeln!(f, "{}", text::printable_lines(&arguments))?;
        if self.is_destructive {
            writeln!(f, "This deletes for ever and throws out whoever is in the room.")?;
        }
        if self.has_destination {
            writeln!(
                f,
                "This sends what is said and shown in the room to where the arguments say."
            )?;
        }
        writeln!(f, "Asked because of {}.", self.rule)?;
        write!(f, "Call {function} by the account `{account}`?")
    }
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// A person approved this one call.
    Approved,
    /// A person declined it.
    Declined,
    /// There is nobody to ask, or they did not say.
    Nobody,
}

/// By which way a person is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Channel {
    /// On the terminal of this process.
    Terminal,
    /// By an MCP client, which asserts that a person answered; `permissions.elicitation` can forbid it.
    Elicitation,
    /// By the program that embeds this library.
    #[default]
    Program,
}

impl Channel {
    /// `terminal`, `elicitation` or `program`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Elicitation => "elicitation",
            Self::Program => "program",
        }
    }
}

/// A front end's way of asking a person.
///
/// Whoever implements it vouches that a person answered, and not the agent whose call it is.
pub trait Approver: Send + Sync {
    /// Asks, and waits for the answer. The time that it takes is not the call's.
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

    /// By which way it asks.
    fn channel(&self) -> Channel {
        Channel::Program
    }

    /// Is told of a call that nobody could be asked about and that was stored to be approved.
    fn stored(&self, _question: &Question, _pending: &PendingApproval) {}
}

/// Asks nobody, so that whatever is to be asked for fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyToAsk;

impl Approver for NobodyToAsk {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(std::future::ready(Answer::Nobody))
    }
}
