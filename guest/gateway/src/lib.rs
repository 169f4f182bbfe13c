//! The functions of `whereby:agent` as a stateless MCP server over streamable HTTP: a WebAssembly
//! component that imports `whereby:agent/read` and `whereby:agent/write`, and exports
//! `wasi:http/incoming-handler`. Composed with the component that implements them, it is one file that any
//! runtime with WASI 0.2 and `wasi:http` can serve.
//!
//! It serves `POST /mcp`. Each request is independent: there are no sessions and no streams. The tools are
//! those of the host's MCP server, derived from the same WIT, with results and errors in the same form.
//! Without the feature `write`, it imports `read` only, so the composed file has no code that writes.
//!
//! Its settings are environment variables, in addition to those of the functions:
//!
//! - `WHEREBY_GATEWAY_TOKEN`: the token that each request must send as `Authorization: Bearer …`; at least
//!   16 visible ASCII characters.
//! - `WHEREBY_GATEWAY_ALLOW_WRITES`: whether rooms may be created and deleted, `true` or `false`. Default:
//!   `false`.
//! - `WHEREBY_GATEWAY_ALLOWED_ORIGINS`: the origins whose requests are accepted, as comma-separated
//!   `https://host:port`. Default: none. A request without an `Origin` does not come from a web page and is
//!   accepted.
//!
//! If the token is missing or a setting is invalid, every request is refused with 503.
//!
//! **Limits.** The gateway is not a host: it has no grants, no approvals and no audit log, and anyone with
//! its token can make every call that it offers. It does not limit the destinations of its requests, the
//! number of calls or the number of connections: the runtime must restrict requests to Whereby's API. It
//! serves plain HTTP; a proxy in front of it must add TLS. It answers no preflight requests, so browsers
//! keep pages from other origins away; the allowed origins are for clients that send an `Origin` of their
//! own. It refuses batches of messages, which one version of the protocol had.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod admission;
mod arguments;
mod failure;
mod functions;
mod http;
mod json;
mod reply;
mod rpc;
#[cfg(target_arch = "wasm32")]
#[path = "../../src/runtime.rs"]
mod runtime;
mod settings;
mod tools;

use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{IncomingRequest, ResponseOutparam};

/// The items that the prelude of `std` has and that of `core` lacks.
mod prelude {
    pub(crate) use alloc::borrow::{Cow, ToOwned};
    pub(crate) use alloc::string::{String, ToString};
    pub(crate) use alloc::vec::Vec;
    pub(crate) use alloc::{format, vec};
}

/// The bindings that `wit-bindgen` generates, and the export of the handler.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "generated code; its documentation is the WIT"
)]
mod bindings {
    #[cfg(feature = "write")]
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package whereby:gateway;
            world full {
                import whereby:agent/read@0.1.0;
                import whereby:agent/write@0.1.0;
            }
        ",
        world: "whereby:gateway/full",
        generate_all,
        additional_derives: [PartialEq],
    });
    #[cfg(not(feature = "write"))]
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package whereby:gateway;
            world reader {
                import whereby:agent/read@0.1.0;
            }
        ",
        world: "whereby:gateway/reader",
        generate_all,
        additional_derives: [PartialEq],
    });

    // Other linkers do not accept the export's name.
    #[cfg(target_arch = "wasm32")]
    use super::Gateway;
    #[cfg(target_arch = "wasm32")]
    wasi::http::proxy::export!(Gateway);
}

/// Implements the exported interface.
#[derive(Debug)]
pub struct Gateway;

impl Guest for Gateway {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        #[cfg(target_arch = "wasm32")]
        runtime::begin_call();
        http::serve(&request, response);
        #[cfg(target_arch = "wasm32")]
        runtime::end_call();
    }
}
