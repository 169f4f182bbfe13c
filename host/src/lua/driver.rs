//! Whoever waits for a script: makes its calls, watches the clock, and reports.

use super::Runtime;
use super::control::{Control, Stop};
use super::errors::{FailedCall, ScriptError};
use super::machine::{Asked, Ended, Event, Job, Reply};
use super::report::{CallRecord, Report};
use crate::call::Outcome;
use crate::error::WriteOutcome;
use serde_json::Value;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long a script that was stopped may take to end before it is given up. Its thread then ends
/// by itself.
const GRACE: Duration = Duration::from_millis(500);

/// How often it is looked whether a person still thinks about a question.
const PATIENCE: Duration = Duration::from_millis(250);

/// A script to run, and how.
pub(crate) struct Script<'a> {
    pub(crate) source: &'a str,
    pub(crate) name: &'a str,
    pub(crate) may_be_expression: bool,
}

/// Stops the script where nobody waits for it any more.
struct StopOnDrop(Arc<Control>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop(Stop::Abandoned);
    }
}

/// A call under way.
struct Under {
    record: usize,
    id: u64,
    /// Whether anything but a read has left.
    wrote: Arc<AtomicBool>,
    future: Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

/// What came of a script, and whether its machine can take another one.
pub(crate) struct Driven {
    pub(crate) report: Report,
    pub(crate) shown: Option<String>,
    pub(crate) is_alive: bool,
}

pub(crate) async fn drive(
    runtime: &Runtime,
    machine: &mpsc::Sender<Job>,
    control: &Arc<Control>,
    script: Script<'_>,
    until: impl Future<Output = ()>,
) -> Driven {
    let started = Instant::now();
    control.reset(&runtime.limits);
    let _guard = StopOnDrop(Arc::clone(control));
    let (events, received) = unbounded_channel();
    let (replies, replied) = mpsc::channel();
    let job = Job {
        source: script.source.to_owned(),
        name: script.name.to_owned(),
        may_be_expression: script.may_be_expression,
        events,
        replies: replied,
    };
    let mut driver = Driver {
        runtime,
        control,
        replies,
        report: Report { duration: Duration::ZERO, ..Report::failed(gone()) },
        under_way: Vec::new(),
        waiting: VecDeque::new(),
    };
    let ended = match machine.send(job) {
        Ok(()) => driver.until_end(received, until).await,
        Err(_) => None,
    };
    driver.cut_off();
    let mut report = driver.report;
    report.duration = started.elapsed();
    let is_alive = ended.is_some();
    let ended = ended.unwrap_or_else(|| Ended {
        result: Value::Null,
        shown: None,
        error: Some(match control.stopped() {
            Some(why) => ScriptError::stopped(why, &runtime.limits, None),
            None => gone(),
        }),
    });
    report.result = ended.result;
    report.error = ended.error;
    Driven { report, shown: ended.shown, is_alive }
}

/// A machine that is not there any more: a mistake of ours.
fn gone() -> ScriptError {
    ScriptError::new("internal", "the script's thread has ended", None)
}

struct Driver<'a> {
    runtime: &'a Runtime,
    control: &'a Arc<Control>,
    replies: mpsc::Sender<Reply>,
    report: Report,
    under_way: Vec<Under>,
    waiting: VecDeque<(usize, Asked)>,
}

