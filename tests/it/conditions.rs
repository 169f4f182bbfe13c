//! Conditions on permissions, end to end: what fits goes through, and nothing of what does not fit is
//! sent, by whichever front end and with whichever component.

use crate::hostile::HOSTILE;
use crate::wire::{daily, kind};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;
use whereby::simulator::{ParticipantSeed, RoomSeed, SessionSeed};
use whereby::{Call, Error, Outcome, Session, WriteOutcome};
use whereby_tests::World;

const DAY: i64 = 24 * 3600;

/// "The agent may create rooms only with the prefix bot-, at most 10 a day, delete only rooms that it
/// created itself, and only until Friday."
fn operators_sentence(world: &World) -> String {
    let friday = in_seconds(world, 4 * DAY);
    format!(
        "[permissions.functions.create_room]\n\
         permission = \"allow\"\n\
         rooms = [\"bot-*\"]\n\
         max_per_day = 10\n\
         valid_until = {friday}\n\
         [permissions.functions.delete_room]\n\
         permission = \"allow\"\n\
         created_by = \"agent\"\n\
         valid_until = {friday}\n"
    )
}

/// So many seconds from now, in RFC 3339.
fn in_seconds(world: &World, seconds: i64) -> String {
    let now = world.clock().now();
    let then = time::OffsetDateTime::from(now) + time::Duration::seconds(seconds);
    then.replace_nanosecond(0).expect("a time").format(&Rfc3339).expect("a date")
}

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Front {
    Program,
    Cli,
    Mcp,
    Lua,
    Hostile,
}

const FRONTS: [Front; 5] = [Front::Program, Front::Cli, Front::Mcp, Front::Lua, Front::Hostile];

/// Makes a call: its result, or the kind and the words of its error.
async fn attempt(
    world: &World,
    front: Front,
    function: &str,
    arguments: &Value,
) -> Result<Value, (String, String)> {
    let of = |error: Error| (error.kind().to_owned(), error.to_string());
    match front {
        Front::Program => world.call(function, arguments.clone()).await.result.map_err(of),
        Front::Hostile => {
            let session = world.session_with(None, Some(HOSTILE.to_vec()));
            session.call(None, function, arguments.clone()).await.result.map_err(of)
        }
        Front::Cli => {
            let ran = world.run(&["call", "--json", function, &arguments.to_string()]).await;
            let document = ran.json();
            if document["success"] == true {
                return Ok(document["data"].clone());
            }
            let text = |name: &str| document["error"][name].as_str().unwrap_or_default().to_owned();
            Err((text("kind"), text("message")))
        }
        Front::Mcp => crate::mcp::attempt(world, function, arguments.clone()).await,
        Front::Lua => {
            let json = serde_json::to_string(&arguments.to_string()).expect("JSON");
            let script =
                format!("return app.integrations.whereby.work.{function}(json.decode({json}))");
            let report = crate::lua::run(world, &script).await;
            match report.error {
                None => Ok(report.result),
                Some(error) => {
                    let hint = error.hint.unwrap_or_default();
                    Err((error.kind, format!("{} {hint}", error.message)))
                }
            }
        }
    }
}

/// Checks that a call is refused, what is said of it, and that nothing was sent.
async fn assert_refused(
    world: &World,
    front: Front,
    function: &str,
    arguments: &Value,
    words: &str,
) {
    world.simulator.clear_requests();
    let refused = attempt(world, front, function, arguments).await;
    let (kind, message) = refused.expect_err(words);
    assert_eq!(kind, "denied", "{front:?} {function} {arguments}: {message}");
    assert!(message.contains(words), "{front:?} {function}: {message}");
    world.assert_untouched();
}

async fn world_with(rules: impl Fn(&World) -> String) -> World {
    let world =
        World::with_rooms(vec![RoomSeed::named("team-daily"), RoomSeed::named("bot-old")]).await;
    world.configure(&rules(&world));
    world
}

