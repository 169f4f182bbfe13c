//! Reads a configuration file key by key. An unknown key is an error.

use crate::config::credentials::TokenSource;
#[cfg(feature = "lua")]
use crate::config::limits::ScriptLimits;
use crate::config::limits::{Limit, Limits};
use crate::config::origin::ApiBase;
use crate::config::toml::{at, in_file, place};
use crate::config::{
    Account, AuditSettings, ComponentFile, Settings, invalid_account_name, invalid_agent_name,
    is_account_name,
};
use crate::error::Error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use whereby_authority::conditions::Condition;
use whereby_authority::policy::{AgentRules, Participants, Rules, Stated, Table};
use whereby_authority::suggest;
use whereby_authority::table::FunctionRule;
use whereby_authority::tables::{self, OTHERWISE, PERMISSION};
use whereby_authority::text;
use whereby_authority::toml::{Document, Error as Invalid, Node, unknown_key};

/// A key of the file, for the reader and for `configure --help`.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// The possible values.
    pub(crate) value: &'static str,
    /// The default, if any.
    pub(crate) default: &'static str,
    pub(crate) what: &'static str,
}

/// The keys outside of tables.
pub(crate) const KEYS: &[Key] = &[
    key("default_account", "NAME", "", "account used when a call names none"),
    key("ca_file", "FILE", "", "PEM file with more certificates to trust"),
];

/// The tables of the file.
const TABLES: [&str; 9] = [
    "permissions",
    "privacy",
    "accounts",
    "agents",
    "approvals",
    "audit",
    "limits",
    "lua",
    "component",
];

/// The keys of `[permissions]` and `[accounts.NAME.permissions]`.
pub(crate) const PERMISSIONS: &[Key] = &[
    key("read", "allow|ask|deny", "allow", "functions that read"),
    key("write", "allow|ask|deny", "ask", "functions that write"),
    key("destination", "allow|ask|deny", "ask", "recording and streaming"),
    key("functions", "allow|ask|deny", "", "one function"),
    key("force", "allow|deny", "allow", "--force may skip approval"),
    key("elicitation", "allow|deny", "allow", "MCP clients may ask you"),
];

/// The keys of `[privacy]`.
pub(crate) const PRIVACY: &[Key] =
    &[key(PARTICIPANTS, "names|pseudonyms|hidden", "names", "what is seen of people")];

/// The key that says what calls see of the people in meetings.
pub(crate) const PARTICIPANTS: &str = "participants";

/// The keys of an account.
pub(crate) const ACCOUNT: &[Key] = &[
    key("access_token", "KEY", "", "the API key itself"),
    key("api_url", "URL", "", "API to call, if not Whereby's"),
    key("enabled", "true|false", "true", "account is switched on"),
    key("permissions", "", "", "permissions of this account"),
    key(PARTICIPANTS, "names|pseudonyms|hidden", "", "what is seen of people"),
];

/// The keys of an agent.
pub(crate) const AGENT: &[Key] = &[
    key("accounts", "[\"NAME\"]", "", "accounts it may use"),
    key("valid_until", "DATE", "", "date that ends its access"),
    key("permissions", "", "", "permissions that can only be stricter than the account's"),
    key(PARTICIPANTS, "names|pseudonyms|hidden", "", "what it sees of people"),
];

/// The keys of `access_token`, which must have exactly one of them.
pub(crate) const TOKEN: &[Key] = &[
    key("env", "VARIABLE", "", "variable that holds the API key"),
    key("file", "FILE", "", "file that holds the API key"),
    key("command", "[\"/PATH\", \"ARG\"]", "", "command that prints the API key"),
];

/// The keys of `[approvals]`.
pub(crate) const APPROVALS: &[Key] = &[
    key("notify", "[\"/PATH\", \"ARG\"]", "", "command to run for a new approval request"),
    key(REQUIRE, PASSKEY, "", "approve with nothing but a passkey"),
];

