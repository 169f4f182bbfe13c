//! What is answered, as JSON: members stand in the order of the WIT.

use crate::prelude::*;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Integer(u64),
    Float(f64),
    /// A text that is known beforehand.
    Word(&'static str),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    /// The value in one line.
    pub(crate) fn compact(&self) -> String {
        // There is nothing in it that could not be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The value on indented lines.
    pub(crate) fn pretty(&self) -> String {
        // As above.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(number) => serializer.serialize_u64(*number),
            Self::Float(number) => match whole(*number) {
                Some(number) => serializer.serialize_i64(number),
                None => serializer.serialize_f64(*number),
            },
            Self::Word(text) => serializer.serialize_str(text),
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

/// The whole number that a float is, as JSON writes numbers: 143 and not 143.0.
fn whole(number: f64) -> Option<i64> {
    let is_exact = (-9e15..=9e15).contains(&number) && number as i64 as f64 == number;
    is_exact.then_some(number as i64)
}

/// A value of the WIT's as JSON.
pub(crate) trait ToJson {
    fn to_json(self) -> Json;
}

impl ToJson for bool {
    fn to_json(self) -> Json {
        Json::Bool(self)
    }
}

impl ToJson for u16 {
    fn to_json(self) -> Json {
        Json::Integer(self.into())
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
        Json::Text(self)
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
    use super::{Json, ToJson};
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
    fn numbers_and_texts_are_written_as_json_has_them() {
        for (value, text) in [
            (Json::Float(143.0), "143"),
            (Json::Float(-0.5), "-0.5"),
            (Json::Float(f64::NAN), "null"),
            (Json::Float(f64::INFINITY), "null"),
            (Json::Float(1e300), "1e+300"),
            (Json::Integer(u64::MAX), "18446744073709551615"),
            (Json::Text("\u{1b}\"\\\n".into()), r#""\u001b\"\\\n""#),
            (
                Json::List(vec![Json::Null, Json::Bool(true), Json::Word("s3")]),
                r#"[null,true,"s3"]"#,
            ),
            (Json::Object(vec![]), "{}"),
        ] {
            assert_eq!(value.compact(), text);
        }
    }
}
