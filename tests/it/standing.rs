//! Standing approvals: a person's yes to the next calls that are alike, and to no others.

use crate::cli::ran;
use crate::hostile::HOSTILE;
use crate::wire::{body, daily, kind};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use whereby::simulator::{Reply, RoomSeed};
use whereby::{Call, Outcome};
use whereby_tests::{World, run_with};

const ASK: &str = "[permissions]\nwrite = \"ask\"\ndestination = \"ask\"\n[agents.a]\n";

const DAY: i64 = 24 * 60 * 60;

async fn world() -> World {
    let world = World::with_rooms(vec![daily(), RoomSeed::named("bot-old")]).await;
    world.configure(ASK);
    world
}

fn room(prefix: &str) -> Value {
    json!({"room_name_prefix": prefix, "end_date": "2999-01-01T00:00:00Z"})
}

fn recorded(prefix: &str) -> Value {
    let mut room = room(prefix);
    room["fields"] = json!([{"recording": {"type": "cloud", "destination": {
        "provider": "s3", "authenticationType": "access-key", "bucket": "b",
        "accessKeyId": "AKIA", "accessKeySecret": "key"}}}]);
    room
}

async fn call(world: &World, function: &str, arguments: Value) -> Outcome {
    world.call(function, arguments).await
}

/// Makes a call that is stored for approval; its id.
async fn stored(world: &World, function: &str, arguments: Value) -> String {
    id_of(&call(world, function, arguments).await)
}

fn id_of(outcome: &Outcome) -> String {
    assert_eq!(kind(outcome), "approval-required", "{outcome:?}");
    outcome.approval.clone().expect("an id")
}

async fn approve(world: &World, id: &str, more: &[&str]) {
    ran(world, &[&["approvals", "approve", id], more].concat(), 0).await;
}

async fn standing(world: &World) -> Vec<Value> {
    let list = ran(world, &["approvals", "list", "--json"], 0).await.json();
    list["standing"].as_array().expect("a list").clone()
}

async fn the_one(world: &World) -> String {
    let all = standing(world).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]["id"].as_str().expect("an id").to_owned()
}

fn writes(world: &World) -> usize {
    world.requests().iter().filter(|request| request.method != "GET").count()
}

fn assert_made(outcome: &Outcome) {
    assert!(outcome.result.is_ok(), "{outcome:?}");
}

#[tokio::test]
async fn without_conditions_it_is_for_the_very_same_call() {
    let world = world().await;
    let id = stored(&world, "create_room", room("a-")).await;
    approve(&world, &id, &["--uses", "3"]).await;
    // Another spelling is the same call.
    let spelled = json!({"room_name_prefix": "A-", "end_date": "2999-01-01T02:00:00+02:00"});
    for arguments in [room("a-"), spelled, room("a-")] {
        assert_made(&call(&world, "create_room", arguments).await);
    }
    for other in [room("b-"), room("a-b-"), json!({"room_name_prefix": "a-"}), recorded("a-")] {
        id_of(&call(&world, "create_room", other).await);
    }
    assert_ne!(stored(&world, "create_room", room("a-")).await, id);
    assert_eq!(writes(&world), 3);
    let rows = world.audit();
    let by: Vec<_> = rows.iter().filter_map(|row| row.approved_by.as_deref()).collect();
    assert_eq!(by, ["approval", "standing", "standing"]);
    assert_eq!(rows[1].approval.as_deref(), Some(id.as_str()));
    assert_eq!(rows[2].approval, rows[3].approval);
}

#[tokio::test]
async fn with_patterns_it_is_for_the_rooms_that_match() {
    let world = world().await;
    let id = stored(&world, "create_room", room("bot-a-")).await;
    approve(&world, &id, &["--uses", "8", "--for", "2h", "--rooms", "bot-*,test-*"]).await;
    let mut other = room("bot-b-");
    other["room_mode"] = "group".into();
    for arguments in [room("bot-a-"), other, room("Bot-"), room("test-")] {
        assert_made(&call(&world, "create_room", arguments).await);
    }
    for other in [room("bo-"), room("other-bot-"), room("bot"), json!({}), recorded("bot-")] {
        id_of(&call(&world, "create_room", other).await);
    }
    // It is for one function.
    id_of(&call(&world, "delete_room", json!({"room_name": "bot-old"})).await);
    assert_eq!(writes(&world), 4);
    assert_eq!(standing(&world).await[0]["used"], 4);
}

