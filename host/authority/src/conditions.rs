//! Conditions that limit when a permission applies: which arguments, whose rooms, how often, until when.
//!
//! A condition is decided when the call is, from the arguments and from [`Facts`], and its grant checks
//! it again where each request leaves.

use crate::arguments::SYNONYM;
use crate::creation::Creation;
use crate::names::{Id, RoomName};
use crate::prelude::*;
use crate::scope::Scope;
use crate::table::FunctionRule;
use crate::text;
use crate::timestamp::Timestamp;
use core::fmt;
use serde_json::Value;
use whereby_catalog::{FUNCTIONS, Type};

/// The maximum number of items in the list of one condition.
const MAX_ITEMS: usize = 100;

/// The maximum length of a pattern, in characters.
const MAX_PATTERN: usize = 200;

/// The maximum length of `room_name_prefix`, in characters. What Whereby adds to it is random, so no
/// pattern can ask for more.
const MAX_PREFIX: usize = 39;

/// The longest `max_duration`, in seconds: ten years.
const MAX_SECONDS: i64 = 10 * 366 * 24 * 3600;

/// A condition that permission tables and capability tokens can have.
#[derive(Debug)]
#[non_exhaustive]
pub struct Kind {
    /// Its key.
    pub name: &'static str,
    /// The form of its value.
    pub value: &'static str,
    /// When it holds.
    pub what: &'static str,
}

/// All conditions.
pub static KINDS: [Kind; 8] = [
    kind(ROOMS, "[\"PATTERN\"]", "the room's name matches a pattern"),
    kind(CREATED_BY, "agent|host", "this agent, or this host, created the room"),
    kind(ROOM_MODES, "[\"MODE\"]", "the new room has one of these modes"),
    kind(MAX_DURATION, "2h", "the new room ends within this time"),
    kind(FIELDS, "[\"FIELD\"]", "nothing else is in fields"),
    kind(MAX_PER_HOUR, "NUMBER", "fewer calls in the last 60 minutes"),
    kind(MAX_PER_DAY, "NUMBER", "fewer calls in the last 24 hours"),
    kind(VALID_UNTIL, "DATE", "the current time is before it"),
];

const fn kind(name: &'static str, value: &'static str, what: &'static str) -> Kind {
    Kind { name, value, what }
}

pub(crate) const ROOMS: &str = "rooms";
pub(crate) const CREATED_BY: &str = "created_by";
pub(crate) const ROOM_MODES: &str = "room_modes";
pub(crate) const MAX_DURATION: &str = "max_duration";
pub(crate) const FIELDS: &str = "fields";
pub(crate) const MAX_PER_HOUR: &str = "max_per_hour";
pub(crate) const MAX_PER_DAY: &str = "max_per_day";
pub(crate) const VALID_UNTIL: &str = "valid_until";

/// A pattern of room names. `*` matches zero or more characters and is the only special character. Names
/// are compared in lower case, as Whereby makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown = || text::printable(text, 80);
        if text.is_empty() {
            return Err("a pattern is empty; `*` matches every name".into());
        }
        if text.chars().count() > MAX_PATTERN {
            return Err(format!("a pattern is longer than {MAX_PATTERN} characters"));
        }
        if text.starts_with('/') {
            return Err(format!("`{}` begins with a slash; leave it out", shown()));
        }
        if text.chars().any(|c| c.is_control() || c.is_ascii_uppercase()) {
            return Err(format!(
                "`{}` can match no name: names are compared in lower case; write `{}`",
                shown(),
                text::printable(&text.to_ascii_lowercase(), 80)
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether a name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let mut parts = self.0.split('*');
        // The first part is the beginning. Each other is searched for after the one before it.
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
            return false;
        };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match crate::split_at(rest, part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }

    /// Whether every name that begins with the prefix matches.
    #[must_use]
    pub fn is_guaranteed_by(&self, prefix: &str) -> bool {
        self.0.ends_with('*') && self.matches(prefix)
    }

    /// Returns why no new room's name is sure to match, if none is.
    fn excludes_new_rooms(&self) -> Option<String> {
        let shown = text::printable(&self.0, 80);
        if !self.0.ends_with('*') {
            return Some(format!(
                "`{shown}` matches no new room, because Whereby adds random characters to the prefix; \
                 write `{shown}*`"
            ));
        }
        let letters = self.0.chars().filter(|c| *c != '*');
        if let Some(c) = letters.clone().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
            return Some(format!("`{shown}` contains `{c}`, which no prefix can contain"));
        }
        (letters.count() > MAX_PREFIX).then(|| {
            format!("`{shown}` is longer than a prefix can be, which is {MAX_PREFIX} characters")
        })
    }

    /// Returns the pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whose rooms a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creator {
    /// Rooms that a call of the same agent created.
    Agent,
    /// Rooms that any call through this state directory created.
    Host,
}

