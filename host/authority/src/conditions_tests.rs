use super::*;
use crate::arguments::Arguments;
use crate::policy::Permission::{Allow, Ask, Deny};
use crate::policy::{
    AgentRules, Entry, Permission, Policy, Restrictions, Stated, Subject, Verdict,
};
use proptest::prelude::*;
use serde_json::json;
use whereby_catalog::Function;

fn now() -> Timestamp {
    Timestamp::parse("2026-03-01T12:00:00Z").expect("a time")
}

fn function(name: &str) -> &'static Function {
    whereby_catalog::function(name).expect("a function")
}

/// What every function can be called with.
fn arguments(function: &Function) -> Value {
    match function.json {
        "get_room" | "delete_room" | "list_meetings" => json!({"room_name": "bot-1"}),
        "get_meeting" => json!({"meeting_id": "bot-1:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10"}),
        "create_room" => json!({"room_name_prefix": "bot-", "end_date": "2026-03-01T13:00:00Z"}),
        _ => json!({}),
    }
}

fn scope(function: &'static Function, arguments: Value) -> Scope {
    let arguments = Arguments::check(function, arguments).expect("good arguments");
    FunctionRule::of(function).scope(&arguments, now()).expect("a scope")
}

/// Facts under which every condition of [`samples`] holds for [`arguments`].
fn facts() -> Facts {
    let id = Id::parse("90411275").expect("an id");
    Facts {
        created: Ok(vec![CreatedRoom { id, agent: Some("assistant".into()) }]),
        written: Ok(Written { last_hour: 1, last_day: 1 }),
        ..Facts::at(now(), Some("assistant"))
    }
}

/// For each condition, a value that holds and one that does not.
fn samples(name: &str) -> (Value, Value) {
    match name {
        ROOMS => (json!(["demo-*", "bot-*"]), json!(["demo-*"])),
        // The room of `facts` is this agent's; `without_rooms` is for the other case.
        CREATED_BY => (json!("agent"), json!("agent")),
        ROOM_MODES => (json!(["normal"]), json!(["group"])),
        MAX_DURATION => (json!("1h"), json!("59m")),
        FIELDS => (json!([]), json!([])),
        MAX_PER_HOUR | MAX_PER_DAY => (json!(2), json!(1)),
        VALID_UNTIL => (json!("2026-03-01T12:00:01Z"), json!("2026-03-01T12:00:00Z")),
        other => panic!("{other} has no samples"),
    }
}

/// Makes the conditions whose value is the same not hold.
fn spoil(name: &str, facts: &mut Facts, arguments: &mut Value) {
    match name {
        CREATED_BY => facts.agent = Some("another".into()),
        FIELDS => arguments["fields"] = json!(["hostRoomUrl"]),
        _ => {}
    }
}

/// Where a table can stand.
const PLACES: [&str; 6] = ["all", "account", "agent", "tight", "tight account", "token"];

/// Allows everything, except that one place has an entry of its own.
fn policy_with(place: &str, function: &Function, entry: Entry) -> (Policy, Vec<Restrictions>) {
    let mut policy = Policy::default();
    let allow = Entry::new(Allow, 1);
    for effect in crate::policy::Effect::ALL {
        policy.own.all.effects.insert(effect, allow.clone());
    }
    policy.agents.insert("assistant".into(), AgentRules::default());
    policy.agents.insert("another".into(), AgentRules::default());
    let mut token = Vec::new();
    let mut tight = crate::policy::Rules::default();
    let name = function.json.to_owned();
    match place {
        "all" => drop(policy.own.all.functions.insert(name, entry)),
        "account" => {
            let table = policy.own.accounts.entry("work".into()).or_default();
            table.functions.insert(name, entry);
        }
        "agent" => {
            for agent in policy.agents.values_mut() {
                agent.table.functions.insert(name.clone(), entry.clone());
            }
        }
        "tight" => drop(tight.all.functions.insert(name, entry)),
        "tight account" => {
            tight.accounts.entry("work".into()).or_default().functions.insert(name, entry);
        }
        // A block has no words. Its conditions deny what does not fit.
        _ => token.push(Restrictions { conditions: entry.conditions, ..Restrictions::default() }),
    }
    policy.tightening.push(tight);
    (policy, token)
}

