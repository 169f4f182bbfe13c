//! Converts responses and failed requests into the WIT error.

use core::time::Duration;

use crate::prelude::*;
use crate::response;
use crate::transport::{Reply, SendError, SendErrorKind};
use crate::types::{Error, Rejection};

/// The maximum number of characters of Whereby's own message that an error shows.
const MAX_LENGTH: usize = 500;

/// The replacement for a secret.
const HIDDEN: &str = "[hidden]";

/// Returns the reply if its status is 2xx.
pub(crate) fn accept(endpoint: &str, result: Result<Reply, SendError>) -> Result<Reply, Error> {
    match result {
        Ok(reply) if (200..300).contains(&reply.status) => Ok(reply),
        Ok(reply) => Err(from_reply(endpoint, &reply)),
        Err(failure) => Err(from_failure(endpoint, &failure)),
    }
}

/// Returns the error for a response whose status is not 2xx.
pub(crate) fn from_reply(endpoint: &str, reply: &Reply) -> Error {
    let message = message_of(&reply.body);
    let status = reply.status;
    let text = || answered(endpoint, status, &message);
    match status {
        401 => Error::Unauthorized(text()),
        403 => Error::AccessDenied(text()),
        404 => Error::NotFound(text()),
        429 => Error::RateLimited(0),
        400..500 => Error::Rejected(Rejection { status, message }),
        500..600 => Error::Unavailable(text()),
        _ => Error::UnexpectedResponse(text()),
    }
}

/// Returns whether a status proves that a write was not carried out. Other failures leave that open: a
/// timeout (408), a proxy's 499 or a redirect may come after the write.
pub(crate) fn is_refusal(status: u16) -> bool {
    matches!(status, 400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 | 422 | 429)
}

/// Returns the error for a write that failed or has no response, with a remark if the write may have happened.
/// The error then never means that nothing was changed.
#[cfg(feature = "write")]
pub(crate) fn from_write(endpoint: &str, result: &Result<Reply, SendError>, remark: &str) -> Error {
    let (error, is_refused) = match result {
        Ok(reply) => (from_reply(endpoint, reply), is_refusal(reply.status) && !reply.is_late),
        Err(failure) => (from_failure(endpoint, failure), !failure.maybe_sent),
    };
    if is_refused {
        return error;
    }
    let error = match (error, result) {
        (error @ (Error::Timeout(_) | Error::Unavailable(_) | Error::UnexpectedResponse(_)), _) => {
            error
        }
        (_, Ok(reply)) => {
            let message = message_of(&reply.body);
            Error::UnexpectedResponse(answered(endpoint, reply.status, &message))
        }
        (_, Err(failure)) => Error::Unavailable(format!("{endpoint}: {}", failure.text)),
    };
    with_remark(error, remark)
}

/// Describes the response.
fn answered(endpoint: &str, status: u16, message: &str) -> String {
    match message {
        "" => format!("{endpoint}: Whereby answered {status} without a message"),
        message => format!("{endpoint}: Whereby answered {status}: {message}"),
    }
}

/// Returns the error for a missing response.
pub(crate) fn from_failure(endpoint: &str, failure: &SendError) -> Error {
    let text = format!("{endpoint}: {}", failure.text);
    match failure.kind {
        SendErrorKind::RateLimited(seconds) => Error::RateLimited(seconds),
        SendErrorKind::Timeout => Error::Timeout(text),
        SendErrorKind::Unavailable => Error::Unavailable(text),
        SendErrorKind::Denied => Error::AccessDenied(text),
        SendErrorKind::Unreadable => Error::UnexpectedResponse(text),
    }
}

/// Returns the error for a response that does not match Whereby's documentation.
pub(crate) fn unexpected(endpoint: &str, what: &str) -> Error {
    Error::UnexpectedResponse(format!(
        "{endpoint}: the response does not match Whereby's documentation: {}",
        clean(what)
    ))
}

/// Appends a remark to the message of an error, if it has one.
#[cfg(feature = "write")]
pub(crate) fn with_remark(mut error: Error, remark: &str) -> Error {
    if let Some(text) = message(&mut error) {
        text.push_str("; ");
        text.push_str(remark);
    }
    error
}

/// Removes a secret from the message of an error.
pub(crate) fn without_secret(mut error: Error, secret: &str) -> Error {
    if let Some(text) = message(&mut error) {
        // Replacing whole strings keeps it UTF-8.
        let hidden = hide(core::mem::take(text).into_bytes(), secret);
        *text = String::from_utf8(hidden).unwrap_or_default();
    }
    error
}

