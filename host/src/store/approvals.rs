//! Requests, grants and uses approvals in the database.
//!
//! An approval is for one call with exactly its arguments, can be used once, and expires soon. Its state
//! goes from pending to approved to used; pending and approved ones can be denied. Approving a call that
//! was denied creates a new approval. Each step is one statement that checks the state and the time as
//! it changes the state.

use super::approval::{ApprovalState, Asker, Asking, Claim, Filed, StoredApproval, date, new_id};
use super::audit;
use super::decision::{Decided, Decider, What};
use super::digest::Digest;
use super::passkeys::Signed;
use super::seal::{self, Content};
use super::standing::{self, Which};
use crate::error::Error;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

/// How long a call is pending, and how long a denial holds, in milliseconds.
const PENDING_MS: i64 = 60 * 60 * 1000;

/// How long an approval can be used, in milliseconds.
const VALID_MS: i64 = 15 * 60 * 1000;

/// How long the result of an approved call is kept, in milliseconds.
pub(super) const RESULT_MS: i64 = 60 * 60 * 1000;

/// How long an approval is kept after it was requested, in milliseconds.
const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// The maximum number of open approvals.
const MAX_OPEN: i64 = 200;

/// The maximum for one group: a front end, or all clients of one MCP server.
const MAX_OPEN_OF_GROUP: i64 = 100;

/// The maximum for one MCP client: a connection or session, whatever its name.
const MAX_OPEN_OF_CLIENT: i64 = 25;

/// The limit that a request exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Client,
    Group,
    All,
}

/// The condition that a time is not in the future. If the clock is set back, approvals from the future
/// do not count, so that none lasts longer. Two minutes are allowed for corrections of a running clock.
macro_rules! is_past {
    ($moment:literal) => {
        concat!($moment, " <= ?1 + 120000")
    };
}

pub(super) use is_past;

/// The condition that a person can still decide on an approval.
const IS_PENDING: &str =
    concat!("state = 'pending' AND ", is_past!("created_at"), " AND ?1 < expires_at");

/// The condition that an approval can still be used.
const IS_APPROVED: &str = concat!(
    "state = 'approved' AND (needs_passkey = 0 OR passkey IS NOT NULL) AND ",
    is_past!("created_at"),
    " AND ",
    is_past!("decided_at"),
    " AND ?1 < valid_until"
);

/// Returns whether a call has an approval that can be used.
pub(super) fn is_approved(
    connection: &Connection,
    now: i64,
    digest: &Digest,
    passkey: bool,
) -> rusqlite::Result<bool> {
    let sql = format!(
        "SELECT 1 FROM approvals WHERE digest = ?2 AND {IS_APPROVED}
             AND (NOT ?3 OR passkey IS NOT NULL)"
    );
    connection.prepare(&sql)?.exists(params![now, digest.0, passkey])
}

/// Returns the denial of a call within the last hour, unless it was approved later.
fn denied(connection: &Connection, now: i64, digest: &Digest) -> rusqlite::Result<Option<Filed>> {
    connection
        .query_row(
            concat!(
                "SELECT id, decided_at + ?3 FROM approvals
                 WHERE digest = ?2 AND state = 'denied' AND ",
                is_past!("decided_at"),
                " AND ?1 < decided_at + ?3
                 -- The last decision counts.
                 AND NOT EXISTS (SELECT 1 FROM approvals AS later WHERE later.digest = ?2
                     AND later.seq > approvals.seq AND later.state IN ('approved', 'used'))
                 ORDER BY decided_at DESC LIMIT 1"
            ),
            params![now, digest.0, PENDING_MS],
            |row| Ok(Filed::Denied { id: row.get(0)?, until: row.get(1)? }),
        )
        .optional()
}

/// Returns whether a person has denied a call within the last hour.
pub(super) fn is_denied(
    connection: &Connection,
    now: i64,
    digest: &Digest,
) -> rusqlite::Result<bool> {
    denied(connection, now, digest).map(|denied| denied.is_some())
}

