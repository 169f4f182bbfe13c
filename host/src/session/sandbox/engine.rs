//! The engine: it runs every call in a fresh instance with limits.

use crate::config::limits::Limits;
use crate::error::Error;
use crate::session::outbound::{Hooks, Outbox};
use crate::session::sandbox::cache;
use crate::session::sandbox::convert;
use crate::session::sandbox::epoch::EpochTimer;
use crate::session::sandbox::packaged::{self, Packaged};
use crate::session::sandbox::preflight;
use crate::session::sandbox::turns::{Turn, Turns};
use crate::session::sandbox::type_check;
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
use whereby_catalog::{FUNCTIONS, Function, Interface, Type};

/// The maximum size of a component's file, in bytes.
pub(crate) const MAX_COMPONENT_BYTES: u64 = 16 * 1024 * 1024;

/// How much a function's result may make the host allocate, in bytes: a function may return a whole
/// response.
const RESULT_BYTES: usize = 8 * 1024 * 1024;

/// How much the component may pass in one call of the host, in bytes. Times [`RESOURCES`], it bounds what
/// the host keeps for the component.
const CROSSING_BYTES: usize = 64 * 1024;

/// The maximum number of resources that a call may hold.
const RESOURCES: usize = 256;

/// How much a call may write to its standard output and error, in bytes each.
const OUTPUT_BYTES: usize = 64 * 1024;

/// The maximum size of the headers of one request or response in memory, in bytes.
const HEADERS_BYTES: usize = 32 * 1024;

/// The maximum number of random bytes per request.
const RANDOM_BYTES: u64 = 4096;

/// Limits on the parts of a component. The built-in one has two core instances, one memory and one table.
/// A guarded component has three memories, and may have one more in the functions.
const CORE_INSTANCES: u32 = 16;
const MEMORIES: u32 = 4;
const TABLES: u32 = 8;
pub(crate) const TABLE_ELEMENTS: usize = 10_000;
const INSTANCE_BYTES: usize = 1024 * 1024;

/// How much of an instance's memory is wiped and reused instead of being returned to the system, in bytes.
/// Allocating it again would take most of the time of an instance.
const KEPT_BYTES: usize = 512 * 1024;

/// The maximum size of a sparse memory image, in bytes. A few bytes far apart would make a large image.
const IMAGE_BYTES: u64 = 1024 * 1024;

/// How much a memory outside the pool reserves for growth, in bytes.
const GROWTH_BYTES: u64 = 1024 * 1024;

/// How many ticks a component may compute before it takes turns with others. The built-in one needs less
/// than one.
const FREE_TICKS: u32 = 1;

/// The rules for a guard in the component: reading is allowed anyway.
const ALLOW_ALL: &str = "write = \"allow\"\ndestination = \"allow\"";

/// How much of its own stack the component may use, in bytes.
const WASM_STACK: usize = 512 * 1024;

/// One call of a component.
pub(crate) struct Invocation<'a> {
    pub(crate) function: &'static Function,
    pub(crate) arguments: &'a [Val],
    /// The claims of the API key, for functions that show them.
    pub(crate) claims: Option<&'a str>,
    /// The base URL of the API.
    pub(crate) api: &'a str,
    pub(crate) limits: &'a Limits,
    pub(crate) clock: &'a Clock,
    pub(crate) outbox: Arc<Outbox>,
}

