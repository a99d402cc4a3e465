//! The difference of two runs of leaves, entity by entity.
//!
//! Datahike's order inside an entity is not that of our keys, and the two trees cut their leaves at different places. But
//! entities ascend in both: once both runs are past an entity, all its datoms are here, and are compared as sets.

use std::cmp::Ordering;

use super::trouble::Trouble;
use crate::record::datom::number_bound;

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

/// What `after` has that `before` has not, and the other way round; `None` when that is more than `max_changes`.
pub(super) fn difference(
    before: &mut dyn Leaves,
    after: &mut dyn Leaves,
    max_changes: usize,
) -> Result<Option<Difference>, Trouble> {
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
        compare(before.take_below(bound.as_ref()), after.take_below(bound.as_ref()), &mut found);
        if found.added.len() + found.removed.len() > max_changes {
            return Ok(None);
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
    Ok(Some(found))
}

/// The first eight bytes of a view key.
type Entity = [u8; 8];

struct Run<'a> {
    leaves: &'a mut dyn Leaves,
    /// Keys of entities that may not be complete yet, or were not compared yet.
    open: Vec<Vec<u8>>,
    /// The last entity met; `None` at the end.
    reached: Option<Entity>,
}

impl<'a> Run<'a> {
    fn new(leaves: &'a mut dyn Leaves) -> Self {
        Self { leaves, open: Vec::new(), reached: Some(number_bound(i64::MIN)) }
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
            self.open.extend(keys);
            if moved {
                return Ok(());
            }
        }
    }

    /// The keys of entities below a bound, all of them where there is none.
    fn take_below(&mut self, bound: Option<&Entity>) -> Vec<Vec<u8>> {
        let Some(bound) = bound else { return std::mem::take(&mut self.open) };
        let count = self.open.partition_point(|key| key.as_slice() < &bound[..]);
        let rest = self.open.split_off(count);
        std::mem::replace(&mut self.open, rest)
    }
}

fn compare(mut before: Vec<Vec<u8>>, mut after: Vec<Vec<u8>>, found: &mut Difference) {
    before.sort_unstable();
    after.sort_unstable();
    let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return,
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
}

fn entity(key: &[u8]) -> Result<Entity, Trouble> {
    key.first_chunk().copied().ok_or_else(disorder)
}

fn disorder() -> Trouble {
    Trouble::Now("entities do not ascend in an index".to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

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
            let found = difference(&mut leaves(&before, &cuts), &mut leaves(&after, &other_cuts), usize::MAX);
            let keys = |set: Vec<&(u8, u8)>| -> Vec<Vec<u8>> {
                set.into_iter().map(|(e, v)| [&number_bound(i64::from(*e))[..], &[*v]].concat()).collect()
            };
            let expected = Difference {
                added: keys(after.difference(&before).collect()),
                removed: keys(before.difference(&after).collect()),
            };
            let count = expected.added.len() + expected.removed.len();
            prop_assert_eq!(found.unwrap().unwrap(), expected);
            if count > 0 {
                let found = difference(&mut leaves(&before, &cuts), &mut leaves(&after, &other_cuts), count - 1);
                prop_assert!(found.unwrap().is_none());
            }
        }
    }

    #[test]
    fn leaves_out_of_order_are_refused() {
        let key = |e: i64| vec![number_bound(e).to_vec()];
        let mut disordered = Given(vec![key(2), key(1)].into_iter());
        let mut none = Given(Vec::new().into_iter());
        assert!(difference(&mut disordered, &mut none, 10).is_err());
    }
}
