//! `get_room`: the exact name among what Whereby lists, whether or not it narrows its list.

use crate::wire::{ALLOW_ALL, kind, message, room_with_meetings, sent};
use serde_json::{Value, json};
use whereby::simulator::switches::RoomNameFilter;
use whereby::simulator::{Options, OrganizationSeed, Reply, RoomSeed, Seed, Switches};
use whereby_tests::World;

const LOOKUP: &str = "GET /v1/meetings roomName[startsWith]=/daily limit=100";

fn similar_rooms() -> Vec<RoomSeed> {
    ["daily-2", "daily", "dail", "weekly", "dailydaily"].map(RoomSeed::named).to_vec()
}

#[tokio::test]
async fn a_room_is_found_by_its_exact_name_in_every_spelling() {
    let world = World::with_rooms(similar_rooms()).await;
    let session = world.session();
    for name in [
        "daily",
        "/daily",
        " Daily ",
        "https://acme-demo.whereby.com/daily",
        "https://ACME-demo.whereby.com/Daily?roomKey=s3cret&x#y",
    ] {
        world.simulator.clear_requests();
        let outcome = session.call(None, "get_room", json!({"room_name": name})).await;
        let room = outcome.result.expect(name);
        assert_eq!(room["roomName"], "daily");
        assert_eq!(room["meetingUrl"], "https://acme-demo.whereby.com/daily");
        assert_eq!(sent(&world), [LOOKUP]);
    }
}

#[tokio::test]
async fn a_room_that_is_not_there_is_not_found() {
    let world = World::with_rooms(similar_rooms()).await;
    let session = world.session();
    for name in ["dai", "daily-3", "https://other.whereby.com/daily"] {
        let outcome = session.call(None, "get_room", json!({"room_name": name})).await;
        assert_eq!(kind(&outcome), "not-found", "{name}");
        assert!(message(&outcome).contains("list_meetings"), "{}", message(&outcome));
    }
}

/// Names that Whereby does not make, and may list.
const ODD: &[&str] = &[
    "a/b",
    "daily/",
    "/daily",
    "what?",
    "a?b=c",
    "a#b",
    "team:sync",
    ".",
    "..",
    "a/../b",
    " padded ",
    "\tx\n",
    "a\u{7}b",
    "100%",
    "a%2fb",
    "https://a/b",
    "daily:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10",
    "caf\u{e9} \u{202e}x",
    "a.whereby.com/x",
];

#[tokio::test]
async fn every_room_is_found_read_and_deleted_by_the_name_that_is_listed() {
    let long = "x".repeat(900);
    let names: Vec<&str> = ODD.iter().copied().chain([long.as_str(), "daily", "padded"]).collect();
    let seeds = names.iter().map(|name| room_with_meetings(name, 1)).collect();
    let world = World::with_rooms(seeds).await;
    world.configure(ALLOW_ALL);
    let session = world.session();
    let call = async |function: &'static str, arguments: Value| {
        let outcome = session.call(None, function, arguments.clone()).await;
        outcome.result.unwrap_or_else(|error| panic!("{function} {arguments}: {error}"))
    };
    let listed = call("list_rooms", json!({})).await;
    let listed = listed["data"].as_array().expect("rooms");
    assert_eq!(listed.len(), names.len());
    for room in listed {
        let name = json!({"room_name": room["roomName"]});
        assert_eq!(call("get_room", name.clone()).await, *room);
        let meetings = call("list_meetings", name.clone()).await;
        let meeting = &meetings["data"][0];
        assert_eq!(meeting["roomName"], room["roomName"], "{meetings}");
        let read = call("get_meeting", json!({"meeting_id": meeting["id"]})).await;
        // An id that would be too long is that of the session alone.
        let is_long = room["roomName"].as_str().is_some_and(|name| name.len() > 250);
        assert!(is_long || read["roomName"] == room["roomName"], "{read}");
    }
    // Each name as it is, too; and where the name alone could be read otherwise, after a slash.
    for name in &names {
        for text in [format!("/{name}"), format!("https://acme-demo.whereby.com/{}", escaped(name))]
        {
            let room = call("get_room", json!({"room_name": text})).await;
            let shown = room["roomName"].as_str().expect("a name");
            assert!(shown == *name || shown.strip_prefix('/') == Some(*name), "{text}: {shown}");
        }
    }
    let others = names.len();
    for (index, room) in listed.iter().enumerate() {
        let deleted = call("delete_room", json!({"room_name": room["roomName"]})).await;
        assert_eq!(deleted["meetingId"], room["meetingId"]);
        let left = call("list_rooms", json!({})).await;
        assert_eq!(left["data"].as_array().map(Vec::len), Some(others - index - 1));
    }
}

