//! What each function costs at Whereby: requests and points, against the least that its API allows.
//! `BENCHMARKS.md` shows the same table.

use crate::wire::{ALLOW_ALL, daily};
use serde_json::{Value, json};
use whereby::Session;
use whereby_tests::World;

/// A function, its arguments, its requests, its points, and the least requests for what it returns.
type Cost = (&'static str, Value, usize, u64, usize);

fn costs(meeting: &str) -> Vec<Cost> {
    let session = meeting.split_once(':').map(|(_, session)| session).expect("both parts");
    vec![
        ("list_rooms", json!({}), 1, 3, 1),
        ("get_room", json!({ "room_name": "daily" }), 1, 3, 1),
        ("get_current_user", json!({}), 1, 3, 1),
        ("list_meetings", json!({ "room_name": "daily" }), 1, 5, 1),
        // Whereby lists sessions by room only: one request for the rooms, one for each that was used.
        ("list_meetings", json!({}), 2, 10, 2),
        // The session, its people, and its recordings are three lists.
        ("get_meeting", json!({ "meeting_id": meeting }), 3, 13, 3),
        // Where the room is not known, a recording tells it.
        ("get_meeting", json!({ "meeting_id": session }), 3, 11, 3),
        ("create_room", json!({}), 1, 3, 1),
        // Only a list tells a room's id.
        ("delete_room", json!({ "room_name": "daily" }), 2, 6, 2),
    ]
}

/// How many points are left, as the request says that asks.
async fn left(session: &Session) -> u64 {
    let user = session.call(None, "get_current_user", json!({})).await.result.expect("a user");
    user["rateLimit"]["remaining"].as_u64().expect("a number")
}

#[tokio::test]
async fn every_function_takes_the_least_requests_that_the_api_allows() {
    let page = crate::tidy::read("BENCHMARKS.md");
    let world = World::with_rooms(Vec::new()).await;
    world.configure(ALLOW_ALL);
    let room = world.simulator.add_room(0, &daily());
    let session = world.session();
    for (function, arguments, requests, points, least) in
        costs(&format!("daily:{}", room.sessions[0]))
    {
        let before = left(&session).await;
        let outcome = session.call(None, function, arguments.clone()).await;
        assert!(outcome.result.is_ok(), "{function} {arguments}: {:?}", outcome.result);
        let spent = before - left(&session).await;
        // Asking costs what get_current_user costs.
        assert_eq!(
            (outcome.requests.len(), spent - 3),
            (requests, points),
            "{function} {arguments}"
        );
        assert_eq!(requests, least, "{function} {arguments}");
        let row = format!("| {requests} | {points} | {least} |");
        let name = format!("| `{function}`");
        let told = page.lines().any(|line| line.starts_with(&name) && line.ends_with(&row));
        assert!(told, "BENCHMARKS.md needs for {function} {arguments}: {row}");
    }
    assert_eq!(world.simulator.connections(), 3, "as many as went out side by side");
}
