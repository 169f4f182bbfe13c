//! The threads that run scripts.
//!
//! Each running script has its own thread, because some functions of Lua's library cannot be
//! interrupted. Its calls run on the same thread, over the thread's own connections, so a call needs no
//! handover between threads. The caller learns of the script's end in time, whatever the script does.
//! An abandoned thread ends on its own, at the latest when the function has processed all of the
//! script's memory.

use super::errors::ScriptError;
use super::message::{Ended, Job, Kind};
use super::vm::Vm;
use crate::error::Error;
use crate::session::Session;
use crate::session::resources::Connections;
use crate::system::resource_limit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot::Sender;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The maximum number of VMs in a process. An abandoned one counts until its thread has ended.
const MAX_VMS: usize = 64;

static VMS: Semaphore = Semaphore::const_new(MAX_VMS);

/// Returns the number of Lua VMs in this process: one for each running script, and one for each
/// [`Console`](super::Console) that has run a script.
#[must_use]
pub fn machines() -> usize {
    MAX_VMS - VMS.available_permits()
}

/// The maximum number of idle threads, which keep their connections.
const MAX_IDLE: usize = 4;

static IDLE: Mutex<Vec<Worker>> = Mutex::new(Vec::new());

fn idle() -> MutexGuard<'static, Vec<Worker>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that runs scripts one after another.
pub(crate) struct Worker {
    jobs: UnboundedSender<(Job, Sender<Ended>)>,
    /// The connections of the session that the thread runs scripts for.
    session_connections: Connections,
}

impl Worker {
    /// Returns a thread for the scripts of a session: an idle or a new one.
    pub(crate) fn checkout(session: &Session) -> Result<Self, Error> {
        let session_connections = session.connections();
        let mut idle = idle();
        // Drop the threads of sessions that are gone.
        idle.retain(|worker| !worker.jobs.is_closed() && worker.session_connections.is_shared());
        let known =
            idle.iter().position(|worker| worker.session_connections.is_same(&session_connections));
        if let Some(index) = known {
            return Ok(idle.swap_remove(index));
        }
        drop(idle);
        let (jobs, received) = unbounded_channel();
        // The runtime is created after the thread, because it cannot be dropped in this async context.
        let (give, given) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("whereby-lua".into())
            // The parser and nested calls of Lua's C functions need a large stack.
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
            .map_err(|error| {
                Error::internal(format!("cannot set up a script's connections: {error}"))
            })?;
        // The thread is waiting for it.
        let _ = give.send(tokio);
        Ok(Self { jobs, session_connections })
    }

    /// Runs a script. Its result goes to the sender.
    pub(crate) fn give(&self, job: Job, ended: Sender<Ended>) {
        // If the thread is gone, so is the sender, and the receiver fails.
        let _ = self.jobs.send((job, ended));
    }

    /// Keeps the thread for another script.
    pub(crate) fn checkin(self) {
        let mut idle = idle();
        if idle.len() < MAX_IDLE {
            idle.push(self);
        }
    }
}

/// Runs scripts until all senders are gone.
fn serve(tokio: tokio::runtime::Runtime, mut jobs: UnboundedReceiver<(Job, Sender<Ended>)>) {
    let tokio = Arc::new(tokio);
    let connections = Connections::default();
    // The VM of a console, which persists.
    let mut kept = None;
    // While the thread waits here, it also drives its connections.
    while let Some((job, ended)) = tokio.block_on(jobs.recv()) {
        let kind = job.script.kind;
        let vm = kept.take().map_or_else(|| make(&job), Ok);
        let end = match &vm {
            Ok((vm, _)) => {
                let session = job.runtime.session.over(&connections);
                vm.run(job, session, &tokio)
            }
            Err(error) => Ended::failed((**error).clone()),
        };
        if kind == Kind::Typed {
            kept = vm.ok();
        } else {
            // Free the memory before reporting the end.
            drop(vm);
        }
        // The caller may have gone.
        let _ = ended.send(end);
    }
    drop(kept);
    // Do not wait for blocked tasks, such as one that reads a line from the terminal.
    if let Some(tokio) = Arc::into_inner(tokio) {
        tokio.shutdown_background();
    }
}

fn make(job: &Job) -> Result<(Vm, SemaphorePermit<'static>), Box<ScriptError>> {
    let internal = |message: String| Box::new(ScriptError::new("internal", message, None));
    let permit = VMS.try_acquire().map_err(|_| {
        internal(format!("{MAX_VMS} scripts are already running; wait for one to end"))
    })?;
    Vm::new(&job.runtime.limits, &job.script.namespaces, &job.control)
        .map(|vm| (vm, permit))
        .map_err(|error| internal(format!("cannot create a Lua VM: {error}")))
}
