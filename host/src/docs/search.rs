//! Finds functions by words, and tolerates typing errors.

use std::cmp::Reverse;
use whereby_catalog::{FUNCTIONS, Function, Member, Type};

/// Words that the search ignores.
const SMALL: &[&str] = &[
    "a", "an", "and", "any", "anyone", "are", "at", "be", "by", "can", "did", "do", "does", "for",
    "from", "has", "have", "how", "i", "in", "is", "it", "me", "my", "of", "on", "or", "our",
    "please", "somebody", "someone", "that", "the", "there", "this", "to", "us", "was", "we",
    "were", "what", "which", "with", "you", "your",
];

/// Returns the functions that match a query, the best match first. A match contains at least half of the
/// query's words, with at most one typing error in each, and scores at least half as much as the best.
#[must_use]
pub fn search(query: &str) -> Vec<&'static Function> {
    let words: Vec<String> = content_words(query).take(20).collect();
    let mut found: Vec<Found> =
        FUNCTIONS.iter().map(|function| Found { function, score: 0, missed: 0 }).collect();
    for word in &words {
        let fits: Vec<Fit> = FUNCTIONS.iter().map(|function| best(word, function)).collect();
        // If a word is found exactly, similar words are not typing errors.
        let is_known = fits.iter().any(|fit| fit.quality > TYPING_ERROR);
        for (found, fit) in found.iter_mut().zip(fits) {
            let counts = fit.quality > TYPING_ERROR || !is_known;
            found.score += if counts { fit.quality * fit.weight } else { 0 };
            found.missed += usize::from(!counts || fit.quality == 0);
        }
    }
    for found in &mut found {
        found.score += phrases(&words, found.function);
    }
    found.retain(|found| found.score > 0 && found.missed * 2 <= words.len());
    let best = found.iter().map(|found| found.score).max().unwrap_or_default();
    found.retain(|found| found.score * 2 >= best);
    // The sort is stable, so equals stay in the order of the catalog.
    found.sort_by_key(|found| Reverse(found.score));
    found.into_iter().map(|found| found.function).collect()
}

/// Returns a notice for a query about something that no function does.
#[must_use]
pub(crate) fn notice(query: &str) -> Option<&'static str> {
    const ONE_PERSON: &str = "No function removes or mutes a single participant. delete_room deletes \
                              the room and throws out everyone in it.";
    let is_one_of = |known: &[&str]| {
        content_words(query).any(|word| known.iter().any(|known| stem(&word) == stem(known)))
    };
    let acts = ["kick", "eject", "expel", "ban", "block", "remove", "mute", "unmute", "throw"];
    let people =
        ["participant", "person", "people", "user", "guest", "attendee", "visitor", "member"];
    // `content_words` drops these.
    let names_somebody = query
        .to_lowercase()
        .split_whitespace()
        .any(|word| matches!(word, "someone" | "somebody" | "anyone" | "him" | "her" | "them"));
    (is_one_of(&acts) && (names_somebody || is_one_of(&people))).then_some(ONE_PERSON)
}

/// The match of a function.
struct Found {
    function: &'static Function,
    score: u32,
    /// The number of words that are not found.
    missed: usize,
}

/// The match of a word in a function: the quality of the match, and the weight of its position.
#[derive(Default)]
struct Fit {
    quality: u32,
    weight: u32,
}

fn best(word: &str, function: &Function) -> Fit {
    let mut best = Fit::default();
    texts(function, &mut |weight, text| {
        for candidate in words_of(text) {
            let quality = quality(word, &candidate);
            if quality * weight > best.quality * best.weight {
                best = Fit { quality, weight };
            }
        }
    });
    best
}

/// Passes every name and description of a function to `give`, with its weight.
fn texts(function: &Function, give: &mut impl FnMut(u32, &str)) {
    give(8, function.json);
    for words in function.also_called {
        give(5, words);
    }
    give(2, function.docs);
    for param in function.params {
        give(3, param.name);
        give(1, param.docs);
        within(&param.ty, give);
    }
    within(&function.result, give);
}

