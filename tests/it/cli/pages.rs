//! `call --all`, `--prefix` and `--if-exists`, and the requests that `--verbose` shows.

use super::{assert_call_document, still_world};
use crate::wire::{add_rooms, hours, room_with_meetings};
use serde_json::json;
use whereby::simulator::{Reply, RoomSeed};
use whereby_tests::World;

/// A world with so many rooms called `lesson-0001` and so on.
async fn world_of_lessons(count: u32) -> World {
    World::with_rooms(RoomSeed::many("lesson-", count)).await
}

#[tokio::test]
async fn all_pages_are_one_document_and_each_is_a_call_of_its_own() {
    let world = world_of_lessons(250).await;
    let document = assert_paged(&world, &["call", "list_rooms", "--all"]).await;
    assert_eq!(document["data"]["data"].as_array().map(Vec::len), Some(250));
    assert!(document["data"]["meta"]["nextCursor"].is_null(), "{document}");
    assert_eq!((&document["meta"]["pages"], &document["meta"]["requests"]), (&json!(3), &json!(3)));
    let audit = world.audit();
    assert_eq!(audit.len(), 3);
    assert!(audit.iter().all(|row| row.permission.as_deref() == Some("allow")));
    // The size of a page is what it is elsewhere, too.
    let ten = ["call", "list_rooms", "--all", "--arg", "limit=50"];
    assert_eq!(assert_paged(&world, &ten).await["meta"]["pages"], 5);
    // One page says nothing of pages.
    let one = world.run(&["call", "list_rooms", "--json"]).await;
    assert_eq!(assert_call_document(&one)["data"]["data"].as_array().map(Vec::len), Some(50));
}

/// Runs a command that reads pages, and returns its document.
async fn assert_paged(world: &World, arguments: &[&str]) -> serde_json::Value {
    let ran = world.run(&[arguments, &["--json"]].concat()).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    ran.json()
}

#[tokio::test]
async fn a_prefix_is_looked_for_on_all_pages() {
    let world = world_of_lessons(120).await;
    add_rooms(&world, &[RoomSeed::named("standup"), room_with_meetings("stand-by", 2)]);
    for (prefix, found) in
        [("stand", 2), ("STAND", 2), ("lesson-01", 21), ("nothing", 0), ("", 122)]
    {
        let list = ["call", "list_rooms", "--prefix", prefix];
        let document = assert_paged(&world, &list).await;
        assert_eq!(document["data"]["data"].as_array().map(Vec::len), Some(found), "{prefix}");
        assert_eq!(document["meta"]["pages"], 2, "{prefix}");
    }
    let list = ["call", "list_meetings", "--prefix", "stand-"];
    assert_eq!(assert_paged(&world, &list).await["data"]["data"].as_array().map(Vec::len), Some(2));
    let ran = world.run(&["call", "list_rooms", "--prefix", "nothing"]).await;
    assert_eq!(ran.stdout, "none\n", "{ran:?}");
}

#[tokio::test]
async fn a_failure_on_the_way_ends_it_with_its_own_status() {
    let world = world_of_lessons(250).await;
    let page = json!({"results": [], "cursor": "more"});
    world.simulator.script("GET", "/v1/meetings", 1, Reply::status(200).json(&page));
    world.simulator.script("GET", "/v1/meetings", 1, Reply::status(403).json(&json!({})));
    let ran = world.run(&["call", "list_rooms", "--all", "--json"]).await;
    assert_eq!(ran.code, 6, "{ran:?}");
    let document = ran.json();
    assert_eq!(document["error"]["kind"], "access-denied");
    assert_eq!((&document["meta"]["pages"], &document["meta"]["requests"]), (&json!(2), &json!(2)));
}

