//! The page of accounts.

use super::{Frame, Place, fact, foreign, unreadable};
use crate::error::Error;
use crate::inbox::words::DAY;
use crate::inbox::{AccountState, Key};
use crate::store::Selector;
use maud::{Markup, html};
use whereby_authority::policy::Participants;
use whereby_authority::timestamp::Timestamp;

/// Returns the page of accounts.
pub(in crate::inbox::web) fn accounts(
    frame: &Frame,
    accounts: &Result<Vec<AccountState>, Error>,
) -> Markup {
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
            Key::Expires(date) if date.to_unix_ms() <= frame.times.now => {
                span.badge.bad { "Key expired" } " " (until(date))
                ". Make a new key in Whereby's dashboard under Configure, API."
            },
            Key::Expires(date) if date.to_unix_ms() < frame.times.now.saturating_add(14 * DAY) => {
                span.badge.warn { "Key expires soon" } " " (until(date)) "."
            },
            Key::Expires(date) => { "Its key expires " (until(date)) "." },
            Key::Undated => "The expiry date of its key is unknown.",
            Key::Unread => "A command prints its key. Only a call runs that, so the expiry is not known here.",
            Key::Problem(why) => { span.badge.bad { "No key" } " " (foreign(why)) },
        }
    }
}
