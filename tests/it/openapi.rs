//! What is sent and what the simulator answers, held against the vendor's own description.
//!
//! The description is not part of this project: the environment variable `WHEREBY_OPENAPI` says
//! where it is. Where it is not set, only the validator itself is tested.

mod description;

use crate::wire::{ALLOW_ALL, hours, meeting};
use description::Description;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use whereby::Session;
use whereby::simulator::{
    ParticipantSeed, RecordedRequest, RoomSeed, SWITCHES, SwitchValues, Switches,
};
use whereby_tests::World;

/// The vendor's description, where it is at hand.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn vendors() -> Option<Description> {
    let Some(path) = std::env::var_os("WHEREBY_OPENAPI") else {
        eprintln!("skipped: WHEREBY_OPENAPI does not say where the vendor's description is");
        return None;
    };
    let text = std::fs::read_to_string(path).expect("WHEREBY_OPENAPI names a file");
    Some(Description::new(serde_json::from_str(&text).expect("the description is JSON")))
}

/// All items of `fields` that there are, as far as they go together.
fn all_fields() -> Vec<Value> {
    let s3 = |extra: &[(&str, &str)]| {
        let mut s3 = json!({"provider": "s3", "bucket": "b/x"});
        for (name, value) in extra {
            s3[*name] = (*value).into();
        }
        s3
    };
    let key =
        [("authenticationType", "access-key"), ("accessKeyId", "A"), ("accessKeySecret", "s")];
    let role = [("authenticationType", "role-based"), ("oidcRoleArn", "arn:x")];
    let mut sets = vec![
        json!(["hostRoomUrl", "viewerRoomUrl", "isLocked", {"roomNamePattern": "human-short"}]),
        json!(["viewerMode", {"roomNamePattern": "uuid"}]),
        json!([{"recording": {"type": "none"}}]),
        json!([{"recording": {"type": "local", "startTrigger": "none"}}]),
        json!([{"streaming": {"destination": {"url": "rtmp://a.example/x"}}}]),
        json!([{"liveTranscription": {}}]),
    ];
    for trigger in ["none", "prompt", "automatic", "automatic-second-participant"] {
        let destination = if trigger == "none" { s3(&role) } else { s3(&key) };
        sets.push(json!([
            {"recording": {"type": "cloud", "destination": destination, "startTrigger": trigger}},
        ]));
    }
    for format in ["mkv", "mp4"] {
        let destination = json!({"provider": "whereby", "fileFormat": format});
        sets.push(json!([{"recording": {"type": "cloud", "destination": destination}}]));
    }
    for trigger in ["none", "prompt", "automatic"] {
        let destination = json!({"url": "rtmps://a.example/x"});
        sets.push(json!([{"streaming": {"destination": destination, "startTrigger": trigger}}]));
    }
    for trigger in ["none", "manual", "automatic", "automatic-second-participant"] {
        let mut destination = s3(&key);
        destination["region"] = "eu-north-1".into();
        sets.push(json!([{"liveTranscription": {
            "destination": destination, "startTrigger": trigger, "liveCaptions": true,
        }}]));
    }
    let function = whereby::catalog::function("create_room").expect("a function");
    let schema = whereby::schema::arguments(function);
    for language in languages(&schema) {
        sets.push(json!([{"liveTranscription": {"language": language}}]));
    }
    sets
}

/// The words that the schema allows for `language`, wherever it stands.
fn languages(schema: &Value) -> Vec<Value> {
    match schema {
        Value::Object(object) => {
            let own = object.get("language").and_then(|language| language["enum"].as_array());
            match own {
                Some(words) => words.iter().filter(|word| word.is_string()).cloned().collect(),
                None => object.values().flat_map(languages).collect(),
            }
        }
        Value::Array(items) => items.iter().flat_map(languages).collect(),
        _ => Vec::new(),
    }
}

/// Calls everything in many ways; what comes of it does not matter here.
async fn call_everything(session: &Session, ids: &[String], fields: &[Value]) {
    let mut calls = vec![
        ("list_rooms", json!({})),
        ("list_rooms", json!({"limit": 1})),
        ("get_room", json!({"room_name": "daily"})),
        ("get_room", json!({"room_name": "nobody"})),
        ("list_meetings", json!({})),
        ("list_meetings", json!({"limit": 1, "from_date": "2020-01-01", "to_date": "2090-01-01"})),
        ("list_meetings", json!({"room_name": "daily", "limit": 1})),
        ("get_current_user", json!({})),
        ("create_room", json!({})),
        ("create_room", json!({"room_mode": "group", "start_date": "2098-01-01T00:00:00Z"})),
        ("create_room", json!({"room_mode": "normal", "room_name_prefix": "new"})),
        ("create_room", json!({"end_date": "2098-01-01T00:00:00.5+02:00"})),
        ("delete_room", json!({"room_name": "gone"})),
    ];
    calls.extend(ids.iter().map(|id| ("get_meeting", json!({"meeting_id": id}))));
    calls.extend(fields.iter().map(|fields| ("create_room", json!({"fields": fields}))));
    for (function, arguments) in calls {
        let outcome = session.call(None, function, arguments.clone()).await;
        if let (Ok(page), true) = (&outcome.result, function.starts_with("list_")) {
            let mut arguments = arguments;
            arguments["cursor"] = page["meta"]["nextCursor"].clone();
            let _ = session.call(None, function, arguments).await;
        }
    }
}

