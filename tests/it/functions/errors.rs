//! What each status of Whereby's becomes, for each function and each kind of body.

use crate::wire::{calls, daily_world, first_request, later};
use serde_json::json;
use whereby::WriteOutcome;
use whereby::cli::Exit;
use whereby::simulator::Reply;

/// The status, the kind of the error, the exit status, and whether trying again makes sense.
const STATUSES: [(u16, &str, u8, bool); 11] = [
    (400, "rejected", 6, false),
    (401, "unauthorized", 3, false),
    (403, "access-denied", 6, false),
    (404, "not-found", 6, false),
    (409, "rejected", 6, false),
    (422, "rejected", 6, false),
    (429, "rate-limited", 7, true),
    (500, "unavailable", 8, true),
    (501, "unavailable", 8, true),
    (503, "unavailable", 8, true),
    (302, "unexpected-response", 8, false),
];

fn with_body(status: u16, body: &str) -> Reply {
    // 429 and 503 are tried again, but not where they ask for a longer wait than a call may last.
    let reply = later(status);
    match body {
        "json" => reply.json(&json!({"error": "because"})),
        "message" => reply.json(&json!({"message": "because"})),
        "html" => reply.header("content-type", "text/html").body("<html><h1>because</h1></html>"),
        "broken" => {
            reply.header("content-type", "application/json").body(b"{\"error\":\xff".to_vec())
        }
        _ => reply,
    }
}

#[tokio::test]
async fn each_status_becomes_its_kind_whatever_the_body() {
    let (world, meeting) = daily_world().await;
    let session = world.session();
    for (function, arguments) in calls(&meeting) {
        let (method, path) = first_request(function);
        for (status, kind, exit, retryable) in STATUSES {
            for body in ["json", "message", "html", "broken", "empty"] {
                let case = format!("{function}, {status}, {body}");
                // Where sorting is refused with a 400, the list is asked for once more unsorted.
                world.simulator.script(method, path, 2, with_body(status, body));
                let outcome = session.call(None, function, arguments.clone()).await;
                world.simulator.clear_scripts();
                let error = outcome.result.expect_err(&case);
                assert_eq!(error.kind(), kind, "{case}");
                assert_eq!(Exit::of(&error).code(), exit, "{case}");
                assert_eq!(error.is_retryable(), retryable, "{case}");
                let text = error.to_string();
                assert!(!text.contains('<'), "{case}: {text}");
                let is_told = matches!(body, "json" | "message")
                    && !matches!(kind, "rate-limited" | "not-found" | "unexpected-response");
                assert!(!is_told || text.contains("because"), "{case}: {text}");
                let document = error.to_json(outcome.write);
                let http_status = &document["http_status"];
                match kind {
                    "rejected" | "unauthorized" | "access-denied" | "rate-limited" => {
                        assert_eq!(*http_status, json!(status), "{case}");
                    }
                    _ => {}
                }
                let seconds = &document["retry_after_seconds"];
                let is_told = matches!(status, 429 | 503) && outcome.write == WriteOutcome::None;
                assert_eq!(*seconds == json!(3600), is_told, "{case}: {seconds}");
                if status == 503 && is_told {
                    let hint = error.hint(outcome.write).unwrap_or_default();
                    assert!(hint.starts_with("try again in 3600 s"), "{case}: {hint}");
                }
                // A POST that met a 5xx or a redirect may have made a room; a refusal made none.
                let unknown = function == "create_room" && (status >= 500 || status == 302);
                let expected = if unknown { WriteOutcome::Unknown } else { WriteOutcome::None };
                assert_eq!(outcome.write, expected, "{case}");
                assert_eq!(document["retryable"], retryable && !unknown, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn errors_after_the_first_request_fail_the_call_too() {
    let (world, meeting) = daily_world().await;
    let session = world.session();
    for (function, method, path) in [
        ("delete_room", "DELETE", "/v1/meetings/"),
        ("list_meetings", "GET", "/v1/insights/room-sessions"),
        ("get_meeting", "GET", "/v1/insights/participants"),
    ] {
        for (status, kind, ..) in STATUSES {
            // A room or a session that is gone meanwhile is no failure of these.
            if status == 404 {
                continue;
            }
            let arguments = calls(&meeting).into_iter().find(|(name, _)| *name == function);
            let arguments = arguments.expect("a call").1;
            world.simulator.script(method, path, 2, with_body(status, "json"));
            let outcome = session.call(None, function, arguments).await;
            world.simulator.clear_scripts();
            let error = outcome.result.expect_err(function);
            assert_eq!(error.kind(), kind, "{function} {status}");
        }
    }
}

#[tokio::test]
async fn a_text_of_whereby_s_is_shortened_and_cannot_act_on_a_terminal() {
    let (world, _) = daily_world().await;
    let long = format!("\u{1b}[2J\u{202e}{}", "x".repeat(10_000));
    let reply = Reply::status(400).json(&json!({"error": long}));
    world.simulator.script("GET", "/v1/meetings", 1, reply);
    let outcome = world.call("list_rooms", json!({})).await;
    let text = outcome.result.expect_err("a rejection").to_string();
    assert!(text.chars().count() < 700, "{} characters", text.chars().count());
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
}

#[tokio::test]
async fn a_wrong_token_is_unauthorized_and_nothing_else_is_tried() {
    let (world, meeting) = daily_world().await;
    let url = world.simulator.url();
    world.write(
        "config/whereby/config.toml",
        &format!(
            "[permissions]\nwrite = \"allow\"\n\
             [accounts.work]\naccess_token = \"wrong\"\napi_url = \"{url}\"\n"
        ),
    );
    let session = world.session();
    for (function, arguments) in calls(&meeting) {
        world.simulator.clear_requests();
        let outcome = session.call(None, function, arguments).await;
        let error = outcome.result.expect_err(function);
        assert_eq!(error.kind(), "unauthorized", "{function}");
        assert!(
            error.hint(WriteOutcome::None).is_some_and(|hint| hint.contains("access token")),
            "{function}"
        );
        let sent = world.requests().len();
        assert!(sent == if function == "get_meeting" { 3 } else { 1 }, "{function} sent {sent}");
    }
}
