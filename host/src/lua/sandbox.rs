//! The sandbox of a script: the parts of Lua's library that it has, and the functions that the host adds.

use super::decode::decode;
use super::docs;
use super::errors::ScriptError;
use super::shared::Shared;
use super::values::type_name;
use mlua::chunk::{ChunkMode, Compiler};
use mlua::{
    Function, IntoLua as _, IntoLuaMulti as _, Lua, LuaOptions, LuaString, MultiValue, StdLib,
    Table, Value as LuaValue, Variadic,
};
use std::sync::OnceLock;

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

/// Returns the compiled prelude, without line information, so that errors have the script's lines.
fn prelude() -> mlua::Result<&'static [u8]> {
    static CODE: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(code) = CODE.get() {
        return Ok(code);
    }
    let code = Compiler::new().set_debug_level(0).compile(include_str!("prelude.luau"))?;
    Ok(CODE.get_or_init(|| code))
}

/// Adds the globals of scripts to a VM, makes them read-only, and returns the function that runs a
/// script.
pub(crate) fn furnish(lua: &Lua, shared: &Shared) -> mlua::Result<Function> {
    let globals = lua.globals();
    let prelude: Table = lua
        .load(prelude()?)
        .set_name("=whereby")
        .set_mode(ChunkMode::Binary)
        .call(host(lua, shared)?)?;
    let function = |name: &str| prelude.raw_get::<Function>(name);
    let closed = function("closed")?;
    let table = |members: &[(&str, Function)]| -> mlua::Result<Table> {
        let table = lua.create_table()?;
        for (name, member) in members {
            table.raw_set(*name, member)?;
        }
        Ok(table)
    };

    let app = table(&[
        ("parallel", function("parallel")?),
        ("array", function("array")?),
        ("object", function("object")?),
    ])?;
    let integrations = shared.namespaces.table(lua, &function("method")?, &closed)?;
    app.raw_set("integrations", integrations)?;
    globals.raw_set("app", closed.call::<Table>(("app", app))?)?;

    let namespaces = shared.namespaces.clone();
    let list = lua.create_function(move |_, ()| Ok(docs::list(&namespaces)))?;
    let (read, search) = (function("read_doc")?, function("search_docs")?);
    globals.raw_set("lua_list_docs", &list)?;
    globals.raw_set("lua_read_doc", &read)?;
    globals.raw_set("lua_search_docs", &search)?;
    globals.raw_set("docs", table(&[("list", list), ("read", read), ("search", search)])?)?;
    let (encode, decode) = (function("encode")?, function("decode")?);
    let json = table(&[("encode", encode), ("decode", decode)])?;
    json.raw_set("null", LuaValue::NULL)?;
    globals.raw_set("json", json)?;
    for name in ["print", "tostring", "dump"] {
        globals.raw_set(name, function(name)?)?;
    }
    // Lua's default seed is an address of this process, which random numbers would reveal.
    let seed: Function = globals.raw_get::<Table>("math")?.raw_get("randomseed")?;
    seed.call::<()>(random()?)?;

    let replaced: Table = prelude.raw_get("replaced")?;
    for name in ["string", "table"] {
        let library: Table = globals.raw_get(name)?;
        for pair in replaced.raw_get::<Table>(name)?.pairs::<LuaString, Function>() {
            let (name, function) = pair?;
            library.raw_set(name, function)?;
        }
    }
    globals.raw_set("os", replaced.raw_get::<Table>("os")?)?;
    let traceback: Function = globals.raw_get::<Table>("debug")?.raw_get("traceback")?;
    globals.raw_set("debug", table(&[("traceback", traceback)])?)?;

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
    function("run")
}

