//! What one allowed call may send: its function's requests, bound to its arguments.
//!
//! A grant is issued for one call, checks every attempt to send, and is gone with the call. It sends
//! nothing: its owner asks it before a request leaves, and tells it what came of the request.

use crate::answer::Shape;
use crate::names::{Id, RoomName, RoomRef};
use crate::policy::Permit;
use crate::request::{Asked, Request, Unreadable};
use crate::scope::Scope;
use crate::table::FunctionRule;
use crate::timestamp::Timestamp;
use serde_json::Value;

/// Why a request may not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was tried, and which rule stops it, in one sentence without a full stop.
    pub message: String,
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

/// Whether a write happened, in a call that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Nothing was changed.
    #[default]
    None,
    /// A write was sent and its answer is not known.
    Unknown,
    /// The write was done.
    Done,
}

impl WriteOutcome {
    /// Returns `none`, `unknown` or `done`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unknown => "unknown",
            Self::Done => "done",
        }
    }
}

/// What came of a request that was let go.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
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
pub struct KnownRoom {
    /// Its name, if it could be read.
    pub name: Option<RoomName>,
    /// Its id, if it could be read.
    pub id: Option<Id>,
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
pub struct Grant {
    rule: &'static FunctionRule,
    scope: Scope,
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
pub struct Admitted {
    request: Request,
    /// What a successful response may tell the component.
    pub shape: Shape,
    /// What was known of the write before this attempt, which holds on where it changed nothing.
    before: WriteOutcome,
    /// The method to send.
    pub method: http::Method,
    /// The path, relative to the API's base, and the query to send.
    pub path_and_query: String,
    /// The body to send.
    pub body: Option<Vec<u8>>,
}

impl Admitted {
    /// The path, relative to the API's base, without the query.
    pub fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }
}

impl Grant {
    /// Issues the grant of one call that the policy allowed.
    pub fn issue(
        permit: Permit,
        rule: &'static FunctionRule,
        scope: Scope,
        most_requests: usize,
        begun: Timestamp,
    ) -> Self {
        permit.use_up();
        Self {
            rule,
            scope,
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
    pub fn admit(&mut self, asked: Asked<'_>) -> Result<Admitted, Refusal> {
        let request = Request::read(asked).map_err(|Unreadable(what)| self.refuse(&what))?;
        let name = || format!("{} {}", request.method(), request.path());
        if !self.scope.allows(&request, self.begun) {
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
            match (&request, &self.scope) {
                (Request::DeleteRoom { id }, _) => self.check_listed(id, name())?,
                // Every attempt has the same bytes, as nothing in them is the component's.
                (Request::CreateRoom { .. }, Scope::Creation(creation)) => {
                    body = Some(creation.to_body(self.begun));
                }
                _ => {}
            }
            // One deletion is of one room, however often it is tried.
            if let (Request::DeleteRoom { id }, Scope::Deletion { room }) = (&request, &self.scope)
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
            shape: self.scope.shape(&request),
            before,
            method: request.method(),
            path_and_query: request.path_and_query(),
            body,
            request,
        })
    }

    /// Records what came of a request.
    pub fn settle(&mut self, admitted: &Admitted, answer: Answer<'_>) {
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
        if let (Scope::Deletion { room }, Answer::Status(200, body)) = (&self.scope, answer)
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
        let is_shown = matches!((&self.scope, &own.name),
            (Scope::Deletion { room }, Some(name)) if room.name.is_shown_as(name));
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
    pub fn outcome(&self) -> WriteOutcome {
        self.outcome
    }

    /// Returns whether Whereby listed the room that the call deletes.
    pub fn has_listed(&self) -> bool {
        self.listed.iter().any(|listed| listed.is_asked)
    }

    /// The room that the call created, or tried to delete.
    pub fn room(&self) -> &KnownRoom {
        &self.room
    }

    /// How many requests were let go.
    #[cfg(test)]
    pub fn sent(&self) -> usize {
        self.sent
    }

    fn refuse(&self, what: &str) -> Refusal {
        Refusal {
            message: format!(
                "the component tried to send {what}; this call of {} may send {}",
                self.rule.name,
                self.rule.requests.join(", ")
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
