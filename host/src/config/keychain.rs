//! Stores access tokens in the keychain of the system, through the program that prints them again.

use crate::config::checkout;
use crate::config::credentials::{TokenSource, feed};
use crate::config::environment::Environment;
use crate::system::file;
use std::path::{Path, PathBuf};

/// The name under which tokens are stored.
const SERVICE: &str = "whereby";

/// Where the programs of the keychains are. `PATH` does not count, because a project could have set it.
const PROGRAMS: &[(&str, Kind)] = if cfg!(target_os = "macos") {
    &[("/usr/bin/security", Kind::Security)]
} else {
    &[
        ("/usr/bin/secret-tool", Kind::SecretTool),
        ("/run/current-system/sw/bin/secret-tool", Kind::SecretTool),
    ]
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The Keychain of macOS.
    Security,
    /// The Secret Service of Linux desktops: GNOME Keyring, KWallet.
    SecretTool,
}

/// A keychain, and the name of the account whose token it stores.
#[derive(Clone, Debug)]
pub(crate) struct Keychain {
    program: String,
    kind: Kind,
    account: String,
}

impl Keychain {
    /// Returns the keychain of this system, if there is one and a program can reach it.
    pub(crate) fn find(account: &str) -> Option<Self> {
        let is_there = |program: &str| file::check_program(Path::new(program)).is_ok();
        let (program, kind) = *PROGRAMS.iter().find(|(program, _)| is_there(program))?;
        let has_bus = || session_folder().is_some_and(|folder| has_session_bus(&folder));
        let is_usable = kind == Kind::Security || has_bus();
        is_usable.then(|| Self { program: program.into(), kind, account: account.into() })
    }

    /// Returns what people call it.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Security => "the macOS keychain",
            Kind::SecretTool => "your desktop's keyring",
        }
    }

    /// Returns the command that prints the token.
    pub(crate) fn command(&self) -> Vec<String> {
        let words: &[&str] = match self.kind {
            Kind::Security => {
                &[&self.program, "find-generic-password", "-s", SERVICE, "-a", &self.account, "-w"]
            }
            Kind::SecretTool => {
                &[&self.program, "lookup", "service", SERVICE, "account", &self.account]
            }
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// Stores a token in place of the one that was there, and checks that the command prints it. The token
    /// goes over standard input only, because any process can see arguments. The error says what failed.
    pub(crate) fn store(&self, token: &str) -> Result<(), String> {
        let (command, input) = match self.kind {
            Kind::Security => {
                // The program reads commands, in which other characters could have a meaning.
                let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-~+/=".contains(c);
                if token.len() > 2048 || !token.chars().all(is_plain) {
                    return Err("it cannot store a key like this one".into());
                }
                let account = &self.account;
                let line =
                    format!("add-generic-password -U -s {SERVICE} -a {account} -w {token}\n");
                (vec![self.program.clone(), "-i".into()], line)
            }
            Kind::SecretTool => {
                let words = [
                    &self.program,
                    "store",
                    "--label=Whereby API key",
                    "service",
                    SERVICE,
                    "account",
                    &self.account,
                ];
                (words.map(str::to_owned).to_vec(), token.to_owned())
            }
        };
        feed(&command, &input, variables()).map_err(|what| format!("{} {what}", self.program))?;
        let printed = TokenSource::Command(self.command())
            .fetch(&self.account, &Environment::empty())
            .map_err(|error| error.to_string())?;
        if printed.expose() == token {
            return Ok(());
        }
        Err(format!("{} does not print the key that it was given", self.program))
    }
}

/// The socket of the session bus, in the folder of the user's session.
const BUS: &str = "bus";

/// Returns the folder of the user's session. The system makes it; a variable could come from a project.
#[cfg(unix)]
fn session_folder() -> Option<PathBuf> {
    Some(PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw())))
}

#[cfg(not(unix))]
fn session_folder() -> Option<PathBuf> {
    None
}

/// The only variables of a keychain's program. Any other could come from a project, and send the key
/// elsewhere or load code.
fn variables() -> Vec<(&'static str, PathBuf)> {
    let home = checkout::own_home().map(|home| ("HOME", home));
    let session = session_folder().map(|folder| {
        let bus = format!("unix:path={}", folder.join(BUS).display());
        [("XDG_RUNTIME_DIR", folder), ("DBUS_SESSION_BUS_ADDRESS", bus.into())]
    });
    home.into_iter().chain(session.into_iter().flatten()).collect()
}

/// Returns the environment of a program that is a keychain's own, and `None` for any other program.
pub(crate) fn variables_of(program: &str) -> Option<Vec<(&'static str, PathBuf)>> {
    PROGRAMS.iter().any(|(own, _)| *own == program).then(variables)
}

