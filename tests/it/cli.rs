//! The program as it is seen from outside: what it prints, where, and how it ends.

mod approvals;
mod audit;
mod calls;
mod configure;
mod configure_refused;
mod discovery;
mod doctor;
mod hostile_text;
mod pages;
mod prompt;
mod shell;
mod state;
mod terminal;
mod usage;

use crate::wire::{ALLOW_ALL, hours, meeting};
use serde_json::Value;
use time::macros::datetime;
use whereby::simulator::{Options, OrganizationSeed, ParticipantSeed, RoomSeed, Seed, SeededRoom};
use whereby_tests::{Ran, World};

/// Runs a command that ends with this exit code.
pub(crate) async fn ran(world: &World, arguments: &[&str], code: u8) -> Ran {
    let ran = world.run(arguments).await;
    assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
    ran
}

/// A world whose clock stands still, with a room `daily` and a meeting in it.
async fn still_world() -> (World, SeededRoom) {
    let organization = OrganizationSeed::new("acme-demo", Seed::Rooms(Vec::new()));
    let options = Options {
        organizations: vec![organization],
        now: Some(datetime!(2026-03-02 12:00 UTC)),
        ..Options::default()
    };
    let world = World::with(options).await;
    world.configure(ALLOW_ALL);
    world.simulator.add_room(0, &RoomSeed::named("weekly").created(hours(100)));
    let session = meeting(hours(24)).recorded().participant(ParticipantSeed::anonymous());
    let room = RoomSeed::named("daily").created(hours(48)).session(session);
    let room = world.simulator.add_room(0, &room);
    (world, room)
}

/// A document of what commands printed, to be compared with the one that was approved.
struct Screen<'a> {
    world: &'a World,
    text: String,
}

impl<'a> Screen<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, text: String::new() }
    }

    /// Runs a command and adds what came of it.
    async fn run(&mut self, arguments: &[&str]) -> Ran {
        let ran = self.world.run(arguments).await;
        self.add(arguments, &ran);
        ran
    }

    fn add(&mut self, arguments: &[&str], ran: &Ran) {
        let command: Vec<String> = arguments
            .iter()
            .map(|word| match word.contains([' ', '"', '{', '[', '\'']) || word.is_empty() {
                true => format!("'{word}'"),
                false => (*word).to_owned(),
            })
            .collect();
        self.text += &format!("$ whereby {}\n", command.join(" "));
        self.text += &self.filtered(&readable(&ran.stdout));
        for line in self.filtered(&ran.stderr).lines() {
            self.text += &format!("stderr: {line}\n");
        }
        self.text += &format!("exit {}\n\n", ran.code);
    }

    /// The text without what differs from run to run.
    fn filtered(&self, text: &str) -> String {
        let home = self.world.path("");
        let home = home.display().to_string();
        let address = self.world.simulator.address().to_string();
        let text = text.replace(home.trim_end_matches('/'), "HOME");
        without_ids(&text.replace(&address, "127.0.0.1:PORT"))
    }

    fn finish(self, name: &str) {
        assert!(!self.text.contains(self.world.simulator.token()), "the token was printed");
        let control = self.text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "a control character was printed");
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, self.text));
    }
}

/// The text with the ids of approvals, which are random, left out.
fn without_ids(text: &str) -> String {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_hex) {
        let (before, after) = rest.split_at(at);
        let end = after.find(|c| !is_hex(c)).unwrap_or(after.len());
        shown += before;
        shown += if end == 32 { "ID" } else { &after[..end] };
        rest = &after[end..];
    }
    shown + rest
}

/// The text with one and the same date in the place of every date that has milliseconds.
fn without_dates(text: &str) -> String {
    const FORM: &str = "0000-00-00T00:00:00.000Z";
    let fits = |part: &[u8]| {
        part.iter().zip(FORM.bytes()).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => *byte == form,
        })
    };
    let mut bytes = text.as_bytes().to_vec();
    for at in 0..=bytes.len().saturating_sub(FORM.len()) {
        let end = (at + FORM.len()).min(bytes.len());
        if end - at == FORM.len() && fits(&bytes[at..end]) {
            bytes[at..end].copy_from_slice(FORM.as_bytes());
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// A document spread over lines, its duration left out; any other text as it is.
fn readable(stdout: &str) -> String {
    let Ok(mut document) = serde_json::from_str::<Value>(stdout) else { return stdout.to_owned() };
    if !stdout.starts_with('{') {
        return stdout.to_owned();
    }
    if let Some(duration) = document.get_mut("duration_ms") {
        assert!(duration.as_f64().is_some_and(|ms| ms >= 0.0), "{duration}");
        *duration = "…".into();
    }
    let mut text = serde_json::to_string_pretty(&document).expect("JSON");
    text.push('\n');
    text
}

/// Checks that a command printed exactly one document of a call, with every member.
fn assert_call_document(ran: &Ran) -> Value {
    assert_eq!(ran.stdout.matches('\n').count(), 1, "one line: {ran:?}");
    let document = ran.json();
    let members = |value: &Value| -> Vec<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    assert_eq!(
        members(&document),
        ["function", "success", "data", "error", "meta", "duration_ms"],
        "{document}"
    );
    assert_eq!(
        members(&document["meta"]),
        ["account", "operation", "dry_run", "permission", "forced", "approval_id", "requests"]
    );
    let success = document["success"] == true;
    assert_eq!(success, ran.code == 0, "{ran:?}");
    assert_eq!(document["error"].is_null(), success);
    if !success {
        assert_eq!(
            members(&document["error"]),
            [
                "kind",
                "message",
                "retryable",
                "effect",
                "http_status",
                "retry_after_seconds",
                "hint"
            ]
        );
    }
    document
}
