//! Lists past meetings of one room or of all rooms.
//!
//! Whereby cannot list the sessions of all rooms at once. Without a room name, a call lists the rooms
//! first and then the sessions of each room. If one call can read every room, meetings are sorted by
//! date, and each call reads all rooms again. Otherwise they are listed room by room: a call reads a
//! limited number of pages and returns a cursor for the rest.
//!
//! The room with the latest meeting comes first, so rooms can change places between two calls. Each
//! call reads the current page of rooms again and takes the rooms on it that it has not read yet. It
//! misses a room that moved to an earlier page, because finding it would mean reading all pages again.

#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;

use super::{GET_ROOM_SESSIONS, ROOM_SESSIONS, SESSION_MEMBERS, Session, stamp, without_slash};
use crate::argument::{check_limit, invalid};
use crate::cursor::{Cursor, MAX_DONE, fingerprint};
use crate::date::{DayEdge, Moment, day_argument};
use crate::error::{clean, message, unexpected};
use crate::meeting_id;
use crate::prelude::*;
use crate::query::Query;
use crate::response::{Names, Object, Page, page_of};
use crate::room_name::{self, RoomName, is_name, looks_like_id};
use crate::transport::{Request, Transport, send};
use crate::types::{Error, MeetingPage, MeetingPageMeta, MeetingSummary, Rejection};

const GET_ROOMS: &str = "GET /insights/rooms";

/// The default number of meetings to return.
const DEFAULT_LIMIT: u32 = 20;

/// The page size when most rows may be outside the requested dates: the maximum that Whereby allows.
const WINDOW_SIZE: u32 = 100;

/// The page size for rooms when the dates exclude none of them. A call reads about eight rooms.
const ROOMS_SIZE: u32 = 20;

/// The maximum number of pages that a call reads for one named room.
const ROOM_CALLS: usize = 5;

/// The maximum number of pages of sessions that a call reads for all rooms. Each page costs 5 to 10 of a
/// small plan's 100 points per minute.
const SESSION_CALLS: usize = 8;

/// The maximum number of pages of rooms that a call reads.
const ROOMS_CALLS: usize = 5;

/// The maximum number of characters that a notice shows of a room name that is too long.
const MAX_SHOWN_LENGTH: usize = 60;

const ROOM_MEMBERS: Names =
    &["roomName", "totalSessions", "firstSessionStartedAt", "lastSessionStartedAt"];

/// Lists past meetings.
pub(crate) fn list_meetings(
    transport: &mut dyn Transport,
    limit: Option<u32>,
    cursor: Option<&str>,
    from_date: Option<&str>,
    to_date: Option<&str>,
    room_name: Option<&str>,
) -> Result<MeetingPage, Error> {
    check_limit(limit)?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    let mut filter = Filter::parse(from_date, to_date)?;
    let mut spellings = match room_name {
        Some(room_name) => RoomName::parse(room_name)?.spellings(),
        None => Vec::new(),
    };
    let last = spellings.pop();
    for spelling in spellings {
        filter.room = Some(spelling);
        match list(transport, limit, cursor, &filter) {
            Ok(page)
                if cursor.is_none() && page.data.is_empty() && page.meta.next_cursor.is_none() => {}
            Err(Error::NotFound(_)) => {}
            // The cursor belongs to the spelling that had results.
            Err(Error::InvalidArgument(_)) if cursor.is_some() => {}
            result => return result,
        }
    }
    filter.room = last;
    list(transport, limit, cursor, &filter)
}

/// Lists the past meetings that match the filter.
#[inline(never)]
fn list(
    transport: &mut dyn Transport,
    limit: u32,
    cursor: Option<&str>,
    filter: &Filter,
) -> Result<MeetingPage, Error> {
    let fingerprint = filter.fingerprint();
    let position = match cursor {
        Some(cursor) => Cursor::parse(cursor, fingerprint)?,
        None => Cursor::start(fingerprint, if filter.has_window() { WINDOW_SIZE } else { limit }),
    };
    let limit = limit as usize;
    let mut listing = Listing {
        transport,
        filter,
        limit,
        is_first: cursor.is_none(),
        data: Vec::new(),
        cursor: position,
        left_out: Vec::new(),
        is_anything_read: false,
    };
    let stop = match &filter.room {
        Some(room) => listing.read_room(room),
        None => listing.read_all_rooms(),
    };
    listing.finish(stop)
}

