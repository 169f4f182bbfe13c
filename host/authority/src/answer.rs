//! Parses responses and rebuilds them, so that the component reads only JSON that the host wrote.
//!
//! A response is parsed into the members that the call's function may see. Everything else is
//! dropped: other members, the original spelling, and bodies that are not JSON. Every string passes
//! through one place, which redacts the access token.

use crate::surrogate;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

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
pub struct Redactor<'a> {
    token: &'a str,
    /// The token's letters and digits, in lower case.
    folded: Vec<u8>,
}

impl<'a> Redactor<'a> {
    /// A token with fewer letters and digits is recognized only in its exact spelling.
    const LEAST: usize = 8;

    /// Returns a redactor for one access token. An empty token redacts nothing.
    #[must_use]
    pub fn new(token: &'a str) -> Self {
        Self { token, folded: fold(token) }
    }

    /// Returns the text without the token. If the text contains the token in another spelling (other
    /// letter case, percent-encoded, broken up by other characters), the whole text is replaced.
    pub fn apply<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        // No spelling is shorter than its letters and digits.
        if text.len() < self.folded.len() || self.token.is_empty() {
            return text;
        }
        let text = if text.contains(self.token) {
            text.replace(self.token, REDACTED).into()
        } else {
            text
        };
        let is_spelled = self.folded.len() >= Self::LEAST
            && memchr::memmem::find(&fold(&text), &self.folded).is_some();
        if is_spelled { REDACTED.into() } else { text }
    }
}

/// Returns the letters and digits of a string after percent-decoding, in lower case.
fn fold(text: &str) -> Vec<u8> {
    let decoded = percent_encoding::percent_decode_str(text);
    decoded.filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect()
}

/// Rebuilds a successful response from what the component may see of it.
///
/// # Errors
///
/// [`Unreadable`] if the body is not JSON or has too many rows.
pub fn rebuild(body: &[u8], shape: Shape, redactor: &Redactor<'_>) -> Result<Vec<u8>, Unreadable> {
    let body = without_bom(body);
    if shape == Shape::Nothing && body.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let keep = match shape {
        Shape::Page(members) => Keep::Page(members),
        Shape::Object { members, .. } => Keep::Members(members),
        Shape::Nothing => Keep::Scalar(None),
    };
    let halves = memchr::memchr(b'\\', body).and_then(|_| surrogate::without_halves(body));
    let body = halves.as_deref().unwrap_or(body);
    let read = parse(body, keep).map_err(|error| {
        if error.to_string().starts_with(TOO_MANY_ROWS) {
            Unreadable::TooManyRows
        } else {
            Unreadable::NotJson
        }
    })?;
    if shape == Shape::Nothing {
        return Ok(Vec::new());
    }
    let left_out = match shape {
        Shape::Object { left_out, .. } => left_out,
        _ => &[],
    };
    let mut written = Vec::with_capacity(body.len());
    read.write(&mut written, left_out, redactor);
    Ok(written)
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
    pub fn read(body: &[u8], redactor: &Redactor<'_>) -> Self {
        let body = without_bom(body);
        if body.len() > MAX_ERROR_BYTES {
            return Self::default();
        }
        let halves = surrogate::without_halves(body);
        let body: Value =
            serde_json::from_slice(halves.as_deref().unwrap_or(body)).unwrap_or_default();
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
            body.insert("data".into(), serde_json::json!({ "msLeft": left }));
        }
        if body.is_empty() { Vec::new() } else { Value::Object(body).to_string().into_bytes() }
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
        unique.join(separator)
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
                Some(subject) if !said.is_empty() && !said.contains(&subject) => {
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
            (!parts.is_empty()).then(|| parts.join("."))
        }
        value => part(value),
    }
}

fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

/// A value without what the component may not see.
#[derive(Debug, Default)]
enum Kept<'a> {
    #[default]
    Null,
    Flag,
    Text(Cow<'a, str>),
    Number(Number),
    List(Vec<Self>),
    /// In the order of the names.
    Object(Members, Vec<Self>),
    Page(Box<[Self; 2]>),
}

