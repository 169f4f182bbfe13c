//! Adds a server to a client's file: text in, text out. Every byte that is not part of the server's entry
//! stays as it is.

use jsonc_parser::ast::{Array, Object, ObjectProp, Value};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::tokens::{Token, TokenAndRange};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use std::ops::Range;
use toml_edit::{Document, Item};
use whereby_authority::text;

/// The name of the entry.
const NAME: &str = "whereby";

/// The table of MCP servers in a TOML file.
const TOML_SERVERS: &str = "mcp_servers";

/// How a client's file says which MCP servers there are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    /// JSON, with comments and trailing commas where the client takes them.
    Json {
        /// The name of the object with the servers.
        servers: &'static str,
        /// Whether an entry says that it is of the type `stdio`.
        is_typed: bool,
    },
    /// TOML, with a table for each server.
    Toml,
}

/// The command with which a client starts this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Launch {
    pub(super) command: String,
    pub(super) arguments: Vec<String>,
}

/// A file after the change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Edited {
    pub(super) text: String,
    /// The parts of the text that are new.
    pub(super) own: Vec<Range<usize>>,
}

/// A replacement of a range of the text, which may be empty.
type Edit = (Range<usize>, String);

/// Adds the entry to a file. Returns `None` if the file has it already.
///
/// # Errors
///
/// Says what is wrong with the file, as the end of a sentence that begins with its path.
pub(super) fn add(format: Format, before: &str, launch: &Launch) -> Result<Option<Edited>, String> {
    let body = text::without_bom(before);
    let edits = match format {
        Format::Json { servers, is_typed } => json(body, servers, is_typed, launch)?,
        Format::Toml => toml(body, launch)?,
    };
    if edits.is_empty() {
        return Ok(None);
    }
    let mut edited = Edited { text: before[..before.len() - body.len()].to_owned(), own: vec![] };
    let mut from = 0;
    for (range, new) in edits {
        edited.text += &body[from..range.start];
        let start = edited.text.len();
        edited.text += &new;
        edited.own.push(start..edited.text.len());
        from = range.end;
    }
    edited.text += &body[from..];
    // The file must be one in which the client finds the entry.
    let body = text::without_bom(&edited.text);
    let again = match format {
        Format::Json { servers, is_typed } => json(body, servers, is_typed, launch),
        Format::Toml => toml(body, launch),
    };
    if again.is_ok_and(|edits| edits.is_empty()) {
        return Ok(Some(edited));
    }
    Err(match format {
        Format::Json { .. } => "is laid out in a way that this program cannot change".into(),
        Format::Toml => format!("defines `{TOML_SERVERS}` in a way that nothing can be added to"),
    })
}

fn quoted(text: &str) -> String {
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

fn json(
    body: &str,
    servers: &'static str,
    is_typed: bool,
    launch: &Launch,
) -> Result<Vec<Edit>, String> {
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
            return Ok(vec![(body.len()..body.len(), new)]);
        }
    };
    let first = root.properties.first().map(|first| indentation(body, first.start()));
    let unit = first.filter(|indent| !indent.is_empty()).unwrap_or("  ").to_owned();
    let is_one_line = !body.trim().contains('\n') && !root.properties.is_empty();
    let tokens = parsed.tokens.unwrap_or_default();
    let layout = Layout { body, tokens, newline, unit, is_one_line };
    let Some(all) = only(root, servers)? else {
        return Ok(layout.insert(root, |indent| {
            layout.member(servers, &layout.servers(is_typed, launch, indent))
        }));
    };
    let Value::Object(all) = &all.value else {
        return Err(format!("has a `{servers}` that is not an object"));
    };
    let Some(entry) = only(all, NAME)? else {
        return Ok(layout
            .insert(all, |indent| layout.member(NAME, &layout.entry(is_typed, launch, indent))));
    };
    changed_entry(&layout, entry, is_typed, launch)
}