/// A condition with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// The room's name matches one of the patterns.
    Rooms(Vec<Pattern>),
    /// The host saw Whereby create the room.
    CreatedBy(Creator),
    /// The new room's mode is one of these.
    RoomModes(Vec<String>),
    /// The new room ends within this many seconds.
    MaxDuration(i64),
    /// `fields` has only these.
    Fields(Vec<String>),
    /// Fewer calls went ahead in the last 60 minutes.
    MaxPerHour(u32),
    /// Fewer calls went ahead in the last 24 hours.
    MaxPerDay(u32),
    /// The current time is before this one.
    ValidUntil(Timestamp),
}

/// A room that the host saw Whereby create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedRoom {
    /// Its id.
    pub id: Id,
    /// The agent whose call created it.
    pub agent: Option<String>,
}

/// How many calls of a function went ahead, by the same account and agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// In the last 60 minutes.
    pub last_hour: u32,
    /// In the last 24 hours.
    pub last_day: u32,
}

/// A fact, or the reason why it is unknown. An unknown fact never meets a condition.
pub type Known<T> = Result<T, String>;

/// What conditions are decided from, besides the arguments.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Facts {
    /// The time.
    pub now: Timestamp,
    /// The agent that makes the call.
    pub agent: Option<String>,
    /// The rooms with the name in the arguments that the host saw Whereby create, under the call's
    /// account and key.
    pub created: Known<Vec<CreatedRoom>>,
    /// The calls that went ahead.
    pub written: Known<Written>,
}

impl Facts {
    /// Returns facts that contain only the time and the agent.
    #[must_use]
    pub fn at(now: Timestamp, agent: Option<&str>) -> Self {
        let unknown = || "nothing was looked up".to_owned();
        Self {
            now,
            agent: agent.map(str::to_owned),
            created: Err(unknown()),
            written: Err(unknown()),
        }
    }

    /// Returns the ids of the rooms that a creator created.
    pub(crate) fn ids_of(&self, creator: Creator) -> Known<Vec<&Id>> {
        let created = self.created.as_ref().map_err(String::clone)?;
        let is_own = |room: &&CreatedRoom| creator == Creator::Host || room.agent == self.agent;
        Ok(created.iter().filter(is_own).map(|room| &room.id).collect())
    }
}

impl Condition {
    /// Reads the value of a condition, and checks it against the function's row if one is given.
    ///
    /// # Errors
    ///
    /// Says what is expected, or why the condition could never hold.
    pub fn parse(name: &str, value: &Value, rule: Option<&FunctionRule>) -> Result<Self, String> {
        let creates = rule.is_some_and(|rule| rule.conditions.contains(&ROOM_MODES));
        let condition = match name {
            ROOMS => {
                let texts = texts(value)?;
                some(&texts)?;
                let patterns = texts.iter().map(|text| Pattern::parse(text));
                let patterns = patterns.collect::<Result<Vec<_>, _>>()?;
                match patterns.iter().filter(|_| creates).find_map(Pattern::excludes_new_rooms) {
                    Some(why) => return Err(why),
                    None => Self::Rooms(patterns),
                }
            }
            CREATED_BY => match value.as_str() {
                Some("agent") => Self::CreatedBy(Creator::Agent),
                Some("host") => Self::CreatedBy(Creator::Host),
                _ => return Err("must be \"agent\" or \"host\"".into()),
            },
            ROOM_MODES => {
                let modes = one_of(texts(value)?, &cases("room_mode"))?;
                some(&modes)?;
                Self::RoomModes(modes)
            }
            FIELDS => {
                let mut fields = one_of(texts(value)?, &cases("fields"))?;
                for field in fields.iter_mut().filter(|field| *field == SYNONYM.0) {
                    SYNONYM.1.clone_into(field);
                }
                Self::Fields(fields)
            }
            MAX_DURATION => Self::MaxDuration(seconds(value)?),
            MAX_PER_HOUR => Self::MaxPerHour(count(value)?),
            MAX_PER_DAY => Self::MaxPerDay(count(value)?),
            VALID_UNTIL => {
                let date = value.as_str().and_then(Timestamp::parse);
                Self::ValidUntil(
                    date.ok_or("must be a date with a time zone, such as 2026-12-04T18:00:00Z")?,
                )
            }
            _ => return Err("is not a condition".into()),
        };
        Ok(condition)
    }

