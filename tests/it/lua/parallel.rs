//! Calls side by side.

use super::{open_world, result, run};
use serde_json::json;
use whereby::lua::{Limits, Runtime};
use whereby::simulator::{Gate, Reply};

#[tokio::test]
async fn calls_are_under_way_at_the_same_time_and_results_come_in_order() {
    let world = open_world().await;
    // The first three are held until all three have been seen.
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 3, Reply::carried_out().held_by(&gate));
    let script = "
        local tasks = {}
        for index = 1, 3 do
            tasks[index] = function()
                return index .. #app.integrations.whereby.list_rooms({ limit = index }).data
            end
        end
        return app.parallel(tasks)";
    let runtime = Runtime::new(world.session());
    let opened = async {
        world.simulator.wait_for_requests(3).await;
        gate.open();
    };
    let (report, ()) = tokio::join!(runtime.run(script, "test.lua"), opened);
    assert_eq!(report.result, json!(["11", "22", "32"]), "{:?}", report.error);
}

#[tokio::test]
async fn no_more_are_under_way_than_may_be() {
    let world = open_world().await;
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 6, Reply::carried_out().held_by(&gate));
    let mut limits = Limits::default();
    limits.parallel = 2;
    let script = "
        local tasks = {}
        for index = 1, 6 do
            tasks[index] = function() return app.integrations.whereby.list_rooms({}) end
        end
        return #app.parallel(tasks)";
    let runtime = Runtime::new(world.session()).limits(limits);
    let opened = async {
        world.simulator.wait_for_requests(2).await;
        // Whoever else was under way would have been seen before this one.
        let other = world.call("create_room", json!({})).await;
        assert!(other.result.is_ok(), "{:?}", other.result);
        let held = world.requests().iter().filter(|request| request.method == "GET").count();
        gate.open();
        held
    };
    let (report, held) = tokio::join!(runtime.run(script, "test.lua"), opened);
    assert_eq!((report.result, held), (json!(6), 2), "{:?}", report.error);
}

#[tokio::test]
async fn all_run_to_their_end_and_the_first_error_is_raised_with_what_the_others_came_to() {
    let world = open_world().await;
    let script = "
        local w = app.integrations.whereby
        local ok, e = pcall(app.parallel, {
            function() return w.get_room({ room_name = 'daily-standup' }).roomName end,
            function() return w.get_room({ room_name = 'nowhere' }) end,
            function() error('of its own') end,
            function() return 4 end,
        })
        return { ok = ok, kind = e.kind, index = e.index, first = e.results[1], last = e.results[4],
            own = e.errors[3], second = e.errors[2].kind }";
    let told = result(&world, script).await;
    assert_eq!(
        told,
        json!({
            "ok": false, "kind": "not-found", "index": 2, "first": "daily-standup", "last": 4,
            "own": "test.lua:6: of its own", "second": "not-found"
        })
    );
    // Uncaught, it ends the script like the call's own error.
    let script = "app.parallel{ function() app.integrations.whereby.get_room({ room_name = 'nowhere' }) end }";
    let report = run(&world, script).await;
    assert_eq!(report.error.expect("it fails").exit().code(), 6);
}

#[tokio::test]
async fn it_goes_wherever_a_function_goes() {
    let world = open_world().await;
    for (script, expected) in [
        // Within itself, within a coroutine, and within what cannot be suspended.
        (
            "return app.parallel{ function() return app.parallel{ list, list } end, list }",
            json!([[2, 2], 2]),
        ),
        (
            "return coroutine.wrap(function() return app.parallel{ list, list } end)()",
            json!([2, 2]),
        ),
        (
            "return app.parallel{ function() return coroutine.wrap(list)() end, list }",
            json!([2, 2]),
        ),
        ("return (('x'):gsub('x', function() return list() end))", json!("2")),
        (
            "local t = setmetatable({}, { __index = list }) return t.x, app.parallel{ function() return t.y end }",
            json!([2, [2]]),
        ),
        (
            "local t = { 3, 1, 2 } table.sort(t, function(a, b) list() return a < b end) return t",
            json!([1, 2, 3]),
        ),
        (
            "return app.parallel{ function() return (pcall(list)) end, function() coroutine.yield() return 1 end }",
            json!([true, 1]),
        ),
        (
            "local done = false return app.parallel{ function() list() done = true return 1 end,
                function() app.parallel{ function() while not done do coroutine.yield() end end } return 2 end }",
            json!([1, 2]),
        ),
        ("return app.parallel{}", json!([])),
        ("return app.parallel{ function() return nil end, function() end }[1]", json!(null)),
    ] {
        let list =
            "local function list() return #app.integrations.whereby.list_rooms({}).data end\n";
        let told = result(&world, &format!("{list}{script}")).await;
        assert_eq!(told, expected, "{script}");
    }
    for (script, expected) in [
        ("app.parallel()", "app.parallel takes an array of functions, not a nil"),
        ("app.parallel{ 1 }", "app.parallel: item 1 is a number; expected a function"),
        ("app.parallel{ print, nil, print }", "app.parallel: item 2 is a nil; expected a function"),
    ] {
        let report = run(&world, script).await;
        assert_eq!(report.error.expect(script).message, expected);
    }
}

#[tokio::test]
async fn calls_one_after_the_other_take_one_connection() {
    let world = open_world().await;
    let script = "for i = 1, 50 do app.integrations.whereby.list_rooms({}) end";
    let runtime = Runtime::new(world.session());
    for _ in 0..2 {
        let report = runtime.run(script, "test.lua").await;
        assert!(report.success(), "{:?}", report.error);
    }
    // The second script's thread is the first one's.
    assert_eq!(world.simulator.connections(), 1);
}
