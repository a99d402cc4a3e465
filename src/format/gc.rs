//! Records of condemned packs.

use serde::{Deserialize, Serialize};

use super::object::{self, Kind};
use super::{ObjectPath, Sealed};
use crate::crypto::Keys;
use crate::error::DecodeError;
use crate::id::PackId;

/// Packs that one prune condemned, at `gc/<n>`. What stands here is dead for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcRecord {
    /// Its number, from 1 without gaps.
    pub n: u64,
    /// When: milliseconds since 1970.
    pub time_ms: i64,
    /// The packs, ascending.
    pub condemned: Vec<PackId>,
    /// Makes every record unique.
    pub nonce: [u8; 16],
    /// Machine of the pruner.
    pub by: String,
}

impl GcRecord {
    /// The object for `gc/<n>`.
    pub fn seal(&self, keys: &Keys, random: &[u8; 32]) -> Sealed {
        object::seal(Kind::Gc, keys, ObjectPath::gc(self.n).as_str(), random, self)
    }

    /// Record `n`.
    pub fn open(keys: &Keys, n: u64, object: &[u8]) -> Result<Self, DecodeError> {
        let record: Self = object::open(Kind::Gc, keys, ObjectPath::gc(n).as_str(), object)?;
        if record.n != n || n == 0 {
            return Err(DecodeError::Invalid("gc record number"));
        }
        if !record.condemned.is_sorted_by(|a, b| a < b) {
            return Err(DecodeError::Invalid("order of condemned packs"));
        }
        Ok(record)
    }
}
