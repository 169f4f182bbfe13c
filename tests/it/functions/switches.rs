//! Every switch of the simulator at each of its values: all functions work, or fail cleanly.

use crate::wire::{ALLOW_ALL, daily, hours, meeting, room_with_meetings};
use serde_json::{Value, json};
use whereby::Session;
use whereby::simulator::{RoomSeed, SWITCHES, SwitchValues, Switches};
use whereby_tests::World;

/// The values to try: all words; of numbers the default, the least and the greatest.
fn values(name: &str, values: SwitchValues) -> Vec<String> {
    match values {
        SwitchValues::Choice(words) => words.iter().map(ToString::to_string).collect(),
        // What is held back for ten minutes comes after the end of the call.
        SwitchValues::Number { default, least, .. } if name == "latency" => {
            [default, least, 1].map(|number| number.to_string()).to_vec()
        }
        SwitchValues::Number { default, least, most, .. } => {
            let numbers = [default, least, most, least + 1];
            numbers.map(|number| number.to_string()).to_vec()
        }
    }
}

/// Which functions may fail where a switch has a value, and how.
fn may_fail(name: &str, value: &str, function: &str) -> Option<&'static str> {
    match (name, value, function) {
        // One point is spent by the first request already, or less than it costs.
        ("rate-limit", "1", _) => Some("rate-limited"),
        // Insights do not know the meeting yet.
        ("insights-lag", "1440", "get_meeting") => Some("not-found"),
        // They are about a room that is not there any more.
        ("insights-of-deleted", "dropped", "get_meeting") => Some("not-found"),
        _ => None,
    }
}

/// Calls every function once, and returns what failed.
async fn call_all(session: &Session, id: &str) -> Vec<(&'static str, String)> {
    let mut failed = Vec::new();
    let mut call = async |function: &'static str, arguments: Value| {
        let outcome = session.call(None, function, arguments).await;
        match outcome.result {
            Ok(value) => {
                let schema = whereby::schema::result(outcome_function(function));
                for member in schema["required"].as_array().expect("a list") {
                    let member = member.as_str().expect("a name");
                    assert!(value.get(member).is_some(), "{function} without {member}: {value}");
                }
                Some(value)
            }
            Err(error) => {
                failed.push((function, error.kind().to_owned()));
                None
            }
        }
    };
    call("list_rooms", json!({"limit": 2})).await;
    call("get_room", json!({"room_name": "daily"})).await;
    call("list_meetings", json!({"limit": 5})).await;
    call("list_meetings", json!({"room_name": "daily"})).await;
    call("get_meeting", json!({"meeting_id": id})).await;
    call("get_current_user", json!({})).await;
    let fields = json!({"fields": ["hostRoomUrl", {"recording": {"type": "none"}}]});
    if let Some(room) = call("create_room", fields).await {
        assert!(room["hostRoomUrl"].is_string(), "{room}");
        call("delete_room", json!({"room_name": room["roomName"]})).await;
    }
    failed
}

fn outcome_function(name: &str) -> &'static whereby::catalog::Function {
    whereby::catalog::function(name).expect("a function")
}

#[tokio::test]
async fn every_function_works_however_the_api_behaves() {
    let mut tried = 0;
    for switch in SWITCHES {
        let world = World::with_rooms(Vec::new()).await;
        world.configure(ALLOW_ALL);
        let room = world.simulator.add_room(0, &daily());
        world
            .simulator
            .add_room(0, &RoomSeed::named("daily-2").session(meeting(hours(3)).recorded()));
        world.simulator.add_room(0, &room_with_meetings("gone", 2).deleted());
        let session = world.session();
        let id = format!("daily:{}", room.sessions[0]);
        for value in values(switch.name, switch.values) {
            let mut switches = Switches::default();
            switches.set(switch.name, &value).expect("a value of the switch");
            world.simulator.set_switches(switches);
            for (function, kind) in call_all(&session, &id).await {
                let allowed = may_fail(switch.name, &value, function);
                assert_eq!(Some(&*kind), allowed, "{function} with {} = {value}", switch.name);
            }
            tried += 1;
        }
    }
    assert!(tried > 55, "only {tried} values were tried");
}

#[tokio::test]
async fn a_rate_limit_is_told_in_every_form_that_whereby_may_give_it() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure(ALLOW_ALL);
    let session = world.session();
    for spelling in ["msLeft", "ms_left"] {
        for header in ["whole", "decimal", "absent"] {
            for reset in ["javascript", "iso", "epoch"] {
                let mut switches = Switches { rate_limit: 1, ..Switches::default() };
                for (name, value) in
                    [("ms-left", spelling), ("retry-after", header), ("rate-limit-reset", reset)]
                {
                    switches.set(name, value).expect("a value of the switch");
                }
                world.simulator.set_switches(switches);
                let outcome = session.call(None, "create_room", json!({})).await;
                let error = outcome.result.expect_err("a rate limit");
                let document = error.to_json(outcome.write);
                assert_eq!(document["kind"], "rate-limited", "{spelling} {header} {reset}");
                let seconds = document["retry_after_seconds"].as_u64().expect("seconds");
                assert!((30..=60).contains(&seconds), "{seconds} s: {spelling} {header} {reset}");
                assert_eq!(document["effect"], "none");
            }
        }
    }
}
