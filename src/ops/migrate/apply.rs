//! From what changes in the trees of a database to what changes in the indices of its store.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::ops::datoms::{KeyChanges, changed_state, split};
use crate::record::datom::{decode_key, number_bound};
use crate::source::datahike::FactState;
use crate::target::datahike::{DatomChange, Editor, FactPlaces};

/// Events of one fact in one tree: t, whether it asserts, and whether it is put.
type Events = Vec<([u8; 8], bool, bool)>;

/// What becomes of the datoms of a branch that keeps no history, whose trees hold a history made of its states. Nothing
/// where that does not say for certain what is true now: only of later events than all before can be told what they end.
pub(super) fn state_changes(
    editor: &mut Editor,
    branch: &str,
    changes: &KeyChanges,
) -> Result<Option<Vec<DatomChange>>> {
    let known = number_bound(editor.max_tx(branch));
    let mut last: BTreeMap<Vec<u8>, ([u8; 8], bool)> = BTreeMap::new();
    for (key, put) in &changes.log {
        let event = split(key)?;
        if !put || event.t <= known {
            return Ok(None);
        }
        // Ascending by t, and within one an assertion comes last and wins.
        let now = (event.t, event.asserts());
        let latest = last.entry(event.fact.to_vec()).or_insert(now);
        *latest = (*latest).max(now);
    }
    if !changes.exceptions.is_empty() {
        return Ok(None);
    }
    let places = editor.facts(branch, &last.keys().cloned().collect())?;
    let mut all = Vec::new();
    for (fact, (t, asserts)) in last {
        let current = if asserts { vec![t] } else { Vec::new() };
        let after = FactState { log: Vec::new(), current };
        push_changes(&fact, &places.get(&fact).cloned().unwrap_or_default(), &after, &mut all);
    }
    Ok(Some(all))
}

/// What becomes of the datoms of a branch; nothing where the store is not what the changes are to be made to.
pub(super) fn datom_changes(
    editor: &mut Editor,
    branch: &str,
    changes: &KeyChanges,
) -> Result<Option<Vec<DatomChange>>> {
    let mut facts: BTreeMap<&[u8], (Events, Events)> = BTreeMap::new();
    for (key, put) in &changes.log {
        let event = split(key)?;
        facts.entry(event.fact).or_default().0.push((event.t, event.asserts(), *put));
    }
    for (key, put) in &changes.exceptions {
        let event = split(key)?;
        facts.entry(event.fact).or_default().1.push((event.t, event.asserts(), *put));
    }
    let names: BTreeSet<Vec<u8>> = facts.keys().map(|fact| fact.to_vec()).collect();
    let places = editor.facts(branch, &names)?;
    let mut all = Vec::new();
    for (fact, (log, exceptions)) in facts {
        let places = places.get(fact).cloned().unwrap_or_default();
        let before = state(editor, branch, fact, &places)?;
        let Some(after) = changed_state(&before, &log, &exceptions) else { return Ok(None) };
        push_changes(fact, &places, &after, &mut all);
    }
    Ok(Some(all))
}

/// What history and current view have of a fact, by where its datoms stand.
fn state(editor: &Editor, branch: &str, fact: &[u8], places: &FactPlaces) -> Result<FactState> {
    let record = [&[0; 8], fact, &[1]].concat();
    let datom = decode_key(&record).map_err(|e| Error::damaged("datom key", e))?;
    let from_current = editor.is_history_while_current(branch, &datom.a);
    let is_history = |places: &crate::target::datahike::Places| places.temporal || (places.current && from_current);
    let log = places.iter().filter(|(_, places)| is_history(places)).map(|(event, _)| *event).collect();
    let current = places.iter().filter(|((_, asserts), places)| *asserts && places.current).map(|((t, _), _)| *t);
    Ok(FactState { log, current: current.collect() })
}

fn push_changes(fact: &[u8], places: &FactPlaces, after: &FactState, all: &mut Vec<DatomChange>) {
    let mut events: BTreeSet<([u8; 8], bool)> = places.keys().copied().collect();
    events.extend(after.log.iter().copied());
    events.extend(after.current.iter().map(|t| (*t, true)));
    for (t, asserts) in events {
        all.push(DatomChange {
            datom: [&t, fact, &[u8::from(asserts)]].concat(),
            before: places.get(&(t, asserts)).copied().unwrap_or_default(),
            history: after.log.contains(&(t, asserts)),
            current: asserts && after.current.contains(&t),
        });
    }
}
