use super::*;
use biscuit_auth::builder::{Fact, Term};
use biscuit_auth::format::schema::proof::Content;
use proptest::prelude::*;
use serde_json::{Value, json};
use whereby_authority::arguments::Arguments;
use whereby_authority::conditions::{Facts, Written};
use whereby_authority::policy::{Effect, Entry, Permission, Policy, Stated, Subject};
use whereby_authority::table::FunctionRule;
use whereby_catalog::FUNCTIONS;

fn key(byte: u8) -> Key {
    Key::of(&[byte; 32]).expect("a key")
}

fn limits(functions: &[&str], conditions: &[(&str, Value)]) -> Restrictions {
    let names = functions.iter().map(|name| (*name).to_owned()).collect();
    Restrictions {
        functions: Some(names).filter(|names: &Vec<String>| !names.is_empty()),
        conditions: conditions.iter().map(|(name, value)| stated(name, value)).collect(),
        ..Restrictions::default()
    }
}

fn stated(name: &str, value: &Value) -> Stated {
    Stated { condition: Condition::parse(name, value, None).expect("a condition"), line: 0 }
}

/// A token with three blocks.
fn chain() -> String {
    let first = Restrictions {
        agent: Some("assistant".into()),
        accounts: Some(vec!["work".into(), "other".into()]),
        uses: Some(20),
        ..limits(&["create_room", "list_rooms"], &[("rooms", json!(["bot-*"]))])
    };
    let token = key(7).create(&first).expect("a token");
    let second = Restrictions { read_only: true, ..Restrictions::default() };
    let token = Token::parse(&token).expect("read").narrow(&second).expect("narrowed");
    let third = limits(&[], &[("valid_until", json!("2030-01-01T00:00:00Z"))]);
    Token::parse(&token).expect("read").narrow(&third).expect("narrowed")
}

fn message(text: &str) -> schema::Biscuit {
    let bytes = URL_SAFE.decode(text).expect("Base64");
    schema::Biscuit::decode(bytes.as_slice()).expect("a biscuit")
}

fn checked(token: &schema::Biscuit) -> Result<Verified, Fault> {
    Verified::read(Message::decode(token.encode_to_vec())?, Some(&key(7)))
}

fn fault(text: &str, key: &Key) -> Option<Fault> {
    Verified::parse(text, Some(key)).err()
}

#[test]
fn what_is_written_is_read() {
    let all = Restrictions {
        agent: Some("assistant".into()),
        accounts: Some(vec!["work".into(), "read".into()]),
        uses: Some(1),
        read_only: true,
        ..limits(
            &["create_room"],
            &[
                ("rooms", json!(["bot-*", "a\"b \u{e9}"])),
                ("created_by", json!("agent")),
                ("room_modes", json!(["group"])),
                ("max_duration", json!("1h30m")),
                ("fields", json!(["hostRoomUrl"])),
                ("max_per_hour", json!(5)),
                ("max_per_day", json!(10)),
                ("valid_until", json!("2030-01-01T00:00:00Z")),
            ],
        )
    };
    // No field at all is not the same as any.
    let none = limits(&[], &[("fields", json!([]))]);
    for limits in [all, none, Restrictions::default()] {
        let text = key(7).create(&limits).expect("a token");
        let token = Token::parse(&format!("\n {text}\n")).expect("read");
        assert_eq!(token.blocks(), std::slice::from_ref(&limits));
        let token = Token::parse(&token.narrow(&limits).expect("narrowed")).expect("read");
        let verified = token.verify(Some(&key(7))).expect("verified");
        assert_eq!(verified.blocks(), [limits.clone(), limits]);
    }
}

#[test]
fn a_token_of_an_older_program_is_read() {
    // What the first version wrote.
    const TOKEN: &str = include_str!("first-version.token");
    let verified = Token::parse(TOKEN).and_then(|token| token.verify(Some(&key(7))));
    let verified = verified.expect("a valid token");
    assert_eq!(verified.blocks().len(), 3);
    assert_eq!(verified.agent(), Some("assistant"));
    let end = valid_until(verified.blocks()).map(Timestamp::to_rfc3339);
    assert_eq!(end.as_deref(), Some("2030-01-01T00:00:00Z"));
}

