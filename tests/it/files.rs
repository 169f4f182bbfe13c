//! Files whose existence is unknown, that belong to somebody else, or that are not regular files.

use crate::wire::{kind, message};
use serde_json::json;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;
use whereby::policy::Permission;
use whereby::simulator::RoomSeed;
use whereby::{Call, Environment, Error, Settings};
use whereby_tests::{World, set_mode};

/// A user who is neither this one nor root.
const SOMEBODY: u32 = 12345;

const CONFIG: &str = "config/whereby/config.toml";

async fn world() -> World {
    World::with_rooms(vec![RoomSeed::named("daily")]).await
}

/// Loads settings, which must fail as a configuration error that says this.
fn refused(environment: &Environment, words: &str) {
    let error = Settings::load(None, environment).err();
    let error = error.unwrap_or_else(|| panic!("it was taken, without `{words}`"));
    assert!(matches!(error, Error::Configuration { .. }), "{error:?}");
    assert!(error.to_string().contains(words), "`{words}` is missing: {error}");
}

/// Gives a file to somebody else, where this user may; says whether.
fn give_away(path: &Path) -> bool {
    let own = path.metadata().expect("a file").uid();
    own == 0 && chown(path, Some(SOMEBODY), None).is_ok()
}

fn pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo");
    assert!(made.success());
}

#[tokio::test]
async fn a_file_that_cannot_be_looked_for_is_no_file_that_is_absent() {
    let world = world().await;
    let environment = world.environment();
    let file = world.path(CONFIG);
    std::fs::remove_file(&file).expect("it was there");
    symlink("config.toml", &file).expect("a link to itself");
    refused(&environment, "cannot be read");
    std::fs::remove_file(&file).expect("it was there");
    symlink(world.path("nowhere"), &file).expect("a link to nothing");
    refused(&environment, "cannot be read");

    // The folder itself.
    std::fs::remove_dir_all(world.path("config/whereby")).expect("it was there");
    symlink("whereby", world.path("config/whereby")).expect("a link to itself");
    refused(&environment, "cannot tell whether this file exists");
    std::fs::remove_file(world.path("config/whereby")).expect("it was there");
    let mut long = environment.clone();
    let name = world.path(&"x".repeat(300)).display().to_string();
    long.variables.insert("XDG_CONFIG_HOME".into(), name);
    refused(&long, "cannot tell whether this file exists");

    // Folders on the way to project files, and to the machine's policy.
    symlink("loop", world.path("loop")).expect("a link to itself");
    let mut lost = environment.clone();
    lost.directory = world.path("loop");
    refused(&lost, "cannot tell whether this file exists");
    let mut lost = environment.clone();
    lost.system_policy = world.path("loop/policy.toml");
    refused(&lost, "cannot tell whether this file exists");
    assert!(Settings::load(None, &environment).is_ok(), "nothing else was wrong");
    world.assert_untouched();
}

#[tokio::test]
async fn a_folder_that_may_not_be_searched_is_an_error_to_whom_it_is_closed() {
    let world = world().await;
    let folder = world.path("config/whereby");
    set_mode(&folder, 0o000);
    let may_all_the_same = world.path(CONFIG).symlink_metadata().is_ok();
    let loaded = Settings::load(None, &world.environment());
    set_mode(&folder, 0o700);
    // Root may search it.
    match loaded {
        Ok(settings) => assert!(may_all_the_same && settings.file.is_some()),
        Err(error) => {
            assert!(
                !may_all_the_same
                    && error.to_string().contains("cannot tell whether this file exists")
            );
        }
    }
}

#[tokio::test]
async fn where_a_part_of_the_path_is_no_folder_there_is_no_file() {
    let world = world().await;
    let mut environment = world.bare_environment();
    let file = world.write("no-folder", "").display().to_string();
    environment.variables.insert("XDG_CONFIG_HOME".into(), file);
    environment.system_policy = world.path("no-folder/policy.toml");
    let settings = Settings::load(None, &environment).expect("no file");
    assert_eq!(settings.file, None);
    assert!(settings.accounts.contains_key("default"), "that of the environment");
}

#[tokio::test]
async fn surroundings_that_are_not_known_whole_are_no_reason_to_go_on() {
    let world = world().await;
    let mut environment = world.environment();
    environment.problem = Some("the working directory cannot be found".into());
    refused(&environment, "the working directory cannot be found");
    let named = Settings::load(Some(&world.path(CONFIG)), &environment);
    assert!(named.is_err(), "not for a file that is named either");
    // A program that makes its own settings is told, too.
    let mut settings = Settings::default();
    assert!(settings.tighten(&environment).is_err(), "rules could be missing");
    let mut environment = world.environment();
    environment.directory = "project".into();
    refused(&environment, "is not an absolute path");
}

