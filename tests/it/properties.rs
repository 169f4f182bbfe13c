//! What holds for any arguments, names and texts.

use crate::secrecy::marked;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use whereby::catalog::{FUNCTIONS, Function, Secret};
use whereby::{Account, ApiBase, Call, Plan, Session, Settings, TokenSource, schema, text};

/// A session that can plan and never sends anything.
static SESSION: LazyLock<Session> = LazyLock::new(|| {
    let mut settings = Settings::default();
    let account = Account::new(TokenSource::literal("token"), ApiBase::default());
    settings.accounts.insert("work".into(), account);
    Session::builder().settings(settings).build().expect("a session")
});

fn plan(function: &str, arguments: Value) -> Result<Plan, whereby::Error> {
    SESSION.plan(Call::new(function, arguments))
}

/// A row of numbers by which choices are made, so that a failing case shrinks.
struct Choices(std::vec::IntoIter<u16>);

impl Choices {
    fn below(&mut self, count: usize) -> usize {
        usize::from(self.0.next().unwrap_or(0)) % count.max(1)
    }
}

fn choices() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 0..60)
}

/// A value that a schema of arguments allows.
fn value_of(schema: &Value, name: &str, choices: &mut Choices) -> Value {
    if let Some(words) = schema["enum"].as_array() {
        return words[choices.below(words.len())].clone();
    }
    match schema["type"].as_str().expect("a type") {
        "boolean" => Value::Bool(choices.below(2) == 0),
        "integer" => {
            let (low, high) = (schema["minimum"].as_u64(), schema["maximum"].as_u64());
            let (low, high) = (low.expect("a bound"), high.expect("a bound"));
            Value::from(low + choices.below((high - low + 1) as usize) as u64)
        }
        "array" => {
            let most = schema["maxItems"].as_u64().unwrap_or(4).min(4) as usize;
            let count = choices.below(most + 1);
            // No item of `fields` may be given twice, and none be empty, which a schema cannot say.
            let mut words = Vec::new();
            let mut items: Vec<Value> =
                (0..count).map(|_| value_of(&schema["items"], name, choices)).collect();
            for item in items.iter_mut().filter_map(Value::as_object_mut) {
                item.retain(|word, _| {
                    let word = word.replace("isLocked", "lockRoomOnJoin");
                    let is_new = !words.contains(&word);
                    words.push(word);
                    is_new
                });
            }
            items.retain(|item| *item != json!({}));
            Value::from(items)
        }
        "object" => {
            let mut object = Map::new();
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            for (name, property) in schema["properties"].as_object().expect("properties") {
                if required.contains(&json!(name)) || choices.below(2) == 0 {
                    object.insert(name.clone(), value_of(property, name, choices));
                }
            }
            Value::Object(object)
        }
        _ => text_of(schema, name, choices),
    }
}

/// A text that a schema allows; of a room, a meeting or a date, one that names one.
fn text_of(schema: &Value, name: &str, choices: &mut Choices) -> Value {
    let pick = |from: &[&str], choices: &mut Choices| Value::from(from[choices.below(from.len())]);
    if name == "room_name" {
        let url = "https://acme.whereby.com/Daily?roomKey=x";
        return pick(&["daily", "/daily", " DAILY-1 ", url, "0", "-"], choices);
    }
    if name == "url" {
        return pick(&["rtmp://a.example/live/key", "rtmps://a.example:443/a?key=x"], choices);
    }
    if name == "room_name_prefix" {
        return pick(&["", "standup-", "Stand Up-", "0"], choices);
    }
    if name == "meeting_id" {
        let session = "7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10";
        let with_room = format!("/Daily:{session}");
        return pick(&[session, &with_room, "daily:1"], choices);
    }
    if ["from_date", "to_date"].contains(&name) {
        return pick(&["2026-03-01", "2026-03-01T09:00:00Z", "0001-01-01", "9999-12-31"], choices);
    }
    // An end is later than a start, which a schema cannot say.
    if name == "end_date" {
        return pick(&["2099-04-02T09:00:00Z", "2099-04-02T09:00:00.5+05:30"], choices);
    }
    if schema["format"] == "date-time" {
        let dates = ["2099-03-02T09:00:00Z", "2099-03-02T09:00:00.5+05:30", "2099-03-02T09:00:00"];
        return pick(&dates, choices);
    }
    let least = schema["minLength"].as_u64().unwrap_or(0) as usize;
    let most = schema["maxLength"].as_u64().unwrap_or(50).min(50) as usize;
    let length = least + choices.below(most - least + 1);
    let alphabet = ['a', 'Z', '0', '-', ' ', '/', '"', '\\', 'ä', '会', '\u{202e}', '𝄞'];
    (0..length).map(|_| alphabet[choices.below(alphabet.len())]).collect::<String>().into()
}

