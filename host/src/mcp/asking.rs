//! Two ways of asking a person by way of an MCP client, over one approval.
//!
//! Before protocol 2026-07-28 the server asks while the call waits (`elicitation/create`). Since then
//! it answers that input is required, with a handle; the client asks, and makes the call again with the
//! answer. Either proves what the client asserts and no more, and `permissions.elicitation` can forbid
//! both. The handle is the id of the stored approval, which is bound to the very call.

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

/// How long a client may take to answer while the call waits.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How many questions may be open at a client; what is more is stored to be approved elsewhere.
pub(super) const MOST_OPEN: usize = 8;

/// The key of the one input request, and of its answer.
const KEY: &str = "approval";

/// The member of the form by which a person approves.
const APPROVE: &str = "approve";

/// How the client of a request can be asked.
pub(super) enum Way {
    /// Not at all.
    None,
    /// While the call waits.
    Waiting,
    /// By an answer that says that input is required.
    InputRequired,
}

impl Way {
    pub(super) fn of(context: &RequestContext<RoleServer>) -> Self {
        // Before this protocol there were no such requests.
        let version = context.protocol_version();
        if version.is_none_or(|version| version < ProtocolVersion::V_2025_06_18) {
            return Self::None;
        }
        // A client that takes no stream gets the answer and nothing before it.
        let parts = context.extensions.get::<Parts>();
        if parts.is_some_and(|parts| parts.extensions.get::<JsonOnly>().is_some())
            && !is_new(context)
        {
            return Self::None;
        }
        let capabilities = context.client_capabilities();
        let elicitation = capabilities.as_ref().and_then(|known| known.elicitation.as_ref());
        // A client that names no mode has forms, the first that there were.
        let has_forms =
            elicitation.is_some_and(|known| known.form.is_some() || known.url.is_none());
        match (has_forms, is_new(context)) {
            (false, _) => Self::None,
            (true, false) => Self::Waiting,
            (true, true) => Self::InputRequired,
        }
    }
}

/// Whether a request is of protocol 2026-07-28 or later.
pub(super) fn is_new(context: &RequestContext<RoleServer>) -> bool {
    let version = context.protocol_version();
    version.is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// Asks by way of a client while the call waits.
pub(super) struct Elicitation {
    pub(super) peer: Peer<RoleServer>,
    /// What is left of [`MOST_OPEN`].
    pub(super) open: Arc<Semaphore>,
    /// How many more questions may be open at all clients together.
    pub(super) open_of_all: Arc<Semaphore>,
    /// Tells the person who runs the server.
    pub(super) notice: Box<dyn Fn(&str) + Send + Sync>,
    /// Says whether the rules are still those under which it is asked.
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
                // A person's yes was to a call under the rules of then.
                Ok(result) if (self.still_holds)() => answer_of(&result),
                Ok(_) => Answer::Nobody,
                // A client that cannot be asked has nobody who answers.
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

/// Keeps the question for the client to ask, once it is stored.
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
    /// The answer that asks the client, where a question was stored.
    pub(super) fn input_required(self: Arc<Self>) -> Option<InputRequiredResult> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (question, pending) = kept?;
        let request = InputRequest::Elicitation(ElicitRequest::new(form(&question)));
        let requests = InputRequests::from([(KEY.to_owned(), request)]);
        Some(InputRequiredResult::new(Some(requests), Some(pending.handle)))
    }
}

/// The handle of the stored question and its answer, where the request brings them. A client that is
/// not asked in this way answers nothing.
pub(super) fn given(way: &Way, request: &mut CallToolRequestParams) -> Option<(String, Answer)> {
    if !matches!(way, Way::InputRequired) {
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

/// Only a person's explicit yes approves, and only an explicit no declines: clients send a bare
/// `decline` or `cancel` by themselves, which is nobody's answer.
fn answer_of(result: &ElicitResult) -> Answer {
    let approve = result.content.as_ref().and_then(|content| content[APPROVE].as_bool());
    match (&result.action, approve) {
        (ElicitationAction::Accept, Some(true)) => Answer::Approved,
        (ElicitationAction::Accept, Some(false)) => Answer::Declined,
        _ => Answer::Nobody,
    }
}

fn form(question: &Question) -> ElicitRequestParams {
    let title = match question.is_destructive {
        true => "Delete for ever",
        false => "Allow this one call",
    };
    let approve = BooleanSchema::new()
        .title(title)
        .description("Yes lets this one call be made, with exactly these arguments.");
    let schema = ElicitationSchema::builder()
        .required_property(APPROVE, PrimitiveSchemaDefinition::Boolean(approve))
        .build_unchecked();
    ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: question.to_string(),
        requested_schema: schema,
    }
}
