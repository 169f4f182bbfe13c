//! Capability tokens of calls: the signature is verified once, and whether the token is revoked, expired or
//! used up is looked up for every call.

use super::Session;
use super::authorization::blocking;
use crate::error::Error;
use crate::session::call::Call;
use crate::store::{Store, TokenUse};
use crate::token::{Fault, Key, Verified};
use std::fmt;
use std::sync::Arc;

/// Returns the error for a token that cannot be used.
pub(super) fn refused(why: &impl fmt::Display) -> Error {
    Error::Denied {
        message: format!("the capability token cannot be used: {why}"),
        rule: None,
        instead: "do not try another way; ask the person who gave you the token for another one"
            .into(),
    }
}

/// Reads a token and verifies its signatures with the key of an installation.
fn verified(store: &Store, text: &str) -> Result<Verified, Error> {
    let key = store.token_key()?;
    let key = key.map(|secret| Key::of(&secret)).transpose().map_err(|fault| refused(&fault))?;
    Verified::parse(text, key.as_ref()).map_err(|fault| refused(&fault))
}

impl Session {
    /// Reads a token and verifies its signatures. It must not be revoked, expired or used up.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] says which of these it is.
    pub(crate) async fn open_token(&self, text: &str) -> Result<Arc<Verified>, Error> {
        let token = self.read_token(text).await?;
        self.check(token.to_use()).await?;
        Ok(token)
    }

    /// Reads a token and verifies its signatures.
    pub(super) async fn read_token(&self, text: &str) -> Result<Arc<Verified>, Error> {
        let text = text.to_owned();
        blocking(self.store_of_tokens()?, move |store| verified(store, &text)).await.map(Arc::new)
    }

    fn store_of_tokens(&self) -> Result<&Arc<Store>, Error> {
        match &self.0.store {
            Ok(Some(store)) => Ok(store),
            // Without its key, every token is of another installation.
            Ok(None) => Err(refused(&Fault::OtherInstallation)),
            Err(error) => Err(error.clone()),
        }
    }

    /// Refuses a call whose token cannot be used any more.
    pub(super) async fn check_token(&self, call: &Call) -> Result<(), Error> {
        let Some(token) = &call.token else { return Ok(()) };
        self.check(token.to_use()).await
    }

    /// Refuses a call whose token is revoked or expired. It may be used up.
    pub(super) async fn check_token_but_uses(&self, call: &Call) -> Result<(), Error> {
        let Some(token) = &call.token else { return Ok(()) };
        self.check(TokenUse { uses: Vec::new(), ..token.to_use() }).await
    }

    async fn check(&self, token: TokenUse) -> Result<(), Error> {
        let store = self.store_of_tokens()?;
        match blocking(store, move |store| store.check_token(&token)).await? {
            Some(spent) => Err(refused(&spent)),
            None => Ok(()),
        }
    }

    /// Like [`Self::check_token`], but records nothing.
    pub(super) fn look_at_token(&self, call: &Call) -> Result<(), Error> {
        let Some(token) = &call.token else { return Ok(()) };
        match self.store_of_tokens()?.look_at_token(&token.to_use())? {
            Some(spent) => Err(refused(&spent)),
            None => Ok(()),
        }
    }
}
