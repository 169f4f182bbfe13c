//! What fuzz targets may reach of the sandbox.

pub(crate) use super::sandbox::convert::{from_val, to_val};
pub(crate) use super::sandbox::preflight::check as check_component;
