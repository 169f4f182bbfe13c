//! The operating system: the clock, private files, digests, and resource limits.

pub(crate) mod clock;
pub(crate) mod digest;
pub(crate) mod file;
pub(crate) mod resource_limit;
pub(crate) mod user;
