//! Decides what a call may do, and checks every request against it.
//!
//! The crate is pure: it reads no file, variable or clock, and sends nothing. Rules, arguments and the
//! time go in; decisions, requests to send and rebuilt responses come out. It also builds for
//! `wasm32-wasip2`, so that a component can enforce the same rules.
//!
//! 1. [`arguments::Arguments::check`] normalizes the arguments.
//! 2. [`policy::Policy::decide`] returns a [`policy::Verdict`], which gives a [`policy::Permit`].
//! 3. [`table::FunctionRule`] says what the function may send; [`Scope`] binds it to the arguments.
//! 4. [`grant::Grant::issue`] uses up the permit. [`grant::Grant::admit`] reads each request of the
//!    component and returns one that contains only what the grant understood.
//! 5. [`answer::rebuild`] rebuilds each response from the members that the function may see, and
//!    [`people`] replaces who took part in a meeting if the policy says so.

pub mod answer;
pub mod arguments;
pub mod conditions;
mod creation;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod grant;
pub mod names;
pub mod people;
pub mod policy;
mod request;
mod scope;
pub mod secrets;
pub mod sentence;
pub mod suggest;
pub mod surrogate;
pub mod table;
pub mod text;
pub mod timestamp;

pub use error::{Error, find};
pub use request::Asked;
pub use scope::Scope;
