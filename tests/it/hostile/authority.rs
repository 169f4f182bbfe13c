//! Doing what another function may do, or more than the call was made for.

use super::{Case, Claims, Fault, Group, LIMITS, case, check_all};

const LISTED: &[&str] = &["GET /v1/meetings"];

pub(super) fn cases() -> Group {
    vec![
        ("list_rooms", list_rooms()),
        (
            "get_room",
            vec![
                case("another-room", Fault("GET /meetings with other content than asked for")),
                case("all-rooms", Fault("GET /meetings with other content than asked for")),
            ],
        ),
        (
            "list_meetings",
            vec![
                case("sessions-of-another-room", Fault("GET /insights/room-sessions with other")),
                case("participants-in-list-meetings", Fault("GET /insights/participants with")),
            ],
        ),
        (
            "get_meeting",
            vec![
                case("another-meeting", Fault("GET /insights/participants with other content")),
                case("a-person-everywhere", Fault("the query member externalId, which")),
                case("recordings-of-all-rooms", Fault("GET /recordings with other content")),
            ],
        ),
    ]
}

fn list_rooms() -> Vec<Case> {
    vec![
        // The simulated API knows no such cursor, and says so: the request did arrive.
        case("obedience", Claims("400")).reaching(LISTED),
        case("create-in-read", Fault("POST /meetings with other content")),
        case("delete-in-read", Fault("DELETE /meetings/1 with other content")),
        case("delete-what-was-listed", Fault("DELETE /meetings/1 with other content"))
            .reaching(LISTED),
        case("method-post", Fault("to send a body that is not JSON")),
        case("method-put", Fault("PUT /meetings, which is no request of any function")),
        case("method-patch", Fault("PATCH /meetings, which")),
        case("method-head", Fault("HEAD /meetings, which")),
        case("method-options", Fault("OPTIONS /meetings, which")),
        case("method-trace", Fault("TRACE /meetings, which")),
        case("method-connect", Fault("CONNECT /meetings, which")),
        case("method-in-lower-case", Fault("get /meetings, which")),
        case("method-delete-in-lower-case", Fault("delete /meetings, which")),
        case("method-unknown", Fault("LINK /meetings, which")),
        case("method-with-blank", Claims("unsendable: method")),
        case("method-with-line-break", Claims("unsendable: method")),
        case("method-empty", Claims("unsendable: method")),
        case("host-keys", Fault("the query member fields, which")),
        case("host-keys-in-two-members", Fault("the query member fields[], which")),
        case("body-with-get", Fault("GET with a body")),
        case("another-page", Fault("GET /meetings with other content")),
        case("a-larger-page", Fault("GET /meetings with other content")),
        case("a-filter", Fault("GET /meetings with other content")),
        case("insights-in-list-rooms", Fault("GET /insights/rooms with other content")),
        case("recordings-in-list-rooms", Fault("GET /recordings with other content")),
        case("recording-link", Fault("GET /recordings/1/access-link, which")),
        case("recording-deleted", Fault("DELETE /recordings/1, which")),
    ]
}

#[tokio::test]
async fn a_function_sends_what_it_was_called_for_and_nothing_else() {
    check_all(&[], LIMITS, cases()).await;
}
