//! The state that the host's functions share while a script runs, and their implementation.

use super::Limits;
use super::calls::{CallRequest, Calls, Reply};
use super::control::{Control, Stop};
use super::docs;
use super::errors::{FailedCall, ScriptError};
use super::memory::{Memory, NOT_ENOUGH_MEMORY};
use super::namespaces::{Namespaces, is_namespace};
use super::show::Shows;
use super::values::{Marks, Size, fit_arguments, type_name};
use crate::error::Error;
use mlua::{Lua, Value as LuaValue, Variadic};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use whereby_authority::arguments::MAX_ARGUMENTS_BYTES;
use whereby_authority::grant::WriteOutcome;
use whereby_catalog::Function;

/// The state of the running script.
pub(crate) struct Running {
    name: String,
    calls: Calls,
    /// Drives the calls while the script waits for them.
    tokio: Arc<Runtime>,
    arrived: HashMap<usize, Reply>,
    /// The bytes that the host holds for each call: for its arguments, later for its reply.
    held: HashMap<usize, usize>,
    /// The number of replies so far.
    seen: u64,
    /// The number of submitted calls.
    submitted: usize,
    written: usize,
    /// The latest errors that the host raised.
    errors: VecDeque<ScriptError>,
    /// The number of the first of `errors`.
    first_error: u64,
    /// Where and why the script itself failed.
    failed: Option<ErrorSite>,
}

struct ErrorSite {
    line: Option<usize>,
    /// The number of the host's error, if the script failed with one.
    number: Option<u64>,
}

/// How long calls run while the script also has other work.
const MOMENT: Duration = Duration::from_millis(1);

/// The maximum number of errors kept. An older one that a script raises again counts as the script's.
const MAX_ERRORS: usize = 200;

/// The state that the host's functions share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) control: Arc<Control>,
    pub(crate) limits: Limits,
    pub(crate) memory: Memory,
    pub(crate) namespaces: Namespaces,
    pub(crate) marks: Marks,
    pub(crate) shows: Shows,
    running: Arc<Mutex<Option<Running>>>,
}

/// The error that a stopped script sees until its next step.
const STOPPED: &str = "the script was stopped";

/// An error as the prelude raises it: its number and its fields.
pub(crate) type Raised = (u64, LuaValue);

impl Shared {
    pub(crate) fn new(
        lua: &Lua,
        control: Arc<Control>,
        limits: Limits,
        namespaces: Namespaces,
    ) -> mlua::Result<Self> {
        let marks = Marks::new(lua)?;
        let shows = Shows::new(lua, &marks)?;
        let memory = Memory::default();
        Ok(Self { control, limits, memory, namespaces, marks, shows, running: Arc::default() })
    }

    /// Begins a script.
    pub(crate) fn begin(&self, name: String, calls: Calls, tokio: Arc<Runtime>) {
        *self.lock() = Some(Running {
            name,
            calls,
            tokio,
            arrived: HashMap::new(),
            held: HashMap::new(),
            seen: 0,
            submitted: 0,
            written: 0,
            errors: VecDeque::new(),
            first_error: 1,
            failed: None,
        });
    }

    /// Ends the script, and releases the memory that the host held for it.
    pub(crate) fn end(&self, lua: &Lua) -> mlua::Result<()> {
        let Some(running) = self.lock().take() else { return Ok(()) };
        let calls = running.held.values().sum::<usize>();
        let errors = running.errors.iter().map(ScriptError::size).sum::<usize>();
        self.memory.release(lua, calls + errors)
    }

