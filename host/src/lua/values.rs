//! Converts JSON to Lua values and back.
//!
//! Arrays and objects are both tables. The host marks its tables, so that an empty one keeps its type;
//! `app.array` and `app.object` mark a script's tables. A value that JSON cannot represent is an error,
//! with the path of the value.
//!
//! A null item of an array is `json.null`, which is not nil, so that the array has no gaps. A null
//! member of an object reads as nil. `json.decode` remembers it beside the table, so that encoding the
//! table restores the null. An integer that a Lua number cannot hold exactly is an [`Exact`].

use super::memory::Memory;
use mlua::{
    IntoLua, Lua, MetaMethod, Table, UserData, UserDataFields, UserDataMethods, UserDataRef,
    Value as LuaValue,
};
use serde_json::{Map, Number, Value};
use std::ffi::c_void;
use whereby_authority::text;
use whereby_catalog::{Function, Type};

/// The maximum nesting depth of values.
const MAX_DEPTH: usize = 64;

/// The largest magnitude up to which a Lua number holds every integer exactly.
const MAX_EXACT: u64 = 1 << 53;

/// The metatables that mark arrays and objects.
#[derive(Clone)]
pub(crate) struct Marks {
    pub(crate) array: Table,
    pub(crate) object: Table,
    /// The names of null members, by object.
    nulls: Table,
}

/// An integer beyond 2^53, which a Lua number cannot hold exactly. It can be shown, compared,
/// concatenated and encoded, but has no arithmetic.
pub(crate) struct Exact(pub(crate) Number);

impl UserData for Exact {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field(MetaMethod::Type, "integer");
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.0.to_string()));
        methods.add_meta_method(MetaMethod::Eq, |_, this, other: UserDataRef<Self>| {
            Ok(this.0 == other.0)
        });
        methods.add_meta_function(
            MetaMethod::Concat,
            |lua, (left, right): (LuaValue, LuaValue)| {
                let text = |value: LuaValue| match exact_of(&value) {
                    Some(number) => lua.create_string(number.to_string()).map(Some),
                    None => lua.coerce_string(value),
                };
                match (text(left)?, text(right)?) {
                    (Some(left), Some(right)) => {
                        lua.create_string([&*left.as_bytes(), &right.as_bytes()].concat())
                    }
                    _ => Err(mlua::Error::runtime(
                        "an integer can be joined only with strings and numbers",
                    )),
                }
            },
        );
    }
}

/// Returns the number of an [`Exact`].
pub(crate) fn exact_of(value: &LuaValue) -> Option<Number> {
    value.as_userdata()?.borrow::<Exact>().ok().map(|exact| exact.0.clone())
}

/// Returns a number as a Lua value, without loss.
pub(crate) fn exact(lua: &Lua, number: &Number) -> mlua::Result<LuaValue> {
    if needs_exact(number) {
        lua.create_userdata(Exact(number.clone())).map(LuaValue::UserData)
    } else {
        Ok(LuaValue::Number(number.as_f64().unwrap_or(f64::NAN)))
    }
}

/// Returns whether a number is an integer that a Lua number cannot hold exactly.
fn needs_exact(number: &Number) -> bool {
    let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    magnitude.is_some_and(|magnitude| magnitude > MAX_EXACT)
}

impl Marks {
    pub(crate) fn new(lua: &Lua) -> mlua::Result<Self> {
        let mark = |name: &str| -> mlua::Result<Table> {
            let table = lua.create_table()?;
            // `getmetatable` returns this name, and `setmetatable` fails.
            table.raw_set("__metatable", name)?;
            table.set_readonly(true);
            Ok(table)
        };
        let nulls = lua.create_table()?;
        nulls.set_metatable(Some(lua.create_table_from([("__mode", "k")])?))?;
        // Creates the metatable before the memory limit is set.
        lua.create_userdata(Exact(0.into()))?;
        Ok(Self { array: mark("array")?, object: mark("object")?, nulls })
    }

