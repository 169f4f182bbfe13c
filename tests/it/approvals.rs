//! Approvals that are stored: what they are for, that they are used once, and when they are kept.

use crate::wire::{daily, kind, message, sent};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use whereby::simulator::{Gate, Reply, RoomSeed};
use whereby::{ApprovalState, Call, Error, Outcome, Session, WriteOutcome};
use whereby_tests::World;

/// The id under which a call was stored to be approved.
fn pending(outcome: &Outcome) -> String {
    assert_eq!(kind(outcome), "approval-required", "{outcome:?}");
    let Err(Error::ApprovalRequired { pending: Some(pending), .. }) = &outcome.result else {
        panic!("nothing was stored: {outcome:?}")
    };
    assert_eq!(outcome.approval.as_ref(), Some(&pending.id));
    pending.id.clone()
}

fn prefixed(prefix: &str) -> Value {
    json!({"room_name_prefix": prefix})
}

async fn create(session: &Session, prefix: &str) -> Outcome {
    session.call(None, "create_room", prefixed(prefix)).await
}

#[tokio::test]
async fn an_approval_admits_the_very_call_once() {
    let world = World::with_rooms(Vec::new()).await;
    let session = world.session();
    let id = pending(&create(&session, "a-").await);
    // Asking again is no other approval, and as long as nobody has approved it nothing is sent.
    assert_eq!(pending(&create(&session, "a-").await), id);
    world.assert_untouched();

    world.store().approve(&id).expect("approved");
    let outcome = create(&session, "a-").await;
    assert!(outcome.result.is_ok(), "{outcome:?}");
    assert_eq!(outcome.approval.as_deref(), Some(id.as_str()));
    assert_eq!(sent(&world), ["POST /v1/meetings"]);
    let stored = world.store().approval(&id).expect("read").expect("there");
    assert_eq!(stored.state, ApprovalState::Used);

    let again = pending(&create(&session, "a-").await);
    assert_ne!(again, id);
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test]
async fn two_spellings_of_one_intent_are_one_approval() {
    let world = World::with_rooms(vec![daily()]).await;
    let session = world.session();
    for (function, spellings) in [
        (
            "create_room",
            [
                json!({"end_date": "2099-03-02T10:00:00Z", "room_name_prefix": "q-"}),
                json!({"end_date": "2099-03-02T10:00:00.000Z", "room_name_prefix": "Q-"}),
                json!({
                    "end_date": "2099-03-02T12:00:00+02:00", "room_name_prefix": "q -",
                    "start_date": "", "fields": [], "room_mode": null,
                }),
            ],
        ),
        (
            "delete_room",
            [
                json!({"room_name": "daily"}),
                json!({"room_name": " /Daily "}),
                json!({"room_name": "DAILY"}),
            ],
        ),
    ] {
        let id = pending(&session.call(None, function, spellings[0].clone()).await);
        for other in &spellings {
            assert_eq!(pending(&session.call(None, function, other.clone()).await), id, "{other}");
        }
        assert_eq!(world.store().approvals(false).expect("read").len(), 1, "{function}");
        world.store().approve(&id).expect("approved");
        let outcome = session.call(None, function, spellings[2].clone()).await;
        assert!(outcome.result.is_ok(), "{outcome:?}");
        assert_eq!(outcome.approval.as_deref(), Some(id.as_str()));
    }
}

