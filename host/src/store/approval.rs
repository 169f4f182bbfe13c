//! Approvals as types: what is requested, what is stored, and how an approval is named.

use super::audit::ids;
use super::decision::Decider;
use super::digest::Digest;
use crate::error::Error;
use crate::system::digest::hex;
use crate::system::random::random;
use rusqlite::Row;
use serde_json::{Value, json};
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;

/// The number of characters of an id.
const ID_LENGTH: usize = 32;

/// A call to approve, as a person sees it. The arguments are masked.
pub(crate) struct Asking<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) account: &'a str,
    pub(crate) api: &'a str,
    pub(crate) function: &'a str,
    pub(crate) arguments: &'a Value,
    pub(crate) rule: &'a str,
    pub(crate) front_end: &'a str,
    pub(crate) client: Option<&'a str>,
    pub(crate) agent: Option<&'a str>,
    /// The ids of the blocks of the call's token.
    pub(crate) token: Option<&'a [String]>,
    /// Whose share of the open approvals it counts towards.
    pub(crate) asker: &'a Asker,
    /// The SHA-256 of the account's key.
    pub(crate) key_fingerprint: &'a [u8],
    /// The SHA-256 of the component, in lower-case hexadecimal.
    pub(crate) component: &'a str,
    pub(crate) has_destination: bool,
    /// Whether only a passkey approves it.
    pub(crate) passkey: bool,
    /// The call, for a program that makes it once a person has approved it.
    pub(crate) call: Option<&'a [u8]>,
}

/// Whose share of the open approvals a call counts towards.
///
/// Clients choose their own names, so this program assigns the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The front end or the MCP server.
    pub(crate) group: String,
    /// The client in the group, if the group has clients.
    pub(crate) client: Option<String>,
}

/// The result of requesting approval. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filed {
    /// The call is pending: since now, or since an earlier request.
    Pending { id: String, expires_at: i64, is_new: bool, needs_passkey: bool },
    /// A person denied the call recently.
    Denied { id: String, until: i64 },
}

/// The approval that a call uses up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claim<'a> {
    /// Any approval of this call.
    Approved(&'a Digest),
    /// This approval of this call, by a program that makes approved calls.
    Resumed { id: &'a str, digest: &'a Digest },
    /// A question that an MCP client has just answered with yes.
    Answered { id: &'a str, digest: &'a Digest, by: &'a Decider },
    /// A use of a standing approval.
    Standing(&'a str),
}

/// The state of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApprovalState {
    /// Waiting for a person to decide.
    Pending,
    /// A person approved the call, and it has not been made yet.
    Approved,
    /// The call was made.
    Used,
    /// A person denied the call.
    Denied,
    /// Not decided or not used in time.
    Expired,
}

impl ApprovalState {
    /// Returns `pending`, `approved`, `used`, `denied` or `expired`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Used => "used",
            Self::Denied => "denied",
            Self::Expired => "expired",
        }
    }

    fn of(state: &str) -> Self {
        match state {
            "pending" => Self::Pending,
            "approved" => Self::Approved,
            "used" => Self::Used,
            "denied" => Self::Denied,
            _ => Self::Expired,
        }
    }
}

/// A stored approval. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoredApproval {
    /// The id: 32 lower-case hexadecimal characters.
    pub id: String,
    /// The state at the time of reading.
    pub state: ApprovalState,
    /// The account that the call uses.
    pub account: String,
    /// The base URL of the API that the call is sent to.
    pub api: String,
    /// The function, in snake_case.
    pub function: String,
    /// The normalized arguments, with secrets masked.
    pub arguments: Value,
    /// The rule that requires approval.
    pub rule: String,
    /// The front end that made the call: `cli`, `mcp` or `lua`.
    pub front_end: String,
    /// The name that the MCP client gives itself.
    pub client: Option<String>,
    /// The agent that makes the call.
    pub agent: Option<String>,
    /// The ids of the blocks of the capability token that the call is made with, from the first.
    pub token: Option<Vec<String>>,
    /// Whether the call sends audio, video or a transcript to a destination.
    pub has_destination: bool,
    /// Whether nothing but a passkey approves it.
    pub(crate) needs_passkey: bool,
    /// How many standing approvals its denial revoked: those that were given with it.
    pub(crate) revoked: u32,
    /// Whether a program makes the call by itself once it is approved; otherwise, its caller makes it again.
    pub(crate) is_made_by_itself: bool,
    /// Whether its caller took the request back.
    pub(crate) is_withdrawn: bool,
    /// Whether its caller has the result.
    pub(crate) is_collected: bool,
    /// The SHA-256 of the component that the call is made with; an older row does not say.
    pub(crate) component: Option<String>,
    /// When approval was first requested.
    pub created_at: i64,
    /// When it expires unless a person decides.
    pub expires_at: i64,
    /// When a person decided.
    pub decided_at: Option<i64>,
    /// Until when the approved call can be made.
    pub valid_until: Option<i64>,
    /// When the call was made.
    pub used_at: Option<i64>,
}

