//! The functions, their types and their documentation, as the WIT has them.
//!
//! The statics are generated from `wit/` when this crate is built. Schemas, documentation, MCP tools
//! and help are derived from them, by the host and by the gateway, and say nothing of their own.

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
    pub name: &'static str,
    /// Its name in JSON, Lua, MCP, configuration and rules: `list_rooms`.
    pub json: &'static str,
    /// The interface that exports it.
    pub interface: Interface,
    /// What it does, in Markdown; the first sentence stands by itself.
    pub docs: &'static str,
    /// Words that people use for what it does.
    pub also_called: &'static [&'static str],
    /// Its parameters, in order.
    pub params: &'static [Member],
    /// What it returns where it does not fail.
    pub result: Type,
}

/// The interface that exports a function, which is the authority that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// Functions that change nothing.
    Read,
    /// Functions that create and delete.
    Write,
}

impl Interface {
    /// The name of the interface in a component's exports.
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
    /// A variant: a text, or an object with one member; in arguments, one that may have several.
    Variant(&'static Variant),
    /// An enum: a text.
    Enum(&'static Enum),
}

/// A record type.
#[derive(Debug)]
#[non_exhaustive]
pub struct Record {
    /// Its name in the WIT.
    pub name: &'static str,
    /// What it is.
    pub docs: &'static str,
    /// Its members, in order.
    pub members: &'static [Member],
}

/// A member of a record, or a parameter.
#[derive(Debug)]
#[non_exhaustive]
pub struct Member {
    /// Its name in the WIT.
    pub name: &'static str,
    /// Its name in JSON: snake_case for a parameter, camelCase for a member.
    pub json: &'static str,
    /// Its type.
    pub ty: Type,
    /// What it is.
    pub docs: &'static str,
    /// What a type cannot say.
    pub facts: Facts,
}

impl Member {
    /// Whether it may be absent.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        matches!(self.ty, Type::Option(_))
    }

    /// Whether all of its value is secret.
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
    pub name: &'static str,
    /// What it is.
    pub docs: &'static str,
    /// Its cases, in order.
    pub cases: &'static [Case],
}

/// An enum type.
#[derive(Debug)]
#[non_exhaustive]
pub struct Enum {
    /// Its name in the WIT.
    pub name: &'static str,
    /// What it is.
    pub docs: &'static str,
    /// Its cases, in order; none has a payload.
    pub cases: &'static [Case],
}

/// A case of a variant or an enum.
#[derive(Debug)]
#[non_exhaustive]
pub struct Case {
    /// Its name in the WIT.
    pub name: &'static str,
    /// Its name in JSON.
    pub json: &'static str,
    /// What it means.
    pub docs: &'static str,
    /// What else it means after calls of single functions: a function's name in JSON, and the text.
    pub after: &'static [(&'static str, &'static str)],
    /// What it carries.
    pub payload: Option<Type>,
}

impl Case {
    /// What the case of an error means where the function fails with it.
    #[must_use]
    pub fn docs_after(&self, function: &Function) -> String {
        let after = self.after.iter().filter(|(name, _)| *name == function.json);
        after.fold(String::from(self.docs), |docs, (_, text)| format!("{docs} {text}"))
    }
}

/// What a type cannot say of a value.
#[derive(Debug)]
#[non_exhaustive]
pub struct Facts {
    /// The least and the greatest number.
    pub range: Option<(u64, u64)>,
    /// The least and the greatest length of a text, in characters.
    pub length: Option<(u64, u64)>,
    /// The greatest length of a list.
    pub max_items: Option<u64>,
    /// Formats of JSON Schema, of which a text has one.
    pub formats: &'static [&'static str],
    /// What an absent value means.
    pub default: Option<&'static str>,
    /// A value, as JSON where it is not a text.
    pub example: Option<&'static str>,
    /// What a number counts: `seconds` or `minutes`.
    pub unit: Option<&'static str>,
    /// The value, as JSON, that displays may omit.
    pub usual: Option<&'static str>,
    /// Whether it is masked wherever a call is shown or recorded.
    pub secret: Option<Secret>,
}

/// Which part of a value is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// All of it. Of a URI, the scheme, the host and the beginning of the path may be shown.
    Whole,
    /// The value of this query parameter, if it is a URL.
    Query(&'static str),
}

impl Facts {
    /// Nothing that the type does not say.
    pub const NONE: Self = Self {
        range: None,
        length: None,
        max_items: None,
        formats: &[],
        default: None,
        example: None,
        unit: None,
        usual: None,
        secret: None,
    };
}

/// Whether a function destroys something that cannot be made again.
#[must_use]
pub fn is_destructive(function: &Function) -> bool {
    function.json == "delete_room"
}

/// The function with this name, as JSON, Lua and MCP spell it.
#[must_use]
pub fn function(json: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.json == json)
}

/// The tool that is meant by another spelling of its name: `list_rooms`, `whereby.listRooms` or
/// `mcp__whereby__list-rooms` for `whereby_list_rooms`.
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

#[expect(missing_docs, reason = "generated from the WIT, where everything is documented")]
mod generated {
    use super::{Case, Enum, Facts, Function, Interface, Member, Record, Secret, Type, Variant};
    include!(concat!(env!("OUT_DIR"), "/catalog.rs"));
}

use generated::PACKAGE;
pub use generated::{ERROR, FUNCTIONS};