/// Selects meetings by date and room.
struct Filter {
    from: Option<Moment>,
    to: Option<Moment>,
    room: Option<String>,
}

impl Filter {
    fn parse(from: Option<&str>, to: Option<&str>) -> Result<Self, Error> {
        let day = |name, text: Option<&str>, edge| {
            text.map(|text| day_argument(name, text, edge)).transpose()
        };
        let from = day("from_date", from, DayEdge::First)?;
        let to = day("to_date", to, DayEdge::Last)?;
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            return Err(invalid("from_date", "is after to_date"));
        }
        Ok(Self { from, to, room: None })
    }

    fn fingerprint(&self) -> u64 {
        let text = |moment: Option<Moment>| moment.map(Moment::format);
        fingerprint(&[
            &text(self.from).unwrap_or_default(),
            &text(self.to).unwrap_or_default(),
            self.room.as_deref().unwrap_or_default(),
        ])
    }

    fn has_window(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    fn contains(&self, moment: Moment) -> bool {
        self.from.is_none_or(|from| from <= moment) && self.to.is_none_or(|to| moment <= to)
    }
}

/// A room that Whereby listed.
struct Room {
    name: String,
    /// The estimated number of matching meetings; 0 only if the room certainly has none.
    expected: usize,
    /// The number of the room's sessions, if Whereby says so.
    total: Option<usize>,
    /// The start of its last session.
    last: Option<Moment>,
}

impl Room {
    fn decode(row: &Object, filter: &Filter) -> Result<Self, String> {
        let name = without_slash(row.required_text("roomName")?);
        if name.is_empty() {
            return Err(row.complaint("roomName", "is missing"));
        }
        let total = row.count("totalSessions")?.map(|total| total as usize);
        let first = stamp(row, "firstSessionStartedAt")?.map(|stamp| stamp.time);
        let last = stamp(row, "lastSessionStartedAt")?.map(|stamp| stamp.time);
        let misses = last.is_some_and(|last| filter.from.is_some_and(|from| last < from))
            || first.is_some_and(|first| filter.to.is_some_and(|to| first > to));
        let is_inside = |moment: Option<_>| moment.is_some_and(|moment| filter.contains(moment));
        let expected = match total {
            _ if misses => 0,
            Some(total) if !filter.has_window() || (is_inside(first) && is_inside(last)) => total,
            // Some sessions may be outside the dates. Half is a compromise between requesting too many
            // rooms at once and requesting them one by one.
            Some(total) => total.div_ceil(2),
            None => 1,
        };
        Ok(Self { name: name.to_owned(), expected, total, last })
    }
}

/// The reason why a listing stopped.
enum Stop {
    /// Everything was listed.
    End,
    /// The page has as many meetings as the caller asked for; there may be more.
    Limit,
    /// The call has sent as many requests as it may; there may be more.
    Budget,
}

/// The end of a page of sessions.
enum PageEnd {
    /// The room has no further page.
    Last,
    /// The room has another page.
    More,
    /// The page has more meetings than the caller asked for.
    Full,
}

/// A page of rooms and Whereby's cursor for the next one.
type RoomsPage = (Vec<Room>, Option<String>);

/// The result of listing meetings by date.
enum ByDate {
    Listed(Stop),
    /// One call cannot read all rooms. Carries the first page of them.
    TooMany(RoomsPage),
    /// The call needed more requests than Whereby's totals suggested.
    OutOfCalls,
}

