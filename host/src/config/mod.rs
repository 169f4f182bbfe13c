//! Settings, from the configuration file, project files and the environment.

mod agents;
mod allowed;
pub(crate) mod checkout;
pub(crate) mod credentials;
pub(crate) mod edit;
pub(crate) mod environment;
pub(crate) mod keychain;
pub(crate) mod limits;
pub(crate) mod no_proxy;
pub(crate) mod origin;
pub(crate) mod reader;
pub(crate) mod sources;
mod toml;

use crate::config::credentials::TokenSource;
use crate::config::environment::Environment;
use crate::config::limits::Limits;
#[cfg(feature = "lua")]
use crate::config::limits::ScriptLimits;
use crate::config::no_proxy::NoProxy;
use crate::config::origin::ApiBase;
use crate::config::sources::Sources;
use crate::config::toml::in_file;
use crate::error::Error;
use crate::system::file::{self, Access};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use whereby_authority::policy::{Policy, Rules};
use whereby_authority::suggest;
use whereby_authority::text;

/// The name of a project file, which makes the policy stricter.
pub const PROJECT_FILE: &str = ".whereby.toml";

/// The variable with the access token of the account `default`, if the file has no accounts.
const TOKEN_VARIABLE: &str = "WHEREBY_ACCESS_TOKEN";

/// The variable with the base URL of that account's API.
const API_VARIABLE: &str = "WHEREBY_API_URL";

/// The maximum size of a configuration file, in bytes.
pub(crate) const MAX_FILE: u64 = 256 * 1024;

/// The maximum number of files that make the policy stricter.
const MAX_TIGHTENING: usize = 64;

/// The maximum size of these files together, in bytes.
const MAX_TIGHTENING_BYTES: usize = 2 * 1024 * 1024;

/// The maximum number of names in a message.
const MAX_NAMES: usize = 10;

/// An account: a credential, and the API that it may be sent to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Account {
    /// The source of the access token.
    pub token: TokenSource,
    /// The base URL of the API.
    pub api: ApiBase,
    /// Whether the account may be used.
    pub enabled: bool,
}

impl Account {
    /// Makes an enabled account.
    #[must_use]
    pub fn new(token: TokenSource, api: ApiBase) -> Self {
        Self { token, api, enabled: true }
    }
}

/// A component to run instead of the built-in one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ComponentFile {
    /// The file.
    pub path: PathBuf,
    /// The required SHA-256, in lower-case hexadecimal.
    pub sha256: Option<String>,
}

/// The maximum number of warnings about entries of `NO_PROXY`.
const MAX_PROXY_WARNINGS: usize = 5;

/// How long calls stay in the audit log, and where its newest hash is published.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AuditSettings {
    /// How many days calls stay in the log. Older ones are archived in the state directory. Default: kept
    /// indefinitely.
    pub keep_days: Option<u32>,
    /// A file that the newest hash is added to, as a JSON document on a line of its own.
    pub head_file: Option<PathBuf>,
    /// A command that gets the same document on standard input; empty for none.
    pub head_command: Vec<String>,
    /// After how many rows. Default: 100.
    pub head_rows: u64,
    /// After how many minutes at the latest, if there are new rows. Default: 10.
    pub head_minutes: u64,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            keep_days: None,
            head_file: None,
            head_command: Vec::new(),
            head_rows: 100,
            head_minutes: 10,
        }
    }
}

/// The whole configuration.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// The accounts, by name.
    pub accounts: BTreeMap<String, Account>,
    /// The account of calls that name none.
    pub default_account: Option<String>,
    /// The permission rules.
    pub policy: Policy,
    /// The limits of a call.
    pub limits: Limits,
    /// The limits of a script.
    #[cfg(feature = "lua")]
    pub lua: ScriptLimits,
    /// The component; absent for the built-in one.
    pub component: Option<ComponentFile>,
    /// A PEM file with more certificates to trust.
    pub ca_file: Option<PathBuf>,
    /// The URL of the proxy for requests over TLS, from `HTTPS_PROXY` or `ALL_PROXY`. It may contain a
    /// password.
    pub https_proxy: Option<SecretString>,
    /// The variable that named the proxy, if one did.
    pub(crate) proxy_variable: Option<&'static str>,
    /// The hosts that are reached without the proxy, from `NO_PROXY`.
    pub no_proxy: Option<String>,
    /// The command that is run for each new approval request; empty for none.
    pub notify: Vec<String>,
    /// What is done with the audit log.
    pub audit: AuditSettings,
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
    /// Warnings about settings without effect.
    pub warnings: Vec<String>,
    /// The files that the settings were read from; absent if a program made them.
    pub(crate) sources: Option<Arc<Sources>>,
}

