//! Finds a room by its name and deletes it.

use super::{look_up, not_found};
use crate::error::{clean, from_write, unexpected, with_remark};
use crate::meeting_id::is_id;
use crate::prelude::*;
use crate::response;
use crate::room_name::RoomName;
use crate::transport::{Method, Request, Transport, send};
use crate::types::{DeletedRoom, Error, Room};

const DELETE_MEETING: &str = "DELETE /meetings/{meetingId}";

const MAYBE_DELETED: &str = "the room may be gone all the same: ask get_room";

/// Deletes the room with this name.
pub(crate) fn delete_room(
    transport: &mut dyn Transport,
    room_name: &str,
) -> Result<DeletedRoom, Error> {
    let room = find_one(transport, &RoomName::parse(room_name)?)?;
    if !is_id(&room.meeting_id) {
        return Err(unexpected("GET /meetings", "the meetingId of the room is not an id"));
    }
    let target = format!("/meetings/{}", room.meeting_id);
    let request = Request { method: Method::Delete, ..Request::get(target) };
    match send(transport, request) {
        // The room was just listed. Somebody else deleted it since, or an earlier attempt of this request
        // did and its response was lost. Either way it is gone, as requested.
        Ok(reply) if reply.status == 404 => {}
        Ok(reply) if matches!(reply.status, 200 | 204) => {
            if !response::is_plain(&reply.body) {
                let error = unexpected(DELETE_MEETING, "it is not JSON");
                return Err(with_remark(error, MAYBE_DELETED));
            }
        }
        result => return Err(from_write(DELETE_MEETING, &result, MAYBE_DELETED)),
    }
    Ok(DeletedRoom { deleted: true, room_name: room.room_name, meeting_id: room.meeting_id })
}

/// Finds the one room that the caller can mean. Fails if there are several.
fn find_one(transport: &mut dyn Transport, wanted: &RoomName) -> Result<Room, Error> {
    let mut found: Vec<Room> = Vec::new();
    let (mut unreadable, mut twin) = (None, None);
    let shown = wanted.padded.as_ref().unwrap_or(&wanted.name).to_ascii_lowercase();
    let mut spellings = wanted.spellings();
    // If a room has exactly these spaces in its name, the caller means that one.
    if wanted.padded.is_some() {
        spellings.reverse();
    }
    for spelling in spellings {
        let listed = look_up(transport, wanted, &spelling)?;
        unreadable = unreadable.or(listed.unreadable);
        twin = twin.or(listed.twin);
        for room in listed.rooms {
            if found.iter().all(|other| other.meeting_id != room.meeting_id) {
                found.push(room);
            }
        }
        // An approval shows the name in lower case.
        if !found.is_empty() && spelling == shown {
            break;
        }
    }
    let other = match (found.as_slice(), twin) {
        ([_, other, ..], _) => Some((other.room_name.clone(), other.meeting_id.clone())),
        ([one], Some(twin)) => Some((twin, one.meeting_id.clone())),
        _ => None,
    };
    if let (Some(one), Some((name, id))) = (found.first(), other) {
        return Err(Error::UnexpectedResponse(clean(&format!(
            "GET /meetings: `{}` can mean several rooms, and none was deleted: `{}` with the id {}, \
             `{name}` with the id {id}; delete the right one in Whereby's dashboard",
            wanted.name, one.room_name, one.meeting_id
        ))));
    }
    found.pop().ok_or_else(|| not_found(wanted, unreadable))
}

#[cfg(test)]
mod tests {
    use super::delete_room;
    use crate::transport::fake::{Fake, failure};
    use crate::transport::{Method, Reply, SendErrorKind};
    use crate::types::{DeletedRoom, Error, Rejection};

    const LOOKUP: &str = "/meetings?roomName%5BstartsWith%5D=%2Fdaily&limit=100";

