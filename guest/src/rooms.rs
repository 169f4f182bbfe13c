//! The rooms that exist now: `/meetings` in Whereby's API.

#[cfg(feature = "write")]
mod body;
#[cfg(feature = "write")]
mod create;
#[cfg(feature = "write")]
mod delete;

#[cfg(feature = "write")]
pub(crate) use create::{CreateArguments, create_room};
#[cfg(feature = "write")]
pub(crate) use delete::delete_room;

use alloc::borrow::Cow;

use crate::argument::{check_length, check_limit, invalid};
use crate::error::{clean, unexpected};
use crate::prelude::*;
use crate::query::Query;
use crate::response::{MAX_CURSOR_BYTES, Names, Object, Page, page_of};
use crate::room_name::{RoomName, host_and_name, looks_like_id, shown};
use crate::transport::{Request, Transport, send};
use crate::types::{Error, PageMeta, Room, RoomPage};

const GET_MEETINGS: &str = "GET /meetings";

/// The page size for looking up a room: the maximum that Whereby allows.
const LOOKUP_SIZE: u32 = 100;

/// The maximum number of pages for looking up a room. One is enough if Whereby honors the filter.
const LOOKUP_PAGES: u32 = 20;

const ROOM_MEMBERS: Names = &["meetingId", "roomName", "roomUrl", "startDate", "endDate"];

/// Lists one page of rooms in Whereby's order.
pub(crate) fn list_rooms(
    transport: &mut dyn Transport,
    limit: Option<u32>,
    cursor: Option<String>,
) -> Result<RoomPage, Error> {
    check_limit(limit)?;
    if let Some(cursor) = &cursor {
        check_length("cursor", cursor, MAX_CURSOR_BYTES)?;
        if cursor.contains(char::is_control) {
            return Err(invalid("cursor", "must not contain control characters"));
        }
    }
    let mut query = Query::new("/meetings");
    if let Some(limit) = limit {
        query = query.with_number("limit", limit);
    }
    let target = query.with_some("cursor", cursor.as_deref()).finish();
    let page = page(transport, target, cursor.as_deref())?;
    let mut data = Vec::with_capacity(page.rows.len());
    page.read(GET_MEETINGS, &mut |row| {
        match room(row) {
            Ok(room) => data.push(room),
            Err(what) => {
                data.extend(partial(row));
                return Err(what);
            }
        }
        Ok(())
    })?;
    Ok(RoomPage { data, meta: PageMeta { next_cursor: page.cursor } })
}

/// Requests a page of rooms. `cursor` is the one in the target.
fn page(
    transport: &mut dyn Transport,
    target: String,
    cursor: Option<&str>,
) -> Result<Page, Error> {
    page_of(GET_MEETINGS, send(transport, Request::get(target)), ROOM_MEMBERS, cursor)
}

/// Finds a room by its name.
pub(crate) fn get_room(transport: &mut dyn Transport, room_name: &str) -> Result<Room, Error> {
    let wanted = RoomName::parse(room_name)?;
    let mut unreadable = None;
    for spelling in wanted.spellings() {
        let found = look_up(transport, &wanted, &spelling)?;
        if let Some(room) = found.rooms.into_iter().next() {
            return Ok(room);
        }
        unreadable = unreadable.or(found.unreadable);
    }
    Err(not_found(&wanted, unreadable))
}

/// The rooms that Whereby lists under a name.
struct Found {
    /// The rooms with exactly this name, from the first page that has any.
    rooms: Vec<Room>,
    /// The error message for an unreadable entry that could be the room.
    unreadable: Option<String>,
    /// The name of a different room with the same id as one of them; empty if it has no name.
    #[cfg(feature = "write")]
    twin: Option<String>,
}

