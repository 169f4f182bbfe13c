//! Handles requests: authentication, routing, rate limits and scripts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, header};
use percent_encoding::percent_decode_str;

use super::connection::Peer;
use super::insights::Insights;
use super::meetings;
use super::moment::{Clock, Moment};
use super::paging::{List, Page, Query};
use super::rate_limit::Work;
use super::recorder::Recorder;
use super::recordings::{RECORDINGS, TRANSCRIPTIONS};
use super::response::{ApiResponse, Refusal};
use super::script::{Outcome, Scripts};
use super::state::Organization;
use super::switches::Switches;

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

/// A request of an organization.
pub(super) struct Call<'a> {
    pub(super) organization: &'a mut Organization,
    pub(super) query: Query<'a>,
    headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    /// The id in the path; empty if there is none.
    pub(super) id: Cow<'a, str>,
    pub(super) now: Moment,
    pub(super) switches: &'a Switches,
}

impl Call<'_> {
    /// Reads which page of a list is requested. `rows` is the number of rows in the underlying table.
    pub(super) fn page(&self, list: &List, rows: usize) -> Result<Page, Refusal> {
        Page::from_query(&self.query, list, self.organization.id, rows, self.switches)
    }

    /// Returns whether a room still exists.
    pub(super) fn is_there(&self, room: u32) -> bool {
        self.organization.is_there(room, self.now, self.switches)
    }

    pub(super) fn is_json(&self) -> bool {
        let value = self.headers.get(header::CONTENT_TYPE);
        let kind = value.and_then(|value| value.to_str().ok()?.split(';').next());
        kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    }
}

/// Carries a request out.
type Operation = fn(&mut Call<'_>) -> Result<ApiResponse, Refusal>;

/// Returns the operation of a request, its cost, and the id in its path; `None` if the operation is not imitated
/// or does not exist in the real API.
fn route<'a>(method: &Method, path: &'a str) -> Option<(Operation, Work, &'a str)> {
    let mut segments = path.strip_prefix("/v1/")?.split('/');
    let resource = segments.next()?;
    let name = segments.next();
    if segments.next().is_some() || name == Some("") {
        return None;
    }
    let (operation, work): (Operation, Work) = match (method.as_str(), resource, name) {
        ("POST", "meetings", None) => (meetings::create, Work::Write),
        ("GET", "meetings", None) => (meetings::list, Work::ReadList),
        ("GET", "meetings", Some(_)) => (meetings::one, Work::ReadOne),
        ("DELETE", "meetings", Some(_)) => (meetings::delete, Work::Delete),
        ("GET", "recordings", None) => (|call| RECORDINGS.list(call), Work::ReadList),
        ("GET", "recordings", Some(_)) => (|call| RECORDINGS.one(call), Work::ReadOne),
        ("GET", "transcriptions", None) => (|call| TRANSCRIPTIONS.list(call), Work::ReadList),
        ("GET", "transcriptions", Some(_)) => (|call| TRANSCRIPTIONS.one(call), Work::ReadOne),
        ("GET", "insights", Some(list)) => {
            let operation: Operation = match list {
                "rooms" => |call| Insights::of(call).rooms(),
                "room-sessions" => |call| Insights::of(call).sessions(),
                "participants" => |call| Insights::of(call).participants(),
                "participant" => |call| Insights::of(call).participant(),
                _ => return None,
            };
            (operation, Work::ReadInsights)
        }
        _ => return None,
    };
    Some((operation, work, name.unwrap_or("")))
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
        let Some((operation, work, id)) = route(&parts.method, parts.uri.path()) else {
            return refuse(Refusal::NOT_FOUND);
        };
        let Some(&index) = bearer(&parts.headers).and_then(|key| self.keys.get(key)) else {
            return refuse(Refusal::UNAUTHORIZED);
        };
        let now = self.clock.now();
        let organization = &mut *self.organization(index);
        let limits = match organization.rate_limit.spend(organization.id, work, now, switches) {
            Ok(headers) => headers,
            Err(response) => return *response,
        };
        let mut response = operation(&mut Call {
            organization,
            query: Query::parse(parts.uri.query().unwrap_or("")),
            headers: &parts.headers,
            body,
            id: percent_decode_str(id).decode_utf8_lossy(),
            now,
            switches,
        })
        .unwrap_or_else(refuse);
        response.headers.extend(limits);
        response
    }
}

/// Returns the API key of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}
