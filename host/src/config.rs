//! Settings: what the configuration file, the project's files and the environment come to.

use crate::credentials::TokenSource;
use crate::error::Error;
use crate::limits::Limits;
use crate::origin::ApiBase;
use crate::policy::{Effect, Entry, Permission, Policy, Rules, Table};
use crate::toml_reader::{Node, TableNode, TomlFile, in_file};
use crate::{catalog, suggest, text};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Where the policy of the machine stands.
pub const SYSTEM_POLICY: &str = "/etc/whereby/policy.toml";

/// The name of the file by which a project folder makes the policy stricter.
pub const PROJECT_FILE: &str = ".whereby.toml";

/// The greatest size of a configuration file, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// What surrounds the program: all that it takes from outside besides its arguments.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Environment {
    /// The environment variables.
    pub variables: BTreeMap<String, String>,
    /// The working directory, from which project files are looked for.
    pub directory: PathBuf,
    /// The policy of the machine, [`SYSTEM_POLICY`].
    pub system_policy: PathBuf,
}

impl Environment {
    /// No variables, and no working directory.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            variables: BTreeMap::new(),
            directory: PathBuf::new(),
            system_policy: PathBuf::from(SYSTEM_POLICY),
        }
    }

    /// That of this process.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] where the working directory cannot be found: the project files that
    /// might make the policy stricter could not be read.
    pub fn of_process() -> Result<Self, Error> {
        let directory = std::env::current_dir().map_err(|error| Error::Configuration {
            message: format!("the working directory cannot be found: {error}"),
        })?;
        // A variable that is not UTF-8 is none of ours.
        let variables = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(Self { variables, directory, system_policy: PathBuf::from(SYSTEM_POLICY) })
    }

    /// A variable that is set and not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A directory of the platform's kind for `config` or `cache`, with `whereby` in it.
    #[must_use]
    pub fn platform_directory(&self, kind: &str) -> Option<PathBuf> {
        let (variable, unix, mac) = match kind {
            "config" => ("XDG_CONFIG_HOME", ".config", "Library/Application Support"),
            "cache" => ("XDG_CACHE_HOME", ".cache", "Library/Caches"),
            _ => return None,
        };
        let xdg = self.variable(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = self.variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let base =
            xdg.or_else(|| Some(home?.join(if cfg!(target_os = "macos") { mac } else { unix })))?;
        Some(base.join("whereby"))
    }
}

/// An account: a credential, and where it may be sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Account {
    /// Where its access token comes from.
    pub token: TokenSource,
    /// The base of its API.
    pub api: ApiBase,
    /// Whether it may be used.
    pub enabled: bool,
}

impl Account {
    /// An account that is switched on.
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
    /// The SHA-256 that it must have, in lower-case hexadecimal.
    pub sha256: Option<String>,
}

/// Everything that is configured.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// The accounts, by name.
    pub accounts: BTreeMap<String, Account>,
    /// The account that a call without one means.
    pub default_account: Option<String>,
    /// The rules.
    pub policy: Policy,
    /// The limits of a call.
    pub limits: Limits,
    /// The component, where not the built-in one.
    pub component: Option<ComponentFile>,
    /// A file of certificates, in PEM, that are trusted besides the built-in ones.
    pub ca_file: Option<PathBuf>,
    /// Where a proxy for requests over TLS is, from the environment.
    pub https_proxy: Option<String>,
    /// For which hosts no proxy is used, from the environment.
    pub no_proxy: Option<String>,
    /// The configuration file that was read.
    pub file: Option<PathBuf>,
}

