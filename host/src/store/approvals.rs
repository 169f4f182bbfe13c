//! Requests, grants and uses approvals in the database.
//!
//! An approval is for one call with exactly its arguments, can be used once, and expires soon. Its state
//! goes from pending to approved to used; pending and approved ones can be denied. Approving a call that
//! was denied creates a new approval. Each step is one statement that checks the state and the time as
//! it changes the state.

use super::approval::{ApprovalState, Asker, Asking, Claim, Filed, StoredApproval, date, new_id};
use super::digest::Digest;
use crate::error::Error;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// How long a call is pending, and how long a denial holds, in milliseconds.
const PENDING_MS: i64 = 60 * 60 * 1000;

/// How long an approval can be used, in milliseconds.
const VALID_MS: i64 = 15 * 60 * 1000;

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

/// The condition that a person can still decide on an approval.
const IS_PENDING: &str =
    concat!("state = 'pending' AND ", is_past!("created_at"), " AND ?1 < expires_at");

/// The condition that an approval can still be used.
const IS_APPROVED: &str = concat!(
    "state = 'approved' AND ",
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
) -> rusqlite::Result<bool> {
    connection
        .prepare(&format!("SELECT 1 FROM approvals WHERE digest = ?2 AND {IS_APPROVED}"))?
        .exists(params![now, digest.0])
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
/// old ones.
pub(super) fn expire(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    let sql = format!(
        "UPDATE approvals SET state = 'expired' WHERE state IN ('pending', 'approved')
         AND NOT ({IS_PENDING}) AND NOT ({IS_APPROVED})"
    );
    connection.execute(&sql, [now])?;
    // The audit log keeps what came of them.
    let sql =
        "DELETE FROM approvals WHERE created_at < ?1 AND state NOT IN ('pending', 'approved')";
    connection.execute(sql, [now - KEPT_MS]).map(drop)
}

/// Requests approval of a call. The inner error is the limit that this would exceed.
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
    let id = new_id().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let expires_at = now + PENDING_MS;
    connection.execute(
        "INSERT INTO approvals (id, digest, state, account, api, function, arguments, rule,
             front_end, client, created_at, expires_at, asker_group, asker, agent, token)
         VALUES (?1, ?2, 'pending', ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
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
            asking.token.map(|ids| serde_json::json!(ids).to_string()),
        ],
    )?;
    Ok(Ok(Filed::Pending { id, expires_at }))
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

/// Uses up an approval. Returns its id; `None` if there is none, for example because another call was
/// first.
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

/// Returns an approval that a call used without changing anything. It stays valid for as long as before.
/// If it has expired, or approval was requested again, it stays used.
pub(super) fn give_back(connection: &Connection, id: &str, call: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE OR IGNORE approvals SET state = 'approved', used_at = NULL
        WHERE id = ?1 AND state = 'used'
        AND EXISTS (SELECT 1 FROM calls WHERE calls.id = ?2 AND calls.approval = approvals.id)";
    connection.execute(sql, [id, call]).map(drop)
}

/// Denies a pending approval, if it is for this call. Returns whether it did.
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

/// The decision of a person.
#[derive(Clone, Copy)]
pub(super) enum Decision {
    Approve,
    Deny,
}

/// Applies a decision. Returns the approval; `None` if it is not open.
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
            let Some(again) = request_denied_again(connection, now, id)? else { return Ok(None) };
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
                 front_end, client, created_at, expires_at, asker_group, asker, agent, token)
             SELECT ?3, digest, 'pending', account, api, function, arguments, rule, front_end,
                 client, ?1, ?1 + ?4, asker_group, asker, agent, token
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
            format!("is void because this machine's clock was set back; {again}")
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
             created_at, expires_at, decided_at, valid_until, used_at,
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
