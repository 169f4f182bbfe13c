//! Checks the body of POST /meetings against Whereby's schema.

use serde_json::{Map, Value};

use super::meetings::Fields;
use super::moment::Moment;
use super::response::Refusal;
use super::state::NamePattern;
use super::switches::{Switches, UnknownMembers};

/// The parts of a body that have an effect here. The rest is checked, but the real API does not return it either.
#[derive(Debug)]
pub(super) struct CreateRequest {
    pub(super) ends: Moment,
    pub(super) prefix: String,
    pub(super) pattern: NamePattern,
    pub(super) fields: Fields,
    /// Whether the room is recorded or streamed, which not every plan includes.
    pub(super) needs_plan: bool,
}

const MEMBERS: &[&str] = &[
    "endDate",
    "startDate",
    "isLocked",
    "roomMode",
    "roomNamePrefix",
    "roomNamePattern",
    "templateType",
    "recording",
    "liveTranscription",
    "streaming",
    "fields",
];

/// The languages in the schema, which has a stray comma after each one.
const LANGUAGES: &[&str] = &[
    "ca", "zh", "zh-TW", "cs", "da", "nl", "en", "en-US", "en-GB", "fi", "fr", "de", "de-CH", "el",
    "hi", "id", "it", "ja", "ko", "lv", "ms", "no", "pl", "pt", "pt-BR", "ro", "ru", "sk", "es",
    "sv", "th", "uk", "vi",
];

impl CreateRequest {
    pub(super) fn from_body(
        body: &[u8],
        now: Moment,
        switches: &Switches,
    ) -> Result<Self, Refusal> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|_| Refusal::bad_request("Request body is not valid JSON"))?;
        let Value::Object(body) = &body else {
            return Err(Refusal::bad_request("Request body is not a JSON object"));
        };
        refuse_unknown(body, MEMBERS, "request body", switches)?;
        let ends = text(body, "endDate")?.ok_or(Refusal::invalid("endDate", "it is required"))?;
        let ends =
            Moment::from_text(ends).ok_or(Refusal::invalid("endDate", "it is not a date-time"))?;
        require(ends >= now, "endDate", "it is in the past")?;
        // The value is ignored, but its type is checked.
        text(body, "startDate")?;
        boolean(body, "isLocked")?;
        one_of(body, "roomMode", &["normal", "group"])?;
        let pattern = match one_of(body, "roomNamePattern", &["uuid", "human-short"])? {
            Some("human-short") => NamePattern::HumanShort,
            _ => NamePattern::Uuid,
        };
        let viewer_mode = one_of(body, "templateType", &["viewerMode"])?.is_some();
        let recorded = match member(body, "recording")? {
            Some(recording) => check_recording(recording, switches)?,
            None => false,
        };
        if let Some(transcription) = member(body, "liveTranscription")? {
            check_transcription(transcription, switches)?;
        }
        let streaming = member(body, "streaming")?;
        if let Some(streaming) = streaming {
            check_streaming(streaming, switches)?;
        }
        let mut fields = read_fields(body, switches)?;
        fields.host |= viewer_mode;
        fields.viewer |= viewer_mode;
        Ok(Self {
            ends,
            prefix: read_prefix(body)?,
            pattern,
            fields,
            needs_plan: recorded || streaming.is_some(),
        })
    }
}

/// Reads the prefix. Lowers upper case and drops white space, as the real server does.
fn read_prefix(body: &Map<String, Value>) -> Result<String, Refusal> {
    let prefix = text(body, "roomNamePrefix")?.unwrap_or("");
    let prefix: String = prefix.split_whitespace().collect::<String>().to_lowercase();
    let is_short = prefix.chars().count() <= 39;
    require(is_short, "roomNamePrefix", "it is longer than 39 characters")?;
    // The schema does not allow hyphens, but Whereby's own examples have them.
    let is_plain = prefix.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    require(is_plain, "roomNamePrefix", "it must contain only letters, digits and hyphens")?;
    Ok(prefix)
}

fn read_fields(body: &Map<String, Value>, switches: &Switches) -> Result<Fields, Refusal> {
    let mut fields = Fields::default();
    match body.get("fields") {
        None => {}
        Some(Value::Array(names)) => {
            for name in names {
                let name =
                    name.as_str().ok_or(Refusal::invalid("fields", "its items are not strings"))?;
                fields.add(name, switches)?;
            }
        }
        Some(_) => return Err(Refusal::invalid("fields", "it is not an array")),
    }
    Ok(fields)
}

/// Returns whether anything is recorded.
fn check_recording(recording: &Map<String, Value>, switches: &Switches) -> Result<bool, Refusal> {
    refuse_unknown(recording, &["type", "destination", "startTrigger"], "recording", switches)?;
    let kind = one_of(recording, "type", &["none", "local", "cloud"])?;
    let kind = kind.ok_or(Refusal::invalid("recording", "type is required"))?;
    let triggers = &["none", "prompt", "automatic", "automatic-2nd-participant"];
    let has_trigger = nullable(recording, "startTrigger", triggers)?;
    // Without a recording, the real server requires no other member: Whereby's own tests send
    // `{"type": "none", "destination": {}}`.
    if kind == "none" {
        return Ok(false);
    }
    require(has_trigger, "recording", "startTrigger is required")?;
    check_destination(recording, "recording", "fileFormat", switches)?;
    Ok(true)
}