impl Settings {
    /// Reads the configuration file, the files that make the policy stricter, and the environment.
    ///
    /// The file is `file` where given, else `WHEREBY_CONFIG`, which both must exist, else
    /// `config.toml` in the platform's configuration directory, which need not.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`], which names the file, the line and what would be right.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, Error> {
        let named = file
            .map(Path::to_owned)
            .or_else(|| environment.variable("WHEREBY_CONFIG").map(PathBuf::from));
        let path = match named {
            Some(path) => Some(environment.directory.join(path)),
            None => environment
                .platform_directory("config")
                .map(|directory| directory.join("config.toml"))
                .filter(|path| path.symlink_metadata().is_ok()),
        };
        let mut settings = match &path {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        settings.file = path;
        if settings.accounts.is_empty()
            && let Some(account) = account_of(environment)?
        {
            settings.accounts.insert("default".into(), account);
        }
        settings.policy.tightening = tightening(environment)?;
        let variable = |names: [&str; 2]| names.iter().find_map(|name| environment.variable(name));
        settings.https_proxy = variable(["HTTPS_PROXY", "https_proxy"]).map(str::to_owned);
        settings.no_proxy = variable(["NO_PROXY", "no_proxy"]).map(str::to_owned);
        Ok(settings)
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let (contents, mode) = read_file(path)?;
        if mode.writable_by_others {
            return Err(in_file(
                path,
                &format!("others can write this file; run: chmod go-w {}", shell_word(path)),
            ));
        }
        let file = TomlFile::parse(path, contents)?;
        let mut settings = Self::default();
        settings.policy.own.file = Some(path.to_owned());
        let known =
            ["default_account", "permissions", "accounts", "limits", "component", "ca_file"];
        for (key, node) in file.root().members(&known)? {
            match key {
                "default_account" => settings.default_account = Some(node.text(key)?.to_owned()),
                "permissions" => settings.policy.own.all = read_permissions(node, key)?,
                "limits" => settings.limits = read_limits(node)?,
                "component" => settings.component = Some(read_component(node, path)?),
                "ca_file" => settings.ca_file = Some(beside(path, node.text(key)?)),
                _ => {
                    for (name, node) in node.table(key)?.entries() {
                        check_account_name(name, node)?;
                        let (account, table) = read_account(node, name, path)?;
                        settings.accounts.insert(name.to_owned(), account);
                        settings.policy.own.accounts.insert(name.to_owned(), table);
                    }
                }
            }
        }
        if let Some(name) = &settings.default_account
            && !settings.accounts.contains_key(name)
        {
            let names: Vec<&str> = settings.accounts.keys().map(String::as_str).collect();
            return Err(in_file(
                path,
                &format!(
                    "default_account names `{}`, which is no account here{}",
                    text::printable(name, 60),
                    suggest::did_you_mean(name, &names)
                ),
            ));
        }
        let holds_secret = settings.accounts.values().any(|account| account.token.is_literal());
        if holds_secret && mode.readable_by_others {
            return Err(in_file(
                path,
                &format!(
                    "others can read the access token in this file; run: chmod 600 {}",
                    shell_word(path)
                ),
            ));
        }
        Ok(settings)
    }

    /// Finds the account of a call: the one named, else the default one. The name `default` means
    /// the default account, too.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] where no account has the name, [`Error::Configuration`] where there is no
    /// account to choose, or it is switched off.
    pub fn account(&self, name: Option<&str>) -> Result<(&str, &Account), Error> {
        let chosen = match name.filter(|name| *name != "default") {
            Some(name) => self.accounts.get_key_value(name).ok_or_else(|| {
                let names: Vec<&str> = self.accounts.keys().map(String::as_str).collect();
                let known = match names.as_slice() {
                    [] => "there is none; see `whereby configure --help`".to_owned(),
                    names => format!("the accounts are {}", names.join(", ")),
                };
                Error::Usage {
                    message: format!(
                        "no account is called `{}`{}; {known}",
                        text::printable(name, 60),
                        suggest::did_you_mean(name, &names)
                    ),
                }
            })?,
            None => self.default_account()?,
        };
        let (name, account) = chosen;
        if !account.enabled {
            return Err(Error::Configuration {
                message: format!(
                    "the account `{name}` is switched off; set accounts.{name}.enabled = true"
                ),
            });
        }
        Ok((name, account))
    }

    fn default_account(&self) -> Result<(&String, &Account), Error> {
        let by_name = |name: &str| self.accounts.get_key_value(name);
        let only = || match self.accounts.len() {
            1 => self.accounts.first_key_value(),
            _ => None,
        };
        let found = match &self.default_account {
            Some(name) => by_name(name),
            None => by_name("default").or_else(only),
        };
        found.ok_or_else(|| Error::Configuration {
            message: if self.accounts.is_empty() {
                "there is no account: set WHEREBY_ACCESS_TOKEN, or write an account into the \
                 configuration file"
                    .into()
            } else {
                let names: Vec<&str> = self.accounts.keys().map(String::as_str).collect();
                format!(
                    "there are several accounts ({}) and no default: name one with --account, or \
                     set default_account",
                    names.join(", ")
                )
            },
        })
    }
}

/// The account that the environment makes, where it holds a token.
fn account_of(environment: &Environment) -> Result<Option<Account>, Error> {
    let Some(token) = environment.variable("WHEREBY_ACCESS_TOKEN") else { return Ok(None) };
    let api = match environment.variable("WHEREBY_API_URL") {
        None => ApiBase::default(),
        Some(url) => {
            let api = ApiBase::parse(url).map_err(|reason| Error::Configuration {
                message: format!("WHEREBY_API_URL: {reason}"),
            })?;
            // A repository can set the environment of whoever works in it.
            if !api.is_whereby() && !api.is_loopback() {
                return Err(Error::Configuration {
                    message: "WHEREBY_API_URL may name https://api.whereby.dev or a loopback \
                              address, and nothing else; another API goes into the configuration \
                              file, as accounts.NAME.api_url"
                        .into(),
                });
            }
            api
        }
    };
    Ok(Some(Account::new(TokenSource::literal(token), api)))
}

