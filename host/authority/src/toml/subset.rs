//! Reads the part of TOML that rules are written in, for the guarded component: the crate `toml` would make it
//! too large.
//!
//! Tables, inline tables, dotted and quoted keys, strings on one line, decimal integers, booleans, dates, and
//! arrays of these. What this parser reads, the crate reads too, and as the same; a test compares them.

use super::{Item, Member};
use crate::prelude::*;
use crate::timestamp::Timestamp;

/// The maximum number of keys in a path.
const MAX_PATH: usize = 16;

/// An offset and a message.
type Wrong = (usize, String);

/// Parses a document.
pub(super) fn parse(contents: &str) -> Result<Vec<Member>, Wrong> {
    let mut parser = Parser { contents, at: 0 };
    let mut root = Table::default();
    let mut section: Vec<Key> = Vec::new();
    loop {
        parser.skip_lines()?;
        let Some(next) = parser.peek() else { break };
        if next == b'[' {
            section = parser.header()?;
            root.open(&section)?;
        } else {
            let path = parser.path(b'=')?;
            let value = parser.value(true)?;
            root.section(&section)?.insert(path, value)?;
        }
        parser.end_of_line()?;
    }
    Ok(root.into_members())
}

struct Key {
    name: String,
    start: usize,
}

/// How a table was made, which decides what may be added to it.
#[derive(Clone, Copy, PartialEq)]
enum Made {
    /// By the header of a table in it.
    Implied,
    /// By its own header.
    Opened,
    /// By a dotted key.
    Dotted,
}

/// A table that is being read.
struct Table {
    made: Made,
    members: Vec<(Key, Slot)>,
}

enum Slot {
    Table(Table),
    Item(Item),
}

impl Default for Table {
    fn default() -> Self {
        Self { made: Made::Opened, members: Vec::new() }
    }
}

fn twice(key: &Key) -> Wrong {
    (key.start, format!("`{}` is there twice", key.name))
}

impl Table {
    /// Returns the table under a key, and makes it if it is absent.
    fn child(&mut self, key: &Key, made: Made) -> Result<&mut Self, Wrong> {
        let index = match self.members.iter().position(|(known, _)| known.name == key.name) {
            Some(index) => index,
            None => {
                let table = Self { made, members: Vec::new() };
                let key = Key { name: key.name.clone(), start: key.start };
                self.members.push((key, Slot::Table(table)));
                self.members.len() - 1
            }
        };
        match self.members.get_mut(index) {
            Some((_, Slot::Table(table))) => Ok(table),
            _ => Err(twice(key)),
        }
    }

    /// Opens the table of a header.
    fn open(&mut self, path: &[Key]) -> Result<(), Wrong> {
        let Some((last, path)) = path.split_last() else { return Ok(()) };
        let mut table = self;
        for key in path {
            table = table.child(key, Made::Implied)?;
            if table.made == Made::Dotted {
                return Err(twice(key));
            }
        }
        if let Some((key, Slot::Table(known))) = table.member(last)
            && known.made == Made::Implied
        {
            known.made = Made::Opened;
            key.start = last.start;
            return Ok(());
        }
        match table.member(last) {
            Some(_) => Err(twice(last)),
            None => table.child(last, Made::Opened).map(|_| ()),
        }
    }

    fn member(&mut self, key: &Key) -> Option<&mut (Key, Slot)> {
        self.members.iter_mut().find(|(known, _)| known.name == key.name)
    }

    /// Returns the table of a header that was opened.
    fn section(&mut self, path: &[Key]) -> Result<&mut Self, Wrong> {
        let mut table = self;
        for key in path {
            table = table.child(key, Made::Opened)?;
        }
        Ok(table)
    }

    fn insert(&mut self, mut path: Vec<Key>, item: Item) -> Result<(), Wrong> {
        let Some(last) = path.pop() else { return Ok(()) };
        let mut table = self;
        for key in &path {
            table = table.child(key, Made::Dotted)?;
            if table.made != Made::Dotted {
                return Err(twice(key));
            }
        }
        if table.members.iter().any(|(known, _)| known.name == last.name) {
            return Err(twice(&last));
        }
        table.members.push((last, Slot::Item(item)));
        Ok(())
    }

