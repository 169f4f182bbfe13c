//! The guard of this instance.
//!
//! The memory of a call is freed as a whole when the next one begins, so each call gets a new guard. Memory is kept for
//! resources that the functions still hold when a call ends: all that is in use, for as long as they hold one that can
//! change. For one that never changes, what is in use at the end of the call that made it is kept for good.

use core::cell::{Cell, RefCell};
use core::mem;

use crate::bindings::wasi::cli::environment;
use crate::bindings::wasi::clocks::wall_clock;
use crate::guard::{Guard, Past};
#[cfg(target_arch = "wasm32")]
use crate::runtime;
use whereby_authority::timestamp::Timestamp;

/// How much memory may be kept for the functions, in bytes: a quarter of what there is.
const MAX_KEPT: usize = 32 * 1024 * 1024;

/// The state of the instance.
struct State {
    /// The guard, while a call is under way.
    guard: RefCell<Option<Guard>>,
    past: Cell<Past>,
    /// The number of calls that ended.
    ended: Cell<u64>,
    /// The number of resources that the functions hold and that can change.
    held: Cell<usize>,
    /// The number of those that never change and that were made since the last call ended.
    fixed: Cell<usize>,
}

// SAFETY: a component has one thread.
#[expect(unsafe_code, reason = "a static must be shared, and a component has one thread")]
unsafe impl Sync for State {}

static STATE: State = State {
    guard: RefCell::new(None),
    past: Cell::new(Past::NONE),
    ended: Cell::new(0),
    held: Cell::new(0),
    fixed: Cell::new(0),
};

/// Uses the guard. It must not be used within.
pub(crate) fn with<T>(action: impl FnOnce(&mut Guard) -> T) -> T {
    let mut state = STATE.guard.borrow_mut();
    let new = || Guard::new(environment::get_environment(), STATE.past.get());
    let guard = state.get_or_insert_with(new);
    let result = action(guard);
    if let Some(past) = guard.past() {
        STATE.past.set(past);
        // Freed with all of the call's memory.
        mem::forget(state.take());
    }
    result
}

/// Ends a call, unless one is under way, so that the next one can use its memory. If the functions did not run,
/// nothing more is kept.
pub(crate) fn end_call(has_run: bool) {
    if STATE.guard.borrow().is_some() {
        return;
    }
    // The functions may have made resources before the first call.
    if has_run || STATE.ended.get() == 0 {
        runtime::keep(STATE.fixed.replace(0) > 0, STATE.held.get() > 0);
    }
    STATE.ended.set(STATE.ended.get() + 1);
    runtime::end_call();
}

/// Whether so much memory is kept for the functions that another call may not fit. This stays true: all calls are
/// refused, so the functions can't drop anything.
pub(crate) fn is_full() -> bool {
    runtime::kept() > MAX_KEPT
}

/// Returns the time, or `None` if the clock is not set.
pub(crate) fn now() -> Option<Timestamp> {
    let now = wall_clock::now();
    let seconds = i64::try_from(now.seconds).ok()?.checked_mul(1000)?;
    Timestamp::of_unix_ms(seconds.checked_add(i64::from(now.nanoseconds / 1_000_000))?)
}

/// Counts the resource that contains it, until it is dropped. For one that never changes, this is the number of calls
/// that had ended when it was made.
pub(crate) struct Held(Option<u64>);

impl Held {
    /// Counts a resource that never changes. It uses no memory of later calls.
    pub(crate) fn fixed() -> Self {
        Self::counted(&STATE.fixed, Some(STATE.ended.get()))
    }

    fn counted(count: &Cell<usize>, made: Option<u64>) -> Self {
        // The next call would free the resource's memory. No runtime runs the functions between two calls.
        assert!(!runtime::is_over());
        count.set(count.get() + 1);
        Self(made)
    }
}

impl Default for Held {
    /// Counts a resource that can change.
    fn default() -> Self {
        Self::counted(&STATE.held, None)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let count = match self.0 {
            None => &STATE.held,
            Some(ended) if ended == STATE.ended.get() => &STATE.fixed,
            Some(_) => return,
        };
        count.set(count.get() - 1);
    }
}

/// Stands in for the allocator in tests.
#[cfg(not(target_arch = "wasm32"))]
mod runtime {
    pub(super) fn is_over() -> bool {
        false
    }

    pub(super) fn keep(_: bool, _: bool) {}

    pub(super) fn kept() -> usize {
        0
    }

    pub(super) fn end_call() {}
}
