//! The hash chain of the log, and what finds that it was broken.

use super::*;
use crate::store::chain::{Hash, NO_ROW, join_old_rows};
use proptest::prelude::*;
use rusqlite::types::Value as SqlValue;

/// The tables and columns of the log.
const COLUMNS: &[(&str, &[&str])] = &[
    (
        "calls",
        &[
            "seq",
            "id",
            "time",
            "front_end",
            "client",
            "account",
            "api",
            "function",
            "arguments",
            "effect",
            "permission",
            "rule",
            "approved_by",
            "approval",
            "agent",
            "token",
            "trace",
            "decision",
            "hash",
        ],
    ),
    (
        "outcomes",
        &[
            "seq",
            "call_id",
            "time",
            "success",
            "kind",
            "message",
            "effect",
            "requests",
            "duration_ms",
            "room_name",
            "room_id",
            "hash",
        ],
    ),
    ("archives", &["seq", "time", "calls", "through", "head", "carried", "file", "hash"]),
];

/// Returns a log with calls of every sort, a decision and an archive.
fn full() -> (Home, PathBuf) {
    let home = Home::new();
    let store = home.store();
    let file = home.directory.path().join("archive.db");
    let call = |id: &str, effect: &str| {
        let begin = Begin {
            agent: Some("bot".into()),
            token: Some(vec!["0".repeat(32)]),
            trace: Some(format!("00-{}-{}-01", "1".repeat(32), "2".repeat(16))),
            time: store.shared.now(),
            ..row(id, effect)
        };
        begun(&store, &begin, None, &[], None).expect("begun");
        store.record(None, Some(&outcome(id, "done")), true).expect("recorded");
    };
    for id in ["a", "b", "c"] {
        call(id, "write");
    }
    let now = Begin { time: store.shared.now(), ..row("under way", "write") };
    begun(&store, &now, None, &[], None).expect("begun");
    store.archive(&file).expect("archived");
    for id in ["d", "e", "f"] {
        call(id, "read");
    }
    let id = pending(&store, &digest(&store, "daily"));
    store.approve(&id).expect("approved");
    let failed = End { give_back: None, ..outcome("under way", "unknown") };
    store.record(None, Some(&failed), true).expect("recorded");
    store.flush().expect("moved");
    drop(store);
    (home, file)
}

/// Opens a database without what protects its rows.
fn unprotected(file: &Path) -> Connection {
    let raw = Connection::open(file).expect("a database");
    raw.execute_batch("PRAGMA ignore_check_constraints = ON").expect("set");
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'trigger'";
    let names: Vec<String> = {
        let mut statement = raw.prepare(sql).expect("SQL");
        let names = statement.query_map([], |row| row.get(0)).expect("triggers");
        names.collect::<rusqlite::Result<_>>().expect("names")
    };
    for name in names {
        raw.execute_batch(&format!("DROP TRIGGER {name}")).expect("dropped");
    }
    raw
}

fn verified(log: &AuditLog, expected: Option<&Hash>) -> Verified {
    let mut verified = log.verify(expected).expect("readable").expect("a log");
    assert_eq!(verified.count, verified.problems.len() as u64);
    // Tests remove triggers to be able to change rows. That is found, too.
    verified.problems.retain(|problem| !problem.what.starts_with("the trigger `"));
    verified
}

/// Returns the problems; one of them if no row has the expected hash.
fn problems(log: &AuditLog, expected: Option<&Hash>) -> Vec<String> {
    let verified = verified(log, expected);
    let is_missing = expected.is_some() && verified.expected.is_none();
    let problems = verified.problems.into_iter().map(|problem| problem.what);
    problems.chain(is_missing.then(|| "no such row".into())).collect()
}

fn own(home: &Home) -> AuditLog {
    AuditLog::Live(home.store())
}