#[tokio::test]
async fn terms_have_limits() {
    let world = world().await;
    let id = stored(&world, "create_room", room("a-")).await;
    for more in [
        &["--uses", "0"][..],
        &["--uses", "1001"],
        &["--uses", "-1"],
        &["--uses", "many"],
        &["--uses", "2", "--for", "8d"],
        &["--uses", "2", "--for", "169h"],
        &["--uses", "2", "--for", "0s"],
        &["--uses", "2", "--for", "soon"],
        &["--uses", "2", "--for", "99999999999999999999d"],
        &["--uses", "2", "--rooms", ""],
        &["--rooms", "a-*"],
        &["--for", "1h"],
        &["--destructive"],
    ] {
        ran(&world, &[&["approvals", "approve", &id], more].concat(), 2).await;
    }
    let pending = world.store().approvals(false).expect("read");
    assert_eq!((pending.len(), pending[0].state.as_str()), (1, "pending"));
    // One use is this call's.
    approve(&world, &id, &["--uses", "1", "--for", "7d"]).await;
    assert_eq!(standing(&world).await, [] as [Value; 0]);
    let id = stored(&world, "create_room", room("b-")).await;
    approve(&world, &id, &["--uses", "1000", "--for", "7d"]).await;
    assert_eq!(standing(&world).await[0]["uses"], 1000);
    world.assert_untouched();
}

#[tokio::test]
async fn what_destroys_or_sends_something_away_has_to_be_said() {
    let world = world().await;
    let delete = |name: &str| json!({"room_name": name});
    let deletion = stored(&world, "delete_room", delete("bot-old")).await;
    let sending = stored(&world, "create_room", recorded("bot-")).await;
    for id in [&deletion, &sending] {
        for more in [&["--uses", "2"][..], &["--uses", "2", "--rooms", "bot-*"]] {
            let refused = ran(&world, &[&["approvals", "approve", id], more].concat(), 2).await;
            assert!(refused.stderr.contains("--destructive"), "{refused:?}");
        }
    }
    assert_eq!(standing(&world).await, [] as [Value; 0]);
    world.assert_untouched();
    for id in [&deletion, &sending] {
        approve(&world, id, &["--uses", "3", "--rooms", "bot-*", "--destructive"]).await;
    }
    assert_made(&call(&world, "create_room", recorded("bot-")).await);
    assert_made(&call(&world, "create_room", recorded("bot-b-")).await);
    assert_made(&call(&world, "delete_room", delete("bot-old")).await);
    id_of(&call(&world, "delete_room", delete("daily")).await);
    assert_eq!(writes(&world), 3);
}

#[tokio::test]
async fn it_is_for_one_account_agent_token_key_address_and_component() {
    let world = world().await;
    let id = stored(&world, "create_room", room("bot-")).await;
    approve(&world, &id, &["--uses", "9", "--rooms", "bot-*"]).await;
    let session = world.session();
    let create = || Call::new("create_room", room("bot-x-"));
    id_of(&session.run(create().account(Some("other"))).await);
    id_of(&session.run(create().agent(Some("a"))).await);
    id_of(&world.session_with(None, Some(HOSTILE.to_vec())).run(create()).await);
    let token = ran(&world, &["token", "create"], 0).await.stdout.trim().to_owned();
    let mut environment = world.environment();
    environment.variables.insert("WHEREBY_TOKEN".into(), token);
    let arguments = room("bot-x-").to_string();
    let with_token = ["call", "create_room", &arguments, "--json"];
    let asked = run_with(&with_token, environment, "", |_| {}).await;
    assert_eq!(asked.code, 5, "{asked:?}");
    let file = world.path("config/whereby/config.toml");
    let text = std::fs::read_to_string(&file).expect("read");
    let [work, other] = [0, 1].map(|at| world.simulator.tokens()[at].clone());
    for changed in [text.replace(&work, &other), text.replace("/v1", "/v2")] {
        world.write("config/whereby/config.toml", &changed);
        id_of(&world.session().run(create()).await);
    }
    world.write("config/whereby/config.toml", &text);
    world.assert_untouched();
    assert_made(&world.session().run(create()).await);
}

