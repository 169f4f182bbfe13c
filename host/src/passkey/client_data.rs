//! The client data: what the browser was asked for, and by which page, in its own words.

use super::{Fault, RelyingParty, is_local_origin, json};
use serde_json::Value;
use whereby_authority::text;

/// The client data of a response. The passkey signs a hash of it.
#[derive(Debug)]
pub(super) struct ClientData {
    kind: String,
    challenge: Vec<u8>,
    origin: String,
    is_framed: bool,
}

impl ClientData {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        const WHAT: &str = "the client data";
        let text = std::str::from_utf8(bytes);
        let text = text
            .map_err(|_| Fault::Json { what: WHAT, problem: "it is not valid UTF-8".to_owned() })?;
        let value = json::parse(WHAT, text)?;
        let string = |what: &'static str, value: &Value| {
            value.as_str().map(str::to_owned).ok_or(Fault::Member { what, expected: "a string" })
        };
        let is_framed = match &value["crossOrigin"] {
            Value::Null | Value::Bool(false) => !value["topOrigin"].is_null(),
            Value::Bool(true) => true,
            _ => {
                return Err(Fault::Member {
                    what: "`crossOrigin` of the client data",
                    expected: "a boolean",
                });
            }
        };
        let challenge = string("`challenge` of the client data", &value["challenge"])?;
        Ok(Self {
            kind: string("`type` of the client data", &value["type"])?,
            challenge: json::from_base64("`challenge` of the client data", &challenge, 64)?,
            origin: string("`origin` of the client data", &value["origin"])?,
            is_framed,
        })
    }

    /// Checks what was asked for and where.
    pub(super) fn check(
        &self,
        kind: &'static str,
        challenge: &[u8; 32],
        page: Page<'_>,
    ) -> Result<(), Fault> {
        if self.kind != kind {
            return Err(Fault::Type { found: text::printable(&self.kind, 80), expected: kind });
        }
        if self.challenge != challenge {
            return Err(Fault::Challenge);
        }
        let (is_expected, expected) = match page {
            Page::Open(party) => (self.origin == party.origin(), party.origin()),
            Page::Recorded => (is_local_origin(&self.origin), "http://localhost".to_owned()),
        };
        if !is_expected {
            return Err(Fault::Origin { found: text::printable(&self.origin, 200), expected });
        }
        if self.is_framed { Err(Fault::Framed) } else { Ok(()) }
    }
}

/// The page that a passkey was used on.
#[derive(Clone, Copy)]
pub(super) enum Page<'a> {
    /// It is open now.
    Open(&'a RelyingParty),
    /// It was open at the time of a record, on some port.
    Recorded,
}