/// A listing in progress.
struct Listing<'a> {
    transport: &'a mut dyn Transport,
    filter: &'a Filter,
    limit: usize,
    /// Whether this is the first page of the listing.
    is_first: bool,
    data: Vec<MeetingSummary>,
    /// The start of the next page: everything before it is in `data` or was on an earlier page.
    cursor: Cursor,
    /// The error message for each entry that is left out.
    left_out: Vec<String>,
    /// Whether any session could be read.
    is_anything_read: bool,
}

impl Listing<'_> {
    /// Reads the sessions of one room.
    fn read_room(&mut self, room: &str) -> Result<Stop, Error> {
        for _ in 0..ROOM_CALLS {
            if self.data.len() >= self.limit {
                return Ok(Stop::Limit);
            }
            let Some(page) = self.fetch_sessions(&[room]).pop() else { break };
            match self.take(room, page?) {
                PageEnd::Last => return Ok(Stop::End),
                PageEnd::Full => return Ok(Stop::Limit),
                PageEnd::More => {}
            }
        }
        Ok(if self.data.len() >= self.limit { Stop::Limit } else { Stop::Budget })
    }

    /// Reads the sessions of all rooms: by date if one call can read all of them, otherwise room by room.
    fn read_all_rooms(&mut self) -> Result<Stop, Error> {
        if !self.is_first && !self.cursor.is_by_date() {
            return self.read_room_by_room(None);
        }
        let page_size = core::mem::replace(&mut self.cursor.page_size, WINDOW_SIZE);
        match self.read_by_date()? {
            ByDate::Listed(stop) => Ok(stop),
            ByDate::TooMany(page) => {
                self.cursor.page_size = page_size;
                self.cursor.by_room = true;
                self.read_room_by_room(Some(page))
            }
            // The next call starts at the same position and goes room by room.
            ByDate::OutOfCalls => {
                self.cursor.sessions = None;
                self.cursor.by_room = true;
                Ok(Stop::Budget)
            }
        }
    }

    /// Reads the sessions of all rooms and keeps the newest.
    fn read_by_date(&mut self) -> Result<ByDate, Error> {
        let (mut rooms, next) = self.fetch_rooms()?;
        let wanted = rooms.iter().filter(|room| room.expected > 0);
        let pages = |room: &Room| room.total.map(|total| total.div_ceil(WINDOW_SIZE as usize));
        let calls: Option<usize> = wanted.map(pages).sum();
        if next.is_some() || calls.is_none_or(|calls| calls > SESSION_CALLS) {
            return Ok(ByDate::TooMany((rooms, next)));
        }
        rooms.retain(|room| room.expected > 0);
        // A room whose last start is unknown may have the newest meeting.
        let rooms = sorted(rooms, |one, other| match (one.last, other.last) {
            (Some(one), Some(other)) => one > other,
            (one, _) => one.is_none(),
        });
        let mut calls = SESSION_CALLS;
        let mut found: Vec<Found> = Vec::new();
        let mut index = 0;
        while let Some(rest) = rooms.get(index..).filter(|rest| !rest.is_empty()) {
            // Meetings older than the last one on this page belong on the next page.
            if let Some((last, _)) = found.get(self.limit.saturating_sub(1))
                && rest.iter().all(|room| room.last.is_some_and(|start| start < *last))
            {
                break;
            }
            let missing = self.limit.saturating_sub(found.len());
            let names = batch(rest, calls, missing, WINDOW_SIZE as usize);
            if names.is_empty() {
                return Ok(ByDate::OutOfCalls);
            }
            calls -= names.len();
            let results = self.fetch_sessions(&names);
            for (room, result) in names.iter().zip(results) {
                let mut result = Some(result);
                while let Some(page) = result.take() {
                    self.cursor.sessions = self.gather(room, page, &mut found)?;
                    if self.cursor.sessions.is_some() {
                        let Some(left) = calls.checked_sub(1) else {
                            return Ok(ByDate::OutOfCalls);
                        };
                        calls = left;
                        result = self.fetch_sessions(&[room]).pop();
                    }
                }
            }
            index += names.len();
        }
        let is_more = found.len() > self.limit || index < rooms.len();
        found.truncate(self.limit);
        if let Some((start, meeting)) = found.last() {
            self.cursor.continue_after(*start, &meeting.id);
        }
        self.data = found.into_iter().map(|(_, meeting)| meeting).collect();
        Ok(ByDate::Listed(if is_more { Stop::Limit } else { Stop::End }))
    }

    /// Adds the meetings of a page of sessions to `found`, and returns Whereby's cursor for the next page.
    #[inline(never)]
    fn gather(
        &mut self,
        room: &str,
        page: Result<Page, Error>,
        found: &mut Vec<Found>,
    ) -> Result<Option<String>, Error> {
        let page = match page {
            // Whereby deleted the room after listing it, so it has no meetings.
            Err(Error::NotFound(_)) => return Ok(None),
            page => page?,
        };
        for row in &page.rows {
            if let Some((start, meeting)) = self.read(room, row) {
                insert(found, (start, meeting), is_newer);
            }
        }
        Ok(page.cursor)
    }

    /// Reads the sessions of all rooms, one room after the other.
    #[inline(never)]
    fn read_room_by_room(&mut self, mut first: Option<RoomsPage>) -> Result<Stop, Error> {
        let mut calls = SESSION_CALLS;
        for _ in 0..ROOMS_CALLS {
            let (rooms, next) = match first.take() {
                Some(page) => page,
                None => self.fetch_rooms()?,
            };
            let rooms = self.rooms_left(rooms);
            if let Some(stop) = self.read_rooms(&rooms, &mut calls)? {
                return Ok(stop);
            }
            if next.is_none() {
                return Ok(Stop::End);
            }
            self.cursor.move_to_rooms(next);
            if self.data.len() >= self.limit {
                return Ok(Stop::Limit);
            }
            if calls == 0 {
                break;
            }
        }
        Ok(Stop::Budget)
    }

    /// Returns the rooms of a page that may have meetings and were not read yet. A room that was read
    /// in part comes first, even if it has moved to another page.
    fn rooms_left(&self, rooms: Vec<Room>) -> Vec<Room> {
        let mut left: Vec<Room> = Vec::with_capacity(rooms.len() + 1);
        if let Some(begun) = self.cursor.room() {
            let on_page = rooms.iter().find(|room| room.name == begun);
            let expected = on_page.map_or(1, |room| room.expected.max(1));
            left.push(Room { name: begun.to_owned(), expected, total: None, last: None });
        }
        for room in rooms {
            let is_known = left.iter().any(|other| other.name == room.name);
            if room.expected > 0 && !is_known && !self.cursor.is_done(&room.name) {
                left.push(room);
            }
        }
        left
    }

    /// Reads the sessions of the rooms with at most `calls` requests. Returns `None` if it has read all
    /// of them.
    fn read_rooms(&mut self, rooms: &[Room], calls: &mut usize) -> Result<Option<Stop>, Error> {
        // First pages of later rooms, requested together with the page of an earlier room.
        let mut ahead = VecDeque::new();
        let mut index = 0;
        while let Some(room) = rooms.get(index) {
            if self.data.len() >= self.limit {
                return Ok(Some(Stop::Limit));
            }
            let is_ahead = ahead.front().is_some_and(|(at, _)| *at == index);
            if !is_ahead && *calls == 0 {
                return Ok(Some(Stop::Budget));
            }
            self.cursor.enter_room(&room.name);
            if !is_ahead {
                // If later rooms were read ahead, only another page of this room is needed.
                let most = if ahead.is_empty() { *calls } else { 1 };
                let missing = self.limit.saturating_sub(self.data.len());
                let page_size = self.cursor.page_size as usize;
                let rest = rooms.get(index..).unwrap_or_default();
                let names = batch(rest, most, missing, page_size);
                *calls -= names.len();
                let results = self.fetch_sessions(&names).into_iter();
                for (at, result) in results.enumerate().rev() {
                    ahead.push_front((index + at, result));
                }
            }
            let end = match ahead.pop_front() {
                // As in `gather`.
                None | Some((_, Err(Error::NotFound(_)))) => PageEnd::Last,
                Some((_, page)) => self.take(&room.name, page?),
            };
            match end {
                PageEnd::Full => return Ok(Some(Stop::Limit)),
                PageEnd::More => {}
                PageEnd::Last => {
                    self.cursor.finish_room(&room.name);
                    index += 1;
                }
            }
        }
        Ok(None)
    }

    /// Adds the meetings of a page of sessions from the current position on, and moves the position to the
    /// first one that did not fit.
    fn take(&mut self, room: &str, page: Page) -> PageEnd {
        for (at, row) in page.rows.iter().enumerate().skip(self.cursor.offset) {
            self.cursor.offset = at;
            let Some((_, meeting)) = self.read(room, row) else { continue };
            if self.data.len() >= self.limit {
                return PageEnd::Full;
            }
            self.data.push(meeting);
        }
        self.cursor.offset = 0;
        self.cursor.sessions = page.cursor;
        if self.cursor.sessions.is_some() { PageEnd::More } else { PageEnd::Last }
    }

    /// Returns a session as a past meeting, with its start; `None` if it does not match or cannot be read.
    fn read(
        &mut self,
        room: &str,
        row: &Result<Object, String>,
    ) -> Option<(Moment, MeetingSummary)> {
        match row.as_ref().map_err(String::clone).and_then(Session::decode) {
            Ok(session) => {
                self.is_anything_read = true;
                self.summary(room, &session).map(|meeting| (session.start.time, meeting))
            }
            Err(what) => {
                self.left_out.push(format!("{GET_ROOM_SESSIONS}: {what}"));
                None
            }
        }
    }

    /// Returns a session as a past meeting; `None` if it does not match. Such a session is still in progress,
    /// started outside the dates, or belongs to another room because Whereby ignored the filter.
    #[inline(never)]
    fn summary(&self, room: &str, session: &Session<'_>) -> Option<MeetingSummary> {
        let end = session.end?;
        if session.room.is_some_and(|of_row| of_row != room)
            || !self.filter.contains(session.start.time)
        {
            return None;
        }
        let id = meeting_id::format(room, session.id);
        let is_listed = |(start, last)| {
            session.start.time > start || session.start.time == start && id.as_str() <= last
        };
        if self.cursor.before().is_some_and(is_listed) {
            return None;
        }
        Some(MeetingSummary {
            id,
            room_name: room_name::shown(room),
            start_date: session.start.text.to_owned(),
            end_date: end.text.to_owned(),
            duration: session.start.time.seconds_until(end.time),
            participant_count: session.participant_count,
            recorder_minutes: session.recorder_minutes,
        })
    }

    /// Requests a page of sessions of each room: for the first room from the current position on, for the
    /// others from the beginning.
    #[inline(never)]
    fn fetch_sessions(&mut self, rooms: &[&str]) -> Vec<Result<Page, Error>> {
        let requests =
            rooms.iter().enumerate().map(|(at, room)| self.sessions_request(room, at == 0));
        let mut results = self.send(requests.collect());
        // Whereby does not document sorting by start. The order must not change within a room.
        if self.cursor.sessions_unsorted || !self.cursor.is_at_first_session() {
            return results;
        }
        let refused = rooms.iter().zip(&mut results);
        let refused: Vec<_> = refused.filter(|(_, result)| is_refusal(result)).collect();
        if refused.is_empty() {
            return results;
        }
        self.cursor.sessions_unsorted = true;
        let requests = refused.iter().map(|(room, _)| self.sessions_request(room, false));
        let again = self.send(requests.collect());
        for ((_, result), again) in refused.into_iter().zip(again) {
            *result = again;
        }
        results
    }

    /// Requests the page of rooms at the current position.
    #[inline(never)]
    fn fetch_rooms(&mut self) -> Result<RoomsPage, Error> {
        let mut page = self.rooms_page();
        let may_change_order = !self.cursor.rooms_unsorted && self.cursor.is_at_first_room();
        if may_change_order && is_refusal(&page) {
            self.cursor.rooms_unsorted = true;
            page = self.rooms_page();
        }
        let page = page?;
        if page.rows.len() > MAX_DONE {
            return Err(unexpected(GET_ROOMS, "it lists more rooms than requested"));
        }
        let mut rooms = Vec::with_capacity(page.rows.len());
        let unreadable = page.read(GET_ROOMS, &mut |row| {
            rooms.push(Room::decode(row, self.filter)?);
            Ok(())
        })?;
        let unreadable = unreadable.into_iter().map(|what| format!("{GET_ROOMS}: {what}"));
        self.left_out.extend(unreadable);
        // Hosts refuse requests with a name that is too long.
        rooms.retain(|room| {
            let is_accepted = is_name(&room.name);
            if !is_accepted && room.expected > 0 {
                self.left_out
                    .push(format!("the name of the room `{}` is too long", shown(&room.name)));
            }
            is_accepted
        });
        Ok((rooms, page.cursor))
    }

    fn sessions_request(&self, room: &str, is_current: bool) -> Request {
        let mut query = Query::new(ROOM_SESSIONS)
            .with_room("roomName", room)
            .with_number("limit", self.cursor.page_size);
        if !self.cursor.sessions_unsorted {
            query = query.with("sortBy", "startedAt:desc");
        }
        if is_current {
            query = query.with_some("cursor", self.cursor.sessions.as_deref());
        }
        Request::get(query.finish())
    }

    fn rooms_page(&mut self) -> Result<Page, Error> {
        let size = if self.filter.has_window() { WINDOW_SIZE } else { ROOMS_SIZE };
        let mut query = Query::new("/insights/rooms").with_number("limit", size);
        // A room that was created after `to` cannot have earlier sessions. An old room can have new
        // ones, so there is no `createdAt[from]`.
        if let Some(to) = self.filter.to.map(Moment::format) {
            query = query.with("createdAt[to]", &to);
        }
        if !self.cursor.rooms_unsorted {
            query = query.with("sortBy", "lastSessionStartedAt:desc");
        }
        let before = self.cursor.rooms.as_deref();
        let request = Request::get(query.with_some("cursor", before).finish());
        page_of(GET_ROOMS, send(self.transport, request), ROOM_MEMBERS, before)
    }

    /// Sends requests for pages of sessions, the first one of them for the current page.
    fn send(&mut self, requests: Vec<Request>) -> Vec<Result<Page, Error>> {
        let mut before = self.cursor.sessions.as_deref();
        let results = self.transport.send_all(requests).into_iter();
        results
            .map(|result| page_of(GET_ROOM_SESSIONS, result, SESSION_MEMBERS, before.take()))
            .collect()
    }

    /// Returns the page, or the error if nothing could be read. The meetings read before a failure still make
    /// a page.
    fn finish(self, stop: Result<Stop, Error>) -> Result<MeetingPage, Error> {
        let sessions = self
            .left_out
            .iter()
            .find_map(|what| what.strip_prefix(GET_ROOM_SESSIONS)?.strip_prefix(": "));
        if let Some(what) = sessions.filter(|_| !self.is_anything_read) {
            return Err(unexpected(GET_ROOM_SESSIONS, what));
        }
        let (is_more, why_short) = match stop {
            Ok(Stop::End) => (false, None),
            Ok(Stop::Limit) => (true, None),
            Ok(Stop::Budget) => (
                true,
                Some(
                    "One call reads a limited number of Whereby's pages; nextCursor continues \
                     where this one stopped."
                        .to_owned(),
                ),
            ),
            Err(error) if self.data.is_empty() => return Err(error),
            Err(error) => (true, Some(notice(error))),
        };
        let next_cursor = if is_more {
            Some(self.cursor.write().ok_or_else(|| {
                unexpected(GET_ROOM_SESSIONS, "its cursors are too long to pass on")
            })?)
        } else {
            None
        };
        let why_short = why_short.or_else(|| self.why_empty());
        let by_room = self.cursor.by_room.then(|| BY_ROOM.to_owned());
        let notices = [why_short, left_out(&self.left_out), by_room];
        let notices: Vec<&str> = notices.iter().flatten().map(String::as_str).collect();
        let notice = Some(notices.join(" ")).filter(|notice| !notice.is_empty());
        Ok(MeetingPage { data: self.data, meta: MeetingPageMeta { next_cursor, notice } })
    }

    /// Explains an empty page if the room name looks like an id.
    fn why_empty(&self) -> Option<String> {
        let room = self.filter.room.as_deref().filter(|room| looks_like_id(room))?;
        self.data.is_empty().then(|| {
            format!(
                "`{room}` looks like an id: room_name takes the roomName that list_rooms shows."
            )
        })
    }
}

