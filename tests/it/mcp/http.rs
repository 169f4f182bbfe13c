//! MCP over HTTP: who gets in, and that what gets in works like anywhere else.

use super::protocol::check_message;
use super::{Client, NAME, meeting_of_name, params, server};
use crate::wire::daily;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Body, Method, Response, StatusCode};
use rmcp::ServiceExt as _;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use whereby::mcp::{HttpOptions, Listening};
use whereby::simulator::{Gate, Reply};
use whereby_tests::World;

const TOKEN: &str = "a-token-of-some-length";
const BEARER: &str = "Bearer a-token-of-some-length";

/// What a client of the protocol accepts.
const BOTH: &str = "application/json, text/event-stream";

fn options() -> HttpOptions {
    HttpOptions::new(([127, 0, 0, 1], 0).into(), TOKEN.into())
}

async fn listen(world: &World) -> Listening {
    server(world).listen(options()).await.expect("it listens")
}

/// A client without an SDK.
fn http() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(no_tls());
    client.build().expect("a client")
}

/// Sends a body with the token and with other headers, which stand in for these.
async fn post(listening: &Listening, body: impl Into<Body>, headers: &[(&str, &str)]) -> Response {
    let mut all = HeaderMap::new();
    let own = [("authorization", BEARER), ("content-type", "application/json"), ("accept", BOTH)];
    for (name, value) in own.iter().chain(headers) {
        let name: HeaderName = name.parse().expect("a name");
        match *value {
            "" => drop(all.remove(name)),
            value => drop(all.insert(name, value.parse().expect("a value"))),
        }
    }
    http().post(listening.url()).headers(all).body(body).send().await.expect("an answer")
}

fn initialize(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "raw", "version": "1"}}})
}

/// Begins as a client does, with other headers.
async fn begin(listening: &Listening, headers: &[(&str, &str)]) -> StatusCode {
    post(listening, initialize("2025-06-18").to_string(), headers).await.status()
}

/// Begins a session with a client of the protocols that have them; its id.
async fn session(listening: &Listening, version: &str) -> String {
    let answer = post(listening, initialize(version).to_string(), &[]).await;
    header(&answer, "mcp-session-id").expect("a session").to_owned()
}

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|value| value.to_str().expect("text"))
}

/// The answer to a request, in whichever form; checked against the protocol's schema.
async fn message(answer: Response, version: &str, method: &str) -> Value {
    let is_stream = header(&answer, "content-type") == Some("text/event-stream");
    let text = answer.text().await.expect("a body");
    let messages: Vec<Value> = match is_stream {
        true => text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect(),
        false => vec![serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))],
    };
    for message in &messages {
        check_message(version, Some(method), message);
    }
    let answer = messages.into_iter().find(|message| message.get("method").is_none());
    answer.unwrap_or_else(|| panic!("no answer: {text}"))
}

