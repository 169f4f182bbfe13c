//! One kind of call, over and over, for profilers: `spin KIND COUNT [COMPONENT]`, against
//! `WHEREBY_API_URL` with `WHEREBY_ACCESS_TOKEN`, which `whereby simulate --rate-limit 0` prints.
//!
//! The kinds are `native` (the same read by a plain client), `read` (through the sandbox) and
//! `nothing` (a fresh instance that sends nothing).

use serde_json::{Value, json};
use std::time::Instant;
use whereby::{Account, ApiBase, Session, Settings, TokenSource};

/// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(clippy::print_stdout, reason = "the figure is what it is for")]
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().expect("a kind: native, read or nothing");
    let count: u32 = arguments.next().and_then(|count| count.parse().ok()).expect("a count");
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (url, token) = (variable("WHEREBY_API_URL"), variable("WHEREBY_ACCESS_TOKEN"));

    let mut settings = Settings::default();
    // Little address space, of which valgrind has not enough for more.
    settings.limits.concurrent_calls = 2;
    let api = ApiBase::parse(&url).expect("a URL");
    let account = Account::new(TokenSource::literal(&token), api);
    settings.accounts.insert("default".into(), account);
    let mut session = Session::builder().settings(settings);
    if let Some(component) = arguments.next() {
        session = session.component(std::fs::read(component).expect("a component"));
    }
    let session = session.build().expect("a session");
    rustls::crypto::ring::default_provider().install_default().expect("no other is installed");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");

    let call = async || match kind.as_str() {
        "native" => {
            let request = client.get(format!("{url}/meetings?limit=10")).bearer_auth(&token);
            let answer = request.send().await.expect("an answer");
            let body = answer.bytes().await.expect("a body");
            assert!(serde_json::from_slice::<Value>(&body).is_ok());
        }
        "read" => {
            let outcome = session.call(None, "list_rooms", json!({"limit": 10})).await;
            assert!(outcome.result.is_ok(), "{:?}", outcome.result);
        }
        _ => {
            let arguments = json!({"from_date": "2026-03-02", "to_date": "2026-03-01"});
            assert!(session.call(None, "list_meetings", arguments).await.requests.is_empty());
        }
    };
    call().await;
    let started = Instant::now();
    for _ in 0..count {
        call().await;
    }
    println!("{:.1} µs a call", started.elapsed().as_secs_f64() * 1e6 / f64::from(count));
}