#[test]
fn an_unchanged_log_and_its_archive_verify() {
    let (home, file) = full();
    let log = verified(&own(&home), None);
    assert_eq!((&log.problems[..], log.start.after.position), (&[][..], 7));
    // The archive, three calls, a decision, and an end.
    assert_eq!((log.rows, log.end.position), (9, 16));
    let archive = verified(&AuditLog::open(&file).expect("an archive"), None);
    assert_eq!((&archive.problems[..], archive.start.after.hash), (&[][..], NO_ROW));
    assert_eq!((archive.rows, archive.end), (7, log.start.after));
    assert_eq!(log.archived, std::slice::from_ref(&log.start));
    // Each hash is found in its part.
    let found = verified(&own(&home), Some(&log.end.hash));
    assert_eq!((found.problems, found.expected), (vec![], Some(log.end.position)));
    // That of the archive is the hash of no row here.
    assert_eq!(problems(&own(&home), Some(&log.start.after.hash)), ["no such row"]);
    assert_eq!(problems(&own(&home), Some(&[7; 32])), ["no such row"]);
    // A month and a year later, it is the same.
    for days in [30, 365] {
        home.wait(days * 24 * 60 * MINUTE);
        assert_eq!(problems(&own(&home), Some(&log.end.hash)), [] as [String; 0]);
    }
    assert!(own(&Home::new()).verify(None).expect("readable").is_none());
}

#[test]
fn a_removed_moved_or_added_row_is_named() {
    for (sql, said) in [
        ("DELETE FROM calls WHERE seq = 9", "row 9 is missing"),
        ("DELETE FROM outcomes WHERE seq = 10; DELETE FROM calls WHERE seq = 11", "rows 10 to 11 are missing"),
        ("DELETE FROM archives", "but no row about an archive says so"),
        ("DELETE FROM calls WHERE seq <= 7", "row 7 is missing; it was kept"),
        ("UPDATE calls SET agent = 'other' WHERE seq = 7", "row 7 was changed"),
        // Swapped with their hashes, and without.
        (
            "UPDATE calls SET seq = -1 WHERE seq = 9; UPDATE calls SET seq = 9 WHERE seq = 11;
             UPDATE calls SET seq = 11 WHERE seq = -1",
            "row 9 was changed",
        ),
        (
            "INSERT INTO calls SELECT 3, 'x', time, front_end, client, account, api, function, arguments,
                effect, permission, rule, approved_by, approval, agent, token, trace, decision, hash
             FROM calls WHERE seq = 9",
            "row 3 was added",
        ),
        (
            "INSERT INTO calls SELECT 10, 'x', time, front_end, client, account, api, function, arguments,
                effect, permission, rule, approved_by, approval, agent, token, trace, decision, hash
             FROM calls WHERE seq = 9",
            "row 10 appears twice",
        ),
        (
            "INSERT INTO calls SELECT 17, 'x', time, front_end, client, account, api, function, arguments,
                effect, permission, rule, approved_by, approval, agent, token, trace, decision, hash
             FROM calls WHERE seq = 9",
            "row 17 was changed",
        ),
        ("UPDATE log_start SET through = 9", "the log starts after row 9, but no row"),
        ("UPDATE anchor SET position = 99", "but the hash of row 99 was published"),
    ] {
        let (home, _) = full();
        unprotected(&home.database()).execute_batch(sql).expect(sql);
        let found = problems(&own(&home), None);
        assert!(found.iter().any(|problem| problem.contains(said)), "{sql}: {found:?}");
    }
}

#[test]
fn a_removed_end_is_found_with_the_head() {
    let (home, _) = full();
    let head = own(&home).end().expect("a row");
    unprotected(&home.database())
        .execute_batch("DELETE FROM outcomes WHERE seq = 16; DELETE FROM calls WHERE seq = 15")
        .expect("removed");
    assert_eq!(problems(&own(&home), None), [] as [String; 0]);
    assert_eq!(problems(&own(&home), Some(&head.hash)), ["no such row"]);
    // What is added afterwards does not hide it.
    let store = home.store();
    for id in ["x", "y", "z"] {
        begun(&store, &row(id, "write"), None, &[], None).expect("begun");
    }
    assert_eq!(problems(&own(&home), None), [] as [String; 0]);
    assert_eq!(problems(&own(&home), Some(&head.hash)).len(), 1);
}

