//! Clients that do not keep to the protocol.

use super::protocol::check_message;
use super::{NAME, meeting_of_name, server_with};
use crate::wire::{ALLOW_ALL, daily};
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf,
    WriteHalf,
};
use tokio::task::JoinHandle;
use whereby::catalog::FUNCTIONS;
use whereby::simulator::{Gate, Reply};
use whereby_tests::World;

/// A client that writes lines. Every message that it gets is checked against the protocol's schema.
pub(super) struct Raw {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
    server: JoinHandle<Result<(), whereby::Error>>,
    version: &'static str,
    /// What each request brings where there is no handshake.
    meta: Option<Value>,
    /// The methods of the requests, by their numbers.
    methods: Vec<String>,
    received: Vec<Value>,
}

impl Raw {
    pub(super) fn new(world: &World) -> Self {
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        let (read, write) = tokio::io::split(theirs);
        let server = server_with(world, true);
        let server = tokio::spawn(async move { server.serve(read, write).await });
        let (read, write) = tokio::io::split(ours);
        Self {
            read: BufReader::new(read),
            write,
            server,
            version: "2025-06-18",
            meta: None,
            methods: Vec::new(),
            received: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, line: &str) {
        self.write.write_all(format!("{line}\n").as_bytes()).await.expect("written");
    }

    async fn receive_line(&mut self) -> String {
        let mut line = String::new();
        self.read.read_line(&mut line).await.expect("read");
        line
    }

    pub(super) async fn receive(&mut self) -> Value {
        let line = self.receive_line().await;
        let message: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let number = message["id"].as_u64().and_then(|id| usize::try_from(id).ok());
        let method = number.and_then(|number| self.methods.get(number));
        check_message(self.version, method.map(String::as_str), &message);
        self.received.push(message.clone());
        message
    }

    /// Everything that came so far.
    pub(super) fn received(&self) -> &[Value] {
        &self.received
    }

    /// Waits for a message of the server's own, which may have come already.
    pub(super) async fn until(&mut self, method: &str) {
        self.until_times(method, 1).await;
    }

    /// Waits until a message of the server's own has come that often.
    pub(super) async fn until_times(&mut self, method: &str, times: usize) {
        let count =
            |of: &Self| of.received.iter().filter(|message| message["method"] == method).count();
        while count(self) < times {
            self.receive().await;
        }
    }

    async fn begin(&mut self) {
        self.initialize("2025-06-18", json!({})).await;
    }

    pub(super) async fn initialize(&mut self, version: &'static str, capabilities: Value) {
        self.version = version;
        let params = json!({"protocolVersion": version, "capabilities": capabilities,
            "clientInfo": {"name": "raw", "version": "1"}});
        let answer = self.ask("initialize", params).await;
        assert_eq!(answer["result"]["protocolVersion"], version);
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    }

    /// Goes on without a handshake.
    pub(super) fn without_handshake(&mut self, version: &'static str, capabilities: Value) {
        self.version = version;
        self.meta = Some(json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": capabilities,
        }));
    }

    /// Sends a request; its id.
    pub(super) async fn request(&mut self, method: &str, mut params: Value) -> usize {
        let id = self.methods.len();
        self.methods.push(method.to_owned());
        if let Some(meta) = &self.meta {
            params["_meta"] = meta.clone();
        }
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(&request.to_string()).await;
        id
    }

    /// Sends a request and waits for its answer. Answers no to what it is asked meanwhile.
    pub(super) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params).await;
        loop {
            let message = self.receive().await;
            if message.get("method").is_none() {
                assert_eq!(message["id"], id, "{message}");
                return message;
            }
            if let Some(id) = message.get("id") {
                let no = json!({"jsonrpc": "2.0", "id": id, "result": {"action": "cancel"}});
                self.send(&no.to_string()).await;
            }
        }
    }

    /// Asks for nothing more.
    async fn close(&mut self) {
        self.write.shutdown().await.expect("closed");
    }

    /// Goes away. The server answers what it was asked, has nothing else to say, and ends by itself.
    pub(super) async fn end(mut self) {
        self.close().await;
        let mut rest = String::new();
        self.read.read_to_string(&mut rest).await.expect("read");
        assert!(!rest.contains("\"error\""), "{rest}");
        self.server.await.expect("no panic").expect("the server ends well");
    }
}

