//! What the audit log proves: hashes, archives that are made by themselves, exports, and filters.

use crate::cli::ran;
use crate::wire::daily;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use whereby_tests::{World, set_mode};

const DATABASE: &str = "state/whereby/state.db";

const DAY: i64 = 24 * 60 * 60;

/// A world in which everything is allowed, with this more in the configuration.
async fn world(more: &str) -> World {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(&format!("[permissions]\nwrite = \"allow\"\n{more}"));
    world
}

/// Makes calls: one that writes, and some that read.
async fn calls(world: &World, reads: usize) -> String {
    let created = ran(world, &["call", "create_room", "--json"], 0).await.json();
    for _ in 0..reads {
        ran(world, &["call", "list_rooms", "--arg", "limit=1"], 0).await;
    }
    created["data"]["roomName"].as_str().expect("a name").to_owned()
}

/// Opens the database as somebody who changes it.
fn tamper(world: &World, sql: &str) {
    let database = Connection::open(world.path(DATABASE)).expect("a database");
    for table in ["calls", "outcomes", "archives"] {
        database
            .execute_batch(&format!(
                "DROP TRIGGER {table}_are_not_changed; DROP TRIGGER {table}_are_not_deleted"
            ))
            .expect("dropped");
    }
    database.execute_batch(sql).expect(sql);
}

async fn head(world: &World) -> String {
    ran(world, &["audit", "head"], 0).await.stdout.trim().to_owned()
}

