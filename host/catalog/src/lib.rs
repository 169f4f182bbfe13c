//! The functions, their types and their documentation, from the WIT.
//!
//! The build script generates the statics from `wit/`. The host and the gateway derive schemas,
//! documentation, MCP tools and help from them. Without the feature `docs`, there is only what checks of
//! arguments need: no documentation, no names of the WIT, and no results.

#![no_std]

extern crate alloc;

pub mod failure;
#[cfg(feature = "schema")]
pub mod schema;
pub mod secret;
#[cfg(feature = "schema")]
pub mod tool;

use alloc::format;
use alloc::string::String;

/// A function of the package.
#[derive(Debug)]
#[non_exhaustive]
pub struct Function {
    /// Its name in the WIT: `list-rooms`.
    #[cfg(feature = "docs")]
    pub name: &'static str,
    /// Its name in JSON, Lua, MCP, configuration and rules: `list_rooms`.
    pub json: &'static str,
    /// The interface that exports it.
    pub interface: Interface,
    /// Its documentation, in Markdown. The first sentence is a summary.
    #[cfg(feature = "docs")]
    pub docs: &'static str,
    /// Other words for it, for searching.
    #[cfg(feature = "docs")]
    pub also_called: &'static [&'static str],
    /// Whether it destroys something that cannot be restored.
    pub is_destructive: bool,
    /// Its parameters, in order.
    pub params: &'static [Member],
    /// The type of its result on success.
    #[cfg(feature = "docs")]
    pub result: Type,
}

/// The interface that exports a function. It determines whether the function writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// The functions that change nothing.
    Read,
    /// The functions that create and delete.
    Write,
}

impl Interface {
    /// Returns the name of the interface in a component's exports: `whereby:agent/read@0.1.0`.
    #[must_use]
    pub fn export(self) -> String {
        let (package, version) = PACKAGE.split_once('@').unwrap_or((PACKAGE, ""));
        let name = match self {
            Self::Read => "read",
            Self::Write => "write",
        };
        format!("{package}/{name}@{version}")
    }
}

