//! Renders results for people: rows that fit the terminal, and dates in the reader's time zone.
//!
//! In a pipe, nothing is omitted, shortened or reformatted.

use super::paint::wants_colours;
use super::streams::Streams;
use super::table::{self, Cell, FIXED_SPACE, Table};
use crate::config::environment::Environment;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use whereby_authority::text;
use whereby_catalog::{FUNCTIONS, Member, Record, Type};

/// The maximum length of a value, in characters.
const MAX_VALUE: usize = 2000;

/// How to render results: the width, colours and time zone.
pub(super) struct Look {
    /// The maximum width of lines, in columns; `None` for no limit.
    pub(super) width: Option<u16>,
    pub(super) colours: bool,
    /// The reader's time zone; `None` if the output is not a terminal. Values then stay exact.
    zone: Option<TimeZone>,
    /// The offsets of the dates shown since the last zone line.
    offsets: Mutex<BTreeSet<Offset>>,
}

impl Look {
    pub(super) fn new(environment: &Environment, streams: &Streams) -> Self {
        let person = streams.stdout_is_terminal;
        Self {
            width: streams.width.filter(|_| person),
            colours: person && wants_colours(environment),
            zone: person.then(|| environment.zone()),
            offsets: Mutex::default(),
        }
    }

    /// Returns the time zone of the output: the reader's, or UTC if the output is not a terminal.
    pub(super) fn zone(&self) -> TimeZone {
        self.zone.clone().unwrap_or(TimeZone::UTC)
    }

    /// Whether a person reads the output.
    pub(super) fn is_for_person(&self) -> bool {
        self.zone.is_some()
    }

    /// Returns this look for text that is indented by this many columns.
    #[cfg(feature = "simulator")]
    pub(super) fn indented(mut self, by: u16) -> Self {
        self.width = self.width.map(|width| width.saturating_sub(by));
        self
    }

    /// Returns a line that names the time zone of the dates shown since the last such line; empty if
    /// there were none.
    pub(super) fn zone_line(&self) -> String {
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = std::mem::take(&mut *offsets);
        let (Some(zone), false) = (&self.zone, shown.is_empty()) else { return String::new() };
        let utc = |offset: Offset| {
            if offset == Offset::UTC {
                "UTC".to_owned()
            } else {
                Timestamp::UNIX_EPOCH.to_zoned(offset.to_time_zone()).strftime("UTC%:z").to_string()
            }
        };
        let offsets: Vec<String> = shown.into_iter().map(utc).collect();
        let offsets = offsets.join(" and ");
        match zone.iana_name() {
            Some(name) if name != "UTC" => format!("times are in {name} ({offsets})\n"),
            _ => format!("times are in {offsets}\n"),
        }
    }

    fn cell(&self, value: &Value, member: Option<&Member>) -> Cell {
        if value.is_null() || value.as_str() == Some("") {
            return None;
        }
        if self.is_for_person()
            && let Some(usual) = member.and_then(|member| member.facts.usual)
        {
            let json = value.to_string();
            if json == usual {
                return None;
            }
        }
        let unit = member.and_then(|member| member.facts.unit).filter(|_| self.is_for_person());
        match (unit, value.as_u64()) {
            (Some("seconds"), Some(seconds)) => Some(duration(seconds)),
            (Some("minutes"), Some(minutes)) => Some(duration(minutes.saturating_mul(60))),
            _ => Some(self.scalar(value)),
        }
    }

