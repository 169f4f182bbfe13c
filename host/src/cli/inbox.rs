//! `whereby inbox`: where people decide, on the terminal or as a page.

#[cfg(unix)]
use super::paint::wants_colours;
#[cfg(unix)]
use super::screen::FullScreen;
use super::signal::Signals;
use super::{CommandError, Context, Exit, Output};
use crate::config::Settings;
use crate::error::Error;
use crate::inbox::{Inbox, Link, Listening};
use crate::passkey::code::LIFETIME as PASSKEY_CODE_MS;
use crate::session::Session;
use crate::session::approval::NobodyToAsk;
use crate::session::resume::make_approved_calls;
use serde_json::{Value, json};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;
use whereby_authority::timestamp::Timestamp;

/// The program that opens a file in the browser.
const BROWSER: &str = if cfg!(windows) {
    "explorer"
} else if cfg!(target_os = "macos") {
    "open"
} else {
    "xdg-open"
};

/// Decide on waiting calls, and see what happened
///
/// Shows the calls that wait for approval, the audit log, what each agent may do, and the accounts. Takes
/// the whole terminal; press ? for its keys. With --web, serves the same as a page on this machine: a
/// link signs you in; it works once, within 10 minutes. While it runs, it makes the approved calls of MCP
/// clients.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("what").args(["web", "link", "add_passkey"]),
    after_long_help = "Examples:\n  whereby inbox\n  whereby inbox --web\n  whereby inbox --web --listen 127.0.0.1:8091"
)]
pub(super) struct Opts {
    /// Serve the inbox as a page until Ctrl-C
    #[arg(long)]
    web: bool,
    /// The loopback address of the page; port 0 picks a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", requires = "web",
        conflicts_with_all = ["link", "add_passkey"])]
    listen: SocketAddr,
    /// Open the page in the browser
    #[arg(long, requires = "web", conflicts_with_all = ["link", "add_passkey"])]
    open: bool,
    /// Print another link to the page that is served now, also by `whereby serve`
    #[arg(long)]
    link: bool,
    /// Print a code that adds a passkey on the page; it works once, within 10 minutes
    #[arg(long)]
    add_passkey: bool,
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        if self.link {
            let link = inbox(context)?.link_of_page()?;
            return Ok(Output::text(shown(&link), json!({"link": document(&link)})));
        }
        if self.add_passkey {
            let store = context.store()?;
            let code = store.new_passkey_code()?;
            let expires = context.environment.clock.unix_ms().saturating_add(PASSKEY_CODE_MS);
            let page = store.page().and_then(|page| page.join("passkeys").ok());
            let place = match &page {
                Some(page) => format!("at {page}"),
                None => {
                    "on the inbox page under Passkeys (to serve it: whereby inbox --web)".into()
                }
            };
            return Ok(Output::text(
                format!("{code}\nEnter this code {place}. It works once, within 10 minutes.\n"),
                json!({
                    "code": code,
                    "url": page.map(String::from),
                    "expires_at": Timestamp::of_unix_ms(expires).map(Timestamp::to_rfc3339),
                }),
            ));
        }
        if !self.web {
            return Ok(Output::Nothing(on_terminal(context).await?));
        }
        let mut signals = Signals::listen(&context.streams);
        let session = context.session_asking(context.settings()?, Arc::new(NobodyToAsk))?;
        let listening = Arc::new(inbox(context)?.listen(self.listen).await?);
        let link = listening.link()?;
        let is_at_terminal = context.streams.stdin_is_terminal && !context.global.json;
        let shown = if context.global.json {
            json!({"inbox": {"url": listening.url(), "link": document(&link)}}).to_string() + "\n"
        } else {
            let more = if is_at_terminal { "\nPress Enter for another link.\n" } else { "" };
            format!("inbox at {}, until Ctrl-C\n\n{}{more}", listening.url(), shown(&link))
        };
        print(context, &shown)?;
        // Removed when the program ends.
        let _opened = if self.open { open(context, &link.url) } else { None };
        if is_at_terminal {
            let (context, listening) = (context.clone(), Arc::downgrade(&listening));
            // The thread waits for the terminal until the program ends.
            tokio::task::spawn_blocking(move || {
                while context.streams.read_line().is_ok() {
                    let Some(listening) = listening.upgrade() else { return };
                    // If standard output is closed, nobody asks for links any more.
                    if another(&context, &listening).is_err() {
                        return;
                    }
                }
            });
        }
        let warner = context.warner();
        let stop = CancellationToken::new();
        let stopping = async {
            signals.next().await;
            drop(listening);
            stop.cancel();
        };
        // Calls that are under way end before the program does.
        let making = make_approved_calls(stop.clone(), || current(context, &session), warner);
        tokio::join!(stopping, making);
        Ok(Output::Nothing(Exit::Success))
    }
}

