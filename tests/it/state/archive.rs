//! `whereby audit archive`, and the database as one file.

use super::{DATABASE, DIRECTORY, approvals, audit, document, ran, stored};
use rusqlite::Connection;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use whereby::simulator::RoomSeed;
use whereby_tests::{World, run, set_mode};

async fn world() -> World {
    World::with_rooms(vec![RoomSeed::named("daily")]).await
}

/// What is in the state directory.
fn files(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.path(DIRECTORY)).expect("a folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("an entry").file_name().into_string().expect("UTF-8")
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// The calls that a database has, by its own word.
fn functions(database: &Path) -> Vec<String> {
    let database = Connection::open(database).expect("a database");
    let mut rows = database.prepare("SELECT function FROM calls ORDER BY seq").expect("SQL");
    let rows = rows.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<Result<_, _>>().expect("texts")
}

/// The rows that `whereby audit` shows of a file that is put in the place of the database.
async fn audit_of(world: &World, file: &Path) -> Vec<Value> {
    let folder = world.path("other-state/whereby");
    std::fs::create_dir_all(&folder).expect("a folder");
    set_mode(&folder, 0o700);
    std::fs::copy(file, folder.join("state.db")).expect("copied");
    let mut environment = world.environment();
    let state = world.path("other-state").display().to_string();
    environment.variables.insert("XDG_STATE_HOME".into(), state);
    let ran = run(&["audit", "--json"], environment, "", false).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()["audit"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn the_database_is_one_file_while_nothing_runs() {
    let world = world().await;
    for _ in 0..3 {
        ran(&world, &["call", "create_room", "--force"], 0).await;
        assert_eq!(files(&world), ["spool", "state.db"]);
        ran(&world, &["call", "list_rooms"], 0).await;
        assert_eq!(files(&world), ["spool", "state.db"]);
    }
    // A copy is whole.
    assert_eq!(audit_of(&world, &world.path(DATABASE)).await, audit(&world, &[]).await);
    // So is the file by another name, and a new log begins without it.
    let old = world.path("old.db");
    std::fs::rename(world.path(DATABASE), &old).expect("moved");
    ran(&world, &["call", "list_rooms"], 0).await;
    let expected = ["create_room", "list_rooms"].repeat(3);
    assert_eq!(functions(&old), expected);
    assert_eq!(audit(&world, &[]).await.len(), 1);
}

#[tokio::test]
async fn an_archive_is_a_log_of_its_own() {
    let world = world().await;
    let room = document(&world, &["call", "create_room", "--force"]).await;
    ran(&world, &["call", "list_rooms"], 0).await;
    let pending = stored(&world, &["delete_room", "--arg", "room_name=daily"]).await;
    let before = audit(&world, &[]).await;
    // A program that goes on has a call in its spool.
    let session = world.session();
    assert!(session.call(None, "list_rooms", serde_json::json!({})).await.result.is_ok());

    let printed = ran(&world, &["audit", "archive", "first.db"], 0).await.stdout;
    assert_eq!(printed, "archived 4 calls in first.db; the audit log is now empty\n");
    let first = world.path("project/first.db");
    let mode = std::fs::metadata(&first).expect("an archive").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(audit(&world, &[]).await, [] as [Value; 0]);
    let archived = audit_of(&world, &first).await;
    assert_eq!(archived.len(), 4);
    assert_eq!(archived[..3], before);
    assert_eq!(archived[0]["outcome"]["room_name"], room["data"]["roomName"]);
    // The program moves its rows, and none comes twice.
    drop(session);
    assert_eq!(audit(&world, &[]).await, [] as [Value; 0]);

    // What waits for approval still does, and is used once.
    assert_eq!(approvals(&world, &[]).await, [(pending.clone(), "pending".into())]);
    ran(&world, &["approvals", "approve", &pending], 0).await;
    ran(&world, &["call", "delete_room", "--arg", "room_name=daily"], 0).await;
    ran(&world, &["call", "delete_room", "--arg", "room_name=daily"], 5).await;

    let again = ran(&world, &["audit", "archive", "first.db"], 2).await;
    assert!(again.stderr.contains("already exists; name a new file"), "{again:?}");
    assert_eq!(audit_of(&world, &first).await, archived);
    assert_eq!(audit(&world, &[]).await.len(), 3);
    let second = document(&world, &["audit", "archive", "second.db"]).await;
    assert_eq!(second.to_string(), r#"{"archive":{"file":"second.db","calls":2}}"#);
    let functions = functions(&world.path("project/second.db"));
    // Two calls, and what a person decided before.
    assert_eq!(functions, ["delete_room", "delete_room", "delete_room"]);
    assert_eq!(files(&world), ["spool", "state.db"]);
}

#[tokio::test]
async fn what_cannot_be_archived_is_said_and_nothing_is_removed() {
    let world = world().await;
    ran(&world, &["call", "list_rooms"], 0).await;
    for (arguments, words) in [
        (&["nowhere/archive.db"][..], "its folder does not exist; create it first"),
        (&["archive.db", "--account", "work"], "omit it"),
        (&["../project"], "already exists"),
        (&[], "required"),
    ] {
        let refused = ran(&world, &[&["audit", "archive"], arguments].concat(), 2).await;
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    ran(&world, &["audit", "--limit", "1", "archive", "archive.db"], 2).await;
    assert!(!world.path("project/archive.db").exists());
    assert_eq!(std::fs::read_dir(world.path("project")).expect("a folder").count(), 0);
    assert_eq!(audit(&world, &[]).await.len(), 1);
}
