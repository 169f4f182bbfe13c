//! "Did you mean": suggests the nearest known name.

use crate::prelude::*;

/// Returns ` (did you mean …?)` if one of the names is near, otherwise an empty string.
pub fn did_you_mean(given: &str, names: &[&str]) -> String {
    let nearest = nearest(given, names);
    nearest.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

/// Returns `None`: a component without `std` suggests nothing.
#[cfg(not(feature = "std"))]
pub fn nearest<'a>(_: &str, _: &[&'a str]) -> Option<&'a str> {
    None
}

/// Returns the nearest name, if it is near enough to be a typing error or another spelling.
#[cfg(feature = "std")]
pub fn nearest<'a>(given: &str, names: &[&'a str]) -> Option<&'a str> {
    // A long text is not a typing error, and comparing it would take long.
    if given.len() > 100 {
        return None;
    }
    let fold = |text: &str| text.to_lowercase().replace(['_', '-', ' '], "");
    let given = fold(given);
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&given, &fold(name)), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_found() {
        let names = ["limit", "cursor", "room_name"];
        for (given, expected) in [
            ("limti", Some("limit")),
            ("roomName", Some("room_name")),
            ("room-name", Some("room_name")),
            ("curser", Some("cursor")),
            ("page", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, &names), expected, "{given}");
        }
    }
}
