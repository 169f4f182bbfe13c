//! MCP over HTTP: who gets in, and that what gets in works like anywhere else.

mod tokens;

use super::protocol::check_message;
use super::{Client, NAME, meeting_of_name, params, server};
use crate::wire::daily;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Body, Method, Response, StatusCode};
use rmcp::ServiceExt as _;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use whereby::catalog::FUNCTIONS;
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

pub(crate) fn no_tls() -> rustls::ClientConfig {
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
            .header("access-control-request-private-network", "true")
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
            // The page was let in by name, and a public one may be.
            ("access-control-allow-private-network", "true"),
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
        for name in ["access-control-allow-origin", "access-control-allow-private-network"] {
            assert_eq!(header(&answer, name), None);
        }
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
        assert_eq!(
            listed["result"]["tools"].as_array().map(Vec::len),
            Some(FUNCTIONS.len() + 1),
            "{accept}"
        );
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

/// A raw connection to a server.
async fn connect(listening: &Listening) -> TcpStream {
    let url = listening.url();
    let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
    TcpStream::connect(address).await.expect("connected")
}

#[tokio::test]
async fn strangers_take_no_place_of_a_client() {
    let world = World::with_rooms(Vec::new()).await;
    let listening = listen(&world).await;
    let half = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nX: ";
    let wrong = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n\
                 Content-Length: 100000\r\n\r\n{";
    let slow = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: {BEARER}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    );
    let mut strangers = Vec::new();
    for sent in [half, wrong, ""] {
        for _ in 0..300 {
            let mut stranger = connect(&listening).await;
            // One that had to make room takes nothing more.
            let _ = stranger.write_all(sent.as_bytes()).await;
            strangers.push(stranger);
        }
    }
    // Clients with the token whose messages do not end, and one whose does.
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = connect(&listening).await;
        client.write_all(slow.as_bytes()).await.expect("written");
        clients.push(client);
    }
    assert_eq!(begin(&listening, &[]).await, StatusCode::OK);
    // It did not wait until the strangers were given up.
    let newest = strangers.last().expect("a stranger");
    let error = newest.try_read(&mut [0]).expect_err("it is still open");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    // The others had to make room, or got their answer and have no place to keep.
    for mut stranger in strangers.drain(..600) {
        let mut rest = String::new();
        if stranger.read_to_string(&mut rest).await.is_ok() && !rest.is_empty() {
            assert!(rest.starts_with("HTTP/1.1 401"), "{rest}");
            assert!(rest.contains("connection: close"), "{rest}");
        }
    }
    listening.stop().await;
    world.assert_untouched();
}

#[tokio::test]
async fn connections_that_are_idle_make_room_for_a_client() {
    let world = World::with_rooms(Vec::new()).await;
    let listening = listen(&world).await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let kept = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: {BEARER}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{ping}",
        ping.len()
    );
    let mut idle = Vec::new();
    for _ in 0..300 {
        let mut client = connect(&listening).await;
        client.write_all(kept.as_bytes()).await.expect("written");
        client.read_exact(&mut [0; 12]).await.expect("an answer");
        idle.push(client);
    }
    assert_eq!(begin(&listening, &[]).await, StatusCode::OK);
    let open = idle.iter().filter(|client| {
        let mut rest = [0; 4096];
        while client.try_read(&mut rest).is_ok_and(|read| read > 0) {}
        client.try_read(&mut rest).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
    });
    assert!(open.count() < 257);
    listening.stop().await;
}

