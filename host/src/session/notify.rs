//! Runs the commands that the configuration names: `[approvals] notify`, which tells people of new approval
//! requests, and `[audit] head_command`, which publishes the newest hash of the audit log.
//!
//! No call waits for it. It runs on threads of its own, a few at a time, because an agent can make many
//! requests.

use crate::config::credentials::TokenSource;
use crate::config::environment::Environment;
use crate::config::{Settings, is_secret_variable};
use crate::session::approval::Question;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;

/// How long a command may run.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(10);

/// How much longer to wait for a command that was begun just now, so that its own limit ends it.
const GRACE: Duration = Duration::from_secs(1);

/// The maximum number of commands that run at a time.
const MAX_RUNNING: usize = 4;

/// The maximum number of commands that wait for others to end.
const MAX_WAITING: usize = 32;

/// How often to check whether a command has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// Receives warnings for the person who runs the program.
pub(crate) type Notice = dyn Fn(&str) + Send + Sync;

/// A new approval request.
pub(crate) struct NewApproval<'a> {
    pub(crate) id: &'a str,
    /// In milliseconds since 1970.
    pub(crate) expires_at: i64,
    pub(crate) question: &'a Question,
    /// The address of the approval on the inbox page, if the page is served.
    pub(crate) link: Option<String>,
}

impl NewApproval<'_> {
    /// Returns what the command reads. Secrets in the question are masked.
    fn to_json(&self) -> Value {
        let Question { account, agent, function, .. } = self.question;
        json!({
            "id": self.id,
            "agent": agent,
            "account": account,
            "function": function.json,
            "sentence": self.question.sentence().to_string(),
            "expires_at": Timestamp::of_unix_ms(self.expires_at).map(Timestamp::to_rfc3339),
            "link": self.link,
        })
    }
}

/// Runs commands. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Notifier(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// How many commands run or wait.
    open: watch::Sender<usize>,
    /// Whether no command may run any longer.
    is_closed: AtomicBool,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    running: usize,
    /// How many commands were not run because too many waited.
    dropped: usize,
}

/// A command to run.
struct Job {
    /// The key of the configuration that names it.
    key: &'static str,
    command: Vec<String>,
    variables: BTreeMap<String, String>,
    /// What it is told of.
    about: String,
    input: Vec<u8>,
    notice: Arc<Notice>,
}

impl Default for Notifier {
    fn default() -> Self {
        let open = watch::Sender::new(0);
        Self(Arc::new(Shared { state: Mutex::default(), open, is_closed: AtomicBool::new(false) }))
    }
}

impl Notifier {
    /// Tells of a new approval request, if the settings say how. Does not wait.
    pub(crate) fn tell(
        &self,
        settings: &Settings,
        environment: &Environment,
        approval: &NewApproval<'_>,
        notice: &Arc<Notice>,
    ) {
        if settings.notify.is_empty() {
            return;
        }
        self.run(Job {
            key: "approvals.notify",
            command: settings.notify.clone(),
            variables: variables(settings, environment),
            about: format!("the approval {}", approval.id),
            input: approval.to_json().to_string().into_bytes(),
            notice: Arc::clone(notice),
        });
    }

    /// Gives the newest hash of the audit log to the command that the settings name. Waits for it, and returns
    /// whether it succeeded.
    pub(crate) fn publish(
        &self,
        settings: &Settings,
        environment: &Environment,
        document: &Value,
        notice: &Arc<Notice>,
        is_closed: &AtomicBool,
    ) -> bool {
        let job = Job {
            key: "audit.head_command",
            command: settings.audit.head_command.clone(),
            variables: variables(settings, environment),
            about: format!("row {}", document["position"]),
            input: document.to_string().into_bytes(),
            notice: Arc::clone(notice),
        };
        let ran = job.run(TIME_LIMIT, is_closed);
        if let Err(why) = &ran {
            job.warn(why);
        }
        ran.is_ok()
    }

