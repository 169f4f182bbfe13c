//! The typed requests: everything that can be sent to Whereby.
//!
//! A request of the component is parsed into one of these types, and the request that leaves is written
//! from it. Nothing else of the component's request can pass, because the types have no place for it.

use crate::names::{Id, RoomName};
use crate::prelude::*;
use crate::timestamp::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The maximum number of items, from 1 to 100; Whereby's default if absent.
    pub limit: Option<u8>,
    /// The cursor of an earlier page; absent for the first page.
    pub cursor: Option<String>,
}

/// A request to Whereby's API, <https://docs.whereby.com/reference/whereby-rest-api-reference>.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    /// `GET /meetings`.
    ListRooms { page: Page, starts_with: Option<RoomName> },
    /// `POST /meetings`.
    CreateRoom { body: Value },
    /// `DELETE /meetings/{meetingId}`.
    DeleteRoom { id: Id },
    /// `GET /insights/rooms`.
    ListInsightRooms { page: Page, created_to: Option<Timestamp>, sorted: bool },
    /// `GET /insights/room-sessions`.
    ListSessions { page: Page, room: RoomName, session: Option<Id>, sorted: bool },
    /// `GET /insights/participants`.
    ListParticipants { page: Page, session: Id, sorted: bool },
    /// `GET /recordings`.
    ListRecordings { page: Page, room: Option<RoomName> },
    /// `GET /transcriptions`.
    ListTranscriptions { page: Page, room: Option<RoomName> },
}

/// The only order in which each list may be requested.
const SESSIONS_ORDER: &str = "startedAt:desc";
const INSIGHT_ROOMS_ORDER: &str = "lastSessionStartedAt:desc";
const PARTICIPANTS_ORDER: &str = "joinedAt:asc";

/// The maximum number of parameters in a query.
const MAX_PARAMETERS: usize = 8;

/// A request as the component makes it, relative to the API's base.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, beginning with a slash.
    pub path: &'a str,
    /// The query, still encoded.
    pub query: Option<&'a str>,
    /// The body; empty if there is none.
    pub body: &'a [u8],
}

/// What the component tried to send, if it is not a valid request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidRequest(pub String);

impl Request {
    /// Reads a request of the component.
    pub(crate) fn read(asked: Asked<'_>) -> Result<Self, InvalidRequest> {
        let mut query = Query::read(asked.query)?;
        let request = match (asked.method, asked.path) {
            ("GET", "/meetings") => Self::ListRooms {
                page: query.page()?,
                starts_with: query.room("roomName[startsWith]")?,
            },
            ("POST", "/meetings") => Self::CreateRoom {
                body: crate::text::parse_json(asked.body)
                    .ok_or_else(|| InvalidRequest("a body that is not JSON".into()))?,
            },
            ("DELETE", path) => {
                let id = path.strip_prefix("/meetings/").and_then(Id::parse);
                Self::DeleteRoom { id: id.ok_or_else(|| unknown_path(asked))? }
            }
            ("GET", "/insights/rooms") => Self::ListInsightRooms {
                page: query.page()?,
                // Whereby keeps milliseconds.
                created_to: query
                    .take("createdAt[to]", Timestamp::parse)?
                    .map(Timestamp::to_milliseconds),
                sorted: query.order(INSIGHT_ROOMS_ORDER)?,
            },
            ("GET", "/insights/room-sessions") => Self::ListSessions {
                page: query.page()?,
                room: query.room("roomName")?.ok_or_else(|| missing("roomName"))?,
                session: query.take("roomSessionId", Id::parse)?,
                sorted: query.order(SESSIONS_ORDER)?,
            },
            ("GET", "/insights/participants") => Self::ListParticipants {
                page: query.page()?,
                session: query
                    .take("roomSessionId", Id::parse)?
                    .ok_or_else(|| missing("roomSessionId"))?,
                sorted: query.order(PARTICIPANTS_ORDER)?,
            },
            ("GET", "/recordings") => {
                Self::ListRecordings { page: query.page()?, room: query.room("roomName")? }
            }
            ("GET", "/transcriptions") => {
                Self::ListTranscriptions { page: query.page()?, room: query.room("roomName")? }
            }
            _ => return Err(unknown_path(asked)),
        };
        query.finish()?;
        if !asked.body.is_empty() && !matches!(request, Self::CreateRoom { .. }) {
            return Err(InvalidRequest(format!("a body with {}", asked.method)));
        }
        Ok(request)
    }

