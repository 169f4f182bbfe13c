//! Getting hold of the token, of what else is secret, or of the token's place in a request.

use super::{Arena, Claims, Fault, Group, LIMITS, case, check_all, report};
use serde_json::json;
use whereby::simulator::Reply;

const LISTED: &[&str] = &["GET /v1/meetings"];

pub(super) fn cases() -> Group {
    let cases = vec![
        case("environment", Claims("WHEREBY_API_URL=http://127.0.0.1:")),
        case("standard-input", Claims("closed")),
        case("echoed-token", Claims("[] ")).reaching(LISTED).with(echo_token),
        case("echoed-token-apart", Claims("[ r e d a c t e d ] !"))
            .reaching(LISTED)
            .with(spell_token),
        case("redirect", Claims("302")).reaching(LISTED).with(redirect),
        case("set-authorization", Fault("the header authorization; it may set none")),
        case("set-authorization-in-capitals", Fault("the header authorization;")),
        case("set-cookie", Fault("the header cookie;")),
        case("set-host", Claims("unsendable: headers")),
        case("set-forwarded-host", Fault("the header x-forwarded-host;")),
        case("set-original-url", Fault("the header x-original-url;")),
        case("set-method", Fault("the header x-http-method-override;")),
        case("set-transfer-encoding", Claims("unsendable: headers")),
        case("set-connection", Claims("unsendable: headers")),
        case("set-upgrade", Claims("unsendable: headers")),
        case("set-expect", Fault("the header expect;")),
        case("set-proxy-authorization", Claims("unsendable: headers")),
        case("set-range", Fault("the header range;")),
        case("set-accept-encoding", Fault("the header accept-encoding;")),
        case("set-line-break", Claims("unsendable: headers")),
        case("set-content-length-of-nothing", Claims("unsendable: ")),
        case("set-content-length-of-letters", Claims("unsendable: headers")),
        case("set-harmless-agent", Claims("400")).reaching(LISTED),
        case("set-harmless-accept", Claims("400")).reaching(LISTED),
        case("set-trailers", Fault("the header trailer;")),
        case("cut-header", Fault("incomplete utf-8 byte sequence")),
        case("cut-method", Fault("incomplete utf-8 byte sequence")),
        case("cut-scheme", Fault("incomplete utf-8 byte sequence")),
        case("cut-authority", Fault("incomplete utf-8 byte sequence")),
        case("cut-path", Fault("incomplete utf-8 byte sequence")),
    ];
    vec![
        ("list_rooms", cases),
        ("get_current_user", vec![case("current-user", Claims("WHEREBY_KEY_CLAIMS={"))]),
    ]
}

/// The API gives the token back, in its headers and in its body.
fn echo_token(arena: &Arena) {
    let token = arena.world.simulator.token();
    let reply = Reply::status(400)
        .header("retry-after", token)
        .header("x-ratelimit-limit", &format!("Bearer {token}"))
        .header("set-cookie", &format!("key={token}"))
        .body(format!("Bearer {token}, again {token}"));
    arena.world.simulator.script("GET", "/v1/meetings", 1, reply);
}

/// The API gives the token back in another spelling, which only a reader of JSON sees through.
fn spell_token(arena: &Arena) {
    let token = arena.world.simulator.token().replace('.', "\\u002e");
    let reply = Reply::status(400).body(format!("{{\"error\": \"no: {token}!\"}}"));
    arena.world.simulator.script("GET", "/v1/meetings", 1, reply);
}

/// The API sends whoever follows to another server.
fn redirect(arena: &Arena) {
    let place = format!("http://{}/v1/meetings", arena.other.address);
    let reply = Reply::status(302).header("location", &place);
    arena.world.simulator.script("GET", "/v1/meetings", 1, reply);
}

#[tokio::test]
async fn the_token_stays_with_the_host() {
    check_all(&[], LIMITS, cases()).await;
}

#[tokio::test]
async fn a_component_knows_where_the_api_is_and_nothing_else_of_its_surroundings() {
    let arena = Arena::new(&[], LIMITS).await;
    let outcome = arena.attempt("list_rooms", "environment").await;
    let result = outcome.result.expect("a page");
    let url = arena.world.simulator.url();
    assert_eq!(report("list_rooms", &result), format!("WHEREBY_API_URL={url} [] None"));

    let result = arena.attempt("get_current_user", "").await.result.expect("a user");
    let told = report("get_current_user", &result);
    let claims = told
        .strip_prefix(&format!("WHEREBY_API_URL={url} WHEREBY_KEY_CLAIMS="))
        .and_then(|rest| rest.strip_suffix(" [] None"))
        .unwrap_or_else(|| panic!("{told}"));
    let claims: serde_json::Value = serde_json::from_str(claims).expect("JSON");
    let names: Vec<&String> = claims.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["organizationId", "iat", "exp"]);
}

#[tokio::test]
async fn of_an_answer_only_harmless_headers_are_shown() {
    let arena = Arena::new(&[], LIMITS).await;
    redirect(&arena);
    let result = arena.attempt("list_rooms", "redirect").await.result.expect("a page");
    assert_eq!(report("list_rooms", &result), "302 []");
    echo_token(&arena);
    let result = arena.attempt("list_rooms", "echoed-token").await.result.expect("a page");
    assert_eq!(report("list_rooms", &result), "[] ", "of what is not JSON there is no byte");
    assert_eq!(arena.session.call(None, "list_rooms", json!({})).await.requests.len(), 1);
}
