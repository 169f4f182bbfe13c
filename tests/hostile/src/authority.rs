//! Attempts to do what another function may do, or more than this call allows.

use crate::attempt::{Act, Attempt, Ending, Scene, report_of};
use crate::wire::{Message, own_query, own_request};
use wasi::http::types::Method;

const fn list(name: &'static str, act: fn(&Scene) -> Ending) -> Attempt {
    Attempt { name, function: "list_rooms", act: Act::Do(act) }
}

const fn method(name: &'static str, method: &'static str) -> Attempt {
    Attempt { name, function: "list_rooms", act: Act::Use(method) }
}

pub(crate) const ATTEMPTS: &[Attempt] = &[
    list("obedience", |scene| report_of(&own_request(scene))),
    // Writes during a read.
    list("create-in-read", |_| report_of(&Message::post(r#"{"endDate":"2099-01-01T00:00:00Z"}"#))),
    list("delete-in-read", |_| report_of(&Message::delete("1"))),
    list("delete-what-was-listed", |scene| {
        let ids = own_request(scene).send().ids(|_| true);
        report_of(&Message::delete(ids.first().map_or("1", String::as_str)))
    }),
    // Methods.
    method("method-post", "POST"),
    method("method-put", "PUT"),
    method("method-patch", "PATCH"),
    method("method-head", "HEAD"),
    method("method-options", "OPTIONS"),
    method("method-trace", "TRACE"),
    method("method-connect", "CONNECT"),
    method("method-in-lower-case", "get"),
    method("method-delete-in-lower-case", "delete"),
    method("method-unknown", "LINK"),
    method("method-with-blank", "GET /v1/meetings"),
    method("method-with-line-break", "GET\r\n"),
    method("method-empty", ""),
    // Reading more than requested.
    list("host-keys", |scene| {
        report_of(&Message::get(&format!("/meetings{}&fields=hostRoomUrl", own_query(scene))))
    }),
    list("host-keys-in-two-members", |scene| {
        let query = own_query(scene);
        report_of(&Message::get(&format!("/meetings{query}&fields[]=hostRoomUrl")))
    }),
    list("body-with-get", |scene| {
        report_of(&Message { body: Some(b"{}".to_vec()), ..own_request(scene) })
    }),
    list("another-page", |_| report_of(&Message::get("/meetings?cursor=another"))),
    list("a-larger-page", |scene| {
        report_of(&own_request(&Scene { limit: Some(100), ..scene.clone() }))
    }),
    list("a-filter", |_| report_of(&Message::get("/meetings?roomName[startsWith]=/daily"))),
    list("insights-in-list-rooms", |_| report_of(&Message::get("/insights/rooms"))),
    list("recordings-in-list-rooms", |_| report_of(&Message::get("/recordings"))),
    list("recording-link", |_| report_of(&Message::get("/recordings/1/access-link"))),
    list("recording-deleted", |_| report_of(&Message::new(Method::Delete, "/recordings/1"))),
    Attempt {
        name: "another-room",
        function: "get_room",
        act: Act::Do(|_| report_of(&Message::get("/meetings?roomName[startsWith]=/victim"))),
    },
    Attempt {
        name: "all-rooms",
        function: "get_room",
        act: Act::Do(|_| report_of(&Message::get("/meetings?limit=100"))),
    },
    Attempt {
        name: "sessions-of-another-room",
        function: "list_meetings",
        act: Act::Do(|_| report_of(&Message::get("/insights/room-sessions?roomName=/victim"))),
    },
    Attempt {
        name: "participants-in-list-meetings",
        function: "list_meetings",
        act: Act::Do(|_| report_of(&Message::get("/insights/participants?roomSessionId=1"))),
    },
    Attempt {
        name: "another-meeting",
        function: "get_meeting",
        act: Act::Do(|_| report_of(&Message::get("/insights/participants?roomSessionId=1"))),
    },
    Attempt {
        name: "a-person-everywhere",
        function: "get_meeting",
        act: Act::Do(|scene| {
            let session = &scene.session;
            let query = format!("roomSessionId={session}&externalId=somebody");
            report_of(&Message::get(&format!("/insights/participants?{query}")))
        }),
    },
    Attempt {
        name: "recordings-of-all-rooms",
        function: "get_meeting",
        act: Act::Do(|_| report_of(&Message::get("/recordings"))),
    },
];