/// The key in `[approvals]` that says what approves calls, and its one value.
const REQUIRE: &str = "require";
const PASSKEY: &str = "passkey";

/// The keys of `[audit]`.
pub(crate) const AUDIT: &[Key] = &[
    key("keep", "\"400d\"", "", "archive calls that are older"),
    key("head_file", "FILE", "", "file that the newest hash is added to"),
    key("head_command", "[\"/PATH\", \"ARG\"]", "", "command that gets the newest hash"),
    key("head_rows", "1 to 1000000", "100", "publish the hash after this many rows"),
    key("head_minutes", "1 to 1440", "10", "or this many minutes, with new rows"),
];

/// The keys of `[component]`.
pub(crate) const COMPONENT: &[Key] = &[
    key("path", "FILE", "", "component to run instead of the built-in one"),
    key("sha256", "DIGEST", "", "digest that the component must have"),
];

const fn key(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    what: &'static str,
) -> Key {
    Key { name, value, default, what }
}

fn names(keys: &[Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

/// Checks that a file can have a key at this path, whatever its value is.
pub(crate) fn check_key(keys: &[String]) -> Result<(), Error> {
    let mut path: Vec<&str> = Vec::new();
    for key in keys {
        let known = known_under(&path);
        let prefix: String = path.iter().map(|key| format!("{key}.")).collect();
        let message = match known.as_deref() {
            Some([]) => format!("unknown key `{prefix}{key}`: `{}` is not a table", path.join(".")),
            Some(known) if !known.contains(&key.as_str()) => unknown_key(&prefix, key, known),
            _ => {
                path.push(key);
                continue;
            }
        };
        return Err(Error::Configuration { message });
    }
    Ok(())
}

/// Returns the keys that a table can have: `None` for any key, and empty for an unknown table.
fn known_under(path: &[&str]) -> Option<Vec<&'static str>> {
    let permissions = |path: &[&str]| match path {
        [] => names(PERMISSIONS),
        ["functions"] => whereby_catalog::FUNCTIONS.iter().map(|function| function.json).collect(),
        ["functions", name] => whereby_catalog::function(name).map_or_else(Vec::new, |function| {
            [&[PERMISSION, OTHERWISE], FunctionRule::of(function).conditions].concat()
        }),
        _ => Vec::new(),
    };
    Some(match path {
        [] => [&names(KEYS)[..], &TABLES].concat(),
        ["permissions", path @ ..] => permissions(path),
        ["privacy"] => names(PRIVACY),
        ["accounts"] => return None,
        ["accounts", _] => names(ACCOUNT),
        ["accounts", _, "access_token"] => names(TOKEN),
        ["accounts", _, "permissions", path @ ..] => permissions(path),
        ["agents"] => return None,
        ["agents", _] => names(AGENT),
        ["agents", _, "permissions", path @ ..] => permissions(path),
        ["limits"] => limit_names(Limits::TABLE),
        #[cfg(feature = "lua")]
        ["lua"] => limit_names(ScriptLimits::TABLE),
        #[cfg(not(feature = "lua"))]
        ["lua", ..] => return None,
        ["approvals"] => names(APPROVALS),
        ["audit"] => names(AUDIT),
        ["component"] => names(COMPONENT),
        _ => Vec::new(),
    })
}

/// Reads the contents of a configuration file.
pub(crate) fn settings(path: &Path, contents: &str) -> Result<Settings, Error> {
    let settings = read_settings(path, contents).map_err(|invalid| at(path, &invalid))?;
    if let Some(name) = &settings.default_account
        && !settings.accounts.contains_key(name)
        // The name of the account from the environment.
        && !(settings.accounts.is_empty() && name == "default")
    {
        let names: Vec<&str> = settings.accounts.keys().map(String::as_str).collect();
        return Err(in_file(
            path,
            &format!(
                "default_account names the unknown account `{}`{}",
                text::printable(name, 60),
                suggest::did_you_mean(name, &names)
            ),
        ));
    }
    Ok(settings)
}

fn read_settings(path: &Path, contents: &str) -> Result<Settings, Invalid> {
    let file = Document::parse(contents)?;
    let mut settings = Settings::default();
    settings.policy.own.file = Some(path.to_owned());
    let mut participants = Participants::default();
    let known = [&names(KEYS)[..], &TABLES].concat();
    let mut agents = None;
    for (key, node) in file.root().members(&known)? {
        match key {
            // They name accounts, which may come later.
            "agents" => agents = Some(node),
            "default_account" => settings.default_account = Some(node.text(key)?.to_owned()),
            "permissions" => settings.policy.own.all = read_permissions(node, key)?,
            "privacy" => participants = read_privacy(node)?,
            "approvals" => {
                for (key, node) in node.table(key)?.members(&names(APPROVALS))? {
                    match key {
                        REQUIRE => settings.policy.own.requires_passkey = Some(read_require(node)?),
                        key => settings.notify = read_command(node, &format!("approvals.{key}"))?,
                    }
                }
            }
            "audit" => settings.audit = read_audit(node, path)?,
            "limits" => settings.limits = read_limits(node, key, Limits::TABLE)?,
            #[cfg(feature = "lua")]
            "lua" => settings.lua = read_limits(node, key, ScriptLimits::TABLE)?,
            // A program without Lua ignores the table.
            #[cfg(not(feature = "lua"))]
            "lua" => {}
            "component" => settings.component = Some(component(node, path)?),
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
    settings.policy.own.all.participants = participants;
    let agents = agents.map(|node| node.table("agents")).transpose()?;
    for (name, node) in agents.map(|table| table.entries()).unwrap_or_default() {
        if !is_account_name(name) {
            return Err(node.error(&invalid_agent_name(name)));
        }
        let agent = read_agent(node, name, &settings.accounts)?;
        settings.policy.agents.insert(name.to_owned(), agent);
    }
    Ok(settings)
}

/// Reads a file that may only contain permission tables.
pub(crate) fn rules(path: &Path, contents: &str) -> Result<Rules, Error> {
    read_rules(path, contents).map_err(|invalid| at(path, &invalid))
}

fn read_rules(path: &Path, contents: &str) -> Result<Rules, Invalid> {
    let file = Document::parse(contents)?;
    let mut rules = Rules::default();
    rules.file = Some(path.to_owned());
    let mut participants = Participants::default();
    for (key, node) in file.root().entries() {
        match key {
            "permissions" => rules.all = read_permissions(node, key)?,
            "privacy" => participants = read_privacy(node)?,
            "accounts" => {
                for (name, node) in node.table(key)?.entries() {
                    check_account_name(name, node)?;
                    let full = format!("accounts.{name}");
                    let mut participants = Participants::default();
                    for (key, node) in node.table(&full)?.entries() {
                        let full = format!("{full}.{key}");
                        let table = match key {
                            "permissions" => read_permissions(node, &full)?,
                            PARTICIPANTS => {
                                participants = read_participants(node, &full)?;
                                continue;
                            }
                            _ => return Err(only_permissions(node, &full)),
                        };
                        rules.accounts.insert(name.to_owned(), table);
                    }
                    if participants != Participants::default() {
                        let table = rules.accounts.entry(name.to_owned()).or_default();
                        table.participants = participants;
                    }
                }
            }
            "approvals" => {
                for (key, node) in node.table(key)?.members(&names(APPROVALS))? {
                    // It names a program, and a project must not be able to run one.
                    if key != REQUIRE {
                        return Err(node.error(&format!(
                            "`approvals.{key}` is not allowed here: this file must not make the program \
                             run a command; put it in your own configuration file"
                        )));
                    }
                    rules.requires_passkey = Some(read_require(node)?);
                }
            }
            other => return Err(only_permissions(node, other)),
        }
    }
    rules.all.participants = participants;
    Ok(rules)
}

fn only_permissions(node: Node<'_>, key: &str) -> Invalid {
    node.error(&format!(
        "`{}` is not allowed here: this file can only make rules stricter, with [permissions], \
         [privacy], [accounts.NAME.permissions], accounts.NAME.participants and approvals.require; \
         everything else belongs in your own configuration file",
        text::printable(key, 80)
    ))
}

/// Reads what approves calls. Returns the line.
fn read_require(node: Node<'_>) -> Result<usize, Invalid> {
    match node.text("approvals.require")? {
        PASSKEY => Ok(node.line()),
        _ => Err(node.error(&format!("approvals.require must be \"{PASSKEY}\", or left out"))),
    }
}

fn read_privacy(node: Node<'_>) -> Result<Participants, Invalid> {
    let mut participants = Participants::default();
    for (key, node) in node.table("privacy")?.members(&names(PRIVACY))? {
        participants = read_participants(node, &format!("privacy.{key}"))?;
    }
    Ok(participants)
}

fn read_participants(node: Node<'_>, name: &str) -> Result<Participants, Invalid> {
    Participants::parse(node.text(name)?).ok_or_else(|| {
        node.error(&format!("`{name}` must be \"names\", \"pseudonyms\" or \"hidden\""))
    })
}

fn read_permissions(node: Node<'_>, name: &str) -> Result<Table, Invalid> {
    tables::read(&node.table(name)?)
}

fn read_account(node: Node<'_>, name: &str, path: &Path) -> Result<(Account, Table), Invalid> {
    let full = format!("accounts.{name}");
    let (mut token, mut api, mut enabled) = (None, ApiBase::default(), true);
    let (mut table, mut participants) = (Table::default(), Participants::default());
    for (key, node) in node.table(&full)?.members(&names(ACCOUNT))? {
        let full = format!("{full}.{key}");
        match key {
            "access_token" => token = Some(read_token(node, &full, path)?),
            "api_url" => {
                api = ApiBase::parse(node.text(&full)?)
                    .map_err(|reason| node.error(&format!("`{full}`: {reason}")))?
                    .set_by(&full, Some(place(path, node.line())));
            }
            "enabled" => enabled = node.boolean(&full)?,
            PARTICIPANTS => participants = read_participants(node, &full)?,
            _ => table = read_permissions(node, &full)?,
        }
    }
    let token = token.ok_or_else(|| {
        node.error(&format!(
            "[{full}] has no access_token; write access_token = {{ env = \"NAME\" }}, \
             {{ file = \"…\" }}, {{ command = [\"/path\", \"…\"] }} or the token itself"
        ))
    })?;
    table.participants = participants;
    Ok((Account { token, api, enabled }, table))
}

fn read_agent(
    node: Node<'_>,
    name: &str,
    known: &BTreeMap<String, Account>,
) -> Result<AgentRules, Invalid> {
    let full = format!("agents.{name}");
    let mut agent = AgentRules::default();
    for (key, node) in node.table(&full)?.members(&names(AGENT))? {
        let full = format!("{full}.{key}");
        match key {
            "accounts" => {
                let accounts = node.texts(&full)?;
                if accounts.is_empty() {
                    return Err(node.error(&format!(
                        "`{full}` is empty, so the agent could call nothing; name an account, or leave \
                         the key out to allow all accounts"
                    )));
                }
                // The account from the environment is in no file.
                let is_unknown = |name: &&String| !known.is_empty() && !known.contains_key(*name);
                if let Some(unknown) = accounts.iter().find(is_unknown) {
                    let names: Vec<&str> = known.keys().map(String::as_str).collect();
                    return Err(node.error(&format!(
                        "`{full}` names the unknown account `{}`{}",
                        text::printable(unknown, 60),
                        suggest::did_you_mean(unknown, &names)
                    )));
                }
                agent.accounts = Some((accounts, node.line()));
            }
            "valid_until" => {
                let condition = Condition::parse(key, &node.to_json(), None);
                let condition =
                    condition.map_err(|what| node.error(&format!("`{full}` {what}")))?;
                agent.valid_until = Some(Stated { condition, line: node.line() });
            }
            PARTICIPANTS => agent.participants = read_participants(node, &full)?,
            _ => agent.table = read_permissions(node, &full)?,
        }
    }
    Ok(agent)
}

fn read_token(node: Node<'_>, name: &str, path: &Path) -> Result<TokenSource, Invalid> {
    if !node.is_table() {
        return Ok(TokenSource::literal(node.text(name)?));
    }
    let members = node.table(name)?.members(&names(TOKEN))?;
    let [(key, node)] = members.as_slice() else {
        return Err(node.error(&format!("`{name}` must have exactly one of env, file, command")));
    };
    let full = format!("{name}.{key}");
    Ok(match *key {
        "env" => TokenSource::Variable(node.text(&full)?.to_owned()),
        "file" => TokenSource::File(beside(path, node.text(&full)?)),
        _ => TokenSource::Command(read_command(*node, &full)?),
    })
}

/// Reads a program and its arguments.
fn read_command(node: Node<'_>, name: &str) -> Result<Vec<String>, Invalid> {
    let command = node.texts(name)?;
    if command.first().is_none_or(|program| !Path::new(program).is_absolute()) {
        return Err(node.error(&format!("`{name}` must begin with the absolute path of a program")));
    }
    Ok(command)
}

fn read_audit(node: Node<'_>, path: &Path) -> Result<AuditSettings, Invalid> {
    let mut settings = AuditSettings::default();
    for (key, node) in node.table("audit")?.members(&names(AUDIT))? {
        let name = format!("audit.{key}");
        match key {
            "keep" => {
                let days = text_days(node.text(&name)?).ok_or_else(|| {
                    node.error(
                        "`audit.keep` must be a number of days from 1 to 36500, such as \"400d\"",
                    )
                })?;
                settings.keep_days = Some(days);
            }
            "head_file" => settings.head_file = Some(beside(path, node.text(&name)?)),
            "head_command" => settings.head_command = read_command(node, &name)?,
            "head_rows" => settings.head_rows = node.number(&name, 1..1_000_001)?,
            _ => settings.head_minutes = node.number(&name, 1..1_441)?,
        }
    }
    Ok(settings)
}

/// Reads a number of days, such as `400d`.
fn text_days(text: &str) -> Option<u32> {
    let days = text.strip_suffix('d')?.parse().ok()?;
    (1..=36_500).contains(&days).then_some(days)
}

fn component(node: Node<'_>, path: &Path) -> Result<ComponentFile, Invalid> {
    let (mut file, mut sha256) = (None, None);
    for (key, node) in node.table("component")?.members(&names(COMPONENT))? {
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

fn read_limits<L: Default>(node: Node<'_>, table: &str, keys: &[Limit<L>]) -> Result<L, Invalid> {
    let mut limits = L::default();
    for (key, node) in node.table(table)?.members(&limit_names(keys))? {
        if let Some(limit) = keys.iter().find(|limit| limit.name == key) {
            let value = node.number(&format!("{table}.{key}"), limit.least..limit.most + 1)?;
            (limit.set)(&mut limits, value);
        }
    }
    Ok(limits)
}

fn limit_names<L>(keys: &[Limit<L>]) -> Vec<&'static str> {
    keys.iter().map(|limit| limit.name).collect()
}

fn check_account_name(name: &str, node: Node<'_>) -> Result<(), Invalid> {
    if is_account_name(name) {
        return Ok(());
    }
    Err(node.error(&invalid_account_name(name)))
}

/// Resolves a path relative to the directory of the file that names it.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_permissions_are_those_that_are_read() {
        assert_eq!(names(PERMISSIONS), tables::PERMISSIONS);
    }
}
