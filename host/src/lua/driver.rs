//! Gives a script to a thread, enforces its time limit, and creates its report.

use super::Runtime;
use super::control::{Control, Stop};
use super::errors::ScriptError;
use super::message::{Done, Ended, Job, Progress, Script};
use super::report::Report;
use super::worker::Worker;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// The maximum time a stopped script may take to end before it is abandoned. Its thread then ends on its
/// own.
const GRACE: Duration = Duration::from_millis(500);

/// The report of a script, and whether its thread can run another one.
pub(crate) struct Driven {
    pub(crate) report: Report,
    pub(crate) shown: Option<String>,
    pub(crate) is_alive: bool,
}

/// Stops a script, even while it waits for a call.
struct Stopper {
    control: Arc<Control>,
    wake: Arc<Notify>,
}

impl Stopper {
    fn stop(&self, why: Stop) {
        self.control.stop(why);
        self.wake.notify_one();
    }
}

impl Drop for Stopper {
    /// The caller no longer waits for the script.
    fn drop(&mut self) {
        self.stop(Stop::Abandoned);
    }
}

pub(crate) async fn drive(
    runtime: &Runtime,
    worker: &Worker,
    control: &Arc<Control>,
    script: Script,
    until: impl Future<Output = ()>,
) -> Driven {
    let started = Instant::now();
    control.reset(&runtime.limits);
    let stopper = Stopper { control: Arc::clone(control), wake: Arc::default() };
    let progress: Arc<Progress> = Arc::default();
    let (ended, end) = oneshot::channel();
    let job = Job {
        runtime: runtime.clone(),
        script,
        control: Arc::clone(control),
        wake: Arc::clone(&stopper.wake),
        progress: Arc::clone(&progress),
    };
    worker.give(job, ended);
    let ended = until_end(runtime, &stopper, end, until).await;
    let is_alive = ended.is_some();
    let ended = ended.unwrap_or_else(|| Ended {
        result: Value::Null,
        shown: None,
        error: Some(match control.stopped() {
            Some(why) => ScriptError::stopped(why, &runtime.limits, None),
            None => ScriptError::new("internal", "the script's thread has ended", None),
        }),
    });
    let Done { output, calls } = std::mem::take(&mut *progress.lock());
    let Ended { result, shown, error } = ended;
    let error = error.map(|error| error.after(&calls));
    let report = Report { output, result, error, calls, duration: started.elapsed() };
    Driven { report, shown, is_alive }
}

/// Waits for the end of the script. Returns `None` if the script was abandoned or its thread has ended.
async fn until_end(
    runtime: &Runtime,
    stopper: &Stopper,
    mut end: oneshot::Receiver<Ended>,
    until: impl Future<Output = ()>,
) -> Option<Ended> {
    let control = &stopper.control;
    let clock = tokio::time::sleep(control.left() + GRACE);
    tokio::pin!(clock, until);
    loop {
        tokio::select! {
            biased;
            ended = &mut end => return ended.ok(),
            () = &mut until, if control.stopped().is_none() => stopper.stop(Stop::Interrupted),
            () = &mut clock => match (control.stopped(), control.left()) {
                (Some(_), _) => return None,
                // The time that a person takes does not count.
                (None, left) if !left.is_zero() || runtime.is_asking() => {
                    clock.as_mut().reset(tokio::time::Instant::now() + left + GRACE);
                    continue;
                }
                (None, _) => stopper.stop(Stop::Time),
            },
        }
        clock.as_mut().reset(tokio::time::Instant::now() + GRACE);
    }
}
