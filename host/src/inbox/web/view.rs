//! The page as HTML. Text from outside goes through [`foreign`], [`arguments`] or [`sentence`], which show
//! every character that acts on a display as its code point; maud escapes all text for HTML.

use super::door::{Refused, Session};
use super::rfc3339;
use crate::config::Settings;
use crate::error::Error;
use crate::inbox::{
    Access, AccountState, Actor, Class, Decision, Event, Filter, Inbox, Item, Key, Rules, Usage,
};
use crate::store::{ApprovalState, AuditOutcome, CreatedToken, Freeze, Selector, StoredApproval};
use crate::system::user;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;
use whereby_authority::conditions::Condition;
use whereby_authority::policy::{Outlook, Participants, Permission};
use whereby_authority::sentence::{Part, Sentence};
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;
use whereby_catalog::{FUNCTIONS, Function};

pub(super) const STYLE: &str = include_str!("style.css");
pub(super) const SCRIPT: &str = include_str!("live.js");
pub(super) const ICON: &str = include_str!("icon.svg");

/// The maximum length of a name or a message, in characters. Arguments are never cut.
const MAX_TEXT: usize = 400;

/// A name with at most this many characters stays on one line.
const SHORT: usize = 24;

/// A value with more characters or lines than this scrolls.
const LONG: usize = 600;
const TALL: usize = 24;

const MINUTE: i64 = 60 * 1000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// What every page of a session shows around its contents.
pub(super) struct Frame {
    csrf: String,
    /// The address that the script loads to keep the page current; absent for a page that is no address.
    live: Option<String>,
    pub(super) now: i64,
    zone: TimeZone,
    waiting: usize,
    frozen: Result<Vec<Freeze>, Error>,
}

/// A message about what a person has just tried.
pub(super) struct Notice {
    title: String,
    text: String,
}

/// The pages, with their addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    Log,
    Agents,
    Accounts,
    Elsewhere,
}

const PLACES: [(Place, &str, &str); 4] = [
    (Place::Waiting, "/", "Waiting"),
    (Place::Log, "/log", "What happened"),
    (Place::Agents, "/agents", "Agents and rules"),
    (Place::Accounts, "/accounts", "Accounts"),
];

