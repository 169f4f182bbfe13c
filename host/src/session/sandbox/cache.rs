//! The cache of compiled components on disk.
//!
//! Compiled code runs with the user's rights, so the directory must belong to the user and be closed to
//! others. The size is limited: the least recently used files are deleted first.

use crate::config::limits::Limits;
use crate::error::Error;
use crate::session::sandbox::preflight;
use crate::system::file;
use crate::system::resource_limit;
use rayon::ThreadPoolBuilder;
use std::fs::{File, Metadata};
use std::hash::{Hash as _, Hasher as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use wasmtime::Engine;
use wasmtime::component::Component;
use whereby_authority::text;

/// The approximate size of compiled code, in bytes.
const PROBE_BYTES: usize = 2 * 1024 * 1024;

/// The maximum number of files. The built-in component takes one for each configuration of the engine.
const MOST_FILES: usize = 100;

/// How often the last use of a file is recorded.
const NOTED_EVERY: Duration = Duration::from_secs(60 * 60);

/// The age at which an unfinished file is deleted.
const ABANDONED_AFTER: Duration = Duration::from_secs(60 * 60);

/// The maximum number of compiling threads. Each takes memory for its function, so the limit bounds the
/// memory for a component with many large functions.
const MOST_THREADS: usize = 4;

/// The process compiles one component at a time: a second call for the same component finds it compiled,
/// and the memory for different components does not add up.
static COMPILING: Mutex<()> = Mutex::new(());

/// Compiles a component with this SHA-256, or loads its compiled code from the cache.
///
/// # Errors
///
/// [`Error::ComponentFault`] if the bytes are not a component or take too much to compile.
pub(crate) fn load(
    engine: &Engine,
    bytes: &[u8],
    digest: &str,
    limits: &Limits,
    directory: Option<&Path>,
) -> Result<Component, Error> {
    let name = file_name(engine, digest, limits);
    let file = directory.and_then(|directory| Some(own(directory)?.join(name)));
    let kept = || file.as_ref().and_then(|file| read(engine, file));
    if let Some(component) = kept() {
        return Ok(component);
    }
    let _one = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(component) = kept() {
        return Ok(component);
    }
    preflight::check(bytes, limits)?;
    let component = compile(engine, bytes).map_err(|error| {
        resource_limit::refused(error.chain()).unwrap_or_else(|| {
            Error::component_fault(format!(
                "not a component: {}",
                text::printable(&format!("{error:#}"), 500)
            ))
        })
    })?;
    if let Some(file) = &file {
        // Without the cache, the next start only takes longer.
        let _ = write(&component, file, limits.cache_bytes);
    }
    Ok(component)
}

/// Compiles on a few threads, or on this thread if the system starts no others.
fn compile(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let pool = ThreadPoolBuilder::new().num_threads(threads.min(MOST_THREADS)).build();
    if let Ok(pool) = pool {
        return pool.install(|| Component::from_binary(engine, bytes));
    }
    let alone = Engine::new(engine.config().clone().parallel_compilation(false))?;
    let code = alone.precompile_component(bytes)?;
    #[expect(unsafe_code, reason = "the compiler has just made the code")]
    // SAFETY: the code comes directly from the compiler.
    unsafe {
        Component::deserialize(engine, code)
    }
}

/// Returns the name of a file of compiled code: the digest of the component, and the hash of everything
/// else that affects compilation.
fn file_name(engine: &Engine, digest: &str, limits: &Limits) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    preflight::hash(limits, &mut hasher);
    format!("{digest}-{:016x}.cwasm", hasher.finish())
}

/// Makes the directory if it does not exist. Returns `None` if it does not belong to the user or is open
/// to others.
fn own(directory: &Path) -> Option<PathBuf> {
    file::make_private_folder(directory).ok()?;
    let metadata = std::fs::symlink_metadata(directory).ok()?;
    (metadata.is_dir() && is_own(&metadata, 0o077)).then(|| directory.to_owned())
}

/// Whether the user owns a file or directory, and others have none of these permissions.
#[cfg(unix)]
fn is_own(metadata: &Metadata, permissions: u32) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & permissions == 0
}

/// Without owners and modes there is no cache.
#[cfg(not(unix))]
fn is_own(_: &Metadata, _: u32) -> bool {
    false
}

/// Returns why compiled code cannot be written to the user's own directory, if it cannot.
pub(crate) fn trouble(directory: &Path) -> Option<std::io::Error> {
    let probe = own(directory)?.join(format!("{}-probe.tmp", std::process::id()));
    let written = std::fs::write(&probe, vec![0; PROBE_BYTES]);
    // If writing failed, there may be no file.
    let _ = std::fs::remove_file(&probe);
    written.err()
}

