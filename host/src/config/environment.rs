//! The environment of the program: its variables, its working directory and its clock.

use crate::config::checkout;
use crate::system::clock::Clock;
use crate::system::file;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The machine's policy file.
pub const SYSTEM_POLICY: &str = "/etc/whereby/policy.toml";

/// The program's inputs, besides its arguments.
#[derive(Clone)]
#[non_exhaustive]
pub struct Environment {
    /// The environment variables.
    pub variables: BTreeMap<String, String>,
    /// The working directory. Project files are searched from here up to the root.
    pub directory: PathBuf,
    /// The machine's policy file. Default: [`SYSTEM_POLICY`].
    pub system_policy: PathBuf,
    /// The clock. Default: [`Clock::system`].
    pub clock: Clock,
    /// The compiled code of the built-in component that was packaged with the program. Default: none. It is
    /// used only if others cannot change it.
    pub compiled_code: Option<PathBuf>,
    /// Why the environment is incomplete, if it is. Reading settings then fails, because stricter rules
    /// could be missing.
    pub problem: Option<String>,
}

impl Environment {
    /// Returns an environment without variables and a working directory.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            variables: BTreeMap::new(),
            directory: PathBuf::new(),
            system_policy: PathBuf::from(SYSTEM_POLICY),
            clock: Clock::system(),
            compiled_code: None,
            problem: None,
        }
    }

    /// Returns the environment of this process, without code that was packaged with its program.
    #[must_use]
    pub fn of_process() -> Self {
        let mut environment = Self::empty();
        match std::env::current_dir() {
            Ok(directory) => environment.directory = directory,
            Err(error) => {
                environment.problem = Some(format!(
                    "the working directory, where the search for project files begins, cannot be \
                     found: {error}"
                ));
            }
        }
        for (name, value) in std::env::vars_os() {
            // The program reads no variable whose name is not UTF-8.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(environment.variables.insert(name, value)),
                Err(_) if decides(&name) => {
                    environment.problem = Some(format!("the variable {name} is not UTF-8"));
                }
                Err(_) => {}
            }
        }
        environment
    }

    /// Returns a variable, or `None` if it is not set or empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the user's time zone: that of `TZ`, or the system's. An unknown one counts as UTC, as in other
    /// programs. Searching for the system's reads many folders.
    pub(crate) fn zone(&self) -> TimeZone {
        let named = self.variable("TZ").map(|name| name.trim_start_matches(':'));
        let zone = match named {
            Some(name) => TimeZone::get(name).or_else(|_| TimeZone::posix(name)),
            None => Ok(TimeZone::system()),
        };
        zone.unwrap_or(TimeZone::UTC)
    }

    /// Whether a CI system runs the program, so that nobody can be asked.
    #[must_use]
    pub(crate) fn is_ci(&self) -> bool {
        // Most CI systems set `CI`; `false` overrides the other variables.
        let says_ci = |name| {
            self.variable(name).map(|value| !matches!(value, "0" | "false" | "False" | "FALSE"))
        };
        says_ci("CI").unwrap_or_else(|| {
            [
                "CONTINUOUS_INTEGRATION",
                "TF_BUILD",
                "JENKINS_URL",
                "TEAMCITY_VERSION",
                "CODEBUILD_BUILD_ID",
            ]
            .into_iter()
            .any(|name| says_ci(name) == Some(true))
        })
    }

    /// Returns the platform's directory for `config`, `cache` or `state`, ending in `whereby`. `None` if
    /// there is no home directory, or if a variable leads into a checkout.
    #[must_use]
    pub fn platform_directory(&self, kind: &str) -> Option<PathBuf> {
        self.own_directory(kind).ok()
    }

    /// Like [`Self::platform_directory`]. The error says why there is none, and what to change.
    pub(crate) fn own_directory(&self, kind: &str) -> Result<PathBuf, String> {
        let (path, variable) = self.locate(kind)?;
        self.check_own(&path, variable)?;
        Ok(path)
    }

    /// Returns the directory of a kind, and the variable that names it. It may be in a checkout.
    pub(crate) fn locate(&self, kind: &str) -> Result<(PathBuf, &'static str), String> {
        let (variable, unix, mac) = match kind {
            "config" => ("XDG_CONFIG_HOME", ".config/whereby", "Application Support/whereby"),
            "cache" => ("XDG_CACHE_HOME", ".cache/whereby", "Caches/whereby"),
            // A separate directory on macOS, because others may read the configuration.
            "state" => {
                ("XDG_STATE_HOME", ".local/state/whereby", "Application Support/whereby/state")
            }
            _ => return Err(format!("unknown kind of directory: {kind}")),
        };
        let absolute = |name| self.variable(name).map(PathBuf::from).filter(|p| p.is_absolute());
        if let Some(base) = absolute(variable) {
            return Ok((base.join("whereby"), variable));
        }
        let Some(home) = absolute("HOME") else {
            let what = match self.variables.get("HOME").map(String::as_str) {
                None => "not set",
                Some("") => "empty",
                Some(_) => "not an absolute path",
            };
            return Err(format!("HOME is {what}; set HOME or {variable} to an absolute path"));
        };
        let is_mac = cfg!(target_os = "macos");
        Ok((if is_mac { home.join("Library").join(mac) } else { home.join(unix) }, "HOME"))
    }

    /// Checks that a path from a variable is not in a checkout. The error says what to change.
    pub(crate) fn check_own(&self, path: &Path, variable: &str) -> Result<(), String> {
        let home = self.variable("HOME").map(Path::new);
        let Some(checkout) = checkout::holding(path, &self.directory, home) else {
            return Ok(());
        };
        Err(format!(
            "{variable} leads into the checkout {}, which could have set it, so {} is not used; point \
             {variable} to a directory outside it",
            file::shown(&checkout),
            file::shown(path)
        ))
    }
}

