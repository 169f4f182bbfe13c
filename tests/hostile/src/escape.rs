//! Attempts to reach something other than the account's API.

use crate::attempt::{Act, Attempt};

const fn reach(
    name: &'static str,
    scheme: &'static str,
    authority: &'static str,
    target: &'static str,
) -> Attempt {
    Attempt { name, function: "list_rooms", act: Act::Reach(scheme, authority, target) }
}

/// Sends to another server; everything else is permitted.
const fn server(name: &'static str, authority: &'static str) -> Attempt {
    reach(name, "http", authority, "{base}/meetings{own}")
}

/// Sends to another path; everything else is permitted.
const fn path(name: &'static str, target: &'static str) -> Attempt {
    reach(name, "http", "{host}:{port}", target)
}

/// Sends with another scheme; everything else is permitted.
const fn scheme(name: &'static str, scheme: &'static str) -> Attempt {
    reach(name, scheme, "{host}:{port}", "{base}/meetings{own}")
}

pub(crate) const ATTEMPTS: &[Attempt] = &[
    // Hosts and ports.
    server("other-server", "{other}"),
    server("other-host", "whereby.example:{port}"),
    server("whereby-itself", "api.whereby.dev"),
    server("host-as-suffix", "{host}.whereby.example:{port}"),
    server("no-port", "{host}"),
    server("empty-port", "{host}:"),
    server("port-with-zero", "{host}:0{port}"),
    server("port-out-of-range", "{host}:65536{port}"),
    server("trailing-dot", "{host}.:{port}"),
    server("localhost", "localhost:{port}"),
    server("upper-case-localhost", "LOCALHOST:{port}"),
    server("short-address", "127.1:{port}"),
    server("decimal-address", "2130706433:{port}"),
    server("octal-address", "0177.0.0.1:{port}"),
    server("hexadecimal-address", "0x7f.0.0.1:{port}"),
    server("any-address", "0.0.0.0:{port}"),
    server("mapped-address", "[::ffff:127.0.0.1]:{port}"),
    server("version-6-loopback", "[::1]:{port}"),
    server("look-alike", "\u{430}pi.whereby.dev"),
    server("look-alike-encoded", "xn--pi-7kc.whereby.dev"),
    server("metadata-address", "169.254.169.254"),
    server("user-information", "user@{host}:{port}"),
    server("empty-user", "@{host}:{port}"),
    server("host-as-user", "{host}:{port}@{other}"),
    server("host-as-encoded-user", "{host}%3a{port}%40{other}"),
    server("two-hosts", "{host}:{port},{other}"),
    server("authority-with-path", "{host}:{port}/x"),
    server("authority-with-backslash", "{other}\\{host}:{port}"),
    server("no-authority", ""),
    // Schemes.
    scheme("secure-scheme", "https"),
    scheme("no-scheme", ""),
    scheme("file-scheme", "file"),
    scheme("upper-case-scheme", "HTTP"),
    scheme("websocket-scheme", "ws"),
    // Paths.
    path("no-path", ""),
    path("base-alone", "{base}"),
    path("other-base", "/v2/meetings{own}"),
    path("no-base", "/meetings{own}"),
    path("longer-base", "{base}1/meetings{own}"),
    path("upper-case-base", "/V1/meetings{own}"),
    path("doubled-base", "{base}{base}/meetings{own}"),
    path("doubled-slash", "{base}//meetings{own}"),
    path("leading-doubled-slash", "//{other}{base}/meetings{own}"),
    path("trailing-slash", "{base}/meetings/{own}"),
    path("dots-to-base", "{base}/../v1/meetings{own}"),
    path("dots-before-base", "/x/../v1/meetings{own}"),
    path("single-dot", "{base}/./meetings{own}"),
    path("encoded-dots", "{base}/%2e%2e/v1/meetings{own}"),
    path("doubly-encoded-dots", "{base}/%252e%252e/v1/meetings{own}"),
    path("encoded-slash", "{base}%2fmeetings{own}"),
    path("encoded-letter", "{base}/%6deetings{own}"),
    path("upper-case-path", "{base}/Meetings{own}"),
    path("path-parameter", "{base}/meetings;x=1{own}"),
    path("dots-with-parameter", "{base}/..;/v1/meetings{own}"),
    path("backslash", "{base}\\meetings{own}"),
    path("dots-with-backslash", "{base}/..\\v1/meetings{own}"),
    path("absolute-form", "http://{other}{base}/meetings{own}"),
    path("asterisk-form", "*"),
    path("line-break", "{base}/meetings HTTP/1.1\r\nx: y\r\n\r\nGET /v1/meetings"),
    path("encoded-line-break", "{base}/meetings%0d%0ax:%20y{own}"),
    path("null-byte", "{base}/meetings\0{own}"),
    path("encoded-null-byte", "{base}/meetings%00{own}"),
    path("letter-beyond-ascii", "{base}/m\u{435}etings{own}"),
    path("another-resource", "{base}/rooms{own}"),
    path("one-room", "{base}/meetings/1{own}"),
    path("theme", "{base}/rooms/daily/theme/tokens"),
    // Queries.
    path("fragment", "{base}/meetings{own}#/../rooms"),
    path("empty-query", "{base}/meetings?"),
    path("query-twice", "{base}/meetings{own}?limit=1"),
    path("member-twice", "{base}/meetings{own}&cursor=x"),
    path("member-in-another-case", "{base}/meetings{own}&Fields=hostRoomUrl"),
    path("member-encoded", "{base}/meetings{own}&%66ields=hostRoomUrl"),
    path("member-with-plus", "{base}/meetings{own}+x"),
    path("member-with-line-break", "{base}/meetings{own}%0d%0ax"),
    path("member-not-encoded", "{base}/meetings{own}%zz"),
    path("semicolon-separated", "{base}/meetings{own};fields=hostRoomUrl"),
    path("method-in-query", "{base}/meetings{own}&_method=DELETE"),
];
