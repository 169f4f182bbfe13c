//! Support for the tests: a simulated Whereby, a home directory, and the program in this process.

use serde_json::Value;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use whereby::cli::Streams;
use whereby::simulator::{Options, OrganizationSeed, RecordedRequest, RoomSeed, Seed, Simulator};
use whereby::{Approver, AuditFilter, AuditRow, Clock, Environment, Session, Settings, Store};

/// The directory for compiled code, so that each component is compiled once per run.
static CACHE: LazyLock<TempDir> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(directory.path().join("cache")).expect("a directory in it");
    directory
});

/// A user with a home directory, and a simulated Whereby with the user's two organizations.
///
/// The user's configuration file has the accounts `work` (the default) and `other`.
pub struct World {
    /// The simulated Whereby.
    pub simulator: Simulator,
    home: TempDir,
    /// How far the user's clock is ahead of the real one, in seconds.
    ahead: Arc<AtomicI64>,
}

impl World {
    /// Returns a world with the simulator's default rooms and switches.
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    /// Returns a world whose work organization has these rooms.
    pub async fn with_rooms(rooms: Vec<RoomSeed>) -> Self {
        let work = OrganizationSeed::new("acme-demo", Seed::Rooms(rooms));
        Self::with(Options { organizations: vec![work], ..Options::default() }).await
    }

    /// Returns a world with these simulator options. If there is one organization, a second one is added.
    pub async fn with(mut options: Options) -> Self {
        if options.organizations.len() == 1 {
            let other = Seed::Rooms(vec![RoomSeed::named("elsewhere")]);
            options.organizations.push(OrganizationSeed::new("other-demo", other));
        }
        let simulator = Simulator::start(options).await.expect("the simulator starts");
        let home = tempfile::tempdir().expect("a temporary directory");
        for folder in ["config/whereby", "project"] {
            std::fs::create_dir_all(home.path().join(folder)).expect("a folder in it");
        }
        let world = Self { simulator, home, ahead: Arc::default() };
        world.configure("");
        world
    }

    /// Returns a path in the user's home directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file in the user's home directory that only the user can read.
    pub fn write(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, contents).expect("a file in the home directory");
        set_mode(&path, 0o600);
        path
    }

    /// Writes a script for the shell in the user's home directory, and returns its path.
    pub fn write_script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        // Another process writes it: a program that is open for writing anywhere here cannot be started.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 700 \"$0\"";
        let mut shell = std::process::Command::new("/bin/sh");
        let made = shell.args(["-c", write]).arg(&path).arg(body).status();
        assert!(made.expect("a shell").success());
        path
    }

    /// Writes the configuration file: the given text, then both accounts.
    ///
    /// The text may start with top-level keys.
    pub fn configure(&self, toml: &str) -> PathBuf {
        let mut text = toml.to_owned();
        if !toml.contains("default_account") {
            text.insert_str(0, "default_account = \"work\"\n");
        }
        for (name, token) in ["work", "other"].into_iter().zip(self.simulator.tokens()) {
            let url = self.simulator.url();
            text.push_str(&format!(
                "\n[accounts.{name}]\naccess_token = \"{token}\"\napi_url = \"{url}\"\n"
            ));
        }
        self.write("config/whereby/config.toml", &text)
    }

    /// Returns the program's environment: this home, its `project` folder, and no other variables.
    #[must_use]
    pub fn environment(&self) -> Environment {
        let mut environment = Environment::empty();
        let variables = [
            ("HOME", self.home.path().to_owned()),
            ("XDG_CONFIG_HOME", self.path("config")),
            ("XDG_CACHE_HOME", CACHE.path().join("cache")),
            ("XDG_STATE_HOME", self.path("state")),
        ];
        for (name, path) in variables {
            environment.variables.insert(name.into(), path.display().to_string());
        }
        for (name, value) in [("TZ", "UTC"), ("NO_COLOR", "1")] {
            environment.variables.insert(name.into(), value.into());
        }
        environment.directory = self.path("project");
        environment.system_policy = self.path("policy.toml");
        environment.clock = self.clock();
        environment
    }

    /// Returns the clock of the user's machine.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let ahead = Arc::clone(&self.ahead);
        Clock::new(move || {
            let ahead = ahead.load(Ordering::SeqCst);
            let seconds = Duration::from_secs(ahead.unsigned_abs());
            let now = SystemTime::now();
            if ahead < 0 { now - seconds } else { now + seconds }
        })
    }

    /// Moves the clock of the user's machine, even for running programs.
    pub fn move_clock(&self, seconds: i64) {
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Returns the environment of a user without a configuration file, whose account is in two variables.
    #[must_use]
    pub fn bare_environment(&self) -> Environment {
        let mut environment = self.environment();
        let variables = [
            ("XDG_CONFIG_HOME", self.path("nothing").display().to_string()),
            ("WHEREBY_ACCESS_TOKEN", self.simulator.token().to_owned()),
            ("WHEREBY_API_URL", self.simulator.url()),
        ];
        environment.variables.extend(variables.map(|(name, value)| (name.to_owned(), value)));
        environment
    }

    /// Returns a session of this user, without an approver.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session_with(None, None)
    }

    /// Returns a session of this user, optionally with an approver or a different component.
    #[must_use]
    pub fn session_with(
        &self,
        approver: Option<Arc<dyn Approver>>,
        component: Option<Vec<u8>>,
    ) -> Session {
        let environment = self.environment();
        let settings = Settings::load(None, &environment).expect("a valid configuration");
        let mut builder = Session::builder()
            .settings(settings)
            .environment(environment)
            .store(self.store())
            .cache(Some(CACHE.path().join("cache/whereby")));
        if let Some(approver) = approver {
            builder = builder.approver(approver);
        }
        if let Some(component) = component {
            builder = builder.component(component);
        }
        builder.build().expect("a session")
    }

    /// Opens the store with this user's approvals and audit log.
    #[must_use]
    pub fn store(&self) -> Arc<Store> {
        Store::with_clock(self.path("state/whereby"), self.clock())
    }

    /// Returns the calls in the audit log of this user, oldest first.
    #[must_use]
    pub fn audit(&self) -> Vec<AuditRow> {
        self.log(false)
    }

    /// Returns the decisions of people in the audit log of this user, oldest first.
    #[must_use]
    pub fn decisions(&self) -> Vec<AuditRow> {
        self.log(true)
    }

    fn log(&self, decisions: bool) -> Vec<AuditRow> {
        let store = self.store();
        store.flush().expect("the log is written");
        let filter = AuditFilter { decisions: Some(decisions), ..AuditFilter::default() };
        store.audit(&filter).expect("the log is read")
    }

    /// Calls a function with the default account, without an approver.
    pub async fn call(&self, function: &str, arguments: Value) -> whereby::Outcome {
        self.session().call(None, function, arguments).await
    }

    /// Runs the program as this user.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        run(arguments, self.environment(), "", false).await
    }

    /// Returns the requests that reached the simulator.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.simulator.requests()
    }

    /// Fails if any request reached the simulator.
    pub fn assert_untouched(&self) {
        let requests = self.requests();
        assert!(requests.is_empty(), "{requests:?} reached the simulator");
    }
}

