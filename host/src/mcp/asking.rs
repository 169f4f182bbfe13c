//! Asks a person for approval through an MCP client.
//!
//! Before protocol 2026-07-28, the server asks while the call waits (`elicitation/create`). Since then,
//! it returns `input_required` with a handle; the client asks the person, and repeats the call with the
//! answer. The handle is the ID of the stored approval, which is bound to exactly this call. Both modes
//! prove only what the client asserts, and `permissions.elicitation` can forbid both.

use super::http::JsonOnly;
use crate::error::PendingApproval;
use crate::session::approval::{Answer, Approver, Channel, Question};
use http::request::Parts;
use rmcp::RoleServer;
use rmcp::model::{
    BooleanSchema, CallToolRequestParams, ElicitRequest, ElicitRequestParams, ElicitResult,
    ElicitationAction, ElicitationSchema, InputRequest, InputRequests, InputRequiredResult,
    PrimitiveSchemaDefinition, ProtocolVersion,
};
use rmcp::service::{Peer, RequestContext};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The maximum time a client may take to answer while the call waits.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// The maximum number of open questions at a client. Further ones are stored for approval elsewhere.
pub(super) const MAX_CLIENT_QUESTIONS: usize = 8;

/// The key of the only input request, and of its response.
const KEY: &str = "approval";

/// The form field with which a person approves.
const APPROVE: &str = "approve";

/// How the client of a request can be asked.
pub(super) enum AskMode {
    /// It cannot be asked.
    None,
    /// While the call waits.
    DuringCall,
    /// With an `input_required` result.
    InputRequired,
}

impl AskMode {
    pub(super) fn of(context: &RequestContext<RoleServer>) -> Self {
        // Earlier protocols have no elicitation.
        let version = context.protocol_version();
        if version.is_none_or(|version| version < ProtocolVersion::V_2025_06_18) {
            return Self::None;
        }
        // A client that accepts no stream receives only the final response.
        let parts = context.extensions.get::<Parts>();
        if parts.is_some_and(|parts| parts.extensions.get::<JsonOnly>().is_some())
            && !is_new(context)
        {
            return Self::None;
        }
        let capabilities = context.client_capabilities();
        let elicitation = capabilities.as_ref().and_then(|known| known.elicitation.as_ref());
        // A client that names no mode supports forms, which came first.
        let has_forms =
            elicitation.is_some_and(|known| known.form.is_some() || known.url.is_none());
        if !has_forms {
            Self::None
        } else if is_new(context) {
            Self::InputRequired
        } else {
            Self::DuringCall
        }
    }
}

/// How the client of a request can show a person the page of an approval, whose address decides nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PageMode {
    /// It cannot.
    None,
    /// While the person decides, beside the failed call.
    Beside,
    /// With an `input_required` result.
    InputRequired,
}

impl PageMode {
    pub(super) fn of(context: &RequestContext<RoleServer>) -> Self {
        let capabilities = context.client_capabilities();
        let elicitation = capabilities.as_ref().and_then(|known| known.elicitation.as_ref());
        let version = context.protocol_version();
        if elicitation.is_none_or(|known| known.url.is_none())
            || version.is_none_or(|version| version < ProtocolVersion::V_2025_11_25)
        {
            return Self::None;
        }
        if is_new(context) {
            return Self::InputRequired;
        }
        let parts = context.extensions.get::<Parts>();
        match parts.is_some_and(|parts| parts.extensions.get::<JsonOnly>().is_some()) {
            true => Self::None,
            false => Self::Beside,
        }
    }
}

/// Returns what has a client show the page of an approval.
fn page(pending: &PendingApproval) -> Option<ElicitRequestParams> {
    Some(ElicitRequestParams::UrlElicitationParams {
        meta: None,
        message: "This call needs your approval. Decide on the inbox page; you may have to sign in there."
            .into(),
        url: pending.way.page.clone()?,
        elicitation_id: pending.id.clone(),
    })
}

/// Has a client show the page of an approval, and does not wait for it.
pub(super) fn show_page(elicitation: Elicitation, pending: &PendingApproval) {
    let Some(page) = page(pending) else { return };
    tokio::spawn(async move {
        let Ok(_open) = elicitation.open.try_acquire() else { return };
        let Ok(_of_all) = elicitation.open_of_all.try_acquire() else { return };
        // What it answers decides nothing.
        let _ = elicitation.peer.create_elicitation_with_timeout(page, Some(PATIENCE)).await;
    });
}

