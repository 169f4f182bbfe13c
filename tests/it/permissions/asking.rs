//! Asking a person: what they are shown, and what their answer means.

use super::configure;
use crate::wire::{body, daily, kind, message};
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use whereby::simulator::RoomSeed;
use whereby::{Answer, Approver, Call, Question, WriteOutcome};
use whereby_tests::World;

/// Gives one answer to everything, and keeps what it was asked.
struct Person {
    answer: Answer,
    asked: Mutex<Vec<Question>>,
}

impl Person {
    fn saying(answer: Answer) -> Arc<Self> {
        Arc::new(Self { answer, asked: Mutex::new(Vec::new()) })
    }

    fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Approver for Person {
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(question.clone());
        Box::pin(std::future::ready(self.answer))
    }
}

#[tokio::test]
async fn a_call_is_made_where_a_person_approves_it() {
    let world = World::with_rooms(Vec::new()).await;
    let person = Person::saying(Answer::Approved);
    let session = world.session_with(Some(person.clone()), None);
    let outcome = session.call(None, "create_room", json!({})).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert!(!outcome.forced);
    assert_eq!((person.asked().len(), world.requests().len()), (1, 1));
    // The approval was for that one call.
    session.call(None, "create_room", json!({})).await.result.expect("approved again");
    assert_eq!(person.asked().len(), 2);
}

#[tokio::test]
async fn a_call_is_not_made_where_a_person_declines_it_or_nobody_is_there() {
    for (answer, expected) in [(Answer::Declined, "denied"), (Answer::Nobody, "approval-required")]
    {
        let world = World::with_rooms(vec![daily()]).await;
        let person = Person::saying(answer);
        let session = world.session_with(Some(person.clone()), None);
        for (function, arguments) in
            [("create_room", json!({})), ("delete_room", json!({"room_name": "daily"}))]
        {
            let outcome = session.call(None, function, arguments).await;
            assert_eq!(kind(&outcome), expected);
            assert!(message(&outcome).contains(function), "{}", message(&outcome));
            assert!(outcome.result.expect_err("no").hint(WriteOutcome::None).is_some());
        }
        assert_eq!(person.asked().len(), 2);
        world.assert_untouched();
    }
}

#[tokio::test]
async fn a_person_is_not_asked_where_it_is_decided_already() {
    let world = World::with_rooms(vec![daily()]).await;
    for (rules, force) in [
        ("[permissions]\nwrite = \"allow\"\n", false),
        ("[permissions]\nwrite = \"deny\"\n", false),
        ("[permissions]\nwrite = \"deny\"\n", true),
        ("[permissions]\nforce = \"deny\"\n", true),
        ("", true),
    ] {
        configure(&world, rules);
        let person = Person::saying(Answer::Approved);
        let session = world.session_with(Some(person.clone()), None);
        let _ = session.run(Call::new("create_room", json!({})).force(force)).await;
        let _ = session.call(None, "list_rooms", json!({})).await;
        assert!(person.asked().is_empty(), "{rules}");
    }
}

#[tokio::test]
async fn a_person_is_shown_the_account_the_function_and_the_normal_arguments() {
    let world = World::with_rooms(vec![daily()]).await;
    let person = Person::saying(Answer::Declined);
    let session = world.session_with(Some(person.clone()), None);
    let arguments =
        json!({"room_name_prefix": "x-", "fields": null, "room_mode": "group", "end_date": null});
    session.call(Some("other"), "create_room", arguments).await.result.expect_err("declined");
    let name = json!({"room_name": "https://ACME.whereby.com/Daily?roomKey=s3cret"});
    session.call(None, "delete_room", name).await.result.expect_err("declined");
    let asked = person.asked();
    let [create, delete] = asked.as_slice() else { panic!("asked {} times", asked.len()) };
    assert_eq!((create.account.as_str(), create.function.json), ("other", "create_room"));
    assert_eq!(create.arguments, json!({"room_mode": "group", "room_name_prefix": "x-"}));
    assert!(!create.is_destructive);
    assert_eq!(create.rule.to_string(), "the default permissions.write = \"ask\"");
    assert_eq!((delete.account.as_str(), delete.function.json), ("work", "delete_room"));
    assert_eq!(delete.arguments, json!({"room_name": "https://acme.whereby.com/daily"}));
    assert!(delete.is_destructive);
    world.assert_untouched();
}

#[tokio::test]
async fn secrets_among_the_arguments_are_masked_for_people_and_sent_to_whereby() {
    let world = World::with_rooms(Vec::new()).await;
    let s3 = |secret: &str| {
        json!({"provider": "s3", "authenticationType": "access-key", "bucket": "b",
               "accessKeyId": "AKIA", "accessKeySecret": secret})
    };
    let fields = |secret: &str, url: &str| {
        json!([
            {"recording": {"type": "cloud", "destination": s3(secret)}},
            {"streaming": {"destination": {"url": url}}},
        ])
    };
    let arguments = json!({"fields": fields("s3cret", "rtmp://a.example/live/s3cret")});
    for answer in [Answer::Declined, Answer::Approved] {
        let person = Person::saying(answer);
        let session = world.session_with(Some(person.clone()), None);
        let outcome = session.call(None, "create_room", arguments.clone()).await;
        let asked = &person.asked()[0];
        let shown: Value = json!({"fields": fields("***(2c6a22155813b6ab)", "rtmp://a.example/live/***(44df6de503ffcebb)")});
        assert_eq!(asked.arguments, shown);
        assert!(!format!("{outcome:?}").contains("s3cret"), "{outcome:?}");
        let plan = session.plan(Call::new("create_room", arguments.clone())).expect("a plan");
        assert_eq!(plan.arguments, shown);
        if answer == Answer::Declined {
            world.assert_untouched();
        } else {
            let sent = body(&world.requests()[0]);
            assert_eq!(sent["recording"]["destination"]["accessKeySecret"], "s3cret");
            assert_eq!(sent["streaming"]["destination"]["url"], "rtmp://a.example/live/s3cret");
        }
    }
}

#[tokio::test]
async fn reading_is_asked_for_too_where_a_rule_says_so() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    configure(&world, "[permissions.functions]\nlist_rooms = \"ask\"\n");
    let person = Person::saying(Answer::Approved);
    let session = world.session_with(Some(person.clone()), None);
    assert!(session.call(None, "list_rooms", json!({})).await.result.is_ok());
    assert!(session.call(None, "get_room", json!({"room_name": "daily"})).await.result.is_ok());
    assert_eq!(person.asked().len(), 1);
    assert_eq!(person.asked()[0].rule.key, "permissions.functions.list_rooms");
}
