//! The database and its files, in good and bad condition.

use super::*;
use crate::system::file;

#[test]
fn many_processes_create_the_database_at_the_same_time() {
    for _ in 0..10 {
        let home = Home::new();
        let stores: Vec<Arc<Store>> = (0..8).map(|_| home.patient_store(PATIENCE)).collect();
        let digests = race(&stores, |store, racer| {
            store.record(Some(&row(&racer.to_string(), "read")), None, false).expect("recorded");
            let digest = digest(store, "daily");
            store.flush().expect("moved");
            digest
        });
        // All have the same key.
        assert!(digests.iter().all(|digest| *digest == digests[0]));
        assert_eq!(calls(&stores[0]).len(), 24);
    }
}

#[test]
fn the_schema_refuses_changes_to_recorded_rows() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let first = used(&store, &daily, "1");
    store.record(None, Some(&outcome("1", "done")), false).expect("recorded");
    let second = pending(&store, &daily);
    let (id, limits) = ("0".repeat(32), json!({"uses": 2}));
    let secret = store.new_token_key().expect("a key");
    store.add_token(&id, &limits).expect("added");
    let token = TokenUse { ids: vec![id.clone()], uses: vec![(id.clone(), 3)], valid_until: None };
    for call in ["a", "b"] {
        begun(&store, &row(call, "read"), None, &[], Some(&token)).expect("begun");
    }
    store.revoke_token(&id).expect("revoked").expect("known");
    let before = calls(&store);
    let raw = home.raw();
    for sql in [
        "UPDATE calls SET account = 'other'",
        "DELETE FROM calls",
        "REPLACE INTO calls SELECT * FROM calls",
        "REPLACE INTO calls (seq, id, time, front_end, arguments) VALUES (1, 'x', 0, '', '{}')",
        "UPDATE outcomes SET effect = 'none'",
        "DELETE FROM outcomes",
        "REPLACE INTO outcomes SELECT * FROM outcomes",
        "REPLACE INTO outcomes VALUES
             (2, 'x', 0, 1, NULL, NULL, 'none', '[]', 0, NULL, NULL, zeroblob(32))",
        "INSERT INTO outcomes VALUES
             (99, 'x', 0, 1, NULL, NULL, 'perhaps', '[]', 0, NULL, NULL, zeroblob(32))",
        "INSERT INTO outcomes VALUES (99, 'x', 0, 1, NULL, NULL, 'none', '[]', 0, NULL, NULL, NULL)",
        "UPDATE calls SET hash = zeroblob(32)",
        "UPDATE outcomes SET hash = NULL",
        "UPDATE log_start SET carried = '{}'",
        "DELETE FROM log_start",
        "REPLACE INTO log_start VALUES (1, 99, zeroblob(32), '{}')",
        "INSERT INTO archives (seq, time, calls, hash) VALUES (1, 0, 0, zeroblob(32))",
        "REPLACE INTO archives (seq, time, calls, hash) VALUES (1, 0, 0, zeroblob(32))",
        "DELETE FROM approvals",
        "DELETE FROM approvals WHERE state = 'pending'",
        "REPLACE INTO approvals SELECT * FROM approvals",
        "UPDATE approvals SET state = 'used', used_at = 0 WHERE state = 'used'",
        "UPDATE approvals SET state = 'pending', used_at = NULL",
        "UPDATE approvals SET state = 'approved' WHERE state = 'pending'",
        "UPDATE approvals SET state = 'approved', decided_at = created_at,
            valid_until = created_at + 900001 WHERE state = 'pending'",
        "UPDATE approvals SET expires_at = expires_at + 1",
        "UPDATE approvals SET arguments = '{}'",
        "UPDATE approvals SET digest = randomblob(32)",
        "UPDATE approvals SET state = 'approved', used_at = NULL, valid_until = valid_until + 1
            WHERE state = 'used'",
        "INSERT INTO approvals SELECT 99, hex(randomblob(16)), digest, state, account, api, function,
            arguments, rule, front_end, client, created_at, expires_at, decided_at, valid_until,
            used_at FROM approvals WHERE state = 'pending'",
        "INSERT INTO approvals SELECT 99, hex(randomblob(16)), randomblob(32), 'approved', account,
            api, function, arguments, rule, front_end, client, created_at, expires_at, created_at,
            created_at, NULL FROM approvals WHERE state = 'pending'",
        "UPDATE installation SET hmac_key = randomblob(32)",
        "DELETE FROM installation",
        "REPLACE INTO installation VALUES (1, randomblob(32))",
        "UPDATE token_key SET secret_key = randomblob(32)",
        "DELETE FROM token_key",
        "REPLACE INTO token_key VALUES (1, randomblob(32))",
        "UPDATE approvals SET token = '[]'",
        "UPDATE tokens SET limits = '{}'",
        "UPDATE tokens SET latest = latest - 1",
        "DELETE FROM tokens",
        "REPLACE INTO tokens SELECT * FROM tokens",
        "DELETE FROM revoked_tokens",
        "UPDATE revoked_tokens SET id = hex(randomblob(16))",
        "REPLACE INTO revoked_tokens SELECT id, 0 FROM revoked_tokens",
        "UPDATE token_uses SET used = used - 1",
        "DELETE FROM token_uses",
        "REPLACE INTO token_uses SELECT id, 1 FROM token_uses",
    ] {
        // Some of them have no effect, and the others are errors.
        let changed = raw.execute(sql, []).unwrap_or_default();
        assert_eq!(changed, 0, "{sql}");
    }
    assert_eq!(calls(&store), before);
    assert_eq!(digest(&store, "daily"), daily);
    assert_eq!(store.token_key().expect("read"), Some(secret));
    let token = &store.tokens().expect("a list")[0];
    assert_eq!((token.used, token.revoked_at.is_some(), &token.limits), (2, true, &limits));
    let states: Vec<(String, &str)> = store
        .approvals(true)
        .expect("a list")
        .into_iter()
        .map(|approval| (approval.id, approval.state.as_str()))
        .collect();
    assert_eq!(states, [(first, "used"), (second, "pending")]);
}

