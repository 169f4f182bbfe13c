//! Reads Whereby's JSON: objects of known members, and pages of them.
//!
//! Every value is accepted first and checked by the code that uses it, so that an error can name the
//! member and its row. Unknown members are skipped, because Whereby may add some. One visitor reads all
//! kinds of rows, because derived types would make the component larger.

use alloc::rc::Rc;
use core::fmt;
use core::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::{accept, unexpected};
use crate::prelude::*;
use crate::surrogate;
use crate::transport::{Reply, SendError};
use crate::types::Error;

/// The maximum length of Whereby's cursors, in bytes: the length that `list-rooms` accepts.
pub(crate) const MAX_CURSOR_BYTES: usize = 1024;

/// The names of an object's members to keep.
pub(crate) type Names = &'static [&'static str];

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// The rows; for a row that is not an object, the error message.
    pub(crate) rows: Vec<Result<Object, String>>,
    /// Where the next page starts.
    pub(crate) cursor: Option<String>,
}

/// The members with the given names of an object.
#[derive(Debug)]
pub(crate) struct Object {
    /// The response, which has most of the strings.
    body: Rc<String>,
    names: Names,
    /// In the order of the names.
    members: Vec<Value>,
    /// The index of the row in its page, if it is a row.
    row: Option<usize>,
}

/// The kept part of a value. Absent and null are the same.
#[derive(Debug, Default)]
enum Value {
    #[default]
    Null,
    Boolean,
    Text(Text),
    Whole(u64),
    Number(f64),
    /// An array, with its items if they are needed.
    Array(Vec<Value>),
    /// An object, with the members that are needed.
    Object(Vec<Value>),
}

/// A string of a response.
#[derive(Debug)]
enum Text {
    /// The same bytes in the response, so that large responses take little more memory.
    At(Range<usize>),
    /// With escapes resolved.
    Own(String),
}

/// Reads the response to a request for a page.
pub(crate) fn page_of(
    endpoint: &str,
    result: Result<Reply, SendError>,
    names: Names,
    before: Option<&str>,
) -> Result<Page, Error> {
    let body = accept(endpoint, result)?.body;
    read_page(body, names, before).map_err(|what| unexpected(endpoint, &what))
}

/// Reads a page: an object with `results` and `cursor`.
///
/// `before` is the cursor of this page. It is an error if the next page has the same cursor, because the
/// listing would never end.
pub(crate) fn page(
    endpoint: &str,
    body: &[u8],
    names: Names,
    before: Option<&str>,
) -> Result<Page, Error> {
    read_page(body.to_vec(), names, before).map_err(|what| unexpected(endpoint, &what))
}

/// Reads one object.
pub(crate) fn object(body: &[u8], names: Names) -> Result<Object, String> {
    let (body, members) = members(body.to_vec(), Keep::Members(names))?;
    Ok(Object { body, names, members, row: None })
}

/// Reads an object that is the member of another object.
pub(crate) fn inner_object(
    body: &[u8],
    outer: &'static [&'static str; 1],
    names: Names,
) -> Option<Object> {
    let (body, mut members) = members(body.to_vec(), Keep::Inner(outer, names)).ok()?;
    match members.pop() {
        Some(Value::Object(members)) => Some(Object { body, names, members, row: None }),
        _ => None,
    }
}

