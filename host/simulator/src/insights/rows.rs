//! The JSON rows of `/insights`.

use serde::Serialize;

use super::super::moment::Moment;
use super::super::state::{Participant, Session, Totals};
use super::super::switches::{BlankText, DisplayNames, RunningEnd, SessionDates};
use super::Insights;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TotalMembers {
    total_participant_minutes: i64,
    total_recorder_minutes: i64,
    total_streamer_minutes: i64,
    total_unique_participants: i64,
    total_unique_recorders: i64,
    total_unique_streamers: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomInsight<'a> {
    room_name: &'a str,
    created_at: String,
    end_at: String,
    first_session_started_at: Option<String>,
    last_session_started_at: Option<String>,
    #[serde(flatten)]
    totals: TotalMembers,
    total_sessions: usize,
    // Ratings are an optional feature of organizations, which is always off here.
    rating: Option<f64>,
    total_ratings: Option<u32>,
}

/// A date that may be null or absent.
type End = Option<Option<String>>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomSession<'a> {
    room_session_id: &'a str,
    room_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: End,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_at: End,
    #[serde(flatten)]
    totals: TotalMembers,
    rating: Option<f64>,
    total_ratings: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ParticipantRow<'a> {
    room_session_id: &'a str,
    participant_id: &'a str,
    device_id: &'a str,
    user_id: Option<&'a str>,
    role_name: &'a str,
    display_name: Option<&'a str>,
    joined_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_at: End,
    external_id: Option<&'a str>,
    rating: Option<f64>,
    tags: Option<Vec<String>>,
    comment: Option<String>,
}

impl<'a> Insights<'a> {
    pub(super) fn text(&self, moment: Moment) -> String {
        moment.to_text(self.switches.date_format)
    }

    fn end(&self, end: Option<Moment>) -> End {
        match (self.known_end(end), self.switches.running_end) {
            (Some(end), _) => Some(Some(self.text(end))),
            (None, RunningEnd::Null) => Some(None),
            (None, RunningEnd::Absent) => None,
        }
    }

    pub(super) fn room_insight(&self, row: u32) -> RoomInsight<'a> {
        let room = &self.organization.rooms[row as usize];
        let sessions = self.sessions_of(row);
        let (first, last) = self.starts(&sessions);
        RoomInsight {
            room_name: &room.name,
            created_at: self.text(room.created),
            end_at: self.text(room.ends),
            first_session_started_at: first.map(|first| self.text(first)),
            last_session_started_at: last.map(|last| self.text(last)),
            totals: self.organization.totals(&sessions, self.horizon).into(),
            total_sessions: sessions.len(),
            rating: None,
            total_ratings: None,
        }
    }

    pub(super) fn room_session(&self, row: u32) -> RoomSession<'a> {
        let Session { id, room, started, ended, .. } = &self.organization.sessions[row as usize];
        let (started, ended) = (Some(self.text(*started)), self.end(*ended));
        let (started_at, ended_at, created_at, end_at) = match self.switches.session_dates {
            SessionDates::StartedAt => (started, ended, None, None),
            SessionDates::CreatedAt => (None, None, started, ended),
        };
        RoomSession {
            room_session_id: id,
            room_name: &self.organization.rooms[*room as usize].name,
            started_at,
            ended_at,
            created_at,
            end_at,
            totals: self.organization.totals(&[row], self.horizon).into(),
            rating: None,
            total_ratings: None,
        }
    }

    pub(super) fn display_name<'b>(&self, participant: &'b Participant) -> Option<&'b str> {
        match self.switches.display_names {
            DisplayNames::Redacted if !participant.is_bot() => Some("[[redacted]]"),
            _ => self.blank(&participant.name),
        }
    }

    fn blank<'b>(&self, text: &'b str) -> Option<&'b str> {
        (!text.is_empty() || self.switches.blank_text == BlankText::Empty).then_some(text)
    }

    pub(super) fn participant_row(&self, row: u32) -> ParticipantRow<'a> {
        let participant = &self.organization.participants[row as usize];
        ParticipantRow {
            room_session_id: &self.organization.sessions[participant.session as usize].id,
            participant_id: &participant.id,
            device_id: &participant.device_id,
            user_id: self.blank(&participant.user_id),
            role_name: &participant.role,
            display_name: self.display_name(participant),
            joined_at: self.text(participant.joined),
            left_at: self.end(participant.left),
            external_id: self.blank(&participant.external_id),
            rating: None,
            tags: None,
            comment: None,
        }
    }
}

impl From<Totals> for TotalMembers {
    fn from(totals: Totals) -> Self {
        Self {
            total_participant_minutes: totals.participant_minutes,
            total_recorder_minutes: totals.recorder_minutes,
            total_streamer_minutes: totals.streamer_minutes,
            total_unique_participants: totals.unique_participants,
            total_unique_recorders: totals.unique_recorders,
            total_unique_streamers: totals.unique_streamers,
        }
    }
}