/// Whether a folder has the user's own session bus, over which the Secret Service is reached.
#[cfg(unix)]
fn has_session_bus(folder: &Path) -> bool {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    folder.join(BUS).symlink_metadata().is_ok_and(|found| {
        found.file_type().is_socket() && found.uid() == rustix::process::geteuid().as_raw()
    })
}

#[cfg(not(unix))]
fn has_session_bus(_: &Path) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::process::Command;

    /// Makes a keychain of a script that keeps its arguments in `seen` and its input in `kept`.
    fn keychain(folder: &Path, kind: Kind, script: &str) -> Keychain {
        let program = folder.join("program");
        let folder = folder.display();
        let text = format!("#!/bin/sh\ncd '{folder}'\necho \"$@\" >>seen\n{script}\n");
        // Another process writes it: a program that is open for writing anywhere here cannot be started.
        let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
        let made = Command::new("/bin/sh").arg("-c").arg(write).arg(&program).arg(text).status();
        assert!(made.expect("a shell").success());
        Keychain { program: program.display().to_string(), kind, account: "work".into() }
    }

    #[test]
    fn a_key_is_stored_through_standard_input_and_read_back() {
        const KEPT: &str = "case $1 in store | -i) cat >kept ;; *) sed 's/.* //' kept ;; esac";
        for (kind, arguments, input) in [
            (
                Kind::SecretTool,
                "store --label=Whereby API key service whereby account work\n\
                 lookup service whereby account work\n",
                "top.s3.cret",
            ),
            (
                Kind::Security,
                "-i\nfind-generic-password -s whereby -a work -w\n",
                "add-generic-password -U -s whereby -a work -w top.s3.cret\n",
            ),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let keychain = keychain(folder.path(), kind, KEPT);
            keychain.store("top.s3.cret").expect("it is stored");
            let read = |name: &str| std::fs::read_to_string(folder.path().join(name));
            assert_eq!(read("seen").expect("the arguments"), arguments);
            assert_eq!(read("kept").expect("the input"), input);
        }
    }

    #[test]
    fn a_key_that_cannot_be_stored_is_an_error() {
        for (kind, script, token, words) in [
            (Kind::SecretTool, "exit 1", "a.b.c", "failed (exit status: 1)"),
            (Kind::SecretTool, "cat >kept; echo other", "a.b.c", "does not print the key"),
            (Kind::SecretTool, "[ $1 = store ] && cat >kept", "a.b.c", "failed (exit status: 1)"),
            (Kind::Security, "cat >kept", "a.b.c\u{a0}", "cannot store a key like this one"),
            (Kind::Security, "cat >kept", "a\"b", "cannot store a key like this one"),
            (Kind::Security, "cat >kept", "a.b.c", "it is empty"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let keychain = keychain(folder.path(), kind, script);
            let error = keychain.store(token).expect_err(script);
            assert!(error.contains(words), "{script}: {error}");
            assert!(!error.contains("a.b.c"), "{error}");
        }
    }

    #[test]
    fn a_keychain_s_program_gets_no_variables_of_the_project() {
        let folder = tempfile::tempdir().expect("a folder");
        // Only the program that gets the key is looked at here.
        let script = "[ $1 = store ] || exit 1\n\
            env | cut -d= -f1 | grep -vx -e PWD -e SHLVL -e OLDPWD -e _ >names; cat >kept";
        let keychain = keychain(folder.path(), Kind::SecretTool, script);
        // The tests have variables that are not on the list.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        keychain.store("a.b.c").expect_err("it prints nothing");
        let names = std::fs::read_to_string(folder.path().join("names")).expect("the names");
        let mut names: Vec<&str> = names.lines().collect();
        names.sort_unstable();
        assert_eq!(names, ["DBUS_SESSION_BUS_ADDRESS", "HOME", "XDG_RUNTIME_DIR"]);
        for (program, _) in PROGRAMS {
            assert_eq!(variables_of(program), Some(variables()), "{program}");
        }
        assert_eq!(variables_of("/usr/bin/pass"), None);
    }

    #[test]
    fn a_keychain_that_no_program_can_reach_is_not_offered() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(!has_session_bus(folder.path()));
        let bus = folder.path().join(BUS);
        std::fs::write(&bus, "").expect("a file");
        assert!(!has_session_bus(folder.path()));
        std::fs::remove_file(&bus).expect("removed");
        let _listens = std::os::unix::net::UnixListener::bind(&bus).expect("a socket");
        assert!(has_session_bus(folder.path()));
        let other = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(&bus, other.path().join(BUS)).expect("a link");
        assert!(!has_session_bus(other.path()));
    }
}
