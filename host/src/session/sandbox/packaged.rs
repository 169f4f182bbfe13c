//! The built-in component's compiled code that comes with a package of the program, so that the first call
//! on a machine does not compile.
//!
//! The code is for the least processor of its architecture. A SHA-256 at the end of the file binds it to
//! the component and to this version of the program.

use crate::error::Error;
use crate::session::sandbox::engine;
use crate::system::digest::sha256;
use crate::system::file;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use wasmtime::component::Component;
use wasmtime::{Engine, Precompiled};

/// The maximum size of the file, in bytes.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// Whether packaged code is used.
#[derive(Clone, Debug)]
pub(crate) enum Packaged {
    /// The program came without it, or runs another component.
    Absent,
    Used(PathBuf),
    /// The component was compiled instead, or comes from the cache.
    Unused(PathBuf, Reason),
}

/// Why packaged code is not used.
#[derive(Clone, Debug)]
pub(crate) struct Reason {
    /// What is wrong with the file.
    pub(crate) what: String,
    pub(crate) fix: &'static str,
}

impl Reason {
    fn new(what: impl Into<String>, fix: &'static str) -> Self {
        Self { what: what.into(), fix }
    }
}

/// Returns where a package puts the code: beside the folder of the program.
pub(crate) fn beside_program() -> Option<PathBuf> {
    // The program may have been started by a link.
    let program = std::env::current_exe().and_then(|program| program.canonicalize()).ok()?;
    Some(program.parent()?.parent()?.join("lib/whereby/component.cwasm"))
}

/// Compiles a component for a package.
///
/// # Errors
///
/// [`Error::Internal`] if it cannot be compiled.
pub(crate) fn make(component: &[u8]) -> Result<Vec<u8>, Error> {
    let code = engine::for_packages().and_then(|e| e.precompile_component(component));
    let mut code = code
        .map_err(|error| Error::internal(format!("the component cannot be compiled: {error:#}")))?;
    code.extend(seal(&sha256(component), &code));
    Ok(code)
}

/// Loads the code of the component with this SHA-256.
pub(crate) fn load(engine: &Engine, digest: &str, path: &Path) -> (Packaged, Option<Component>) {
    match read(engine, digest, path) {
        Ok(None) => (Packaged::Absent, None),
        Ok(component) => (Packaged::Used(path.to_owned()), component),
        Err(why) => (Packaged::Unused(path.to_owned(), why), None),
    }
}

fn read(engine: &Engine, digest: &str, path: &Path) -> Result<Option<Component>, Reason> {
    let unguarded =
        |what| Reason::new(what, "install the package where only root and you can write");
    let Some(bytes) = file::read_guarded(path, MOST_BYTES).map_err(unguarded)? else {
        return Ok(None);
    };
    let damaged = || {
        let what = "is damaged or for another version of the program";
        Reason::new(what, "install the package again")
    };
    let (code, found) = bytes.split_last_chunk().ok_or_else(damaged)?;
    if seal(digest, code) != *found
        || Engine::detect_precompiled(code) != Some(Precompiled::Component)
    {
        return Err(damaged());
    }
    #[expect(
        unsafe_code,
        reason = "only root and the user can change or replace the file, and it is as it was made"
    )]
    // SAFETY: the code is the compiler's own: its digest matches, and others can't exchange the file.
    // Mapped, because a copy would need a file in memory, which a limit on the size of files forbids.
    let component = unsafe { Component::deserialize_file(engine, path) };
    component.map(Some).map_err(|error| {
        let what = format!("does not fit the engine here: {error:#}");
        Reason::new(what, "raise the limit on address space, if there is one (ulimit -v)")
    })
}

/// Returns the digest of compiled code, of the digest of its component, and of this version of the program.
fn seal(component: &str, code: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(component)
        .chain_update(env!("CARGO_PKG_VERSION"))
        .chain_update(code)
        .finalize()
        .into()
}
