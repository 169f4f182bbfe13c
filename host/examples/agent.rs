//! An agent that runs meetings, and a person at the terminal whom it needs for everything that writes.
//!
//! `cargo run -p whereby-agent --example agent -- --simulate` needs no account. Without `--simulate` it uses
//! the accounts and rules of the program `whereby`: those of its configuration file, else the key in
//! `WHEREBY_ACCESS_TOKEN`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to its user")]

use serde_json::{Value, json};
use std::error::Error;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use whereby::simulator::{self, Simulator};
use whereby::{
    Account, Answer, ApiBase, Approver, Call, Channel, Environment, Question, Session, Settings,
    Store, TokenSource,
};

/// How many calls the agent may make.
const CALLS: usize = 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => run(own_session()?).await,
        [flag] if flag == "--simulate" => {
            let simulator = Simulator::start(simulator::Options::default()).await?;
            run(simulated_session(&simulator)?).await
        }
        _ => Err("usage: agent [--simulate]".into()),
    }
}

/// A session by the user's own configuration, or by the environment where there is none.
fn own_session() -> Result<Session, Box<dyn Error>> {
    let environment = Environment::of_process();
    let settings = Settings::load(None, &environment)?;
    for warning in &settings.warnings {
        eprintln!("warning: {warning}");
    }
    // Where the program `whereby` has them, too: its audit log has the agent's calls.
    let state = environment.platform_directory("state").ok_or("there is no home directory")?;
    let cache = environment.platform_directory("cache");
    let builder = Session::builder().settings(settings).environment(environment);
    Ok(builder.store(Store::new(state)).cache(cache).approver(Arc::new(Terminal)).build()?)
}

/// A session with one account, whose API is the simulator.
fn simulated_session(simulator: &Simulator) -> Result<Session, Box<dyn Error>> {
    let api = ApiBase::parse(&simulator.url())?;
    let account = Account::new(TokenSource::literal(simulator.token()), api);
    let mut settings = Settings::default();
    settings.accounts.insert("simulated".into(), account);
    Ok(Session::builder().settings(settings).approver(Arc::new(Terminal)).build()?)
}

/// The loop: the model says what to call, and is told what came of it, be it a result or an error.
async fn run(session: Session) -> Result<(), Box<dyn Error>> {
    let mut model = Model::default();
    for step in 0..CALLS {
        let Some((function, arguments)) = model.next(step) else { continue };
        println!("{}. {function} {arguments}", step + 1);
        let call = Call::new(function, arguments).asked_by("agent", None);
        let outcome = session.run(call).await;
        if let Some(problem) = &outcome.unrecorded {
            eprintln!("warning: the audit log does not have this call: {problem}");
        }
        match outcome.result {
            Ok(result) => {
                println!("   {result}");
                model.learn(function, &result);
            }
            // A model reads the kind and the hint, and goes on with something else.
            Err(error) => println!("   {}", error.to_json(outcome.write)),
        }
    }
    Ok(())
}

/// Stands in for a language model: it remembers what it has seen, and knows what it wants next.
#[derive(Default)]
struct Model {
    room: Option<String>,
    meeting: Option<String>,
    created: Option<String>,
}

impl Model {
    /// The function and its arguments; nothing where what it is about was never found.
    fn next(&self, step: usize) -> Option<(&'static str, Value)> {
        let created = || self.created.as_deref();
        Some(match step {
            0 => ("get_current_user", json!({})),
            1 => ("list_rooms", json!({"limit": 3})),
            2 => ("get_room", json!({"room_name": self.room.as_deref()?})),
            3 => ("list_meetings", json!({"limit": 3})),
            4 => ("get_meeting", json!({"meeting_id": self.meeting.as_deref()?})),
            5 => ("create_room", json!({"room_name_prefix": "agent-", "fields": ["hostRoomUrl"]})),
            6 => ("get_room", json!({"room_name": created()?})),
            7 => ("delete_room", json!({"room_name": created()?})),
            8 => ("get_room", json!({"room_name": created()?})),
            _ => ("list_rooms", json!({"limit": 3})),
        })
    }

    fn learn(&mut self, function: &str, result: &Value) {
        let text = |pointer| result.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        match function {
            "list_rooms" => self.room = text("/data/0/roomName"),
            "list_meetings" => self.meeting = text("/data/0/id"),
            "create_room" => self.created = text("/roomName"),
            _ => {}
        }
    }
}

/// Asks the person at the terminal. Anything but a yes declines, and so does the end of the input.
struct Terminal;

impl Approver for Terminal {
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        let shown = format!("{question} [y/N] ");
        // A person takes their time, and the threads of the runtime have others to serve.
        let asked = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            std::io::stderr().write_all(shown.as_bytes())?;
            std::io::stdin().read_line(&mut line).map(|_| line)
        });
        Box::pin(async move {
            match asked.await {
                Ok(Ok(line)) if matches!(line.trim(), "y" | "Y" | "yes") => Answer::Approved,
                Ok(Ok(_)) => Answer::Declined,
                Ok(Err(_)) | Err(_) => Answer::Nobody,
            }
        })
    }

    fn channel(&self) -> Channel {
        Channel::Terminal
    }
}