/// Returns the changes to an entry that is there already.
fn changed_entry(
    layout: &Layout<'_>,
    entry: &ObjectProp<'_>,
    is_typed: bool,
    launch: &Launch,
) -> Result<Vec<Edit>, String> {
    let whole = || {
        let indent = indentation(layout.body, entry.start());
        let is_spread = entry.value.text(layout.body).contains('\n') || !layout.is_one_line;
        let new = layout.entry(is_typed, launch, is_spread.then_some(indent));
        vec![(entry.value.start()..entry.value.end(), new)]
    };
    let Value::Object(object) = &entry.value else { return Ok(whole()) };
    let kind = only(object, "type")?.map(|kind| &kind.value);
    let is_stdio =
        kind.is_none_or(|kind| matches!(kind, Value::StringLit(kind) if kind.value == "stdio"));
    let (command, arguments) = (only(object, "command")?, only(object, "args")?);
    match (command.map(|own| &own.value), arguments.map(|own| &own.value)) {
        (Some(Value::StringLit(command)), Some(Value::Array(arguments)))
            if is_stdio && only(object, "url")?.is_none() =>
        {
            let mut edits = Vec::new();
            if command.value != launch.command.as_str() {
                edits.push((command.start()..command.end(), quoted(&launch.command)));
            }
            if !is_list(arguments, &launch.arguments) {
                edits.push((arguments.start()..arguments.end(), list(&launch.arguments)));
            }
            edits.sort_by_key(|(range, _)| range.start);
            Ok(edits)
        }
        _ => Ok(whole()),
    }
}

