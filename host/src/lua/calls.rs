//! The calls of a script: runs them in parallel through the session and records them.

use super::Runtime;
use super::control::{Control, Stop};
use super::errors::FailedCall;
use super::message::Progress;
use super::report::CallRecord;
use crate::session::Session;
use crate::session::call::Outcome;
use serde_json::Value;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::Sleep;
use whereby_authority::grant::WriteOutcome;
use whereby_catalog::Function;

/// How often it is looked whether a person still thinks about a question.
const PATIENCE: Duration = Duration::from_millis(250);

/// After how long without a look at its connections a thread looks at them before it uses one: a
/// script that was busy has not noticed that the server closed it.
const STALE: Duration = Duration::from_secs(1);

/// What a script gets of a call.
pub(crate) type Reply = Result<Value, Box<FailedCall>>;

/// A call that a script asks for.
pub(crate) struct Asked {
    pub(crate) account: String,
    pub(crate) function: &'static Function,
    pub(crate) arguments: Value,
    pub(crate) line: Option<usize>,
}

/// A call under way.
struct Under {
    /// Its number, which is its place among the records.
    id: usize,
    future: Pin<Box<dyn Future<Output = Ran> + Send>>,
}

/// How a call ended, and how long a person took for it.
struct Ran {
    outcome: Outcome,
    waited: Duration,
}

/// The calls of one script.
pub(crate) struct Calls {
    runtime: Runtime,
    session: Session,
    control: Arc<Control>,
    wake: Arc<Notify>,
    progress: Arc<Progress>,
    under_way: Vec<Under>,
    waiting: VecDeque<(usize, Asked)>,
    /// When the connections were last looked after.
    looked: Instant,
    /// Rings when the time is up, and is set once: setting it wakes the thread for nothing.
    clock: Option<Pin<Box<Sleep>>>,
}

impl Calls {
    pub(crate) fn new(
        runtime: Runtime,
        session: Session,
        control: Arc<Control>,
        wake: Arc<Notify>,
        progress: Arc<Progress>,
    ) -> Self {
        let (under_way, waiting) = (Vec::new(), VecDeque::new());
        let looked = Instant::now();
        let clock = None;
        Self { runtime, session, control, wake, progress, under_way, waiting, looked, clock }
    }

    /// Prints a text.
    pub(crate) fn write(&self, text: &str) {
        self.progress.lock().output.push_str(text);
        if let Some(output) = &self.runtime.output {
            output(text);
        }
    }

    /// Makes a call, at once or when fewer are under way. Its number.
    pub(crate) fn ask(&mut self, asked: Asked) -> usize {
        let mut done = self.progress.lock();
        let id = done.calls.len();
        done.calls.push(CallRecord {
            function: asked.function.json,
            account: Some(asked.account.clone()),
            // That is how it ends where the script does so before it.
            error: Some("interrupted"),
            write: WriteOutcome::None,
            requests: 0,
            duration: Duration::ZERO,
            line: asked.line,
        });
        drop(done);
        self.waiting.push_back((id, asked));
        self.begin();
        id
    }

    /// Begins calls that wait, as many as there may be.
    fn begin(&mut self) {
        while self.under_way.len() < self.runtime.limits.parallel
            && let Some((id, asked)) = self.waiting.pop_front()
        {
            let Asked { account, function, arguments, .. } = asked;
            let progress = Arc::clone(&self.progress);
            let call = self.runtime.call(&account, function.json, arguments);
            let call = call.observer(Arc::new(move |method, _| {
                let mut done = progress.lock();
                let record = &mut done.calls[id];
                record.requests += 1;
                // What has left may have been done, until it is known.
                if method != "GET" {
                    record.write = WriteOutcome::Unknown;
                }
            }));
            let session = self.session.clone();
            let future = Box::pin(async move {
                let begun = Instant::now();
                let outcome = session.run(call).await;
                let waited = begun.elapsed().saturating_sub(outcome.duration);
                Ran { outcome, waited }
            });
            self.under_way.push(Under { id, future });
        }
    }

    /// The next call to end; `None` where the script is to stop.
    pub(crate) async fn next(&mut self) -> Option<(usize, Reply)> {
        if self.looked.elapsed() > STALE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let next = self.until_next().await;
        self.looked = Instant::now();
        next
    }

    async fn until_next(&mut self) -> Option<(usize, Reply)> {
        loop {
            if self.control.stopped().is_some() {
                return None;
            }
            let left = self.control.left();
            let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                (under, ran) = poll_fn(|context| poll(&mut self.under_way, context)) => {
                    return Some((under.id, self.ended(under.id, ran)));
                }
                () = clock => {
                    let left = self.control.left();
                    if left.is_zero() {
                        match self.runtime.is_asking() {
                            // The time that a person takes is not the script's.
                            true => self.control.set_deadline(PATIENCE),
                            false => self.control.stop(Stop::Time),
                        }
                    }
                    self.clock = None;
                }
            }
        }
    }

    fn ended(&mut self, id: usize, ran: Ran) -> Reply {
        let Ran { outcome, waited } = ran;
        self.control.extend(waited);
        if let (Some(problem), Some(notice)) = (&outcome.unrecorded, &self.runtime.notice) {
            notice(&format!("the audit log does not have all of a call: {problem}"));
        }
        self.begin();
        let mut done = self.progress.lock();
        let record = &mut done.calls[id];
        record.requests = outcome.requests.len();
        record.duration = outcome.duration;
        record.error = outcome.result.as_ref().err().map(crate::error::Error::kind);
        record.write = outcome.write;
        outcome.result.map_err(|error| {
            Box::new(FailedCall {
                function: record.function,
                account: outcome.account,
                error,
                write: outcome.write,
            })
        })
    }
}

/// The next of the calls under way that has ended. There are few, so all are asked each time.
fn poll(under_way: &mut Vec<Under>, context: &mut Context<'_>) -> Poll<(Under, Ran)> {
    for index in 0..under_way.len() {
        if let Poll::Ready(ran) = under_way[index].future.as_mut().poll(context) {
            return Poll::Ready((under_way.swap_remove(index), ran));
        }
    }
    Poll::Pending
}