#[tokio::test]
async fn who_connects_and_goes_away_is_no_failure() {
    let world = World::with_rooms(Vec::new()).await;
    let Raw { read, write, server, .. } = Raw::new(&world);
    drop((read, write));
    server.await.expect("no panic").expect("the server ends well");
}

/// A line, and its answer: the error's code and the id, or nothing.
type Exchange = (&'static str, Option<(i32, Value)>);

/// What is wrong whether or not the client has begun.
fn malformed() -> Vec<Exchange> {
    let (parse, invalid, params) = (-32700, -32600, -32602);
    vec![
        ("not JSON", Some((parse, Value::Null))),
        ("\u{0}\u{1}", Some((parse, Value::Null))),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping""#, Some((parse, Value::Null))),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"} {}"#, Some((parse, Value::Null))),
        (r#"{'jsonrpc':'2.0','id':1,'method':'ping'}"#, Some((parse, Value::Null))),
        // JSON, but not what it can be.
        ("null", Some((invalid, Value::Null))),
        ("\"ping\"", Some((invalid, Value::Null))),
        ("[]", Some((invalid, Value::Null))),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, Some((invalid, Value::Null))),
        ("{}", Some((invalid, Value::Null))),
        (r#"{"jsonrpc":"2.0"}"#, Some((invalid, Value::Null))),
        (r#"{"jsonrpc":"2.0","id":1}"#, Some((invalid, json!(1)))),
        (r#"{"jsonrpc":"2.0","id":"a","method":5}"#, Some((invalid, json!("a")))),
        (r#"{"id":1,"method":"ping"}"#, Some((invalid, json!(1)))),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Some((invalid, json!(1)))),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, Some((invalid, json!(1)))),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, Some((invalid, json!(1)))),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Some((invalid, Value::Null))),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, Some((invalid, Value::Null))),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, Some((invalid, json!(1.5)))),
        (
            r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"ping"}"#,
            Some((invalid, json!(u64::MAX))),
        ),
        // Half a surrogate pair, a number beyond all, and too deep: the id can be read.
        (
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"\ud83d"},"id":"é\"x"}"#,
            Some((invalid, json!("é\"x"))),
        ),
        (
            r#"{"id":7,"jsonrpc":"2.0","method":"tools/call","params":{"id":8,"n":1e999}}"#,
            Some((invalid, json!(7))),
        ),
        // A member twice: which of them counts is not defined.
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whereby_create_room","arguments":{"room_mode":"group","room_mode":"normal"}}}"#,
            Some((invalid, json!(1))),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#,
            Some((invalid, json!(1))),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, Some((invalid, Value::Null))),
        // Parameters of another form.
        (r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#, Some((params, json!(1)))),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#, Some((params, json!(1)))),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":5}"#, Some((params, json!(1)))),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":[]}}"#,
            Some((params, json!(1))),
        ),
        // A method that nobody knows, whatever its parameters.
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/lists"}"#, Some((-32601, json!(1)))),
        (r#"{"jsonrpc":"2.0","id":1,"method":"","params":[]}"#, Some((-32601, json!(1)))),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#,
            Some((-32601, json!(1))),
        ),
        // What is never answered.
        ("", None),
        (" \t\r", None),
        (r#"{"jsonrpc":"2.0","method":"notifications/whatever","params":[]}"#, None),
        (r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[]}}"#, None),
        (r#"{"jsonrpc":"2.0","id":null,"method":"notifications/roots/list_changed"}"#, None),
        (r#"{"method":"tools/call","params":{"name":"whereby_list_rooms"}}"#, None),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, None),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}"#, None),
        (r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"no"}}"#, None),
        (r#"{"jsonrpc":"2.0","id":{},"result":{},"error":{}}"#, None),
    ]
}

async fn exchange(raw: &mut Raw, (line, expected): &Exchange) {
    raw.send(line).await;
    // The answer to what is right comes next, whatever became of the line before.
    raw.send(r#"{"jsonrpc":"2.0","id":"next","method":"ping"}"#).await;
    if let Some((code, id)) = expected {
        let answer = raw.receive().await;
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), id), "{line}");
        assert!(answer.as_object().is_some_and(|answer| answer.contains_key("id")), "{answer}");
        let message = answer["error"]["message"].as_str().expect("a sentence");
        assert!(!message.is_empty() && message.len() < 400, "{message}");
    }
    assert_eq!(raw.receive().await["id"], "next", "{line}");
}

#[tokio::test]
async fn every_line_has_the_answer_that_the_protocol_gives_it() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    // Also before anything else, where a notification may come first.
    let early = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    exchange(&mut raw, &(early, None)).await;
    for line in malformed() {
        exchange(&mut raw, &line).await;
    }
    raw.begin().await;
    for line in malformed() {
        exchange(&mut raw, &line).await;
    }
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":3,"method":"ping","params":{{"a":{0}1{1}}}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    raw.send(&deep).await;
    let answer = raw.receive().await;
    assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32600), &json!(3)));
    world.assert_untouched();
    raw.end().await;
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    let begin = |params: Value| ("initialize", params);
    for ((method, params), named) in [
        (begin(json!({"protocolVersion": "2025-06-18", "capabilities": {}})), "`clientInfo`"),
        (begin(json!({"protocolVersion": 5, "capabilities": {}})), "`protocolVersion`"),
        (begin(json!({"capabilities": {}, "clientInfo": {"name": "raw"}})), "`protocolVersion`"),
        (
            begin(json!({"protocolVersion": "2025-06-18", "capabilities": "none",
                "clientInfo": {"name": "raw", "version": "1"}})),
            "`capabilities`",
        ),
        (
            begin(json!({"protocolVersion": "2025-06-18", "capabilities": {"elicitation": 1},
                "clientInfo": {"name": "raw", "version": "1"}})),
            "`capabilities.elicitation`",
        ),
        (
            begin(json!({"protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": {"version": "1"}})),
            "`clientInfo.name`",
        ),
        (("tools/call", json!({"name": "whereby_list_rooms", "arguments": []})), "`arguments`"),
        (("tools/call", json!({"name": "whereby_list_rooms", "arguments": "{}"})), "`arguments`"),
        (("tools/call", json!({"name": 5})), "`name`"),
        (("tools/call", json!({})), "`name`"),
        (("tools/list", json!({"cursor": 5})), "`cursor`"),
        (("resources/read", json!({"uri": null})), "`uri`"),
        (("logging/setLevel", json!({"level": "loud"})), "`level`"),
    ] {
        let answer = raw.ask(method, params).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        let message = answer["error"]["message"].as_str().expect("a sentence");
        assert!(message.contains(named), "{message}");
        // None of it is in the words of the language that the server is written in.
        for word in ["invalid type", "expected", "missing field", "variant", "struct"] {
            assert!(!message.contains(word), "{message}");
        }
    }
    world.assert_untouched();
    raw.end().await;
}

