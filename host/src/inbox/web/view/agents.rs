//! The page of agents and rules.

use super::{Frame, Place, foreign, unreadable};
use crate::error::Error;
use crate::inbox::words::conditions_in_words;
use crate::inbox::{Access, Actor, Rules, Usage};
use crate::store::{CreatedToken, Selector};
use maud::{Markup, html};
use whereby_authority::policy::{Outlook, Participants, Permission};
use whereby_catalog::Function;

/// Returns the page of agents and rules.
pub(in crate::inbox::web) fn agents(frame: &Frame, rules: &Result<Rules, Error>) -> Markup {
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
                    @if until.to_unix_ms() <= frame.times.now { span.badge.bad { "Expired" } }
                    @else { span.muted { "until " (frame.times.exact(until.to_unix_ms(), "%-d %B %Y, %H:%M")) } }
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

/// Returns a function with the conditions of its permission, and what holds if they are not met. When an
/// agent expires is beside its name.
fn function(function: &Function, outlook: &Outlook) -> Markup {
    let conditions = conditions_in_words(outlook);
    html! {
        li.conditional[!conditions.is_empty()] {
            code { (function.json) }
            @for (conditions, otherwise) in &conditions {
                span.muted { " – " (foreign(conditions)) ". Otherwise " (otherwise) "." }
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
                @let state = token.state(frame.times.now);
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