/// Removes a secret from a response, in case Whereby echoes it.
pub(crate) fn hide(body: Vec<u8>, secret: &str) -> Vec<u8> {
    let secret = secret.as_bytes();
    if secret.is_empty() || !body.windows(secret.len()).any(|part| part == secret) {
        return body;
    }
    let mut hidden = Vec::with_capacity(body.len());
    let mut rest = body.as_slice();
    while let [first, others @ ..] = rest {
        rest = match rest.strip_prefix(secret) {
            Some(after) => {
                hidden.extend_from_slice(HIDDEN.as_bytes());
                after
            }
            None => {
                hidden.push(*first);
                others
            }
        };
    }
    hidden
}

/// Returns the wait that the body of a 429 asks for. Whereby documents `msLeft`; `ms_left` was also
/// observed.
pub(crate) fn milliseconds_left(body: &[u8]) -> Option<Duration> {
    let data = response::inner_object(body, &["data"], &["msLeft", "ms_left"])?;
    let left = |name| data.number(name).ok().flatten();
    let left = left("msLeft").or_else(|| left("ms_left")).filter(|left| *left >= 0.0)?;
    // A number that is too large becomes the maximum.
    Some(Duration::from_millis(left as u64))
}

/// Makes a string from outside safe to show: one line, no control characters, at most 500 characters.
pub(crate) fn clean(text: &str) -> String {
    let mut short = String::with_capacity(text.len().min(MAX_LENGTH));
    let visible = text.trim().chars().map(|c| if is_invisible(c) { ' ' } else { c });
    for (count, character) in visible.enumerate() {
        if count == MAX_LENGTH {
            break;
        }
        short.push(character);
    }
    short
}

/// Returns whether a character is a control character or changes the direction of text.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the message in the body of an error. Whereby documents only the body of a 429, so any other
/// body is tolerated. An object without the usual members could be a room with its secret URLs, so it is
/// not shown; neither is HTML.
fn message_of(body: &[u8]) -> String {
    if let Some(words) = response::words(body) {
        return clean(&words);
    }
    let text = String::from_utf8_lossy(body);
    if text.trim_start().starts_with('<') { String::new() } else { clean(&text) }
}

