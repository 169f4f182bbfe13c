//! JSON values. Members keep their order; in responses, that is the order of the WIT.

use crate::prelude::*;
use core::fmt;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// A string; many strings of responses are static.
pub(crate) type Text = Cow<'static, str>;

/// The members of an object, with unique names.
pub(crate) type Members = Vec<(Text, Json)>;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Integer(u64),
    Negative(i64),
    Float(f64),
    Text(Text),
    List(Vec<Json>),
    Object(Members),
}

impl Json {
    /// Returns an object with these members.
    pub(crate) fn object(members: Vec<(&'static str, Json)>) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// Returns a static string.
    pub(crate) fn word(text: &'static str) -> Self {
        Self::Text(text.into())
    }

    /// Returns the string, if the value is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Parses a value. Nesting deeper than 127 levels is an error.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Returns the value on one line.
    pub(crate) fn compact(&self) -> String {
        // Serializing these types cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the value on indented lines.
    pub(crate) fn pretty(&self) -> String {
        // As above.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Removes a member from an object and returns it.
pub(crate) fn take(members: &mut Members, name: &str) -> Option<Json> {
    let index = members.iter().position(|(own, _)| own == name)?;
    Some(members.swap_remove(index).1)
}

/// Returns a member of an object.
pub(crate) fn get<'a>(members: &'a Members, name: &str) -> Option<&'a Json> {
    members.iter().find(|(own, _)| own == name).map(|(_, value)| value)
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(number) => serializer.serialize_u64(*number),
            Self::Negative(number) => serializer.serialize_i64(*number),
            Self::Float(number) => match whole(*number) {
                Some(number) => serializer.serialize_i64(number),
                None => serializer.serialize_f64(*number),
            },
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

/// Builds values while parsing.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Integer(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Negative(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Members::new();
        while let Some((name, value)) = map.next_entry::<String, Json>()? {
            members.push((name.into(), value));
        }
        // Parsers differ in which of two members counts, so this is an error.
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                Err(A::Error::custom(format_args!("the member `{}` is there twice", pair[0])))
            }
            None => Ok(Json::Object(members)),
        }
    }
}

/// Returns a float as an integer if it is one, so that it is written as 143, not 143.0.
fn whole(number: f64) -> Option<i64> {
    let is_exact = (-9e15..=9e15).contains(&number) && number as i64 as f64 == number;
    is_exact.then_some(number as i64)
}

/// A WIT type that converts to JSON.
pub(crate) trait ToJson {
    fn to_json(self) -> Json;
}

impl ToJson for bool {
    fn to_json(self) -> Json {
        Json::Bool(self)
    }
}

impl ToJson for u32 {
    fn to_json(self) -> Json {
        Json::Integer(self.into())
    }
}

impl ToJson for u64 {
    fn to_json(self) -> Json {
        Json::Integer(self)
    }
}

impl ToJson for f64 {
    fn to_json(self) -> Json {
        Json::Float(self)
    }
}

impl ToJson for String {
    fn to_json(self) -> Json {
        Json::Text(self.into())
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(self) -> Json {
        self.map_or(Json::Null, T::to_json)
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(self) -> Json {
        Json::List(self.into_iter().map(T::to_json).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Json, ToJson, get, take};
    use crate::bindings::whereby::agent::types::{PageMeta, Room, RoomPage};

    #[test]
    fn records_keep_their_order_and_their_nulls() {
        let room = Room {
            room_name: "a".into(),
            meeting_url: "https://x.whereby.com/a".into(),
            meeting_id: "1".into(),
            start_date: None,
            end_date: Some("2099-01-01T00:00:00Z".into()),
        };
        let page = RoomPage { data: vec![room], meta: PageMeta { next_cursor: None } }.to_json();
        assert_eq!(
            page.compact(),
            r#"{"data":[{"roomName":"a","meetingUrl":"https://x.whereby.com/a","meetingId":"1","startDate":null,"endDate":"2099-01-01T00:00:00Z"}],"meta":{"nextCursor":null}}"#
        );
        assert!(page.pretty().starts_with("{\n  \"data\": [\n    {\n"));
    }

    #[test]
    fn numbers_and_strings_are_written_as_json() {
        for (value, text) in [
            (Json::Float(143.0), "143"),
            (Json::Float(-0.5), "-0.5"),
            (Json::Float(f64::NAN), "null"),
            (Json::Float(f64::INFINITY), "null"),
            (Json::Float(1e300), "1e+300"),
            (Json::Integer(u64::MAX), "18446744073709551615"),
            (Json::Negative(-5), "-5"),
            (Json::Text("\u{1b}\"\\\n".into()), r#""\u001b\"\\\n""#),
            (
                Json::List(vec![Json::Null, Json::Bool(true), Json::word("s3")]),
                r#"[null,true,"s3"]"#,
            ),
            (Json::object(vec![]), "{}"),
        ] {
            assert_eq!(value.compact(), text);
        }
    }

    #[test]
    fn values_survive_a_round_trip() {
        for text in [
            r#"{"a":[1,-1,0.5,true,false,null,"\u00fc\ud83d\ude00"],"b":{"c":{}}}"#,
            "18446744073709551615",
            "-9223372036854775808",
            "[]",
        ] {
            let value = Json::parse(text.as_bytes()).expect(text);
            assert_eq!(Json::parse(value.compact().as_bytes()).expect(text), value);
            assert_eq!(Json::parse(value.pretty().as_bytes()).expect(text), value);
        }
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(nested(127).as_bytes()).is_ok());
        assert!(Json::parse(nested(128).as_bytes()).is_err());
    }

    #[test]
    fn members_are_found_by_name_and_have_unique_names() {
        let Ok(Json::Object(mut members)) = Json::parse(br#"{"a":1,"b":2}"#) else {
            panic!("not an object");
        };
        assert_eq!(get(&members, "a"), Some(&Json::Integer(1)));
        assert_eq!(take(&mut members, "a"), Some(Json::Integer(1)));
        assert_eq!(take(&mut members, "a"), None);
        for text in [r#"{"a":1,"b":2,"a":1}"#, r#"[{"b":{"x":0,"a":1,"\u0061":{}}}]"#] {
            let error = Json::parse(text.as_bytes()).expect_err(text).to_string();
            assert!(error.starts_with("the member `a` is there twice at line 1"), "{error}");
        }
        assert_eq!(get(&members, "c"), None);
        assert_eq!(take(&mut members, "c"), None);
    }
}
