//! Reads JSON that others wrote, and refuses an object with two members of one name.
//!
//! Readers differ in which of the two counts (RFC 8259, section 4). What a person approves must be what
//! is sent, so neither does.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Reads a JSON text.
///
/// # Errors
///
/// Says what is wrong and where: with the syntax, or which member is there twice.
pub(crate) fn from_str(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).map(|Strict(value)| value)
}

/// A value whose objects have no member twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            read.push(item);
        }
        Ok(read.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if read.contains_key(&name) {
                let name = whereby_authority::text::printable(&name, 80);
                return Err(A::Error::custom(format_args!("the member `{name}` is there twice")));
            }
            let Strict(value) = members.next_value()?;
            read.insert(name, value);
        }
        Ok(read.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unambiguous_is_read_as_serde_json_reads_it() {
        for text in [
            "null",
            " true ",
            "-0",
            "-1",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            "1.5e3",
            "0.1",
            r#""a\u00e9\n""#,
            "[]",
            "[1, [2, {}], null]",
            r#"{"b": 1, "a": {"b": {"b": []}}, "": [{"a": 1}, {"a": 2}]}"#,
        ] {
            let expected: Value = serde_json::from_str(text).expect(text);
            let read = from_str(text).expect(text);
            assert_eq!(read, expected, "{text}");
            assert_eq!(read.to_string(), expected.to_string(), "{text}");
        }
        for text in ["", "{", "[1,]", "{\"a\"}", "1 2", "1e999", "'a'", r#""\ud800""#] {
            let expected = serde_json::from_str::<Value>(text).expect_err(text);
            assert_eq!(from_str(text).expect_err(text).to_string(), expected.to_string());
        }
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(from_str(&deep(127)).is_ok() && from_str(&deep(128)).is_err());
    }

    #[test]
    fn a_member_that_is_there_twice_is_named() {
        for (text, name) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"a":null,"b":2,"a":{}}"#, "a"),
            (r#"{"x":[{"y":{"b":1,"b":2}}]}"#, "b"),
            (r#"{"a":1,"\u0061":2}"#, "a"),
            (r#"{"":1,"":2}"#, ""),
        ] {
            let error = from_str(text).expect_err(text).to_string();
            let words = format!("the member `{name}` is there twice at line 1 column ");
            assert!(error.starts_with(&words), "{text}: {error}");
        }
    }
}
