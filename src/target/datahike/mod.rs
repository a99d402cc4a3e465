//! Datoms to a store of Datahike that it opens: all indices, schema, commit record and head of every branch.
//!
//! Each index is sorted on disk and built from the leaves up, so that memory is limited whatever the store's size. What
//! makes the store a database, the heads and the list of branches, is written last: a store that was left halfway holds
//! none, and may be written again.

mod blobs;
mod branch;
mod config;
mod edit;
mod extent;
mod migration;
mod nodes;
mod row;
mod schema;
mod tree;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::datahike::encode_head::{self, Lifetime};
use crate::datahike::{Home, MAIN_BRANCH, StoreKey};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::Value;
use crate::record::datom::fressian::Writer;

pub use branch::{BranchWriter, Membership};
pub use edit::{
    BranchEdit, Committed, DatomChange, Editor, FactPlaces, Places, Rewrite, of_databases, reachable, unneeded,
};
pub use migration::{Migration, Phase};
pub use schema::{Schema, SchemaBuilder};

use blobs::Blobs;

/// How a store is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether addresses are hashes of the nodes; by default what the configuration of the database says.
    pub crypto_hash: Option<bool>,
    /// Children of a node, at most.
    pub branching_factor: usize,
    /// Anonymous memory that sorting may take, roughly.
    pub memory_bytes: usize,
    /// Where sorted runs are spilled; the system's temporary folder by default.
    pub temporary: Option<PathBuf>,
    /// When the store is written, in milliseconds since 1970; now by default.
    pub now: i64,
    /// A database that the store holds is replaced: its heads, when all else is written.
    pub replace: bool,
    /// Asked before that.
    pub guard: Option<Guard>,
}

/// Asked right before heads are written; an error leaves those that are there.
#[derive(Clone)]
pub struct Guard(Arc<dyn Fn() -> Result<()> + Send + Sync>);

impl Guard {
    /// Asks `check`.
    pub fn new(check: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    fn ask(guard: Option<&Self>) -> Result<()> {
        guard.map_or(Ok(()), |guard| guard.0())
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

impl Default for Options {
    fn default() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            crypto_hash: None,
            branching_factor: crate::datahike::encode_node::BRANCHING_FACTOR,
            memory_bytes: 64 << 20,
            temporary: None,
            now: i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX),
            replace: false,
            guard: None,
        }
    }
}

/// What is known of a branch besides its datoms.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// Its name, without the colon.
    pub branch: String,
    /// Whether the database keeps history.
    pub keep_history: bool,
    /// Properties of the snapshot: `config` and `meta` as EDN, `max-t`, `max-eid`.
    pub properties: BTreeMap<String, String>,
    /// What tells the database from others, where it is known.
    pub identity: Identity,
}

/// What tells a database from others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity {
    /// Id of its store.
    pub storage: Option<[u8; 16]>,
    /// Id of the database.
    pub database: Option<[u8; 16]>,
}

/// What was written.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Written {
    /// Datoms of the history, or current ones where none is kept, each once however many indices hold it.
    pub datoms: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// What the store holds otherwise than it was: what, and how often.
    pub notes: BTreeMap<String, u64>,
}

/// A store that is being written.
pub struct Target {
    home: Arc<dyn Home>,
    location: String,
    options: Options,
    blobs: Blobs,
    heads: Vec<Head>,
    /// Schemas that are written: branches often have the same.
    schemas: HashSet<[u8; 16]>,
    written: Written,
}

/// A branch whose nodes are written.
struct Head {
    branch: String,
    commit: [u8; 16],
    record: Vec<u8>,
}

impl Target {
    /// A store in `home`, which must not hold a database unless that is to be replaced. `location` is where that is, as the
    /// database will be told.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when there is a database that is not to be replaced, [`ErrorKind::Usage`] when nodes
    /// would have fewer than 4 children.
    pub fn create(home: Arc<dyn Home>, location: &str, options: Options) -> Result<Self> {
        if !options.replace && home.get(StoreKey::keyword(MAIN_BRANCH))?.is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, home.name(), "holds a Datahike database already"));
        }
        if options.branching_factor < 4 {
            return Err(Error::new(ErrorKind::Usage, home.name(), "nodes have at least 4 children"));
        }
        let blobs = Blobs::new(Arc::clone(&home), options.now);
        Ok(Self {
            home,
            location: location.to_owned(),
            options,
            blobs,
            heads: Vec::new(),
            schemas: HashSet::new(),
            written: Written::default(),
        })
    }

    /// Begins a branch; the one before must be finished.
    pub fn branch(&mut self, description: Description) -> BranchWriter<'_> {
        BranchWriter::new(self, description)
    }

    /// Writes the heads and the list of branches: from then on the store is a database.
    pub fn finish(mut self) -> Result<Written> {
        let name = self.home.name();
        let refused = |why| Error::new(ErrorKind::Data, name.clone(), "branches").because(why);
        write_heads(&mut self.blobs, &name, self.heads.as_mut_slice(), self.options.now, self.options.guard.as_ref())?;
        let names = self.heads.iter().map(|head| Value::Keyword(head.branch.clone().into())).collect();
        let mut writer = Writer::new();
        writer.value(&Value::Set(names)).map_err(refused)?;
        let key = Value::Keyword("branches".into());
        let plain = crate::datahike::Compression::None;
        let blob = encode_head::blob(&key, Lifetime::Mutable, &writer.finish(), self.options.now, plain);
        self.blobs.put(blob.map_err(|e| Error::damaged(name.clone(), e))?)?;
        self.blobs.flush()?;
        let (blobs, bytes) = self.blobs.finish()?;
        Ok(Written { blobs, bytes, ..self.written })
    }
}

/// Writes commits and heads when everything before is durable: a commit stands before the head that names it, and the
/// main branch behind the others.
fn write_heads(blobs: &mut Blobs, name: &str, heads: &mut [Head], now: i64, guard: Option<&Guard>) -> Result<()> {
    let refused = |why| Error::new(ErrorKind::Data, name, "head").because(why);
    let plain = crate::datahike::Compression::None;
    blobs.flush()?;
    for head in &*heads {
        let key = Value::Uuid(head.commit);
        blobs.put(encode_head::blob(&key, Lifetime::Immutable, &head.record, now, plain).map_err(refused)?)?;
    }
    blobs.flush()?;
    heads.sort_by_key(|head| head.branch == MAIN_BRANCH);
    for head in &*heads {
        Guard::ask(guard)?;
        let key = Value::Keyword(head.branch.clone().into());
        blobs.put(encode_head::blob(&key, Lifetime::Mutable, &head.record, now, plain).map_err(refused)?)?;
        blobs.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
