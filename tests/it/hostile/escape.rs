//! Reaching something else than the API that the account is for.

use super::{Case, Claims, Fault, Group, LIMITS, case, check_all};

pub(super) fn cases() -> Group {
    let mut cases = servers();
    cases.extend(paths());
    cases.extend(queries());
    vec![("list_rooms", cases)]
}

/// Hosts, ports and schemes.
fn servers() -> Vec<Case> {
    vec![
        case("other-server", Fault("to reach http://127.0.0.1:")),
        case("other-host", Fault("to reach http://whereby.example:")),
        case("whereby-itself", Fault("to reach http://api.whereby.dev/")),
        case("host-as-suffix", Fault("to reach http://127.0.0.1.whereby.example:")),
        case("no-port", Fault("to reach http://127.0.0.1/")),
        case("empty-port", Fault("to reach http://127.0.0.1:/")),
        case("port-with-zero", Fault("to reach http://127.0.0.1:0")),
        case("port-out-of-range", Fault("to reach http://127.0.0.1:65536")),
        case("trailing-dot", Fault("to reach http://127.0.0.1.:")),
        case("localhost", Fault("to reach http://localhost:")),
        case("upper-case-localhost", Fault("to reach http://LOCALHOST:")),
        case("short-address", Fault("to reach http://127.1:")),
        case("decimal-address", Fault("to reach http://2130706433:")),
        case("octal-address", Fault("to reach http://0177.0.0.1:")),
        case("hexadecimal-address", Fault("to reach http://0x7f.0.0.1:")),
        case("any-address", Fault("to reach http://0.0.0.0:")),
        case("mapped-address", Fault("to reach http://[::ffff:127.0.0.1]:")),
        case("version-6-loopback", Fault("to reach http://[::1]:")),
        case("look-alike", Claims("unsendable: authority")),
        case("look-alike-encoded", Fault("to reach http://xn--pi-7kc.whereby.dev/")),
        case("metadata-address", Fault("to reach http://169.254.169.254/")),
        case("user-information", Fault("to reach http://user@127.0.0.1:")),
        case("empty-user", Fault("to reach http://@127.0.0.1:")),
        case("host-as-user", Fault("@127.0.0.1:")),
        case("host-as-encoded-user", Claims("unsendable: authority")),
        case("two-hosts", Claims("unsendable: authority")),
        case("authority-with-path", Claims("unsendable: authority")),
        case("authority-with-backslash", Claims("unsendable: authority")),
        case("no-authority", Claims("unsendable: ErrorCode::HttpRequestUriInvalid")),
        case("secure-scheme", Fault("to reach https://127.0.0.1:")),
        case("no-scheme", Fault("to reach https://127.0.0.1:")),
        case("file-scheme", Claims("unsendable: ErrorCode::HttpProtocolError")),
        case("upper-case-scheme", Claims("unsendable: ErrorCode::HttpProtocolError")),
        case("websocket-scheme", Claims("unsendable: ErrorCode::HttpProtocolError")),
    ]
}

fn paths() -> Vec<Case> {
    vec![
        case("no-path", Claims("unsendable: ErrorCode::HttpProtocolError")),
        case("base-alone", Fault("/v1; the account `work` allows http://127.0.0.1:")),
        case("other-base", Fault("/v2/meetings; the account")),
        case("no-base", Fault("/meetings; the account")),
        case("longer-base", Fault("/v11/meetings; the account")),
        case("upper-case-base", Fault("/V1/meetings; the account")),
        case("doubled-base", Fault("to send GET /v1/meetings, which is no request")),
        case("doubled-slash", Fault("to send GET //meetings, which")),
        case("leading-doubled-slash", Fault("/v1/meetings; the account")),
        case("trailing-slash", Fault("to send GET /meetings/, which")),
        case("dots-to-base", Fault("to send GET /../v1/meetings, which")),
        case("dots-before-base", Fault("/x/../v1/meetings; the account")),
        case("single-dot", Fault("to send GET /./meetings, which")),
        case("encoded-dots", Fault("to send GET /%2e%2e/v1/meetings, which")),
        case("doubly-encoded-dots", Fault("to send GET /%252e%252e/v1/meetings, which")),
        case("encoded-slash", Fault("/v1%2fmeetings; the account")),
        case("encoded-letter", Fault("to send GET /%6deetings, which")),
        case("upper-case-path", Fault("to send GET /Meetings, which")),
        case("path-parameter", Fault("to send GET /meetings;x=1, which")),
        case("dots-with-parameter", Fault("to send GET /..;/v1/meetings, which")),
        case("backslash", Fault("/v1\\meetings; the account")),
        case("dots-with-backslash", Fault("to send GET /..\\v1/meetings, which")),
        case("absolute-form", Claims("unsendable: path")),
        case("asterisk-form", Claims("unsendable: path")),
        case("line-break", Claims("unsendable: path")),
        case("encoded-line-break", Fault("to send GET /meetings%0d%0ax:%20y, which")),
        case("null-byte", Claims("unsendable: path")),
        case("encoded-null-byte", Fault("to send GET /meetings%00, which")),
        case("letter-beyond-ascii", Fault("to send GET /m\u{435}etings, which")),
        case("another-resource", Fault("to send GET /rooms, which")),
        case("one-room", Fault("to send GET /meetings/1, which")),
        case("theme", Fault("to send GET /rooms/daily/theme/tokens, which")),
    ]
}

fn queries() -> Vec<Case> {
    vec![
        // A fragment is never sent by anybody, so this is the permitted request.
        case("fragment", Claims("400")).reaching(&["GET /v1/meetings"]),
        case("empty-query", Fault("a query member without a value")),
        case("query-twice", Fault("GET /meetings with other content than asked for")),
        case("member-twice", Fault("the query member cursor twice")),
        case("member-in-another-case", Fault("the query member Fields, which")),
        case("member-encoded", Fault("the query member fields, which")),
        case("member-with-plus", Fault("a query that is not properly encoded")),
        case("member-with-line-break", Fault("a query member cursor of another form")),
        case("member-not-encoded", Fault("a query that is not properly encoded")),
        case("semicolon-separated", Fault("GET /meetings with other content than asked for")),
        case("method-in-query", Fault("the query member _method, which")),
    ]
}

#[tokio::test]
async fn nothing_but_the_api_is_reached() {
    check_all(&[], LIMITS, cases()).await;
}
