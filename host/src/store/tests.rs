//! The store as the session uses it, on disk.

mod askers;

use super::*;
use serde_json::json;
use std::fs::File;
use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;
use whereby_authority::grant::WriteOutcome;

const MINUTE: i64 = 60 * 1000;

/// A home, and stores in it that share a clock of their own.
struct Home {
    directory: TempDir,
    clock: Arc<AtomicI64>,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // A date in 2026.
        Self { directory, clock: Arc::new(AtomicI64::new(1_772_442_000_000)) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("state/whereby")
    }

    fn database(&self) -> PathBuf {
        self.path().join("state.db")
    }

    /// A store that moves nothing by itself and is not patient.
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

    /// What another program sees, without any of this one's care.
    fn raw(&self) -> Connection {
        Connection::open(self.database()).expect("a database")
    }

    fn spooled(&self) -> usize {
        std::fs::read_dir(self.path().join("spool")).map_or(0, Iterator::count)
    }
}

impl Store {
    /// As if the process had ended without another word.
    fn die(self: Arc<Self>) {
        drop(self.shared.spool.take());
    }
}

fn digest(store: &Store, room: &str) -> Digest {
    let arguments = json!({"room_name": room});
    let subject = Subject {
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
    let asking = Asking {
        asker,
        digest,
        account: "work",
        api: "https://api.whereby.dev/v1",
        function: "delete_room",
        arguments: &arguments,
        rule: "the default permissions.write = \"ask\"",
        front_end: "mcp",
        client: Some("an agent"),
    };
    store.file_approval(&asking)
}

fn pending(store: &Store, digest: &Digest) -> String {
    match file(store, digest) {
        Filed::Pending { id, .. } => id,
        denied => panic!("{denied:?}"),
    }
}

fn row(id: &str, effect: &str) -> Begin {
    Begin {
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
    }
}

fn outcome(id: &str, effect: &str) -> End {
    End {
        id: id.to_owned(),
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
        give_back: None,
    }
}

fn claim(store: &Store, id: &str, digest: &Digest) -> Result<Option<String>, BeginError> {
    store.begin(&row(id, "write"), Some(Claim::Approved(digest)))
}

fn is_refused(result: &Result<Option<String>, BeginError>) -> bool {
    matches!(result, Err(BeginError::NotApproved))
}

fn calls(store: &Store) -> Vec<AuditRow> {
    store.audit(&AuditFilter::default()).expect("the log")
}

fn ids(rows: &[AuditRow]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}

fn message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let error = result.expect_err("an error");
    assert!(matches!(error, Error::Configuration { .. } | Error::Usage { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn an_approval_admits_one_call_once() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    assert!(!store.is_approved(&daily).expect("an answer"));
    assert!(is_refused(&claim(&store, "1", &daily)));
    let id = pending(&store, &daily);
    // Filed again, by another process, it is the same one.
    assert_eq!(pending(&home.store(), &daily), id);
    assert_eq!(store.standing(&id).expect("an answer"), Standing::Pending);
    assert!(is_refused(&claim(&store, "1", &daily)));

    let approved = home.store().approve(&id).expect("approved");
    assert_eq!(approved.state, ApprovalState::Approved);
    assert_eq!(approved.valid_until, Some(home.store().shared.now() + 15 * MINUTE));
    assert_eq!(store.standing(&id).expect("an answer"), Standing::Approved);
    assert!(store.is_approved(&daily).expect("an answer"));
    // Whoever files it now is told to go on.
    assert_eq!(pending(&store, &daily), id);
    let weekly = digest(&store, "weekly");
    assert!(!store.is_approved(&weekly).expect("an answer"));
    assert!(is_refused(&claim(&store, "1", &weekly)));

    assert_eq!(claim(&store, "1", &daily).expect("claimed"), Some(id.clone()));
    assert!(is_refused(&claim(&store, "2", &daily)));
    assert!(!store.is_approved(&daily).expect("an answer"));
    assert_eq!(store.standing(&id).expect("an answer"), Standing::Used);
    assert_ne!(pending(&store, &daily), id);
    // What was refused left nothing in the log.
    let rows = calls(&store);
    assert_eq!(ids(&rows), ["1"]);
    assert_eq!(rows[0].approval, Some(id.clone()));
    let used = store.approval(&id).expect("readable").expect("there");
    assert_eq!(used.state, ApprovalState::Used);
    assert_eq!(used.to_json()["used_at"], "2026-03-02T09:00:00.000Z");
}

#[test]
fn a_stored_question_is_answered_by_a_client_once() {
    let home = Home::new();
    let store = home.store();
    let (daily, weekly) = (digest(&store, "daily"), digest(&store, "weekly"));
    let id = pending(&store, &daily);
    let answered = |row_id: &str, id: &str, digest: &Digest| {
        store.begin(&row(row_id, "write"), Some(Claim::Answered { id, digest }))
    };
    // The answer to one question is none to another.
    assert!(is_refused(&answered("1", &id, &weekly)));
    assert!(is_refused(&answered("1", &new_id().expect("an id"), &daily)));
    assert!(!store.decline(&id, &weekly).expect("an answer"));
    assert_eq!(answered("1", &id, &daily).expect("claimed"), Some(id.clone()));
    assert!(is_refused(&answered("2", &id, &daily)));
    assert!(!store.decline(&id, &daily).expect("an answer"));

    let id = pending(&store, &weekly);
    assert!(store.decline(&id, &weekly).expect("an answer"));
    assert!(is_refused(&answered("2", &id, &weekly)));
    assert_eq!(store.standing(&id).expect("an answer"), Standing::Denied);
}

#[test]
fn a_denial_holds_for_an_hour() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    home.wait(59 * MINUTE);
    assert_eq!(store.deny(&id).expect("denied").state, ApprovalState::Denied);
    let until = store.shared.now() + 60 * MINUTE;
    assert_eq!(file(&store, &daily), Filed::Denied { id: id.clone(), until });
    home.wait(60 * MINUTE - 1);
    assert_eq!(file(&store, &daily), Filed::Denied { id: id.clone(), until });
    home.wait(1);
    assert_ne!(pending(&store, &daily), id);
}

#[test]
fn a_person_can_approve_what_was_denied_and_the_last_word_counts() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let denied = pending(&store, &daily);
    assert!(store.decline(&denied, &daily).expect("an answer"));
    home.wait(30 * MINUTE);
    let approved = store.approve(&denied).expect("approved");
    assert_eq!(approved.state, ApprovalState::Approved);
    assert_ne!(approved.id, denied, "the denial stays as it was");
    assert_eq!(store.standing(&denied).expect("an answer"), Standing::Denied);
    assert!(message(store.approve(&denied)).contains("was denied at"), "it is approved already");
    claim(&store, "1", &daily).expect("claimed");
    // The call was approved after it was denied, so it is asked about again.
    let again = pending(&store, &daily);
    assert!(again != denied && again != approved.id);
    store.deny(&again).expect("denied");
    let until = store.shared.now() + 60 * MINUTE;
    assert_eq!(file(&store, &daily), Filed::Denied { id: again.clone(), until });
    home.wait(60 * MINUTE);
    assert!(message(store.approve(&again)).contains("make the call again"), "its hour is over");
}

#[test]
fn an_approval_is_taken_back_until_it_is_used() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    store.approve(&id).expect("approved");
    assert_eq!(store.deny(&id).expect("denied").valid_until, None);
    assert!(!store.is_approved(&daily).expect("an answer"));
    assert!(is_refused(&claim(&store, "1", &daily)));
}

