//! Paging through `list_meetings`: every meeting exactly once, whatever the limit and the API.

use crate::wire::{add_rooms, hours, kind, meeting, message, room_with_meetings};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use whereby::Session;
use whereby::simulator::switches::{SessionDates, SortByDates};
use whereby::simulator::{RoomSeed, Switches};
use whereby_tests::World;

/// Pages through a listing, and returns the ids and start dates in order.
async fn walk(session: &Session, mut arguments: Value) -> Vec<(String, String)> {
    let limit = arguments["limit"].as_u64().unwrap_or(20) as usize;
    let mut found = Vec::new();
    let mut cursors = BTreeSet::new();
    for _ in 0..500 {
        let outcome = session.call(None, "list_meetings", arguments.clone()).await;
        let page = outcome.result.unwrap_or_else(|error| panic!("{arguments}: {error}"));
        let data = page["data"].as_array().expect("a list");
        assert!(data.len() <= limit, "{} of {limit}", data.len());
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        found.extend(data.iter().map(|row| (text(&row["id"]), text(&row["startDate"]))));
        let Some(cursor) = page["meta"]["nextCursor"].as_str() else { return found };
        if data.len() < limit {
            assert!(page["meta"]["notice"].is_string(), "a short page says why: {page}");
        }
        assert!(cursors.insert(cursor.to_owned()), "the same page twice");
        arguments["cursor"] = cursor.into();
    }
    panic!("it has no end: {arguments}");
}

/// A world with these rooms and without a rate limit, which walking through pages would reach.
async fn world(rooms: Vec<RoomSeed>) -> World {
    let world = World::with_rooms(rooms).await;
    world.simulator.set_switches(Switches { rate_limit: 0, ..Switches::default() });
    world
}

/// Rooms with 0, 1, 3, 8 and 26 meetings, one of which goes on, and a deleted room with 2.
fn rooms() -> Vec<RoomSeed> {
    vec![
        RoomSeed::named("none"),
        room_with_meetings("one", 1),
        room_with_meetings("three", 3).session(meeting(hours(2)).running()),
        room_with_meetings("eight", 8),
        room_with_meetings("many", 26),
        room_with_meetings("gone", 2).deleted(),
    ]
}

const MEETINGS: usize = 1 + 3 + 8 + 26 + 2;

/// Whole days and half ones, as the meetings are an hour apart.
fn windows(found: &[(String, String)]) -> Vec<(Option<String>, Option<String>)> {
    let mut starts: Vec<&String> = found.iter().map(|(_, start)| start).collect();
    starts.sort();
    let (early, late) = (starts[starts.len() / 4].clone(), starts[starts.len() * 3 / 4].clone());
    vec![(Some(early.clone()), None), (None, Some(late.clone())), (Some(early), Some(late))]
}

#[tokio::test]
async fn every_meeting_comes_exactly_once_under_every_limit() {
    let world = world(Vec::new()).await;
    let ids: BTreeSet<String> = add_rooms(&world, &rooms())
        .iter()
        .flat_map(|room| {
            room.sessions.iter().map(|id| format!("{}:{id}", room.name.trim_start_matches('/')))
        })
        .collect();
    let session = world.session();
    for limit in [1, 2, 3, 7, 20, 39, 100] {
        let found = walk(&session, json!({"limit": limit})).await;
        let unique: BTreeSet<String> = found.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!((found.len(), unique.len()), (MEETINGS, MEETINGS), "limit {limit}");
        assert!(unique.is_subset(&ids), "limit {limit}");
    }
    let found = walk(&session, json!({})).await;
    assert_eq!(found.len(), MEETINGS, "the default limit");
}

#[tokio::test]
async fn every_meeting_of_a_window_comes_exactly_once() {
    let world = world(rooms()).await;
    let session = world.session();
    let all = walk(&session, json!({"limit": 100})).await;
    for (from, to) in windows(&all) {
        let mut wanted: Vec<_> = all
            .iter()
            .filter(|(_, start)| from.as_ref().is_none_or(|from| from <= start))
            .filter(|(_, start)| to.as_ref().is_none_or(|to| start <= to))
            .cloned()
            .collect();
        wanted.sort();
        assert!(!wanted.is_empty() && wanted.len() < MEETINGS);
        for limit in [1, 5, 100] {
            let arguments = json!({"limit": limit, "from_date": from, "to_date": to});
            let mut found = walk(&session, arguments).await;
            found.sort();
            assert_eq!(found, wanted, "limit {limit} from {from:?} to {to:?}");
        }
    }
}

