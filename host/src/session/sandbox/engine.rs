//! The engine: one for a process, a fresh and limited instance for every call.

use crate::config::limits::Limits;
use crate::error::Error;
use crate::session::outbound::{Hooks, Outbox};
use crate::session::sandbox::cache;
use crate::session::sandbox::convert;
use crate::session::sandbox::turns::{Turn, Turns};
use crate::system::clock::Clock;
use crate::system::resource_limit;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentExportIndex, InstancePre, Linker, ResourceTable, Val,
};
use wasmtime::{
    CallHook, Config, Enabled, Engine as Wasmtime, InstanceAllocationStrategy,
    PoolingAllocationConfig, ResourceLimiter, Store, UpdateDeadline,
};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use whereby_authority::text;
use whereby_catalog::{FUNCTIONS, Function, Type};

/// The greatest size of a component's file, in bytes.
pub(crate) const MAX_COMPONENT_BYTES: u64 = 16 * 1024 * 1024;

/// How much a function's result may make the host allocate, in bytes: somewhat more than the largest
/// answer, which a function may return whole.
const RESULT_BYTES: usize = 8 * 1024 * 1024;

/// How much the component may hand over in one call of the host, in bytes; times [`RESOURCES`], it
/// bounds what the host can be made to keep.
const CROSSING_BYTES: usize = 64 * 1024;

/// How many resources a call may hold at a time.
const RESOURCES: usize = 256;

/// How much a call may write to its standard output and error, in bytes each.
const OUTPUT_BYTES: usize = 64 * 1024;

/// How large all headers of one request or answer may be in memory, in bytes.
const HEADERS_BYTES: usize = 32 * 1024;

/// How much randomness one request for it may ask for, in bytes.
const RANDOM_BYTES: u64 = 4096;

/// Bounds on what a component is made of; ours has four core instances, one memory and two tables.
const CORE_INSTANCES: u32 = 16;
const MEMORIES: u32 = 2;
const TABLES: u32 = 8;
pub(crate) const TABLE_ELEMENTS: usize = 10_000;
const INSTANCE_BYTES: usize = 1024 * 1024;

/// How much of an instance's memory is wiped for the next one instead of being given back to the
/// system, in bytes: fetching it anew would take most of the time that an instance takes.
const KEPT_BYTES: usize = 512 * 1024;

/// How large the first contents of a memory may be when they are laid out as an image, in bytes, where
/// most of it is nothing: a few bytes far apart would make a large one.
const IMAGE_BYTES: u64 = 1024 * 1024;

/// How much room for growing a memory has that comes from no pool, in bytes.
const GROWTH_BYTES: u64 = 1024 * 1024;

/// How many ticks a component may compute before it takes turns with others. The built-in one needs
/// less than one.
const FREE_TICKS: u32 = 1;

/// How much of its own stack the component may use, in bytes.
const WASM_STACK: usize = 512 * 1024;

/// One call: what is called, and what it is given.
pub(crate) struct Invocation<'a> {
    pub(crate) function: &'static Function,
    pub(crate) arguments: &'a [Val],
    /// The claims of the API key, for the one function that shows them.
    pub(crate) claims: Option<&'a str>,
    /// The base of the API.
    pub(crate) api: &'a str,
    pub(crate) limits: &'a Limits,
    pub(crate) clock: &'a Clock,
    pub(crate) outbox: Arc<Outbox>,
}

