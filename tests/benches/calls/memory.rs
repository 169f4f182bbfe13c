//! Measures the memory of running calls, in a separate process whose API never responds.

use serde_json::json;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use whereby::{Account, ApiBase, Session, Settings, TokenSource};

/// The variable with the number of running calls, set for the measured process.
pub(crate) const CALLS: &str = "WHEREBY_BENCH_CALLS";

/// The variable with that process's directory for compiled code.
const CACHE: &str = "WHEREBY_BENCH_CACHE";

/// The memory of a process, in KiB.
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// Without pages of files. Each call maps four pages of the component's constants, which all calls share.
    pub(crate) own: u64,
}

/// Returns the memory of a process with this many running calls. Its compiled code is in a folder.
pub(crate) fn of(calls: usize, cache: &Path) -> Memory {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.env(CALLS, calls.to_string()).env(CACHE, cache);
    let output = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let figures = told.trim().split_once(' ').and_then(|(resident, own)| {
        Some(Memory { resident: resident.parse().ok()?, own: own.parse().ok()? })
    });
    figures.unwrap_or_else(|| panic!("{output:?}"))
}

/// Starts calls, and prints this process's memory to standard output.
pub(crate) fn hold(calls: usize) {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1", silent.local_addr().expect("an address"));
    std::thread::spawn(move || {
        // The connections stay open without a response.
        let _kept: Vec<_> = silent.incoming().collect();
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut settings = Settings::default();
        settings.limits.concurrent_calls = 1000;
        let api = ApiBase::parse(&url).expect("a URL");
        settings.accounts.insert("default".into(), Account::new(TokenSource::literal("key"), api));
        let cache = std::env::var_os(CACHE).map(PathBuf::from);
        let session = Session::builder().settings(settings).cache(cache).build();
        let session = session.expect("a session");
        // Compiled code and other shared state exist before.
        let refused = json!({"from_date": "2026-03-02", "to_date": "2026-03-01"});
        let _ = session.call(None, "list_meetings", refused).await;
        for _ in 0..calls {
            let session = session.clone();
            tokio::spawn(async move { session.call(None, "list_rooms", json!({})).await });
        }
        // Nothing shows when all calls are waiting, so this checks whether memory still grows.
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = kib("VmRSS:");
            if now == before {
                break;
            }
            before = now;
        }
        #[expect(clippy::print_stdout, reason = "the result for the benchmark")]
        {
            println!("{before} {}", kib("RssAnon:"));
        }
        std::process::exit(0);
    });
}

/// Returns what the system says about this process's memory.
fn kib(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
