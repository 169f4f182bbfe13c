//! Approvals: calls that wait for a person, and what the person said.
//!
//! One approval is for one call with exactly its arguments, once, and for a short time. It goes from
//! pending to approved to used; pending and approved ones can be denied. Whoever approves a call that
//! was denied gets a new approval for it. Each step is one statement that looks at the state, and at
//! the clock, as it changes it.

use super::random;
use crate::error::Error;
use hmac::{Hmac, Mac as _};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Value, json};
use sha2::Sha256;
use std::fmt;
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;

/// How long a call waits for a person, and how long a denial holds, in milliseconds.
const PENDING_MS: i64 = 60 * 60 * 1000;

/// How long an approval can be used, in milliseconds.
const VALID_MS: i64 = 15 * 60 * 1000;

/// How long an approval is kept after it was filed, in milliseconds.
const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// How many approvals can be open at a time: more than a person looks through, and little on a disk.
const MAX_OPEN: i64 = 200;

/// How many of them one group can take: a front end, or all clients of one MCP server.
const MAX_OPEN_OF_GROUP: i64 = 100;

/// How many of them one MCP client can take: one connection or session, whatever it calls itself.
const MAX_OPEN_OF_CLIENT: i64 = 25;

/// How many characters an id has.
const ID_LENGTH: usize = 32;

/// What an approval is bound to. The arguments are in their normal form and unmasked; only the
/// digest is kept.
pub(crate) struct Subject<'a> {
    pub(crate) account: &'a str,
    pub(crate) api: &'a str,
    pub(crate) key_fingerprint: &'a [u8],
    pub(crate) component: &'a str,
    pub(crate) function: &'a str,
    pub(crate) arguments: &'a Value,
}

/// The digest of a call, under the installation's key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Digest([u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

impl Digest {
    /// HMAC-SHA256 over the call in canonical JSON (RFC 8785).
    pub(super) fn of(subject: &Subject<'_>, key: &[u8; 32]) -> Result<Self, Error> {
        let Subject { account, api, key_fingerprint, component, function, arguments } = subject;
        if has_inexact_number(arguments) {
            return Err(Error::InvalidArgument {
                message: format!(
                    "the arguments of {function} hold a number that JSON cannot say exactly, so no \
                     approval can be for it"
                ),
            });
        }
        let fingerprint: String = key_fingerprint.iter().map(|b| format!("{b:02x}")).collect();
        let internal = |message: String| Error::Internal { message };
        let canonical = serde_json_canonicalizer::to_vec(&json!({
            "account": account,
            "api": api,
            "key_fingerprint": fingerprint,
            "component": component,
            "function": function,
            "arguments": arguments,
        }))
        .map_err(|error| internal(format!("a call has no canonical form: {error}")))?;
        let mut hmac = Hmac::<Sha256>::new_from_slice(key)
            .map_err(|error| internal(format!("a call has no digest: {error}")))?;
        hmac.update(&canonical);
        Ok(Self(hmac.finalize().into_bytes().into()))
    }
}

/// The id with a mark that only this installation makes.
pub(super) fn handle(id: &str, key: &[u8; 32]) -> Result<String, Error> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).map_err(|error| Error::Internal {
        message: format!("a question has no handle: {error}"),
    })?;
    hmac.update(b"handle:");
    hmac.update(id.as_bytes());
    let mark: String =
        hmac.finalize().into_bytes()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{id}.{mark}"))
}

/// Compares two handles, in a time that says nothing of where they differ.
pub(super) fn is_same(made: &str, given: &str) -> bool {
    let differs = made.bytes().zip(given.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    made.len() == given.len() && differs == 0
}

/// Whether the canonical form, in which every number is a double, says something else than the value.
fn has_inexact_number(value: &Value) -> bool {
    const EXACT: u64 = 1 << 53;
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number > EXACT,
            (None, Some(number)) => number.unsigned_abs() > EXACT,
            (None, None) => false,
        },
        Value::Array(items) => items.iter().any(has_inexact_number),
        Value::Object(object) => object.values().any(has_inexact_number),
        _ => false,
    }
}

/// A call that is to be approved, as a person sees it: its arguments are masked.
pub(crate) struct Asking<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) account: &'a str,
    pub(crate) api: &'a str,
    pub(crate) function: &'a str,
    pub(crate) arguments: &'a Value,
    pub(crate) rule: &'a str,
    pub(crate) front_end: &'a str,
    pub(crate) client: Option<&'a str>,
    /// Whose share it takes up.
    pub(crate) asker: &'a Asker,
}

