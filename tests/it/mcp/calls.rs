//! Listing tools, calling them, and what a client is told meanwhile.

use super::schemas::without_types;
use super::{Client, Connected, params};
use crate::wire::{ALLOW_ALL, daily, daily_world, sent};
use rmcp::model::{CallToolRequest, ClientRequest, ToolAnnotations};
use rmcp::service::PeerRequestOptions;
use serde_json::{Value, json};
use whereby::catalog::FUNCTIONS;
use whereby::schema;
use whereby::simulator::{Gate, Reply};
use whereby_tests::World;

async fn connect(world: &World) -> Connected {
    Connected::new(world, Client::new(None).0).await
}

#[tokio::test]
async fn the_functions_are_tools_with_everything_that_is_known_of_them() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let info = connected.client.peer_info().expect("the server's word");
    assert_eq!(info.server_info.as_ref().expect("its name").name, "whereby");
    let tools = connected.tools().await;
    assert_eq!(tools.len(), FUNCTIONS.len() + 1);
    assert_eq!(tools[FUNCTIONS.len()].name, "whereby_resume");
    for (tool, function) in tools.iter().zip(FUNCTIONS) {
        assert_eq!(tool.name, format!("whereby_{}", function.json));
        assert_eq!(tool.description.as_deref(), Some(function.docs));
        // Models have no use for the names of types.
        let mut arguments = schema::arguments(function);
        let mut result = schema::result(function);
        without_types(&mut arguments);
        without_types(&mut result);
        let mut properties = tool.input_schema["properties"].clone();
        let account = properties.as_object_mut().expect("an object").remove("account");
        assert_eq!(account.expect("accounts")["enum"], json!(["other", "work"]));
        assert_eq!(properties, arguments["properties"]);
        assert_eq!(tool.input_schema["additionalProperties"], false);
        let output = tool.output_schema.as_ref().expect("a schema");
        assert_eq!(output["properties"], result["properties"]);
        let ToolAnnotations {
            title,
            read_only_hint,
            destructive_hint,
            idempotent_hint,
            open_world_hint,
            ..
        } = tool.annotations.clone().expect("annotations");
        let hints = [read_only_hint, destructive_hint, idempotent_hint, open_world_hint];
        let expected = match function.json {
            "create_room" => [false, false, false, true],
            "delete_room" => [false, true, true, true],
            _ => [true, false, true, true],
        };
        assert_eq!(hints, expected.map(Some), "{}", function.json);
        assert!(title.is_some_and(|title| title.chars().next().is_some_and(char::is_uppercase)));
    }
    connected.end().await;
}

#[tokio::test]
async fn every_function_can_be_called_and_returns_what_its_schema_says() {
    let (world, meeting) = daily_world().await;
    let connected = connect(&world).await;
    for (tool, arguments) in [
        ("whereby_list_rooms", json!({"limit": 1})),
        ("whereby_get_room", json!({"room_name": "/daily"})),
        ("whereby_list_meetings", json!({"room_name": "daily"})),
        ("whereby_get_meeting", json!({"meeting_id": meeting})),
        ("whereby_get_current_user", json!({})),
        ("whereby_create_room", json!({"room_name_prefix": "x-", "account": "other"})),
        ("whereby_delete_room", json!({"room_name": "daily"})),
    ] {
        let result = connected.call(tool, arguments).await;
        assert_eq!(result.is_error, Some(false), "{tool}: {result:?}");
        let structured = result.structured_content.expect("a result");
        // A client that does not read structured results has all of it in the text.
        let text = &result.content[0].as_text().expect("a text").text;
        assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), structured);
    }
    connected.end().await;
}

