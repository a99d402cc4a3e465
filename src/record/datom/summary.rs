//! Summaries: what an inner node says about the datoms below a child, so that walks skip what cannot match.

use std::ops::RangeInclusive;

use crate::error::DecodeError;
use crate::record::cursor::Cursor;

/// Bounds and counts of a set of datoms; never says that something is absent that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Least t.
    pub t_min: i64,
    /// Greatest t.
    pub t_max: i64,
    /// Least e.
    pub e_min: i64,
    /// Greatest e.
    pub e_max: i64,
    /// Bit `FNV-1a(attribute) mod 64` of every attribute that occurs.
    pub attributes: u64,
    /// How many retractions.
    pub retractions: u64,
}

impl Summary {
    /// Length in bytes.
    pub const LEN: usize = 48;

    /// Of no datoms: matches nothing and adds nothing.
    pub const EMPTY: Self =
        Self { t_min: i64::MAX, t_max: i64::MIN, e_min: i64::MAX, e_max: i64::MIN, attributes: 0, retractions: 0 };

    /// From its bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let mut signed = || cursor.array().map(i64::from_be_bytes);
        let (t_min, t_max, e_min, e_max) = (signed()?, signed()?, signed()?, signed()?);
        let attributes = u64::from_be_bytes(cursor.array()?);
        let retractions = u64::from_be_bytes(cursor.array()?);
        cursor.finish()?;
        let summary = Self { t_min, t_max, e_min, e_max, attributes, retractions };
        let ordered = t_min <= t_max && e_min <= e_max && attributes != 0;
        if ordered || summary == Self::EMPTY { Ok(summary) } else { Err(DecodeError::Invalid("summary")) }
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        for bound in [self.t_min, self.t_max, self.e_min, self.e_max] {
            out.extend_from_slice(&bound.to_be_bytes());
        }
        out.extend_from_slice(&self.attributes.to_be_bytes());
        out.extend_from_slice(&self.retractions.to_be_bytes());
        out
    }

    /// Of these datoms and the other's.
    pub fn merge(&self, other: &Self) -> Self {
        Self {
            t_min: self.t_min.min(other.t_min),
            t_max: self.t_max.max(other.t_max),
            e_min: self.e_min.min(other.e_min),
            e_max: self.e_max.max(other.e_max),
            attributes: self.attributes | other.attributes,
            retractions: self.retractions.saturating_add(other.retractions),
        }
    }

    /// Whether some datom may have this attribute, given in its canonical bytes.
    pub fn may_contain_attribute(&self, attribute: &[u8]) -> bool {
        self.attributes & attribute_bit(attribute) != 0
    }

    /// Whether some datom may have a t in the range.
    pub fn may_contain_t(&self, range: RangeInclusive<i64>) -> bool {
        self.t_min <= *range.end() && *range.start() <= self.t_max
    }

    /// Whether some datom may have an e in the range.
    pub fn may_contain_e(&self, range: RangeInclusive<i64>) -> bool {
        self.e_min <= *range.end() && *range.start() <= self.e_max
    }
}

/// The bit of an attribute in [`Summary::attributes`].
pub(super) fn attribute_bit(attribute: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in attribute {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    1 << (hash % 64)
}