#[tokio::test]
async fn its_uses_are_counted_across_programs_that_race() {
    let world = world().await;
    let id = stored(&world, "create_room", room("bot-")).await;
    approve(&world, &id, &["--uses", "6", "--rooms", "bot-*"]).await;
    let mut calls = JoinSet::new();
    for number in 0..16 {
        let session = world.session();
        let arguments = room(&format!("bot-{number}-"));
        calls.spawn(async move { session.call(None, "create_room", arguments).await });
    }
    let outcomes = calls.join_all().await;
    let (made, asked): (Vec<_>, Vec<_>) =
        outcomes.into_iter().partition(|outcome| outcome.result.is_ok());
    assert_eq!((made.len(), writes(&world)), (5, 5));
    for outcome in &asked {
        // The others are stored, so that a person can approve them.
        id_of(outcome);
    }
    assert_eq!(standing(&world).await, [] as [Value; 0]);
}

#[tokio::test]
async fn it_is_revoked_at_once_and_stays_revoked() {
    let world = world().await;
    let id = stored(&world, "create_room", room("bot-")).await;
    approve(&world, &id, &["--uses", "3", "--rooms", "bot-*"]).await;
    let own = the_one(&world).await;
    let shown = ran(&world, &["approvals", "show", &own], 0).await.stdout;
    assert!(shown.contains("2 of 3 left") && shown.contains("bot-*"), "{shown}");
    assert_made(&call(&world, "create_room", room("bot-x-")).await);
    ran(&world, &["approvals", "deny", &own], 0).await;
    id_of(&call(&world, "create_room", room("bot-y-")).await);
    let again = ran(&world, &["approvals", "deny", &own], 2).await;
    assert!(again.stderr.contains("was revoked before"), "{again:?}");
    ran(&world, &["approvals", "approve", &own], 2).await;
    // One that is used up, and one that has expired.
    let id = stored(&world, "create_room", room("test-")).await;
    approve(&world, &id, &["--uses", "2"]).await;
    let own = the_one(&world).await;
    for _ in 0..2 {
        assert_made(&call(&world, "create_room", room("test-")).await);
    }
    let used = ran(&world, &["approvals", "deny", &own], 2).await;
    assert!(used.stderr.contains("is used up"), "{used:?}");
    let id = stored(&world, "create_room", room("last-")).await;
    approve(&world, &id, &["--uses", "2", "--for", "1h"]).await;
    let own = the_one(&world).await;
    world.move_clock(3601);
    let expired = ran(&world, &["approvals", "deny", &own], 2).await;
    assert!(expired.stderr.contains("has expired"), "{expired:?}");
    assert_eq!(writes(&world), 3);
}

#[tokio::test]
async fn denying_all_revokes_it_too() {
    let world = world().await;
    let id = stored(&world, "create_room", room("bot-")).await;
    approve(&world, &id, &["--uses", "3", "--rooms", "bot-*"]).await;
    stored(&world, "create_room", room("b-")).await;
    ran(&world, &["approvals", "deny", "--all"], 2).await;
    assert_eq!(standing(&world).await.len(), 1);
    // A client has no standing approvals.
    ran(&world, &["approvals", "deny", "--all", "--client", "x", "--yes"], 0).await;
    assert_eq!(standing(&world).await.len(), 1);
    let denied = ran(&world, &["approvals", "deny", "--all", "--yes"], 0).await;
    assert!(denied.stdout.contains("denied 2 calls"), "{denied:?}");
    assert!(denied.stdout.contains("revoked 1 standing approval"), "{denied:?}");
    assert_eq!(standing(&world).await, [] as [Value; 0]);
    id_of(&call(&world, "create_room", room("bot-x-")).await);
    world.assert_untouched();
}

#[tokio::test]
async fn a_no_to_the_very_call_and_every_rule_count_more() {
    let world = world().await;
    let no = stored(&world, "create_room", room("bot-x-")).await;
    ran(&world, &["approvals", "deny", &no], 0).await;
    let id = stored(&world, "create_room", room("bot-")).await;
    approve(&world, &id, &["--uses", "9", "--rooms", "bot-*"]).await;
    assert_eq!(kind(&call(&world, "create_room", room("bot-x-")).await), "denied");
    world.configure("[permissions]\nwrite = \"deny\"\n");
    assert_eq!(kind(&call(&world, "create_room", room("bot-y-")).await), "denied");
    world.configure(ASK);
    ran(&world, &["freeze"], 0).await;
    assert_eq!(kind(&call(&world, "create_room", room("bot-y-")).await), "denied");
    world.assert_untouched();
    ran(&world, &["unfreeze"], 0).await;
    assert_made(&call(&world, "create_room", room("bot-y-")).await);
}

