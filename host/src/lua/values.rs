//! JSON to Lua and back.
//!
//! A list and an object are both tables. Those that come from the host are marked, so that an empty
//! one is what it was; `app.array` and `app.object` mark a script's own. What has no form in JSON is
//! an error that names the place.
//!
//! A null item of a list is `json.null`, a value that is not nil, so that the list has no holes. A
//! null member of an object reads as nil. `json.decode` remembers it beside the table, so that
//! encoding the table gives the null back. A whole number that a Lua number does not hold is an
//! [`Exact`].

use super::memory::Memory;
use mlua::{
    IntoLua, Lua, MetaMethod, Table, UserData, UserDataFields, UserDataMethods, UserDataRef,
    Value as LuaValue,
};
use serde_json::{Map, Number, Value};
use std::ffi::c_void;
use whereby_authority::text;
use whereby_catalog::{Function, Type};

/// How deep values may be within each other.
const MAX_DEPTH: usize = 64;

/// The whole numbers that a Lua number holds exactly, and no others, are up to this.
const MAX_EXACT: u64 = 1 << 53;

/// The metatables that say what a table is.
#[derive(Clone)]
pub(crate) struct Marks {
    pub(crate) array: Table,
    pub(crate) object: Table,
    /// The names of the members that were null, by object.
    nulls: Table,
}

/// An integer beyond 2^53, which a Lua number cannot hold exactly. It can be shown, compared, joined with
/// text and encoded, but has no arithmetic.
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
                    _ => Err(mlua::Error::runtime("an integer is joined with text and numbers")),
                }
            },
        );
    }
}

/// Returns the number of an [`Exact`].
pub(crate) fn exact_of(value: &LuaValue) -> Option<Number> {
    value.as_userdata()?.borrow::<Exact>().ok().map(|exact| exact.0.clone())
}

/// Returns a number in Lua, exactly.
pub(crate) fn exact(lua: &Lua, number: &Number) -> mlua::Result<LuaValue> {
    match is_exact(number) {
        true => lua.create_userdata(Exact(number.clone())).map(LuaValue::UserData),
        false => Ok(LuaValue::Number(number.as_f64().unwrap_or(f64::NAN))),
    }
}

/// Whether a Lua number cannot hold it exactly.
fn is_exact(number: &Number) -> bool {
    let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    magnitude.is_some_and(|magnitude| magnitude > MAX_EXACT)
}

impl Marks {
    pub(crate) fn new(lua: &Lua) -> mlua::Result<Self> {
        let mark = |name: &str| -> mlua::Result<Table> {
            let table = lua.create_table()?;
            // What `getmetatable` shows; `setmetatable` then changes nothing.
            table.raw_set("__metatable", name)?;
            table.set_readonly(true);
            Ok(table)
        };
        let nulls = lua.create_table()?;
        nulls.set_metatable(Some(lua.create_table_from([("__mode", "k")])?))?;
        // Creates the metatable, which counts before the limit begins.
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

    /// Marks a table of a script's own, or a new one.
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

    /// Returns a JSON value in Lua. Null is nil, but as an item of a list. Null members are left out.
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

    /// Puts a value into a table. What is no table goes there without a handle of its own, which would
    /// take longer than the value.
    fn put(&self, lua: &Lua, table: &Table, key: impl IntoLua, value: &Value) -> mlua::Result<()> {
        match value {
            Value::String(text) => table.raw_set(key, text.as_str()),
            Value::Bool(value) => table.raw_set(key, *value),
            other => table.raw_set(key, self.make(lua, other)?),
        }
    }

    /// Lua values as JSON, which may have so many bytes together. `name` is what they are called in
    /// errors. For the JSON in the host there must be room in the memory of the script.
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
                // Collecting garbage may make room.
                Err(Problem::NoRoom) if !is_again => {
                    lua.gc_collect()?;
                    is_again = true;
                    continue;
                }
                Err(Problem::NoRoom) => return Err(super::memory::not_enough()),
                Err(Problem::TooLarge) => Err(format!(
                    "{name} is too large: at most {most_bytes} bytes as JSON are taken"
                )),
                Err(Problem::Wrong(what)) => Err(format!("{}{} {what}", name, walk.shown_path())),
            });
        }
    }
}

/// JSON that was made of a script's values.
pub(crate) struct Taken {
    pub(crate) values: Vec<Value>,
    /// How many bytes it takes in the host, and to write it as text.
    pub(crate) held: usize,
}

impl Taken {
    /// The one value that it was made of.
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
        if is_exact(number) { Self::EXACT } else { 0 }
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

    /// A JSON value in the host; also an item of a list.
    const HOST_VALUE: usize = size_of::<Value>();
    /// A member in the host, with the spare capacity of a map that has grown.
    const HOST_MEMBER: usize = 3 * (Self::HOST_VALUE + size_of::<String>() + 8) + 32;
    /// A map in the host with its first entries.
    const HOST_MAP: usize = 256;

    /// Returns how many bytes a JSON value takes in the host.
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

/// Arguments as a function's parameters want them: `{}` is an empty list where a list is wanted, and
/// an empty object elsewhere.
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

/// Why a value is not to be had as JSON.
enum Problem {
    TooLarge,
    /// There is not enough memory for it.
    NoRoom,
    /// What is wrong with the value at the path.
    Wrong(String),
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Wrong(what.into()))
}

enum Step {
    Member(String),
    Item(usize),
}

/// A walk over a value.
struct Walk<'a> {
    marks: &'a Marks,
    path: Vec<Step>,
    /// The tables that the walk is within, by address.
    within: Vec<*const c_void>,
    left: usize,
    /// How many bytes there may be in the host, and how many there are.
    room: usize,
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
        // Its text or brackets with indentation. Its container has counted the value itself.
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
                None => wrong(format!("is a {}, which has no form in JSON", type_name(other))),
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
                "is {}, which has no form in JSON",
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
                "is no UTF-8: byte {} is 0x{:02x}",
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
            return wrong(format!("is more than {MAX_DEPTH} deep"));
        }
        self.within.push(address);
        let mark = table.metatable();
        let is = |known: &Table| mark.as_ref().is_some_and(|mark| mark == known);
        let (is_array, is_object) = (is(&self.marks.array), is(&self.marks.object));
        let items = table.raw_len();
        let value = if !is_object && table.is_empty() {
            // A script's own empty table is a list more often than not.
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
                return wrong("is missing, and a list has no holes; json.null fills one");
            }
            items.push(self.value(&item)?);
            self.path.pop();
        }
        // What is not an item would be lost.
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
                            "has an item {index} and none before it; a list has no holes"
                        ));
                    }
                    Some(_) => return wrong(MIXED),
                    None => {
                        return wrong(format!(
                            "has a {} as a key; the keys of an object are texts",
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

const MIXED: &str = "has both items and named members; it is a list or an object, not both";

fn not_an_item(key: &LuaValue) -> String {
    match as_index(key) {
        Some(index) => format!("has an item {index} and not all before it; a list has no holes"),
        None if key.is_string() => MIXED.into(),
        None => format!("has a {} as a key; a list has items alone", type_name(key)),
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

/// What Lua calls the type of a value.
pub(crate) fn type_name(value: &LuaValue) -> &'static str {
    match value {
        LuaValue::Integer(_) => "number",
        LuaValue::Error(_) | LuaValue::LightUserData(_) => "userdata",
        other => other.type_name(),
    }
}
