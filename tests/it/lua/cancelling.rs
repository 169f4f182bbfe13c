//! Scripts that nobody waits for any more, and people who take their time.

use super::open_world;
use serde_json::json;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use whereby::lua::{Limits, Runtime, machines};
use whereby::simulator::Reply;
use whereby::{Answer, Approver, Question, WriteOutcome};

/// Less than a call takes.
const LIMIT: Duration = Duration::from_millis(1);

#[tokio::test]
async fn a_script_that_is_dropped_stops_with_its_calls() {
    let world = open_world().await;
    for script in [
        "app.integrations.whereby.list_rooms({})",
        "app.parallel{ function() app.integrations.whereby.list_rooms({}) end, function() while true do coroutine.yield() end end }",
    ] {
        let before = world.requests().len();
        world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().never_answering());
        let mut limits = Limits::default();
        limits.steps = u64::MAX;
        let runtime = Runtime::new(world.session()).limits(limits);
        tokio::select! {
            report = runtime.run(script, "test.lua") => panic!("{report:?}"),
            () = world.simulator.wait_for_requests(before + 1) => {}
        }
        // Other tests' scripts end as well.
        while machines() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_script_that_the_user_stops_says_what_was_under_way() {
    let world = open_world().await;
    world.simulator.script("POST", "/v1/meetings", 1, Reply::carried_out().never_answering());
    let script = "print('begun') app.integrations.whereby.create_room({})";
    let runtime = Runtime::new(world.session());
    let until = world.simulator.wait_for_requests(1);
    let report = runtime.run_until(script, "test.lua", until).await;
    assert_eq!(report.error.as_ref().expect("stopped").exit().code(), 130);
    assert_eq!(report.output, "begun\n");
    let document = report.to_json();
    assert_eq!(document["error"]["kind"], "interrupted");
    assert_eq!(document["calls"][0]["error"], "interrupted");
    assert_eq!(document["calls"][0]["effect"], "unknown");
}

#[tokio::test]
async fn the_time_limit_holds_while_a_call_is_waited_for() {
    let world = open_world().await;
    world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().never_answering());
    let mut limits = Limits::default();
    limits.timeout = Duration::from_millis(200);
    let runtime = Runtime::new(world.session()).limits(limits);
    let script = "pcall(app.integrations.whereby.list_rooms) while true do end";
    let report = runtime.run(script, "test.lua").await;
    assert_eq!(report.error.expect("stopped").kind, "time-limit");
    assert_eq!(
        (report.calls[0].error, report.calls[0].write),
        (Some("interrupted"), WriteOutcome::None)
    );
}

/// Thinks until the time of the script is up.
struct Slow;

impl Approver for Slow {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async {
            let started = std::time::Instant::now();
            while started.elapsed() < 20 * LIMIT {
                tokio::task::yield_now().await;
            }
            Answer::Approved
        })
    }
}

#[tokio::test]
async fn the_time_that_a_person_takes_is_not_the_script_s() {
    let world = open_world().await;
    world.configure("");
    let session = world.session_with(Some(Arc::new(Slow)), None);
    let mut limits = Limits::default();
    limits.timeout = LIMIT;
    let script = "return app.integrations.whereby.create_room({ room_name_prefix = 'slow-' }).roomName ~= nil";
    for is_asking in [true, false] {
        // The person is asked all the time, so that it does not matter how fast the rest is.
        let asking = Arc::new(AtomicBool::new(is_asking));
        let runtime = Runtime::new(session.clone()).limits(limits.clone()).asking(asking);
        let report = runtime.run(script, "test.lua").await;
        match report.error {
            None => assert_eq!((is_asking, report.result), (true, json!(true))),
            Some(error) => assert_eq!((is_asking, error.kind.as_str()), (false, "time-limit")),
        }
    }
}
