//! The participants of a meeting.

use super::super::stamp;
use super::{Facts, List};
use crate::date::Moment;
use crate::prelude::*;
use crate::query::Query;
use crate::response::{Names, Object, page_of};
use crate::transport::{Reply, Request, SendError};
use crate::types::{Error, Participant};

const GET_PARTICIPANTS: &str = "GET /insights/participants";

/// The maximum number of pages of 100 visits.
const MAX_PAGES: u32 = 10;

/// The string that Whereby shows instead of a name if the organization redacts names.
const REDACTED: &str = "[[redacted]]";

const PARTICIPANT_MEMBERS: Names = &[
    "roomSessionId",
    "participantId",
    "roleName",
    "displayName",
    "joinedAt",
    "leftAt",
    "externalId",
];

/// The participants of one session that were read so far.
#[derive(Default)]
pub(super) struct People<'a> {
    session: &'a str,
    /// In the order of `Visit::order`.
    visits: Vec<Visit>,
    saw_bot: bool,
    /// Whether Whereby's recorder took part.
    pub(super) saw_recorder: bool,
    /// Whether a visit could not be read.
    has_unreadable: bool,
    pages: u32,
    cursor: Option<String>,
}

/// A visit and its dates.
struct Visit {
    participant: Participant,
    joined: Option<Moment>,
    left: Option<Moment>,
}

impl<'a> People<'a> {
    /// Returns an empty list of participants of a session.
    pub(super) fn of(session: &'a str) -> Self {
        Self { session, ..Self::default() }
    }

    /// Returns whether Whereby listed nobody, not even a bot.
    pub(super) fn is_empty(&self) -> bool {
        self.visits.is_empty() && !self.saw_bot
    }

    /// Returns whether all participants were read.
    pub(super) fn is_complete(&self) -> bool {
        self.is_at_end() && !self.has_unreadable
    }

    fn is_at_end(&self) -> bool {
        self.pages > 0 && self.cursor.is_none()
    }

    /// Estimates when the meeting took place: from the first arrival to the last departure.
    pub(super) fn estimate(&self) -> Facts {
        let first = self.visits.iter().filter(|visit| visit.joined.is_some());
        let first = first.min_by_key(|visit| visit.joined);
        // The meeting is in progress while somebody is there.
        let is_over = self.visits.iter().all(|visit| visit.left.is_some());
        let last = self.visits.iter().max_by_key(|visit| visit.left).filter(|_| is_over);
        let times = (first.and_then(|visit| visit.joined), last.and_then(|visit| visit.left));
        Facts {
            start: first.and_then(|visit| visit.participant.joined_at.clone()),
            end: last.and_then(|visit| visit.participant.left_at.clone()),
            duration: match times {
                (Some(first), Some(last)) => Some(first.seconds_until(last)),
                _ => None,
            },
            participant_count: None,
            recorder_minutes: None,
        }
    }

    /// Returns the participants in the order in which they joined; those with unknown times come last.
    pub(super) fn into_participants(self) -> Vec<Participant> {
        self.visits.into_iter().map(|visit| visit.participant).collect()
    }

    fn add(&mut self, row: &Object) -> Result<(), String> {
        // Whereby ignored the filter, and this is another session.
        if row.text("roomSessionId")?.is_some_and(|session| session != self.session) {
            return Ok(());
        }
        let role = row.text("roleName")?;
        if let Some("recorder" | "streamer" | "captioner") = role {
            self.saw_bot = true;
            self.saw_recorder |= role == Some("recorder");
            return Ok(());
        }
        let name = row.text("displayName")?.map(str::trim).filter(|name| !name.is_empty());
        let joined = stamp(row, "joinedAt")?;
        let left = stamp(row, "leftAt")?;
        let visit = Visit {
            participant: Participant {
                name: name.filter(|name| *name != REDACTED).map(str::to_owned),
                name_redacted: name == Some(REDACTED),
                joined_at: joined.map(|joined| joined.text.to_owned()),
                left_at: left.map(|left| left.text.to_owned()),
                role: role.filter(|role| !role.is_empty()).map(str::to_owned),
                external_id: row.id("externalId")?,
                participant_id: row.id("participantId")?,
            },
            joined: joined.map(|joined| joined.time),
            left: left.map(|left| left.time),
        };
        // Whereby sorts them, so this is normally the end of the list.
        let at = self.visits.partition_point(|other| other.order() <= visit.order());
        self.visits.insert(at, visit);
        Ok(())
    }
}

impl Visit {
    fn order(&self) -> (bool, Option<Moment>) {
        (self.joined.is_none(), self.joined)
    }
}

impl List for People<'_> {
    fn request(&self) -> Option<Request> {
        if self.pages >= MAX_PAGES || self.is_at_end() {
            return None;
        }
        let query = Query::new("/insights/participants")
            .with("roomSessionId", self.session)
            .with("sortBy", "joinedAt:asc")
            .with_number("limit", 100)
            .with_some("cursor", self.cursor.as_deref());
        Some(Request::get(query.finish()))
    }

    fn take(&mut self, result: Result<Reply, SendError>) -> Result<(), Error> {
        self.pages += 1;
        let before = self.cursor.take();
        let page = match page_of(GET_PARTICIPANTS, result, PARTICIPANT_MEMBERS, before.as_deref()) {
            // Whereby does not document what it returns for an unknown session.
            Err(Error::NotFound(_)) => return Ok(()),
            page => page?,
        };
        let unreadable = page.read(GET_PARTICIPANTS, &mut |row| self.add(row))?;
        self.has_unreadable |= !unreadable.is_empty();
        self.cursor = page.cursor;
        Ok(())
    }
}
