//! Lying to the caller, and keeping what should be forgotten.

use super::{Arena, Claims, ClaimsOrFault, Fault, Group, HOSTILE, LIMITS, case, check_all, report};
use serde_json::Value;

pub(super) fn cases() -> Group {
    let lies = vec![
        case("control-characters", Claims("\u{1b}]0;owned")),
        case("markup", Claims("<script>")),
        // What a foreign component says is not vouched for; what it did is, and it did nothing.
        case("made-up-success", Claims("all went well")),
        case("state", Claims("0")),
        case("swallowed-refusal", Fault("to send GET /rooms, which")),
        case("refusal-between-good-requests", Fault("to send GET /rooms, which"))
            .reaching(&["GET /v1/meetings"]),
        case("refusal-left-behind", ClaimsOrFault("to send GET /rooms, which"))
            .reaching_at_most(&[]),
    ];
    let numbers = vec![
        case("not-a-number", Fault("a value that JSON cannot say")),
        case("infinity", Fault("a value that JSON cannot say")),
        case("negative-infinity", Fault("a value that JSON cannot say")),
        case("largest-number", Claims("a number")),
        case("negative-zero", Claims("a number")),
    ];
    vec![("list_rooms", lies), ("get_meeting", numbers)]
}

#[tokio::test]
async fn no_lie_hides_what_a_component_did() {
    check_all(&[], LIMITS, cases()).await;
}

#[tokio::test]
async fn nothing_is_left_over_for_the_next_call() {
    let arena = Arena::new(&[], LIMITS).await;
    for _ in 0..20 {
        let result = arena.attempt("list_rooms", "state").await.result.expect("a page");
        assert_eq!(report("list_rooms", &result), "0", "every instance is fresh");
    }
}

#[tokio::test]
async fn numbers_stay_numbers() {
    let arena = Arena::new(&[], LIMITS).await;
    for (name, number) in [("largest-number", Value::from(f64::MAX)), ("negative-zero", 0.into())] {
        let result = arena.attempt("get_meeting", name).await.result.expect("a meeting");
        assert_eq!(result["recordings"][0]["sizeInMegaBytes"], number, "{name}");
    }
}

#[tokio::test]
async fn a_terminal_is_shown_no_control_characters() {
    let arena = Arena::new(&[], LIMITS).await;
    let file = arena.world.path("hostile.wasm");
    std::fs::write(&file, HOSTILE).expect("a file in the home directory");
    let file = file.display().to_string();
    for (attempt, kept) in [("control-characters", "owned"), ("markup", "<script>")] {
        let argument = format!("cursor={attempt}");
        let command = ["--component", &file, "call", "list_rooms", "--arg", &argument];
        let ran = arena.world.run(&command).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains(kept), "{ran:?}");
        let acts = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!(ran.stdout + &ran.stderr).contains(acts), "{attempt}");
    }
}
