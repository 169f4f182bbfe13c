//! What signals do to the program, run as a process of its own: it ends what it does, says what came of
//! it, and closes the row of the audit log.

#![cfg(all(unix, feature = "simulator"))]

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::LazyLock;
use tempfile::TempDir;
use whereby::simulator::{Options, Reply, Simulator};

/// Each signal, and the exit status of a program that it ends.
const SIGNALS: [(&str, i32); 3] = [("INT", 130), ("TERM", 143), ("HUP", 129)];

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
        Self { simulator, home: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A program with this user's account and no other variables.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_CACHE_HOME", CACHE.path())
            .env("PATH", "/usr/bin:/bin")
            .env("WHEREBY_API_URL", self.simulator.url())
            .env("WHEREBY_ACCESS_TOKEN", self.simulator.token())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the program.
    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(env!("CARGO_BIN_EXE_whereby"));
        command.args(arguments).spawn().expect("the program starts")
    }

    /// Has the simulator never answer requests of a method.
    fn never_answer(&self, method: &str) {
        let reply = Reply::carried_out().never_answering();
        self.simulator.script(method, "/v1/meetings", 1, reply);
    }

    /// The last row of the audit log.
    fn last_row(&self) -> Value {
        let output = self.start(&["audit", "--json"]).wait_with_output().expect("it ends");
        let document = document(&output);
        let rows = document["audit"].as_array().expect("rows");
        rows.last().cloned().expect("a row")
    }
}

