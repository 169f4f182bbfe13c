//! What changed between a person's yes and the call, or between the call and the question for its result.

use super::*;
use crate::agents;
use crate::people::{self, NAMES};
use crate::wire::{add_rooms, kind};
use std::sync::Arc;

const CONFIG: &str = "config/whereby/config.toml";

/// Makes a call of its own, so that a server has looked at every earlier one by now.
async fn made_another(world: &World, connected: &Connected, prefix: &str) {
    let own = stored(connected, CREATE, room(prefix)).await;
    ran(world, &["approvals", "approve", &own], 0).await;
    data(&resume(connected, &own, 60).await);
}

/// What a caller reads, wherever it is.
fn said(result: &CallToolResult) -> String {
    serde_json::to_string(result).expect("JSON")
}

#[tokio::test]
async fn a_file_with_rules_that_is_gone_is_not_taken_for_none() {
    let world = World::with_rooms(Vec::new()).await;
    let project = world.write("project/.whereby.toml", "[permissions]\nwrite = \"ask\"\n");
    let id = left_behind(&world, CREATE, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    std::fs::rename(&project, world.path("project/moved.toml")).expect("moved");
    let connected = connect(&world).await;
    let error = resume_fails(&connected, &id).await;
    assert!(text(&error["message"]).contains("other configuration files"), "{error}");
    made_another(&world, &connected, "b-").await;
    assert_eq!((writes(&world), state(&world, &id)), (1, ApprovalState::Approved));
    connected.end().await;
    // Under the files of its caller, it is made.
    std::fs::rename(world.path("project/moved.toml"), &project).expect("moved back");
    let connected = connect(&world).await;
    data(&resume(&connected, &id, 60).await);
    connected.end().await;
    assert_eq!(writes(&world), 2);
}

#[tokio::test]
async fn a_program_that_cannot_make_a_call_leaves_it_to_others() {
    let world = World::with_rooms(Vec::new()).await;
    let file = world.path(CONFIG);
    let good = std::fs::read_to_string(&file).expect("read");
    let [work, other] = [0, 1].map(|at| world.simulator.tokens()[at].clone());
    let without = good.replace(&format!("\"{work}\""), "{ env = \"NOT_SET\" }");
    assert_ne!(without, good);
    for (bad, kind, because) in [
        (good.replace(&work, &other), "approval-required", "another key, component or API"),
        (without, "configuration", "NOT_SET"),
    ] {
        world.simulator.clear_requests();
        let connected = connect(&world).await;
        let id = stored(&connected, CREATE, room("a-")).await;
        world.write(CONFIG, &bad);
        ran(&world, &["approvals", "approve", &id], 0).await;
        // The same server, and another one.
        let another = connect(&world).await;
        for connected in [&connected, &another, &connected] {
            let error = resume_fails(connected, &id).await;
            assert_eq!((text(&error["kind"]), &error["effect"]), (kind, &json!("none")), "{error}");
            for words in [because, "this program has sent nothing, and the approval stays valid"] {
                assert!(text(&error["message"]).contains(words), "{error}");
            }
        }
        world.assert_untouched();
        assert_eq!(state(&world, &id), ApprovalState::Approved);
        let tried = |row: &whereby::AuditRow| {
            row.outcome.as_ref().and_then(|outcome| outcome.kind.clone()).unwrap_or_default()
        };
        let rows = world.audit();
        let tried: Vec<String> = rows[rows.len() - 1..].iter().map(tried).collect();
        assert_eq!(tried, ["approval-required"], "no attempt has a row: {rows:?}");
        world.write(CONFIG, &good);
        data(&resume(&another, &id, 60).await);
        data(&resume(&connected, &id, 60).await);
        for connected in [connected, another] {
            connected.end().await;
        }
        assert_eq!(writes(&world), 1);
    }
}

#[tokio::test]
async fn a_caller_is_told_why_an_approval_that_was_given_back_cannot_be_used_here() {
    let world = World::with_rooms(Vec::new()).await;
    let wait = Reply::status(429).header("retry-after", "900");
    world.simulator.script("POST", "/v1/meetings", 1, wait);
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    let approve = ["approvals", "approve", &id];
    let (tried, _) = tokio::join!(resume(&connected, &id, 60), ran(&world, &approve, 0));
    assert_eq!(tried.is_error, Some(true), "{tried:?}");
    assert_eq!((writes(&world), state(&world, &id)), (1, ApprovalState::Approved));
    let file = world.path(CONFIG);
    let good = std::fs::read_to_string(&file).expect("read");
    let work = format!("\"{}\"", world.simulator.tokens()[0]);
    world.write(CONFIG, &good.replace(&work, "{ env = \"NOT_SET\" }"));
    let error = resume_fails(&connected, &id).await;
    assert!(text(&error["message"]).contains("NOT_SET"), "{error}");
    assert_eq!((&error["effect"], writes(&world)), (&json!("none"), 1));
    world.write(CONFIG, &good);
    data(&resume(&connected, &id, 0).await);
    connected.end().await;
    assert_eq!(writes(&world), 2);
}

#[tokio::test]
async fn a_refusal_that_was_told_is_final() {
    let world = World::with_rooms(Vec::new()).await;
    let id = left_behind(&world, CREATE, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    ran(&world, &["freeze"], 0).await;
    let connected = connect(&world).await;
    let error = resume_fails(&connected, &id).await;
    assert!(text(&error["message"]).contains("is stopped"), "{error}");
    world.assert_untouched();
    ran(&world, &["unfreeze"], 0).await;
    let another = connect(&world).await;
    made_another(&world, &another, "b-").await;
    for connected in [connected, another] {
        assert_eq!(resume_fails(&connected, &id).await, error);
        connected.end().await;
    }
    assert_eq!((writes(&world), state(&world, &id)), (1, ApprovalState::Expired));
}

#[tokio::test]
async fn a_call_that_a_freeze_stops_under_way_is_over() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure("[limits]\nconcurrent_calls = 1\n");
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    // The approved call begins, and waits for this one.
    let peer = connected.client.peer().clone();
    let reading = tokio::spawn(async move {
        peer.call_tool(params("whereby_list_rooms", json!({}))).await.expect("an answer")
    });
    world.simulator.wait_for_requests(1).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    while state(&world, &id) != ApprovalState::Used {
        tokio::task::yield_now().await;
    }
    ran(&world, &["freeze"], 0).await;
    gate.open();
    reading.await.expect("no panic");
    let wait = json!({"approval_id": id, "wait_seconds": 60});
    let error = connected.fail(RESUME, wait.clone()).await;
    assert_eq!((&error["kind"], &error["effect"]), (&json!("denied"), &json!("none")), "{error}");
    ran(&world, &["unfreeze"], 0).await;
    let another = connect(&world).await;
    for connected in [connected, another] {
        let error = connected.fail(RESUME, wait.clone()).await;
        assert!(text(&error["message"]).contains("is stopped"), "{error}");
        assert_eq!(error["kind"], "denied");
        connected.end().await;
    }
    assert_eq!((writes(&world), state(&world, &id)), (0, ApprovalState::Used));
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_replace_a_result() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    let database = || {
        let database = rusqlite::Connection::open(world.path("state/whereby/state.db"));
        database.expect("a database")
    };
    let change = |sql: &str| database().execute_batch(sql).expect("changed");
    change(
        "CREATE TRIGGER full BEFORE UPDATE OF collected_at ON approvals
         WHEN OLD.state = 'used' AND NEW.collected_at IS NOT NULL
         BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;",
    );
    let approve = ["approvals", "approve", &id];
    let (made, _) = tokio::join!(resume(&connected, &id, 60), ran(&world, &approve, 0));
    let made = data(&made);
    assert!(text(&made["roomName"]).starts_with("a-"), "{made}");
    assert_eq!(data(&resume(&connected, &id, 0).await), made);
    assert_eq!(data(&connected.call(CREATE, room("a-")).await), made);
    // Nobody who cannot read what came of a write says that there was none.
    change("ALTER TABLE results RENAME TO unreadable;");
    for (tool, arguments) in
        [(RESUME, json!({"approval_id": id, "wait_seconds": 0})), (CREATE, room("a-"))]
    {
        let error = connected.fail(tool, arguments).await;
        assert_eq!(
            (&error["kind"], &error["effect"]),
            (&json!("configuration"), &json!("unknown"))
        );
        assert!(text(&error["hint"]).contains("before trying again"), "{error}");
    }
    change("ALTER TABLE unreadable RENAME TO results; DROP TRIGGER full;");
    assert_eq!(data(&connected.call(CREATE, room("a-")).await), made);
    connected.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn an_outcome_that_could_not_be_recorded_is_recorded_later() {
    let world = World::with_rooms(Vec::new()).await;
    let gate = Gate::new();
    world.simulator.script("POST", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let store = world.store();
    let session = Session::builder()
        .settings(world.session().settings().clone())
        .environment(world.environment())
        .store(Arc::clone(&store))
        .build()
        .expect("a session");
    let (told, mut notices) = tokio::sync::mpsc::unbounded_channel();
    let server = whereby::mcp::Server::builder(session)
        .notice(move |notice| drop(told.send(notice.to_owned())))
        .build();
    let connected = Connected::to(&server, Client::new(None).0).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    world.simulator.wait_for_requests(1).await;
    // There is no room for the outcome, neither in the spool nor in the database.
    store.flush().expect("moved");
    let spool = world.path("state/whereby/spool");
    std::fs::remove_dir_all(&spool).expect("removed");
    std::fs::write(&spool, "").expect("a file in its place");
    gate.open();
    let notice = notices.recv().await.expect("a notice");
    assert!(notice.contains("the audit log is missing part of a call"), "{notice}");
    assert_eq!(state(&world, &id), ApprovalState::Used);
    std::fs::remove_file(&spool).expect("removed");
    let made = data(&resume(&connected, &id, 60).await);
    assert!(text(&made["roomName"]).starts_with("a-"), "{made}");
    connected.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn what_would_be_refused_now_is_not_given_out_either() {
    let agents = "[agents.a]\n[permissions.functions.create_room]\npermission = \"ask\"\n\
                  max_per_hour = 1\n";
    for (name, strict, because) in [
        ("a rule", "[agents.a]\n[permissions]\nwrite = \"deny\"\n", "is denied"),
        ("no such agent", "[agents.b]\n", "`a`"),
        ("its end", "[agents.a]\nvalid_until = 2020-01-01T00:00:00Z\n", "is denied"),
        ("a freeze", agents, "is stopped"),
    ] {
        let world = World::with_rooms(Vec::new()).await;
        world.configure(agents);
        let server = agents::server(&world, Some("a"));
        let connected = Connected::to(&server, Client::new(None).0).await;
        let id = stored(&connected, CREATE, room("a-")).await;
        ran(&world, &["approvals", "approve", &id], 0).await;
        world.simulator.wait_for_requests(1).await;
        world.configure(strict);
        if name == "a freeze" {
            ran(&world, &["freeze", "--agent", "a"], 0).await;
        }
        for _ in 0..2 {
            let wait = json!({"approval_id": id, "wait_seconds": 60});
            let error = connected.fail(RESUME, wait).await;
            let message = text(&error["message"]);
            assert!(message.contains("was made after its approval"), "{name}: {error}");
            assert!(message.contains("is not given out now"), "{name}: {error}");
            assert!(message.contains(because), "{name}: {error}");
            assert_eq!(error["effect"], "done", "{name}: {error}");
            assert!(!error.to_string().contains("a-"), "{name}: {error}");
        }
        // It is still its caller's, also if the call has used up a quota.
        world.configure(agents);
        if name == "a freeze" {
            ran(&world, &["unfreeze", "--agent", "a"], 0).await;
        }
        let made = data(&resume(&connected, &id, 0).await);
        assert!(text(&made["roomName"]).starts_with("a-"), "{name}: {made}");
        connected.end().await;
        assert_eq!(writes(&world), 1, "{name}");
    }
}

#[tokio::test]
async fn a_result_with_names_is_not_given_out_where_they_may_not_be_seen_any_more() {
    let world = World::with_rooms(Vec::new()).await;
    let seeded = add_rooms(&world, &[people::room("daily")]).remove(0);
    let meeting = format!("{}:{}", seeded.name.trim_matches('/'), seeded.sessions[0]);
    let meeting = json!({"meeting_id": meeting});
    let tool = "whereby_get_meeting";
    let level = |level: &str| {
        let rules = "[permissions]\nread = \"ask\"\n";
        world.configure(&format!("{rules}[privacy]\nparticipants = \"{level}\"\n"));
    };
    let names_nobody = |said: &str| {
        for name in NAMES.iter().filter(|name| name.is_ascii()) {
            assert!(!said.contains(name.trim_matches('"')), "{name}: {said}");
        }
    };
    for (before, after) in [("names", "pseudonyms"), ("names", "hidden"), ("pseudonyms", "hidden")]
    {
        level(before);
        let connected = connect(&world).await;
        let id = stored(&connected, tool, meeting.clone()).await;
        world.simulator.clear_requests();
        ran(&world, &["approvals", "approve", &id], 0).await;
        world.simulator.wait_for_requests(1).await;
        level(after);
        let wait = json!({"approval_id": id, "wait_seconds": 60});
        let refused = connected.call(RESUME, wait.clone()).await;
        names_nobody(&said(&refused));
        let error = connected.fail(RESUME, wait).await;
        assert_eq!(error["kind"], "denied", "{error}");
        let told = format!("participants = \"{after}\"");
        assert!(text(&error["message"]).contains(&told), "{error}");
        // The very same call needs another approval.
        let sent = world.requests().len();
        let again = stored(&connected, tool, meeting.clone()).await;
        assert_ne!(again, id);
        ran(&world, &["approvals", "deny", &again], 0).await;
        assert_eq!(world.requests().len(), sent);
        // Under the former choice, or a less strict one, its caller has it.
        level(before);
        let made = data(&resume(&connected, &id, 0).await);
        level("names");
        assert_eq!(data(&resume(&connected, &id, 0).await), made);
        connected.end().await;
        // The denial holds for an hour.
        world.move_clock(2 * HOUR);
    }
    let outcome = world.call("get_meeting", meeting).await;
    assert_eq!(kind(&outcome), "approval-required");
}
