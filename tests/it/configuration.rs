//! Configuration files: what is taken, what is refused, and what an error may show.

use crate::wire::kind;
use serde_json::json;
use std::path::Path;
use whereby::simulator::{Options, Reply, RoomSeed, Simulator};
use whereby::{Error, Settings};
use whereby_tests::{World, run, set_mode};

const CONFIG: &str = "config/whereby/config.toml";
const ACCOUNT: &str = "[accounts.work]\naccess_token = \"s3cret-token\"\n";

/// Loads the settings of a world, which must fail as a configuration error that shows no secret.
fn refused(world: &World) -> String {
    let loaded = Settings::load(None, &world.environment());
    let error = loaded.err().unwrap_or_else(|| panic!("it was taken"));
    assert!(matches!(error, Error::Configuration { .. }), "{error:?}");
    let text = error.to_string();
    assert!(!text.contains("s3cret"), "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    text
}

async fn world() -> World {
    World::with_rooms(vec![RoomSeed::named("daily")]).await
}

#[tokio::test]
async fn unknown_keys_and_wrong_values_are_named_with_their_line_and_what_would_be_right() {
    let world = world().await;
    for (head, tail, line, words) in [
        ("acounts = 1\n", "", 1, "did you mean `accounts`"),
        ("\ncolour = \"red\"\n", "", 2, "known here: default_account"),
        ("[permissions]\nreed = \"allow\"\n", "", 2, "did you mean `read`"),
        ("[permissions]\nread = \"yes\"\n", "", 2, "\"allow\", \"ask\" or \"deny\""),
        ("[permissions]\nread = true\n", "", 2, "a string in quotes"),
        ("[permissions]\nforce = \"ask\"\n", "", 2, "\"allow\" or \"deny\""),
        ("permissions = 7\n", "", 1, "a table"),
        ("[permissions.functions]\nlist_room = \"allow\"\n", "", 2, "did you mean `list_rooms`"),
        (
            "[permissions.functions]\n\"list-rooms\" = \"allow\"\n",
            "",
            2,
            "did you mean `list_rooms`",
        ),
        ("[limits]\ntimeout = 3\n", "", 2, "known here: timeout_seconds"),
        ("[limits]\ntimeout_seconds = 0\n", "", 2, "from 1 to 600"),
        ("[limits]\ntimeout_seconds = \"3\"\n", "", 2, "an integer"),
        ("[limits]\nrequests = -1\n", "", 2, "from 1 to 1000"),
        ("[limits]\nmemory_mib = 9223372036854775807\n", "", 2, "from 2 to 1024"),
        ("default_account = \"home\"\n", "", 0, "the unknown account `home`"),
        ("default_account = \"wrok\"\n", "", 0, "did you mean `work`"),
        ("default_account = 7\n", "", 1, "a string in quotes"),
        ("[component]\nsha256 = \"00\"\n", "", 2, "64 hexadecimal digits"),
        ("[component]\n", "", 1, "no path"),
        ("[component]\npath = \"x\"\nurl = \"y\"\n", "", 3, "known here: path, sha256"),
        ("", "api_url = \"https://example.org/v1?x=1\"\n", 3, "query"),
        ("", "api_url = \"http://example.org/v1\"\n", 3, "use https"),
        ("", "api_url = \"https://me:s3cret@example.org/v1\"\n", 3, "user name"),
        ("", "token = \"s3cret\"\n", 3, "known here: access_token"),
        ("", "enabled = \"no\"\n", 3, "true or false"),
        ("", "[accounts.work.permissions]\nwirte = \"allow\"\n", 4, "did you mean `write`"),
        ("", "[accounts.list_rooms]\naccess_token = \"x\"\n", 3, "cannot be an account's name"),
        ("", "[accounts.Work]\naccess_token = \"x\"\n", 3, "cannot be an account's name"),
        (
            "",
            "[accounts.\"a\\u001b[2Jb\"]\naccess_token = \"x\"\n",
            3,
            "cannot be an account's name",
        ),
        ("", "[accounts.home]\n", 3, "no access_token"),
        ("", "[accounts.home]\naccess_token = {}\n", 4, "exactly one of"),
        (
            "",
            "[accounts.home]\naccess_token = { env = \"A\", file = \"b\" }\n",
            4,
            "exactly one of",
        ),
        ("", "[accounts.home]\naccess_token = { environment = \"A\" }\n", 4, "known here: env"),
        ("", "[accounts.home]\naccess_token = { command = [\"pass\"] }\n", 4, "absolute path"),
        ("", "[accounts.home]\naccess_token = { command = [] }\n", 4, "absolute path"),
        (
            "",
            "[accounts.home]\naccess_token = { command = \"/bin/true\" }\n",
            4,
            "an array of strings",
        ),
        ("", "[accounts.home]\naccess_token = 7\n", 4, "a string in quotes"),
    ] {
        let file = world.write(CONFIG, &format!("{head}{ACCOUNT}{tail}"));
        let text = refused(&world);
        assert!(text.starts_with(&file.display().to_string()), "{text}");
        assert!(text.contains(words), "`{words}` is missing: {text}");
        if line > 0 {
            assert!(text.contains(&format!(", line {line}: ")), "line {line}: {text}");
        }
    }
    world.assert_untouched();
}

#[tokio::test]
async fn toml_that_is_none_never_shows_the_line_of_the_token() {
    let world = world().await;
    for text in [
        "access_token = \"s3cret-token\nx = 1",
        "access_token = s3cret-token",
        "access_token = \"s3cret-token\" \"s3cret\"",
        "access_token = 's3cret\n",
        "access_token = \"s3cret\\q\"",
        "access_token \"s3cret\"",
        "access_token = \"\"\"s3cret",
        "access_token = \"s3cret\"\naccess_token = \"s3cret\"",
        "s3cret",
        "[s3cret",
        "access_token = {s3cret}",
        "s3cret = ",
    ] {
        world.write(CONFIG, &format!("[accounts.work]\n{text}\n"));
        let shown = refused(&world);
        assert!(shown.contains("line "), "{shown}");
    }
}

#[tokio::test]
async fn a_secret_that_others_can_read_is_refused_and_so_is_a_file_that_they_can_write() {
    let world = world().await;
    for mode in [0o644, 0o640, 0o604] {
        set_mode(&world.write(CONFIG, ACCOUNT), mode);
        let text = refused(&world);
        assert!(text.contains("chmod 600"), "{mode:o}: {text}");
    }
    let without_secret = "[accounts.work]\naccess_token = { env = \"X\" }\n";
    for mode in [0o620, 0o602, 0o666] {
        set_mode(&world.write(CONFIG, without_secret), mode);
        let text = refused(&world);
        assert!(text.contains("chmod go-w"), "{mode:o}: {text}");
    }
    for mode in [0o600, 0o400, 0o644, 0o755] {
        set_mode(&world.write(CONFIG, without_secret), mode);
        let loaded = Settings::load(None, &world.environment());
        assert!(loaded.is_ok(), "{mode:o}: {:?}", loaded.err());
        set_mode(&world.path(CONFIG), 0o600);
    }
}

#[tokio::test]
async fn a_file_that_is_named_must_be_there_and_one_that_is_not_need_not() {
    let world = world().await;
    let environment = world.environment();
    let absent = Path::new("absent.toml");
    assert!(Settings::load(Some(absent), &environment).is_err());
    let mut named = environment.clone();
    named.variables.insert("WHEREBY_CONFIG".into(), "absent.toml".into());
    assert!(Settings::load(None, &named).is_err());
    std::fs::remove_file(world.path(CONFIG)).expect("it was there");
    let settings = Settings::load(None, &environment).expect("no file");
    assert!(settings.accounts.is_empty() && settings.file.is_none());

    // A relative path is relative to the working directory.
    let file = world.write("project/own.toml", ACCOUNT);
    let settings = Settings::load(Some(Path::new("own.toml")), &environment).expect("the file");
    assert_eq!(settings.file, Some(file.clone()));
    // A variable outlives a change of directory, and is not.
    named.variables.insert("WHEREBY_CONFIG".into(), "own.toml".into());
    let error = Settings::load(None, &named).expect_err("a relative path").to_string();
    assert_eq!(error, "WHEREBY_CONFIG must be an absolute path");
    let file = world.write("config/own.toml", ACCOUNT);
    named.variables.insert("WHEREBY_CONFIG".into(), file.display().to_string());
    assert_eq!(Settings::load(None, &named).expect("the file").file, Some(file));
}

#[tokio::test]
async fn a_project_file_that_holds_more_than_permissions_is_refused() {
    let world = world().await;
    for (contents, line) in [
        ("default_account = \"work\"\n", 1),
        ("[accounts.work]\naccess_token = \"s3cret\"\n", 2),
        ("[accounts.work]\napi_url = \"https://example.org\"\n", 2),
        ("[accounts.work]\nenabled = true\n", 2),
        ("[component]\npath = \"evil.wasm\"\n", 1),
        ("[limits]\ntimeout_seconds = 600\n", 1),
        ("ca_file = \"evil.pem\"\n", 1),
        ("[permisions]\nread = \"deny\"\n", 1),
        ("[permissions]\nraed = \"deny\"\n", 2),
        ("[permissions]\nread = \"maybe\"\n", 2),
        ("[accounts.\"A B\".permissions]\nread = \"deny\"\n", 1),
        ("\u{1b}[2J = 1\n", 1),
        ("\"\\u001b[2J\\u202e\" = 1\n", 1),
        ("read = \n", 1),
    ] {
        for place in ["project/.whereby.toml", ".whereby.toml", "policy.toml"] {
            let file = world.write(place, contents);
            let text = refused(&world);
            assert!(text.starts_with(&format!("{}, line {line}: ", file.display())), "{text}");
            let ran = world.run(&["call", "list_rooms", "--json"]).await;
            assert_eq!((ran.code, &ran.json()["error"]["kind"]), (3, &json!("configuration")));
            std::fs::remove_file(file).expect("it was there");
        }
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_project_file_that_is_no_plain_text_is_refused_and_nobody_waits() {
    let world = world().await;
    let file = world.path("project/.whereby.toml");
    let check = |words: &str| {
        let text = refused(&world);
        assert!(text.contains(words) && text.contains(".whereby.toml"), "{text}");
    };
    std::fs::create_dir(&file).expect("a folder");
    check("is not a file");
    std::fs::remove_dir(&file).expect("it was there");
    let made = std::process::Command::new("mkfifo").arg(&file).status().expect("mkfifo");
    assert!(made.success());
    check("is not a file");
    std::fs::remove_file(&file).expect("it was there");
    std::fs::write(&file, vec![b'#'; 256 * 1024 + 1]).expect("a file");
    check("is larger than 262144 bytes");
    std::fs::write(&file, b"[permissions]\n# \xff\n").expect("a file");
    check("is not UTF-8");
    std::fs::remove_file(&file).expect("it was there");
    std::os::unix::fs::symlink(world.path("absent"), &file).expect("a link");
    check("cannot be read");
    std::fs::remove_file(&file).expect("it was there");
    std::os::unix::fs::symlink("/dev/zero", &file).expect("a link");
    check("is not a file");
    world.assert_untouched();
}

#[tokio::test]
async fn a_project_file_that_is_a_link_to_a_secret_shows_nothing_of_it() {
    let world = world().await;
    let file = world.path("project/.whereby.toml");
    for secret in [
        "s3cret-token\n",
        "root:s3cret:0:0:root:/root:/bin/sh\n",
        "-----BEGIN KEY-----\ns3cret\n",
        "s3cret = \"s3cret\"\n",
        "[s3cret]\na = 1\n",
        "API_KEY=s3cret\n",
        "permissions = \"s3cret\"\n",
        "[permissions]\nread = \"s3cret\"\n",
    ] {
        let target = world.write("secret", secret);
        std::os::unix::fs::symlink(target, &file).expect("a link");
        let error = Settings::load(None, &world.environment()).expect_err("it was taken");
        let text = error.to_string();
        // The name of a key is told, so that it can be found; what follows it never is.
        assert!(!text.contains("s3cret") || secret.starts_with(['s', '[']), "{secret}: {text}");
        assert!(!text.contains("\"s3cret\"") && !text.contains("s3cret-token"), "{text}");
        std::fs::remove_file(&file).expect("it was there");
    }
}

#[tokio::test]
async fn a_component_is_taken_from_its_file_with_the_digest_that_is_given() {
    let world = world().await;
    std::fs::write(world.path("config/whereby/own.wasm"), whereby::BUILT_IN_READER)
        .expect("a file");
    let inspection = whereby::Inspection::of(whereby::BUILT_IN_READER).expect("a component");
    let digest = inspection.sha256;
    for (sha256, works) in [
        (String::new(), true),
        (format!("sha256 = \"{digest}\"\n"), true),
        (format!("sha256 = \"{}\"\n", digest.to_uppercase()), true),
        (format!("sha256 = \"{}\"\n", "0".repeat(64)), false),
    ] {
        world.configure(&format!("[component]\npath = \"own.wasm\"\n{sha256}"));
        let ran = world.run(&["call", "list_rooms", "--json"]).await;
        if works {
            assert_eq!(ran.code, 0, "{ran:?}");
            continue;
        }
        assert_eq!((ran.code, &ran.json()["error"]["kind"]), (3, &json!("configuration")));
        assert!(ran.stdout.contains(&digest) && ran.stdout.contains(&"0".repeat(64)), "{ran:?}");
    }
    world.configure("[component]\npath = \"absent.wasm\"\n");
    assert_eq!(world.run(&["call", "list_rooms"]).await.code, 3);
}

#[tokio::test]
async fn a_component_that_only_reads_cannot_write() {
    let world = world().await;
    world.configure(crate::wire::ALLOW_ALL);
    let session = world.session_with(None, Some(whereby::BUILT_IN_READER.to_vec()));
    assert!(session.call(None, "list_rooms", json!({})).await.result.is_ok());
    world.simulator.clear_requests();
    let outcome = session.call(None, "create_room", json!({})).await;
    assert_eq!(kind(&outcome), "component-fault");
    world.assert_untouched();
    // Nobody is told of functions that it does not have.
    let reader = world.path("reader.wasm");
    std::fs::write(&reader, whereby::BUILT_IN_READER).expect("a component");
    let reader = reader.display().to_string();
    for arguments in [&["accounts"][..], &["accounts", "--json"], &["list"]] {
        let ran = world.run(&[arguments, &["--component", &reader]].concat()).await;
        assert!(ran.code == 0 && !ran.stdout.contains("create_room"), "{arguments:?}: {ran:?}");
    }
}

#[tokio::test]
async fn certificates_that_are_none_are_a_configuration_error() {
    let world = world().await;
    world.configure("ca_file = \"absent.pem\"\n");
    assert_eq!(kind(&world.call("list_rooms", json!({})).await), "configuration");
    world.write(
        "config/whereby/ca.pem",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    );
    world.configure("ca_file = \"ca.pem\"\n");
    assert_eq!(kind(&world.call("list_rooms", json!({})).await), "configuration");
    world.assert_untouched();
}

/// A checkout that wants to be the user's configuration: it would get the key, and run a command.
async fn hostile_checkout(world: &World) -> Simulator {
    let theirs = Simulator::start(Options::default()).await.expect("a simulator");
    let config = format!(
        "[accounts.work]\napi_url = \"{}\"\naccess_token = {{ command = [\"/bin/sh\", \"-c\", \"touch {}; \
         echo key\"] }}\n",
        theirs.url(),
        world.path("ran").display()
    );
    for folder in ["project/.git", "project/evil/whereby", "project/.config/whereby"] {
        std::fs::create_dir_all(world.path(folder)).expect("a folder");
    }
    for file in ["project/evil/whereby/config.toml", "project/.config/whereby/config.toml"] {
        world.write(file, &config);
    }
    std::os::unix::fs::symlink(world.path("project"), world.path("link")).expect("a link");
    theirs
}

#[tokio::test]
async fn a_configuration_in_the_checkout_counts_only_when_it_is_named_on_the_command_line() {
    let world = world().await;
    let theirs = hostile_checkout(&world).await;
    let file = world.path("project/evil/whereby/config.toml");
    for (variable, value) in [
        ("WHEREBY_CONFIG", "project/evil/whereby/config.toml"),
        ("WHEREBY_CONFIG", "link/evil/whereby/config.toml"),
        ("XDG_CONFIG_HOME", "project/evil"),
        ("XDG_CONFIG_HOME", "link/evil"),
        ("HOME", "project"),
    ] {
        let mut environment = world.environment();
        if variable == "HOME" {
            environment.variables.remove("XDG_CONFIG_HOME");
        }
        environment.variables.insert(variable.into(), world.path(value).display().to_string());
        for arguments in [
            &["call", "list_rooms", "--json"][..],
            &["doctor", "--json"],
            &["accounts", "--json"],
            &["configure", "--read", "allow", "--json"],
            &["lua", "-e", "return 1", "--json"],
            &["mcp", "--json"],
        ] {
            let ran = run(arguments, environment.clone(), "", false).await;
            assert_eq!(ran.code, 3, "{variable}={value} {arguments:?}: {ran:?}");
            let document = ran.json();
            let failed = match arguments[0] {
                "doctor" => &document["checks"][0],
                _ => &document["error"],
            };
            let message = failed["message"].as_str().expect("a message");
            for words in [variable, "leads into the checkout", "/project", "--config"] {
                assert!(message.contains(words), "no {words:?}: {message}");
            }
        }
        assert!(!world.path("ran").exists(), "{variable}={value}: a command ran");
    }
    assert!(theirs.requests().is_empty());
    world.assert_untouched();
    // The user's own word is enough.
    let file = file.display().to_string();
    let ran = world.run(&["call", "list_rooms", "--config", &file, "--json"]).await;
    assert!(world.path("ran").exists(), "{ran:?}");
    assert_eq!(theirs.requests().len(), 1, "{ran:?}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_told_with_what_names_it() {
    let world = world().await;
    let absent = world.path("absent.toml").display().to_string();
    let mut environment = world.environment();
    environment.variables.insert("WHEREBY_CONFIG".into(), absent.clone());
    let by_variable = run(&["call", "list_rooms"], environment, "", false).await;
    let by_flag = world.run(&["call", "list_rooms", "--config", &absent]).await;
    for (ran, name) in [(by_variable, "WHEREBY_CONFIG"), (by_flag, "--config")] {
        assert_eq!(ran.code, 3, "{ran:?}");
        let words = format!("error: {absent}: there is no such file; {name} names it\n");
        assert!(ran.stderr.starts_with(&words), "{ran:?}");
    }
    world.assert_untouched();
}

/// Each hint about the API names what set it: the key, its file and its line to people, the key alone
/// to agents, and the variable to both.
#[tokio::test]
async fn a_hint_about_the_api_names_what_set_it() {
    let world = world().await;
    let page = Reply::status(200).body("<html>");
    let base = world.simulator.url();
    for (url, reply, words) in [
        ("http://127.0.0.1:1/v1".to_owned(), None, "check KEY, and that the server"),
        (format!("{base}0"), None, "check KEY: its path is usually /v1"),
        (base.clone(), Some(page), "check KEY, and whether this network has"),
    ] {
        let set = || {
            if let Some(reply) = reply.clone() {
                world.simulator.script("*", "/v1/meetings", 1, reply);
            }
        };
        let call = &["call", "list_rooms", "--json"][..];
        let script = "local _, e = pcall(app.integrations.whereby.list_rooms, {}) return e.hint";
        let lua = &["lua", "-e", script, "--json"][..];
        let token = world.simulator.token();
        let file = format!(
            "[accounts.work]\naccess_token = \"{token}\"\n# a comment\napi_url = \"{url}\"\n"
        );
        let file_name = world.write("config/whereby/config.toml", &file);
        set_mode(&file_name, 0o600);
        let hint = |words: &str, key: &str| words.replace("KEY", key);
        set();
        let shown = world.run(call).await.json();
        let shown = shown["error"]["hint"].as_str().expect("a hint");
        assert!(shown.contains(&hint(words, "accounts.work.api_url")), "{url}: {shown}");
        let place = format!("; accounts.work.api_url is in {}, line 4", file_name.display());
        assert!(shown.ends_with(&place), "{url}: {shown}");
        set();
        let shown = world.run(lua).await.json();
        let shown = shown["result"].as_str().expect("a hint");
        assert!(shown.contains(&hint(words, "accounts.work.api_url")), "{url}: {shown}");
        assert!(!shown.contains("line 4"), "an agent need not know: {shown}");

        let mut environment = world.bare_environment();
        environment.variables.insert("WHEREBY_API_URL".into(), url.clone());
        set();
        let shown = run(call, environment.clone(), "", false).await.json();
        let shown = shown["error"]["hint"].as_str().expect("a hint");
        assert!(shown.contains(&hint(words, "WHEREBY_API_URL")), "{url}: {shown}");
        assert!(!shown.contains("api_url"), "{url}: {shown}");
        set();
        let shown = run(lua, environment, "", false).await.json();
        let shown = shown["result"].as_str().expect("a hint");
        assert!(shown.contains(&hint(words, "WHEREBY_API_URL")), "{url}: {shown}");
    }
}

#[tokio::test]
async fn a_checkout_without_a_configuration_takes_nothing_away() {
    let world = world().await;
    std::fs::create_dir_all(world.path("project/.git")).expect("a folder");
    let mut environment = world.bare_environment();
    let project = world.path("project").display().to_string();
    environment.variables.insert("XDG_CONFIG_HOME".into(), project);
    let ran = run(&["call", "list_rooms", "--json"], environment.clone(), "", false).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = run(&["configure", "--read", "allow"], environment, "", false).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(!world.path("project/whereby").exists());
}

#[tokio::test]
async fn approvals_and_compiled_code_of_a_checkout_are_not_used() {
    let world = world().await;
    world.configure("");
    std::fs::create_dir_all(world.path("project/.git")).expect("a folder");
    let with = |variable: &str| {
        let mut environment = world.environment();
        let project = world.path("project/prepared").display().to_string();
        environment.variables.insert(variable.into(), project);
        environment
    };
    let state = with("XDG_STATE_HOME");
    for arguments in [
        &["call", "create_room", "--force", "--json"][..],
        &["approvals", "list", "--json"],
        &["audit", "--json"],
    ] {
        let ran = run(arguments, state.clone(), "", false).await;
        assert_eq!(ran.code, 3, "{arguments:?}: {ran:?}");
        let document = ran.json();
        let message = document["error"]["message"].as_str().expect("a message");
        for words in ["XDG_STATE_HOME leads into the checkout", "outside it"] {
            assert!(message.contains(words), "no {words:?}: {message}");
        }
    }
    world.assert_untouched();
    let ran = run(&["call", "list_rooms"], state, "", false).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("XDG_STATE_HOME"), "{ran:?}");

    let cache = with("XDG_CACHE_HOME");
    let ran = run(&["doctor", "--json"], cache, "", false).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let document = ran.json();
    let mut checks = document["checks"].as_array().expect("checks").iter();
    let check = checks.find(|check| check["name"] == "cache").expect("a check");
    assert_eq!(check["status"], "warning", "{check}");
    let message = check["message"].as_str().expect("a message");
    assert!(message.contains("XDG_CACHE_HOME leads into the checkout"), "{check}");
    assert!(!world.path("project/prepared").exists(), "something was written there");
}