/// Whose share of the open approvals a call takes up.
///
/// Clients choose their names, so shares go by what only this program assigns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The front end, or the one MCP server.
    pub(crate) group: String,
    /// The client within the group, where the group has clients.
    pub(crate) client: Option<String>,
}

/// Which share of the open approvals is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Client,
    Group,
    All,
}

/// What came of filing a call. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filed {
    /// It waits for a person, perhaps since earlier.
    Pending { id: String, expires_at: i64 },
    /// A person denied it a short time ago.
    Denied { id: String, until: i64 },
}

/// How it stands with an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Pending,
    Approved,
    Denied,
    Used,
    /// It is over, or was never there.
    Gone,
}

/// What a call is made by, and uses up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claim<'a> {
    /// An approval of this call.
    Approved(&'a Digest),
    /// A question that an MCP client has just answered with yes.
    Answered { id: &'a str, digest: &'a Digest },
}

/// How far an approval has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApprovalState {
    /// It waits for a person.
    Pending,
    /// A person said yes, and the call was not made yet.
    Approved,
    /// The call was made.
    Used,
    /// A person said no.
    Denied,
    /// Its time is over.
    Expired,
}

impl ApprovalState {
    /// `pending`, `approved`, `used`, `denied` or `expired`.
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
}

/// An approval as it is stored. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoredApproval {
    /// By which it is named, always whole.
    pub id: String,
    /// How far it has come by now.
    pub state: ApprovalState,
    /// The account that the call uses.
    pub account: String,
    /// The base of the API that it is sent to.
    pub api: String,
    /// The function, as JSON names it.
    pub function: String,
    /// The arguments in their normal form, secrets masked.
    pub arguments: Value,
    /// The rule that says to ask.
    pub rule: String,
    /// Where the call came from: `cli`, `mcp` or `lua`.
    pub front_end: String,
    /// The MCP client that it came from, as it calls itself.
    pub client: Option<String>,
    /// When the call was first made.
    pub created_at: i64,
    /// Until when it waits for a person.
    pub expires_at: i64,
    /// When a person decided.
    pub decided_at: Option<i64>,
    /// Until when the call can be made.
    pub valid_until: Option<i64>,
    /// When the call was made.
    pub used_at: Option<i64>,
}

impl StoredApproval {
    /// The approval as a JSON document, its times in RFC 3339.
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
            "created_at": date(self.created_at),
            "expires_at": date(self.expires_at),
            "decided_at": self.decided_at.map(date),
            "valid_until": self.valid_until.map(date),
            "used_at": self.used_at.map(date),
        })
    }
}

/// A time as a text.
pub(super) fn date(unix_ms: i64) -> Option<String> {
    Timestamp::of_unix_ms(unix_ms).map(Timestamp::to_rfc3339_ms)
}

/// Whether a moment is not in the future. A clock that was put back makes nothing last longer: what
/// seems to come from the future does not count, but for the two minutes by which clocks are corrected
/// while they run.
macro_rules! is_past {
    ($moment:literal) => {
        concat!($moment, " <= ?1 + 120000")
    };
}

/// What makes an approval one that a person can still answer.
const IS_PENDING: &str =
    concat!("state = 'pending' AND ", is_past!("created_at"), " AND ?1 < expires_at");

/// What makes an approval one that can still be used.
const IS_APPROVED: &str = concat!(
    "state = 'approved' AND ",
    is_past!("created_at"),
    " AND ",
    is_past!("decided_at"),
    " AND ?1 < valid_until"
);

/// Whether a call can be made by an approval.
pub(super) fn is_approved(
    connection: &Connection,
    now: i64,
    digest: &Digest,
) -> rusqlite::Result<bool> {
    connection
        .prepare(&format!("SELECT 1 FROM approvals WHERE digest = ?2 AND {IS_APPROVED}"))?
        .exists(params![now, digest.0])
}

/// A person's no to a call, if there was one within the last hour and no yes since.
fn denied(connection: &Connection, now: i64, digest: &Digest) -> rusqlite::Result<Option<Filed>> {
    connection
        .query_row(
            concat!(
                "SELECT id, decided_at + ?3 FROM approvals
                 WHERE digest = ?2 AND state = 'denied' AND ",
                is_past!("decided_at"),
                " AND ?1 < decided_at + ?3
                 -- The last word counts: the call may have been approved after it was denied.
                 AND NOT EXISTS (SELECT 1 FROM approvals AS later WHERE later.digest = ?2
                     AND later.seq > approvals.seq AND later.state IN ('approved', 'used'))
                 ORDER BY decided_at DESC LIMIT 1"
            ),
            params![now, digest.0, PENDING_MS],
            |row| Ok(Filed::Denied { id: row.get(0)?, until: row.get(1)? }),
        )
        .optional()
}

