//! Stores that move, lose nodes or use addresses again while they are read: caught, never half a database.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use packstone::datahike::{Address, Head, Home, Node, Stamp, Store, StoreKey, Traffic, home};
use packstone::record::datom::Datom;
use packstone::source::datahike::{Datahike, Options, Part, Sink};
use packstone::{ErrorKind, Result};

use crate::world::{Home as Repository, Unpacked};

/// A store that does something when the nth blob is asked for.
struct Moving {
    inner: Arc<dyn Home>,
    reads: AtomicU64,
    at: u64,
    action: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Home for Moving {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn get(&self, key: StoreKey) -> Result<Option<Bytes>> {
        if self.reads.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            let action = self.action.lock().unwrap().take();
            action.into_iter().for_each(|action| action());
        }
        self.inner.get(key)
    }

    fn stamps(&self, keys: &[StoreKey]) -> Result<Vec<Option<Stamp>>> {
        self.inner.stamps(keys)
    }

    fn put_many(&self, blobs: Vec<(StoreKey, Bytes)>) -> Result<()> {
        self.inner.put_many(blobs)
    }

    fn remove_many(&self, keys: &[StoreKey]) -> Result<()> {
        self.inner.remove_many(keys)
    }

    fn list(&self) -> Result<Vec<StoreKey>> {
        self.inner.list()
    }

    fn wait_for_change(&self, key: StoreKey, seen: Option<Stamp>, timeout: Duration) -> Result<bool> {
        self.inner.wait_for_change(key, seen, timeout)
    }

    fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }
}

/// Datoms since the last start.
#[derive(Default)]
struct Collected {
    current: Vec<String>,
    max_tx: i64,
    starts: u32,
}

impl Sink for Collected {
    fn start(&mut self, head: &Head) -> Result<()> {
        self.current.clear();
        self.max_tx = head.max_tx;
        self.starts += 1;
        Ok(())
    }

    fn datom(&mut self, part: Part, datom: &Datom<'_>) -> Result<()> {
        if part != Part::History {
            self.current.push(format!("{datom:?}"));
        }
        Ok(())
    }
}

fn read(store: Store, attempts: u32) -> (Result<u32>, Collected) {
    let database = Datahike::new(store, Options { attempts, ..Options::default() });
    let mut collected = Collected::default();
    let result = database.read("db", &mut collected).map(|reading| reading.attempts);
    (result, collected)
}

/// Reads with `action` done at the read of the nth blob.
fn read_while(unpacked: &Unpacked, at: u64, action: impl FnOnce() + Send + 'static) -> (Result<u32>, Collected) {
    let inner = home::open(&unpacked.location()).unwrap();
    let action: Box<dyn FnOnce() + Send> = Box::new(action);
    let moving = Moving { inner, reads: AtomicU64::new(0), at, action: Mutex::new(Some(action)) };
    read(Store::new(Arc::new(moving), unpacked.secret()), 3)
}

fn file(unpacked: &Unpacked, key: StoreKey) -> PathBuf {
    unpacked.path().join(key.file_name())
}

fn addresses(store: &Store, root: Address) -> Vec<Address> {
    let blob = store.blob(StoreKey::address(&root)).unwrap().unwrap();
    match Node::decode(&blob.bytes).unwrap() {
        Node::Leaf(_) => vec![root],
        Node::Branch(branch) => {
            let below = branch.addresses.iter().flat_map(|address| addresses(store, *address));
            below.collect::<Vec<_>>()
        }
    }
}

#[test]
fn a_head_that_moves_while_nodes_vanish_is_followed() {
    let unpacked = Unpacked::fixture("store-bf8");
    let store = unpacked.store();
    let newest = store.head("db").unwrap();
    let (older_bytes, older) = unpacked.older_head("db");
    let (expected_newest, expected_older) = {
        let (_, newest) = read(store.clone(), 1);
        let head = file(&unpacked, StoreKey::keyword("db"));
        let now = std::fs::read(&head).unwrap();
        std::fs::write(&head, &older_bytes).unwrap();
        let (_, older) = read(store.clone(), 1);
        std::fs::write(&head, now).unwrap();
        (newest, older)
    };
    assert_eq!((expected_newest.max_tx, expected_older.max_tx), (newest.max_tx, older.max_tx));
    assert!(expected_newest.current != expected_older.current);

    // The reader begins at the older head; then the newer one is put in place and what only the older needs is collected.
    let head_file = file(&unpacked, StoreKey::keyword("db"));
    let newest_bytes = std::fs::read(&head_file).unwrap();
    std::fs::write(&head_file, &older_bytes).unwrap();
    let root = older.eavt.address.unwrap();
    let gone: Vec<_> = [root].into_iter().map(|address| file(&unpacked, StoreKey::address(&address))).collect();
    assert_ne!(older.eavt.address, newest.eavt.address);
    let (result, collected) = read_while(&unpacked, 4, move || {
        let new = head_file.with_extension("ksv.new");
        std::fs::write(&new, newest_bytes).unwrap();
        std::fs::rename(new, head_file).unwrap();
        gone.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    });
    assert_eq!(result.unwrap(), 2);
    assert_eq!((collected.starts, collected.max_tx), (2, newest.max_tx));
    assert!(collected.current == expected_newest.current);
}

