//! The sandbox of a script: the parts of Lua's library that it has, and the functions that the host adds.

use super::decode::decode;
use super::docs;
use super::errors::ScriptError;
use super::shared::Shared;
use super::values::type_name;
use mlua::chunk::{ChunkMode, Compiler};
use mlua::{
    FromLuaMulti, Function, IntoLuaMulti, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table,
    Value as LuaValue, Variadic,
};
use std::sync::LazyLock;

/// Creates a VM with only the parts of Lua's library that scripts need.
pub(crate) fn state() -> mlua::Result<Lua> {
    let libraries = StdLib::COROUTINE
        | StdLib::TABLE
        | StdLib::OS
        | StdLib::STRING
        | StdLib::UTF8
        | StdLib::BIT
        | StdLib::MATH
        | StdLib::BUFFER
        | StdLib::VECTOR
        | StdLib::DEBUG;
    Lua::new_with(libraries, LuaOptions::new())
}

/// How many bytes of a message are read. An error keeps fewer.
pub(crate) const MOST_MESSAGE: usize = 16 * 1024;

/// The globals that a script has. All others are removed, including those that a later version of Luau
/// may add.
const GLOBALS: &[&str] = &[
    "_VERSION",
    "assert",
    "bit32",
    "buffer",
    "coroutine",
    "debug",
    "error",
    "getmetatable",
    "ipairs",
    "math",
    "next",
    "os",
    "pairs",
    "pcall",
    "print",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "select",
    "setmetatable",
    "string",
    "table",
    "tonumber",
    "tostring",
    "type",
    "typeof",
    "unpack",
    "utf8",
    "vector",
    "xpcall",
    "collectgarbage",
    "app",
    "docs",
    "dump",
    "json",
    "lua_list_docs",
    "lua_read_doc",
    "lua_search_docs",
];

/// Returns the names of the globals, for completion.
pub(crate) fn globals() -> impl Iterator<Item = &'static str> {
    GLOBALS.iter().copied()
}

/// The compiled prelude, without line information, so that errors have the script's lines.
static PRELUDE: LazyLock<mlua::Result<Vec<u8>>> =
    LazyLock::new(|| Compiler::new().set_debug_level(0).compile(include_str!("prelude.luau")));

/// Adds the globals of scripts to a VM, makes them read-only, and returns the function that runs a
/// script.
pub(crate) fn furnish(lua: &Lua, shared: &Shared) -> mlua::Result<Function> {
    let globals = lua.globals();
    let (added, run): (Table, Function) = lua
        .load(PRELUDE.as_deref().map_err(mlua::Error::clone)?)
        .set_name("=whereby")
        .set_mode(ChunkMode::Binary)
        .call(host(lua, shared)?)?;
    for pair in added.pairs::<LuaString, LuaValue>() {
        let (name, value) = pair?;
        globals.raw_set(name, value)?;
    }
    // Lua's default seed is an address of this process, which random numbers would reveal.
    let seed: Function = globals.raw_get::<Table>("math")?.raw_get("randomseed")?;
    seed.call::<()>(random()?)?;

    let names: Vec<LuaValue> = globals
        .pairs::<LuaValue, LuaValue>()
        .map(|pair| pair.map(|(name, _)| name))
        .collect::<mlua::Result<_>>()?;
    for name in names {
        let known =
            matches!(&name, LuaValue::String(name) if GLOBALS.iter().any(|known| name == known));
        if !known {
            globals.raw_set(name, LuaValue::Nil)?;
        }
    }
    lua.sandbox(true)?;
    // The globals are now the script's own table, which falls back to the read-only one. It has all
    // names itself, so that `pairs(_G)` lists them.
    let own = lua.globals();
    for name in GLOBALS {
        own.raw_set(*name, own.get::<LuaValue>(*name)?)?;
    }
    own.raw_set("_G", &own)?;
    Ok(run)
}

/// Returns a random number.
fn random() -> mlua::Result<i32> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(mlua::Error::external)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// The table of the host's functions for the prelude.
struct Host<'a> {
    lua: &'a Lua,
    shared: &'a Shared,
    functions: Table,
}

impl Host<'_> {
    /// Adds a function, which gets the shared state and its arguments from Lua.
    fn add<A: FromLuaMulti, R: IntoLuaMulti>(
        &self,
        name: &str,
        function: impl Fn(&Shared, &Lua, A) -> mlua::Result<R> + Send + 'static,
    ) -> mlua::Result<()> {
        let shared = self.shared.clone();
        let function = self.lua.create_function(move |lua, given| function(&shared, lua, given))?;
        self.functions.raw_set(name, function)
    }
}