impl Kept<'_> {
    fn write(self, to: &mut Vec<u8>, left_out: &[&str], redactor: &Redactor<'_>) {
        match self {
            Self::Null => to.extend_from_slice(b"null"),
            Self::Flag => to.extend_from_slice(b"false"),
            Self::Number(number) => to.extend_from_slice(number.to_string().as_bytes()),
            Self::Text(text) => write_text(to, &redactor.apply(text)),
            Self::List(items) => {
                to.push(b'[');
                for (index, item) in items.into_iter().enumerate() {
                    if index > 0 {
                        to.push(b',');
                    }
                    item.write(to, left_out, redactor);
                }
                to.push(b']');
            }
            Self::Object(names, values) => {
                let names = names.iter().map(|(name, _)| *name);
                let kept = names.zip(values).filter(|(name, _)| !left_out.contains(name));
                write_members(to, kept, redactor);
            }
            Self::Page(values) => {
                write_members(to, PAGE.into_iter().zip(*values), redactor);
            }
        }
    }
}

/// Writes an object without its null members.
fn write_members<'a>(
    to: &mut Vec<u8>,
    members: impl Iterator<Item = (&'static str, Kept<'a>)>,
    redactor: &Redactor<'_>,
) {
    to.push(b'{');
    let mut is_first = true;
    for (name, value) in members.filter(|(_, value)| !matches!(value, Kept::Null)) {
        if !std::mem::take(&mut is_first) {
            to.push(b',');
        }
        write_text(to, name);
        to.push(b':');
        value.write(to, &[], redactor);
    }
    to.push(b'}');
}

fn write_text(to: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(to, text);
}

/// The members of a page.
const PAGE: [&str; 2] = ["results", "cursor"];

const TOO_MANY_ROWS: &str = "more rows than a page has";

fn parse(body: &[u8], keep: Keep) -> serde_json::Result<Kept<'_>> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = keep.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// What to keep of a value. A value of another type is kept empty.
#[derive(Clone, Copy)]
enum Keep {
    /// A value of this kind.
    Scalar(Option<Kind>),
    Members(Members),
    Rows(Members),
    Page(Members),
}

impl Keep {
    fn is_kind(self, kinds: &[Kind]) -> bool {
        matches!(self, Self::Scalar(Some(kind)) if kinds.contains(&kind))
    }

    fn number<'de>(self, number: Option<Number>) -> Kept<'de> {
        match number {
            Some(number) if self.is_kind(&[Kind::Number, Kind::Id]) => Kept::Number(number),
            _ => Kept::Number(0.into()),
        }
    }

    fn is_text(self) -> bool {
        self.is_kind(&[Kind::Text, Kind::Id])
    }
}

impl<'de> DeserializeSeed<'de> for Keep {
    type Value = Kept<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kept<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keep {
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
        Ok(Kept::Text(if self.is_text() { Cow::Borrowed(text) } else { Cow::default() }))
    }

    fn visit_str<E>(self, text: &str) -> Result<Kept<'de>, E> {
        Ok(Kept::Text(if self.is_text() { text.to_owned().into() } else { Cow::default() }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kept<'de>, A::Error> {
        let Self::Rows(members) = self else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Kept::List(Vec::new()));
        };
        let mut rows = Vec::new();
        while let Some(row) = items.next_element_seed(Self::Members(members))? {
            if rows.len() == MAX_ROWS {
                return Err(serde::de::Error::custom(TOO_MANY_ROWS));
            }
            rows.push(row);
        }
        Ok(Kept::List(rows))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Kept<'de>, A::Error> {
        let (members, mut page) = match self {
            Self::Members(members) => (members, None),
            Self::Page(rows) => (&[][..], Some((rows, Box::<[Kept<'de>; 2]>::default()))),
            Self::Scalar(_) | Self::Rows(_) => (&[][..], None),
        };
        let mut values: Vec<Kept<'de>> = members.iter().map(|_| Kept::Null).collect();
        while let Some(name) = object.next_key_seed(Name)? {
            // The last of two members with the same name counts, as in most JSON parsers.
            let (slot, keep) = match &mut page {
                Some((rows, page)) => match PAGE.iter().position(|known| *known == name) {
                    Some(0) => (page.get_mut(0), Self::Rows(rows)),
                    Some(_) => (page.get_mut(1), Self::Scalar(Some(Kind::Text))),
                    None => (None, Self::Scalar(None)),
                },
                None => match members.iter().position(|(known, _)| *known == name) {
                    Some(at) => (values.get_mut(at), Self::Scalar(Some(members[at].1))),
                    None => (None, Self::Scalar(None)),
                },
            };
            match slot {
                Some(slot) => *slot = object.next_value_seed(keep)?,
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(match page {
            Some((_, page)) => Kept::Page(page),
            None => Kept::Object(members, values),
        })
    }
}

/// A member's name, borrowed if it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
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
    }
}