    fn listing(meeting_id: &str) -> String {
        format!(
            r#"{{"results":[
                {{"meetingId":"1","roomName":"/daily-2","roomUrl":"https://a.whereby.com/daily-2"}},
                {{"meetingId":"{meeting_id}","roomName":"/daily","roomUrl":"https://a.whereby.com/daily"}}
            ],"cursor":null}}"#
        )
    }

    #[test]
    fn the_room_with_exactly_that_name_is_deleted() {
        for status in [204, 200, 404] {
            let mut fake = Fake::script([
                (Method::Get, LOOKUP, 200, listing("7").as_str()),
                (Method::Delete, "/meetings/7", status, ""),
            ]);
            let deleted = DeletedRoom {
                deleted: true,
                room_name: "daily".to_owned(),
                meeting_id: "7".to_owned(),
            };
            let name = "https://a.whereby.com/daily";
            assert_eq!(delete_room(&mut fake, name), Ok(deleted), "{status}");
            fake.finish();
        }
    }

    #[test]
    fn a_room_that_does_not_exist_is_not_deleted() {
        for name in ["daily", "https://b.whereby.com/daily"] {
            let body = match name {
                "daily" => r#"{"results":[]}"#.to_owned(),
                _ => listing("7"),
            };
            let mut fake = Fake::script([(Method::Get, LOOKUP, 200, body)]);
            assert!(matches!(delete_room(&mut fake, name), Err(Error::NotFound(_))), "{name}");
            fake.finish();
        }
    }

    #[test]
    fn a_room_is_deleted_under_the_spelling_that_whereby_lists() {
        let row = |name: &str, id: &str| {
            format!(
                r#"{{"meetingId":"{id}","roomName":"/{name}","roomUrl":"https://a.whereby.com/{name}"}}"#
            )
        };
        let list = |rows: &[String]| format!(r#"{{"results":[{}]}}"#, rows.join(","));
        let target = |name: &str| format!("/meetings?roomName%5BstartsWith%5D=%2F{name}&limit=100");
        let (upper, lower) = (row("Daily_1", "7"), row("daily_1", "8"));
        for (listed, listed_lower, deleted) in [
            (vec![upper.clone()], vec![], Some("7")),
            (vec![], vec![lower.clone()], Some("8")),
            // Whereby ignored the filter and listed both.
            (vec![upper.clone(), lower.clone()], vec![upper.clone(), lower.clone()], None),
            (vec![upper.clone()], vec![lower.clone()], None),
            (vec![upper.clone(), row("Daily_1", "9")], vec![], None),
            // Two rooms with the same id.
            (vec![upper.clone(), row("Daily_1-2", "7")], vec![], None),
        ] {
            let mut fake = Fake::new(|request| {
                if request.method == Method::Delete {
                    return Ok(Fake::reply(204, ""));
                }
                let rows =
                    if request.target == target("Daily_1") { &listed } else { &listed_lower };
                Ok(Fake::reply(200, &list(rows)))
            });
            let result = delete_room(&mut fake, "Daily_1");
            match deleted {
                Some(id) => assert_eq!(result.unwrap().meeting_id, id),
                None => {
                    let Err(Error::UnexpectedResponse(text)) = result else { panic!("{result:?}") };
                    assert!(text.contains("`Daily_1` with the id 7"), "{text}");
                    assert!(fake.requests.iter().all(|asked| asked.method == Method::Get));
                }
            }
        }
    }

    #[test]
    fn spaces_around_a_name_select_the_room_that_has_them() {
        let row = |name: &str, id: &str| {
            format!(
                r#"{{"meetingId":"{id}","roomName":"/{name}","roomUrl":"https://a.whereby.com/x"}}"#
            )
        };
        let both = [row("daily", "1"), row(" daily", "2")].join(",");
        for (asked, rows, deleted) in [
            (" daily", both.as_str(), "2"),
            ("/ daily", &both, "2"),
            ("daily", &both, "1"),
            (" daily", &row("daily", "1"), "1"),
        ] {
            let mut fake = Fake::new(|request| match request.method {
                Method::Delete => Ok(Fake::reply(204, "")),
                _ => Ok(Fake::reply(200, &format!(r#"{{"results":[{rows}]}}"#))),
            });
            assert_eq!(delete_room(&mut fake, asked).unwrap().meeting_id, deleted, "{asked}");
        }
    }

    #[test]
    fn an_id_that_would_change_the_path_is_not_used() {
        for id in [".", "..", "a/../b", "a?b", "a%2fb", "", &"1".repeat(65)] {
            let mut fake = Fake::script([(Method::Get, LOOKUP, 200, listing(id))]);
            let result = delete_room(&mut fake, "daily");
            assert!(matches!(result, Err(Error::UnexpectedResponse(_))), "{id}");
            fake.finish();
        }
    }

    #[test]
    fn errors_are_passed_on() {
        let mut fake = Fake::script([
            (Method::Get, LOOKUP, 200, listing("7").as_str()),
            (Method::Delete, "/meetings/7", 422, r#"{"error":"no"}"#),
        ]);
        let rejected = Error::Rejected(Rejection { status: 422, message: "no".to_owned() });
        assert_eq!(delete_room(&mut fake, "daily"), Err(rejected));

        for result in [
            Err(failure(SendErrorKind::Timeout)),
            Ok(Fake::reply(303, "")),
            Ok(Fake::reply(408, "")),
            Ok(Fake::reply(425, r#"{"error":"no"}"#)),
            Ok(Fake::reply(500, "")),
            Ok(Fake::reply(200, "<html>")),
            // The outcome of an earlier attempt is unknown.
            Ok(Reply { is_late: true, ..Fake::reply(403, "") }),
            Err(failure(SendErrorKind::RateLimited(3))),
        ] {
            let mut fake = Fake::new(|request| match request.method {
                Method::Get => Ok(Fake::reply(200, &listing("7"))),
                _ => result.clone(),
            });
            let (Err(Error::Timeout(text))
            | Err(Error::Unavailable(text))
            | Err(Error::UnexpectedResponse(text))) = delete_room(&mut fake, "daily")
            else {
                panic!("it did not fail");
            };
            assert!(text.contains("may be gone"), "{text}");
        }
    }
}
