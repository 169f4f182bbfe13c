//! Counts the instructions of a call in user space with callgrind. They do not depend on what else the
//! machine does.

use crate::native::Native;
use crate::report::Figure;
use crate::server::Server;
use crate::{figure, list_rooms, send_nothing};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use whereby::{Account, ApiBase, Session, Settings, TokenSource};

/// The variable with the work that the counted process repeats.
pub(crate) const WORK: &str = "WHEREBY_BENCH_COUNTED";

/// Its other variables: how often it repeats the work, its directory for compiled code, and the server.
const TIMES: &str = "WHEREBY_BENCH_TIMES";
const CODE: &str = "WHEREBY_BENCH_CODE";
const URL: &str = "WHEREBY_BENCH_URL";
const TOKEN: &str = "WHEREBY_BENCH_TOKEN";

/// The number of rooms that a read lists.
const PAGE: u32 = 5;

/// A process repeats its work this many times. The difference of two processes leaves out how they start.
const FEW: u32 = 50;
const MANY: u32 = 250;

/// Makes glibc copy memory without `rep movsb` and `rep stosb`, which callgrind counts once for each byte.
const TUNABLES: &str =
    "glibc.cpu.x86_rep_stosb_threshold=100000000:glibc.cpu.x86_rep_movsb_threshold=100000000";

/// Counts the instructions of a call, in thousands. Returns `None` without valgrind.
pub(crate) fn count(server: &Server) -> Option<Vec<Figure>> {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        return None;
    }
    let home = tempfile::tempdir().expect("a temporary directory");
    // The first process compiles for the processor that valgrind imitates.
    run(server, home.path(), "nothing", 1);
    let each = |work: &str| {
        crate::eprint_progress(&format!("instructions of {work}"));
        let (few, many) =
            (run(server, home.path(), work, FEW), run(server, home.path(), work, MANY));
        let per_call =
            |few: u64, many: u64| many.saturating_sub(few) as f64 / f64::from(MANY - FEW) / 1000.0;
        (per_call(few.all, many.all), per_call(few.component, many.component))
    };
    let (native, (read, component), nothing) = (each("native"), each("read"), each("nothing"));
    Some(vec![
        figure(format!("instructions of a read of {PAGE} rooms, native"), native.0, "k"),
        figure("the same through the sandbox", read, "k").at_most(260.0),
        figure("of these, inside the component", component, "k").at_most(57.0),
        figure("instructions of a call that sends nothing", nothing.0, "k").at_most(105.0),
    ])
}

/// The instructions of a process.
struct Instructions {
    all: u64,
    /// Those of the component's compiled code.
    component: u64,
}

/// Counts the instructions of a process that repeats its work.
fn run(server: &Server, home: &Path, work: &str, times: u32) -> Instructions {
    let profile = home.join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--callgrind-out-file={}", profile.display())])
        .arg(std::env::current_exe().expect("this program"))
        .env("GLIBC_TUNABLES", TUNABLES)
        .env(WORK, work)
        .env(TIMES, times.to_string())
        // The session creates the folder itself, so that it is private, as required.
        .env(CODE, home.join("code"))
        .env(URL, &server.url)
        .env(TOKEN, &server.token)
        .output()
        .expect("valgrind runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Instructions::read(&std::fs::read_to_string(profile).expect("a profile"))
}

impl Instructions {
    /// Reads a profile of callgrind, in which a line begins the functions of an object (`ob=(ID) NAME`, with
    /// the name the first time only), and others have the costs of instructions and of calls.
    fn read(profile: &str) -> Self {
        let (mut all, mut component) = (0, 0);
        let (mut names, mut object, mut is_call) = (HashMap::new(), "", false);
        for line in profile.lines() {
            if let Some(rest) = line.strip_prefix("ob=").or_else(|| line.strip_prefix("cob=")) {
                let (id, name) = rest.split_once(' ').unwrap_or((rest, ""));
                let known = names.entry(id).or_insert(name);
                if line.starts_with("ob=") {
                    object = *known;
                }
            } else if line.starts_with("calls=") {
                // The next line has the costs of the called function, which has lines of its own.
                is_call = true;
            } else if line
                .starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first))
                && !std::mem::take(&mut is_call)
            {
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse().ok()).unwrap_or(0);
                all += cost;
                // Compiled code belongs to no file that callgrind can name.
                component += if object == "???" { cost } else { 0 };
            }
        }
        Self { all, component }
    }
}

/// Repeats the work, as the counted process.
pub(crate) fn repeat(work: &str) {
    let variable = |name: &str| std::env::var(name).expect("a variable of the counted process");
    let (url, token) = (variable(URL), variable(TOKEN));
    let times: u32 = variable(TIMES).parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        if work == "native" {
            let native = Native::of(&url, &token);
            for _ in 0..times {
                drop(native.list_rooms(PAGE).await);
            }
            return;
        }
        let mut settings = Settings::default();
        // Valgrind has not the address space for more.
        settings.limits.concurrent_calls = 1;
        let api = ApiBase::parse(&url).expect("a URL");
        settings.accounts.insert("default".into(), Account::new(TokenSource::literal(&token), api));
        let session =
            Session::builder().settings(settings).cache(Some(PathBuf::from(variable(CODE))));
        let session = session.build().expect("a session");
        for _ in 0..times {
            match work {
                "read" => drop(list_rooms(&session, PAGE).await),
                _ => send_nothing(&session).await,
            }
        }
    });
}
