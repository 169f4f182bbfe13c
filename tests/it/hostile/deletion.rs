//! Given leave to delete one room: deleting another one, or more, or doing something else.

use super::{Arena, Case, Claims, ClaimsOrFault, Fault, Group, LIMITS, case, check_all};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use whereby::WriteOutcome::Done;
use whereby::simulator::Reply;

const LISTED: &[&str] = &["GET /v1/meetings"];
const DELETED: &[&str] = &["GET /v1/meetings", "DELETE /v1/meetings/{id}"];

pub(super) fn cases() -> Group {
    let mut cases = other_rooms();
    cases.extend(tricks());
    cases.extend(more_rooms());
    cases.extend(claims());
    vec![("delete_room", cases)]
}

/// Another room than the one asked for.
fn other_rooms() -> Vec<Case> {
    const UNLISTED: &str = "which Whereby did not list under the room asked for";
    vec![
        case("delete-as-asked", Claims("204")).reaching(DELETED).leaving(Done),
        case("delete-without-looking", Fault("DELETE /meetings/1, which Whereby did not list")),
        case("delete-what-was-not-listed", Fault(UNLISTED)).reaching(LISTED),
        case("delete-a-longer-name", Fault(UNLISTED)).reaching(LISTED),
        case("delete-after-listing-all", Fault("GET /meetings with other content")),
        case("delete-after-listing-another", Fault("GET /meetings with other content")),
        case("delete-under-another-host", Fault(UNLISTED)).reaching(LISTED),
        case("delete-after-failed-listing", Fault("DELETE /meetings/none, which Whereby did not"))
            .reaching(LISTED)
            .with(|arena| {
                let listing = listing("delete-after-failed-listing", &["7"]);
                let reply = Reply::status(500).json(&listing);
                arena.world.simulator.script("GET", "/v1/meetings", 1, reply);
            }),
        case("delete-by-name", Fault("DELETE /meetings/delete-by-name, which Whereby did not")),
        case("delete-all", Fault("DELETE /meetings, which is no request of any function")),
        case("delete-with-filter", Fault("DELETE /meetings, which is no request")),
    ]
}

/// The very room, and something added to its request.
fn tricks() -> Vec<Case> {
    vec![
        case("delete-beyond", Fault("/../2, which is no request")).reaching(LISTED),
        case("delete-beyond-encoded", Fault("%2f..%2f2, which is no request")).reaching(LISTED),
        case("delete-with-query", Fault("the query member force, which")).reaching(LISTED),
        case("delete-with-slash", Fault("/, which is no request")).reaching(LISTED),
        case("delete-with-encoded-id", Fault("DELETE /meetings/%")).reaching(LISTED),
        case("delete-with-body", Fault("DELETE with a body")).reaching(LISTED),
        case("delete-a-recording", Fault("DELETE /recordings/")).reaching(LISTED),
        case("delete-in-bulk", Fault("POST /meetings/bulk-delete, which")).reaching(LISTED),
    ]
}

fn more_rooms() -> Vec<Case> {
    vec![
        case("delete-twice", Fault("a second time")).reaching(DELETED).leaving(Done),
        case("delete-side-by-side", Fault("while one is under way")).reaching_at_most(DELETED),
        case("delete-both-of-a-name", Fault(TWO_OF_A_NAME))
            .reaching(LISTED)
            .with(|arena| two_of_a_name(arena, "delete-both-of-a-name")),
        case("delete-both-after-listing-again", Fault(TWO_OF_A_NAME))
            .reaching_at_most(&["GET /v1/meetings", "GET /v1/meetings"])
            .with(|arena| two_of_a_name(arena, "delete-both-after-listing-again")),
        case("delete-and-create", Fault("POST /meetings with other content"))
            .reaching(DELETED)
            .leaving(Done),
        case("delete-and-leave", ClaimsOrFault("DELETE")).reaching_at_most(DELETED),
    ]
}

/// A deletion that was not. `claims.rs` has more ways for Whereby to say no.
fn claims() -> Vec<Case> {
    const NOT_SENT: &str =
        "says that delete_room succeeded, and has sent no POST or DELETE that did";
    vec![
        // Whereby listed it, and now it is gone.
        case("delete-what-is-gone", Claims("404"))
            .reaching(DELETED)
            .leaving(Done)
            .with(|arena| answer_deletion(arena, 404)),
        case("delete-claimed", Fault(NOT_SENT))
            .reaching(DELETED)
            .with(|arena| answer_deletion(arena, 403)),
        case("delete-claimed-after-listing", Fault(NOT_SENT)).reaching(LISTED),
        case("delete-claimed-unsent", Fault(NOT_SENT)),
    ]
}

fn answer_deletion(arena: &Arena, status: u16) {
    arena.world.simulator.script("DELETE", "/v1/meetings", 1, Reply::status(status));
}

fn listing(name: &str, ids: &[&str]) -> Value {
    let rooms = ids.iter().map(|id| {
        json!({
            "meetingId": id,
            "roomName": format!("/{name}"),
            "roomUrl": format!("https://acme-demo.whereby.com/{name}"),
            "endDate": "2099-01-01T00:00:00Z",
        })
    });
    json!({ "results": rooms.collect::<Vec<_>>(), "cursor": null })
}

/// What the host says where Whereby lists two rooms of a name.
const TWO_OF_A_NAME: &str = "DELETE /meetings/7, while Whereby lists both";

/// Whereby lists two rooms of a name, and would fail the first deletion in passing.
fn two_of_a_name(arena: &Arena, name: &str) {
    let simulator = &arena.world.simulator;
    let reply = Reply::status(200).json(&listing(name, &["7", "8"]));
    simulator.script("GET", "/v1/meetings", 2, reply);
    simulator.script("DELETE", "/v1/meetings/7", 1, Reply::status(503));
}

#[tokio::test]
async fn the_room_that_was_asked_for_is_deleted_and_no_other() {
    let cases = cases();
    let names: Vec<&str> =
        cases.iter().flat_map(|(_, cases)| cases).map(|case| case.name).collect();
    let longer: Vec<String> = names.iter().map(|name| format!("{name}-2")).collect();
    let all: Vec<&str> =
        names.iter().copied().chain(longer.iter().map(String::as_str)).chain(["victim"]).collect();
    let arena = check_all(&all, LIMITS, cases).await;

    // By the real component, which tells what there is.
    let page = arena.world.call("list_rooms", json!({ "limit": 100 })).await.result;
    let page = page.expect("the rooms");
    let left: BTreeSet<&str> = page["data"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|room| room["roomName"].as_str())
        .collect();
    let gone: Vec<&str> = all.into_iter().filter(|name| !left.contains(name)).collect();
    assert_eq!(gone, ["delete-as-asked", "delete-twice", "delete-and-create"]);
}