#[tokio::test]
async fn a_line_that_is_too_long_is_answered_and_the_server_goes_on() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    raw.begin().await;
    let filler = "x\\\"}".repeat(100_000);
    for (line, id) in [
        ("x".repeat(300 * 1024), Value::Null),
        (format!(r#"{{"jsonrpc":"2.0","id":5,"params":{{"a":"{filler}"}}}}"#), json!(5)),
        // The official SDKs write the id last.
        (
            format!(r#"{{"params":{{"id":1,"a":["{filler}"]}},"jsonrpc":"2.0", "id" : "b" }}"#),
            json!("b"),
        ),
        (format!(r#"{{"id":"{filler}","jsonrpc":"2.0"}}"#), Value::Null),
        (format!(r#"[{{"id":5}},"{filler}"]"#), Value::Null),
    ] {
        raw.send(&line).await;
        let answer = raw.receive().await;
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32600), &id));
    }
    let answer = raw.ask("tools/list", json!({})).await;
    let offered = answer["result"]["tools"].as_array().map(Vec::len);
    assert_eq!(offered, Some(FUNCTIONS.len() + 2), "and whereby_run_lua and whereby_resume");
    raw.end().await;
}

/// Whether a line is to be answered, by the rules of JSON-RPC alone.
fn is_answered(line: &[u8]) -> bool {
    let blank = line.trim_ascii().is_empty();
    let Ok(message) = serde_json::from_slice::<Value>(line) else { return !blank };
    let Some(message) = message.as_object() else { return true };
    let has = |name| message.contains_key(name);
    match message.get("method") {
        Some(Value::String(method)) => {
            has("id") && !(message["id"].is_null() && method.starts_with("notifications/"))
        }
        Some(_) => true,
        None => !has("result") && !has("error"),
    }
}

#[tokio::test]
async fn whatever_is_sent_every_request_has_exactly_one_answer() {
    let world = World::with_rooms(Vec::new()).await;
    let good =
        r#"{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"none","_meta":{}}}"#;
    let notification =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#;
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for message in [good, notification] {
        let bytes = message.as_bytes();
        for at in 0..bytes.len() {
            lines.push(bytes[..at].to_vec());
            lines.push([&bytes[..at], &bytes[at + 1..]].concat());
            for other in [b'"', b'{', b',', b'0', b'\\', b' ', 0xff] {
                lines.push([&bytes[..at], &[other], &bytes[at + 1..]].concat());
            }
        }
    }
    let expected = lines.iter().filter(|line| is_answered(line)).count();
    let mut raw = Raw::new(&world);
    raw.begin().await;
    let mut text = lines.join(&b'\n');
    // The last line ends with the input.
    text.extend_from_slice(b"\n{\"jsonrpc\":\"2.0\",\"id\":\"last\",\"method\":\"tools/list\"}");
    let Raw { mut read, mut write, server, .. } = raw;
    let writing = tokio::spawn(async move {
        write.write_all(&text).await.expect("written");
        write.shutdown().await.expect("closed");
        write
    });
    let mut answers = Vec::new();
    let mut line = String::new();
    while read.read_line(&mut line).await.expect("read") > 0 {
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        assert!(answer.get("result").is_some() != answer.get("error").is_some(), "{answer}");
        answers.push(answer["id"].clone());
        line.clear();
    }
    server.await.expect("no panic").expect("the server ends well");
    drop(writing.await.expect("no panic"));
    assert_eq!(answers.iter().filter(|id| *id == "last").count(), 1);
    assert_eq!(answers.len(), expected + 1);
    world.assert_untouched();
}

#[tokio::test]
async fn a_message_may_come_with_a_byte_order_mark_and_any_line_break() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    let ping = |id: &str| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    raw.send(&format!("\u{feff}{}\r\n\r\n  {}  ", ping("a"), ping("b"))).await;
    for id in ["a", "b"] {
        assert_eq!(raw.receive().await, json!({"jsonrpc": "2.0", "id": id, "result": {}}));
    }
    raw.end().await;
}

#[tokio::test]
async fn one_id_is_one_request_at_a_time() {
    let world = World::with_rooms(vec![daily()]).await;
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let mut raw = Raw::new(&world);
    raw.begin().await;
    let params = json!({"name": "whereby_list_rooms", "arguments": {}});
    let id = raw.request("tools/call", params.clone()).await;
    world.simulator.wait_for_requests(1).await;
    let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    raw.send(&call.to_string()).await;
    let answer = raw.receive().await;
    assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32600), &json!(id)));
    gate.open();
    let answer = raw.receive().await;
    assert!(answer["result"]["structuredContent"].is_object(), "{answer}");
    // Afterwards it may come again.
    let ping = json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    raw.methods[id] = "ping".into();
    raw.send(&ping.to_string()).await;
    assert_eq!(raw.receive().await["result"], json!({}));
    assert_eq!(world.requests().len(), 1);
    raw.end().await;
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
    let answer = raw.ask("tools/call", call).await;
    let error = &answer["result"]["_meta"]["whereby/error"];
    assert_eq!(error["kind"], "approval-required", "{answer}");
    // Nor does a client that cannot be asked answer what it was told of.
    let call = json!({"name": "whereby_create_room", "arguments": {},
        "requestState": error["approval_id"],
        "inputResponses": {"approval": {"action": "accept", "content": {"approve": true}}}});
    let answer = raw.ask("tools/call", call).await;
    assert_eq!(answer["result"]["_meta"]["whereby/error"]["kind"], "approval-required", "{answer}");
    world.assert_untouched();
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_leaves_the_call_to_be_approved() {
    let world = World::with_rooms(Vec::new()).await;
    for broken in [
        json!({"jsonrpc": "2.0", "error": "x"}),
        json!({"jsonrpc": "2.0", "error": {"code": -1}}),
        json!({"jsonrpc": "2.0", "result": []}),
        json!({"result": {"action": "accept", "content": {"approve": true}}}),
        json!({"jsonrpc": "2.0", "error": {}, "result": {}}),
    ] {
        let mut raw = Raw::new(&world);
        raw.initialize("2025-06-18", json!({"elicitation": {}})).await;
        let params = json!({"name": "whereby_create_room", "arguments": {}});
        let call = raw.request("tools/call", params).await;
        raw.until("elicitation/create").await;
        let asked = raw.received().iter().find(|message| message["method"] == "elicitation/create");
        let mut answer = broken.clone();
        answer["id"] = asked.expect("a question")["id"].clone();
        raw.send(&answer.to_string()).await;
        let answer = raw.receive().await;
        assert_eq!(answer["id"], call, "{broken}: {answer}");
        let error = &answer["result"]["_meta"]["whereby/error"];
        assert_eq!(error["kind"], "approval-required", "{broken}: {answer}");
        raw.end().await;
    }
    world.assert_untouched();
}

