//! What one allowed call may send: its function's requests, bound to its arguments.
//!
//! This is the table of effects and requests that the host keeps for itself, because it may not
//! believe the component. A grant is issued for one call, checked at every attempt to send, and
//! gone with the call. It does no IO: `http.rs` asks it, and tells it what came of each request.

use crate::answer::{self, Shape};
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
    AllMeetings { to: Option<Timestamp> },
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
                let to =
                    arguments.text("to_date").map(|text| Timestamp::parse_argument(text, true));
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
            ) => starts_with.as_ref().is_some_and(|asked| name.may_be(asked)),
            (Self::Creation(creation), Request::CreateRoom { body }) => {
                creation.matches(body, begun)
            }
            // Which room an id stands for is checked where the ids that were listed are known.
            (Self::Deletion { .. }, Request::DeleteRoom { .. }) => true,
            (
                Self::RoomMeetings { room: asked },
                Request::ListSessions { room, session: None, .. },
            ) => asked.may_be(room),
            (Self::AllMeetings { to }, Request::ListInsightRooms { created_to, .. }) => {
                created_to.is_none() || created_to == to
            }
            // The rooms are those that Whereby listed, or that the cursor of an earlier page names.
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

    /// What the response to one of this call's requests may tell.
    fn shape(&self, request: &Request) -> Shape {
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

/// The one write that a call may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    /// Not tried, or tried in a way after which it may be tried again.
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
    /// Whereby answered: the status, and the body as the component reads it.
    Status(u16, &'a [u8]),
    /// Something answered with a success that nobody can read.
    Unreadable,
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
        let name = match text("roomName") {
            Some(name) => RoomName::parse(name.strip_prefix('/').unwrap_or(name)),
            None => url.as_ref().and_then(|url| RoomName::parse_path(url.path())),
        };
        let id = match meeting.get("meetingId") {
            Some(Value::Number(number)) => Id::parse(&number.to_string()),
            other => other.and_then(Value::as_str).and_then(Id::parse),
        };
        Self { name, id }
    }
}

/// A room that Whereby listed to a call that deletes one.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    id: Id,
    /// The name as it was listed; `None` where it cannot be read.
    name: Option<RoomName>,
    /// Whether it is the room that the call names.
    is_asked: bool,
}

impl Listed {
    fn shown_name(&self) -> String {
        let name = self.name.as_ref().map_or("", RoomName::as_str);
        crate::text::printable(name, 100)
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
    /// The rooms that Whereby listed during a call that deletes; once a deletion was tried, that of
    /// its id alone.
    listed: Vec<Listed>,
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
    /// What a successful response may tell the component.
    pub(crate) shape: Shape,
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
                (Request::DeleteRoom { id }, _) => self.check_listed(id, name())?,
                // Every attempt has the same bytes, as nothing in them is the component's.
                (Request::CreateRoom { .. }, Bounds::Creation(creation)) => {
                    body = Some(creation.to_body(self.begun));
                }
                _ => {}
            }
            // One deletion is of one room, however often it is tried.
            if let (Request::DeleteRoom { id }, Bounds::Deletion { room }) =
                (&request, &self.bounds)
            {
                self.listed.retain(|listed| listed.id == *id);
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
            shape: self.bounds.shape(&request),
            before,
            method: request.method(),
            path_and_query: request.path_and_query(),
            body,
            request,
        })
    }

    /// Records what came of a request.
    pub(crate) fn settle(&mut self, admitted: &Admitted, answer: Answer<'_>) {
        if admitted.request.is_write() {
            self.outcome = match proof(&admitted.request, answer) {
                Proof::Done => WriteOutcome::Done,
                Proof::Refused => admitted.before,
                Proof::Open => WriteOutcome::Unknown,
            };
            self.write = match may_be_repeated(&admitted.request, answer) {
                true => Write::Unused,
                false => Write::Spent,
            };
            if let (Request::CreateRoom { .. }, WriteOutcome::Done, Answer::Status(_, body)) =
                (&admitted.request, self.outcome, answer)
            {
                let created: Value = serde_json::from_slice(body).unwrap_or_default();
                self.room = KnownRoom::read(&created);
            }
            return;
        }
        if let (Bounds::Deletion { room }, Answer::Status(200, body)) = (&self.bounds, answer)
            && !self.chosen
        {
            for listed in rooms_of(room, body) {
                if !self.listed.contains(&listed) {
                    self.listed.push(listed);
                }
            }
        }
    }

    /// Refuses a deletion of anything but the one room that Whereby listed under the name asked for.
    /// Where the list leaves any doubt about which one that is, nothing is deleted.
    fn check_listed(&self, id: &Id, request: String) -> Result<(), Refusal> {
        let mut asked = self.listed.iter().filter(|listed| listed.is_asked);
        let Some(own) = asked.clone().find(|listed| listed.id == *id) else {
            return Err(self.refuse(&format!(
                "{request}, which Whereby did not list under the room asked for"
            )));
        };
        // A person is shown the name in lower case, and may have meant the room that has it.
        let is_shown = matches!((&self.bounds, &own.name),
            (Bounds::Deletion { room }, Some(name)) if room.name.is_shown_as(name));
        let twin = asked.find(|other| match other.name == own.name {
            true => other.id != own.id,
            false => !is_shown,
        });
        let alias = self
            .listed
            .iter()
            .find(|other| other.id == own.id && (other.name != own.name || !other.is_asked));
        match twin.or(alias) {
            Some(other) => Err(self.refuse(&format!(
                "{request}, while Whereby lists both `{}` with the id {} and `{}` with the id {}",
                own.shown_name(),
                own.id.as_str(),
                other.shown_name(),
                other.id.as_str()
            ))),
            None => Ok(()),
        }
    }

    /// Whether the call changed anything, as far as is known.
    pub(crate) fn outcome(&self) -> WriteOutcome {
        self.outcome
    }

    /// Returns whether Whereby listed the room that the call deletes.
    pub(crate) fn has_listed(&self) -> bool {
        self.listed.iter().any(|listed| listed.is_asked)
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

/// What an answer to a write proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// The write happened.
    Done,
    /// This attempt changed nothing.
    Refused,
    /// It may have happened.
    Open,
}

