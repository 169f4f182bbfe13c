//! Archives of the audit log.

use super::*;

/// Opens an archive as a state database.
fn opened_archive(file: &Path) -> (Home, Vec<AuditRow>) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(file).expect("an archive").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let home = Home::new();
    std::fs::create_dir_all(home.path()).expect("a directory");
    set_mode(&home.path(), 0o700);
    std::fs::copy(file, home.database()).expect("copied");
    let rows = calls(&home.store());
    (home, rows)
}

#[test]
fn an_archive_has_every_call_and_empties_the_log() {
    const DAY: i64 = 24 * 60 * MINUTE;
    let home = Home::new();
    let file = home.directory.path().join("archive.db");
    let store = home.store();
    begun(&store, &row("killed", "write"), None, &[], None).expect("begun");
    home.wait(2 * DAY);
    let now = |id: &str, effect: &str| Begin { time: store.shared.now(), ..row(id, effect) };
    begun(&store, &now("written", "write"), None, &[], None).expect("begun");
    store.record(None, Some(&outcome("written", "done")), true).expect("recorded");
    begun(&store, &now("under way", "write"), None, &[], None).expect("begun");
    // In the spool files of a running process, of one that was killed, and of this one.
    let other = home.store();
    other.record(Some(&now("read", "read")), Some(&outcome("read", "none")), false).expect("");
    other.record(Some(&now("reading", "read")), None, false).expect("recorded");
    let dead = home.store();
    dead.record(Some(&now("left", "read")), Some(&outcome("left", "none")), false).expect("");
    dead.die();
    store.record(Some(&now("own", "read")), Some(&outcome("own", "none")), false).expect("");
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    let end = last_position(&store);

    assert_eq!(store.archive(&file).expect("archived"), 7);
    let (archived, rows) = opened_archive(&file);
    let mut found = ids(&rows);
    found.sort_unstable();
    assert_eq!(found, ["killed", "left", "own", "read", "reading", "under way", "written"]);
    assert_ne!(digest(&archived.store(), "daily"), daily, "the key stays where it is");
    assert_eq!(archived.store().approvals(true).expect("a list"), []);
    assert_eq!(
        archived
            .raw()
            .query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0))
            .expect("a mode"),
        "wal"
    );

    // Calls under way end in the new log, and no other call returns to it.
    assert_eq!(ids(&calls(&store)), ["under way", "reading"]);
    assert!(last_position(&store) > end);
    other.record(None, Some(&outcome("reading", "none")), false).expect("recorded");
    drop(other);
    store.record(None, Some(&outcome("under way", "done")), true).expect("recorded");
    let after = store.audit(&AuditFilter { after_seq: Some(end), ..AuditFilter::default() });
    let after = after.expect("the log");
    assert_eq!(ids(&after), ["under way", "reading"]);
    assert!(after.iter().all(|row| row.outcome.is_some()), "{after:?}");
    assert_eq!(calls(&store).len(), 2);
    assert_eq!(home.spooled(), 0);
    // Approvals go on.
    store.approve(&id).expect("approved");
    assert_eq!(claim(&store, "next", &daily).expect("claimed"), Some(id));

    let text = message(store.archive(&file));
    assert!(text.contains("already exists; name a new file"), "{text}");
    assert_eq!(calls(&store).len(), 3);
    let second = home.directory.path().join("second.db");
    assert_eq!(store.archive(&second).expect("archived"), 3);
    assert_eq!(ids(&opened_archive(&second).1), ["next", "under way", "reading"]);
    let lost = home.directory.path().join("nowhere/archive.db");
    let text = message(store.archive(&lost));
    assert!(text.contains("folder does not exist"), "{text}");
    let left = std::fs::read_dir(home.directory.path()).expect("a folder").count();
    assert_eq!(left, 3, "the state directory and two archives");
}

#[test]
fn an_archive_that_fails_leaves_the_log_unchanged() {
    let home = written();
    let store = home.store();
    store.record(None, Some(&outcome("1", "done")), true).expect("recorded");
    let file = home.directory.path().join("archive.db");
    let raw = home.raw();
    raw.execute_batch("BEGIN IMMEDIATE").expect("locked");
    assert!(message(store.archive(&file)).contains("is in use by another process"));
    assert!(!file.exists());
    raw.execute_batch("ROLLBACK").expect("unlocked");
    // As if it was killed after the file had its name and before the log was emptied.
    raw.execute_batch(
        "CREATE TRIGGER killed BEFORE INSERT ON archives BEGIN SELECT RAISE(ABORT, 'killed'); END",
    )
    .expect("a trigger");
    assert!(message(store.archive(&file)).contains("killed"));
    assert_eq!(ids(&opened_archive(&file).1), ["1"]);
    let as_it_is = || ids(&store.audit_as_it_is(&AuditFilter::default()).expect("the log")).len();
    assert_eq!(as_it_is(), 1);
    assert_eq!(store.shared.with(|opened| Ok(opened.key)).expect("a key").len(), 32);
    assert!(message(store.archive(&file)).contains("killed"));
    raw.execute_batch("DROP TRIGGER killed").expect("dropped");
    // Naming the same file again, or reading the log, finishes it.
    store.record(Some(&row("2", "read")), Some(&outcome("2", "none")), false).expect("recorded");
    assert_eq!(store.archive(&file).expect("archived"), 1);
    assert_eq!(ids(&opened_archive(&file).1), ["1"]);
    assert_eq!(ids(&calls(&store)), ["2"]);
    assert!(message(store.archive(&file)).contains("already exists"));
}