#[tokio::test]
async fn no_method_that_is_offered_approves() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    raw.begin().await;
    let answer = raw.ask("tools/list", json!({})).await;
    let tools = answer["result"]["tools"].as_array().expect("tools");
    for tool in tools {
        let name = tool["name"].as_str().expect("a name");
        assert!(!name.contains("approv"), "{name}");
    }
    for method in ["approvals/approve", "approvals/list", "whereby/approve"] {
        let answer = raw.ask(method, json!({"id": "0".repeat(32)})).await;
        assert_eq!(answer["error"]["code"], -32601, "{answer}");
    }
}

#[tokio::test]
async fn what_began_before_the_end_of_input_is_finished_and_answered() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(ALLOW_ALL);
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let mut raw = Raw::new(&world);
    raw.begin().await;
    let params = json!({"name": "whereby_delete_room", "arguments": {"room_name": "daily"}});
    let call = raw.request("tools/call", params).await;
    let list = raw.request("tools/list", json!({})).await;
    world.simulator.wait_for_requests(1).await;
    raw.close().await;
    assert_eq!(raw.receive().await["id"], list);
    gate.open();
    let answer = raw.receive().await;
    assert_eq!((&answer["id"], &answer["result"]["isError"]), (&json!(call), &json!(false)));
    raw.end().await;
    assert_eq!(world.requests().len(), 2, "the room is deleted");
    let outcome = world.audit()[0].outcome.clone().expect("an end");
    assert_eq!((outcome.kind, outcome.effect.as_str()), (None, "done"));
}

