//! Results as people read them: tables that fit the terminal, and dates in their own time zone.

use super::paint::{Role, paint, wants_colours};
use super::streams::Streams;
use crate::environment::Environment;
use crate::text;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

/// The longest text that is shown in a place, in characters.
const LONGEST: usize = 2000;

/// How results are to look.
pub(super) struct Look {
    /// How wide lines may be; as wide as they like where nothing limits them.
    pub(super) width: Option<u16>,
    pub(super) colours: bool,
    /// In which time zone dates are shown; as they came where nobody reads them.
    zone: Option<TimeZone>,
}

impl Look {
    pub(super) fn new(environment: &Environment, streams: &Streams) -> Self {
        let person = streams.stdout_is_terminal;
        // A zone that is not known is UTC, as everywhere else on such a machine. To look for one is
        // to go through the folders of all.
        let zone = || {
            let named = environment.variable("TZ").map(|name| name.trim_start_matches(':'));
            let zone = match named {
                Some(name) => TimeZone::get(name).or_else(|_| TimeZone::posix(name)),
                None => Ok(TimeZone::system()),
            };
            zone.unwrap_or(TimeZone::UTC)
        };
        Self {
            width: streams.width.filter(|_| person),
            colours: person && wants_colours(environment),
            zone: person.then(zone),
        }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        match self.width {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width)
            }
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        table
    }

    fn scalar(&self, value: &Value) -> String {
        match value {
            Value::Null => "-".into(),
            Value::Bool(true) => "yes".into(),
            Value::Bool(false) => "no".into(),
            Value::String(value) => match self.local_time(value) {
                Some(time) => time,
                None => text::printable(value, LONGEST),
            },
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.scalar(item)).collect();
                // Sentences follow one another; anything else is a list.
                let sentences = items.iter().all(|item| item.ends_with('.'));
                items.join(if sentences { " " } else { ", " })
            }
            other => text::printable(&other.to_string(), LONGEST),
        }
    }

    /// A date of RFC 3339 in the user's time zone; `None` where the text is something else.
    fn local_time(&self, text: &str) -> Option<String> {
        let looks_like_one = (20..=40).contains(&text.len()) && text.as_bytes()[10] == b'T';
        let moment: Timestamp = text.parse().ok().filter(|_| looks_like_one)?;
        Some(moment.to_zoned(self.zone.clone()?).strftime("%Y-%m-%d %H:%M:%S%:z").to_string())
    }
}

/// A JSON value as text for a terminal. Whatever came from outside is made printable.
pub(super) fn render(value: &Value, look: &Look) -> String {
    match value {
        Value::Object(object) => render_object(object, look),
        Value::Array(items) => render_list(items, look),
        other => look.scalar(other) + "\n",
    }
}

fn render_object(object: &Map<String, Value>, look: &Look) -> String {
    let is_list =
        |value: &Value| matches!(value, Value::Array(items) if items.iter().any(Value::is_object));
    let mut lines = look.table();
    let mut lists = Vec::new();
    for (name, value) in object {
        let shown = text::printable(name, 80);
        match value {
            Value::Array(items) if is_list(value) => lists.push((shown, items)),
            Value::Array(items) if items.is_empty() => drop(lines.add_row([shown, "none".into()])),
            Value::Object(inner) => {
                // What a page does not have is not worth a line.
                for (key, value) in inner.iter().filter(|(_, value)| !value.is_null()) {
                    let key = text::printable(key, 80);
                    lines.add_row([format!("{shown}.{key}"), look.scalar(value)]);
                }
            }
            value => drop(lines.add_row([shown, look.scalar(value)])),
        }
    }
    let lines = trimmed(&lines);
    // The one list of a page is what was asked for, so it goes first and needs no name.
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

/// A table of the items' members; a column that is empty throughout is left out.
fn render_list(items: &[Value], look: &Look) -> String {
    let objects = || items.iter().filter_map(Value::as_object);
    let mut columns: Vec<&str> = Vec::new();
    for name in objects().flat_map(Map::keys) {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    // In their order, whatever the first item has.
    columns.retain(|name| objects().any(|item| item.get(*name).is_some_and(|v| !v.is_null())));
    // What is no table throughout would lose something as one.
    if columns.is_empty() || !items.iter().all(Value::is_object) {
        return items.iter().map(|item| look.scalar(item) + "\n").collect();
    }
    let mut table = look.table();
    table.set_header(columns.iter().map(|name| text::printable(name, 40)));
    // An id is there to be copied, so others make room for it.
    for (column, name) in columns.iter().enumerate() {
        if (*name == "id" || name.ends_with("Id"))
            && let Some(column) = table.column_mut(column)
        {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    for item in items {
        table.add_row(columns.iter().map(|name| look.scalar(&item[*name])));
    }
    let rendered = trimmed(&table);
    match rendered.split_once('\n') {
        Some((heading, rows)) => {
            format!("{}\n{rows}", paint(look.colours, Role::Heading, heading))
        }
        None => rendered,
    }
}

/// The table without the padding around it.
fn trimmed(table: &Table) -> String {
    table
        .lines()
        .map(|line| line.trim_end().strip_prefix(' ').unwrap_or("").to_owned() + "\n")
        .collect()
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
    fn dates_are_shown_in_the_user_s_time_zone() {
        let zone = look("XYZ-2", None);
        for (text, shown) in [
            ("2026-03-02T09:00:10.250Z", "2026-03-02 11:00:10+02:00"),
            ("2026-03-02T23:30:00+00:00", "2026-03-03 01:30:00+02:00"),
            ("2026-03-02", "2026-03-02"),
            ("not a date, but as long", "not a date, but as long"),
            ("standup-T09:00:00Z-and-more", "standup-T09:00:00Z-and-more"),
        ] {
            assert_eq!(zone.scalar(&json!(text)), shown);
        }
        assert_eq!(
            look("Nowhere/At/All", None).scalar(&json!("2026-03-02T09:00:00Z")),
            "2026-03-02 09:00:00+00:00"
        );
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let row =
            json!({"name": "a name of several words", "text": "and a text that is longer still"});
        let rows = json!([row, row]);
        let fits = |width: u16| {
            let table = render(&rows, &look("UTC", Some(width)));
            table.lines().all(|line| line.chars().count() <= usize::from(width))
        };
        assert!(fits(40) && fits(30));
        assert!(render(&rows, &look("UTC", None)).lines().any(|line| line.len() > 50));
        let id = "52e340a879fb43c4364b3d7fa3ea1a3b";
        let rows = json!([{"id": id, "text": "and a text that is longer than the rest of a line"}]);
        assert!(render(&rows, &look("UTC", Some(60))).contains(id));
    }

    #[test]
    fn what_is_no_table_loses_nothing() {
        let mixed = render(&json!([1, "a", {"b": 2}, [3, {"c": 4}]]), &look("UTC", None));
        assert_eq!(mixed, "1\na\n{\"b\":2}\n3, {\"c\":4}\n");
    }
}
