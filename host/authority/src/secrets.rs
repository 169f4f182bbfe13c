//! Masks secrets in arguments and results, wherever a call is shown or recorded.
//!
//! The WIT marks secrets (`Secret.`). A value is masked if its position in a function's arguments or
//! result is secret. Without a known position, it is masked if its name is secret in any function.

use crate::prelude::*;
use crate::request::ESCAPED;
use crate::url::{Position, Url};
use alloc::collections::{BTreeMap, BTreeSet};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;
use whereby_catalog::{FUNCTIONS, Function, Member, Secret, Type, secret};

/// Replaces a secret.
const MASK: &str = "***";

/// The maximum length of a shown segment of a stream's path, in bytes. A longer one may be a key.
const LONGEST_SHOWN: usize = 20;

/// Returns a value of unknown origin, such as unchecked arguments or a message, with its secrets masked.
/// Every name that is secret in any function is masked, wherever it is.
///
/// Each mask has a fingerprint, the first 16 hexadecimal digits of a SHA-256, so that two secrets look
/// different: `***(3f9a1c0d5e7b2846)`.
#[must_use]
pub fn masked(value: &Value) -> Value {
    let mut shown = value.clone();
    mask_anywhere(&mut shown);
    shown
}

/// Returns the checked arguments of a function with their secrets masked.
pub fn masked_arguments(function: &Function, arguments: &Value) -> Value {
    let mut shown = arguments.clone();
    mask_members(function.params, &mut shown);
    shown
}

/// Returns the result of a function with its secrets masked.
pub fn masked_result(function: &Function, result: &Value) -> Value {
    let mut shown = result.clone();
    mask_typed(&function.result, None, &mut shown);
    shown
}

/// The limits of [`outline`].
const OUTLINE_DEPTH: usize = 6;
const OUTLINE_MEMBERS: usize = 20;

/// Returns the outline of invalid arguments, in which any string may be a secret: names, numbers and
/// booleans, with every string masked.
pub fn outline(arguments: &Value) -> Value {
    fn left_out(members: usize) -> Option<String> {
        let rest = members.saturating_sub(OUTLINE_MEMBERS);
        (rest > 0).then(|| format!("… {rest} more"))
    }
    fn within(value: &Value, depth: usize) -> Value {
        match value {
            Value::Array(_) | Value::Object(_) if depth == OUTLINE_DEPTH => "…".into(),
            Value::Array(items) => {
                let shown = items.iter().take(OUTLINE_MEMBERS).map(|item| within(item, depth + 1));
                shown.chain(left_out(items.len()).map(Value::from)).collect()
            }
            Value::Object(object) => {
                let members = object.iter().take(OUTLINE_MEMBERS);
                let shown = |(name, value): (&String, &Value)| {
                    (crate::text::printable(name, 40), within(value, depth + 1))
                };
                let rest = left_out(object.len()).map(|rest| ("…".to_owned(), rest.into()));
                Value::Object(members.map(shown).chain(rest).collect())
            }
            Value::String(_) => MASK.into(),
            other => other.clone(),
        }
    }
    within(arguments, 0)
}

