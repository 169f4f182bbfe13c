//! The front of a guarded component. It exports the functions, and for each call it asks the guard for a
//! grant, calls the functions behind it, and ends the grant.
//!
//! It trusts the guard, and not the functions: their result is passed on only if the guard agrees.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod json;
#[cfg(target_arch = "wasm32")]
#[path = "../../src/runtime.rs"]
mod runtime;

use alloc::string::String;
use alloc::vec::Vec;

use bindings::exports::whereby::agent::read::Guest as ReadGuest;
#[cfg(feature = "write")]
use bindings::exports::whereby::agent::write::Guest as WriteGuest;
use bindings::whereby::agent::read;
use bindings::whereby::agent::types;
#[cfg(feature = "write")]
use bindings::whereby::agent::write;
use bindings::whereby::guard::grants::{self, Refusal};
use json::{Object, ToJson};
use types::Error;

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
        path: ["../../wit", "../guard/wit"],
        inline: "
            package whereby:front;
            world full {
                import whereby:guard/grants@0.1.0;
                import whereby:agent/types@0.1.0;
                import whereby:agent/read@0.1.0;
                import whereby:agent/write@0.1.0;
                export whereby:agent/read@0.1.0;
                export whereby:agent/write@0.1.0;
            }
        ",
        world: "whereby:front/full",
        generate_all,
    });
    #[cfg(not(feature = "write"))]
    wit_bindgen::generate!({
        path: ["../../wit", "../guard/wit"],
        inline: "
            package whereby:front;
            world reader {
                import whereby:guard/grants@0.1.0;
                import whereby:agent/types@0.1.0;
                import whereby:agent/read@0.1.0;
                export whereby:agent/read@0.1.0;
            }
        ",
        world: "whereby:front/reader",
        generate_all,
    });

    #[cfg(target_arch = "wasm32")]
    use super::Component;
    #[cfg(target_arch = "wasm32")]
    export!(Component);
}

/// The component.
struct Component;

impl ReadGuest for Component {
    fn list_rooms(limit: Option<u32>, cursor: Option<String>) -> Result<types::RoomPage, Error> {
        let arguments: Arguments<'_> = &[("limit", &limit), ("cursor", &cursor)];
        guarded("list_rooms", arguments, || read::list_rooms(limit, cursor.as_deref()))
    }

    fn get_room(room_name: String) -> Result<types::Room, Error> {
        guarded("get_room", &[("room_name", &room_name)], || read::get_room(&room_name))
    }

    fn list_meetings(
        limit: Option<u32>,
        cursor: Option<String>,
        from_date: Option<String>,
        to_date: Option<String>,
        room_name: Option<String>,
    ) -> Result<types::MeetingPage, Error> {
        let arguments: Arguments<'_> = &[
            ("limit", &limit),
            ("cursor", &cursor),
            ("from_date", &from_date),
            ("to_date", &to_date),
            ("room_name", &room_name),
        ];
        guarded("list_meetings", arguments, || {
            read::list_meetings(
                limit,
                cursor.as_deref(),
                from_date.as_deref(),
                to_date.as_deref(),
                room_name.as_deref(),
            )
        })
    }

    fn get_meeting(meeting_id: String) -> Result<types::Meeting, Error> {
        guarded("get_meeting", &[("meeting_id", &meeting_id)], || read::get_meeting(&meeting_id))
    }

    fn get_current_user() -> Result<types::CurrentUser, Error> {
        guarded("get_current_user", &[], read::get_current_user)
    }
}

#[cfg(feature = "write")]
impl WriteGuest for Component {
    fn create_room(
        room_mode: Option<types::RoomMode>,
        room_name_prefix: Option<String>,
        start_date: Option<String>,
        end_date: Option<String>,
        fields: Option<Vec<types::RoomField>>,
    ) -> Result<types::CreatedRoom, Error> {
        let arguments: Arguments<'_> = &[
            ("room_mode", &room_mode),
            ("room_name_prefix", &room_name_prefix),
            ("start_date", &start_date),
            ("end_date", &end_date),
            ("fields", &fields),
        ];
        guarded("create_room", arguments, || {
            write::create_room(
                room_mode,
                room_name_prefix.as_deref(),
                start_date.as_deref(),
                end_date.as_deref(),
                fields.as_deref(),
            )
        })
    }

    fn delete_room(room_name: String) -> Result<types::DeletedRoom, Error> {
        guarded("delete_room", &[("room_name", &room_name)], || write::delete_room(&room_name))
    }
}

/// The arguments of a call, by their names in JSON.
type Arguments<'a> = &'a [(&'a str, &'a dyn ToJson)];

/// Makes a call under a grant.
fn guarded<T>(
    function: &str,
    arguments: Arguments<'_>,
    call: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    #[cfg(target_arch = "wasm32")]
    runtime::begin_call();
    let result = open(function, arguments).and_then(|()| {
        let result = call();
        // The guard's reason comes before the functions' result, whatever that is.
        close(result.is_ok()).and(result)
    });
    #[cfg(target_arch = "wasm32")]
    runtime::end_call();
    result
}

#[inline(never)]
fn open(function: &str, arguments: Arguments<'_>) -> Result<(), Error> {
    let mut json = String::new();
    let mut object = Object::begin(&mut json);
    arguments.iter().for_each(|(name, value)| object.member(name, *value));
    object.end();
    grants::open(function, &json).map_err(from_refusal)
}

#[inline(never)]
fn close(succeeded: bool) -> Result<(), Error> {
    grants::close(succeeded).map_err(from_refusal)
}

fn from_refusal(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Denied(reason) => Error::AccessDenied(reason),
        Refusal::Invalid(reason) => Error::InvalidArgument(reason),
        Refusal::Unavailable(reason) => Error::Unavailable(reason),
        Refusal::Unexpected(reason) => Error::UnexpectedResponse(reason),
    }
}
