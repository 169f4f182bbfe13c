//! Reads one meeting: the session, its participants and its recordings.

mod people;
mod recordings;
#[cfg(test)]
mod tests;

use people::People;
use recordings::Recordings;

use super::{GET_ROOM_SESSIONS, ROOM_SESSIONS, SESSION_MEMBERS, Session, without_slash};
use crate::error::{clean, unexpected};
use crate::meeting_id::{self, MeetingId};
use crate::prelude::*;
use crate::query::Query;
use crate::response::{Names, page_of};
use crate::room_name::{is_name, shown};
use crate::transport::{Reply, Request, SendError, Transport};
use crate::types::{Error, Meeting};

const GET_TRANSCRIPTIONS: &str = "GET /transcriptions";

const TRANSCRIPTION_MEMBERS: Names = &["roomSessionId", "roomName"];

/// Reads one meeting.
pub(crate) fn get_meeting(
    transport: &mut dyn Transport,
    meeting_id: &str,
) -> Result<Meeting, Error> {
    let MeetingId { room, session } = MeetingId::parse(meeting_id)?;
    match room {
        Some(room) => {
            let mut result = Err(unknown(&session, Some(&room.name)));
            for spelling in room.spellings() {
                result = read_in_room(transport, &spelling, &session, &room.name);
                if !matches!(result, Err(Error::NotFound(_))) {
                    break;
                }
            }
            result
        }
        None => read_session(transport, &session),
    }
}

/// A paged list that belongs to a meeting.
trait List {
    /// Returns the request for the next page; `None` if no page is left to read.
    fn request(&self) -> Option<Request>;

    /// Reads the response to that request.
    fn take(&mut self, result: Result<Reply, SendError>) -> Result<(), Error>;
}

/// The properties of the session itself.
struct Facts {
    start: Option<String>,
    end: Option<String>,
    duration: Option<u64>,
    participant_count: Option<u32>,
    recorder_minutes: Option<u32>,
}

/// Reads a meeting whose room is known. `named` is the room as the caller spelled it.
#[inline(never)]
fn read_in_room(
    transport: &mut dyn Transport,
    room: &str,
    session: &str,
    named: &str,
) -> Result<Meeting, Error> {
    let mut people = People::of(session);
    let mut recordings = Recordings::of(session, Some(room));
    let request = facts_request(room, session);
    let (facts, lists) = read_page(transport, Some(request), &mut [&mut people, &mut recordings]);
    // If the meeting does not exist, that explains all other failures.
    let facts = facts.map(|facts| decode_facts(facts, session)).transpose()?.flatten();
    let Some(facts) = facts else {
        return Err(if people.is_empty() {
            unknown(session, Some(named))
        } else {
            elsewhere(session, named)
        });
    };
    lists?;
    read_rest(transport, &mut [&mut people, &mut recordings])?;
    Ok(meeting(Some(room.to_owned()), session, Some(facts), people, recordings))
}

/// Reads a meeting by its session id alone.
fn read_session(transport: &mut dyn Transport, session: &str) -> Result<Meeting, Error> {
    let mut people = People::of(session);
    read_rest(transport, &mut [&mut people])?;
    if people.is_empty() {
        return Err(unknown(session, None));
    }

    // Two lists name the room of some sessions. If neither does, the room stays unknown: reading the
    // sessions of all rooms would cost too much.
    let mut recordings = Recordings::of(session, None);
    let request = Request::get(Query::new("/transcriptions").with_number("limit", 100).finish());
    let (transcriptions, _) = read_page(transport, Some(request), &mut [&mut recordings]);
    let room = recordings
        .room_found
        .clone()
        .or_else(|| transcriptions.and_then(|result| room_in_transcriptions(result, session)));
    let Some(room) = room else {
        return Ok(meeting(None, session, None, people, recordings));
    };

    let (facts, _) = read_page(transport, Some(facts_request(&room, session)), &mut []);
    let facts = facts.map(|facts| decode_facts(facts, session)).transpose()?.flatten();
    Ok(meeting(Some(room), session, facts, people, recordings))
}

/// Reads one page of each list that needs one, in parallel with another request.
fn read_page(
    transport: &mut dyn Transport,
    request: Option<Request>,
    lists: &mut [&mut dyn List],
) -> (Option<Result<Reply, SendError>>, Result<(), Error>) {
    let is_extra = request.is_some();
    let mut requests: Vec<Request> = request.into_iter().collect();
    let mut asked = Vec::new();
    for list in lists {
        if let Some(request) = list.request() {
            requests.push(request);
            asked.push(list);
        }
    }
    let mut results = transport.send_all(requests).into_iter();
    let extra = if is_extra { results.next() } else { None };
    let taken = asked.into_iter().zip(results).try_for_each(|(list, result)| list.take(result));
    (extra, taken)
}