#[tokio::test]
async fn a_call_that_fails_says_why_and_what_to_do() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(
        "[permissions]\nwrite = \"deny\"\n[accounts.other.permissions]\nwrite = \"ask\"\n",
    );
    let connected = connect(&world).await;
    for (tool, arguments, kind) in [
        ("whereby_get_room", json!({}), "invalid-argument"),
        ("whereby_get_room", json!({"room_name": "daily", "x": 1}), "invalid-argument"),
        ("whereby_list_rooms", json!({"limit": 0}), "invalid-argument"),
        ("whereby_list_rooms", json!({"account": 1}), "invalid-argument"),
        ("whereby_list_rooms", json!({"account": "nobody"}), "usage"),
        ("whereby_create_room", json!({"account": "work"}), "denied"),
        ("whereby_create_room", json!({"account": "other"}), "approval-required"),
    ] {
        let error = connected.fail(tool, arguments.clone()).await;
        assert_eq!(error["kind"], kind, "{tool} {arguments}");
        assert_eq!(error["effect"], "none");
    }
    world.assert_untouched();
    let error = connected.fail("whereby_get_room", json!({"room_name": "nowhere"})).await;
    assert_eq!(error["kind"], "not-found");
    world.simulator.script(
        "GET",
        "/v1/meetings",
        1,
        Reply::status(429).header("retry-after", "700"),
    );
    let error = connected.fail("whereby_list_rooms", json!({})).await;
    assert_eq!(
        (&error["kind"], &error["retry_after_seconds"]),
        (&json!("rate-limited"), &json!(700))
    );
    assert_eq!(error["retryable"], true);
    connected.end().await;
}

#[tokio::test]
async fn a_tool_s_name_in_another_spelling_is_answered_with_the_right_one() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure("[permissions.functions]\ndelete_room = \"deny\"\n");
    let connected = connect(&world).await;
    for (name, meant) in [
        ("whereby_list_room", Some("whereby_list_rooms")),
        ("list_rooms", Some("whereby_list_rooms")),
        ("list-rooms", Some("whereby_list_rooms")),
        ("listRooms", Some("whereby_list_rooms")),
        ("whereby.list_rooms", Some("whereby_list_rooms")),
        ("whereby.work.list_rooms", Some("whereby_list_rooms")),
        ("app.integrations.whereby.get_room", Some("whereby_get_room")),
        ("mcp__whereby__whereby_get_meeting", Some("whereby_get_meeting")),
        ("get_meting", Some("whereby_get_meeting")),
        // It is not offered, and this is nothing of ours.
        ("delete_room", None),
        ("send_mail", None),
        ("", None),
    ] {
        let unknown = connected.client.call_tool(params(name, json!({}))).await;
        let unknown = unknown.expect_err("no such tool").to_string();
        match meant {
            Some(meant) => {
                assert!(unknown.contains(&format!("did you mean `{meant}`?")), "{unknown}");
            }
            None => assert!(!unknown.contains("did you mean"), "{unknown}"),
        }
        assert!(unknown.contains("tools/list lists them all"), "{unknown}");
    }
    world.assert_untouched();
    connected.end().await;
}

/// What a person needs to change a rule, and an agent has no use for.
fn assert_for_agents(told: &str) {
    for word in ["config.toml", "line ", "permissions.", "\"allow\"", "file's owner"] {
        assert!(!told.contains(word), "`{word}` is told to an agent: {told}");
    }
}