#[test]
fn whoever_computes_all_hashes_anew_is_found_with_the_head() {
    let (home, _) = full();
    let head = own(&home).end().expect("a row");
    let raw = unprotected(&home.database());
    raw.execute_batch("UPDATE calls SET account = 'other' WHERE seq = 9").expect("changed");
    // As the upgrade of an old database does it.
    raw.execute_batch(
        "DELETE FROM archives; DELETE FROM calls WHERE seq < 9;
         UPDATE log_start SET through = 0, head = zeroblob(32), carried = '{}';
         UPDATE calls SET seq = seq - 8; UPDATE outcomes SET seq = seq - 8",
    )
    .expect("made anew");
    join_old_rows(&raw).expect("hashes");
    drop(raw);
    assert_eq!(problems(&own(&home), None), [] as [String; 0]);
    assert_eq!(problems(&own(&home), Some(&head.hash)).len(), 1);
}

#[test]
fn processes_that_write_at_the_same_time_make_one_chain() {
    let home = Home::new();
    let stores: Vec<Arc<Store>> = (0..4).map(|_| home.patient_store(PATIENCE)).collect();
    race(&stores, |store, racer| {
        for index in 0..10 {
            let id = format!("{racer}-{index}");
            if index % 3 == 0 {
                begun(store, &row(&id, "write"), None, &[], None).expect("begun");
                store.record(None, Some(&outcome(&id, "done")), true).expect("recorded");
            } else {
                let end = outcome(&id, "none");
                store.record(Some(&row(&id, "read")), Some(&end), false).expect("recorded");
            }
        }
        store.flush().expect("moved");
    });
    drop(stores);
    let verified = verified(&own(&home), None);
    assert_eq!((verified.problems, verified.rows), (vec![], 12 * 10 * 2));
}

/// Changes a value: a bit of a number, a byte of a text or blob, or nothing into something.
fn changed(value: SqlValue, at: usize, bit: u8) -> SqlValue {
    let flip = |mut bytes: Vec<u8>, bits: u8| {
        let at = at % bytes.len().max(1);
        match bytes.get_mut(at) {
            Some(byte) => *byte ^= 1 << (bit % bits),
            None => bytes.push(1),
        }
        bytes
    };
    match value {
        SqlValue::Null => SqlValue::Text("x".into()),
        // Positions and times stay in the range of the tables.
        SqlValue::Integer(number) => SqlValue::Integer(number ^ (1 << (bit % 8))),
        SqlValue::Real(number) => SqlValue::Real(number + f64::from(bit) + 1.0),
        SqlValue::Blob(bytes) => SqlValue::Blob(flip(bytes, 8)),
        SqlValue::Text(text) => {
            let bytes = flip(text.into_bytes(), 5);
            SqlValue::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_change_of_any_column_of_any_row_is_found(
        table in 0..COLUMNS.len(), column in 0..100_usize, row in 0..100_usize,
        at in 0..1000_usize, bit in 0..8_u8, of_archive: bool,
    ) {
        let (home, file) = full();
        let path = if of_archive { file.clone() } else { home.database() };
        let raw = unprotected(&path);
        let (table, columns) = COLUMNS[table];
        let column = columns[column % columns.len()];
        let rows: Vec<i64> = raw
            .prepare(&format!("SELECT seq FROM {table} ORDER BY seq")).expect("SQL")
            .query_map([], |row| row.get(0)).expect("rows")
            .collect::<rusqlite::Result<_>>().expect("positions");
        // The archive of the first rows has no row about an archive.
        prop_assume!(!rows.is_empty());
        let position = rows[row % rows.len()];
        let sql = format!("SELECT {column} FROM {table} WHERE seq = ?1");
        let before: SqlValue = raw.query_row(&sql, [position], |row| row.get(0)).expect("a value");
        let after = changed(before.clone(), at, bit);
        prop_assume!(before != after);
        let sql = format!("UPDATE {table} SET {column} = ?1 WHERE seq = ?2");
        // What the type of the column does not allow changes nothing.
        let updated = raw.execute(&sql, rusqlite::params![after, position]);
        prop_assume!(updated == Ok(1));
        drop(raw);
        let log = if of_archive { AuditLog::open(&file).expect("an archive") } else { own(&home) };
        // What is not readable as a row is refused.
        let Ok(Some(mut verified)) = log.verify(None) else { return Ok(()) };
        verified.problems.retain(|problem| {
            !problem.what.starts_with("the trigger `") && !problem.what.starts_with("the database is damaged")
        });
        prop_assert!(!verified.problems.is_empty(), "{table}.{column} of row {position}: {before:?}, {after:?}");
        // A row that moved leaves a gap. Any other change is in the row that is named, or in its hash.
        if column != "seq" {
            let named: Vec<_> = verified.problems.iter().filter_map(|found| found.position).collect();
            let near = [position, position + 1];
            let is_start = table == "archives" && named.is_empty();
            prop_assert!(is_start || !named.is_empty(), "nothing is named");
            prop_assert!(named.iter().all(|named| near.contains(named)), "{position}: {named:?}");
        }
    }
}

#[test]
fn the_hash_of_a_row_is_the_documented_one() {
    let home = Home::new();
    let store = home.store();
    store.record(None, Some(&outcome("1", "done")), true).expect("recorded");
    let end = own(&home).end().expect("a row");
    let number = |number: i64| number.to_be_bytes().to_vec();
    let requests = outcome("1", "done").outcome.requests;
    let columns: [(&str, u8, Vec<u8>); 9] = [
        ("call_id", b't', b"1".to_vec()),
        ("duration_ms", b'r', 2.25_f64.to_be_bytes().to_vec()),
        ("effect", b't', b"done".to_vec()),
        ("requests", b't', json!(requests).to_string().into_bytes()),
        ("room_id", b't', b"1".to_vec()),
        ("room_name", b't', b"daily".to_vec()),
        ("seq", b'i', number(1)),
        ("success", b'i', number(1)),
        ("time", b'i', number(1_772_442_000_250)),
    ];
    let part =
        |kind: u8, bytes: &[u8]| [&[kind][..], &(bytes.len() as u64).to_be_bytes(), bytes].concat();
    let mut row = vec![0; 32];
    row.extend(part(b'T', b"outcomes"));
    for (name, kind, value) in columns {
        row.extend(part(b'n', name.as_bytes()));
        row.extend(part(kind, &value));
    }
    assert_eq!(crate::system::digest::hex(&end.hash), crate::system::digest::sha256(&row));
}

#[test]
fn a_program_of_the_version_before_that_still_runs_loses_no_row() {
    let home = full().0;
    let raw = home.raw();
    let sql =
        "INSERT INTO calls (seq, id, time, front_end, arguments) VALUES (99, 'x', 0, 'cli', '{}')";
    let error = raw.execute(sql, []).expect_err("refused");
    // It skips rows that violate a constraint, and keeps them in its spool after any other error.
    assert_ne!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ConstraintViolation));
}