fn no_tls() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocols")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[tokio::test]
async fn only_who_has_the_token_and_comes_from_here_gets_in() {
    let world = World::with_rooms(Vec::new()).await;
    let listening = listen(&world).await;
    let good = ("authorization", BEARER);
    for (headers, expected) in [
        (&[good][..], StatusCode::OK),
        (&[("authorization", "bearer a-token-of-some-length")], StatusCode::OK),
        (&[("authorization", "")], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Bearer a-token-of-some-lengtH")], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Bearer ")], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Basic a-token-of-some-length")], StatusCode::UNAUTHORIZED),
        (&[good, ("origin", "https://evil.example")], StatusCode::FORBIDDEN),
        (&[good, ("origin", "http://localhost.evil.example")], StatusCode::FORBIDDEN),
        (&[good, ("origin", "null")], StatusCode::FORBIDDEN),
        (&[good, ("origin", "http://localhost:1234")], StatusCode::OK),
        (&[good, ("origin", "http://[::1]:1234")], StatusCode::OK),
        (&[("authorization", ""), ("origin", "http://localhost:1234")], StatusCode::UNAUTHORIZED),
        (&[good, ("origin", "http://localhost"), ("host", "evil.example")], StatusCode::FORBIDDEN),
        (&[good, ("host", "evil.example")], StatusCode::FORBIDDEN),
        (&[good, ("host", "localhost")], StatusCode::OK),
    ] {
        assert_eq!(begin(&listening, headers).await, expected, "{headers:?}");
    }
    listening.stop().await;

    let mut options = options();
    options.hosts = vec!["agents.example.com".into()];
    options.origins = vec!["https://agents.example.com:443".into()];
    let listening = server(&world).listen(options).await.expect("it listens");
    let named = [good, ("host", "agents.example.com"), ("origin", "https://agents.example.com")];
    assert_eq!(begin(&listening, &named).await, StatusCode::OK);
    let other = [good, ("origin", "https://agents.example.com:8443")];
    assert_eq!(begin(&listening, &other).await, StatusCode::FORBIDDEN);
    listening.stop().await;
    world.assert_untouched();
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_is_let_in_by_its_browser() {
    let world = World::with_rooms(Vec::new()).await;
    let mut options = options();
    options.origins = vec!["https://agents.example.com:443".into()];
    let listening = server(&world).listen(options).await.expect("it listens");
    let preflight = |origin: &str| {
        http()
            .request(Method::OPTIONS, listening.url())
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,mcp-param-x")
            .send()
    };
    for origin in ["https://agents.example.com", "http://localhost:5173", "http://127.0.0.1:1"] {
        let answer = preflight(origin).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "GET, POST, DELETE, OPTIONS"),
            ("access-control-allow-headers", "authorization,content-type,mcp-param-x"),
            ("vary", "Origin"),
        ] {
            assert_eq!(header(&answer, name), Some(value));
        }
        // What it may send then is read by the page, whatever it says.
        for (token, status) in [(BEARER, StatusCode::OK), ("", StatusCode::UNAUTHORIZED)] {
            let headers = [("origin", origin), ("authorization", token)];
            let answer = post(&listening, initialize("2025-06-18").to_string(), &headers).await;
            assert_eq!(answer.status(), status);
            assert_eq!(header(&answer, "access-control-allow-origin"), Some(origin));
            let exposed = header(&answer, "access-control-expose-headers").expect("exposed");
            for name in ["Mcp-Session-Id", "MCP-Protocol-Version", "WWW-Authenticate"] {
                assert!(exposed.contains(name), "{exposed}");
            }
        }
    }
    for origin in ["https://evil.example", "https://agents.example.com:8443", "null"] {
        let answer = preflight(origin).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(header(&answer, "access-control-allow-origin"), None);
    }
    // Without an origin it is no browser that asks.
    let bare = http().request(Method::OPTIONS, listening.url()).send().await.expect("an answer");
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    listening.stop().await;
    world.assert_untouched();
}

