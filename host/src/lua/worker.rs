//! The threads that run scripts.
//!
//! A script has a thread, because not every function of Lua's library can be interrupted. Its calls
//! are made on that thread as well, by connections of the thread's own, so that nothing is handed from
//! one thread to another for a call. Whoever waits for a script is told of its end in time, whatever
//! the script does; a thread that was given up ends by itself, at the latest when the function has gone
//! through all the memory that the script may have.

use super::errors::ScriptError;
use super::machine::Machine;
use super::message::{Ended, Job, Kind};
use crate::error::Error;
use crate::session::Session;
use crate::session::resources::Connections;
use crate::system::resource_limit;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How many scripts may run in a process. One that was given up counts until its thread has ended.
const MAX_MACHINES: usize = 64;

static MACHINES: AtomicUsize = AtomicUsize::new(0);

/// How many Lua states there are in this process: one for each script that runs, and one for each
/// [`Console`](super::Console) that has run one.
#[must_use]
pub fn machines() -> usize {
    MACHINES.load(Ordering::Acquire)
}

/// A state's place among them.
pub(crate) struct Place(());

impl Place {
    fn take() -> Option<Self> {
        let taken = MACHINES.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count < MAX_MACHINES).then_some(count + 1)
        });
        taken.ok().map(|_| Self(()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        MACHINES.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How many threads wait for further scripts, with their connections.
const MAX_IDLE: usize = 4;

static IDLE: Mutex<Vec<Worker>> = Mutex::new(Vec::new());

fn idle() -> MutexGuard<'static, Vec<Worker>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that runs one script after the other.
pub(crate) struct Worker {
    jobs: UnboundedSender<Job>,
    /// Whose connections the thread's are like.
    likeness: Connections,
}

impl Worker {
    /// A thread for the scripts of a session: one that waits, or a new one.
    pub(crate) fn hire(session: &Session) -> Result<Self, Error> {
        let likeness = session.connections();
        let mut idle = idle();
        // Those whose sessions are gone are of no use to anybody.
        idle.retain(|worker| !worker.jobs.is_closed() && worker.likeness.is_shared());
        let known = idle.iter().position(|worker| worker.likeness.is_same(&likeness));
        if let Some(index) = known {
            return Ok(idle.swap_remove(index));
        }
        drop(idle);
        let (jobs, received) = unbounded_channel();
        // The runtime is made once there is a thread for it: nobody else could drop it here.
        let (give, given) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("whereby-lua".into())
            // The parser and nested calls of Lua's C functions take a good deal of it.
            .stack_size(8 * 1024 * 1024)
            .spawn(move || {
                if let Ok(tokio) = given.recv() {
                    serve(tokio, received);
                }
            })
            .map_err(|error| resource_limit::no_thread(&error))?;
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("whereby-lua-io")
            .build()
            .map_err(|error| Error::Internal {
                message: format!("a script's connections could not be set up: {error}"),
            })?;
        // The thread waits for it.
        let _ = give.send(tokio);
        Ok(Self { jobs, likeness })
    }

    /// Runs a script. Its result goes to the sender in the job.
    pub(crate) fn give(&self, job: Job) {
        // Where the thread is gone, so is the sender of the end, and that is noticed.
        let _ = self.jobs.send(job);
    }

    /// Lets the thread wait for another script, once it has ended its last.
    pub(crate) fn retire(self) {
        let mut idle = idle();
        if idle.len() < MAX_IDLE {
            idle.push(self);
        }
    }
}

/// Runs scripts until all senders are gone.
fn serve(tokio: tokio::runtime::Runtime, mut jobs: UnboundedReceiver<Job>) {
    let tokio = Arc::new(tokio);
    let connections = Connections::default();
    // The state of what is typed, which lasts.
    let mut kept = None;
    // Waiting here, the thread also looks after its connections.
    while let Some(mut job) = tokio.block_on(jobs.recv()) {
        let (kind, ended) = (job.kind, std::mem::replace(&mut job.ended, gone()));
        let mut machine = match kept.take() {
            Some(machine) => Ok(machine),
            None => make(&job),
        };
        let end = match &mut machine {
            Ok((machine, _)) => {
                let session = job.runtime.session.over(&connections);
                machine.run(job, session, &tokio)
            }
            Err(error) => failed((**error).clone()),
        };
        if kind == Kind::Typed {
            kept = machine.ok();
        } else {
            // The memory is free before anybody hears of the end.
            drop(machine);
        }
        // The caller may have gone.
        let _ = ended.send(end);
    }
    drop(kept);
    // Whatever still waits, for a line from the terminal perhaps, is not waited for.
    if let Some(tokio) = Arc::into_inner(tokio) {
        tokio.shutdown_background();
    }
}

/// Returns a sender without a receiver.
fn gone() -> tokio::sync::oneshot::Sender<Ended> {
    tokio::sync::oneshot::channel().0
}

fn make(job: &Job) -> Result<(Machine, Place), Box<ScriptError>> {
    let internal = |message: String| Box::new(ScriptError::new("internal", message, None));
    let place = Place::take().ok_or_else(|| {
        internal(format!("{MAX_MACHINES} scripts run already; wait for one to end"))
    })?;
    let machine = Machine::new(&job.runtime.limits, &job.namespaces, &job.control);
    machine
        .map(|machine| (machine, place))
        .map_err(|error| internal(format!("there is no Lua state: {error}")))
}

fn failed(error: ScriptError) -> Ended {
    Ended { result: Value::Null, shown: None, error: Some(error) }
}
