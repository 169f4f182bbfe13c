//! What is said of a write follows from what was answered, and every front end says the same.

use crate::wire::{ALLOW_ALL, later, sent};
use serde_json::{Value, json};
use whereby::simulator::{Reply, RoomSeed};
use whereby_tests::World;

/// An answer, and what it proves: `none`, `unknown` or `done`.
type Case = (&'static str, Reply, &'static str);

/// Answers that prove the same of every write.
fn answers() -> Vec<Case> {
    let status = |status| Reply::status(status).json(&json!({"error": "no"}));
    let html = "<!doctype html><title>Sign in</title>";
    vec![
        ("300", Reply::status(300), "unknown"),
        ("302", Reply::status(302).header("location", "/v1/meetings/7"), "unknown"),
        ("303", Reply::status(303).header("location", "/v1/meetings/7"), "unknown"),
        ("304", Reply::status(304), "unknown"),
        ("307", Reply::status(307), "unknown"),
        ("400", status(400), "none"),
        ("401", status(401), "none"),
        ("402", status(402), "unknown"),
        ("403", status(403), "none"),
        ("405", status(405), "none"),
        ("408", status(408), "unknown"),
        ("409", status(409), "none"),
        ("413", status(413), "none"),
        ("415", status(415), "none"),
        ("418", status(418), "unknown"),
        ("422", status(422), "none"),
        ("425", status(425), "unknown"),
        ("429", later(429), "none"),
        ("499", status(499), "unknown"),
        ("500", status(500), "unknown"),
        ("503", later(503), "unknown"),
        ("200 with a page", Reply::status(200).body(html), "unknown"),
        ("201 with a page", Reply::status(201).body(html), "unknown"),
        ("half an answer", Reply::status(201).body("{}  ").truncated(1), "unknown"),
        ("no HTTP", Reply::raw(b"hello\r\n\r\n"), "unknown"),
        ("a hang-up", Reply::status(201).hanging_up(), "unknown"),
    ]
}

fn creations() -> Vec<Case> {
    let created = json!({
        "meetingId": "7", "roomUrl": "https://acme-demo.whereby.com/x", "endDate": 7,
    });
    vec![
        ("404", Reply::status(404), "none"),
        ("204", Reply::status(204), "unknown"),
        ("200 without a room", Reply::status(200).json(&json!({})), "unknown"),
        ("201 with half a room", Reply::status(201).json(&json!({"meetingId": "7"})), "unknown"),
        ("a room with a wrong member", Reply::status(201).json(&created), "done"),
    ]
}

/// Checks that the program, its log and a script say of a write what its answer proves.
async fn check(function: &str, method: &str, (what, reply, effect): Case) {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    world.configure(ALLOW_ALL);
    let (arguments, script) = match function {
        "create_room" => ("{}", "app.integrations.whereby.create_room({})"),
        _ => (
            r#"{"room_name": "daily"}"#,
            r#"app.integrations.whereby.delete_room({ room_name = "daily" })"#,
        ),
    };
    for command in [&["call", function, arguments, "--json"][..], &["lua", "-e", script, "--json"]]
    {
        world.simulator.clear_requests();
        // A deletion is tried four times where that is safe.
        world.simulator.script(method, "/v1/meetings", 4, reply.clone());
        let ran = world.run(command).await;
        world.simulator.clear_scripts();
        let error = ran.json()["error"].clone();
        let shown = format!("{function} after {what}: {ran:?}");
        assert_eq!(error["effect"], effect, "{shown}");
        assert_eq!(ran.code == 10, effect != "none", "{shown}");
        if effect != "none" {
            assert_eq!(error["retryable"], false, "{shown}");
            assert_eq!(error["retry_after_seconds"], Value::Null, "{shown}");
            let hint = error["hint"].as_str().expect("a hint");
            assert!(hint.contains("look") || hint.contains("do not repeat"), "{shown}");
        }
        // The hint says it, and what the component says for hosts without hints is left out.
        let hint = error["hint"].as_str().unwrap_or_default();
        let says_maybe = ["may exist", "may be gone"].iter().any(|words| hint.contains(words));
        assert_eq!(says_maybe, effect == "unknown", "{shown}");
        assert_eq!(hint.contains("do not repeat"), effect == "done", "{shown}");
        let message = error["message"].as_str().expect("a message");
        for words in ["may exist", "may be gone", "the room exists"] {
            assert!(!message.contains(words), "{shown}");
        }
        let rows = world.audit();
        let outcome = rows.last().and_then(|row| row.outcome.as_ref()).expect("an end");
        assert_eq!(outcome.effect, effect, "{shown}");
        let writes = sent(&world).iter().filter(|line| line.starts_with(method)).count();
        assert!(writes == 1 || function == "delete_room", "{shown}");
    }
}

#[tokio::test]
async fn what_is_said_of_a_creation_is_what_its_answer_proves() {
    for case in answers().into_iter().chain(creations()) {
        check("create_room", "POST", case).await;
    }
}

#[tokio::test]
async fn what_is_said_of_a_deletion_is_what_its_answers_prove() {
    // It says nothing of a room that Whereby has just listed.
    let page = Reply::status(404).body("<html>not found</html>");
    for case in answers().into_iter().chain([("404 with a page", page, "unknown")]) {
        check("delete_room", "DELETE", case).await;
    }
}

#[tokio::test]
async fn an_answer_that_proves_a_write_makes_it_a_success() {
    let room = json!({"meetingId": 7, "roomUrl": "https://acme-demo.whereby.com/x"});
    for (function, arguments, method, reply) in [
        ("create_room", json!({}), "POST", Reply::carried_out()),
        ("create_room", json!({}), "POST", Reply::status(200).json(&room)),
        ("delete_room", json!({"room_name": "daily"}), "DELETE", Reply::status(204)),
        ("delete_room", json!({"room_name": "daily"}), "DELETE", Reply::status(200)),
        (
            "delete_room",
            json!({"room_name": "daily"}),
            "DELETE",
            Reply::status(200).json(&json!({})),
        ),
        (
            "delete_room",
            json!({"room_name": "daily"}),
            "DELETE",
            Reply::status(404).json(&json!({"error": "gone"})),
        ),
    ] {
        let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
        world.configure(ALLOW_ALL);
        world.simulator.script(method, "/v1/meetings", 1, reply.clone());
        let outcome = world.call(function, arguments).await;
        assert!(outcome.result.is_ok(), "{function} {reply:?}: {:?}", outcome.result);
        assert_eq!(outcome.write, whereby::WriteOutcome::Done);
    }
}

#[tokio::test]
async fn what_an_earlier_attempt_of_a_deletion_did_stays_unknown() {
    for last in [Reply::status(403), later(429), Reply::status(422)] {
        let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
        world.configure(ALLOW_ALL);
        let lost = Reply::carried_out().hanging_up();
        world.simulator.script("DELETE", "/v1/meetings", 1, lost);
        world.simulator.script("DELETE", "/v1/meetings", 1, last.clone());
        let ran = world.run(&["call", "delete_room", r#"{"room_name": "daily"}"#, "--json"]).await;
        let error = ran.json()["error"].clone();
        assert_eq!((ran.code, &error["effect"]), (10, &json!("unknown")), "{last:?}: {ran:?}");
        assert!(error["hint"].as_str().expect("text").contains("may be gone"), "{ran:?}");
    }
}
