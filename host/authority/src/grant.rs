//! The grant of one allowed call: its function's requests, bound to its arguments.
//!
//! A grant is issued for one call, checks every attempt to send, and ends with the call. It sends
//! nothing: its owner asks it before a request leaves, and reports the request's outcome.

use crate::answer::{self, Shape};
use crate::conditions::{Condition, Facts, any_matches};
use crate::names::{Id, MeetingRef, RoomName, RoomRef};
use crate::people::View;
use crate::policy::Permit;
use crate::prelude::*;
use crate::request::{Asked, InvalidRequest, Page, Request, is_cursor};
use crate::scope::Scope;
use crate::table::FunctionRule;
use crate::timestamp::Timestamp;
use crate::url::Url;
use serde_json::Value;

/// Why a request may not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was tried, and which rule forbids it.
    pub message: String,
    /// Whether a rule denies what the caller asked for, so that the component is not to blame.
    pub is_denial: bool,
}

impl Refusal {
    /// Returns the refusal of something that the component may not do.
    #[must_use]
    pub fn broken(message: String) -> Self {
        Self { message, is_denial: false }
    }

    /// Returns the refusal of something that the caller may not do.
    #[must_use]
    pub fn denied(message: String) -> Self {
        Self { message, is_denial: true }
    }
}

/// The state of the one write that a call may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    /// It may be sent: it was not tried, or an attempt failed in a way that allows another.
    Unused,
    /// It was sent, and its outcome is not known yet.
    InFlight,
    /// It must not be sent again.
    Spent,
}

/// Whether a call changed something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Nothing was changed.
    #[default]
    None,
    /// A write was sent, and it is not known whether it happened.
    Unknown,
    /// The write happened.
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

/// The outcome of an admitted request.
#[derive(Clone, Copy, Debug)]
pub enum Settlement<'a> {
    /// No connection was made, so nothing was sent.
    NotSent,
    /// It may have been sent, and no complete response came.
    Lost,
    /// A response: its status, and its body as the component reads it.
    Status(u16, &'a [u8]),
    /// A response whose body the component cannot read.
    Unreadable,
}

/// A room as Whereby names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownRoom {
    /// Its name, if it could be read.
    pub name: Option<RoomName>,
    /// Its id, if it could be read.
    pub id: Option<Id>,
}