/// Finds the rooms that Whereby lists under a name.
///
/// Whereby documents the filter only in a guide. If Whereby ignores it, this loop reads the whole list.
#[inline(never)]
fn look_up(
    transport: &mut dyn Transport,
    wanted: &RoomName,
    spelling: &str,
) -> Result<Found, Error> {
    let wrong = |what: String| unexpected(GET_MEETINGS, &what);
    let mut unreadable = None;
    let mut cursor: Option<String> = None;
    let mut seen = 0;
    for _ in 0..LOOKUP_PAGES {
        let target = Query::new("/meetings")
            .with_room("roomName[startsWith]", spelling)
            .with_number("limit", LOOKUP_SIZE)
            .with_some("cursor", cursor.as_deref())
            .finish();
        let page = page(transport, target, cursor.as_deref())?;
        seen += page.rows.len();
        let mut rooms: Vec<Room> = Vec::new();
        for row in &page.rows {
            match row.as_ref().map_err(String::clone).and_then(|row| Ok((row, name(row)?))) {
                Ok((row, name)) if name == spelling => {
                    if is_on_host(row, wanted).map_err(wrong)? {
                        rooms.push(room(row).map_err(wrong)?);
                    }
                }
                Ok(_) => {}
                Err(what) => unreadable = unreadable.or(Some(what)),
            }
        }
        #[cfg(feature = "write")]
        let twin = page.rows.iter().flatten().filter(|_| !rooms.is_empty()).find_map(|row| {
            let id = row.id("meetingId").ok()??;
            let other = name(row).unwrap_or_default();
            let is_twin = other != spelling && rooms.iter().any(|own| own.meeting_id == id);
            is_twin.then(|| other.into_owned())
        });
        cursor = page.cursor;
        if !rooms.is_empty() || cursor.is_none() {
            return Ok(Found {
                rooms,
                unreadable,
                #[cfg(feature = "write")]
                twin,
            });
        }
    }
    // Not `not-found`: the room may be on a page that was not read. Whereby ignored the filter, which would
    // have left few rooms.
    Err(Error::UnexpectedResponse(format!(
        "{GET_MEETINGS}: gave up looking for the room `{}` after {seen} rooms, because \
         Whereby did not narrow its list to that name; list_rooms can page through all of them",
        clean(spelling)
    )))
}

/// Returns the error for a room that was not found. An unreadable entry could be that room.
fn not_found(wanted: &RoomName, unreadable: Option<String>) -> Error {
    if let Some(what) = unreadable {
        return unexpected(GET_MEETINGS, &what);
    }
    let place = match &wanted.host {
        Some(host) => format!(" on {host}"),
        None => String::new(),
    };
    let name = clean(&wanted.name);
    let why = if looks_like_id(&name) {
        format!("`{name}` looks like an id: room_name takes the roomName that list_rooms shows")
    } else {
        "list_rooms lists the rooms; Whereby deletes a room within a day of its end, but \
         list_meetings may still list its meetings"
            .to_owned()
    };
    Error::NotFound(format!("there is no room `{name}`{place} now; {why}"))
}

/// Returns whether the room of a row is on the host that the caller gave, if any.
fn is_on_host(row: &Object, wanted: &RoomName) -> Result<bool, String> {
    let Some(host) = &wanted.host else { return Ok(true) };
    let url = row.required_text("roomUrl")?;
    Ok(host_and_name(url).is_some_and(|(of_room, _)| of_room.eq_ignore_ascii_case(host)))
}

/// Returns the room's name from a row, without the slash. If `roomName` is absent, `roomUrl` has it.
fn name(row: &Object) -> Result<Cow<'_, str>, String> {
    let name: Cow<'_, str> = match row.text("roomName")? {
        Some(name) => name.strip_prefix('/').unwrap_or(name).into(),
        None => {
            let url = row.required_text("roomUrl")?;
            host_and_name(url).map_or_else(String::new, |(_, name)| name).into()
        }
    };
    if name.is_empty() {
        return Err(row.complaint("roomName", "is missing, and is not in roomUrl either"));
    }
    Ok(name)
}

fn room(row: &Object) -> Result<Room, String> {
    let date = |name| row.text(name).map(|text| text.map(str::to_owned));
    Ok(Room {
        room_name: shown(&name(row)?),
        meeting_url: row.required_text("roomUrl")?.to_owned(),
        meeting_id: row.required_id("meetingId")?,
        start_date: date("startDate")?,
        end_date: date("endDate")?,
    })
}

