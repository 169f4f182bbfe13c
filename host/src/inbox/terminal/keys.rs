//! What a person types, as keys.

/// The maximum length of a control sequence, in bytes.
const MAX_SEQUENCE: usize = 32;

/// The maximum length of pasted text that is kept, in bytes.
const MAX_PASTE: usize = 1024;

const ESCAPE: u8 = 0x1b;
const PASTE_END: &[u8] = b"\x1b[201~";

/// A key, or pasted text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Ctrl(char),
    Enter,
    Escape,
    Tab,
    BackTab,
    Backspace,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
    /// Text that was pasted. It never counts as keys.
    Paste(String),
    /// Any other key.
    Other,
}

/// Turns the bytes of a terminal into keys.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of a key whose end is still to come.
    rest: Vec<u8>,
    pasted: Option<Vec<u8>>,
}

impl Decoder {
    /// Returns the keys of what was typed since the last time. An escape at the end is the key Escape.
    pub(super) fn keys(&mut self, typed: &[u8]) -> Vec<Key> {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(typed);
        let mut keys = Vec::new();
        let mut left = bytes.as_slice();
        while !left.is_empty() {
            if let Some(pasted) = &mut self.pasted {
                let end = left.windows(PASTE_END.len()).position(|part| part == PASTE_END);
                let (text, after) = match end {
                    Some(at) => (&left[..at], &left[at + PASTE_END.len()..]),
                    // The end may have begun.
                    None => left.split_at(left.len().saturating_sub(PASTE_END.len() - 1)),
                };
                let room = MAX_PASTE.saturating_sub(pasted.len()).min(text.len());
                pasted.extend_from_slice(&text[..room]);
                left = after;
                if end.is_none() {
                    break;
                }
                let pasted = self.pasted.take().unwrap_or_default();
                keys.push(Key::Paste(String::from_utf8_lossy(&pasted).into_owned()));
                continue;
            }
            let Some((key, length)) = first(left) else { break };
            left = &left[length..];
            match key {
                Found::Key(key) => keys.push(key),
                Found::PasteBegins => self.pasted = Some(Vec::new()),
                Found::Nothing => {}
            }
        }
        self.rest = left.to_vec();
        keys
    }

    /// Forgets the beginning of a key whose end was discarded.
    pub(super) fn forget(&mut self) {
        self.rest.clear();
    }
}

enum Found {
    Key(Key),
    PasteBegins,
    Nothing,
}

/// Returns the first key and its length in bytes; `None` if more bytes are needed.
fn first(bytes: &[u8]) -> Option<(Found, usize)> {
    let key = match bytes[0] {
        ESCAPE => return escape(bytes),
        b'\r' | b'\n' => Key::Enter,
        b'\t' => Key::Tab,
        0x7f | 0x08 => Key::Backspace,
        control @ 0..0x20 => Key::Ctrl(char::from(control + 0x60)),
        ascii @ 0x20..0x7f => Key::Char(char::from(ascii)),
        _ => return character(bytes),
    };
    Some((Found::Key(key), 1))
}

fn character(bytes: &[u8]) -> Option<(Found, usize)> {
    let length = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Some((Found::Nothing, 1)),
    };
    let bytes = bytes.get(..length)?;
    let character = std::str::from_utf8(bytes).ok().and_then(|text| text.chars().next());
    // What is not UTF-8 is no key.
    Some(character.map_or((Found::Nothing, 1), |c| (Found::Key(Key::Char(c)), length)))
}

fn escape(bytes: &[u8]) -> Option<(Found, usize)> {
    let (key, length) = match bytes.get(1) {
        None | Some(&ESCAPE) => (Key::Escape, 1),
        Some(b'[') => return sequence(bytes),
        // Keys of the keypad and the function keys.
        Some(b'O') => {
            let key = named(*bytes.get(2)?, b"");
            (key, 3)
        }
        // A string that a terminal sends is not from a person.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let end = bytes.iter().position(|byte| *byte == 0x07);
            return Some((Found::Nothing, end.map_or(bytes.len(), |at| at + 1)));
        }
        // With Alt.
        Some(_) => match character(&bytes[1..]) {
            Some((_, length)) => (Key::Other, 1 + length),
            None => return None,
        },
    };
    Some((Found::Key(key), length))
}