#[test]
fn time_ends_what_nobody_did() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    home.wait(60 * MINUTE - 1);
    assert_eq!(store.standing(&id).expect("an answer"), Standing::Pending);
    home.wait(1);
    assert_eq!(store.standing(&id).expect("an answer"), Standing::Gone);
    let state = |id: &str| store.approval(id).expect("readable").expect("there").state;
    assert_eq!(state(&id), ApprovalState::Expired);
    assert!(store.approvals(false).expect("a list").is_empty());
    assert!(!store.decline(&id, &daily).expect("an answer"));

    let second = pending(&store, &daily);
    assert_ne!(second, id);
    store.approve(&second).expect("approved");
    home.wait(15 * MINUTE - 1);
    assert!(store.is_approved(&daily).expect("an answer"));
    home.wait(1);
    assert!(!store.is_approved(&daily).expect("an answer"));
    assert!(is_refused(&claim(&store, "1", &daily)));
    assert_eq!(state(&second), ApprovalState::Expired);
    let third = pending(&store, &daily);
    let all = store.approvals(true).expect("a list");
    assert_eq!(all.iter().map(|a| a.id.clone()).collect::<Vec<_>>(), [id, second, third]);
}

#[test]
fn a_clock_that_was_put_back_makes_nothing_last_longer() {
    let home = Home::new();
    let store = home.store();
    let (daily, weekly) = (digest(&store, "daily"), digest(&store, "weekly"));
    let (approved, waiting) = (pending(&store, &daily), pending(&store, &weekly));
    home.wait(MINUTE);
    store.approve(&approved).expect("approved");
    // A clock is corrected by a little while it runs.
    home.wait(-2 * MINUTE);
    assert!(store.is_approved(&daily).expect("an answer"));
    home.wait(-1);
    assert!(!store.is_approved(&daily).expect("an answer"));
    assert!(is_refused(&claim(&store, "1", &daily)));
    home.wait(-5 * MINUTE);
    for id in [&approved, &waiting] {
        assert_eq!(store.standing(id).expect("an answer"), Standing::Gone);
        assert!(store.approve(id).is_err());
    }
    // What was seen to be over stays so when the clock goes on.
    home.wait(10 * MINUTE);
    assert!(!store.is_approved(&daily).expect("an answer"));
    for id in [&approved, &waiting] {
        assert_eq!(store.standing(id).expect("an answer"), Standing::Gone);
    }
}

#[test]
fn what_cannot_be_decided_on_is_told_apart() {
    let home = Home::new();
    let store = home.store();
    let unknown = new_id().expect("an id");
    assert!(message(store.approve(&unknown)).contains("there is no approval"));
    assert!(!home.path().exists(), "looking made something");
    let filed = |room: &str| {
        let digest = digest(&store, room);
        (pending(&store, &digest), digest)
    };
    let (used, digest) = filed("used");
    store.approve(&used).expect("approved");
    claim(&store, "1", &digest).expect("claimed");
    let (denied, _) = filed("denied");
    store.deny(&denied).expect("denied");
    let (over, _) = filed("over");
    let (unused, _) = filed("unused");
    store.approve(&unused).expect("approved");
    home.wait(60 * MINUTE);
    let (approved, _) = filed("approved");
    store.approve(&approved).expect("approved");
    for (id, approve, deny) in [
        (&unknown, "there is no approval", "there is no approval"),
        (&used, "was used at 2026-03-02T09:00:00.000Z", "whereby audit"),
        (
            &denied,
            "was denied at 2026-03-02T09:00:00.000Z; make the call again",
            "was denied already",
        ),
        (&over, "has expired", "has expired"),
        (&unused, "approved until 2026-03-02T09:15:00.000Z and not used", "has expired"),
        (&approved, "is approved already, until 2026-03-02T10:15:00.000Z", ""),
        (&used[..31].to_owned(), "given whole", "given whole"),
    ] {
        let text = message(store.approve(id));
        assert!(text.contains(approve), "{text}");
        assert!(text.contains(id), "{text}");
        if !deny.is_empty() {
            let text = message(store.deny(id));
            assert!(text.contains(deny), "{text}");
        }
    }
    assert!(message(store.approval("abc")).contains("given whole"));
}

/// Files calls of other arguments until no more are stored; their ids, and why.
fn fill(store: &Store, asker: &Asker, next: &mut usize) -> (Vec<String>, Error) {
    let mut filed = Vec::new();
    loop {
        *next += 1;
        match file_for(store, &digest(store, &next.to_string()), asker) {
            Ok(Filed::Pending { id, .. }) => filed.push(id),
            Ok(denied) => panic!("{denied:?}"),
            Err(error) => return (filed, error),
        }
    }
}

#[test]
fn only_so_many_calls_wait_and_each_client_has_a_share() {
    let home = Home::new();
    let store = home.store();
    let mut next = 0;
    for (group, client, count, words) in [
        ("mcp 1", Some("1"), 25, "25 of this client"),
        ("mcp 1", Some("2"), 25, "25 of this client"),
        ("mcp 1", Some("3"), 25, "25 of this client"),
        ("mcp 1", Some("4"), 25, "25 of this client"),
        // One more takes its share from those that have most, until it has as many.
        ("mcp 1", Some("5"), 20, "100 of this MCP server"),
        // Another server has a share of its own, and so has each front end without clients.
        ("mcp 2", Some("1"), 25, "25 of this client"),
        ("cli", None, 88, "approvals: 200; they expire"),
        ("lua", None, 59, "approvals: 200; they expire"),
    ] {
        let (filed, error) = fill(&store, &asker(group, client), &mut next);
        assert_eq!((filed.len(), error.kind()), (count, "denied"), "{group} {client:?}");
        assert!(error.to_string().contains(words), "{group} {client:?}: {error}");
        let hint = error.hint(WriteOutcome::None).unwrap_or_default();
        assert!(hint.contains("approvals deny --all"), "{hint}");
    }
    assert_eq!(store.approvals(false).expect("read").len(), 200);
    let denied = store.deny_all(|open| open.account == "work").expect("denied");
    assert_eq!(denied.len(), 200);
    assert!(denied.iter().all(|denied| denied.state == ApprovalState::Denied));
    assert!(store.approvals(false).expect("read").is_empty());
    assert_eq!(fill(&store, &asker("cli", None), &mut next).0.len(), 100);
}