    /// Runs something on a thread of its own. [`Self::finished`] waits for it, too. It is told when the
    /// program ends.
    pub(crate) fn in_background(
        &self,
        work: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> std::io::Result<()> {
        struct Open(Arc<Shared>);
        impl Drop for Open {
            fn drop(&mut self) {
                self.0.open.send_modify(|open| *open -= 1);
            }
        }
        self.0.open.send_modify(|open| *open += 1);
        let open = Open(Arc::clone(&self.0));
        let thread = std::thread::Builder::new().name("whereby-audit".into());
        thread.spawn(move || work(&open.0.is_closed)).map(drop)
    }

    fn run(&self, job: Job) {
        let mut state = self.0.state();
        if state.waiting.len() >= MAX_WAITING {
            state.dropped += 1;
            let is_first = state.dropped == 1;
            drop(state);
            // The others are counted, and told together.
            if is_first {
                (job.notice)(&format!(
                    "{}: the command was not run for {}, because {MAX_WAITING} others wait for it",
                    job.key, job.about
                ));
            }
            return;
        }
        state.waiting.push_back(job);
        self.0.open.send_modify(|open| *open += 1);
        if state.running == MAX_RUNNING {
            return;
        }
        state.running += 1;
        let shared = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().name("whereby-notify".into());
        if let Err(error) = thread.spawn(move || shared.work()) {
            state.running -= 1;
            // A running thread does what waits.
            if state.running == 0
                && let Some(job) = state.waiting.pop_back()
            {
                drop(state);
                self.0.open.send_modify(|open| *open -= 1);
                job.warn(&format!("no thread can be started: {error}"));
            }
        }
    }

    /// Waits until every command has ended. Each ends in [`TIME_LIMIT`], but many may wait, so this takes only
    /// a little longer than that.
    pub(crate) async fn finished(&self) {
        let mut open = self.0.open.subscribe();
        // Without work, it needs no timer, which the runtime may not have.
        if *open.borrow() == 0 {
            return;
        }
        // It fails only if there is no sender.
        let _ = tokio::time::timeout(TIME_LIMIT + GRACE, open.wait_for(|open| *open == 0)).await;
    }

    /// Ends the commands that still run, and runs no others.
    pub(crate) async fn close(&self) {
        self.0.is_closed.store(true, Ordering::SeqCst);
        let left: Vec<Job> = self.0.state().waiting.drain(..).collect();
        self.0.open.send_modify(|open| *open -= left.len());
        if let Some(job) = left.first() {
            (job.notice)(&format!(
                "approvals.notify: the command was not run for {} approval requests, because the program \
                 ended",
                left.len()
            ));
        }
        self.finished().await;
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what waits until nothing does.
    fn work(&self) {
        loop {
            let mut state = self.state();
            let Some(job) = state.waiting.pop_front() else {
                state.running -= 1;
                return;
            };
            // There is room again. The first was told when it happened.
            let dropped = std::mem::take(&mut state.dropped).saturating_sub(1);
            drop(state);
            if dropped > 0 {
                (job.notice)(&format!(
                    "approvals.notify: the command was not run for {dropped} more approval requests"
                ));
            }
            if let Err(why) = job.run(TIME_LIMIT, &self.is_closed) {
                job.warn(&why);
            }
            self.open.send_modify(|open| *open -= 1);
        }
    }
}

impl Job {
    fn warn(&self, why: &str) {
        let program = self.command.first().map_or("", String::as_str);
        let program = text::printable(program, 200);
        (self.notice)(&format!("{}: {program} {why} ({})", self.key, self.about));
    }

    /// Runs the command in the root directory with the document on standard input, and ends it and what it
    /// started if it takes too long.
    fn run(&self, limit: Duration, is_closed: &AtomicBool) -> Result<(), String> {
        let (program, arguments) = self.command.split_first().ok_or("is empty")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.variables)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child =
            command.spawn().map_err(|error| format!("could not be started: {error}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // The document fits a pipe. The command may not read it.
            let _ = stdin.write_all(&self.input);
        }
        match ended(&mut child, Instant::now() + limit, is_closed) {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("failed ({status}); run it yourself to see why")),
            Err(why) => {
                end(&mut child);
                Err(match why {
                    Stopped::TooLong => format!("was stopped after {} s", limit.as_secs()),
                    Stopped::Closed => "was stopped, because whereby ended".into(),
                    Stopped::Unknown(error) => format!("cannot be waited for: {error}"),
                })
            }
        }
    }
}

/// Why a command that still runs may not any longer.
enum Stopped {
    TooLong,
    /// This program ends.
    Closed,
    Unknown(std::io::Error),
}

/// Waits for a command to end.
fn ended(
    child: &mut Child,
    deadline: Instant,
    is_closed: &AtomicBool,
) -> Result<ExitStatus, Stopped> {
    use Stopped::{Closed, TooLong, Unknown};
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() >= deadline => return Err(TooLong),
            Ok(None) if is_closed.load(Ordering::SeqCst) => return Err(Closed),
            Ok(None) => std::thread::sleep(PAUSE),
            Ok(Some(status)) => return Ok(status),
            Err(error) => return Err(Unknown(error)),
        }
    }
}

