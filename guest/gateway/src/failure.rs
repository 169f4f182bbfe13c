//! Converts an error to the result of a tool: as text, and as a JSON document in the metadata.
//!
//! The document is not the structured result, because that would have to match the tool's schema.

use crate::bindings::whereby::agent::types::{Error, Rejection};
use crate::functions::{Tool, kind};
use crate::json::{Json, Text, ToJson as _};
use crate::prelude::*;
use whereby_catalog::failure;

/// The metadata key of the error document.
const ERROR_META: &str = "whereby/error";

/// A failed call.
#[derive(Default)]
struct Failure {
    kind: &'static str,
    message: String,
    http_status: Option<u32>,
    retry_after_seconds: Option<u32>,
    hint: Option<Text>,
    /// Whether the call may have changed something.
    is_unknown: bool,
}

/// Returns the result for an error that the function returned.
pub(crate) fn of_error(error: Error, tool: &Tool) -> Json {
    let kind = kind(&error);
    // According to the WIT, these leave open whether a write happened.
    let is_unknown = tool.writes
        && matches!(
            error,
            Error::Timeout(_) | Error::Unavailable(_) | Error::UnexpectedResponse(_)
        );
    let hint = if is_unknown { Some(failure::UNKNOWN_OUTCOME_HINT) } else { failure::hint(kind) };
    let (mut http_status, mut retry_after_seconds) = (None, None);
    match &error {
        Error::Unauthorized(_) => http_status = Some(401),
        Error::AccessDenied(_) => http_status = Some(403),
        Error::RateLimited(seconds) => {
            http_status = Some(429);
            // In the WIT, 0 means that Whereby did not say.
            retry_after_seconds = Some(*seconds).filter(|seconds| *seconds > 0);
        }
        Error::Rejected(rejection) => http_status = Some(rejection.status.into()),
        _ => {}
    }
    let message = match error {
        Error::RateLimited(seconds) => failure::rate_limited(seconds.into()),
        Error::Rejected(Rejection { status, message }) => failure::rejected(status, &message),
        Error::InvalidArgument(text)
        | Error::Unauthorized(text)
        | Error::AccessDenied(text)
        | Error::NotFound(text)
        | Error::Timeout(text)
        | Error::Unavailable(text)
        | Error::UnexpectedResponse(text) => text,
    };
    let hint = hint.map(Text::from);
    Failure { kind, message, http_status, retry_after_seconds, hint, is_unknown }.into_result()
}

/// Returns the result for an invalid argument.
pub(crate) fn invalid_argument(message: String) -> Json {
    Failure { kind: "invalid-argument", message, ..Failure::default() }.into_result()
}

/// Returns the result for a tool that writes, if writes are not allowed.
pub(crate) fn denied(tool: &Tool) -> Json {
    let message = format!("{} writes, and this gateway only reads", tool.name);
    let hint = Some("use the listed tools, and do not try another way".into());
    Failure { kind: "denied", message, hint, ..Failure::default() }.into_result()
}

impl Failure {
    fn into_result(self) -> Json {
        let mut text = format!("{}: {}", self.kind, self.message);
        if self.is_unknown {
            text.push_str("\nIt is not known whether anything was changed.");
        }
        if let Some(hint) = &self.hint {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        let document = Json::object(vec![
            ("kind", Json::word(self.kind)),
            ("message", self.message.to_json()),
            // A write that may have happened must not be repeated unchecked.
            ("retryable", Json::Bool(failure::is_retryable(self.kind) && !self.is_unknown)),
            ("effect", Json::word(if self.is_unknown { "unknown" } else { "none" })),
            ("http_status", self.http_status.to_json()),
            ("retry_after_seconds", self.retry_after_seconds.to_json()),
            ("hint", self.hint.map_or(Json::Null, Json::Text)),
            // The gateway has no approvals; the member is there because the host's errors have it.
            ("approval_id", Json::Null),
        ]);
        Json::object(vec![
            ("_meta", Json::object(vec![(ERROR_META, document)])),
            ("content", Json::List(vec![text_block(text)])),
            ("isError", Json::Bool(true)),
        ])
    }
}

/// Returns a text block of a result.
pub(crate) fn text_block(text: String) -> Json {
    Json::object(vec![("type", Json::word("text")), ("text", text.to_json())])
}

#[cfg(test)]
mod tests {
    use super::{denied, invalid_argument, of_error};
    use crate::bindings::whereby::agent::types::{Error, Rejection};
    use crate::functions::{TOOLS, Tool};
    use crate::json::Json;
    use serde_json::{Value, json};

