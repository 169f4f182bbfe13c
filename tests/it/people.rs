//! People in meetings: who sees their names, and what everybody else sees.

use crate::wire::{add_rooms, hours, kind, message, sent_sorted};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use whereby::lua::Runtime;
use whereby::policy::{AgentRules, Participants};
use whereby::simulator::switches::DisplayNames;
use whereby::simulator::{ParticipantSeed, Reply, RoomSeed, SeededRoom, SessionSeed, Switches};
use whereby::{Call, Outcome, Session, Settings};
use whereby_tests::{World, set_mode};

/// Everything that says who somebody is, apart from the ids that the simulator makes.
pub(crate) const NAMES: [&str; 7] = [
    "Ines Falk",
    "crm-118",
    "Tomasz \"Tom\" Wren",
    "ines.falk@example.org",
    "Zoë 🦊 Ångström",
    "Participant 3f9a1c",
    "\u{202e}Mallory",
];

const PSEUDONYMS: &str = "[privacy]\nparticipants = \"pseudonyms\"\n";
const HIDDEN: &str = "[privacy]\nparticipants = \"hidden\"\n";

/// A room in which the same people met three times, among them one without a name.
pub(crate) fn room(name: &str) -> RoomSeed {
    let [ines, crm, tom, mail, zoe, participant, mallory] = NAMES;
    let met = |ago: u64| {
        let later =
            |seed: ParticipantSeed, minutes: u64| seed.joined_after(Duration::from_mins(minutes));
        SessionSeed::began(hours(ago))
            .participant(ParticipantSeed::named(ines).role("host").external_id(crm))
            .participant(later(ParticipantSeed::named(tom).external_id(mail), 1))
            .participant(later(ParticipantSeed::named(zoe), 2))
            .participant(later(ParticipantSeed::named(participant), 3))
            .participant(later(ParticipantSeed::named(mallory), 4))
            .participant(later(ParticipantSeed::anonymous(), 5))
            .recorded()
    };
    let room = RoomSeed::named(name).created(hours(400));
    room.session(met(24)).session(met(48)).session(met(72))
}

async fn world(configuration: &str) -> (World, SeededRoom) {
    let world = World::with_rooms(Vec::new()).await;
    world.configure(configuration);
    let room = add_rooms(&world, &[room("daily")]).remove(0);
    (world, room)
}

fn id(room: &SeededRoom, session: usize) -> Value {
    json!({"meeting_id": format!("{}:{}", room.name.trim_matches('/'), room.sessions[session])})
}

async fn read(world: &World, account: &str, arguments: Value) -> Value {
    let outcome = world.session().call(Some(account), "get_meeting", arguments).await;
    outcome.result.unwrap_or_else(|error| panic!("{error}"))
}

fn people(meeting: &Value) -> &Vec<Value> {
    meeting["participants"].as_array().expect("a list")
}

/// What each person is called.
fn called(meeting: &Value) -> Vec<String> {
    let name = |person: &Value| person["participantId"].as_str().expect("a pseudonym").to_owned();
    people(meeting).iter().map(name).collect()
}

fn assert_pseudonym(text: &Value) {
    let text = text.as_str().expect("a pseudonym");
    let digits = text.strip_prefix("Participant ").unwrap_or_else(|| panic!("{text}"));
    assert!(digits.len() >= 6 && digits.bytes().all(|c| c.is_ascii_hexdigit()), "{text}");
}

/// Everybody who took part, as the simulator knows them.
pub(crate) async fn told(world: &World, room: &SeededRoom) -> BTreeSet<String> {
    let mut told: BTreeSet<String> = NAMES.map(str::to_owned).into();
    for session in &room.sessions {
        for row in rows(world, session).await {
            for member in ["participantId", "userId", "deviceId", "externalId", "displayName"] {
                let text = row[member].as_str().unwrap_or_default();
                // The simulator's device ids are short, and would be found by chance.
                if text.len() > 6 {
                    told.insert(text.to_owned());
                }
            }
        }
    }
    world.simulator.clear_requests();
    assert!(told.len() > 20, "{told:?}");
    told
}

