//! The body of the fuzz target for tokens.

use super::{Fault, Key, MAX_TEXT, Message, Token, block, schema, to_json, words};
use biscuit_auth::datalog::SymbolTable;
use prost::Message as _;
use whereby_authority::policy::Restrictions;
use whereby_authority::timestamp::Timestamp;

pub(crate) fn tokens(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for read in [Token::parse(&text), Message::decode(data.to_vec()).and_then(Token::read)] {
        match read {
            Ok(token) => check(&token),
            Err(fault) => assert!(!fault.to_string().is_empty()),
        }
    }
    let Ok(content) = schema::Block::decode(data) else { return };
    let mut symbols = SymbolTable::new();
    let added = SymbolTable::from(content.symbols.clone());
    if added.and_then(|added| symbols.extend(&added)).is_ok()
        && let Some(limits) = block::read(&content, &symbols)
    {
        written_again(&limits);
    }
}

fn key() -> Key {
    Key::of(&[1; 32]).expect("a key")
}

fn check(token: &Token) {
    token.blocks().iter().for_each(written_again);
    // Nobody has this key.
    let refused = token.clone().verify(Some(&key())).err();
    assert!(matches!(refused, Some(Fault::OtherInstallation | Fault::Forged)), "{refused:?}");
    let more = Restrictions { read_only: true, ..Restrictions::default() };
    let Ok(narrower) = token.narrow(&more) else { return };
    let narrower = Token::parse(&narrower).expect("what was written can be read");
    let (last, others) = narrower.blocks().split_last().expect("a block");
    assert_eq!((last, others), (&more, token.blocks()));
    assert_eq!(&narrower.ids()[..others.len()], token.ids());
}

/// Checks that limits are the same after they are written, and can be shown.
fn written_again(limits: &Restrictions) {
    let now = Timestamp::parse("2026-03-01T12:00:00Z").expect("a time");
    assert!(words(limits, now).iter().all(|line| !line.chars().any(char::is_control)));
    assert!(to_json(limits).is_object());
    match key().create(limits) {
        Ok(text) => {
            assert!(text.len() <= MAX_TEXT);
            let again = Token::parse(&text).expect("what was written can be read");
            assert_eq!(again.blocks(), std::slice::from_ref(limits));
        }
        Err(fault) => assert_eq!(fault, Fault::TooLong),
    }
}
