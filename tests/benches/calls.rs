//! What the sandbox costs: the same work natively and through the sandbox, side by side in one run.
//!
//! The server is a process of its own, so that its work is not counted with the client's. After
//! criterion's own figures a table puts the medians beside each other.

use criterion::{Criterion, Throughput};
use serde_json::{Value, json};
use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use whereby::lua::{Limits, Runtime as Lua};
use whereby::simulator::{Options, OrganizationSeed, RoomSeed, Seed, Simulator, Switches};
use whereby::{Account, ApiBase, Session, Settings, TokenSource};

/// Set for the process that is the server.
const SERVER: &str = "WHEREBY_BENCH_SERVER";

/// Set for a process that is the program `whereby`, whose code this one has whole.
const PROGRAM: &str = "WHEREBY_BENCH_PROGRAM";

/// How many callers there are at a time, where there is more than one.
const CALLERS: u64 = 64;

/// What is read: one page of so many rooms.
const ROOMS: u32 = 10;

/// Serves until standard input ends, which it does when the benchmark is gone.
async fn serve() {
    let mut switches = Switches::default();
    switches.set("rate-limit", "0").expect("a switch");
    let seed = Seed::Rooms(RoomSeed::many("bench-", ROOMS));
    let simulator = Simulator::start(Options {
        switches,
        record: false,
        organizations: vec![OrganizationSeed::new("bench", seed)],
        ..Options::default()
    })
    .await
    .expect("the simulator starts");
    #[expect(clippy::print_stdout, reason = "it tells the benchmark where it is")]
    {
        println!("{}\n{}", simulator.url(), simulator.token());
    }
    let end = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
    end.await.expect("standard input ends");
}

/// The server's process.
struct Server {
    child: Child,
    url: String,
    token: String,
}

