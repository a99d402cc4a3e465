//! Key slots: the keyring, sealed under a key that a password or a key file gives.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Sealed;
use super::object::{self, Kind};
use crate::crypto::{KdfParameters, Keyring, SlotKeys, SlotSecret};
use crate::error::DecodeError;
use crate::id::{KeySlotId, RepositoryId};

/// The longest slot a reader accepts.
const MAX_LEN: usize = 256 << 10;

/// Who made a slot, where and when: public, but authentic once the slot has been opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotDescription {
    /// Free text.
    pub label: String,
    /// Machine it was made on.
    pub host: String,
    /// User who made it.
    pub user: String,
    /// When: milliseconds since 1970.
    pub created_ms: i64,
}

/// How a slot's secret becomes its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SlotMethod {
    /// Argon2id of a password.
    Password(KdfParameters),
    /// A hash of a key file.
    KeyFile,
}

/// The part of a slot that can be read without a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Public {
    method: SlotMethod,
    salt: [u8; 32],
    commitment: [u8; 32],
    description: SlotDescription,
}

/// A key slot as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySlot {
    id: KeySlotId,
    public: Public,
    /// Everything before the sealed keyring.
    head: Vec<u8>,
    sealed: Vec<u8>,
}

/// Why a slot gave no keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotError {
    /// The secret is not this slot's.
    WrongSecret,
    /// The slot wants the other kind of secret: a password instead of a key file, or the reverse.
    OtherKind,
    /// The secret could never have been a slot's.
    UnfitSecret(DecodeError),
    /// The slot is not what was once written.
    Damaged(DecodeError),
    /// The slot is of a version, or asks for parameters, that this program does not accept.
    Unsupported(DecodeError),
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongSecret => f.write_str("does not open with this secret"),
            Self::OtherKind => f.write_str("opens with another kind of secret"),
            Self::UnfitSecret(why) => write!(f, "unfit secret: {why}"),
            Self::Damaged(why) => write!(f, "damaged: {why}"),
            Self::Unsupported(why) => write!(f, "not supported: {why}"),
        }
    }
}

impl std::error::Error for SlotError {}

// format-spec, chapter sealing and keys: head (6) | length (u32) | public part | sealed keyring.
impl KeySlot {
    /// A new slot and its name. `parameters` count for passwords only; `salt` and `random` are used for nothing else.
    pub fn create(
        repository: RepositoryId,
        keyring: &Keyring,
        secret: &SlotSecret,
        parameters: KdfParameters,
        salt: [u8; 32],
        random: [u8; 32],
        description: SlotDescription,
    ) -> Result<(KeySlotId, Sealed), SlotError> {
        let method = match secret {
            SlotSecret::Password(_) => SlotMethod::Password(parameters),
            SlotSecret::KeyFile(_) => SlotMethod::KeyFile,
        };
        let keys = derive(repository, secret, method, &salt)?;
        let public = object::encode_body(&Public { method, salt, commitment: *keys.commitment(), description });
        let mut bytes = object::prefix(Kind::KeySlot).to_vec();
        bytes.extend_from_slice(&u32::try_from(public.len()).expect("a slot is short").to_le_bytes());
        bytes.extend_from_slice(&public);
        bytes.extend_from_slice(&keys.seal(&associated(&bytes, repository), &random, &keyring.encode()));
        if bytes.len() > MAX_LEN {
            return Err(SlotError::Unsupported(DecodeError::TooLarge("key slot")));
        }
        Ok((KeySlotId::new(blake3::hash(&bytes).into()), Sealed::new(bytes)))
    }

    /// The slot named `id`.
    pub fn decode(id: KeySlotId, object: &[u8]) -> Result<Self, SlotError> {
        if blake3::hash(object).as_bytes() != id.as_bytes() {
            return Err(SlotError::Damaged(DecodeError::IdMismatch));
        }
        let slot = Self::parse(id, object).map_err(|why| match why {
            DecodeError::UnknownVersion(_) | DecodeError::TooLarge(_) => SlotError::Unsupported(why),
            _ => SlotError::Damaged(why),
        })?;
        if let SlotMethod::Password(parameters) = slot.public.method {
            parameters.check().map_err(SlotError::Unsupported)?;
        }
        Ok(slot)
    }

    fn parse(id: KeySlotId, object: &[u8]) -> Result<Self, DecodeError> {
        if object.len() > MAX_LEN {
            return Err(DecodeError::TooLarge("key slot"));
        }
        let rest = object::strip_prefix(Kind::KeySlot, object)?;
        let (len, rest) = rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| DecodeError::TooLarge("key slot"))?;
        let (public, sealed) = rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        let head = object.strip_suffix(sealed).expect("the sealed part is the object's end").to_vec();
        Ok(Self { id, public: object::decode_body(public)?, head, sealed: sealed.to_vec() })
    }

    /// Its name.
    pub fn id(&self) -> KeySlotId {
        self.id
    }

    /// How its secret becomes its key.
    pub fn method(&self) -> SlotMethod {
        self.public.method
    }

    /// Who made it, as long as it has not been opened a mere claim.
    pub fn description(&self) -> &SlotDescription {
        &self.public.description
    }

    /// The keyring inside. For a password this takes as long as the slot's parameters say.
    pub fn open(&self, repository: RepositoryId, secret: &SlotSecret) -> Result<Keyring, SlotError> {
        let keys = derive(repository, secret, self.public.method, &self.public.salt)?;
        if !keys.matches(&self.public.commitment) {
            return Err(SlotError::WrongSecret);
        }
        let keyring = keys.open(&associated(&self.head, repository), &self.sealed).map_err(SlotError::Damaged)?;
        Keyring::decode(&keyring).map_err(SlotError::Damaged)
    }
}

impl fmt::Debug for KeySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySlot({}, {:?})", self.id, self.public.method)
    }
}

fn derive(
    repository: RepositoryId,
    secret: &SlotSecret,
    method: SlotMethod,
    salt: &[u8; 32],
) -> Result<SlotKeys, SlotError> {
    match (secret, method) {
        (SlotSecret::Password(password), SlotMethod::Password(parameters)) => {
            SlotKeys::from_password(repository, password, salt, parameters).map_err(SlotError::Unsupported)
        }
        (SlotSecret::KeyFile(content), SlotMethod::KeyFile) => {
            SlotKeys::from_key_file(repository, content, salt).map_err(SlotError::UnfitSecret)
        }
        _ => Err(SlotError::OtherKind),
    }
}

fn associated(head: &[u8], repository: RepositoryId) -> Vec<u8> {
    [head, repository.as_bytes()].concat()
}
