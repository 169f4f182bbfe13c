//! The data of an organization: rooms, sessions, participants, recordings and transcriptions.

use std::collections::HashMap;
use std::time::Duration;

use super::identity::{Ids, Kind, fingerprint};
use super::moment::Moment;
use super::rate_limit::RateLimit;
use super::switches::{MeetingId, Switches};

/// The first organization's id. The other ids follow.
const FIRST_ORGANIZATION: u64 = 47_110;

/// The data of an organization. Rows refer to each other by index and are never removed, so that cursors stay valid.
#[derive(Debug, Default)]
pub(super) struct Organization {
    pub(super) id: u64,
    pub(super) subdomain: String,
    pub(super) ids: Ids,
    pub(super) rooms: Vec<Room>,
    pub(super) sessions: Vec<Session>,
    pub(super) participants: Vec<Participant>,
    pub(super) recordings: Vec<File>,
    pub(super) transcriptions: Vec<File>,
    pub(super) rate_limit: RateLimit,
    /// The rooms that GET /meetings lists, the newest first: those that were not deleted by request.
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

/// A period during which at least two people were in a room.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) room: u32,
    pub(super) started: Moment,
    pub(super) ended: Option<Moment>,
    pub(super) participants: Vec<u32>,
}

/// A person or a bot in a session.
#[derive(Debug)]
pub(super) struct Participant {
    pub(super) session: u32,
    pub(super) id: String,
    pub(super) device_id: String,
    pub(super) user_id: String,
    pub(super) role: String,
    /// Empty for a guest without a name.
    pub(super) name: String,
    /// Empty if there is none.
    pub(super) external_id: String,
    pub(super) joined: Moment,
    pub(super) left: Option<Moment>,
    /// Identifies the person across sessions.
    pub(super) person: u64,
}

impl Participant {
    pub(super) fn is_bot(&self) -> bool {
        is_bot(&self.role)
    }
}

/// Returns whether a role is one of the three bot roles.
pub(super) fn is_bot(role: &str) -> bool {
    matches!(role, "recorder" | "streamer" | "captioner")
}

/// A finished cloud recording or transcription of a session.
#[derive(Debug)]
pub(super) struct File {
    pub(super) id: String,
    pub(super) session: u32,
    pub(super) filename: String,
    pub(super) started: Moment,
    pub(super) ended: Moment,
    /// The size; only recordings have one.
    pub(super) megabytes: u32,
}

/// The form of the generated part of a room's name.
#[derive(Clone, Copy, Debug)]
pub(super) enum NamePattern {
    Uuid,
    HumanShort,
}

impl Organization {
    /// Returns an empty organization. Its index in the simulator determines its ids.
    pub(super) fn new(index: usize, subdomain: &str) -> Self {
        let id = FIRST_ORGANIZATION + index as u64;
        Self { id, subdomain: subdomain.to_owned(), ids: Ids::new(id), ..Self::default() }
    }

    /// Returns a new name that starts with the prefix, with the leading slash.
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

    /// Adds a room. No other room may have its name.
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
        let position = self.listed.partition_point(|&other| self.age(other) < self.age(index));
        self.listed.insert(position, index);
        index
    }

    /// Returns a sort key for the newest room first, even among rooms created in the same millisecond.
    pub(super) fn age(&self, room: u32) -> (std::cmp::Reverse<Moment>, std::cmp::Reverse<u32>) {
        (std::cmp::Reverse(self.rooms[room as usize].created), std::cmp::Reverse(room))
    }

    /// Removes a room from the list. Insights still have it.
    pub(super) fn delete_room(&mut self, room: u32) {
        if !std::mem::replace(&mut self.rooms[room as usize].deleted, true) {
            self.listed.retain(|&other| other != room);
        }
    }

    /// Returns whether a room still exists: neither deleted, nor removed some time after its end.
    pub(super) fn is_there(&self, room: u32, now: Moment, switches: &Switches) -> bool {
        let room = &self.rooms[room as usize];
        !room.deleted && now < room.ends.after(Duration::from_hours(switches.room_removal.into()))
    }

    pub(super) fn room_by_id(&self, meeting_id: &str) -> Option<u32> {
        self.rooms_by_id.get(meeting_id).copied()
    }

    /// Finds a room by its name, which has the leading slash.
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

    /// Adds a participant. `name` identifies the person; `None` for a person who is in this session only.
    pub(super) fn add_participant(&mut self, session: u32, name: Option<&str>, arrival: Arrival) {
        let index = next_index(&self.participants);
        let id = self.ids.uuid(Kind::Participant);
        let subject = name.unwrap_or(&id);
        let person = fingerprint(&[&self.id.to_string(), subject]);
        let user_id = match name {
            Some(_) => Ids::new(person).uuid(Kind::Person),
            // A guest without an account has only a device id.
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
}

/// The properties of a participant to add.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) role: String,
    pub(super) display_name: String,
    pub(super) external_id: String,
    pub(super) joined: Moment,
    pub(super) left: Option<Moment>,
}

/// Returns the index of the next row.
pub(super) fn next_index<T>(rows: &[T]) -> u32 {
    // Four billion rows would not fit into memory.
    u32::try_from(rows.len()).unwrap_or(u32::MAX)
}