/// Expires approvals that are out of date, so that setting the clock back does not renew them. Deletes
/// old ones, calls that cannot be made any more, and results that nobody has asked for.
pub(super) fn expire(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    let change = |change: &str, condition: &str, times: &[i64]| {
        change_where(connection, "approvals", change, condition, times)
    };
    let is_past =
        format!("state IN ('pending', 'approved') AND NOT ({IS_PENDING}) AND NOT ({IS_APPROVED})");
    change("UPDATE approvals SET state = 'expired'", &is_past, &[now])?;
    // A call that has begun may give its approval back, and a person may approve what was denied.
    let is_over = "call IS NOT NULL
        AND (state = 'expired' OR state = 'used' AND used_at < ?1
            OR state = 'denied' AND decided_at < ?2)";
    change("UPDATE approvals SET call = NULL", is_over, &[now - RESULT_MS, now - PENDING_MS])?;
    let results = "DELETE FROM results";
    change_where(connection, "results", results, "time < ?1", &[now - RESULT_MS])?;
    standing::expire(connection, now)?;
    // The audit log keeps what came of them.
    let is_old = "created_at < ?1 AND state NOT IN ('pending', 'approved')";
    change("DELETE FROM approvals", is_old, &[now - KEPT_MS])
}

/// Changes the rows of a table for which a condition holds. There is rarely one, and preparing a change with
/// all its triggers takes long, so this looks first.
pub(super) fn change_where(
    connection: &Connection,
    table: &str,
    change: &str,
    condition: &str,
    values: &[i64],
) -> rusqlite::Result<()> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE {condition})");
    let mut exists = connection.prepare_cached(&sql)?;
    if exists.query_row(rusqlite::params_from_iter(values), |row| row.get(0))? {
        let sql = format!("{change} WHERE {condition}");
        connection.execute(&sql, rusqlite::params_from_iter(values))?;
    }
    Ok(())
}

/// What a stored call is stored with.
pub(super) struct Keys {
    /// What the call is sealed with.
    pub(super) sealing: [u8; 32],
    /// The digest of the account's key.
    pub(super) digest: [u8; 32],
}

/// Requests approval of a call. The inner error is the limit that this would exceed.
pub(super) fn file(
    connection: &Connection,
    now: i64,
    asking: &Asking<'_>,
    keys: &Keys,
) -> rusqlite::Result<Result<Filed, Full>> {
    let failed = |error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    let sealed = |id: &str| {
        let call = asking.call.map(|call| seal::seal(&keys.sealing, Content::Call, id, call));
        call.transpose().map_err(failed)
    };
    if asking.passkey {
        // It was requested before one was required. If it was approved without one, it expires.
        let sql = "UPDATE approvals SET needs_passkey = 1
            WHERE digest = ?1 AND state IN ('pending', 'approved') AND needs_passkey = 0";
        connection.execute(sql, [asking.digest.0])?;
    }
    expire(connection, now)?;
    let open = connection
        .query_row(
            "SELECT id, ifnull(valid_until, expires_at), needs_passkey FROM approvals
             WHERE digest = ?1 AND state IN ('pending', 'approved')",
            [asking.digest.0],
            |row| {
                Ok(Filed::Pending {
                    id: row.get(0)?,
                    expires_at: row.get(1)?,
                    is_new: false,
                    needs_passkey: row.get(2)?,
                })
            },
        )
        .optional()?;
    if let Some(open) = open {
        // It may have been requested by a front end whose calls are not made by themselves.
        if let Filed::Pending { id, .. } = &open
            && asking.call.is_some()
        {
            let add = "UPDATE approvals SET call = ?2 WHERE id = ?1 AND call IS NULL";
            connection.execute(add, params![id, sealed(id)?])?;
        }
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
        // In a group without clients, all requests have the same right to a place.
        if client.is_none() || !make_room(connection, group, of_client)? {
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
        let Some(largest) = largest else { return Ok(Err(Full::All)) };
        if !make_room(connection, &largest, 0)? {
            return Ok(Err(Full::All));
        }
    }
    let id = new_id().map_err(failed)?;
    let expires_at = now + PENDING_MS;
    connection.execute(
        "INSERT INTO approvals (id, digest, state, account, api, function, arguments, rule,
             front_end, client, created_at, expires_at, asker_group, asker, agent, token, key_digest,
             component, has_destination, needs_passkey, call)
         VALUES (?1, ?2, 'pending', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
             ?18, ?19, ?20)",
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
            asking.agent,
            asking.token.map(|ids| json!(ids).to_string()),
            keys.digest,
            asking.component,
            asking.has_destination,
            asking.passkey,
            sealed(&id)?,
        ],
    )?;
    Ok(Ok(Filed::Pending { id, expires_at, is_new: true, needs_passkey: asking.passkey }))
}

