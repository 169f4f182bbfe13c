//! Calls that are made after a person has approved them: for callers that wait, for callers that repeat the
//! call, and for callers that are gone.

mod changed;
mod hostile;
mod tasks;

pub(crate) use tasks::over_http;

use super::{Client, Connected, answers, params, server};
use crate::cli::ran;
use crate::wire::daily;
use rmcp::model::{CallToolResult, ElicitationAction};
use serde_json::{Value, json};
use whereby::simulator::{Gate, Reply, RoomSeed};
use whereby::{ApprovalState, Session};
use whereby_tests::World;

const CREATE: &str = "whereby_create_room";
const RESUME: &str = "whereby_resume";

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;

/// A room that ends long after anything here, so that a call is the same a year later.
fn room(prefix: &str) -> Value {
    json!({"room_name_prefix": prefix, "end_date": "2999-01-01T00:00:00Z"})
}

async fn connect(world: &World) -> Connected {
    Connected::new(world, Client::new(None).0).await
}

/// Makes a call that is stored for approval; its id.
async fn stored(connected: &Connected, tool: &str, arguments: Value) -> String {
    let error = connected.fail(tool, arguments).await;
    assert_eq!(error["kind"], "approval-required", "{error}");
    error["approval_id"].as_str().expect("an id").to_owned()
}

/// The same by a client that goes away.
async fn left_behind(world: &World, tool: &str, arguments: Value) -> String {
    let connected = connect(world).await;
    let id = stored(&connected, tool, arguments).await;
    connected.end().await;
    id
}

async fn resume(connected: &Connected, id: &str, seconds: u64) -> CallToolResult {
    connected.call(RESUME, json!({"approval_id": id, "wait_seconds": seconds})).await
}

async fn resume_fails(connected: &Connected, id: &str) -> Value {
    connected.fail(RESUME, json!({"approval_id": id, "wait_seconds": 0})).await
}

/// How many requests that write reached the server.
fn writes(world: &World) -> usize {
    world.requests().iter().filter(|request| request.method != "GET").count()
}

fn data(result: &CallToolResult) -> Value {
    assert_eq!(result.is_error, Some(false), "{result:?}");
    result.structured_content.clone().expect("a result")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn state(world: &World, id: &str) -> ApprovalState {
    world.store().approval(id).expect("read").expect("an approval").state
}

#[tokio::test]
async fn a_call_is_made_while_its_caller_waits_for_a_person() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    let waiting = resume_fails(&connected, &id).await;
    assert_eq!(waiting["kind"], "approval-required");
    assert_eq!(waiting["approval_id"], id.as_str());
    assert!(text(&waiting["hint"]).contains(&format!("approvals approve {id}")), "{waiting}");
    world.assert_untouched();
    let approve = ["approvals", "approve", &id];
    let (made, _) = tokio::join!(resume(&connected, &id, 60), ran(&world, &approve, 0));
    let made = data(&made);
    assert!(text(&made["roomName"]).starts_with("a-"), "{made}");
    assert_eq!(writes(&world), 1);
    // Who asks again has the same result, and who repeats the call asks for another approval.
    assert_eq!(data(&resume(&connected, &id, 0).await), made);
    assert_ne!(stored(&connected, CREATE, room("a-")).await, id);
    connected.end().await;
    assert_eq!(writes(&world), 1);
    let rows = world.audit();
    let made: Vec<_> = rows.iter().filter(|row| row.approval.is_some()).collect();
    assert_eq!(made.len(), 1, "{rows:?}");
    assert_eq!(made[0].approval.as_deref(), Some(id.as_str()));
    assert_eq!(made[0].approved_by.as_deref(), Some("approval"));
    assert_eq!(
        (made[0].front_end.as_str(), made[0].client.as_deref()),
        ("mcp", Some("tester 1.0"))
    );
    assert_eq!(state(&world, &id), ApprovalState::Used);
}

