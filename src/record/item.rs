//! Items: any key with any value, stored as they are, keys without the start they share with the key before.

use crate::error::DecodeError;

use super::cursor::{Cursor, common_prefix, put_len};
use super::{RecordKind, Reference, Rows};

/// Any key with any value.
pub struct Items;

/// No leaf has more bytes of rows than this.
const MAX_ROW_BYTES: usize = 64 << 20;

impl RecordKind for Items {
    fn code(&self) -> u8 {
        2
    }

    fn name(&self) -> &'static str {
        "item"
    }

    fn leaf_target_bytes(&self) -> u32 {
        64 << 10
    }

    // format-spec records: item columns.
    fn encode(&self, rows: &Rows) -> Vec<u8> {
        let mut out = Vec::with_capacity(rows.size_bytes() + rows.len() * 3 + 8);
        put_len(rows.len(), &mut out);
        let mut previous: &[u8] = &[];
        for (key, _) in rows.iter() {
            put_len(common_prefix(previous, key), &mut out);
            previous = key;
        }
        previous = &[];
        for (key, _) in rows.iter() {
            put_len(key.len() - common_prefix(previous, key), &mut out);
            previous = key;
        }
        for (_, value) in rows.iter() {
            put_len(value.len(), &mut out);
        }
        previous = &[];
        for (key, _) in rows.iter() {
            out.extend_from_slice(&key[common_prefix(previous, key)..]);
            previous = key;
        }
        for (_, value) in rows.iter() {
            out.extend_from_slice(value);
        }
        out
    }

    fn decode(&self, columns: &[u8]) -> Result<Rows, DecodeError> {
        let mut cursor = Cursor::new(columns);
        // Every row has three lengths of at least a byte each.
        let count = cursor.count(columns.len() / 3, "rows")?;
        let mut column =
            || -> Result<Vec<usize>, DecodeError> { (0..count).map(|_| cursor.count(MAX_ROW_BYTES, "row")).collect() };
        let (shared, suffixes, values) = (column()?, column()?, column()?);
        let keys_len = suffixes.iter().try_fold(0_usize, |sum, len| sum.checked_add(*len));
        let mut keys = Cursor::new(cursor.take(keys_len.ok_or(DecodeError::TooLarge("rows"))?)?);
        let mut rows = Rows::new();
        let mut key = Vec::new();
        let mut total = 0_usize;
        for (i, ((shared, suffix), value)) in shared.into_iter().zip(suffixes).zip(values).enumerate() {
            total += shared + suffix + value;
            if total > MAX_ROW_BYTES {
                return Err(DecodeError::TooLarge("rows"));
            }
            let suffix = keys.take(suffix)?;
            let value = cursor.take(value)?;
            // Strictly ascending, and no byte of the suffix could have been shared.
            let valid = match (key.get(shared), suffix.first()) {
                (Some(old), Some(new)) => old < new,
                (None, Some(_)) => key.len() == shared,
                (None, None) => i == 0 && shared == 0,
                (Some(_), None) => false,
            };
            if !valid {
                return Err(DecodeError::Invalid("key order"));
            }
            key.truncate(shared);
            key.extend_from_slice(suffix);
            rows.push(&key, value);
        }
        cursor.finish()?;
        Ok(rows)
    }

    fn summarize(&self, _rows: &Rows) -> Vec<u8> {
        Vec::new()
    }

    fn merge(&self, summaries: &[&[u8]]) -> Result<Vec<u8>, DecodeError> {
        if summaries.iter().any(|summary| !summary.is_empty()) {
            return Err(DecodeError::Invalid("summary"));
        }
        Ok(Vec::new())
    }

    fn references(&self, _key: &[u8], _value: &[u8], _references: &mut Vec<Reference>) -> Result<(), DecodeError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_come_back(items: BTreeMap<Vec<u8>, Vec<u8>>) {
            let mut rows = Rows::new();
            items.iter().for_each(|(key, value)| rows.push(key, value));
            prop_assert_eq!(Items.decode(&Items.encode(&rows)).unwrap(), rows);
        }

        #[test]
        fn keys_with_shared_starts_come_back(keys in prop::collection::btree_set("[ab]{0,12}", 0..60)) {
            let mut rows = Rows::new();
            keys.iter().for_each(|key| rows.push(key.as_bytes(), b"v"));
            prop_assert_eq!(Items.decode(&Items.encode(&rows)).unwrap(), rows);
        }

        #[test]
        fn whatever_decodes_has_one_form(bytes in prop::collection::vec(0_u8..6, 0..40)) {
            if let Ok(rows) = Items.decode(&bytes) {
                prop_assert!((1..rows.len()).all(|i| rows.key(i - 1) < rows.key(i)));
                prop_assert_eq!(Items.encode(&rows), bytes);
            }
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
            let _ = Items.decode(&bytes);
        }
    }
}
