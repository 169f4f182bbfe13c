//! Parses responses and rebuilds them, so that the component reads only JSON that the host wrote.
//!
//! A response is cut down to the members that the call's function may see. Everything else is dropped: other
//! members, the original spelling, and bodies that are not JSON. Every string that is kept passes through
//! [`Redactor`], which removes the access token.

mod complaint;
mod rebuild;
mod redactor;

pub use complaint::Complaint;
pub use rebuild::{Unreadable, rebuild};
pub use redactor::{REDACTED, Redactor};

/// The maximum retry delay, in seconds: 30 days. Longer ones are cut to this.
pub const LONGEST_WAIT: u64 = 30 * 24 * 60 * 60;

/// Reads the seconds of `Retry-After` (RFC 9110), rounded up. Returns `None` for anything else, such as a date.
#[must_use]
pub fn whole_seconds(value: &str) -> Option<u64> {
    let (whole, part) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) {
        return None;
    }
    let part = u64::from(part.bytes().any(|digit| digit != b'0'));
    // If digits fail to parse, the number is too large.
    Some(whole.parse().unwrap_or(LONGEST_WAIT).saturating_add(part).min(LONGEST_WAIT))
}

/// The type of a member. A value of another type is replaced by an empty value of that other type, so
/// that the component can still say what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A string.
    Text,
    /// A string or a number: Whereby writes ids as either.
    Id,
    /// A number.
    Number,
}

/// A member of an object.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    pub(crate) name: &'static str,
    /// What is written before the value: a comma, the name, and a colon.
    written: &'static str,
    kind: Kind,
}

/// The members of an object.
type Members = &'static [Member];

/// The maximum number of members that an object can keep.
const MOST_MEMBERS: usize = 8;

/// Lists members with their types. A name must need no escapes in JSON.
macro_rules! members {
    ($($name:literal: $kind:ident),* $(,)?) => {{
        const MEMBERS: Members = &[$(Member {
            name: $name,
            written: concat!(",\"", $name, "\":"),
            kind: Kind::$kind,
        },)*];
        const { assert!(MEMBERS.len() <= MOST_MEMBERS) };
        MEMBERS
    }};
}
use members;

/// What the component may see of a successful response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `results`, with these members in each row, and `cursor`.
    Page(Members),
    /// An object with these members.
    Object {
        /// The members that the response may have.
        members: Members,
        /// The members that this call may not see.
        left_out: &'static [&'static str],
    },
    /// Only that a response came.
    Nothing,
}

/// A room in `GET /meetings`.
pub const ROOM: Members = members! {
    "meetingId": Id,
    "roomName": Text,
    "roomUrl": Text,
    "startDate": Text,
    "endDate": Text,
};

/// The room that `POST /meetings` created.
pub const CREATED_ROOM: Members = members! {
    "meetingId": Id,
    "roomName": Text,
    "roomUrl": Text,
    "startDate": Text,
    "endDate": Text,
    "hostRoomUrl": Text,
    "viewerRoomUrl": Text,
};

/// A room as get_current_user sees it: its URL contains the organization's subdomain.
pub const ROOM_URL: Members = members! { "roomUrl": Text };

/// A room in `GET /insights/rooms`.
pub const INSIGHT_ROOM: Members = members! {
    "roomName": Text,
    "totalSessions": Number,
    "firstSessionStartedAt": Text,
    "lastSessionStartedAt": Text,
};

/// A session in `GET /insights/room-sessions`. Whereby has used two names for each date.
pub const SESSION: Members = members! {
    "roomSessionId": Text,
    "roomName": Text,
    "startedAt": Text,
    "createdAt": Text,
    "endedAt": Text,
    "endAt": Text,
    "totalUniqueParticipants": Number,
    "totalRecorderMinutes": Number,
};

/// A participant in `GET /insights/participants`.
pub const PARTICIPANT: Members = members! {
    "roomSessionId": Text,
    "participantId": Id,
    "roleName": Text,
    "displayName": Text,
    "joinedAt": Text,
    "leftAt": Text,
    "externalId": Id,
};

/// A participant. The host uses the user's id to recognize a person in other sessions; the component never
/// reads that id.
pub(crate) const PARTICIPANT_AND_USER: Members = members! {
    "roomSessionId": Text,
    "participantId": Id,
    "userId": Id,
    "roleName": Text,
    "displayName": Text,
    "joinedAt": Text,
    "leftAt": Text,
    "externalId": Id,
};

/// A recording in `GET /recordings`.
pub const RECORDING: Members = members! {
    "recordingId": Id,
    "roomSessionId": Text,
    "roomName": Text,
    "filename": Text,
    "startDate": Text,
    "endDate": Text,
    "sizeInMegaBytes": Number,
};

/// A transcription in `GET /transcriptions`.
pub const TRANSCRIPTION: Members = members! { "roomSessionId": Text, "roomName": Text };

/// Returns a body without the byte order mark that may come before it.
fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}
