//! The messages between the caller of a script and the thread that runs it.

use super::Runtime;
use super::control::Control;
use super::errors::ScriptError;
use super::namespaces::Namespaces;
use super::report::CallRecord;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A script, and the names that it can use.
pub(crate) struct Script {
    pub(crate) source: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) namespaces: Namespaces,
}

/// A script to run, and its caller's side.
pub(crate) struct Job {
    pub(crate) runtime: Runtime,
    pub(crate) script: Script,
    pub(crate) control: Arc<Control>,
    /// Wakes the thread while it waits for a call, to stop it.
    pub(crate) wake: Arc<Notify>,
    pub(crate) progress: Arc<Progress>,
}

/// The kind of a script.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A script in its own VM.
    Whole,
    /// Console input, which may be an expression, in the VM of the console.
    Typed,
}

/// How a script ended.
pub(crate) struct Ended {
    pub(crate) result: Value,
    /// The result as Lua shows it, if JSON cannot represent it and it was typed.
    pub(crate) shown: Option<String>,
    pub(crate) error: Option<ScriptError>,
}

impl Ended {
    pub(crate) fn failed(error: ScriptError) -> Self {
        Self { result: Value::Null, shown: None, error: Some(error) }
    }
}

/// What a script has done so far. It survives the script's thread.
#[derive(Default)]
pub(crate) struct Progress(Mutex<Done>);

/// What a script has done.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) output: String,
    pub(crate) calls: Vec<CallRecord>,
}

impl Progress {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Done> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
