//! What one client asks for.

use super::asking::{self, Deferred, Elicitation, MOST_OPEN, Way};
use super::gateway::{Gateway, State};
use super::logging::Log;
#[cfg(feature = "lua")]
use super::scripts;
use super::{message, resources, results, tools};
use crate::error::Error;
use crate::session::approval::NobodyToAsk;
use crate::session::call::{Call, Outcome};
use crate::store::Asker;
use http::request::Parts;
#[cfg(feature = "lua")]
use rmcp::model::JsonObject;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CustomRequest, CustomResult, ErrorData,
    Implementation, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ProgressNotificationParam, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities,
    ServerConfig, SubscriptionFilter, Tool,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
#[cfg(feature = "lua")]
use whereby_authority::grant::WriteOutcome;
use whereby_authority::text;

/// What every client is told about the tools together.
const INSTRUCTIONS: &str = "Video meetings on Whereby: rooms that exist now, and past meetings. \
    A call may need a person's approval. A result that says approval-required \
    names the command with which a person approves the call; then make the very same call again. What \
    is denied stays denied: do what the result says is allowed, and do not try another way.";

/// Serves one client.
pub(super) struct Handler {
    gateway: Arc<Gateway>,
    log: Log,
    /// How many more questions may be open at the client.
    open: Arc<Semaphore>,
    /// Whose share of the open approvals its calls take up.
    asker: Asker,
    /// Whether the client has said that it is initialized.
    is_initialized: AtomicBool,
    /// Ends when the client asks for nothing more.
    ended: CancellationToken,
    /// Ends with the client.
    gone: CancellationToken,
    _guard: DropGuard,
}

impl Handler {
    /// Serves a client until `ended`, from when on it asks for nothing more, or `gone`, from when on
    /// nobody reads an answer. The handler cancels `gone` when it is dropped.
    pub(super) fn new(
        gateway: Arc<Gateway>,
        ended: CancellationToken,
        gone: CancellationToken,
    ) -> Self {
        let guard = gone.clone().drop_guard();
        Self {
            asker: gateway.next_asker(),
            is_initialized: AtomicBool::new(false),
            gateway,
            log: Log::default(),
            open: Arc::new(Semaphore::new(MOST_OPEN)),
            ended,
            gone,
            _guard: guard,
        }
    }

    /// Asks this client while a call waits.
    fn elicitation(&self, context: &RequestContext<RoleServer>) -> Elicitation {
        let gateway = Arc::clone(&self.gateway);
        let version = gateway.version();
        Elicitation {
            peer: context.peer.clone(),
            open: Arc::clone(&self.open),
            open_of_all: Arc::clone(&self.gateway.questions),
            notice: Box::new({
                let gateway = Arc::clone(&self.gateway);
                move |what| gateway.notice(what)
            }),
            still_holds: Box::new(move || gateway.version() == version),
        }
    }

    /// Whose share of the open approvals a call takes up. Over HTTP without a session, each request has
    /// a handler of its own, and all of them have one share.
    fn asker(&self, context: &RequestContext<RoleServer>) -> Asker {
        let mut asker = self.asker.clone();
        let parts = context.extensions.get::<Parts>();
        if parts.is_some_and(|parts| !parts.headers.contains_key(super::http::SESSION_ID)) {
            asker.client = Some("without a session".into());
        }
        asker
    }

    /// Waits until the client does not want an answer any more, or is gone.
    async fn cancelled(&self, context: &RequestContext<RoleServer>) {
        tokio::select! {
            () = context.ct.cancelled() => {}
            () = self.gone.cancelled() => {}
        }
    }