/// A component, compiled and linked, ready to be called.
pub(crate) struct Engine {
    wasmtime: Wasmtime,
    pre: InstancePre<CallState>,
    exports: Vec<(&'static str, ComponentExportIndex)>,
    epoch_timer: crate::session::sandbox::epoch::EpochTimer,
    turns: Turns,
}

impl Engine {
    /// Compiles a component, or takes the compiled code from the cache, and links it.
    pub(crate) fn new(bytes: &[u8], limits: &Limits, cache: Option<&Path>) -> Result<Self, Error> {
        let wasmtime = set_up(limits)?;
        let component = cache::load(&wasmtime, bytes, limits, cache)?;
        let linker = linker(&wasmtime).map_err(|error| Error::Internal {
            message: format!("WASI could not be linked: {error:#}"),
        })?;
        // An import that the linker has under another patch version is linked, so the linker is asked.
        let linked = linker.instantiate_pre(&component);
        let pre = linked.map_err(|error| unlinkable(&wasmtime, &component, &error))?;
        let exports = exports(&wasmtime, &component)?;
        let epoch_timer = crate::session::sandbox::epoch::EpochTimer::start(&wasmtime)?;
        Ok(Self { wasmtime, pre, exports, epoch_timer, turns: Turns::default() })
    }

    /// Whether the component exports a function.
    pub(crate) fn has(&self, function: &Function) -> bool {
        self.exports.iter().any(|(name, _)| *name == function.json)
    }

    /// Calls a function in a fresh instance. The inner result is the function's own.
    pub(crate) async fn call(
        &self,
        invocation: Invocation<'_>,
    ) -> Result<Result<Value, Value>, Fault> {
        let _ticking = self.epoch_timer.keep_ticking();
        let Invocation { function, arguments, .. } = invocation;
        let state = CallState::new(invocation);
        let mut store = Store::new(&self.wasmtime, state);
        store.limiter(|state| &mut state.limiter);
        store.call_hook(|mut store, hook| {
            store.set_hostcall_fuel(match hook {
                CallHook::ReturningFromWasm => RESULT_BYTES,
                _ => CROSSING_BYTES,
            });
            // Whoever waits for the host does not compute.
            if let (CallHook::CallingHost, Some(turn)) = (hook, &store.data().turn) {
                turn.end();
            }
            Ok(())
        });
        store.set_max_component_handles(RESOURCES);
        store.set_epoch_deadline(1);
        let (turns, mut ticks) = (self.turns.place(), 0_u32);
        store.epoch_deadline_callback(move |mut store| {
            ticks = ticks.saturating_add(1);
            if ticks <= FREE_TICKS {
                return Ok(UpdateDeadline::Yield(1));
            }
            let turn = store.data_mut().turn.get_or_insert_with(|| turns.clone());
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(turn.clone().next())))
        });
        let result = self.run(&mut store, function, arguments).await;
        result.map_err(|error| Fault::of(&error, &store.data().limiter))
    }

    async fn run(
        &self,
        store: &mut Store<CallState>,
        function: &'static Function,
        arguments: &[Val],
    ) -> wasmtime::Result<Result<Value, Value>> {
        let export = self.exports.iter().find(|(name, _)| *name == function.json);
        let Some((_, export)) = export else {
            wasmtime::bail!("the component does not export {}", function.name);
        };
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let Some(callee) = instance.get_func(&mut *store, *export) else {
            wasmtime::bail!("the component does not export {} as a function", function.name);
        };
        let mut results = [Val::Bool(false)];
        callee.call_async(&mut *store, arguments, &mut results).await?;
        let [result] = results;
        let Val::Result(result) = result else {
            wasmtime::bail!("{} did not return a result", function.name);
        };
        let to_json = |ty: &Type, val: Option<Box<Val>>| {
            val.and_then(|val| convert::from_val(ty, *val)).ok_or_else(|| {
                wasmtime::format_err!("{} returned a value that JSON cannot say", function.name)
            })
        };
        Ok(match result {
            Ok(value) => Ok(to_json(&function.result, value)?),
            Err(error) => Err(to_json(&Type::Variant(&whereby_catalog::ERROR), error)?),
        })
    }
}

/// Where instances have their memory and stacks from.
#[derive(Clone, Copy)]
enum Room {
    /// A pool, made ready for all calls at a time. It is fast, and takes 4 GiB of address space for
    /// each of them.
    Pool,
    /// What each needs, when it needs it.
    OnDemand,
}

