//! Asking a person: what is asked, and what they may answer.

use crate::catalog::Function;
use crate::policy::Rule;
use serde_json::Value;
use std::pin::Pin;

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

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// A person approved this one call.
    Approved,
    /// A person declined it.
    Declined,
    /// There is nobody to ask.
    Nobody,
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
}

/// Asks nobody, so that whatever is to be asked for fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyToAsk;

impl Approver for NobodyToAsk {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(std::future::ready(Answer::Nobody))
    }
}
