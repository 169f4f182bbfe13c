//! The state directory over time: archived, upgraded, and after a year.

mod archive;
mod time;
mod upgrade;

use crate::cli::ran;
use serde_json::{Value, json};
use whereby::mcp::Server;
use whereby_tests::World;

const DIRECTORY: &str = "state/whereby";
const DATABASE: &str = "state/whereby/state.db";

/// Runs a command that succeeds, and returns its document.
async fn document(world: &World, arguments: &[&str]) -> Value {
    ran(world, &[arguments, &["--json"]].concat(), 0).await.json()
}

/// The rows that `whereby audit` shows, with these arguments besides.
async fn audit(world: &World, arguments: &[&str]) -> Vec<Value> {
    let mut document = document(world, &[&["audit"], arguments].concat()).await;
    match document["audit"].take() {
        Value::Array(rows) => rows,
        other => panic!("no rows: {other}"),
    }
}

/// The approvals that there are, by their states.
async fn approvals(world: &World, arguments: &[&str]) -> Vec<(String, String)> {
    let document = document(world, &[&["approvals", "list"], arguments].concat()).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let list = document["approvals"].as_array().expect("a list");
    list.iter().map(|approval| (text(&approval["id"]), text(&approval["state"]))).collect()
}

/// Makes a call that is stored to be approved, and returns the approval's id.
async fn stored(world: &World, call: &[&str]) -> String {
    let ran = ran(world, &[&["call"], call, &["--json"]].concat(), 5).await;
    ran.json()["meta"]["approval_id"].as_str().expect("an id").to_owned()
}

/// Calls a tool as an MCP client, which then goes away.
async fn tool(world: &World, name: &str, arguments: Value) -> Value {
    let server = Server::builder(world.session()).build();
    crate::mcp::ask(server, "tools/call", json!({"name": name, "arguments": arguments})).await
}
