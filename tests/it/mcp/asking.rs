//! Asking a person by way of the client, in both ways that the protocol has had.

use super::raw::Raw;
use super::{Client, Connected, Progress, accepts, answers, params};
use crate::wire::{daily, sent};
use rmcp::model::{
    CallToolResponse, ElicitResult, ElicitationAction, InputRequest, ProtocolVersion,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use whereby::catalog::FUNCTIONS;
use whereby::inbox::Inbox;
use whereby_tests::World;

const DELETE: &str = "whereby_delete_room";

fn daily_room() -> Value {
    json!({"room_name": "/Daily"})
}

async fn connect(world: &World, answer: Option<ElicitResult>) -> (Connected, Client, Progress) {
    let (client, progress) = Client::new(answer);
    (Connected::new(world, client.clone()).await, client, progress)
}

#[tokio::test]
async fn a_person_who_accepts_approves_the_call_that_they_were_shown() {
    let world = World::with_rooms(vec![daily()]).await;
    let (connected, client, _progress) = connect(&world, accepts(true)).await;
    let result = connected.call(DELETE, daily_room()).await;
    assert_eq!(result.is_error, Some(false), "{result:?}");
    let asked = client.asked();
    assert_eq!(asked.len(), 1);
    for part in
        ["`work`", "delete_room", "\"room_name\": \"daily\"", "permanently", "permissions.write"]
    {
        assert!(asked[0].contains(part), "{part} is not in {}", asked[0]);
    }
    assert_eq!(sent(&world).len(), 2);
    connected.end().await;
    let rows = world.audit();
    assert_eq!(rows[0].approved_by.as_deref(), Some("elicitation"));
    assert_eq!(
        (rows[0].front_end.as_str(), rows[0].client.as_deref()),
        ("mcp", Some("tester 1.0"))
    );
}

#[tokio::test]
async fn anything_but_a_yes_leaves_the_call_unmade() {
    for (answer, kind) in [
        (accepts(false), "denied"),
        // Clients send these by themselves.
        (answers(ElicitationAction::Decline), "approval-required"),
        (answers(ElicitationAction::Cancel), "approval-required"),
        // The form was not filled in.
        (answers(ElicitationAction::Accept), "approval-required"),
        (None, "approval-required"),
    ] {
        let world = World::with_rooms(vec![daily()]).await;
        let can_ask = answer.is_some();
        let (connected, client, _progress) = connect(&world, answer).await;
        let error = connected.fail(DELETE, daily_room()).await;
        assert_eq!(error["kind"], kind);
        assert_eq!(client.asked().len(), usize::from(can_ask));
        // What nobody has decided on can still be approved elsewhere.
        if kind == "approval-required" {
            let id = error["approval_id"].as_str().expect("an id");
            let hint = error["hint"].as_str().expect("a hint");
            assert!(hint.contains(&format!("whereby approvals approve {id}")), "{hint}");
            world.assert_untouched();
            world.store().approve(id).expect("approved");
            let result = connected.call(DELETE, daily_room()).await;
            assert_eq!(result.is_error, Some(false), "{result:?}");
        } else {
            assert_eq!(error["approval_id"], Value::Null);
            world.assert_untouched();
        }
        connected.end().await;
    }
}

#[tokio::test]
async fn the_client_is_not_asked_where_its_word_is_not_to_be_taken() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure("[permissions]\nelicitation = \"deny\"\n");
    let (connected, client, _progress) = connect(&world, accepts(true)).await;
    let error = connected.fail(DELETE, daily_room()).await;
    assert_eq!(error["kind"], "approval-required");
    assert!(client.asked().is_empty());
    world.assert_untouched();
    connected.end().await;
}

