//! What the operating system gives: the time, private files, and resources with limits.

pub(crate) mod clock;
pub(crate) mod digest;
pub(crate) mod file;
pub(crate) mod resource_limit;
