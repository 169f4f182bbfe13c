//! The compiled code that packages bring along: when it is used, and that nobody can plant other code.

#![cfg(all(unix, feature = "simulator"))]

#[path = "world/program.rs"]
mod program;
#[path = "world/simulator.rs"]
mod simulator;

use program::place_program;
use rustix::process::geteuid;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use simulator::beside_simulator;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, OnceLock};
use tempfile::TempDir;
use whereby::simulator::Simulator;

/// A user that has no other processes: `nobody`.
const NOBODY: u32 = 65534;

const GENUINE: &str = "lib/whereby/component.cwasm";

/// A change of a package, with its name and what `whereby doctor` says about it.
type Case<'a> = (&'a str, &'a dyn Fn(&Package), &'a str);

/// The program as a package installs it, and a user with an account and rules that allow everything.
struct Package {
    folder: TempDir,
    user: Option<u32>,
    /// A directory for compiled code outside the user's home.
    cache: Option<&'static Path>,
}

impl Package {
    /// Without compiled code.
    fn new(simulator: &Simulator) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let package = Self { folder, user: None, cache: None };
        for made in ["bin", "lib/whereby", "home"] {
            fs::create_dir_all(package.path(made)).expect("a folder");
        }
        for readable in ["", "bin", "lib", "lib/whereby"] {
            package.set_mode(readable, 0o755);
        }
        place_program(&package.path("bin/whereby"));
        let configuration = format!(
            "permissions.write = \"allow\"\n[accounts.work]\naccess_token = \"{}\"\napi_url = \"{}\"\n",
            simulator.token(),
            simulator.url()
        );
        package.write("home/config.toml", configuration.as_bytes());
        package.set_mode("home/config.toml", 0o600);
        package
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, contents: &[u8]) {
        fs::write(self.path(name), contents).expect("a file");
        self.set_mode(name, 0o644);
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).expect("a mode");
    }

    fn command(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
        let home = self.path("home");
        let mut command = Command::new(program);
        command.args(arguments).args(["--config", "config.toml", "--json"]);
        command.current_dir(&home).env_clear().env("HOME", &home);
        command.envs(self.cache.map(|cache| ("XDG_CACHE_HOME", cache)));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs a command, and returns its document.
    fn run(&self, arguments: &[&str]) -> Value {
        document(&mut self.command(self.path("bin/whereby"), arguments))
    }

    /// Creates a room. Returns whether the component could.
    fn creates_a_room(&self) -> bool {
        let document = self.run(&["call", "create_room", "{\"room_name_prefix\": \"made-\"}"]);
        let made = document["success"].as_bool().unwrap_or_else(|| panic!("no result: {document}"));
        assert!(made || document["error"]["kind"] == "component-fault", "{document}");
        made
    }

    /// Returns the status and message of a check of `whereby doctor`.
    fn check(&self, name: &str) -> Option<(String, String)> {
        find(&self.run(&["doctor"]), name)
    }

    /// Returns the number of files of code in the user's cache.
    fn cached(&self) -> usize {
        fs::read_dir(self.path("home/.cache/whereby")).map_or(0, Iterator::count)
    }
}

fn find(document: &Value, name: &str) -> Option<(String, String)> {
    let mut checks = document["checks"].as_array().expect("checks").iter();
    let check = checks.find(|check| check["name"] == name)?;
    let text = |key: &str| check[key].as_str().expect("a text").to_owned();
    Some((text("status"), text("message")))
}

fn document(command: &mut Command) -> Value {
    let output = command.output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Returns the file that a package contains.
fn genuine() -> &'static [u8] {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    MADE.get_or_init(|| {
        let place = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_whereby"));
        command.args(["component", "compile", "made.cwasm", "--json"]).current_dir(&place);
        let said = document(&mut command);
        let made = fs::read(place.path().join("made.cwasm")).expect("the file");
        assert_eq!(said["bytes"], made.len(), "{said}");
        made
    })
}