impl StoredApproval {
    /// Reads the columns that `approvals::select` names.
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let arguments: String = row.get("arguments")?;
        Ok(Self {
            id: row.get("id")?,
            state: ApprovalState::of(&row.get::<_, String>("state")?),
            account: row.get("account")?,
            api: row.get("api")?,
            function: row.get("function")?,
            arguments: serde_json::from_str(&arguments).unwrap_or_default(),
            rule: row.get("rule")?,
            front_end: row.get("front_end")?,
            client: row.get("client")?,
            agent: row.get("agent")?,
            token: ids(row.get("token")?),
            needs_passkey: row.get("needs_passkey")?,
            revoked: row.get("revoked")?,
            is_made_by_itself: row.get("has_call")?,
            is_withdrawn: row.get::<_, Option<i64>>("withdrawn_at")?.is_some(),
            is_collected: row.get::<_, Option<i64>>("collected_at")?.is_some(),
            component: row.get("component")?,
            // An older row does not say.
            has_destination: row.get::<_, Option<bool>>("has_destination")?.unwrap_or(true),
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
            decided_at: row.get("decided_at")?,
            valid_until: row.get("valid_until")?,
            used_at: row.get("used_at")?,
        })
    }

    /// Returns the approval as a JSON document, its times in RFC 3339.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "state": self.state.as_str(),
            "account": self.account,
            "api_url": self.api,
            "function": self.function,
            "arguments": self.arguments,
            "rule": self.rule,
            "front_end": self.front_end,
            "client": self.client,
            "agent": self.agent,
            "token": self.token,
            "created_at": date(self.created_at),
            "expires_at": date(self.expires_at),
            "decided_at": self.decided_at.map(date),
            "valid_until": self.valid_until.map(date),
            "used_at": self.used_at.map(date),
        })
    }
}

/// Returns a time in RFC 3339.
pub(super) fn date(unix_ms: i64) -> Option<String> {
    Timestamp::of_unix_ms(unix_ms).map(Timestamp::to_rfc3339_ms)
}

/// Returns a new id: 128 random bits in lower-case hexadecimal.
pub(crate) fn new_id() -> Result<String, Error> {
    let bytes: [u8; ID_LENGTH / 2] = random()?;
    Ok(hex(&bytes))
}

/// The minimum length of the beginning of an id, in characters.
const SHORTEST: usize = 6;

/// Returns an error for a string that is not an id, such as the beginning of one.
pub(super) fn check_id(id: &str) -> Result<(), Error> {
    check(id, ID_LENGTH, "give all 32 characters").map(drop)
}

/// Returns whether a string is a whole id. Otherwise it is the beginning of one.
///
/// # Errors
///
/// [`Error::Usage`] if it is neither.
pub(super) fn is_whole(id: &str) -> Result<bool, Error> {
    check(id, SHORTEST, "give at least 6 characters of it")
}

/// Returns whether a string is a whole id. The error for a string with too few characters says what to
/// give.
fn check(id: &str, least: usize, what: &str) -> Result<bool, Error> {
    let is_hexadecimal = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hexadecimal && (least..=ID_LENGTH).contains(&id.len()) {
        return Ok(id.len() == ID_LENGTH);
    }
    let shown = text::printable(id, 60);
    let message = if is_hexadecimal && (1..least).contains(&id.len()) {
        format!("`{shown}` is too short for an approval id; {what}")
    } else {
        format!(
            "`{shown}` is not an approval id ({ID_LENGTH} characters, 0 to 9 and a to f); run: \
             whereby approvals list"
        )
    };
    Err(Error::Usage { message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_and_must_be_complete() {
        let (one, other) = (new_id().expect("an id"), new_id().expect("an id"));
        assert_ne!(one, other);
        assert!(check_id(&one).is_ok());
        for (id, words) in [
            (&one[..8], "give all 32 characters"),
            ("", "is not an approval id"),
            ("daily", "is not an approval id"),
            (&one.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A"), "not an approval id"),
            (&format!("{one}0"), "is not an approval id"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
        ] {
            let message = check_id(id).expect_err(id).to_string();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn a_person_may_shorten_an_id_to_six_characters() {
        let one = new_id().expect("an id");
        assert!(is_whole(&one).expect("an id"));
        for length in 6..32 {
            assert!(!is_whole(&one[..length]).expect("a beginning"));
        }
        for (id, words) in [
            (&one[..5], "give at least 6 characters of it"),
            ("", "is not an approval id"),
            ("daily-standup", "is not an approval id"),
            ("ABCDEF", "is not an approval id"),
            (&format!("{one}0"), "is not an approval id"),
        ] {
            let message = is_whole(id).expect_err(id).to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
