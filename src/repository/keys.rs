//! Key slots: who can unlock the repository.

use super::Repository;
use super::machine::{Machine, now_ms, user_name};
use super::random::random;
use crate::crypto::{KdfParameters, SlotSecret};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{KeySlot, ObjectPath, SlotDescription, SlotError, SlotMethod};
use crate::id::KeySlotId;

/// What unlocks a repository. Wiped from memory when dropped, never printed.
#[derive(Debug)]
pub struct Secret(pub(super) SlotSecret);

impl Secret {
    /// A password.
    pub fn password(text: impl Into<String>) -> Self {
        Self(SlotSecret::password(text))
    }

    /// The content of a key file, 32 bytes to 1 MiB.
    pub fn key_file(content: Vec<u8>) -> Self {
        Self(SlotSecret::key_file(content))
    }
}

/// A key slot as `key list` shows it.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeySlotInfo {
    /// Its id.
    pub id: KeySlotId,
    /// Whether this is the slot that the repository was opened with.
    pub current: bool,
    /// Who made it, and how its secret becomes its key; an error when the slot is damaged.
    pub slot: Result<(SlotDescription, SlotMethod)>,
}

impl Repository {
    /// Every key slot.
    pub fn key_slots(&self) -> Result<Vec<KeySlotInfo>> {
        let mut slots = Vec::new();
        for (path, _) in self.store().list("keys/")? {
            let Ok(id) = path.name().parse::<KeySlotId>() else { continue };
            let whole = |object: &[u8]| !matches!(KeySlot::decode(id, object), Err(SlotError::Damaged(_)));
            let Some(object) = self.store().find_checked(&path, whole)? else { continue };
            let slot = KeySlot::decode(id, &object)
                .map(|slot| (slot.description().clone(), slot.method()))
                .map_err(|e| slot_error(&path, e));
            slots.push(KeySlotInfo { id, current: id == self.slot(), slot });
        }
        Ok(slots)
    }

    /// Adds a slot that opens with `secret`.
    pub fn add_key_slot(&self, secret: &Secret, kdf: KdfParameters, label: &str) -> Result<KeySlotId> {
        let description = SlotDescription {
            label: label.to_owned(),
            host: Machine::this().host,
            user: user_name(),
            created_ms: now_ms(),
        };
        let (id, body) = KeySlot::create(self.id(), self.keyring(), &secret.0, kdf, random(), random(), description)
            .map_err(|e| Error::new(ErrorKind::Usage, "key slot", e))?;
        self.store().put(&ObjectPath::key_slot(id), body)?;
        Ok(id)
    }

    /// Removes a slot; the last one that can still open stays.
    pub fn remove_key_slot(&self, id: KeySlotId) -> Result<()> {
        let path = ObjectPath::key_slot(id);
        let slots = self.key_slots()?;
        if !slots.iter().any(|slot| slot.id == id) {
            return Err(Error::new(ErrorKind::NotFound, path, "no such key slot"));
        }
        if !slots.iter().any(|slot| slot.id != id && slot.slot.is_ok()) {
            return Err(Error::new(
                ErrorKind::Usage,
                path,
                "is the last key slot: without it nobody could open the repository",
            ));
        }
        self.store().delete(&path)
    }
}

fn slot_error(path: &ObjectPath, error: SlotError) -> Error {
    let kind = match error {
        SlotError::Unsupported(_) => ErrorKind::Foreign,
        _ => ErrorKind::Damaged,
    };
    Error::new(kind, path, error)
}
