//! JSON Schemas (2020-12) of arguments and results.
//!
//! Schemas of arguments use only what every MCP client and model accepts: one plain `type` per node, optional
//! means not required, and no combinator, `const`, `null` or reference. The descriptions, which models read,
//! have the rest. A `title` is the name of a type in the WIT, for code generators.

use crate::{Case, Facts, Function, Member, Type, Variant};
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value, json};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Returns the schema of a function's arguments: a closed object.
#[must_use]
pub fn arguments(function: &Function) -> Value {
    let mut schema = object(function.params, ARGUMENT);
    schema["$schema"] = DIALECT.into();
    schema["title"] = function.json.into();
    schema["description"] = function.docs.into();
    schema
}

/// Returns the schema of a function's result: an object with every member, null if unknown.
///
/// It has no `format`: strings from Whereby are returned unchanged, and a client that validates results must
/// not reject one.
#[must_use]
pub fn result(function: &Function) -> Value {
    let mut schema = of(&function.result, RESULT);
    schema["$schema"] = DIALECT.into();
    schema
}

/// Returns the schema of a tool's arguments or result, without the description, which the tool has, and
/// without titles, which models do not need.
pub(crate) fn of_tool(function: &Function, purpose: Purpose) -> Map<String, Value> {
    let form = Form { purpose, has_titles: false };
    let schema = match purpose {
        Purpose::Argument => object(function.params, form),
        Purpose::Result => of(&function.result, form),
    };
    let Value::Object(mut schema) = schema else { return Map::new() };
    schema.shift_remove("description");
    schema
}

/// Parses the text of a fact into a value.
#[must_use]
pub fn fact_value(ty: &Type, text: &str) -> Value {
    match ty {
        Type::Option(inner) => fact_value(inner, text),
        Type::String | Type::Enum(_) => Value::String(text.to_owned()),
        _ => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}

/// The use of a schema. An optional argument may be left out; an optional member of a result is present and
/// may be null.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Purpose {
    Argument,
    Result,
}

/// The form of a schema.
#[derive(Clone, Copy)]
struct Form {
    purpose: Purpose,
    /// Whether types have titles.
    has_titles: bool,
}

const ARGUMENT: Form = Form { purpose: Purpose::Argument, has_titles: true };
const RESULT: Form = Form { purpose: Purpose::Result, has_titles: true };

impl Form {
    /// Adds the name of a type as the title.
    fn title(self, name: &str, schema: &mut Value) {
        if self.has_titles {
            schema["title"] = name.into();
        }
    }
}

fn object(members: &[Member], form: Form) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for member in members {
        properties.insert(member.json.to_owned(), property(member, form));
        if form.purpose == Purpose::Result || !member.is_optional() {
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

fn property(member: &Member, form: Form) -> Value {
    let mut schema = of(&member.ty, form);
    apply(member.facts, innermost(&member.ty), form.purpose, &mut schema);
    schema["description"] = description(member).into();
    schema
}

/// Returns the description of a member, with the facts that not every schema has.
fn description(member: &Member) -> String {
    let mut text = member.docs.to_owned();
    if !member.facts.formats.is_empty() {
        text += &format!(" Format: {}.", member.facts.formats.join(" or "));
    }
    if let Some(example) = member.facts.example {
        text += &format!(" Example: {}.", fact_value(&member.ty, example));
    }
    if member.is_secret() {
        text += " Secret.";
    }
    text
}

fn innermost(ty: &Type) -> &Type {
    match ty {
        Type::Option(inner) => innermost(inner),
        other => other,
    }
}

fn apply(facts: &Facts, ty: &Type, purpose: Purpose, schema: &mut Value) {
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
    // The only format that every client knows.
    if purpose == Purpose::Argument && facts.formats == ["date-time"] {
        schema["format"] = "date-time".into();
    }
    if let Some(default) = facts.default {
        schema["default"] = fact_value(ty, default);
    }
}

fn of(ty: &Type, form: Form) -> Value {
    match ty {
        Type::Bool => json!({"type": "boolean"}),
        Type::U16 => json!({"type": "integer", "minimum": 0, "maximum": u16::MAX}),
        Type::U32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        Type::U64 => json!({"type": "integer", "minimum": 0}),
        Type::F64 => json!({"type": "number"}),
        Type::String => json!({"type": "string"}),
        Type::List(inner) => json!({"type": "array", "items": of(inner, form)}),
        Type::Record(record) => {
            let mut schema = object(record.members, form);
            schema["description"] = record.docs.into();
            form.title(record.name, &mut schema);
            schema
        }
        Type::Enum(choice) => {
            let names: Vec<&str> = choice.cases.iter().map(|case| case.json).collect();
            let mut schema = json!({"type": "string", "enum": names});
            form.title(choice.name, &mut schema);
            schema
        }
        Type::Variant(variant) => {
            let mut schema = match form.purpose {
                Purpose::Argument => one_of(variant, form),
                Purpose::Result => {
                    json!({"type": ["string", "object"], "description": variant.docs})
                }
            };
            form.title(variant.name, &mut schema);
            schema
        }
        Type::Option(inner) => match form.purpose {
            Purpose::Argument => of(inner, form),
            Purpose::Result => nullable(of(inner, form)),
        },
    }
}

/// Returns the schema of a variant: an object with a member for each case, a boolean for a case without a
/// payload.
fn one_of(variant: &Variant, form: Form) -> Value {
    let property = |case: &Case| {
        let mut schema = of(case.payload.as_ref().unwrap_or(&Type::Bool), form);
        schema["description"] = case.docs.into();
        (case.json.to_owned(), schema)
    };
    let mut schema = json!({
        "type": "object",
        "properties": variant.cases.iter().map(property).collect::<Map<_, _>>(),
        "additionalProperties": false,
        "description": variant.docs,
    });
    // This distinguishes a variant from a record whose members are all optional. Not every model accepts it.
    if form.has_titles {
        schema["minProperties"] = 1.into();
    }
    schema
}

/// Returns the schema with null as an additional value.
fn nullable(mut schema: Value) -> Value {
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
    if let Some(ty @ Value::String(_)) = schema.get_mut("type") {
        *ty = json!([ty.take(), "null"]);
    }
    schema
}
