//! The functions as an MCP client finds them: one that is in this process, by the official SDK.

mod asking;
mod calls;
pub(crate) mod http;
mod protocol;
pub(crate) mod raw;
pub(crate) mod resume;
mod schemas;
mod scripts;
mod settings;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams,
    ElicitResult, ElicitationAction, Implementation, ProgressNotificationParam, ProtocolVersion,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient, RunningService};
use rmcp::{ClientHandler, ErrorData, ServiceExt as _};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use whereby::mcp::Server;
use whereby::simulator::{ParticipantSeed, SessionSeed};
use whereby::{Error, Settings};
use whereby_tests::World;

/// What a client says when it is asked, and what it was told.
#[derive(Clone)]
struct Client {
    /// Absent where it cannot be asked.
    answer: Option<ElicitResult>,
    version: ProtocolVersion,
    /// Done before it answers.
    before_answer: Option<Arc<dyn Fn() + Send + Sync>>,
    asked: Arc<Mutex<Vec<ElicitRequestParams>>>,
    tools_changed: Arc<Notify>,
    progress: mpsc::UnboundedSender<ProgressNotificationParam>,
}

type Progress = mpsc::UnboundedReceiver<ProgressNotificationParam>;

impl Client {
    fn new(answer: Option<ElicitResult>) -> (Self, Progress) {
        let (progress, received) = mpsc::unbounded_channel();
        let client = Self {
            answer,
            version: ProtocolVersion::V_2025_06_18,
            before_answer: None,
            asked: Arc::default(),
            tools_changed: Arc::default(),
            progress,
        };
        (client, received)
    }

    /// What it was asked, in the words that a person reads.
    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let message = |asked: &ElicitRequestParams| match asked {
            ElicitRequestParams::FormElicitationParams { message, requested_schema, .. } => {
                let required = requested_schema.required.as_deref();
                assert_eq!(required, Some(&["approve".to_owned()][..]));
                message.clone()
            }
            other => panic!("another form: {other:?}"),
        };
        asked.iter().map(message).collect()
    }
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let capabilities = match self.answer {
            Some(_) => ClientCapabilities::builder().enable_elicitation().build(),
            None => ClientCapabilities::default(),
        };
        ClientConfig::new(capabilities, Implementation::new("tester", "1.0"))
            .with_protocol_version(self.version.clone())
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        if let Some(before_answer) = &self.before_answer {
            before_answer();
        }
        Ok(self.answer.clone().expect("it can be asked"))
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.tools_changed.notify_one();
    }

    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let _ = self.progress.send(progress);
    }
}

/// A name with what some readers take for the end of a line, and with what acts on a terminal.
const NAME: &str = "a\u{2028}\u{2029}\u{85}\u{9b}\u{7f}\u{202e}\u{feff}\u{e0041}b";

/// A world with a meeting in which somebody is called so, and its id.
async fn meeting_of_name() -> (World, String) {
    let world = World::with_rooms(vec![crate::wire::daily()]).await;
    let meeting = SessionSeed::began(crate::wire::hours(20))
        .participant(ParticipantSeed::named(NAME))
        .participant(ParticipantSeed::named("Tomasz Wren").joined_after(Duration::from_mins(1)));
    let session = world.simulator.add_session(0, "daily", &meeting).expect("a session");
    (world, format!("daily:{session}"))
}

/// What a client that approves everything is asked and told when it calls a function.
pub(crate) async fn questions(world: &World, function: &str, arguments: Value) -> String {
    let (client, _progress) = Client::new(accepts(true));
    let connected = Connected::new(world, client.clone()).await;
    let result = connected.call(&format!("whereby_{function}"), arguments).await;
    connected.end().await;
    format!("{:?} {result:?}", client.asked())
}

/// Calls a function as a client whose person says no.
pub(crate) async fn refuses(world: &World, function: &str, arguments: Value) {
    let (client, _progress) = Client::new(accepts(false));
    let connected = Connected::new(world, client).await;
    let error = connected.fail(&format!("whereby_{function}"), arguments).await;
    connected.end().await;
    assert_eq!(error["kind"], "denied");
}