/// A compiled and linked component.
pub(crate) struct Engine {
    wasmtime: Wasmtime,
    pre: InstancePre<CallState>,
    exports: Vec<(&'static str, ComponentExportIndex)>,
    epoch_timer: EpochTimer,
    turns: Turns,
    packaged: Packaged,
    /// Whether the component contains others, and so perhaps a guard.
    is_composed: bool,
}

impl Engine {
    /// Compiles a component, or loads its compiled code, and links it. `digest` is the component's SHA-256;
    /// `packaged` is code of the built-in component.
    pub(crate) fn new(
        bytes: &[u8],
        digest: &str,
        limits: &Limits,
        packaged: Option<&Path>,
        cache: Option<&Path>,
    ) -> Result<Self, Error> {
        let memories = preflight::memories(bytes).clamp(1, MEMORIES);
        let wasmtime = set_up(limits, memories)?;
        let packaged = packaged.map(|path| packaged::load(&wasmtime, digest, path));
        let (packaged, component) = packaged.unwrap_or((Packaged::Absent, None));
        let component = match component {
            Some(component) => component,
            None => cache::load(&wasmtime, bytes, digest, limits, cache)?,
        };
        let linker = linker(&wasmtime)
            .map_err(|error| Error::internal(format!("WASI could not be linked: {error:#}")))?;
        // The linker accepts imports of another patch version, so it decides.
        let linked = linker.instantiate_pre(&component);
        let pre = linked.map_err(|error| unlinkable(&wasmtime, &component, &error))?;
        let exports = exports(&wasmtime, &component)?;
        let epoch_timer = EpochTimer::start(&wasmtime)?;
        let (turns, is_composed) = (Turns::default(), memories > 1);
        Ok(Self { wasmtime, pre, exports, epoch_timer, turns, packaged, is_composed })
    }

    /// Returns whether packaged code is used.
    pub(crate) fn packaged(&self) -> &Packaged {
        &self.packaged
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
        let state = CallState::new(invocation, self.is_composed);
        let mut store = Store::new(&self.wasmtime, state);
        store.limiter(|state| &mut state.limiter);
        store.call_hook(|mut store, hook| {
            store.set_hostcall_fuel(match hook {
                CallHook::ReturningFromWasm => RESULT_BYTES,
                _ => CROSSING_BYTES,
            });
            // A component that waits for the host does not compute.
            if let (CallHook::CallingHost, Some(turn)) = (hook, &store.data().turn) {
                turn.end();
            }
            Ok(())
        });
        store.set_max_component_handles(RESOURCES);
        store.set_epoch_deadline(1);
        let (new_turn, mut ticks) = (self.turns.turn(), 0_u32);
        store.epoch_deadline_callback(move |mut store| {
            ticks = ticks.saturating_add(1);
            if ticks <= FREE_TICKS {
                return Ok(UpdateDeadline::Yield(1));
            }
            let turn = store.data_mut().turn.get_or_insert_with(|| new_turn.clone());
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

/// Sets up the engine with a pool, or without one if the system does not grant the address space.
fn set_up(limits: &Limits, memories: u32) -> Result<Wasmtime, Error> {
    let engine = Wasmtime::new(&config(Some(pool(limits, memories))));
    let engine = engine.or_else(|_| Wasmtime::new(&config(None)));
    engine.map_err(|error| {
        resource_limit::refused(error.chain()).unwrap_or_else(|| {
            Error::internal(format!("the WebAssembly engine could not be set up: {error:#}"))
        })
    })
}

/// Sets up an engine whose code runs on every processor of this program's target.
pub(crate) fn for_packages() -> wasmtime::Result<Wasmtime> {
    let mut config = config(Some(pool(&Limits::default(), 1)));
    // Naming the target switches off what this processor has beyond it.
    Wasmtime::new(config.target(env!("TARGET"))?)
}

/// Returns a pool of memory and stacks for all concurrent calls. It is fast, and reserves 4 GiB of address
/// space per call and memory.
fn pool(limits: &Limits, memories: u32) -> PoolingAllocationConfig {
    let calls = limits.concurrent_calls;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(CORE_INSTANCES))
        .total_memories(calls.saturating_mul(memories))
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

/// Returns the configuration of an engine. Without a pool, memory and stacks are allocated on demand.
fn config(pool: Option<PoolingAllocationConfig>) -> Config {
    let mut config = Config::new();
    match pool {
        Some(pool) => config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool)),
        None => config
            .allocation_strategy(InstanceAllocationStrategy::OnDemand)
            .memory_reservation(0)
            .memory_guard_size(0)
            .memory_reservation_for_growth(GROWTH_BYTES),
    };
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

/// Returns a linker with the only interfaces of WASI 0.2 that a component may import.
fn linker(engine: &Wasmtime) -> wasmtime::Result<Linker<CallState>> {
    use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
    use wasmtime_wasi::p2::bindings::{cli, random};
    use wasmtime_wasi::random::WasiRandom;
    type State = CallState;

    let mut linker = Linker::<State>::new(engine);
    let l = &mut linker;
    // The world `wasi:http/proxy`, without its export.
    wasmtime_wasi_http::p2::add_to_linker_async(l)?;
    random::insecure::add_to_linker::<State, WasiRandom>(l, |state| state.wasi.random())?;
    random::insecure_seed::add_to_linker::<State, WasiRandom>(l, |state| state.wasi.random())?;
    cli::environment::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::exit::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, State::cli)?;
    Ok(linker)
}

/// Returns the error for a component that cannot be linked, with the imports that are missing.
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
    Error::component_fault(format!(
        "the component wants more than it may have: {wants}; it may import wasi:io, wasi:clocks, \
             wasi:random, wasi:cli and the outgoing half of wasi:http"
    ))
}

/// Finds the functions that the component exports, and checks their types.
fn exports(
    engine: &Wasmtime,
    component: &Component,
) -> Result<Vec<(&'static str, ComponentExportIndex)>, Error> {
    let mut found = Vec::new();
    for function in FUNCTIONS {
        let interface = component.get_export_index(None, function.interface.export());
        let export = |of| component.get_export(Some(&of), function.name);
        let Some((item, export)) = interface.and_then(export) else { continue };
        if let ComponentItem::ComponentFunc(ty) = item
            && !type_check::matches(function, &ty)
        {
            return Err(Error::component_fault(format!(
                "the component's {} does not have the type that {} defines",
                function.name,
                function.interface.export()
            )));
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
        return Err(Error::component_fault(format!(
            "the component exports {exports}; it must export whereby:agent/read@0.1.0, \
                 whereby:agent/write@0.1.0 or both"
        )));
    }
    Ok(found)
}

/// Why a call did not return.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    /// Whether the host failed, and not the component.
    pub(crate) is_host: bool,
}

impl Fault {
    fn of(error: &wasmtime::Error, limiter: &Limiter) -> Self {
        // Making an instance fails if the system is out of resources such as file descriptors.
        let by_system = resource_limit::refused(error.chain());
        let is_host = by_system.is_some();
        let known = limiter.refused.clone().or(by_system.map(|error| error.to_string()));
        let message = known.unwrap_or_else(|| {
            // Without the backtrace, which only helps authors of components.
            let cause = text::printable(&error.root_cause().to_string(), 300);
            format!("the component failed: {cause}")
        });
        Self { message, is_host }
    }
}

/// The host's clock for the component, whose default dates must match the grant.
struct WallClock(Clock);

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.0.since_epoch()
    }
}