fn send(signal: &str, id: u32) {
    let sent = Command::new("kill").args(["-s", signal, &id.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// Sends a signal to a program, and waits for its end.
fn stop(child: Child, signal: &str) -> Output {
    send(signal, child.id());
    child.wait_with_output().expect("it ends")
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no document: {output:?}"))
}

/// Reads a line that a program prints.
fn line(stream: impl std::io::Read) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("a line");
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_write_that_is_stopped_says_what_is_known_of_it() {
    for (signal, status) in SIGNALS {
        let world = World::new().await;
        world.never_answer("POST");
        let child = world.start(&["call", "create_room", "--force", "--json"]);
        world.simulator.wait_for_requests(1).await;
        let output = stop(child, signal);
        assert_eq!(output.status.code(), Some(status), "{signal}: {output:?}");
        let document = document(&output);
        assert_eq!(document["error"]["effect"], "unknown", "{document}");
        assert_eq!(document["meta"]["requests"], 1, "{document}");
        assert_eq!(document["meta"]["forced"], true, "{document}");
        let row = world.last_row();
        assert_eq!(row["outcome"]["kind"], "cancelled", "{row}");
        assert_eq!(row["outcome"]["effect"], "unknown", "{row}");
        assert_eq!(row["outcome"]["requests"][0]["method"], "POST", "{row}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_read_that_is_stopped_ends_silently_and_is_in_the_log() {
    for (signal, status) in SIGNALS {
        let world = World::new().await;
        world.never_answer("GET");
        let child = world.start(&["call", "list_rooms"]);
        world.simulator.wait_for_requests(1).await;
        let output = stop(child, signal);
        assert_eq!(output.status.code(), Some(status), "{signal}: {output:?}");
        assert_eq!((output.stdout.len(), output.stderr.len()), (0, 0), "{output:?}");
        let row = world.last_row();
        assert_eq!(row["outcome"]["kind"], "cancelled", "{row}");
        assert_eq!(row["outcome"]["effect"], "none", "{row}");
        assert_eq!(row["outcome"]["requests"][0]["method"], "GET", "{row}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_output_comes_before_the_program_waits_for_the_state_database() {
    let world = World::new().await;
    let state = world.home.path().join(".local/state/whereby");
    let spooled = || std::fs::read_dir(state.join("spool")).expect("the spool").count();
    let rows = || world.start(&["audit", "--json"]).wait_with_output().expect("it ends");
    let rows = || document(&rows())["audit"].as_array().expect("rows").len();
    let start = || world.start(&["call", "list_rooms", "--json"]);
    assert!(start().wait_with_output().expect("it ends").status.success());
    let other = rusqlite::Connection::open(state.join("state.db")).expect("the database");
    let lock = || other.execute_batch("BEGIN IMMEDIATE").expect("it is locked");
    let unlock = || other.execute_batch("ROLLBACK").expect("it is not locked");

    lock();
    let mut child = start();
    let printed = line(child.stdout.take().expect("its output"));
    // The program gives up waiting after a while; if it had waited before, the row would stay in the spool.
    unlock();
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{printed}");
    assert_eq!((spooled(), rows()), (0, 2));

    // A signal after the output loses no row.
    for (index, (signal, _)) in SIGNALS.into_iter().enumerate() {
        lock();
        let mut child = start();
        let printed = line(child.stdout.take().expect("its output"));
        let printed: Value = serde_json::from_str(&printed).expect("a document");
        wait_until_open(child.id(), "state.db");
        let output = stop(child, signal);
        assert_eq!(output.status.code(), Some(0), "{signal}: {printed}");
        assert_eq!(printed["success"], true, "{printed}");
        assert_ne!(spooled(), 0, "{signal}");
        unlock();
        assert_eq!((rows(), spooled()), (3 + index, 0), "{signal}");
    }
}

/// Waits until a program has a file open.
fn wait_until_open(id: u32, name: &str) {
    // Without these files, it is not known.
    let Ok(folder) = std::fs::canonicalize(format!("/proc/{id}/fd")) else { return };
    let is_open = || {
        let files = std::fs::read_dir(&folder).expect("the program runs");
        files.flatten().any(|file| file.path().read_link().is_ok_and(|file| file.ends_with(name)))
    };
    while !is_open() {
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_reads_documents_gets_one_of_a_read_that_is_stopped() {
    for (signal, status) in SIGNALS {
        let world = World::new().await;
        world.never_answer("GET");
        let child = world.start(&["call", "list_rooms", "--json"]);
        world.simulator.wait_for_requests(1).await;
        let output = stop(child, signal);
        assert_eq!(output.status.code(), Some(status), "{signal}: {output:?}");
        let stopped = document(&output);
        assert_eq!(stopped["function"], "list_rooms", "{stopped}");
        assert_eq!(stopped["success"], false, "{stopped}");
        assert_eq!(stopped["error"]["message"], "interrupted", "{stopped}");
        assert_eq!(stopped["error"]["effect"], "none", "{stopped}");
        assert_eq!(stopped["meta"]["requests"], 1, "{stopped}");

        world.never_answer("GET");
        let child = world.start(&["doctor", "--json"]);
        world.simulator.wait_for_requests(2).await;
        let output = stop(child, signal);
        assert_eq!(output.status.code(), Some(status), "{signal}: {output:?}");
        assert_eq!(document(&output)["error"]["message"], "interrupted", "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_that_waits_for_its_approval_is_stopped() {
    let world = World::new().await;
    let mut child = world.start(&["call", "create_room", "--wait", "600", "--json"]);
    let waiting = line(child.stderr.as_mut().expect("a pipe"));
    assert!(waiting.contains("whereby approvals approve"), "{waiting}");
    let output = stop(child, "TERM");
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    let stopped = document(&output);
    assert_eq!(stopped["error"]["effect"], "none", "{stopped}");
    let id = stopped["meta"]["approval_id"].as_str().expect("an id");
    assert!(waiting.trim_end().ends_with(id), "{waiting}");
    let hint = stopped["error"]["hint"].as_str().expect("a hint");
    assert!(hint.ends_with(&format!("whereby approvals deny {id}")), "{stopped}");
    assert_eq!(world.last_row()["outcome"]["kind"], "cancelled");
    assert!(world.simulator.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_command_that_goes_on_until_it_is_stopped_ends_well() {
    for (signal, _) in SIGNALS {
        let world = World::new().await;
        let listed = world.start(&["call", "list_rooms"]).wait_with_output().expect("it ends");
        assert_eq!(listed.status.code(), Some(0), "{listed:?}");
        world.simulator.clear_requests();
        let token = world.home.path().join("token");
        std::fs::write(&token, "0123456789abcdef0123456789abcdef").expect("written");
        let chmod = Command::new("chmod").arg("600").arg(&token).status().expect("chmod runs");
        assert!(chmod.success());
        for arguments in [
            &["simulate"][..],
            &["audit", "--follow"],
            &["mcp", "--listen", "127.0.0.1:0", "--token-file", "token"],
        ] {
            let mut child = world.start(arguments);
            let first = line(child.stdout.as_mut().expect("a pipe"));
            assert_ne!(first, "", "{arguments:?} prints something first");
            let output = stop(child, signal);
            assert_eq!(output.status.code(), Some(0), "{signal} {arguments:?}: {output:?}");
        }
    }
}

#[cfg(feature = "lua")]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_script_that_is_stopped_reports_its_calls() {
    for (signal, status) in SIGNALS {
        let world = World::new().await;
        world.never_answer("GET");
        let script = "app.integrations.whereby.list_rooms({})";
        let child = world.start(&["lua", "-e", script, "--json"]);
        world.simulator.wait_for_requests(1).await;
        let output = stop(child, signal);
        assert_eq!(output.status.code(), Some(status), "{signal}: {output:?}");
        let report = document(&output);
        assert_eq!(report["error"]["kind"], "interrupted", "{report}");
        assert_eq!(report["calls"][0]["requests"], 1, "{report}");
        assert_eq!(world.last_row()["outcome"]["kind"], "cancelled");
    }
}

#[cfg(feature = "mcp")]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_mcp_server_that_is_stopped_cancels_what_is_under_way() {
    for (signal, status) in SIGNALS {
        let world = World::new().await;
        world.never_answer("GET");
        let mut child = world.start(&["mcp"]);
        let stdin = child.stdin.as_mut().expect("a pipe");
        for message in [
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": {"name": "tester", "version": "1"},
            }}),
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
                "name": "whereby_list_rooms", "arguments": {},
            }}),
        ] {
            writeln!(stdin, "{message}").expect("written");
        }
        world.simulator.wait_for_requests(1).await;
        let stdin = child.stdin.take();
        let output = stop(child, signal);
        drop(stdin);
        assert_eq!(output.status.code(), Some(status), "{signal}: {output:?}");
        assert_eq!(world.last_row()["outcome"]["kind"], "cancelled");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_signal_that_is_ignored_since_the_start_stays_ignored() {
    let world = World::new().await;
    world.never_answer("GET");
    let program = env!("CARGO_BIN_EXE_whereby");
    let script = format!("trap '' HUP INT; exec {program} call list_rooms");
    let child = world.command("/bin/sh").args(["-c", &script]).spawn().expect("it starts");
    world.simulator.wait_for_requests(1).await;
    send("HUP", child.id());
    send("INT", child.id());
    let output = stop(child, "TERM");
    assert_eq!(output.status.code(), Some(143), "{output:?}");
}

/// Commands that read standard input to its end.
const READERS: [&[&str]; 4] = [
    &["call", "list_rooms", "-"],
    &["call", "create_room", "-", "--json"],
    #[cfg(feature = "lua")]
    &["lua", "-"],
    &["configure", "--token-stdin"],
];

/// Starts a command, and returns it once it reads standard input, which stays open.
fn reading(command: &mut Command) -> (Child, ChildStdin) {
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"{").expect("written");
    while rustix::io::ioctl_fionread(&stdin).expect("a pipe") > 0 {
        std::thread::yield_now();
    }
    (child, stdin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_command_that_reads_standard_input_is_stopped() {
    let world = World::new().await;
    for (signal, status) in SIGNALS {
        for arguments in READERS {
            let mut command = world.command(env!("CARGO_BIN_EXE_whereby"));
            let (child, stdin) = reading(command.args(arguments));
            let output = stop(child, signal);
            drop(stdin);
            assert_eq!(output.status.code(), Some(status), "{signal} {arguments:?}: {output:?}");
            if arguments.contains(&"--json") {
                let stopped = document(&output);
                assert_eq!(stopped["function"], "create_room", "{stopped}");
                assert_eq!(stopped["error"]["effect"], "none", "{stopped}");
            } else {
                assert_eq!(output.stdout.len(), 0, "{arguments:?}: {output:?}");
            }
        }
    }
    assert!(world.simulator.requests().is_empty());
}

/// A process 1 gets only those signals that it handles.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn signals_stop_the_program_as_process_1() {
    let in_namespace = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
    let can_unshare = Command::new("unshare").args(in_namespace).arg("true").status();
    if !can_unshare.is_ok_and(|status| status.success()) {
        eprintln!("not tried: namespaces are not to be had here");
        return;
    }
    for (method, arguments, status) in [
        ("POST", &["call", "create_room", "--force", "--json"][..], 143),
        ("GET", &["call", "list_rooms"], 143),
        ("", &["simulate"], 0),
    ] {
        let world = World::new().await;
        world.never_answer(method);
        let mut command = world.command("unshare");
        command.args(in_namespace).arg(env!("CARGO_BIN_EXE_whereby")).args(arguments);
        let mut child = command.spawn().expect("unshare starts");
        match method {
            "" => drop(line(child.stdout.as_mut().expect("a pipe"))),
            _ => world.simulator.wait_for_requests(1).await,
        }
        send("TERM", first_child(&child));
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
    }
    let world = World::new().await;
    for arguments in READERS {
        let mut command = world.command("unshare");
        command.args(in_namespace).arg(env!("CARGO_BIN_EXE_whereby")).args(arguments);
        let (child, stdin) = reading(&mut command);
        send("TERM", first_child(&child));
        let output = child.wait_with_output().expect("it ends");
        drop(stdin);
        assert_eq!(output.status.code(), Some(143), "{arguments:?}: {output:?}");
    }
}

/// The process that another one has started.
fn first_child(parent: &Child) -> u32 {
    let id = parent.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    children.expect("children").trim().parse().expect("one child")
}
