//! A state directory that version 1 of the database wrote, opened by this program.
//!
//! `version-1` was written by the program itself, by a clock that said 2 March 2026: approvals in
//! every state, calls with and without an end, and a spool file of a program that was killed.

use super::{DATABASE, DIRECTORY, approvals, audit, document, ran, stored, tool};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime};
use whereby::simulator::{ParticipantSeed, RoomSeed, SessionSeed};
use whereby_tests::{World, set_mode};

/// The version that this program writes.
const LATEST: i64 = 6;

/// 2026-03-02T11:06:00Z, a minute after the last of it.
const THEN: u64 = 1_772_449_560;

const PENDING: &str = "197a7fb2f9add477e2a0c21d2b834d30";
const APPROVED: &str = "02387110e5558dfa5b0379f804e57640";
const APPROVALS: [(&str, &str); 5] = [
    ("fb768e1e7da9cd595b3d70646874b790", "expired"),
    ("7b319d3421d0d5e10166bc521bb71e33", "used"),
    ("44225cc72b90db1f892fea4062486edf", "denied"),
    (PENDING, "pending"),
    (APPROVED, "approved"),
];

/// A user who has that directory, at that time.
async fn world() -> World {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/state/version-1");
    let to = world.path(DIRECTORY);
    for folder in ["", "spool"] {
        std::fs::create_dir_all(to.join(folder)).expect("a folder");
        set_mode(&to.join(folder), 0o700);
    }
    for file in ["state.db", "spool/left-behind.jsonl"] {
        std::fs::copy(from.join(file), to.join(file)).expect("copied");
        set_mode(&to.join(file), 0o600);
    }
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    world.move_clock(-i64::try_from(now - THEN).expect("a few years"));
    world
}

/// What must be the same before and after.
fn kept(world: &World) -> (Vec<u8>, Vec<String>, Vec<String>) {
    let database = Connection::open(world.path(DATABASE)).expect("a database");
    let key = "SELECT hmac_key FROM installation";
    let key = database.query_row(key, [], |row| row.get(0)).expect("a key");
    let texts = |sql: &str| -> Vec<String> {
        let mut rows = database.prepare(sql).expect("SQL");
        let rows = rows.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("texts")
    };
    let calls = texts(
        "SELECT concat_ws('|', seq, id, time, front_end, client, account, api, function, arguments,
            effect, permission, rule, approved_by, approval) FROM calls WHERE seq <= 22
         UNION ALL SELECT concat_ws('|', seq, call_id, time, success, kind, message, effect, requests,
            duration_ms) FROM outcomes WHERE seq <= 22",
    );
    let approvals = texts(
        "SELECT concat_ws('|', seq, id, hex(digest), account, api, function, arguments, rule,
            front_end, client, created_at, expires_at) FROM approvals WHERE seq <= 5",
    );
    (key, calls, approvals)
}

pub(super) fn version(world: &World) -> i64 {
    let database = Connection::open(world.path(DATABASE)).expect("a database");
    let check: String =
        database.pragma_query_value(None, "integrity_check", |row| row.get(0)).expect("checked");
    assert_eq!(check, "ok");
    database.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
}

#[tokio::test]
async fn whatever_opens_it_first_upgrades_it_and_loses_nothing() {
    let original = world().await;
    assert_eq!(version(&original), 1);
    let before = kept(&original);
    assert_eq!((before.1.len(), before.2.len()), (22, 5));
    let script = "return #app.integrations.whereby.list_rooms({}).data";
    for command in [
        &["audit"][..],
        &["audit", "--limit", "3", "--since", "2026-03-01"],
        &["approvals", "list"],
        &["approvals", "show", PENDING],
        &["approvals", "approve", PENDING],
        &["approvals", "deny", APPROVED],
        &["call", "list_rooms"],
        &["call", "create_room", "{\"end_date\": \"2999-01-01T00:00:00Z\"}", "--force"],
        &["lua", "-e", script],
        &["doctor"],
    ] {
        let world = world().await;
        ran(&world, command, 0).await;
        assert_eq!(version(&world), LATEST, "{command:?}");
        assert_eq!(kept(&world), before, "{command:?}");
    }
    let world = world().await;
    let result = tool(&world, "whereby_list_rooms", json!({})).await;
    assert_ne!(result["isError"], true, "{result}");
    assert_eq!((version(&world), kept(&world)), (LATEST, before));
}