/// Returns the session with the rules and keys of the moment. Without them, no call is made.
fn current(context: &Context, session: &Session) -> Option<Session> {
    let settings = Settings::load(context.global.config.as_deref(), &context.environment).ok()?;
    session.with_settings(settings).ok()
}

/// Returns the inbox of this user.
pub(super) fn inbox(context: &Context) -> Result<Inbox, Error> {
    let config = context.global.config.clone();
    Ok(Inbox::new(context.store()?, context.environment.clone(), config))
}

pub(super) fn document(link: &Link) -> Value {
    let expires = Timestamp::of_unix_ms(link.expires_at).map(Timestamp::to_rfc3339);
    json!({"url": link.url, "expires_at": expires})
}

/// Opens a link in the browser, with a warning if that fails. Other users see the arguments of programs,
/// so the browser gets a file that only this user can read, and that leads to the link. Returns the file.
fn open(context: &Context, link: &str) -> Option<NamedTempFile> {
    let failed = |what: &str, error: io::Error| {
        context.warn(&format!("{what}, so open the link yourself: {error}"));
    };
    let page = format!(
        "<!DOCTYPE html><meta charset=\"utf-8\"><title>Whereby inbox</title>\
         <meta http-equiv=\"refresh\" content=\"0; url={link}\"><a href=\"{link}\">Open the inbox</a>\n"
    );
    let written = tempfile::Builder::new().prefix("whereby-inbox-").suffix(".html").tempfile();
    let written = written.and_then(|mut file| {
        file.write_all(page.as_bytes())?;
        file.flush().map(|()| file)
    });
    let file = match written {
        Ok(file) => file,
        Err(error) => {
            failed("the file for the browser cannot be written", error);
            return None;
        }
    };
    let browser = Command::new(BROWSER)
        .arg(file.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match browser {
        // It ends by itself.
        Ok(mut browser) => drop(std::thread::spawn(move || browser.wait())),
        Err(error) => failed(&format!("{BROWSER} cannot be started"), error),
    }
    Some(file)
}

/// Shows the inbox on the terminal until the person quits.
async fn on_terminal(context: &Context) -> Result<Exit, Error> {
    let Context { streams, environment, global, .. } = context;
    let is_terminal = streams.is_process && streams.stdin_is_terminal && streams.stdout_is_terminal;
    let is_plain = environment.variable("TERM").is_none_or(|term| term == "dumb");
    if !is_terminal || is_plain || environment.is_ci() || global.json {
        return Err(Error::usage(
            "the inbox needs a terminal; run: whereby inbox --web, or: whereby approvals list",
        ));
    }
    show(context, inbox(context)?).await
}

#[cfg(unix)]
async fn show(context: &Context, inbox: Inbox) -> Result<Exit, Error> {
    let screen = FullScreen::take(&context.streams).map_err(|error| {
        Error::internal(format!("the terminal cannot be used: {error}; run: whereby inbox --web"))
    })?;
    let session = context.session_asking(context.settings()?, Arc::new(NobodyToAsk))?;
    let stop = CancellationToken::new();
    let showing = async {
        let shown = inbox.show(screen, wants_colours(&context.environment)).await;
        stop.cancel();
        shown
    };
    // What it could not make is in the log, and a notice would spoil the screen.
    let making = make_approved_calls(stop.clone(), || current(context, &session), |_: &str| {});
    tokio::join!(showing, making).0
}

#[cfg(not(unix))]
async fn show(_: &Context, _: Inbox) -> Result<Exit, Error> {
    Err(Error::usage("the inbox is no screen on this system; run: whereby inbox --web"))
}

fn another(context: &Context, listening: &Listening) -> Result<(), Error> {
    print(context, &shown(&listening.link()?))
}

pub(super) fn shown(link: &Link) -> String {
    format!("Open this link to sign in. It works once, within 10 minutes:\n  {}\n", link.url)
}

fn print(context: &Context, text: &str) -> Result<(), Error> {
    let failed =
        |error| Error::internal(format!("cannot write the link to standard output: {error}"));
    context.streams.print(text).map_err(failed)
}
