//! What the network can do to a call.

use crate::wire::{ALLOW_ALL, calls, daily_world, kind, message, sent};
use serde_json::json;
use std::net::TcpListener;
use std::time::Duration;
use whereby::WriteOutcome;
use whereby::cli::Exit;
use whereby::simulator::{Reply, RoomSeed, Switches};
use whereby_tests::World;

/// Has the account `work` at another address.
fn configure_at(world: &World, url: &str) {
    let token = world.simulator.token();
    let account = format!("[accounts.work]\naccess_token = \"{token}\"\napi_url = \"{url}\"\n");
    world.write("config/whereby/config.toml", &format!("{ALLOW_ALL}{account}"));
}

#[tokio::test]
async fn a_connection_that_is_refused_is_unavailable_and_changed_nothing() {
    let world = World::with_rooms(Vec::new()).await;
    // Bound and not listening: nobody else gets the port meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("an address");
    configure_at(&world, &format!("http://{address}/v1"));
    let session = world.session();
    // Nothing is sent where no connection was made, so a creation is not tried again either.
    for (function, arguments, requests) in
        [("create_room", json!({}), 1), ("list_rooms", json!({}), 4)]
    {
        let outcome = session.call(None, function, arguments).await;
        assert_eq!(kind(&outcome), "unavailable", "{function}");
        assert!(message(&outcome).contains("refused"), "{}", message(&outcome));
        assert_eq!(outcome.write, WriteOutcome::None, "{function}");
        assert_eq!(outcome.requests.len(), requests, "{function}");
        assert!(outcome.requests.iter().all(|request| request.status.is_none()));
    }
}

#[tokio::test]
async fn a_connection_that_is_hung_up_on_is_tried_again_for_a_read() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    world.simulator.script("GET", "/v1/meetings", 1, Reply::status(200).hanging_up());
    let outcome = world.call("list_rooms", json!({})).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!(sent(&world).len(), 2);
}

