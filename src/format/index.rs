//! Index objects: sealed lists of pack directories.

use serde::{Deserialize, Serialize};

use super::object::{self, Kind};
use super::pack::{HEAD_LEN, MIN_TAIL_LEN};
use super::{IndexedPack, Sealed};
use crate::crypto::Keys;
use crate::error::DecodeError;
use crate::id::IndexId;

/// What an index object holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexContent {
    /// Packs with their directories, ascending by id.
    pub packs: Vec<IndexedPack>,
    /// Index objects whose packs are all here, or condemned: they may be deleted, and are to be ignored meanwhile.
    pub replaces: Vec<IndexId>,
}

impl IndexContent {
    /// The object and its name. Packs are put in order first.
    pub fn seal(mut self, keys: &Keys, random: &[u8; 32]) -> (IndexId, Sealed) {
        self.packs.sort_unstable_by_key(|pack| pack.id);
        self.replaces.sort_unstable();
        let sealed = object::seal(Kind::Index, keys, "", random, &self);
        (IndexId::new(blake3::hash(sealed.bytes()).into()), sealed)
    }

    /// The content of the index object named `id`.
    pub fn open(keys: &Keys, id: IndexId, object: &[u8]) -> Result<Self, DecodeError> {
        if blake3::hash(object).as_bytes() != id.as_bytes() {
            return Err(DecodeError::IdMismatch);
        }
        let content: Self = object::open(Kind::Index, keys, "", object)?;
        content.validate()?;
        Ok(content)
    }

    fn validate(&self) -> Result<(), DecodeError> {
        if !self.packs.is_sorted_by(|a, b| a.id < b.id) || !self.replaces.is_sorted_by(|a, b| a < b) {
            return Err(DecodeError::Invalid("order of an index"));
        }
        for pack in &self.packs {
            let end = pack.directory.validate(HEAD_LEN)?;
            if end.checked_add(MIN_TAIL_LEN).is_none_or(|least| least > pack.size_bytes) {
                return Err(DecodeError::Invalid("size of an indexed pack"));
            }
        }
        Ok(())
    }
}
