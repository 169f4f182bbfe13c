//! `whereby approvals`: what waits for a person, as it is shown and decided on.

use super::{Screen, assert_call_document, still_world, without_dates, without_ids};
use serde_json::{Value, json};
use whereby::simulator::RoomSeed;
use whereby::{Call, text};
use whereby_tests::{World, run};

/// A world in which a person is to be asked before anything is written, and a room.
async fn asking_world() -> World {
    let (world, _) = still_world().await;
    world.configure("");
    world.simulator.add_room(0, &RoomSeed::named("daily-standup"));
    world
}

/// Makes a call that is stored to be approved, and returns the approval's id.
async fn stored(world: &World, call: &[&str]) -> String {
    let ran = world.run(&[&["call"], call, &["--json"]].concat()).await;
    assert_eq!(ran.code, 5, "{ran:?}");
    let document = assert_call_document(&ran);
    document["meta"]["approval_id"].as_str().expect("an id").to_owned()
}

async fn deletion(world: &World) -> String {
    stored(world, &["delete_room", "--arg", "room_name=daily-standup"]).await
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn an_approval_goes_from_the_call_to_the_call() {
    let world = asking_world().await;
    let mut screen = Screen::new(&world);
    let call = ["call", "delete_room", "--arg", "room_name=daily-standup"];
    screen.run(&["approvals", "list"]).await;
    screen.run(&call).await;
    let id = deletion(&world).await;
    screen.run(&["approvals", "list"]).await;
    screen.run(&["approvals", "show", &id]).await;
    screen.run(&["approvals", "approve", &id]).await;
    screen.run(&["approvals", "show", &id]).await;
    screen.run(&call).await;
    screen.run(&["approvals", "list"]).await;
    screen.run(&["approvals", "show", &id]).await;
    let fields = r#"{"fields": [{"recording": {"type": "local", "startTrigger": "none"}}]}"#;
    let other = stored(&world, &["create_room", fields]).await;
    screen.run(&["approvals", "approve", &other]).await;
    screen.run(&["approvals", "deny", &other]).await;
    screen.run(&["approvals", "list", "--all"]).await;
    screen.text = without_dates(&without_ids(&screen.text));
    screen.finish("approvals");
    assert!(world.requests().iter().any(|request| request.method == "DELETE"));
}

#[tokio::test]
async fn each_command_has_its_document() {
    let world = asking_world().await;
    let document = async |arguments: &[&str]| -> Value {
        let ran = world.run(&[&["approvals"], arguments, &["--json"]].concat()).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        ran.json()
    };
    assert_eq!(document(&["list"]).await.to_string(), r#"{"approvals":[],"standing":[]}"#);
    let id = deletion(&world).await;
    let shown = document(&["show", &id]).await;
    let approval = &shown["approval"];
    assert_eq!(document(&["list"]).await["approvals"][0], *approval);
    assert_eq!(
        members(approval),
        [
            "id",
            "state",
            "account",
            "api_url",
            "function",
            "arguments",
            "rule",
            "front_end",
            "client",
            "agent",
            "token",
            "created_at",
            "expires_at",
            "decided_at",
            "valid_until",
            "used_at"
        ]
    );
    assert_eq!(approval["id"], id);
    assert_eq!(approval["state"], "pending");
    assert_eq!(approval["account"], "work");
    assert_eq!(approval["api_url"], world.simulator.url());
    assert_eq!(approval["function"], "delete_room");
    assert_eq!(approval["arguments"].to_string(), r#"{"room_name":"daily-standup"}"#);
    assert_eq!(approval["front_end"], "cli");
    for name in ["client", "decided_at", "valid_until", "used_at"] {
        assert!(approval[name].is_null(), "{name}");
    }
    let approved = document(&["approve", &id]).await;
    assert_eq!(approved["approval"]["state"], "approved");
    assert!(approved["approval"]["valid_until"].is_string());
    let denied = document(&["deny", &id]).await;
    assert_eq!(denied["approval"]["state"], "denied");
    assert!(denied["approval"]["valid_until"].is_null());
    assert_eq!(document(&["list"]).await.to_string(), r#"{"approvals":[],"standing":[]}"#);
    assert_eq!(document(&["list", "--all"]).await["approvals"][0], denied["approval"]);
    world.assert_untouched();
}

#[tokio::test]
async fn an_undecidable_approval_is_a_usage_error() {
    let world = asking_world().await;
    let unknown = "0123456789abcdef0123456789abcdef";
    let mut screen = Screen::new(&world);
    for command in ["show", "approve", "deny"] {
        for id in [unknown, "01234567", "daily", "\u{1b}[2J"] {
            let ran = screen.run(&["approvals", command, id]).await;
            assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
            let ran = world.run(&["approvals", command, id, "--json"]).await;
            assert_eq!(assert_call_document(&ran)["error"]["kind"], "usage");
        }
    }
    // Looking for one makes nothing.
    assert!(!world.path("state").exists());
    let used = deletion(&world).await;
    screen.run(&["approvals", "approve", &used, "--account", "other"]).await;
    screen.run(&["approvals", "approve", &used, "--account", "default"]).await;
    screen.run(&["approvals", "approve", &used]).await;
    assert_eq!(
        world.run(&["call", "delete_room", "--arg", "room_name=daily-standup"]).await.code,
        0
    );
    let denied = stored(&world, &["create_room"]).await;
    screen.run(&["approvals", "deny", &denied]).await;
    for id in [&used, &denied] {
        screen.run(&["approvals", "approve", id]).await;
        screen.run(&["approvals", "deny", id]).await;
    }
    screen.run(&["approvals"]).await;
    screen.text = without_dates(&without_ids(&screen.text.replace('\u{1b}', "ESC")));
    screen.finish("approvals_refused");
}

#[tokio::test]
async fn approving_a_denied_call_makes_a_new_approval() {
    let world = asking_world().await;
    let denied = stored(&world, &["create_room"]).await;
    assert_eq!(world.run(&["approvals", "deny", &denied]).await.code, 0);
    let ran = world.run(&["approvals", "approve", &denied]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let words = format!("this approval is new; the denied one, {denied}, stays in the list");
    assert!(ran.stdout.contains(&words), "{ran:?}");
    let open = world.run(&["approvals", "list", "--json"]).await.json();
    let id = open["approvals"][0]["id"].as_str().expect("an id");
    assert_ne!(id, denied);
    assert!(ran.stdout.contains(&format!("whereby approvals deny {id}\n")), "{ran:?}");
    let pending = deletion(&world).await;
    let ran = world.run(&["approvals", "approve", &pending]).await;
    assert!(!ran.stdout.contains("a new one"), "{ran:?}");
}

/// What a call that waits says of each end but a yes.
#[tokio::test]
async fn a_call_that_waits_says_why_it_was_not_made() {
    for (decide, code, words) in [
        ("deny", 4, "delete_room by the account `work` was declined"),
        ("expire", 5, "needs a person's approval, and the request for it is gone: nobody decided"),
    ] {
        let world = asking_world().await;
        let call = ["call", "delete_room", "--arg", "room_name=daily-standup", "--wait", "600"];
        let (ran, ()) = tokio::join!(world.run(&call), async {
            let store = world.store();
            let id = loop {
                if let Some(open) = store.approvals(false).expect("read").first() {
                    break open.id.clone();
                }
                tokio::task::yield_now().await;
            };
            match decide {
                "deny" => drop(store.deny(&id).expect("denied")),
                _ => world.move_clock(2 * 60 * 60),
            }
        });
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(words), "`{words}` is missing: {ran:?}");
        assert!(world.requests().iter().all(|request| request.method == "GET"));
    }
}

#[tokio::test]
async fn the_account_that_is_named_is_the_one_that_is_listed() {
    let world = asking_world().await;
    let work = deletion(&world).await;
    let other = stored(&world, &["create_room", "--account", "other"]).await;
    for (account, expected) in
        [("work", &[&work][..]), ("default", &[&work]), ("other", &[&other]), ("gone", &[])]
    {
        let ran = world.run(&["approvals", "list", "--account", account, "--json"]).await;
        let document = ran.json();
        let found: Vec<&str> = document["approvals"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|approval| approval["id"].as_str())
            .collect();
        assert_eq!(found, expected, "{account}");
    }
    // It needs no configuration that can be read.
    world.write("config/whereby/config.toml", "nonsense");
    assert_eq!(world.run(&["approvals", "list", "--account", "default"]).await.code, 0);
    assert_eq!(world.run(&["approvals", "approve", &work]).await.code, 0);
}

#[tokio::test]
async fn approved_arguments_are_shown_in_full_and_printable() {
    let world = asking_world().await;
    let evil = "a\u{1b}[2Jb\u{9b}31m\u{202e}c";
    // The schema takes no control characters, and a refused call is in the log as it was given.
    let refused = Call::new("create_room", json!({"room_name_prefix": evil}));
    assert!(world.session().run(refused).await.result.is_err());
    let bucket = format!("a\u{202e}b\u{200b}{}", "x".repeat(450));
    let destination = json!({
        "provider": "s3", "bucket": bucket, "accessKeyId": "id", "accessKeySecret": "s3cret",
    });
    let recording =
        json!({"type": "cloud", "startTrigger": "automatic", "destination": destination});
    let call = Call::new("create_room", json!({"fields": [{"recording": recording}]}));
    let outcome = world.session().run(call.asked_by("mcp", Some(evil))).await;
    let id = outcome.approval.clone().unwrap_or_else(|| panic!("not stored: {outcome:?}"));
    for command in [
        &["approvals", "list"][..],
        &["approvals", "show", &id],
        &["audit"],
        &["approvals", "approve", &id],
        &["approvals", "deny", &id],
    ] {
        for json in [&["--json"][..], &[]] {
            // It is decided once.
            if matches!(command, ["approvals", "approve" | "deny", _]) && !json.is_empty() {
                continue;
            }
            let ran = run(&[command, json].concat(), world.environment(), "", true).await;
            assert_eq!(ran.code, 0, "{ran:?}");
            let is_shown = |c: char| text::printable(&c.to_string(), 9) == c.to_string();
            let acting: String =
                ran.stdout.chars().filter(|c| *c != '\n' && !is_shown(*c)).collect();
            assert_eq!(acting, "", "{ran:?}");
            assert!(!ran.stdout.contains("s3cret"), "{ran:?}");
            // Nothing of what is approved is left out.
            let is_whole = ran.stdout.contains(&"x".repeat(450));
            let must_be = matches!(command, ["approvals", "show" | "approve", _]);
            assert!(is_whole || !must_be, "{ran:?}");
        }
    }
}

#[tokio::test]
async fn quiet_omits_the_wait_message_and_keeps_the_hint() {
    let world = asking_world().await;
    let call = ["call", "delete_room", "--arg", "room_name=daily-standup", "--wait", "1"];
    for quiet in [false, true] {
        let ran = world.run(&[&call[..], if quiet { &["--quiet"] } else { &[] }].concat()).await;
        assert_eq!(ran.code, 5, "{ran:?}");
        let waiting =
            "waiting up to 1 s for a person to decide; to approve: whereby approvals approve ";
        assert_eq!(ran.stderr.contains(waiting), !quiet, "{ran:?}");
        assert!(
            ran.stderr.contains("a person's approval, and nobody decided within 1 s: "),
            "{ran:?}"
        );
        assert!(ran.stderr.contains("\nhint: a person approves"), "{ran:?}");
    }
    assert!(world.requests().iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn all_that_waits_is_denied_by_one_command() {
    let world = asking_world().await;
    let id = deletion(&world).await;
    let asked = async |client: &str, account: &str, prefix: &str| {
        let arguments = json!({"room_name_prefix": prefix});
        let call = Call::new("create_room", arguments).account(Some(account));
        let outcome = world.session().run(call.asked_by("mcp", Some(client))).await;
        assert_eq!(outcome.result.expect_err("asked").kind(), "approval-required");
    };
    asked("agent 1.0", "work", "a").await;
    asked("my agent 2.1", "work", "b").await;
    asked("agent 1.0", "other", "c").await;
    let open = async || {
        let ran = world.run(&["approvals", "list", "--json"]).await;
        ran.json()["approvals"].as_array().expect("a list").len()
    };
    assert_eq!(open().await, 4);

    // Where nobody can be asked, it has to be said beforehand.
    let refused = world.run(&["approvals", "deny", "--all"]).await;
    assert_eq!((refused.code, open().await), (2, 4), "{refused:?}");
    assert!(refused.stderr.contains("denying 4 calls") && refused.stderr.contains("--yes"));
    let seen = world.run(&["approvals", "deny", "--client", "agent"]).await;
    assert_eq!(seen.code, 2, "{seen:?}");
    assert!(seen.stderr.contains("--all") && !seen.stderr.contains("<NAME> <ID>"), "{seen:?}");
    let mut told = String::new();
    for (answer, left) in [("\n", 4), ("n\n", 4), ("", 4), ("y\n", 3)] {
        let arguments = ["approvals", "deny", "--all", "--client", "agent", "--account", "work"];
        let ran = run(&arguments, world.environment(), answer, true).await;
        let shown = "create_room {\"room_name_prefix\": \"a\"}, account work, asked by mcp (agent 1.0)\n\
                     Deny the one call (pending or approved but not used)?";
        assert!(ran.stderr.starts_with(shown), "{}", ran.stderr);
        assert_eq!(open().await, left, "{answer:?}");
        told = ran.stdout;
    }
    assert_eq!(told, "denied 1 call; the same call is not stored again for an hour\n");
    for (client, left) in [("nobody", 3), ("my agent 2.0", 3), ("my agent 2.1", 2)] {
        let arguments = ["approvals", "deny", "--all", "--client", client, "--yes"];
        let before = open().await;
        let ran = world.run(&arguments).await;
        assert_eq!((ran.code, open().await), (0, left), "{client}");
        let nothing = format!("no call from the MCP client {client} is waiting\n");
        assert_eq!(ran.stdout == nothing, left == before, "{ran:?}");
    }
    let ran = world.run(&["approvals", "deny", "--all", "--yes", "--json"]).await;
    let denied = ran.json()["approvals"].as_array().expect("a list").clone();
    assert_eq!((denied.len(), open().await), (2, 0));
    assert!(denied.iter().all(|denied| denied["state"] == "denied"), "{denied:?}");
    let again = world.run(&["call", "delete_room", "--arg", "room_name=daily-standup"]).await;
    assert!(again.stderr.contains("declined") && again.stderr.contains(&id), "{again:?}");
    let ran = world.run(&["approvals", "deny", "--all"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "nothing waits for approval\n"));
    for wrong in [
        &["deny"][..],
        &["deny", "--client", "agent"],
        &["deny", "--client", "agent", &id],
        &["deny", &id, "--all"],
        &["deny", "--yes", &id],
    ] {
        let ran = world.run(&[&["approvals"], wrong].concat()).await;
        assert_eq!(ran.code, 2, "{wrong:?}");
        assert!(ran.stderr.contains("--all"), "{ran:?}");
    }
    assert!(world.requests().iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn a_person_may_shorten_an_id_where_it_is_clear_which_is_meant() {
    let world = asking_world().await;
    let id = deletion(&world).await;
    for command in ["show", "approve", "deny"] {
        for (given, words) in [
            (&id[..5], "is too short for an approval id; give at least 6 characters of it"),
            ("ffffff", "no approval has an id that begins with ffffff"),
            ("daily-", "is not an approval id"),
            ("DAILY0", "is not an approval id"),
        ] {
            let ran = world.run(&["approvals", command, given]).await;
            assert_eq!(ran.code, 2, "{ran:?}");
            let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains(words), "{command} {given}: {said}");
        }
    }
    for (command, state) in [("show", "pending"), ("approve", "approved"), ("deny", "denied")] {
        let ran = world.run(&["approvals", command, &id[..6], "--json"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let approval = &ran.json()["approval"];
        assert_eq!((&approval["id"], &approval["state"]), (&json!(id), &json!(state)));
    }
    // The new approval of a denied call has another id.
    let ran = world.run(&["approvals", "approve", &id[..31]]).await;
    assert!(ran.stdout.contains("this approval is new"), "{ran:?}");
    let other = world.run(&["approvals", "show", &id[..6], "--account", "other"]).await;
    assert!(other.stderr.contains("belongs to the account `work`"), "{other:?}");
}
