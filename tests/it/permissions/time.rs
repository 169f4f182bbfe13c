//! Asking takes as long as it takes, and none of the call's time.

use super::configure;
use crate::wire::{daily, kind};
use serde_json::json;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc};
use whereby::simulator::{Reply, RoomSeed};
use whereby::{Answer, Approver, Question, WriteOutcome};
use whereby_tests::World;

/// Somebody who answers when the test says so, and tells how long that took.
struct Absent {
    asked: mpsc::UnboundedSender<()>,
    answers: Mutex<mpsc::UnboundedReceiver<Answer>>,
    waited: mpsc::UnboundedSender<Duration>,
}

/// What the test has of [`Absent`].
struct Handle {
    asked: mpsc::UnboundedReceiver<()>,
    answer: mpsc::UnboundedSender<Answer>,
    waited: mpsc::UnboundedReceiver<Duration>,
}

impl Absent {
    fn new() -> (Arc<Self>, Handle) {
        let (asked, was_asked) = mpsc::unbounded_channel();
        let (answer, answers) = mpsc::unbounded_channel();
        let (waited, has_waited) = mpsc::unbounded_channel();
        let absent = Self { asked, answers: Mutex::new(answers), waited };
        (Arc::new(absent), Handle { asked: was_asked, answer, waited: has_waited })
    }
}

impl Approver for Absent {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async {
            let since = Instant::now();
            self.asked.send(()).expect("the test waits");
            let answer = self.answers.lock().await.recv().await.expect("the test answers");
            self.waited.send(since.elapsed()).expect("the test waits");
            answer
        })
    }
}

#[tokio::test]
async fn a_call_that_nobody_answers_for_can_be_dropped_and_nothing_was_sent() {
    let world = World::with_rooms(vec![daily()]).await;
    let (absent, mut handle) = Absent::new();
    let session = world.session_with(Some(absent), None);
    for (function, arguments) in
        [("create_room", json!({})), ("delete_room", json!({"room_name": "daily"}))]
    {
        tokio::select! {
            outcome = session.call(None, function, arguments) => panic!("{outcome:?}"),
            asked = handle.asked.recv() => asked.expect("a question"),
        }
    }
    // An answer that comes too late is an answer to nothing that was dropped.
    handle.answer.send(Answer::Approved).expect("the approver lives");
    let outcome = session.call(None, "list_rooms", json!({})).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    let requests = world.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].method, "GET");
}

#[tokio::test]
async fn the_time_that_a_person_takes_is_none_of_the_calls() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    configure(&world, "[limits]\ntimeout_seconds = 1\n");
    let (absent, mut handle) = Absent::new();
    let session = world.session_with(Some(absent), None);
    let meanwhile = async {
        handle.asked.recv().await.expect("a question");
        // This call begins after the question, and its time is up before the answer.
        let never = Reply::carried_out().never_answering();
        world.simulator.script("GET", "/v1/meetings", 1, never);
        let outcome = session.call(None, "list_rooms", json!({})).await;
        assert_eq!(kind(&outcome), "timeout");
        handle.answer.send(Answer::Approved).expect("the approver lives");
        handle.waited.recv().await.expect("how long it took")
    };
    let began = Instant::now();
    let (outcome, waited) = tokio::join!(session.call(None, "create_room", json!({})), meanwhile);
    let whole = began.elapsed();
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!(outcome.write, WriteOutcome::Done);
    assert!(outcome.duration + waited <= whole, "{outcome:?}, {waited:?} of {whole:?}");
}

#[tokio::test]
async fn a_person_who_declines_late_took_none_of_the_calls_time_either() {
    let world = World::with_rooms(Vec::new()).await;
    let (absent, mut handle) = Absent::new();
    let session = world.session_with(Some(absent), None);
    let meanwhile = async {
        handle.asked.recv().await.expect("a question");
        for _ in 0..5 {
            session.call(None, "list_rooms", json!({})).await.result.expect("a page");
        }
        handle.answer.send(Answer::Declined).expect("the approver lives");
        handle.waited.recv().await.expect("how long it took")
    };
    let began = Instant::now();
    let (outcome, waited) = tokio::join!(session.call(None, "create_room", json!({})), meanwhile);
    assert_eq!(kind(&outcome), "denied");
    assert!(outcome.duration + waited <= began.elapsed(), "{outcome:?}, {waited:?}");
}
