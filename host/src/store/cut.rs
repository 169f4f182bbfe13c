//! Limits the size of rows in the audit log. Long values are cut; the row keeps their length and SHA-256
//! digest.
//!
//! A row has at most about 4 kB.

use super::audit::{AuditOutcome, AuditRequest, Begin, End};
use crate::system::digest::sha256;
use serde_json::{Value, json};

/// The maximum size of the arguments of a call, in bytes.
const MOST_ARGUMENTS: usize = 1024;

/// The maximum size of a string in the arguments of a call, in bytes.
const MOST_ARGUMENT: usize = 384;

/// The maximum size of an error message, in bytes.
const MOST_MESSAGE: usize = 640;

/// The maximum size of any other string, in bytes.
const MOST_TEXT: usize = 192;

/// The maximum size of the requests of a call, in bytes.
const MOST_REQUESTS: usize = 2560;

/// The space for the length and the digest, in bytes.
const NOTE: usize = 112;

fn optional(text: &Option<String>) -> Option<String> {
    text.as_deref().map(|text| cut(text, MOST_TEXT))
}

impl Begin {
    /// Returns the row with long values cut.
    pub(super) fn bounded(&self) -> Self {
        Self {
            id: cut(&self.id, MOST_TEXT),
            time: self.time,
            front_end: cut(&self.front_end, MOST_TEXT),
            client: optional(&self.client),
            agent: optional(&self.agent),
            token: self.token.clone(),
            account: optional(&self.account),
            api: optional(&self.api),
            function: optional(&self.function),
            arguments: cut_arguments(&self.arguments),
            effect: optional(&self.effect),
            permission: optional(&self.permission),
            rule: optional(&self.rule),
            approved_by: optional(&self.approved_by),
            approval: optional(&self.approval),
            trace: optional(&self.trace),
        }
    }
}

impl End {
    /// Returns the row with long values cut.
    pub(super) fn bounded(&self) -> Self {
        let outcome = &self.outcome;
        Self {
            id: cut(&self.id, MOST_TEXT),
            outcome: AuditOutcome {
                kind: optional(&outcome.kind),
                message: outcome.message.as_deref().map(|text| cut(text, MOST_MESSAGE)),
                room_name: optional(&outcome.room_name),
                room_id: optional(&outcome.room_id),
                requests: cut_requests(&outcome.requests),
                ..outcome.clone()
            },
            give_back: self.give_back.clone(),
            created: self.created.clone(),
            kept: self.kept.clone(),
        }
    }
}

/// Cuts the long strings of arguments that are too long, or all of the arguments if that is not enough.
fn cut_arguments(arguments: &Value) -> Value {
    let mut short = arguments.clone();
    if short.to_string().len() <= MOST_ARGUMENTS {
        return short;
    }
    cut_strings(&mut short);
    if short.to_string().len() <= MOST_ARGUMENTS {
        return short;
    }
    // The braces, the name and the quotes around the string take 10 bytes.
    json!({"cut": cut(&arguments.to_string(), MOST_ARGUMENTS - 10)})
}

fn cut_strings(value: &mut Value) {
    match value {
        Value::String(text) => *text = cut(text, MOST_ARGUMENT),
        Value::Array(items) => items.iter_mut().for_each(cut_strings),
        Value::Object(members) => members.values_mut().for_each(cut_strings),
        _ => {}
    }
}

/// Cuts long paths. Replaces the last requests by a note if there are too many.
fn cut_requests(requests: &[AuditRequest]) -> Vec<AuditRequest> {
    let mut size = 0;
    let mut short = Vec::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        let request = AuditRequest {
            method: cut(&request.method, MOST_TEXT),
            path: cut(&request.path, MOST_TEXT),
            ..request.clone()
        };
        size += json!(request).to_string().len() + 1;
        if size > MOST_REQUESTS {
            let rest = requests.get(index..).unwrap_or_default();
            let path = format!("{} more requests", rest.len());
            let all = json!(rest).to_string();
            short.push(AuditRequest {
                method: String::new(),
                path: format!("{path} {}", note(&all)),
                status: None,
                duration_ms: rest.iter().map(|request| request.duration_ms).sum(),
            });
            break;
        }
        short.push(request);
    }
    short
}