/// Whether a person has denied a call within the last hour.
pub(super) fn is_denied(
    connection: &Connection,
    now: i64,
    digest: &Digest,
) -> rusqlite::Result<bool> {
    denied(connection, now, digest).map(|denied| denied.is_some())
}

/// Ends what is over, so that no clock makes it count again.
pub(super) fn expire(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    let sql = format!(
        "UPDATE approvals SET state = 'expired' WHERE state IN ('pending', 'approved')
         AND NOT ({IS_PENDING}) AND NOT ({IS_APPROVED})"
    );
    connection.execute(&sql, [now])?;
    // What is over is of no more use; the audit log has what came of it.
    let sql =
        "DELETE FROM approvals WHERE created_at < ?1 AND state NOT IN ('pending', 'approved')";
    connection.execute(sql, [now - KEPT_MS]).map(drop)
}

/// Files a call for a person to approve; the inner error says whose share is used up.
pub(super) fn file(
    connection: &Connection,
    now: i64,
    asking: &Asking<'_>,
) -> rusqlite::Result<Result<Filed, Full>> {
    expire(connection, now)?;
    let open = connection
        .query_row(
            "SELECT id, ifnull(valid_until, expires_at) FROM approvals
             WHERE digest = ?1 AND state IN ('pending', 'approved')",
            [asking.digest.0],
            |row| Ok(Filed::Pending { id: row.get(0)?, expires_at: row.get(1)? }),
        )
        .optional()?;
    if let Some(open) = open {
        return Ok(Ok(open));
    }
    let denied = denied(connection, now, asking.digest)?;
    if let Some(denied) = denied {
        return Ok(Ok(denied));
    }
    let Asker { group, client } = asking.asker;
    let (of_client, of_group, all): (i64, i64, i64) = connection.query_row(
        "SELECT count(*) FILTER (WHERE asker_group = ?1 AND asker = ?2),
             count(*) FILTER (WHERE ifnull(asker_group, front_end) = ?1), count(*)
         FROM approvals WHERE state IN ('pending', 'approved')",
        params![group, client],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    if of_client >= MAX_OPEN_OF_CLIENT {
        return Ok(Err(Full::Client));
    }
    if of_group >= MAX_OPEN_OF_GROUP {
        // A group without clients has nobody to take a place from but itself.
        let has_room = client.is_some() && make_room(connection, group, of_client)?;
        if !has_room {
            return Ok(Err(Full::Group));
        }
    }
    if of_group < MAX_OPEN_OF_GROUP && all >= MAX_OPEN {
        let largest = connection
            .query_row(
                "SELECT ifnull(asker_group, front_end) AS whose FROM approvals
                 WHERE state IN ('pending', 'approved') GROUP BY whose HAVING count(*) > ?1
                 ORDER BY count(*) DESC, min(seq) LIMIT 1",
                [of_group],
                |row| row.get::<_, String>(0),
            )
            .optional()?;
        let has_room = match largest {
            Some(largest) => make_room(connection, &largest, 0)?,
            None => false,
        };
        if !has_room {
            return Ok(Err(Full::All));
        }
    }
    let id = new_id().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let expires_at = now + PENDING_MS;
    connection.execute(
        "INSERT INTO approvals (id, digest, state, account, api, function, arguments, rule,
             front_end, client, created_at, expires_at, asker_group, asker)
         VALUES (?1, ?2, 'pending', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            id,
            asking.digest.0,
            asking.account,
            asking.api,
            asking.function,
            asking.arguments.to_string(),
            asking.rule,
            asking.front_end,
            asking.client,
            now,
            expires_at,
            group,
            client,
        ],
    )?;
    Ok(Ok(Filed::Pending { id, expires_at }))
}

/// Expires the oldest pending approval of the client in a group that has most, if it has more than the
/// given number; false where there is none. Whoever opens many sessions keeps nobody else out.
fn make_room(connection: &Connection, group: &str, more_than: i64) -> rusqlite::Result<bool> {
    let expired = connection.execute(
        "WITH open AS (SELECT seq, state, ifnull(asker, '') AS asker FROM approvals
             WHERE state IN ('pending', 'approved') AND ifnull(asker_group, front_end) = ?1)
         UPDATE approvals SET state = 'expired' WHERE seq = (
             SELECT min(seq) FROM open WHERE state = 'pending' AND asker = (
                 SELECT asker FROM open GROUP BY asker HAVING count(*) > ?2
                 ORDER BY count(*) DESC, min(seq) LIMIT 1))",
        params![group, more_than],
    )?;
    Ok(expired > 0)
}

