//! The audit log: a row for every call, before its request leaves, without secrets.

use crate::wire::{ALLOW_ALL, daily, kind, message, sent};
use serde_json::json;
use whereby::simulator::{Gate, Reply};
use whereby::{AuditRow, Call};
use whereby_tests::World;

fn outcome(row: &AuditRow) -> (bool, Option<&str>, &str) {
    let outcome = row.outcome.as_ref().expect("an end");
    (outcome.success, outcome.kind.as_deref(), &outcome.effect)
}

#[tokio::test]
async fn every_call_has_one_row_also_where_it_is_refused() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure("[permissions.functions]\ndelete_room = \"deny\"\n");
    let session = world.session();
    let forced = Call::new("create_room", json!({})).force(true);
    assert!(session.run(forced).await.result.is_ok());
    let mut expected = Vec::new();
    for (account, function, arguments, end) in [
        (None, "list_rooms", json!({"limit": 1}), (true, None, "none")),
        (None, "get_room", json!({"room_name": "nowhere"}), (false, Some("not-found"), "none")),
        (None, "delete_room", json!({"room_name": "daily"}), (false, Some("denied"), "none")),
        (None, "create_room", json!({}), (false, Some("approval-required"), "none")),
        (None, "get_room", json!({"nme": 1}), (false, Some("invalid-argument"), "none")),
        (None, "drop_table", json!({}), (false, Some("usage"), "none")),
        (Some("nobody"), "list_rooms", json!({}), (false, Some("usage"), "none")),
    ] {
        let call = Call::new(function, arguments.clone()).account(account);
        let _ = session.run(call.asked_by("test", Some("a client"))).await;
        expected.push((function, arguments, end));
    }
    drop(session);
    let rows = world.audit();
    assert_eq!(rows.len(), expected.len() + 1, "{rows:?}");
    let (forced, rows) = rows.split_first().expect("rows");
    for (row, (function, arguments, end)) in rows.iter().zip(&expected) {
        assert_eq!(row.function.as_deref(), Some(*function));
        match row.permission {
            Some(_) => assert_eq!(&row.arguments, arguments),
            // What was not understood may be a secret.
            None => assert!(!row.arguments.to_string().contains("nowhere"), "{row:?}"),
        }
        assert_eq!(outcome(row), *end, "{row:?}");
        assert_eq!((row.front_end.as_str(), row.client.as_deref()), ("test", Some("a client")));
    }
    let read = &rows[0];
    assert_eq!(read.account.as_deref(), Some("work"));
    assert_eq!(read.api.as_deref(), Some(world.simulator.url().as_str()));
    assert_eq!(read.effect.as_deref(), Some("read"));
    assert_eq!(
        (read.permission.as_deref(), read.approved_by.as_deref()),
        (Some("allow"), Some("rule"))
    );
    let requests = &read.outcome.as_ref().expect("an end").requests;
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("GET", "/meetings"));
    assert_eq!(requests[0].status, Some(200));
    let denied = &rows[2];
    assert!(
        denied.rule.as_ref().is_some_and(|rule| rule.contains("permissions.functions.delete_room"))
    );
    assert_eq!((denied.permission.as_deref(), denied.approved_by.as_deref()), (Some("deny"), None));
    assert_eq!(forced.approved_by.as_deref(), Some("force"));
    assert_eq!(outcome(forced), (true, None, "done"));
}

