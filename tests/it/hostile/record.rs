//! Whatever a component claims of a failure, what is told follows from what the host sent and from how
//! that was answered.

use super::{HOSTILE, LIMITS, lines};
use crate::wire::{kind, message};
use serde_json::{Value, json};
use whereby::WriteOutcome::{self, Done, None as Nothing, Unknown};
use whereby::cli::Exit;
use whereby::simulator::{Reply, RoomSeed};
use whereby::{ApprovalState, Call, Outcome, Session};
use whereby_tests::World;

/// What the component can claim: its word for it, and the kind of error that it stands for.
pub(super) const CLAIMS: [(&str, &str); 9] = [
    ("invalid", "invalid-argument"),
    ("unauthorized", "unauthorized"),
    ("denied", "access-denied"),
    ("missing", "not-found"),
    ("limited", "rate-limited"),
    ("rejected", "rejected"),
    ("timeout", "timeout"),
    ("unavailable", "unavailable"),
    ("unexpected", "unexpected-response"),
];

/// How a request is answered. `None` is a connection that ends without an answer.
pub(super) const ANSWERS: [Option<u16>; 17] = [
    Some(200),
    Some(302),
    Some(400),
    Some(401),
    Some(403),
    Some(404),
    Some(408),
    Some(409),
    Some(422),
    Some(425),
    Some(429),
    Some(499),
    Some(500),
    Some(503),
    Some(504),
    Some(599),
    None,
];

/// The kinds that an answer bears out.
fn borne_out(method: &str, answer: Option<u16>, write: WriteOutcome) -> Vec<&'static str> {
    if write == Done {
        return vec!["unexpected-response"];
    }
    let mut kinds = match answer {
        Some(200) => vec!["not-found", "unexpected-response"],
        Some(401) => vec!["unauthorized", "unexpected-response"],
        Some(403) => vec!["access-denied", "unexpected-response"],
        Some(404) => vec!["not-found", "unexpected-response"],
        Some(408) => vec!["timeout", "unexpected-response"],
        Some(422) => vec!["rejected", "unexpected-response"],
        Some(429) => vec!["rate-limited", "unexpected-response"],
        Some(504) => vec!["timeout", "unavailable", "unexpected-response"],
        Some(500..) => vec!["unavailable", "unexpected-response"],
        Some(_) => vec!["unexpected-response"],
        None => vec!["unavailable", "unexpected-response"],
    };
    // Whereby has just listed the room.
    if method == "DELETE" {
        kinds.retain(|kind| *kind != "not-found");
    }
    if write == Unknown {
        kinds.retain(|kind| matches!(*kind, "timeout" | "unavailable" | "unexpected-response"));
    }
    kinds
}

/// What is known of a write after an answer; `method` is that of the last request.
pub(super) fn effect(method: &str, answer: Option<u16>) -> WriteOutcome {
    match (method, answer) {
        ("GET", _) => Nothing,
        ("POST" | "DELETE", Some(200)) | ("DELETE", Some(404)) => Done,
        (_, Some(400 | 401 | 403 | 404 | 409 | 422 | 429)) => Nothing,
        _ => Unknown,
    }
}

pub(super) fn reply(method: &str, answer: Option<u16>) -> Reply {
    match answer {
        None => Reply::status(200).hanging_up(),
        // The room stays, for the next case.
        Some(200) if method == "DELETE" => Reply::status(204),
        Some(200) => Reply::carried_out(),
        Some(429) => Reply::status(429).header("retry-after", "7").json(&json!({"error": "said"})),
        Some(status) => Reply::status(status).json(&json!({"error": "said"})),
    }
}

struct Run {
    world: World,
    session: Session,
}

impl Run {
    async fn new() -> Self {
        let mut rooms = Vec::new();
        for (word, _) in CLAIMS {
            rooms.push(RoomSeed::named(&format!("run-get-delete-{word}")));
            rooms.push(RoomSeed::named(&format!("run-get-{word}")));
        }
        let world = World::with_rooms(rooms).await;
        world.configure(&format!("{LIMITS}[permissions]\nread = \"ask\"\nwrite = \"ask\"\n"));
        let session = world.session_with(None, Some(HOSTILE.to_vec()));
        Self { world, session }
    }

    /// Makes an approved call, and tells whether its approval was kept.
    async fn approved(&self, function: &str, arguments: Value) -> (Outcome, bool) {
        let asked = self.session.call(None, function, arguments.clone()).await;
        let id = asked.approval.clone().unwrap_or_else(|| panic!("no approval: {asked:?}"));
        let stored = self.world.store().approval(&id).expect("read").expect("there");
        if stored.state == ApprovalState::Pending {
            self.world.store().approve(&id).expect("approved");
        }
        let outcome = self.session.run(Call::new(function, arguments)).await;
        let stored = self.world.store().approval(&id).expect("read").expect("there");
        // What was kept is over for the next call like it.
        self.world.move_clock(2 * 60 * 60);
        (outcome, stored.state == ApprovalState::Approved)
    }
}

