//! Which packs are read whole.

use std::collections::{BTreeMap, HashSet};

use super::ReadData;
use crate::error::{Error, ErrorKind, Result};
use crate::id::PackId;
use crate::ops::shard::part;
use crate::repository::random;

/// Refuses shares that make no sense.
pub(super) fn validate(read_data: ReadData) -> Result<()> {
    let refuse = |message: String| Err(Error::new(ErrorKind::Usage, "part of the data to read", message));
    match read_data {
        ReadData::Part { n, of } if n == 0 || n > of => refuse(format!("there is no part {n} of {of}")),
        ReadData::Percent(share) if !(0.0..=100.0).contains(&share) => refuse(format!("{share} % is not a share")),
        _ => Ok(()),
    }
}

/// The packs to read, of these with their lengths.
pub(super) fn choose(packs: &BTreeMap<PackId, u64>, read_data: ReadData) -> HashSet<PackId> {
    match read_data {
        ReadData::None => HashSet::new(),
        ReadData::All => packs.keys().copied().collect(),
        ReadData::Part { n, of } => packs.keys().filter(|id| part(id.as_bytes(), of) == n).copied().collect(),
        ReadData::Percent(share) => {
            let count = (packs.len() as f64 * share / 100.0).ceil() as usize;
            shuffled(packs).take(count).map(|(id, _)| id).collect()
        }
        ReadData::Bytes(bytes) => {
            let mut left = bytes;
            let fits = |(_, size_bytes): &(PackId, u64)| {
                let any_left = left > 0;
                left = left.saturating_sub(*size_bytes);
                any_left
            };
            shuffled(packs).take_while(fits).map(|(id, _)| id).collect()
        }
    }
}

fn shuffled(packs: &BTreeMap<PackId, u64>) -> impl Iterator<Item = (PackId, u64)> + use<> {
    let mut drawn: Vec<_> = packs.iter().map(|(id, size)| (u64::from_be_bytes(random()), *id, *size)).collect();
    drawn.sort_unstable();
    drawn.into_iter().map(|(_, id, size)| (id, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packs() -> BTreeMap<PackId, u64> {
        (0..100_u64).map(|n| (PackId::new(*blake3::hash(&n.to_le_bytes()).as_bytes()), 10)).collect()
    }

    #[test]
    fn parts_are_disjoint_and_cover_everything() {
        let packs = packs();
        let parts: Vec<_> = (1..=7).map(|n| choose(&packs, ReadData::Part { n, of: 7 })).collect();
        assert_eq!(parts.iter().map(HashSet::len).sum::<usize>(), packs.len());
        let all: HashSet<PackId> = parts.into_iter().flatten().collect();
        assert_eq!(all, choose(&packs, ReadData::All));
    }

    #[test]
    fn samples_have_the_size_asked_for() {
        let packs = packs();
        for (read_data, expected) in [
            (ReadData::None, 0),
            (ReadData::Percent(0.0), 0),
            (ReadData::Percent(2.5), 3),
            (ReadData::Percent(100.0), 100),
            (ReadData::Bytes(0), 0),
            (ReadData::Bytes(95), 10),
            (ReadData::Bytes(u64::MAX), 100),
        ] {
            assert_eq!(choose(&packs, read_data).len(), expected, "{read_data:?}");
        }
    }

    #[test]
    fn shares_that_make_no_sense_are_refused() {
        for bad in [
            ReadData::Part { n: 0, of: 3 },
            ReadData::Part { n: 4, of: 3 },
            ReadData::Part { n: 0, of: 0 },
            ReadData::Percent(-1.0),
            ReadData::Percent(f64::NAN),
        ] {
            assert!(validate(bad).is_err(), "{bad:?}");
        }
        assert!(validate(ReadData::Part { n: 3, of: 3 }).is_ok());
    }
}
