//! Lays out rows on a terminal: as a table if it fits, else as a table with IDs and URLs below each row,
//! else as a block of lines for each row.
//!
//! Text is wrapped only at spaces, so names and IDs stay in one piece.

use super::paint::{Role, paint};
use super::render::Look;
use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter, wrap};

/// The gap between columns.
const GAP: &str = "  ";

/// The gap between the members of a block.
const WIDE_GAP: &str = "   ";

/// The minimum width of a column with wrapped text.
const MIN_WIDTH: usize = 20;

/// A space where text is not wrapped, as within a date. It is printed as a plain space.
pub(super) const FIXED_SPACE: char = '\u{a0}';

/// A cell; `None` if it is empty.
pub(super) type Cell = Option<String>;

/// Rows under headings.
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    /// The number of columns at the end that may be printed below the row.
    pub(super) below: usize,
    pub(super) rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Lays out the rows in the width of the terminal.
    pub(super) fn to_text(&self, look: &Look) -> String {
        let all = self.columns.len();
        let fits = [all, all - self.below]
            .into_iter()
            .find_map(|count| Some((count, self.widths(count, look.width)?)));
        match fits {
            Some((count @ 1.., widths)) => {
                let heading = heading(&self.columns[..count], &widths, look);
                let rows = self.rows.iter().map(|row| {
                    line(&row[..count], &widths)
                        + &flow(&self.columns[count..], &row[count..], look)
                });
                heading + &rows.collect::<String>()
            }
            _ => self.rows.iter().map(|row| self.block(row, look)).collect(),
        }
    }

    /// Returns the widths of the first columns; `None` if they do not fit the terminal.
    fn widths(&self, count: usize, most: Option<u16>) -> Option<Vec<usize>> {
        let cells = |column: usize| {
            let cells = self.rows.iter().map(move |row| row[column].as_deref().unwrap_or("-"));
            cells.chain([self.columns[column].as_str()]).flat_map(str::lines)
        };
        let columns = 0..count;
        let natural: Vec<usize> = columns
            .clone()
            .map(|column| cells(column).map(display_width).max().unwrap_or(0))
            .collect();
        let Some(most) = most else { return Some(natural) };
        let longest_word = |column| {
            cells(column).flat_map(|line| line.split(' ')).map(display_width).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = columns
            .map(|column| natural[column].min(longest_word(column).max(MIN_WIDTH)))
            .collect();
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        let mut room = usize::from(most).checked_sub(widths.iter().sum::<usize>() + gaps)?;
        // The first columns get the remaining space, because they matter most.
        for (width, natural) in widths.iter_mut().zip(natural) {
            let more = room.min(natural - *width);
            *width += more;
            room -= more;
        }
        Some(widths)
    }

    /// Returns the widths for further rows that are like these; the last column gets the rest of the line.
    /// `None` if each row must be a block.
    pub(super) fn typical_widths(&self, look: &Look) -> Option<Vec<usize>> {
        let mut widths = self.widths(self.columns.len(), look.width)?;
        let (last, others) = widths.split_last_mut()?;
        let taken = others.iter().map(|width| width + GAP.len()).sum::<usize>();
        *last = usize::from(look.width.unwrap_or(u16::MAX)).saturating_sub(taken);
        Some(widths)
    }

    /// Formats a row as a block of lines, with its first cell as the title.
    pub(super) fn block(&self, row: &[Cell], look: &Look) -> String {
        let title = row.first().and_then(Option::as_deref).unwrap_or("-");
        let title = paint(look.colours, Role::Heading, title).replace(FIXED_SPACE, " ");
        let members = (self.columns.get(1..), row.get(1..));
        let (names, cells) = (members.0.unwrap_or_default(), members.1.unwrap_or_default());
        format!("{title}\n{}", flow(names, cells, look))
    }
}

/// Formats names and values as running text, wrapped.
fn flow(names: &[String], cells: &[Cell], look: &Look) -> String {
    let mut block = String::new();
    let width = usize::from(look.width.unwrap_or(u16::MAX));
    let mut line = String::new();
    for (name, cell) in names.iter().zip(cells) {
        let Some(cell) = cell else { continue };
        let member = format!("{name}:{FIXED_SPACE}{}", cell.replace('\n', " "));
        let together = display_width(&line) + WIDE_GAP.len() + display_width(&member);
        if !line.is_empty() && together > width {
            block += &(std::mem::take(&mut line) + "\n");
        }
        line += if line.is_empty() { GAP } else { WIDE_GAP };
        if display_width(&line) + display_width(&member) <= width {
            line += &member;
            continue;
        }
        let indent = " ".repeat(GAP.len() * 2);
        let mut lines = wrapped(&member, width, GAP, &indent);
        // The next member continues on this line.
        line = lines.pop().unwrap_or_default();
        block.extend(lines.into_iter().map(|line| line + "\n"));
    }
    if !line.is_empty() {
        block += &(line + "\n");
    }
    block.replace(FIXED_SPACE, " ")
}

