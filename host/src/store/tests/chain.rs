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

fn problems(log: &AuditLog, expected: Option<&Hash>) -> Vec<String> {
    let verified = log.verify(expected).expect("readable");
    assert_eq!(verified.count, verified.problems.len() as u64);
    verified.problems.into_iter().map(|problem| problem.what).collect()
}

fn own(home: &Home) -> AuditLog {
    AuditLog::Own(home.store())
}

#[test]
fn an_unchanged_log_and_its_archive_verify() {
    let (home, file) = full();
    let log = own(&home).verify(None).expect("readable");
    assert_eq!((log.problems, log.start.position), (vec![], 7));
    // The archive, three calls, a decision, and an end.
    assert_eq!((log.rows, log.end.position), (9, 16));
    let archive = AuditLog::open(&file).expect("an archive").verify(None).expect("readable");
    assert_eq!((archive.problems, archive.start.hash), (vec![], NO_ROW));
    assert_eq!((archive.rows, archive.end), (7, log.start));
    assert_eq!(log.archived, [archive.end]);
    // Each hash is found in its part.
    for (log, expected) in [(own(&home), log.end), (own(&home), log.start)] {
        let found = log.verify(Some(&expected.hash)).expect("readable");
        assert_eq!((found.problems, found.expected), (vec![], Some(expected.position)));
    }
    let unknown = problems(&own(&home), Some(&[7; 32]));
    assert!(unknown[0].contains("no row has the expected hash 0707"), "{unknown:?}");
    // A month and a year later, it is the same.
    for days in [30, 365] {
        home.wait(days * 24 * 60 * MINUTE);
        assert_eq!(problems(&own(&home), Some(&log.end.hash)), [] as [String; 0]);
    }
    // A log without rows is one that starts.
    assert_eq!(problems(&own(&Home::new()), Some(&NO_ROW)), [] as [String; 0]);
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
            "row 10 is there twice",
        ),
        (
            "INSERT INTO calls SELECT 17, 'x', time, front_end, client, account, api, function, arguments,
                effect, permission, rule, approved_by, approval, agent, token, trace, decision, hash
             FROM calls WHERE seq = 9",
            "row 17 was changed",
        ),
        ("UPDATE log_start SET through = 9", "the log starts after row 9, but no row"),
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
    let found = problems(&own(&home), Some(&head.hash));
    assert!(found.len() == 1 && found[0].contains("no row has the expected hash"), "{found:?}");
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
    let verified = own(&home).verify(None).expect("readable");
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
        let verified = log.verify(None).expect("readable");
        prop_assert!(verified.count > 0, "{table}.{column} of row {position}: {before:?}, {after:?}");
        // A row that moved leaves a gap. Any other change is in the row that is named, or in its hash.
        if column != "seq" {
            let named: Vec<_> = verified.problems.iter().filter_map(|found| found.position).collect();
            let near = [position, position + 1];
            prop_assert!(named.iter().all(|named| near.contains(named)), "{position}: {named:?}");
        }
    }
}
