//! From what changed about facts to what changes in the trees `log` and `exceptions`.

use std::collections::BTreeSet;

use super::key::{T, complete, log_key};
use crate::error::Result;
use crate::source::datahike::{FactChange, FactState};

/// Log keys with whole values to put into two trees or to remove from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChanges {
    /// Of the log, ascending: whether the key is put or removed.
    pub log: Vec<(Vec<u8>, bool)>,
    /// Of the exceptions, likewise.
    pub exceptions: Vec<(Vec<u8>, bool)>,
}

impl KeyChanges {
    /// Of nothing.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty() && self.exceptions.is_empty()
    }

    /// These changes and then later ones: what is undone disappears.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self { log: follow(self.log, later.log), exceptions: follow(self.exceptions, later.exceptions) }
    }
}

/// Both runs of changes as one; a key that is put and removed, or removed and put, is as it was.
fn follow(first: Vec<(Vec<u8>, bool)>, second: Vec<(Vec<u8>, bool)>) -> Vec<(Vec<u8>, bool)> {
    let mut all = first;
    all.extend(second);
    // Stable, so that the earlier of two changes of one key comes first.
    all.sort_by(|one, other| one.0.cmp(&other.0));
    let mut out: Vec<(Vec<u8>, bool)> = Vec::with_capacity(all.len());
    for (key, put) in all {
        match out.last() {
            Some((last, last_put)) if *last == key => {
                if *last_put != put {
                    out.pop();
                }
            }
            _ => out.push((key, put)),
        }
    }
    out
}

/// What these changes of facts change in the log and in its exceptions.
pub fn key_changes(facts: &[FactChange]) -> Result<KeyChanges> {
    let mut changes = KeyChanges::default();
    for FactChange { fact, before, after } in facts {
        compare(fact, &before.log, &after.log, &mut changes.log)?;
        compare(fact, &exceptions(before), &exceptions(after), &mut changes.exceptions)?;
    }
    changes.log.sort_unstable();
    changes.exceptions.sort_unstable();
    Ok(changes)
}

/// What is known of a fact after changes that [`key_changes`] tells: t, whether it asserts, and whether that is put, of the
/// log and of the exceptions. Nothing where something is put that is there, or removed that is not.
pub fn changed_state(
    before: &FactState,
    log: &[(T, bool, bool)],
    exceptional: &[(T, bool, bool)],
) -> Option<FactState> {
    let change = |events: &[(T, bool)], changes: &[(T, bool, bool)]| {
        let mut events: BTreeSet<(T, bool)> = events.iter().copied().collect();
        let mut each = changes.iter();
        let fits = each.all(|&(t, asserts, put)| match put {
            true => events.insert((t, asserts)),
            false => events.remove(&(t, asserts)),
        });
        fits.then(|| events.into_iter().collect::<Vec<_>>())
    };
    let log = change(&before.log, log)?;
    let exceptions = change(&exceptions(before), exceptional)?;
    let current = match exceptions.is_empty() {
        true => folded(&log),
        false => exceptions.into_iter().filter(|(_, asserts)| *asserts).map(|(t, _)| t).collect(),
    };
    Some(FactState { log, current })
}

/// What the events of a fact fold to.
fn folded(log: &[(T, bool)]) -> Vec<T> {
    log.last().filter(|(_, asserts)| *asserts).map(|(t, _)| *t).into_iter().collect()
}

/// The exceptions of one fact: nothing where its events fold to what the current view has.
fn exceptions(state: &FactState) -> Vec<(T, bool)> {
    let folded = folded(&state.log);
    if folded == state.current {
        return Vec::new();
    }
    let has = !state.current.is_empty();
    let times = if has { &state.current } else { &folded };
    times.iter().map(|t| (*t, has)).collect()
}