/// Returns the readable members of a room, so that one malformed member does not hide it; `None` if the
/// entry has no name.
fn partial(row: &Object) -> Option<Room> {
    let text = |name| row.text(name).ok().flatten().map(str::to_owned);
    Some(Room {
        room_name: shown(&name(row).ok()?),
        meeting_url: text("roomUrl").unwrap_or_default(),
        meeting_id: row.id("meetingId").ok().flatten().unwrap_or_default(),
        start_date: text("startDate"),
        end_date: text("endDate"),
    })
}

#[cfg(test)]
mod tests {
    use super::{get_room, list_rooms, shown};
    use crate::transport::fake::{Fake, failure};
    use crate::transport::{Method, SendErrorKind};
    use crate::types::{Error, Room};

    const DAILY: &str = r#"{"meetingId":"7","roomName":"/daily","roomUrl":"https://a.whereby.com/daily","startDate":"2026-03-02T08:15:04.118Z","endDate":"2026-03-02T12:00:00.000Z"}"#;
    const LOOKUP: &str = "/meetings?roomName%5BstartsWith%5D=%2Fdaily&limit=100";

    fn daily() -> Room {
        Room {
            room_name: "daily".to_owned(),
            meeting_url: "https://a.whereby.com/daily".to_owned(),
            meeting_id: "7".to_owned(),
            start_date: Some("2026-03-02T08:15:04.118Z".to_owned()),
            end_date: Some("2026-03-02T12:00:00.000Z".to_owned()),
        }
    }

