//! Explains errors of the system about resources, and says what to change.

use crate::error::Error;
use std::any::Any;
use std::fmt;
use std::io;
use whereby_authority::text;

const MORE_THREADS: &str = "raise the limit on processes and threads (ulimit -u, systemd's TasksMax=, \
                            a container's pids limit)";

const MORE_FILES: &str = "raise the limit on open files (ulimit -n, systemd's LimitNOFILE=)";

const MORE_ADDRESSES: &str =
    "raise the limit on memory and address space (ulimit -v, systemd's LimitAS=)";

/// Returns what to change if the system lacks a resource.
#[cfg(unix)]
pub(crate) fn advice(error: &io::Error) -> Option<&'static str> {
    use rustix::io::Errno;
    match Errno::from_io_error(error)? {
        Errno::MFILE | Errno::NFILE => Some(MORE_FILES),
        Errno::NOMEM => Some(MORE_ADDRESSES),
        Errno::FBIG => {
            Some("raise the limit on the size of files (ulimit -f, systemd's LimitFSIZE=)")
        }
        Errno::ROFS => Some(
            "the file system is read-only; mount it writable, or use a directory on another one (HOME, \
             XDG_STATE_HOME, XDG_CACHE_HOME)",
        ),
        Errno::NOSPC => Some("make room on the disk"),
        Errno::DQUOT => Some("make room in your disk quota"),
        _ => None,
    }
}

#[cfg(not(unix))]
pub(crate) fn advice(_: &io::Error) -> Option<&'static str> {
    None
}

/// Returns the system's message, and what to change if that is known.
pub(crate) fn told(error: &io::Error) -> String {
    let advice = advice(error).map(|advice| format!("; {advice}"));
    format!("{error}{}", advice.unwrap_or_default())
}

/// Returns the error for a thread that could not be started.
pub(crate) fn no_thread(error: &io::Error) -> Error {
    Error::internal(format!("the system refuses to start another thread ({error}); {MORE_THREADS}"))
}

/// The minimum address space for running components, in bytes. With less, an allocation may fail before an
/// error can be formatted.
const LEAST_ADDRESSES: u64 = 256 * 1024 * 1024;

/// A limit on address space, in bytes, that is too low to run components. Formatting it does not allocate.
pub(crate) struct LowAddressSpace(u64);

impl LowAddressSpace {
    /// Returns the limit of this process, if it is too low.
    #[cfg(unix)]
    pub(crate) fn find() -> Option<Self> {
        use rustix::process::{Resource, getrlimit};
        let limit = getrlimit(Resource::As).current?;
        (limit < LEAST_ADDRESSES).then_some(Self(limit))
    }

    #[cfg(not(unix))]
    pub(crate) fn find() -> Option<Self> {
        None
    }
}

impl fmt::Display for LowAddressSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the address space is limited to {} MiB, but components need at least {} MiB; \
             {MORE_ADDRESSES}",
            self.0 / 1024 / 1024,
            LEAST_ADDRESSES / 1024 / 1024
        )
    }
}

/// Returns the error for a thread that panicked. Libraries panic if the system is out of resources.
pub(crate) fn panicked(what: &str, payload: &(dyn Any + Send)) -> Error {
    Error::internal(
        panic_of_system(payload).unwrap_or_else(|| format!("{what}; standard error says where")),
    )
}

/// Explains a panic if the system was out of resources.
pub(crate) fn panic_of_system(payload: &dyn Any) -> Option<String> {
    let said = payload.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
    let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
    if says(&["spawn worker thread", "failed to spawn thread", "thread pool"]) {
        Some(format!("the system refuses to start another thread; {MORE_THREADS}"))
    } else if says(&["Too many open files"]) {
        Some(format!("the system refuses to open another file; {MORE_FILES}"))
    } else if says(&["Cannot allocate memory"]) {
        Some(format!("the system refuses to give more memory; {MORE_ADDRESSES}"))
    } else {
        None
    }
}

/// Returns the error for a failure of the WebAssembly engine if the system caused it, and not the
/// component. Takes the error and its causes, outermost first.
pub(crate) fn refused<'a>(
    causes: impl IntoIterator<Item = &'a (dyn std::error::Error + 'static)>,
) -> Option<Error> {
    let refused = causes.into_iter().find_map(of_system)?;
    let refused = &refused;
    let shown = text::printable(&refused.to_string(), 200);
    let message = match refused.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "the system does not let this program make memory executable, which compiled code needs \
             ({shown}); for a systemd service set MemoryDenyWriteExecute=no, under SELinux allow \
             execmem"
        ),
        io::ErrorKind::OutOfMemory => format!(
            "the WebAssembly engine needs more address space than the system grants ({shown}); \
             {MORE_ADDRESSES}, or lower limits.concurrent_calls"
        ),
        io::ErrorKind::WouldBlock => {
            format!("the system refused a resource ({shown}); {MORE_THREADS}")
        }
        _ => match advice(refused) {
            Some(advice) => format!("the system refused a resource ({shown}); {advice}"),
            None => format!("the system denied a resource needed to run components: {shown}"),
        },
    };
    Some(Error::internal(message))
}

/// Extracts an error of the system, in either form that libraries use.
fn of_system(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    #[cfg(unix)]
    if let Some(errno) = error.downcast_ref::<rustix::io::Errno>() {
        return Some((*errno).into());
    }
    let error = error.downcast_ref::<io::Error>()?;
    Some(error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn an_error_of_the_system_says_what_to_change() {
        for (errno, words) in [
            (13, "MemoryDenyWriteExecute=no"),
            (1, "MemoryDenyWriteExecute=no"),
            (12, "ulimit -v"),
            (11, "ulimit -u"),
            (24, "ulimit -n"),
            (27, "ulimit -f"),
            (30, "read-only"),
            (28, "make room"),
            (5, "needed to run components"),
        ] {
            let by_std = wasmtime::Error::from(io::Error::from_raw_os_error(errno));
            let by_rustix = wasmtime::Error::from(rustix::io::Errno::from_raw_os_error(errno));
            for error in [by_std, by_rustix] {
                let error = error.context("unable to make memory executable");
                let shown = refused(error.chain()).expect("the system's fault").to_string();
                assert!(shown.contains(words), "{errno}: {shown}");
            }
        }
        assert!(refused(wasmtime::Error::msg("not a component").chain()).is_none());
    }

    #[test]
    fn a_panic_for_lack_of_resources_is_explained() {
        for (said, words) in [
            ("OS can't spawn worker thread: Resource temporarily unavailable", "ulimit -u"),
            ("The global thread pool has not been initialized.: ThreadPoolBuildError", "ulimit -u"),
            ("failed to create UnixStream: Too many open files (os error 24)", "ulimit -n"),
            ("failed to map: Cannot allocate memory (os error 12)", "ulimit -v"),
            ("index out of bounds", "compiling failed; standard error says where"),
        ] {
            let payload: Box<dyn Any + Send> = Box::new(said.to_owned());
            let shown = panicked("compiling failed", &*payload).to_string();
            assert!(shown.contains(words), "{said}: {shown}");
        }
    }
}