#[test]
fn what_is_decided_on_makes_room_and_what_is_approved_never_does() {
    let home = Home::new();
    let store = home.store();
    let (mut next, own) = (0, asker("mcp", Some("1")));
    let (filed, _) = fill(&store, &own, &mut next);
    // A call that waits already is found all the same.
    let waiting = file_for(&store, &digest(&store, "1"), &own).expect("it waits");
    assert!(matches!(waiting, Filed::Pending { id, .. } if id == filed[0]));
    store.deny(&filed[0]).expect("denied");
    assert_eq!(fill(&store, &own, &mut next).0.len(), 1);
    for id in &filed[1..] {
        store.approve(id).expect("approved");
    }
    for client in 2..5 {
        fill(&store, &asker("mcp", Some(&client.to_string())), &mut next);
    }
    fill(&store, &asker("mcp", Some("late")), &mut next);
    for id in &filed[1..] {
        let approved = store.approval(id).expect("read").expect("there");
        assert_eq!(approved.state, ApprovalState::Approved);
    }
}

#[test]
fn denying_all_takes_back_what_is_approved_and_leaves_what_the_filter_leaves() {
    let home = Home::new();
    let store = home.store();
    assert!(store.deny_all(|_| true).expect("nothing").is_empty());
    let (daily, weekly) = (digest(&store, "daily"), digest(&store, "weekly"));
    let approved = pending(&store, &daily);
    store.approve(&approved).expect("approved");
    let left = pending(&store, &weekly);
    let denied = store.deny_all(|open| open.id != left).expect("denied");
    assert_eq!(denied.iter().map(|denied| &denied.id).collect::<Vec<_>>(), [&approved]);
    assert!(claim(&store, "call", &daily).is_err());
    assert_eq!(pending(&store, &weekly), left);
}

/// A call that used an approval, and the approval.
fn used(store: &Store, digest: &Digest, call: &str) -> String {
    let id = pending(store, digest);
    store.approve(&id).expect("approved");
    assert_eq!(claim(store, call, digest).expect("claimed"), Some(id.clone()));
    id
}

#[test]
fn an_approval_is_given_back_by_the_call_that_used_it_and_did_nothing() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = used(&store, &daily, "1");
    // It is there at once for whoever looks, though nobody has moved the row yet.
    let given_back = |call: &str, effect: &str| {
        let end = End { give_back: Some(id.clone()), ..outcome(call, effect) };
        store.record(None, Some(&end), true).expect("recorded");
        store.is_approved(&daily).expect("an answer")
    };
    // Not by a call that did not use it.
    store.begin(&row("2", "write"), None).expect("begun");
    assert!(!given_back("2", "none"));
    home.wait(10 * MINUTE);
    assert!(given_back("1", "none"));
    // It is valid for as long as it was.
    home.wait(5 * MINUTE - 1);
    assert_eq!(claim(&store, "3", &daily).expect("claimed"), Some(id.clone()));
    // Not twice by one call, nor by one of which it is not known what it did.
    assert!(!given_back("1", "none"));
    assert!(!given_back("3", "unknown"));
    assert_eq!(store.standing(&id).expect("an answer"), Standing::Used);
    // Nor when it is over, or somebody was asked anew.
    let weekly = digest(&store, "weekly");
    let id = used(&store, &weekly, "4");
    let again = pending(&store, &weekly);
    let end = End { give_back: Some(id.clone()), ..outcome("4", "none") };
    store.record(None, Some(&end), true).expect("recorded");
    store.flush().expect("moved");
    assert_eq!(store.standing(&id).expect("an answer"), Standing::Used);
    assert_eq!(store.standing(&again).expect("an answer"), Standing::Pending);
}

#[test]
fn rows_are_joined_whatever_comes_first() {
    let home = Home::new();
    let store = home.store();
    store.record(Some(&row("read", "read")), None, false).expect("recorded");
    store.begin(&row("write", "write"), None).expect("begun");
    store
        .record(Some(&row("refused", "write")), Some(&outcome("refused", "none")), false)
        .expect("");
    assert_eq!(ids(&calls(&store)), ["write", "read", "refused"]);
    assert_eq!(home.spooled(), 0);
    let rows = calls(&store);
    let unfinished: Vec<bool> = rows.iter().map(AuditRow::is_unfinished_write).collect();
    assert_eq!(unfinished, [true, false, false]);
    assert_eq!(rows[1].outcome, None);
    store.record(None, Some(&outcome("read", "none")), false).expect("recorded");
    store.record(None, Some(&outcome("write", "done")), true).expect("recorded");
    // The end of a call whose beginning is not there yet.
    store.record(None, Some(&outcome("late", "done")), false).expect("recorded");
    assert_eq!(calls(&store).len(), 3);
    store.record(Some(&row("late", "write")), None, false).expect("recorded");
    let rows = calls(&store);
    assert_eq!(ids(&rows), ["write", "read", "refused", "late"]);
    assert!(rows.iter().all(|row| row.outcome.is_some()), "{rows:?}");
    assert_eq!(
        rows[0].to_json(),
        json!({
            "id": "write",
            "time": "2026-03-02T09:00:00.000Z",
            "front_end": "mcp",
            "client": "an agent",
            "account": "work",
            "api_url": "https://api.whereby.dev/v1",
            "function": "delete_room",
            "arguments": {"room_name": "daily"},
            "effect": "write",
            "permission": "ask",
            "rule": "a rule",
            "approved_by": "approval",
            "approval_id": null,
            "outcome": {
                "success": true,
                "kind": null,
                "message": null,
                "effect": "done",
                "room_name": "daily",
                "room_id": "1",
                "requests": [
                    {"method": "DELETE", "path": "/meetings/1", "status": 204, "duration_ms": 1.5},
                ],
                "duration_ms": 2.25,
            },
        })
    );
}

#[test]
fn the_log_is_filtered_and_followed() {
    let home = Home::new();
    let store = home.store();
    for (index, account) in ["work", "other", "work", "work"].into_iter().enumerate() {
        let mut begin = row(&index.to_string(), "write");
        begin.time += index as i64 * 1000;
        begin.account = Some(account.into());
        begin.function = Some(if index == 3 { "create_room" } else { "delete_room" }.into());
        store.begin(&begin, None).expect("begun");
    }
    let first = row("", "").time;
    let filter = AuditFilter::default();
    for (filter, expected) in [
        (filter.clone(), &["0", "1", "2", "3"][..]),
        (AuditFilter { since: Some(first + 1000), ..filter.clone() }, &["1", "2", "3"]),
        (AuditFilter { account: Some("work".into()), ..filter.clone() }, &["0", "2", "3"]),
        (AuditFilter { function: Some("create_room".into()), ..filter.clone() }, &["3"]),
        (AuditFilter { limit: Some(2), ..filter.clone() }, &["2", "3"]),
        (
            AuditFilter {
                since: Some(first + 500),
                account: Some("work".into()),
                function: Some("delete_room".into()),
                limit: Some(9),
                after_seq: Some(1),
            },
            &["2"],
        ),
        (AuditFilter { account: Some("' OR 1".into()), ..filter.clone() }, &[]),
    ] {
        let rows = store.audit(&filter).expect("the log");
        assert_eq!(ids(&rows), expected, "{filter:?}");
    }
    let last = calls(&store).iter().map(|row| row.seq).max().expect("rows");
    assert_eq!(store.log_end().expect("a position"), last);
    let after = |seq: i64| {
        store.audit(&AuditFilter { after_seq: Some(seq), ..filter.clone() }).expect("the log")
    };
    assert_eq!(after(last), []);
    // A call that ends is seen again.
    store.record(None, Some(&outcome("1", "done")), false).expect("recorded");
    let rows = after(last);
    assert_eq!(ids(&rows), ["1"]);
    assert_eq!(after(rows[0].seq), []);
}

