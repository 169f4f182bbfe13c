//! Rooms, sessions and participants to add to the simulated API.

use std::time::Duration;

use super::identity::Kind;
use super::moment::Moment;
use super::state::{Arrival, File, NamePattern, Organization, is_bot};
use super::switches::Switches;

/// A room to add. Times are relative to the clock when it is added.
#[derive(Clone, Debug)]
pub struct RoomSeed {
    prefix: String,
    suffix: Option<NamePattern>,
    created_ago: Duration,
    ends: Ends,
    deleted: bool,
    sessions: Vec<SessionSeed>,
}

#[derive(Clone, Copy, Debug)]
enum Ends {
    In(Duration),
    Ago(Duration),
}

/// A past or running session to add to a room.
///
/// It starts when the second person joins, and ends when fewer than two are left.
#[derive(Clone, Debug)]
pub struct SessionSeed {
    began_ago: Duration,
    length: Option<Duration>,
    participants: Vec<ParticipantSeed>,
    recorded: bool,
    transcribed: bool,
}

/// A person or a bot to add to a session.
#[derive(Clone, Debug)]
pub struct ParticipantSeed {
    /// `None` for a guest without a name.
    name: Option<String>,
    redacted: bool,
    role: String,
    external_id: String,
    joined_after: Duration,
    left_after: Option<Duration>,
}

/// A room that was added.
#[derive(Clone, Debug)]
pub struct SeededRoom {
    /// Its name, with the leading slash.
    pub name: String,
    /// Its `meetingId`.
    pub meeting_id: String,
    /// Its `roomUrl`.
    pub url: String,
    /// The ids of its sessions, in the given order, without those that never had two people.
    pub sessions: Vec<String>,
}

impl RoomSeed {
    /// Returns a room with exactly this name (without the leading slash). It was created yesterday, ends in a week,
    /// and was never used.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            prefix: name.to_owned(),
            suffix: None,
            created_ago: Duration::from_hours(24),
            ends: Ends::In(Duration::from_hours(7 * 24)),
            deleted: false,
            sessions: Vec::new(),
        }
    }

    /// Returns the same with a UUID added to the name.
    #[must_use]
    pub fn prefixed(prefix: &str) -> Self {
        Self { suffix: Some(NamePattern::Uuid), ..Self::named(prefix) }
    }

    /// Returns the same with six characters added to the name.
    #[must_use]
    pub fn short(prefix: &str) -> Self {
        Self { suffix: Some(NamePattern::HumanShort), ..Self::named(prefix) }
    }

    /// Returns many rooms, `<prefix>0001` and so on, each created a minute after the previous one, the last one a
    /// minute ago.
    #[must_use]
    pub fn many(prefix: &str, count: u32) -> Vec<Self> {
        let minutes = |ago: u32| Duration::from_mins(ago.into());
        (1..=count)
            .map(|i| Self::named(&format!("{prefix}{i:04}")).created(minutes(count + 1 - i)))
            .collect()
    }

    /// Sets how long ago it was created.
    #[must_use]
    pub fn created(mut self, ago: Duration) -> Self {
        self.created_ago = ago;
        self
    }

    /// Sets its end, in the future.
    #[must_use]
    pub fn ends(mut self, from_now: Duration) -> Self {
        self.ends = Ends::In(from_now);
        self
    }

    /// Sets its end, in the past.
    #[must_use]
    pub fn ended(mut self, ago: Duration) -> Self {
        self.ends = Ends::Ago(ago);
        self
    }

    /// Marks it as deleted: only insights, recordings and transcriptions still list it.
    #[must_use]
    pub fn deleted(mut self) -> Self {
        self.deleted = true;
        self
    }

    /// Adds a session.
    #[must_use]
    pub fn session(mut self, session: SessionSeed) -> Self {
        self.sessions.push(session);
        self
    }
}

impl SessionSeed {
    /// Returns a session whose first visitor joined that long ago, and that ends after half an hour.
    #[must_use]
    pub fn began(ago: Duration) -> Self {
        Self {
            began_ago: ago,
            length: Some(Duration::from_mins(30)),
            participants: Vec::new(),
            recorded: false,
            transcribed: false,
        }
    }

    /// Sets when everybody without a leaving time leaves, counted from the first visitor.
    #[must_use]
    pub fn lasting(mut self, length: Duration) -> Self {
        self.length = Some(length);
        self
    }

    /// Keeps everybody without a leaving time in the session, which is in progress.
    #[must_use]
    pub fn running(mut self) -> Self {
        self.length = None;
        self
    }

    /// Adds a participant.
    #[must_use]
    pub fn participant(mut self, participant: ParticipantSeed) -> Self {
        self.participants.push(participant);
        self
    }

    /// Adds a recorder, and a cloud recording that is listed once the session is over.
    #[must_use]
    pub fn recorded(mut self) -> Self {
        self.recorded = true;
        self.participant(ParticipantSeed::bot("recorder").joined_after(Duration::from_mins(1)))
    }

    /// Adds a captioner, and a finished transcription once the session is over.
    #[must_use]
    pub fn transcribed(mut self) -> Self {
        self.transcribed = true;
        self.participant(ParticipantSeed::bot("captioner").joined_after(Duration::from_mins(1)))
    }
}