#[test]
fn frequent_queries_use_an_index() {
    let home = Home::new();
    let store = home.store();
    digest(&store, "daily");
    let raw = home.raw();
    for sql in [
        "SELECT 1 FROM approvals WHERE digest = ?2 AND state = 'approved' AND created_at <= ?1",
        "SELECT id FROM approvals WHERE digest = ?1 AND state IN ('pending', 'approved')",
        "SELECT count(*) FROM approvals WHERE state IN ('pending', 'approved')",
        "UPDATE approvals SET state = 'expired' WHERE state IN ('pending', 'approved') AND ?1 < 5",
        "UPDATE approvals SET state = 'used' WHERE digest = ?2 AND state = 'approved'",
        "SELECT id FROM approvals WHERE digest = ?1 AND state = 'denied' AND decided_at <= 5",
    ] {
        let mut statement = raw.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("SQL");
        for index in 1..=statement.parameter_count() {
            statement.raw_bind_parameter(index, 0).expect("bound");
        }
        let plan: Vec<String> =
            statement.raw_query().mapped(|row| row.get(3)).map(|row| row.expect("a row")).collect();
        assert!(plan.iter().any(|line| line.contains("INDEX approvals_")), "{sql}: {plan:?}");
    }
}

#[test]
fn a_database_from_before_there_were_agents_keeps_its_rows() {
    let home = Home::new();
    file::make_private_folder(&home.path()).expect("a directory");
    drop(file::make_private_file(&home.database()).expect("a file"));
    let raw = home.raw();
    schema::make_version(&raw, 3).expect("the tables of version 3");
    for sql in [
        "INSERT INTO calls (seq, id, time, front_end, account, function, arguments)
         VALUES (1, 'one', 1772440000000, 'cli', 'work', 'list_rooms', '{}')",
        "INSERT INTO outcomes (seq, call_id, time, success, effect, requests, duration_ms)
         VALUES (2, 'one', 1772440000001, 1, 'none', '[]', 1)",
        "INSERT INTO approvals (seq, id, digest, state, account, api, function, arguments, rule,
            front_end, created_at, expires_at, asker_group)
         VALUES (1, '00112233445566778899aabbccddeeff', zeroblob(32), 'pending', 'work',
            'https://api.whereby.dev/v1', 'delete_room', '{}', 'a rule', 'cli', 1772441000000,
            1772444600000, 'cli')",
    ] {
        assert_eq!(raw.execute(sql, []).expect("a row"), 1);
    }
    drop(raw);
    let store = home.store();
    let rows = calls(&store);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].id.as_str(), rows[0].agent.as_deref()), ("one", None));
    assert!(rows[0].outcome.as_ref().is_some_and(|outcome| outcome.success));
    let of_agent = AuditFilter { agent: Some("a".into()), ..AuditFilter::default() };
    assert_eq!(store.audit(&of_agent).expect("the log"), []);
    let approvals = store.approvals(true).expect("a list");
    assert_eq!((approvals.len(), approvals[0].agent.as_deref()), (1, None));
    store.approve(&approvals[0].id).expect("approved");
    // New rows have their agent.
    let begin = Begin { agent: Some("a".into()), ..row("two", "write") };
    begun(&store, &begin, None, &[], None).expect("begun");
    let rows = store.audit(&of_agent).expect("the log");
    assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["two"]);
}

