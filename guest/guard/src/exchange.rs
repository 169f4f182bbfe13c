//! One request of the functions: judged, sent as the guard's own, and answered.

use core::cell::RefCell;

use crate::bindings::exports::wasi::http::types::{
    ErrorCode, GuestFutureIncomingResponse, IncomingResponse as ResponseHandle,
};
use crate::bindings::wasi::clocks::monotonic_clock;
use crate::bindings::wasi::http::types::{
    FutureIncomingResponse, IncomingResponse as TheirResponse,
};
use crate::bindings::wasi::io::poll::Pollable;
use crate::error;
use crate::guard::{CallNumber, Outgoing, Stopped};
use crate::outgoing::{self, Failure};
use crate::prelude::*;
use crate::response::IncomingResponse;
use crate::state::{self, Held};
use crate::streams;
use whereby_authority::grant::Admitted;

/// How long a pollable takes to be ready while the body of a request is missing, in nanoseconds.
const PAUSE: u64 = 1_000_000;

/// A request, from when it is handed over until its response was read.
pub(crate) struct Exchange {
    number: CallNumber,
    stage: RefCell<Stage>,
}

enum Stage {
    /// Its body is not whole.
    Unfinished(Outgoing),
    Sent(FutureIncomingResponse, Admitted),
    Failed(ErrorCode),
    /// Its result was taken. The future stays until the functions drop theirs, because they may hold a
    /// pollable of it.
    Over {
        _future: Option<FutureIncomingResponse>,
    },
}

impl Exchange {
    pub(crate) fn new(number: CallNumber, outgoing: Outgoing) -> Self {
        Self { number, stage: RefCell::new(Stage::Unfinished(outgoing)) }
    }

    /// Returns a request that is refused before it is read.
    pub(crate) fn refused() -> Self {
        let stage = RefCell::new(Stage::Failed(ErrorCode::HttpRequestDenied));
        Self { number: CallNumber::default(), stage }
    }

    /// Judges the request, now that its body is whole, and sends the guard's own.
    pub(crate) fn start(&self, body: &[u8]) {
        let mut stage = self.stage.borrow_mut();
        let Stage::Unfinished(outgoing) = &*stage else { return };
        let next = self.send(outgoing, body);
        *stage = next.unwrap_or_else(Stage::Failed);
    }

    /// Ends the request, whose body will never be whole.
    pub(crate) fn cut_off(&self) {
        state::with(|guard| guard.cut_off(self.number));
        *self.stage.borrow_mut() = Stage::Failed(ErrorCode::HttpRequestDenied);
    }

    fn send(&self, outgoing: &Outgoing, body: &[u8]) -> Result<Stage, ErrorCode> {
        state::with(|guard| {
            let now = guard.time().or_else(state::now).ok_or(ErrorCode::HttpRequestDenied)?;
            let admitted =
                guard.admit(self.number, outgoing, body, now).map_err(error::from_stopped)?;
            let settings = guard.settings().ok_or(ErrorCode::HttpRequestDenied)?;
            match outgoing::send(settings, &admitted) {
                Ok(future) => Ok(Stage::Sent(future, admitted)),
                Err(code) => {
                    guard.failed(self.number, &admitted, error::was_sent(&code));
                    Err(error::from_theirs(code, guard))
                }
            }
        })
    }

    /// Returns the result, if there is one yet.
    fn take(&self) -> Option<Result<ResponseHandle, ErrorCode>> {
        let mut stage = self.stage.borrow_mut();
        if let Stage::Sent(future, _) = &*stage {
            let result = future.get()?;
            let over = core::mem::replace(&mut *stage, Stage::Over { _future: None });
            let Stage::Sent(future, admitted) = over else { return None };
            *stage = Stage::Over { _future: Some(future) };
            return Some(self.receive(result, &admitted));
        }
        match core::mem::replace(&mut *stage, Stage::Over { _future: None }) {
            Stage::Failed(code) => Some(Err(code)),
            other => {
                *stage = other;
                None
            }
        }
    }

    fn receive(
        &self,
        result: Result<Result<TheirResponse, outgoing::TheirCode>, ()>,
        admitted: &Admitted,
    ) -> Result<ResponseHandle, ErrorCode> {
        let lost = |code: outgoing::TheirCode| {
            state::with(|guard| {
                guard.failed(self.number, admitted, error::was_sent(&code));
                error::from_theirs(code, guard)
            })
        };
        let response = match result {
            Ok(Ok(response)) => response,
            Ok(Err(code)) => return Err(lost(code)),
            Err(()) => return Err(lost(outgoing::TheirCode::InternalError(None))),
        };
        let count = |size, more| state::with(|guard| guard.may_read(self.number, size, more));
        match outgoing::read(response, count) {
            Ok(incoming) => state::with(|guard| guard.answered(self.number, admitted, incoming))
                .map(|answer| ResponseHandle::new(IncomingResponse::new(answer)))
                .map_err(error::from_stopped),
            Err(Failure::Code(code)) => Err(lost(code)),
            Err(Failure::Stopped(stopped)) => {
                state::with(|guard| guard.failed(self.number, admitted, true));
                Err(match stopped {
                    Stopped::Unreadable => ErrorCode::HttpResponseBodySize(None),
                    Stopped::Denied => ErrorCode::HttpRequestDenied,
                })
            }
        }
    }
}

/// The functions' handle of a request that was handed over.
pub(crate) struct Future {
    exchange: Rc<Exchange>,
    _held: Held,
}

impl Future {
    pub(crate) fn of(exchange: Rc<Exchange>) -> Self {
        Self { exchange, _held: Held::default() }
    }
}

impl GuestFutureIncomingResponse for Future {
    fn subscribe(&self) -> Pollable {
        match &*self.exchange.stage.borrow() {
            Stage::Sent(future, _) => future.subscribe(),
            Stage::Unfinished(_) => monotonic_clock::subscribe_duration(PAUSE),
            Stage::Failed(_) | Stage::Over { .. } => streams::ready(),
        }
    }

    fn get(&self) -> Option<Result<Result<ResponseHandle, ErrorCode>, ()>> {
        let is_over = matches!(&*self.exchange.stage.borrow(), Stage::Over { .. });
        if is_over { Some(Err(())) } else { self.exchange.take().map(Ok) }
    }
}