    /// Returns the names of the members that were null when the object was decoded.
    pub(crate) fn nulls_of(&self, object: &Table) -> mlua::Result<Option<Table>> {
        self.nulls.raw_get(object)
    }

    pub(crate) fn remember_nulls(&self, object: &Table, names: Table) -> mlua::Result<()> {
        self.nulls.raw_set(object, names)
    }

    /// Marks a script's table, or a new one for nil.
    pub(crate) fn mark(
        &self,
        lua: &Lua,
        value: LuaValue,
        is_array: bool,
    ) -> mlua::Result<Result<Table, String>> {
        let table = match value {
            LuaValue::Nil => lua.create_table()?,
            LuaValue::Table(table) => table,
            other => return Ok(Err(format!("takes a table, not a {}", type_name(&other)))),
        };
        let known = |meta: Table| meta == self.array || meta == self.object;
        if table.is_readonly() || !table.metatable().is_none_or(known) {
            return Ok(Err("takes a table that is not frozen and has no metatable".into()));
        }
        let mark = if is_array { &self.array } else { &self.object };
        table.set_metatable(Some(mark.clone()))?;
        Ok(Ok(table))
    }

    /// Converts a JSON value to Lua. Null becomes nil, or `json.null` in an array. Null members are
    /// omitted.
    pub(crate) fn to_lua(
        &self,
        lua: &Lua,
        memory: &Memory,
        value: &Value,
    ) -> mlua::Result<LuaValue> {
        memory.require(lua, Size::of(value))?;
        memory.unguarded(lua, || self.make(lua, value))
    }

    fn make(&self, lua: &Lua, value: &Value) -> mlua::Result<LuaValue> {
        Ok(match value {
            Value::Null => LuaValue::Nil,
            Value::Bool(value) => LuaValue::Boolean(*value),
            Value::Number(number) => exact(lua, number)?,
            Value::String(text) => LuaValue::String(lua.create_string(text)?),
            Value::Array(items) => {
                let table = lua.create_table_with_capacity(items.len(), 0)?;
                for (index, item) in items.iter().enumerate() {
                    match item {
                        Value::Null => table.raw_set(index + 1, LuaValue::NULL)?,
                        item => self.put(lua, &table, index + 1, item)?,
                    }
                }
                table.set_metatable(Some(self.array.clone()))?;
                LuaValue::Table(table)
            }
            Value::Object(object) => {
                let table = lua.create_table_with_capacity(0, object.len())?;
                for (name, item) in object.iter().filter(|(_, item)| !item.is_null()) {
                    self.put(lua, &table, name.as_str(), item)?;
                }
                table.set_metatable(Some(self.object.clone()))?;
                LuaValue::Table(table)
            }
        })
    }

    /// Puts a value into a table. Avoids a Lua handle for simple values, because handles are slow.
    fn put(&self, lua: &Lua, table: &Table, key: impl IntoLua, value: &Value) -> mlua::Result<()> {
        match value {
            Value::String(text) => table.raw_set(key, text.as_str()),
            Value::Bool(value) => table.raw_set(key, *value),
            other => table.raw_set(key, self.make(lua, other)?),
        }
    }

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
                Err(Problem::NoRoom) => return Err(super::memory::not_enough()),
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

/// Upper bounds for the size of values in Lua and in the host, in bytes.
pub(crate) struct Size;

impl Size {
    pub(crate) const TABLE: usize = 96;
    pub(crate) const ITEM: usize = 16;
    pub(crate) const MEMBER: usize = 32;
    /// A string without its bytes.
    const TEXT: usize = 48;
    const EXACT: usize = 128;
    /// A null member: its own entry, and the table beside the object.
    pub(crate) const NULL: usize = Self::TABLE + 256 + 32;

    pub(crate) fn of_number(number: &Number) -> usize {
        if needs_exact(number) { Self::EXACT } else { 0 }
    }

