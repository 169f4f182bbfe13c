//! Fuzzes the cursors of list_meetings.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby_guest::fuzzing::cursor(data));
