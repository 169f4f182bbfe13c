//! `list_rooms`: one page, as Whereby gives it.

use crate::wire::{kind, sent};
use serde_json::{Value, json};
use whereby::simulator::{Reply, RoomSeed};
use whereby_tests::World;

#[tokio::test]
async fn the_rooms_of_a_page_are_returned_with_every_member() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let page = world.call("list_rooms", json!({})).await.result.expect("a page");
    let room = &page["data"][0];
    assert_eq!(room["roomName"], "daily");
    assert_eq!(room["meetingUrl"], "https://acme-demo.whereby.com/daily");
    let members: Vec<&str> = room.as_object().expect("an object").keys().map(|k| &**k).collect();
    assert_eq!(members, ["roomName", "meetingUrl", "meetingId", "startDate", "endDate"]);
    assert!(room.as_object().expect("an object").values().all(Value::is_string), "{room}");
    assert_eq!(page["meta"], json!({"nextCursor": null}));
    assert_eq!(sent(&world), ["GET /v1/meetings"]);
}

#[tokio::test]
async fn limit_and_cursor_are_sent_as_they_were_given() {
    let world = World::with_rooms(RoomSeed::many("room-", 5)).await;
    let session = world.session();
    let mut names = Vec::new();
    let mut arguments = json!({"limit": 2});
    for _ in 0..3 {
        let outcome = session.call(None, "list_rooms", arguments.clone()).await;
        let page = outcome.result.expect("a page");
        let data = page["data"].as_array().expect("a list");
        names.extend(data.iter().map(|room| room["roomName"].as_str().unwrap_or("").to_owned()));
        arguments = json!({"limit": 2, "cursor": page["meta"]["nextCursor"]});
    }
    names.sort();
    assert_eq!(names, ["room-0001", "room-0002", "room-0003", "room-0004", "room-0005"]);
    assert_eq!(arguments["cursor"], Value::Null, "the last page has no cursor");
    let requests = sent(&world);
    assert_eq!(requests[0], "GET /v1/meetings limit=2");
    assert_eq!(requests.len(), 3);
    assert!(requests[1..].iter().all(|line| line.starts_with("GET /v1/meetings limit=2 cursor=")));
}

#[tokio::test]
async fn a_cursor_with_any_character_arrives_as_it_is() {
    let world = World::with_rooms(Vec::new()).await;
    let reply = Reply::status(200).json(&json!({"results": [], "cursor": null}));
    for cursor in ["a+b/c=d&e?f#g%2F h", "ünï–会", "limit=1&limit=2", "..", "a\"b'c\\d"] {
        world.simulator.clear_requests();
        world.simulator.script("GET", "/v1/meetings", 1, reply.clone());
        let outcome = world.call("list_rooms", json!({"cursor": cursor})).await;
        assert!(outcome.result.is_ok(), "{cursor}: {:?}", outcome.result);
        assert_eq!(sent(&world), [format!("GET /v1/meetings cursor={cursor}")]);
    }
}

#[tokio::test]
async fn a_cursor_that_whereby_refuses_is_a_rejection() {
    let world = World::new().await;
    let outcome = world.call("list_rooms", json!({"cursor": "made-up"})).await;
    assert_eq!(kind(&outcome), "rejected");
    assert_eq!(sent(&world).len(), 1);
}

#[tokio::test]
async fn members_that_are_not_known_are_ignored_and_secrets_are_not_passed_on() {
    let world = World::with_rooms(Vec::new()).await;
    let url = "https://acme-demo.whereby.com/daily";
    let row = json!({
        "meetingId": 7, "roomUrl": url, "roomName": "/daily", "endDate": "2030-01-01T00:00:00Z",
        "hostRoomUrl": format!("{url}?roomKey=s3cret"), "colour": {"deep": [1, 2, {}]},
    });
    let reply = Reply::status(200).json(&json!({"results": [row], "cursor": "", "more": true}));
    world.simulator.script("GET", "/v1/meetings", 1, reply);
    let page = world.call("list_rooms", json!({})).await.result.expect("a page");
    assert_eq!(page["data"][0]["meetingId"], "7", "an id is a text, however it is written");
    assert_eq!(page["data"][0]["startDate"], Value::Null);
    assert_eq!(page["meta"]["nextCursor"], Value::Null, "an empty cursor is none");
    assert!(!page.to_string().contains("s3cret"), "{page}");
}

#[tokio::test]
async fn each_account_sees_its_own_rooms_with_its_own_token() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let session = world.session();
    for (account, token, room) in [
        (None, 0, "daily"),
        (Some("default"), 0, "daily"),
        (Some("work"), 0, "daily"),
        (Some("other"), 1, "elsewhere"),
    ] {
        world.simulator.clear_requests();
        let outcome = session.call(account, "list_rooms", json!({})).await;
        assert_eq!(outcome.account.as_deref(), Some(if token == 0 { "work" } else { "other" }));
        assert_eq!(outcome.result.expect("a page")["data"][0]["roomName"], room);
        let requests = world.requests();
        let token = format!("Bearer {}", world.simulator.tokens()[token]);
        assert!(requests[0].header("authorization") == Some(&token), "the token of {account:?}");
    }
}
