//! The state directory as it may be found: what is told of it, and what goes on all the same.

use super::{assert_call_document, still_world};
use rusqlite::Connection;
use whereby_tests::{World, set_mode};

const DIRECTORY: &str = "state/whereby";
const DATABASE: &str = "state/whereby/state.db";

/// A world whose state directory is in use, and everything in it in one file.
async fn used_world() -> World {
    let (world, _) = still_world().await;
    assert_eq!(world.run(&["call", "create_room", "--force"]).await.code, 0);
    let database = Connection::open(world.path(DATABASE)).expect("a database");
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("moved");
    world
}

#[tokio::test]
async fn an_unusable_directory_is_reported_by_each_command_that_needs_it() {
    type Spoil = fn(&World);
    let cases: [(&str, Spoil); 7] = [
        ("was made by a newer version of this program", |world| {
            let database = Connection::open(world.path(DATABASE)).expect("a database");
            database.pragma_update(None, "user_version", 99).expect("a version");
        }),
        ("is not a database", |world| drop(world.write(DATABASE, "a note to myself"))),
        ("is damaged", |world| {
            let mut bytes = std::fs::read(world.path(DATABASE)).expect("a database");
            bytes[100..2000].fill(0xa5);
            std::fs::write(world.path(DATABASE), bytes).expect("written");
        }),
        ("is read-only; run: chmod 600", |world| set_mode(&world.path(DATABASE), 0o400)),
        ("can be read or changed by others; run: chmod 600", |world| {
            set_mode(&world.path(DATABASE), 0o644);
        }),
        ("can be read or changed by others; run: chmod 700", |world| {
            set_mode(&world.path(DIRECTORY), 0o755);
        }),
        ("is a directory", |world| {
            std::fs::remove_file(world.path(DATABASE)).expect("removed");
            std::fs::create_dir(world.path(DATABASE)).expect("made");
        }),
    ];
    for (words, spoil) in cases {
        let world = used_world().await;
        spoil(&world);
        let id = "0123456789abcdef0123456789abcdef";
        for command in [
            &["approvals", "list"][..],
            &["approvals", "show", id],
            &["approvals", "approve", id],
            &["audit"],
            &["call", "create_room", "--force"],
        ] {
            let ran = world.run(&[command, &["--json"]].concat()).await;
            assert_eq!(ran.code, 3, "{words}: {command:?}: {ran:?}");
            let document = assert_call_document(&ran);
            assert_eq!(document["error"]["kind"], "configuration");
            let message = document["error"]["message"].as_str().expect("a message");
            assert!(message.contains(words), "`{words}` is missing: {message}");
            assert!(message.contains(DIRECTORY), "{message}");
        }
        let written = world.requests().iter().filter(|request| request.method == "POST").count();
        assert_eq!(written, 1, "{words}: a write was sent");
        let ran = world.run(&["call", "list_rooms"]).await;
        assert_eq!(ran.code, 0, "{words}: {ran:?}");
        let ran = world.run(&["doctor"]).await;
        assert_eq!(ran.code, 3, "{ran:?}");
        let line = ran.stdout.lines().find(|line| line.starts_with("failed   state: "));
        assert!(line.is_some_and(|line| line.contains(words)), "{ran:?}");
        set_mode(&world.path(DIRECTORY), 0o700);
    }
}

#[tokio::test]
async fn rows_that_wait_for_the_database_are_added_once_it_is_fixed() {
    let world = used_world().await;
    set_mode(&world.path(DATABASE), 0o400);
    for _ in 0..3 {
        let ran = world.run(&["call", "list_rooms"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    set_mode(&world.path(DATABASE), 0o600);
    let rows = world.run(&["audit", "--json"]).await.json();
    let rows = rows["audit"].as_array().expect("a list");
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows.iter().all(|row| row["outcome"]["success"] == true), "{rows:?}");
}
