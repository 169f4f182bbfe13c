//! Passkeys on the inbox page, without a browser: an authenticator in software signs what a browser would,
//! and what a browser would not.

use crate::cli::ran;
use crate::inbox::{Browser, ask, header, state};
use crate::wire::{daily, kind, sent};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use reqwest::{Response, StatusCode};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use whereby::ApprovalState;
use whereby::simulator::RoomSeed;
use whereby_tests::{World, run_with};

const REQUIRED: &str = "[approvals]\nrequire = \"passkey\"\n[permissions]\nwrite = \"ask\"\n";

/// A person is there, and the authenticator has verified who.
const FLAGS: u8 = 0b101;

/// An authenticator with one passkey.
pub(crate) struct Passkey {
    id: Vec<u8>,
    pair: EcdsaKeyPair,
    flags: u8,
    count: u32,
}

impl Passkey {
    pub(crate) fn new(id: u8) -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).expect("a pair");
        Self { id: vec![id; 16], pair, flags: FLAGS, count: 0 }
    }

    fn id(&self) -> String {
        BASE64.encode(&self.id)
    }

    fn data(&self, flags: u8, rest: &[u8]) -> Vec<u8> {
        let site = digest(&SHA256, b"localhost");
        [site.as_ref(), &[flags], &self.count.to_be_bytes(), rest].concat()
    }

    /// Answers `navigator.credentials.create` on the page of a browser.
    fn create(&self, browser: &Browser, options: &Value) -> String {
        let point = self.pair.public_key().as_ref();
        // The key as COSE writes it: EC2, ES256, the curve P-256, x and y.
        let key = [
            &[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32][..],
            &point[1..33],
            &[0x22, 0x58, 32],
            &point[33..],
        ];
        let length = u16::try_from(self.id.len()).expect("short").to_be_bytes();
        let attested = [&[0; 16][..], &length, &self.id, &key.concat()].concat();
        let data = self.data(self.flags | 0b0100_0000, &attested);
        let attestation = [
            &b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58"[..],
            &[u8::try_from(data.len()).expect("short")],
            &data,
        ];
        self.response(json!({
            "clientDataJSON": client_data("webauthn.create", browser, options),
            "attestationObject": BASE64.encode(attestation.concat()),
            "transports": ["internal"],
        }))
    }

    /// Answers `navigator.credentials.get` on the page of a browser.
    fn get(&mut self, browser: &Browser, options: &Value) -> String {
        self.count += 1;
        let (client_data, data) =
            (client_data("webauthn.get", browser, options), self.data(self.flags, &[]));
        let signed = digest(&SHA256, &BASE64.decode(&client_data).expect("base64"));
        let signed = [&data, signed.as_ref()].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).expect("signed");
        self.response(json!({
            "clientDataJSON": client_data,
            "authenticatorData": BASE64.encode(&data),
            "signature": BASE64.encode(signature.as_ref()),
        }))
    }

    fn response(&self, response: Value) -> String {
        let id = self.id();
        json!({"id": id, "rawId": id, "type": "public-key", "response": response}).to_string()
    }
}

fn client_data(kind: &str, browser: &Browser, options: &Value) -> String {
    let origin = format!("http://localhost:{}", browser.port());
    let data = json!({
        "type": kind, "challenge": options["challenge"], "origin": origin, "crossOrigin": false,
    });
    BASE64.encode(data.to_string())
}

/// Prints a code in a terminal.
async fn code(world: &World) -> String {
    let printed = ran(world, &["inbox", "--add-passkey", "--json"], 0).await.json();
    printed["code"].as_str().expect("a code").to_owned()
}

/// What the page answers its script: what to ask the browser, or why not.
async fn asked(response: Response) -> Result<(String, Value), String> {
    let status = response.status();
    let document: Value = response.json().await.expect("JSON");
    match document["error"].as_str() {
        Some(error) => {
            assert_eq!(status, StatusCode::BAD_REQUEST);
            Err(error.to_owned())
        }
        None => {
            let token = document["token"].as_str().expect("a token").to_owned();
            Ok((token, document["options"].clone()))
        }
    }
}

