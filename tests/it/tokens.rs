//! Capability tokens: what they allow, that nobody can widen one, and that what ended stays ended.

use crate::wire::{ALLOW_ALL, daily_world, sent};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use whereby::simulator::{Reply, RoomSeed};
use whereby::{AuditFilter, Environment};
use whereby_tests::{Ran, World, run};

/// A world in which the rules allow everything.
async fn world() -> World {
    let (world, _) = daily_world().await;
    world.configure(ALLOW_ALL);
    world
}

async fn create(world: &World, limits: &[&str]) -> String {
    let ran = world.run(&[&["token", "create"], limits].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout.trim().to_owned()
}

/// Narrows a token where there is neither a configuration nor a state directory.
async fn narrow(token: &str, limits: &[&str]) -> String {
    let ran = narrowed(token, limits).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout.trim().to_owned()
}

async fn narrowed(token: &str, limits: &[&str]) -> Ran {
    run(&[&["token", "narrow"], limits].concat(), Environment::empty(), token, false).await
}

async fn inspect(world: &World, token: &str) -> Value {
    let ran = run(&["token", "inspect", "--json"], world.environment(), token, false).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()["token"].clone()
}

fn with_token(world: &World, token: &str) -> Environment {
    let mut environment = world.environment();
    environment.variables.insert("WHEREBY_TOKEN".into(), token.into());
    environment
}

/// Makes a call with a token.
async fn call(world: &World, token: &str, function: &str, arguments: &Value) -> Ran {
    let arguments = arguments.to_string();
    let given = ["call", function, &arguments, "--json"];
    let ran = run(&given, with_token(world, token), "", false).await;
    for text in [&ran.stdout, &ran.stderr] {
        assert!(token.len() < 10 || !text.contains(token), "the token is in {text}");
    }
    ran
}

async fn list(world: &World, token: &str) -> Ran {
    call(world, token, "list_rooms", &json!({})).await
}

/// Asserts that a call was refused, and why, and that this is in the audit log.
fn assert_refused(world: &World, ran: &Ran, why: &str) {
    let error = &ran.json()["error"];
    assert_eq!(error["kind"], "denied", "{ran:?}");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains(why), "{message}");
    let rows = world.audit();
    let outcome = rows.last().and_then(|row| row.outcome.as_ref()).expect("a row");
    assert_eq!(outcome.kind.as_deref(), Some("denied"));
    assert!(outcome.message.as_ref().is_some_and(|message| message.contains(why)));
}