/// Reads the lists to their ends.
fn read_rest(transport: &mut dyn Transport, lists: &mut [&mut dyn List]) -> Result<(), Error> {
    while lists.iter().any(|list| list.request().is_some()) {
        read_page(transport, None, lists).1?;
    }
    Ok(())
}

fn facts_request(room: &str, session: &str) -> Request {
    let query = Query::new(ROOM_SESSIONS).with_room("roomName", room);
    Request::get(query.with("roomSessionId", session).finish())
}

/// Reads the properties of a session; `None` if the room has no such session.
fn decode_facts(result: Result<Reply, SendError>, session: &str) -> Result<Option<Facts>, Error> {
    let wrong = |what: &str| unexpected(GET_ROOM_SESSIONS, what);
    let page = match page_of(GET_ROOM_SESSIONS, result, SESSION_MEMBERS, None) {
        Err(Error::NotFound(_)) => return Ok(None),
        page => page?,
    };
    let mut unreadable = None;
    for row in &page.rows {
        let row = row.as_ref().map_err(String::clone);
        let row = match row.and_then(|row| Ok((row, row.required_text("roomSessionId")?))) {
            Ok((row, id)) if id == session => row,
            Ok(_) => continue,
            Err(what) => {
                unreadable = unreadable.or(Some(what));
                continue;
            }
        };
        let session = Session::decode(row).map_err(|what| wrong(&what))?;
        return Ok(Some(Facts {
            start: Some(session.start.text.to_owned()),
            end: session.end.map(|end| end.text.to_owned()),
            duration: session.end.map(|end| session.start.time.seconds_until(end.time)),
            participant_count: session.participant_count,
            recorder_minutes: session.recorder_minutes,
        }));
    }
    // The unreadable row may be this meeting.
    if let Some(what) = unreadable {
        return Err(wrong(&what));
    }
    // The filter selects one session, so further pages would list others.
    match page.cursor {
        None => Ok(None),
        Some(_) => Err(wrong("it lists sessions other than the requested one")),
    }
}

/// Returns the error for a meeting that Whereby does not know.
fn unknown(session: &str, room: Option<&str>) -> Error {
    let place = room.map(|room| format!(" in the room `{}`", clean(room))).unwrap_or_default();
    Error::NotFound(format!(
        "there is no meeting `{session}`{place}; list_meetings lists meetings with their ids, 10 to \
         15 minutes after they ended"
    ))
}

/// Returns the error for a meeting that had participants, but is not listed in the room.
fn elsewhere(session: &str, room: &str) -> Error {
    Error::NotFound(format!(
        "there is a meeting `{session}`, but Whereby does not list it in the room `{}`; use \
         `{session}` alone as meeting_id to read it without naming a room",
        clean(room)
    ))
}

/// Returns the room of a session from Whereby's list of transcriptions. The list is optional, so its errors
/// are ignored.
fn room_in_transcriptions(result: Result<Reply, SendError>, session: &str) -> Option<String> {
    let page = page_of(GET_TRANSCRIPTIONS, result, TRANSCRIPTION_MEMBERS, None).ok()?;
    page.rows.iter().flatten().find_map(|row| {
        let is_of_session = row.text("roomSessionId").ok()? == Some(session);
        let room = row.text("roomName").ok()?.map(without_slash)?;
        (is_of_session && is_name(room)).then(|| room.to_owned())
    })
}

fn meeting(
    room: Option<String>,
    session: &str,
    facts: Option<Facts>,
    people: People<'_>,
    recordings: Recordings<'_>,
) -> Meeting {
    let estimated = facts.is_none();
    let facts = facts.unwrap_or_else(|| people.estimate());
    let minutes = facts.recorder_minutes;
    Meeting {
        id: match &room {
            Some(room) => meeting_id::format(room, session),
            None => session.to_owned(),
        },
        room_name: room.as_deref().map(shown),
        start_date: facts.start,
        end_date: facts.end,
        duration: facts.duration,
        estimated,
        participant_count: facts.participant_count,
        recorder_minutes: minutes,
        participants_complete: people.is_complete(),
        recording: recordings.status(minutes, people.saw_recorder),
        participants: people.into_participants(),
        recordings: recordings.files,
    }
}
