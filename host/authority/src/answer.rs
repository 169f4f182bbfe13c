//! Parses responses and rebuilds them, so that the component reads only JSON that the host wrote.
//!
//! A response is parsed into the members that the call's function may see. Everything else is
//! dropped: other members, the original spelling, and bodies that are not JSON. Every string passes
//! through one place, which redacts the access token.

use crate::prelude::*;
use crate::surrogate;
use crate::{find_in, split_at};
use alloc::borrow::Cow;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;
use percent_encoding::percent_decode;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// Replaces the access token.
pub const REDACTED: &str = "[redacted]";

/// The maximum number of rows in a page. Whereby returns at most 100.
const MAX_ROWS: usize = 1000;

/// The maximum size of an error response, in bytes. Whereby's are below 1 KiB.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// The maximum length of an error message, in characters.
const MAX_ERROR_TEXT: usize = 500;

/// The maximum number of messages taken from one error response.
const MAX_MESSAGES: usize = 5;

/// The maximum retry delay, in seconds: 30 days. Longer ones are cut to this.
pub const LONGEST_WAIT: u64 = 30 * 24 * 60 * 60;

/// Reads the seconds of `Retry-After` (RFC 9110), rounded up. Returns `None` for anything else, such as a date.
#[must_use]
pub fn whole_seconds(value: &str) -> Option<u64> {
    let (whole, part) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) {
        return None;
    }
    let part = u64::from(part.bytes().any(|digit| digit != b'0'));
    // If digits fail to parse, the number is too large.
    Some(whole.parse().unwrap_or(LONGEST_WAIT).saturating_add(part).min(LONGEST_WAIT))
}

/// The type of a member. A value of another type is replaced by an empty value of that other type, so
/// that the component can still say what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A string or a number: Whereby writes ids as either.
    Id,
    /// A number.
    Number,
}

/// The members of an object, each with its type.
type Members = &'static [(&'static str, Kind)];

/// What the component may see of a successful response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `results`, with these members in each row, and `cursor`.
    Page(Members),
    /// An object with these members.
    Object {
        /// The members that the response may have.
        members: Members,
        /// The members that this call may not see.
        left_out: &'static [&'static str],
    },
    /// Only that a response came.
    Nothing,
}

/// A room in `GET /meetings`.
pub const ROOM: Members = &[
    ("meetingId", Kind::Id),
    ("roomName", Kind::Text),
    ("roomUrl", Kind::Text),
    ("startDate", Kind::Text),
    ("endDate", Kind::Text),
];

/// The room that `POST /meetings` created.
pub const CREATED_ROOM: Members = &[
    ("meetingId", Kind::Id),
    ("roomName", Kind::Text),
    ("roomUrl", Kind::Text),
    ("startDate", Kind::Text),
    ("endDate", Kind::Text),
    ("hostRoomUrl", Kind::Text),
    ("viewerRoomUrl", Kind::Text),
];

/// A room as get_current_user sees it: its URL contains the organization's subdomain.
pub const ROOM_URL: Members = &[("roomUrl", Kind::Text)];

/// A room in `GET /insights/rooms`.
pub const INSIGHT_ROOM: Members = &[
    ("roomName", Kind::Text),
    ("totalSessions", Kind::Number),
    ("firstSessionStartedAt", Kind::Text),
    ("lastSessionStartedAt", Kind::Text),
];

/// A session in `GET /insights/room-sessions`. Whereby has used two names for each date.
pub const SESSION: Members = &[
    ("roomSessionId", Kind::Text),
    ("roomName", Kind::Text),
    ("startedAt", Kind::Text),
    ("createdAt", Kind::Text),
    ("endedAt", Kind::Text),
    ("endAt", Kind::Text),
    ("totalUniqueParticipants", Kind::Number),
    ("totalRecorderMinutes", Kind::Number),
];

/// A participant in `GET /insights/participants`.
pub const PARTICIPANT: Members = &[
    ("roomSessionId", Kind::Text),
    ("participantId", Kind::Id),
    ("roleName", Kind::Text),
    ("displayName", Kind::Text),
    ("joinedAt", Kind::Text),
    ("leftAt", Kind::Text),
    ("externalId", Kind::Id),
];

