//! The messages between the caller of a script and the thread that runs it.

use super::Runtime;
use super::control::Control;
use super::errors::ScriptError;
use super::namespaces::Namespaces;
use super::report::CallRecord;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

/// A script to run.
pub(crate) struct Job {
    pub(crate) runtime: Runtime,
    pub(crate) namespaces: Namespaces,
    pub(crate) source: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) control: Arc<Control>,
    /// Wakes the thread where it waits for a call and is to stop.
    pub(crate) wake: Arc<Notify>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) ended: oneshot::Sender<Ended>,
}

/// What kind of script it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One by itself, in a state of its own.
    Whole,
    /// What was typed: perhaps an expression, in the state that those before it have left.
    Typed,
}

/// How a script ended.
pub(crate) struct Ended {
    pub(crate) result: Value,
    /// The same as Lua shows it, where it has no form in JSON and a person is to see it.
    pub(crate) shown: Option<String>,
    pub(crate) error: Option<ScriptError>,
}

/// What a script has done so far, which is known whatever becomes of it.
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