/// A type of a parameter, a member or a payload.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// `bool`.
    Bool,
    /// `u16`.
    U16,
    /// `u32`.
    U32,
    /// `u64`.
    U64,
    /// `f64`.
    F64,
    /// `string`.
    String,
    /// `option<…>`: null in JSON.
    Option(&'static Type),
    /// `list<…>`.
    List(&'static Type),
    /// A record: an object in JSON.
    Record(&'static Record),
    /// A variant: a string, or an object with one member; in arguments, the object may have several.
    Variant(&'static Variant),
    /// An enum: a string in JSON.
    Enum(&'static Enum),
}

/// A record type.
#[derive(Debug)]
#[non_exhaustive]
pub struct Record {
    /// Its name in the WIT.
    #[cfg(feature = "docs")]
    pub name: &'static str,
    /// Its documentation.
    #[cfg(feature = "docs")]
    pub docs: &'static str,
    /// Its members, in order.
    pub members: &'static [Member],
}

/// A member of a record, or a parameter.
#[derive(Debug)]
#[non_exhaustive]
pub struct Member {
    /// Its name in the WIT.
    #[cfg(feature = "docs")]
    pub name: &'static str,
    /// Its name in JSON: snake_case for a parameter, camelCase for a member.
    pub json: &'static str,
    /// Its type.
    pub ty: Type,
    /// Its documentation.
    #[cfg(feature = "docs")]
    pub docs: &'static str,
    /// The facts that its type does not express.
    pub facts: &'static Facts,
}

impl Member {
    /// Returns whether the value may be absent.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        matches!(self.ty, Type::Option(_))
    }

    /// Returns whether the whole value is secret.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.facts.secret == Some(Secret::Whole)
    }
}

/// A variant type.
#[derive(Debug)]
#[non_exhaustive]
pub struct Variant {
    /// Its name in the WIT.
    #[cfg(feature = "docs")]
    pub name: &'static str,
    /// Its documentation.
    #[cfg(feature = "docs")]
    pub docs: &'static str,
    /// Its cases, in order.
    pub cases: &'static [Case],
}

/// An enum type.
#[derive(Debug)]
#[non_exhaustive]
pub struct Enum {
    /// Its name in the WIT.
    #[cfg(feature = "docs")]
    pub name: &'static str,
    /// Its documentation.
    #[cfg(feature = "docs")]
    pub docs: &'static str,
    /// Its cases, in order; none has a payload.
    pub cases: &'static [Case],
}

/// A case of a variant or an enum.
#[derive(Debug)]
#[non_exhaustive]
pub struct Case {
    /// Its name in the WIT.
    #[cfg(feature = "docs")]
    pub name: &'static str,
    /// Its name in JSON.
    pub json: &'static str,
    /// Its documentation.
    #[cfg(feature = "docs")]
    pub docs: &'static str,
    /// Additional documentation for single functions: a function's name in JSON, and the text.
    #[cfg(feature = "docs")]
    pub after: &'static [(&'static str, &'static str)],
    /// The type of its payload, if any.
    pub payload: Option<Type>,
}

#[cfg(feature = "docs")]
impl Case {
    /// Returns the documentation of an error case for one function.
    #[must_use]
    pub fn docs_after(&self, function: &Function) -> String {
        let after = self.after.iter().filter(|(name, _)| *name == function.json);
        after.fold(String::from(self.docs), |docs, (_, text)| format!("{docs} {text}"))
    }
}

/// Facts about a value that its type does not express.
#[derive(Debug)]
#[non_exhaustive]
pub struct Facts {
    /// The minimum and the maximum of a number.
    pub range: Option<(u64, u64)>,
    /// The minimum and the maximum length of a string, in characters.
    pub length: Option<(u64, u64)>,
    /// The maximum number of items in an array.
    pub max_items: Option<u64>,
    /// The accepted JSON Schema formats of a string; the string has one of them.
    pub formats: &'static [&'static str],
    /// The default.
    #[cfg(feature = "docs")]
    pub default: Option<&'static str>,
    /// An example; JSON, unless the value is a string.
    #[cfg(feature = "docs")]
    pub example: Option<&'static str>,
    /// The unit of a number: `seconds` or `minutes`.
    #[cfg(feature = "docs")]
    pub unit: Option<&'static str>,
    /// The value, as JSON, that displays may omit.
    #[cfg(feature = "docs")]
    pub usual: Option<&'static str>,
    /// The part that is masked wherever a call is shown or recorded, if any.
    pub secret: Option<Secret>,
}

/// The secret part of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// The whole value. The scheme, the host and the start of the path of a URI may be shown.
    Whole,
    /// The value of this query parameter of a URL.
    Query(&'static str),
}

impl Facts {
    /// No facts.
    pub const NONE: Self = Self {
        range: None,
        length: None,
        max_items: None,
        formats: &[],
        #[cfg(feature = "docs")]
        default: None,
        #[cfg(feature = "docs")]
        example: None,
        #[cfg(feature = "docs")]
        unit: None,
        #[cfg(feature = "docs")]
        usual: None,
        secret: None,
    };
}

/// Returns the function with this name, as JSON, Lua and MCP spell it.
#[must_use]
pub fn function(json: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.json == json)
}

/// Returns the tool that a misspelled name means: `list_rooms`, `whereby.listRooms` and
/// `mcp__whereby__list-rooms` mean `whereby_list_rooms`.
#[must_use]
pub fn respelled<'a>(given: &str, tools: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let given = plain(given);
    tools.into_iter().find(|tool| {
        let (_, function) = tool.split_once('_').unwrap_or(("", tool));
        given.ends_with(&plain(function))
    })
}

#[expect(missing_docs, reason = "generated from the WIT, which has the documentation")]
#[cfg_attr(
    not(feature = "docs"),
    allow(dead_code, reason = "without results, their types are not used")
)]
mod generated {
    use super::{Case, Enum, Facts, Function, Interface, Member, Record, Secret, Type, Variant};
    include!(concat!(env!("OUT_DIR"), "/catalog.rs"));
}

use generated::PACKAGE;
pub use generated::{ERROR, FUNCTIONS};
