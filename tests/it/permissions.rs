//! Each rule: allowed, asked for, denied; and on denial nothing reaches the server.

mod asking;
mod files;
mod time;

use crate::wire::{ALLOW_ALL, calls, daily_world, kind, message, reads};
use serde_json::{Value, json};
use whereby::simulator::RoomSeed;
use whereby::{Call, Outcome, WriteOutcome};
use whereby_tests::World;

#[tokio::test]
async fn reading_is_allowed_by_default() {
    let world = World::new().await;
    let outcome = world.call("list_rooms", json!({"limit": 2})).await;
    let page = outcome.result.expect("a page");
    assert_eq!(page["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test]
async fn writing_is_asked_for_by_default_and_fails_where_nobody_is_asked() {
    let world = World::new().await;
    let outcome = world.call("create_room", json!({})).await;
    let error = outcome.result.expect_err("nobody to ask");
    assert_eq!(error.kind(), "approval-required");
    world.assert_untouched();
}

/// The kind of error that a permission leads to where nobody is asked; none where the call is made.
fn refusal(permission: &str) -> Option<&'static str> {
    match permission {
        "allow" => None,
        "ask" => Some("approval-required"),
        _ => Some("denied"),
    }
}

/// Checks what came of a call, and that a refused one sent nothing.
fn assert_came_to(world: &World, outcome: &Outcome, permission: &str, case: &str) {
    match refusal(permission) {
        None => assert!(outcome.result.is_ok(), "{case}: {:?}", outcome.result),
        Some(expected) => {
            assert_eq!(kind(outcome), expected, "{case}");
            assert_eq!(outcome.write, whereby::WriteOutcome::None, "{case}");
            assert!(outcome.requests.is_empty(), "{case}");
            world.assert_untouched();
        }
    }
    let verdict = outcome.verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.permission.as_str(), permission, "{case}");
    world.simulator.clear_requests();
}

const PERMISSIONS: [&str; 3] = ["allow", "ask", "deny"];

fn effect(function: &str) -> &'static str {
    if reads(function) { "read" } else { "write" }
}

#[tokio::test]
async fn each_effect_and_each_function_is_allowed_asked_for_or_denied_by_its_rule() {
    let (world, meeting) = daily_world().await;
    for (function, arguments) in calls(&meeting) {
        let effect = effect(function);
        for permission in PERMISSIONS {
            let other = if permission == "deny" { "allow" } else { "deny" };
            for (rules, key) in [
                (
                    format!("[permissions]\n{effect} = \"{permission}\"\n"),
                    format!("permissions.{effect}"),
                ),
                (
                    format!(
                        "[permissions]\n{effect} = \"{other}\"\n[permissions.functions]\n{function} = \"{permission}\"\n"
                    ),
                    format!("permissions.functions.{function}"),
                ),
                (
                    format!(
                        "[permissions]\n{effect} = \"{other}\"\n[accounts.work.permissions]\n{effect} = \"{permission}\"\n"
                    ),
                    format!("accounts.work.permissions.{effect}"),
                ),
                (
                    format!(
                        "[permissions.functions]\n{function} = \"{other}\"\n[accounts.work.permissions.functions]\n{function} = \"{permission}\"\n"
                    ),
                    format!("accounts.work.permissions.functions.{function}"),
                ),
                (
                    format!(
                        "[permissions.functions]\n{function} = \"{permission}\"\n[accounts.work.permissions]\n{effect} = \"{other}\"\n"
                    ),
                    format!("permissions.functions.{function}"),
                ),
            ] {
                let mut arguments = arguments.clone();
                if function == "delete_room" {
                    // A name is never used again, so each deletion needs a room of its own.
                    let room = world.simulator.add_room(0, &RoomSeed::prefixed("gone-"));
                    arguments["room_name"] = room.name.into();
                }
                let outcome = call_under(&world, &rules, function, &arguments).await;
                let case = format!("{function} under {rules}");
                assert_eq!(
                    outcome.verdict.as_ref().map(|v| v.rule.key.clone()),
                    Some(key),
                    "{case}"
                );
                assert_came_to(&world, &outcome, permission, &case);
            }
        }
    }
}

