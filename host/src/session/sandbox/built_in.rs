//! The components that the program contains.

/// The built-in component, with every function.
pub static BUILT_IN_COMPONENT: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/integration.wasm"));

/// The built-in component with only the functions that read.
pub static BUILT_IN_READER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/reader.wasm"));

/// [`BUILT_IN_COMPONENT`] composed with an MCP server over HTTP, for runtimes that serve
/// `wasi:http/incoming-handler`.
pub static BUILT_IN_GATEWAY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gateway.wasm"));

/// [`BUILT_IN_READER`] composed with the same MCP server.
pub static BUILT_IN_READER_GATEWAY: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/reader-gateway.wasm"));

/// The guard of guarded components.
pub(crate) static BUILT_IN_GUARD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guard.wasm"));

/// The front of guarded components, which callers see.
pub(crate) static BUILT_IN_FRONT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/front.wasm"));

/// The same without the functions that write.
pub(crate) static BUILT_IN_READER_FRONT: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/reader-front.wasm"));
