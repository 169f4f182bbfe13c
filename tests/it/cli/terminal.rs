//! What a terminal gets and a pipe does not, warnings, and output that cannot be written.

use super::still_world;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use whereby::Environment;
use whereby::cli::Streams;
use whereby_tests::{World, run, run_with};

const COLOUR: char = '\u{1b}';

/// The surroundings of a user who has nothing against colours.
fn colourful(world: &World) -> Environment {
    let mut environment = world.environment();
    environment.variables.remove("NO_COLOR");
    environment
}

#[tokio::test]
async fn colours_are_for_a_terminal_whose_user_wants_them() {
    let (world, _) = still_world().await;
    let wrong = ["list", "--account", "wrok"];
    let set = |name: &str, value: &str| {
        let mut environment = colourful(&world);
        environment.variables.insert(name.into(), value.into());
        environment
    };
    for (environment, terminal, expected) in [
        (colourful(&world), true, true),
        (set("NO_COLOR", ""), true, true),
        (set("TERM", "xterm"), true, true),
        (colourful(&world), false, false),
        (set("NO_COLOR", "1"), true, false),
        (set("TERM", "dumb"), true, false),
    ] {
        let ran = run(&["list"], environment.clone(), "", terminal).await;
        assert_eq!(ran.stdout.contains(COLOUR), expected, "{environment:?}: {ran:?}");
        let ran = run(&wrong, environment.clone(), "", terminal).await;
        assert_eq!(ran.stderr.contains(COLOUR), expected, "{environment:?}: {ran:?}");
        // A document is for programs.
        let ran = run(&["list", "--json"], environment, "", terminal).await;
        assert!(!format!("{ran:?}").contains(COLOUR), "{ran:?}");
    }
    // Each stream for itself.
    let ran = run_with(&wrong, colourful(&world), "", |streams| {
        streams.stdout_is_terminal = true;
    })
    .await;
    assert!(!ran.stderr.contains(COLOUR), "{ran:?}");
}

#[tokio::test]
async fn dates_are_local_on_a_terminal_and_as_they_came_elsewhere() {
    let (world, _) = still_world().await;
    let mut environment = world.environment();
    environment.variables.insert("TZ".into(), "XYZ-2".into());
    let list = ["call", "list_meetings"];
    let ran = run(&list, environment.clone(), "", true).await;
    assert!(ran.stdout.contains("2026-03-01 14:00:00 "), "{ran:?}");
    assert_eq!(ran.stdout.matches("UTC+02:00").count(), 1, "{ran:?}");
    let ran = run(&list, environment.clone(), "", false).await;
    assert!(ran.stdout.contains("2026-03-01T12:00:00.000Z"), "{ran:?}");
    let ran = run(&["call", "list_meetings", "--json"], environment, "", true).await;
    assert_eq!(ran.json()["data"]["data"][0]["startDate"], "2026-03-01T12:00:00.000Z");
}

#[tokio::test]
async fn tables_fit_the_terminal() {
    let (world, _) = still_world().await;
    let widest = async |arguments: &[&str], terminal: bool, width: Option<u16>| {
        let ran = run_with(arguments, world.environment(), "", |streams| {
            streams.stdout_is_terminal = terminal;
            streams.width = width;
        })
        .await;
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout.lines().map(|line| line.chars().count()).max().unwrap_or(0)
    };
    for arguments in [
        &["list"][..],
        &["accounts"],
        &["search", "rooms"],
        &["call", "list_rooms"],
        &["call", "get_room", "--arg", "room_name=daily"],
        &["call", "get_current_user"],
    ] {
        for width in [60, 80, 120] {
            let found = widest(arguments, true, Some(width)).await;
            assert!(found <= usize::from(width), "{arguments:?} on {width}: {found}");
        }
    }
    // Where nobody reads it, or the width is not known, lines are as long as they are.
    let free = widest(&["list"], false, Some(20)).await;
    assert!(free > 80, "{free}");
    assert_eq!(free, widest(&["list"], true, None).await);
    // Nothing sensible fits, and nothing breaks.
    for width in [0, 1, 5] {
        widest(&["call", "list_rooms"], true, Some(width)).await;
    }
}