/// Calls a function under some rules, which tell whose account they are about by their tables.
async fn call_under(world: &World, rules: &str, function: &str, arguments: &Value) -> Outcome {
    configure(world, rules);
    world.call(function, arguments.clone()).await
}

/// Writes the configuration; accounts whose tables are in the rules already get their keys there.
fn configure(world: &World, rules: &str) -> std::path::PathBuf {
    let (url, tokens) = (world.simulator.url(), world.simulator.tokens());
    let mut text = format!("default_account = \"work\"\n{rules}");
    for (name, token) in ["work", "other"].into_iter().zip(tokens) {
        text.push_str(&format!(
            "\n[accounts.{name}]\naccess_token = \"{token}\"\napi_url = \"{url}\"\n"
        ));
    }
    world.write("config/whereby/config.toml", &text)
}

#[tokio::test]
async fn a_rule_of_one_account_is_not_one_of_another() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    configure(
        &world,
        "[accounts.work.permissions]\nread = \"deny\"\n[accounts.other.permissions]\nwrite = \"deny\"\n",
    );
    let session = world.session();
    let denied = session.call(None, "list_rooms", json!({})).await;
    assert_came_to(&world, &denied, "deny", "work reads");
    let allowed = session.call(Some("other"), "list_rooms", json!({})).await;
    assert!(allowed.result.is_ok(), "{:?}", allowed.result);
    world.simulator.clear_requests();
    let denied = session.call(Some("other"), "create_room", json!({})).await;
    assert_came_to(&world, &denied, "deny", "other writes");
    let asked = session.call(Some("work"), "create_room", json!({})).await;
    assert_came_to(&world, &asked, "ask", "work writes");
}

#[tokio::test]
async fn a_destination_takes_its_own_permission_besides() {
    let world = World::with_rooms(Vec::new()).await;
    let streaming = json!({"streaming": {"destination": {"url": "rtmp://a.example/live/k"}}});
    for (field, is_destination) in [
        (json!("hostRoomUrl"), false),
        (json!({"recording": {"type": "none"}}), false),
        // It is not known to go nowhere where it is told where to go.
        (json!({"recording": {"type": "none", "destination": {"provider": "whereby"}}}), true),
        (json!({"recording": {"type": "local"}}), true),
        (json!({"recording": {"type": "cloud"}}), true),
        (streaming, true),
        (json!({"liveTranscription": {"startTrigger": "none"}}), true),
    ] {
        let arguments = json!({"fields": [field]});
        for write in PERMISSIONS {
            for destination in PERMISSIONS {
                let rules = format!(
                    "[permissions]\nwrite = \"{write}\"\ndestination = \"{destination}\"\n"
                );
                let strictest = if is_destination && rank(destination) > rank(write) {
                    destination
                } else {
                    write
                };
                let outcome = call_under(&world, &rules, "create_room", &arguments).await;
                assert_came_to(&world, &outcome, strictest, &format!("{arguments} under {rules}"));
            }
        }
        // Leave for the function alone is no leave to send its meetings somewhere.
        let rules = "[permissions.functions]\ncreate_room = \"allow\"\n";
        let outcome = call_under(&world, rules, "create_room", &arguments).await;
        let expected = if is_destination { "ask" } else { "allow" };
        assert_came_to(&world, &outcome, expected, &arguments.to_string());
    }
}

fn rank(permission: &str) -> Option<usize> {
    PERMISSIONS.iter().position(|known| *known == permission)
}

