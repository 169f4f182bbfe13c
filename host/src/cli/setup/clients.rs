//! The MCP clients that setup knows: where their files are, and how to start this program from there.

use super::entry::{self, Edited, Format, Launch};
use crate::config::checkout;
use crate::config::environment::Environment;
use crate::system::file;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use whereby_authority::text;

/// The maximum size of a client's file, in bytes.
const MAX_FILE: u64 = 32 * 1024 * 1024;

const JSON: Format = Format::Json { servers: "mcpServers", is_typed: false };

/// An MCP client that is on this machine.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) name: &'static str,
    pub(super) file: PathBuf,
    format: Format,
}

/// What a client's file needs.
#[derive(Debug)]
pub(super) enum Plan {
    /// Nothing: it has the entry.
    Same,
    Change(Change),
}

/// A change of a client's file, which a person has to agree to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The file after following links.
    pub(super) file: PathBuf,
    /// The contents; `None` if there is no file yet.
    pub(super) before: Option<String>,
    pub(super) after: Edited,
}

/// Returns the clients on this machine: those whose settings have a place here.
pub(super) fn found(environment: &Environment) -> Vec<Client> {
    let absolute = |name: &str| {
        let path = environment.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        // A project could have set the variable.
        path.filter(|path| environment.check_own(path, name).is_ok())
    };
    let Some(home) = absolute("HOME") else { return Vec::new() };
    let config = if cfg!(target_os = "macos") {
        home.join("Library/Application Support")
    } else {
        absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"))
    };
    let claude = absolute("CLAUDE_CONFIG_DIR");
    let claude_file = claude.as_ref().unwrap_or(&home).join(".claude.json");
    let claude = claude.unwrap_or_else(|| home.join(".claude"));
    let codex = absolute("CODEX_HOME").unwrap_or_else(|| home.join(".codex"));
    let desktop = config.join("Claude");
    let cursor = home.join(".cursor");
    let code = config.join("Code/User");
    let typed = Format::Json { servers: "servers", is_typed: true };
    // The folder or file that says that the client is there, and the file with its servers.
    let known = [
        ("Claude Code", claude, claude_file, JSON),
        ("Claude Desktop", desktop.clone(), desktop.join("claude_desktop_config.json"), JSON),
        ("Cursor", cursor.clone(), cursor.join("mcp.json"), JSON),
        ("VS Code", code.clone(), code.join("mcp.json"), typed),
        ("Codex", codex.clone(), codex.join("config.toml"), Format::Toml),
    ];
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let known = known.into_iter().filter(|(_, sign, file, _)| sign.is_dir() || is_there(file));
    known.map(|(name, _, file, format)| Client { name, file, format }).collect()
}

impl Client {
    /// Returns the path of the entry in the file.
    pub(super) fn part(&self) -> String {
        let servers = match self.format {
            Format::Json { servers, .. } => servers,
            Format::Toml => entry::TOML_SERVERS,
        };
        format!("{servers}.{}", entry::NAME)
    }

    /// Returns what the file needs. The error says what is wrong with the file, as the end of a sentence
    /// that begins with its path.
    pub(super) fn plan(&self, launch: &Launch) -> Result<Plan, String> {
        let file = file::target(self.file.clone());
        file::check_own(&file)?;
        let before = match file.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            _ => {
                let contents = file::read(&file, MAX_FILE)?;
                Some(String::from_utf8(contents.bytes).map_err(|_| "is not UTF-8")?)
            }
        };
        let edited = entry::add(self.format, before.as_deref().unwrap_or_default(), launch)?;
        Ok(edited.map_or(Plan::Same, |after| Plan::Change(Change { file, before, after })))
    }

    /// Makes a change that a person has seen. Returns false, and writes nothing, if it would be another one
    /// now.
    pub(super) fn make(&self, seen: &Change, launch: &Launch) -> Result<bool, String> {
        match self.plan(launch)? {
            Plan::Change(now) if now == *seen => {}
            _ => return Ok(false),
        }
        file::rewrite(&seen.file, seen.after.text.as_bytes())
            .map_err(|error| format!("cannot be written: {error}"))?;
        Ok(true)
    }
}

/// Returns the command with which a client starts this program. `config` is the configuration file, if the
/// program would not find it by itself.
///
/// # Errors
///
/// Says why the program cannot be started by its path, as the end of a sentence.
pub(super) fn launch(environment: &Environment, config: Option<&Path>) -> Result<Launch, String> {
    let own = std::env::current_exe()
        .map_err(|error| format!("the path of this program cannot be found: {error}"))?;
    let command = start(&own, environment)?;
    let mut arguments = Vec::new();
    if let Some(config) = config {
        arguments.extend(["--config".into(), utf8(config)?]);
    }
    arguments.push("mcp".into());
    Ok(Launch { command, arguments })
}