/// Returns a file of the same form with the code of a component that cannot write: what somebody would plant
/// who can make everything but the owner.
fn planted(simulator: &Simulator) -> Vec<u8> {
    let package = Package::new(simulator);
    package.write("home/reader.wasm", whereby::BUILT_IN_READER);
    let read = package.run(&["call", "list_rooms", "--component", "reader.wasm"]);
    assert_eq!(read["success"], true, "{read}");
    let cache = fs::read_dir(package.path("home/.cache/whereby")).expect("the cache");
    let files: Vec<_> = cache.map(|file| file.expect("a file").path()).collect();
    let [file] = &files[..] else { panic!("one file: {files:?}") };
    sealed(&fs::read(file).expect("the code"))
}

/// Puts the digest behind code.
fn sealed(code: &[u8]) -> Vec<u8> {
    let component = Sha256::digest(whereby::BUILT_IN_COMPONENT);
    let component: String = component.iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = Sha256::new()
        .chain_update(component)
        .chain_update(env!("CARGO_PKG_VERSION"))
        .chain_update(code)
        .finalize();
    [code, &digest[..]].concat()
}

#[test]
fn a_package_s_code_is_used_in_place_of_compiling() {
    beside_simulator(|simulator| {
        let package = Package::new(simulator);
        assert!(package.creates_a_room());
        assert_eq!(package.cached(), 1, "without a package's code, the component is compiled");
        fs::remove_dir_all(package.path("home/.cache")).expect("the cache");
        assert_eq!(package.check("compiled code"), None);

        fs::remove_dir_all(package.path("home/.cache")).expect("the cache");
        package.write(GENUINE, genuine());
        // Limits that change the engine, but not its code.
        let configured = fs::read_to_string(package.path("home/config.toml")).expect("the file");
        for limits in ["", "[limits]\nconcurrent_calls = 2\nmemory_mib = 64\n"] {
            fs::write(package.path("home/config.toml"), format!("{configured}{limits}"))
                .expect("a configuration");
            assert!(package.creates_a_room());
            assert!(package.run(&["demo"])["steps"].is_array());
            let file = package.path(GENUINE).canonicalize().expect("the file");
            let used = ("ok".to_owned(), file.display().to_string());
            assert_eq!(package.check("compiled code"), Some(used));
            assert_eq!(package.cached(), 0, "the component was compiled");
        }

        // Other starts: by a link, as in a virtual environment and with npx, and as another user.
        symlink(package.path("bin/whereby"), package.path("home/link")).expect("a link");
        let linked = document(&mut package.command("./link", &["doctor"]));
        assert_eq!(find(&linked, "compiled code").expect("a check").0, "ok", "{linked}");
        if geteuid().is_root() {
            let other = Package { user: Some(NOBODY), ..package };
            for own in ["home", "home/config.toml"] {
                chown(other.path(own), Some(NOBODY), Some(NOBODY)).expect("their own");
            }
            fs::remove_dir_all(other.path("home/.local")).expect("the state");
            assert!(other.creates_a_room());
            assert_eq!(other.cached(), 0, "root's file was not used");
        }
    });
}

#[test]
fn a_component_of_one_s_own_does_not_run_a_package_s_code() {
    beside_simulator(|simulator| {
        let package = Package::new(simulator);
        package.write(GENUINE, genuine());
        package.write("home/reader.wasm", whereby::BUILT_IN_READER);
        let own = package.run(&["call", "create_room", "--component", "reader.wasm"]);
        assert_eq!(own["success"], false, "{own}");
        let doctor = package.run(&["doctor", "--component", "reader.wasm"]);
        assert_eq!(find(&doctor, "compiled code"), None, "{doctor}");
    });
}

