//! The audit log and the spool through the store.

use super::*;
use std::fs::File;

#[test]
fn a_beginning_and_an_end_are_joined_in_either_order() {
    let home = Home::new();
    let store = home.store();
    store.record(Some(&row("read", "read")), None, false).expect("recorded");
    begun(&store, &row("write", "write"), None, &[], None).expect("begun");
    store
        .record(Some(&row("refused", "write")), Some(&outcome("refused", "none")), false)
        .expect("");
    assert_eq!(ids(&calls(&store)), ["write", "read", "refused"]);
    assert_eq!(home.spooled(), 0);
    let rows = calls(&store);
    let unfinished: Vec<bool> = rows.iter().map(AuditRow::is_unfinished_write).collect();
    assert_eq!(unfinished, [true, false, false]);
    assert_eq!(rows[1].outcome, None);
    store.record(None, Some(&outcome("read", "none")), false).expect("recorded");
    store.record(None, Some(&outcome("write", "done")), true).expect("recorded");
    // The end of a call whose beginning comes later.
    store.record(None, Some(&outcome("late", "done")), false).expect("recorded");
    assert_eq!(calls(&store).len(), 3);
    store.record(Some(&row("late", "write")), None, false).expect("recorded");
    let rows = calls(&store);
    assert_eq!(ids(&rows), ["write", "read", "refused", "late"]);
    assert!(rows.iter().all(|row| row.outcome.is_some()), "{rows:?}");
    assert_eq!(
        rows[0].to_json(),
        json!({
            "position": 6,
            "hash": rows[0].hash,
            "id": "write",
            "time": "2026-03-02T09:00:00.000Z",
            "front_end": "mcp",
            "client": "an agent",
            "agent": null,
            "token": null,
            "account": "work",
            "api_url": "https://api.whereby.dev/v1",
            "function": "delete_room",
            "arguments": {"room_name": "daily"},
            "effect": "write",
            "permission": "ask",
            "rule": "a rule",
            "approved_by": "approval",
            "approval_id": null,
            "traceparent": null,
            "decision": null,
            "outcome": {
                "success": true,
                "kind": null,
                "message": null,
                "effect": "done",
                "room_name": "daily",
                "room_id": "1",
                "requests": [
                    {"method": "DELETE", "path": "/meetings/1", "status": 204, "duration_ms": 1.5},
                ],
                "duration_ms": 2.25,
            },
        })
    );
}

#[test]
fn the_log_is_filtered_and_followed() {
    let home = Home::new();
    let store = home.store();
    for (index, account) in ["work", "other", "work", "work"].into_iter().enumerate() {
        let mut begin = row(&index.to_string(), "write");
        begin.time += index as i64 * 1000;
        begin.account = Some(account.into());
        begin.agent = (index == 2).then(|| "assistant".into());
        begin.function = Some(if index == 3 { "create_room" } else { "delete_room" }.into());
        begun(&store, &begin, None, &[], None).expect("begun");
    }
    let first = row("", "").time;
    let filter = AuditFilter::default();
    for (filter, expected) in [
        (filter.clone(), &["0", "1", "2", "3"][..]),
        (AuditFilter { since: Some(first + 1000), ..filter.clone() }, &["1", "2", "3"]),
        (AuditFilter { account: Some("work".into()), ..filter.clone() }, &["0", "2", "3"]),
        (AuditFilter { function: Some("create_room".into()), ..filter.clone() }, &["3"]),
        (AuditFilter { agent: Some("assistant".into()), ..filter.clone() }, &["2"]),
        (AuditFilter { limit: Some(2), ..filter.clone() }, &["2", "3"]),
        (
            AuditFilter {
                agent: Some("assistant".into()),
                since: Some(first + 500),
                account: Some("work".into()),
                function: Some("delete_room".into()),
                limit: Some(9),
                after_seq: Some(1),
                decisions: Some(false),
                ..AuditFilter::default()
            },
            &["2"],
        ),
        (AuditFilter { until: Some(first + 1000), ..filter.clone() }, &["0"]),
        (
            AuditFilter { outcome: Some("unfinished".into()), ..filter.clone() },
            &["0", "1", "2", "3"],
        ),
        (AuditFilter { outcome: Some("unknown".into()), ..filter.clone() }, &["0", "1", "2", "3"]),
        (AuditFilter { outcome: Some("success".into()), ..filter.clone() }, &[]),
        (AuditFilter { outcome: Some("denied".into()), ..filter.clone() }, &[]),
        (
            AuditFilter { approved_by: Some("Approval".into()), ..filter.clone() },
            &["0", "1", "2", "3"],
        ),
        (AuditFilter { approved_by: Some("rule".into()), ..filter.clone() }, &[]),
        (AuditFilter { room: Some("DAILY".into()), ..filter.clone() }, &["0", "1", "2", "3"]),
        (AuditFilter { room: Some("weekly".into()), ..filter.clone() }, &[]),
        (AuditFilter { account: Some("' OR 1".into()), ..filter.clone() }, &[]),
    ] {
        let rows = store.audit(&filter).expect("the log");
        assert_eq!(ids(&rows), expected, "{filter:?}");
    }
    let last = calls(&store).iter().map(|row| row.seq).max().expect("rows");
    assert_eq!(last_position(&store), last);
    let after = |seq: i64| {
        store.audit(&AuditFilter { after_seq: Some(seq), ..filter.clone() }).expect("the log")
    };
    assert_eq!(after(last), []);
    // A call that ends matches again.
    store.record(None, Some(&outcome("1", "done")), false).expect("recorded");
    let rows = after(last);
    assert_eq!(ids(&rows), ["1"]);
    assert_eq!(after(rows[0].seq), []);
}