/// Returns a random number.
fn random() -> mlua::Result<i32> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(mlua::Error::external)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// Returns the host's functions for the prelude.
fn host(lua: &Lua, shared: &Shared) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    let with = || shared.clone();

    let it = with();
    host.raw_set(
        "submit",
        lua.create_function(move |lua, given: MultiValue| {
            let mut given = given.into_iter();
            let account = given.next().and_then(|account| plain(&account));
            let name = given.next().and_then(|name| plain(&name)).unwrap_or_default();
            let arguments: Variadic<LuaValue> = given.collect();
            match it.submit(lua, account, &name, &arguments)? {
                Ok(id) => id.into_lua_multi(lua),
                Err((number, fields)) => (LuaValue::Nil, number, fields).into_lua_multi(lua),
            }
        })?,
    )?;
    let it = with();
    host.raw_set(
        "take",
        lua.create_function(move |lua, id: usize| {
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
        })?,
    )?;
    let it = with();
    host.raw_set(
        "wait",
        lua.create_function(move |lua, id: usize| it.wait(lua, |running| running.has(id)))?,
    )?;
    let it = with();
    let more = move |lua: &Lua, seen: u64| it.wait(lua, |running| running.has_more_than(seen));
    host.raw_set("more", lua.create_function(more)?)?;
    let it = with();
    host.raw_set("turn", lua.create_function(move |lua, ()| it.turn(lua))?)?;
    let it = with();
    host.raw_set("seen", lua.create_function(move |_, ()| it.seen())?)?;

    let it = with();
    host.raw_set(
        "refuse",
        lua.create_function(
            move |lua, (kind, message, hint): (String, LuaString, Option<String>)| {
                let mut error = it.script_error(lua, &kind, &beginning(&message, MOST_MESSAGE));
                error.hint = hint;
                it.raised(lua, error)
            },
        )?,
    )?;
    let it = with();
    host.raw_set(
        "failed",
        lua.create_function(move |lua, (_, number): (LuaValue, Option<u64>)| {
            it.failed(lua, number)
        })?,
    )?;
    let it = with();
    host.raw_set(
        "unknown",
        lua.create_function(move |_, (path, name): (String, String)| {
            Ok(it.namespaces.unknown(&path, &name))
        })?,
    )?;
    let it = with();
    let write = move |lua: &Lua, text: LuaString| it.write(lua, &text.as_bytes());
    host.raw_set("write", lua.create_function(write)?)?;

    let it = with();
    host.raw_set(
        "encode",
        lua.create_function(move |lua, (value, pretty): (LuaValue, bool)| {
            let most = it.limits.output_bytes;
            let json = match it.marks.to_json(lua, &it.memory, &[value], "the value", most)? {
                Ok(taken) if pretty => serde_json::to_string_pretty(&taken.only()),
                Ok(taken) => serde_json::to_string(&taken.only()),
                Err(problem) => return (LuaValue::Nil, problem).into_lua_multi(lua),
            };
            json.map_err(mlua::Error::external)?.into_lua_multi(lua)
        })?,
    )?;
    let it = with();
    host.raw_set(
        "decode",
        lua.create_function(move |lua, given: LuaValue| {
            let decoded = match &given {
                LuaValue::String(text) => decode(lua, &it.marks, &it.memory, text)?,
                other => Err(format!("json.decode takes a string, not a {}", type_name(other))),
            };
            match decoded {
                Ok(value) => (true, value).into_lua_multi(lua),
                Err(problem) => (false, problem).into_lua_multi(lua),
            }
        })?,
    )?;
    let it = with();
    host.raw_set(
        "mark",
        lua.create_function(move |lua, (value, is_array): (LuaValue, bool)| {
            match it.marks.mark(lua, value, is_array)? {
                Ok(table) => table.into_lua_multi(lua),
                Err(problem) => (LuaValue::Nil, problem).into_lua_multi(lua),
            }
        })?,
    )?;
    let text = |lua: &Lua, value: LuaValue| match plain(&value) {
        Some(text) => text.into_lua(lua),
        None => format!("({})", type_name(&value)).into_lua(lua),
    };
    host.raw_set("text", lua.create_function(text)?)?;
    let it = with();
    host.raw_set("show", lua.create_function(move |_, value: LuaValue| it.shows.text(&value))?)?;
    let it = with();
    let raised = move |_: &Lua, value: LuaValue| it.shows.raised(&value);
    host.raw_set("raised", lua.create_function(raised)?)?;

    let it = with();
    host.raw_set(
        "read_doc",
        lua.create_function(move |lua, name: String| match docs::read(&name, &it.namespaces) {
            Ok(text) => text.into_lua_multi(lua),
            Err(problem) => (LuaValue::Nil, problem).into_lua_multi(lua),
        })?,
    )?;
    let it = with();
    let search = move |_: &Lua, words: String| Ok(docs::search(&words, &it.namespaces));
    host.raw_set("search_docs", lua.create_function(search)?)?;
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
