//! Tables from restic's documented behaviour, and what must hold for any policy.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::id::SnapshotId;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn ms(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_millisecond()
}

fn id(n: usize) -> SnapshotId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    SnapshotId::new(bytes)
}

fn candidates(times_ms: impl IntoIterator<Item = i64>) -> Vec<Candidate> {
    let candidate = |(n, time_ms)| Candidate { id: id(n), time_ms, tags: Vec::new(), complete: true };
    times_ms.into_iter().enumerate().map(candidate).collect()
}

/// `(day of November 2025, hour)`, newest first.
fn november(times: &[(i64, i64)]) -> Vec<Candidate> {
    let start = ms("2025-11-01T00:00:00Z");
    candidates(times.iter().map(|(day, hour)| start + (day - 1) * DAY_MS + hour * HOUR_MS))
}

fn decide(policy: &KeepPolicy, candidates: &[Candidate]) -> Vec<Decision> {
    apply(policy, candidates, ms("2026-01-01T00:00:00Z"), &TimeZone::UTC)
}

/// The reasons of each candidate, in brackets where it is removed.
fn check(policy: KeepPolicy, candidates: &[Candidate], expected: &[&str]) {
    let decisions = decide(&policy, candidates);
    let show = |d: &Decision| if d.keep { d.reasons.join(", ") } else { format!("[{}]", d.reasons.join(", ")) };
    assert_eq!(decisions.iter().map(show).collect::<Vec<_>>(), expected, "{policy:?}");
}

fn d(text: &str) -> Duration {
    text.parse().unwrap()
}

const N: fn(u32) -> Count = Count::Some;

#[test]
fn last_keeps_the_newest() {
    let three = november(&[(3, 0), (2, 0), (1, 0)]);
    check(KeepPolicy { last: N(2), ..Default::default() }, &three, &["last snapshot", "last snapshot", "[]"]);
    check(KeepPolicy { last: Count::Unlimited, ..Default::default() }, &three, &["last snapshot"; 3]);
    check(KeepPolicy::default(), &three, &["policy is empty"; 3]);
}

#[test]
fn calendar_rules_keep_the_newest_of_each_unit_and_the_oldest_while_counts_are_left() {
    let some = november(&[(5, 9), (5, 8), (4, 12), (4, 11), (2, 7), (2, 6)]);
    check(
        KeepPolicy { daily: N(2), ..Default::default() },
        &some,
        &["daily snapshot", "[]", "daily snapshot", "[]", "[]", "[]"],
    );
    check(
        KeepPolicy { daily: N(9), ..Default::default() },
        &some,
        &["daily snapshot", "[]", "daily snapshot", "[]", "daily snapshot", "oldest daily snapshot"],
    );
    check(
        KeepPolicy { hourly: N(1), weekly: N(5), ..Default::default() },
        &some,
        // 2025-11-02 is a Sunday, the last day of its ISO week.
        &["hourly snapshot, weekly snapshot", "[]", "[]", "[]", "weekly snapshot", "oldest weekly snapshot"],
    );
    check(
        KeepPolicy { last: N(1), monthly: N(1), quarterly: N(1), yearly: N(1), ..Default::default() },
        &some,
        &["last snapshot, monthly snapshot, quarterly snapshot, yearly snapshot", "[]", "[]", "[]", "[]", "[]"],
    );
}

#[test]
fn only_units_that_have_a_snapshot_count() {
    // As in restic's manual: with Sundays only, daily 4 keeps the last four Sundays.
    let sunday = ms("2025-12-28T11:00:00Z");
    let decisions = decide(
        &KeepPolicy { daily: N(4), ..Default::default() },
        &candidates((0..12).map(|n| sunday - n * 7 * DAY_MS)),
    );
    assert_eq!(decisions.iter().map(|d| d.keep).collect::<Vec<_>>(), (0..12).map(|n| n < 4).collect::<Vec<_>>());
    assert_eq!(decisions[1].counters.daily, N(2));
    assert_eq!(decisions[11].counters.daily, N(0));
}

