//! Who may do what: decides what one call may do, and checks every request against it.
//!
//! The crate is pure. It reads no file, variable or clock and sends nothing: rules, arguments and the
//! time come in, and decisions, requests to send and answers to pass on go out. It builds for
//! `wasm32-wasip2` too, where a component can enforce the same rules.
//!
//! 1. [`arguments::Arguments::check`] brings the arguments into their normal form.
//! 2. [`policy::Policy::decide`] gives a [`policy::Verdict`], and that a [`policy::Permit`].
//! 3. [`table::FunctionRule`] says what the function may send; [`Scope`] binds it to the arguments.
//! 4. [`grant::Grant::issue`] uses up the permit. [`grant::Grant::admit`] reads each request of the
//!    component and returns one that is written from nothing but what the grant understood.
//! 5. [`answer::rebuild`] writes each response from the members that the function may see.

pub mod answer;
pub mod arguments;
mod creation;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod grant;
pub mod names;
pub mod policy;
mod request;
mod scope;
pub mod secrets;
pub mod suggest;
pub mod surrogate;
pub mod table;
pub mod text;
pub mod timestamp;

pub use error::{Error, find};
pub use request::Asked;
pub use scope::Scope;
