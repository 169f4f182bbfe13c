//! A freeze holds for every process of the user, and for a call that one of them has under way.

#![cfg(all(unix, feature = "simulator"))]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use whereby::simulator::{Gate, Options, Reply, RoomSeed, Simulator};

/// The program as a user with a home, an account and no other variables.
fn whereby(home: &Path, simulator: &Simulator, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whereby"));
    command
        .args(arguments)
        .current_dir(home)
        .env_clear()
        .env("HOME", home)
        .env("WHEREBY_API_URL", simulator.url())
        .env("WHEREBY_ACCESS_TOKEN", simulator.token())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no document: {output:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_process_stops_a_call_that_is_under_way() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let simulator = Simulator::start(Options::default()).await.expect("a simulator");
    simulator.add_room(0, &RoomSeed::named("daily"));
    let run = |arguments: &[&str]| {
        whereby(home.path(), &simulator, arguments).output().expect("the program runs")
    };
    let gate = Gate::new();
    simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let delete = ["call", "delete_room", "--arg", "room_name=daily", "--force", "--json"];
    let child = whereby(home.path(), &simulator, &delete).spawn().expect("the program starts");
    simulator.wait_for_requests(1).await;
    let frozen = run(&["freeze", "--account", "default", "--json"]);
    assert_eq!(frozen.status.code(), Some(0), "{frozen:?}");
    gate.open();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let error = &document(&output)["error"];
    assert_eq!((&error["kind"], &error["effect"]), (&"denied".into(), &"none".into()), "{error}");
    assert_eq!(simulator.requests().len(), 1);
    // Calls that begin later send nothing at all.
    assert_eq!(run(&delete).status.code(), Some(4));
    assert_eq!(simulator.requests().len(), 1);
    // Lifted, the room is still there to be deleted.
    assert_eq!(run(&["unfreeze"]).status.code(), Some(0));
    let output = run(&delete);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
