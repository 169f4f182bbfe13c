//! The simulated API, in a separate process so that its work is not counted.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use whereby::simulator::{
    Options, OrganizationSeed, RoomSeed, Seed, SessionSeed, Simulator, Switches,
};

/// The variable that makes this program act as the server.
pub(crate) const SERVER: &str = "WHEREBY_BENCH_SERVER";

/// The number of rooms.
pub(crate) const ROOMS: u32 = 100;

/// The number of rooms with a meeting: as many as one call of list_meetings can read.
pub(crate) const USED: u32 = 8;

/// Serves until standard input closes, at the latest when the benchmark exits.
pub(crate) async fn serve() {
    let mut switches = Switches::default();
    switches.set("rate-limit", "0").expect("a switch");
    let hours = |hours: u32| Duration::from_secs(u64::from(hours) * 3600);
    let rooms = RoomSeed::many("bench-", ROOMS).into_iter().zip(1..).map(|(room, number)| {
        let session = || SessionSeed::began(hours(number)).lasting(Duration::from_secs(600));
        if number <= USED { room.created(hours(100)).session(session()) } else { room }
    });
    let seed = Seed::Rooms(rooms.collect());
    let simulator = Simulator::start(Options {
        switches,
        record: false,
        organizations: vec![OrganizationSeed::new("bench", seed)],
        ..Options::default()
    })
    .await
    .expect("the simulator starts");
    #[expect(clippy::print_stdout, reason = "the URL and key for the benchmark")]
    {
        println!("{}\n{}", simulator.url(), simulator.token());
    }
    let end = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
    end.await.expect("standard input ends");
}

/// The server's process.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .env(SERVER, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(stdout).lines().map(|line| line.expect("a line"));
        let mut line = || lines.next().expect("the server prints its URL");
        Self { url: line(), token: line(), child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // This closes its standard input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