impl Settings {
    /// Checks that a call with an account can still be made, for a person who is about to approve it.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if there is no such account any more, or if it is switched off.
    pub(crate) fn check_approvable(&self, account: &str) -> Result<(), Error> {
        let shown = text::printable(account, 60);
        let why = match self.accounts.get(account) {
            Some(own) if own.enabled => return Ok(()),
            Some(_) => format!("the account `{shown}` is switched off"),
            None => format!("there is no account `{shown}` any more"),
        };
        Err(Error::usage(format!("nothing was approved, because {why}, so the call would fail")))
    }

    /// Reads the configuration file, the files that make the policy stricter, and the environment.
    ///
    /// The configuration file is `file`, or the one that `WHEREBY_CONFIG` names, which must exist, or
    /// `config.toml` in the platform's configuration directory, which may be absent.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`], which names the file and the line and says what is expected.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, Error> {
        if let Some(problem) = &environment.problem {
            return Err(Error::configuration(problem.clone()));
        }
        // Before they are read, so that no change is missed.
        let sources = Sources::of(file, environment)?;
        let mut settings = Self::default();
        match ConfigFile::find(file, environment)? {
            Some(named) if named.must_exist || is_there(&named.path)? => {
                let named_by = named.variable.unwrap_or("--config");
                let path = named.checked(environment)?;
                if !is_there(&path)? {
                    let message = format!("there is no such file; {named_by} names it");
                    return Err(in_file(&path, &message));
                }
                settings = Self::read(&path)?;
                settings.file = Some(path);
            }
            Some(named) => named.check_hidden(environment)?,
            None => {}
        }
        if settings.accounts.is_empty() {
            for name in [TOKEN_VARIABLE, API_VARIABLE] {
                if environment.variables.get(name).is_some_and(String::is_empty) {
                    settings.warnings.push(format!("{name} is set but empty"));
                }
            }
            let account = account_of(environment)?;
            settings.accounts.extend(account.map(|account| ("default".into(), account)));
        } else {
            settings.warn_of_unused(environment);
        }
        settings.tighten(environment)?;
        settings.read_proxy(environment);
        settings.sources = Some(Arc::new(sources));
        Ok(settings)
    }

    /// Reads the proxy variables. Upper case takes precedence over lower case, as in Go.
    fn read_proxy(&mut self, environment: &Environment) {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| Some((*name, environment.variable(name)?)))
        };
        let named = first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
        let Some((variable, url)) = named else { return };
        self.proxy_variable = Some(variable);
        self.https_proxy = Some(SecretString::from(url));
        let Some((variable, hosts)) = first(&["NO_PROXY", "no_proxy"]) else { return };
        self.no_proxy = Some(hosts.to_owned());
        let (_, others) = NoProxy::parse(hosts);
        for entry in others.into_iter().take(MAX_PROXY_WARNINGS) {
            self.warnings.push(format!(
                "{variable}: `{}` has no effect; write a host name, .DOMAIN, *.DOMAIN, an IP address, a \
                 network such as 10.0.0.0/8 (each may end in :PORT), or *",
                text::printable(entry, 80)
            ));
        }
    }

    /// Returns every file that [`Settings::load`] reads, whether it exists or not.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if `WHEREBY_CONFIG` is not an absolute path.
    pub fn files(file: Option<&Path>, environment: &Environment) -> Result<Vec<PathBuf>, Error> {
        sources::files(file, environment)
    }

    /// Returns the files that may have rules for calls under these settings.
    pub(crate) fn rule_files(&self, environment: &Environment) -> Vec<PathBuf> {
        self.file.iter().cloned().chain(tightening_files(environment)).collect()
    }

    /// Warns about a token or URL in the environment that is not used.
    fn warn_of_unused(&mut self, environment: &Environment) {
        let Some(file) = &self.file else { return };
        for name in [TOKEN_VARIABLE, API_VARIABLE] {
            let is_named = |account: &Account| matches!(&account.token, TokenSource::Variable(used) if used == name);
            let is_used = self.accounts.values().any(is_named);
            if environment.variable(name).is_some() && !is_used {
                let file = file::shown(file);
                self.warnings.push(format!("{name} has no effect, because {file} has accounts"));
            }
        }
    }

    /// Warns about rules for accounts that do not exist: a name is likely misspelled, and its rule does
    /// not apply. Each file gets at most one warning.
    fn warn_of_unknown_accounts(&mut self) {
        let names: Vec<&str> = self.accounts.keys().map(String::as_str).collect();
        for rules in &self.policy.tightening {
            let is_unknown = |name: &&String| !self.accounts.contains_key(*name);
            let unknown: Vec<&str> =
                rules.accounts.keys().filter(is_unknown).map(String::as_str).collect();
            let file = rules.file.as_deref().map(file::shown).unwrap_or_default();
            self.warnings.push(match unknown.as_slice() {
                [] => continue,
                [name] => {
                    let near = suggest::did_you_mean(name, &names);
                    format!("{file} has rules for the unknown account `{name}`{near}")
                }
                [first, second, ..] => format!(
                    "{file} has rules for {} accounts that do not exist, such as `{first}` and \
                     `{second}`",
                    unknown.len()
                ),
            });
        }
    }

    /// Applies the machine's policy file, and the project files from the working directory up to the root,
    /// which can only make the policy stricter.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if a file cannot be read or contains anything but permissions.
    pub fn tighten(&mut self, environment: &Environment) -> Result<(), Error> {
        self.policy.tightening = tightening(environment)?;
        self.warn_of_unknown_accounts();
        Ok(())
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let contents = file::read(path, MAX_FILE).map_err(|what| in_file(path, &what))?;
        check_writers(path, &contents)?;
        let Access { readable_by_others, is_fixed, .. } = contents.access;
        let text = contents.text().map_err(|what| in_file(path, &what))?;
        let mut settings = reader::settings(path, &text)?;
        for account in settings.accounts.values() {
            if let TokenSource::File(path) = &account.token
                && file::is_fixed_and_readable(path)
            {
                settings.warnings.push(readable_key(path));
            }
        }
        let holds_secret = settings.accounts.values().any(|account| account.token.is_literal());
        if holds_secret && is_fixed {
            settings.warnings.push(readable_key(path));
        } else if holds_secret && readable_by_others {
            return Err(in_file(
                path,
                &format!(
                    "others can read the access token in this file; run: chmod 600 {}",
                    text::shell_word(path)
                ),
            ));
        }
        Ok(settings)
    }

    /// Returns the name of a call's account.
    ///
    /// # Errors
    ///
    /// As for [`Settings::account`], except that the account may be disabled.
    pub(crate) fn account_name(&self, name: Option<&str>) -> Result<&str, Error> {
        self.find(name, false).map(|(name, _)| name.as_str())
    }

    /// Returns the account of a call: the named one, or the default one, which the name `default` means
    /// too.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if no account has the name; [`Error::Configuration`] if there is no default account,
    /// or if the account is disabled.
    pub fn account(&self, name: Option<&str>) -> Result<(&str, &Account), Error> {
        self.choose(name, false)
    }

    /// Sets the default account, if a name is given.
    ///
    /// # Errors
    ///
    /// As for [`Settings::account`].
    pub fn defaulting_to(mut self, name: Option<&str>) -> Result<Self, Error> {
        if name.is_some() {
            self.default_account = Some(self.account(name)?.0.to_owned());
        }
        Ok(self)
    }

    /// Like [`Self::account`]. With `is_exact`, `default` is an account's name.
    pub(crate) fn choose(
        &self,
        name: Option<&str>,
        is_exact: bool,
    ) -> Result<(&str, &Account), Error> {
        let (name, account) = self.find(name, is_exact)?;
        if !account.enabled {
            return Err(Error::configuration(format!(
                "the account `{name}` is switched off; run: whereby configure --account {name} \
                     --enable"
            )));
        }
        Ok((name, account))
    }

    fn find(&self, name: Option<&str>, is_exact: bool) -> Result<(&String, &Account), Error> {
        match name.filter(|name| is_exact || *name != "default") {
            Some(name) => self.accounts.get_key_value(name).ok_or_else(|| {
                let names: Vec<&str> = self.accounts.keys().map(String::as_str).collect();
                let known = match names.as_slice() {
                    [] => "there are no accounts; see `whereby configure --help`".to_owned(),
                    names => format!("the accounts are {}", listed(names)),
                };
                Error::usage(format!(
                    "no account is called `{}`{}; {known}",
                    text::printable(name, 60),
                    suggest::did_you_mean(name, &names)
                ))
            }),
            None => self.default_account(),
        }
    }

    fn default_account(&self) -> Result<(&String, &Account), Error> {
        let by_name = |name: &str| self.accounts.get_key_value(name);
        let only = || self.accounts.first_key_value().filter(|_| self.accounts.len() == 1);
        let found = match &self.default_account {
            Some(name) => by_name(name),
            None => by_name("default").or_else(only),
        };
        found.ok_or_else(|| {
            if self.accounts.is_empty() {
                return Error::configuration(
                    "there is no account; run: whereby setup; without a terminal, pipe the key to: whereby \
                     configure --token-stdin, or set WHEREBY_ACCESS_TOKEN",
                );
            }
            let names: Vec<&str> = self.accounts.keys().map(String::as_str).collect();
            Error::configuration(format!(
                "there are several accounts ({}) and no default: name one with --account, or set \
                 default_account",
                listed(&names)
            ))
        })
    }
}

