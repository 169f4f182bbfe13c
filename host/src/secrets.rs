//! Secrets inside arguments, masked wherever arguments are shown or kept.

use serde_json::Value;

/// What stands in the place of a secret.
const MASK: &str = "***";

/// The arguments of a call, as they may be shown: access keys, stream URLs and room keys masked.
#[must_use]
pub fn masked(arguments: &Value) -> Value {
    let mut shown = arguments.clone();
    mask(&mut shown, "");
    shown
}

/// The greatest depth, and the most members, that are told of arguments which were not understood.
const OUTLINE_DEPTH: usize = 6;
const OUTLINE_MEMBERS: usize = 20;

/// The form of arguments that were not understood, in which a secret may stand anywhere: names, numbers
/// and truths, but no text.
pub(crate) fn outline(arguments: &Value) -> Value {
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
pub(crate) fn secrets_of(arguments: &Value) -> Vec<String> {
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
    found
}

/// A text in which the secrets of a call's arguments are masked.
pub(crate) fn without(secrets: &[String], text: &str) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| {
        // As a server may quote them: as they are, or as JSON writes them.
        let quoted = Value::from(secret.as_str()).to_string();
        text.replace(quoted.trim_matches('"'), MASK).replace(secret.as_str(), MASK)
    })
}

fn mask(value: &mut Value, within: &str) {
    match value {
        Value::Object(object) => {
            for (name, value) in object.iter_mut() {
                let secret = matches!(name.as_str(), "accessKeySecret" | "roomKey")
                    // A stream's URL ends with its key.
                    || within == "streaming" && name == "url";
                if secret && !value.is_null() {
                    *value = Value::from(host_alone(value));
                }
                let within = if name == "streaming" { "streaming" } else { within };
                mask(value, within);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, within)),
        Value::String(text) => {
            const BEFORE: &str = "roomKey=";
            let is_end =
                |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '&' | '#' | '<' | '>');
            let mut from = 0;
            while let Some(at) = text[from..].find(BEFORE) {
                from += at + BEFORE.len();
                let end = text[from..].find(is_end).map_or(text.len(), |end| from + end);
                text.replace_range(from..end, MASK);
                from += MASK.len();
            }
        }
        _ => {}
    }
}

/// Of a URL, where it leads to, which is no secret and what a person decides on; else nothing.
fn host_alone(value: &Value) -> String {
    let url = value.as_str().and_then(|text| url::Url::parse(text).ok());
    match url.as_ref().and_then(|url| Some((url.scheme(), url.host_str()?, url.port()))) {
        Some((scheme, host, Some(port))) => format!("{scheme}://{host}:{port}/{MASK}"),
        Some((scheme, host, None)) => format!("{scheme}://{host}/{MASK}"),
        None => MASK.to_owned(),
    }
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
        assert_eq!(secrets, ["a\"b/c", "rtmp://a.example/live/s3cret"]);
        let text = "bad: a\"b/c, a\\\"b/c in plain, rtmp://a.example/live/s3cret";
        assert_eq!(without(&secrets, text), "bad: ***, *** in plain, ***");
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
        assert_eq!(streaming["destination"]["url"], "rtmp://a.example/***");
        assert_eq!(shown["room_mode"], "group");
    }
}
