//! The page as HTML. Text from outside goes through [`foreign`], [`arguments`] or [`sentence`], which show
//! every character that acts on a display as its code point; maud escapes all text for HTML.

mod accounts;
mod agents;
mod log;
mod passkeys;
mod waiting;

pub(super) use accounts::accounts;
pub(super) use agents::agents;
pub(super) use log::log;
pub(super) use passkeys::passkeys;
pub(super) use waiting::{Notice, one, waiting};

use super::door::Session;
use super::rfc3339;
use crate::config::Settings;
use crate::error::Error;
use crate::inbox::words::{Times, through};
use crate::inbox::{Inbox, requires_passkey};
use crate::store::{BadLink, Freeze, Selector};
use crate::system::user::User;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;
use whereby_authority::sentence::{Part, Sentence};
use whereby_authority::text;

pub(super) const STYLE: &str = include_str!("style.css");
pub(super) const SCRIPT: &str = include_str!("live.js");
pub(super) const PASSKEY: &str = include_str!("passkey.js");
pub(super) const ICON: &str = include_str!("icon.svg");

/// The maximum length of a name or a message, in characters. Arguments are never cut.
const MAX_TEXT: usize = 400;

/// A name with at most this many characters stays on one line.
const SHORT: usize = 24;

/// A value with more characters or lines than this scrolls.
const LONG: usize = 600;
const TALL: usize = 24;

/// What every page of a session shows around its contents.
pub(super) struct Frame {
    csrf: String,
    /// The address that the script loads to keep the page current; absent for a page that is no address.
    live: Option<String>,
    pub(super) times: Times,
    waiting: usize,
    frozen: Result<Vec<Freeze>, Error>,
    /// The configuration as it is now.
    pub(super) settings: Result<Settings, Error>,
    /// Whether nothing but a passkey approves calls.
    requires_passkey: bool,
    /// Whether there is one.
    has_passkey: bool,
}

/// The pages, with their addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    Log,
    Agents,
    Accounts,
    Passkeys,
    Elsewhere,
}

const PLACES: [(Place, &str, &str); 5] = [
    (Place::Waiting, "/", "Waiting"),
    (Place::Log, "/log", "What happened"),
    (Place::Agents, "/agents", "Agents and rules"),
    (Place::Accounts, "/accounts", "Accounts"),
    (Place::Passkeys, "/passkeys", "Passkeys"),
];

impl Frame {
    pub(super) fn new(inbox: &Inbox, session: &Session, live: Option<String>) -> Self {
        let settings = inbox.settings();
        Self {
            csrf: session.csrf.clone(),
            live,
            times: inbox.times(),
            // A page that cannot read the approvals says why.
            waiting: inbox.waiting().unwrap_or_default(),
            frozen: inbox.frozen(),
            requires_passkey: settings.as_ref().is_ok_and(requires_passkey),
            // If it is unknown, a person who tries to use one is told.
            has_passkey: inbox.store().has_passkey().unwrap_or(true),
            settings,
        }
    }

    fn page(&self, place: Place, title: &str, contents: &Markup) -> Markup {
        self.page_at(self.live.as_deref(), place, title, contents)
    }

