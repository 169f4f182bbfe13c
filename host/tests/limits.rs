//! What the program tells where the system refuses it something, and a key that root put in place. Each
//! is tried in a process of its own, in each way that a call can be made.

#![cfg(all(target_os = "linux", feature = "simulator", feature = "lua", feature = "mcp"))]

#[path = "world/program.rs"]
mod program;
#[path = "world/simulator.rs"]
mod simulator;

use program::place_program;
use serde_json::{Value, json};
use simulator::beside_simulator;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use whereby::simulator::Simulator;

/// A user that has no other processes: `nobody`.
const NOBODY: u32 = 65534;

/// What the system refuses.
#[derive(Clone, Copy)]
enum Limit {
    /// What a shell's `ulimit` says.
    Ulimit(&'static str),
    /// No further thread. Root's are not limited, so it is another user's process.
    Threads,
    /// Memory that is executable, as by systemd's `MemoryDenyWriteExecute`.
    ExecutableMemory,
}

/// A limit, and what is told of it: nothing where everything works all the same.
struct Row {
    limit: Limit,
    told: Option<&'static [&'static str]>,
}

const ROWS: &[Row] = &[
    Row { limit: Limit::Ulimit("ulimit -v 4194304"), told: None },
    Row { limit: Limit::Ulimit("ulimit -v 1000000"), told: None },
    Row { limit: Limit::Threads, told: Some(&["start another thread", "ulimit -u", "TasksMax"]) },
    Row {
        limit: Limit::ExecutableMemory,
        told: Some(&["make memory executable", "MemoryDenyWriteExecute=no"]),
    },
    Row { limit: Limit::Ulimit("ulimit -f 0"), told: Some(&["size of files", "ulimit -f"]) },
];

/// A home of the user's own, with the program in it.
struct Home {
    folder: TempDir,
    user: Option<u32>,
    url: String,
    token: String,
}

impl Home {
    fn new(simulator: &Simulator, user: Option<u32>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (url, token) = (simulator.url(), simulator.token().to_owned());
        place_program(&folder.path().join("whereby"));
        let script = "app.integrations.whereby.get_current_user({})";
        std::fs::write(folder.path().join("script.lua"), script).expect("a script");
        let home = Self { folder, user, url, token };
        if user.is_some() {
            chown(home.folder.path(), user, user).expect("a home of theirs");
        }
        home
    }

    /// The program under a limit. `None` where this system has no such limit.
    fn command(&self, limit: Limit, arguments: &[&str]) -> Command {
        let program = self.folder.path().join("whereby");
        let ulimit = match limit {
            Limit::Ulimit(ulimit) => ulimit,
            // The option has another name in each shell.
            Limit::Threads => "{ ulimit -u 1 2>/dev/null || ulimit -p 1; }",
            Limit::ExecutableMemory => "true",
        };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("{ulimit} && exec \"$0\" \"$@\"")]).arg(program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("WHEREBY_API_URL", &self.url)
            .env("WHEREBY_ACCESS_TOKEN", &self.token);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        if matches!(limit, Limit::ExecutableMemory) {
            deny_executable_memory(&mut command);
        }
        command
    }
}

