//! Writes arguments as JSON, from the form that the canonical ABI passes them in.

use core::alloc::Layout;

/// Returns a part of memory, by its address and its length.
pub(crate) type Memory<'a> = &'a dyn Fn(u32, u32) -> &'a [u8];

/// How a value is in memory, and how it is written.
#[cfg_attr(
    not(feature = "write"),
    allow(dead_code, reason = "only functions that write take some of these")
)]
pub(crate) enum Form {
    Bool,
    /// A number of this size.
    Number(u32),
    /// The address and the length of a string.
    Text,
    /// A byte that says whether there is a value, and that value after this many bytes.
    Option(u32, &'static Form),
    /// The address and the length of items of this size.
    List(u32, &'static Form),
    /// Members: the name, how far it is from the start, and the form of each.
    Record(&'static [(&'static str, u32, Form)]),
    /// A byte that says which case it is, and the payload after this many bytes.
    Choice(u32, &'static [(&'static str, Option<&'static Form>)]),
}

/// The parameters of the functions.
pub(crate) mod params {
    use super::Form;
    include!(concat!(env!("OUT_DIR"), "/params.rs"));
}

/// Bytes that grow. They are never freed, because the memory of a call is freed as a whole.
///
/// A `Vec` would make the front half as large again: its errors format numbers.
struct Bytes {
    start: *mut u8,
    length: usize,
    capacity: usize,
}

impl Bytes {
    #[expect(unsafe_code, reason = "this grows memory")]
    #[inline(never)]
    fn extend(&mut self, bytes: &[u8]) {
        let length = self.length + bytes.len();
        if length > self.capacity {
            let capacity = (2 * length).max(256);
            // SAFETY: the block was allocated with this layout, or there is none, and the size fits.
            self.start = unsafe {
                let layout = |size| Layout::from_size_align_unchecked(size, 1);
                match self.capacity {
                    0 => alloc::alloc::alloc(layout(capacity)),
                    size => alloc::alloc::realloc(self.start, layout(size), capacity),
                }
            };
            assert!(!self.start.is_null(), "there is no memory left");
            self.capacity = capacity;
        }
        // SAFETY: there is room for these bytes after the others, which they are not among.
        unsafe {
            core::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.start.add(self.length),
                bytes.len(),
            );
        }
        self.length = length;
    }
}

/// Writes values as JSON.
struct Writer<'a> {
    memory: Memory<'a>,
    out: Bytes,
    /// Whether a value begins here, so that no comma is before it.
    is_start: bool,
}