/// Returns the host's functions for the prelude. A function that returns a `Result` in its result gives
/// the prelude the value, or nil and the error.
fn host(lua: &Lua, shared: &Shared) -> mlua::Result<Table> {
    let host = Host { lua, shared, functions: lua.create_table()? };

    host.add("submit", |it, lua, given: MultiValue| {
        let mut given = given.into_iter();
        let account = given.next().and_then(|account| plain(&account));
        let name = given.next().and_then(|name| plain(&name)).unwrap_or_default();
        let arguments: Variadic<LuaValue> = given.collect();
        match it.submit(lua, account, &name, &arguments)? {
            Ok(id) => id.into_lua_multi(lua),
            Err((number, fields)) => (LuaValue::Nil, number, fields).into_lua_multi(lua),
        }
    })?;
    host.add("take", |it, lua, id: usize| {
        let taken = match it.take(id)? {
            None => return false.into_lua_multi(lua),
            Some(Ok(value)) => it
                .marks
                .to_lua(lua, &it.memory, &value)
                .and_then(|value| (true, value).into_lua_multi(lua)),
            Some(Err(failed)) => {
                let example = docs::example_call(failed.function);
                let error = ScriptError::of_call(*failed, it.line(lua), &example);
                let raised = it.raised(lua, error);
                raised.and_then(|(number, fields)| {
                    (true, LuaValue::Nil, number, fields).into_lua_multi(lua)
                })
            }
        };
        it.put_away(lua, id)?;
        taken
    })?;
    host.add("wait", |it, lua, id: usize| it.wait(lua, |running| running.has(id)))?;
    host.add("more", |it, lua, seen: u64| it.wait(lua, |running| running.has_more_than(seen)))?;
    host.add("turn", |it, lua, ()| it.turn(lua))?;
    host.add("seen", |it, _, ()| it.seen())?;

    host.add("refuse", |it, lua, given: (String, LuaString, Option<String>)| {
        let (kind, message, hint) = given;
        let mut error = it.script_error(lua, &kind, &beginning(&message, MOST_MESSAGE));
        error.hint = hint;
        it.raised(lua, error)
    })?;
    host.add("failed", |it, lua, (_, number): (LuaValue, Option<u64>)| it.failed(lua, number))?;
    host.add("unknown", |it, _, (path, name): (String, String)| {
        Ok(it.namespaces.unknown(&path, &name))
    })?;
    host.add("write", |it, lua, text: LuaString| it.write(lua, &text.as_bytes()))?;

    host.add("encode", |it, lua, (value, pretty): (LuaValue, bool)| {
        let most = it.limits.output_bytes;
        let json = match it.marks.to_json(lua, &it.memory, &[value], "the value", most)? {
            Ok(taken) if pretty => serde_json::to_string_pretty(&taken.only()),
            Ok(taken) => serde_json::to_string(&taken.only()),
            Err(problem) => return Ok(Err(problem)),
        };
        json.map(Ok).map_err(mlua::Error::external)
    })?;
    host.add("decode", |it, lua, given: LuaValue| {
        let decoded = match &given {
            LuaValue::String(text) => decode(lua, &it.marks, &it.memory, text)?,
            other => Err(format!("json.decode takes a string, not a {}", type_name(other))),
        };
        match decoded {
            Ok(value) => (true, value).into_lua_multi(lua),
            Err(problem) => (false, problem).into_lua_multi(lua),
        }
    })?;
    host.add("mark", |it, lua, (value, is_array): (LuaValue, bool)| {
        it.marks.mark(lua, value, is_array)
    })?;
    host.add("text", |_, _, value: LuaValue| {
        Ok(plain(&value).unwrap_or_else(|| format!("({})", type_name(&value))))
    })?;
    host.add("show", |it, _, value: LuaValue| it.shows.text(&value))?;
    host.add("raised", |it, _, value: LuaValue| it.shows.raised(&value))?;

    host.add("read_doc", |it, _, name: String| Ok(docs::read(&name, &it.namespaces)))?;
    host.add("search_docs", |it, _, words: String| Ok(docs::search(&words, &it.namespaces)))?;
    host.add("list_docs", |it, _, ()| Ok(docs::list(&it.namespaces)))?;
    let Host { functions: host, .. } = host;
    host.raw_set(
        "functions",
        shared.namespaces.known.iter().map(|known| known.json).collect::<Vec<_>>(),
    )?;
    host.raw_set("accounts", shared.namespaces.accounts.as_slice())?;
    host.raw_set("null", LuaValue::NULL)?;
    Ok(host)
}

/// Returns the first bytes of a string without copying the rest.
pub(crate) fn beginning(text: &LuaString, most: usize) -> String {
    let bytes = text.as_bytes();
    String::from_utf8_lossy(bytes.get(..most).unwrap_or(&bytes)).into_owned()
}

/// Returns a string or a number as text, truncated.
fn plain(value: &LuaValue) -> Option<String> {
    match value {
        LuaValue::String(text) => Some(beginning(text, 4000).chars().take(1000).collect()),
        LuaValue::Integer(number) => Some(number.to_string()),
        LuaValue::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