impl Driver<'_> {
    /// Serves the script until its end; `None` where there is none.
    async fn until_end(
        &mut self,
        mut events: UnboundedReceiver<Event>,
        until: impl Future<Output = ()>,
    ) -> Option<Ended> {
        let clock = tokio::time::sleep(self.runtime.limits.timeout);
        tokio::pin!(clock);
        tokio::pin!(until);
        let mut given_up = false;
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event? {
                    Event::Output(text) => self.write(&text),
                    Event::Call(asked) => self.call(asked),
                    Event::Ended(ended) => return Some(*ended),
                },
                (under, outcome) = poll_fn(|context| poll(&mut self.under_way, context)) => {
                    self.ended(&under, outcome);
                }
                () = &mut until, if self.control.stopped().is_none() => {
                    self.stop(Stop::Interrupted);
                    clock.as_mut().reset(tokio::time::Instant::now() + GRACE);
                    given_up = true;
                }
                () = &mut clock => {
                    if given_up {
                        return None;
                    }
                    // The time that a person takes is not the script's.
                    if self.control.stopped().is_none() && self.is_asking() {
                        self.control.set_deadline(PATIENCE + GRACE);
                        clock.as_mut().reset(tokio::time::Instant::now() + PATIENCE);
                        continue;
                    }
                    self.stop(Stop::Time);
                    clock.as_mut().reset(tokio::time::Instant::now() + GRACE);
                    given_up = true;
                }
            }
        }
    }

    fn is_asking(&self) -> bool {
        self.runtime.asking.as_ref().is_some_and(|asking| asking.load(Ordering::Relaxed))
    }

    fn stop(&self, why: Stop) {
        self.control.stop(why);
        let _ = self.replies.send(Reply::Wake);
    }

    fn write(&mut self, text: &str) {
        self.report.output.push_str(text);
        if let Some(output) = &self.runtime.output {
            output(text);
        }
    }

    fn call(&mut self, asked: Asked) {
        let record = self.report.calls.len();
        self.report.calls.push(CallRecord {
            function: asked.function.json,
            account: Some(asked.account.clone()),
            error: None,
            write: WriteOutcome::None,
            requests: 0,
            duration: Duration::ZERO,
            line: asked.line,
        });
        self.waiting.push_back((record, asked));
        self.begin();
    }

    /// Begins calls that wait, as many as there may be.
    fn begin(&mut self) {
        while self.under_way.len() < self.runtime.limits.parallel
            && let Some((record, asked)) = self.waiting.pop_front()
        {
            let Asked { id, account, function, arguments, .. } = asked;
            let call = self.runtime.call(&account, function.json, arguments);
            let wrote = Arc::new(AtomicBool::new(false));
            let sees_write = Arc::clone(&wrote);
            let call = call.observer(Arc::new(move |method, _| {
                sees_write.fetch_or(method != "GET", Ordering::Relaxed);
            }));
            let session = self.runtime.session.clone();
            let future = Box::pin(async move { session.run(call).await });
            self.under_way.push(Under { record, id, wrote, future });
        }
    }

    fn ended(&mut self, under: &Under, outcome: Outcome) {
        let record = &mut self.report.calls[under.record];
        record.requests = outcome.requests.len();
        record.duration = outcome.duration;
        if let (Some(problem), Some(notice)) = (&outcome.unrecorded, &self.runtime.notice) {
            notice(&format!("the audit log does not have all of a call: {problem}"));
        }
        let result = outcome.result.map_err(|error| {
            record.error = Some(error.kind());
            record.write = outcome.write;
            FailedCall {
                function: record.function,
                account: outcome.account,
                error,
                write: outcome.write,
            }
        });
        // A script that has ended wants no reply.
        let _ = self.replies.send(Reply::Call { id: under.id, result });
        self.begin();
    }

    /// Tells of the calls that the script did not wait for.
    fn cut_off(&mut self) {
        let wrote = |under: Under| (under.record, under.wrote.load(Ordering::Relaxed));
        let begun = self.under_way.drain(..).map(wrote);
        let waiting = self.waiting.drain(..).map(|(record, _)| (record, false));
        for (record, wrote) in begun.chain(waiting).collect::<Vec<_>>() {
            let record = &mut self.report.calls[record];
            record.error = Some("interrupted");
            if wrote {
                record.write = WriteOutcome::Unknown;
            }
        }
    }
}

/// The next of the calls under way that has ended. There are few, so all are asked each time.
fn poll(under_way: &mut Vec<Under>, context: &mut Context<'_>) -> Poll<(Under, Outcome)> {
    for index in 0..under_way.len() {
        if let Poll::Ready(outcome) = under_way[index].future.as_mut().poll(context) {
            return Poll::Ready((under_way.swap_remove(index), outcome));
        }
    }
    Poll::Pending
}