    fn scalar(&self, value: &Value) -> String {
        match value {
            Value::Null => "-".into(),
            Value::Bool(true) => "yes".into(),
            Value::Bool(false) => "no".into(),
            Value::String(value) => match self.local_time(value) {
                Some(time) => time,
                None => self.localized(&text::printable(value, MAX_VALUE)),
            },
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.scalar(item)).collect();
                // Sentences need no commas between them.
                let sentences = items.iter().all(|item| item.ends_with('.'));
                items.join(if sentences { " " } else { ", " })
            }
            other => text::printable(&other.to_string(), MAX_VALUE),
        }
    }

    /// Returns a sentence with its dates in the reader's time zone. JSON is returned unchanged.
    pub(super) fn localized(&self, text: &str) -> String {
        if self.zone.is_none() || text.starts_with(['{', '[']) {
            return text.to_owned();
        }
        let word = |word: &str| {
            let date = word.trim_end_matches([',', ';', ':', '.', ')']);
            let start = date.len() - date.trim_start_matches('(').len();
            let end = &word[date.len()..];
            Some(format!("{}{}{end}", &word[..start], self.local_time(&date[start..])?))
        };
        let words = text.split(' ').map(|text| word(text).unwrap_or_else(|| text.to_owned()));
        words.collect::<Vec<_>>().join(" ")
    }

    /// Returns an RFC 3339 date in the reader's time zone; `None` if the text is not one.
    fn local_time(&self, text: &str) -> Option<String> {
        let looks_like_one = (20..=40).contains(&text.len()) && text.as_bytes()[10] == b'T';
        let moment: Timestamp = text.parse().ok().filter(|_| looks_like_one)?;
        let local = moment.to_zoned(self.zone.clone()?);
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        offsets.insert(local.offset());
        Some(local.strftime("%Y-%m-%d\u{a0}%H:%M:%S").to_string())
    }
}

/// Formats seconds in words: `1 h 30 min`.
fn duration(seconds: u64) -> String {
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> =
        parts.map(|(count, unit)| format!("{count}{FIXED_SPACE}{unit}")).collect();
    if parts.is_empty() { format!("0{FIXED_SPACE}s") } else { parts.join(&FIXED_SPACE.to_string()) }
}

/// Renders a JSON value, followed by the time zone of its dates. Text from outside is made printable.
pub(super) fn render(value: &Value, look: &Look) -> String {
    let text = body(value, look);
    match look.zone_line() {
        zone if zone.is_empty() => text,
        zone => format!("{text}\n{zone}"),
    }
}

/// Renders a JSON value without its time zone.
pub(super) fn body(value: &Value, look: &Look) -> String {
    match value {
        Value::Object(object) => render_object(object, look),
        Value::Array(items) => render_list(items, look),
        other => look.scalar(other).replace(FIXED_SPACE, " ") + "\n",
    }
}

fn render_object(object: &Map<String, Value>, look: &Look) -> String {
    let is_list =
        |value: &Value| matches!(value, Value::Array(items) if items.iter().any(Value::is_object));
    let record = record_of(&[object]);
    let mut lines = Vec::new();
    let mut lists = Vec::new();
    for name in in_order(object.keys(), record) {
        let value = &object[name];
        let member = member_of(record, name);
        let shown = text::printable(name, 80);
        match value {
            Value::Array(items) if is_list(value) => lists.push((shown, items)),
            Value::Array(items) if items.is_empty() => {
                // An empty page says so. Other empty arrays are not shown to people.
                if name == "data" {
                    lines.push(("none".into(), String::new()));
                } else if !look.is_for_person() {
                    lines.push((shown, "none".into()));
                }
            }
            Value::Object(inner) => {
                for (key, value) in inner.iter().filter(|(_, value)| !value.is_null()) {
                    let key = text::printable(key, 80);
                    lines.push((format!("{shown}.{key}"), look.scalar(value)));
                }
            }
            value => match look.cell(value, member) {
                Some(cell) => lines.push((shown, cell)),
                None if look.is_for_person() => {}
                None => lines.push((shown, "-".into())),
            },
        }
    }
    let lines = table::members(&lines, look);
    // The rows of a page come first, without a heading.
    if let [(name, items)] = lists.as_slice()
        && name == "data"
    {
        let gap = if lines.is_empty() { "" } else { "\n" };
        return format!("{}{gap}{lines}", render_list(items, look));
    }
    let lists =
        lists.iter().map(|(name, items)| format!("\n{name}:\n{}", render_list(items, look)));
    lines + &lists.collect::<String>()
}