async fn begin(browser: &Browser, code: &str, name: &str) -> Result<(String, Value), String> {
    asked(browser.send("/passkeys/begin", &[("code", code), ("name", name)]).await).await
}

async fn finish(browser: &Browser, token: &str, response: &str) -> Response {
    let fields = [("passkey-token", token), ("passkey-response", response)];
    browser.send("/passkeys", &fields).await
}

/// Adds a passkey as a person does.
pub(crate) async fn enrol(world: &World, browser: &Browser, passkey: &Passkey) {
    let (token, options) = begin(browser, &code(world).await, "Phone").await.expect("options");
    let added = finish(browser, &token, &passkey.create(browser, &options)).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&added, "location"), "/passkeys");
}

async fn sign(
    browser: &Browser,
    id: &str,
    terms: &[(&str, &str)],
) -> Result<(String, Value), String> {
    asked(browser.send(&format!("/approvals/{id}/passkey"), terms).await).await
}

/// Sends a decision with what a passkey signed.
async fn approve(
    browser: &Browser,
    id: &str,
    token: &str,
    response: &str,
    terms: &[(&str, &str)],
) -> Response {
    let own = [
        ("decision", "approve"),
        ("seen", "pending"),
        ("passkey-token", token),
        ("passkey-response", response),
    ];
    browser.send(&format!("/approvals/{id}/decision"), &[&own, terms].concat()).await
}

/// Approves a call with a passkey, as a person does.
async fn approve_with(browser: &Browser, passkey: &mut Passkey, id: &str, terms: &[(&str, &str)]) {
    let (token, options) = sign(browser, id, terms).await.expect("options");
    let response = passkey.get(browser, &options);
    let approved = approve(browser, id, &token, &response, terms).await;
    assert_eq!(approved.status(), StatusCode::SEE_OTHER, "{:?}", approved.text().await);
}

async fn refused(response: Response, because: &str) {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let page = response.text().await.expect("a page");
    assert!(page.contains(because), "{because}: {page}");
}

/// A world in which nothing but a passkey approves.
async fn required() -> World {
    let world = World::with_rooms(vec![daily(), RoomSeed::named("other")]).await;
    world.configure(REQUIRED);
    world
}

fn delete() -> Value {
    json!({"room_name": "daily"})
}

#[tokio::test]
async fn a_passkey_needs_a_code_of_the_terminal_that_works_once() {
    let world = World::new().await;
    let browser = Browser::of(&world).await;
    let passkey = Passkey::new(1);
    let fails = async |code: &str, because: &str| {
        let error = begin(&browser, code, "Phone").await.expect_err("refused");
        assert!(error.contains(because), "{error}");
    };
    fails("00000-00000", "print a new one: whereby inbox --add-passkey").await;
    let good = code(&world).await;
    fails("nonsense", "this is not a code").await;
    let wrong = if good.starts_with('0') { "11111-11111" } else { "00000-00000" };
    fails(wrong, "tries left: 4").await;
    // A name that cannot be one costs no code.
    let error = begin(&browser, &good, "\u{202e}").await.expect_err("refused");
    assert!(error.contains("the name of the passkey"), "{error}");
    let (token, options) = begin(&browser, &good.to_lowercase(), "Phone").await.expect("options");
    fails(&good, "was used already").await;
    let created = passkey.create(&browser, &options);
    refused(finish(&browser, "another token", &created).await, "reload the page").await;
    assert_eq!(finish(&browser, &token, &created).await.status(), StatusCode::SEE_OTHER);
    // Neither the answer nor the passkey is taken twice.
    refused(finish(&browser, &token, &created).await, "reload the page").await;
    let (token, options) = begin(&browser, &code(&world).await, "Again").await.expect("options");
    assert_eq!(options["excludeCredentials"][0]["id"], passkey.id());
    let again = passkey.create(&browser, &options);
    refused(finish(&browser, &token, &again).await, "registered already").await;

    let tried = code(&world).await;
    for left in ["4", "3", "2", "1"] {
        fails(wrong, &format!("tries left: {left}")).await;
    }
    fails(wrong, "invalid after 5 wrong tries").await;
    fails(&tried, "invalid after 5 wrong tries").await;
    // A new code takes the place of the earlier one.
    let (earlier, late) = (code(&world).await, code(&world).await);
    fails(&earlier, "is wrong").await;
    for ahead in [10 * 60, 30 * 24 * 60 * 60] {
        world.move_clock(ahead);
        let browser = Browser::of(&world).await;
        let error = begin(&browser, &late, "Phone").await.expect_err("too late");
        assert!(error.contains("has expired"), "{error}");
    }

    let browser = Browser::of(&world).await;
    let page = browser.page("/passkeys").await;
    assert!(page.contains("Phone") && page.contains(&passkey.id()), "{page}");
    let removed = browser.send("/passkeys/remove", &[("passkey", &passkey.id())]).await;
    assert_eq!(removed.status(), StatusCode::SEE_OTHER);
    assert!(!browser.page("/passkeys").await.contains(&passkey.id()));
    refused(
        browser.send("/passkeys/remove", &[("passkey", &passkey.id())]).await,
        "was removed before",
    )
    .await;
    let decided = world.decisions();
    let details: Vec<&Value> =
        decided.iter().map(|row| &row.decision.as_ref().expect("a decision").details).collect();
    assert_eq!(details[0]["passkey added"], passkey.id());
    assert_eq!(details[1]["passkey removed"], passkey.id());
    assert_eq!(details.len(), 2);
    world.assert_untouched();
}