/// Ends a command, and on Unix everything that it started in its process group.
fn end(child: &mut Child) {
    // Each fails only if the process has already ended.
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Returns the environment variables without keys and tokens.
fn variables(settings: &Settings, environment: &Environment) -> BTreeMap<String, String> {
    let mut variables = environment.variables.clone();
    variables.retain(|name, _| !is_secret_variable(name));
    for account in settings.accounts.values() {
        if let TokenSource::Variable(name) = &account.token {
            variables.remove(name);
        }
    }
    variables
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};

    fn job(script: &str, directory: &Path) -> (Job, Receiver<String>) {
        let (sender, notices) = channel();
        let sender = Mutex::new(sender);
        let notice = move |what: &str| {
            let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
            // The test may be over.
            let _ = sender.send(what.to_owned());
        };
        let directory = directory.display().to_string();
        let job = Job {
            command: ["/bin/sh", "-c", script, "sh", &directory].map(str::to_owned).to_vec(),
            variables: BTreeMap::new(),
            key: "approvals.notify",
            about: "the approval 0a".into(),
            input: b"{}".to_vec(),
            notice: Arc::new(notice),
        };
        (job, notices)
    }

    #[test]
    fn a_command_that_takes_too_long_ends_with_everything_that_it_started() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        assert!(made.success());
        // Both hold the pipe open.
        let (job, _) = job("exec > \"$1/fifo\"; echo begun; sleep 60 & sleep 60", directory.path());
        let reader = std::thread::spawn(move || {
            let mut said = String::new();
            let opened = std::fs::File::open(fifo);
            opened.and_then(|mut file| file.read_to_string(&mut said)).map(|_| said)
        });
        let why = job.run(Duration::from_secs(1), &AtomicBool::new(false));
        assert_eq!(why, Err("was stopped after 1 s".to_owned()));
        // The pipe ends when nothing holds it.
        assert_eq!(reader.join().expect("no panic").expect("read"), "begun\n");
    }

    #[test]
    fn a_failure_says_which() {
        let directory = tempfile::tempdir().expect("a directory");
        let run = |job: &Job| job.run(TIME_LIMIT, &AtomicBool::new(false));
        let (failing, _) = job("exit 3", directory.path());
        assert!(run(&failing).is_err_and(|why| why.contains("exit status: 3")));
        let (mut missing, notices) = job("", directory.path());
        missing.command = vec!["/no/such/program".into()];
        let why = run(&missing).expect_err("no program");
        assert!(why.contains("could not be started"), "{why}");
        missing.warn(&why);
        let notice = notices.recv().expect("a notice");
        assert!(notice.starts_with("approvals.notify: /no/such/program could not"), "{notice}");
        // It need not read what it is told.
        let (deaf, _) = job("exec < /dev/null; exit 0", directory.path());
        assert_eq!(run(&deaf), Ok(()));
    }

    #[tokio::test]
    async fn a_flood_runs_a_few_at_a_time_and_says_what_it_dropped() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        // Open for both, so that no command waits for the other side.
        let gate = std::fs::File::options().read(true).write(true).open(&fifo);
        let mut gate = gate.expect("a pipe");
        let notifier = Notifier::default();
        let script = "echo x >> \"$1/begun\"; read line < \"$1/fifo\"; echo x >> \"$1/done\"";
        let (first, notices) = job(script, directory.path());
        for _ in 0..100 {
            notifier.run(Job {
                command: first.command.clone(),
                variables: BTreeMap::new(),
                key: first.key,
                about: first.about.clone(),
                input: first.input.clone(),
                notice: Arc::clone(&first.notice),
            });
        }
        let dropped = notices.recv().expect("a notice");
        assert!(dropped.contains("32 others wait for it"), "{dropped}");
        assert!(notifier.0.state().running <= MAX_RUNNING);
        let most = *notifier.0.open.borrow();
        assert!(most <= MAX_RUNNING + MAX_WAITING, "{most}");
        for _ in 0..most {
            gate.write_all(b"\n").expect("written");
        }
        notifier.finished().await;
        assert_eq!(*notifier.0.open.borrow(), 0);
        let done = std::fs::read_to_string(directory.path().join("done")).expect("done");
        assert!(
            (MAX_WAITING..=MAX_RUNNING + MAX_WAITING).contains(&done.lines().count()),
            "{done}"
        );
        // More may have been dropped after others had room again.
        let more = notices.iter().find(|notice| notice.contains("more approval requests"));
        assert!(more.is_some());
    }

    #[test]
    fn no_key_is_in_the_environment_of_the_command() {
        let mut settings = Settings::default();
        let api = crate::config::origin::ApiBase::default();
        let token = TokenSource::Variable("ACME_KEY".into());
        settings.accounts.insert("acme".into(), crate::config::Account::new(token, api));
        let mut environment = Environment::empty();
        for name in
            ["PATH", "ACME_KEY", "WHEREBY_TOKEN", "WHEREBY_ACCESS_TOKEN", "WHEREBY_MCP_TOKEN"]
        {
            environment.variables.insert(name.into(), "x".into());
        }
        let left: Vec<String> = variables(&settings, &environment).into_keys().collect();
        assert_eq!(left, ["PATH"]);
    }
}
