//! Interrupts components that compute for long, so that time limits and turns apply.

use crate::error::Error;
use crate::system::resource_limit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;
use wasmtime::Engine;

/// How long a component computes between interruptions.
const TICK: Duration = Duration::from_millis(10);

/// How many ticks without a call the thread goes on, so that successive calls need not wake it.
const IDLE_TICKS: u32 = 100;

/// A thread that advances the engine's epoch while calls run.
pub(crate) struct EpochTimer {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    calls: AtomicUsize,
    parked: AtomicBool,
    stop: AtomicBool,
}

impl EpochTimer {
    pub(crate) fn start(engine: &Engine) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let engine = engine.weak();
        let seen = Arc::clone(&shared);
        let handle = std::thread::Builder::new()
            .name("whereby-epoch_timer".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                let mut idle = 0;
                while !seen.stop.load(Ordering::SeqCst) {
                    std::thread::park_timeout(TICK);
                    let Some(engine) = engine.upgrade() else { return };
                    engine.increment_epoch();
                    idle = if seen.calls.load(Ordering::SeqCst) > 0 { 0 } else { idle + 1 };
                    if idle < IDLE_TICKS {
                        continue;
                    }
                    drop(engine);
                    // `keep_ticking` reads `parked` after counting its call, and this thread reads the
                    // count after setting `parked`, so one of them sees the other.
                    seen.parked.store(true, Ordering::SeqCst);
                    while seen.calls.load(Ordering::SeqCst) == 0
                        && !seen.stop.load(Ordering::SeqCst)
                    {
                        std::thread::park();
                    }
                    seen.parked.store(false, Ordering::SeqCst);
                    idle = 0;
                }
            })
            .map_err(|error| resource_limit::no_thread(&error))?;
        Ok(Self { shared, thread: handle.thread().clone(), handle: Some(handle) })
    }

    /// Keeps the thread ticking until the returned value is dropped.
    pub(crate) fn keep_ticking(&self) -> impl Drop + use<> {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(Arc::clone(&self.shared))
    }
}

impl Drop for EpochTimer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
        if let Some(handle) = self.handle.take() {
            // A panic of the thread was already printed.
            let _ = handle.join();
        }
    }
}

struct Ticking(Arc<Shared>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}
