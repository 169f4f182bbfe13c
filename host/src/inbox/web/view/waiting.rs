//! The page of what waits, and that of one approval.

use super::passkeys::fields as passkey_fields;
use super::{Frame, Place, arguments, fact, foreign, ids, sentence, who};
use crate::inbox::words::HOUR;
use crate::inbox::{Decision, Item};
use crate::store::{ApprovalState, MAX_USES, StandingApproval, StoredApproval};
use maud::{Markup, html};
use whereby_authority::sentence::Sentence;
use whereby_authority::table::FunctionRule;

/// A message about what a person has just tried.
pub(in crate::inbox::web) struct Notice {
    title: String,
    text: String,
}

/// Returns the page of what waits. `decided` is the call that the person has just decided on. What was
/// settled after `since`, when the page was opened, stays among the waiting.
pub(in crate::inbox::web) fn waiting(
    frame: &Frame,
    items: &[Item],
    standing: &[StandingApproval],
    decided: Option<&Item>,
    since: i64,
) -> Markup {
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
        @if !standing.is_empty() {
            section #standing aria-labelledby="allowed" {
                h2 #allowed { "Allowed for more calls" }
                @for own in standing { (standing_card(frame, own)) }
            }
        }
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
pub(in crate::inbox::web) fn one(
    frame: &Frame,
    item: Option<&Item>,
    notice: Option<Notice>,
) -> Markup {
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
    pub(in crate::inbox::web) fn late(
        decision: Decision,
        item: Option<&Item>,
        frame: &Frame,
    ) -> Option<Self> {
        let approval = &item?.approval;
        let tried = match decision {
            Decision::Approve => "Your approval came too late, and changed nothing.",
            Decision::Deny => "Your denial came too late, and changed nothing.",
        };
        let at =
            |time: Option<i64>| time.map(|time| frame.times.relative(time)).unwrap_or_default();
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
                    span.muted {
                        @if approval.is_made_by_itself { "The MCP server now makes the call." }
                        @else { "Make the same call again: it is allowed once, until " (frame.clock(until)) "." }
                    }
                }
                @if approval.state == ApprovalState::Denied {
                    span.muted { "The same call is not asked for again for an hour." }
                    @if approval.revoked > 0 {
                        span.muted { " The next calls like it, which you had allowed with it, are not allowed either." }
                    }
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
                div.decide {
                    (approve_form(frame, approval, "pending", &html! {
                        button.approve aria-describedby=(what) {
                            @if needs_passkey(frame, approval) { "Approve with a passkey" } @else { "Approve once" }
                        }
                    }))
                    form method="post" action=(format!("/approvals/{}/decision", approval.id)) {
                        (frame.hidden())
                        input type="hidden" name="seen" value="pending";
                        input type="hidden" name="decision" value="deny";
                        button.deny aria-describedby=(what) { "Deny" }
                    }
                    span.muted { "Expires " (frame.moment(approval.expires_at)) }
                }
                (allow_more(frame, item, &what))
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
    let is_fresh = approval.decided_at.is_some_and(|at| frame.times.now < at.saturating_add(HOUR));
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
                        @if approval.is_made_by_itself {
                            ". An MCP server makes the call by itself, by " (frame.clock(until)) " at the latest."
                        } @else {
                            ". The same call can be made again once, until " (frame.clock(until)) "."
                        }
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
                @let button = html! { button aria-describedby=(what) { (label) } };
                @if decision == "approve" {
                    (approve_form(frame, approval, approval.state.as_str(), &button))
                } @else {
                    form method="post" action=(format!("{address}/decision")) {
                        (frame.hidden())
                        input type="hidden" name="seen" value=(approval.state.as_str());
                        input type="hidden" name="decision" value=(decision);
                        (button)
                    }
                }
            }
            @if approval.state == ApprovalState::Used {
                a href=(format!("/log?function={}", approval.function)) aria-describedby=(what) {
                    "See the result"
                }
            }
            @if !is_alone { a href=(address) aria-describedby=(what) { "Details" } }
        }
    }
}

/// Whether nothing but a passkey approves a call: by the rules of the page, or by those of its caller.
fn needs_passkey(frame: &Frame, approval: &StoredApproval) -> bool {
    frame.requires_passkey || approval.needs_passkey
}

