//! Functions for Whereby rooms and meetings, as a WebAssembly component of the world `integration` or,
//! without the feature `write`, `reader`.
//!
//! This file connects the component's exports with the modules that do the work. All of them except
//! `http` are pure: they build requests, decode responses, and reach Whereby only through the trait
//! `Transport`.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod account;
mod argument;
mod cursor;
mod date;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod json;
mod meeting_id;
mod meetings;
mod query;
mod response;
mod retry;
mod room_name;
mod rooms;
#[cfg(target_arch = "wasm32")]
mod runtime;
mod settings;
mod surrogate;
mod transport;

use bindings::exports::whereby::agent::read;
use bindings::exports::whereby::agent::types;
#[cfg(feature = "write")]
use bindings::exports::whereby::agent::write;

use http::Http;
use prelude::*;
use settings::Settings;
use types::Error;

/// The items that the prelude of `std` has and that of `core` lacks.
mod prelude {
    pub(crate) use alloc::borrow::ToOwned;
    pub(crate) use alloc::string::{String, ToString};
    pub(crate) use alloc::vec::Vec;
    pub(crate) use alloc::{format, vec};
}

/// The bindings that `wit-bindgen` generates.
#[cfg_attr(
    target_arch = "wasm32",
    expect(unsafe_code, reason = "the canonical ABI moves values through raw memory")
)]
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "generated code; its documentation is the WIT"
)]
mod bindings {
    #[cfg(feature = "write")]
    wit_bindgen::generate!({
        path: "../wit",
        world: "integration",
        additional_derives: [PartialEq],
    });
    #[cfg(not(feature = "write"))]
    wit_bindgen::generate!({
        path: "../wit",
        world: "reader",
        additional_derives: [PartialEq],
    });

    // Other linkers do not accept export names such as `whereby:agent/read#list-rooms`.
    #[cfg(target_arch = "wasm32")]
    export!(Component);

    /// Implements the exported interfaces.
    pub(super) struct Component;
}

use bindings::Component;

impl read::Guest for Component {
    fn list_rooms(limit: Option<u32>, cursor: Option<String>) -> Result<types::RoomPage, Error> {
        call(|http, _| rooms::list_rooms(http, limit, given(cursor)))
    }

    fn get_room(room_name: String) -> Result<types::Room, Error> {
        call(|http, _| rooms::get_room(http, &room_name))
    }

    fn list_meetings(
        limit: Option<u32>,
        cursor: Option<String>,
        from_date: Option<String>,
        to_date: Option<String>,
        room_name: Option<String>,
    ) -> Result<types::MeetingPage, Error> {
        call(|http, _| {
            meetings::list_meetings(
                http,
                limit,
                given(cursor).as_deref(),
                given(from_date).as_deref(),
                given(to_date).as_deref(),
                given(room_name).as_deref(),
            )
        })
    }

    fn get_meeting(meeting_id: String) -> Result<types::Meeting, Error> {
        call(|http, _| meetings::get_meeting(http, &meeting_id))
    }

    fn get_current_user() -> Result<types::CurrentUser, Error> {
        call(|http, settings| account::get_current_user(http, settings))
    }
}

#[cfg(feature = "write")]
impl write::Guest for Component {
    fn create_room(
        room_mode: Option<types::RoomMode>,
        room_name_prefix: Option<String>,
        start_date: Option<String>,
        end_date: Option<String>,
        fields: Option<Vec<types::RoomField>>,
    ) -> Result<types::CreatedRoom, Error> {
        let (start_date, end_date) = (given(start_date), given(end_date));
        let arguments =
            rooms::CreateArguments { room_mode, room_name_prefix, start_date, end_date, fields };
        call(|http, _| rooms::create_room(http, http::now()?, &arguments))
    }

    fn delete_room(room_name: String) -> Result<types::DeletedRoom, Error> {
        call(|http, _| rooms::delete_room(http, &room_name))
    }
}

/// Returns the string unless it is empty: clients send empty strings for arguments that they do not use.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Runs one function with the settings of the environment, and removes the token from its error.
fn call<T>(function: impl FnOnce(&mut Http, &Settings) -> Result<T, Error>) -> Result<T, Error> {
    #[cfg(target_arch = "wasm32")]
    runtime::begin_call();
    let result = Settings::from_variables(http::environment()).and_then(|settings| {
        let result = function(&mut Http::new(&settings), &settings);
        result.map_err(|error| match &settings.token {
            Some(token) => error::without_secret(error, token),
            None => error,
        })
    });
    #[cfg(target_arch = "wasm32")]
    runtime::end_call();
    result
}