#[test]
fn what_a_dead_process_left_behind_is_moved_once() {
    let home = Home::new();
    let dead = home.store();
    dead.record(Some(&row("1", "read")), None, false).expect("recorded");
    dead.record(None, Some(&outcome("1", "none")), false).expect("recorded");
    dead.record(Some(&row("2", "read")), None, false).expect("recorded");
    let folder = home.path().join("spool");
    let path = || {
        let mut entries = std::fs::read_dir(&folder).expect("a folder");
        entries.next().expect("a file").expect("an entry").path()
    };
    // It was in the middle of a line.
    let mut file = File::options().append(true).open(path()).expect("a file");
    std::io::Write::write_all(&mut file, b"{\"begin\":{\"id\":\"3\"").expect("written");
    let store = home.store();
    // While it lives, its rows are read and left to it.
    store.flush().expect("moved");
    assert_eq!(store.log_end().expect("a position"), 0);
    assert_eq!(ids(&calls(&store)), ["1", "2"]);
    assert_eq!(home.spooled(), 1);
    let copy = std::fs::read(path()).expect("a file");
    dead.die();
    assert_eq!(home.spooled(), 1);
    assert_eq!(ids(&calls(&store)), ["1", "2"]);
    assert_eq!(home.spooled(), 0);
    // As if it had been moved and not deleted.
    let before = calls(&store);
    std::fs::write(folder.join("again.jsonl"), copy).expect("written");
    assert_eq!(calls(&home.store()), before);
    assert_eq!(home.spooled(), 0);
    // What is not a spool file is left alone.
    std::fs::write(folder.join("note.txt"), "").expect("written");
    store.flush().expect("moved");
    assert_eq!(home.spooled(), 1);
}

#[test]
fn many_who_look_for_what_was_left_behind_move_it_once() {
    let home = Home::new();
    for index in 0..20 {
        let dead = home.store();
        dead.record(Some(&row(&index.to_string(), "read")), None, false).expect("recorded");
        dead.die();
    }
    let barrier = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = home.patient_store(PATIENCE);
                barrier.wait();
                store.flush().expect("moved");
            });
        }
    });
    assert_eq!(calls(&home.store()).len(), 20);
    assert_eq!(home.spooled(), 0);
}

#[test]
fn what_cannot_be_moved_is_kept_and_moved_later() {
    let home = Home::new();
    let store = home.store();
    std::fs::create_dir_all(home.database()).expect("a directory in the way");
    set_mode(&home.path(), 0o700);
    for index in 0..3 {
        let id = index.to_string();
        store.record(Some(&row(&id, "read")), None, false).expect("recorded");
        assert!(message(store.flush()).contains("is a directory"));
        assert!(store.audit(&AuditFilter::default()).is_err());
    }
    // The first is what could not be moved, and the others gather.
    assert_eq!(home.spooled(), 2);
    std::fs::remove_dir(home.database()).expect("out of the way");
    assert_eq!(ids(&calls(&store)), ["0", "1", "2"]);
    assert_eq!(home.spooled(), 0);
    store.record(Some(&row("3", "read")), None, false).expect("recorded");
    assert_eq!(calls(&store).len(), 4);
}

#[test]
fn a_store_that_is_dropped_moves_its_rows() {
    let home = Home::new();
    let store = home.store();
    store.record(Some(&row("1", "read")), None, false).expect("recorded");
    drop(store);
    assert_eq!(home.spooled(), 0);
    assert_eq!(home.store().audit_as_it_is(&AuditFilter::default()).expect("the log").len(), 1);
    // Nothing was to be moved, and nothing was made.
    let other = Home::new();
    let store = other.store();
    store.flush().expect("nothing to move");
    assert_eq!(calls(&store), []);
    assert_eq!(store.approvals(true).expect("a list"), []);
    drop(store);
    assert!(!other.path().exists());
}

#[test]
fn rows_are_moved_in_the_background() {
    let home = Home::new();
    let store = Store::new(home.path());
    let reader = home.patient_store(PATIENCE);
    for round in 1..=2 {
        store.record(Some(&row(&round.to_string(), "read")), None, false).expect("recorded");
        while reader.audit_as_it_is(&AuditFilter::default()).expect("the log").len() < round {
            std::thread::yield_now();
        }
    }
    assert!(format!("{store:?}").contains("directory"));
}

#[test]
fn one_of_many_uses_an_approval() {
    let home = Home::new();
    let stores: Vec<Arc<Store>> = (0..4).map(|_| home.patient_store(PATIENCE)).collect();
    for round in 0..10 {
        let daily = digest(&stores[0], "daily");
        let filed = race(&stores, |store, _| pending(store, &daily));
        assert!(filed.iter().all(|id| *id == filed[0]), "{filed:?}");
        let is_answered = round % 2 == 1;
        if !is_answered {
            stores[1].approve(&filed[0]).expect("approved");
        }
        let used = race(&stores, |store, racer| {
            let claim = match is_answered {
                true => Claim::Answered { id: &filed[0], digest: &daily },
                false => Claim::Approved(&daily),
            };
            match store.begin(&row(&format!("{round}-{racer}"), "write"), Some(claim)) {
                Ok(id) => Some(id.expect("an id")),
                Err(BeginError::NotApproved) => None,
                Err(BeginError::Store(error)) => panic!("{error}"),
            }
        });
        let winners: Vec<String> = used.into_iter().flatten().collect();
        assert_eq!(winners, [filed[0].clone()]);
        assert_eq!(calls(&stores[0]).len(), round + 1);
    }
}

/// Lets three threads for each store do the same at once.
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

#[test]
fn many_make_the_database_at_once() {
    for _ in 0..10 {
        let home = Home::new();
        let stores: Vec<Arc<Store>> = (0..8).map(|_| home.patient_store(PATIENCE)).collect();
        let digests = race(&stores, |store, racer| {
            store.record(Some(&row(&racer.to_string(), "read")), None, false).expect("recorded");
            let digest = digest(store, "daily");
            store.flush().expect("moved");
            digest
        });
        // There is one key.
        assert!(digests.iter().all(|digest| *digest == digests[0]));
        assert_eq!(calls(&stores[0]).len(), 24);
    }
}

