//! Decides what a call may do, and checks every request against it.
//!
//! The crate is pure: it reads no file, variable or clock, and sends nothing. Rules, arguments and the
//! time go in; decisions, requests to send and rebuilt responses come out. It also builds for
//! `wasm32-wasip2`, so that a component can enforce the same rules. Without the feature `std`, it needs only
//! `core` and `alloc`, and has smaller parsers of TOML and URLs, which accept less.
//!
//! 1. [`arguments::Arguments::check`] normalizes the arguments.
//! 2. [`policy::Policy::decide`] returns a [`policy::Verdict`], which gives a [`policy::Permit`].
//! 3. [`table::FunctionRule`] says what the function may send; [`Scope`] binds it to the arguments.
//! 4. [`grant::Grant::issue`] uses up the permit. [`grant::Grant::admit`] reads each request of the
//!    component and returns one that contains only what the grant understood.
//! 5. [`answer::rebuild`] rebuilds each response from the members that the function may see, and
//!    [`people`] replaces who took part in a meeting if the policy says so.

#![cfg_attr(not(any(feature = "std", test, fuzzing)), no_std)]

extern crate alloc;

#[cfg(any(test, not(feature = "std")))]
mod address;
pub mod answer;
pub mod arguments;
pub mod conditions;
mod creation;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod grant;
pub mod key;
#[cfg(not(feature = "std"))]
mod map;
pub mod names;
pub mod people;
pub mod policy;
#[cfg(feature = "std")]
mod pseudonyms;
mod request;
mod scope;
#[cfg(feature = "std")]
pub mod secrets;
#[cfg(feature = "std")]
pub mod sentence;
pub mod suggest;
pub mod surrogate;
pub mod table;
pub mod tables;
pub mod text;
pub mod timestamp;
pub mod toml;

pub use error::{Error, find};
pub use request::Asked;
pub use scope::Scope;

/// What `std` has in its prelude, for the guarded component, which has no `std`.
mod prelude {
    pub(crate) use alloc::borrow::ToOwned;
    #[cfg(feature = "std")]
    pub(crate) use alloc::boxed::Box;
    pub(crate) use alloc::string::{String, ToString};
    pub(crate) use alloc::vec::Vec;
    pub(crate) use alloc::{format, vec};
}

/// Returns the byte offset of the first `part` in `text`.
///
/// The search of the standard library is fast, but would make the guarded component too large.
fn find_in(text: &str, part: &str) -> Option<usize> {
    #[cfg(feature = "std")]
    return text.find(part);
    #[cfg(not(feature = "std"))]
    if part.is_empty() {
        Some(0)
    } else {
        text.as_bytes().windows(part.len()).position(|window| window == part.as_bytes())
    }
}

/// Returns what is before and after the first occurrence of a text in another.
fn split_at<'a>(text: &'a str, part: &str) -> Option<(&'a str, &'a str)> {
    let at = find_in(text, part)?;
    Some((text.get(..at)?, text.get(at + part.len()..)?))
}

/// The URLs that a call may name. The guarded component has its own parser, which reads fewer: that of the
/// host knows the letters of all languages.
mod url {
    #[cfg(not(feature = "std"))]
    pub(crate) use crate::address::Url;
    #[cfg(feature = "std")]
    pub(crate) use ::url::{Position, Url};
}