/// Returns the value of this form at this address as JSON.
#[expect(unsafe_code, reason = "this reads the bytes")]
pub(crate) fn write(memory: Memory<'_>, form: &Form, address: u32) -> &'static [u8] {
    let out = Bytes { start: core::ptr::null_mut(), length: 0, capacity: 0 };
    let mut writer = Writer { memory, out, is_start: true };
    writer.value(form, address);
    // SAFETY: these bytes were written, and nothing changes or frees them. There is no value without a byte.
    unsafe { core::slice::from_raw_parts(writer.out.start, writer.out.length) }
}

impl Writer<'_> {
    fn extend(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
        self.is_start = false;
    }

    /// Begins an array or an object.
    fn open(&mut self, bracket: u8) {
        self.out.extend(&[bracket]);
        self.is_start = true;
    }

    /// Reads a number.
    fn number(&self, address: u32, size: u32) -> u32 {
        (self.memory)(address, size).iter().rfold(0, |number, byte| number << 8 | u32::from(*byte))
    }

    /// Reads where a string or a list is, and its length.
    fn place(&self, address: u32) -> (u32, u32) {
        (self.number(address, 4), self.number(address + 4, 4))
    }

    /// Writes a value.
    fn value(&mut self, form: &Form, address: u32) {
        match *form {
            Form::Bool => {
                let word: &[u8] = if self.number(address, 1) == 0 { b"false" } else { b"true" };
                self.extend(word);
            }
            Form::Number(size) => self.decimal(self.number(address, size)),
            Form::Text => {
                let (start, length) = self.place(address);
                self.string((self.memory)(start, length));
            }
            Form::Option(offset, inner) => {
                if self.number(address, 1) == 0 {
                    self.extend(b"null");
                } else {
                    self.value(inner, address + offset);
                }
            }
            Form::List(size, item) => {
                let (start, length) = self.place(address);
                self.open(b'[');
                for index in 0..length {
                    self.separate();
                    self.value(item, start + index * size);
                }
                self.extend(b"]");
            }
            Form::Record(members) => {
                self.open(b'{');
                for (name, offset, form) in members {
                    let address = address + offset;
                    // The guard reads an absent member as null.
                    if !matches!(form, Form::Option(..)) || self.number(address, 1) != 0 {
                        self.name(name);
                        self.value(form, address);
                    }
                }
                self.extend(b"}");
            }
            Form::Choice(offset, cases) => {
                // The runtime has checked which it is.
                match cases.get(self.number(address, 1) as usize) {
                    None => {}
                    Some((name, None)) => self.string(name.as_bytes()),
                    Some((name, Some(payload))) => {
                        self.open(b'{');
                        self.name(name);
                        self.value(payload, address + offset);
                        self.extend(b"}");
                    }
                }
            }
        }
    }

    /// Writes a comma, unless a value begins here.
    fn separate(&mut self) {
        if !self.is_start {
            self.extend(b",");
        }
    }

    /// Writes the name of a member.
    fn name(&mut self, name: &str) {
        self.separate();
        self.string(name.as_bytes());
        self.extend(b":");
    }

    fn string(&mut self, text: &[u8]) {
        self.extend(b"\"");
        let mut written = 0;
        for (index, byte) in text.iter().enumerate() {
            if !matches!(byte, b'"' | b'\\' | 0..=0x1f) {
                continue;
            }
            self.extend(text.get(written..index).unwrap_or_default());
            written = index + 1;
            if *byte > 0x1f {
                self.extend(&[b'\\', *byte]);
            } else {
                let digit = byte & 15;
                let digit = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
                self.extend(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), digit]);
            }
        }
        self.extend(text.get(written..).unwrap_or_default());
        self.extend(b"\"");
    }

    fn decimal(&mut self, number: u32) {
        if number >= 10 {
            self.decimal(number / 10);
        }
        self.extend(&[b'0' + (number % 10) as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the arguments that are passed in these words, as JSON. A string is in memory where its text is in
    /// `heap`.
    fn json(params: &Form, words: &[u32], heap: &[u8]) -> String {
        let mut memory = heap.to_vec();
        memory.resize(memory.len().next_multiple_of(4), 0);
        let start = memory.len();
        memory.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        let memory = &*memory.leak();
        let part = move |address: u32, length: u32| &memory[address as usize..][..length as usize];
        String::from_utf8(write(&part, params, start as u32).to_vec()).expect("UTF-8")
    }

    #[test]
    fn strings_are_escaped() {
        for (text, expected) in [
            ("", r#""""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("a\n\0\x1f", "\"a\\u000a\\u0000\\u001f\""),
            ("\u{7f}ä😀", "\"\u{7f}ä😀\""),
        ] {
            let given = json(&params::GET_ROOM, &[0, text.len() as u32], text.as_bytes());
            assert_eq!(given, format!("{{\"room_name\":{expected}}}"));
        }
    }

    #[test]
    fn numbers_are_written_and_absent_members_left_out() {
        for (words, expected) in [
            ([0; 5], "{}"),
            ([1, 0, 0, 9, 9], r#"{"limit":0}"#),
            ([1, 10, 1, 0, 2], r#"{"limit":10,"cursor":"ab"}"#),
            ([1, u32::MAX, 1, 1, 1], r#"{"limit":4294967295,"cursor":"b"}"#),
        ] {
            assert_eq!(json(&params::LIST_ROOMS, &words, b"ab"), expected);
        }
        assert_eq!(json(&params::GET_CURRENT_USER, &[], b""), "{}");
    }

    #[cfg(feature = "write")]
    #[test]
    fn members_have_their_names_in_json() {
        // Each field has the size of the largest: a byte, and a recording after three more, which is a type, a
        // destination and a trigger.
        let size = 4 + 4 + destination() + 4;
        let mut heap = vec![0; 2 * size];
        // A recording: the type, no destination, and a trigger.
        heap[size] = 6;
        heap[size + 4] = 2;
        let trigger = size + 4 + 4 + destination();
        heap[trigger] = 1;
        heap[trigger + 1] = 3;
        let words = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2];
        assert_eq!(
            json(&params::CREATE_ROOM, &words, &heap),
            r#"{"room_mode":"group","fields":["hostRoomUrl",{"recording":{"type":"cloud","startTrigger":"automatic-second-participant"}}]}"#
        );
    }

    #[cfg(feature = "write")]
    /// An option of a destination: a provider, how to sign in, five texts, and the kind of files. Each is an
    /// option but the first.
    const fn destination() -> usize {
        4 + 4 + 5 * 12 + 4
    }
}
