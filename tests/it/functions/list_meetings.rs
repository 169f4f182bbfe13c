//! `list_meetings`: what a page holds. How pages follow one another is in `pages`.

use crate::wire::{add_rooms, hours, kind, meeting, message, room_with_meetings, sent};
use serde_json::{Value, json};
use std::time::Duration;
use time::macros::datetime;
use whereby::simulator::{
    Options, OrganizationSeed, ParticipantSeed, Reply, RoomSeed, Seed, SessionSeed,
};
use whereby_tests::World;

/// A world whose clock stands still, so that dates can be told.
async fn world(rooms: Vec<RoomSeed>) -> World {
    let options = Options {
        organizations: vec![OrganizationSeed::new("acme-demo", Seed::Rooms(rooms))],
        now: Some(datetime!(2026-03-02 12:00 UTC)),
        ..Options::default()
    };
    World::with(options).await
}

fn starts(page: &Value) -> Vec<&str> {
    let data = page["data"].as_array().expect("a list");
    data.iter().map(|meeting| meeting["startDate"].as_str().expect("a date")).collect()
}

#[tokio::test]
async fn a_meeting_has_every_member() {
    let recorded = meeting(hours(24)).recorded();
    let world = world(vec![RoomSeed::named("daily").created(hours(48)).session(recorded)]).await;
    let page = world.call("list_meetings", json!({"room_name": "/Daily"})).await;
    let page = page.result.expect("a page");
    let id = page["data"][0]["id"].as_str().expect("an id");
    assert!(id.starts_with("daily:") && id.len() == "daily:".len() + 36, "{id}");
    assert_eq!(
        page["data"],
        json!([{
            "id": id,
            "roomName": "daily",
            "startDate": "2026-03-01T12:01:00.000Z",
            "endDate": "2026-03-01T12:30:00.000Z",
            "duration": 29 * 60,
            "participantCount": 2,
            "recorderMinutes": 29,
        }])
    );
    assert_eq!(page["meta"], json!({"nextCursor": null, "notice": null}));
    let requests = sent(&world);
    assert_eq!(
        requests,
        ["GET /v1/insights/room-sessions roomName=/daily sortBy=startedAt:desc limit=20"]
    );
}

#[tokio::test]
async fn a_room_s_meetings_come_newest_first_without_those_that_go_on() {
    let room = room_with_meetings("daily", 3).session(meeting(hours(1)).running());
    let world = world(vec![room]).await;
    let page = world.call("list_meetings", json!({"room_name": "daily"})).await;
    let page = page.result.expect("a page");
    assert_eq!(
        starts(&page),
        ["2026-03-01T12:01:00.000Z", "2026-03-01T11:01:00.000Z", "2026-03-01T10:01:00.000Z"]
    );
}

#[tokio::test]
async fn the_meetings_of_deleted_rooms_are_listed_and_those_of_yet_unused_ones_are_not_asked_for() {
    let rooms = vec![
        room_with_meetings("gone", 1).deleted(),
        RoomSeed::named("unused"),
        room_with_meetings("daily", 1),
    ];
    let world = world(rooms).await;
    let page = world.call("list_meetings", json!({})).await.result.expect("a page");
    let mut rooms: Vec<&Value> =
        page["data"].as_array().expect("a list").iter().map(|m| &m["roomName"]).collect();
    rooms.sort_by_key(|room| room.as_str());
    assert_eq!(rooms, ["daily", "gone"]);
    let requests = sent(&world);
    assert!(requests[0].starts_with("GET /v1/insights/rooms "), "{requests:?}");
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(!requests.iter().any(|line| line.contains("unused")), "{requests:?}");
}

