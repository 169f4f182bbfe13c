//! `whereby list`, `docs` and `schema`: which functions there are, and how they are called.

use super::{Context, Failure, Output, document, render};
use crate::arguments::first_sentence;
use crate::catalog::{self, FUNCTIONS, Function};
use crate::error::Error;
use crate::policy::effect_of;
use crate::{docs, schema, suggest, text};
use serde_json::{Map, Value, json};

/// Lists the functions, what each does, and the permission in force
#[derive(Debug, clap::Args)]
pub(super) struct ListOpts {}

impl ListOpts {
    pub(super) fn run(self, context: &Context) -> Result<Output, Failure> {
        let settings = context.settings()?;
        let functions: Vec<Value> = FUNCTIONS
            .iter()
            .map(|function| {
                let permissions: Map<String, Value> = settings
                    .accounts
                    .keys()
                    .filter(|name| context.account.as_ref().is_none_or(|only| only == *name))
                    .map(|name| {
                        let verdict = settings.policy.decide(name, function, false);
                        (name.clone(), verdict.permission.as_str().into())
                    })
                    .collect();
                json!({
                    "name": function.json,
                    "effect": effect_of(function).as_str(),
                    "permissions": permissions,
                    "description": first_sentence(function.docs),
                })
            })
            .collect();
        let rows = functions.iter().map(|function| {
            let mut row = Map::new();
            row.insert("function".into(), function["name"].clone());
            row.insert("effect".into(), function["effect"].clone());
            if let Some(permissions) = function["permissions"].as_object() {
                row.extend(permissions.iter().map(|(name, p)| (name.clone(), p.clone())));
            }
            row.insert("description".into(), function["description"].clone());
            Value::Object(row)
        });
        let table = render::render(&Value::Array(rows.collect()));
        Ok(Output::Text(table, document("functions", functions.into())))
    }
}

/// Prints the documentation of the functions, or of one, in Markdown
#[derive(Debug, clap::Args)]
pub(super) struct DocsOpts {
    /// The function; without it, or for whereby, all of them
    function: Option<String>,
}

impl DocsOpts {
    pub(super) fn run(self) -> Result<Output, Failure> {
        let functions: Vec<&Function> = match self.function.as_deref() {
            None | Some("whereby") => FUNCTIONS.iter().collect(),
            Some(name) => vec![find(name)?],
        };
        let markdown: Vec<String> =
            functions.iter().map(|function| docs::markdown(function)).collect();
        let documents: Vec<Value> = functions.iter().map(|function| docs::json(function)).collect();
        Ok(Output::Text(markdown.join("\n"), document("functions", documents.into())))
    }
}

/// Prints the JSON Schema of a function's arguments and result
#[derive(Debug, clap::Args)]
pub(super) struct SchemaOpts {
    /// The function
    function: String,
}

impl SchemaOpts {
    pub(super) fn run(self) -> Result<Output, Failure> {
        let function = find(&self.function)?;
        let schemas = json!({
            "function": function.json,
            "arguments": schema::arguments(function),
            "result": schema::result(function),
        });
        let mut text = serde_json::to_string_pretty(&schemas).unwrap_or_default();
        text.push('\n');
        Ok(Output::Text(text, schemas))
    }
}

fn find(name: &str) -> Result<&'static Function, Error> {
    let plain = name.strip_prefix("whereby.").unwrap_or(name).replace('-', "_");
    let plain = plain.strip_prefix("whereby_").unwrap_or(&plain);
    catalog::function(plain).ok_or_else(|| {
        let names: Vec<&str> = FUNCTIONS.iter().map(|function| function.json).collect();
        Error::Usage {
            message: format!(
                "no function is called `{}`{}; there is {}",
                text::printable(name, 80),
                suggest::did_you_mean(plain, &names),
                names.join(", ")
            ),
        }
    })
}
