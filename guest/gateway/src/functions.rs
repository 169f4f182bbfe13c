//! The tools, their calls, and the conversion of their types from and to JSON. The build script generates
//! them from the catalog.

#[cfg(feature = "write")]
use crate::arguments::{
    FromJson,
    choice::{Case, FromCase, cases, choose},
};
use crate::arguments::{Members, Path};
#[cfg(feature = "write")]
use crate::bindings::whereby::agent::write;
use crate::bindings::whereby::agent::{read, types};
use crate::json::{Json, ToJson};
use crate::prelude::*;

/// A function as a tool.
#[derive(Debug)]
pub(crate) struct Tool {
    /// The name of the tool: `whereby_list_rooms`.
    pub(crate) name: &'static str,
    /// Whether the function writes.
    pub(crate) writes: bool,
    /// The entry in `tools/list`, as JSON.
    pub(crate) listing: &'static str,
    /// Reads the arguments of a call. The error names the wrong argument and the expected form.
    pub(crate) read: fn(Json) -> Result<Call, String>,
}

include!(concat!(env!("OUT_DIR"), "/functions.rs"));
