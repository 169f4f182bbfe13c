//! Represents JSON values in Lua. [`decode`](super::decode) and [`encode`](super::encode)
//! convert them.
//!
//! Arrays and objects are both tables. The host marks its tables, so that an empty one keeps its type;
//! `app.array` and `app.object` mark a script's tables. A value that JSON cannot represent is an error,
//! with the path of the value.
//!
//! A null item of an array is `json.null`, which is not nil, so that the array has no gaps. A null
//! member of an object reads as nil. `json.decode` remembers it beside the table, so that encoding the
//! table restores the null. An integer that a Lua number cannot hold exactly is an [`Exact`].

use mlua::{
    Lua, MetaMethod, Table, UserData, UserDataFields, UserDataMethods, UserDataRef,
    Value as LuaValue,
};
use serde_json::{Map, Number, Value};
use whereby_catalog::{Function, Type};

/// The largest magnitude up to which a Lua number holds every integer exactly.
pub(crate) const MAX_EXACT: u64 = 1 << 53;

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

    /// A JSON value in the host; also an item of an array.
    pub(crate) const HOST_VALUE: usize = size_of::<Value>();
    /// A member in the host, with the spare capacity of a map that has grown.
    pub(crate) const HOST_MEMBER: usize = 3 * (Self::HOST_VALUE + size_of::<String>() + 8) + 32;
    /// A map in the host with its first entries.
    pub(crate) const HOST_MAP: usize = 256;

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