#[tokio::test]
async fn an_agent_is_told_what_is_allowed_and_not_how_to_change_it() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(
        "[permissions]\ndestination = \"deny\"\n\
         [permissions.functions]\ndelete_room = \"deny\"\nget_meeting = \"deny\"\n",
    );
    let connected = connect(&world).await;
    let allowed = "allowed: list_rooms, get_room, list_meetings, get_current_user; \
                   allowed with a person's approval: create_room";
    let text_of = async |tool: &str, arguments: Value| {
        let result = connected.call(tool, arguments).await;
        let document = result.meta.expect("a document").0["whereby/error"].clone();
        (result.content[0].as_text().expect("a text").text.clone(), document)
    };
    let recorded = json!({"fields": [{"recording": {"type": "cloud"}}]});
    for (tool, arguments, allowed) in [
        ("whereby_delete_room", json!({"room_name": "daily"}), allowed.to_owned()),
        (
            "whereby_create_room",
            recorded,
            format!("{allowed} without recording, streaming and transcription"),
        ),
    ] {
        let (text, document) = text_of(tool, arguments).await;
        assert_eq!(document["kind"], "denied");
        let hint = format!("do not try another way; for this account, {allowed}");
        assert_eq!(document["hint"], hint.as_str());
        assert!(text.ends_with(&hint), "{text}");
        assert_for_agents(&text);
        assert_for_agents(&document.to_string());
    }
    let (text, document) = text_of("whereby_create_room", json!({})).await;
    assert_eq!(document["kind"], "approval-required");
    let id = document["approval_id"].as_str().expect("an id");
    let hint = format!(
        "a person approves this one call with: whereby approvals approve {id}; the server then makes the \
         call; to get its result, call whereby_resume with this approval_id, or make the very same call again"
    );
    assert_eq!(document["hint"], hint.as_str());
    assert!(!text.contains("do not try"), "{text}");
    assert_for_agents(&text);
    assert_for_agents(&document.to_string());
    connected.end().await;

    // A person is told where the rule stands.
    let ran = world.run(&["call", "delete_room", "{\"room_name\": \"daily\"}", "--json"]).await;
    let error = &ran.json()["error"];
    assert!(error["message"].as_str().is_some_and(|text| text.contains("config.toml")), "{error}");
    assert!(
        error["hint"].as_str().is_some_and(|text| text.contains("to allow it, set ")),
        "{error}"
    );
    world.assert_untouched();
}

#[tokio::test]
async fn an_account_that_may_do_nothing_says_so() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure("[permissions]\nread = \"deny\"\nwrite = \"deny\"\n");
    let connected = connect(&world).await;
    let error = connected.fail("whereby_list_rooms", json!({})).await;
    assert_eq!(error["hint"], "do not try another way; for this account, nothing is allowed");
    world.assert_untouched();
    connected.end().await;
}

#[tokio::test]
async fn every_text_for_agents_says_the_same_of_approvals() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let info = connected.client.peer_info().expect("the server's word");
    let instructions = info.instructions.clone().expect("instructions");
    let script = "return lua_read_doc('integrations.whereby')";
    let guide = whereby::lua::Runtime::new(world.session()).run(script, "test.lua").await.result;
    let guide = guide.as_str().expect("a text").to_owned();
    let pages = FUNCTIONS.iter().map(whereby::docs::markdown);
    for text in pages.chain([guide]) {
        assert!(text.contains("then make the very same call again"), "{text}");
        assert!(!text.contains("do not try again"), "{text}");
    }
    // A client has the tool besides.
    assert!(instructions.contains("wait with whereby_resume"), "{instructions}");
    assert!(!instructions.contains("do not try again"), "{instructions}");
    connected.end().await;
}

#[tokio::test]
async fn two_hundred_calls_go_side_by_side() {
    let world = World::with_rooms(vec![daily()]).await;
    world.simulator.set_switches({
        let mut switches = world.simulator.switches();
        switches.set("rate-limit", "0").expect("a switch");
        switches
    });
    let connected = connect(&world).await;
    let calls = (0..200).map(|_| {
        let peer = connected.client.peer().clone();
        tokio::spawn(async move { peer.call_tool(params("whereby_list_rooms", json!({}))).await })
    });
    for call in calls.collect::<Vec<_>>() {
        let result = call.await.expect("no panic").expect("an answer");
        assert_eq!(result.is_error, Some(false), "{result:?}");
    }
    assert_eq!(world.requests().len(), 200);
    // Each is used again and again; one that is done with may take a moment to be seen as free.
    assert!(world.simulator.connections() <= 40, "{}", world.simulator.connections());
    connected.end().await;
    assert_eq!(world.audit().len(), 200);
}

