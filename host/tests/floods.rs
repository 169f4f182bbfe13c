//! Clients of the MCP server that ask without end and do not read, against the program as a process of
//! its own: it stops reading, its memory stays within bounds, and nothing is lost or made twice.

#![cfg(all(target_os = "linux", feature = "mcp", feature = "simulator"))]

use rustix::io::ioctl_fionread;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::thread::JoinHandle;
use tempfile::TempDir;
use whereby::simulator::{Options, Simulator};

/// How much memory a client may make the program use.
const MOST_MEMORY: usize = 256 * 1024 * 1024;

/// So many bytes are in a pipe that is full, however little of each of its pages is used.
const FULL: u64 = 30 * 1024;

const TOKEN: &str = "a-token-of-some-length";

/// Compiled code is kept for the whole run, so that the component is compiled once.
static CACHE: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));

/// A simulated Whereby, and a user with a home of their own.
struct World {
    simulator: Simulator,
    home: TempDir,
}

impl World {
    async fn new() -> Self {
        let simulator = Simulator::start(Options::default()).await.expect("a simulator");
        let world = Self { simulator, home: tempfile::tempdir().expect("a temporary directory") };
        // Compiling is not what is measured.
        let called = world.command(&["call", "list_rooms"]).output().expect("it runs");
        assert!(called.status.success(), "{called:?}");
        world
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whereby"));
        command
            .args(arguments)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_CACHE_HOME", CACHE.path())
            .env("WHEREBY_API_URL", self.simulator.url())
            .env("WHEREBY_ACCESS_TOKEN", self.simulator.token())
            .env("WHEREBY_MCP_TOKEN", TOKEN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }
}

/// A server, and a client that writes to it from another thread.
struct Flooded {
    server: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Flooded {
    /// Starts a server and shakes hands with it.
    fn new(world: &World) -> Self {
        Self::with(world, &["mcp"])
    }

    /// The same, started with these arguments.
    fn with(world: &World, arguments: &[&str]) -> Self {
        let mut server = world.command(arguments).spawn().expect("the server starts");
        let mut stdin = server.stdin.take().expect("a pipe");
        let mut stdout = BufReader::new(server.stdout.take().expect("a pipe"));
        let initialize = json!({"jsonrpc": "2.0", "id": "begin", "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "flood", "version": "1"}}});
        writeln!(stdin, "{initialize}").expect("written");
        let mut answer = String::new();
        stdout.read_line(&mut answer).expect("an answer");
        assert!(answer.contains("\"begin\""), "{answer}");
        writeln!(stdin, r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#)
            .expect("written");
        Self { server, stdin, stdout }
    }

    /// Writes lines in a thread.
    fn write(&self, lines: impl Iterator<Item = String> + Send + 'static) -> JoinHandle<()> {
        let stdin = self.stdin.as_fd().try_clone_to_owned().expect("another descriptor");
        let mut stdin = std::fs::File::from(stdin);
        std::thread::spawn(move || {
            for line in lines {
                // A server that has ended takes no more.
                if writeln!(stdin, "{line}").is_err() {
                    return;
                }
            }
        })
    }

    /// Writes lines in a thread, and reads nothing until the server reads no more.
    fn flood(&self, lines: impl Iterator<Item = String> + Send + 'static) -> JoinHandle<()> {
        let writing = self.write(lines);
        let is_full = |pipe: BorrowedFd<'_>| ioctl_fionread(pipe).expect("a pipe") >= FULL;
        while !(is_full(self.stdin.as_fd()) && is_full(self.stdout.get_ref().as_fd())) {
            assert!(!writing.is_finished(), "all was read, though nobody reads the answers");
            std::thread::yield_now();
        }
        writing
    }

    /// How often each request was answered, after the client has begun to read. A question is answered
    /// by no.
    fn answers(&mut self, count: usize) -> HashMap<String, usize> {
        let mut answers = HashMap::new();
        let mut answered = 0;
        while answered < count {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).expect("read") > 0, "{answered} of {count}");
            let message: Value = serde_json::from_str(&line).expect("JSON");
            if message.get("method").is_none() {
                *answers.entry(message["id"].to_string()).or_default() += 1;
                answered += 1;
            }
        }
        answers
    }

    /// Ends the server; nothing else comes, and it has used no more memory than it may.
    fn end(mut self) {
        assert_memory(&self.server);
        drop(self.stdin);
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("read");
        assert_eq!(rest, "");
        assert!(self.server.wait().expect("it ends").success());
    }
}

/// Fails where a process has used more memory than it may, at any time.
fn assert_memory(server: &Child) {
    let status = format!("/proc/{}/status", server.id());
    let status = std::fs::read_to_string(status).expect("a process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    let kib: usize = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib * 1024 < MOST_MEMORY, "{kib} KiB");
}

fn request(id: usize, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

/// Floods a server with requests that are all answered, and checks that they are, once each.
fn flood(world: &World, count: usize, method: &'static str, params: Value) {
    let mut flooded = Flooded::new(world);
    let lines = (0..count).map(move |id| request(id, method, &params));
    let writing = flooded.flood(lines);
    let answers = flooded.answers(count);
    writing.join().expect("all is written");
    assert_eq!((answers.len(), answers.values().max()), (count, Some(&1)), "{method}");
    flooded.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn calls_that_nobody_reads_the_answers_of_are_not_made() {
    let world = World::new().await;
    let mut flooded = Flooded::new(&world);
    let made = world.simulator.requests().len();
    let params = json!({"name": "whereby_list_rooms", "arguments": {"limit": 1}});
    let count = 30_000;
    let writing = flooded.flood((0..count).map(move |id| request(id, "tools/call", &params)));
    // The pipe holds answers of some hundred bytes, and each call sends two requests at most.
    let for_nobody = world.simulator.requests().len() - made;
    assert!(for_nobody < 1000, "{for_nobody} requests for nobody");
    let some = flooded.answers(2000);
    assert_eq!((some.len(), some.values().max()), (2000, Some(&1)));
    // The rest is not wanted; a client that goes away ends it.
    drop(flooded.stdout);
    assert_memory(&flooded.server);
    drop(flooded.stdin);
    flooded.server.wait().expect("it ends");
    writing.join().expect("it gives up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn lists_that_nobody_reads_are_answered_later_once_each() {
    flood(&World::new().await, 3000, "tools/list", json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn pings_and_unknown_methods_that_nobody_reads_are_answered_later_once_each() {
    let world = World::new().await;
    flood(&world, 20_000, "ping", json!({}));
    flood(&world, 20_000, "no/method", json!({"a": "b"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn large_messages_take_up_what_they_may() {
    let world = World::new().await;
    let text = "x".repeat(200_000);
    flood(&world, 500, "tools/list", json!({"_meta": {"a": text, "progressToken": text}}));
    // These are many megabytes each when they are read, so that few are read at a time.
    let many: Vec<_> = (0..30_000).map(|_| json!({"": 0})).collect();
    for (name, arguments) in [
        ("whereby_list_rooms", json!({"limit": vec![0; 120_000]})),
        ("whereby_create_room", json!({"fields": many})),
    ] {
        let mut flooded = Flooded::new(&world);
        let call = request(0, "tools/call", &json!({"name": name, "arguments": arguments}));
        let lines = (0..20).map(move |id| call.replace("\"id\":0,", &format!("\"id\":{id},")));
        let writing = flooded.write(lines);
        assert_eq!(flooded.answers(20).len(), 20);
        writing.join().expect("all is written");
        flooded.end();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn garbage_is_refused_line_by_line() {
    let world = World::new().await;
    let mut flooded = Flooded::new(&world);
    let count = 20_000;
    let writing = flooded.flood((0..count).map(|_| "{\"nonsense\":".to_owned()));
    assert_eq!(flooded.answers(count).get("null"), Some(&count));
    writing.join().expect("all is written");
    flooded.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn notifications_and_answers_that_nobody_asked_for_are_dropped() {
    let world = World::new().await;
    let mut flooded = Flooded::new(&world);
    for line in [
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
        json!({"jsonrpc": "2.0", "method": "notifications/progress",
            "params": {"progressToken": 1, "progress": 1}}),
        json!({"jsonrpc": "2.0", "id": 5, "result": {"action": "accept"}}),
    ] {
        let lines = format!("{line}\n").repeat(20_000);
        flooded.stdin.write_all(lines.as_bytes()).expect("written");
    }
    let ping = request(1, "ping", &json!({}));
    writeln!(flooded.stdin, "{ping}").expect("written");
    assert_eq!(flooded.answers(1).len(), 1);
    flooded.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn calls_that_are_taken_back_at_once_leave_nothing_behind() {
    let world = World::new().await;
    let mut flooded = Flooded::new(&world);
    let arguments = json!({"name": "whereby_list_rooms", "arguments": {}});
    for id in 0..5000 {
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": id}});
        writeln!(flooded.stdin, "{}\n{cancel}", request(id, "tools/call", &arguments))
            .expect("written");
    }
    writeln!(flooded.stdin, "{}", request(9999, "tools/list", &json!({}))).expect("written");
    while !flooded.answers(1).contains_key("9999") {}
    flooded.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn questions_that_nobody_answers_are_few() {
    let world = World::new().await;
    let mut flooded = Flooded::new(&world);
    let lines = (0..5000).map(|id| {
        let arguments = json!({"room_name_prefix": format!("a{id}")});
        request(id, "tools/call", &json!({"name": "whereby_create_room", "arguments": arguments}))
    });
    let writing = flooded.flood(lines);
    // Eight wait for a person.
    let answers = flooded.answers(5000 - 8);
    writing.join().expect("all is written");
    assert_eq!(answers.values().max(), Some(&1));
    assert!(world.simulator.requests().iter().all(|request| request.method == "GET"));
    assert_memory(&flooded.server);
    drop(flooded.stdin);
    assert!(flooded.server.wait().expect("it ends").success());
}

/// Scripts hold their memory while they wait for a person, but not all of it.
#[cfg(feature = "lua")]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn scripts_that_wait_for_a_person_leave_memory_to_others() {
    let world = World::new().await;
    let mut flooded = Flooded::with(&world, &["mcp", "--lua"]);
    let mut run = |id: usize, script: &str| {
        let arguments = json!({"name": "whereby_run_lua", "arguments": {"script": script}});
        writeln!(flooded.stdin, "{}", request(id, "tools/call", &arguments)).expect("written");
    };
    let create =
        |id| format!("app.integrations.whereby.create_room({{ room_name_prefix = 'a{id}' }})");
    let mut next = || -> Value {
        let mut line = String::new();
        flooded.stdout.read_line(&mut line).expect("read");
        serde_json::from_str(&line).expect("JSON")
    };
    // Eight would have all of it.
    (0..8).for_each(|id| run(id, &create(id)));
    let first: Vec<Value> = (0..8).map(|_| next()).collect();
    let (questions, answers): (Vec<_>, Vec<_>) =
        first.iter().partition(|message| message["method"] == "elicitation/create");
    assert_eq!((questions.len(), answers.len()), (4, 4), "{first:?}");
    for answer in answers {
        let error = &answer["result"]["structuredContent"]["error"];
        assert_eq!(error["kind"], "approval-required", "{answer}");
    }
    run(8, "return 6 * 7");
    let answer = next();
    assert_eq!(answer["result"]["structuredContent"]["result"], 42, "{answer}");
    // Who has an answer makes room for the next question.
    let no = json!({"jsonrpc": "2.0", "id": questions[0]["id"],
        "result": {"action": "accept", "content": {"approve": false}}});
    writeln!(flooded.stdin, "{no}").expect("written");
    let answer = next();
    let error = &answer["result"]["structuredContent"]["error"];
    assert_eq!(error["kind"], "denied", "{answer}");
    let mut run = |id: usize, script: &str| {
        let arguments = json!({"name": "whereby_run_lua", "arguments": {"script": script}});
        writeln!(flooded.stdin, "{}", request(id, "tools/call", &arguments)).expect("written");
    };
    run(9, &create(9));
    let question = next();
    assert_eq!(question["method"], "elicitation/create", "{question}");
    assert!(world.simulator.requests().iter().all(|request| request.method == "GET"));
    flooded.server.kill().expect("it ends");
    flooded.server.wait().expect("it ends");
}

/// A server over HTTP, and its address.
fn listening(world: &World) -> (Child, SocketAddr) {
    let mut server =
        world.command(&["mcp", "--listen", "127.0.0.1:0"]).spawn().expect("the server starts");
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    let address = line.split_once("http://").and_then(|(_, rest)| rest.split_once("/mcp"));
    let address = address.expect("an address").0.parse().expect("an address");
    (server, address)
}

fn post(address: SocketAddr, body: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connected");
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    // A server that has enough may close before all is written.
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    // A connection that had to make room has no answer.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn clients_over_http_that_do_not_read_take_up_what_they_may() {
    let world = World::new().await;
    let (mut server, address) = listening(&world);
    let new = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: METHOD\r\n";
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}, "a": "x".repeat(100_000)});
    let list = request(1, "tools/list", &json!({"_meta": meta}));
    let call = request(
        1,
        "tools/call",
        &json!({"name": "whereby_create_room",
        "arguments": {"fields": vec![0; 100_000]}, "_meta": meta}),
    );
    let mut open = Vec::new();
    for accept in ["application/json", "application/json, text/event-stream"] {
        for (body, method) in [(&list, "tools/list"), (&call, "tools/call")] {
            let named =
                if method == "tools/call" { "Mcp-Name: whereby_create_room\r\n" } else { "" };
            let headers = format!("{}Accept: {accept}\r\n{named}", new.replace("METHOD", method));
            open.extend((0..200).map(|_| post(address, body, &headers)));
        }
    }
    // A client that reads is served meanwhile.
    let headers = format!("{}Connection: close\r\n", new.replace("METHOD", "ping"));
    let ping = request(1, "ping", &json!({"_meta": meta}));
    let pong = answer(post(address, &ping, &headers));
    assert!(pong.starts_with("HTTP/1.1 "), "{pong}");
    drop(open);
    assert_memory(&server);
    server.kill().expect("it ends");
    server.wait().expect("it ends");
}

/// A session that a client begins, and its stream of events, once it is open.
fn stream(address: SocketAddr) -> TcpStream {
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "many", "version": "1"}}});
    let accept = "Accept: application/json, text/event-stream\r\n";
    let headers = format!("{accept}Connection: close\r\n");
    let begun = answer(post(address, &initialize.to_string(), &headers));
    let id = begun.lines().find_map(|line| {
        let (name, id) = line.split_once(':')?;
        name.eq_ignore_ascii_case("mcp-session-id").then(|| id.trim())
    });
    let id = id.unwrap_or_else(|| panic!("no session: {begun}"));
    let mut stream = TcpStream::connect(address).expect("connected");
    let head = format!(
        "GET /mcp HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\
         Accept: text/event-stream\r\nMcp-Session-Id: {id}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("written");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn streams_of_many_sessions_turn_nobody_away() {
    let world = World::new().await;
    let (mut server, address) = listening(&world);
    // As many as there may be connections, and more.
    let streams: Vec<TcpStream> = (0..300).map(|_| stream(address)).collect();
    let mut last = stream(address);
    let new = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\n";
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}});
    let list = request(1, "tools/list", &json!({"_meta": meta}));
    let listed = answer(post(address, &list, &format!("{new}Connection: close\r\n")));
    assert!(listed.starts_with("HTTP/1.1 200"), "{listed}");
    // The newest stream goes on, and the oldest has made room.
    last.set_nonblocking(true).expect("set");
    let mut rest = [0; 16 * 1024];
    let is_open = loop {
        match last.read(&mut rest) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(error) => break error.kind() == std::io::ErrorKind::WouldBlock,
        }
    };
    assert!(is_open);
    let mut oldest = Vec::new();
    (&streams[0]).read_to_end(&mut oldest).expect("it has ended");
    assert_memory(&server);
    drop(streams);
    server.kill().expect("it ends");
    server.wait().expect("it ends");
}
