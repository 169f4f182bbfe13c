//! Verifies the audit log and its archives: that no row was changed, removed, added or moved, and that
//! passkeys signed what the log says they did.

use super::chain::{self, Hash, Link, NO_ROW, Start, Stored, Table};
use super::decision::AuditDecision;
use super::{passkeys, schema};
use crate::passkey::Credential;
use crate::passkey::decision::verify_record;
use rusqlite::Connection;
use serde_json::Value;

/// The maximum number of problems that are kept. All are counted.
const MOST_PROBLEMS: usize = 100;

/// What is verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The log, which says itself where it starts.
    Log,
    /// A file of an archive. Where it starts, only the archive before it can tell.
    Archive,
}

/// The result of verifying the log or an archive.
#[derive(Debug)]
pub(crate) struct Verified {
    /// How many rows follow the start.
    pub(crate) rows: u64,
    /// Where the rows start.
    pub(crate) start: Start,
    /// The last row.
    pub(crate) end: Link,
    /// How many signatures of passkeys were verified.
    pub(crate) signatures: u64,
    /// What rows about archives say: where the rows start after each. Rows that were changed don't count.
    pub(crate) archived: Vec<Start>,
    /// The position of the row with the expected hash, if there is one.
    pub(crate) expected: Option<i64>,
    /// The first problems, in order.
    pub(crate) problems: Vec<Problem>,
    /// How many problems there are.
    pub(crate) count: u64,
}

/// What is wrong with a row.
#[derive(Debug, PartialEq)]
pub(crate) struct Problem {
    /// The position of the row; absent if it concerns the whole log.
    pub(crate) position: Option<i64>,
    /// The id of the call that the row is about.
    pub(crate) id: Option<String>,
    pub(crate) what: String,
}

impl Verified {
    pub(crate) fn add(&mut self, position: Option<i64>, id: Option<String>, what: String) {
        self.count += 1;
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem { position, id, what });
        }
    }
}

/// Verifies all rows of a database, and looks for a hash among theirs.
pub(super) fn verify(
    connection: &Connection,
    kind: Kind,
    expected: Option<&Hash>,
) -> Result<Verified, schema::Problem> {
    let start = Start::of(connection)?;
    let verified = Verified {
        rows: 0,
        start: start.clone(),
        end: start.after,
        signatures: 0,
        archived: Vec::new(),
        expected: None,
        problems: Vec::new(),
        count: 0,
    };
    let passkeys = passkeys::all(connection)?;
    let mut check = Check { verified, start, previous: Vec::new(), expected, passkeys: &passkeys };
    check.previous.push(check.start.after.hash);
    // Otherwise, other queries might show other rows than these.
    for (kind, name) in schema::differences(connection)? {
        let what = format!("the {kind} `{name}` of the database was changed, removed or added");
        check.verified.add(None, None, what);
    }
    let mut integrity = connection.prepare("PRAGMA integrity_check(10)")?;
    let found = integrity.query_map([], |row| row.get::<_, String>(0))?;
    for found in found {
        let found = found?;
        if found != "ok" {
            check.verified.add(None, None, format!("the database is damaged: {found}"));
        }
    }
    if kind == Kind::Log && Start::recorded(connection)? != check.start {
        let what = match check.start.after.position {
            0 => "rows were archived, but the log starts at the first one again".into(),
            position => {
                format!("the log starts after row {position}, but no row about an archive says so")
            }
        };
        check.verified.add(None, None, what);
    }
    if kind == Kind::Log {
        let sql = "SELECT position FROM anchor";
        let anchored: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        let end = chain::end(connection)?.position;
        if anchored > end {
            let what = format!(
                "the log ends with row {end}, but the hash of row {anchored} was published: the rows after \
                 {end} are missing"
            );
            check.verified.add(None, None, what);
        }
    }
    chain::walk(connection, i64::MAX, |stored| check.row(stored))?;
    if check.verified.rows == 0 && check.start.after.position > 0 {
        check.verified.add(None, None, "there are no rows of its own".into());
    }
    for position in std::mem::take(&mut check.start.carried).into_keys() {
        let what =
            format!("row {position} is missing; it was kept when the rows around it were archived");
        check.verified.add(Some(position), None, what);
    }
    Ok(check.verified)
}

struct Check<'a> {
    verified: Verified,
    start: Start,
    /// The hashes that the next row may follow: the one that the last row has, and the one that it should
    /// have. Either shows that this next row is as it was.
    previous: Vec<Hash>,
    expected: Option<&'a Hash>,
    passkeys: &'a [Credential],
}

