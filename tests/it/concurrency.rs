//! Many calls at a time, and what they share: slots, a budget, compiled code.

use crate::wire::{ALLOW_ALL, daily_world, kind, message, sent};
use serde_json::json;
use std::path::Path;
use tokio::task::JoinSet;
use whereby::simulator::{Gate, Reply, RoomSeed, Switches};
use whereby::{Session, Settings};
use whereby_tests::{World, set_mode};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_slots_wait_for_one_and_all_succeed() {
    let (world, _) = daily_world().await;
    world.simulator.set_switches(Switches { rate_limit: 0, ..Switches::default() });
    world.configure(&format!("{ALLOW_ALL}[limits]\nconcurrent_calls = 2\n"));
    let session = world.session();
    // The first two hold their slots until it is known that nobody else got one.
    let gate = Gate::new();
    let held = Reply::carried_out().held_by(&gate);
    world.simulator.script("GET", "/v1/meetings", 20, held);
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let session = session.clone();
        calls.spawn(async move { session.call(None, "list_rooms", json!({})).await });
    }
    world.simulator.wait_for_requests(2).await;
    // Whoever else had got a slot would have been seen before this one, which has slots of its own.
    let other = world.session().call(None, "create_room", json!({})).await;
    assert!(other.result.is_ok(), "{:?}", other.result);
    let requests = world.requests();
    let reads = requests.iter().filter(|request| request.method == "GET").count();
    assert_eq!(reads, 2, "a third call was under way");
    gate.open();
    let outcomes = calls.join_all().await;
    assert_eq!(outcomes.len(), 20);
    for outcome in outcomes {
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    }
    assert_eq!(sent(&world).len(), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_dropped_give_their_slots_back() {
    let (world, _) = daily_world().await;
    world.configure(&format!("{ALLOW_ALL}[limits]\nconcurrent_calls = 1\n"));
    let session = world.session();
    for round in 1..=3 {
        let never = Reply::carried_out().never_answering();
        world.simulator.script("GET", "/v1/meetings", 1, never);
        tokio::select! {
            outcome = session.call(None, "list_rooms", json!({})) => panic!("{outcome:?}"),
            () = world.simulator.wait_for_requests(2 * round - 1) => {}
        }
        // A request is counted before its script is taken, and it may have been dropped in between.
        world.simulator.clear_scripts();
        let outcome = session.call(None, "list_rooms", json!({})).await;
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_at_once_lose_and_double_nothing() {
    let (world, _) = daily_world().await;
    world.simulator.set_switches(Switches { rate_limit: 0, ..Switches::default() });
    let limits = "[limits]\nconcurrent_calls = 64\ntimeout_seconds = 300\n";
    world.configure(&format!("{limits}{ALLOW_ALL}"));
    let session = world.session();
    let mut calls = JoinSet::new();
    for number in 0..1000 {
        let session = session.clone();
        let call = match number % 10 {
            0 => ("create_room", json!({ "room_name_prefix": format!("n{number}-") })),
            _ => ("get_room", json!({ "room_name": "daily" })),
        };
        calls.spawn(async move { session.call(None, call.0, call.1).await });
    }
    let outcomes = calls.join_all().await;
    let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.result.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(world.requests().len(), 1000);
    let mut prefixes: Vec<String> = world
        .requests()
        .iter()
        .filter(|request| request.method == "POST")
        .map(|request| crate::wire::body(request)["roomNamePrefix"].to_string())
        .collect();
    prefixes.sort();
    prefixes.dedup();
    assert_eq!(prefixes.len(), 100, "a creation is missing or was made twice");
    assert_eq!(world.audit().len(), 1000);
    // A connection that is just given back may be replaced by a new one.
    assert!(world.simulator.connections() <= 64, "{}", world.simulator.connections());
}

/// A session that keeps compiled code in a folder.
fn session_with_cache(world: &World, folder: &Path) -> Session {
    let environment = world.environment();
    let settings = Settings::load(None, &environment).expect("a good configuration");
    let builder = Session::builder().settings(settings).environment(environment);
    builder.cache(Some(folder.to_owned())).build().expect("a session")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sessions_may_fill_one_folder_of_compiled_code_at_the_same_time() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let folder = world.path("fresh");
    std::fs::create_dir(&folder).expect("a folder");
    set_mode(&folder, 0o700);
    let call = |session: Session| async move { session.call(None, "list_rooms", json!({})).await };
    // The second time, each finds what the first time left there.
    for _ in 0..2 {
        let [first, second] = [(); 2].map(|()| session_with_cache(&world, &folder));
        let (first, second) = tokio::join!(tokio::spawn(call(first)), tokio::spawn(call(second)));
        for outcome in [first.expect("no panic"), second.expect("no panic")] {
            assert!(outcome.result.is_ok(), "{:?}", outcome.result);
        }
        let files = std::fs::read_dir(&folder).expect("the folder");
        let names: Vec<_> = files.map(|file| file.expect("a file").file_name()).collect();
        assert_eq!(names.len(), 1, "one component, and nothing unfinished: {names:?}");
    }
}

#[tokio::test]
async fn answers_that_are_too_large_together_end_the_call() {
    let (world, _) = daily_world().await;
    world.configure(&format!("{ALLOW_ALL}[limits]\nanswer_mib = 1\nanswers_mib = 1\n"));
    let padded = |page: usize, size: usize| {
        let padding = " ".repeat(size);
        let page = format!("{{\"results\": [], \"cursor\": \"page-{page}\"{padding}}}");
        Reply::status(200).body(page)
    };
    for (size, fits) in [(400 * 1024, false), (1024, true)] {
        world.simulator.clear_requests();
        world.simulator.clear_scripts();
        // Each page says that there is another one.
        for page in 0..3 {
            world.simulator.script("GET", "/v1/meetings", 1, padded(page, size));
        }
        let last = Reply::status(200).body("{\"results\": [], \"cursor\": null}");
        world.simulator.script("GET", "/v1/meetings", 1, last);
        let outcome = world.call("get_room", json!({"room_name": "daily"})).await;
        if fits {
            assert_eq!((kind(&outcome), sent(&world).len()), ("not-found", 4));
        } else {
            assert_eq!(kind(&outcome), "component-fault");
            let text = message(&outcome);
            assert!(text.contains("more than 1048576 bytes of answers"), "{text}");
            assert_eq!(sent(&world).len(), 3);
        }
    }
}

#[tokio::test]
async fn the_components_memory_is_enough_for_the_answers_that_fit() {
    let (world, _) = daily_world().await;
    // As large as a page can be without one string that is too long, in members that the component reads.
    let page = |page: usize| {
        let text = "x".repeat(1700);
        let room = json!({
            "meetingId": text, "roomName": format!("/{text}"), "startDate": text, "endDate": text,
            "roomUrl": format!("https://acme-demo.whereby.com/{}", "y".repeat(200)),
        });
        let rooms = vec![room; 100];
        Reply::status(200).json(&json!({"results": rooms, "cursor": format!("page-{page}")}))
    };
    for (limits, is_enough, said) in [
        ("", true, "gave up looking for the room `daily` after 2000 rooms"),
        (
            "[limits]\nanswers_mib = 64\nmemory_mib = 8\n",
            false,
            "more than 8 MiB of memory; limits.memory_mib allows no more",
        ),
    ] {
        world.configure(&format!("{ALLOW_ALL}{limits}"));
        world.simulator.clear_requests();
        world.simulator.clear_scripts();
        (0..20).for_each(|n| world.simulator.script("GET", "/v1/meetings", 1, page(n)));
        let outcome = world.call("get_room", json!({"room_name": "daily"})).await;
        assert!(message(&outcome).contains(said), "{}", message(&outcome));
        assert_eq!(sent(&world).len() == 20, is_enough, "{limits}");
    }
}

/// A component that has sent many requests, none of them answered, leaves connections to other calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_many_slow_requests_leaves_connections_to_others() {
    let (world, _) = daily_world().await;
    let session = world.session_with(None, Some(crate::hostile::HOSTILE.to_vec()));
    let gate = Gate::new();
    let held = Reply::carried_out().held_by(&gate);
    world.simulator.script("GET", "/v1/meetings", 1000, held);
    let call = |program: &str| {
        let (session, program) = (session.clone(), program.to_owned());
        tokio::spawn(
            async move { session.call(None, "list_rooms", json!({"cursor": program})).await },
        )
    };
    let greedy = call("run many ok");
    world.simulator.wait_for_requests(17).await;
    let modest: Vec<_> = (0..10).map(|n| call(&format!("run get ok {n}"))).collect();
    // Each of them gets a connection, while the first call would have sent all of its requests by now.
    world.simulator.wait_for_requests(27).await;
    let requests = world.requests();
    let others = requests.iter().filter(|sent| !sent.query.contains("many")).count();
    assert_eq!((requests.len(), others), (27, 10));
    gate.open();
    for outcome in modest {
        assert!(outcome.await.expect("no panic").result.is_ok());
    }
    assert!(greedy.await.expect("no panic").result.is_ok());
}