#[tokio::test]
async fn a_question_that_can_get_no_answer_any_more_is_stored() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    raw.initialize("2025-06-18", json!({"elicitation": {}})).await;
    let params = json!({"name": "whereby_create_room", "arguments": {}});
    let call = raw.request("tools/call", params).await;
    raw.until("elicitation/create").await;
    raw.close().await;
    let answer = raw.receive().await;
    assert_eq!(answer["id"], call);
    let error = &answer["result"]["_meta"]["whereby/error"];
    assert_eq!(error["kind"], "approval-required", "{answer}");
    raw.end().await;
    world.assert_untouched();
}

#[tokio::test]
async fn a_subscription_ends_with_the_input() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    raw.without_handshake("2026-07-28", json!({}));
    let params = json!({"notifications": {"toolsListChanged": true}});
    let listen = raw.request("subscriptions/listen", params).await;
    raw.until("notifications/subscriptions/acknowledged").await;
    raw.close().await;
    assert_eq!(raw.receive().await["id"], listen);
    raw.end().await;
}

#[tokio::test]
async fn clients_that_are_sloppy_about_themselves_are_served() {
    for (capabilities, info, name) in [
        (json!([]), json!({"name": "php"}), "php"),
        (Value::Null, json!({"name": "a", "version": null}), "a"),
        (json!({"sampling": true, "roots": true}), json!({"name": "b", "version": 2}), "b 2"),
        (json!({"elicitation": [], "experimental": 5}), json!({"name": "c", "icons": {}}), "c"),
    ] {
        let world = World::with_rooms(vec![daily()]).await;
        let mut raw = Raw::new(&world);
        let can_ask = capabilities["elicitation"].is_array();
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": capabilities,
            "clientInfo": info});
        let begun = raw.ask("initialize", params).await;
        assert_eq!(begun["result"]["protocolVersion"], "2025-06-18", "{begun}");
        raw.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        let call = json!({"name": "whereby_delete_room", "arguments": {"room_name": "daily"}});
        raw.ask("tools/call", call).await;
        let asked = raw.received().iter().any(|message| message["method"] == "elicitation/create");
        assert_eq!(asked, can_ask, "{capabilities}");
        raw.end().await;
        assert_eq!(world.audit()[0].client.as_deref(), Some(name));
        world.assert_untouched();
    }
}

