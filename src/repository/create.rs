//! Creating a repository.

use std::path::PathBuf;
use std::sync::Arc;

use super::keys::Secret;
use super::known_place::KnownPlace;
use super::look::LastLook;
use super::machine::{Machine, now_ms, user_name};
use super::open::{OpenOptions, assemble};
use super::random::random;
use super::{Repository, Store};
use crate::backend::{Backend, PutNew};
use crate::crypto::{KdfParameters, Keyring, Keys, MasterKey};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ChunkerParameters, Config, KeySlot, ObjectPath, SlotDescription};
use crate::id::RepositoryId;

/// What is fixed when a repository is created.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Sizes at which content is cut.
    pub chunker: ChunkerParameters,
    /// What the store was found to honour, if less than everything.
    pub protocol: Protocol,
    /// Cost of trying a password.
    pub kdf: KdfParameters,
    /// Name of the first key slot.
    pub key_label: String,
    /// Folder of the local cache; none by default.
    pub cache: Option<PathBuf>,
}

/// How clients and pruners get along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// They work side by side: the store honours `put_new`.
    #[default]
    Full,
    /// Nobody can be fenced, so who prunes must be alone.
    Weak,
}

/// Encoded values longer than this become blobs of their own.
const INLINE_VALUE_MAX_BYTES: u32 = 1024;

impl Repository {
    /// Creates a repository where there is none: the first key slot, then `config`, whose `put_new` decides between racing
    /// creators.
    pub async fn create(backend: Arc<dyn Backend>, secret: Secret, options: CreateOptions) -> Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let store = Store::new(backend, runtime);
        blocking(move || create(store, &secret, &options)).await
    }
}

fn create(store: Store, secret: &Secret, options: &CreateOptions) -> Result<Repository> {
    let store = store.with_conditional_put(options.protocol == Protocol::Full);
    if store.stat(&ObjectPath::config())?.is_some() {
        return Err(Error::new(ErrorKind::AlreadyExists, store.location(), "a repository is here already"));
    }
    let config = Config {
        id: RepositoryId::new(random()),
        created_ms: now_ms(),
        chunker: options.chunker,
        inline_value_max_bytes: INLINE_VALUE_MAX_BYTES,
        conditional_put: options.protocol == Protocol::Full,
    };
    config.chunker.sizes().map_err(|e| Error::new(ErrorKind::Usage, "chunker", e))?;
    let keyring = Keyring::new(MasterKey::new(random()));
    let keys = Keys::derive(config.id, &keyring);
    let description = SlotDescription {
        label: options.key_label.clone(),
        host: Machine::this().host,
        user: user_name(),
        created_ms: now_ms(),
    };
    let (slot, body) = KeySlot::create(config.id, &keyring, &secret.0, options.kdf, random(), random(), description)
        .map_err(|e| Error::new(ErrorKind::Usage, "key slot", e))?;
    let object = config.encode(&keys);
    store.put(&ObjectPath::key_slot(slot), body.clone())?;
    if store.put_new(&ObjectPath::config(), object.clone())? == PutNew::Exists {
        store.delete(&ObjectPath::key_slot(slot))?;
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            store.location(),
            "another program is creating a repository here",
        ));
    }
    if let Some(cache) = options.cache.as_ref().filter(|_| !store.is_local()) {
        KnownPlace::new(store.location(), config.id, object.bytes(), (slot, body.bytes())).write(cache);
    }
    let options = OpenOptions { cache: options.cache.clone(), ..OpenOptions::default() };
    assemble(store, config, keyring, slot, &options, LastLook::default())
}

/// Runs `work` where it may block.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Error::new(ErrorKind::Interrupted, "", "the runtime is shutting down").because(error)),
    }
}
