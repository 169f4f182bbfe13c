//! `/meetings`: rooms, which the API calls meetings.

use axum::http::StatusCode;
use serde::Serialize;

use super::create::CreateRequest;
use super::identity::room_key;
use super::paging::{List, Listing};
use super::response::{ApiResponse, Refusal};
use super::service::Call;
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

    fn from_query(call: &Call<'_>) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        let names = call.query.get("fields").unwrap_or("").split(',');
        for name in names.filter(|name| !name.is_empty()) {
            fields.add(name, call.switches)?;
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
    fn new(call: &'a Call<'_>, room: u32, fields: Fields) -> Self {
        let (organization, switches) = (&*call.organization, call.switches);
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
pub(super) fn list(call: &mut Call<'_>) -> Result<ApiResponse, Refusal> {
    let organization = &*call.organization;
    let fields = Fields::from_query(call)?;
    let page = call.page(&LIST, organization.rooms.len())?;
    let prefix = match call.switches.room_name_filter {
        RoomNameFilter::Honoured => call.query.get("roomName[startsWith]"),
        RoomNameFilter::Ignored => None,
    };
    // The list is always sorted, so a page is found without sorting all rooms.
    let start = page.after.map_or(0, |last| {
        let last = organization.age(last);
        organization.listed.partition_point(|&room| organization.age(room) <= last)
    });
    let mut rooms = organization.listed[start..].iter().copied().filter(|&room| {
        call.is_there(room)
            && prefix
                .is_none_or(|prefix| organization.rooms[room as usize].name.starts_with(prefix))
    });
    let on_page: Vec<_> = rooms.by_ref().take(page.limit).collect();
    let cursor = on_page.last().filter(|_| rooms.next().is_some()).map(|&last| page.cursor(last));
    let results: Vec<_> = on_page.iter().map(|&room| Meeting::new(call, room, fields)).collect();
    Ok(ApiResponse::json(StatusCode::OK, &Listing { results, cursor }))
}

/// GET /meetings/{id}.
pub(super) fn one(call: &mut Call<'_>) -> Result<ApiResponse, Refusal> {
    let fields = Fields::from_query(call)?;
    let room = call.organization.room_by_id(&call.id).filter(|&room| call.is_there(room));
    let room = room.ok_or(Refusal::NOT_FOUND)?;
    Ok(ApiResponse::json(StatusCode::OK, &Meeting::new(call, room, fields)))
}

/// POST /meetings.
pub(super) fn create(call: &mut Call<'_>) -> Result<ApiResponse, Refusal> {
    if !call.is_json() {
        return Err(Refusal::bad_request("Content-Type must be application/json"));
    }
    let request = CreateRequest::from_body(call.body, call.now, call.switches)?;
    if request.needs_plan && call.switches.recording_plan == RecordingPlan::Missing {
        return Err(Refusal::NOT_IN_PLAN);
    }
    let name = call.organization.name_room(&request.prefix, request.pattern);
    let room = call.organization.add_room(name, call.now, request.ends, call.switches);
    Ok(ApiResponse::json(StatusCode::CREATED, &Meeting::new(call, room, request.fields)))
}

/// DELETE /meetings/{id}: the same response again for a room that is already deleted.
pub(super) fn delete(call: &mut Call<'_>) -> Result<ApiResponse, Refusal> {
    match call.organization.room_by_id(&call.id) {
        Some(room) => call.organization.delete_room(room),
        None if call.switches.delete_unknown == DeleteUnknown::NotFound => {
            return Err(Refusal::NOT_FOUND);
        }
        None => {}
    }
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}