/// Returns the documents of an export.
async fn exported(world: &World, arguments: &[&str]) -> Vec<Value> {
    let export = ran(world, &[&["audit", "export"], arguments].concat(), 0).await;
    assert_eq!(export.stderr, "", "{arguments:?}");
    export.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn positions(rows: &[Value]) -> Vec<i64> {
    rows.iter().map(|row| row["position"].as_i64().expect("a position")).collect()
}

#[tokio::test]
async fn a_changed_log_is_told_from_an_unchanged_one() {
    let world = world("").await;
    calls(&world, 3).await;
    let head = head(&world).await;
    let verified = ran(&world, &["audit", "verify", "--expected-head", &head], 0).await;
    assert_eq!(
        verified.stdout,
        format!("log: rows 1 to 8 are unchanged\nhead: {head}\nexpected head found: row 8\n")
    );
    // A month and a year later, also with more rows.
    for days in [30, 365] {
        world.move_clock(days * DAY);
        calls(&world, 1).await;
        ran(&world, &["audit", "verify", "--expected-head", &head], 0).await;
    }
    tamper(&world, "UPDATE calls SET arguments = '{\"limit\":2}' WHERE seq = 3");
    let verified = ran(&world, &["audit", "verify"], 1).await;
    // That, and what was removed to be able to change it.
    assert!(verified.stdout.starts_with("log: 7 problems in rows 1 to 16\n"), "{verified:?}");
    assert!(verified.stdout.contains("the trigger `calls_are_not_changed`"), "{verified:?}");
    assert!(verified.stdout.contains("problem: row 3 was changed"), "{verified:?}");
    let verified = ran(&world, &["audit", "verify", "--json"], 1).await.json();
    let verified = &verified["verify"];
    assert_eq!(verified["ok"], false);
    let problems = verified["parts"][0]["problems"].as_array().expect("problems");
    let found: Vec<&Value> = problems.iter().filter(|found| !found["position"].is_null()).collect();
    assert_eq!((&found[0]["position"], found[0]["id"].is_string()), (&json!(3), true));
    assert_eq!(found.len(), 1);
    // Whoever takes the end away is found with the head.
    tamper_again(&world, "DELETE FROM calls WHERE seq > 6; DELETE FROM outcomes WHERE seq > 6");
    let verified = ran(&world, &["audit", "verify", "--expected-head", &head], 1).await;
    assert!(verified.stdout.contains("no row has the expected hash"), "{verified:?}");
    let wrong = ran(&world, &["audit", "verify", "--expected-head", "12"], 2).await;
    assert!(wrong.stderr.contains("expected a hash of 64 hexadecimal digits"), "{wrong:?}");
    let missing = ran(&world, &["audit", "verify", "nowhere.db"], 2).await;
    assert!(missing.stderr.contains("there is no such file"), "{missing:?}");
    let foreign = world.write("note.db", "a note");
    let foreign = ran(&world, &["audit", "verify", &foreign.display().to_string()], 2).await;
    assert!(foreign.stderr.contains("is not an archive of the audit log"), "{foreign:?}");
}

fn tamper_again(world: &World, sql: &str) {
    let database = Connection::open(world.path(DATABASE)).expect("a database");
    database.execute_batch(sql).expect(sql);
}

#[tokio::test]
async fn archives_verify_on_their_own_and_in_a_row() {
    let world = world("").await;
    let mut heads = Vec::new();
    let files: Vec<String> =
        ["one.db", "two.db", "three.db"].map(|name| world.path(name).display().to_string()).into();
    for file in &files {
        calls(&world, 2).await;
        heads.push(head(&world).await);
        ran(&world, &["audit", "archive", file], 0).await;
    }
    calls(&world, 1).await;
    for (file, head) in files.iter().zip(&heads) {
        let verified = ran(&world, &["audit", "verify", file, "--expected-head", head], 0).await;
        assert!(verified.stdout.contains(&format!("head: {head}\n")), "{verified:?}");
    }
    let arguments: Vec<&str> =
        ["audit", "verify"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let verified = ran(&world, &[&arguments[..], &["--json"]].concat(), 0).await.json();
    let known: Vec<&Value> = verified["verify"]["parts"]
        .as_array()
        .expect("parts")
        .iter()
        .map(|part| &part["confirmed"])
        .collect();
    assert_eq!(known, [&json!(true), &json!(true), &json!(true), &Value::Null]);
    // One is missing, or they are in another order.
    for (wrong, said) in [
        (&[&files[0], &files[2]][..], "it doesn't continue"),
        (&[&files[1], &files[0]], "it doesn't continue"),
    ] {
        let wrong: Vec<&str> = wrong.iter().map(|file| file.as_str()).collect();
        let verified = ran(&world, &[&["audit", "verify"], &wrong[..]].concat(), 1).await;
        assert!(verified.stdout.contains(said), "{verified:?}");
    }
    // One alone is confirmed by the log, which has a row about each.
    for file in &files {
        ran(&world, &["audit", "verify", file], 0).await;
    }
    // Another log's archive in place of it, although it verifies on its own.
    let other = self::world("").await;
    calls(&other, 2).await;
    let forged = other.path("forged.db").display().to_string();
    ran(&other, &["audit", "archive", &forged], 0).await;
    ran(&other, &["audit", "verify", &forged], 0).await;
    let verified = ran(&world, &["audit", "verify", &forged, &files[1]], 1).await;
    for said in ["it is not the file that was archived", "it doesn't continue"] {
        assert!(verified.stdout.contains(said), "{verified:?}");
    }
    // Cut at its start or its end, which keeps the chain of what is left.
    for (name, sql, said) in [
        (
            "end.db",
            "DELETE FROM outcomes WHERE seq >= 5; DELETE FROM calls WHERE seq >= 5",
            "no archive of this log ended with row 4",
        ),
        (
            "start.db",
            "UPDATE log_start SET through = 2, head = (SELECT hash FROM outcomes WHERE seq = 2);
            DELETE FROM outcomes WHERE seq <= 2; DELETE FROM calls WHERE seq <= 2",
            "rows up to 2 are missing",
        ),
    ] {
        let cut = world.path(name);
        std::fs::copy(&files[0], &cut).expect("copied");
        let database = Connection::open(&cut).expect("a database");
        for table in ["calls", "outcomes"] {
            let sql = format!("DROP TRIGGER {table}_are_not_deleted");
            database.execute_batch(&sql).expect("dropped");
        }
        database.execute_batch(sql).expect(sql);
        let cut = cut.display().to_string();
        let verified = ran(&world, &["audit", "verify", &cut], 1).await;
        assert!(verified.stdout.contains(said), "{verified:?}");
    }
    // Without the log, nothing confirms the end of an archive, and that is said.
    let nowhere = World::with_rooms(Vec::new()).await;
    let verified = ran(&nowhere, &["audit", "verify", &files[0]], 0).await;
    assert!(verified.stdout.contains("not confirmed: there is no log here"), "{verified:?}");
    // The second one begins with the row about the first.
    ran(&nowhere, &["audit", "verify", &files[0], &files[1]], 0).await;
    let verified = ran(&nowhere, &["audit", "verify"], 3).await;
    assert!(verified.stderr.contains("there is no audit log in"), "{verified:?}");
    // The log goes on, and says where the rest is.
    let verified = ran(&world, &["audit", "verify"], 0).await;
    assert!(verified.stdout.contains("were archived and are not checked"), "{verified:?}");
    let listed = ran(&world, &["audit"], 0).await;
    assert!(listed.stdout.contains("three.db; --file shows an archive"), "{listed:?}");
    let listed = ran(&world, &["audit", "--file", &files[0], "--json"], 0).await.json();
    assert_eq!(listed["audit"].as_array().expect("rows").len(), 3);
}

#[tokio::test]
async fn old_calls_are_archived_by_themselves() {
    let world = world("[audit]\nkeep = \"30d\"\n").await;
    calls(&world, 3).await;
    let first = head(&world).await;
    let folder = world.path("state/whereby/archives");
    // A day more than that, so that there is one file a day.
    world.move_clock(31 * DAY - 60);
    ran(&world, &["call", "list_rooms"], 0).await;
    assert!(!folder.exists());
    world.move_clock(120);
    ran(&world, &["call", "list_rooms"], 0).await;
    let files = |folder: &Path| -> BTreeSet<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let archives = files(&folder);
    let named: Vec<String> = archives.iter().map(|file| file.display().to_string()).collect();
    assert!(named.len() == 1 && named[0].contains("/audit-8-"), "{named:?}");
    let file = archives.first().expect("a file").display().to_string();
    ran(&world, &["audit", "verify", &file, "--expected-head", &first], 0).await;
    ran(&world, &["audit", "verify"], 0).await;
    let left = ran(&world, &["audit", "--json"], 0).await.json();
    assert_eq!(left["audit"].as_array().expect("rows").len(), 2);
    // A year later, with calls in between.
    for _ in 0..3 {
        calls(&world, 1).await;
        world.move_clock(120 * DAY);
    }
    ran(&world, &["call", "list_rooms"], 0).await;
    let archives: Vec<String> =
        files(&folder).iter().map(|file| file.display().to_string()).collect();
    assert_eq!(archives.len(), 4, "{archives:?}");
    let mut in_order = archives.clone();
    in_order.sort_by_key(|file| file.len());
    let arguments: Vec<&str> =
        ["audit", "verify"].into_iter().chain(in_order.iter().map(String::as_str)).collect();
    ran(&world, &arguments, 0).await;
    // Exported and imported, they are all calls that there were.
    let mut ids = BTreeSet::new();
    for file in &in_order {
        ids.extend(
            exported(&world, &["--file", file]).await.iter().map(|row| row["id"].to_string()),
        );
    }
    let export = ran(&world, &["audit", "export"], 0).await;
    assert!(export.stderr.contains("the export starts after row"), "{export:?}");
    ids.extend(
        export
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].to_string()),
    );
    assert_eq!(ids.len(), 4 + 2 + 3 * 2 + 1);
}

