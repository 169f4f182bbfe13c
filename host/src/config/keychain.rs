//! Stores access tokens in the keychain of the system, through the program that prints them again.

use crate::config::credentials::{TokenSource, feed};
use crate::config::environment::Environment;
use crate::system::file;
use std::path::Path;

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
    pub(crate) fn find(environment: &Environment, account: &str) -> Option<Self> {
        let is_there = |program: &str| file::check_program(Path::new(program)).is_ok();
        let (program, kind) = *PROGRAMS.iter().find(|(program, _)| is_there(program))?;
        let is_usable = kind == Kind::Security || has_session_bus(environment);
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
        feed(&command, &input).map_err(|what| format!("{} {what}", self.program))?;
        let printed = TokenSource::Command(self.command())
            .fetch(&self.account, &Environment::empty())
            .map_err(|error| error.to_string())?;
        if printed.expose() == token {
            return Ok(());
        }
        Err(format!("{} does not print the key that it was given", self.program))
    }
}

/// Whether there is a session bus, over which the Secret Service is reached. A bus that a project could
/// have set does not count: it would get the key.
fn has_session_bus(environment: &Environment) -> bool {
    let is_own = |path: &Path, name| {
        path.is_absolute() && environment.check_own(path, name).is_ok() && path.exists()
    };
    const ADDRESS: &str = "DBUS_SESSION_BUS_ADDRESS";
    const FOLDER: &str = "XDG_RUNTIME_DIR";
    match (environment.variable(ADDRESS), environment.variable(FOLDER)) {
        // Addresses of other kinds can run programs, or lead to anybody's socket.
        (Some(addresses), _) => addresses.split(';').all(|address| {
            let path = address.strip_prefix("unix:path=").and_then(|rest| rest.split(',').next());
            path.is_some_and(|path| !path.contains('%') && is_own(Path::new(path), ADDRESS))
        }),
        (None, Some(folder)) => is_own(&Path::new(folder).join("bus"), FOLDER),
        (None, None) => false,
    }
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
    fn a_keychain_that_no_program_can_reach_is_not_offered() {
        assert!(!has_session_bus(&Environment::empty()));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display().to_string();
        let environment = |name: &str, value: &str| {
            let mut environment = Environment::empty();
            environment.variables.insert(name.into(), value.into());
            environment
        };
        let by_folder = environment("XDG_RUNTIME_DIR", &path);
        assert!(!has_session_bus(&by_folder));
        std::fs::write(folder.path().join("bus"), "").expect("a file");
        let address = |address: &str| environment("DBUS_SESSION_BUS_ADDRESS", address);
        let by_address = address(&format!("unix:path={path}/bus,guid=1"));
        for mut environment in [by_folder, by_address] {
            assert!(has_session_bus(&environment), "{environment:?}");
            environment.directory = folder.path().to_owned();
            assert!(!has_session_bus(&environment), "a project could have set it");
        }
        for refused in [
            String::new(),
            "bus".into(),
            "unix:path=bus".into(),
            "unix:abstract=bus".into(),
            "unixexec:path=/bin/sh".into(),
            format!("unix:path={path}/%62us"),
            format!("unix:path={path}/none"),
            format!("unix:path={path}/bus;tcp:host=127.0.0.1,port=1"),
        ] {
            assert!(!has_session_bus(&address(&refused)), "{refused}");
        }
    }
}
