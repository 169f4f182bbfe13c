//! A Lua state that runs scripts.

use super::calls::Calls;
use super::control::Control;
use super::errors::ScriptError;
use super::memory::NOT_ENOUGH_MEMORY;
use super::message::{Ended, Job, Kind};
use super::namespaces::Namespaces;
use super::sandbox;
use super::shared::{Failure, Shared, stopped, without_place};
use super::values::type_name;
use super::{Limits, MAX_SOURCE_BYTES};
use crate::session::Session;
use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Lua, MultiValue, Value as LuaValue};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use whereby_authority::text;

/// A state, and what the functions of the host have in it.
pub(crate) struct Machine {
    lua: Lua,
    shared: Shared,
    run: mlua::Function,
}

impl Machine {
    pub(crate) fn new(
        limits: &Limits,
        namespaces: &Namespaces,
        control: &Arc<Control>,
    ) -> mlua::Result<Self> {
        let lua = sandbox::state()?;
        let shared = Shared::new(&lua, Arc::clone(control), limits.clone(), namespaces.clone())?;
        let run = sandbox::furnish(&lua, &shared)?;
        // The limit is for what the script adds.
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

    /// Runs a script, whose calls the session makes on this thread.
    pub(crate) fn run(
        &self,
        job: Job,
        session: Session,
        tokio: &Arc<tokio::runtime::Runtime>,
    ) -> Ended {
        let Job { runtime, source, name, kind, control, wake, progress, .. } = job;
        let calls = Calls::new(runtime, session, control, wake, progress);
        self.shared.begin(name.clone(), calls, Arc::clone(tokio));
        let ended = match self.load(&source, &name, kind == Kind::Typed) {
            Ok(function) => self.end(&name, self.run.call::<MultiValue>(function)),
            Err(error) => failed(*error),
        };
        // What it held is released; without a script there is nothing that could fail.
        let _ = self.shared.end(&self.lua);
        if kind == Kind::Typed {
            // The next one begins with what this one has kept, and nothing else.
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
        // A script that can be run by its name begins with a line for the system.
        let source = match source.starts_with("#!") {
            true => format!("--{source}"),
            false => source.to_owned(),
        };
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

    /// What the script's values, or its error, come to.
    fn end(&self, name: &str, ran: mlua::Result<MultiValue>) -> Ended {
        let limits = &self.shared.limits;
        let Failure { line, raised } = self.shared.failure();
        if let Some(why) = self.shared.control.stopped() {
            return failed(ScriptError::stopped(why, limits, line));
        }
        let values = match ran {
            Ok(values) => values,
            Err(error) => return failed(self.script_error(name, &error.to_string(), line)),
        };
        let mut values = values.into_vec().into_iter();
        let ok = matches!(values.next(), Some(LuaValue::Boolean(true)));
        let values: Vec<LuaValue> = values.collect();
        if ok {
            return self
                .result(&values)
                .unwrap_or_else(|_| failed(ScriptError::out_of_memory(&self.shared.limits, None)));
        }
        if let Some(mut error) = raised {
            error.line = error.line.or(line);
            return failed(error);
        }
        let raised = self.shared.shows.raised(values.first().unwrap_or(&LuaValue::Nil));
        let message = raised.unwrap_or_else(|error| error.to_string());
        failed(self.script_error(name, &message, line))
    }

    /// An error of the script's own, or of Lua's.
    fn script_error(&self, name: &str, message: &str, line: Option<usize>) -> ScriptError {
        let (at, message) = without_place(name, message);
        let line = at.or(line);
        if message.contains(NOT_ENOUGH_MEMORY) {
            return ScriptError::out_of_memory(&self.shared.limits, line);
        }
        ScriptError::new("script", message, line)
    }

    /// A value as a person may see it that has no form in JSON.
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

/// Collects garbage before memory ends. Luau does so as memory grows, and not when it is refused some,
/// so that a script could fail for what it does not need any more.
struct Garbage {
    /// From where on it is collected.
    much: usize,
    /// By how much it must have grown since the last time.
    growth: usize,
    /// How much there was then.
    last: AtomicUsize,
}

impl Garbage {
    fn new(floor: usize, limit: usize) -> Self {
        Self { much: floor + limit / 2, growth: limit / 8, last: AtomicUsize::new(0) }
    }

    fn collect(&self, lua: &Lua) -> mlua::Result<()> {
        let used = lua.used_memory();
        if used < self.much || used < self.last.load(Ordering::Relaxed) + self.growth {
            return Ok(());
        }
        lua.gc_collect()?;
        self.last.store(lua.used_memory(), Ordering::Relaxed);
        Ok(())
    }
}

fn failed(error: ScriptError) -> Ended {
    Ended { result: Value::Null, shown: None, error: Some(error) }
}

/// The same without what it holds.
fn shown_plainly(value: &LuaValue) -> String {
    match value {
        LuaValue::String(text) => text::printable(&text.to_string_lossy(), 1000),
        LuaValue::Number(number) => number.to_string(),
        LuaValue::Integer(number) => number.to_string(),
        LuaValue::Boolean(value) => value.to_string(),
        other => format!("({})", type_name(other)),
    }
}

/// The compiler's message, `3: what is wrong`, and its line.
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

/// Whether a text is a beginning that further lines can make whole.
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
