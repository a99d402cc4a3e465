//! Views against a model of maps and sets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::key::view_key;
use super::states::append_within;
use super::stream::Keys;
use super::*;
use crate::error::Result;
use crate::sorter::{Sorted, SorterOptions};

type Fact = (u64, &'static str, &'static str);
/// (fact, t, asserted)
type Event = (Fact, u64, bool);
/// Any (fact, t); real current views have one t for a fact.
type State = BTreeSet<(Fact, u64)>;

fn facts() -> impl Strategy<Value = Fact> {
    (0u64..3, prop::sample::select(vec!["a", "ab", "b"]), prop::sample::select(vec!["x", "xy", "y"]))
}

fn logs() -> impl Strategy<Value = BTreeSet<Event>> {
    btree_set((facts(), 0u64..6, any::<bool>()), 0..60)
}

fn states() -> impl Strategy<Value = State> {
    prop_oneof![
        8 => btree_map(facts(), 0u64..6, 0..20).prop_map(|state| state.into_iter().collect()),
        1 => btree_set((facts(), 0u64..6), 0..20),
    ]
}

fn fact_bytes((e, a, v): Fact) -> Vec<u8> {
    [&e.to_be_bytes()[..], a.as_bytes(), b"\0", v.as_bytes(), b"\0"].concat()
}

fn view((fact, t, asserted): Event) -> Vec<u8> {
    [&fact_bytes(fact)[..], &t.to_be_bytes(), &[u8::from(asserted)]].concat()
}

fn attribute_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|&b| b == 0).map_or(bytes.len(), |end| end + 1)
}

fn options() -> SorterOptions {
    SorterOptions { memory_bytes: 2048, directory: None }
}

fn stream(keys: &BTreeSet<Vec<u8>>) -> impl KeyStream + '_ {
    Keys::new(keys.iter().map(Ok))
}

fn collect(mut stream: impl KeyStream) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    while let Some(key) = stream.next().unwrap() {
        keys.push(key.to_vec());
    }
    keys
}

/// View keys of a stream of log keys.
fn views(mut logs: Sorted) -> BTreeSet<Vec<u8>> {
    let mut views = BTreeSet::new();
    let mut view = Vec::new();
    logs.for_each(|log| {
        view_key(log, &mut view)?;
        assert!(views.insert(view.clone()), "no key twice");
        Ok(())
    })
    .unwrap();
    views
}

fn view_keys(events: impl IntoIterator<Item = Event>) -> BTreeSet<Vec<u8>> {
    events.into_iter().map(view).collect()
}

fn state_keys(state: &State) -> BTreeSet<Vec<u8>> {
    view_keys(state.iter().map(|&(fact, t)| (fact, t, true)))
}

/// Facts and times after applying all events in the order of transactions.
fn model_fold(log: &BTreeSet<Event>) -> State {
    let mut events: Vec<_> = log.iter().map(|&(fact, t, asserted)| (t, asserted, fact)).collect();
    events.sort();
    let mut state = BTreeMap::new();
    for (t, asserted, fact) in events {
        if asserted {
            state.insert(fact, t)
        } else {
            state.remove(&fact)
        };
    }
    state.into_iter().collect()
}

