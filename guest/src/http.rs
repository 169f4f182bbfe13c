//! Sends requests over `wasi:http` in parallel, and retries if that is safe.
//!
//! Only this module and its submodules call the host. Every such call takes time, so they request only
//! what they need.

mod error;
mod exchange;

use core::time::Duration;

use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::io::poll::{self, Pollable};
use wasi::random::random;

use crate::date::Moment;
use crate::error::{hide, is_refusal, milliseconds_left};
use crate::prelude::*;
use crate::retry::{self, Allowance, BUDGET, Cause, Decision};
use crate::settings::Settings;
use crate::transport::{Reply, Request, SendError, SendErrorKind, Transport};
use crate::types::Error;

use exchange::{Exchange, Progress, Response};

/// Returns the environment variables.
pub(crate) fn environment() -> Vec<(String, String)> {
    wasi::cli::environment::get_environment()
}

/// Returns the current time.
#[cfg_attr(not(feature = "write"), expect(dead_code, reason = "only `create-room` needs the time"))]
pub(crate) fn now() -> Result<Moment, Error> {
    let now = wall_clock::now();
    Moment::from_unix(now.seconds, now.nanoseconds)
        .ok_or_else(|| Error::Unavailable("the host's clock is not set".to_owned()))
}

/// The transport of one call, over `wasi:http`.
pub(crate) struct Http<'a> {
    settings: &'a Settings,
    deadline: Option<Deadline>,
    allowance: Allowance,
}

/// The time at which the call must end.
struct Deadline {
    /// By the monotonic clock, in nanoseconds.
    instant: u64,
    reached: Pollable,
}

/// A request in progress.
struct Slot {
    request: Request,
    attempts: u32,
    /// Whether an earlier attempt may have been carried out. Only writes use this.
    is_open: bool,
    state: State,
}

enum State {
    /// An attempt is in progress.
    Trying(Exchange),
    /// The next attempt begins when this is ready.
    Waiting(Pollable),
    Done(Result<Reply, SendError>),
}

impl<'a> Http<'a> {
    /// Returns a transport that has sent nothing yet. The time limit starts with the first request.
    pub(crate) fn new(settings: &'a Settings) -> Self {
        Self { settings, deadline: None, allowance: Allowance::of_call() }
    }

    /// Starts an attempt that is already counted.
    fn attempt(&mut self, slot: &mut Slot, deadline: &Deadline) {
        slot.attempts += 1;
        match Exchange::begin(self.settings, &slot.request) {
            Ok(exchange) => slot.state = State::Trying(exchange),
            Err(error) => self.settle_failure(slot, error, deadline),
        }
    }

    /// Continues a request whose pollable is ready.
    fn step(&mut self, slot: &mut Slot, deadline: &Deadline) {
        match &mut slot.state {
            State::Waiting(_) => self.attempt(slot, deadline),
            State::Trying(exchange) => match exchange.advance(&slot.request) {
                Progress::Pending => {}
                Progress::Complete(response) => self.settle_response(slot, response, deadline),
                Progress::Failed(error) => self.settle_failure(slot, error, deadline),
            },
            State::Done(_) => {}
        }
    }

    /// Makes a response the result, or schedules a retry.
    fn settle_response(&mut self, slot: &mut Slot, response: Response, deadline: &Deadline) {
        let Response { mut reply, retry_after } = response;
        if let Some(token) = &self.settings.token {
            reply.body = hide(reply.body, token);
        }
        reply.is_late = slot.is_open;
        if reply.status < 400 {
            slot.state = State::Done(Ok(reply));
            return;
        }
        let asked = retry_after.or_else(|| match reply.status {
            429 => milliseconds_left(&reply.body),
            _ => None,
        });
        let cause = Cause::Status(reply.status);
        slot.is_open |= !is_refusal(reply.status);
        slot.state = match self.decide(slot, deadline, cause, asked) {
            Decision::Again(wait) => wait_for(wait),
            Decision::Settle => State::Done(Ok(reply)),
            Decision::RateLimited(seconds) => State::Done(Err(SendError {
                kind: SendErrorKind::RateLimited(seconds),
                text: "Whereby's rate limit is reached".to_owned(),
                maybe_sent: slot.is_open,
            })),
        };
    }

