//! Converts JSON to Lua values.
//!
//! JSON is read twice: first to measure the memory that its values need in Lua, then to create them. From
//! text, the host never builds a tree of the values, which would be many times as large.

use super::memory::{Memory, not_enough};
use super::values::{Marks, Size, exact};
use mlua::{IntoLua, Lua, LuaString, Table, Value as LuaValue};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use std::borrow::Cow;
use std::fmt;
use whereby_authority::surrogate;
use whereby_authority::text;

/// The maximum length of JSON, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// The byte order mark.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Returns the value of JSON, or what is wrong with it.
pub(crate) fn decode(
    lua: &Lua,
    marks: &Marks,
    memory: &Memory,
    given: &LuaString,
) -> mlua::Result<Result<LuaValue, String>> {
    let bytes = given.as_bytes();
    if bytes.len() > MAX_BYTES {
        return Ok(Err(format!(
            "json.decode takes at most {MAX_BYTES} bytes, not {}",
            bytes.len()
        )));
    }
    let json = bytes.strip_prefix(MARK).unwrap_or(&bytes);
    // Strings with escapes are copied while they are read.
    memory.require(lua, 2 * json.len())?;
    let mut json = Cow::Borrowed(json);
    let measured = |json: &[u8]| {
        measure(lua, memory, true, |measure| {
            let mut reader = serde_json::Deserializer::from_slice(json);
            measure.deserialize(&mut reader)?;
            reader.end()
        })
    };
    let mut plan = measured(&json)?;
    if plan.is_err()
        && let Some(whole) = surrogate::without_halves(&json)
    {
        json = Cow::Owned(whole);
        plan = measured(&json)?;
    }
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => {
            let shown = text::printable(&error.to_string(), 200);
            return Ok(Err(format!("the string is not JSON: {shown}")));
        }
    };
    make(lua, marks, memory, plan, &mut serde_json::Deserializer::from_slice(&json))
}

impl Marks {
    /// Converts a JSON value to Lua. Null becomes nil, or `json.null` in an array. Null members are
    /// omitted.
    pub(crate) fn to_lua(
        &self,
        lua: &Lua,
        memory: &Memory,
        value: &Value,
    ) -> mlua::Result<LuaValue> {
        let plan = measure(lua, memory, false, |measure| measure.deserialize(value))?;
        let made = make(lua, self, memory, plan.map_err(mlua::Error::external)?, value)?;
        made.map_err(mlua::Error::runtime)
    }
}

/// Measures the values that `read` visits.
fn measure(
    lua: &Lua,
    memory: &Memory,
    is_text: bool,
    read: impl Fn(Measure<'_>) -> serde_json::Result<()>,
) -> mlua::Result<serde_json::Result<Plan>> {
    // A garbage collection may free enough memory.
    for is_again in [false, true] {
        if is_again {
            lua.gc_collect()?;
        }
        let left = memory.left(lua);
        let mut plan = Plan { is_text, bytes: 0, left, lengths: Vec::new(), is_too_large: false };
        let read = read(Measure(&mut plan));
        if !plan.is_too_large {
            return Ok(read.map(|()| plan));
        }
    }
    Err(not_enough())
}

/// Creates the measured values.
fn make<'de>(
    lua: &Lua,
    marks: &Marks,
    memory: &Memory,
    plan: Plan,
    from: impl Deserializer<'de, Error = serde_json::Error>,
) -> mlua::Result<Result<LuaValue, String>> {
    memory.require(lua, plan.bytes)?;
    memory.unguarded(lua, || {
        let Plan { is_text, lengths, .. } = plan;
        let mut maker = Maker { lua, marks, is_text, lengths: lengths.into_iter(), failed: None };
        let root = lua.create_table()?;
        let seed = Make { maker: &mut maker, into: &root, key: 1, is_item: false };
        let read = seed.deserialize(from);
        match (maker.failed, read) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Ok(Err(text::printable(&error.to_string(), 200))),
            (None, Ok(_)) => root.raw_get(1).map(Ok),
        }
    })
}

/// The memory that the values need.
struct Plan {
    /// Whether the JSON is text. Its members may have duplicates, and its null members are remembered.
    is_text: bool,
    bytes: usize,
    left: usize,
    /// The length of each array and object, in the order in which they begin.
    lengths: Vec<u32>,
    is_too_large: bool,
}

impl Plan {
    fn add<E: de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.bytes += bytes;
        self.is_too_large |= self.bytes > self.left;
        if self.is_too_large { Err(E::custom("too large")) } else { Ok(()) }
    }

    fn begin<E: de::Error>(&mut self) -> Result<usize, E> {
        self.add(Size::TABLE)?;
        self.lengths.push(0);
        Ok(self.lengths.len() - 1)
    }

    fn end(&mut self, at: usize, length: usize) {
        if let Some(place) = self.lengths.get_mut(at) {
            *place = u32::try_from(length).unwrap_or(u32::MAX);
        }
    }
}

struct Measure<'a>(&'a mut Plan);

