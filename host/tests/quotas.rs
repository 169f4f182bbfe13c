//! Several processes at once, killed at any time: together they do not exceed what a quota allows.

#![cfg(all(unix, feature = "simulator"))]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use whereby::simulator::{Options, Reply, Simulator};

/// A simulated Whereby, and a user with a quota on creating rooms.
struct World {
    simulator: Simulator,
    home: TempDir,
}

impl World {
    async fn new(most: usize) -> Self {
        let simulator = Simulator::start(Options::default()).await.expect("a simulator");
        let home = tempfile::tempdir().expect("a temporary directory");
        let file = home.path().join("config.toml");
        let text = format!(
            "[accounts.work]\naccess_token = \"{}\"\napi_url = \"{}\"\n\
             [permissions.functions.create_room]\npermission = \"allow\"\nmax_per_day = {most}\n",
            simulator.token(),
            simulator.url()
        );
        std::fs::write(&file, text).expect("written");
        set_mode(&file, 0o600);
        Self { simulator, home }
    }

    fn create(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_whereby"))
            .args(["--config", "config.toml", "call", "create_room", "--json"])
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts")
    }

    /// How a call ended: its exit status and its document.
    fn outcome(child: Child) -> (Option<i32>, serde_json::Value) {
        let output = child.wait_with_output().expect("it ends");
        let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), document)
    }

    fn created(&self) -> usize {
        self.simulator.requests().iter().filter(|request| request.method == "POST").count()
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, permissions).expect("its mode is set");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn of_sixteen_processes_as_many_create_a_room_as_may() {
    let world = World::new(10).await;
    let children: Vec<Child> = (0..16).map(|_| world.create()).collect();
    let ended = tokio::task::spawn_blocking(|| {
        children.into_iter().map(World::outcome).collect::<Vec<_>>()
    });
    let ended = ended.await.expect("no panic");
    let made = ended.iter().filter(|(code, _)| *code == Some(0)).count();
    assert_eq!((made, world.created()), (10, 10), "{ended:?}");
    for (code, document) in ended.iter().filter(|(code, _)| *code != Some(0)) {
        assert_eq!(document["error"]["kind"], "denied", "{code:?} {document}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_process_that_is_killed_has_used_its_turn() {
    let world = World::new(3).await;
    // It is killed while Whereby has not answered, so nobody knows what came of it.
    let slow = Reply::status(201).never_answering();
    world.simulator.script("POST", "/meetings", 2, slow);
    for turn in 1..=2 {
        let mut child = world.create();
        world.simulator.wait_for_requests(turn).await;
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
    world.simulator.clear_scripts();
    let next = || {
        let child = world.create();
        tokio::task::spawn_blocking(|| World::outcome(child))
    };
    assert_eq!(next().await.expect("no panic").0, Some(0));
    let (_, document) = next().await.expect("no panic");
    assert_eq!(document["error"]["kind"], "denied", "{document}");
    assert_eq!(world.created(), 3);
}
