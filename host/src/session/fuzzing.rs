//! The parts of the sandbox that fuzz targets use.

pub(crate) use super::sandbox::convert::{from_val, to_val};
pub(crate) use super::sandbox::preflight::check as check_component;
