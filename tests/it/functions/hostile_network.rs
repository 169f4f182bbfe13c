//! A server or a network that means harm, or is broken in a way that looks so: whatever it does, a
//! call ends with one clear error in its time, nothing is written twice, and the next call is as if
//! nothing had been.

use crate::wire::{ALLOW_ALL, kind, message, sent};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;
use whereby::cli::Exit;
use whereby::simulator::{Reply, RoomSeed, Switches};
use whereby::{Session, WriteOutcome};
use whereby_tests::World;

/// What a server does to a request, and which kinds of error that may come to.
struct Harm {
    name: String,
    reply: Reply,
    kinds: &'static [&'static str],
    timeout_seconds: u64,
}

const LOST: &[&str] = &["unavailable"];
const UNREADABLE: &[&str] = &["unexpected-response"];
/// Where it is a matter of how far the HTTP library reads.
const EITHER: &[&str] = &["unavailable", "unexpected-response"];
const LATE: &[&str] = &["timeout"];

fn harm(name: impl Into<String>, reply: Reply, kinds: &'static [&'static str]) -> Harm {
    // Long enough for every try on a busy machine.
    Harm { name: name.into(), reply, kinds, timeout_seconds: 30 }
}

fn late(name: &str, reply: Reply) -> Harm {
    // Long enough to send the request on a busy machine.
    Harm { timeout_seconds: 5, ..harm(name, reply, LATE) }
}

/// A whole answer that is as good for a read as for a write.
fn fine() -> Reply {
    let room = json!({
        "meetingId": "1", "roomName": "/fine", "roomUrl": "https://acme.whereby.com/fine",
        "startDate": "2026-01-01T00:00:00Z", "endDate": "2099-01-01T00:00:00Z",
    });
    Reply::status(200).json(&room)
}

fn raw(head: &str, body: &str) -> Reply {
    Reply::raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}"))
}

fn harms() -> Vec<Harm> {
    let list = r#"{"results": [], "cursor": null}"#;
    let mebibyte = 1 << 20;
    let mut harms = vec![
        // Too slow, or never over.
        late("byte by byte", fine().byte_by_byte(Duration::from_millis(40))),
        late("never an answer", fine().never_answering()),
        late("an answer after the call", fine().delayed(Duration::from_secs(60))),
        harm("without end", fine().endless(), UNREADABLE),
        // Heads.
        harm(
            "a flood of interim answers",
            Reply::raw("HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n".repeat(50_000)),
            LOST,
        ),
        harm(
            "a switch of protocols",
            Reply::raw("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
            EITHER,
        ),
        harm("a giant header", raw(&format!("x: {}\r\n", "a".repeat(8 * mebibyte)), list), EITHER),
        harm("a head without end", raw(&"x: y\r\n".repeat(mebibyte), list), EITHER),
        harm("no blank line", Reply::raw("HTTP/1.1 200 OK\r\nx: y"), LOST),
        harm("another version", Reply::raw("HTTP/9.9 200 OK\r\n\r\n"), LOST),
        harm("no status", Reply::raw("HTTP/1.1 999999 ?\r\n\r\n"), LOST),
        harm("a header with a null", raw("x: a\0b\r\n", list), LOST),
        harm("HTTP/2 unasked", Reply::raw(*b"\0\0\0\x04\0\0\0\0\0"), LOST),
        harm("a page of TLS", Reply::raw(*b"\x16\x03\x01\0\x05hello"), LOST),
        // Lengths.
        harm("a length that is too long", raw("content-length: 9999\r\n", list), LOST),
        harm(
            "a length beyond measure",
            raw("content-length: 99999999999999999999\r\n", list),
            LOST,
        ),
        harm("a negative length", raw("content-length: -1\r\n", list), LOST),
        harm("two lengths", raw("content-length: 5\r\ncontent-length: 31\r\n", list), LOST),
        harm(
            "a chunk beyond measure",
            raw("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\n"),
            LOST,
        ),
        harm("a chunk that is no number", raw("transfer-encoding: chunked\r\n", "zz\r\n"), LOST),
        harm("chunks that break off", raw("transfer-encoding: chunked\r\n", "1f\r\n{\"resu"), LOST),
        harm("more than may be", Reply::status(200).body(" ".repeat(3 * mebibyte)), UNREADABLE),
        // Bodies.
        harm(
            "a web page",
            Reply::status(200).header("content-type", "text/html").body("<p>Hi"),
            UNREADABLE,
        ),
        harm("nothing", Reply::status(200), UNREADABLE),
        harm("another form", Reply::status(200).json(&json!([[]])), UNREADABLE),
        harm("a bomb that is labelled", bomb().header("content-encoding", "gzip"), UNREADABLE),
        harm("a bomb that is not labelled", bomb(), UNREADABLE),
        harm("depth", Reply::status(200).body("[".repeat(mebibyte)), UNREADABLE),
        harm(
            "depth in a member",
            Reply::status(200).body(format!("{{\"results\":{}", "[".repeat(mebibyte))),
            UNREADABLE,
        ),
        harm("no text", Reply::status(200).body([0xff; 64]), UNREADABLE),
        harm(
            "a redirect",
            Reply::status(307).header("location", "http://127.0.0.1:1/"),
            UNREADABLE,
        ),
    ];
    // Every part of an answer is a place to break it off: the status, the head, and the body.
    for bytes in [0, 1, 9, 12, 17, 40, 90, 130, 180] {
        harms.push(harm(format!("a reset after {bytes} bytes"), fine().reset_after(bytes), LOST));
    }
    harms
}

/// Ten thousand times as large when it is unpacked: 1,000 members of gzip, each of a mebibyte of
/// zeros.
fn bomb() -> Reply {
    // An empty deflate block repeated means nothing; only that it is not unpacked counts.
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed, 0xc1];
    member.extend([0; 1000]);
    Reply::status(200).body(member.repeat(1000))
}