#[tokio::test]
async fn who_forgets_the_handshake_is_told() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    for (method, params) in [
        ("tools/call", json!({"name": "whereby_list_rooms", "arguments": {}})),
        ("tools/call", json!({"name": "whereby_list_rooms", "_meta": {"progressToken": 1}})),
        ("tools/list", json!({})),
        ("resources/list", json!({})),
    ] {
        let answer = raw.ask(method, params).await;
        assert_eq!(answer["error"]["message"], "the first request must be `initialize`");
    }
    raw.begin().await;
    assert!(raw.ask("tools/list", json!({})).await["result"].is_object());
    raw.end().await;
    world.assert_untouched();
}

#[tokio::test]
async fn an_answer_to_a_question_counts_however_it_is_written() {
    for (answer, kind) in [
        // The id as a string.
        (
            r#"{"jsonrpc":"2.0","id":"ID","result":{"action":"accept","content":{"approve":true}}}"#,
            None,
        ),
        // What cannot be read is no yes, and no reason to wait.
        (
            r#"{"jsonrpc":"2.0","id":ID,"result":{"action":"accept","content":{"approve":true,"why":"\ud83d"}}}"#,
            Some("approval-required"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":"ID","result":{"action":"accept","content":{"approve":1e999}}}"#,
            Some("approval-required"),
        ),
        (r#"{"jsonrpc":"2.0","id":ID,"result":[1]}"#, Some("approval-required")),
        (r#"{"jsonrpc":"2.0","id":"ID","error":{"code":"no"}}"#, Some("approval-required")),
        ("LONG", Some("approval-required")),
    ] {
        let world = World::with_rooms(vec![daily()]).await;
        let mut raw = Raw::new(&world);
        raw.initialize("2025-06-18", json!({"elicitation": {}})).await;
        let call = json!({"name": "whereby_delete_room", "arguments": {"room_name": "daily"}});
        raw.request("tools/call", call).await;
        raw.until("elicitation/create").await;
        let asked = raw.received().last().expect("a question")["id"].to_string();
        let long = format!(r#"{{"result":{{"a":"{}"}},"id":ID}}"#, "x".repeat(300 * 1024));
        raw.send(&answer.replace("LONG", &long).replace("ID", &asked)).await;
        let answer = raw.receive().await;
        let result = &answer["result"];
        assert_eq!(result["_meta"]["whereby/error"]["kind"].as_str(), kind, "{answer}");
        raw.end().await;
        if kind.is_some() {
            world.assert_untouched();
        }
    }
}

/// A client with a room, whose calls are held by a gate.
async fn held() -> (World, Gate, Raw) {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(ALLOW_ALL);
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 10_000, Reply::carried_out().held_by(&gate));
    let mut raw = Raw::new(&world);
    raw.initialize("2025-06-18", json!({"elicitation": {}})).await;
    (world, gate, raw)
}

#[tokio::test]
async fn calls_beyond_those_that_are_served_wait_and_none_is_lost_or_made_twice() {
    let (world, gate, mut raw) = held().await;
    let list = || json!({"name": "whereby_list_rooms", "arguments": {}});
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(raw.request("tools/call", list()).await);
    }
    // So many are served; what comes after the others is read all the same.
    world.simulator.wait_for_requests(24).await;
    let ping = raw.request("ping", json!({})).await;
    assert_eq!(raw.receive().await["id"], ping);
    assert_eq!(world.requests().len(), 24);
    let cancel = |id: usize| {
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})
            .to_string()
    };
    // One that is served makes room for another; one that waits is never made.
    for id in [ids.remove(0), ids.remove(100), ids.remove(50)] {
        raw.send(&cancel(id)).await;
    }
    let twice = json!({"jsonrpc": "2.0", "id": ids[150], "method": "ping"});
    raw.send(&twice.to_string()).await;
    let refused = raw.receive().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(ids[150]), &json!(-32600)));
    world.simulator.wait_for_requests(25).await;
    gate.open();
    let mut answered = Vec::new();
    for _ in &ids {
        let answer = raw.receive().await;
        assert_eq!(answer["result"]["isError"], false, "{answer}");
        answered.push(usize::try_from(answer["id"].as_u64().expect("an id")).expect("small"));
    }
    answered.sort_unstable();
    assert_eq!(answered, ids);
    raw.end().await;
    assert_eq!(world.requests().len(), 198);
}