/// Expires the oldest pending approval of the client with the most in a group, if it has more than a
/// number. Returns whether it did. This way, opening many sessions does not lock out other clients.
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

/// Returns the error for a request that exceeds a limit.
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

/// Uses up an approval, for a call that has its outcome by a time. Returns its id; `None` if there is none,
/// for example because another call was first.
pub(super) fn claim(
    connection: &Connection,
    now: i64,
    claim: Claim<'_>,
    ends_by: i64,
    passkey: bool,
) -> rusqlite::Result<Option<String>> {
    let used = claim_only(connection, now, claim, ends_by, passkey)?;
    if let Some(id) = &used {
        // That of an earlier attempt says nothing about this one.
        connection.execute("DELETE FROM results WHERE approval = ?1", [id])?;
    }
    Ok(used)
}

fn claim_only(
    connection: &Connection,
    now: i64,
    claim: Claim<'_>,
    ends_by: i64,
    passkey: bool,
) -> rusqlite::Result<Option<String>> {
    let id = |row: &Row<'_>| row.get(0);
    match claim {
        Claim::Approved(digest) => {
            let sql = format!(
                "UPDATE approvals SET state = 'used', used_at = ?1, run_at = ifnull(run_at, ?1),
                     ends_by = ?3, collected_at = ifnull(collected_at, ?1)
                 WHERE digest = ?2 AND {IS_APPROVED} AND (NOT ?4 OR passkey IS NOT NULL)
                 RETURNING id"
            );
            connection.query_row(&sql, params![now, digest.0, ends_by, passkey], id).optional()
        }
        Claim::Resumed { id: given, digest } => {
            let sql = format!(
                "UPDATE approvals SET state = 'used', used_at = ?1, run_at = ifnull(run_at, ?1),
                     ends_by = ?4
                 WHERE id = ?2 AND digest = ?3 AND {IS_APPROVED} AND (NOT ?5 OR passkey IS NOT NULL)
                 RETURNING id"
            );
            let values = params![now, given, digest.0, ends_by, passkey];
            connection.query_row(&sql, values, id).optional()
        }
        // No client has a passkey.
        Claim::Answered { .. } if passkey => Ok(None),
        Claim::Answered { id: given, digest, by } => {
            let sql = format!(
                "UPDATE approvals SET state = 'used', used_at = ?1, run_at = ifnull(run_at, ?1),
                     ends_by = ?5, collected_at = ifnull(collected_at, ?1),
                     decided_at = ifnull(decided_at, ?1), valid_until = ifnull(valid_until, ?4)
                 WHERE id = ?2 AND digest = ?3 AND ({IS_PENDING} OR {IS_APPROVED})
                     AND needs_passkey = 0
                 RETURNING id"
            );
            let parameters = params![now, given, digest.0, now + VALID_MS, ends_by];
            let used: Option<String> = connection.query_row(&sql, parameters, id).optional()?;
            if used.is_some()
                && let Some(approval) = one(connection, now, given)?
            {
                record(connection, now, What::Approve, by, &approval, None)?;
            }
            Ok(used)
        }
        Claim::Standing(id) => {
            Ok(standing::use_up(connection, now, id, passkey)?.then(|| id.to_owned()))
        }
    }
}

/// Records a decision on an approval. What a passkey signed for it is in the row.
fn record(
    connection: &Connection,
    now: i64,
    what: What,
    by: &Decider,
    approval: &StoredApproval,
    signed: Option<&Signed>,
) -> rusqlite::Result<()> {
    let mut decided = Decided::on(what, by, approval);
    if let Some(signed) = signed {
        decided.passkey = Some(&signed.id);
        decided.details = signed.details.clone();
    } else if approval.revoked > 0 {
        decided.details = json!({"standing approvals revoked": approval.revoked});
    }
    audit::decide(connection, now, &decided)
}

