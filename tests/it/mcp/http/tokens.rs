//! Capability tokens of HTTP clients.

use super::*;

const VERSION: &str = "2025-06-18";

async fn run(world: &World, arguments: &[&str]) -> String {
    let ran = world.run(arguments).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout.trim().to_owned()
}

async fn narrow(token: &str, limits: &[&str]) -> String {
    let arguments = [&["token", "narrow"], limits].concat();
    let environment = whereby::Environment::empty();
    whereby_tests::run(&arguments, environment, token, false).await.stdout.trim().to_owned()
}

/// Begins a session with a token; its id.
async fn begun(listening: &Listening, bearer: &str) -> String {
    let body = initialize(VERSION).to_string();
    let answer = post(listening, body, &[("authorization", bearer)]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    header(&answer, "mcp-session-id").expect("a session").to_owned()
}

/// Calls a tool in a session.
async fn call(
    listening: &Listening,
    bearer: &str,
    session: &str,
    tool: &str,
    of: Value,
) -> Response {
    let params = json!({"name": tool, "arguments": of});
    let body = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params});
    let headers =
        [("authorization", bearer), ("mcp-session-id", session), ("mcp-protocol-version", VERSION)];
    post(listening, body.to_string(), &headers).await
}

async fn result(answer: Response) -> Value {
    assert_eq!(answer.status(), StatusCode::OK);
    message(answer, VERSION, "tools/call").await["result"].clone()
}

#[tokio::test]
async fn a_capability_token_gets_in_beside_the_server_s_own_or_alone() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(crate::wire::ALLOW_ALL);
    let token = run(&world, &["token", "create", "--read-only"]).await;
    let bearer = format!("Bearer {token}");
    for own in [Some(TOKEN), None] {
        let mut options = options();
        options.token = own.map(Into::into);
        let listening = server(&world).listen(options).await.expect("it listens");
        let headers = [("authorization", BEARER)];
        let expected = if own.is_some() { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(begin(&listening, &headers).await, expected);
        let session = begun(&listening, &bearer).await;
        let read = call(&listening, &bearer, &session, "whereby_list_rooms", json!({})).await;
        assert_ne!(result(read).await["isError"], true);
        let before = world.requests().len();
        let delete = json!({"room_name": "daily"});
        let write =
            call(&listening, &bearer, &session, "whereby_delete_room", delete.clone()).await;
        let refused = result(write).await;
        assert_eq!(refused["isError"], true);
        let error = &refused["_meta"]["whereby/error"];
        assert_eq!(error["kind"], "denied", "{refused}");
        // An agent learns what is allowed, and not where the limit is.
        assert!(!error["message"].as_str().expect("a message").contains("token."), "{error}");
        assert_eq!(world.requests().len(), before);
        let rows = world.audit();
        assert!(rows.last().is_some_and(|row| row.token.is_some()), "{rows:?}");
        listening.stop().await;
    }
}

#[tokio::test]
async fn who_has_no_valid_token_is_a_stranger() {
    let (world, other) =
        (World::with_rooms(vec![daily()]).await, World::with_rooms(Vec::new()).await);
    let token = run(&world, &["token", "create", "--for", "1h"]).await;
    let revoked = narrow(&token, &["--read-only"]).await;
    let shown =
        whereby_tests::run(&["token", "inspect", "--json"], world.environment(), &revoked, false);
    let id = shown.await.json()["token"]["id"].as_str().expect("an id").to_owned();
    run(&world, &["token", "revoke", &id]).await;
    let foreign = run(&other, &["token", "create"]).await;
    let mut forged = token.clone();
    let at = forged.len() - 60;
    let changed = if &forged[at..=at] == "A" { "B" } else { "A" };
    forged.replace_range(at..=at, changed);
    let listening = listen(&world).await;
    for (token, words) in [
        (revoked.as_str(), "it is revoked"),
        (&foreign, "it is of another installation"),
        (&forged, ""),
        (&"A".repeat(9000), "it is longer than 8192 bytes"),
    ] {
        let bearer = format!("Bearer {token}");
        let body = initialize(VERSION).to_string();
        let answer = post(&listening, body, &[("authorization", &bearer)]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{words}");
        let challenge = header(&answer, "www-authenticate").expect("a challenge").to_owned();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
        let text = answer.text().await.expect("a body");
        assert!(text.contains(words) && !text.contains(token), "{text}");
    }
    let bearer = format!("Bearer {token}");
    let session = begun(&listening, &bearer).await;
    world.move_clock(3601);
    // A token that ends while its session goes on.
    let late = call(&listening, &bearer, &session, "whereby_list_rooms", json!({})).await;
    let refused = result(late).await;
    assert_eq!(refused["_meta"]["whereby/error"]["kind"], "denied", "{refused}");
    let rows = world.audit();
    let outcome = rows.last().and_then(|row| row.outcome.clone()).expect("a row");
    assert!(outcome.message.is_some_and(|message| message.contains("it expired on")));
    // It begins no other session.
    let answer =
        post(&listening, initialize(VERSION).to_string(), &[("authorization", &bearer)]).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    listening.stop().await;
    world.assert_untouched();
}

#[tokio::test]
async fn a_session_belongs_to_the_token_that_began_it() {
    let world = World::with_rooms(vec![daily()]).await;
    let token = run(&world, &["token", "create"]).await;
    let narrower = format!("Bearer {}", narrow(&token, &["--read-only"]).await);
    let token = format!("Bearer {token}");
    let listening = listen(&world).await;
    let all = [token.as_str(), &narrower, BEARER];
    for owner in all {
        let session = begun(&listening, owner).await;
        for bearer in all {
            let answer = call(&listening, bearer, &session, "whereby_list_rooms", json!({})).await;
            let expected = if bearer == owner { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(answer.status(), expected);
            // The call is made while somebody reads its answer.
            answer.text().await.expect("a body");
        }
        for method in [Method::GET, Method::DELETE] {
            let other = if owner == BEARER { &token } else { BEARER };
            let request = http().request(method, listening.url());
            let request = request.header("authorization", other).header("accept", BOTH);
            let answer = request.header("mcp-session-id", &session).send().await;
            assert_eq!(answer.expect("an answer").status(), StatusCode::FORBIDDEN);
        }
    }
    listening.stop().await;
    assert_eq!(world.requests().len(), all.len());
}
