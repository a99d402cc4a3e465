//! The master keys of a repository, one per epoch.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::DecodeError;

/// 32 secret bytes from which all keys of an epoch are derived. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// From 32 bytes of a cryptographic random generator.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(in crate::crypto) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// All master keys, by epoch. Epoch 0 is always there: ids and cuts come from it for ever.
#[derive(Clone, PartialEq, Eq)]
pub struct Keyring {
    epochs: Vec<(u32, MasterKey)>,
}

/// Length of an epoch number and its key.
const ENTRY_LEN: usize = 36;

impl Keyring {
    /// The most epochs a keyring holds.
    pub const MAX_EPOCHS: usize = 1000;

    /// The keyring of a new repository: epoch 0 alone.
    pub fn new(key: MasterKey) -> Self {
        Self { epochs: vec![(0, key)] }
    }

    /// The same keyring with a newer epoch, under which everything is sealed from now on.
    pub fn rotate(mut self, key: MasterKey) -> Result<Self, DecodeError> {
        if self.epochs.len() >= Self::MAX_EPOCHS {
            return Err(DecodeError::TooLarge("number of key epochs"));
        }
        let next = self.newest().checked_add(1).ok_or(DecodeError::TooLarge("key epoch"))?;
        self.epochs.push((next, key));
        Ok(self)
    }

    /// Epochs and their keys, ascending.
    pub fn epochs(&self) -> &[(u32, MasterKey)] {
        &self.epochs
    }

    /// The newest epoch.
    pub fn newest(&self) -> u32 {
        self.epochs.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// The form that key slots seal: for each epoch its number (u32, little-endian) and its key.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Reserved in full: growing would leave copies of keys behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.epochs.len() * ENTRY_LEN));
        for (epoch, key) in &self.epochs {
            bytes.extend_from_slice(&epoch.to_le_bytes());
            bytes.extend_from_slice(key.bytes());
        }
        bytes
    }

    /// The inverse of [`Keyring::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (entries, rest) = bytes.as_chunks::<ENTRY_LEN>();
        if !rest.is_empty() {
            return Err(DecodeError::Truncated);
        }
        if entries.len() > Self::MAX_EPOCHS {
            return Err(DecodeError::TooLarge("number of key epochs"));
        }
        let mut epochs: Vec<(u32, MasterKey)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let (epoch, key) = entry.split_first_chunk().expect("an entry has 36 bytes");
            let epoch = u32::from_le_bytes(*epoch);
            if epochs.last().map_or(epoch != 0, |(last, _)| epoch <= *last) {
                return Err(DecodeError::Invalid("order of key epochs"));
            }
            epochs.push((epoch, MasterKey::new(key.try_into().expect("32 bytes are left"))));
        }
        if epochs.is_empty() {
            return Err(DecodeError::Truncated);
        }
        Ok(Self { epochs })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} epochs)", self.epochs.len())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn what_a_slot_seals_comes_back() {
        let ring = Keyring::new(MasterKey::new([1; 32])).rotate(MasterKey::new([2; 32])).unwrap();
        assert_eq!(Keyring::decode(&ring.encode()).unwrap(), ring);
        assert_eq!(ring.newest(), 1);
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let ring = Keyring::new(MasterKey::new([1; 32])).encode();
        assert_eq!(Keyring::decode(&[]), Err(DecodeError::Truncated));
        assert_eq!(Keyring::decode(&ring[..35]), Err(DecodeError::Truncated));
        let twice = [&ring[..], &ring[..]].concat();
        assert_eq!(Keyring::decode(&twice), Err(DecodeError::Invalid("order of key epochs")));
        let mut late = ring.to_vec();
        late[0] = 1;
        assert_eq!(Keyring::decode(&late), Err(DecodeError::Invalid("order of key epochs")));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let ring = Keyring::new(MasterKey::new([0xab; 32]));
        let text = format!("{ring:?} {:?}", ring.epochs());
        assert!(!text.contains("171") && !text.contains("ab, ") && !text.contains("abab"), "{text}");
    }
}
