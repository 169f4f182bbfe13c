//! `/insights`: past sessions and participants, as of some minutes ago.

mod rows;

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use super::meetings::Listing;
use super::moment::Moment;
use super::paging::{Key, List, Page, Query, Sort};
use super::response::{ApiResponse, Refusal};
use super::state::{Organization, Participant, Totals};
use super::switches::{BotRows, InsightsOfDeleted, SortByDates, Switches, UnknownSession};

const ROOMS: List = List {
    path: "/insights/rooms",
    default_limit: 10,
    filters: &[
        "roomName[exact]",
        "roomName[startsWith]",
        "roomName[contains]",
        "createdAt[from]",
        "createdAt[to]",
    ],
};
const SESSIONS: List = List {
    path: "/insights/room-sessions",
    default_limit: 10,
    filters: &["roomName", "roomSessionId"],
};
const PARTICIPANTS: List = List {
    path: "/insights/participants",
    default_limit: 10,
    filters: &["roomSessionId", "externalId"],
};

/// The totals that sort rooms and sessions, besides dates.
const TOTALS: [&str; 6] = [
    "totalParticipantMinutes",
    "totalRecorderMinutes",
    "totalStreamerMinutes",
    "totalUniqueParticipants",
    "totalUniqueRecorders",
    "totalUniqueStreamers",
];

/// The insights of an organization, which lag behind the clock and depend on the switches.
pub(super) struct Insights<'a> {
    organization: &'a Organization,
    switches: &'a Switches,
    now: Moment,
    /// Events after this time are not included yet.
    horizon: Moment,
}

impl<'a> Insights<'a> {
    pub(super) fn new(organization: &'a Organization, now: Moment, switches: &'a Switches) -> Self {
        let lag = Duration::from_mins(switches.insights_lag.into());
        Self { organization, switches, now, horizon: now.before(lag) }
    }

