//! The guard of a guarded component, between the functions and the network.
//!
//! It holds the API key and the rules. The functions get their HTTP types, streams and environment from
//! it, so that it reads each of their requests, checks it against the grant of the call, and sends its
//! own in its place. They read each response as the guard wrote it.
//!
//! Its settings are environment variables, all optional:
//!
//! - `WHEREBY_ACCESS_TOKEN`: the API key. Without it, the guard sends no `Authorization`, and the runtime
//!   must add its own.
//! - `WHEREBY_API_URL`: the base URL of the API. The default is `https://api.whereby.dev/v1`.
//! - `WHEREBY_PERMISSIONS`: the rules, as TOML: what `[permissions]` of `config.toml` contains, such as
//!   `write = "allow"` or `[functions.create_room]`. Without rules, reading is allowed, and writing is
//!   denied. What needs a person or a memory (`ask`, `force`, `elicitation`, `max_per_hour`,
//!   `max_per_day`, `created_by`) is an error.
//! - `WHEREBY_PARTICIPANTS`: `names`, or `hidden` to leave out who took part in meetings.
//! - `WHEREBY_KEY_CLAIMS`: the key's claims as JSON, if the runtime adds the key itself.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod cli;
mod error;
mod exchange;
mod fields;
mod grants;
mod guard;
mod outgoing;
mod request;
mod response;
#[cfg(target_arch = "wasm32")]
#[path = "../../src/runtime.rs"]
mod runtime;
mod settings;
mod state;
mod streams;

/// The items that the prelude of `std` has and that of `core` lacks.
mod prelude {
    pub(crate) use alloc::borrow::ToOwned;
    pub(crate) use alloc::rc::Rc;
    pub(crate) use alloc::string::{String, ToString};
    pub(crate) use alloc::vec::Vec;
    pub(crate) use alloc::{format, vec};
}

/// The bindings that `wit-bindgen` generates.
#[cfg_attr(
    target_arch = "wasm32",
    expect(unsafe_code, reason = "the canonical ABI moves values through raw memory")
)]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "generated code; its documentation is the WIT"
)]
mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "guard",
        generate_all,
        // One type for the error codes that are read and those that are written.
        merge_structurally_equal_types: true,
    });

    #[cfg(target_arch = "wasm32")]
    use super::Component;
    #[cfg(target_arch = "wasm32")]
    export!(Component);
}

/// The component.
struct Component;

/// Whether a string that another component passed is UTF-8. The bindings take it for granted, and some runtimes don't
/// check it: jco copies strings between components as they are. If a string ends within a character, `chars` reads
/// past its end, into the guard's memory, which contains the key.
fn is_text(given: &str) -> bool {
    core::str::from_utf8(given.as_bytes()).is_ok()
}
