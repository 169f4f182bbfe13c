//! The functions as tools, under the settings of the moment.

use crate::catalog::{self, FUNCTIONS, Function};
use crate::config::Settings;
use crate::error::Error;
use crate::policy::{Effect, Permission, effect_of, is_destructive};
use crate::{schema, suggest, text};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

/// What stands before a function's name in the name of its tool.
const PREFIX: &str = "whereby_";

/// The argument by which an account is chosen, where there are several.
const ACCOUNT: &str = "account";

/// The tools: the functions that are not denied for every account, and scripts where they are offered.
pub(super) fn list(settings: &Settings, scripts: bool) -> Vec<Tool> {
    let functions = FUNCTIONS.iter().filter_map(|function| tool(function, settings));
    functions.chain(scripts.then(script_tool).flatten()).collect()
}

#[cfg(feature = "lua")]
fn script_tool() -> Option<Tool> {
    Some(super::scripts::tool())
}

#[cfg(not(feature = "lua"))]
fn script_tool() -> Option<Tool> {
    None
}

/// The function that a tool stands for.
pub(super) fn function(name: &str) -> Result<&'static Function, String> {
    let known = name.strip_prefix(PREFIX).and_then(catalog::function);
    known.ok_or_else(|| {
        let names: Vec<String> = FUNCTIONS.iter().map(tool_name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let near = suggest::did_you_mean(name, &names);
        format!("no tool is called `{}`{near}", text::printable(name, 80))
    })
}

/// Takes the account out of a tool's arguments.
pub(super) fn take_account(
    arguments: &mut JsonObject,
    settings: &Settings,
) -> Result<Option<String>, Error> {
    // Where there is but one, no argument is called so, and one that is given is refused like any other.
    if enabled(settings).nth(1).is_none() {
        return Ok(None);
    }
    match arguments.remove(ACCOUNT) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name)),
        Some(_) => Err(Error::InvalidArgument {
            message: format!("{ACCOUNT}: not the name of an account"),
        }),
    }
}

fn tool_name(function: &Function) -> String {
    format!("{PREFIX}{}", function.json)
}

fn enabled(settings: &Settings) -> impl Iterator<Item = &str> {
    settings.accounts.iter().filter(|(_, account)| account.enabled).map(|(name, _)| name.as_str())
}

fn tool(function: &'static Function, settings: &Settings) -> Option<Tool> {
    let all: Vec<&str> = enabled(settings).collect();
    let may = |account: &str| {
        settings.policy.decide(account, function, false).permission != Permission::Deny
    };
    let accounts: Vec<&str> = all.iter().copied().filter(|account| may(account)).collect();
    // Where there is no account at all, the tools are listed and their calls say what is missing.
    if accounts.is_empty() && !all.is_empty() {
        return None;
    }
    let mut input = plain(schema::arguments(function));
    if all.len() > 1 {
        let default = settings.account(None).ok().map(|(name, _)| name);
        declare_account(&mut input, &accounts, default.filter(|name| accounts.contains(name)));
    }
    let reads = effect_of(function) == Effect::Read;
    let title = title(function);
    let annotations = ToolAnnotations::with_title(title.clone())
        .read_only(reads)
        .destructive(is_destructive(function))
        // What is deleted stays deleted, however often that is asked for.
        .idempotent(reads || is_destructive(function))
        .open_world(true);
    let tool = Tool::new(tool_name(function), function.docs, input)
        .with_title(title)
        .with_raw_output_schema(plain(schema::result(function)).into())
        .with_annotations(annotations);
    Some(tool)
}

/// `list-rooms` as `List rooms`.
fn title(function: &Function) -> String {
    let words = function.name.replace('-', " ");
    let (first, rest) = words.split_at(1);
    first.to_uppercase() + rest
}

/// The schema without what the tool says already.
fn plain(schema: Value) -> JsonObject {
    let Value::Object(mut schema) = schema else { return JsonObject::new() };
    for name in ["$schema", "title", "description"] {
        schema.shift_remove(name);
    }
    schema
}

fn declare_account(input: &mut JsonObject, accounts: &[&str], default: Option<&str>) {
    let mut account = json!({
        "type": "string",
        "enum": accounts,
        "description": "The Whereby account by which the call is made.",
    });
    match default {
        Some(default) => account["default"] = default.into(),
        None => {
            let required = input.entry("required").or_insert_with(|| json!([]));
            if let Value::Array(required) = required {
                required.push(ACCOUNT.into());
            }
        }
    }
    if let Some(Value::Object(properties)) = input.get_mut("properties") {
        properties.insert(ACCOUNT.into(), account);
    }
}
