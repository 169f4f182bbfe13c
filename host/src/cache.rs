//! Compiled code, kept on disk so that a component is compiled once.
//!
//! Whoever can write this code runs as the user, so it is kept only in a directory that is the
//! user's own and closed to everybody else.

use crate::error::Error;
use crate::{file, surroundings, text};
use sha2::{Digest as _, Sha256};
use std::hash::{Hash as _, Hasher as _};
use std::io::Write as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::Component;

/// About as much as compiled code takes, in bytes.
const PROBE_BYTES: usize = 2 * 1024 * 1024;

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
    let component = compile(engine, bytes).map_err(|error| {
        surroundings::refused(&error).unwrap_or_else(|| Error::ComponentFault {
            message: format!("not a component: {}", text::printable(&format!("{error:#}"), 500)),
        })
    })?;
    if let Some(file) = &file {
        // A cache that cannot be written costs time and nothing else.
        let _ = write(&component, file);
    }
    Ok(component)
}

/// Compiles in as many threads as there are processors, or in this one where the system starts no
/// more of them: the compiler panics where it cannot start its own.
fn compile(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    if can_start(threads) {
        return Component::from_binary(engine, bytes);
    }
    let alone = Engine::new(engine.config().clone().parallel_compilation(false))?;
    let code = alone.precompile_component(bytes)?;
    #[expect(unsafe_code, reason = "the code is what the compiler has just made")]
    // SAFETY: nobody but the compiler had the code in hand.
    unsafe {
        Component::deserialize(engine, code)
    }
}

/// Whether so many threads can run at a time, besides those that run.
fn can_start(threads: usize) -> bool {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        let started = (0..threads).all(|_| {
            // It lasts until the sender is gone.
            let wait = || drop(receiver.lock().map(|receiver| receiver.recv()));
            std::thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, wait).is_ok()
        });
        drop(sender);
        started
    })
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

/// Why no compiled code can be written into a directory, although it is the user's own.
pub(crate) fn trouble(directory: &Path) -> Option<std::io::Error> {
    let probe = own(directory)?.join(format!("{}-probe.tmp", std::process::id()));
    let written = std::fs::write(&probe, vec![0; PROBE_BYTES]);
    // Where nothing could be written, there may be nothing to remove.
    let _ = std::fs::remove_file(&probe);
    written.err()
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
