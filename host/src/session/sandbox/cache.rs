//! Compiled code, kept on disk so that a component is compiled once.
//!
//! Whoever can write this code runs as the user, so it is kept only in a directory that is the
//! user's own and closed to everybody else. It is bounded: what was not used for longest goes.

use crate::config::limits::Limits;
use crate::error::Error;
use crate::session::sandbox::preflight;
use crate::system::digest::sha256;
use crate::system::file;
use crate::system::resource_limit;
use rayon::ThreadPoolBuilder;
use std::fs::{File, Metadata};
use std::hash::{Hash as _, Hasher as _};
use std::io::Write as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use wasmtime::Engine;
use wasmtime::component::Component;
use whereby_authority::text;

/// About as much as compiled code takes, in bytes.
const PROBE_BYTES: usize = 2 * 1024 * 1024;

/// How many files there may be. The built-in component takes one for each way of setting up the engine.
const MOST_FILES: usize = 100;

/// How long a file may have been used before that is noted.
const NOTED_EVERY: Duration = Duration::from_secs(60 * 60);

/// How old an unfinished file is that nobody writes any more.
const ABANDONED_AFTER: Duration = Duration::from_secs(60 * 60);

/// How many threads compile. Each takes memory for the function that it compiles, so a component
/// whose functions are all as large as they may be takes that much more on a larger machine.
const MOST_THREADS: usize = 4;

/// The process compiles one component at a time. A second call for the same component finds it
/// compiled, and other components wait, so that their memory does not add up.
static COMPILING: Mutex<()> = Mutex::new(());

/// Compiles a component, or takes what was compiled earlier.
///
/// # Errors
///
/// [`Error::ComponentFault`] where it is no component or would take too much to compile; nothing is
/// kept of it then.
pub(crate) fn load(
    engine: &Engine,
    bytes: &[u8],
    limits: &Limits,
    directory: Option<&Path>,
) -> Result<Component, Error> {
    let name = file_name(engine, bytes, limits);
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
        resource_limit::refused(error.chain()).unwrap_or_else(|| Error::ComponentFault {
            message: format!("not a component: {}", text::printable(&format!("{error:#}"), 500)),
        })
    })?;
    if let Some(file) = &file {
        // A cache that cannot be written costs time and nothing else.
        let _ = write(&component, file, limits.cache_bytes);
    }
    Ok(component)
}

/// Compiles in a few threads, or in this one where the system starts no more of them.
fn compile(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let pool = ThreadPoolBuilder::new().num_threads(threads.min(MOST_THREADS)).build();
    if let Ok(pool) = pool {
        return pool.install(|| Component::from_binary(engine, bytes));
    }
    let alone = Engine::new(engine.config().clone().parallel_compilation(false))?;
    let code = alone.precompile_component(bytes)?;
    #[expect(unsafe_code, reason = "the code is what the compiler has just made")]
    // SAFETY: nobody but the compiler had the code in hand.
    unsafe {
        Component::deserialize(engine, code)
    }
}

/// The name of a file of compiled code: the component's digest, and that of everything else that
/// decides what is compiled.
fn file_name(engine: &Engine, bytes: &[u8], limits: &Limits) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    preflight::hash(limits, &mut hasher);
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
    let component = component.ok()?;
    // Files by the time of their last use; where it cannot be noted, this one may go sooner.
    if age(&metadata) > NOTED_EVERY {
        let _ =
            File::options().append(true).open(file).and_then(|f| f.set_modified(SystemTime::now()));
    }
    Some(component)
}

#[cfg(not(unix))]
fn read(_: &Engine, _: &Path) -> Option<Component> {
    None
}

/// How long ago a file was written or used; one of the future is as good as new.
fn age(metadata: &Metadata) -> Duration {
    metadata.modified().ok().and_then(|time| time.elapsed().ok()).unwrap_or_default()
}

/// Writes beside the file and renames, so that nobody reads half of it, and makes room for it.
fn write(component: &Component, file: &Path, most_bytes: u64) -> Option<()> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let code = component.serialize().ok()?;
    let size = code.len() as u64;
    // One that would displace most of the others is not kept.
    if size > most_bytes / 4 {
        return None;
    }
    make_room(file, most_bytes - size)?;
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

/// Removes what was not used for longest until the rest is within bounds, and what was never
/// finished. Files that are not this program's stay. Another process may do the same meanwhile: what
/// is gone is gone, and what it still runs stays in its memory.
fn make_room(file: &Path, most_bytes: u64) -> Option<()> {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(file.parent()?).ok()?.flatten() {
        let path = entry.path();
        let kind = entry.file_name().to_str().and_then(Kind::of);
        // Of the entry itself, which may be a link.
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

/// A file of this program in the directory.
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
    fn only_files_of_the_programs_own_are_known() {
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
