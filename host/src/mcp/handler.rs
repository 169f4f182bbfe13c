//! Serves the requests of one client.

use super::asking::{self, AskMode, Deferred, Elicitation, MAX_CLIENT_QUESTIONS, PageMode};
use super::logging::Log;
#[cfg(feature = "lua")]
use super::scripts;
use super::server_state::{ServerState, Snapshot};
use super::{icon, message, resources, results, tasks, tools};
use crate::error::Error;
use crate::session::Session;
use crate::session::approval::NobodyToAsk;
use crate::session::call::{Call, Outcome};
use crate::session::resume::Asking;
use crate::store::Asker;
use crate::token::Verified;
use http::request::Parts;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, ClientCapabilities, CustomRequest,
    CustomResult, DiscoverResult, ErrorData, GetTaskParams, GetTaskResult, Implementation,
    JsonObject, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ReadResourceRequestParams,
    ReadResourceResponse, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
    UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use whereby_authority::grant::WriteOutcome;
use whereby_authority::text;

/// The server's instructions to models.
const INSTRUCTIONS: &str = "Manage Whereby video rooms and read past meetings. \
    A call may need a person's approval. If a result says approval-required, tell the person, and wait with \
    whereby_resume: once they have approved the call, it is made by itself, and that tool returns its \
    result. If a call is denied, do not look for a way around it: do only what the result says is allowed.";

/// The maximum number of one client's calls that wait for a person's decision. With
/// [`MAX_CLIENT_QUESTIONS`], they leave a permit for other calls.
const MAX_CLIENT_WAITS: usize = 6;

/// How long a client may use a list or a page of the documentation without asking for it again, in
/// milliseconds. A client that subscribes to changes learns of them at once.
const FRESH_MS: u64 = 60_000;

/// Serves one client.
pub(super) struct Handler {
    state: Arc<ServerState>,
    log: Log,
    /// How many more questions may be open at the client.
    open: Arc<Semaphore>,
    /// How many more of its calls may wait for a person's decision.
    waits: Semaphore,
    /// The client's identity, which has a share of the open approvals.
    asker: Asker,
    /// Whether the client has sent `notifications/initialized`.
    is_initialized: AtomicBool,
    /// Cancelled when the client sends no more requests.
    ended: CancellationToken,
    /// Cancelled when the client is gone.
    gone: CancellationToken,
    _guard: DropGuard,
}

/// The client of a request about a task.
struct TaskCaller {
    session: Session,
    agent: Option<String>,
    token: Option<Arc<Verified>>,
}

impl TaskCaller {
    fn asking<'a>(&'a self, id: &'a str) -> Asking<'a> {
        tasks::asking(id, self.agent.as_deref(), self.token.as_ref())
    }
}

impl Handler {
    /// Creates the handler of a client. `ended` means that the client sends no more requests, and
    /// `gone` that it reads no more responses. The handler cancels `gone` when it is dropped.
    pub(super) fn new(
        state: Arc<ServerState>,
        ended: CancellationToken,
        gone: CancellationToken,
    ) -> Self {
        let guard = gone.clone().drop_guard();
        Self {
            asker: state.next_asker(),
            is_initialized: AtomicBool::new(false),
            state,
            log: Log::default(),
            open: Arc::new(Semaphore::new(MAX_CLIENT_QUESTIONS)),
            waits: Semaphore::new(MAX_CLIENT_WAITS),
            ended,
            gone,
            _guard: guard,
        }
    }

    /// Returns an approver that asks this client during a call. `version` is that of the call's settings.
    fn elicitation(&self, version: u64, context: &RequestContext<RoleServer>) -> Elicitation {
        let (state, told) = (Arc::clone(&self.state), Arc::clone(&self.state));
        Elicitation {
            peer: context.peer.clone(),
            open: Arc::clone(&self.open),
            open_of_all: Arc::clone(&self.state.questions),
            notice: Box::new(move |what| told.notice(what)),
            still_holds: Box::new(move || state.refresh().version == version),
        }
    }

    /// Returns the identity that a call counts against. Over HTTP without a session, each request has a
    /// handler of its own, and all of them share one identity.
    fn asker(&self, context: &RequestContext<RoleServer>) -> Asker {
        let mut asker = self.asker.clone();
        let parts = context.extensions.get::<Parts>();
        if parts.is_some_and(|parts| !parts.headers.contains_key(super::http::SESSION_ID)) {
            asker.client = Some("without a session".into());
        }
        asker
    }