impl<'de> DeserializeSeed<'de> for Measure<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Measure<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        // A null member is remembered beside the table.
        self.0.add(if self.0.is_text { Size::NULL } else { 0 })
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.0.add(Size::of_number(&number.into()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.0.add(Size::of_number(&number.into()))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.0.add(Size::of_text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let at = self.0.begin()?;
        let mut length = 0;
        while items.next_element_seed(Measure(&mut *self.0))?.is_some() {
            self.0.add(Size::ITEM)?;
            length += 1;
        }
        self.0.end(at, length);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let at = self.0.begin()?;
        let mut length = 0;
        while members.next_key_seed(Measure(&mut *self.0))?.is_some() {
            members.next_value_seed(Measure(&mut *self.0))?;
            // The hash part of a table doubles when it grows.
            self.0.add(2 * Size::MEMBER)?;
            length += 1;
        }
        self.0.end(at, length);
        Ok(())
    }
}

/// Creates the values.
struct Maker<'a> {
    lua: &'a Lua,
    marks: &'a Marks,
    is_text: bool,
    lengths: std::vec::IntoIter<u32>,
    failed: Option<mlua::Error>,
}

impl Maker<'_> {
    fn keep<T, E: de::Error>(&mut self, made: mlua::Result<T>) -> Result<T, E> {
        made.map_err(|error| {
            self.failed = Some(error);
            E::custom("cannot create a value")
        })
    }

    fn length(&mut self) -> usize {
        self.lengths.next().unwrap_or_default() as usize
    }
}

/// Creates a value and puts it into a table.
struct Make<'m, 'a, K> {
    maker: &'m mut Maker<'a>,
    into: &'m Table,
    key: K,
    /// Whether it is an item of an array, which cannot have gaps.
    is_item: bool,
}

impl<K: IntoLua> Make<'_, '_, K> {
    fn put<E: de::Error>(self, value: impl IntoLua) -> Result<bool, E> {
        let put = self.into.raw_set(self.key, value);
        self.maker.keep(put).map(|()| false)
    }

    fn number<E: de::Error>(self, number: Number) -> Result<bool, E> {
        let number = exact(self.maker.lua, &number);
        let number = self.maker.keep(number)?;
        self.put(number)
    }
}

impl<'de, K: IntoLua> DeserializeSeed<'de> for Make<'_, '_, K> {
    /// Whether the value is null.
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de, K: IntoLua> Visitor<'de> for Make<'_, '_, K> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<bool, E> {
        let null = if self.is_item { LuaValue::NULL } else { LuaValue::Nil };
        self.put(null).map(|_| true)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
        self.put(value)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<bool, E> {
        self.number(number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<bool, E> {
        self.number(number.into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<bool, E> {
        self.put(number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
        self.put(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let length = self.maker.length();
        let table = self.maker.lua.create_table_with_capacity(length, 0);
        let table = self.maker.keep(table)?;
        let mut index = 1;
        loop {
            let maker = &mut *self.maker;
            let seed = Make { maker, into: &table, key: index, is_item: true };
            if items.next_element_seed(seed)?.is_none() {
                break;
            }
            index += 1;
        }
        let marked = table.set_metatable(Some(self.maker.marks.array.clone()));
        self.maker.keep(marked)?;
        self.put(table)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        let length = self.maker.length();
        let table = self.maker.lua.create_table_with_capacity(0, length);
        let table = self.maker.keep(table)?;
        let mut nulls: Option<Table> = None;
        while let Some(name) = members.next_key::<String>()? {
            let maker = &mut *self.maker;
            let is_text = maker.is_text;
            let is_twice = is_text
                && maker
                    .keep(table.raw_get::<LuaValue>(name.as_str()).map(|held| !held.is_nil()))?;
            if is_twice {
                let name = text::printable(&name, 80);
                return Err(de::Error::custom(format_args!("the member `{name}` is there twice")));
            }
            let seed = Make { maker, into: &table, key: name.as_str(), is_item: false };
            let is_null = members.next_value_seed(seed)?;
            if is_null && is_text {
                // Until the end of the object, to detect a duplicate.
                let held = table.raw_set(name.as_str(), LuaValue::NULL);
                self.maker.keep(held)?;
                let names = match nulls.take() {
                    Some(names) => Ok(names),
                    None => self.maker.lua.create_table(),
                };
                let pushed = names.and_then(|names| names.raw_push(name).map(|()| names));
                nulls = Some(self.maker.keep(pushed)?);
            }
        }
        if let Some(names) = nulls {
            let emptied = names
                .sequence_values::<LuaString>()
                .try_for_each(|name| table.raw_set(name?, LuaValue::Nil));
            self.maker.keep(emptied)?;
            let kept = self.maker.marks.remember_nulls(&table, names);
            self.maker.keep(kept)?;
        }
        let marked = table.set_metatable(Some(self.maker.marks.object.clone()));
        self.maker.keep(marked)?;
        self.put(table)
    }
}