/// Renders the items' members in columns, with IDs and long values last.
fn render_list(items: &[Value], look: &Look) -> String {
    let objects: Vec<&Map<String, Value>> = items.iter().filter_map(Value::as_object).collect();
    let mut names: Vec<&String> = Vec::new();
    for name in objects.iter().flat_map(|object| object.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    // A table would lose the items that are not objects.
    if names.is_empty() || objects.len() < items.len() {
        let lines = items.iter().map(|item| look.scalar(item) + "\n");
        return lines.collect::<String>().replace(FIXED_SPACE, " ");
    }
    let record = record_of(&objects);
    let mut names = in_order(names.into_iter(), record);
    names.sort_by_key(|name| rank(name));
    let cell = |object: &Map<String, Value>, name: &str| {
        look.cell(object.get(name).unwrap_or(&Value::Null), member_of(record, name))
    };
    let is_worth_a_column =
        |name: &str| !look.is_for_person() || objects.iter().any(|o| cell(o, name).is_some());
    names.retain(|name| is_worth_a_column(name));
    let table = Table {
        columns: names.iter().map(|name| text::printable(name, 40)).collect(),
        below: names.iter().filter(|name| rank(name) > 0).count(),
        rows: objects
            .iter()
            .map(|object| names.iter().map(|name| cell(object, name)).collect())
            .collect(),
    };
    table.to_text(look)
}

/// A table whose rows are printed as they arrive, such as a log.
pub(super) struct Rows {
    look: Look,
    table: Table,
    /// `None` if each row is a block.
    widths: Option<Vec<usize>>,
    /// The last zone line.
    zone: String,
}

impl Rows {
    /// Starts a table with the columns and widths of a typical row.
    pub(super) fn like(typical: &Map<String, Value>, look: Look) -> Self {
        let columns = typical.keys().cloned().collect();
        let rows = vec![typical.values().map(|value| look.cell(value, None)).collect()];
        let table = Table { columns, below: 0, rows };
        let (widths, zone) = (table.typical_widths(&look), look.zone_line());
        Self { look, table, widths, zone }
    }

    /// Returns the look of the rows.
    pub(super) fn look(&self) -> &Look {
        &self.look
    }

    /// Returns the zone line and the column headings.
    pub(super) fn heading(&self) -> String {
        let heading = |widths| table::heading(&self.table.columns, widths, &self.look);
        format!("{}{}", self.zone, self.widths.as_deref().map_or_else(String::new, heading))
    }

    /// Renders one row, with a zone line before it if the zone has changed.
    pub(super) fn row(&mut self, row: &Map<String, Value>) -> String {
        let cells: Vec<Cell> = row.values().map(|value| self.look.cell(value, None)).collect();
        let line = match &self.widths {
            Some(widths) => table::line(&cells, widths),
            None => self.table.block(&cells, &self.look),
        };
        match self.look.zone_line() {
            zone if zone.is_empty() || zone == self.zone => line,
            zone => {
                let line = zone.clone() + &line;
                self.zone = zone;
                line
            }
        }
    }
}

/// Returns the sort order of a column: ordinary values, then values of any length, then IDs.
fn rank(name: &str) -> u8 {
    let ends = |ending: &str| name.to_ascii_lowercase().ends_with(ending);
    match name {
        "id" => 2,
        _ if ends("_id") || ends(" id") || name.ends_with("Id") => 2,
        "arguments" => 1,
        _ if ends("url") => 1,
        _ => 0,
    }
}

/// Sorts names into the order of the record's members. Without a record they keep their order.
fn in_order<'a>(names: impl Iterator<Item = &'a String>, record: Option<&Record>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    if let Some(record) = record {
        names.sort_by_key(|name| record.members.iter().position(|member| member.json == *name));
    }
    names
}

fn member_of<'a>(record: Option<&'a Record>, name: &str) -> Option<&'a Member> {
    record?.members.iter().find(|member| member.json == name)
}

