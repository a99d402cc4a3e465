//! The difference of two runs of leaves, entity by entity.
//!
//! Datahike's order inside an entity is not that of our keys, and the two trees cut their leaves at different places. But
//! entities ascend in both: once both runs are past an entity, all its datoms are here, and are compared as sets.

use std::cmp::Ordering;

use super::trouble::{FullReason, Trouble};
use crate::record::datom::number_bound;

/// Bytes of the keys of one run that may wait for the other.
const OPEN_BYTES: usize = 48 << 20;

/// What may be kept in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Changed datoms, of each index.
    pub(super) changes: usize,
    /// Bytes of their keys, of all indices.
    pub(super) bytes: usize,
}

/// View keys with whole values that one of two runs has and the other has not; each ascends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) added: Vec<Vec<u8>>,
    pub(super) removed: Vec<Vec<u8>>,
}

/// One of two runs of leaves: each call gives the view keys of the next leaf.
pub(super) trait Leaves {
    /// The next leaf's view keys, in the order of their entities; `None` when there are no more.
    fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, Trouble>;
}

/// What `after` has that `before` has not, and the other way round; the bytes of it are taken off the limits.
pub(super) fn difference(
    before: &mut dyn Leaves,
    after: &mut dyn Leaves,
    limits: &mut Limits,
) -> Result<Difference, Trouble> {
    let (mut before, mut after) = (Run::new(before), Run::new(after));
    let mut found = Difference::default();
    before.advance()?;
    after.advance()?;
    loop {
        // All entities below this are complete in both runs.
        let bound = match (&before.reached, &after.reached) {
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => Some(*one),
            (Some(one), Some(other)) => Some(*one.min(other)),
        };
        let bytes = compare(before.take_below(bound.as_ref()), after.take_below(bound.as_ref()), &mut found);
        limits.bytes = limits.bytes.checked_sub(bytes).ok_or_else(too_many)?;
        if found.added.len() + found.removed.len() > limits.changes {
            return Err(too_many());
        }
        let Some(bound) = bound else { break };
        for run in [&mut before, &mut after] {
            if run.reached == Some(bound) {
                run.advance()?;
            }
        }
    }
    found.added.sort_unstable();
    found.removed.sort_unstable();
    Ok(found)
}

/// The first eight bytes of a view key.
type Entity = [u8; 8];

struct Run<'a> {
    leaves: &'a mut dyn Leaves,
    /// Keys of entities that may not be complete yet, or were not compared yet.
    open: Vec<Vec<u8>>,
    /// Bytes of these.
    open_bytes: usize,
    /// The last entity met; `None` at the end.
    reached: Option<Entity>,
}

impl<'a> Run<'a> {
    fn new(leaves: &'a mut dyn Leaves) -> Self {
        Self { leaves, open: Vec::new(), open_bytes: 0, reached: Some(number_bound(i64::MIN)) }
    }

    fn advance(&mut self) -> Result<(), Trouble> {
        loop {
            let Some(keys) = self.leaves.next()? else {
                self.reached = None;
                return Ok(());
            };
            let mut last = self.reached;
            for key in &keys {
                let entity = entity(key)?;
                if last.is_some_and(|last| last > entity) {
                    return Err(disorder());
                }
                last = Some(entity);
            }
            let moved = last != self.reached;
            self.reached = last;
            self.open_bytes += bytes(&keys);
            if self.open_bytes > OPEN_BYTES {
                return Err(too_many());
            }
            self.open.extend(keys);
            if moved {
                return Ok(());
            }
        }
    }

    /// The keys of entities below a bound, all of them where there is none.
    fn take_below(&mut self, bound: Option<&Entity>) -> Vec<Vec<u8>> {
        let Some(bound) = bound else {
            self.open_bytes = 0;
            return std::mem::take(&mut self.open);
        };
        let count = self.open.partition_point(|key| key.as_slice() < &bound[..]);
        let rest = self.open.split_off(count);
        let taken = std::mem::replace(&mut self.open, rest);
        self.open_bytes -= bytes(&taken);
        taken
    }
}

fn bytes(keys: &[Vec<u8>]) -> usize {
    keys.iter().map(Vec::len).sum()
}

