//! Auditing a whole repository.
//!
//! Snapshots are listed before the index, and the index before the packs: so whatever a snapshot needs is in sight even
//! while backups go on.

mod ledger;
mod listing;
mod objects;
mod packs;
mod sample;
mod sync;
mod trees;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

pub use ledger::{CheckRound, check_rounds};

use crate::error::{Error, ErrorKind, Result};
use crate::format::{Outcome, Snapshot};
use crate::id::{BlobId, PackId, SnapshotId};
use crate::ops::Shard;
use crate::progress::{Event, Observer};
use crate::repository::{Reader, Repository, machine};

/// How much of the packs is read, beyond their directories.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ReadData {
    /// Nothing: structure only.
    #[default]
    None,
    /// All of it.
    All,
    /// The n-th of t parts, counted from 1; which pack belongs to which part depends on its id alone.
    Part {
        /// Which part.
        n: u64,
        /// Of how many.
        of: u64,
    },
    /// Packs chosen at random, this share of their number (0 to 100).
    Percent(f64),
    /// Packs chosen at random, about this many bytes.
    Bytes(u64),
}

/// How to check.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// How much of the packs is read.
    pub read_data: ReadData,
    /// Only one of several parts, each pack in exactly one. The first also does what cannot be divided: small objects and
    /// the trees of snapshots. What was found is noted in the repository's ledger.
    pub shard: Option<Shard>,
    /// What the parts that belong together call this round, where several could be meant; usually empty.
    pub round: String,
}

/// Something that is wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The object, e.g. `packs/3f/3fa1...`, or the blob.
    pub object: String,
    /// What is wrong with it.
    pub message: String,
    /// Whether data is lost, as opposed to waste or an interrupted operation.
    pub is_damage: bool,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Everything that is wrong, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// Snapshots of which something is missing or damaged, with the number of blobs harmed.
    pub harmed: Vec<(SnapshotId, u64)>,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Chains of sync segments that no snapshot contains yet.
    pub chains: u64,
    /// Segments of those.
    pub segments: u64,
    /// Packs looked at.
    pub packs: u64,
    /// Blobs reached from snapshots.
    pub blobs: u64,
    /// Bytes of packs read whole.
    pub bytes_read: u64,
    /// Packs read whole.
    pub packs_read: u64,
    /// Packs in a class that cannot be read before they have been asked for: of those only place and length were checked.
    pub packs_cold: u64,
    /// The index must be rebuilt: `repair index` does.
    pub suggest_repair_index: bool,
    /// There are packs that nothing needs: `prune` frees them.
    pub suggest_prune: bool,
    /// Of a part: how far all of them are.
    pub round: Option<CheckRound>,
}

impl CheckReport {
    /// Whether no data is lost.
    pub fn is_sound(&self) -> bool {
        !self.findings.iter().any(|finding| finding.is_damage)
    }
}

/// Audits every object: structure always, content as far as the options say.
///
/// What is wrong is reported; an error means that the check itself could not be done.
pub async fn check(repository: &Repository, options: CheckOptions, observer: Arc<dyn Observer>) -> Result<CheckReport> {
    let repository = repository.clone();
    super::blocking(move || {
        sample::validate(options.read_data)?;
        let mut check = Check {
            reader: repository.reader_of_backend(),
            observer: &*observer,
            report: CheckReport::default(),
            condemned: HashSet::new(),
            snapshots: Vec::new(),
            indexed: BTreeMap::new(),
            stored: HashMap::new(),
            damaged: HashSet::new(),
            shard: options.shard,
            walked: false,
        };
        let started_ms = machine::now_ms();
        check.run(options.read_data)?;
        if let Some(shard) = options.shard {
            check.enter_into_ledger(shard, &options.round, started_ms)?;
        }
        Ok(check.report)
    })
    .await
}

/// A check under way.
struct Check<'a> {
    reader: Reader,
    observer: &'a dyn Observer,
    report: CheckReport,
    /// Packs that gc records condemn.
    condemned: HashSet<PackId>,
    /// The live ones.
    snapshots: Vec<Snapshot>,
    /// Packs that index objects list, with the lengths they state.
    indexed: BTreeMap<PackId, u64>,
    /// Packs that the backend lists, with their lengths.
    stored: HashMap<PackId, u64>,
    /// Blobs that are missing or damaged, or whose base is.
    damaged: HashSet<BlobId>,
    /// Which part is done here, if not all.
    shard: Option<Shard>,
    /// Whether the trees of snapshots were walked.
    walked: bool,
}

impl Check<'_> {
    fn run(&mut self, read_data: ReadData) -> Result<()> {
        self.observer.event(Event::Stage { name: "checking objects", total: None });
        if self.does_the_rest() {
            self.config()?;
            self.key_slots()?;
            self.sessions()?;
            self.ledger()?;
        }
        self.snapshots()?;
        if self.does_the_rest() {
            self.chains()?;
        }
        self.gc_records()?;
        self.load_index()?;
        self.list_objects()?;
        self.packs(read_data)?;
        // Damage also harms deltas of what is damaged, which only a walk finds.
        if self.does_the_rest() || !self.damaged.is_empty() {
            self.trees()?;
            self.walked = true;
        }
        // Packs that seem to be waste may be those that a broken index does not list.
        self.report.suggest_prune &= !self.report.suggest_repair_index;
        self.attribute()
    }

    /// Whether what cannot be divided is done here.
    fn does_the_rest(&self) -> bool {
        self.shard.is_none_or(Shard::is_first)
    }

    fn repository(&self) -> &Repository {
        self.reader.repository()
    }

    /// Something wrong that costs data.
    fn damage(&mut self, object: impl ToString, message: impl ToString) {
        let (object, message) = (object.to_string(), message.to_string());
        self.observer.event(Event::Problem { object: &object, message: &message });
        self.report.findings.push(Finding { object, message, is_damage: true });
    }

    /// Something worth knowing that costs nothing but perhaps space.
    fn note(&mut self, object: impl ToString, message: impl ToString) {
        let (object, message) = (object.to_string(), message.to_string());
        self.observer.event(Event::Note(&format!("{object}: {message}")));
        self.report.findings.push(Finding { object, message, is_damage: false });
    }

    /// Damage to what `error` is about, unless the error only says that the check cannot go on.
    fn damage_or_stop(&mut self, error: Error) -> Result<()> {
        if is_about_data(&error) {
            self.damage(error.object(), error.message());
            Ok(())
        } else {
            Err(error)
        }
    }

    /// Whether the snapshot has been forgotten since the check began, so that what it needs may be gone by right.
    fn is_forgotten(&self, id: SnapshotId) -> Result<bool> {
        match self.repository().outcome(id) {
            Ok(Some(Outcome::Committed(_))) => Ok(false),
            Ok(Some(Outcome::Forgotten { .. })) => Ok(true),
            // The base of a chain that is gone: a snapshot contains it now.
            Ok(Some(Outcome::Fenced { .. }) | None) => Ok(self.repository().find_chain(id)?.is_none()),
            Err(error) if is_about_data(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether an error is about what is stored, rather than about reaching it. A disk that cannot read a sector is damage.
fn is_about_data(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotFound | ErrorKind::Failed | ErrorKind::Foreign)
}