/// Returns the configuration file to write, which may not exist yet.
pub(crate) fn file_to_use(
    named: Option<&Path>,
    environment: &Environment,
) -> Result<PathBuf, Error> {
    match ConfigFile::find(named, environment)? {
        Some(named) => named.checked(environment),
        None => {
            let reason = environment.own_directory("config").err().unwrap_or_default();
            Err(Error::configuration(format!(
                "there is no directory for the configuration: {reason}, or name a file with \
                     --config"
            )))
        }
    }
}

/// A configuration file, and the source of its path.
struct ConfigFile {
    path: PathBuf,
    /// The variable that names it; absent for `--config`.
    variable: Option<&'static str>,
    must_exist: bool,
}

impl ConfigFile {
    /// Finds the named file, or the platform's. `None` if there is no home directory.
    fn find(named: Option<&Path>, environment: &Environment) -> Result<Option<Self>, Error> {
        if let Some(path) = named {
            let path = environment.directory.join(path);
            return Ok(Some(Self { path, variable: None, must_exist: true }));
        }
        match environment.variable("WHEREBY_CONFIG").map(PathBuf::from) {
            // A relative path would mean another file in another directory.
            Some(path) if path.is_relative() => {
                Err(Error::configuration("WHEREBY_CONFIG must be an absolute path"))
            }
            Some(path) => {
                Ok(Some(Self { path, variable: Some("WHEREBY_CONFIG"), must_exist: true }))
            }
            None => Ok(environment.locate("config").ok().map(|(folder, variable)| Self {
                path: folder.join("config.toml"),
                variable: Some(variable),
                must_exist: false,
            })),
        }
    }

