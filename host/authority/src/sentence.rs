//! What a call will do, in one sentence for the person who decides on it.

use crate::names::RoomRef;
use crate::prelude::*;
use crate::text;
use crate::timestamp::Timestamp;
use core::fmt;
use serde_json::Value;

/// The maximum length of a name in a sentence, in characters. The arguments have it in full.
const MAX_NAME: usize = 120;

/// A sentence about a call. Names from outside are separate parts, so that every display can set them
/// apart from the program's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence(Vec<Part>);

/// A part of a [`Sentence`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Words of this program.
    Words(&'static str),
    /// A name or a date from the arguments, safe to show on a terminal.
    Name(String),
}

impl Sentence {
    /// Returns what a call of a function, by its name in JSON, will do. The arguments may be masked.
    #[must_use]
    pub fn of(function: &str, arguments: &Value) -> Self {
        match whereby_catalog::function(function) {
            Some(known) => (crate::table::FunctionRule::of(known).sentence)(arguments),
            None => Self::calls(function),
        }
    }

    /// Returns what a person decided: `approve`, `deny`, `revoke`, `freeze`, `unfreeze` or `configure`, for
    /// calls of a function, an agent or an account.
    #[must_use]
    pub fn decided(
        what: &str,
        function: Option<&str>,
        agent: Option<&str>,
        account: Option<&str>,
    ) -> Self {
        let (own, on) = match what {
            "approve" => ("Approved", " a call"),
            "deny" => ("Denied", " a call"),
            "revoke" => ("Revoked", " an approval, a token or a passkey"),
            "freeze" => ("Froze", " everything"),
            "unfreeze" => ("Lifted the freeze of", " everything"),
            "configure" => ("Changed", " the configuration"),
            _ => ("Decided", " something"),
        };
        let sentence = Self::words(own);
        let is_freeze = matches!(what, "freeze" | "unfreeze");
        match (function, agent, account) {
            (Some(function), _, _) => sentence.and(" a call of ").name(function),
            (None, Some(agent), Some(account)) if is_freeze => {
                sentence.and(" the agent ").name(agent).and(" with the account ").name(account)
            }
            (None, Some(agent), None) if is_freeze => sentence.and(" the agent ").name(agent),
            (None, None, Some(account)) if is_freeze => sentence.and(" the account ").name(account),
            _ => sentence.and(on),
        }
    }

    /// Returns the parts, in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    pub(crate) fn calls(function: &str) -> Self {
        Self::words("Calls ").name(function).and(".")
    }

    pub(crate) fn words(words: &'static str) -> Self {
        Self(vec![Part::Words(words)])
    }

    fn and(mut self, words: &'static str) -> Self {
        self.0.push(Part::Words(words));
        self
    }

    fn name(mut self, name: &str) -> Self {
        self.0.push(Part::Name(text::printable(name, MAX_NAME)));
        self
    }

    /// Adds the name of the room in the arguments.
    fn room(self, arguments: &Value) -> Self {
        let given = arguments["room_name"].as_str().unwrap_or_default();
        if given.is_empty() {
            return self.and("that has no name");
        }
        match RoomRef::parse(given) {
            Ok(room) => self.name(room.name.as_str()),
            Err(_) => self.name(given),
        }
    }
}

impl fmt::Display for Sentence {
    /// Writes the sentence with names in backticks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Words(words) => f.write_str(words),
            Part::Name(name) => write!(f, "`{name}`"),
        })
    }
}

pub(crate) fn get_room(arguments: &Value) -> Sentence {
    Sentence::words("Reads the room ").room(arguments).and(".")
}

pub(crate) fn list_meetings(arguments: &Value) -> Sentence {
    let sentence = Sentence::words("Reads when meetings took place");
    if arguments["room_name"].is_string() {
        sentence.and(" in the room ").room(arguments).and(".")
    } else {
        sentence.and(" in all rooms.")
    }
}

pub(crate) fn get_meeting(arguments: &Value) -> Sentence {
    let id = arguments["meeting_id"].as_str().unwrap_or_default();
    Sentence::words("Reads the meeting ").name(id).and(", and who took part.")
}

pub(crate) fn delete_room(arguments: &Value) -> Sentence {
    Sentence::words("Permanently deletes the room ")
        .room(arguments)
        .and(" and removes everyone in it.")
}

pub(crate) fn create_room(arguments: &Value) -> Sentence {
    let mut sentence = Sentence::words(match arguments["room_mode"].as_str() {
        None | Some("normal") => "Creates a room",
        Some("group") => "Creates a group room",
        Some(_) => "Creates a room of another mode",
    });
    if let Some(prefix) = arguments["room_name_prefix"].as_str().filter(|prefix| !prefix.is_empty())
    {
        sentence = sentence.and(" whose name begins with ").name(prefix);
    }
    let date = |name: &str| arguments[name].as_str().map(moment);
    sentence = match (date("end_date"), date("start_date")) {
        (Some(end), _) => sentence.and(", open until ").name(&end),
        (None, Some(start)) => sentence.and(", open until an hour after ").name(&start),
        (None, None) => sentence.and(", open for 24 hours"),
    };
    let items = arguments["fields"].as_array().into_iter().flatten();
    let member = |name: &str| items.clone().find_map(|item| item.get(name));
    let mut effects = Vec::new();
    if let Some(recording) = member("recording").filter(|recording| {
        // A recording that is off may still name a destination.
        recording["type"] != "none" || recording.get("destination").is_some()
    }) {
        effects.push(kept(" records its meetings", &recording["destination"]));
    }
    if let Some(streaming) = member("streaming") {
        let url = streaming["destination"]["url"].as_str().unwrap_or_default();
        effects.push(Sentence::words(" streams its meetings live to ").name(url));
    }
    if let Some(transcription) = member("liveTranscription") {
        effects.push(kept(" transcribes its meetings", &transcription["destination"]));
    }
    if items.clone().any(|item| *item == "hostRoomUrl" || item["hostRoomUrl"] == true) {
        effects
            .push(Sentence::words(" returns its host link, which lets anyone who opens it host"));
    }
    let count = effects.len();
    for (index, effect) in effects.into_iter().enumerate() {
        sentence = match (index, index + 1 == count) {
            (0, true) => sentence.and(", and"),
            (0, false) => sentence.and(";"),
            (_, true) => sentence.and(", and"),
            (_, false) => sentence.and(","),
        };
        sentence.0.extend(effect.0);
    }
    sentence.and(".")
}

