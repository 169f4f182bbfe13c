//! `whereby doctor`, for each thing that it may find.

use super::{Screen, still_world};
use crate::wire::{ALLOW_ALL, later};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc2822};
use whereby::simulator::Reply;
use whereby_tests::{Ran, World, run};

const CONFIG: &str = "config/whereby/config.toml";

/// Runs the program for people and as JSON, which must end alike; the document is returned.
async fn doctor(world: &World, arguments: &[&str]) -> (Ran, Value) {
    let arguments = [&["doctor"], arguments].concat();
    let ran = world.run(&arguments).await;
    let json = world.run(&[&arguments[..], &["--json"]].concat()).await;
    assert_eq!(ran.code, json.code, "{ran:?} {json:?}");
    let document = json.json();
    assert_eq!(document["ok"] == true, ran.code == 0, "{document}");
    for text in [&ran.stdout, &ran.stderr, &json.stdout, &json.stderr] {
        assert!(!text.contains(world.simulator.token()), "the token was printed");
    }
    (ran, document)
}

/// The one check of that name.
fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
    let checks = document["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{document}"))
}

/// A configuration of one account with this token.
fn one_account(world: &World, token: &str) {
    let url = world.simulator.url();
    let text = format!("[accounts.one]\napi_url = \"{url}\"\naccess_token = {token}\n");
    world.write(CONFIG, &text);
}

