//! Reads TOML member by member, so that every error names the line.

use crate::prelude::*;
use crate::suggest;
use crate::text;
use core::fmt;
use core::ops::Range;
use serde_json::Value;

#[cfg(any(test, not(feature = "std")))]
mod subset;

/// What is wrong with a document, and the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// A parsed document.
#[derive(Debug)]
pub struct Document {
    root: Vec<Member>,
    lines: Lines,
}

/// The offset of each line's end, to find lines quickly.
#[derive(Debug)]
struct Lines(Vec<usize>);

impl Lines {
    fn new(contents: &str) -> Self {
        Self(contents.match_indices('\n').map(|(end, _)| end).collect())
    }

    fn of(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|end| *end < offset)
    }
}

/// A member of a table. Members are in the order of the document.
#[derive(Debug, PartialEq)]
struct Member {
    key: String,
    /// The offset of its key.
    start: usize,
    item: Item,
}

/// A value of a document.
#[derive(Debug, PartialEq)]
enum Item {
    Text(String),
    /// `None` if it is too large.
    Integer(Option<i64>),
    #[cfg(feature = "std")]
    Float(Option<f64>),
    Boolean(bool),
    Date(String),
    Array(Vec<Self>),
    Table(Vec<Member>),
}

/// A value in a document, and its line.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    lines: &'a Lines,
    item: &'a Item,
    line: usize,
}

/// A table in a document.
#[derive(Debug)]
pub struct TableNode<'a, 'p> {
    lines: &'a Lines,
    members: &'a [Member],
    /// Absent for the root.
    path: Option<Path<'p>>,
}

/// The path of a value in a document, such as `accounts.work`. It is written only in errors.
#[derive(Clone, Copy, Debug)]
pub struct Path<'p> {
    /// The path of the table.
    table: Option<&'p Path<'p>>,
    /// The key in the table.
    key: &'p str,
}

impl<'p, T: AsRef<str> + ?Sized> From<&'p T> for Path<'p> {
    /// Takes a whole path.
    fn from(path: &'p T) -> Self {
        Self { table: None, key: path.as_ref() }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(table) = self.table {
            write!(f, "{table}.")?;
        }
        f.write_str(self.key)
    }
}

impl Document {
    /// Parses a document.
    ///
    /// # Errors
    ///
    /// [`Error`] if it is not TOML.
    pub fn parse(contents: &str) -> Result<Self, Error> {
        let lines = Lines::new(contents);
        match parse(contents) {
            Ok(root) => Ok(Self { root, lines }),
            Err((offset, message)) => {
                let message = format!("not TOML: {}", text::printable(&message, 200));
                Err(Error { line: lines.of(offset), message })
            }
        }
    }

    /// Returns the table of the whole document.
    #[must_use]
    pub fn root(&self) -> TableNode<'_, 'static> {
        TableNode { lines: &self.lines, members: &self.root, path: None }
    }
}

#[cfg(not(feature = "std"))]
use subset::parse;

/// Parses a document. An error has an offset and a message.
#[cfg(feature = "std")]
fn parse(contents: &str) -> Result<Vec<Member>, (usize, String)> {
    use ::toml::Spanned;
    use ::toml::de::{DeTable, DeValue};

    fn members(table: DeTable<'_>) -> Vec<Member> {
        let member =
            |(key, value): (Spanned<alloc::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| {
                let start = key.span().start;
                Member { key: key.into_inner().into_owned(), start, item: item(value.into_inner()) }
            };
        let mut members: Vec<Member> = table.into_iter().map(member).collect();
        members.sort_by_key(|member| member.start);
        members
    }

    fn item(value: DeValue<'_>) -> Item {
        match value {
            DeValue::String(text) => Item::Text(text.into_owned()),
            DeValue::Integer(number) => {
                Item::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
            }
            DeValue::Float(number) => Item::Float(number.as_str().parse().ok()),
            DeValue::Boolean(flag) => Item::Boolean(flag),
            DeValue::Datetime(date) => Item::Date(date.to_string()),
            DeValue::Array(items) => {
                Item::Array(items.into_iter().map(|value| item(value.into_inner())).collect())
            }
            DeValue::Table(table) => Item::Table(members(table)),
        }
    }

    match DeTable::parse(contents) {
        Ok(root) => Ok(members(root.into_inner())),
        Err(error) => {
            // The whole error would quote the document, which may contain a token or come from a link to
            // another file.
            let message = error.message().lines().next().unwrap_or_default();
            Err((error.span().map_or(0, |span| span.start), message.to_owned()))
        }
    }
}

/// Returns the message for an unknown key; `prefix` is the path before it, with a dot at the end.
#[must_use]
pub fn unknown_key(prefix: &str, key: &str, known: &[&str]) -> String {
    format!(
        "unknown key `{prefix}{}`{}; known here: {}",
        text::printable(key, 60),
        suggest::did_you_mean(key, known),
        text::join(known, ", ")
    )
}

impl<'a> TableNode<'a, '_> {
    /// Returns the path of a key in the table.
    #[must_use]
    pub fn path<'p>(&'p self, key: &'p str) -> Path<'p> {
        Path { table: self.path.as_ref(), key }
    }

    /// Returns the members, and checks that each is a known key.
    ///
    /// # Errors
    ///
    /// [`Error`] at the first unknown key.
    pub fn members(&self, known: &[&str]) -> Result<Vec<(&'a str, Node<'a>)>, Error> {
        let members = self.entries();
        match members.iter().find(|(key, _)| !known.contains(key)) {
            Some((key, node)) => {
                let prefix = self.path.map(|path| format!("{path}.")).unwrap_or_default();
                Err(node.error(&unknown_key(&prefix, key, known)))
            }
            None => Ok(members),
        }
    }

    /// Returns the members in their order, whatever their names.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'a str, Node<'a>)> {
        let lines = self.lines;
        let node = |member: &'a Member| {
            let line = lines.of(member.start);
            (member.key.as_str(), Node { lines, item: &member.item, line })
        };
        self.members.iter().map(node).collect()
    }
}

