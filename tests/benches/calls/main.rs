//! Measures the cost of the sandbox: the same work natively and through the sandbox, in one run.
//!
//! The variants take turns, so that other load on the machine affects all of them. The report compares the
//! medians of the turns. `cargo bench -p whereby-tests -- --quick` takes a tenth of the time;
//! `-- --instructions` only counts instructions, which needs valgrind.

mod arguments;
mod instructions;
mod memory;
mod native;
mod peers;
mod program;
mod report;
mod server;

use arguments::Arguments;
use native::Native;
use peers::WasmtimePy;
use program::{Installed, Mcp, Web};
use report::{Budget, Figure};
use serde_json::{Value, json};
use server::Server;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use whereby::lua::{Limits, Runtime as Lua};
use whereby::{Account, ApiBase, Call, Session, Settings, Store, TokenSource};

/// The program's allocator, which the native client uses as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of parallel callers, if there are several.
const CALLERS: u32 = 64;

/// The number of rooms that a read lists.
const PAGE: u32 = 10;

fn settings(url: &str, server: &Server) -> Settings {
    let mut settings = Settings::default();
    let api = ApiBase::parse(url).expect("the server's URL");
    let account = Account::new(TokenSource::literal(&server.token), api);
    settings.accounts.insert("default".into(), account);
    settings
}

fn session(server: &Server) -> Session {
    session_of(server, whereby::BUILT_IN_COMPONENT.to_vec())
}

/// Returns a session with this component.
fn session_of(server: &Server, component: Vec<u8>) -> Session {
    let settings = settings(&server.url, server);
    Session::builder().settings(settings).component(component).build().expect("a session")
}

/// Returns a session that reaches the server over TLS.
fn session_over_tls(server: &Server) -> Session {
    let mut settings = settings(&server.tls_url, server);
    settings.ca_file = Some(server.certificate.clone());
    Session::builder().settings(settings).build().expect("a session")
}

async fn list_rooms(session: &Session, limit: u32) -> Value {
    let outcome = session.call(None, "list_rooms", json!({ "limit": limit })).await;
    outcome.result.expect("a page of rooms")
}

async fn list_meetings(session: &Session) -> usize {
    let outcome = session.call(None, "list_meetings", json!({ "limit": 20 })).await;
    outcome.result.expect("a page of meetings")["data"].as_array().expect("meetings").len()
}

/// Makes a call that the component refuses: a fresh instance, and no request.
async fn send_nothing(session: &Session) {
    let arguments = json!({"from_date": "2026-03-02", "to_date": "2026-03-01"});
    let outcome = session.call(None, "list_meetings", arguments).await;
    assert!(outcome.requests.is_empty() && outcome.result.is_err());
}

/// Decides on the same call without making it.
fn decide(session: &Session) {
    let arguments = json!({"from_date": "2026-03-02", "to_date": "2026-03-01"});
    black_box(session.plan(Call::new("list_meetings", arguments)).expect("a plan"));
}

/// Decides on a call of an agent, by a rule with conditions.
fn decide_by_conditions(session: &Session) {
    let arguments = json!({"room_name_prefix": "bot-"});
    let call = Call::new("create_room", arguments).agent(Some("assistant"));
    black_box(session.plan(call).expect("a plan"));
}