#[tokio::test]
async fn the_page_tells_where_passkeys_work() {
    let world = World::new().await;
    let browser = Browser::of(&world).await;
    let at_address = browser
        .request(reqwest::Method::GET, "/passkeys")
        .header("host", format!("127.0.0.1:{}", browser.port()))
        .send()
        .await
        .expect("a response");
    let page = at_address.text().await.expect("a page");
    let told = format!("http://localhost:{}/passkeys", browser.port());
    assert!(page.contains("Passkeys work only at") && page.contains(&told), "{page}");
    assert!(!browser.page("/passkeys").await.contains("Passkeys work only at"));
}

#[tokio::test]
async fn a_registered_passkey_approves_the_call_that_it_signed_and_nothing_else_does() {
    let world = required().await;
    let browser = Browser::of(&world).await;
    let (mut passkey, mut stranger) = (Passkey::new(1), Passkey::new(2));
    let id = ask(&world, "delete_room", delete()).await;
    let other = ask(&world, "delete_room", json!({"room_name": "other"})).await;
    let error = sign(&browser, &id, &[]).await.expect_err("there is no passkey");
    assert!(error.contains("no passkey is registered"), "{error}");
    enrol(&world, &browser, &passkey).await;
    assert!(browser.page("/").await.contains("Approve with a passkey"));

    // The form of a page that needs no passkey.
    refused(browser.decide(&id, "approve", "pending").await, "nothing but a passkey").await;
    // A passkey that is not registered, or none.
    let (token, options) = sign(&browser, &id, &[]).await.expect("options");
    assert_eq!(options["allowCredentials"].as_array().map(Vec::len), Some(1));
    let response = stranger.get(&browser, &options);
    refused(approve(&browser, &id, &token, &response, &[]).await, "is not registered").await;
    // A question is for one answer, whatever came of it.
    let response = passkey.get(&browser, &options);
    refused(approve(&browser, &id, &token, &response, &[]).await, "reload the page").await;
    let (token, _) = sign(&browser, &id, &[]).await.expect("options");
    refused(approve(&browser, &id, &token, "{}", &[]).await, "missing or wrong").await;
    // The authenticator did not verify the person, or nobody was there.
    for (flags, because) in [(0b001, "flag UV"), (0b100, "flag UP")] {
        let (token, options) = sign(&browser, &id, &[]).await.expect("options");
        passkey.flags = flags;
        let response = passkey.get(&browser, &options);
        passkey.flags = FLAGS;
        refused(approve(&browser, &id, &token, &response, &[]).await, because).await;
    }
    // What it signed for another call, or with another question.
    let (token, options) = sign(&browser, &other, &[]).await.expect("options");
    let response = passkey.get(&browser, &options);
    let path_of_id = approve(&browser, &id, &token, &response, &[]).await;
    refused(path_of_id, "the approval of another call").await;
    let (token, _) = sign(&browser, &id, &[]).await.expect("options");
    refused(approve(&browser, &id, &token, &response, &[]).await, "another challenge").await;
    let (_, options) = sign(&browser, &id, &[]).await.expect("options");
    let (token, _) = sign(&browser, &id, &[]).await.expect("options");
    let response = passkey.get(&browser, &options);
    refused(approve(&browser, &id, &token, &response, &[]).await, "another challenge").await;
    // Too late, also if the clock is set back afterwards.
    let (token, options) = sign(&browser, &id, &[]).await.expect("options");
    let response = passkey.get(&browser, &options);
    world.move_clock(5 * 60);
    refused(approve(&browser, &id, &token, &response, &[]).await, "older than 5 minutes").await;
    // An answer of the registration is none.
    let (token, options) = begin(&browser, &code(&world).await, "More").await.expect("options");
    let response = passkey.get(&browser, &options);
    let answered = approve(&browser, &id, &token, &response, &[]).await;
    refused(answered, "asked for no approval").await;
    assert_eq!(state(&world.store(), &id), ApprovalState::Pending);
    assert_eq!(kind(&world.call("delete_room", delete()).await), "approval-required");
    world.assert_untouched();

    approve_with(&browser, &mut passkey, &id, &[]).await;
    assert_eq!(state(&world.store(), &id), ApprovalState::Approved);
    world.call("delete_room", delete()).await.result.expect("it is approved");
    let decided = world.decisions();
    let row = decided.last().and_then(|row| row.decision.clone()).expect("a decision");
    assert_eq!((&*row.what, row.passkey.as_deref()), ("approve", Some(&*passkey.id())));
    let assertion = &row.details["passkey"]["assertion"];
    assert_eq!(assertion["credential"], passkey.id());
    assert!(assertion["signature"].is_string() && assertion["client_data"].is_string());

    // Saying no needs no passkey.
    let denied = browser.decide(&other, "deny", "pending").await;
    assert_eq!(denied.status(), StatusCode::SEE_OTHER);
    let (token, options) = sign(&browser, &other, &[]).await.expect("options");
    // A counter that went back means that there is a copy.
    let own = [("decision", "approve"), ("seen", "denied"), ("passkey-token", &*token)];
    passkey.count = 0;
    let response = passkey.get(&browser, &options);
    let fields = [&own[..], &[("passkey-response", &*response)]].concat();
    let path = format!("/approvals/{other}/decision");
    refused(browser.send(&path, &fields).await, "a copy of the passkey").await;
    // Whoever changes their mind needs it.
    passkey.count = 100;
    refused(browser.decide(&other, "approve", "denied").await, "nothing but a passkey").await;
    let (token, options) = sign(&browser, &other, &[]).await.expect("options");
    let response = passkey.get(&browser, &options);
    let own = [("decision", "approve"), ("seen", "denied"), ("passkey-token", &*token)];
    let fields = [&own[..], &[("passkey-response", &*response)]].concat();
    assert_eq!(browser.send(&path, &fields).await.status(), StatusCode::SEE_OTHER);
    let made = world.call("delete_room", json!({"room_name": "other"})).await;
    made.result.expect("it is approved");

    // A passkey that was removed, even between signing and sending.
    let id = ask(&world, "create_room", json!({})).await;
    let (token, options) = sign(&browser, &id, &[]).await.expect("options");
    let response = passkey.get(&browser, &options);
    browser.send("/passkeys/remove", &[("passkey", &passkey.id())]).await;
    refused(approve(&browser, &id, &token, &response, &[]).await, "was removed").await;
    let error = sign(&browser, &id, &[]).await.expect_err("there is no passkey");
    assert!(error.contains("no passkey is registered"), "{error}");
    assert_eq!(kind(&world.call("create_room", json!({})).await), "approval-required");

    // What it signed is verified from the log, also now that it was removed.
    let verified = ran(&world, &["audit", "verify", "--json"], 0).await.json();
    assert_eq!(verified["verify"]["parts"][0]["signatures"], 2);
    let archive = world.path("calls.db").display().to_string();
    ran(&world, &["audit", "archive", &archive], 0).await;
    let verified = ran(&world, &["audit", "verify", &archive, "--json"], 0).await.json();
    assert_eq!(verified["verify"]["parts"][0]["signatures"], 2);
    // Another key in its place is found.
    let database = rusqlite::Connection::open(&archive).expect("a database");
    database.execute_batch("DROP TRIGGER passkeys_go_forward").expect("dropped");
    let sql = "SELECT json_extract(credential, '$.public_key') FROM passkeys";
    let key: String = database.query_row(sql, [], |row| row.get(0)).expect("a key");
    // A letter of the key, before the quote and the brace at the end.
    let (before, after) = key.split_at(key.len() - 10);
    let letter = if after.starts_with('A') { 'B' } else { 'A' };
    let changed = format!("{before}{letter}{}", &after[1..]);
    let sql = "UPDATE passkeys SET credential = replace(credential, ?1, ?2)";
    assert_eq!(database.execute(sql, [&key, &changed]).expect("replaced"), 1);
    let verified = ran(&world, &["audit", "verify", &archive], 1).await;
    for said in ["was registered with a different key", "the signature of its passkey is wrong"] {
        assert!(verified.stdout.contains(said), "{verified:?}");
    }
}

