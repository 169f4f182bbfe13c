//! Deletes a room, after it was found by its name.

use super::find;
use crate::error::{from_failure, from_reply, unexpected, with_remark};
use crate::meeting_id::is_id;
use crate::prelude::*;
use crate::room_name::RoomName;
use crate::transport::{FailureKind, Method, Request, Transport, send};
use crate::types::{DeletedRoom, Error};

const DELETE_MEETING: &str = "DELETE /meetings/{meetingId}";

/// Deletes the room of a name.
pub(crate) fn delete_room(
    transport: &mut dyn Transport,
    room_name: &str,
) -> Result<DeletedRoom, Error> {
    let room = find(transport, &RoomName::parse(room_name)?)?;
    if !is_id(&room.meeting_id) {
        return Err(unexpected("GET /meetings", "the meetingId of the room is not an id"));
    }
    let target = format!("/meetings/{}", room.meeting_id);
    let request =
        Request { method: Method::Delete, target, body: Vec::new(), wants_rate_limit: false };
    match send(transport, request) {
        // The room was there a moment ago. Somebody else deleted it since, or the first try of this
        // very request did and its answer got lost. Either way it is gone, as was asked.
        Ok(reply) if reply.status == 404 => {}
        Ok(reply) if (200..300).contains(&reply.status) => {}
        Ok(reply) => return Err(from_reply(DELETE_MEETING, &reply)),
        Err(failure) => {
            let is_known = !failure.maybe_sent
                || matches!(failure.kind, FailureKind::RateLimited(_) | FailureKind::Denied);
            let error = from_failure(DELETE_MEETING, &failure);
            return Err(match is_known {
                true => error,
                false => with_remark(error, "the room may be gone all the same: ask get_room"),
            });
        }
    }
    Ok(DeletedRoom { deleted: true, room_name: room.room_name, meeting_id: room.meeting_id })
}

#[cfg(test)]
mod tests {
    use super::delete_room;
    use crate::transport::fake::{Fake, failure};
    use crate::transport::{FailureKind, Method};
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
    fn the_room_of_exactly_that_name_is_deleted() {
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
    fn a_room_that_is_not_there_is_not_deleted() {
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
    fn an_id_that_would_lead_elsewhere_is_not_used() {
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
            (Method::Delete, "/meetings/7", 409, r#"{"error":"no"}"#),
        ]);
        let rejected = Error::Rejected(Rejection { status: 409, message: "no".to_owned() });
        assert_eq!(delete_room(&mut fake, "daily"), Err(rejected));

        let mut fake = Fake::new(|request| match request.method {
            Method::Get => Ok(Fake::reply(200, &listing("7"))),
            _ => Err(failure(FailureKind::Timeout)),
        });
        let Err(Error::Timeout(text)) = delete_room(&mut fake, "daily") else {
            panic!("it did not fail");
        };
        assert!(text.contains("may be gone"), "{text}");
    }
}