fn check_transcription(
    transcription: &Map<String, Value>,
    switches: &Switches,
) -> Result<(), Refusal> {
    let about = "liveTranscription";
    let known = &["destination", "startTrigger", "language", "liveCaptions"];
    refuse_unknown(transcription, known, about, switches)?;
    let triggers = &["none", "manual", "automatic", "automatic-2nd-participant"];
    let has_trigger = nullable(transcription, "startTrigger", triggers)?;
    require(has_trigger, about, "startTrigger is required")?;
    nullable(transcription, "language", LANGUAGES)?;
    boolean(transcription, "liveCaptions")?;
    check_destination(transcription, about, "region", switches)
}

fn check_streaming(streaming: &Map<String, Value>, switches: &Switches) -> Result<(), Refusal> {
    refuse_unknown(streaming, &["destination", "startTrigger"], "streaming", switches)?;
    let has_trigger = nullable(streaming, "startTrigger", &["none", "prompt", "automatic"])?;
    require(has_trigger, "streaming", "startTrigger is required")?;
    let destination = member(streaming, "destination")?;
    let destination =
        destination.ok_or(Refusal::invalid("streaming", "destination is required"))?;
    refuse_unknown(destination, &["url"], "streaming", switches)?;
    let url = text(destination, "url")?
        .ok_or(Refusal::invalid("streaming", "destination.url is required"))?;
    let is_rtmp = url.starts_with("rtmp://") || url.starts_with("rtmps://");
    require(is_rtmp, "streaming", "destination.url is not an RTMP URI")
}

/// Checks the destination of recordings or transcriptions. Null means the organization's setting. `own` is the
/// member that only one of them has.
fn check_destination(
    parent: &Map<String, Value>,
    about: &'static str,
    own: &'static str,
    switches: &Switches,
) -> Result<(), Refusal> {
    if parent.get("destination") == Some(&Value::Null) {
        return Ok(());
    }
    let destination = member(parent, "destination")?;
    let destination = destination.ok_or(Refusal::invalid(about, "destination is required"))?;
    let texts = ["bucket", "accessKeyId", "accessKeySecret", "oidcRoleArn"];
    let known = [&["provider", "authenticationType", own][..], &texts].concat();
    refuse_unknown(destination, &known, about, switches)?;
    let provider = one_of(destination, "provider", &["s3", "whereby"])?;
    let provider = provider.ok_or(Refusal::invalid(about, "destination.provider is required"))?;
    one_of(destination, "fileFormat", &["mkv", "mp4"])?;
    for name in texts.into_iter().chain(["region"]) {
        text(destination, name)?;
    }
    let authentication = one_of(destination, "authenticationType", &["accessKey", "roleBased"])?;
    let needed: &[&str] = match (provider, authentication) {
        ("s3", Some("roleBased")) => &["bucket", "oidcRoleArn"],
        ("s3", Some(_)) => &["bucket", "accessKeyId", "accessKeySecret"],
        // Whereby does not document what S3 requires without an authentication type.
        _ => &[],
    };
    let has_all = needed.iter().all(|name| destination.contains_key(*name));
    require(has_all, about, "destination lacks what this authenticationType needs")
}

fn refuse_unknown(
    object: &Map<String, Value>,
    known: &[&str],
    about: &'static str,
    switches: &Switches,
) -> Result<(), Refusal> {
    let is_strict = switches.unknown_members == UnknownMembers::Rejected;
    let is_known = |name: &String| !is_strict || known.contains(&name.as_str());
    require(object.keys().all(is_known), about, "it has an unknown member")
}

fn require(is_met: bool, about: &'static str, text: &'static str) -> Result<(), Refusal> {
    if is_met { Ok(()) } else { Err(Refusal::invalid(about, text)) }
}

fn text<'a>(
    object: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, Refusal> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::invalid(name, "it is not a string")),
    }
}

fn boolean(object: &Map<String, Value>, name: &'static str) -> Result<(), Refusal> {
    require(object.get(name).is_none_or(Value::is_boolean), name, "it is not a boolean")
}

fn member<'a>(
    object: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a Map<String, Value>>, Refusal> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Refusal::invalid(name, "it is not an object")),
    }
}

fn one_of<'a>(
    object: &'a Map<String, Value>,
    name: &'static str,
    allowed: &[&str],
) -> Result<Option<&'a str>, Refusal> {
    match text(object, name)? {
        Some(word) if !allowed.contains(&word) => {
            Err(Refusal::invalid(name, "it is not one of the allowed values"))
        }
        word => Ok(word),
    }
}

/// Checks a member like `one_of`, but allows null. Returns whether the member is present.
fn nullable(
    object: &Map<String, Value>,
    name: &'static str,
    allowed: &[&str],
) -> Result<bool, Refusal> {
    if object.get(name) == Some(&Value::Null) {
        return Ok(true);
    }
    Ok(one_of(object, name, allowed)?.is_some())
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
