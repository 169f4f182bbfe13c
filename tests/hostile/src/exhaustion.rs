//! Attempts to use more resources than a call may have, and to end without returning.

use crate::attempt::{Act, Attempt, Ending, Scene, report_of};
use crate::wire::{Answer, Message, own_request, write};
use std::cell::RefCell;
use std::hint::black_box;
use wasi::clocks::monotonic_clock;
use wasi::http::outgoing_handler;
use wasi::http::types::{Fields, Method, OutgoingRequest};
use wasi::io::poll::poll;
use wasi::io::streams::OutputStream;

const fn list(name: &'static str, act: fn(&Scene) -> Ending) -> Attempt {
    Attempt { name, function: "list_rooms", act: Act::Do(act) }
}

/// More than any call may hold of any resource.
const MANY: usize = 100_000;

const MIB: usize = 1024 * 1024;

pub(crate) const ATTEMPTS: &[Attempt] = &[
    // Time.
    list("loop", |_| {
        let mut count = 0_u64;
        loop {
            count = black_box(count.wrapping_add(1));
        }
    }),
    list("loop-with-host-calls", |_| {
        loop {
            black_box(monotonic_clock::now());
        }
    }),
    list("loop-with-polls", |_| {
        loop {
            let soon = monotonic_clock::subscribe_duration(0);
            black_box(poll(&[&soon, &soon, &soon]));
        }
    }),
    list("sleep", |_| {
        monotonic_clock::subscribe_duration(u64::MAX).block();
        Ending::report("awake")
    }),
    list("sleep-until-the-end-of-time", |_| {
        monotonic_clock::subscribe_instant(u64::MAX).block();
        Ending::report("awake")
    }),
    list("poll-on-nothing", |_| Ending::report(format!("{:?}", poll(&[])))),
    // In the test, the API never responds.
    list("wait-for-an-answer", |scene| report_of(&own_request(scene))),
    list("body-without-end", |scene| {
        let message = Message { method: Method::Post, ..own_request(scene) };
        let Ok(outgoing) = message.outgoing() else { return Ending::report("unsendable") };
        let Ok(body) = outgoing.body() else { return Ending::report("unsendable") };
        let Ok(future) = outgoing_handler::handle(outgoing, None) else {
            return Ending::report("unsendable");
        };
        write(&body, b"{");
        Ending::report(Answer::of(&future).summary())
    }),
    // Its own memory.
    list("grow", |_| {
        let mut taken = Vec::new();
        loop {
            taken.push(black_box(vec![1_u8; MIB]));
        }
    }),
    list("grow-at-once", |_| {
        let taken = black_box(vec![1_u8; 1024 * MIB]);
        Ending::report(taken.len().to_string())
    }),
    list("recurse", |_| Ending::report(recurse(1).to_string())),
    // The host's memory.
    list("many-fields", |_| hoard(Fields::new)),
    list("many-pollables", |_| hoard(|| monotonic_clock::subscribe_duration(u64::MAX))),
    list("many-streams", |_| hoard(wasi::cli::stdout::get_stdout)),
    list("many-requests-unsent", |_| hoard(|| OutgoingRequest::new(Fields::new()))),
    list("many-unfinished-bodies", |_| {
        let block = vec![b' '; MIB];
        hoard(|| {
            let outgoing = OutgoingRequest::new(Fields::new());
            if let Ok(body) = outgoing.body()
                && let Ok(stream) = body.write()
            {
                // As much as the host accepts while nobody reads it.
                while let Ok(room @ 1..) = stream.check_write() {
                    let room = usize::try_from(room).unwrap_or(block.len());
                    if stream.write(&block[..room.min(block.len())]).is_err() {
                        break;
                    }
                }
                std::mem::forget((stream, body));
            }
            outgoing
        })
    }),
    // What is kept must stay as it is in later calls.
    list("fields-kept-for-later", |_| keep_fields(usize::MAX)),
    list("fields-kept-for-a-while", |_| keep_fields(8)),
    // Opened once, as libraries do.
    list("output-kept-for-later", |_| {
        thread_local! {
            static OUTPUT: OutputStream = wasi::cli::stdout::get_stdout();
        }
        take_memory();
        let written = OUTPUT.with(|output| output.blocking_write_and_flush(b"kept"));
        Ending::report(format!("{written:?}"))
    }),
    list("many-long-methods", |_| {
        let method = Method::Other("M".repeat(MIB));
        hoard(|| {
            let outgoing = OutgoingRequest::new(Fields::new());
            let _ = outgoing.set_method(&method);
            outgoing
        })
    }),
    list("many-long-authorities", |_| {
        let authority = "a".repeat(MIB);
        hoard(|| {
            let outgoing = OutgoingRequest::new(Fields::new());
            let _ = outgoing.set_authority(Some(&authority));
            outgoing
        })
    }),
    list("many-long-parts", |_| {
        // Each as long as the host accepts, and all of them kept.
        let (method, part) = (Method::Other("M".repeat(60_000)), "a".repeat(60_000));
        let header = [("accept".to_owned(), vec![b'a'; 30_000])];
        hoard(|| {
            let outgoing =
                OutgoingRequest::new(Fields::from_list(&header).unwrap_or_else(|_| Fields::new()));
            let _ = outgoing.set_method(&method);
            let _ = outgoing.set_authority(Some(&part));
            let _ = outgoing.set_path_with_query(Some(&format!("/{part}")));
            outgoing
        })
    }),
    // As many requests as fit, with the longest parts that the guard keeps.
    list("many-parts-kept", |_| {
        let (method, part) = (Method::Other("M".repeat(16_000)), "a".repeat(16_000));
        hoard(|| {
            let outgoing = OutgoingRequest::new(Fields::new());
            let _ = outgoing.set_method(&method);
            let _ = outgoing.set_authority(Some(&part));
            let _ = outgoing.set_path_with_query(Some(&part));
            outgoing
        })
    }),
    list("long-method", |scene| {
        report_of(&Message { method: Method::Other("M".repeat(MIB)), ..own_request(scene) })
    }),
    list("long-path", |_| report_of(&Message::get(&"/meetings".repeat(5000)))),
    list("long-query", |_| {
        report_of(&Message::get(&format!("/meetings?cursor={}", "a".repeat(60_000))))
    }),
    list("many-query-members", |_| {
        let members: Vec<String> = (0..8000).map(|index| format!("{index}=")).collect();
        report_of(&Message::get(&format!("/meetings?{}", members.join("&"))))
    }),
    list("many-headers", |scene| {
        let headers = (0..MANY).map(|index| (format!("x-{index}"), Vec::new()));
        report_of(&Message { headers: headers.collect(), ..own_request(scene) })
    }),
    list("huge-header", |scene| {
        let header = ("accept".to_owned(), vec![b'a'; MIB]);
        report_of(&Message { headers: vec![header], ..own_request(scene) })
    }),
    list("much-randomness", |_| {
        Ending::report(
            wasi::random::random::get_random_bytes(u64::from(u32::MAX)).len().to_string(),
        )
    }),
    list("much-insecure-randomness", |_| {
        let bytes = wasi::random::insecure::get_insecure_random_bytes(u64::from(u32::MAX));
        Ending::report(bytes.len().to_string())
    }),
    list("output-flood", |_| flood(&wasi::cli::stdout::get_stdout())),
    list("error-flood", |_| flood(&wasi::cli::stderr::get_stderr())),
    list("zeroes", |_| {
        let written = wasi::cli::stdout::get_stdout().write_zeroes(1 << 40);
        Ending::report(format!("{written:?}"))
    }),
    list("poll-on-much", |_| {
        let never = monotonic_clock::subscribe_duration(u64::MAX);
        Ending::report(poll(&vec![&never; MANY]).len().to_string())
    }),
    list("huge-text", |_| Ending::report("a".repeat(10 * MIB))),
    list("huge-list", |_| Ending { copies: MANY, ..Ending::report("") }),
    // The network.
    list("too-many-requests", |scene| {
        let answers = (0..80).map(|_| own_request(scene).send().summary());
        Ending::report(answers.collect::<Vec<_>>().join(" "))
    }),
    list("too-many-requests-side-by-side", |scene| {
        let sent: Vec<_> = (0..80).map(|_| own_request(scene).hand_over()).collect();
        let answers = sent.iter().flatten().map(|future| Answer::of(future).summary());
        Ending::report(answers.collect::<Vec<_>>().join(" "))
    }),
    // In the test, each response is large.
    list("too-much-taken-in", |scene| {
        let sent: Vec<_> = (0..20).map(|_| own_request(scene).hand_over()).collect();
        let taken = sent.iter().flatten().map(|future| Answer::of(future).body.len());
        Ending::report(taken.sum::<usize>().to_string())
    }),
    list("one-answer-too-large", |scene| report_of(&own_request(scene))),
    // Ending without returning.
    list("exit-well", |_| {
        wasi::cli::exit::exit(Ok(()));
        Ending::report("still there")
    }),
    list("exit-badly", |_| {
        wasi::cli::exit::exit(Err(()));
        Ending::report("still there")
    }),
    list("panic", |_| panic!("on purpose")),
    list("abort", |_| std::process::abort()),
];

