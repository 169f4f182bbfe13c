//! Which account a call is made by, and where its token comes from.

use crate::wire::kind;
use serde_json::json;
use std::path::Path;
use whereby::simulator::RoomSeed;
use whereby::{Environment, Outcome, Session, Settings};
use whereby_tests::{World, set_mode};

async fn world() -> World {
    World::with_rooms(vec![RoomSeed::named("daily")]).await
}

fn session(environment: Environment) -> Result<Session, whereby::Error> {
    let settings = Settings::load(None, &environment)?;
    let cache = environment.platform_directory("cache");
    Session::builder().settings(settings).environment(environment).cache(cache).build()
}

/// Writes a configuration of these accounts, all with the first organization's token.
fn accounts(world: &World, head: &str, names: &[&str]) {
    let (url, token) = (world.simulator.url(), world.simulator.token());
    let mut text = head.to_owned();
    for name in names {
        text += &format!("\n[accounts.{name}]\naccess_token = \"{token}\"\napi_url = \"{url}\"\n");
    }
    world.write("config/whereby/config.toml", &text);
}

async fn list(world: &World, account: Option<&str>) -> Outcome {
    let session = session(world.environment()).expect("a session");
    session.call(account, "list_rooms", json!({})).await
}

#[tokio::test]
async fn the_account_is_the_one_named_else_the_default_one_else_the_only_one() {
    let world = world().await;
    for (head, names, asked, chosen) in [
        ("", &["one"][..], None, Ok("one")),
        ("", &["one"], Some("default"), Ok("one")),
        ("", &["one", "default"], None, Ok("default")),
        ("", &["one", "two"], Some("two"), Ok("two")),
        ("default_account = \"two\"", &["one", "two"], None, Ok("two")),
        ("default_account = \"two\"", &["one", "two", "default"], None, Ok("two")),
        ("default_account = \"two\"", &["one", "two", "default"], Some("default"), Ok("two")),
        ("default_account = \"two\"", &["one", "two"], Some("one"), Ok("one")),
        ("", &["one", "two"], None, Err("configuration")),
        ("", &["one", "two"], Some("default"), Err("configuration")),
        ("", &[], None, Err("configuration")),
        ("", &["one"], Some("two"), Err("usage")),
        ("", &["one"], Some(""), Err("usage")),
        ("", &["one"], Some("One"), Err("usage")),
        ("", &[], Some("one"), Err("usage")),
    ] {
        accounts(&world, head, names);
        world.simulator.clear_requests();
        let outcome = list(&world, asked).await;
        let case = format!("{head} {names:?} {asked:?}");
        match chosen {
            Ok(name) => {
                assert!(outcome.result.is_ok(), "{case}: {:?}", outcome.result);
                assert_eq!(outcome.account.as_deref(), Some(name), "{case}");
            }
            Err(expected) => {
                assert_eq!(kind(&outcome), expected, "{case}");
                world.assert_untouched();
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_account_is_told_the_known_ones() {
    let world = world().await;
    accounts(&world, "", &["work", "school"]);
    let error = list(&world, Some("wrok")).await.result.expect_err("unknown").to_string();
    assert!(error.contains("did you mean `work`") && error.contains("school"), "{error}");
    let error = list(&world, None).await.result.expect_err("several").to_string();
    assert!(error.contains("--account") && error.contains("school, work"), "{error}");
    world.assert_untouched();
}

#[tokio::test]
async fn an_account_that_is_switched_off_is_not_used() {
    let world = world().await;
    accounts(&world, "", &["one"]);
    let file = world.path("config/whereby/config.toml");
    let text = std::fs::read_to_string(&file).expect("the file");
    world.write("config/whereby/config.toml", &format!("{text}enabled = false\n"));
    let outcome = list(&world, None).await;
    assert_eq!(kind(&outcome), "configuration");
    let error = outcome.result.expect_err("off").to_string();
    assert!(error.contains("whereby configure --account one --enable"), "{error}");
    world.assert_untouched();
}

#[tokio::test]
async fn without_a_file_the_environment_makes_the_default_account() {
    let world = world().await;
    let environment = world.bare_environment();
    let outcome =
        session(environment).expect("a session").call(None, "list_rooms", json!({})).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!(outcome.account.as_deref(), Some("default"));
}

#[tokio::test]
async fn where_a_file_has_accounts_the_environment_makes_none_and_moves_none() {
    let world = world().await;
    let mut environment = world.environment();
    let variables =
        [("WHEREBY_ACCESS_TOKEN", "another"), ("WHEREBY_API_URL", "http://127.0.0.1:1/v1")];
    environment.variables.extend(variables.map(|(name, value)| (name.into(), value.into())));
    let session = session(environment).expect("a session");
    assert_eq!(session.settings().accounts.keys().collect::<Vec<_>>(), ["other", "work"]);
    let outcome = session.call(None, "list_rooms", json!({})).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test]
async fn the_environment_s_url_names_whereby_or_this_machine_and_nothing_else() {
    let world = world().await;
    for url in [
        "https://api.whereby.dev/v1",
        "https://api.whereby.dev",
        "http://127.0.0.1:8080/v1",
        "https://127.0.0.1:8080/v1",
        "http://[::1]:8080/v1",
    ] {
        let mut environment = world.bare_environment();
        environment.variables.insert("WHEREBY_API_URL".into(), url.into());
        assert!(session(environment).is_ok(), "{url}");
    }
    for url in [
        "https://example.org/v1",
        "https://api.whereby.dev.example.org/v1",
        "https://api.whereby.dev:444/v1",
        "https://api.whereby.dev@example.org/v1",
        "https://me:s3cret@api.whereby.dev/v1",
        "http://api.whereby.dev/v1",
        "http://localhost:8080/v1",
        "http://10.0.0.1/v1",
        "http://0.0.0.0:8080/v1",
        "api.whereby.dev",
        "file:///etc/passwd",
    ] {
        let mut environment = world.bare_environment();
        environment.variables.insert("WHEREBY_API_URL".into(), url.into());
        let error = session(environment).err().unwrap_or_else(|| panic!("{url} was taken"));
        assert_eq!(error.kind(), "configuration");
        let text = error.to_string();
        assert!(text.contains("WHEREBY_API_URL"), "{text}");
        assert!(!text.contains("s3cret") && !text.contains(world.simulator.token()), "{text}");
    }
    world.assert_untouched();
}

/// Calls by an account whose token has this source, in TOML.
async fn call_with_token(world: &World, source: &str, variables: &[(&str, &str)]) -> Outcome {
    let url = world.simulator.url();
    let file = format!("[accounts.work]\naccess_token = {source}\napi_url = \"{url}\"\n");
    world.write("config/whereby/config.toml", &file);
    let mut environment = world.environment();
    environment.variables.extend(variables.iter().map(|(n, v)| ((*n).into(), (*v).into())));
    session(environment).expect("a session").call(None, "list_rooms", json!({})).await
}

#[tokio::test]
async fn a_token_comes_from_the_environment_a_file_or_a_command() {
    let world = world().await;
    let token = world.simulator.token().to_owned();
    world.write("config/whereby/token", &format!("{token}\n"));
    let absolute = world.write("token", &format!("  {token}  \n"));
    let program = world.write_script("token.sh", &format!("printf '%s\\n' \"$1{token}\""));
    for (source, variables) in [
        ("{ env = \"MY_TOKEN\" }".to_owned(), &[("MY_TOKEN", token.as_str())][..]),
        ("{ file = \"token\" }".to_owned(), &[]),
        (format!("{{ file = \"{}\" }}", absolute.display()), &[]),
        (format!("{{ command = [\"{}\"] }}", program.display()), &[]),
        (format!("{{ command = [\"{}\", \"\"] }}", program.display()), &[]),
    ] {
        let outcome = call_with_token(&world, &source, variables).await;
        assert!(outcome.result.is_ok(), "{source}: {:?}", outcome.result);
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_a_configuration_error_that_shows_nothing_of_it() {
    let world = world().await;
    let file = |path: &Path| format!("{{ file = \"{}\" }}", path.display());
    let readable = world.write("readable", "s3cret-token");
    set_mode(&readable, 0o640);
    let [two, none, foreign, huge] = [
        ("two", "s3cret token\n".to_owned()),
        ("none", " \n".to_owned()),
        ("foreign", "s3crät".to_owned()),
        ("huge", "s3cret".repeat(10_000)),
    ]
    .map(|(name, text)| world.write(name, &text));
    let failing = world.write_script("failing.sh", "echo s3cret; echo s3cret >&2; exit 3");
    let silent = world.write_script("silent.sh", "exit 0");
    let talkative = world.write_script("talkative.sh", "echo s3cret; echo s3cret");
    let command = |path: &Path| format!("{{ command = [\"{}\"] }}", path.display());
    for (source, words) in [
        ("{ env = \"NOT_SET\" }".to_owned(), "NOT_SET is not set"),
        (file(&world.path("absent")), "cannot be read"),
        (file(&world.path("project")), "is not a file"),
        (file(&readable), "chmod 600"),
        (file(&two), "white space"),
        (file(&none), "empty"),
        (file(&foreign), "ASCII"),
        (file(&huge), "is larger than 16384 bytes"),
        (command(&failing), "failed"),
        (command(&silent), "empty"),
        (command(&talkative), "white space"),
        (command(&world.path("absent")), "could not be started"),
        ("\"\"".to_owned(), "empty"),
    ] {
        let outcome = call_with_token(&world, &source, &[]).await;
        assert_eq!(kind(&outcome), "configuration", "{source}");
        let text = format!("{:?}", outcome.result);
        assert!(text.contains(words), "{source}: {text}");
        assert!(text.contains("`work`"), "{source}: {text}");
        assert!(!text.contains("s3cret"), "{source}: {text}");
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_token_that_is_a_pipe_is_refused_and_nobody_waits() {
    let world = world().await;
    let pipe = world.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let source = format!("{{ file = \"{}\" }}", pipe.display());
    let outcome = call_with_token(&world, &source, &[]).await;
    assert_eq!(kind(&outcome), "configuration");
    world.assert_untouched();
}

#[tokio::test]
async fn a_command_gets_neither_the_working_directory_nor_standard_input() {
    let world = world().await;
    let token = world.simulator.token();
    let body = format!("[ \"$PWD\" = / ] && ! read -r line && echo {token}");
    let program = world.write_script("strict.sh", &body);
    let source = format!("{{ command = [\"{}\"] }}", program.display());
    let outcome = call_with_token(&world, &source, &[]).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
}

#[tokio::test]
async fn a_token_that_was_replaced_is_fetched_anew_after_a_refusal() {
    let world = world().await;
    let token = world.simulator.token().to_owned();
    let file = world.write("token", "stale");
    let url = world.simulator.url();
    let text = format!(
        "[accounts.work]\naccess_token = {{ file = \"{}\" }}\napi_url = \"{url}\"\n",
        file.display()
    );
    world.write("config/whereby/config.toml", &text);
    let session = session(world.environment()).expect("a session");
    assert_eq!(kind(&session.call(None, "list_rooms", json!({})).await), "unauthorized");
    world.write("token", &token);
    let outcome = session.call(None, "list_rooms", json!({})).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
}