#[tokio::test]
async fn an_approval_is_for_no_other_call() {
    let world = World::with_rooms(vec![daily(), RoomSeed::named("weekly")]).await;
    let session = world.session();
    let call = json!({"room_name": "daily"});
    let id = pending(&session.call(None, "delete_room", call.clone()).await);
    world.store().approve(&id).expect("approved");
    for (account, function, arguments) in [
        (None, "delete_room", json!({"room_name": "weekly"})),
        (None, "delete_room", json!({"room_name": "https://acme-demo.whereby.com/daily"})),
        (Some("other"), "delete_room", call.clone()),
        (None, "create_room", json!({})),
    ] {
        let outcome = session.call(account, function, arguments.clone()).await;
        assert_ne!(pending(&outcome), id, "{account:?} {function} {arguments}");
    }
    // Under the key of another organization, and with another component, it is another call.
    let [own, other] = [world.simulator.tokens()[0].clone(), world.simulator.tokens()[1].clone()];
    let file = world.path("config/whereby/config.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    world.write("config/whereby/config.toml", &text.replace(&own, &other));
    let outcome = world.session().call(None, "delete_room", call.clone()).await;
    assert_ne!(pending(&outcome), id);
    world.write("config/whereby/config.toml", &text);
    let reader = whereby::BUILT_IN_READER.to_vec();
    let outcome =
        world.session_with(None, Some(reader)).call(None, "delete_room", call.clone()).await;
    assert_ne!(pending(&outcome), id);
    world.assert_untouched();

    // Another spelling of the same call is the same call.
    let outcome = session.call(None, "delete_room", json!({"room_name": "/Daily"})).await;
    assert!(outcome.result.is_ok(), "{outcome:?}");
}

#[tokio::test]
async fn whoever_races_for_an_approval_only_one_has_it() {
    let world = World::with_rooms(Vec::new()).await;
    let id = pending(&create(&world.session(), "race-").await);
    world.store().approve(&id).expect("approved");
    let calls: Vec<_> = (0..16)
        .map(|_| {
            // Each with a store of its own, as in a process of its own.
            let session = world.session();
            tokio::spawn(async move { create(&session, "race-").await })
        })
        .collect();
    let mut won = 0;
    for call in calls {
        let outcome = call.await.expect("no panic");
        if outcome.result.is_ok() {
            won += 1;
        } else {
            assert_ne!(pending(&outcome), id);
        }
    }
    assert_eq!((won, world.requests().len()), (1, 1));
}

#[tokio::test]
async fn a_denied_call_is_denied_until_its_time_is_over() {
    let world = World::with_rooms(Vec::new()).await;
    let session = world.session();
    let id = pending(&create(&session, "a-").await);
    world.store().deny(&id).expect("denied");
    let outcome = create(&session, "a-").await;
    assert_eq!(kind(&outcome), "denied");
    assert!(message(&outcome).contains("declined"), "{}", message(&outcome));
    // Not even the user's own flag overrides it.
    let forced = Call::new("create_room", prefixed("a-")).force(true);
    let outcome = session.run(forced).await;
    assert_eq!(kind(&outcome), "denied", "{outcome:?}");
    assert!(message(&outcome).contains("denied by a person"), "{outcome:?}");
    world.assert_untouched();
    // Another call is another question.
    assert_ne!(pending(&create(&session, "b-").await), id);
    // An approval that was not used can be taken back.
    let id = pending(&create(&session, "c-").await);
    world.store().approve(&id).expect("approved");
    world.store().deny(&id).expect("taken back");
    assert_eq!(kind(&create(&session, "c-").await), "denied");
    world.assert_untouched();
}

#[tokio::test]
async fn a_call_that_surely_did_nothing_keeps_its_approval() {
    let world = World::with_rooms(Vec::new()).await;
    let session = world.session();
    let id = pending(&create(&session, "a-").await);
    world.store().approve(&id).expect("approved");
    let wait = Reply::status(429).header("retry-after", "900");
    world.simulator.script("POST", "/v1/meetings", 1, wait);
    let outcome = create(&session, "a-").await;
    assert_eq!((kind(&outcome), outcome.write), ("rate-limited", WriteOutcome::None));
    let outcome = create(&session, "a-").await;
    assert!(outcome.result.is_ok(), "{outcome:?}");
    assert_eq!(outcome.approval.as_deref(), Some(id.as_str()));
}

#[tokio::test]
async fn a_call_whose_outcome_is_unknown_or_refused_has_used_its_approval() {
    for (reply, expected, write) in [
        (Reply::carried_out().hanging_up(), "unavailable", WriteOutcome::Unknown),
        (Reply::status(500), "unavailable", WriteOutcome::Unknown),
        (Reply::status(400), "rejected", WriteOutcome::None),
    ] {
        let world = World::with_rooms(Vec::new()).await;
        let session = world.session();
        let id = pending(&create(&session, "a-").await);
        world.store().approve(&id).expect("approved");
        world.simulator.script("POST", "/v1/meetings", 1, reply);
        let outcome = create(&session, "a-").await;
        assert_eq!(outcome.write, write, "{outcome:?}");
        assert_eq!(kind(&outcome), expected);
        assert_ne!(pending(&create(&session, "a-").await), id);
        assert_eq!(world.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_dropped_call_keeps_its_approval_where_nothing_was_sent_that_it_was_for() {
    let world = World::with_rooms(vec![daily()]).await;
    let session = world.session();
    let call = json!({"room_name": "daily"});
    let id = pending(&session.call(None, "delete_room", call.clone()).await);
    world.store().approve(&id).expect("approved");
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let (sender, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let watched = Call::new("delete_room", call.clone()).observer(Arc::new(move |method, _| {
        sender.send(method.to_owned()).expect("the test listens");
    }));
    tokio::select! {
        outcome = session.run(watched) => panic!("it ended: {outcome:?}"),
        method = sent.recv() => assert_eq!(method.as_deref(), Some("GET")),
    }
    gate.open();
    drop(session);
    let rows = world.audit();
    let last = rows.last().expect("a row");
    let outcome = last.outcome.as_ref().expect("an end");
    assert_eq!((outcome.kind.as_deref(), outcome.effect.as_str()), (Some("cancelled"), "none"));
    let outcome = world.session().call(None, "delete_room", call).await;
    assert!(outcome.result.is_ok(), "{outcome:?}");
    assert_eq!(outcome.approval.as_deref(), Some(id.as_str()));
}

#[tokio::test]
async fn a_call_can_wait_for_its_approval() {
    let world = World::with_rooms(Vec::new()).await;
    let session = world.session();
    let wait = Duration::from_secs(60);
    let run = |prefix: &str| {
        let call = Call::new("create_room", prefixed(prefix)).wait(wait);
        let session = session.clone();
        tokio::spawn(async move { session.run(call).await })
    };
    let stored = async || loop {
        let open = world.store().approvals(false).expect("read");
        if let Some(row) = open.iter().find(|row| row.state == ApprovalState::Pending) {
            return row.id.clone();
        }
        tokio::task::yield_now().await;
    };
    let call = run("a-");
    let id = stored().await;
    world.store().approve(&id).expect("approved");
    let outcome = call.await.expect("no panic");
    assert!(outcome.result.is_ok(), "{outcome:?}");
    let call = run("b-");
    let id = stored().await;
    world.store().deny(&id).expect("denied");
    assert_eq!(kind(&call.await.expect("no panic")), "denied");
    assert_eq!(world.requests().len(), 1);
    // Two that wait for one approval: the other one is told what became of it.
    let calls = [run("c-"), run("c-")];
    let id = stored().await;
    world.store().approve(&id).expect("approved");
    let (mut done, mut told) = (0, 0);
    for call in calls {
        let outcome = call.await.expect("no panic");
        match &outcome.result {
            Ok(_) => done += 1,
            Err(_) => {
                assert_eq!(kind(&outcome), "approval-required");
                assert!(message(&outcome).contains("used by another call"), "{outcome:?}");
                assert!(outcome.approval.is_some_and(|own| own != id), "a new one is stored");
                told += 1;
            }
        }
    }
    assert_eq!((done, told, world.requests().len()), (1, 1, 2));
}

#[tokio::test]
async fn an_expired_or_denied_rule_is_not_overridden_by_an_approval() {
    let world = World::with_rooms(Vec::new()).await;
    let id = pending(&create(&world.session(), "a-").await);
    world.store().approve(&id).expect("approved");
    world.configure("[permissions]\nwrite = \"deny\"\n");
    assert_eq!(kind(&create(&world.session(), "a-").await), "denied");
    world.assert_untouched();
    let stored = world.store().approval(&id).expect("read").expect("there");
    assert_eq!(stored.state, ApprovalState::Approved);
}

#[tokio::test]
async fn an_approval_is_kept_where_the_component_cannot_be_called() {
    let world = World::with_rooms(Vec::new()).await;
    let reader = whereby::BUILT_IN_READER.to_vec();
    for component in [reader, b"no component".to_vec()] {
        let session = world.session_with(None, Some(component));
        let id = pending(&create(&session, "kept-").await);
        world.store().approve(&id).expect("approved");
        for _ in 0..2 {
            let outcome = create(&session, "kept-").await;
            assert_eq!(kind(&outcome), "component-fault", "{outcome:?}");
            let stored = world.store().approval(&id).expect("read").expect("there");
            assert_eq!(stored.state, ApprovalState::Approved);
        }
    }
    world.assert_untouched();
}