/// Ends the call that used an approval. Keeps the result for callers that ask for it later, if the approval
/// has the call.
pub(super) fn end(
    connection: &Connection,
    time: i64,
    call: &str,
    result: Option<&str>,
) -> rusqlite::Result<()> {
    // One that cannot be read is none: callers are then told what the log says.
    if let Some(result) = result.and_then(|result| BASE64_STANDARD.decode(result).ok()) {
        let keep = "INSERT OR REPLACE INTO results (approval, time, result)
            SELECT approvals.id, ?2, ?3 FROM approvals JOIN calls ON calls.approval = approvals.id
            WHERE calls.id = ?1 AND approvals.call IS NOT NULL";
        connection.execute(keep, params![call, time, result])?;
    }
    Ok(())
}

/// Keeps the reason why a call was not made in place of its result, and ends its approval. Returns whether
/// the approval could still be used.
pub(super) fn fail(
    connection: &Connection,
    now: i64,
    id: &str,
    result: &[u8],
) -> rusqlite::Result<bool> {
    let sql = format!(
        "UPDATE approvals SET state = 'expired', valid_until = ?1
         WHERE id = ?2 AND call IS NOT NULL AND {IS_APPROVED}"
    );
    if connection.execute(&sql, params![now, id])? == 0 {
        return Ok(false);
    }
    let keep = "INSERT OR REPLACE INTO results (approval, time, result) VALUES (?1, ?2, ?3)";
    connection.execute(keep, params![id, now, result])?;
    Ok(true)
}

/// Returns the approved calls that a program with this component is to make by itself, the oldest first.
#[cfg(any(feature = "inbox", feature = "mcp", test))]
pub(super) fn runnable(
    connection: &Connection,
    now: i64,
    component: &str,
) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!(
        "SELECT id FROM approvals
         WHERE {IS_APPROVED} AND call IS NOT NULL AND run_at IS NULL AND ifnull(component, ?2) = ?2
         ORDER BY seq"
    ))?;
    statement.query_map(params![now, component], |row| row.get(0))?.collect()
}

/// Returns a call that was made by itself within the last hour, and whose caller does not have the result.
pub(super) fn uncollected(
    connection: &Connection,
    now: i64,
    digest: &Digest,
) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT id FROM approvals
        WHERE digest = ?2 AND call IS NOT NULL AND collected_at IS NULL AND run_at > ?1
            AND state = 'used'
        ORDER BY seq DESC LIMIT 1";
    connection.query_row(sql, params![now - RESULT_MS, digest.0], |row| row.get(0)).optional()
}

/// Records that a caller has the result. Returns whether it is the first.
pub(super) fn collect(connection: &Connection, now: i64, id: &str) -> rusqlite::Result<bool> {
    let sql = "UPDATE approvals SET collected_at = ?2 WHERE id = ?1 AND collected_at IS NULL";
    connection.execute(sql, params![id, now]).map(|changed| changed > 0)
}

/// Returns the sealed call of an approval.
pub(super) fn sealed_call(connection: &Connection, id: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT call FROM approvals WHERE id = ?1";
    connection.query_row(sql, [id], |row| row.get(0)).optional().map(Option::flatten)
}

/// Returns the sealed result of the call that used an approval.
pub(super) fn sealed_result(
    connection: &Connection,
    now: i64,
    id: &str,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT result FROM results WHERE approval = ?1 AND time > ?2";
    connection.query_row(sql, params![id, now - RESULT_MS], |row| row.get(0)).optional()
}

/// Returns whether the program that makes the call of a used approval may still run.
pub(super) fn is_under_way(connection: &Connection, now: i64, id: &str) -> rusqlite::Result<bool> {
    let sql = concat!(
        "SELECT 1 FROM approvals WHERE id = ?2 AND state = 'used' AND ?1 < ends_by AND ",
        is_past!("used_at")
    );
    connection.prepare(sql)?.exists(params![now, id])
}

/// Returns whether an approval is for this call.
pub(super) fn is_for(connection: &Connection, id: &str, digest: &Digest) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM approvals WHERE id = ?1 AND digest = ?2";
    connection.prepare(sql)?.exists(params![id, digest.0])
}

/// Returns an approval, or a use of a standing one, that a call used without changing anything. It stays
/// valid for as long as before. If it has expired, or approval was requested again, it stays used.
pub(super) fn give_back(connection: &Connection, id: &str, call: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE OR IGNORE approvals SET state = 'approved', used_at = NULL
        WHERE id = ?1 AND state = 'used'
        AND EXISTS (SELECT 1 FROM calls WHERE calls.id = ?2 AND calls.approval = approvals.id)";
    connection.execute(sql, [id, call])?;
    standing::give_back(connection, id, call)
}