fn read(engine: &Engine, file: &Path) -> Option<Component> {
    let metadata = std::fs::symlink_metadata(file).ok()?;
    if !(metadata.is_file() && is_own(&metadata, 0o022)) {
        return None;
    }
    #[expect(
        unsafe_code,
        reason = "the file was written by this program: it and its directory are the user's own"
    )]
    // SAFETY: only the user can write the file, and the name contains the component's digest.
    let component = unsafe { Component::deserialize_file(engine, file) };
    // Code from another version of the engine is compiled again.
    let component = component.ok()?;
    // The modification time is the last use. If it cannot be set, the file is only deleted sooner.
    if age(&metadata) > NOTED_EVERY {
        let _ =
            File::options().append(true).open(file).and_then(|f| f.set_modified(SystemTime::now()));
    }
    Some(component)
}

/// Returns the time since a file was written or used; zero for a time in the future.
fn age(metadata: &Metadata) -> Duration {
    metadata.modified().ok().and_then(|time| time.elapsed().ok()).unwrap_or_default()
}

/// Makes room for the code, and writes it to a temporary file that replaces the file atomically.
fn write(component: &Component, file: &Path, most_bytes: u64) -> Option<()> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let code = component.serialize().ok()?;
    let size = code.len() as u64;
    // Larger code would displace most other files.
    if size > most_bytes / 4 {
        return None;
    }
    make_room(file, most_bytes - size)?;
    // Unique among sessions, and among processes with the same id in other containers.
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    let (process, count) = (std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed));
    let beside = file.with_extension(format!("{process}-{count}-{since}.tmp"));
    file::replace(file, &beside, &code, false).ok()
}

/// Deletes abandoned files, and the least recently used ones until the rest fits. Other programs' files
/// stay. Another process may do the same at the same time: code that it runs stays in its memory.
fn make_room(file: &Path, most_bytes: u64) -> Option<()> {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(file.parent()?).ok()?.flatten() {
        let path = entry.path();
        let kind = entry.file_name().to_str().and_then(Kind::of);
        // Does not follow links.
        let (Some(kind), Ok(metadata)) = (kind, entry.metadata()) else { continue };
        let age = age(&metadata);
        match kind {
            _ if !metadata.is_file() => {}
            Kind::Code if path != file => kept.push((age, metadata.len(), path)),
            Kind::Unfinished if age > ABANDONED_AFTER => {
                let _ = std::fs::remove_file(path);
            }
            Kind::Code | Kind::Unfinished => {}
        }
    }
    kept.sort();
    let mut bytes = 0_u64;
    for (place, (_, size, path)) in kept.into_iter().enumerate() {
        bytes = bytes.saturating_add(size);
        if bytes > most_bytes || place + 1 >= MOST_FILES {
            let _ = std::fs::remove_file(path);
        }
    }
    Some(())
}

/// The kind of a file of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Code,
    Unfinished,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        let (stem, rest) = name.split_once('.').unwrap_or((name, ""));
        let is_hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_numbers = |text: &str, count| {
            text.split('-').count() == count
                && text.split('-').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        };
        let of_code =
            stem.split_once('-').is_some_and(|(code, how)| is_hex(code, 64) && is_hex(how, 16));
        let probe = stem.strip_suffix("-probe").is_some_and(|process| is_numbers(process, 1));
        match rest.strip_suffix(".tmp") {
            _ if of_code && rest == "cwasm" => Some(Self::Code),
            Some(writer) if of_code && is_numbers(writer, 3) => Some(Self::Unfinished),
            _ if probe && rest == "tmp" => Some(Self::Unfinished),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_files_are_recognized() {
        let code = format!("{}-{}", "0123456789abcdef".repeat(4), "f".repeat(16));
        for (name, kind) in [
            (format!("{code}.cwasm"), Some(Kind::Code)),
            (format!("{code}.1234-0-1764321000000000000.tmp"), Some(Kind::Unfinished)),
            ("1234-probe.tmp".into(), Some(Kind::Unfinished)),
            (format!("{code}.cwasm.bak"), None),
            (format!("{code}x.cwasm"), None),
            (format!("{}.cwasm", code.to_uppercase()), None),
            (format!("{}.cwasm", &code[1..]), None),
            (format!("{code}.tmp"), None),
            (format!("{code}.1234-0.tmp"), None),
            (format!("{code}.1234--1.tmp"), None),
            (code, None),
            ("-probe.tmp".into(), None),
            ("mine-probe.tmp".into(), None),
            ("notes.tmp".into(), None),
            ("state.cwasm".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(Kind::of(&name), kind, "{name}");
        }
    }
}