#[tokio::test]
async fn force_turns_ask_into_allow_and_nothing_else() {
    let world = World::with_rooms(Vec::new()).await;
    let forced = async |world: &World| {
        world.session().run(Call::new("create_room", json!({})).force(true)).await
    };
    for (rules, expected, is_forced) in [
        ("", None, true),
        ("[permissions]\nwrite = \"ask\"\n", None, true),
        ("[permissions]\nwrite = \"allow\"\n", None, false),
        ("[permissions]\nwrite = \"deny\"\n", Some("denied"), false),
        ("[permissions.functions]\ncreate_room = \"deny\"\n", Some("denied"), false),
        ("[permissions]\nforce = \"allow\"\n", None, true),
        ("[permissions]\nforce = \"deny\"\n", Some("denied"), false),
        ("[accounts.work.permissions]\nforce = \"deny\"\n", Some("denied"), false),
        ("[accounts.other.permissions]\nforce = \"deny\"\n", None, true),
        ("[permissions]\nforce = \"deny\"\nwrite = \"allow\"\n", None, false),
    ] {
        configure(&world, rules);
        let outcome = forced(&world).await;
        assert_eq!(outcome.forced, is_forced, "{rules}");
        match expected {
            None => assert!(outcome.result.is_ok(), "{rules}: {:?}", outcome.result),
            Some(expected) => {
                assert_eq!(kind(&outcome), expected, "{rules}");
                world.assert_untouched();
            }
        }
        world.simulator.clear_requests();
    }
}

#[tokio::test]
async fn a_force_that_is_forbidden_names_the_rule_that_forbids_it() {
    let world = World::with_rooms(Vec::new()).await;
    let file = configure(&world, "[permissions]\nread = \"allow\"\nforce = \"deny\"\n");
    let outcome = world.session().run(Call::new("create_room", json!({})).force(true)).await;
    let text = message(&outcome);
    assert!(text.contains("may not be forced: permissions.force = \"deny\""), "{text}");
    assert!(text.contains(&format!("({}, line 4)", file.display())), "{text}");
    world.assert_untouched();
}

#[tokio::test]
async fn force_is_no_leave_for_a_destination_that_is_denied() {
    let world = World::with_rooms(Vec::new()).await;
    configure(&world, "[permissions]\ndestination = \"deny\"\n");
    let arguments = json!({"fields": [{"recording": {"type": "cloud"}}]});
    let outcome = world.session().run(Call::new("create_room", arguments).force(true)).await;
    assert_came_to(&world, &outcome, "deny", "a forced recording");
}

#[tokio::test]
async fn a_denial_names_the_rule_the_file_the_line_and_what_to_change() {
    let world = World::with_rooms(Vec::new()).await;
    let file = configure(
        &world,
        "[permissions]\nread = \"allow\"\n# A remark.\n[permissions.functions]\nget_room = \"allow\"\ndelete_room = \"deny\"\n",
    );
    let outcome = world.call("delete_room", json!({"room_name": "daily"})).await;
    let text = message(&outcome);
    let rule = "permissions.functions.delete_room = \"deny\"";
    assert_eq!(
        text,
        format!("delete_room by the account `work` is denied: {rule} ({}, line 7)", file.display())
    );
    let hint = outcome.result.expect_err("denied").hint(WriteOutcome::None).expect("a hint");
    assert!(
        hint.contains("line 7") && hint.contains("permissions.functions.delete_room = \"allow\""),
        "{hint}"
    );
    world.assert_untouched();
}

#[tokio::test]
async fn wrong_arguments_are_told_before_anything_is_decided() {
    let world = World::new().await;
    world.configure("[permissions]\nread = \"deny\"\nwrite = \"deny\"\n");
    let outcome = world.call("list_rooms", json!({"limit": 0})).await;
    assert_eq!(kind(&outcome), "invalid-argument");
    assert!(outcome.verdict.is_none());
    world.configure(ALLOW_ALL);
    let outcome = world.call("create_room", json!({"room_mode": "huge"})).await;
    assert_eq!(kind(&outcome), "invalid-argument");
    world.assert_untouched();
}