    /// Makes a call, and stops it at once where the client does not want it any more.
    async fn run(&self, call: Call, context: &RequestContext<RoleServer>) -> Option<Outcome> {
        let Ok(session) = self.gateway.state().session().cloned() else { return None };
        let Some(token) = context.meta.get_progress_token() else {
            return tokio::select! {
                outcome = session.run(call) => Some(outcome),
                () = self.cancelled(context) => None,
            };
        };
        let (sender, mut sent) = mpsc::unbounded_channel();
        let call = call.observer(Arc::new(move |method, path| {
            // The receiver lives as long as the call.
            let _ = sender.send(format!("{method} {path}"));
        }));
        let run = session.run(call);
        // The call goes on while a client does not read what it is told.
        let tell = async {
            let mut count = 0.0;
            while let Some(message) = sent.recv().await {
                count += 1.0;
                let progress = ProgressNotificationParam::new(token.clone(), count);
                // A client that is gone is noticed where it is read from.
                let _ = context.peer.notify_progress(progress.with_message(message)).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            outcome = run => Some(outcome),
            () = self.cancelled(context) => None,
            () = tell => None,
        }
    }

    /// Runs a script, and stops it at once where the client does not want it any more.
    #[cfg(feature = "lua")]
    async fn script(
        &self,
        arguments: JsonObject,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let state = self.gateway.state();
        let ran = match state.session() {
            Ok(session) => {
                let notice = self.gateway.noticer();
                let elicitation = self.elicitation(&context);
                let asker = self.asker(&context);
                let session = session.clone();
                let run = scripts::run(session, arguments, elicitation, &context, asker, notice);
                tokio::select! {
                    ran = run => ran,
                    () = self.cancelled(&context) => return Err(cancelled()),
                }
            }
            Err(error) => Err(error.clone()),
        };
        let result = ran.unwrap_or_else(|error| results::failure(&error, WriteOutcome::None, None));
        Ok(result.into())
    }

    /// Takes down a call that is refused before it is one, and returns its outcome.
    async fn refuse(
        &self,
        state: &State,
        request: &CallToolRequestParams,
        error: Error,
        context: &RequestContext<RoleServer>,
    ) -> Outcome {
        let arguments = request.arguments.clone().unwrap_or_default();
        let call = Call::new(request.name.to_string(), Value::Object(arguments))
            .asked_by("mcp", client_name(context).as_deref());
        let outcome = state.last_session().refuse(call, error).await;
        self.tell(&outcome, context).await;
        outcome
    }

    /// Tells the client what came of a call, and whoever runs the server what they should know.
    async fn tell(&self, outcome: &Outcome, context: &RequestContext<RoleServer>) {
        if let Some(problem) = &outcome.unrecorded {
            let what = "the audit log does not have all of a call";
            self.gateway.notice(&format!("{what}: {problem}"));
            // The problem names files, which only the person who runs the server may see.
            self.log.warn(what, context).await;
        }
        self.log.call(outcome, context).await;
    }
}

/// Nobody reads this: the client took the request back, or is gone.
fn cancelled() -> ErrorData {
    ErrorData::internal_error("the call was cancelled", None)
}

/// What the client calls itself.
pub(super) fn client_name(context: &RequestContext<RoleServer>) -> Option<String> {
    context.client_info().map(|client| match client.version.as_str() {
        "" => client.name.clone(),
        version => format!("{} {version}", client.name),
    })
}

impl ServerHandler for Handler {
    #[expect(deprecated, reason = "clients of the protocols before 2026-07-28 want logging")]
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_logging()
            .enable_resources()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        let own = Implementation::new("whereby", env!("CARGO_PKG_VERSION")).with_title("Whereby");
        ServerConfig::new(capabilities).with_server_info(own).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.gateway.state().tools.to_vec()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.gateway.state().tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        mut request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        #[cfg(feature = "lua")]
        if request.name == scripts::NAME && self.get_tool(scripts::NAME).is_some() {
            return self.script(request.arguments.unwrap_or_default(), context).await;
        }
        let state = self.gateway.state();
        let function = match tools::function(&request.name, &state.tools) {
            Ok(function) => function,
            Err(message) => {
                let error = Error::Usage { message: message.clone() };
                self.refuse(&state, &request, error, &context).await;
                return Err(ErrorData::invalid_params(message, None));
            }
        };
        let settings = match state.session() {
            Ok(session) => session.settings(),
            Err(error) => {
                request.name = function.json.into();
                let outcome = self.refuse(&state, &request, error.clone(), &context).await;
                return Ok(results::of(outcome).into());
            }
        };
        let way = Way::of(&context);
        let given = asking::given(&way, &mut request);
        let mut arguments = request.arguments.take().unwrap_or_default();
        let account = match tools::take_account(&mut arguments, settings) {
            Ok(account) => account,
            Err(error) => {
                request.name = function.json.into();
                request.arguments = Some(arguments);
                let outcome = self.refuse(&state, &request, error, &context).await;
                return Ok(results::of(outcome).into());
            }
        };
        let mut call = Call::new(function.json, Value::Object(arguments))
            .asked_by("mcp", client_name(&context).as_deref())
            .asker(self.asker(&context));
        if let Some(account) = &account {
            call = call.exact_account(account);
        }
        let deferred = Arc::new(Deferred::default());
        call = match way {
            Way::None => call.approver(Arc::new(NobodyToAsk)),
            Way::Waiting => call.approver(Arc::new(self.elicitation(&context))),
            Way::InputRequired => call.approver(Arc::clone(&deferred) as _),
        };
        let was_asked = given.is_some();
        if let Some((id, answer)) = given {
            call = call.answered(&id, answer);
        }
        let Some(outcome) = self.run(call, &context).await else {
            return Err(cancelled());
        };
        self.tell(&outcome, &context).await;
        let may_ask =
            outcome.verdict.as_ref().is_some_and(|verdict| verdict.elicitation_denied_by.is_none());
        if matches!(outcome.result, Err(Error::ApprovalRequired { .. }))
            && may_ask
            && !was_asked
            && let Some(input_required) = deferred.input_required()
        {
            return Ok(input_required.into());
        }
        Ok(results::of(outcome).into())
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        Err(message::unknown_method(&request.method))
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::list(&self.gateway.state().functions())))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let Some(contents) = resources::read(&request.uri, &self.gateway.state().functions())
        else {
            let uri = text::printable(&request.uri, 200);
            let message = format!("there is no resource {uri}; resources/list has them all");
            return Err(ErrorData::resource_not_found(message, None));
        };
        Ok(ReadResourceResponse::Complete(contents))
    }

    #[expect(deprecated, reason = "clients of the protocols before 2026-07-28 want logging")]
    async fn set_level(
        &self,
        request: rmcp::model::SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.log.set(request.level);
        Ok(())
    }

    /// Tells the client, as long as it is there, when other tools are to be had.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        // A client may say so again and again.
        if self.is_initialized.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut changes = self.gateway.changes();
        let (peer, gone) = (context.peer, self.gone.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = gone.cancelled() => return,
                    changed = changes.changed() => if changed.is_err() { return },
                }
                if peer.notify_tool_list_changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn accepted_subscription_filter(&self, _: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(SubscriptionFilter::builder().tools_list_changed().build())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let Ok(_open) = self.gateway.subscriptions.try_acquire() else {
            let message = "too many subscriptions are open on this server; try again later";
            return Err(ErrorData::internal_error(message, None));
        };
        let mut changes = self.gateway.changes();
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                () = self.ended.cancelled() => return Ok(()),
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
            }
            if context.sink().notify_tool_list_changed().await.is_err() {
                return Ok(());
            }
        }
    }
}