    pub(crate) fn method(&self) -> &'static str {
        match self {
            Self::CreateRoom { .. } => "POST",
            Self::DeleteRoom { .. } => "DELETE",
            _ => "GET",
        }
    }

    /// Returns the room that it names, if it names a whole name.
    pub(crate) fn room(&self) -> Option<&RoomName> {
        match self {
            Self::ListRooms { starts_with, .. } => starts_with.as_ref(),
            Self::ListSessions { room, .. } => Some(room),
            Self::ListRecordings { room, .. } | Self::ListTranscriptions { room, .. } => {
                room.as_ref()
            }
            Self::CreateRoom { .. }
            | Self::DeleteRoom { .. }
            | Self::ListInsightRooms { .. }
            | Self::ListParticipants { .. } => None,
        }
    }

    /// Whether it changes anything.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self, Self::CreateRoom { .. } | Self::DeleteRoom { .. })
    }

    /// Returns the path, relative to the API's base.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::ListRooms { .. } | Self::CreateRoom { .. } => "/meetings".into(),
            Self::DeleteRoom { id } => format!("/meetings/{}", id.as_str()),
            Self::ListInsightRooms { .. } => "/insights/rooms".into(),
            Self::ListSessions { .. } => "/insights/room-sessions".into(),
            Self::ListParticipants { .. } => "/insights/participants".into(),
            Self::ListRecordings { .. } => "/recordings".into(),
            Self::ListTranscriptions { .. } => "/transcriptions".into(),
        }
    }

    /// Writes the path and the query.
    pub(crate) fn path_and_query(&self) -> String {
        let mut written = self.path();
        let mut query = QueryWriter { written: &mut written, any: false };
        match self {
            Self::ListRooms { page, starts_with } => {
                query.add_room("roomName[startsWith]", starts_with.as_ref());
                query.add_page(page);
            }
            Self::CreateRoom { .. } | Self::DeleteRoom { .. } => {}
            Self::ListInsightRooms { page, created_to, sorted } => {
                if let Some(created_to) = created_to {
                    query.add("createdAt[to]", &created_to.to_rfc3339());
                }
                query.add_order(*sorted, INSIGHT_ROOMS_ORDER);
                query.add_page(page);
            }
            Self::ListSessions { page, room, session, sorted } => {
                query.add_room("roomName", Some(room));
                if let Some(session) = session {
                    query.add("roomSessionId", session.as_str());
                }
                query.add_order(*sorted, SESSIONS_ORDER);
                query.add_page(page);
            }
            Self::ListParticipants { page, session, sorted } => {
                query.add("roomSessionId", session.as_str());
                query.add_order(*sorted, PARTICIPANTS_ORDER);
                query.add_page(page);
            }
            Self::ListRecordings { page, room } | Self::ListTranscriptions { page, room } => {
                query.add_room("roomName", room.as_ref());
                query.add_page(page);
            }
        }
        written
    }
}

fn unknown_path(asked: Asked<'_>) -> InvalidRequest {
    InvalidRequest(format!(
        "{} {}, which is no request of any function",
        crate::text::printable(asked.method, 20),
        crate::text::printable(asked.path, 120)
    ))
}

/// Whether a request may have this text as its cursor.
pub(crate) fn is_cursor(text: &str) -> bool {
    (1..=1024).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn missing(name: &str) -> InvalidRequest {
    InvalidRequest(format!("a request without its query member {name}"))
}

/// The decoded parameters of a query, each at most once. Reading a parameter removes it.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(query: Option<&str>) -> Result<Self, InvalidRequest> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            // Each parameter is compared with all before it.
            if parameters.len() == MAX_PARAMETERS {
                return Err(InvalidRequest(format!(
                    "a query of more than {MAX_PARAMETERS} members"
                )));
            }
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| InvalidRequest("a query member without a value".into()))?;
            let (name, value) = (decode(name)?, decode(value)?);
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err(InvalidRequest(format!(
                    "the query member {} twice",
                    crate::text::printable(&name, 40)
                )));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    fn take<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, InvalidRequest> {
        let Some(index) = self.0.iter().position(|(known, _)| known == name) else {
            return Ok(None);
        };
        let (_, value) = self.0.swap_remove(index);
        match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(InvalidRequest(format!("a query member {name} of another form"))),
        }
    }

    fn room(&mut self, name: &str) -> Result<Option<RoomName>, InvalidRequest> {
        self.take(name, RoomName::parse_with_slash)
    }

    fn order(&mut self, order: &str) -> Result<bool, InvalidRequest> {
        Ok(self.take("sortBy", |value| (value == order).then_some(()))?.is_some())
    }

    fn page(&mut self) -> Result<Page, InvalidRequest> {
        let limit = self.take("limit", |value| {
            let digits = value.len() <= 3 && value.bytes().all(|b| b.is_ascii_digit());
            value.parse::<u8>().ok().filter(|limit| digits && (1..=100).contains(limit))
        })?;
        let cursor = self.take("cursor", |value| is_cursor(value).then(|| value.to_owned()))?;
        Ok(Page { limit, cursor })
    }

    /// Checks that every parameter was read.
    fn finish(self) -> Result<(), InvalidRequest> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(InvalidRequest(format!(
                "the query member {}, which this request may not have",
                crate::text::printable(name, 40)
            ))),
        }
    }
}