#[tokio::test]
async fn requests_of_a_session_wait_for_a_place_and_too_many_are_refused() {
    let world = World::with_rooms(vec![daily()]).await;
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 1000, Reply::carried_out().held_by(&gate));
    let listening = Arc::new(listen(&world).await);
    let id = session(&listening, "2025-06-18").await;
    let other = session(&listening, "2025-06-18").await;
    let call = |id: &str, number: usize| {
        let (listening, id) = (Arc::clone(&listening), id.to_owned());
        let call = json!({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params":
            {"name": "whereby_list_rooms", "arguments": {}}});
        async move {
            let headers = [("mcp-session-id", id.as_str())];
            post(&listening, call.to_string(), &headers).await
        }
    };
    let mut calls: JoinSet<_> = (0..70).map(|number| call(&id, number)).collect();
    // Some are served and as many wait, whose answers come later; the others are told to come back.
    let (mut refused, mut served) = (Vec::new(), Vec::new());
    while refused.len() < 14 || served.len() < 24 {
        let answer = calls.join_next().await.expect("a call").expect("no panic");
        match answer.status() {
            StatusCode::TOO_MANY_REQUESTS => refused.push(answer),
            _ => served.push(answer),
        }
    }
    world.simulator.wait_for_requests(24).await;
    let refused = refused.remove(0);
    assert_eq!(header(&refused, "retry-after"), Some("5"));
    let refused: Value = refused.json().await.expect("JSON");
    assert_eq!(refused["error"]["code"], -32600, "{refused}");
    assert_eq!(world.requests().len(), 24);
    // What is told meanwhile is taken, and another session is served.
    for message in [
        json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "x"}}),
    ] {
        let headers = [("mcp-session-id", id.as_str())];
        assert!(post(&listening, message.to_string(), &headers).await.status().is_success());
    }
    served.push(call(&other, 1).await);
    world.simulator.wait_for_requests(25).await;
    gate.open();
    for answer in served.into_iter().chain(calls.join_all().await) {
        let answer = message(answer, "2025-06-18", "tools/call").await;
        assert_eq!(answer["result"]["isError"], false, "{answer}");
    }
    assert_eq!(world.requests().len(), 57);
}

#[tokio::test]
async fn every_refusal_is_a_json_rpc_error() {
    let world = World::with_rooms(Vec::new()).await;
    let listening = listen(&world).await;
    let root = listening.url().trim_end_matches("/mcp").to_owned();
    let unknown = ("mcp-session-id", "00000000-0000-0000-0000-000000000000");
    let bearer = ("authorization", BEARER);
    for (method, path, headers, status) in [
        (Method::POST, "/mcp", &[][..], StatusCode::UNAUTHORIZED),
        (Method::GET, "/mcp", &[("authorization", "Bearer wrong")], StatusCode::UNAUTHORIZED),
        (Method::GET, "/", &[], StatusCode::UNAUTHORIZED),
        (
            Method::POST,
            "/mcp",
            &[bearer, ("origin", "https://evil.example")],
            StatusCode::FORBIDDEN,
        ),
        (Method::GET, "/mcp", &[bearer, ("host", "evil.example")], StatusCode::FORBIDDEN),
        (Method::PUT, "/mcp", &[bearer], StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/mcp", &[bearer, ("accept", "text/html")], StatusCode::NOT_ACCEPTABLE),
        (Method::GET, "/mcp", &[bearer], StatusCode::BAD_REQUEST),
        (Method::DELETE, "/mcp", &[bearer], StatusCode::BAD_REQUEST),
        (Method::GET, "/mcp", &[bearer, unknown], StatusCode::NOT_FOUND),
        (Method::DELETE, "/mcp", &[bearer, unknown], StatusCode::NOT_FOUND),
        (Method::DELETE, "/mcp/", &[bearer, unknown], StatusCode::NOT_FOUND),
        (Method::POST, "/other", &[bearer], StatusCode::BAD_REQUEST),
        (Method::GET, "/other", &[bearer], StatusCode::NOT_FOUND),
    ] {
        let mut request = http().request(method.clone(), format!("{root}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{method} {path} {headers:?}");
        assert_eq!(header(&answer, "content-type"), Some("application/json"), "{method} {path}");
        let challenge = (status == StatusCode::UNAUTHORIZED).then_some("Bearer");
        assert_eq!(header(&answer, "www-authenticate"), challenge);
        let error: Value = answer.json().await.expect("JSON");
        assert_eq!((&error["jsonrpc"], &error["id"]), (&json!("2.0"), &Value::Null));
        assert!(error["error"]["code"].as_i64().is_some_and(|code| code <= -32000), "{error}");
        assert!(error["error"]["message"].as_str().is_some_and(|m| m.len() > 5), "{error}");
    }
    // With a slash behind it, the path is the same.
    let slash = http()
        .post(format!("{root}/mcp/"))
        .header("authorization", BEARER)
        .header("content-type", "application/json")
        .body(initialize("2025-06-18").to_string());
    let begun = slash.send().await.expect("an answer");
    assert_eq!(begun.status(), StatusCode::OK);
    let begun = message(begun, "2025-06-18", "initialize").await;
    assert_eq!(begun["result"]["protocolVersion"], "2025-06-18");
    listening.stop().await;
    world.assert_untouched();
}

#[tokio::test]
async fn a_method_that_the_protocol_has_removed_is_not_found() {
    let world = World::with_rooms(Vec::new()).await;
    let listening = listen(&world).await;
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}});
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe"] {
        for accept in [BOTH, "application/json"] {
            let request = json!({"jsonrpc": "2.0", "id": 5, "method": method,
                "params": {"level": "debug", "_meta": meta}});
            let headers = [
                ("accept", accept),
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", method),
            ];
            let answer = post(&listening, request.to_string(), &headers).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method}");
            assert_eq!(header(&answer, "mcp-session-id"), None, "{method}");
            let error = message(answer, "2026-07-28", method).await;
            assert_eq!((&error["id"], &error["error"]["code"]), (&json!(5), &json!(-32601)));
        }
    }
    listening.stop().await;
    world.assert_untouched();
}

