//! The responses that the functions read.

use core::cell::{Cell, RefCell};

use crate::bindings::exports::wasi::http::types::{
    ErrorCode, Fields as FieldsHandle, FutureTrailers, GuestFutureTrailers, GuestIncomingBody,
    GuestIncomingResponse, IncomingBody as BodyHandle,
};
use crate::bindings::exports::wasi::io::streams::InputStream;
use crate::bindings::wasi::io::poll::Pollable;
use crate::fields::Fields;
use crate::guard::Answer;
use crate::prelude::*;
use crate::state::Held;
use crate::streams::{self, Input};

/// A response that the guard wrote.
pub(crate) struct IncomingResponse {
    status: u16,
    headers: Fields,
    body: RefCell<Option<Vec<u8>>>,
    _held: Held,
}

impl IncomingResponse {
    pub(crate) fn new(answer: Answer) -> Self {
        let headers = answer.headers.into_iter().map(|(name, value)| (name, value.into_bytes()));
        Self {
            status: answer.status,
            headers: Fields::immutable(headers.collect()),
            body: RefCell::new(Some(answer.body)),
            _held: Held::default(),
        }
    }
}

impl GuestIncomingResponse for IncomingResponse {
    fn status(&self) -> u16 {
        self.status
    }

    fn headers(&self) -> FieldsHandle {
        FieldsHandle::new(self.headers.frozen())
    }

    fn consume(&self) -> Result<BodyHandle, ()> {
        let body = self.body.take().ok_or(())?;
        Ok(BodyHandle::new(IncomingBody {
            bytes: RefCell::new(Some(body)),
            _held: Held::default(),
        }))
    }
}

/// The body of a response.
pub(crate) struct IncomingBody {
    bytes: RefCell<Option<Vec<u8>>>,
    _held: Held,
}

impl GuestIncomingBody for IncomingBody {
    fn stream(&self) -> Result<InputStream, ()> {
        Ok(InputStream::new(Input::new(self.bytes.take().ok_or(())?)))
    }

    fn finish(_: BodyHandle) -> FutureTrailers {
        FutureTrailers::new(Trailers::default())
    }
}

/// The trailers of a response: none.
#[derive(Default)]
pub(crate) struct Trailers {
    were_read: Cell<bool>,
    _held: Held,
}

impl GuestFutureTrailers for Trailers {
    fn subscribe(&self) -> Pollable {
        streams::ready()
    }

    fn get(&self) -> Option<Result<Result<Option<FieldsHandle>, ErrorCode>, ()>> {
        Some(if self.were_read.replace(true) { Err(()) } else { Ok(Ok(None)) })
    }
}