/// Puts and removals that lead from `before` to `after`, both ascending.
fn compare(fact: &[u8], before: &[(T, bool)], after: &[(T, bool)], out: &mut Vec<(Vec<u8>, bool)>) -> Result<()> {
    let gone = before.iter().filter(|event| !after.contains(event)).map(|event| (event, false));
    let new = after.iter().filter(|event| !before.contains(event)).map(|event| (event, true));
    for ((t, asserts), put) in gone.chain(new) {
        let mut view = fact.to_vec();
        complete(&mut view, t, *asserts);
        let mut key = Vec::with_capacity(view.len());
        log_key(&view, &mut key)?;
        out.push((key, put));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    type Tree = BTreeSet<Vec<u8>>;

    fn step(before: &Tree, after: &Tree) -> Vec<(Vec<u8>, bool)> {
        let mut changes: Vec<_> = before.difference(after).map(|key| (key.clone(), false)).collect();
        changes.extend(after.difference(before).map(|key| (key.clone(), true)));
        changes.sort();
        changes
    }

    fn trees() -> impl Strategy<Value = Tree> {
        prop::collection::btree_set(prop::collection::vec(0_u8..3, 1..3), 0..8)
    }

    proptest! {
        #[test]
        fn changes_after_changes_are_the_changes_from_the_first_to_the_last(one in trees(), two in trees(), last in trees()) {
            let of = |before: &Tree, after: &Tree| {
                KeyChanges { log: step(before, after), exceptions: step(after, before) }
            };
            prop_assert_eq!(of(&one, &two).then(of(&two, &last)), of(&one, &last));
            prop_assert!(of(&one, &two).then(of(&two, &one)).is_empty());
        }
    }

    fn state() -> impl Strategy<Value = FactState> {
        let events = prop::collection::btree_set((0_u8..4, any::<bool>()), 0..5);
        (events, prop::collection::btree_set(0_u8..4, 0..2)).prop_map(|(log, current)| FactState {
            log: log.into_iter().map(|(t, asserts)| ([t; 8], asserts)).collect(),
            current: current.into_iter().map(|t| [t; 8]).collect(),
        })
    }

    /// t, op and whether it is put, of keys of one fact.
    fn split(keys: &[(Vec<u8>, bool)]) -> Vec<(T, bool, bool)> {
        keys.iter().map(|(key, put)| (*key.first_chunk().unwrap(), *key.last().unwrap() == 1, *put)).collect()
    }

    proptest! {
        #[test]
        fn changes_of_keys_lead_back_to_changes_of_facts(before in state(), after in state()) {
            let change = FactChange { fact: vec![0; 8], before: before.clone(), after: after.clone() };
            let KeyChanges { log, exceptions } = key_changes(&[change]).unwrap();
            let (log, exceptions) = (split(&log), split(&exceptions));
            prop_assert_eq!(changed_state(&before, &log, &exceptions), Some(after.clone()));
            if !log.is_empty() || !exceptions.is_empty() {
                prop_assert_eq!(changed_state(&after, &log, &exceptions), None);
            }
        }
    }

    #[test]
    fn exceptions_come_and_go_with_what_makes_them() {
        let (early, late) = ([1; 8], [2; 8]);
        let folded = FactState { log: vec![(early, true)], current: vec![early] };
        let moved = FactState { log: vec![(early, true)], current: vec![late] };
        let ended = FactState { log: vec![(early, true)], current: Vec::new() };
        let change = |before: &FactState, after: &FactState| {
            let (before, after) = (before.clone(), after.clone());
            let changes = key_changes(&[FactChange { fact: vec![0; 8], before, after }]).unwrap();
            assert!(changes.log.is_empty());
            changes.exceptions.into_iter().map(|(key, put)| (key[0], key[16] == 1, put)).collect::<Vec<_>>()
        };
        assert_eq!(change(&folded, &moved), [(2, true, true)]);
        assert_eq!(change(&moved, &folded), [(2, true, false)]);
        assert_eq!(change(&moved, &ended), [(1, false, true), (2, true, false)]);
        assert_eq!(change(&folded, &folded), []);
    }
}
