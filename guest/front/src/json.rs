//! Writes arguments as JSON.

use alloc::string::String;
use alloc::vec::Vec;

use crate::types;

/// A value that can be written as JSON.
pub(crate) trait ToJson {
    /// Appends the value.
    fn to_json(&self, out: &mut String);
}

/// An object that is being written.
pub(crate) struct Object<'a> {
    out: &'a mut String,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn begin(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, is_empty: true }
    }

    pub(crate) fn member(&mut self, name: &str, value: &(impl ToJson + ?Sized)) {
        if !core::mem::replace(&mut self.is_empty, false) {
            self.out.push(',');
        }
        name.to_json(self.out);
        self.out.push(':');
        value.to_json(self.out);
    }

    pub(crate) fn end(self) {
        self.out.push('}');
    }
}

impl ToJson for str {
    fn to_json(&self, out: &mut String) {
        let hexadecimal = |digit: u32| char::from_digit(digit, 16).unwrap_or('0');
        out.push('"');
        for character in self.chars() {
            match character {
                '"' | '\\' => {
                    out.push('\\');
                    out.push(character);
                }
                '\0'..='\x1f' => {
                    let code = u32::from(character);
                    out.push_str("\\u00");
                    out.push(hexadecimal(code >> 4));
                    out.push(hexadecimal(code & 15));
                }
                _ => out.push(character),
            }
        }
        out.push('"');
    }
}

impl ToJson for String {
    fn to_json(&self, out: &mut String) {
        self.as_str().to_json(out);
    }
}

impl ToJson for bool {
    fn to_json(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl ToJson for u32 {
    fn to_json(&self, out: &mut String) {
        if *self >= 10 {
            (self / 10).to_json(out);
        }
        out.push(char::from_digit(self % 10, 10).unwrap_or('0'));
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self, out: &mut String) {
        match self {
            Some(value) => value.to_json(out),
            None => out.push_str("null"),
        }
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self, out: &mut String) {
        out.push('[');
        for (index, item) in self.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            item.to_json(out);
        }
        out.push(']');
    }
}

include!(concat!(env!("OUT_DIR"), "/json.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        for (text, expected) in [
            ("", r#""""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("a\n\0\x1f", "\"a\\u000a\\u0000\\u001f\""),
            ("\u{7f}ä😀", "\"\u{7f}ä😀\""),
        ] {
            let mut out = String::new();
            text.to_json(&mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn numbers_and_lists_are_written() {
        let mut out = String::new();
        vec![Some(0), Some(10), Some(u32::MAX), None].to_json(&mut out);
        assert_eq!(out, "[0,10,4294967295,null]");
    }

    #[cfg(feature = "write")]
    #[test]
    fn members_have_their_names_in_json() {
        let recording = types::Recording {
            type_: types::RecordingType::Cloud,
            destination: None,
            start_trigger: Some(types::RecordingTrigger::AutomaticSecondParticipant),
        };
        let mut out = String::new();
        vec![types::RoomField::HostRoomUrl, types::RoomField::Recording(recording)]
            .to_json(&mut out);
        assert_eq!(
            out,
            r#"["hostRoomUrl",{"recording":{"type":"cloud","destination":null,"startTrigger":"automatic-second-participant"}}]"#
        );
    }
}