fn entry(name: &str, value: &Value, rule: &FunctionRule, words: (Permission, Permission)) -> Entry {
    let condition = Condition::parse(name, value, Some(rule));
    let condition = condition.unwrap_or_else(|why| panic!("{name} = {value}: {why}"));
    Entry::new(words.0, 7).when(vec![Stated { condition, line: 8 }], words.1)
}

#[test]
fn every_condition_of_every_function_decides_in_every_layer() {
    let mut count = 0;
    for function in whereby_catalog::FUNCTIONS {
        let rule = FunctionRule::of(function);
        for name in rule.conditions {
            for place in PLACES {
                for words in
                    [(Allow, Ask), (Allow, Deny), (Ask, Deny), (Allow, Allow), (Deny, Deny)]
                {
                    for holds in [true, false] {
                        let (good, bad) = samples(name);
                        let value = if holds { good } else { bad };
                        let entry = entry(name, &value, rule, words);
                        let (policy, token) = policy_with(place, function, entry);
                        let (mut facts, mut arguments) = (facts(), arguments(function));
                        if !holds {
                            spoil(name, &mut facts, &mut arguments);
                        }
                        let agent = facts.agent.clone();
                        let subject = Subject {
                            agent: agent.as_deref(),
                            token: &token,
                            ..Subject::of("work", function)
                        };
                        let scope = scope(function, arguments);
                        let verdict = policy.decide(subject, false, &scope, &facts);
                        let words = if place == "token" { (Allow, Deny) } else { words };
                        let expected = if holds { words.0 } else { words.1 };
                        let what = format!("{} {name} {place} {words:?} {holds}", function.json);
                        assert_eq!(verdict.permission, expected, "{what}");
                        let is_relied_on = holds && words.1 > words.0;
                        assert_eq!(verdict.relies_on.len(), usize::from(is_relied_on), "{what}");
                        if !holds && words.1 > Allow {
                            assert!(verdict.rule.key.ends_with(name), "{what}: {}", verdict.rule);
                            let unmet = verdict.rule.unmet.as_ref().expect("a reason");
                            assert!(!unmet.reason.is_empty() && unmet.value == value, "{what}");
                        }
                        count += 1;
                    }
                }
            }
        }
        // The reader of the configuration refuses conditions that a function does not have.
        for kind in &KINDS {
            let has = rule.conditions.contains(&kind.name);
            let writes = rule.effect == crate::policy::Effect::Write;
            match kind.name {
                VALID_UNTIL => assert!(has, "{}", rule.name),
                MAX_PER_HOUR | MAX_PER_DAY => assert_eq!(has, writes, "{}", rule.name),
                _ => {}
            }
        }
    }
    assert!(count > 900, "{count}");
}

#[test]
fn a_call_without_a_room_or_with_unknown_facts_does_not_hold() {
    let all = function("list_meetings");
    let cases = [
        ("list_meetings", json!({}), ROOMS, "the call names no room"),
        ("list_meetings", json!({}), CREATED_BY, "the call names no room"),
        (
            "get_meeting",
            json!({"meeting_id": "7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10"}),
            ROOMS,
            "the call names no room",
        ),
        ("create_room", json!({}), ROOMS, "the call gives no room_name_prefix"),
        ("create_room", json!({"room_name_prefix": "bo"}), ROOMS, "would begin with `bo`"),
        ("create_room", json!({}), MAX_DURATION, "the room would end by default in 1d"),
        ("create_room", json!({"fields": ["viewerMode"]}), ROOM_MODES, "the room's mode is group"),
        ("get_room", json!({"room_name": " bot-1"}), ROOMS, "the room's name is ` bot-1`"),
        ("get_room", json!({"room_name": "other"}), ROOMS, "the room's name is `other`"),
    ];
    for (name, arguments, condition, words) in cases {
        let function = function(name);
        let (value, _) = samples(condition);
        let rule = FunctionRule::of(function);
        let condition = Condition::parse(condition, &value, Some(rule)).expect("a condition");
        let why = condition.unmet(&scope(function, arguments), &facts()).expect(words);
        assert!(why.contains(words), "{why}");
    }
    let nothing = Facts::at(now(), None);
    for (name, value) in
        [(CREATED_BY, json!("host")), (MAX_PER_DAY, json!(5)), (MAX_PER_HOUR, json!(5))]
    {
        let condition = Condition::parse(name, &value, None).expect("a condition");
        let scope = scope(all, json!({"room_name": "bot-1"}));
        let why = condition.unmet(&scope, &nothing).expect("unknown");
        assert!(why.contains("cannot be checked: nothing was looked up"), "{why}");
    }
}

