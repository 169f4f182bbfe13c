//! What the simulated API knows: rooms, sessions, participants, recordings and transcriptions of one organization.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::identity::{Ids, Kind, fingerprint};
use super::moment::Moment;
use super::rate_limit::RateLimit;
use super::switches::{MeetingId, Switches};

/// The first organization's id; the others follow.
const FIRST_ORGANIZATION: u64 = 47_110;

/// An organization's data. Rows refer to one another by their place in these lists, and are never taken out of them,
/// so that a cursor stays good whatever is deleted.
#[derive(Debug)]
pub(super) struct Organization {
    pub(super) id: u64,
    pub(super) subdomain: String,
    pub(super) ids: Ids,
    pub(super) rooms: Vec<Room>,
    pub(super) sessions: Vec<Session>,
    pub(super) participants: Vec<Participant>,
    pub(super) recordings: Vec<Recording>,
    pub(super) transcriptions: Vec<Transcription>,
    pub(super) rate_limit: RateLimit,
    /// Rooms not deleted by hand, the newest first: what GET /meetings goes through.
    pub(super) listed: Vec<u32>,
    rooms_by_id: HashMap<String, u32>,
    rooms_by_name: HashMap<String, u32>,
    sessions_by_id: HashMap<String, u32>,
}

/// A room, which the API calls a meeting.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) meeting_id: String,
    /// With the leading slash.
    pub(super) name: String,
    pub(super) created: Moment,
    pub(super) ends: Moment,
    pub(super) deleted: bool,
    pub(super) sessions: Vec<u32>,
}

/// A stretch of time in which at least two people were in a room.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) room: u32,
    pub(super) started: Moment,
    pub(super) ended: Option<Moment>,
    pub(super) participants: Vec<u32>,
}

/// Somebody, or a bot, in a session.
#[derive(Debug)]
pub(super) struct Participant {
    pub(super) session: u32,
    pub(super) id: String,
    pub(super) device_id: String,
    pub(super) user_id: String,
    pub(super) role: String,
    /// Empty for a guest who gave none.
    pub(super) name: String,
    /// Empty where none was given.
    pub(super) external_id: String,
    pub(super) joined: Moment,
    pub(super) left: Option<Moment>,
    /// The same for the same person, whatever the session.
    pub(super) person: u64,
}

impl Participant {
    pub(super) fn is_bot(&self) -> bool {
        is_bot(&self.role)
    }
}

/// Whether a role is one of the three that no person has.
pub(super) fn is_bot(role: &str) -> bool {
    matches!(role, "recorder" | "streamer" | "captioner")
}

/// A finished cloud recording.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) id: String,
    pub(super) session: u32,
    pub(super) filename: String,
    pub(super) started: Moment,
    pub(super) ended: Moment,
    pub(super) megabytes: u32,
}

/// A finished transcription of a session.
#[derive(Debug)]
pub(super) struct Transcription {
    pub(super) id: String,
    pub(super) session: u32,
    pub(super) filename: String,
    pub(super) started: Moment,
    pub(super) ended: Moment,
}

/// How the random part of a room's name is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum NamePattern {
    Uuid,
    HumanShort,
}

/// The sums that insights give for a room or a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) participant_minutes: i64,
    pub(super) recorder_minutes: i64,
    pub(super) streamer_minutes: i64,
    pub(super) unique_participants: i64,
    pub(super) unique_recorders: i64,
    pub(super) unique_streamers: i64,
}

impl Organization {
    /// `index` counts the organizations of a simulator, and decides their ids.
    pub(super) fn new(index: usize, subdomain: &str) -> Self {
        let id = FIRST_ORGANIZATION + index as u64;
        Self {
            id,
            subdomain: subdomain.to_owned(),
            ids: Ids::new(id),
            rooms: Vec::new(),
            sessions: Vec::new(),
            participants: Vec::new(),
            recordings: Vec::new(),
            transcriptions: Vec::new(),
            rate_limit: RateLimit::default(),
            listed: Vec::new(),
            rooms_by_id: HashMap::new(),
            rooms_by_name: HashMap::new(),
            sessions_by_id: HashMap::new(),
        }
    }

    /// A new name that starts with the prefix, with the leading slash.
    pub(super) fn name_room(&mut self, prefix: &str, pattern: NamePattern) -> String {
        loop {
            let suffix = match pattern {
                NamePattern::Uuid => self.ids.uuid(Kind::Room),
                NamePattern::HumanShort => self.ids.short(Kind::Room),
            };
            let name = format!("/{prefix}{suffix}");
            if !self.rooms_by_name.contains_key(&name) {
                return name;
            }
        }
    }

