//! What a person froze sends nothing for any caller until the person lifts it.

use crate::agents::{script, server, tool_error};
use crate::cli::ran;
use crate::wire::{ALLOW_ALL, daily, kind, message};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use tokio::task::JoinSet;
use whereby::simulator::{Gate, Reply};
use whereby::{Call, WriteOutcome};
use whereby_tests::{World, set_mode};

const FILE: &str = "state/whereby/frozen.json";
const AGENTS: &str = "[agents.a]\n[agents.b]\n";

async fn world() -> World {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(&format!("{ALLOW_ALL}{AGENTS}"));
    world
}

/// Whether a call is denied, in which case nothing was sent.
async fn is_stopped(world: &World, agent: Option<&str>, account: &str) -> bool {
    world.simulator.clear_requests();
    let call = Call::new("list_rooms", json!({})).account(Some(account)).agent(agent);
    let outcome = world.session().run(call).await;
    match outcome.result {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), "denied", "{error}");
            assert!(outcome.requests.is_empty());
            world.assert_untouched();
            true
        }
    }
}

#[tokio::test]
async fn a_freeze_stops_the_calls_that_it_names_and_no_others() {
    let calls = [
        (None, "work"),
        (None, "other"),
        (Some("a"), "work"),
        (Some("a"), "other"),
        (Some("b"), "work"),
    ];
    for (selector, stopped) in [
        (&[][..], [true, true, true, true, true]),
        (&["--agent", "a"], [false, false, true, true, false]),
        (&["--account", "work"], [true, false, true, false, true]),
        // `default` means the default account.
        (&["--account", "default"], [true, false, true, false, true]),
        (&["--agent", "a", "--account", "other"], [false, false, false, true, false]),
    ] {
        let world = world().await;
        ran(&world, &[&["freeze"], selector].concat(), 0).await;
        let mode = std::fs::metadata(world.path(FILE)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for month in 0..2 {
            for ((agent, account), expected) in calls.into_iter().zip(stopped) {
                let found = is_stopped(&world, agent, account).await;
                assert_eq!(found, expected, "{selector:?} {agent:?} {account} {month}");
            }
            world.move_clock(31 * 86_400);
        }
        ran(&world, &[&["unfreeze"], selector].concat(), 0).await;
        assert!(!world.path(FILE).exists());
        for (agent, account) in calls {
            assert!(!is_stopped(&world, agent, account).await, "{selector:?}");
        }
    }
}

#[tokio::test]
async fn people_are_told_who_and_why_and_agents_that_a_person_stopped_it() {
    let world = world().await;
    ran(&world, &["freeze", "--agent", "a", "--reason", " a \u{1b}[2J secret\nplan "], 0).await;
    let delete = ["call", "delete_room", "--arg", "room_name=daily", "--agent", "a", "--force"];
    let cli = ran(&world, &[&delete[..], &["--json"]].concat(), 4).await.json();
    let error = &cli["error"];
    assert_eq!((&error["kind"], &error["effect"]), (&json!("denied"), &json!("none")));
    let text = error["message"].as_str().expect("a message");
    assert!(text.contains("frozen: the agent `a` since "), "{text}");
    assert!(text.contains("secret") && !text.contains(['\n', '\u{1b}']), "{text}");
    assert_eq!(error["hint"], "to lift it, run: whereby unfreeze --agent a");
    // A dry run says so too.
    ran(&world, &[&delete[..], &["--dry-run"]].concat(), 4).await;

    let arguments = json!({"room_name": "daily"});
    let mcp = tool_error(&server(&world, Some("a")), "delete_room", arguments).await;
    let lua = "return app.integrations.whereby.delete_room({ room_name = 'daily' })";
    let lua = script(&world, Some("a"), lua).await.error.expect("stopped").to_json();
    for error in [mcp, lua] {
        assert_eq!(error["kind"], "denied");
        assert_eq!(error["message"], "delete_room by the account `work` is stopped");
        assert_eq!(error["hint"], "a person has stopped it; do not try again");
        assert_eq!(error["retryable"], false);
    }
    world.assert_untouched();
    let rows = world.audit();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert_eq!(row.agent.as_deref(), Some("a"));
        assert_eq!(row.arguments, json!({"room_name": "daily"}));
        assert_eq!(row.outcome.expect("an outcome").kind.as_deref(), Some("denied"));
    }
}

