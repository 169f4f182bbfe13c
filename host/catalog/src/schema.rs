//! JSON Schema (2020-12) of arguments and results, from the catalogue.

use crate::{Facts, Function, Member, Type};
use alloc::borrow::ToOwned as _;
use alloc::format;
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
    apply(&member.facts, innermost(&member.ty), &mut schema);
    schema["description"] = member.docs.into();
    schema
}

fn innermost(ty: &Type) -> &Type {
    match ty {
        Type::Option(inner) => innermost(inner),
        other => other,
    }
}

fn apply(facts: &Facts, ty: &Type, schema: &mut Value) {
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
    match facts.formats {
        [] => {}
        [format] => schema["format"] = (*format).into(),
        formats => {
            schema["anyOf"] = formats.iter().map(|format| json!({"format": format})).collect();
        }
    }
    if let Some(default) = facts.default {
        schema["default"] = fact_value(ty, default);
    }
    if let Some(example) = facts.example {
        schema["examples"] = json!([fact_value(ty, example)]);
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
        Type::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| match &case.payload {
                None => json!({"const": case.json, "description": case.docs}),
                Some(payload) => {
                    let payload = of(payload, purpose);
                    json!({
                        "type": "object",
                        "properties": {case.json: payload},
                        "required": [case.json],
                        "additionalProperties": false,
                        "description": case.docs,
                    })
                }
            });
            json!({"oneOf": cases.collect::<Vec<_>>()})
        }
        Type::Option(inner) => nullable(of(inner, purpose)),
    }
}

/// The schema with null among its values.
fn nullable(mut schema: Value) -> Value {
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
    match schema.get_mut("type") {
        Some(Value::String(ty)) => {
            let ty = core::mem::take(ty);
            schema["type"] = json!([ty, "null"]);
            schema
        }
        _ => json!({"anyOf": [schema, {"type": "null"}]}),
    }
}
