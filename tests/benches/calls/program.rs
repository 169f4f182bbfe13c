//! Measures the program as a process from start to exit, and as an MCP server.

use crate::server::Server;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The variable that makes this program act as `whereby`, whose code it contains.
pub(crate) const PROGRAM: &str = "WHEREBY_BENCH_PROGRAM";

fn program(server: &Server, home: &Path) -> Command {
    program_at(&std::env::current_exe().expect("this program"), server, home)
}

fn program_at(file: &Path, server: &Server, home: &Path) -> Command {
    let mut command = Command::new(file);
    command
        .env_clear()
        .env(PROGRAM, "1")
        .env("HOME", home)
        .env("WHEREBY_API_URL", &server.url)
        .env("WHEREBY_ACCESS_TOKEN", &server.token);
    command
}

/// Runs `whereby call` from start to exit, for a user with this home directory.
pub(crate) fn call(server: &Server, home: &Path) {
    run_call(program(server, home));
}

fn run_call(mut program: Command) {
    let output = program
        .args(["call", "list_rooms", "{\"limit\":10}", "--json"])
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
}

/// The program as a package installs it, with its compiled code.
pub(crate) struct Installed(tempfile::TempDir);

impl Installed {
    pub(crate) fn new(server: &Server, home: &Path) -> Self {
        // Nobody else can write there, as required.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        std::fs::create_dir(folder.path().join("bin")).expect("a directory");
        std::fs::create_dir_all(folder.path().join("lib/whereby")).expect("a directory");
        let own = Self(folder);
        let program = std::env::current_exe().expect("this program");
        std::fs::copy(program, own.program()).expect("a copy");
        let code = own.0.path().join("lib/whereby/component.cwasm");
        let compiled = program_at(&own.program(), server, home)
            .args(["component", "compile"])
            .arg(code)
            .output()
            .expect("the program runs");
        assert!(compiled.status.success(), "{compiled:?}");
        own
    }

    /// Runs `whereby call` from start to exit.
    pub(crate) fn call(&self, server: &Server, home: &Path) {
        run_call(program_at(&self.program(), server, home));
    }

    fn program(&self) -> PathBuf {
        self.0.path().join("bin/whereby")
    }
}

/// Runs `whereby --version` from start to exit: the cost of a process that does nothing.
pub(crate) fn version(server: &Server, home: &Path) {
    let output = program(server, home).arg("--version").output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
}

/// Makes 10,000 calls, so that the audit log has them.
pub(crate) fn log(server: &Server, home: &Path) {
    let script = "for _ = 1, 100 do app.integrations.whereby.list_rooms({limit = 1}) end";
    for _ in 0..100 {
        let output =
            program(server, home).args(["lua", "-e", script]).output().expect("the program runs");
        assert!(output.status.success(), "{output:?}");
    }
}

/// Runs `whereby audit verify` from start to exit.
pub(crate) fn verify(server: &Server, home: &Path) {
    let output =
        program(server, home).args(["audit", "verify"]).output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
}

/// A running MCP server on standard input and output.
pub(crate) struct Mcp {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    id: u64,
    /// The tool that lists 10 rooms, and its arguments.
    tool: (&'static str, Value),
}

impl Mcp {
    /// Starts `whereby mcp`.
    pub(crate) fn start(server: &Server, home: &Path) -> Self {
        let mut command = program(server, home);
        command.arg("mcp");
        Self::of(command, "whereby_list_rooms", json!({"limit": 10})).expect("the program runs")
    }

    /// Starts a server with this tool. Returns `None` if it ends at once.
    pub(crate) fn of(mut command: Command, tool: &'static str, arguments: Value) -> Option<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut mcp = Self { child, input, output, id: 0, tool: (tool, arguments) };
        let client = json!({"name": "bench", "version": "1"});
        mcp.ask(
            "initialize",
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}),
        )?;
        mcp.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Some(mcp)
    }

    /// Makes one `tools/call`.
    pub(crate) fn call(&mut self) {
        let result = self.result();
        assert_eq!(result["isError"], false, "{result}");
    }

    /// Makes one `tools/call`, and returns its result.
    pub(crate) fn result(&mut self) -> Value {
        let (name, arguments) = &self.tool;
        let parameters = json!({"name": name, "arguments": arguments});
        self.ask("tools/call", parameters).expect("a running server")
    }

    /// Returns `None` if the server has ended.
    fn ask(&mut self, method: &str, parameters: Value) -> Option<Value> {
        self.id += 1;
        self.write(
            &json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": parameters}),
        )?;
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            // Notifications have no id.
            if answer["id"] == self.id {
                return Some(answer["result"].clone());
            }
        }
    }

    fn write(&mut self, message: &Value) -> Option<()> {
        self.input.write_all(format!("{message}\n").as_bytes()).ok()
    }
}

/// The rules of an agent, with conditions.
const AGENT: &str = "\
[agents.assistant]
valid_until = 2999-12-04T18:00:00Z
[agents.assistant.permissions.functions.list_rooms]
permission = \"allow\"
valid_until = 2999-12-04T18:00:00Z
";

/// A running `whereby mcp --listen`, and its client, an agent with a capability token.
pub(crate) struct Web {
    child: Child,
    /// It is not read any more, but stays open.
    _output: BufReader<ChildStdout>,
    client: reqwest::Client,
    url: String,
    token: String,
    session: String,
}

impl Web {
    pub(crate) async fn start(server: &Server, home: &Path) -> Self {
        let folder = home.join(".config/whereby");
        std::fs::create_dir_all(&folder).expect("a directory");
        whereby_tests::set_mode(&folder, 0o700);
        let file = folder.join("config.toml");
        std::fs::write(&file, AGENT).expect("a file");
        whereby_tests::set_mode(&file, 0o600);
        let created = program(server, home)
            .args(["token", "create", "--agent", "assistant", "--function", "list_rooms"])
            .args(["--for", "8h"])
            .output()
            .expect("the program runs");
        assert!(created.status.success(), "{created:?}");
        let mut child = program(server, home)
            .args(["mcp", "--listen", "127.0.0.1:0"])
            .env("WHEREBY_MCP_TOKEN", "0123456789abcdef0123456789abcdef")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        output.read_line(&mut line).expect("its address");
        let url = line.split([' ', ',']).find(|word| word.starts_with("http://"));
        let mut web = Self {
            child,
            _output: output,
            client: reqwest::Client::builder().no_proxy().build().expect("a client"),
            url: url.expect("its URL").to_owned(),
            token: String::from_utf8(created.stdout).expect("text").trim().to_owned(),
            session: String::new(),
        };
        let client = json!({"name": "bench", "version": "1"});
        let begin = json!({
            "jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client},
        });
        let begun = web.post(&begin).await;
        let id = begun.headers().get("mcp-session-id").expect("a session");
        web.session = id.to_str().expect("text").to_owned();
        begun.bytes().await.expect("a response");
        web.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        web
    }

    /// Makes one `tools/call`.
    pub(crate) async fn call(&self) {
        let parameters = json!({"name": "whereby_list_rooms", "arguments": {"limit": 10}});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters});
        let answer = self.post(&call).await.text().await.expect("a response");
        assert!(answer.contains("\"isError\":false"), "{answer}");
    }

    async fn post(&self, message: &Value) -> reqwest::Response {
        let request = self
            .client
            .post(&self.url)
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        let request = if self.session.is_empty() {
            request
        } else {
            request.header("mcp-session-id", &self.session)
        };
        let answer = request.body(message.to_string()).send().await.expect("a response");
        assert!(answer.status().is_success(), "{answer:?}");
        answer
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

impl Drop for Mcp {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}