#[tokio::test]
async fn what_cannot_be_archived_stays_and_is_told() {
    let world = world("[audit]\nkeep = \"1d\"\n").await;
    calls(&world, 1).await;
    world.write("state/whereby/archives", "in the way");
    world.move_clock(3 * DAY);
    let call = ran(&world, &["call", "list_rooms"], 0).await;
    assert!(call.stderr.contains("audit.keep: the log was not archived"), "{call:?}");
    assert_eq!(exported(&world, &[]).await.len(), 3);
    for keep in ["\"0d\"", "\"d\"", "\"1 month\"", "30", "\"-5d\"", "\"99999d\""] {
        world.configure(&format!("[audit]\nkeep = {keep}\n"));
        let ran = ran(&world, &["call", "list_rooms"], 3).await;
        assert!(ran.stderr.contains("audit.keep"), "{ran:?}");
    }
}

#[tokio::test]
async fn an_export_is_complete_and_goes_on_where_it_ended() {
    let world = world("").await;
    calls(&world, 4).await;
    let all = exported(&world, &[]).await;
    assert_eq!(positions(&all), [2, 4, 6, 8, 10]);
    for (index, row) in all.iter().enumerate() {
        let position = row["position"].to_string();
        let id = row["id"].as_str().expect("an id");
        for after in [position.as_str(), id] {
            let rest = exported(&world, &["--after", after]).await;
            assert_eq!(rest, all[index + 1..], "{after}");
        }
    }
    calls(&world, 2).await;
    let more = exported(&world, &["--after", "10"]).await;
    assert_eq!(positions(&more), [12, 14, 16]);
    for after in ["99", "x", "-1", "0123"] {
        let refused = ran(&world, &["audit", "export", &format!("--after={after}")], 2).await;
        assert!(refused.stderr.contains("--after"), "{refused:?}");
    }
    let unknown = "0".repeat(32);
    let refused = ran(&world, &["audit", "export", "--after", &unknown], 2).await;
    assert!(refused.stderr.contains("has no such call"), "{refused:?}");
    // Rows that were archived meanwhile are not left out without a word.
    let file = world.path("calls.db").display().to_string();
    ran(&world, &["audit", "archive", &file], 0).await;
    calls(&world, 0).await;
    let refused = ran(&world, &["audit", "export", "--after", "12"], 2).await;
    assert!(refused.stderr.contains("rows after 12 are not in the log"), "{refused:?}");
    assert!(
        refused.stderr.contains(&format!("whereby audit export --file '{file}'")),
        "{refused:?}"
    );
    assert_eq!(positions(&exported(&world, &["--after", "12", "--file", &file]).await), [14, 16]);
    // Decisions and the archive itself have positions too.
    assert_eq!(positions(&exported(&world, &["--after", "16"]).await), [19]);
}

