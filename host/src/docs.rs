//! Reference documentation of the functions, from the catalogue.

use crate::arguments::example;
use crate::catalog::{ERROR, Facts, Function, Member, Type};
use crate::grant::permitted_requests;
use crate::policy::{effect_of, is_destructive};
use crate::schema;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The documentation of a function, in Markdown.
#[must_use]
pub fn markdown(function: &Function) -> String {
    let mut out = format!("# {}\n\n{}\n\n", function.json, function.docs);
    // Writing to a String does not fail.
    let _ = writeln!(out, "Effect: {}.\n", effect(function));
    out.push_str("## Parameters\n\n");
    if function.params.is_empty() {
        out.push_str("None.\n");
    }
    for param in function.params {
        let need = if param.is_optional() { "optional" } else { "required" };
        let _ = writeln!(
            out,
            "- `{}` ({}, {need}): {}{}",
            param.json,
            type_name(&param.ty),
            param.docs,
            facts(&param.facts)
        );
    }
    out.push_str("\n## Result\n\n");
    members(&function.result, 0, &mut out);
    out.push_str("\n## Errors\n\n");
    for case in ERROR.cases {
        let _ = writeln!(out, "- `{}`: {}", case.json, case.docs);
    }
    let _ = writeln!(
        out,
        "\n## Example\n\n```sh\nwhereby call {} '{}'\n```",
        function.json,
        example(function)
    );
    out
}

/// The documentation of a function, as a JSON document.
#[must_use]
pub fn json(function: &Function) -> Value {
    json!({
        "name": function.json,
        "description": function.docs,
        "effect": effect_of(function).as_str(),
        "destructive": is_destructive(function),
        "requests": permitted_requests(function),
        "arguments": schema::arguments(function),
        "result": schema::result(function),
        "errors": ERROR.cases.iter().map(|case| json!({"kind": case.json, "description": case.docs})).collect::<Vec<_>>(),
        "example": example(function),
    })
}

fn effect(function: &Function) -> String {
    let mut effect = effect_of(function).as_str().to_owned();
    if is_destructive(function) {
        effect.push_str(", destructive");
    }
    format!("{effect}. It may send {}", permitted_requests(function).join(", "))
}

fn facts(facts: &Facts) -> String {
    let mut out = String::new();
    if let Some((low, high)) = facts.range {
        let _ = write!(out, " From {low} to {high}.");
    }
    if let Some((least, most)) = facts.length {
        let _ = write!(out, " {least} to {most} characters.");
    }
    if let Some(most) = facts.max_items {
        let _ = write!(out, " At most {most} items.");
    }
    if let Some(default) = facts.default {
        let _ = write!(out, " Default: {default}.");
    }
    if let Some(example) = facts.example {
        let _ = write!(out, " Example: `{example}`.");
    }
    out
}

fn members(ty: &Type, depth: usize, out: &mut String) {
    let Type::Record(record) = ty else { return };
    for Member { json, ty, docs, .. } in record.members {
        let _ = writeln!(out, "{}- `{json}` ({}): {docs}", "  ".repeat(depth), type_name(ty));
        if let Some(inner) = record_within(ty) {
            members(inner, depth + 1, out);
        }
    }
}

fn record_within(ty: &Type) -> Option<&Type> {
    match ty {
        Type::Option(inner) | Type::List(inner) => record_within(inner),
        Type::Record(_) => Some(ty),
        _ => None,
    }
}

fn type_name(ty: &Type) -> String {
    match ty {
        Type::Bool => "true or false".into(),
        Type::U16 | Type::U32 | Type::U64 => "whole number".into(),
        Type::F64 => "number".into(),
        Type::String => "text".into(),
        Type::Option(inner) => format!("{} or null", type_name(inner)),
        Type::List(inner) => format!("list of {}", type_name(inner)),
        Type::Record(_) => "object".into(),
        Type::Enum(choice) => {
            let names: Vec<String> =
                choice.cases.iter().map(|case| format!("`{}`", case.json)).collect();
            if names.len() > 8 { "text".into() } else { names.join(" or ") }
        }
        Type::Variant(_) => "text or object".into(),
    }
}
