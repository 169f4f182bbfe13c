//! Fuzzes meeting ids. The component and the host parse them independently; if both accept an id, it must
//! mean the same meeting to both.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (guest, host) =
        (whereby_guest::fuzzing::meeting_id(text), whereby_authority::fuzzing::meeting_id(text));
    assert!(guest.is_none() || host.is_none() || guest == host, "{guest:?} and {host:?}");
});