fn damage(home: &Home, from: usize, with: &[u8]) {
    let mut bytes = std::fs::read(home.database()).expect("a database");
    let end = (from + with.len()).min(bytes.len());
    bytes[from..end].copy_from_slice(&with[..end - from]);
    std::fs::write(home.database(), bytes).expect("written");
}

#[test]
fn every_problem_of_the_database_has_its_own_error() {
    type Spoil = fn(&Home);
    let cases: [(&str, Spoil); 12] = [
        ("was made by a newer version", |home| {
            home.raw().pragma_update(None, "user_version", 99).expect("set");
        }),
        ("belongs to another program", |home| {
            home.raw().pragma_update(None, "application_id", 5).expect("set");
        }),
        ("is damaged", |home| damage(home, 100, &[0xa5; 3000])),
        ("is not a database", |home| damage(home, 0, b"something else")),
        ("is not a database", |home| std::fs::write(home.database(), "a note").expect("written")),
        ("is a directory", |home| {
            std::fs::remove_file(home.database()).expect("removed");
            std::fs::create_dir(home.database()).expect("made");
        }),
        ("is not a file", |home| {
            std::fs::remove_file(home.database()).expect("removed");
            std::os::unix::net::UnixListener::bind(home.database()).expect("a socket");
        }),
        ("is read-only; run: chmod 600", |home| set_mode(&home.database(), 0o400)),
        ("can be read or changed by others; run: chmod 600", |home| {
            set_mode(&home.database(), 0o640);
        }),
        ("is read-only; run: chmod 700", |home| set_mode(&home.path(), 0o500)),
        ("can be read or changed by others; run: chmod 700", |home| set_mode(&home.path(), 0o755)),
        ("is not a directory", |home| {
            std::fs::remove_dir_all(home.path()).expect("removed");
            std::fs::write(home.path(), "").expect("written");
        }),
    ];
    for (words, spoil) in cases {
        let home = written();
        spoil(&home);
        let store = home.store();
        let shown = home.path().display().to_string();
        let begun = begun(&store, &row("2", "write"), None, &[], None);
        let Err(BeginError::Store(error)) = begun else { panic!("{words}: {begun:?}") };
        for text in [error.to_string(), message(store.check())] {
            assert!(text.contains(words), "`{words}` is not in: {text}");
            assert!(text.contains(&shown), "{text}");
            assert!(!text.ends_with('.') && text.starts_with("the state d"), "{text}");
        }
        set_mode(&home.path(), 0o700);
    }
}

#[test]
fn a_read_only_directory_is_an_error() {
    let home = written();
    let store = home.store();
    set_mode(&home.path(), 0o500);
    let text = message(store.record(Some(&row("2", "read")), None, false));
    assert!(text.contains("is read-only"), "{text}");
    assert!(matches!(
        begun(&store, &row("2", "write"), None, &[], None),
        Err(BeginError::Store(_))
    ));
    set_mode(&home.path(), 0o700);
    // It works again once that is fixed.
    store.record(Some(&row("2", "read")), None, false).expect("recorded");
    begun(&store, &row("3", "write"), None, &[], None).expect("begun");
    assert_eq!(calls(&store).len(), 3);
    // The directory of another user is refused. Only root can try that.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(home.path(), Some(12345), None).expect("given away");
        let text = message(home.store().check());
        assert!(text.contains("belongs to the user 12345"), "{text}");
    }
}