#[tokio::test]
async fn where_everything_works_it_says_so_after_one_request_for_each_account() {
    let (world, _) = still_world().await;
    let ran = world.run(&["doctor"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(ran.stdout.ends_with("\neverything works\n"), "{ran:?}");
    let tokens: Vec<String> =
        world.requests().iter().map(|request| request.path.to_string()).collect();
    assert_eq!(tokens, ["/v1/meetings", "/v1/meetings"]);
    let (_, document) = doctor(&world, &["--account", "other"]).await;
    let accounts = document["accounts"].as_array().expect("a list");
    assert_eq!(accounts.len(), 1, "{document}");
    assert_eq!(accounts[0]["name"], "other");
    assert_eq!(accounts[0]["access_token"], json!({"source": "configuration"}));
    assert!(accounts[0]["user"]["organizationId"].is_string(), "{document}");
    assert_eq!(check(&document, "configuration")["status"], "ok");
    assert_eq!(check(&document, "component")["status"], "ok");
}

#[tokio::test]
async fn several_accounts_without_a_default_one_are_a_warning() {
    let (world, _) = still_world().await;
    let file = world.path(CONFIG);
    let text = std::fs::read_to_string(&file).expect("the file");
    let without: String = text
        .lines()
        .filter(|line| !line.starts_with("default_account"))
        .fold(String::new(), |text, line| text + line + "\n");
    world.write(CONFIG, &without);
    let (ran, document) = doctor(&world, &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.ends_with("\nno check failed, but there are warnings; see above\n"),
        "{ran:?}"
    );
    let found = check(&document, "default account");
    assert_eq!((&found["status"], &found["message"]), (&json!("warning"), &json!("none")));
    assert_eq!(found["fix"], "run: whereby configure --account NAME --default");
    let ran = world.run(&["call", "list_rooms"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    // Where an account is named, there is nothing to say.
    let (ran, _) = doctor(&world, &["--account", "other"]).await;
    assert!(ran.stdout.ends_with("\neverything works\n"), "{ran:?}");
}

#[tokio::test]
async fn the_default_account_may_be_called_default() {
    let (world, _) = still_world().await;
    let (ran, document) = doctor(&world, &["--account", "default"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(document["accounts"][0]["name"], "work", "{document}");
}

#[tokio::test]
async fn each_failure_has_a_call_s_exit_status_and_a_fix() {
    let (world, _) = still_world().await;
    let token = format!("\"{}\"", world.simulator.token());
    for (token, reply, code, words) in [
        ("{ env = \"ABSENT\" }", None, 3, "ABSENT is not set"),
        ("{ file = \"absent.key\" }", None, 3, "absent.key"),
        ("{ command = [\"/absent\"] }", None, 3, "/absent"),
        ("\"wrong\"", None, 3, "configure --account one --token-stdin"),
        (&token, Some(later(401)), 3, "401"),
        (&token, Some(later(403)), 6, "403"),
        (&token, Some(later(429)), 7, "rate limit"),
        (&token, Some(later(503)), 8, "503"),
        (&token, Some(Reply::status(200).body("<html>")), 8, "web page"),
    ] {
        one_account(&world, token);
        if let Some(reply) = reply {
            world.simulator.script("*", "/v1/meetings", 2, reply);
        }
        let (ran, document) = doctor(&world, &[]).await;
        assert_eq!(ran.code, code, "{words}: {ran:?}");
        assert!(ran.stdout.contains(words), "`{words}` is missing: {ran:?}");
        assert!(ran.stdout.ends_with("\nsome checks failed; see above\n"), "{ran:?}");
        let found = check(&document, "account one");
        assert_eq!(found["status"], "failed", "{document}");
        assert!(document["accounts"][0]["user"].is_null(), "{document}");
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_is_a_failed_check_and_the_others_go_on() {
    let (world, _) = still_world().await;
    for (text, words) in [
        ("\n[accounts.one\n", "config.toml, line 2: not TOML"),
        ("a = 1\n", "config.toml, line 1: unknown key `a`; known here: default_account"),
        ("[accounts.one]\n", "config.toml, line 1: [accounts.one] has no access_token; write"),
        ("[limits]\nrequests = \"x\"\n", "config.toml, line 2: `limits.requests` must be"),
    ] {
        world.write(CONFIG, text);
        let (ran, document) = doctor(&world, &[]).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (3, ""), "{ran:?}");
        assert!(ran.stdout.contains(words), "`{words}` is missing: {ran:?}");
        let found = check(&document, "configuration");
        assert_eq!(found["status"], "failed", "{document}");
        assert!(found["message"].as_str().is_some_and(|message| message.contains(words)));
        assert_eq!(found["fix"], "until this is fixed, all calls are refused");
        for name in ["component", "cache", "state"] {
            assert_eq!(check(&document, name)["status"], "ok", "{document}");
        }
        let found = check(&document, "accounts");
        assert_eq!(found["status"], "warning", "{document}");
        assert_eq!(found["message"], "not checked, because the configuration cannot be read");
        assert_eq!(document["accounts"], json!([]));
        assert!(document["version"].is_string());
    }
    // A project's file, and one that is named and not there.
    world.write(CONFIG, "");
    world.write("project/.whereby.toml", "[permissions]\nread = \"maybe\"\n");
    let mut environment = world.environment();
    environment.directory = world.path("project");
    let ran = run(&["doctor"], environment, "", false).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains(".whereby.toml, line 2: `permissions.read` must be"), "{ran:?}");
    let (ran, _) = doctor(&world, &["--config", "absent.toml"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains("there is no such file; --config names it"), "{ran:?}");
    world.assert_untouched();
}

#[tokio::test]
async fn a_component_that_cannot_be_read_is_a_failed_check_and_the_others_go_on() {
    let (world, _) = still_world().await;
    for arguments in [&[][..], &["--component", "absent.wasm"]] {
        if arguments.is_empty() {
            let token = format!("\"{}\"", world.simulator.token());
            one_account(&world, &token);
            let config = std::fs::read_to_string(world.path(CONFIG)).expect("the file");
            world.write(CONFIG, &format!("{config}[component]\npath = \"absent.wasm\"\n"));
        }
        let (ran, document) = doctor(&world, arguments).await;
        assert_eq!(ran.code, 3, "{ran:?}");
        let found = check(&document, "component");
        assert_eq!(found["status"], "failed", "{document}");
        assert!(
            found["message"].as_str().is_some_and(|text| text.contains("absent.wasm cannot be"))
        );
        assert_eq!(check(&document, "configuration")["status"], "ok", "{document}");
        assert_eq!(check(&document, "state")["status"], "ok", "{document}");
        assert_eq!(check(&document, "accounts")["status"], "warning", "{document}");
        world.write(CONFIG, "");
    }
    world.assert_untouched();
}

#[tokio::test]
async fn an_unreachable_server_is_reported() {
    let (world, _) = still_world().await;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nowhere.local_addr().expect("its address");
    drop(nowhere);
    let text = format!("[accounts.one]\napi_url = \"http://{address}/v1\"\naccess_token = \"a\"\n");
    world.write(CONFIG, &text);
    let (ran, document) = doctor(&world, &[]).await;
    assert_eq!(ran.code, 8, "{ran:?}");
    assert_eq!(check(&document, "account one")["status"], "failed");
    world.assert_untouched();
}

#[tokio::test]
async fn a_user_s_own_choice_is_a_warning_not_a_failure() {
    let (world, _) = still_world().await;
    for (rules, words) in [
        ("[permissions]\nread = \"deny\"\n", "not checked"),
        ("[permissions.functions]\nget_current_user = \"deny\"\n", "not checked"),
        ("[permissions]\nread = \"ask\"\nforce = \"deny\"\n", "not checked"),
    ] {
        world.configure(rules);
        let (ran, document) = doctor(&world, &[]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stdout.contains(words), "{ran:?}");
        assert_eq!(check(&document, "account work")["status"], "warning", "{document}");
        world.assert_untouched();
    }
    one_account(&world, "{ command = [\"/absent\"] }\nenabled = false");
    let (ran, document) = doctor(&world, &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let found = check(&document, "account one");
    assert_eq!((&found["status"], &found["message"]), (&json!("warning"), &json!("switched off")));
    assert_eq!(found["fix"], "run: whereby configure --account one --enable");
    world.assert_untouched();
    // No --force is needed for what is allowed anyway.
    world.configure("[permissions]\nforce = \"deny\"\n");
    let (_, document) = doctor(&world, &[]).await;
    assert_eq!(check(&document, "account work")["status"], "ok", "{document}");
}

#[tokio::test]
async fn a_clock_that_is_far_off_is_a_warning() {
    let (world, _) = still_world().await;
    one_account(&world, &format!("\"{}\"", world.simulator.token()));
    let now = OffsetDateTime::now_utc();
    for (theirs, word) in [(now - Duration::HOUR, "ahead of"), (now + Duration::HOUR, "behind")] {
        let date = theirs.format(&Rfc2822).expect("a date").replace("+0000", "GMT");
        let reply = Reply::carried_out().header("date", &date);
        world.simulator.script("GET", "/v1/meetings", 2, reply);
        let (ran, document) = doctor(&world, &[]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let clock = check(&document, "clock");
        assert_eq!(clock["status"], "warning");
        assert!(clock["message"].as_str().is_some_and(|text| text.contains(word)), "{clock}");
        let skew = document["accounts"][0]["clock_skew_seconds"].as_i64().expect("a number");
        assert!((3500..3700).contains(&skew.abs()), "{skew}");
    }
    world.simulator.script(
        "GET",
        "/v1/meetings",
        2,
        Reply::carried_out().header("date", "yesterday"),
    );
    let (_, document) = doctor(&world, &[]).await;
    assert!(document["accounts"][0]["clock_skew_seconds"].is_null(), "{document}");
}

#[tokio::test]
async fn without_an_account_it_says_how_to_get_one() {
    let (world, _) = still_world().await;
    world.write(CONFIG, "");
    let (ran, document) = doctor(&world, &[]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains("whereby configure --token-stdin"), "{ran:?}");
    assert_eq!(check(&document, "accounts")["status"], "failed");
    world.configure(ALLOW_ALL);
    let (ran, document) = doctor(&world, &["--account", "wrok"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    let message = check(&document, "accounts")["message"].as_str().expect("a text");
    assert!(message.contains("did you mean `work`"), "{message}");
    world.assert_untouched();
}

#[tokio::test]
async fn a_cache_that_is_not_kept_is_a_warning() {
    let (world, _) = still_world().await;
    let mut environment = world.environment();
    environment.variables.remove("XDG_CACHE_HOME");
    environment.variables.remove("HOME");
    let config = world.path(CONFIG).display().to_string();
    environment.variables.insert("WHEREBY_CONFIG".into(), config);
    let ran = run(&["doctor", "--json"], environment, "", false).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(check(&ran.json(), "cache")["status"], "warning");
}

#[tokio::test]
async fn doctor_prints_its_snapshot() {
    let (world, _) = still_world().await;
    let inspection = whereby::Inspection::of(whereby::BUILT_IN_COMPONENT).expect("a component");
    let cache = world.environment().variables["XDG_CACHE_HOME"].clone();
    let date = OffsetDateTime::now_utc().format(&Rfc2822).expect("a date");
    world.simulator.script("GET", "/v1/meetings", 9, Reply::carried_out().header("date", &date));
    let mut screen = Screen::new(&world);
    screen.run(&["doctor"]).await;
    screen.run(&["doctor", "--account", "wrok"]).await;
    one_account(&world, "\"wrong\"");
    screen.run(&["doctor"]).await;
    one_account(&world, "{ env = \"ABSENT\" }");
    screen.run(&["doctor"]).await;
    screen.run(&["doctor", "--json"]).await;
    one_account(&world, "{ env = \"ABSENT\" }\nenabled = false");
    screen.run(&["doctor"]).await;
    world.write(CONFIG, "");
    screen.run(&["doctor"]).await;
    screen.text = screen
        .text
        .replace(&cache, "CACHE")
        .replace(&inspection.sha256, "DIGEST")
        .replace(&inspection.bytes.to_string(), "SIZE");
    screen.finish("doctor");
}
