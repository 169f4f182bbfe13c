//! Adds a server to a client's file: text in, text out. Every byte that is not part of the server's entry
//! stays as it is.

mod json;
mod toml;

use std::ops::Range;
use std::path::Path;
pub(super) use toml::SERVERS as TOML_SERVERS;
use whereby_authority::text;

/// The name of the entry.
pub(super) const NAME: &str = "whereby";

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
    /// Whether the file had an entry with this name.
    pub(super) had_entry: bool,
}

/// A replacement of a range of the text, which may be empty.
type Edit = (Range<usize>, String);

/// What a file needs to have the entry.
struct Edits {
    /// In their order in the text; none if the file has the entry.
    edits: Vec<Edit>,
    had_entry: bool,
}

impl Edits {
    fn adding(edits: Vec<Edit>) -> Self {
        Self { edits, had_entry: false }
    }
}

impl Format {
    fn edits(self, body: &str, launch: &Launch) -> Result<Edits, String> {
        match self {
            Self::Json { servers, is_typed } => json::edits(body, servers, is_typed, launch),
            Self::Toml => toml::edits(body, launch),
        }
    }
}

/// Adds the entry to a file. Returns `None` if the file has it already, or one with a URL.
///
/// # Errors
///
/// Says what is wrong with the file, as the end of a sentence that begins with its path.
pub(super) fn add(format: Format, before: &str, launch: &Launch) -> Result<Option<Edited>, String> {
    let body = text::without_bom(before);
    let Edits { edits, had_entry } = format.edits(body, launch)?;
    if edits.is_empty() {
        return Ok(None);
    }
    let mark = before[..before.len() - body.len()].to_owned();
    let mut edited = Edited { text: mark, own: Vec::new(), had_entry };
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
    let again = format.edits(text::without_bom(&edited.text), launch);
    if again.is_ok_and(|again| again.edits.is_empty()) {
        return Ok(Some(edited));
    }
    Err(match format {
        Format::Json { .. } => "is laid out in a way that this program cannot change".into(),
        Format::Toml => format!("has `{TOML_SERVERS}` inline; write it as tables"),
    })
}

/// Whether the arguments of an entry that is there have to change; `None` if that would lose some of them.
/// An entry that starts `whereby mcp` keeps what else it has, such as `--agent`.
fn changes_arguments(command: &str, own: &[&str], launch: &Launch) -> Option<bool> {
    let is_whereby = Path::new(command).file_name().is_some_and(|name| name == NAME);
    let has_all = launch.arguments.iter().all(|word| own.contains(&word.as_str()));
    if own.iter().all(|word| launch.arguments.iter().any(|wanted| wanted == word)) {
        return Some(own != launch.arguments);
    }
    (is_whereby && has_all).then_some(false)
}

/// Says that an entry cannot be changed without losing what else it has.
fn another_kind(servers: &str) -> String {
    format!("has another kind of `{servers}.{NAME}`; remove that first")
}

#[cfg(test)]
mod tests {
    use super::json::quoted;
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
                r#"{"command": "whereby", "args": ["mcp", "--agent", "desk", "--lua"]}"#,
                r#"{"command": "/usr/bin/whereby", "args": ["mcp", "--agent", "desk", "--lua"]}"#,
            ),
            (
                r#"{"args": [], /* x */ "command": "whereby"}"#,
                r#"{"args": ["mcp"], /* x */ "command": "/usr/bin/whereby"}"#,
            ),
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
                JSON,
                r#"{"mcpServers": {"whereby": {"type": "http", "url": "http://127.0.0.1:8090/mcp"}}}"#,
            ),
            (Format::Toml, "[mcp_servers.whereby]\nurl = 'http://127.0.0.1:8090/mcp'\n"),
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
        let with_entry = |entry: &str| format!("{{\"mcpServers\": {{\"whereby\": {entry}}}}}");
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
            (JSON, &with_entry("null"), "has another kind of"),
            (JSON, &with_entry(r#"{"url": 1}"#), "has another kind of"),
            (JSON, &with_entry(r#"{"url": "a", "args": []}"#), "has another kind of"),
            (
                JSON,
                &with_entry(r#"{"command": "npx", "args": ["-y", "mcp"]}"#),
                "has another kind of",
            ),
            (
                JSON,
                &with_entry(r#"{"command": "whereby", "args": ["--x"]}"#),
                "has another kind of",
            ),
            (
                JSON,
                &with_entry(r#"{"command": "whereby", "args": ["mcp", 1]}"#),
                "has another kind of",
            ),
            (
                JSON,
                &with_entry(r#"{"type": "http", "command": "a", "args": []}"#),
                "has another kind",
            ),
            (
                JSON,
                &with_entry(r#"{"command": "a", "args": [], "url": "b"}"#),
                "has another kind of",
            ),
            (JSON, &with_entry(r#"{"command": "a", "env": {"A": "b"}}"#), "has another kind of"),
            (Format::Toml, "a = 1\nb = tops3cret\n", "is not valid TOML (line 2)"),
            (Format::Toml, "mcp_servers = {}\n", "inline; write it as tables"),
            (Format::Toml, "mcp_servers = 1\n", "inline; write it as tables"),
            (
                Format::Toml,
                "[mcp_servers.whereby]\nurl = 'a'\ncommand = 'b'\n",
                "has another kind of",
            ),
            (Format::Toml, "[mcp_servers.whereby]\ncommand = 'a'\n", "has another kind of"),
            (Format::Toml, "[[mcp_servers]]\n", "inline; write it as tables"),
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
