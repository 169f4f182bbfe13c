//! The machine that runs scripts: a Lua state on a thread of its own.
//!
//! It has a thread because not every function of Lua's library can be interrupted. Whoever waits for
//! a script is told of its end in time, whatever the script does; the thread ends by itself, at the
//! latest when the function has gone through all the memory that there is.

use super::control::{Control, Stop};
use super::docs;
use super::errors::{FailedCall, ScriptError};
use super::limits::{Limits, MAX_SOURCE_BYTES};
use super::namespaces::{Namespaces, is_namespace};
use super::sandbox;
use super::values::{Marks, fit_arguments, type_name};
use crate::arguments::MAX_ARGUMENTS_BYTES;
use crate::catalog::{self, Function};
use crate::error::{Error, WriteOutcome};
use crate::text;
use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Lua, MultiValue, Value as LuaValue, Variadic};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// How many machines there may be in a process. One whose script was given up counts until its
/// thread has ended.
const MAX_MACHINES: usize = 64;

static MACHINES: AtomicUsize = AtomicUsize::new(0);

/// How many machines there are in this process: one for each script that runs, and one for each
/// [`Console`](super::Console).
#[must_use]
pub fn machines() -> usize {
    MACHINES.load(Ordering::Acquire)
}

/// A machine's place among them.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let taken = MACHINES.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count < MAX_MACHINES).then_some(count + 1)
        });
        taken.ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        MACHINES.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A script to run.
pub(crate) struct Job {
    pub(crate) source: String,
    pub(crate) name: String,
    /// Whether the script may be an expression, of which the value is wanted.
    pub(crate) may_be_expression: bool,
    pub(crate) events: UnboundedSender<Event>,
    pub(crate) replies: mpsc::Receiver<Reply>,
}

/// What a machine tells whoever waits for it.
pub(crate) enum Event {
    /// Text that was printed.
    Output(String),
    /// A call to be made.
    Call(Asked),
    /// The script has ended.
    Ended(Box<Ended>),
}

/// A call that a script asks for.
pub(crate) struct Asked {
    pub(crate) id: u64,
    pub(crate) account: String,
    pub(crate) function: &'static Function,
    pub(crate) arguments: Value,
    pub(crate) line: Option<usize>,
}

/// How a script ended.
pub(crate) struct Ended {
    pub(crate) result: Value,
    /// The same as Lua shows it, where it has no form in JSON and a person is to see it.
    pub(crate) shown: Option<String>,
    pub(crate) error: Option<ScriptError>,
}

/// What a machine is told.
pub(crate) enum Reply {
    /// A call has ended.
    Call { id: u64, result: Result<Value, FailedCall> },
    /// The switch was thrown.
    Wake,
}

/// What a machine is made of.
#[derive(Clone)]
pub(crate) struct Blueprint {
    pub(crate) limits: Limits,
    pub(crate) namespaces: Namespaces,
}

/// Starts a machine, which takes scripts one after the other until the sender is gone.
pub(crate) fn start(
    blueprint: Blueprint,
    control: Arc<Control>,
) -> Result<mpsc::Sender<Job>, Error> {
    let place = Place::take().ok_or_else(|| Error::Internal {
        message: format!("{MAX_MACHINES} scripts run already; wait for one to end"),
    })?;
    let (jobs, received) = mpsc::channel::<Job>();
    std::thread::Builder::new()
        .name("whereby-lua".into())
        // The parser and nested calls of Lua's C functions take a good deal of it.
        .stack_size(8 * 1024 * 1024)
        .spawn(move || {
            let _place = place;
            serve(&blueprint, &control, received);
        })
        .map_err(|error| Error::Internal {
            message: format!("a thread for the script could not be started: {error}"),
        })?;
    Ok(jobs)
}

fn serve(blueprint: &Blueprint, control: &Arc<Control>, jobs: mpsc::Receiver<Job>) {
    let mut machine = None;
    for job in jobs {
        let events = job.events.clone();
        let ended = match &machine {
            Some(machine) => Ok(machine),
            None => Machine::new(blueprint, control).map(|new| &*machine.insert(new)),
        };
        let ended = match ended {
            Ok(machine) => machine.run(job),
            Err(error) => Ended {
                result: Value::Null,
                shown: None,
                error: Some(ScriptError::new("internal", format!("no Lua state: {error}"), None)),
            },
        };
        // Whoever waited may have gone.
        let _ = events.send(Event::Ended(Box::new(ended)));
    }
}

