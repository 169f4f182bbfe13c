//! Secrets in what people and logs get to see: every `Debug`, and what a server repeats.

pub(crate) mod marked;

use crate::wire::{calls, daily_world, kind, later, message};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use whereby::arguments::Arguments;
use whereby::simulator::{Reply, RoomSeed};
use whereby::{
    Account, Answer, ApiBase, Approver, Call, Error, Question, Session, Settings, TokenSource,
};
use whereby_tests::World;

/// Part of everything here that must not be shown.
const SECRET: &str = "s3cret";

/// Fails where the `Debug` of something shows a secret, on one line or on many.
fn assert_hidden(what: &str, value: &dyn Debug) {
    for shown in [format!("{value:?}"), format!("{value:#?}")] {
        assert!(!shown.contains(SECRET), "{what}: {shown}");
    }
}

/// Arguments of create_room with a secret in each place that takes one.
fn secret_arguments() -> Value {
    json!({
        "room_name_prefix": "open-",
        "fields": [
            {"recording": {"type": "cloud", "destination": {
                "provider": "s3", "authenticationType": "access-key", "bucket": "b",
                "accessKeyId": "AKIA", "accessKeySecret": "s3cret/key+1=",
            }}},
            {"streaming": {"destination": {"url": "rtmp://a.example/live/s3cret"}}},
        ],
    })
}

/// Keeps the `Debug` of what it is asked, and approves it.
#[derive(Default)]
struct Nosy(Mutex<Vec<String>>);

impl Approver for Nosy {
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        assert_hidden("the question", question);
        let shown = format!("{question:?}");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(shown);
        Box::pin(std::future::ready(Answer::Approved))
    }
}

#[tokio::test]
async fn the_debug_of_settings_and_their_parts_shows_no_secret() {
    let world = World::with_rooms(Vec::new()).await;
    let mut environment = world.environment();
    for (name, value) in [
        ("WHEREBY_ACCESS_TOKEN", "s3cret-token"),
        ("HTTPS_PROXY", "http://user:s3cret@127.0.0.1:9"),
        ("OTHER", "s3cret-too"),
    ] {
        environment.variables.insert(name.into(), value.into());
    }
    world.write(
        "config/whereby/config.toml",
        "[accounts.work]\naccess_token = \"s3cret-token\"\n\
         [accounts.other]\naccess_token = { env = \"OTHER\" }\n",
    );
    assert_hidden("the environment", &environment);
    assert!(format!("{environment:?}").contains("HTTPS_PROXY"), "names are shown");
    let settings = Settings::load(None, &environment).expect("a good configuration");
    assert!(settings.https_proxy.is_some());
    assert_hidden("settings", &settings);
    assert_hidden("a copy of settings", &settings.clone());
    for (name, account) in &settings.accounts {
        assert_hidden(name, account);
        assert_hidden(name, &account.token);
        let token = account.token.fetch(name, &environment).expect("a token");
        assert_hidden("a token", &token);
    }
    assert_hidden("a source", &TokenSource::literal("s3cret-token"));
    let account = Account::new(TokenSource::literal("s3cret-token"), ApiBase::default());
    assert_hidden("an account", &BTreeMap::from([("own", Some(account))]));
    // A token that is none, and a proxy that is none, are not repeated in the error either.
    for (name, value) in [("OTHER", "s3cret s3cret"), ("HTTPS_PROXY", "http://u:s3cret@:x")] {
        let mut environment = environment.clone();
        environment.variables.insert(name.into(), value.into());
        let settings = Settings::load(None, &environment).expect("a good configuration");
        let builder = Session::builder().settings(settings).environment(environment);
        let outcome = builder.build().expect("a session");
        let outcome = outcome.call(Some("other"), "list_rooms", json!({})).await;
        assert_eq!(kind(&outcome), "configuration");
        assert_hidden(name, &outcome);
        assert!(!message(&outcome).contains(SECRET), "{}", message(&outcome));
    }
}

#[tokio::test]
async fn the_debug_of_a_call_shows_no_secret_before_during_and_after_it() {
    let world = World::with_rooms(Vec::new()).await;
    let function = whereby::catalog::function("create_room").expect("a function");
    let arguments = Arguments::check(function, secret_arguments()).expect("good arguments");
    assert_hidden("arguments", &arguments);
    let call = Call::new("create_room", secret_arguments());
    assert_hidden("a call", &call);
    let shown = format!("{call:?}");
    assert!(shown.contains("AKIA") && shown.contains("rtmp://a.example/live/***("), "{shown}");

    let nosy = Arc::new(Nosy::default());
    let session = world.session_with(Some(nosy.clone()), None);
    let plan = session.plan(call.clone()).expect("a plan");
    assert_hidden("a plan", &plan);
    assert!(!plan.to_json().to_string().contains(SECRET));
    let outcome = session.run(call.clone()).await;
    assert!(outcome.result.is_ok(), "{outcome:?}");
    assert_hidden("an outcome", &outcome);
    assert_hidden("the requests", &outcome.requests);
    assert_eq!(nosy.0.lock().unwrap_or_else(PoisonError::into_inner).len(), 1);
    // Whereby got them.
    assert!(String::from_utf8_lossy(&world.requests()[0].body).contains(SECRET));

    // And where it repeats nothing of them, a failure shows nothing either.
    world.simulator.script("POST", "/v1/meetings", 1, later(503));
    let outcome = session.run(call).await;
    assert_hidden("a failure", &outcome);
    assert!(outcome.result.is_err());
}

