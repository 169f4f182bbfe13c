//! Answers that are not what Whereby documents: a clear error, never a trap and never a guess.

use crate::wire::{ALLOW_ALL, calls, daily, daily_world, first_request, kind, message};
use serde_json::{Value, json};
use whereby::simulator::Reply;
use whereby_tests::World;

/// Bodies of a 200 that no function can do anything with.
fn malformed() -> Vec<(&'static str, Reply)> {
    let ok = || Reply::status(200);
    let typed = |body: &str| ok().header("content-type", "application/json").body(body);
    vec![
        ("nothing", ok()),
        ("white space", typed("  \n ")),
        ("a page of HTML", ok().header("content-type", "text/html").body("<html></html>")),
        ("half of JSON", typed("{\"results\": [{\"meetingId\": ")),
        ("more than JSON", typed("{\"results\": [], \"cursor\": null} x")),
        ("null", typed("null")),
        ("a list", typed("[]")),
        ("a text", typed("\"results\"")),
        ("a number", typed("7")),
        ("another object", typed("{\"result\": []}")),
        ("results that are null", typed("{\"results\": null, \"cursor\": null}")),
        ("results that are an object", typed("{\"results\": {}, \"cursor\": null}")),
        ("results that are a text", typed("{\"results\": \"\", \"cursor\": null}")),
        ("a row that is null", typed("{\"results\": [null], \"cursor\": null}")),
        ("a row that is a list", typed("{\"results\": [[]], \"cursor\": null}")),
        ("a row that is a text", typed("{\"results\": [\"x\"], \"cursor\": null}")),
        ("a row without members", typed("{\"results\": [{}], \"cursor\": null}")),
        ("bytes that are not UTF-8", ok().body(b"{\"results\": [\"\xff\xfe\"]}".to_vec())),
        ("a number that is too large", typed("{\"results\": [1e999], \"cursor\": null}")),
        ("a deep nesting", typed(&format!("{}{}", "[".repeat(5000), "]".repeat(5000)))),
    ]
}

#[tokio::test]
async fn an_answer_that_is_not_as_documented_is_an_unexpected_response() {
    let (world, meeting) = daily_world().await;
    let session = world.session();
    for (function, arguments) in calls(&meeting) {
        let (method, path) = first_request(function);
        for (what, reply) in malformed() {
            let rows = what.starts_with("a row without");
            if rows && function == "get_current_user" {
                // It needs nothing of a row but its URL, which is tested below.
                continue;
            }
            let reply = if method == "POST" { reply.after_carrying_out() } else { reply };
            world.simulator.script(method, path, 1, reply);
            let outcome = session.call(None, function, arguments.clone()).await;
            world.simulator.clear_scripts();
            assert_eq!(kind(&outcome), "unexpected-response", "{function}, {what}");
            let message = message(&outcome);
            assert!(message.contains(path.trim_start_matches("/v1")), "{function}: {message}");
        }
    }
}

#[tokio::test]
async fn half_of_an_emoji_hides_nothing_else() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure(ALLOW_ALL);
    let room = world.simulator.add_room(0, &daily());
    let rows = format!(
        r#"{{"results": [
            {{"meetingId": "1", "roomName": "/x\ud83d", "roomUrl": "https://a.whereby.com/x"}},
            {{"meetingId": "{}", "roomName": "/daily", "roomUrl": "{}", "endDate": "\ude00\ud83d\ude00"}}
        ], "cursor": null}}"#,
        room.meeting_id, room.url
    );
    let page = || Reply::status(200).body(rows.as_str());
    world.simulator.script("GET", "/v1/meetings", 1, page());
    let listed = world.call("list_rooms", json!({})).await.result.expect("a page");
    assert_eq!(listed["data"][0]["roomName"], "x\u{fffd}");
    assert_eq!(listed["data"][1]["endDate"], "\u{fffd}😀");

    let people = r#"{"results": [
        {"displayName": "Ines \ud83d", "roleName": "host"}, {"displayName": "\ud83d\ude00"}
    ], "cursor": null}"#;
    world.simulator.script("GET", "/v1/insights/participants", 1, Reply::status(200).body(people));
    let id = format!("daily:{}", room.sessions[0]);
    let meeting = world.call("get_meeting", json!({"meeting_id": id})).await.result;
    let meeting = meeting.expect("a meeting");
    assert_eq!(meeting["participants"][0]["name"], "Ines \u{fffd}");
    assert_eq!(meeting["participants"][1]["name"], "😀");

    // The host reads the list by itself, and lets go of what it finds there alone.
    world.simulator.script("GET", "/v1/meetings", 1, page());
    let deleted = world.call("delete_room", json!({"room_name": "daily"})).await;
    assert_eq!(deleted.result.expect("deleted")["meetingId"], room.meeting_id.as_str());
}

#[tokio::test]
async fn a_cursor_of_another_type_is_an_unexpected_response() {
    let (world, _) = daily_world().await;
    for cursor in [json!(7), json!(true), json!({}), json!([])] {
        let reply = Reply::status(200).json(&json!({"results": [], "cursor": cursor}));
        world.simulator.script("GET", "/v1/meetings", 1, reply);
        let outcome = world.call("list_rooms", json!({})).await;
        assert_eq!(kind(&outcome), "unexpected-response", "{cursor}");
        assert!(message(&outcome).contains("cursor"), "{}", message(&outcome));
    }
}

