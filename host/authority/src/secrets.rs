//! Secrets inside arguments, masked wherever arguments are shown or kept.

use crate::request::ESCAPED;
use percent_encoding::utf8_percent_encode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What replaces a secret.
const MASK: &str = "***";

/// The longest part of a stream's path that is shown, in bytes. A longer one may be a key.
const LONGEST_SHOWN: usize = 20;

/// The arguments of a call as they may be shown: access keys, stream keys and room keys masked. Each
/// mask has a fingerprint, the first 16 hexadecimal digits of a SHA-256, so that two secrets look
/// different: `***(3f9a1c0d5e7b2846)`.
#[must_use]
pub fn masked(arguments: &Value) -> Value {
    let mut shown = arguments.clone();
    mask(&mut shown, "", "");
    shown
}

/// The greatest depth, and the most members, that are told of arguments which were not understood.
const OUTLINE_DEPTH: usize = 6;
const OUTLINE_MEMBERS: usize = 20;

/// The form of arguments that were not understood, in which a secret may stand anywhere: names, numbers
/// and truths, but no text.
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

/// The secrets that checked arguments hold, for taking them out of what quotes them.
pub fn secrets_of(arguments: &Value) -> Vec<String> {
    fn collect(given: &Value, shown: &Value, found: &mut Vec<String>) {
        match (given, shown) {
            (Value::Object(given), Value::Object(shown)) => {
                let both = given.iter().filter_map(|(name, value)| Some((value, shown.get(name)?)));
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
    collect(arguments, &masked(arguments), &mut found);
    // A server may quote a part of a stream's URL: its path with the key, or the key alone.
    let parts = |secret: &String| {
        let url = secret.contains("://").then(|| url::Url::parse(secret).ok()).flatten()?;
        let key = url.path().rsplit('/').next().unwrap_or_default().to_owned();
        let query = url.query().unwrap_or_default().to_owned();
        Some([url.path().trim_start_matches('/').to_owned(), key, query])
    };
    let parts: Vec<String> = found.iter().filter_map(parts).flatten().collect();
    // What is shorter is in many texts that have nothing to do with it.
    found.extend(parts.into_iter().filter(|part| part.len() >= SHORTEST_PART));
    found
}

/// The shortest part of a secret that is masked by itself, in bytes.
const SHORTEST_PART: usize = 6;

/// A text in which the secrets of a call's arguments are masked.
pub fn without(secrets: &[String], text: &str) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| {
        // As a server may quote them: as they are, as JSON writes them, or percent-encoded.
        let quoted = Value::from(secret.as_str()).to_string();
        let quoted = quoted.trim_matches('"');
        let encoded = utf8_percent_encode(secret, ESCAPED).to_string();
        text.replace(&quoted.replace('/', "\\/"), MASK)
            .replace(quoted, MASK)
            .replace(&encoded, MASK)
            .replace(secret.as_str(), MASK)
    })
}

/// The arguments that can be a URL, or hold one; the empty name is that of a message.
const MAY_BE_URL: [&str; 4] = ["", "room_name", "meeting_id", "cursor"];

/// Masks the secrets of a value, which is the member of a name, within what a member of another name is.
fn mask(value: &mut Value, name: &str, within: &str) {
    match value {
        Value::Object(object) => {
            for (member, value) in object.iter_mut() {
                let name = member.as_str();
                let secret = matches!(name, "accessKeySecret" | "roomKey")
                    // A stream's URL ends with its key.
                    || within == "streaming" && name == "url";
                if secret && !value.is_null() {
                    *value = match value.as_str() {
                        Some(url) if name == "url" => masked_url(url),
                        Some(secret) => masked_text(secret),
                        None => masked_text(&value.to_string()),
                    }
                    .into();
                }
                let within = if name == "streaming" { "streaming" } else { within };
                mask(value, name, within);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, name, within)),
        // A room's URL can hold its key. Elsewhere the same text is no key, and is shown.
        Value::String(text) if MAY_BE_URL.contains(&name) => {
            const BEFORE: &str = "roomKey=";
            let is_end =
                |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '&' | '#' | '<' | '>');
            let mut from = 0;
            while let Some(at) = text[from..].find(BEFORE) {
                from += at + BEFORE.len();
                let end = text[from..].find(is_end).map_or(text.len(), |end| from + end);
                // What was masked once stays as it is.
                if !text[from..end].starts_with(MASK) {
                    let mask = masked_text(&text[from..end]);
                    text.replace_range(from..end, &mask);
                }
                from += MASK.len();
            }
        }
        _ => {}
    }
}

/// A mask with the fingerprint of what it hides.
fn masked_text(secret: &str) -> String {
    let digest = Sha256::new_with_prefix("whereby secret\0").chain_update(secret).finalize();
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{MASK}({digits})")
}

/// A stream's URL: where it leads to, which is what a person decides on, and its key masked.
fn masked_url(text: &str) -> String {
    let masked = |url: &url::Url| {
        let host = url.host_str().filter(|host| !host.is_empty())?;
        let mut shown = format!("{}://{host}", url.scheme());
        if let Some(port) = url.port() {
            shown.push_str(&format!(":{port}"));
        }
        let folders = url.path().rsplit_once('/').map_or("", |(folders, _)| folders);
        for part in folders.split('/').skip(1) {
            shown.push('/');
            match part.len() > LONGEST_SHOWN {
                true => shown.push_str(&masked_text(part)),
                false => shown.push_str(part),
            }
        }
        // The whole of it, as a user and a query may be secrets too.
        Some(format!("{shown}/{}", masked_text(text)))
    };
    url::Url::parse(text).ok().and_then(|url| masked(&url)).unwrap_or_else(|| masked_text(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_not_understood_is_told_without_its_texts() {
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
        // What is left out is counted.
        assert_eq!(shown["many"][20], "… 980 more");
        let many: serde_json::Map<_, _> = (0..21).map(|n| (n.to_string(), json!(n))).collect();
        assert_eq!(outline(&many.into())["…"], "… 1 more");
    }

    #[test]
    fn secrets_are_taken_out_of_what_quotes_them() {
        let arguments = json!({"fields": [
            {"recording": {"destination": {"accessKeySecret": "a\"b/c", "bucket": "plain"}}},
            {"streaming": {"destination": {"url": "rtmp://a.example/live/s3cret"}}},
        ]});
        let secrets = secrets_of(&arguments);
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
        assert!(!shown.to_string().contains("s3cret"), "{shown}");
        assert_eq!(shown["fields"][1]["recording"]["destination"]["accessKeyId"], "id");
        let streaming = &shown["fields"][2]["streaming"];
        assert_eq!(streaming["startTrigger"], "none");
        assert_eq!(streaming["destination"]["url"], "rtmp://a.example/live/***(44df6de503ffcebb)");
        assert_eq!(shown["room_mode"], "group");
        assert_eq!(masked(&shown["cursor"]), shown["cursor"], "a mask stays as it is");
    }

    #[test]
    fn what_differs_looks_different_and_where_it_leads_to_is_shown() {
        let shown = |url: &str| {
            let shown = masked(&json!({"streaming": {"url": url}}));
            shown["streaming"]["url"].as_str().expect("a text").to_owned()
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
        let shown = masked(&json!({"bucket": "roomKey=bucket", "room_name": "x?roomKey=key"}));
        assert_eq!(shown["bucket"], "roomKey=bucket", "it is no URL");
        assert!(!shown["room_name"].to_string().contains("key\""), "{shown}");
        let key = |secret: &str| masked(&json!({"accessKeySecret": secret}));
        assert_ne!(key("one"), key("two"));
    }
}
