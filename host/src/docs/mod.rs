//! Reference documentation of the functions, from the catalog.

pub mod search;

use crate::error::{Error, FunctionError, approve};
use crate::exit::Exit;
use serde_json::{Value, json};
use std::fmt::Write as _;
use whereby_authority::arguments::example;
use whereby_authority::grant::WriteOutcome;
use whereby_authority::policy::Effect;
use whereby_authority::table::FunctionRule;
use whereby_catalog::schema;
use whereby_catalog::{Case, ERROR, Facts, Function, Member, Secret, Type, secret};

/// Returns the documentation of a function, in Markdown, with what is allowed of it here.
pub(crate) fn markdown_here(function: &Function, allowed: Option<&str>) -> String {
    let mut out = markdown(function);
    if let Some(allowed) = allowed {
        let _ = write!(out, "\n## Permission\n\n{allowed}\n");
    }
    out
}

/// Returns the documentation of a function, in Markdown.
#[must_use]
pub fn markdown(function: &Function) -> String {
    let mut out = reference(function, function.json, "## Result");
    out.push_str("\n## Errors\n\n");
    for error in errors(function) {
        let ErrorKind { kind, docs, exit, hint, may_have_written } = error;
        let when = if may_have_written { " if nothing was changed" } else { "" };
        let hint = hint.map_or(String::new(), |hint| format!(" To do{when}: {hint}."));
        let _ = writeln!(out, "- `{kind}` (exit status {exit}): {docs}{hint}");
    }
    if FunctionRule::of(function).effect == Effect::Write {
        let exit = Exit::Written.code();
        let _ = writeln!(
            out,
            "\nIf `effect` is `done` or `unknown`, the exit status is {exit}, whatever the error; check \
             the result before repeating the call."
        );
    }
    out.push_str("\n## Example\n\n");
    for (language, text) in examples(function) {
        let text = text.as_str().unwrap_or_default();
        let _ = writeln!(out, "```{language}\n{text}\n```");
    }
    out
}

/// Returns what the reference pages of a function have in common, up to its result. `name` is the name on
/// the page, and `result` is all that comes before the members of the result.
pub(crate) fn reference(function: &Function, name: &str, result: &str) -> String {
    let mut out = format!("# {name}\n\n{}\n\n", function.docs);
    // Writing to memory does not fail.
    let _ = writeln!(out, "Effect: {}.\n\n## Parameters\n", effect(function));
    if function.params.is_empty() {
        out.push_str("None.\n");
    }
    for param in function.params {
        let need = if param.is_optional() { "optional" } else { "required" };
        let ty = required(&param.ty);
        let (name, facts) = (param.json, facts(param.facts));
        let _ = writeln!(out, "- `{name}` ({}, {need}): {}{facts}", type_name(ty), param.docs);
        within(ty, 1, &mut out);
    }
    let _ = write!(out, "\n{result}\n\n");
    within(&function.result, 0, &mut out);
    out
}

/// Returns the documentation of a function, as JSON.
#[must_use]
pub fn json(function: &Function) -> Value {
    let errors = errors(function).map(|error| {
        json!({"kind": error.kind, "description": error.docs, "exit_status": error.exit, "hint": error.hint})
    });
    json!({
        "name": function.json,
        "description": function.docs,
        "effect": FunctionRule::of(function).effect.as_str(),
        "destructive": FunctionRule::of(function).is_destructive,
        "requests": FunctionRule::of(function).requests,
        "arguments": schema::arguments(function),
        "result": schema::result(function),
        "secrets": {
            "arguments": secret_paths(secret::arguments(function)),
            "result": secret_paths(secret::result(function)),
        },
        "errors": errors.collect::<Vec<_>>(),
        "example": example(function),
        "examples": examples(function).into_iter().collect::<serde_json::Map<_, _>>(),
    })
}

/// Returns the paths of the members whose whole value is secret.
fn secret_paths(positions: Vec<secret::Position>) -> Vec<String> {
    let whole = positions.into_iter().filter(|position| position.secret == Secret::Whole);
    whole.map(|position| position.path).collect()
}

/// A kind of error, for the documentation.
struct ErrorKind {
    kind: &'static str,
    docs: String,
    exit: u8,
    hint: Option<String>,
    /// Whether a call that fails with this kind may have changed something.
    may_have_written: bool,
}

/// Returns the errors of the host.
fn host_errors() -> [ErrorKind; 3] {
    [
        (
            "denied",
            "The policy does not allow the call, or the person who was asked declined it. Nothing was sent.",
            Exit::Denied,
            "do what the rules allow, and do not try another way".to_owned(),
        ),
        (
            "approval-required",
            "A person has to approve the call, and nobody could be asked. Nothing was sent.",
            Exit::ApprovalRequired,
            approve("with the command that the hint names"),
        ),
        (
            "component-fault",
            "The component failed, or tried something that the call does not allow.",
            Exit::ComponentFault,
            "do not use that component".to_owned(),
        ),
    ]
    .map(|(kind, docs, exit, hint)| ErrorKind {
        kind,
        docs: docs.to_owned(),
        exit: exit.code(),
        hint: Some(hint),
        may_have_written: false,
    })
}

