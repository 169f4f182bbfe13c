//! The tools, the calls that they make, and the types of those as JSON: generated from the catalogue
//! by the build script.

#[cfg(feature = "write")]
use crate::arguments::{
    FromJson,
    choice::{Case, FromCase, cases, choose},
};
use crate::arguments::{Members, Place};
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
    /// Whether it changes something.
    pub(crate) writes: bool,
    /// What `tools/list` says of it, as JSON.
    pub(crate) listing: &'static str,
    /// Reads the arguments of a call; the error names the one that is wrong, and says what would be
    /// right.
    pub(crate) read: fn(Json) -> Result<Call, String>,
}

include!(concat!(env!("OUT_DIR"), "/functions.rs"));