#[test]
fn a_program_without_address_space_for_a_pool_compiles() {
    beside_simulator(|simulator| {
        let package = Package::new(simulator);
        package.write(GENUINE, genuine());
        let limited = "ulimit -v 4194304 && exec ../bin/whereby doctor \"$@\"";
        let found = document(&mut package.command("/bin/sh", &["-c", limited, "sh"]));
        let (status, message) = find(&found, "compiled code").expect("a check");
        assert_eq!(status, "warning", "{found}");
        assert!(message.contains("does not fit the engine here"), "{message}");
        assert_eq!(find(&found, "account work").expect("a check").0, "ok", "{found}");
    });
}

#[test]
fn code_that_others_could_have_planted_never_runs() {
    beside_simulator(|simulator| {
        let code = planted(simulator);
        let package = Package::new(simulator);
        package.write(GENUINE, &code);
        // What root or the user puts there is trusted: below, it is not the contents that are refused.
        assert!(!package.creates_a_room(), "the planted code can't write");
        assert_eq!(package.check("compiled code").expect("a check").0, "ok");

        let elsewhere = |package: &Package| {
            fs::rename(package.path(GENUINE), package.path("elsewhere")).expect("moved");
        };
        let cases: &[Case<'_>] = &[
            ("group-writable", &|p| p.set_mode(GENUINE, 0o664), "can be changed by others"),
            ("world-writable", &|p| p.set_mode(GENUINE, 0o646), "can be changed by others"),
            ("its folder", &|p| p.set_mode("lib/whereby", 0o777), "in a folder that others"),
            ("a folder above", &|p| p.set_mode("lib", 0o775), "in a folder that others"),
            ("the package's folder", &|p| p.set_mode("", 0o757), "in a folder that others"),
            (
                "a link",
                &|p| {
                    elsewhere(p);
                    symlink(p.path("elsewhere"), p.path(GENUINE)).expect("a link");
                },
                "reached by a link",
            ),
            (
                "a linked folder",
                &|p| {
                    fs::rename(p.path("lib/whereby"), p.path("elsewhere")).expect("moved");
                    symlink(p.path("elsewhere"), p.path("lib/whereby")).expect("a link");
                },
                "reached by a link",
            ),
            (
                "a pipe",
                &|p| {
                    fs::remove_file(p.path(GENUINE)).expect("removed");
                    let made = Command::new("mkfifo").arg(p.path(GENUINE)).status();
                    assert!(made.expect("mkfifo").success());
                },
                "is not a file",
            ),
        ];
        assert_refused(simulator, &code, cases);
        if geteuid().is_root() {
            let give = |p: &Package| chown(p.path(GENUINE), Some(NOBODY), None).expect("an owner");
            let case = ("of another user", &give as &dyn Fn(&Package), "can be changed by others");
            assert_refused(simulator, &code, &[case]);
        }
    });
}

#[test]
fn the_cache_s_code_runs_only_if_others_could_not_have_planted_it() {
    beside_simulator(|simulator| {
        let code = planted(simulator);
        let code = &code[..code.len() - 32];
        let home = Package::new(simulator);
        assert!(home.creates_a_room());
        let cache = fs::read_dir(home.path("home/.cache/whereby")).expect("the cache").next();
        let file = cache.expect("a file").expect("an entry").path();
        let name = file.strip_prefix(home.folder.path()).expect("below").to_str().expect("UTF-8");
        let plant = |mode: u32| {
            fs::remove_file(&file).expect("removed");
            home.write(name, code);
            home.set_mode(name, mode);
        };
        plant(0o600);
        assert!(!home.creates_a_room(), "what the user puts there is trusted");
        for mode in [0o620, 0o602] {
            plant(mode);
            assert!(home.creates_a_room(), "{mode:o}: the planted code ran");
        }
        plant(0o600);
        home.set_mode("home/.cache/whereby", 0o770);
        assert!(home.creates_a_room(), "others can write the folder");
        home.set_mode("home/.cache/whereby", 0o700);
        assert!(!home.creates_a_room(), "the planted code is still there");
        fs::rename(&file, home.path("elsewhere")).expect("moved");
        symlink(home.path("elsewhere"), &file).expect("a link");
        assert!(home.creates_a_room(), "a link was followed");
        if geteuid().is_root() {
            plant(0o600);
            chown(&file, Some(NOBODY), None).expect("an owner");
            assert!(home.creates_a_room(), "another user's code ran");
        }
    });
}

