//! Keys and what belongs to them as rows that sort like the keys.

/// Appends a key so that rows sort like keys and the end of the key can be told: NUL is followed by 1, the end is two NULs.
pub(super) fn put_key(key: &[u8], row: &mut Vec<u8>) {
    for &byte in key {
        row.push(byte);
        if byte == 0 {
            row.push(1);
        }
    }
    row.extend_from_slice(&[0, 0]);
}

/// The key at the start of a row, and the rest of the row.
pub(super) fn take_key(row: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut key = Vec::with_capacity(row.len());
    let mut at = 0;
    while let Some(&byte) = row.get(at) {
        match (byte, row.get(at + 1)) {
            (0, Some(0) | None) => return (key, row.get(at + 2..).unwrap_or(&[])),
            (0, Some(_)) => at += 2,
            _ => at += 1,
        }
        key.push(byte);
    }
    (key, &[])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_sort_like_their_keys(a in "[\0\u{1}a]{0,6}", b in "[\0\u{1}a]{0,6}", rest in "[\0\u{1}a]{0,3}") {
            let row = |key: &str| {
                let mut row = Vec::new();
                put_key(key.as_bytes(), &mut row);
                row.extend_from_slice(rest.as_bytes());
                row
            };
            let whole = row(&a);
            prop_assert_eq!(take_key(&whole), (a.as_bytes().to_vec(), rest.as_bytes()));
            if a != b {
                prop_assert_eq!(row(&a).cmp(&row(&b)), a.as_bytes().cmp(b.as_bytes()));
            }
        }
    }
}
