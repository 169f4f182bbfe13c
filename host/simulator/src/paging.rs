//! Shared code of all lists: the query, limits, sorting and cursors.

use std::borrow::Cow;

use axum::http::StatusCode;
use serde::Serialize;

use super::identity::{fingerprint, mix};
use super::response::{ApiResponse, Refusal};
use super::switches::{LimitOutOfRange, Switches};

/// The decoded query of a request.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(super) fn parse(raw: &'a str) -> Self {
        Self(url::form_urlencoded::parse(raw.as_bytes()).collect())
    }

    /// Returns the first value of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    pub(super) fn required(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or(Refusal::invalid(name, "it is required"))
    }
}

/// A list endpoint.
#[derive(Debug)]
pub(super) struct List {
    pub(super) path: &'static str,
    pub(super) default_limit: usize,
    /// The query parameters that filter the list, besides `sortBy`. A cursor is valid only with the same values.
    pub(super) filters: &'static [&'static str],
}

/// The requested page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) limit: usize,
    /// The last row of the previous page.
    pub(super) after: Option<u32>,
    fingerprint: u64,
}

impl Page {
    /// Reads the page from a query. `rows` is the number of rows in the underlying table.
    pub(super) fn from_query(
        query: &Query<'_>,
        list: &List,
        organization: u64,
        rows: usize,
        switches: &Switches,
    ) -> Result<Self, Refusal> {
        let organization = organization.to_string();
        let mut parts = vec![list.path, &organization];
        for filter in list.filters.iter().chain(&["sortBy"]) {
            parts.push(query.get(filter).unwrap_or(""));
        }
        let fingerprint = fingerprint(&parts);
        let after = match query.get("cursor") {
            None => None,
            Some(cursor) => {
                let row = read_cursor(cursor, fingerprint).filter(|&row| (row as usize) < rows);
                Some(row.ok_or(Refusal::invalid(
                    "cursor",
                    "it does not belong to this list with these filters",
                ))?)
            }
        };
        Ok(Self {
            limit: read_limit(query.get("limit"), list.default_limit, switches)?,
            after,
            fingerprint,
        })
    }

    /// Returns the cursor that continues after this row. It is stateless, so it stays valid while the simulator runs.
    pub(super) fn cursor(&self, row: u32) -> String {
        format!("{:016x}{:016x}", self.fingerprint, u64::from(row) ^ mix(self.fingerprint))
    }

    /// Sorts rows. Returns the rows of this page and the cursor for the next one.
    pub(super) fn cut(
        &self,
        rows: impl Iterator<Item = u32>,
        sort: &Sort,
        key: impl Fn(u32) -> Key,
    ) -> (Vec<u32>, Option<String>) {
        let mut rows: Vec<_> = rows.map(|row| (key(row), row)).collect();
        rows.sort_unstable();
        if sort.descending {
            rows.reverse();
        }
        let start = self.after.map_or(0, |last| {
            // The last row itself may be gone, but its key still gives the position.
            let last = (key(last), last);
            rows.partition_point(|row| if sort.descending { *row >= last } else { *row <= last })
        });
        let page: Vec<_> = rows[start..].iter().take(self.limit).map(|(_, row)| *row).collect();
        let more = start + page.len() < rows.len();
        let cursor = page.last().filter(|_| more).map(|&last| self.cursor(last));
        (page, cursor)
    }

    /// Returns the response with the rows of this page.
    pub(super) fn answer<T: Serialize>(
        &self,
        rows: impl Iterator<Item = u32>,
        sort: &Sort,
        key: impl Fn(u32) -> Key,
        row: impl Fn(u32) -> T,
    ) -> ApiResponse {
        let (rows, cursor) = self.cut(rows, sort, key);
        let results = rows.into_iter().map(row).collect();
        ApiResponse::json(StatusCode::OK, &Listing { results, cursor })
    }
}

/// The envelope of every list.
#[derive(Serialize)]
pub(super) struct Listing<T> {
    pub(super) results: Vec<T>,
    pub(super) cursor: Option<String>,
}

fn read_cursor(cursor: &str, fingerprint: u64) -> Option<u32> {
    if cursor.len() != 32 || !cursor.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let (known, row) = cursor.split_at(16);
    if u64::from_str_radix(known, 16).ok()? != fingerprint {
        return None;
    }
    u32::try_from(u64::from_str_radix(row, 16).ok()? ^ mix(fingerprint)).ok()
}

fn read_limit(text: Option<&str>, default: usize, switches: &Switches) -> Result<usize, Refusal> {
    let Some(text) = text else { return Ok(default) };
    let limit: i64 = text.parse().map_err(|_| Refusal::invalid("limit", "it is not an integer"))?;
    match usize::try_from(limit.clamp(1, 100)) {
        Ok(clamped)
            if limit == clamped as i64
                || switches.limit_out_of_range == LimitOutOfRange::Clamped =>
        {
            Ok(clamped)
        }
        _ => Err(Refusal::invalid("limit", "it is not between 1 and 100")),
    }
}

