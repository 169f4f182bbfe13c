//! Clients that do not keep to the protocol.

use super::{NAME, meeting_of_name, server};
use crate::wire::{ALLOW_ALL, daily};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use whereby::simulator::{Gate, Reply};
use whereby_tests::World;

/// A line of text, answered by the next line.
struct Raw {
    read: BufReader<tokio::io::ReadHalf<DuplexStream>>,
    write: tokio::io::WriteHalf<DuplexStream>,
    server: tokio::task::JoinHandle<Result<(), whereby::Error>>,
}

impl Raw {
    fn new(world: &World) -> Self {
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        let (read, write) = tokio::io::split(theirs);
        let server = server(world);
        let server = tokio::spawn(async move { server.serve(read, write).await });
        let (read, write) = tokio::io::split(ours);
        Self { read: BufReader::new(read), write, server }
    }

    async fn send(&mut self, line: &str) {
        self.write.write_all(format!("{line}\n").as_bytes()).await.expect("written");
    }

    async fn receive_line(&mut self) -> String {
        let mut line = String::new();
        self.read.read_line(&mut line).await.expect("read");
        line
    }

    async fn receive(&mut self) -> Value {
        let line = self.receive_line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    async fn begin(&mut self) {
        let begin = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "raw", "version": "1"}}});
        self.send(&begin.to_string()).await;
        let answer = self.receive().await;
        assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    }

    async fn ask(&mut self, id: u32, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(&request.to_string()).await;
        let answer = self.receive().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }
}

#[tokio::test]
async fn who_connects_and_goes_away_is_no_failure() {
    let world = World::with_rooms(Vec::new()).await;
    let Raw { read, write, server } = Raw::new(&world);
    drop((read, write));
    server.await.expect("no panic").expect("the server ends well");
}

#[tokio::test]
async fn what_is_no_message_does_not_end_the_server() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    raw.begin().await;
    for line in ["", "not JSON", "[]", "{}", r#"{"jsonrpc":"2.0"}"#, "\u{0}\u{1}", "{\"a\":"] {
        raw.send(line).await;
    }
    let deep = "[".repeat(5000);
    raw.send(&deep).await;
    raw.send(&"x".repeat(300 * 1024)).await;
    // Whatever it says of those, it goes on.
    let request = json!({"jsonrpc": "2.0", "id": "last", "method": "tools/list"});
    raw.send(&request.to_string()).await;
    let tools = loop {
        let answer = raw.receive().await;
        if answer["id"] == "last" {
            break answer["result"]["tools"].clone();
        }
        assert!(answer.get("error").is_some(), "{answer}");
    };
    assert_eq!(tools.as_array().map(Vec::len), Some(7));
    world.assert_untouched();
}

#[tokio::test]
async fn no_text_from_outside_breaks_a_line() {
    let (world, meeting) = meeting_of_name().await;
    let mut raw = Raw::new(&world);
    raw.begin().await;
    let call = json!({"name": "whereby_get_meeting", "arguments": {"meeting_id": meeting}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call});
    raw.send(&call.to_string()).await;
    let line = raw.receive_line().await;
    assert!(line.is_ascii() && !line.contains('\u{7f}'), "{line:?}");
    let answer: Value = serde_json::from_str(&line).expect("JSON");
    let meeting = &answer["result"]["structuredContent"];
    assert_eq!(meeting["participants"][0]["name"], NAME);
}

#[tokio::test]
async fn an_answer_to_a_question_that_was_not_asked_approves_nothing() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    raw.begin().await;
    // Before and after the call, under every id that the server may use.
    for id in 0..20 {
        let yes = json!({"jsonrpc": "2.0", "id": id, "result":
            {"action": "accept", "content": {"approve": true}}});
        raw.send(&yes.to_string()).await;
    }
    let call = json!({"name": "whereby_create_room", "arguments": {},
        "inputResponses": {"approval": {"action": "accept", "content": {"approve": true}}}});
    let answer = raw.ask(1, "tools/call", call).await;
    let error = &answer["result"]["_meta"]["whereby/error"];
    assert_eq!(error["kind"], "approval-required", "{answer}");
    // Nor does a client that cannot be asked answer what it was told of.
    let call = json!({"name": "whereby_create_room", "arguments": {},
        "requestState": error["approval_id"],
        "inputResponses": {"approval": {"action": "accept", "content": {"approve": true}}}});
    let answer = raw.ask(2, "tools/call", call).await;
    assert_eq!(answer["result"]["_meta"]["whereby/error"]["kind"], "approval-required", "{answer}");
    world.assert_untouched();
}

#[tokio::test]
async fn no_method_that_is_offered_approves() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    raw.begin().await;
    let answer = raw.ask(1, "tools/list", json!({})).await;
    let tools = answer["result"]["tools"].as_array().expect("tools");
    for tool in tools {
        let name = tool["name"].as_str().expect("a name");
        assert!(!name.contains("approv"), "{name}");
    }
    for (id, method) in (2..).zip(["approvals/approve", "approvals/list", "whereby/approve"]) {
        let answer = raw.ask(id, method, json!({"id": "0".repeat(32)})).await;
        assert_eq!(answer["error"]["code"], -32601, "{answer}");
    }
}

#[tokio::test]
async fn what_is_under_way_goes_no_further_when_the_client_has_closed_its_side() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(ALLOW_ALL);
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let mut raw = Raw::new(&world);
    raw.begin().await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params":
        {"name": "whereby_delete_room", "arguments": {"room_name": "daily"}}});
    raw.send(&call.to_string()).await;
    world.simulator.wait_for_requests(1).await;
    let Raw { read, mut write, server } = raw;
    write.shutdown().await.expect("closed");
    server.await.expect("no panic").expect("the server ends well");
    gate.open();
    drop((read, write));
    let row = &world.audit()[0];
    let outcome = row.outcome.as_ref().expect("an end");
    assert_eq!((outcome.kind.as_deref(), outcome.effect.as_str()), (Some("cancelled"), "none"));
    assert_eq!(world.requests().len(), 1, "it went on to delete the room");
}
