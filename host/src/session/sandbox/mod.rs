//! The component, and the engine that runs each call in its own instance.

pub(crate) mod built_in;
pub(crate) mod cache;
pub(crate) mod convert;
pub(crate) mod engine;
mod epoch;
pub(crate) mod guarded;
pub(crate) mod guarding;
pub(crate) mod inspect;
pub(crate) mod packaged;
pub(crate) mod preflight;
mod turns;
mod type_check;