#[test]
fn the_schema_lets_nobody_rewrite_what_was() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let first = used(&store, &daily, "1");
    store.record(None, Some(&outcome("1", "done")), false).expect("recorded");
    let second = pending(&store, &daily);
    let before = calls(&store);
    let raw = home.raw();
    for sql in [
        "UPDATE calls SET account = 'other'",
        "DELETE FROM calls",
        "REPLACE INTO calls SELECT * FROM calls",
        "REPLACE INTO calls (seq, id, time, front_end, arguments) VALUES (1, 'x', 0, '', '{}')",
        "UPDATE outcomes SET effect = 'none'",
        "DELETE FROM outcomes",
        "REPLACE INTO outcomes SELECT * FROM outcomes",
        "REPLACE INTO outcomes VALUES (2, 'x', 0, 1, NULL, NULL, 'none', '[]', 0, NULL, NULL)",
        "INSERT INTO outcomes VALUES (99, 'x', 0, 1, NULL, NULL, 'perhaps', '[]', 0, NULL, NULL)",
        "INSERT INTO archives VALUES (1, 0, 0)",
        "REPLACE INTO archives VALUES (1, 0, 0)",
        "DELETE FROM approvals",
        "DELETE FROM approvals WHERE state = 'pending'",
        "REPLACE INTO approvals SELECT * FROM approvals",
        "UPDATE approvals SET state = 'used', used_at = 0 WHERE state = 'used'",
        "UPDATE approvals SET state = 'pending', used_at = NULL",
        "UPDATE approvals SET state = 'approved' WHERE state = 'pending'",
        "UPDATE approvals SET state = 'approved', decided_at = created_at,
            valid_until = created_at + 900001 WHERE state = 'pending'",
        "UPDATE approvals SET expires_at = expires_at + 1",
        "UPDATE approvals SET arguments = '{}'",
        "UPDATE approvals SET digest = randomblob(32)",
        "UPDATE approvals SET state = 'approved', used_at = NULL, valid_until = valid_until + 1
            WHERE state = 'used'",
        "INSERT INTO approvals SELECT 99, hex(randomblob(16)), digest, state, account, api, function,
            arguments, rule, front_end, client, created_at, expires_at, decided_at, valid_until,
            used_at FROM approvals WHERE state = 'pending'",
        "INSERT INTO approvals SELECT 99, hex(randomblob(16)), randomblob(32), 'approved', account,
            api, function, arguments, rule, front_end, client, created_at, expires_at, created_at,
            created_at, NULL FROM approvals WHERE state = 'pending'",
        "UPDATE installation SET hmac_key = randomblob(32)",
        "DELETE FROM installation",
        "REPLACE INTO installation VALUES (1, randomblob(32))",
    ] {
        // What is there already may also be left out without a word.
        let changed = raw.execute(sql, []).unwrap_or_default();
        assert_eq!(changed, 0, "{sql}");
    }
    assert_eq!(calls(&store), before);
    assert_eq!(digest(&store, "daily"), daily);
    let states: Vec<(String, &str)> = store
        .approvals(true)
        .expect("a list")
        .into_iter()
        .map(|approval| (approval.id, approval.state.as_str()))
        .collect();
    assert_eq!(states, [(first, "used"), (second, "pending")]);
}

#[test]
fn what_is_asked_often_needs_no_look_at_every_row() {
    let home = Home::new();
    let store = home.store();
    digest(&store, "daily");
    let raw = home.raw();
    for sql in [
        "SELECT 1 FROM approvals WHERE digest = ?2 AND state = 'approved' AND created_at <= ?1",
        "SELECT id FROM approvals WHERE digest = ?1 AND state IN ('pending', 'approved')",
        "SELECT count(*) FROM approvals WHERE state IN ('pending', 'approved')",
        "UPDATE approvals SET state = 'expired' WHERE state IN ('pending', 'approved') AND ?1 < 5",
        "UPDATE approvals SET state = 'used' WHERE digest = ?2 AND state = 'approved'",
        "SELECT id FROM approvals WHERE digest = ?1 AND state = 'denied' AND decided_at <= 5",
    ] {
        let mut statement = raw.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("SQL");
        for index in 1..=statement.parameter_count() {
            statement.raw_bind_parameter(index, 0).expect("bound");
        }
        let plan: Vec<String> =
            statement.raw_query().mapped(|row| row.get(3)).map(|row| row.expect("a row")).collect();
        assert!(plan.iter().any(|line| line.contains("INDEX approvals_")), "{sql}: {plan:?}");
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode is set");
}

/// A home with a database that has a row, none of it in a write-ahead log.
fn written() -> Home {
    let home = Home::new();
    let store = home.store();
    store.begin(&row("1", "write"), None).expect("begun");
    drop(store);
    home.raw().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("moved");
    home
}

fn damage(home: &Home, from: usize, with: &[u8]) {
    let mut bytes = std::fs::read(home.database()).expect("a database");
    let end = (from + with.len()).min(bytes.len());
    bytes[from..end].copy_from_slice(&with[..end - from]);
    std::fs::write(home.database(), bytes).expect("written");
}

#[test]
fn each_thing_that_may_be_wrong_with_the_database_is_told() {
    type Spoil = fn(&Home);
    let cases: [(&str, Spoil); 12] = [
        ("was made by a newer version", |home| {
            home.raw().pragma_update(None, "user_version", 99).expect("set");
        }),
        ("is another program's", |home| {
            home.raw().pragma_update(None, "application_id", 5).expect("set");
        }),
        ("is damaged", |home| damage(home, 100, &[0xa5; 3000])),
        ("is not a database", |home| damage(home, 0, b"something else")),
        ("is not a database", |home| std::fs::write(home.database(), "a note").expect("written")),
        ("is a directory", |home| {
            std::fs::remove_file(home.database()).expect("removed");
            std::fs::create_dir(home.database()).expect("made");
        }),
        ("is not a file", |home| {
            std::fs::remove_file(home.database()).expect("removed");
            std::os::unix::net::UnixListener::bind(home.database()).expect("a socket");
        }),
        ("is read-only; run: chmod 600", |home| set_mode(&home.database(), 0o400)),
        ("can be read or changed by others; run: chmod 600", |home| {
            set_mode(&home.database(), 0o640);
        }),
        ("is read-only; run: chmod 700", |home| set_mode(&home.path(), 0o500)),
        ("can be read or changed by others; run: chmod 700", |home| set_mode(&home.path(), 0o755)),
        ("is not a directory", |home| {
            std::fs::remove_dir_all(home.path()).expect("removed");
            std::fs::write(home.path(), "").expect("written");
        }),
    ];
    for (words, spoil) in cases {
        let home = written();
        spoil(&home);
        let store = home.store();
        let shown = home.path().display().to_string();
        let begun = store.begin(&row("2", "write"), None);
        let Err(BeginError::Store(error)) = begun else { panic!("{words}: {begun:?}") };
        for text in [error.to_string(), message(store.check())] {
            assert!(text.contains(words), "`{words}` is not in: {text}");
            assert!(text.contains(&shown), "{text}");
            assert!(!text.ends_with('.') && text.starts_with("the state d"), "{text}");
        }
        set_mode(&home.path(), 0o700);
    }
}

#[test]
fn a_directory_that_cannot_be_written_takes_no_row() {
    let home = written();
    let store = home.store();
    set_mode(&home.path(), 0o500);
    let text = message(store.record(Some(&row("2", "read")), None, false));
    assert!(text.contains("is read-only"), "{text}");
    assert!(matches!(store.begin(&row("2", "write"), None), Err(BeginError::Store(_))));
    set_mode(&home.path(), 0o700);
    // It can be used as soon as that is mended.
    store.record(Some(&row("2", "read")), None, false).expect("recorded");
    store.begin(&row("3", "write"), None).expect("begun");
    assert_eq!(calls(&store).len(), 3);
    // Somebody else's is refused as well, where that can be tried.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(home.path(), Some(12345), None).expect("given away");
        let text = message(home.store().check());
        assert!(text.contains("belongs to the user 12345"), "{text}");
    }
}

