//! What a failed call is told as. The host's record of requests and responses decides; of the
//! component's error, only the kind is taken, and only where the record bears it out.

use crate::error::{Error, FunctionError};
use crate::session::outbound::SentRequest;
use crate::session::outbound::cause::Cause;
use std::time::Duration;
use whereby_authority::grant::KnownRoom;
use whereby_authority::grant::WriteOutcome;
use whereby_catalog::failure;

/// How long a call has to last before the component may call it late, where every request was
/// answered.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the host saw of a call.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) requests: &'a [SentRequest],
    pub(super) write: WriteOutcome,
    /// What the last response that was no success says.
    pub(super) said: &'a str,
    /// How long the component ran.
    pub(super) elapsed: Duration,
    /// Whether it is the built-in component, whose words need no mark.
    pub(super) is_own: bool,
    /// Whether Whereby listed the room that the call deletes.
    pub(super) has_listed: bool,
}

impl<'a> Record<'a> {
    /// The error to tell in place of the one that the component returned.
    pub(super) fn judge(self, claim: FunctionError) -> Error {
        if !self.bears_out(&claim) {
            return self.contradict(&claim);
        }
        let mut error = claim;
        if !self.is_own {
            error.message = format!("the component says: {}", error.message);
        }
        if error.kind == "rate-limited" {
            error.retry_after_seconds = self.seconds_to_wait(429);
            error.message = failure::rate_limited(error.retry_after_seconds.unwrap_or(0));
        }
        if let Some(cause) = self.cause()
            && (cause.kind == error.kind
                || matches!(error.kind, "timeout" | "unavailable" | "unexpected-response"))
        {
            cause.explain(&mut error);
        }
        let last = self.requests.last().and_then(|sent| sent.status);
        if error.kind == "unavailable" {
            error.retry_after_seconds = self.seconds_to_wait(503);
        }
        error.http_status = error.http_status.or(last.filter(|status| *status >= 300));
        Error::Function(error)
    }

    /// Whether an error may be of the kind that the component says.
    fn bears_out(self, claim: &FunctionError) -> bool {
        let open = matches!(claim.kind, "timeout" | "unavailable" | "unexpected-response");
        // The other kinds say that nothing was changed.
        match self.write {
            WriteOutcome::Done if claim.kind != "unexpected-response" => return false,
            WriteOutcome::Unknown if !open => return false,
            _ => {}
        }
        let any = |passes: &dyn Fn(&SentRequest) -> bool| self.requests.iter().any(passes);
        let answered = |passes: &dyn Fn(u16) -> bool| any(&|sent| sent.status.is_some_and(passes));
        match claim.kind {
            "invalid-argument" => self.requests.is_empty(),
            "unauthorized" => answered(&|status| status == 401),
            "access-denied" => answered(&|status| status == 403),
            // Whereby has no request for one room, so that there is none is read in a list.
            "not-found" => {
                !self.has_listed && answered(&|status| matches!(status, 200..=299 | 404))
            }
            "rate-limited" => answered(&|status| status == 429),
            "rejected" => answered(&|status| {
                (400..500).contains(&status) && Some(status) == claim.http_status
            }),
            "timeout" => {
                any(&|sent| !sent.is_over)
                    || self.elapsed >= PATIENCE
                    || answered(&|status| matches!(status, 408 | 504))
                    || any(&|sent| sent.cause.as_ref().is_some_and(|cause| cause.kind == "timeout"))
            }
            "unavailable" => {
                any(&|sent| sent.status.is_none())
                    || answered(&|status| status >= 500)
                    || any(&|sent| {
                        sent.cause.as_ref().is_some_and(|cause| cause.kind == claim.kind)
                    })
            }
            "unexpected-response" => !self.requests.is_empty(),
            _ => false,
        }
    }