#[tokio::test]
async fn the_operators_sentence_holds_by_every_front_end() {
    for front in FRONTS {
        let world = world_with(operators_sentence).await;
        if front != Front::Hostile {
            let created =
                attempt(&world, front, "create_room", &json!({"room_name_prefix": "bot-a-"})).await;
            let created = created.unwrap_or_else(|error| panic!("{front:?}: {error:?}"));
            let name = created["roomName"].as_str().expect("a name").to_owned();
            assert!(name.contains("bot-a-"), "{name}");
            let own = json!({"room_name": name});
            let deleted = attempt(&world, front, "delete_room", &own).await;
            assert!(deleted.is_ok(), "{front:?}: {deleted:?}");
        }
        for (function, arguments, words) in [
            (
                "create_room",
                json!({"room_name_prefix": "team-"}),
                "the room's name would begin with `team-`",
            ),
            ("create_room", json!({}), "the call gives no room_name_prefix"),
            ("create_room", json!({"room_name_prefix": "bot"}), "would begin with `bot`"),
            (
                "delete_room",
                json!({"room_name": "team-daily"}),
                "this agent did not create the room",
            ),
            ("delete_room", json!({"room_name": "bot-old"}), "this agent did not create the room"),
            ("delete_room", json!({"room_name": "no-such-room"}), "this agent did not create"),
        ] {
            assert_refused(&world, front, function, &arguments, words).await;
        }
        for later in [4 * DAY, 31 * DAY, 365 * DAY] {
            world.move_clock(later);
            let arguments = json!({"room_name_prefix": "bot-"});
            assert_refused(&world, front, "create_room", &arguments, "it is 20").await;
            world.move_clock(-later);
        }
    }
}

#[tokio::test]
async fn a_refusal_names_the_condition_to_people_and_what_is_allowed_to_agents() {
    let world = world_with(operators_sentence).await;
    let file = world.path("config/whereby/config.toml");
    let arguments = json!({"room_name_prefix": "team-"});
    let (_, message) =
        attempt(&world, Front::Program, "create_room", &arguments).await.expect_err("refused");
    let expected = format!(
        "create_room by the account `work` is denied: the room's name would begin with `team-`; \
         permissions.functions.create_room.rooms = [\"bot-*\"] ({}, line ",
        file.display()
    );
    assert!(message.starts_with(&expected), "{message}");
    for front in [Front::Mcp, Front::Lua] {
        let (_, message) =
            attempt(&world, front, "create_room", &arguments).await.expect_err("refused");
        assert!(message.contains("do not try another way"), "{front:?}: {message}");
        assert!(message.contains("create_room (rooms: bot-*; max_per_day: 10;"), "{message}");
        assert!(!message.contains("config.toml"), "{message}");
    }
}

#[tokio::test]
async fn a_quota_counts_what_went_ahead_and_nothing_else() {
    let world = world_with(|_| {
        "[permissions.functions.create_room]\npermission = \"allow\"\nmax_per_day = 3\n\
         max_per_hour = 2\n[permissions.functions.delete_room]\npermission = \"deny\"\n"
            .into()
    })
    .await;
    let create = || world.call("create_room", json!({}));
    // Calls that were refused, that did not happen, or that are of another function.
    for (function, arguments) in [
        ("create_room", json!({"end_date": "2020-01-01T00:00:00Z"})),
        ("delete_room", json!({"room_name": "bot-old"})),
        ("list_rooms", json!({})),
    ] {
        let _ = world.call(function, arguments).await;
    }
    world.simulator.fail_next(1, 400);
    assert_eq!(kind(&create().await), "rejected");
    for _ in 0..2 {
        assert!(create().await.result.is_ok());
    }
    assert_refused(
        &world,
        Front::Program,
        "create_room",
        &json!({}),
        "2 calls went ahead in the last 60 minutes",
    )
    .await;
    // A clock that is set back makes nothing free.
    world.move_clock(-3 * DAY);
    assert_refused(&world, Front::Program, "create_room", &json!({}), "2 calls went ahead").await;
    world.move_clock(3 * DAY + 3601);
    assert!(create().await.result.is_ok());
    assert_refused(
        &world,
        Front::Program,
        "create_room",
        &json!({}),
        "3 calls went ahead in the last 24 hours",
    )
    .await;
    // An archive of the log changes nothing.
    let archived = world.run(&["audit", "archive", "old.db"]).await;
    assert_eq!(archived.code, 0, "{}", archived.stderr);
    assert_refused(&world, Front::Program, "create_room", &json!({}), "3 calls went ahead").await;
    for later in [DAY, 31 * DAY, 365 * DAY] {
        world.move_clock(later);
        assert!(create().await.result.is_ok(), "{later}");
    }
}

#[tokio::test]
async fn a_write_whose_outcome_is_unknown_counts() {
    let world = world_with(|_| {
        "[permissions.functions.create_room]\npermission = \"allow\"\nmax_per_day = 1\n".into()
    })
    .await;
    world.simulator.fail_next(1, 500);
    let outcome = world.call("create_room", json!({})).await;
    assert_eq!(outcome.write, WriteOutcome::Unknown);
    assert_refused(&world, Front::Program, "create_room", &json!({}), "1 call went ahead").await;
}

