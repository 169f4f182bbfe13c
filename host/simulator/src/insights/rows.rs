//! The JSON rows of `/insights`.

use serde_json::{Value, json};

use super::super::moment::Moment;
use super::super::state::{Participant, Session};
use super::super::switches::{BlankText, DisplayNames, RunningEnd, SessionDates};
use super::{Insights, TOTALS};

impl Insights<'_> {
    pub(super) fn text(&self, moment: Moment) -> String {
        moment.to_text(self.switches.date_format)
    }

    pub(super) fn room_insight(&self, row: u32) -> Value {
        let room = &self.organization.rooms[row as usize];
        let sessions = self.sessions_of(row);
        let (first, last) = self.starts(&sessions);
        let mut insight = json!({
            "roomName": room.name,
            "createdAt": self.text(room.created),
            "endAt": self.text(room.ends),
            "firstSessionStartedAt": first.map(|first| self.text(first)),
            "lastSessionStartedAt": last.map(|last| self.text(last)),
            "totalSessions": sessions.len(),
        });
        self.add_totals(&mut insight, &sessions);
        insight
    }

    pub(super) fn room_session(&self, row: u32) -> Value {
        let Session { id, room, started, ended, .. } = &self.organization.sessions[row as usize];
        let (start, end) = match self.switches.session_dates {
            SessionDates::StartedAt => ("startedAt", "endedAt"),
            SessionDates::CreatedAt => ("createdAt", "endAt"),
        };
        let mut session = json!({
            "roomSessionId": id,
            "roomName": self.organization.rooms[*room as usize].name,
            start: self.text(*started),
        });
        self.add_end(&mut session, end, *ended);
        self.add_totals(&mut session, &[row]);
        session
    }

    pub(super) fn participant_row(&self, row: u32) -> Value {
        let participant = &self.organization.participants[row as usize];
        let mut row = json!({
            "roomSessionId": self.organization.sessions[participant.session as usize].id,
            "participantId": participant.id,
            "deviceId": participant.device_id,
            "userId": self.blank(&participant.user_id),
            "roleName": participant.role,
            "displayName": self.display_name(participant),
            "joinedAt": self.text(participant.joined),
            "externalId": self.blank(&participant.external_id),
            "rating": null,
            "tags": null,
            "comment": null,
        });
        self.add_end(&mut row, "leftAt", participant.left);
        row
    }

    /// Adds the end of a session or a visit. While it is in progress, the end is null or absent.
    fn add_end(&self, row: &mut Value, name: &str, end: Option<Moment>) {
        let end = self.known_end(end);
        if end.is_some() || self.switches.running_end == RunningEnd::Null {
            row[name] = end.map(|end| self.text(end)).into();
        }
    }

    /// Adds the totals of sessions, and the ratings. Those are an optional feature of organizations, which is
    /// always off here.
    fn add_totals(&self, row: &mut Value, sessions: &[u32]) {
        for (name, total) in TOTALS.into_iter().zip(self.totals(sessions)) {
            row[name] = total.into();
        }
        row["rating"] = Value::Null;
        row["totalRatings"] = Value::Null;
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
}