impl KnownRoom {
    /// Reads a room that Whereby listed or created.
    fn read(meeting: &Value) -> Self {
        let text = |name: &str| meeting.get(name).and_then(Value::as_str);
        let url = text("roomUrl").and_then(|url| Url::parse(url).ok());
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

/// A room that Whereby listed during a deletion.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    id: Id,
    /// The name as it was listed; `None` if it cannot be read.
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

/// The permission of one call to send its requests.
#[derive(Debug)]
pub struct Grant {
    rule: &'static FunctionRule,
    scope: Scope,
    write: Write,
    outcome: WriteOutcome,
    /// The room that was created, or whose deletion was tried.
    room: KnownRoom,
    /// The rooms that Whereby listed during a deletion. After the first attempt to delete, only those
    /// with its id.
    listed: Vec<Listed>,
    /// Whether a deletion was tried.
    chosen: bool,
    sent: usize,
    most: usize,
    /// When the call was permitted.
    begun: Timestamp,
    /// The conditions that the permission relies on.
    relies_on: Vec<Condition>,
    facts: Facts,
    /// Whether Whereby listed the session that the call names, in the room that it names.
    is_in_room: bool,
    /// How the call sees the people in meetings.
    people: View,
    /// The cursors of Whereby's pages of people, which could tell who they are. The component gets
    /// numbers instead, counted from 1.
    people_cursors: Vec<String>,
}

/// A request that may leave, rebuilt from what the grant understood.
#[derive(Debug)]
pub struct Admitted {
    request: Request,
    /// What the component may see of a successful response.
    pub shape: Shape,
    /// Whether an error response could name people whom the call may not see.
    pub hides_people: bool,
    /// The outcome before this attempt, which still applies if the attempt changed nothing.
    before: WriteOutcome,
    /// The method to send.
    pub method: &'static str,
    /// The path, relative to the API's base, and the query to send.
    pub path_and_query: String,
    /// The body to send.
    pub body: Option<Vec<u8>>,
}

impl Admitted {
    /// Returns the path, relative to the API's base, without the query.
    pub fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }
}

impl Grant {
    /// Issues the grant of one call that the policy allowed, and uses up its permit.
    pub fn issue(
        permit: Permit,
        rule: &'static FunctionRule,
        scope: Scope,
        facts: Facts,
        people: View,
        most_requests: usize,
        begun: Timestamp,
    ) -> Self {
        Self {
            people,
            people_cursors: Vec::new(),
            relies_on: permit.use_up(),
            facts: Facts { now: begun, ..facts },
            is_in_room: false,
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

    /// Reads a request of the component, and admits it if this call may send it.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if it may not.
    pub fn admit(&mut self, asked: Asked<'_>, now: Timestamp) -> Result<Admitted, Refusal> {
        let mut request =
            Request::read(asked).map_err(|InvalidRequest(what)| self.refuse(&what))?;
        if !self.people.shows_names()
            && let Request::ListParticipants { page: Page { cursor: Some(cursor), .. }, .. } =
                &mut request
        {
            let index = cursor.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let Some(known) = index.and_then(|index| self.people_cursors.get(index)) else {
                return Err(self.refuse(&format!(
                    "{} {} with a cursor that it was not given",
                    asked.method, asked.path
                )));
            };
            cursor.clone_from(known);
        }
        let request = request;
        let name = || format!("{} {}", request.method(), request.path());
        if !self.scope.allows(&request, self.begun) {
            return Err(self.refuse(&format!("{} with other content than asked for", name())));
        }
        if self.sent >= self.most {
            return Err(Refusal::broken(format!(
                "the component tried to send more than {} requests",
                self.most
            )));
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
                // The component chooses none of the bytes, so every attempt has the same.
                (Request::CreateRoom { .. }, Scope::Creation(creation)) => {
                    body = Some(creation.to_body(self.begun));
                }
                _ => {}
            }
            self.check_conditions(&request, now)?;
            // All attempts delete the same room.
            if let (Request::DeleteRoom { id }, Scope::Deletion { room }) = (&request, &self.scope)
            {
                self.listed.retain(|listed| listed.id == *id);
                self.chosen = true;
                self.room = KnownRoom { name: Some(room.name.clone()), id: Some(id.clone()) };
            }
            self.write = Write::InFlight;
        } else {
            self.check_conditions(&request, now)?;
        }
        self.sent += 1;
        let before = self.outcome;
        if request.is_write() {
            self.outcome = WriteOutcome::Unknown;
        }
        Ok(Admitted {
            shape: match request {
                Request::ListParticipants { .. } if self.people.reads_user_ids() => {
                    Shape::Page(answer::PARTICIPANT_AND_USER)
                }
                _ => self.scope.shape(&request),
            },
            hides_people: !self.people.shows_names() && self.scope.is_about_meetings(),
            before,
            method: request.method(),
            path_and_query: request.path_and_query(),
            body,
            request,
        })
    }

    /// Records the outcome of a request.
    pub fn settle(&mut self, admitted: &Admitted, settlement: Settlement<'_>) {
        if admitted.request.is_write() {
            self.outcome = match proof(&admitted.request, settlement) {
                Proof::Done => WriteOutcome::Done,
                Proof::Refused => admitted.before,
                Proof::Open => WriteOutcome::Unknown,
            };
            self.write = if may_be_repeated(&admitted.request, settlement) {
                Write::Unused
            } else {
                Write::Spent
            };
            if let (Request::CreateRoom { .. }, WriteOutcome::Done, Settlement::Status(_, body)) =
                (&admitted.request, self.outcome, settlement)
            {
                let created: Value = crate::text::parse_json(body).unwrap_or_default();
                self.room = KnownRoom::read(&created);
            }
            return;
        }
        if let (Request::ListSessions { room, .. }, Scope::Meeting(meeting)) =
            (&admitted.request, &self.scope)
            && let Settlement::Status(200, body) = settlement
        {
            self.is_in_room |= lists(body, room, &meeting.session);
        }
        if let (Scope::Deletion { room }, Settlement::Status(200, body)) = (&self.scope, settlement)
            && !self.chosen
        {
            for listed in rooms_of(room, body) {
                if !self.listed.contains(&listed) {
                    self.listed.push(listed);
                }
            }
        }
    }

    /// Checks a request against the conditions that the permission relies on. Its scope binds it to the
    /// arguments, for which they held; this also holds if that fails, and when time has passed.
    fn check_conditions(&self, request: &Request, now: Timestamp) -> Result<(), Refusal> {
        for condition in &self.relies_on {
            let name = condition.name();
            let fits = match (condition, request) {
                // Counted in the transaction that recorded the call, or checked below.
                _ if condition.is_quota() => true,
                (Condition::ValidUntil(_), _) => true,
                (Condition::Rooms(patterns), Request::DeleteRoom { id }) => {
                    let mut named = self.listed.iter().filter(|listed| listed.id == *id);
                    named.all(|room| {
                        room.name.as_ref().is_some_and(|name| any_matches(patterns, name))
                    })
                }
                (Condition::CreatedBy(creator), Request::DeleteRoom { id }) => {
                    if self.facts.ids_of(*creator).is_ok_and(|ids| ids.contains(&id)) {
                        true
                    } else {
                        // A room of the same name that somebody else created.
                        return Err(Refusal::denied(format!(
                            "{} is allowed for rooms with {name}: {}, and Whereby lists the room with \
                             the id {}, which is none of them",
                            self.rule.name,
                            condition.value().as_str().unwrap_or_default(),
                            id.as_str()
                        )));
                    }
                }
                (Condition::Rooms(patterns), request) => {
                    request.room().is_none_or(|room| any_matches(patterns, room))
                        && condition.unmet(&self.scope, &self.facts).is_none()
                }
                // The default end moves with the time.
                (Condition::MaxDuration(_), _) => match condition.unmet(&self.scope, &self.facts) {
                    Some(why) => return Err(Refusal::denied(format!("{why}, and {condition}"))),
                    None => true,
                },
                _ => condition.unmet(&self.scope, &self.facts).is_none(),
            };
            if !fits {
                let what = format!("{} {}", request.method(), request.path());
                return Err(self.refuse(&format!("{what} against the condition {name}")));
            }
        }
        // A condition that reads `now` must be in `ends`.
        self.check_time(now)
    }

    /// Whether the permission has an end (`valid_until`).
    #[must_use]
    pub fn ends(&self) -> bool {
        self.relies_on.iter().any(|condition| matches!(condition, Condition::ValidUntil(_)))
    }

    /// Checks that the permission has not ended. An admitted request may wait before it leaves, so its owner
    /// checks this again at that moment.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], which is a denial, if it has.
    pub fn check_time(&self, now: Timestamp) -> Result<(), Refusal> {
        let ended = |condition: &&Condition| matches!(condition, Condition::ValidUntil(date) if now >= *date);
        match self.relies_on.iter().find(ended) {
            Some(Condition::ValidUntil(date)) => Err(Refusal::denied(format!(
                "{} was allowed until {} only, and the call took longer",
                self.rule.name,
                date.to_rfc3339()
            ))),
            _ => Ok(()),
        }
    }

    /// Returns what the component may see of a response that was rebuilt: without the rooms that the
    /// conditions exclude, if the call reads one room, and without the people whom it may not see.
    #[must_use]
    pub fn filtered(&mut self, admitted: &Admitted, body: Vec<u8>) -> Vec<u8> {
        if let Request::ListParticipants { .. } = admitted.request {
            return self.without_names(body);
        }
        let conditions: Vec<_> =
            self.relies_on.iter().filter(|condition| condition.is_about_rooms()).collect();
        if conditions.is_empty() || !matches!(self.scope, Scope::Room { .. }) {
            return body;
        }
        let mut page: Value = crate::text::parse_json(&body).unwrap_or_default();
        let Some(rows) = page.get_mut("results").and_then(Value::as_array_mut) else {
            return body;
        };
        rows.retain(|row| {
            let KnownRoom { name, id } = KnownRoom::read(row);
            conditions.iter().all(|condition| match condition {
                Condition::Rooms(patterns) => {
                    name.as_ref().is_some_and(|name| any_matches(patterns, name))
                }
                Condition::CreatedBy(creator) => {
                    let ids = self.facts.ids_of(*creator).unwrap_or_default();
                    id.as_ref().is_some_and(|id| ids.contains(&id))
                }
                _ => true,
            })
        });
        crate::text::to_json(&page)
    }

    fn without_names(&mut self, body: Vec<u8>) -> Vec<u8> {
        if self.people.shows_names() {
            return body;
        }
        // What was rebuilt is JSON.
        let mut page: Value = crate::text::parse_json(&body).unwrap_or_default();
        self.people.replace(&mut page);
        if let Some(Value::String(cursor)) = page.get_mut("cursor").filter(|cursor| **cursor != "")
        {
            let known = self.people_cursors.iter().position(|known| known == cursor);
            let number = match known {
                Some(index) => index + 1,
                None if is_cursor(cursor) => {
                    self.people_cursors.push(cursor.clone());
                    self.people_cursors.len()
                }
                // It cannot be sent back.
                None => 0,
            };
            *cursor = number.to_string();
        }
        crate::text::to_json(&page)
    }

    /// Returns why the component's result may not be shown, if it may not: the permission is for the
    /// meetings of certain rooms, and Whereby did not list this one in the room that the call names.
    #[must_use]
    pub fn withheld(&self) -> Option<String> {
        let Scope::Meeting(MeetingRef { room: Some(room), session }) = &self.scope else {
            return None;
        };
        (!self.is_in_room && self.relies_on.iter().any(Condition::is_about_rooms)).then(|| {
            format!(
                "Whereby does not list the meeting {} in the room `{}`",
                session.as_str(),
                crate::text::printable(room.as_str(), 100)
            )
        })
    }

    /// Checks that the room to delete is the one that Whereby listed under the requested name. If the
    /// list is ambiguous, nothing is deleted.
    fn check_listed(&self, id: &Id, request: String) -> Result<(), Refusal> {
        let mut asked = self.listed.iter().filter(|listed| listed.is_asked);
        let Some(own) = asked.clone().find(|listed| listed.id == *id) else {
            return Err(self.refuse(&format!(
                "{request}, which Whereby did not list under the room asked for"
            )));
        };
        // Approvals show the name in lower case, so a person may have meant the room with that name.
        let is_shown = matches!((&self.scope, &own.name),
            (Scope::Deletion { room }, Some(name)) if room.name.is_shown_as(name));
        let twin =
            asked.find(|other| if other.name == own.name { other.id != own.id } else { !is_shown });
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

    /// Returns whether the call changed anything.
    pub fn outcome(&self) -> WriteOutcome {
        self.outcome
    }

    /// Returns whether Whereby listed the room that the call deletes.
    pub fn has_listed(&self) -> bool {
        self.listed.iter().any(|listed| listed.is_asked)
    }

    /// Returns the room that the call created or tried to delete.
    pub fn room(&self) -> &KnownRoom {
        &self.room
    }

    /// Returns the number of admitted requests.
    #[cfg(test)]
    pub fn sent(&self) -> usize {
        self.sent
    }

    fn refuse(&self, what: &str) -> Refusal {
        Refusal::broken(format!(
            "the component tried to send {what}; this call of {} may send {}",
            self.rule.name,
            crate::text::join(self.rule.requests, ", ")
        ))
    }
}

/// What the outcome of a write proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// The write happened.
    Done,
    /// This attempt changed nothing.
    Refused,
    /// It may have happened.
    Open,
}

/// Returns what an outcome proves about a write. A status proves nothing by its class alone, so every
/// status that is not listed leaves the write open.
fn proof(write: &Request, settlement: Settlement<'_>) -> Proof {
    let is_deletion = matches!(write, Request::DeleteRoom { .. });
    match settlement {
        Settlement::NotSent => Proof::Refused,
        // 202 means that the deletion has not happened yet, and other statuses are not documented.
        Settlement::Status(200 | 204, _) if is_deletion => Proof::Done,
        Settlement::Status(200..=299, body) if !is_deletion && is_room(body) => Proof::Done,
        // Whereby listed the room just before.
        Settlement::Status(404, _) if is_deletion => Proof::Done,
        // These mean that the request was not carried out. A timeout (408), a 499 from a proxy or a
        // redirect does not: the request may have been carried out before.
        Settlement::Status(400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 | 422 | 429, _) => {
            Proof::Refused
        }
        Settlement::Status(..) | Settlement::Unreadable | Settlement::Lost => Proof::Open,
    }
}

/// Whether the component may send the write again.
fn may_be_repeated(write: &Request, settlement: Settlement<'_>) -> bool {
    match (write, settlement) {
        // Nothing was done, and the limit passes by itself.
        (_, Settlement::Status(429, _)) => true,
        // Deletions are idempotent.
        (
            Request::DeleteRoom { .. },
            Settlement::Status(502..=504, _) | Settlement::NotSent | Settlement::Lost,
        ) => true,
        _ => false,
    }
}

/// Whether a body is a room as `POST /meetings` is documented to return it.
fn is_room(body: &[u8]) -> bool {
    let room: Value = crate::text::parse_json(body).unwrap_or_default();
    let is_id = match &room["meetingId"] {
        Value::String(id) => !id.is_empty(),
        Value::Number(id) => id.is_u64(),
        _ => false,
    };
    is_id && room["roomUrl"].as_str().is_some_and(|url| !url.is_empty())
}

/// Whether a page of sessions lists this one, in this room.
fn lists(page: &[u8], room: &RoomName, session: &Id) -> bool {
    let page: Value = crate::text::parse_json(page).unwrap_or_default();
    let results = page.get("results").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    results.iter().any(|row| {
        let is_session = row.get("roomSessionId").and_then(Value::as_str) == Some(session.as_str());
        let name = row.get("roomName").and_then(Value::as_str).and_then(RoomName::parse_with_slash);
        is_session && name.is_none_or(|name| room.may_be(&name))
    })
}

/// Reads the rooms on a page of Whereby's list. A room is the requested one if its name matches, and
/// also the host of its URL if the caller gave a URL.
fn rooms_of(room: &RoomRef, page: &[u8]) -> Vec<Listed> {
    // A page that cannot be read lists nothing, so it allows no deletion.
    let page: Value = crate::text::parse_json(page).unwrap_or_default();
    let results = page.get("results").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let listed = |meeting: &Value| {
        let url = meeting.get("roomUrl").and_then(Value::as_str);
        let url = url.and_then(|url| Url::parse(url).ok());
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
