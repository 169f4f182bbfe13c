//! What one allowed call may send: its function's requests, bound to its arguments.
//!
//! This is the table of effects and requests that the host keeps for itself, because it may not
//! believe the component. A grant is issued for one call, checked at every attempt to send, and
//! gone with the call. It does no IO: `http.rs` asks it, and tells it what came of each request.

use crate::arguments::Arguments;
use crate::catalog::Function;
use crate::creation::Creation;
use crate::error::{Error, WriteOutcome};
use crate::names::{Id, MeetingRef, RoomName, RoomRef};
use crate::policy::Permit;
use crate::request::{Asked, Page, Request, Unreadable};
use crate::timestamp::Timestamp;
use serde_json::Value;

/// What each function may send, for people: what `--dry-run` and denials show.
///
/// The grant is the same table bound to arguments, and a test holds the two together.
#[must_use]
pub(crate) fn permitted_requests(function: &Function) -> &'static [&'static str] {
    match function.json {
        "list_rooms" | "get_room" | "get_current_user" => &["GET /meetings"],
        "create_room" => &["POST /meetings"],
        "delete_room" => &["GET /meetings", "DELETE /meetings/{meetingId}"],
        "list_meetings" => &["GET /insights/rooms", "GET /insights/room-sessions"],
        "get_meeting" => &[
            "GET /insights/room-sessions",
            "GET /insights/participants",
            "GET /recordings",
            "GET /transcriptions",
        ],
        // A function that the table does not know may send nothing.
        _ => &[],
    }
}

/// Why a request may not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What was tried, and which rule stops it, in one sentence without a full stop.
    pub(crate) message: String,
}

/// The function's requests, bound to the call's arguments.
#[derive(Debug)]
pub(crate) enum Bounds {
    Rooms { page: Page },
    Room { name: RoomName },
    Creation(Creation),
    Deletion { room: RoomRef },
    RoomMeetings { room: RoomName },
    AllMeetings { to: Option<(Timestamp, Timestamp)> },
    Meeting(MeetingRef),
    CurrentUser,
}

impl Bounds {
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] where the arguments fit the schema and yet stand for no request.
    pub(crate) fn of(
        function: &Function,
        arguments: &Arguments,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let wrong = |name: &str, reason: String| Error::InvalidArgument {
            message: format!("{name}: {reason}"),
        };
        let room = || {
            let text = arguments.text("room_name").unwrap_or_default();
            RoomRef::parse(text).map_err(|reason| wrong("room_name", reason))
        };
        Ok(match function.json {
            "list_rooms" => Self::Rooms {
                page: Page {
                    limit: arguments.number("limit").and_then(|limit| limit.try_into().ok()),
                    cursor: arguments.text("cursor").map(str::to_owned),
                },
            },
            "get_room" => Self::Room { name: room()?.name },
            "create_room" => Self::Creation(Creation::new(arguments, now)?),
            "delete_room" => Self::Deletion { room: room()? },
            "list_meetings" if arguments.get("room_name").is_some() => {
                Self::RoomMeetings { room: room()?.name }
            }
            "list_meetings" => {
                let to = arguments.text("to_date").map(|text| {
                    let first = Timestamp::parse_argument(text, true)?;
                    Ok((first, Timestamp::parse_last(text)?.plus_seconds(1)))
                });
                Self::AllMeetings { to: to.transpose().map_err(|reason| wrong("to_date", reason))? }
            }
            "get_meeting" => {
                let text = arguments.text("meeting_id").unwrap_or_default();
                Self::Meeting(
                    MeetingRef::parse(text).map_err(|reason| wrong("meeting_id", reason))?,
                )
            }
            "get_current_user" => Self::CurrentUser,
            other => {
                return Err(Error::Internal {
                    message: format!("the table of requests does not know {other}"),
                });
            }
        })
    }

    /// Whether the request is one of this call's.
    fn allow(&self, request: &Request, begun: Timestamp) -> bool {
        match (self, request) {
            (Self::Rooms { page: asked }, Request::ListRooms { page, starts_with: None }) => {
                asked == page
            }
            (Self::Room { name }, Request::ListRooms { starts_with, .. })
            | (
                Self::Deletion { room: RoomRef { name, .. } },
                Request::ListRooms { starts_with, .. },
            ) => starts_with.as_ref() == Some(name),
            (Self::Creation(creation), Request::CreateRoom { body }) => {
                creation.matches(body, begun)
            }
            // Which room an id stands for is checked where the ids that were listed are known.
            (Self::Deletion { .. }, Request::DeleteRoom { .. }) => true,
            (
                Self::RoomMeetings { room: asked },
                Request::ListSessions { room, session: None, .. },
            ) => asked == room,
            (Self::AllMeetings { to }, Request::ListInsightRooms { created_to, .. }) => {
                match (to, created_to) {
                    (_, None) => true,
                    (Some((first, last)), Some(created)) => (first..=last).contains(&created),
                    (None, Some(_)) => false,
                }
            }
            // The rooms are those that Whereby listed, or that the cursor of an earlier page names.
            (Self::AllMeetings { .. }, Request::ListSessions { session: None, .. }) => true,
            (Self::Meeting(meeting), Request::ListSessions { room, session, .. }) => {
                session.as_ref() == Some(&meeting.session)
                    && meeting.room.as_ref().is_none_or(|asked| asked == room)
            }
            (Self::Meeting(meeting), Request::ListParticipants { session, .. }) => {
                *session == meeting.session
            }
            (Self::Meeting(meeting), Request::ListRecordings { room, .. }) => *room == meeting.room,
            // Only a session whose room is not known is looked for among the transcriptions.
            (Self::Meeting(meeting), Request::ListTranscriptions { room: None, .. }) => {
                meeting.room.is_none()
            }
            (Self::CurrentUser, Request::ListRooms { page, starts_with: None }) => {
                *page == Page { limit: Some(1), cursor: None }
            }
            _ => false,
        }
    }
}

