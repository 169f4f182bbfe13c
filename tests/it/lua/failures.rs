//! What a script is told, and what is told of a script.

use super::{failure, open_world, result, run};
use serde_json::json;
use whereby::WriteOutcome;
use whereby::cli::Exit;
use whereby::simulator::Reply;

#[tokio::test]
async fn a_failed_call_raises_a_table_that_tells_all() {
    let world = open_world().await;
    let script = "
        local ok, e = pcall(app.integrations.whereby.get_room, { room_name = 'nowhere' })
        assert(not ok and type(e) == 'table')
        return { kind = e.kind, message = e.message, retryable = e.retryable, effect = e.effect,
            line = e.line, call = e['function'], account = e.account, status = e.http_status,
            meta = getmetatable(e), shown = tostring(e) }";
    let told = result(&world, script).await;
    let message = told["message"].as_str().expect("a message").to_owned();
    assert!(message.starts_with("there is no room `nowhere` now"), "{message}");
    assert_eq!(
        told,
        json!({
            "account": "work",
            "call": "get_room",
            "effect": "none",
            "kind": "not-found",
            "line": 2,
            "message": message,
            "meta": "error",
            "retryable": false,
            "shown": format!("line 2: not-found: {message}"),
        })
    );
}

#[tokio::test]
async fn a_script_is_told_what_is_allowed_and_not_how_to_change_it() {
    let world = open_world().await;
    world.configure("[permissions.functions]\ndelete_room = \"deny\"\n");
    for (call, kind, hint) in [
        (
            "delete_room({ room_name = 'daily' })",
            "denied",
            "do not try another way; for this account",
        ),
        ("create_room({})", "approval-required", "then make the very same call again"),
    ] {
        let call = format!("app.integrations.whereby.{call}");
        let caught = format!("local _, e = pcall(function() {call} end) return e");
        let caught = result(&world, &caught).await;
        let report = run(&world, &call).await.to_json();
        for told in [&caught, &report["error"]] {
            assert_eq!(told["kind"], kind, "{told}");
            assert!(told["hint"].as_str().is_some_and(|told| told.contains(hint)), "{told}");
            assert!(!told.to_string().contains("config.toml"), "{told}");
            assert!(!told.to_string().contains("permissions."), "{told}");
        }
    }
    world.assert_untouched();
}

#[tokio::test]
async fn an_uncaught_error_is_what_it_was_whatever_the_script_makes_of_it() {
    let world = open_world().await;
    let call = "local w = app.integrations.whereby\nlocal ok, e = pcall(w.get_room, { room_name = 'nowhere' })\n";
    for (rest, kind, exit) in [
        ("error(e)", "not-found", Exit::Refused),
        ("error(e, 2)", "not-found", Exit::Refused),
        ("e.kind = 'denied' error(e)", "not-found", Exit::Refused),
        ("coroutine.wrap(function() error(e) end)()", "not-found", Exit::Refused),
        // Made up, or nothing of ours.
        ("error({ kind = 'denied', message = 'made up' })", "script", Exit::Internal),
        (
            "local c = table.clone({ kind = e.kind, message = e.message }) error(c)",
            "script",
            Exit::Internal,
        ),
        ("error('denied')", "script", Exit::Internal),
        ("error()", "script", Exit::Internal),
        ("error(print)", "script", Exit::Internal),
        ("w.get_room({})", "invalid-argument", Exit::Usage),
        ("w.gt_room({})", "usage", Exit::Internal),
    ] {
        let report = run(&world, &format!("{call}{rest}")).await;
        let error = report.error.expect(rest);
        assert_eq!((error.kind.as_str(), error.exit()), (kind, exit), "{rest}: {}", error.message);
        assert!(error.line == Some(3) || error.line == Some(2), "{rest}: {:?}", error.line);
    }
}