/// Returns a home where a program was killed after it wrote the archive and before it emptied the log.
fn killed_while_archiving(file: &Path) -> (Home, Arc<Store>) {
    let home = written();
    let store = home.store();
    store.record(None, Some(&outcome("1", "done")), true).expect("recorded");
    // A call is in the archive and in the spool file of another process.
    let other = home.store();
    other.record(Some(&row("2", "read")), Some(&outcome("2", "none")), false).expect("recorded");
    home.raw()
        .execute_batch(
            "CREATE TRIGGER killed BEFORE INSERT ON archives
             BEGIN SELECT RAISE(ABORT, 'killed'); END",
        )
        .expect("a trigger");
    assert!(message(home.store().archive(file)).contains("killed"));
    home.raw().execute_batch("DROP TRIGGER killed").expect("dropped");
    drop(store);
    (home, other)
}

#[test]
fn an_interrupted_archive_is_finished_by_the_next_process() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("archive.db");
    let (home, other) = killed_while_archiving(&file);
    assert_eq!(calls(&home.store()), []);
    drop(other);
    assert_eq!(calls(&home.store()), []);
    assert_eq!(ids(&opened_archive(&file).1), ["1", "2"]);

    // Another archive gets the later calls.
    let file = folder.path().join("second.db");
    let (home, other) = killed_while_archiving(&file);
    other.record(Some(&row("3", "read")), Some(&outcome("3", "none")), false).expect("recorded");
    let third = folder.path().join("third.db");
    assert_eq!(home.store().archive(&third).expect("archived"), 1);
    assert_eq!(ids(&opened_archive(&third).1), ["3"]);
    assert_eq!(ids(&opened_archive(&file).1), ["1", "2"]);
    assert_eq!(calls(&home.store()), []);

    // Without the file, or with another one, no call is removed.
    for contents in [None, Some(&b"something else"[..])] {
        let file = folder.path().join("fourth.db");
        let (home, other) = killed_while_archiving(&file);
        std::fs::remove_file(&file).expect("removed");
        if let Some(contents) = contents {
            std::fs::write(&file, contents).expect("written");
        }
        let mut found = calls(&home.store());
        found.sort_by(|one, other| one.id.cmp(&other.id));
        assert_eq!(ids(&found), ["1", "2"]);
        drop(other);
        let _ = std::fs::remove_file(&file);
        assert_eq!(home.store().archive(&file).expect("archived"), 2);
        let _ = std::fs::remove_file(&file);
    }
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 3, "three archives");
}

#[test]
fn programs_can_record_calls_during_an_archive() {
    let home = Home::new();
    let stores: Vec<Arc<Store>> = (0..2).map(|_| home.patient_store(PATIENCE)).collect();
    let archives: Vec<PathBuf> =
        (0..5).map(|index| home.directory.path().join(format!("{index}.db"))).collect();
    let barrier = Barrier::new(3);
    std::thread::scope(|scope| {
        for (number, store) in stores.iter().enumerate() {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                for index in 0..40 {
                    let id = format!("{number}-{index}");
                    match index % 4 {
                        0 => {
                            begun(store, &row(&id, "write"), None, &[], None).expect("begun");
                            store.record(None, Some(&outcome(&id, "done")), true).expect("");
                        }
                        _ => store
                            .record(Some(&row(&id, "read")), Some(&outcome(&id, "none")), false)
                            .expect("recorded"),
                    }
                    if index % 7 == 0 {
                        store.flush().expect("moved");
                    }
                }
            });
        }
        let archiver = home.patient_store(PATIENCE);
        barrier.wait();
        for file in &archives {
            archiver.archive(file).expect("archived");
        }
    });
    drop(stores);
    let mut found: Vec<AuditRow> = calls(&home.store());
    for file in &archives {
        found.extend(opened_archive(file).1);
    }
    // Only calls that were under way are in two files, in one of them without their end.
    let ended: Vec<&AuditRow> = found.iter().filter(|row| row.outcome.is_some()).collect();
    let mut ids: Vec<&str> = ended.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids.len(), 80, "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 80);
}