    /// Adds a room under a name that no other has.
    pub(super) fn add_room(
        &mut self,
        name: String,
        created: Moment,
        ends: Moment,
        switches: &Switches,
    ) -> u32 {
        let meeting_id = loop {
            let id = match switches.meeting_id {
                MeetingId::Decimal => self.ids.decimal(Kind::Meeting),
                MeetingId::Uuid => self.ids.uuid(Kind::Meeting),
            };
            if !self.rooms_by_id.contains_key(&id) {
                break id;
            }
        };
        let index = next_index(&self.rooms);
        self.rooms_by_id.insert(meeting_id.clone(), index);
        self.rooms_by_name.insert(name.clone(), index);
        self.rooms.push(Room {
            meeting_id,
            name,
            created,
            ends,
            deleted: false,
            sessions: Vec::new(),
        });
        let place = self.listed.partition_point(|&other| self.age(other) < self.age(index));
        self.listed.insert(place, index);
        index
    }

    /// Orders rooms from the newest to the oldest, also among those made in the same millisecond.
    pub(super) fn age(&self, room: u32) -> (std::cmp::Reverse<Moment>, std::cmp::Reverse<u32>) {
        (std::cmp::Reverse(self.rooms[room as usize].created), std::cmp::Reverse(room))
    }

    /// Takes a room off the list. Who looks for insights can still find it.
    pub(super) fn delete_room(&mut self, room: u32) {
        if !std::mem::replace(&mut self.rooms[room as usize].deleted, true) {
            self.listed.retain(|&other| other != room);
        }
    }

    /// Whether a room is still there: neither deleted nor removed some time after its end.
    pub(super) fn is_there(&self, room: u32, now: Moment, switches: &Switches) -> bool {
        let room = &self.rooms[room as usize];
        !room.deleted && now < room.ends.after(Duration::from_hours(switches.room_removal.into()))
    }

    pub(super) fn room_by_id(&self, meeting_id: &str) -> Option<u32> {
        self.rooms_by_id.get(meeting_id).copied()
    }

    /// `name` with the leading slash.
    pub(super) fn room_by_name(&self, name: &str) -> Option<u32> {
        self.rooms_by_name.get(name).copied()
    }

    pub(super) fn session_by_id(&self, id: &str) -> Option<u32> {
        self.sessions_by_id.get(id).copied()
    }

    pub(super) fn room_url(&self, room: &Room) -> String {
        format!("https://{}.whereby.com{}", self.subdomain, room.name)
    }

    pub(super) fn add_session(&mut self, room: u32, started: Moment, ended: Option<Moment>) -> u32 {
        let index = next_index(&self.sessions);
        let id = self.ids.uuid(Kind::Session);
        self.sessions_by_id.insert(id.clone(), index);
        self.sessions.push(Session { id, room, started, ended, participants: Vec::new() });
        self.rooms[room as usize].sessions.push(index);
        index
    }

    /// `name` is what the person is recognized by; none for somebody who is not known from elsewhere.
    pub(super) fn add_participant(&mut self, session: u32, name: Option<&str>, arrival: Arrival) {
        let index = next_index(&self.participants);
        let id = self.ids.uuid(Kind::Participant);
        let subject = name.unwrap_or(&id);
        let person = fingerprint(&[&self.id.to_string(), subject]);
        let user_id = match name {
            Some(_) => Ids::new(person).uuid(Kind::Person),
            // A guest without an account is only known by the device.
            None => String::new(),
        };
        self.participants.push(Participant {
            session,
            id,
            device_id: format!("d-{:04x}", person & 0xffff),
            user_id,
            role: arrival.role,
            name: arrival.display_name,
            external_id: arrival.external_id,
            joined: arrival.joined,
            left: arrival.left,
            person,
        });
        self.sessions[session as usize].participants.push(index);
    }

    /// The sums over some sessions, as they stood at `horizon`.
    pub(super) fn totals(&self, sessions: &[u32], horizon: Moment) -> Totals {
        let mut totals = Totals::default();
        let mut seen = HashSet::new();
        let rows =
            sessions.iter().flat_map(|&session| &self.sessions[session as usize].participants);
        for participant in rows.map(|&row| &self.participants[row as usize]) {
            if participant.joined > horizon {
                continue;
            }
            let until = participant.left.map_or(horizon, |left| left.min(horizon));
            // Rounded up for each connection, as the vendor says.
            let minutes = (until.since(participant.joined) + 59_999) / 60_000;
            let (sum, unique) = match participant.role.as_str() {
                "recorder" => (&mut totals.recorder_minutes, &mut totals.unique_recorders),
                "streamer" => (&mut totals.streamer_minutes, &mut totals.unique_streamers),
                "captioner" => continue,
                _ => (&mut totals.participant_minutes, &mut totals.unique_participants),
            };
            *sum += minutes;
            *unique += i64::from(seen.insert(participant.person));
        }
        totals
    }
}

/// What is told about somebody who comes to a session.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) role: String,
    pub(super) display_name: String,
    pub(super) external_id: String,
    pub(super) joined: Moment,
    pub(super) left: Option<Moment>,
}

/// The place of the row that is added next.
pub(super) fn next_index<T>(rows: &[T]) -> u32 {
    // Four billion rows would not fit into memory.
    u32::try_from(rows.len()).unwrap_or(u32::MAX)
}
