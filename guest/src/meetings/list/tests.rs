//! Tests of listing past meetings, most of them against a small imitation of Whereby's lists.

use std::cell::RefCell;

use proptest::prelude::*;

use super::list_meetings;
use crate::prelude::*;
use crate::transport::fake::{Fake, failure};
use crate::transport::{Method, Reply, Request, SendError, SendErrorKind};
use crate::types::{Error, MeetingPage, MeetingSummary};

const SESSIONS: &str = "/insights/room-sessions?roomName=%2Fdaily";
const SORTED: &str = "&sortBy=startedAt%3Adesc";

/// A session that started at a minute of 2026-03-02 and took 90 seconds.
fn session(room: &str, id: &str, minute: u32) -> String {
    let (hour, minute) = (minute / 60, minute % 60);
    format!(
        r#"{{"roomSessionId":"{id}","roomName":"/{room}","startedAt":"2026-03-02T{hour:02}:{minute:02}:00.000Z","endedAt":"2026-03-02T{hour:02}:{minute:02}:90Z","totalUniqueParticipants":2,"totalRecorderMinutes":0}}"#
    )
    .replace(":90Z", ":59.900Z")
}

fn list(fake: &mut Fake<'_>, limit: u32, cursor: Option<&str>) -> Result<MeetingPage, Error> {
    list_meetings(fake, Some(limit), cursor, None, None, Some("daily"))
}

