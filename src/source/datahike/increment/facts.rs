//! From changed datoms of the two indices to what was and what is known of each changed fact.
//!
//! The history of a database is its temporal index and, of the current index, the datoms of attributes of which the
//! temporal index has nothing until they are retracted (cardinality many) or has nothing ever (`:db/noHistory`).

use std::collections::{BTreeMap, BTreeSet};

use super::merge::Difference;
use super::trouble::Trouble;
use crate::record::datom::{FactEvent, attribute_len};

/// A fact of which the history or the current view changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactChange {
    /// Entity, attribute and value as view keys have them, the value whole.
    pub fact: Vec<u8>,
    /// As the snapshot has it.
    pub before: FactState,
    /// As the database has it.
    pub after: FactState,
}

/// What is known of a fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactState {
    /// Its events, ascending: t as it stands in keys, and whether it asserts. None where the database keeps no history.
    pub log: Vec<([u8; 8], bool)>,
    /// The t at which the current view has it, ascending; at most one in a sound database.
    pub current: Vec<[u8; 8]>,
}

/// Events of facts: (t, asserts) by fact. Facts hold whole values, so that there is one copy of each.
pub(super) type Events<'f> = BTreeMap<&'f [u8], EventSet>;

/// Events of one fact: (t, asserts).
pub(super) type EventSet = BTreeSet<([u8; 8], bool)>;

/// An index: how it differs from what it was, and all it now has of the changed facts.
pub(super) struct IndexChange<'f> {
    pub(super) difference: Difference,
    pub(super) after: Events<'f>,
}

/// Of an index, what was and what is of each changed fact, in the order of the facts.
pub(super) struct IndexStates(Vec<States>);

/// The facts that the changed keys of both indices are about.
pub(super) fn changed_facts<'a>(
    differences: impl IntoIterator<Item = &'a Difference>,
) -> Result<BTreeSet<Vec<u8>>, Trouble> {
    let mut facts = BTreeSet::new();
    for difference in differences {
        for key in difference.added.iter().chain(&difference.removed) {
            let fact = split(key)?.fact;
            if !facts.contains(fact) {
                facts.insert(fact.to_vec());
            }
        }
    }
    Ok(facts)
}

/// Puts the two indices together; `from_current` tells the attributes, by their canonical bytes, whose datoms the history
/// takes from the current index. Facts whose history and current view stay the same are left out.
pub(super) fn fact_changes(
    facts: BTreeSet<Vec<u8>>,
    current: IndexStates,
    temporal: Option<IndexStates>,
    from_current: &dyn Fn(&[u8]) -> bool,
) -> Result<Vec<FactChange>, Trouble> {
    let temporal = temporal.map_or_else(Vec::new, |IndexStates(states)| states).into_iter().map(Some);
    let temporal = temporal.chain(std::iter::repeat_with(|| None));
    let mut changes = Vec::new();
    for ((fact, current), temporal) in facts.into_iter().zip(current.0).zip(temporal) {
        let rest = fact.get(8..).ok_or_else(no_key)?;
        let attribute_len = attribute_len(rest).map_err(|_| no_key())?;
        let from_current = from_current(&rest[..attribute_len]);
        let side = |pick: fn(&States) -> &EventSet| {
            let mut log = temporal.as_ref().map(pick).cloned().unwrap_or_default();
            let current = pick(&current);
            if from_current {
                log.extend(current);
            }
            let current = current.iter().filter(|(_, asserts)| *asserts).map(|(t, _)| *t).collect();
            FactState { log: log.into_iter().collect(), current }
        };
        let (before, after) = (side(|states| &states.before), side(|states| &states.after));
        if before != after {
            changes.push(FactChange { fact, before, after });
        }
    }
    Ok(changes)
}

#[derive(Default)]
struct States {
    before: EventSet,
    after: EventSet,
}

/// What was of each fact that a change of an index knows, from what is and what changed.
pub(super) fn both_states(change: IndexChange<'_>) -> Result<IndexStates, Trouble> {
    let mut states: BTreeMap<&[u8], States> =
        change.after.into_iter().map(|(fact, after)| (fact, States { before: after.clone(), after })).collect();
    for key in change.difference.added {
        let event = split(&key)?;
        let before = states.get_mut(event.fact).map(|states| &mut states.before);
        let seen = before.is_some_and(|before| before.remove(&(event.t, event.asserts())));
        if !seen {
            return Err(misplaced());
        }
    }
    for key in change.difference.removed {
        let event = split(&key)?;
        let before = states.get_mut(event.fact).map(|states| &mut states.before);
        let is_new = before.is_some_and(|before| before.insert((event.t, event.asserts())));
        if !is_new {
            return Err(misplaced());
        }
    }
    Ok(IndexStates(states.into_values().collect()))
}

/// The parts of a view key.
pub(super) fn split(view: &[u8]) -> Result<FactEvent<'_>, Trouble> {
    FactEvent::of_view_key(view).map_err(|_| no_key())
}

fn no_key() -> Trouble {
    Trouble::Now("a datom has no key".to_owned())
}

fn misplaced() -> Trouble {
    Trouble::Now("a datom is not where the keys of its index say".to_owned())
}