/// The error where too many calls wait.
pub(super) fn too_many(full: Full, asking: &Asking<'_>) -> Error {
    let (count, whose) = match full {
        Full::Client => (MAX_OPEN_OF_CLIENT, " of this client"),
        Full::Group if asking.asker.client.is_some() => (MAX_OPEN_OF_GROUP, " of this MCP server"),
        Full::Group => (MAX_OPEN_OF_GROUP, " of this front end"),
        Full::All => (MAX_OPEN, ""),
    };
    Error::Denied {
        message: format!(
            "too many pending approvals: {count}{whose}; they expire after an hour"
        ),
        rule: None,
        instead:
            "a person lists them with `whereby approvals list` and approves or denies each, or denies \
             them all with `whereby approvals deny --all`"
                .into(),
    }
}

/// Uses up what a call is made by, in one step: whoever comes second finds nothing.
pub(super) fn claim(
    connection: &Connection,
    now: i64,
    claim: Claim<'_>,
) -> rusqlite::Result<Option<String>> {
    let id = |row: &Row<'_>| row.get(0);
    match claim {
        Claim::Approved(digest) => {
            let sql = format!(
                "UPDATE approvals SET state = 'used', used_at = ?1
                 WHERE digest = ?2 AND {IS_APPROVED} RETURNING id"
            );
            connection.query_row(&sql, params![now, digest.0], id).optional()
        }
        Claim::Answered { id: given, digest } => {
            let sql = format!(
                "UPDATE approvals SET state = 'used', used_at = ?1,
                     decided_at = ifnull(decided_at, ?1), valid_until = ifnull(valid_until, ?4)
                 WHERE id = ?2 AND digest = ?3 AND ({IS_PENDING} OR {IS_APPROVED}) RETURNING id"
            );
            let parameters = params![now, given, digest.0, now + VALID_MS];
            connection.query_row(&sql, parameters, id).optional()
        }
    }
}

/// Gives an approval back that a call has used and that did nothing; until when it is valid stays.
/// Where its time is over, or the call was filed anew, it stays used.
pub(super) fn give_back(connection: &Connection, id: &str, call: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE OR IGNORE approvals SET state = 'approved', used_at = NULL
        WHERE id = ?1 AND state = 'used'
        AND EXISTS (SELECT 1 FROM calls WHERE calls.id = ?2 AND calls.approval = approvals.id)";
    connection.execute(sql, [id, call]).map(drop)
}

pub(super) fn decline(
    connection: &Connection,
    now: i64,
    id: &str,
    digest: &Digest,
) -> rusqlite::Result<bool> {
    let sql = format!(
        "UPDATE approvals SET state = 'denied', decided_at = ?1
         WHERE id = ?2 AND digest = ?3 AND {IS_PENDING}"
    );
    Ok(connection.execute(&sql, params![now, id, digest.0])? > 0)
}

/// What a person decided.
#[derive(Clone, Copy)]
pub(super) enum Decision {
    Approve,
    Deny,
}

/// Decides on an approval; `None` where it cannot be decided on, or not any more.
pub(super) fn decide(
    connection: &Connection,
    now: i64,
    id: &str,
    decision: Decision,
) -> rusqlite::Result<Option<StoredApproval>> {
    match decision {
        Decision::Approve => {
            if approve(connection, now, id)? {
                return one(connection, now, id);
            }
            let Some(again) = file_denied_again(connection, now, id)? else { return Ok(None) };
            approve(connection, now, &again)?;
            one(connection, now, &again)
        }
        Decision::Deny => {
            let sql = format!(
                "UPDATE approvals SET state = 'denied', decided_at = ?1, valid_until = NULL
                 WHERE id = ?2 AND (({IS_PENDING}) OR ({IS_APPROVED}))"
            );
            match connection.execute(&sql, params![now, id])? {
                0 => Ok(None),
                _ => one(connection, now, id),
            }
        }
    }
}