fn within(ty: &Type, give: &mut impl FnMut(u32, &str)) {
    match ty {
        Type::Option(inner) | Type::List(inner) => within(inner, give),
        Type::Record(record) => {
            for Member { name, docs, ty, .. } in record.members {
                give(1, name);
                give(1, docs);
                within(ty, give);
            }
        }
        Type::Variant(variant) => {
            for case in variant.cases {
                give(1, case.name);
                give(1, case.docs);
                case.payload.iter().for_each(|payload| within(payload, give));
            }
        }
        Type::Enum(choice) => choice.cases.iter().for_each(|case| give(1, case.docs)),
        _ => {}
    }
}

/// Returns the score for a query that contains a whole alternative name of a function.
fn phrases(words: &[String], function: &Function) -> u32 {
    let has = |wanted: &String| words.iter().any(|word| quality(word, wanted) > TYPING_ERROR);
    let held = function.also_called.iter().filter_map(|phrase| {
        let phrase: Vec<String> = content_words(phrase).collect();
        (phrase.len() > 1 && phrase.iter().all(has)).then_some(16 * phrase.len() as u32)
    });
    held.max().unwrap_or(0)
}

/// The quality of a word that is one typing error away.
const TYPING_ERROR: u32 = 1;

/// Returns the quality of a match of two words: 4 for the same word, 3 for another ending, 2 for the same
/// beginning, 1 for a typing error, and 0 for no match.
fn quality(word: &str, candidate: &str) -> u32 {
    if word == candidate {
        return 4;
    }
    if stem(word) == stem(candidate) {
        return 3;
    }
    if (word.len() >= 3 && candidate.starts_with(word)) || begin_alike(word, candidate) {
        return 2;
    }
    // Another letter in a short word, or another first letter, makes another word.
    let one_off = |a: &str, b: &str, least: usize| {
        a.len() >= least
            && b.len() > least
            && a.chars().next() == b.chars().next()
            && strsim::damerau_levenshtein(a, b) <= 1
    };
    let is_typing_error = one_off(word, candidate, 3) || one_off(stem(word), stem(candidate), 5);
    if is_typing_error { TYPING_ERROR } else { 0 }
}

/// Whether two words share most of the longer one at the beginning, as attendance and attended do.
fn begin_alike(word: &str, candidate: &str) -> bool {
    let same = word.chars().zip(candidate.chars()).take_while(|(one, other)| one == other).count();
    let longer = word.chars().count().max(candidate.chars().count());
    same >= 5 && same * 5 >= longer * 3
}

/// Removes common English endings.
fn stem(word: &str) -> &str {
    for ending in ["ings", "ing", "ers", "ed", "es", "s", "e"] {
        if let Some(stem) = word.strip_suffix(ending)
            && stem.len() >= 3
        {
            return stem;
        }
    }
    word
}

/// Returns the words of a string, without the ignored ones.
fn content_words(text: &str) -> impl Iterator<Item = String> {
    words_of(text).filter(|word| !SMALL.contains(&word.as_str()))
}

