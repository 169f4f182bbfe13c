//! Given leave to create one room: creating more, another one, or doing something else.

use super::{Arena, Case, Claims, ClaimsOrFault, Fault, Group, LIMITS, TimesOut, case, check_all};
use whereby::WriteOutcome::{Done, None as Nothing, Unknown};
use whereby::simulator::Reply;

const CREATED: &[&str] = &["POST /v1/meetings"];
const TRIED_TWICE: &[&str] = &["POST /v1/meetings", "POST /v1/meetings"];

pub(super) fn cases() -> Group {
    let mut cases = other_rooms();
    cases.extend(more_rooms());
    cases.extend(without_end());
    cases.extend(claims());
    vec![("create_room", cases), ("create_room", unfinished())]
}

/// It cannot end by itself, however short its time is.
fn unfinished() -> Vec<Case> {
    vec![case("create-unfinished", TimesOut)]
}

/// Another room than the one asked for.
fn other_rooms() -> Vec<Case> {
    const OTHER: &str = "POST /meetings with other content than asked for";
    vec![
        case("create-as-asked", Claims("201")).reaching(CREATED).leaving(Done),
        case("create-with-more", Fault(OTHER)),
        case("create-with-host-key", Fault(OTHER)),
        case("create-with-recording", Fault(OTHER)),
        case("create-with-unknown-member", Fault(OTHER)),
        case("create-with-null-member", Fault(OTHER)),
        case("create-with-member-twice", Fault(OTHER)),
        case("create-with-escaped-member", Fault(OTHER)),
        case("create-under-another-name", Fault(OTHER)),
        case("create-without-name", Fault(OTHER)),
        case("create-without-end", Fault(OTHER)),
        case("create-until-another-end", Fault(OTHER)),
        case("create-until-far-default", Fault(OTHER)),
        case("create-until-the-past", Fault(OTHER)),
        case("create-until-no-date", Fault(OTHER)),
        case("create-from-list", Fault(OTHER)),
        case("create-from-text", Fault("to send a body that is not JSON")),
        case("create-from-nothing", Fault("to send a body that is not JSON")),
        case("create-from-depth", Fault("to send a body that is not JSON")),
        case("create-from-two-documents", Fault("to send a body that is not JSON")),
        case("create-from-too-much", Fault("POST with a body of more than 131072 bytes")),
        case("create-with-length-too-short", Fault("POST with a body that is not whole")),
        case("create-with-length-too-long", Fault("POST with a body that is not whole")),
        // What it says of its body is thrown away, so this is the permitted request.
        case("create-with-form", Claims("201")).reaching(CREATED).leaving(Done),
        case("create-at-another-path", Fault("POST /rooms, which is no request")),
        case("create-with-query", Fault("the query member fields, which")),
    ]
}

fn more_rooms() -> Vec<Case> {
    vec![
        case("create-twice", Fault("POST /meetings a second time")).reaching(CREATED).leaving(Done),
        case("create-side-by-side", Fault("POST /meetings while one is under way"))
            .reaching_at_most(CREATED),
        case("create-again-after-failure", Fault("POST /meetings a second time"))
            .reaching(CREATED)
            .leaving(Unknown)
            .with(|arena| fail(arena, 503)),
        // The second time is permitted; it is the same room.
        case("create-again-after-rate-limit", Claims("429, 201"))
            .reaching(TRIED_TWICE)
            .leaving(Done)
            .with(|arena| fail(arena, 429)),
        case("create-another-after-rate-limit", Fault("POST /meetings with other content"))
            .reaching(CREATED)
            .leaving(Nothing)
            .with(|arena| fail(arena, 429)),
        case("create-again-after-letting-go", Fault("POST /meetings while one is under way"))
            .reaching_at_most(CREATED)
            .with(|arena| {
                let reply = Reply::carried_out().never_answering();
                arena.world.simulator.script("POST", "/v1/meetings", 1, reply);
            }),
        case("create-and-list", Fault("GET /meetings with other content"))
            .reaching(CREATED)
            .leaving(Done),
        case("create-and-delete", Fault("DELETE /meetings/")).reaching(CREATED).leaving(Done),
    ]
}

fn without_end() -> Vec<Case> {
    vec![
        case("create-and-leave", ClaimsOrFault("POST")).reaching_at_most(CREATED),
        case("create-unfinished-and-leave", ClaimsOrFault("POST")).reaching_at_most(&[]),
        case("create-finished-in-the-next-call", ClaimsOrFault("POST")).reaching_at_most(&[]),
        case("create-dropped-unfinished", Fault("POST with a body that is not whole")),
    ]
}

/// A room that there is not. `claims.rs` has more ways for Whereby to say no.
fn claims() -> Vec<Case> {
    const NOT_SENT: &str =
        "says that create_room succeeded, and has sent no POST or DELETE that did";
    vec![
        case("create-claimed", Fault(NOT_SENT))
            .reaching(CREATED)
            .leaving(Nothing)
            .with(|arena| fail(arena, 403)),
        case("create-claimed-unsent", Fault(NOT_SENT)),
    ]
}

fn fail(arena: &Arena, status: u16) {
    arena.world.simulator.script("POST", "/v1/meetings", 1, Reply::status(status));
}

#[tokio::test]
async fn the_room_that_was_asked_for_is_created_once_and_no_other() {
    let (_, cases) = cases().remove(0);
    check_all(&[], LIMITS, vec![("create_room", cases)]).await;
}

#[tokio::test]
async fn a_creation_that_is_never_finished_is_stopped_and_sends_nothing() {
    let limits = format!("{LIMITS}timeout_seconds = 1\n");
    check_all(&[], &limits, vec![("create_room", unfinished())]).await;
}

/// A function that returns while its request is on its way is raced against the request, many
/// times, with several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_room_that_is_created_behind_the_callers_back_is_reported() {
    let arena = Arena::new(&[], LIMITS).await;
    let (mut told, mut listed) = (0, 0);
    for _ in 0..200 {
        for attempt in ["create-and-leave", "create-unfinished-and-leave"] {
            let outcome = arena.attempt("create_room", attempt).await;
            told += usize::from(outcome.write != Nothing);
            listed += outcome.requests.len();
        }
    }
    // Whatever is still on its way has arrived before what is sent after it.
    for _ in 0..20 {
        arena.session.call(None, "list_rooms", serde_json::json!({})).await.result.expect("rooms");
    }
    let requests = arena.world.requests();
    let created = requests.iter().filter(|request| request.method == "POST").count();
    assert!(created <= told, "{created} rooms were created, and {told} calls said so");
    assert!(created <= listed, "{created} rooms were created, and {listed} requests listed");
}