/// Returns the string, or its beginning with a note of its length and digest.
fn cut(text: &str, most: usize) -> String {
    // Skips counting for most strings. An escape has at most six bytes.
    if text.len() * 6 <= most || width(text) <= most {
        return text.to_owned();
    }
    let mut room = most.saturating_sub(NOTE);
    let begins: String = text
        .chars()
        .take_while(|c| {
            let width = escaped(*c);
            let fits = width <= room;
            room = room.saturating_sub(width);
            fits
        })
        .collect();
    format!("{begins}\u{2026} {}", note(text))
}

fn note(text: &str) -> String {
    format!("[cut: {} bytes, SHA-256 {}]", text.len(), sha256(text.as_bytes()))
}

/// Returns the length of a string in JSON, without its quotes.
fn width(text: &str) -> usize {
    text.chars().map(escaped).sum()
}

fn escaped(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        c if c.is_control() => 6,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_string_keeps_its_beginning_its_length_and_its_digest() {
        let long = "x".repeat(1000);
        let text = cut(&long, MOST_TEXT);
        assert!(text.starts_with("xxxx") && text.len() <= MOST_TEXT, "{text}");
        let note = format!("x\u{2026} [cut: 1000 bytes, SHA-256 {}]", sha256(long.as_bytes()));
        assert!(text.ends_with(&note), "{text}");
        for text in ["", "x", &"x".repeat(MOST_TEXT), &"\u{1}".repeat(MOST_TEXT / 6), &text] {
            assert_eq!(cut(text, MOST_TEXT), text);
        }
        for text in ["x", "\u{1}", "\"", "\u{e9}", "😀"] {
            let cut = cut(&text.repeat(MOST_TEXT + 1), MOST_TEXT);
            let json = json!(cut).to_string();
            assert!(json.len() <= MOST_TEXT + 2 && cut.contains("[cut: "), "{json}");
        }
    }

    #[test]
    fn arguments_are_cut_string_by_string_or_as_a_whole() {
        for (arguments, is_whole) in [
            (json!({"room_name": "x".repeat(199_000), "limit": 3}), false),
            (json!({"a": [{"b": "\n".repeat(100_000)}]}), false),
            (json!(vec![7; 100_000]), true),
            (json!({"x".repeat(100_000): 1}), true),
            (json!("\"".repeat(100_000)), false),
        ] {
            let short = cut_arguments(&arguments);
            let text = short.to_string();
            assert!(text.len() <= MOST_ARGUMENTS && text.contains("[cut: "), "{text}");
            assert_eq!(short.get("cut").is_some(), is_whole, "{text}");
            if is_whole {
                assert!(text.contains(&sha256(arguments.to_string().as_bytes())), "{text}");
            }
            assert_eq!(cut_arguments(&short), short);
        }
        let short = json!({"room_name": "daily", "limit": 3, "cursor": "x".repeat(MOST_ARGUMENT)});
        assert_eq!(cut_arguments(&short), short);
    }

    #[test]
    fn requests_beyond_the_limit_are_counted() {
        let request = |path: &str| AuditRequest {
            method: "GET".into(),
            path: path.into(),
            status: Some(200),
            duration_ms: 2.0,
        };
        let few = vec![request("/insights/room-sessions"); 20];
        assert_eq!(cut_requests(&few), few);
        let many = cut_requests(&vec![request("/insights/room-sessions"); 1000]);
        let last = many.last().expect("a request");
        let left_out = 1001 - many.len();
        assert!(last.path.starts_with(&format!("{left_out} more requests [cut: ")), "{last:?}");
        assert!((last.duration_ms - 2.0 * left_out as f64).abs() < 1e-6);
        assert!(json!(many).to_string().len() <= MOST_REQUESTS + 200);
        let long = cut_requests(&[request(&"x".repeat(100_000))]);
        assert!(long[0].path.contains("[cut: 100000 bytes"), "{long:?}");
    }
}