/// Returns the rooms to request in parallel: the first one, and only as many more as `missing` meetings
/// probably need, to save points of Whereby's rate limit.
#[inline(never)]
fn batch(rooms: &[Room], most: usize, missing: usize, page_size: usize) -> Vec<&str> {
    let mut expected = 0;
    let is_wanted = |(at, room): &(usize, &Room)| {
        let is_short = *at == 0 || expected < missing;
        expected += room.expected.min(page_size);
        is_short
    };
    let wanted = rooms.iter().enumerate().take(most).take_while(is_wanted);
    wanted.map(|(_, room)| room.name.as_str()).collect()
}

/// A meeting and its start.
type Found = (Moment, MeetingSummary);

/// Returns whether a meeting comes before another one in a listing by date: newest first, then by id.
fn is_newer((start, one): &Found, (other_start, other): &Found) -> bool {
    start > other_start || start == other_start && one.id < other.id
}

/// Inserts an item in order. There are few items, and the standard library's sort would take 20 % of the
/// component's size.
fn insert<T>(items: &mut Vec<T>, item: T, is_before: impl Fn(&T, &T) -> bool) {
    let at = items.partition_point(|other| !is_before(&item, other));
    items.insert(at, item);
}

fn sorted<T>(items: Vec<T>, is_before: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut sorted = Vec::with_capacity(items.len());
    items.into_iter().for_each(|item| insert(&mut sorted, item, &is_before));
    sorted
}