#[tokio::test]
async fn a_created_and_a_deleted_room_are_in_the_log_by_name_and_id() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(ALLOW_ALL);
    let named = json!({"room_name_prefix": "bot-"});
    let created = world.call("create_room", named).await.result.expect("created");
    let name = created["roomName"].as_str().expect("a name").to_owned();
    assert!(name.starts_with("bot-"), "{name}");
    let deletion = json!({"room_name": &name});
    world.call("delete_room", deletion).await.result.expect("deleted");
    let path = world.requests().last().expect("a request").path.clone();
    let id = path.rsplit('/').next().expect("an id").to_owned();

    // A deletion that failed, one that was cut off, and calls without a room.
    world.simulator.script("DELETE", "/v1/meetings/", 1, Reply::status(403));
    let _ = world.call("delete_room", json!({"room_name": "daily"})).await;
    let _ = world.call("delete_room", json!({"room_name": "nowhere"})).await;
    world.simulator.script("POST", "/v1/meetings", 1, Reply::status(400));
    let _ = world.call("create_room", json!({})).await;
    world.call("list_rooms", json!({})).await.result.expect("a page");

    let rows = world.audit();
    let rooms: Vec<(Option<&str>, Option<&str>)> = rows
        .iter()
        .map(|row| row.outcome.as_ref().expect("an end"))
        .map(|outcome| (outcome.room_name.as_deref(), outcome.room_id.as_deref()))
        .collect();
    let own = (Some(name.as_str()), Some(id.as_str()));
    assert_eq!(rooms[..2], [own, own]);
    assert_eq!(rooms[2].0, Some("daily"));
    assert!(rooms[2].1.is_some(), "{rooms:?}");
    assert_eq!(rooms[3..], [(None, None); 3]);
    assert_eq!(rows[0].to_json()["outcome"]["room_name"], name);
    assert_eq!(rows[0].to_json()["outcome"]["room_id"], id);

    let shown = world.run(&["audit"]).await.stdout;
    for words in [format!("created {name}"), format!("deleted {name}")] {
        assert!(shown.contains(&words), "`{words}` is not in: {shown}");
    }
}

#[tokio::test]
async fn a_room_that_is_named_like_the_key_is_not_in_the_log() {
    let world = World::with_rooms(Vec::new()).await;
    let url = world.simulator.url();
    let key = "s3cretkey0123456789";
    world.write(
        "config/whereby/config.toml",
        &format!("[accounts.work]\naccess_token = \"{key}\"\napi_url = \"{url}\"\n{ALLOW_ALL}"),
    );
    for spelt in [key.to_owned(), format!("\\u0073{}", &key[1..])] {
        let body = format!(
            r#"{{"meetingId": "{spelt}", "roomName": "/{spelt}",
                "roomUrl": "https://acme.whereby.com/{spelt}", "startDate": "2026-03-02T09:00:00.000Z",
                "endDate": "2999-03-02T09:00:00.000Z"}}"#
        );
        world.simulator.script("POST", "/v1/meetings", 1, Reply::status(201).body(body));
        let outcome = world.call("create_room", json!({})).await;
        assert_eq!(outcome.write, whereby::WriteOutcome::Done, "{outcome:?}");
    }
    let rows = world.audit();
    assert_eq!(rows.len(), 2);
    assert!(!format!("{rows:?}").contains("s3cretkey"), "{rows:?}");
}

#[tokio::test]
async fn a_write_is_in_the_log_before_it_leaves() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure(ALLOW_ALL);
    let gate = Gate::new();
    world.simulator.script("POST", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let session = world.session();
    let call = tokio::spawn(async move { session.call(None, "create_room", json!({})).await });
    while world.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    // Not flushed: what another process finds at this moment, or after a crash in it.
    let rows = world.store().audit(&whereby::AuditFilter::default()).expect("read");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].function.as_deref(), Some("create_room"));
    assert!(rows[0].outcome.is_none(), "{:?}", rows[0]);
    assert!(rows[0].is_unfinished_write(), "a write without an end may have been made");
    gate.open();
    assert!(call.await.expect("no panic").result.is_ok());
    assert_eq!(outcome(&world.audit()[0]), (true, None, "done"));
}

#[tokio::test]
async fn no_secret_is_in_the_log_or_among_the_approvals() {
    let world = World::with_rooms(Vec::new()).await;
    let session = world.session();
    let secret = "s3cret-key";
    let arguments = json!({"fields": [
        "hostRoomUrl",
        {"recording": {"type": "cloud", "startTrigger": "automatic", "destination": {
            "provider": "s3", "bucket": "b", "accessKeyId": "id", "accessKeySecret": secret}}},
        {"streaming": {"startTrigger": "automatic",
            "destination": {"url": format!("rtmp://a.example/live/{secret}")}}},
    ]});
    let outcome = session.call(None, "create_room", arguments.clone()).await;
    assert_eq!(kind(&outcome), "approval-required", "{outcome:?}");
    let outcome = session.run(Call::new("create_room", arguments).force(true)).await;
    let created = outcome.result.expect("created");
    let host_url = created["hostRoomUrl"].as_str().expect("a URL").to_owned();
    let name = json!({"room_name": host_url});
    assert_eq!(kind(&session.call(None, "delete_room", name).await), "approval-required");
    let bad = json!({"room_name": 1, "roomKey": secret, "x": format!("?roomKey={secret}")});
    let _ = session.call(None, "get_room", bad).await;
    let misspelt =
        json!({"fields": [{"recording": {"destination": {"access_key_secret": secret}}}]});
    let _ = session.call(None, "create_room", misspelt).await;
    let as_text = json!({"fields": format!("[{{\"accessKeySecret\": \"{secret}\"}}]")});
    let _ = session.call(None, "create_room", as_text).await;
    let quoting = Reply::status(400)
        .json(&json!({"error": format!("bad url rtmp://a.example/live/{secret}")}));
    world.simulator.script("POST", "/v1/meetings", 1, quoting);
    let quoted = json!({"fields": [{"streaming": {"startTrigger": "automatic",
        "destination": {"url": format!("rtmp://a.example/live/{secret}")}}}]});
    let outcome = session.run(Call::new("create_room", quoted).force(true)).await;
    assert_eq!(kind(&outcome), "rejected");
    assert!(!format!("{outcome:?}").contains(secret), "{outcome:?}");
    drop(session);
    assert_eq!(world.audit().len(), 7);
    let key = host_url.split("roomKey=").nth(1).expect("a key");
    for entry in std::fs::read_dir(world.path("state/whereby")).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        for secret in [secret, key, world.simulator.token()] {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{} holds a secret", path.display());
        }
    }
}