#[tokio::test]
async fn an_endless_list_is_cut_off_and_says_so() {
    let world = world_of_lessons(0).await;
    let row = json!({
        "meetingId": "1", "roomName": "/again", "roomUrl": "https://acme-demo.whereby.com/again",
        "startDate": "2026-03-01T00:00:00.000Z", "endDate": "2026-03-09T00:00:00.000Z",
    });
    for number in 0..200 {
        let page = json!({"results": [row], "cursor": format!("more-{number}")});
        world.simulator.script("GET", "/v1/meetings", 1, Reply::status(200).json(&page));
    }
    let ran = world.run(&["call", "list_rooms", "--all", "--json"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("stopped after 100 pages, and there are more"), "{ran:?}");
    let document = ran.json();
    assert_eq!(document["data"]["data"].as_array().map(Vec::len), Some(100));
    assert!(document["data"]["meta"]["nextCursor"].is_string());
    assert_eq!(world.requests().len(), 100);
}

#[tokio::test]
async fn only_functions_that_return_pages_have_all_of_them() {
    let (world, _) = still_world().await;
    for (arguments, words) in [
        (&["get_room", "--all"][..], "list_rooms, list_meetings"),
        (&["delete_room", "--prefix", "x"], "list_rooms, list_meetings"),
        (&["create_room", "--if-exists"], "functions that delete"),
    ] {
        let ran = world.run(&[&["call"], arguments].concat()).await;
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(words), "{ran:?}");
    }
    // A rule forbids the first page, so there is no second one.
    world.configure("[permissions]\nread = \"deny\"\n");
    assert_eq!(world.run(&["call", "list_rooms", "--all"]).await.code, 4);
    world.assert_untouched();
}

#[tokio::test]
async fn deleting_a_missing_room_succeeds_with_if_exists() {
    let (world, _) = still_world().await;
    world.configure("");
    let delete = ["call", "delete_room", "--arg", "room_name=nowhere"];
    let force = [&delete[..], &["--force"]].concat();
    assert_eq!(world.run(&force).await.code, 6);
    let if_exists = [&force[..], &["--if-exists"]].concat();
    let ran = world.run(&if_exists).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(ran.stdout.starts_with("nothing to delete: there is no room `nowhere`"), "{ran:?}");
    let ran = world.run(&[&if_exists[..], &["--json"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(assert_call_document(&ran)["data"].is_null());
    assert!(world.requests().iter().all(|request| request.method == "GET"));
    // It still has to be allowed.
    let before = world.requests().len();
    assert_eq!(world.run(&[&delete[..], &["--if-exists"]].concat()).await.code, 5);
    assert_eq!(world.requests().len(), before);
    // What is there is deleted.
    let there = ["call", "delete_room", "--arg", "room_name=daily", "--force", "--if-exists"];
    let ran = world.run(&[&there[..], &["--json"]].concat()).await;
    assert_eq!(assert_call_document(&ran)["data"]["deleted"], true);
}

#[tokio::test]
async fn requests_are_shown_with_their_room_and_without_whole_cursors() {
    let (world, _) = still_world().await;
    world.simulator.add_room(0, &room_with_meetings("busy", 3).created(hours(200)));
    let list = ["call", "list_meetings", "--arg", "room_name=busy", "--arg", "limit=1"];
    let ran = world.run(&[&list[..], &["--all", "--verbose"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2 * world.requests().len(), "{ran:?}");
    for pair in lines.chunks(2) {
        let sent = pair[0].strip_prefix("> ").expect("what was sent");
        assert!(sent.starts_with("GET /insights/") && sent.contains("roomName=/busy"), "{ran:?}");
        let answered = pair[1].strip_prefix("< ").and_then(|line| line.strip_prefix(sent));
        assert!(answered.is_some_and(|line| line.starts_with(": 200 in ")), "{ran:?}");
        let cursor = sent.split("cursor=").nth(1).map(|rest| rest.split('&').next());
        assert!(cursor.flatten().is_none_or(|cursor| cursor.chars().count() <= 9), "{sent}");
    }
    for arguments in [
        &["doctor", "-v"][..],
        &["lua", "-v", "-e", "app.integrations.whereby.get_room({ room_name = 'busy' })"],
    ] {
        let ran = world.run(arguments).await;
        assert!(ran.stderr.contains("> GET /meetings"), "{ran:?}");
        assert!(!ran.stderr.contains(world.simulator.token()), "{ran:?}");
    }
}