#[tokio::test]
async fn many_calls_at_once_do_not_exceed_a_quota() {
    let world = world_with(|_| {
        "[permissions.functions.create_room]\npermission = \"allow\"\nmax_per_day = 5\n".into()
    })
    .await;
    let sessions: Vec<Session> = (0..3).map(|_| world.session()).collect();
    let mut calls = JoinSet::new();
    for index in 0..24 {
        let session = sessions[index % 3].clone();
        calls.spawn(async move { session.call(None, "create_room", json!({})).await });
    }
    let outcomes: Vec<Outcome> = calls.join_all().await;
    let made = outcomes.iter().filter(|outcome| outcome.result.is_ok()).count();
    assert_eq!(made, 5);
    for outcome in outcomes.iter().filter(|outcome| outcome.result.is_err()) {
        assert_eq!(kind(outcome), "denied");
    }
    let posts = world.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(posts, 5);
}

#[tokio::test]
async fn without_a_database_a_rule_that_needs_it_refuses() {
    let rules = "[permissions.functions.create_room]\npermission = \"allow\"\nmax_per_day = 5\n\
                 [permissions.functions.get_room]\npermission = \"allow\"\ncreated_by = \"host\"\n";
    let world = world_with(|_| rules.into()).await;
    std::fs::create_dir_all(world.path("state/whereby")).expect("a folder");
    whereby_tests::set_mode(&world.path("state/whereby"), 0o700);
    std::fs::write(world.path("state/whereby/state.db"), "no database").expect("written");
    whereby_tests::set_mode(&world.path("state/whereby/state.db"), 0o600);
    for (function, arguments) in
        [("create_room", json!({})), ("get_room", json!({"room_name": "bot-old"}))]
    {
        let words = "it cannot be checked: the state database";
        assert_refused(&world, Front::Program, function, &arguments, words).await;
    }
    // Nor does a program that keeps no state make them.
    let environment = world.environment();
    let settings = whereby::Settings::load(None, &environment).expect("good");
    let session =
        Session::builder().settings(settings).environment(environment).build().expect("a session");
    let outcome = session.call(None, "create_room", json!({})).await;
    let message = outcome.result.expect_err("refused").to_string();
    assert!(message.contains("there is no state directory"), "{message}");
    world.assert_untouched();
}

#[tokio::test]
async fn a_call_that_does_not_fit_is_asked_for_where_the_rules_say_so() {
    let world = world_with(|_| {
        "[permissions.functions.create_room]\npermission = \"allow\"\notherwise = \"ask\"\n\
         rooms = [\"bot-*\"]\nmax_duration = \"2h\"\nfields = [\"hostRoomUrl\"]\n\
         room_modes = [\"normal\"]\n"
            .into()
    })
    .await;
    let end = |hours: i64| in_seconds(&world, hours * 3600);
    let fits = json!({"room_name_prefix": "bot-", "end_date": end(1), "fields": ["hostRoomUrl"]});
    assert!(world.call("create_room", fits.clone()).await.result.is_ok());
    world.simulator.clear_requests();
    for (name, value, words) in [
        ("room_name_prefix", json!("x-"), "would begin with `x-`"),
        ("end_date", json!(end(3)), "the room would end in 2h59m"),
        ("end_date", Value::Null, "the room would end by default in"),
        ("fields", json!(["viewerRoomUrl"]), "`viewerRoomUrl` is asked for"),
        ("room_mode", json!("group"), "the room's mode is group"),
    ] {
        let mut arguments = fits.clone();
        arguments[name] = value;
        let outcome = world.call("create_room", arguments.clone()).await;
        assert_eq!(kind(&outcome), "approval-required", "{name}");
        let message = outcome.result.expect_err("asked").to_string();
        assert!(message.contains(words), "{message}");
        world.assert_untouched();
        // A person may still allow it.
        let id = outcome.approval.expect("stored");
        world.store().approve(&id).expect("approved");
        let outcome = world.call("create_room", arguments).await;
        assert!(outcome.result.is_ok(), "{name}: {:?}", outcome.result);
        world.simulator.clear_requests();
    }
}