fn assert_done(ran: &Ran) {
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn a_token_allows_what_it_says_and_nothing_else() {
    let world = world().await;
    let limits = ["--function", "create_room,list_rooms", "--rooms", "bot-*", "--for", "8h"];
    let token = create(&world, &limits).await;
    world.assert_untouched();
    assert_refused(
        &world,
        &call(&world, &token, "get_room", &json!({"room_name": "daily"})).await,
        "token.functions = [\"create_room\",\"list_rooms\"]",
    );
    let other = json!({"room_name_prefix": "daily-"});
    assert_refused(&world, &call(&world, &token, "create_room", &other).await, "token.rooms");
    world.assert_untouched();
    assert_done(&list(&world, &token).await);
    let own = json!({"room_name_prefix": "bot-"});
    assert_done(&call(&world, &token, "create_room", &own).await);

    let ids = inspect(&world, &token).await["blocks"][0]["id"].clone();
    let rows = world.audit();
    for row in &rows {
        assert_eq!(row.to_json()["token"], json!([ids]), "{row:?}");
    }
    // A call without a token has none.
    assert_done(&world.run(&["call", "list_rooms", "--json"]).await);
    assert_eq!(world.audit().last().map(|row| row.token.clone()), Some(None));
}

#[tokio::test]
async fn each_limit_of_a_token_holds() {
    let world = world().await;
    let daily = || json!({"room_name": "daily"});
    let create_with = |member: &str, value: Value| {
        let mut arguments = json!({"room_name_prefix": "bot-"});
        arguments[member] = value;
        arguments
    };
    for (limits, function, arguments, why) in [
        (&["--read-only"][..], "delete_room", daily(), "token.read_only = true"),
        (&["--account", "other"], "list_rooms", json!({}), "token.accounts = [\"other\"]"),
        (&["--rooms", "bot-*"], "get_room", daily(), "token.rooms"),
        (&["--created-by", "host"], "delete_room", daily(), "token.created_by"),
        (&["--created-by", "agent"], "get_room", daily(), "token.created_by"),
        (
            &["--room-modes", "normal"],
            "create_room",
            create_with("room_mode", json!("group")),
            "token.room_modes",
        ),
        (
            &["--max-duration", "2h"],
            "create_room",
            create_with("end_date", json!("2099-01-01T00:00:00Z")),
            "token.max_duration",
        ),
        (
            &["--fields", "none"],
            "create_room",
            create_with("fields", json!(["hostRoomUrl"])),
            "token.fields = []",
        ),
    ] {
        let token = create(&world, limits).await;
        assert_refused(&world, &call(&world, &token, function, &arguments).await, why);
        world.assert_untouched();
        // The same by a block that was added.
        let token = narrow(&create(&world, &[]).await, limits).await;
        assert_refused(&world, &call(&world, &token, function, &arguments).await, why);
        world.assert_untouched();
    }
    let token = create(&world, &["--max-per-day", "1"]).await;
    let bot = json!({"room_name_prefix": "bot-"});
    assert_done(&call(&world, &token, "create_room", &bot).await);
    assert_refused(&world, &call(&world, &token, "create_room", &bot).await, "token.max_per_day");
    assert_eq!(sent(&world).len(), 1);
}

#[tokio::test]
async fn a_token_grants_no_more_than_the_rules() {
    let (world, _) = daily_world().await;
    world.configure("");
    let token = create(&world, &["--function", "delete_room"]).await;
    let daily = json!({"room_name": "daily"});
    let ran = call(&world, &token, "delete_room", &daily).await;
    assert_eq!(ran.json()["error"]["kind"], "approval-required");
    let stored = &world.store().approvals(false).expect("read")[0];
    let id = inspect(&world, &token).await["id"].clone();
    assert_eq!(stored.to_json()["token"], json!([id]));
    world.configure("[permissions]\nwrite = \"deny\"\n");
    let ran = call(&world, &token, "delete_room", &daily).await;
    assert_refused(&world, &ran, "permissions.write = \"deny\"");
    world.assert_untouched();
}

#[tokio::test]
async fn a_narrowed_token_is_not_widened_again() {
    let world = world().await;
    let token = create(&world, &["--read-only", "--rooms", "bot-*", "--for", "1h"]).await;
    let wider = ["--function", "get_room,delete_room", "--rooms", "*", "--for", "30d"];
    let wider = narrow(&token, &wider).await;
    for (function, why) in [("delete_room", "token.read_only"), ("get_room", "token.rooms")] {
        let ran = call(&world, &wider, function, &json!({"room_name": "daily"})).await;
        assert_refused(&world, &ran, why);
    }
    world.move_clock(2 * 3600);
    assert_refused(&world, &list(&world, &wider).await, "it expired on");
    world.assert_untouched();
}

#[tokio::test]
async fn what_cannot_be_is_refused_when_a_token_is_created() {
    let world = world().await;
    for (limits, words) in [
        (&["--function", "list_room"][..], "did you mean `list_rooms`?"),
        (&["--account", "wrok"], "work"),
        (&["--agent", "nobody"], "no agent is called `nobody`"),
        (&["--valid-until", "2020-01-01T00:00:00Z"], "is not in the future"),
        (&["--valid-until", "2099-01-01"], "a date with a time zone"),
        (&["--for", "soon"], "--for soon: expected a time such as 90m"),
        (&["--for", "0h"], "--for 0h: expected a time such as 90m"),
        (&["--for", "1h", "--valid-until", "2099-01-01T00:00:00Z"], "cannot be used with"),
        (&["--uses", "0"], "--uses"),
        (&["--max-per-day", "0"], "--max-per-day must be an integer from 1"),
        (&["--function", "list_rooms", "--fields", "none"], "--fields would limit none"),
        (&["--read-only", "--max-per-day", "3"], "--max-per-day would limit none"),
        (&["--function", "create_room", "--rooms", "daily"], "write `daily*`"),
        (&["--rooms", ""], "a pattern is empty"),
        (&["--created-by", "me"], "must be \"agent\" or \"host\""),
        (&["--room-modes", "huge"], "unknown value `huge`"),
    ] {
        let ran = world.run(&[&["token", "create"], limits].concat()).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{limits:?} {ran:?}");
        assert!(ran.stderr.contains(words), "{limits:?}: {}", ran.stderr);
    }
    assert_eq!(
        world.run(&["token", "list"]).await.stdout,
        "no tokens; to create one: whereby token create\n"
    );
    let token = create(&world, &[]).await;
    for (limits, words) in [
        (&[][..], "nothing to narrow"),
        (&["--function", "list_room"], "did you mean `list_rooms`?"),
        (&["--uses=-1"], "--uses"),
    ] {
        let ran = narrowed(&token, limits).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{limits:?} {ran:?}");
        assert!(ran.stderr.contains(words), "{limits:?}: {}", ran.stderr);
    }
    let agent = narrow(&token, &["--agent", "anyone"]).await;
    let again = narrowed(&agent, &["--agent", "another"]).await;
    assert!(again.stderr.contains("the token is an agent's already"), "{again:?}");
    // It cannot be used by a call that is nobody's: a limit that was added says nothing about who calls.
    assert_refused(&world, &list(&world, &agent).await, "token.agent = \"anyone\"");
    let long = "A".repeat(1024 * 1024);
    let ran = narrowed(&long, &["--read-only"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    world.assert_untouched();
}

#[tokio::test]
async fn a_token_of_another_installation_or_a_forged_one_is_refused_as_such() {
    let (world, other) = (world().await, world().await);
    let token = create(&world, &[]).await;
    let foreign = create(&other, &[]).await;
    let mut forged = token.clone().into_bytes();
    // In the signature of the first block, or in the content.
    for at in [40, token.len() / 2] {
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    }
    let forged = String::from_utf8(forged).expect("text");
    assert_refused(&world, &list(&world, &foreign).await, "it is of another installation");
    let ran = list(&world, &forged).await;
    assert_eq!(ran.json()["error"]["kind"], "denied", "{ran:?}");
    let ran = list(&world, "").await;
    assert!(ran.stdout.contains("WHEREBY_TOKEN is empty"), "{ran:?}");
    for nonsense in ["nonsense", "AAAA"] {
        assert_refused(&world, &list(&world, nonsense).await, "it is not a capability token");
    }
    let long = "A".repeat(1024 * 1024);
    assert_refused(&world, &list(&world, &long).await, "it is longer than 8192 bytes");
    let file = world.write("long.token", &long);
    let path = file.display().to_string();
    let ran = world.run(&["call", "list_rooms", "--token-file", &path]).await;
    assert!(ran.stderr.contains("is larger than"), "{ran:?}");
    whereby_tests::set_mode(&file, 0o644);
    let ran = world.run(&["call", "list_rooms", "--token-file", &path]).await;
    assert_ne!(ran.code, 0);
    world.assert_untouched();
    // A state directory that begins anew is another installation.
    std::fs::rename(world.path("state"), world.path("old")).expect("moved");
    assert_refused(&world, &list(&world, &token).await, "it is of another installation");
    create(&world, &[]).await;
    assert_refused(&world, &list(&world, &token).await, "it is of another installation");
    world.assert_untouched();
    assert_eq!(inspect(&world, &token).await["signature"], "another-installation");
}

#[tokio::test]
async fn a_revoked_block_revokes_every_token_that_has_it() {
    let world = world().await;
    let (token, other) = (create(&world, &["--for", "1h"]).await, create(&world, &[]).await);
    let narrower = narrow(&token, &["--read-only"]).await;
    let sibling = narrow(&token, &["--function", "list_rooms"]).await;
    let shown = inspect(&world, &narrower).await;
    assert_eq!((&shown["usable"], &shown["signature"]), (&json!(true), &json!("verified")));
    let (first, last) = (&shown["blocks"][0]["id"], &shown["blocks"][1]["id"]);
    let (first, last) = (first.as_str().expect("an id"), last.as_str().expect("an id"));

    // One that was never seen here needs its whole id.
    let ran = world.run(&["token", "revoke", &last[..8]]).await;
    assert!(ran.stderr.contains("give all 32 characters"), "{ran:?}");
    let ran = world.run(&["token", "revoke", last]).await;
    assert_done(&ran);
    assert!(ran.stderr.contains("no token with the id"), "{ran:?}");
    assert_refused(&world, &list(&world, &narrower).await, "it is revoked");
    world.assert_untouched();
    assert_done(&list(&world, &token).await);
    assert_done(&list(&world, &sibling).await);

    for too_short in ["", "abc", &first[..5], "zzzzzz"] {
        let ran = world.run(&["token", "revoke", too_short]).await;
        assert_eq!(ran.code, 2, "{ran:?}");
    }
    let ran = world.run(&["token", "revoke", &first[..6], "--json"]).await;
    assert_eq!(ran.json(), json!({"revoked": {"id": first, "known": "created"}}));
    assert_eq!(ran.stderr, "");
    let again = world.run(&["token", "revoke", first]).await;
    assert_eq!(again.stdout, format!("revoked already: {first}\n"));
    let before = world.requests().len();
    for token in [&token, &sibling, &narrower] {
        assert_refused(&world, &list(&world, token).await, "it is revoked");
    }
    assert_eq!(world.requests().len(), before);
    assert_done(&list(&world, &other).await);
    assert_eq!(inspect(&world, &sibling).await["usable"], false);
    let listed = world.run(&["token", "list", "--json"]).await.json()["tokens"].clone();
    assert_eq!((&listed[0]["id"], &listed[0]["state"]), (&json!(first), &json!("revoked")));
    assert_eq!(listed[1]["state"], "valid");
}

#[tokio::test]
async fn a_token_can_be_used_as_often_as_each_of_its_blocks_says() {
    let world = world().await;
    let token = create(&world, &["--uses", "3"]).await;
    let narrower = narrow(&token, &["--uses", "1", "--read-only"]).await;
    assert_done(&list(&world, &narrower).await);
    assert_refused(&world, &list(&world, &narrower).await, "it is used up: it allowed 1 call");
    // What is refused uses nothing, nor does a dry run.
    let unknown = call(&world, &token, "get_room", &json!({"room": 1})).await;
    assert_eq!(unknown.json()["error"]["kind"], "invalid-argument");
    let dry =
        run(&["call", "list_rooms", "--dry-run"], with_token(&world, &token), "", false).await;
    assert_done(&dry);
    let listed = || async {
        world.run(&["token", "list", "--json"]).await.json()["tokens"][0]["uses_left"].clone()
    };
    assert_eq!(listed().await, 2);
    // One that began counts, whatever comes of it.
    world.simulator.script("GET", "/v1/meetings", 1, Reply::status(500));
    let failed = list(&world, &token).await;
    assert_ne!(failed.code, 0, "{failed:?}");
    assert_eq!(listed().await, 1);
    assert_done(&list(&world, &token).await);
    let before = world.requests().len();
    assert_refused(&world, &list(&world, &token).await, "it is used up: it allowed 3 calls");
    assert_eq!(world.requests().len(), before);
    assert_eq!(listed().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_race_for_the_last_use_one_wins() {
    let world = world().await;
    let token = create(&world, &["--uses", "1"]).await;
    let mut racers = JoinSet::new();
    for _ in 0..16 {
        // Each has a connection of its own to the state database, like a process.
        let environment = with_token(&world, &token);
        racers.spawn(async move {
            run(&["call", "list_rooms", "--json"], environment, "", false).await
        });
    }
    let ran = racers.join_all().await;
    assert_eq!(ran.iter().filter(|ran| ran.code == 0).count(), 1, "{ran:?}");
    for lost in ran.iter().filter(|ran| ran.code != 0) {
        let error = lost.json()["error"].clone();
        assert!(error["message"].as_str().is_some_and(|m| m.contains("it is used up")), "{error}");
    }
    assert_eq!(sent(&world).len(), 1);
}

#[tokio::test]
async fn a_use_is_used_before_the_first_request_leaves() {
    let world = world().await;
    let token = create(&world, &["--uses", "1"]).await;
    world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().never_answering());
    // The end of the program during the call.
    tokio::select! {
        ran = list(&world, &token) => panic!("{ran:?}"),
        () = world.simulator.wait_for_requests(1) => {}
    }
    world.simulator.clear_scripts();
    assert_refused(&world, &list(&world, &token).await, "it is used up");
    assert_eq!(world.requests().len(), 1);
}

#[tokio::test]
async fn an_expired_token_stays_expired_if_the_clock_is_set_back() {
    let world = world().await;
    let token = create(&world, &["--for", "1h"]).await;
    let narrower = narrow(&token, &["--read-only"]).await;
    assert_done(&list(&world, &token).await);
    world.move_clock(3601);
    assert_refused(&world, &list(&world, &narrower).await, "it expired on");
    world.move_clock(-3601);
    let before = world.requests().len();
    for token in [&token, &narrower] {
        assert_refused(&world, &list(&world, token).await, "it expired on");
    }
    assert_eq!(world.requests().len(), before);
    assert_eq!(inspect(&world, &token).await["usable"], false);
    let listed = world.run(&["token", "list", "--json"]).await.json()["tokens"].clone();
    assert_eq!(listed[0]["state"], "expired");
    // Nor does the time of a token go back behind a call that was made with it.
    let token = create(&world, &["--for", "1h"]).await;
    world.move_clock(3000);
    assert_done(&list(&world, &token).await);
    world.move_clock(-3000);
    let early = narrow(&token, &["--valid-until", &in_seconds(1500)]).await;
    assert_refused(&world, &list(&world, &early).await, "it expired on");
}

/// All files below a folder.
fn everything(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| everything(folder)));
    files
}

/// A date this many seconds from now.
fn in_seconds(seconds: u64) -> String {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let unix = unix.expect("after 1970").as_secs() + seconds;
    let date = time::OffsetDateTime::from_unix_timestamp(i64::try_from(unix).expect("a time"));
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    date.expect("a time").format(format).expect("a date")
}

#[tokio::test]
async fn scripts_have_the_token_too() {
    let world = world().await;
    let token = create(&world, &["--function", "list_rooms", "--uses", "2"]).await;
    let script = "local own = app.integrations.whereby\nown.list_rooms({})\n\
        local done, failed = pcall(own.delete_room, { room_name = \"daily\" })\n\
        return { done, failed.kind, failed.message }";
    let ran = run(&["lua", "-e", script, "--json"], with_token(&world, &token), "", false).await;
    let result = ran.json()["result"].clone();
    assert_eq!((&result[0], &result[1]), (&json!(false), &json!("denied")), "{ran:?}");
    let file = world.write("token", &token);
    let path = file.display().to_string();
    let again = world.run(&["lua", "-e", script, "--json", "--token-file", &path]).await;
    assert_eq!(again.json()["result"][1], "denied", "{again:?}");
    let spent = world.run(&["lua", "-e", script, "--json", "--token-file", &path]).await;
    assert!(spent.stdout.contains("it is used up"), "{spent:?}");
    assert!(sent(&world).iter().all(|request| request.starts_with("GET")));
}

#[tokio::test]
async fn a_token_is_shown_in_plain_words_and_stored_nowhere() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let limits = ["--function", "create_room", "--rooms", "bot-*", "--uses", "20", "--for", "8h"];
    let ran = world.run(&[&["token", "create"], &limits[..]].concat()).await;
    let token = ran.stdout.trim().to_owned();
    // Nothing else is on standard output.
    assert_eq!(ran.stdout, format!("{token}\n"));
    assert!(ran.stderr.contains("functions: create_room; rooms: bot-*"), "{}", ran.stderr);
    let narrower = narrow(&token, &["--fields", "none"]).await;
    let shown = run(&["token", "inspect"], world.environment(), &narrower, false).await;
    for words in [
        "verified: a token of this installation",
        "can be used",
        "functions: create_room",
        "rooms: bot-*",
        "(in 7h59m)",
        "at most 20 calls",
        "fields: none",
    ] {
        assert!(shown.stdout.contains(words), "{words}: {}", shown.stdout);
    }
    assert_eq!(shown.code, 0);
    // Elsewhere it can be read, and not verified.
    let elsewhere = run(&["token", "inspect", "--json"], Environment::empty(), &token, false).await;
    assert_eq!(elsewhere.json()["token"]["signature"], "unknown");
    let ran = list(&world, &token).await;
    assert_refused(&world, &ran, "token.functions");
    world.store().audit(&AuditFilter::default()).expect("read");
    let listed = world.run(&["token", "list"]).await;
    assert!(listed.stdout.contains("rooms: bot-*"), "{listed:?}");
    for file in everything(&world.path("")) {
        let bytes = std::fs::read(&file).expect("a file");
        let has = |token: &str| bytes.windows(40).any(|part| part == &token.as_bytes()[..40]);
        assert!(!has(&token) && !has(&narrower), "{}", file.display());
    }
}

#[tokio::test]
async fn a_token_for_another_agent_is_refused() {
    let world = world().await;
    let agents = format!("{ALLOW_ALL}[agents.assistant]\n[agents.other]\n");
    world.configure(&agents);
    let token = create(&world, &["--agent", "assistant"]).await;
    assert_done(&list(&world, &token).await);
    world.simulator.clear_requests();
    let arguments = ["call", "list_rooms", "--json", "--agent", "other"];
    let ran = run(&arguments, with_token(&world, &token), "", false).await;
    assert_refused(&world, &ran, "the token is for the agent `assistant` only");
    // Its agent's rules apply, although nobody names the agent.
    world.configure(&format!("{agents}[agents.assistant.permissions]\nread = \"deny\"\n"));
    let ran = list(&world, &token).await;
    assert_refused(&world, &ran, "is denied");
}

#[tokio::test]
async fn replay_decides_nothing_about_calls_with_a_token_or_under_a_freeze() {
    let world = world().await;
    let token = create(&world, &["--function", "get_current_user"]).await;
    let refused = list(&world, &token).await;
    assert_refused(&world, &refused, "the token does not allow list_rooms");
    assert_eq!(world.run(&["freeze"]).await.code, 0);
    let frozen = world.run(&["call", "list_rooms", "--dry-run", "--json"]).await.json();
    assert_eq!(frozen["data"]["rule"]["key"], "freeze", "{frozen}");
    assert_eq!(world.run(&["call", "list_rooms"]).await.code, 4);
    assert_eq!(world.run(&["unfreeze"]).await.code, 0);
    let replayed = world.run(&["permissions", "replay", "--json"]).await.json();
    let replay = &replayed["replay"];
    assert_eq!((&replay["decided"], &replay["undecided"]), (&json!(0), &json!(2)), "{replay}");
}

#[tokio::test]
async fn revoking_an_id_says_what_is_known_of_it() {
    let world = world().await;
    let token = create(&world, &[]).await;
    let narrower = narrow(&token, &["--read-only"]).await;
    let shown = inspect(&world, &narrower).await;
    let [first, used] =
        [0, 1].map(|at| shown["blocks"][at]["id"].as_str().expect("an id").to_owned());
    assert_done(&list(&world, &narrower).await);
    let never = "0123456789abcdef0123456789abcdef".to_owned();
    for (id, known, is_warned) in
        [(&used, "used", false), (&first, "created", false), (&never, "unknown", true)]
    {
        let ran = world.run(&["token", "revoke", id, "--json"]).await;
        assert_done(&ran);
        assert_eq!(ran.json(), json!({"revoked": {"id": id, "known": known}}));
        assert_eq!(ran.stderr.contains("was created or used here"), is_warned, "{ran:?}");
        let again = world.run(&["token", "revoke", id]).await;
        assert_eq!(again.stdout, format!("revoked already: {id}\n"));
        assert_eq!(again.stderr, "");
    }
    let nonsense = world.run(&["token", "revoke", "not-an-id"]).await;
    assert_eq!(nonsense.code, 2, "{nonsense:?}");
}
