//! Finds functions by words, however they are spelled.

use crate::catalog::{FUNCTIONS, Function, Type};

/// The functions that a query is about, the best match first: those in which every word of it is
/// found, with at most one typing error, else those in which at least half of them are.
#[must_use]
pub fn search(query: &str) -> Vec<&'static Function> {
    let words: Vec<String> = words_of(query).take(20).collect();
    let mut found: Vec<(u32, usize, &Function)> = FUNCTIONS
        .iter()
        .filter_map(|function| {
            let (score, missed) = score(function, &words)?;
            Some((score, missed, function))
        })
        .collect();
    if found.iter().any(|(_, missed, _)| *missed == 0) {
        found.retain(|(_, missed, _)| *missed == 0);
    }
    // The sort is stable, so equals stay in the order of the catalogue.
    found.sort_by_key(|(score, _, _)| std::cmp::Reverse(*score));
    found.into_iter().map(|(_, _, function)| function).collect()
}

/// How well the words fit, and how many do not fit at all; `None` where most do not.
fn score(function: &Function, words: &[String]) -> Option<(u32, usize)> {
    if words.is_empty() {
        return None;
    }
    let (mut total, mut missed) = (0, 0);
    for word in words {
        let in_name = best(word, function.json) * 8;
        let in_docs = best(word, function.docs);
        let in_params = function
            .params
            .iter()
            .map(|param| (best(word, param.json) * 3).max(best(word, param.docs)))
            .max()
            .unwrap_or(0);
        let members = match function.result {
            Type::Record(record) => record.members,
            _ => &[],
        };
        let in_result = members
            .iter()
            .map(|member| best(word, member.name).max(best(word, member.docs)))
            .max()
            .unwrap_or(0);
        let best = in_name.max(in_docs * 2).max(in_params).max(in_result);
        missed += usize::from(best == 0);
        total += best;
    }
    (total > 0 && missed * 2 <= words.len()).then_some((total, missed))
}

/// How well the best word of a text fits: 4 the same, 3 the same but for an ending, 2 begins with
/// it, 1 one typing error away, 0 not at all.
fn best(word: &str, text: &str) -> u32 {
    words_of(text).map(|candidate| fit(word, &candidate)).max().unwrap_or(0)
}

fn fit(word: &str, candidate: &str) -> u32 {
    if word == candidate {
        return 4;
    }
    if stem(word) == stem(candidate) {
        return 3;
    }
    if word.len() >= 3 && candidate.starts_with(word) {
        return 2;
    }
    // In a short word one letter makes another word.
    let long_enough = word.len() >= 3 && candidate.len() >= 4;
    let one_off = |a: &str, b: &str| strsim::damerau_levenshtein(a, b) <= 1;
    u32::from(long_enough && (one_off(word, candidate) || one_off(stem(word), stem(candidate))))
}

/// A word without the commonest English endings.
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

fn words_of(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| (1..=40).contains(&word.len()))
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_name_description_and_with_typing_errors() {
        for (query, first) in [
            ("list_rooms", "list_rooms"),
            ("list rooms", "list_rooms"),
            ("rooms", "list_rooms"),
            ("delete", "delete_room"),
            ("thrown out", "delete_room"),
            ("craete room", "create_room"),
            ("participants attended", "get_meeting"),
            ("delte rom", "delete_room"),
            ("recording", "get_meeting"),
            ("past meetings", "list_meetings"),
            ("api key", "get_current_user"),
            ("MEETNG", "get_meeting"),
        ] {
            let found: Vec<&str> = search(query).iter().map(|function| function.json).collect();
            assert!(found.contains(&first), "{query}: {found:?}");
        }
        assert_eq!(search("list_rooms")[0].json, "list_rooms");
        assert_eq!(search("delete room")[0].json, "delete_room");
        assert!(search("invoice").is_empty());
        assert!(search("").is_empty());
        assert!(search(&"x".repeat(100_000)).is_empty());
    }
}
