//! `whereby audit`: the calls that were made, as they are listed, filtered and followed.

use super::{Screen, assert_call_document, still_world, without_dates};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use whereby::Call;
use whereby::cli::Streams;
use whereby_tests::{World, run_with};

/// A world with three calls in its log: one that succeeded, one that failed, one that was refused.
async fn logged_world() -> World {
    let (world, _) = still_world().await;
    world.configure("[permissions.functions]\ndelete_room = \"deny\"\n");
    for (call, code) in [
        (&["call", "list_rooms", "--arg", "limit=1"][..], 0),
        (&["call", "get_room", "--arg", "room_name=nowhere", "--account", "other"], 6),
        (&["call", "delete_room", "--arg", "room_name=daily"], 4),
    ] {
        let ran = world.run(call).await;
        assert_eq!(ran.code, code, "{ran:?}");
    }
    world
}

#[tokio::test]
async fn the_calls_are_listed_the_newest_last() {
    let world = logged_world().await;
    let created = world.run(&["call", "create_room", "--force", "--json"]).await.json();
    let name = created["data"]["roomName"].as_str().expect("a name").to_owned();
    let mut screen = Screen::new(&world);
    screen.run(&["audit"]).await;
    screen.run(&["audit", "--limit", "1"]).await;
    screen.run(&["audit", "--account", "other"]).await;
    screen.run(&["audit", "--function", "whereby_list_rooms", "--since", "1h"]).await;
    screen.run(&["audit", "--account", "gone"]).await;
    screen.run(&["audit", "--since", "yesterday"]).await;
    screen.run(&["audit", "--function", "lst_rooms"]).await;
    screen.run(&["audit", "--limit", "0"]).await;
    screen.text = without_dates(&screen.text).replace(&name, "ROOM");
    screen.finish("audit");
}

#[tokio::test]
async fn an_empty_log_is_no_error_and_makes_nothing() {
    let (world, _) = still_world().await;
    let ran = world.run(&["audit"]).await;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "no calls\n", ""));
    let ran = world.run(&["audit", "--json"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "{\"audit\":[]}\n"));
    assert!(!world.path("state").exists());
    let mut environment = world.environment();
    environment.variables.remove("XDG_STATE_HOME");
    environment.variables.remove("HOME");
    let ran = whereby_tests::run(&["audit", "--json"], environment, "", false).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(assert_call_document(&ran)["error"]["kind"], "configuration");
}

#[tokio::test]
async fn the_document_has_everything() {
    let world = logged_world().await;
    let ran = world.run(&["audit", "--json"]).await;
    let mut document = ran.json();
    let rows = document["audit"].as_array_mut().expect("a list");
    assert_eq!(rows.len(), 3);
    let row = &mut rows[0];
    assert!(row["id"].as_str().is_some_and(|id| id.len() == 32), "{row}");
    let time = row["time"].as_str().expect("a time");
    assert_eq!(without_dates(time), "0000-00-00T00:00:00.000Z");
    for place in ["/outcome/duration_ms", "/outcome/requests/0/duration_ms"] {
        let duration = row.pointer_mut(place).expect("a duration").take();
        assert!(duration.as_f64().is_some_and(|ms| ms >= 0.0), "{duration}");
    }
    let (id, time) = (row["id"].take(), row["time"].take());
    assert_eq!(row["hash"].take().as_str().map(str::len), Some(64));
    assert_eq!(
        row.to_string(),
        json!({
            "position": 2,
            "hash": null,
            "id": null,
            "time": null,
            "front_end": "cli",
            "client": null,
            "agent": null,
            "token": null,
            "account": "work",
            "api_url": world.simulator.url(),
            "function": "list_rooms",
            "arguments": {"limit": 1},
            "effect": "read",
            "permission": "allow",
            "rule": "the default permissions.read = \"allow\"",
            "approved_by": "rule",
            "approval_id": null,
            "traceparent": null,
            "decision": null,
            "outcome": {
                "success": true,
                "kind": null,
                "message": null,
                "effect": "none",
                "room_name": null,
                "room_id": null,
                "requests": [
                    {"method": "GET", "path": "/meetings", "status": 200, "duration_ms": null},
                ],
                "duration_ms": null,
            },
        })
        .to_string()
    );
    assert_ne!(id, rows[1]["id"]);
    assert!(time.as_str() <= rows[1]["time"].as_str());
    assert_eq!(rows[2]["outcome"]["kind"], "denied");
    assert_eq!(rows[2]["outcome"]["requests"], json!([]));
    assert!(rows[2]["outcome"]["message"].as_str().is_some_and(|text| text.contains("denied")));
}

#[tokio::test]
async fn no_call_is_left_out_without_a_word() {
    let (world, _) = still_world().await;
    let session = world.session();
    for _ in 0..102 {
        assert!(session.call(None, "no_function", json!({})).await.result.is_err());
    }
    drop(session);
    let everything = world.run(&["audit", "--since", "1h", "--json"]).await;
    assert_eq!((everything.code, everything.stderr.as_str()), (0, ""));
    let document = everything.json();
    assert_eq!(document["audit"].as_array().map(Vec::len), Some(102));
    assert_eq!(document.as_object().map(serde_json::Map::len), Some(1));

    for (limit, quiet, is_truncated) in
        [("100", false, true), ("1", true, true), ("102", false, false), ("100000", false, false)]
    {
        let quiet = if quiet { &["--quiet"][..] } else { &[] };
        let ran = world.run(&[&["audit", "--json", "--limit", limit], quiet].concat()).await;
        let document = ran.json();
        let expected = limit.parse::<usize>().expect("a number").min(102);
        assert_eq!(document["audit"].as_array().map(Vec::len), Some(expected));
        assert_eq!(document["truncated"] == true, is_truncated, "{limit}");
        let is_warned = ran.stderr.contains(" earlier calls are not shown; --limit shows more");
        assert_eq!(is_warned, is_truncated && quiet.is_empty(), "{ran:?}");
        // They are the newest.
        assert_eq!(document["audit"][expected - 1]["id"], everything.json()["audit"][101]["id"]);
    }

    for (arguments, lines, words) in [
        (&["audit"][..], 52, "52 earlier calls are not shown; --limit shows more"),
        (&["audit", "--limit", "101"], 103, "1 earlier call is not shown; --limit shows more"),
        (&["audit", "--limit", "102"], 103, ""),
        (&["audit", "--function", "list_rooms"], 1, "no calls"),
    ] {
        let ran = world.run(arguments).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        assert_eq!(ran.stdout.lines().count(), lines, "{arguments:?}: {ran:?}");
        let last = ran.stdout.lines().last().expect("a line");
        assert!(last.contains(words), "{last}");
        assert_eq!(last.contains("not shown"), words.contains("not shown"), "{last}");
    }
}

