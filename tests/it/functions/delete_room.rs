//! `delete_room`: looked up by name, then deleted by id, and nothing else.

use crate::wire::{ALLOW_ALL, kind, sent};
use serde_json::json;
use whereby::WriteOutcome;
use whereby::simulator::switches::{DeleteUnknown, MeetingId, RoomNameFilter};
use whereby::simulator::{Reply, RoomSeed, Switches};
use whereby_tests::World;

async fn world() -> World {
    let world = World::with_rooms(vec![RoomSeed::named("daily-2"), RoomSeed::named("daily")]).await;
    world.configure(ALLOW_ALL);
    world
}

#[tokio::test]
async fn the_room_of_that_very_name_is_deleted() {
    for name in ["daily", "/Daily", "https://acme-demo.whereby.com/daily?roomKey=x"] {
        let world = world().await;
        let outcome = world.call("delete_room", json!({"room_name": name})).await;
        let deleted = outcome.result.expect(name);
        let id = deleted["meetingId"].as_str().expect("an id");
        assert_eq!(deleted, json!({"deleted": true, "roomName": "daily", "meetingId": id}));
        assert_eq!(outcome.write, WriteOutcome::Done);
        assert_eq!(
            sent(&world),
            [
                "GET /v1/meetings roomName[startsWith]=/daily limit=100".to_owned(),
                format!("DELETE /v1/meetings/{id}"),
            ]
        );
        let left = world.call("list_rooms", json!({})).await.result.expect("a page");
        assert_eq!(left["data"].as_array().map(Vec::len), Some(1));
        assert_eq!(left["data"][0]["roomName"], "daily-2");
    }
}

#[tokio::test]
async fn a_room_that_is_not_there_is_not_deleted_and_no_success_is_claimed() {
    let world = world().await;
    for name in ["dail", "daily-", "https://elsewhere.whereby.com/daily"] {
        world.simulator.clear_requests();
        let outcome = world.call("delete_room", json!({"room_name": name})).await;
        assert_eq!(kind(&outcome), "not-found", "{name}");
        assert_eq!(outcome.write, WriteOutcome::None);
        assert_eq!(sent(&world).len(), 1, "no DELETE");
    }
}

#[tokio::test]
async fn a_second_deletion_is_not_found() {
    let world = world().await;
    let session = world.session();
    let arguments = json!({"room_name": "daily"});
    assert!(session.call(None, "delete_room", arguments.clone()).await.result.is_ok());
    assert_eq!(kind(&session.call(None, "delete_room", arguments).await), "not-found");
}

#[tokio::test]
async fn ids_of_every_form_are_deleted() {
    for (id, filter) in
        [(MeetingId::Uuid, RoomNameFilter::Ignored), (MeetingId::Decimal, RoomNameFilter::Ignored)]
    {
        let world = World::with_rooms(Vec::new()).await;
        world.configure(ALLOW_ALL);
        let switches = Switches { meeting_id: id, room_name_filter: filter, ..Switches::default() };
        world.simulator.set_switches(switches);
        let room = world.simulator.add_room(0, &RoomSeed::named("daily"));
        let deleted = world.call("delete_room", json!({"room_name": "daily"})).await;
        assert_eq!(deleted.result.expect("deleted")["meetingId"], room.meeting_id);
    }
}

#[tokio::test]
async fn a_room_that_was_deleted_meanwhile_is_gone_as_was_asked() {
    let world = world().await;
    let switches = Switches { delete_unknown: DeleteUnknown::NotFound, ..Switches::default() };
    world.simulator.set_switches(switches);
    world.simulator.script("DELETE", "/v1/meetings/", 1, Reply::status(404));
    let outcome = world.call("delete_room", json!({"room_name": "daily"})).await;
    assert_eq!(outcome.result.expect("gone")["deleted"], true);
}

#[tokio::test]
async fn a_refused_deletion_changed_nothing() {
    let world = world().await;
    for (status, expected) in [(400, "rejected"), (401, "unauthorized"), (403, "access-denied")] {
        world.simulator.script("DELETE", "/v1/meetings/", 1, Reply::status(status));
        let outcome = world.call("delete_room", json!({"room_name": "daily"})).await;
        assert_eq!((kind(&outcome), outcome.write), (expected, WriteOutcome::None));
    }
}

#[tokio::test]
async fn a_deletion_that_nobody_answered_may_have_happened() {
    let world = world().await;
    let reply = Reply::carried_out().hanging_up();
    world.simulator.script("DELETE", "/v1/meetings/", 4, reply);
    let outcome = world.call("delete_room", json!({"room_name": "daily"})).await;
    assert_eq!((kind(&outcome), outcome.write), ("unavailable", WriteOutcome::Unknown));
    assert_eq!(world.simulator.requests()[0].method, "GET");
}

#[tokio::test]
async fn an_id_that_would_be_another_path_is_never_deleted() {
    for id in ["..", ".", "a/b", "a?b", "a%2fb", "", "a\u{0}b", "ä"] {
        let world = world().await;
        let row = json!({
            "meetingId": id, "roomName": "/daily", "roomUrl": "https://acme-demo.whereby.com/daily",
            "endDate": "2030-01-01T00:00:00Z",
        });
        let reply = Reply::status(200).json(&json!({"results": [row], "cursor": null}));
        world.simulator.script("GET", "/v1/meetings", 1, reply);
        let outcome = world.call("delete_room", json!({"room_name": "daily"})).await;
        assert!(outcome.result.is_err(), "{id:?}");
        assert_eq!(outcome.write, WriteOutcome::None, "{id:?}");
        assert_eq!(sent(&world).len(), 1, "no DELETE for {id:?}");
    }
}
