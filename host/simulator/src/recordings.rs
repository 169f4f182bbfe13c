//! `/recordings` and `/transcriptions`: files that sessions leave.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::paging::{Key, List, Sort};
use super::response::{ApiResponse, Refusal};
use super::service::Call;
use super::state::{File, Organization};
use super::switches::RecordingRoomName;

/// A kind of file.
pub(super) struct Files {
    list: List,
    /// The accepted sort fields; the first is the default.
    sorts: &'static [&'static str],
    rows: fn(&Organization) -> &[File],
    json: fn(&Call<'_>, &File) -> Value,
}

/// `/recordings`.
pub(super) const RECORDINGS: Files = Files {
    list: List { path: "/recordings", default_limit: 50, filters: &["roomName"] },
    sorts: &["startDate", "roomName", "duration", "sizeInMegaBytes"],
    rows: |organization| &organization.recordings,
    json: recording,
};

/// `/transcriptions`.
pub(super) const TRANSCRIPTIONS: Files = Files {
    list: List { path: "/transcriptions", default_limit: 50, filters: &["roomName"] },
    sorts: &["startDate", "roomName", "durationInSeconds"],
    rows: |organization| &organization.transcriptions,
    json: transcription,
};

impl Files {
    /// Lists the files: the newest first.
    pub(super) fn list(&self, call: &Call<'_>) -> Result<ApiResponse, Refusal> {
        let rows = (self.rows)(call.organization);
        let page = call.page(&self.list, rows.len())?;
        let sort = Sort::from_query(&call.query, self.sorts)?;
        let of_room = call.query.get("roomName");
        let fits = (0..)
            .zip(rows)
            .filter(|(_, file)| of_room.is_none_or(|name| room_name(call, file) == name));
        let key = |index: u32| {
            let file = &rows[index as usize];
            match sort.field {
                "roomName" => Key::Text(room_name(call, file).to_owned()),
                "duration" | "durationInSeconds" => Key::Number(file.ended.since(file.started)),
                "sizeInMegaBytes" => Key::Number(file.megabytes.into()),
                _ => Key::Number(file.started.milliseconds()),
            }
        };
        let row = |index: u32| (self.json)(call, &rows[index as usize]);
        Ok(page.answer(fits.map(|(index, _)| index), &sort, key, row))
    }

    /// Returns one file.
    pub(super) fn one(&self, call: &Call<'_>) -> Result<ApiResponse, Refusal> {
        let file = (self.rows)(call.organization).iter().find(|file| file.id == call.id);
        let file = file.ok_or(Refusal::NOT_FOUND)?;
        Ok(ApiResponse::json(StatusCode::OK, &(self.json)(call, file)))
    }
}

fn room_name<'a>(call: &'a Call<'_>, file: &File) -> &'a str {
    let room = call.organization.sessions[file.session as usize].room;
    &call.organization.rooms[room as usize].name
}

fn recording(call: &Call<'_>, file: &File) -> Value {
    let mut recording = json!({
        "recordingId": file.id,
        "roomSessionId": call.organization.sessions[file.session as usize].id,
        "filename": file.filename,
        "startDate": file.started.to_text(call.switches.date_format),
        "endDate": file.ended.to_text(call.switches.date_format),
        "sizeInMegaBytes": file.megabytes,
    });
    if call.switches.recording_room_name == RecordingRoomName::Included {
        recording["roomName"] = room_name(call, file).into();
    }
    recording
}

fn transcription(call: &Call<'_>, file: &File) -> Value {
    json!({
        "transcriptionId": file.id,
        "roomSessionId": call.organization.sessions[file.session as usize].id,
        "roomName": room_name(call, file),
        "filename": file.filename,
        "startDate": file.started.to_text(call.switches.date_format),
        "endDate": file.ended.to_text(call.switches.date_format),
        "createdAt": file.ended.to_text(call.switches.date_format),
        "state": "ready",
        "durationInSeconds": file.ended.since(file.started) / 1000,
        "type": "LIVE_TRANSCRIPTION",
        "storageType": "WHEREBY_HOSTED",
    })
}