    fn tool(name: &str) -> &'static Tool {
        TOOLS.iter().find(|tool| tool.name.strip_prefix("whereby_") == Some(name)).expect("a tool")
    }

    fn read(result: &Json) -> (String, Value) {
        let result: Value = serde_json::from_str(&result.compact()).expect("JSON");
        assert_eq!(result["isError"], true);
        let text = result["content"][0]["text"].as_str().expect("a string").to_owned();
        (text, result["_meta"]["whereby/error"].clone())
    }

    #[test]
    fn errors_have_a_kind_and_a_hint() {
        let rejection = |message: &str| Rejection { status: 422, message: message.into() };
        for (error, text, document) in [
            (
                Error::NotFound("no room is called a".into()),
                "not-found: no room is called a",
                json!({"kind": "not-found", "message": "no room is called a", "retryable": false}),
            ),
            (
                Error::RateLimited(0),
                "rate-limited: the organization reached Whereby's rate limit; Whereby did not say for how long\nhint: wait before trying again; all keys of an organization share its limit",
                json!({"http_status": 429, "retry_after_seconds": null, "retryable": true}),
            ),
            (
                Error::RateLimited(7),
                "rate-limited: the organization reached Whereby's rate limit; wait 7 s\nhint: wait before trying again; all keys of an organization share its limit",
                json!({"http_status": 429, "retry_after_seconds": 7, "retryable": true}),
            ),
            (
                Error::Rejected(rejection("too long")),
                "rejected: Whereby refused the request (422): too long",
                json!({"http_status": 422, "hint": null}),
            ),
            (
                Error::Rejected(rejection("")),
                "rejected: Whereby refused the request (422) without giving a reason",
                json!({"http_status": 422}),
            ),
            (
                Error::Timeout("late".into()),
                "timeout: late\nhint: try again later",
                json!({"retryable": true, "effect": "none", "approval_id": null}),
            ),
        ] {
            let (shown, shown_document) = read(&of_error(error, tool("list_rooms")));
            assert_eq!(shown, text);
            for (name, value) in document.as_object().expect("an object") {
                assert_eq!(shown_document[name], *value, "{text}: {name}");
            }
        }
        for (error, status) in
            [(Error::Unauthorized("no".into()), 401), (Error::AccessDenied("no".into()), 403)]
        {
            let (_, document) = read(&of_error(error, tool("get_room")));
            assert_eq!(document["http_status"], status);
        }
    }

    #[cfg(feature = "write")]
    #[test]
    fn a_write_that_may_have_happened_is_not_retryable() {
        for error in [
            Error::Timeout("late".into()),
            Error::Unavailable("gone".into()),
            Error::UnexpectedResponse("odd".into()),
        ] {
            let (text, document) = read(&of_error(error, tool("create_room")));
            assert!(text.contains("It is not known whether anything was changed."), "{text}");
            let hint = "hint: the change may have been made: check before trying again";
            assert!(text.ends_with(hint), "{text}");
            assert_eq!(
                (&document["retryable"], &document["effect"]),
                (&json!(false), &json!("unknown"))
            );
        }
        let (_, document) = read(&of_error(Error::RateLimited(1), tool("delete_room")));
        assert_eq!((&document["retryable"], &document["effect"]), (&json!(true), &json!("none")));
    }

    #[test]
    fn failures_before_sending_have_no_effect() {
        let (text, document) = read(&invalid_argument("limit must be an integer".into()));
        assert_eq!(text, "invalid-argument: limit must be an integer");
        assert_eq!(document["effect"], "none");
        let (text, document) = read(&denied(tool("get_room")));
        assert!(text.starts_with("denied: whereby_get_room"), "{text}");
        assert!(text.ends_with("hint: use the listed tools, and do not try another way"));
        assert_eq!(document["kind"], "denied");
    }
}
