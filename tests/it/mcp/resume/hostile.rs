//! Clients that ask for what is not theirs, or too often.

use super::*;
use crate::agents;
use crate::mcp::{Client, raw::Raw};
use std::collections::BTreeSet;

#[tokio::test]
async fn an_id_that_is_not_the_caller_s_or_none_is_refused() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure("[agents.a]\n[agents.b]\n");
    let of_a = Connected::to(&agents::server(&world, Some("a")), Client::new(None).0).await;
    let id = stored(&of_a, CREATE, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    world.simulator.wait_for_requests(1).await;
    for agent in [None, Some("b")] {
        let other = Connected::to(&agents::server(&world, agent), Client::new(None).0).await;
        let error = resume_fails(&other, &id).await;
        let unknown = resume_fails(&other, &"0".repeat(32)).await;
        assert_eq!(error["kind"], "usage");
        // It says as much of an id that there is not.
        let without = |error: &Value, id: &str| error.to_string().replace(id, "");
        assert_eq!(without(&error, &id), without(&unknown, &"0".repeat(32)));
        other.end().await;
    }
    let made = data(&resume(&of_a, &id, 60).await);
    assert!(text(&made["roomName"]).starts_with("a-"));
    for (arguments, kind) in [
        (json!({"approval_id": id[..8]}), "usage"),
        (json!({"approval_id": ""}), "usage"),
        (json!({"approval_id": id.to_uppercase() + "\u{1b}[2J"}), "usage"),
        (json!({"approval_id": "'; DROP TABLE approvals; --"}), "usage"),
        (json!({}), "invalid-argument"),
        (json!({"approval_id": null}), "invalid-argument"),
        (json!({"approval_id": [id]}), "invalid-argument"),
        (json!({"approval_id": id, "wait_seconds": 61}), "invalid-argument"),
        (json!({"approval_id": id, "wait_seconds": -1}), "invalid-argument"),
        (json!({"approval_id": id, "wait_seconds": 1.5}), "invalid-argument"),
        (json!({"approval_id": id, "wait_seconds": "10"}), "invalid-argument"),
        (json!({"approval_id": id, "wait_seconds": 1e30}), "invalid-argument"),
        (json!({"approval_id": id, "approve": true}), "invalid-argument"),
    ] {
        let error = of_a.fail(RESUME, arguments.clone()).await;
        assert_eq!(error["kind"], kind, "{arguments}: {error}");
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    }
    data(&of_a.call(RESUME, json!({"approval_id": id, "wait_seconds": null})).await);
    of_a.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn an_agent_that_is_gone_makes_no_call() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure("[agents.a]\n");
    let of_a = agents::server(&world, Some("a"));
    let connected = Connected::to(&of_a, Client::new(None).0).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    connected.end().await;
    world.configure("[agents.b]\n");
    ran(&world, &["approvals", "approve", &id], 0).await;
    let connected = Connected::to(&of_a, Client::new(None).0).await;
    let error = resume_fails(&connected, &id).await;
    assert!(text(&error["message"]).contains('a'), "{error}");
    connected.end().await;
    world.assert_untouched();
}

#[tokio::test]
async fn those_who_wait_leave_room_for_others() {
    let world = World::with_rooms(vec![daily()]).await;
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    connected.end().await;
    let mut raw = Raw::new(&world);
    raw.initialize("2025-06-18", json!({})).await;
    let arguments = json!({"approval_id": id, "wait_seconds": 60});
    let mut waiting = BTreeSet::new();
    for _ in 0..100 {
        waiting.insert(
            raw.request("tools/call", json!({"name": RESUME, "arguments": arguments})).await,
        );
    }
    let list = json!({"name": "whereby_list_rooms", "arguments": {}});
    let list = raw.request("tools/call", list).await;
    loop {
        let answer = raw.receive().await;
        let number = answer["id"].as_u64().and_then(|id| usize::try_from(id).ok()).expect("one");
        if number == list {
            assert_ne!(answer["result"]["isError"], true, "{answer}");
            break;
        }
        waiting.remove(&number);
    }
    assert!(waiting.len() < 16, "{} wait", waiting.len());
    ran(&world, &["approvals", "approve", &id], 0).await;
    let mut made = BTreeSet::new();
    while !waiting.is_empty() {
        let answer = raw.receive().await;
        let number = answer["id"].as_u64().and_then(|id| usize::try_from(id).ok()).expect("one");
        waiting.remove(&number);
        made.insert(answer["result"]["structuredContent"]["roomName"].to_string());
    }
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn who_asks_for_a_result_again_and_again_writes_nothing() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let pending = stored(&connected, CREATE, room("p-")).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    data(&resume(&connected, &id, 60).await);
    // What is left in the spool has been moved.
    let rows = world.audit().len();
    let version = || {
        let database = rusqlite::Connection::open(world.path("state/whereby/state.db"));
        let database = database.expect("a database");
        let read = |name: &str| {
            let sql = format!("SELECT count(*), ifnull(max(seq), 0) FROM {name}");
            database.query_row(&sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        };
        let log = std::fs::metadata(world.path("state/whereby/state.db-wal")).map(|log| log.len());
        (read("calls").expect("rows"), read("outcomes").expect("rows"), log.ok())
    };
    let before = version();
    for _ in 0..50 {
        data(&resume(&connected, &id, 0).await);
        resume_fails(&connected, &pending).await;
    }
    assert_eq!(version(), before);
    connected.end().await;
    assert_eq!(world.audit().len(), rows);
}