#[tokio::test]
async fn a_component_sees_only_rooms_that_the_conditions_name() {
    let rooms = ["bot-1", "bot-12", "bot-2"];
    let world = World::with_rooms(rooms.map(RoomSeed::named).into()).await;
    world.configure(
        "[permissions.functions.get_room]\npermission = \"allow\"\nrooms = [\"bot-1\"]\n",
    );
    let room = world.call("get_room", json!({"room_name": "bot-1"})).await.result.expect("a room");
    assert_eq!(room["roomName"], "bot-1");
    for name in ["bot-12", "bot-2", " bot-1 "] {
        let arguments = json!({"room_name": name});
        assert_refused(&world, Front::Hostile, "get_room", &arguments, "the room's name is").await;
    }
}

#[tokio::test]
async fn a_meeting_is_read_only_in_a_room_that_the_conditions_name() {
    let world = World::with_rooms(vec![daily(), RoomSeed::named("bot-1")]).await;
    world.configure(
        "[permissions.functions.get_meeting]\npermission = \"allow\"\nrooms = [\"bot-*\"]\n\
         [permissions.functions.list_meetings]\npermission = \"allow\"\nrooms = [\"bot-*\"]\n",
    );
    let seed = |hours| SessionSeed::began(crate::wire::hours(hours));
    let two = |hours| {
        seed(hours).participant(ParticipantSeed::named("Ana")).participant(
            ParticipantSeed::named("Ben").joined_after(std::time::Duration::from_mins(1)),
        )
    };
    let own = world.simulator.add_session(0, "bot-1", &two(20)).expect("a session");
    let other = world.simulator.add_session(0, "daily", &two(21)).expect("a session");
    let read = |id: String| world.call("get_meeting", json!({"meeting_id": id}));
    let meeting = read(format!("bot-1:{own}")).await;
    assert!(meeting.result.is_ok(), "{:?}", meeting.result);
    for (arguments, words) in [
        (json!({"meeting_id": format!("daily:{other}")}), "the room's name is `daily`"),
        (json!({"meeting_id": other}), "the call names no room"),
    ] {
        assert_refused(&world, Front::Hostile, "get_meeting", &arguments, words).await;
    }
    // Under a room that is allowed, a meeting of another room is none.
    let elsewhere = read(format!("bot-1:{other}")).await;
    let error = elsewhere.result.expect_err("elsewhere");
    assert_eq!(error.kind(), "not-found", "{error}");
    for (arguments, words) in [
        (json!({"room_name": "daily"}), "the room's name is `daily`"),
        (json!({}), "the call names no room"),
    ] {
        assert_refused(&world, Front::Program, "list_meetings", &arguments, words).await;
    }
    let listed = world.call("list_meetings", json!({"room_name": "bot-1"})).await;
    assert_eq!(listed.result.expect("a page")["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn whose_room_it_is_depends_on_the_account_and_its_key() {
    let world = world_with(|_| {
        "[permissions]\nwrite = \"allow\"\n[permissions.functions.delete_room]\n\
         permission = \"allow\"\ncreated_by = \"host\"\n"
            .into()
    })
    .await;
    let created = world.call("create_room", json!({})).await.result.expect("a room");
    let room = json!({"room_name": created["roomName"]});
    let session = world.session();
    let plan = |account: &str| {
        let call = Call::new("delete_room", room.clone()).account(Some(account));
        session.plan(call).expect("a plan").verdict.permission.as_str()
    };
    assert_eq!((plan("work"), plan("other")), ("allow", "deny"));
    for later in [31 * DAY, 365 * DAY] {
        world.move_clock(later);
        assert_eq!(plan("work"), "allow");
    }
    // Another key of the account may be one of another organization.
    let file = world.path("config/whereby/config.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    let [own, other] = world.simulator.tokens() else { panic!("two tokens") };
    let swapped =
        text.replace(own.as_str(), "SWAP").replace(other.as_str(), own).replace("SWAP", other);
    std::fs::write(&file, swapped).expect("written");
    let session = world.session();
    let call = Call::new("delete_room", room.clone()).account(Some("work"));
    assert_eq!(session.plan(call).expect("a plan").verdict.permission.as_str(), "deny");
}

#[tokio::test]
async fn what_is_allowed_here_is_said_wherever_functions_are_described() {
    let world = world_with(|_| {
        "[permissions.functions.create_room]\npermission = \"allow\"\nrooms = [\"bot-*\"]\n\
         max_per_day = 10\n"
            .into()
    })
    .await;
    let accounts = world.run(&["accounts"]).await.stdout;
    assert!(accounts.contains("with conditions: create_room"), "{accounts}");
    let allowed = "Allowed here: rooms: bot-*; max_per_day: 10. Anything else is denied.";
    let list = world.run(&["list"]).await;
    assert!(list.stdout.contains("allow (rooms: bot-*; max_per_day: 10)"), "{}", list.stdout);
    let docs = world.run(&["docs", "create_room"]).await;
    assert!(docs.stdout.contains(allowed), "{}", docs.stdout);
    let docs = world.run(&["docs", "create_room", "--json"]).await.json();
    assert_eq!(docs["functions"][0]["allowed"], allowed);
    let tool = crate::mcp::description(&world, "whereby_create_room").await;
    assert!(tool.ends_with(&format!("\n\n{allowed}")), "{tool}");
    let page =
        crate::lua::run(&world, "return lua_read_doc('integrations.whereby.create_room')").await;
    let page = page.result.as_str().expect("a page").to_owned();
    assert!(page.contains(allowed), "{page}");
    // A function without conditions is described as ever.
    let docs = world.run(&["docs", "delete_room"]).await;
    assert!(!docs.stdout.contains("Allowed here"), "{}", docs.stdout);
}

#[tokio::test]
async fn configure_writes_conditions_and_keeps_the_rest() {
    let world = world_with(|_| {
        "[permissions]\nwrite = \"ask\" # people decide\n[permissions.functions]\n\
         create_room = \"allow\" # for the bots\n"
            .into()
    })
    .await;
    let configure = async |parts: &[&str]| {
        let mut arguments = vec!["configure"];
        arguments.extend(parts.iter().flat_map(|part| ["--function", part]));
        world.run(&arguments).await
    };
    let file = world.path("config/whereby/config.toml");
    let read = || std::fs::read_to_string(&file).expect("a file");
    let ran = configure(&[
        "create_room.rooms=bot-*,demo-*",
        "create-room.max_per_day=10",
        "create_room.valid_until=2999-12-04T18:00:00Z",
        "create_room.otherwise=ask",
        "delete_room.created_by=agent",
    ])
    .await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let text = read();
    for line in [
        "write = \"ask\" # people decide",
        "permission = \"allow\" # for the bots",
        "rooms = [\"bot-*\",\"demo-*\"]",
        "max_per_day = 10",
        "valid_until = 2999-12-04T18:00:00Z",
        "otherwise = \"ask\"",
        // The word that was in force stays in force.
        "permission = \"ask\"\ncreated_by = \"agent\"",
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    let refused = attempt(&world, Front::Program, "create_room", &json!({})).await;
    assert_eq!(refused.expect_err("asked").0, "approval-required");
    // Another word leaves the conditions alone.
    assert_eq!(configure(&["create_room=deny"]).await.code, 0);
    assert!(read().contains("rooms = [\"bot-*\",\"demo-*\"]"), "{}", read());
    assert!(read().contains("permission = \"deny\" # for the bots"), "{}", read());
    let before = read();
    for (part, words) in [
        ("create_room.rooms=bot", "`bot` matches no new room"),
        ("create_room.rooms=", "is empty, so it could never hold"),
        ("create_room.created_by=agent", "create_room has no condition `created_by`"),
        ("create_room.max_per_days=3", "did you mean `max_per_day`?"),
        ("delete_room.max_per_day=0", "must be an integer from 1"),
        ("delete_room.valid_until=2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z is in the past"),
        ("delete_room.valid_until=tomorrow", "must be a date with a time zone"),
        // The permission is deny.
        ("create_room.otherwise=allow", "must not be weaker than the permission"),
        ("list_rooms.otherwise=deny", "has no effect"),
    ] {
        let ran = configure(&[part]).await;
        assert_ne!(ran.code, 0, "{part}");
        assert!(ran.stderr.contains(words), "{part}: {}", ran.stderr);
        assert_eq!(read(), before, "{part}");
    }
    let unset =
        world.run(&["configure", "--unset", "permissions.functions.create_room.rooms"]).await;
    assert_eq!(unset.code, 0, "{}", unset.stderr);
    assert!(!read().contains("rooms ="), "{}", read());
}

#[tokio::test]
async fn a_table_that_makes_no_sense_is_refused_with_its_line() {
    let world = World::with_rooms(Vec::new()).await;
    for (table, line, words) in [
        ("rooms = [\"bot-*\"]", 1, "has no permission; write permission ="),
        ("permission = \"allow\"\notherwise = \"ask\"", 3, "has no effect, because"),
        (
            "permission = \"ask\"\nmax_per_day = 3\notherwise = \"allow\"",
            4,
            "must not be weaker than the permission, which is \"ask\"",
        ),
        ("permission = \"allow\"\nrooms = [\"bot\"]", 3, "write `bot*`"),
        ("permission = \"allow\"\ncreated_by = \"agent\"", 3, "unknown key"),
        ("permission = \"allow\"\nmax_per_day = 0", 3, "must be an integer from 1"),
        ("permission = \"allow\"\nvalid_until = 2026-12-04", 3, "must be a date with a time zone"),
        ("permission = \"allow\"\nvalid_until = 2026-12-04T18:00:00", 3, "with a time zone"),
        ("permission = \"yes\"", 2, "must be \"allow\", \"ask\" or \"deny\""),
    ] {
        for file in ["config/whereby/config.toml", "project/.whereby.toml", "policy.toml"] {
            world.configure("");
            let _ = std::fs::remove_file(world.path("project/.whereby.toml"));
            let _ = std::fs::remove_file(world.path("policy.toml"));
            world.write(file, &format!("[permissions.functions.create_room]\n{table}\n"));
            whereby_tests::set_mode(&world.path(file), 0o600);
            let loaded = whereby::Settings::load(None, &world.environment());
            let message = loaded.expect_err(table).to_string();
            assert!(message.contains(words), "{message}");
            assert!(
                message.contains(&format!("{}, line {line}: ", world.path(file).display())),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn conditions_of_a_project_tighten_and_do_not_loosen() {
    let world = world_with(|_| "[permissions]\nwrite = \"allow\"\n".into()).await;
    world.write(
        "project/.whereby.toml",
        "[permissions.functions.create_room]\npermission = \"allow\"\nrooms = [\"bot-*\"]\n\
         [accounts.work.permissions.functions.create_room]\npermission = \"allow\"\n\
         max_per_day = 1\n",
    );
    // The table of the account is the more specific one of the file.
    assert!(world.call("create_room", json!({})).await.result.is_ok());
    let words = "1 call went ahead in the last 24 hours";
    assert_refused(&world, Front::Cli, "create_room", &json!({}), words).await;
    world.configure("[permissions]\nwrite = \"deny\"\n");
    let outcome = world.call("create_room", json!({"room_name_prefix": "bot-"})).await;
    assert_eq!(kind(&outcome), "denied");
}

#[tokio::test]
async fn permissions_shows_what_is_in_force_and_why() {
    let world = world_with(|_| {
        "[permissions.functions.create_room]\npermission = \"allow\"\nrooms = [\"bot-*\"]\n\
         otherwise = \"ask\"\n[permissions.functions.delete_room]\npermission = \"deny\"\n"
            .into()
    })
    .await;
    world.write("project/.whereby.toml", "[permissions]\nread = \"ask\"\n");
    let all = world.run(&["permissions", "--json"]).await.json();
    let of = |name: &str| {
        let functions = all["permissions"]["functions"].as_array().expect("functions");
        functions.iter().find(|function| function["name"] == name).expect("it").clone()
    };
    assert_eq!(of("list_rooms")["permission"], "ask");
    assert_eq!(of("list_rooms")["rules"][1]["key"], "permissions.read");
    let create = of("create_room");
    assert_eq!(create["conditions"], json!([{"rooms": ["bot-*"]}]));
    let condition = &create["rules"][0]["conditions"][0];
    assert_eq!(
        (&condition["condition"], &condition["permission"]),
        (&json!("rooms"), &json!("ask"))
    );
    let line = condition["line"].as_u64().expect("a line");
    let text = std::fs::read_to_string(world.path("config/whereby/config.toml")).expect("a file");
    assert!(
        text.lines()
            .nth(usize::try_from(line).expect("small") - 1)
            .expect("it")
            .starts_with("rooms")
    );
    let table = world.run(&["permissions"]).await.stdout;
    assert!(table.contains("rooms: bot-*"), "{table}");
    let one = world.run(&["permissions", "create_room"]).await.stdout;
    assert!(
        one.starts_with(
            "create_room by the account `work`: allow, if rooms: bot-*; otherwise ask\n"
        ),
        "{one}"
    );
    assert!(one.contains("rooms = [\"bot-*\"] ("), "{one}");
    assert!(one.contains("otherwise ask"), "{one}");
    for (arguments, expected) in [
        (r#"{"room_name_prefix": "bot-"}"#, "allow: permissions.functions.create_room = \"allow\""),
        (
            r#"{"room_name_prefix": "x-"}"#,
            "ask: permissions.functions.create_room.rooms = [\"bot-*\"]",
        ),
    ] {
        let ran = world.run(&["permissions", "create_room", arguments]).await;
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.starts_with(expected), "{}", ran.stdout);
    }
    for wrong in [&["permissions", "create_rooms"][..], &["permissions", "create_room", "{"]] {
        assert_eq!(world.run(wrong).await.code, 2, "{wrong:?}");
    }
    world.assert_untouched();
}

#[tokio::test]
async fn replay_says_which_calls_other_rules_would_decide_differently() {
    let world = world_with(|_| "[permissions]\nwrite = \"allow\"\n".into()).await;
    let create = |prefix: &str| world.call("create_room", json!({"room_name_prefix": prefix}));
    let own = create("bot-").await.result.expect("a room");
    world.move_clock(60);
    create("team-").await.result.expect("a room");
    world.call("delete_room", json!({"room_name": own["roomName"]})).await.result.expect("gone");
    world.call("delete_room", json!({"room_name": "bot-old"})).await.result.expect("gone");
    world.move_clock(60);
    create("bot-").await.result.expect("a room");
    let same = world.run(&["permissions", "replay"]).await;
    assert_eq!(same.stdout, "0 of 5 calls would be decided differently\n");
    let text = std::fs::read_to_string(world.path("config/whereby/config.toml")).expect("a file");
    let stricter = format!(
        "{text}[permissions.functions.create_room]\npermission = \"allow\"\nrooms = [\"bot-*\"]\n\
         max_per_day = 1\n[permissions.functions.delete_room]\npermission = \"allow\"\n\
         otherwise = \"ask\"\ncreated_by = \"agent\"\n"
    );
    world.write("stricter.toml", &stricter);
    whereby_tests::set_mode(&world.path("stricter.toml"), 0o600);
    let file = world.path("stricter.toml").display().to_string();
    world.simulator.clear_requests();
    let ran = world.run(&["--config", &file, "permissions", "replay", "--json"]).await.json();
    let replay = &ran["replay"];
    assert_eq!((&replay["decided"], &replay["undecided"]), (&json!(5), &json!(0)));
    let changed = replay["changed"].as_array().expect("calls");
    let told: Vec<(&str, &str, &str)> = changed
        .iter()
        .map(|change| {
            let text = |name: &str| change[name].as_str().expect("a text");
            (text("function"), text("now"), text("reason"))
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                "create_room",
                "deny",
                "the room's name would begin with `team-`, and 1 call went ahead in the last 24 hours"
            ),
            ("delete_room", "ask", "this agent did not create the room"),
            ("create_room", "deny", "1 call went ahead in the last 24 hours"),
        ]
    );
    let since = world.run(&["--config", &file, "permissions", "replay", "--since", "30s"]).await;
    assert!(
        since.stdout.ends_with("1 of 1 calls would be decided differently\n"),
        "{}",
        since.stdout
    );
    assert_eq!(world.store().approvals(true).expect("read").len(), 0, "nothing is stored");
    world.assert_untouched();
}

/// Waits until a call waits for a person, and returns the id of its approval.
async fn pending(world: &World) -> String {
    loop {
        match world.store().approvals(false).expect("read").first() {
            Some(pending) => return pending.id.clone(),
            None => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_is_set_while_a_person_is_asked_counts_from_then_on() {
    let world = world_with(|_| String::new()).await;
    let environment = world.environment();
    let call = tokio::spawn(async move {
        let arguments = ["call", "create_room", "--wait", "60", "--json"];
        whereby_tests::run(&arguments, environment, "", false).await
    });
    let pending = pending(&world).await;
    let quota = ["configure", "--function", "create_room.max_per_day=1"];
    assert_eq!(world.run(&quota).await.code, 0);
    world.store().approve(&pending).expect("approved");
    let document = call.await.expect("no panic").json();
    assert_eq!(document["success"], true, "{document}");
    let words = "1 call went ahead in the last 24 hours";
    assert_refused(&world, Front::Program, "create_room", &json!({}), words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_become_stricter_while_a_person_is_asked_hold() {
    let agents = "[agents.assistant]\n[agents.assistant.permissions]\nwrite = \"ask\"\n";
    for (change, words) in [
        (&["configure", "--function", "create_room=deny"][..], "rules that were changed meanwhile"),
        (&["configure", "--function", "create_room.rooms=bot-*"], "would begin with `x-`"),
        (&["configure", "--unset", "agents.assistant"], "no agent is called `assistant`"),
        // The request ends with its agent.
        (&["agents", "remove", "assistant"], "or its agent was removed"),
    ] {
        let world = world_with(|_| agents.into()).await;
        let environment = world.environment();
        let call = tokio::spawn(async move {
            let arguments = [
                "call",
                "create_room",
                "--arg",
                "room_name_prefix=x-",
                "--agent",
                "assistant",
                "--wait",
                "60",
                "--json",
            ];
            whereby_tests::run(&arguments, environment, "", false).await
        });
        let pending = pending(&world).await;
        assert_eq!(world.run(change).await.code, 0, "{change:?}");
        let ends = change[1] == "remove";
        assert_eq!(world.store().approve(&pending).is_err(), ends, "{change:?}");
        let document = call.await.expect("no panic").json();
        let error = &document["error"];
        let kind = if ends { "approval-required" } else { "denied" };
        assert_eq!(error["kind"], kind, "{document}");
        assert!(error["message"].as_str().expect("a text").contains(words), "{document}");
        world.assert_untouched();
    }
}

/// What a call that fails a condition may still be differs by the condition, and an agent's end is none.
#[tokio::test]
async fn what_holds_otherwise_is_said_right_beside_an_agents_end() {
    let world = world_with(|_| {
        "[permissions]\nwrite = \"allow\"\n[agents.bot]\nvalid_until = 2999-01-01T00:00:00Z\n\
         [agents.bot.permissions.functions.create_room]\npermission = \"allow\"\notherwise = \"ask\"\n\
         rooms = [\"bot-*\"]\n[agents.bot.permissions.functions.delete_room]\npermission = \"allow\"\n\
         rooms = [\"bot-*\"]\n"
            .into()
    })
    .await;
    let shown = world.run(&["permissions", "--agent", "bot"]).await.stdout;
    assert!(shown.contains("rooms: bot-*; otherwise ask"), "{shown}");
    assert!(shown.contains("the agent `bot` expires at 2999-01-01"), "{shown}");
    let shown = world.run(&["permissions", "create_room", "--agent", "bot"]).await.stdout;
    let line = "create_room by the account `work` and the agent `bot`: allow, if rooms: bot-*; otherwise ask";
    assert!(shown.starts_with(line), "{shown}");
    // The rule that is named is the one with the conditions.
    let call = ["permissions", "create_room", "{\"room_name_prefix\": \"bot-\"}", "--agent", "bot"];
    let decided = world.run(&call).await.stdout;
    assert!(
        decided.starts_with("allow: agents.bot.permissions.functions.create_room = \"allow\""),
        "{decided}"
    );
    let list = world.run(&["list", "--agent", "bot"]).await.stdout;
    assert!(list.contains("allow (rooms: bot-*; otherwise ask)"), "{list}");
    assert!(list.contains("allow (rooms: bot-*)"), "{list}");
    assert_eq!(list.matches("2999-01-01").count(), 1, "{list}");
    let page = crate::inbox::Browser::of(&world).await.page("/agents").await;
    let (_, bot) = page.split_once("id=\"agent-bot\"").expect("the agent");
    assert_eq!(bot.matches("Otherwise asks you.").count(), 1, "{bot}");
    assert_eq!(bot.matches("Otherwise denied.").count(), 1, "{bot}");
    for (function, allowed) in [
        (
            "create_room",
            "Allowed here until 2999-01-01T00:00:00Z: rooms: bot-*. Anything else needs a person's approval.",
        ),
        (
            "delete_room",
            "Allowed here until 2999-01-01T00:00:00Z: rooms: bot-*. Anything else is denied.",
        ),
        ("list_rooms", "Allowed here until 2999-01-01T00:00:00Z."),
    ] {
        let name = format!("whereby_{function}");
        let tool = crate::mcp::description_for(&world, Some("bot"), &name).await;
        assert!(tool.ends_with(&format!("\n\n{allowed}")), "{tool}");
    }
    // What an agent is told that was denied.
    let call = Call::new("delete_room", json!({"room_name": "daily"})).agent(Some("bot"));
    let error = world.session().run(call).await.result.expect_err("denied").for_agent();
    let hint = error.hint(whereby::WriteOutcome::None).expect("a hint");
    assert!(hint.contains("allowed until 2999-01-01T00:00:00Z: list_rooms, "), "{hint}");
    assert!(hint.contains("create_room (rooms: bot-*; otherwise ask), "), "{hint}");
}

#[tokio::test]
async fn configure_says_which_rule_a_condition_made() {
    let world = world_with(|_| String::new()).await;
    let set = world.run(&["configure", "--function", "delete_room.rooms=bot-*"]).await.stdout;
    let now = "now delete_room by the account `work`: ask, if rooms: bot-*; otherwise deny\n";
    assert!(set.ends_with(now), "{set}");
}
