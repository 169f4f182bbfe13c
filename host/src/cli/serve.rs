//! `whereby serve`: MCP over HTTP and the inbox page in one process.

use super::inbox::{document, inbox, shown};
use super::signal::Signals;
use super::{CommandError, Context, Exit, Output, mcp};
use crate::error::Error;
use serde_json::json;
use std::net::SocketAddr;

/// Serve MCP clients over HTTP, and the inbox page, until Ctrl-C
///
/// This is for an account of its own, under which agents cannot read the key or approve calls. It takes the
/// options of `whereby mcp --listen`. A link to the page signs a person in, whichever user of this machine
/// they are; for another one, run `whereby inbox --link` as the user of the service.
#[derive(Debug, clap::Args)]
// It would have the name of that of the options of `whereby mcp`.
#[group(skip)]
#[command(
    after_long_help = "Example:\n  whereby serve --listen 127.0.0.1:8090 --capability-tokens"
)]
pub(super) struct Opts {
    #[command(flatten)]
    mcp: mcp::Opts,
    /// Serve the inbox page on this loopback address; port 0 picks a free port
    #[arg(long = "inbox", value_name = "ADDR", default_value = "127.0.0.1:0")]
    page: SocketAddr,
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        let mut signals = Signals::listen(&context.streams);
        let clients = self.mcp.over_http(context).await?;
        let page = inbox(context)?.serve(self.page, true).await?;
        let link = page.link()?;
        let text = if context.global.json {
            let inbox = json!({"url": page.url(), "link": document(&link)});
            json!({"mcp": {"url": clients.url()}, "inbox": inbox}).to_string() + "\n"
        } else {
            format!(
                "MCP at {}\nInbox at {}\nBoth are served until Ctrl-C.\n\n{}",
                clients.url(),
                page.url(),
                shown(&link)
            )
        };
        context.streams.print(&text).map_err(|error| {
            Error::internal(format!("cannot write the addresses to standard output: {error}"))
        })?;
        signals.next().await;
        drop(page);
        clients.stop().await;
        Ok(Output::Nothing(Exit::Success))
    }
}