/// Adds to what was found; returns the bytes of what it added.
fn compare(mut before: Vec<Vec<u8>>, mut after: Vec<Vec<u8>>, found: &mut Difference) -> usize {
    let (removed_before, added_before) = (found.removed.len(), found.added.len());
    before.sort_unstable();
    after.sort_unstable();
    let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.cmp(new),
        };
        match order {
            Ordering::Less => found.removed.extend(before.next()),
            Ordering::Greater => found.added.extend(after.next()),
            Ordering::Equal => {
                before.next();
                after.next();
            }
        }
    }
    bytes(&found.removed[removed_before..]) + bytes(&found.added[added_before..])
}

fn entity(key: &[u8]) -> Result<Entity, Trouble> {
    key.first_chunk().copied().ok_or_else(disorder)
}

fn too_many() -> Trouble {
    Trouble::Before(FullReason::TooMany)
}

fn disorder() -> Trouble {
    Trouble::Now("entities do not ascend in an index".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    struct Given(std::vec::IntoIter<Vec<Vec<u8>>>);

    impl Leaves for Given {
        fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, Trouble> {
            Ok(self.0.next())
        }
    }

    /// A set of keys as leaves of these lengths; inside an entity the order is turned round.
    fn leaves(set: &BTreeSet<(u8, u8)>, lengths: &[usize]) -> Given {
        let mut rows: Vec<_> = set.iter().copied().collect();
        rows.sort_by_key(|(e, v)| (*e, u8::MAX - v));
        let mut keys = rows.into_iter().map(|(e, v)| [&number_bound(i64::from(e))[..], &[v]].concat());
        let mut leaves = Vec::new();
        for length in lengths.iter().cycle() {
            let leaf: Vec<_> = keys.by_ref().take(*length).collect();
            if leaf.is_empty() {
                break;
            }
            leaves.push(leaf);
        }
        Given(leaves.into_iter())
    }

    proptest! {
        #[test]
        fn it_is_the_difference_of_the_sets_wherever_leaves_end(
            before in prop::collection::btree_set((0_u8..12, 0_u8..6), 0..60),
            after in prop::collection::btree_set((0_u8..12, 0_u8..6), 0..60),
            cuts in prop::collection::vec(1_usize..9, 1..4),
            other_cuts in prop::collection::vec(1_usize..9, 1..4),
        ) {
            let found = |changes, bytes| {
                let mut limits = Limits { changes, bytes };
                let (mut before, mut after) = (leaves(&before, &cuts), leaves(&after, &other_cuts));
                difference(&mut before, &mut after, &mut limits).ok().map(|found| (found, limits.bytes))
            };
            let keys = |set: Vec<&(u8, u8)>| -> Vec<Vec<u8>> {
                set.into_iter().map(|(e, v)| [&number_bound(i64::from(*e))[..], &[*v]].concat()).collect()
            };
            let expected = Difference {
                added: keys(after.difference(&before).collect()),
                removed: keys(before.difference(&after).collect()),
            };
            let count = expected.added.len() + expected.removed.len();
            // Each key has nine bytes.
            prop_assert_eq!(found(count, count * 9 + 1), Some((expected, 1)));
            if count > 0 {
                prop_assert!(found(count - 1, usize::MAX).is_none());
                prop_assert!(found(usize::MAX, count * 9 - 1).is_none());
            }
        }
    }

    #[test]
    fn leaves_out_of_order_are_refused() {
        let key = |e: i64| vec![number_bound(e).to_vec()];
        let mut disordered = Given(vec![key(2), key(1)].into_iter());
        let mut none = Given(Vec::new().into_iter());
        let mut limits = Limits { changes: 10, bytes: usize::MAX };
        let found = difference(&mut disordered, &mut none, &mut limits);
        assert!(matches!(found, Err(Trouble::Now(_))), "{found:?}");
    }

    /// Leaves of one datom each of the same entity, each so large.
    struct Endless(u64, usize);

    impl Leaves for Endless {
        fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, Trouble> {
            self.0 += 1;
            assert!(self.0 < 1000, "it is not kept for ever");
            let mut key = number_bound(1).to_vec();
            key.resize(self.1, 0);
            Ok(Some(vec![key]))
        }
    }

    #[test]
    fn an_entity_that_does_not_end_is_not_kept() {
        let mut none = Given(Vec::new().into_iter());
        let mut limits = Limits { changes: usize::MAX, bytes: usize::MAX };
        let found = difference(&mut none, &mut Endless(0, 1 << 20), &mut limits);
        assert!(matches!(found, Err(Trouble::Before(FullReason::TooMany))), "{found:?}");
    }
}