impl Frame {
    pub(super) fn new(inbox: &Inbox, session: &Session, live: Option<String>) -> Self {
        Self {
            csrf: session.csrf.clone(),
            live,
            now: inbox.now(),
            zone: inbox.zone().clone(),
            // A page that cannot read the approvals says why.
            waiting: inbox.waiting().unwrap_or_default(),
            frozen: inbox.frozen(),
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
                "You decide as " (foreign(&user::name())) ", on this machine. Times are in "
                (zone_name(&self.zone, self.now)) "."
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
                label for=(id) { "Reason" span.muted { " (for people)" } }
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
        let exact = self.exact(unix_ms, "%A, %-d %B %Y, %H:%M:%S %Z");
        html! {
            time datetime=(rfc3339(unix_ms)) title=(exact) { (self.relative(unix_ms)) }
        }
    }

    /// Returns a time of the day, with the day if it is another one.
    fn clock(&self, unix_ms: i64) -> Markup {
        let day = |ms| self.exact(ms, "%F");
        let format = if day(unix_ms) == day(self.now) { "%H:%M:%S" } else { "%-d %b, %H:%M" };
        let exact = self.exact(unix_ms, "%A, %-d %B %Y, %H:%M:%S %Z");
        html! {
            time datetime=(rfc3339(unix_ms)) title=(exact) { (self.exact(unix_ms, format)) }
        }
    }

    fn exact(&self, unix_ms: i64, format: &str) -> String {
        let moment = jiff::Timestamp::from_millisecond(unix_ms);
        moment.map_or_else(
            |_| "an unknown time".into(),
            |moment| moment.to_zoned(self.zone.clone()).strftime(format).to_string(),
        )
    }

    fn relative(&self, unix_ms: i64) -> String {
        let distance = unix_ms.saturating_sub(self.now);
        let ms = distance.saturating_abs();
        let (count, unit) = match ms {
            _ if ms < MINUTE / 2 => return "just now".into(),
            _ if ms < 2 * HOUR => ((ms + MINUTE / 2) / MINUTE, "minute"),
            _ if ms < 2 * DAY => ((ms + HOUR / 2) / HOUR, "hour"),
            _ if ms < 60 * DAY => ((ms + DAY / 2) / DAY, "day"),
            _ => return format!("on {}", self.exact(unix_ms, "%-d %B %Y")),
        };
        let s = if count == 1 { "" } else { "s" };
        if distance > 0 {
            format!("in {count} {unit}{s}")
        } else {
            format!("{count} {unit}{s} ago")
        }
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

pub(super) fn signed_in() -> Response {
    onward("You are signed in", "The inbox opens now.", "/")
}

/// Returns the page for a person who followed a link on another site.
pub(super) fn from_link(path: &str) -> Response {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '/';
    let path = if path.starts_with("//") || !path.chars().all(is_plain) { "/" } else { path };
    onward("Opening the inbox", "You came from another site. The inbox opens now.", path)
}

pub(super) fn signed_out() -> Response {
    let contents = html! {
        p { "The inbox opens with a link that the terminal shows. Each link works once, within 10 minutes." }
        ol {
            li { "In the terminal where the inbox runs, press Enter. It shows a new link." }
            li { "Open that link in this browser." }
        }
        p { "If it is not running, start it with " code { "whereby inbox --web" } "." }
    };
    (StatusCode::UNAUTHORIZED, body(outside("You are not signed in", &contents))).into_response()
}

pub(super) fn refused_link(why: Refused) -> Response {
    let (title, what) = match why {
        Refused::Spent => (
            "This link no longer works",
            "Each link works once, within 10 minutes. This one was used, or it expired.",
        ),
        Refused::Wrong => (
            "This link is not right",
            "The inbox that runs now did not make it. Copy the whole link, or make a new one.",
        ),
    };
    let contents = html! {
        p { (what) }
        ol {
            li { "In the terminal where the inbox runs, press Enter. It shows a new link." }
            li { "Open that link in this browser." }
        }
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
    let through = match front_end {
        "cli" => "the command line",
        "mcp" => "MCP",
        "lua" => "a Lua script",
        other => other,
    };
    html! {
        @match agent {
            Some(agent) => { strong { (foreign(agent)) } " through " (foreign(through)) },
            None => strong { "A call without an agent" },
        }
        @if agent.is_none() { " through " (foreign(through)) }
        @if let Some(client) = client { ", in " (foreign(client)) }
    }
}

fn zone_name(zone: &TimeZone, now: i64) -> String {
    if let Some(name) = zone.iana_name() {
        return name.to_owned();
    }
    let moment = jiff::Timestamp::from_millisecond(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    moment.to_zoned(zone.clone()).strftime("UTC%:z").to_string()
}

// What waits.

/// Returns the page of what waits. `decided` is the call that the person has just decided on. What was
/// settled after `since`, when the page was opened, stays among the waiting.
pub(super) fn waiting(frame: &Frame, items: &[Item], decided: Option<&Item>, since: i64) -> Markup {
    let is_pending = |item: &&Item| item.approval.state == ApprovalState::Pending;
    let pending = items.iter().filter(is_pending).count();
    let headline = match pending {
        0 => "Nothing is waiting".to_owned(),
        1 => "1 call is waiting for you".to_owned(),
        count => format!("{count} calls are waiting for you"),
    };
    let (current, earlier): (Vec<&Item>, Vec<&Item>) =
        items.iter().partition(|item| is_pending(item) || item.settled_at() > since);
    let contents = html! {
        @if let Some(item) = decided { (outcome_of_decision(frame, &item.approval)) }
        h1 #headline role="status" { (headline) }
        @if current.is_empty() {
            div.empty #empty {
                p { "When an agent asks for something that needs your approval, it appears here by itself." }
                p.muted { "You can leave this page open. The number of waiting calls is in its title." }
            }
        }
        div #current { @for item in current { (card(frame, item, false)) } }
        @if !earlier.is_empty() {
            section #earlier aria-labelledby="settled" {
                h2 #settled { "Decided a short time ago" }
                @for item in earlier.iter().rev() { (card(frame, item, false)) }
            }
        }
    };
    let decided = decided.map(|item| format!("&decided={}", item.approval.id)).unwrap_or_default();
    let live = format!("/?since={since}{decided}");
    frame.page_at(Some(&live), Place::Waiting, &headline, &contents)
}

/// Returns the page of one approval, after a message if there is one.
pub(super) fn one(frame: &Frame, item: Option<&Item>, notice: Option<Notice>) -> Markup {
    let title = "One call";
    let contents = html! {
        @if let Some(notice) = &notice {
            div.banner.late role="alert" { p { strong { (notice.title) } " " (notice.text) } }
        }
        h1 { (title) }
        @match item {
            Some(item) => (card(frame, item, true)),
            None => div.empty {
                p { "There is no such approval. It may be older than 30 days, or the address is mistyped." }
            },
        }
        p { a href="/" { "All that is waiting" } }
    };
    frame.page(Place::Elsewhere, title, &contents)
}

impl Notice {
    /// Returns what to tell a person whose decision came too late.
    pub(super) fn late(decision: Decision, item: Option<&Item>, frame: &Frame) -> Option<Self> {
        let approval = &item?.approval;
        let tried = match decision {
            Decision::Approve => "Your approval came too late, and changed nothing.",
            Decision::Deny => "Your denial came too late, and changed nothing.",
        };
        let at = |time: Option<i64>| time.map(|time| frame.relative(time)).unwrap_or_default();
        let text = match approval.state {
            ApprovalState::Approved => {
                format!("The call was approved {}.", at(approval.decided_at))
            }
            ApprovalState::Denied => format!("The call was denied {}.", at(approval.decided_at)),
            ApprovalState::Used => {
                format!("The call was approved, and made {}.", at(approval.used_at))
            }
            ApprovalState::Expired => {
                "Nobody decided within an hour, so the request expired.".into()
            }
            ApprovalState::Pending => "The call waits again.".into(),
        };
        Some(Self { title: tried.into(), text })
    }
}

fn outcome_of_decision(frame: &Frame, approval: &StoredApproval) -> Markup {
    let (class, said) = match approval.state {
        ApprovalState::Approved => ("good", "Approved."),
        ApprovalState::Used => ("good", "Approved, and the call was made."),
        ApprovalState::Denied => ("", "Denied."),
        ApprovalState::Pending | ApprovalState::Expired => return html! {},
    };
    let what = Sentence::of(&approval.function, &approval.arguments);
    html! {
        div.banner.said.(class) #said role="status" {
            p {
                strong { (said) } " " (sentence(&what)) " "
                @if approval.state == ApprovalState::Approved
                    && let Some(until) = approval.valid_until {
                    span.muted { "The agent can make this one call until " (frame.clock(until)) "." }
                }
                @if approval.state == ApprovalState::Denied {
                    span.muted { "The same call is not asked for again for an hour." }
                }
            }
        }
    }
}

/// Returns a call to decide on, or one that was decided. What will happen comes first, and ids last.
fn card(frame: &Frame, item: &Item, is_alone: bool) -> Markup {
    let approval = &item.approval;
    let state = approval.state;
    let is_pending = state == ApprovalState::Pending;
    let what = format!("what-{}", approval.id);
    html! {
        article.card id=(format!("approval-{}", approval.id)) aria-labelledby=(what)
            .(state.as_str()) .destructive[item.is_destructive && is_pending] {
            p.who {
                (who(&approval.front_end, approval.client.as_deref(), approval.agent.as_deref()))
                span.muted { " · asked " (frame.moment(approval.created_at)) }
            }
            h2.what id=(what) { (sentence(&item.sentence)) }
            @if is_pending && item.is_destructive { p.warning { "This cannot be undone." } }
            @if is_pending {
                form.decide method="post" action=(format!("/approvals/{}/decision", approval.id)) {
                    (frame.hidden())
                    input type="hidden" name="seen" value="pending";
                    button.approve name="decision" value="approve" aria-describedby=(what) {
                        "Approve once"
                    }
                    button.deny name="decision" value="deny" aria-describedby=(what) { "Deny" }
                    span.muted { "Expires " (frame.moment(approval.expires_at)) }
                }
            } @else {
                (settled(frame, approval, &what, is_alone))
            }
            @if is_pending || is_alone { (details(frame, approval)) }
        }
    }
}

/// Returns what came of an approval, and what can still be done.
fn settled(frame: &Frame, approval: &StoredApproval, what: &str, is_alone: bool) -> Markup {
    let ago = |time: Option<i64>| html! { @if let Some(time) = time { " " (frame.moment(time)) } };
    let is_fresh = approval.decided_at.is_some_and(|at| frame.now < at.saturating_add(HOUR));
    let again = match approval.state {
        ApprovalState::Approved => Some(("deny", "Revoke")),
        ApprovalState::Denied if is_fresh => Some(("approve", "Approve after all")),
        _ => None,
    };
    let address = format!("/approvals/{}", approval.id);
    html! {
        p.state {
            @match approval.state {
                ApprovalState::Approved => {
                    span.badge.good { "Approved" } (ago(approval.decided_at))
                    @if let Some(until) = approval.valid_until {
                        ". The call can be made once, until " (frame.clock(until)) "."
                    }
                },
                ApprovalState::Used => {
                    span.badge.good { "Approved" } ", and the call was made" (ago(approval.used_at)) "."
                },
                ApprovalState::Denied => { span.badge.bad { "Denied" } (ago(approval.decided_at)) "." },
                ApprovalState::Expired if approval.valid_until.is_some() => {
                    span.badge { "Expired" } ". It was approved, and the call was not made in time."
                },
                ApprovalState::Expired | ApprovalState::Pending => {
                    span.badge { "Expired" } ". Nobody decided in time."
                },
            }
        }
        div.decide {
            @if let Some((decision, label)) = again {
                form method="post" action=(format!("{address}/decision")) {
                    (frame.hidden())
                    input type="hidden" name="seen" value=(approval.state.as_str());
                    button name="decision" value=(decision) aria-describedby=(what) { (label) }
                }
            }
            @if approval.state == ApprovalState::Used {
                a href=(format!("/log?function={}", approval.function)) aria-describedby=(what) {
                    "See what came of it"
                }
            }
            @if !is_alone { a href=(address) aria-describedby=(what) { "Details" } }
        }
    }
}

fn details(frame: &Frame, approval: &StoredApproval) -> Markup {
    html! {
        h3 { "Exact arguments of " code { (foreign(&approval.function)) } }
        (arguments(&approval.arguments))
        dl.facts {
            (fact("Account", &html! { (foreign(&approval.account)) " at " (foreign(&approval.api)) }))
            (fact("Why you are asked", &html! { (foreign(&approval.rule)) }))
            @if let Some(at) = approval.decided_at { (fact("Decided", &frame.moment(at))) }
            @if let Some(token) = &approval.token { (fact("Token", &ids(token))) }
            (fact("Approval", &html! { code.id { (foreign(&approval.id)) } }))
        }
    }
}

fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn ids(ids: &[String]) -> Markup {
    html! { @for (index, id) in ids.iter().enumerate() { @if index > 0 { " › " } code.id { (foreign(id)) } } }
}

// What happened.

/// Returns the page of the audit log.
pub(super) fn log(
    frame: &Frame,
    settings: Option<&Settings>,
    filter: &Filter,
    events: &[Event],
) -> Markup {
    let accounts = settings.iter().flat_map(|settings| settings.accounts.keys().cloned()).collect();
    let agents =
        settings.iter().flat_map(|settings| settings.policy.agents.keys().cloned()).collect();
    let functions = FUNCTIONS.iter().map(|function| function.json.to_owned()).collect();
    let is_filtered = Filter { limit: filter.limit, ..Filter::default() } != *filter;
    let is_full = events.len() >= filter.limit as usize;
    let contents = html! {
        h1 { "What happened" }
        form.filter method="get" action="/log" role="search" {
            (choice("account", "Account", accounts, filter.account.as_deref()))
            (choice("agent", "Agent", agents, filter.agent.as_deref()))
            (choice("function", "Function", functions, filter.function.as_deref()))
            div.field {
                label for="result" { "Result" }
                select #result name="result" {
                    option value="" { "All" }
                    @for (class, name, shown) in Class::ALL {
                        option value=(name) selected[filter.result == Some(class)] { (shown) }
                    }
                }
            }
            div.field { button { "Filter" } }
            @if is_filtered { a href="/log" { "Show everything" } }
        }
        @if events.is_empty() {
            div.empty #empty {
                @if is_filtered { p { "No call matches these filters." } }
                @else {
                    p { "No call has been made yet." }
                    p.muted { "Every call appears here: who made it, what it did, and what was sent." }
                }
            }
        } @else {
            ol.events #events { @for event in events { li id=(format!("call-{}", event.row.id)) { (event_row(frame, event)) } } }
            @if is_full && filter.limit < super::MAX_EVENTS {
                p { a href=(more(filter)) { "Show more" } }
            } @else if is_full {
                p.muted { "These are the newest " (events.len()) ". For older ones, run " code { "whereby audit" } "." }
            }
        }
    };
    frame.page(Place::Log, "What happened", &contents)
}