#[tokio::test]
async fn what_was_signed_is_what_is_allowed() {
    let world = required().await;
    let browser = Browser::of(&world).await;
    let mut passkey = Passkey::new(1);
    enrol(&world, &browser, &passkey).await;
    let room =
        |prefix: &str| json!({"room_name_prefix": prefix, "end_date": "2999-01-01T00:00:00Z"});
    let id = ask(&world, "create_room", room("bot-a")).await;
    let signed = [("uses", "3"), ("for", "1h"), ("which", "rooms"), ("rooms", "bot-*")];
    // An assertion for one call is none for more, whatever the form says.
    let (token, options) = sign(&browser, &id, &signed).await.expect("options");
    let response = passkey.get(&browser, &options);
    let changed = [("uses", "1000"), ("for", "7d"), ("which", "rooms"), ("rooms", "*")];
    let approved = approve(&browser, &id, &token, &response, &changed).await;
    assert_eq!(approved.status(), StatusCode::SEE_OTHER);
    let standing = ran(&world, &["approvals", "list", "--json"], 0).await.json();
    let own = &standing["standing"][0];
    assert_eq!(own["uses"], 3, "{own}");
    assert_eq!(own["conditions"]["rooms"], json!(["bot-*"]), "{own}");
    world.call("create_room", room("bot-a")).await.result.expect("it is approved");
    for prefix in ["bot-b", "bot-c"] {
        world.call("create_room", room(prefix)).await.result.expect("it is allowed");
    }
    for prefix in ["bot-d", "other"] {
        let outcome = world.call("create_room", room(prefix)).await;
        assert_eq!(kind(&outcome), "approval-required", "{prefix}");
    }
    assert_eq!(sent(&world).len(), 3);

    // The other way round: one call was signed.
    let id = ask(&world, "create_room", room("one")).await;
    let (token, options) = sign(&browser, &id, &[]).await.expect("options");
    let response = passkey.get(&browser, &options);
    let approved = approve(&browser, &id, &token, &response, &changed).await;
    assert_eq!(approved.status(), StatusCode::SEE_OTHER);
    world.call("create_room", room("one")).await.result.expect("it is approved");
    assert_eq!(kind(&world.call("create_room", room("one")).await), "approval-required");

    // Terms that do not fit are told before anybody signs.
    let id = ask(&world, "delete_room", delete()).await;
    for (terms, because) in [
        (&[("uses", "5"), ("for", "1h"), ("which", "same")][..], "--destructive"),
        (&[("uses", "many")], "the number of calls"),
        (&[("uses", "5"), ("for", "8d"), ("destructive", "on")], "at most 7d"),
        (&[("uses", "5"), ("which", "rooms")], "name the rooms"),
        (&[("uses", "5"), ("which", "same"), ("rooms", "bot-*")], "the same arguments"),
    ] {
        let error = sign(&browser, &id, terms).await.expect_err("refused");
        assert!(error.contains(because), "{because}: {error}");
    }
    assert_eq!(state(&world.store(), &id), ApprovalState::Pending);
    let terms = [("uses", "2"), ("for", "8h"), ("which", "same"), ("destructive", "on")];
    approve_with(&browser, &mut passkey, &id, &terms).await;
    world.call("delete_room", delete()).await.result.expect("it is approved");
}