/// The participants of a session as the simulator sends them.
async fn rows(world: &World, session: &str) -> Vec<Value> {
    let url = world.simulator.url();
    let address = url.trim_start_matches("http://").trim_end_matches("/v1");
    let mut stream = TcpStream::connect(address).await.expect("the simulator listens");
    let request = format!(
        "GET /v1/insights/participants?roomSessionId={session}&limit=100 HTTP/1.1\r\n\
         host: {address}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        world.simulator.token()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    body["results"].as_array().expect("a list").clone()
}

fn assert_tells_nobody(what: &str, text: &str, told: &BTreeSet<String>) {
    for name in told {
        let escaped = serde_json::to_string(name).expect("JSON");
        for form in [name.as_str(), escaped.trim_matches('"')] {
            assert!(!text.contains(form), "{what} tells {form:?}: {text}");
        }
    }
}

#[tokio::test]
async fn a_person_has_the_same_pseudonym_in_every_meeting_of_an_account() {
    let (world, room) = world("").await;
    let other = world.simulator.add_room(1, &self::room("daily"));
    let plain = read(&world, "work", id(&room, 0)).await;
    world.configure(PSEUDONYMS);
    let first = read(&world, "work", id(&room, 0)).await;
    // Everything but who it is stays.
    let mut expected = plain.clone();
    for (person, shown) in
        expected["participants"].as_array_mut().expect("a list").iter_mut().zip(people(&first))
    {
        for member in ["name", "externalId", "participantId"] {
            if !person[member].is_null() {
                assert_pseudonym(&shown["participantId"]);
                person[member] = shown["participantId"].clone();
            }
        }
    }
    assert_eq!(first, expected);
    let own = called(&first);
    let different: BTreeSet<&String> = own.iter().collect();
    assert_eq!(different.len(), 6, "{own:?}");
    // The one without a name has no id that lasts.
    let known = |names: &[String]| names[..5].to_vec();
    for session in 1..3 {
        let names = called(&read(&world, "work", id(&room, session)).await);
        assert_eq!(known(&names), known(&own));
        assert_ne!(names[5], own[5]);
    }
    let theirs = called(&read(&world, "other", id(&other, 0)).await);
    assert!(theirs.iter().all(|name| !own.contains(name)), "{theirs:?} {own:?}");
    // A month and a year later, in another process.
    for days in [31, 365] {
        world.move_clock(days * 86_400);
        assert_eq!(called(&read(&world, "work", id(&room, 0)).await), own);
    }
    // Another installation.
    std::fs::remove_dir_all(world.path("state")).expect("removed");
    let elsewhere = called(&read(&world, "work", id(&room, 0)).await);
    assert!(elsewhere.iter().all(|name| !own.contains(name)), "{elsewhere:?} {own:?}");
}

#[tokio::test]
async fn hidden_people_have_roles_and_times_and_nothing_else() {
    let (world, room) = world("").await;
    let mut expected = read(&world, "work", id(&room, 0)).await;
    world.configure(HIDDEN);
    for person in expected["participants"].as_array_mut().expect("a list") {
        for member in ["name", "externalId", "participantId"] {
            person[member] = Value::Null;
        }
    }
    assert_eq!(read(&world, "work", id(&room, 0)).await, expected);
}

#[tokio::test]
async fn what_whereby_redacts_stays_redacted() {
    let (world, room) = world(PSEUDONYMS).await;
    let display_names = DisplayNames::Redacted;
    world.simulator.set_switches(Switches { display_names, ..Switches::default() });
    for (configuration, has_id) in [(PSEUDONYMS, true), (HIDDEN, false)] {
        world.configure(configuration);
        let read = read(&world, "work", id(&room, 0)).await;
        for person in people(&read) {
            assert_eq!((&person["name"], &person["nameRedacted"]), (&Value::Null, &json!(true)));
            assert_eq!(person["participantId"].is_string(), has_id, "{person}");
        }
    }
}

#[tokio::test]
async fn no_front_end_tells_who_took_part() {
    let (world, room) = world("").await;
    let told = told(&world, &room).await;
    let meeting = format!("daily:{}", room.sessions[0]);
    let argument = format!("meeting_id={meeting}");
    for configuration in [PSEUDONYMS, HIDDEN] {
        world.configure(configuration);
        let read = read(&world, "work", id(&room, 0)).await;
        let json = world.run(&["call", "get_meeting", "--arg", &argument, "--json"]).await;
        assert_eq!(json.json()["data"], read, "{json:?}");
        let table = world.run(&["-v", "call", "get_meeting", "--arg", &argument]).await;
        assert_eq!(table.code, 0, "{table:?}");
        let script =
            format!("return app.integrations.whereby.get_meeting({{meeting_id = \"{meeting}\"}})");
        let lua = Runtime::new(world.session()).run(&script, "test.lua").await;
        assert_eq!(lua.result["participants"][0]["role"], "host", "{:?}", lua.error);
        let mcp = crate::mcp::questions(&world, "get_meeting", id(&room, 0)).await;
        assert!(mcp.contains("participantsComplete"), "{mcp}");
        let audit = world.run(&["audit", "--json"]).await;
        let one = if configuration == PSEUDONYMS {
            let one = called(&read)[0].clone();
            for text in [&table.stdout, &lua.result.to_string(), &mcp] {
                assert!(text.contains(&one), "{one}: {text}");
            }
            one
        } else {
            String::new()
        };
        assert!(one.is_empty() || !audit.stdout.contains(&one), "results are not kept");
        for (what, text) in [
            ("the library", read.to_string()),
            ("JSON", json.stdout + &json.stderr),
            ("the table", table.stdout + &table.stderr),
            ("Lua", lua.result.to_string()),
            ("MCP", mcp),
            ("the audit log", audit.stdout),
        ] {
            assert_tells_nobody(what, &text, &told);
        }
    }
}

#[tokio::test]
async fn people_on_many_pages_are_all_there_and_in_order() {
    let world = World::with_rooms(Vec::new()).await;
    let session = (0..250_u64).fold(SessionSeed::began(hours(24)), |session, index| {
        let joined = Duration::from_secs(index);
        let person = ParticipantSeed::named(&format!("Person {index}")).joined_after(joined);
        session.participant(person)
    });
    let room = RoomSeed::named("daily").created(hours(48)).session(session);
    let room = add_rooms(&world, &[room]).remove(0);
    let plain = read(&world, "work", id(&room, 0)).await;
    let plain_requests = sent_sorted(&world);
    world.simulator.clear_requests();
    world.configure(PSEUDONYMS);
    let shown = read(&world, "work", id(&room, 0)).await;
    // Whereby gets its own cursors.
    assert_eq!(sent_sorted(&world), plain_requests);
    assert_eq!(people(&shown).len(), 250);
    assert_eq!(shown["participantsComplete"], true);
    let different: BTreeSet<String> = called(&shown).into_iter().collect();
    assert_eq!(different.len(), 250);
    let times = |meeting: &Value| -> Vec<Value> {
        people(meeting).iter().map(|person| person["joinedAt"].clone()).collect()
    };
    assert_eq!(times(&shown), times(&plain));
}

#[tokio::test]
async fn the_strictest_choice_holds() {
    let (world, room) = world("").await;
    let shown = |outcome: Outcome| {
        let meeting = outcome.result.unwrap_or_else(|error| panic!("{error}"));
        match meeting["participants"][0]["name"].as_str() {
            None => "hidden",
            Some("Ines Falk") => "names",
            Some(_) => "pseudonyms",
        }
    };
    for (own, policy, project, expected) in [
        ("", "", "", "names"),
        ("[privacy]\nparticipants = \"names\"\n", "", "", "names"),
        (PSEUDONYMS, "", "", "pseudonyms"),
        // Its place in the file does not matter.
        (
            "[privacy]\nparticipants = \"hidden\"\n[permissions]\nread = \"allow\"\n",
            "",
            "",
            "hidden",
        ),
        (
            "[permissions]\nread = \"allow\"\n[privacy]\nparticipants = \"hidden\"\n",
            "",
            "",
            "hidden",
        ),
        (HIDDEN, "[privacy]\nparticipants = \"names\"\n", "", "hidden"),
        ("", PSEUDONYMS, "", "pseudonyms"),
        (
            PSEUDONYMS,
            "",
            "[privacy]\nparticipants = \"hidden\"\n[permissions]\nread = \"allow\"\n",
            "hidden",
        ),
        ("", PSEUDONYMS, "[accounts.work]\nparticipants = \"hidden\"\n", "hidden"),
        (
            "",
            "",
            "[accounts.work]\nparticipants = \"hidden\"\n[accounts.work.permissions]\nread = \"allow\"\n",
            "hidden",
        ),
        ("", "[accounts.other]\nparticipants = \"hidden\"\n", "", "names"),
    ] {
        world.configure(own);
        world.write("policy.toml", policy);
        world.write("project/.whereby.toml", project);
        let outcome = world.call("get_meeting", id(&room, 0)).await;
        assert_eq!(shown(outcome), expected, "{own:?} {policy:?} {project:?}");
    }
    world.write("policy.toml", "");
    world.write("project/.whereby.toml", "");

    // An account.
    world.configure(PSEUDONYMS);
    let ran = world.run(&["configure", "--account", "work", "--set", "participants=hidden"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(shown(world.call("get_meeting", id(&room, 0)).await), "hidden");

    // An agent.
    world.configure("");
    let environment = world.environment();
    let mut settings = Settings::load(None, &environment).expect("a good configuration");
    let mut rules = AgentRules::default();
    rules.participants = Participants::Pseudonyms;
    settings.policy.agents.insert("assistant".into(), rules);
    let builder = Session::builder().settings(settings).environment(environment);
    let session = builder.store(world.store()).build().expect("a session");
    for (agent, expected) in [(None, "names"), (Some("assistant"), "pseudonyms")] {
        let call = Call::new("get_meeting", id(&room, 0)).agent(agent);
        assert_eq!(shown(session.run(call).await), expected, "{agent:?}");
    }
}

#[tokio::test]
async fn without_its_key_nobody_is_named_and_nothing_is_sent() {
    let (world, room) = world(PSEUDONYMS).await;
    let assert_refused = |outcome: Outcome, why: &str| {
        assert_eq!(kind(&outcome), "configuration");
        let message = message(&outcome);
        assert!(message.contains("whose key is in the state directory"), "{message}");
        assert!(message.contains(why) && message.contains("\"hidden\""), "{message}");
        world.assert_untouched();
    };
    let environment = world.environment();
    let without = |configuration: &str| {
        world.configure(configuration);
        let settings = Settings::load(None, &environment).expect("a good configuration");
        let builder = Session::builder().settings(settings).environment(environment.clone());
        builder.build().expect("a session")
    };
    let outcome = without(PSEUDONYMS).call(None, "get_meeting", id(&room, 0)).await;
    assert_refused(outcome, "there is none");

    std::fs::create_dir_all(world.path("state/whereby")).expect("a folder");
    set_mode(&world.path("state"), 0o700);
    set_mode(&world.path("state/whereby"), 0o700);
    world.write("state/whereby/state.db", "this is no database, and never was one");
    assert_refused(world.call("get_meeting", id(&room, 0)).await, "is not a database");
    let argument = format!("meeting_id=daily:{}", room.sessions[0]);
    let ran = world.run(&["call", "get_meeting", "--arg", &argument]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    world.assert_untouched();

    // What lists nobody needs no key, and neither do names and hidden people.
    let outcome = without(PSEUDONYMS).call(None, "list_meetings", json!({})).await;
    assert!(outcome.result.is_ok(), "{outcome:?}");
    for configuration in ["", HIDDEN] {
        let outcome = without(configuration).call(None, "get_meeting", id(&room, 0)).await;
        assert!(outcome.result.is_ok(), "{outcome:?}");
    }
}

#[tokio::test]
async fn errors_of_whereby_about_meetings_are_not_quoted() {
    let (world, room) = world("").await;
    let told: BTreeSet<String> = NAMES.map(str::to_owned).into();
    for configuration in ["", PSEUDONYMS, HIDDEN] {
        world.configure(configuration);
        let session = world.session();
        for (function, path, arguments) in [
            ("get_meeting", "/v1/insights/participants", id(&room, 0)),
            ("get_meeting", "/v1/insights/room-sessions", id(&room, 0)),
            ("list_meetings", "/v1/insights/room-sessions", json!({"room_name": "daily"})),
        ] {
            for status in [400, 403, 422] {
                let body = json!({"error": format!("no access to {}", NAMES.join(", "))});
                let reply = Reply::status(status).json(&body);
                world.simulator.script("GET", path, 9, reply);
                let outcome = session.call(None, function, arguments.clone()).await;
                world.simulator.clear_scripts();
                let message = message(&outcome);
                if configuration.is_empty() {
                    assert!(message.contains("Ines Falk"), "{message}");
                    continue;
                }
                let left_out = "the message is left out, because it could name a participant";
                assert!(message.contains(left_out), "{message}");
                assert!(outcome.requests.iter().any(|sent| sent.status == Some(status)));
                assert_tells_nobody(function, &format!("{outcome:?} {outcome:#?}"), &told);
            }
        }
        // A rate limit still says how long it lasts, and a call about rooms what is wrong.
        let body = json!({"error": "Rate limit active for Ines Falk", "data": {"msLeft": 600_000}});
        let reply = Reply::status(429).json(&body);
        world.simulator.script("GET", "/v1/insights/participants", 9, reply);
        let outcome = session.call(None, "get_meeting", id(&room, 0)).await;
        world.simulator.clear_scripts();
        assert_eq!(kind(&outcome), "rate-limited");
        let wait = outcome.result.expect_err("an error").to_json(outcome.write);
        assert_eq!(wait["retry_after_seconds"], 600, "{wait}");
        let reply = Reply::status(422).json(&json!({"error": "limit is too large"}));
        world.simulator.script("GET", "/v1/meetings", 1, reply);
        let outcome = session.call(None, "list_rooms", json!({})).await;
        assert!(message(&outcome).contains("limit is too large"), "{outcome:?}");
    }
    let audit = world.run(&["audit", "--json"]).await;
    let audit = audit.json()["audit"].as_array().expect("rows").clone();
    let quoted = audit.iter().filter(|row| row.to_string().contains("Ines Falk")).count();
    assert!(quoted <= 9, "only where names are shown: {audit:?}");
}

#[tokio::test]
async fn rows_of_another_form_are_read_as_they_are_with_names() {
    let (world, room) = world("").await;
    let session = &room.sessions[0];
    let row = |member: &str, value: Value| {
        let mut row = json!({
            "roomSessionId": session, "participantId": "p-1", "roleName": "host",
            "displayName": "Ines Falk", "joinedAt": "2026-03-01T12:00:00Z",
            "leftAt": "2026-03-01T12:30:00Z", "externalId": "crm-118", "userId": "u-1",
            "deviceId": "d-1",
        });
        row[member] = value;
        row
    };
    for member in ["participantId", "displayName", "externalId", "userId", "roleName"] {
        for value in [json!(7), json!(true), json!(null), json!(""), json!(["x"]), json!({"a": 1})]
        {
            let good = row("roleName", json!("visitor"));
            let page = json!({"results": [row(member, value.clone()), good], "cursor": null});
            let mut results = Vec::new();
            for configuration in ["", PSEUDONYMS, HIDDEN] {
                world.configure(configuration);
                let reply = Reply::status(200).json(&page);
                world.simulator.script("GET", "/v1/insights/participants", 1, reply);
                let mut read = read(&world, "work", id(&room, 0)).await;
                for person in read["participants"].as_array_mut().expect("a list") {
                    for member in ["name", "externalId", "participantId"] {
                        person[member] = Value::Null;
                    }
                }
                results.push(read);
            }
            assert_eq!(results[1], results[0], "{member} {value}");
            assert_eq!(results[2], results[0], "{member} {value}");
        }
    }
}

#[tokio::test]
async fn the_choice_is_set_checked_and_shown() {
    let (world, _) = world("").await;
    for (key, account) in [("privacy.participants", None), ("privacy.participants", Some("other"))]
    {
        let set = format!("{key}=pseudonyms");
        let account: Vec<&str> =
            account.map(|name| ["--account", name]).into_iter().flatten().collect();
        let ran = world.run(&[&["configure", "--set", &set], &account[..]].concat()).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let unset = world.run(&[&["configure", "--unset", key], &account[..]].concat()).await;
        assert_eq!(unset.code, 0, "{unset:?}");
    }
    let shown = async || {
        let accounts = world.run(&["accounts", "--json"]).await.json();
        let of = |index: usize| accounts["accounts"][index]["participants"].clone();
        (of(0), of(1))
    };
    assert_eq!(shown().await, (json!("names"), json!("names")));
    let table = world.run(&["accounts"]).await;
    assert!(!table.stdout.contains("names"), "{table:?}");
    let doctor = world.run(&["doctor"]).await;
    assert!(!doctor.stdout.contains("people in meetings"), "{doctor:?}");

    let set = ["configure", "--account", "other", "--set", "privacy.participants=hidden"];
    assert_eq!(world.run(&set).await.code, 0);
    // `accounts` is sorted by name.
    assert_eq!(shown().await, (json!("hidden"), json!("names")));
    let table = world.run(&["accounts"]).await;
    assert!(table.stdout.contains("hidden") && table.stdout.contains("names"), "{table:?}");
    let doctor = world.run(&["doctor"]).await;
    assert!(doctor.stdout.contains("people in meetings: hidden"), "{doctor:?}");
    assert!(!doctor.stdout.contains("people in meetings: names"), "{doctor:?}");
    let help = world.run(&["configure", "--help"]).await;
    assert!(help.stdout.contains("privacy.participants"), "{help:?}");

    for (configuration, expected) in [
        ("[privacy]\nparticipants = \"nobody\"\n", "\"names\", \"pseudonyms\" or \"hidden\""),
        ("[privacy]\nparticipants = true\n", "a string in quotes"),
        ("[privacy]\nparticipant = \"names\"\n", "did you mean `participants`"),
        ("privacy = \"names\"\n", "must be a table"),
    ] {
        world.configure(configuration);
        let ran = world.run(&["call", "list_rooms"]).await;
        assert_eq!(ran.code, 3, "{configuration}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{configuration}: {ran:?}");
        world.configure("");
        world.write("project/.whereby.toml", configuration);
        let ran = world.run(&["call", "list_rooms"]).await;
        assert_eq!(ran.code, 3, "{configuration}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{configuration}: {ran:?}");
        world.write("project/.whereby.toml", "");
    }
    let tight = "[accounts.work]\naccess_token = \"x\"\n";
    world.write("project/.whereby.toml", tight);
    let ran = world.run(&["call", "list_rooms"]).await;
    assert!(ran.stderr.contains("accounts.NAME.participants"), "{ran:?}");
}
