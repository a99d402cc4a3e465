//! Opening a repository: config, key slots, keys.
//!
//! What does not depend on one another is asked for at the same time. Far away, a repository that was open before is opened
//! from the local cache while the store is asked whether config and key slot are still the same: one round trip, in which
//! the requests that come next are under way too. Nothing of their answers is used before that one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;

use super::around::{Ahead, Around, LOOK_FILE, Remembered, lock};
use super::create::blocking;
use super::keys::Secret;
use super::known_place::KnownPlace;
use super::look::{LastLook, Looking, Wanted};
use super::object_cache::ObjectCache;
use super::overlay::Overlay;
use super::store::Listing;
use super::{Inner, Repository, Session, Store, cache_file, caches};
use crate::backend::Backend;
use crate::crypto::{Keyring, Keys};
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::format::{Config, KeySlot, ObjectPath, SlotError};
use crate::id::{KeySlotId, RepositoryId};
use crate::index::Index;
use crate::tree::TreeKeys;

/// How to open.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Folder of the local cache, shared by all repositories; none by default.
    pub cache: Option<PathBuf>,
    /// Bytes that the cache of this repository may take, roughly; the index is kept whatever it takes.
    pub cache_size_bytes: u64,
    /// Try only the slot whose id begins like this.
    pub key_hint: Option<String>,
    /// What the repository is opened for.
    pub intent: Intent,
}

/// What a repository is opened for: requests that this will need are sent while it is being opened. Nothing else depends on
/// it. For repositories on this machine it makes no difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intent {
    /// Nothing is known of it.
    #[default]
    Anything,
    /// To list snapshots.
    Listing,
    /// To read from a snapshot, soon.
    Reading,
    /// To write, at once: a session is registered. It ends when nobody uses it before the repository is closed.
    Writing,
}

/// Room for the cache of a repository unless the user says otherwise.
const CACHE_SIZE_BYTES: u64 = 1 << 30;

impl Default for OpenOptions {
    fn default() -> Self {
        Self { cache: None, cache_size_bytes: CACHE_SIZE_BYTES, key_hint: None, intent: Intent::Anything }
    }
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
            around: Around { is_far: inner.around.is_far, frames: inner.around.frames.clone(), ..Around::default() },
            overlay: Overlay::default(),
            unlisted: Mutex::default(),
            kept: Mutex::default(),
        })))
    }
}

fn open(store: Store, secret: &Secret, options: &OpenOptions) -> Result<Repository> {
    let has_mirrors = !store.is_local() && store.mirrored().is_some();
    let mirror_list = has_mirrors.then(|| store.start_find(ObjectPath::mirror_list(1)));
    let known = match &options.cache {
        Some(cache) if !store.is_local() => KnownPlace::read(cache, &store.location()).map(|known| (cache, known)),
        _ => None,
    };
    let opened = match known {
        Some((cache, known)) => open_known(&store, secret, options, cache, &known)?,
        None => None,
    };
    let repository = match opened {
        Some(repository) => repository,
        None => open_afresh(store, secret, options)?,
    };
    *lock(&repository.0.around.mirror_list) = mirror_list;
    Ok(repository)
}

/// Opens with what was here last time, while the store is asked whether it still is. `None` when the secret is not that
/// slot's, or something else is here now.
fn open_known(
    store: &Store,
    secret: &Secret,
    options: &OpenOptions,
    cache: &Path,
    known: &KnownPlace,
) -> Result<Option<Repository>> {
    if !known.slot.to_string().starts_with(options.key_hint.as_deref().unwrap_or("")) {
        return Ok(None);
    }
    let config_there = store.start_find(ObjectPath::config());
    let slot_there = store.start_find(ObjectPath::key_slot(known.slot));
    let look_file = cache.join(known.repository.to_string()).join(LOOK_FILE);
    let look_bytes = cache_file::read_unproven(&look_file);
    let looking = options.intent.wanted().map(|wanted| Looking::start(store, wanted, look_bytes.is_some()));
    let opened =
        KeySlot::decode(known.slot, known.slot_object()).and_then(|slot| slot.open(known.repository, &secret.0));
    let Ok(keyring) = opened else { return Ok(None) };
    let keys = Keys::derive(known.repository, &keyring);
    let Ok(config) = Config::authenticate(&known.config(), &keys) else { return Ok(None) };
    let last = look_bytes.and_then(|bytes| LastLook::decode(&look_file, &keys.local_cache_key(), &bytes));
    let repository = assemble(store.clone(), config, keyring, known.slot, options, last.unwrap_or_default())?;
    let registering = (options.intent == Intent::Writing).then(|| repository.start_registering());
    if let Some(looking) = looking {
        repository.look_on(looking);
    }
    let (config_there, slot_there) = (store.wait(config_there), store.wait(slot_there));
    let session = registering.map(|registering| repository.wait_registered(registering)).transpose();
    let same = |there: Result<Option<Bytes>>, known: &[u8]| Ok(there?.is_some_and(|object| object == known));
    let all_same =
        same(config_there, &known.config()).and_then(|config| Ok(config && same(slot_there, known.slot_object())?));
    if let Ok(true) = all_same {
        *lock(&repository.0.around.registered.0) = session?;
        return Ok(Some(repository));
    }
    // What is there now may not even be a repository: nothing is left behind.
    session.ok().flatten().map_or(Ok(()), Session::close)?;
    all_same?;
    KnownPlace::remove(cache, &store.location());
    Ok(None)
}

