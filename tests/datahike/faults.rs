//! A home in which something happens at a write.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use packstone::datahike::home::{self, FileHome};
use packstone::datahike::{Home, Stamp, StoreKey, Traffic};
use packstone::target::datahike::Migration;
use packstone::{Error, ErrorKind, Result};

/// What happens at a write.
#[derive(Clone, Copy)]
pub enum Fault {
    /// The machine is gone: half of the write arrives, and nothing after it.
    Gone,
    /// Another run has the store from then on, so no head may be written and nothing removed.
    TakenAway,
}

/// A file store in which a fault happens at the write after so many.
pub struct Faulty {
    path: PathBuf,
    home: FileHome,
    fault: Fault,
    writes: AtomicI64,
}

impl Faulty {
    /// The store at a path, which is made where there is none.
    pub fn new(path: &Path, fault: Fault, writes: i64) -> Self {
        let path = path.to_owned();
        let home = FileHome::create(path.clone()).or_else(|_| FileHome::open(path.clone())).unwrap();
        Self { path, home, fault, writes: AtomicI64::new(writes) }
    }

    /// Counts a write; how many were left before it.
    fn count(&self) -> i64 {
        self.writes.fetch_sub(1, Ordering::SeqCst)
    }
}

impl Home for Faulty {
    fn name(&self) -> String {
        self.home.name()
    }

    fn get(&self, key: StoreKey) -> Result<Option<Bytes>> {
        self.home.get(key)
    }

    fn stamps(&self, keys: &[StoreKey]) -> Result<Vec<Option<Stamp>>> {
        self.home.stamps(keys)
    }

    fn put_many(&self, blobs: Vec<(StoreKey, Bytes)>) -> Result<()> {
        match (self.fault, self.count()) {
            (Fault::Gone, 0) => self.home.put_many(blobs[..blobs.len() / 2].to_vec()).and(Err(gone())),
            (Fault::Gone, ..0) => Err(gone()),
            (Fault::TakenAway, ..0) => {
                let head = StoreKey::keyword("db");
                assert!(blobs.iter().all(|(key, _)| *key != head), "a head is written over that of another run");
                self.home.put_many(blobs)
            }
            (Fault::TakenAway, 0) => {
                self.home.put_many(blobs)?;
                take_away(&self.path);
                Ok(())
            }
            (_, 1..) => self.home.put_many(blobs),
        }
    }

    fn remove_many(&self, keys: &[StoreKey]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        match (self.fault, self.count()) {
            (Fault::Gone, ..=0) => Err(gone()),
            (Fault::TakenAway, ..0) => panic!("what another run may need is removed"),
            (Fault::TakenAway, 0) => {
                self.home.remove_many(keys)?;
                take_away(&self.path);
                Ok(())
            }
            (_, 1..) => self.home.remove_many(keys),
        }
    }

    fn list(&self) -> Result<Vec<StoreKey>> {
        self.home.list()
    }

    fn traffic(&self) -> Traffic {
        self.home.traffic()
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Interrupted, "store", "the machine is gone")
}

/// Says that another run writes to the target.
pub fn take_away(target: &Path) {
    let home = home::open(target.to_str().unwrap()).unwrap();
    let migration = Migration::read(&home).unwrap().unwrap();
    let taken = Migration { run: Some("elsewhere boot 1 1".to_owned()), ..migration };
    taken.write(&*home).unwrap();
}
