//! What calls under way take in memory: a process of its own, whose API never answers.

use serde_json::json;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use whereby::{Account, ApiBase, Session, Settings, TokenSource};

/// Set for the process that has so many calls under way.
pub(crate) const CALLS: &str = "WHEREBY_BENCH_CALLS";

/// Where that process keeps compiled code.
const CACHE: &str = "WHEREBY_BENCH_CACHE";

/// What the process has in memory, in KiB, with so many calls under way and compiled code in a folder.
pub(crate) fn of(calls: usize, cache: &Path) -> u64 {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.env(CALLS, calls.to_string()).env(CACHE, cache);
    let output = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    told.trim().parse().unwrap_or_else(|_| panic!("{output:?}"))
}

/// Has calls under way, and says on standard output what this process has in memory.
pub(crate) fn hold(calls: usize) {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1", silent.local_addr().expect("an address"));
    std::thread::spawn(move || {
        // They are kept and never answered.
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
        // What is compiled, and made once for all, is there before.
        let refused = json!({"from_date": "2026-03-02", "to_date": "2026-03-01"});
        let _ = session.call(None, "list_meetings", refused).await;
        for _ in 0..calls {
            let session = session.clone();
            tokio::spawn(async move { session.call(None, "list_rooms", json!({})).await });
        }
        // Nothing tells when all of them wait, so it is looked whether memory still grows.
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = resident();
            if now == before {
                break;
            }
            before = now;
        }
        #[expect(clippy::print_stdout, reason = "it tells the benchmark what it found")]
        {
            println!("{before}");
        }
        std::process::exit(0);
    });
}

/// What this process has in memory, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