#[test]
fn a_backup_a_day_for_years_is_thinned_out_as_in_restics_manual() {
    let newest = ms("2025-12-31T12:00:00Z");
    let policy = KeepPolicy { daily: N(7), weekly: N(5), monthly: N(12), yearly: N(75), ..Default::default() };
    let decisions = decide(&policy, &candidates((0..4000).map(|n| newest - n * DAY_MS)));
    let with = |reason: &str| decisions.iter().filter(|d| d.reasons.iter().any(|r| r == reason)).count();
    assert_eq!((with("daily snapshot"), with("weekly snapshot"), with("monthly snapshot")), (7, 5, 12));
    // 2015 to 2025; the oldest is in 2015 too.
    assert_eq!((with("yearly snapshot"), with("oldest yearly snapshot")), (11, 1));
}

#[test]
fn within_counts_from_the_newest_snapshot_that_is_not_in_the_future() {
    let some = november(&[(20, 0), (19, 0), (18, 23), (18, 22), (13, 1), (13, 0)]);
    check(
        KeepPolicy { within: d("1d2h"), ..Default::default() },
        &some,
        &["within 1d2h", "within 1d2h", "within 1d2h", "[]", "[]", "[]"],
    );
    check(
        KeepPolicy { within_daily: d("7d"), last: N(1), ..Default::default() },
        &some,
        &["last snapshot, daily within 7d", "daily within 7d", "daily within 7d", "[]", "daily within 7d", "[]"],
    );
    check(
        KeepPolicy { within_hourly: d("2d"), within: d("1h"), ..Default::default() },
        &some,
        &["within 1h, hourly within 2d", "hourly within 2d", "hourly within 2d", "hourly within 2d", "[]", "[]"],
    );
    let future = candidates([ms("2026-06-01T00:00:00Z"), ms("2025-12-31T00:00:00Z"), ms("2025-12-30T12:00:00Z")]);
    check(KeepPolicy { within: d("1d"), ..Default::default() }, &future, &["within 1d"; 3]);
}

#[test]
fn the_oldest_counts_as_within_only_when_it_is() {
    let some = november(&[(20, 0), (19, 1), (19, 0), (13, 0)]);
    check(
        KeepPolicy { within_weekly: d("6d"), ..Default::default() },
        &some[..3],
        &["weekly within 6d", "[]", "oldest weekly within 6d"],
    );
    check(KeepPolicy { within_weekly: d("6d"), ..Default::default() }, &some, &["weekly within 6d", "[]", "[]", "[]"]);
}

#[test]
fn tags_and_ids_keep_what_they_name_and_the_newest_is_kept_anyway() {
    let mut some = november(&[(4, 0), (3, 0), (2, 0), (1, 0)]);
    some[1].tags = vec!["a".to_owned(), "b".to_owned()];
    some[2].tags = vec!["a".to_owned()];
    let tags = |lists: &[&[&str]]| KeepPolicy {
        tags: lists.iter().map(|list| list.iter().map(|&tag| tag.to_owned()).collect()).collect(),
        ..Default::default()
    };
    check(tags(&[&["a", "b"]]), &some, &["newest snapshot", "has tags [a, b]", "[]", "[]"]);
    check(tags(&[&["a"], &["b"]]), &some, &["newest snapshot", "has tags [a], has tags [b]", "has tags [a]", "[]"]);
    check(tags(&[&[""]]), &some, &["has tags []", "[]", "[]", "has tags []"]);
    check(KeepPolicy { ids: vec![id(3)], ..Default::default() }, &some, &["newest snapshot", "[]", "[]", "id"]);
}