#[tokio::test]
async fn the_record_decides_and_not_the_component() {
    for (function, program, method) in [
        ("get_room", "run-get", "GET"),
        ("create_room", "run-post", "POST"),
        ("delete_room", "run-get-delete", "DELETE"),
    ] {
        let run = Run::new().await;
        for answer in ANSWERS {
            for (word, claimed) in CLAIMS {
                let case = format!("{function} answered {answer:?}, claiming {word}");
                let name = format!("{program}-{word}");
                let arguments = match function {
                    "create_room" => {
                        json!({"room_name_prefix": name, "end_date": "2099-01-01T00:00:00Z"})
                    }
                    _ => json!({"room_name": name}),
                };
                run.world.simulator.clear_scripts();
                run.world.simulator.clear_requests();
                run.world.simulator.script(method, "/v1/meetings", 1, reply(method, answer));
                let (outcome, is_kept) = run.approved(function, arguments).await;
                check(&case, &outcome, claimed, method, answer);
                let unanswered = match method {
                    "DELETE" => false,
                    _ => matches!(answer, None | Some(429)),
                };
                let may_keep = effect(method, answer) == Nothing && unanswered;
                assert_eq!(is_kept, may_keep, "{case}: the approval");
                let sent = lines(&run.world.requests());
                let last = sent.last().expect("a request");
                assert!(last.starts_with(method), "{case}: {sent:?}");
            }
        }
    }
}

fn check(case: &str, outcome: &Outcome, claimed: &str, method: &str, answer: Option<u16>) {
    let write = effect(method, answer);
    assert_eq!(outcome.write, write, "{case}: {outcome:?}");
    let error = outcome.result.as_ref().expect_err(case);
    let document = error.to_json(write);
    let kinds = borne_out(method, answer, write);
    let told = message(outcome);
    if kinds.contains(&claimed) {
        assert_eq!(kind(outcome), claimed, "{case}");
    } else if claimed != "rejected" {
        // Another refusal than the claimed one is a refusal, with its own status.
        assert_ne!(kind(outcome), claimed, "{case}: {error}");
        assert!(answer.is_some() || kind(outcome) == "unavailable", "{case}: {error}");
    }
    let is_marked =
        told.contains("the component says: ") || told.contains("the component reports ");
    let needs_none = kind(outcome) == "rate-limited";
    assert!(is_marked || needs_none, "{case}: {told}");
    if let Some(status) = answer.filter(|status| *status >= 300) {
        assert_eq!(document["http_status"], status, "{case}: {document}");
    }
    let is_limited = answer == Some(429) && kind(outcome) == "rate-limited";
    let seconds = if is_limited { json!(7) } else { Value::Null };
    assert_eq!(document["retry_after_seconds"], seconds, "{case}: {document}");
    let exit = Exit::of_call(error, write).code();
    if write == Nothing {
        assert_ne!(exit, 10, "{case}");
        return;
    }
    assert_eq!(exit, 10, "{case}");
    assert_eq!(document["retryable"], false, "{case}");
    let hint = document["hint"].as_str().expect("a hint");
    assert!(!hint.contains("try again"), "{case}: {hint}");
    if write == Done && (method, answer) != ("DELETE", Some(404)) {
        let done = if method == "POST" { "Whereby created the room `" } else { "Whereby deleted" };
        assert!(hint.contains(done) && hint.contains("with the id "), "{case}: {hint}");
    }
}

#[tokio::test]
async fn a_component_that_sent_nothing_has_failed_by_itself() {
    let run = Run::new().await;
    for (word, claimed) in CLAIMS {
        let arguments = json!({"room_name": format!("run-{word}")});
        let (outcome, is_kept) = run.approved("get_room", arguments).await;
        let expected = if word == "invalid" { claimed } else { "component-fault" };
        assert_eq!(kind(&outcome), expected, "{word}");
        assert_eq!(is_kept, word == "invalid", "{word}");
        run.world.assert_untouched();
    }
}

#[tokio::test]
async fn the_words_of_a_component_are_few_and_marked_as_its_own() {
    let run = Run::new().await;
    let arguments = json!({"room_name": "run-get-long-missing"});
    let (outcome, _) = run.approved("get_room", arguments).await;
    let told = message(&outcome);
    let words = told.strip_prefix("the component says: ").unwrap_or_else(|| panic!("{told}"));
    assert_eq!(words.chars().count(), 1001, "1,000 characters and an ellipsis");
}

