//! The state directory over time: archived, upgraded, and after a year.

mod archive;
mod time;
mod upgrade;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use whereby::mcp::Server;
use whereby_tests::{Ran, World};

const DIRECTORY: &str = "state/whereby";
const DATABASE: &str = "state/whereby/state.db";

/// Runs a command that succeeds, and returns its document.
async fn document(world: &World, arguments: &[&str]) -> Value {
    ran(world, &[arguments, &["--json"]].concat(), 0).await.json()
}

async fn ran(world: &World, arguments: &[&str], code: u8) -> Ran {
    let ran = world.run(arguments).await;
    assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
    ran
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
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (read, write) = tokio::io::split(theirs);
    let server = Server::builder(world.session()).build();
    let serving = tokio::spawn(async move { server.serve(read, write).await });
    let (read, mut write) = tokio::io::split(ours);
    let client = json!({"name": "a client", "version": "1"});
    for message in [
        json!({"id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}}),
        json!({"method": "notifications/initialized"}),
        json!({"id": 1, "method": "tools/call",
            "params": {"name": name, "arguments": arguments}}),
    ] {
        let mut message = message;
        message["jsonrpc"] = "2.0".into();
        write.write_all(format!("{message}\n").as_bytes()).await.expect("written");
    }
    let mut lines = BufReader::new(read).lines();
    let result = loop {
        let line = lines.next_line().await.expect("read").expect("an answer");
        let mut answer: Value = serde_json::from_str(&line).expect("JSON");
        if answer["id"] == 1 {
            break answer["result"].take();
        }
    };
    drop((write, lines));
    serving.await.expect("no panic").expect("the server ends well");
    result
}