/// The row with one member set to something else, for every member and several values.
fn spoilt(row: &Value, members: &[&str]) -> Vec<(String, Value)> {
    let mut spoilt = Vec::new();
    for member in members {
        for value in [json!({}), json!([]), json!(true), json!({"a": 1})] {
            let mut row = row.clone();
            row[*member] = value.clone();
            spoilt.push((format!("{member} = {value}"), row));
        }
    }
    spoilt
}

#[tokio::test]
async fn a_member_of_the_wrong_type_is_named() {
    let (world, meeting) = daily_world().await;
    let session_id = meeting.split_once(':').expect("a composite id").1;
    let session = world.session();
    let room = json!({
        "meetingId": "7", "roomName": "/daily", "roomUrl": "https://acme-demo.whereby.com/daily",
        "startDate": "2026-03-01T00:00:00Z", "endDate": "2030-01-01T00:00:00Z",
    });
    let a_session = json!({
        "roomSessionId": session_id, "roomName": "/daily", "startedAt": "2026-03-01T00:00:00Z",
        "endedAt": "2026-03-01T01:00:00Z", "totalUniqueParticipants": 2, "totalRecorderMinutes": 0,
    });
    let person = json!({
        "roomSessionId": session_id, "participantId": "p", "roleName": "host", "displayName": "x",
        "joinedAt": "2026-03-01T00:00:00Z", "leftAt": "2026-03-01T01:00:00Z", "externalId": "",
    });
    let sessions = "/v1/insights/room-sessions";
    let by_id = json!({"meeting_id": meeting});
    let by_room = json!({"room_name": "daily"});
    for (function, arguments, path, row, members) in [
        (
            "list_rooms",
            json!({}),
            "/v1/meetings",
            &room,
            &["meetingId", "roomName", "roomUrl", "startDate", "endDate"][..],
        ),
        (
            "get_room",
            by_room.clone(),
            "/v1/meetings",
            &room,
            &["meetingId", "roomName", "roomUrl", "startDate", "endDate"],
        ),
        ("get_current_user", json!({}), "/v1/meetings", &room, &["roomUrl"]),
        (
            "list_meetings",
            by_room,
            sessions,
            &a_session,
            &[
                "roomSessionId",
                "startedAt",
                "endedAt",
                "totalUniqueParticipants",
                "totalRecorderMinutes",
            ],
        ),
        (
            "get_meeting",
            by_id.clone(),
            sessions,
            &a_session,
            &["roomSessionId", "startedAt", "endedAt", "totalUniqueParticipants"],
        ),
        (
            "get_meeting",
            by_id,
            "/v1/insights/participants",
            &person,
            &["roleName", "displayName", "joinedAt", "leftAt", "externalId", "participantId"],
        ),
    ] {
        for (what, row) in spoilt(row, members) {
            let reply = Reply::status(200).json(&json!({"results": [row], "cursor": null}));
            world.simulator.script("GET", path, 1, reply);
            let outcome = session.call(None, function, arguments.clone()).await;
            world.simulator.clear_scripts();
            assert_eq!(kind(&outcome), "unexpected-response", "{function}, {what}");
            let member = what.split(' ').next().unwrap_or_default();
            assert!(message(&outcome).contains(member), "{function}: {}", message(&outcome));
        }
    }
}

#[tokio::test]
async fn a_date_that_is_none_is_named() {
    let (world, _) = daily_world().await;
    for date in ["yesterday", "2026-03-01", "1772323200"] {
        let row =
            json!({"roomSessionId": "s", "roomName": "/daily", "startedAt": date, "endedAt": null});
        let reply = Reply::status(200).json(&json!({"results": [row], "cursor": null}));
        world.simulator.script("GET", "/v1/insights/room-sessions", 1, reply);
        let outcome = world.call("list_meetings", json!({"room_name": "daily"})).await;
        assert_eq!(kind(&outcome), "unexpected-response", "{date}");
        assert!(message(&outcome).contains("startedAt"), "{}", message(&outcome));
    }
}

#[tokio::test]
async fn a_room_that_may_have_been_made_is_told_where_the_answer_cannot_be_read() {
    let (world, _) = daily_world().await;
    for reply in [
        Reply::status(201).body("<html>"),
        Reply::status(201).json(&json!({"meetingId": "7"})),
        Reply::status(201).json(&json!([])),
    ] {
        let reply = reply.after_carrying_out();
        world.simulator.clear_requests();
        world.simulator.script("POST", "/v1/meetings", 1, reply);
        let outcome = world.call("create_room", json!({})).await;
        assert_eq!(kind(&outcome), "unexpected-response");
        assert_eq!(outcome.write, whereby::WriteOutcome::Unknown, "the room may exist");
        assert_eq!(world.requests().len(), 1, "no second room");
    }
}

#[tokio::test]
async fn the_content_type_of_an_answer_does_not_matter() {
    let (world, _) = daily_world().await;
    for kind in ["text/plain", "text/html", "application/octet-stream", "nonsense"] {
        let reply = Reply::carried_out().header("content-type", kind);
        world.simulator.script("GET", "/v1/meetings", 1, reply);
        let page = world.call("list_rooms", json!({})).await.result.expect(kind);
        assert_eq!(page["data"].as_array().map(Vec::len), Some(1), "{kind}");
    }
}