#[tokio::test]
async fn its_rows_and_its_approvals_are_as_they_were() {
    let world = world().await;
    let rows = audit(&world, &[]).await;
    assert_eq!(rows.len(), 13);
    let row = |function: &str, arguments: Value| {
        let found = rows.iter().find(|row| {
            row["function"] == function
                && row["arguments"] == arguments
                && row["outcome"]["kind"] != "approval-required"
        });
        found.unwrap_or_else(|| panic!("no {function} {arguments}: {rows:?}"))
    };
    let created = row("create_room", json!({"room_name_prefix": "planning-"}));
    assert_eq!(created["time"], "2026-03-02T09:00:00.011Z");
    assert_eq!(created["approved_by"], "force");
    assert_eq!(created["outcome"]["effect"], "done");
    assert_eq!(created["outcome"]["room_name"], Value::Null, "it was not kept then");
    let used = row("create_room", json!({"room_name_prefix": "used-"}));
    assert_eq!(used["approval_id"], APPROVALS[1].0);
    let cut_off = row("create_room", json!({"room_name_prefix": "cut-off-"}));
    assert_eq!(cut_off["outcome"], Value::Null);
    // From the spool.
    let left = row("get_room", json!({"room_name": "left-behind"}));
    assert_eq!(left["outcome"], Value::Null);
    let all = APPROVALS.map(|(id, state)| (id.to_owned(), state.to_owned()));
    assert_eq!(approvals(&world, &["--all"]).await, all);
    assert_eq!(approvals(&world, &[]).await, all[3..]);

    // They go on from there.
    ran(&world, &["approvals", "approve", PENDING], 0).await;
    ran(&world, &["approvals", "deny", APPROVED], 0).await;
    ran(&world, &["approvals", "approve", APPROVALS[1].0], 2).await;
    let archived = document(&world, &["audit", "archive", "old.db"]).await;
    assert_eq!(archived["archive"]["calls"], 13);
    // The killed calls are of this day, and might still end.
    assert_eq!(audit(&world, &[]).await.len(), 3);
    world.assert_untouched();

    world.move_clock(31 * 86_400);
    let id = stored(&world, &["delete_room", "--arg", "room_name=daily"]).await;
    assert_eq!(approvals(&world, &["--all"]).await, [(id, "pending".to_owned())]);
    document(&world, &["audit", "archive", "dead.db"]).await;
    assert_eq!(audit(&world, &[]).await, [] as [Value; 0]);
}

#[tokio::test]
async fn its_key_makes_the_pseudonyms_of_people() {
    let configuration = "[privacy]\nparticipants = \"pseudonyms\"\n";
    let mut seen = Vec::new();
    for _ in 0..2 {
        let world = world().await;
        world.configure(configuration);
        let person = ParticipantSeed::named("Ines Falk").external_id("crm-118");
        let session = SessionSeed::began(Duration::from_hours(2))
            .participant(person)
            .participant(ParticipantSeed::named("Tomasz Wren"));
        let session = world.simulator.add_session(0, "daily", &session).expect("a session");
        let argument = format!("meeting_id=daily:{session}");
        for _ in 0..2 {
            let read = document(&world, &["call", "get_meeting", "--arg", &argument]).await;
            seen.push(read["data"]["participants"][0]["name"].clone());
            // A month later.
            world.move_clock(31 * 86_400);
        }
    }
    assert_eq!(seen, ["Participant a35974"; 4]);
}

#[tokio::test]
async fn rows_that_only_its_write_ahead_log_has_are_taken_along() {
    let world = world().await;
    // As that version left its database behind.
    let database = Connection::open(world.path(DATABASE)).expect("a database");
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).expect("set");
    let sql = "INSERT INTO calls (seq, id, time, front_end, arguments)
        VALUES (23, 'in the log', 1772449500000, 'cli', '{}')";
    database.execute(sql, []).expect("a row");
    drop(database);
    let log = world.path("state/whereby/state.db-wal");
    assert!(std::fs::metadata(&log).is_ok_and(|log| log.len() > 0));
    let rows = audit(&world, &[]).await;
    assert_eq!(rows.len(), 14);
    assert!(rows.iter().any(|row| row["id"] == "in the log"));
    assert!(!log.exists());
    assert_eq!(version(&world), LATEST);
}

