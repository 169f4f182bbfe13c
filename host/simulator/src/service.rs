//! Handles requests: authentication, routing, rate limits and scripts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, header};
use percent_encoding::percent_decode_str;

use super::connection::Peer;
use super::create::CreateRequest;
use super::insights::Insights;
use super::moment::{Clock, Moment};
use super::paging::Query;
use super::rate_limit::Work;
use super::recorder::Recorder;
use super::response::{ApiResponse, Refusal};
use super::script::{Outcome, Scripts};
use super::state::Organization;
use super::switches::Switches;
use super::{meetings, recordings};

/// The maximum size of a body, in bytes: more than any reasonable request.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The state of the request handler.
pub(super) struct Service {
    pub(super) organizations: Vec<Mutex<Organization>>,
    /// The organization of each API key.
    pub(super) keys: HashMap<String, usize>,
    pub(super) switches: RwLock<Switches>,
    pub(super) clock: Clock,
    pub(super) recorder: Option<Recorder>,
    pub(super) scripts: Scripts,
}

/// The operations of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation<'a> {
    CreateMeeting,
    ListMeetings,
    Meeting(&'a str),
    DeleteMeeting(&'a str),
    RoomInsights,
    RoomSessions,
    Participants,
    Participant,
    Recordings,
    Recording(&'a str),
    Transcriptions,
    Transcription(&'a str),
}

impl<'a> Operation<'a> {
    /// Returns the operation of a request; `None` if it is not imitated or does not exist in the real API.
    fn from_request(method: &Method, path: &'a str) -> Option<Self> {
        let mut segments = path.strip_prefix("/v1/")?.split('/');
        let resource = segments.next()?;
        let name = segments.next();
        if segments.next().is_some() || name == Some("") {
            return None;
        }
        let (get, post, delete) =
            (method == Method::GET, method == Method::POST, method == Method::DELETE);
        Some(match (resource, name) {
            ("meetings", None) if post => Self::CreateMeeting,
            ("meetings", None) if get => Self::ListMeetings,
            ("meetings", Some(id)) if get => Self::Meeting(id),
            ("meetings", Some(id)) if delete => Self::DeleteMeeting(id),
            ("insights", Some("rooms")) if get => Self::RoomInsights,
            ("insights", Some("room-sessions")) if get => Self::RoomSessions,
            ("insights", Some("participants")) if get => Self::Participants,
            ("insights", Some("participant")) if get => Self::Participant,
            ("recordings", None) if get => Self::Recordings,
            ("recordings", Some(id)) if get => Self::Recording(id),
            ("transcriptions", None) if get => Self::Transcriptions,
            ("transcriptions", Some(id)) if get => Self::Transcription(id),
            _ => return None,
        })
    }

    fn work(self) -> Work {
        match self {
            Self::CreateMeeting => Work::Write,
            Self::DeleteMeeting(_) => Work::Delete,
            Self::Meeting(_) | Self::Recording(_) | Self::Transcription(_) => Work::ReadOne,
            Self::ListMeetings | Self::Recordings | Self::Transcriptions => Work::ReadList,
            Self::RoomInsights | Self::RoomSessions | Self::Participants | Self::Participant => {
                Work::ReadInsights
            }
        }
    }
}

/// Handles every request.
pub(super) async fn handle(
    State(service): State<Arc<Service>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let number = service
        .recorder
        .as_ref()
        .map(|recorder| recorder.arrived(peer.number, peer.address, &parts));
    let recorder = service.recorder.as_ref().zip(number);
    let body = if body.is_end_stream() {
        Some(Bytes::new())
    } else {
        axum::body::to_bytes(body, MAX_BODY_BYTES).await.ok()
    };
    if let (Some((recorder, number)), Some(body)) = (recorder, &body) {
        recorder.received(number, body.clone());
    }
    let switches = service.switches();
    let usual = || match &body {
        Some(body) => service.response(&parts, body, &switches),
        None => Refusal::TOO_LARGE.to_response(switches.error_body),
    };
    let outcome = match service.scripts.next(parts.method.as_str(), parts.uri.path()) {
        Some(reply) => {
            let usual = reply.carries_out().then(usual);
            reply.deliver(usual).await
        }
        None => Outcome::ApiResponse(usual()),
    };
    if switches.latency > 0 {
        tokio::time::sleep(Duration::from_millis(switches.latency.into())).await;
    }
    let (response, status) = match outcome {
        Outcome::ApiResponse(response) => {
            let status = Some(response.status.as_u16());
            (response, status)
        }
        Outcome::Takeover(takeover, status) => {
            peer.take_over(takeover);
            // This is not sent, but the connection is taken over when the HTTP library tries to.
            (Refusal::NOT_FOUND.to_response(switches.error_body), status)
        }
        // This future is dropped when the client disconnects.
        Outcome::Never => std::future::pending().await,
    };
    if let (Some((recorder, number)), Some(status)) = (recorder, status) {
        recorder.answered(number, status);
    }
    response.into_response()
}

impl Service {
    pub(super) fn switches(&self) -> Switches {
        *self.switches.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks an organization.
    ///
    /// # Panics
    ///
    /// Panics if the organization does not exist.
    pub(super) fn organization(&self, index: usize) -> MutexGuard<'_, Organization> {
        self.organizations[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries a request out and returns the response.
    fn response(&self, parts: &Parts, body: &[u8], switches: &Switches) -> ApiResponse {
        let refuse = |refusal: Refusal| refusal.to_response(switches.error_body);
        let Some(operation) = Operation::from_request(&parts.method, parts.uri.path()) else {
            return refuse(Refusal::NOT_FOUND);
        };
        let Some(&index) = bearer(&parts.headers).and_then(|key| self.keys.get(key)) else {
            return refuse(Refusal::UNAUTHORIZED);
        };
        let now = self.clock.now();
        let organization = &mut *self.organization(index);
        let id = organization.id;
        let limits = match organization.rate_limit.spend(id, operation.work(), now, switches) {
            Ok(headers) => headers,
            Err(response) => return *response,
        };
        let query = Query::parse(parts.uri.query().unwrap_or(""));
        let mut response = carry_out(operation, organization, &query, (parts, body), now, switches)
            .unwrap_or_else(refuse);
        response.headers.extend(limits);
        response
    }
}

fn carry_out(
    operation: Operation<'_>,
    organization: &mut Organization,
    query: &Query<'_>,
    request: (&Parts, &[u8]),
    now: Moment,
    switches: &Switches,
) -> Result<ApiResponse, Refusal> {
    let decoded = |id| percent_decode_str(id).decode_utf8_lossy();
    match operation {
        Operation::CreateMeeting => {
            let (parts, body) = request;
            if !is_json(&parts.headers) {
                return Err(Refusal::bad_request("Content-Type must be application/json"));
            }
            meetings::create(
                organization,
                &CreateRequest::from_body(body, now, switches)?,
                now,
                switches,
            )
        }
        Operation::ListMeetings => meetings::list(organization, query, now, switches),
        Operation::Meeting(id) => meetings::one(organization, &decoded(id), query, now, switches),
        Operation::DeleteMeeting(id) => meetings::delete(organization, &decoded(id), switches),
        Operation::RoomInsights => Insights::new(organization, now, switches).rooms(query),
        Operation::RoomSessions => Insights::new(organization, now, switches).sessions(query),
        Operation::Participants => Insights::new(organization, now, switches).participants(query),
        Operation::Participant => Insights::new(organization, now, switches).participant(query),
        Operation::Recordings => recordings::recordings(organization, query, switches),
        Operation::Recording(id) => recordings::recording(organization, &decoded(id), switches),
        Operation::Transcriptions => recordings::transcriptions(organization, query, switches),
        Operation::Transcription(id) => {
            recordings::transcription(organization, &decoded(id), switches)
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Returns the API key of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}