    fn into_members(self) -> Vec<Member> {
        let mut members: Vec<Member> = Vec::new();
        for (Key { name, start }, slot) in self.members {
            let item = match slot {
                Slot::Item(item) => item,
                Slot::Table(table) => Item::Table(table.into_members()),
            };
            // A table that was opened late is where its header is.
            let index = members.iter().filter(|member| member.start < start).count();
            members.insert(index, Member { key: name, start, item });
        }
        members
    }
}

struct Parser<'a> {
    contents: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.contents.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &str {
        self.contents.get(self.at..).unwrap_or_default()
    }

    fn wrong<T>(&self, message: &str) -> Result<T, Wrong> {
        Err((self.at, message.to_owned()))
    }

    /// Moves past a byte if it is next.
    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn skip_spaces(&mut self) {
        while self.eat(b' ') || self.eat(b'\t') {}
    }

    fn skip_comment(&mut self) -> Result<(), Wrong> {
        if self.eat(b'#') {
            self.token(|byte| !byte.is_ascii_control() || byte == b'\t');
            if self.peek().is_some_and(|byte| byte != b'\n' && byte != b'\r') {
                return self.wrong("a comment has a control character");
            }
        }
        Ok(())
    }

    /// Moves past a line break if it is next.
    fn eat_line_break(&mut self) -> bool {
        if self.rest().starts_with("\r\n") {
            self.at += 1;
        }
        self.eat(b'\n')
    }

    /// Moves past spaces, comments and line breaks.
    fn skip_lines(&mut self) -> Result<(), Wrong> {
        loop {
            self.skip_spaces();
            self.skip_comment()?;
            if !self.eat_line_break() {
                return Ok(());
            }
        }
    }

    fn end_of_line(&mut self) -> Result<(), Wrong> {
        self.skip_spaces();
        self.skip_comment()?;
        if self.peek().is_none() || self.eat_line_break() {
            return Ok(());
        }
        self.wrong("expected the end of the line")
    }

    fn header(&mut self) -> Result<Vec<Key>, Wrong> {
        self.at += 1;
        if self.peek() == Some(b'[') {
            return self.wrong("arrays of tables are not read here");
        }
        self.path(b']')
    }

    /// Reads keys with dots between them, and the byte after them.
    fn path(&mut self, end: u8) -> Result<Vec<Key>, Wrong> {
        let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let mut path = Vec::new();
        loop {
            self.skip_spaces();
            let start = self.at;
            let name = match self.peek() {
                Some(b'"') => self.basic()?,
                Some(b'\'') => self.literal()?,
                _ => self.token(is_bare).to_owned(),
            };
            if name.is_empty() && start == self.at || path.len() == MAX_PATH {
                return self.wrong("expected a key");
            }
            path.push(Key { name, start });
            self.skip_spaces();
            if self.eat(end) {
                self.skip_spaces();
                return Ok(path);
            }
            if !self.eat(b'.') {
                return self.wrong("expected a dot, `=` or `]` after a key");
            }
        }
    }

    fn token(&mut self, belongs: impl Fn(u8) -> bool) -> &str {
        let start = self.at;
        let rest = self.contents.as_bytes().get(start..).unwrap_or_default();
        self.at += rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len());
        self.contents.get(start..self.at).unwrap_or_default()
    }

    /// Reads a value. Only one outside of others may be an array or a table.
    fn value(&mut self, is_outer: bool) -> Result<Item, Wrong> {
        match self.peek() {
            Some(b'"') => self.basic().map(Item::Text),
            Some(b'\'') => self.literal().map(Item::Text),
            Some(b'[') if is_outer => self.array(),
            Some(b'{') if is_outer => self.inline(),
            _ => self.scalar(),
        }
    }

    fn array(&mut self) -> Result<Item, Wrong> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_lines()?;
            if self.eat(b']') {
                return Ok(Item::Array(items));
            }
            items.push(self.value(false)?);
            self.skip_lines()?;
            if !self.eat(b',') && self.peek() != Some(b']') {
                return self.wrong("expected `,` or `]` after an item");
            }
        }
    }

    fn inline(&mut self) -> Result<Item, Wrong> {
        self.at += 1;
        let mut table = Table::default();
        self.skip_spaces();
        if self.eat(b'}') {
            return Ok(Item::Table(Vec::new()));
        }
        loop {
            let path = self.path(b'=')?;
            let value = match self.peek() {
                Some(b'[') => self.array()?,
                _ => self.value(false)?,
            };
            table.insert(path, value)?;
            self.skip_spaces();
            if self.eat(b'}') {
                return Ok(Item::Table(table.into_members()));
            }
            if !self.eat(b',') {
                return self.wrong("expected `,` or `}` after a value");
            }
        }
    }

    /// Reads a boolean, a number or a date.
    fn scalar(&mut self) -> Result<Item, Wrong> {
        let start = self.at;
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-_.:".contains(&byte);
        let mut text = self.token(is_part).to_owned();
        // A space may stand between a date and a time.
        if text.len() == "2026-03-02".len() && text.contains('-') && self.peek() == Some(b' ') {
            let is_time = self.rest().as_bytes().get(1).is_some_and(u8::is_ascii_digit);
            if is_time {
                self.at += 1;
                text.push('T');
                text.push_str(self.token(is_part));
            }
        }
        let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
        let is_number = digits == "0"
            || !digits.is_empty()
                && !digits.starts_with('0')
                && digits.bytes().all(|byte| byte.is_ascii_digit());
        match text.as_str() {
            "true" => return Ok(Item::Boolean(true)),
            "false" => return Ok(Item::Boolean(false)),
            _ if is_number => {
                if let Ok(number) = text.parse() {
                    return Ok(Item::Integer(Some(number)));
                }
            }
            _ if is_date(&text) => return Ok(Item::Date(text)),
            _ => {}
        }
        self.at = start;
        self.wrong("expected a string, an integer, true, false, a date, an array or a table")
    }

    fn basic(&mut self) -> Result<String, Wrong> {
        if self.rest().starts_with("\"\"\"") {
            return self.wrong("strings of several lines are not read here");
        }
        self.at += 1;
        let is_plain =
            |byte: u8| byte == b'\t' || !byte.is_ascii_control() && byte != b'"' && byte != b'\\';
        let mut text = String::new();
        loop {
            text.push_str(self.token(is_plain));
            if self.eat(b'"') {
                return Ok(text);
            }
            if !self.eat(b'\\') {
                return self.wrong("a string does not end on its line");
            }
            let Some(escape) = self.peek().filter(u8::is_ascii) else {
                return self.wrong("unknown escape in a string");
            };
            self.at += 1;
            text.push(match escape {
                b'b' => '\u{8}',
                b't' => '\t',
                b'n' => '\n',
                b'f' => '\u{c}',
                b'r' => '\r',
                b'"' => '"',
                b'\\' => '\\',
                b'u' => self.escaped(4)?,
                b'U' => self.escaped(8)?,
                _ => return self.wrong("unknown escape in a string"),
            });
        }
    }

    fn escaped(&mut self, digits: usize) -> Result<char, Wrong> {
        let code = self.rest().get(..digits);
        let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
        match code.and_then(char::from_u32) {
            Some(character) => {
                self.at += digits;
                Ok(character)
            }
            None => self.wrong("unknown escape in a string"),
        }
    }

    fn literal(&mut self) -> Result<String, Wrong> {
        if self.rest().starts_with("'''") {
            return self.wrong("strings of several lines are not read here");
        }
        self.at += 1;
        let is_plain = |byte: u8| byte == b'\t' || !byte.is_ascii_control() && byte != b'\'';
        let text = self.token(is_plain).to_owned();
        if self.eat(b'\'') { Ok(text) } else { self.wrong("a string does not end on its line") }
    }
}

