//! Datahike databases, read from their stores while they are written to: `datahike:PATH`.

pub mod increment;
mod properties;
mod read;
mod sane;

pub use increment::{
    Difference, FactChange, FactState, FullReason, IncrementOptions, Increments, LeafTable, Next, ReadStats,
};
pub use properties::{Properties, database_id, redacted, state_properties};

use crate::datahike::{Head, Home, NodeCache, SchemaMeta, Secret, Store, WalkStats};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::Datom;

/// How to read a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// Key of an encrypted store.
    pub secret: Option<Secret>,
    /// Only these branches; all when empty.
    pub branches: Vec<String>,
    /// How often in a row a branch is read from its head on without getting further than before, when nodes vanish
    /// meanwhile.
    pub attempts: u32,
    /// Bytes of nodes that are kept for starting over.
    pub cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { secret: None, branches: Vec::new(), attempts: 5, cache_bytes: 16 << 20 }
    }
}

/// Which of a database's sets a datom is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is true now. Where the history has it, it comes once more, as [`Part::History`].
    Current,
    /// What is true now and in the history too, and comes once.
    CurrentAndHistory,
    /// What the history says was asserted or retracted.
    History,
}

/// What takes the datoms of a branch.
pub trait Sink {
    /// Datoms follow, of the database as this head says. What came before was of an older one and is void.
    fn start(&mut self, head: &Head) -> Result<()>;

    /// A datom.
    fn datom(&mut self, part: Part, datom: &Datom<'_>) -> Result<()>;
}

/// A branch that was read to its end.
#[derive(Debug)]
#[non_exhaustive]
pub struct BranchReading {
    /// What was read.
    pub head: Head,
    /// Its schema.
    pub schema: SchemaMeta,
    /// The walk through the current datoms.
    pub current: WalkStats,
    /// The walk through the temporal ones, where history is kept.
    pub temporal: WalkStats,
    /// How often reading began.
    pub attempts: u32,
    /// What a user should know: what, and how often.
    pub notes: Vec<(String, u64)>,
    /// Every node that was read, for the next increment.
    pub table: LeafTable,
    /// When all that the head is made of was written, where that is known, milliseconds since 1970.
    pub written_by: Option<i64>,
}

/// A database to be read.
pub struct Datahike {
    store: Store,
    options: Options,
}

impl Datahike {
    /// The database at a location.
    pub fn open(location: &str, options: Options) -> Result<Self> {
        let store = Store::open(location, options.secret.clone())?;
        Ok(Self { store, options })
    }

    /// The database in a store that is open.
    pub fn new(store: Store, options: Options) -> Self {
        Self { store, options }
    }

    /// Its store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How it is read.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The branches that are to be read, the main one first.
    pub fn branches(&self) -> Result<Vec<String>> {
        let all = self.store.branches()?;
        let wanted = &self.options.branches;
        if let Some(unknown) = wanted.iter().find(|branch| !all.contains(branch)) {
            let names: Vec<_> = all.iter().map(|branch| format!(":{branch}")).collect();
            let message = format!("the database has no such branch, only {}", names.join(", "));
            return Err(Error::new(ErrorKind::Usage, self.store.object(&format!("branch :{unknown}")), message));
        }
        Ok(all.into_iter().filter(|branch| wanted.is_empty() || wanted.contains(branch)).collect())
    }

    /// Reads a branch as it is at one moment, whatever is written or collected meanwhile: starting over where that took
    /// away what was still to be read, and failing when it did so too often.
    pub fn read(&self, branch: &str, sink: &mut dyn Sink) -> Result<BranchReading> {
        read::branch(&self.store, &self.options, branch, sink)
    }
}

/// Bytes read since the store was opened.
pub fn bytes_read(home: &dyn Home) -> u64 {
    home.traffic().bytes_read
}

fn cache(options: &Options) -> NodeCache {
    NodeCache::new(options.cache_bytes)
}
