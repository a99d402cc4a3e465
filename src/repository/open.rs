//! Opening a repository: config, key slots, keys.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use super::create::blocking;
use super::keys::Secret;
use super::{Inner, Repository, Store};
use crate::backend::Backend;
use crate::crypto::{Keyring, Keys};
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::format::{Config, KeySlot, ObjectPath, SlotError};
use crate::id::{KeySlotId, RepositoryId};
use crate::index::Index;
use crate::tree::TreeKeys;

/// How to open.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Folder of the local cache, shared by all repositories; none by default.
    pub cache: Option<PathBuf>,
    /// Try only the slot whose id begins like this.
    pub key_hint: Option<String>,
}

/// Memory for new packs and decoded directories.
const INDEX_MEMORY_BYTES: u64 = 64 << 20;

impl Repository {
    /// Unlocks a repository.
    ///
    /// # Errors
    /// [`ErrorKind::NoRepository`] when there is none, [`ErrorKind::Foreign`] when it is another program's or a newer
    /// version's, [`ErrorKind::WrongKey`] when no slot opens, [`ErrorKind::Damaged`] when the slots or the config do not
    /// hold what was written.
    pub async fn open(backend: Arc<dyn Backend>, secret: Secret, options: OpenOptions) -> Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let store = Store::new(backend, runtime);
        blocking(move || open(store, &secret, &options)).await
    }
}

impl Repository {
    /// The same repository with an empty index of its own, which nothing else that uses `self` can change: for what counts
    /// on the numbering of the index to hold while it works.
    pub fn with_own_index(&self) -> Result<Self> {
        let inner = &self.0;
        let index = RwLock::new(Index::new(inner.cache.clone(), INDEX_MEMORY_BYTES)?);
        Ok(Self(Arc::new(Inner {
            store: inner.store.clone(),
            config: inner.config.clone(),
            keys: Arc::clone(&inner.keys),
            keyring: inner.keyring.clone(),
            slot: inner.slot,
            tree_keys: inner.tree_keys.clone(),
            cache: inner.cache.clone(),
            index,
        })))
    }
}

fn open(store: Store, secret: &Secret, options: &OpenOptions) -> Result<Repository> {
    let path = ObjectPath::config();
    let Some(object) = store.find(&path)? else {
        return Err(Error::new(ErrorKind::NoRepository, store.location(), "there is no repository here"));
    };
    let unproven = Config::decode_unauthenticated(&object).map_err(|e| unreadable_config(&path, &object, e))?;
    let (slot, keyring) = unlock(&store, unproven.id, secret, options.key_hint.as_deref().unwrap_or(""))?;
    let keys = Keys::derive(unproven.id, &keyring);
    let config = Config::authenticate(&object, &keys).map_err(|e| Error::damaged(&path, e))?;
    assemble(store, config, keyring, slot, options)
}

/// The first slot that opens with the secret.
fn unlock(store: &Store, repository: RepositoryId, secret: &Secret, hint: &str) -> Result<(KeySlotId, Keyring)> {
    let mut damaged = None;
    let mut tried = 0;
    for (path, _) in store.list("keys/")? {
        if !path.name().starts_with(hint) {
            continue;
        }
        let (Ok(id), Some(object)) = (path.name().parse::<KeySlotId>(), store.find(&path)?) else { continue };
        tried += 1;
        let opened = KeySlot::decode(id, &object).and_then(|slot| slot.open(repository, &secret.0));
        match opened {
            Ok(keyring) => return Ok((id, keyring)),
            Err(SlotError::WrongSecret | SlotError::OtherKind) => {}
            Err(SlotError::UnfitSecret(why)) => return Err(Error::new(ErrorKind::Usage, "key", why)),
            Err(SlotError::Unsupported(why)) => {
                damaged.get_or_insert(Error::new(ErrorKind::Foreign, path, why));
            }
            Err(error) => {
                damaged.get_or_insert(Error::new(ErrorKind::Damaged, path, error));
            }
        }
    }
    match damaged {
        Some(error) => Err(error),
        None if tried == 0 && hint.is_empty() => {
            Err(Error::new(ErrorKind::Damaged, "keys", "the repository has no key slot"))
        }
        None if tried == 0 => Err(Error::new(ErrorKind::WrongKey, "keys", format!("no key slot begins with {hint}"))),
        None => Err(Error::new(ErrorKind::WrongKey, store.location(), "no key slot opens with this password or key")),
    }
}

pub(super) fn assemble(
    store: Store,
    config: Config,
    keyring: Keyring,
    slot: KeySlotId,
    options: &OpenOptions,
) -> Result<Repository> {
    let store = store.with_conditional_put(config.conditional_put);
    let keys = Arc::new(Keys::derive(config.id, &keyring));
    let tree_keys = TreeKeys { split: keys.tree_split_key(), long_key: keys.tree_long_key() };
    let cache = options.cache.as_ref().map(|folder| folder.join(config.id.to_string()));
    let index = RwLock::new(Index::new(cache.clone(), INDEX_MEMORY_BYTES)?);
    Ok(Repository(Arc::new(Inner { store, config, keys, keyring, slot, tree_keys, cache, index })))
}

/// Every version's `config` ends with a hash of all before: only where that holds is another version one.
fn unreadable_config(path: &ObjectPath, object: &[u8], why: DecodeError) -> Error {
    let is_whole = object.split_last_chunk::<32>().is_some_and(|(all, hash)| blake3::hash(all).as_bytes() == hash);
    match why {
        DecodeError::UnknownVersion(version) if is_whole => {
            let message = format!("a packstone repository of format {version}, which this version does not read");
            Error::new(ErrorKind::Foreign, path, message).because(why)
        }
        _ => Error::damaged(path, why),
    }
}