/// Returns the errors of a function.
fn errors(function: &Function) -> impl Iterator<Item = ErrorKind> {
    ERROR.cases.iter().map(|case| of_case(case, function)).chain(host_errors())
}

fn of_case(case: &Case, function: &Function) -> ErrorKind {
    let error = error_of(case);
    ErrorKind {
        kind: case.json,
        docs: case.docs_after(function),
        exit: Exit::of(&error).code(),
        hint: error.hint(WriteOutcome::None),
        may_have_written: case.after.iter().any(|(name, _)| *name == function.json),
    }
}

/// Returns an error of this kind without details.
pub(crate) fn error_of(case: &Case) -> Error {
    Error::Function(FunctionError {
        kind: case.json,
        message: String::new(),
        http_status: None,
        retry_after_seconds: None,
        hint: None,
        retryable: false,
        place: None,
    })
}

/// Returns an example call of a function in each language.
fn examples(function: &Function) -> [(String, Value); 3] {
    let arguments = example(function);
    let shell = format!("whereby call {} '{arguments}'", function.json);
    let lua = lua_call(function);
    let mcp = json!({"name": format!("whereby_{}", function.json), "arguments": arguments});
    [("sh", shell), ("lua", lua), ("json", mcp.to_string())]
        .map(|(language, text)| (language.to_owned(), Value::from(text)))
}

/// Returns an example call of a function in Lua.
pub(crate) fn lua_call(function: &Function) -> String {
    format!("app.integrations.whereby.{}({})", function.json, to_lua(&example(function)))
}

/// Writes a JSON value in Lua.
fn to_lua(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let members: Vec<String> =
                object.iter().map(|(name, value)| format!("{name} = {}", to_lua(value))).collect();
            if members.is_empty() { "{}".into() } else { format!("{{ {} }}", members.join(", ")) }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(to_lua).collect();
            format!("{{ {} }}", items.join(", "))
        }
        Value::Null => "nil".into(),
        // Strings, numbers and booleans are written as in JSON.
        other => other.to_string(),
    }
}

fn effect(function: &Function) -> String {
    let mut effect = FunctionRule::of(function).effect.as_str().to_owned();
    if FunctionRule::of(function).is_destructive {
        effect.push_str(", destructive");
    }
    format!("{effect}. It may send {}", FunctionRule::of(function).requests.join(", "))
}

fn facts(facts: &Facts) -> String {
    let shown = [
        facts.range.map(|(low, high)| format!(" From {low} to {high}.")),
        facts.length.map(|(least, most)| format!(" {least} to {most} characters.")),
        facts.max_items.map(|most| format!(" At most {most} items.")),
        facts.default.map(|default| format!(" Default: {default}.")),
        facts.example.map(|example| format!(" Example: `{example}`.")),
        (facts.secret == Some(Secret::Whole)).then(|| " Secret.".to_owned()),
    ];
    shown.into_iter().flatten().collect()
}

/// Writes the members of a record, or the cases of a variant or a short enum, with everything inside them.
fn within(ty: &Type, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match ty {
        Type::Option(inner) | Type::List(inner) => within(inner, depth, out),
        Type::Record(record) => {
            for Member { json, ty, docs, facts: known, .. } in record.members {
                let _ =
                    writeln!(out, "{indent}- `{json}` ({}): {docs}{}", type_name(ty), facts(known));
                within(ty, depth + 1, out);
            }
        }
        Type::Variant(variant) => {
            for Case { json, docs, payload, .. } in variant.cases {
                match payload {
                    None => {
                        let _ = writeln!(out, "{indent}- `{{\"{json}\": true}}`: {docs}");
                    }
                    Some(payload) => {
                        let _ = writeln!(
                            out,
                            "{indent}- `{{\"{json}\": …}}` ({}): {docs}",
                            type_name(payload)
                        );
                        within(payload, depth + 1, out);
                    }
                }
            }
        }
        // The name of a longer enum's type lists its cases.
        Type::Enum(choice) if choice.cases.len() <= SHORT => {
            for Case { json, docs, .. } in choice.cases {
                let _ = writeln!(out, "{indent}- `{json}`: {docs}");
            }
        }
        _ => {}
    }
}

/// The maximum number of cases of an enum that are documented one by one.
const SHORT: usize = 8;

fn required(ty: &Type) -> &Type {
    match ty {
        Type::Option(inner) => inner,
        other => other,
    }
}

fn type_name(ty: &Type) -> String {
    match ty {
        Type::Bool => "true or false".into(),
        Type::U16 | Type::U32 | Type::U64 => "integer".into(),
        Type::F64 => "number".into(),
        Type::String => "string".into(),
        Type::Option(inner) => format!("{} or null", type_name(inner)),
        Type::List(inner) => format!("array of {}", type_name(inner)),
        Type::Record(_) => "object".into(),
        Type::Enum(choice) if choice.cases.len() <= SHORT => "one of the following".into(),
        Type::Enum(choice) => {
            let names: Vec<&str> = choice.cases.iter().map(|case| case.json).collect();
            format!("one of {}", names.join(", "))
        }
        Type::Variant(_) => "string or object".into(),
    }
}
