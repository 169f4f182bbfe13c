//! What conditions are decided from: the writes that went ahead, and the rooms that Whereby created.

use super::audit::{Begin, Created};
use rusqlite::{Connection, params};
use whereby_authority::conditions::{CreatedRoom, Written};
use whereby_authority::names::Id;

/// How long a write is kept for quotas, in milliseconds: long enough that a clock that was ahead for a
/// while loses none.
const KEPT_MS: i64 = 31 * 24 * HOUR_MS;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// Whose calls of which function count together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted<'a> {
    pub(crate) account: &'a str,
    pub(crate) agent: Option<&'a str>,
    pub(crate) function: &'a str,
}

/// Counts the writes that went ahead. What seems to lie in the future counts too, because the clock may
/// have been set back.
pub(super) fn written(
    connection: &Connection,
    now: i64,
    counted: Counted<'_>,
) -> rusqlite::Result<Written> {
    let Counted { account, agent, function } = counted;
    connection.query_row(
        "SELECT count(*) FILTER (WHERE time > ?1 - ?2), count(*) FROM writes
         WHERE account = ?3 AND function = ?4 AND agent IS ?5 AND time > ?1 - 24 * ?2",
        params![now, HOUR_MS, account, function, agent],
        |row| Ok(Written { last_hour: row.get(0)?, last_day: row.get(1)? }),
    )
}

/// Records a write that goes ahead.
pub(super) fn add(connection: &Connection, now: i64, begin: &Begin) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM writes WHERE time < ?1", [now - KEPT_MS])?;
    let added =
        "INSERT INTO writes (call_id, time, account, agent, function) VALUES (?1, ?2, ?3, ?4, ?5)";
    let account = begin.account.as_deref().unwrap_or_default();
    let function = begin.function.as_deref().unwrap_or_default();
    connection.execute(added, params![begin.id, now, account, begin.agent, function]).map(drop)
}

/// Takes out a write that did not happen.
pub(super) fn take_out(connection: &Connection, call: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM writes WHERE call_id = ?1", [call]).map(drop)
}

/// Records a room that Whereby created.
pub(super) fn add_room(
    connection: &Connection,
    time: i64,
    created: &Created,
) -> rusqlite::Result<()> {
    let Created { account, api, key_digest, agent, name, id } = created;
    connection
        .execute(
            "INSERT INTO created_rooms (time, account, api, key_digest, agent, name, id)
             VALUES (?1, ?2, ?3, unhex(?4), ?5, ?6, ?7)",
            params![time, account, api, key_digest, agent, name, id],
        )
        .map(drop)
}

/// Returns the rooms with a name that Whereby created for an account and its key.
pub(super) fn rooms(
    connection: &Connection,
    account: &str,
    api: &str,
    key_digest: &[u8; 32],
    name: &str,
) -> rusqlite::Result<Vec<CreatedRoom>> {
    let mut statement = connection.prepare(
        "SELECT id, agent FROM created_rooms WHERE name = ?1 COLLATE NOCASE
         AND account = ?2 AND api = ?3 AND key_digest = ?4",
    )?;
    let room = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?));
    let rows = statement.query_map(params![name, account, api, key_digest], room)?;
    let mut rooms = Vec::new();
    for row in rows {
        let (id, agent) = row?;
        rooms.extend(Id::parse(&id).map(|id| CreatedRoom { id, agent }));
    }
    Ok(rooms)
}
