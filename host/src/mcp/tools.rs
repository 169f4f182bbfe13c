//! The list of tools under the current settings, and their arguments.

use crate::config::Settings;
use crate::error::Error;
use crate::session::Session;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};
use std::borrow::Cow;
use whereby_authority::policy::{Permission, Restrictions, Subject};
use whereby_authority::suggest;
use whereby_authority::text;
use whereby_catalog::Function;
use whereby_catalog::tool::{self, Hints};

/// The argument that selects an account, if there are several.
const ACCOUNT: &str = "account";

/// Returns the tools of an agent: the component's functions that are not denied for every account, and
/// the script tool if it is offered.
pub(super) fn list(
    session: &Session,
    agent: Option<&str>,
    token: &[Restrictions],
    scripts: bool,
) -> Vec<Tool> {
    let known = session.functions().into_iter();
    let functions =
        known.filter_map(|function| to_tool(function, session.settings(), agent, token));
    #[cfg(feature = "lua")]
    let functions = functions.chain(scripts.then(super::scripts::tool));
    #[cfg(not(feature = "lua"))]
    let _ = scripts;
    let mut tools: Vec<Tool> = functions.collect();
    if session.stores_approvals()
        && tools.iter().any(|tool| may_need_approval(session, agent, tool))
    {
        tools.push(super::tasks::tool());
    }
    tools
}

/// Whether a call of a function may need a person's approval.
fn may_need_approval(session: &Session, agent: Option<&str>, tool: &Tool) -> bool {
    let name = tool.name.strip_prefix(tool::PREFIX);
    let Some(function) = name.and_then(whereby_catalog::function) else { return false };
    let settings = session.settings();
    settings.offered(agent).any(|account| {
        let subject = Subject { agent, ..Subject::of(account, function) };
        settings.policy.may_ask(subject)
    })
}

/// Returns the function of a tool. The error suggests a similar name among the offered tools.
pub(super) fn function(name: &str, offered: &[Tool]) -> Result<&'static Function, String> {
    let known = name.strip_prefix(tool::PREFIX).and_then(whereby_catalog::function);
    known.ok_or_else(|| {
        let names = || offered.iter().map(|tool| tool.name.as_ref());
        let typed = || {
            let bare: Vec<&str> = names().filter_map(|n| n.strip_prefix(tool::PREFIX)).collect();
            let near = suggest::nearest(name.strip_prefix(tool::PREFIX).unwrap_or(name), &bare)?;
            names().find(|tool| tool.strip_prefix(tool::PREFIX) == Some(near))
        };
        let near = whereby_catalog::respelled(name, names()).or_else(typed);
        let near = near.map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
        format!("unknown tool `{}`{near}; tools/list lists them all", text::printable(name, 80))
    })
}

/// Removes the account from a tool's arguments and returns it.
pub(super) fn take_account(
    arguments: &mut JsonObject,
    settings: &Settings,
    agent: Option<&str>,
) -> Result<Option<String>, Error> {
    // With a single account there is no such argument, and the session refuses it as unknown.
    if settings.offered(agent).nth(1).is_none() {
        return Ok(None);
    }
    match arguments.remove(ACCOUNT) {
        None | Some(Value::Null) if settings.choose_as(agent, None, false).is_err() => {
            let names: Vec<&str> = settings.offered(agent).collect();
            Err(Error::InvalidArgument {
                message: format!(
                    "{ACCOUNT}: missing, and there is no default account; choose one of {}",
                    text::printable(&names.join(", "), 500)
                ),
            })
        }
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name)),
        Some(_) => Err(Error::InvalidArgument {
            message: format!("{ACCOUNT}: must be a string, the name of an account"),
        }),
    }
}

/// Returns a function as a tool, or `None` if it is denied for every account.
fn to_tool(
    function: &'static Function,
    settings: &Settings,
    agent: Option<&str>,
    token: &[Restrictions],
) -> Option<Tool> {
    let all: Vec<&str> = settings.offered(agent).collect();
    let may = |account: &str| {
        let subject = Subject { agent, token, ..Subject::of(account, function) };
        settings.policy.outlook(subject, false).permission != Permission::Deny
    };
    let accounts: Vec<&str> = all.iter().copied().filter(|account| may(account)).collect();
    // Without any account the tools are listed, and their calls say what is missing.
    if accounts.is_empty() && !all.is_empty() {
        return None;
    }
    let mut input = tool::input(function);
    if all.len() > 1 {
        let default = settings.choose_as(agent, None, false).ok().map(|(name, _)| name);
        declare_account(&mut input, &accounts, default.filter(|name| accounts.contains(name)));
    }
    let hints = Hints::of(function);
    let title = tool::title(function);
    let annotations = ToolAnnotations::with_title(title.clone())
        .read_only(hints.read_only)
        .destructive(hints.destructive)
        .idempotent(hints.idempotent)
        .open_world(hints.open_world);
    let allowed = settings.allowed(agent, token, function, |name| all.contains(&name));
    let docs = allowed.map_or_else(
        || Cow::Borrowed(function.docs),
        |allowed| Cow::Owned(format!("{}\n\n{allowed}", function.docs)),
    );
    let tool = Tool::new(tool::name(function), docs, input)
        .with_title(title)
        .with_raw_output_schema(tool::output(function).into())
        .with_annotations(annotations);
    Some(tool)
}

fn declare_account(input: &mut JsonObject, accounts: &[&str], default: Option<&str>) {
    let mut account = json!({
        "type": "string",
        "enum": accounts,
        "description": "The Whereby account to use for the call.",
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
