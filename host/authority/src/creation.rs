//! The body of `POST /meetings` for a call of create_room.

use crate::Error;
use crate::arguments::Arguments;
use crate::prelude::*;
use crate::timestamp::Timestamp;
use crate::url::Url;
use serde_json::{Map, Value};

/// How far the default end may be from the documented one, in seconds: the component has the host's
/// clock, but a call takes time.
const TOLERANCE: i64 = 900;

/// The member of the body that puts a room in viewer mode.
const TEMPLATE: &str = "templateType";

/// A new room, as the caller asked for it.
#[derive(Debug)]
pub struct Creation {
    /// The members of the body, without the dates.
    members: Map<String, Value>,
    start: Option<Timestamp>,
    /// Absent if the default applies.
    end: Option<Timestamp>,
    /// The names of the items of `fields`.
    fields: Vec<String>,
}

impl Creation {
    /// Works out the body from the arguments.
    pub fn new(arguments: &Arguments, now: Timestamp) -> Result<Self, Error> {
        let date = |name: &str| -> Result<Option<Timestamp>, Error> {
            let parse = |text| Timestamp::parse_argument(text, false);
            let parsed = arguments.text(name).map(parse).transpose();
            parsed.map_err(|reason| Error::argument(name, &reason))
        };
        let mut members = Map::new();
        if let Some(mode) = arguments.get("room_mode") {
            members.insert("roomMode".into(), mode.clone());
        }
        if let Some(prefix) = arguments.text("room_name_prefix") {
            if let Some(bad) = prefix
                .chars()
                .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-'))
            {
                return Err(Error::invalid(format!(
                    "room_name_prefix: invalid character `{bad}`; use letters, digits and hyphens"
                )));
            }
            members.insert("roomNamePrefix".into(), prefix.into());
        }
        let mut fields = Vec::new();
        let mut seen: Vec<String> = Vec::new();
        for item in arguments.list("fields") {
            let (name, payload) = match item {
                Value::Object(object) => match object.iter().next() {
                    Some((name, payload)) => (name.as_str(), Some(payload)),
                    None => continue,
                },
                other => (other.as_str().unwrap_or_default(), None),
            };
            if seen.iter().any(|seen| seen == name) {
                let other = if name == "lockRoomOnJoin" { " (or `isLocked`)" } else { "" };
                return Err(Error::invalid(format!("fields: `{name}`{other} is given twice")));
            }
            seen.push(name.to_owned());
            match (name, payload) {
                ("hostRoomUrl" | "viewerRoomUrl", None) => fields.push(Value::from(name)),
                ("lockRoomOnJoin", None) => {
                    members.insert("isLocked".into(), true.into());
                }
                ("viewerMode", None) => {
                    members.insert(TEMPLATE.into(), "viewerMode".into());
                }
                ("roomNamePattern", Some(pattern)) => {
                    members.insert("roomNamePattern".into(), pattern.clone());
                }
                ("recording" | "streaming" | "liveTranscription", Some(settings)) => {
                    if name == "streaming" {
                        check_stream(settings)?;
                    }
                    members.insert(name.to_owned(), to_api(name, settings));
                }
                (other, _) => {
                    return Err(Error::NoRule {
                        message: format!("no rule says how create_room sends `{other}`"),
                    });
                }
            }
        }
        if !fields.is_empty() {
            members.insert("fields".into(), fields.into());
        }
        let (start, end) = (date("start_date")?, date("end_date")?);
        // The component checks this too, but only after a person may have been asked.
        let wrong = |reason: &str| Error::argument("end_date", reason);
        if end.is_some_and(|end| end < now) {
            return Err(wrong("is in the past, and a room cannot end before it begins"));
        }
        if let (Some(start), Some(end)) = (start, end)
            && end < start
        {
            return Err(wrong("is before start_date"));
        }
        Ok(Self { members, start, end, fields: seen })
    }

    /// Returns the beginning of the room's name.
    pub(crate) fn prefix(&self) -> Option<&str> {
        self.members.get("roomNamePrefix")?.as_str()
    }

    /// Returns the mode that the room will have.
    pub(crate) fn room_mode(&self) -> &str {
        // A room in this mode is a group room, whatever the argument says.
        if self.members.contains_key(TEMPLATE) {
            return "group";
        }
        self.members.get("roomMode").and_then(Value::as_str).unwrap_or("normal")
    }

    /// Returns the names of the items of `fields`.
    pub(crate) fn fields(&self) -> &[String] {
        &self.fields
    }

    /// Whether the caller said when the room ends.
    pub(crate) fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// Returns when the room of a call that is permitted at this time ends.
    pub(crate) fn end_for(&self, begun: Timestamp) -> Timestamp {
        self.end.unwrap_or_else(|| self.default_end(begun))
    }

    /// Whether the component's body says exactly what the caller asked for.
    ///
    /// A default end is compared with the time at which the call was permitted, at every attempt.
    pub fn matches(&self, body: &Value, begun: Timestamp) -> bool {
        let Some(body) = body.as_object() else { return false };
        let date = |name: &str| match body.get(name) {
            None => Ok(None),
            // Whereby keeps milliseconds.
            Some(Value::String(text)) => {
                Timestamp::parse(text).map(|date| Some(date.to_milliseconds())).ok_or(())
            }
            Some(_) => Err(()),
        };
        let (Ok(start), Ok(Some(end))) = (date("startDate"), date("endDate")) else { return false };
        let is_rest = |name: &str| name != "startDate" && name != "endDate";
        let rest = || body.iter().filter(|(name, _)| is_rest(name));
        start == self.start
            && self.may_end_at(end, begun)
            && rest().count() == self.members.len()
            && rest().all(|(name, value)| self.members.get(name) == Some(value))
    }