fn escaped(name: &str) -> String {
    let escape = |byte: u8| match byte.is_ascii_lowercase() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}

#[tokio::test]
async fn spaces_around_a_name_are_part_of_it_only_where_there_is_such_a_room() {
    let world = World::with_rooms(vec![RoomSeed::named(" a ")]).await;
    world.configure(ALLOW_ALL);
    for name in [" a ", "/ a "] {
        let room = world.call("get_room", json!({"room_name": name})).await.result.expect(name);
        assert_eq!(room["roomName"], "/ a ");
    }
    let outcome = world.call("get_room", json!({"room_name": "a"})).await;
    assert_eq!(kind(&outcome), "not-found");
    // The very room is deleted.
    let trimmed = world.simulator.add_room(0, &RoomSeed::named("a"));
    let outcome = world.call("delete_room", json!({"room_name": " a "})).await;
    assert_ne!(outcome.result.expect("deleted")["meetingId"], trimmed.meeting_id.as_str());
    let outcome = world.call("delete_room", json!({"room_name": " a "})).await;
    assert_eq!(outcome.result.expect("deleted")["meetingId"], trimmed.meeting_id.as_str());
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_hides_no_other_room() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let good = world.call("list_rooms", json!({})).await.result.expect("rooms")["data"][0].clone();
    let row = json!({
        "meetingId": good["meetingId"], "roomName": "/daily", "roomUrl": good["meetingUrl"],
    });
    let other = json!({"meetingId": [7], "roomName": "/broken", "roomUrl": "https://a/broken"});
    let page = json!({"results": [null, other, row, {"roomName": 5}], "cursor": null});
    world.simulator.script("GET", "/v1/meetings", 3, Reply::status(200).json(&page));
    let listed = world.call("list_rooms", json!({})).await.result.expect("rooms");
    let names: Vec<&Value> =
        listed["data"].as_array().expect("rooms").iter().map(|room| &room["roomName"]).collect();
    assert_eq!(names, ["broken", "daily"]);
    let found = world.call("get_room", json!({"room_name": "daily"})).await.result.expect("a room");
    assert_eq!(found["meetingId"], good["meetingId"]);
    let outcome = world.call("get_room", json!({"room_name": "weekly"})).await;
    assert_eq!(kind(&outcome), "unexpected-response", "it may be the entry that cannot be read");
}

async fn many_rooms(count: u32, filter: RoomNameFilter) -> World {
    let mut rooms = vec![RoomSeed::named("daily").created(std::time::Duration::from_hours(9000))];
    rooms.extend(RoomSeed::many("daily-", count));
    let options = Options {
        organizations: vec![OrganizationSeed::new("acme-demo", Seed::Rooms(rooms))],
        switches: Switches { room_name_filter: filter, ..Switches::default() },
        ..Options::default()
    };
    World::with(options).await
}

#[tokio::test]
async fn the_list_is_read_on_until_the_room_is_found() {
    for filter in [RoomNameFilter::Honoured, RoomNameFilter::Ignored] {
        let world = many_rooms(250, filter).await;
        let outcome = world.call("get_room", json!({"room_name": "daily"})).await;
        assert_eq!(outcome.result.expect("found")["roomName"], "daily");
        let requests = sent(&world);
        assert_eq!(requests.len(), 3, "250 rooms come before it");
        assert_eq!(requests[0], LOOKUP);
        assert!(requests[1..].iter().all(|l| l.starts_with(&format!("{LOOKUP} cursor="))));
    }
}

#[tokio::test]
async fn a_filter_that_is_heeded_takes_one_request_and_one_that_is_not_takes_all_pages() {
    for (filter, pages) in [(RoomNameFilter::Honoured, 1), (RoomNameFilter::Ignored, 3)] {
        let world = many_rooms(250, filter).await;
        let outcome = world.call("get_room", json!({"room_name": "nobody"})).await;
        assert_eq!(kind(&outcome), "not-found");
        assert_eq!(sent(&world).len(), pages);
    }
}