/// A function, its arguments, and the method of the request that harm is done to.
fn calls() -> [(&'static str, Value, &'static str); 3] {
    [
        ("list_rooms", json!({}), "GET"),
        ("create_room", json!({ "room_name_prefix": "new-" }), "POST"),
        ("delete_room", json!({ "room_name": "daily" }), "DELETE"),
    ]
}

async fn suffer(harm: Harm, function: &str, arguments: Value, method: &str) {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    world.simulator.set_switches(Switches { rate_limit: 0, ..Switches::default() });
    let limits =
        format!("[limits]\ntimeout_seconds = {}\nconcurrent_calls = 2\n", harm.timeout_seconds);
    world.configure(&format!("{limits}{ALLOW_ALL}"));
    let session = world.session();
    world.simulator.script(method, "/v1/meetings", 20, harm.reply);
    let outcome = session.call(None, function, arguments).await;
    let what = format!("{function} and {}: {:?}", harm.name, outcome.result);

    let error = outcome.result.as_ref().expect_err(&what);
    assert!(harm.kinds.contains(&kind(&outcome)), "{what}");
    assert_eq!(Exit::of(error), Exit::Unavailable, "{what}");
    let message = message(&outcome);
    assert!(!message.is_empty() && message.len() < 1000, "{what}");
    assert!(!message.contains(char::is_control), "{what}");
    let effects: &[WriteOutcome] = match method {
        "GET" => &[WriteOutcome::None],
        // Nothing that came says whether it was done.
        _ => &[WriteOutcome::Unknown],
    };
    assert!(effects.contains(&outcome.write), "{what}: {:?}", outcome.write);
    let requests = sent(&world);
    let tries: Vec<&String> = requests.iter().filter(|line| line.starts_with(method)).collect();
    let most = if method == "POST" { 1 } else { 4 };
    assert!((1..=most).contains(&tries.len()), "{what}: {requests:?}");
    assert!(tries.iter().all(|line| *line == tries[0]), "{what}: {requests:?}");

    world.simulator.clear_scripts();
    assert_well(&session, &what).await;
}

async fn assert_well(session: &Session, what: &str) {
    let room = session.call(None, "get_room", json!({ "room_name": "daily" })).await;
    assert_eq!(room.result.expect(what)["roomName"], "daily");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_server_does_a_call_ends_well() {
    // What is compiled once for all is not to be in the time of a call.
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    assert_well(&world.session(), "before").await;
    for (function, arguments, method) in calls() {
        let mut sufferings = JoinSet::new();
        for harm in harms() {
            // A deletion has no body that matters: its status says everything.
            let is_unread = harm.kinds == UNREADABLE && harm.name != "a redirect";
            if method == "DELETE" && is_unread {
                continue;
            }
            sufferings.spawn(suffer(harm, function, arguments.clone(), method));
        }
        let mut failed = 0;
        while let Some(suffered) = sufferings.join_next().await {
            failed += usize::from(suffered.is_err());
        }
        assert_eq!(failed, 0, "the panics above say what was wrong");
    }
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_unavailable() {
    let world = World::with_rooms(Vec::new()).await;
    let token = world.simulator.token();
    // RFC 6761 reserves it: no resolver knows it.
    let account = format!(
        "[accounts.work]\naccess_token = \"{token}\"\napi_url = \"https://whereby.invalid/v1\"\n"
    );
    world.write("config/whereby/config.toml", &format!("{ALLOW_ALL}{account}"));
    for (function, arguments, _) in calls() {
        let outcome = world.call(function, arguments).await;
        let error = outcome.result.as_ref().expect_err("nobody is there");
        assert_eq!(Exit::of(error), Exit::Unavailable, "{error}");
        assert_eq!(outcome.write, WriteOutcome::None, "{error}");
        assert!(!error.to_string().contains(token));
    }
    assert!(world.requests().is_empty());
}
