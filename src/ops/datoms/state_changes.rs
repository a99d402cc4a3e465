//! What changes of a state without history change in its trees: [`append_state`] for the changed facts alone.
//!
//! Of the log little need be known for that. A fact of the parent's state folds to what it is there, if there is no
//! exception for it; and what appears later than the whole log wins over whatever the log says of the fact. Whatever else
//! would take the log itself, which is not sorted by fact, and is left to who compares the states as a whole.

use std::collections::{BTreeMap, BTreeSet};

use super::key::{T, complete, log_key, split};
use super::stream::Keys;
use super::{KeyChanges, StateOptions, append_state, attribute_len};
use crate::error::Result;
use crate::record::datom::number_bound;
use crate::sorter::SorterOptions;
use crate::source::datahike::FactChange;

/// Memory for sorting the keys of a few facts.
const SORTER_BYTES: usize = 8 << 20;

/// What the trees of a state say beside its datoms.
#[derive(Clone, Debug, Default)]
pub struct KnownState {
    /// The log's greatest t; none when it is empty.
    latest: Option<T>,
    /// By fact: t and whether it asserts.
    exceptions: BTreeMap<Vec<u8>, Vec<(T, bool)>>,
}

impl KnownState {
    /// Of a log with this greatest t, if any, and without exceptions yet.
    pub fn new(latest: Option<i64>) -> Self {
        Self { latest: latest.map(number_bound), exceptions: BTreeMap::new() }
    }

    /// An exception, as a log key with its whole value.
    pub fn except(&mut self, key: &[u8]) -> Result<()> {
        let event = split(key)?;
        self.exceptions.entry(event.fact.to_vec()).or_default().push((event.t, event.asserts()));
        Ok(())
    }

    /// What these changes, ascending by fact, of a state whose greatest t is now `max_t` change in the trees; what is known
    /// moves on. Otherwise why that cannot be told from what is known, which then stays as it is.
    pub fn changes(
        &mut self,
        facts: &[FactChange],
        max_t: i64,
    ) -> Result<std::result::Result<KeyChanges, &'static str>> {
        let streams = match self.streams(facts) {
            Ok(streams) => streams,
            Err(why) => return Ok(Err(why)),
        };
        let keys = |keys: Vec<Vec<u8>>| Keys::new(keys.into_iter().map(Ok));
        let options = StateOptions {
            latest_t: number_bound(max_t),
            timeless: false,
            attribute_len: &attribute_len,
            sorter: SorterOptions { memory_bytes: SORTER_BYTES, ..SorterOptions::default() },
        };
        let mut old: BTreeSet<Vec<u8>> = BTreeSet::new();
        for view in &streams.exceptions {
            let mut key = Vec::new();
            log_key(view, &mut key)?;
            old.insert(key);
        }
        let mut appended = append_state(keys(streams.log), keys(streams.exceptions), keys(streams.state), options)?;
        if appended.groups_too_large > 0 {
            // Whole values are longer than the keys that a state is compared by.
            return Ok(Err("too much of one entity vanished at once"));
        }
        let mut changes = KeyChanges::default();
        while let Some(key) = appended.events.next()? {
            changes.log.push((key.to_vec(), true));
        }
        let mut new = BTreeSet::new();
        while let Some(key) = appended.exceptions.next()? {
            new.insert(key.to_vec());
        }
        changes.exceptions.extend(old.difference(&new).map(|key| (key.clone(), false)));
        changes.exceptions.extend(new.difference(&old).map(|key| (key.clone(), true)));
        changes.exceptions.sort_unstable();
        facts.iter().for_each(|change| drop(self.exceptions.remove(&change.fact)));
        new.iter().try_for_each(|key| self.except(key))?;
        let newest = changes.log.last().and_then(|(key, _)| key.first_chunk().copied());
        self.latest = self.latest.max(newest);
        Ok(Ok(changes))
    }

    /// What the log folds to, the exceptions and the new state, of these facts.
    fn streams(&self, facts: &[FactChange]) -> std::result::Result<Streams, &'static str> {
        let mut streams = Streams::default();
        for FactChange { fact, before, after } in facts {
            let one = |times: &[T]| match times {
                [] => Ok(None),
                [t] => Ok(Some(*t)),
                _ => Err("a datom stands at two transactions"),
            };
            let (before, after) = (one(&before.current)?, one(&after.current)?);
            if after.is_some() && after <= self.latest {
                return Err("a datom appeared at a transaction that the parent snapshot knows already");
            }
            let view = |t: &T, asserts: bool| {
                let mut view = fact.clone();
                complete(&mut view, t, asserts);
                view
            };
            let exceptions = self.exceptions.get(fact).map(Vec::as_slice).unwrap_or_default();
            let folded = match exceptions {
                [] => before,
                // The log folds to it, the state has it not.
                [(t, false)] if before.is_none() => Some(*t),
                // Whatever the log folds to, the datom that appears is later.
                [(t, true)] if before == Some(*t) && after.is_some() => None,
                _ => return Err("a datom vanished that does not follow from the parent snapshot's log"),
            };
            streams.log.extend(folded.map(|t| view(&t, true)));
            streams.exceptions.extend(exceptions.iter().map(|(t, asserts)| view(t, *asserts)));
            streams.state.extend(after.map(|t| view(&t, true)));
        }
        Ok(streams)
    }
}

