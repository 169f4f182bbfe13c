//! The environment of the program: its variables, its working directory and its clock.

use crate::config::checkout;
use crate::system::clock::Clock;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use whereby_authority::text;

/// The file with the rules of the machine.
pub const SYSTEM_POLICY: &str = "/etc/whereby/policy.toml";

/// Everything that the program takes from outside, besides its arguments.
#[derive(Clone)]
#[non_exhaustive]
pub struct Environment {
    /// The environment variables.
    pub variables: BTreeMap<String, String>,
    /// The working directory, from which project files are looked for.
    pub directory: PathBuf,
    /// The policy of the machine, [`SYSTEM_POLICY`].
    pub system_policy: PathBuf,
    /// The time of day, [`Clock::system`].
    pub clock: Clock,
    /// Why it is not known whole, where that is so. Settings are then not read, because what would
    /// make them stricter could be missing.
    pub problem: Option<String>,
}

impl Environment {
    /// No variables, and no working directory.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            variables: BTreeMap::new(),
            directory: PathBuf::new(),
            system_policy: PathBuf::from(SYSTEM_POLICY),
            clock: Clock::system(),
            problem: None,
        }
    }

    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let mut environment = Self::empty();
        match std::env::current_dir() {
            Ok(directory) => environment.directory = directory,
            Err(error) => {
                environment.problem = Some(format!(
                    "the working directory, from which project files are looked for, cannot be \
                     found: {error}"
                ));
            }
        }
        for (name, value) in std::env::vars_os() {
            // A name that is not UTF-8 is none of ours.
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

    /// A variable that is set and not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a CI system runs the program, so that nobody is at its terminal.
    #[must_use]
    pub(crate) fn is_ci(&self) -> bool {
        // What most CI systems set, also to `false` where somebody wants it otherwise.
        let says_ci = |name| {
            self.variable(name).map(|value| !matches!(value, "0" | "false" | "False" | "FALSE"))
        };
        says_ci("CI").unwrap_or_else(|| {
            // What those set that do not set it.
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

    /// A directory of the platform's kind for `config`, `cache` or `state`, with `whereby` in it.
    /// `None` where there is no home directory, or where the variables lead into a repository that
    /// was checked out.
    #[must_use]
    pub fn platform_directory(&self, kind: &str) -> Option<PathBuf> {
        self.own_directory(kind).ok()
    }

    /// The same, or a sentence that says why there is none and what to change.
    pub(crate) fn own_directory(&self, kind: &str) -> Result<PathBuf, String> {
        let (path, variable) = self.locate(kind)?;
        self.check_own(&path, variable)?;
        Ok(path)
    }

    /// Returns the directory of a kind, trusted or not, and the variable that names it.
    pub(crate) fn locate(&self, kind: &str) -> Result<(PathBuf, &'static str), String> {
        let (variable, unix, mac) = match kind {
            "config" => ("XDG_CONFIG_HOME", ".config", "Library/Application Support/whereby"),
            "cache" => ("XDG_CACHE_HOME", ".cache", "Library/Caches/whereby"),
            // The configuration may be read by others there, and this may not.
            "state" => {
                ("XDG_STATE_HOME", ".local/state", "Library/Application Support/whereby/state")
            }
            _ => return Err(format!("there is no kind of directory called {kind}")),
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
        let path = if cfg!(target_os = "macos") { home.join(mac) } else { home.join(unix) };
        Ok((if cfg!(target_os = "macos") { path } else { path.join("whereby") }, "HOME"))
    }

    /// Checks that a path, which a variable names, is not in a checked-out repository. The error
    /// says what to change.
    pub(crate) fn check_own(&self, path: &Path, variable: &str) -> Result<(), String> {
        let home = self.variable("HOME").map(Path::new);
        let Some(checkout) = checkout::holding(path, &self.directory, home) else {
            return Ok(());
        };
        let shown = |path: &Path| text::printable(&path.display().to_string(), 300);
        Err(format!(
            "{variable} leads into the checkout {}, which could have set it, so {} is not used; point \
             {variable} to a directory outside it",
            shown(&checkout),
            shown(path)
        ))
    }
}

impl fmt::Debug for Environment {
    /// The names of the variables alone: what they hold may be a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("directory", &self.directory)
            .field("system_policy", &self.system_policy)
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
    fn a_ci_system_is_known_by_its_variables() {
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
    fn each_kind_of_directory_is_an_absolute_one() {
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
    fn a_home_that_cannot_be_used_is_told_as_it_is() {
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
