//! The functions as tools of MCP.

use crate::{Function, Interface, is_destructive, schema};
use alloc::format;
use alloc::string::String;
use serde_json::{Map, Value};

/// What stands before a function's name in the name of its tool.
pub const PREFIX: &str = "whereby_";

/// What clients are told of the effect of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hints {
    /// It changes nothing.
    pub read_only: bool,
    /// It destroys something that cannot be made again.
    pub destructive: bool,
    /// To call it twice changes no more than to call it once.
    pub idempotent: bool,
    /// It reaches beyond the machine.
    pub open_world: bool,
}

impl Hints {
    /// The hints of a function's tool.
    #[must_use]
    pub fn of(function: &Function) -> Self {
        let read_only = function.interface == Interface::Read;
        let destructive = is_destructive(function);
        // What is deleted stays deleted, however often that is asked for.
        Self { read_only, destructive, idempotent: read_only || destructive, open_world: true }
    }
}

/// The name of a function's tool: `whereby_list_rooms`.
#[must_use]
pub fn name(function: &Function) -> String {
    format!("{PREFIX}{}", function.json)
}

/// The title of a function's tool: `List rooms`.
#[must_use]
pub fn title(function: &Function) -> String {
    let words = function.name.replace('-', " ");
    let (first, rest) = words.split_at(1);
    first.to_uppercase() + rest
}

/// The schema of a tool's arguments.
#[must_use]
pub fn input(function: &Function) -> Map<String, Value> {
    schema::of_tool(function, schema::Purpose::Argument)
}

/// The schema of a tool's structured result.
#[must_use]
pub fn output(function: &Function) -> Map<String, Value> {
    schema::of_tool(function, schema::Purpose::Result)
}
