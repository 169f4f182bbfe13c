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
            if let Some(at) = text.find("roomKey=") {
                text.truncate(at + "roomKey=".len());
                text.push_str(MASK);
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