/// Formats the column headings.
pub(super) fn heading(columns: &[String], widths: &[usize], look: &Look) -> String {
    let cells: Vec<Cell> = columns.iter().cloned().map(Some).collect();
    let heading = line(&cells, widths);
    paint(look.colours, Role::Heading, heading.trim_end()) + "\n"
}

/// Formats a row of a table.
pub(super) fn line(row: &[Cell], widths: &[usize]) -> String {
    let cells: Vec<Vec<String>> = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| wrapped(cell.as_deref().unwrap_or("-"), *width, "", ""))
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for at in 0..height {
        let mut line = String::new();
        let mut end: usize = 0;
        for (lines, width) in cells.iter().zip(widths) {
            let part = lines.get(at).map_or("", String::as_str);
            let padding = end.saturating_sub(display_width(&line));
            line += &format!("{}{part}", " ".repeat(padding));
            end += width + GAP.len();
        }
        text += &(line.trim_end().to_owned() + "\n");
    }
    text.replace(FIXED_SPACE, " ")
}

/// Formats names and values in two columns.
pub(super) fn members(members: &[(String, String)], look: &Look) -> String {
    let names = members.iter().map(|(name, _)| display_width(name)).max().unwrap_or(0);
    let indent = " ".repeat(names + GAP.len());
    let width = usize::from(look.width.unwrap_or(u16::MAX));
    let mut text = String::new();
    for (name, value) in members {
        if value.is_empty() {
            text += &format!("{name}\n");
            continue;
        }
        let padding = " ".repeat(names - display_width(name));
        let first = format!("{name}{padding}{GAP}");
        for line in wrapped(value, width, &first, &indent) {
            text += &(line.trim_end().to_owned() + "\n");
        }
    }
    text.replace(FIXED_SPACE, " ")
}

/// Wraps a paragraph.
pub(super) fn paragraph(text: &str, look: &Look) -> String {
    wrapped(text, usize::from(look.width.unwrap_or(u16::MAX)), "", "").join("\n") + "\n"
}

/// Wraps a message, and keeps commands to copy on one line.
pub(super) fn message(text: &str, width: Option<u16>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut kept = String::new();
    let mut rest = text;
    while let Some((start, end)) = command_in(rest) {
        kept += &rest[..start];
        kept += &rest[start..end].replace(' ', &FIXED_SPACE.to_string());
        rest = &rest[end..];
    }
    kept += rest;
    let lines = kept.lines().flat_map(|line| wrapped(line, usize::from(width), "", ""));
    lines.collect::<Vec<_>>().join("\n").replace(FIXED_SPACE, " ")
}

/// Returns where the first command in a text begins and ends.
fn command_in(text: &str) -> Option<(usize, usize)> {
    let begin = |words: &str| text.find(words).map(|at| at + words.len());
    let start = ["run: ", "with: ", "doctor: "].into_iter().filter_map(begin).min()?;
    let end = text[start..].find([';', '\n']).map_or(text.len(), |length| start + length);
    Some((start, end))
}

/// Wraps Markdown, except for code.
pub(super) fn markdown(text: &str, look: &Look) -> String {
    let Some(width) = look.width.map(usize::from) else { return text.to_owned() };
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        if is_code || line.starts_with("```") {
            lines.push(line.to_owned());
            continue;
        }
        let content = line.trim_start();
        let mark = if content.starts_with("- ") { 2 } else { 0 };
        let first = &line[..line.len() - content.len()];
        let indent = " ".repeat(first.len() + mark);
        lines.extend(wrapped(content, width, first, &indent));
    }
    lines.join("\n") + "\n"
}

/// Wraps text at spaces only.
fn wrapped(text: &str, width: usize, first: &str, indent: &str) -> Vec<String> {
    let options = Options::new(width)
        .initial_indent(first)
        .subsequent_indent(indent)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    wrap(text, options).into_iter().map(|line| line.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_fits_and_its_commands_can_be_copied() {
        for (text, width, expected) in [
            ("error: a b", None, "error: a b"),
            ("error: one two three", Some(12), "error: one\ntwo three"),
            (
                "hint: a person approves with: whereby approvals approve abc; then go on",
                Some(30),
                "hint: a person approves with:\nwhereby approvals approve abc;\nthen go on",
            ),
            ("fix; run: chmod 600 'a b'", Some(12), "fix; run:\nchmod 600 'a b'"),
            ("a\n\nb c", Some(3), "a\n\nb c"),
        ] {
            assert_eq!(message(text, width), expected);
        }
    }
}
