//! Lua scripts: what they can do, what they cannot, and what they are told.

mod accounts;
mod cancelling;
mod console;
mod documentation;
mod failures;
mod hostile;
mod parallel;
mod printing;
mod values;

use crate::wire::ALLOW_ALL;
use serde_json::Value;
use whereby::lua::{Report, Runtime};
use whereby::simulator::RoomSeed;
use whereby_tests::World;

/// A world with the room `daily-standup` and a meeting in `daily`, where everything is allowed.
async fn open_world() -> World {
    let world =
        World::with_rooms(vec![RoomSeed::named("daily-standup"), crate::wire::daily()]).await;
    world.configure(ALLOW_ALL);
    world
}

/// Runs a script as the user of a world, where nobody is asked.
pub(crate) async fn run(world: &World, script: &str) -> Report {
    Runtime::new(world.session()).run(script, "test.lua").await
}

/// What a script returns.
async fn result(world: &World, script: &str) -> Value {
    let report = run(world, script).await;
    assert!(report.success(), "{script}: {:?}", report.error);
    report.result
}

/// The kind and the message of the error that a script ends with.
async fn failure(world: &World, script: &str) -> (String, String) {
    let report = run(world, script).await;
    let error = report.error.unwrap_or_else(|| panic!("{script} came to {}", report.result));
    (error.kind, error.message)
}
