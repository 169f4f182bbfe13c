//! Handwritten requests, without the checks of the real component.

use crate::attempt::Scene;
use wasi::http::outgoing_handler;
use wasi::http::types::{
    Fields, FutureIncomingResponse, IncomingBody, Method, OutgoingBody, OutgoingRequest, Scheme,
};
use wasi::io::streams::StreamError;

/// The maximum number of bytes that `wasi:io` allows in one write.
const WRITE_CHUNK: usize = 4096;

/// A request for the host.
pub(crate) struct Message {
    pub(crate) method: Method,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) authority: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Option<Vec<u8>>,
}

/// The API's URL, from the component's environment.
struct Api {
    host: String,
    port: String,
    base: String,
}

impl Api {
    fn new() -> Self {
        let url = variables().into_iter().find(|(name, _)| name == "WHEREBY_API_URL");
        let url = url.map(|(_, url)| url).unwrap_or_default();
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let (authority, base) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
        Self { host: host.to_owned(), port: port.to_owned(), base: format!("/{base}") }
    }
}

/// Returns the component's environment.
pub(crate) fn variables() -> Vec<(String, String)> {
    wasi::cli::environment::get_environment()
}

/// The only request that a call of `list-rooms` may send.
pub(crate) fn own_request(scene: &Scene) -> Message {
    Message::get(&format!("/meetings{}", own_query(scene)))
}

/// The query of the requested page.
pub(crate) fn own_query(scene: &Scene) -> String {
    let limit = scene.limit.map(|limit| format!("limit={limit}&")).unwrap_or_default();
    match scene.argument.as_str() {
        // There was no cursor.
        "obedience" => format!("?{limit}").trim_end_matches(['&', '?']).to_owned(),
        cursor => format!("?{limit}cursor={}", cursor.replace(' ', "%20")),
    }
}

/// The request that finds a call's room by its name.
pub(crate) fn lookup(scene: &Scene) -> Message {
    Message::get(&format!("/meetings?roomName[startsWith]=/{}", scene.name))
}

impl Message {
    /// Returns a request to the API. The target is relative to its base.
    pub(crate) fn new(method: Method, target: &str) -> Self {
        let api = Api::new();
        Self {
            method,
            scheme: Some(Scheme::Http),
            authority: Some(format!("{}:{}", api.host, api.port)),
            target: Some(format!("{}{target}", api.base)),
            headers: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new(Method::Get, target)
    }

    pub(crate) fn delete(id: &str) -> Self {
        Self::new(Method::Delete, &format!("/meetings/{id}"))
    }

    pub(crate) fn post(body: impl Into<Vec<u8>>) -> Self {
        Self { body: Some(body.into()), ..Self::new(Method::Post, "/meetings") }
    }

    /// Sends it elsewhere; see `Act::Reach`.
    pub(crate) fn aim(&mut self, scene: &Scene, scheme: &str, authority: &str, target: &str) {
        let api = Api::new();
        let fill = |template: &str| {
            template
                .replace("{host}", &api.host)
                .replace("{port}", &api.port)
                .replace("{base}", &api.base)
                .replace("{other}", &scene.other)
                .replace("{own}", &own_query(scene))
        };
        self.scheme = match scheme {
            "" => None,
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            other => Some(Scheme::Other(other.to_owned())),
        };
        let given = |template: &str| (!template.is_empty()).then(|| fill(template));
        self.authority = given(authority);
        self.target = given(target);
    }

    /// Returns the request as a resource, or the reason why there is none.
    pub(crate) fn outgoing(&self) -> Result<OutgoingRequest, String> {
        let wrong = |what: &str| format!("unsendable: {what}");
        let mut headers = self.headers.clone();
        // If the host leaks the key, this uses it.
        if let Some((_, token)) =
            variables().into_iter().find(|(name, _)| name == "WHEREBY_ACCESS_TOKEN")
        {
            headers.push(("authorization".to_owned(), format!("Bearer {token}").into_bytes()));
        }
        let headers =
            Fields::from_list(&headers).map_err(|error| wrong(&format!("headers ({error:?})")))?;
        let outgoing = OutgoingRequest::new(headers);
        outgoing.set_method(&self.method).map_err(|()| wrong("method"))?;
        outgoing.set_scheme(self.scheme.as_ref()).map_err(|()| wrong("scheme"))?;
        outgoing.set_authority(self.authority.as_deref()).map_err(|()| wrong("authority"))?;
        outgoing.set_path_with_query(self.target.as_deref()).map_err(|()| wrong("path"))?;
        Ok(outgoing)
    }

    /// Sends the request with its body, without waiting for the response.
    pub(crate) fn hand_over(&self) -> Result<FutureIncomingResponse, String> {
        let outgoing = self.outgoing()?;
        let body = match &self.body {
            None => None,
            Some(_) => Some(outgoing.body().map_err(|()| "unsendable: body".to_owned())?),
        };
        let future = outgoing_handler::handle(outgoing, None)
            .map_err(|code| format!("unsendable: {code:?}"))?;
        if let (Some(body), Some(bytes)) = (body, &self.body) {
            write(&body, bytes);
            // A body that does not have the announced length cannot be finished; the response shows that.
            let _ = OutgoingBody::finish(body, None);
        }
        Ok(future)
    }

    /// Sends the request and waits for the response.
    pub(crate) fn send(&self) -> Answer {
        match self.hand_over() {
            Ok(future) => Answer::of(&future),
            Err(failure) => Answer { failure, ..Answer::default() },
        }
    }
}

/// Writes to a body as much as the host accepts.
pub(crate) fn write(body: &OutgoingBody, bytes: &[u8]) {
    let Ok(stream) = body.write() else { return };
    for chunk in bytes.chunks(WRITE_CHUNK) {
        if stream.blocking_write_and_flush(chunk).is_err() {
            return;
        }
    }
}

/// A response.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The reason why there is no response; empty if there is one.
    pub(crate) failure: String,
}

impl Answer {
    /// Waits for a response.
    pub(crate) fn of(future: &FutureIncomingResponse) -> Self {
        future.subscribe().block();
        let response = match future.get() {
            Some(Ok(Ok(response))) => response,
            other => return Self { failure: format!("no answer: {other:?}"), ..Self::default() },
        };
        let headers = response.headers().entries().into_iter();
        let headers =
            headers.map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()));
        Self {
            status: response.status(),
            headers: headers.collect(),
            body: response.consume().map(|body| read(&body)).unwrap_or_default(),
            failure: String::new(),
        }
    }

    /// Returns the status, or the reason why there is none.
    pub(crate) fn summary(&self) -> String {
        match self.failure.as_str() {
            "" => self.status.to_string(),
            failure => failure.to_owned(),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the ids in a listing of the rooms whose name matches.
    pub(crate) fn ids(&self, passes: impl Fn(&str) -> bool) -> Vec<String> {
        let text = self.text();
        let member = |object: &str, name: &str| -> Option<String> {
            let (_, rest) = object.split_once(&format!("\"{name}\":"))?;
            let rest = rest.trim_start().trim_start_matches('"');
            Some(rest.split(['"', ',', '}']).next().unwrap_or_default().to_owned())
        };
        let rooms = text
            .split('{')
            .filter_map(|object| Some((member(object, "meetingId")?, member(object, "roomName")?)));
        rooms.filter(|(_, name)| passes(name)).map(|(id, _)| id).collect()
    }
}

fn read(body: &IncomingBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Ok(stream) = body.stream() else { return bytes };
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed | StreamError::LastOperationFailed(_)) => return bytes,
        }
    }
}