fn more(filter: &Filter) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let result = Class::ALL.into_iter().find(|(class, _, _)| filter.result == Some(*class));
    for (name, value) in [
        ("account", filter.account.as_deref()),
        ("agent", filter.agent.as_deref()),
        ("function", filter.function.as_deref()),
        ("result", result.map(|(_, name, _)| name)),
    ] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.append_pair("limit", &super::MAX_EVENTS.to_string());
    format!("/log?{}", query.finish())
}

fn choice(name: &str, label: &str, mut known: Vec<String>, chosen: Option<&str>) -> Markup {
    // One that is no longer configured may have calls.
    if let Some(chosen) = chosen.filter(|chosen| !known.iter().any(|known| known == chosen)) {
        known.push(chosen.to_owned());
    }
    html! {
        div.field {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                option value="" { "All" }
                @for known in known {
                    option value=(known) selected[chosen == Some(known.as_str())] {
                        (text::printable(&known, 60))
                    }
                }
            }
        }
    }
}

fn badge(class: Class) -> Markup {
    let (_, _, shown) =
        Class::ALL.into_iter().find(|(own, _, _)| *own == class).unwrap_or(Class::ALL[0]);
    let colour = match class {
        Class::Done => "good",
        Class::Refused | Class::Failed => "bad",
        Class::Waits | Class::Unclear => "warn",
        Class::Open => "",
    };
    html! { span.badge.(colour) { (shown) } }
}