#[test]
fn a_database_that_is_busy_or_full_refuses_the_write() {
    let home = written();
    let store = home.store();
    let raw = home.raw();
    raw.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let busy = begun(&store, &row("2", "write"), None, &[], None);
    let Err(BeginError::Store(error)) = busy else { panic!("{busy:?}") };
    assert!(error.to_string().contains("is in use by another process"), "{error}");
    // Reads go on, and their rows wait in the spool.
    store.record(Some(&row("3", "read")), None, false).expect("recorded");
    assert!(message(store.flush()).contains("is in use by another process"));
    assert_eq!(store.audit_as_it_is(&AuditFilter::default()).expect("the log").len(), 1);
    raw.execute_batch("ROLLBACK").expect("unlocked");
    assert_eq!(calls(&store).len(), 2);

    let limited = store.shared.with(|opened| {
        let connection = &opened.database.connection;
        Ok(connection.pragma_update_and_check(None, "max_page_count", 1, |_| Ok(())))
    });
    limited.expect("open").expect("limited");
    let mut count = 0;
    let error = loop {
        match begun(&store, &row(&format!("{count} more"), "write"), None, &[], None) {
            Ok(_) => count += 1,
            Err(BeginError::Store(error)) => break error,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert_eq!(calls(&store).len(), 2 + count);
}

#[test]
fn a_deleted_database_is_created_again() {
    let home = written();
    let store = home.store();
    let before = digest(&store, "daily");
    assert_eq!(calls(&store).len(), 1);
    store.record(Some(&row("2", "read")), None, false).expect("recorded");
    store.flush().expect("moved");
    std::fs::remove_dir_all(home.path()).expect("removed");
    begun(&store, &row("3", "write"), None, &[], None).expect("begun");
    store.record(Some(&row("4", "read")), None, false).expect("recorded");
    assert_eq!(ids(&calls(&store)), ["3", "4"]);
    assert_ne!(digest(&store, "daily"), before, "another installation has another key");
    assert_eq!(calls(&home.store()).len(), 2);
}

#[test]
fn a_database_without_the_write_ahead_log_gets_it_back() {
    let home = written();
    let raw = home.raw();
    let mode: String = raw
        .pragma_update_and_check(None, "journal_mode", "delete", |row| row.get(0))
        .expect("switched");
    assert_eq!(mode, "delete");
    drop(raw);
    assert_eq!(calls(&home.store()).len(), 1);
    let mode: String =
        home.raw().pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("a mode");
    assert_eq!(mode, "wal");
}

#[test]
fn only_the_user_can_use_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let store = home.store();
    begun(&store, &row("1", "write"), None, &[], None).expect("begun");
    store.record(Some(&row("2", "read")), None, false).expect("recorded");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(home.path()).expect("a directory") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("a file").permissions().mode() & 0o777;
        let expected = if entry.path().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{entry:?}");
        names.push(entry.file_name().into_string().expect("UTF-8"));
    }
    names.sort();
    assert_eq!(names, ["spool", "state.db", "state.db-shm", "state.db-wal"]);
}

#[test]
fn the_last_process_leaves_everything_in_one_file() {
    let home = Home::new();
    let names = || {
        let entries = std::fs::read_dir(home.path()).expect("a directory");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    let (first, second) = (home.store(), home.store());
    let daily = digest(&first, "daily");
    let id = used(&first, &daily, "1");
    second.record(Some(&row("2", "read")), Some(&outcome("2", "none")), false).expect("recorded");
    second.flush().expect("moved");
    drop(first);
    assert!(names().contains(&"state.db-wal".into()), "somebody still has it open");
    drop(second);
    assert_eq!(names(), ["spool", "state.db"]);
    // The file under another name contains everything.
    let other = Home::new();
    std::fs::create_dir_all(other.path()).expect("a directory");
    set_mode(&other.path(), 0o700);
    std::fs::rename(home.database(), other.database()).expect("moved");
    assert_eq!(ids(&calls(&other.store())), ["1", "2"]);
    assert_eq!(digest(&other.store(), "daily"), daily);
    assert!(other.store().approval(&id).expect("readable").is_some());
    assert_eq!(calls(&home.store()), []);
}

#[test]
fn a_database_that_is_moved_while_it_is_open_takes_its_rows_along() {
    let home = Home::new();
    let store = home.store();
    begun(&store, &row("1", "write"), None, &[], None).expect("begun");
    let kept = home.directory.path().join("kept.db");
    std::fs::rename(home.database(), &kept).expect("moved");
    begun(&store, &row("2", "write"), None, &[], None).expect("begun");
    let kept = Connection::open(kept).expect("a database");
    let id: String = kept.query_row("SELECT id FROM calls", [], |row| row.get(0)).expect("a row");
    assert_eq!(id, "1");
    assert_eq!(ids(&calls(&store)), ["2"]);
}

#[test]
fn the_log_of_a_database_that_was_moved_away_is_kept() {
    let home = Home::new();
    let store = home.store();
    begun(&store, &row("1", "write"), None, &[], None).expect("begun");
    // As if the program had been killed, there is a write-ahead log.
    let killed = Home::new();
    std::fs::create_dir_all(killed.path()).expect("a directory");
    set_mode(&killed.path(), 0o700);
    let log = |home: &Home| home.path().join("state.db-wal");
    for (from, to) in [(home.database(), killed.database()), (log(&home), log(&killed))] {
        std::fs::copy(from, to).expect("copied");
    }
    let kept = killed.directory.path().join("kept.db");
    std::fs::rename(killed.database(), &kept).expect("moved");
    assert_eq!(calls(&killed.store()), []);
    begun(&killed.store(), &row("2", "write"), None, &[], None).expect("begun");
    assert_eq!(ids(&calls(&killed.store())), ["2"]);
    // With its own database, it still contains everything.
    let old = killed.path().join("state.db-wal.old");
    std::fs::rename(old, killed.directory.path().join("kept.db-wal")).expect("moved");
    let kept = Connection::open(kept).expect("a database");
    let id: String = kept.query_row("SELECT id FROM calls", [], |row| row.get(0)).expect("a row");
    assert_eq!(id, "1");
}