#[tokio::test]
async fn errors_of_the_script_itself_have_their_line() {
    let world = open_world().await;
    for (script, line, expected) in [
        ("\nlocal x = nil\nx.y = 1", Some(3), "attempt to index nil with 'y'"),
        ("\nerror('no good')", Some(2), "no good"),
        ("x = = 1", Some(1), "Expected identifier when parsing expression, got '='"),
        ("\n\nlocal x = (1", Some(3), "got <eof>"),
        ("string.rep()", Some(1), "missing argument #1 to 'rep'"),
        ("('x'):find('[')", Some(1), "malformed pattern"),
        ("print = 1 print('x')", Some(1), "attempt to call a number value"),
        ("_G.mine = 1 mine()", Some(1), "attempt to call a number value"),
        ("string.rep = nil", Some(1), "attempt to modify a readonly table"),
        ("app.integrations = nil", Some(1), "attempt to modify a readonly table"),
        (
            "app.integrations.whereby.list_rooms = nil",
            Some(1),
            "attempt to modify a readonly table",
        ),
        ("setmetatable(app, {})", Some(1), "protected metatable"),
        ("os.exit(1)", Some(1), "attempt to call a nil value"),
        ("require('x')", Some(1), "attempt to call a nil value"),
    ] {
        let report = run(&world, script).await;
        let error = report.error.expect(script);
        assert!(error.message.contains(expected), "{script}: {}", error.message);
        assert_eq!(error.line, line, "{script}: {}", error.message);
        assert!(!error.message.contains("test.lua"), "{}", error.message);
        assert_eq!(error.exit(), Exit::Internal, "{script}");
    }
    let long = format!("return '{}'", "x".repeat(70_000));
    let (kind, message) = failure(&world, &long).await;
    assert_eq!((kind.as_str(), message.contains("longer than 65536 bytes")), ("syntax", true));
    assert_eq!(result(&world, "#!/usr/bin/env -S whereby lua\nreturn 1").await, 1);
}

#[tokio::test]
async fn a_write_whose_answer_is_not_known_is_told() {
    let world = open_world().await;
    world.simulator.script("POST", "/v1/meetings", 1, Reply::status(502));
    let script = "local ok, e = pcall(app.integrations.whereby.create_room, {}) return e.effect, e.retryable, e.hint";
    let told = result(&world, script).await;
    assert_eq!(
        told,
        json!(["unknown", false, "the room may exist: look at list_rooms before trying again"])
    );
    world.simulator.script("POST", "/v1/meetings", 1, Reply::status(502));
    let report = run(&world, "app.integrations.whereby.create_room({})").await;
    assert_eq!(report.calls[0].write, WriteOutcome::Unknown);
    assert_eq!(report.to_json()["error"]["effect"], "unknown");
}

#[tokio::test]
async fn a_report_says_what_was_done() {
    let world = open_world().await;
    let script = "print('a', 1, nil, true)\nprint(#app.integrations.whereby.list_rooms({}).data)\n
        pcall(app.integrations.whereby.get_room, {}) dump({ x = 1 }, 'y')\nreturn { done = true }";
    let report = run(&world, script).await;
    assert_eq!(report.output, "a\t1\tnil\ttrue\n2\n{\n  \"x\": 1\n}\n\"y\"\n");
    let mut document = report.to_json();
    for call in document["calls"].as_array_mut().expect("calls") {
        assert!(call["duration_ms"].as_f64().is_some_and(|ms| ms >= 0.0));
        call["duration_ms"] = json!(0);
    }
    assert_eq!(
        document["calls"],
        json!([
            {"function": "list_rooms", "account": "work", "success": true, "error": null,
             "effect": null, "requests": 1, "line": 2, "duration_ms": 0},
            {"function": "get_room", "account": "work", "success": false,
             "error": "invalid-argument", "effect": "none", "requests": 0, "line": 4,
             "duration_ms": 0},
        ])
    );
    assert_eq!(document["result"], json!({"done": true}));
    assert_eq!(document["error"], json!(null));
}

/// Whoever repeats a script that ended with 7 or 8 must not make another room.
#[tokio::test]
async fn a_script_that_fails_after_it_wrote_is_not_to_be_repeated() {
    let world = open_world().await;
    let create = "app.integrations.whereby.create_room({})\n";
    for (then, exit) in [
        ("app.integrations.whereby.list_rooms({})", Exit::Written),
        ("error('it was enough')", Exit::Internal),
        ("while true do end", Exit::Internal),
    ] {
        let reply =
            Reply::status(503).json(&json!({"error": "later"})).header("retry-after", "300");
        world.simulator.script("GET", "/v1/meetings", 4, reply);
        let config = "[lua]\nsteps_millions = 1\n";
        world.configure(&format!("{}{config}", crate::wire::ALLOW_ALL));
        let ran = world.run(&["lua", "-e", &format!("{create}{then}"), "--json"]).await;
        world.simulator.clear_scripts();
        assert_eq!(ran.code, exit.code(), "{ran:?}");
        let error = ran.json()["error"].clone();
        assert_eq!((&error["effect"], &error["retryable"]), (&json!("done"), &json!(false)));
        assert_eq!(error["retry_after_seconds"], json!(null));
        let hint = error["hint"].as_str().expect("a hint");
        assert!(hint.contains("create_room") && !hint.contains("try again"), "{hint}");
    }
    // What only read, or caught what failed, is told as ever.
    let ran = world.run(&["lua", "-e", "error('x')", "--json"]).await;
    assert_eq!(ran.json()["error"]["effect"], "none");
}
