//! The Lua VM that runs scripts.

use super::calls::Calls;
use super::control::Control;
use super::errors::ScriptError;
use super::memory::NOT_ENOUGH_MEMORY;
use super::message::{Ended, Job, Kind, Script};
use super::namespaces::Namespaces;
use super::sandbox;
use super::shared::{Shared, split_position, stopped};
use super::values::type_name;
use super::{Limits, MAX_SOURCE_BYTES};
use crate::session::Session;
use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Lua, MultiValue, Value as LuaValue};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use whereby_authority::text;

/// A Lua VM, and the state that it shares with the host's functions.
pub(crate) struct Vm {
    lua: Lua,
    shared: Shared,
    run: mlua::Function,
}

impl Vm {
    pub(crate) fn new(
        limits: &Limits,
        namespaces: &Namespaces,
        control: &Arc<Control>,
    ) -> mlua::Result<Self> {
        let lua = sandbox::state()?;
        let shared = Shared::new(&lua, Arc::clone(control), limits.clone(), namespaces.clone())?;
        let run = sandbox::furnish(&lua, &shared)?;
        // The limit does not include the library.
        let floor = lua.used_memory();
        shared.memory.limit(&lua, limits.memory_bytes)?;
        let garbage = Garbage::new(floor, limits.memory_bytes);
        let (switch, noted) = (Arc::clone(control), shared.clone());
        lua.set_interrupt(move |lua| {
            if switch.step() {
                garbage.collect(lua)?;
                return Ok(mlua::VmState::Continue);
            }
            noted.note_stop(lua);
            Err(stopped())
        });
        Ok(Self { lua, shared, run })
    }

    /// Runs a script. The session runs its calls on this thread.
    pub(crate) fn run(
        &self,
        job: Job,
        session: Session,
        tokio: &Arc<tokio::runtime::Runtime>,
    ) -> Ended {
        let Job { runtime, script, control, wake, progress } = job;
        let Script { source, name, kind, .. } = script;
        let calls = Calls::new(runtime, session, control, wake, progress);
        self.shared.begin(name.clone(), calls, Arc::clone(tokio));
        let ended = match self.load(&source, &name, kind == Kind::Typed) {
            Ok(function) => self.end(&name, self.run.call::<MultiValue>(function)),
            Err(error) => Ended::failed(*error),
        };
        // Releasing memory cannot fail without a running script.
        let _ = self.shared.end(&self.lua);
        if kind == Kind::Typed {
            // The next script needs only what this one has kept.
            let _ = self.lua.gc_collect();
        }
        ended
    }