fn is_list(array: &Array<'_>, words: &[String]) -> bool {
    let is_same = |(value, word): (&Value<'_>, &String)| matches!(value, Value::StringLit(own) if own.value == word.as_str());
    array.elements.len() == words.len() && array.elements.iter().zip(words).all(is_same)
}

/// Returns the member of an object with this name, of which there may be one.
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

fn toml(body: &str, launch: &Launch) -> Result<Vec<Edit>, String> {
    let document = Document::parse(body).map_err(|error| {
        let before = error.span().and_then(|span| body.get(..span.start)).unwrap_or_default();
        format!("is not valid TOML (line {})", before.matches('\n').count() + 1)
    })?;
    let newline = if body.contains("\r\n") { "\r\n" } else { "\n" };
    let (command, arguments) = (quoted_toml(&launch.command), list_toml(&launch.arguments));
    let entry = document.get(TOML_SERVERS).and_then(|servers| servers.get(NAME));
    let Some(entry) = entry else {
        let mut new = String::new();
        if !body.is_empty() && !body.ends_with('\n') {
            new += newline;
        }
        if !body.trim().is_empty() {
            new += newline;
        }
        new += &format!(
            "[{TOML_SERVERS}.{NAME}]{newline}command = {command}{newline}args = {arguments}{newline}"
        );
        return Ok(vec![(body.len()..body.len(), new)]);
    };
    let other = || format!("has another kind of `{TOML_SERVERS}.{NAME}`; remove that first");
    let found = |key: &str| entry.get(key).filter(|item| !item.is_none());
    if found("url").is_some() {
        return Err(other());
    }
    let value =
        |item: Option<&Item>| item.and_then(|item| Some((item.as_value()?.clone(), item.span()?)));
    let (Some((own, command_at)), Some((words, arguments_at))) =
        (value(found("command")), value(found("args")))
    else {
        return Err(other());
    };
    let mut edits = Vec::new();
    if own.as_str() != Some(&launch.command) {
        edits.push((command_at, command));
    }
    let words = words.as_array().map(|words| words.iter().map(|word| word.as_str()).collect());
    let wanted: Option<Vec<Option<&str>>> =
        Some(launch.arguments.iter().map(|word| Some(word.as_str())).collect());
    if words != wanted {
        edits.push((arguments_at, arguments));
    }
    edits.sort_by_key(|(range, _)| range.start);
    Ok(edits)
}

fn quoted_toml(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

fn list_toml(words: &[String]) -> String {
    toml_edit::Array::from_iter(words).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    const JSON: Format = Format::Json { servers: "mcpServers", is_typed: false };

    fn launch() -> Launch {
        Launch { command: "/usr/bin/whereby".into(), arguments: vec!["mcp".into()] }
    }

    fn added(format: Format, before: &str) -> String {
        let edited = add(format, before, &launch()).expect(before).expect("a change");
        for own in &edited.own {
            assert!(edited.text.is_char_boundary(own.start) && own.end <= edited.text.len());
        }
        assert_eq!(add(format, &edited.text, &launch()), Ok(None), "{}", edited.text);
        edited.text
    }

    /// What is left of a text without its new parts.
    fn without_own(edited: &Edited) -> String {
        let mut left = String::new();
        let mut from = 0;
        for own in &edited.own {
            left += &edited.text[from..own.start];
            from = own.end;
        }
        left + &edited.text[from..]
    }

    const ENTRY: &str = "\"whereby\": {\n      \"command\": \"/usr/bin/whereby\",\n      \"args\": [\"mcp\"]\n    }";

    #[test]
    fn an_entry_fits_into_any_layout() {
        let compact = "\"whereby\": { \"command\": \"/usr/bin/whereby\", \"args\": [\"mcp\"] }";
        let whole = format!("\"mcpServers\": {{\n    {ENTRY}\n  }}");
        for (before, after) in [
            (String::new(), format!("{{\n  {whole}\n}}\n")),
            ("\n".into(), format!("\n{{\n  {whole}\n}}\n")),
            ("// mine\n".into(), format!("// mine\n{{\n  {whole}\n}}\n")),
            ("{}".into(), format!("{{\n  {whole}\n}}")),
            ("{}\n".into(), format!("{{\n  {whole}\n}}\n")),
            ("{\n}\n".into(), format!("{{\n  {whole}\n}}\n")),
            ("\u{feff}{}\n".into(), format!("\u{feff}{{\n  {whole}\n}}\n")),
            ("{\n  \"a\": 1\n}\n".into(), format!("{{\n  \"a\": 1,\n  {whole}\n}}\n")),
            ("{\n  \"a\": 1}".into(), format!("{{\n  \"a\": 1,\n  {whole}\n}}")),
            (
                "{\n  \"a\": 1, // one\n  // more\n}\n".into(),
                format!("{{\n  \"a\": 1, // one\n  // more\n  {whole},\n}}\n"),
            ),
            (
                "{\n  \"a\": 1 // one, two\n  /* } */\n}\n".into(),
                format!("{{\n  \"a\": 1, // one, two\n  /* }} */\n  {whole}\n}}\n"),
            ),
            (
                "{\n  \"a\": 1 /* one */ }\n".into(),
                format!("{{\n  \"a\": 1, /* one */\n  {whole}\n }}\n"),
            ),
            ("{\"a\": 1}\n".into(), format!("{{\"a\": 1, \"mcpServers\": {{ {compact} }}}}\n")),
            (
                "{\"a\":1,\"mcpServers\":{}}".into(),
                format!("{{\"a\":1,\"mcpServers\":{{{compact}}}}}"),
            ),
            (
                "{\"mcpServers\":{\"a\":{\"command\":\"b\"}},\"c\":[1,2]}".into(),
                format!(
                    "{{\"mcpServers\":{{\"a\":{{\"command\":\"b\"}}, {compact}}},\"c\":[1,2]}}"
                ),
            ),
            (
                "{ \"mcpServers\": { \"a\": {}, }, }".into(),
                format!("{{ \"mcpServers\": {{ \"a\": {{}}, {compact}, }}, }}"),
            ),
            (
                "{\n  \"mcpServers\": {\n    \"a\": {}\n  },\n  \"b\": 1\n}\n".into(),
                format!(
                    "{{\n  \"mcpServers\": {{\n    \"a\": {{}},\n    {ENTRY}\n  }},\n  \"b\": 1\n}}\n"
                ),
            ),
            (
                "{\n  \"mcpServers\": {}\n}\n".into(),
                format!("{{\n  \"mcpServers\": {{\n    {ENTRY}\n  }}\n}}\n"),
            ),
        ] {
            assert_eq!(added(JSON, &before), after, "{before:?}");
        }
    }

    #[test]
    fn tabs_and_line_ends_stay_what_they_are() {
        let before = "{\r\n\t\"mcpServers\": {\r\n\t\t\"a\": {}\r\n\t}\r\n}\r\n";
        let entry = "\t\t\"whereby\": {\r\n\t\t\t\"command\": \"/usr/bin/whereby\",\r\n\t\t\t\"args\": \
                     [\"mcp\"]\r\n\t\t}\r\n";
        let after =
            format!("{{\r\n\t\"mcpServers\": {{\r\n\t\t\"a\": {{}},\r\n{entry}\t}}\r\n}}\r\n");
        assert_eq!(added(JSON, before), after);
        let after = added(Format::Toml, "a = 1\r\n# b\r\n");
        let entry =
            "\r\n[mcp_servers.whereby]\r\ncommand = \"/usr/bin/whereby\"\r\nargs = [\"mcp\"]\r\n";
        assert_eq!(after, format!("a = 1\r\n# b\r\n{entry}"));
    }

    #[test]
    fn vs_code_has_another_object_and_a_type() {
        let format = Format::Json { servers: "servers", is_typed: true };
        let after: Json = serde_json::from_str(&added(format, "{}")).expect("JSON");
        let entry = json!({"type": "stdio", "command": "/usr/bin/whereby", "args": ["mcp"]});
        assert_eq!(after, json!({"servers": {"whereby": entry}}));
    }

    #[test]
    fn an_entry_that_differs_keeps_what_is_beside_its_command() {
        for (before, after) in [
            (
                r#"{"command": "whereby", "args": ["mcp"], "env": {"A": "b"}}"#,
                r#"{"command": "/usr/bin/whereby", "args": ["mcp"], "env": {"A": "b"}}"#,
            ),
            (
                r#"{"args": [], /* x */ "command": "whereby"}"#,
                r#"{"args": ["mcp"], /* x */ "command": "/usr/bin/whereby"}"#,
            ),
            (
                r#"{"url": "https://example.org"}"#,
                r#"{ "command": "/usr/bin/whereby", "args": ["mcp"] }"#,
            ),
            (
                r#"{"type": "http", "command": "a", "args": []}"#,
                r#"{ "command": "/usr/bin/whereby", "args": ["mcp"] }"#,
            ),
            ("null", r#"{ "command": "/usr/bin/whereby", "args": ["mcp"] }"#),
        ] {
            let file =
                |entry: &str| format!("{{\"mcpServers\": {{\"whereby\": {entry}, \"b\": 1}}}}");
            assert_eq!(added(JSON, &file(before)), file(after));
        }
        let before = "[mcp_servers.whereby]\nargs = [] # x\ncommand = 'a'\nenv = { A = \"b\" }\n";
        assert_eq!(
            added(Format::Toml, before),
            "[mcp_servers.whereby]\nargs = [\"mcp\"] # x\ncommand = \"/usr/bin/whereby\"\nenv = { A = \
             \"b\" }\n"
        );
    }

    #[test]
    fn an_entry_that_says_the_same_stays() {
        for (format, text) in [
            (
                JSON,
                r#"{"mcpServers": {"\u0077hereby": {"type": "stdio", "args": ["mcp"], "command": "\/usr/bin/whereby", "disabled": true}}}"#,
            ),
            (
                Format::Toml,
                "mcp_servers = { whereby = { command = '/usr/bin/whereby', args = ['mcp'] } }",
            ),
            (
                Format::Toml,
                "[mcp_servers]\nwhereby.command = '/usr/bin/whereby'\nwhereby.args = [\n  'mcp', # x\n]\n",
            ),
        ] {
            assert_eq!(add(format, text, &launch()), Ok(None), "{text}");
        }
    }

    #[test]
    fn toml_gets_a_table_at_its_end() {
        let entry = "[mcp_servers.whereby]\ncommand = \"/usr/bin/whereby\"\nargs = [\"mcp\"]\n";
        for (before, after) in [
            ("", entry.to_owned()),
            ("a = 1 # one", format!("a = 1 # one\n\n{entry}")),
            (
                "[mcp_servers.b]\ncommand = 'c'\n",
                format!("[mcp_servers.b]\ncommand = 'c'\n\n{entry}"),
            ),
            ("[mcp_servers]\n[z]\n", format!("[mcp_servers]\n[z]\n\n{entry}")),
            ("\u{feff}a = 1\n", format!("\u{feff}a = 1\n\n{entry}")),
        ] {
            assert_eq!(added(Format::Toml, before), after, "{before:?}");
        }
    }

    #[test]
    fn what_cannot_be_changed_safely_is_refused() {
        let nested = format!("{{\"a\": {}{}}}", "[".repeat(5000), "]".repeat(5000));
        for (format, text, words) in [
            (JSON, "[]", "is not a JSON object"),
            (JSON, "{", "is not valid JSON (line 1"),
            (JSON, "{\"tops3cret\": tops3cret}", "is not valid JSON (line 1"),
            (JSON, "{} {}", "is not valid JSON"),
            (JSON, "{'a': 1}", "is not valid JSON"),
            (JSON, "{a: 1}", "is not valid JSON"),
            (JSON, "{\"a\": 1 \"b\": 2}", "is not valid JSON"),
            (JSON, &nested, "is not valid JSON"),
            (JSON, "{\"mcpServers\": null}", "a `mcpServers` that is not an object"),
            (JSON, "{\"mcpServers\": {}, \"mcpServers\": {}}", "has `mcpServers` twice"),
            (JSON, "{\"mcpServers\": {\"whereby\": {}, \"\\u0077hereby\": {}}}", "`whereby` twice"),
            (JSON, "{\"mcpServers\": {\"whereby\": {\"args\": [], \"args\": []}}}", "`args` twice"),
            (Format::Toml, "a = 1\nb = tops3cret\n", "is not valid TOML (line 2)"),
            (Format::Toml, "mcp_servers = {}\n", "in a way that nothing can be added to"),
            (Format::Toml, "mcp_servers = 1\n", "in a way that nothing can be added to"),
            (Format::Toml, "[mcp_servers.whereby]\nurl = 'a'\n", "has another kind of"),
            (Format::Toml, "[mcp_servers.whereby]\ncommand = 'a'\n", "has another kind of"),
            (Format::Toml, "[[mcp_servers]]\n", "in a way that nothing can be added to"),
        ] {
            let error = add(format, text, &launch()).expect_err(text);
            assert!(error.contains(words), "{text:.80}: {error}");
            assert!(!error.contains("tops3cret"), "{error}");
        }
    }

    /// White space and comments between the tokens of a file.
    fn gap() -> impl Strategy<Value = String> {
        let parts = ["", "", " ", "\n  ", "\r\n", "\t", " // a, b }\n", "/* { */"];
        prop::collection::vec(prop::sample::select(parts.to_vec()), 0..3)
            .prop_map(|gap| gap.concat())
    }

    /// An object as text, with such gaps, and a trailing comma or none.
    fn object(members: Vec<(String, String)>, gaps: &[String], comma: bool) -> String {
        let mut gaps = gaps.iter().cycle();
        let mut next = || gaps.next().cloned().unwrap_or_default();
        let mut text = format!("{{{}", next());
        let count = members.len();
        for (index, (name, value)) in members.into_iter().enumerate() {
            text += &format!("{}{}:{}{value}{}", quoted(&name), next(), next(), next());
            if index + 1 < count || comma {
                text += &format!(",{}", next());
            }
        }
        text + "}"
    }

    proptest! {
        #[test]
        fn every_other_byte_stays(
            others in prop::collection::btree_map("[a-v]{1,3}", "[a-z\"\\\\}{,\u{e9}]{0,5}", 0..4),
            servers in prop::option::of(prop::collection::btree_map("[a-v]{1,3}", "[a-z,}\"]{0,5}", 0..4)),
            gaps in prop::collection::vec(gap(), 1..12),
            commas: [bool; 2],
            end in gap(),
        ) {
            let value = |(name, value): (String, String)| (name, quoted(&value));
            let mut members: Vec<_> = others.into_iter().map(value).collect();
            if let Some(servers) = servers {
                let servers: Vec<_> = servers.into_iter().map(value).collect();
                let comma = commas[0] && !servers.is_empty();
                let inner = object(servers, &gaps, comma);
                members.insert(members.len() / 2, ("mcpServers".into(), inner));
            }
            let comma = commas[1] && !members.is_empty();
            let before = object(members, &gaps, comma) + &end;
            let edited = add(JSON, &before, &launch()).expect(&before).expect("a change");
            prop_assert_eq!(without_own(&edited), before.clone());
            prop_assert_eq!(add(JSON, &edited.text, &launch()), Ok(None));
        }
    }
}