impl Check<'_> {
    fn row(&mut self, stored: &Stored<'_>) -> rusqlite::Result<()> {
        let position = stored.position;
        let id: Option<String> = match stored.table {
            Table::Calls => stored.get("id").ok(),
            Table::Outcomes => stored.get("call_id").ok(),
            Table::Archives => None,
        };
        let mut is_intact = true;
        if position <= self.verified.start.after.position {
            if let Some(what) = self.archived(stored)? {
                is_intact = false;
                self.verified.add(Some(position), id.clone(), what);
            }
        } else {
            let last = self.verified.end.position;
            let missing = last.saturating_add(1)..position;
            if !missing.is_empty() {
                let what = match missing.end.saturating_sub(missing.start) {
                    1 => format!("row {} is missing", missing.start),
                    _ => format!("rows {} to {} are missing", missing.start, position - 1),
                };
                self.verified.add(Some(missing.start), None, what);
            }
            if let Some(what) = self.follower(stored, missing.is_empty())? {
                is_intact = false;
                self.verified.add(Some(position), id.clone(), what);
            }
        }
        if is_intact && stored.table == Table::Archives && stored.get::<i64>("through").is_ok() {
            self.verified.archived.push(stored.start()?);
        }
        let decision: Option<String> = match stored.table {
            Table::Calls => stored.get("decision").ok().flatten(),
            _ => None,
        };
        if is_intact && let Some(decision) = decision {
            match signature(&decision, self.passkeys) {
                Ok(is_signed) => self.verified.signatures += u64::from(is_signed),
                Err(what) => {
                    self.verified.add(Some(position), id, format!("row {position}: {what}"))
                }
            }
        }
        Ok(())
    }

    /// Verifies a row that was archived, and is still there because its call was under way.
    fn archived(&mut self, stored: &Stored<'_>) -> rusqlite::Result<Option<String>> {
        let position = stored.position;
        Ok(match self.start.carried.remove(&position) {
            None => Some(format!("row {position} was added; it is from before the log starts")),
            Some(digest) if digest != stored.digest()? => {
                Some(format!("row {position} was changed"))
            }
            Some(_) => None,
        })
    }

    /// Verifies a row of the chain. After a gap, nothing tells whether it is as it was.
    fn follower(&mut self, stored: &Stored<'_>, is_next: bool) -> rusqlite::Result<Option<String>> {
        let (position, last) = (stored.position, self.verified.end.position);
        let hash = stored.hash();
        let mut computed = Vec::new();
        for previous in &self.previous {
            computed.push(stored.hash_after(previous)?);
        }
        let is_intact = hash.is_some_and(|hash| computed.contains(&hash));
        self.previous = hash.into_iter().chain(computed.first().copied()).collect();
        self.verified.rows += 1;
        self.verified.end = Link { position, hash: hash.unwrap_or(NO_ROW) };
        self.expect(self.verified.end);
        Ok(match is_intact || !is_next {
            _ if position == last => Some(format!("row {position} appears twice")),
            true => None,
            false if last == self.verified.start.after.position => {
                Some(format!("row {position} was changed, or rows before it were"))
            }
            false => Some(format!("row {position} was changed, or row {last} and its hash were")),
        })
    }

    fn expect(&mut self, link: Link) {
        if self.expected == Some(&link.hash) {
            self.verified.expected = Some(link.position);
        }
    }
}

/// Verifies the signature of a decision. Returns whether it has one.
fn signature(decision: &str, passkeys: &[Credential]) -> Result<bool, String> {
    let decision: AuditDecision =
        serde_json::from_str(decision).map_err(|error| format!("not a valid decision: {error}"))?;
    let passkey = |id: &str| {
        let mut known = passkeys.iter();
        known
            .find(|known| String::from(known.id.clone()) == id)
            .ok_or_else(|| format!("there is no passkey `{id}`"))
    };
    if let Some(added) = decision.details["passkey added"].as_str() {
        let key = &decision.details["public_key"];
        let is_same =
            serde_json::to_value(&passkey(added)?.public_key).is_ok_and(|known| known == *key);
        // What an older version added has no key in its row.
        return match (key, is_same) {
            (Value::Null, _) | (_, true) => Ok(false),
            _ => Err(format!("the passkey `{added}` was registered with a different key")),
        };
    }
    let Some(id) = &decision.passkey else { return Ok(false) };
    let (record, signed) = passkeys::recorded(&decision.details)
        .ok_or_else(|| "it names a passkey but has no signature".to_owned())?;
    verify_record(&record, passkey(id)?, &signed)
        .map(|()| true)
        .map_err(|fault| format!("the signature of its passkey is wrong: {fault}"))
}