#[tokio::test]
async fn log_records_have_the_names_of_opentelemetry() {
    let world = world("").await;
    let room = calls(&world, 1).await;
    ran(&world, &["call", "delete_room", "--arg", "room_name=nowhere"], 6).await;
    ran(&world, &["freeze", "--reason", "look"], 0).await;
    let logs = exported(&world, &["--format", "otlp"]).await;
    assert_eq!(logs.len(), 1);
    let records = &logs[0]["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    let records = records.as_array().expect("records");
    let attribute = |record: &Value, key: &str| -> Value {
        let attributes = record["attributes"].as_array().expect("attributes");
        let found = attributes.iter().find(|attribute| attribute["key"] == key);
        found.map_or(Value::Null, |found| found["value"].clone())
    };
    let names: Vec<&Value> = records.iter().map(|record| &record["eventName"]).collect();
    assert_eq!(names, ["whereby.call", "whereby.call", "whereby.call", "whereby.decision"]);
    let text = |text: &str| json!({"stringValue": text});
    let created = &records[0];
    assert_eq!(attribute(created, "gen_ai.operation.name"), text("execute_tool"));
    assert_eq!(attribute(created, "gen_ai.tool.name"), text("create_room"));
    assert_eq!(attribute(created, "whereby.room.name"), text(&room));
    assert_eq!(attribute(created, "whereby.audit.position"), json!({"intValue": "2"}));
    assert_eq!(attribute(created, "error.type"), Value::Null);
    assert_eq!(attribute(&records[2], "error.type"), text("not-found"));
    assert_eq!(records[2]["severityText"], "WARN");
    assert_eq!(attribute(&records[3], "whereby.decision"), text("freeze"));
    assert!(attribute(&records[3], "user.name")["stringValue"].is_string());
}

#[tokio::test]
async fn the_newest_hash_is_taken_elsewhere() {
    let more = "[audit]\nhead_file = \"heads.jsonl\"\nhead_command = [\"COMMAND\", \"x\"]\nhead_rows = 3\n";
    let world = World::with_rooms(vec![daily()]).await;
    let home = world.path("");
    let script = format!("cd '{}'\ncat >> told; echo >> told", home.display());
    let command = world.write_script("take", &script);
    let toml = format!("[permissions]\nwrite = \"allow\"\n{more}")
        .replace("COMMAND", &command.display().to_string());
    let config = world.configure(&toml);
    let file = config.with_file_name("heads.jsonl");
    let documents = |file: &Path| -> Vec<Value> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    // The first row, because none was taken for long; then after three.
    for _ in 0..4 {
        ran(&world, &["call", "create_room"], 0).await;
    }
    let taken = documents(&file);
    assert_eq!(positions(&taken), [2, 6]);
    assert_eq!(documents(&world.path("told")), taken);
    // Ten minutes later, one row is enough.
    world.move_clock(11 * 60);
    ran(&world, &["call", "list_rooms"], 0).await;
    ran(&world, &["call", "list_rooms"], 0).await;
    assert_eq!(documents(&file).len(), 3);
    for document in documents(&file) {
        let hash = document["hash"].as_str().expect("a hash");
        ran(&world, &["audit", "verify", "--expected-head", hash], 0).await;
    }
    // A failure is a warning, and is tried again.
    world.configure(&toml.replace("heads.jsonl", "no/heads.jsonl"));
    world.move_clock(11 * 60);
    let call = ran(&world, &["call", "create_room"], 0).await;
    assert!(call.stderr.contains("audit.head_file: the newest hash was not added to"), "{call:?}");
    world.configure(&toml);
    world.move_clock(61);
    ran(&world, &["call", "create_room"], 0).await;
    assert_eq!(documents(&file).len(), 4);
    // A clock that went back does not end it.
    world.move_clock(-2 * DAY);
    ran(&world, &["call", "list_rooms"], 0).await;
    ran(&world, &["call", "list_rooms"], 0).await;
    assert_eq!(documents(&file).len(), 5);
}

#[tokio::test]
async fn a_project_cannot_have_commands_run_or_the_log_archived() {
    let world = world("").await;
    for table in ["head_command = [\"/bin/true\"]", "head_file = \"x\"", "keep = \"1d\""] {
        world.write(".whereby.toml", &format!("[audit]\n{table}\n"));
        let refused = ran(&world, &["call", "list_rooms"], 3).await;
        assert!(refused.stderr.contains("`audit` is not allowed here"), "{refused:?}");
    }
    world.assert_untouched();
}

#[tokio::test]
async fn rows_are_found_by_what_came_of_them() {
    let world = world("[permissions.functions]\ndelete_room = \"ask\"\n").await;
    let room = calls(&world, 1).await;
    let room = room.as_str();
    let arguments = ["call", "delete_room", "--arg", &format!("room_name={room}")];
    let asked = ran(&world, &[&arguments[..], &["--json"]].concat(), 5).await.json();
    let id = asked["meta"]["approval_id"].as_str().expect("an id").to_owned();
    ran(&world, &["approvals", "approve", &id], 0).await;
    ran(&world, &arguments, 0).await;
    let who = world.decisions()[0].decision.as_ref().expect("a decision").user.clone();
    let found = async |arguments: &[&str]| -> Vec<String> {
        let listed = ran(&world, &[&["audit", "--json"], arguments].concat(), 0).await.json();
        let rows = listed["audit"].as_array().expect("rows");
        rows.iter()
            .map(|row| match row["decision"]["what"].as_str() {
                Some(what) => what.to_owned(),
                None => row["outcome"]["kind"].as_str().unwrap_or("success").to_owned(),
            })
            .collect()
    };
    for (arguments, expected) in [
        (&["--outcome", "success"][..], &["success"; 3][..]),
        (&["--outcome", "failed"], &["approval-required"]),
        (&["--outcome", "approval-required"], &["approval-required"]),
        (&["--outcome", "unfinished"], &[]),
        (&["--outcome", "unknown"], &[]),
        (&["--room", room], &["success", "approval-required", "success"]),
        (&["--room", "elsewhere"], &[]),
        (&["--approved-by", "rule"], &["success", "success"]),
        (&["--approved-by", &who], &["success", "approve"]),
        (&["--approved-by", "terminal"], &["success", "approve"]),
        (&["--approved-by", "passkey"], &[]),
        (&["--until", "1h"], &[]),
        (
            &["--since", "1h", "--until", "2999-01-01"],
            &["success", "success", "approval-required", "approve", "success"],
        ),
    ] {
        let mut found = found(arguments).await;
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{arguments:?}");
    }
    let refused = ran(&world, &["audit", "--outcome", "deneid"], 2).await;
    assert!(refused.stderr.contains("did you mean `denied`?"), "{refused:?}");
}

/// The state directory that the release before wrote: its database has version 3.
async fn before() -> World {
    let world = World::with_rooms(vec![daily()]).await;
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/state/version-3");
    std::fs::create_dir_all(world.path("state/whereby")).expect("a folder");
    set_mode(&world.path("state/whereby"), 0o700);
    for (name, to) in [("state.db", DATABASE), ("archive.db", "archive.db")] {
        std::fs::copy(from.join(name), world.path(to)).expect("copied");
        set_mode(&world.path(to), 0o600);
    }
    world
}

#[tokio::test]
async fn the_rows_of_the_release_before_are_kept_and_have_hashes_from_then_on() {
    for days in [0, 30, 365] {
        let world = before().await;
        world.move_clock(days * DAY);
        let rows = ran(&world, &["audit", "--json"], 0).await.json();
        let functions: Vec<&Value> =
            rows["audit"].as_array().expect("rows").iter().map(|row| &row["function"]).collect();
        assert_eq!(functions, ["create_room", "list_rooms", "create_room"]);
        let head = head(&world).await;
        ran(&world, &["audit", "verify"], 0).await;
        ran(&world, &["call", "list_rooms"], 0).await;
        ran(&world, &["audit", "verify", "--expected-head", &head], 0).await;
        tamper(&world, "UPDATE calls SET account = 'other' WHERE seq = 7");
        let verified = ran(&world, &["audit", "verify"], 1).await;
        assert!(verified.stdout.contains("row 7 was changed"), "{verified:?}");
        // Its archives have no hashes, and can be listed as before.
        let archive = world.path("archive.db").display().to_string();
        let refused = ran(&world, &["audit", "verify", &archive], 2).await;
        assert!(refused.stderr.contains("was made by an older version"), "{refused:?}");
    }
}
