//! `whereby inbox`: where people decide, on the terminal or as a page.

#[cfg(unix)]
use super::paint::wants_colours;
#[cfg(unix)]
use super::screen::FullScreen;
use super::signal::Signals;
use super::{CommandError, Context, Exit, Output};
use crate::error::Error;
use crate::inbox::{Inbox, Link, Listening};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use whereby_authority::timestamp::Timestamp;

/// Decide on waiting calls, and see what happened
///
/// Shows the calls that wait for approval, the audit log, what each agent may do, and the accounts. Takes
/// the whole terminal; press ? for its keys. With --web, serves the same as a page on this machine: a
/// link signs you in; it works once, within 10 minutes.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby inbox\n  whereby inbox --web\n  whereby inbox --web --listen 127.0.0.1:8091"
)]
pub(super) struct Opts {
    /// Serve the inbox as a page until Ctrl-C
    #[arg(long)]
    web: bool,
    /// The loopback address of the page; port 0 picks a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", requires = "web")]
    listen: SocketAddr,
    /// Open the page in the browser
    #[arg(long, requires = "web")]
    open: bool,
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        if !self.web {
            return Ok(Output::Nothing(on_terminal(context).await?));
        }
        let mut signals = Signals::listen(&context.streams);
        let inbox = inbox(context)?;
        let listening = Arc::new(inbox.listen(self.listen).await?);
        let link = listening.link()?;
        let is_at_terminal = context.streams.stdin_is_terminal && !context.global.json;
        let shown = if context.global.json {
            let expires = Timestamp::of_unix_ms(link.expires_at).map(Timestamp::to_rfc3339);
            let link = json!({"url": link.url, "expires_at": expires});
            json!({"inbox": {"url": listening.url(), "link": link}}).to_string() + "\n"
        } else {
            let more = if is_at_terminal { "\nPress Enter for another link.\n" } else { "" };
            format!("inbox at {}, until Ctrl-C\n\n{}{more}", listening.url(), shown(&link))
        };
        print(context, &shown)?;
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
        signals.next().await;
        drop(listening);
        Ok(Output::Nothing(Exit::Success))
    }
}

fn inbox(context: &Context) -> Result<Inbox, Error> {
    let config = context.global.config.clone();
    Ok(Inbox::new(context.store()?, context.environment.clone(), config))
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
    inbox.show(screen, wants_colours(&context.environment)).await
}

#[cfg(not(unix))]
async fn show(_: &Context, _: Inbox) -> Result<Exit, Error> {
    Err(Error::usage("the inbox is no screen on this system; run: whereby inbox --web"))
}

fn another(context: &Context, listening: &Listening) -> Result<(), Error> {
    print(context, &shown(&listening.link()?))
}

fn shown(link: &Link) -> String {
    format!("Open this link to sign in. It works once, within 10 minutes:\n  {}\n", link.url)
}

fn print(context: &Context, text: &str) -> Result<(), Error> {
    let failed =
        |error| Error::internal(format!("cannot write the link to standard output: {error}"));
    context.streams.print(text).map_err(failed)
}