/// The one write that a call may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    /// Not tried, or tried in a way that surely changed nothing and may be tried again.
    Unused,
    /// Under way.
    InFlight,
    /// Over.
    Spent,
}

/// What came of a request that was let go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer<'a> {
    /// No connection was made, so nothing was sent.
    NotSent,
    /// It may have been sent, and no whole answer came.
    Lost,
    /// Whereby answered.
    Status(u16, &'a [u8]),
}

/// A room as Whereby names it, as far as that could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownRoom {
    pub(crate) name: Option<RoomName>,
    pub(crate) id: Option<Id>,
}

impl KnownRoom {
    /// Reads a room of Whereby's list, or the one that it has just made.
    fn read(meeting: &Value) -> Self {
        let text = |name: &str| meeting.get(name).and_then(Value::as_str);
        let url = text("roomUrl").and_then(|url| url::Url::parse(url).ok());
        let name = text("roomName").or_else(|| url.as_ref().map(url::Url::path));
        let name = name.and_then(|name| RoomName::parse(name.strip_prefix('/').unwrap_or(name)));
        let id = match meeting.get("meetingId") {
            Some(Value::Number(number)) => Id::parse(&number.to_string()),
            other => other.and_then(Value::as_str).and_then(Id::parse),
        };
        Self { name, id }
    }
}

/// The authority of one allowed call, used up by it.
#[derive(Debug)]
pub(crate) struct Grant {
    function: &'static Function,
    bounds: Bounds,
    write: Write,
    outcome: WriteOutcome,
    /// The room that was created, or whose deletion was tried.
    room: KnownRoom,
    /// The bytes of the first attempt to write, which every further one repeats.
    body: Option<Vec<u8>>,
    /// The ids that Whereby listed, during this call, under the very room to be deleted; once a
    /// deletion was tried, its id alone.
    listed: Vec<Id>,
    /// Whether a deletion was tried.
    chosen: bool,
    sent: usize,
    most: usize,
    /// When leave was given.
    begun: Timestamp,
}

/// A request that may leave, written anew.
#[derive(Debug)]
pub(crate) struct Admitted {
    request: Request,
    /// What was known of the write before this attempt, which holds on where it changed nothing.
    before: WriteOutcome,
    pub(crate) method: http::Method,
    pub(crate) path_and_query: String,
    pub(crate) body: Option<Vec<u8>>,
}

impl Admitted {
    /// The path, relative to the API's base, without the query.
    pub(crate) fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }
}

impl Grant {
    /// Issues the grant of one call that the policy allowed.
    pub(crate) fn issue(
        permit: Permit,
        function: &'static Function,
        bounds: Bounds,
        most_requests: usize,
        begun: Timestamp,
    ) -> Self {
        permit.use_up();
        Self {
            function,
            bounds,
            write: Write::Unused,
            outcome: WriteOutcome::None,
            room: KnownRoom::default(),
            body: None,
            listed: Vec::new(),
            chosen: false,
            sent: 0,
            most: most_requests,
            begun,
        }
    }

