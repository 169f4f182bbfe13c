//! The page of passkeys, and what a form has that needs one.

use super::{Frame, Place, foreign};
use crate::inbox::web::passkeys::is_usable;
use crate::passkey::Credential;
use maud::{Markup, html};

/// Returns the page of passkeys. `elsewhere` is the address at which they work, if this is another one, and
/// `ended` says which approvals ended with the passkey that was just removed.
pub(in crate::inbox::web) fn passkeys(
    frame: &Frame,
    known: &[Credential],
    elsewhere: Option<&str>,
    ended: Option<&str>,
) -> Markup {
    let usable: Vec<&Credential> = known.iter().filter(is_usable).collect();
    let contents = html! {
        @if let Some(ended) = ended {
            div.banner.said #said role="status" {
                p { strong { "Removed." } " What the passkey had approved and no call had used ended: " (ended) "." }
            }
        }
        h1 { "Passkeys" }
        p {
            @if frame.requires_passkey { "Nothing but a passkey approves calls (approvals.require in the configuration)." }
            @else {
                "Calls are approved without one. To change that, set " code { "approvals.require = \"passkey\"" }
                " in the configuration."
            }
        }
        @if let Some(address) = elsewhere {
            div.banner.late {
                p { "Passkeys work only at " code { (address) } ". Sign in there with a new link." }
            }
        }
        @if usable.is_empty() { div.empty { p { "There is no passkey yet." } } }
        @for own in usable {
            @let id = String::from(own.id.clone());
            article.card {
                h2.what { (foreign(&own.name)) }
                p.muted { "Added " (frame.moment(own.created_at)) }
                form.decide method="post" action="/passkeys/remove" {
                    (frame.hidden())
                    input type="hidden" name="passkey" value=(id);
                    button { "Remove" span.unseen { " " (foreign(&own.name)) } }
                }
                p.muted { code.id { (id) } }
            }
        }
        section.panel aria-labelledby="add-passkey" {
            h2 #add-passkey { "Add a passkey" }
            p { "In a terminal, run " code { "whereby inbox --add-passkey" } ". It prints a code." }
            form.fields method="post" action="/passkeys" data-passkey="create" data-options="/passkeys/begin" {
                (frame.hidden())
                div.pair {
                    div {
                        label for="passkey-code" { "Code" }
                        input #passkey-code name="code" required maxlength="16" autocomplete="off" placeholder="4F7KM-9QXRT";
                    }
                    div {
                        label for="passkey-name" { "Name" }
                        input #passkey-name name="name" required maxlength="64" autocomplete="off" placeholder="My phone";
                    }
                }
                (fields())
                button { "Add the passkey" }
            }
        }
    };
    frame.page(Place::Passkeys, "Passkeys", &contents)
}

/// Returns the fields that the script fills in, and where it says what went wrong.
pub(super) fn fields() -> Markup {
    html! {
        input type="hidden" name="passkey-token";
        input type="hidden" name="passkey-response";
        p.problem role="alert" data-kept {}
        noscript { p.problem { "Passkeys need JavaScript." } }
    }
}
