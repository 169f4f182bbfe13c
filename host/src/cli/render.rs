//! Results as people read them: tables, and a line for each single value.

use crate::text;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value};

/// A JSON value as text for a terminal. Whatever came from outside is made printable.
pub(super) fn render(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(object) => render_object(object, &mut out),
        Value::Array(items) => out.push_str(&render_list(items)),
        other => out.push_str(&scalar(other)),
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn render_object(object: &Map<String, Value>, out: &mut String) {
    let is_list =
        |value: &Value| matches!(value, Value::Array(items) if items.iter().any(Value::is_object));
    let mut lines = table();
    for (name, value) in object.iter().filter(|(_, value)| !is_list(value)) {
        match value {
            Value::Object(inner) => {
                for (key, value) in inner {
                    lines.add_row([text::printable(&format!("{name}.{key}"), 80), scalar(value)]);
                }
            }
            Value::Array(items) if items.is_empty() => {
                lines.add_row([text::printable(name, 80), "none".into()]);
            }
            value => {
                lines.add_row([text::printable(name, 80), scalar(value)]);
            }
        }
    }
    let lists: Vec<_> = object.iter().filter(|(_, value)| is_list(value)).collect();
    // The one list of a page goes first, as it is what was asked for.
    if let ([("data", Value::Array(items))], true) = (lists_of(&lists).as_slice(), true) {
        out.push_str(&render_list(items));
        out.push('\n');
        out.push_str(&trimmed(&lines));
        return;
    }
    out.push_str(&trimmed(&lines));
    for (name, value) in lists {
        if let Value::Array(items) = value {
            out.push_str(&format!("\n{}:\n", text::printable(name, 80)));
            out.push_str(&render_list(items));
        }
    }
}

fn lists_of<'a>(lists: &[(&'a String, &'a Value)]) -> Vec<(&'a str, &'a Value)> {
    lists.iter().map(|(name, value)| (name.as_str(), *value)).collect()
}

/// A table of the items' members; a column that is empty throughout is left out.
fn render_list(items: &[Value]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    for item in items.iter().filter_map(Value::as_object) {
        for (name, value) in item {
            if !value.is_null() && !columns.contains(&name.as_str()) {
                columns.push(name);
            }
        }
    }
    if columns.is_empty() {
        return items.iter().map(|item| scalar(item) + "\n").collect();
    }
    let mut table = table();
    table.set_header(columns.iter().map(|name| text::printable(name, 40)));
    for item in items {
        table.add_row(columns.iter().map(|name| match &item[*name] {
            Value::Null => "-".into(),
            value => scalar(value),
        }));
    }
    trimmed(&table)
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// The table without the padding around it.
fn trimmed(table: &Table) -> String {
    table
        .lines()
        .map(|line| line.trim_end().strip_prefix(' ').unwrap_or("").to_owned() + "\n")
        .collect()
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(value) => text::printable(value, 2000),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(scalar).collect();
            // Sentences follow one another; anything else is a list.
            let sentences = items.iter().all(|item| item.ends_with('.'));
            items.join(if sentences { " " } else { ", " })
        }
        other => text::printable(&other.to_string(), 2000),
    }
}
