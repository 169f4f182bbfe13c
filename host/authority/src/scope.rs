//! The requests that a call's arguments allow.

use crate::Error;
use crate::answer::{self, Shape};
use crate::arguments::Arguments;
use crate::creation::Creation;
use crate::names::{MeetingRef, RoomName, RoomRef};
use crate::prelude::*;
use crate::request::{Page, Request};
use crate::timestamp::Timestamp;

/// The requests that one call may send, bound to its arguments.
#[derive(Debug)]
pub enum Scope {
    /// One page of rooms.
    Rooms {
        /// The page that the caller asked for.
        page: Page,
    },
    /// The rooms whose names begin with this one, to find it.
    Room {
        /// The room's name.
        name: RoomName,
    },
    /// The creation of one room.
    Creation(Creation),
    /// The search for one room, and its deletion.
    Deletion {
        /// The room that the caller named.
        room: RoomRef,
    },
    /// The meetings of one room.
    RoomMeetings {
        /// The room's name.
        room: RoomName,
    },
    /// The meetings of all rooms.
    AllMeetings {
        /// The end of the period, if the caller gave one.
        to: Option<Timestamp>,
    },
    /// The session, participants, recordings and transcriptions of one meeting.
    Meeting(MeetingRef),
    /// One room, whose URL shows which organization the key belongs to.
    CurrentUser,
}

impl Scope {
    pub(crate) fn rooms(arguments: &Arguments) -> Result<Self, Error> {
        let limit = arguments.number("limit").and_then(|limit| limit.try_into().ok());
        let cursor = arguments.text("cursor").map(str::to_owned);
        Ok(Self::Rooms { page: Page { limit, cursor } })
    }

    pub(crate) fn one_room(arguments: &Arguments) -> Result<Self, Error> {
        Ok(Self::Room { name: room(arguments)?.name })
    }

    pub(crate) fn new_room(arguments: &Arguments, now: Timestamp) -> Result<Self, Error> {
        Creation::new(arguments, now).map(Self::Creation)
    }

    pub(crate) fn deletion(arguments: &Arguments) -> Result<Self, Error> {
        Ok(Self::Deletion { room: room(arguments)? })
    }

    pub(crate) fn meetings(arguments: &Arguments) -> Result<Self, Error> {
        if arguments.get("room_name").is_some() {
            return Ok(Self::RoomMeetings { room: room(arguments)?.name });
        }
        let to = arguments.text("to_date").map(|text| Timestamp::parse_argument(text, true));
        let to = to.transpose().map_err(|reason| Error::argument("to_date", &reason))?;
        Ok(Self::AllMeetings { to })
    }

    pub(crate) fn meeting(arguments: &Arguments) -> Result<Self, Error> {
        let text = arguments.text("meeting_id").unwrap_or_default();
        let meeting = MeetingRef::parse(text);
        meeting.map(Self::Meeting).map_err(|reason| Error::argument("meeting_id", &reason))
    }

    /// Returns the room that the call is for; `None` if it is for none, or for one that the arguments do
    /// not name.
    #[must_use]
    pub fn room(&self) -> Option<&RoomName> {
        match self {
            Self::Room { name } | Self::RoomMeetings { room: name } => Some(name),
            Self::Deletion { room } => Some(&room.name),
            Self::Meeting(meeting) => meeting.room.as_ref(),
            Self::Rooms { .. }
            | Self::Creation(_)
            | Self::AllMeetings { .. }
            | Self::CurrentUser => None,
        }
    }

    /// Whether the call reads meetings, whose errors could name people.
    #[must_use]
    pub(crate) fn is_about_meetings(&self) -> bool {
        matches!(self, Self::RoomMeetings { .. } | Self::AllMeetings { .. } | Self::Meeting(_))
    }

    /// Whether the responses of the call list people.
    #[must_use]
    pub fn lists_people(&self) -> bool {
        matches!(self, Self::Meeting(_))
    }

    /// Returns the room that the call creates.
    #[must_use]
    pub(crate) fn creation(&self) -> Option<&Creation> {
        match self {
            Self::Creation(creation) => Some(creation),
            _ => None,
        }
    }

    /// Whether this call may send the request.
    pub(crate) fn allows(&self, request: &Request, begun: Timestamp) -> bool {
        match (self, request) {
            (Self::Rooms { page: asked }, Request::ListRooms { page, starts_with: None }) => {
                asked == page
            }
            (Self::Room { name }, Request::ListRooms { starts_with, .. })
            | (
                Self::Deletion { room: RoomRef { name, .. } },
                Request::ListRooms { starts_with, .. },
            ) => starts_with.as_ref().is_some_and(|asked| name.may_be(asked)),
            (Self::Creation(creation), Request::CreateRoom { body }) => {
                creation.matches(body, begun)
            }
            // The grant checks the id, because it knows which rooms were listed.
            (Self::Deletion { .. }, Request::DeleteRoom { .. }) => true,
            (
                Self::RoomMeetings { room: asked },
                Request::ListSessions { room, session: None, .. },
            ) => asked.may_be(room),
            (Self::AllMeetings { to }, Request::ListInsightRooms { created_to, .. }) => {
                created_to.is_none() || created_to == to
            }
            // Any room: Whereby listed it, or the cursor of an earlier page names it.
            (Self::AllMeetings { .. }, Request::ListSessions { session: None, .. }) => true,
            (Self::Meeting(meeting), Request::ListSessions { room, session, .. }) => {
                session.as_ref() == Some(&meeting.session)
                    && meeting.room.as_ref().is_none_or(|asked| asked.may_be(room))
            }
            (Self::Meeting(meeting), Request::ListParticipants { session, .. }) => {
                *session == meeting.session
            }
            (Self::Meeting(meeting), Request::ListRecordings { room, .. }) => {
                match (&meeting.room, room) {
                    (Some(asked), Some(room)) => asked.may_be(room),
                    (asked, room) => asked.is_none() && room.is_none(),
                }
            }
            // Only a session without a room is looked up in the transcriptions.
            (Self::Meeting(meeting), Request::ListTranscriptions { room: None, .. }) => {
                meeting.room.is_none()
            }
            (Self::CurrentUser, Request::ListRooms { page, starts_with: None }) => {
                *page == Page { limit: Some(1), cursor: None }
            }
            _ => false,
        }
    }

    /// Returns what the component may see of the response to a request of this call.
    pub(crate) fn shape(&self, request: &Request) -> Shape {
        match request {
            Request::ListRooms { .. } => match self {
                Self::CurrentUser => Shape::Page(answer::ROOM_URL),
                _ => Shape::Page(answer::ROOM),
            },
            Request::CreateRoom { .. } => Shape::Object {
                members: answer::CREATED_ROOM,
                left_out: match self {
                    Self::Creation(creation) => creation.urls_not_asked_for(),
                    _ => &["hostRoomUrl", "viewerRoomUrl"],
                },
            },
            Request::DeleteRoom { .. } => Shape::Nothing,
            Request::ListInsightRooms { .. } => Shape::Page(answer::INSIGHT_ROOM),
            Request::ListSessions { .. } => Shape::Page(answer::SESSION),
            Request::ListParticipants { .. } => Shape::Page(answer::PARTICIPANT),
            Request::ListRecordings { .. } => Shape::Page(answer::RECORDING),
            Request::ListTranscriptions { .. } => Shape::Page(answer::TRANSCRIPTION),
        }
    }
}

fn room(arguments: &Arguments) -> Result<RoomRef, Error> {
    let text = arguments.text("room_name").unwrap_or_default();
    RoomRef::parse(text).map_err(|reason| Error::argument("room_name", &reason))
}
