//! Measures the program as a process from start to exit, and as an MCP server.

use crate::server::Server;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The variable that makes this program act as `whereby`, whose code it contains.
pub(crate) const PROGRAM: &str = "WHEREBY_BENCH_PROGRAM";

fn program(server: &Server, home: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
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
    let output = program(server, home)
        .args(["call", "list_rooms", "{\"limit\":10}", "--json"])
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
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

/// A running `whereby mcp`.
pub(crate) struct Mcp {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    id: u64,
}

impl Mcp {
    pub(crate) fn start(server: &Server, home: &Path) -> Self {
        let mut child = program(server, home)
            .arg("mcp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut mcp = Self { child, input, output, id: 0 };
        let client = json!({"name": "bench", "version": "1"});
        mcp.ask(
            "initialize",
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}),
        );
        mcp.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        mcp
    }

    /// Makes one `tools/call`.
    pub(crate) fn call(&mut self) {
        let parameters = json!({"name": "whereby_list_rooms", "arguments": {"limit": 10}});
        let result = self.ask("tools/call", parameters);
        assert_eq!(result["isError"], false, "{result}");
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.id += 1;
        self.write(
            &json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": parameters}),
        );
        let mut line = String::new();
        self.output.read_line(&mut line).expect("an answer");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(answer["id"], self.id, "{answer}");
        answer["result"].clone()
    }

    fn write(&mut self, message: &Value) {
        let input = self.input.as_mut().expect("it is open");
        input.write_all(format!("{message}\n").as_bytes()).expect("it reads");
    }
}

impl Drop for Mcp {
    fn drop(&mut self) {
        // Closing its standard input ends it.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
