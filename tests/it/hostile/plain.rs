//! wasmtime without this host: WASI and HTTP as its own crates provide them, with the key in the
//! environment, as an embedder would do it.

use serde_json::Value;
use std::time::Duration;
use wasmtime::component::{Component, Instance, InstancePre, Linker, ResourceTable, Val};
use wasmtime::{Config, Engine, ResourceLimiter, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use whereby::catalog::Function;

/// After how many instructions a component that computes gives way, so that its call can be ended.
const TURN: u64 = 500_000;

/// How much each memory of a component may have, in bytes. More than the guard's own limit.
const MEMORY: usize = 256 * 1024 * 1024;

/// The error when a memory would become larger.
const NO_MEMORY: &str = "the embedder has no more memory";

pub(super) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // A memory may have a maximum of its own, which is not the embedder's.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if desired > MEMORY { Err(wasmtime::Error::msg(NO_MEMORY)) } else { Ok(true) }
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let hooks = wasmtime_wasi_http::default_hooks();
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks }
    }
}

/// How a call ended. The text is what an embedder sees, for reading.
#[derive(Debug)]
pub(super) enum Ended {
    Succeeded(String),
    /// The component returned an error.
    Failed(String),
    Trapped(String),
    /// Nothing ended it but a limit on time or memory, which wasmtime does not have by default.
    CutOff,
}

impl Ended {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Succeeded(text) | Self::Failed(text) | Self::Trapped(text) => text,
            Self::CutOff => "",
        }
    }
}

/// A compiled component.
pub(super) struct Plain(InstancePre<State>);

impl Plain {
    pub(super) fn new(component: &[u8]) -> Self {
        let mut config = Config::new();
        config.consume_fuel(true);
        let engine = Engine::new(&config).expect("an engine");
        let component = Component::new(&engine, component).expect("a component");
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("WASI");
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).expect("WASI HTTP");
        Self(linker.instantiate_pre(&component).expect("it imports WASI and nothing else"))
    }

    /// Makes one call in an instance of its own.
    pub(super) async fn call(
        &self,
        variables: &[(&str, String)],
        function: &Function,
        arguments: &Value,
        time: Duration,
    ) -> Ended {
        let mut running = self.start(variables).await;
        running.call(function, arguments, time).await
    }

    /// Starts an instance that stays for several calls.
    pub(super) async fn start(&self, variables: &[(&str, String)]) -> Running {
        let state = State {
            wasi: WasiCtx::builder().envs(variables).build(),
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
        };
        let mut store = Store::new(self.0.engine(), state);
        store.limiter(|state| state);
        store.set_fuel(u64::MAX).expect("fuel");
        store.fuel_async_yield_interval(Some(TURN)).expect("fuel");
        let instance = self.0.instantiate_async(&mut store).await.expect("an instance");
        Running { store, instance }
    }
}

/// An instance of a component.
pub(super) struct Running {
    store: Store<State>,
    instance: Instance,
}

impl Running {
    /// Calls a function. The instance is of no use after a call that trapped or was cut off.
    pub(super) async fn call(
        &mut self,
        function: &Function,
        arguments: &Value,
        time: Duration,
    ) -> Ended {
        let Self { store, instance } = self;
        let interface = instance.get_export_index(&mut *store, None, &function.interface.export());
        let export = instance.get_export_index(&mut *store, interface.as_ref(), function.name);
        let func =
            instance.get_func(&mut *store, export.expect("the function")).expect("a function");
        let values: Vec<Val> = function
            .params
            .iter()
            .map(|param| {
                let given = arguments.get(param.json).and_then(Value::as_str).map(str::to_owned);
                match (param.is_optional(), given) {
                    (false, given) => Val::String(given.expect("a text")),
                    (true, given) => Val::Option(given.map(|text| Box::new(Val::String(text)))),
                }
            })
            .collect();
        let mut results = [Val::Bool(false)];
        let called = func.call_async(&mut *store, &values, &mut results);
        let Ok(called) = tokio::time::timeout(time, called).await else { return Ended::CutOff };
        let text = format!("{results:?}");
        match (called, results) {
            (Ok(()), [Val::Result(Ok(_))]) => Ended::Succeeded(text),
            (Ok(()), [Val::Result(Err(_))]) => Ended::Failed(text),
            (Ok(()), _) => panic!("not a result: {text}"),
            (Err(trap), _) => match format!("{trap:?}") {
                text if text.contains(NO_MEMORY) => Ended::CutOff,
                text => Ended::Trapped(text),
            },
        }
    }
}