/// Sets up the engine: with a pool, or without one where the system does not give so many addresses.
fn set_up(limits: &Limits) -> Result<Wasmtime, Error> {
    let engine = Wasmtime::new(&config(limits, Room::Pool));
    let engine = engine.or_else(|_| Wasmtime::new(&config(limits, Room::OnDemand)));
    engine.map_err(|error| {
        resource_limit::refused(error.chain()).unwrap_or_else(|| Error::Internal {
            message: format!("the WebAssembly engine could not be set up: {error:#}"),
        })
    })
}

fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let calls = limits.concurrent_calls;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(CORE_INSTANCES))
        .total_memories(calls)
        .total_tables(calls.saturating_mul(TABLES))
        .total_stacks(calls)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memories_per_module(MEMORIES)
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .max_component_instance_size(INSTANCE_BYTES)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_memory_size(limits.memory_bytes)
        .linear_memory_keep_resident(KEPT_BYTES)
        .table_keep_resident(KEPT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}

fn config(limits: &Limits, room: Room) -> Config {
    let mut config = Config::new();
    match room {
        Room::Pool => {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
        }
        Room::OnDemand => {
            config
                .allocation_strategy(InstanceAllocationStrategy::OnDemand)
                .memory_reservation(0)
                .memory_guard_size(0)
                .memory_reservation_for_growth(GROWTH_BYTES);
        }
    }
    config
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(2 * WASM_STACK)
        .memory_guaranteed_dense_image_size(IMAGE_BYTES)
        .wasm_component_model(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false);
    config
}

/// The interfaces of WASI 0.2 that a component may import, and no others.
fn linker(engine: &Wasmtime) -> wasmtime::Result<Linker<CallState>> {
    use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
    use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
    use wasmtime_wasi::p2::bindings::{cli, clocks, random};
    use wasmtime_wasi::random::WasiRandom;
    type State = CallState;

    let mut linker = Linker::<State>::new(engine);
    let l = &mut linker;
    wasmtime_wasi_io::add_to_linker_async(l)?;
    clocks::wall_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    clocks::monotonic_clock::add_to_linker::<State, WasiClocks>(l, State::clocks)?;
    random::random::add_to_linker::<State, WasiRandom>(l, |state| state.wasi.random())?;
    random::insecure::add_to_linker::<State, WasiRandom>(l, |state| state.wasi.random())?;
    random::insecure_seed::add_to_linker::<State, WasiRandom>(l, |state| state.wasi.random())?;
    cli::environment::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(l)?;
    Ok(linker)
}

/// Why a component cannot be linked, by the name of what it wants that is not there.
fn unlinkable(engine: &Wasmtime, component: &Component, error: &wasmtime::Error) -> Error {
    let ty = component.component_type();
    let allowed = ["wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:cli/", "wasi:http/"];
    let foreign: Vec<String> = ty
        .imports(engine)
        .map(|(name, _)| name)
        .filter(|name| !allowed.iter().any(|prefix| name.starts_with(prefix)))
        .map(|name| text::printable(name, 100))
        .collect();
    let wants = if foreign.is_empty() {
        text::printable(&format!("{error:#}"), 300)
    } else {
        foreign.join(", ")
    };
    Error::ComponentFault {
        message: format!(
            "the component wants more than it may have: {wants}; it may import wasi:io, wasi:clocks, \
             wasi:random, wasi:cli and the outgoing half of wasi:http"
        ),
    }
}