/// Exports a guarded component, with another component than the built-in one in its middle if there is one.
///
/// # Panics
///
/// If the program refuses to compose it.
pub async fn guarded(middle: Option<&[u8]>) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (file, other) = (path("guarded.wasm"), path("middle.wasm"));
    let mut arguments = vec!["component", "export", "--guarded", &file];
    if let Some(middle) = middle {
        std::fs::write(&other, middle).expect("a file in it");
        arguments.extend(["--component", &other]);
    }
    let mut environment = Environment::empty();
    environment.directory = folder.path().to_owned();
    let ran = run(&arguments, environment, "", false).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    std::fs::read(file).expect("the exported file")
}

/// Sets the mode of a file.
pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, permissions).expect("a mode is set");
}

/// The output and the exit status of the program.
#[derive(Debug)]
pub struct Ran {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit status.
    pub code: u8,
}

impl Ran {
    /// Parses standard output as one JSON document.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON document ({error}): {self:?}"))
    }
}

/// Runs the program in this process. If `terminal` is true, all three streams are terminals.
pub async fn run(arguments: &[&str], environment: Environment, stdin: &str, terminal: bool) -> Ran {
    run_with(arguments, environment, stdin, |streams| {
        streams.stdin_is_terminal = terminal;
        streams.stdout_is_terminal = terminal;
        streams.stderr_is_terminal = terminal;
    })
    .await
}

/// Runs the program in this process, with custom streams.
pub async fn run_with(
    arguments: &[&str],
    environment: Environment,
    stdin: &str,
    set_up: impl FnOnce(&mut Streams),
) -> Ran {
    let (stdout, stderr) = (Kept::default(), Kept::default());
    let stdin = io::Cursor::new(stdin.to_owned());
    let mut streams = Streams::new(stdin, stdout.clone(), stderr.clone());
    set_up(&mut streams);
    let arguments = arguments.iter().map(OsString::from);
    let code = whereby::cli::run(arguments, environment, streams).await;
    Ran { stdout: stdout.text(), stderr: stderr.text(), code }
}

/// A stream that records its output.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(kept.clone()).expect("UTF-8")
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
