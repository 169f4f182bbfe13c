//! `whereby demo`: shows the functions and the rules that limit them, without an account.

use super::call::split_name;
use super::render::{self, Look};
use super::{CommandError, Context, Output, table};
use crate::config::credentials::TokenSource;
use crate::config::environment::Environment;
use crate::config::origin::ApiBase;
use crate::config::{Account, Settings};
use crate::error::Error;
use crate::session::Session;
use crate::session::approval::{Answer, Approver, Question};
use crate::session::call::Call;
use crate::simulator::{Options, OrganizationSeed, RoomSeed, Seed, Simulator};
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use whereby_authority::policy::{Entry, Permission};
use whereby_authority::text;

/// Call every function against a simulated Whereby; no account needed
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  whereby demo\n  whereby demo --json")]
pub(super) struct Opts {}

/// Approves every call, in place of a person.
#[derive(Default)]
struct AlwaysApprove(AtomicUsize);

impl Approver for AlwaysApprove {
    fn ask<'a>(&'a self, _: &'a Question) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Answer::Approved))
    }
}

/// The state of the demo.
struct Demo {
    session: Session,
    approver: Arc<AlwaysApprove>,
    steps: Vec<Value>,
    look: Look,
    /// The output for people. Text from outside is made printable first.
    text: String,
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        let internal = |error: std::io::Error| {
            Error::internal(format!("the simulator could not be started: {error}"))
        };
        let simulator = Simulator::start(Options {
            organizations: vec![
                OrganizationSeed::new("acme-demo", Seed::Demo),
                OrganizationSeed::new(
                    "school-demo",
                    Seed::Rooms(vec![RoomSeed::prefixed("lesson-")]),
                ),
            ],
            ..Options::default()
        })
        .await
        .map_err(internal)?;
        let approver = Arc::new(AlwaysApprove::default());
        let session = Session::builder()
            .settings(settings(&simulator)?)
            .environment(Environment {
                compiled_code: (context.compiled_code)(&context.environment),
                ..Environment::empty()
            })
            .approver(Arc::clone(&approver) as Arc<dyn Approver>)
            .cache(context.environment.platform_directory("cache"))
            .build()?;
        let mut demo = Demo {
            session,
            approver,
            steps: Vec::new(),
            look: context.look().indented(2),
            text: String::new(),
        };
        demo.show(&simulator).await?;
        let requests = simulator.requests().len();
        let connections = simulator.connections();
        let zone = match demo.look.zone_line() {
            zone if zone.is_empty() => zone,
            zone => zone + "\n",
        };
        demo.say(&format!(
            "\n{zone}{} calls, each in a fresh sandbox; {requests} requests over {connections} connection{}.\n\
             Next: give it your API key with `whereby configure --token-stdin`, then run\n\
             `whereby call list_rooms`. Or try every command against `whereby simulate`.\n",
            demo.steps.len(),
            if connections == 1 { "" } else { "s" }
        ));
        let Demo { steps, text, .. } = demo;
        simulator.stop().await;
        Ok(Output::text(text, json!({"steps": steps})))
    }
}

/// Returns settings with two accounts: `work` with the default permissions, and `school`, which may not
/// create rooms.
fn settings(simulator: &Simulator) -> Result<Settings, Error> {
    let api = ApiBase::parse(&simulator.url()).map_err(Error::internal)?;
    let mut settings = Settings { default_account: Some("work".into()), ..Settings::default() };
    for (name, token) in ["work", "school"].into_iter().zip(simulator.tokens()) {
        let account = Account::new(TokenSource::literal(token), api.clone());
        settings.accounts.insert(name.into(), account);
    }
    let deny = Entry::new(Permission::Deny, 0);
    let school = settings.policy.own.accounts.entry("school".into()).or_default();
    school.functions.insert("create_room".into(), deny);
    Ok(settings)
}

impl Demo {
    async fn show(&mut self, simulator: &Simulator) -> Result<(), Error> {
        let beginning = format!(
            "A simulated Whereby runs at {}. The component runs in a sandbox. It never sees the API key, \
             and it can send only the requests that each call allows.",
            simulator.url()
        );
        self.say(&table::paragraph(&beginning, &self.look));
        self.call("Whose key is this?", "whereby.get_current_user", json!({})).await?;
        let rooms = self.call("The rooms.", "whereby.list_rooms", json!({"limit": 3})).await?;
        let room = json!({"room_name": member(&rooms, "/data/0/roomName")?});
        self.call("One room, by its name.", "whereby.get_room", room).await?;
        let title = "Past meetings, of all rooms.";
        let meetings = self.call(title, "whereby.list_meetings", json!({"limit": 5})).await?;
        let meeting = json!({"meeting_id": member(&meetings, "/data/0/id")?});
        self.call("Who was there?", "whereby.get_meeting", meeting).await?;
        let title = "The account `school` may not create rooms. Nothing is sent.";
        self.call(title, "whereby.school.create_room", json!({})).await?;
        let title = "The account `work` needs a person's approval to write. Here, it is given.";
        let room = json!({"room_name_prefix": "demo-"});
        let created = self.call(title, "whereby.create_room", room).await?;
        let room = json!({"room_name": member(&created, "/roomName")?});
        self.call("Deleting the room needs approval, too.", "whereby.delete_room", room).await?;
        let title = "The account `school` sees its own rooms.";
        self.call(title, "whereby.school.list_rooms", json!({})).await?;
        Ok(())
    }

    /// Makes a call and shows its result, or why it is denied. Returns the result.
    async fn call(&mut self, title: &str, name: &str, arguments: Value) -> Result<Value, Error> {
        let shown = text::printable(&arguments.to_string(), 200);
        let number = self.steps.len() + 1;
        self.say(&format!("\n{number}. {title}\n$ whereby call {name} '{shown}'\n"));
        let (account, function) = split_name(name);
        let asked = self.approver.0.load(Ordering::Relaxed);
        let call = Call::new(function, arguments.clone()).account(account);
        let outcome = self.session.run(call).await;
        if self.approver.0.load(Ordering::Relaxed) > asked {
            self.say("  (a person approves)\n");
        }
        self.steps.push(json!({
            "title": title,
            "account": outcome.account,
            "function": function,
            "arguments": arguments,
            "data": outcome.result.as_ref().ok(),
            "error": outcome.result.as_ref().err().map(|error| error.to_json(outcome.write)),
            "requests": outcome.requests.len(),
        }));
        let (data, shown) = match outcome.result {
            Ok(data) => {
                let shown = render::body(&data, &self.look);
                (data, shown)
            }
            Err(error @ Error::Denied { .. }) => {
                let message = text::printable_lines(&error.to_string());
                let message = format!("{}: {message}", error.kind());
                (Value::Null, table::paragraph(&message, &self.look))
            }
            Err(error) => return Err(error),
        };
        let indented = |line: &str| format!("  {line}").trim_end().to_owned() + "\n";
        self.say(&shown.lines().map(indented).collect::<String>());
        Ok(data)
    }

    fn say(&mut self, what: &str) {
        self.text.push_str(what);
    }
}

fn member(value: &Value, pointer: &str) -> Result<String, Error> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| Error::internal(format!("the demo found no {pointer} in a result")))
}
