//! The guard of this instance.

use core::cell::RefCell;

use crate::bindings::wasi::cli::environment;
use crate::bindings::wasi::clocks::wall_clock;
use crate::guard::Guard;
use whereby_authority::timestamp::Timestamp;

/// The state of the instance. It is made when it is first needed.
struct State(RefCell<Option<Guard>>);

// SAFETY: a component has one thread.
#[expect(unsafe_code, reason = "a static must be shared, and a component has one thread")]
unsafe impl Sync for State {}

static STATE: State = State(RefCell::new(None));

/// Uses the guard. It must not be used within.
pub(crate) fn with<T>(action: impl FnOnce(&mut Guard) -> T) -> T {
    let mut guard = STATE.0.borrow_mut();
    action(guard.get_or_insert_with(|| Guard::new(environment::get_environment())))
}

/// Returns the time, or `None` if the clock is not set.
pub(crate) fn now() -> Option<Timestamp> {
    let now = wall_clock::now();
    let seconds = i64::try_from(now.seconds).ok()?.checked_mul(1000)?;
    Timestamp::of_unix_ms(seconds.checked_add(i64::from(now.nanoseconds / 1_000_000))?)
}