    /// Reads a value as a person writes it on a command line: items separated by commas, a number, a time
    /// span or a date.
    ///
    /// # Errors
    ///
    /// As for [`Self::parse`].
    pub fn from_text(name: &str, text: &str, rule: Option<&FunctionRule>) -> Result<Self, String> {
        let value = match name {
            ROOMS | ROOM_MODES | FIELDS => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(Value::from).collect()
            }
            MAX_PER_HOUR | MAX_PER_DAY => text.parse::<u64>().map_or(Value::Null, Value::from),
            _ => Value::from(text),
        };
        Self::parse(name, &value, rule)
    }

    /// Returns why the condition can never hold again, if it cannot.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> Option<String> {
        match self {
            Self::ValidUntil(date) if *date <= now => {
                Some(format!("{} is in the past", date.to_rfc3339()))
            }
            _ => None,
        }
    }

    /// Returns the condition's key.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rooms(_) => ROOMS,
            Self::CreatedBy(_) => CREATED_BY,
            Self::RoomModes(_) => ROOM_MODES,
            Self::MaxDuration(_) => MAX_DURATION,
            Self::Fields(_) => FIELDS,
            Self::MaxPerHour(_) => MAX_PER_HOUR,
            Self::MaxPerDay(_) => MAX_PER_DAY,
            Self::ValidUntil(_) => VALID_UNTIL,
        }
    }

    /// Returns the value as JSON, which [`Self::parse`] reads.
    #[must_use]
    pub fn value(&self) -> Value {
        match self {
            Self::Rooms(patterns) => patterns.iter().map(Pattern::as_str).collect(),
            Self::CreatedBy(Creator::Agent) => "agent".into(),
            Self::CreatedBy(Creator::Host) => "host".into(),
            Self::RoomModes(texts) | Self::Fields(texts) => {
                texts.iter().map(String::as_str).collect()
            }
            Self::MaxDuration(seconds) => span(*seconds).into(),
            Self::MaxPerHour(most) | Self::MaxPerDay(most) => (*most).into(),
            Self::ValidUntil(date) => date.to_rfc3339().into(),
        }
    }

    /// Returns why the condition does not hold for a call, or `None` if it does.
    #[must_use]
    pub fn unmet(&self, scope: &Scope, facts: &Facts) -> Option<String> {
        let unknown = |why: &String| Some(format!("it cannot be checked: {why}"));
        match self {
            Self::Rooms(patterns) => match scope.creation() {
                Some(creation) => unmatched_prefix(patterns, creation),
                None => unmatched_name(patterns, scope.room()),
            },
            Self::CreatedBy(creator) => match (scope.room(), facts.ids_of(*creator)) {
                (None, _) => Some(NO_ROOM.into()),
                (_, Err(why)) => unknown(&why),
                (Some(_), Ok(ids)) => {
                    let whose = match creator {
                        Creator::Agent => "this agent",
                        Creator::Host => "this host",
                    };
                    ids.is_empty().then(|| format!("{whose} did not create the room"))
                }
            },
            Self::RoomModes(modes) => {
                let mode = scope.creation()?.room_mode();
                let is_one = modes.iter().any(|known| known == mode);
                (!is_one).then(|| format!("the room's mode is {mode}"))
            }
            Self::MaxDuration(most) => {
                let creation = scope.creation()?;
                let length = creation.end_for(facts.now).to_unix_ms() - facts.now.to_unix_ms();
                let default = if creation.has_end() { "" } else { " by default" };
                (length > most * 1000)
                    .then(|| format!("the room would end{default} in {}", span(length / 1000)))
            }
            Self::Fields(allowed) => {
                let mut fields = scope.creation()?.fields().iter();
                let other = fields.find(|field| !allowed.contains(field));
                other.map(|field| format!("`{field}` is asked for in fields"))
            }
            Self::MaxPerHour(_) | Self::MaxPerDay(_) => match &facts.written {
                Err(why) => unknown(why),
                Ok(written) => {
                    let (count, time) = match self {
                        Self::MaxPerHour(_) => (written.last_hour, "60 minutes"),
                        _ => (written.last_day, "24 hours"),
                    };
                    let calls = if count == 1 { "call" } else { "calls" };
                    self.is_exceeded_by(*written)
                        .then(|| format!("{count} {calls} went ahead in the last {time}"))
                }
            },
            Self::ValidUntil(date) => (facts.now >= *date)
                .then(|| format!("it is {}", facts.now.to_seconds().to_rfc3339())),
        }
    }
}

impl Condition {
    /// Whether it limits how many calls go ahead.
    #[must_use]
    pub fn is_quota(&self) -> bool {
        matches!(self, Self::MaxPerHour(_) | Self::MaxPerDay(_))
    }

    /// Whether it is about the room that a call is for.
    pub(crate) fn is_about_rooms(&self) -> bool {
        matches!(self, Self::Rooms(_) | Self::CreatedBy(_))
    }

    /// Whether this many calls are as many as the condition allows.
    #[must_use]
    pub fn is_exceeded_by(&self, written: Written) -> bool {
        match self {
            Self::MaxPerHour(most) => written.last_hour >= *most,
            Self::MaxPerDay(most) => written.last_day >= *most,
            _ => false,
        }
    }
}