/// Denies a pending approval, if it is for this call. Returns whether it did.
pub(super) fn decline(
    connection: &Connection,
    now: i64,
    id: &str,
    digest: &Digest,
    by: &Decider,
) -> rusqlite::Result<bool> {
    let sql = format!(
        "UPDATE approvals SET state = 'denied', decided_at = ?1
         WHERE id = ?2 AND digest = ?3 AND {IS_PENDING}"
    );
    let is_denied = connection.execute(&sql, params![now, id, digest.0])? > 0;
    if is_denied && let Some(approval) = one(connection, now, id)? {
        record(connection, now, What::Deny, by, &approval, None)?;
    }
    Ok(is_denied)
}

/// Withdraws a pending approval, because its caller does not want the call any more. Returns whether it was
/// pending.
pub(super) fn withdraw(connection: &Connection, now: i64, id: &str) -> rusqlite::Result<bool> {
    let sql = format!(
        "UPDATE approvals SET state = 'expired', withdrawn_at = ?1 WHERE id = ?2 AND {IS_PENDING}"
    );
    Ok(connection.execute(&sql, params![now, id])? > 0)
}

/// The decision of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Approve,
    Deny,
}

/// Applies a decision, and records it. Returns the approval; `None` if it is not open.
pub(super) fn decide(
    connection: &Connection,
    now: i64,
    id: &str,
    decision: Decision,
    by: &Decider,
    signed: Option<&Signed>,
) -> rusqlite::Result<Option<StoredApproval>> {
    let applied = apply(connection, now, id, decision, by, signed)?;
    let Some((what, decided)) = applied else { return Ok(None) };
    // Only an approval is signed.
    let signed = signed.filter(|_| what == What::Approve);
    record(connection, now, what, by, &decided, signed)?;
    Ok(Some(decided))
}

/// Applies a decision. Returns what it is and the approval; `None` if that is not open, or not in the state
/// that the person saw.
pub(super) fn apply(
    connection: &Connection,
    now: i64,
    id: &str,
    decision: Decision,
    by: &Decider,
    signed: Option<&Signed>,
) -> rusqlite::Result<Option<(What, StoredApproval)>> {
    if by.saw.is_some() {
        let found = one(connection, now, id)?;
        if found.map(|found| found.state) != by.saw {
            return Ok(None);
        }
    }
    let (what, decided) = match decision {
        Decision::Approve if signed.is_none() && needs_passkey(connection, id)? => return Ok(None),
        Decision::Approve => {
            let passkey = signed.map(|signed| signed.id.as_str());
            let approved = if approve(connection, now, id, passkey)? {
                Some(id.to_owned())
            } else {
                let again = request_denied_again(connection, now, id)?;
                if let Some(again) = &again {
                    approve(connection, now, again, passkey)?;
                }
                again
            };
            if approved.is_some() {
                signed.map_or(Ok(()), |signed| signed.use_up(connection))?;
            }
            (What::Approve, approved)
        }
        Decision::Deny => {
            let sql = format!(
                "UPDATE approvals SET state = 'denied', decided_at = ?1, valid_until = NULL
                 WHERE id = ?2 AND (({IS_PENDING}) OR ({IS_APPROVED}))"
            );
            let before = one(connection, now, id)?;
            let denied = connection.execute(&sql, params![now, id])? > 0;
            if denied {
                standing::revoke(connection, now, Which::GivenWith(id), by)?;
            }
            let was_approved = before.is_some_and(|before| before.state == ApprovalState::Approved);
            let what = if was_approved { What::Revoke } else { What::Deny };
            (what, denied.then(|| id.to_owned()))
        }
    };
    let Some(id) = decided else { return Ok(None) };
    Ok(one(connection, now, &id)?.map(|decided| (what, decided)))
}

fn needs_passkey(connection: &Connection, id: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM approvals WHERE id = ?1 AND needs_passkey = 1";
    connection.prepare(sql)?.exists([id])
}