#[test]
fn bounds_remove_what_rules_of_time_and_number_keep() {
    let day = |n: i64| ms("2026-01-01T00:00:00Z") - n * DAY_MS;
    let mut some = candidates([day(5), day(10), day(40), day(50)]);
    let last = KeepPolicy { last: N(3), ..Default::default() };
    check(
        KeepPolicy { max_age: Some(d("30d")), ..last.clone() },
        &some,
        &["last snapshot", "last snapshot", "[older than 30d]", "[]"],
    );
    check(
        KeepPolicy { max_count: Some(1), ..last.clone() },
        &some,
        &["last snapshot", "[over the maximum count]", "[over the maximum count]", "[]"],
    );
    check(
        KeepPolicy { max_age: Some(d("1h")), max_count: Some(0), ..Default::default() },
        &some,
        &["policy is empty", "[older than 1h]", "[older than 1h]", "[older than 1h]"],
    );
    some[1].tags = vec!["law".to_owned()];
    check(
        KeepPolicy { max_count: Some(2), tags: vec![some[1].tags.clone()], ..last },
        &some,
        &["last snapshot", "has tags [law], last snapshot", "[over the maximum count]", "[]"],
    );
}

#[test]
fn partial_snapshots_count_for_nothing_and_go_when_superseded() {
    let mut some = november(&[(5, 0), (4, 0), (3, 0), (2, 0)]);
    (some[0].complete, some[2].complete) = (false, false);
    let gone = "[partial, superseded by a newer complete snapshot]";
    check(
        KeepPolicy { last: N(2), ..Default::default() },
        &some,
        &["partial, no newer complete snapshot", "last snapshot", gone, "last snapshot"],
    );
    check(
        KeepPolicy::default(),
        &some,
        &["partial, no newer complete snapshot", "policy is empty", gone, "policy is empty"],
    );
}

#[test]
fn days_are_those_of_the_time_zone() {
    let some = candidates([ms("2025-11-03T02:00:00Z"), ms("2025-11-02T23:30:00Z"), ms("2025-11-02T12:00:00Z")]);
    let policy = KeepPolicy { daily: N(2), ..Default::default() };
    let keep = |hours: i8| -> Vec<bool> {
        let zone = TimeZone::fixed(jiff::tz::offset(hours));
        apply(&policy, &some, ms("2026-01-01T00:00:00Z"), &zone).iter().map(|d| d.keep).collect()
    };
    assert_eq!(keep(0), [true, true, false]);
    assert_eq!(keep(1), [true, false, true]);
    assert_eq!(keep(-5), [true, false, true]);
}

#[test]
fn durations_are_written_as_restic_writes_them() {
    let check = |text: &str, expected: Result<&str, &str>| {
        let got = text.parse::<Duration>().map(|d| d.to_string()).map_err(|e| e.to_string());
        let expected = expected
            .map(str::to_owned)
            .map_err(|why| format!("{why}; a duration is written like 1y6m7d3h: years, months, days, hours"));
        assert_eq!(got, expected, "{text:?}");
    };
    check("1y6m7d3h", Ok("1y6m7d3h"));
    check(" 3h7d ", Ok("7d3h"));
    check("2w1d", Ok("15d"));
    check("1d1d", Ok("2d"));
    check("0d", Ok("0h"));
    check("", Err("empty duration"));
    check("7", Err("no unit behind 7"));
    check("d", Err("no number at `d`"));
    check("1d-3h", Err("no number at `-3h`"));
    check("5s", Err("unknown unit `s`"));
    check("1é", Err("unknown unit `é`"));
    check("99999999999999d", Err("99999999999999 is too large"));
    check("100001y", Err("100001 is too large"));
    // Days that would be printed as more than can be read.
    check("20000w", Err("20000 is too large"));
    check("60000d60000d", Err("60000 is too large"));
}

#[test]
fn durations_go_back_by_the_calendar() {
    let check = |from: &str, duration: &str, expected: &str| {
        assert_eq!(d(duration).before(ms(from), &TimeZone::UTC), ms(expected), "{duration} before {from}");
    };
    check("2024-03-31T12:00:00Z", "1m", "2024-02-29T12:00:00Z");
    check("2025-01-01T00:00:00Z", "1y1m1d1h", "2023-11-29T23:00:00Z");
    assert_eq!(d("100000y").before(0, &TimeZone::UTC), i64::MIN);
}