#[tokio::test]
async fn from_and_to_are_both_inclusive() {
    // They begin at 12:01, 11:01, 10:01 and so on, of the day before.
    let world = world(vec![room_with_meetings("daily", 5)]).await;
    let session = world.session();
    let all = ["12:01", "11:01", "10:01", "09:01", "08:01"];
    for (from, to, expected) in [
        (None, None, &all[..]),
        (Some("2026-03-01T10:01:00Z"), None, &all[..3]),
        (Some("2026-03-01T10:01:00.001Z"), None, &all[..2]),
        (None, Some("2026-03-01T10:01:00Z"), &all[2..]),
        (None, Some("2026-03-01T10:00:59.999Z"), &all[3..]),
        (Some("2026-03-01T10:01:00Z"), Some("2026-03-01T10:01:00Z"), &all[2..3]),
        (Some("2026-03-01T11:01:00+01:00"), Some("2026-03-01T10:01:00"), &all[2..3]),
        (Some("2026-03-01"), Some("2026-03-01"), &all[..]),
        (Some("2026-03-02"), None, &[]),
        (None, Some("2026-02-28"), &[]),
    ] {
        for room in [None, Some("daily")] {
            let mut arguments = json!({"from_date": from, "to_date": to, "room_name": room});
            let mut found: Vec<String> = Vec::new();
            for _ in 0..10 {
                let outcome = session.call(None, "list_meetings", arguments.clone()).await;
                let page = outcome.result.expect("a page");
                found.extend(starts(&page).iter().map(|start| start[11..16].to_owned()));
                arguments["cursor"] = page["meta"]["nextCursor"].clone();
                if arguments["cursor"].is_null() {
                    break;
                }
            }
            assert_eq!(found, expected, "{from:?} {to:?} {room:?}");
        }
    }
}

#[tokio::test]
async fn rooms_made_after_the_window_are_not_asked_for() {
    let world = world(vec![room_with_meetings("daily", 1)]).await;
    let outcome = world.call("list_meetings", json!({"to_date": "2026-03-01"})).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    let request = &world.requests()[0];
    let to = request.query_value("createdAt[to]").expect("a filter");
    assert!(to.starts_with("2026-03-01T23:59:59"), "{to}");
}