/// Percent-decodes a string that every server reads the same way.
fn decode(text: &str) -> Result<String, InvalidRequest> {
    let wrong = || InvalidRequest("a query that is not properly encoded".into());
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Ok(text.to_owned());
    }
    for (index, byte) in bytes.iter().enumerate() {
        let escape = || {
            bytes.get(index + 1..index + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        };
        // Some servers read a plus as a space.
        if *byte == b'+' || *byte == b'%' && !escape() {
            return Err(wrong());
        }
    }
    Ok(percent_decode_str(text).decode_utf8().map_err(|_| wrong())?.into_owned())
}

/// All characters except the unreserved ones of RFC 3986.
pub(crate) const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Appends a query to a path.
struct QueryWriter<'a> {
    written: &'a mut String,
    any: bool,
}

impl QueryWriter<'_> {
    fn add(&mut self, name: &str, value: &str) {
        self.written.push(if self.any { '&' } else { '?' });
        self.any = true;
        self.written.extend(utf8_percent_encode(name, ESCAPED));
        self.written.push('=');
        self.written.extend(utf8_percent_encode(value, ESCAPED));
    }

    fn add_room(&mut self, name: &str, room: Option<&RoomName>) {
        if let Some(room) = room {
            self.add(name, &format!("/{}", room.as_str()));
        }
    }

    fn add_order(&mut self, sorted: bool, order: &str) {
        if sorted {
            self.add("sortBy", order);
        }
    }

    fn add_page(&mut self, page: &Page) {
        if let Some(limit) = page.limit {
            // As u64: one formatter is enough for the guard.
            self.add("limit", &u64::from(limit).to_string());
        }
        if let Some(cursor) = &page.cursor {
            self.add("cursor", cursor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, InvalidRequest> {
        let (method, target) = line.split_once(' ').expect("METHOD target");
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        Request::read(Asked { method, path, query, body: b"" })
    }

    #[test]
    fn a_request_is_written_as_it_was_read() {
        for (asked, written) in [
            ("GET /meetings", "/meetings"),
            ("GET /meetings?limit=2&cursor=a%2Fb", "/meetings?limit=2&cursor=a%2Fb"),
            (
                "GET /meetings?limit=100&roomName[startsWith]=%2fdaily",
                "/meetings?roomName%5BstartsWith%5D=%2Fdaily&limit=100",
            ),
            ("DELETE /meetings/90411275", "/meetings/90411275"),
            (
                "GET /insights/rooms?createdAt%5Bto%5D=2026-03-02T00:00:00Z",
                "/insights/rooms?createdAt%5Bto%5D=2026-03-02T00%3A00%3A00Z",
            ),
            (
                "GET /insights/room-sessions?sortBy=startedAt%3Adesc&roomName=/daily",
                "/insights/room-sessions?roomName=%2Fdaily&sortBy=startedAt%3Adesc",
            ),
            (
                "GET /insights/participants?roomSessionId=a-1&sortBy=joinedAt:asc",
                "/insights/participants?roomSessionId=a-1&sortBy=joinedAt%3Aasc",
            ),
            ("GET /recordings?roomName=/daily", "/recordings?roomName=%2Fdaily"),
            (
                "GET /recordings?roomName=/Daily_1%20%C3%A4%26b",
                "/recordings?roomName=%2FDaily_1%20%C3%A4%26b",
            ),
            ("GET /transcriptions?limit=100", "/transcriptions?limit=100"),
        ] {
            let request = read(asked).expect(asked);
            assert_eq!(request.path_and_query(), written);
            let again = read(&format!("{} {written}", request.method())).expect(written);
            assert_eq!(again, request);
        }
    }

    #[test]
    fn unknown_requests_are_refused() {
        for asked in [
            "GET /rooms",
            "GET /meetings/",
            "GET /meetings/90411275",
            "GET //meetings",
            "GET /meetings/../meetings",
            "GET /Meetings",
            "get /meetings",
            "PUT /meetings",
            "PATCH /meetings/90411275",
            "DELETE /meetings",
            "DELETE /meetings/",
            "DELETE /meetings/a/b",
            "DELETE /meetings/..",
            "DELETE /meetings/a%2fb",
            "DELETE /meetings/90411275?force=1",
            "GET /meetings?",
            "GET /meetings?limit",
            "GET /meetings?limit=",
            "GET /meetings?limit=0",
            "GET /meetings?limit=101",
            "GET /meetings?limit=+1",
            "GET /meetings?limit=01x",
            "GET /meetings?limit=1&limit=2",
            "GET /meetings?fields=hostRoomUrl",
            "GET /meetings?Limit=1",
            "GET /meetings?cursor=a%0ab",
            "GET /meetings?cursor=a+b",
            "GET /meetings?cursor=%zz",
            "GET /meetings?cursor=%ff",
            "GET /meetings?roomName[startsWith]=daily",
            "GET /meetings?roomName[startsWith]=/",
            "GET /insights/room-sessions",
            "GET /insights/room-sessions?roomName=/a&sortBy=startedAt:asc",
            "GET /insights/participants?limit=1",
            "GET /insights/participants?externalId=x&roomSessionId=y",
            "GET /recordings/abc",
            "GET /recordings/abc/access-link",
            "GET /transcriptions?roomName=x",
        ] {
            assert!(read(asked).is_err(), "{asked}");
        }
        let cursor = "a".repeat(1025);
        assert!(read(&format!("GET /meetings?cursor={cursor}")).is_err());
    }

    #[test]
    fn only_a_creation_has_a_body() {
        let asked = |method, path| Asked { method, path, query: None, body: b"{}" };
        assert!(Request::read(asked("POST", "/meetings")).is_ok());
        assert!(Request::read(asked("GET", "/meetings")).is_err());
        assert!(Request::read(asked("DELETE", "/meetings/1")).is_err());
        assert!(read("POST /meetings").is_err(), "a creation has a JSON body");
    }

    use proptest::prelude::*;

    fn page() -> impl Strategy<Value = Page> {
        let cursor = prop::option::of("[^\\pC]{1,40}");
        (prop::option::of(1_u8..=100), cursor).prop_map(|(limit, cursor)| Page { limit, cursor })
    }

    fn request() -> impl Strategy<Value = Request> {
        let room = || {
            "[A-Za-z0-9_&=%+. -]{1,80}x"
                .prop_map(|name| RoomName::parse(name.trim()).expect("a name"))
        };
        let id = || "[A-Za-z0-9_-]{1,64}".prop_map(|id| Id::parse(&id).expect("an id"));
        let date = (0_i64..4_000_000_000).prop_map(|seconds| {
            Timestamp::parse("1970-01-01T00:00:00.5Z").expect("a date").plus_seconds(seconds)
        });
        prop_oneof![
            (page(), prop::option::of(room()))
                .prop_map(|(page, starts_with)| Request::ListRooms { page, starts_with }),
            id().prop_map(|id| Request::DeleteRoom { id }),
            (page(), prop::option::of(date), any::<bool>()).prop_map(
                |(page, created_to, sorted)| {
                    Request::ListInsightRooms { page, created_to, sorted }
                }
            ),
            (page(), room(), prop::option::of(id()), any::<bool>()).prop_map(
                |(page, room, session, sorted)| Request::ListSessions {
                    page,
                    room,
                    session,
                    sorted
                }
            ),
            (page(), id(), any::<bool>()).prop_map(|(page, session, sorted)| {
                Request::ListParticipants { page, session, sorted }
            }),
            (page(), prop::option::of(room()))
                .prop_map(|(page, room)| Request::ListRecordings { page, room }),
            (page(), prop::option::of(room()))
                .prop_map(|(page, room)| Request::ListTranscriptions { page, room }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_written_request_is_read_as_the_same(request in request()) {
            let line = format!("{} {}", request.method(), request.path_and_query());
            let again = read(&line);
            prop_assert_eq!(again.as_ref(), Ok(&request), "{}", line);
            // It contains nothing that needs escaping.
            prop_assert!(line.is_ascii() && !line[7..].contains(' '), "{line}");
        }

        #[test]
        fn no_request_panics(
            method in "GET|POST|DELETE|\\PC{0,8}", path in "(/meetings|/insights/rooms|/recordings)?\\PC{0,20}",
            query in prop::option::of("(limit=|cursor=|roomName=|%|&)?\\PC{0,30}"), body in any::<Vec<u8>>(),
        ) {
            let asked = Asked { method: &method, path: &path, query: query.as_deref(), body: &body };
            if let Ok(request) = Request::read(asked) {
                let written = request.path_and_query();
                let (path, query) = written.split_once('?').map_or((&*written, None), |(p, q)| (p, Some(q)));
                let method = request.method().to_string();
                let again = Request::read(Asked { method: &method, path, query, body: &body });
                prop_assert_eq!(again, Ok(request));
            }
        }
    }
}
