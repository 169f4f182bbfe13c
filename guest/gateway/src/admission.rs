//! Which requests are taken, by what stands in their head. Nothing of their body has been read then.

use crate::json::{Json, ToJson as _};
use crate::prelude::*;
use crate::reply::Reply;
use crate::settings::Settings;

/// Where the protocol is spoken.
const PATH: &str = "/mcp";

/// The greatest size of a body, in bytes.
pub(crate) const MOST_BODY_BYTES: usize = 128 * 1024;

/// The versions of the protocol that are spoken, newest first. None of them wants more of a server that
/// has no sessions and no streams than the others do.
pub(crate) const VERSIONS: &[&str] = &["2025-11-25", "2025-06-18", "2025-03-26"];

/// The head of a request.
pub(crate) struct Head {
    pub(crate) is_post: bool,
    /// The path, with the query where there is one.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// The values of a header, in order.
    fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice()).collect()
    }
}

/// Lets a request through, or says why not.
pub(crate) fn admit(head: &Head, settings: &Settings) -> Result<(), Reply> {
    if head.path.split('?').next() != Some(PATH) {
        return Err(Reply::refusal(404, format!("there is nothing here; MCP is spoken at {PATH}")));
    }
    if !head.is_post {
        let refusal = Reply::refusal(405, "there are no sessions and no streams here: POST alone");
        return Err(refusal.with_header("allow", "POST"));
    }
    if !head.values("origin").into_iter().all(|origin| settings.admits_origin(origin)) {
        return Err(Reply::refusal(403, "requests of this origin are not taken"));
    }
    if !settings.admits_authorization(&head.values("authorization")) {
        let refusal = Reply::refusal(401, "a bearer token is needed");
        return Err(refusal.with_header("www-authenticate", "Bearer"));
    }
    check_content(head)
}

/// Checks what the request brings and takes: JSON, unencoded, and not too much of it.
fn check_content(head: &Head) -> Result<(), Reply> {
    let types = head.values("content-type");
    if types.is_empty() || !types.iter().all(|value| media_type(value) == b"application/json") {
        return Err(Reply::refusal(415, "the content type must be application/json"));
    }
    if !head.values("content-encoding").iter().all(|value| value.eq_ignore_ascii_case(b"identity"))
    {
        return Err(Reply::refusal(415, "the body must not be encoded"));
    }
    let accepts = head.values("accept");
    let takes_json = |value: &&[u8]| {
        let json: [&[u8]; 3] = [b"application/json", b"application/*", b"*/*"];
        value.split(|byte| *byte == b',').any(|range| json.contains(&media_type(range).as_slice()))
    };
    if !accepts.is_empty() && !accepts.iter().any(takes_json) {
        return Err(Reply::refusal(406, "the answer is application/json, which is not accepted"));
    }
    let is_long = |value: &[u8]| {
        let length = core::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        length.is_none_or(|length: usize| length > MOST_BODY_BYTES)
    };
    match head.values("content-length").into_iter().any(is_long) {
        true => Err(too_long()),
        false => Ok(()),
    }
}

/// The media type without its parameters, in lower case.
fn media_type(value: &[u8]) -> Vec<u8> {
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().to_ascii_lowercase()
}

/// A body that is longer than is taken.
pub(crate) fn too_long() -> Reply {
    Reply::refusal(413, format!("the body is longer than {MOST_BODY_BYTES} bytes"))
}