/// Ends the approvals of an agent or a passkey that no call has used, and the standing ones. Returns how
/// many.
pub(super) fn void(
    connection: &Connection,
    now: i64,
    which: Which<'_>,
    by: &Decider,
) -> rusqlite::Result<Voided> {
    let (column, value) = which.column();
    let sql = format!(
        "UPDATE approvals SET state = 'expired', valid_until = iif(state = 'approved', ?1, NULL)
         WHERE {column} = ?2 AND (({IS_PENDING}) OR ({IS_APPROVED})) RETURNING id"
    );
    let ids: Vec<String> = connection
        .prepare(&sql)?
        .query_map(params![now, value], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &ids {
        if let Some(voided) = one(connection, now, id)? {
            record(connection, now, What::Revoke, by, &voided, None)?;
        }
    }
    let standing = standing::revoke(connection, now, which, by)?.len();
    Ok(Voided { approvals: ids.len(), standing })
}

/// How many approvals became void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Voided {
    pub(crate) approvals: usize,
    pub(crate) standing: usize,
}

impl Voided {
    /// Returns what to tell the person, such as `1 approval and 2 standing approvals`; `None` if none did.
    pub(crate) fn describe(self) -> Option<String> {
        let counted = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            count => Some(format!("{count} {what}s")),
        };
        let parts =
            [counted(self.approvals, "approval"), counted(self.standing, "standing approval")];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        Some(parts.join(" and ")).filter(|told| !told.is_empty())
    }
}

fn approve(
    connection: &Connection,
    now: i64,
    id: &str,
    passkey: Option<&str>,
) -> rusqlite::Result<bool> {
    let sql = format!(
        "UPDATE approvals SET state = 'approved', decided_at = ?1, valid_until = ?3, passkey = ?4
         WHERE id = ?2 AND {IS_PENDING}"
    );
    Ok(connection.execute(&sql, params![now, id, now + VALID_MS, passkey])? > 0)
}