#[test]
fn a_token_is_of_one_installation() {
    let text = chain();
    assert_eq!(fault(&text, &key(7)), None);
    assert_eq!(fault(&text, &key(8)), Some(Fault::OtherInstallation));
    let token = Token::parse(&text).expect("read");
    assert_eq!(token.verify(None).err(), Some(Fault::OtherInstallation));
    // A token that names this installation must be signed with its key.
    let mut claims = message(&key(8).create(&Restrictions::default()).expect("a token"));
    claims.root_key_id = Some(key(7).id());
    assert_eq!(checked(&claims).err(), Some(Fault::Forged));
    claims.root_key_id = None;
    assert_eq!(checked(&claims).err(), Some(Fault::OtherInstallation));
}

#[test]
fn blocks_cannot_be_moved_removed_or_mixed() {
    let good = message(&chain());
    assert!(checked(&good).is_ok());
    let other = message(&chain());
    type Change<'a> = &'a dyn Fn(&mut schema::Biscuit);
    let changes: [(&str, Change<'_>); 8] = [
        ("reordered", &|token| token.blocks.swap(0, 1)),
        ("the first removed", &|token| drop(token.blocks.remove(0))),
        ("the last removed", &|token| drop(token.blocks.pop())),
        ("all removed", &|token| token.blocks.clear()),
        ("repeated", &|token| token.blocks.push(token.blocks[1].clone())),
        ("another's block", &|token| token.blocks[0] = other.blocks[0].clone()),
        ("another's first block", &|token| token.authority = other.authority.clone()),
        ("another's proof", &|token| token.proof = other.proof.clone()),
    ];
    for (what, change) in changes {
        let mut token = good.clone();
        change(&mut token);
        assert_eq!(checked(&token).err(), Some(Fault::Forged), "{what}");
    }
    // With the last secret, a block that was removed cannot be replaced by a wider one: the key that
    // signs it was thrown away when the block was added.
    let mut token = good.clone();
    let wide = message(&key(9).create(&Restrictions::default()).expect("a token"));
    token.blocks[1] = wide.authority.clone();
    token.proof = wide.proof.clone();
    assert_eq!(checked(&token).err(), Some(Fault::Forged));
    // A seal in place of the secret.
    token = good;
    token.proof.content = Some(Content::FinalSignature(vec![0; 64]));
    assert_eq!(checked(&token).err(), Some(Fault::Forged));
}

#[test]
fn every_changed_bit_is_noticed() {
    let text = chain();
    let bytes = URL_SAFE.decode(&text).expect("Base64");
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let read =
            Message::decode(changed).and_then(|message| Verified::read(message, Some(&key(7))));
        assert!(read.is_err(), "bit {bit}");
    }
    // And in its text, where another character may be no Base64.
    for at in 0..text.len() {
        for other in ["A", "_", "=", " ", "é"] {
            let mut changed = text.clone();
            changed.replace_range(at..=at, other);
            if changed != text {
                assert!(fault(&changed, &key(7)).is_some(), "{other} at {at}");
            }
        }
    }
}

fn fact(name: &str, terms: &[Term]) -> Fact {
    Fact::new(name.to_owned(), terms.to_vec())
}