/// The state of one call.
struct CallState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    hooks: Hooks,
    limiter: Limiter,
    /// The turn of a component that computes for more than [`FREE_TICKS`].
    turn: Option<Turn>,
}

impl CallState {
    fn new(invocation: Invocation<'_>, is_composed: bool) -> Self {
        let Invocation { function, claims, api, limits, clock, outbox, .. } = invocation;
        let mut wasi = WasiCtxBuilder::new();
        wasi.env("WHEREBY_API_URL", api)
            .wall_clock(WallClock(clock.clone()))
            .stdout(MemoryOutputPipe::new(OUTPUT_BYTES))
            .stderr(MemoryOutputPipe::new(OUTPUT_BYTES))
            .max_random_size(RANDOM_BYTES);
        if let Some(claims) = claims {
            wasi.env("WHEREBY_KEY_CLAIMS", claims);
        }
        if is_composed && function.interface == Interface::Write {
            // This host has decided about the call, and a guard in the component knows none of its rules.
            // The guard allows reads without rules, so it need not parse any.
            wasi.env("WHEREBY_PERMISSIONS", ALLOW_ALL);
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
        // First, because an unfinished body looks finished when it is dropped.
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

/// Stops a component that exceeds its limits, and records why.
struct Limiter {
    memory: usize,
    /// The size of all memories together, in bytes.
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
        self.refuse(format!(
            "the component wanted more than {most} MiB of memory; limits.memory_mib allows no more"
        ))
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