/// Replies in which a server echoes the key, in headers and in bodies of each form; and what they are.
pub(super) fn echoes(token: &str) -> impl Iterator<Item = (String, Reply)> {
    let statuses = [200, 201, 302, 400, 401, 404, 429, 500, 503];
    let bodies = bodies(token);
    statuses.into_iter().flat_map(move |status| {
        bodies.clone().map(|body| {
            let reply = Reply::status(status)
                .header("retry-after", token)
                .header("x-ratelimit-limit", token)
                .header("content-type", &format!("application/json; x={token}"))
                .header("x-echo", token)
                .body(body.clone());
            (format!("{status} {body}"), reply)
        })
    })
}

/// Bodies that echo the key, each in another form.
fn bodies(token: &str) -> [String; 12] {
    let escaped: String = token.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let deep = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
    [
        format!(r#"{{"error":"{token}"}}"#),
        format!(r#"{{"error":"{escaped}"}}"#),
        format!(r#"{{"error":"x","{token}":1}}"#),
        format!(r#"{{"error":"{escaped}","n":1e400}}"#),
        format!(r#"{{"error":"{escaped}","n":{deep}}}"#),
        format!(
            r#"{{"results":[{{"meetingId":"{escaped}","roomName":"/{token}","roomUrl":"https://{token}"}}]}}"#
        ),
        format!(r#"{{"results":[{{"{escaped}":"x","roomKey":"{token}"}}],"cursor":"{token}"}}"#),
        format!(r#"{{"results":[],"cursor":"{escaped}""#),
        token.to_owned(),
        format!("<html>{token}</html>"),
        format!("\u{feff}\"{escaped}\""),
        // Cut off within, so that no reader of JSON gets to its end.
        format!(r#"{{"error":"{escaped}"#),
    ]
}

/// The key, in every form in which a server may echo it to the component.
#[tokio::test]
async fn no_form_of_the_key_reaches_the_component() {
    let run = Run::new().await;
    let token = run.world.simulator.token().to_owned();
    let half = &token[..token.len() / 2];
    for (what, reply) in echoes(&token) {
        run.world.simulator.clear_scripts();
        run.world.simulator.script("GET", "/v1/meetings", 1, reply);
        let arguments = json!({"cursor": "run get echo ok"});
        let (outcome, _) = run.approved("list_rooms", arguments).await;
        let told = format!("{outcome:?}");
        assert!(!told.contains(&token), "{what}: {told}");
        assert!(!told.contains(half), "{what}: {told}");
        assert!(!told.contains("\\\\u00"), "{what}: {told}");
    }
    let log = format!("{:?}", run.world.audit());
    assert!(!log.contains(&token) && !log.contains("\\u00"));
}

/// What was answered in part, or in another language, was answered.
#[tokio::test]
async fn an_answer_that_cannot_be_used_uses_up_an_approval_all_the_same() {
    let run = Run::new().await;
    for (what, reply, may_keep) in [
        ("too much", Reply::status(200).body(vec![b' '; 3 << 20]), false),
        ("half of it", Reply::status(200).body("{\"results\": []}").truncated(5), false),
        ("another protocol", Reply::raw(b"NOPE\r\n\r\n"), false),
        ("compressed", Reply::carried_out().header("content-encoding", "gzip"), false),
        ("nothing", Reply::status(200).hanging_up(), true),
    ] {
        run.world.simulator.clear_scripts();
        run.world.simulator.script("GET", "/v1/meetings", 1, reply);
        let arguments = json!({"room_name": "run-get-unavailable"});
        let (_, is_kept) = run.approved("get_room", arguments).await;
        assert_eq!(is_kept, may_keep, "{what}");
    }
}

#[tokio::test]
async fn a_room_that_whereby_listed_is_not_said_to_be_missing() {
    let run = Run::new().await;
    let arguments = json!({"room_name": "run-get-missing"});
    let (outcome, _) = run.approved("delete_room", arguments).await;
    assert_eq!(kind(&outcome), "component-fault", "{outcome:?}");
}

/// A server that writes the key into headers of which errors tell something.
#[tokio::test]
async fn no_header_tells_the_key() {
    let run = Run::new().await;
    let token = run.world.simulator.token().to_owned();
    for status in [200, 302, 401, 403, 404, 503] {
        for (name, value) in [
            ("content-encoding", token.clone()),
            ("location", format!("https://{}.example/", &token[..60])),
            ("location", format!("https://{token}/")),
        ] {
            run.world.simulator.clear_scripts();
            let reply = Reply::status(status).header(name, &value).body("<html>");
            run.world.simulator.script("GET", "/v1/meetings", 1, reply);
            let arguments = json!({"cursor": "run get unavailable"});
            let (outcome, _) = run.approved("list_rooms", arguments).await;
            let told = format!("{:?} {outcome:?}", outcome.result).to_lowercase();
            assert!(!told.contains(&token.to_lowercase()), "{status} {name}: {told}");
        }
    }
}
