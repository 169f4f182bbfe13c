//! The same as tasks of the extension `io.modelcontextprotocol/tasks`.

use super::*;
use crate::mcp::raw::Raw;
use whereby::mcp::HttpOptions;

const VERSION: &str = "2026-07-28";
const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// The code for a client without a capability that the request needs.
const MISSING: i64 = -32021;

/// The code for parameters that name nothing.
const INVALID: i64 = -32602;

fn capabilities() -> Value {
    json!({"extensions": {EXTENSION: {}}})
}

fn client(world: &World) -> Raw {
    let mut raw = Raw::new(world);
    raw.without_handshake(VERSION, capabilities());
    raw
}

fn call(prefix: &str) -> Value {
    json!({"name": CREATE, "arguments": room(prefix)})
}

/// Makes a call that becomes a task; the task.
async fn task(raw: &mut Raw, prefix: &str) -> Value {
    let task = raw.ask("tools/call", call(prefix)).await["result"].clone();
    assert_eq!(task["resultType"], "task", "{task}");
    assert_eq!(task["status"], "working");
    task
}

async fn get(raw: &mut Raw, id: &str) -> Value {
    raw.ask("tasks/get", json!({"taskId": id})).await["result"].clone()
}

/// Asks for a task until it is over.
async fn over(raw: &mut Raw, id: &str) -> Value {
    loop {
        let task = get(raw, id).await;
        if task["status"] != "working" {
            return task;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_task_is_a_stored_approval_and_outlasts_the_server() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = client(&world);
    let discovered = raw.ask("server/discover", json!({})).await;
    let offered = &discovered["result"]["capabilities"];
    assert_eq!(offered["extensions"][EXTENSION], json!({}), "{offered}");
    assert_eq!(offered["tasks"], Value::Null, "that is another thing");
    let created = task(&mut raw, "a-").await;
    let id = text(&created["taskId"]).to_owned();
    assert_eq!(state(&world, &id), ApprovalState::Pending);
    for member in ["createdAt", "lastUpdatedAt", "statusMessage"] {
        assert!(created[member].is_string(), "{member}: {created}");
    }
    assert!(created["ttlMs"].is_u64() && created["pollIntervalMs"].is_u64(), "{created}");
    // The same call is the same task.
    assert_eq!(task(&mut raw, "a-").await["taskId"], created["taskId"]);
    let now = get(&mut raw, &id).await;
    assert_eq!((&now["status"], &now["taskId"]), (&json!("working"), &json!(id)));
    raw.end().await;

    ran(&world, &["approvals", "approve", &id], 0).await;
    world.assert_untouched();
    let mut raw = client(&world);
    let done = over(&mut raw, &id).await;
    assert_eq!(done["status"], "completed", "{done}");
    let result = &done["result"];
    assert_ne!(result["isError"], true, "{done}");
    assert!(text(&result["structuredContent"]["roomName"]).starts_with("a-"), "{done}");
    raw.end().await;
    // A completed task is as it is, for an hour.
    let mut raw = client(&world);
    assert_eq!(get(&mut raw, &id).await["result"], *result);
    world.move_clock(HOUR + 60);
    let later = get(&mut raw, &id).await;
    assert_eq!(later["result"]["isError"], true, "{later}");
    assert_eq!(later["result"]["_meta"]["whereby/error"]["effect"], "done");
    raw.end().await;
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn what_becomes_of_a_task_is_told() {
    let world = World::with_rooms(Vec::new()).await;
    let mut raw = client(&world);
    // A no.
    let id = text(&task(&mut raw, "a-").await["taskId"]).to_owned();
    ran(&world, &["approvals", "deny", &id], 0).await;
    let denied = get(&mut raw, &id).await;
    assert_eq!(
        (text(&denied["status"]), &denied["result"]["isError"]),
        ("completed", &json!(true))
    );
    assert_eq!(denied["result"]["_meta"]["whereby/error"]["kind"], "denied");
    // A client that does not want the call any more.
    let id = text(&task(&mut raw, "b-").await["taskId"]).to_owned();
    for _ in 0..2 {
        let cancelled = raw.ask("tasks/cancel", json!({"taskId": id})).await;
        assert_eq!(cancelled["result"]["resultType"], "complete", "{cancelled}");
        assert_eq!(get(&mut raw, &id).await["status"], "cancelled");
    }
    ran(&world, &["approvals", "approve", &id], 2).await;
    // Rules that were made stricter meanwhile.
    let id = text(&task(&mut raw, "c-").await["taskId"]).to_owned();
    world.configure("[permissions]\nwrite = \"deny\"\n");
    ran(&world, &["approvals", "approve", &id], 0).await;
    let refused = over(&mut raw, &id).await;
    assert_eq!(refused["result"]["_meta"]["whereby/error"]["kind"], "denied", "{refused}");
    world.configure("");
    // Nobody decided.
    let id = text(&task(&mut raw, "e-").await["taskId"]).to_owned();
    world.move_clock(HOUR + 1);
    let expired = get(&mut raw, &id).await;
    let error = &expired["result"]["_meta"]["whereby/error"];
    assert!(text(&error["message"]).contains("has expired"), "{expired}");
    raw.end().await;
    world.assert_untouched();
}

#[tokio::test]
async fn only_clients_that_declare_tasks_in_the_newest_protocol_have_them() {
    let world = World::with_rooms(Vec::new()).await;
    let requests = |id: &str| {
        [
            ("tasks/get", json!({"taskId": id})),
            ("tasks/update", json!({"taskId": id, "inputResponses": {}})),
            ("tasks/cancel", json!({"taskId": id})),
        ]
    };
    let mut raw = client(&world);
    let id = text(&task(&mut raw, "a-").await["taskId"]).to_owned();
    // What it is asked for, nobody has.
    for unknown in ["0".repeat(32), "nothing".into(), String::new(), "\u{1b}[2J".into()] {
        for (method, params) in requests(&unknown) {
            let answer = raw.ask(method, params).await;
            assert_eq!(answer["error"]["code"], INVALID, "{method} {unknown:?}: {answer}");
        }
    }
    for params in [json!({}), json!({"taskId": 7}), json!({"taskId": null})] {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let answer = raw.ask(method, params.clone()).await;
            assert_eq!(answer["error"]["code"], INVALID, "{method} {params}: {answer}");
        }
    }
    // No task asks for anything, so an answer changes nothing.
    let update = json!({"taskId": id, "inputResponses": {
        "approval": {"action": "accept", "content": {"approve": true}}}});
    let updated = raw.ask("tasks/update", update).await;
    assert_eq!(updated["result"]["resultType"], "complete", "{updated}");
    assert_eq!(state(&world, &id), ApprovalState::Pending);

    // It is declared for each request.
    let without = [
        (VERSION, json!({})),
        (VERSION, json!({"tasks": {}})),
        (VERSION, json!({"extensions": {"io.modelcontextprotocol/other": {}}})),
        ("2025-11-25", capabilities()),
        ("2025-06-18", capabilities()),
    ];
    for (version, declared) in without {
        let mut raw = Raw::new(&world);
        match version {
            VERSION => raw.without_handshake(version, declared.clone()),
            _ => raw.initialize(version, declared.clone()).await,
        }
        let answer = raw.ask("tools/call", call("b-")).await["result"].clone();
        assert_eq!(answer["isError"], true, "{version} {declared}: {answer}");
        assert_eq!(answer["_meta"]["whereby/error"]["kind"], "approval-required");
        for (method, params) in requests(&id) {
            let answer = raw.ask(method, params).await;
            assert_eq!(answer["error"]["code"], MISSING, "{version} {declared} {method}: {answer}");
        }
    }
    assert_eq!(state(&world, &id), ApprovalState::Pending);
    world.assert_untouched();
}

/// Sends a request over HTTP without a session, as a client that has tasks.
async fn post(
    url: &str,
    bearer: &str,
    method: &str,
    name: Option<&str>,
    params: Value,
) -> (u16, Value) {
    post_as(url, bearer, method, name, params, capabilities()).await
}

/// The same as a client with these capabilities.
async fn post_as(
    url: &str,
    bearer: &str,
    method: &str,
    name: Option<&str>,
    mut params: Value,
    capabilities: Value,
) -> (u16, Value) {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    });
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let client = reqwest::Client::builder().no_proxy();
    let client = client.tls_backend_preconfigured(crate::mcp::http::no_tls()).build();
    let mut request = client
        .expect("a client")
        .post(url)
        .header("authorization", format!("Bearer {bearer}"))
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("mcp-protocol-version", VERSION)
        .header("mcp-method", method);
    if let Some(name) = name {
        request = request.header("mcp-name", name);
    }
    let answer = request.body(body.to_string()).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")))
}

