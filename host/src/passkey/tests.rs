use super::authenticator::{Algorithm, AuthenticatorData, PublicKey};
use super::code::{self, CodeFault, EnrolmentCode};
use super::decision::{Assertion, Decision, Record, Request, Scope, Verdict, verify_record};
use super::fuzzing::{CHALLENGE, NONCE, decision, party, registration};
use super::registration::Registration;
use super::*;
use ciborium::Value as Cbor;
use ciborium::cbor;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use whereby_authority::conditions::Condition;

/// User present and verified.
const FLAGS: u8 = 0b101;

/// 2 March 2026.
pub(crate) const NOW: i64 = 1_772_442_000_000;

/// An authenticator in software, with one passkey.
pub(crate) struct Device {
    id: Vec<u8>,
    pair: Pair,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Device {
    pub(crate) fn new() -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).expect("a pair");
        Self { id: vec![1; 16], pair: Pair::P256(pair) }
    }

    fn ed25519() -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).expect("a pair");
        Self { id: vec![2; 16], pair: Pair::Ed25519(pair) }
    }

    fn cose(&self) -> Vec<u8> {
        match &self.pair {
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                es256(&point[1..33], &point[33..])
            }
            Pair::Ed25519(pair) => {
                let x = Cbor::Bytes(pair.public_key().as_ref().to_vec());
                bytes(&cbor!({1 => 1, 3 => -8, -1 => 6, -2 => x}).unwrap())
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::P256(pair) => {
                pair.sign(&SystemRandom::new(), message).expect("signed").as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// Returns a registration, its page, and what the browser answers there.
    pub(crate) fn registers(&self, installation: &str) -> (Registration, RelyingParty, String) {
        let party = RelyingParty { installation: installation.to_owned(), ..party() };
        let registration = Registration::new("laptop", CHALLENGE, NOW).expect("a registration");
        (registration, party, Answer::create(self).to_create())
    }

    /// Returns what the browser answers when it is asked to sign.
    pub(crate) fn signs(&self, options: &Value) -> String {
        let challenge = options["challenge"].as_str().expect("a challenge");
        let challenge = json::from_base64("a challenge", challenge, 32).expect("base64");
        let challenge = challenge.try_into().expect("32 bytes");
        let answer = Answer { count: 2, ..Answer::new(self, "webauthn.get", &challenge) };
        answer.to_get().to_string()
    }

    fn register(&self) -> Credential {
        let response = Answer::create(self).to_create();
        registration().verify(&party(), &response, &[], 1).expect("registered")
    }
}

fn bytes(value: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("CBOR");
    bytes
}

fn es256(x: &[u8], y: &[u8]) -> Vec<u8> {
    let (x, y) = (Cbor::Bytes(x.to_vec()), Cbor::Bytes(y.to_vec()));
    bytes(&cbor!({1 => 2, 3 => -7, -1 => 1, -2 => x, -3 => y}).unwrap())
}

/// What a browser and an authenticator answer, before it is written and signed.
struct Answer<'a> {
    signer: &'a Device,
    client_data: Value,
    rp_id: &'static str,
    flags: u8,
    count: u32,
    /// What follows the counter.
    rest: Vec<u8>,
    id: Vec<u8>,
    user_handle: Option<Vec<u8>>,
}

impl<'a> Answer<'a> {
    fn new(signer: &'a Device, kind: &str, challenge: &[u8; 32]) -> Self {
        Self {
            signer,
            client_data: json!({
                "type": kind,
                "challenge": json::to_base64(challenge),
                "origin": "http://localhost:45841",
                "crossOrigin": false,
            }),
            rp_id: "localhost",
            flags: FLAGS,
            count: 1,
            rest: Vec::new(),
            id: signer.id.clone(),
            user_handle: None,
        }
    }

    fn create(signer: &'a Device) -> Self {
        let new = Self::new(signer, "webauthn.create", &CHALLENGE);
        Self { flags: FLAGS | 0b0100_0000, rest: attested(&signer.id, &signer.cose()), ..new }
    }

    fn get(signer: &'a Device) -> Self {
        Self { count: 2, ..Self::new(signer, "webauthn.get", &challenge(&decision())) }
    }

    fn client_data(&self) -> Vec<u8> {
        self.client_data.to_string().into_bytes()
    }

    fn data(&self) -> Vec<u8> {
        let hash: [u8; 32] = Sha256::digest(self.rp_id).into();
        [&hash[..], &[self.flags], &self.count.to_be_bytes(), &self.rest].concat()
    }

    fn signature(&self) -> Vec<u8> {
        self.signer.sign(&registration::signed_data(&self.data(), &self.client_data()))
    }

    fn to_create(&self) -> String {
        let data = Cbor::Bytes(self.data());
        self.to_create_with(&bytes(
            &cbor!({"fmt" => "none", "attStmt" => {}, "authData" => data}).unwrap(),
        ))
    }

    fn to_create_with(&self, attestation: &[u8]) -> String {
        let id = json::to_base64(&self.id);
        let response = json!({
            "clientDataJSON": json::to_base64(&self.client_data()),
            "attestationObject": json::to_base64(attestation),
            "transports": ["usb", "nfc", "carrier-pigeon"],
        });
        json!({"id": id, "rawId": id, "type": "public-key", "response": response}).to_string()
    }

    fn to_get(&self) -> Value {
        let id = json::to_base64(&self.id);
        let response = json!({
            "clientDataJSON": json::to_base64(&self.client_data()),
            "authenticatorData": json::to_base64(&self.data()),
            "signature": json::to_base64(&self.signature()),
            "userHandle": self.user_handle.as_deref().map(json::to_base64),
        });
        json!({"id": id, "rawId": id, "type": "public-key", "response": response})
    }
}

fn attested(id: &[u8], cose: &[u8]) -> Vec<u8> {
    let length = u16::try_from(id.len()).expect("short");
    [&[0; 16][..], &length.to_be_bytes(), id, cose].concat()
}

fn challenge(decision: &Decision) -> [u8; 32] {
    decision.challenge(&NONCE).expect("a challenge")
}

fn create(answer: &Answer<'_>) -> Result<Credential, Fault> {
    registration().verify(&party(), &answer.to_create(), &[], 1)
}

fn get(response: &Value, registered: &[Credential]) -> Result<Assertion, Fault> {
    let request = Request::new(NONCE, 1);
    request.verify(&decision(), &party(), &response.to_string(), registered, 2)
}

#[test]
fn the_options_ask_for_a_verified_user_and_no_attestation() {
    let device = Device::new();
    let kept = device.register();
    let removed = Credential { id: Bytes(vec![9]), removed_at: Some(3), ..kept.clone() };
    let registered = [removed.clone(), kept];
    let listed = json!([
        {"type": "public-key", "id": "AQEBAQEBAQEBAQEBAQEBAQ", "transports": ["nfc", "usb"]},
    ]);
    let options = registration().options(&party(), &registered);
    assert_eq!(options["rp"], json!({"id": "localhost", "name": "whereby"}));
    assert_eq!(options["user"]["displayName"], "laptop");
    assert_eq!(options["challenge"], json::to_base64(&CHALLENGE));
    assert_eq!(options["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(options["authenticatorSelection"]["residentKey"], "preferred");
    assert_eq!(options["attestation"], "none");
    assert_eq!(options["excludeCredentials"], listed);
    let numbers: Vec<&Value> =
        options["pubKeyCredParams"].as_array().expect("a list").iter().map(|p| &p["alg"]).collect();
    assert_eq!(numbers, [-7, -8, -257]);

    let request = Request::new(NONCE, 1);
    let options = request.options(&decision(), &registered).expect("options");
    assert_eq!(options["rpId"], "localhost");
    assert_eq!(options["challenge"], json::to_base64(&challenge(&decision())));
    assert_eq!(options["allowCredentials"], listed);
    assert_eq!(options["userVerification"], "required");
    assert_eq!(request.options(&decision(), &[removed]), Err(Fault::NoCredential));
}

#[test]
fn the_origin_is_localhost_with_the_port() {
    let party = |port| RelyingParty { port, ..party() };
    assert_eq!(party(80).origin(), "http://localhost");
    assert_eq!(party(8080).origin(), "http://localhost:8080");
    for (origin, is_local) in [
        ("http://localhost", true),
        ("http://localhost:1", true),
        ("http://localhost:65535", true),
        ("http://localhost:", false),
        ("http://localhost:0800", false),
        ("http://localhost:+80", false),
        ("http://localhost:80", false),
        ("http://localhost:65536", false),
        ("http://localhost:80/", false),
        ("http://localhost.example", false),
        ("https://localhost", false),
        ("http://127.0.0.1:80", false),
        ("", false),
    ] {
        assert_eq!(is_local_origin(origin), is_local, "{origin}");
    }
}

#[test]
fn a_passkey_is_registered_and_signs_a_decision() {
    for device in [Device::new(), Device::ed25519()] {
        let credential = device.register();
        assert_eq!((credential.name.as_str(), credential.created_at), ("laptop", 1));
        assert_eq!(credential.transports, ["nfc", "usb"]);
        let mut answer = Answer::get(&device);
        answer.user_handle = Some(party().user_handle().to_vec());
        let assertion = get(&answer.to_get(), std::slice::from_ref(&credential)).expect("verified");
        assert_eq!(assertion.credential, Credential { sign_count: 2, ..credential.clone() });
        // What was stored can be verified later, also after the passkey was used again and removed.
        let stored = serde_json::to_string(&assertion.record).expect("JSON");
        let record: Record = serde_json::from_str(&stored).expect("a record");
        let stored = serde_json::to_string(&credential).expect("JSON");
        let later: Credential = serde_json::from_str(&stored).expect("a credential");
        assert_eq!(later, credential);
        let later = Credential { sign_count: 90, removed_at: Some(3), ..later };
        verify_record(&record, &later, &decision()).expect("verified");
    }
}

#[test]
fn extensions_and_backup_are_read() {
    let device = Device::new();
    let mut answer = Answer::create(&device);
    answer.flags |= 0b1001_1000;
    answer.rest.extend(bytes(&cbor!({"credProtect" => 2}).unwrap()));
    let credential = create(&answer).expect("registered");
    assert!(credential.backup_eligible);
    let mut answer = Answer::get(&device);
    answer.flags |= 0b1001_1000;
    answer.rest = bytes(&cbor!({}).unwrap());
    get(&answer.to_get(), std::slice::from_ref(&credential)).expect("verified");
    answer.flags &= !0b0001_0000;
    get(&answer.to_get(), &[credential]).expect("no longer backed up");
}

#[test]
fn a_registration_that_is_wrong_is_refused_with_the_reason() {
    let device = Device::new();
    let refused = |change: &dyn Fn(&mut Answer<'_>)| {
        let mut answer = Answer::create(&device);
        change(&mut answer);
        create(&answer).expect_err("refused")
    };
    let say = |what: &str, value: Value| {
        refused(&|answer: &mut Answer<'_>| answer.client_data[what] = value.clone())
    };
    let get = "webauthn.get";
    let other = Fault::Type { found: get.into(), expected: "webauthn.create" };
    assert_eq!(say("type", get.into()), other);
    assert_eq!(say("challenge", json::to_base64(&[8; 32]).into()), Fault::Challenge);
    assert_eq!(say("challenge", "".into()), Fault::Challenge);
    assert_origin_is_checked(&say);
    assert_eq!(refused(&|answer| answer.rp_id = "127.0.0.1"), Fault::RelyingParty);
    assert_eq!(refused(&|answer| answer.flags &= !1), Fault::NotPresent);
    assert_eq!(refused(&|answer| answer.flags &= !0b100), Fault::NotVerified);
    assert_eq!(refused(&|answer| answer.flags |= 0b1_0000), Fault::Backup);
    let id = Fault::Member { what: "`id`", expected: "the id of the new credential" };
    assert_eq!(refused(&|answer| answer.id = vec![4; 16]), id);
    let none = Fault::AuthenticatorData("there is no new credential in it");
    let without = |answer: &mut Answer<'_>| {
        answer.flags = FLAGS;
        answer.rest.clear();
    };
    assert_eq!(refused(&without), none);

    let answer = Answer::create(&device).to_create();
    let known = device.register();
    let verify = |registered: &[Credential], now| {
        registration().verify(&party(), &answer, registered, now).expect_err("refused")
    };
    assert_eq!(verify(std::slice::from_ref(&known), 1), Fault::Duplicate);
    assert_eq!(verify(&[Credential { removed_at: Some(2), ..known }], 1), Fault::Duplicate);
    assert_eq!(verify(&[], LIFETIME), Fault::Expired);
    assert_eq!(verify(&[], -1), Fault::Expired);
}

/// Checks that an answer from any other page is refused.
fn assert_origin_is_checked(say: &dyn Fn(&str, Value) -> Fault) {
    for origin in [
        "http://localhost",
        "http://localhost:45842",
        "https://localhost:45841",
        "http://127.0.0.1:45841",
        "http://localhost:45841/",
        "http://LOCALHOST:45841",
        "http://localhost:45841.example",
        "",
        "null",
    ] {
        let (found, expected) = (origin.to_owned(), "http://localhost:45841".to_owned());
        assert_eq!(say("origin", origin.into()), Fault::Origin { found, expected });
    }
    assert_eq!(say("crossOrigin", true.into()), Fault::Framed);
    assert_eq!(say("topOrigin", "http://localhost:45841".into()), Fault::Framed);
    assert!(matches!(say("crossOrigin", "no".into()), Fault::Member { .. }));
    let Fault::Origin { found, .. } = say("origin", "a\u{1b}[2J\u{202e}".repeat(300).into()) else {
        panic!("an origin");
    };
    assert!(found.len() < 4000 && !found.chars().any(char::is_control), "{found}");
}

#[test]
fn an_attestation_that_nobody_asked_for_is_refused() {
    let device = Device::new();
    let answer = Answer::create(&device);
    let verify = |attestation: &Cbor| {
        let response = answer.to_create_with(&bytes(attestation));
        registration().verify(&party(), &response, &[], 1)
    };
    let data = Cbor::Bytes(answer.data());
    let packed = |algorithm: i64, signature: Vec<u8>| {
        let signature = Cbor::Bytes(signature);
        let statement = cbor!({"alg" => algorithm, "sig" => signature}).unwrap();
        cbor!({"fmt" => "packed", "attStmt" => statement, "authData" => data}).unwrap()
    };
    verify(&packed(-7, answer.signature())).expect("signed by the new key itself");
    let refused = |attestation: &Cbor| verify(attestation).expect_err("refused");
    assert_eq!(refused(&packed(-7, vec![0; 70])), Fault::Signature);
    assert_eq!(refused(&packed(-7, Device::new().sign(b"other"))), Fault::Signature);
    assert!(matches!(refused(&packed(-8, answer.signature())), Fault::Attestation(_)));
    for (format, statement) in [
        ("none", cbor!({"sig" => 1}).unwrap()),
        ("packed", cbor!({}).unwrap()),
        ("packed", cbor!({"alg" => -7}).unwrap()),
        ("packed", cbor!({"alg" => -7, "x5c" => []}).unwrap()),
        ("tpm", cbor!({}).unwrap()),
        ("", cbor!({}).unwrap()),
    ] {
        let object = cbor!({"fmt" => format, "attStmt" => statement, "authData" => data}).unwrap();
        assert!(matches!(refused(&object), Fault::Attestation(_)), "{format}");
    }
    for object in [
        cbor!({}).unwrap(),
        cbor!({"fmt" => "none", "authData" => data}).unwrap(),
        cbor!({"fmt" => 1, "attStmt" => {}, "authData" => data}).unwrap(),
        cbor!({"fmt" => "none", "attStmt" => [], "authData" => data}).unwrap(),
        cbor!({"fmt" => "none", "attStmt" => {}, "authData" => "text"}).unwrap(),
    ] {
        assert!(matches!(refused(&object), Fault::Attestation(_)), "{object:?}");
    }
}

#[test]
fn a_public_key_that_is_malformed_or_unknown_is_refused() {
    let refused = |key: Cbor| PublicKey::from_cose(&bytes(&key)).expect_err("refused");
    let long = |length| Cbor::Bytes(vec![1; length]);
    let (x, short, n, e) = (long(32), long(31), long(256), long(3));
    assert!(
        PublicKey::from_cose(&bytes(&cbor!({1 => 3, 3 => -257, -1 => n, -2 => e}).unwrap()))
            .is_ok()
    );
    for algorithm in [-35, -36, -39, -65535, 0, 7] {
        let key = cbor!({1 => 2, 3 => algorithm, -1 => 1, -2 => x, -3 => x}).unwrap();
        assert_eq!(refused(key), Fault::Algorithm(algorithm));
    }
    for key in [
        cbor!({}).unwrap(),
        cbor!({1 => 2, 3 => "ES256", -1 => 1, -2 => x, -3 => x}).unwrap(),
        // Another type, another curve, coordinates missing, short, as text or compressed.
        cbor!({1 => 1, 3 => -7, -1 => 1, -2 => x, -3 => x}).unwrap(),
        cbor!({1 => 2, 3 => -7, -1 => 2, -2 => x, -3 => x}).unwrap(),
        cbor!({1 => 2, 3 => -7, -1 => 1, -2 => x}).unwrap(),
        cbor!({1 => 2, 3 => -7, -1 => 1, -2 => x, -3 => short}).unwrap(),
        cbor!({1 => 2, 3 => -7, -1 => 1, -2 => x, -3 => true}).unwrap(),
        // A parameter too many: the private key.
        cbor!({1 => 2, 3 => -7, -1 => 1, -2 => x, -3 => x, -4 => x}).unwrap(),
        cbor!({1 => 1, 3 => -8, -1 => 6, -2 => short}).unwrap(),
        cbor!({1 => 1, 3 => -8, -1 => 7, -2 => x}).unwrap(),
        cbor!({1 => 3, 3 => -257, -1 => x, -2 => e}).unwrap(),
        cbor!({1 => 3, 3 => -257, -1 => n, -2 => x}).unwrap(),
        cbor!({1 => 3, 3 => -257, -1 => n}).unwrap(),
    ] {
        assert!(matches!(refused(key.clone()), Fault::PublicKey(_)), "{key:?}");
    }
    // A point that is not on the curve verifies nothing.
    let off = PublicKey::from_cose(&es256(&[1; 32], &[1; 32])).expect("it has the form of a key");
    assert_eq!(off.verify(b"message", &Device::new().sign(b"message")), Err(Fault::Signature));
    // The record of a key says its algorithm, which must be the key's.
    let mut stored = serde_json::to_value(&off).expect("JSON");
    assert_eq!(stored["algorithm"], "ES256");
    stored["algorithm"] = "EdDSA".into();
    assert!(serde_json::from_value::<PublicKey>(stored).is_err());
    let numbers = Algorithm::ALL.map(Algorithm::cose);
    assert_eq!(numbers, [-7, -8, -257]);
}

#[test]
fn malformed_cbor_is_refused() {
    let key = Device::new().cose();
    let mut twice = key.clone();
    twice[0] = 0xa6;
    twice.extend([0x01, 0x02]);
    // 17 numbers from 0 to 16, each with 0.
    let many: Vec<u8> = [0xb1].into_iter().chain((0..17).flat_map(|key| [key, 0])).collect();
    let deep = [&[0x81; 100][..], &[0x00]].concat();
    for (malformed, problem) in [
        (vec![], "it is cut short"),
        (key[..key.len() - 1].to_vec(), "it is cut short"),
        ([&key[..], &[0]].concat(), "something follows it"),
        (twice, "a key is there twice"),
        (deep, "it is nested too deep"),
        (many, "it has too many entries"),
        (vec![0x01], "it is not a map"),
        (vec![0xff], "an item cannot be read"),
        (vec![0xa1, 0x61, 0xff, 0x00], "an item cannot be read"),
        // A map and a string that say to be enormous.
        (vec![0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "it is cut short"),
        (vec![0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "it is cut short"),
    ] {
        let fault = PublicKey::from_cose(&malformed).expect_err("refused");
        assert_eq!(fault, Fault::Cbor { what: "the public key", problem }, "{malformed:x?}");
    }
}

#[test]
fn malformed_authenticator_data_is_refused() {
    let device = Device::new();
    let whole = Answer::create(&device).data();
    AuthenticatorData::parse(&whole).expect("whole");
    for length in 0..whole.len() {
        let fault = AuthenticatorData::parse(&whole[..length]).expect_err("cut short");
        assert!(matches!(fault, Fault::AuthenticatorData(_) | Fault::Cbor { .. }), "{length}");
    }
    let refused = |change: &dyn Fn(&mut Answer<'_>)| {
        let mut answer = Answer::create(&device);
        change(&mut answer);
        create(&answer).expect_err("refused")
    };
    let follows = Fault::AuthenticatorData("something follows its last part");
    assert_eq!(refused(&|answer| answer.rest.push(0)), follows);
    assert_eq!(refused(&|answer| answer.flags &= !0b0100_0000), follows);
    let not_a_map = Fault::AuthenticatorData("the extensions are not a map");
    let with = |answer: &mut Answer<'_>| {
        answer.flags |= 0b1000_0000;
        answer.rest.push(0);
    };
    assert_eq!(refused(&with), not_a_map);
    let missing = refused(&|answer| answer.flags |= 0b1000_0000);
    assert!(matches!(missing, Fault::Cbor { .. }), "{missing}");
    for length in [0, 1024] {
        let fault = refused(&|answer| answer.rest = attested(&vec![1; length], &device.cose()));
        assert!(matches!(fault, Fault::AuthenticatorData(_)), "{fault}");
    }
}

#[test]
fn a_decision_that_is_wrong_is_refused_with_the_reason() {
    let device = Device::new();
    let credential = device.register();
    let registered = std::slice::from_ref(&credential);
    let refused = |change: &dyn Fn(&mut Answer<'_>)| {
        let mut answer = Answer::get(&device);
        change(&mut answer);
        get(&answer.to_get(), registered).expect_err("refused")
    };
    let say = |what: &str, value: Value| {
        refused(&|answer: &mut Answer<'_>| answer.client_data[what] = value.clone())
    };
    let other = Fault::Type { found: "webauthn.create".into(), expected: "webauthn.get" };
    assert_eq!(say("type", "webauthn.create".into()), other);
    assert_origin_is_checked(&say);
    assert_eq!(refused(&|answer| answer.rp_id = "localhost:45841"), Fault::RelyingParty);
    assert_eq!(refused(&|answer| answer.flags &= !1), Fault::NotPresent);
    assert_eq!(refused(&|answer| answer.flags &= !0b100), Fault::NotVerified);
    assert_eq!(refused(&|answer| answer.flags |= 0b1_0000), Fault::Backup);
    assert_eq!(refused(&|answer| answer.flags |= 0b0_1000), Fault::Backup);
    assert_eq!(refused(&|answer| answer.id = vec![4; 16]), Fault::UnknownCredential);
    assert_eq!(refused(&|answer| answer.user_handle = Some(vec![1; 32])), Fault::User);
    let attested = |answer: &mut Answer<'_>| {
        answer.flags |= 0b0100_0000;
        answer.rest = attested(&device.id, &device.cose());
    };
    assert!(matches!(refused(&attested), Fault::AuthenticatorData(_)));
    for (count, stored) in [(1, 1), (0, 1), (4, 5), (5, 5)] {
        let credential = Credential { sign_count: stored, ..credential.clone() };
        let answer = Answer { count, ..Answer::get(&device) };
        let fault = get(&answer.to_get(), &[credential]).expect_err("refused");
        assert_eq!(fault, Fault::SignCount { stored, found: count });
    }
    let without = Credential { sign_count: 0, ..credential.clone() };
    let answer = Answer { count: 0, ..Answer::get(&device) };
    get(&answer.to_get(), &[without]).expect("a passkey without a counter");

    // Another key, under this one's id.
    let other = Device { id: device.id.clone(), ..Device::new() };
    assert_eq!(get(&Answer::get(&other).to_get(), registered).err(), Some(Fault::Signature));
    let right = Answer::get(&device).to_get();
    let removed = Credential { removed_at: Some(2), ..credential.clone() };
    assert_eq!(get(&right, &[removed]).err(), Some(Fault::Removed("laptop".into())));
    assert_eq!(get(&right, &[]).err(), Some(Fault::UnknownCredential));
    let at = |now| {
        let request = Request::new(NONCE, 1);
        request.verify(&decision(), &party(), &right.to_string(), registered, now).err()
    };
    assert_eq!((at(LIFETIME), at(LIFETIME + 1)), (None, Some(Fault::Expired)));
    assert_eq!(at(0), Some(Fault::Expired));
}

#[test]
fn an_assertion_is_for_one_decision_and_one_nonce() {
    let device = Device::new();
    let registered = [device.register()];
    let response = Answer::get(&device).to_get().to_string();
    let verify = |decision: &Decision, nonce| {
        Request::new(nonce, 1).verify(decision, &party(), &response, &registered, 2)
    };
    let record = verify(&decision(), NONCE).expect("verified").record;
    assert_eq!(verify(&decision(), [8; 32]).err(), Some(Fault::Challenge), "an old nonce");
    for other in other_decisions() {
        assert_eq!(verify(&other, NONCE).err(), Some(Fault::Challenge), "{other:?}");
        let again = verify_record(&record, &registered[0], &other);
        assert_eq!(again, Err(Fault::Challenge), "{other:?}");
    }
}

fn other_decisions() -> Vec<Decision> {
    let condition = |name: &str, value: Value| Condition::parse(name, &value, None).unwrap();
    let scope = |change: &dyn Fn(&mut Scope)| {
        let mut other = decision();
        change(&mut other.scope);
        other
    };
    vec![
        Decision { installation: "another".into(), ..decision() },
        Decision { approval: "ff112233445566778899aabbccddeeff".into(), ..decision() },
        Decision { call: [6; 32], ..decision() },
        Decision { verdict: Verdict::Approve, ..decision() },
        scope(&|scope| scope.uses = 9),
        scope(&|scope| scope.expires_at += 1),
        scope(&|scope| scope.conditions.clear()),
        scope(&|scope| scope.conditions = vec![condition("rooms", json!(["*"]))]),
        scope(&|scope| scope.conditions = vec![condition("rooms", json!(["bot-*", "x"]))]),
        scope(&|scope| scope.conditions.push(condition("max_per_day", json!(1)))),
    ]
}

#[test]
fn the_challenge_is_the_same_in_every_version() {
    // Changing it makes all records invalid.
    let hex = crate::system::digest::hex(&challenge(&decision()));
    assert_eq!(hex, "a915b8a474d9f907fe1108b413635cfd6c31b65a57c008a7a5437fb89d9aa160");
    let mut turned = decision();
    let more = Condition::parse("max_per_day", &json!(1), None).expect("a condition");
    turned.scope.conditions.push(more);
    let first = challenge(&turned);
    turned.scope.conditions.reverse();
    assert_eq!(challenge(&turned), first, "the order of conditions does not matter");
    let mut all = vec![challenge(&decision())];
    all.extend(other_decisions().iter().map(challenge));
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn a_record_is_of_one_passkey_and_its_time() {
    let device = Device::new();
    let credential = device.register();
    let record = get(&Answer::get(&device).to_get(), std::slice::from_ref(&credential))
        .expect("verified")
        .record;
    let refused =
        |credential: &Credential| verify_record(&record, credential, &decision()).expect_err("no");
    let other = Device { id: vec![3; 16], ..Device::new() }.register();
    assert_eq!(refused(&other), Fault::UnknownCredential);
    let other = Credential { id: credential.id.clone(), ..other };
    assert_eq!(refused(&other), Fault::Signature);
    let then = Fault::NotRegisteredThen;
    assert_eq!(refused(&Credential { removed_at: Some(2), ..credential.clone() }), then);
    assert_eq!(refused(&Credential { created_at: 3, ..credential.clone() }), then);
    // A record of another page, and records that cannot be read.
    let mut answer = Answer::get(&device);
    answer.client_data["origin"] = "https://localhost:45841".into();
    let mut stored = serde_json::to_value(&record).expect("JSON");
    stored["client_data"] = json::to_base64(&answer.client_data()).into();
    let foreign: Record = serde_json::from_value(stored.clone()).expect("a record");
    let fault = verify_record(&foreign, &credential, &decision()).expect_err("refused");
    assert!(matches!(fault, Fault::Origin { .. }), "{fault}");
    for (member, value) in [
        ("nonce", json!("a=")),
        ("signature", json!(1)),
        ("decided_at", json!("now")),
        ("surplus", json!(1)),
    ] {
        let mut changed = stored.clone();
        changed[member] = value;
        assert!(serde_json::from_value::<Record>(changed).is_err(), "{member}");
    }
}

#[test]
fn malformed_responses_are_refused() {
    let device = Device::new();
    let registered = [device.register()];
    let right = Answer::get(&device).to_get();
    get(&right, &registered).expect("verified");
    let verify = |text: &str| {
        let request = Request::new(NONCE, 1);
        request.verify(&decision(), &party(), text, &registered, 2).expect_err("refused")
    };
    for text in ["", "null", "[]", "{", "1", "\u{feff}{}", "{\"type\":1,\"type\":1}"] {
        let fault = verify(text);
        assert!(matches!(fault, Fault::Json { .. } | Fault::Member { .. }), "{text}: {fault}");
    }
    assert_eq!(verify(&" ".repeat(MAX_RESPONSE + 1)), Fault::ResponseTooLong);
    let deep = "[".repeat(MAX_RESPONSE);
    assert!(matches!(verify(&deep), Fault::Json { .. }));
    let with = |path: &str, value: Value| {
        let mut response = right.clone();
        *response.pointer_mut(path).expect("a member") = value;
        verify(&response.to_string())
    };
    for path in ["/id", "/rawId", "/type", "/response"] {
        assert!(matches!(with(path, Value::Null), Fault::Member { .. }), "{path}");
    }
    assert!(matches!(with("/rawId", "AQ".into()), Fault::Member { .. }));
    assert!(matches!(with("/type", "password".into()), Fault::Member { .. }));
    for (name, most) in [
        ("clientDataJSON", json::MAX_CLIENT_DATA),
        ("authenticatorData", json::MAX_BINARY),
        ("signature", json::MAX_SIGNATURE),
        ("userHandle", 64),
    ] {
        let path = format!("/response/{name}");
        for value in [json!(1), json!([]), json!({})] {
            assert!(matches!(with(&path, value), Fault::Member { .. }), "{name}");
        }
        // Padding, the other alphabet, a space, a length that no bytes have, and bits that say nothing.
        for text in ["QQ==", "a+/a", "a a", "A", "QR"] {
            assert!(matches!(with(&path, text.into()), Fault::Base64 { .. }), "{name}: {text}");
        }
        let long = json::to_base64(&vec![0; most + 1]);
        assert!(matches!(with(&path, long.into()), Fault::TooLong { .. }), "{name}");
    }
    let client_data =
        |bytes: &[u8]| with("/response/clientDataJSON", json::to_base64(bytes).into());
    for bytes in [&b"\xff"[..], b"", b"{", b"{\"type\":1,\"type\":1}"] {
        assert!(matches!(client_data(bytes), Fault::Json { .. }));
    }
    for bytes in [&b"[]"[..], b"{}", b"{\"type\":\"webauthn.get\",\"challenge\":1}"] {
        assert!(matches!(client_data(bytes), Fault::Member { .. }));
    }
    let padded = format!("{}=", json::to_base64(&challenge(&decision())));
    let text = json!({"type": "webauthn.get", "challenge": padded, "origin": ""}).to_string();
    assert!(matches!(client_data(text.as_bytes()), Fault::Base64 { .. }));
}

#[test]
fn a_name_is_short_and_printable() {
    let new = |name: &str| Registration::new(name, CHALLENGE, 0);
    new(" Jo's phone – work ").expect("a name");
    new(&"é".repeat(64)).expect("a name");
    for name in ["", "  ", "a\nb", "a\u{202e}b", "\u{1b}[2J", &"a".repeat(65)] {
        assert_eq!(new(name).err(), Some(Fault::Name), "{name:?}");
    }
}

#[test]
fn a_code_works_once() {
    let (stored, code) = EnrolmentCode::new(std::array::from_fn(|i| i as u8 * 7), 1000);
    assert_eq!(code.len(), 11);
    let json = serde_json::to_string(&stored).expect("JSON");
    assert!(!json.contains(&code) && !json.contains(&code.replace('-', "")), "{json}");
    assert_eq!(serde_json::from_str::<EnrolmentCode>(&json).expect("a code"), stored);
    for typed in [
        code.clone(),
        code.to_lowercase(),
        format!(" {} ", code.replace('-', " ")),
        code.replace('0', "o").replace('1', "l"),
    ] {
        let mut tried = stored.clone();
        assert_eq!(tried.check(&typed, 1000), Ok(()), "{typed}");
        assert_eq!(tried.check(&typed, 1000), Err(CodeFault::Used));
    }
    let at = |now| stored.clone().check(&code, now);
    assert_eq!(at(1000 + code::LIFETIME - 1), Ok(()));
    assert_eq!(at(1000 + code::LIFETIME), Err(CodeFault::Expired));
    assert_eq!(at(999), Err(CodeFault::Expired), "the clock was turned back");
    let (_, other) = EnrolmentCode::new([200; 32], 1000);
    assert_ne!(other, code);
}

#[test]
fn five_wrong_tries_make_a_code_invalid() {
    let (mut stored, code) = EnrolmentCode::new([31; 32], 0);
    for typed in ["", "1234", "ABCDE-FGHJU", "ABCDE-FGHJKM", "ÄÄÄÄÄ", &"A".repeat(1000)] {
        assert_eq!(stored.check(typed, 1), Err(CodeFault::NotACode), "{typed}");
    }
    for left in (1..5).rev() {
        assert_eq!(stored.check("00000-00000", 1), Err(CodeFault::Wrong { left }));
    }
    let mut last = stored.clone();
    assert_eq!(last.check(&code, 1), Ok(()));
    assert_eq!(stored.check("00000-00000", 1), Err(CodeFault::TooManyTries));
    assert_eq!(stored.check(&code, 1), Err(CodeFault::TooManyTries));
}

/// A registration and a decision with a real browser, its authenticator being virtual.
#[test]
fn what_a_browser_answered_is_verified() {
    let recorded: Value = serde_json::from_str(include_str!("recorded.json")).expect("JSON");
    let recorded = recorded.as_array().expect("a list");
    let mut algorithms = Vec::new();
    for session in recorded {
        let party = RelyingParty {
            port: session["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port"),
            ..party()
        };
        let create = session["create"].to_string();
        let credential = registration().verify(&party, &create, &[], 1).expect("registered");
        algorithms.push(credential.public_key.algorithm());
        let registered = [credential];
        let get = session["get"].to_string();
        let request = Request::new(NONCE, 1);
        let verified = request.verify(&decision(), &party, &get, &registered, 2);
        let assertion = verified.expect("verified");
        verify_record(&assertion.record, &registered[0], &decision()).expect("verified again");
        let later = Request::new([1; 32], 1);
        let refused = later.verify(&decision(), &party, &get, &registered, 2);
        assert_eq!(refused.err(), Some(Fault::Challenge));
        let elsewhere = RelyingParty { port: 1, ..party };
        let refused = request.verify(&decision(), &elsewhere, &get, &registered, 2);
        assert!(matches!(refused, Err(Fault::Origin { .. })));
    }
    assert_eq!(algorithms, Algorithm::ALL);
}

proptest! {
    #[test]
    fn any_change_to_a_signed_response_is_refused(
        member in prop::sample::select(vec!["clientDataJSON", "authenticatorData", "signature"]),
        at in any::<prop::sample::Index>(),
        change in 1..=255_u8,
    ) {
        let device = Device::new();
        let registered = [device.register()];
        let mut response = Answer::get(&device).to_get();
        let text = response["response"][member].as_str().expect("base64").to_owned();
        let mut bytes = json::from_base64("it", &text, MAX_RESPONSE).expect("bytes");
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        response["response"][member] = json::to_base64(&bytes).into();
        prop_assert!(get(&response, &registered).is_err());
    }

    #[test]
    fn no_bytes_break_the_parsers(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::passkeys(&data);
        // The same where an authenticator's data has its new credential.
        let mut answer = Answer::create(&Device::ed25519()).data();
        answer.truncate(37);
        answer.extend(&data);
        drop(AuthenticatorData::parse(&answer));
    }

    #[test]
    fn base64_has_one_spelling(text in "[A-Za-z0-9_=-]{0,12}") {
        if let Ok(bytes) = json::from_base64("it", &text, 64) {
            prop_assert_eq!(json::to_base64(&bytes), text);
        }
    }
}
