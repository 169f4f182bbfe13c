//! `whereby list`, `docs`, `search` and `schema`: describe the functions.

use super::agents::{AgentOpt, end_line};
use super::functions::{self, find};
use super::{CommandError, Context, Output, document, render, table};
use crate::config::Settings;
use crate::docs;
use crate::docs::search;
use crate::error::Error;
use serde_json::{Map, Value, json};
use whereby_authority::arguments::first_sentence;
use whereby_authority::policy::Subject;
use whereby_authority::table::FunctionRule;
use whereby_authority::text;
use whereby_catalog::Function;
use whereby_catalog::schema;

/// List the functions with their permissions and descriptions
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  whereby list\n  whereby list --account work --json")]
pub(super) struct ListOpts {
    #[command(flatten)]
    agent: AgentOpt,
}

impl ListOpts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        let settings = context.settings()?;
        let agent = self.agent.name(context);
        let agent = agent.as_deref();
        let rules = agent.map(|name| settings.agent(name)).transpose()?;
        let may_use = |account: &String| match rules.and_then(|rules| rules.accounts.as_ref()) {
            Some((own, _)) => own.contains(account),
            None => true,
        };
        let only = match context.global.account.as_deref() {
            Some(name) => Some(settings.account_name(Some(name))?),
            None => None,
        };
        let functions: Vec<Value> = context
            .functions()?
            .into_iter()
            .map(|function| {
                let permissions: Map<String, Value> = settings
                    .accounts
                    .keys()
                    .filter(|name| may_use(name) && only.is_none_or(|only| only == *name))
                    .map(|name| {
                        let subject = Subject { agent, ..Subject::of(name, function) };
                        let outlook = settings.policy.outlook(subject, false);
                        let word = outlook.permission.as_str();
                        let shown = match outlook.terms().as_str() {
                            "" => word.to_owned(),
                            terms => format!("{word} ({terms})"),
                        };
                        (name.clone(), shown.into())
                    })
                    .collect();
                json!({
                    "name": function.json,
                    "effect": FunctionRule::of(function).effect.as_str(),
                    "permissions": permissions,
                    "description": first_sentence(function.docs),
                })
            })
            .collect();
        let rows = functions.iter().map(|function| {
            json!({
                "function": function["name"],
                "effect": function["effect"],
                "permission": permission_text(&function["permissions"]),
                "description": function["description"],
            })
        });
        let look = context.look();
        let mut table = render::render(&Value::Array(rows.collect()), &look);
        table += &end_line(&settings, agent, &look);
        let mut document = document("functions", functions.into());
        if let Some(end) = rules.and_then(|rules| rules.valid_until.as_ref()) {
            document["agent_valid_until"] = end.condition.value();
        }
        Ok(Output::text(table, document))
    }
}

/// Returns the accounts' permissions; a single word if they are all the same.
fn permission_text(permissions: &Value) -> String {
    let all: Vec<(&str, &str)> = permissions
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, permission)| Some((name.as_str(), permission.as_str()?)))
        .collect();
    match all.as_slice() {
        [] => String::new(),
        [(_, first), others @ ..] if others.iter().all(|(_, other)| other == first) => {
            (*first).to_owned()
        }
        all => {
            let each = all.iter().map(|(name, permission)| format!("{permission} ({name})"));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Print the documentation of one or all functions, in Markdown
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby docs\n  whereby docs create_room\n  whereby docs --json"
)]
pub(super) struct DocsOpts {
    /// The function (default: all functions, as with `whereby`)
    #[arg(value_parser = functions::name(), hide_possible_values = true)]
    function: Option<String>,
}

impl DocsOpts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        let offered = context.functions()?;
        let functions: Vec<&'static Function> = match self.function.as_deref() {
            None | Some("whereby") => offered,
            Some(name) => vec![offered_by(&offered, find(name)?)?],
        };
        // The documentation needs no configuration.
        let settings = Settings::load(context.global.config.as_deref(), &context.environment).ok();
        let allowed = |function| settings.as_ref()?.allowed(None, &[], function, |_| true);
        let markdown: Vec<String> = functions
            .iter()
            .map(|function| docs::markdown_here(function, allowed(function).as_deref()))
            .collect();
        let documents: Vec<Value> = functions
            .iter()
            .map(|function| {
                let mut found = docs::json(function);
                found["allowed"] = allowed(function).into();
                found
            })
            .collect();
        let text = table::markdown(&markdown.join("\n"), &context.look());
        Ok(Output::text(text, document("functions", documents.into())))
    }
}

/// Search the functions' names, parameters and descriptions
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby search delete room\n  whereby search who attended"
)]
pub(super) struct SearchOpts {
    /// The words to search for
    #[arg(required = true)]
    words: Vec<String>,
}

impl SearchOpts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        let query = self.words.join(" ");
        let offered = context.functions()?;
        let found: Vec<Value> = search::search(&query)
            .into_iter()
            .filter(|function| offered.iter().any(|known| known.json == function.json))
            .map(|function| {
                json!({
                    "name": function.json,
                    "effect": FunctionRule::of(function).effect.as_str(),
                    "description": first_sentence(function.docs),
                })
            })
            .collect();
        let rows = found.iter().map(|found| {
            json!({
                "function": found["name"],
                "effect": found["effect"],
                "description": found["description"],
            })
        });
        let words = text::printable(&query, 100);
        let shown = if found.is_empty() {
            format!("no function matches `{words}`; run: whereby list\n")
        } else {
            render::render(&rows.collect(), &context.look())
        };
        let mut document = json!({"query": query, "functions": found});
        let mut text = shown;
        if let Some(notice) = search::notice(&query) {
            document["notice"] = notice.into();
            text = format!("{}\n{text}", table::paragraph(notice, &context.look()));
        }
        Ok(Output::text(text, document))
    }
}

/// Print the JSON Schema of a function's arguments and result
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  whereby schema list_meetings")]
pub(super) struct SchemaOpts {
    /// The function
    #[arg(value_parser = functions::name(), hide_possible_values = true)]
    function: String,
}

impl SchemaOpts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        let function = offered_by(&context.functions()?, find(&self.function)?)?;
        let schemas = json!({
            "function": function.json,
            "arguments": schema::arguments(function),
            "result": schema::result(function),
        });
        let mut text = serde_json::to_string_pretty(&schemas).unwrap_or_default();
        text.push('\n');
        Ok(Output::text(text, schemas))
    }
}

/// Returns the function, or an error if the component does not have it.
fn offered_by(
    offered: &[&'static Function],
    function: &'static Function,
) -> Result<&'static Function, Error> {
    if offered.iter().any(|known| known.json == function.json) {
        return Ok(function);
    }
    let names: Vec<&str> = offered.iter().map(|function| function.json).collect();
    Err(Error::usage(format!(
        "this component has no {}; it has {}",
        function.json,
        if names.is_empty() { "none of the functions".into() } else { names.join(", ") }
    )))
}
