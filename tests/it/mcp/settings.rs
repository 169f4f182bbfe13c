//! What a running server makes of a configuration that changes.

use super::{Client, Connected};
use crate::wire::{daily, reads};
use serde_json::json;
use whereby::catalog::FUNCTIONS;
use whereby::mcp::Server;
use whereby_tests::World;

#[tokio::test]
async fn what_is_denied_for_every_account_is_no_tool() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure(
        "[permissions]\nwrite = \"deny\"\n[accounts.other.permissions.functions]\ncreate_room = \"ask\"\n",
    );
    let connected = Connected::new(&world, Client::new(None).0).await;
    let tools = connected.tools().await;
    assert!(tools.iter().all(|tool| tool.name != "whereby_delete_room"));
    let create = tools.iter().find(|tool| tool.name == "whereby_create_room").expect("listed");
    // The default account may not, so the one that may is to be named.
    assert_eq!(create.input_schema["properties"]["account"]["enum"], json!(["other"]));
    assert_eq!(create.input_schema["required"], json!(["account"]));
    connected.end().await;
}

#[tokio::test]
async fn what_the_component_does_not_have_is_no_tool() {
    let world = World::with_rooms(Vec::new()).await;
    let session = world.session_with(None, Some(whereby::BUILT_IN_READER.to_vec()));
    let server = Server::builder(session).build();
    let connected = Connected::to(&server, Client::new(None).0).await;
    let tools = connected.tools().await;
    let names: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert!(!names.contains(&"whereby_create_room") && !names.contains(&"whereby_delete_room"));
    let resources = connected.client.list_all_resources().await.expect("resources");
    assert_eq!(resources.len(), 6, "{resources:?}");
    world.assert_untouched();
    connected.end().await;
}

#[tokio::test]
async fn one_account_needs_no_name() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure("");
    let file = world.path("config/whereby/config.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let one = text.split("\n[accounts.other]").next().expect("its first part");
    world.write("config/whereby/config.toml", one);
    let connected = Connected::new(&world, Client::new(None).0).await;
    for tool in connected.tools().await {
        assert!(tool.input_schema["properties"].get("account").is_none(), "{}", tool.name);
    }
    let error = connected.fail("whereby_list_rooms", json!({"account": "work"})).await;
    assert_eq!(error["kind"], "invalid-argument");
    world.assert_untouched();
    connected.end().await;
}

#[tokio::test]
async fn a_changed_rule_holds_from_the_next_call_and_the_client_is_told() {
    let world = World::with_rooms(vec![daily()]).await;
    let (client, _progress) = Client::new(None);
    let changed = client.tools_changed.clone();
    let connected = Connected::new(&world, client).await;
    assert_eq!(connected.tools().await.len(), FUNCTIONS.len() + 1);
    let error = connected.fail("whereby_create_room", json!({})).await;
    assert_eq!(error["kind"], "approval-required");

    // A project's file, which was not there.
    world.write("project/.whereby.toml", "[permissions]\nwrite = \"deny\"\n");
    let error = connected.fail("whereby_create_room", json!({})).await;
    assert_eq!(error["kind"], "denied");
    changed.notified().await;
    let reads = FUNCTIONS.iter().filter(|function| reads(function.json)).count();
    assert_eq!(connected.tools().await.len(), reads);
    world.assert_untouched();

    // Without a call, it is noticed all the same.
    std::fs::remove_file(world.path("project/.whereby.toml")).expect("removed");
    changed.notified().await;
    assert_eq!(connected.tools().await.len(), FUNCTIONS.len() + 1);
    connected.end().await;
}

#[tokio::test]
async fn nothing_is_called_while_the_configuration_cannot_be_read() {
    let world = World::with_rooms(vec![daily()]).await;
    let connected = Connected::new(&world, Client::new(None).0).await;
    let good = std::fs::read_to_string(world.path("config/whereby/config.toml")).expect("read");
    world.write("config/whereby/config.toml", "[permissions]\nraed = \"deny\"\n");
    let error = connected.fail("whereby_list_rooms", json!({})).await;
    assert_eq!(error["kind"], "configuration");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("raed")), "{error}");
    world.assert_untouched();
    world.write("config/whereby/config.toml", &good);
    let result = connected.call("whereby_list_rooms", json!({})).await;
    assert_eq!(result.is_error, Some(false), "{result:?}");
    connected.end().await;
}

#[tokio::test]
async fn without_a_default_account_a_client_is_told_which_there_are() {
    let world = World::with_rooms(Vec::new()).await;
    let file = world.configure("");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let text = text.replace("default_account = \"work\"\n", "");
    world.write("config/whereby/config.toml", &text);
    let connected = Connected::new(&world, Client::new(None).0).await;
    let error = connected.fail("whereby_list_rooms", json!({})).await;
    assert_eq!(error["kind"], "invalid-argument", "{error}");
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.starts_with("account: missing") && message.ends_with("other, work"),
        "{message}"
    );
    world.assert_untouched();
    connected.end().await;
}