impl<'a> Node<'a> {
    /// Returns the line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns an error at the line.
    #[must_use]
    pub fn error(&self, message: &str) -> Error {
        Error { line: self.line, message: message.to_owned() }
    }

    /// Returns the value as a table.
    ///
    /// # Errors
    ///
    /// [`Error`] if it is not a table.
    pub fn table<'p>(&self, path: impl Into<Path<'p>>) -> Result<TableNode<'a, 'p>, Error> {
        let path = path.into();
        match self.item {
            Item::Table(members) => Ok(TableNode { lines: self.lines, members, path: Some(path) }),
            _ => Err(self.error(&format!("`{path}` must be a table, written [{path}]"))),
        }
    }

    /// Whether the value is a table.
    #[must_use]
    pub fn is_table(&self) -> bool {
        matches!(self.item, Item::Table(_))
    }

    /// Returns the value as a string.
    ///
    /// # Errors
    ///
    /// [`Error`] if it is not a string.
    pub fn text<'p>(&self, path: impl Into<Path<'p>>) -> Result<&'a str, Error> {
        match self.item {
            Item::Text(text) => Ok(text),
            _ => Err(self.error(&format!("`{}` must be a string in quotes", path.into()))),
        }
    }

    /// Returns the value as strings.
    ///
    /// # Errors
    ///
    /// [`Error`] if it is not an array of strings.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, Error> {
        let wrong = || self.error(&format!("`{name}` must be an array of strings"));
        let Item::Array(items) = self.item else { return Err(wrong()) };
        let text = |item: &Item| match item {
            Item::Text(text) => Ok(text.clone()),
            _ => Err(wrong()),
        };
        items.iter().map(text).collect()
    }

    /// Returns the value as JSON, a date as a string. A table, and what JSON cannot hold, is null.
    #[must_use]
    pub fn to_json(self) -> Value {
        to_json(self.item)
    }

    /// Returns the value as a boolean.
    ///
    /// # Errors
    ///
    /// [`Error`] if it is not one.
    pub fn boolean(&self, name: &str) -> Result<bool, Error> {
        match self.item {
            Item::Boolean(flag) => Ok(*flag),
            _ => Err(self.error(&format!("`{name}` must be true or false"))),
        }
    }

    /// Returns the value as an integer in a range.
    ///
    /// # Errors
    ///
    /// [`Error`] if it is not one.
    pub fn number(&self, name: &str, range: Range<u64>) -> Result<u64, Error> {
        let number = match self.item {
            Item::Integer(Some(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            self.error(&format!(
                "`{name}` must be an integer from {} to {}",
                range.start,
                range.end - 1
            ))
        })
    }
}

fn to_json(item: &Item) -> Value {
    match item {
        Item::Text(text) | Item::Date(text) => text.as_str().into(),
        Item::Integer(number) => (*number).into(),
        #[cfg(feature = "std")]
        Item::Float(number) => (*number).into(),
        Item::Boolean(flag) => (*flag).into(),
        Item::Array(items) => {
            let mut values = Vec::new();
            items.iter().for_each(|item| values.push(to_json(item)));
            Value::Array(values)
        }
        Item::Table(_) => Value::Null,
    }
}