/// What a script and the functions of the host share while it runs.
pub(crate) struct Running {
    name: String,
    events: UnboundedSender<Event>,
    replies: mpsc::Receiver<Reply>,
    arrived: HashMap<u64, Result<Value, FailedCall>>,
    /// How many replies have come.
    seen: u64,
    calls: usize,
    written: usize,
    /// The latest errors that the host raised, and the number of the first of them.
    errors: VecDeque<ScriptError>,
    first_error: u64,
    /// Where and why the script itself failed.
    failed: Option<Failed>,
}

struct Failed {
    line: Option<usize>,
    /// Which error of the host's it was.
    number: Option<u64>,
}

/// How many errors are kept; whoever catches more than so many raises the first one no more.
const MAX_ERRORS: usize = 200;

/// What the functions of the host have at hand.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) control: Arc<Control>,
    pub(crate) limits: Limits,
    pub(crate) namespaces: Namespaces,
    pub(crate) marks: Marks,
    running: Arc<Mutex<Option<Running>>>,
}

struct Machine {
    lua: Lua,
    shared: Shared,
    run: mlua::Function,
}

impl Machine {
    fn new(blueprint: &Blueprint, control: &Arc<Control>) -> mlua::Result<Self> {
        let lua = sandbox::state()?;
        let shared = Shared {
            control: Arc::clone(control),
            limits: blueprint.limits.clone(),
            namespaces: blueprint.namespaces.clone(),
            marks: Marks::new(&lua)?,
            running: Arc::default(),
        };
        let run = sandbox::furnish(&lua, &shared)?;
        // The limit is for what the script adds.
        let floor = lua.used_memory();
        lua.set_memory_limit(floor + blueprint.limits.memory_bytes)?;
        let garbage = Garbage::new(floor, blueprint.limits.memory_bytes);
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

    fn run(&self, job: Job) -> Ended {
        let Job { source, name, may_be_expression, events, replies } = job;
        *self.shared.lock() = Some(Running {
            name: name.clone(),
            events,
            replies,
            arrived: HashMap::new(),
            seen: 0,
            calls: 0,
            written: 0,
            errors: VecDeque::new(),
            first_error: 1,
            failed: None,
        });
        let ended = match self.load(&source, &name, may_be_expression) {
            Ok(function) => self.end(self.run.call::<MultiValue>(function)),
            Err(error) => failed(*error),
        };
        *self.shared.lock() = None;
        // Another script begins with what this one has kept, and nothing else.
        let _ = self.lua.gc_collect();
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
    fn end(&self, ran: mlua::Result<MultiValue>) -> Ended {
        let limits = &self.shared.limits;
        let (failure, errors) = {
            let mut running = self.shared.lock();
            let taken = running.as_mut().map(|running| {
                (running.failed.take(), (running.first_error, std::mem::take(&mut running.errors)))
            });
            taken.unwrap_or_default()
        };
        let line = failure.as_ref().and_then(|failed| failed.line);
        if let Some(why) = self.shared.control.stopped() {
            return failed(ScriptError::stopped(why, limits, line));
        }
        let values = match ran {
            Ok(values) => values,
            Err(error) => return failed(self.script_error(&error.to_string(), line)),
        };
        let mut values = values.into_vec().into_iter();
        let ok = matches!(values.next(), Some(LuaValue::Boolean(true)));
        let values: Vec<LuaValue> = values.collect();
        if ok {
            return self.result(&values);
        }
        let number = failure.and_then(|failed| failed.number);
        let kept = number.and_then(|number| {
            errors.1.get(usize::try_from(number.checked_sub(errors.0)?).ok()?).cloned()
        });
        if let Some(mut error) = kept {
            error.line = error.line.or(line);
            return failed(error);
        }
        let message = match values.first() {
            Some(LuaValue::String(text)) => text.to_string_lossy(),
            Some(LuaValue::Table(table)) => match table.raw_get::<LuaValue>("message") {
                Ok(LuaValue::String(text)) => text.to_string_lossy(),
                _ => "the script raised a table without a message".into(),
            },
            Some(LuaValue::Error(error)) => error.to_string(),
            None | Some(LuaValue::Nil) => "the script raised nil".into(),
            Some(LuaValue::Number(number)) => number.to_string(),
            Some(other) => format!("the script raised a {}", type_name(other)),
        };
        failed(self.script_error(&message, line))
    }

    /// An error of the script's own, or of Lua's.
    fn script_error(&self, message: &str, line: Option<usize>) -> ScriptError {
        let running = self.shared.lock();
        let name = running.as_ref().map_or("", |running| running.name.as_str());
        let (at, message) = without_place(name, message);
        let line = at.or(line);
        if message.contains(NOT_ENOUGH_MEMORY) {
            return ScriptError::out_of_memory(&self.shared.limits, line);
        }
        ScriptError::new("script", message, line)
    }

    fn result(&self, values: &[LuaValue]) -> Ended {
        let most = self.shared.limits.output_bytes;
        let to_json = |value| self.shared.marks.to_json(value, "the result", most);
        let result = match values {
            [] => Ok(Value::Null),
            [value] => to_json(value),
            values => values.iter().map(to_json).collect::<Result<Vec<_>, _>>().map(Value::Array),
        };
        match result {
            Ok(result) => Ended { result, shown: None, error: None },
            Err(problem) => {
                let shown: Vec<String> = values.iter().map(shown).collect();
                let error = ScriptError::new("script", problem, None);
                Ended { result: Value::Null, shown: Some(shown.join("\t")), error: Some(error) }
            }
        }
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

/// What Lua's own error says where memory ends.
const NOT_ENOUGH_MEMORY: &str = "not enough memory";

/// What a script sees that was stopped, for the moment until its next step.
const STOPPED: &str = "the script was stopped";

fn failed(error: ScriptError) -> Ended {
    Ended { result: Value::Null, shown: None, error: Some(error) }
}

/// A value as a person may see it that has no form in JSON.
fn shown(value: &LuaValue) -> String {
    match value {
        LuaValue::String(text) => text::printable(&text.to_string_lossy(), 1000),
        LuaValue::Number(number) => number.to_string(),
        LuaValue::Integer(number) => number.to_string(),
        LuaValue::Boolean(value) => value.to_string(),
        other => format!("({})", type_name(other)),
    }
}

/// A message without the place that Lua puts before it, which a report has apart.
fn without_place<'a>(name: &str, message: &'a str) -> (Option<usize>, &'a str) {
    let rest = message.strip_prefix(name).and_then(|rest| rest.strip_prefix(':'));
    match rest.and_then(|rest| rest.split_once(": ")) {
        Some((line, rest)) if line.parse::<usize>().is_ok() => (line.parse().ok(), rest),
        _ => (None, message),
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

/// What a function of the host gives a script for an error: its number, and its fields.
pub(crate) type Raised = (u64, LuaValue);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Running) -> T) -> mlua::Result<T> {
        self.lock().as_mut().map(f).ok_or_else(stopped)
    }

    /// The line of the script that is running.
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

    /// Keeps an error, so that it is believed if the script ends with it.
    pub(crate) fn raised(&self, lua: &Lua, error: ScriptError) -> mlua::Result<Raised> {
        let fields = self.marks.to_lua(lua, &error.to_json())?;
        if let LuaValue::Table(fields) = &fields {
            // The mark of an object makes way for that of an error.
            fields.set_metatable(None)?;
        }
        let number = self.with(|running| {
            if running.errors.len() == MAX_ERRORS {
                running.errors.pop_front();
                running.first_error += 1;
            }
            running.errors.push_back(error);
            running.first_error + running.errors.len() as u64 - 1
        })?;
        Ok((number, fields))
    }

    /// Remembers what the script failed of.
    pub(crate) fn failed(&self, lua: &Lua, number: Option<u64>) -> mlua::Result<()> {
        let line = self.line(lua);
        self.with(|running| running.failed = Some(Failed { line, number }))
    }

    pub(crate) fn write(&self, lua: &Lua, text: &[u8]) -> mlua::Result<()> {
        let text = String::from_utf8_lossy(text);
        let fits = self.with(|running| {
            running.written += text.len();
            let fits = running.written <= self.limits.output_bytes;
            if fits {
                let _ = running.events.send(Event::Output(text.into_owned()));
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
    fn note_stop(&self, lua: &Lua) {
        let is_known = self.with(|running| running.failed.is_some()).unwrap_or(true);
        if !is_known {
            // Whoever is stopped between two scripts is nowhere.
            let _ = self.failed(lua, None);
        }
    }

    /// An error of the script's own, by what was raised.
    pub(crate) fn script_error(&self, lua: &Lua, kind: &str, message: &str) -> ScriptError {
        let line = self.line(lua);
        let name = self.with(|running| running.name.clone()).unwrap_or_default();
        let (at, message) = without_place(&name, message);
        ScriptError::new(kind, message, at.or(line))
    }

    /// Asks for a call. The number of the call, or the error of its arguments.
    pub(crate) fn submit(
        &self,
        lua: &Lua,
        account: Option<String>,
        name: &str,
        arguments: &Variadic<LuaValue>,
    ) -> mlua::Result<Result<u64, Raised>> {
        if self.control.stopped().is_some() {
            return Err(stopped());
        }
        let line = self.line(lua);
        let account = account.or_else(|| self.namespaces.default.clone());
        let refused = |error: Error| {
            let function = catalog::find(name).map_or("", |function| function.json);
            let failed =
                FailedCall { function, account: account.clone(), error, write: WriteOutcome::None };
            let error = ScriptError::of_call(failed, line, &docs::example_call(name));
            self.raised(lua, error).map(Err)
        };
        let function = match catalog::find(name) {
            Ok(function) => function,
            Err(error) => return refused(error),
        };
        let Some(account_name) = account.clone() else {
            return refused(self.namespaces.no_default());
        };
        let arguments = match self.arguments(function, arguments) {
            Ok(arguments) => arguments,
            Err(error) => return refused(error),
        };
        let most = self.limits.calls;
        let id = self.with(|running| {
            running.calls += 1;
            let id = running.calls as u64;
            (running.calls <= most).then(|| {
                let asked = Asked { id, account: account_name, function, arguments, line };
                let _ = running.events.send(Event::Call(asked));
                id
            })
        })?;
        match id {
            Some(id) => Ok(Ok(id)),
            None => self.stop(lua, Stop::Calls),
        }
    }

    /// The arguments of a call: one table of named ones, or nothing.
    fn arguments(&self, function: &Function, given: &Variadic<LuaValue>) -> Result<Value, Error> {
        let usage = |message: String| Err(Error::Usage { message });
        let name = function.json;
        let table = match given.as_slice() {
            [] | [LuaValue::Nil] => return Ok(Value::Object(serde_json::Map::new())),
            [LuaValue::Table(table)] => table,
            [LuaValue::Table(first), ..] if is_namespace(first) => {
                return usage(format!("{name} is called with a dot and not with a colon"));
            }
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
            return usage(format!("{name} is called with a dot and not with a colon"));
        }
        let value = LuaValue::Table(table.clone());
        let mut arguments = self
            .marks
            .to_json(&value, name, MAX_ARGUMENTS_BYTES * 2)
            .map_err(|message| Error::InvalidArgument { message })?;
        if let Value::Array(items) = &arguments
            && !items.is_empty()
        {
            return usage(format!("{name} takes named arguments, and none by their places"));
        }
        fit_arguments(function, &mut arguments);
        Ok(arguments)
    }

    /// Takes in what has come, without waiting.
    fn drain(running: &mut Running) {
        while let Ok(reply) = running.replies.try_recv() {
            running.take_in(reply);
        }
    }

    pub(crate) fn seen(&self) -> mlua::Result<u64> {
        self.with(|running| {
            Self::drain(running);
            running.seen
        })
    }

    /// The outcome of a call, where it has come.
    pub(crate) fn take(&self, id: u64) -> mlua::Result<Option<Result<Value, FailedCall>>> {
        self.with(|running| {
            Self::drain(running);
            running.arrived.remove(&id)
        })
    }

    /// Waits until something has come that is enough.
    pub(crate) fn wait(&self, lua: &Lua, is_enough: impl Fn(&Running) -> bool) -> mlua::Result<()> {
        loop {
            if self.control.stopped().is_some() {
                return Err(stopped());
            }
            let waited = self.with(|running| {
                Self::drain(running);
                if is_enough(running) {
                    return Ok(true);
                }
                // Whoever waits for this script wakes it where it is to stop, and is waited for.
                match running.replies.recv() {
                    Ok(reply) => {
                        running.take_in(reply);
                        Ok(is_enough(running))
                    }
                    Err(_) => Err(()),
                }
            })?;
            match waited {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(()) => return self.stop(lua, Stop::Abandoned),
            }
        }
    }
}

impl Running {
    fn take_in(&mut self, reply: Reply) {
        match reply {
            Reply::Call { id, result } => {
                self.seen += 1;
                self.arrived.insert(id, result);
            }
            Reply::Wake => {}
        }
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.arrived.contains_key(&id)
    }

    pub(crate) fn has_more_than(&self, seen: u64) -> bool {
        self.seen > seen
    }
}

fn stopped() -> mlua::Error {
    mlua::Error::runtime(STOPPED)
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