/// Returns the key of a sequence that begins with `ESC [`.
fn sequence(bytes: &[u8]) -> Option<(Found, usize)> {
    let Some(at) = bytes[2..].iter().position(|byte| matches!(byte, 0x40..=0x7e)) else {
        return (bytes.len() > MAX_SEQUENCE).then_some((Found::Nothing, bytes.len()));
    };
    let (parameters, end) = (&bytes[2..2 + at], bytes[2 + at]);
    let found = match (parameters, end) {
        (b"200", b'~') => Found::PasteBegins,
        (b"201", b'~') => Found::Nothing,
        _ => Found::Key(named(end, parameters)),
    };
    Some((found, 3 + at))
}

fn named(end: u8, parameters: &[u8]) -> Key {
    match (parameters, end) {
        (b"", b'A') => Key::Up,
        (b"", b'B') => Key::Down,
        (b"", b'C') => Key::Right,
        (b"", b'D') => Key::Left,
        (b"", b'H') | (b"1" | b"7", b'~') => Key::Home,
        (b"", b'F') | (b"4" | b"8", b'~') => Key::End,
        (b"", b'Z') => Key::BackTab,
        (b"", b'M') => Key::Enter,
        (b"5", b'~') => Key::PageUp,
        (b"6", b'~') => Key::PageDown,
        _ => Key::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(typed: &[u8]) -> Vec<Key> {
        Decoder::default().keys(typed)
    }

    #[test]
    fn bytes_are_keys() {
        for (typed, expected) in [
            (&b"aY "[..], vec![Key::Char('a'), Key::Char('Y'), Key::Char(' ')]),
            (b"\r\n\t\x7f\x03", {
                vec![Key::Enter, Key::Enter, Key::Tab, Key::Backspace, Key::Ctrl('c')]
            }),
            (b"\x1b[A\x1bOB\x1b[6~\x1b[Z", vec![Key::Up, Key::Down, Key::PageDown, Key::BackTab]),
            (b"\x1b[1;5A\x1bOP\x1ba", vec![Key::Other, Key::Other, Key::Other]),
            (b"\x1b", vec![Key::Escape]),
            (b"\x1b\x1b[A", vec![Key::Escape, Key::Up]),
            ("ü会".as_bytes(), vec![Key::Char('ü'), Key::Char('会')]),
            (b"\xff\xfea", vec![Key::Char('a')]),
            // A report of the terminal is not typed.
            (b"\x1b]11;rgb:ffff/aaaa/dddd\x07q", vec![Key::Char('q')]),
            (b"\x1b]11;rgb:ffff/aaaa", vec![]),
        ] {
            assert_eq!(keys(typed), expected, "{typed:?}");
        }
    }

    #[test]
    fn a_key_may_come_in_pieces() {
        let whole = "\x1b[B\x1b[5~ü\x1b[200~ay\r\x1b[201~x".as_bytes();
        let expected =
            [Key::Down, Key::PageUp, Key::Char('ü'), Key::Paste("ay\r".into()), Key::Char('x')];
        for split in 0..whole.len() {
            if whole[..split].last() == Some(&ESCAPE) && split < 12 {
                continue;
            }
            let mut decoder = Decoder::default();
            let mut found = decoder.keys(&whole[..split]);
            found.extend(decoder.keys(&whole[split..]));
            if whole[..split].last() != Some(&ESCAPE) {
                assert_eq!(found, expected, "split at {split}");
            }
        }
    }

    #[test]
    fn what_is_pasted_is_bounded_and_no_key() {
        let long = [b"\x1b[200~", "a".repeat(9000).as_bytes(), b"\x1b[201~"].concat();
        assert_eq!(keys(&long), [Key::Paste("a".repeat(MAX_PASTE))]);
        assert_eq!(keys(&[b"\x1b[".as_slice(), &[b'1'; 100]].concat()), []);
    }
}
