//! The operating system: the clock, private files, digests, and resource limits.

pub(crate) mod clock;
pub(crate) mod digest;
pub(crate) mod file;
#[cfg(feature = "inbox")]
pub(crate) mod peer;
pub(crate) mod random;
pub(crate) mod resource_limit;
pub(crate) mod user;
