//! Separators: how inner nodes name the last key of a child.
//!
//! A key of up to 256 bytes stands for itself. A longer one is cut: its first 256 bytes, then the keyed hash of all of it.
//! The length tells which: a whole separator has at most 256 bytes, a cut one exactly 288, so two keys never share a
//! separator. Cut separators with the same 256 bytes do not say which of their keys comes first; their position does.

use std::cmp::Ordering;

use super::TreeKeys;
use crate::error::DecodeError;

/// Bytes of a key that separators keep.
pub(super) const WHOLE_LEN: usize = 256;
/// Length of the separator of a longer key.
pub(super) const CUT_LEN: usize = WHOLE_LEN + blake3::OUT_LEN;

/// Appends the separator of `key`.
pub(super) fn put(out: &mut Vec<u8>, keys: &TreeKeys, key: &[u8]) {
    match key.split_at_checked(WHOLE_LEN) {
        Some((start, rest)) if !rest.is_empty() => {
            out.extend_from_slice(start);
            out.extend_from_slice(blake3::keyed_hash(&keys.long_key, key).as_bytes());
        }
        _ => out.extend_from_slice(key),
    }
}

/// Whether `separator` is that of `key`.
pub(super) fn names(separator: &[u8], keys: &TreeKeys, key: &[u8]) -> bool {
    if key.len() <= WHOLE_LEN {
        return separator == key;
    }
    let mut own = Vec::with_capacity(CUT_LEN);
    put(&mut own, keys, key);
    own == separator
}

/// The first 256 bytes of a key or of the key that a separator stands for.
pub(super) fn start(key: &[u8]) -> &[u8] {
    key.get(..WHOLE_LEN).unwrap_or(key)
}

/// Whether it stands for a key longer than itself.
pub(super) fn is_cut(separator: &[u8]) -> bool {
    separator.len() > WHOLE_LEN
}

/// How the key behind `separator` compares with `key`; `None` when only the key itself can tell.
pub(super) fn compare(separator: &[u8], key: &[u8]) -> Option<Ordering> {
    match (start(separator).cmp(start(key)), is_cut(separator), key.len() > WHOLE_LEN) {
        (Ordering::Equal, false, false) => Some(Ordering::Equal),
        (Ordering::Equal, false, true) => Some(Ordering::Less),
        (Ordering::Equal, true, false) => Some(Ordering::Greater),
        (Ordering::Equal, true, true) => None,
        (decided, _, _) => Some(decided),
    }
}

/// Refuses what no key has as separator.
pub(super) fn check(separator: &[u8]) -> Result<(), DecodeError> {
    if is_cut(separator) && separator.len() != CUT_LEN {
        return Err(DecodeError::Invalid("separator length"));
    }
    Ok(())
}

/// Whether `second` may stand after `first` in a node.
pub(super) fn may_follow(first: &[u8], second: &[u8]) -> bool {
    match start(first).cmp(start(second)) {
        Ordering::Less => true,
        Ordering::Equal => is_cut(second) && first != second,
        Ordering::Greater => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: TreeKeys = TreeKeys { split: [1; 16], long_key: [2; 32] };

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let lens = prop_oneof![0usize..4, 254usize..260, 286usize..291];
        (lens, prop::collection::vec((prop_oneof![Just(0usize), 250usize..291], 0u8..3), 0..3)).prop_map(
            |(len, changes)| {
                let mut key = vec![7; len];
                for (at, byte) in changes {
                    if let Some(place) = key.get_mut(at) {
                        *place = byte;
                    }
                }
                key
            },
        )
    }

    proptest! {
        #[test]
        fn separators_say_what_they_can_about_the_order_and_nothing_wrong(a in key(), b in key()) {
            let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
            put(&mut of_a, &KEYS, &a);
            put(&mut of_b, &KEYS, &b);
            prop_assert_eq!(of_a == of_b, a == b);
            prop_assert!(check(&of_a).is_ok());
            prop_assert_eq!(names(&of_a, &KEYS, &b), a == b);
            if a < b {
                prop_assert!(may_follow(&of_a, &of_b));
            }
            match compare(&of_a, &b) {
                Some(order) => prop_assert_eq!(order, a.cmp(&b)),
                None => prop_assert!(a.len() > WHOLE_LEN && b.len() > WHOLE_LEN && a[..WHOLE_LEN] == b[..WHOLE_LEN]),
            }
        }
    }
}
