//! Reads the responses of requests that failed.

use super::{Redactor, without_bom};
use crate::find_in;
use crate::prelude::*;
use crate::surrogate;
use core::time::Duration;
use serde_json::Value;

/// The maximum size of an error response, in bytes. Whereby's are below 1 KiB.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// The maximum length of an error message, in characters.
const MAX_ERROR_TEXT: usize = 500;

/// The maximum number of messages taken from one error response.
const MAX_MESSAGES: usize = 5;

/// The message and the retry delay of an error response.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// Whereby's message; empty if there is none.
    pub text: String,
    /// The retry delay (`data.msLeft`).
    pub wait: Option<Duration>,
}

impl Complaint {
    /// Reads the body of an error response. A body that is not JSON has no message and no delay.
    pub fn read(body: &[u8], redactor: &Redactor) -> Self {
        let body = without_bom(body);
        if body.len() > MAX_ERROR_BYTES {
            return Self::default();
        }
        let halves = surrogate::without_halves(body);
        let body = crate::text::parse_json(halves.as_deref().unwrap_or(body)).unwrap_or_default();
        let text = Some(&body).filter(|body| body.is_object() || body.is_array());
        let text = text.and_then(|body| messages(body, false));
        let text = redactor.apply(text.unwrap_or_default().into());
        let left = |name: &str| body["data"][name].as_f64().filter(|left| *left >= 0.0);
        // `msLeft` is documented; `ms_left` was seen too. The cast saturates.
        let wait = left("msLeft").or_else(|| left("ms_left"));
        Self {
            text: text.chars().take(MAX_ERROR_TEXT).collect(),
            wait: wait.map(|left| Duration::from_millis(left as u64)),
        }
    }

    /// Returns the body that the component reads. It is empty if there is neither a message nor a delay.
    pub fn to_body(&self) -> Vec<u8> {
        let mut body = serde_json::Map::new();
        if !self.text.is_empty() {
            body.insert("error".into(), self.text.as_str().into());
        }
        if let Some(wait) = self.wait {
            let left = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            let mut data = serde_json::Map::new();
            data.insert("msLeft".into(), left.into());
            body.insert("data".into(), data.into());
        }
        if body.is_empty() { Vec::new() } else { crate::text::to_json(&Value::Object(body)) }
    }
}

/// The members that hold a message, in the order in which messages are joined.
const MESSAGES: &[&str] = &[
    "error",
    "errors",
    "title",
    "message",
    "messages",
    "detail",
    "details",
    "description",
    "error_description",
    "reason",
    "msg",
];

/// The members that name the input a message is about.
const SUBJECTS: &[&str] = &["path", "field", "property", "param", "instancePath", "loc"];

/// Returns the messages in a value, each once and at most [`MAX_MESSAGES`] of an object or array: those of an object
/// are joined by `: `, those of an array by `; `. `is_item` says whether the value is in an array.
fn messages(value: &Value, is_item: bool) -> Option<String> {
    let join = |said: &mut dyn Iterator<Item = String>, separator: &str| {
        let mut unique: Vec<String> = Vec::new();
        for message in said {
            if unique.len() < MAX_MESSAGES && !unique.contains(&message) {
                unique.push(message);
            }
        }
        crate::text::join(&unique, separator)
    };
    let said = match value {
        Value::String(message) => message.trim().to_owned(),
        Value::Array(items) => {
            join(&mut items.iter().filter_map(|item| messages(item, true)), "; ")
        }
        Value::Object(object) => {
            let members = MESSAGES.iter().filter_map(|name| object.get(*name));
            let said = join(&mut members.filter_map(|value| messages(value, false)), ": ");
            // Outside an array, `path` is the path of the request.
            let subjects = SUBJECTS.iter().filter(|_| is_item);
            match subjects.filter_map(|name| subject(object.get(*name)?)).next() {
                Some(subject) if !said.is_empty() && find_in(&said, &subject).is_none() => {
                    format!("{subject}: {said}")
                }
                _ => said,
            }
        }
        _ => return None,
    };
    Some(said).filter(|said| !said.is_empty())
}