#[test]
fn a_row_has_a_maximum_size() {
    let home = Home::new();
    let store = home.store();
    let long = "\u{1}x\"".repeat(60_000);
    let begin = |id: &str| Begin {
        client: Some(long.clone()),
        account: Some(long.clone()),
        function: Some(long.clone()),
        arguments: json!({"room_name": long, "other": [{"x": long}]}),
        ..row(id, "read")
    };
    let end = |id: &str| {
        let mut end = outcome(id, "none");
        end.outcome.message = Some(long.clone());
        end
    };
    store.record(Some(&begin("1")), Some(&end("1")), false).expect("recorded");
    store.record(Some(&begin("2")), None, true).expect("recorded");
    begun(&store, &begin("3"), None, &[], None).expect("begun");
    // An older version left a row that is not cut.
    let record = AuditRecord { begin: Some(begin("4")), end: Some(end("4")) };
    store.shared.spool.append(&record, false).expect("appended");
    let rows = calls(&store);
    assert_eq!(ids(&rows), ["1", "2", "3", "4"]);
    for row in &rows {
        let text = row.to_json().to_string();
        assert!(text.len() <= 4096, "{} bytes: {text}", text.len());
        assert!(text.contains(" bytes, SHA-256 "), "{text}");
    }
    // Rows in the database stay as they are.
    let raw = home.raw();
    raw.execute(
        "INSERT INTO calls (seq, id, time, front_end, arguments, hash)
         VALUES (99, '5', 0, 'mcp', ?1, zeroblob(32))",
        [json!({"x": long}).to_string()],
    )
    .expect("a row");
    assert_eq!(calls(&store)[0].arguments, json!({"x": long}));
}

#[test]
fn rows_of_a_killed_process_are_moved_once() {
    let home = Home::new();
    let dead = home.store();
    dead.record(Some(&row("1", "read")), None, false).expect("recorded");
    dead.record(None, Some(&outcome("1", "none")), false).expect("recorded");
    dead.record(Some(&row("2", "read")), None, false).expect("recorded");
    let folder = home.path().join("spool");
    let path = || {
        let mut entries = std::fs::read_dir(&folder).expect("a folder");
        entries.next().expect("a file").expect("an entry").path()
    };
    // It was killed while it wrote a line.
    let mut file = File::options().append(true).open(path()).expect("a file");
    std::io::Write::write_all(&mut file, b"{\"begin\":{\"id\":\"3\"").expect("written");
    let store = home.store();
    // While it runs, its rows are read and its file stays.
    store.flush().expect("moved");
    assert_eq!(last_position(&store), 0);
    assert_eq!(ids(&calls(&store)), ["1", "2"]);
    assert_eq!(home.spooled(), 1);
    let copy = std::fs::read(path()).expect("a file");
    dead.die();
    assert_eq!(home.spooled(), 1);
    assert_eq!(ids(&calls(&store)), ["1", "2"]);
    assert_eq!(home.spooled(), 0);
    // As if the file had been moved and not deleted.
    let before = calls(&store);
    std::fs::write(folder.join("again.jsonl"), copy).expect("written");
    assert_eq!(calls(&home.store()), before);
    assert_eq!(home.spooled(), 0);
    // Other files stay.
    std::fs::write(folder.join("note.txt"), "").expect("written");
    store.flush().expect("moved");
    assert_eq!(home.spooled(), 1);
}

