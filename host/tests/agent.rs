//! The example of an agent, run as whoever reads it would run it.

#![cfg(feature = "simulator")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use whereby::simulator::{Options, Simulator};

/// Where cargo puts the examples of this package, which it builds along with the tests.
fn agent() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_whereby"));
    let example = program.with_file_name("examples").join("agent");
    assert!(example.is_file(), "run: cargo build -p whereby-agent --example agent");
    example
}

/// Runs it with these answers on its standard input, and no other variables.
fn run(answers: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut child = Command::new(agent())
        .args(arguments)
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path())
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(answers.as_bytes()).expect("it takes the answers");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// What it printed, in a run that went well.
fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How many calls it made.
fn calls(printed: &str) -> usize {
    printed.lines().filter(|line| !line.starts_with(' ')).count()
}

#[test]
fn a_person_who_says_yes_has_a_room_created_and_deleted() {
    let output = run("y\nyes\n", &["--simulate"], &[]);
    let printed = printed(&output);
    assert_eq!(calls(&printed), 10, "{printed}");
    let asked = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(asked.matches("[y/N]").count(), 2, "{asked}");
    assert!(asked.contains("This permanently deletes"), "{asked}");
    // The last look at the room is the only call that fails.
    assert_eq!(printed.matches("\"kind\":").count(), 1, "{printed}");
    assert!(printed.contains("\"kind\":\"not-found\""), "{printed}");
}

#[test]
fn whoever_says_no_or_nothing_has_nothing_written() {
    for answers in ["n\n", "", "certainly\n"] {
        let printed = printed(&run(answers, &["--simulate"], &[]));
        assert_eq!(calls(&printed), 7, "{printed}");
        assert!(printed.contains("was declined"), "{printed}");
        assert!(!printed.contains("delete_room"), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn two_variables_are_enough_and_each_write_is_asked_for() {
    let simulator = Simulator::start(Options::default()).await.expect("a simulator");
    let (url, token) = (simulator.url(), simulator.token().to_owned());
    let output = tokio::task::spawn_blocking(move || {
        run("y\n", &[], &[("WHEREBY_API_URL", &url), ("WHEREBY_ACCESS_TOKEN", &token)])
    });
    let printed = printed(&output.await.expect("it ends"));
    assert_eq!(calls(&printed), 10, "{printed}");
    let methods: Vec<String> =
        simulator.requests().iter().map(|request| request.method.to_string()).collect();
    assert!(methods.iter().any(|method| method == "POST"), "{methods:?}");
    // The input ended before the second question was answered.
    assert!(!methods.iter().any(|method| method == "DELETE"), "{methods:?}");
}

#[test]
fn a_flag_that_it_does_not_have_is_refused() {
    assert_eq!(run("", &["--force"], &[]).status.code(), Some(1));
}