    /// Returns a page that the script keeps current from another address.
    fn page_at(&self, live: Option<&str>, place: Place, title: &str, contents: &Markup) -> Markup {
        let count = match self.waiting {
            0 => String::new(),
            count => format!("({count}) "),
        };
        let body = html! {
            a.skip href="#main" { "Skip to the contents" }
            header {
                div.bar {
                    a.brand href="/" {
                        img src="/icon.svg" alt="" width="24" height="24";
                        span { "Whereby inbox" }
                    }
                    form method="post" action="/sign-out" {
                        (self.hidden())
                        button.plain { "Sign out" }
                    }
                }
                nav #nav aria-label="Pages" {
                    @for (own, address, name) in PLACES {
                        a href=(address) aria-current=[(own == place).then_some("page")] {
                            (name)
                            @if own == Place::Waiting && self.waiting > 0 {
                                " " span.count { (self.waiting) span.unseen { " waiting" } }
                            }
                        }
                    }
                }
            }
            p #offline role="alert" hidden data-kept {
                "The inbox does not answer. It may have been stopped: start it again in the terminal, and \
                 open the new link."
            }
            div #frozen { (self.frozen()) }
            main #main tabindex="-1" data-live=[live] { (contents) }
            footer {
                "You decide as " (foreign(&User::current().name)) ", on this machine. Times are in "
                (zone_name(&self.times)) "."
            }
        };
        document(&format!("{count}{title}"), &body)
    }

    /// Returns the fields that every form has.
    fn hidden(&self) -> Markup {
        html! { input type="hidden" name="csrf" value=(self.csrf); }
    }

    fn frozen(&self) -> Markup {
        html! {
            @match &self.frozen {
                Ok(freezes) => @for freeze in freezes {
                    div.banner.frozen {
                        p {
                            strong { "Frozen: " (selector(&freeze.selector)) "." } " "
                            @if let Some(reason) = &freeze.reason { q { (foreign(reason)) } " " }
                            span.muted { "By " (foreign(&freeze.by)) ", " (self.moment(freeze.time)) "." }
                        }
                        (self.unfreeze(&freeze.selector, "agents"))
                    }
                },
                Err(error) => div.banner.frozen {
                    p { strong { "Everything is frozen." } " " (foreign(&error.to_string())) }
                },
            }
        }
    }

    fn unfreeze(&self, selector: &Selector, back: &str) -> Markup {
        html! {
            form method="post" action="/unfreeze" {
                (self.hidden())
                (selected(selector))
                input type="hidden" name="back" value=(back);
                button { "Unfreeze" span.unseen { " " (self::selector(selector)) } }
            }
        }
    }

    fn freeze(&self, selector: &Selector, back: &str) -> Markup {
        let whom = match (&selector.agent, &selector.account) {
            (None, None) => "everything",
            _ => "",
        };
        let id = format!(
            "reason-{}-{}",
            selector.agent.as_deref().unwrap_or_default(),
            selector.account.as_deref().unwrap_or_default()
        );
        let form = html! {
            form.freeze method="post" action="/freeze" {
                (self.hidden())
                (selected(selector))
                input type="hidden" name="back" value=(back);
                label for=(id) { "Reason" span.muted { " (agents don't see it)" } }
                input #(id) name="reason" maxlength="300" autocomplete="off";
                button {
                    @if whom.is_empty() {
                        "Freeze" span.unseen { " " (self::selector(selector)) }
                    } @else { "Freeze " (whom) }
                }
            }
        };
        html! {
            @if whom.is_empty() {
                details.stop id=(format!("stop-{id}")) {
                    summary { "Freeze" span.unseen { " " (self::selector(selector)) } }
                    (form)
                }
            } @else { (form) }
        }
    }

    /// Returns a time as how long ago it was or how far away it is, with the exact one behind it.
    fn moment(&self, unix_ms: i64) -> Markup {
        self.time(unix_ms, &self.times.relative(unix_ms))
    }

    /// Returns a time of the day, with the day if it is another one.
    fn clock(&self, unix_ms: i64) -> Markup {
        self.time(unix_ms, &self.times.clock(unix_ms))
    }

    fn time(&self, unix_ms: i64, shown: &str) -> Markup {
        let exact = self.times.exact(unix_ms, "%A, %-d %B %Y, %H:%M:%S %Z");
        html! { time datetime=(rfc3339(unix_ms)) title=(exact) { (shown) } }
    }

    /// Returns the page for an error of the inbox.
    pub(super) fn error(&self, error: &Error) -> Markup {
        let contents = html! {
            h1 { "That did not work" }
            div.panel { p { (foreign(&error.to_string())) } p { a href="/" { "Back to what is waiting" } } }
        };
        self.page(Place::Elsewhere, "That did not work", &contents)
    }
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Whereby inbox" }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/style.css";
                script src="/live.js" defer {}
                script src="/passkey.js" defer {}
            }
            body { (body) }
        }
    }
}

/// Returns a page as the body of a response.
pub(super) fn body(page: Markup) -> Html<String> {
    Html(page.into_string())
}

/// Returns a page for somebody who is not signed in.
fn outside(title: &str, contents: &Markup) -> Markup {
    let body = html! {
        header { div.bar { span.brand {
            img src="/icon.svg" alt="" width="24" height="24";
            span { "Whereby inbox" }
        } } }
        main #main.outside { h1 { (title) } (contents) }
    };
    document(title, &body)
}

/// Returns the page that says why a request is refused.
pub(super) fn refusal(status: StatusCode, title: &str, what: &str) -> Response {
    let contents = html! { p { (foreign(what)) } p { a.button href="/" { "Go to the inbox" } } };
    (status, body(outside(title, &contents))).into_response()
}

/// Returns the page that loads another one, as a page of this site.
fn onward(title: &str, what: &str, path: &str) -> Response {
    let contents = html! { p { (what) } p { a.button href=(path) { "Continue" } } };
    // A browser sends a strict cookie only if the page before is from this site.
    let refresh = format!("0; url={path}");
    ([("refresh", refresh)], body(outside(title, &contents))).into_response()
}

pub(super) fn signed_in(path: &str) -> Response {
    onward("You are signed in", "The inbox opens now.", path)
}