    pub(crate) fn of_text(text: &str) -> usize {
        Self::TEXT + text.len()
    }

    fn of(value: &Value) -> usize {
        match value {
            Value::Null | Value::Bool(_) => 0,
            Value::Number(number) => Self::of_number(number),
            Value::String(text) => Self::of_text(text),
            Value::Array(items) => {
                let all = items.iter().map(Self::of).sum::<usize>();
                Self::TABLE + Self::ITEM * items.len() + all
            }
            Value::Object(object) => {
                let members =
                    object.iter().map(|(name, item)| Self::of_text(name) + Self::of(item));
                let places = Self::MEMBER * object.len().next_power_of_two();
                Self::TABLE + places + members.sum::<usize>()
            }
        }
    }

    /// A JSON value in the host; also an item of an array.
    const HOST_VALUE: usize = size_of::<Value>();
    /// A member in the host, with the spare capacity of a map that has grown.
    const HOST_MEMBER: usize = 3 * (Self::HOST_VALUE + size_of::<String>() + 8) + 32;
    /// A map in the host with its first entries.
    const HOST_MAP: usize = 256;

    /// Returns how many bytes a JSON value needs in the host.
    pub(crate) fn in_host(value: &Value) -> usize {
        Self::HOST_VALUE
            + match value {
                Value::String(text) => text.capacity(),
                Value::Array(items) => {
                    let spare = items.capacity() - items.len();
                    spare * Self::HOST_VALUE + items.iter().map(Self::in_host).sum::<usize>()
                }
                Value::Object(object) => {
                    let members = object
                        .iter()
                        .map(|(name, item)| Self::HOST_MEMBER + name.len() + Self::in_host(item));
                    Self::HOST_MAP + members.sum::<usize>()
                }
                _ => 0,
            }
    }
}

/// Converts empty tables in arguments to the type of their parameter: an array or an object.
pub(crate) fn fit_arguments(function: &Function, arguments: &mut Value) {
    match arguments {
        Value::Array(items) if items.is_empty() => *arguments = Value::Object(Map::new()),
        Value::Object(members) => {
            for (name, value) in members {
                if let Some(param) = function.params.iter().find(|param| param.json == name) {
                    fit(&param.ty, value);
                }
            }
        }
        _ => {}
    }
}

fn fit(ty: &Type, value: &mut Value) {
    let is_empty = matches!(&*value, Value::Array(items) if items.is_empty());
    match (ty, value) {
        (Type::Option(inner), value) => fit(inner, value),
        (Type::List(inner), Value::Array(items)) => {
            items.iter_mut().for_each(|item| fit(inner, item));
        }
        (Type::Record(_) | Type::Variant(_), value) if is_empty => {
            *value = Value::Object(Map::new());
        }
        (Type::Record(record), Value::Object(members)) => {
            for (name, value) in members {
                if let Some(member) = record.members.iter().find(|member| member.json == name) {
                    fit(&member.ty, value);
                }
            }
        }
        (Type::Variant(variant), Value::Object(members)) => {
            for (name, value) in members {
                let case = variant.cases.iter().find(|case| case.json == name);
                if let Some(payload) = case.and_then(|case| case.payload.as_ref()) {
                    fit(payload, value);
                }
            }
        }
        _ => {}
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

pub(crate) fn as_index(key: &LuaValue) -> Option<usize> {
    match key {
        LuaValue::Integer(index) => usize::try_from(*index).ok().filter(|index| *index > 0),
        LuaValue::Number(index) if index.fract() == 0.0 && (1.0..=1e15).contains(index) => {
            Some(*index as usize)
        }
        _ => None,
    }
}

/// Returns Lua's name for the type of a value.
pub(crate) fn type_name(value: &LuaValue) -> &'static str {
    match value {
        LuaValue::Integer(_) => "number",
        LuaValue::Error(_) | LuaValue::LightUserData(_) => "userdata",
        other => other.type_name(),
    }
}