#[tokio::test]
async fn where_the_log_cannot_be_written_reads_go_on_and_writes_are_refused() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(ALLOW_ALL);
    // A file where the directory should be.
    std::fs::create_dir_all(world.path("state")).expect("a folder");
    world.write("state/whereby", "");
    let session = world.session();
    let outcome = session.call(None, "list_rooms", json!({})).await;
    assert!(outcome.result.is_ok(), "{outcome:?}");
    let problem = outcome.unrecorded.expect("why it is not in the log");
    assert!(problem.contains("state/whereby"), "{problem}");
    let before = sent(&world);
    for (function, arguments) in
        [("create_room", json!({})), ("delete_room", json!({"room_name": "daily"}))]
    {
        let outcome = session.call(None, function, arguments).await;
        assert_eq!(kind(&outcome), "configuration");
        assert!(message(&outcome).contains("state/whereby"), "{}", message(&outcome));
    }
    assert_eq!(sent(&world), before, "a write left");
    // The same at the command line, which says so; also where there is no place for it at all.
    let mut homeless = world.environment();
    for name in ["HOME", "XDG_STATE_HOME"] {
        homeless.variables.remove(name);
    }
    let ran = whereby_tests::run(&["call", "list_rooms"], homeless.clone(), "", false).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("HOME is not set"), "{}", ran.stderr);
    let before = sent(&world);
    let ran = whereby_tests::run(&["call", "create_room"], homeless, "", false).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(sent(&world), before, "a write left");
    let ran = world.run(&["call", "list_rooms"]).await;
    assert_eq!(ran.code, 0);
    assert!(ran.stderr.contains("not fully recorded in the audit log"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_call_that_was_not_understood_has_a_row_too() {
    let world = World::with_rooms(vec![daily()]).await;
    let broken = world.write("broken.toml", "permissions = 7\n").display().to_string();
    let absent = world.path("absent.wasm").display().to_string();
    for (options, kind) in [
        (&["call", "list_rooms", "{\"s3cret\""][..], "usage"),
        (&["call", "list_rooms", "--arg", "s3cret"], "usage"),
        (&["call", "list_rooms", "--if-exists"], "usage"),
        (&["--account", "work", "call", "whereby.other.list_rooms"], "usage"),
        (&["--component", &absent, "call", "list_rooms"], "configuration"),
        (&["--config", &broken, "call", "list_rooms"], "configuration"),
    ] {
        let before = world.audit().len();
        let ran = world.run(options).await;
        assert_ne!(ran.code, 0, "{ran:?}");
        let rows = world.audit();
        assert_eq!(rows.len(), before + 1, "{options:?}: {ran:?}");
        let row = rows.last().expect("a row");
        assert_eq!(row.function.as_deref(), Some("list_rooms"), "{options:?}");
        assert_eq!(outcome(row), (false, Some(kind), "none"), "{options:?}");
        assert!(!row.arguments.to_string().contains("s3cret"), "{row:?}");
    }
    // What is not meant to be made is not a call.
    let before = world.audit().len();
    world.run(&["call", "list_rooms", "{", "--dry-run"]).await;
    assert_eq!(world.audit().len(), before);
    world.assert_untouched();
}