    /// The error by the record alone, where the component says something else.
    fn contradict(self, claim: &FunctionError) -> Error {
        let claimed = format!("the component reports {}: {}", claim.kind, claim.message);
        let Some(last) = self.last() else {
            let message = format!("{claimed}; it sent no request that could have failed so");
            return Error::ComponentFault { message };
        };
        if let Some(cause) = &last.cause {
            let mut error = FunctionError::new(cause.kind, String::new());
            cause.explain(&mut error);
            error.message = format!("{}; {claimed}", error.message);
            error.http_status = last.status.filter(|status| *status >= 300);
            return Error::Function(error);
        }
        let Some(status) = last.status.filter(|status| *status >= 300) else {
            return match last.status {
                Some(status) => Error::ComponentFault {
                    message: format!(
                        "{claimed}; but {} {} was answered with {status}",
                        last.method, last.path
                    ),
                },
                None => Error::Function(FunctionError::new(
                    if last.is_over { "unavailable" } else { "timeout" },
                    format!("{} {} was not answered; {claimed}", last.method, last.path),
                )),
            };
        };
        let is_open = self.write != WriteOutcome::None;
        let kind = match status {
            500.. => "unavailable",
            _ if is_open => "unexpected-response",
            401 => "unauthorized",
            403 => "access-denied",
            404 => "not-found",
            429 => "rate-limited",
            400..500 => "rejected",
            _ => "unexpected-response",
        };
        let said = match self.said {
            "" => String::new(),
            said => format!(": {said}"),
        };
        let message =
            format!("{} {} was answered with {status}{said}; {claimed}", last.method, last.path);
        let mut error = FunctionError::new(kind, message);
        error.http_status = Some(status);
        error.retry_after_seconds =
            (kind == "rate-limited").then(|| self.seconds_to_wait(429)).flatten();
        Error::Function(error)
    }

    /// The last request of which something is known. One that was given up before anything came of it
    /// failed like the one before it.
    fn last(self) -> Option<&'a SentRequest> {
        self.requests.iter().rev().find(|sent| sent.is_over).or(self.requests.last())
    }

    /// Why the last request of which something is known has no response that can be used.
    fn cause(self) -> Option<&'a Cause> {
        self.last().and_then(|sent| sent.cause.as_ref())
    }

    /// How long the last answer with a status asks to wait, in seconds, rounded up.
    fn seconds_to_wait(self, status: u16) -> Option<u64> {
        let mut answers = self.requests.iter().rev().filter(|sent| sent.status == Some(status));
        let wait = answers.next()?.wait.filter(|wait| !wait.is_zero())?;
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

/// Whether nothing of what a person approved can have happened: nothing was changed, and nothing was
/// answered but that it is too early.
pub(super) fn is_unused(requests: &[SentRequest], write: WriteOutcome) -> bool {
    write == WriteOutcome::None
        && requests.iter().all(|sent| matches!(sent.status, None | Some(429)) && !sent.is_heard)
}

/// What the built-in component says of the room at the end of a message, for hosts that say nothing.
const REMARKS: [&str; 3] = [
    "; the room may exist all the same: look at list_rooms before trying again",
    "; the room may be gone all the same: ask get_room",
    "; the room exists: look at list_rooms",
];

/// The error of a call whose write happened, or may have. Its hint says what is known of the room, and
/// what to do instead of making the call again; nothing else in it does.
pub(super) fn after_write(
    error: Error,
    write: WriteOutcome,
    is_deletion: bool,
    room: &KnownRoom,
) -> Error {
    if write == WriteOutcome::None || matches!(error, Error::Interrupted) {
        return error;
    }
    let name =
        room.name.as_ref().map(|name| whereby_authority::text::printable(name.as_str(), 200));
    let id = room.id.as_ref().map(|id| format!("the id {}", id.as_str()));
    let room = match (name, id) {
        (Some(name), Some(id)) => Some(format!("the room `{name}` with {id}")),
        (Some(name), None) => Some(format!("the room `{name}`")),
        (None, Some(id)) => Some(format!("a room with {id}")),
        (None, None) => None,
    };
    let hint = match (write, is_deletion, room) {
        (WriteOutcome::Done, false, Some(room)) => {
            format!("Whereby created {room}, so do not repeat the call")
        }
        (WriteOutcome::Done, true, Some(room)) => {
            format!("Whereby deleted {room}, so do not repeat the call")
        }
        (WriteOutcome::Done, _, None) => failure::DONE_HINT.to_owned(),
        (_, true, Some(room)) => {
            format!("{room} may be gone: look with get_room before trying again")
        }
        (_, true, None) => failure::UNKNOWN_OUTCOME_HINT.to_owned(),
        (_, false, _) => "the room may exist: look at list_rooms before trying again".to_owned(),
    };
    let message = error.to_string();
    let mut told = match error {
        Error::Function(error) => error,
        error => FunctionError::new(error.kind(), message),
    };
    if let Some(message) = REMARKS.iter().find_map(|remark| told.message.strip_suffix(remark)) {
        told.message = message.to_owned();
    }
    (told.hint, told.retry_after_seconds) = (Some(hint), None);
    Error::Function(told)
}