/// Standard output of somebody who reads so many lines, and then goes away.
struct Reader {
    read: Arc<Mutex<String>>,
    lines: usize,
    /// Is told of every line.
    heard: Arc<Notify>,
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.lines == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut read = self.read.lock().expect("no panic");
        for line in std::str::from_utf8(bytes).expect("UTF-8").split_inclusive('\n') {
            if self.lines == 0 {
                break;
            }
            read.push_str(line);
            if line.ends_with('\n') {
                self.lines -= 1;
                self.heard.notify_one();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Follows the log until so many lines were read and one more comes; `meanwhile` begins after the
/// first.
async fn follow(
    world: &World,
    arguments: &[&str],
    lines: usize,
    meanwhile: impl Future<Output = ()>,
) -> (u8, String) {
    let (read, heard) = (Arc::new(Mutex::new(String::new())), Arc::new(Notify::new()));
    let reader = Reader { read: Arc::clone(&read), lines, heard: Arc::clone(&heard) };
    let arguments = [&["audit", "--follow"], arguments].concat();
    let following = run_with(&arguments, world.environment(), "", |streams| {
        *streams = Streams::new(io::empty(), reader, io::sink());
    });
    let (ran, ()) = tokio::join!(following, async {
        heard.notified().await;
        meanwhile.await;
    });
    let read = read.lock().expect("no panic").clone();
    (ran.code, read)
}

#[tokio::test]
async fn the_log_is_followed_until_nobody_reads_any_more() {
    let world = logged_world().await;
    let meanwhile = async {
        for _ in 0..2 {
            assert_eq!(world.run(&["call", "get_current_user"]).await.code, 0);
        }
    };
    let (code, read) = follow(&world, &["--json", "--limit", "2"], 3, meanwhile).await;
    // As for every reader that goes away.
    assert_eq!(code, 141);
    let documents: Vec<Value> =
        read.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let functions: Vec<&str> =
        documents.iter().filter_map(|document| document["function"].as_str()).collect();
    assert_eq!(functions, ["get_room", "delete_room", "get_current_user"]);

    let meanwhile = async {
        world.configure("[permissions]\nwrite = \"allow\"\n");
        assert_eq!(world.run(&["call", "list_rooms"]).await.code, 0);
        assert_eq!(world.run(&["call", "create_room"]).await.code, 0);
        assert_eq!(world.run(&["call", "create_room"]).await.code, 0);
    };
    let arguments = ["--function", "create_room", "--account", "work"];
    // There is none yet, so nothing would be read before it is begun.
    world.run(&["call", "create_room"]).await;
    let (code, read) = follow(&world, &arguments, 3, meanwhile).await;
    assert_eq!(code, 141);
    let lines: Vec<&str> = read.lines().collect();
    assert_eq!(lines.len(), 3, "{read}");
    assert!(lines[0].starts_with("time ") && lines[0].ends_with(" arguments"), "{read}");
    assert!(lines[1].contains("create_room") && lines[1].contains("approval-required"), "{read}");
    // A write is shown as soon as it begins, and may have ended by then.
    let is_shown = [" created ", "unfinished"].iter().any(|words| lines[2].contains(words));
    assert!(lines[2].contains("create_room") && is_shown, "{read}");
}

#[tokio::test]
async fn what_people_decide_is_followed_too() {
    let world = logged_world().await;
    let meanwhile = async {
        // The last one finds nobody who reads.
        for command in ["freeze", "unfreeze", "freeze"] {
            assert_eq!(world.run(&[command]).await.code, 0);
        }
    };
    let (code, read) = follow(&world, &["--json", "--limit", "1"], 3, meanwhile).await;
    assert_eq!(code, 141);
    let documents: Vec<Value> =
        read.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let decided: Vec<&Value> = documents.iter().map(|row| &row["decision"]["what"]).collect();
    assert_eq!(decided, [&Value::Null, &json!("freeze"), &json!("unfreeze")]);
}

#[tokio::test]
async fn calls_of_a_program_that_goes_on_are_there_at_once() {
    let (world, _) = still_world().await;
    let session = world.session();
    let call = Call::new("list_rooms", json!({})).asked_by("mcp", Some("an agent"));
    assert!(session.run(call).await.result.is_ok());
    let rows = world.run(&["audit", "--json"]).await.json();
    assert_eq!(rows["audit"].as_array().map(Vec::len), Some(1), "{rows}");
    assert_eq!(rows["audit"][0]["client"], "an agent");
    // It is one row also when that program has moved it.
    drop(session);
    let rows = world.run(&["audit", "--json"]).await.json();
    assert_eq!(rows["audit"].as_array().map(Vec::len), Some(1), "{rows}");
}
