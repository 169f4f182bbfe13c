//! MCP over HTTP: who gets in, and that what gets in works like anywhere else.

use super::{Client, NAME, meeting_of_name, params, server};
use crate::wire::daily;
use reqwest::StatusCode;
use rmcp::ServiceExt as _;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::json;
use whereby::mcp::{HttpOptions, Listening};
use whereby_tests::World;

const TOKEN: &str = "a-token-of-some-length";

fn options() -> HttpOptions {
    HttpOptions::new(([127, 0, 0, 1], 0).into(), TOKEN.into())
}

async fn listen(world: &World) -> Listening {
    server(world).listen(options()).await.expect("it listens")
}

/// Begins as a client does, with other headers.
async fn begin(listening: &Listening, headers: &[(&str, &str)]) -> StatusCode {
    let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(no_tls()).build();
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"}}});
    let mut request = client
        .expect("a client")
        .post(listening.url())
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .body(message.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("an answer").status()
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
    let bearer = format!("Bearer {TOKEN}");
    let good = ("authorization", bearer.as_str());
    for (headers, expected) in [
        (&[good][..], StatusCode::OK),
        (&[("authorization", "bearer a-token-of-some-length")], StatusCode::OK),
        (&[], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Bearer a-token-of-some-lengtH")], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Bearer ")], StatusCode::UNAUTHORIZED),
        (&[("authorization", "Basic a-token-of-some-length")], StatusCode::UNAUTHORIZED),
        (&[good, ("origin", "https://evil.example")], StatusCode::FORBIDDEN),
        (&[good, ("origin", "http://localhost:1234")], StatusCode::FORBIDDEN),
        (&[good, ("origin", "null")], StatusCode::FORBIDDEN),
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
    let ran = world.run(&["mcp", "--listen", "127.0.0.1:0"]).await;
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("WHEREBY_MCP_TOKEN"), "{}", ran.stderr);
}

#[tokio::test]
async fn there_is_room_for_so_many_clients() {
    let world = World::with_rooms(Vec::new()).await;
    let listening = listen(&world).await;
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    for _ in 0..256 {
        assert_eq!(begin(&listening, &headers).await, StatusCode::OK);
    }
    assert_eq!(begin(&listening, &headers).await, StatusCode::SERVICE_UNAVAILABLE);
    listening.stop().await;
}

#[tokio::test]
async fn clients_over_http_call_tools_and_are_asked() {
    let world = World::with_rooms(vec![daily()]).await;
    let listening = listen(&world).await;
    let mut config = StreamableHttpClientTransportConfig::with_uri(listening.url());
    config.auth_header = Some(TOKEN.into());
    let http = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(no_tls()).build();
    let transport = StreamableHttpClientTransport::with_client(http.expect("a client"), config);
    let (client, _progress) = Client::new(super::accepts(true));
    let running = client.clone().serve(transport).await.expect("the client starts");
    let call = params("whereby_delete_room", json!({"room_name": "daily"}));
    let result = running.call_tool(call).await.expect("an answer");
    assert_eq!(result.is_error, Some(false), "{result:?}");
    assert_eq!(client.asked().len(), 1);
    running.cancel().await.expect("the client ends");
    listening.stop().await;
}