/// View keys, ascending.
#[derive(Default)]
struct Streams {
    log: Vec<Vec<u8>>,
    exceptions: Vec<Vec<u8>>,
    state: Vec<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::ops::datoms::ViewOrder;
    use crate::ops::datoms::key::view_key;
    use crate::record::datom::{Attribute, Datom, Value, encode_key, view_fact};
    use crate::sorter::Sorted;
    use crate::source::datahike::FactState;

    /// e, v, t of attribute a; a state has each (e, v) once.
    type State = BTreeMap<(i64, i64), i64>;

    fn key(e: i64, v: i64, t: i64) -> Vec<u8> {
        let mut key = Vec::new();
        let a = Attribute::Keyword("a".into());
        encode_key(&Datom { e, a, v: Value::Long(v), t, added: true }, &mut key).unwrap();
        key
    }

    fn view(e: i64, v: i64, t: i64) -> Vec<u8> {
        let mut view = Vec::new();
        view_key(&key(e, v, t), &mut view).unwrap();
        view
    }

    fn in_view_order(keys: &BTreeSet<Vec<u8>>) -> Sorted {
        let mut order = ViewOrder::new(SorterOptions::default());
        keys.iter().for_each(|key| order.push(key).unwrap());
        order.finish().unwrap()
    }

    /// The trees after a state was compared with them as a whole.
    fn as_a_whole(
        log: &BTreeSet<Vec<u8>>,
        exceptions: &BTreeSet<Vec<u8>>,
        state: &State,
        max_t: i64,
    ) -> (BTreeSet<Vec<u8>>, BTreeSet<Vec<u8>>) {
        let options = StateOptions {
            latest_t: number_bound(max_t),
            timeless: false,
            attribute_len: &attribute_len,
            sorter: SorterOptions::default(),
        };
        let state: BTreeSet<_> = state.iter().map(|((e, v), t)| view(*e, *v, *t)).collect();
        let state = Keys::new(state.into_iter().map(Ok));
        let mut appended = append_state(in_view_order(log), in_view_order(exceptions), state, options).unwrap();
        let (mut log, mut exceptions) = (log.clone(), BTreeSet::new());
        while let Some(key) = appended.events.next().unwrap() {
            assert!(log.insert(key.to_vec()));
        }
        while let Some(key) = appended.exceptions.next().unwrap() {
            exceptions.insert(key.to_vec());
        }
        (log, exceptions)
    }

    fn facts(before: &State, after: &State) -> Vec<FactChange> {
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let state = |state: &State, key: &(i64, i64)| FactState {
            log: Vec::new(),
            current: state.get(key).map(|t| number_bound(*t)).into_iter().collect(),
        };
        let change = |key: &(i64, i64)| {
            let fact = view_fact(&view(key.0, key.1, 0)).to_vec();
            FactChange { fact, before: state(before, key), after: state(after, key) }
        };
        let mut facts: Vec<_> = keys.into_iter().map(change).filter(|fact| fact.before != fact.after).collect();
        facts.sort_by(|one, other| one.fact.cmp(&other.fact));
        facts
    }

    fn applied(tree: &BTreeSet<Vec<u8>>, changes: &[(Vec<u8>, bool)]) -> BTreeSet<Vec<u8>> {
        let mut tree = tree.clone();
        for (key, put) in changes {
            assert!(if *put { tree.insert(key.clone()) } else { tree.remove(key) });
        }
        tree
    }

    /// What a transaction does, as (e, v, whether it is added), and how far behind the present its datoms say they are.
    type Step = (Vec<(i64, i64, bool)>, i64);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let action = (0_i64..3, 0_i64..3, any::<bool>());
        let lag = prop_oneof![5 => Just(0_i64), 1 => 1_i64..4];
        prop::collection::vec((prop::collection::vec(action, 0..4), lag), 1..14)
    }

    proptest! {
        #[test]
        fn the_changed_facts_alone_give_what_the_whole_state_gives(steps in steps(), max_t_lags: bool) {
            let (mut log, mut exceptions, mut state) = (BTreeSet::new(), BTreeSet::new(), State::new());
            let mut known = KnownState::new(None);
            for (now, (actions, lag)) in (10_i64..).step_by(2).zip(steps) {
                let before = state.clone();
                for (e, v, add) in actions {
                    if add { state.insert((e, v), now - lag) } else { state.remove(&(e, v)) };
                }
                // Where the greatest t goes back, nothing later than what vanished may be left to retract it at.
                let max_t = if max_t_lags { now - lag - 8 } else { now };
                let max_t = state.values().copied().max().unwrap_or(0).max(max_t);
                let whole = as_a_whole(&log, &exceptions, &state, max_t);
                match known.changes(&facts(&before, &state), max_t).unwrap() {
                    Ok(changes) => {
                        prop_assert_eq!(&applied(&log, &changes.log), &whole.0);
                        prop_assert_eq!(&applied(&exceptions, &changes.exceptions), &whole.1);
                    }
                    Err(why) => {
                        prop_assert!(lag > 0 || max_t_lags || !exceptions.is_empty(), "{}", why);
                        let latest = whole.0.last().and_then(|key| key.first_chunk().copied());
                        known = KnownState { latest, ..KnownState::default() };
                        whole.1.iter().for_each(|key| known.except(key).unwrap());
                    }
                }
                (log, exceptions) = whole;
                prop_assert_eq!(known.exceptions.values().map(Vec::len).sum::<usize>(), exceptions.len());
            }
        }
    }
}