/// A client of the protocol without a handshake, where the server does not ask by itself.
async fn connect_new(world: &World, answer: Option<ElicitResult>) -> (Connected, Client, Progress) {
    let (client, progress) = Client::new(answer);
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (read, write) = tokio::io::split(theirs);
    let server = super::server(world);
    let server = tokio::spawn(async move { server.serve(read, write).await });
    let mode =
        ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    let running = client.clone().serve_with_lifecycle(ours, mode).await.expect("the client starts");
    (Connected { client: running, server }, client, progress)
}

#[tokio::test]
async fn the_newest_protocol_asks_by_saying_that_input_is_required() {
    let world = World::with_rooms(vec![daily()]).await;
    let (connected, client, _progress) = connect_new(&world, accepts(true)).await;
    assert_eq!(connected.tools().await.len(), FUNCTIONS.len() + 1);
    let result = connected.call(DELETE, daily_room()).await;
    assert_eq!(result.is_error, Some(false), "{result:?}");
    assert_eq!(client.asked().len(), 1);
    assert!(client.asked()[0].contains("permanently"));
    assert_eq!(sent(&world).len(), 2);
    connected.end().await;

    for (answer, kind) in [
        (accepts(false), "denied"),
        // Clients send these by themselves.
        (answers(ElicitationAction::Decline), "approval-required"),
        (answers(ElicitationAction::Cancel), "approval-required"),
        (None, "approval-required"),
    ] {
        let world = World::with_rooms(vec![daily()]).await;
        let (connected, _client, _progress) = connect_new(&world, answer).await;
        let error = connected.fail(DELETE, daily_room()).await;
        assert_eq!(error["kind"], kind);
        world.assert_untouched();
        connected.end().await;
    }
}

#[tokio::test]
async fn an_answer_is_taken_with_the_call_that_it_was_asked_for_alone() {
    let world = World::with_rooms(vec![daily()]).await;
    let (connected, _client, _progress) = connect_new(&world, accepts(true)).await;
    let once = async |arguments: Value, state: Option<&str>| {
        let mut call = params("whereby_create_room", arguments);
        if let Some(state) = state {
            let yes = json!({"action": "accept", "content": {"approve": true}});
            call = call
                .with_request_state(state)
                .with_input_responses(BTreeMap::from([("approval".to_owned(), yes)]));
        }
        connected.client.call_tool_once(call).await.expect("an answer")
    };
    let CallToolResponse::InputRequired(asked) =
        once(json!({"room_name_prefix": "a-"}), None).await
    else {
        panic!("it was not asked for")
    };
    let state = asked.request_state.expect("a handle");
    let requests = asked.input_requests.expect("a question");
    assert!(matches!(requests["approval"], InputRequest::Elicitation(_)));
    let refused = async |arguments: Value, state: &str| match once(arguments, Some(state)).await {
        CallToolResponse::Complete(result) => {
            assert_eq!(result.is_error, Some(true), "{result:?}");
            world.assert_untouched();
        }
        other => panic!("{other:?}"),
    };
    // Another call, another handle, a made-up one.
    refused(json!({"room_name_prefix": "b-"}), &state).await;
    refused(json!({"room_name_prefix": "a-"}), &"f".repeat(32)).await;
    refused(json!({"room_name_prefix": "a-"}), "").await;
    // The id of the approval, which agents get to see, is no handle.
    let id = state.split('.').next().expect("an id").to_owned();
    assert!(world.store().approval(&id).expect("read").is_some());
    refused(json!({"room_name_prefix": "a-"}), &id).await;
    refused(json!({"room_name_prefix": "a-"}), &format!("{id}.{}", "0".repeat(32))).await;
    let CallToolResponse::Complete(made) =
        once(json!({"room_name_prefix": "a-"}), Some(&state)).await
    else {
        panic!("it was asked for again")
    };
    assert_eq!(made.is_error, Some(false), "{made:?}");
    // The same answer once more is none.
    let CallToolResponse::Complete(again) =
        once(json!({"room_name_prefix": "a-"}), Some(&state)).await
    else {
        panic!("it was asked for again")
    };
    assert_eq!(again.is_error, Some(true));
    assert_eq!(world.requests().len(), 1);
    connected.end().await;
}