/// Requests approval again for a call that was denied within the last hour, for a person who changes
/// their mind or overrules another. The denial stays as it is. Returns the id of the new approval.
fn request_denied_again(
    connection: &Connection,
    now: i64,
    id: &str,
) -> rusqlite::Result<Option<String>> {
    let again =
        new_id().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let filed = connection.execute(
        concat!(
            "INSERT INTO approvals (id, digest, state, account, api, function, arguments, rule,
                 front_end, client, created_at, expires_at, asker_group, asker, agent, token,
                 key_digest, component, has_destination, needs_passkey)
             SELECT ?3, digest, 'pending', account, api, function, arguments, rule, front_end,
                 client, ?1, ?1 + ?4, asker_group, asker, agent, token, key_digest, component,
                 has_destination, needs_passkey
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

/// Gives the call of an approval that was denied to the one that was approved in its place.
pub(super) fn hand_over(
    connection: &Connection,
    sealing: &[u8; 32],
    denied: &str,
    again: &str,
) -> rusqlite::Result<()> {
    let failed = |error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    let sealed = sealed_call(connection, denied)?.filter(|_| denied != again);
    let call = sealed.and_then(|sealed| seal::open(sealing, Content::Call, denied, &sealed));
    let Some(call) = call else { return Ok(()) };
    let sealed = seal::seal(sealing, Content::Call, again, &call).map_err(failed)?;
    let add = "UPDATE approvals SET call = ?2 WHERE id = ?1 AND call IS NULL";
    connection.execute(add, params![again, sealed]).map(drop)
}

/// Returns the error for an approval that is not open.
pub(super) fn undecidable(
    found: Option<StoredApproval>,
    now: i64,
    id: &str,
    decision: Decision,
) -> Error {
    let Some(found) = found else {
        return Error::Usage {
            message: format!("there is no approval {id}; run: whereby approvals list --all"),
        };
    };
    let is_fresh = found.decided_at.is_none_or(|at| now < at.saturating_add(PENDING_MS));
    if found.needs_passkey
        && decision == Decision::Approve
        && matches!(found.state, ApprovalState::Pending | ApprovalState::Denied)
        && is_fresh
    {
        return Error::usage(
            "nothing was approved, because nothing but a passkey approves this call; use one on the page of: \
             whereby inbox --web",
        );
    }
    let at = |time: Option<i64>| time.and_then(date).unwrap_or_else(|| "an unknown time".into());
    let again = "make the call again and decide on its new approval";
    let message = match (found.state, decision) {
        (ApprovalState::Approved, _) => format!(
            "is already approved until {}; to revoke it, run: whereby approvals deny {id}",
            at(found.valid_until)
        ),
        (ApprovalState::Used, Decision::Approve) => {
            format!("was used at {} and is valid for one call only; {again}", at(found.used_at))
        }
        (ApprovalState::Used, Decision::Deny) => {
            format!("was used at {}; to see the outcome, run: whereby audit", at(found.used_at))
        }
        (ApprovalState::Denied, Decision::Approve) => {
            format!("was denied at {}; {again}", at(found.decided_at))
        }
        (ApprovalState::Denied, Decision::Deny) => {
            format!("was already denied at {}", at(found.decided_at))
        }
        (ApprovalState::Expired, _) if now < found.valid_until.unwrap_or(found.expires_at) => {
            format!(
                "is void: its request was withdrawn, its agent was removed, newer requests took its place, or \
                 this machine's clock was set back; {again}"
            )
        }
        (ApprovalState::Expired, Decision::Approve) => match found.valid_until {
            Some(_) => {
                format!("was not used and expired at {}; {again}", at(found.valid_until))
            }
            None => format!("expired at {}; {again}", at(Some(found.expires_at))),
        },
        (ApprovalState::Expired, Decision::Deny) | (ApprovalState::Pending, _) => {
            "has expired, so it needs no denial".into()
        }
    };
    Error::Usage { message: format!("the approval {id} {message}") }
}

/// Returns a query for approvals, where `?1` is the current time. The state that it reads is the one at
/// that time.
fn select(which: &str) -> String {
    format!(
        "SELECT id, account, api, function, arguments, rule, front_end, client, agent, token,
             has_destination, component, call IS NOT NULL AS has_call, needs_passkey, withdrawn_at,
             collected_at, created_at, expires_at, decided_at, valid_until, used_at,
             (SELECT count(*) FROM standing_approvals AS given WHERE approvals.state = 'denied'
                 AND given.approval = approvals.id AND given.revoked_at = approvals.decided_at) AS revoked,
             CASE WHEN ({IS_PENDING}) OR ({IS_APPROVED}) OR state IN ('used', 'denied')
                 THEN state ELSE 'expired' END AS state
         FROM approvals WHERE {which}"
    )
}

/// Returns the approval with an id.
pub(super) fn one(
    connection: &Connection,
    now: i64,
    id: &str,
) -> rusqlite::Result<Option<StoredApproval>> {
    let sql = select("id = ?2");
    connection.query_row(&sql, params![now, id], StoredApproval::from_row).optional()
}

/// Returns the ids of all approvals, standing ones included, that begin like this.
pub(super) fn beginning_with(
    connection: &Connection,
    beginning: &str,
) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT id FROM approvals WHERE substr(id, 1, length(?1)) = ?1
        UNION SELECT id FROM standing_approvals WHERE substr(id, 1, length(?1)) = ?1";
    connection.prepare(sql)?.query_map([beginning], |row| row.get(0))?.collect()
}

/// Returns the approvals in the order in which they were requested: all, or only open ones.
pub(super) fn list(
    connection: &Connection,
    now: i64,
    all: bool,
) -> rusqlite::Result<Vec<StoredApproval>> {
    let which = if all { "TRUE" } else { "state IN ('pending', 'approved')" };
    let mut statement = connection.prepare(&format!("{} ORDER BY seq", select(which)))?;
    let rows = statement.query_map([now], StoredApproval::from_row)?;
    let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    found.retain(|approval| all || approval.state != ApprovalState::Expired);
    Ok(found)
}

/// Returns the approvals that are open, or were decided, used or due since a time, in the order in which
/// they were requested.
#[cfg(feature = "inbox")]
pub(super) fn since(
    connection: &Connection,
    now: i64,
    since: i64,
) -> rusqlite::Result<Vec<StoredApproval>> {
    let which = select(
        "state IN ('pending', 'approved') OR decided_at >= ?2 OR used_at >= ?2
         OR ifnull(valid_until, expires_at) >= ?2",
    );
    let mut statement = connection.prepare(&format!("{which} ORDER BY seq"))?;
    let rows = statement.query_map([now, since], StoredApproval::from_row)?;
    let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let due = |approval: &StoredApproval| approval.valid_until.unwrap_or(approval.expires_at);
    found.retain(|found| found.state != ApprovalState::Expired || due(found) >= since);
    Ok(found)
}
