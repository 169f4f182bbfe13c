//! Adds an entry to a TOML file.

use super::{Edits, Launch, NAME, another_kind, changes_arguments};
use toml_edit::{Document, Item};

/// The table of MCP servers.
pub(in super::super) const SERVERS: &str = "mcp_servers";

pub(super) fn edits(body: &str, launch: &Launch) -> Result<Edits, String> {
    let document = Document::parse(body).map_err(|error| {
        let before = error.span().and_then(|span| body.get(..span.start)).unwrap_or_default();
        format!("is not valid TOML (line {})", before.matches('\n').count() + 1)
    })?;
    let newline = if body.contains("\r\n") { "\r\n" } else { "\n" };
    let (command, arguments) = (quoted(&launch.command), list(&launch.arguments));
    let entry = document.get(SERVERS).and_then(|servers| servers.get(NAME));
    let Some(entry) = entry else {
        let mut new = String::new();
        if !body.is_empty() && !body.ends_with('\n') {
            new += newline;
        }
        if !body.trim().is_empty() {
            new += newline;
        }
        new += &format!(
            "[{SERVERS}.{NAME}]{newline}command = {command}{newline}args = {arguments}{newline}"
        );
        return Ok(Edits::adding(vec![(body.len()..body.len(), new)]));
    };
    let found = |key: &str| entry.get(key).filter(|item| !item.is_none());
    let is_over_http = found("url").is_some_and(Item::is_str);
    if is_over_http && found("command").is_none() && found("args").is_none() {
        return Ok(Edits { edits: Vec::new(), had_entry: true });
    }
    let value = |key: &str| found(key).and_then(|item| Some((item.as_value()?, item.span()?)));
    let (None, Some((own, command_at)), Some((words, arguments_at))) =
        (found("url"), value("command"), value("args"))
    else {
        return Err(another_kind(SERVERS));
    };
    let own = own.as_str().ok_or_else(|| another_kind(SERVERS))?;
    let words: Option<Vec<&str>> =
        words.as_array().and_then(|words| words.iter().map(|word| word.as_str()).collect());
    let is_changed = words
        .and_then(|words| changes_arguments(own, &words, launch))
        .ok_or_else(|| another_kind(SERVERS))?;
    let mut edits = Vec::new();
    if own != launch.command {
        edits.push((command_at, command));
    }
    if is_changed {
        edits.push((arguments_at, arguments));
    }
    edits.sort_by_key(|(range, _)| range.start);
    Ok(Edits { edits, had_entry: true })
}

fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

fn list(words: &[String]) -> String {
    toml_edit::Array::from_iter(words).to_string()
}
