//! Observers of a call's requests.

use percent_encoding::percent_decode_str;
use std::sync::Arc;
use std::time::Duration;

/// Called for each request that leaves, with its method and its path relative to the API's base.
pub type Observer = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Called for each request that leaves, and for its response.
pub(crate) type TrafficObserver = Arc<dyn Fn(&Traffic<'_>) + Send + Sync>;

/// The observers of a call's requests.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    pub(crate) observer: Option<Observer>,
    pub(crate) traffic: Option<TrafficObserver>,
}

/// An event of a request. The target is the path, relative to the API's base, and the query, decoded and
/// with cursors shortened for people.
#[derive(Debug)]
pub(crate) enum Traffic<'a> {
    /// The request leaves.
    Sent { method: &'a str, target: &'a str },
    /// The response arrived, or the request failed.
    Answered { method: &'a str, target: &'a str, status: Option<u16>, duration: Duration },
}

impl Watch {
    /// Reports a request that leaves.
    pub(crate) fn sent(&self, method: &str, path_and_query: &str) {
        if let Some(observer) = &self.observer {
            observer(method, path_and_query.split('?').next().unwrap_or_default());
        }
        if let Some(traffic) = &self.traffic {
            traffic(&Traffic::Sent { method, target: &shown_target(path_and_query) });
        }
    }

    /// Reports a response, or a failed request.
    pub(crate) fn answered(
        &self,
        method: &str,
        path_and_query: &str,
        status: Option<u16>,
        duration: Duration,
    ) {
        if let Some(traffic) = &self.traffic {
            let target = &shown_target(path_and_query);
            traffic(&Traffic::Answered { method, target, status, duration });
        }
    }
}

/// The maximum length of a shown cursor, in characters.
const CURSOR_SHOWN: usize = 8;

/// Formats a path and query for people.
fn shown_target(path_and_query: &str) -> String {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let mut shown = decode(path);
    for (index, member) in query.split('&').filter(|member| !member.is_empty()).enumerate() {
        let (name, value) = member.split_once('=').unwrap_or((member, ""));
        let mut value = decode(value);
        if let Some((end, _)) = value.char_indices().nth(CURSOR_SHOWN)
            && name == "cursor"
        {
            value.truncate(end);
            value.push('…');
        }
        shown += if index == 0 { "?" } else { "&" };
        shown += &format!("{name}={value}");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_decoded_and_its_cursor_shortened() {
        for (target, shown) in [
            ("/meetings", "/meetings"),
            ("/meetings?limit=3", "/meetings?limit=3"),
            ("/insights/x?roomName=%2Fdaily&limit=2", "/insights/x?roomName=/daily&limit=2"),
            ("/meetings?cursor=abcdefghij&limit=1", "/meetings?cursor=abcdefgh…&limit=1"),
            ("/meetings?cursor=%C3%A9bcdefgh", "/meetings?cursor=ébcdefgh"),
        ] {
            assert_eq!(shown_target(target), shown);
        }
    }
}
