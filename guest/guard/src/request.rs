//! The requests that the functions write.

use core::cell::{Cell, RefCell};

use crate::bindings::exports::wasi::http::outgoing_handler;
use crate::bindings::exports::wasi::http::types::{
    ErrorCode, Fields as FieldsHandle, FutureIncomingResponse, Guest, GuestOutgoingBody,
    GuestOutgoingRequest, GuestRequestOptions, IoError, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use crate::bindings::exports::wasi::io::streams::OutputStream;
use crate::exchange::{Exchange, Future};
use crate::fields::Fields;
use crate::guard::Outgoing;
use crate::prelude::*;
use crate::response::{IncomingBody, IncomingResponse, Trailers};
use crate::state::{self, Held};
use crate::streams::Output;
use crate::{Component, is_text};

/// The maximum length of a part of a request's target, in bytes.
const MAX_PART: usize = 16 * 1024;

impl Guest for Component {
    type Fields = Fields;
    type FutureIncomingResponse = Future;
    type FutureTrailers = Trailers;
    type IncomingBody = IncomingBody;
    type IncomingResponse = IncomingResponse;
    type OutgoingBody = BodyWriter;
    type OutgoingRequest = Request;
    type RequestOptions = Options;

    /// Knows of no error, because no stream of the guard has one.
    fn http_error_code(_: &IoError) -> Option<ErrorCode> {
        None
    }
}

impl outgoing_handler::Guest for Component {
    // Inlined, because it never fails at once: then there is no code for its errors.
    #[inline(always)]
    fn handle(
        request: OutgoingRequest,
        _: Option<RequestOptions>,
    ) -> Result<FutureIncomingResponse, ErrorCode> {
        let request: Request = request.into_inner();
        // Before the body is read, so that many unfinished bodies cannot exhaust memory.
        let Ok(number) = state::with(|guard| guard.begin()) else {
            return Ok(FutureIncomingResponse::new(Future::of(Exchange::refused().into())));
        };
        let body = request.body.take();
        let exchange = Rc::new(Exchange::new(number, request.into_outgoing()));
        match body {
            None => exchange.start(&[]),
            Some(body) if body.is_finished() => exchange.start(&body.bytes.take()),
            Some(body) if body.state.get() == BodyState::Dropped => exchange.cut_off(),
            Some(body) => *body.waiting.borrow_mut() = Some(Rc::clone(&exchange)),
        }
        Ok(FutureIncomingResponse::new(Future::of(exchange)))
    }
}

/// A request that is being written.
pub(crate) struct Request {
    headers: Fields,
    method: RefCell<Method>,
    path: RefCell<Option<String>>,
    scheme: RefCell<Option<Scheme>>,
    authority: RefCell<Option<String>>,
    body: RefCell<Option<Rc<Body>>>,
    _held: Held,
}

impl Request {
    fn into_outgoing(self) -> Outgoing {
        Outgoing {
            method: match self.method.into_inner() {
                Method::Get => "GET".into(),
                Method::Head => "HEAD".into(),
                Method::Post => "POST".into(),
                Method::Put => "PUT".into(),
                Method::Delete => "DELETE".into(),
                Method::Connect => "CONNECT".into(),
                Method::Options => "OPTIONS".into(),
                Method::Trace => "TRACE".into(),
                Method::Patch => "PATCH".into(),
                Method::Other(other) => other.into(),
            },
            scheme: match self.scheme.into_inner() {
                Some(Scheme::Http) => "http".into(),
                Some(Scheme::Https) | None => "https".into(),
                Some(Scheme::Other(other)) => other.into(),
            },
            authority: self.authority.into_inner().unwrap_or_default(),
            path_and_query: self.path.into_inner().unwrap_or_default(),
            headers: self.headers.into_names(),
        }
    }
}

/// Replaces a part of a request's target. `text` returns the string in it.
fn set<T>(part: &RefCell<T>, value: T, text: impl FnOnce(&T) -> &str) -> Result<(), ()> {
    let text = text(&value);
    if text.len() > MAX_PART || !is_text(text) {
        return Err(());
    }
    *part.borrow_mut() = value;
    Ok(())
}

fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

impl GuestOutgoingRequest for Request {
    fn new(headers: FieldsHandle) -> Self {
        Self {
            headers: headers.into_inner(),
            method: RefCell::new(Method::Get),
            path: RefCell::new(None),
            scheme: RefCell::new(None),
            authority: RefCell::new(None),
            body: RefCell::new(None),
            _held: Held::default(),
        }
    }

    fn body(&self) -> Result<OutgoingBody, ()> {
        let mut body = self.body.borrow_mut();
        if body.is_some() {
            return Err(());
        }
        let new = Rc::new(Body::default());
        *body = Some(Rc::clone(&new));
        Ok(OutgoingBody::new(BodyWriter { body: new, _held: Held::default() }))
    }

    fn method(&self) -> Method {
        self.method.borrow().clone()
    }

    fn set_method(&self, method: Method) -> Result<(), ()> {
        set(&self.method, method, |method| match method {
            Method::Other(other) => other,
            _ => "",
        })
    }

    fn path_with_query(&self) -> Option<String> {
        self.path.borrow().clone()
    }

    fn set_path_with_query(&self, path: Option<String>) -> Result<(), ()> {
        set(&self.path, path, text)
    }

    fn scheme(&self) -> Option<Scheme> {
        self.scheme.borrow().clone()
    }

    fn set_scheme(&self, scheme: Option<Scheme>) -> Result<(), ()> {
        set(&self.scheme, scheme, |scheme| match scheme {
            Some(Scheme::Other(other)) => other,
            _ => "",
        })
    }

    fn authority(&self) -> Option<String> {
        self.authority.borrow().clone()
    }

    fn set_authority(&self, authority: Option<String>) -> Result<(), ()> {
        set(&self.authority, authority, text)
    }

    fn headers(&self) -> FieldsHandle {
        FieldsHandle::new(self.headers.frozen())
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BodyState {
    #[default]
    Open,
    Finished,
    /// It was dropped before it was whole.
    Dropped,
}

/// The body of a request.
#[derive(Default)]
pub(crate) struct Body {
    bytes: RefCell<Vec<u8>>,
    state: Cell<BodyState>,
    has_writer: Cell<bool>,
    /// The request that was handed over before the body was whole.
    waiting: RefCell<Option<Rc<Exchange>>>,
}

impl Body {
    pub(crate) fn is_open(&self) -> bool {
        self.state.get() == BodyState::Open
    }

    fn is_finished(&self) -> bool {
        self.state.get() == BodyState::Finished
    }

    /// Adds bytes. Returns whether they are kept.
    pub(crate) fn write(&self, more: &[u8]) -> bool {
        let mut bytes = self.bytes.borrow_mut();
        let may_write =
            self.is_open() && state::with(|guard| guard.may_write(bytes.len(), more.len()));
        if may_write {
            bytes.extend_from_slice(more);
        }
        may_write
    }
}

/// The functions' handle of a body.
pub(crate) struct BodyWriter {
    body: Rc<Body>,
    _held: Held,
}

impl GuestOutgoingBody for BodyWriter {
    fn write(&self) -> Result<OutputStream, ()> {
        if self.body.has_writer.replace(true) {
            return Err(());
        }
        Ok(OutputStream::new(Output::to(Rc::clone(&self.body))))
    }

    #[inline(always)]
    fn finish(this: OutgoingBody, trailers: Option<FieldsHandle>) -> Result<(), ErrorCode> {
        let this: Self = this.into_inner();
        let body = &this.body;
        if trailers.is_some() || !body.is_open() {
            // Dropped, it is not whole.
            return Err(ErrorCode::HttpRequestDenied);
        }
        body.state.set(BodyState::Finished);
        if let Some(exchange) = body.waiting.take() {
            exchange.start(&body.bytes.take());
        }
        Ok(())
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if self.body.is_open() {
            self.body.state.set(BodyState::Dropped);
            self.body.bytes.take();
            if let Some(exchange) = self.body.waiting.take() {
                exchange.cut_off();
            }
        }
    }
}

/// The timeouts that the functions ask for. The guard ignores them, and sets its own.
#[derive(Default)]
pub(crate) struct Options {
    connect: Cell<Option<u64>>,
    first_byte: Cell<Option<u64>>,
    between_bytes: Cell<Option<u64>>,
    _held: Held,
}

impl GuestRequestOptions for Options {
    fn new() -> Self {
        Self::default()
    }

    fn connect_timeout(&self) -> Option<u64> {
        self.connect.get()
    }

    fn set_connect_timeout(&self, duration: Option<u64>) -> Result<(), ()> {
        self.connect.set(duration);
        Ok(())
    }

    fn first_byte_timeout(&self) -> Option<u64> {
        self.first_byte.get()
    }

    fn set_first_byte_timeout(&self, duration: Option<u64>) -> Result<(), ()> {
        self.first_byte.set(duration);
        Ok(())
    }

    fn between_bytes_timeout(&self) -> Option<u64> {
        self.between_bytes.get()
    }

    fn set_between_bytes_timeout(&self, duration: Option<u64>) -> Result<(), ()> {
        self.between_bytes.set(duration);
        Ok(())
    }
}