/// Returns a form that approves a call, with a passkey if nothing else may.
fn approve_form(frame: &Frame, approval: &StoredApproval, seen: &str, contents: &Markup) -> Markup {
    let address = format!("/approvals/{}", approval.id);
    if frame.requires_passkey && !frame.has_passkey {
        return html! {
            p { a href="/passkeys" { "Add a passkey" } " first: nothing else approves calls." }
        };
    }
    html! {
        form.approve-form method="post" action=(format!("{address}/decision"))
            data-passkey=[needs_passkey(frame, approval).then_some("get")]
            data-options=(format!("{address}/passkey")) {
            (frame.hidden())
            input type="hidden" name="seen" value=(seen);
            input type="hidden" name="decision" value="approve";
            @if needs_passkey(frame, approval) { (passkey_fields()) }
            (contents)
        }
    }
}

/// Returns the form that also allows the next calls like one.
fn allow_more(frame: &Frame, item: &Item, what: &str) -> Markup {
    if frame.requires_passkey && !frame.has_passkey {
        return html! {};
    }
    let approval = &item.approval;
    let (id, function) = (&approval.id, whereby_catalog::function(&approval.function));
    let has_rooms = function.is_some_and(|f| FunctionRule::of(f).conditions.contains(&"rooms"));
    let is_severe = item.is_destructive || approval.has_destination;
    let field = |name: &str| format!("{name}-{id}");
    let contents = html! {
        p.row {
            label for=(field("uses")) { "This call and the next, in all" }
            input #(field("uses")) name="uses" type="number" min="1" max=(MAX_USES) value="5" required;
            label for=(field("for")) { "for" }
            select #(field("for")) name="for" {
                @for (value, label) in [
                    ("1h", "1 hour"), ("8h", "8 hours"), ("24h", "1 day"), ("7d", "7 days"),
                ] { option value=(value) { (label) } }
            }
        }
        fieldset {
            legend { "Which calls" }
            label.choice {
                input type="radio" name="which" value="same" checked; "Exactly the same arguments"
            }
            @if has_rooms {
                div.choice {
                    input #(field("any")) type="radio" name="which" value="rooms";
                    label.choice for=(field("any")) { "Any arguments, for the rooms" }
                    input name="rooms" aria-label="Rooms, as a pattern" placeholder="bot-*" autocomplete="off";
                }
            }
        }
        @if is_severe {
            label.choice.severe {
                input type="checkbox" name="destructive" required;
                @if item.is_destructive { "I want several calls that cannot be undone" }
                @else { "I want several calls that send audio, video or a transcript away" }
            }
        }
        button aria-describedby=(what) {
            @if needs_passkey(frame, approval) { "Allow with a passkey" } @else { "Allow these calls" }
        }
    };
    html! {
        details.more id=(field("more")) {
            summary { "Allow more like this" }
            (approve_form(frame, approval, "pending", &contents))
        }
    }
}

/// Returns a standing approval.
fn standing_card(frame: &Frame, standing: &StandingApproval) -> Markup {
    let what = format!("standing-{}", standing.id);
    html! {
        article.card id=(format!("allowed-{}", standing.id)) aria-labelledby=(what) {
            h3.what id=(what) {
                code { (foreign(&standing.function)) } " – " (standing.left()) " of " (standing.uses) " left"
            }
            p {
                @if standing.is_exact() { "With exactly the arguments below" }
                @else {
                    "With any arguments that fit "
                    @for (index, condition) in standing.conditions.iter().enumerate() {
                        @if index > 0 { "; " } (foreign(&condition.to_string()))
                    }
                }
                ", until " (frame.clock(standing.valid_until)) ", with the account "
                strong { (foreign(&standing.account)) }
                @if let Some(agent) = &standing.agent { ", by " strong { (foreign(agent)) } }
                "."
            }
            @if standing.is_exact() { (arguments(&standing.arguments)) }
            form.decide method="post" action=(format!("/standing/{}/revoke", standing.id)) {
                (frame.hidden())
                button aria-describedby=(what) { "Revoke" }
            }
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
