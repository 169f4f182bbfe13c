//! Shows what changes in a file, without the values that do not: files of clients are full of keys.

use similar::udiff::UnifiedHunkHeader;
use similar::{ChangeTag, TextDiff};
use std::ops::Range;
use whereby_authority::text;

/// The number of unchanged lines around a change.
const CONTEXT: usize = 3;

/// The maximum number of characters of a line.
const MAX_LINE: usize = 300;

/// What is shown instead of a value.
const HIDDEN: &str = "…";

/// Returns the lines of a unified diff. What is in `own`, ranges of the text after the change, is shown. Of
/// everything else, only keys and brackets are.
pub(super) fn lines(before: &str, after: &str, own: &[Range<usize>]) -> Vec<String> {
    let diff = TextDiff::from_lines(before, after);
    let starts: Vec<usize> = after
        .split_inclusive('\n')
        .scan(0, |start, line| {
            let own = *start;
            *start += line.len();
            Some(own)
        })
        .collect();
    let mut shown = Vec::new();
    for group in diff.grouped_ops(CONTEXT) {
        shown.push(UnifiedHunkHeader::new(&group).to_string());
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = change.value();
            let start = match change.tag() {
                ChangeTag::Insert => change.new_index().and_then(|index| starts.get(index)),
                ChangeTag::Equal | ChangeTag::Delete => None,
            };
            let line = match start {
                Some(start) => with_own(line, *start, own),
                None => masked(line, true),
            };
            shown.push(format!("{}{}", change.tag(), tidy(&line)));
        }
    }
    shown
}

/// Returns what of a text differs from another, by lines. A line that only has another end is not new.
pub(super) fn added(before: &str, after: &str) -> Vec<Range<usize>> {
    let diff = TextDiff::from_lines(before, after);
    let mut at = 0;
    let mut found = Vec::new();
    for change in diff.iter_all_changes().filter(|change| change.tag() != ChangeTag::Delete) {
        let end = at + change.value().len();
        let is_old = || before.lines().any(|old| old == change.value().trim_end());
        if change.tag() == ChangeTag::Insert && !is_old() {
            found.push(at..end);
        }
        at = end;
    }
    found
}

/// Returns a line as it can be shown on one line of a terminal.
fn tidy(line: &str) -> String {
    text::printable(&line.trim_end().replace('\t', "    "), MAX_LINE)
}

/// Returns a line that begins at an offset, with the parts that are not new masked.
fn with_own(line: &str, start: usize, own: &[Range<usize>]) -> String {
    let mut shown = String::new();
    let mut from = 0;
    for range in own {
        let (begin, end) = (range.start.max(start), range.end.min(start + line.len()));
        if begin >= end {
            continue;
        }
        shown += &masked(&line[from..begin - start], from == 0);
        shown += &line[begin - start..end - start];
        from = end - start;
    }
    shown + &masked(&line[from..], from == 0)
}

/// Returns a part of a line up to the first value, which is replaced. `is_start`: it begins the line.
fn masked(part: &str, is_start: bool) -> String {
    if is_start && is_header(part.trim()) {
        return part.to_owned();
    }
    let mut shown = String::new();
    let mut rest = part;
    while let Some(next) = rest.chars().next() {
        let taken = match next {
            _ if next.is_whitespace() || "{}[],:=".contains(next) => next.len_utf8(),
            _ => match key(rest) {
                Some(length) => length,
                None => return shown + HIDDEN,
            },
        };
        shown += &rest[..taken];
        rest = &rest[taken..];
    }
    shown
}

/// Returns the length of a key at the beginning of the text: a JSON key before a colon, or a TOML key before
/// an equals sign.
fn key(text: &str) -> Option<usize> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./$@ ".contains(c);
    if let Some(quoted) = text.strip_prefix('"') {
        let length = quoted.find('"').filter(|end| quoted[..*end].chars().all(is_plain))?;
        let after = quoted[length + 1..].trim_start();
        return after.starts_with([':', '=']).then_some(length + 2);
    }
    let end = text.find('=')?;
    let key = text[..end].trim_end();
    let is_key = !key.is_empty() && !key.contains(' ') && key.chars().all(is_plain);
    is_key.then_some(key.len())
}

/// Whether a line is the header of a TOML table.
fn is_header(line: &str) -> bool {
    let Some(inner) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) else {
        return false;
    };
    let name = inner.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(inner);
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_and_brackets_of_other_lines_are_shown() {
        for (line, shown) in [
            ("  \"env\": {", "  \"env\": {"),
            ("  \"API_KEY\": \"tops3cret\",", "  \"API_KEY\": …"),
            ("  \"tops3cret\",", "  …"),
            ("  \"args\": [\"--token\", \"tops3cret\"]", "  \"args\": […"),
            ("{ \"a\": { \"b\": 17 } }", "{ \"a\": { \"b\": …"),
            ("  // tops3cret: \"x\"", "  …"),
            ("# tops3cret = 1", "…"),
            ("  }, // tops3cret", "  }, …"),
            ("[mcp_servers.github]", "[mcp_servers.github]"),
            ("[[servers]]", "[[servers]]"),
            ("[\"tops3cret\"]", "[…"),
            ("[17]", "[…"),
            ("key = \"tops3cret\"", "key = …"),
            ("\"a key\" = 'tops3cret'", "\"a key\" = …"),
            ("tops3cret", "…"),
            ("tops3cret with = sign", "…"),
            ("\"half\\\": \"tops3cret\": 1", "…"),
            ("\"unfinished", "…"),
            ("", ""),
        ] {
            assert_eq!(masked(line, true), shown, "{line}");
        }
    }

    #[test]
    fn new_parts_of_a_line_are_shown() {
        let line = "{\"a\": \"tops3cret\", \"whereby\": {}, \"b\": 2}\n";
        let at = line.find("\"whereby").expect("it is there");
        let range = 100 + at..100 + at + "\"whereby\": {}".len();
        let own = std::slice::from_ref(&range);
        assert_eq!(with_own(line, 100, own), "{\"a\": …\"whereby\": {}, \"b\": …");
        assert_eq!(with_own(line, 0, own), "{\"a\": …");
    }

    #[test]
    fn a_diff_has_three_lines_around_each_change() {
        let before = "1 = 1\n2 = 2\n3 = 3\n4 = 4\n5 = 5\n6 = 6\n7 = 7\n";
        let after = before.replace("4 = 4", "4 = \u{1b}5\r\n\tnew = 1");
        let own = added(before, &after);
        assert_eq!(
            lines(before, &after, &own).join("\n"),
            "@@ -1,7 +1,8 @@\n 1 = …\n 2 = …\n 3 = …\n-4 = …\n+4 = \\u{1b}5\n+    new = 1\n 5 = …\n \
             6 = …\n 7 = …"
        );
        let new = "a = 1\n";
        assert_eq!(lines("", new, &added("", new)), ["@@ -0,0 +1 @@", "+a = 1"]);
        assert!(lines(before, before, &[]).is_empty());
    }
}
