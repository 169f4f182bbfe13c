//! Capability tokens in the database: the key that signs them, those that were created here, which blocks
//! are revoked, and how often they were used. Tokens themselves are not stored.

use super::approval::date;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;
use std::fmt;
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;

/// The number of characters of a block's id.
const ID_LENGTH: usize = 32;

/// The minimum length of the beginning of an id, in characters.
const SHORTEST: usize = 6;

/// How far the time of a token may be behind before a call that only reads records it, in milliseconds.
pub(super) const STALE_MS: i64 = 60 * 1000;

/// What a call uses of a token.
#[derive(Clone, Debug)]
pub(crate) struct TokenUse {
    /// The ids of its blocks, from the first.
    pub(crate) ids: Vec<String>,
    /// The blocks that limit how many calls go ahead.
    pub(crate) uses: Vec<(String, u32)>,
    /// When the first of its blocks expires, in milliseconds since 1970.
    pub(crate) valid_until: Option<i64>,
}

/// Why a token that was signed here cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    /// The database has no token that begins with its first block.
    Unknown,
    Revoked {
        id: String,
    },
    Expired {
        date: i64,
    },
    UsedUp {
        uses: u32,
    },
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("it is of another installation"),
            Self::Revoked { id } => write!(f, "it is revoked ({})", id.get(..8).unwrap_or(id)),
            Self::Expired { date: moment } => {
                write!(f, "it expired on {}", date(*moment).unwrap_or_default())
            }
            Self::UsedUp { uses: 1 } => f.write_str("it is used up: it allowed 1 call"),
            Self::UsedUp { uses } => write!(f, "it is used up: it allowed {uses} calls"),
        }
    }
}

/// A token that was created here.
#[derive(Clone, Debug)]
pub(crate) struct CreatedToken {
    pub(crate) id: String,
    /// In milliseconds since 1970.
    pub(crate) created_at: i64,
    /// The limits of its first block.
    pub(crate) limits: Value,
    pub(crate) revoked_at: Option<i64>,
    pub(crate) used: u32,
    /// The latest time at which it was seen.
    pub(crate) latest: i64,
}

impl CreatedToken {
    /// Returns how many more calls it allows, if it limits them.
    pub(crate) fn uses_left(&self) -> Option<u64> {
        let uses = self.limits["uses"].as_u64();
        uses.map(|uses| uses.saturating_sub(self.used.into()))
    }

    /// Returns `revoked`, `expired`, `used up` or `valid`.
    pub(crate) fn state(&self, now: i64) -> &'static str {
        let end = self.limits["valid_until"].as_str().and_then(Timestamp::parse);
        let is_expired = end.is_some_and(|end| end.to_unix_ms() <= now.max(self.latest));
        match (self.revoked_at, is_expired, self.uses_left()) {
            (Some(_), _, _) => "revoked",
            (None, true, _) => "expired",
            (None, false, Some(0)) => "used up",
            (None, false, _) => "valid",
        }
    }

    /// Returns the limits of its first block on one line.
    pub(crate) fn limits_in_words(&self) -> String {
        let value = |value: &Value| match value {
            Value::Array(items) if items.is_empty() => "none".to_owned(),
            Value::Array(items) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
            }
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let limits = self.limits.as_object().into_iter().flatten();
        let words = limits.map(|(name, of)| format!("{}: {}", name.replace('_', " "), value(of)));
        text::printable(&words.collect::<Vec<_>>().join("; "), 500)
    }
}

/// A block that is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revocation {
    pub(crate) id: String,
    /// Whether it was not revoked before.
    pub(crate) is_first: bool,
    pub(crate) known: Known,
}

/// What is known of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// A token was created with it here.
    Created,
    /// A call was made with it here, or it was revoked before.
    Used,
    /// Nothing. It may have been narrowed elsewhere, and never been used here.
    No,
}

/// Why nothing was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRevoked {
    /// No known id begins like this.
    Unknown,
    /// Several known ids begin like this.
    Ambiguous(usize),
}

/// Returns the secret key that signs tokens.
pub(super) fn key(connection: &Connection) -> rusqlite::Result<Option<[u8; 32]>> {
    connection.query_row("SELECT secret_key FROM token_key", [], |row| row.get(0)).optional()
}

pub(super) fn keep_key(connection: &Connection, key: &[u8; 32]) -> rusqlite::Result<()> {
    connection.execute("INSERT INTO token_key VALUES (1, ?1)", [&key[..]]).map(drop)
}

/// Records a token that was created.
pub(super) fn add(
    connection: &Connection,
    now: i64,
    id: &str,
    limits: &Value,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO tokens (id, created_at, limits, latest) VALUES (?1, ?2, ?3, ?2)";
    connection.execute(sql, params![id, now, limits.to_string()]).map(drop)
}