fn event_row(frame: &Frame, event: &Event) -> Markup {
    let row = &event.row;
    html! {
        details id=(format!("details-{}", row.id)) {
            summary {
                span.when { (frame.clock(row.time)) }
                span.what { (sentence(&event.sentence)) }
                span.who.muted {
                    @match &row.agent { Some(agent) => (foreign(agent)), None => (foreign(&row.front_end)) }
                }
                (badge(event.class))
            }
            div.inside {
                @if let Some(outcome) = &row.outcome { (outcome_of_call(outcome)) }
                @else { p { "The call is under way, or the program was stopped during it." } }
                h3 { "Exact arguments of " code { (foreign(row.function.as_deref().unwrap_or("no function"))) } }
                (arguments(&row.arguments))
                @if let Some(outcome) = &row.outcome { (requests(outcome)) }
                dl.facts {
                    (fact("Who", &who(&row.front_end, row.client.as_deref(), row.agent.as_deref())))
                    @if let Some(account) = &row.account {
                        (fact("Account", &html! {
                            (foreign(account))
                            @if let Some(api) = &row.api { " at " (foreign(api)) }
                        }))
                    }
                    @if let Some(rule) = &row.rule { (fact("Rule", &foreign(rule))) }
                    @if let Some(by) = &row.approved_by { (fact("Allowed by", &allowed_by(by, row.approval.as_deref()))) }
                    @if let Some(token) = &row.token { (fact("Token", &ids(token))) }
                    (fact("Call", &html! { code.id { (foreign(&row.id)) } }))
                }
            }
        }
    }
}

