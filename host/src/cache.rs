//! Compiled code, kept on disk so that a component is compiled once.
//!
//! Whoever can write this code runs as the user, so it is kept only in a directory that is the
//! user's own and closed to everybody else.

use crate::error::Error;
use crate::{file, text};
use sha2::{Digest as _, Sha256};
use std::hash::{Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::Component;

/// The SHA-256 of some bytes, in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compiles a component, or takes what was compiled earlier.
pub(crate) fn load(
    engine: &Engine,
    bytes: &[u8],
    directory: Option<&Path>,
) -> Result<Component, Error> {
    let file = directory.and_then(|directory| Some(own(directory)?.join(file_name(engine, bytes))));
    if let Some(file) = &file
        && let Some(component) = read(engine, file)
    {
        return Ok(component);
    }
    check_form(bytes)?;
    let component =
        Component::from_binary(engine, bytes).map_err(|error| Error::ComponentFault {
            message: format!("not a component: {}", text::printable(&format!("{error:#}"), 500)),
        })?;
    if let Some(file) = &file {
        // A cache that cannot be written costs time and nothing else.
        let _ = write(&component, file);
    }
    Ok(component)
}

/// Says in plain words what is no component at all; what is malformed within, the engine says.
fn check_form(bytes: &[u8]) -> Result<(), Error> {
    let message = match bytes {
        // The magic bytes, the version of the binary format, and which of its two layers it is of.
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => {
            "not a component: it is a core WebAssembly module; `wasm-tools component new` makes one of it"
        }
        _ => "not a component: it does not begin as WebAssembly does",
    };
    Err(Error::ComponentFault { message: message.into() })
}

fn file_name(engine: &Engine, bytes: &[u8]) -> String {
    // The same bytes compile to other code with another engine or other settings of it.
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{}-{:016x}.cwasm", sha256(bytes), hasher.finish())
}

/// The directory, made where there is none; `None` where it is not the user's own.
#[cfg(unix)]
fn own(directory: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    file::make_private_folder(directory).ok()?;
    let metadata = std::fs::symlink_metadata(directory).ok()?;
    let own = metadata.is_dir()
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & 0o077 == 0;
    own.then(|| directory.to_owned())
}

/// Elsewhere nothing says whose a directory is, so nothing is kept.
#[cfg(not(unix))]
fn own(_: &Path) -> Option<PathBuf> {
    None
}

#[cfg(unix)]
fn read(engine: &Engine, file: &Path) -> Option<Component> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::symlink_metadata(file).ok()?;
    let own = metadata.is_file()
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & 0o022 == 0;
    if !own {
        return None;
    }
    #[expect(
        unsafe_code,
        reason = "the file was written by this program: it and its directory are the user's own"
    )]
    // SAFETY: nobody but the user can write the file, and the name holds the component's digest.
    let component = unsafe { Component::deserialize_file(engine, file) };
    // What another version of the engine wrote is compiled anew.
    component.ok()
}

#[cfg(not(unix))]
fn read(_: &Engine, _: &Path) -> Option<Component> {
    None
}

/// Writes beside the file and renames, so that nobody reads half of it.
fn write(component: &Component, file: &Path) -> Option<()> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let code = component.serialize().ok()?;
    // Of nobody else's: neither another session's of this process, nor of an equal process number.
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    let (process, count) = (std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed));
    let beside = file.with_extension(format!("{process}-{count}-{since}.tmp"));
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    let mut to = file::make_private_file(&beside, options).ok()?;
    let renamed = to.write_all(&code).and_then(|()| std::fs::rename(&beside, file));
    if renamed.is_err() {
        // Half a file is of no use to anybody.
        let _ = std::fs::remove_file(&beside);
    }
    renamed.ok()
}
