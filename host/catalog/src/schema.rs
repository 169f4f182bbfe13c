//! JSON Schema (2020-12) of arguments and results, from the catalogue.
//!
//! Arguments keep to what every MCP client and model takes: one plain `type` a node, optional means
//! not required, and no combinator, `const`, `null` or reference anywhere. What that cannot say stands
//! in the descriptions, which models read.

use crate::{Case, Facts, Function, Member, Type, Variant};
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value, json};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a function's arguments: a closed object.
#[must_use]
pub fn arguments(function: &Function) -> Value {
    let mut schema = object(function.params, Use::Argument);
    schema["$schema"] = DIALECT.into();
    schema["title"] = function.json.into();
    schema["description"] = function.docs.into();
    schema
}

/// The schema of what a function returns: an object with every member, null where unknown.
///
/// It has no `format`: Whereby's texts are passed on as they came, and a client that checks results
/// must not turn one away.
#[must_use]
pub fn result(function: &Function) -> Value {
    let mut schema = of(&function.result, Use::Result);
    schema["$schema"] = DIALECT.into();
    schema["title"] = format!("{} result", function.json).into();
    schema
}

/// The value that a fact's text stands for.
#[must_use]
pub fn fact_value(ty: &Type, text: &str) -> Value {
    match ty {
        Type::Option(inner) => fact_value(inner, text),
        Type::String | Type::Enum(_) => Value::String(text.to_owned()),
        _ => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}

/// An optional argument may be left out; an optional member of a result is there and may be null.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Argument,
    Result,
}

fn object(members: &[Member], purpose: Use) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for member in members {
        properties.insert(member.json.to_owned(), property(member, purpose));
        if purpose == Use::Result || !member.is_optional() {
            required.push(member.json);
        }
    }
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema["additionalProperties"] = false.into();
    schema
}

fn property(member: &Member, purpose: Use) -> Value {
    let mut schema = of(&member.ty, purpose);
    apply(&member.facts, innermost(&member.ty), purpose, &mut schema);
    schema["description"] = described(member).into();
    schema
}

/// What is said of a member, with the facts that its schema does not carry everywhere.
fn described(member: &Member) -> String {
    let mut said = member.docs.to_owned();
    if !member.facts.formats.is_empty() {
        said += &format!(" Format: {}.", member.facts.formats.join(" or "));
    }
    if let Some(example) = member.facts.example {
        said += &format!(" Example: {}.", fact_value(&member.ty, example));
    }
    said
}

fn innermost(ty: &Type) -> &Type {
    match ty {
        Type::Option(inner) => innermost(inner),
        other => other,
    }
}

fn apply(facts: &Facts, ty: &Type, purpose: Use, schema: &mut Value) {
    if let Some((low, high)) = facts.range {
        schema["minimum"] = low.into();
        schema["maximum"] = high.into();
    }
    if let Some((least, most)) = facts.length {
        schema["minLength"] = least.into();
        schema["maxLength"] = most.into();
    }
    if let Some(most) = facts.max_items {
        schema["maxItems"] = most.into();
    }
    // The one format that every client knows.
    if purpose == Use::Argument && facts.formats == ["date-time"] {
        schema["format"] = "date-time".into();
    }
    if let Some(default) = facts.default {
        schema["default"] = fact_value(ty, default);
    }
}

fn of(ty: &Type, purpose: Use) -> Value {
    match ty {
        Type::Bool => json!({"type": "boolean"}),
        Type::U16 => json!({"type": "integer", "minimum": 0, "maximum": u16::MAX}),
        Type::U32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        Type::U64 => json!({"type": "integer", "minimum": 0}),
        Type::F64 => json!({"type": "number"}),
        Type::String => json!({"type": "string"}),
        Type::List(inner) => json!({"type": "array", "items": of(inner, purpose)}),
        Type::Record(record) => {
            let mut schema = object(record.members, purpose);
            schema["description"] = record.docs.into();
            schema
        }
        Type::Enum(choice) => {
            let names: Vec<&str> = choice.cases.iter().map(|case| case.json).collect();
            json!({"type": "string", "enum": names})
        }
        Type::Variant(variant) => match purpose {
            Use::Argument => one_of(variant),
            Use::Result => json!({"type": ["string", "object"], "description": variant.docs}),
        },
        Type::Option(inner) => match purpose {
            Use::Argument => of(inner, purpose),
            Use::Result => nullable(of(inner, purpose)),
        },
    }
}

/// A variant as an object that has a member for each case: a truth for one that carries nothing.
fn one_of(variant: &Variant) -> Value {
    let property = |case: &Case| {
        let mut schema = of(case.payload.as_ref().unwrap_or(&Type::Bool), Use::Argument);
        schema["description"] = case.docs.into();
        (case.json.to_owned(), schema)
    };
    json!({
        "type": "object",
        "properties": variant.cases.iter().map(property).collect::<Map<_, _>>(),
        "additionalProperties": false,
        "description": variant.docs,
    })
}

/// The schema with null among its values.
fn nullable(mut schema: Value) -> Value {
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
    if let Some(ty @ Value::String(_)) = schema.get_mut("type") {
        *ty = json!([ty.take(), "null"]);
    }
    schema
}