#[tokio::test]
async fn it_ends_whatever_the_clock_does() {
    for seconds in [2 * 3600 + 1, 31 * DAY, 400 * DAY, -DAY, -400 * DAY] {
        let world = world().await;
        let id = stored(&world, "create_room", room("bot-")).await;
        approve(&world, &id, &["--uses", "9", "--for", "2h", "--rooms", "bot-*"]).await;
        world.move_clock(seconds);
        id_of(&call(&world, "create_room", room("bot-x-")).await);
        assert_eq!(standing(&world).await, [] as [Value; 0], "{seconds}");
        world.move_clock(-seconds);
        // What ended by the clock does not begin again.
        if seconds < 0 {
            id_of(&call(&world, "create_room", room("bot-y-")).await);
            world.assert_untouched();
        }
    }
}

#[tokio::test]
async fn people_see_what_it_covers_and_how_many_are_left() {
    let world = world().await;
    let id = stored(&world, "create_room", room("bot-")).await;
    approve(&world, &id, &["--uses", "8", "--for", "2h", "--rooms", "bot-*"]).await;
    assert_made(&call(&world, "create_room", room("bot-x-")).await);
    let own = standing(&world).await.remove(0);
    assert_eq!(own["conditions"], json!({"rooms": ["bot-*"]}));
    assert_eq!(
        (&own["uses"], &own["used"], &own["arguments"]),
        (&json!(8), &json!(2), &Value::Null)
    );
    assert_eq!((&own["approval_id"], &own["destructive"]), (&json!(id), &json!(false)));
    let own_id = own["id"].as_str().expect("an id");
    for command in [
        &["approvals", "list"][..],
        &["permissions"],
        &["permissions", "create_room"],
        &["permissions", "create-room", "{}"],
    ] {
        let shown = run_with(command, world.environment(), "", |streams| {
            streams.stdout_is_terminal = true;
            streams.width = Some(80);
        })
        .await;
        assert_eq!(shown.code, 0, "{shown:?}");
        let text = &shown.stdout;
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let left = if command[0] == "approvals" { "6 of 8 left" } else { "6 more calls" };
        assert!(words.contains(left) && words.contains("bot-*"), "{text}");
        assert!(words.contains(own_id), "{text}");
        if command[0] == "permissions" {
            let document = ran(&world, &[command, &["--json"]].concat(), 0).await.json();
            assert_eq!(document["permissions"]["standing"], json!([own]), "{document}");
        }
    }
    // It is nothing of another agent, account or function.
    for command in [
        &["permissions", "--agent", "a", "--json"][..],
        &["permissions", "delete_room", "--json"],
        &["permissions", "--account", "other", "--json"],
    ] {
        let document = ran(&world, command, 0).await.json();
        assert_eq!(document["permissions"]["standing"], json!([]), "{command:?}");
    }
}

#[tokio::test]
async fn whatever_is_called_goes_ahead_only_within_its_conditions() {
    let world = world().await;
    let id = stored(&world, "create_room", room("bot-")).await;
    approve(&world, &id, &["--uses", "1000", "--rooms", "bot-*"]).await;
    let mut made = 0;
    for (number, prefix) in
        ["bot-", "BOT-", "bot-a-", " bot-", "bo-", "bot", "ibot-", "other-", "", "bot-\u{1}", "b*-"]
            .into_iter()
            .enumerate()
    {
        for function in ["create_room", "delete_room"] {
            for has_destination in [false, true] {
                for rules in [ASK, "[permissions]\nwrite = \"deny\"\n"] {
                    world.configure(rules);
                    let arguments = match (function, has_destination) {
                        ("delete_room", _) => json!({"room_name": format!("{prefix}x{number}")}),
                        (_, true) => recorded(prefix),
                        (_, false) => room(prefix),
                    };
                    world.simulator.clear_requests();
                    let outcome = world.call(function, arguments).await;
                    let normal = prefix.trim().to_lowercase();
                    let may = function == "create_room"
                        && !has_destination
                        && rules == ASK
                        && normal.starts_with("bot-");
                    assert!(may || outcome.result.is_err(), "{prefix:?} {function} {outcome:?}");
                    if outcome.result.is_ok() {
                        made += 1;
                        let sent = body(&world.requests()[0]);
                        let prefix = sent["roomNamePrefix"].as_str().expect("a prefix");
                        assert!(prefix.starts_with("bot-"), "{sent}");
                    } else {
                        world.assert_untouched();
                    }
                }
            }
        }
    }
    assert!(made >= 3, "{made}");
}

