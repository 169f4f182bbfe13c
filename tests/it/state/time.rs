//! A state directory through more than a year of use, by a clock that is moved.

use super::upgrade::{as_version_5, version};
use super::{approvals, audit, document, ran, stored, tool};
use crate::wire::body;
use serde_json::{Value, json};
use whereby::simulator::{RoomSeed, Switches};
use whereby_tests::World;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A room that ends long after anything here.
const ROOM: &str = r#"{"end_date": "2999-01-01T00:00:00Z", "room_name_prefix": "year-"}"#;

/// Goes through every command once, by the clock as it is. Returns how many calls were made.
async fn every_command(world: &World) -> usize {
    world.simulator.clear_requests();
    // Where the clock was put back, there are calls of later.
    let before: Vec<Value> = audit(world, &["--since", "5min"]).await;
    let made = async |arguments: &[&str]| -> Vec<Value> {
        let mut rows = audit(world, &[&["--since", "5min"], arguments].concat()).await;
        rows.retain(|row| before.iter().all(|earlier| earlier["id"] != row["id"]));
        rows
    };
    ran(world, &["call", "list_rooms"], 0).await;
    let script = "return #app.integrations.whereby.list_rooms({}).data";
    ran(world, &["lua", "-e", script], 0).await;
    let result = tool(world, "whereby_list_rooms", json!({})).await;
    assert_ne!(result["isError"], true, "{result}");
    ran(world, &["doctor"], 0).await;

    // One is approved and used, one is denied, one is approved and not used, and one is left alone.
    let id = stored(world, &["create_room", ROOM]).await;
    assert_eq!(approvals(world, &[]).await, [(id.clone(), "pending".into())]);
    let shown = document(world, &["approvals", "show", &id]).await;
    assert_eq!(shown["approval"]["state"], "pending");
    ran(world, &["approvals", "approve", &id], 0).await;
    ran(world, &["call", "create_room", ROOM], 0).await;
    ran(world, &["approvals", "approve", &id], 2).await;
    let denied = stored(world, &["create_room"]).await;
    ran(world, &["approvals", "deny", &denied], 0).await;
    ran(world, &["call", "create_room"], 4).await;
    let unused = stored(world, &["delete_room", "--arg", "room_name=daily"]).await;
    ran(world, &["approvals", "approve", &unused], 0).await;
    let alone = stored(world, &["delete_room", "--arg", "room_name=weekly"]).await;
    let all = approvals(world, &["--all"]).await;
    for (id, state) in
        [(&id, "used"), (&denied, "denied"), (&unused, "approved"), (&alone, "pending")]
    {
        assert!(all.contains(&(id.clone(), state.into())), "{id} {state}: {all:?}");
    }
    let sent = world.requests();
    assert_eq!(sent.iter().filter(|request| request.method == "POST").count(), 1, "{sent:?}");
    assert!(sent.iter().all(|request| request.method != "DELETE"), "{sent:?}");

    let rows = made(&[]).await;
    // One by each front end, one for each account of `doctor`, six of the others, and three decisions.
    assert_eq!(rows.len(), 14, "{rows:?}");
    let mut created = made(&["--function", "create_room"]).await;
    created.retain(|row| row["decision"].is_null());
    assert_eq!(created.len(), 4, "{created:?}");
    assert_eq!(created[1]["outcome"]["effect"], "done");
    assert_eq!(made(&["--account", "other"]).await.len(), 1);
    assert_eq!(audit(world, &["--limit", "3"]).await.len(), 3);
    ran(world, &["audit"], 0).await;
    rows.len()
}

