//! Finding out who took part in a meeting, where the rules say that nobody may.

use super::{HOSTILE, report};
use crate::people::{room, told};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use whereby::Outcome;
use whereby::simulator::{Reply, SeededRoom};
use whereby_tests::World;

/// A world with a room that is named after the program to run, and what must not be told of it.
async fn world(program: &str) -> (World, SeededRoom, BTreeSet<String>) {
    let world = World::with_rooms(Vec::new()).await;
    let room = world.simulator.add_room(0, &room(program));
    let told = told(&world, &room).await;
    (world, room, told)
}

async fn attempt(world: &World, room: &SeededRoom) -> Outcome {
    let session = world.session_with(None, Some(HOSTILE.to_vec()));
    let id = format!("{}:{}", room.name.trim_matches('/'), room.sessions[0]);
    session.call(None, "get_meeting", json!({ "meeting_id": id })).await
}

/// Only letters and digits, decoded in every way in which they are usually encoded.
fn forms(text: &str) -> Vec<String> {
    let fold = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let unescaped =
        serde_json::from_str(&format!("\"{text}\"")).unwrap_or_else(|_| text.to_owned());
    let percent = percent_decode_str(text).decode_utf8_lossy().into_owned();
    [text, &unescaped, &percent].map(fold).into()
}

/// Fails where a name or an id is in a text: as it is, escaped, encoded, reversed or in pieces.
fn assert_tells_nobody(what: &str, text: &str, told: &BTreeSet<String>) {
    // A report is escaped by `Debug`, which adds backslashes alone.
    let haystacks: Vec<String> =
        forms(text).into_iter().chain(forms(&text.replace('\\', ""))).collect();
    for name in told {
        let base64 = [STANDARD_NO_PAD.encode(name), URL_SAFE_NO_PAD.encode(name)];
        for code in base64 {
            assert!(!text.contains(&code), "{what} tells {name:?} in base64: {text}");
        }
        let folded = forms(name).remove(0);
        assert!(folded.chars().count() > 4, "{name:?} would be found by chance");
        let turned: String = folded.chars().rev().collect();
        for form in [&folded, &turned] {
            let found = haystacks.iter().any(|haystack| haystack.contains(form));
            assert!(!found, "{what} tells {name:?}: {text}");
        }
    }
}

fn shown(outcome: &Outcome) -> String {
    let result = match &outcome.result {
        Ok(result) => report("get_meeting", result).to_owned(),
        Err(error) => error.to_json(outcome.write).to_string(),
    };
    format!("{result}\n{outcome:?}")
}

#[tokio::test]
async fn with_names_the_program_finds_everybody() {
    let (world, room, told) = world("run-meeting-ok").await;
    let outcome = attempt(&world, &room).await;
    let result = outcome.result.expect("a meeting");
    let text = report("get_meeting", &result);
    // So the search below would find them.
    for name in ["Ines Falk", "crm-118", "Zoë 🦊 Ångström"] {
        assert!(told.contains(name) && text.contains(name), "{name}: {text}");
    }
    let caught = std::panic::catch_unwind(|| assert_tells_nobody("the program", text, &told));
    assert!(caught.is_err());
}

#[tokio::test]
async fn the_component_is_told_no_name_and_no_id() {
    let (world, room, told) = world("run-meeting-ok").await;
    for participants in ["pseudonyms", "hidden"] {
        world.configure(&format!("[privacy]\nparticipants = \"{participants}\"\n"));
        world.simulator.clear_requests();
        let outcome = attempt(&world, &room).await;
        let result = outcome.result.as_ref().expect("a meeting");
        let text = report("get_meeting", result);
        // It read everything: one page of all, and pages of one each, the recorder's too.
        assert_eq!(world.requests().len(), 3 + 7, "{text}");
        assert_eq!(text.matches("\"roleName\":\"host\"").count(), 2, "{text}");
        assert_eq!(
            text.matches("Participant ").count() > 0,
            participants == "pseudonyms",
            "{text}"
        );
        assert_tells_nobody(participants, text, &told);
        assert_tells_nobody(participants, &shown(&outcome), &told);
        let audit = world.run(&["audit", "--json"]).await;
        assert_tells_nobody("the audit log", &audit.stdout, &told);
    }
}

#[tokio::test]
async fn an_error_that_quotes_somebody_tells_the_component_nothing() {
    for program in ["run-meeting-ok", "run-meeting-rejected", "run-meeting-unexpected"] {
        let (world, room, told) = world(program).await;
        world.configure("[privacy]\nparticipants = \"hidden\"\n");
        for (status, member) in [(400, "error"), (404, "message"), (422, "detail"), (500, "title")]
        {
            let quoted: Vec<&String> = told.iter().collect();
            let body = json!({ member: format!("no {quoted:?}"), "errors": [{"path": quoted}] });
            let reply = Reply::status(status)
                .header("x-ratelimit-limit", "crm-118")
                .header("retry-after", "crm-118")
                .header("location", "/crm-118")
                .json(&body);
            world.simulator.script("GET", "/v1/", 4, reply);
            let outcome = attempt(&world, &room).await;
            world.simulator.clear_scripts();
            assert_tells_nobody(program, &shown(&outcome), &told);
        }
    }
}

#[tokio::test]
async fn a_page_that_says_more_tells_the_component_nothing() {
    let (world, room, told) = world("run-meeting-ok").await;
    let quoted: Vec<&String> = told.iter().collect();
    let session = &room.sessions[0];
    for participants in ["pseudonyms", "hidden"] {
        world.configure(&format!("[privacy]\nparticipants = \"{participants}\"\n"));
        let mut rows: Vec<Value> = Vec::new();
        for name in &quoted {
            rows.push(json!({
                "roomSessionId": session, "participantId": name, "roleName": "host",
                "displayName": name, "joinedAt": "2026-03-01T12:00:00Z", "externalId": name,
                "leftAt": "2026-03-01T12:30:00Z", "userId": name, "deviceId": name,
                "comment": name, "tags": quoted, "email": name,
            }));
            rows.push(json!({"displayName": [name], "externalId": {"a": name}, "userId": [name]}));
            rows.push(json!([name]));
        }
        // A cursor that is made of somebody's id.
        let page =
            json!({"results": rows, "cursor": STANDARD_NO_PAD.encode(quoted[0]), "who": quoted});
        world.simulator.script(
            "GET",
            "/v1/insights/participants",
            2,
            Reply::status(200).json(&page),
        );
        let outcome = attempt(&world, &room).await;
        world.simulator.clear_scripts();
        assert!(outcome.result.is_ok(), "{outcome:?}");
        assert_tells_nobody(participants, &shown(&outcome), &told);
    }
}

#[tokio::test]
async fn a_cursor_that_the_component_made_up_is_refused() {
    let (world, room, _) = world("run-cursor-ok").await;
    world.configure("[privacy]\nparticipants = \"hidden\"\n");
    let outcome = attempt(&world, &room).await;
    let error = outcome.result.expect_err("a fault");
    assert_eq!(error.kind(), "component-fault", "{error}");
    assert!(error.to_string().contains("with a cursor that it was not given"), "{error}");
    world.assert_untouched();
}