#[test]
fn whose_room_it_is_is_told_apart() {
    let scope = scope(function("get_room"), json!({"room_name": "bot-1"}));
    let room = |agent: Option<&str>| CreatedRoom {
        id: Id::parse("1").expect("an id"),
        agent: agent.map(str::to_owned),
    };
    for (creator, agent, rooms, holds) in [
        (Creator::Agent, Some("a"), vec![room(Some("a"))], true),
        (Creator::Agent, Some("a"), vec![room(Some("b"))], false),
        (Creator::Agent, Some("a"), vec![room(None)], false),
        (Creator::Agent, None, vec![room(None)], true),
        (Creator::Agent, None, vec![room(Some("a"))], false),
        (Creator::Host, None, vec![room(Some("a"))], true),
        (Creator::Host, Some("a"), vec![], false),
    ] {
        let facts = Facts { created: Ok(rooms.clone()), ..Facts::at(now(), agent) };
        let unmet = Condition::CreatedBy(creator).unmet(&scope, &facts);
        assert_eq!(unmet.is_none(), holds, "{creator:?} {agent:?} {rooms:?}");
    }
}

#[test]
fn patterns_have_one_special_character() {
    for (pattern, name, expected) in [
        ("*", "", true),
        ("*", "anything", true),
        ("bot-*", "bot-", true),
        ("bot-*", "Bot-7", true),
        ("bot-*", "robot-7", false),
        ("bot-*", "bot", false),
        ("*-standup", "team-standup", true),
        ("*-standup", "team-standup-2", false),
        ("a*b*c", "abc", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("a*a", "a", false),
        ("ab*ba", "aba", false),
        ("**", "x", true),
        ("a?c", "abc", false),
        ("a?c", "a?c", true),
        ("[a-z]", "b", false),
        ("exact", "exact", true),
        ("exact", "exactly", false),
        ("\u{e4}*", "\u{e4}b", true),
    ] {
        let pattern = Pattern::parse(pattern).expect(pattern);
        assert_eq!(pattern.matches(name), expected, "{pattern:?} {name}");
    }
    for (pattern, words) in [
        ("", "is empty"),
        ("/bot-*", "begins with a slash"),
        ("Bot-*", "write `bot-*`"),
        ("a\nb", "can match no name"),
        (&"a".repeat(201), "longer than 200"),
    ] {
        let error = Pattern::parse(pattern).expect_err(pattern);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_value_that_no_call_could_fit_is_refused() {
    let create = FunctionRule::of(function("create_room"));
    for (name, value, words) in [
        (ROOMS, json!([]), "is empty, so it could never hold"),
        (ROOMS, json!(["bot"]), "write `bot*`"),
        (ROOMS, json!(["*-bot"]), "write `*-bot*`"),
        (ROOMS, json!(["bot_*"]), "contains `_`, which no prefix can contain"),
        (ROOMS, json!([format!("{}*", "a".repeat(40))]), "longer than a prefix can be"),
        (ROOMS, json!([7]), "must be an array of strings"),
        (ROOMS, json!({"a": 1}), "must be an array of strings"),
        (ROOMS, Value::from(vec!["a*"; 101]), "more than 100 items"),
        (CREATED_BY, json!("me"), "must be \"agent\" or \"host\""),
        (ROOM_MODES, json!([]), "is empty"),
        (ROOM_MODES, json!(["groups"]), "did you mean `group`?"),
        (FIELDS, json!(["hostRoomUrls"]), "did you mean `hostRoomUrl`?"),
        (MAX_DURATION, json!("2"), "must be a time such as"),
        (MAX_DURATION, json!("0s"), "must be a time such as"),
        (MAX_DURATION, json!("30m1h"), "must be a time such as"),
        (MAX_DURATION, json!("99999999999d"), "must be a time such as"),
        (MAX_DURATION, json!(7200), "must be a time such as"),
        (MAX_PER_HOUR, json!(0), "must be an integer from 1"),
        (MAX_PER_DAY, json!(-1), "must be an integer from 1"),
        (MAX_PER_DAY, json!(1.5), "must be an integer from 1"),
        (VALID_UNTIL, json!("2026-12-04"), "a date with a time zone"),
        (VALID_UNTIL, json!("2026-12-04T18:00:00"), "a date with a time zone"),
        ("max_per_week", json!(1), "is not a condition"),
    ] {
        let error = Condition::parse(name, &value, Some(create)).expect_err(name);
        assert!(error.contains(words), "{name} {value}: {error}");
    }
}

#[test]
fn a_condition_is_written_as_it_is_read() {
    for (name, value, text) in [
        (ROOMS, json!(["bot-*", "demo-*"]), "rooms: bot-*, demo-*"),
        (CREATED_BY, json!("host"), "created_by: host"),
        (ROOM_MODES, json!(["group"]), "room_modes: group"),
        (FIELDS, json!([]), "fields: none"),
        (MAX_DURATION, json!("1h30m"), "max_duration: 1h30m"),
        (MAX_PER_DAY, json!(10), "max_per_day: 10"),
        (VALID_UNTIL, json!("2026-12-04T18:00:00Z"), "valid_until: 2026-12-04T18:00:00Z"),
    ] {
        let condition = Condition::parse(name, &value, None).expect(name);
        assert_eq!(condition.value(), value);
        assert_eq!(condition.to_string(), text);
        assert_eq!(condition.name(), name);
    }
    let locked = Condition::parse(FIELDS, &json!(["isLocked"]), None).expect("a synonym");
    assert_eq!(locked.value(), json!(["lockRoomOnJoin"]));
    // A single string is read as a list with one item.
    let one = Condition::parse(ROOMS, &json!("bot-*"), None).expect("one");
    assert_eq!(one.value(), json!(["bot-*"]));
}

fn condition() -> impl Strategy<Value = Condition> {
    let pattern = prop_oneof!["[a-c*-]{1,4}", Just("bot-*".to_owned()), Just("*".to_owned())];
    let patterns = prop::collection::vec(pattern, 1..3);
    prop_oneof![
        patterns.prop_map(|texts| Condition::Rooms(
            texts.iter().map(|text| Pattern::parse(text).expect("a pattern")).collect()
        )),
        prop_oneof![Just(Creator::Agent), Just(Creator::Host)].prop_map(Condition::CreatedBy),
        prop::sample::subsequence(vec!["normal", "group"], 1..=2).prop_map(|modes| {
            Condition::RoomModes(modes.iter().map(ToString::to_string).collect())
        }),
        (1_i64..100_000).prop_map(Condition::MaxDuration),
        prop::sample::subsequence(vec!["hostRoomUrl", "viewerMode"], 0..=2)
            .prop_map(|fields| Condition::Fields(fields.iter().map(ToString::to_string).collect())),
        (1_u32..4).prop_map(Condition::MaxPerHour),
        (1_u32..4).prop_map(Condition::MaxPerDay),
        (-3_i64..3).prop_map(|seconds| Condition::ValidUntil(now().plus_seconds(seconds))),
    ]
}

fn word() -> impl Strategy<Value = Permission> {
    prop_oneof![Just(Allow), Just(Ask), Just(Deny)]
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let conditions = prop::collection::vec(condition(), 0..3);
    (word(), word(), conditions).prop_map(|(permission, otherwise, conditions)| {
        let stated = |condition| Stated { condition, line: 1 };
        Entry::new(permission, 1).when(conditions.into_iter().map(stated).collect(), otherwise)
    })
}

fn any_call() -> impl Strategy<Value = (&'static Function, Value)> {
    let room = prop_oneof![Just("bot-1"), Just("a-b"), Just("team"), Just(" bot-1")];
    let calls = (0..whereby_catalog::FUNCTIONS.len(), room, any::<[bool; 3]>());
    calls.prop_map(|(index, room, [host, end, named])| {
        let function = &whereby_catalog::FUNCTIONS[index];
        let mut arguments = arguments(function);
        if let Some(given) = arguments.get_mut("room_name") {
            *given = room.into();
        }
        if function.json == "list_meetings" && !named {
            arguments = json!({});
        }
        if function.json == "create_room" {
            arguments["room_name_prefix"] = room.trim().into();
            if host {
                arguments["fields"] = json!(["hostRoomUrl"]);
            }
            if end {
                arguments.as_object_mut().expect("an object").remove("end_date");
            }
        }
        (function, arguments)
    })
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let written =
        (0_u32..4, 0_u32..4).prop_map(|(last_hour, last_day)| Written { last_hour, last_day });
    let agent = prop::option::of(prop_oneof![Just("assistant"), Just("another")]);
    (prop::option::of(written), any::<bool>(), any::<bool>(), agent).prop_map(
        |(written, known, own, agent)| {
            let mut all = facts();
            all.agent = agent.map(str::to_owned);
            all.written = written.ok_or_else(|| "unknown".into());
            if !own {
                all.created = Ok(Vec::new());
            }
            if !known {
                all.created = Err("unknown".into());
            }
            all
        },
    )
}

fn decide(
    policy: &Policy,
    token: &[Restrictions],
    call: &(&'static Function, Value),
    facts: &Facts,
) -> Verdict {
    let (function, arguments) = call;
    let subject = Subject { agent: facts.agent.as_deref(), token, ..Subject::of("work", function) };
    policy.decide(subject, false, &scope(function, arguments.clone()), facts)
}

/// The meaning of a pattern, slowly.
fn is_match(pattern: &str, name: &str) -> bool {
    match pattern.split_at_checked(1) {
        None => name.is_empty(),
        Some(("*", rest)) => (0..=name.len()).any(|at| is_match(rest, &name[at..])),
        Some((first, rest)) => name.strip_prefix(first).is_some_and(|name| is_match(rest, name)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn another_layer_condition_or_block_never_makes_a_call_freer(
        own in any_entry(), added in any_entry(), more in condition(), place in 0..PLACES.len(),
        call in any_call(), facts in any_facts(),
    ) {
        let (mut policy, token) = policy_with("all", call.0, own.clone());
        let before = decide(&policy, &token, &call, &facts);
        // A condition more in the same table.
        let mut stricter = own.conditions.clone();
        stricter.push(Stated { condition: more.clone(), line: 1 });
        let (tighter, _) = policy_with("all", call.0, Entry::new(own.permission, 1).when(stricter, own.otherwise));
        prop_assert!(decide(&tighter, &token, &call, &facts).permission >= before.permission);
        // A layer or a block more.
        let name = call.0.json.to_owned();
        let mut blocks = token;
        match PLACES[place] {
            "agent" => {
                for agent in policy.agents.values_mut() {
                    agent.table.functions.insert(name.clone(), added.clone());
                }
            }
            "tight" => drop(policy.tightening[0].all.functions.insert(name, added)),
            "tight account" => {
                let table = policy.tightening[0].accounts.entry("work".into()).or_default();
                table.functions.insert(name, added);
            }
            _ => blocks.push(Restrictions { conditions: added.conditions, ..Restrictions::default() }),
        }
        let after = decide(&policy, &blocks, &call, &facts);
        prop_assert!(after.permission >= before.permission, "{:?} {:?}", before, after);
        // What was relied on still is, unless the result is stricter anyway.
        if after.permission == before.permission {
            for condition in &before.relies_on {
                prop_assert!(after.relies_on.contains(condition));
            }
        }
    }

    #[test]
    fn a_pattern_that_a_prefix_guarantees_matches_every_name_with_it(
        pattern in "[ab*-]{1,6}", prefix in "[ab-]{0,5}", rest in "[ab-]{0,6}",
    ) {
        let pattern = Pattern::parse(&pattern).expect("a pattern");
        let name = format!("{prefix}{rest}");
        if pattern.is_guaranteed_by(&prefix) {
            prop_assert!(pattern.matches(&name));
        }
        prop_assert_eq!(pattern.matches(&name), is_match(pattern.as_str(), &name));
    }

    #[test]
    fn a_span_is_read_as_it_is_written(seconds in 1_i64..1_000_000_000, text in "\\PC{0,12}") {
        prop_assert_eq!(parse_span(&span(seconds)), Some(seconds));
        let _ = parse_span(&text);
    }
}