/// Returns the secrets in checked arguments, to remove them from text that quotes them.
pub fn secrets_of(function: &Function, arguments: &Value) -> Vec<String> {
    fn collect(given: &Value, shown: &Value, found: &mut Vec<String>) {
        match (given, shown) {
            // Masking keeps the members and their order.
            (Value::Object(given), Value::Object(shown)) => {
                debug_assert!(given.keys().eq(shown.keys()));
                let both = given.values().zip(shown.values());
                both.for_each(|(given, shown)| collect(given, shown, found));
            }
            (Value::Array(given), Value::Array(shown)) => {
                given.iter().zip(shown).for_each(|(given, shown)| collect(given, shown, found));
            }
            (Value::String(given), shown) if given.as_str() != shown => found.push(given.clone()),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(arguments, &masked_arguments(function, arguments), &mut found);
    // A server may quote a part of a stream's URL: its path with the key, or the key alone.
    let parts = |secret: &String| {
        let url = secret.contains("://").then(|| Url::parse(secret).ok()).flatten()?;
        let key = url.path().rsplit('/').next().unwrap_or_default().to_owned();
        let query = url.query().unwrap_or_default().to_owned();
        Some([url.path().trim_start_matches('/').to_owned(), key, query])
    };
    let parts: Vec<String> = found.iter().filter_map(parts).flatten().collect();
    // A shorter part occurs in unrelated text.
    found.extend(parts.into_iter().filter(|part| part.len() >= SHORTEST_PART));
    found
}

/// The minimum length of a part of a secret that is masked by itself, in bytes.
const SHORTEST_PART: usize = 6;

/// Returns a string with the secrets of a call's arguments masked.
pub fn without(secrets: &[String], text: &str) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| {
        // A server may quote them as they are, escaped for JSON, or percent-encoded.
        let quoted = Value::from(secret.as_str()).to_string();
        let quoted = quoted.trim_matches('"');
        let encoded = utf8_percent_encode(secret, ESCAPED).to_string();
        text.replace(&quoted.replace('/', "\\/"), MASK)
            .replace(quoted, MASK)
            .replace(&encoded, MASK)
            .replace(secret.as_str(), MASK)
    })
}

/// The names that are secret in any function, without case and separators.
struct Names {
    /// Members whose whole value is secret; true for a URI.
    whole: BTreeMap<String, bool>,
    /// Secret parameters of a URL's query.
    query: BTreeSet<&'static str>,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let mut names = Names { whole: BTreeMap::new(), query: BTreeSet::new() };
    for function in FUNCTIONS {
        for position in secret::arguments(function).into_iter().chain(secret::result(function)) {
            match position.secret {
                Secret::Whole => {
                    // If a name occurs twice, the stricter mask applies.
                    let is_uri = is_uri(position.member);
                    let known = names.whole.entry(plain(position.member.json)).or_insert(is_uri);
                    *known &= is_uri;
                }
                Secret::Query(name) => {
                    names.query.insert(name);
                }
            }
        }
    }
    // The parameter's value may also be a member by itself.
    names.whole.extend(names.query.iter().map(|name| (plain(name), false)));
    names
});

/// Removes case and separators: `accesskeysecret` for `accessKeySecret` and `access_key_secret`.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn is_uri(member: &Member) -> bool {
    member.facts.formats.contains(&"uri")
}

