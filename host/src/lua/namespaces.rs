//! The names that a script can use: the functions, and its accounts.

use crate::error::Error;
use crate::session::Session;
use mlua::{Table, Value as LuaValue};
use std::collections::BTreeMap;
use whereby_authority::suggest;
use whereby_authority::text;
use whereby_catalog::Function as Known;

/// The path of the functions in a script.
pub(crate) const ROOT: &str = "app.integrations.whereby";

/// The functions and accounts of a script. It does not learn the names of other accounts.
#[derive(Clone, Debug)]
pub(crate) struct Namespaces {
    pub(crate) accounts: Vec<String>,
    /// The functions that the component has.
    pub(crate) known: Vec<&'static Known>,
    /// The account for calls that name none.
    pub(crate) default: Option<String>,
    /// What is allowed of each function that has conditions.
    pub(crate) allowed: BTreeMap<&'static str, String>,
}

impl Namespaces {
    /// Returns the names for all enabled accounts that an agent may use, or for only one of them.
    pub(crate) fn of(
        session: &Session,
        only: Option<&str>,
        agent: Option<&str>,
    ) -> Result<Self, Error> {
        let (settings, known) = (session.settings(), session.functions());
        let (accounts, default): (Vec<String>, _) = match only {
            Some(name) => {
                let name = settings.account(Some(name))?.0.to_owned();
                (vec![name.clone()], Some(name))
            }
            None => {
                let default = match settings.choose_as(agent, None, false) {
                    Ok((name, _)) => Some(name),
                    // The call says that there is no such agent, and is in the audit log.
                    Err(Error::Blocked { .. }) => settings.account_name(None).ok(),
                    Err(_) => None,
                };
                let offered = settings.offered(agent).map(str::to_owned);
                (offered.collect(), default.map(str::to_owned))
            }
        };
        let is_known = |name: &str| accounts.iter().any(|known| known == name);
        let allowed = known.iter().filter_map(|function| {
            Some((function.json, settings.allowed(agent, &[], function, is_known)?))
        });
        let allowed = allowed.collect();
        Ok(Self { accounts, known, default, allowed })
    }

    /// Returns whether a script may use an account with this name.
    pub(crate) fn has(&self, account: &str) -> bool {
        self.accounts.iter().any(|name| name == account)
    }

    /// Returns whether a script may use a function.
    pub(crate) fn has_function(&self, function: &Known) -> bool {
        self.known.iter().any(|known| known.json == function.json)
    }

    /// Returns the error of a call that names no account.
    pub(crate) fn no_default(&self) -> Error {
        let message = match self.accounts.first() {
            None => {
                "no account is configured; the user can add one with `whereby configure`".into()
            }
            Some(first) => format!(
                "there is no default account; use one of {}, as in {ROOT}.{first}.list_rooms({{}})",
                self.accounts.join(", ")
            ),
        };
        Error::configuration(message)
    }

    /// Returns the message for an unknown name.
    pub(crate) fn unknown(&self, path: &str, name: &str) -> String {
        let functions = self.known.iter().map(|function| function.json);
        let mut names: Vec<&str> = match path {
            "app" => vec!["integrations", "parallel", "array", "object"],
            "app.integrations" => vec!["whereby"],
            _ => functions.collect(),
        };
        if path == ROOT {
            names.push("default");
            names
                .extend(self.accounts.iter().map(String::as_str).filter(|name| *name != "default"));
        }
        let near = suggest::did_you_mean(name, &names);
        format!("{path} has no `{}`{near}; it has {}", text::printable(name, 60), names.join(", "))
    }

    /// Returns the names below `app`, for completion.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> =
            ["parallel", "array", "object"].iter().map(|name| format!("app.{name}")).collect();
        let accounts = self.accounts.iter().map(|name| format!(".{name}"));
        for account in [String::new(), ".default".into()].into_iter().chain(accounts) {
            paths.extend(self.known.iter().map(|f| format!("{ROOT}{account}.{}", f.json)));
        }
        paths
    }
}

/// Returns whether a table is a namespace.
pub(crate) fn is_namespace(table: &Table) -> bool {
    let mark = table.metatable().map(|meta| meta.raw_get::<LuaValue>("__metatable"));
    matches!(mark, Some(Ok(LuaValue::String(mark))) if mark == "closed")
}