#[tokio::test]
async fn a_year_goes_by_and_every_command_works_on() {
    let world = World::with_rooms(vec![RoomSeed::named("daily"), RoomSeed::named("weekly")]).await;
    world.simulator.set_switches(Switches { rate_limit: 0, ..Switches::default() });
    let mut calls = 0;
    let mut archived = 0;
    // Forward by 31 and 400 days, back by half a year, and on.
    for (index, seconds) in
        [0, 2 * HOUR, 31 * DAY, 31 * DAY, 400 * DAY, -180 * DAY, 31 * DAY, 365 * DAY]
            .into_iter()
            .enumerate()
    {
        world.move_clock(seconds);
        if index > 0 {
            // Nothing of before can be decided on or used any more.
            assert_eq!(approvals(&world, &[]).await, [], "{seconds}");
        }
        calls += every_command(&world).await;
        let kept = approvals(&world, &["--all"]).await.len();
        let expected = match seconds {
            // What is of the last 30 days, and what the clock has not come to yet.
            7200 => 8,
            seconds if seconds < 0 => 8,
            _ if index == 6 => 8,
            _ => 4,
        };
        assert_eq!(kept, expected, "after {seconds} s");
        let rows = audit(&world, &[]).await;
        assert_eq!(rows.len(), calls - archived);
        if index % 3 == 2 {
            let name = format!("{index}.db");
            let document = document(&world, &["audit", "archive", &name]).await;
            // What a person decided is no call.
            let made = rows.iter().filter(|row| row["decision"].is_null()).count();
            assert_eq!(document["archive"]["calls"], made);
            archived = calls;
            assert_eq!(audit(&world, &[]).await.len(), 0);
            // What is open stays.
            assert_eq!(approvals(&world, &[]).await.len(), 2);
        }
        ran(&world, &["audit", "verify"], 0).await;
    }
}

#[tokio::test]
async fn a_database_of_the_version_before_lasts_a_year_too() {
    let world = World::with_rooms(vec![RoomSeed::named("daily"), RoomSeed::named("weekly")]).await;
    world.simulator.set_switches(Switches { rate_limit: 0, ..Switches::default() });
    let mut calls = every_command(&world).await;
    as_version_5(&world);
    assert_eq!(version(&world), 5);
    for seconds in [31 * DAY, 365 * DAY] {
        world.move_clock(seconds);
        assert_eq!(approvals(&world, &[]).await, [], "{seconds}");
        calls += every_command(&world).await;
        assert_eq!(audit(&world, &[]).await.len(), calls);
        ran(&world, &["audit", "verify"], 0).await;
    }
}

#[tokio::test]
async fn an_approval_is_over_when_the_clock_says_so() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let call = ["delete_room", "--arg", "room_name=daily"];
    let first = stored(&world, &call).await;
    world.move_clock(59 * MINUTE);
    assert_eq!(stored(&world, &call).await, first);
    world.move_clock(MINUTE);
    let late = ran(&world, &["approvals", "approve", &first], 2).await;
    assert!(late.stderr.contains(" expired at "), "{late:?}");
    let second = stored(&world, &call).await;
    assert_ne!(second, first);
    ran(&world, &["approvals", "approve", &second], 0).await;
    world.move_clock(15 * MINUTE);
    let third = stored(&world, &call).await;
    assert_ne!(third, second);
    let late = ran(&world, &["approvals", "approve", &second], 2).await;
    assert!(late.stderr.contains("was not used and expired at "), "{late:?}");
    world.assert_untouched();
    ran(&world, &["approvals", "approve", &third], 0).await;
    world.move_clock(14 * MINUTE);
    ran(&world, &[&["call"], &call[..]].concat(), 0).await;
}

#[tokio::test]
async fn a_clock_that_ran_ahead_is_told() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    world.move_clock(DAY);
    let call = ["delete_room", "--arg", "room_name=daily"];
    let ahead = stored(&world, &call).await;
    world.move_clock(-DAY);
    for command in ["approve", "deny"] {
        let refused = ran(&world, &["approvals", command, &ahead], 2).await;
        assert!(refused.stderr.contains("this machine's clock was set back"), "{refused:?}");
        assert!(!refused.stderr.contains("expired"), "{refused:?}");
    }
    world.assert_untouched();
    let now = stored(&world, &call).await;
    ran(&world, &["approvals", "approve", &now], 0).await;
    ran(&world, &[&["call"], &call[..]].concat(), 0).await;
}

#[tokio::test]
async fn the_component_reads_the_clock_of_the_host() {
    let world = World::with_rooms(Vec::new()).await;
    world.move_clock(400 * DAY);
    ran(&world, &["call", "create_room", "--force"], 0).await;
    let end = body(&world.requests()[0])["endDate"].as_str().expect("a date").to_owned();
    let day = whereby::Clock::system().now() + std::time::Duration::from_secs(401 * 86_400);
    let day = time::OffsetDateTime::from(day).date();
    let days = [day.previous_day(), Some(day), day.next_day()];
    assert!(days.iter().flatten().any(|day| end.starts_with(&day.to_string())), "{end} {day}");
}