fn words_of(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| (1..=40).contains(&word.len()))
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(query: &str) -> Vec<&'static str> {
        search(query).iter().map(|function| function.json).collect()
    }

    #[test]
    fn functions_are_found_by_name_description_and_with_typing_errors() {
        for (query, first) in [
            ("list_rooms", "list_rooms"),
            ("list rooms", "list_rooms"),
            ("rooms", "list_rooms"),
            ("delete", "delete_room"),
            ("delete room", "delete_room"),
            ("thrown out", "delete_room"),
            ("craete room", "create_room"),
            ("participants attended", "get_meeting"),
            ("delte rom", "delete_room"),
            ("recording", "get_meeting"),
            ("past meetings", "list_meetings"),
            ("api key", "get_current_user"),
            ("MEETNG", "get_meeting"),
        ] {
            assert!(found(query).contains(&first), "{query}: {:?}", found(query));
        }
        assert_eq!(found("list_rooms")[0], "list_rooms");
        assert!(found("invoice").is_empty());
        assert!(found("").is_empty());
        assert!(found("the of a").is_empty());
        assert!(found(&"x".repeat(100_000)).is_empty());
    }

    #[test]
    fn functions_are_found_by_the_words_that_people_use() {
        let mut wrong = Vec::new();
        for (query, first) in [
            ("attendance", "get_meeting"),
            ("who joined", "get_meeting"),
            ("who was in the meeting", "get_meeting"),
            ("attendees", "get_meeting"),
            ("participants", "get_meeting"),
            ("how long was the meeting", "get_meeting"),
            ("recordings of a meeting", "get_meeting"),
            ("cancel", "delete_room"),
            ("cancel a meeting", "delete_room"),
            ("cancelled", "delete_room"),
            ("remove", "delete_room"),
            ("end a meeting", "delete_room"),
            ("end the meeting", "delete_room"),
            ("hang up", "delete_room"),
            ("kick", "delete_room"),
            ("kick somebody out", "delete_room"),
            ("close the room", "delete_room"),
            ("book", "create_room"),
            ("booking", "create_room"),
            ("book a meeting room", "create_room"),
            ("schedule", "create_room"),
            ("schedule a call for tomorrow", "create_room"),
            ("invite", "create_room"),
            ("invitation", "create_room"),
            ("video call", "create_room"),
            ("start a video conference", "create_room"),
            ("new meeting", "create_room"),
            ("live stream", "create_room"),
            ("history", "list_meetings"),
            ("past calls", "list_meetings"),
            ("last week's meetings", "list_meetings"),
            ("call log", "list_meetings"),
            ("whoami", "get_current_user"),
            ("who am i", "get_current_user"),
            ("api key", "get_current_user"),
            ("is my key valid", "get_current_user"),
            ("organisation", "get_current_user"),
            ("show all rooms", "list_rooms"),
            ("find a room", "get_room"),
            ("room link", "get_room"),
            ("remove a participant", "delete_room"),
            ("yesterday's meetings", "list_meetings"),
            ("who owns this key", "get_current_user"),
        ] {
            let found = found(query);
            if found.first() != Some(&first) {
                wrong.push(format!("{query}: {found:?}"));
            }
        }
        for (query, functions) in [
            ("transcript", ["create_room", "get_meeting"]),
            ("delete all rooms", ["delete_room", "list_rooms"]),
            ("cancel my booking", ["delete_room", "create_room"]),
            ("did anyone join", ["get_meeting", "get_room"]),
        ] {
            let found = found(query);
            if !functions.iter().all(|known| found.contains(known)) {
                wrong.push(format!("{query}: {found:?}"));
            }
        }
        for query in ["zoom", "mute", "price"] {
            if !found(query).is_empty() {
                wrong.push(format!("{query}: {:?}", found(query)));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        // `book` is not a typing error of `room`.
        assert!(!found("book").contains(&"get_room"), "{:?}", found("book"));
    }

    #[test]
    fn a_query_for_something_that_no_function_does_has_a_notice() {
        for query in ["kick a participant", "mute participants", "ban user", "removing a guest"] {
            assert!(notice(query).is_some_and(|text| text.contains("No function")), "{query}");
        }
        assert!(notice("kick somebody out").is_some());
        for query in ["remove a room", "participants", "delete room", "list users", ""] {
            assert_eq!(notice(query), None, "{query}");
        }
    }

    #[test]
    fn no_function_is_described_by_words_alone() {
        for function in FUNCTIONS {
            assert!(function.also_called.len() >= 10, "{}", function.json);
            assert!(!function.docs.contains("Also called"), "{}", function.json);
        }
    }
}