/// Returns why a token cannot be used at this time, if it cannot. The second value is the latest time
/// at which it was seen.
pub(super) fn check(
    connection: &Connection,
    now: i64,
    token: &TokenUse,
) -> rusqlite::Result<(Option<Spent>, i64)> {
    let first = token.ids.first().map(String::as_str).unwrap_or_default();
    let latest: Option<i64> = connection
        .prepare("SELECT latest FROM tokens WHERE id = ?1")?
        .query_row([first], |row| row.get(0))
        .optional()?;
    let Some(latest) = latest else { return Ok((Some(Spent::Unknown), now)) };
    let mut revoked = connection.prepare("SELECT 1 FROM revoked_tokens WHERE id = ?1")?;
    for id in &token.ids {
        if revoked.exists([id])? {
            return Ok((Some(Spent::Revoked { id: id.clone() }), latest));
        }
    }
    // Setting the clock back does not renew a token.
    if let Some(date) = token.valid_until.filter(|date| now.max(latest) >= *date) {
        return Ok((Some(Spent::Expired { date }), latest));
    }
    for (id, uses) in &token.uses {
        if used(connection, id)? >= *uses {
            return Ok((Some(Spent::UsedUp { uses: *uses }), latest));
        }
    }
    Ok((None, latest))
}

fn used(connection: &Connection, id: &str) -> rusqlite::Result<u32> {
    let mut statement = connection.prepare("SELECT used FROM token_uses WHERE id = ?1")?;
    Ok(statement.query_row([id], |row| row.get(0)).optional()?.unwrap_or_default())
}

/// Records that a token was seen at this time.
pub(super) fn see(connection: &Connection, now: i64, token: &TokenUse) -> rusqlite::Result<()> {
    let first = token.ids.first().map(String::as_str).unwrap_or_default();
    let sql = "UPDATE tokens SET latest = ?1 WHERE id = ?2 AND latest < ?1";
    connection.execute(sql, params![now, first]).map(drop)
}

/// Uses a token for one call. Returns why it cannot be used, if it cannot.
pub(super) fn use_up(
    connection: &Connection,
    now: i64,
    token: &TokenUse,
) -> rusqlite::Result<Option<Spent>> {
    let (spent, _) = check(connection, now, token)?;
    if spent.is_some() {
        return Ok(spent);
    }
    see(connection, now, token)?;
    for (id, _) in &token.uses {
        if connection.execute("UPDATE token_uses SET used = used + 1 WHERE id = ?1", [id])? == 0 {
            connection.execute("INSERT INTO token_uses (id, used) VALUES (?1, 1)", [id])?;
        }
    }
    Ok(None)
}

/// Revokes a block, by its id or the beginning of a known one.
pub(super) fn revoke(
    connection: &Connection,
    now: i64,
    id: &str,
) -> rusqlite::Result<Result<Revocation, NotRevoked>> {
    let known = "SELECT id FROM tokens UNION SELECT id FROM token_uses
                 UNION SELECT id FROM revoked_tokens
                 UNION SELECT value FROM calls, json_each(calls.token)";
    let found: Vec<String> = connection
        .prepare(&format!("SELECT id FROM ({known}) WHERE substr(id, 1, length(?1)) = ?1"))?
        .query_map([id], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let (id, known) = match found.as_slice() {
        [] if id.len() == ID_LENGTH => (id, Known::No),
        [] => return Ok(Err(NotRevoked::Unknown)),
        [id] => {
            let mut created = connection.prepare("SELECT 1 FROM tokens WHERE id = ?1")?;
            (id.as_str(), if created.exists([id])? { Known::Created } else { Known::Used })
        }
        several => return Ok(Err(NotRevoked::Ambiguous(several.len()))),
    };
    let sql = "INSERT INTO revoked_tokens (id, time) SELECT ?1, ?2
               WHERE NOT EXISTS (SELECT 1 FROM revoked_tokens WHERE id = ?1)";
    let is_first = connection.execute(sql, params![id, now])? > 0;
    Ok(Ok(Revocation { id: id.to_owned(), is_first, known }))
}

/// Whether a text can be an id or the beginning of one.
pub(crate) fn is_id(text: &str) -> bool {
    let is_hexadecimal = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hexadecimal && (SHORTEST..=ID_LENGTH).contains(&text.len())
}

/// Returns the tokens that were created here, the oldest first.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<CreatedToken>> {
    let mut statement = connection.prepare(
        "SELECT t.id, t.created_at, t.limits, r.time, ifnull(u.used, 0), t.latest
         FROM tokens AS t LEFT JOIN revoked_tokens AS r ON r.id = t.id
         LEFT JOIN token_uses AS u ON u.id = t.id ORDER BY t.seq",
    )?;
    let rows = statement.query_map([], |row| {
        let limits: String = row.get(2)?;
        Ok(CreatedToken {
            id: row.get(0)?,
            created_at: row.get(1)?,
            limits: serde_json::from_str(&limits).unwrap_or_default(),
            revoked_at: row.get(3)?,
            used: row.get(4)?,
            latest: row.get(5)?,
        })
    })?;
    rows.collect()
}