/// Finds the functions that the component exports, and refuses one that has another type than ours.
fn exports(
    engine: &Wasmtime,
    component: &Component,
) -> Result<Vec<(&'static str, ComponentExportIndex)>, Error> {
    let mut found = Vec::new();
    for function in FUNCTIONS {
        let interface = component.get_export_index(None, function.interface.export());
        let Some(export) = interface
            .and_then(|interface| component.get_export_index(Some(&interface), function.name))
        else {
            continue;
        };
        if let Some((ComponentItem::ComponentFunc(ty), _)) =
            interface.and_then(|interface| component.get_export(Some(&interface), function.name))
            && !crate::session::sandbox::type_check::matches(function, &ty)
        {
            return Err(Error::ComponentFault {
                message: format!(
                    "the component's {} has another type than {} has",
                    function.name,
                    function.interface.export()
                ),
            });
        }
        found.push((function.json, export));
    }
    if found.is_empty() {
        let exports = component.component_type();
        let exports = exports.exports(engine).map(|(name, _)| text::printable(name, 100));
        let mut exports: Vec<String> = exports.take(11).collect();
        if let Some(more) = exports.get_mut(10) {
            *more = "…".into();
        }
        let exports = if exports.is_empty() { "nothing".into() } else { exports.join(", ") };
        return Err(Error::ComponentFault {
            message: format!(
                "the component exports {exports}; it must export whereby:agent/read@0.1.0, \
                 whereby:agent/write@0.1.0 or both"
            ),
        });
    }
    Ok(found)
}

/// How a call ended that did not return.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    /// Whether it was the host that failed, and not the component.
    pub(crate) is_host: bool,
}

impl Fault {
    fn of(error: &wasmtime::Error, limiter: &Limiter) -> Self {
        // Making an instance takes what the system may have run out of, such as file descriptors.
        let by_system = resource_limit::refused(error.chain());
        let is_host = by_system.is_some();
        let message = match (&limiter.refused, by_system) {
            (Some(refused), _) => refused.clone(),
            (None, Some(error)) => error.to_string(),
            (None, None) => {
                // The backtrace is for whoever writes components; the root cause is for everybody.
                let cause = text::printable(&error.root_cause().to_string(), 300);
                format!("the component failed: {cause}")
            }
        };
        Self { message, is_host }
    }
}

/// The host's clock, as the component reads it: its default dates have to match the grant.
struct WallClock(Clock);

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.0.since_epoch()
    }
}

/// What one call owns while it lasts.
struct CallState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: Hooks,
    limiter: Limiter,
    /// The turn at computing of a component that computes for long.
    turn: Option<Turn>,
}

impl CallState {
    fn new(invocation: Invocation<'_>) -> Self {
        let Invocation { claims, api, limits, clock, outbox, .. } = invocation;
        let mut wasi = WasiCtxBuilder::new();
        wasi.env("WHEREBY_API_URL", api)
            .wall_clock(WallClock(clock.clone()))
            .stdout(MemoryOutputPipe::new(OUTPUT_BYTES))
            .stderr(MemoryOutputPipe::new(OUTPUT_BYTES))
            .max_random_size(RANDOM_BYTES);
        if let Some(claims) = claims {
            wasi.env("WHEREBY_KEY_CLAIMS", claims);
        }
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(HEADERS_BYTES);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        Self {
            wasi: wasi.build(),
            http,
            table,
            hooks: Hooks(outbox),
            limiter: Limiter { memory: limits.memory_bytes, taken: 0, refused: None },
            turn: None,
        }
    }
}

impl Drop for CallState {
    fn drop(&mut self) {
        // Before the rest is dropped: a body that nobody can finish any more looks finished.
        self.hooks.0.shut();
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for CallState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

impl wasmtime_wasi_io::IoView for CallState {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

/// Stops a component that takes more than it may, and remembers what it wanted.
struct Limiter {
    memory: usize,
    /// How much all its memories have together, in bytes.
    taken: usize,
    refused: Option<String>,
}

impl Limiter {
    fn refuse(&mut self, message: String) -> wasmtime::Result<bool> {
        let error = wasmtime::format_err!("{message}");
        self.refused.get_or_insert(message);
        Err(error)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let taken = self.taken.saturating_add(desired.saturating_sub(current));
        if taken <= self.memory {
            self.taken = taken;
            return Ok(true);
        }
        let most = self.memory / (1024 * 1024);
        self.refuse(format!("the component wanted more than {most} MiB of memory"))
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired <= TABLE_ELEMENTS {
            return Ok(true);
        }
        self.refuse(format!("the component wanted a table of more than {TABLE_ELEMENTS} elements"))
    }
}