/// The members in which APIs describe an error, in display order.
const WORDS: Names = &[
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

/// The maximum number of strings shown from one response.
const MAX_WORDS: usize = 5;

/// Returns the strings in those members, at any depth; `None` if the body is not an object.
pub(crate) fn words(body: &[u8]) -> Option<String> {
    let (body, members) = members(body.to_vec(), Keep::Words).ok()?;
    let (value, mut words) = (Value::Object(members), Vec::new());
    value.gather(&body, &mut words);
    Some(words.join(": "))
}

impl Page {
    /// Decodes every row, and returns an error message for each unreadable one. Fails only if no row can be
    /// read.
    pub(crate) fn read(
        &self,
        endpoint: &str,
        decode: &mut dyn FnMut(&Object) -> Result<(), String>,
    ) -> Result<Vec<String>, Error> {
        let mut bad = Vec::new();
        for row in &self.rows {
            if let Err(what) = row.as_ref().map_err(String::clone).and_then(&mut *decode) {
                bad.push(what);
            }
        }
        match bad.first() {
            Some(what) if bad.len() == self.rows.len() => Err(unexpected(endpoint, what)),
            _ => Ok(bad),
        }
    }
}

impl Object {
    /// Returns a string member; `None` if it is absent.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.member(name) {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text.of(&self.body))),
            other => Err(self.not_a(name, other, "a string")),
        }
    }

    /// Returns a string member that must be present and not empty.
    pub(crate) fn required_text(&self, name: &str) -> Result<&str, String> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| self.complaint(name, "is missing"))
    }

    /// Returns an id, which is a string or an integer. An empty string counts as absent.
    pub(crate) fn id(&self, name: &str) -> Result<Option<String>, String> {
        match self.member(name) {
            Value::Null => Ok(None),
            Value::Text(text) => {
                let text = text.of(&self.body);
                Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
            }
            Value::Whole(number) => Ok(Some(number.to_string())),
            other => Err(self.not_a(name, other, "an id")),
        }
    }

    /// Returns an id that must be present.
    pub(crate) fn required_id(&self, name: &str) -> Result<String, String> {
        self.id(name)?.ok_or_else(|| self.complaint(name, "is missing"))
    }

    /// Returns a non-negative integer; `None` if it is absent.
    pub(crate) fn whole(&self, name: &str) -> Result<Option<u64>, String> {
        match self.member(name) {
            Value::Null => Ok(None),
            Value::Whole(number) => Ok(Some(*number)),
            // JavaScript does not distinguish 3 from 3.0.
            Value::Number(number) if (*number as u64) as f64 == *number => Ok(Some(*number as u64)),
            other => Err(self.not_a(name, other, "a count")),
        }
    }

    /// Returns a count; `None` if it is absent.
    pub(crate) fn count(&self, name: &str) -> Result<Option<u32>, String> {
        let Some(whole) = self.whole(name)? else { return Ok(None) };
        let too_large = |_| self.complaint(name, "is too large for a count");
        u32::try_from(whole).map(Some).map_err(too_large)
    }

    /// Returns a number; `None` if it is absent.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>, String> {
        match self.member(name) {
            Value::Null => Ok(None),
            Value::Whole(number) => Ok(Some(*number as f64)),
            Value::Number(number) => Ok(Some(*number)),
            other => Err(self.not_a(name, other, "a number")),
        }
    }

    /// Returns an error message that names a member and its row.
    pub(crate) fn complaint(&self, name: &str, what: &str) -> String {
        match self.row {
            Some(row) => format!("the member results[{row}].{name} {what}"),
            None => format!("the member {name} {what}"),
        }
    }

    fn not_a(&self, name: &str, value: &Value, wanted: &str) -> String {
        self.complaint(name, &format!("is {}, not {wanted}", value.kind()))
    }

    fn member(&self, name: &str) -> &Value {
        // Equal literals are usually one, which is quicker to see.
        let same = self.names.iter().position(|known| core::ptr::eq(*known, name));
        let at = same.or_else(|| index_of(self.names, name));
        debug_assert!(at.is_some(), "{name} was not asked for");
        at.and_then(|at| self.members.get(at)).unwrap_or(&Value::Null)
    }
}

