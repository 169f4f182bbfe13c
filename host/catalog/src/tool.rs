//! The functions as MCP tools.

use crate::{Function, Interface, schema};
use alloc::format;
use alloc::string::String;
use serde_json::{Map, Value};

/// The prefix of tool names.
pub const PREFIX: &str = "whereby_";

/// The annotations that describe the effect of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hints {
    /// Whether it changes nothing.
    pub read_only: bool,
    /// Whether it destroys something that cannot be restored.
    pub destructive: bool,
    /// Whether calling it twice has the same effect as calling it once.
    pub idempotent: bool,
    /// Whether it reaches beyond this machine.
    pub open_world: bool,
}

impl Hints {
    /// Returns the hints for a function's tool.
    #[must_use]
    pub fn of(function: &Function) -> Self {
        let read_only = function.interface == Interface::Read;
        let destructive = function.is_destructive;
        // Deleting twice has the same effect as deleting once.
        Self { read_only, destructive, idempotent: read_only || destructive, open_world: true }
    }
}

/// Returns the name of a function's tool: `whereby_list_rooms`.
#[must_use]
pub fn name(function: &Function) -> String {
    format!("{PREFIX}{}", function.json)
}

/// Returns the title of a function's tool: `List rooms`.
#[must_use]
pub fn title(function: &Function) -> String {
    let words = function.name.replace('-', " ");
    let (first, rest) = words.split_at(1);
    first.to_uppercase() + rest
}

/// Returns the schema of a tool's arguments.
#[must_use]
pub fn input(function: &Function) -> Map<String, Value> {
    schema::of_tool(function, schema::Purpose::Argument)
}

/// Returns the schema of a tool's structured result.
#[must_use]
pub fn output(function: &Function) -> Map<String, Value> {
    schema::of_tool(function, schema::Purpose::Result)
}