#[tokio::test]
async fn every_way_of_accepting_answers_is_served() {
    let world = World::with_rooms(vec![daily()]).await;
    let listening = listen(&world).await;
    let json = Some("application/json");
    let stream = Some("text/event-stream");
    for (accept, form) in [
        ("", json),
        ("*/*", json),
        ("application/json", json),
        ("text/html, application/*;q=0.9", json),
        (BOTH, stream),
        ("text/event-stream", stream),
    ] {
        let headers = [("accept", accept)];
        let answer = post(&listening, initialize("2025-06-18").to_string(), &headers).await;
        assert_eq!((answer.status(), header(&answer, "content-type")), (StatusCode::OK, form));
        let id = header(&answer, "mcp-session-id").expect("a session").to_owned();
        let begun = message(answer, "2025-06-18", "initialize").await;
        assert_eq!(begun["result"]["protocolVersion"], "2025-06-18", "{accept}");
        let headers = [("accept", accept), ("mcp-session-id", id.as_str())];
        for (tool, kind) in [("list_rooms", None), ("create_room", Some("approval-required"))] {
            // A client that takes no stream is not asked, though it says that it can be.
            if form == stream && kind.is_some() {
                continue;
            }
            let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params":
                {"name": format!("whereby_{tool}"), "arguments": {}, "_meta": {"progressToken": 1}}});
            let answer = post(&listening, call.to_string(), &headers).await;
            assert_eq!((answer.status(), header(&answer, "content-type")), (StatusCode::OK, form));
            let called = message(answer, "2025-06-18", "tools/call").await;
            let result = &called["result"];
            assert_eq!(result["isError"], kind.is_some(), "{accept}: {called}");
            assert_eq!(result["_meta"]["whereby/error"]["kind"].as_str(), kind);
        }
        let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let answer = post(&listening, notification.to_string(), &headers).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        // Without a session, too.
        let version = "2026-07-28";
        let list = json!({"jsonrpc": "2.0", "id": "x", "method": "tools/list", "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {}}}});
        let headers =
            [("accept", accept), ("mcp-protocol-version", version), ("mcp-method", "tools/list")];
        let answer = post(&listening, list.to_string(), &headers).await;
        assert_eq!((answer.status(), header(&answer, "content-type")), (StatusCode::OK, form));
        let listed = message(answer, version, "tools/list").await;
        assert_eq!(listed["result"]["tools"].as_array().map(Vec::len), Some(7), "{accept}");
    }
    for accept in ["text/html", "application/json;q=0"] {
        let headers = [("accept", accept)];
        assert_eq!(begin(&listening, &headers).await, StatusCode::NOT_ACCEPTABLE);
    }
    listening.stop().await;
    assert!(world.requests().iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn the_version_of_the_handshake_counts() {
    let world = World::with_rooms(Vec::new()).await;
    let listening = listen(&world).await;
    for (header, asked, given) in [
        ("2031-01-01", "2031-01-01", "2025-11-25"),
        ("2031-01-01", "2025-06-18", "2025-06-18"),
        ("2026-07-28", "2026-07-28", "2025-11-25"),
        ("2025-03-26", "2025-06-18", "2025-06-18"),
        ("nonsense", "2024-11-05", "2024-11-05"),
    ] {
        let headers = [("mcp-protocol-version", header)];
        let answer = post(&listening, initialize(asked).to_string(), &headers).await;
        assert_eq!(answer.status(), StatusCode::OK, "{header} {asked}");
        let begun = message(answer, given, "initialize").await;
        assert_eq!(begun["result"]["protocolVersion"], given, "{header} {asked}");
    }
    // After it, only what was agreed on will do.
    let id = session(&listening, "2025-06-18").await;
    let headers = [("mcp-session-id", id.as_str()), ("mcp-protocol-version", "2031-01-01")];
    let ping = json!({"jsonrpc": "2.0", "id": 4, "method": "ping"});
    let answer = post(&listening, ping.to_string(), &headers).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let refused = message(answer, "2025-06-18", "ping").await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(4), &json!(-32600)));
    listening.stop().await;
}