fn approve(connection: &Connection, now: i64, id: &str) -> rusqlite::Result<bool> {
    let sql = format!(
        "UPDATE approvals SET state = 'approved', decided_at = ?1, valid_until = ?3
         WHERE id = ?2 AND {IS_PENDING}"
    );
    Ok(connection.execute(&sql, params![now, id, now + VALID_MS])? > 0)
}

/// Files a call anew whose denial still holds, for a person who changes their mind, or who is not
/// whoever denied it. The denial stays as it is. Returns the id of the new approval.
fn file_denied_again(
    connection: &Connection,
    now: i64,
    id: &str,
) -> rusqlite::Result<Option<String>> {
    let again =
        new_id().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let filed = connection.execute(
        concat!(
            "INSERT INTO approvals (id, digest, state, account, api, function, arguments, rule,
                 front_end, client, created_at, expires_at, asker_group, asker)
             SELECT ?3, digest, 'pending', account, api, function, arguments, rule, front_end,
                 client, ?1, ?1 + ?4, asker_group, asker
             FROM approvals AS denied WHERE id = ?2 AND state = 'denied' AND ",
            is_past!("decided_at"),
            " AND ?1 < decided_at + ?4
                 AND NOT EXISTS (SELECT 1 FROM approvals AS later
                     WHERE later.digest = denied.digest AND later.seq > denied.seq)"
        ),
        params![now, id, again, PENDING_MS],
    )?;
    Ok((filed > 0).then_some(again))
}

/// Why an approval cannot be decided on.
pub(super) fn undecidable(
    found: Option<StoredApproval>,
    now: i64,
    id: &str,
    decision: Decision,
) -> Error {
    let Some(found) = found else {
        return Error::Usage {
            message: format!(
                "there is no approval {id}; `whereby approvals list --all` shows those that there are"
            ),
        };
    };
    let at = |time: Option<i64>| time.and_then(date).unwrap_or_else(|| "an unknown time".into());
    let again = "make the call again, and decide on the approval that it then names";
    let message = match (found.state, decision) {
        (ApprovalState::Approved, _) => format!(
            "is approved already, until {}; `whereby approvals deny {id}` takes it back",
            at(found.valid_until)
        ),
        (ApprovalState::Used, Decision::Approve) => {
            format!("was used at {}, and is for one call only; {again}", at(found.used_at))
        }
        (ApprovalState::Used, Decision::Deny) => format!(
            "was used at {}; `whereby audit` shows what came of the call",
            at(found.used_at)
        ),
        (ApprovalState::Denied, Decision::Approve) => {
            format!("was denied at {}; {again}", at(found.decided_at))
        }
        (ApprovalState::Denied, Decision::Deny) => {
            format!("was denied already, at {}", at(found.decided_at))
        }
        (ApprovalState::Expired, _) if now < found.valid_until.unwrap_or(found.expires_at) => {
            format!("is void because this machine's clock was set back; {again}")
        }
        (ApprovalState::Expired, Decision::Approve) => match found.decided_at {
            Some(_) => {
                format!("was approved until {} and not used; {again}", at(found.valid_until))
            }
            None => format!("has expired, at {}; {again}", at(Some(found.expires_at))),
        },
        (ApprovalState::Expired, Decision::Deny) | (ApprovalState::Pending, _) => {
            "has expired, so nothing can be done by it".into()
        }
    };
    Error::Usage { message: format!("the approval {id} {message}") }
}

const COLUMNS: &str = "id, state, account, api, function, arguments, rule, front_end, client,
    created_at, expires_at, decided_at, valid_until, used_at";

fn from_row(row: &Row<'_>, now: i64) -> rusqlite::Result<StoredApproval> {
    let arguments: String = row.get("arguments")?;
    let mut approval = StoredApproval {
        id: row.get("id")?,
        state: ApprovalState::Expired,
        account: row.get("account")?,
        api: row.get("api")?,
        function: row.get("function")?,
        arguments: serde_json::from_str(&arguments).unwrap_or_default(),
        rule: row.get("rule")?,
        front_end: row.get("front_end")?,
        client: row.get("client")?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        decided_at: row.get("decided_at")?,
        valid_until: row.get("valid_until")?,
        used_at: row.get("used_at")?,
    };
    let has_begun = approval.created_at <= now && approval.decided_at.is_none_or(|at| at <= now);
    approval.state = match row.get::<_, String>("state")?.as_str() {
        "pending" if has_begun && now < approval.expires_at => ApprovalState::Pending,
        "approved" if has_begun && approval.valid_until.is_some_and(|until| now < until) => {
            ApprovalState::Approved
        }
        "used" => ApprovalState::Used,
        "denied" => ApprovalState::Denied,
        _ => ApprovalState::Expired,
    };
    Ok(approval)
}