#[tokio::test]
async fn a_call_is_made_by_itself_and_its_result_answers_one_repetition() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    world.simulator.wait_for_requests(1).await;
    // The same call in another spelling.
    let again = json!({"room_name_prefix": "A-", "end_date": "2999-01-01T01:00:00+01:00"});
    let made = data(&connected.call(CREATE, again).await);
    assert!(text(&made["roomName"]).starts_with("a-"), "{made}");
    assert_eq!(writes(&world), 1);
    assert_ne!(stored(&connected, CREATE, room("a-")).await, id);
    connected.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn of_several_who_repeat_a_call_one_gets_its_result() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    world.simulator.wait_for_requests(1).await;
    let calls = (0..6).map(|_| {
        let peer = connected.client.peer().clone();
        tokio::spawn(async move { peer.call_tool(params(CREATE, room("a-"))).await })
    });
    let mut got = 0;
    for call in calls.collect::<Vec<_>>() {
        let result = call.await.expect("no panic").expect("an answer");
        got += usize::from(result.is_error == Some(false));
    }
    assert_eq!((got, writes(&world)), (1, 1));
    connected.end().await;
}

#[tokio::test]
async fn a_call_that_was_approved_while_no_server_ran_is_made_by_the_next() {
    let world = World::with_rooms(Vec::new()).await;
    let id = left_behind(&world, CREATE, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    world.assert_untouched();
    let connected = connect(&world).await;
    world.simulator.wait_for_requests(1).await;
    let made = data(&resume(&connected, &id, 60).await);
    assert!(text(&made["roomName"]).starts_with("a-"), "{made}");
    connected.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn a_client_that_declines_by_itself_does_not_stop_a_person_elsewhere() {
    // It declines while a person approves elsewhere, or before.
    for meanwhile in [true, false] {
        let world = World::with_rooms(Vec::new()).await;
        let (mut client, _progress) = Client::new(answers(ElicitationAction::Decline));
        let store = world.store();
        if meanwhile {
            client.before_answer = Some(std::sync::Arc::new(move || {
                for open in store.approvals(false).expect("read") {
                    store.approve(&open.id).expect("approved");
                }
            }));
        }
        let connected = Connected::new(&world, client).await;
        if !meanwhile {
            let id = stored(&connected, CREATE, room("a-")).await;
            ran(&world, &["approvals", "approve", &id], 0).await;
        }
        let made = data(&connected.call(CREATE, room("a-")).await);
        assert!(text(&made["roomName"]).starts_with("a-"), "{made}");
        connected.end().await;
        assert_eq!(writes(&world), 1);
        assert_eq!(world.store().approvals(false).expect("read"), []);
        let decided: Vec<String> =
            world.decisions().iter().map(|row| row.decision.clone().expect("one").what).collect();
        assert_eq!(decided, ["approve"]);
    }
}

#[tokio::test]
async fn a_no_is_told_and_holds() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    let deny = ["approvals", "deny", &id];
    let wait = json!({"approval_id": id, "wait_seconds": 60});
    let (denied, _) = tokio::join!(connected.fail(RESUME, wait), ran(&world, &deny, 0));
    assert_eq!(denied["kind"], "denied");
    assert_eq!(connected.fail(CREATE, room("a-")).await["kind"], "denied");
    // An approval that is revoked before a program makes the call is none.
    connected.end().await;
    let id = left_behind(&world, CREATE, room("b-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    ran(&world, &["approvals", "deny", &id], 0).await;
    let connected = connect(&world).await;
    assert_eq!(resume_fails(&connected, &id).await["kind"], "denied");
    connected.end().await;
    world.assert_untouched();
}

#[tokio::test]
async fn what_was_denied_and_is_approved_after_all_is_made_by_itself_too() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    ran(&world, &["approvals", "deny", &id], 0).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    world.simulator.wait_for_requests(1).await;
    assert_eq!(resume_fails(&connected, &id).await["kind"], "denied", "it was this one");
    let made = data(&connected.call(CREATE, room("a-")).await);
    assert!(text(&made["roomName"]).starts_with("a-"), "{made}");
    connected.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn time_ends_requests_and_approvals_whatever_the_clock_does() {
    let world = World::with_rooms(Vec::new()).await;
    for (index, seconds) in
        [HOUR + 1, 31 * DAY, 400 * DAY, -DAY, -400 * DAY].into_iter().enumerate()
    {
        let undecided = left_behind(&world, CREATE, room(&format!("u{index}-"))).await;
        let unused = left_behind(&world, CREATE, room(&format!("n{index}-"))).await;
        ran(&world, &["approvals", "approve", &unused], 0).await;
        // An approval lasts 15 minutes, and a clock that is set back ends it.
        world.move_clock(if seconds > 0 { 16 * 60 } else { seconds });
        let connected = connect(&world).await;
        for id in [&unused, &undecided].into_iter().take(if seconds > 0 { 1 } else { 2 }) {
            let error = resume_fails(&connected, id).await;
            assert_eq!(error["kind"], "approval-required", "{seconds}: {error}");
            assert!(text(&error["message"]).contains("has expired"), "{seconds}: {error}");
            assert_eq!(error["hint"], "make the very same call again to ask for another approval");
        }
        world.move_clock(if seconds > 0 { seconds } else { 0 });
        for id in [&undecided, &unused] {
            // After a month, nothing is left of it.
            let error = resume_fails(&connected, id).await;
            let is_known = seconds.abs() <= DAY || seconds < 0;
            let kind = if is_known { "approval-required" } else { "usage" };
            assert!([kind, "approval-required"].contains(&text(&error["kind"])), "{error}");
        }
        connected.end().await;
    }
    world.assert_untouched();
}

#[tokio::test]
async fn what_changed_between_the_yes_and_the_call_holds() {
    type Change = fn(&World) -> String;
    let changes: [(&str, Change, &str, &str); 5] = [
        (
            "stricter rules",
            |world| {
                world.configure("[permissions]\nwrite = \"deny\"\n");
                String::new()
            },
            "denied",
            "is denied",
        ),
        (
            "a stricter project",
            |world| {
                world.write("project/.whereby.toml", "[permissions]\nwrite = \"deny\"\n");
                String::new()
            },
            "denied",
            "is denied",
        ),
        (
            "another key",
            |world| {
                let file = world.path("config/whereby/config.toml");
                let text = std::fs::read_to_string(&file).expect("read");
                let [work, other] = [0, 1].map(|at| world.simulator.tokens()[at].clone());
                text.replace(&work, &other)
            },
            "approval-required",
            "another key, component or API",
        ),
        (
            "no such account",
            |world| {
                let file = world.path("config/whereby/config.toml");
                let text = std::fs::read_to_string(&file).expect("read");
                text.replace("accounts.work", "accounts.home").replace("\"work\"", "\"home\"")
            },
            "usage",
            "work",
        ),
        ("a freeze", |_| "freeze".into(), "denied", "is stopped"),
    ];
    for (name, change, kind, words) in changes {
        let world = World::with_rooms(Vec::new()).await;
        let id = left_behind(&world, CREATE, room("a-")).await;
        ran(&world, &["approvals", "approve", &id], 0).await;
        match change(&world).as_str() {
            "" => {}
            "freeze" => drop(ran(&world, &["freeze"], 0).await),
            text => drop(world.write("config/whereby/config.toml", text)),
        }
        let connected = connect(&world).await;
        for _ in 0..2 {
            let error = resume_fails(&connected, &id).await;
            assert_eq!(error["kind"], kind, "{name}: {error}");
            assert!(text(&error["message"]).contains(words), "{name}: {error}");
            assert_eq!(error["effect"], "none", "{name}: {error}");
        }
        connected.end().await;
        world.assert_untouched();
    }
}

#[tokio::test]
async fn what_changes_while_a_caller_waits_holds() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    let file = world.path("config/whereby/config.toml");
    let text_before = std::fs::read_to_string(&file).expect("read");
    let [work, other] = [0, 1].map(|at| world.simulator.tokens()[at].clone());
    let change = async {
        // The server has begun to serve the call before it answers this.
        connected.tools().await;
        world.write("config/whereby/config.toml", &text_before.replace(&work, &other));
        ran(&world, &["approvals", "approve", &id], 0).await
    };
    let wait = json!({"approval_id": id, "wait_seconds": 60});
    let (error, _) = tokio::join!(connected.fail(RESUME, wait), change);
    assert!(text(&error["message"]).contains("another key"), "{error}");
    connected.end().await;
    world.assert_untouched();
}

#[tokio::test]
async fn the_rules_of_the_caller_hold_in_whichever_program_makes_the_call() {
    let world = World::with_rooms(Vec::new()).await;
    let id = left_behind(&world, CREATE, room("a-")).await;
    // The rules of the folder that the caller works in become stricter, and another program works elsewhere.
    world.write("project/.whereby.toml", "[permissions]\nwrite = \"deny\"\n");
    ran(&world, &["approvals", "approve", &id], 0).await;
    let mut environment = world.environment();
    std::fs::create_dir(world.path("elsewhere")).expect("a folder");
    environment.directory = world.path("elsewhere");
    let settings = whereby::Settings::load(None, &environment).expect("settings");
    let elsewhere = Session::builder()
        .settings(settings)
        .environment(environment)
        .store(world.store())
        .build()
        .expect("a session");
    let elsewhere = whereby::mcp::Server::builder(elsewhere).build();
    let connected = Connected::to(&elsewhere, Client::new(None).0).await;
    let error = resume_fails(&connected, &id).await;
    assert!(text(&error["message"]).contains("other configuration files"), "{error}");
    // A call of its own is made, so it would have made the other one by now.
    let own = stored(&connected, CREATE, room("b-")).await;
    ran(&world, &["approvals", "approve", &own], 0).await;
    data(&resume(&connected, &own, 60).await);
    connected.end().await;
    assert_eq!((writes(&world), state(&world, &id)), (1, ApprovalState::Approved));
}

#[tokio::test]
async fn a_call_that_sent_nothing_keeps_its_approval_and_can_be_made_again() {
    let world = World::with_rooms(Vec::new()).await;
    let wait = Reply::status(429).header("retry-after", "900");
    world.simulator.script("POST", "/v1/meetings", 1, wait);
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    world.simulator.wait_for_requests(1).await;
    let mut result = resume(&connected, &id, 60).await;
    if result.is_error == Some(true) {
        let error = &result.meta.expect("a document").0["whereby/error"];
        assert_eq!((text(&error["kind"]), text(&error["effect"])), ("rate-limited", "none"));
        result = resume(&connected, &id, 60).await;
    }
    let made = data(&result);
    assert!(text(&made["roomName"]).starts_with("a-"), "{made}");
    connected.end().await;
    assert_eq!(writes(&world), 2);
    let done = world
        .audit()
        .iter()
        .filter(|row| row.outcome.as_ref().is_some_and(|outcome| outcome.effect == "done"))
        .count();
    assert_eq!(done, 1);
}

#[tokio::test]
async fn an_outcome_that_is_not_known_is_said_to_be_unknown_and_the_call_is_not_made_again() {
    let world = World::with_rooms(Vec::new()).await;
    let cut = Reply::carried_out().hanging_up();
    world.simulator.script("POST", "/v1/meetings", 1, cut);
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    let wait = json!({"approval_id": id, "wait_seconds": 60});
    for _ in 0..2 {
        let error = connected.fail(RESUME, wait.clone()).await;
        assert_eq!(error["effect"], "unknown", "{error}");
        assert!(text(&error["hint"]).contains("list_rooms"), "{error}");
        assert!(text(&error["hint"]).contains("before trying again"), "{error}");
    }
    assert_ne!(stored(&connected, CREATE, room("a-")).await, id);
    connected.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn an_error_of_whereby_is_the_result() {
    let world = World::with_rooms(vec![daily()]).await;
    let reply = Reply::status(400).json(&json!({"error": "no such mode"}));
    world.simulator.script("POST", "/v1/meetings", 1, reply);
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    world.simulator.wait_for_requests(1).await;
    let wait = json!({"approval_id": id, "wait_seconds": 60});
    let error = connected.fail(RESUME, wait.clone()).await;
    assert_eq!((text(&error["kind"]), &error["http_status"]), ("rejected", &json!(400)), "{error}");
    assert!(text(&error["message"]).contains("no such mode"), "{error}");
    assert_eq!(connected.fail(RESUME, wait).await, error);
    connected.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn a_large_result_is_kept_whole_for_an_hour() {
    let name = |index: usize| format!("room-{index:04}-{}", "x".repeat(30));
    let rooms = (0..1200).map(|index| RoomSeed::named(&name(index))).collect();
    let world = World::with_rooms(rooms).await;
    let list = json!({"limit": 100});
    let direct = world.call("list_rooms", list.clone()).await.result.expect("a list");
    world.configure("[permissions]\nread = \"ask\"\n");
    let connected = connect(&world).await;
    let id = stored(&connected, "whereby_list_rooms", list.clone()).await;
    let approve = ["approvals", "approve", &id];
    let (made, _) = tokio::join!(resume(&connected, &id, 60), ran(&world, &approve, 0));
    assert_eq!(data(&made), direct);
    connected.end().await;
    let connected = connect(&world).await;
    assert_eq!(data(&resume(&connected, &id, 0).await), direct);
    let before = world.requests().len();
    world.move_clock(HOUR + 60);
    let error = resume_fails(&connected, &id).await;
    assert!(text(&error["message"]).contains("its result was not kept"), "{error}");
    assert_eq!(error["effect"], "none");
    connected.end().await;
    assert_eq!(world.requests().len(), before);
}

#[tokio::test]
async fn a_write_whose_result_is_gone_is_said_to_have_happened() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    world.simulator.wait_for_requests(1).await;
    data(&resume(&connected, &id, 60).await);
    for seconds in [HOUR + 60, DAY] {
        world.move_clock(seconds);
        let error = resume_fails(&connected, &id).await;
        assert!(text(&error["message"]).contains("its result was not kept"), "{error}");
        assert_eq!(error["effect"], "done");
    }
    world.move_clock(31 * DAY);
    // Another call cleans up.
    stored(&connected, CREATE, room("b-")).await;
    assert_eq!(resume_fails(&connected, &id).await["kind"], "usage");
    connected.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_call() {
    let world = World::with_rooms(Vec::new()).await;
    let gate = Gate::new();
    world.simulator.script("POST", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    let waiting = {
        let (peer, id) = (connected.client.peer().clone(), id.clone());
        tokio::spawn(async move {
            peer.call_tool(params(RESUME, json!({"approval_id": id, "wait_seconds": 60}))).await
        })
    };
    ran(&world, &["approvals", "approve", &id], 0).await;
    world.simulator.wait_for_requests(1).await;
    waiting.abort();
    let ending = tokio::spawn(connected.end());
    gate.open();
    ending.await.expect("the server finishes the call and ends");
    let rows = world.audit();
    let outcome = rows.last().and_then(|row| row.outcome.clone()).expect("an end");
    assert!(outcome.success, "{outcome:?}");
    let connected = connect(&world).await;
    let made = data(&connected.call(CREATE, room("a-")).await);
    assert_eq!(Some(text(&made["roomName"])), outcome.room_name.as_deref());
    connected.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn a_command_that_waits_and_a_server_make_one_call_together() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    let arguments = room("a-").to_string();
    let call = ["call", "create_room", &arguments, "--wait", "60", "--json"];
    let approve = async {
        // The command has stored nothing of its own.
        ran(&world, &["approvals", "approve", &id], 0).await
    };
    let (called, _) = tokio::join!(world.run(&call), approve);
    assert_eq!(called.code, 0, "{called:?}");
    connected.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn calls_of_scripts_and_of_the_command_line_are_never_made_by_themselves() {
    let world = World::with_rooms(Vec::new()).await;
    let command = ran(&world, &["call", "create_room", &room("a-").to_string(), "--json"], 5).await;
    let command = text(&command.json()["meta"]["approval_id"]).to_owned();
    let connected = Connected::to(&super::server_with(&world, true), Client::new(None).0).await;
    let script = "app.integrations.whereby.create_room({room_name_prefix = \"b-\", \
        end_date = \"2999-01-01T00:00:00Z\"})";
    connected.call("whereby_run_lua", json!({"script": script})).await;
    let script = world.store().approvals(false).expect("read").pop().expect("stored").id;
    let own = stored(&connected, CREATE, room("c-")).await;
    for id in [&command, &script, &own] {
        ran(&world, &["approvals", "approve", id], 0).await;
    }
    // The youngest is made last.
    world.simulator.wait_for_requests(1).await;
    data(&resume(&connected, &own, 60).await);
    for id in [&command, &script] {
        let error = resume_fails(&connected, id).await;
        assert!(text(&error["message"]).contains("make the very same call again"), "{error}");
        assert_eq!(state(&world, id), ApprovalState::Approved);
    }
    connected.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn the_tool_is_there_as_long_as_somebody_may_wait() {
    let world = World::with_rooms(Vec::new()).await;
    let connected = connect(&world).await;
    let id = stored(&connected, CREATE, room("a-")).await;
    world.configure("[permissions]\nwrite = \"deny\"\n");
    let names = |tools: Vec<rmcp::model::Tool>| tools.iter().any(|tool| tool.name == RESUME);
    assert!(!names(connected.tools().await));
    ran(&world, &["approvals", "approve", &id], 0).await;
    let wait = json!({"approval_id": id, "wait_seconds": 60});
    let error = connected.fail(RESUME, wait).await;
    assert_eq!(error["kind"], "denied", "{error}");
    connected.end().await;
    world.assert_untouched();
    let without = Connected::to(
        &whereby::mcp::Server::builder(
            Session::builder().settings(world.session().settings().clone()).build().expect("one"),
        )
        .build(),
        Client::new(None).0,
    )
    .await;
    assert!(!names(without.tools().await), "there is no state directory");
    without.end().await;
    let _ = server(&world);
}

#[tokio::test]
async fn a_person_is_told_whether_the_call_is_made_by_itself() {
    let world = World::with_rooms(vec![daily()]).await;
    let own = left_behind(&world, CREATE, room("a-")).await;
    let call = ["call", "delete_room", "--arg", "room_name=daily", "--json"];
    let of_shell = ran(&world, &call, 5).await.json()["meta"]["approval_id"].clone();
    let of_shell = text(&of_shell).to_owned();
    let by_server = "The MCP server that asked makes the call now";
    let by_caller = "Now make the same call again";
    let said = ran(&world, &["approvals", "approve", &own], 0).await.stdout;
    assert!(said.contains(by_server) && !said.contains(by_caller), "{said}");
    let said = ran(&world, &["approvals", "approve", &of_shell], 0).await.stdout;
    assert!(said.contains(by_caller) && !said.contains(by_server), "{said}");
    let browser = crate::inbox::Browser::of(&world).await;
    for (id, words) in [
        (&own, "An MCP server makes the call by itself, by "),
        (&of_shell, "The same call can be made again once, until "),
    ] {
        let page = browser.page(&format!("/approvals/{id}")).await;
        assert!(page.contains(words), "{page}");
    }
    let page = browser.page(&format!("/?decided={own}")).await;
    assert!(page.contains("The MCP server now makes the call."), "{page}");
}
