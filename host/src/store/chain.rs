//! The hash chain of the audit log.
//!
//! The rows of the log are in three tables that share their positions, which have no gaps. Each row has
//! a hash: the SHA-256 digest of the hash of the row before it and of everything else in the row. So no
//! row can be changed, removed or moved without changing the hash of every row after it, and one
//! hash is enough to check all rows up to it.
//!
//! A digest covers the name of the table, and the name, the type and the value of every column that is
//! not null, in the order of their names. A column that is added later changes no older hash.

use rusqlite::types::{ToSqlOutput, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, Statement, ToSql};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The digest of a row and of all rows before it.
pub(crate) type Hash = [u8; 32];

/// The hash before the first row.
pub(super) const NO_ROW: Hash = [0; 32];

/// The column with the hash, which it does not cover.
const HASH: &str = "hash";

/// A table of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Calls,
    Outcomes,
    Archives,
}

impl Table {
    pub(super) const ALL: [Self; 3] = [Self::Calls, Self::Outcomes, Self::Archives];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Outcomes => "outcomes",
            Self::Archives => "archives",
        }
    }
}

/// A position in the log, and the hash of the row there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) position: i64,
    pub(crate) hash: Hash,
}

/// Returns the last row of the log, or where the log starts if it has none.
pub(super) fn end(connection: &Connection) -> rusqlite::Result<Link> {
    let of = |table: Table| {
        let name = table.name();
        format!("SELECT * FROM (SELECT seq, hash FROM {name} ORDER BY seq DESC LIMIT 1)")
    };
    let sql = format!(
        "{} UNION ALL {} UNION ALL {} UNION ALL SELECT through, head FROM log_start
         ORDER BY seq DESC LIMIT 1",
        of(Table::Calls),
        of(Table::Outcomes),
        of(Table::Archives)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row([], |row| Ok(Link { position: row.get(0)?, hash: row.get(1)? }))
}

/// Adds rows at the end of the log, within a transaction.
pub(super) struct Chain<'a> {
    connection: &'a Connection,
    /// The last row, once it was looked up.
    end: Option<Link>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection, end: None }
    }

    /// Adds a row. Returns `false` if the log has it already.
    pub(super) fn add(
        &mut self,
        table: Table,
        columns: &[(&'static str, &dyn ToSql)],
    ) -> rusqlite::Result<bool> {
        let end = match self.end {
            Some(end) => end,
            None => end(self.connection)?,
        };
        let position = end.position.saturating_add(1);
        let mut values = Vec::with_capacity(columns.len() + 1);
        values.push(("seq", ToSqlOutput::from(position)));
        for (name, value) in columns {
            values.push((*name, value.to_sql()?));
        }
        let of_row = values.iter().map(|(name, value)| Ok((*name, borrowed(value)?)));
        let hash = hash(&end.hash, table, of_row.collect::<rusqlite::Result<_>>()?);
        let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
        let sql = format!(
            "INSERT INTO {} ({}, {HASH}) VALUES (?{})",
            table.name(),
            names.join(", "),
            ", ?".repeat(names.len())
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        for (index, (_, value)) in values.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, value)?;
        }
        statement.raw_bind_parameter(values.len() + 1, hash)?;
        let is_added = statement.raw_execute()? > 0;
        self.end = Some(if is_added { Link { position, hash } } else { end });
        Ok(is_added)
    }
}

fn borrowed<'a>(value: &'a ToSqlOutput<'_>) -> rusqlite::Result<ValueRef<'a>> {
    match value {
        ToSqlOutput::Borrowed(value) => Ok(*value),
        ToSqlOutput::Owned(value) => Ok(value.into()),
        _ => Err(rusqlite::Error::InvalidQuery),
    }
}