    fn may_end_at(&self, end: Timestamp, begun: Timestamp) -> bool {
        if let Some(asked) = self.end {
            return end == asked;
        }
        let around =
            |moment: Timestamp| moment.plus_seconds(-TOLERANCE)..=moment.plus_seconds(TOLERANCE);
        // To the component, a start close to now may be in the future or in the past.
        let is_future = self.start.is_some_and(|start| start >= *around(begun).start());
        let is_past = self.start.is_none_or(|start| start <= *around(begun).end());
        let after_start = self.start.map(|start| start.plus_seconds(3600));
        is_future && after_start.is_some_and(|moment| around(moment).contains(&end))
            || is_past && around(begun.plus_seconds(24 * 3600)).contains(&end)
    }

    /// Returns the bytes to send for a body that [`Self::matches`]. The component chooses none of them,
    /// so it can hide no data in them.
    pub fn to_body(&self, begun: Timestamp) -> Vec<u8> {
        let mut body = Map::new();
        body.insert("endDate".into(), self.end_for(begun).to_rfc3339().into());
        if let Some(start) = self.start {
            body.insert("startDate".into(), start.to_rfc3339().into());
        }
        body.extend(self.members.clone());
        crate::text::to_json(&Value::Object(body))
    }

    /// Returns the default end: an hour after a start in the future, otherwise a day after the call was
    /// permitted, to the second.
    fn default_end(&self, begun: Timestamp) -> Timestamp {
        let end = match self.start.filter(|start| *start > begun) {
            Some(start) => start.plus_seconds(3600),
            None => begun.plus_seconds(24 * 3600),
        };
        end.to_seconds()
    }

    /// Returns the secret URLs that the caller did not ask for and that the response may contain.
    pub fn urls_not_asked_for(&self) -> &'static [&'static str] {
        // In this mode Whereby returns both.
        let is_viewer_mode = self.members.contains_key(TEMPLATE);
        let is_asked = |url: &str| {
            let fields = self.members.get("fields").and_then(Value::as_array);
            is_viewer_mode || fields.is_some_and(|fields| fields.iter().any(|field| field == url))
        };
        match (is_asked("hostRoomUrl"), is_asked("viewerRoomUrl")) {
            (true, true) => &[],
            (true, false) => &["viewerRoomUrl"],
            (false, true) => &["hostRoomUrl"],
            (false, false) => &["hostRoomUrl", "viewerRoomUrl"],
        }
    }
}

/// Checks that a stream goes to an RTMP server whose URL can be read in one way only, because a person
/// decides by its host.
fn check_stream(settings: &Value) -> Result<(), Error> {
    let text = settings["destination"]["url"].as_str().unwrap_or_default();
    let url = Url::parse(text).ok().filter(|url| {
        let is_host = |host: &str| {
            let mut bytes = host.bytes();
            !host.is_empty()
                && bytes.all(|b| {
                    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'[' | b']' | b':')
                })
        };
        matches!(url.scheme(), "rtmp" | "rtmps")
            && url.host_str().is_some_and(is_host)
            && url.username().is_empty()
            && url.password().is_none()
            && url.path().len() > 1
            && url.fragment().is_none()
            && !url.path().split('/').any(|part| matches!(part, "." | ".."))
            // The parser removes segments of dots.
            && text.ends_with(crate::split_at(url.as_str(), "://").map_or("", |(_, rest)| rest))
            // The parser drops or changes characters that other parsers keep.
            && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\')
    });
    match url {
        Some(_) => Ok(()),
        None => Err(Error::argument(
            "fields",
            "streaming.destination.url: not the URL of an RTMP server, such as \
             rtmps://live.example.com/app/stream-key",
        )),
    }
}

/// Returns the settings of a recording, a stream or a transcription as Whereby's API spells them. The
/// members that the API requires are null if the organization's own setting applies.
fn to_api(name: &str, settings: &Value) -> Value {
    let get = |member: &str| settings.get(member).cloned().unwrap_or_default();
    let mut api = Map::new();
    if name == "recording" {
        api.insert("type".into(), get("type"));
    }
    let destination = match get("destination") {
        Value::Object(destination) => {
            let mut translated = Map::new();
            for (name, value) in destination {
                translated.insert(name, to_api_enum(value));
            }
            Value::Object(translated)
        }
        other => other,
    };
    api.insert("destination".into(), destination);
    api.insert("startTrigger".into(), to_api_enum(get("startTrigger")));
    if let Value::String(language) = get("language") {
        let language = match language.split_once('-') {
            Some((language, region)) => format!("{language}-{}", region.to_ascii_uppercase()),
            None => language,
        };
        api.insert("language".into(), language.into());
    }
    if let captions @ Value::Bool(_) = get("liveCaptions") {
        api.insert("liveCaptions".into(), captions);
    }
    Value::Object(api)
}

/// Translates the enum cases that the WIT spells differently.
fn to_api_enum(value: Value) -> Value {
    match value.as_str() {
        Some("automatic-second-participant") => "automatic-2nd-participant".into(),
        Some("access-key") => "accessKey".into(),
        Some("role-based") => "roleBased".into(),
        _ => value,
    }
}