/// Returns the result record whose members all of the objects have, and no others.
fn record_of(objects: &[&Map<String, Value>]) -> Option<&'static Record> {
    fn find(ty: &Type, objects: &[&Map<String, Value>]) -> Option<&'static Record> {
        match ty {
            Type::Option(inner) | Type::List(inner) => find(inner, objects),
            Type::Record(record) => {
                let knows = |name: &String| record.members.iter().any(|m| m.json == *name);
                let is_one = |object: &&Map<String, Value>| {
                    let has = |member: &Member| object.contains_key(member.json);
                    object.keys().all(knows)
                        && record.members.iter().all(|member| member.is_optional() || has(member))
                };
                if objects.iter().all(is_one) {
                    return Some(record);
                }
                record.members.iter().find_map(|member| find(&member.ty, objects))
            }
            _ => None,
        }
    }
    FUNCTIONS.iter().find_map(|function| find(&function.result, objects))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn look(zone: &str, width: Option<u16>) -> Look {
        let mut environment = Environment::empty();
        environment.variables.insert("TZ".into(), zone.into());
        environment.variables.insert("NO_COLOR".into(), "1".into());
        let mut streams = Streams::new(std::io::empty(), std::io::sink(), std::io::sink());
        streams.stdout_is_terminal = true;
        streams.width = width;
        Look::new(&environment, &streams)
    }

    #[test]
    fn dates_are_in_the_reader_s_time_zone_which_is_named_once() {
        let zone = look("XYZ-2", None);
        for (text, shown) in [
            ("2026-03-02T09:00:10.250Z", "2026-03-02 11:00:10\n"),
            ("2026-03-02T23:30:00+00:00", "2026-03-03 01:30:00\n"),
            ("2026-03-02", "2026-03-02\n"),
            ("not a date, but as long", "not a date, but as long\n"),
            ("standup-T09:00:00Z-and-more", "standup-T09:00:00Z-and-more\n"),
        ] {
            assert_eq!(body(&json!(text), &zone), shown);
        }
        assert_eq!(zone.zone_line(), "times are in UTC+02:00\n");
        assert_eq!(zone.zone_line(), "");
        for (text, shown) in [
            ("ends at 2026-03-02T09:00:00Z.", "ends at 2026-03-02 11:00:00.\n"),
            ("it (2026-03-02T09:00:00Z), too", "it (2026-03-02 11:00:00), too\n"),
            ("x-2026-03-02T09:00:00Z y", "x-2026-03-02T09:00:00Z y\n"),
            (r#"{"a": "2026-03-02T09:00:00Z" }"#, "{\"a\": \"2026-03-02T09:00:00Z\" }\n"),
        ] {
            assert_eq!(body(&json!(text), &zone), shown);
        }
        assert_eq!(zone.zone_line(), "times are in UTC+02:00\n");
        for (zone, moments, line) in [
            ("Nowhere/At/All", &["2026-03-02T09:00:00Z"][..], "UTC"),
            ("EST5", &["2026-03-02T09:00:00Z"], "UTC-05:00"),
            (
                "CET-1CEST,M3.5.0,M10.5.0/3",
                &["2026-03-02T09:00:00Z", "2026-07-02T09:00:00Z"],
                "UTC+01:00 and UTC+02:00",
            ),
        ] {
            let shown =
                render(&json!({"from": moments.first(), "to": moments.last()}), &look(zone, None));
            assert!(shown.ends_with(&format!("\n\ntimes are in {line}\n")), "{shown}");
        }
        let pipe = Look::new(
            &Environment::empty(),
            &Streams::new(std::io::empty(), std::io::sink(), std::io::sink()),
        );
        assert_eq!(
            render(&json!({"at": "2026-03-02T09:00:00Z"}), &pipe),
            "at  2026-03-02T09:00:00Z\n"
        );
    }

    #[test]
    fn a_duration_is_in_words() {
        for (seconds, shown) in [
            (0, "0 s"),
            (59, "59 s"),
            (1800, "30 min"),
            (2701, "45 min 1 s"),
            (3600, "1 h"),
            (93784, "26 h 3 min 4 s"),
        ] {
            assert_eq!(duration(seconds).replace(FIXED_SPACE, " "), shown);
        }
    }

    /// Returns a meeting in the form that a call returns.
    fn meeting(name: &str) -> Value {
        json!({
            "id": format!("{name}:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10"), "roomName": name,
            "startDate": "2026-03-02T09:00:00Z", "endDate": "2026-03-02T09:45:00Z",
            "duration": 2700, "participantCount": 3, "recorderMinutes": null,
        })
    }

    #[test]
    fn the_catalogue_sets_units_order_and_omitted_values() {
        let mut sorted = meeting("daily");
        sorted.as_object_mut().expect("an object").sort_keys();
        for row in [meeting("daily"), sorted] {
            let shown = render(&json!([row]), &look("UTC", None));
            let lines: Vec<Vec<&str>> = shown
                .lines()
                .map(|line| line.split("  ").map(str::trim).filter(|w| !w.is_empty()).collect())
                .collect();
            assert_eq!(
                lines[0],
                ["roomName", "startDate", "endDate", "duration", "participantCount", "id"]
            );
            assert_eq!(
                lines[1][..4],
                ["daily", "2026-03-02 09:00:00", "2026-03-02 09:45:00", "45 min"]
            );
        }
        let person = json!({"name": "Ines", "nameRedacted": false, "joinedAt": null, "leftAt": null,
            "role": null, "externalId": null, "participantId": null});
        assert_eq!(render(&json!([person]), &look("UTC", None)), "name\nInes\n");
        let mut hidden = person.clone();
        hidden["nameRedacted"] = true.into();
        assert_eq!(
            render(&json!([person, hidden]), &look("UTC", None)),
            "name  nameRedacted\nInes  -\nInes  yes\n"
        );
        // Other objects have no units.
        assert_eq!(
            render(&json!([{"duration": 2700, "done": false}]), &look("UTC", None)),
            "duration  done\n2700      no\n"
        );
    }

    #[test]
    fn nothing_is_omitted_in_a_pipe() {
        let pipe = Look::new(
            &Environment::empty(),
            &Streams::new(std::io::empty(), std::io::sink(), std::io::sink()),
        );
        let shown = render(&json!([meeting("daily")]), &pipe);
        for word in ["recorderMinutes", "2700", "2026-03-02T09:00:00Z"] {
            assert!(shown.contains(word), "{shown}");
        }
        assert_eq!(shown.lines().count(), 2, "{shown}");
    }

    #[test]
    fn rows_fit_the_terminal_and_names_stay_whole() {
        let text = "and a text that is longer still";
        let rows = json!([{"name": "Ines", "text": text}, {"name": "Tomasz", "text": text}]);
        assert_eq!(
            render(&rows, &look("UTC", Some(36))),
            "name    text\nInes    and a text that is longer\n        still\n\
             Tomasz  and a text that is longer\n        still\n"
        );
        assert_eq!(
            render(&rows, &look("UTC", Some(26))),
            "Ines\n  text: and a text that is\n    longer still\n\
             Tomasz\n  text: and a text that is\n    longer still\n"
        );
        let name = "standup-1c0f9a44-6f0e-4d0c-9a55-5f2b7be0c3d1";
        let shown = render(&json!([meeting(name)]), &look("UTC", Some(80)));
        assert_eq!(
            shown,
            format!(
                "{name}\n  startDate: 2026-03-02 09:00:00   endDate: 2026-03-02 09:45:00\n  \
                 duration: 45 min   participantCount: 3\n  \
                 id: {name}:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10\n\ntimes are in UTC\n"
            )
        );
        // A long ID moves below the row, so that the rest fits as a table.
        assert_eq!(
            render(&json!([meeting("daily")]), &look("UTC", Some(80))),
            "roomName  startDate            endDate              duration  participantCount\n\
             daily     2026-03-02 09:00:00  2026-03-02 09:45:00  45 min    3\n  \
             id: daily:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10\n\ntimes are in UTC\n"
        );
        // Empty rows are still rows.
        assert_eq!(render(&json!([{"a": null}, {"a": null}]), &look("UTC", Some(80))), "-\n-\n");
        // Tiny widths do not panic.
        for width in [0, 1, 5] {
            assert!(render(&rows, &look("UTC", Some(width))).contains("longer"));
        }
    }

    #[test]
    fn later_rows_are_aligned_with_their_headings() {
        let typical = json!({"name": "a long name", "count": 1, "text": "short"});
        let row = json!({"name": "Ines", "count": 12, "text": "a text that goes on and on"});
        let members = |value: &Value| value.as_object().expect("an object").clone();
        for (width, shown) in [
            (None, "name         count  text\nInes         12     a text that goes on and on\n"),
            (
                Some(40),
                "name         count  text\nInes         12     a text that goes on\n                    and on\n",
            ),
            (
                Some(10),
                "Ines\n  count:\u{20}12\n  text: a\n    text\n    that\n    goes\n    on and\n    on\n",
            ),
        ] {
            let mut rows = Rows::like(&members(&typical), look("UTC", width));
            assert_eq!(rows.heading() + &rows.row(&members(&row)), shown);
        }
    }

    #[test]
    fn a_mixed_array_is_shown_in_full() {
        let mixed = render(&json!([1, "a", {"b": 2}, [3, {"c": 4}]]), &look("UTC", None));
        assert_eq!(mixed, "1\na\n{\"b\":2}\n3, {\"c\":4}\n");
    }
}
