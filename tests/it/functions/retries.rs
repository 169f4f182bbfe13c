//! What is tried again, how often, and what that means for writes.

use crate::wire::{ALLOW_ALL, calls, daily_world, first_request, kind, later, reads, sent};
use serde_json::json;
use whereby::WriteOutcome;
use whereby::simulator::{Reply, RoomSeed};
use whereby_tests::World;

/// A failure that passes at once.
fn passing(status: u16) -> Reply {
    Reply::status(status).header("retry-after", "0")
}

#[tokio::test]
async fn a_read_is_tried_again_after_what_may_pass() {
    let (world, meeting) = daily_world().await;
    let session = world.session();
    for status in [429, 502, 503, 504] {
        for (function, arguments) in calls(&meeting) {
            if !reads(function) {
                continue;
            }
            let (method, path) = first_request(function);
            world.simulator.clear_requests();
            let once = session.call(None, function, arguments.clone()).await;
            assert!(once.result.is_ok(), "{function}: {:?}", once.result);
            let usual = world.requests().len();
            world.simulator.script(method, path, 1, passing(status));
            let outcome = session.call(None, function, arguments).await;
            assert!(outcome.result.is_ok(), "{function} {status}: {:?}", outcome.result);
            assert_eq!(world.requests().len(), 2 * usual + 1, "{function} {status}");
            assert_eq!(outcome.requests.len(), usual + 1, "every attempt is told");
        }
    }
}

#[tokio::test]
async fn a_read_is_not_tried_again_after_what_will_not_pass() {
    let (world, _) = daily_world().await;
    for status in [400, 401, 403, 404, 500, 501, 505] {
        world.simulator.clear_requests();
        world.simulator.script("GET", "/v1/meetings", 2, passing(status));
        let outcome = world.call("list_rooms", json!({})).await;
        world.simulator.clear_scripts();
        assert!(outcome.result.is_err());
        assert_eq!(sent(&world).len(), 1, "{status}");
    }
}

#[tokio::test]
async fn four_attempts_are_the_most() {
    let (world, _) = daily_world().await;
    for (status, expected) in [(503, "unavailable"), (429, "rate-limited")] {
        world.simulator.clear_requests();
        world.simulator.script("GET", "/v1/meetings", 10, passing(status));
        let outcome = world.call("list_rooms", json!({})).await;
        world.simulator.clear_scripts();
        assert_eq!(kind(&outcome), expected);
        assert_eq!(sent(&world).len(), 4);
    }
}

#[tokio::test]
async fn a_creation_is_tried_again_after_429_alone() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure(ALLOW_ALL);
    world.simulator.script("POST", "/v1/meetings", 2, passing(429));
    let outcome = world.call("create_room", json!({"room_name_prefix": "x-"})).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!(outcome.write, WriteOutcome::Done);
    let requests = world.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.body == requests[0].body), "the same bytes");
    let rooms = world.call("list_rooms", json!({})).await.result.expect("a page");
    assert_eq!(rooms["data"].as_array().map(Vec::len), Some(1));

    for (reply, expected) in [
        (passing(500), WriteOutcome::Unknown),
        (passing(502), WriteOutcome::Unknown),
        (passing(503), WriteOutcome::Unknown),
        (passing(504), WriteOutcome::Unknown),
        (passing(400), WriteOutcome::None),
        (Reply::carried_out().hanging_up(), WriteOutcome::Unknown),
        (Reply::carried_out().truncated(10), WriteOutcome::Unknown),
    ] {
        world.simulator.clear_requests();
        world.simulator.script("POST", "/v1/meetings", 1, reply.clone());
        let outcome = world.call("create_room", json!({})).await;
        assert!(outcome.result.is_err(), "{reply:?}");
        assert_eq!(outcome.write, expected, "{reply:?}");
        assert_eq!(sent(&world), ["POST /v1/meetings"], "{reply:?}");
    }
}

#[tokio::test]
async fn a_deletion_is_tried_again_after_what_may_pass() {
    for reply in [
        passing(429),
        passing(502),
        passing(503),
        passing(504),
        Reply::status(200).hanging_up(),
        Reply::carried_out().hanging_up(),
    ] {
        let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
        world.configure(ALLOW_ALL);
        world.simulator.script("DELETE", "/v1/meetings/", 1, reply.clone());
        let outcome = world.call("delete_room", json!({"room_name": "daily"})).await;
        assert!(outcome.result.is_ok(), "{reply:?}: {:?}", outcome.result);
        assert_eq!(outcome.write, WriteOutcome::Done);
        let requests = sent(&world);
        assert_eq!(requests.len(), 3, "{requests:?}");
        assert_eq!(requests[1], requests[2]);
    }
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    world.configure(ALLOW_ALL);
    world.simulator.script("DELETE", "/v1/meetings/", 1, passing(500));
    let outcome = world.call("delete_room", json!({"room_name": "daily"})).await;
    assert_eq!((kind(&outcome), outcome.write), ("unavailable", WriteOutcome::Unknown));
    assert_eq!(sent(&world).len(), 2);
}

#[tokio::test]
async fn a_wait_beyond_a_call_s_time_is_told_at_once_for_every_function() {
    let (world, meeting) = daily_world().await;
    let session = world.session();
    for (function, arguments) in calls(&meeting) {
        let (method, path) = first_request(function);
        for (reply, seconds) in [
            (later(429), 3600),
            (Reply::status(429).header("retry-after", "59.2"), 60),
            (Reply::status(429).json(&json!({"error": "x", "data": {"msLeft": 41_500}})), 42),
            (Reply::status(429).json(&json!({"error": "x", "data": {"ms_left": 41_500}})), 42),
            (later(429).json(&json!({"error": "x", "data": {"msLeft": 1}})), 3600),
        ] {
            world.simulator.clear_requests();
            world.simulator.script(method, path, 1, reply.clone());
            let outcome = session.call(None, function, arguments.clone()).await;
            let error = outcome.result.as_ref().expect_err("a rate limit");
            assert_eq!(error.kind(), "rate-limited", "{function}: {error}");
            assert_eq!(whereby::cli::Exit::of(error).code(), 7);
            let document = error.to_json(outcome.write);
            assert_eq!(document["retry_after_seconds"], seconds, "{function}: {reply:?}");
            assert_eq!(outcome.write, WriteOutcome::None);
            assert_eq!(world.simulator.scripts_left(), 0);
        }
    }
}