#[tokio::test]
async fn a_hostile_component_sends_nothing_but_what_it_covers() {
    let world = world().await;
    let session = world.session_with(None, Some(HOSTILE.to_vec()));
    let until = "2099-01-01T00:00:00Z";
    let attempt = async |name: &str| {
        let arguments = json!({"room_name_prefix": name, "end_date": until});
        session.call(None, "create_room", arguments).await
    };
    let id = id_of(&attempt("create-as-asked").await);
    approve(&world, &id, &["--uses", "50", "--rooms", "create-*"]).await;
    let attempts = [
        "create-as-asked",
        "create-under-another-name",
        "create-with-recording",
        "create-with-host-key",
        "create-without-name",
        "create-until-another-end",
        "create-twice",
        "create-side-by-side",
        "create-at-another-path",
        "create-without-end",
    ];
    for name in attempts {
        world.simulator.clear_requests();
        let outcome = attempt(name).await;
        let requests = world.requests();
        assert!(requests.len() <= 1, "{name}: {requests:?}");
        for request in &requests {
            let body = body(request);
            assert_eq!(body["roomNamePrefix"], name, "{body}");
            assert_eq!(body.get("recording"), None, "{body}");
        }
        assert_eq!(outcome.result.is_ok(), name == "create-as-asked", "{name}: {outcome:?}");
    }
    let outcome = session.call(None, "create_room", room("other-")).await;
    id_of(&outcome);
    assert_eq!(standing(&world).await[0]["used"], attempts.len());
}

#[tokio::test]
async fn denying_the_approval_that_it_was_given_with_revokes_it() {
    let world = world().await;
    let id = stored(&world, "create_room", room("bot-")).await;
    approve(&world, &id, &["--uses", "4", "--for", "3h", "--rooms", "bot-*"]).await;
    let denied = ran(&world, &["approvals", "deny", &id], 0).await;
    let told = "the standing approval that was given with it is revoked";
    assert!(denied.stdout.contains(told), "{denied:?}");
    let page = crate::inbox::Browser::of(&world).await.page(&format!("/?decided={id}")).await;
    assert!(page.contains("which you had allowed with it"), "{page}");
    assert_eq!(standing(&world).await, [] as [Value; 0]);
    id_of(&call(&world, "create_room", room("bot-x-")).await);
    assert_eq!(kind(&call(&world, "create_room", room("bot-")).await), "denied");
    world.move_clock(61 * 60);
    id_of(&call(&world, "create_room", room("bot-")).await);
    let rows = world.decisions();
    let what: Vec<_> = rows.iter().filter_map(|row| row.decision.clone()).collect();
    let revoked: Vec<_> = what.iter().filter(|row| row.what == "revoke").collect();
    assert_eq!(revoked.len(), 2, "{what:?}");
    assert_eq!(revoked[1].details["standing approvals revoked"], 1, "{what:?}");
    // Denying what one client asked for says so, too.
    let id = stored(&world, "create_room", room("test-")).await;
    approve(&world, &id, &["--uses", "4", "--rooms", "test-*"]).await;
    let denied = ran(&world, &["approvals", "deny", "--all", "--yes", "--json"], 0).await.json();
    assert_eq!(denied["standing"].as_array().map(Vec::len), Some(1), "{denied}");
    assert!(denied["standing"][0]["revoked_at"].is_string(), "{denied}");
    id_of(&call(&world, "create_room", room("test-x-")).await);
    world.assert_untouched();
}