/// A participant. The host uses the user's id to recognize a person in other sessions; the component never
/// reads that id.
pub(crate) const PARTICIPANT_AND_USER: Members = &[
    ("roomSessionId", Kind::Text),
    ("participantId", Kind::Id),
    ("userId", Kind::Id),
    ("roleName", Kind::Text),
    ("displayName", Kind::Text),
    ("joinedAt", Kind::Text),
    ("leftAt", Kind::Text),
    ("externalId", Kind::Id),
];

/// A recording in `GET /recordings`.
pub const RECORDING: Members = &[
    ("recordingId", Kind::Id),
    ("roomSessionId", Kind::Text),
    ("roomName", Kind::Text),
    ("filename", Kind::Text),
    ("startDate", Kind::Text),
    ("endDate", Kind::Text),
    ("sizeInMegaBytes", Kind::Number),
];

/// A transcription in `GET /transcriptions`.
pub const TRANSCRIPTION: Members = &[("roomSessionId", Kind::Text), ("roomName", Kind::Text)];

/// Why a successful response cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not JSON.
    NotJson,
    /// It has more rows than a page can have.
    TooManyRows,
}

/// Replaces the access token in strings.
pub struct Redactor {
    token: SecretString,
    /// The token's letters and digits, in lower case.
    folded: SecretSlice<u8>,
}

impl Redactor {
    /// A token with fewer letters and digits is recognized only in its exact spelling.
    const LEAST: usize = 8;

    /// Returns a redactor for one access token. An empty token redacts nothing.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self { token: token.into(), folded: fold(token).into() }
    }

    /// Returns the text without the token. If the text contains the token in another spelling (other
    /// letter case, percent-encoded, broken up by other characters), the whole text is replaced.
    pub fn apply<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        let (token, folded) = (self.token.expose_secret(), self.folded.expose_secret());
        // No spelling is shorter than its letters and digits.
        if text.len() < folded.len() || token.is_empty() {
            return text;
        }
        let text =
            if find_in(&text, token).is_some() { without(&text, token).into() } else { text };
        let is_spelled = folded.len() >= Self::LEAST && contains(&fold(&text), folded);
        if is_spelled { REDACTED.into() } else { text }
    }
}

/// Returns the letters and digits of a string after percent-decoding, in lower case.
fn fold(text: &str) -> Vec<u8> {
    let text = text.as_bytes();
    let mut folded =
        if text.contains(&b'%') { percent_decode(text).collect() } else { text.to_vec() };
    folded.retain_mut(|byte| {
        // The lower case of a letter. A digit has this bit, too.
        let lower = *byte | 0x20;
        let is_kept = lower.is_ascii_lowercase() || byte.is_ascii_digit();
        *byte = lower;
        is_kept
    });
    folded
}

/// Returns the text without the token.
fn without(mut text: &str, token: &str) -> String {
    let mut redacted = String::new();
    while let Some((before, after)) = split_at(text, token) {
        redacted.push_str(before);
        redacted.push_str(REDACTED);
        text = after;
    }
    redacted.push_str(text);
    redacted
}

/// Whether bytes contain others, which are not empty.
fn contains(bytes: &[u8], others: &[u8]) -> bool {
    #[cfg(feature = "std")]
    return memchr::memmem::find(bytes, others).is_some();
    #[cfg(not(feature = "std"))]
    bytes.windows(others.len()).any(|window| window == others)
}

/// Rebuilds a successful response from what the component may see of it.
///
/// # Errors
///
/// [`Unreadable`] if the body is not JSON or has too many rows.
pub fn rebuild(body: &[u8], shape: Shape, redactor: &Redactor) -> Result<Vec<u8>, Unreadable> {
    let body = without_bom(body);
    if shape == Shape::Nothing && body.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let (members, left_out): (Members, &[&str]) = match shape {
        Shape::Page(members) => (members, &[]),
        Shape::Object { members, left_out } => (members, left_out),
        Shape::Nothing => (&[], &[]),
    };
    let members = members.iter().filter(|(name, _)| !left_out.contains(name));
    let members: Vec<_> = members.map(|(name, kind)| (*name, Keep::Scalar(*kind))).collect();
    let page = [("results", Keep::Rows(&members)), ("cursor", Keep::Scalar(Kind::Text))];
    let keep = match shape {
        Shape::Page(_) => Keep::Object(&page),
        Shape::Object { .. } => Keep::Object(&members),
        Shape::Nothing => Keep::Nothing,
    };
    let halves = surrogate::without_halves(body);
    let body = halves.as_deref().unwrap_or(body);
    let too_many_rows = Cell::new(false);
    let reader = Reader { keep, redactor, too_many_rows: &too_many_rows };
    let read = parse(body, reader).ok_or(Unreadable::NotJson)?;
    if too_many_rows.get() {
        return Err(Unreadable::TooManyRows);
    }
    if shape == Shape::Nothing {
        return Ok(Vec::new());
    }
    let mut rebuilt = Vec::with_capacity(body.len());
    read.write(&mut rebuilt);
    Ok(rebuilt)
}

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

    /// Returns the body that the component reads; empty without a message and a delay.
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

