//! A transport for tests: it answers from a script, or by a function, and sends nothing.

use crate::prelude::*;

use super::{Failure, FailureKind, Method, Reply, Request, Transport};

type Answer<'a> = dyn FnMut(&Request) -> Result<Reply, Failure> + 'a;

/// A transport that answers by a function.
pub(crate) struct Fake<'a> {
    answer: Box<Answer<'a>>,
    /// How many requests a script still waits for.
    left: std::rc::Rc<std::cell::Cell<usize>>,
    /// How many requests each call of `send_all` had.
    pub(crate) batches: Vec<usize>,
    /// The requests that were made.
    pub(crate) requests: Vec<Request>,
}

impl<'a> Fake<'a> {
    /// Answers each request by a function.
    pub(crate) fn new(answer: impl FnMut(&Request) -> Result<Reply, Failure> + 'a) -> Self {
        Self {
            answer: Box::new(answer),
            left: std::rc::Rc::default(),
            batches: Vec::new(),
            requests: Vec::new(),
        }
    }

    /// Expects these requests in this order, and answers them with a status and a body.
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

    /// Expects no request at all.
    pub(crate) fn silent() -> Self {
        Self::new(|request| panic!("{} was sent", request.target))
    }

    /// A reply with a body.
    pub(crate) fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.as_bytes().to_vec(), ..Reply::default() }
    }

    /// Checks that the whole script was used.
    pub(crate) fn finish(self) {
        assert_eq!(self.left.get(), 0, "requests of the script were not sent");
    }
}

impl Transport for Fake<'_> {
    fn send_all(&mut self, requests: Vec<Request>) -> Vec<Result<Reply, Failure>> {
        self.batches.push(requests.len());
        let results = requests.iter().map(|request| (self.answer)(request)).collect();
        self.requests.extend(requests);
        results
    }
}

/// A failure of some kind, of a request that may have been sent.
pub(crate) fn failure(kind: FailureKind) -> Failure {
    Failure { kind, text: "it failed".to_owned(), maybe_sent: true }
}
