//! Other runtimes with the same component, measured in the same run. `peers.py` starts them.

use crate::program::Mcp;
use crate::server::Server;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The variable with the Python that has the runtimes. Default: `python3`.
const PYTHON: &str = "WHEREBY_BENCH_PYTHON";

/// How often wassette is asked for a first result. It answers before it has read the component.
const ATTEMPTS: usize = 1000;

fn command(runtime: &str, server: &Server, home: &Path) -> Command {
    let component = home.join("whereby.wasm");
    std::fs::write(&component, whereby::BUILT_IN_COMPONENT).expect("a file");
    let mut command = Command::new(std::env::var_os(PYTHON).unwrap_or_else(|| "python3".into()));
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/calls/peers.py"))
        .arg(runtime)
        .args([&component, home])
        .env("WHEREBY_API_URL", &server.url)
        .env("WHEREBY_ACCESS_TOKEN", &server.token);
    command
}

/// wasmtime-py, in which each call has an instance of its own.
pub(crate) struct WasmtimePy {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl WasmtimePy {
    /// Returns `None` if it is not installed.
    pub(crate) fn start(server: &Server, home: &Path) -> Option<Self> {
        let mut child = command("wasmtime-py", server, home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut peer = Self { child, input, output };
        peer.try_call(1).then_some(peer)
    }

    /// Makes this many calls of `list-rooms`.
    pub(crate) fn call(&mut self, times: u32) {
        assert!(self.try_call(times), "wasmtime-py failed");
    }

    fn try_call(&mut self, times: u32) -> bool {
        let mut line = String::new();
        writeln!(self.input, "{times}").is_ok()
            && self.output.read_line(&mut line).is_ok_and(|bytes| bytes > 0)
    }
}

impl Drop for WasmtimePy {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
    }
}

/// Starts wassette as an MCP server. Returns `None` if it is not installed.
pub(crate) fn wassette(server: &Server, home: &Path) -> Option<Mcp> {
    let tool = "whereby_agent_read_0_1_0_list-rooms";
    let arguments = json!({"limit": 10, "cursor": null});
    let mut mcp = Mcp::of(command("wassette", server, home), tool, arguments)?;
    let is_result = |result: &Value| {
        let text = result["content"][0]["text"].as_str();
        text.is_some_and(|text| text.contains("\"ok\""))
    };
    for _ in 0..ATTEMPTS {
        if is_result(&mcp.result()) {
            return Some(mcp);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("wassette does not make the call")
}