/// The approval of an id.
pub(super) fn one(
    connection: &Connection,
    now: i64,
    id: &str,
) -> rusqlite::Result<Option<StoredApproval>> {
    let sql = format!("SELECT {COLUMNS} FROM approvals WHERE id = ?1");
    connection.query_row(&sql, [id], |row| from_row(row, now)).optional()
}

/// The approvals in the order of their filing: those that something can be done about, or all.
pub(super) fn list(
    connection: &Connection,
    now: i64,
    all: bool,
) -> rusqlite::Result<Vec<StoredApproval>> {
    let which = if all { "1" } else { "state IN ('pending', 'approved')" };
    let sql = format!("SELECT {COLUMNS} FROM approvals WHERE {which} ORDER BY seq");
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| from_row(row, now))?;
    let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    found.retain(|approval| all || approval.state != ApprovalState::Expired);
    Ok(found)
}

/// 128 random bits of the system's, in lower-case hexadecimal.
pub(crate) fn new_id() -> Result<String, Error> {
    let bytes: [u8; ID_LENGTH / 2] = random().map_err(|message| Error::Internal { message })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Refuses what cannot be an id, such as the beginning of one.
pub(super) fn check_id(id: &str) -> Result<(), Error> {
    let is_hexadecimal = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hexadecimal && id.len() == ID_LENGTH {
        return Ok(());
    }
    let shown = text::printable(id, 60);
    let message = match is_hexadecimal && (1..ID_LENGTH).contains(&id.len()) {
        true => format!(
            "`{shown}` is a part of an id at most; an approval's id has {ID_LENGTH} characters and is \
             given whole"
        ),
        false => format!(
            "`{shown}` is no approval's id; it has {ID_LENGTH} characters, 0 to 9 and a to f, and \
             `whereby approvals list` shows it"
        ),
    };
    Err(Error::Usage { message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(arguments: &Value) -> Subject<'_> {
        Subject {
            account: "work",
            api: "https://api.whereby.dev/v1",
            key_fingerprint: &[1, 2],
            component: "c0de",
            function: "delete_room",
            arguments,
        }
    }

    #[test]
    fn a_digest_is_of_one_call_under_one_key() {
        let arguments = json!({"room_name": "daily", "fields": [1, 2.5]});
        let digest = |subject: &Subject<'_>| Digest::of(subject, &[7; 32]).expect("a digest");
        let first = digest(&subject(&arguments));
        // The order of members says nothing.
        let turned = json!({"fields": [1, 2.5], "room_name": "daily"});
        assert_eq!(digest(&subject(&turned)), first);
        assert_ne!(Digest::of(&subject(&arguments), &[8; 32]).expect("a digest"), first);
        let other = json!({"room_name": "daily ", "fields": [1, 2.5]});
        let base = subject(&arguments);
        for changed in [
            Subject { account: "other", ..base },
            Subject { api: "http://127.0.0.1:1/v1", ..base },
            Subject { key_fingerprint: &[1, 3], ..base },
            Subject { component: "c0df", ..base },
            Subject { function: "create_room", ..base },
            Subject { arguments: &other, ..base },
        ] {
            assert_ne!(digest(&changed), first);
        }
        assert_eq!(format!("{first:?}"), "Digest(…)");
    }

    #[test]
    fn numbers_that_canonical_json_makes_equal_have_no_digest() {
        // These two are one double.
        for (number, has_one) in [
            (json!(9_007_199_254_740_992_u64), true),
            (json!(9_007_199_254_740_993_u64), false),
            (json!(-9_007_199_254_740_993_i64), false),
            (json!(u64::MAX), false),
            (json!(0.1), true),
        ] {
            let arguments = json!({"fields": [{"a": number}]});
            assert_eq!(Digest::of(&subject(&arguments), &[7; 32]).is_ok(), has_one, "{number}");
        }
    }

    #[test]
    fn ids_are_random_and_given_whole() {
        let (one, other) = (new_id().expect("an id"), new_id().expect("an id"));
        assert_ne!(one, other);
        assert!(check_id(&one).is_ok());
        for (id, words) in [
            (&one[..8], "given whole"),
            ("", "is no approval's id"),
            ("daily", "is no approval's id"),
            (&one.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A"), "no approval's id"),
            (&format!("{one}0"), "is no approval's id"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
        ] {
            let message = check_id(id).expect_err(id).to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
