//! Links that sign a person in on the page.

use super::*;
use crate::store::page::{BadLink, LINK_MS};

fn used(store: &Store, code: &str) -> Result<(), BadLink> {
    store.use_page_link(code).expect("an answer")
}

#[test]
fn a_link_works_once_in_every_process_of_its_state_directory() {
    let home = Home::new();
    let (store, other) = (home.store(), home.store());
    let code = store.new_page_link().expect("a code");
    assert_eq!(used(&Home::new().store(), &code), Err(BadLink::Wrong));
    assert_eq!(used(&other, &code), Ok(()));
    assert_eq!(used(&store, &code), Err(BadLink::Spent));
    assert_eq!(used(&store, "another"), Err(BadLink::Wrong));
    let code = store.new_page_link().expect("a code");
    let stores: Vec<Arc<Store>> =
        (0..4).map(|_| home.patient_store(Duration::from_mins(1))).collect();
    let got_in = race(&stores, |store, _| used(store, &code).is_ok());
    assert_eq!(got_in.iter().filter(|in_| **in_).count(), 1, "{got_in:?}");
    // Digests are all that is stored.
    let database = std::fs::read(home.database()).expect("a database");
    assert!(!database.windows(code.len()).any(|part| part == code.as_bytes()));
}

#[test]
fn a_link_expires_whatever_the_clock_does() {
    const MONTH: i64 = 30 * 24 * 60 * MINUTE;
    for (moved, expected) in [
        (LINK_MS - 1, Ok(())),
        (LINK_MS, Err(BadLink::Spent)),
        (MONTH, Err(BadLink::Spent)),
        // A small correction of the clock.
        (-MINUTE, Ok(())),
        (-60 * MINUTE, Err(BadLink::Spent)),
        (-MONTH, Err(BadLink::Spent)),
    ] {
        let home = Home::new();
        let store = home.store();
        let code = store.new_page_link().expect("a code");
        home.wait(moved);
        assert_eq!(used(&store, &code), expected, "{moved}");
    }
    // A new link forgets those that are long over.
    let home = Home::new();
    let store = home.store();
    let code = store.new_page_link().expect("a code");
    home.wait(MONTH);
    store.new_page_link().expect("a code");
    assert_eq!(used(&store, &code), Err(BadLink::Wrong));
}

#[test]
fn the_address_of_a_page_is_known_as_long_as_it_is_served() {
    let home = Home::new();
    let store = home.store();
    assert_eq!(store.page(), None);
    let announced =
        store.announce_page("http://localhost:4/", false).expect("written").expect("first");
    assert_eq!(home.store().page().expect("an address").as_str(), "http://localhost:4/");
    let link = store.page_of("abc");
    assert_eq!(link.as_deref(), Some("http://localhost:4/approvals/abc"));
    // Another page does not end the announcement of the first one, and is there after it.
    let announce = |port: u16, for_others| {
        let announced = store.announce_page(&format!("http://localhost:{port}/"), for_others);
        announced.expect("written").expect("there is room")
    };
    let port = || home.store().page().map(|page| page.port().unwrap_or_default());
    let second = announce(5, false);
    assert_eq!(port(), Some(4));
    // That of a service comes before those of one user, whichever began first.
    let service = announce(8, true);
    let other_service = announce(9, true);
    assert_eq!(port(), Some(8));
    drop(service);
    assert_eq!(port(), Some(4));
    drop(announced);
    assert_eq!(port(), Some(5));
    drop(second);
    assert_eq!(port(), Some(9));
    drop(other_service);
    assert_eq!(store.page(), None);
    // What a process left behind that was killed.
    std::fs::write(home.path().join("page"), "http://localhost:6/").expect("written");
    assert_eq!(store.page(), None);
    let announced =
        store.announce_page("http://localhost:7/", false).expect("written").expect("it is free");
    assert_eq!(store.page().expect("an address").port(), Some(7));
    drop(announced);
    // Nothing but a page of this machine is believed.
    for wrong in
        ["https://localhost:4/", "http://evil.example/", "http://localhost.evil.example/", ""]
    {
        let _announced = store.announce_page(wrong, false).expect("written").expect("first");
        assert_eq!(store.page(), None, "{wrong}");
    }
}
