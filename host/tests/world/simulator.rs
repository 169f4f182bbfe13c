//! A simulated Whereby for tests that wait for programs.

use whereby::simulator::{Options, Simulator};

/// Runs a test's body beside a simulator.
pub(crate) fn beside_simulator(body: impl FnOnce(&Simulator)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let simulator = runtime.block_on(Simulator::start(Options::default())).expect("a simulator");
    body(&simulator);
}
