//! A transport for tests, which responds from a script or a function and sends nothing.

use crate::prelude::*;

use super::{Method, Reply, Request, SendError, SendErrorKind, Transport};

type Respond<'a> = dyn FnMut(&Request) -> Result<Reply, SendError> + 'a;

/// A transport that responds through a function.
pub(crate) struct Fake<'a> {
    respond: Box<Respond<'a>>,
    /// The number of requests that the script still expects.
    left: std::rc::Rc<std::cell::Cell<usize>>,
    /// The number of requests in each call of `send_all`.
    pub(crate) batches: Vec<usize>,
    /// The requests that were made.
    pub(crate) requests: Vec<Request>,
}

impl<'a> Fake<'a> {
    /// Returns a transport that responds to each request through a function.
    pub(crate) fn new(respond: impl FnMut(&Request) -> Result<Reply, SendError> + 'a) -> Self {
        Self {
            respond: Box::new(respond),
            left: std::rc::Rc::default(),
            batches: Vec::new(),
            requests: Vec::new(),
        }
    }

    /// Returns a transport that expects these requests in this order and responds with a status and a body.
    pub(crate) fn script<T: Into<String>, B: Into<String>, const N: usize>(
        exchanges: [(Method, T, u16, B); N],
    ) -> Self {
        let exchanges =
            exchanges.map(|(method, target, status, body)| -> (Method, String, u16, String) {
                (method, target.into(), status, body.into())
            });
        let mut exchanges = exchanges.into_iter();
        let left = std::rc::Rc::new(std::cell::Cell::new(N));
        let counter = left.clone();
        let fake = Self::new(move |request| {
            let (method, target, status, body) =
                exchanges.next().unwrap_or_else(|| panic!("{} was not expected", request.target));
            counter.set(counter.get() - 1);
            assert_eq!((request.method, &request.target), (method, &target));
            Ok(Self::reply(status, &body))
        });
        Self { left, ..fake }
    }

    /// Returns a transport that expects no request.
    pub(crate) fn silent() -> Self {
        Self::new(|request| panic!("{} was sent", request.target))
    }

    /// Returns a reply with a body.
    pub(crate) fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.as_bytes().to_vec(), ..Reply::default() }
    }

    /// Checks that the whole script was used.
    pub(crate) fn finish(self) {
        assert_eq!(self.left.get(), 0, "requests of the script were not sent");
    }
}

impl Transport for Fake<'_> {
    fn send_all(&mut self, requests: Vec<Request>) -> Vec<Result<Reply, SendError>> {
        self.batches.push(requests.len());
        let results = requests.iter().map(|request| (self.respond)(request)).collect();
        self.requests.extend(requests);
        results
    }
}

/// Returns a failure of a request that may have been sent.
pub(crate) fn failure(kind: SendErrorKind) -> SendError {
    SendError { kind, text: "it failed".to_owned(), maybe_sent: true }
}
