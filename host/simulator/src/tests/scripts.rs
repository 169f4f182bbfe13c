//! Tests scripted replies.

use serde_json::json;

use super::*;

const WISH: &str = r#"{"endDate":"2099-01-01T00:00:00Z"}"#;

#[tokio::test]
async fn scripted_statuses_headers_and_bodies_are_sent_before_the_usual_responses() {
    let (simulator, mut client) = start(options(vec![])).await;
    simulator.fail_next(1, 502);
    let unavailable =
        Reply::status(503).header("Retry-After", "2").json(&json!({ "message": "busy" }));
    simulator.script("GET", "/v1/meetings", 1, unavailable);
    let failed = client.send("POST", "/meetings", WISH).await;
    assert_eq!((failed.status, failed.text()), (502, ""));
    let busy = client.get("/meetings").await;
    assert_eq!(
        (busy.status, busy.header("retry-after"), busy.text()),
        (503, Some("2"), r#"{"message":"busy"}"#)
    );
    assert_eq!(
        client.get("/meetings").await.json()["results"],
        json!([]),
        "the POST was not carried out"
    );
    assert_eq!(simulator.scripts_left(), 0);
    assert_eq!(
        simulator.requests().iter().map(|request| request.status).collect::<Vec<_>>(),
        [Some(502), Some(503), Some(200)]
    );
}

#[tokio::test]
async fn a_room_can_be_created_without_a_response() {
    let (simulator, mut client) = start(options(vec![])).await;
    simulator.script("POST", "/v1/meetings", 1, Reply::carried_out().hanging_up());
    simulator.script("POST", "/v1/meetings", 1, Reply::status(504).after_carrying_out());
    simulator.script(
        "POST",
        "/v1/meetings",
        1,
        Reply::carried_out().header("x-extra", "1").body("not JSON"),
    );
    client.write("POST", "/meetings", WISH).await;
    assert_eq!(client.read_to_end().await, b"");
    let mut client = Client::connect(&simulator).await;
    assert_eq!(client.send("POST", "/meetings", WISH).await.status, 504);
    let odd = client.send("POST", "/meetings", WISH).await;
    assert_eq!((odd.status, odd.header("x-extra"), odd.text()), (201, Some("1"), "not JSON"));
    assert_eq!(client.get("/meetings").await.column("roomName").len(), 3);
    assert_eq!(simulator.requests()[0].status, None);
}

#[tokio::test]
async fn responses_can_be_broken() {
    let (simulator, _client) = start(options(vec![])).await;
    let whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: 7\r\n\r\n{\"a\":1}";
    let answer = || Reply::status(200).json(&json!({ "a": 1 }));
    for (reply, bytes) in [
        (answer().then_closing(), &whole[..]),
        (answer().truncated(3), &whole[..whole.len() - 4]),
        (answer().truncated(0), &whole[..whole.len() - 7]),
        (answer().byte_by_byte(Duration::from_micros(1)), &whole[..]),
        (answer().hanging_up(), b""),
        (Reply::raw("SSH-2.0-OpenSSH\r\n"), b"SSH-2.0-OpenSSH\r\n"),
    ] {
        simulator.script("GET", "", 1, reply);
        let mut client = Client::connect(&simulator).await;
        client.write("GET", "/meetings", "").await;
        assert_eq!(String::from_utf8(client.read_to_end().await).unwrap().as_bytes(), bytes);
    }
}

#[tokio::test]
async fn an_endless_response_ends_when_the_client_disconnects() {
    let (simulator, mut client) = start(options(vec![])).await;
    simulator.script("*", "/v1/", 1, Reply::status(200).body("[").endless());
    client.write("GET", "/meetings", "").await;
    let start = String::from_utf8(client.read_some(4 * 1024 * 1024).await).unwrap();
    assert!(
        start.starts_with(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n4000\r\n   "
        )
    );
    simulator.stop().await;
}

#[tokio::test]
async fn responses_can_be_delayed_and_omitted() {
    let (simulator, mut held) = start(options(vec![RoomSeed::named("a")])).await;
    let gate = Gate::new();
    simulator.script(
        "GET",
        "/v1/meetings",
        1,
        Reply::carried_out().held_by(&gate).delayed(Duration::from_millis(1)),
    );
    simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().never_answering());
    held.write("GET", "/meetings", "").await;
    simulator.wait_for_requests(1).await;
    let mut silent = Client::connect(&simulator).await;
    silent.write("GET", "/meetings", "").await;
    simulator.wait_for_requests(2).await;
    let mut usual = Client::connect(&simulator).await;
    assert_eq!(usual.get("/meetings").await.status, 200, "nothing holds up the others");
    gate.open();
    assert_eq!(held.read().await.column("roomName"), ["/a"]);
    assert_eq!(simulator.requests()[1].status, None);
    assert_eq!(simulator.connections(), 3);
    simulator.script("GET", "", 5, Reply::status(500));
    simulator.clear_scripts();
    assert_eq!(usual.get("/meetings").await.status, 200);
    simulator.stop().await;
    assert_eq!(silent.read_to_end().await, b"");
}
