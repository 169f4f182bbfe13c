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

/// How often to check whether a person is still being asked.
const ASKING_INTERVAL: Duration = Duration::from_millis(250);

/// The time after which a thread polls its connections before it uses one: while a script was busy, the
/// server may have closed them.
const STALE: Duration = Duration::from_secs(1);

/// The result of a call, for the script.
pub(crate) type Reply = Result<Value, Box<FailedCall>>;

/// A call that a script requests.
pub(crate) struct CallRequest {
    pub(crate) account: String,
    pub(crate) function: &'static Function,
    pub(crate) arguments: Value,
    pub(crate) line: Option<usize>,
}

/// A call in progress.
type InFlight = Pin<Box<dyn Future<Output = Finished> + Send>>;

/// A call that has ended.
struct Finished {
    /// The call's number, which is the index of its record.
    id: usize,
    outcome: Outcome,
    /// How long it waited for a person.
    waited: Duration,
}

/// The calls of one script.
pub(crate) struct Calls {
    runtime: Runtime,
    session: Session,
    control: Arc<Control>,
    wake: Arc<Notify>,
    progress: Arc<Progress>,
    in_flight: Vec<InFlight>,
    waiting: VecDeque<(usize, CallRequest)>,
    /// When the connections were last polled.
    polled: Instant,
    /// The timer for the script's deadline. It is kept, because setting it wakes the thread.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Calls {
    pub(crate) fn new(
        runtime: Runtime,
        session: Session,
        control: Arc<Control>,
        wake: Arc<Notify>,
        progress: Arc<Progress>,
    ) -> Self {
        let (in_flight, waiting) = (Vec::new(), VecDeque::new());
        let polled = Instant::now();
        let timer = None;
        Self { runtime, session, control, wake, progress, in_flight, waiting, polled, timer }
    }

    /// Prints text.
    pub(crate) fn write(&self, text: &str) {
        self.progress.lock().output.push_str(text);
        if let Some(output) = &self.runtime.output {
            output(text);
        }
    }

    /// Submits a call, which begins at once or when fewer are in progress. Returns its number.
    pub(crate) fn submit(&mut self, request: CallRequest) -> usize {
        let mut done = self.progress.lock();
        let id = done.calls.len();
        done.calls.push(CallRecord {
            function: request.function.json,
            account: Some(request.account.clone()),
            // This remains if the script ends first.
            error: Some("interrupted"),
            write: WriteOutcome::None,
            requests: 0,
            duration: Duration::ZERO,
            line: request.line,
        });
        drop(done);
        self.waiting.push_back((id, request));
        self.begin();
        id
    }

    /// Begins waiting calls, up to the limit of parallel calls.
    fn begin(&mut self) {
        while self.in_flight.len() < self.runtime.limits.parallel
            && let Some((id, request)) = self.waiting.pop_front()
        {
            let CallRequest { account, function, arguments, .. } = request;
            let progress = Arc::clone(&self.progress);
            let call = self.runtime.call(&account, function.json, arguments);
            let call = call.observer(Arc::new(move |method, _| {
                let mut done = progress.lock();
                let record = &mut done.calls[id];
                record.requests += 1;
                // A sent write may have taken effect, until the outcome is known.
                if method != "GET" {
                    record.write = WriteOutcome::Unknown;
                }
            }));
            let session = self.session.clone();
            self.in_flight.push(Box::pin(async move {
                let begun = Instant::now();
                let outcome = session.run(call).await;
                let waited = begun.elapsed().saturating_sub(outcome.duration);
                Finished { id, outcome, waited }
            }));
        }
    }

    /// Waits for the next call to end. Returns `None` if the script must stop.
    pub(crate) async fn next(&mut self) -> Option<(usize, Reply)> {
        if self.polled.elapsed() > STALE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let next = self.until_next().await;
        self.polled = Instant::now();
        next
    }

    async fn until_next(&mut self) -> Option<(usize, Reply)> {
        loop {
            if self.control.stopped().is_some() {
                return None;
            }
            let left = self.control.left();
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                finished = poll_fn(|context| poll(&mut self.in_flight, context)) => {
                    return Some((finished.id, self.ended(finished)));
                }
                () = timer => {
                    if self.control.left().is_zero() {
                        if self.runtime.is_asking() {
                            // The time that a person takes does not count.
                            self.control.set_deadline(ASKING_INTERVAL);
                        } else {
                            self.control.stop(Stop::Time);
                        }
                    }
                    self.timer = None;
                }
            }
        }
    }

    fn ended(&mut self, finished: Finished) -> Reply {
        let Finished { id, outcome, waited } = finished;
        self.control.extend(waited);
        if let (Some(problem), Some(notice)) = (&outcome.unrecorded, &self.runtime.notice) {
            notice(&format!("the audit log is missing part of a call: {problem}"));
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

/// Returns a call that has ended. Polls all calls, because there are few.
fn poll(in_flight: &mut Vec<InFlight>, context: &mut Context<'_>) -> Poll<Finished> {
    for index in 0..in_flight.len() {
        if let Poll::Ready(finished) = in_flight[index].as_mut().poll(context) {
            drop(in_flight.swap_remove(index));
            return Poll::Ready(finished);
        }
    }
    Poll::Pending
}