#[tokio::test]
async fn nobody_is_asked_about_a_frozen_call_and_an_approved_one_stays_frozen() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(AGENTS);
    let delete = ["call", "delete_room", "--arg", "room_name=daily", "--json"];
    let stored = ran(&world, &delete, 5).await.json();
    let id = stored["meta"]["approval_id"].as_str().expect("an id").to_owned();
    ran(&world, &["freeze"], 0).await;
    let create = ran(&world, &["call", "create_room", "--json"], 4).await.json();
    assert_eq!(create["meta"]["approval_id"], Value::Null);
    // Reading goes on, and so does deciding.
    for arguments in [
        &["audit"][..],
        &["approvals", "list"],
        &["list"],
        &["docs"],
        &["accounts"],
        &["agents", "list"],
        &["approvals", "approve", &id],
    ] {
        ran(&world, arguments, 0).await;
    }
    let doctor = ran(&world, &["doctor"], 0).await.stdout;
    assert!(doctor.contains("everything since "), "{doctor}");
    assert!(doctor.contains("to lift it, run: whereby unfreeze"), "{doctor}");
    ran(&world, &delete, 4).await;
    world.assert_untouched();
    // It was not used up.
    ran(&world, &["unfreeze"], 0).await;
    ran(&world, &delete, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_under_way_sends_nothing_more() {
    let world = world().await;
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let session = world.session();
    let call = Call::new("delete_room", json!({"room_name": "daily"})).agent(Some("a"));
    let call = tokio::spawn(async move { session.run(call).await });
    world.simulator.wait_for_requests(1).await;
    ran(&world, &["freeze", "--agent", "a"], 0).await;
    gate.open();
    let outcome = call.await.expect("no panic");
    assert_eq!(kind(&outcome), "denied", "{outcome:?}");
    assert_eq!(outcome.write, WriteOutcome::None);
    assert_eq!((outcome.requests.len(), world.requests().len()), (1, 1));
    assert!(message(&outcome).contains("frozen: the agent `a`"), "{}", message(&outcome));
    let rows = world.audit();
    let outcome = rows[0].outcome.as_ref().expect("an outcome");
    assert_eq!((outcome.kind.as_deref(), outcome.requests.len()), (Some("denied"), 1));
    // Another agent's goes on.
    let call = Call::new("delete_room", json!({"room_name": "daily"})).agent(Some("b"));
    assert!(world.session().run(call).await.result.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_sent_before_keeps_its_outcome() {
    let world = world().await;
    let gate = Gate::new();
    world.simulator.script("POST", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let session = world.session();
    let call = tokio::spawn(async move { session.call(None, "create_room", json!({})).await });
    world.simulator.wait_for_requests(1).await;
    ran(&world, &["freeze"], 0).await;
    gate.open();
    let outcome = call.await.expect("no panic");
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!(outcome.write, WriteOutcome::Done);
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_a_connection_do_not_leave() {
    let world = world().await;
    let session = world.session_with(None, Some(crate::hostile::HOSTILE.to_vec()));
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 1000, Reply::carried_out().held_by(&gate));
    let call = tokio::spawn(async move {
        session.call(None, "list_rooms", json!({"cursor": "run many ok"})).await
    });
    world.simulator.wait_for_requests(17).await;
    ran(&world, &["freeze", "--account", "work"], 0).await;
    gate.open();
    let outcome = call.await.expect("no panic");
    assert_eq!(kind(&outcome), "denied", "{:?}", outcome.result);
    assert_eq!(world.requests().len(), 17);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn freezes_at_the_same_time_all_stay() {
    let world = World::with_rooms(vec![daily()]).await;
    let names: Vec<String> = (0..16).map(|n| format!("a{n}")).collect();
    let agents: String = names.iter().map(|name| format!("[agents.{name}]\n")).collect();
    world.configure(&agents);
    let mut racers = JoinSet::new();
    for name in names {
        let environment = world.environment();
        racers.spawn(async move {
            whereby_tests::run(&["freeze", "--agent", &name], environment, "", false).await.code
        });
    }
    assert_eq!(racers.join_all().await, [0; 16]);
    let list = ran(&world, &["agents", "list", "--json"], 0).await.json();
    let agents = list["agents"].as_array().expect("a list");
    assert_eq!(agents.len(), 16);
    assert!(agents.iter().all(|agent| agent["frozen"] == true), "{list}");
}

#[tokio::test]
async fn what_cannot_be_read_freezes_everything() {
    type Spoil = fn(&World);
    let good = r#"{"version":1,"frozen":[]}"#;
    let cases: [(&str, Spoil); 10] = [
        ("is damaged", |world| drop(world.write(FILE, ""))),
        ("is damaged", |world| drop(world.write(FILE, "{\"version\":1,"))),
        ("is damaged", |world| drop(world.write(FILE, "{}"))),
        ("is damaged", |world| {
            drop(world.write(FILE, r#"{"version":1,"frozen":[],"thawed":[]}"#));
        }),
        ("is damaged", |world| {
            let entry = r#"{"version":1,"frozen":[{"agent":"a","until":1,"time":0,"by":"x"}]}"#;
            drop(world.write(FILE, entry));
        }),
        ("was made by another version", |world| {
            drop(world.write(FILE, r#"{"version":2,"frozen":[]}"#));
        }),
        ("is larger than", |world| drop(world.write(FILE, &" ".repeat(300 * 1024)))),
        ("can be read or changed by others", |world| {
            world.write(FILE, r#"{"version":1,"frozen":[]}"#);
            set_mode(&world.path(FILE), 0o622);
        }),
        ("is not a file", |world| std::fs::create_dir(world.path(FILE)).expect("a directory")),
        ("cannot be read", |world| {
            std::os::unix::fs::symlink("/nowhere/at/all", world.path(FILE)).expect("a link");
        }),
    ];
    for (words, spoil) in cases {
        let world = world().await;
        ran(&world, &["freeze"], 0).await;
        ran(&world, &["unfreeze"], 0).await;
        spoil(&world);
        for (agent, account) in [(None, "work"), (Some("a"), "other")] {
            assert!(is_stopped(&world, agent, account).await, "{words}");
        }
        let file = world.path(FILE).display().to_string();
        for arguments in [
            &["call", "list_rooms"][..],
            &["freeze"],
            &["freeze", "--agent", "a"],
            &["unfreeze"],
            &["unfreeze", "--all"],
            &["doctor"],
        ] {
            let ran = world.run(arguments).await;
            let said = format!("{}{}", ran.stdout, ran.stderr);
            let expected = if arguments[0] == "call" { 4 } else { 3 };
            assert_eq!(ran.code, expected, "{ran:?}");
            let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains(words) && said.contains(&file), "{arguments:?}: {said}");
        }
        ran(&world, &["audit"], 0).await;
        let list = ran(&world, &["agents", "list", "--json"], 0).await.json();
        assert_eq!(list["agents"][0]["frozen"], true);
        let error = tool_error(&server(&world, Some("a")), "list_rooms", json!({})).await;
        assert!(!error.to_string().contains(&file), "{error}");
        world.assert_untouched();
    }
    let world = world().await;
    ran(&world, &["freeze"], 0).await;
    world.write(FILE, good);
    assert!(!is_stopped(&world, None, "work").await);
}

#[tokio::test]
async fn a_misspelled_name_is_an_error_and_what_changes_nothing_says_so() {
    let world = world().await;
    for (arguments, words) in [
        (&["freeze", "--agent", "aa"][..], "no agent is called `aa`"),
        (&["freeze", "--account", "wrk"], "no account is called `wrk` (did you mean `work`?)"),
        (&["freeze", "--agent", "A B"], "cannot be the name of an agent"),
        (&["unfreeze", "--all", "--agent", "a"], "cannot be used with"),
        (&["unfreeze", "--all", "--account", "work"], "--all lifts every freeze"),
    ] {
        let ran = ran(&world, arguments, 2).await;
        assert!(ran.stderr.contains(words), "{arguments:?}: {ran:?}");
    }
    assert!(!world.path(FILE).exists());
    for (arguments, words) in [
        (&["unfreeze"][..], "nothing was frozen\n"),
        (&["unfreeze", "--agent", "a"], "nothing was frozen\n"),
        (&["freeze", "--agent", "a", "--reason", "one"], "froze the agent `a`"),
        (&["freeze", "--agent", "a", "--reason", "two"], "frozen before"),
        (&["unfreeze", "--account", "work"], "the account `work` was not frozen\n"),
        // The only one is meant.
        (&["unfreeze"], "lifted the freeze of the agent `a`\n"),
        (&["freeze", "--agent", "a", "--reason", "two"], "froze the agent `a`"),
        (&["freeze"], "froze everything"),
        // Everything is meant; the other stays.
        (&["unfreeze"], "lifted the freeze of everything\nfrozen now:\n  the agent `a`"),
    ] {
        let ran = ran(&world, arguments, 0).await;
        assert!(ran.stdout.contains(words), "{arguments:?}: {ran:?}");
    }
    let document = ran(&world, &["freeze", "--account", "work", "--json"], 0).await.json();
    assert_eq!((&document["success"], &document["changed"]), (&json!(true), &json!(true)));
    let frozen = document["frozen"].as_array().expect("a list");
    assert_eq!(frozen.len(), 2, "{document}");
    assert_eq!((&frozen[0]["agent"], &frozen[0]["reason"]), (&json!("a"), &json!("two")));
    assert!(frozen[0]["by"].is_string() && frozen[0]["since"].is_string());
    // Which of them is to be lifted is not guessed.
    let several = ran(&world, &["unfreeze"], 2).await;
    assert!(several.stderr.contains("whereby unfreeze --agent a"), "{several:?}");
    let document = ran(&world, &["unfreeze", "--agent", "a", "--json"], 0).await.json();
    assert_eq!(document["lifted"].as_array().map(Vec::len), Some(1), "{document}");
    let document = ran(&world, &["unfreeze", "--all", "--json"], 0).await.json();
    assert_eq!(
        (document["lifted"].as_array().map(Vec::len), &document["frozen"]),
        (Some(1), &json!([]))
    );
    // Without a configuration that can be read, a freeze is possible all the same.
    world.write("config/whereby/config.toml", "not TOML");
    ran(&world, &["freeze", "--agent", "whoever"], 0).await;
    ran(&world, &["freeze"], 0).await;
    ran(&world, &["unfreeze", "--agent", "whoever"], 0).await;
}

#[tokio::test]
async fn an_embedding_program_without_a_state_directory_has_nothing_frozen() {
    let world = world().await;
    ran(&world, &["freeze"], 0).await;
    let environment = world.environment();
    let settings = whereby::Settings::load(None, &environment).expect("settings");
    let session = whereby::Session::builder().settings(settings).environment(environment);
    let session = session.build().expect("a session");
    assert!(session.call(None, "list_rooms", json!({})).await.result.is_ok());
}

#[tokio::test]
async fn freezing_again_without_a_reason_keeps_what_is_known() {
    let world = world().await;
    let args = ["freeze", "--agent", "a", "--reason", "wrong room", "--json"];
    let first = ran(&world, &args, 0).await.json()["frozen"].clone();
    world.move_clock(60);
    let again = ran(&world, &["freeze", "--agent", "a", "--json"], 0).await.json();
    assert_eq!((&again["changed"], &again["frozen"]), (&json!(false), &first));
    let said = ran(&world, &["freeze", "--agent", "a"], 0).await.stdout;
    assert!(said.starts_with("the agent `a`: frozen before; nothing was changed\n"), "{said}");
    // Another reason replaces it.
    let other = ran(&world, &["freeze", "--agent", "a", "--reason", "x", "--json"], 0).await.json();
    assert_eq!(other["frozen"][0]["reason"], "x");
    assert_ne!(other["frozen"][0]["since"], first[0]["since"]);
}

#[tokio::test]
async fn the_permissions_and_the_agents_say_what_is_frozen() {
    let world = world().await;
    ran(&world, &["freeze", "--agent", "a", "--account", "work", "--reason", "why"], 0).await;
    for arguments in [
        &["permissions", "--agent", "a"][..],
        &["permissions", "create_room", "--agent", "a"],
        &["permissions", "delete_room", "{\"room_name\": \"daily\"}", "--agent", "a"],
    ] {
        let shown = ran(&world, arguments, 0).await.stdout;
        let lift = "to lift it: whereby unfreeze --agent a --account work";
        assert!(shown.contains("frozen: the agent `a`") && shown.contains(lift), "{shown}");
        let json = ran(&world, &[arguments, &["--json"]].concat(), 0).await.json();
        assert_eq!(json["permissions"]["frozen"][0]["reason"], "why", "{json}");
        let other = ran(&world, &[arguments, &["--account", "other"]].concat(), 0).await.stdout;
        assert!(!other.contains("frozen"), "{other}");
    }
    let frozen = async || {
        let list = ran(&world, &["agents", "list"], 0).await.stdout;
        list.lines().find(|line| line.starts_with("a ")).expect("the agent").to_owned()
    };
    assert!(frozen().await.ends_with("with work"), "{}", frozen().await);
    ran(&world, &["freeze", "--agent", "a"], 0).await;
    assert!(frozen().await.ends_with("yes"), "{}", frozen().await);
}
