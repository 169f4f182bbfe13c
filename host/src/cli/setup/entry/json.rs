//! Adds an entry to a JSON file, with or without comments.

use super::{Edit, Edits, Launch, NAME, another_kind, changes_arguments};
use jsonc_parser::ast::{Object, ObjectProp, Value};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::tokens::{Token, TokenAndRange};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", words.join(", "))
}

/// How a JSON file is laid out.
struct Layout<'a> {
    body: &'a str,
    tokens: Vec<TokenAndRange<'a>>,
    newline: &'static str,
    /// The indentation of one level.
    unit: String,
    /// Whether the file has all in one line, so that an entry goes there, too.
    is_one_line: bool,
}

pub(super) fn edits(
    body: &str,
    servers: &'static str,
    is_typed: bool,
    launch: &Launch,
) -> Result<Edits, String> {
    // JSON, and what VS Code reads besides: nothing that a client could read differently.
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let collect = CollectOptions { tokens: true, ..CollectOptions::default() };
    let parsed = parse_to_ast(body, &collect, &options).map_err(|error| {
        // The parser's own message could repeat a part of the file.
        let (line, column) = (error.line_display(), error.column_display());
        format!("is not valid JSON (line {line}, column {column})")
    })?;
    let newline = if body.contains("\r\n") { "\r\n" } else { "\n" };
    let root = match &parsed.value {
        Some(Value::Object(root)) => root,
        Some(_) => return Err("is not a JSON object".into()),
        None => {
            let layout =
                Layout { body, tokens: Vec::new(), newline, unit: "  ".into(), is_one_line: false };
            let inner = layout.member(servers, &layout.servers(is_typed, launch, Some("  ")));
            let start = if body.is_empty() || body.ends_with('\n') { "" } else { newline };
            let new = format!("{start}{{{newline}  {inner}{newline}}}{newline}");
            return Ok(Edits::adding(vec![(body.len()..body.len(), new)]));
        }
    };
    let first = root.properties.first().map(|first| indentation(body, first.start()));
    let unit = first.filter(|indent| !indent.is_empty()).unwrap_or("  ").to_owned();
    let is_one_line = !body.trim().contains('\n') && !root.properties.is_empty();
    let tokens = parsed.tokens.unwrap_or_default();
    let layout = Layout { body, tokens, newline, unit, is_one_line };
    let Some(all) = only(root, servers)? else {
        return Ok(Edits::adding(layout.insert(root, |indent| {
            layout.member(servers, &layout.servers(is_typed, launch, indent))
        })));
    };
    let Value::Object(all) = &all.value else {
        return Err(format!("has a `{servers}` that is not an object"));
    };
    let Some(entry) = only(all, NAME)? else {
        return Ok(Edits::adding(
            layout
                .insert(all, |indent| layout.member(NAME, &layout.entry(is_typed, launch, indent))),
        ));
    };
    let edits = changed(entry, launch)?.ok_or_else(|| another_kind(servers))?;
    Ok(Edits { edits, had_entry: true })
}

/// Returns the changes to an entry that is there already; `None` if they would lose something.
fn changed(entry: &ObjectProp<'_>, launch: &Launch) -> Result<Option<Vec<Edit>>, String> {
    let Value::Object(object) = &entry.value else { return Ok(None) };
    let member = |name| only(object, name).map(|found| found.map(|found| &found.value));
    let (kind, url) = (member("type")?, member("url")?);
    let (command, arguments) = (member("command")?, member("args")?);
    let is_stdio =
        kind.is_none_or(|kind| matches!(kind, Value::StringLit(kind) if kind.value == "stdio"));
    let (command, arguments) = match (url, command, arguments) {
        // A server over HTTP.
        (Some(Value::StringLit(_)), None, None) => return Ok(Some(Vec::new())),
        (None, Some(Value::StringLit(command)), Some(Value::Array(arguments))) if is_stdio => {
            (command, arguments)
        }
        _ => return Ok(None),
    };
    let words: Option<Vec<&str>> = arguments
        .elements
        .iter()
        .map(|word| match word {
            Value::StringLit(word) => Some(&*word.value),
            _ => None,
        })
        .collect();
    let Some(is_changed) =
        words.and_then(|words| changes_arguments(&command.value, &words, launch))
    else {
        return Ok(None);
    };
    let mut edits = Vec::new();
    if command.value != launch.command.as_str() {
        edits.push((command.start()..command.end(), quoted(&launch.command)));
    }
    if is_changed {
        edits.push((arguments.start()..arguments.end(), list(&launch.arguments)));
    }
    edits.sort_by_key(|(range, _)| range.start);
    Ok(Some(edits))
}