#[tokio::test]
async fn a_file_of_somebody_else_is_not_taken_for_ones_own() {
    let world = world().await;
    let config = world.configure("");
    if !give_away(&config) {
        // Only root gives files away.
        return;
    }
    refused(&world.environment(), "it must be yours or root's");
    let named = Settings::load(Some(&config), &Environment::empty());
    assert!(named.is_err(), "not where it is named either");

    let url = world.simulator.url();
    let token = world.write("token", world.simulator.token());
    let account = format!(
        "[accounts.work]\naccess_token = {{ file = \"{}\" }}\napi_url = \"{url}\"\n",
        token.display()
    );
    std::fs::remove_file(config).expect("it was there");
    world.write(CONFIG, &account);
    assert!(give_away(&token));
    let outcome = world.call("list_rooms", json!({})).await;
    assert_eq!(kind(&outcome), "configuration");
    assert!(message(&outcome).contains("can be used by others"), "{}", message(&outcome));
    world.assert_untouched();

    // A shared checkout belongs to whomever it belongs to, and only ever forbids.
    std::fs::remove_file(token).expect("it was there");
    world.configure("");
    let project = world.write("project/.whereby.toml", "[permissions]\nread = \"deny\"\n");
    assert!(give_away(&project));
    assert_eq!(kind(&world.call("list_rooms", json!({})).await), "denied");

    let policy = world.write("policy.toml", "");
    assert!(give_away(&policy));
    refused(&world.environment(), "policy.toml");
}

#[tokio::test]
async fn a_policy_of_the_machine_that_others_can_write_is_refused() {
    let world = world().await;
    let policy = world.write("policy.toml", "[permissions]\nwrite = \"deny\"\n");
    for mode in [0o620, 0o602, 0o666] {
        set_mode(&policy, mode);
        refused(&world.environment(), "others can write this file");
    }
    // Everybody may read it.
    set_mode(&policy, 0o644);
    let plan = world.session().plan(Call::new("create_room", json!({}))).expect("a plan");
    assert_eq!(plan.verdict.permission, Permission::Deny);
}

#[tokio::test]
async fn certificates_components_and_tokens_that_are_no_plain_files_are_clear_errors() {
    let world = world().await;
    let url = world.simulator.url();
    pipe(&world.path("pipe"));
    let large = std::fs::File::create(world.path("large")).expect("a file");
    // Sparse: it takes no room.
    large.set_len(64 * 1024 * 1024).expect("a size");
    set_mode(&world.path("large"), 0o600);
    std::fs::write(world.path("binary"), b"s3cret\xff\xfe\n").expect("a file");
    set_mode(&world.path("binary"), 0o600);
    symlink("loop", world.path("loop")).expect("a link to itself");
    let account =
        |token: &str| format!("[accounts.work]\naccess_token = {token}\napi_url = \"{url}\"\n");
    for (file, token, others) in [
        ("pipe", "is not a file", "is not a file"),
        ("large", "is larger than 16384 bytes", "is larger than"),
        ("binary", "is not UTF-8", ""),
        ("loop", "cannot be read", "cannot be read"),
        ("project", "is not a file", "is not a file"),
        ("absent", "cannot be read", "cannot be read"),
    ] {
        let path = world.path(file).display().to_string();
        let cases = [
            ("token", account(&format!("{{ file = \"{path}\" }}")), token),
            ("ca_file", format!("ca_file = \"{path}\"\n{}", account("\"t0ken\"")), others),
            (
                "component",
                format!("[component]\npath = \"{path}\"\n{}", account("\"t0ken\"")),
                others,
            ),
        ];
        for (what, configuration, words) in cases {
            world.write(CONFIG, &configuration);
            let ran = world.run(&["call", "list_rooms", "--json"]).await;
            // Any bytes may be in a component's file; what they are is found out later.
            let is_component = file == "binary" && what == "component";
            let (code, expected) =
                if is_component { (9, "component-fault") } else { (3, "configuration") };
            let error = ran.json()["error"].clone();
            assert_eq!((ran.code, &error["kind"]), (code, &json!(expected)), "{what} {file}");
            let text = error["message"].as_str().unwrap_or_default();
            assert!(text.contains(words), "{what} {file}: {text}");
            assert!(is_component || text.contains(what) || text.contains(&path), "{text}");
            assert!(!text.contains("s3cret"), "{what} {file}: {text}");
        }
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_byte_order_mark_before_an_input_is_left_out() {
    const BOM: &str = "\u{feff}";
    let world = world().await;
    let (token, url) = (world.simulator.token(), world.simulator.url());
    let key = world.write("key", &format!("{BOM}{token}\n"));
    world.write(
        CONFIG,
        &format!(
            "{BOM}default_account = \"file\"\n\
             [accounts.file]\naccess_token = {{ file = \"{}\" }}\napi_url = \"{url}\"\n\
             [accounts.command]\naccess_token = {{ command = [\"/bin/cat\", \"{0}\"] }}\n\
             api_url = \"{url}\"\n",
            key.display()
        ),
    );
    let arguments = format!("{BOM}{{\"limit\": 1}}");
    let script = format!("{BOM}return app.integrations.whereby.list_rooms({{limit = 1}})");
    let file = world.write("project/script.lua", &script).display().to_string();
    for (command, stdin) in [
        (&["call", "list_rooms", arguments.as_str()][..], ""),
        (&["call", "list_rooms", "-"], arguments.as_str()),
        (&["call", "list_rooms", "--account", "command"], ""),
        (&["lua", file.as_str()], ""),
        (&["lua", "-"], script.as_str()),
    ] {
        let ran = whereby_tests::run(command, world.environment(), stdin, false).await;
        assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
    }
    assert_eq!(world.requests().len(), 5);
    // One is a mark; another one after it is not.
    let twice = format!("{BOM}{BOM}{{}}");
    assert_eq!(world.run(&["call", "list_rooms", &twice]).await.code, 2);
    let given = format!("{BOM}{token}");
    let command = ["configure", "--account", "new", "--token-stdin"];
    let ran = whereby_tests::run(&command, world.environment(), &given, false).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = world.run(&["call", "list_rooms", "--dry-run", "--account", "new"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
}
