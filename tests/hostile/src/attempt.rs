//! Finds the attempt that a call names, and makes it.

use crate::types::Error;
use crate::wire::{Message, own_request};
use crate::{authority, creation, deletion, escape, exhaustion, lies, program, theft};
use wasi::http::types::Method;

/// One kind of misbehavior.
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    /// The function in which it is made, as JSON spells it.
    pub(crate) function: &'static str,
    pub(crate) act: Act,
}

/// The action of an attempt.
pub(crate) enum Act {
    /// A custom action.
    Do(fn(&Scene) -> Ending),
    /// Sends the permitted request to another URL: scheme, authority, and path with query. `{host}`,
    /// `{port}` and `{base}` are the API's, `{other}` is another server, and `{own}` is the permitted
    /// query.
    Reach(&'static str, &'static str, &'static str),
    /// Sends the permitted request with a header.
    Set(&'static str, &'static str),
    /// Sends the permitted request with another method.
    Use(&'static str),
}

/// The input of an attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    /// The attempt's name, which is also the cursor, the room, or the prefix of the new room's name.
    pub(crate) name: String,
    /// The whole argument that contains the name.
    pub(crate) argument: String,
    /// The address of another server.
    pub(crate) other: String,
    pub(crate) limit: Option<u32>,
    pub(crate) session: String,
    pub(crate) end: Option<String>,
}

impl Scene {
    /// Parses `name`, `name address`, or the URL of a room with that name.
    pub(crate) fn new(argument: &str) -> Self {
        let (first, other) = argument.split_once(' ').unwrap_or((argument, ""));
        let name = first.rsplit('/').next().unwrap_or(first);
        Self {
            name: name.to_owned(),
            argument: argument.to_owned(),
            other: other.to_owned(),
            ..Self::default()
        }
    }
}

/// The result that the component claims.
pub(crate) struct Ending {
    /// The outcome of the attempt, for the test.
    pub(crate) report: String,
    /// The number of rooms to return.
    pub(crate) copies: usize,
    pub(crate) number: Option<f64>,
}

impl Ending {
    pub(crate) fn report(report: impl Into<String>) -> Self {
        Self { report: report.into(), copies: 1, number: None }
    }
}

fn all() -> impl Iterator<Item = &'static Attempt> {
    [
        authority::ATTEMPTS,
        creation::ATTEMPTS,
        deletion::ATTEMPTS,
        escape::ATTEMPTS,
        exhaustion::ATTEMPTS,
        lies::ATTEMPTS,
        theft::ATTEMPTS,
    ]
    .into_iter()
    .flatten()
}

/// Returns every attempt with its function: `list_rooms:state`.
pub(crate) fn names() -> impl Iterator<Item = String> {
    all().map(|attempt| format!("{}:{}", attempt.function, attempt.name))
}

/// Makes the attempt that the call names.
pub(crate) fn run(function: &str, scene: &Scene) -> Result<Ending, Error> {
    if program::is_program(scene) {
        return program::run(function, scene);
    }
    let found = all().find(|known| known.function == function && known.name == scene.name);
    let Some(attempt) = found else {
        return Err(Error::InvalidArgument(format!("no attempt is called {}", scene.name)));
    };
    let mut message = own_request(scene);
    match &attempt.act {
        Act::Do(act) => return Ok(act(scene)),
        Act::Reach(scheme, authority, target) => message.aim(scene, scheme, authority, target),
        Act::Set(name, value) => {
            message.headers.push(((*name).to_owned(), value.as_bytes().to_vec()));
        }
        Act::Use(method) => message.method = method_of(method),
    }
    Ok(report_of(&message))
}

fn method_of(name: &str) -> Method {
    match name {
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "CONNECT" => Method::Connect,
        other => Method::Other(other.to_owned()),
    }
}

/// Sends a request and returns the outcome.
pub(crate) fn report_of(message: &Message) -> Ending {
    Ending::report(message.send().summary())
}
