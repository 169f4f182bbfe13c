//! `/insights`: past sessions and participants, as of some minutes ago.

mod rows;

use std::collections::HashSet;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use super::moment::Moment;
use super::paging::{Key, List, Sort};
use super::response::{ApiResponse, Refusal};
use super::service::Call;
use super::state::{Organization, Participant, next_index};
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

/// The totals of rooms and sessions. They can be sorted by them, too.
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
    call: &'a Call<'a>,
    organization: &'a Organization,
    switches: &'a Switches,
    /// Events after this time are not included yet.
    horizon: Moment,
}

impl<'a> Insights<'a> {
    pub(super) fn of(call: &'a Call<'a>) -> Self {
        let (organization, switches) = (&*call.organization, call.switches);
        let lag = Duration::from_mins(switches.insights_lag.into());
        Self { call, organization, switches, horizon: call.now.before(lag) }
    }

    /// GET /insights/rooms: the most recently used room first.
    pub(super) fn rooms(&self) -> Result<ApiResponse, Refusal> {
        let (organization, query) = (self.organization, &self.call.query);
        let page = self.call.page(&ROOMS, organization.rooms.len())?;
        let sort = self.sort(&["lastSessionStartedAt", "createdAt", "endAt", "totalSessions"])?;
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
        let key = |row| self.room_key(row, sort.field);
        Ok(page.answer(rows.map(|(index, _)| index), &sort, key, |row| self.room_insight(row)))
    }

    /// GET /insights/room-sessions: the newest first.
    pub(super) fn sessions(&self) -> Result<ApiResponse, Refusal> {
        let (organization, query) = (self.organization, &self.call.query);
        let page = self.call.page(&SESSIONS, organization.sessions.len())?;
        let room = organization
            .room_by_name(query.required("roomName")?)
            .filter(|&room| self.knows_room(room));
        let sort = self.sort(&["startedAt", "endedAt"])?;
        let mut rows = room.map(|room| self.sessions_of(room)).unwrap_or_default();
        if let Some(id) = query.get("roomSessionId") {
            rows.retain(|&row| organization.sessions[row as usize].id == id);
            if rows.is_empty() {
                self.refuse_unknown_session()?;
            }
        }
        let key = |row| self.session_key(row, sort.field);
        Ok(page.answer(rows.into_iter(), &sort, key, |row| self.room_session(row)))
    }

    /// GET /insights/participants: in the order in which they joined.
    pub(super) fn participants(&self) -> Result<ApiResponse, Refusal> {
        let (organization, query) = (self.organization, &self.call.query);
        let page = self.call.page(&PARTICIPANTS, organization.participants.len())?;
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
            (None, Some(_)) => (0..next_index(&organization.participants)).collect(),
            (Some(id), _) => self.participants_of(id)?.to_vec(),
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
        Ok(page.answer(rows, &sort, key, |row| self.participant_row(row)))
    }

    /// GET /insights/participant: an array with the technical details of one participant.
    pub(super) fn participant(&self) -> Result<ApiResponse, Refusal> {
        let session = self.call.query.required("roomSessionId")?;
        let id = self.call.query.required("participantId")?;
        let participant = self
            .participants_of(session)?
            .iter()
            .map(|&row| &self.organization.participants[row as usize])
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

    /// Reads the sort order of rooms or sessions: one of these fields or a total.
    fn sort(&self, fields: &[&'static str]) -> Result<Sort, Refusal> {
        let sort = Sort::from_query(&self.call.query, &[fields, &TOTALS].concat())?;
        let rejected = self.switches.sort_by_dates == SortByDates::Rejected
            && self.call.query.get("sortBy").is_some();
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

    /// Returns the participants of a session, which may be unknown.
    fn participants_of(&self, session: &str) -> Result<&'a [u32], Refusal> {
        match self.organization.session_by_id(session).filter(|&row| self.knows_session(row)) {
            Some(row) => Ok(&self.organization.sessions[row as usize].participants),
            None => self.refuse_unknown_session().map(|()| &[][..]),
        }
    }

    fn knows_room(&self, room: u32) -> bool {
        self.organization.rooms[room as usize].created <= self.horizon
            && (self.switches.insights_of_deleted == InsightsOfDeleted::Kept
                || self.call.is_there(room))
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
            total => self.total_key(&self.sessions_of(row), total),
        }
    }

    fn session_key(&self, row: u32, field: &str) -> Key {
        let session = &self.organization.sessions[row as usize];
        match field {
            "startedAt" => Key::Number(session.started.milliseconds()),
            "endedAt" => date_key(self.known_end(session.ended)),
            total => self.total_key(&[row], total),
        }
    }

    /// Returns the end, unless it is too recent for the insights.
    fn known_end(&self, end: Option<Moment>) -> Option<Moment> {
        end.filter(|&end| end <= self.horizon)
    }

    fn total_key(&self, sessions: &[u32], field: &str) -> Key {
        let totals = TOTALS.into_iter().zip(self.totals(sessions));
        totals
            .into_iter()
            .find(|(name, _)| *name == field)
            .map_or(Key::Absent, |(_, total)| Key::Number(total))
    }

    /// Returns the totals of sessions, in the order of [`TOTALS`].
    fn totals(&self, sessions: &[u32]) -> [i64; 6] {
        let mut totals = [0; 6];
        let mut seen = HashSet::new();
        let sessions = sessions.iter().map(|&row| &self.organization.sessions[row as usize]);
        for &row in sessions.flat_map(|session| &session.participants) {
            let participant = &self.organization.participants[row as usize];
            if participant.joined > self.horizon {
                continue;
            }
            let role = match participant.role.as_str() {
                "recorder" => 1,
                "streamer" => 2,
                "captioner" => continue,
                _ => 0,
            };
            let until = participant.left.map_or(self.horizon, |left| left.min(self.horizon));
            // Rounded up for each connection, as Whereby documents it.
            totals[role] += (until.since(participant.joined) + 59_999) / 60_000;
            totals[role + 3] += i64::from(seen.insert(participant.person));
        }
        totals
    }
}

fn date_key(date: Option<Moment>) -> Key {
    date.map_or(Key::Absent, |date| Key::Number(date.milliseconds()))
}