/// Checks and changes the headers that earlier calls kept, and keeps one more. Drops all when there are `most`.
fn keep_fields(most: usize) -> Ending {
    thread_local! {
        static KEPT: RefCell<Vec<(Fields, Vec<u8>)>> = const { RefCell::new(Vec::new()) };
    }
    KEPT.with_borrow_mut(|kept| {
        let is_intact = kept.iter_mut().all(|(fields, value)| {
            let was = fields.get("kept") == std::slice::from_ref(value);
            value.push(b'+');
            was && fields.set("kept", std::slice::from_ref(value)).is_ok()
        });
        let value = kept.len().to_string().into_bytes();
        let fields = Fields::from_list(&[("kept".to_owned(), value.clone())]);
        kept.extend(fields.map(|fields| (fields, value)));
        take_memory();
        let intact = if is_intact { "intact" } else { "changed" };
        let report = format!("{intact}, {} kept", kept.len());
        if kept.len() == most {
            kept.clear();
        }
        Ending::report(report)
    })
}

/// Makes a guard take a MiB of its memory.
fn take_memory() {
    let header = ("kept".to_owned(), vec![b'a'; 15_000]);
    if let Ok(fields) = Fields::from_list(&[header]) {
        for _ in 0..70 {
            black_box(fields.entries());
        }
    }
}

/// Keeps every resource that it gets.
fn hoard<T>(make: impl Fn() -> T) -> Ending {
    let mut held = Vec::new();
    for _ in 0..MANY {
        held.push(make());
    }
    Ending::report(held.len().to_string())
}

fn flood(stream: &OutputStream) -> Ending {
    let block = [b'!'; 4096];
    let taken = (0..MANY).take_while(|_| stream.blocking_write_and_flush(&block).is_ok()).count();
    Ending::report(format!("{} bytes", taken * block.len()))
}

fn recurse(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return 0;
    }
    black_box(recurse(depth + 1)) + 1
}