/// The one table from a write and its answer to what is known of the write. Whatever is not in it
/// leaves the write open: a status says nothing by its class alone.
fn proof(write: &Request, answer: Answer<'_>) -> Proof {
    let is_deletion = matches!(write, Request::DeleteRoom { .. });
    match answer {
        Answer::NotSent => Proof::Refused,
        // 202 says that it has yet to be done, and nothing says that another one means that it was.
        Answer::Status(200 | 204, _) if is_deletion => Proof::Done,
        Answer::Status(200..=299, body) if !is_deletion && is_room(body) => Proof::Done,
        // Whereby listed the room a moment ago, and now it is gone.
        Answer::Status(404, _) if is_deletion => Proof::Done,
        // Each of these says that the request was not carried out. A timeout (408), a 499 of a proxy
        // or a redirect does not: the request may have been carried out before.
        Answer::Status(400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 | 422 | 429, _) => {
            Proof::Refused
        }
        Answer::Status(..) | Answer::Unreadable | Answer::Lost => Proof::Open,
    }
}

/// Whether the component may send the write again.
fn may_be_repeated(write: &Request, answer: Answer<'_>) -> bool {
    match (write, answer) {
        // A rate limit made no room and passes by itself.
        (_, Answer::Status(429, _)) => true,
        // Deleting twice is deleting once.
        (
            Request::DeleteRoom { .. },
            Answer::Status(502..=504, _) | Answer::NotSent | Answer::Lost,
        ) => true,
        _ => false,
    }
}

/// Whether a body is the room that `POST /meetings` is documented to answer with.
fn is_room(body: &[u8]) -> bool {
    let room: Value = serde_json::from_slice(body).unwrap_or_default();
    let is_id = match &room["meetingId"] {
        Value::String(id) => !id.is_empty(),
        Value::Number(id) => id.is_u64(),
        _ => false,
    };
    is_id && room["roomUrl"].as_str().is_some_and(|url| !url.is_empty())
}

/// The rooms of a page of Whereby's list. One is the room asked for by its name, and by the host of
/// its URL where the caller gave one.
fn rooms_of(room: &RoomRef, page: &[u8]) -> Vec<Listed> {
    // A page that cannot be read lists nothing, so nothing can be deleted on its word.
    let page: Value = serde_json::from_slice(page).unwrap_or_default();
    let results = page.get("results").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let listed = |meeting: &Value| {
        let url = meeting.get("roomUrl").and_then(Value::as_str);
        let url = url.and_then(|url| url::Url::parse(url).ok());
        let is_on_host = match (&room.host, &url) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(host), Some(url)) => url.host_str() == Some(host),
        };
        let KnownRoom { name, id } = KnownRoom::read(meeting);
        let is_named = name.as_ref().is_some_and(|name| room.name.may_be(name));
        Some(Listed { id: id?, name, is_asked: is_named && is_on_host })
    };
    results.iter().filter_map(listed).collect()
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;
