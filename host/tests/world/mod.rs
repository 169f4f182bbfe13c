//! A simulated Whereby, and a user with an account, whose programs have no other variables than `HOME`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use whereby::simulator::{Options, Simulator, Switches};

pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) home: TempDir,
}

impl World {
    /// Makes a user whose configuration is this TOML and the account `work`.
    pub(crate) async fn new(config: &str) -> Self {
        let simulator = Simulator::start(Options::default()).await.expect("a simulator");
        simulator.set_switches(Switches { rate_limit: 0, ..Switches::default() });
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut file = std::fs::File::options();
        let file = file.write(true).create_new(true).mode(0o600);
        let mut file = file.open(home.path().join("config.toml")).expect("a file");
        let (token, url) = (simulator.token(), simulator.url());
        writeln!(
            file,
            "{config}\n[accounts.work]\naccess_token = \"{token}\"\napi_url = \"{url}\""
        )
        .expect("written");
        Self { simulator, home }
    }

    /// The program with these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whereby"));
        command
            .args(["--config", "config.toml"])
            .args(arguments)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    }
}