#[test]
fn what_this_program_did_not_write_is_refused() {
    let version =
        || BlockBuilder::new().fact(fact("version", &[Term::Integer(1)])).expect("a fact");
    let with = |name: &str, terms: &[Term]| version().fact(fact(name, terms)).expect("a fact");
    let text = |text: &str| Term::Str(text.into());
    let blocks = [
        ("nothing", BlockBuilder::new()),
        ("another version", {
            BlockBuilder::new().fact(fact("version", &[Term::Integer(2)])).expect("a fact")
        }),
        ("two versions", with("version", &[Term::Integer(2)])),
        ("a check", version().check("check if true").expect("a check")),
        ("a rule", version().rule("right($x) <- agent($x)").expect("a rule")),
        ("a context", version().context("anything".into())),
        ("a scope", version().scope(biscuit_auth::builder::Scope::Previous)),
        ("an unknown predicate", with("right", &[text("all")])),
        ("two terms", with("function", &[text("list_rooms"), text("get_room")])),
        ("a wrong type", with("function", &[Term::Integer(1)])),
        ("a number as text", with("uses", &[text("20")])),
        ("no uses", with("uses", &[Term::Integer(0)])),
        ("negative uses", with("uses", &[Term::Integer(-1)])),
        ("too many uses", with("uses", &[Term::Integer(1 << 40)])),
        ("not read only", with("read_only", &[Term::Bool(false)])),
        ("a date as text", with("valid_until", &[text("2030-01-01T00:00:00Z")])),
        ("a date that is too late", with("valid_until", &[Term::Date(u64::MAX)])),
        ("a date elsewhere", with("rooms", &[Term::Date(0)])),
        ("an empty name", with("agent", &[text("")])),
        ("a long name", with("agent", &[text(&"a".repeat(101))])),
        ("an empty pattern", with("rooms", &[text("")])),
        ("an unknown mode", with("room_modes", &[text("huge")])),
        ("a set", with("rooms", &[Term::Set([text("a")].into())])),
        ("an array", with("rooms", &[Term::Array(vec![text("a")])])),
        ("nothing at all", with("rooms", &[Term::Null])),
        ("bytes", with("rooms", &[Term::Bytes(vec![1])])),
        ("fields and none", {
            let fields = with("fields", &[text("hostRoomUrl")]);
            fields.fact(fact("no_fields", &[Term::Bool(true)])).expect("a fact")
        }),
        ("two agents", {
            with("agent", &[text("a")]).fact(fact("agent", &[text("b")])).expect("a fact")
        }),
    ];
    let token = key(7).create(&Restrictions::default()).expect("a token");
    let token = Biscuit::from(URL_SAFE.decode(&token).expect("Base64"), key(7).0.public());
    let token = token.expect("a token");
    for (what, block) in blocks {
        let added = token.append(block).expect("added").to_base64().expect("written");
        assert_eq!(fault(&added, &key(7)), Some(Fault::Foreign(2)), "{what}");
    }
    // A block of a third party.
    let request = token.third_party_request().expect("a request");
    let stranger = KeyPair::new();
    let block = request.create_block(&stranger.private(), version()).expect("a block");
    let added = token.append_third_party(stranger.public(), block).expect("added");
    let added = added.to_base64().expect("written");
    assert_eq!(fault(&added, &key(7)), Some(Fault::Foreign(2)));
    // A sealed one can be used, and not be narrowed.
    let sealed = token.seal().expect("sealed").to_base64().expect("written");
    assert_eq!(fault(&sealed, &key(7)), None);
    let narrowed = Token::parse(&sealed).expect("read").narrow(&Restrictions::default());
    assert_eq!(narrowed.err(), Some(Fault::Sealed));
}

#[test]
fn a_token_has_bounds() {
    let mut text = key(7).create(&Restrictions::default()).expect("a token");
    let limit = Restrictions { read_only: true, ..Restrictions::default() };
    for _ in 1..MAX_BLOCKS {
        text = Token::parse(&text).expect("read").narrow(&limit).expect("narrowed");
    }
    let token = Token::parse(&text).expect("read");
    assert_eq!(token.narrow(&limit).err(), Some(Fault::TooManyBlocks));
    let raw = UnverifiedBiscuit::from_base64(&text).expect("a biscuit");
    let block = BlockBuilder::new().fact(fact("version", &[Term::Integer(1)])).expect("a fact");
    let longer = raw.append(block).and_then(|token| token.to_base64()).expect("written");
    assert_eq!(fault(&longer, &key(7)), Some(Fault::TooManyBlocks));
    assert_eq!(Token::parse(&"A".repeat(1024 * 1024)).err(), Some(Fault::TooLong));
    let names: Vec<String> = (0..100).map(|n| format!("{n}-{}", "a".repeat(90))).collect();
    let long = Restrictions { accounts: Some(names), ..Restrictions::default() };
    assert_eq!(key(7).create(&long).err(), Some(Fault::TooLong));
    for nonsense in ["", "AAAA", "a-token-of-some-length", "é", "{}"] {
        assert_eq!(Token::parse(nonsense).err(), Some(Fault::NotAToken), "{nonsense}");
    }
    assert!(!format!("{token:?}").contains(&text[..20]));
}