    /// Returns the agent of a request: that of the server, or else that of its capability token.
    fn agent(&self, token: Option<&Arc<Verified>>) -> Option<String> {
        let own = self.state.agent.clone();
        own.or_else(|| token.and_then(|token| token.agent()).map(str::to_owned))
    }

    /// Returns the capability token of a request: over HTTP, the one that the gate has verified.
    fn token(&self, context: &RequestContext<RoleServer>) -> Option<Arc<Verified>> {
        let parts = context.extensions.get::<Parts>();
        let own = parts.and_then(|parts| parts.extensions.get::<Arc<Verified>>());
        own.or(self.state.token.as_ref()).cloned()
    }

    /// Waits until the client cancels the request or is gone.
    async fn cancelled(&self, context: &RequestContext<RoleServer>) {
        tokio::select! {
            () = context.ct.cancelled() => {}
            () = self.gone.cancelled() => {}
        }
    }

    /// Makes a call. Returns `None` if the client cancels it.
    async fn run(
        &self,
        session: &Session,
        call: Call,
        context: &RequestContext<RoleServer>,
    ) -> Option<Outcome> {
        let token = context.meta.get_progress_token();
        let (sender, mut sent) = mpsc::unbounded_channel();
        let call = if token.is_some() {
            call.observer(Arc::new(move |method, path| {
                // The receiver lives as long as the call.
                let _ = sender.send(format!("{method} {path}"));
            }))
        } else {
            call
        };
        let run = session.run(call);
        // Concurrent with the call, which does not wait for a slow client.
        let tell = async {
            let mut count = 0.0;
            while let (Some(token), Some(message)) = (&token, sent.recv().await) {
                count += 1.0;
                let progress = ProgressNotificationParam::new(token.clone(), count);
                // If the client is gone, reading from it fails.
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

    /// Runs a script. Stops it if the client cancels the request.
    #[cfg(feature = "lua")]
    async fn script(
        &self,
        snapshot: &Snapshot,
        arguments: JsonObject,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let ran = match snapshot.session() {
            Ok(session) => {
                let notice = self.state.noticer();
                let elicitation = self.elicitation(snapshot.version, &context);
                let caller = (self.asker(&context), self.token(&context));
                let session = session.clone();
                let agent = self.agent(caller.1.as_ref());
                let run = scripts::run(
                    session,
                    agent.as_deref(),
                    arguments,
                    elicitation,
                    &context,
                    caller,
                    notice,
                );
                tokio::select! {
                    ran = run => ran,
                    () = self.cancelled(&context) => return Err(cancelled()),
                }
            }
            Err(error) => Err(error),
        };
        let result = ran.unwrap_or_else(|error| results::failure(&error, WriteOutcome::None, None));
        Ok(result.into())
    }

    /// Waits for a stored call, and returns its result. Stops if the client cancels the request.
    async fn resume(
        &self,
        session: &Session,
        arguments: JsonObject,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let token = self.token(context);
        let agent = self.agent(token.as_ref());
        let current = || self.state.refresh().session().cloned();
        let resumed = async {
            let (id, mut wait) = tasks::arguments(arguments)?;
            // A call that waits keeps its permit, so only some may.
            let turns = (self.waits.try_acquire(), self.state.waits.try_acquire());
            if turns.0.is_err() || turns.1.is_err() {
                wait = Duration::ZERO;
            }
            let asking = tasks::asking(&id, agent.as_deref(), token.as_ref());
            Ok(session.resume(&asking, wait, &self.state.making, current).await)
        };
        let resumed = tokio::select! {
            resumed = resumed => resumed,
            () = self.cancelled(context) => return Err(cancelled()),
        };
        Ok(match resumed {
            Ok(outcome) => {
                self.tell(&outcome, context).await;
                results::of(outcome).into()
            }
            // The arguments are wrong.
            Err(error) => results::failure(&error, WriteOutcome::None, None).into(),
        })
    }

    /// Returns the session, the agent and the token of a request about a task.
    fn asker_of_task(&self, context: &RequestContext<RoleServer>) -> Result<TaskCaller, ErrorData> {
        if !tasks::has_tasks(context) {
            let wanted = ClientCapabilities::builder().enable_tasks().build();
            return Err(ErrorData::missing_required_client_capability(wanted));
        }
        let snapshot = self.state.refresh();
        let token = self.token(context);
        let (session, agent) = (snapshot.last_session().clone(), self.agent(token.as_ref()));
        Ok(TaskCaller { session, agent, token })
    }

    /// Records a call that is refused before it reaches the session, and returns its outcome.
    async fn refuse(
        &self,
        snapshot: &Snapshot,
        name: &str,
        arguments: JsonObject,
        error: Error,
        context: &RequestContext<RoleServer>,
    ) -> Outcome {
        let call = Call::new(name, Value::Object(arguments))
            .agent(self.state.agent.as_deref())
            .asked_by("mcp", client_name(context).as_deref())
            .traceparent(context.meta.get_traceparent())
            .token(self.token(context).as_ref());
        let outcome = snapshot.last_session().refuse(call, error).await;
        self.tell(&outcome, context).await;
        outcome
    }

    /// Logs a call's outcome to the client, and tells the person who runs the server of audit problems.
    async fn tell(&self, outcome: &Outcome, context: &RequestContext<RoleServer>) {
        if let Some(problem) = &outcome.unrecorded {
            let what = "the audit log is missing part of a call";
            self.state.notice(&format!("{what}: {problem}"));
            // The problem names files, which only the person who runs the server may see.
            self.log.warn(what, context).await;
        }
        self.log.call(outcome, context).await;
    }
}

/// Returns the error of a cancelled call. No client reads it.
fn cancelled() -> ErrorData {
    ErrorData::internal_error("the call was cancelled", None)
}

/// Returns how long a client may use a result without asking for it again, in milliseconds. Protocols
/// before 2026-07-28 have no such member. The SDK adds that the result is for this client only: what is
/// offered depends on the agent and the token.
fn freshness(context: &RequestContext<RoleServer>) -> Option<u64> {
    asking::is_new(context).then_some(FRESH_MS)
}

/// Returns the name and version that the client gives itself.
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
            .enable_tasks()
            .build();
        let own = Implementation::new("whereby", env!("CARGO_PKG_VERSION"))
            .with_title("Whereby")
            .with_website_url(env!("CARGO_PKG_HOMEPAGE"))
            .with_icons(vec![icon::server()]);
        ServerConfig::new(capabilities).with_server_info(own).with_instructions(INSTRUCTIONS)
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        Ok(DiscoverResult::from_server_info(versions, self.get_info()).with_ttl_ms(FRESH_MS))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut listed = ListToolsResult::with_all_items(self.state.refresh().tools.to_vec());
        listed.ttl_ms = freshness(&context);
        Ok(listed)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        // The SDK compares headers with the schema before a call, which itself checks the files.
        self.state.known_tool(name)
    }

    async fn call_tool(
        &self,
        mut request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let snapshot = self.state.refresh();
        #[cfg(feature = "lua")]
        if request.name == scripts::NAME
            && snapshot.tools.iter().any(|tool| tool.name == scripts::NAME)
        {
            let arguments = request.arguments.unwrap_or_default();
            return self.script(&snapshot, arguments, context).await;
        }
        // Rules that ask for nothing any more do not take it from those who wait.
        if request.name == tasks::NAME && snapshot.last_session().stores_approvals() {
            let arguments = request.arguments.unwrap_or_default();
            return self.resume(snapshot.last_session(), arguments, &context).await;
        }
        let mode = AskMode::of(&context);
        let given = asking::given(&mode, &mut request);
        // A client that was shown the page makes the call again.
        let was_shown = request.request_state.take().is_some();
        let page_mode = PageMode::of(&context);
        let mut arguments = request.arguments.take().unwrap_or_default();
        let agent = self.agent(self.token(&context).as_ref());
        let agent = agent.as_deref();
        let function = match tools::function(&request.name, &snapshot.tools) {
            Ok(function) => function,
            Err(message) => {
                let error = Error::usage(message.clone());
                self.refuse(&snapshot, &request.name, arguments, error, &context).await;
                return Err(ErrorData::invalid_params(message, None));
            }
        };
        let prepared = snapshot.session().and_then(|session| {
            let account = tools::take_account(&mut arguments, session.settings(), agent)?;
            Ok((session, account))
        });
        let (session, account) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                let outcome =
                    self.refuse(&snapshot, function.json, arguments, error, &context).await;
                return Ok(results::of(outcome).into());
            }
        };
        let mut call = Call::new(function.json, Value::Object(arguments))
            .agent(agent)
            .asked_by("mcp", client_name(&context).as_deref())
            .traceparent(context.meta.get_traceparent())
            .token(self.token(&context).as_ref())
            .asker(self.asker(&context))
            .resumable();
        if let Some(account) = &account {
            call = call.exact_account(account);
        }
        let deferred = Arc::new(Deferred::default());
        call = match mode {
            AskMode::None => call.approver(Arc::new(NobodyToAsk)),
            AskMode::DuringCall => {
                call.approver(Arc::new(self.elicitation(snapshot.version, &context)))
            }
            AskMode::InputRequired => call.approver(Arc::clone(&deferred) as _),
        };
        let was_asked = given.is_some() || was_shown;
        if let Some((id, answer)) = given {
            call = call.answered(&id, answer);
        }
        let Some(outcome) = self.run(session, call, &context).await else {
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
        if let Err(Error::ApprovalRequired { pending: Some(pending), .. }) = &outcome.result {
            match page_mode {
                PageMode::InputRequired if !was_asked => {
                    if let Some(input_required) = asking::page_required(pending) {
                        return Ok(input_required.into());
                    }
                }
                PageMode::Beside => {
                    asking::show_page(self.elicitation(snapshot.version, &context), pending);
                }
                _ => {}
            }
        }
        if let Err(Error::ApprovalRequired { pending: Some(pending), .. }) = &outcome.result
            && tasks::has_tasks(&context)
        {
            let token = self.token(&context);
            let asking = tasks::asking(&pending.id, agent, token.as_ref());
            match session.lifetime(&asking).await {
                Ok(lifetime) => return Ok(tasks::created(pending, &lifetime).into()),
                // It is the task of a caller with a wider or narrower token.
                Err(Error::Usage { .. }) => {}
                Err(error) => return Err(tasks::not_found(&error)),
            }
        }
        Ok(results::of(outcome).into())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let caller = self.asker_of_task(&context)?;
        let (session, asking) = (&caller.session, caller.asking(&request.task_id));
        tasks::get(session, &asking).await.map(GetTaskResult::new)
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let caller = self.asker_of_task(&context)?;
        let (session, asking) = (&caller.session, caller.asking(&request.task_id));
        // No task asks for input, so no answer is expected.
        session.lifetime(&asking).await.map(drop).map_err(|error| tasks::not_found(&error))
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let caller = self.asker_of_task(&context)?;
        let (session, asking) = (&caller.session, caller.asking(&request.task_id));
        // What a person has decided on already goes on.
        session.withdraw(&asking).await.map(drop).map_err(|error| tasks::not_found(&error))
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
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let functions = self.state.refresh().functions();
        let mut listed = ListResourcesResult::with_all_items(resources::list(&functions));
        listed.ttl_ms = freshness(&context);
        Ok(listed)
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let mut listed = ListResourceTemplatesResult::with_all_items(Vec::new());
        listed.ttl_ms = freshness(&context);
        Ok(listed)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let snapshot = self.state.refresh();
        let settings = snapshot.last_session().settings();
        let found = resources::read(
            &request.uri,
            &snapshot.functions(),
            settings,
            self.state.agent.as_deref(),
        );
        let Some(mut contents) = found else {
            let uri = text::printable(&request.uri, 200);
            let message = format!("unknown resource {uri}; resources/list lists them all");
            let data = json!({"uri": request.uri});
            return Err(ErrorData::resource_not_found(message, Some(data)));
        };
        contents.ttl_ms = freshness(&context);
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

    /// Notifies the client, until it is gone, when the list of tools changes.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        // A client may send this notification repeatedly.
        if self.is_initialized.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut changes = self.state.changes();
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
        let Ok(_open) = self.state.subscriptions.try_acquire() else {
            let message = "too many subscriptions are open on this server; try again later";
            return Err(ErrorData::internal_error(message, None));
        };
        let mut changes = self.state.changes();
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