#[test]
fn many_processes_move_the_rows_of_killed_ones_once() {
    let home = Home::new();
    for index in 0..20 {
        let dead = home.store();
        dead.record(Some(&row(&index.to_string(), "read")), None, false).expect("recorded");
        dead.die();
    }
    let barrier = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = home.patient_store(PATIENCE);
                barrier.wait();
                store.flush().expect("moved");
            });
        }
    });
    assert_eq!(calls(&home.store()).len(), 20);
    assert_eq!(home.spooled(), 0);
}

#[test]
fn rows_that_cannot_be_moved_are_kept_and_moved_later() {
    let home = Home::new();
    let store = home.store();
    std::fs::create_dir_all(home.database()).expect("a directory in the way");
    set_mode(&home.path(), 0o700);
    for index in 0..3 {
        let id = index.to_string();
        store.record(Some(&row(&id, "read")), None, false).expect("recorded");
        assert!(message(store.flush()).contains("is a directory"));
        assert!(store.audit(&AuditFilter::default()).is_err());
    }
    // One file has the first row, which could not be moved, and one has the others.
    assert_eq!(home.spooled(), 2);
    std::fs::remove_dir(home.database()).expect("out of the way");
    assert_eq!(ids(&calls(&store)), ["0", "1", "2"]);
    assert_eq!(home.spooled(), 0);
    store.record(Some(&row("3", "read")), None, false).expect("recorded");
    assert_eq!(calls(&store).len(), 4);
}

#[test]
fn a_store_that_is_dropped_moves_its_rows() {
    let home = Home::new();
    let store = home.store();
    store.record(Some(&row("1", "read")), None, false).expect("recorded");
    drop(store);
    assert_eq!(home.spooled(), 0);
    assert_eq!(home.store().audit_as_it_is(&AuditFilter::default()).expect("the log").len(), 1);
    // Without rows, nothing is created.
    let other = Home::new();
    let store = other.store();
    store.flush().expect("nothing to move");
    assert_eq!(calls(&store), []);
    assert_eq!(store.approvals(true).expect("a list"), []);
    drop(store);
    assert!(!other.path().exists());
}

#[test]
fn rows_are_moved_in_the_background() {
    let home = Home::new();
    let store = Store::new(home.path());
    let reader = home.patient_store(PATIENCE);
    for round in 1..=2 {
        store.record(Some(&row(&round.to_string(), "read")), None, false).expect("recorded");
        while reader.audit_as_it_is(&AuditFilter::default()).expect("the log").len() < round {
            std::thread::yield_now();
        }
    }
    assert!(format!("{store:?}").contains("directory"));
}

#[cfg(feature = "inbox")]
#[test]
fn a_rare_call_is_found_behind_many_others() {
    let home = Home::new();
    let store = home.store();
    for index in 0..1500 {
        let id = index.to_string();
        let end = outcome(&id, if index == 7 { "done" } else { "none" });
        store.record(Some(&row(&id, "read")), Some(&end), false).expect("recorded");
    }
    let filter = AuditFilter { limit: Some(50), ..AuditFilter::default() };
    let has_succeeded = |row: &AuditRow| row.outcome.as_ref().is_some_and(|end| end.success);
    let found = store.audit_newest(&filter, has_succeeded).expect("the log");
    assert_eq!(ids(&found), ["7"]);
    let all = store.audit_newest(&filter, |_| true).expect("the log");
    assert_eq!((all.len(), all[0].id.as_str()), (50, "1499"));
}