/// Returns the messages in a value, each once: those of an object joined by `: `, those of an array
/// by `; `.
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

fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

/// A value without what the component may not see.
enum Kept<'a> {
    Null,
    Flag,
    Text(Cow<'a, str>),
    Number(Number),
    List(Vec<Self>),
    /// In the order of the type's members. Those that are absent are null.
    Object(Vec<(&'static str, Self)>),
}

impl Kept<'_> {
    /// Writes the value as JSON, without the null members of objects.
    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Null => to.extend(b"null"),
            Self::Flag => to.extend(b"false"),
            // A string that was borrowed from JSON has no escapes there, and needs none here.
            Self::Text(Cow::Borrowed(text)) => quote(text, to),
            Self::Text(Cow::Owned(text)) => {
                to.extend(crate::text::to_json(&Value::from(text.as_str())))
            }
            Self::Number(number) => to.extend(number.to_string().bytes()),
            Self::List(items) => {
                to.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        to.push(b',');
                    }
                    item.write(to);
                }
                to.push(b']');
            }
            Self::Object(members) => {
                to.push(b'{');
                let start = to.len();
                for (name, value) in members {
                    if matches!(value, Self::Null) {
                        continue;
                    }
                    if to.len() > start {
                        to.push(b',');
                    }
                    quote(name, to);
                    to.push(b':');
                    value.write(to);
                }
                to.push(b'}');
            }
        }
    }
}

/// Writes a string that needs no escapes.
fn quote(text: &str, to: &mut Vec<u8>) {
    to.push(b'"');
    to.extend_from_slice(text.as_bytes());
    to.push(b'"');
}

fn parse<'de>(body: &'de [u8], reader: Reader<'_>) -> Option<Kept<'de>> {
    // Once for the whole body, instead of for each string.
    let body = core::str::from_utf8(body).ok()?;
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let value = reader.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(value)
}

/// What to keep of a value. A value of another type is kept empty.
#[derive(Clone, Copy)]
enum Keep<'a> {
    Nothing,
    Scalar(Kind),
    /// An object with these members.
    Object(&'a [(&'static str, Self)]),
    /// An array of objects with these members.
    Rows(&'a [(&'static str, Self)]),
}

/// Reads a value, and redacts its strings.
#[derive(Clone, Copy)]
struct Reader<'a> {
    keep: Keep<'a>,
    redactor: &'a Redactor,
    /// Set if there are more rows than a page has. They are not kept.
    too_many_rows: &'a Cell<bool>,
}