/// A file system without room: it says so as late as it can.
#[derive(Clone, Default)]
struct Full {
    only_when_flushed: bool,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.only_when_flushed {
            true => Ok(bytes.len()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_failed_write_of_output_is_reported() {
    let (world, _) = still_world().await;
    for only_when_flushed in [false, true] {
        for arguments in [&["list"][..], &["call", "list_rooms", "--json"], &["--help"], &["man"]] {
            let stderr = Kept::default();
            let streams = Streams::new(io::empty(), Full { only_when_flushed }, stderr.clone());
            let arguments_os = arguments.iter().map(std::ffi::OsString::from);
            let code = whereby::cli::run(arguments_os, world.environment(), streams).await;
            let told = stderr.0.lock().expect("nobody panicked").clone();
            let told = String::from_utf8(told).expect("UTF-8");
            assert_eq!(code, 1, "{arguments:?}: {told}");
            assert!(told.starts_with("error: the output cannot be written"), "{told}");
        }
    }
}

#[tokio::test]
async fn an_error_keeps_its_exit_status_where_it_cannot_be_written() {
    let (world, _) = still_world().await;
    let streams = Streams::new(io::empty(), Kept::default(), Full::default());
    let arguments = ["list", "--account", "wrok"].map(std::ffi::OsString::from);
    let code = whereby::cli::run(arguments, world.environment(), streams).await;
    assert_eq!(code, 2);
}

#[tokio::test]
async fn variables_and_rules_without_an_effect_are_warned_of_on_standard_error() {
    let (world, _) = still_world().await;
    let mut environment = world.environment();
    for (name, value) in
        [("WHEREBY_ACCESS_TOKEN", "s3cret-token"), ("WHEREBY_API_URL", "http://127.0.0.1:1/v1")]
    {
        environment.variables.insert(name.into(), value.into());
    }
    world.write("project/.whereby.toml", "[accounts.wrok.permissions]\nread = \"deny\"\n");
    for command in [&["list"][..], &["accounts"], &["call", "list_rooms"], &["doctor"]] {
        for json in [&[][..], &["--json"]] {
            let arguments = [command, json].concat();
            let ran = run(&arguments, environment.clone(), "", false).await;
            assert_eq!(ran.code, 0, "{ran:?}");
            let warnings: Vec<&str> = ran.stderr.lines().collect();
            assert_eq!(warnings.len(), 3, "{arguments:?}: {ran:?}");
            for (warning, words) in warnings.iter().zip([
                "WHEREBY_ACCESS_TOKEN has no effect",
                "WHEREBY_API_URL has no effect",
                "did you mean `work`",
            ]) {
                assert!(warning.starts_with("warning: ") && warning.contains(words), "{ran:?}");
            }
            assert!(!format!("{ran:?}").contains("s3cret"), "{ran:?}");
            let quiet = [&arguments[..], &["--quiet"]].concat();
            let ran = run(&quiet, environment.clone(), "", false).await;
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{quiet:?}");
        }
    }
}

#[tokio::test]
async fn a_variable_that_an_account_names_has_an_effect_and_no_warning() {
    let (world, _) = still_world().await;
    let url = world.simulator.url();
    world.write(
        "config/whereby/config.toml",
        &format!(
            "[accounts.one]\napi_url = \"{url}\"\naccess_token = {{ env = \"WHEREBY_ACCESS_TOKEN\" }}\n"
        ),
    );
    let mut environment = world.environment();
    let token = world.simulator.token().to_owned();
    environment.variables.insert("WHEREBY_ACCESS_TOKEN".into(), token);
    let ran = run(&["call", "list_rooms"], environment.clone(), "", false).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    // What mends one that is refused is where it comes from.
    environment.variables.insert("WHEREBY_ACCESS_TOKEN".into(), "another".into());
    let ran = run(&["doctor"], environment, "", false).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains("and set WHEREBY_ACCESS_TOKEN to the new key"), "{ran:?}");
}

#[tokio::test]
async fn an_empty_token_differs_from_no_token() {
    let (world, _) = still_world().await;
    world.write("config/whereby/config.toml", "");
    let mut environment = world.environment();
    for (token, warns) in [(None, false), (Some(""), true)] {
        environment
            .variables
            .extend(token.map(|token| ("WHEREBY_ACCESS_TOKEN".into(), token.into())));
        let ran = run(&["call", "list_rooms"], environment.clone(), "", false).await;
        assert_eq!(ran.code, 3, "{ran:?}");
        let warning = "warning: WHEREBY_ACCESS_TOKEN is set but empty";
        assert_eq!(ran.stderr.contains(warning), warns, "{ran:?}");
    }
    let token = world.simulator.token().to_owned();
    environment.variables.insert("WHEREBY_ACCESS_TOKEN".into(), token);
    environment.variables.insert("WHEREBY_API_URL".into(), String::new());
    let ran = run(&["accounts"], environment, "", false).await;
    assert!(ran.stderr.contains("warning: WHEREBY_API_URL is set but empty"), "{ran:?}");
}

#[tokio::test]
async fn messages_and_documentation_fit_the_terminal_and_a_pipe_gets_them_whole() {
    let (world, _) = still_world().await;
    world.write("project/.whereby.toml", "[accounts.wrok.permissions]\nread = \"deny\"\n");
    let missing = ["call", "get_room", "--arg", "room_name=nowhere"];
    for arguments in [&["docs", "create_room"][..], &missing, &["call", "create_room", "--json"]] {
        let on_terminal = run_with(arguments, world.environment(), "", |streams| {
            (streams.stdout_is_terminal, streams.stderr_is_terminal) = (true, true);
            streams.width = Some(60);
        });
        let (on_terminal, piped) = (on_terminal.await, world.run(arguments).await);
        let mut is_code = false;
        let is_document = arguments.contains(&"--json");
        let shown = if is_document { "" } else { &on_terminal.stdout };
        for line in shown.lines().chain(on_terminal.stderr.lines()) {
            is_code ^= line.starts_with("```");
            // A path or a word that is longer is not broken.
            let words = line.split_whitespace().count();
            let fits = line.chars().count() <= 60 || words <= 2;
            assert!(is_code || fits, "{arguments:?}: {line}");
        }
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        if is_document {
            assert_eq!(on_terminal.stdout.lines().count(), 1, "{on_terminal:?}");
        } else {
            assert_eq!(words(&on_terminal.stdout), words(&piped.stdout));
        }
        assert_eq!(words(&on_terminal.stderr), words(&piped.stderr));
        let longest = |text: &str| text.lines().map(str::len).max().unwrap_or(0);
        assert!(longest(&piped.stdout).max(longest(&piped.stderr)) > 100, "{piped:?}");
    }
}