    /// Returns the line where the script failed, and the host's error if it failed with one.
    pub(crate) fn failure(&self) -> (Option<usize>, Option<ScriptError>) {
        let mut running = self.lock();
        let Some(running) = running.as_mut() else { return (None, None) };
        let Some(ErrorSite { line, number }) = running.failed.take() else { return (None, None) };
        let index = number.and_then(|number| number.checked_sub(running.first_error));
        let index = index.and_then(|index| usize::try_from(index).ok());
        (line, index.and_then(|index| running.errors.get(index).cloned()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Running) -> T) -> mlua::Result<T> {
        self.lock().as_mut().map(f).ok_or_else(stopped)
    }

    /// Returns the current line of the script.
    pub(crate) fn line(&self, lua: &Lua) -> Option<usize> {
        let name = self.lock().as_ref().map(|running| running.name.clone())?;
        for level in 0..64 {
            let at = lua.inspect_stack(level, |frame| {
                let source = frame.source();
                let is_script = source.short_src.as_deref() == Some(name.as_str());
                is_script.then(|| frame.current_line()).flatten()
            });
            match at {
                None => return None,
                Some(None) => {}
                Some(line) => return line,
            }
        }
        None
    }

    /// Keeps an error, so that it is trusted if the script ends with it.
    pub(crate) fn raised(&self, lua: &Lua, error: ScriptError) -> mlua::Result<Raised> {
        let fields = self.marks.to_lua(lua, &self.memory, &error.to_json())?;
        if let LuaValue::Table(fields) = &fields {
            // The prelude sets the metatable of errors.
            fields.set_metatable(None)?;
        }
        self.memory.hold(lua, error.size())?;
        let number = self.with(|running| {
            if running.errors.len() == MAX_ERRORS
                && let Some(first) = running.errors.pop_front()
            {
                self.memory.release(lua, first.size())?;
                running.first_error += 1;
            }
            running.errors.push_back(error);
            Ok::<_, mlua::Error>(running.first_error + running.errors.len() as u64 - 1)
        })??;
        Ok((number, fields))
    }

    /// Remembers where and why the script failed.
    pub(crate) fn failed(&self, lua: &Lua, number: Option<u64>) -> mlua::Result<()> {
        let line = self.line(lua);
        self.with(|running| running.failed = Some(ErrorSite { line, number }))
    }

    pub(crate) fn write(&self, lua: &Lua, text: &[u8]) -> mlua::Result<()> {
        let fits = self.with(|running| {
            // Check before copying.
            if running.written + text.len() > self.limits.output_bytes {
                return false;
            }
            let text = String::from_utf8_lossy(text);
            running.written += text.len();
            let fits = running.written <= self.limits.output_bytes;
            if fits {
                running.calls.write(&text);
            }
            fits
        })?;
        if fits { Ok(()) } else { self.stop(lua, Stop::Output) }
    }

    fn stop<T>(&self, lua: &Lua, why: Stop) -> mlua::Result<T> {
        self.control.stop(why);
        self.note_stop(lua);
        Err(stopped())
    }

    /// Remembers where a script was when it was stopped.
    pub(crate) fn note_stop(&self, lua: &Lua) {
        let is_known = self.with(|running| running.failed.is_some()).unwrap_or(true);
        if !is_known {
            // This fails only between two scripts.
            let _ = self.failed(lua, None);
        }
    }

    /// Returns an error of the script itself, from its message.
    pub(crate) fn script_error(&self, lua: &Lua, kind: &str, message: &str) -> ScriptError {
        let line = self.line(lua);
        let name = self.with(|running| running.name.clone()).unwrap_or_default();
        let (at, message) = split_position(&name, message);
        let line = at.or(line);
        // If memory runs out in a branch of app.parallel, it has run out for the script.
        if message.contains(NOT_ENOUGH_MEMORY) {
            return ScriptError::out_of_memory(&self.limits, line);
        }
        ScriptError::new(kind, message, line)
    }

    /// Submits a call. Returns its number, or the error of its arguments.
    pub(crate) fn submit(
        &self,
        lua: &Lua,
        account: Option<String>,
        name: &str,
        arguments: &Variadic<LuaValue>,
    ) -> mlua::Result<Result<usize, Raised>> {
        if self.control.stopped().is_some() {
            return Err(stopped());
        }
        let line = self.line(lua);
        let account = account.or_else(|| self.namespaces.default.clone());
        let refused = |error: Error| {
            let function = whereby_authority::find(name).map_or("", |function| function.json);
            let failed =
                FailedCall { function, account: account.clone(), error, write: WriteOutcome::None };
            let error = ScriptError::of_call(failed, line, &docs::example_call(name));
            self.raised(lua, error).map(Err)
        };
        let function = match whereby_authority::find(name) {
            Ok(function) => function,
            Err(error) => return refused(error.into()),
        };
        let Some(account_name) = account.clone() else {
            return refused(self.namespaces.no_default());
        };
        let (arguments, held) = match self.arguments(lua, function, arguments)? {
            Ok(arguments) => arguments,
            Err(error) => return refused(error),
        };
        self.memory.hold(lua, held)?;
        let most = self.limits.calls;
        let id = self.with(|running| {
            running.submitted += 1;
            (running.submitted <= most).then(|| {
                let request = CallRequest { account: account_name, function, arguments, line };
                let id = running.calls.submit(request);
                running.held.insert(id, held);
                id
            })
        })?;
        match id {
            Some(id) => Ok(Ok(id)),
            None => {
                self.memory.release(lua, held)?;
                self.stop(lua, Stop::Calls)
            }
        }
    }

    /// Converts a call's arguments: a table of named arguments, or none. Also returns how many bytes the
    /// host holds.
    fn arguments(
        &self,
        lua: &Lua,
        function: &Function,
        given: &Variadic<LuaValue>,
    ) -> mlua::Result<Result<(Value, usize), Error>> {
        let usage = |message: String| Ok(Err(Error::usage(message)));
        let name = function.json;
        let colon = || usage(format!("call {name} with a dot, not a colon"));
        let table = match given.as_slice() {
            [] | [LuaValue::Nil] => return Ok(Ok((Value::Object(serde_json::Map::new()), 0))),
            [LuaValue::Table(table)] => table,
            [LuaValue::Table(first), ..] if is_namespace(first) => return colon(),
            [other] => {
                return usage(format!(
                    "{name} takes one table of named arguments, not a {}",
                    type_name(other)
                ));
            }
            more => {
                return usage(format!(
                    "{name} takes one table of named arguments, not {} values",
                    more.len()
                ));
            }
        };
        if is_namespace(table) {
            return colon();
        }
        let value = LuaValue::Table(table.clone());
        let most = MAX_ARGUMENTS_BYTES * 2;
        let taken = match self.marks.to_json(lua, &self.memory, &[value], name, most)? {
            Ok(taken) => taken,
            Err(message) => return Ok(Err(Error::InvalidArgument { message })),
        };
        let held = taken.held;
        let mut arguments = taken.only();
        if let Value::Array(items) = &arguments
            && !items.is_empty()
        {
            return usage(format!("{name} takes named arguments, not positional ones"));
        }
        fit_arguments(function, &mut arguments);
        Ok(Ok((arguments, held)))
    }

    pub(crate) fn seen(&self) -> mlua::Result<u64> {
        self.with(|running| running.seen)
    }

    /// Returns the reply to a call, if it has arrived. [`Shared::put_away`] releases its memory.
    pub(crate) fn take(&self, id: usize) -> mlua::Result<Option<Reply>> {
        self.with(|running| running.arrived.remove(&id))
    }

    /// Releases the memory that the host held for a call.
    pub(crate) fn put_away(&self, lua: &Lua, id: usize) -> mlua::Result<()> {
        let held = self.with(|running| running.held.remove(&id))?;
        self.memory.release(lua, held.unwrap_or_default())
    }

    /// Keeps a reply until the script takes it. Its memory counts as the script's.
    fn arrive(
        &self,
        lua: &Lua,
        running: &mut Running,
        id: usize,
        reply: Reply,
    ) -> mlua::Result<()> {
        let arguments = running.held.remove(&id).unwrap_or_default();
        self.memory.release(lua, arguments)?;
        let held = reply.as_ref().map_or(0, Size::in_host);
        self.memory.hold(lua, held)?;
        running.seen += 1;
        running.held.insert(id, held);
        running.arrived.insert(id, reply);
        Ok(())
    }

    /// Lets the calls run for a moment.
    pub(crate) fn turn(&self, lua: &Lua) -> mlua::Result<()> {
        self.with(|running| {
            let calls = &mut running.calls;
            // The timeout needs the runtime's timer, so it is created inside.
            let moment = async { tokio::time::timeout(MOMENT, calls.next()).await };
            match running.tokio.block_on(moment) {
                Ok(Some((id, reply))) => self.arrive(lua, running, id, reply),
                _ => Ok(()),
            }
        })??;
        match self.control.stopped() {
            Some(why) => self.stop(lua, why),
            None => Ok(()),
        }
    }

    /// Waits for replies until `is_enough` returns true.
    pub(crate) fn wait(&self, lua: &Lua, is_enough: impl Fn(&Running) -> bool) -> mlua::Result<()> {
        let is_stopped = self.with(|running| {
            while !is_enough(running) {
                let Some((id, reply)) = running.tokio.block_on(running.calls.next()) else {
                    return Ok(true);
                };
                self.arrive(lua, running, id, reply)?;
            }
            Ok::<_, mlua::Error>(false)
        })??;
        if is_stopped {
            self.note_stop(lua);
            return Err(stopped());
        }
        Ok(())
    }
}

impl Running {
    pub(crate) fn has(&self, id: usize) -> bool {
        self.arrived.contains_key(&id)
    }

    pub(crate) fn has_more_than(&self, seen: u64) -> bool {
        self.seen > seen
    }
}

pub(crate) fn stopped() -> mlua::Error {
    mlua::Error::runtime(STOPPED)
}

/// Splits a message into the line that Lua puts before it and the rest.
pub(crate) fn split_position<'a>(name: &str, message: &'a str) -> (Option<usize>, &'a str) {
    let rest = message.strip_prefix(name).and_then(|rest| rest.strip_prefix(':'));
    match rest.and_then(|rest| rest.split_once(": ")) {
        Some((line, rest)) if line.parse::<usize>().is_ok() => (line.parse().ok(), rest),
        _ => (None, message),
    }
}
