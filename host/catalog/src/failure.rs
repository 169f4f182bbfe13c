//! Messages and hints for the errors of the WIT.

use alloc::format;
use alloc::string::String;

/// The hint if it is unknown whether something was changed.
pub const UNKNOWN_OUTCOME_HINT: &str = "the change may have been made: check before trying again";

/// The hint if a call failed although its change was made.
pub const DONE_HINT: &str =
    "the change was made, so do not repeat the call; list_rooms shows the rooms";

/// Returns the hint for an error of this kind, if there is one.
#[must_use]
pub fn hint(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "unauthorized" => {
            "check the account's access token; to create or revoke a key, go to Configure > API in \
             Whereby's dashboard"
        }
        "access-denied" => {
            "a 403 from Whereby means that the API key or the organization's plan does not include this; \
             see Whereby's dashboard"
        }
        "rate-limited" => "wait before trying again; all keys of an organization share its limit",
        "unavailable" | "timeout" => "try again later",
        "unexpected-response" => {
            "Whereby's response does not match its documentation; check for a newer version of this \
             program"
        }
        _ => return None,
    })
}

/// Returns whether the same call may succeed later.
#[must_use]
pub fn is_retryable(kind: &str) -> bool {
    matches!(kind, "rate-limited" | "timeout" | "unavailable")
}

/// Returns the message of `rate-limited`. `seconds` is 0 if Whereby did not say how long to wait.
#[must_use]
pub fn rate_limited(seconds: u64) -> String {
    if seconds == 0 {
        return "the organization reached Whereby's rate limit; Whereby did not say for how long"
            .into();
    }
    format!("the organization reached Whereby's rate limit; wait {seconds} s")
}

/// Returns the message of `rejected`.
#[must_use]
pub fn rejected(status: u16, text: &str) -> String {
    match text {
        "" => format!("Whereby refused the request ({status}) without giving a reason"),
        text => format!("Whereby refused the request ({status}): {text}"),
    }
}