#[test]
fn a_database_that_is_busy_or_full_refuses_the_write() {
    let home = written();
    let store = home.store();
    let raw = home.raw();
    raw.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let busy = store.begin(&row("2", "write"), None);
    let Err(BeginError::Store(error)) = busy else { panic!("{busy:?}") };
    assert!(error.to_string().contains("is in use by another process"), "{error}");
    // Reading goes on, and what was recorded waits.
    store.record(Some(&row("3", "read")), None, false).expect("recorded");
    assert!(message(store.flush()).contains("is in use by another process"));
    assert_eq!(store.audit_as_it_is(&AuditFilter::default()).expect("the log").len(), 1);
    raw.execute_batch("ROLLBACK").expect("unlocked");
    assert_eq!(calls(&store).len(), 2);

    let limited = store.shared.with(|opened| {
        let connection = &opened.database.connection;
        Ok(connection.pragma_update_and_check(None, "max_page_count", 1, |_| Ok(())))
    });
    limited.expect("open").expect("limited");
    let mut begun = 0;
    let error = loop {
        match store.begin(&row(&format!("{begun} more"), "write"), None) {
            Ok(_) => begun += 1,
            Err(BeginError::Store(error)) => break error,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert_eq!(calls(&store).len(), 2 + begun);
}

#[test]
fn a_database_that_was_taken_away_is_made_anew() {
    let home = written();
    let store = home.store();
    let before = digest(&store, "daily");
    assert_eq!(calls(&store).len(), 1);
    store.record(Some(&row("2", "read")), None, false).expect("recorded");
    store.flush().expect("moved");
    std::fs::remove_dir_all(home.path()).expect("removed");
    store.begin(&row("3", "write"), None).expect("begun");
    store.record(Some(&row("4", "read")), None, false).expect("recorded");
    assert_eq!(ids(&calls(&store)), ["3", "4"]);
    assert_ne!(digest(&store, "daily"), before, "another installation has another key");
    assert_eq!(calls(&home.store()).len(), 2);
}

#[test]
fn a_database_without_the_write_ahead_log_gets_it_back() {
    let home = written();
    let raw = home.raw();
    let mode: String = raw
        .pragma_update_and_check(None, "journal_mode", "delete", |row| row.get(0))
        .expect("switched");
    assert_eq!(mode, "delete");
    drop(raw);
    assert_eq!(calls(&home.store()).len(), 1);
    let mode: String =
        home.raw().pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("a mode");
    assert_eq!(mode, "wal");
}

#[test]
fn every_file_is_the_user_s_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let store = home.store();
    store.begin(&row("1", "write"), None).expect("begun");
    store.record(Some(&row("2", "read")), None, false).expect("recorded");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(home.path()).expect("a directory") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("a file").permissions().mode() & 0o777;
        let expected = if entry.path().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{entry:?}");
        names.push(entry.file_name().into_string().expect("UTF-8"));
    }
    names.sort();
    assert_eq!(names, ["spool", "state.db", "state.db-shm", "state.db-wal"]);
}

#[test]
fn the_last_to_close_leaves_everything_in_one_file() {
    let home = Home::new();
    let names = || {
        let entries = std::fs::read_dir(home.path()).expect("a directory");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    let (first, second) = (home.store(), home.store());
    let daily = digest(&first, "daily");
    let id = used(&first, &daily, "1");
    second.record(Some(&row("2", "read")), Some(&outcome("2", "none")), false).expect("recorded");
    second.flush().expect("moved");
    drop(first);
    assert!(names().contains(&"state.db-wal".into()), "somebody still has it open");
    drop(second);
    assert_eq!(names(), ["spool", "state.db"]);
    // A copy of it, or the file by another name, has everything.
    let other = Home::new();
    std::fs::create_dir_all(other.path()).expect("a directory");
    set_mode(&other.path(), 0o700);
    std::fs::rename(home.database(), other.database()).expect("moved");
    assert_eq!(ids(&calls(&other.store())), ["1", "2"]);
    assert_eq!(digest(&other.store(), "daily"), daily);
    assert!(other.store().approval(&id).expect("readable").is_some());
    assert_eq!(calls(&home.store()), []);
}

#[test]
fn a_database_that_is_moved_while_it_is_open_takes_its_rows_along() {
    let home = Home::new();
    let store = home.store();
    store.begin(&row("1", "write"), None).expect("begun");
    let kept = home.directory.path().join("kept.db");
    std::fs::rename(home.database(), &kept).expect("moved");
    store.begin(&row("2", "write"), None).expect("begun");
    let kept = Connection::open(kept).expect("a database");
    let id: String = kept.query_row("SELECT id FROM calls", [], |row| row.get(0)).expect("a row");
    assert_eq!(id, "1");
    assert_eq!(ids(&calls(&store)), ["2"]);
}

#[test]
fn old_approvals_are_deleted_and_open_ones_never() {
    const DAY: i64 = 24 * 60 * MINUTE;
    let home = Home::new();
    let store = home.store();
    let denied = pending(&store, &digest(&store, "denied"));
    store.deny(&denied).expect("denied");
    let over = pending(&store, &digest(&store, "over"));
    let used = used(&store, &digest(&store, "used"), "1");
    let all = || -> Vec<String> {
        store.approvals(true).expect("a list").into_iter().map(|approval| approval.id).collect()
    };
    home.wait(30 * DAY);
    let late = pending(&store, &digest(&store, "late"));
    assert_eq!(all(), [denied, over, used, late.clone()]);
    // Whatever is done first then.
    home.wait(DAY);
    store.record(Some(&row("2", "read")), None, false).expect("recorded");
    store.flush().expect("moved");
    assert_eq!(all(), [late.as_str()]);
    home.wait(400 * DAY);
    let next = pending(&store, &digest(&store, "late"));
    assert_eq!(all(), [next.as_str()]);
    store.approve(&next).expect("approved");
    // A clock that is put back deletes nothing, and nothing is in the way of a new one.
    home.wait(-31 * DAY);
    let back = pending(&store, &digest(&store, "late"));
    assert_eq!(all(), [next, back.clone()]);
    store.approve(&back).expect("approved");
    assert_eq!(ids(&calls(&store)), ["1", "2"]);
}

#[test]
fn a_client_answers_what_a_person_has_approved_meanwhile() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    home.wait(MINUTE);
    let until = store.approve(&id).expect("approved").valid_until;
    home.wait(MINUTE);
    let claim = Claim::Answered { id: &id, digest: &daily };
    let begun = store.begin(&row("1", "write"), Some(claim)).expect("claimed");
    assert_eq!(begun, Some(id.clone()));
    let used = store.approval(&id).expect("readable").expect("there");
    assert_eq!((used.state, used.valid_until), (ApprovalState::Used, until));
}