impl fmt::Debug for Environment {
    /// Shows only the names of the variables: a value may be a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("directory", &self.directory)
            .field("system_policy", &self.system_policy)
            .field("compiled_code", &self.compiled_code)
            .field("problem", &self.problem)
            .finish()
    }
}

/// Whether settings depend on a variable.
fn decides(name: &str) -> bool {
    let directories = ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"];
    name.starts_with("WHEREBY_") || directories.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ci_system_is_recognized_by_its_variables() {
        for (variables, expected) in [
            (&[][..], false),
            (&[("CI", "true")], true),
            (&[("CI", "1")], true),
            (&[("CI", "woodpecker")], true),
            (&[("CI", "")], false),
            (&[("CI", "false")], false),
            (&[("CI", "0"), ("TF_BUILD", "True")], false),
            (&[("TF_BUILD", "True")], true),
            (&[("JENKINS_URL", "http://127.0.0.1/")], true),
        ] {
            let mut environment = Environment::empty();
            let owned = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            environment.variables.extend(owned);
            assert_eq!(environment.is_ci(), expected, "{variables:?}");
        }
    }

    #[test]
    fn directories_are_absolute() {
        let mut environment = Environment::empty();
        assert_eq!(environment.platform_directory("state"), None);
        environment.variables.insert("HOME".into(), "/home/a".into());
        environment.variables.insert("XDG_STATE_HOME".into(), "relative".into());
        let own = if cfg!(target_os = "macos") {
            "/home/a/Library/Application Support/whereby/state"
        } else {
            "/home/a/.local/state/whereby"
        };
        assert_eq!(environment.platform_directory("state"), Some(own.into()));
        environment.variables.insert("XDG_STATE_HOME".into(), "/state".into());
        assert_eq!(environment.platform_directory("state"), Some("/state/whereby".into()));
        assert_eq!(environment.platform_directory("else"), None);
    }

    #[test]
    fn an_unusable_home_is_explained() {
        for (home, words) in [
            (None, "HOME is not set; set HOME or XDG_STATE_HOME"),
            (Some(""), "HOME is empty"),
            (Some("home/a"), "HOME is not an absolute path"),
        ] {
            let mut environment = Environment::empty();
            environment.variables.extend(home.map(|home| ("HOME".to_owned(), home.to_owned())));
            let error = environment.own_directory("state").expect_err("no directory");
            assert!(error.contains(words), "{home:?}: {error}");
        }
    }
}