/// Sends one request to a server as a client of its own, and returns the result.
pub(crate) async fn ask(server: Server, method: &str, params: Value) -> Value {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (read, write) = tokio::io::split(theirs);
    let serving = tokio::spawn(async move { server.serve(read, write).await });
    let (read, mut write) = tokio::io::split(ours);
    let client = json!({"name": "a client", "version": "1"});
    for mut message in [
        json!({"id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}}),
        json!({"method": "notifications/initialized"}),
        json!({"id": 1, "method": method, "params": params}),
    ] {
        message["jsonrpc"] = "2.0".into();
        write.write_all(format!("{message}\n").as_bytes()).await.expect("written");
    }
    let mut lines = BufReader::new(read).lines();
    let result = loop {
        let line = lines.next_line().await.expect("read").expect("an answer");
        let mut answer: Value = serde_json::from_str(&line).expect("JSON");
        if answer["id"] == 1 {
            break answer["result"].take();
        }
    };
    drop((write, lines));
    serving.await.expect("no panic").expect("the server ends well");
    result
}

/// What comes of a call by a client that cannot be asked: its result, or the kind and the text of its
/// error.
pub(crate) async fn attempt(
    world: &World,
    function: &str,
    arguments: Value,
) -> Result<Value, (String, String)> {
    let connected = Connected::new(world, Client::new(None).0).await;
    let result = connected.call(&format!("whereby_{function}"), arguments).await;
    connected.end().await;
    if let Some(content) = result.structured_content {
        return Ok(content);
    }
    let document = &result.meta.expect("a document").0["whereby/error"];
    let kind = document["kind"].as_str().expect("a kind").to_owned();
    Err((kind, result.content[0].as_text().expect("a text").text.clone()))
}

/// The description of a tool.
pub(crate) async fn description(world: &World, name: &str) -> String {
    description_for(world, None, name).await
}

/// The description of a tool as an agent sees it.
pub(crate) async fn description_for(world: &World, agent: Option<&str>, name: &str) -> String {
    let server = Server::builder(world.session()).agent(agent).build();
    let connected = Connected::to(&server, Client::new(None).0).await;
    let tools = connected.tools().await;
    connected.end().await;
    let tool = tools.into_iter().find(|tool| tool.name == name).expect("a tool");
    tool.description.expect("a description").into_owned()
}

fn accepts(approve: bool) -> Option<ElicitResult> {
    let result = ElicitResult::new(ElicitationAction::Accept);
    Some(result.with_content(json!({"approve": approve})))
}

fn answers(action: ElicitationAction) -> Option<ElicitResult> {
    Some(ElicitResult::new(action))
}

/// A server of this user's, which follows the configuration as `whereby mcp` does.
fn server(world: &World) -> Server {
    server_with(world, false)
}

/// The same, with scripts as a tool or without.
fn server_with(world: &World, scripts: bool) -> Server {
    let environment = world.environment();
    let files = Settings::files(None, &environment).expect("known files");
    let reload = move || Settings::load(None, &environment);
    Server::builder(world.session()).reload(files, reload).scripts(scripts).build()
}

/// A client, and the server that serves it.
struct Connected {
    client: RunningService<RoleClient, Client>,
    server: JoinHandle<Result<(), Error>>,
}

impl Connected {
    async fn new(world: &World, client: Client) -> Self {
        Self::to(&server(world), client).await
    }

    async fn to(server: &Server, client: Client) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (read, write) = tokio::io::split(theirs);
        let server = server.clone();
        let server = tokio::spawn(async move { server.serve(read, write).await });
        let client = client.serve(ours).await.expect("the client starts");
        Self { client, server }
    }

    async fn call(&self, tool: &str, arguments: Value) -> CallToolResult {
        let call = self.client.call_tool(params(tool, arguments)).await;
        call.expect("an answer to the call")
    }

    /// Calls a tool that fails: the document of its error.
    async fn fail(&self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await;
        assert_eq!(result.is_error, Some(true), "{result:?}");
        assert!(result.structured_content.is_none());
        let document = result.meta.expect("a document").0["whereby/error"].clone();
        let text = result.content[0].as_text().expect("a text").text.clone();
        let kind = document["kind"].as_str().expect("a kind");
        assert!(text.starts_with(&format!("{kind}: ")), "{text}");
        if let Some(hint) = document["hint"].as_str() {
            assert!(text.contains(hint), "{text}");
        }
        document
    }

    async fn tools(&self) -> Vec<rmcp::model::Tool> {
        self.client.list_all_tools().await.expect("a list")
    }

    /// The client goes away; the server ends by itself.
    async fn end(self) {
        self.client.cancel().await.expect("the client ends");
        self.server.await.expect("no panic").expect("the server ends well");
    }
}

fn params(tool: &str, arguments: Value) -> CallToolRequestParams {
    let Value::Object(arguments) = arguments else { panic!("{arguments} is no object") };
    CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments)
}
