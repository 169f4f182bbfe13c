//! What went over the wire, in words that tests can compare, and calls to compare it of.

use serde_json::{Value, json};
use std::time::Duration;
use whereby::Outcome;
use whereby::simulator::{
    ParticipantSeed, RecordedRequest, Reply, RoomSeed, SeededRoom, SessionSeed,
};
use whereby_tests::World;

/// Leave to do everything.
pub(crate) const ALLOW_ALL: &str = "[permissions]\nwrite = \"allow\"\ndestination = \"allow\"\n";

/// Whether a function only reads.
pub(crate) fn reads(function: &str) -> bool {
    let function = whereby::catalog::function(function).expect("a function");
    function.interface == whereby::catalog::Interface::Read
}

/// All headers that may ever leave, none of them the component's.
const HEADERS: [&str; 7] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "user-agent",
];

/// What reached the simulator, in order: `GET /v1/meetings limit=2`, the query decoded.
///
/// Every request must have the headers that the host gives it, with the default account's token.
pub(crate) fn sent(world: &World) -> Vec<String> {
    let token = format!("Bearer {}", world.simulator.token());
    let requests = world.requests();
    requests
        .iter()
        .map(|request| {
            assert_headers(request, &token);
            line(request)
        })
        .collect()
}

/// The same where requests go out side by side, whose order is nobody's business.
pub(crate) fn sent_sorted(world: &World) -> Vec<String> {
    let mut lines = sent(world);
    lines.sort();
    lines
}

fn line(request: &RecordedRequest) -> String {
    let mut line = format!("{} {}", request.method, request.path);
    for (name, value) in &request.pairs {
        line.push_str(&format!(" {name}={value}"));
    }
    line
}

fn assert_headers(request: &RecordedRequest, token: &str) {
    assert!(request.header("authorization") == Some(token), "another token on {request:?}");
    assert_eq!(request.header("accept"), Some("application/json"), "{request:?}");
    assert_eq!(request.header("accept-encoding"), Some("identity"), "{request:?}");
    let body = (request.method == "POST").then_some("application/json");
    assert_eq!(request.header("content-type"), body, "{request:?}");
    for (name, value) in &request.headers {
        assert!(HEADERS.contains(&name.as_str()), "the header {name} on {request:?}");
        assert_eq!(request.headers.get_all(name).iter().count(), 1, "{name} twice");
        assert!(name == "authorization" || !value.as_bytes().is_empty(), "{name} is empty");
    }
}

/// The JSON body of a recorded request.
pub(crate) fn body(request: &RecordedRequest) -> Value {
    serde_json::from_slice(&request.body).expect("a JSON body")
}

/// A world where everything is allowed, with the room `daily` and the id of a meeting in it.
pub(crate) async fn daily_world() -> (World, String) {
    let world = World::with_rooms(Vec::new()).await;
    world.configure(ALLOW_ALL);
    let room = world.simulator.add_room(0, &daily());
    let meeting = format!("daily:{}", room.sessions[0]);
    (world, meeting)
}

/// The room `daily`, in which two people met yesterday.
pub(crate) fn daily() -> RoomSeed {
    RoomSeed::named("daily").created(hours(48)).session(meeting(hours(24)))
}

/// A meeting of two people, half an hour long.
pub(crate) fn meeting(ago: Duration) -> SessionSeed {
    SessionSeed::began(ago)
        .participant(ParticipantSeed::named("Ines Falk").role("host").external_id("crm-118"))
        .participant(ParticipantSeed::named("Tomasz Wren").joined_after(Duration::from_mins(1)))
}

pub(crate) fn hours(hours: u64) -> Duration {
    Duration::from_hours(hours)
}

/// Makes a room with so many meetings, an hour apart, the last one a day ago.
pub(crate) fn room_with_meetings(name: &str, count: u64) -> RoomSeed {
    let room = RoomSeed::named(name).created(hours(24 * 60));
    (0..count).fold(room, |room, index| room.session(meeting(hours(24 + index))))
}

/// Adds rooms to the default account's organization.
pub(crate) fn add_rooms(world: &World, rooms: &[RoomSeed]) -> Vec<SeededRoom> {
    rooms.iter().map(|room| world.simulator.add_room(0, room)).collect()
}

/// A call of each function that succeeds in [`daily_world`], deletion last.
pub(crate) fn calls(meeting: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("list_rooms", json!({})),
        ("get_room", json!({"room_name": "daily"})),
        ("list_meetings", json!({})),
        ("get_meeting", json!({"meeting_id": meeting})),
        ("get_current_user", json!({})),
        ("create_room", json!({"room_name_prefix": "new-"})),
        ("delete_room", json!({"room_name": "daily"})),
    ]
}

/// The first request of each function, on which its result depends.
pub(crate) fn first_request(function: &str) -> (&'static str, &'static str) {
    match function {
        "create_room" => ("POST", "/v1/meetings"),
        "list_meetings" => ("GET", "/v1/insights/rooms"),
        "get_meeting" => ("GET", "/v1/insights/room-sessions"),
        _ => ("GET", "/v1/meetings"),
    }
}

/// The kind of the error that a call ended with; panics where it succeeded.
pub(crate) fn kind(outcome: &Outcome) -> &'static str {
    match &outcome.result {
        Ok(value) => panic!("{:?} succeeded: {value}", outcome.function),
        Err(error) => error.kind(),
    }
}

/// The message of the error that a call ended with.
pub(crate) fn message(outcome: &Outcome) -> String {
    outcome.result.as_ref().expect_err("an error").to_string()
}

/// An answer that nobody waits for: the wait that it asks for is longer than a call may last.
pub(crate) fn later(status: u16) -> Reply {
    Reply::status(status).header("retry-after", "3600")
}
