//! Shows values as text, for `print`, `tostring` and `string.format`.
//!
//! Tables are shown as JSON. Values without visible contents have a numbered label such as
//! `function: 3`, because Lua's own form would reveal addresses of this process.

use super::sandbox::{MOST_MESSAGE, beginning};
use super::values::{Marks, as_index, exact_of, type_name};
use mlua::{Lua, Table, Value as LuaValue};
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The maximum length of the text, in bytes. A longer text is truncated.
const MOST_BYTES: usize = 16 * 1024;

/// The maximum nesting depth. A deeper table is shown as a label.
const MAX_DEPTH: usize = 16;

/// Shows values.
#[derive(Clone)]
pub(crate) struct Shows {
    marks: Marks,
    /// The numbers of labels, by value, as a weak table.
    numbers: Table,
    last: Arc<AtomicU64>,
}

impl Shows {
    pub(crate) fn new(lua: &Lua, marks: &Marks) -> mlua::Result<Self> {
        let numbers = lua.create_table()?;
        numbers.set_metatable(Some(lua.create_table_from([("__mode", "k")])?))?;
        Ok(Self { marks: marks.clone(), numbers, last: Arc::default() })
    }

    /// Returns the value as text, or `None` if Lua or its metatable shows it.
    pub(crate) fn text(&self, value: &LuaValue) -> mlua::Result<Option<String>> {
        let says_itself = match value {
            LuaValue::Error(_) => true,
            LuaValue::Table(table) => match table.metatable() {
                Some(meta) => !meta.raw_get::<LuaValue>("__tostring")?.is_nil(),
                None => false,
            },
            _ => false,
        };
        if says_itself {
            return Ok(None);
        }
        if let LuaValue::Table(table) = value
            && table.is_empty()
            && table.metatable().is_none()
        {
            // It may be an array or an object; scripts use the label as its identity.
            return self.label(value).map(Some);
        }
        self.contents(value).map(Some)
    }

    /// Returns the contents of a value, whatever its metatable says.
    fn contents(&self, value: &LuaValue) -> mlua::Result<String> {
        let mut shown = Shown { shows: self, text: String::new(), within: Vec::new() };
        shown.value(value)?;
        let mut text = shown.text;
        if text.len() > MOST_BYTES {
            text.truncate(text.floor_char_boundary(MOST_BYTES));
            text.push('…');
        }
        Ok(text)
    }

    /// Returns the error message for a value that a script raised.
    pub(crate) fn raised(&self, value: &LuaValue) -> mlua::Result<String> {
        Ok(match value {
            LuaValue::String(text) => beginning(text, MOST_MESSAGE),
            LuaValue::Table(table) => match table.raw_get::<LuaValue>("message")? {
                LuaValue::String(text) => beginning(&text, MOST_MESSAGE),
                _ => {
                    let contents = self.contents(value)?;
                    format!("the script raised a table without a message: {contents}")
                }
            },
            LuaValue::Error(error) => error.to_string(),
            LuaValue::Nil => "the script raised nil".into(),
            LuaValue::Number(number) => number.to_string(),
            other => format!("the script raised a {}", type_name(other)),
        })
    }

    fn label(&self, value: &LuaValue) -> mlua::Result<String> {
        let number = match self.numbers.raw_get::<Option<u64>>(value)? {
            Some(number) => number,
            None => {
                let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
                self.numbers.raw_set(value, number)?;
                number
            }
        };
        Ok(format!("{}: {number}", type_name(value)))
    }
}

/// The text of a value so far.
struct Shown<'a> {
    shows: &'a Shows,
    text: String,
    /// The addresses of the enclosing tables.
    within: Vec<*const c_void>,
}

impl Shown<'_> {
    /// Returns how many more bytes fit.
    fn room(&self) -> usize {
        MOST_BYTES.saturating_sub(self.text.len())
    }

    fn value(&mut self, value: &LuaValue) -> mlua::Result<()> {
        match value {
            value if value.is_nil() || value.is_null() => self.text.push_str("null"),
            LuaValue::Boolean(value) => self.text.push_str(&value.to_string()),
            LuaValue::Integer(number) => self.text.push_str(&number.to_string()),
            LuaValue::Number(number) => self.text.push_str(&number.to_string()),
            LuaValue::String(text) => self.quoted(text),
            LuaValue::Table(table) => self.table(table)?,
            LuaValue::Vector(vector) => self.text.push_str(&vector.to_string()),
            other => match exact_of(other) {
                Some(number) => self.text.push_str(&number.to_string()),
                None => self.text.push_str(&self.shows.label(other)?),
            },
        }
        Ok(())
    }

    fn quoted(&mut self, text: &mlua::LuaString) {
        let bytes = text.as_bytes();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(self.room() + 4)]);
        self.text.push_str(&serde_json::Value::from(text).to_string());
    }

    fn table(&mut self, table: &Table) -> mlua::Result<()> {
        let address = table.to_pointer();
        if self.within.contains(&address) || self.within.len() == MAX_DEPTH {
            let label = self.shows.label(&LuaValue::Table(table.clone()))?;
            self.text.push_str(&label);
            return Ok(());
        }
        self.within.push(address);
        let length = table.raw_len();
        let is_object = table.metatable().is_some_and(|mark| mark == self.shows.marks.object);
        // Every item needs at least a byte of the remaining room.
        let mut keys = table.pairs::<LuaValue, LuaValue>().take(self.room() + 1);
        let is_item = |key: &LuaValue| as_index(key).is_some_and(|index| index <= length);
        if !is_object && keys.all(|pair| pair.is_ok_and(|(key, _)| is_item(&key))) {
            self.items(table, length)?;
        } else {
            self.members(table)?;
        }
        self.within.pop();
        Ok(())
    }

    fn items(&mut self, table: &Table, length: usize) -> mlua::Result<()> {
        self.text.push('[');
        for index in 1..=length {
            if self.room() == 0 {
                break;
            }
            if index > 1 {
                self.text.push(',');
            }
            self.value(&table.raw_get(index)?)?;
        }
        self.text.push(']');
        Ok(())
    }

    fn members(&mut self, table: &Table) -> mlua::Result<()> {
        let mut members: Vec<(String, LuaValue)> = Vec::new();
        let mut named = 0;
        for pair in table.pairs::<LuaValue, LuaValue>().take(self.room()) {
            // The names of more members than there is room for are not copied.
            if named > MOST_BYTES {
                break;
            }
            let (key, value) = pair?;
            let mut name = Shown { shows: self.shows, text: String::new(), within: Vec::new() };
            match &key {
                LuaValue::String(text) => name.quoted(text),
                LuaValue::Table(_) => name.text = format!("[{}]", self.shows.label(&key)?),
                key => {
                    name.value(key)?;
                    name.text = format!("[{}]", name.text);
                }
            }
            named += name.text.len();
            members.push((name.text, value));
        }
        if let Some(names) = self.shows.marks.nulls_of(table)? {
            for name in names.sequence_values::<mlua::LuaString>().take(self.room()) {
                let name = name?;
                if table.raw_get::<LuaValue>(&name)?.is_nil() {
                    let quoted = serde_json::Value::from(name.to_string_lossy()).to_string();
                    members.push((quoted, LuaValue::NULL));
                }
            }
        }
        // Lua's order changes from run to run.
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.text.push('{');
        for (index, (name, value)) in members.iter().enumerate() {
            if self.room() == 0 {
                break;
            }
            if index > 0 {
                self.text.push(',');
            }
            self.text.push_str(name);
            self.text.push(':');
            self.value(value)?;
        }
        self.text.push('}');
        Ok(())
    }
}