#[tokio::test]
async fn after_two_thousand_rooms_it_gives_up_and_says_so() {
    let world = many_rooms(2050, RoomNameFilter::Ignored).await;
    let outcome = world.call("get_room", json!({"room_name": "daily"})).await;
    assert_ne!(kind(&outcome), "not-found", "it may be among those that were not read");
    assert_eq!(kind(&outcome), "unexpected-response");
    assert!(message(&outcome).contains("gave up"), "{}", message(&outcome));
    assert!(message(&outcome).contains("2000"), "{}", message(&outcome));
    assert_eq!(sent(&world).len(), 20);
}

#[tokio::test]
async fn a_room_without_a_name_is_known_by_its_url() {
    let world = World::with_rooms(Vec::new()).await;
    let row = json!({
        "meetingId": "7", "roomUrl": "https://acme-demo.whereby.com/daily",
        "endDate": "2030-01-01T00:00:00Z",
    });
    let reply = Reply::status(200).json(&json!({"results": [row], "cursor": null}));
    world.simulator.script("GET", "/v1/meetings", 1, reply);
    let outcome = world.call("get_room", json!({"room_name": "daily"})).await;
    assert_eq!(outcome.result.expect("found")["roomName"], "daily");
}

#[tokio::test]
async fn a_list_that_leads_back_to_itself_ends() {
    let world = World::with_rooms(Vec::new()).await;
    let reply = Reply::status(200).json(&json!({"results": [], "cursor": "round"}));
    world.simulator.script("GET", "/v1/meetings", 100, reply);
    let outcome = world.call("get_room", json!({"room_name": "daily"})).await;
    assert_eq!(kind(&outcome), "unexpected-response");
    assert!(sent(&world).len() <= 20);
}

#[tokio::test]
async fn what_whereby_lists_can_be_got_and_deleted() {
    let names = [
        "Daily_1",
        "UPPER",
        "a.b~c",
        "a b",
        "käse",
        "100%",
        "x&y=z+w",
        "@home",
        "emoji-🎉",
        "70000007",
    ];
    let world = World::with_rooms(names.map(RoomSeed::named).to_vec()).await;
    world.configure(ALLOW_ALL);
    let session = world.session();
    let listed = session.call(None, "list_rooms", json!({})).await.result.expect("rooms");
    for name in names {
        let is_listed = |room: &Value| room["roomName"] == name;
        let room = listed["data"].as_array().expect("a list").iter().find(|room| is_listed(room));
        let room = room.expect(name);
        for given in [name.to_owned(), format!("/{name}"), text(&room["meetingUrl"])] {
            let outcome = session.call(None, "get_room", json!({"room_name": given})).await;
            assert_eq!(outcome.result.expect(&given), *room, "{given}");
        }
        let outcome = session.call(None, "delete_room", json!({"room_name": name})).await;
        assert_eq!(outcome.result.expect(name)["meetingId"], room["meetingId"]);
    }
    let left = session.call(None, "list_rooms", json!({})).await.result.expect("rooms");
    assert_eq!(left["data"], json!([]));
}

#[tokio::test]
async fn rooms_that_differ_in_case_are_two_rooms_and_none_is_deleted_by_mistake() {
    let world = World::with_rooms(["Daily_1", "daily_1"].map(RoomSeed::named).to_vec()).await;
    world.configure(ALLOW_ALL);
    let session = world.session();
    for name in ["Daily_1", "daily_1"] {
        let outcome = session.call(None, "get_room", json!({"room_name": name})).await;
        assert_eq!(outcome.result.expect(name)["roomName"], name);
    }
    // Both are shown as one to whoever approves it.
    world.simulator.clear_requests();
    let outcome = session.call(None, "delete_room", json!({"room_name": "Daily_1"})).await;
    let text = message(&outcome);
    assert!(text.contains("`Daily_1`") && text.contains("`daily_1`"), "{text}");
    assert!(sent(&world).iter().all(|line| line.starts_with("GET ")));
    let outcome = session.call(None, "delete_room", json!({"room_name": "daily_1"})).await;
    assert_eq!(outcome.result.expect("deleted")["roomName"], "daily_1");
}

#[tokio::test]
async fn an_id_in_the_place_of_a_name_is_told() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    world.configure(ALLOW_ALL);
    for function in ["get_room", "delete_room"] {
        let outcome = world.call(function, json!({"room_name": "70000007"})).await;
        assert_eq!(kind(&outcome), "not-found");
        let text = message(&outcome);
        assert!(text.contains("looks like an id") && text.contains("roomName"), "{text}");
    }
    let page = world.call("list_meetings", json!({"room_name": "70000007"})).await;
    let page = page.result.expect("a page");
    assert!(page["meta"]["notice"].as_str().expect("a notice").contains("looks like an id"));
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