/// Returns the path with which clients start the program at this path.
fn start(own: &Path, environment: &Environment) -> Result<String, String> {
    check_installed(own, environment).map_err(|why| {
        format!(
            "{} {why}. Install the program first, then run `whereby setup` again:\n  npm install --global \
             whereby-agent, uv tool install whereby-agent, or pip install whereby-agent",
            file::shown(own)
        )
    })?;
    // A link in PATH stays the same when a package manager installs the next version beside this one.
    let own_real = own.canonicalize().ok();
    let folders = std::env::split_paths(environment.variable("PATH").unwrap_or_default());
    let mut linked = folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("whereby"))
        .filter(|path| {
            own_real.is_some()
                && path.canonicalize().ok() == own_real
                && check_installed(path, environment).is_ok()
        });
    utf8(&linked.next().unwrap_or_else(|| own.to_owned()))
}

/// Checks that a program stays where it is, and that neither a project nor other users can replace it. The
/// error says where it is instead.
fn check_installed(program: &Path, environment: &Environment) -> Result<(), String> {
    let is_version = |name: &str| {
        let number = name.strip_prefix("archive-v");
        number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    // Where npx and uvx keep what they run, wherever their caches are.
    let is_temporary = |folder: &Path| {
        let name = folder.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let is_cache = || folder.with_file_name("CACHEDIR.TAG").exists();
        name == "_npx" || is_version(name) && is_cache()
    };
    if program.ancestors().any(is_temporary) {
        return Err("is in a cache, which may be emptied".into());
    }
    let home = environment.variable("HOME").map(Path::new);
    if let Some(project) = checkout::holding(program, &environment.directory, home) {
        return Err(format!("is in the current project, {}", file::shown(&project)));
    }
    file::check_kept(program)
}

fn utf8(path: &Path) -> Result<String, String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let path = text::printable(&path.display().to_string(), 300);
        format!("the path {path} is not UTF-8, so it can't be written to a client's file")
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    fn environment(variables: &[(&str, &Path)]) -> Environment {
        let mut environment = Environment::empty();
        let variables =
            variables.iter().map(|(name, value)| ((*name).into(), value.display().to_string()));
        environment.variables.extend(variables);
        environment
    }

    fn launch() -> Launch {
        Launch { command: "/usr/bin/whereby".into(), arguments: vec!["mcp".into()] }
    }

    fn client(file: PathBuf) -> Client {
        Client { name: "Cursor", file, format: JSON }
    }

    fn change(client: &Client) -> Change {
        match client.plan(&launch()).expect("a plan") {
            Plan::Change(change) => change,
            Plan::Same => panic!("there is nothing to change"),
        }
    }

    #[test]
    fn clients_are_found_by_their_folders() {
        let home = tempfile::tempdir().expect("a folder");
        let other = tempfile::tempdir().expect("a folder");
        let own = environment(&[("HOME", home.path())]);
        let names = |environment: &Environment| -> Vec<&str> {
            found(environment).iter().map(|client| client.name).collect()
        };
        assert!(names(&own).is_empty());
        assert!(names(&Environment::empty()).is_empty());
        for folder in [".claude", ".cursor", ".codex"] {
            fs::create_dir(home.path().join(folder)).expect("a folder");
        }
        assert_eq!(names(&own), ["Claude Code", "Cursor", "Codex"]);
        assert_eq!(found(&own)[0].file, home.path().join(".claude.json"));
        let moved = environment(&[
            ("HOME", home.path()),
            ("CLAUDE_CONFIG_DIR", other.path()),
            ("CODEX_HOME", &other.path().join("codex")),
        ]);
        assert_eq!(names(&moved), ["Claude Code", "Cursor"]);
        assert_eq!(found(&moved)[0].file, other.path().join(".claude.json"));
        let mut in_checkout = moved;
        in_checkout.directory = other.path().to_owned();
        assert_eq!(found(&in_checkout)[0].file, home.path().join(".claude.json"));
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_link_stays_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let dotfiles = folder.path().join("dotfiles");
        fs::create_dir(&dotfiles).expect("a folder");
        let real = dotfiles.join("mcp.json");
        for mode in [0o600, 0o644, 0o664] {
            fs::write(&real, "{}").expect("a file");
            fs::set_permissions(&real, fs::Permissions::from_mode(mode)).expect("a mode");
            let link = folder.path().join(format!("{mode:o}.json"));
            symlink("dotfiles/mcp.json", &link).expect("a link");
            let client = client(link.clone());
            let change = change(&client);
            assert_eq!(client.make(&change, &launch()), Ok(true));
            assert!(link.is_symlink());
            assert_eq!(fs::read_to_string(&real).expect("a file"), change.after.text);
            assert_eq!(real.metadata().expect("a file").mode() & 0o7777, mode);
            assert!(matches!(client.plan(&launch()), Ok(Plan::Same)));
            assert_eq!(fs::read_dir(&dotfiles).expect("a folder").count(), 1);
        }
    }

    #[test]
    fn a_new_file_is_private_and_may_be_at_the_end_of_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("link.json");
        symlink("mcp.json", &link).expect("a link");
        let client = client(link);
        let change = change(&client);
        assert_eq!(change.before, None);
        assert_eq!(client.make(&change, &launch()), Ok(true));
        let made = folder.path().join("mcp.json").metadata().expect("a file");
        assert_eq!(made.mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_file_that_changed_since_it_was_shown_is_not_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mcp.json");
        let client = client(file.clone());
        let seen = change(&client);
        fs::write(&file, "{\"new\": 1}").expect("a file");
        assert_eq!(client.make(&seen, &launch()), Ok(false));
        assert_eq!(fs::read_to_string(&file).expect("a file"), "{\"new\": 1}");
        let seen = change(&client);
        fs::remove_file(&file).expect("it is gone");
        assert_eq!(client.make(&seen, &launch()), Ok(false));
        assert!(!file.exists());
    }

    #[test]
    fn unusable_files_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let big = fs::File::create(path("big")).expect("a file");
        big.set_len(100 * 1024 * 1024).expect("a size");
        fs::write(path("bytes"), b"{\"a\": \"\xff\"}").expect("a file");
        fs::write(path("deep"), "[".repeat(1_000_000)).expect("a file");
        fs::create_dir(path("folder")).expect("a folder");
        let fifo = std::process::Command::new("mkfifo").arg(path("pipe")).status();
        assert!(fifo.expect("mkfifo runs").success());
        fs::create_dir(path("open")).expect("a folder");
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(path("open"), open).expect("a mode");
        symlink("round", path("round")).expect("a link");
        symlink("/dev/null", path("null")).expect("a link");
        for (name, words) in [
            ("big", "is larger than"),
            ("bytes", "is not UTF-8"),
            ("deep", "is not valid JSON"),
            ("folder", "is not a file"),
            ("pipe", "is not a file"),
            ("open/mcp.json", "is in a folder that others can change"),
            ("none/mcp.json", "has no usable folder"),
            ("round", "cannot be read"),
        ] {
            let error = client(path(name)).plan(&launch()).expect_err(name);
            assert!(error.contains(words), "{name}: {error}");
        }
        assert!(client(path("null")).plan(&launch()).is_err());
        let foreign = if rustix::process::geteuid().is_root() {
            fs::write(path("foreign"), "{}").expect("a file");
            std::os::unix::fs::chown(path("foreign"), Some(1), None).expect("another owner");
            path("foreign")
        } else {
            "/etc/passwd".into()
        };
        let error = client(foreign).plan(&launch()).expect_err("another owner's");
        assert_eq!(error, "belongs to another user");
    }

    #[test]
    fn a_client_starts_the_program_by_a_path_that_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["bin", "whereby-1.0", "other"] {
            fs::create_dir(path(name)).expect("a folder");
        }
        let own = path("whereby-1.0/whereby");
        fs::write(&own, "").expect("a program");
        fs::write(path("other/whereby"), "").expect("a program");
        symlink(&own, path("bin/whereby")).expect("a link");
        let command = |own: &Path, folders: &[PathBuf]| {
            let joined = std::env::join_paths(folders).expect("a path");
            start(own, &environment(&[("PATH", Path::new(&joined))])).expect("a command")
        };
        let shown = |path: PathBuf| path.display().to_string();
        assert_eq!(command(&own, &[]), shown(own.clone()));
        assert_eq!(command(&own, &[path("other")]), shown(own.clone()));
        assert_eq!(command(&own, &[path("other"), path("bin")]), shown(path("bin/whereby")));
        assert_eq!(command(&own, &["bin".into()]), shown(own.clone()));
        fs::set_permissions(path("bin"), fs::Permissions::from_mode(0o777)).expect("a mode");
        assert_eq!(command(&own, &[path("bin")]), shown(own.clone()));
        fs::set_permissions(path("bin"), fs::Permissions::from_mode(0o775)).expect("a mode");
        assert_eq!(command(&own, &[path("bin")]), shown(path("bin/whereby")));
    }

    #[test]
    fn a_program_that_may_go_away_or_change_is_given_to_no_client() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = |name: &str| {
            let path = folder.path().join(name).join("whereby");
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, "").expect("a program");
            path
        };
        let open = |path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("a mode");
        };
        fs::create_dir(folder.path().join("uv")).expect("a folder");
        fs::write(folder.path().join("uv/CACHEDIR.TAG"), "").expect("a file");
        let project = program("project/node_modules/.bin");
        let mut environment = Environment::empty();
        environment.directory = folder.path().join("project");
        let writable = program("writable");
        open(&writable);
        let shared = program("shared/bin");
        open(&folder.path().join("shared"));
        for (path, words) in [
            (program("npm/_npx/5f/node_modules/.bin"), "is in a cache"),
            (program("uv/archive-v0/a1/bin"), "is in a cache"),
            (project, "is in the current project"),
            (writable, "can be changed by others"),
            (shared, "is in a folder that others can change"),
        ] {
            let error = start(&path, &environment).expect_err(words);
            assert!(error.contains(words), "{path:?}: {error}");
            assert!(error.contains("npm install --global whereby-agent"), "{error}");
        }
        for kept in ["archive-v0/a1/bin", "uv/archive-vault/bin", "uv/archive-v/bin"] {
            let path = program(kept);
            assert_eq!(start(&path, &environment), Ok(path.display().to_string()));
        }
    }
}