/// Returns the hash of a row that follows one with the hash `previous`.
fn hash(previous: &Hash, table: Table, mut columns: Vec<(&str, ValueRef<'_>)>) -> Hash {
    fn add(digest: &mut Sha256, kind: u8, bytes: &[u8]) {
        digest.update([kind]);
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
    columns.retain(|(name, value)| *name != HASH && *value != ValueRef::Null);
    columns.sort_unstable_by_key(|(name, _)| *name);
    let mut digest = Sha256::new_with_prefix(previous);
    add(&mut digest, b'T', table.name().as_bytes());
    for (name, value) in columns {
        add(&mut digest, b'n', name.as_bytes());
        match value {
            ValueRef::Null => {}
            ValueRef::Integer(number) => add(&mut digest, b'i', &number.to_be_bytes()),
            ValueRef::Real(number) => add(&mut digest, b'r', &number.to_bits().to_be_bytes()),
            ValueRef::Text(text) => add(&mut digest, b't', text),
            ValueRef::Blob(bytes) => add(&mut digest, b'b', bytes),
        }
    }
    digest.finalize().into()
}

/// A row of the log, as it is stored.
pub(super) struct Stored<'a> {
    pub(super) table: Table,
    pub(super) position: i64,
    names: &'a [String],
    row: &'a Row<'a>,
}

impl Stored<'_> {
    /// Returns the hash that is stored with it; `None` if that is not a hash.
    pub(super) fn hash(&self) -> Option<Hash> {
        self.row.get(HASH).ok()
    }

    /// Returns the hash that it must have if it follows a row with the hash `previous`.
    pub(super) fn hash_after(&self, previous: &Hash) -> rusqlite::Result<Hash> {
        let columns = self.names.iter().enumerate();
        let columns = columns.map(|(index, name)| Ok((name.as_str(), self.row.get_ref(index)?)));
        Ok(hash(previous, self.table, columns.collect::<rusqlite::Result<_>>()?))
    }

    /// Returns a digest of the row and its hash, without the rows before it.
    pub(super) fn digest(&self) -> rusqlite::Result<Hash> {
        self.hash_after(&self.hash().unwrap_or(NO_ROW))
    }

    pub(super) fn get<T: rusqlite::types::FromSql>(&self, column: &str) -> rusqlite::Result<T> {
        self.row.get(column)
    }

    /// Returns what a row about an archive says.
    pub(super) fn start(&self) -> rusqlite::Result<Start> {
        Start::from_row(self.row)
    }

    /// Copies the row to a database with the same tables.
    fn copy(&self, insert: &mut Statement<'_>) -> rusqlite::Result<()> {
        for column in 0..self.names.len() {
            let value = ToSqlOutput::Borrowed(self.row.get_ref(column)?);
            insert.raw_bind_parameter(column + 1, value)?;
        }
        insert.raw_execute().map(drop)
    }
}

/// Passes each row up to a position to a function, in order.
pub(super) fn walk(
    connection: &Connection,
    through: i64,
    mut each: impl FnMut(&Stored<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let of = |table: Table| {
        let (name, number) = (table.name(), table as u8);
        format!("SELECT seq, {number} FROM {name} WHERE seq <= ?1")
    };
    let sql = Table::ALL.map(of).join(" UNION ALL ") + " ORDER BY seq";
    let mut positions = connection.prepare(&sql)?;
    let mut positions = positions.query([through])?;
    let mut readers = Vec::new();
    for table in Table::ALL {
        let sql = format!("SELECT * FROM {} WHERE seq = ?1", table.name());
        let statement = connection.prepare(&sql)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        readers.push((table, names, statement));
    }
    while let Some(found) = positions.next()? {
        let (position, number): (i64, u8) = (found.get(0)?, found.get(1)?);
        let Some((table, names, statement)) = readers.get_mut(usize::from(number)) else {
            continue;
        };
        let mut rows = statement.query([position])?;
        if let Some(row) = rows.next()? {
            each(&Stored { table: *table, position, names, row })?;
        }
    }
    Ok(())
}

/// Returns the position that is so many rows after another one, or that of the last row; `None` if no row comes
/// after it.
pub(super) fn advanced(
    connection: &Connection,
    after: i64,
    rows: u32,
) -> rusqlite::Result<Option<i64>> {
    let of = |table: Table| {
        let name = table.name();
        format!("SELECT * FROM (SELECT seq FROM {name} WHERE seq > ?1 ORDER BY seq LIMIT ?2)")
    };
    let all = Table::ALL.map(of).join(" UNION ALL ");
    let sql = format!("SELECT max(seq) FROM (SELECT seq FROM ({all}) ORDER BY seq LIMIT ?2)");
    connection.query_row(&sql, rusqlite::params![after, rows], |row| row.get(0))
}

/// Returns the hash of the row at a position.
pub(super) fn hash_at(connection: &Connection, position: i64) -> rusqlite::Result<Option<Hash>> {
    let of = |table: Table| format!("SELECT hash FROM {} WHERE seq = ?1", table.name());
    let sql = Table::ALL.map(of).join(" UNION ALL ");
    connection.query_row(&sql, [position], |row| row.get(0)).optional()
}

/// Returns the digests of the rows at these positions.
pub(super) fn digests(
    connection: &Connection,
    positions: &BTreeSet<i64>,
) -> rusqlite::Result<BTreeMap<i64, Hash>> {
    let mut digests = BTreeMap::new();
    let Some(last) = positions.last() else { return Ok(digests) };
    walk(connection, *last, |stored| {
        if positions.contains(&stored.position) {
            digests.insert(stored.position, stored.digest()?);
        }
        Ok(())
    })?;
    Ok(digests)
}

/// Copies the rows up to a position to a database with the same tables.
pub(super) fn copy(from: &Connection, to: &Connection, through: i64) -> rusqlite::Result<()> {
    let mut inserts: BTreeMap<&str, Statement<'_>> = BTreeMap::new();
    walk(from, through, |stored| {
        let name = stored.table.name();
        let insert = match inserts.remove(name) {
            Some(insert) => insert,
            None => {
                let columns = stored.names.join(", ");
                let places = vec!["?"; stored.names.len()].join(", ");
                to.prepare(&format!("INSERT INTO {name} ({columns}) VALUES ({places})"))?
            }
        };
        stored.copy(inserts.entry(name).or_insert(insert))
    })
}

/// Where the rows of a database start: after the rows that were archived before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Start {
    /// The last row that was archived.
    pub(crate) after: Link,
    /// The digests of archived rows that are kept all the same, by their positions: those of calls that may have
    /// been in progress, and about archives.
    pub(crate) carried: BTreeMap<i64, Hash>,
}

