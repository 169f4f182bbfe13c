//! A failed call as the result of a tool: in plain words, with the error as a document beside them.
//!
//! It is no structured result: that would have to fit the tool's schema.

use crate::bindings::whereby::agent::types::{Error, Rejection};
use crate::functions::{Tool, kind};
use crate::json::{Json, Text, ToJson as _};
use crate::prelude::*;
use whereby_catalog::failure;

/// Under this name the result of a failed call has the error as a document.
const ERROR_META: &str = "whereby/error";

/// What is told of a failed call.
struct Failure {
    kind: &'static str,
    message: String,
    http_status: Option<u16>,
    retry_after_seconds: Option<u32>,
    hint: Option<Text>,
    /// Whether something may have been changed all the same.
    is_unknown: bool,
}

/// An error of a call of this tool.
pub(crate) fn of_error(error: Error, tool: &Tool) -> Json {
    let kind = kind(&error);
    // By the WIT these leave it open whether a write was done.
    let is_unknown = tool.writes
        && matches!(
            error,
            Error::Timeout(_) | Error::Unavailable(_) | Error::UnexpectedResponse(_)
        );
    let hint = match is_unknown {
        true => Some(failure::UNKNOWN_OUTCOME_HINT),
        false => failure::hint(kind),
    };
    let (mut http_status, mut retry_after_seconds) = (None, None);
    match &error {
        Error::Unauthorized(_) => http_status = Some(401),
        Error::AccessDenied(_) => http_status = Some(403),
        Error::RateLimited(seconds) => {
            http_status = Some(429);
            // The WIT's way of saying that Whereby named none.
            retry_after_seconds = Some(*seconds).filter(|seconds| *seconds > 0);
        }
        Error::Rejected(rejection) => http_status = Some(rejection.status),
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

/// An argument that is not acceptable.
pub(crate) fn invalid_argument(message: String) -> Json {
    Failure::before("invalid-argument", message, None).into_result()
}

/// A tool that changes something, where that is not allowed.
pub(crate) fn denied(tool: &Tool) -> Json {
    let message = format!("{} changes something, and this gateway only reads", tool.name);
    let hint = "use the tools that are listed, and do not try another way";
    Failure::before("denied", message, Some(hint.into())).into_result()
}

impl Failure {
    /// A failure before anything was sent.
    fn before(kind: &'static str, message: String, hint: Option<Text>) -> Self {
        let (http_status, retry_after_seconds) = (None, None);
        Self { kind, message, http_status, retry_after_seconds, hint, is_unknown: false }
    }

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
            // What may have happened is not to be done again without a look at it.
            ("retryable", Json::Bool(failure::is_retryable(self.kind) && !self.is_unknown)),
            ("effect", Json::word(if self.is_unknown { "unknown" } else { "none" })),
            ("http_status", self.http_status.to_json()),
            ("retry_after_seconds", self.retry_after_seconds.to_json()),
            ("hint", self.hint.map_or(Json::Null, Json::Text)),
            // Nothing is approved here; the host's errors have it.
            ("approval_id", Json::Null),
        ]);
        Json::object(vec![
            ("_meta", Json::object(vec![(ERROR_META, document)])),
            ("content", Json::List(vec![text_block(text)])),
            ("isError", Json::Bool(true)),
        ])
    }
}

/// A piece of a result for models to read.
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
        let text = result["content"][0]["text"].as_str().expect("a text").to_owned();
        (text, result["_meta"]["whereby/error"].clone())
    }

    #[test]
    fn errors_are_told_with_kind_and_hint() {
        let rejection = |message: &str| Rejection { status: 422, message: message.into() };
        for (error, text, document) in [
            (
                Error::NotFound("no room is called a".into()),
                "not-found: no room is called a",
                json!({"kind": "not-found", "message": "no room is called a", "retryable": false}),
            ),
            (
                Error::RateLimited(0),
                "rate-limited: Whereby's rate limit for the organization is used up, and Whereby did not say for how long\nhint: wait before trying again; all keys of an organization share its limit",
                json!({"http_status": 429, "retry_after_seconds": null, "retryable": true}),
            ),
            (
                Error::RateLimited(7),
                "rate-limited: Whereby's rate limit for the organization is used up for 7 s more\nhint: wait before trying again; all keys of an organization share its limit",
                json!({"http_status": 429, "retry_after_seconds": 7, "retryable": true}),
            ),
            (
                Error::Rejected(rejection("too long")),
                "rejected: Whereby refused the request (422): too long",
                json!({"http_status": 422, "hint": null}),
            ),
            (
                Error::Rejected(rejection("")),
                "rejected: Whereby refused the request (422) and did not say why",
                json!({"http_status": 422}),
            ),
            (
                Error::Timeout("late".into()),
                "timeout: late\nhint: try again later",
                json!({"retryable": true, "effect": "none", "approval_id": null}),
            ),
        ] {
            let (told, told_document) = read(&of_error(error, tool("list_rooms")));
            assert_eq!(told, text);
            for (name, value) in document.as_object().expect("an object") {
                assert_eq!(told_document[name], *value, "{text}: {name}");
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
    fn a_write_that_may_have_happened_is_not_to_be_repeated_unseen() {
        for error in [
            Error::Timeout("late".into()),
            Error::Unavailable("gone".into()),
            Error::UnexpectedResponse("odd".into()),
        ] {
            let (text, document) = read(&of_error(error, tool("create_room")));
            assert!(text.contains("It is not known whether anything was changed."), "{text}");
            let hint = "hint: the change may have been made: look before trying again";
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
    fn what_was_not_sent_says_so() {
        let (text, document) = read(&invalid_argument("limit must be a whole number".into()));
        assert_eq!(text, "invalid-argument: limit must be a whole number");
        assert_eq!(document["effect"], "none");
        let (text, document) = read(&denied(tool("get_room")));
        assert!(text.starts_with("denied: whereby_get_room"), "{text}");
        assert!(text.ends_with("hint: use the tools that are listed, and do not try another way"));
        assert_eq!(document["kind"], "denied");
    }
}
