//! Opens and closes grants, for the front.

use crate::bindings::exports::whereby::guard::grants;
use crate::guard::{Ending, Refusal};
use crate::prelude::*;
use crate::state;
use crate::{Component, is_text};

impl grants::Guest for Component {
    fn open(function: String, arguments: String) -> Result<(), grants::Refusal> {
        let opened = decide(&function, &arguments);
        state::end_call(false);
        opened.map_err(from_refusal)
    }

    fn close(ending: grants::Ending, message: String) -> Result<(), grants::Refusal> {
        let ending = match ending {
            // Without its message, it says as much as any other error.
            _ if !is_text(&message) => Ending::Failure,
            grants::Ending::Success => Ending::Success,
            grants::Ending::Timeout => Ending::Open(Refusal::Timeout, message),
            grants::Ending::Unavailable => Ending::Open(Refusal::Unavailable, message),
            grants::Ending::UnexpectedResponse => Ending::Open(Refusal::Unexpected, message),
            grants::Ending::Failure => Ending::Failure,
        };
        let closed = state::with(|guard| guard.close(ending));
        state::end_call(true);
        closed.map_err(from_refusal)
    }
}

/// Decides on a call, and opens its grant.
fn decide(function: &str, arguments: &str) -> Result<(), Refusal> {
    if !is_text(function) || !is_text(arguments) {
        return Err(Refusal::Invalid("the arguments are not UTF-8".into()));
    }
    if state::is_full() {
        let message = "the component holds too many resources of earlier calls, or too large ones; \
                       make a new instance";
        return Err(Refusal::Denied(message.into()));
    }
    let no_clock = || Refusal::Unavailable("the runtime's clock is not set".into());
    let now = state::now().ok_or_else(no_clock)?;
    state::with(|guard| guard.open(function, arguments, now))
}

fn from_refusal(refusal: Refusal) -> grants::Refusal {
    match refusal {
        Refusal::Denied(reason) => grants::Refusal::Denied(reason),
        Refusal::Invalid(reason) => grants::Refusal::Invalid(reason),
        Refusal::Unavailable(reason) => grants::Refusal::Unavailable(reason),
        Refusal::Timeout(reason) => grants::Refusal::Timeout(reason),
        Refusal::Unexpected(reason) => grants::Refusal::Unexpected(reason),
    }
}
