//! The shares of the open approvals that clients have, over more than a year.

use super::approvals::fill;
use super::*;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Which group and which client each approval counts for, oldest first.
fn askers(home: &Home) -> Vec<(Option<String>, Option<String>)> {
    let database = home.raw();
    let sql = "SELECT asker_group, asker FROM approvals ORDER BY seq";
    let mut rows = database.prepare(sql).expect("SQL");
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("askers")
}

#[test]
fn shares_are_counted_anew_after_a_month_and_after_a_year() {
    let home = Home::new();
    let store = home.store();
    let mut next = 0;
    let (one, other) = (asker("mcp 1", Some("1")), asker("mcp 1", Some("2")));
    let of_one = (Some("mcp 1".to_owned()), Some("1".to_owned()));
    // Forward, back, and on.
    for (days, closed_are_kept) in [(0, false), (1, true), (31, false), (400, false), (-180, true)]
    {
        home.wait(days * DAY);
        assert!(store.approvals(false).expect("read").is_empty(), "{days}");
        // Two are decided on and make room for one: what is approved still counts.
        let (filed, error) = fill(&store, &one, &mut next);
        assert_eq!(filed.len(), 25, "after {days} days: {error}");
        store.approve(&filed[0]).expect("approved");
        store.deny(&filed[1]).expect("denied");
        assert_eq!(fill(&store, &one, &mut next).0.len(), 1, "after {days} days");
        assert_eq!(fill(&store, &other, &mut next).0.len(), 25, "after {days} days");
        let kept = askers(&home);
        assert_eq!(kept.len() > 51, closed_are_kept, "after {days} days: {}", kept.len());
        let count = kept.iter().filter(|asker| **asker == of_one).count();
        assert_eq!(count * 51, kept.len() * 26, "after {days} days");
        // Whatever its state, an approval counts for whom it was asked.
        let changed = home.raw().execute("UPDATE approvals SET asker = '2' WHERE seq = 1", []);
        let has_first =
            home.raw().query_row("SELECT min(seq) = 1 FROM approvals", [], |r| r.get::<_, bool>(0));
        assert_eq!(changed.is_err(), has_first.expect("a row"), "after {days} days");
        home.wait(DAY);
    }
}

/// What was stored before there were shares counts for its front end, for as long as it is open.
#[test]
fn what_is_older_than_shares_counts_until_it_is_over() {
    for (days, left) in [(0, 99), (31, 100), (366, 100)] {
        let home = Home::new();
        let store = home.store();
        let first = pending(&store, &digest(&store, "first"));
        store.deny(&first).expect("denied");
        let database = home.raw();
        database
            .execute(
                "INSERT INTO approvals (id, digest, state, account, api, function, arguments, rule,
                     front_end, created_at, expires_at)
                 SELECT hex(randomblob(16)), randomblob(32), 'pending', account, api, function,
                     arguments, rule, 'cli', created_at, expires_at FROM approvals",
                [],
            )
            .expect("a row");
        drop(database);
        home.wait(days * DAY);
        let (filed, error) = fill(&store, &asker("cli", None), &mut 1000);
        assert_eq!(filed.len(), left, "after {days} days: {error}");
        assert_eq!(error.kind(), "denied");
    }
}
