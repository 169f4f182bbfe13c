//! `/meetings`: rooms, which the API calls meetings.

use axum::http::StatusCode;
use serde::Serialize;

use super::create::CreateRequest;
use super::identity::room_key;
use super::moment::Moment;
use super::paging::{List, Page, Query};
use super::response::{ApiResponse, Refusal};
use super::state::Organization;
use super::switches::{
    DeleteUnknown, MeetingMembers, RecordingPlan, RoomNameFilter, Switches, UnknownFields,
};

const LIST: List =
    List { path: "/meetings", default_limit: 50, filters: &["roomName[startsWith]", "fields"] };

/// The URLs that are returned only on request, because they grant more rights in the room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) host: bool,
    pub(super) viewer: bool,
}

impl Fields {
    /// Adds a name. The switch decides whether an unknown name is refused.
    pub(super) fn add(&mut self, name: &str, switches: &Switches) -> Result<(), Refusal> {
        match name {
            "hostRoomUrl" => self.host = true,
            "viewerRoomUrl" => self.viewer = true,
            _ if switches.unknown_fields == UnknownFields::Ignored => {}
            _ => return Err(Refusal::invalid("fields", "it must be hostRoomUrl or viewerRoomUrl")),
        }
        Ok(())
    }

    fn from_query(query: &Query<'_>, switches: &Switches) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for name in query.get("fields").unwrap_or("").split(',').filter(|name| !name.is_empty()) {
            fields.add(name, switches)?;
        }
        Ok(fields)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meeting<'a> {
    meeting_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_date: Option<String>,
    end_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_name: Option<&'a str>,
    room_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_room_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    viewer_room_url: Option<String>,
}

impl<'a> Meeting<'a> {
    fn new(organization: &'a Organization, room: u32, fields: Fields, switches: &Switches) -> Self {
        let room = &organization.rooms[room as usize];
        let room_url = organization.room_url(room);
        let url_with_key = |key_type| {
            let issued = room.created.milliseconds() / 1000;
            let key = room_key(organization.id, &room.meeting_id, &room.name, key_type, issued);
            format!("{room_url}?roomKey={key}")
        };
        let all = switches.meeting_members == MeetingMembers::All;
        Self {
            meeting_id: &room.meeting_id,
            start_date: all.then(|| room.created.to_text(switches.date_format)),
            end_date: room.ends.to_text(switches.date_format),
            room_name: all.then_some(&room.name),
            host_room_url: fields.host.then(|| url_with_key("meetingHost")),
            viewer_room_url: fields.viewer.then(|| url_with_key("meetingViewer")),
            room_url,
        }
    }
}

/// GET /meetings: the newest room first, without deleted and removed rooms.
pub(super) fn list(
    organization: &Organization,
    query: &Query<'_>,
    now: Moment,
    switches: &Switches,
) -> Result<ApiResponse, Refusal> {
    let fields = Fields::from_query(query, switches)?;
    let page = Page::from_query(query, &LIST, organization.id, organization.rooms.len(), switches)?;
    let prefix = match switches.room_name_filter {
        RoomNameFilter::Honoured => query.get("roomName[startsWith]"),
        RoomNameFilter::Ignored => None,
    };
    // The list is always sorted, so a page is found without sorting all rooms.
    let start = page.after.map_or(0, |last| {
        let last = organization.age(last);
        organization.listed.partition_point(|&room| organization.age(room) <= last)
    });
    let mut rooms = organization.listed[start..].iter().copied().filter(|&room| {
        organization.is_there(room, now, switches)
            && prefix
                .is_none_or(|prefix| organization.rooms[room as usize].name.starts_with(prefix))
    });
    let on_page: Vec<_> = rooms.by_ref().take(page.limit).collect();
    let cursor = on_page.last().filter(|_| rooms.next().is_some()).map(|&last| page.cursor(last));
    let results: Vec<_> =
        on_page.iter().map(|&room| Meeting::new(organization, room, fields, switches)).collect();
    Ok(ApiResponse::json(StatusCode::OK, &Listing { results, cursor }))
}

/// The envelope of every list.
#[derive(Serialize)]
pub(super) struct Listing<T> {
    pub(super) results: Vec<T>,
    pub(super) cursor: Option<String>,
}

/// GET /meetings/{id}.
pub(super) fn one(
    organization: &Organization,
    meeting_id: &str,
    query: &Query<'_>,
    now: Moment,
    switches: &Switches,
) -> Result<ApiResponse, Refusal> {
    let fields = Fields::from_query(query, switches)?;
    let room = organization
        .room_by_id(meeting_id)
        .filter(|&room| organization.is_there(room, now, switches));
    let room = room.ok_or(Refusal::NOT_FOUND)?;
    Ok(ApiResponse::json(StatusCode::OK, &Meeting::new(organization, room, fields, switches)))
}

/// POST /meetings.
pub(super) fn create(
    organization: &mut Organization,
    request: &CreateRequest,
    now: Moment,
    switches: &Switches,
) -> Result<ApiResponse, Refusal> {
    if request.needs_plan && switches.recording_plan == RecordingPlan::Missing {
        return Err(Refusal::NOT_IN_PLAN);
    }
    let name = organization.name_room(&request.prefix, request.pattern);
    let room = organization.add_room(name, now, request.ends, switches);
    Ok(ApiResponse::json(
        StatusCode::CREATED,
        &Meeting::new(organization, room, request.fields, switches),
    ))
}

/// DELETE /meetings/{id}: the same response again for a room that is already deleted.
pub(super) fn delete(
    organization: &mut Organization,
    meeting_id: &str,
    switches: &Switches,
) -> Result<ApiResponse, Refusal> {
    match organization.room_by_id(meeting_id) {
        Some(room) => organization.delete_room(room),
        None if switches.delete_unknown == DeleteUnknown::NotFound => {
            return Err(Refusal::NOT_FOUND);
        }
        None => {}
    }
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}