#[test]
fn counts_are_numbers_or_unlimited() {
    assert_eq!("7".parse(), Ok(N(7)));
    assert_eq!("-1".parse(), Ok(Count::Unlimited));
    assert_eq!("unlimited".parse(), Ok(Count::Unlimited));
    assert!("-2".parse::<Count>().is_err() && "".parse::<Count>().is_err());
}

fn counts() -> impl Strategy<Value = Count> {
    prop_oneof![4 => Just(Count::Some(0)), 2 => (1u32..6).prop_map(Count::Some), 1 => Just(Count::Unlimited)]
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        3 => Just(Duration::default()),
        1 => (0u32..2, 0u32..4, 0u32..20, 0u32..30)
            .prop_map(|(years, months, days, hours)| Duration { years, months, days, hours }),
    ]
}

prop_compose! {
    fn policies()(
        counts in prop::array::uniform7(counts()),
        within in prop::array::uniform7(durations()),
        tags in vec(vec("[a-c]", 0..3), 0..2),
        ids in vec((0usize..40).prop_map(id), 0..2),
        max_age in prop::option::of(durations()),
        max_count in prop::option::of(0u32..10),
    ) -> KeepPolicy {
        let [last, hourly, daily, weekly, monthly, quarterly, yearly] = counts;
        let [within, within_hourly, within_daily, within_weekly, within_monthly, within_quarterly, within_yearly] = within;
        KeepPolicy {
            last, hourly, daily, weekly, monthly, quarterly, yearly,
            within, within_hourly, within_daily, within_weekly, within_monthly, within_quarterly, within_yearly,
            tags, ids, max_age, max_count,
        }
    }
}

fn groups() -> impl Strategy<Value = Vec<Candidate>> {
    let time = prop_oneof![0i64..60, 0i64..2000, 0i64..20_000].prop_map(|hours| hours * HOUR_MS / 3);
    vec((time, vec("[a-c]", 0..3), prop::bool::weighted(0.8)), 0..40).prop_map(|group| {
        let candidate = |(n, (time_ms, tags, complete))| Candidate { id: id(n), time_ms, tags, complete };
        group.into_iter().enumerate().map(candidate).collect()
    })
}

proptest! {
    #[test]
    fn the_newest_complete_snapshot_stays_and_a_second_application_removes_nothing(
        policy in policies(),
        group in groups(),
        now_ms in 0i64..3000 * HOUR_MS,
        hours in -12i8..12,
    ) {
        let zone = TimeZone::fixed(jiff::tz::offset(hours));
        let decisions = apply(&policy, &group, now_ms, &zone);
        let kept: Vec<_> = group.iter().zip(&decisions).filter(|(_, d)| d.keep).map(|(c, _)| c.clone()).collect();
        let newest = group.iter().filter(|c| c.complete).max_by_key(|c| (c.time_ms, c.id));
        prop_assert!(newest.is_none_or(|newest| kept.contains(newest)));
        prop_assert!(decisions.iter().all(|d| !d.keep || !d.reasons.is_empty()));
        let again = apply(&policy, &kept, now_ms, &zone);
        prop_assert!(again.iter().all(|d| d.keep), "{:?}", again);
    }

    #[test]
    fn the_order_of_candidates_does_not_matter(policy in policies(), group in groups()) {
        let mut reversed = group.clone();
        reversed.reverse();
        let mut decisions = apply(&policy, &reversed, 0, &TimeZone::UTC);
        decisions.reverse();
        prop_assert_eq!(apply(&policy, &group, 0, &TimeZone::UTC), decisions);
    }

    #[test]
    fn a_written_duration_reads_as_the_same(duration in durations()) {
        prop_assert_eq!(duration.to_string().parse(), Ok(duration));
    }

    #[test]
    fn any_text_is_a_duration_or_an_error(text: String, digits in "[0-9ymwdh]{0,12}") {
        for text in [text, digits] {
            if let Ok(duration) = text.parse::<Duration>() {
                prop_assert!(duration.before(0, &TimeZone::UTC) <= 0);
            }
        }
    }
}