    /// Refuses a variable that leads into a checkout and so hides the rules in the user's own
    /// configuration.
    fn check_hidden(&self, environment: &Environment) -> Result<(), Error> {
        let own = checkout::own_configuration().filter(|own| *own != self.path && own.exists());
        let (Some(own), Some(variable)) = (own, self.variable) else { return Ok(()) };
        environment.check_own(&self.path, variable).map_err(|reason| {
            Error::configuration(format!(
                "{reason}; your own configuration is {}",
                file::shown(&own)
            ))
        })
    }

    /// Returns the path, unless a variable leads into a checkout: a repository's file could send the key
    /// elsewhere or run a command.
    fn checked(self, environment: &Environment) -> Result<PathBuf, Error> {
        if let Some(variable) = self.variable {
            environment.check_own(&self.path, variable).map_err(|reason| {
                let word = text::shell_word(&self.path);
                let message = format!("{reason}, or use that file anyway with --config {word}");
                Error::configuration(message)
            })?;
        }
        Ok(self.path)
    }
}

/// Whether a variable of this program may hold a key or a token, which no other program is to see.
pub(crate) fn is_secret_variable(name: &str) -> bool {
    name.to_ascii_uppercase().starts_with("WHEREBY_")
}

/// Whether a file exists. Fails if that is unknown.
pub(crate) fn is_there(path: &Path) -> Result<bool, Error> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(in_file(path, &format!("cannot be accessed: {error}"))),
    }
}

