//! `whereby accounts`: lists the accounts and the sources of their tokens.

use super::{CommandError, Context, Output, render};
use crate::config::{Account, Settings};
use serde_json::{Map, Value, json};
use whereby_authority::policy::{Participants, Subject};
use whereby_catalog::Function;

/// List the accounts, the sources of their access tokens, and their permissions
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  whereby accounts\n  whereby accounts --json")]
pub(super) struct Opts {}

impl Opts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        let settings = context.settings()?;
        let default = settings.account_name(None).ok();
        let functions = context.functions()?;
        let wanted = context.global.account.as_deref();
        let wanted = wanted.map(|name| settings.account_name(Some(name))).transpose()?;
        let accounts: Vec<Value> = settings
            .accounts
            .iter()
            .filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name))
            .map(|(name, account)| {
                describe(&settings, &functions, name, account, default == Some(name))
            })
            .collect();
        let names = Participants::Names.as_str();
        let shows_names = accounts.iter().all(|account| account["participants"] == names);
        let token = |account: &Value| {
            let name = account["name"].as_str()?;
            Some(settings.accounts.get(name)?.token.in_words())
        };
        let rows = accounts.iter().map(|account| {
            let mut row = json!({
                "account": account["name"],
                "state": state(account),
                "permissions": permissions_text(account, functions.len()),
                "access token": token(account),
                "api": account["api_url"],
            });
            if !shows_names {
                row["participants"] = account["participants"].clone();
            }
            row
        });
        let table = if accounts.is_empty() {
            "no accounts; set WHEREBY_ACCESS_TOKEN, or see `whereby configure --help`\n".into()
        } else {
            render::render(&Value::Array(rows.collect()), &context.look())
        };
        let file = settings.file.as_ref().map(|file| file.display().to_string());
        Ok(Output::text(table, json!({"accounts": accounts, "file": file})))
    }
}

/// Returns the state of an account in words: `switched off`, `used by default` or nothing.
fn state(account: &Value) -> &'static str {
    match (account["enabled"] == true, account["default"] == true) {
        (false, _) => "switched off",
        (true, true) => "used by default",
        (true, false) => "",
    }
}

fn describe(
    settings: &Settings,
    functions: &[&'static Function],
    name: &str,
    account: &Account,
    is_default: bool,
) -> Value {
    let (mut permissions, mut conditions) = (Map::new(), Map::new());
    for function in functions {
        let outlook = settings.policy.outlook(Subject::of(name, function), false);
        permissions.insert(function.json.to_owned(), outlook.permission.as_str().into());
        if !outlook.otherwise().is_empty() {
            conditions.insert(function.json.to_owned(), outlook.terms().into());
        }
    }
    json!({
        "name": name,
        "default": is_default,
        "enabled": account.enabled,
        "access_token": account.token.to_json(),
        "api_url": account.api.to_string(),
        "permissions": permissions,
        "conditions": conditions,
        "participants": settings.policy.participants(name, None).as_str(),
    })
}

/// Returns the permissions in a few words, such as `allow all` or `allow 5 functions; deny delete_room`.
fn permissions_text(account: &Value, all: usize) -> String {
    let permissions = &account["permissions"];
    let mut parts = Vec::new();
    for permission in ["allow", "ask", "deny"] {
        let all_names = permissions.as_object().into_iter().flatten();
        let names: Vec<&str> = all_names
            .filter(|(_, own)| *own == permission)
            .map(|(name, _)| name.as_str())
            .collect();
        match names.len() {
            0 => {}
            count if count == all => parts.push(format!("{permission} all")),
            count if count > 3 => parts.push(format!("{permission} {count} functions")),
            _ => parts.push(format!("{permission} {}", names.join(", "))),
        }
    }
    let conditions = account["conditions"].as_object().into_iter().flatten();
    let limited: Vec<&str> = conditions.map(|(name, _)| name.as_str()).collect();
    if !limited.is_empty() {
        parts.push(format!("with conditions: {}", limited.join(", ")));
    }
    parts.join("; ")
}
