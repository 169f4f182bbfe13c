//! The page of what happened: the audit log.

use super::super::MAX_EVENTS;
use super::{Frame, Place, arguments, fact, foreign, ids, sentence, who};
use crate::inbox::{Class, Event, Filter, words};
use crate::store::{AuditDecision, AuditOutcome, AuditRow};
use maud::{Markup, html};
use whereby_authority::text;
use whereby_catalog::FUNCTIONS;

/// Returns the page of the audit log.
pub(in crate::inbox::web) fn log(frame: &Frame, filter: &Filter, events: &[Event]) -> Markup {
    // The filters offer what is configured, if that can be read.
    let settings = frame.settings.as_ref().ok();
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
            @if is_full && filter.limit < MAX_EVENTS {
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
    query.append_pair("limit", &MAX_EVENTS.to_string());
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
        Class::Open | Class::Decision => "",
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
                    (foreign(&words::actor(row)))
                }
                (badge(event.class))
            }
            div.inside {
                @if let Some(decision) = &row.decision { (decided(row, decision)) }
                @else if let Some(outcome) = &row.outcome { (outcome_of_call(outcome)) }
                @else { p { "The call is under way, or the program was stopped during it." } }
                @if row.decision.is_none() {
                    h3 { "Exact arguments of " code { (foreign(row.function.as_deref().unwrap_or("no function"))) } }
                    (arguments(&row.arguments))
                }
                @if let Some(outcome) = &row.outcome { (requests(outcome)) }
                dl.facts {
                    @if row.decision.is_none() {
                        (fact("Who", &who(&row.front_end, row.client.as_deref(), row.agent.as_deref())))
                    }
                    @if let Some(account) = &row.account {
                        (fact("Account", &html! {
                            (foreign(account))
                            @if let Some(api) = &row.api { " at " (foreign(api)) }
                        }))
                    }
                    @if let Some(rule) = &row.rule { (fact("Rule", &foreign(rule))) }
                    @if let Some(by) = &row.approved_by { (fact("Allowed by", &allowed_by(by, row.approval.as_deref()))) }
                    @if let Some(token) = &row.token { (fact("Token", &ids(token))) }
                    (fact("Row", &html! { code.id { (foreign(&row.id)) } }))
                }
            }
        }
    }
}

/// Returns who decided, and on what.
fn decided(row: &AuditRow, decision: &AuditDecision) -> Markup {
    html! {
        p {
            strong { (foreign(&decision.user)) } " " (foreign(words::decided_in(&decision.place)))
            @if let Some(client) = &row.client { " (" (foreign(client)) ")" }
            @if decision.passkey.is_some() { ", with a passkey" }
            "."
            @if let Some(id) = &row.approval { " " a href=(format!("/approvals/{id}")) { "See the call" } }
        }
        @let (details, signed) = words::decision_details(decision);
        @if details.as_object().is_some_and(|details| !details.is_empty()) {
            h3 { "More about it" }
            (arguments(&details))
        }
        @if let Some(signed) = signed {
            details id=(format!("signed-{}", row.id)) { summary { "What the passkey signed" } (arguments(&signed)) }
        }
    }
}

fn allowed_by(by: &str, approval: Option<&str>) -> Markup {
    html! {
        (foreign(words::allowed_by(by)))
        @if by != "standing" && let Some(id) = approval { " (" a href=(format!("/approvals/{id}")) { "see it" } ")" }
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
