//! Passkeys on the page: adding and removing them, and approving calls with them.
//!
//! The script asks the browser; the server keeps what was asked until the answer is there, once.

use super::view;
use super::{Form, Page, change, person, serve};
use crate::error::Error;
use crate::inbox::Inbox;
use crate::passkey::decision::Request as Signing;
use crate::passkey::registration::Registration;
use crate::passkey::{Credential, RelyingParty};
use crate::store::{Answer, Decider, Terms, Voided};
use crate::system::random::random;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// The maximum number of questions that wait for a browser. One more drops the oldest.
const MAX_ASKED: usize = 32;

/// What browsers are asked, until they answer.
#[derive(Default)]
pub(super) struct Asked(Mutex<Vec<(String, Question)>>);

/// What one browser is asked.
pub(super) enum Question {
    Register(Registration),
    Sign { approval: String, request: Signing, terms: Option<Terms> },
}

impl Asked {
    /// Keeps a question. Returns the token with which its answer comes.
    fn keep(&self, question: Question) -> Result<String, Error> {
        let token = super::door::secret()?;
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= MAX_ASKED {
            asked.remove(0);
        }
        asked.push((token.clone(), question));
        Ok(token)
    }

    /// Takes a question, which can be answered once.
    fn take(&self, token: &str) -> Result<Question, Error> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = asked.iter().position(|(known, _)| known == token);
        let at = at.ok_or_else(|| {
            Error::usage("this page has asked for no passkey; reload the page and try again")
        })?;
        Ok(asked.remove(at).1)
    }
}

impl Page {
    fn party(&self, inbox: &Inbox) -> Result<RelyingParty, Error> {
        let installation = inbox.store().installation()?;
        Ok(RelyingParty { port: self.port, installation })
    }
}

/// Returns an answer for the script.
fn asked(result: Result<Value, Error>) -> Response {
    match result {
        Ok(value) => axum::Json(value).into_response(),
        Err(error) => {
            let error = json!({"error": error.to_string()});
            (StatusCode::BAD_REQUEST, axum::Json(error)).into_response()
        }
    }
}

/// Returns the page of passkeys.
pub(super) async fn list(
    State(page): State<Arc<Page>>,
    RawQuery(text): RawQuery,
    request: Request,
) -> Response {
    let given = super::query(text);
    let count = |name| given.get(name).and_then(|count| count.parse().ok()).unwrap_or_default();
    let ended = Voided { approvals: count("approvals"), standing: count("standing") }.describe();
    let origin = format!("http://localhost:{}/passkeys", page.port);
    let host = request.headers().get(axum::http::header::HOST).cloned();
    let is_there = host.is_some_and(|host| host.as_bytes().starts_with(b"localhost"));
    serve(&page, request, move |inbox, frame| {
        let known = inbox.store().passkeys()?;
        let elsewhere = (!is_there).then_some(origin.as_str());
        Ok(view::passkeys(frame, &known, elsewhere, ended.as_deref()))
    })
    .await
}

/// Asks a browser for a new passkey, if the code is right.
pub(super) async fn begin(State(page): State<Arc<Page>>, request: Request) -> Response {
    let own = Arc::clone(&page);
    change(&page, request, move |inbox, frame, form| {
        let begun = || {
            let name = form.get("name").unwrap_or_default();
            let challenge = random()?;
            let registration = Registration::new(name, challenge, frame.times.now)?;
            let code = form.get("code").unwrap_or_default();
            inbox
                .store()
                .use_passkey_code(code)?
                .map_err(|fault| Error::usage(fault.to_string()))?;
            let known = inbox.store().passkeys()?;
            let options = registration.options(&own.party(inbox)?, &known);
            let token = own.asked.keep(Question::Register(registration))?;
            Ok(json!({"token": token, "options": options}))
        };
        Ok(asked(begun()))
    })
    .await
}

/// Adds the passkey that a browser made.
pub(super) async fn add(State(page): State<Arc<Page>>, request: Request) -> Response {
    let own = Arc::clone(&page);
    change(&page, request, move |inbox, _, form| {
        let Question::Register(registration) = own.asked.take(token(form))? else {
            return Err(Error::usage("this page has asked for no new passkey"));
        };
        let party = own.party(inbox)?;
        let response = form.get("passkey-response").unwrap_or_default();
        inbox.store().add_passkey(&registration, &party, response, &person())?;
        Ok(Redirect::to("/passkeys").into_response())
    })
    .await
}

/// Removes a passkey.
pub(super) async fn remove(State(page): State<Arc<Page>>, request: Request) -> Response {
    change(&page, request, |inbox, _, form| {
        let id = form.get("passkey").unwrap_or_default();
        let removed = inbox.store().remove_passkey(id, &person())?;
        let Voided { approvals, standing } = removed
            .ok_or_else(|| Error::usage("there is no such passkey, or it was removed before"))?;
        let back = match (approvals, standing) {
            (0, 0) => "/passkeys".to_owned(),
            _ => format!("/passkeys?approvals={approvals}&standing={standing}"),
        };
        Ok(Redirect::to(&back).into_response())
    })
    .await
}

/// Asks a browser to sign an approval.
pub(super) async fn sign(
    State(page): State<Arc<Page>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let own = Arc::clone(&page);
    change(&page, request, move |inbox, frame, form| {
        let begun = || {
            // Before the device asks for a finger or a PIN.
            if let (Ok(settings), Some(item)) = (&frame.settings, inbox.item(&id)?) {
                settings.check_approvable(&item.approval.account)?;
            }
            let terms = super::terms(inbox, &id, form, frame.times.now)?;
            let request = Signing::new(random()?, frame.times.now);
            let options = inbox.store().passkey_options(&id, terms.as_ref(), &request)?;
            let question = Question::Sign { approval: id.clone(), request, terms };
            let token = own.asked.keep(question)?;
            Ok(json!({"token": token, "options": options}))
        };
        Ok(asked(begun()))
    })
    .await
}

/// Returns who decides: a person with the passkey whose answer the form has, if it has one. With it come the
/// terms that were signed.
pub(super) fn decider(
    page: &Page,
    inbox: &Inbox,
    id: &str,
    form: &Form,
) -> Result<Option<(Decider, Option<Terms>)>, Error> {
    let Some(response) = form.get("passkey-response") else { return Ok(None) };
    let Question::Sign { approval, request, terms } = page.asked.take(token(form))? else {
        return Err(Error::usage("this page has asked for no approval"));
    };
    if approval != id {
        return Err(Error::usage("the passkey signed the approval of another call"));
    }
    let party = page.party(inbox)?;
    let answer = Answer { request, party, response: response.to_owned() };
    Ok(Some((Decider { passkey: Some(answer), ..person() }, terms)))
}

fn token(form: &Form) -> &str {
    form.get("passkey-token").unwrap_or_default()
}

/// Whether a passkey can still be used.
pub(super) fn is_usable(credential: &&Credential) -> bool {
    credential.removed_at.is_none()
}