#[test]
fn what_could_show_other_rows_than_there_are_is_found() {
    for (sql, said) in [
        ("DROP TRIGGER calls_are_not_changed", "the trigger `calls_are_not_changed`"),
        (
            "CREATE TRIGGER x BEFORE INSERT ON calls BEGIN SELECT RAISE(IGNORE); END",
            "the trigger `x`",
        ),
        ("CREATE VIEW x AS SELECT 1", "the view `x`"),
        ("ALTER TABLE calls ADD COLUMN x TEXT", "the table `calls`"),
        ("DROP INDEX calls_by_time", "the index `calls_by_time`"),
        (
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, 'ON calls (time)', 'ON calls (id)')
             WHERE name = 'calls_by_time'",
            "the index `calls_by_time`",
        ),
    ] {
        let (home, file) = full();
        for database in [home.database(), file] {
            let raw = Connection::open(&database).expect("a database");
            raw.execute_batch(sql).expect(sql);
            drop(raw);
        }
        let found = own(&home).verify(None).expect("readable").expect("a log");
        let found: Vec<String> = found.problems.into_iter().map(|problem| problem.what).collect();
        assert!(found.iter().any(|what| what.contains(said)), "{sql}: {found:?}");
    }
    // Such an archive is not even read.
    let (_home, file) = full();
    let raw = Connection::open(&file).expect("a database");
    raw.execute_batch(
        "ALTER TABLE calls RENAME TO hidden;
         CREATE VIEW calls AS WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n FROM x) SELECT * FROM x",
    )
    .expect("a view");
    drop(raw);
    let refused = AuditLog::open(&file).err().expect("refused").to_string();
    assert!(refused.contains("its tables are not those of one"), "{refused}");
}
