//! A failed call as the result of a tool: in plain words, with the error as a document beside them.
//!
//! It is no structured result: that would have to fit the tool's schema.

use crate::functions::Tool;
use crate::json::Json;
use crate::prelude::*;
use crate::settings::ALLOW_WRITES;
use whereby_catalog::failure;

/// Under this name the result of a failed call has the error as a document.
const ERROR_META: &str = "whereby/error";

/// What is told of a failed call.
struct Failure {
    kind: &'static str,
    message: String,
    http_status: Option<u16>,
    retry_after_seconds: Option<u64>,
    hint: Option<String>,
    /// Whether something may have been changed all the same.
    is_unknown: bool,
}

/// An error of the WIT's, as JSON, of a call of this tool.
pub(crate) fn of_error(error: Json, tool: &Tool) -> Json {
    let (kind, payload) = match error {
        Json::Object(members) => members.into_iter().next().unwrap_or(("", Json::Null)),
        Json::Word(kind) => (kind, Json::Null),
        _ => ("", Json::Null),
    };
    let (mut http_status, mut retry_after_seconds) = (None, None);
    let message = match (kind, payload) {
        ("rate-limited", Json::Integer(seconds)) => {
            (http_status, retry_after_seconds) = (Some(429), Some(seconds));
            failure::rate_limited(seconds)
        }
        ("rejected", Json::Object(members)) => {
            let (mut status, mut text) = (0, String::new());
            for member in members {
                match member {
                    ("status", Json::Integer(number)) => {
                        status = u16::try_from(number).unwrap_or_default();
                    }
                    ("message", Json::Text(own)) => text = own,
                    _ => {}
                }
            }
            http_status = Some(status);
            failure::rejected(status, &text)
        }
        (_, Json::Text(text)) => text,
        _ => String::new(),
    };
    match kind {
        "unauthorized" => http_status = Some(401),
        "access-denied" => http_status = Some(403),
        _ => {}
    }
    // By the WIT these leave it open whether a write was done.
    let is_unknown =
        tool.writes && matches!(kind, "timeout" | "unavailable" | "unexpected-response");
    let hint = match is_unknown {
        true => Some(failure::UNKNOWN_OUTCOME_HINT),
        false => failure::hint(kind),
    };
    let hint = hint.map(ToOwned::to_owned);
    Failure { kind, message, http_status, retry_after_seconds, hint, is_unknown }.to_result()
}

/// An argument that is not acceptable.
pub(crate) fn invalid_argument(message: String) -> Json {
    Failure::before("invalid-argument", message, None).to_result()
}

/// A tool that changes something, where that is not allowed.
pub(crate) fn denied(tool: &Tool) -> Json {
    let message = format!("{} changes something, and this gateway only reads", tool.name);
    let hint = format!("whoever runs the gateway allows it with {ALLOW_WRITES}=true");
    Failure::before("denied", message, Some(hint)).to_result()
}

impl Failure {
    /// A failure before anything was sent.
    fn before(kind: &'static str, message: String, hint: Option<String>) -> Self {
        let (http_status, retry_after_seconds) = (None, None);
        Self { kind, message, http_status, retry_after_seconds, hint, is_unknown: false }
    }

    fn to_result(&self) -> Json {
        let mut text = format!("{}: {}", self.kind, self.message);
        if self.is_unknown {
            text.push_str("\nIt is not known whether anything was changed.");
        }
        if let Some(hint) = &self.hint {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        let number = |number: Option<u64>| number.map_or(Json::Null, Json::Integer);
        let document = Json::Object(vec![
            ("kind", Json::Word(self.kind)),
            ("message", Json::Text(self.message.clone())),
            // What may have happened is not to be done again without a look at it.
            ("retryable", Json::Bool(failure::is_retryable(self.kind) && !self.is_unknown)),
            ("effect", Json::Word(if self.is_unknown { "unknown" } else { "none" })),
            ("http_status", number(self.http_status.map(u64::from))),
            ("retry_after_seconds", number(self.retry_after_seconds)),
            ("hint", self.hint.clone().map_or(Json::Null, Json::Text)),
            // Nothing is approved here; the host's errors have it.
            ("approval_id", Json::Null),
        ]);
        Json::Object(vec![
            ("_meta", Json::Object(vec![(ERROR_META, document)])),
            ("content", Json::List(vec![text_block(text)])),
            ("isError", Json::Bool(true)),
        ])
    }
}

/// A piece of a result for models to read.
pub(crate) fn text_block(text: String) -> Json {
    Json::Object(vec![("type", Json::Word("text")), ("text", Json::Text(text))])
}

#[cfg(test)]
mod tests {
    use super::{denied, invalid_argument, of_error};
    use crate::bindings::whereby::agent::types::{Error, Rejection};
    use crate::functions::{TOOLS, Tool};
    use crate::json::{Json, ToJson as _};
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
                Error::RateLimited(7),
                "rate-limited: Whereby's rate limit for the organization is used up for 7 s more\nhint: wait that long and try again; all keys of an organization share its limit",
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
            let (told, told_document) = read(&of_error(error.to_json(), tool("list_rooms")));
            assert_eq!(told, text);
            for (name, value) in document.as_object().expect("an object") {
                assert_eq!(told_document[name], *value, "{text}: {name}");
            }
        }
        for (error, status) in
            [(Error::Unauthorized("no".into()), 401), (Error::AccessDenied("no".into()), 403)]
        {
            let (_, document) = read(&of_error(error.to_json(), tool("get_room")));
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
            let (text, document) = read(&of_error(error.to_json(), tool("create_room")));
            assert!(text.contains("It is not known whether anything was changed."), "{text}");
            assert!(text.ends_with("hint: look whether it happened before trying again"), "{text}");
            assert_eq!(
                (&document["retryable"], &document["effect"]),
                (&json!(false), &json!("unknown"))
            );
        }
        let (_, document) = read(&of_error(Error::RateLimited(1).to_json(), tool("delete_room")));
        assert_eq!((&document["retryable"], &document["effect"]), (&json!(true), &json!("none")));
    }

    #[test]
    fn what_was_not_sent_says_so() {
        let (text, document) = read(&invalid_argument("limit must be a whole number".into()));
        assert_eq!(text, "invalid-argument: limit must be a whole number");
        assert_eq!(document["effect"], "none");
        let (text, document) = read(&denied(tool("get_room")));
        assert!(text.starts_with("denied: whereby_get_room"), "{text}");
        assert!(text.contains("WHEREBY_GATEWAY_ALLOW_WRITES=true"), "{text}");
        assert_eq!(document["kind"], "denied");
    }
}