#[tokio::test]
async fn calls_that_wait_are_made_after_the_end_of_input() {
    let (world, gate, mut raw) = held().await;
    for _ in 0..100 {
        raw.request("tools/call", json!({"name": "whereby_list_rooms"})).await;
    }
    world.simulator.wait_for_requests(24).await;
    raw.close().await;
    gate.open();
    for _ in 0..100 {
        assert_eq!(raw.receive().await["result"]["isError"], false);
    }
    raw.end().await;
    assert_eq!(world.requests().len(), 100);
}

#[tokio::test]
async fn questions_and_subscriptions_leave_room_for_calls() {
    let world = World::with_rooms(vec![daily()]).await;
    let mut raw = Raw::new(&world);
    raw.initialize("2025-06-18", json!({"elicitation": {}})).await;
    // Far more questions than are asked at a time, and then what answers them.
    for number in 0..200 {
        let arguments = json!({"room_name_prefix": format!("a{number}")});
        let call = json!({"name": "whereby_create_room", "arguments": arguments});
        raw.request("tools/call", call).await;
    }
    let last = raw.request("tools/call", json!({"name": "whereby_list_rooms"})).await;
    let mut asked = Vec::new();
    loop {
        let message = raw.receive().await;
        if message["method"] == "elicitation/create" {
            asked.push(message["id"].clone());
        }
        if message["id"] == last && message.get("method").is_none() {
            break;
        }
    }
    assert_eq!(asked.len(), 8);
    for id in asked {
        let no = json!({"jsonrpc": "2.0", "id": id, "result":
            {"action": "accept", "content": {"approve": false}}});
        raw.send(&no.to_string()).await;
        // A call that came late may be asked about in the place that is free now.
        let response = loop {
            let message = raw.receive().await;
            if message["method"] != "elicitation/create" {
                break message;
            }
        };
        assert_eq!(response["result"]["_meta"]["whereby/error"]["kind"], "denied");
    }
    raw.end().await;
    assert!(world.requests().iter().all(|request| request.method == "GET"));

    let world = World::with_rooms(Vec::new()).await;
    let mut raw = Raw::new(&world);
    raw.without_handshake("2026-07-28", json!({}));
    for number in 0..100 {
        raw.request("subscriptions/listen", json!({"notifications": {}})).await;
        if number >= 16 {
            let refused = loop {
                let message = raw.receive().await;
                if message.get("method").is_none() {
                    break message;
                }
            };
            let message = refused["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains("16 are open"), "{refused}");
        }
    }
    assert!(raw.ask("tools/list", json!({})).await["result"]["tools"].is_array());
    raw.close().await;
}