impl Server {
    fn start() -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .env(SERVER, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(stdout).lines().map(|line| line.expect("a line"));
        let mut line = || lines.next().expect("the server says where it is");
        Self { url: line(), token: line(), child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its standard input ends with this.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The same request and the same mapping of its answer as `list_rooms`, without a sandbox.
#[derive(Clone)]
struct Native {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Native {
    /// A client of its own for every runtime, to which its connections belong.
    fn new(server: &Server) -> Self {
        Self {
            client: reqwest::Client::builder().no_proxy().build().expect("a client"),
            url: server.url.clone(),
            token: server.token.clone(),
        }
    }

    async fn list_rooms(&self) -> Value {
        let answer = self
            .client
            .get(format!("{}/meetings?limit={ROOMS}", self.url))
            .bearer_auth(&self.token)
            .header("accept", "application/json")
            .send()
            .await
            .expect("an answer");
        let body = answer.bytes().await.expect("a body");
        let page: Value = serde_json::from_slice(&body).expect("JSON");
        let room = |meeting: &Value| {
            json!({
                "roomName": meeting["roomName"].as_str().map(|name| name.trim_start_matches('/')),
                "meetingUrl": meeting["roomUrl"],
                "meetingId": meeting["meetingId"],
                "startDate": meeting["startDate"],
                "endDate": meeting["endDate"],
            })
        };
        let data: Vec<Value> =
            page["results"].as_array().expect("rooms").iter().map(room).collect();
        json!({"data": data, "meta": {"nextCursor": page["cursor"]}})
    }
}

async fn sandboxed(session: &Session) -> Value {
    let outcome = session.call(None, "list_rooms", json!({"limit": ROOMS})).await;
    outcome.result.expect("a page of rooms")
}

fn session(server: &Server) -> Session {
    let mut settings = Settings::default();
    let api = ApiBase::parse(&server.url).expect("the server's URL");
    let account = Account::new(TokenSource::literal(&server.token), api);
    settings.accounts.insert("default".into(), account);
    Session::builder().settings(settings).build().expect("a session")
}

/// Does `calls` calls by [`CALLERS`] callers at a time, and says how long they took.
async fn by_many<F>(calls: u64, call: impl Fn() -> F + Clone + Send + 'static) -> Duration
where
    F: Future<Output = Value> + Send,
{
    let started = Instant::now();
    let callers = (0..CALLERS).map(|caller| {
        let call = call.clone();
        let mine = calls / CALLERS + u64::from(caller < calls % CALLERS);
        tokio::spawn(async move {
            for _ in 0..mine {
                black_box(call().await);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("a caller");
    }
    started.elapsed()
}

fn benchmarks(criterion: &mut Criterion, server: &Server) {
    let (native, session) = (Native::new(server), session(server));
    let one =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    assert_eq!(
        one.block_on(native.list_rooms()),
        one.block_on(sandboxed(&session)),
        "both do the same work"
    );
    let mut group = criterion.benchmark_group("one caller");
    group.bench_function("native", |b| b.to_async(&one).iter(|| native.list_rooms()));
    group.bench_function("sandbox", |b| b.to_async(&one).iter(|| sandboxed(&session)));
    // The component refuses such a window by itself: a fresh instance, and nothing sent.
    group.bench_function("a call that sends nothing", |b| {
        b.to_async(&one).iter(|| async {
            let arguments = json!({"from_date": "2026-03-02", "to_date": "2026-03-01"});
            let outcome = session.call(None, "list_meetings", arguments).await;
            assert!(outcome.requests.is_empty() && outcome.result.is_err());
        });
    });
    group.finish();

    let many = Runtime::new().expect("a runtime");
    let (native, session) = (Native::new(server), self::session(server));
    let mut group = criterion.benchmark_group(format!("{CALLERS} callers"));
    group.throughput(Throughput::Elements(1));
    group.bench_function("native", |b| {
        b.iter_custom(|calls| {
            let native = native.clone();
            many.block_on(by_many(calls, move || {
                let native = native.clone();
                async move { native.list_rooms().await }
            }))
        });
    });
    group.bench_function("sandbox", |b| {
        b.iter_custom(|calls| {
            let session = session.clone();
            many.block_on(by_many(calls, move || {
                let session = session.clone();
                async move { sandboxed(&session).await }
            }))
        });
    });
    group.finish();
}

/// How many calls a script makes.
const SCRIPTED: usize = 1000;

/// How often both are measured, in turns, so that whatever else the machine does is in both.
const TURNS: usize = 21;

/// The same calls one after the other through the library, and by one script: the medians, and that of
/// a script that does nothing.
fn scripts(server: &Server) -> [Duration; 3] {
    let session = session(server);
    let one =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut limits = Limits::default();
    limits.calls = SCRIPTED;
    let lua = Lua::new(session.clone()).limits(limits);
    let script = format!(
        "for i = 1, {SCRIPTED} do
            assert(#app.integrations.whereby.list_rooms({{ limit = {ROOMS} }}).data == {ROOMS})
        end"
    );
    let library = async || {
        for _ in 0..SCRIPTED {
            black_box(sandboxed(&session).await);
        }
    };
    let run = async |script: &str| {
        let report = lua.run(script, "bench.lua").await;
        assert!(report.success(), "{:?}", report.error);
    };
    let mut turns = [const { Vec::new() }; 3];
    for _ in 0..TURNS {
        let mut clock = Instant::now();
        let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed();
        one.block_on(library());
        turns[0].push(lap());
        one.block_on(run(&script));
        turns[1].push(lap());
        one.block_on(run(""));
        turns[2].push(lap());
    }
    turns.map(|mut durations| {
        durations.sort();
        durations[TURNS / 2]
    })
}

#[expect(clippy::print_stdout, reason = "the table is what the benchmark is for")]
fn table_of_scripts([library, script, empty]: [Duration; 3]) {
    let ratio = script.as_secs_f64() / library.as_secs_f64();
    println!("{SCRIPTED} calls through the library          {library:>12.1?}");
    println!("{SCRIPTED} calls from one Lua script           {script:>12.1?}");
    println!("script to library                        {ratio:>12.2}   at most 1.2");
    println!("a Lua script that does nothing           {empty:>12.1?}");
}

/// `whereby call` from start to exit, with compiled code in its cache.
fn whole_process(criterion: &mut Criterion, server: &Server) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let program = std::env::current_exe().expect("this program");
    let call = || {
        let output = Command::new(&program)
            .args(["call", "list_rooms", &format!("{{\"limit\":{ROOMS}}}"), "--json"])
            .env_clear()
            .env(PROGRAM, "1")
            .env("HOME", home.path())
            .env("WHEREBY_API_URL", &server.url)
            .env("WHEREBY_ACCESS_TOKEN", &server.token)
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{output:?}");
    };
    // The first one compiles.
    call();
    criterion.bench_function("whole process", |b| b.iter(call));
}

/// The median of a benchmark that has just run, in microseconds.
fn median(path: &str) -> Option<f64> {
    // Where criterion keeps its figures: `target/criterion`, beside this program's folder.
    let program = std::env::current_exe().ok()?;
    let target = program.ancestors().find(|folder| folder.ends_with("release"))?.parent()?;
    let file = target.join("criterion").join(path).join("new/estimates.json");
    let estimates: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    Some(estimates["median"]["point_estimate"].as_f64()? / 1000.0)
}

#[expect(clippy::print_stdout, reason = "the table is what the benchmark is for")]
fn table() {
    let rows = || {
        let native = median("one caller/native")?;
        let sandbox = median("one caller/sandbox")?;
        let nothing = median("one caller/a call that sends nothing")?;
        let process = median("whole process")? / 1000.0;
        let many_native = median(&format!("{CALLERS} callers/native"))?;
        let many_sandbox = median(&format!("{CALLERS} callers/sandbox"))?;
        Some([
            ("a native read, one caller", format!("{native:.1} µs"), "-".to_owned()),
            ("the same read through the sandbox", format!("{sandbox:.1} µs"), "-".to_owned()),
            (
                "what the sandbox adds",
                format!("{:.1} µs", sandbox - native),
                "at most 60 µs".to_owned(),
            ),
            ("a call that sends nothing", format!("{nothing:.1} µs"), "-".to_owned()),
            (
                "whereby call as a whole process, warm",
                format!("{process:.1} ms"),
                "at most 12 ms".to_owned(),
            ),
            (
                "calls per second, 64 callers, native",
                format!("{:.0}", 1e6 / many_native),
                "-".to_owned(),
            ),
            (
                "calls per second, 64 callers, sandbox",
                format!("{:.0}", 1e6 / many_sandbox),
                "-".to_owned(),
            ),
            (
                "sandbox to native, 64 callers",
                format!("{:.2}", many_native / many_sandbox),
                "at least 0.6".to_owned(),
            ),
        ])
    };
    // Where only some benchmarks were asked for, there is nothing to put side by side.
    if let Some(rows) = rows() {
        println!("{:40} {:>12}   budget", "medians of this run", "measured");
        for (what, measured, budget) in rows {
            println!("{what:40} {measured:>12}   {budget}");
        }
    }
}

fn main() {
    if std::env::var_os(SERVER).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(serve());
        return;
    }
    if std::env::var_os(PROGRAM).is_some() {
        std::process::exit(whereby::cli::run_process().into());
    }
    rustls::crypto::ring::default_provider().install_default().expect("no other is installed");
    let server = Server::start();
    let mut criterion = Criterion::default().configure_from_args();
    benchmarks(&mut criterion, &server);
    whole_process(&mut criterion, &server);
    criterion.final_summary();
    table();
    table_of_scripts(scripts(&server));
}
