//! `/recordings` and `/transcriptions`.

use axum::http::StatusCode;
use serde::Serialize;

use super::meetings::Listing;
use super::paging::{Key, List, Page, Query, Sort};
use super::response::{ApiResponse, Refusal};
use super::state::Organization;
use super::switches::{RecordingRoomName, Switches};

const RECORDINGS: List = List { path: "/recordings", default_limit: 50, filters: &["roomName"] };
const TRANSCRIPTIONS: List =
    List { path: "/transcriptions", default_limit: 50, filters: &["roomName"] };

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recording<'a> {
    recording_id: &'a str,
    room_session_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_name: Option<&'a str>,
    filename: &'a str,
    start_date: String,
    end_date: String,
    size_in_mega_bytes: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Transcription<'a> {
    transcription_id: &'a str,
    room_session_id: &'a str,
    room_name: &'a str,
    filename: &'a str,
    start_date: String,
    end_date: String,
    created_at: String,
    state: &'static str,
    duration_in_seconds: i64,
    r#type: &'static str,
    storage_type: &'static str,
}

/// GET /recordings: the newest first.
pub(super) fn recordings(
    organization: &Organization,
    query: &Query<'_>,
    switches: &Switches,
) -> Result<ApiResponse, Refusal> {
    let rows = &organization.recordings;
    let page = Page::from_query(query, &RECORDINGS, organization.id, rows.len(), switches)?;
    let sort = Sort::from_query(query, &["startDate", "roomName", "duration", "sizeInMegaBytes"])?;
    let of_room = query.get("roomName");
    let fits = (0..)
        .zip(rows)
        .filter(|(_, row)| of_room.is_none_or(|name| room_name(organization, row.session) == name));
    let key = |index: u32| {
        let row = &rows[index as usize];
        match sort.field {
            "roomName" => Key::Text(room_name(organization, row.session).to_owned()),
            "duration" => Key::Number(row.ended.since(row.started)),
            "sizeInMegaBytes" => Key::Number(row.megabytes.into()),
            _ => Key::Number(row.started.milliseconds()),
        }
    };
    let (indexes, cursor) = page.cut(fits.map(|(index, _)| index), &sort, key);
    let results: Vec<_> = indexes
        .into_iter()
        .map(|index| recording_at(organization, index as usize, switches))
        .collect();
    Ok(ApiResponse::json(StatusCode::OK, &Listing { results, cursor }))
}

/// GET /recordings/{id}.
pub(super) fn recording(
    organization: &Organization,
    id: &str,
    switches: &Switches,
) -> Result<ApiResponse, Refusal> {
    let index =
        organization.recordings.iter().position(|row| row.id == id).ok_or(Refusal::NOT_FOUND)?;
    Ok(ApiResponse::json(StatusCode::OK, &recording_at(organization, index, switches)))
}

/// GET /transcriptions: the newest first.
pub(super) fn transcriptions(
    organization: &Organization,
    query: &Query<'_>,
    switches: &Switches,
) -> Result<ApiResponse, Refusal> {
    let rows = &organization.transcriptions;
    let page = Page::from_query(query, &TRANSCRIPTIONS, organization.id, rows.len(), switches)?;
    let sort = Sort::from_query(query, &["startDate", "roomName", "durationInSeconds"])?;
    let of_room = query.get("roomName");
    let fits = (0..)
        .zip(rows)
        .filter(|(_, row)| of_room.is_none_or(|name| room_name(organization, row.session) == name));
    let key = |index: u32| {
        let row = &rows[index as usize];
        match sort.field {
            "roomName" => Key::Text(room_name(organization, row.session).to_owned()),
            "durationInSeconds" => Key::Number(row.ended.since(row.started)),
            _ => Key::Number(row.started.milliseconds()),
        }
    };
    let (indexes, cursor) = page.cut(fits.map(|(index, _)| index), &sort, key);
    let results: Vec<_> = indexes
        .into_iter()
        .map(|index| transcription_at(organization, index as usize, switches))
        .collect();
    Ok(ApiResponse::json(StatusCode::OK, &Listing { results, cursor }))
}

/// GET /transcriptions/{id}.
pub(super) fn transcription(
    organization: &Organization,
    id: &str,
    switches: &Switches,
) -> Result<ApiResponse, Refusal> {
    let index = organization
        .transcriptions
        .iter()
        .position(|row| row.id == id)
        .ok_or(Refusal::NOT_FOUND)?;
    Ok(ApiResponse::json(StatusCode::OK, &transcription_at(organization, index, switches)))
}

fn room_name(organization: &Organization, session: u32) -> &str {
    let room = organization.sessions[session as usize].room;
    &organization.rooms[room as usize].name
}

fn recording_at<'a>(
    organization: &'a Organization,
    index: usize,
    switches: &Switches,
) -> Recording<'a> {
    let row = &organization.recordings[index];
    Recording {
        recording_id: &row.id,
        room_session_id: &organization.sessions[row.session as usize].id,
        room_name: (switches.recording_room_name == RecordingRoomName::Included)
            .then(|| room_name(organization, row.session)),
        filename: &row.filename,
        start_date: row.started.to_text(switches.date_format),
        end_date: row.ended.to_text(switches.date_format),
        size_in_mega_bytes: row.megabytes,
    }
}

fn transcription_at<'a>(
    organization: &'a Organization,
    index: usize,
    switches: &Switches,
) -> Transcription<'a> {
    let row = &organization.transcriptions[index];
    Transcription {
        transcription_id: &row.id,
        room_session_id: &organization.sessions[row.session as usize].id,
        room_name: room_name(organization, row.session),
        filename: &row.filename,
        start_date: row.started.to_text(switches.date_format),
        end_date: row.ended.to_text(switches.date_format),
        created_at: row.ended.to_text(switches.date_format),
        state: "ready",
        duration_in_seconds: row.ended.since(row.started) / 1000,
        r#type: "LIVE_TRANSCRIPTION",
        storage_type: "WHEREBY_HOSTED",
    }
}