proptest! {
    #[test]
    fn a_fold_is_what_applying_the_events_in_order_gives(log in logs()) {
        let folded = collect(Fold::new(stream(&view_keys(log.iter().copied()))));
        prop_assert_eq!(folded, state_keys(&model_fold(&log)).into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_fold_with_its_exceptions_is_the_current_view(log in logs(), current in states()) {
        let (log_keys, current_keys) = (view_keys(log.iter().copied()), state_keys(&current));
        let found = exceptions(Fold::new(stream(&log_keys)), stream(&current_keys), options()).unwrap();
        let folded = model_fold(&log);
        prop_assert_eq!(found.current, current.len() as u64);
        if folded == current {
            prop_assert!(found.keys.is_empty());
        }
        if current.iter().map(|(fact, _)| fact).collect::<BTreeSet<_>>().len() == current.len() {
            prop_assert_eq!(found.not_folded, current.difference(&folded).count() as u64);
        }
        let current_facts: BTreeSet<_> = current.iter().map(|(fact, _)| fact).collect();
        prop_assert_eq!(
            found.not_current,
            folded.iter().filter(|(fact, _)| !current_facts.contains(fact)).count() as u64
        );
        let exceptions = views(found.keys);
        let again = collect(Current::new(Fold::new(stream(&log_keys)), stream(&exceptions)));
        prop_assert_eq!(again, current_keys.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn the_past_is_the_fold_of_events_up_to_then(log in logs(), late in logs(), t in 0u64..6) {
        let late: BTreeSet<_> = late.into_iter().collect();
        let past = Past::new(stream(&view_keys(log.iter().copied())).boxed(), stream(&view_keys(late.iter().copied())).boxed(), t.to_be_bytes()).collected();
        let known = log.iter().chain(late.iter().filter(|event| event.2)).filter(|event| event.1 <= t).copied().collect();
        prop_assert_eq!(past, state_keys(&model_fold(&known)).into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn any_sequence_of_states_is_kept_exactly_and_the_log_only_grows(
        steps in vec((states(), 0u64..9), 1..6),
        log in logs(),
        group_facts in prop_oneof![Just(0usize), Just(1), Just(1000)],
    ) {
        // The first parent is a database with history, its current view just the fold.
        let mut log = view_keys(log);
        let mut exceptions = BTreeSet::new();
        for (state, latest_t) in steps {
            let state = state_keys(&state);
            for unchanged in [false, true] {
                let options = StateOptions {
                    latest_t: latest_t.to_be_bytes(),
                    timeless: false,
                    attribute_len: &attribute_len,
                    sorter: options(),
                };
                let appended =
                    append_within(stream(&log), stream(&exceptions), stream(&state), options, group_facts).unwrap();
                prop_assert_eq!(appended.current, state.len() as u64);
                prop_assert_eq!(appended.asserted + appended.retracted, appended.events.len());
                let events = views(appended.events);
                prop_assert!(events.is_disjoint(&log), "only new events");
                prop_assert!(!unchanged || events.is_empty(), "an unchanged state appends nothing");
                log.extend(events);
                let now = views(appended.exceptions);
                prop_assert!(!unchanged || now == exceptions, "an unchanged state keeps its exceptions");
                exceptions = now;
                let kept = collect(Current::new(Fold::new(stream(&log)), stream(&exceptions)));
                prop_assert_eq!(kept, state.iter().cloned().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn states_of_a_real_history_need_no_exceptions(updates in vec(vec((facts(), any::<bool>()), 1..5), 1..12)) {
        // Each transaction asserts and retracts facts; after each the state without history is backed up.
        let mut state = BTreeMap::new();
        let (mut log, mut first_kept) = (BTreeSet::new(), BTreeMap::new());
        for (t, update) in updates.into_iter().enumerate() {
            let t = t as u64;
            for (fact, assert) in update {
                if assert { state.entry(fact).or_insert(t); } else { state.remove(&fact); }
            }
            // Every transaction has a datom of its own, as `:db/txInstant` is.
            state.insert((1000 + t, "a", "x"), t);
            let options = StateOptions { latest_t: t.to_be_bytes(), timeless: false, attribute_len: &attribute_len, sorter: options() };
            let keys = state_keys(&state.clone().into_iter().collect());
            let appended = append_state(stream(&log), stream(&BTreeSet::new()), stream(&keys), options).unwrap();
            prop_assert!(appended.exceptions.is_empty());
            log.extend(views(appended.events));
            first_kept.insert(t, keys);
        }
        for (t, keys) in first_kept {
            let past = Past::new(stream(&log).boxed(), stream(&BTreeSet::new()).boxed(), t.to_be_bytes()).collected();
            prop_assert_eq!(past, keys.into_iter().collect::<Vec<_>>(), "as of {}", t);
        }
    }

    #[test]
    fn dump_order_has_the_instant_first_and_retractions_before_assertions(log in logs()) {
        let is_instant = |key: &[u8]| key[16..].starts_with(b"b\0") && key[8..16] == 1u64.to_be_bytes();
        let mut expected: Vec<Event> = log.iter().copied().collect();
        expected.sort_by_key(|&((e, a, v), t, asserted)| (t, !(a == "b" && e == 1), e, a, asserted, v));
        let mut log_keys = BTreeSet::new();
        let mut key = Vec::new();
        for event in &expected {
            log_key(&view(*event), &mut key).unwrap();
            log_keys.insert(key.clone());
        }
        let mut order = DumpOrder::new(options(), &is_instant, &attribute_len);
        let mut got = Vec::new();
        let mut emit = |key: &[u8]| -> Result<()> {
            let mut view = Vec::new();
            view_key(key, &mut view)?;
            got.push(view);
            Ok(())
        };
        for key in &log_keys {
            order.push(key, &mut emit).unwrap();
        }
        order.finish(&mut emit).unwrap();
        prop_assert_eq!(got, expected.into_iter().map(view).collect::<Vec<_>>());
    }

    #[test]
    fn view_order_sorts_by_fact(log in logs()) {
        let mut order = ViewOrder::new(options());
        let mut key = Vec::new();
        let views = view_keys(log);
        for view in views.iter().rev() {
            log_key(view, &mut key).unwrap();
            order.push(&key).unwrap();
        }
        prop_assert_eq!(collect(order.finish().unwrap()), views.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_time_stands_for_the_greatest_t_not_after_it(instants in vec((0i64..9, 0i64..9), 0..12), time in 0i64..9) {
        let mut resolver = TimeResolver::new(TimePoint::Instant(time));
        for &(t, instant) in &instants {
            resolver.push(t, instant);
        }
        prop_assert_eq!(resolver.finish(), instants.iter().filter(|(_, i)| *i <= time).map(|(t, _)| *t).max());
    }

    #[test]
    fn a_window_contains_what_its_bounds_say(since: Option<i64>, until: Option<i64>, t: i64) {
        for t in [t, since.unwrap_or(t), until.unwrap_or(t), i64::MIN, i64::MAX] {
            let window = Window::all().since(since).until(until);
            prop_assert_eq!(window.contains(t), until.is_some_and(|u| t <= u) && since.is_none_or(|s| t > s));
            prop_assert_eq!(window.contains(t), window.bounds().is_some_and(|(a, b)| a <= t && t <= b));
        }
    }
}

/// Shorter names for what tests do with streams.
trait Stream: KeyStream + Sized {
    fn boxed<'a>(self) -> Box<dyn KeyStream + 'a>
    where
        Self: 'a,
    {
        Box::new(self)
    }

    fn collected(self) -> Vec<Vec<u8>> {
        collect(self)
    }
}

impl<S: KeyStream> Stream for S {}

fn appended(log: &[Event], state: &[Event], latest_t: u64) -> (BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>) {
    let options = StateOptions {
        latest_t: latest_t.to_be_bytes(),
        timeless: false,
        attribute_len: &attribute_len,
        sorter: options(),
    };
    let (log, state) = (view_keys(log.iter().copied()), view_keys(state.iter().copied()));
    let appended = append_state(stream(&log), stream(&BTreeSet::new()), stream(&state), options).unwrap();
    (views(appended.events), views(appended.exceptions))
}

#[test]
fn what_was_replaced_is_retracted_at_the_t_of_its_replacement() {
    let (old, new, newer) = ((7, "a", "old"), (7, "a", "new"), (7, "a", "newer"));
    let log = [(old, 3, true), ((8, "a", "old"), 3, true)];
    let state = [(new, 5, true), (newer, 6, true), ((9, "a", "x"), 4, true)];
    let (events, exceptions) = appended(&log, &state, 9);
    let expected = [&state[..], &[(old, 5, false), ((8, "a", "old"), 9, false)]].concat();
    assert_eq!(events, view_keys(expected));
    assert!(exceptions.is_empty());
}

#[test]
fn without_transactions_facts_keep_their_t_and_changes_have_the_next() {
    let (kept, gone, new) = ((7, "a", "kept"), (7, "a", "gone"), (7, "a", "new"));
    let options = || StateOptions {
        latest_t: 6_u64.to_be_bytes(),
        timeless: true,
        attribute_len: &attribute_len,
        sorter: options(),
    };
    let log = view_keys([(kept, 3, true), (gone, 5, true)]);
    // The t that the state gives says nothing.
    let state = view_keys([(kept, 1, true), (new, 1, true)]);
    let appended = append_state(stream(&log), stream(&BTreeSet::new()), stream(&state), options()).unwrap();
    assert_eq!(views(appended.events), view_keys([(gone, 6, false), (new, 6, true)]));
    assert!(appended.exceptions.is_empty());
    // Where it was an exception that gave the fact its t, that stays too.
    let corrected = view_keys([(kept, 4, true)]);
    let appended = append_state(stream(&log), stream(&corrected), stream(&state), options()).unwrap();
    assert_eq!(views(appended.exceptions), corrected);
    let same = view_keys([(kept, 1, true), (gone, 1, true)]);
    let appended = append_state(stream(&log), stream(&BTreeSet::new()), stream(&same), options()).unwrap();
    assert!(appended.events.is_empty() && appended.exceptions.is_empty());
}

#[test]
fn what_vanished_without_a_later_t_becomes_an_exception() {
    let old = (7, "a", "old");
    let (events, exceptions) = appended(&[(old, 9, true)], &[], 9);
    assert_eq!((events, exceptions), (BTreeSet::new(), view_keys([(old, 9, false)])));
}

#[test]
fn an_assertion_older_than_a_retraction_becomes_an_exception() {
    let fact = (7, "a", "x");
    let (events, exceptions) = appended(&[(fact, 5, false)], &[(fact, 3, true)], 9);
    assert_eq!((events, exceptions), (view_keys([(fact, 3, true)]), view_keys([(fact, 3, true)])));
}

#[test]
fn a_current_view_with_a_retraction_and_a_short_key_are_refused() {
    let retraction = view_keys([((7, "a", "x"), 1, false)]);
    let error = exceptions(stream(&BTreeSet::new()), stream(&retraction), options()).err().unwrap();
    assert_eq!(error.kind(), crate::error::ErrorKind::Data);
    let short = BTreeSet::from([vec![0; 16]]);
    assert!(Fold::new(stream(&short)).next().is_err());
    assert!(view_key(&[0; 16], &mut Vec::new()).is_err());
    let mut order = DumpOrder::new(options(), &|_| false, &|_| usize::MAX / 2);
    assert!(order.push(&[0; 16], &mut |_| Ok(())).is_err());
    order.push(&[0; 17], &mut |_| Ok(())).unwrap();
    order.finish(&mut |_| Ok(())).unwrap();
}

#[test]
fn time_points_are_numbers_or_rfc_3339() {
    let check =
        |text: &str, expected: Option<TimePoint>| assert_eq!(text.parse::<TimePoint>().ok(), expected, "{text}");
    check("536870922", Some(TimePoint::T(536_870_922)));
    check("-1", Some(TimePoint::T(-1)));
    check("1970-01-01T00:00:01.0015Z", Some(TimePoint::Instant(1001)));
    check("1970-01-01T02:00:00+02:00", Some(TimePoint::Instant(0)));
    check("1969-12-31T23:59:59.9995Z", Some(TimePoint::Instant(-1)));
    check("1970-01-01T00:00:00", None);
    check("1970-01-01", None);
    check("yesterday", None);
    check("", None);
}
