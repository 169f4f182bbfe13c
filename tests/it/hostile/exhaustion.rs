//! Taking more of the machine than a call may have, and ending in other ways than returning.

use super::{Arena, Case, Claims, Fault, Group, LIMITS, TimesOut, case, check_all};
use tokio::task::JoinSet;
use whereby::simulator::Reply;

/// Small, so that what takes more is stopped soon.
const SMALL: &str = "[limits]\nconcurrent_calls = 4\nmemory_mib = 24\nrequests = 64\nanswer_mib = 1\nanswers_mib = 1\n";

const SHORT: &str = "[limits]\nconcurrent_calls = 4\ntimeout_seconds = 1\n";

const LISTED: &[&str] = &["GET /v1/meetings"];
const MANY: &[&str] = &["GET /v1/meetings"; 64];

const NO_ROOM: &str = "resource table has no free keys";
const TOO_MUCH_COPIED: &str = "too much data is being copied between the host and the guest";

pub(super) fn cases() -> Group {
    let mut cases = time();
    cases.extend(memory());
    cases.extend(network());
    cases.extend(ends());
    vec![("list_rooms", cases)]
}

/// Those that are stopped when their time is up.
fn time() -> Vec<Case> {
    vec![
        case("loop", TimesOut),
        case("loop-with-host-calls", TimesOut),
        case("loop-with-polls", TimesOut),
        case("sleep", TimesOut),
        case("sleep-until-the-end-of-time", TimesOut),
        case("body-without-end", TimesOut),
        // Beside those that compute without end, it may not even get to send its request.
        case("wait-for-an-answer", TimesOut).reaching_at_most(LISTED).with(|arena| {
            let reply = Reply::status(200).never_answering();
            arena.world.simulator.script("GET", "/v1/meetings", 1, reply);
        }),
    ]
}

fn memory() -> Vec<Case> {
    vec![
        case("poll-on-nothing", Fault("empty poll list")),
        case("grow", Fault("the component wanted more than 24 MiB of memory")),
        case("grow-at-once", Fault("the component wanted more than 24 MiB of memory")),
        case("recurse", Fault("call stack exhausted")),
        case("many-fields", Fault(NO_ROOM)),
        case("many-pollables", Fault(NO_ROOM)),
        case("many-streams", Fault(NO_ROOM)),
        case("many-requests-unsent", Fault(NO_ROOM)),
        case("many-unfinished-bodies", Fault("store handle limit exceeded")),
        case("fields-kept-for-later", Claims("intact, 1 kept")),
        case("fields-kept-for-a-while", Claims("intact, 1 kept")),
        case("output-kept-for-later", Claims("Ok")),
        case("many-long-methods", Fault(TOO_MUCH_COPIED)),
        case("many-long-authorities", Fault(TOO_MUCH_COPIED)),
        case("many-long-parts", Fault("store handle limit exceeded")),
        case("many-parts-kept", Fault("store handle limit exceeded")),
        case("long-method", Fault(TOO_MUCH_COPIED)),
        case("long-path", Fault("to send GET /meetings/meetings/meetings")),
        case("long-query", Fault("a query member cursor of another form")),
        case("many-query-members", Fault("to send a query of more than")),
        case("many-headers", Fault(TOO_MUCH_COPIED)),
        case("huge-header", Fault(TOO_MUCH_COPIED)),
        case("much-randomness", Fault("requested len 4294967295 exceeds limit 4096")),
        case("much-insecure-randomness", Fault("requested len 4294967295 exceeds limit 4096")),
        // What is beyond the limit is not taken, and the component is told so.
        case("output-flood", Claims("65536 bytes")),
        case("error-flood", Claims("65536 bytes")),
        case("zeroes", Fault("cannot write more zeroes than `check_write` allows")),
        case("poll-on-much", Fault(TOO_MUCH_COPIED)),
        case("huge-text", Fault(TOO_MUCH_COPIED)),
        case("huge-list", Fault(TOO_MUCH_COPIED)),
    ]
}

fn network() -> Vec<Case> {
    vec![
        case("too-many-requests", Fault("to send more than 64 requests")).reaching(MANY),
        case("too-many-requests-side-by-side", Fault("to send more than 64 requests"))
            .reaching_at_most(MANY),
        case("too-much-taken-in", Fault("took in more than 1048576 bytes of answers"))
            .reaching_at_most(MANY)
            .with(|arena| answer_with(arena, 200 * 1024)),
        case("one-answer-too-large", Claims("HttpResponseBodySize"))
            .reaching(LISTED)
            .with(|arena| answer_with(arena, 1024 * 1024 + 1)),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        case("exit-well", Fault("Exited with i32 exit status 0")),
        case("exit-badly", Fault("Exited with i32 exit status 1")),
        case("panic", Fault("wasm `unreachable` instruction executed")),
        case("abort", Fault("wasm `unreachable` instruction executed")),
    ]
}

/// The API answers with so many bytes.
fn answer_with(arena: &Arena, bytes: usize) {
    let reply = Reply::status(400).body(vec![b' '; bytes]);
    arena.world.simulator.script("GET", "/v1/meetings", 20, reply);
}

#[tokio::test]
async fn a_call_takes_no_more_than_it_may_have() {
    let rest = [memory(), network(), ends()].into_iter().flatten().collect();
    check_all(&[], SMALL, vec![("list_rooms", rest)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_takes_no_longer_than_it_may() {
    // Side by side, as each takes all of its time.
    let mut calls = JoinSet::new();
    for case in time() {
        calls.spawn(async move { Arena::new(&[], SHORT).await.check("list_rooms", &case).await });
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
}

/// A component that computes without end leaves the thread to others all the same.
#[tokio::test]
async fn one_looping_call_does_not_stop_another() {
    let arena = Arena::new(&[], &format!("{LIMITS}timeout_seconds = 2\n")).await;
    let good = async {
        for _ in 0..5 {
            let outcome = arena.session.call(None, "list_rooms", serde_json::json!({})).await;
            assert!(outcome.result.is_ok(), "{outcome:?}");
        }
        // The loop is not waited for.
        "done"
    };
    tokio::select! {
        biased;
        outcome = arena.attempt("list_rooms", "loop") => panic!("it ended first: {outcome:?}"),
        done = good => assert_eq!(done, "done"),
    }
}