/// Whether a text is a date, with or without a time and an offset.
fn is_date(text: &str) -> bool {
    let is = |end: &str| Timestamp::parse(&format!("{text}{end}")).is_some();
    // The year 0 and leap seconds are read differently by others.
    !text.starts_with("0000")
        && crate::find_in(text, ":60").is_none()
        && (is("") || is("Z") || is("T00:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes dates as the other parser does.
    fn plain(item: &mut Item) {
        match item {
            Item::Date(date) => {
                let read = |end: &str| Timestamp::parse(&format!("{date}{end}"));
                let (whole, local) = (read(""), read("Z").or_else(|| read("T00:00:00Z")));
                let moment = whole.or(local).expect("a date");
                *date = format!("{} {}", moment.to_rfc3339(), whole.is_some());
            }
            Item::Array(items) => items.iter_mut().for_each(plain),
            Item::Table(members) => members.iter_mut().for_each(|member| plain(&mut member.item)),
            _ => {}
        }
    }

    /// Checks that the crate reads the same. Returns whether this parser read it.
    fn assert_same(text: &str) -> bool {
        let Ok(own) = parse(text) else { return false };
        let theirs = super::super::parse(text);
        let theirs = theirs.unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
        let (mut own, mut theirs) = (Item::Table(own), Item::Table(theirs));
        plain(&mut own);
        plain(&mut theirs);
        assert_eq!(own, theirs, "{text}");
        true
    }

    #[test]
    fn rules_are_read() {
        for text in [
            "",
            "# nothing\n",
            "read = \"allow\"\r\nwrite='deny' # a comment\n",
            "[functions]\ndelete_room = \"deny\"\n\n[functions.create_room]\npermission = \"allow\"\n\
             rooms = [ \"bot-*\", # first\n 'demo-*', ]\nmax_duration = \"2h\"\nmax_per_hour = 5",
            "[a.b]\nc = 1\n[a]\nd = -2\n[a.c]\ne = +3",
            "functions.get_room = { permission = \"allow\", rooms = [\"a\"], x.y = true }",
            "\"a b\".'c\"' = \"\\u00e4\\t\\\"\\U0001F600ü\"",
            "a = 2026-12-04T18:00:00Z\nb = 2026-12-04 18:00:00+02:00\nc = 2026-12-04\n\
             d=2026-12-04t18:00:00.25z",
            "a = []\nb = {}\nc = \"\"\nd = ''",
        ] {
            assert!(assert_same(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_toml_or_not_read_here_is_refused() {
        for (text, line) in [
            ("a", 1),
            ("a = ", 1),
            ("a = b", 1),
            ("\n\na = 1 b = 2", 3),
            ("a = 1\na = 2", 2),
            ("[a]\n[a]", 2),
            ("a.b = 1\n[a]", 2),
            ("a.b = 1\n[a.c]", 2),
            ("[a.b]\n[a]\nb.c = 1", 3),
            ("a = {}\n[a]", 2),
            ("a = {}\na.b = 1", 2),
            ("[[a]]", 1),
            ("a = \"\"\"x\"\"\"", 1),
            ("a = \"x", 1),
            ("a = \"\\x41\"", 1),
            ("a = 0x10", 1),
            ("a = 1_000", 1),
            ("a = 1.5", 1),
            ("a = 01", 1),
            ("a = 99999999999999999999", 1),
            ("a = [[1]]", 1),
            ("a = { b = 1,\n c = 2 }", 1),
            ("a = { b = 1, }", 1),
            ("a = 2026-02-30", 1),
            ("[a", 1),
            ("a\u{1} = 1", 1),
            ("# \u{1}", 1),
            ("a = 1\rb = 2", 1),
        ] {
            let (offset, message) = parse(text).expect_err(text);
            let found = 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
            assert_eq!(found, line, "{text}: {message}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_is_read_the_same_by_the_host(
            lines in prop::collection::vec(
                "(\\[[ab]([.][ab]){0,2}\\]|[ab]([.][abc]){0,2} = ([0-9]{1,2}|\"[a-z\\\\n]{0,3}\"|'x'|true|\
                 2026-0[1-3]-[0-3][0-9]([T ]1[0-9]:[0-6]0:0[0-9](Z|[+]0[0-9]:00|))?|\
                 [{] a = 1, b[.]c = 2 [}]|[{]a=1[}]|\\[1, \"x\",?\\])|#c|)( #x)?",
                0..6,
            ),
        ) {
            assert_same(&lines.join("\n"));
        }

        #[test]
        fn no_text_is_read_differently(text in "[ab.=\"'\\[\\]{},#\\\\u0-9TZ:+\\- \n\r\t]{0,40}") {
            assert_same(&text);
        }
    }
}