#[tokio::test]
async fn it_is_for_the_token_that_asked_and_those_narrowed_from_it() {
    let world = world().await;
    let created = ran(&world, &["token", "create"], 0).await.stdout.trim().to_owned();
    let narrow = async |token: &str| {
        let empty = whereby::Environment::empty();
        let ran = whereby_tests::run(&["token", "narrow", "--for", "1h"], empty, token, false);
        ran.await.stdout.trim().to_owned()
    };
    let (one, other) = (narrow(&created).await, narrow(&created).await);
    let within = narrow(&one).await;
    let create = async |token: &str, prefix: &str| {
        let mut environment = world.environment();
        environment.variables.insert("WHEREBY_TOKEN".into(), token.to_owned());
        let arguments = room(prefix).to_string();
        run_with(&["call", "create_room", &arguments, "--json"], environment, "", |_| {}).await
    };
    let asked = create(&one, "bot-").await.json();
    let id = asked["meta"]["approval_id"].as_str().expect("an id").to_owned();
    approve(&world, &id, &["--uses", "9", "--rooms", "bot-*"]).await;
    for token in [&created, &other] {
        let refused = create(token, "bot-x-").await;
        assert_eq!(refused.code, 5, "{refused:?}");
    }
    world.assert_untouched();
    for token in [&one, &within] {
        let made = create(token, "bot-y-").await;
        assert_eq!(made.code, 0, "{made:?}");
    }
    assert_eq!(writes(&world), 2);
}

#[tokio::test]
async fn a_call_that_sent_nothing_gives_its_use_back() {
    let world = world().await;
    let id = stored(&world, "create_room", room("bot-")).await;
    approve(&world, &id, &["--uses", "3", "--rooms", "bot-*"]).await;
    let wait = Reply::status(429).header("retry-after", "900");
    world.simulator.script("POST", "/v1/meetings", 3, wait);
    for _ in 0..3 {
        assert_eq!(kind(&call(&world, "create_room", room("bot-x-")).await), "rate-limited");
        assert_eq!(standing(&world).await[0]["used"], 1);
    }
    world.simulator.clear_requests();
    for _ in 0..2 {
        assert_made(&call(&world, "create_room", room("bot-x-")).await);
    }
    id_of(&call(&world, "create_room", room("bot-x-")).await);
    assert_eq!(writes(&world), 2);
}

#[tokio::test]
async fn it_ends_with_its_agent() {
    for by_hand in [false, true] {
        let world = world().await;
        let create = async |prefix: &str| {
            world.session().run(Call::new("create_room", room(prefix)).agent(Some("a"))).await
        };
        let id = id_of(&create("bot-").await);
        approve(&world, &id, &["--uses", "9", "--for", "2h", "--rooms", "bot-*"]).await;
        let told = "1 approval and 1 standing approval";
        if by_hand {
            world.configure(&ASK.replace("[agents.a]", "[agents.b]"));
        } else {
            let removed = ran(&world, &["agents", "remove", "a"], 0).await;
            assert!(removed.stdout.contains(&format!("{told} of it ended")), "{removed:?}");
        }
        let added = ran(&world, &["agents", "add", "a"], 0).await;
        let words = added.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words.contains(told), by_hand, "{added:?}");
        for prefix in ["bot-", "bot-x-"] {
            id_of(&create(prefix).await);
        }
        world.assert_untouched();
    }
}

#[tokio::test]
async fn terms_that_the_call_itself_does_not_fit_are_refused() {
    let world = world().await;
    let id = stored(&world, "create_room", room("ux-")).await;
    let more = ["approvals", "approve", &id, "--uses", "3", "--rooms", "zz-*"];
    let refused = ran(&world, &more, 2).await.stderr;
    assert!(refused.contains("does not fit rooms: zz-*"), "{refused}");
    assert!(refused.contains("would begin with `ux-`"), "{refused}");
    let browser = crate::inbox::Browser::of(&world).await;
    let path = format!("/approvals/{id}/decision");
    let form = [("decision", "approve"), ("seen", "pending"), ("uses", "3"), ("which", "rooms")];
    let refused = browser.send(&path, &[&form[..], &[("rooms", "zz-*")]].concat()).await;
    assert_eq!(refused.status(), reqwest::StatusCode::BAD_REQUEST);
    let page = refused.text().await.expect("a page");
    assert!(page.contains("does not fit rooms: zz-*"), "{page}");
    assert!(standing(&world).await.is_empty());
    // Nothing was decided.
    approve(&world, &id, &["--uses", "3", "--rooms", "zz-*,ux-*"]).await;
    assert_made(&call(&world, "create_room", room("ux-")).await);
}
