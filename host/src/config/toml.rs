//! Reads a TOML file member by member, so that every error names the file and the line.

use crate::error::Error;
use serde_json::Value;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item, TableLike};
use whereby_authority::suggest;
use whereby_authority::text;

/// A parsed file.
pub(crate) struct TomlFile {
    path: PathBuf,
    document: Document<String>,
    /// The offset of each line's end, to find lines quickly.
    line_ends: Vec<usize>,
}

/// A value in a file, and its line.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    file: &'a TomlFile,
    item: &'a Item,
    line: usize,
}

/// A table in a file.
pub(crate) struct TableNode<'a> {
    file: &'a TomlFile,
    table: &'a dyn TableLike,
    /// The path of the table with a dot after it, such as `accounts.work.`, or empty for the root.
    prefix: String,
}

impl TomlFile {
    pub(crate) fn parse(path: &Path, contents: String) -> Result<Self, Error> {
        let line_ends: Vec<usize> = memchr::memchr_iter(b'\n', contents.as_bytes()).collect();
        match Document::parse(contents) {
            Ok(document) => Ok(Self { path: path.to_owned(), document, line_ends }),
            Err(error) => {
                // The whole error would quote the file, which may contain a token or be a link to another
                // file.
                let line = line_of(&line_ends, error.span());
                let message = error.message().lines().next().unwrap_or("not TOML");
                Err(at(path, line, &format!("not TOML: {}", text::printable(message, 200))))
            }
        }
    }

    pub(crate) fn root(&self) -> TableNode<'_> {
        TableNode { file: self, table: self.document.as_table(), prefix: String::new() }
    }

    fn line(&self, span: Option<Range<usize>>) -> usize {
        line_of(&self.line_ends, span)
    }
}

/// Returns the message for an unknown key; `prefix` is the path before it, with a dot at the end.
pub(crate) fn unknown_key(prefix: &str, key: &str, known: &[&str]) -> String {
    format!(
        "unknown key `{prefix}{}`{}; known here: {}",
        text::printable(key, 60),
        suggest::did_you_mean(key, known),
        known.join(", ")
    )
}

impl<'a> TableNode<'a> {
    /// Returns the members, and checks that each is a known key.
    pub(crate) fn members(&self, known: &[&str]) -> Result<Vec<(&'a str, Node<'a>)>, Error> {
        let mut members = Vec::new();
        for (key, node) in self.entries() {
            if !known.contains(&key) {
                return Err(node.error(&unknown_key(&self.prefix, key, known)));
            }
            members.push((key, node));
        }
        Ok(members)
    }

    /// Returns the members, whatever their names.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, Node<'a>)> + use<'a> {
        let (file, table) = (self.file, self.table);
        table.iter().map(move |(key, item)| {
            let span = table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span());
            (key, Node { file, item, line: file.line(span) })
        })
    }
}

impl<'a> Node<'a> {
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// Returns the file and the line, for messages.
    pub(crate) fn place(&self) -> String {
        let path = text::printable(&self.file.path.display().to_string(), 300);
        format!("{path}, line {}", self.line)
    }

    pub(crate) fn error(&self, message: &str) -> Error {
        at(&self.file.path, self.line, message)
    }

    /// Returns the value as a table; `name` is its path in the file.
    pub(crate) fn table(&self, name: &str) -> Result<TableNode<'a>, Error> {
        let table = self
            .item
            .as_table_like()
            .ok_or_else(|| self.error(&format!("`{name}` must be a table, written [{name}]")))?;
        Ok(TableNode { file: self.file, table, prefix: format!("{name}.") })
    }

    pub(crate) fn is_table(&self) -> bool {
        self.item.is_table_like()
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a str, Error> {
        self.item
            .as_str()
            .ok_or_else(|| self.error(&format!("`{name}` must be a string in quotes")))
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, Error> {
        let wrong = || self.error(&format!("`{name}` must be an array of strings"));
        let array = self.item.as_array().ok_or_else(wrong)?;
        array.iter().map(|item| Ok(item.as_str().ok_or_else(wrong)?.to_owned())).collect()
    }

    /// Returns the value as JSON, a date as a string. A table, and what JSON cannot hold, is null.
    pub(crate) fn to_json(self) -> Value {
        self.item.as_value().map_or(Value::Null, to_json)
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<bool, Error> {
        self.item.as_bool().ok_or_else(|| self.error(&format!("`{name}` must be true or false")))
    }

    pub(crate) fn number(&self, name: &str, range: Range<u64>) -> Result<u64, Error> {
        self.item
            .as_integer()
            .and_then(|number| u64::try_from(number).ok())
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                self.error(&format!(
                    "`{name}` must be an integer from {} to {}",
                    range.start,
                    range.end - 1
                ))
            })
    }
}

fn to_json(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => text.value().as_str().into(),
        toml_edit::Value::Integer(number) => (*number.value()).into(),
        toml_edit::Value::Float(number) => (*number.value()).into(),
        toml_edit::Value::Boolean(flag) => (*flag.value()).into(),
        toml_edit::Value::Datetime(date) => date.value().to_string().into(),
        toml_edit::Value::Array(items) => items.iter().map(to_json).collect(),
        toml_edit::Value::InlineTable(_) => Value::Null,
    }
}

/// Returns a configuration error at a line of a file.
pub(crate) fn at(path: &Path, line: usize, message: &str) -> Error {
    let path = text::printable(&path.display().to_string(), 300);
    Error::Configuration { message: format!("{path}, line {line}: {message}") }
}

/// Returns a configuration error about a whole file.
pub(crate) fn in_file(path: &Path, message: &str) -> Error {
    let path = text::printable(&path.display().to_string(), 300);
    Error::Configuration { message: format!("{path}: {message}") }
}

fn line_of(line_ends: &[usize], span: Option<Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start);
    1 + line_ends.partition_point(|end| *end < start)
}