impl Value {
    /// Adds the strings in the value, each once.
    fn gather<'a>(&'a self, body: &'a str, words: &mut Vec<&'a str>) {
        match self {
            Self::Text(text) => {
                let text = text.of(body).trim();
                if words.len() < MAX_WORDS && !text.is_empty() && !words.contains(&text) {
                    words.push(text);
                }
            }
            Self::Array(values) | Self::Object(values) => {
                values.iter().for_each(|value| value.gather(body, words));
            }
            _ => {}
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Text(_) => "a string",
            Self::Whole(_) | Self::Number(_) => "a number",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl Text {
    /// Returns the string, given the response.
    fn of<'a>(&'a self, body: &'a str) -> &'a str {
        match self {
            Self::At(range) => body.get(range.clone()).unwrap_or_default(),
            Self::Own(text) => text,
        }
    }
}

#[inline(never)]
fn read_page(body: Vec<u8>, names: Names, before: Option<&str>) -> Result<Page, String> {
    let (body, page) = members(body, Keep::Page(names))?;
    let mut page = page.into_iter();
    let rows = match page.next() {
        Some(Value::Array(rows)) => rows,
        None | Some(Value::Null) => return Err("the member results is missing".to_owned()),
        Some(other) => return Err(format!("the member results is {}, not an array", other.kind())),
    };
    let rows = rows.into_iter().enumerate().map(|(row, value)| match value {
        Value::Object(members) => {
            Ok(Object { body: Rc::clone(&body), names, members, row: Some(row) })
        }
        other => Err(format!("the member results[{row}] is {}, not an object", other.kind())),
    });
    let rows = rows.collect();
    let cursor = match page.next().unwrap_or_default() {
        Value::Null => None,
        Value::Text(text) => match text.of(&body) {
            "" => None,
            text if text.len() > MAX_CURSOR_BYTES => {
                return Err("the member cursor is longer than 1024 bytes".to_owned());
            }
            text if text.contains(char::is_control) => {
                return Err("the member cursor contains control characters".to_owned());
            }
            text if before == Some(text) => {
                return Err("the member cursor points to the same page again".to_owned());
            }
            text => Some(text.to_owned()),
        },
        other => return Err(format!("the member cursor is {}, not a string", other.kind())),
    };
    Ok(Page { rows, cursor })
}

/// Returns whether a body is empty or JSON, as an API sends it when there is nothing to report.
#[cfg(feature = "write")]
pub(crate) fn is_plain(body: &[u8]) -> bool {
    body.trim_ascii().is_empty() || read(body.to_vec(), Keep::Scalar).is_ok()
}

/// Reads the members of an object that are kept. Returns the body that their strings are in.
fn members(body: Vec<u8>, keep: Keep) -> Result<(Rc<String>, Vec<Value>), String> {
    match read(body, keep)? {
        (body, Value::Object(members)) => Ok((Rc::new(body), members)),
        (_, other) => Err(format!("it is {}, not an object", other.kind())),
    }
}

#[inline(never)]
fn read(body: Vec<u8>, keep: Keep) -> Result<(String, Value), String> {
    // Checked as a whole, because checking every string takes longer.
    let body = String::from_utf8(body).map_err(|error| format!("it is not JSON: {error}"))?;
    match parse(&body, keep) {
        Ok(value) => Ok((body, value)),
        // A name that was cut within an emoji must not make the response unreadable. That is rare, so it is
        // handled only after parsing fails.
        Err(error) => surrogate::without_halves(body.as_bytes())
            .and_then(|whole| String::from_utf8(whole).ok())
            .map_or(Err(error), |whole| parse(&whole, keep).map(|value| (whole, value)))
            .map_err(|error| format!("it is not JSON: {error}")),
    }
}

fn parse(body: &str, keep: Keep) -> serde_json::Result<Value> {
    let text = body.strip_prefix('\u{feff}').unwrap_or(body);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Reader { keep, start: body.as_ptr().addr() }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// The part of a value to keep.
///
/// The visitor accepts any value, because serde's type errors would not name the member.
#[derive(Clone, Copy)]
enum Keep {
    /// A string or a number, but nothing of an array or an object.
    Scalar,
    /// These members of an object.
    Members(Names),
    /// These members of each object in an array.
    Rows(Names),
    /// The cursor of a page, and these members of each row.
    Page(Names),
    /// These members of the object in one member of an object.
    Inner(&'static [&'static str; 1], Names),
    /// The strings in which an API describes an error.
    Words,
}

impl Keep {
    /// Returns the members to keep if the value is an object.
    fn names(self) -> Names {
        match self {
            Self::Scalar | Self::Rows(_) => &[],
            Self::Members(names) => names,
            Self::Page(_) => &["results", "cursor"],
            Self::Inner(outer, _) => outer,
            Self::Words => WORDS,
        }
    }

    /// Returns the part to keep of the member at an index of `names`.
    fn of_member(self, at: usize) -> Self {
        match self {
            Self::Page(names) if at == 0 => Self::Rows(names),
            Self::Inner(_, names) => Self::Members(names),
            Self::Words => Self::Words,
            _ => Self::Scalar,
        }
    }
}

/// Reads the part of a value to keep.
#[derive(Clone, Copy)]
struct Reader {
    keep: Keep,
    /// The address of the body.
    start: usize,
}

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Boolean)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value, E> {
        let start = value.as_ptr().addr() - self.start;
        Ok(Value::Text(Text::At(start..start + value.len())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(Text::Own(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        let keep = match self.keep {
            Keep::Rows(names) => Keep::Members(names),
            Keep::Words => Keep::Words,
            _ => {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Value::Array(items));
            }
        };
        while let Some(item) = seq.next_element_seed(Self { keep, ..self })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let names = self.keep.names();
        let mut members = Vec::new();
        members.resize_with(names.len(), Value::default);
        while let Some(at) = map.next_key_seed(Key(names))? {
            match at.and_then(|at| Some((at, members.get_mut(at)?))) {
                Some((at, member)) => {
                    let keep = self.keep.of_member(at);
                    *member = map.next_value_seed(Self { keep, ..self })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(members))
    }
}

/// Reads the name of a member as its index in these names; `None` if it is another one.
struct Key(Names);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(index_of(self.0, name))
    }
}

fn index_of(names: Names, name: &str) -> Option<usize> {
    names.iter().position(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Object, inner_object, object, page};
    use crate::types::Error;

    const NAMES: super::Names = &["id", "name", "size"];

    fn read(body: &str) -> Object {
        object(body.as_bytes(), NAMES).unwrap()
    }

    #[test]
    fn unknown_members_are_skipped() {
        let body = r#"{"new":{"a":[1,{}]},"id":7,"n\u0061me":"a\"b","size":1.5,"id2":[]}"#;
        let object = read(body);
        assert_eq!(object.required_id("id").unwrap(), "7");
        assert_eq!(object.required_text("name"), Ok("a\"b"));
        assert_eq!(object.number("size"), Ok(Some(1.5)));
    }

    #[test]
    fn half_a_surrogate_pair_hides_nothing_else() {
        let body = r#"{"id":7,"n\ud83d":1,"name":"a\ud83d \ud83d\ude00","size":2}"#;
        let object = read(body);
        assert_eq!(object.required_id("id").unwrap(), "7");
        assert_eq!(object.required_text("name"), Ok("a\u{fffd} 😀"));
        assert_eq!(object.count("size"), Ok(Some(2)));
        let page = page("GET /x", br#"{"results":[{"name":"\udE00"},{"name":"b"}]}"#, NAMES, None);
        let rows = page.unwrap().rows;
        let names: Vec<_> = rows.iter().flatten().map(|row| row.text("name")).collect();
        assert_eq!(names, [Ok(Some("\u{fffd}")), Ok(Some("b"))]);
        assert!(super::object(br#"{"name":"\ud83d"} x"#, NAMES).is_err());
    }

    #[test]
    fn absent_and_null_are_the_same() {
        for body in ["{}", r#"{"id":null,"name":null,"size":null}"#] {
            let object = read(body);
            assert_eq!(object.text("name"), Ok(None));
            assert_eq!(object.id("id"), Ok(None));
            assert_eq!(object.count("size"), Ok(None));
            assert_eq!(object.number("size"), Ok(None));
            assert_eq!(object.required_text("name"), Err("the member name is missing".to_owned()));
        }
    }

    #[test]
    fn counts_are_integers_in_range() {
        for (size, count) in [("0", Some(0)), ("3.0", Some(3)), ("4294967295", Some(u32::MAX))] {
            assert_eq!(read(&format!(r#"{{"size":{size}}}"#)).count("size"), Ok(count), "{size}");
        }
        for size in ["-1", "1.5", "1e300", "\"3\"", "true", "[]", "{}"] {
            let body = format!(r#"{{"size":{size}}}"#);
            let complaint = read(&body).count("size").unwrap_err();
            assert!(complaint.contains("size is ") && complaint.contains("not a count"), "{size}");
        }
        assert_eq!(
            read(r#"{"size":4294967296}"#).count("size"),
            Err("the member size is too large for a count".to_owned())
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_its_row() {
        let page = page("GET /x", br#"{"results":[{"name":"a"},{"name":[1]}]}"#, NAMES, None);
        let page = page.unwrap();
        let mut names = Vec::new();
        let bad = page.read("GET /x", &mut |row| {
            names.push(row.text("name")?.map(str::to_owned));
            Ok(())
        });
        assert_eq!(names, [Some("a".to_owned())]);
        let complaint = "the member results[1].name is an array, not a string".to_owned();
        assert_eq!(bad, Ok(vec![complaint]));
        assert_eq!(
            read(r#"{"id":-1}"#).id("id"),
            Err("the member id is a number, not an id".to_owned())
        );
    }

    #[test]
    fn a_page_without_a_readable_row_is_an_error() {
        for (body, good, complaint) in [
            (r#"{"results":[]}"#, Some(0), ""),
            (r#"{"results":[{},null]}"#, Some(1), "the member results[1] is null, not an object"),
            (r#"{"results":[[],null]}"#, None, "the member results[0] is an array, not an object"),
        ] {
            let page = page("GET /x", body.as_bytes(), NAMES, None).unwrap();
            let mut read = 0;
            let bad = page.read("GET /x", &mut |_| {
                read += 1;
                Ok(())
            });
            match bad {
                Ok(bad) => assert_eq!((Some(read), bad.concat().as_str()), (good, complaint)),
                Err(Error::UnexpectedResponse(text)) => {
                    assert!(good.is_none() && text.ends_with(complaint), "{text}");
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        for body in [
            r#"{"results":[]}"#,
            r#"{"results":[],"cursor":null}"#,
            r#"{"cursor":"","results":[]}"#,
        ] {
            assert_eq!(page("GET /x", body.as_bytes(), NAMES, None).unwrap().cursor, None);
        }
        let body = br#"{"results":[],"cursor":"abc"}"#;
        let cursor = page("GET /x", body, NAMES, Some("ab")).unwrap().cursor;
        assert_eq!(cursor.as_deref(), Some("abc"));
    }

    #[test]
    fn a_malformed_page_says_what_is_wrong() {
        let long = format!(r#"{{"results":[],"cursor":"{}"}}"#, "x".repeat(1025));
        for (body, complaint) in [
            ("", "EOF"),
            ("<html>", "expected value"),
            ("[]", "it is an array, not an object"),
            ("{}", "the member results is missing"),
            (r#"{"results":{}}"#, "the member results is an object, not an array"),
            (r#"{"results":[]} x"#, "trailing characters"),
            (r#"{"results":[],"cursor":5}"#, "the member cursor is a number, not a string"),
            (r#"{"results":[],"cursor":"old"}"#, "points to the same page again"),
            (r#"{"results":[],"cursor":"a\nb"}"#, "the member cursor contains control characters"),
            (&long, "longer than 1024"),
        ] {
            let Err(Error::UnexpectedResponse(text)) =
                page("GET /x", body.as_bytes(), NAMES, Some("old"))
            else {
                panic!("{body} was accepted");
            };
            assert!(text.starts_with("GET /x: ") && text.contains(complaint), "{text}");
        }
    }

    #[test]
    fn an_inner_object_is_read() {
        let read = |body: &'static str| {
            let inner = inner_object(body.as_bytes(), &["data"], NAMES)?;
            inner.whole("size").ok().flatten()
        };
        assert_eq!(read(r#"{"size":1,"data":{"size":2}}"#), Some(2));
        for body in [r#"{"size":1}"#, r#"{"data":null}"#, r#"{"data":[{"size":2}]}"#, "[]", "{"] {
            assert_eq!(read(body), None, "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let body = format!(r#"{{"results":[{{"name":{}}}]}}"#, "[".repeat(100_000));
        assert!(page("GET /x", body.as_bytes(), NAMES, None).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in any::<Vec<u8>>(),
            near in r#"(\{"results":\[)?([{}\[\],:"0-9a\\.e-]|null|"id":|"name":|"cursor":){0,30}"#,
        ) {
            for body in [bytes.as_slice(), near.as_bytes()] {
                let _ = (object(body, NAMES), inner_object(body, &["id"], NAMES));
                if let Ok(page) = page("x", body, NAMES, None) {
                    for row in page.rows.into_iter().flatten() {
                        let _ = (row.id("id"), row.text("name"), row.count("size"), row.number("size"));
                    }
                }
            }
        }
    }
}
