//! Where else a repository is: the list of its placements, and the mark of a mirror.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::object::{self, Kind};
use super::{ObjectPath, Sealed};
use crate::crypto::Keys;
use crate::error::DecodeError;

/// All placements of a repository, at `mirrors/<n>`; the list with the highest number counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorList {
    /// Its number, from 1.
    pub n: u64,
    /// When it was written: milliseconds since 1970.
    pub time_ms: i64,
    /// The placements: first the primary, which decides, then its mirrors.
    pub placements: Vec<Placement>,
    /// Makes every list unique.
    pub nonce: [u8; 16],
}

/// One place that holds the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// What people call it: 1 to 32 of `[0-9a-z-]`.
    pub name: String,
    /// Where it is, as after `-r`.
    pub address: String,
    /// When it is written.
    pub mode: MirrorMode,
    /// Options of its store by name; never credentials.
    pub options: Vec<(String, String)>,
}

/// When a mirror is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MirrorMode {
    /// During every run, and brought up to date at its end.
    Sync,
    /// When it is asked for.
    Async,
}

/// Stands at `mirrors/mark` of a mirror, and only there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorMark {
    /// The mirror's name.
    pub name: String,
    /// When it became one: milliseconds since 1970.
    pub time_ms: i64,
}

/// The most placements of a repository.
const MAX_PLACEMENTS: usize = 64;
/// The longest name.
const MAX_NAME_LEN: usize = 32;

impl Placement {
    /// Whether a placement may be called so.
    pub fn is_name(name: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'-';
        !name.is_empty() && name.len() <= MAX_NAME_LEN && name.bytes().all(allowed)
    }
}

impl MirrorList {
    /// The object for `mirrors/<n>`.
    pub fn seal(&self, keys: &Keys, random: &[u8; 32]) -> Sealed {
        object::seal(Kind::MirrorList, keys, ObjectPath::mirror_list(self.n).as_str(), random, self)
    }

    /// List `n`.
    pub fn open(keys: &Keys, n: u64, object: &[u8]) -> Result<Self, DecodeError> {
        let list: Self = object::open(Kind::MirrorList, keys, ObjectPath::mirror_list(n).as_str(), object)?;
        if list.n != n || n == 0 {
            return Err(DecodeError::Invalid("number of a list of placements"));
        }
        if list.placements.is_empty() || list.placements.len() > MAX_PLACEMENTS {
            return Err(DecodeError::Invalid("number of placements"));
        }
        let mut names = HashSet::new();
        if !list.placements.iter().all(|placement| Placement::is_name(&placement.name) && names.insert(&placement.name))
        {
            return Err(DecodeError::Invalid("name of a placement"));
        }
        Ok(list)
    }
}

impl MirrorMark {
    /// The object for `mirrors/mark`.
    pub fn seal(&self, keys: &Keys, random: &[u8; 32]) -> Sealed {
        object::seal(Kind::MirrorMark, keys, ObjectPath::mirror_mark().as_str(), random, self)
    }

    /// The mark of a mirror.
    pub fn open(keys: &Keys, object: &[u8]) -> Result<Self, DecodeError> {
        let mark: Self = object::open(Kind::MirrorMark, keys, ObjectPath::mirror_mark().as_str(), object)?;
        if Placement::is_name(&mark.name) { Ok(mark) } else { Err(DecodeError::Invalid("name of a placement")) }
    }
}