#[tokio::test]
async fn a_session_with_an_open_stream_does_not_make_room() {
    let world = World::with_rooms(Vec::new()).await;
    let listening = listen(&world).await;
    let id = session(&listening, "2025-06-18").await;
    let stream = http()
        .get(listening.url())
        .header("authorization", BEARER)
        .header("accept", "text/event-stream")
        .header("mcp-session-id", &id);
    let stream = stream.send().await.expect("a stream");
    assert_eq!(stream.status(), StatusCode::OK);
    for _ in 0..256 {
        session(&listening, "2025-06-18").await;
    }
    let ping = json!({"jsonrpc": "2.0", "id": 2, "method": "ping"}).to_string();
    let headers = [("mcp-session-id", id.as_str())];
    assert_eq!(post(&listening, ping, &headers).await.status(), StatusCode::OK);
    drop(stream);
    listening.stop().await;
}

#[tokio::test]
async fn each_session_has_a_share_of_the_approvals() {
    let world = World::with_rooms(Vec::new()).await;
    let listening = listen(&world).await;
    // A client that calls itself something else each time is the same client all the same.
    let mut count = 0;
    let mut create = async |session: Option<&str>, client: &str| {
        count += 1;
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": client, "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {}});
        let mut params = json!({"name": "whereby_create_room",
            "arguments": {"room_name_prefix": format!("a{count}")}});
        let headers = match session {
            Some(id) => vec![("mcp-session-id", id)],
            None => {
                params["_meta"] = meta;
                vec![
                    ("mcp-protocol-version", "2026-07-28"),
                    ("mcp-method", "tools/call"),
                    ("mcp-name", "whereby_create_room"),
                ]
            }
        };
        let call = json!({"jsonrpc": "2.0", "id": count, "method": "tools/call", "params": params});
        let headers: Vec<_> = headers.into_iter().chain([("accept", "application/json")]).collect();
        let answer = post(&listening, call.to_string(), &headers).await;
        let answer: Value = answer.json().await.expect("JSON");
        let error = answer["result"]["_meta"]["whereby/error"].clone();
        (error["kind"].as_str().expect("refused").to_owned(), error["message"].to_string())
    };
    let one = session(&listening, "2025-06-18").await;
    let other = session(&listening, "2025-06-18").await;
    for session in [Some(one.as_str()), None] {
        for number in 0..25 {
            let (kind, message) = create(session, &format!("client {number}")).await;
            assert_eq!(kind, "approval-required", "{message}");
        }
        let (kind, message) = create(session, "another").await;
        assert_eq!(kind, "denied");
        assert!(message.contains("25 of this client"), "{message}");
    }
    assert_eq!(create(Some(&other), "").await.0, "approval-required");
    world.store().deny_all(|_| true).expect("denied");
    assert_eq!(create(Some(&one), "").await.0, "approval-required");
    listening.stop().await;
    world.assert_untouched();
}