fn allowed_by(by: &str, approval: Option<&str>) -> Markup {
    let words = match by {
        "rule" => "a rule",
        "force" => "--force",
        "terminal" => "a person at the terminal",
        "elicitation" => "a person, as the MCP client says",
        "program" => "the program that embeds whereby",
        "approval" => "an approval",
        other => other,
    };
    html! {
        (foreign(words))
        @if let Some(id) = approval { " (" a href=(format!("/approvals/{id}")) { "see it" } ")" }
    }
}

fn outcome_of_call(outcome: &AuditOutcome) -> Markup {
    let effect = match outcome.effect.as_str() {
        "none" if outcome.success => None,
        "none" => Some("Nothing was changed."),
        "done" if outcome.success => None,
        "done" => Some("It failed after Whereby had made the change."),
        _ => Some("It may have changed something. Look before repeating it."),
    };
    html! {
        @if let Some(message) = &outcome.message {
            p { @if let Some(kind) = &outcome.kind { code { (foreign(kind)) } ": " } (foreign(message)) }
        }
        @if let Some(room) = &outcome.room_name {
            p { "Room: " code { (foreign(room)) } @if let Some(id) = &outcome.room_id { " (" (foreign(id)) ")" } }
        }
        @if let Some(effect) = effect { p { (effect) } }
    }
}