#[expect(unsafe_code, reason = "there is no other way to have a process of its own so limited")]
fn deny_executable_memory(command: &mut Command) {
    // SAFETY: between fork and exec it makes one system call and nothing else.
    unsafe {
        command.pre_exec(|| {
            let refuse_exec_gain: libc::c_ulong = 1;
            match libc::prctl(libc::PR_SET_MDWE, refuse_exec_gain, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
}

fn finished(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{command:?}: {stderr}");
    output
}

/// The one document that a program printed.
fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The error of a call by `whereby mcp`, or null.
fn by_mcp(mut command: Command) -> Value {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("its input");
    let begin = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "tester", "version": "1"}}});
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "whereby_get_current_user", "arguments": {}}});
    stdin.write_all(format!("{begin}\n{ready}\n{call}\n").as_bytes()).expect("written");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let messages = lines.map(|line| -> Value {
        let line = line.expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    let answer = messages.into_iter().find(|message| message["id"] == 2);
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let answer = answer.unwrap_or_else(|| panic!("no answer: {stderr}"));
    assert!(!stderr.contains("panicked"), "{stderr}");
    answer["result"]["_meta"]["whereby/error"].clone()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Row {
    fn try_out(&self, simulator: &Simulator) {
        let user = (matches!(self.limit, Limit::Threads) && is_root()).then_some(NOBODY);
        let home = Home::new(simulator, user);
        let command = |arguments: &[&str]| home.command(self.limit, arguments);
        let assert_told = |place: &str, text: &str| {
            for words in self.told.unwrap_or_default() {
                assert!(text.contains(words), "{place}: no {words:?} in {text}");
            }
        };
        let assert_error = |place: &str, error: &Value| match self.told {
            None => assert_eq!(*error, Value::Null, "{place}"),
            Some(_) => {
                assert_eq!(error["kind"], "internal", "{place}: {error}");
                assert_eq!(error["retryable"], false, "{place}: {error}");
                assert_eq!(error["effect"], "none", "{place}: {error}");
                assert_told(place, error["message"].as_str().unwrap_or_default());
            }
        };
        let exit = if self.told.is_some() { 1 } else { 0 };
        let call = finished(&mut command(&["call", "get_current_user"]));
        assert_told("call", &String::from_utf8_lossy(&call.stderr));
        let json = finished(&mut command(&["call", "get_current_user", "--json"]));
        assert_error("call --json", &document(&json)["error"]);
        let lua = finished(&mut command(&["lua", "script.lua", "--json"]));
        assert_error("lua", &document(&lua)["error"]);
        let doctor = finished(&mut command(&["doctor", "--json"]));
        let found = document(&doctor);
        let checks = found["checks"].as_array().expect("a list");
        let status = if self.told.is_some() { "failed" } else { "ok" };
        let check =
            checks.iter().find(|check| check["name"] == "account default").expect("a check");
        assert_eq!(check["status"], status, "{found}");
        assert_told("doctor", check["message"].as_str().unwrap_or_default());
        assert!(!found.to_string().contains("mkdir"), "the cache is not at fault: {found}");
        for (place, ran) in [("call", call), ("call --json", json), ("lua", lua)] {
            assert_eq!(ran.status.code(), Some(exit), "{place}: {ran:?}");
        }
        assert_error("mcp", &by_mcp(command(&["mcp"])));
    }
}

#[test]
fn what_the_system_refuses_is_told_with_what_to_change() {
    beside_simulator(|simulator| {
        for row in ROWS {
            row.try_out(simulator);
        }
    });
}

#[test]
fn a_limit_that_leaves_nothing_to_work_with_is_named() {
    beside_simulator(|simulator| {
        let home = Home::new(simulator, None);
        for (limit, words) in [
            ("ulimit -n 6", "ulimit -n"),
            ("ulimit -n 7", "ulimit -n"),
            ("ulimit -n 10", "ulimit -n"),
            ("ulimit -v 250000", "limited to 244 MiB, but components need at least 256 MiB"),
        ] {
            for arguments in
                [&["call", "get_current_user"][..], &["lua", "script.lua"], &["doctor"], &["mcp"]]
            {
                let mut command = home.command(Limit::Ulimit(limit), arguments);
                let output = finished(command.stdin(Stdio::null()));
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(1), "{limit} {arguments:?}: {stderr}");
                assert!(stderr.contains(words), "{limit} {arguments:?}: {stderr}");
            }
        }
    });
}

#[test]
fn a_result_that_is_too_large_for_its_file_ends_no_program_by_a_signal() {
    beside_simulator(|simulator| {
        let home = Home::new(simulator, None);
        let command = |limit| home.command(Limit::Ulimit(limit), &["call", "list_rooms", "--json"]);
        assert_eq!(finished(&mut command("true")).status.code(), Some(0));
        let file = std::fs::File::create(home.folder.path().join("result.json")).expect("a file");
        // The component is compiled by now, and what it needs are no files.
        let output = finished(command("ulimit -f 0").stdout(file));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("cannot be written"), "{stderr}");
    });
}

/// Writes a file that everybody can read.
fn write_readable(path: &Path, text: &str) -> PathBuf {
    std::fs::write(path, text).expect("a file");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o444)).expect("a mode");
    path.to_owned()
}

#[test]
fn a_key_that_root_put_in_place_is_taken_with_a_warning() {
    // Only root can put one there, and be another user as well.
    if !is_root() {
        return;
    }
    beside_simulator(|simulator| {
        let secrets = tempfile::tempdir().expect("a temporary directory");
        let mode = |mode| std::fs::set_permissions(secrets.path(), PermissionsExt::from_mode(mode));
        let key = write_readable(&secrets.path().join("key"), simulator.token());
        let home = Home::new(simulator, Some(NOBODY));
        let config = home.folder.path().join("config.toml");
        let text = format!(
            "[accounts.work]\napi_url = \"{}\"\naccess_token = {{ file = \"{}\" }}\n",
            home.url,
            key.display()
        );
        write_readable(&config, &text);
        for (folder, exit, words) in [
            (0o755, 0, "others on this machine can read the access token"),
            (0o777, 3, "copy it into a file of your own"),
            (0o1777, 0, "others on this machine can read the access token"),
        ] {
            mode(folder).expect("a mode");
            let arguments = ["call", "get_current_user", "--json", "--config", "config.toml"];
            let output = finished(&mut home.command(Limit::Ulimit("true"), &arguments));
            assert_eq!(output.status.code(), Some(exit), "{folder:o}: {output:?}");
            let told = [output.stdout, output.stderr].concat();
            let told = String::from_utf8_lossy(&told);
            assert!(told.contains(words), "{folder:o}: {told}");
        }
    });
}