/// Lists the first names, and the number of others.
fn listed(names: &[&str]) -> String {
    let shown = names[..names.len().min(MAX_NAMES)].join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        others => format!("{shown} and {others} more"),
    }
}

/// Returns the warning about a readable key in a file that only root can change.
fn readable_key(path: &Path) -> String {
    let readers = if file::is_closed_to_others(path) {
        "the members of its group"
    } else {
        "others on this machine"
    };
    format!(
        "{readers} can read the access token in {}, and only root can change that",
        file::shown(path)
    )
}

/// Checks that others cannot write a file.
fn check_writers(path: &Path, contents: &file::Contents) -> Result<(), Error> {
    if !contents.access.writable_by_others {
        return Ok(());
    }
    let word = text::shell_word(path);
    Err(in_file(
        path,
        &format!("others can write this file; make it yours or root's, and run: chmod go-w {word}"),
    ))
}

/// Returns the account from the environment, if it has a token.
fn account_of(environment: &Environment) -> Result<Option<Account>, Error> {
    if environment.variable(TOKEN_VARIABLE).is_none() {
        return Ok(None);
    }
    let api = match environment.variable(API_VARIABLE) {
        None => ApiBase::default(),
        Some(url) => {
            let api = ApiBase::parse(url)
                .map_err(|reason| Error::configuration(format!("WHEREBY_API_URL: {reason}")))?;
            // A repository can set the environment of the people who work in it.
            if !api.is_whereby() && !api.is_loopback() {
                return Err(Error::configuration(
                    "WHEREBY_API_URL must be https://api.whereby.dev or a loopback address; \
                     set another API in the configuration file, as accounts.NAME.api_url",
                ));
            }
            api.set_by(API_VARIABLE, None)
        }
    };
    Ok(Some(Account::new(TokenSource::Variable(TOKEN_VARIABLE.into()), api)))
}

/// Reads the files that can only make the policy stricter: the machine's, then the project files from the
/// working directory up to the root.
fn tightening(environment: &Environment) -> Result<Vec<Rules>, Error> {
    if let Some(problem) = &environment.problem {
        return Err(Error::configuration(problem.clone()));
    }
    let directory = &environment.directory;
    if directory.is_relative() && !directory.as_os_str().is_empty() {
        return Err(in_file(directory, "is not an absolute path, so its parents are not known"));
    }
    let mut files = Vec::new();
    let mut bytes = 0;
    for path in tightening_files(environment) {
        if !is_there(&path)? {
            continue;
        }
        let contents = file::read(&path, MAX_FILE).map_err(|what| in_file(&path, &what))?;
        bytes += contents.bytes.len();
        if files.len() == MAX_TIGHTENING || bytes > MAX_TIGHTENING_BYTES {
            return Err(in_file(
                &path,
                &format!(
                    "too many project files: at most {MAX_TIGHTENING} {PROJECT_FILE} files, {} MiB in \
                     total, from the working directory up; remove some",
                    MAX_TIGHTENING_BYTES / 1024 / 1024
                ),
            ));
        }
        if path == environment.system_policy {
            check_writers(&path, &contents)?;
        }
        let text = contents.text().map_err(|what| in_file(&path, &what))?;
        files.push(reader::rules(&path, &text)?);
    }
    Ok(files)
}

/// Returns the possible paths of these files.
fn tightening_files(environment: &Environment) -> impl Iterator<Item = PathBuf> {
    let folders = environment.directory.ancestors().filter(|folder| folder.is_absolute());
    let projects = folders.map(|folder| folder.join(PROJECT_FILE));
    std::iter::once(environment.system_policy.clone()).chain(projects)
}

/// Says which names an account may have.
pub(crate) fn invalid_account_name(name: &str) -> String {
    invalid_name(name, "an account's")
}

/// Says which names an agent may have: those that an account may have.
pub(crate) fn invalid_agent_name(name: &str) -> String {
    invalid_name(name, "an agent's")
}

fn invalid_name(name: &str, whose: &str) -> String {
    format!(
        "`{}` cannot be {whose} name: use at most 32 lower-case letters, digits, `_` and `-`, begin \
         with a letter, and do not use a function's name",
        text::printable(name, 60)
    )
}

/// Whether an account or an agent may have this name.
#[must_use]
pub(crate) fn is_account_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
    let goes_on =
        bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    begins
        && goes_on
        && name.len() <= 32
        && whereby_catalog::function(&name.replace('-', "_")).is_none()
}