    fn load(
        &self,
        source: &str,
        name: &str,
        expression: bool,
    ) -> Result<mlua::Function, Box<ScriptError>> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(Box::new(ScriptError::too_long()));
        }
        let source = text::without_bom(source);
        // An executable script begins with a shebang line.
        let source =
            if source.starts_with("#!") { format!("--{source}") } else { source.to_owned() };
        let compiler = Compiler::new();
        let as_expression = expression.then(|| compiler.compile(format!("return {source}")));
        let code = match as_expression {
            Some(Ok(code)) => Ok(code),
            _ => compiler.compile(&source),
        };
        let code = code.map_err(|error| Box::new(syntax(&error)))?;
        self.lua
            .load(code)
            .set_name(format!("={name}"))
            .set_mode(ChunkMode::Binary)
            .into_function()
            .map_err(|_| Box::new(ScriptError::out_of_memory(&self.shared.limits, None)))
    }

    /// Returns how the script ended, with its result or error.
    fn end(&self, name: &str, ran: mlua::Result<MultiValue>) -> Ended {
        let limits = &self.shared.limits;
        let (line, raised) = self.shared.failure();
        if let Some(why) = self.shared.control.stopped() {
            return Ended::failed(ScriptError::stopped(why, limits, line));
        }
        let values = match ran {
            Ok(values) => values,
            Err(error) => return Ended::failed(self.script_error(name, &error.to_string(), line)),
        };
        let mut values = values.into_vec().into_iter();
        let ok = matches!(values.next(), Some(LuaValue::Boolean(true)));
        let values: Vec<LuaValue> = values.collect();
        if ok {
            return self.result(&values).unwrap_or_else(|_| {
                Ended::failed(ScriptError::out_of_memory(&self.shared.limits, None))
            });
        }
        if let Some(mut error) = raised {
            error.line = error.line.or(line);
            return Ended::failed(error);
        }
        let raised = self.shared.shows.raised(values.first().unwrap_or(&LuaValue::Nil));
        let message = raised.unwrap_or_else(|error| error.to_string());
        Ended::failed(self.script_error(name, &message, line))
    }

    /// Returns an error of the script itself or of Lua.
    fn script_error(&self, name: &str, message: &str, line: Option<usize>) -> ScriptError {
        let (at, message) = split_position(name, message);
        let line = at.or(line);
        if message.contains(NOT_ENOUGH_MEMORY) {
            return ScriptError::out_of_memory(&self.shared.limits, line);
        }
        ScriptError::new("script", message, line)
    }

    /// Shows a value that JSON cannot represent.
    fn shown(&self, value: &LuaValue) -> String {
        let shown = match value {
            LuaValue::Table(_) => self.shared.shows.text(value).ok().flatten(),
            _ => None,
        };
        shown.map_or_else(|| shown_plainly(value), |text| text::printable(&text, 1000))
    }

    fn result(&self, values: &[LuaValue]) -> mlua::Result<Ended> {
        let Shared { marks, memory, limits, .. } = &self.shared;
        let taken = marks.to_json(&self.lua, memory, values, "the result", limits.output_bytes)?;
        Ok(match taken {
            Ok(taken) => {
                let result = match values {
                    [] | [_] => taken.only(),
                    _ => Value::Array(taken.values),
                };
                Ended { result, shown: None, error: None }
            }
            Err(problem) => {
                let shown: Vec<String> = values.iter().map(|value| self.shown(value)).collect();
                let error = ScriptError::new("script", problem, None);
                Ended { result: Value::Null, shown: Some(shown.join("\t")), error: Some(error) }
            }
        })
    }
}

/// Collects garbage before memory runs out. Luau collects as memory grows but not when an allocation
/// fails, so a script could otherwise fail because of garbage.
struct Garbage {
    /// The memory use above which to collect, in bytes.
    threshold: usize,
    /// The minimum growth since the last collection, in bytes.
    growth: usize,
    /// The memory use after the last collection, in bytes.
    last: AtomicUsize,
}

impl Garbage {
    fn new(floor: usize, limit: usize) -> Self {
        Self { threshold: floor + limit / 2, growth: limit / 8, last: AtomicUsize::new(0) }
    }

    fn collect(&self, lua: &Lua) -> mlua::Result<()> {
        let used = lua.used_memory();
        if used < self.threshold || used < self.last.load(Ordering::Relaxed) + self.growth {
            return Ok(());
        }
        lua.gc_collect()?;
        self.last.store(lua.used_memory(), Ordering::Relaxed);
        Ok(())
    }
}

/// Shows a value without its contents.
fn shown_plainly(value: &LuaValue) -> String {
    match value {
        LuaValue::String(text) => text::printable(&text.to_string_lossy(), 1000),
        LuaValue::Number(number) => number.to_string(),
        LuaValue::Integer(number) => number.to_string(),
        LuaValue::Boolean(value) => value.to_string(),
        other => format!("({})", type_name(other)),
    }
}

/// Converts the compiler's message, such as `3: what is wrong`, to an error with a line.
fn syntax(error: &mlua::Error) -> ScriptError {
    let message = match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let place = message.trim_start_matches(':').split_once(": ");
    match place.and_then(|(line, rest)| Some((line.parse().ok()?, rest))) {
        Some((line, rest)) => ScriptError::new("syntax", rest, Some(line)),
        None => ScriptError::new("syntax", message, None),
    }
}

/// Returns whether further lines could complete a script.
pub(crate) fn is_incomplete(source: &str) -> bool {
    let compiler = Compiler::new();
    let ends_early = |source: &str| match compiler.compile(source) {
        Err(mlua::Error::SyntaxError { message, incomplete_input }) => {
            incomplete_input
                || message.contains("got <eof>")
                || message.contains("unfinished long string")
                || message.contains("unfinished long comment")
        }
        _ => false,
    };
    compiler.compile(format!("return {source}")).is_err() && ends_early(source)
}
