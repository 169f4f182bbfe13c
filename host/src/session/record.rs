//! The error of a failed call. The host's record of requests and responses decides. The component's
//! error is used only if the record supports its kind.

use crate::error::{Error, FunctionError};
use crate::session::outbound::SentRequest;
use crate::session::outbound::cause::Cause;
use std::time::Duration;
use whereby_authority::grant::KnownRoom;
use whereby_authority::grant::WriteOutcome;
use whereby_catalog::failure;

/// How long a call must run before the component may report a timeout although every request has a
/// response.
const PATIENCE: Duration = Duration::from_secs(15);

/// The host's record of a call.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) requests: &'a [SentRequest],
    pub(super) write: WriteOutcome,
    /// The message of the last error response.
    pub(super) said: &'a str,
    /// How long the component ran.
    pub(super) elapsed: Duration,
    /// Whether the component is built in, so that its messages need no mark.
    pub(super) is_own: bool,
    /// Whether Whereby listed the room that the call deletes.
    pub(super) has_listed: bool,
}

impl<'a> Record<'a> {
    /// Returns the error to report instead of the one that the component returned.
    pub(super) fn judge(self, claim: FunctionError) -> Error {
        if !self.supports(&claim) {
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

    /// Whether the record supports the kind of error that the component claims.
    fn supports(self, claim: &FunctionError) -> bool {
        let open = matches!(claim.kind, "timeout" | "unavailable" | "unexpected-response");
        // The other kinds claim that nothing was changed.
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
            // Whereby has no request for a single room, so a room is looked up in a list.
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

    /// Returns the error according to the record, which contradicts the component.
    fn contradict(self, claim: &FunctionError) -> Error {
        let claimed = format!("the component reports {}: {}", claim.kind, claim.message);
        let Some(last) = self.last() else {
            let message = format!("{claimed}, but it sent no request");
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
                        "{claimed}, but {} {} returned {status}",
                        last.method, last.path
                    ),
                },
                None => Error::Function(FunctionError::new(
                    if last.is_over { "unavailable" } else { "timeout" },
                    format!("no response to {} {}; {claimed}", last.method, last.path),
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
        let message = format!("{} {} returned {status}{said}; {claimed}", last.method, last.path);
        let mut error = FunctionError::new(kind, message);
        error.http_status = Some(status);
        error.retry_after_seconds =
            (kind == "rate-limited").then(|| self.seconds_to_wait(429)).flatten();
        Error::Function(error)
    }

    /// Returns the last request that is over. A later request that was given up failed for the same
    /// reason.
    fn last(self) -> Option<&'a SentRequest> {
        self.requests.iter().rev().find(|sent| sent.is_over).or(self.requests.last())
    }

    /// Returns why [`Self::last`] has no usable response.
    fn cause(self) -> Option<&'a Cause> {
        self.last().and_then(|sent| sent.cause.as_ref())
    }

    /// Returns the retry delay of the last response with a status, in seconds, rounded up.
    fn seconds_to_wait(self, status: u16) -> Option<u64> {
        let mut answers = self.requests.iter().rev().filter(|sent| sent.status == Some(status));
        let wait = answers.next()?.wait.filter(|wait| !wait.is_zero())?;
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

/// Whether an approval is unused: nothing was changed, and every request had no response or a 429.
pub(super) fn is_unused(requests: &[SentRequest], write: WriteOutcome) -> bool {
    write == WriteOutcome::None
        && requests.iter().all(|sent| matches!(sent.status, None | Some(429)) && !sent.is_heard)
}

/// The remarks about the room that the built-in component adds to messages, for hosts that add none.
const REMARKS: [&str; 3] = [
    "; the room may exist all the same: look at list_rooms before trying again",
    "; the room may be gone all the same: ask get_room",
    "; the room exists: look at list_rooms",
];

/// Returns the error of a call whose write happened or may have happened. Only its hint says what is known
/// about the room, and what to do instead of repeating the call.
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