#[tokio::test]
async fn what_is_no_message_is_answered_as_json_rpc_says() {
    let world = World::with_rooms(Vec::new()).await;
    let listening = listen(&world).await;
    let id = session(&listening, "2025-06-18").await;
    let bad = StatusCode::BAD_REQUEST;
    let unsession = "00000000-0000-0000-0000-000000000000";
    let ping = r#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#;
    let long = format!(r#"{{"params":"{}","jsonrpc":"2.0","id":9}}"#, "x".repeat(300 * 1024));
    for (body, headers, status, code, answered) in [
        ("", &[][..], bad, -32700, Value::Null),
        ("{", &[], bad, -32700, Value::Null),
        ("[]", &[], bad, -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":5}"#, &[], bad, -32600, json!(5)),
        (
            r#"{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"\ud83d"}}"#,
            &[],
            bad,
            -32600,
            json!(6),
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":[]}}"#,
            &[],
            StatusCode::OK,
            -32602,
            json!(7),
        ),
        (
            r#"{"jsonrpc":"2.0","id":8,"method":"tools/calls"}"#,
            &[("mcp-session-id", id.as_str())],
            StatusCode::OK,
            -32601,
            json!(8),
        ),
        (long.as_str(), &[], StatusCode::PAYLOAD_TOO_LARGE, -32600, json!(9)),
        // What the SDK refuses in plain text.
        (ping, &[], bad, -32600, json!(3)),
        (ping, &[("mcp-session-id", unsession)], StatusCode::NOT_FOUND, -32001, json!(3)),
        (
            ping,
            &[("content-type", "text/plain")],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            -32600,
            json!(3),
        ),
    ] {
        let answer = post(&listening, body.to_owned(), headers).await;
        assert_eq!(answer.status(), status, "{body:.80}");
        let refused = message(answer, "2025-06-18", "ping").await;
        assert_eq!(
            (&refused["error"]["code"], &refused["id"]),
            (&json!(code), &answered),
            "{body:.80}"
        );
        assert!(refused["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    // A byte order mark is none of its business.
    let headers = [("mcp-session-id", id.as_str())];
    let answer = post(&listening, format!("\u{feff}{ping}"), &headers).await;
    assert_eq!(message(answer, "2025-06-18", "ping").await["result"], json!({}));
    listening.stop().await;
    world.assert_untouched();
}

#[tokio::test]
async fn only_clients_that_know_events_without_data_get_them() {
    let world = World::with_rooms(Vec::new()).await;
    let listening = listen(&world).await;
    for (version, knows) in
        [("2024-11-05", false), ("2025-03-26", false), ("2025-06-18", false), ("2025-11-25", true)]
    {
        let answer = post(&listening, initialize(version).to_string(), &[]).await;
        let id = header(&answer, "mcp-session-id").expect("a session").to_owned();
        let begun = answer.text().await.expect("a body");
        // The oldest clients do not name their protocol afterwards.
        let named = if version < "2025-06-18" { "" } else { version };
        let headers = [("mcp-session-id", id.as_str()), ("mcp-protocol-version", named)];
        let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
        let listed = post(&listening, list.to_string(), &headers).await.text().await;
        for events in [begun, listed.expect("a body")] {
            let mut data = events.lines().filter_map(|line| line.strip_prefix("data:"));
            assert_eq!(data.any(|data| data.trim().is_empty()), knows, "{version}: {events}");
        }
    }
    listening.stop().await;
}

#[tokio::test]
async fn no_text_from_outside_breaks_an_event() {
    let (world, meeting) = meeting_of_name().await;
    let listening = listen(&world).await;
    let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(no_tls()).build();
    let client = client.expect("a client");
    let post = |session: Option<&str>, message: serde_json::Value| {
        let mut request = client
            .post(listening.url())
            .bearer_auth(TOKEN)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(message.to_string());
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        async move { request.send().await.expect("an answer") }
    };
    let begin = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"}}});
    let begun = post(None, begin).await;
    let session = begun.headers()["mcp-session-id"].to_str().expect("an id").to_owned();
    post(Some(&session), json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params":
        {"name": "whereby_get_meeting", "arguments": {"meeting_id": meeting}}});
    let events = post(Some(&session), call).await.text().await.expect("a text");
    assert!(events.is_ascii() && !events.contains('\u{7f}'), "{events:?}");
    let data = events.lines().filter_map(|line| line.strip_prefix("data:"));
    let mut messages = data.filter_map(|data| serde_json::from_str(data).ok());
    let answer = messages.find(|message: &serde_json::Value| message["id"] == 2).expect("one");
    let meeting = &answer["result"]["structuredContent"];
    assert_eq!(meeting["participants"][0]["name"], NAME);
    listening.stop().await;
}

#[tokio::test]
async fn it_listens_for_this_machine_and_with_a_good_token_alone() {
    let world = World::with_rooms(Vec::new()).await;
    for (address, token, words) in [
        ("0.0.0.0:0", TOKEN, "not a loopback address"),
        ("192.0.2.1:80", TOKEN, "not a loopback address"),
        ("127.0.0.1:0", "short", "shorter than 16 characters"),
        ("127.0.0.1:0", "", "shorter than 16 characters"),
    ] {
        let options = HttpOptions::new(address.parse().expect("an address"), token.into());
        let error = server(&world).listen(options).await.err().expect("refused").to_string();
        assert!(error.contains(words), "{error}");
    }
    let mut options = options();
    options.origins = vec!["agents.example.com".into()];
    let error = server(&world).listen(options).await.err().expect("refused").to_string();
    assert!(error.contains("`agents.example.com` is not an origin"), "{error}");
    let ran = world.run(&["mcp", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("WHEREBY_MCP_TOKEN"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_new_client_takes_the_place_of_the_one_that_was_idle_longest() {
    let world = World::with_rooms(vec![daily()]).await;
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let listening = listen(&world).await;
    let ping = |id: String| {
        let ping = json!({"jsonrpc": "2.0", "id": 2, "method": "ping"}).to_string();
        let listening = &listening;
        async move { post(listening, ping, &[("mcp-session-id", id.as_str())]).await.status() }
    };
    // The first has a call under way, and the second is used again.
    let busy = session(&listening, "2025-06-18").await;
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params":
        {"name": "whereby_list_rooms", "arguments": {}}});
    let headers = [("mcp-session-id", busy.as_str())];
    let under_way = post(&listening, call.to_string(), &headers).await;
    world.simulator.wait_for_requests(1).await;
    let used = session(&listening, "2025-06-18").await;
    let idle = session(&listening, "2025-06-18").await;
    for _ in 3..256 {
        session(&listening, "2025-06-18").await;
    }
    assert_eq!(ping(used.clone()).await, StatusCode::OK);
    let newest = session(&listening, "2025-06-18").await;
    assert_eq!(ping(idle).await, StatusCode::NOT_FOUND);
    for id in [used, newest.clone()] {
        assert_eq!(ping(id).await, StatusCode::OK);
    }
    // One that ends by itself has ended.
    let delete = http().delete(listening.url()).header("authorization", BEARER);
    let deleted = delete.header("mcp-session-id", &newest).send().await.expect("an answer");
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(ping(newest).await, StatusCode::NOT_FOUND);
    gate.open();
    let answer = message(under_way, "2025-06-18", "tools/call").await;
    assert_eq!(answer["result"]["isError"], false);
    listening.stop().await;
}

#[tokio::test]
async fn one_id_of_a_session_is_one_request_at_a_time() {
    let world = World::with_rooms(vec![daily()]).await;
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let listening = listen(&world).await;
    let id = session(&listening, "2025-06-18").await;
    let headers = [("mcp-session-id", id.as_str())];
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params":
        {"name": "whereby_list_rooms", "arguments": {}}});
    let first = post(&listening, call.to_string(), &headers).await;
    world.simulator.wait_for_requests(1).await;
    let second = post(&listening, call.to_string(), &headers).await;
    let second: Value = second.json().await.expect("JSON");
    assert_eq!((&second["id"], &second["error"]["code"]), (&json!(7), &json!(-32600)));
    gate.open();
    let first = message(first, "2025-06-18", "tools/call").await;
    assert_eq!(first["result"]["isError"], false, "{first}");
    assert_eq!(world.requests().len(), 1);
    // Afterwards it may come again.
    let again = post(&listening, call.to_string(), &headers).await;
    assert_eq!(message(again, "2025-06-18", "tools/call").await["result"]["isError"], false);
    listening.stop().await;
}

#[tokio::test]
async fn clients_over_http_call_tools_and_are_asked() {
    let world = World::with_rooms(vec![daily()]).await;
    let listening = listen(&world).await;
    let mut config = StreamableHttpClientTransportConfig::with_uri(listening.url());
    config.auth_header = Some(TOKEN.into());
    let transport = StreamableHttpClientTransport::with_client(http(), config);
    let (client, _progress) = Client::new(super::accepts(true));
    let running = client.clone().serve(transport).await.expect("the client starts");
    let call = params("whereby_delete_room", json!({"room_name": "daily"}));
    let result = running.call_tool(call).await.expect("an answer");
    assert_eq!(result.is_error, Some(false), "{result:?}");
    assert_eq!(client.asked().len(), 1);
    running.cancel().await.expect("the client ends");
    listening.stop().await;
}