    /// Makes a failure the result, or schedules a retry.
    fn settle_failure(
        &mut self,
        slot: &mut Slot,
        mut error: error::AttemptError,
        deadline: &Deadline,
    ) {
        slot.is_open |= error.failure.maybe_sent;
        error.failure.maybe_sent = slot.is_open;
        let again = if error.is_connection {
            self.decide(slot, deadline, Cause::Connection, None)
        } else {
            Decision::Settle
        };
        slot.state = match again {
            Decision::Again(wait) => wait_for(wait),
            _ => State::Done(Err(error.failure)),
        };
    }

    fn decide(
        &mut self,
        slot: &Slot,
        deadline: &Deadline,
        cause: Cause,
        asked: Option<Duration>,
    ) -> Decision {
        let (method, left) = (slot.request.method, deadline.left());
        let random = random::get_random_u64;
        retry::decide(method, slot.attempts, cause, asked, left, &mut self.allowance, random)
    }
}

impl Transport for Http<'_> {
    fn send_all(&mut self, requests: Vec<Request>) -> Vec<Result<Reply, SendError>> {
        let deadline = match self.deadline.take() {
            // Sending a request without the time to wait for it would leave its outcome unknown.
            Some(deadline) if deadline.left().is_zero() => {
                self.deadline = Some(deadline);
                return requests.iter().map(|_| Err(out_of_time(false))).collect();
            }
            Some(deadline) => deadline,
            None => Deadline::start(),
        };
        let mut slots: Vec<Slot> = requests
            .into_iter()
            .map(|request| {
                let state = State::Done(Err(retry::out_of_attempts()));
                let mut slot = Slot { request, attempts: 0, is_open: false, state };
                if self.allowance.take() {
                    self.attempt(&mut slot, &deadline);
                }
                slot
            })
            .collect();
        loop {
            let mut busy: Vec<&mut Slot> =
                slots.iter_mut().filter(|slot| !matches!(slot.state, State::Done(_))).collect();
            if busy.is_empty() {
                break;
            }
            // The deadline comes last, so that the other indexes match `busy`.
            let pollables: Vec<&Pollable> =
                busy.iter().filter_map(|slot| slot.pollable()).chain([&deadline.reached]).collect();
            let ready = poll::poll(&pollables);
            let mut is_late = false;
            for at in ready {
                match usize::try_from(at).ok().and_then(|at| busy.get_mut(at)) {
                    Some(slot) => self.step(slot, &deadline),
                    None => is_late = true,
                }
            }
            if is_late {
                break;
            }
        }
        self.deadline = Some(deadline);
        slots.into_iter().map(Slot::into_result).collect()
    }
}

impl Slot {
    fn pollable(&self) -> Option<&Pollable> {
        match &self.state {
            State::Trying(exchange) => Some(exchange.pollable()),
            State::Waiting(ready) => Some(ready),
            State::Done(_) => None,
        }
    }

    /// Returns the result. Without one, the time limit was reached.
    fn into_result(self) -> Result<Reply, SendError> {
        match self.state {
            State::Done(result) => result,
            State::Trying(_) | State::Waiting(_) => Err(out_of_time(true)),
        }
    }
}

impl Deadline {
    fn start() -> Self {
        let budget = nanoseconds(BUDGET);
        Self {
            instant: monotonic_clock::now().saturating_add(budget),
            reached: monotonic_clock::subscribe_duration(budget),
        }
    }

    fn left(&self) -> Duration {
        Duration::from_nanos(self.instant.saturating_sub(monotonic_clock::now()))
    }
}

fn wait_for(wait: Duration) -> State {
    State::Waiting(monotonic_clock::subscribe_duration(nanoseconds(wait)))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn out_of_time(maybe_sent: bool) -> SendError {
    SendError {
        kind: SendErrorKind::Timeout,
        text: format!("no complete response within {} seconds", BUDGET.as_secs()),
        maybe_sent,
    }
}
