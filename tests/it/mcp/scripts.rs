//! Scripts as a tool.

use super::{Client, Connected, accepts, server_with};
use crate::wire::{daily, sent};
use rmcp::model::CallToolResult;
use serde_json::{Value, json};
use whereby_tests::World;

const TOOL: &str = "whereby_run_lua";

/// Runs a script, and returns the document of its report.
async fn run(connected: &Connected, script: &str) -> (bool, Value) {
    let CallToolResult { is_error, structured_content, .. } =
        connected.call(TOOL, json!({"script": script})).await;
    (is_error == Some(true), structured_content.expect("a report"))
}

#[tokio::test]
async fn scripts_are_a_tool_where_the_user_wants_it_alone() {
    let world = World::with_rooms(vec![daily()]).await;
    let connected = Connected::new(&world, Client::new(None).0).await;
    assert!(connected.tools().await.iter().all(|tool| tool.name != TOOL));
    let call = super::params(TOOL, json!({"script": "return 1"}));
    assert!(connected.client.call_tool(call).await.is_err());
    connected.end().await;

    let connected = Connected::to(&server_with(&world, true), Client::new(None).0).await;
    let tools = connected.tools().await;
    let tool = tools.iter().find(|tool| tool.name == TOOL).expect("listed");
    assert_eq!(tool.annotations.as_ref().and_then(|hints| hints.read_only_hint), Some(false));
    let script =
        "print('hi'); return app.integrations.whereby.list_rooms({ limit = 1 }).data[1].roomName";
    let (failed, report) = run(&connected, script).await;
    assert!(!failed, "{report}");
    assert_eq!((&report["result"], &report["output"]), (&json!("daily"), &json!("hi\n")));
    assert_eq!(report["calls"][0]["function"], "list_rooms");
    for arguments in [json!({}), json!({"script": 1}), json!({"script": "return 1", "x": 1})] {
        let error = connected.fail(TOOL, arguments).await;
        assert_eq!(error["kind"], "invalid-argument");
    }
    connected.end().await;
    let rows = world.audit();
    // The tool that was not offered has a row too.
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].function.as_deref(), Some(TOOL));
    assert_eq!(
        (rows[1].front_end.as_str(), rows[1].client.as_deref()),
        ("mcp-lua", Some("tester 1.0"))
    );
}

#[tokio::test]
async fn each_call_of_a_script_is_decided_on_and_asked_for() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure("[permissions.functions]\nget_current_user = \"deny\"\n");
    let delete = "return app.integrations.whereby.delete_room({ room_name = 'daily' }).deleted";
    // Nobody can be asked: the call is stored, and nothing is sent.
    let connected = Connected::to(&server_with(&world, true), Client::new(None).0).await;
    let (failed, report) = run(&connected, delete).await;
    assert!(failed);
    assert_eq!(report["error"]["kind"], "approval-required", "{report}");
    let (_, report) = run(&connected, "app.integrations.whereby.get_current_user()").await;
    assert_eq!(report["error"]["kind"], "denied", "{report}");
    world.assert_untouched();
    connected.end().await;

    let (client, _progress) = Client::new(accepts(true));
    let connected = Connected::to(&server_with(&world, true), client.clone()).await;
    let (failed, report) = run(&connected, delete).await;
    assert!(!failed, "{report}");
    assert_eq!(report["result"], true);
    assert_eq!(client.asked().len(), 1);
    assert!(client.asked()[0].contains("permanently"));
    assert_eq!(sent(&world).len(), 2);
    connected.end().await;
}

#[tokio::test]
async fn a_script_that_goes_on_and_on_is_stopped_and_the_server_goes_on() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure("[lua]\nsteps_millions = 1\n");
    let connected = Connected::to(&server_with(&world, true), Client::new(None).0).await;
    let (failed, report) = run(&connected, "while true do pcall(function() end) end").await;
    assert!(failed);
    assert_ne!(report["error"]["kind"], "internal", "{report}");
    let (failed, report) = run(&connected, "return 1 + 1").await;
    assert!(!failed, "{report}");
    world.assert_untouched();
    connected.end().await;
}