#[test]
fn a_node_that_is_gone_for_good_is_named() {
    let unpacked = Unpacked::fixture("store-bf8");
    let store = unpacked.store();
    let leaves = addresses(&store, store.head("db").unwrap().eavt.address.unwrap());
    let leaf = leaves[leaves.len() / 2];
    for damage in ["removed", "empty", "cut", "trailing"] {
        let path = file(&unpacked, StoreKey::address(&leaf));
        let before = std::fs::read(&path).unwrap();
        match damage {
            "removed" => std::fs::remove_file(&path).unwrap(),
            "empty" => std::fs::write(&path, "").unwrap(),
            "cut" => std::fs::write(&path, &before[..before.len() - 7]).unwrap(),
            _ => std::fs::write(&path, [before.as_slice(), b"\x01"].concat()).unwrap(),
        }
        let error = read(store.clone(), 3).0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{damage}: {error}");
        let name = packstone::datahike::hasch::spell(&leaf);
        assert!(error.to_string().contains(&name), "{damage}: {error}");
        std::fs::write(&path, before).unwrap();
    }
    assert!(read(store, 1).0.is_ok());
}

#[test]
fn a_node_that_comes_late_is_waited_for() {
    let unpacked = Unpacked::fixture("store-bf8");
    let store = unpacked.store();
    let leaf = addresses(&store, store.head("db").unwrap().eavt.address.unwrap())[3];
    let path = file(&unpacked, StoreKey::address(&leaf));
    let content = std::fs::read(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    let late = {
        let path = path.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(150));
            std::fs::write(path, content).unwrap();
        })
    };
    let (result, collected) = read(store, 5);
    late.join().unwrap();
    assert!(result.unwrap() > 1);
    assert_eq!(collected.current.len(), 515);
}

#[test]
fn an_address_that_was_used_again_is_noticed() {
    let unpacked = Unpacked::fixture("store-bf8");
    let store = unpacked.store();
    let leaves = addresses(&store, store.head("db").unwrap().eavt.address.unwrap());
    let content = |address: &Address| {
        let stored = std::fs::read(file(&unpacked, StoreKey::address(address))).unwrap();
        let meta_len = u32::from_be_bytes(stored[4..8].try_into().unwrap()) as usize;
        (stored[..20 + meta_len].to_vec(), stored[20 + meta_len..].to_vec())
    };
    // Every other leaf's datoms under the metadata of this one: another node, whole and readable.
    let (at, other) = (leaves[5], leaves[20]);
    let path = file(&unpacked, StoreKey::address(&at));
    let before = std::fs::read(&path).unwrap();
    let (meta, _) = content(&at);
    let (_, value) = content(&other);
    std::fs::write(&path, [meta, value].concat()).unwrap();
    let error = read(store.clone(), 2).0.unwrap_err();
    assert!(error.to_string().contains("belong before") || error.to_string().contains("datoms"), "{error}");
    std::fs::write(&path, &before).unwrap();
    // A blob that says it is another one.
    std::fs::copy(file(&unpacked, StoreKey::address(&other)), &path).unwrap();
    let error = read(store.clone(), 2).0.unwrap_err();
    assert!(error.to_string().contains("another name"), "{error}");
    std::fs::write(&path, &before).unwrap();
    assert!(read(store, 1).0.is_ok());
}

#[test]
fn locks_of_the_writer_do_not_hold_the_reader() {
    let unpacked = Unpacked::fixture("store1607");
    let store = unpacked.store();
    let locked =
        std::fs::OpenOptions::new().read(true).write(true).open(file(&unpacked, StoreKey::keyword("db"))).unwrap();
    locked.lock().unwrap();
    assert!(read(store, 1).0.is_ok());
    drop(locked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_store_is_enough() {
    use std::os::unix::fs::PermissionsExt as _;
    let unpacked = Unpacked::fixture("store1607");
    for entry in std::fs::read_dir(unpacked.path()).unwrap() {
        std::fs::set_permissions(entry.unwrap().path(), std::fs::Permissions::from_mode(0o444)).unwrap();
    }
    std::fs::set_permissions(unpacked.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let result = Repository::new().await.backup(unpacked.source()).await;
    std::fs::set_permissions(unpacked.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(result.is_ok());
}
