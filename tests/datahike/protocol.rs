//! Stores that move, lose nodes or use addresses again while they are read: caught, never half a database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use packstone::datahike::{Address, Head, Home, Node, Stamp, Store, StoreKey, Traffic, home};
use packstone::record::datom::Datom;
use packstone::source::datahike::{Datahike, Options, Part, Sink};
use packstone::{ErrorKind, Result};

use crate::world::{Home as Repository, Unpacked};

type Action = Box<dyn FnOnce() + Send>;

/// A store that does things when the nth blob has been read.
struct Moving {
    inner: Arc<dyn Home>,
    /// Only reads of this blob count, where it is said.
    of: Option<StoreKey>,
    reads: AtomicU64,
    actions: Mutex<BTreeMap<u64, Action>>,
    /// Every look at a single stamp finds another one.
    restless: bool,
}

impl Moving {
    fn new(unpacked: &Unpacked, actions: impl IntoIterator<Item = (u64, Action)>) -> Self {
        Self {
            inner: home::open(&unpacked.location()).unwrap(),
            of: None,
            reads: AtomicU64::new(0),
            actions: Mutex::new(actions.into_iter().collect()),
            restless: false,
        }
    }

    fn read(self, unpacked: &Unpacked, attempts: u32) -> (Result<u32>, Collected) {
        read(Store::new(Arc::new(self), unpacked.secret()), attempts)
    }
}

impl Home for Moving {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn get(&self, key: StoreKey) -> Result<Option<Bytes>> {
        let blob = self.inner.get(key);
        if self.of.is_none_or(|of| of == key) {
            let n = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
            let action = self.actions.lock().unwrap().remove(&n);
            action.into_iter().for_each(|action| action());
        }
        blob
    }

    fn stamps(&self, keys: &[StoreKey]) -> Result<Vec<Option<Stamp>>> {
        static LOOKS: AtomicU64 = AtomicU64::new(0);
        match keys {
            [_] if self.restless => Ok(vec![Some(Stamp::of(&LOOKS.fetch_add(1, Ordering::SeqCst).to_be_bytes()))]),
            _ => self.inner.stamps(keys),
        }
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

/// Reads with `action` done when the nth blob has been read.
fn read_while(unpacked: &Unpacked, after: u64, action: impl FnOnce() + Send + 'static) -> (Result<u32>, Collected) {
    Moving::new(unpacked, [(after, Box::new(action) as Action)]).read(unpacked, 3)
}

/// As Datahike does it.
fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("ksv.new");
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(new, path).unwrap();
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
    let (result, collected) = read_while(&unpacked, 3, move || {
        replace(&head_file, &newest_bytes);
        gone.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    });
    assert_eq!(result.unwrap(), 2);
    assert_eq!((collected.starts, collected.max_tx), (2, newest.max_tx));
    assert!(collected.current == expected_newest.current);
}

#[test]
fn attempts_that_get_further_are_not_counted() {
    let unpacked = Unpacked::fixture("store-bf8");
    let head_file = file(&unpacked, StoreKey::keyword("db"));
    let newest = std::fs::read(&head_file).unwrap();
    let (middle, middle_head) = unpacked.older_head("db");
    std::fs::write(&head_file, &middle).unwrap();
    let (oldest, oldest_head) = unpacked.older_head("db");
    let schema = oldest_head.schema_key.unwrap();
    let root_of = |head: &Head| file(&unpacked, StoreKey::address(&head.eavt.address.unwrap()));
    let (gone_first, gone_next) = (root_of(&oldest_head), root_of(&middle_head));
    let contents = [&gone_first, &gone_next].map(|path| std::fs::read(path).unwrap());
    for (attempts, succeeds) in [(1, false), (2, true)] {
        std::fs::write(&head_file, &oldest).unwrap();
        std::fs::write(&gone_first, &contents[0]).unwrap();
        std::fs::write(&gone_next, &contents[1]).unwrap();
        // Each attempt reads the schema once and the current datoms last; of those that were, each head has more.
        let moves = |to: &[u8], gone: &Path| {
            let (head_file, to, gone) = (head_file.clone(), to.to_vec(), gone.to_owned());
            Box::new(move || {
                replace(&head_file, &to);
                std::fs::remove_file(gone).unwrap();
            }) as Action
        };
        let actions = [(1, moves(&middle, &gone_first)), (2, moves(&newest, &gone_next))];
        let moving = Moving { of: Some(StoreKey::address(&schema)), ..Moving::new(&unpacked, actions) };
        let (result, collected) = moving.read(&unpacked, attempts);
        if succeeds {
            assert_eq!((result.unwrap(), collected.current.len()), (3, 515));
        } else {
            let error = result.unwrap_err();
            assert!(error.to_string().contains("gave up after 1 attempts"), "{error}");
        }
    }
}

#[test]
fn an_address_used_again_within_the_millisecond_of_its_head_is_noticed() {
    let unpacked = Unpacked::fixture("store-bf8");
    let store = unpacked.store();
    let (_, expected) = read(store.clone(), 1);
    let newest = store.head("db").unwrap();
    let (older_bytes, older) = unpacked.older_head("db");
    let of_newest = addresses(&store, newest.eavt.address.unwrap());
    let of_older = addresses(&store, older.eavt.address.unwrap());
    let leaf = of_older.into_iter().find(|address| !of_newest.contains(address)).unwrap();
    let key = StoreKey::address(&leaf);
    // Another datom, and as old as the head: both heads are under the same metadata.
    let written = |time: i64| time.to_be_bytes()[3..].to_vec();
    let old_time = written(store.blob(key).unwrap().unwrap().last_write.unwrap());
    let mut again = std::fs::read(file(&unpacked, key)).unwrap();
    for (old, new) in [(old_time.as_slice(), written(newest.last_write.unwrap()).as_slice()), (b"e0-2", b"e0-9")] {
        let at = again.windows(old.len()).position(|window| window == old).unwrap();
        again[at..at + old.len()].copy_from_slice(new);
    }
    let head_file = file(&unpacked, StoreKey::keyword("db"));
    let newest_bytes = std::fs::read(&head_file).unwrap();
    let before = std::fs::read(file(&unpacked, key)).unwrap();
    // The second time no head ever stands still, and all this happens when it has been looked at for the last time.
    for (restless, after) in [(false, 1), (true, 21)] {
        std::fs::write(&head_file, &older_bytes).unwrap();
        std::fs::write(file(&unpacked, key), &before).unwrap();
        let (head_file, leaf_file) = (head_file.clone(), file(&unpacked, key));
        let (newest_bytes, again) = (newest_bytes.clone(), again.clone());
        let action = Box::new(move || {
            replace(&head_file, &newest_bytes);
            replace(&leaf_file, &again);
        }) as Action;
        let moving = Moving { restless, ..Moving::new(&unpacked, [(after, action)]) };
        let (result, collected) = moving.read(&unpacked, 3);
        assert_eq!(result.unwrap(), if restless { 2 } else { 1 });
        assert_eq!(collected.max_tx, newest.max_tx);
        assert!(collected.current == expected.current);
    }
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
    assert!(error.to_string().contains("of eavt: datoms that belong before the node before it"), "{error}");
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