#[tokio::test]
async fn a_passkey_of_another_installation_approves_nothing_here() {
    let (world, elsewhere) = (required().await, required().await);
    let (browser, other) = (Browser::of(&world).await, Browser::of(&elsewhere).await);
    let mut passkey = Passkey::new(1);
    enrol(&world, &browser, &passkey).await;
    let id = ask(&world, "delete_room", delete()).await;
    let foreign = ask(&elsewhere, "delete_room", delete()).await;
    let error = sign(&other, &foreign, &[]).await.expect_err("there is no passkey");
    assert!(error.contains("no passkey is registered"), "{error}");
    // Even the same key, registered in both, signs for one of them at a time.
    enrol(&elsewhere, &other, &passkey).await;
    let (_, options) = sign(&other, &foreign, &[]).await.expect("options");
    let (token, _) = sign(&browser, &id, &[]).await.expect("options");
    let response = passkey.get(&browser, &options);
    refused(approve(&browser, &id, &token, &response, &[]).await, "another challenge").await;
    let (token, options) = sign(&browser, &id, &[]).await.expect("options");
    let response = passkey.get(&other, &options);
    refused(approve(&browser, &id, &token, &response, &[]).await, "was used on a page of").await;
    for world in [&world, &elsewhere] {
        assert_eq!(kind(&world.call("delete_room", delete()).await), "approval-required");
        world.assert_untouched();
    }
}