/// The files that can only make the policy stricter: the machine's, then the project's from the
/// working directory up to the root.
fn tightening(environment: &Environment) -> Result<Vec<Rules>, Error> {
    let mut paths = vec![environment.system_policy.clone()];
    let absolute = environment.directory.is_absolute();
    let folders = environment.directory.ancestors().take_while(|_| absolute);
    paths.extend(folders.map(|folder| folder.join(PROJECT_FILE)));
    let mut files = Vec::new();
    for path in paths {
        match path.symlink_metadata() {
            Ok(_) => files.push(read_rules(&path)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // A part of the path that is no folder holds no file either.
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {}
            Err(error) => return Err(in_file(&path, &format!("cannot be looked for: {error}"))),
        }
    }
    Ok(files)
}

/// Reads a file that holds permission tables and nothing else.
fn read_rules(path: &Path) -> Result<Rules, Error> {
    let (contents, _) = read_file(path)?;
    let file = TomlFile::parse(path, contents)?;
    let mut rules = Rules { file: Some(path.to_owned()), ..Rules::default() };
    for (key, node) in file.root().entries() {
        match key {
            "permissions" => rules.all = read_permissions(node, key)?,
            "accounts" => {
                for (name, node) in node.table(key)?.entries() {
                    check_account_name(name, node)?;
                    let full = format!("accounts.{name}");
                    for (key, node) in node.table(&full)?.entries() {
                        if key != "permissions" {
                            return Err(only_permissions(node, &format!("{full}.{key}")));
                        }
                        let table = read_permissions(node, &format!("{full}.permissions"))?;
                        rules.accounts.insert(name.to_owned(), table);
                    }
                }
            }
            other => return Err(only_permissions(node, other)),
        }
    }
    Ok(rules)
}

fn only_permissions(node: Node<'_>, key: &str) -> Error {
    node.error(&format!(
        "`{}` may not stand here: this file can only make permissions stricter, with [permissions] \
         and [accounts.NAME.permissions]; everything else belongs in your own configuration file",
        text::printable(key, 80)
    ))
}

fn read_permissions(node: Node<'_>, name: &str) -> Result<Table, Error> {
    let mut table = Table::default();
    let known = ["read", "write", "destination", "functions", "force", "elicitation"];
    for (key, node) in node.table(name)?.members(&known)? {
        let full = format!("{name}.{key}");
        match key {
            "functions" => {
                let names: Vec<&str> = catalog::FUNCTIONS.iter().map(|f| f.json).collect();
                for (function, node) in functions(node.table(&full)?, &names)? {
                    let entry = read_entry(node, &format!("{full}.{function}"), true)?;
                    table.functions.insert(function.to_owned(), entry);
                }
            }
            "force" => table.force = Some(read_entry(node, &full, false)?),
            "elicitation" => table.elicitation = Some(read_entry(node, &full, false)?),
            _ => {
                if let Some(effect) = Effect::ALL.into_iter().find(|e| e.as_str() == key) {
                    table.effects.insert(effect, read_entry(node, &full, true)?);
                }
            }
        }
    }
    Ok(table)
}

fn functions<'a>(table: TableNode<'a>, names: &[&str]) -> Result<Vec<(&'a str, Node<'a>)>, Error> {
    table.members(names)
}

fn read_entry(node: Node<'_>, name: &str, may_ask: bool) -> Result<Entry, Error> {
    let permission = Permission::parse(node.text(name)?)
        .filter(|permission| may_ask || *permission != Permission::Ask);
    match permission {
        Some(permission) => Ok(Entry { permission, line: node.line() }),
        None if may_ask => {
            Err(node.error(&format!("`{name}` must be \"allow\", \"ask\" or \"deny\"")))
        }
        None => Err(node.error(&format!("`{name}` must be \"allow\" or \"deny\""))),
    }
}

fn read_account(node: Node<'_>, name: &str, path: &Path) -> Result<(Account, Table), Error> {
    let full = format!("accounts.{name}");
    let (mut token, mut api, mut enabled) = (None, ApiBase::default(), true);
    let mut table = Table::default();
    let known = ["access_token", "api_url", "enabled", "permissions"];
    for (key, node) in node.table(&full)?.members(&known)? {
        let full = format!("{full}.{key}");
        match key {
            "access_token" => token = Some(read_token(node, &full, path)?),
            "api_url" => {
                api = ApiBase::parse(node.text(&full)?)
                    .map_err(|reason| node.error(&format!("`{full}`: {reason}")))?;
            }
            "enabled" => enabled = node.boolean(&full)?,
            _ => table = read_permissions(node, &full)?,
        }
    }
    let token = token.ok_or_else(|| {
        node.error(&format!(
            "[{full}] has no access_token; write access_token = {{ env = \"NAME\" }}, \
             {{ file = \"…\" }}, {{ command = [\"/path\", \"…\"] }} or the token itself"
        ))
    })?;
    Ok((Account { token, api, enabled }, table))
}

