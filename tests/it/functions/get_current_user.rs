//! `get_current_user`: the claims of the key, and whether Whereby accepts it.

use crate::wire::{kind, sent};
use serde_json::{Value, json};
use whereby::simulator::switches::RateLimitHeaders;
use whereby::simulator::{Options, OrganizationSeed, Reply, RoomSeed, Seed, Switches};
use whereby_tests::World;

#[tokio::test]
async fn a_key_that_is_a_jwt_says_whose_it_is() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let user = world.call("get_current_user", json!({})).await.result.expect("a user");
    for (member, expected) in [
        ("name", Value::Null),
        ("email", Value::Null),
        ("plan", Value::Null),
        ("unavailable", json!(["name", "email", "plan"])),
        ("organizationId", json!("47110")),
        ("keyExpires", Value::Null),
        ("authenticated", json!(true)),
        ("subdomain", json!("acme-demo")),
    ] {
        assert_eq!(user[member], expected, "{member}");
    }
    assert!(user["keyIssuedAt"].as_str().is_some_and(|date| date.ends_with('Z')), "{user}");
    assert!(user["source"].as_str().is_some_and(|text| text.contains("not verified")), "{user}");
    assert_eq!(user["rateLimit"]["limit"], 1000);
    assert!(!user.to_string().contains(world.simulator.token()));
    assert_eq!(sent(&world), ["GET /v1/meetings limit=1"]);
}

#[tokio::test]
async fn a_key_that_is_no_jwt_says_nothing_of_itself_and_is_accepted_all_the_same() {
    let organization =
        OrganizationSeed::new("acme-demo", Seed::Rooms(Vec::new())).with_token("opaque-key");
    let options = Options { organizations: vec![organization], ..Options::default() };
    let world = World::with(options).await;
    let user = world.call("get_current_user", json!({})).await.result.expect("a user");
    for member in ["organizationId", "keyIssuedAt", "keyExpires", "subdomain"] {
        assert_eq!(user[member], Value::Null, "{member}");
    }
    assert_eq!(user["authenticated"], true);
    assert_eq!(sent(&world), ["GET /v1/meetings limit=1"]);
}

#[tokio::test]
async fn claims_that_mean_something_else_are_left_out() {
    use std::fmt::Write as _;
    // {"organizationId":"x"…} with dates out of range, as base64url.
    for (payload, organization, issued, expires) in [
        (
            "eyJvcmdhbml6YXRpb25JZCI6Im9yZy0xIiwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjE4MDAwMDAwMDB9",
            json!("org-1"),
            json!("2023-11-14T22:13:20Z"),
            json!("2027-01-15T08:00:00Z"),
        ),
        (
            "eyJvcmdhbml6YXRpb25JZCI6bnVsbCwiaWF0IjotMSwiZXhwIjoxZTMwMH0",
            Value::Null,
            Value::Null,
            Value::Null,
        ),
        ("eyJpYXQiOiJub3cifQ", Value::Null, Value::Null, Value::Null),
        ("bm90IEpTT04", Value::Null, Value::Null, Value::Null),
    ] {
        let mut token = String::new();
        write!(token, "e30.{payload}.c2ln").expect("a text");
        let organization_seed =
            OrganizationSeed::new("acme-demo", Seed::Rooms(Vec::new())).with_token(&token);
        let options = Options { organizations: vec![organization_seed], ..Options::default() };
        let world = World::with(options).await;
        let user = world.call("get_current_user", json!({})).await.result.expect("a user");
        assert_eq!(user["organizationId"], organization, "{payload}");
        assert_eq!(user["keyIssuedAt"], issued, "{payload}");
        assert_eq!(user["keyExpires"], expires, "{payload}");
    }
}

#[tokio::test]
async fn a_key_that_whereby_refuses_is_an_error_and_no_profile() {
    let world = World::new().await;
    world.simulator.script("GET", "/v1/meetings", 1, Reply::status(401));
    let outcome = world.call("get_current_user", json!({})).await;
    assert_eq!(kind(&outcome), "unauthorized");
}

#[tokio::test]
async fn a_rate_limit_that_whereby_does_not_tell_is_null() {
    let world = World::new().await;
    let switches =
        Switches { rate_limit_headers: RateLimitHeaders::Limited, ..Switches::default() };
    world.simulator.set_switches(switches);
    let user = world.call("get_current_user", json!({})).await.result.expect("a user");
    assert_eq!(user["rateLimit"], Value::Null);
    for (header, expected) in [
        ("100", json!({"limit": 100, "remaining": null})),
        ("many", Value::Null),
        ("-1", Value::Null),
        ("99999999999999", Value::Null),
    ] {
        let reply = Reply::carried_out().header("x-ratelimit-limit", header);
        world.simulator.script("GET", "/v1/meetings", 1, reply);
        let user = world.call("get_current_user", json!({})).await.result.expect("a user");
        assert_eq!(user["rateLimit"], expected, "{header}");
    }
}

#[tokio::test]
async fn a_room_elsewhere_than_on_whereby_gives_no_subdomain() {
    let world = World::new().await;
    for (url, expected) in [
        ("https://acme-demo.whereby.com/x", json!("acme-demo")),
        ("https://a.b.whereby.com/x", Value::Null),
        ("https://whereby.com/x", Value::Null),
        ("https://whereby.com.example.org/x", Value::Null),
        ("https://acme.example.org/x", Value::Null),
    ] {
        let row = json!({"meetingId": "1", "roomUrl": url, "endDate": "2030-01-01T00:00:00Z"});
        let reply = Reply::status(200).json(&json!({"results": [row], "cursor": null}));
        world.simulator.script("GET", "/v1/meetings", 1, reply);
        let user = world.call("get_current_user", json!({})).await.result.expect("a user");
        assert_eq!(user["subdomain"], expected, "{url}");
    }
}