    /// GET /insights/rooms: the most recently used room first.
    pub(super) fn rooms(&self, query: &Query<'_>) -> Result<ApiResponse, Refusal> {
        let organization = self.organization;
        let page = Page::from_query(
            query,
            &ROOMS,
            organization.id,
            organization.rooms.len(),
            self.switches,
        )?;
        let mut accepted = vec!["lastSessionStartedAt", "createdAt", "endAt", "totalSessions"];
        accepted.extend(TOTALS);
        let sort = self.sort(query, &accepted)?;
        let date = |name: &'static str| match query.get(name) {
            None => Ok(None),
            Some(text) => Moment::from_text(text)
                .map(Some)
                .ok_or(Refusal::invalid(name, "it is not a date-time")),
        };
        let (from, to) = (date("createdAt[from]")?, date("createdAt[to]")?);
        let fits = |name: &str| {
            query.get("roomName[exact]").is_none_or(|wanted| name == wanted)
                && query.get("roomName[startsWith]").is_none_or(|start| name.starts_with(start))
                && query.get("roomName[contains]").is_none_or(|part| name.contains(part))
        };
        let rows = (0..).zip(&organization.rooms).filter(|(index, room)| {
            self.knows_room(*index)
                && from.is_none_or(|from| room.created >= from)
                && to.is_none_or(|to| room.created <= to)
                && fits(&room.name)
        });
        let (rows, cursor) =
            page.cut(rows.map(|(index, _)| index), &sort, |row| self.room_key(row, sort.field));
        let results: Vec<_> = rows.into_iter().map(|row| self.room_insight(row)).collect();
        Ok(ApiResponse::json(StatusCode::OK, &Listing { results, cursor }))
    }

    /// GET /insights/room-sessions: the newest first.
    pub(super) fn sessions(&self, query: &Query<'_>) -> Result<ApiResponse, Refusal> {
        let organization = self.organization;
        let page = Page::from_query(
            query,
            &SESSIONS,
            organization.id,
            organization.sessions.len(),
            self.switches,
        )?;
        let room = organization
            .room_by_name(query.required("roomName")?)
            .filter(|&room| self.knows_room(room));
        let mut accepted = vec!["startedAt", "endedAt"];
        accepted.extend(TOTALS);
        let sort = self.sort(query, &accepted)?;
        let mut rows = room.map(|room| self.sessions_of(room)).unwrap_or_default();
        if let Some(id) = query.get("roomSessionId") {
            rows.retain(|&row| organization.sessions[row as usize].id == id);
            if rows.is_empty() {
                self.refuse_unknown_session()?;
            }
        }
        let (rows, cursor) =
            page.cut(rows.into_iter(), &sort, |row| self.session_key(row, sort.field));
        let results: Vec<_> = rows.into_iter().map(|row| self.room_session(row)).collect();
        Ok(ApiResponse::json(StatusCode::OK, &Listing { results, cursor }))
    }

    /// GET /insights/participants: in the order in which they joined.
    pub(super) fn participants(&self, query: &Query<'_>) -> Result<ApiResponse, Refusal> {
        let organization = self.organization;
        let total = organization.participants.len();
        let page = Page::from_query(query, &PARTICIPANTS, organization.id, total, self.switches)?;
        let sort = match query.get("sortBy") {
            None => Sort { field: "joinedAt", descending: false },
            Some(_) => Sort::from_query(query, &["joinedAt", "leftAt"])?,
        };
        let of_session = query.get("roomSessionId").filter(|id| !id.is_empty());
        let external_id = query.get("externalId").filter(|id| !id.is_empty());
        let rows: Vec<u32> = match (of_session, external_id) {
            (None, None) => {
                return Err(Refusal::invalid("roomSessionId", "it or externalId is required"));
            }
            (None, Some(_)) => {
                (0..).zip(&organization.participants).map(|(index, _)| index).collect()
            }
            (Some(id), _) => {
                match organization.session_by_id(id).filter(|&session| self.knows_session(session))
                {
                    Some(session) => organization.sessions[session as usize].participants.clone(),
                    None => {
                        self.refuse_unknown_session()?;
                        Vec::new()
                    }
                }
            }
        };
        let rows = rows.into_iter().filter(|&row| {
            let participant = &organization.participants[row as usize];
            self.knows_session(participant.session)
                && self.lists_participant(participant)
                && external_id.is_none_or(|id| participant.external_id == id)
        });
        let key = |row: u32| {
            let participant = &organization.participants[row as usize];
            match sort.field {
                "leftAt" => date_key(self.known_end(participant.left)),
                _ => Key::Number(participant.joined.milliseconds()),
            }
        };
        let (rows, cursor) = page.cut(rows, &sort, key);
        let results: Vec<_> = rows.into_iter().map(|row| self.participant_row(row)).collect();
        Ok(ApiResponse::json(StatusCode::OK, &Listing { results, cursor }))
    }

    /// GET /insights/participant: an array with the technical details of one participant.
    pub(super) fn participant(&self, query: &Query<'_>) -> Result<ApiResponse, Refusal> {
        let organization = self.organization;
        let session = query.required("roomSessionId")?;
        let id = query.required("participantId")?;
        let session =
            organization.session_by_id(session).filter(|&session| self.knows_session(session));
        if session.is_none() {
            self.refuse_unknown_session()?;
        }
        let rows =
            session.map(|session| organization.sessions[session as usize].participants.as_slice());
        let participant = rows
            .unwrap_or_default()
            .iter()
            .map(|&row| &organization.participants[row as usize])
            .find(|participant| participant.id == id && self.lists_participant(participant));
        let details = participant.map(|participant| {
            json!({
                "displayName": self.display_name(participant),
                "userRole": participant.role,
                "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
                "timeStamp": participant.joined.to_text(self.switches.date_format),
                "sampleRateMs": 2000,
                "samples": {
                    "packetLossSend": [0, 0, 0.5],
                    "packetLossRecv": [0, 0.25, 0],
                    "bitrateSend": [512, 780, 804],
                    "bitrateRecv": [498, 761, 790],
                },
                "events": [],
            })
        });
        Ok(ApiResponse::json(StatusCode::OK, &Vec::from_iter(details)))
    }

    fn sort(&self, query: &Query<'_>, accepted: &[&'static str]) -> Result<Sort, Refusal> {
        let sort = Sort::from_query(query, accepted)?;
        let rejected =
            self.switches.sort_by_dates == SortByDates::Rejected && query.get("sortBy").is_some();
        if rejected && matches!(sort.field, "startedAt" | "lastSessionStartedAt") {
            return Err(Refusal::invalid("sortBy", "the list cannot be sorted by this field"));
        }
        Ok(sort)
    }

    fn refuse_unknown_session(&self) -> Result<(), Refusal> {
        match self.switches.unknown_session {
            UnknownSession::Empty => Ok(()),
            UnknownSession::NotFound => Err(Refusal::NOT_FOUND),
        }
    }

    fn knows_room(&self, room: u32) -> bool {
        self.organization.rooms[room as usize].created <= self.horizon
            && (self.switches.insights_of_deleted == InsightsOfDeleted::Kept
                || self.organization.is_there(room, self.now, self.switches))
    }

    fn knows_session(&self, session: u32) -> bool {
        let session = &self.organization.sessions[session as usize];
        session.started <= self.horizon && self.knows_room(session.room)
    }

    fn lists_participant(&self, participant: &Participant) -> bool {
        participant.joined <= self.horizon
            && (self.switches.bot_rows == BotRows::Listed || !participant.is_bot())
    }

    fn sessions_of(&self, room: u32) -> Vec<u32> {
        let sessions = &self.organization.rooms[room as usize].sessions;
        sessions.iter().copied().filter(|&session| self.knows_session(session)).collect()
    }

    /// Returns the first and the last start of sessions.
    fn starts(&self, sessions: &[u32]) -> (Option<Moment>, Option<Moment>) {
        let starts =
            || sessions.iter().map(|&session| self.organization.sessions[session as usize].started);
        (starts().min(), starts().max())
    }

    fn room_key(&self, row: u32, field: &str) -> Key {
        let room = &self.organization.rooms[row as usize];
        match field {
            "createdAt" => Key::Number(room.created.milliseconds()),
            "endAt" => Key::Number(room.ends.milliseconds()),
            "lastSessionStartedAt" => date_key(self.starts(&self.sessions_of(row)).1),
            "totalSessions" => Key::Number(self.sessions_of(row).len() as i64),
            total => {
                total_key(&self.organization.totals(&self.sessions_of(row), self.horizon), total)
            }
        }
    }

    fn session_key(&self, row: u32, field: &str) -> Key {
        let session = &self.organization.sessions[row as usize];
        match field {
            "startedAt" => Key::Number(session.started.milliseconds()),
            "endedAt" => date_key(self.known_end(session.ended)),
            total => total_key(&self.organization.totals(&[row], self.horizon), total),
        }
    }

    /// Returns the end, unless it is too recent for the insights.
    fn known_end(&self, end: Option<Moment>) -> Option<Moment> {
        end.filter(|&end| end <= self.horizon)
    }
}

fn total_key(totals: &Totals, field: &str) -> Key {
    Key::Number(match field {
        "totalParticipantMinutes" => totals.participant_minutes,
        "totalRecorderMinutes" => totals.recorder_minutes,
        "totalStreamerMinutes" => totals.streamer_minutes,
        "totalUniqueParticipants" => totals.unique_participants,
        "totalUniqueRecorders" => totals.unique_recorders,
        "totalUniqueStreamers" => totals.unique_streamers,
        _ => return Key::Absent,
    })
}

fn date_key(date: Option<Moment>) -> Key {
    date.map_or(Key::Absent, |date| Key::Number(date.milliseconds()))
}