/// What a recorded request was answered with: asked for once more, as it was.
async fn answer(world: &World, request: &RecordedRequest) -> (u16, Value) {
    let target = match request.query.as_str() {
        "" => request.path.clone(),
        query => format!("{}?{query}", request.path),
    };
    let answer = send(world, &request.method, &target, &request.body).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Sends a request of one's own, and returns the whole answer.
async fn send(world: &World, method: &str, target: &str, body: &[u8]) -> String {
    let (address, token) = (world.simulator.address(), world.simulator.token());
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         connection: close\r\ncontent-length: {}\r\n{kind}\r\n",
        body.len()
    );
    let bytes = [head.as_bytes(), body].concat();
    let exchange = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.write_all(&bytes)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    });
    exchange.await.expect("it ends").expect("an answer")
}

#[tokio::test]
async fn requests_and_answers_are_as_the_vendor_describes_them() {
    let Some(description) = vendors() else { return };
    let fields = all_fields();
    let mut cases = vec![(Switches::default(), &fields[..])];
    for switch in SWITCHES {
        if let SwitchValues::Choice(words) = switch.values {
            for word in &words[1..] {
                let mut switches = Switches::default();
                switches.set(switch.name, word).expect("a value");
                cases.push((switches, &fields[..2]));
            }
        }
    }
    let (mut checked, mut wrong) = (0, Vec::new());
    for (mut switches, fields) in cases {
        switches.rate_limit = 0;
        let world = World::with_rooms(Vec::new()).await;
        world.configure(ALLOW_ALL);
        world.simulator.set_switches(switches);
        let session = meeting(hours(24)).recorded().transcribed();
        let session = session.participant(ParticipantSeed::anonymous());
        let daily = RoomSeed::named("daily").created(hours(48)).session(session);
        let daily = daily.session(meeting(hours(2)).running());
        let room = world.simulator.add_room(0, &daily);
        world.simulator.add_room(0, &RoomSeed::named("gone"));
        let mut ids: Vec<String> = room.sessions.iter().map(|id| format!("daily:{id}")).collect();
        ids.push(room.sessions[0].clone());
        call_everything(&world.session(), &ids, fields).await;
        for request in world.requests() {
            let (status, body) = answer(&world, &request).await;
            checked += 1;
            wrong.extend(description.check_request(&request));
            wrong.extend(description.check_answer(&request.method, &request.path, status, &body));
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{} things are not as described:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 500, "only {checked} requests were checked");
}

#[tokio::test]
async fn what_is_not_as_described_is_reported() {
    let Some(description) = vendors() else { return };
    let world = World::with_rooms(Vec::new()).await;
    for (method, target, body) in [
        ("GET", "/rooms", ""),
        ("PATCH", "/meetings", ""),
        ("GET", "/meetings?limit=0", ""),
        ("GET", "/meetings?limit=ten", ""),
        ("GET", "/meetings?colour=red", ""),
        ("GET", "/meetings?roomName[exact]=/x", ""),
        ("GET", "/meetings?fields=title", ""),
        ("GET", "/insights/rooms?createdAt[to]=yesterday", ""),
        ("GET", "/insights/rooms?createdAt[at]=2026-03-01T00:00:00Z", ""),
        ("GET", "/insights/room-sessions?limit=1", ""),
        ("GET", "/insights/participants?sortBy=joinedAt:asc", ""),
        ("POST", "/meetings", "{}"),
        ("POST", "/meetings", r#"{"endDate": 7}"#),
        ("POST", "/meetings", r#"{"endDate": "tomorrow"}"#),
        ("POST", "/meetings", r#"{"endDate": "2099-01-01T00:00:00Z", "roomMode": "big"}"#),
        ("POST", "/meetings", r#"{"endDate": "2099-01-01T00:00:00Z", "roomMode": null}"#),
        ("POST", "/meetings", r#"{"endDate": "2099-01-01T00:00:00Z", "title": "x"}"#),
        ("POST", "/meetings", r#"{"endDate": "2099-01-01T00:00:00Z", "fields": ["isLocked"]}"#),
        (
            "POST",
            "/meetings",
            r#"{"endDate": "2099-01-01T00:00:00Z", "recording": {"type": "none"}}"#,
        ),
        ("DELETE", "/meetings/", ""),
    ] {
        world.simulator.clear_requests();
        send(&world, method, &format!("/v1{target}"), body.as_bytes()).await;
        let reported = description.check_request(&world.requests()[0]);
        assert!(!reported.is_empty(), "{target} {body}");
    }
    let meeting =
        json!({"meetingId": "7", "roomUrl": "https://a.b/c", "endDate": "2099-01-01T00:00:00Z"});
    assert_eq!(description.check_answer("POST", "/v1/meetings", 201, &meeting), [""; 0]);
    for (method, path, status, body) in [
        ("POST", "/v1/meetings", 201, json!({})),
        ("POST", "/v1/meetings", 200, meeting.clone()),
        ("POST", "/v1/meetings", 418, json!({})),
        ("GET", "/v1/meetings", 200, json!({"results": []})),
        ("GET", "/v1/meetings", 200, json!({"results": {}, "cursor": null})),
        ("GET", "/v1/meetings", 200, json!({"results": [{"meetingId": 7}], "cursor": null})),
        ("GET", "/v1/meetings", 429, json!({"error": 7})),
        ("GET", "/v1/insights/participants", 200, json!({"results": [{}], "cursor": null})),
    ] {
        let reported = description.check_answer(method, path, status, &body);
        assert!(!reported.is_empty(), "{method} {path} {status} {body}");
    }
}
