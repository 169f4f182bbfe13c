//! Decides from a request's head whether to accept it, before reading its body.

use crate::json::{Json, ToJson as _};
use crate::prelude::*;
use crate::reply::Reply;
use crate::settings::Settings;

/// The path of the MCP endpoint.
const PATH: &str = "/mcp";

/// The maximum size of a body, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 128 * 1024;

/// The supported versions of the protocol, newest first. They require the same of a server without sessions
/// and streams.
pub(crate) const VERSIONS: &[&str] = &["2025-11-25", "2025-06-18", "2025-03-26"];

/// The head of a request.
pub(crate) struct Head {
    pub(crate) is_post: bool,
    /// The path, with the query, if any.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// Returns the values of a header, in order.
    fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice()).collect()
    }
}

/// Checks the head of a request. The error is the response.
pub(crate) fn admit(head: &Head, settings: &Settings) -> Result<(), Reply> {
    if head.path.split('?').next() != Some(PATH) {
        return Err(Reply::refusal(404, format!("not found; the MCP endpoint is {PATH}")));
    }
    if !head.is_post {
        let refusal = Reply::refusal(
            405,
            "method not allowed; use POST, because there are no sessions or streams",
        );
        return Err(refusal.with_header("allow", "POST"));
    }
    if !head.values("origin").into_iter().all(|origin| settings.admits_origin(origin)) {
        return Err(Reply::refusal(403, "requests from this origin are not allowed"));
    }
    if !settings.admits_authorization(&head.values("authorization")) {
        let refusal = Reply::refusal(401, "a valid bearer token is required");
        return Err(refusal.with_header("www-authenticate", "Bearer"));
    }
    check_content(head)
}

/// Checks that the request sends and accepts JSON, unencoded and within the size limit.
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
        return Err(Reply::refusal(406, "the Accept header must allow application/json"));
    }
    let is_long = |value: &[u8]| {
        let length = core::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        length.is_none_or(|length: usize| length > MAX_BODY_BYTES)
    };
    if head.values("content-length").into_iter().any(is_long) { Err(too_long()) } else { Ok(()) }
}

/// Returns the media type without its parameters, in lower case.
fn media_type(value: &[u8]) -> Vec<u8> {
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().to_ascii_lowercase()
}

/// Returns the response to a body that is too long.
pub(crate) fn too_long() -> Reply {
    Reply::refusal(413, format!("the body is longer than {MAX_BODY_BYTES} bytes"))
}

/// Checks the protocol version in the header, if any. The handshake ignores the header, because its body
/// names the version. The error lists the supported versions.
pub(crate) fn check_version(head: &Head) -> Result<(), Json> {
    let is_supported = |value: &&[u8]| VERSIONS.iter().any(|version| version.as_bytes() == *value);
    let versions = head.values("mcp-protocol-version");
    let Some(other) = versions.iter().find(|value| !is_supported(value)) else { return Ok(()) };
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
            .expect("valid settings")
    }

    /// Returns the status and the header name of the response to a request with these headers besides the
    /// usual ones; 200 if it is accepted.
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
    fn the_endpoint_has_one_path_and_takes_post() {
        for path in ["/mcp", "/mcp?x=1"] {
            assert_eq!(status(path, true, &[]), (200, None), "{path}");
            assert_eq!(status(path, false, &[]), (405, Some("allow")), "{path}");
        }
        for path in ["/", "", "/mcp/", "/mcp2", "/MCP", "//mcp", "/x/../mcp", "/mcp#"] {
            assert_eq!(status(path, true, &[]), (404, None), "{path}");
        }
    }

    #[test]
    fn headers_are_checked() {
        for (headers, expected) in [
            (&[("authorization", "-")][..], 401),
            (&[("authorization", "Bearer 0123456789abcdeF")], 401),
            (&[("authorization", TOKEN), ("authorization", TOKEN)], 401),
            (&[("origin", "https://app.example")], 200),
            (&[("origin", "https://evil.example")], 403),
            (&[("origin", "https://app.example"), ("Origin", "https://evil.example")], 403),
            (&[("origin", "null")], 403),
            // A web page learns nothing about tokens.
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
    fn a_version_in_the_header_must_be_supported() {
        for (versions, is_supported) in [
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
            assert_eq!(check_version(&head).is_ok(), is_supported, "{versions:?}");
        }
    }
}