impl Start {
    /// Returns the start of a log that was never archived.
    pub(super) fn first() -> Self {
        Self { after: Link { position: 0, hash: NO_ROW }, carried: BTreeMap::new() }
    }

    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT through, head, carried FROM log_start";
        connection.query_row(sql, [], Self::from_row)
    }

    /// Returns the start that the last row about an archive describes.
    pub(super) fn recorded(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT through, head, carried FROM archives WHERE through IS NOT NULL
            ORDER BY seq DESC LIMIT 1";
        let found = connection.query_row(sql, [], Self::from_row).optional()?;
        Ok(found.unwrap_or_else(Self::first))
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let carried: String = row.get("carried")?;
        let carried: BTreeMap<i64, String> = serde_json::from_str(&carried).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into())
        })?;
        let carried = carried.into_iter().map(|(position, digest)| {
            // What is no digest is that of no row.
            (position, crate::system::digest::from_hex(&digest).unwrap_or(NO_ROW))
        });
        let after = Link { position: row.get("through")?, hash: row.get("head")? };
        Ok(Self { after, carried: carried.collect() })
    }

    /// Returns the digests as they are stored.
    pub(super) fn carried_json(&self) -> String {
        let carried = self.carried.iter();
        let carried: BTreeMap<&i64, String> = carried
            .map(|(position, digest)| (position, crate::system::digest::hex(digest)))
            .collect();
        serde_json::json!(carried).to_string()
    }

    /// Stores where the rows start.
    pub(super) fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE log_start SET through = ?1, head = ?2, carried = ?3 WHERE through < ?1";
        let Link { position, hash } = self.after;
        connection.execute(sql, rusqlite::params![position, hash, self.carried_json()]).map(drop)
    }
}

/// Gives hashes to the rows of a database of before there were any.
pub(super) fn join_old_rows(connection: &Connection) -> rusqlite::Result<()> {
    let mut start = Start::first();
    let (mut end, mut hashes) = (start.after, Vec::new());
    walk(connection, i64::MAX, |stored| {
        let before = stored.position - 1;
        // What comes before the last gap was archived, except calls that were under way.
        if before != end.position {
            end.hash = NO_ROW;
            start.after.position = before;
        }
        end = Link { position: stored.position, hash: stored.hash_after(&end.hash)? };
        hashes.push((stored.table, end));
        Ok(())
    })?;
    for (table, Link { position, hash }) in &hashes {
        let sql = format!("UPDATE {} SET hash = ?1 WHERE seq = ?2", table.name());
        connection.prepare_cached(&sql)?.execute(rusqlite::params![hash, position])?;
    }
    if start.after.position == 0 {
        return Ok(());
    }
    let kept = hashes.iter().map(|(_, link)| link.position);
    start.carried = digests(connection, &kept.filter(|at| *at <= start.after.position).collect())?;
    start.store(connection)?;
    // Says so in the log, like every later archive.
    record_start(connection, &start, 0, 0, None)
}

/// Adds a row that says where the rows of the log start from now on.
pub(super) fn record_start(
    connection: &Connection,
    start: &Start,
    now: i64,
    calls: i64,
    file: Option<&str>,
) -> rusqlite::Result<()> {
    let Link { position, hash } = start.after;
    let added = Chain::new(connection).add(
        Table::Archives,
        &[
            ("time", &now),
            ("calls", &calls),
            ("through", &position),
            ("head", &hash),
            ("carried", &start.carried_json()),
            ("file", &file),
        ],
    );
    added.map(drop)
}
