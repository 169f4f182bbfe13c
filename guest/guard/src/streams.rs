//! The streams of bodies.

use core::cell::{Cell, RefCell};

use crate::Component;
use crate::bindings::exports::wasi::io::streams::{
    Guest, GuestInputStream, GuestOutputStream, InputStream, InputStreamBorrow, OutputStream,
    StreamError,
};
use crate::bindings::wasi::clocks::monotonic_clock;
use crate::bindings::wasi::io::poll::Pollable;
use crate::prelude::*;
use crate::request::Body;
use crate::state::Held;

/// How much may be written at once, in bytes.
const WRITE_CHUNK: usize = 16 * 1024;

impl Guest for Component {
    type InputStream = Input;
    type OutputStream = Output;
}

/// The bytes of a response, and how many of them were read.
pub(crate) struct Input {
    bytes: RefCell<Vec<u8>>,
    read: Cell<usize>,
    _held: Held,
}

impl Input {
    /// Returns a stream that is at its end, and never changes.
    pub(crate) fn empty() -> Self {
        Self { bytes: RefCell::default(), read: Cell::default(), _held: Held::fixed() }
    }

    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: RefCell::new(bytes), read: Cell::new(0), _held: Held::default() }
    }

    fn take(&self, most: u64) -> Result<Vec<u8>, StreamError> {
        let mut bytes = self.bytes.borrow_mut();
        let start = self.read.get();
        let left = bytes.get(start..).unwrap_or_default();
        if left.is_empty() {
            return Err(StreamError::Closed);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(left.len());
        if most == bytes.len() {
            // Most read everything at once.
            return Ok(core::mem::take(&mut *bytes));
        }
        self.read.set(start + most);
        Ok(left.get(..most).unwrap_or_default().to_vec())
    }
}

impl GuestInputStream for Input {
    fn read(&self, len: u64) -> Result<Vec<u8>, StreamError> {
        self.take(len)
    }

    fn blocking_read(&self, len: u64) -> Result<Vec<u8>, StreamError> {
        self.take(len)
    }

    fn skip(&self, len: u64) -> Result<u64, StreamError> {
        self.take(len).map(|bytes| bytes.len() as u64)
    }

    fn blocking_skip(&self, len: u64) -> Result<u64, StreamError> {
        self.skip(len)
    }

    fn subscribe(&self) -> Pollable {
        ready()
    }
}

/// Returns a pollable that is ready.
pub(crate) fn ready() -> Pollable {
    monotonic_clock::subscribe_duration(0)
}

/// Where written bytes go: to the body of a request, or nowhere.
pub(crate) struct Output {
    body: Option<Rc<Body>>,
    _held: Held,
}

impl Output {
    /// Returns a stream that never changes.
    pub(crate) fn nowhere() -> Self {
        Self { body: None, _held: Held::fixed() }
    }

    pub(crate) fn to(body: Rc<Body>) -> Self {
        Self { body: Some(body), _held: Held::default() }
    }

    fn add(&self, bytes: &[u8]) -> Result<(), StreamError> {
        match &self.body {
            Some(body) if !body.write(bytes) => Err(StreamError::Closed),
            _ => Ok(()),
        }
    }
}

impl GuestOutputStream for Output {
    fn check_write(&self) -> Result<u64, StreamError> {
        self.flush().map(|()| WRITE_CHUNK as u64)
    }

    fn write(&self, contents: Vec<u8>) -> Result<(), StreamError> {
        self.add(&contents)
    }

    fn blocking_write_and_flush(&self, contents: Vec<u8>) -> Result<(), StreamError> {
        self.add(&contents)
    }

    fn flush(&self) -> Result<(), StreamError> {
        match &self.body {
            Some(body) if !body.is_open() => Err(StreamError::Closed),
            _ => Ok(()),
        }
    }

    fn blocking_flush(&self) -> Result<(), StreamError> {
        self.flush()
    }

    fn subscribe(&self) -> Pollable {
        ready()
    }

    fn write_zeroes(&self, len: u64) -> Result<(), StreamError> {
        match usize::try_from(len) {
            Ok(len) if len <= WRITE_CHUNK => self.add(&vec![0; len]),
            _ => Err(StreamError::Closed),
        }
    }

    fn blocking_write_zeroes_and_flush(&self, len: u64) -> Result<(), StreamError> {
        self.write_zeroes(len)
    }

    fn splice(&self, src: InputStreamBorrow<'_>, len: u64) -> Result<u64, StreamError> {
        let bytes = src.get::<Input>().take(len.min(WRITE_CHUNK as u64))?;
        self.add(&bytes).map(|()| bytes.len() as u64)
    }

    fn blocking_splice(&self, src: InputStreamBorrow<'_>, len: u64) -> Result<u64, StreamError> {
        self.splice(src, len)
    }
}

impl From<Input> for InputStream {
    fn from(input: Input) -> Self {
        Self::new(input)
    }
}

impl From<Output> for OutputStream {
    fn from(output: Output) -> Self {
        Self::new(output)
    }
}