#[tokio::test]
async fn a_person_s_no_holds_however_often_an_agent_asks() {
    let world = World::with_rooms(vec![daily()]).await;
    let (connected, client, _progress) = connect(&world, accepts(false)).await;
    for _ in 0..5 {
        let error = connected.fail(DELETE, daily_room()).await;
        assert_eq!(error["kind"], "denied");
    }
    assert_eq!(client.asked().len(), 1, "they were asked again");
    connected.end().await;
    // A client whose user would say yes does not get around it either.
    let (connected, client, _progress) = connect(&world, accepts(true)).await;
    let error = connected.fail(DELETE, daily_room()).await;
    assert_eq!(error["kind"], "denied");
    assert!(client.asked().is_empty());
    world.assert_untouched();
    // Whoever owns the account has the last word.
    let denied = world.store().approvals(true).expect("read").remove(0);
    let ran = world.run(&["approvals", "approve", &denied.id]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let result = connected.call(DELETE, daily_room()).await;
    assert_eq!(result.is_error, Some(false), "{result:?}");
    assert!(client.asked().is_empty());
    connected.end().await;
}

#[tokio::test]
async fn a_client_that_declines_by_itself_leaves_the_call_to_whoever_owns_the_account() {
    let world = World::with_rooms(vec![daily()]).await;
    let (connected, client, _progress) = connect(&world, answers(ElicitationAction::Decline)).await;
    let ids: Vec<String> =
        [connected.fail(DELETE, daily_room()).await, connected.fail(DELETE, daily_room()).await]
            .iter()
            .map(|error| error["approval_id"].as_str().expect("an id").to_owned())
            .collect();
    assert_eq!(ids[0], ids[1], "the call waits on");
    assert_eq!(client.asked().len(), 2);
    world.assert_untouched();
    let ran = world.run(&["approvals", "approve", &ids[0]]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let result = connected.call(DELETE, daily_room()).await;
    assert_eq!(result.is_error, Some(false), "{result:?}");
    connected.end().await;
}

#[tokio::test]
async fn a_yes_is_to_a_call_under_the_rules_of_then() {
    let world = World::with_rooms(vec![daily()]).await;
    let (mut client, _progress) = Client::new(accepts(true));
    let project = world.path("project/.whereby.toml");
    client.before_answer = Some(std::sync::Arc::new(move || {
        std::fs::write(&project, "[permissions]\nwrite = \"deny\"\n").expect("written");
    }));
    let connected = Connected::new(&world, client.clone()).await;
    let error = connected.fail(DELETE, daily_room()).await;
    assert_ne!(error["kind"], Value::Null);
    assert_eq!(client.asked().len(), 1);
    world.assert_untouched();
    let error = connected.fail(DELETE, daily_room()).await;
    assert_eq!(error["kind"], "denied");
    world.assert_untouched();
    connected.end().await;
}

const REQUIRED: &str = "[approvals]\nrequire = \"passkey\"\n";

#[tokio::test]
async fn a_client_s_word_is_no_passkey() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(REQUIRED);
    for is_new in [false, true] {
        let (connected, client, _progress) = match is_new {
            true => connect_new(&world, accepts(true)).await,
            false => connect(&world, accepts(true)).await,
        };
        let error = connected.fail(DELETE, daily_room()).await;
        assert_eq!(error["kind"], "approval-required");
        let hint = error["hint"].as_str().expect("a hint");
        assert!(hint.contains("with a passkey") && !hint.contains("approvals approve"), "{hint}");
        assert!(client.asked().is_empty());
        // Nor is that of a program that embeds the library, and of whoever waits for it.
        let id = error["approval_id"].as_str().expect("an id");
        world.store().approve(id).expect_err("refused");
        let resumed = json!({"approval_id": id, "wait_seconds": 0});
        let error = connected.fail("whereby_resume", resumed).await;
        assert_eq!(error["effect"], "none");
        let error = connected.fail(DELETE, daily_room()).await;
        assert_eq!(error["kind"], "approval-required");
        world.assert_untouched();
        connected.end().await;
    }
    // An answer that nobody asked for.
    let mut raw = Raw::new(&world);
    raw.without_handshake("2026-07-28", json!({"elicitation": {"form": {}}}));
    let mut call = json!({"name": DELETE, "arguments": daily_room()});
    raw.ask("tools/call", call.clone()).await;
    let open = world.store().approvals(false).expect("read").remove(0);
    for state in [open.id.clone(), format!("{}.{}", open.id, "0".repeat(32))] {
        call["requestState"] = json!(state);
        call["inputResponses"] =
            json!({"approval": {"action": "accept", "content": {"approve": true}}});
        let result = raw.ask("tools/call", call.clone()).await["result"].clone();
        assert_eq!(result["_meta"]["whereby/error"]["kind"], "approval-required", "{result}");
    }
    raw.end().await;
    world.assert_untouched();
}

#[tokio::test]
async fn a_client_that_opens_pages_is_given_the_address_of_the_approval() {
    let capabilities = json!({"elicitation": {"url": {}}});
    for rules in ["", REQUIRED] {
        let world = World::with_rooms(vec![daily()]).await;
        world.configure(rules);
        let call = json!({"name": DELETE, "arguments": daily_room()});
        let error = |result: &Value| result["_meta"]["whereby/error"].clone();

        // Without a page, there is nothing to open.
        let mut raw = Raw::new(&world);
        raw.without_handshake("2026-07-28", capabilities.clone());
        let result = raw.ask("tools/call", call.clone()).await["result"].clone();
        assert_eq!(error(&result)["kind"], "approval-required", "{result}");
        raw.end().await;

        let inbox = Inbox::new(world.store(), world.environment(), None);
        let page = inbox.listen(([127, 0, 0, 1], 0).into()).await.expect("it listens");
        let mut raw = Raw::new(&world);
        raw.initialize("2025-11-25", capabilities.clone()).await;
        let result = raw.ask("tools/call", call.clone()).await["result"].clone();
        let id = error(&result)["approval_id"].as_str().expect("an id").to_owned();
        let address = format!("{}approvals/{id}", page.url());
        let hint = error(&result)["hint"].as_str().expect("a hint").to_owned();
        assert!(hint.contains(&address), "{hint}");
        raw.until("elicitation/create").await;
        let is_shown = |message: &&Value| message["method"] == "elicitation/create";
        let shown = raw.received().iter().find(is_shown).expect("an address")["params"].clone();
        assert_eq!((&shown["mode"], &shown["url"]), (&json!("url"), &json!(address)), "{shown}");
        assert_eq!(shown["elicitationId"], id);
        raw.end().await;

        // Since 2026-07-28, the server says what it needs, and the client repeats the call.
        let mut raw = Raw::new(&world);
        raw.without_handshake("2026-07-28", capabilities.clone());
        let result = raw.ask("tools/call", call.clone()).await["result"].clone();
        assert_eq!(result["resultType"], "input_required", "{result}");
        let shown = &result["inputRequests"]["approval"]["params"];
        assert_eq!((&shown["mode"], &shown["url"]), (&json!("url"), &json!(address)), "{shown}");
        // That a person has opened it decides nothing.
        let mut again = call.clone();
        again["requestState"] = result["requestState"].clone();
        again["inputResponses"] =
            json!({"approval": {"action": "accept", "content": {"approve": true}}});
        let result = raw.ask("tools/call", again.clone()).await["result"].clone();
        assert_eq!(error(&result)["kind"], "approval-required", "{result}");
        world.assert_untouched();
        if rules.is_empty() {
            world.store().approve(&id).expect("approved");
            let result = raw.ask("tools/call", again).await["result"].clone();
            assert_eq!(result["isError"], false, "{result}");
        }
        raw.end().await;
        page.stop().await;
    }
}