impl Reader<'_> {
    fn number<'de>(self, number: Option<Number>) -> Kept<'de> {
        let is_kept = matches!(self.keep, Keep::Scalar(Kind::Number | Kind::Id));
        Kept::Number(number.filter(|_| is_kept).unwrap_or(0.into()))
    }

    fn text<'de>(self, text: impl Into<Cow<'de, str>>) -> Kept<'de> {
        let is_kept = matches!(self.keep, Keep::Scalar(Kind::Text | Kind::Id));
        Kept::Text(if is_kept { self.redactor.apply(text.into()) } else { Cow::default() })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Kept<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kept<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Kept<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Kept<'de>, E> {
        Ok(Kept::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kept<'de>, E> {
        Ok(Kept::Flag)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Kept<'de>, E> {
        Ok(self.number(Some(number.into())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Kept<'de>, E> {
        Ok(self.number(Some(number.into())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Kept<'de>, E> {
        Ok(self.number(Number::from_f64(number)))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Kept<'de>, E> {
        Ok(self.text(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Kept<'de>, E> {
        Ok(self.text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kept<'de>, A::Error> {
        let Keep::Rows(members) = self.keep else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Kept::List(Vec::new()));
        };
        let mut rows = Vec::new();
        while let Some(row) =
            items.next_element_seed(Self { keep: Keep::Object(members), ..self })?
        {
            if rows.len() == MAX_ROWS {
                self.too_many_rows.set(true);
            } else {
                rows.push(row);
            }
        }
        Ok(Kept::List(rows))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Kept<'de>, A::Error> {
        let members = if let Keep::Object(members) = self.keep { members } else { &[] };
        let mut kept: Vec<_> = members.iter().map(|(name, _)| (*name, Kept::Null)).collect();
        while let Some(index) = object.next_key_seed(Which(members))? {
            // The last of two members with the same name counts, as in most JSON parsers.
            match index.and_then(|index| members.get(index).zip(kept.get_mut(index))) {
                Some(((_, keep), (_, value))) => {
                    *value = object.next_value_seed(Self { keep: *keep, ..self })?;
                }
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Kept::Object(kept))
    }
}

/// Reads a member's name, and returns its index if it is known.
struct Which<'a>(&'a [(&'static str, Keep<'a>)]);

impl<'de> DeserializeSeed<'de> for Which<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Which<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|(known, _)| *known == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "hunter2-hunter2-hunter2";
    const CREATED: Shape = Shape::Object { members: CREATED_ROOM, left_out: &["hostRoomUrl"] };

    fn rebuilt(body: &str, shape: Shape) -> Result<String, Unreadable> {
        let bytes = rebuild(body.as_bytes(), shape, &Redactor::new(TOKEN))?;
        Ok(String::from_utf8(bytes).expect("JSON is UTF-8"))
    }

    #[test]
    fn a_page_keeps_its_known_members_in_one_spelling() {
        let page = Shape::Page(TRANSCRIPTION);
        for (body, expected) in [
            (r#"{"results":[],"cursor":null}"#, r#"{"results":[]}"#),
            (
                "\u{feff} { \"cursor\" : \"\\u0061b\", \"results\":[{\"roomName\":\"/x\",\"more\":1}]}",
                r#"{"results":[{"roomName":"/x"}],"cursor":"ab"}"#,
            ),
            // The last one counts.
            (
                r#"{"results":[{"roomName":"a","roomName":"b"}],"results":[{}]}"#,
                r#"{"results":[{}]}"#,
            ),
            (
                r#"{"\u0072esults":[{"roomName":"b\ud800"}]}"#,
                "{\"results\":[{\"roomName\":\"b\u{fffd}\"}]}",
            ),
            // A value of another type keeps only its type.
            (r#"{"results":{"a":1},"cursor":7}"#, r#"{"results":{},"cursor":0}"#),
            (
                r#"{"results":[7,"x",null,true,[1],{"roomName":["x"]}]}"#,
                r#"{"results":[0,"",null,false,[],{"roomName":[]}]}"#,
            ),
            (
                r#"{"results":[{"roomName":{"a":"secret"},"roomSessionId":12}]}"#,
                r#"{"results":[{"roomSessionId":0,"roomName":{}}]}"#,
            ),
            ("[1]", "[]"),
            (r#""text""#, r#""""#),
            ("7", "0"),
            ("null", "null"),
        ] {
            assert_eq!(rebuilt(body, page).as_deref(), Ok(expected), "{body}");
        }
    }

    #[test]
    fn an_object_keeps_only_the_members_asked_for() {
        let body = r#"{"meetingId":7,"roomUrl":"https://a/b","hostRoomUrl":"https://a/b?roomKey=x",
                       "viewerRoomUrl":"v","meetingSecret":"s"}"#;
        let expected = r#"{"meetingId":7,"roomUrl":"https://a/b","viewerRoomUrl":"v"}"#;
        assert_eq!(rebuilt(body, CREATED).as_deref(), Ok(expected));
    }

    #[test]
    fn the_response_to_a_deletion_is_not_passed_on() {
        for body in ["", " \n", "{}", r#"{"a":"b"}"#, "null", "[1]"] {
            assert_eq!(rebuilt(body, Shape::Nothing).as_deref(), Ok(""), "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_json_is_not_passed_on() {
        for shape in [Shape::Page(ROOM), CREATED, Shape::Nothing] {
            for body in ["<html>", " \n<!DOCTYPE html>", "{", "{} {}", "plain text"] {
                assert_eq!(rebuilt(body, shape), Err(Unreadable::NotJson), "{body}");
            }
        }
        assert_eq!(rebuilt("", Shape::Page(ROOM)), Err(Unreadable::NotJson));
        let other = rebuild(b"{\"other\":\"\xff\"}", Shape::Page(ROOM), &Redactor::new(TOKEN));
        assert_eq!(other, Err(Unreadable::NotJson), "it is not UTF-8");
        assert_eq!(
            rebuilt(r#"{"results":[{"roomName":"a"}],"x":1e400}"#, Shape::Page(ROOM)).ok(),
            Some(r#"{"results":[{"roomName":"a"}]}"#.to_owned())
        );
        let rows = |count| format!(r#"{{"results":[{}{{}}]}}"#, "{},".repeat(count - 1));
        assert!(rebuilt(&rows(MAX_ROWS), Shape::Page(ROOM)).is_ok());
        assert_eq!(rebuilt(&rows(MAX_ROWS + 1), Shape::Page(ROOM)), Err(Unreadable::TooManyRows));
    }

    #[test]
    fn the_token_is_redacted_with_and_without_escapes() {
        let escaped: String = TOKEN.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        for spelling in [TOKEN, &escaped] {
            for body in [
                format!(r#"{{"results":[{{"roomName":"a {spelling}{spelling} b"}}]}}"#),
                format!(
                    r#"{{"results":[{{"{spelling}":1,"roomName":"a [redacted][redacted] b"}}],"{spelling}":[]}}"#
                ),
            ] {
                let page = rebuilt(&body, Shape::Page(ROOM)).expect("a page");
                assert_eq!(page, r#"{"results":[{"roomName":"a [redacted][redacted] b"}]}"#);
            }
            let error = format!(r#"{{"error":"no {spelling}"}}"#);
            let complaint = Complaint::read(error.as_bytes(), &Redactor::new(TOKEN));
            assert_eq!(complaint.text, "no [redacted]");
        }
    }

    #[test]
    fn a_token_in_another_spelling_redacts_the_whole_text() {
        let redactor = Redactor::new(TOKEN);
        for text in [
            "HUNTER2-hunter2-Hunter2",
            "https://a/%68unter2%2Dhunter2%2dhunter2",
            "hunter2-hunt\0er2-hun\u{fffd}ter2",
            "hunter2-hunt.er2-hunter2",
            "hunter2-hunter2-hunter2 and HUNTER2-HUNTER2-HUNTER2",
        ] {
            assert_eq!(redactor.apply(text.into()), REDACTED, "{text}");
        }
        for text in ["", "hunter2", "hunter2-hunter2-hunter", "a room of hunters, all 22 of them"] {
            assert_eq!(redactor.apply(text.into()), text);
        }
        assert_eq!(Redactor::new("").apply("text".into()), "text");
    }

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
        fn no_body_panics_and_a_rebuilt_one_is_rebuilt_the_same(
            body in "(?s)[\\[\\]{}:,\"\\\\a-z0-9. ]{0,80}",
        ) {
            let redactor = Redactor::new(TOKEN);
            let _ = Complaint::read(body.as_bytes(), &redactor);
            for shape in [Shape::Page(ROOM), CREATED] {
                if let Ok(once) = rebuild(body.as_bytes(), shape, &redactor) {
                    prop_assert_eq!(rebuild(&once, shape, &redactor), Ok(once.clone()));
                }
            }
        }

        #[test]
        fn letters_are_those_of_the_decoded_text(text in "([%0-9a-fA-FxZ ._-]|\\PC){0,30}") {
            let decoded = percent_encoding::percent_decode_str(&text);
            let letters = decoded.filter(u8::is_ascii_alphanumeric);
            let expected: Vec<u8> = letters.map(|byte| byte.to_ascii_lowercase()).collect();
            prop_assert_eq!(fold(&text), expected);
        }

        #[test]
        fn a_string_means_the_same_in_every_spelling(text in any::<String>()) {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            for spelling in [Value::from(text.as_str()).to_string(), format!("\"{escaped}\"")] {
                let body = format!(r#"{{"results":[{{"roomName":{spelling}}}]}}"#);
                let page: Value =
                    serde_json::from_str(&rebuilt(&body, Shape::Page(ROOM)).expect("a page"))?;
                prop_assert_eq!(&page["results"][0]["roomName"], &Value::from(text.as_str()));
            }
        }
    }
}