#[test]
fn a_clock_that_ran_ahead_is_told_and_nothing_has_expired_in_the_future() {
    let home = Home::new();
    let store = home.store();
    let waiting = pending(&store, &digest(&store, "waiting"));
    let approved = pending(&store, &digest(&store, "approved"));
    store.approve(&approved).expect("approved");
    let denied = pending(&store, &digest(&store, "denied"));
    store.deny(&denied).expect("denied");
    // Also after it was seen to be over, and the clock goes on.
    for ms in [-20 * MINUTE, 21 * MINUTE] {
        home.wait(ms);
        for id in [&waiting, &approved] {
            for text in [message(store.approve(id)), message(store.deny(id))] {
                assert!(text.contains("clock was set back"), "{text}");
                assert!(!text.contains("expired"), "{text}");
            }
        }
    }
    home.wait(-20 * MINUTE);
    let text = message(store.approve(&denied));
    assert!(text.contains("make the call again"), "{text}");
    assert_ne!(pending(&store, &digest(&store, "denied")), denied);
    home.wait(2 * 60 * MINUTE);
    assert!(message(store.approve(&waiting)).contains("has expired, at "));
    assert!(message(store.approve(&approved)).contains("was approved until "));
    assert!(message(store.approve(&denied)).contains("was denied at "));
}

/// The archive as a state database of its own.
fn opened_archive(file: &Path) -> (Home, Vec<AuditRow>) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(file).expect("an archive").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let home = Home::new();
    std::fs::create_dir_all(home.path()).expect("a directory");
    set_mode(&home.path(), 0o700);
    std::fs::copy(file, home.database()).expect("copied");
    let rows = calls(&home.store());
    (home, rows)
}

#[test]
fn an_archive_has_every_call_and_the_log_begins_anew() {
    const DAY: i64 = 24 * 60 * MINUTE;
    let home = Home::new();
    let file = home.directory.path().join("archive.db");
    let store = home.store();
    store.begin(&row("killed", "write"), None).expect("begun");
    home.wait(2 * DAY);
    let now = |id: &str, effect: &str| Begin { time: store.shared.now(), ..row(id, effect) };
    store.begin(&now("written", "write"), None).expect("begun");
    store.record(None, Some(&outcome("written", "done")), true).expect("recorded");
    store.begin(&now("under way", "write"), None).expect("begun");
    // In a file that another process still has, in one that a dead one has left, and in one's own.
    let other = home.store();
    other.record(Some(&now("read", "read")), Some(&outcome("read", "none")), false).expect("");
    other.record(Some(&now("reading", "read")), None, false).expect("recorded");
    let dead = home.store();
    dead.record(Some(&now("left", "read")), Some(&outcome("left", "none")), false).expect("");
    dead.die();
    store.record(Some(&now("own", "read")), Some(&outcome("own", "none")), false).expect("");
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    let end = store.log_end().expect("a position");

    assert_eq!(store.archive(&file).expect("archived"), 7);
    let (archived, rows) = opened_archive(&file);
    let mut found = ids(&rows);
    found.sort_unstable();
    assert_eq!(found, ["killed", "left", "own", "read", "reading", "under way", "written"]);
    assert_ne!(digest(&archived.store(), "daily"), daily, "the key stays where it is");
    assert_eq!(archived.store().approvals(true).expect("a list"), []);
    assert_eq!(
        archived
            .raw()
            .query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0))
            .expect("a mode"),
        "wal"
    );

    // What is under way ends in the new log, and nothing comes into it again.
    assert_eq!(ids(&calls(&store)), ["under way", "reading"]);
    assert!(store.log_end().expect("a position") > end);
    other.record(None, Some(&outcome("reading", "none")), false).expect("recorded");
    drop(other);
    store.record(None, Some(&outcome("under way", "done")), true).expect("recorded");
    let after = store.audit(&AuditFilter { after_seq: Some(end), ..AuditFilter::default() });
    let after = after.expect("the log");
    assert_eq!(ids(&after), ["under way", "reading"]);
    assert!(after.iter().all(|row| row.outcome.is_some()), "{after:?}");
    assert_eq!(calls(&store).len(), 2);
    assert_eq!(home.spooled(), 0);
    // Approvals go on.
    store.approve(&id).expect("approved");
    assert_eq!(claim(&store, "next", &daily).expect("claimed"), Some(id));

    let text = message(store.archive(&file));
    assert!(text.contains("exists already; name a file"), "{text}");
    assert_eq!(calls(&store).len(), 3);
    let second = home.directory.path().join("second.db");
    assert_eq!(store.archive(&second).expect("archived"), 3);
    assert_eq!(ids(&opened_archive(&second).1), ["next", "under way", "reading"]);
    let lost = home.directory.path().join("nowhere/archive.db");
    let text = message(store.archive(&lost));
    assert!(text.contains("folder does not exist"), "{text}");
    let left = std::fs::read_dir(home.directory.path()).expect("a folder").count();
    assert_eq!(left, 3, "the state directory and two archives");
}

#[test]
fn an_archive_that_cannot_be_finished_leaves_the_log_as_it_is() {
    let home = written();
    let store = home.store();
    store.record(None, Some(&outcome("1", "done")), true).expect("recorded");
    let file = home.directory.path().join("archive.db");
    let raw = home.raw();
    raw.execute_batch("BEGIN IMMEDIATE").expect("locked");
    assert!(message(store.archive(&file)).contains("is in use by another process"));
    assert!(!file.exists());
    raw.execute_batch("ROLLBACK").expect("unlocked");
    // It was killed after the file had its name, and before the log was begun anew.
    raw.execute_batch(
        "CREATE TRIGGER killed BEFORE INSERT ON archives BEGIN SELECT RAISE(ABORT, 'killed'); END",
    )
    .expect("a trigger");
    assert!(message(store.archive(&file)).contains("killed"));
    assert_eq!(ids(&opened_archive(&file).1), ["1"]);
    let as_it_is = || ids(&store.audit_as_it_is(&AuditFilter::default()).expect("the log")).len();
    assert_eq!(as_it_is(), 1);
    assert_eq!(store.shared.with(|opened| Ok(opened.key)).expect("a key").len(), 32);
    assert!(message(store.archive(&file)).contains("killed"));
    raw.execute_batch("DROP TRIGGER killed").expect("dropped");
    // The same file again, or a look at the log, finishes it.
    store.record(Some(&row("2", "read")), Some(&outcome("2", "none")), false).expect("recorded");
    assert_eq!(store.archive(&file).expect("archived"), 1);
    assert_eq!(ids(&opened_archive(&file).1), ["1"]);
    assert_eq!(ids(&calls(&store)), ["2"]);
    assert!(message(store.archive(&file)).contains("exists already"));
}