#[tokio::test]
async fn nothing_but_a_passkey_opens_a_call() {
    let world = World::with_rooms(vec![daily(), RoomSeed::named("other")]).await;
    let free = "[permissions]\nwrite = \"ask\"\n";
    world.configure(free);
    // Approved before a passkey was required: one call, and the next calls like another one.
    let id = ask(&world, "delete_room", delete()).await;
    world.store().approve(&id).expect("approved");
    let others = ask(&world, "create_room", json!({})).await;
    ran(&world, &["approvals", "approve", &others, "--uses", "3"], 0).await;
    world.configure(REQUIRED);
    assert_eq!(kind(&world.call("delete_room", delete()).await), "approval-required");
    for _ in 0..2 {
        assert_eq!(kind(&world.call("create_room", json!({})).await), "approval-required");
    }
    world.assert_untouched();

    let call = ["call", "delete_room", "--arg", "room_name=daily"];
    let forced = ran(&world, &[&call[..], &["--force"]].concat(), 4).await;
    assert!(forced.stderr.contains("nothing but a passkey approves calls"), "{forced:?}");
    // Nobody is asked on a terminal, and nobody is told of a command that would not help.
    let asked = run_with(&call, world.environment(), "y\ny\n", |streams| {
        streams.stdin_is_terminal = true;
        streams.stderr_is_terminal = true;
    })
    .await;
    assert_eq!(asked.code, 5, "{asked:?}");
    assert!(!asked.stderr.contains("whereby approvals approve"), "{asked:?}");
    assert!(asked.stderr.contains("inbox"), "{asked:?}");
    let open = world.store().approvals(false).expect("read");
    let pending = open.iter().find(|own| own.function == "delete_room").expect("it waits");
    for more in [&[][..], &["--uses", "3", "--destructive"]] {
        let approve = [&["approvals", "approve", &pending.id], more].concat();
        let refused = ran(&world, &approve, 4).await;
        assert!(refused.stderr.contains("nothing but a passkey approves calls"), "{refused:?}");
        assert_eq!(state(&world.store(), &pending.id), ApprovalState::Pending);
    }
    world.assert_untouched();

    // Neither can a program that embeds the library mark it as approved, nor a command under other rules.
    let error = world.store().approve(&pending.id).expect_err("refused");
    assert!(error.to_string().contains("nothing but a passkey approves this call"), "{error}");
    world.configure(free);
    for more in [&[][..], &["--uses", "3", "--destructive"]] {
        let approve = [&["approvals", "approve", &pending.id], more].concat();
        let refused = ran(&world, &approve, 2).await;
        assert!(refused.stderr.contains("nothing but a passkey approves this call"), "{refused:?}");
    }
    world.configure(REQUIRED);
    assert_eq!(state(&world.store(), &pending.id), ApprovalState::Pending);
    assert_eq!(kind(&world.call("delete_room", delete()).await), "approval-required");
    world.assert_untouched();

    // A script, too.
    let script = "app.integrations.whereby.delete_room({ room_name = 'daily' })";
    ran(&world, &["lua", "-e", script], 5).await;
    world.assert_untouched();

    // With the requirement gone, what was approved without one counts again.
    world.configure(free);
    assert_eq!(state(&world.store(), &others), ApprovalState::Expired);
}

