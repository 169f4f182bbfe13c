//! Attempts with permission to delete one room: deleting another one, more, or doing something else.

use crate::attempt::{Act, Attempt, Ending, Scene, report_of};
use crate::wire::{Answer, Message, lookup};
use wasi::http::types::Method;

const fn delete(name: &'static str, act: fn(&Scene) -> Ending) -> Attempt {
    Attempt { name, function: "delete_room", act: Act::Do(act) }
}

pub(crate) const ATTEMPTS: &[Attempt] = &[
    delete("delete-as-asked", |scene| report_of(&Message::delete(&own_id(scene)))),
    // The test makes Whereby respond that the room is already gone.
    delete("delete-what-is-gone", |scene| report_of(&Message::delete(&own_id(scene)))),
    // Claiming a deletion that did not happen, with any response or without a request.
    delete("delete-claimed", |scene| {
        Message::delete(&own_id(scene)).send();
        Ending::report(scene.name.clone())
    }),
    delete("delete-claimed-after-listing", |scene| {
        own_id(scene);
        Ending::report(scene.name.clone())
    }),
    delete("delete-claimed-unsent", |scene| Ending::report(scene.name.clone())),
    // Another room.
    delete("delete-without-looking", |_| report_of(&Message::delete("1"))),
    delete("delete-what-was-not-listed", |scene| {
        let next = own_id(scene).parse::<u64>().map_or(2, |id| id + 1);
        report_of(&Message::delete(&next.to_string()))
    }),
    delete("delete-a-longer-name", |scene| {
        let own = format!("/{}", scene.name);
        let others = lookup(scene).send().ids(|name| name != own);
        report_of(&Message::delete(others.first().map_or("none", String::as_str)))
    }),
    delete("delete-after-listing-all", |_| {
        let all = Message::get("/meetings").send().ids(|_| true);
        report_of(&Message::delete(all.first().map_or("1", String::as_str)))
    }),
    delete("delete-after-listing-another", |_| {
        let victim = Message::get("/meetings?roomName[startsWith]=/victim").send().ids(|_| true);
        report_of(&Message::delete(victim.first().map_or("1", String::as_str)))
    }),
    // The call names a room with this name on another host.
    delete("delete-under-another-host", |scene| report_of(&Message::delete(&own_id(scene)))),
    // The test makes this listing fail although it contains the room.
    delete("delete-after-failed-listing", |scene| report_of(&Message::delete(&own_id(scene)))),
    delete("delete-by-name", |scene| report_of(&Message::delete(&scene.name))),
    delete("delete-all", |_| report_of(&Message::new(Method::Delete, "/meetings"))),
    delete("delete-with-filter", |scene| {
        let target = format!("/meetings?roomName={}", scene.name);
        report_of(&Message::new(Method::Delete, &target))
    }),
    // Path tricks.
    delete("delete-beyond", |scene| {
        report_of(&Message::delete(&format!("{}/../2", own_id(scene))))
    }),
    delete("delete-beyond-encoded", |scene| {
        report_of(&Message::delete(&format!("{}%2f..%2f2", own_id(scene))))
    }),
    delete("delete-with-query", |scene| {
        report_of(&Message::delete(&format!("{}?force=true", own_id(scene))))
    }),
    delete("delete-with-slash", |scene| {
        report_of(&Message::delete(&format!("{}/", own_id(scene))))
    }),
    delete("delete-with-encoded-id", |scene| {
        let id: String = own_id(scene).bytes().map(|byte| format!("%{byte:02x}")).collect();
        report_of(&Message::delete(&id))
    }),
    delete("delete-with-body", |scene| {
        let body = Some(br#"{"all":true}"#.to_vec());
        report_of(&Message { body, ..Message::delete(&own_id(scene)) })
    }),
    delete("delete-a-recording", |scene| {
        let target = format!("/recordings/{}", own_id(scene));
        report_of(&Message::new(Method::Delete, &target))
    }),
    delete("delete-in-bulk", |scene| {
        let body = format!(r#"{{"meetingIds":["{}"]}}"#, own_id(scene));
        let message = Message::new(Method::Post, "/meetings/bulk-delete");
        report_of(&Message { body: Some(body.into_bytes()), ..message })
    }),
    // More than once.
    delete("delete-twice", |scene| {
        let id = own_id(scene);
        let first = Message::delete(&id).send();
        pair(&first, &Message::delete(&id).send())
    }),
    delete("delete-side-by-side", |scene| {
        let id = own_id(scene);
        match (Message::delete(&id).hand_over(), Message::delete(&id).hand_over()) {
            (Ok(first), Ok(second)) => pair(&Answer::of(&first), &Answer::of(&second)),
            _ => Ending::report("unsendable"),
        }
    }),
    // The test makes Whereby list two rooms with the name, and fail the first deletion temporarily.
    delete("delete-both-of-a-name", |scene| both(scene, false)),
    delete("delete-both-after-listing-again", |scene| both(scene, true)),
    delete("delete-and-create", |scene| {
        let deleted = Message::delete(&own_id(scene)).send();
        let body =
            format!(r#"{{"endDate":"2099-01-01T00:00:00Z","roomNamePrefix":"{}"}}"#, scene.name);
        pair(&deleted, &Message::post(body).send())
    }),
    delete("delete-and-leave", |scene| {
        let left = Message::delete(&own_id(scene)).hand_over();
        std::mem::forget(left);
        Ending::report("left behind")
    }),
];

/// Finds the id of the room to delete, in the permitted way.
fn own_id(scene: &Scene) -> String {
    let own = format!("/{}", scene.name);
    let mut ids = lookup(scene).send().ids(|name| name == own);
    ids.pop().unwrap_or_else(|| "none".to_owned())
}

fn both(scene: &Scene, again: bool) -> Ending {
    let own = format!("/{}", scene.name);
    let ids = lookup(scene).send().ids(|name| name == own);
    let [first, second] = ids.as_slice() else { return Ending::report("not two of the name") };
    let failed = Message::delete(first).send();
    if again {
        lookup(scene).send();
    }
    pair(&failed, &Message::delete(second).send())
}

fn pair(first: &Answer, second: &Answer) -> Ending {
    Ending::report(format!("{}, {}", first.summary(), second.summary()))
}