    #[test]
    fn a_page_of_rooms_is_one_request_with_the_arguments_given() {
        for (limit, cursor, target) in [
            (None, None, "/meetings"),
            (Some(1), None, "/meetings?limit=1"),
            (None, Some("a+b"), "/meetings?cursor=a%2Bb"),
            (Some(100), Some("c"), "/meetings?limit=100&cursor=c"),
        ] {
            let body = format!(r#"{{"results":[{DAILY}],"cursor":"next"}}"#);
            let mut fake = Fake::script([(Method::Get, target, 200, body)]);
            let page = list_rooms(&mut fake, limit, cursor.map(str::to_owned)).unwrap();
            assert_eq!(page.data, [daily()]);
            assert_eq!(page.meta.next_cursor.as_deref(), Some("next"));
            fake.finish();
        }
    }

    #[test]
    fn optional_members_may_be_absent() {
        let row = r#"{"meetingId":7,"roomUrl":"https://a.whereby.com/daily"}"#;
        let body = format!(r#"{{"results":[{row}]}}"#);
        let mut fake = Fake::script([(Method::Get, "/meetings", 200, body)]);
        let page = list_rooms(&mut fake, None, None).unwrap();
        assert_eq!(page.data, [Room { start_date: None, end_date: None, ..daily() }]);
        assert_eq!(page.meta.next_cursor, None);
    }

    #[test]
    fn wrong_arguments_send_nothing() {
        for (limit, cursor, named) in [
            (Some(0), None, "limit"),
            (Some(101), None, "limit"),
            (None, Some(""), "cursor"),
            (None, Some("\n"), "cursor"),
        ] {
            let result = list_rooms(&mut Fake::silent(), limit, cursor.map(str::to_owned));
            let Err(Error::InvalidArgument(text)) = result else { panic!("it was accepted") };
            assert!(text.starts_with(named), "{text}");
        }
        let result = list_rooms(&mut Fake::silent(), None, Some("x".repeat(1025)));
        assert!(matches!(result, Err(Error::InvalidArgument(_))));
        assert!(matches!(get_room(&mut Fake::silent(), "/"), Err(Error::InvalidArgument(_))));
    }

    #[test]
    fn a_page_of_malformed_rows_is_an_error_that_names_one() {
        let bad = [
            (r#"{"roomUrl":"https://a/b"}"#, "results[0].meetingId is missing"),
            (r#"{"meetingId":"1"}"#, "results[0].roomUrl is missing"),
            (r#"{"meetingId":"1","roomUrl":7}"#, "results[0].roomUrl is a number"),
            (r#"{"meetingId":"1","roomUrl":"https://a"}"#, "results[0].roomName is missing"),
            (r#"{"meetingId":[],"roomUrl":"https://a/b"}"#, "results[0].meetingId is an array"),
            (r#"{"meetingId":"1","roomUrl":"https://a/b","endDate":1}"#, "results[0].endDate"),
            (r#"["1"]"#, "results[0] is an array, not an object"),
        ];
        for (row, complaint) in bad {
            let body = format!(r#"{{"results":[{row}],"cursor":null}}"#);
            let mut fake = Fake::script([(Method::Get, "/meetings", 200, &body)]);
            let Err(Error::UnexpectedResponse(text)) = list_rooms(&mut fake, None, None) else {
                panic!("{row} was accepted");
            };
            assert!(text.starts_with("GET /meetings: ") && text.contains(complaint), "{text}");
            let mut fake = Fake::new(|_| Ok(Fake::reply(200, &body)));
            assert!(matches!(get_room(&mut fake, "b"), Err(Error::UnexpectedResponse(_))), "{row}");
        }
    }

    #[test]
    fn a_malformed_row_hides_no_other_row() {
        for (row, shown) in [
            (r#"{"roomName":"/b"}"#, Some(("b", "", ""))),
            (r#"{"meetingId":7,"roomName":"/b"}"#, Some(("b", "", "7"))),
            (r#"{"meetingId":[],"roomUrl":"https://a/b"}"#, Some(("b", "https://a/b", ""))),
            (
                r#"{"meetingId":"1","roomUrl":"https://a/b","endDate":1}"#,
                Some(("b", "https://a/b", "1")),
            ),
            ("{}", None),
            ("null", None),
            (r#"{"meetingId":"1","roomName":5}"#, None),
        ] {
            let body = format!(r#"{{"results":[{row},{DAILY}],"cursor":null}}"#);
            let mut fake = Fake::new(|_| Ok(Fake::reply(200, &body)));
            let mut rooms = list_rooms(&mut fake, None, None).unwrap().data;
            assert_eq!(rooms.pop(), Some(daily()), "{row}");
            let rest = rooms.first();
            let rest = rest.map(|room| (&*room.room_name, &*room.meeting_url, &*room.meeting_id));
            assert_eq!(rest, shown, "{row}");
            assert_eq!(get_room(&mut fake, "daily"), Ok(daily()), "{row}");
            // The malformed row may be the requested room.
            let Err(error) = get_room(&mut fake, "weekly") else { panic!("it was found") };
            let is_unreadable = matches!(error, Error::UnexpectedResponse(_));
            assert_eq!(is_unreadable, shown.is_none(), "{row}");
        }
    }

    #[test]
    fn a_room_of_any_name_is_found_as_it_is_listed() {
        let long = "x".repeat(900);
        for name in ["a/b", "a?b", "a#b", "a:b", "/a", ".", "..", " a ", "a\n", "a%2fb", &long] {
            let escaped = name.replace('\n', "\\n");
            let row = format!(
                r#"{{"meetingId":"7","roomName":"/{escaped}","roomUrl":"https://a.whereby.com/x"}}"#
            );
            let body = format!(r#"{{"results":[{row}]}}"#);
            let mut fake = Fake::new(|_| Ok(Fake::reply(200, &body)));
            let listed = list_rooms(&mut fake, None, None).unwrap().data.remove(0);
            assert_eq!(listed.room_name, shown(name));
            for asked in [&*listed.room_name, &format!("/{name}")] {
                assert_eq!(get_room(&mut fake, asked).as_ref(), Ok(&listed), "{asked}");
            }
        }
    }

    #[test]
    fn errors_from_whereby_are_passed_on() {
        let mut fake = Fake::script([(Method::Get, "/meetings", 401, r#"{"error":"bad key"}"#)]);
        assert_eq!(
            list_rooms(&mut fake, None, None),
            Err(Error::Unauthorized("GET /meetings: Whereby answered 401: bad key".to_owned()))
        );
        let mut fake = Fake::new(|_| Err(failure(SendErrorKind::RateLimited(9))));
        assert_eq!(get_room(&mut fake, "daily"), Err(Error::RateLimited(9)));
    }

    #[test]
    fn a_room_is_found_by_its_exact_name() {
        let other = DAILY.replace("daily", "daily-2");
        let body = format!(r#"{{"results":[{other},{DAILY}],"cursor":null}}"#);
        for name in ["daily", "/Daily", "https://A.whereby.com/daily?roomKey=x"] {
            let mut fake = Fake::script([(Method::Get, LOOKUP, 200, &body)]);
            assert_eq!(get_room(&mut fake, name), Ok(daily()), "{name}");
            fake.finish();
        }
    }

    #[test]
    fn a_room_is_looked_up_in_both_spellings() {
        for (asked, listed, requests) in [
            ("/Daily_1", "Daily_1", 1),
            ("/Daily_1", "daily_1", 2),
            ("Daily-1", "daily-1", 1),
            ("Daily-1", "Daily-1", 2),
        ] {
            let row = DAILY.replace("daily", listed);
            let mut fake = Fake::new(|request| {
                let is_listed = request.target.contains(&format!("=%2F{listed}&"));
                let rows = if is_listed { row.as_str() } else { "" };
                Ok(Fake::reply(200, &format!(r#"{{"results":[{rows}]}}"#)))
            });
            assert_eq!(get_room(&mut fake, asked).unwrap().room_name, listed);
            assert_eq!(fake.requests.len(), requests, "{listed}");
        }
    }

    #[test]
    fn an_id_instead_of_a_name_is_explained() {
        for (name, is_explained) in
            [("70000007", true), ("7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10", true), ("daily-7", false)]
        {
            let mut fake = Fake::new(|_| Ok(Fake::reply(200, r#"{"results":[]}"#)));
            let Err(Error::NotFound(text)) = get_room(&mut fake, name) else {
                panic!("it was found");
            };
            assert_eq!(text.contains("looks like an id: room_name takes"), is_explained, "{text}");
        }
    }

    #[test]
    fn a_room_of_another_host_is_not_found() {
        let body = format!(r#"{{"results":[{DAILY}],"cursor":null}}"#);
        let mut fake = Fake::script([(Method::Get, LOOKUP, 200, body)]);
        let Err(Error::NotFound(text)) = get_room(&mut fake, "https://b.whereby.com/daily") else {
            panic!("it was found");
        };
        assert!(text.contains("`daily` on b.whereby.com"), "{text}");
    }

    #[test]
    fn the_search_goes_on_if_whereby_ignores_the_filter() {
        let other = DAILY.replace("daily", "weekly");
        let second = format!("{LOOKUP}&cursor=p2");
        let mut fake = Fake::script([
            (Method::Get, LOOKUP, 200, format!(r#"{{"results":[{other}],"cursor":"p2"}}"#)),
            (Method::Get, &second, 200, format!(r#"{{"results":[{DAILY}],"cursor":"p3"}}"#)),
        ]);
        assert_eq!(get_room(&mut fake, "daily"), Ok(daily()));
        fake.finish();
    }

    #[test]
    fn not_found_is_returned_only_after_the_last_page() {
        let mut fake = Fake::script([(Method::Get, LOOKUP, 200, r#"{"results":[]}"#)]);
        assert!(matches!(get_room(&mut fake, "daily"), Err(Error::NotFound(_))));

        let mut pages = 0;
        let other = DAILY.replace("daily", "weekly");
        let mut fake = Fake::new(|_| {
            pages += 1;
            Ok(Fake::reply(200, &format!(r#"{{"results":[{other}],"cursor":"p{pages}"}}"#)))
        });
        let Err(Error::UnexpectedResponse(text)) = get_room(&mut fake, "daily") else {
            panic!("it went on");
        };
        assert!(
            text.contains("gave up looking for the room `daily`") && text.contains("20 rooms"),
            "{text}"
        );
        drop(fake);
        assert_eq!(pages, 20);
    }

    #[test]
    fn a_repeated_cursor_ends_the_search() {
        let mut pages = 0;
        let mut fake = Fake::new(|_| {
            pages += 1;
            Ok(Fake::reply(200, r#"{"results":[],"cursor":"same"}"#))
        });
        assert!(matches!(get_room(&mut fake, "daily"), Err(Error::UnexpectedResponse(_))));
        drop(fake);
        assert_eq!(pages, 2);
    }
}