/// The sort order of a list.
#[derive(Debug)]
pub(super) struct Sort {
    pub(super) field: &'static str,
    pub(super) descending: bool,
}

impl Sort {
    /// Reads `sortBy=<field>:<asc or desc>`. Default: the first accepted field, descending.
    pub(super) fn from_query(
        query: &Query<'_>,
        accepted: &[&'static str],
    ) -> Result<Self, Refusal> {
        let Some(text) = query.get("sortBy") else {
            return Ok(Self { field: accepted.first().copied().unwrap_or(""), descending: true });
        };
        let (field, order) = text.split_once(':').unwrap_or((text, ""));
        let field = accepted.iter().find(|known| **known == field).copied();
        match (field, order) {
            (Some(field), "asc" | "desc") => Ok(Self { field, descending: order == "desc" }),
            (None, _) => Err(Refusal::invalid("sortBy", "the list cannot be sorted by this field")),
            _ => Err(Refusal::invalid("sortBy", "the order is neither asc nor desc")),
        }
    }
}

/// The sort key of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Absent,
    Number(i64),
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: List = List { path: "/things", default_limit: 50, filters: &["roomName"] };

    fn page(query: &str, switches: &Switches) -> Result<Page, Refusal> {
        Page::from_query(&Query::parse(query), &LIST, 47_110, 10, switches)
    }

    #[test]
    fn limits_are_clamped_or_rejected() {
        let rejecting =
            Switches { limit_out_of_range: LimitOutOfRange::Rejected, ..Switches::default() };
        for (query, clamped, rejected) in [
            ("", Some(50), Some(50)),
            ("limit=1", Some(1), Some(1)),
            ("limit=100", Some(100), Some(100)),
            ("limit=0", Some(1), None),
            ("limit=-5", Some(1), None),
            ("limit=101", Some(100), None),
            ("limit=ten", None, None),
            ("limit=", None, None),
        ] {
            assert_eq!(
                page(query, &Switches::default()).ok().map(|page| page.limit),
                clamped,
                "{query}"
            );
            assert_eq!(page(query, &rejecting).ok().map(|page| page.limit), rejected, "{query}");
        }
    }

    #[test]
    fn a_cursor_is_32_hex_digits_and_valid_only_for_the_same_query() {
        let switches = Switches::default();
        let cursor = page("roomName=/a", &switches).unwrap().cursor(7);
        assert_eq!(cursor.len(), 32);
        let ask = |query: &str| page(query, &switches).ok().and_then(|page| page.after);
        assert_eq!(ask(&format!("roomName=/a&limit=3&cursor={cursor}")), Some(7));
        assert_eq!(ask(&format!("roomName=/b&cursor={cursor}")), None);
        assert_eq!(ask(&format!("cursor={cursor}")), None);
        assert_eq!(ask(&format!("roomName=/a&sortBy=x:asc&cursor={cursor}")), None);
        let beyond = page("roomName=/a", &switches).unwrap().cursor(10);
        for bad in ["", "8f4031bfc7640c5f267b11b6fe0c2507", "x", &cursor.to_uppercase(), &beyond] {
            assert!(page(&format!("roomName=/a&cursor={bad}"), &switches).is_err(), "{bad}");
        }
    }

    #[test]
    fn pages_continue_after_the_last_row_even_if_it_is_gone() {
        let switches = Switches::default();
        for descending in [false, true] {
            let sort = Sort { field: "", descending };
            // Pairs of rows share a key.
            let key = |row: u32| Key::Number(i64::from(row / 2));
            let whole = page("limit=100", &switches).unwrap().cut(0..10, &sort, key).0;
            let (first, cursor) = page("limit=4", &switches).unwrap().cut(0..10, &sort, key);
            assert_eq!(first, whole[..4]);
            let rest = page(&format!("limit=6&cursor={}", cursor.unwrap()), &switches).unwrap();
            let gone = first[3];
            assert_eq!(
                rest.cut((0..10).filter(|&row| row != gone), &sort, key),
                (whole[4..].to_vec(), None)
            );
        }
    }

    #[test]
    fn sort_by_takes_known_fields_and_both_orders() {
        let sort = |query| {
            Sort::from_query(&Query::parse(query), &["joinedAt", "leftAt"])
                .ok()
                .map(|sort| (sort.field, sort.descending))
        };
        assert_eq!(sort(""), Some(("joinedAt", true)));
        assert_eq!(sort("sortBy=leftAt:asc"), Some(("leftAt", false)));
        assert_eq!(sort("sortBy=leftAt%3Adesc"), Some(("leftAt", true)));
        for bad in ["sortBy=leftAt", "sortBy=leftAt:up", "sortBy=name:asc", "sortBy="] {
            assert_eq!(sort(bad), None, "{bad}");
        }
    }
}