/// Returns what is recorded or transcribed, and where it is kept.
fn kept(what: &'static str, destination: &Value) -> Sentence {
    match destination["bucket"].as_str() {
        Some(bucket) => Sentence::words(what).and(" to the bucket ").name(bucket),
        None => Sentence::words(what),
    }
}

/// Returns a date for people, or the text as it is if it is none.
fn moment(text: &str) -> String {
    let Some(moment) = Timestamp::parse(text) else { return text.to_owned() };
    let shown = moment.to_seconds().to_rfc3339();
    match shown.strip_suffix(":00Z").and_then(|shown| shown.split_once('T')) {
        Some((day, time)) => format!("{day} {time} UTC"),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sentence_says_what_a_call_will_do() {
        let recorded = json!([
            {"recording": {"type": "cloud", "destination": {"provider": "s3", "bucket": "b/x"}}},
            {"streaming": {"destination": {"url": "rtmps://live.example.com/app/***"}}},
            {"liveTranscription": {"startTrigger": "manual"}},
            {"hostRoomUrl": true},
        ]);
        for (function, arguments, expected) in [
            ("list_rooms", json!({}), "Reads the list of rooms."),
            ("get_room", json!({"room_name": "/daily"}), "Reads the room `daily`."),
            ("list_meetings", json!({}), "Reads when meetings took place in all rooms."),
            (
                "list_meetings",
                json!({"room_name": "daily"}),
                "Reads when meetings took place in the room `daily`.",
            ),
            (
                "get_meeting",
                json!({"meeting_id": "daily:3f9a"}),
                "Reads the meeting `daily:3f9a`, and who took part.",
            ),
            ("get_current_user", json!({}), "Reads which organization the API key belongs to."),
            (
                "delete_room",
                json!({"room_name": "daily"}),
                "Permanently deletes the room `daily` and removes everyone in it.",
            ),
            (
                "delete_room",
                json!({"room_name": "https://acme.whereby.com/daily?roomKey=***"}),
                "Permanently deletes the room `daily` and removes everyone in it.",
            ),
            (
                "delete_room",
                json!({"room_name": "a\u{202e}` and nothing else"}),
                "Permanently deletes the room `a\\u{202e}` and nothing else` and removes everyone in it.",
            ),
            ("create_room", json!({}), "Creates a room, open for 24 hours."),
            (
                "create_room",
                json!({"room_mode": "group", "room_name_prefix": "bot-",
                    "end_date": "2099-03-02T10:00:00Z", "fields": [{"hostRoomUrl": true}]}),
                "Creates a group room whose name begins with `bot-`, open until \
                 `2099-03-02 10:00 UTC`, and returns its host link, which lets anyone who opens it host.",
            ),
            (
                "create_room",
                json!({"start_date": "2099-03-02T10:00:30Z", "fields": recorded}),
                "Creates a room, open until an hour after `2099-03-02T10:00:30Z`; records its meetings \
                 to the bucket `b/x`, streams its meetings live to `rtmps://live.example.com/app/***`, \
                 transcribes its meetings, and returns its host link, which lets anyone who opens it host.",
            ),
            (
                "create_room",
                json!({"fields": [{"recording": {"type": "none"}}]}),
                "Creates a room, open for 24 hours.",
            ),
            ("other\u{1b}", json!({}), "Calls `other\\u{1b}`."),
        ] {
            assert_eq!(Sentence::of(function, &arguments).to_string(), expected, "{arguments}");
        }
    }

    #[test]
    fn a_sentence_says_what_was_decided() {
        let of = |what, function, agent, account| {
            Sentence::decided(what, function, agent, account).to_string()
        };
        let call = Some("delete_room");
        assert_eq!(
            of("approve", call, Some("a"), Some("work")),
            "Approved a call of `delete_room`"
        );
        assert_eq!(of("revoke", None, None, None), "Revoked an approval, a token or a passkey");
        assert_eq!(of("freeze", None, Some("a\u{1b}"), None), "Froze the agent `a\\u{1b}`");
        assert_eq!(of("freeze", None, None, Some("work")), "Froze the account `work`");
        assert_eq!(of("unfreeze", None, None, None), "Lifted the freeze of everything");
        assert_eq!(of("configure", None, None, None), "Changed the configuration");
        assert_eq!(of("<b>", None, None, None), "Decided something");
    }

    #[test]
    fn every_function_has_a_sentence_of_its_own() {
        for function in whereby_catalog::FUNCTIONS {
            let sentence = Sentence::of(function.json, &crate::arguments::example(function));
            assert!(!sentence.to_string().starts_with("Calls "), "{sentence}");
        }
    }
}