fn read_token(node: Node<'_>, name: &str, path: &Path) -> Result<TokenSource, Error> {
    if !node.is_table() {
        return Ok(TokenSource::literal(node.text(name)?));
    }
    let members = node.table(name)?.members(&["env", "file", "command"])?;
    let [(key, node)] = members.as_slice() else {
        return Err(node.error(&format!("`{name}` must have exactly one of env, file, command")));
    };
    let full = format!("{name}.{key}");
    Ok(match *key {
        "env" => TokenSource::Variable(node.text(&full)?.to_owned()),
        "file" => TokenSource::File(beside(path, node.text(&full)?)),
        _ => {
            let command = node.texts(&full)?;
            if command.first().is_none_or(|program| !Path::new(program).is_absolute()) {
                return Err(
                    node.error(&format!("`{full}` must begin with the absolute path of a program"))
                );
            }
            TokenSource::Command(command)
        }
    })
}

fn read_component(node: Node<'_>, path: &Path) -> Result<ComponentFile, Error> {
    let (mut file, mut sha256) = (None, None);
    for (key, node) in node.table("component")?.members(&["path", "sha256"])? {
        match key {
            "path" => file = Some(beside(path, node.text("component.path")?)),
            _ => {
                let digest = node.text("component.sha256")?.to_ascii_lowercase();
                if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(node.error("`component.sha256` must have 64 hexadecimal digits"));
                }
                sha256 = Some(digest);
            }
        }
    }
    let path = file.ok_or_else(|| node.error("[component] has no path"))?;
    Ok(ComponentFile { path, sha256 })
}

fn read_limits(node: Node<'_>) -> Result<Limits, Error> {
    let mut limits = Limits::default();
    let names: Vec<&str> = Limits::TABLE.iter().map(|limit| limit.name).collect();
    for (key, node) in node.table("limits")?.members(&names)? {
        if let Some(limit) = Limits::TABLE.iter().find(|limit| limit.name == key) {
            let value = node.number(&format!("limits.{key}"), limit.least..limit.most + 1)?;
            (limit.set)(&mut limits, value);
        }
    }
    Ok(limits)
}

fn check_account_name(name: &str, node: Node<'_>) -> Result<(), Error> {
    if is_account_name(name) {
        return Ok(());
    }
    Err(node.error(&format!(
        "`{}` cannot be an account's name: it begins with a lower-case letter, has at most 32 \
         lower-case letters, digits, `_` and `-`, and is no function's name",
        text::printable(name, 60)
    )))
}

/// Whether an account may be called so.
#[must_use]
pub fn is_account_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
    let goes_on =
        bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    begins && goes_on && name.len() <= 32 && catalog::function(name).is_none()
}

/// A path that a file names, relative to the folder of that file.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

fn shell_word(path: &Path) -> String {
    format!("'{}'", text::printable(&path.display().to_string(), 300).replace('\'', "'\\''"))
}

/// Who besides its owner can do what with a file.
#[derive(Clone, Copy)]
struct Mode {
    readable_by_others: bool,
    writable_by_others: bool,
}

/// Reads a regular file of a bounded size: a pipe would make the program wait for ever.
fn read_file(path: &Path) -> Result<(String, Mode), Error> {
    let unreadable = |error: std::io::Error| in_file(path, &format!("cannot be read: {error}"));
    // What a link stands for is looked at before it is opened: opening a pipe waits.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(in_file(path, "is not a file"));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = mode_of(&file.metadata().map_err(unreadable)?);
    let mut contents = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut contents).map_err(unreadable)?;
    if contents.len() as u64 > MAX_FILE {
        return Err(in_file(path, &format!("is larger than {MAX_FILE} bytes")));
    }
    let contents = String::from_utf8(contents).map_err(|_| in_file(path, "is not UTF-8"))?;
    Ok((contents, mode))
}

#[cfg(unix)]
fn mode_of(metadata: &std::fs::Metadata) -> Mode {
    use std::os::unix::fs::MetadataExt as _;
    let mode = metadata.mode();
    Mode { readable_by_others: mode & 0o044 != 0, writable_by_others: mode & 0o022 != 0 }
}

#[cfg(not(unix))]
fn mode_of(_: &std::fs::Metadata) -> Mode {
    Mode { readable_by_others: false, writable_by_others: false }
}