fn page(rows: &[String], cursor: &str) -> String {
    format!(r#"{{"results":[{}],"cursor":"{cursor}"}}"#, rows.join(","))
}

fn ids(page: &MeetingPage) -> Vec<&str> {
    page.data.iter().map(|meeting| meeting.id.as_str()).collect()
}

#[test]
fn a_session_becomes_a_meeting() {
    let target = format!("{SESSIONS}&limit=20{SORTED}");
    let body = page(&[session("daily", "s1", 1)], "");
    let mut fake = Fake::script([(Method::Get, target, 200, body)]);
    let name = "https://a.whereby.com/Daily?roomKey=x";
    let page = list_meetings(&mut fake, None, None, None, None, Some(name)).unwrap();
    assert_eq!(
        page.data,
        [MeetingSummary {
            id: "daily:s1".to_owned(),
            room_name: "daily".to_owned(),
            start_date: "2026-03-02T00:01:00.000Z".to_owned(),
            end_date: "2026-03-02T00:01:59.900Z".to_owned(),
            duration: 59,
            participant_count: Some(2),
            recorder_minutes: Some(0),
        }]
    );
    assert_eq!((page.meta.next_cursor, page.meta.notice), (None, None));
    fake.finish();
}

#[test]
fn a_room_is_requested_in_both_spellings() {
    let asked = |listed: &'static str, cursor: &'static str| {
        Fake::new(move |request| {
            let rows = match request.target.contains(&format!("=%2F{listed}&")) {
                true => vec![session(listed, "s1", 1), session(listed, "s0", 0)],
                false => Vec::new(),
            };
            Ok(Fake::reply(200, &page(&rows, cursor)))
        })
    };
    for (listed, requests) in [("Daily_1", 1), ("daily_1", 2)] {
        let mut fake = asked(listed, "");
        let room = Some("Daily_1");
        let page = list_meetings(&mut fake, Some(1), None, None, None, room).unwrap();
        assert_eq!(ids(&page), [format!("{listed}:s1")]);
        assert_eq!(fake.requests.len(), requests, "{listed}");
        // The cursor continues with the spelling that had results.
        let cursor = page.meta.next_cursor.unwrap();
        let rest = list_meetings(&mut fake, Some(9), Some(&cursor), None, None, room).unwrap();
        assert_eq!(ids(&rest), [format!("{listed}:s0")]);
        assert_eq!(fake.requests.len(), requests + 1, "{listed}");
    }
}

#[test]
fn the_alternative_date_members_are_read() {
    let row = r#"{"roomSessionId":"s1","createdAt":"2026-03-02T00:00:00Z","endAt":"2026-03-02T00:01:00Z","totalUniqueParticipants":null}"#;
    let mut fake = Fake::new(|_| Ok(Fake::reply(200, &page(&[row.to_owned()], ""))));
    let meeting = list(&mut fake, 1, None).unwrap().data.remove(0);
    assert_eq!((meeting.duration, meeting.participant_count), (60, None));
}

#[test]
fn sessions_outside_the_filter_are_left_out() {
    let rows = [
        session("daily", "late", 11),
        session("daily", "last", 10),
        session("other", "other", 7),
        session("daily", "running", 6).replace("endedAt", "ended"),
        session("daily", "first", 5),
        session("daily", "early", 4),
    ];
    let target = format!("{SESSIONS}&limit=100{SORTED}");
    let mut fake = Fake::script([(Method::Get, target, 200, page(&rows, ""))]);
    let (from, to) = ("2026-03-02T00:05:00Z", "2026-03-02T01:10:00+01:00");
    let page = list_meetings(&mut fake, Some(5), None, Some(from), Some(to), Some("daily"));
    assert_eq!(ids(&page.unwrap()), ["daily:last", "daily:first"]);
    fake.finish();
}

#[test]
fn a_page_is_filled_from_several_pages_of_whereby() {
    let running = |id| session("daily", id, 1).replace("endedAt", "ended");
    let first = [session("daily", "a", 3), running("b")];
    let second = [session("daily", "c", 2), session("daily", "d", 1)];
    let one = format!("{SESSIONS}&limit=2{SORTED}");
    let two = format!("{one}&cursor=p2");
    let mut fake = Fake::script([
        (Method::Get, &one, 200, page(&first, "p2")),
        (Method::Get, &two, 200, page(&second, "")),
    ]);
    let listed = list(&mut fake, 2, None).unwrap();
    assert_eq!(ids(&listed), ["daily:a", "daily:c"]);
    fake.finish();

    // The rest of the second page comes next, with the same page size.
    let cursor = listed.meta.next_cursor.unwrap();
    let mut fake = Fake::script([(Method::Get, two, 200, page(&second, ""))]);
    let listed = list(&mut fake, 7, Some(&cursor)).unwrap();
    assert_eq!((ids(&listed), listed.meta.next_cursor.as_deref()), (vec!["daily:d"], None));
    fake.finish();
}

#[test]
fn a_call_reads_five_pages_and_says_so() {
    let mut pages = 0;
    let mut fake = Fake::new(|_| {
        pages += 1;
        Ok(Fake::reply(200, &page(&[], &format!("p{pages}"))))
    });
    let listed = list(&mut fake, 2, None).unwrap();
    assert!(listed.data.is_empty() && listed.meta.next_cursor.is_some());
    assert!(listed.meta.notice.unwrap().contains("limited number"));
    drop(fake);
    assert_eq!(pages, 5);
}

#[test]
fn a_refused_sort_order_is_dropped() {
    for status in [400, 422] {
        let body = page(&[session("daily", "a", 1)], "p2");
        let unsorted = format!("{SESSIONS}&limit=1");
        let mut fake = Fake::script([
            (Method::Get, format!("{unsorted}{SORTED}"), status, r#"{"error":"sortBy"}"#),
            (Method::Get, unsorted.clone(), 200, &body),
        ]);
        let listed = list(&mut fake, 1, None).unwrap();
        fake.finish();
        // The listing continues in the same order.
        let cursor = listed.meta.next_cursor.unwrap();
        let second = format!("{unsorted}&cursor=p2");
        let mut fake = Fake::script([(Method::Get, second, 200, r#"{"results":[]}"#)]);
        assert!(list(&mut fake, 1, Some(&cursor)).is_ok());
        fake.finish();
    }
    // Within a listing, a refusal has another reason, such as an old cursor.
    let mut fake = Fake::new(|_| Ok(Fake::reply(200, &page(&[session("daily", "a", 1)], "p2"))));
    let cursor = list(&mut fake, 1, None).unwrap().meta.next_cursor.unwrap();
    let second = format!("{SESSIONS}&limit=1{SORTED}&cursor=p2");
    let mut fake = Fake::script([(Method::Get, second, 400, "{}")]);
    assert!(matches!(list(&mut fake, 1, Some(&cursor)), Err(Error::Rejected(_))));
    fake.finish();
}

#[test]
fn meetings_read_before_a_failure_make_a_page() {
    for (kind, word) in [
        (SendErrorKind::RateLimited(7), "7 seconds"),
        (SendErrorKind::Timeout, "it failed"),
        (SendErrorKind::Unavailable, "it failed"),
    ] {
        let rows = [session("daily", "a", 3)];
        let mut fake = Fake::new(|request| {
            if request.target.contains("cursor=") {
                Err(failure(kind))
            } else {
                Ok(Fake::reply(200, &page(&rows, "p2")))
            }
        });
        let listed = list(&mut fake, 2, None).unwrap();
        assert_eq!(ids(&listed), ["daily:a"]);
        let notice = listed.meta.notice.unwrap();
        assert!(notice.contains(word), "{notice}");
        // If nothing was read, the failure is the result.
        let cursor = listed.meta.next_cursor.unwrap();
        assert!(list(&mut fake, 2, Some(&cursor)).is_err());
    }
}

#[test]
fn a_malformed_row_is_left_out_and_named() {
    for (row, complaint) in [
        (r#"{"startedAt":"2026-03-02T00:00:00Z"}"#, "results[1].roomSessionId is missing"),
        (r#"{"roomSessionId":"a/b"}"#, "results[1].roomSessionId is not an id"),
        (r#"{"roomSessionId":"a"}"#, "results[1].startedAt is missing"),
        (r#"{"roomSessionId":"a","startedAt":"soon"}"#, "results[1].startedAt is not a date"),
        (r#"{"roomSessionId":"a","startedAt":5}"#, "results[1].startedAt is a number"),
    ] {
        let body = page(&[session("daily", "a", 1), row.to_owned()], "");
        let mut fake = Fake::new(|_| Ok(Fake::reply(200, &body)));
        let listed = list(&mut fake, 2, None).unwrap();
        assert_eq!(ids(&listed), ["daily:a"]);
        let notice = listed.meta.notice.unwrap();
        assert!(notice.contains("One entry is left out: GET /insights/room-sessions:"), "{notice}");
        assert!(notice.contains(complaint), "{notice}");

        // If nothing was read, it is an error.
        let complaint = complaint.replace("results[1]", "results[0]");
        let body = page(&[row.to_owned()], "");
        let mut fake = Fake::new(|_| Ok(Fake::reply(200, &body)));
        let Err(Error::UnexpectedResponse(text)) = list(&mut fake, 2, None) else {
            panic!("{row} was accepted");
        };
        assert!(text.starts_with("GET /insights/room-sessions: "), "{text}");
        assert!(text.contains(&complaint), "{text}");
    }
}

#[test]
fn wrong_arguments_send_nothing() {
    let cursor = {
        let body = page(&[session("daily", "a", 3), session("daily", "b", 2)], "");
        let mut fake = Fake::new(|_| Ok(Fake::reply(200, &body)));
        list(&mut fake, 1, None).unwrap().meta.next_cursor.unwrap()
    };
    let cursor = Some(cursor.as_str());
    for (limit, cursor, from, to, room, named) in [
        (Some(0), None, None, None, None, "limit: "),
        (None, Some(""), None, None, None, "cursor: "),
        (None, Some("x"), None, None, None, "cursor: "),
        (None, cursor, None, None, None, "cursor: "),
        (None, cursor, None, None, Some("weekly"), "cursor: "),
        (None, cursor, Some("2026-03-01"), None, Some("daily"), "cursor: "),
        (None, None, Some("soon"), None, None, "from_date: "),
        (None, None, None, Some("2026-02-30"), None, "to_date: "),
        (None, None, Some("2026-03-02"), Some("2026-03-01"), None, "from_date: "),
        (None, None, None, None, Some("/"), "room_name: "),
        (
            None,
            None,
            None,
            None,
            Some("daily:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10"),
            "room_name: this is the id of a meeting",
        ),
    ] {
        let result = list_meetings(&mut Fake::silent(), limit, cursor, from, to, room);
        let Err(Error::InvalidArgument(text)) = result else { panic!("{result:?}") };
        assert!(text.starts_with(named), "{text}");
    }
}

#[test]
fn a_cursor_that_repeats_ends_the_listing() {
    let mut fake = Fake::new(|_| Ok(Fake::reply(200, &page(&[session("daily", "a", 3)], "same"))));
    let listed = list(&mut fake, 5, None).unwrap();
    assert_eq!(ids(&listed), ["daily:a"], "the second page repeats the first");
    let cursor = listed.meta.next_cursor.unwrap();
    let result = list(&mut fake, 5, Some(&cursor));
    assert!(matches!(result, Err(Error::UnexpectedResponse(_))), "{result:?}");
}

/// An imitation of Whereby's lists, in which a cursor is the index of the next row.
#[derive(Clone, Debug)]
struct Insights {
    /// The start minutes of each room's sessions, latest first. A session with an odd minute is in progress.
    rooms: Vec<Vec<u32>>,
    sorts_rooms: bool,
    sorts_sessions: bool,
    /// The maximum number of rows per page, whatever the request says.
    most: usize,
    tells_totals: bool,
    /// The rooms that moved to the front, the last one first.
    moved: RefCell<Vec<usize>>,
}

impl Insights {
    fn answer(&self, request: &Request) -> Result<Reply, SendError> {
        let (path, query) = request.target.split_once('?').unwrap();
        let member = |name: &str| {
            let mut members = query.split('&').filter_map(|member| member.split_once('='));
            members.find(|(known, _)| *known == name).map(|(_, value)| value)
        };
        let is_rooms = path == "/insights/rooms";
        let sorts = if is_rooms { self.sorts_rooms } else { self.sorts_sessions };
        if member("sortBy").is_some() && !sorts {
            return Ok(Fake::reply(400, r#"{"error":"unknown sortBy"}"#));
        }
        let rows: Vec<String> = match member("roomName") {
            None => {
                assert!(is_rooms);
                self.order().into_iter().map(|at| self.room(at, &self.rooms[at])).collect()
            }
            Some(name) => {
                let at: usize = name.strip_prefix("%2Froom-").unwrap().parse().unwrap();
                let Some(room) = self.rooms.get(at) else { return Ok(Fake::reply(404, "")) };
                let name = format!("room-{at}");
                let rows = room.iter().enumerate().map(|(at, minute)| {
                    let row = session(&name, &format!("s{at}"), *minute);
                    if minute % 2 == 0 { row } else { row.replace("endedAt", "ended") }
                });
                rows.collect()
            }
        };
        let limit: usize = member("limit").unwrap().parse().unwrap();
        let start: usize = member("cursor").map_or(0, |cursor| cursor.parse().unwrap());
        let end = rows.len().min(start + limit.min(self.most));
        let cursor = if end < rows.len() { end.to_string() } else { String::new() };
        Ok(Fake::reply(200, &page(&rows[start..end], &cursor)))
    }

    /// Returns the indexes of the rooms in their current order.
    fn order(&self) -> Vec<usize> {
        let mut order = self.moved.borrow().clone();
        order.extend((0..self.rooms.len()).filter(|at| !self.moved.borrow().contains(at)));
        order
    }

    /// Moves a room to the front, as a new meeting does.
    fn move_to_front(&self, room: usize) {
        let mut moved = self.moved.borrow_mut();
        moved.retain(|other| *other != room);
        moved.insert(0, room);
    }

    fn room(&self, at: usize, minutes: &[u32]) -> String {
        let date = |minute: Option<&u32>| match minute {
            Some(minute) => {
                format!("\"2026-03-02T{:02}:{:02}:00.000Z\"", minute / 60, minute % 60)
            }
            None => "null".to_owned(),
        };
        let (first, last) = (date(minutes.last()), date(minutes.first()));
        let total = if self.tells_totals { minutes.len().to_string() } else { "null".to_owned() };
        format!(
            r#"{{"roomName":"/room-{at}","totalSessions":{total},"firstSessionStartedAt":{first},"lastSessionStartedAt":{last}}}"#
        )
    }

    /// Returns the expected meetings, in order.
    fn meetings(&self, room: Option<usize>, window: std::ops::RangeInclusive<u32>) -> Vec<String> {
        let mut ids = Vec::new();
        for (at, minutes) in self.rooms.iter().enumerate() {
            for (index, minute) in minutes.iter().enumerate() {
                let is_wanted = room.is_none_or(|room| room == at);
                if is_wanted && minute % 2 == 0 && window.contains(minute) {
                    ids.push(format!("room-{at}:s{index}"));
                }
            }
        }
        ids
    }
}

prop_compose! {
    fn insights()(
        rooms in prop::collection::vec(prop::collection::vec(0_u32..40, 0..12), 0..30),
        sorts_rooms in any::<bool>(),
        sorts_sessions in any::<bool>(),
        most in prop_oneof![1_usize..8, Just(100)],
        tells_totals in any::<bool>(),
    ) -> Insights {
        let rooms = rooms.into_iter().map(|mut minutes| {
            minutes.sort_unstable_by(|a, b| b.cmp(a));
            minutes
        });
        let (rooms, moved) = (rooms.collect(), RefCell::default());
        Insights { rooms, sorts_rooms, sorts_sessions, most, tells_totals, moved }
    }
}

proptest! {
    /// With any page sizes and a failure anywhere, every meeting is listed once and in order.
    #[test]
    fn no_meeting_is_lost_or_listed_twice(
        insights in insights(),
        limits in prop::collection::vec(1_u32..30, 1..6),
        room in prop::option::of(0_usize..30),
        window in prop::option::of((0_u32..40, 0_u32..40)),
        failures in prop::collection::vec(1_usize..12, 0..4),
    ) {
        let (from, to) = match window {
            Some((a, b)) => (Some(a.min(b)), Some(a.max(b))),
            None => (None, None),
        };
        let date =
            |minute: u32| format!("2026-03-02T{:02}:{:02}:00Z", minute / 60, minute % 60);
        let (from_date, to_date) = (from.map(date), to.map(date));
        // A room that does not exist is an error.
        let room = room.filter(|room| *room < insights.rooms.len());
        let name = room.map(|room| format!("room-{room}"));

        let mut failures = failures.into_iter();
        let mut until_failure = failures.next();
        let mut fake = Fake::new(|request| {
            if let Some(left) = &mut until_failure {
                *left -= 1;
                if *left == 0 {
                    until_failure = failures.next();
                    return Err(failure(SendErrorKind::RateLimited(1)));
                }
            }
            insights.answer(request)
        });
        let mut listed: Vec<String> = Vec::new();
        let mut cursor: Option<String> = None;
        let mut calls = 0;
        let mut is_by_date = true;
        loop {
            let limit = limits[calls % limits.len()];
            calls += 1;
            prop_assert!(calls < 2000, "the listing does not end");
            let before = fake.requests.len();
            let page = match list_meetings(
                &mut fake,
                Some(limit),
                cursor.as_deref(),
                from_date.as_deref(),
                to_date.as_deref(),
                name.as_deref(),
            ) {
                Ok(page) => page,
                Err(Error::RateLimited(1)) => continue,
                Err(error) => panic!("{error:?}"),
            };
            prop_assert!(page.data.len() <= limit as usize);
            prop_assert!(fake.requests.len() - before <= 5 + 1 + 2 * 8, "the work is bounded");
            let is_short = page.data.len() < limit as usize && page.meta.next_cursor.is_some();
            let notice = page.meta.notice.as_deref();
            let is_by_room = notice.is_some_and(|notice| notice.contains("not by date"));
            prop_assert!(!(is_by_room && room.is_some()));
            is_by_date &= !is_by_room;
            prop_assert!(notice.is_some() == (is_short || is_by_room));
            listed.extend(ids(&page).into_iter().map(str::to_owned));
            match page.meta.next_cursor {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let mut expected = insights.meetings(room, from.unwrap_or(0)..=to.unwrap_or(u32::MAX));
        if room.is_none() {
            let began = |id: &String| {
                let (room, at) = id["room-".len()..].split_once(":s").unwrap();
                let (room, at): (usize, usize) = (room.parse().unwrap(), at.parse().unwrap());
                insights.rooms[room][at]
            };
            if is_by_date {
                prop_assert!(listed.is_sorted_by(|a, b| began(a) >= began(b)), "{listed:?}");
            }
            expected.sort();
            listed.sort();
        }
        prop_assert_eq!(listed, expected);
    }

    /// If rooms move to the front between two calls, no meeting is listed twice, and a listed room has all
    /// its meetings. Only a room that moved to an earlier page is missed.
    #[test]
    fn rooms_that_move_take_nothing_of_each_other(
        insights in insights(),
        limits in prop::collection::vec(1_u32..10, 1..6),
        moves in prop::collection::vec((1_usize..15, 0_usize..30), 0..=3),
    ) {
        let mut fake = Fake::new(|request| insights.answer(request));
        let mut listed: Vec<String> = Vec::new();
        let mut cursor: Option<String> = None;
        for call in 0.. {
            prop_assert!(call < 2000, "the listing does not end");
            for (at, room) in &moves {
                if *at == call && *room < insights.rooms.len() {
                    insights.move_to_front(*room);
                }
            }
            let limit = limits[call % limits.len()];
            let page = list_meetings(&mut fake, Some(limit), cursor.as_deref(), None, None, None);
            let page = page.unwrap();
            listed.extend(ids(&page).into_iter().map(str::to_owned));
            cursor = page.meta.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let is_one_page = insights.rooms.len() <= insights.most.min(20);
        for room in 0..insights.rooms.len() {
            let prefix = format!("room-{room}:");
            let of_room = listed.iter().filter(|id| id.starts_with(&prefix));
            let mut of_room: Vec<String> = of_room.cloned().collect();
            of_room.sort();
            let has_moved = insights.moved.borrow().contains(&room);
            let is_missed = of_room.is_empty() && has_moved && !is_one_page;
            if !is_missed {
                let mut expected = insights.meetings(Some(room), 0..=u32::MAX);
                expected.sort();
                prop_assert_eq!(of_room, expected);
            }
        }
    }

    #[test]
    fn no_answer_makes_it_panic(bodies in prop::collection::vec(any::<Vec<u8>>(), 1..4), status in 200_u16..600) {
        let mut bodies = bodies.into_iter().cycle();
        let mut fake = Fake::new(|_| {
            Ok(Reply { status, body: bodies.next().unwrap_or_default(), ..Reply::default() })
        });
        let _ = list_meetings(&mut fake, None, None, None, None, None);
        let _ = list_meetings(&mut fake, None, None, None, None, Some("daily"));
    }
}

#[test]
fn no_more_rooms_than_needed_are_read_in_parallel() {
    let insights = Insights {
        rooms: vec![vec![4], vec![], vec![6, 2], vec![8], vec![10], vec![12]],
        sorts_rooms: true,
        sorts_sessions: true,
        most: 100,
        tells_totals: true,
        moved: RefCell::default(),
    };
    let mut fake = Fake::new(|request| insights.answer(request));
    let page = list_meetings(&mut fake, Some(4), None, None, None, None).unwrap();
    assert_eq!(ids(&page), ["room-5:s0", "room-4:s0", "room-3:s0", "room-2:s0"]);
    assert_eq!(fake.batches, [1, 4], "the other rooms have only older meetings");
    assert_eq!(
        fake.requests[0].target,
        "/insights/rooms?limit=20&sortBy=lastSessionStartedAt%3Adesc"
    );

    let (from, to) = (Some("2026-03-02T00:05:00Z"), Some("2026-03-02T00:08:00Z"));
    let mut fake = Fake::new(|request| insights.answer(request));
    let page = list_meetings(&mut fake, Some(4), None, from, to, None).unwrap();
    assert_eq!(ids(&page), ["room-3:s0", "room-2:s0"]);
    assert_eq!(fake.batches, [1, 2], "rooms outside the dates are not requested");
    assert_eq!(
        fake.requests[0].target,
        "/insights/rooms?limit=100&createdAt%5Bto%5D=2026-03-02T00%3A08%3A00Z&sortBy=lastSessionStartedAt%3Adesc"
    );
}

#[test]
fn the_newest_meetings_of_all_rooms_come_first_page_after_page() {
    let insights = Insights { rooms: vec![vec![4, 2], vec![12, 6], vec![10]], ..rooms(&[]) };
    let mut fake = Fake::new(|request| insights.answer(request));
    let mut cursor: Option<String> = None;
    for (limit, expected, is_more) in [
        (2, &["room-1:s0", "room-2:s0"][..], true),
        (1, &["room-1:s1"], true),
        (20, &["room-0:s0", "room-0:s1"], false),
    ] {
        let listed = list_meetings(&mut fake, Some(limit), cursor.as_deref(), None, None, None);
        let listed = listed.unwrap();
        assert_eq!(ids(&listed), expected);
        assert_eq!((listed.meta.next_cursor.is_some(), listed.meta.notice), (is_more, None));
        cursor = listed.meta.next_cursor;
    }
}

#[test]
fn a_listing_room_by_room_says_so() {
    // One room more than a call can read.
    let minutes: Vec<u32> = (1..=9).map(|at| at * 2).collect();
    let insights = rooms(&minutes);
    let mut fake = Fake::new(|request| insights.answer(request));
    let page = list_meetings(&mut fake, Some(2), None, None, None, None).unwrap();
    assert_eq!(ids(&page), ["room-0:s0", "room-1:s0"]);
    let notice = page.meta.notice.unwrap();
    assert!(notice.contains("room by room, not by date"), "{notice}");
    let cursor = page.meta.next_cursor.unwrap();
    let rest = list_meetings(&mut fake, Some(9), Some(&cursor), None, None, None).unwrap();
    assert_eq!((rest.data.len(), rest.meta.next_cursor.is_some()), (7, false));
    assert!(rest.meta.notice.is_some_and(|notice| notice.contains("not by date")));
    // A single room is always in order.
    let insights =
        Insights { rooms: vec![(1..=12).rev().map(|at| at * 2).collect()], ..rooms(&[]) };
    let mut fake = Fake::new(|request| insights.answer(request));
    let page = list_meetings(&mut fake, Some(2), None, None, None, None).unwrap();
    assert_eq!((ids(&page), page.meta.notice.as_deref()), (vec!["room-0:s0", "room-0:s1"], None));
}

/// Rooms with one session each, or none if the minute is odd.
fn rooms(minutes: &[u32]) -> Insights {
    Insights {
        rooms: minutes.iter().map(|minute| vec![*minute]).collect(),
        sorts_rooms: true,
        sorts_sessions: true,
        most: 100,
        tells_totals: true,
        moved: RefCell::default(),
    }
}

#[test]
fn a_call_reads_the_sessions_of_eight_rooms() {
    let insights = Insights { most: 8, ..rooms(&[1; 20]) };
    let mut fake = Fake::new(|request| insights.answer(request));
    let page = list_meetings(&mut fake, Some(50), None, None, None, None).unwrap();
    assert!(page.data.is_empty() && page.meta.next_cursor.is_some() && page.meta.notice.is_some());
    assert_eq!(fake.batches, [1, 8]);
}

#[test]
fn rooms_that_were_read_ahead_are_not_read_again() {
    let insights = Insights { most: 10, tells_totals: false, ..rooms(&[]) };
    let insights = Insights { rooms: vec![vec![8; 11], vec![6], vec![4], vec![2]], ..insights };
    // The first room reports one session, but has a second page.
    let mut fake = Fake::new(|request| insights.answer(request));
    let page = list_meetings(&mut fake, Some(14), None, None, None, None).unwrap();
    assert_eq!((page.data.len(), page.meta.next_cursor), (14, None));
    assert_eq!(fake.batches, [1, 4, 1]);
}

#[test]
fn a_room_deleted_during_the_call_has_no_meetings() {
    let insights = rooms(&[2, 4]);
    let mut fake = Fake::new(|request| {
        if request.target.contains("room-0") {
            Ok(Fake::reply(404, ""))
        } else {
            insights.answer(request)
        }
    });
    let page = list_meetings(&mut fake, None, None, None, None, None).unwrap();
    assert_eq!(ids(&page), ["room-1:s0"]);
    // If the caller named the room, it is an error.
    let result = list_meetings(&mut fake, None, None, None, None, Some("room-0"));
    assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
}

#[test]
fn the_order_of_rooms_is_kept_within_a_listing() {
    let insights = Insights { tells_totals: false, ..rooms(&[2, 4]) };
    let mut fake = Fake::new(|request| insights.answer(request));
    let page = list_meetings(&mut fake, Some(1), None, None, None, None).unwrap();
    let cursor = page.meta.next_cursor.unwrap();
    let refusing = Insights { sorts_rooms: false, ..insights.clone() };
    let mut fake = Fake::new(|request| refusing.answer(request));
    let result = list_meetings(&mut fake, Some(1), Some(&cursor), None, None, None);
    assert!(matches!(result, Err(Error::Rejected(_))), "{result:?}");
    assert_eq!(fake.batches, [1]);
}

#[test]
fn a_malformed_room_is_named() {
    for (row, complaint) in [
        ("{}", "results[0].roomName is missing"),
        (r#"{"roomName":"/"}"#, "results[0].roomName is missing"),
        (r#"{"roomName":"/a b","totalSessions":-1}"#, "results[0].totalSessions is a number"),
        (r#"{"roomName":"/a","totalSessions":-1}"#, "results[0].totalSessions is a number"),
        (r#"{"roomName":"/a","lastSessionStartedAt":"x"}"#, "results[0].lastSessionStartedAt"),
    ] {
        let body = page(&[row.to_owned()], "");
        let mut fake = Fake::new(|_| Ok(Fake::reply(200, &body)));
        let result = list_meetings(&mut fake, None, None, None, None, None);
        let Err(Error::UnexpectedResponse(text)) = result else { panic!("{result:?}") };
        assert!(text.starts_with("GET /insights/rooms: ") && text.contains(complaint), "{text}");

        // The malformed row hides no other room.
        let insights = rooms(&[2]);
        let good = r#"{"roomName":"/room-0","totalSessions":1}"#.to_owned();
        let body = page(&[row.to_owned(), good], "");
        let mut fake = Fake::new(|request| {
            if request.target.starts_with("/insights/rooms") {
                Ok(Fake::reply(200, &body))
            } else {
                insights.answer(request)
            }
        });
        let listed = list_meetings(&mut fake, None, None, None, None, None).unwrap();
        assert_eq!(ids(&listed), ["room-0:s0"]);
        let notice = listed.meta.notice.unwrap();
        assert!(notice.contains("is left out") && notice.contains(complaint), "{notice}");
    }
}

/// Lists all rooms page by page, and moves a room to the front after each page but the last.
fn list_with_moves(insights: &Insights, limit: u32, moves: &[usize]) -> (Vec<String>, Vec<String>) {
    let mut fake = Fake::new(|request| insights.answer(request));
    let mut listed: Vec<String> = Vec::new();
    let mut cursor: Option<String> = None;
    for room in moves.iter().copied().map(Some).chain([None]) {
        let limit = if room.is_none() { 100 } else { limit };
        let page = list_meetings(&mut fake, Some(limit), cursor.as_deref(), None, None, None);
        let page = page.unwrap();
        listed.extend(ids(&page).into_iter().map(str::to_owned));
        cursor = page.meta.next_cursor;
        assert_eq!(cursor.is_none(), room.is_none());
        if let Some(room) = room {
            insights.move_to_front(room);
        }
    }
    (listed, fake.requests.into_iter().map(|request| request.target).collect())
}

#[test]
fn a_room_that_moves_to_the_front_does_not_shift_the_position() {
    let first = "/insights/room-sessions?roomName=%2Froom-0&limit=2&sortBy=startedAt%3Adesc";
    let second = first.replace("room-0", "room-1");
    for (most, expected) in [
        // The position within room 0 is an offset or one of Whereby's cursors.
        (100, ["room-0:s0", "room-0:s1", "room-0:s2", "room-1:s0", "room-1:s1"]),
        (2, ["room-0:s0", "room-0:s1", "room-0:s2", "room-1:s0", "room-1:s1"]),
    ] {
        let insights = Insights {
            rooms: vec![vec![8, 6, 4], vec![6, 2]],
            most,
            tells_totals: false,
            ..rooms(&[])
        };
        let (listed, targets) = list_with_moves(&insights, 2, &[1]);
        assert_eq!(listed, expected, "{most}");
        let of_first = targets.iter().filter(|target| target.contains("room-0")).count();
        assert_eq!((of_first, targets.contains(&format!("{first}&cursor=2"))), (2, true));
        assert!(targets.contains(&second), "the cursor belongs to another room");
    }
}

#[test]
fn a_started_room_is_finished_on_any_page() {
    // Two rooms per page. Room 2 is started on the second page, and then moves to the first.
    let insights = Insights {
        rooms: vec![vec![8], vec![6], vec![8, 6, 4], vec![2], vec![4]],
        most: 2,
        ..rooms(&[])
    };
    let (listed, _) = list_with_moves(&insights, 3, &[2]);
    let expected =
        ["room-0:s0", "room-1:s0", "room-2:s0", "room-2:s1", "room-2:s2", "room-3:s0", "room-4:s0"];
    // That pushes room 1 onto the second page. It is not listed again.
    assert_eq!(listed, expected);
}

#[test]
fn a_started_room_that_was_deleted_is_left() {
    let insights =
        Insights { rooms: vec![vec![8, 6, 4], vec![2]], tells_totals: false, ..rooms(&[]) };
    let mut fake = Fake::new(|request| insights.answer(request));
    let page = list_meetings(&mut fake, Some(2), None, None, None, None).unwrap();
    let cursor = page.meta.next_cursor.unwrap();
    let mut fake = Fake::new(|request| {
        if request.target.contains("room-0") {
            Ok(Fake::reply(404, ""))
        } else {
            insights.answer(request)
        }
    });
    let page = list_meetings(&mut fake, Some(9), Some(&cursor), None, None, None).unwrap();
    assert_eq!((ids(&page), page.meta.next_cursor.as_deref()), (vec!["room-1:s0"], None));
}

#[test]
fn a_page_with_too_many_rooms_is_an_error() {
    let rows: Vec<String> = (0..101).map(|at| format!(r#"{{"roomName":"/room-{at}"}}"#)).collect();
    let mut fake = Fake::new(|_| Ok(Fake::reply(200, &page(&rows, ""))));
    let result = list_meetings(&mut fake, None, None, None, None, None);
    let Err(Error::UnexpectedResponse(text)) = result else { panic!("{result:?}") };
    assert!(text.contains("more rooms than requested"), "{text}");
}

#[test]
fn a_room_whose_name_is_too_long_is_left_out_and_named() {
    let row = |name: &str| format!(r#"{{"roomName":"/{name}","totalSessions":1}}"#);
    let long = "x".repeat(2001);
    let longer = format!("a\\n`b{long}");
    for (names, notice) in [
        (
            vec![long.as_str(), "room-0"],
            format!(
                "One entry is left out: the name of the room `{}` is too long.",
                "x".repeat(60)
            ),
        ),
        (
            vec![longer.as_str(), "room-0", long.as_str()],
            format!(
                "2 entries are left out; the first: the name of the room `a 'b{}` is too long.",
                "x".repeat(56)
            ),
        ),
    ] {
        let rows: Vec<String> = names.iter().map(|name| row(name)).collect();
        let insights = rooms(&[2]);
        let mut fake = Fake::new(|request| {
            if request.target.starts_with("/insights/rooms") {
                Ok(Fake::reply(200, &page(&rows, "")))
            } else {
                insights.answer(request)
            }
        });
        let page = list_meetings(&mut fake, None, None, None, None, None).unwrap();
        assert_eq!(ids(&page), ["room-0:s0"]);
        assert_eq!(page.meta.notice, Some(notice));
    }

    // Both notices are shown.
    let mut rows: Vec<String> = (0..9).map(|at| row(&format!("room-{at}"))).collect();
    rows.push(row(&long));
    let insights = rooms(&[1; 9]);
    let mut fake = Fake::new(|request| {
        if request.target.starts_with("/insights/rooms") {
            Ok(Fake::reply(200, &page(&rows, "")))
        } else {
            insights.answer(request)
        }
    });
    let listed = list_meetings(&mut fake, Some(50), None, None, None, None).unwrap();
    let notice = listed.meta.notice.unwrap();
    assert!(notice.contains("limited number") && notice.contains("is left out"), "{notice}");
    assert!(notice.contains(&format!("`{}`", "x".repeat(60))), "{notice}");

    // A room without meetings needs no notice.
    let body = page(&[row(&long).replace(":1", ":0")], "");
    let mut fake = Fake::new(|_| Ok(Fake::reply(200, &body)));
    let page = list_meetings(&mut fake, None, None, None, None, None).unwrap();
    assert_eq!((page.meta.next_cursor, page.meta.notice), (None, None));
}