#[tokio::test]
async fn programs_that_open_it_at_the_same_time_upgrade_it_once() {
    let world = world().await;
    let stores: Vec<_> = (0..4).map(|_| world.store()).collect();
    let rows = std::thread::scope(|scope| {
        let threads: Vec<_> = stores
            .iter()
            .map(|store| scope.spawn(|| store.audit(&whereby::AuditFilter::default())))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    for rows in rows {
        assert_eq!(rows.expect("the log").len(), 13);
    }
    drop(stores);
    assert_eq!(version(&world), LATEST);
}

/// Takes from a database everything that version 6 added.
pub(super) fn as_version_5(world: &World) {
    let database = Connection::open(world.path(DATABASE)).expect("a database");
    for table in ["calls", "outcomes", "archives"] {
        database
            .execute_batch(&format!(
                "DROP TRIGGER {table}_have_a_hash;
                 DROP TRIGGER {table}_are_not_changed;
                 DROP TRIGGER {table}_are_not_deleted;
                 CREATE TRIGGER {table}_are_not_changed BEFORE UPDATE ON {table}
                 BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
                 CREATE TRIGGER {table}_are_not_deleted BEFORE DELETE ON {table}
                 BEGIN SELECT RAISE(ABORT, 'the log is only added to'); END;
                 ALTER TABLE {table} DROP COLUMN hash;"
            ))
            .expect("an older schema");
    }
    database
        .execute_batch(
            "ALTER TABLE archives DROP COLUMN through;
             ALTER TABLE archives DROP COLUMN head;
             ALTER TABLE archives DROP COLUMN carried;
             ALTER TABLE archives DROP COLUMN file;
             DROP TABLE log_start;
             DROP TABLE anchor;
             PRAGMA user_version = 5;",
        )
        .expect("an older schema");
}

/// Takes from a database everything that versions 5 and 6 added.
fn as_version_4(world: &World) {
    as_version_5(world);
    Connection::open(world.path(DATABASE))
        .expect("a database")
        .execute_batch(
            "DROP TRIGGER approvals_go_forward;
             DROP TRIGGER approvals_keep_their_call;
             DROP TRIGGER approvals_keep_what_they_are_for;
             DROP TRIGGER approvals_keep_their_need;
             CREATE TRIGGER approvals_go_forward BEFORE UPDATE ON approvals WHEN FALSE
             BEGIN SELECT 1; END;
             ALTER TABLE approvals DROP COLUMN call;
             ALTER TABLE approvals DROP COLUMN run_at;
             ALTER TABLE approvals DROP COLUMN ends_by;
             ALTER TABLE approvals DROP COLUMN withdrawn_at;
             ALTER TABLE approvals DROP COLUMN collected_at;
             ALTER TABLE approvals DROP COLUMN key_digest;
             ALTER TABLE approvals DROP COLUMN component;
             ALTER TABLE approvals DROP COLUMN has_destination;
             ALTER TABLE approvals DROP COLUMN passkey;
             ALTER TABLE approvals DROP COLUMN needs_passkey;
             DROP TABLE passkeys;
             DROP TABLE passkey_code;
             DROP TABLE page_links;
             ALTER TABLE calls DROP COLUMN trace;
             ALTER TABLE calls DROP COLUMN decision;
             DROP TABLE results;
             DROP TABLE standing_approvals;
             PRAGMA user_version = 4;",
        )
        .expect("an older schema");
}

#[tokio::test]
async fn approvals_of_version_4_are_for_one_call_each() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let room = |prefix: &str| format!("{{\"room_name_prefix\": \"{prefix}\"}}");
    let mut ids = Vec::new();
    for prefix in ["approved-", "pending-", "more-", "server-"] {
        ids.push(stored(&world, &["create_room", &room(prefix)]).await);
    }
    ran(&world, &["approvals", "approve", &ids[0]], 0).await;
    let token = ran(&world, &["token", "create", "--read-only"], 0).await.stdout;
    ran(&world, &["call", "create_room", &room("made-"), "--force"], 0).await;
    as_version_4(&world);
    assert_eq!(version(&world), 4);

    // What was approved before is used by repeating the call, and so is what is approved now.
    ran(&world, &["call", "create_room", &room("approved-")], 0).await;
    assert_eq!(version(&world), LATEST);
    ran(&world, &["approvals", "approve", &ids[1]], 0).await;
    ran(&world, &["call", "create_room", &room("pending-")], 0).await;
    ran(&world, &["call", "create_room", &room("pending-")], 5).await;
    let more = ["--uses", "3", "--rooms", "more-*"];
    let refused = ran(&world, &[&["approvals", "approve", &ids[2]], &more[..]].concat(), 2).await;
    // Nobody knows whether such a call has a destination, and this version says so.
    let again = ["--uses", "3", "--destructive"];
    let again = ran(&world, &[&["approvals", "approve", &ids[2]], &again[..]].concat(), 2).await;
    for refused in [&refused, &again] {
        assert!(refused.stderr.contains("earlier version"), "{refused:?}");
    }
    ran(&world, &["approvals", "approve", &ids[2]], 0).await;
    ran(&world, &["call", "create_room", &room("more-")], 0).await;
    // A server that is asked for a call of before makes it once a person has approved it.
    let arguments = json!({"room_name_prefix": "server-"});
    let asked = tool(&world, "whereby_create_room", arguments.clone()).await;
    assert_eq!(asked["_meta"]["whereby/error"]["approval_id"], ids[3], "{asked}");
    ran(&world, &["approvals", "approve", &ids[3]], 0).await;
    let made = tool(&world, "whereby_create_room", arguments).await;
    assert_ne!(made["isError"], true, "{made}");
    let posts = world.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(posts, 5);
    assert_eq!(audit(&world, &["--function", "list_rooms"]).await.len(), 0);
    let listed = ran(&world, &["token", "list", "--json"], 0).await.json();
    assert_eq!(listed["tokens"].as_array().map(Vec::len), Some(1), "{token}");
}
