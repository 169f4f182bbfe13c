//! The audit log with many processes at once that are killed at any time, while it is verified, archived and
//! exported: its hashes form one chain, and no row is lost.

#![cfg(all(unix, feature = "simulator"))]

mod world;

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::Duration;
use world::World;

/// How many programs run at a time.
const PROGRAMS: usize = 16;

/// How often that many are started. The log is archived after each round.
const ROUNDS: usize = 4;

/// Runs a command that succeeds. Returns what it printed.
async fn ran(world: &World, arguments: &[&str]) -> String {
    let child = start(world, arguments);
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await;
    let output = output.expect("no panic").expect("it ends");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{arguments:?}: {printed}");
    printed
}

fn start(world: &World, arguments: &[&str]) -> Child {
    world.command(arguments).spawn().expect("the program starts")
}

fn ids(export: &str) -> BTreeSet<String> {
    let id = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("JSON");
        row["id"].as_str().expect("an id").to_owned()
    };
    export.lines().map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_programs_leave_one_chain_and_every_row() {
    let world = World::new("[permissions]\nwrite = \"allow\"").await;
    ran(&world, &["call", "list_rooms"]).await;
    let mut follower = start(&world, &["audit", "export", "--follow"]);
    let lines = BufReader::new(follower.stdout.take().expect("its output")).lines();
    let followed = tokio::task::spawn_blocking(move || -> Vec<String> {
        lines.map(|line| line.expect("UTF-8")).collect()
    });
    let mut files = Vec::new();
    let mut heads = Vec::new();
    for round in 0..ROUNDS {
        let programs: Vec<(Child, Option<u64>)> = (0..PROGRAMS)
            .map(|index| {
                let call = if index % 2 == 0 { "create_room" } else { "list_rooms" };
                let killed = (index % 3 == 0).then(|| ((index * 37 + round * 53) % 400) as u64);
                (start(&world, &["call", call]), killed)
            })
            .collect();
        let ended = programs.into_iter().map(|(mut child, killed)| {
            tokio::task::spawn_blocking(move || {
                if let Some(ms) = killed {
                    std::thread::sleep(Duration::from_millis(ms));
                    // It may have ended before.
                    let _ = child.kill();
                }
                child.wait().expect("it ends").success() || killed.is_some()
            })
        });
        let ended: Vec<_> = ended.collect();
        // Whatever happens meanwhile, the log verifies.
        heads.push(ran(&world, &["audit", "head"]).await);
        ran(&world, &["audit", "verify", "--expected-head", heads[round].trim()]).await;
        for ended in ended {
            assert!(ended.await.expect("no panic"), "a call that was not killed failed");
        }
        let file = format!("{round}.db");
        ran(&world, &["audit", "archive", &file]).await;
        files.push(file);
    }
    ran(&world, &["call", "list_rooms"]).await;

    ran(&world, &["audit", "verify"]).await;
    let arguments: Vec<&str> =
        ["audit", "verify"].into_iter().chain(files.iter().map(String::as_str)).collect();
    ran(&world, &arguments).await;
    for (file, head) in files.iter().zip(&heads) {
        ran(&world, &["audit", "verify", file, "--expected-head", head.trim()]).await;
    }
    let mut exported = ids(&ran(&world, &["audit", "export"]).await);
    for file in &files {
        exported.extend(ids(&ran(&world, &["audit", "export", "--file", file]).await));
    }
    // Each call that was not killed has a row, and so has each request.
    let sent = world.simulator.requests().len();
    let survivors = 2 + ROUNDS * (0..PROGRAMS).filter(|index| index % 3 != 0).count();
    assert!(exported.len() >= survivors.max(sent), "{} of {sent}", exported.len());

    let followed = {
        let pid = rustix::process::Pid::from_child(&follower);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("interrupted");
        follower.wait().expect("it ends");
        followed.await.expect("no panic")
    };
    // Until rows were archived before it had them, it had all.
    let followed = ids(&followed.join("\n"));
    assert!(followed.is_subset(&exported));
    assert!(!followed.is_empty());
}
