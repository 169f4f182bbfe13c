//! The cloud recordings of a meeting.

use super::List;
use crate::meetings::without_slash;
use crate::prelude::*;
use crate::query::Query;
use crate::response::{Names, Object, page_of};
use crate::room_name::is_name;
use crate::transport::{Reply, Request, SendError};
use crate::types::{Error, RecordingFile, RecordingStatus};

const GET_RECORDINGS: &str = "GET /recordings";

/// The maximum number of pages of 100 recordings.
const MAX_PAGES: u32 = 5;

/// Whereby's schema does not have `roomName`, but some responses do.
const RECORDING_MEMBERS: Names = &[
    "recordingId",
    "roomSessionId",
    "roomName",
    "filename",
    "startDate",
    "endDate",
    "sizeInMegaBytes",
];

/// The recordings of one session that were read so far.
///
/// Recordings are optional: a failure to read them is remembered and does not fail the call.
#[derive(Default)]
pub(super) struct Recordings<'a> {
    session: &'a str,
    /// The room to filter by; without one, all recordings are listed.
    room: Option<String>,
    /// The recordings, in Whereby's order.
    pub(super) files: Vec<RecordingFile>,
    /// The room that a recording of the session names.
    pub(super) room_found: Option<String>,
    pages: u32,
    cursor: Option<String>,
    has_failed: bool,
}

impl<'a> Recordings<'a> {
    /// Returns an empty list of recordings of a session.
    pub(super) fn of(session: &'a str, room: Option<&str>) -> Self {
        Self { session, room: room.map(str::to_owned), ..Self::default() }
    }

    /// Returns whether all recordings were read.
    fn is_complete(&self) -> bool {
        self.pages > 0 && self.cursor.is_none() && !self.has_failed
    }

    /// Returns the recording status, given the session's recorder minutes and bots.
    pub(super) fn status(&self, minutes: Option<u32>, saw_recorder: bool) -> RecordingStatus {
        if !self.files.is_empty() {
            RecordingStatus::Available
        } else if !self.is_complete() {
            RecordingStatus::Unknown
        } else if saw_recorder || minutes.is_some_and(|minutes| minutes > 0) {
            RecordingStatus::RecordedNotListed
        } else if minutes.is_some() {
            RecordingStatus::None
        } else {
            // Nothing shows that there was none.
            RecordingStatus::Unknown
        }
    }

    fn read(&mut self, result: Result<Reply, SendError>) -> Result<Option<String>, Error> {
        let before = self.cursor.as_deref();
        let page = match page_of(GET_RECORDINGS, result, RECORDING_MEMBERS, before) {
            // Whereby documents a 404 for a room without recordings.
            Err(Error::NotFound(_)) => return Ok(None),
            page => page?,
        };
        let unreadable = page.read(GET_RECORDINGS, &mut |row| self.add(row))?;
        self.has_failed |= !unreadable.is_empty();
        Ok(page.cursor)
    }

    fn add(&mut self, row: &Object) -> Result<(), String> {
        if row.text("roomSessionId")? != Some(self.session) {
            return Ok(());
        }
        let text = |name| {
            row.text(name).map(|text| text.filter(|text| !text.is_empty()).map(str::to_owned))
        };
        let file = RecordingFile {
            recording_id: row.required_id("recordingId")?,
            filename: text("filename")?,
            start_date: text("startDate")?,
            end_date: text("endDate")?,
            size_in_mega_bytes: row.number("sizeInMegaBytes")?,
        };
        if let Some(room) = row.text("roomName")?.map(without_slash)
            && is_name(room)
        {
            self.room_found = Some(room.to_owned());
        }
        self.files.push(file);
        Ok(())
    }
}

impl List for Recordings<'_> {
    fn request(&self) -> Option<Request> {
        if self.pages >= MAX_PAGES || self.has_failed || self.is_complete() {
            return None;
        }
        let mut query = Query::new("/recordings");
        if let Some(room) = &self.room {
            query = query.with_room("roomName", room);
        }
        let query = query.with_number("limit", 100).with_some("cursor", self.cursor.as_deref());
        Some(Request::get(query.finish()))
    }

    fn take(&mut self, result: Result<Reply, SendError>) -> Result<(), Error> {
        self.pages += 1;
        match self.read(result) {
            Ok(cursor) => self.cursor = cursor,
            Err(_) => self.has_failed = true,
        }
        Ok(())
    }
}
