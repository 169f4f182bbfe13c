//! What callers are told of an error of the WIT's, beyond its own text.

use alloc::format;
use alloc::string::String;

/// What to do where it is not known whether something was changed.
pub const UNKNOWN_OUTCOME_HINT: &str = "the change may have been made: look before trying again";

/// What to do where a call failed although its change was made.
pub const DONE_HINT: &str =
    "the change was made, so do not repeat the call; list_rooms shows the rooms";

/// What to do about an error of this kind, where there is something to do.
#[must_use]
pub fn hint(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "unauthorized" => {
            "check the account's access token: a key is made, and can be revoked, in Whereby's \
             dashboard under Configure, API"
        }
        "access-denied" => {
            "the API key or the organization's plan does not include this; see Whereby's dashboard"
        }
        "rate-limited" => "wait before trying again; all keys of an organization share its limit",
        "unavailable" | "timeout" => "try again later",
        "unexpected-response" => {
            "Whereby answered in a way that its documentation does not describe; look for a newer \
             version of this program"
        }
        _ => return None,
    })
}

/// Whether the same call may succeed later without anything being changed.
#[must_use]
pub fn is_retryable(kind: &str) -> bool {
    matches!(kind, "rate-limited" | "timeout" | "unavailable")
}

/// The text of `rate-limited`; 0 seconds where Whereby did not say how many.
#[must_use]
pub fn rate_limited(seconds: u64) -> String {
    if seconds == 0 {
        return "Whereby's rate limit for the organization is used up, and Whereby did not say for \
                how long"
            .into();
    }
    format!("Whereby's rate limit for the organization is used up for {seconds} s more")
}

/// The text of `rejected`.
#[must_use]
pub fn rejected(status: u16, text: &str) -> String {
    match text {
        "" => format!("Whereby refused the request ({status}) and did not say why"),
        text => format!("Whereby refused the request ({status}): {text}"),
    }
}