/// Returns the only member of an object with this name, if there is one.
fn only<'a, 'b>(object: &'b Object<'a>, name: &str) -> Result<Option<&'b ObjectProp<'a>>, String> {
    let mut found = object.properties.iter().filter(|member| member.name.as_str() == name);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(format!("has `{name}` twice")),
        (first, None) => Ok(first),
    }
}

/// Returns the white space at the beginning of the line of this position.
fn indentation(body: &str, at: usize) -> &str {
    let line = body[..at].rfind('\n').map_or(0, |before| before + 1);
    let rest = &body[line..at];
    &rest[..rest.len() - rest.trim_start_matches([' ', '\t']).len()]
}

impl Layout<'_> {
    /// Returns a member. Its value may have several lines.
    fn member(&self, name: &str, value: &str) -> String {
        format!("{}: {value}", quoted(name))
    }

    /// Returns an object, with a line for each member if there is an indentation.
    fn object(&self, indent: Option<&str>, members: &[String]) -> String {
        match indent {
            None => format!("{{ {} }}", members.join(", ")),
            Some(indent) => {
                let start = format!("{}{indent}{}", self.newline, self.unit);
                let members = members.join(&format!(",{start}"));
                format!("{{{start}{members}{}{indent}}}", self.newline)
            }
        }
    }

    fn entry(&self, is_typed: bool, launch: &Launch, indent: Option<&str>) -> String {
        let mut members = vec![
            self.member("command", &quoted(&launch.command)),
            self.member("args", &list(&launch.arguments)),
        ];
        if is_typed {
            members.insert(0, self.member("type", &quoted("stdio")));
        }
        self.object(indent, &members)
    }

    fn servers(&self, is_typed: bool, launch: &Launch, indent: Option<&str>) -> String {
        let inner = indent.map(|indent| format!("{indent}{}", self.unit));
        let entry = self.entry(is_typed, launch, inner.as_deref());
        self.object(indent, &[self.member(NAME, &entry)])
    }

    /// Adds a member at the end of an object. `member` returns it, given the indentation of its line; none
    /// if the object is in one line.
    fn insert(&self, object: &Object<'_>, member: impl Fn(Option<&str>) -> String) -> Vec<Edit> {
        let (open, close) = (object.start(), object.end() - 1);
        let (first, last) = (object.properties.first(), object.properties.last());
        let from = last.map_or(open + 1, |last| last.end());
        let comma = self.tokens.iter().find(|token| {
            last.is_some()
                && (from..close).contains(&token.range.start)
                && token.token == Token::Comma
        });
        let is_spread = match first {
            Some(first) => self.body[open..first.start()].contains('\n'),
            None => self.body[open..close].contains('\n') || !self.is_one_line,
        };
        let at = |at: usize, new: String| (at..at, new);
        if !is_spread {
            let member = member(None);
            return vec![match (last, comma) {
                (None, _) => at(from, member),
                (Some(_), None) => at(from, format!(", {member}")),
                (Some(_), Some(comma)) => at(comma.range.end, format!(" {member},")),
            }];
        }
        let outer = indentation(self.body, open);
        let indent = match first {
            Some(first) => indentation(self.body, first.start()).to_owned(),
            None => format!("{outer}{}", self.unit),
        };
        let rest = &self.body[from..close];
        // The line with the closing brace, if it has nothing else.
        let line = rest.rfind('\n').filter(|line| rest[*line..].trim().is_empty());
        let (end, closing) = match line {
            Some(line) => (from + rest[..line].trim_end_matches('\r').len(), String::new()),
            None => (from + rest.trim_end().len(), format!("{}{outer}", self.newline)),
        };
        let after = if comma.is_some() { "," } else { "" };
        let new = format!("{}{indent}{}{after}{closing}", self.newline, member(Some(&indent)));
        match (last, comma) {
            (Some(_), None) => vec![at(from, ",".into()), at(end, new)],
            _ => vec![at(end, new)],
        }
    }
}
