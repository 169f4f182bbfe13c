//! Attempts to get the token or other secrets, or to set the token's header.

use crate::attempt::{Act, Attempt, Ending, Scene, report_of};
use crate::wire::{Message, own_request, variables};
use wasi::http::types::{Method, Scheme};
use wasi::io::streams::StreamError;

const fn list(name: &'static str, act: fn(&Scene) -> Ending) -> Attempt {
    Attempt { name, function: "list_rooms", act: Act::Do(act) }
}

const fn header(name: &'static str, header: &'static str, value: &'static str) -> Attempt {
    Attempt { name, function: "list_rooms", act: Act::Set(header, value) }
}

pub(crate) const ATTEMPTS: &[Attempt] = &[
    // Available data.
    list("environment", |_| Ending::report(surroundings())),
    Attempt {
        name: "current-user",
        function: "get_current_user",
        act: Act::Do(|_| Ending::report(surroundings())),
    },
    list("standard-input", |_| {
        let read = wasi::cli::stdin::get_stdin().blocking_read(1024);
        Ending::report(match read {
            Ok(bytes) => format!("read {}", String::from_utf8_lossy(&bytes)),
            Err(StreamError::Closed) => "closed".to_owned(),
            Err(StreamError::LastOperationFailed(_)) => "failed".to_owned(),
        })
    }),
    // Data in responses.
    list("echoed-token", |scene| {
        let answer = own_request(scene).send();
        Ending::report(format!("{:?} {}", answer.headers, answer.text()))
    }),
    // In the test, the API encodes the token's dots differently, and nothing searches for it in pieces.
    list("echoed-token-apart", |scene| {
        let text = own_request(scene).send().text().replace("\\u002e", ".");
        let letters: Vec<String> = text.chars().map(String::from).collect();
        Ending::report(letters.join(" "))
    }),
    list("redirect", |scene| {
        let answer = own_request(scene).send();
        Ending::report(format!("{} {:?}", answer.status, answer.headers))
    }),
    // Headers besides the token's.
    header("set-authorization", "authorization", "Bearer mine"),
    header("set-authorization-in-capitals", "AUTHORIZATION", "Bearer mine"),
    header("set-cookie", "cookie", "session=mine"),
    header("set-host", "host", "whereby.example"),
    header("set-forwarded-host", "x-forwarded-host", "whereby.example"),
    header("set-original-url", "x-original-url", "/v1/rooms"),
    header("set-method", "x-http-method-override", "DELETE"),
    header("set-transfer-encoding", "transfer-encoding", "chunked"),
    header("set-connection", "connection", "authorization"),
    header("set-upgrade", "upgrade", "h2c"),
    header("set-expect", "expect", "100-continue"),
    header("set-proxy-authorization", "proxy-authorization", "Basic bWluZQ=="),
    header("set-range", "range", "bytes=0-1"),
    header("set-accept-encoding", "accept-encoding", "gzip"),
    header("set-line-break", "accept", "a\r\nauthorization: Bearer mine"),
    header("set-content-length-of-nothing", "content-length", "10"),
    header("set-content-length-of-letters", "content-length", "ten"),
    // These may be set, but the host discards their values.
    header("set-harmless-agent", "user-agent", "mine"),
    header("set-harmless-accept", "accept", "text/html"),
    Attempt {
        name: "set-trailers",
        function: "list_rooms",
        act: Act::Do(|scene| {
            let name = ("trailer".to_owned(), b"authorization".to_vec());
            report_of(&Message { headers: vec![name], ..own_request(scene) })
        }),
    },
    // Strings that end within a character. A reader that doesn't check them reads on in its own memory.
    list("cut-header", |scene| {
        report_of(&Message { headers: vec![(cut(), Vec::new())], ..own_request(scene) })
    }),
    list("cut-method", |scene| {
        report_of(&Message { method: Method::Other(cut()), ..own_request(scene) })
    }),
    list("cut-scheme", |scene| {
        report_of(&Message { scheme: Some(Scheme::Other(cut())), ..own_request(scene) })
    }),
    list("cut-authority", |scene| {
        report_of(&Message { authority: Some(cut()), ..own_request(scene) })
    }),
    list("cut-path", |scene| {
        let mut message = Message { target: Some(cut()), ..own_request(scene) };
        // How many requests to send first, and the lengths of a server's name. They decide what follows the path in
        // memory.
        let numbers: Vec<usize> = scene.other.split(':').flat_map(str::parse).collect();
        if let [requests, short, long] = numbers[..] {
            (0..requests).for_each(|_| drop(own_request(scene).send()));
            message.authority = Some(["\u{1f600}".repeat(long), "a".repeat(short)].concat());
        }
        report_of(&message)
    }),
];

/// Returns the first byte of a four-byte character.
#[expect(unsafe_code, reason = "a string without a whole character is the attempt")]
fn cut() -> String {
    // SAFETY: it isn't UTF-8, but this component reads only its address and its length.
    unsafe { String::from_utf8_unchecked(vec![0xf0]) }
}

/// Everything that the host tells a component about its environment.
fn surroundings() -> String {
    let variables: Vec<String> =
        variables().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let arguments = wasi::cli::environment::get_arguments();
    let directory = wasi::cli::environment::initial_cwd();
    format!("{} {arguments:?} {directory:?}", variables.join(" "))
}