#[tokio::test]
async fn over_http_a_task_is_its_callers_and_nobody_else_s() {
    let world = World::with_rooms(Vec::new()).await;
    let token = async |limits: &[&str]| {
        let made = ran(&world, &[&["token", "create"], limits].concat(), 0).await;
        made.stdout.trim().to_owned()
    };
    let (own, other) = (token(&[]).await, token(&["--uses", "1"]).await);
    let options = HttpOptions::new(([127, 0, 0, 1], 0).into(), "a-token-of-some-length".into());
    let listening = server(&world).listen(options).await.expect("it listens");
    let url = listening.url().to_owned();
    let (status, created) = post(&url, &own, "tools/call", Some(CREATE), call("a-")).await;
    assert_eq!(status, 200, "{created}");
    let id = text(&created["result"]["taskId"]).to_owned();
    let of = json!({"taskId": id});
    for bearer in ["a-token-of-some-length", other.as_str()] {
        for method in ["tasks/get", "tasks/cancel"] {
            let (_, answer) = post(&url, bearer, method, Some(&id), of.clone()).await;
            assert_eq!(answer["error"]["code"], INVALID, "{method}: {answer}");
        }
        let resumed = json!({"name": RESUME, "arguments": {"approval_id": id, "wait_seconds": 0}});
        let (_, answer) = post(&url, bearer, "tools/call", Some(RESUME), resumed).await;
        assert_eq!(answer["result"]["_meta"]["whereby/error"]["kind"], "usage", "{answer}");
    }
    // The header that says which task it is.
    for name in [None, Some("other")] {
        let (status, answer) = post(&url, &own, "tasks/get", name, of.clone()).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32020)), "{answer}");
    }
    // A client that does not declare tasks.
    let (status, answer) = post_as(&url, &own, "tasks/get", Some(&id), of.clone(), json!({})).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(MISSING)), "{answer}");
    // A narrowed token may not do all that its call does.
    let narrow = whereby_tests::run(
        &["token", "narrow", "--for", "1h"],
        whereby::Environment::empty(),
        &own,
        false,
    );
    let narrower = narrow.await.stdout.trim().to_owned();
    for method in ["tasks/get", "tasks/cancel"] {
        let (_, answer) = post(&url, &narrower, method, Some(&id), of.clone()).await;
        assert_eq!(answer["error"]["code"], INVALID, "{method}: {answer}");
    }
    let resumed = json!({"name": RESUME, "arguments": {"approval_id": id, "wait_seconds": 0}});
    let (_, answer) = post(&url, &narrower, "tools/call", Some(RESUME), resumed).await;
    assert_eq!(answer["result"]["_meta"]["whereby/error"]["kind"], "usage", "{answer}");
    // Its own call shares the approval, and is no task.
    let (_, answer) = post(&url, &narrower, "tools/call", Some(CREATE), call("a-")).await;
    let error = &answer["result"]["_meta"]["whereby/error"];
    assert_eq!((text(&error["kind"]), &error["approval_id"]), ("approval-required", &json!(id)));
    assert_eq!(state(&world, &id), ApprovalState::Pending);
    world.assert_untouched();
    // A token that is revoked between the yes and the call: nothing is sent.
    let ids = ran(&world, &["token", "list", "--json"], 0).await.json();
    let first = text(&ids["tokens"][0]["id"]).to_owned();
    ran(&world, &["token", "revoke", &first], 0).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    let (status, _) = post(&url, &own, "tasks/get", Some(&id), of).await;
    assert_eq!(status, 401);
    // Once another call was made, this one was looked at.
    let (_, created) = post(&url, &other, "tools/call", Some(CREATE), call("b-")).await;
    let second = text(&created["result"]["taskId"]).to_owned();
    ran(&world, &["approvals", "approve", &second], 0).await;
    // It uses its token up, so its caller is told no more than that.
    world.simulator.wait_for_requests(1).await;
    let of = json!({"taskId": second});
    let (status, _) = post(&url, &other, "tasks/get", Some(&second), of).await;
    assert_eq!(status, 401);
    assert_eq!(state(&world, &id), ApprovalState::Expired);
    assert_eq!(writes(&world), 1);
    listening.stop().await;
}

/// Makes a call over HTTP with a token, and has a person decide on it. Returns the approval's id and the
/// result.
pub(crate) async fn over_http(
    world: &World,
    token: &str,
    arguments: &Value,
    decide: impl AsyncFnOnce(&str),
) -> (String, Value) {
    let options = HttpOptions::new(([127, 0, 0, 1], 0).into(), "a-token-of-some-length".into());
    let listening = server(world).listen(options).await.expect("it listens");
    let url = listening.url().to_owned();
    let call = json!({"name": CREATE, "arguments": arguments});
    let (_, created) = post(&url, token, "tools/call", Some(CREATE), call).await;
    let id = created["result"]["taskId"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned();
    decide(&id).await;
    let resume = json!({"name": RESUME, "arguments": {"approval_id": id, "wait_seconds": 60}});
    let (_, made) = post(&url, token, "tools/call", Some(RESUME), resume).await;
    listening.stop().await;
    let result = made["result"]["structuredContent"].clone();
    assert!(result.is_object(), "{made}");
    (id, result)
}