#[tokio::test]
async fn a_stricter_file_can_require_a_passkey_and_none_can_give_it_up() {
    let world = World::with_rooms(vec![daily()]).await;
    let delete_it = async |world: &World, code: u8| {
        let force = ["call", "delete_room", "--arg", "room_name=daily", "--force"];
        ran(world, &force, code).await
    };
    for file in ["policy.toml", "project/.whereby.toml"] {
        world.write(file, "[approvals]\nrequire = \"passkey\"\n");
        let refused = delete_it(&world, 4).await;
        assert!(refused.stderr.contains("nothing but a passkey approves calls"), "{refused:?}");
        for other in ["\"anything\"", "\"\"", "false", "[]"] {
            world.write(file, &format!("[approvals]\nrequire = {other}\n"));
            let refused = delete_it(&world, 3).await;
            assert!(refused.stderr.contains("approvals.require"), "{refused:?}");
        }
        world.write(file, "[approvals]\nnotify = [\"/bin/true\"]\n");
        delete_it(&world, 3).await;
        // What the user's own file requires stays required.
        world.configure(REQUIRED);
        world.write(file, "[permissions]\nforce = \"allow\"\nelicitation = \"allow\"\n");
        delete_it(&world, 4).await;
        world.configure("");
        std::fs::remove_file(world.path(file)).expect("removed");
    }
    world.assert_untouched();
    delete_it(&world, 0).await;
}

#[tokio::test]
async fn a_call_under_a_project_that_requires_a_passkey_needs_one_on_any_page() {
    let world = World::with_rooms(vec![daily()]).await;
    let project = world.write("project/.whereby.toml", "[approvals]\nrequire = \"passkey\"\n");
    let id = ask(&world, "delete_room", delete()).await;
    // The page and the command are run where no file requires one.
    std::fs::rename(&project, world.path("moved.toml")).expect("moved");
    let browser = Browser::of(&world).await;
    let mut passkey = Passkey::new(1);
    enrol(&world, &browser, &passkey).await;
    for page in ["/".to_owned(), format!("/approvals/{id}")] {
        let page = browser.page(&page).await;
        assert!(page.contains("Approve with a passkey"), "{page}");
        assert!(page.contains("Allow with a passkey") && !page.contains("Approve once"), "{page}");
    }
    refused(browser.decide(&id, "approve", "pending").await, "nothing but a passkey").await;
    // Neither is a client asked whose answer would not count.
    let asked = crate::mcp::questions(&world, "delete_room", delete()).await;
    assert!(asked.starts_with("[] ") && asked.contains("with a passkey"), "{asked}");
    let command = ran(&world, &["approvals", "approve", &id], 2).await;
    assert!(command.stderr.contains("nothing but a passkey approves this call"), "{command:?}");
    assert_eq!(state(&world.store(), &id), ApprovalState::Pending);
    assert_eq!(kind(&world.call("delete_room", delete()).await), "approval-required");
    world.assert_untouched();
    approve_with(&browser, &mut passkey, &id, &[]).await;
    std::fs::rename(world.path("moved.toml"), &project).expect("moved back");
    world.call("delete_room", delete()).await.result.expect("it is approved");
}

