//! `whereby call`: results and each kind of failure, for people and as JSON.

use super::{Screen, assert_call_document, still_world};
use crate::wire::{ALLOW_ALL, later};
use serde_json::json;
use whereby::simulator::{Reply, RoomSeed};
use whereby_tests::{World, run};

#[tokio::test]
async fn results_are_tables_for_people() {
    let (world, room) = still_world().await;
    let mut screen = Screen::new(&world);
    screen.run(&["call", "list_rooms"]).await;
    screen.run(&["call", "whereby.other.list-rooms"]).await;
    screen.run(&["call", "get_room", "--arg", "room_name=/Daily"]).await;
    screen.run(&["call", "list_meetings", r#"{"limit": 1}"#]).await;
    screen.run(&["call", "list_meetings", "--arg", "to_date=2020-01-01"]).await;
    let id = format!("meeting_id=daily:{}", room.sessions[0]);
    screen.run(&["call", "get_meeting", "--arg", &id]).await;
    screen.run(&["call", "get_current_user"]).await;
    let end = "end_date=2099-01-01T00:00:00Z";
    screen.run(&["call", "create_room", "--arg", end, "--arg", "room_name_prefix=new-"]).await;
    screen.run(&["call", "create_room", "--arg", "start_date=2098-12-31T23:00:00Z"]).await;
    screen.run(&["call", "delete_room", "--arg", "room_name=daily"]).await;
    screen.finish("results");
}

#[tokio::test]
async fn results_are_one_document_under_json() {
    let (world, room) = still_world().await;
    let mut screen = Screen::new(&world);
    let id = format!("{{\"meeting_id\": \"daily:{}\"}}", room.sessions[0]);
    for arguments in [
        &["call", "list_rooms", r#"{"limit": 1}"#, "--json"][..],
        &["--json", "--account", "other", "call", "list_rooms"],
        &["call", "get_meeting", &id, "--json"],
        &["call", "create_room", r#"{"end_date": "2099-01-01T00:00:00Z"}"#, "--json"],
        &["call", "delete_room", r#"{"room_name": "daily"}"#, "--json"],
    ] {
        let ran = screen.run(arguments).await;
        assert_call_document(&ran);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    }
    screen.finish("results_json");
}

#[tokio::test]
async fn an_argument_that_is_there_twice_is_refused_however_it_is_given() {
    let (world, _) = still_world().await;
    world.configure(ALLOW_ALL);
    let twice = r#"{"room_mode": "group", "room_name_prefix": "a-", "room_mode": "normal"}"#;
    let nested = r#"{"fields": [{"recording": {"type": "none", "type": "cloud"}}]}"#;
    let arg = r#"fields=[{"isLocked": true, "isLocked": false}]"#;
    for (arguments, stdin, name) in [
        (&["call", "create_room", twice][..], "", "room_mode"),
        (&["call", "create_room", "-"], twice, "room_mode"),
        (&["call", "create_room", nested], "", "type"),
        (&["call", "create_room", "--arg", arg], "", "isLocked"),
        (&["call", "create_room", "--dry-run", twice], "", "room_mode"),
    ] {
        let ran = run(arguments, world.environment(), stdin, false).await;
        assert_eq!(ran.code, 2, "{ran:?}");
        let words = format!("ambiguous: the member `{name}` is there twice at line 1 column ");
        assert!(ran.stderr.contains(&words), "{ran:?}");
        assert!(ran.stderr.ends_with("; write it once\n"), "{ran:?}");
    }
    world.assert_untouched();
}

/// What happened, whether the room exists, and what to do: each once.
#[tokio::test]
async fn the_hint_after_an_uncertain_write_does_not_say_to_repeat_it() {
    let (world, _) = still_world().await;
    world.configure(ALLOW_ALL);
    let create = &["call", "create_room"][..];
    let delete = &["call", "delete_room", "--arg", "room_name=daily"][..];
    let exists = "the room may exist: look at list_rooms before trying again";
    for (method, reply, arguments, error, hint) in [
        ("POST", later(500), create, "Whereby answered 500", exists),
        ("POST", Reply::carried_out().hanging_up(), create, "the connection failed", exists),
        ("POST", Reply::status(200).body("<html>"), create, "web page", exists),
        ("DELETE", later(500), delete, "Whereby answered 500", "may be gone: look with get_room"),
        ("POST", Reply::carried_out().body("{}"), create, "", "list_rooms"),
    ] {
        world.simulator.script(method, "/v1/meetings", 9, reply);
        let ran = world.run(arguments).await;
        let lines: Vec<&str> = ran.stderr.lines().collect();
        let [first, second] = lines.as_slice() else { panic!("{error}: {ran:?}") };
        assert!(first.starts_with("error: ") && first.contains(error), "{ran:?}");
        assert!(second.starts_with("hint: ") && second.contains(hint), "{ran:?}");
        for words in ["the room", "list_rooms", "get_room", "trying again", "the change"] {
            assert!(!first.contains(words), "`{words}` is in the error: {ran:?}");
        }
        assert_eq!(ran.code, 10, "{ran:?}");
        world.simulator.clear_scripts();
    }
}

/// Runs one call for each kind of failure.
async fn fail_in_every_way(world: &World, screen: &mut Screen<'_>, json: &[&str]) -> Vec<u8> {
    let error = |status: u16| later(status).json(&json!({"error": "because"}));
    let mut exits = Vec::new();
    let simulator = &world.simulator;
    for (reply, call) in [
        (None, &["call", "list_room"][..]),
        (None, &["call", "list_rooms", "--account", "wrok"]),
        (None, &["call", "list_rooms", "{\"limit\": "]),
        (None, &["call", "list_rooms", "--arg", "limit=1000"]),
        (None, &["call", "list_rooms", "--config", "absent.toml"]),
        (None, &["call", "list_rooms", "--component", "absent.wasm"]),
        (None, &["call", "get_room", "--arg", "room_name=nobody"]),
        (Some(error(401)), &["call", "list_rooms"]),
        (Some(error(403)), &["call", "list_rooms"]),
        (Some(error(422)), &["call", "list_rooms"]),
        (Some(Reply::status(400)), &["call", "list_rooms"]),
        (Some(error(429)), &["call", "list_rooms"]),
        (Some(error(503)), &["call", "list_rooms"]),
        (Some(Reply::status(500)), &["call", "create_room"]),
        (Some(Reply::carried_out().body("<html>")), &["call", "create_room"]),
        (Some(Reply::status(200).body("<html>")), &["call", "list_rooms"]),
    ] {
        if let Some(reply) = reply {
            simulator.script("*", "/v1/meetings", 1, reply);
        }
        let arguments = [call, json].concat();
        let ran = screen.run(&arguments).await;
        if json.is_empty() {
            assert_eq!(ran.stdout, "", "{ran:?}");
            assert!(ran.stderr.starts_with("error: "), "{ran:?}");
        } else {
            assert_call_document(&ran);
            assert_eq!(ran.stderr, "");
        }
        exits.push(ran.code);
    }
    world.write("project/no.wasm", "no component");
    for (rules, call) in [
        ("", &["call", "create_room"][..]),
        ("[permissions.functions]\ncreate_room = \"deny\"\n", &["call", "create_room"]),
        ("[permissions]\nforce = \"deny\"\n", &["call", "create_room", "--force"]),
        ("", &["call", "list_rooms", "--component", "no.wasm"]),
    ] {
        world.configure(rules);
        let ran = screen.run(&[call, json].concat()).await;
        if !json.is_empty() {
            assert_call_document(&ran);
        }
        exits.push(ran.code);
    }
    world.configure(ALLOW_ALL);
    exits
}

const EXITS: [u8; 20] = [2, 2, 2, 2, 3, 3, 6, 3, 6, 6, 6, 7, 8, 10, 10, 8, 5, 4, 4, 9];

#[tokio::test]
async fn every_kind_of_failure_has_a_message() {
    let (world, _) = still_world().await;
    let mut screen = Screen::new(&world);
    assert_eq!(fail_in_every_way(&world, &mut screen, &[]).await, EXITS);
    screen.finish("failures");
}

#[tokio::test]
async fn every_kind_of_failure_is_one_document_under_json() {
    let (world, _) = still_world().await;
    let mut screen = Screen::new(&world);
    assert_eq!(fail_in_every_way(&world, &mut screen, &["--json"]).await, EXITS);
    screen.finish("failures_json");
}

#[tokio::test]
async fn a_dry_run_shows_the_plan_and_sends_nothing() {
    let (world, _) = still_world().await;
    let mut screen = Screen::new(&world);
    let streaming =
        r#"{"fields": [{"streaming": {"destination": {"url": "rtmp://a.example/live/s3cret"}}}]}"#;
    for (rules, call, exit) in [
        ("", &["call", "list_rooms", "--arg", "limit=2"][..], 0),
        ("", &["call", "delete_room", "--arg", "room_name=https://acme.whereby.com/Daily"], 0),
        (ALLOW_ALL, &["call", "create_room", streaming], 0),
        ("[permissions]\nread = \"deny\"\n", &["call", "list_rooms"], 4),
        ("", &["call", "create_room", "--force"], 0),
        ("", &["call", "list_rooms", "--arg", "limit=0"], 2),
    ] {
        world.configure(rules);
        for json in [&[][..], &["--json"]] {
            let ran = screen.run(&[call, &["--dry-run"], json].concat()).await;
            assert_eq!(ran.code, exit, "{ran:?}");
            assert!(!format!("{ran:?}").contains("s3cret"), "a stream's key was printed");
            if !json.is_empty() {
                let document = assert_call_document(&ran);
                assert_eq!(document["meta"]["requests"], 0);
                assert_eq!(document["meta"]["dry_run"], true, "{document}");
            }
        }
    }
    screen.finish("dry_run");
    world.assert_untouched();
}

#[tokio::test]
async fn a_dry_run_needs_no_token() {
    let (world, _) = still_world().await;
    world.write(
        "config/whereby/config.toml",
        "[accounts.work]\naccess_token = { command = [\"/absent\"] }\n",
    );
    let ran = world.run(&["call", "list_rooms", "--dry-run"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    world.assert_untouched();
}

#[tokio::test]
async fn values_of_arg_are_typed_by_the_schema() {
    let (world, _) = still_world().await;
    let plan = async |arguments: &[&str]| {
        let ran = world.run(&[&["call"], arguments, &["--dry-run", "--json"]].concat()).await;
        let document = assert_call_document(&ran);
        match ran.code {
            0 => document["data"]["arguments"].clone(),
            code => json!([code, document["error"]["kind"]]),
        }
    };
    for (arguments, expected) in [
        (&["list_rooms", "--arg", "limit=10"][..], json!({"limit": 10})),
        (&["list_rooms", "--arg", "limit=10.0"], json!({"limit": 10})),
        (&["list_rooms", "--arg", "limit=ten"], json!([2, "usage"])),
        (&["list_rooms", "--arg", "limit=\"10\""], json!([2, "invalid-argument"])),
        (&["list_rooms", "--arg", "limit="], json!([2, "usage"])),
        (&["list_rooms", "--arg", "limit=null"], json!({})),
        (&["list_rooms", "--arg", "cursor=10"], json!({"cursor": "10"})),
        (&["list_rooms", "--arg", "cursor=a=b"], json!({"cursor": "a=b"})),
        (&["list_rooms", "--arg", "cursor=\"x\""], json!({"cursor": "\"x\""})),
        (&["list_rooms", "--arg", "cursor=null"], json!({"cursor": "null"})),
        (&["list_rooms", "--arg", "colour=red"], json!([2, "invalid-argument"])),
        (&["list_rooms", "--arg", "limit"], json!([2, "usage"])),
        (&["list_rooms", "--arg", "limit=1", "--arg", "limit=2"], json!([2, "usage"])),
        (&["list_rooms", r#"{"limit": 1}"#, "--arg", "limit=2"], json!([2, "usage"])),
        (
            &["list_rooms", r#"{"limit": 1}"#, "--arg", "cursor=x"],
            json!({"limit": 1, "cursor": "x"}),
        ),
        (&["list_rooms", "[]", "--arg", "limit=2"], json!([2, "usage"])),
        (&["list_rooms", "[]"], json!({})),
        (&["list_rooms", ""], json!({})),
        (&["list_rooms", "null"], json!({})),
        (&["list_rooms", "7"], json!([2, "invalid-argument"])),
        (&["create_room", "--arg", "room_mode=group"], json!({"room_mode": "group"})),
        (
            &["create_room", "--arg", r#"fields=["isLocked"]"#],
            json!({"fields": ["lockRoomOnJoin"]}),
        ),
        (&["create_room", "--arg", "fields=isLocked"], json!([2, "usage"])),
    ] {
        assert_eq!(plan(arguments).await, expected, "{arguments:?}");
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_minus_reads_the_arguments_from_standard_input_and_nothing_else_does() {
    let (world, _) = still_world().await;
    let plan = async |arguments: &[&str], stdin: &str| {
        let arguments = [&["call"], arguments, &["--dry-run", "--json"]].concat();
        let ran = run(&arguments, world.environment(), stdin, false).await;
        let document = assert_call_document(&ran);
        match ran.code {
            0 => document["data"]["arguments"].clone(),
            code => json!([code, document["error"]["kind"]]),
        }
    };
    let large = format!("{{\"cursor\": \"{}\"}}", "x".repeat(200_000));
    for (arguments, stdin, expected) in [
        (&["list_rooms", "-"][..], " {\"limit\": 2}\n", json!({"limit": 2})),
        (
            &["list_rooms", "-", "--arg", "cursor=x"],
            "{\"limit\": 2}",
            json!({"limit": 2, "cursor": "x"}),
        ),
        (&["list_rooms", "-"], "", json!([2, "usage"])),
        (&["list_rooms", "-"], " \n", json!([2, "usage"])),
        (&["list_rooms", "-"], "{", json!([2, "usage"])),
        (&["list_rooms", "-"], &large, json!([2, "usage"])),
        (&["list_rooms"], "{\"limit\": 2}", json!({})),
        (&["list_rooms", "{}"], "{\"limit\": 2}", json!({})),
    ] {
        assert_eq!(plan(arguments, stdin).await, expected, "{arguments:?}");
    }
    world.assert_untouched();
}

#[tokio::test]
async fn invalid_json_arguments_and_empty_standard_input_are_errors() {
    let (world, _) = still_world().await;
    let ran = world.run(&["call", "list_rooms", "--arg", "limit=ten"]).await;
    assert!(ran.stderr.contains("--arg limit=ten: expected an integer"), "{ran:?}");
    let ran = world.run(&["call", "list_rooms", "-"]).await;
    assert!(ran.stderr.contains("standard input is empty"), "{ran:?}");
    world.assert_untouched();
}

#[tokio::test]
async fn functions_and_accounts_are_named_in_every_published_way() {
    let (world, _) = still_world().await;
    world.simulator.add_room(1, &RoomSeed::named("daily"));
    for (arguments, account) in [
        (&["list_rooms"][..], "work"),
        (&["list-rooms"], "work"),
        (&["whereby.list_rooms"], "work"),
        (&["whereby.whereby_list_rooms"], "work"),
        (&["whereby.default.list_rooms"], "work"),
        (&["whereby.other.list_rooms"], "other"),
        (&["whereby.other.whereby_list_rooms"], "other"),
        (&["list_rooms", "--account", "other"], "other"),
        (&["whereby.other.list_rooms", "--account", "other"], "other"),
    ] {
        let ran = world.run(&[&["call"], arguments, &["--json"]].concat()).await;
        let document = assert_call_document(&ran);
        assert_eq!(document["function"], "list_rooms", "{arguments:?}");
        assert_eq!(document["meta"]["account"], account, "{arguments:?}");
    }
    world.simulator.clear_requests();
    for arguments in [
        &["whereby.other.list_rooms", "--account", "work"][..],
        &["whereby.nobody.list_rooms"],
        &["zoom.list_rooms"],
        &["whereby.a.b.list_rooms"],
        &["whereby."],
        &[""],
        &["list_rooms\u{1b}"],
        &["LIST_ROOMS"],
    ] {
        let ran = world.run(&[&["call"], arguments, &["--json"]].concat()).await;
        assert_eq!(assert_call_document(&ran)["error"]["kind"], "usage", "{arguments:?}");
        assert_eq!(ran.code, 2);
    }
    world.assert_untouched();
}
