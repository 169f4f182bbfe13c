//! The rate limit: points per organization and minute.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use std::time::Duration;

use super::moment::Moment;
use super::response::ApiResponse;
use super::switches::{
    DateFormat, MsLeft, RateLimitCosts, RateLimitHeaders, RateLimitReset, RetryAfter, Switches,
};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The kind of a request, which determines its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    ReadOne,
    ReadList,
    ReadInsights,
    Write,
    Delete,
}

impl Work {
    fn points(self, costs: RateLimitCosts) -> u32 {
        match (costs, self) {
            (RateLimitCosts::Complexity, Self::ReadOne) => 1,
            (RateLimitCosts::Complexity, Self::ReadInsights) => 5,
            (RateLimitCosts::Complexity, _) => 3,
            (RateLimitCosts::Method, Self::Write) => 3,
            (RateLimitCosts::Method, Self::Delete) => 2,
            (RateLimitCosts::Method, _) => 1,
        }
    }
}

/// The points that an organization has spent in the current minute, which starts with its first request after the
/// previous one.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    resets: Option<Moment>,
    spent: u32,
}

impl RateLimit {
    /// Spends the cost of a request. Returns the headers for its response, or a 429 as the error.
    pub(super) fn spend(
        &mut self,
        organization: u64,
        work: Work,
        now: Moment,
        switches: &Switches,
    ) -> Result<HeaderMap, Box<ApiResponse>> {
        if switches.rate_limit == 0 {
            return Ok(HeaderMap::new());
        }
        let resets = match self.resets {
            Some(resets) if now < resets => resets,
            _ => {
                self.spent = 0;
                *self.resets.insert(now.after(Duration::from_mins(1)))
            }
        };
        let points = work.points(switches.rate_limit_costs);
        let left = switches.rate_limit.saturating_sub(self.spent);
        if points <= left {
            self.spent += points;
            return Ok(match switches.rate_limit_headers {
                RateLimitHeaders::Always => headers(left - points, resets, switches),
                RateLimitHeaders::Limited => HeaderMap::new(),
            });
        }
        let milliseconds = resets.since(now);
        let wait = match switches.ms_left {
            MsLeft::Camel => "msLeft",
            MsLeft::Snake => "ms_left",
        };
        let mut response = ApiResponse::json(
            StatusCode::TOO_MANY_REQUESTS,
            &json!({
                "error": format!("Rate limit active for throttle key: organization:{organization}"),
                "data": { wait: milliseconds },
            }),
        );
        response.headers.extend(headers(left, resets, switches));
        let seconds = match switches.retry_after {
            RetryAfter::Whole => Some(((milliseconds + 999) / 1000).to_string()),
            RetryAfter::Decimal => {
                Some(format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000))
            }
            RetryAfter::Absent => None,
        };
        if let Some(seconds) = seconds {
            response.headers.insert(header::RETRY_AFTER, text(&seconds));
        }
        Err(Box::new(response))
    }
}

fn headers(remaining: u32, resets: Moment, switches: &Switches) -> HeaderMap {
    let reset = match switches.rate_limit_reset {
        RateLimitReset::Javascript => resets.to_javascript(),
        RateLimitReset::Iso => resets.to_text(DateFormat::Milliseconds),
        RateLimitReset::Epoch => (resets.milliseconds() / 1000).to_string(),
    };
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(LIMIT, HeaderValue::from(switches.rate_limit));
    headers.insert(REMAINING, HeaderValue::from(remaining));
    headers.insert(RESET, text(&reset));
    headers
}

fn text(value: &str) -> HeaderValue {
    // Digits and dates are always valid in a header.
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_follow_both_descriptions() {
        for (work, complexity, method) in [
            (Work::ReadOne, 1, 1),
            (Work::ReadList, 3, 1),
            (Work::ReadInsights, 5, 1),
            (Work::Write, 3, 3),
            (Work::Delete, 3, 2),
        ] {
            assert_eq!(work.points(RateLimitCosts::Complexity), complexity, "{work:?}");
            assert_eq!(work.points(RateLimitCosts::Method), method, "{work:?}");
        }
    }

    #[test]
    fn a_minute_starts_with_the_first_request_and_ends_the_limit() {
        let start = Moment::from_text("2026-03-02T08:15:00Z").unwrap();
        let switches = Switches { rate_limit: 7, ..Switches::default() };
        let mut limit = RateLimit::default();
        let mut spend = |seconds, work| {
            let now = start.after(Duration::from_secs_f64(seconds));
            limit
                .spend(4711, work, now, &switches)
                .map(|headers| headers[REMAINING].to_str().unwrap().to_owned())
        };
        assert_eq!(spend(0.0, Work::ReadOne).unwrap(), "6");
        assert_eq!(spend(10.0, Work::ReadInsights).unwrap(), "1");
        let response = spend(38.5, Work::Write).unwrap_err();
        assert_eq!(response.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers[header::RETRY_AFTER], "22");
        assert_eq!(response.headers[REMAINING], "1");
        assert_eq!(
            String::from_utf8(response.body).unwrap(),
            r#"{"error":"Rate limit active for throttle key: organization:4711","data":{"msLeft":21500}}"#
        );
        assert_eq!(spend(59.0, Work::ReadOne).unwrap(), "0", "a cheaper request still fits");
        assert_eq!(spend(60.0, Work::Write).unwrap(), "4");
    }
}