/// Returns the message of an error, if it has one.
pub(crate) fn message(error: &mut Error) -> Option<&mut String> {
    match error {
        Error::RateLimited(_) => None,
        Error::InvalidArgument(text)
        | Error::Unauthorized(text)
        | Error::AccessDenied(text)
        | Error::NotFound(text)
        | Error::Rejected(Rejection { message: text, .. })
        | Error::Timeout(text)
        | Error::Unavailable(text)
        | Error::UnexpectedResponse(text) => Some(text),
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::prelude::*;

    use super::{clean, from_failure, from_reply, hide, milliseconds_left, without_secret};
    use crate::transport::{Reply, SendError, SendErrorKind};
    use crate::types::{Error, Rejection};

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.as_bytes().to_vec(), ..Reply::default() }
    }

    fn rejected(status: u16, message: &str) -> Error {
        Error::Rejected(Rejection { status, message: message.to_owned() })
    }

    #[test]
    fn each_status_maps_to_a_case() {
        let text = |status: u16| format!("GET /meetings: Whereby answered {status}: no");
        for (status, expected) in [
            (401, Error::Unauthorized(text(401))),
            (403, Error::AccessDenied(text(403))),
            (404, Error::NotFound(text(404))),
            (400, rejected(400, "no")),
            (422, rejected(422, "no")),
            (499, rejected(499, "no")),
            (500, Error::Unavailable(text(500))),
            (503, Error::Unavailable(text(503))),
            (302, Error::UnexpectedResponse(text(302))),
            (100, Error::UnexpectedResponse(text(100))),
            (600, Error::UnexpectedResponse(text(600))),
        ] {
            assert_eq!(from_reply("GET /meetings", &reply(status, r#"{"error":"no"}"#)), expected);
        }
    }

    #[test]
    fn any_body_gives_a_message() {
        let long = "x".repeat(600);
        for (body, message) in [
            (r#"{"error":"a","message":"b"}"#, "a: b"),
            (r#"{"message":"b","error":"a"}"#, "a: b"),
            (r#"{"error":"a","message":"a"}"#, "a"),
            (r#"{"message":"b"}"#, "b"),
            (r#"{"message":["b","c"]}"#, "b: c"),
            (r#"{"error":{"code":1},"message":"b"}"#, "b"),
            (r#"{"error":{"code":"E1","message":"a"}}"#, "a"),
            (r#"{"errors":["a","b"]}"#, "a: b"),
            (r#"{"errors":[{"field":"x","message":"a"},{"message":"b"}]}"#, "a: b"),
            (r#"{"errors":[1,2,3,4,5,6,"a","b","c","d","e","f"]}"#, "a: b: c: d: e"),
            (r#"{"title":"a","detail":"b","status":400}"#, "a: b"),
            (r#"{"error":null}"#, ""),
            (r#"{"code":17,"info":"a"}"#, ""),
            (r#"{"meetingId":"7","hostRoomUrl":"https://a/b?roomKey=s3cret"}"#, ""),
            (r#"{"error":"a\u0000b\u202ec\n"}"#, "a b c"),
            ("{}", ""),
            ("", ""),
            ("<html><body>Bad</body></html>", ""),
            (" plain ", "plain"),
            ("{\"error\":", "{\"error\":"),
            ("\"text\"", "\"text\""),
            (&long, &long[..500]),
        ] {
            assert_eq!(from_reply("x", &reply(400, body)), rejected(400, message), "{body}");
        }
        let broken = Reply { status: 400, body: vec![b'a', 0xff, b'b'], ..Reply::default() };
        assert_eq!(from_reply("x", &broken), rejected(400, "a\u{fffd}b"));
    }

    #[test]
    fn a_response_without_a_message_says_so() {
        assert_eq!(
            from_reply("GET /meetings", &reply(502, "")),
            Error::Unavailable("GET /meetings: Whereby answered 502 without a message".to_owned())
        );
    }

    #[test]
    fn each_failure_maps_to_a_case() {
        let text = || "GET /x: why".to_owned();
        for (kind, expected) in [
            (SendErrorKind::RateLimited(7), Error::RateLimited(7)),
            (SendErrorKind::Timeout, Error::Timeout(text())),
            (SendErrorKind::Unavailable, Error::Unavailable(text())),
            (SendErrorKind::Denied, Error::AccessDenied(text())),
            (SendErrorKind::Unreadable, Error::UnexpectedResponse(text())),
        ] {
            let failure = SendError { kind, text: "why".to_owned(), maybe_sent: true };
            assert_eq!(from_failure("GET /x", &failure), expected);
        }
    }

    #[test]
    fn the_wait_is_read_in_both_spellings() {
        for (body, milliseconds) in [
            (r#"{"error":"x","data":{"msLeft":21500}}"#, Some(21_500)),
            (r#"{"data":{"ms_left":10.0}}"#, Some(10)),
            (r#"{"data":{"msLeft":1,"ms_left":2}}"#, Some(1)),
            (r#"{"data":{"msLeft":-1}}"#, None),
            (r#"{"data":{"msLeft":"1"}}"#, None),
            (r#"{"data":{}}"#, None),
            (r#"{"data":null}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(
                milliseconds_left(body.as_bytes()),
                milliseconds.map(Duration::from_millis),
                "{body}"
            );
        }
    }

    #[test]
    fn secrets_are_hidden() {
        assert_eq!(hide(b"a s3cret, s3cret".to_vec(), "s3cret"), b"a [hidden], [hidden]");
        assert_eq!(hide(b"nothing".to_vec(), "s3cret"), b"nothing");
        assert_eq!(
            without_secret(rejected(400, "a s3cret"), "s3cret"),
            rejected(400, "a [hidden]")
        );
        assert_eq!(
            without_secret(Error::Timeout("s3crets3cret".to_owned()), "s3cret"),
            Error::Timeout("[hidden][hidden]".to_owned())
        );
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(status in any::<u16>(), body in any::<Vec<u8>>()) {
            let _ = milliseconds_left(&body);
            let hidden = hide(body.clone(), "ab");
            prop_assert!(!hidden.windows(2).any(|part| part == b"ab"));
            let _ = from_reply("x", &Reply { status, body, ..Reply::default() });
        }

        #[test]
        fn a_clean_text_is_short_and_visible(text in any::<String>()) {
            let clean = clean(&text);
            prop_assert!(clean.chars().count() <= 500);
            prop_assert!(!clean.chars().any(char::is_control));
        }
    }
}
