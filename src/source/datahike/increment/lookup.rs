//! All datoms that an index has of some facts, found by their entities.

use std::collections::BTreeSet;

use super::facts::{Events, split};
use super::leaves::LeafReader;
use super::shelf::{Content, Reference, Shelf};
use super::trouble::Trouble;
use crate::record::datom::number_bound;

/// Every datom of these facts; each fact has an entry.
pub(super) fn events<'f>(
    shelf: &Shelf,
    top: Option<Reference>,
    facts: &'f BTreeSet<Vec<u8>>,
) -> Result<Events<'f>, Trouble> {
    let mut events: Events<'f> = facts.iter().map(|fact| (fact.as_slice(), BTreeSet::new())).collect();
    let mut entities: Vec<[u8; 8]> = facts.iter().filter_map(|fact| fact.first_chunk().copied()).collect();
    entities.dedup();
    let mut leaves = Vec::new();
    let mut stack: Vec<(Reference, &[[u8; 8]])> = top.into_iter().map(|top| (top, entities.as_slice())).collect();
    while let Some((reference, wanted)) = stack.pop() {
        if wanted.is_empty() {
            continue;
        }
        if reference.level == Some(0) {
            leaves.push(reference);
            continue;
        }
        match shelf.read(&reference)?.1 {
            Content::Leaf(rows, _) => take(&rows, &mut events)?,
            Content::Branch { last, children, has_slots, .. } => {
                let spans = spans(&last, has_slots);
                stack.extend(children.into_iter().zip(spans).rev().map(|(child, (low, high))| {
                    let low = wanted.partition_point(|e| low.is_some_and(|low| *e < low));
                    let high = wanted.partition_point(|e| high.is_none_or(|high| *e <= high));
                    (child, wanted.get(low..high).unwrap_or_default())
                }));
            }
        }
    }
    let mut leaves = LeafReader::new(shelf, leaves);
    while let Some(leaf) = leaves.next()? {
        take(&leaf.rows, &mut events)?;
    }
    Ok(events)
}

type Bound = Option<[u8; 8]>;

/// The entities that each child may have, both ends included. Where children differ from what is stored, a datom may stand
/// beside the place that the keys give it, but no further than the next child.
fn spans(last: &[i64], has_slots: bool) -> Vec<(Bound, Bound)> {
    let reach = usize::from(has_slots);
    let key = |place: Option<usize>| place.and_then(|place| last.get(place)).map(|e| number_bound(*e));
    (0..last.len()).map(|place| (key(place.checked_sub(1 + reach)), key(Some(place + reach)))).collect()
}

fn take(rows: &[Vec<u8>], events: &mut Events<'_>) -> Result<(), Trouble> {
    for row in rows {
        let event = split(row)?;
        if let Some(known) = events.get_mut(event.fact) {
            known.insert((event.t, event.asserts()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entity_is_sought_in_each_child_that_may_have_it() {
        let bound = |e| Some(number_bound(e));
        let exact = [(None, bound(3)), (bound(3), bound(3)), (bound(3), bound(9))];
        assert_eq!(spans(&[3, 3, 9], false), exact);
        let with_slots = [(None, bound(3)), (None, bound(9)), (bound(3), None)];
        assert_eq!(spans(&[3, 3, 9], true), with_slots);
    }
}