/// Limits that some calls are within.
fn some_limits() -> impl Strategy<Value = Restrictions> {
    let names = |names: &'static [&'static str]| {
        let chosen = prop::sample::subsequence(names, 1..=names.len());
        chosen.prop_map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let functions: Vec<&'static str> = FUNCTIONS.iter().map(|function| function.json).collect();
    let functions = prop::sample::subsequence(functions.clone(), 1..=functions.len());
    let functions = functions.prop_map(|names| names.into_iter().map(str::to_owned).collect());
    let conditions = prop::sample::subsequence(
        vec![
            ("rooms", json!(["bot-*"])),
            ("rooms", json!(["*"])),
            ("created_by", json!("agent")),
            ("created_by", json!("host")),
            ("room_modes", json!(["normal"])),
            ("max_duration", json!("2h")),
            ("fields", json!([])),
            ("max_per_day", json!(3)),
            ("valid_until", json!("2026-03-01T13:00:00Z")),
            ("valid_until", json!("2026-03-01T11:00:00Z")),
        ],
        0..4,
    );
    let conditions = conditions.prop_map(|chosen| {
        let mut conditions: Vec<Stated> = Vec::new();
        for (name, value) in chosen {
            if conditions.iter().all(|known| known.condition.name() != name) {
                conditions.push(stated(name, &value));
            }
        }
        conditions
    });
    (
        prop::option::of(prop::sample::select(vec!["a".to_owned(), "b".to_owned()])),
        prop::option::of(names(&["work", "other"])),
        prop::option::of(functions),
        prop::bool::weighted(0.2),
        conditions,
    )
        .prop_map(|(agent, accounts, functions, read_only, conditions)| Restrictions {
            agent,
            accounts,
            functions,
            read_only,
            uses: None,
            conditions,
        })
}

/// Whether the calls of a few functions are allowed with a token, each for some facts.
fn allowed(token: &Verified) -> Vec<bool> {
    let mut policy = Policy::default();
    policy.own.all.effects.insert(Effect::Write, Entry::new(Permission::Allow, 0));
    for agent in ["a", "b"] {
        policy.agents.insert(agent.into(), Default::default());
    }
    let now = Timestamp::parse("2026-03-01T12:00:00Z").expect("a time");
    let calls = [
        ("list_rooms", json!({})),
        ("get_room", json!({"room_name": "bot-1"})),
        ("get_room", json!({"room_name": "daily"})),
        ("delete_room", json!({"room_name": "bot-1"})),
        ("create_room", json!({"room_name_prefix": "bot-"})),
        ("create_room", json!({"room_name_prefix": "x", "fields": ["hostRoomUrl"]})),
    ];
    let mut found = Vec::new();
    for (name, arguments) in calls {
        let function = whereby_catalog::function(name).expect("known");
        let arguments = Arguments::check(function, arguments).expect("good arguments");
        let scope = FunctionRule::of(function).scope(&arguments, now).expect("a scope");
        for written in [0, 5] {
            let mut facts = Facts::at(now, token.agent());
            facts.written = Ok(Written { last_hour: written, last_day: written });
            facts.created = Ok(Vec::new());
            let subject =
                Subject { account: "work", agent: token.agent(), token: token.blocks(), function };
            let verdict = policy.decide(subject, false, &scope, &facts);
            found.push(verdict.permission == Permission::Allow);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_block_never_allows_what_was_refused(blocks in prop::collection::vec(some_limits(), 2..5)) {
        let mut text = key(7).create(&blocks[0]).expect("a token");
        let verify = |text: &str| {
            let token = Token::parse(text).expect("read");
            token.verify(Some(&key(7))).expect("verified")
        };
        let mut before = allowed(&verify(&text));
        for block in &blocks[1..] {
            text = Token::parse(&text).expect("read").narrow(block).expect("narrowed");
            let after = allowed(&verify(&text));
            for (before, after) in before.iter().zip(&after) {
                prop_assert!(*before || !after, "{blocks:?}");
            }
            before = after;
        }
    }
}

#[test]
fn the_token_of_this_version_is_like_that_of_the_first() {
    let first = Token::parse(include_str!("first-version.token")).expect("read");
    let own = Token::parse(&chain()).expect("read");
    assert_eq!(first.blocks(), own.blocks());
    // The same bytes, but for keys and signatures.
    let content = |token: &Token| {
        let message = schema::Biscuit::decode(token.bytes.as_slice()).expect("a biscuit");
        let blocks = std::iter::once(message.authority).chain(message.blocks);
        blocks.map(|block| block.block).collect::<Vec<_>>()
    };
    assert_eq!(content(&first), content(&own));
}