/// Any JSON, some of it with names and words that are known.
fn any_json() -> impl Strategy<Value = Value> {
    let words: Vec<&str> = FUNCTIONS
        .iter()
        .flat_map(|function| function.params.iter().map(|param| param.json))
        .chain(["recording", "type", "cloud", "destination", "url", "hostRoomUrl", "streaming"])
        .collect();
    let word = prop_oneof![prop::sample::select(words).prop_map(str::to_owned), any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn function() -> impl Strategy<Value = &'static Function> {
    (0..FUNCTIONS.len()).prop_map(|index| &FUNCTIONS[index])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_schema_allows_is_taken(function in function(), numbers in choices()) {
        let schema = schema::arguments(function);
        let arguments = value_of(&schema, "", &mut Choices(numbers.into_iter()));
        let planned = plan(function.json, arguments.clone());
        prop_assert!(planned.is_ok(), "{arguments}: {:?}", planned.err());
        // The normal form is its own normal form.
        if let Ok(planned) = planned && planned.arguments.to_string().find("***").is_none() {
            let again = plan(function.json, planned.arguments.clone()).expect("the normal form");
            prop_assert_eq!(again.arguments.to_string(), planned.arguments.to_string());
        }
    }

    #[test]
    fn what_the_schema_does_not_allow_is_refused(
        function in function(), numbers in choices(), how in 0_usize..4, which in any::<usize>(),
        extra in "[a-z_]{1,12}x",
    ) {
        let schema = schema::arguments(function);
        let mut arguments = value_of(&schema, "", &mut Choices(numbers.into_iter()));
        let names: Vec<&str> = function.params.iter().map(|param| param.json).collect();
        match how {
            0 => arguments[extra] = json!(1),
            _ if names.is_empty() => arguments = json!([arguments]),
            1 => arguments[names[which % names.len()]] = json!({"unknown": 1}),
            2 => arguments[names[which % names.len()]] = json!(true),
            _ => arguments = json!([arguments]),
        }
        let refused = plan(function.json, arguments.clone()).err();
        let kind = refused.as_ref().map(whereby::Error::kind);
        prop_assert_eq!(kind, Some("invalid-argument"), "{} {}", function.json, arguments);
    }

    #[test]
    fn any_json_is_planned_or_refused_in_words(function in function(), arguments in any_json()) {
        if let Err(error) = plan(function.json, arguments) {
            prop_assert_eq!(error.kind(), "invalid-argument");
            prop_assert!(!error.to_string().chars().any(char::is_control), "{error}");
        }
    }

    #[test]
    fn any_text_is_a_room_s_name_or_is_refused(name in any::<String>()) {
        let url = format!("https://acme.whereby.com/{name}");
        for text in [name.clone(), url, format!("https://{name}"), name.to_uppercase()] {
            if let Ok(planned) = plan("get_room", json!({"room_name": text})) {
                let normal = planned.arguments["room_name"].as_str().expect("a text").to_owned();
                prop_assert!(!normal.trim().is_empty(), "{normal}");
                prop_assert!(!normal.contains(|c: char| c.is_ascii_uppercase()), "{normal}");
                if let Some(url) = normal.strip_prefix("https://") {
                    // Nobody signs in by a room's URL, and there is no key in it.
                    let is_odd = |c: char| c.is_control() || matches!(c, ':' | '?' | '#' | '@');
                    prop_assert!(!url.contains(is_odd), "{normal}");
                    let (host, name) = url.split_once('/').expect("a name");
                    prop_assert!(!host.is_empty() && !name.is_empty(), "{normal}");
                    prop_assert!(!name.contains('/'), "{normal}");
                }
                let again = plan("get_room", json!({"room_name": normal})).expect("it is a name");
                prop_assert_eq!(&again.arguments["room_name"], &json!(normal));
            }
        }
    }

    #[test]
    fn any_text_is_planned_as_any_argument_or_refused(text in any::<String>()) {
        for function in FUNCTIONS {
            for param in function.params {
                let _ = plan(function.json, json!({param.json: text}));
            }
        }
        let _ = plan(&text, json!({}));
        let _ = SESSION.plan(Call::new("list_rooms", json!({})).account(Some(&text)));
        let _ = ApiBase::parse(&text);
    }

    #[test]
    fn a_printable_text_has_nothing_that_acts_on_a_terminal(given in any::<String>(), most in 0_usize..50) {
        let printed = text::printable(&given, most);
        prop_assert!(!printed.chars().any(char::is_control), "{printed:?}");
        let lines = text::printable_lines(&given);
        prop_assert!(!lines.chars().any(|c| c.is_control() && c != '\n'), "{lines:?}");
        // What is plain stays as it is.
        let plain: String = given.chars().filter(char::is_ascii_graphic).collect();
        prop_assert_eq!(text::printable(&plain, usize::MAX), plain);
    }

    #[test]
    fn the_value_of_a_secret_member_never_appears(
        which in any::<usize>(), secret in "[A-Z]{12}", numbers in choices(), twice in any::<bool>(),
    ) {
        let positions = marked::positions();
        let (function, position) = &positions[which % positions.len()];
        let schema = schema::arguments(function);
        let mut arguments = value_of(&schema, "", &mut Choices(numbers.into_iter()));
        let value = marked::value_with(position, &secret);
        let value = if twice { json!([value.clone(), value]) } else { value };
        marked::place(function, &mut arguments, &position.path, value);
        let call = Call::new(function.json, arguments.clone());
        let planned = SESSION.plan(call.clone());
        let shown = match &planned {
            Ok(plan) => format!("{plan:?} {}", plan.to_json()),
            Err(error) => format!("{error:?} {error}"),
        };
        let shown = format!("{shown} {call:?} {}", whereby::masked(&arguments));
        prop_assert!(!shown.contains(&secret), "{shown}");
        // Wherever else its name may be, also where the function is not known.
        let astray = json!({"x": [{position.member.json: [secret]}], "room_mode": {"url": secret}});
        let shown = whereby::masked(&astray).to_string();
        let is_hidden = position.secret != Secret::Whole || !shown.contains(&secret);
        prop_assert!(is_hidden, "{shown}");
        let shown = format!("{:?} {:?}", Call::new("nothing", astray.clone()), plan(function.json, astray));
        prop_assert!(position.secret != Secret::Whole || !shown.contains(&secret), "{shown}");
    }
}
