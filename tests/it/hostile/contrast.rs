//! The same component outside this host: in plain wasmtime, with its own way of sending requests
//! and the key in the environment, as runtimes have it. There it does what it wants, which shows
//! that the attempts are real.

use super::plain::Plain;
use super::{Arena, Case, HOSTILE, LIMITS, lines};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;
use whereby::catalog;

/// What each group gets done in plain wasmtime, whatever names and addresses the machine knows, as
/// names separated by blanks.
const DONE: [(&str, &str); 5] = [
    (
        "escape",
        "another-resource backslash base-alone dots-before-base dots-to-base \
         dots-with-backslash dots-with-parameter doubled-base doubled-slash \
         doubly-encoded-dots empty-query encoded-dots encoded-letter encoded-line-break \
         encoded-null-byte encoded-slash leading-doubled-slash letter-beyond-ascii \
         longer-base member-encoded member-in-another-case member-not-encoded member-twice \
         member-with-line-break member-with-plus method-in-query no-base one-room other-base \
         other-server path-parameter port-with-zero query-twice semicolon-separated \
         single-dot theme trailing-slash upper-case-base upper-case-path",
    ),
    (
        "authority",
        "a-filter a-larger-page a-person-everywhere all-rooms another-meeting another-page \
         another-room body-with-get create-in-read delete-in-read delete-what-was-listed \
         host-keys host-keys-in-two-members insights-in-list-rooms method-connect \
         method-delete-in-lower-case method-head method-in-lower-case method-options \
         method-patch method-post method-put method-trace method-unknown \
         participants-in-list-meetings recording-deleted recording-link \
         recordings-in-list-rooms recordings-of-all-rooms sessions-of-another-room",
    ),
    (
        "creation",
        "create-again-after-failure create-again-after-letting-go create-and-delete \
         create-and-list create-another-after-rate-limit create-at-another-path \
         create-from-depth create-from-list create-from-nothing create-from-text \
         create-from-too-much create-from-two-documents create-side-by-side create-twice \
         create-under-another-name create-until-another-end create-until-far-default \
         create-until-no-date create-until-the-past create-with-escaped-member \
         create-with-host-key create-with-member-twice create-with-more \
         create-with-null-member create-with-query create-with-recording \
         create-with-unknown-member create-without-end create-without-name",
    ),
    (
        "deletion",
        "delete-a-longer-name delete-a-recording delete-after-failed-listing \
         delete-after-listing-all delete-after-listing-another delete-all delete-and-create \
         delete-beyond delete-beyond-encoded delete-both-after-listing-again \
         delete-both-of-a-name delete-by-name delete-in-bulk delete-side-by-side delete-twice \
         delete-under-another-host delete-what-was-not-listed delete-with-body \
         delete-with-encoded-id delete-with-filter delete-with-query delete-with-slash \
         delete-without-looking",
    ),
    (
        "theft",
        "current-user echoed-token environment set-accept-encoding set-authorization \
         set-authorization-in-capitals set-cookie set-expect set-forwarded-host set-method \
         set-original-url set-range set-trailers",
    ),
];

static PLAIN: LazyLock<Plain> = LazyLock::new(|| Plain::new(HOSTILE));

/// Time for an attempt; what does not end by itself is left to itself.
const PATIENCE: Duration = Duration::from_secs(5);

impl Arena {
    /// Whether an attempt gets done in plain wasmtime what this host keeps it from: it reaches what
    /// it may not, or gets hold of the key.
    async fn succeeds_elsewhere(&self, function: &str, case: &Case) -> bool {
        self.world.simulator.clear_requests();
        self.world.simulator.clear_scripts();
        if let Some(prepare) = case.prepare {
            prepare(self);
        }
        let token = self.world.simulator.token();
        let variables = [
            ("WHEREBY_API_URL", self.world.simulator.url()),
            ("WHEREBY_ACCESS_TOKEN", token.to_owned()),
        ];
        let known = catalog::function(function).expect("a function");
        let arguments = self.arguments(function, case.name);
        let ended = PLAIN.call(&variables, known, &arguments, PATIENCE).await;
        let reached = lines(&self.world.requests());
        let more = reached.len() > case.reaches.len()
            || !reached.iter().all(|line| case.reaches.contains(&line.as_str()))
            || self.world.requests().iter().any(|request| request.query.contains("fields="));
        ended.text().contains(token) || more || self.other.connections() > 0
    }
}

fn done(group: &str) -> Option<BTreeSet<&'static str>> {
    let (_, names) = DONE.iter().find(|(known, _)| *known == group)?;
    Some(names.split_whitespace().collect())
}

#[tokio::test]
async fn outside_this_host_the_attempts_succeed() {
    for (group, functions) in super::groups() {
        let Some(mut expected) = done(group) else { continue };
        for (function, cases) in functions {
            for case in cases.iter().filter(|case| expected.remove(case.name)) {
                let arena = Arena::new(&[case.name], LIMITS).await;
                let succeeded = arena.succeeds_elsewhere(function, case).await;
                assert!(succeeded, "{group}: {} came to nothing", case.name);
            }
        }
        assert!(expected.is_empty(), "{group} has no {expected:?}");
    }
}

#[test]
fn the_guide_counts_the_attempts() {
    let page = crate::tidy::read("docs/sandbox.md");
    for (group, functions) in super::groups() {
        let attempts: usize = functions.iter().map(|(_, cases)| cases.len()).sum();
        let elsewhere = done(group).map_or("not tried".to_owned(), |names| names.len().to_string());
        // Every one of them has its test, which says what stops it.
        let guarded = super::guarded::stopped(group, attempts);
        let row = format!("| {group} | {attempts} | {attempts} | {elsewhere} | {guarded} |");
        assert!(page.lines().any(|line| line == row), "docs/sandbox.md needs: {row}");
    }
}
