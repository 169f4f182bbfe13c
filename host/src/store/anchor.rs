//! When the hash of the newest row is taken elsewhere, so that nobody can compute all hashes anew.

use super::Store;
use super::chain::{self, Link};
use crate::error::Error;
use rusqlite::{Connection, params};

/// How long after a failure the next attempt is made at the earliest, in milliseconds.
const AFTER_FAILURE_MS: i64 = 60 * 1000;

/// How often the newest hash is taken elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rhythm {
    /// After how many rows.
    pub(crate) rows: i64,
    /// After how many milliseconds, if there are new rows.
    pub(crate) ms: i64,
}

/// A hash to take elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) link: Link,
    /// The row of the hash that was taken elsewhere before.
    before: i64,
}

/// What the newest hash needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Due {
    /// It was taken elsewhere already.
    Never,
    /// It is due in so many milliseconds, if no more rows come.
    In(i64),
    /// It is to be taken elsewhere now.
    Now(Head),
}

fn due(connection: &Connection, now: i64, rhythm: Rhythm) -> rusqlite::Result<Due> {
    let sql = "SELECT position, time, is_failed FROM anchor";
    let (before, time, is_failed): (i64, i64, bool) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let link = chain::end(connection)?;
    let rows = link.position - before;
    if rows <= 0 {
        return Ok(Due::Never);
    }
    // A clock that went back does not put it off.
    let waited = now.checked_sub(time).filter(|waited| *waited >= 0).unwrap_or(i64::MAX);
    let left = match is_failed {
        true => AFTER_FAILURE_MS.min(rhythm.ms) - waited,
        false if rows >= rhythm.rows => 0,
        false => rhythm.ms.saturating_sub(waited),
    };
    Ok(if left > 0 { Due::In(left) } else { Due::Now(Head { link, before }) })
}

impl Store {
    /// Returns whether the newest hash is to be taken elsewhere. If so, only one process is told.
    pub(crate) fn due_head(&self, rhythm: Rhythm) -> Result<Due, Error> {
        let found = self.shared.look(|connection, now| due(connection, now, rhythm))?;
        if !matches!(found, Some(Due::Now(_))) {
            return Ok(found.unwrap_or(Due::Never));
        }
        let now = self.shared.now();
        self.shared.write(|transaction| {
            let due = due(transaction, now, rhythm)?;
            if let Due::Now(head) = due {
                let sql = "UPDATE anchor SET position = ?1, time = ?2, is_failed = 0";
                transaction.execute(sql, params![head.link.position, now])?;
            }
            Ok(due)
        })
    }

    /// Records that a hash could not be taken elsewhere, so that a later one is soon.
    pub(crate) fn head_failed(&self, head: &Head) -> Result<(), Error> {
        self.shared.write(|transaction| {
            let sql = "UPDATE anchor SET position = ?1, is_failed = 1 WHERE position = ?2";
            transaction.execute(sql, params![head.before, head.link.position]).map(drop)
        })
    }
}