/// The notice that meetings are not sorted by date.
const BY_ROOM: &str = "There are more rooms than one call can read, so meetings are listed room by \
                       room, not by date: these may not be the newest.";

/// Returns a name from outside in a form that is safe to show.
fn shown(name: &str) -> String {
    clean(name).chars().map(|c| if c == '`' { '\'' } else { c }).take(MAX_SHOWN_LENGTH).collect()
}

/// Returns the notice that entries are left out, if any are.
fn left_out(entries: &[String]) -> Option<String> {
    match entries {
        [] => None,
        [what] => Some(format!("One entry is left out: {what}.")),
        [what, ..] => Some(format!("{} entries are left out; the first: {what}.", entries.len())),
    }
}

/// Returns whether Whereby rejected the request, possibly because of the sort order.
fn is_refusal<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Rejected(Rejection { status: 400 | 422, .. })))
}

/// Returns the notice that a failed request made the page short.
fn notice(mut error: Error) -> String {
    let why = match &mut error {
        Error::RateLimited(0) => {
            return "Whereby's rate limit is reached; continue with nextCursor later.".to_owned();
        }
        Error::RateLimited(seconds) => {
            return format!(
                "Whereby's rate limit is reached; continue with nextCursor in {seconds} seconds."
            );
        }
        Error::Rejected(rejection) => {
            format!("Whereby answered {}: {}", rejection.status, rejection.message)
        }
        other => message(other).map(core::mem::take).unwrap_or_default(),
    };
    format!("The page is short because a request failed; nextCursor continues there. {why}")
}