fn requests(outcome: &AuditOutcome) -> Markup {
    html! {
        h3 { "Requests to Whereby" }
        @if outcome.requests.is_empty() { p.muted { "None were sent." } }
        @else {
            ol.requests {
                @for request in &outcome.requests {
                    li {
                        code { (foreign(&request.method)) " " (foreign(&request.path)) } " "
                        @match request.status {
                            Some(status) => (status),
                            None => "no response",
                        }
                        span.muted { ", " (format!("{:.0}", request.duration_ms)) " ms" }
                    }
                }
            }
        }
    }
}

// Agents and rules.

/// Returns the page of agents and rules.
pub(super) fn agents(frame: &Frame, rules: &Result<Rules, Error>) -> Markup {
    let is_frozen = match &frame.frozen {
        Ok(freezes) => freezes.iter().any(|freeze| freeze.selector == Selector::default()),
        Err(_) => true,
    };
    let contents = html! {
        h1 { "Agents and rules" }
        @if !is_frozen {
            section.panel.everything aria-labelledby="stop" {
                h2 #stop { "Stop everything" }
                p { "Frozen calls send no more requests, in any program of this user. It lasts until you unfreeze." }
                (frame.freeze(&Selector::default(), "agents"))
            }
        }
        @match rules {
            Ok(rules) => {
                @for warning in &rules.warnings { div.banner.late { p { (foreign(warning)) } } }
                @for actor in &rules.actors { (self::actor(frame, actor, rules.actors.len() == 1)) }
                @if rules.actors.len() == 1 {
                    p.muted { "There are no agents. To give one rules of its own, run " code { "whereby agents add NAME" } "." }
                }
                @if !rules.tokens.is_empty() {
                    section.panel aria-labelledby="tokens" {
                        h2 #tokens { "Tokens without an agent" }
                        (tokens(frame, &rules.tokens))
                    }
                }
            },
            Err(error) => (unreadable(error)),
        }
    };
    frame.page(Place::Agents, "Agents and rules", &contents)
}

fn unreadable(error: &Error) -> Markup {
    html! {
        div.banner.late role="alert" {
            p { strong { "The configuration cannot be read." } " " (foreign(&error.to_string())) }
        }
    }
}

