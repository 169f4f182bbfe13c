//! Rebuilds the responses of requests that succeeded.

use super::{Kind, MOST_MEMBERS, Member, Members, Redactor, Shape, members, without_bom};
use crate::prelude::*;
use crate::surrogate;
use alloc::borrow::Cow;
use core::fmt;
use core::ops::Range;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// The maximum number of rows in a page. Whereby returns at most 100.
const MAX_ROWS: usize = 1000;

/// Why a successful response cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not JSON.
    NotJson,
    /// It has more rows than a page can have.
    TooManyRows,
}

/// Rebuilds a successful response with only what the component may see.
///
/// # Errors
///
/// [`Unreadable`] if the body is not JSON or has too many rows.
pub fn rebuild(body: &[u8], shape: Shape, redactor: &Redactor) -> Result<Vec<u8>, Unreadable> {
    let body = without_bom(body);
    if shape == Shape::Nothing && body.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let (keep, left_out): (Keep, &[&str]) = match shape {
        Shape::Page(row) => (Keep::Page(row), &[]),
        Shape::Object { members, left_out } => (Keep::Object(members), left_out),
        Shape::Nothing => (Keep::Object(NONE), &[]),
    };
    let halves = surrogate::without_halves(body);
    let body = halves.as_deref().unwrap_or(body);
    // Checks UTF-8 once for the whole body; the parser would check each string.
    let body = core::str::from_utf8(body).map_err(|_| Unreadable::NotJson)?;
    let mut rebuilt = Vec::with_capacity(body.len());
    let mut too_many_rows = false;
    let writer =
        Writer { keep, left_out, redactor, to: &mut rebuilt, too_many_rows: &mut too_many_rows };
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let read = writer.deserialize(&mut deserializer).and_then(|_| deserializer.end());
    read.map_err(|_| Unreadable::NotJson)?;
    if too_many_rows {
        return Err(Unreadable::TooManyRows);
    }
    if shape == Shape::Nothing {
        rebuilt.clear();
    }
    Ok(rebuilt)
}

/// What to keep of a value. A value of another type is replaced by an empty value of that type.
#[derive(Clone, Copy)]
enum Keep {
    Scalar(Kind),
    /// An object with these members.
    Object(Members),
    /// A page of rows with these members.
    Page(Members),
    /// An array of objects with these members.
    Rows(Members),
}

/// The member of a page that has the rows.
const ROWS: &str = "results";

/// The members of a page. The type of its rows is not used: each kind of page has another.
const PAGE: Members = members! { "results": Text, "cursor": Text };

/// No members.
const NONE: Members = &[];

/// Writes what is kept of a value while the value is read, so that the parsed response is never in memory.
struct Writer<'a> {
    keep: Keep,
    /// The members that this call may not see.
    left_out: &'static [&'static str],
    redactor: &'a Redactor,
    to: &'a mut Vec<u8>,
    /// Set if there are more rows than a page can have. The rows after those are not kept.
    too_many_rows: &'a mut bool,
}

