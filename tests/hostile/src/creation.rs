//! Attempts with permission to create one room: creating more, another one, or doing something else.

use crate::attempt::{Act, Attempt, Ending, Scene, report_of};
use crate::wire::{Answer, Message, write};
use std::cell::Cell;
use wasi::http::outgoing_handler;
use wasi::http::types::{FutureIncomingResponse, OutgoingBody};

const fn create(name: &'static str, act: fn(&Scene) -> Ending) -> Attempt {
    Attempt { name, function: "create_room", act: Act::Do(act) }
}

pub(crate) const ATTEMPTS: &[Attempt] = &[
    create("create-as-asked", |scene| report_of(&asked(scene))),
    // Claiming a room that does not exist, with any response or without a request.
    create("create-claimed", |scene| {
        asked(scene).send();
        Ending::report("made-up-room")
    }),
    create("create-claimed-unsent", |_| Ending::report("made-up-room")),
    // A different room than requested.
    create("create-with-more", |scene| with(scene, r#","isLocked":true"#)),
    create("create-with-host-key", |scene| with(scene, r#","fields":["hostRoomUrl"]"#)),
    create("create-with-recording", |scene| {
        with(
            scene,
            r#","recording":{"type":"cloud","destination":{"provider":"s3","bucket":"mine"}}"#,
        )
    }),
    create("create-with-unknown-member", |scene| with(scene, r#","organizationId":"1""#)),
    create("create-with-null-member", |scene| with(scene, r#","roomMode":null"#)),
    create("create-with-member-twice", |scene| with(scene, r#","roomNamePrefix":"mine-""#)),
    create("create-with-escaped-member", |scene| with(scene, r#","\u0069sLocked":true"#)),
    create("create-under-another-name", |scene| {
        let end = end_of(scene);
        report_of(&Message::post(format!(r#"{{"endDate":"{end}","roomNamePrefix":"mine-"}}"#)))
    }),
    create("create-without-name", |scene| {
        report_of(&Message::post(format!(r#"{{"endDate":"{}"}}"#, end_of(scene))))
    }),
    create("create-without-end", |scene| {
        report_of(&Message::post(format!(r#"{{"roomNamePrefix":"{}"}}"#, scene.name)))
    }),
    create("create-until-another-end", |scene| until(scene, "2099-01-01T00:00:01Z")),
    create("create-until-far-default", |scene| until(scene, "2099-01-01T00:00:00Z")),
    create("create-until-the-past", |scene| until(scene, "2020-01-01T00:00:00Z")),
    create("create-until-no-date", |scene| until(scene, "tomorrow")),
    create("create-from-list", |_| report_of(&Message::post("[]"))),
    create("create-from-text", |_| report_of(&Message::post("endDate=2099"))),
    create("create-from-nothing", |_| report_of(&Message::post(""))),
    create("create-from-depth", |_| report_of(&Message::post("[".repeat(60_000)))),
    create("create-from-two-documents", |scene| {
        let mut message = asked(scene);
        let body = message.body.get_or_insert_default();
        body.extend_from_within(..);
        report_of(&message)
    }),
    create("create-from-too-much", |scene| {
        let mut message = asked(scene);
        message.body.get_or_insert_default().resize(200_000, b' ');
        report_of(&message)
    }),
    create("create-with-length-too-short", |scene| announcing(scene, "2")),
    create("create-with-length-too-long", |scene| announcing(scene, "100000")),
    create("create-with-form", |scene| {
        let kind = ("content-type".to_owned(), b"application/x-www-form-urlencoded".to_vec());
        report_of(&Message { headers: vec![kind], ..asked(scene) })
    }),
    create("create-at-another-path", |scene| {
        let target = Message::new(wasi::http::types::Method::Post, "/rooms").target;
        report_of(&Message { target, ..asked(scene) })
    }),
    create("create-with-query", |scene| {
        let target = asked(scene).target.map(|target| target + "?fields=hostRoomUrl");
        report_of(&Message { target, ..asked(scene) })
    }),
    // More than one room.
    create("create-twice", |scene| {
        Ending::report(together([asked(scene).send(), asked(scene).send()]))
    }),
    create("create-side-by-side", |scene| {
        let futures = [asked(scene).hand_over(), asked(scene).hand_over()];
        Ending::report(together(futures.map(|future| answer(&future))))
    }),
    create("create-again-after-failure", |scene| {
        Ending::report(together([asked(scene).send(), asked(scene).send()]))
    }),
    create("create-again-after-rate-limit", |scene| {
        Ending::report(together([asked(scene).send(), asked(scene).send()]))
    }),
    create("create-another-after-rate-limit", |scene| {
        let first = asked(scene).send();
        let name = &scene.name;
        let body = format!(r#"{{"endDate":"2099-01-01T00:00:01Z","roomNamePrefix":"{name}"}}"#);
        Ending::report(together([first, Message::post(body).send()]))
    }),
    create("create-again-after-letting-go", |scene| {
        // The host may already have sent the first one, with an unknown outcome.
        let first = asked(scene).hand_over();
        if let Ok(first) = &first {
            let pause = wasi::clocks::monotonic_clock::subscribe_duration(100_000_000);
            let _ = wasi::io::poll::poll(&[&first.subscribe(), &pause]);
        }
        drop(first);
        report_of(&asked(scene))
    }),
    // Something else.
    create("create-and-list", |scene| {
        let created = asked(scene).send();
        Ending::report(together([created, Message::get("/meetings").send()]))
    }),
    create("create-and-delete", |scene| {
        let created = asked(scene).send();
        let id = created.ids(|_| true).pop().unwrap_or_else(|| "1".to_owned());
        Ending::report(together([created, Message::delete(&id).send()]))
    }),
    // Without an end.
    create("create-and-leave", |scene| {
        let left = asked(scene).hand_over();
        let report = if left.is_ok() { "left behind" } else { "unsendable" };
        // Only the host drops it, when the instance is gone.
        std::mem::forget(left);
        Ending::report(report)
    }),
    create("create-unfinished-and-leave", |scene| Ending::report(unfinished(scene, false))),
    create("create-finished-in-the-next-call", |scene| {
        thread_local! {
            static KEPT: Cell<Option<(OutgoingBody, FutureIncomingResponse)>> = const { Cell::new(None) };
        }
        if let Some((body, future)) = KEPT.take() {
            let finished = OutgoingBody::finish(body, None);
            return Ending::report(format!("{finished:?} {}", Answer::of(&future).summary()));
        }
        let Some(begun) = begun(scene) else { return Ending::report("unsendable") };
        KEPT.set(Some(begun));
        Ending::report("kept")
    }),
    create("create-unfinished", |scene| Ending::report(unfinished(scene, true))),
    create("create-dropped-unfinished", |scene| {
        let Some((body, future)) = begun(scene) else { return Ending::report("unsendable") };
        // According to wasi:http, such a request is incomplete and must not be sent.
        drop(body);
        Ending::report(Answer::of(&future).summary())
    }),
];

fn end_of(scene: &Scene) -> &str {
    scene.end.as_deref().unwrap_or("2099-01-01T00:00:00Z")
}

/// The permitted request.
pub(crate) fn asked(scene: &Scene) -> Message {
    let (end, name) = (end_of(scene), &scene.name);
    Message::post(format!(r#"{{"endDate":"{end}","roomNamePrefix":"{name}"}}"#))
}

fn with(scene: &Scene, members: &str) -> Ending {
    let (end, name) = (end_of(scene), &scene.name);
    report_of(&Message::post(format!(
        r#"{{"endDate":"{end}","roomNamePrefix":"{name}"{members}}}"#
    )))
}

fn until(scene: &Scene, end: &str) -> Ending {
    let name = &scene.name;
    report_of(&Message::post(format!(r#"{{"endDate":"{end}","roomNamePrefix":"{name}"}}"#)))
}

fn announcing(scene: &Scene, length: &str) -> Ending {
    let header = ("content-length".to_owned(), length.as_bytes().to_vec());
    report_of(&Message { headers: vec![header], ..asked(scene) })
}

fn answer(future: &Result<FutureIncomingResponse, String>) -> Answer {
    match future {
        Ok(future) => Answer::of(future),
        Err(failure) => Answer { failure: failure.clone(), ..Answer::default() },
    }
}

fn together<const N: usize>(answers: [Answer; N]) -> String {
    answers.map(|answer| answer.summary()).join(", ")
}

/// Hands the permitted request over, and writes all of its body, but does not finish it.
fn begun(scene: &Scene) -> Option<(OutgoingBody, FutureIncomingResponse)> {
    let message = asked(scene);
    let outgoing = message.outgoing().ok()?;
    let body = outgoing.body().ok()?;
    let future = outgoing_handler::handle(outgoing, None).ok()?;
    write(&body, message.body.as_deref().unwrap_or_default());
    Some((body, future))
}

/// Never finishes the body.
fn unfinished(scene: &Scene, wait: bool) -> String {
    let Some((body, future)) = begun(scene) else { return "unsendable".to_owned() };
    let report = if wait { Answer::of(&future).summary() } else { "left behind".to_owned() };
    std::mem::forget::<(OutgoingBody, FutureIncomingResponse)>((body, future));
    report
}
