//! Claiming a write that did not happen: what Whereby said counts, and not what the component says.

use super::{Arena, LIMITS, lines};
use crate::wire::{ALLOW_ALL, daily, kind, message};
use serde_json::json;
use whereby::WriteOutcome::{self, Done, None as Nothing, Unknown};
use whereby::simulator::Reply;
use whereby_tests::World;

const SENT_NONE: &str = "and has sent no POST or DELETE that did";
const NOT_KNOWN: &str = "and it is not known whether its POST or DELETE did";

/// What Whereby says to a write, and what is known of the write then.
fn answers() -> Vec<(&'static str, Reply, WriteOutcome)> {
    let status = |status| Reply::status(status).json(&json!({"error": "no"}));
    vec![
        ("302", status(302), Unknown),
        ("400", status(400), Nothing),
        ("401", status(401), Nothing),
        ("403", status(403), Nothing),
        ("409", status(409), Nothing),
        ("429", status(429), Nothing),
        ("500", status(500), Unknown),
        ("503", status(503), Unknown),
        ("a hang-up", Reply::status(200).hanging_up(), Unknown),
        ("half an answer", Reply::status(201).body("{}  ").truncated(1), Unknown),
        ("no HTTP", Reply::raw(b"hello\r\n\r\n"), Unknown),
    ]
}

#[tokio::test]
async fn a_write_that_was_refused_or_lost_cannot_be_claimed() {
    let arena = Arena::new(&["delete-claimed"], LIMITS).await;
    for (function, attempt, method) in
        [("create_room", "create-claimed", "POST"), ("delete_room", "delete-claimed", "DELETE")]
    {
        for (what, reply, write) in answers() {
            arena.world.simulator.clear_requests();
            arena.world.simulator.script(method, "/v1/meetings", 1, reply);
            let outcome = arena.attempt(function, attempt).await;
            assert_eq!(kind(&outcome), "component-fault", "{function} after {what}");
            let truth = if write == Nothing { SENT_NONE } else { NOT_KNOWN };
            let expected = format!("the component says that {function} succeeded, {truth}");
            assert_eq!(message(&outcome), expected, "{function} after {what}");
            assert_eq!(outcome.write, write, "{function} after {what}");
            let error = outcome.result.expect_err("a fault");
            assert_eq!(error.to_json(write)["effect"], write.as_str(), "{function} after {what}");
            let writes = lines(&arena.world.requests());
            let writes = writes.iter().filter(|line| line.starts_with(method)).count();
            assert_eq!((writes, arena.world.simulator.scripts_left()), (1, 0), "{what}");
        }
    }
}

#[tokio::test]
async fn a_write_that_was_never_sent_cannot_be_claimed() {
    let rooms = ["delete-claimed-unsent", "delete-claimed-after-listing"];
    let arena = Arena::new(&rooms, LIMITS).await;
    for (function, attempt) in [
        ("create_room", "create-claimed-unsent"),
        ("delete_room", "delete-claimed-unsent"),
        ("delete_room", "delete-claimed-after-listing"),
    ] {
        let outcome = arena.attempt(function, attempt).await;
        assert_eq!(kind(&outcome), "component-fault", "{attempt}");
        assert!(message(&outcome).contains(SENT_NONE), "{attempt}: {}", message(&outcome));
        assert_eq!(outcome.write, Nothing, "{attempt}");
    }
    let left = arena.world.call("list_rooms", json!({})).await.result.expect("the rooms");
    assert_eq!(left["data"].as_array().map(Vec::len), Some(2), "both are there: {left}");
}

#[tokio::test]
async fn a_claim_of_what_did_happen_is_believed() {
    let arena = Arena::new(&["delete-claimed"], LIMITS).await;
    for (function, attempt) in
        [("create_room", "create-claimed"), ("delete_room", "delete-claimed")]
    {
        let outcome = arena.attempt(function, attempt).await;
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
        assert_eq!(outcome.write, Done, "{attempt}");
    }
}

#[tokio::test]
async fn a_listed_room_that_is_gone_when_it_is_deleted_is_deleted_to_the_real_component_too() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(ALLOW_ALL);
    let gone = Reply::status(404).json(&json!({"error": "not found"}));
    world.simulator.script("DELETE", "/v1/meetings", 1, gone);
    let outcome = world.call("delete_room", json!({"room_name": "daily"})).await;
    let deleted = outcome.result.as_ref().expect("success");
    assert_eq!(deleted["deleted"], true, "{deleted}");
    assert_eq!(outcome.write, Done);
    assert_eq!(outcome.requests.last().and_then(|request| request.status), Some(404));
}