#[test]
fn damaged_and_foreign_code_never_runs() {
    beside_simulator(|simulator| {
        let (code, made) = (planted(simulator), genuine());
        let damaged = "is damaged";
        let flipped = |at: usize| {
            let mut bytes = made.to_owned();
            bytes[at] ^= 1;
            bytes
        };
        let bare = &code[..code.len() - 32];
        // The contents of the file, each with the digest that it would have if it were good.
        let cases: &[(&str, Vec<u8>, &str)] = &[
            ("empty", Vec::new(), damaged),
            ("without a digest", bare.to_owned(), damaged),
            ("another digest", [bare, &[0; 32]].concat(), damaged),
            ("the digest of the genuine code", [bare, &made[made.len() - 32..]].concat(), damaged),
            ("truncated", made[..made.len() - 1].to_owned(), damaged),
            ("half of it", made[..made.len() / 2].to_owned(), damaged),
            ("the first bit", flipped(0), damaged),
            ("a bit in the middle", flipped(made.len() / 2), damaged),
            ("the last bit", flipped(made.len() - 1), damaged),
            ("no code", sealed(b"#!/bin/sh\n"), damaged),
            ("a component", sealed(whereby::BUILT_IN_COMPONENT), damaged),
            ("too large", vec![0; 16 * 1024 * 1024 + 1], "is larger than"),
        ];
        for (name, contents, why) in cases {
            let write = |package: &Package| package.write(GENUINE, contents);
            assert_refused(simulator, contents, &[(name, &write, why)]);
        }
        let folder = |package: &Package| {
            fs::remove_file(package.path(GENUINE)).expect("removed");
            fs::create_dir(package.path(GENUINE)).expect("a folder");
        };
        assert_refused(simulator, made, &[("a folder", &folder, "is not a file")]);
    });
}

/// Fails if a program runs the code in a package that was changed in one of these ways, or does not say why it
/// runs other code.
fn assert_refused(simulator: &Simulator, code: &[u8], cases: &[Case<'_>]) {
    // The component is compiled once for all cases.
    static CACHE: LazyLock<TempDir> =
        LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));
    for (name, plant, why) in cases {
        let package = Package { cache: Some(CACHE.path()), ..Package::new(simulator) };
        package.write(GENUINE, code);
        plant(&package);
        assert!(package.creates_a_room(), "{name}: the planted code ran");
        let (status, message) = package.check("compiled code").expect("a check");
        assert_eq!(status, "warning", "{name}: {message}");
        assert!(message.contains(why), "{name}: no {why:?}: {message}");
        assert_eq!(package.check("cache").expect("a check").0, "ok", "{name}");
    }
}

#[test]
fn the_same_program_makes_the_same_file_every_time() {
    let place = tempfile::tempdir().expect("a temporary directory");
    for threads in ["1", "3"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whereby"));
        command.args(["component", "compile", threads, "--json"]).current_dir(&place);
        document(command.env("RAYON_NUM_THREADS", threads));
        let made = fs::read(place.path().join(threads)).expect("the file");
        assert!(made == genuine(), "{threads} threads make other code");
    }
    // An existing file is not replaced.
    let mut command = Command::new(env!("CARGO_BIN_EXE_whereby"));
    command.args(["component", "compile", "1", "--json"]).current_dir(&place);
    let refused = document(&mut command);
    assert_eq!(refused["error"]["kind"], "usage", "{refused}");
}