#[tokio::test]
async fn every_meeting_of_one_room_comes_exactly_once_newest_first() {
    let world = world(rooms()).await;
    let session = world.session();
    for (room, count) in [("none", 0), ("three", 3), ("many", 26), ("gone", 2)] {
        for limit in [1, 4, 26, 100] {
            let found = walk(&session, json!({"limit": limit, "room_name": room})).await;
            assert_eq!(found.len(), count, "{room} by {limit}");
            assert!(found.is_sorted_by(|a, b| a.1 > b.1), "{room} by {limit}: {found:?}");
        }
    }
}

#[tokio::test]
async fn every_meeting_comes_exactly_once_however_the_api_sorts_and_spells() {
    let world = world(rooms()).await;
    let session = world.session();
    for switches in [
        Switches { sort_by_dates: SortByDates::Rejected, rate_limit: 0, ..Switches::default() },
        Switches { session_dates: SessionDates::CreatedAt, rate_limit: 0, ..Switches::default() },
    ] {
        world.simulator.set_switches(switches);
        for (arguments, count) in [
            (json!({"limit": 3}), MEETINGS),
            (json!({"limit": 100}), MEETINGS),
            (json!({"limit": 5, "room_name": "many"}), 26),
            (json!({"limit": 100, "from_date": "2000-01-01"}), MEETINGS),
        ] {
            let found = walk(&session, arguments.clone()).await;
            let unique: BTreeSet<_> = found.iter().collect();
            assert_eq!((found.len(), unique.len()), (count, count), "{arguments} {switches:?}");
        }
    }
}

#[tokio::test]
async fn a_call_without_a_room_sends_no_more_than_its_budget() {
    let rooms = (0..40).map(|index| room_with_meetings(&format!("room-{index:02}"), 1));
    let world = world(rooms.collect()).await;
    let outcome = world.call("list_meetings", json!({"limit": 100})).await;
    let page = outcome.result.expect("a page");
    let sessions =
        world.requests().iter().filter(|r| r.path == "/v1/insights/room-sessions").count();
    assert_eq!(sessions, 8, "each costs five to ten points of a small plan's hundred");
    assert_eq!(page["data"].as_array().map(Vec::len), Some(8));
    assert!(page["meta"]["nextCursor"].is_string() && page["meta"]["notice"].is_string());
}

#[tokio::test]
async fn a_cursor_fits_the_same_filters_alone() {
    let world = world(rooms()).await;
    let session = world.session();
    let arguments = json!({"limit": 2, "from_date": "2000-01-01", "room_name": "many"});
    let page = session.call(None, "list_meetings", arguments.clone()).await.result.expect("a page");
    let cursor = page["meta"]["nextCursor"].clone();
    let with = |name: &str, value: Value| {
        let mut arguments = arguments.clone();
        arguments["cursor"] = cursor.clone();
        arguments[name] = value;
        arguments
    };
    world.simulator.clear_requests();
    for arguments in [
        with("from_date", json!("2000-01-02")),
        with("from_date", Value::Null),
        with("to_date", json!("2099-01-01")),
        with("room_name", json!("three")),
        with("room_name", Value::Null),
    ] {
        let outcome = session.call(None, "list_meetings", arguments.clone()).await;
        assert_eq!(kind(&outcome), "invalid-argument", "{arguments}");
        assert!(message(&outcome).contains("cursor"), "{}", message(&outcome));
    }
    world.assert_untouched();
    for (name, value) in [
        ("limit", json!(5)),
        ("room_name", json!("/MANY")),
        ("from_date", json!("2000-01-01T00:00:00Z")),
    ] {
        let outcome = session.call(None, "list_meetings", with(name, value)).await;
        assert!(outcome.result.is_ok(), "the same filter in other words: {:?}", outcome.result);
    }
}

#[tokio::test]
async fn a_cursor_that_was_tampered_with_is_refused_or_lists_what_there_is() {
    let world = world(rooms()).await;
    let session = world.session();
    let page = session.call(None, "list_meetings", json!({"limit": 2})).await;
    let page = page.result.expect("a page");
    let cursor = page["meta"]["nextCursor"].as_str().expect("a cursor");
    for at in (0..cursor.len()).step_by(5) {
        let mut tampered = cursor.as_bytes().to_vec();
        tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
        let tampered = String::from_utf8(tampered).expect("ASCII");
        let outcome = session.call(None, "list_meetings", json!({"cursor": tampered})).await;
        if outcome.result.is_err() {
            assert!(
                ["invalid-argument", "rejected", "component-fault"].contains(&kind(&outcome)),
                "{tampered}: {:?}",
                outcome.result
            );
        }
    }
}