/// What a read comes to where every attempt is answered so.
async fn read_with(reply: Reply) -> whereby::Error {
    let (world, _) = daily_world().await;
    world.simulator.script("GET", "/v1/meetings", 4, reply);
    world.call("list_rooms", json!({})).await.result.expect_err("no whole answer")
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_taken_for_a_whole_one() {
    // Side by side, as each is tried four times.
    let broken = |keep| read_with(Reply::carried_out().truncated(keep));
    let (nothing, a_byte, a_part) = tokio::join!(broken(0), broken(1), broken(20));
    for error in [nothing, a_byte, a_part] {
        assert_eq!(error.kind(), "unavailable", "{error}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_http_are_an_error() {
    let (text, version, zeros) = tokio::join!(
        read_with(Reply::raw(b"hello\r\n\r\n")),
        read_with(Reply::raw(b"HTTP/9.9 200 OK\r\n\r\n")),
        read_with(Reply::raw(b"\0\0\0\0\r\n\r\n")),
    );
    for error in [text, version, zeros] {
        assert_eq!(Exit::of(&error), Exit::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn an_answer_without_end_or_over_two_mebibytes_is_refused() {
    let (world, _) = daily_world().await;
    let list = |size: usize| format!("{{\"results\": [], \"cursor\": null{}}}", " ".repeat(size));
    let mebibytes = 1024 * 1024;
    for (reply, refused) in [
        (Reply::status(200).body("{\"results\": [], \"cursor\": null}").endless(), true),
        (Reply::status(200).body(list(2 * mebibytes)), true),
        (Reply::status(200).body(list(2 * mebibytes - 100)), false),
    ] {
        world.simulator.clear_requests();
        world.simulator.script("GET", "/v1/meetings", 1, reply);
        let outcome = world.call("list_rooms", json!({})).await;
        assert_eq!(outcome.result.is_err(), refused, "{:?}", outcome.result);
        if refused {
            assert_eq!(kind(&outcome), "unexpected-response");
        }
        assert_eq!(sent(&world).len(), 1, "it would only happen again");
    }
}

#[tokio::test]
async fn an_answer_that_is_compressed_is_refused() {
    let (world, _) = daily_world().await;
    for coding in ["gzip", "br", "deflate", "identity, gzip"] {
        let reply = Reply::carried_out().header("content-encoding", coding);
        world.simulator.script("GET", "/v1/meetings", 1, reply);
        let outcome = world.call("list_rooms", json!({})).await;
        assert_eq!(kind(&outcome), "unexpected-response", "{coding}");
    }
    let reply = Reply::carried_out().header("content-encoding", "identity");
    world.simulator.script("GET", "/v1/meetings", 1, reply);
    assert!(world.call("list_rooms", json!({})).await.result.is_ok());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (world, meeting) = daily_world().await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    elsewhere.set_nonblocking(true).expect("a mode");
    let target = format!("http://{}/v1/meetings", elsewhere.local_addr().expect("an address"));
    let session = world.session();
    for status in [301, 302, 303, 307, 308] {
        let location = Reply::status(status).header("location", &target);
        for (function, arguments) in calls(&meeting) {
            world.simulator.script("*", "/v1/", 3, location.clone());
            let outcome = session.call(None, function, arguments).await;
            world.simulator.clear_scripts();
            assert_eq!(kind(&outcome), "unexpected-response", "{function} {status}");
        }
    }
    let nobody = elsewhere.accept().expect_err("nobody came");
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_token_that_the_server_repeats_reaches_nobody() {
    let (world, meeting) = daily_world().await;
    let token = world.simulator.token().to_owned();
    let session = world.session();
    for (function, arguments) in calls(&meeting) {
        for status in [200, 400, 401, 403, 500] {
            let reply = Reply::status(status)
                .json(&json!({"error": format!("<{token}>{token}"), "results": [token]}))
                .header("x-ratelimit-limit", &token)
                .header("location", &token);
            world.simulator.script("*", "/v1/", 3, reply);
            let outcome = session.call(None, function, arguments.clone()).await;
            world.simulator.clear_scripts();
            let shown = format!("{outcome:?}");
            assert!(!shown.contains(&token), "{function} {status}");
            if status == 400 {
                assert!(message(&outcome).contains("[redacted]"), "{}", message(&outcome));
            }
        }
    }
    let row = json!({
        "meetingId": "7", "roomName": "/x", "roomUrl": format!("https://a.whereby.com/{token}"),
        "endDate": token,
    });
    let reply = Reply::status(200).json(&json!({"results": [row], "cursor": token}));
    world.simulator.script("GET", "/v1/meetings", 1, reply.header("retry-after", &token));
    let page = session.call(None, "list_rooms", json!({})).await.result.expect("a page");
    assert!(!page.to_string().contains(&token));
    assert_eq!(page["meta"]["nextCursor"], "[redacted]");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_on_in_time() {
    let (world, _) = daily_world().await;
    world.configure(&format!("{ALLOW_ALL}[limits]\ntimeout_seconds = 1\n"));
    for (function, effect) in
        [("list_rooms", WriteOutcome::None), ("create_room", WriteOutcome::Unknown)]
    {
        let reply = Reply::status(200).never_answering();
        world.simulator.script("*", "/v1/meetings", 1, reply);
        let outcome = world.call(function, json!({})).await;
        assert_eq!(kind(&outcome), "timeout", "{function}");
        assert_eq!(outcome.write, effect, "{function}");
    }
}

#[tokio::test]
async fn an_answer_that_trickles_in_is_taken() {
    let (world, _) = daily_world().await;
    let reply = Reply::carried_out().byte_by_byte(Duration::ZERO);
    world.simulator.script("GET", "/v1/meetings", 1, reply);
    let outcome = world.call("list_rooms", json!({})).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
}

#[tokio::test]
async fn a_thousand_calls_one_after_the_other_take_one_connection() {
    let (world, _) = daily_world().await;
    world.simulator.set_switches(Switches { rate_limit: 0, ..Switches::default() });
    let session = world.session();
    for _ in 0..1000 {
        let outcome = session.call(None, "list_rooms", json!({"limit": 1})).await;
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    }
    assert_eq!(world.simulator.connections(), 1);
    assert_eq!(world.requests().len(), 1000);
}