impl ParticipantSeed {
    /// Returns a visitor who is there from beginning to end. In all sessions of the organization, the same name means
    /// the same person. Twice in one session, it means a reconnection.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: Some(name.to_owned()), role: "visitor".to_owned(), ..Self::bot("") }
    }

    /// Returns a visitor without a name.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { role: "visitor".to_owned(), ..Self::bot("") }
    }

    /// Returns a bot: `recorder`, `streamer` or `captioner`. Without [`SessionSeed::recorded`], a recorder leaves no
    /// recording.
    #[must_use]
    pub fn bot(role: &str) -> Self {
        Self {
            name: None,
            redacted: false,
            role: role.to_owned(),
            external_id: String::new(),
            joined_after: Duration::ZERO,
            left_after: None,
        }
    }

    /// Sets the role: owner, member, host, visitor, `granted_visitor`, viewer, `granted_viewer`, or a bot's.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.role = role.to_owned();
        self
    }

    /// Shows the name as `[[redacted]]`.
    #[must_use]
    pub fn redacted(mut self) -> Self {
        self.redacted = true;
        self
    }

    /// Sets the `externalId`.
    #[must_use]
    pub fn external_id(mut self, id: &str) -> Self {
        self.external_id = id.to_owned();
        self
    }

    /// Sets when they joined, counted from the first visitor.
    #[must_use]
    pub fn joined_after(mut self, delay: Duration) -> Self {
        self.joined_after = delay;
        self
    }

    /// Sets when they left, counted from the first visitor.
    #[must_use]
    pub fn left_after(mut self, delay: Duration) -> Self {
        self.left_after = Some(delay);
        self
    }
}

impl Organization {
    /// Adds a room with all its sessions. If the name already exists, it gets a UUID.
    pub(super) fn seed_room(
        &mut self,
        seed: &RoomSeed,
        now: Moment,
        switches: &Switches,
    ) -> SeededRoom {
        let exact = format!("/{}", seed.prefix);
        let name = match seed.suffix {
            Some(pattern) => self.name_room(&seed.prefix, pattern),
            None if self.room_by_name(&exact).is_some() => {
                self.name_room(&seed.prefix, NamePattern::Uuid)
            }
            None => exact,
        };
        let ends = match seed.ends {
            Ends::In(duration) => now.after(duration),
            Ends::Ago(duration) => now.before(duration),
        };
        let index = self.add_room(name, now.before(seed.created_ago), ends, switches);
        let sessions = seed
            .sessions
            .iter()
            .filter_map(|session| self.seed_session(index, session, now))
            .collect();
        if seed.deleted {
            self.delete_room(index);
        }
        let room = &self.rooms[index as usize];
        SeededRoom {
            name: room.name.clone(),
            meeting_id: room.meeting_id.clone(),
            url: self.room_url(room),
            sessions,
        }
    }

    /// Adds a session and returns its id; `None` if it never had two people, which makes no session.
    pub(super) fn seed_session(
        &mut self,
        room: u32,
        seed: &SessionSeed,
        now: Moment,
    ) -> Option<String> {
        let began = now.before(seed.began_ago);
        let times: Vec<_> = seed
            .participants
            .iter()
            .map(|participant| {
                let left = participant.left_after.or(seed.length).map(|after| began.after(after));
                (began.after(participant.joined_after), left)
            })
            .collect();
        let people = seed.participants.iter().zip(&times).filter(|(seed, _)| !is_bot(&seed.role));
        let mut people: Vec<_> = people.map(|(_, times)| *times).collect();
        people.sort_unstable_by_key(|(joined, _)| *joined);
        let (started, _) = *people.get(1)?;
        // `None` means still there. The session ends when the second to last person leaves.
        people.sort_unstable_by_key(|(_, left)| {
            std::cmp::Reverse(left.map_or(i64::MAX, Moment::milliseconds))
        });
        let (_, ended) = *people.get(1)?;

        let session = self.add_session(room, started, ended);
        for (participant, (joined, left)) in seed.participants.iter().zip(times) {
            let display_name = match &participant.name {
                Some(_) if participant.redacted => "[[redacted]]".to_owned(),
                name => name.clone().unwrap_or_default(),
            };
            let arrival = Arrival {
                role: participant.role.clone(),
                display_name,
                external_id: participant.external_id.clone(),
                joined,
                left,
            };
            self.add_participant(session, participant.name.as_deref(), arrival);
        }
        if let Some(ended) = ended {
            self.seed_files(room, session, seed, ended);
        }
        Some(self.sessions[session as usize].id.clone())
    }

    fn seed_files(&mut self, room: u32, session: u32, seed: &SessionSeed, ended: Moment) {
        let started = self.sessions[session as usize].started;
        let room = self.rooms[room as usize].name.trim_start_matches('/');
        let date = started.to_text(super::switches::DateFormat::Seconds).replace(':', "-");
        let stem = format!("{room}-{}", date.trim_end_matches('Z'));
        let file = |id, kind: &str, megabytes| {
            let filename = format!("{stem}.{kind}");
            File { id, session, filename, started, ended, megabytes }
        };
        if seed.recorded {
            // About the size of a real recording.
            let seconds = u32::try_from(ended.since(started) / 1000).unwrap_or(u32::MAX);
            let id = self.ids.uuid(Kind::Recording);
            self.recordings.push(file(id, "mp4", (seconds / 13).max(1)));
        }
        if seed.transcribed {
            let id = self.ids.uuid(Kind::Transcription);
            self.transcriptions.push(file(id, "md", 0));
        }
    }
}
