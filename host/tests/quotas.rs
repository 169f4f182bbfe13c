//! Several processes at once, killed at any time: together they do not exceed what a quota allows.

#![cfg(all(unix, feature = "simulator"))]

mod world;

use std::process::Child;
use whereby::simulator::Reply;
use world::World;

async fn new(most: usize) -> World {
    let quota = format!("permission = \"allow\"\nmax_per_day = {most}");
    World::new(&format!("[permissions.functions.create_room]\n{quota}")).await
}

fn create(world: &World) -> Child {
    world.command(&["call", "create_room", "--json"]).spawn().expect("it starts")
}

/// How a call ended: its exit status and its document.
fn outcome(child: Child) -> (Option<i32>, serde_json::Value) {
    let output = child.wait_with_output().expect("it ends");
    let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), document)
}

fn created(world: &World) -> usize {
    world.simulator.requests().iter().filter(|request| request.method == "POST").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn of_sixteen_processes_as_many_create_a_room_as_may() {
    let world = new(10).await;
    let children: Vec<Child> = (0..16).map(|_| create(&world)).collect();
    let ended =
        tokio::task::spawn_blocking(|| children.into_iter().map(outcome).collect::<Vec<_>>());
    let ended = ended.await.expect("no panic");
    let made = ended.iter().filter(|(code, _)| *code == Some(0)).count();
    assert_eq!((made, created(&world)), (10, 10), "{ended:?}");
    for (code, document) in ended.iter().filter(|(code, _)| *code != Some(0)) {
        assert_eq!(document["error"]["kind"], "denied", "{code:?} {document}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_process_that_is_killed_has_used_its_turn() {
    let world = new(3).await;
    // It is killed while Whereby has not answered, so nobody knows what came of it.
    let slow = Reply::status(201).never_answering();
    world.simulator.script("POST", "/meetings", 2, slow);
    for turn in 1..=2 {
        let mut child = create(&world);
        world.simulator.wait_for_requests(turn).await;
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
    world.simulator.clear_scripts();
    let next = || {
        let child = create(&world);
        tokio::task::spawn_blocking(|| outcome(child))
    };
    assert_eq!(next().await.expect("no panic").0, Some(0));
    let (_, document) = next().await.expect("no panic");
    assert_eq!(document["error"]["kind"], "denied", "{document}");
    assert_eq!(created(&world), 3);
}