/// Returns the page for a person who followed a link on another site.
pub(super) fn from_link(path: &str) -> Response {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '/';
    let path = if path.starts_with("//") || !path.chars().all(is_plain) { "/" } else { path };
    onward("Opening the inbox", "You came from another site. The inbox opens now.", path)
}

/// Returns how to get a link. Nobody sits at the terminal of a service.
fn another_link(for_others: bool) -> Markup {
    html! {
        ol {
            li {
                @if for_others {
                    "Run " code { "whereby inbox --link" } " as the user that runs the inbox, or ask them for a link."
                } @else {
                    "In the terminal where the inbox runs, press Enter. Or run " code { "whereby inbox --link" }
                    " in any terminal."
                }
            }
            li { "Open the link that it prints in this browser." }
        }
    }
}

pub(super) fn signed_out(for_others: bool) -> Response {
    let contents = html! {
        p { "The inbox opens with a link. Each link works once, within 10 minutes." }
        (another_link(for_others))
    };
    (StatusCode::UNAUTHORIZED, body(outside("You are not signed in", &contents))).into_response()
}

pub(super) fn refused_link(why: BadLink, for_others: bool) -> Response {
    let (title, what) = match why {
        BadLink::Spent => (
            "This link no longer works",
            "Each link works once, within 10 minutes. This one was used, or it expired.",
        ),
        BadLink::Wrong => (
            "This link is not valid",
            "The inbox that runs now did not make it. Copy the whole link, or make a new one.",
        ),
    };
    let contents = html! {
        p { (what) }
        (another_link(for_others))
        p.muted { "If you did not use the link yourself, somebody else did: stop the inbox with Ctrl-C." }
        p { a href="/" { "I am signed in already" } }
    };
    (StatusCode::FORBIDDEN, body(outside(title, &contents))).into_response()
}

/// Returns text from outside, safe to show, with its own direction.
fn foreign(text: &str) -> Markup {
    html! { bdi { (text::printable(text, MAX_TEXT)) } }
}

fn sentence(sentence: &Sentence) -> Markup {
    html! {
        @for part in sentence.parts() {
            @match part {
                Part::Words(words) => (words),
                Part::Name(name) => code.short[name.chars().count() <= SHORT] { bdi { (name) } },
                _ => "",
            }
        }
    }
}

/// Returns arguments in full. Each value is JSON.
fn arguments(value: &Value) -> Markup {
    let Some(object) = value.as_object() else { return json(value) };
    if object.is_empty() {
        return html! { p.muted { "None." } };
    }
    html! {
        dl.values {
            @for (name, value) in object {
                div { dt { code { (foreign(name)) } } dd { (json(value)) } }
            }
        }
    }
}

fn json(value: &Value) -> Markup {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let is_long = text.len() > LONG || text.lines().count() > TALL;
    html! {
        // A person with a keyboard can scroll only what has the focus.
        pre.long[is_long] tabindex=[is_long.then_some("0")] {
            code { bdi { (text::printable_lines(&text)) } }
        }
    }
}

fn selector(selector: &Selector) -> Markup {
    let agent = selector.agent.as_deref().map(foreign);
    let account = selector.account.as_deref().map(foreign);
    html! {
        @match (agent, account) {
            (None, None) => "everything",
            (Some(agent), None) => { "the agent " (agent) },
            (None, Some(account)) => { "the account " (account) },
            (Some(agent), Some(account)) => { "the agent " (agent) " with the account " (account) },
        }
    }
}

fn selected(selector: &Selector) -> Markup {
    html! {
        @for (name, value) in [("agent", &selector.agent), ("account", &selector.account)] {
            @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
        }
    }
}

/// Returns who makes a call: the agent, or else the front end.
fn who(front_end: &str, client: Option<&str>, agent: Option<&str>) -> Markup {
    let through = through(front_end);
    html! {
        @match agent {
            Some(agent) => { strong { (foreign(agent)) } " through " (foreign(through)) },
            None => strong { "A call without an agent" },
        }
        @if agent.is_none() { " through " (foreign(through)) }
        @if let Some(client) = client { ", in " (foreign(client)) }
    }
}

fn zone_name(times: &Times) -> String {
    let name = times.zone.iana_name().map(str::to_owned);
    name.unwrap_or_else(|| times.exact(times.now, "UTC%:z"))
}

fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn ids(ids: &[String]) -> Markup {
    html! { @for (index, id) in ids.iter().enumerate() { @if index > 0 { " › " } code.id { (foreign(id)) } } }
}

fn unreadable(error: &Error) -> Markup {
    html! {
        div.banner.late role="alert" {
            p { strong { "The configuration cannot be read." } " " (foreign(&error.to_string())) }
        }
    }
}
