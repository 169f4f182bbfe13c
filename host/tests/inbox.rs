//! The program that serves the inbox: what it prints, and how it opens a browser.

#![cfg(all(unix, feature = "inbox"))]

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn inbox(home: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whereby"));
    command.args(["inbox", "--web"]).args(arguments).current_dir(home).env_clear();
    command.env("HOME", home).env("PATH", home);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

/// Ends the program as a service manager does. Returns its exit status and standard error.
fn ended(mut child: Child) -> (Option<i32>, String) {
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    let status = child.wait().expect("it ends");
    let mut stderr = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
    (status.code(), stderr)
}

#[test]
fn it_prints_the_link_and_ends_with_a_signal() {
    let home = tempfile::tempdir().expect("a folder");
    let mut child = inbox(home.path(), &[]);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("a line").expect("text");
    assert!(line().starts_with("inbox at http://localhost:"));
    assert_eq!(line(), "");
    assert_eq!(line(), "Open this link to sign in. It works once, within 10 minutes:");
    let link = line();
    assert!(link.starts_with("  http://localhost:") && link.contains("/enter/"), "{link}");
    assert_eq!(ended(child), (Some(0), String::new()));
    // Nobody takes its address for that of a page any more.
    assert!(!home.path().join(".local/state/whereby/page").exists());
}

#[test]
fn the_browser_is_given_a_private_file_and_no_secret_on_its_command_line() {
    let home = tempfile::tempdir().expect("a folder");
    let opened = home.path().join("opened");
    let made = Command::new("mkfifo").arg(&opened).status().expect("mkfifo");
    assert!(made.success());
    // Another process writes them: a program that is open for writing anywhere here cannot be started.
    let made = Command::new("/bin/sh")
        .args(["-c", "printf '%s' \"$0\" | tee xdg-open > open && chmod 700 xdg-open open"])
        .arg("#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$HOME/opened\"\n")
        .current_dir(home.path())
        .status()
        .expect("a shell");
    assert!(made.success());
    let mut child = inbox(home.path(), &["--open", "--json"]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let document: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let link = document["inbox"]["link"]["url"].as_str().expect("a link");
    assert!(document["inbox"]["link"]["expires_at"].is_string(), "{document}");
    let arguments = std::fs::read_to_string(&opened).expect("the arguments");
    assert!(!arguments.contains("/enter/") && !arguments.contains("http"), "{arguments}");
    let file = Path::new(arguments.trim());
    let mode = file.metadata().expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(std::fs::read_to_string(file).expect("a page").contains(link));
    assert_eq!(ended(child).0, Some(0));
    assert!(!file.exists());
}

#[test]
fn a_browser_that_cannot_be_started_is_a_warning() {
    let home = tempfile::tempdir().expect("a folder");
    let mut child = inbox(home.path(), &["--open"]);
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    stderr.read_line(&mut line).expect("a line");
    assert!(line.contains("cannot be started, so open the link yourself"), "{line}");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