/// A condition as a model or a person reads it: `rooms: bot-*, demo-*`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = match self.value() {
            Value::Array(items) if items.is_empty() => "none".to_owned(),
            Value::Array(items) => {
                text::join(&items.iter().filter_map(Value::as_str).collect::<Vec<_>>(), ", ")
            }
            Value::String(text) => text,
            other => text::json(&other),
        };
        write!(f, "{}: {}", self.name(), text::printable(&value, 300))
    }
}

/// Why a call that names no room does not fit a condition about rooms.
const NO_ROOM: &str = "the call names no room";

fn unmatched_prefix(patterns: &[Pattern], creation: &Creation) -> Option<String> {
    let prefix = creation.prefix().unwrap_or_default();
    if patterns.iter().any(|pattern| pattern.is_guaranteed_by(prefix)) {
        return None;
    }
    Some(match prefix {
        "" => "the call gives no room_name_prefix".into(),
        prefix => format!("the room's name would begin with `{}`", text::printable(prefix, 80)),
    })
}

fn unmatched_name(patterns: &[Pattern], room: Option<&RoomName>) -> Option<String> {
    let Some(room) = room else { return Some(NO_ROOM.into()) };
    let matches = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
    // Every spelling that a request may have.
    let other = room.spellings().find(|name| !matches(name))?;
    Some(format!("the room's name is `{}`", text::printable(other, 100)))
}

/// Whether a name matches one of the patterns.
pub(crate) fn any_matches(patterns: &[Pattern], name: &RoomName) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name.as_str()))
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    let wrong = || "must be an array of strings".to_owned();
    let items = match value {
        Value::Array(items) => items.as_slice(),
        single @ Value::String(_) => core::slice::from_ref(single),
        _ => return Err(wrong()),
    };
    if items.len() > MAX_ITEMS {
        return Err(format!("has more than {MAX_ITEMS} items"));
    }
    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

/// Refuses an empty list, which no call fits.
fn some(texts: &[String]) -> Result<(), String> {
    if texts.is_empty() { Err("is empty, so it could never hold".into()) } else { Ok(()) }
}

fn one_of(texts: Vec<String>, known: &[&str]) -> Result<Vec<String>, String> {
    match texts.iter().find(|text| !known.contains(&text.as_str())) {
        Some(other) => Err(format!(
            "unknown value `{}`{}; known here: {}",
            text::printable(other, 60),
            crate::suggest::did_you_mean(other, known),
            text::join(known, ", ")
        )),
        None => Ok(texts),
    }
}

fn count(value: &Value) -> Result<u32, String> {
    let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
    count.filter(|count| *count > 0).ok_or_else(|| "must be an integer from 1".into())
}

/// The units of a time span, in seconds.
const UNITS: [(char, i64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

fn seconds(value: &Value) -> Result<i64, String> {
    let wrong = || "must be a time such as \"90m\", \"2h\" or \"7d\"".to_owned();
    let text = value.as_str().ok_or_else(wrong)?;
    parse_span(text).filter(|seconds| (1..=MAX_SECONDS).contains(seconds)).ok_or_else(wrong)
}

/// Reads a time span such as `90m`, `2h` or `1h30m`, in seconds.
#[must_use]
pub fn parse_span(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut total: i64 = 0;
    let mut least = i64::MAX;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit())?)?;
        let unit = after.chars().next()?;
        let (_, length) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        if length >= least {
            return None;
        }
        least = length;
        total = total.checked_add(digits.parse::<i64>().ok()?.checked_mul(length)?)?;
        rest = after.get(unit.len_utf8()..)?;
    }
    (least < i64::MAX).then_some(total)
}

/// Writes a time span, such as `2h` or `1h30m`.
#[must_use]
pub fn span(seconds: i64) -> String {
    // As u64: one formatter is enough for the guard.
    let mut rest = u64::try_from(seconds).unwrap_or_default();
    let mut written = String::new();
    for (unit, length) in UNITS {
        let length = length.unsigned_abs();
        if rest >= length {
            written += &format!("{}{unit}", rest / length);
            rest %= length;
        }
    }
    if written.is_empty() { "0s".into() } else { written }
}

/// Returns the cases of a parameter of any function that has it, as JSON spells them.
fn cases(name: &str) -> Vec<&'static str> {
    let mut params = FUNCTIONS.iter().flat_map(|function| function.params);
    let mut ty = params.find(|param| param.json == name).map(|param| &param.ty);
    while let Some(Type::Option(inner) | Type::List(inner)) = ty {
        ty = Some(inner);
    }
    match ty {
        Some(Type::Variant(variant)) => variant.cases.iter().map(|case| case.json).collect(),
        Some(Type::Enum(of)) => of.cases.iter().map(|case| case.json).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[path = "conditions_tests.rs"]
mod tests;
