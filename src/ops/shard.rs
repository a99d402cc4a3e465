//! One of n parts of a long job, which n machines do side by side without talking to each other.
//!
//! What belongs to which part follows from names alone: every run of a part, on whatever machine, does the same, and every
//! piece of work belongs to exactly one part.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};
use crate::id::PackId;
use crate::record::entry::Entry;

/// More parts than this are a mistake.
const SHARDS_MAX: u32 = 1 << 16;

/// Part k of n, counted from 1.
///
/// ```
/// use packstone::ops::Shard;
///
/// let shard: Shard = "3/16".parse()?;
/// assert_eq!((shard.k(), shard.n()), (3, 16));
/// assert!("0/16".parse::<Shard>().is_err() && "17/16".parse::<Shard>().is_err());
/// # Ok::<(), packstone::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    n: u32,
    k: u32,
}

impl Shard {
    /// Part `k` of `n`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] unless k is one of 1 to n.
    pub fn new(k: u32, n: u32) -> Result<Self, Error> {
        if (1..=n).contains(&k) && n <= SHARDS_MAX {
            Ok(Self { n, k })
        } else {
            Err(Error::new(
                ErrorKind::Usage,
                format!("shard {k}/{n}"),
                format!("k/n has k from 1 to n, n to {SHARDS_MAX}"),
            ))
        }
    }

    /// Which part, from 1.
    pub fn k(self) -> u32 {
        self.k
    }

    /// Of how many.
    pub fn n(self) -> u32 {
        self.n
    }

    /// Whether it also does what cannot be divided.
    pub fn is_first(self) -> bool {
        self.k == 1
    }

    pub(super) fn takes_pack(self, id: &PackId) -> bool {
        self.takes(id.as_bytes())
    }

    /// Whether something of this name belongs to it.
    pub(super) fn takes_name(self, name: &[u8]) -> bool {
        self.takes(blake3::hash(name).as_bytes())
    }

    /// Whether a path belongs to it. All names of one file belong to the same part.
    pub(super) fn takes_entry(self, key: &[u8], entry: &Entry) -> bool {
        match entry.link {
            None => self.takes_name(key),
            // No key begins like this.
            Some(link) => {
                self.takes_name(&[&[0], &link.device.to_be_bytes()[..], &entry.inode.to_be_bytes()[..]].concat())
            }
        }
    }

    fn takes(self, hash: &[u8; 32]) -> bool {
        part(hash, u64::from(self.n)) == u64::from(self.k)
    }
}

/// The part of `of` that something with this hash belongs to, counted from 1; the same for ever.
pub(super) fn part(hash: &[u8; 32], of: u64) -> u64 {
    let (first, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
    u64::from_be_bytes(*first) % of + 1
}

impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::new(ErrorKind::Usage, format!("shard `{text}`"), "is not k/n, as in 3/16");
        let (k, n) = text.split_once('/').ok_or_else(wrong)?;
        Self::new(k.parse().map_err(|_| wrong())?, n.parse().map_err(|_| wrong())?)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.k, self.n)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_name_belongs_to_exactly_one_part_and_parts_are_even() {
        for n in [1, 2, 4, 7, 64] {
            let shards: Vec<Shard> = (1..=n).map(|k| Shard::new(k, n).unwrap()).collect();
            let mut counts = vec![0_u32; shards.len()];
            for name in 0..6400_u32 {
                let takers: Vec<usize> =
                    (0..shards.len()).filter(|at| shards[*at].takes_name(&name.to_le_bytes())).collect();
                assert_eq!(takers.len(), 1, "{name} of {n}");
                counts[takers[0]] += 1;
            }
            let even = 6400 / n;
            assert!(counts.iter().all(|count| count.abs_diff(even) < even / 2 + 1), "{n}: {counts:?}");
        }
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        for bad in ["", "1", "0/0", "0/4", "5/4", "-1/4", "1/65537", "a/4", "1/4/4", "1/ 4"] {
            assert_eq!(bad.parse::<Shard>().unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
        assert_eq!("4/4".parse::<Shard>().unwrap().to_string(), "4/4");
    }
}