/// Checks the version of the protocol, where the request names one. Does not hold for the handshake,
/// whose own word counts. The error says what is spoken.
pub(crate) fn check_version(head: &Head) -> Result<(), Json> {
    let is_spoken = |value: &&[u8]| VERSIONS.iter().any(|version| version.as_bytes() == *value);
    let versions = head.values("mcp-protocol-version");
    let Some(other) = versions.iter().find(|value| !is_spoken(value)) else { return Ok(()) };
    let requested = String::from_utf8_lossy(other).chars().take(40).collect::<String>();
    let supported = VERSIONS.iter().map(|version| Json::word(version)).collect();
    Err(Json::object(vec![
        ("supported", Json::List(supported)),
        ("requested", requested.to_json()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::{Head, admit, check_version};
    use crate::reply::Body;
    use crate::settings::Settings;

    const TOKEN: &str = "Bearer 0123456789abcdef";

    fn settings() -> Settings {
        let variables = [
            ("WHEREBY_GATEWAY_TOKEN", "0123456789abcdef"),
            ("WHEREBY_GATEWAY_ALLOWED_ORIGINS", "https://app.example"),
        ];
        Settings::from_variables(variables.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec())
            .expect("good settings")
    }

    /// The status of the answer to a request with these headers besides the usual ones, and the header
    /// that it has; 200 where it is let through.
    fn status(path: &str, is_post: bool, headers: &[(&str, &str)]) -> (u16, Option<&'static str>) {
        let usual = [("Authorization", TOKEN), ("content-type", "application/json")];
        let is_given =
            |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let usual = usual.iter().filter(|(name, _)| !is_given(name));
        let headers = usual
            .chain(headers)
            .filter(|(_, value)| *value != "-")
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect();
        match admit(&Head { is_post, path: path.to_owned(), headers }, &settings()) {
            Ok(()) => (200, None),
            Err(reply) => {
                assert_ne!(reply.body, Body::Empty);
                (reply.status, reply.header.map(|(name, _)| name))
            }
        }
    }

    #[test]
    fn the_protocol_is_spoken_in_one_place_by_post() {
        for path in ["/mcp", "/mcp?x=1"] {
            assert_eq!(status(path, true, &[]), (200, None), "{path}");
            assert_eq!(status(path, false, &[]), (405, Some("allow")), "{path}");
        }
        for path in ["/", "", "/mcp/", "/mcp2", "/MCP", "//mcp", "/x/../mcp", "/mcp#"] {
            assert_eq!(status(path, true, &[]), (404, None), "{path}");
        }
    }

    #[test]
    fn what_a_request_must_bring() {
        for (headers, expected) in [
            (&[("authorization", "-")][..], 401),
            (&[("authorization", "Bearer 0123456789abcdeF")], 401),
            (&[("authorization", TOKEN), ("authorization", TOKEN)], 401),
            (&[("origin", "https://app.example")], 200),
            (&[("origin", "https://evil.example")], 403),
            (&[("origin", "https://app.example"), ("Origin", "https://evil.example")], 403),
            (&[("origin", "null")], 403),
            // A page learns nothing of tokens.
            (&[("origin", "null"), ("authorization", "-")], 403),
            (&[("content-type", "-")], 415),
            (&[("content-type", "text/plain")], 415),
            (&[("content-type", "application/jsonp")], 415),
            (&[("content-type", "application/json"), ("content-type", "text/plain")], 415),
            (&[("content-type", "Application/JSON; charset=utf-8")], 200),
            (&[("content-encoding", "gzip")], 415),
            (&[("content-encoding", "identity")], 200),
            (&[("accept", "text/event-stream")], 406),
            (&[("accept", "text/event-stream, application/json")], 200),
            (&[("accept", "text/event-stream"), ("accept", "application/*;q=0.1")], 200),
            (&[("accept", "*/*")], 200),
            (&[("content-length", "131072")], 200),
            (&[("content-length", "131073")], 413),
            (&[("content-length", "99999999999999999999")], 413),
            (&[("content-length", "-1")], 413),
        ] {
            assert_eq!(status("/mcp", true, headers).0, expected, "{headers:?}");
        }
        assert_eq!(status("/mcp", true, &[("authorization", "-")]).1, Some("www-authenticate"));
    }

    #[test]
    fn a_version_that_is_named_must_be_spoken() {
        for (versions, is_spoken) in [
            (&[][..], true),
            (&["2025-06-18"], true),
            (&["2025-03-26"], true),
            (&["2024-11-05"], false),
            (&["2025-06-18", "x"], false),
            (&[""], false),
        ] {
            let header =
                |version: &&str| ("MCP-Protocol-Version".to_owned(), version.as_bytes().to_vec());
            let headers = versions.iter().map(header).collect();
            let head = Head { is_post: true, path: "/mcp".to_owned(), headers };
            assert_eq!(check_version(&head).is_ok(), is_spoken, "{versions:?}");
        }
    }
}