#[tokio::test]
async fn a_secret_in_arguments_that_are_wrong_is_not_repeated() {
    let world = World::with_rooms(Vec::new()).await;
    let s3 = |member: &str, value: Value| {
        let mut arguments = secret_arguments();
        arguments["fields"][0]["recording"]["destination"][member] = value;
        arguments
    };
    for (what, arguments) in [
        ("a secret that is a list", s3("accessKeySecret", json!(["s3cret"]))),
        ("a secret that is an object", s3("accessKeySecret", json!({"value": "s3cret"}))),
        ("another member that is wrong", s3("provider", json!("s4"))),
        ("a member that there is not", s3("accessKey", json!(1))),
    ] {
        let call = Call::new("create_room", arguments.clone());
        assert_hidden(what, &call);
        let outcome = world.session().run(call).await;
        assert_eq!(kind(&outcome), "invalid-argument", "{what}");
        assert!(!message(&outcome).contains(SECRET), "{what}: {}", message(&outcome));
        assert_hidden(what, &outcome);
    }
    world.assert_untouched();
}

/// The ways to write a text in JSON that are not the shortest one.
fn spellings(text: &str) -> Vec<String> {
    let escape = |c: char| format!("\\u{:04x}", u32::from(c));
    let all: String = text.chars().map(escape).collect();
    vec![
        text.replace('.', "\\u002e"),
        text.replace('.', "\\u002E"),
        // The first letter, and the last one.
        escape(text.chars().next().expect("a letter")) + &text[1..],
        text[..text.len() - 1].to_owned() + &escape(text.chars().last().expect("a letter")),
        all.clone(),
        all.to_uppercase().replace("\\U", "\\u"),
        // Here the escape is beside it.
        format!("\\/{text}\\/"),
    ]
}

#[tokio::test]
async fn a_token_that_the_server_spells_in_another_way_reaches_nobody() {
    let (world, meeting) = daily_world().await;
    let token = world.simulator.token().to_owned();
    assert!(token.contains('.'), "there is something to spell");
    let session = world.session();
    for spelling in spellings(&token) {
        let read: Value = serde_json::from_str(&format!("\"{spelling}\"")).expect("JSON");
        assert!(read.as_str().is_some_and(|text| text.contains(&token)), "{spelling}");
        for (function, arguments) in calls(&meeting) {
            for status in [400, 401, 403, 404, 422] {
                let body = format!("{{\"error\": \"no: {spelling}\", \"data\": [\"{spelling}\"]}}");
                world.simulator.script("*", "/v1/", 3, Reply::status(status).body(body));
                let outcome = session.call(None, function, arguments.clone()).await;
                world.simulator.clear_scripts();
                let shown = format!("{outcome:?} {outcome:#?}");
                assert!(!shown.contains(&token), "{function} {status}: {spelling}");
                let error = outcome.result.as_ref().expect_err("a refusal");
                let told = format!("{error} {}", error.to_json(outcome.write));
                assert!(!told.contains(&token), "{function} {status}: {spelling}");
            }
        }
        let row = format!(
            "{{\"meetingId\": \"7\", \"roomName\": \"/x\", \"endDate\": \"{spelling}\", \
             \"roomUrl\": \"https://a.whereby.com/{spelling}\"}}"
        );
        let page = format!("{{\"results\": [{row}], \"cursor\": \"{spelling}\"}}");
        world.simulator.script("GET", "/v1/meetings", 1, Reply::status(200).body(page));
        let outcome = session.call(None, "list_rooms", json!({})).await;
        assert!(!format!("{outcome:?}").contains(&token), "{spelling}");
        let page = outcome.result.expect("a page");
        assert!(page["meta"]["nextCursor"].as_str().is_some_and(|c| c.contains("[redacted]")));
    }
}

#[tokio::test]
async fn a_token_beside_half_an_emoji_reaches_nobody() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let token = world.simulator.token().to_owned();
    let session = world.session();
    for spelling in spellings(&token) {
        let body = format!("{{\"error\": \"\\ud83d {spelling}\"}}");
        world.simulator.script("GET", "/v1/meetings", 1, Reply::status(400).body(body));
        let outcome = session.call(None, "list_rooms", json!({})).await;
        assert!(!format!("{outcome:?}").contains(&token), "{spelling}: {outcome:?}");
        assert!(message(&outcome).contains("[redacted]"), "{spelling}: {}", message(&outcome));
    }
}

#[tokio::test]
async fn a_token_that_is_cut_off_where_a_message_ends_shows_no_part_of_itself() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let token = world.simulator.token().to_owned();
    let session = world.session();
    let part = &token[..token.len() / 2];
    for spelling in [token.clone(), token.replace('.', "\\u002e")] {
        // Wherever the text is cut, here it is in the middle of one of them.
        for padding in (0..2000).step_by(50) {
            let body = format!("{{\"error\": \"{}{spelling}\"}}", "x".repeat(padding));
            world.simulator.script("GET", "/v1/meetings", 1, Reply::status(400).body(body));
            let outcome = session.call(None, "list_rooms", json!({})).await;
            let Err(Error::Function(error)) = &outcome.result else { panic!("{outcome:?}") };
            assert!(!format!("{error:?}").contains(part), "{padding}: {error:?}");
        }
    }
}
