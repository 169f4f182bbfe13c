//! The functions of `whereby:agent` as a stateless MCP server over streamable HTTP: a WebAssembly
//! component that imports `whereby:agent/read` and `whereby:agent/write`, and exports
//! `wasi:http/incoming-handler`. Composed with the component that implements them it is one file, which
//! any runtime serves that has WASI 0.2 and its HTTP.
//!
//! It answers `POST /mcp`, each request by itself: there is no session, and no stream. The tools are
//! those of the host's MCP server, derived from the same WIT, with results and errors in the same form.
//! Without the feature `write` it imports `read` only, so that what is composed has no code that
//! writes.
//!
//! Its settings are environment variables, beside those of the functions themselves:
//!
//! - `WHEREBY_GATEWAY_TOKEN`: what each request must bring as `Authorization: Bearer …`; at least 16
//!   visible ASCII characters.
//! - `WHEREBY_GATEWAY_ALLOW_WRITES`: `true` or `false`: whether rooms may be created and deleted. The
//!   default is `false`.
//! - `WHEREBY_GATEWAY_ALLOWED_ORIGINS`: the origins, as `https://host:port` with commas between, whose
//!   requests are taken. The default is none. A request without an `Origin` is not a web page's, and is
//!   taken without.
//!
//! Where the token is missing, or one of these cannot be understood, every request is refused with 503.
//!
//! **What it does not do.** It is no host: it has no grants, no approvals and no audit log, and whoever
//! has its token may make every call that it offers. It does not limit where its requests go, how many
//! calls there are, or how many connections: the runtime that serves it must let requests out to
//! Whereby's API alone. It speaks plain HTTP and leaves TLS to what stands before it. It answers no
//! preflight requests, so browsers keep pages of other origins from it; the allowed origins are for
//! clients that send one by themselves. Batches of messages, which one version of the protocol had, are
//! refused.

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

/// What the prelude of `std` has and that of `core` has not.
mod prelude {
    pub(crate) use alloc::borrow::{Cow, ToOwned};
    pub(crate) use alloc::string::{String, ToString};
    pub(crate) use alloc::vec::Vec;
    pub(crate) use alloc::{format, vec};
}

/// What `wit-bindgen` makes of the WIT package, and the export of the handler.
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

    // The name of the export is no name to other linkers.
    #[cfg(target_arch = "wasm32")]
    use super::Gateway;
    #[cfg(target_arch = "wasm32")]
    wasi::http::proxy::export!(Gateway);
}

/// The component: what the exported interface is implemented on.
#[derive(Debug)]
pub struct Gateway;

impl Guest for Gateway {
    fn handle(request: IncomingRequest, response: ResponseOutparam) {
        http::serve(&request, response);
    }
}