/// Returns the result that makes a client show the page of an approval, if the page is served.
pub(super) fn page_required(pending: &PendingApproval) -> Option<InputRequiredResult> {
    let request = InputRequest::Elicitation(ElicitRequest::new(page(pending)?));
    let requests = InputRequests::from([(KEY.to_owned(), request)]);
    Some(InputRequiredResult::new(Some(requests), Some(pending.way.handle.clone())))
}

/// Returns whether a request uses protocol 2026-07-28 or later.
pub(super) fn is_new(context: &RequestContext<RoleServer>) -> bool {
    let version = context.protocol_version();
    version.is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// Asks a client while the call waits.
pub(super) struct Elicitation {
    pub(super) peer: Peer<RoleServer>,
    /// How many more questions may be open at this client.
    pub(super) open: Arc<Semaphore>,
    /// How many more questions may be open at all clients.
    pub(super) open_of_all: Arc<Semaphore>,
    /// Tells the person who runs the server.
    pub(super) notice: Box<dyn Fn(&str) + Send + Sync>,
    /// Returns whether the rules are unchanged since the call was checked.
    pub(super) still_holds: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Approver for Elicitation {
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async move {
            let Ok(_open) = self.open.try_acquire() else { return Answer::Nobody };
            let Ok(_of_all) = self.open_of_all.try_acquire() else { return Answer::Nobody };
            let asked = self.peer.create_elicitation_with_timeout(form(question), Some(PATIENCE));
            match asked.await {
                // The person approved the call under the old rules.
                Ok(result) if (self.still_holds)() => answer_of(&result),
                Ok(_) => Answer::Nobody,
                Err(error) => {
                    (self.notice)(&format!(
                        "an MCP client did not answer an approval request, which stays pending: \
                         {error}"
                    ));
                    Answer::Nobody
                }
            }
        })
    }

    fn channel(&self) -> Channel {
        Channel::Elicitation
    }
}

/// Keeps the stored question for an `input_required` result.
#[derive(Default)]
pub(super) struct Deferred(Mutex<Option<(Question, PendingApproval)>>);

impl Approver for Deferred {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(std::future::ready(Answer::Nobody))
    }

    fn channel(&self) -> Channel {
        Channel::Elicitation
    }

    fn stored(&self, question: &Question, pending: &PendingApproval) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some((question.clone(), pending.clone()));
    }
}

impl Deferred {
    /// Returns the result that makes the client ask, if a question was stored.
    pub(super) fn input_required(self: Arc<Self>) -> Option<InputRequiredResult> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (question, pending) = kept?;
        let request = InputRequest::Elicitation(ElicitRequest::new(form(&question)));
        let requests = InputRequests::from([(KEY.to_owned(), request)]);
        Some(InputRequiredResult::new(Some(requests), Some(pending.way.handle)))
    }
}

/// Takes the handle of the stored question and its answer out of a request. Returns `None` in any
/// other mode than [`AskMode::InputRequired`].
pub(super) fn given(
    mode: &AskMode,
    request: &mut CallToolRequestParams,
) -> Option<(String, Answer)> {
    if !matches!(mode, AskMode::InputRequired) {
        return None;
    }
    let state = request.request_state.take();
    let responses = request.input_responses.take();
    let answer = responses
        .and_then(|mut responses| responses.remove(KEY))
        .and_then(|response| serde_json::from_value::<ElicitResult>(response).ok())
        .map_or(Answer::Nobody, |result| answer_of(&result));
    Some((state?, answer))
}

/// Returns a person's answer. Only an explicit yes approves, and only an explicit no declines: clients
/// also send a bare `decline` or `cancel` without asking anyone.
fn answer_of(result: &ElicitResult) -> Answer {
    let approve = result.content.as_ref().and_then(|content| content[APPROVE].as_bool());
    match (&result.action, approve) {
        (ElicitationAction::Accept, Some(true)) => Answer::Approved,
        (ElicitationAction::Accept, Some(false)) => Answer::Declined,
        _ => Answer::Nobody,
    }
}

fn form(question: &Question) -> ElicitRequestParams {
    let title = if question.is_destructive { "Permanently delete" } else { "Allow this one call" };
    let approve = BooleanSchema::new()
        .title(title)
        .description("Yes allows this one call, with exactly these arguments.");
    let schema = ElicitationSchema::builder()
        .required_property(APPROVE, PrimitiveSchemaDefinition::Boolean(approve))
        .build_unchecked();
    ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: question.to_string(),
        requested_schema: schema,
    }
}