/// Masks the secrets of a value whose position is unknown.
fn mask_anywhere(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match NAMES.whole.get(&plain(name)) {
                    // `{"hostRoomUrl": true}` requests a secret and contains none.
                    Some(is_uri) if !value.is_boolean() => mask_whole(*is_uri, value),
                    _ => mask_anywhere(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask_anywhere),
        Value::String(text) => NAMES.query.iter().for_each(|name| mask_query(name, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Masks the secrets of an object that has these members.
fn mask_members(members: &[Member], value: &mut Value) {
    let Value::Object(object) = value else { return mask_anywhere(value) };
    for (name, value) in object {
        match members.iter().find(|member| member.json == name) {
            Some(member) => match member.facts.secret {
                Some(Secret::Whole) => mask_whole(is_uri(member), value),
                Some(Secret::Query(name)) => mask_typed(&member.ty, Some(name), value),
                None => mask_typed(&member.ty, None, value),
            },
            None => mask_named(name, value),
        }
    }
}

/// Masks a member that is not in the type.
fn mask_named(name: &str, value: &mut Value) {
    let mut object = Value::Object([(name.to_owned(), value.take())].into_iter().collect());
    mask_anywhere(&mut object);
    *value = object[name].take();
}

/// Masks the secrets of a value of a type. If the value is a URL, `query` is its secret parameter.
fn mask_typed(ty: &Type, query: Option<&str>, value: &mut Value) {
    match (ty, value) {
        (_, Value::Null | Value::Bool(_) | Value::Number(_)) => {}
        (Type::Option(inner), value) => mask_typed(inner, query, value),
        (Type::List(inner), Value::Array(items)) => {
            items.iter_mut().for_each(|item| mask_typed(inner, query, item));
        }
        (Type::Record(record), value @ Value::Object(_)) => mask_members(record.members, value),
        (Type::Variant(variant), Value::Object(object)) => {
            for (name, value) in object {
                let case = variant.cases.iter().find(|case| case.json == name);
                match case.and_then(|case| case.payload.as_ref()) {
                    Some(payload) => mask_typed(payload, None, value),
                    None => mask_named(name, value),
                }
            }
        }
        (Type::String, Value::String(text)) => {
            if let Some(name) = query {
                mask_query(name, text);
            }
        }
        // The name of a case, or a value of another type.
        (_, value) => mask_anywhere(value),
    }
}

/// Masks a value whose whole is secret.
fn mask_whole(is_uri: bool, value: &mut Value) {
    let mask = match &*value {
        Value::Null => return,
        Value::String(text) if is_uri => masked_url(text),
        Value::String(text) => masked_text(text),
        other => masked_text(&other.to_string()),
    };
    *value = mask.into();
}

/// Masks the value after `name=` in a string, as in the query of a URL.
fn mask_query(name: &str, text: &mut String) {
    let before = format!("{name}=").to_ascii_lowercase();
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '&' | '#' | '<' | '>');
    let lower = text.to_ascii_lowercase();
    let (mut shown, mut from) = (String::new(), 0);
    while let Some(at) = lower[from..].find(&before) {
        let start = from + at + before.len();
        let end = text[start..].find(is_end).map_or(text.len(), |end| start + end);
        shown.push_str(&text[from..start]);
        // A mask is not masked again.
        match &text[start..end] {
            mask if is_mask(mask) => shown.push_str(mask),
            secret => shown.push_str(&masked_text(secret)),
        }
        from = end;
    }
    if from > 0 {
        shown.push_str(&text[from..]);
        *text = shown;
    }
}

/// Whether a string is a mask.
fn is_mask(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(MASK) else { return false };
    let digits = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    rest.is_empty()
        || digits.is_some_and(|digits| {
            digits.bytes().all(|c| c.is_ascii_hexdigit()) && digits.len() == DIGITS
        })
}

/// The number of hexadecimal digits of a fingerprint.
const DIGITS: usize = 16;

/// Returns a mask with the fingerprint of a secret.
fn masked_text(secret: &str) -> String {
    let digest = Sha256::new_with_prefix("whereby secret\0").chain_update(secret).finalize();
    let digits: String = digest.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect();
    format!("{MASK}({digits})")
}

/// Masks the key in a stream's URL and keeps the server, which a person decides by.
fn masked_url(text: &str) -> String {
    let masked = |url: &Url| {
        let server = &url[Position::BeforeHost..Position::AfterPort];
        let server = Some(server).filter(|server| !server.is_empty())?;
        let mut shown = format!("{}://{server}", url.scheme());
        let folders = url.path().rsplit_once('/').map_or("", |(folders, _)| folders);
        for part in folders.split('/').skip(1) {
            let is_short = part.len() <= LONGEST_SHOWN;
            shown.push('/');
            shown.push_str(&if is_short { part.to_owned() } else { masked_text(part) });
        }
        // The fingerprint covers the whole URL: its user and its query may be secrets too.
        Some(format!("{shown}/{}", masked_text(text)))
    };
    Url::parse(text).ok().and_then(|url| masked(&url)).unwrap_or_else(|| masked_text(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn create_room() -> &'static Function {
        whereby_catalog::function("create_room").expect("a function")
    }

    #[test]
    fn an_outline_has_no_strings() {
        let deep: Value = (0..200).fold(json!("s3cret"), |inner, _| json!([inner]));
        let arguments = json!({
            "fields": [{"streaming": "rtmp://a.example/live/s3cret"}, "{\"accessKeySecret\":\"s3cret\"}"],
            "limit": 7, "x": true, "y": null, "deep": deep, "many": vec!["s3cret"; 1000],
        });
        let shown = outline(&arguments);
        assert!(!shown.to_string().contains("s3cret"), "{shown}");
        assert!(shown.to_string().len() < 1000, "{shown}");
        assert_eq!(
            (&shown["limit"], &shown["x"], &shown["y"]),
            (&json!(7), &json!(true), &Value::Null)
        );
        assert_eq!(shown["fields"][0], json!({"streaming": "***"}));
        // Omitted members are counted.
        assert_eq!(shown["many"][20], "… 980 more");
        let many: serde_json::Map<_, _> = (0..21).map(|n| (n.to_string(), json!(n))).collect();
        assert_eq!(outline(&many.into())["…"], "… 1 more");
    }

    #[test]
    fn secrets_are_removed_from_text_that_quotes_them() {
        let arguments = json!({"fields": [
            {"recording": {"destination": {"accessKeySecret": "a\"b/c", "bucket": "plain"}}},
            {"streaming": {"destination": {"url": "rtmp://a.example/live/s3cret"}}},
        ]});
        let secrets = secrets_of(create_room(), &arguments);
        let expected = ["a\"b/c", "rtmp://a.example/live/s3cret", "live/s3cret", "s3cret"];
        assert_eq!(secrets, expected);
        let text = "bad: a\"b/c, a\\\"b/c, a\\\"b\\/c in plain, rtmp://a.example/live/s3cret";
        assert_eq!(without(&secrets, text), "bad: ***, ***, *** in plain, ***");
        assert_eq!(without(&secrets, "the key s3cret of /live/s3cret"), "the key *** of /***");
    }

    #[test]
    fn secrets_are_masked_and_the_rest_is_kept() {
        let arguments = json!({
            "room_mode": "group",
            "cursor": "https://a.example/x?roomKey=s3cret",
            "fields": [
                "hostRoomUrl",
                {"recording": {"type": "cloud", "destination": {"accessKeyId": "id", "accessKeySecret": "s3cret"}}},
                {"streaming": {"destination": {"url": "rtmp://a.example/live/s3cret"}, "startTrigger": "none"}},
            ],
        });
        let shown = masked(&arguments);
        let by_position = masked_arguments(create_room(), &arguments);
        assert_eq!(by_position, shown, "a cursor that create_room does not have is masked too");
        assert!(!shown.to_string().contains("s3cret"), "{shown}");
        assert_eq!(shown["fields"][1]["recording"]["destination"]["accessKeyId"], "id");
        let streaming = &shown["fields"][2]["streaming"];
        assert_eq!(streaming["startTrigger"], "none");
        assert_eq!(streaming["destination"]["url"], "rtmp://a.example/live/***(44df6de503ffcebb)");
        assert_eq!(shown["room_mode"], "group");
        assert_eq!(masked(&shown["cursor"]), shown["cursor"], "a mask stays as it is");
    }

    #[test]
    fn different_secrets_look_different_and_a_streams_server_is_shown() {
        let shown = |url: &str| {
            let shown = masked(&json!({"streaming": {"url": url}}));
            shown["streaming"]["url"].as_str().expect("a string").to_owned()
        };
        for (url, place) in [
            ("rtmp://a.example/live2/key", "rtmp://a.example/live2/***("),
            ("rtmps://a.example:443/a/b/key?bl=1", "rtmps://a.example:443/a/b/***("),
            ("rtmp://user:pass@a.example/x/key", "rtmp://a.example/x/***("),
            ("rtmp://a.example/0123456789abcdefghijk/key", "rtmp://a.example/***("),
            ("rtmp://a.example/key", "rtmp://a.example/***("),
            ("rtmp://a.example", "rtmp://a.example/***("),
            ("rtmp:a.example/key", "***("),
            ("//a.example/key", "***("),
        ] {
            assert!(shown(url).starts_with(place), "{url}: {}", shown(url));
            assert!(!shown(url).contains("key") && !shown(url).contains("pass"), "{url}");
        }
        assert_ne!(shown("rtmp://a.example/live/one"), shown("rtmp://a.example/live/two"));
        assert_ne!(shown("rtmp://a.example/live/key"), shown("rtmp://a.example/live/key?x=1"));
        assert_eq!(shown("rtmp://a.example/live/one"), shown("rtmp://a.example/live/one"));
        let key = |secret: &str| masked(&json!({"accessKeySecret": secret}));
        assert_ne!(key("one"), key("two"));
    }

    #[test]
    fn a_value_whose_position_is_not_secret_is_shown() {
        let bucket = |bucket: &str| {
            let destination = json!({"provider": "s3", "bucket": bucket});
            json!({"fields": [{"recording": {"type": "cloud", "destination": destination}}]})
        };
        let arguments = bucket("roomKey=bucket");
        assert_eq!(masked_arguments(create_room(), &arguments), arguments, "it is not a URL");
        let name = json!({"room_name": "https://a.example/x?roomKey=key&y#z", "limit": 3});
        let function = whereby_catalog::function("list_meetings").expect("a function");
        let shown = masked_arguments(function, &name);
        assert!(shown["room_name"].as_str().is_some_and(|text| text.ends_with("&y#z")), "{shown}");
        assert!(!shown.to_string().contains("key&"), "{shown}");
        // In any letter case, and in a message.
        for text in
            ["a?ROOMKEY=s3cret", "roomKey=***s3cret", "roomKey=***roomKey=s3cret&roomKey=s3cret"]
        {
            assert!(
                !masked(&json!(text)).to_string().contains("s3cret"),
                "{}",
                masked(&json!(text))
            );
        }
    }

    #[test]
    fn a_value_of_another_type_is_masked_by_name() {
        for arguments in [
            json!({"accessKeySecret": "s3cret"}),
            json!({"access_key_secret": "s3cret", "fields": []}),
            json!({"room_mode": {"accessKeySecret": "s3cret"}}),
            json!({"fields": {"streaming": {"destination": {"url": "rtmp://a/s3cret"}}}}),
            json!({"fields": [{"streaming": [{"url": "rtmp://a/s3cret"}]}]}),
            json!({"fields": [{"unknown": {"URL": "rtmp://a/s3cret"}}]}),
            json!({"fields": [{"recording": {"destination": {"accessKeySecret": {"x": "s3cret"}}}}]}),
            json!([{"roomKey": ["s3cret"]}]),
        ] {
            for shown in [masked(&arguments), masked_arguments(create_room(), &arguments)] {
                assert!(!shown.to_string().contains("s3cret"), "{shown}");
            }
        }
        let asked = json!({"fields": [{"hostRoomUrl": true}, "viewerRoomUrl"]});
        assert_eq!(masked(&asked), asked);
        assert_eq!(masked_arguments(create_room(), &asked), asked);
    }

    #[test]
    fn a_result_is_masked_by_position() {
        let result = json!({
            "roomName": "daily", "meetingUrl": "https://acme.whereby.com/daily",
            "hostRoomUrl": "https://acme.whereby.com/daily?roomKey=s3cret", "viewerRoomUrl": null,
        });
        let shown = masked_result(create_room(), &result);
        assert!(!shown.to_string().contains("s3cret"), "{shown}");
        let url = shown["hostRoomUrl"].as_str().expect("a string");
        assert!(url.starts_with("https://acme.whereby.com/***("), "{shown}");
        assert_eq!(shown["meetingUrl"], result["meetingUrl"]);
        assert!(shown["viewerRoomUrl"].is_null());
    }
}
