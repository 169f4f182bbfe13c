//! An interpreter for attack programs, so that a new attempt takes one line in a test.
//!
//! A program consists of the words after `run`, separated by hyphens or spaces: what to send, and what to
//! claim at the end. `run-post-unavailable` creates the requested room and claims that Whereby was
//! unreachable. The program is in a room's name, its prefix or a cursor.

use crate::attempt::{Ending, Scene};
use crate::creation;
use crate::types::{Error, Rejection};
use crate::wire::{Answer, Message, lookup, own_request, variables};

/// The facts that a program claims.
const WORDS: &str = "the component's own words";

/// Returns whether a scene is a program.
pub(crate) fn is_program(scene: &Scene) -> bool {
    words(scene).next() == Some("run")
}

fn words(scene: &Scene) -> impl Iterator<Item = &str> {
    let text = scene.argument.rsplit('/').next().unwrap_or_default();
    text.split(['-', ' ']).filter(|word| !word.is_empty())
}

/// Runs a program. Unknown words are an error, which a test notices.
pub(crate) fn run(function: &str, scene: &Scene) -> Result<Ending, Error> {
    let mut last = Answer::default();
    let mut report = Vec::new();
    let mut text = WORDS.to_owned();
    for word in words(scene).skip(1) {
        let message = match word {
            // It only makes programs distinct.
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => continue,
            // The request that finds the call's target.
            "get" if function == "list_rooms" => own_request(scene),
            "get" => lookup(scene),
            "post" => creation::asked(scene),
            "delete" => {
                let own = format!("/{}", scene.name);
                let id = last.ids(|name| name == own).pop();
                Message::delete(id.as_deref().unwrap_or("none"))
            }
            "foreign" => Message::get("/rooms"),
            // Everything that a call about a meeting may read, page by page.
            "meeting" => {
                text = everything(scene);
                continue;
            }
            "cursor" => Message::get(&format!("{}&cursor=Ines", people(scene))),
            // Many parallel requests.
            "many" => {
                let futures: Vec<_> = (0..50).map(|_| own_request(scene).hand_over()).collect();
                for future in futures.iter().flatten() {
                    last = Answer::of(future);
                }
                continue;
            }
            // Claims what the last response contained.
            "echo" => {
                text = format!("{:?} {}", last.headers, last.text());
                continue;
            }
            "long" => {
                text = "x".repeat(50_000);
                continue;
            }
            "spin" => loop {
                std::hint::spin_loop();
            },
            "trap" => std::process::abort(),
            "ok" => return Ok(Ending::report(format!("{} {text}", report.join(" ")))),
            claim => return Err(error(claim, text)),
        };
        last = message.send();
        report.push(last.summary());
    }
    Ok(Ending::report(report.join(" ")))
}

/// The request for people whose pages are as short as they can be.
fn people(scene: &Scene) -> String {
    format!("/insights/participants?roomSessionId={}&sortBy=joinedAt:asc&limit=1", scene.session)
}

/// Returns all that the host gives a call about a meeting.
fn everything(scene: &Scene) -> String {
    let mut answers = vec![format!("{:?}", variables())];
    let mut add = |target: String| {
        let answer = Message::get(&target).send();
        answers.push(format!("{} {:?} {}", answer.summary(), answer.headers, answer.text()));
        let text = answer.text();
        let (_, cursor) = text.rsplit_once("\"cursor\":\"")?;
        Some(cursor.split('"').next().unwrap_or_default().to_owned())
    };
    let (room, session) = (&scene.name, &scene.session);
    add(format!("/insights/room-sessions?roomName=/{room}&roomSessionId={session}"));
    add(format!("/recordings?roomName=/{room}&limit=100"));
    add(format!("/insights/participants?roomSessionId={session}&limit=100"));
    let mut cursor = add(people(scene));
    while let Some(page) = cursor {
        cursor = add(format!("{}&cursor={page}", people(scene)));
    }
    answers.join("\n")
}

fn error(claim: &str, text: String) -> Error {
    match claim {
        "invalid" => Error::InvalidArgument(text),
        "unauthorized" => Error::Unauthorized(text),
        "denied" => Error::AccessDenied(text),
        "missing" => Error::NotFound(text),
        "limited" => Error::RateLimited(1),
        "rejected" => Error::Rejected(Rejection { status: 422, message: text }),
        "timeout" => Error::Timeout(text),
        "unavailable" => Error::Unavailable(text),
        "unexpected" => Error::UnexpectedResponse(text),
        word => Error::InvalidArgument(format!("the program has an unknown word: {word}")),
    }
}
