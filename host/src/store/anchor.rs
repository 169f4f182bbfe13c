//! Decides when to publish the hash of the newest row, so that a recomputed or truncated chain can be detected.

use super::Store;
use super::chain::{self, Link};
use crate::error::Error;
use rusqlite::{Connection, params};

/// How long an attempt may take, in milliseconds. Afterwards, another one is made.
const LEASE_MS: i64 = 60 * 1000;

/// How often the newest hash is published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval {
    /// After how many rows.
    pub(crate) rows: i64,
    /// After how many milliseconds, if there are new rows.
    pub(crate) ms: i64,
}

/// The newest row, whose hash is to be published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Head(pub(crate) Link);

/// When to publish the newest hash.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Due {
    /// Once there are new rows.
    NotYet,
    /// In so many milliseconds, or after more rows.
    In(i64),
    Now(Head),
}

fn due(connection: &Connection, now: i64, interval: Interval) -> rusqlite::Result<Due> {
    let sql = "SELECT position, time, is_pending FROM anchor";
    let (published, time, is_pending): (i64, i64, bool) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let end = chain::end(connection)?;
    let rows = end.position - published;
    if rows <= 0 {
        return Ok(Due::NotYet);
    }
    // A clock that went back does not put it off.
    let waited = now.checked_sub(time).filter(|waited| *waited >= 0).unwrap_or(i64::MAX);
    let left = match is_pending {
        true => LEASE_MS.saturating_sub(waited),
        false if rows >= interval.rows => 0,
        false => interval.ms.saturating_sub(waited),
    };
    Ok(if left > 0 { Due::In(left) } else { Due::Now(Head(end)) })
}

impl Store {
    /// Returns when to publish the newest hash. If that is now, other processes leave it to this one for a
    /// minute.
    pub(crate) fn due_head(&self, interval: Interval) -> Result<Due, Error> {
        let found = self.shared.look(|connection, now| due(connection, now, interval))?;
        if !matches!(found, Some(Due::Now(_))) {
            return Ok(found.unwrap_or(Due::NotYet));
        }
        let now = self.shared.now();
        self.shared.write(|transaction| {
            let due = due(transaction, now, interval)?;
            if matches!(due, Due::Now(_)) {
                transaction.execute("UPDATE anchor SET time = ?1, is_pending = 1", [now])?;
            }
            Ok(due)
        })
    }

    /// Records that a hash was published.
    pub(crate) fn head_published(&self, head: &Head) -> Result<(), Error> {
        let Link { position, .. } = head.0;
        let sql = "UPDATE anchor SET position = ?1, is_pending = 0 WHERE position < ?1";
        self.shared.write(|transaction| transaction.execute(sql, params![position]).map(drop))
    }
}