#[tokio::test]
async fn a_call_that_is_cancelled_stops_at_once() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(ALLOW_ALL);
    let gate = Gate::new();
    world.simulator.script("POST", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let connected = connect(&world).await;
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params(
        "whereby_create_room",
        json!({}),
    )));
    let handle = connected
        .client
        .send_cancellable_request(request, PeerRequestOptions::no_options())
        .await
        .expect("sent");
    while world.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    handle.cancel(Some("changed my mind".into())).await.expect("cancelled");
    // The server goes on, and what was stopped is told as what it is.
    let result = connected.call("whereby_list_rooms", json!({})).await;
    assert_eq!(result.is_error, Some(false));
    connected.end().await;
    gate.open();
    let rows = world.audit();
    let cancelled = rows[0].outcome.as_ref().expect("an end");
    assert_eq!(rows[0].function.as_deref(), Some("create_room"));
    assert_eq!(
        (cancelled.kind.as_deref(), cancelled.effect.as_str()),
        (Some("cancelled"), "unknown")
    );
    assert_eq!(cancelled.requests.len(), 1);
}

#[tokio::test]
async fn what_is_under_way_ends_with_the_client() {
    let world = World::with_rooms(vec![daily()]).await;
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let Connected { client, server } = connect(&world).await;
    let peer = client.peer().clone();
    let call =
        tokio::spawn(async move { peer.call_tool(params("whereby_list_rooms", json!({}))).await });
    while world.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    client.cancel().await.expect("the client ends");
    server.await.expect("no panic").expect("the server ends well");
    assert!(call.await.expect("no panic").is_err());
    gate.open();
    let kind = world.audit()[0].outcome.as_ref().and_then(|outcome| outcome.kind.clone());
    assert_eq!(kind.as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn progress_is_told_where_it_is_wanted() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(ALLOW_ALL);
    let (client, mut progress) = Client::new(None);
    let connected = Connected::new(&world, client).await;
    // The SDK asks for it with each request.
    let result = connected.call("whereby_delete_room", json!({"room_name": "daily"})).await;
    assert_eq!(result.is_error, Some(false));
    assert_eq!(sent(&world).len(), 2);
    let first = progress.recv().await.expect("progress");
    assert_eq!((first.progress, first.message.as_deref()), (1.0, Some("GET /meetings")));
    let second = progress.recv().await.expect("progress");
    assert!(second.message.is_some_and(|message| message.starts_with("DELETE /meetings/")));
    connected.end().await;
}

#[tokio::test]
async fn the_documentation_is_there_as_resources() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let resources = connected.client.list_all_resources().await.expect("a list");
    assert_eq!(resources.len(), 1 + FUNCTIONS.len());
    for resource in resources {
        let request = rmcp::model::ReadResourceRequestParams::new(resource.uri.clone());
        let read = connected.client.read_resource(request).await.expect("its contents");
        let text = serde_json::to_value(&read.contents[0]).expect("JSON")["text"].clone();
        let text = text.as_str().expect("a text");
        assert!(text.starts_with("# ") && text.len() > 200, "{}: {text}", resource.uri);
    }
    let missing = rmcp::model::ReadResourceRequestParams::new("whereby://docs/nothing");
    assert!(connected.client.read_resource(missing).await.is_err());
    connected.end().await;
}

#[tokio::test]
async fn the_trace_of_a_client_is_in_the_audit_log() {
    let world = World::with_rooms(vec![daily()]).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (given, kept) in [(json!(trace), Some(trace)), (json!("00-x"), None), (json!(1), None)] {
        let params = json!({
            "name": "whereby_list_rooms",
            "arguments": {},
            "_meta": {"traceparent": given},
        });
        super::ask(super::server(&world), "tools/call", params).await;
        let row = world.audit().pop().expect("a row");
        assert_eq!(row.traceparent.as_deref(), kept);
        assert_eq!(row.to_json()["traceparent"], json!(kept));
    }
}