    /// Reads what the component asks to send, and lets it go where this call may send it.
    pub(crate) fn admit(&mut self, asked: Asked<'_>) -> Result<Admitted, Refusal> {
        let request = Request::read(asked).map_err(|Unreadable(what)| self.refuse(&what))?;
        let name = || format!("{} {}", request.method(), request.path());
        if !self.bounds.allow(&request, self.begun) {
            return Err(self.refuse(&format!("{} with other content than asked for", name())));
        }
        if self.sent >= self.most {
            return Err(Refusal {
                message: format!("the component tried to send more than {} requests", self.most),
            });
        }
        let mut body = None;
        if request.is_write() {
            match self.write {
                Write::Unused => {}
                Write::InFlight => {
                    return Err(self.refuse(&format!("{} while one is under way", name())));
                }
                Write::Spent => return Err(self.refuse(&format!("{} a second time", name()))),
            }
            match (&request, &self.bounds) {
                (Request::DeleteRoom { id }, _) if !self.listed.contains(id) => {
                    return Err(self.refuse(&format!(
                        "{}, which Whereby did not list under the room asked for",
                        name()
                    )));
                }
                (Request::CreateRoom { body: asked }, Bounds::Creation(creation)) => {
                    let bytes = creation.to_body(asked);
                    if self.body.as_ref().is_some_and(|first| *first != bytes) {
                        return Err(self.refuse(&format!("{} with another body", name())));
                    }
                    self.body = Some(bytes);
                    body.clone_from(&self.body);
                }
                _ => {}
            }
            // One deletion is of one room, however often it is tried.
            if let (Request::DeleteRoom { id }, Bounds::Deletion { room }) =
                (&request, &self.bounds)
            {
                self.listed.retain(|listed| listed == id);
                self.chosen = true;
                self.room = KnownRoom { name: Some(room.name.clone()), id: Some(id.clone()) };
            }
            self.write = Write::InFlight;
        }
        self.sent += 1;
        let before = self.outcome;
        if request.is_write() {
            self.outcome = WriteOutcome::Unknown;
        }
        Ok(Admitted {
            before,
            method: request.method(),
            path_and_query: request.path_and_query(),
            body,
            request,
        })
    }

    /// Learns what came of a request.
    pub(crate) fn settle(&mut self, admitted: &Admitted, answer: Answer<'_>) {
        match &admitted.request {
            Request::CreateRoom { .. } => {
                // Only a rate limit surely made no room and may pass by itself.
                let (write, outcome) = match answer {
                    Answer::Status(429, _) => (Write::Unused, admitted.before),
                    Answer::Status(200..=299, _) => (Write::Spent, WriteOutcome::Done),
                    Answer::Status(300..=499, _) | Answer::NotSent => {
                        (Write::Spent, admitted.before)
                    }
                    Answer::Status(..) | Answer::Lost => (Write::Spent, WriteOutcome::Unknown),
                };
                self.write = write;
                self.outcome = outcome;
                if let (WriteOutcome::Done, Answer::Status(_, body)) = (outcome, answer) {
                    let created: Value = serde_json::from_slice(body).unwrap_or_default();
                    self.room = KnownRoom::read(&created);
                }
            }
            Request::DeleteRoom { .. } => {
                // Deleting twice is deleting once, so what failed in passing may be tried again.
                self.write = match answer {
                    Answer::Status(429 | 502..=504, _) | Answer::NotSent | Answer::Lost => {
                        Write::Unused
                    }
                    Answer::Status(..) => Write::Spent,
                };
                self.outcome = match answer {
                    // Whereby listed it, and now it is gone.
                    Answer::Status(200..=299 | 404, _) => WriteOutcome::Done,
                    Answer::Status(300..=499, _) | Answer::NotSent => admitted.before,
                    Answer::Status(..) | Answer::Lost => WriteOutcome::Unknown,
                };
            }
            Request::ListRooms { .. } => {
                if let (Bounds::Deletion { room }, Answer::Status(200, body)) =
                    (&self.bounds, answer)
                    && !self.chosen
                {
                    self.listed.extend(ids_of(room, body));
                }
            }
            _ => {}
        }
    }

    /// Whether the call changed anything, as far as is known.
    pub(crate) fn outcome(&self) -> WriteOutcome {
        self.outcome
    }

    /// The room that the call created, or tried to delete.
    pub(crate) fn room(&self) -> &KnownRoom {
        &self.room
    }

    /// How many requests were let go.
    #[cfg(test)]
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    fn refuse(&self, what: &str) -> Refusal {
        Refusal {
            message: format!(
                "the component tried to send {what}; this call of {} may send {}",
                self.function.json,
                permitted_requests(self.function).join(", ")
            ),
        }
    }
}

/// The ids that a page of Whereby's list has under the very room: its name, and the host of its URL
/// where the caller gave one.
fn ids_of(room: &RoomRef, page: &[u8]) -> Vec<Id> {
    // A page that cannot be read lists nothing, so nothing can be deleted on its word.
    let page: Value = serde_json::from_slice(page).unwrap_or_default();
    let results = page.get("results").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let listed = |meeting: &Value| {
        let url = url::Url::parse(meeting.get("roomUrl")?.as_str()?).ok()?;
        let same_host = room.host.as_deref().is_none_or(|host| url.host_str() == Some(host));
        let KnownRoom { name, id } = KnownRoom::read(meeting);
        id.filter(|_| name.as_ref() == Some(&room.name) && same_host)
    };
    results.iter().filter_map(listed).collect()
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;