/// Reads the name of an input: `endDate`, or `["fields", 0]`.
fn subject(value: &Value) -> Option<String> {
    let part = |value: &Value| match value {
        Value::String(part) => Some(part.trim().to_owned()).filter(|part| !part.is_empty()),
        Value::Number(part) => Some(part.to_string()),
        _ => None,
    };
    match value {
        Value::Array(parts) => {
            let parts: Vec<String> = parts.iter().filter_map(part).collect();
            (!parts.is_empty()).then(|| crate::text::join(&parts, "."))
        }
        value => part(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "hunter2-hunter2-hunter2";

    #[test]
    fn an_error_is_read_as_messages_and_a_delay() {
        let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(MAX_ERROR_BYTES));
        for (body, text, milliseconds) in [
            (r#"{"error":"a","message":"b"}"#, "a: b", None),
            (r#"{"error":"a","message":"a"}"#, "a", None),
            (r#"{"error":"a","data":{"msLeft":1500}}"#, "a", Some(1500)),
            (r#"{"data":{"ms_left":2}}"#, "", Some(2)),
            (r#"{"data":{"msLeft":-1}}"#, "", None),
            (r#"{"data":{"msLeft":"5"}}"#, "", None),
            (r#"{"data":{"msLeft":1e300}}"#, "", Some(u64::MAX)),
            (
                r#"{"errors":[{"path":"endDate","message":"is past"},{"field":["fields",0],"msg":"?"}]}"#,
                "endDate: is past; fields.0: ?",
                None,
            ),
            (r#"{"errors":[1,2,"a","b","c","d","e","f"]}"#, "a; b; c; d; e", None),
            (r#"{"error":{"code":"E1","message":"a"}}"#, "a", None),
            (r#"{"error":" a\u0000b\n"}"#, "a\0b", None),
            (r#"{"meetingId":"7","hostRoomUrl":"https://a/b?roomKey=s3cret"}"#, "", None),
            (r#"[{"path":"x","message":"a"},{"path":"y","message":"a"}]"#, "x: a; y: a", None),
            (r#"{"errors":[{"path":"x","message":"x is wrong"}]}"#, "x is wrong", None),
            (r#"{"path":"/v1/meetings","message":"a"}"#, "a", None),
            (r#"[{"hostRoomUrl":"https://a/b?roomKey=s3cret"}]"#, "", None),
            (r#""a""#, "", None),
            ("plain text", "", None),
            ("<html>", "", None),
            ("", "", None),
            (&long, "", None),
        ] {
            let complaint = Complaint::read(body.as_bytes(), &Redactor::new(TOKEN));
            let wait = milliseconds.map(Duration::from_millis);
            assert_eq!(complaint, Complaint { text: text.into(), wait }, "{body}");
        }
    }

    #[test]
    fn the_token_is_redacted_in_messages() {
        let escaped: String = TOKEN.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        for spelling in [TOKEN, &escaped] {
            let error = format!(r#"{{"error":"no {spelling}"}}"#);
            let complaint = Complaint::read(error.as_bytes(), &Redactor::new(TOKEN));
            assert_eq!(complaint.text, "no [redacted]");
        }
    }

    #[test]
    fn an_error_is_written_with_at_most_two_members() {
        let body = |text: &str, wait| {
            let complaint = Complaint { text: text.into(), wait };
            String::from_utf8(complaint.to_body()).expect("JSON is UTF-8")
        };
        assert_eq!(body("", None), "");
        assert_eq!(body("a\"b", None), r#"{"error":"a\"b"}"#);
        let wait = Some(Duration::from_millis(1500));
        assert_eq!(body("a", wait), r#"{"error":"a","data":{"msLeft":1500}}"#);
    }

    proptest! {
        #[test]
        fn no_body_panics(body in "(?s)[\\[\\]{}:,\"\\\\a-z0-9. ]{0,80}") {
            let _ = Complaint::read(body.as_bytes(), &Redactor::new(TOKEN));
        }
    }
}