#[tokio::test]
async fn what_a_removed_passkey_signed_is_void() {
    let world = required().await;
    let browser = Browser::of(&world).await;
    let mut passkey = Passkey::new(1);
    enrol(&world, &browser, &passkey).await;
    let room =
        |prefix: &str| json!({"room_name_prefix": prefix, "end_date": "2999-01-01T00:00:00Z"});
    let more = ask(&world, "create_room", room("bot-a-")).await;
    let terms = [("uses", "9"), ("for", "1h"), ("which", "rooms"), ("rooms", "bot-*")];
    approve_with(&browser, &mut passkey, &more, &terms).await;
    let one = ask(&world, "delete_room", delete()).await;
    approve_with(&browser, &mut passkey, &one, &[]).await;
    let removed = browser.send("/passkeys/remove", &[("passkey", &passkey.id())]).await;
    assert_eq!(removed.status(), StatusCode::SEE_OTHER);
    let page = browser.page(header(&removed, "location")).await;
    assert!(page.contains("2 approvals and 1 standing approval"), "{page}");
    assert!(!browser.page("/passkeys").await.contains("standing approval"));
    for (function, arguments) in [
        ("create_room", room("bot-a-")),
        ("create_room", room("bot-b-")),
        ("delete_room", delete()),
    ] {
        assert_eq!(kind(&world.call(function, arguments).await), "approval-required");
    }
    world.assert_untouched();
    let rows = world.decisions();
    let row = rows.last().and_then(|row| row.decision.clone()).expect("a decision");
    assert_eq!(row.details["passkey removed"], passkey.id());
    assert_eq!(
        (&row.details["approvals"], &row.details["standing approvals"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn whoever_needs_a_passkey_is_told_where() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(REQUIRED);
    let call = ["call", "delete_room", "--arg", "room_name=daily"];
    let document = ran(&world, &[&call[..], &["--json"]].concat(), 5).await.json();
    let id = document["meta"]["approval_id"].as_str().expect("an id").to_owned();
    let refused = ran(&world, &["approvals", "approve", &id], 4).await.stderr;
    assert!(refused.contains("approvals.require = \"passkey\""), "{refused}");
    assert!(
        refused.contains("hint: approve it with a passkey on the page of: whereby inbox --web")
    );
    let forced = ran(&world, &[&call[..], &["--force"]].concat(), 4).await.stderr;
    assert!(forced.contains("hint: make the call without --force; a person then approves it"));
    let browser = Browser::of(&world).await;
    let refused = ran(&world, &["approvals", "approve", &id], 4).await.stderr;
    let page = format!("{}approvals/{id}", browser.listening.url());
    assert!(refused.contains(&page), "{refused}");
    // Without a passkey, the page says to add one, and does not offer to use one.
    for path in ["/".to_owned(), format!("/approvals/{id}")] {
        let page = browser.page(&path).await;
        assert!(page.contains("Add a passkey") && !page.contains("with a passkey"), "{page}");
    }
    let added = ran(&world, &["inbox", "--add-passkey", "--json"], 0).await.json();
    assert_eq!(added["url"], format!("{}passkeys", browser.listening.url()));
    assert!(added["expires_at"].is_string(), "{added}");
    let added = ran(&world, &["inbox", "--add-passkey"], 0).await.stdout;
    assert!(added.contains(&format!("at {}passkeys", browser.listening.url())), "{added}");
    world.assert_untouched();
}
