//! What became of what, remembered as long as there is room.

use std::collections::HashMap;
use std::hash::Hash;

/// A map that forgets what was not asked for lately once it holds more than its limit.
///
/// There are two generations: when the young one is full it becomes the old one, and the old one goes. What is found in the
/// old one moves to the young one.
pub(super) struct Memo<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// Weight of the young generation, and the most it may have.
    weight: usize,
    limit: usize,
    weigh: fn(&V) -> usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Memo<K, V> {
    /// Of about twice `limit`, as `weigh` counts values.
    pub(super) fn new(limit: usize, weigh: fn(&V) -> usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), weight: 0, limit, weigh }
    }

    /// What was remembered for a key.
    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(key.clone(), value.clone());
        Some(value)
    }

    /// Remembers a value.
    pub(super) fn insert(&mut self, key: K, value: V) {
        let weight = (self.weigh)(&value);
        if self.weight + weight > self.limit {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        if self.young.insert(key, value).is_none() {
            self.weight += weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut memo = Memo::new(100, |_| 1);
        for n in 0..10_000 {
            memo.insert(n, n * 2);
            assert_eq!(memo.get(&0), Some(0), "asked for all the time");
            assert_eq!(memo.get(&n), Some(n * 2));
            assert!(memo.young.len() + memo.old.len() <= 201);
        }
        assert_eq!(memo.get(&1), None);
    }
}
