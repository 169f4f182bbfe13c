//! The store as the session uses it, on disk.

mod approvals;
mod archive;
mod askers;
mod chain;
mod database;
mod log;
mod pages;
mod passkeys;

use super::*;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;

const MINUTE: i64 = 60 * 1000;

/// A home directory, and a clock that its stores share.
struct Home {
    directory: TempDir,
    clock: Arc<AtomicI64>,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // 2 March 2026.
        Self { directory, clock: Arc::new(AtomicI64::new(1_772_442_000_000)) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("state/whereby")
    }

    fn database(&self) -> PathBuf {
        self.path().join("state.db")
    }

    /// Returns a store that moves no rows in the background and does not wait for other processes.
    fn store(&self) -> Arc<Store> {
        self.patient_store(Duration::ZERO)
    }

    fn patient_store(&self, patience: Duration) -> Arc<Store> {
        let time = Arc::clone(&self.clock);
        let clock = Clock::new(move || {
            let ms = time.load(Ordering::SeqCst).unsigned_abs();
            std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
        });
        Store::with_options(self.path(), Options { clock, patience, in_background: false })
    }

    fn wait(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    /// Opens the database as another program would.
    fn raw(&self) -> Connection {
        Connection::open(self.database()).expect("a database")
    }

    fn spooled(&self) -> usize {
        std::fs::read_dir(self.path().join("spool")).map_or(0, Iterator::count)
    }
}

impl Store {
    /// Leaves the spool file behind, as a killed process would.
    fn die(self: Arc<Self>) {
        drop(self.shared.spool.take());
    }
}

fn digest(store: &Store, room: &str) -> Digest {
    let arguments = json!({"room_name": room});
    let subject = Subject {
        agent: None,
        token: None,
        account: "work",
        api: "https://api.whereby.dev/v1",
        key_fingerprint: b"fingerprint",
        component: "c0de",
        function: "delete_room",
        arguments: &arguments,
    };
    store.digest(&subject).expect("a digest")
}

fn asker(group: &str, client: Option<&str>) -> Asker {
    Asker { group: group.into(), client: client.map(str::to_owned) }
}

fn file(store: &Store, digest: &Digest) -> Filed {
    file_for(store, digest, &asker("program", None)).expect("filed")
}

fn file_for(store: &Store, digest: &Digest, asker: &Asker) -> Result<Filed, Error> {
    let arguments = json!({"room_name": "daily"});
    store.file_approval(&asking(digest, &arguments, asker))
}

fn asking<'a>(digest: &'a Digest, arguments: &'a Value, asker: &'a Asker) -> Asking<'a> {
    Asking {
        agent: None,
        token: None,
        asker,
        digest,
        account: "work",
        api: "https://api.whereby.dev/v1",
        function: "delete_room",
        arguments,
        rule: "the default permissions.write = \"ask\"",
        front_end: "mcp",
        client: Some("an agent"),
        key_fingerprint: b"fingerprint",
        component: "c0de",
        has_destination: false,
        passkey: false,
        call: None,
    }
}

fn pending(store: &Store, digest: &Digest) -> String {
    match file(store, digest) {
        Filed::Pending { id, .. } => id,
        denied => panic!("{denied:?}"),
    }
}

fn row(id: &str, effect: &str) -> Begin {
    Begin {
        agent: None,
        token: None,
        id: id.to_owned(),
        time: 1_772_442_000_000,
        front_end: "mcp".into(),
        client: Some("an agent".into()),
        account: Some("work".into()),
        api: Some("https://api.whereby.dev/v1".into()),
        function: Some("delete_room".into()),
        arguments: json!({"room_name": "daily"}),
        effect: Some(effect.into()),
        permission: Some("ask".into()),
        rule: Some("a rule".into()),
        approved_by: Some("approval".into()),
        approval: None,
        trace: None,
    }
}

fn outcome(id: &str, effect: &str) -> End {
    End {
        created: None,
        id: id.to_owned(),
        outcome: AuditOutcome {
            time: 1_772_442_000_250,
            success: effect == "done",
            kind: (effect != "done").then(|| "unavailable".into()),
            message: (effect != "done").then(|| "no connection".into()),
            effect: effect.into(),
            room_name: (effect == "done").then(|| "daily".into()),
            room_id: (effect == "done").then(|| "1".into()),
            requests: vec![AuditRequest {
                method: "DELETE".into(),
                path: "/meetings/1".into(),
                status: Some(204),
                duration_ms: 1.5,
            }],
            duration_ms: 2.25,
        },
        give_back: None,
        kept: None,
    }
}

/// A person who decides.
fn someone() -> Decider {
    Decider::at(Place::Terminal)
}

fn begun(
    store: &Store,
    begin: &Begin,
    claim: Option<Claim<'_>>,
    relies_on: &[Condition],
    token: Option<&TokenUse>,
) -> Result<Option<String>, BeginError> {
    let time_limit = Duration::from_secs(60);
    store.begin(
        begin,
        &BeginTerms { claim, relies_on, token, time_limit, passkey: false, approval: None },
    )
}

/// Returns the state of an approval.
fn state(store: &Store, id: &str) -> ApprovalState {
    let found = store.approval(id).expect("an answer");
    found.map_or(ApprovalState::Expired, |found| found.state)
}

fn claim(store: &Store, id: &str, digest: &Digest) -> Result<Option<String>, BeginError> {
    begun(store, &row(id, "write"), Some(Claim::Approved(digest)), &[], None)
}

fn is_refused(result: &Result<Option<String>, BeginError>) -> bool {
    matches!(result, Err(BeginError::NotApproved))
}

fn calls(store: &Store) -> Vec<AuditRow> {
    let calls = AuditFilter { decisions: Some(false), ..AuditFilter::default() };
    store.audit(&calls).expect("the log")
}

fn last_position(store: &Arc<Store>) -> i64 {
    AuditLog::Live(Arc::clone(store)).end().expect("a position").position
}

fn ids(rows: &[AuditRow]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}

fn message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let error = result.expect_err("an error");
    assert!(matches!(error, Error::Configuration { .. } | Error::Usage { .. }), "{error:?}");
    error.to_string()
}

/// Makes a call with an approval. Returns the id of the approval.
fn used(store: &Store, digest: &Digest, call: &str) -> String {
    let id = pending(store, digest);
    store.approve(&id).expect("approved");
    assert_eq!(claim(store, call, digest).expect("claimed"), Some(id.clone()));
    id
}

/// Runs a function on three threads for each store at the same time.
fn race<T: Send>(stores: &[Arc<Store>], run: impl Fn(&Store, usize) -> T + Sync) -> Vec<T> {
    let racers = stores.len() * 3;
    let barrier = Barrier::new(racers);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..racers)
            .map(|racer| {
                let (barrier, run, store) = (&barrier, &run, &stores[racer % stores.len()]);
                scope.spawn(move || {
                    barrier.wait();
                    run(store, racer)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode is set");
}

/// Returns a home whose database has a row and no write-ahead log.
fn written() -> Home {
    let home = Home::new();
    let store = home.store();
    begun(&store, &row("1", "write"), None, &[], None).expect("begun");
    drop(store);
    home.raw().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("moved");
    home
}
