//! `whereby configure`: what it writes, and what it leaves as it is.

use super::{Screen, ran, still_world};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use whereby::Settings;
use whereby_tests::{Ran, World, run, set_mode};

pub(super) const CONFIG: &str = "config/whereby/config.toml";
pub(super) const TOKEN: &str = "e30.e30.s3cret-token";

/// A world without a configuration file.
pub(super) async fn empty_world() -> World {
    let world = World::with_rooms(Vec::new()).await;
    std::fs::remove_dir_all(world.path("config")).expect("it was there");
    world
}

pub(super) fn written(world: &World) -> String {
    std::fs::read_to_string(world.path(CONFIG)).expect("the file")
}

/// Runs `configure`; nothing that it prints may hold the token.
pub(super) async fn configure(world: &World, arguments: &[&str]) -> Ran {
    configure_typing(world, arguments, "").await
}

pub(super) async fn configure_typing(world: &World, arguments: &[&str], stdin: &str) -> Ran {
    let arguments = [&["configure"], arguments].concat();
    let ran = run(&arguments, world.environment(), stdin, false).await;
    assert!(!format!("{ran:?}").contains("s3cret"), "{arguments:?}: {ran:?}");
    ran
}

fn mode(world: &World, name: &str) -> u32 {
    std::fs::metadata(world.path(name)).expect("it is there").permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_token_from_standard_input_makes_a_file_for_its_owner_alone() {
    let world = empty_world().await;
    let ran = configure_typing(&world, &["--token-stdin"], &format!(" {TOKEN}\n")).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let next = "next, check the key: whereby doctor\n";
    assert_eq!(ran.stdout, format!("{}: written\n{next}", world.path(CONFIG).display()));
    assert_eq!(written(&world), format!("[accounts.default]\naccess_token = \"{TOKEN}\"\n"));
    assert_eq!(mode(&world, CONFIG), 0o600);
    assert_eq!(mode(&world, "config/whereby"), 0o700);
    let settings = Settings::load(None, &world.environment()).expect("good settings");
    assert_eq!(settings.account(None).expect("an account").0, "default");

    let ran = configure_typing(&world, &["--token-stdin"], TOKEN).await;
    assert!(ran.stdout.contains(": unchanged\n"), "{ran:?}");
    let ran = configure_typing(&world, &["--token-stdin", "--json"], TOKEN).await;
    assert_eq!(
        ran.json(),
        json!({
            "success": true,
            "file": world.path(CONFIG),
            "account": "default",
            "changed": false,
            "warnings": [],
        })
    );
}

#[tokio::test]
async fn a_key_of_unknown_form_is_stored_with_a_warning() {
    let world = empty_world().await;
    for (token, warns) in [(TOKEN, false), ("0paque", true), ("e30.[].e30", true)] {
        let ran = configure_typing(&world, &["--token-stdin"], token).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let warning = "warning: this does not look like a Whereby API key";
        assert_eq!(ran.stderr.starts_with(warning), warns, "{token}: {ran:?}");
        assert!(!format!("{ran:?}").contains(token), "{ran:?}");
        assert!(written(&world).contains(&format!("access_token = \"{token}\"")));
        assert!(ran.stdout.ends_with("\nnext, check the key: whereby doctor\n"), "{ran:?}");
    }
    let named = configure_typing(&world, &["--token-stdin", "--account", "work"], TOKEN).await;
    assert!(named.stdout.ends_with("whereby doctor --account work\n"), "{named:?}");
}

/// A path may exist later, so the command stores it and warns.
#[tokio::test]
async fn an_unusable_value_is_stored_with_a_warning() {
    let world = empty_world().await;
    std::fs::create_dir_all(world.path("config/whereby")).expect("a folder");
    world.write("config/whereby/there.key", TOKEN);
    world.write("config/whereby/not.pem", "not a certificate");
    let whole = std::fs::write(world.path("whole.wasm"), whereby::BUILT_IN_COMPONENT);
    whole.expect("written");
    let whole = format!("component.path={}", world.path("whole.wasm").display());
    let zeros = format!("component.sha256={}", "0".repeat(64));
    let relative = "a relative path starts at the configuration file's folder";
    let work = |key: &str| format!("access_token.{key}");
    for (set, words) in [
        (
            vec!["component.path=nope.wasm".to_owned()],
            vec!["/config/whereby/nope.wasm cannot be read", relative],
        ),
        (
            vec!["component.path=/nope.wasm".to_owned()],
            vec!["the component /nope.wasm cannot be read"],
        ),
        (vec![whole, zeros], vec!["component.sha256 requires 0000"]),
        (
            vec!["ca_file=nope.pem".to_owned()],
            vec!["ca_file /", "nope.pem cannot be read", relative],
        ),
        (vec!["ca_file=not.pem".to_owned()], vec!["ca_file holds no certificate in PEM"]),
        (
            vec!["accounts.work.access_token.file=nope.key".to_owned()],
            vec!["the account `work`: the file /", "nope.key cannot be", relative],
        ),
        (vec![work("file=there.key")], vec![]),
        (
            vec![work("command=[\"/nope/pass\"]")],
            vec!["the account `work`: the program /nope/pass does not exist"],
        ),
        (vec![work("command=[\"/bin/sh\"]")], vec![]),
        (vec![work("env=NOPE")], vec![]),
        (vec!["limits.requests=60".to_owned()], vec![]),
    ] {
        let mut arguments: Vec<&str> = set.iter().flat_map(|pair| ["--set", pair]).collect();
        if set[0].starts_with("access_token") {
            arguments.extend(["--account", "work"]);
        }
        let ran = configure(&world, &arguments).await;
        assert_eq!(ran.code, 0, "{set:?}: {ran:?}");
        assert!(ran.stdout.contains(": written\n"), "{set:?}: {ran:?}");
        assert_eq!(ran.stderr.is_empty(), words.is_empty(), "{set:?}: {ran:?}");
        for word in &words {
            assert!(ran.stderr.contains(word), "{set:?}: `{word}` is missing: {ran:?}");
        }
        let ran = configure(&world, &[&arguments[..], &["--json"]].concat()).await;
        let document = ran.json();
        assert_eq!(document["warnings"] == json!([]), words.is_empty(), "{set:?}: {document}");
    }
}

#[tokio::test]
async fn a_token_comes_from_one_place_and_the_last_one_is_meant() {
    let world = empty_world().await;
    let head = "[accounts.work]\naccess_token = ";
    for (arguments, expected) in [
        (&["--set", "access_token.env=WORK"][..], "{ env = \"WORK\" }"),
        (&["--set", "access_token.file=work.key"], "{ file = \"work.key\" }"),
        (
            &["--set", r#"access_token.command=["/usr/bin/pass", "whereby"]"#],
            "{ command = [\"/usr/bin/pass\", \"whereby\"] }",
        ),
        (&["--set", "access_token=s3cret-token"], "\"s3cret-token\""),
        (&["--set", "access_token=7"], "\"7\""),
        (&["--set", "access_token=true"], "\"true\""),
        (&["--unset", "access_token", "--set", "access_token.env=B"], "{ env = \"B\" }"),
    ] {
        let ran = configure(&world, &[&["--account", "work"], arguments].concat()).await;
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        assert_eq!(written(&world), format!("{head}{expected}\n"), "{arguments:?}");
    }
    let table = "[accounts.work]\napi_url = \"https://api.whereby.dev/v1\"\n\n\
                 [accounts.work.access_token]\nenv = \"A\"\n";
    world.write(CONFIG, table);
    let ran = configure(&world, &["--set", "access_token.file=a"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        written(&world),
        "[accounts.work]\napi_url = \"https://api.whereby.dev/v1\"\naccess_token = { file = \"a\" }\n"
    );
}

#[tokio::test]
async fn a_token_in_an_argument_causes_a_warning() {
    let world = empty_world().await;
    let token = format!("access_token={TOKEN}");
    let set = ["--set", token.as_str()];
    let ran = configure(&world, &set).await;
    assert!(ran.stderr.starts_with("warning: ") && ran.stderr.contains("--token-stdin"), "{ran:?}");
    let ran = configure(&world, &[&set[..], &["--json"]].concat()).await;
    assert_eq!(ran.json()["warnings"].as_array().map(Vec::len), Some(1), "{ran:?}");
    let ran = configure(&world, &[&set[..], &["--quiet", "--json"]].concat()).await;
    assert_eq!(ran.stderr, "");
    assert_eq!(ran.json()["warnings"].as_array().map(Vec::len), Some(1), "{ran:?}");
    let ran = configure(&world, &["--set", "access_token.env=A"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[tokio::test]
async fn comments_order_and_spelling_are_kept() {
    let world = empty_world().await;
    std::fs::create_dir_all(world.path("config/whereby")).expect("a folder");
    let before = "\
# my file
default_account = 'work' # the one

[limits]   # of every call
timeout_seconds   =   30    # seconds

[accounts.work]
# from the vault
access_token = { env = \"WORK\" }  # not here
enabled = true

[permissions] # for all
write = \"ask\"    # a person

[accounts.school]
access_token = { file = 'school.key' }
# the end
";
    world.write(CONFIG, before);
    let ran = configure(
        &world,
        &["--set", "limits.timeout_seconds=60", "--disable", "--write", "deny", "--read", "ask"],
    )
    .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let after =
        before.replace("=   30 ", "=   60 ").replace("enabled = true", "enabled = false").replace(
            "write = \"ask\"    # a person\n",
            "write = \"deny\"    # a person\nread = \"ask\"\n",
        );
    assert_eq!(written(&world), after);
    let back = ["--set", "limits.timeout_seconds=30", "--enable", "--write", "ask"];
    let ran = configure(&world, &[&back[..], &["--unset", "permissions.read"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(written(&world), before);
}

#[tokio::test]
async fn permissions_are_of_all_accounts_or_of_the_one_that_is_named() {
    let world = empty_world().await;
    for arguments in [
        &["--account", "work", "--set", "access_token.env=WORK", "--default"][..],
        &["--account", "school", "--set", "access_token.env=SCHOOL"],
        &["--read", "allow", "--write", "ask", "--destination", "deny"],
        &["--function", "delete_room=deny", "--function", "list-rooms=ask"],
        &["--account", "work", "--write", "allow", "--function", "create_room=ask"],
        &["--account", "school", "--set", "api_url=http://127.0.0.1:8080/v1", "--disable"],
    ] {
        let ran = configure(&world, arguments).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}: {ran:?}");
    }
    assert_eq!(
        written(&world),
        "\
default_account = \"work\"

[accounts.work]
access_token = { env = \"WORK\" }

[accounts.work.permissions]
write = \"allow\"

[accounts.work.permissions.functions]
create_room = \"ask\"

[accounts.school]
access_token = { env = \"SCHOOL\" }
api_url = \"http://127.0.0.1:8080/v1\"
enabled = false

[permissions]
read = \"allow\"
write = \"ask\"
destination = \"deny\"

[permissions.functions]
delete_room = \"deny\"
list_rooms = \"ask\"
"
    );
    let ran = configure(&world, &["--account", "school", "--enable", "--unset", "api_url"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = written(&world);
    assert!(text.contains("enabled = true") && !text.contains("api_url"), "{text}");
}

#[tokio::test]
async fn a_permission_that_is_set_as_a_key_is_of_the_account_that_is_named_too() {
    let world = empty_world().await;
    let own = "[accounts.work]\naccess_token = { env = \"WORK\" }\n";
    std::fs::create_dir_all(world.path("config/whereby")).expect("a folder");
    world.write(CONFIG, own);
    let set = ["--set", "permissions.write=allow"];
    let ran = configure(&world, &[&["--account", "work"], &set[..]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let rule = "\n[accounts.work.permissions]\nwrite = \"allow\"\n";
    assert_eq!(written(&world), format!("{own}{rule}"));
    let unset = ["--account", "work", "--unset", "permissions"];
    assert_eq!(configure(&world, &unset).await.code, 0);
    // What is not there can be taken away all the same.
    assert_eq!(configure(&world, &unset).await.code, 0);
    assert_eq!(written(&world), own);
    let ran = configure(&world, &[&set[..], &["--json"]].concat()).await;
    assert_eq!((ran.code, &ran.json()["account"]), (0, &serde_json::Value::Null), "{ran:?}");
    assert_eq!(written(&world), format!("{own}\n[permissions]\nwrite = \"allow\"\n"));
    for arguments in [&["--read", "deny"][..], &["--set", "limits.timeout_seconds=9"]] {
        let ran = configure(&world, &[arguments, &["--json"]].concat()).await;
        assert_eq!(ran.json()["account"], serde_json::Value::Null, "{ran:?}");
    }
    let ran = configure(&world, &["--enable", "--json"]).await;
    assert_eq!(ran.json()["account"], "work", "{ran:?}");
}

#[tokio::test]
async fn an_account_is_removed_with_its_permissions_and_is_no_default_any_more() {
    let world = empty_world().await;
    std::fs::create_dir_all(world.path("config/whereby")).expect("a folder");
    let school = "[accounts.school]\naccess_token = { env = \"SCHOOL\" }\n";
    world.write(
        CONFIG,
        &format!(
            "default_account = \"work\"\n\n[accounts.work]\naccess_token = {{ env = \"WORK\" }}\n\n\
             [accounts.work.permissions]\nwrite = \"allow\"\n\n{school}"
        ),
    );
    let ran = configure(&world, &["--account", "work", "--remove"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = "warning: `work` was the default account; default_account was removed, too; the \
                default is now `school`\n";
    assert_eq!(ran.stderr, told);
    assert_eq!(written(&world).trim_start(), school);
    let ran = configure(&world, &["--account", "school", "--remove", "--json"]).await;
    assert_eq!(ran.json()["account"], "school", "{ran:?}");
    assert_eq!(ran.json()["warnings"], serde_json::json!([]), "{ran:?}");
    assert_eq!(written(&world).trim(), "");
}

#[tokio::test]
async fn the_file_is_the_one_that_is_named() {
    let world = empty_world().await;
    let set = ["configure", "--set", "access_token.env=A"];
    let expected = "[accounts.default]\naccess_token = { env = \"A\" }\n";
    let read = |name: &str| std::fs::read_to_string(world.path(name)).expect("the file");
    let ran = world.run(&[&set[..], &["--config", "new/own.toml"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(read("project/new/own.toml"), expected);

    let mut environment = world.environment();
    let path = world.path("named.toml").display().to_string();
    environment.variables.insert("WHEREBY_CONFIG".into(), path);
    let ran = run(&set, environment.clone(), "", false).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(read("named.toml"), expected);

    environment.variables.insert("WHEREBY_CONFIG".into(), "named.toml".into());
    assert_eq!(run(&set, environment.clone(), "", false).await.code, 3);
    environment.variables.clear();
    assert_eq!(run(&set, environment, "", false).await.code, 3);
    assert!(!world.path(CONFIG).exists());
}

#[tokio::test]
async fn a_linked_file_is_changed_where_it_is_and_the_link_stays() {
    let world = empty_world().await;
    std::fs::create_dir_all(world.path("config/whereby")).expect("a folder");
    std::fs::create_dir(world.path("dotfiles")).expect("a folder");
    world.write("dotfiles/whereby.toml", "# mine\n");
    let link = world.path(CONFIG);
    std::os::unix::fs::symlink(world.path("dotfiles/whereby.toml"), &link).expect("a link");
    let ran = configure(&world, &["--set", "access_token.env=A"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(link.symlink_metadata().expect("the link").is_symlink(), "the link is gone");
    let text = std::fs::read_to_string(world.path("dotfiles/whereby.toml")).expect("the file");
    assert!(text.contains("env = \"A\"") && text.contains("# mine"), "{text}");
}

#[tokio::test]
async fn leftovers_of_a_stopped_program_are_cleaned_up() {
    let world = empty_world().await;
    std::fs::create_dir_all(world.path("config/whereby")).expect("a folder");
    world.write("config/whereby/config.toml.new", "half a tok");
    let elsewhere = world.write("elsewhere", "kept");
    for round in ["A", "B"] {
        let ran = configure(&world, &["--set", &format!("access_token.env={round}")]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let beside = world.path("config/whereby/config.toml.new");
        assert!(beside.symlink_metadata().is_err(), "the file beside it is still there");
        // The next one is a link to something that must not be written.
        std::os::unix::fs::symlink(&elsewhere, &beside).expect("a link");
    }
    assert_eq!(std::fs::read_to_string(elsewhere).expect("the file"), "kept");
    set_mode(&world.path(CONFIG), 0o600);
}

#[test]
fn programs_that_write_at_a_time_write_one_after_the_other() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = runtime.block_on(empty_world());
    let limits = ["timeout_seconds=60", "memory_mib=64", "requests=32", "concurrent_calls=8"];
    let mut runs: Vec<String> = limits.iter().map(|limit| format!("limits.{limit}")).collect();
    runs.extend(
        ["a", "b", "c", "d"].map(|name| format!("accounts.{name}.access_token=\"{name}\"")),
    );
    std::thread::scope(|scope| {
        for set in &runs {
            let environment = world.environment();
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                let arguments = ["configure", "--set", set.as_str()];
                let ran = run(&arguments, environment, "", false);
                let ran = runtime.expect("a runtime").block_on(ran);
                assert_eq!(ran.code, 0, "{set}: {ran:?}");
            });
        }
    });
    let text = written(&world);
    for limit in limits {
        assert!(text.contains(&limit.replace('=', " = ")), "{limit} is lost:\n{text}");
    }
    let settings = Settings::load(None, &world.environment()).expect("good settings");
    assert_eq!(settings.accounts.keys().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn configure_and_accounts_print_their_snapshots() {
    let (world, _) = still_world().await;
    let mut screen = Screen::new(&world);
    for arguments in [
        &["configure", "--read", "allow", "--function", "delete_room=deny"][..],
        &["configure", "--read", "allow"],
        &["configure", "--account", "other", "--disable", "--json"],
        &["configure", "--account", "third", "--set", "access_token.env=THIRD", "--write", "deny"],
        &["configure", "--account", "fourth", "--set", "access_token.file=/run/fourth.key"],
        &["configure"],
        &["configure", "--account", "wrok", "--remove"],
        &["configure", "--account", "Work", "--set", "access_token.env=A"],
        &["configure", "--set", "limits.timeout_second=1"],
        &["configure", "--set", "limits.timeout_seconds=0", "--json"],
        &["configure", "--function", "delete_rom=deny"],
        &["accounts"],
        &["accounts", "--json"],
    ] {
        screen.run(arguments).await;
    }
    screen.finish("configure");
    world.assert_untouched();
}

#[tokio::test]
async fn a_name_that_does_not_exist_makes_no_agent_and_no_account() {
    let world = World::new().await;
    world.configure("[agents.bot]\naccounts = [\"work\"]\n");
    let file = world.path("config/whereby/config.toml");
    let before = std::fs::read_to_string(&file).expect("a file");
    for (arguments, words) in [
        (
            &["--set", "agents.bto.permissions.write=ask"][..],
            "no agent is called `bto` (did you mean `bot`?); to add an agent, run: whereby agents add NAME",
        ),
        (&["--unset", "agents.bto.accounts"], "no agent is called `bto`"),
        (
            &["--account", "wrok", "--write", "allow"],
            "no account is called `wrok` (did you mean `work`?)",
        ),
        (&["--account", "wrok", "--function", "delete_room=deny"], "no account is called `wrok`"),
        (&["--set", "accounts.wrok.permissions.write=ask"], "no account is called `wrok`"),
        (&["--account", "wrok", "--enable"], "no account is called `wrok`"),
    ] {
        let refused = ran(&world, &[&["configure"], arguments].concat(), 2).await;
        assert!(refused.stderr.contains(words), "{arguments:?}: {refused:?}");
    }
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), before);
    ran(&world, &["configure", "--set", "agents.bot.permissions.write=ask"], 0).await;
    ran(&world, &["configure", "--account", "new", "--set", "access_token.env=NEW"], 0).await;
}

#[tokio::test]
async fn what_keeps_people_from_deciding_is_told() {
    let world = World::new().await;
    world.configure("");
    let notify = world.write("notify", "#!/bin/sh\n");
    let missing = world.path("missing");
    for (program, why) in [(&missing, "does not exist"), (&notify, "is not an executable file")] {
        let set = format!("approvals.notify=[\"{}\"]", program.display());
        let warned = ran(&world, &["configure", "--set", &set], 0).await.stderr;
        assert!(
            warned.contains("approvals.notify tells nobody") && warned.contains(why),
            "{warned}"
        );
        let doctor = world.run(&["doctor"]).await.stdout;
        assert!(doctor.contains("approvals.notify tells nobody"), "{doctor}");
    }
    whereby_tests::set_mode(&notify, 0o700);
    assert!(!world.run(&["doctor"]).await.stdout.contains("approvals.notify"));
    let set = ["configure", "--set", "approvals.require=passkey"];
    let warned = ran(&world, &set, 0).await.stderr;
    assert!(warned.contains("there is no passkey"), "{warned}");
    let doctor = world.run(&["doctor"]).await.stdout;
    assert!(doctor.contains("there is no passkey"), "{doctor}");
}