#[tokio::test]
async fn dates_that_cannot_be_are_refused_and_nothing_is_sent() {
    let world = world(Vec::new()).await;
    for (arguments, named) in [
        (json!({"from_date": "yesterday"}), "from_date"),
        (json!({"to_date": "2026-13-01"}), "to_date"),
        (json!({"to_date": "2026-02-30"}), "to_date"),
        (json!({"from_date": "2026-03-02", "to_date": "2026-03-01"}), "from_date"),
        (json!({"room_name": "/"}), "room_name"),
        (json!({"cursor": "made-up"}), "cursor"),
    ] {
        let outcome = world.call("list_meetings", arguments.clone()).await;
        assert_eq!(kind(&outcome), "invalid-argument", "{arguments}");
        assert!(message(&outcome).contains(named), "{}", message(&outcome));
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_room_that_nobody_knows_has_no_meetings() {
    let world = world(Vec::new()).await;
    let page = world.call("list_meetings", json!({"room_name": "nobody"})).await;
    assert_eq!(page.result.expect("a page")["data"], json!([]));
}

#[tokio::test]
async fn a_lone_visitor_makes_no_meeting() {
    let alone = SessionSeed::began(hours(24)).participant(ParticipantSeed::named("Ines Falk"));
    let world = world(vec![RoomSeed::named("daily").created(hours(48)).session(alone)]).await;
    let page = world.call("list_meetings", json!({"room_name": "daily"})).await;
    assert_eq!(page.result.expect("a page")["data"], json!([]));
}

#[tokio::test]
async fn a_meeting_is_listed_when_insights_have_caught_up() {
    let fresh = RoomSeed::named("fresh")
        .created(hours(3))
        .session(meeting(Duration::from_mins(35)).lasting(Duration::from_mins(30)));
    let world = world(vec![fresh]).await;
    let arguments = json!({"room_name": "fresh"});
    let page = world.call("list_meetings", arguments.clone()).await.result.expect("a page");
    assert_eq!(page["data"], json!([]), "it ended five minutes ago");
    world.simulator.advance(Duration::from_mins(10));
    let page = world.call("list_meetings", arguments).await.result.expect("a page");
    assert_eq!(page["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_rate_limit_in_the_middle_leaves_a_partial_page_that_says_so() {
    // The running meeting makes the first answer come out short, so a second one is needed.
    let room = room_with_meetings("daily", 6).session(meeting(hours(1)).running());
    let world = world(Vec::new()).await;
    add_rooms(&world, std::slice::from_ref(&room));
    let path = "/v1/insights/room-sessions";
    world.simulator.script("GET", path, 1, Reply::carried_out());
    world.simulator.script("GET", path, 1, crate::wire::later(429));
    let mut arguments = json!({"limit": 3, "room_name": "daily"});
    let outcome = world.call("list_meetings", arguments.clone()).await;
    let page = outcome.result.expect("a partial page");
    assert_eq!(page["data"].as_array().map(Vec::len), Some(2), "{page}");
    let notice = page["meta"]["notice"].as_str().expect("a notice");
    assert!(notice.contains("rate limit"), "{notice}");
    arguments["cursor"] = page["meta"]["nextCursor"].clone();
    assert!(arguments["cursor"].is_string(), "{page}");
    let rest = world.call("list_meetings", arguments).await.result.expect("the rest");
    assert_eq!(rest["data"].as_array().map(Vec::len), Some(3), "{rest}");
    assert_ne!(rest["data"][0]["id"], page["data"][1]["id"]);
}

#[tokio::test]
async fn a_rate_limit_at_the_beginning_is_an_error() {
    let world = world(vec![room_with_meetings("daily", 2)]).await;
    world.simulator.script("GET", "/v1/insights/", 1, crate::wire::later(429));
    let outcome = world.call("list_meetings", json!({})).await;
    assert_eq!(kind(&outcome), "rate-limited");
}

#[tokio::test]
async fn the_newest_meetings_of_all_rooms_come_first_or_a_notice_says_otherwise() {
    let room = |name: &str, ago: &[u64]| {
        let room = RoomSeed::named(name).created(hours(24 * 60));
        ago.iter().fold(room, |room, ago| room.session(meeting(hours(*ago))))
    };
    let world =
        world(vec![room("a", &[30, 100]), room("b", &[26, 27, 90]), room("Team_C", &[25, 80])])
            .await;
    let session = world.session();
    let mut arguments = json!({"limit": 2});
    let mut found = Vec::new();
    loop {
        let page = session.call(None, "list_meetings", arguments.clone()).await;
        let page = page.result.expect("a page");
        assert_eq!(page["meta"]["notice"], Value::Null);
        found.extend(starts(&page).into_iter().map(str::to_owned));
        arguments["cursor"] = page["meta"]["nextCursor"].clone();
        if arguments["cursor"].is_null() {
            break;
        }
    }
    assert_eq!(found.len(), 7);
    assert!(found.is_sorted_by(|one, other| one > other), "{found:?}");
    let newest = session.call(None, "list_meetings", json!({"limit": 1})).await;
    let newest = newest.result.expect("a page")["data"][0].clone();
    assert_eq!(newest["roomName"], "Team_C");
    let read = session.call(None, "get_meeting", json!({"meeting_id": newest["id"]})).await;
    assert_eq!(read.result.expect("a meeting")["roomName"], "Team_C");

    let many: Vec<RoomSeed> = (1..=9).map(|at| room(&format!("r{at}"), &[24 + at])).collect();
    let world = self::world(many).await;
    let page = world.call("list_meetings", json!({"limit": 2})).await.result.expect("a page");
    let notice = page["meta"]["notice"].as_str().expect("a notice");
    assert!(notice.contains("not by date"), "{notice}");
}
