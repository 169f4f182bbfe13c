//! The program itself, run once in each of the ways that only a process of its own can show.

#![cfg(feature = "simulator")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use whereby::simulator::{Options, Simulator};

/// The program with a home of its own and no other variables.
fn whereby(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whereby"));
    command.args(arguments).current_dir(home).env_clear().env("HOME", home);
    command
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// What a program printed; a panic anywhere fails the test.
fn finished(mut command: Command) -> Output {
    let output = command.output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    output
}

#[test]
fn the_demonstration_succeeds() {
    let home = home();
    let output = finished(whereby(home.path(), &["demo"]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("9 calls"), "{output:?}");
}

#[test]
fn a_reader_that_went_away_makes_no_noise() {
    let home = home();
    for arguments in [&["docs"][..], &["--help"], &["list", "--json"], &["demo"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = whereby(home.path(), arguments);
        command.stdout(writer);
        let output = finished(command);
        assert_ne!(output.status.code(), None, "{arguments:?} was killed");
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.len() < 200, "{arguments:?}: {output:?}");
    }
}

#[cfg(feature = "mcp")]
#[test]
fn a_server_says_at_its_start_that_its_calls_will_fail() {
    let home = home();
    let accounts = "[accounts.work]\naccess_token.file = \"/nowhere/key\"\n";
    let off = "[accounts.work]\naccess_token.env = \"KEY\"\nenabled = false\n";
    let good = "[accounts.work]\naccess_token.env = \"KEY\"\n";
    let other = "[accounts.other]\naccess_token.env = \"NO_KEY\"\n";
    for (configuration, words) in [
        (String::new(), &["every call will fail", "run: whereby setup"][..]),
        (
            accounts.to_owned(),
            &["/nowhere/key", "run: whereby configure --account work --token-stdin"],
        ),
        (off.to_owned(), &["switched off", "run: whereby configure --account work --enable"]),
        (format!("{good}{other}"), &["`other`", "NO_KEY", "configure --account other"]),
        (format!("{off}{other}"), &["every call will fail", "no default"]),
        (
            format!("default_account = \"work\"\n{off}{}", good.replace("work", "other")),
            &["`work` is switched off"],
        ),
        (good.to_owned(), &[]),
    ] {
        let file = home.path().join("config.toml");
        std::fs::write(&file, &configuration).expect("a file");
        let mut command = whereby(home.path(), &["mcp", "--config", "config.toml"]);
        command.env("KEY", "a-key").stdin(std::process::Stdio::null());
        let output = finished(command);
        // It starts all the same, and ends with its client.
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        for word in words {
            assert!(stderr.contains(word), "{configuration}: {stderr}");
        }
        assert_eq!(stderr.is_empty(), words.is_empty(), "{configuration}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_by_two_variables_reaches_the_api() {
    let simulator = Simulator::start(Options::default()).await.expect("a simulator");
    let (url, token) = (simulator.url(), simulator.token().to_owned());
    let output = tokio::task::spawn_blocking(move || {
        let home = home();
        let mut command = whereby(home.path(), &["call", "list_rooms", "{\"limit\":2}", "--json"]);
        command.env("WHEREBY_API_URL", url).env("WHEREBY_ACCESS_TOKEN", token);
        finished(command)
    });
    let output = output.await.expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(document["data"]["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(document["meta"]["account"], "default");
    assert_eq!(simulator.requests().len(), 1);
}

#[cfg(all(unix, feature = "mcp"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_on_standard_input_has_the_limits_of_its_token() {
    let simulator = Simulator::start(Options::default()).await.expect("a simulator");
    let (url, key) = (simulator.url(), simulator.token().to_owned());
    let outputs = tokio::task::spawn_blocking(move || {
        let home = home();
        let run = |arguments: &[&str], token: Option<&str>, stdin: &str| {
            let file = home.path().join("stdin");
            std::fs::write(&file, stdin).expect("a file");
            let mut command = whereby(home.path(), arguments);
            command.env("WHEREBY_API_URL", &url).env("WHEREBY_ACCESS_TOKEN", &key);
            command.stdin(std::fs::File::open(&file).expect("the file"));
            command.envs(token.map(|token| ("WHEREBY_TOKEN", token)));
            finished(command)
        };
        let token = run(&["token", "create", "--read-only"], None, "").stdout;
        let token = String::from_utf8(token).expect("text");
        let delete = serde_json::json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params":
            {"name": "whereby_delete_room", "arguments": {"room_name": "daily"}}});
        let initialize = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {"protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": {"name": "raw", "version": "1"}}});
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let lines = format!("{initialize}\n{initialized}\n{delete}\n");
        let file = home.path().join("token");
        std::fs::write(&file, &token).expect("a file");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("a mode");
        let at = file.display().to_string();
        let listen = &["mcp", "--listen", "127.0.0.1:0"];
        [
            run(&["mcp"], Some(&token), &lines),
            run(&["mcp", "--token-file", &at], None, &lines),
            // Not started at all.
            run(&["mcp"], Some("nonsense"), &lines),
            run(&["mcp"], Some(""), &lines),
            run(listen, Some(&token), ""),
            run(&[&listen[..], &["--token-file", &at]].concat(), None, ""),
        ]
    });
    let [own, of_file, nonsense, empty, listening, bearer] = outputs.await.expect("they end");
    for output in [own, of_file] {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        let answers = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let answer = answers.into_iter().find(|answer| answer["id"] == 2).expect("an answer");
        let error = &answer["result"]["_meta"]["whereby/error"];
        assert_eq!(error["kind"], "denied", "{answer}");
    }
    for (output, words) in [
        (nonsense, "it is not a capability token"),
        (empty, "WHEREBY_TOKEN is empty"),
        (listening, "WHEREBY_TOKEN is set, but HTTP clients send their own"),
        (bearer, "start the server with --capability-tokens"),
    ] {
        assert_ne!(output.status.code(), Some(0), "{words}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(words), "{stderr}");
    }
    assert!(simulator.requests().is_empty());
}

/// Every file and folder below a folder, with its mode.
#[cfg(unix)]
fn modes(folder: &Path) -> Vec<(std::path::PathBuf, u32, bool)> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let metadata = path.symlink_metadata().expect("it is there");
        found.push((path.clone(), metadata.permissions().mode() & 0o777, metadata.is_dir()));
        if metadata.is_dir() {
            found.extend(modes(&path));
        }
    }
    found
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whatever_the_umask_only_the_user_reads_what_is_made() {
    let simulator = Simulator::start(Options::default()).await.expect("a simulator");
    for umask in ["000", "022", "277"] {
        let (url, token) = (simulator.url(), simulator.token().to_owned());
        let home = tokio::task::spawn_blocking(move || {
            let home = home();
            for arguments in [
                &["call", "list_rooms"][..],
                &["call", "create_room", "--force"],
                &["configure", "--set", "limits.timeout_seconds=20"],
                &["audit", "archive", "calls.db"],
                &["call", "list_rooms"],
            ] {
                let program = env!("CARGO_BIN_EXE_whereby");
                let mut command = Command::new("/bin/sh");
                command.args(["-c", "umask \"$0\" && exec \"$@\"", umask, program]);
                command.args(arguments).current_dir(home.path()).env_clear();
                command.env("HOME", home.path()).env("WHEREBY_API_URL", &url);
                command.env("WHEREBY_ACCESS_TOKEN", &token);
                let output = finished(command);
                assert_eq!(output.status.code(), Some(0), "{umask} {arguments:?}: {output:?}");
            }
            home
        });
        let home = home.await.expect("it ends");
        let found = modes(home.path());
        for name in ["config.toml", "state.db", "spool", "calls.db", ".cache", ".local"] {
            let is_there = found.iter().any(|(path, ..)| path.ends_with(name));
            assert!(is_there || cfg!(target_os = "macos"), "{name}: {found:?}");
        }
        for (path, mode, is_folder) in found {
            let expected = if is_folder { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "umask {umask}: {}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_program_that_has_ended_leaves_its_calls_in_one_file() {
    let simulator = Simulator::start(Options::default()).await.expect("a simulator");
    let (url, token) = (simulator.url(), simulator.token().to_owned());
    let ran = tokio::task::spawn_blocking(move || {
        let home = home();
        let run = |arguments: &[&str]| {
            let mut command = whereby(home.path(), arguments);
            command.env("WHEREBY_API_URL", &url).env("WHEREBY_ACCESS_TOKEN", &token);
            command.env("XDG_STATE_HOME", home.path());
            let output = finished(command);
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
            output
        };
        let folder = home.path().join("whereby");
        for _ in 0..3 {
            run(&["call", "create_room", "--force"]);
            run(&["call", "list_rooms"]);
            run(&["lua", "-e", "return app.integrations.whereby.list_rooms({ limit = 1 })"]);
            assert!(!folder.join("state.db-wal").exists());
        }
        let kept = std::fs::read(folder.join("state.db")).expect("a database");
        std::fs::remove_file(folder.join("state.db")).expect("removed");
        run(&["call", "list_rooms"]);
        std::fs::write(folder.join("state.db"), kept).expect("restored");
        run(&["audit", "--json"])
    });
    let output = ran.await.expect("it ends");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(document["audit"].as_array().map(Vec::len), Some(9), "{document}");
}