/// The rules that it is decided by, without those that need the state database.
const CONDITIONS: &str = "\
[agents.assistant]
valid_until = 2999-12-04T18:00:00Z
[agents.assistant.permissions.functions.create_room]
permission = \"allow\"
rooms = [\"bot-*\"]
[permissions.functions.create_room]
permission = \"allow\"
otherwise = \"ask\"
rooms = [\"demo-*\", \"bot-*\"]
room_modes = [\"normal\"]
fields = [\"hostRoomUrl\"]
max_duration = \"2d\"
valid_until = 2999-12-04T18:00:00Z
";

/// Returns a session with conditions in its rules, which stay in this folder: each call looks whether they
/// have changed.
fn session_with_conditions(server: &Server, folder: &Path) -> Session {
    let file = folder.join("config.toml");
    let account = format!(
        "[accounts.default]\naccess_token = \"{}\"\napi_url = \"{}\"\n",
        server.token, server.url
    );
    std::fs::write(&file, account + CONDITIONS).expect("a file");
    whereby_tests::set_mode(&file, 0o600);
    let settings = Settings::load(Some(&file), &whereby::Environment::empty());
    Session::builder().settings(settings.expect("settings")).build().expect("a session")
}

/// Returns a session that may write, and records it in this folder.
fn session_that_writes(server: &Server, folder: &Path) -> Session {
    let settings = settings(&server.url, server);
    let store = Store::new(folder.to_owned());
    Session::builder().settings(settings).store(store).build().expect("a session")
}

/// Creates a room and deletes it.
async fn write(session: &Session) {
    let call = |function: &str, arguments| session.run(Call::new(function, arguments).force(true));
    let created = call("create_room", json!({})).await.result.expect("a room");
    let deleted = call("delete_room", json!({"room_name": created["roomName"]})).await;
    deleted.result.expect("it is deleted");
}

/// A variant to compare, which repeats its work this many times.
type Work<'a> = (&'a str, Box<dyn FnMut(u32) + 'a>);

/// The duration of the measurement.
#[derive(Clone, Copy)]
struct Pace {
    turns: usize,
    /// The approximate duration of a turn.
    turn: Duration,
}

/// Runs all variants in turns. Returns the median of each, per repetition, in microseconds.
fn in_turns<const N: usize>(pace: Pace, mut works: [Work<'_>; N]) -> [f64; N] {
    let times = works.each_mut().map(|(what, work)| {
        eprint_progress(what);
        work(3);
        let started = Instant::now();
        work(3);
        let one = started.elapsed() / 3;
        (pace.turn.as_nanos() / one.as_nanos().max(1)).clamp(1, 100_000) as u32
    });
    let mut turns = [const { Vec::new() }; N];
    for _ in 0..pace.turns {
        for ((turns, (_, work)), times) in turns.iter_mut().zip(&mut works).zip(times) {
            let started = Instant::now();
            work(times);
            turns.push(started.elapsed().as_secs_f64() * 1e6 / f64::from(times));
        }
    }
    turns.map(|mut turns| {
        turns.sort_by(f64::total_cmp);
        turns[turns.len() / 2]
    })
}

#[expect(clippy::print_stderr, reason = "progress of a run that takes minutes")]
fn eprint_progress(what: &str) {
    eprintln!("measuring: {what}");
}

/// Makes `calls` calls with [`CALLERS`] parallel callers.
async fn by_many<F>(calls: u32, call: impl Fn() -> F + Clone + Send + 'static)
where
    F: Future<Output = Value> + Send,
{
    let callers = (0..CALLERS).map(|caller| {
        let call = call.clone();
        let mine = calls / CALLERS + u32::from(caller < calls % CALLERS);
        tokio::spawn(async move {
            for _ in 0..mine {
                black_box(call().await);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("a caller");
    }
}

fn figure(what: impl Into<String>, value: f64, unit: &'static str) -> Figure {
    Figure { what: what.into(), value, unit, budget: None }
}

impl Figure {
    fn at_most(mut self, most: f64) -> Self {
        self.budget = Some(Budget::AtMost(most));
        self
    }

    fn at_least(mut self, least: f64) -> Self {
        self.budget = Some(Budget::AtLeast(least));
        self
    }
}

/// Measures sequential calls, and the parts of a call.
fn one_caller(server: &Server, pace: Pace, figures: &mut Vec<Figure>) {
    let (native, session) = (Native::new(server), session(server));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let one = runtime.expect("a runtime");
    assert_eq!(
        one.block_on(native.list_rooms(PAGE)),
        one.block_on(list_rooms(&session, PAGE)),
        "both variants do the same work"
    );
    let repeat = |times: u32, work: &dyn Fn()| (0..times).for_each(|_| work());
    let rules = tempfile::tempdir().expect("a temporary directory");
    let conditional = session_with_conditions(server, rules.path());
    let [native_read, read, native_all, read_all, nothing, deciding, by_conditions] = in_turns(
        pace,
        [
            (
                "a native read",
                Box::new(|n| repeat(n, &|| drop(black_box(one.block_on(native.list_rooms(PAGE)))))),
            ),
            (
                "a read",
                Box::new(|n| {
                    repeat(n, &|| drop(black_box(one.block_on(list_rooms(&session, PAGE)))))
                }),
            ),
            (
                "a native read of 100 rooms",
                Box::new(|n| repeat(n, &|| drop(black_box(one.block_on(native.list_rooms(100)))))),
            ),
            (
                "a read of 100 rooms",
                Box::new(|n| {
                    repeat(n, &|| drop(black_box(one.block_on(list_rooms(&session, 100)))))
                }),
            ),
            (
                "a call that sends nothing",
                Box::new(|n| repeat(n, &|| one.block_on(send_nothing(&session)))),
            ),
            ("deciding", Box::new(|n| repeat(n, &|| decide(&session)))),
            (
                "deciding by conditions",
                Box::new(|n| repeat(n, &|| decide_by_conditions(&conditional))),
            ),
        ],
    );
    let further = f64::from(100 - PAGE);
    figures.extend([
        figure(format!("a read of {PAGE} rooms, native"), native_read, "µs"),
        figure("the same through the sandbox", read, "µs"),
        figure("what the sandbox adds", read - native_read, "µs").at_most(40.0),
        figure("deciding alone: arguments, policy, table of requests", deciding, "µs"),
        figure("the same with conditions and an agent", by_conditions, "µs").at_most(6.6),
        figure(
            "a call that sends nothing: the same, and a fresh instance that runs",
            nothing,
            "µs",
        ),
        figure("of that, the instance: made, run, and wiped", nothing - deciding, "µs")
            .at_most(13.0),
        figure("each further room of a page, native", (native_all - native_read) / further, "µs"),
        figure(
            "each further room of a page, through the sandbox",
            (read_all - read) / further,
            "µs",
        ),
    ]);

    let (native, session_tls) = (Native::over_tls(server), session_over_tls(server));
    let [native_tls, tls] = in_turns(
        pace,
        [
            (
                "a native read over TLS",
                Box::new(|n| repeat(n, &|| drop(black_box(one.block_on(native.list_rooms(PAGE)))))),
            ),
            (
                "a read over TLS",
                Box::new(|n| {
                    repeat(n, &|| drop(black_box(one.block_on(list_rooms(&session_tls, PAGE)))))
                }),
            ),
        ],
    );
    figures.extend([
        figure(format!("a read of {PAGE} rooms over TLS, native"), native_tls, "µs"),
        figure("the same through the sandbox", tls, "µs"),
    ]);

    let state = tempfile::tempdir().expect("a temporary directory");
    // The store creates the folder itself, so that it is private, as required.
    let writer = session_that_writes(server, &state.path().join("state"));
    let [writes] =
        in_turns(pace, [("writes", Box::new(|n| repeat(n, &|| one.block_on(write(&writer)))))]);
    figures.push(figure(
        "a room created and deleted: two writes that are on disk before they are sent",
        writes / 1000.0,
        "ms",
    ));

    assert_eq!(one.block_on(native.list_meetings()), one.block_on(list_meetings(&session)));
    let [native_fan, fan] = in_turns(
        pace,
        [
            (
                "native meetings",
                Box::new(|n| {
                    repeat(n, &|| {
                        black_box(one.block_on(native.list_meetings()));
                    })
                }),
            ),
            (
                "list_meetings",
                Box::new(|n| {
                    repeat(n, &|| {
                        black_box(one.block_on(list_meetings(&session)));
                    })
                }),
            ),
        ],
    );
    figures.extend([
        figure("meetings of all rooms, nine requests, native", native_fan, "µs"),
        figure("list_meetings, the same nine requests", fan, "µs"),
        figure("list_meetings to native", fan / native_fan, "times"),
    ]);
}

fn many_callers(server: &Server, pace: Pace, figures: &mut Vec<Figure>) {
    let many = Runtime::new().expect("a runtime");
    let (native, session) = (Native::new(server), session(server));
    let native = |calls: u32| {
        let native = native.clone();
        many.block_on(by_many(calls, move || {
            let native = native.clone();
            async move { native.list_rooms(PAGE).await }
        }));
    };
    let sandbox = |calls: u32| {
        let session = session.clone();
        many.block_on(by_many(calls, move || {
            let session = session.clone();
            async move { list_rooms(&session, PAGE).await }
        }));
    };
    // A repetition is a round with the same number of calls per caller, so that no caller idles at the end.
    const ROUND: u32 = CALLERS * 8;
    let [native, sandbox] = in_turns(
        pace,
        [
            ("64 native callers", Box::new(|n| native(n * ROUND))),
            ("64 callers", Box::new(|n| sandbox(n * ROUND))),
        ],
    );
    figures.extend([
        figure(
            format!("calls per second, {CALLERS} callers, native"),
            1e6 * f64::from(ROUND) / native,
            "/s",
        ),
        figure(
            format!("calls per second, {CALLERS} callers, sandbox"),
            1e6 * f64::from(ROUND) / sandbox,
            "/s",
        ),
        figure("sandbox to native", native / sandbox, "times").at_least(0.6),
    ]);
}

/// Measures the guarded component in this host, which also guards the bare one.
fn guard(server: &Server, pace: Pace, figures: &mut Vec<Figure>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let one = runtime.expect("a runtime");
    let component = one.block_on(whereby_tests::guarded(None));
    let more = component.len() - whereby::BUILT_IN_COMPONENT.len();
    let (bare, guarded) = (session(server), session_of(server, component));
    let read = |session: &Session, times: u32| {
        (0..times).for_each(|_| drop(black_box(one.block_on(list_rooms(session, PAGE)))));
    };
    let [bare, guarded] = in_turns(
        pace,
        [
            ("the bare component", Box::new(|n| read(&bare, n))),
            ("the guarded component", Box::new(|n| read(&guarded, n))),
        ],
    );
    figures.extend([
        figure("a read with the guarded component", guarded, "µs"),
        figure("what the guard adds to a read", guarded - bare, "µs").at_most(60.0),
        figure("what the guard adds to the component", more as f64 / 1024.0, "KiB").at_most(300.0),
    ]);
}

/// Measures the same calls through the library and from one script.
fn scripts(server: &Server, pace: Pace, figures: &mut Vec<Figure>) {
    let session = session(server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let one = runtime.expect("a runtime");
    let mut limits = Limits::default();
    limits.calls = 100_000;
    let lua = Lua::new(session.clone()).limits(limits);
    let script = |source: &str| {
        let report = one.block_on(lua.run(source, "bench.lua"));
        assert!(report.success(), "{:?}", report.error);
    };
    let [library, scripted, empty] = in_turns(
        pace,
        [
            (
                "the library",
                Box::new(|n| {
                    (0..n).for_each(|_| drop(black_box(one.block_on(list_rooms(&session, PAGE)))))
                }),
            ),
            (
                "a script",
                Box::new(|n| {
                    script(&format!(
                        "for i = 1, {n} do
                assert(#app.integrations.whereby.list_rooms({{ limit = {PAGE} }}).data == {PAGE})
            end"
                    ))
                }),
            ),
            ("an empty script", Box::new(|n| (0..n).for_each(|_| script("")))),
        ],
    );
    figures.extend([
        figure("a call from a Lua script", scripted, "µs"),
        figure("a call from a script to one through the library", scripted / library, "times")
            .at_most(1.2),
        figure("a script that does nothing", empty, "µs"),
    ]);
}

/// Measures other runtimes with the same component, and the sandbox beside them.
fn peers(server: &Server, pace: Pace, figures: &mut Vec<Figure>) {
    let home = tempfile::tempdir().expect("a temporary directory");
    if let Some(mut peer) = WasmtimePy::start(server, home.path()) {
        let session = session(server);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let one = runtime.expect("a runtime");
        let [theirs, ours] = in_turns(
            pace,
            [
                ("wasmtime-py", Box::new(|n| peer.call(n))),
                (
                    "the sandbox",
                    Box::new(|n| {
                        (0..n).for_each(|_| drop(one.block_on(list_rooms(&session, PAGE))))
                    }),
                ),
            ],
        );
        figures.push(figure(
            "a read in wasmtime-py, without rules, to one here",
            theirs / ours,
            "times",
        ));
    } else {
        report::complain("wasmtime-py is not measured: it is not installed");
    }
    let (home, own_home) = (
        tempfile::tempdir().expect("a temporary directory"),
        tempfile::tempdir().expect("a temporary directory"),
    );
    if let Some(mut peer) = peers::wassette(server, home.path()) {
        let mut own = Mcp::start(server, own_home.path());
        let [theirs, ours] = in_turns(
            pace,
            [
                ("wassette", Box::new(|n| (0..n).for_each(|_| peer.call()))),
                ("whereby mcp", Box::new(|n| (0..n).for_each(|_| own.call()))),
            ],
        );
        figures.push(figure(
            "tools/call of wassette over stdio to one here",
            theirs / ours,
            "times",
        ));
    } else {
        report::complain("wassette is not measured: it is not installed");
    }
}

fn program(server: &Server, pace: Pace, figures: &mut Vec<Figure>) {
    let home = tempfile::tempdir().expect("a temporary directory");
    // The first call compiles.
    program::call(server, home.path());
    let mut mcp = Mcp::start(server, home.path());
    let fresh = || {
        let home = tempfile::tempdir().expect("a temporary directory");
        program::call(server, home.path());
    };
    let installed = Installed::new(server, home.path());
    let first = || {
        let home = tempfile::tempdir().expect("a temporary directory");
        installed.call(server, home.path());
    };
    let [version, warm, cold, packaged] = in_turns(
        pace,
        [
            (
                "a process that does nothing",
                Box::new(|n| (0..n).for_each(|_| program::version(server, home.path()))),
            ),
            ("whereby call", Box::new(|n| (0..n).for_each(|_| program::call(server, home.path())))),
            ("whereby call, nothing cached", Box::new(|n| (0..n).for_each(|_| fresh()))),
            ("whereby call, installed", Box::new(|n| (0..n).for_each(|_| first()))),
        ],
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let one = runtime.expect("a runtime");
    let agents = tempfile::tempdir().expect("a temporary directory");
    let web = one.block_on(Web::start(server, agents.path()));
    let [tool, by_http] = in_turns(
        pace,
        [
            ("tools/call", Box::new(|n| (0..n).for_each(|_| mcp.call()))),
            ("tools/call over HTTP", Box::new(|n| (0..n).for_each(|_| one.block_on(web.call())))),
        ],
    );
    figures.extend([
        figure("an MCP tools/call over stdio, seen from the client", tool / 1000.0, "ms")
            .at_most(0.2),
        figure(
            "the same over HTTP, by an agent with conditions and a capability token",
            by_http / 1000.0,
            "ms",
        ),
        figure("a process that does nothing (--version)", version / 1000.0, "ms"),
        figure("whereby call as a whole process, compiled code cached", warm / 1000.0, "ms")
            .at_most(8.0),
        figure("the same where nothing is cached", cold / 1000.0, "ms"),
        figure("the same, installed from a package", packaged / 1000.0, "ms").at_most(20.0),
    ]);
    let logged = tempfile::tempdir().expect("a temporary directory");
    program::log(server, logged.path());
    let [verify] = in_turns(
        pace,
        [(
            "whereby audit verify",
            Box::new(|n| (0..n).for_each(|_| program::verify(server, logged.path()))),
        )],
    );
    let verify = figure("whereby audit verify of 10,000 calls", verify / 1000.0, "ms");
    figures.push(verify.at_most(1000.0));
}

fn sizes(figures: &mut Vec<Figure>) {
    let kib = |bytes: usize| bytes as f64 / 1024.0;
    figures.push(
        figure("the component", kib(whereby::BUILT_IN_COMPONENT.len()), "KiB").at_most(225.0),
    );
    let home = tempfile::tempdir().expect("a temporary directory");
    // The session creates the folder itself, so that it is private, as required.
    let cache = home.path().join("code");
    // The first process compiles, which takes memory that the others do not need.
    memory::of(0, &cache);
    let idle = memory::of(0, &cache);
    let mib = |kib: u64| kib as f64 / 1024.0;
    figures.push(figure("memory, idle", mib(idle.resident), "MiB").at_most(20.0));
    let [_, ten, _, thousand] = [1, 10, 100, 1000].map(|calls| {
        let memory = memory::of(calls, &cache);
        figures.push(figure(
            format!("memory for {calls} calls under way, above idle"),
            mib(memory.resident.saturating_sub(idle.resident)),
            "MiB",
        ));
        memory
    });
    let further = mib(thousand.own.saturating_sub(ten.own)) / 990.0;
    figures.push(figure("own memory for each call beyond ten", further, "MiB").at_most(0.05));
}

fn main() {
    if std::env::var_os(program::PROGRAM).is_some() {
        std::process::exit(whereby::cli::run_process().into());
    }
    rustls::crypto::ring::default_provider().install_default().expect("no other is installed");
    if std::env::var_os(server::SERVER).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(server::serve());
        return;
    }
    if let Some(calls) = std::env::var_os(memory::CALLS) {
        return memory::hold(calls.to_string_lossy().parse().expect("a number"));
    }
    if let Some(work) = std::env::var_os(instructions::WORK) {
        return instructions::repeat(&work.to_string_lossy());
    }
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            report::complain(&message);
            std::process::exit(2);
        }
    };
    let pace = if arguments.is_quick {
        Pace { turns: 5, turn: Duration::from_millis(50) }
    } else {
        Pace { turns: 31, turn: Duration::from_millis(100) }
    };
    let server = Server::start();
    let mut figures = Vec::new();
    match instructions::count(&server) {
        Some(counted) => figures.extend(counted),
        None => {
            report::complain("instructions are not counted; install valgrind");
            if arguments.counts_only {
                std::process::exit(2);
            }
        }
    }
    if !arguments.counts_only {
        one_caller(&server, pace, &mut figures);
        many_callers(&server, pace, &mut figures);
        guard(&server, pace, &mut figures);
        scripts(&server, pace, &mut figures);
        program(&server, pace, &mut figures);
        peers(&server, pace, &mut figures);
        sizes(&mut figures);
    }
    // Cargo puts it at target/PROFILE/deps/calls-….
    let program = std::env::current_exe().expect("this program");
    let target = program.ancestors().nth(3).expect("the target folder");
    report::tell(&figures, &target.join("calls.json"));
}
