//! What people decide, as rows of the audit log.

use super::approval::{ApprovalState, StoredApproval};
use super::passkeys::Answer;
use crate::system::user::User;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where a person decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a terminal of this machine.
    Terminal,
    /// On the inbox page.
    #[cfg_attr(not(feature = "inbox"), expect(dead_code, reason = "there is no page"))]
    Page,
    /// In an MCP client, which asserts that a person answered.
    Client,
    /// In the program that embeds this library.
    Program,
}

impl Place {
    /// Returns `terminal`, `page`, `client` or `program`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Page => "page",
            Self::Client => "client",
            Self::Program => "program",
        }
    }

    /// Returns the front end that a row of the log names.
    fn front_end(self) -> &'static str {
        match self {
            Self::Terminal => "cli",
            Self::Page => "inbox",
            Self::Client => "mcp",
            Self::Program => "program",
        }
    }
}

/// Who decides. The operating system's user is that of the program.
#[derive(Clone, Debug)]
pub(crate) struct Decider {
    pub(crate) place: Place,
    /// The name that the MCP client gives itself.
    pub(crate) client: Option<String>,
    /// What the person's passkey signed. Only approving needs it.
    pub(crate) passkey: Option<Answer>,
    /// The state of the approval that the person saw. In any other state, the decision changes nothing.
    pub(crate) saw: Option<ApprovalState>,
}

impl Decider {
    /// Returns a person who decides in a place.
    pub(crate) fn at(place: Place) -> Self {
        Self { place, client: None, passkey: None, saw: None }
    }

    /// Sets the name that the MCP client gives itself.
    pub(crate) fn client(mut self, client: Option<&str>) -> Self {
        self.client = client.map(str::to_owned);
        self
    }
}

/// A decision, as the log has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditDecision {
    /// What was decided: `approve`, `deny`, `revoke`, `freeze`, `unfreeze` or `configure`.
    pub what: String,
    /// Where: `terminal`, `page`, `client` or `program`.
    pub place: String,
    /// The operating system's user.
    pub user: String,
    /// That user's number, where users have one.
    pub uid: Option<u32>,
    /// The id of the passkey that the person used.
    pub passkey: Option<String>,
    /// More about it, which depends on what was decided.
    pub details: Value,
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Approve,
    Deny,
    Revoke,
    Freeze,
    Unfreeze,
    Configure,
}

impl What {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Revoke => "revoke",
            Self::Freeze => "freeze",
            Self::Unfreeze => "unfreeze",
            Self::Configure => "configure",
        }
    }
}

/// A decision to record.
pub(crate) struct Decided<'a> {
    pub(crate) what: What,
    pub(crate) by: &'a Decider,
    pub(crate) account: Option<&'a str>,
    pub(crate) agent: Option<&'a str>,
    pub(crate) function: Option<&'a str>,
    /// The id of the approval.
    pub(crate) approval: Option<&'a str>,
    /// The id of the passkey that signed it.
    pub(crate) passkey: Option<&'a str>,
    pub(crate) details: Value,
}

impl<'a> Decided<'a> {
    /// Returns a decision about nothing in particular.
    pub(crate) fn new(what: What, by: &'a Decider) -> Self {
        let (account, agent, function, approval) = (None, None, None, None);
        let details = json!({});
        Self { what, by, account, agent, function, approval, passkey: None, details }
    }

    /// Returns a decision on an approval.
    pub(super) fn on(what: What, by: &'a Decider, approval: &'a StoredApproval) -> Self {
        Self {
            account: Some(&approval.account),
            agent: approval.agent.as_deref(),
            function: Some(&approval.function),
            approval: Some(&approval.id),
            ..Self::new(what, by)
        }
    }

    pub(super) fn front_end(&self) -> &'static str {
        self.by.place.front_end()
    }

    /// Returns what the log has of it besides the members of a call.
    pub(super) fn to_row(&self) -> AuditDecision {
        let User { name, uid } = User::current();
        AuditDecision {
            what: self.what.as_str().into(),
            place: self.by.place.as_str().into(),
            user: name,
            uid,
            passkey: self.passkey.map(str::to_owned),
            details: self.details.clone(),
        }
    }
}