/// A home whose log has been archived by a program that was killed before the log was begun anew.
fn killed_while_archiving(file: &Path) -> (Home, Arc<Store>) {
    let home = written();
    let store = home.store();
    store.record(None, Some(&outcome("1", "done")), true).expect("recorded");
    // Another process has a call in its spool, which the archive has as well.
    let other = home.store();
    other.record(Some(&row("2", "read")), Some(&outcome("2", "none")), false).expect("recorded");
    home.raw()
        .execute_batch(
            "CREATE TRIGGER killed BEFORE INSERT ON archives
             BEGIN SELECT RAISE(ABORT, 'killed'); END",
        )
        .expect("a trigger");
    assert!(message(home.store().archive(file)).contains("killed"));
    home.raw().execute_batch("DROP TRIGGER killed").expect("dropped");
    drop(store);
    (home, other)
}

#[test]
fn an_archive_that_was_interrupted_is_finished_by_whoever_comes_next() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("archive.db");
    let (home, other) = killed_while_archiving(&file);
    assert_eq!(calls(&home.store()), []);
    drop(other);
    assert_eq!(calls(&home.store()), []);
    assert_eq!(ids(&opened_archive(&file).1), ["1", "2"]);

    // Another file gets what came since.
    let file = folder.path().join("second.db");
    let (home, other) = killed_while_archiving(&file);
    other.record(Some(&row("3", "read")), Some(&outcome("3", "none")), false).expect("recorded");
    let third = folder.path().join("third.db");
    assert_eq!(home.store().archive(&third).expect("archived"), 1);
    assert_eq!(ids(&opened_archive(&third).1), ["3"]);
    assert_eq!(ids(&opened_archive(&file).1), ["1", "2"]);
    assert_eq!(calls(&home.store()), []);

    // What is not in the file, or no archive at all, removes nothing.
    for contents in [None, Some(&b"something else"[..])] {
        let file = folder.path().join("fourth.db");
        let (home, other) = killed_while_archiving(&file);
        std::fs::remove_file(&file).expect("removed");
        if let Some(contents) = contents {
            std::fs::write(&file, contents).expect("written");
        }
        let mut found = calls(&home.store());
        found.sort_by(|one, other| one.id.cmp(&other.id));
        assert_eq!(ids(&found), ["1", "2"]);
        drop(other);
        let _ = std::fs::remove_file(&file);
        assert_eq!(home.store().archive(&file).expect("archived"), 2);
        let _ = std::fs::remove_file(&file);
    }
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 3, "three archives");
}

#[test]
fn the_log_of_a_database_that_was_moved_away_is_kept() {
    let home = Home::new();
    let store = home.store();
    store.begin(&row("1", "write"), None).expect("begun");
    // As if the program had been killed: nobody moves the write-ahead log into the database.
    let killed = Home::new();
    std::fs::create_dir_all(killed.path()).expect("a directory");
    set_mode(&killed.path(), 0o700);
    let log = |home: &Home| home.path().join("state.db-wal");
    for (from, to) in [(home.database(), killed.database()), (log(&home), log(&killed))] {
        std::fs::copy(from, to).expect("copied");
    }
    let kept = killed.directory.path().join("kept.db");
    std::fs::rename(killed.database(), &kept).expect("moved");
    assert_eq!(calls(&killed.store()), []);
    killed.store().begin(&row("2", "write"), None).expect("begun");
    assert_eq!(ids(&calls(&killed.store())), ["2"]);
    // Beside the database that it belongs to, it still has everything.
    let old = killed.path().join("state.db-wal.old");
    std::fs::rename(old, killed.directory.path().join("kept.db-wal")).expect("moved");
    let kept = Connection::open(kept).expect("a database");
    let id: String = kept.query_row("SELECT id FROM calls", [], |row| row.get(0)).expect("a row");
    assert_eq!(id, "1");
}

#[test]
fn a_row_is_small_whatever_is_in_it() {
    let home = Home::new();
    let store = home.store();
    let long = "\u{1}x\"".repeat(60_000);
    let begin = |id: &str| Begin {
        client: Some(long.clone()),
        account: Some(long.clone()),
        function: Some(long.clone()),
        arguments: json!({"room_name": long, "other": [{"x": long}]}),
        ..row(id, "read")
    };
    let end = |id: &str| End { message: Some(long.clone()), ..outcome(id, "none") };
    store.record(Some(&begin("1")), Some(&end("1")), false).expect("recorded");
    store.record(Some(&begin("2")), None, true).expect("recorded");
    store.begin(&begin("3"), None).expect("begun");
    // An older version of the program has left a row as it came.
    let line = json!({"begin": begin("4"), "end": end("4")}).to_string() + "\n";
    store.shared.spool.append(line.as_bytes(), false).expect("appended");
    let rows = calls(&store);
    assert_eq!(ids(&rows), ["1", "2", "3", "4"]);
    for row in &rows {
        let text = row.to_json().to_string();
        assert!(text.len() <= 4096, "{} bytes: {text}", text.len());
        assert!(text.contains(" bytes, SHA-256 "), "{text}");
    }
    // A row that is there already stays as it is.
    let raw = home.raw();
    raw.execute(
        "INSERT INTO calls (seq, id, time, front_end, arguments) VALUES (99, '5', 0, 'mcp', ?1)",
        [json!({"x": long}).to_string()],
    )
    .expect("a row");
    assert_eq!(calls(&store)[0].arguments, json!({"x": long}));
}

#[test]
fn programs_go_on_while_the_log_is_archived() {
    let home = Home::new();
    let stores: Vec<Arc<Store>> = (0..2).map(|_| home.patient_store(PATIENCE)).collect();
    let archives: Vec<PathBuf> =
        (0..5).map(|index| home.directory.path().join(format!("{index}.db"))).collect();
    let barrier = Barrier::new(3);
    std::thread::scope(|scope| {
        for (number, store) in stores.iter().enumerate() {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                for index in 0..40 {
                    let id = format!("{number}-{index}");
                    match index % 4 {
                        0 => {
                            store.begin(&row(&id, "write"), None).expect("begun");
                            store.record(None, Some(&outcome(&id, "done")), true).expect("");
                        }
                        _ => store
                            .record(Some(&row(&id, "read")), Some(&outcome(&id, "none")), false)
                            .expect("recorded"),
                    }
                    if index % 7 == 0 {
                        store.flush().expect("moved");
                    }
                }
            });
        }
        let archiver = home.patient_store(PATIENCE);
        barrier.wait();
        for file in &archives {
            archiver.archive(file).expect("archived");
        }
    });
    drop(stores);
    let mut found: Vec<AuditRow> = calls(&home.store());
    for file in &archives {
        found.extend(opened_archive(file).1);
    }
    // Only a call that was under way is in two, once without its end.
    let ended: Vec<&AuditRow> = found.iter().filter(|row| row.outcome.is_some()).collect();
    let mut ids: Vec<&str> = ended.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids.len(), 80, "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 80);
}