fn actor(frame: &Frame, actor: &Actor, is_only: bool) -> Markup {
    let id = format!("agent-{}", actor.name.as_deref().unwrap_or("none"));
    let heading = format!("{id}-name");
    html! {
        section.panel id=(id) aria-labelledby=(heading) {
            div.head {
                h2 id=(heading) {
                    @match &actor.name {
                        Some(name) => (foreign(name)),
                        None if is_only => "Every call",
                        None => "Calls without an agent",
                    }
                }
                @if !actor.freezes.is_empty() { span.badge.bad { "Frozen" } }
                @if let Some(until) = actor.valid_until {
                    @if until.to_unix_ms() <= frame.now { span.badge.bad { "Expired" } }
                    @else { span.muted { "until " (frame.exact(until.to_unix_ms(), "%-d %B %Y, %H:%M")) } }
                }
            }
            @if actor.accounts.is_empty() { p.muted { "It can use no account." } }
            @for access in &actor.accounts { (self::access(access, actor.accounts.len() > 1)) }
            @if actor.name.is_some() {
                h3 { "Tokens" }
                @if actor.tokens.is_empty() { p.muted { "None." } }
                @else { (tokens(frame, &actor.tokens)) }
            }
            @if let Some(name) = &actor.name {
                @let own = Selector { agent: Some(name.clone()), account: None };
                @if actor.freezes.iter().all(|freeze| freeze.selector != own) { (frame.freeze(&own, "agents")) }
                @else { (frame.unfreeze(&own, "agents")) }
            }
        }
    }
}

fn access(access: &Access, is_one_of_several: bool) -> Markup {
    let of = |permission: Permission| -> Vec<&(&'static Function, Outlook)> {
        access.functions.iter().filter(|(_, outlook)| outlook.permission == permission).collect()
    };
    let groups = [
        (Permission::Allow, "good", "May do"),
        (Permission::Ask, "warn", "Asks you first"),
        (Permission::Deny, "bad", "May not do"),
    ];
    html! {
        @if is_one_of_several || access.accounts.len() > 1 {
            p.with {
                @if access.accounts.len() == 1 { "With the account " } @else { "With the accounts " }
                @for (index, name) in access.accounts.iter().enumerate() {
                    @if index > 0 { ", " } strong { (foreign(name)) }
                }
            }
        }
        dl.permissions {
            @for (permission, colour, title) in groups {
                @let functions = of(permission);
                @if !functions.is_empty() {
                    div {
                        dt { span.badge.(colour) { (title) } }
                        dd { ul { @for (function, outlook) in functions { (self::function(function, outlook)) } } }
                    }
                }
            }
        }
        @if access.participants != Participants::Names {
            p.muted {
                @match access.participants {
                    Participants::Hidden => "People in meetings are hidden.",
                    _ => "People in meetings have pseudonyms.",
                }
            }
        }
        @let used: Vec<&Usage> = access.usage.iter().filter(|usage| is_shown(usage)).collect();
        @if !used.is_empty() {
            h3 { "Use" }
            ul.usage { @for usage in used { li { (self::usage(usage, access.accounts.len() > 1)) } } }
        }
    }
}

/// Returns a function with the conditions of its permission, and what holds if they are not met.
fn function(function: &Function, outlook: &Outlook) -> Markup {
    let conditions: Vec<String> = match outlook.permission {
        // Whatever the conditions, it is denied.
        Permission::Deny => Vec::new(),
        // When an agent expires is beside its name.
        _ => outlook
            .conditions
            .iter()
            .filter(|condition| !matches!(condition, Condition::ValidUntil(_)))
            .map(|condition| condition.to_string().replacen('_', " ", 2))
            .collect(),
    };
    let otherwise = outlook.rules.iter().flat_map(|rule| &rule.conditions);
    let otherwise = otherwise.map(|rule| rule.permission).max();
    html! {
        li.conditional[!conditions.is_empty()] {
            code { (function.json) }
            @if !conditions.is_empty() {
                span.muted {
                    " – " (foreign(&conditions.join("; ")))
                    @match otherwise {
                        Some(Permission::Ask) => ". Otherwise asks you.",
                        Some(Permission::Deny) => ". Otherwise denied.",
                        _ => "",
                    }
                }
            }
        }
    }
}

fn is_shown(usage: &Usage) -> bool {
    usage.max_per_hour.is_some() || usage.max_per_day.is_some() || usage.written.last_day > 0
}

