//! Converts Lua values to JSON.

use super::memory::{Memory, not_enough};
use super::values::{MAX_EXACT, Marks, Size, as_index, exact_of, type_name};
use mlua::{Lua, Table, Value as LuaValue};
use serde_json::{Map, Number, Value};
use std::ffi::c_void;
use whereby_authority::text;

/// The maximum nesting depth of values.
const MAX_DEPTH: usize = 64;

impl Marks {
    /// Converts Lua values to JSON of at most `most_bytes` together. Errors call the values `name`. The
    /// JSON in the host must fit into the script's remaining memory.
    pub(crate) fn to_json(
        &self,
        lua: &Lua,
        memory: &Memory,
        values: &[LuaValue],
        name: &str,
        most_bytes: usize,
    ) -> mlua::Result<Result<Taken, String>> {
        let mut is_again = false;
        loop {
            let mut walk = Walk {
                marks: self,
                path: Vec::new(),
                within: Vec::new(),
                left: most_bytes,
                room: memory.left(lua),
                held: 0,
            };
            let walked = values.iter().map(|value| walk.value(value)).collect();
            return Ok(match walked {
                Ok(values) => Ok(Taken { values, held: walk.held }),
                // A garbage collection may free enough memory.
                Err(Problem::NoRoom) if !is_again => {
                    lua.gc_collect()?;
                    is_again = true;
                    continue;
                }
                Err(Problem::NoRoom) => return Err(not_enough()),
                Err(Problem::TooLarge) => {
                    Err(format!("{name} is too large: at most {most_bytes} bytes as JSON"))
                }
                Err(Problem::Wrong(what)) => Err(format!("{}{} {what}", name, walk.shown_path())),
            });
        }
    }
}

/// A script's values as JSON.
pub(crate) struct Taken {
    pub(crate) values: Vec<Value>,
    /// The bytes that the values need in the host, including their text.
    pub(crate) held: usize,
}

impl Taken {
    /// Returns the only value.
    pub(crate) fn only(mut self) -> Value {
        self.values.pop().unwrap_or_default()
    }
}

/// Why a value cannot be converted to JSON.
enum Problem {
    TooLarge,
    /// There is not enough memory.
    NoRoom,
    /// JSON cannot represent the value at the path, for this reason.
    Wrong(String),
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Wrong(what.into()))
}

enum Step {
    Member(String),
    Item(usize),
}

/// Converts values to JSON.
struct Walk<'a> {
    marks: &'a Marks,
    path: Vec<Step>,
    /// The addresses of the enclosing tables.
    within: Vec<*const c_void>,
    left: usize,
    /// The maximum for `held`.
    room: usize,
    /// The bytes that the JSON needs in the host.
    held: usize,
}