impl Writer<'_> {
    /// Returns a writer of a part of the value.
    fn part(&mut self, keep: Keep) -> Writer<'_> {
        let Self { left_out, redactor, .. } = *self;
        Writer { keep, left_out, redactor, to: self.to, too_many_rows: self.too_many_rows }
    }

    fn number(self, number: Option<Number>) {
        let is_kept = matches!(self.keep, Keep::Scalar(Kind::Number | Kind::Id));
        match number.filter(|_| is_kept) {
            Some(number) => self.to.extend_from_slice(number.to_string().as_bytes()),
            None => self.to.push(b'0'),
        }
    }

    /// Writes a string. A borrowed one needs no escapes: it had none in the JSON, or is `REDACTED`, or empty.
    fn text(self, text: Cow<'_, str>) {
        let is_kept = matches!(self.keep, Keep::Scalar(Kind::Text | Kind::Id));
        let text = if is_kept { self.redactor.apply(text) } else { Cow::default() };
        match text {
            Cow::Borrowed(text) => {
                self.to.push(b'"');
                self.to.extend_from_slice(text.as_bytes());
                self.to.push(b'"');
            }
            Cow::Owned(text) => self.to.extend_from_slice(&crate::text::to_json(&text.into())),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    /// Whether the value is not null.
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        self.to.extend_from_slice(b"null");
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        self.to.extend_from_slice(b"false");
        Ok(true)
    }

    fn visit_u64<E>(self, number: u64) -> Result<bool, E> {
        self.number(Some(number.into()));
        Ok(true)
    }

    fn visit_i64<E>(self, number: i64) -> Result<bool, E> {
        self.number(Some(number.into()));
        Ok(true)
    }

    fn visit_f64<E>(self, number: f64) -> Result<bool, E> {
        self.number(Number::from_f64(number));
        Ok(true)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<bool, E> {
        self.text(text.into());
        Ok(true)
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        self.text(text.to_owned().into());
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<bool, A::Error> {
        let (members, most) = match self.keep {
            Keep::Rows(members) => (members, MAX_ROWS),
            _ => (NONE, 0),
        };
        self.to.push(b'[');
        let mut rows = 0;
        while rows < most && items.next_element_seed(self.part(Keep::Object(members)))?.is_some() {
            self.to.push(b',');
            rows += 1;
        }
        while items.next_element::<IgnoredAny>()?.is_some() {
            // Only an array of rows can have too many. Another one is kept empty.
            *self.too_many_rows |= most > 0;
        }
        // Replaces the last comma by the bracket.
        if rows > 0 {
            self.to.pop();
        }
        self.to.push(b']');
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<bool, A::Error> {
        let (members, row) = match self.keep {
            Keep::Object(members) => (members, None),
            Keep::Page(row) => (PAGE, Some(row)),
            _ => (NONE, None),
        };
        let start = self.to.len();
        // Where each member was written; empty if it was not.
        let mut places = [const { 0..0 }; MOST_MEMBERS];
        while let Some(index) = object.next_key_seed(Which(members, self.left_out))? {
            let known = index.and_then(|index| members.get(index).zip(places.get_mut(index)));
            let Some((member, place)) = known else {
                let _: IgnoredAny = object.next_value()?;
                continue;
            };
            let begin = self.to.len();
            self.to.extend_from_slice(member.written.as_bytes());
            let keep = match row {
                Some(row) if member.name == ROWS => Keep::Rows(row),
                _ => Keep::Scalar(member.kind),
            };
            if !object.next_value_seed(self.part(keep))? {
                self.to.truncate(begin);
            }
            // If a name occurs more than once, the last member counts, as in most JSON parsers.
            let earlier = core::mem::replace(place, begin..self.to.len());
            if !earlier.is_empty() {
                remove(self.to, &mut places, earlier);
            }
        }
        // Each member begins with a comma. The first one becomes the brace.
        match self.to.get_mut(start) {
            Some(comma) => *comma = b'{',
            None => self.to.push(b'{'),
        }
        self.to.push(b'}');
        Ok(true)
    }
}

/// Removes a member that was written before, and updates the places of those after it.
///
/// The time stays linear: a member moves only when one in front of it is written again, behind it, so at most
/// `MOST_MEMBERS - 1` times.
#[cold]
fn remove(to: &mut Vec<u8>, places: &mut [Range<usize>], earlier: Range<usize>) {
    let size = earlier.len();
    to.copy_within(earlier.end.., earlier.start);
    to.truncate(to.len() - size);
    for place in places.iter_mut().filter(|place| place.start >= earlier.end) {
        *place = place.start - size..place.end - size;
    }
}

/// Reads a member's name. Returns its index among the members, or `None` if it is unknown or left out.
struct Which(Members, &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Which {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Which {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        let Self(members, left_out) = self;
        let index = members.iter().position(|known| known.name == name);
        Ok(index.filter(|_| !left_out.contains(&name)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CREATED_ROOM, ROOM, TRANSCRIPTION};
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const TOKEN: &str = "hunter2-hunter2-hunter2";
    const CREATED: Shape = Shape::Object { members: CREATED_ROOM, left_out: &["hostRoomUrl"] };

    fn rebuilt(body: &str, shape: Shape) -> Result<String, Unreadable> {
        let bytes = rebuild(body.as_bytes(), shape, &Redactor::new(TOKEN))?;
        Ok(String::from_utf8(bytes).expect("JSON is UTF-8"))
    }

    #[test]
    fn a_page_keeps_only_its_known_members() {
        let page = Shape::Page(TRANSCRIPTION);
        for (body, expected) in [
            (r#"{"results":[],"cursor":null}"#, r#"{"results":[]}"#),
            (
                "\u{feff} { \"cursor\" : \"\\u0061b\", \"results\":[{\"roomName\":\"/x\",\"more\":1}]}",
                r#"{"cursor":"ab","results":[{"roomName":"/x"}]}"#,
            ),
            // The last one counts.
            (
                r#"{"results":[{"roomName":"a","roomName":"b"}],"results":[{}]}"#,
                r#"{"results":[{}]}"#,
            ),
            (
                r#"{"results":[{"roomName":"a","roomSessionId":"b"},{"roomSessionId":"c","roomName":"d","roomSessionId":"ef"},
                    {"roomName":"g","roomSessionId":"h","roomName":null}]}"#,
                r#"{"results":[{"roomName":"a","roomSessionId":"b"},{"roomName":"d","roomSessionId":"ef"},{"roomSessionId":"h"}]}"#,
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
                r#"{"results":[{"roomName":{},"roomSessionId":0}]}"#,
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
        }
    }

    proptest! {
        #[test]
        fn the_last_of_several_members_counts(
            members in proptest::collection::vec((0..6_usize, "[0-9]{0,3}|null"), 0..12),
        ) {
            let names = ["meetingId", "roomName", "roomUrl", "startDate", "endDate", "other"];
            let mut expected: Vec<(&str, String)> = Vec::new();
            let mut body = Vec::new();
            for (index, text) in &members {
                let (name, value) = (names[*index], if text == "null" { text.clone() } else { format!("{text:?}") });
                body.push(format!("{name:?}: {value}"));
                expected.retain(|(known, _)| *known != name);
                expected.push((name, value));
            }
            expected.retain(|(name, value)| *name != "other" && value != "null");
            let expected: Vec<_> =
                expected.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
            let body = format!(r#"{{"results":[{{{}}},{{}}]}}"#, body.join(", "));
            let expected = format!(r#"{{"results":[{{{}}},{{}}]}}"#, expected.join(","));
            prop_assert_eq!(rebuilt(&body, Shape::Page(ROOM)), Ok(expected));
        }

        #[test]
        fn no_body_panics_and_a_rebuilt_one_is_rebuilt_the_same(
            body in "(?s)[\\[\\]{}:,\"\\\\a-z0-9. ]{0,80}",
        ) {
            let redactor = Redactor::new(TOKEN);
            for shape in [Shape::Page(ROOM), CREATED] {
                if let Ok(once) = rebuild(body.as_bytes(), shape, &redactor) {
                    prop_assert_eq!(rebuild(&once, shape, &redactor), Ok(once.clone()));
                }
            }
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