fn usage(usage: &Usage, is_one_of_several: bool) -> Markup {
    let spans = [
        ("the last hour", usage.written.last_hour, usage.max_per_hour),
        ("the last 24 hours", usage.written.last_day, usage.max_per_day),
    ];
    html! {
        span.name {
            code { (usage.function.json) }
            @if is_one_of_several { span.muted { " with " (foreign(&usage.account)) } }
        }
        @for (span, count, max) in spans {
            span.quota {
                @match max {
                    Some(max) => {
                        meter min="0" max=(max) value=(count.min(max)) high=(max.saturating_sub(1)) aria-hidden="true" {}
                        " " (count) " of " (max) " in " (span)
                    },
                    None => { (count) " in " (span) },
                }
            }
        }
    }
}

fn tokens(frame: &Frame, tokens: &[CreatedToken]) -> Markup {
    html! {
        ul.tokens {
            @for token in tokens {
                @let state = token.state(frame.now);
                li {
                    span.badge.(if state == "valid" { "good" } else { "" }) { (state) }
                    " " (foreign(&token.limits_in_words()))
                    @if token.limits.as_object().is_none_or(serde_json::Map::is_empty) { "no limits of its own" }
                    @if let Some(left) = token.uses_left() { span.muted { " · " (left) " uses left" } }
                    span.muted { " · created " (frame.moment(token.created_at)) " · " }
                    code.id { (foreign(&token.id)) }
                }
            }
        }
    }
}

// Accounts.

/// Returns the page of accounts.
pub(super) fn accounts(frame: &Frame, accounts: &Result<Vec<AccountState>, Error>) -> Markup {
    let contents = html! {
        h1 { "Accounts" }
        @match accounts {
            Ok(accounts) if accounts.is_empty() => div.empty {
                p { "There is no account yet." }
                p.muted { "To add one, run " code { "whereby configure --token-stdin" } "." }
            },
            Ok(accounts) => @for account in accounts { (self::account(frame, account)) },
            Err(error) => (unreadable(error)),
        }
    };
    frame.page(Place::Accounts, "Accounts", &contents)
}

fn account(frame: &Frame, state: &AccountState) -> Markup {
    let heading = format!("account-{}", state.name);
    let own = Selector { agent: None, account: Some(state.name.clone()) };
    html! {
        section.panel aria-labelledby=(heading) {
            div.head {
                h2 id=(heading) { (foreign(&state.name)) }
                @if state.account.enabled { span.badge.good { "On" } } @else { span.badge { "Switched off" } }
                @if state.is_default { span.badge { "Default" } }
                @if !state.freezes.is_empty() { span.badge.bad { "Frozen" } }
            }
            p.key { (key(frame, &state.key)) }
            dl.facts {
                (fact("Key from", &foreign(&state.account.token.in_words())))
                (fact("API", &foreign(&state.account.api.to_string())))
                (fact("People in meetings", &html! {
                    @match state.participants {
                        Participants::Names => "shown by name",
                        Participants::Pseudonyms => "shown under pseudonyms",
                        Participants::Hidden => "hidden",
                    }
                }))
            }
            @if state.freezes.iter().all(|freeze| freeze.selector != own) { (frame.freeze(&own, "accounts")) }
            @else { (frame.unfreeze(&own, "accounts")) }
        }
    }
}

fn key(frame: &Frame, key: &Key) -> Markup {
    let until = |date: &Timestamp| frame.moment(date.to_unix_ms());
    html! {
        @match key {
            Key::Expires(date) if date.to_unix_ms() <= frame.now => {
                span.badge.bad { "Key expired" } " " (until(date))
                ". Make a new key in Whereby's dashboard under Configure, API."
            },
            Key::Expires(date) if date.to_unix_ms() < frame.now.saturating_add(14 * DAY) => {
                span.badge.warn { "Key expires soon" } " " (until(date)) "."
            },
            Key::Expires(date) => { "Its key expires " (until(date)) "." },
            Key::Undated => "Its key does not say when it expires.",
            Key::Unread => "A command prints its key. Only a call runs that, so the expiry is not known here.",
            Key::Problem(why) => { span.badge.bad { "No key" } " " (foreign(why)) },
        }
    }
}