impl Walk<'_> {
    fn shown_path(&self) -> String {
        let mut shown = String::new();
        for step in &self.path {
            match step {
                Step::Item(index) => shown.push_str(&format!("[{index}]")),
                Step::Member(name) => shown.push_str(&format!(".{}", text::printable(name, 60))),
            }
        }
        shown
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Problem> {
        self.left = self.left.checked_sub(bytes).ok_or(Problem::TooLarge)?;
        Ok(())
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Problem> {
        self.held += bytes;
        if self.held > self.room { Err(Problem::NoRoom) } else { Ok(()) }
    }

    fn value(&mut self, value: &LuaValue) -> Result<Value, Problem> {
        self.spend(4)?;
        // The value's text or brackets, with indentation. The container has counted the rest.
        self.hold(8 + 2 * self.within.len())?;
        match value {
            value if value.is_nil() || value.is_null() => Ok(Value::Null),
            LuaValue::Boolean(value) => Ok(Value::Bool(*value)),
            LuaValue::Integer(number) => Ok(Value::from(*number)),
            LuaValue::Number(number) => {
                self.hold(48)?;
                self.number(*number)
            }
            LuaValue::String(text) => Ok(Value::String(self.text(text)?)),
            LuaValue::Table(table) => self.table(table),
            other => match exact_of(other) {
                Some(number) => Ok(Value::Number(number)),
                None => wrong(format!("is a {}, which JSON cannot represent", type_name(other))),
            },
        }
    }

    fn number(&mut self, number: f64) -> Result<Value, Problem> {
        if number.fract() == 0.0 && number.abs() <= MAX_EXACT as f64 {
            return Ok(Value::from(number as i64));
        }
        match Number::from_f64(number) {
            Some(number) => Ok(Value::Number(number)),
            None => wrong(format!(
                "is {}, which JSON cannot represent",
                if number.is_nan() { "not a number (nan)" } else { "infinite" }
            )),
        }
    }

    fn text(&mut self, text: &mlua::LuaString) -> Result<String, Problem> {
        let bytes = text.as_bytes();
        self.spend(bytes.len())?;
        let escaped = bytes.iter().map(|byte| if *byte < b' ' { 6 } else { 2 }).sum::<usize>();
        self.hold(bytes.len() + 2 * escaped)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => wrong(format!(
                "is not UTF-8: byte {} is 0x{:02x}",
                error.valid_up_to() + 1,
                bytes.get(error.valid_up_to()).copied().unwrap_or_default()
            )),
        }
    }

    fn table(&mut self, table: &Table) -> Result<Value, Problem> {
        let address = table.to_pointer();
        if self.within.contains(&address) {
            return wrong("contains itself");
        }
        if self.within.len() == MAX_DEPTH {
            return wrong(format!("is nested more than {MAX_DEPTH} levels deep"));
        }
        self.within.push(address);
        let mark = table.metatable();
        let is = |known: &Table| mark.as_ref().is_some_and(|mark| mark == known);
        let (is_array, is_object) = (is(&self.marks.array), is(&self.marks.object));
        let items = table.raw_len();
        let value = if !is_object && table.is_empty() {
            // An unmarked empty table is more often an array.
            Value::Array(Vec::new())
        } else if items > 0 && !is_object {
            self.array(table, items)?
        } else {
            self.object(table, is_array)?
        };
        self.within.pop();
        Ok(value)
    }

    fn array(&mut self, table: &Table, length: usize) -> Result<Value, Problem> {
        self.hold(length.saturating_mul(Size::HOST_VALUE))?;
        let mut items = Vec::with_capacity(length);
        for index in 1..=length {
            let item: LuaValue = table.raw_get(index).map_err(|_| Problem::TooLarge)?;
            self.path.push(Step::Item(index));
            if item.is_nil() {
                return wrong("is nil, and an array cannot have gaps; use json.null");
            }
            items.push(self.value(&item)?);
            self.path.pop();
        }
        // Other keys would be lost.
        for pair in table.pairs::<LuaValue, LuaValue>() {
            let (key, _) = pair.map_err(|_| Problem::TooLarge)?;
            if as_index(&key).is_none_or(|index| index > length) {
                return wrong(not_an_item(&key));
            }
        }
        Ok(Value::Array(items))
    }

    fn object(&mut self, table: &Table, is_array: bool) -> Result<Value, Problem> {
        let mut object = Map::new();
        self.hold(Size::HOST_MAP)?;
        for pair in table.pairs::<LuaValue, LuaValue>() {
            self.hold(Size::HOST_MEMBER)?;
            let (key, value) = pair.map_err(|_| Problem::TooLarge)?;
            let name = match &key {
                LuaValue::String(_) if is_array => return wrong(not_an_item(&key)),
                LuaValue::String(name) => self.text(name)?,
                key => match as_index(key) {
                    Some(index) if is_array || object.is_empty() => {
                        return wrong(format!(
                            "has an item {index} but none before it; an array cannot have gaps"
                        ));
                    }
                    Some(_) => return wrong(MIXED),
                    None => {
                        return wrong(format!(
                            "has a {} as a key; the keys of an object must be strings",
                            type_name(key)
                        ));
                    }
                },
            };
            self.path.push(Step::Member(name.clone()));
            let value = self.value(&value)?;
            self.path.pop();
            object.insert(name, value);
        }
        if let Some(names) = self.marks.nulls_of(table).map_err(|_| Problem::TooLarge)? {
            for name in names.sequence_values::<mlua::LuaString>() {
                let name = self.text(&name.map_err(|_| Problem::TooLarge)?)?;
                self.spend(4)?;
                self.hold(Size::HOST_MEMBER)?;
                object.entry(name).or_insert(Value::Null);
            }
        }
        // Lua's order changes from run to run.
        object.sort_keys();
        Ok(Value::Object(object))
    }
}

const MIXED: &str = "has both items and named members; use a table for each";

fn not_an_item(key: &LuaValue) -> String {
    match as_index(key) {
        Some(index) => {
            format!("has an item {index} but not all before it; an array cannot have gaps")
        }
        None if key.is_string() => MIXED.into(),
        None => format!("has a {} as a key; an array has only items", type_name(key)),
    }
}