fn open_afresh(store: Store, secret: &Secret, options: &OpenOptions) -> Result<Repository> {
    let path = ObjectPath::config();
    let config_there = store.start_find(path.clone());
    let slots_there = store.start_list("keys/");
    let wanted = options.intent.wanted().filter(|_| !store.is_local());
    let looking = wanted.map(|wanted| {
        let looking = Looking::start(&store, wanted, false);
        store.runtime().spawn(looking.finish(store.clone(), Arc::default()))
    });
    let Some(object) = store.wait(config_there)? else {
        return Err(Error::new(ErrorKind::NoRepository, store.location(), "there is no repository here"));
    };
    let decode = |object: Bytes| {
        let unproven = Config::decode_unauthenticated(&object).map_err(|e| unreadable_config(&path, &object, e))?;
        Ok((object, unproven))
    };
    let (object, unproven) = store.open_or_read_again(&path, object, decode)?;
    let listed = store.wait(slots_there)?;
    let hint = options.key_hint.as_deref().unwrap_or("");
    let (slot, slot_object, keyring) = unlock(&store, listed, unproven.id, secret, hint)?;
    let keys = Keys::derive(unproven.id, &keyring);
    let config = Config::authenticate(&object, &keys).map_err(|e| Error::damaged(&path, e))?;
    if let Some(cache) = options.cache.as_ref().filter(|_| !store.is_local()) {
        KnownPlace::new(store.location(), config.id, &object, (slot, &slot_object)).write(cache);
    }
    let last = options.cache.as_ref().and_then(|cache| {
        let file = cache.join(config.id.to_string()).join(LOOK_FILE);
        LastLook::decode(&file, &keys.local_cache_key(), &cache_file::read_unproven(&file)?)
    });
    let repository = assemble(store, config, keyring, slot, options, last.unwrap_or_default())?;
    if let Some(looking) = looking {
        *lock(&repository.0.around.ahead) = Ahead::OnItsWay(looking);
    }
    Ok(repository)
}

impl Intent {
    fn wanted(self) -> Option<Wanted> {
        match self {
            // Who writes looks around after registering.
            Self::Anything | Self::Writing => None,
            Self::Listing => Some(Wanted::Snapshots),
            Self::Reading => Some(Wanted::Everything),
        }
    }
}

/// The first slot that opens with the secret.
fn unlock(
    store: &Store,
    listed: Listing,
    repository: RepositoryId,
    secret: &Secret,
    hint: &str,
) -> Result<(KeySlotId, Bytes, Keyring)> {
    let mut damaged = None;
    let mut tried = 0;
    let paths: Vec<_> = listed.into_iter().map(|(path, _)| path).filter(|path| path.name().starts_with(hint)).collect();
    let objects = store.block_on(store.find_all(paths.clone()));
    for (path, object) in paths.into_iter().zip(objects) {
        let Ok(id) = path.name().parse::<KeySlotId>() else { continue };
        let Some(object) = object? else { continue };
        let decode = |object: Bytes| match KeySlot::decode(id, &object) {
            Err(why @ SlotError::Damaged(_)) => Err(Error::new(ErrorKind::Damaged, &path, why)),
            slot => Ok((object, slot)),
        };
        let (object, decoded) = match store.open_or_read_again(&path, object, decode) {
            Ok(decoded) => decoded,
            Err(error) if error.kind() == ErrorKind::Damaged => {
                tried += 1;
                damaged.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        tried += 1;
        let opened = decoded.and_then(|slot| slot.open(repository, &secret.0));
        match opened {
            Ok(keyring) => return Ok((id, object, keyring)),
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
    last: LastLook,
) -> Result<Repository> {
    let store = store.with_conditional_put(config.conditional_put);
    let keys = Arc::new(Keys::derive(config.id, &keyring));
    let tree_keys = TreeKeys { split: keys.tree_split_key(), long_key: keys.tree_long_key() };
    let cache = options.cache.as_ref().map(|folder| folder.join(config.id.to_string()));
    let index = RwLock::new(Index::new(cache.clone(), INDEX_MEMORY_BYTES)?);
    let cache_key = keys.local_cache_key();
    let far_cache = cache.as_ref().filter(|_| !store.is_local());
    let around = Around {
        last: Mutex::new(Remembered::new(last, far_cache.map(|folder| (folder.join(LOOK_FILE), cache_key)))),
        just_listed: Mutex::new((options.intent == Intent::Reading && !store.is_local()).then(HashSet::new)),
        frames: far_cache.map(|folder| Arc::new(ObjectCache::new(folder.clone(), cache_key, options.cache_size_bytes))),
        is_far: !store.is_local(),
        ..Around::default()
    };
    if let Some(folder) = &cache {
        caches::note_use(folder);
    }
    Ok(Repository(Arc::new(Inner {
        store,
        config,
        keys,
        keyring,
        slot,
        tree_keys,
        cache,
        index,
        around,
        overlay: Overlay::default(),
        unlisted: Mutex::default(),
        kept: Mutex::default(),
    })))
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
