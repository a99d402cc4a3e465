//! States that no snapshot holds yet: what a chain adds to its base, read without writing anything.

use super::chain::{Content, Fate, fate, is_gone, read};
use super::fold::apply;
use crate::error::{Error, Result};
use crate::format::{Outcome, Snapshot};
use crate::id::SnapshotId;
use crate::ops::edit::Sink;
use crate::repository::{Chain, Repository};

/// A state of a followed database that is durable, but in no snapshot yet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unfolded {
    /// What it would be as a snapshot: its id, that of the session that follows the database, restores it. Its roots are those
    /// of the snapshot that it adds to.
    pub snapshot: Snapshot,
    /// The greatest transaction id.
    pub t: i64,
    /// Transactions that it adds.
    pub transactions: u64,
    /// Datoms that it adds to the trees.
    pub put: u64,
    /// Datoms that it takes from them.
    pub removed: u64,
    /// Segments that it consists of.
    pub segments: u64,
}

/// The states that no snapshot holds yet, as far as whole transactions go. Reads two objects of each, or some more where the
/// last transaction is not whole. Blocks.
///
/// # Errors
/// [`crate::ErrorKind::Damaged`] where one of them cannot be read.
pub fn unfolded(repository: &Repository) -> Result<Vec<Unfolded>> {
    let (found, damaged) = unfolded_or_damaged(repository)?;
    damaged.into_iter().next().map_or(Ok(found), Err)
}

/// The same with what is wrong with those that cannot be read: the others are of use all the same.
pub fn unfolded_or_damaged(repository: &Repository) -> Result<(Vec<Unfolded>, Vec<Error>)> {
    let (mut found, mut damaged) = (Vec::new(), Vec::new());
    let chains = repository.chains()?;
    if chains.is_empty() {
        return Ok((found, damaged));
    }
    let snapshots = repository.snapshots()?;
    for chain in chains.into_iter().filter(Chain::is_open) {
        if fate(repository, &chain, &snapshots.live())? == Fate::Contained {
            continue;
        }
        match look(repository, &chain) {
            Ok(unfolded) => found.extend(unfolded),
            Err(error) if is_gone(&error) => damaged.push(error),
            Err(error) => return Err(error),
        }
    }
    found.sort_by_key(|unfolded| (unfolded.snapshot.time_ms, unfolded.snapshot.id));
    Ok((found, damaged))
}

/// What a chain holds; nothing where no transaction in it is whole, or where it is being removed.
fn look(repository: &Repository, chain: &Chain) -> Result<Option<Unfolded>> {
    let (Some((opening, _)), Some(last)) = (repository.read_opening(chain)?, repository.read_last_whole(chain)?) else {
        return Ok(None);
    };
    let mut snapshot = opening.base;
    snapshot.parent = Some(snapshot.id);
    snapshot.id = chain.session;
    snapshot.time_ms = snapshot.time_ms.max(last.time_ms);
    for source in &mut snapshot.sources {
        source.consistency_point.clone_from(&last.consistency_point);
    }
    let segments = last.n;
    let (t, transactions, put, removed) = (last.t, last.transactions, last.put, last.removed);
    Ok(Some(Unfolded { snapshot, t, transactions, put, removed, segments }))
}

/// The state of a session's chain as a snapshot whose trees only readers of this open repository find; none without a chain.
/// The index must be loaded afterwards.
pub(in crate::ops) fn materialise(repository: &Repository, session: SnapshotId) -> Result<Option<Snapshot>> {
    let Some(chain) = repository.find_chain(session)? else { return Ok(None) };
    match overlaid(repository, &chain) {
        Err(error) if is_gone(&error) => {
            // Its owner may have folded it while it was read.
            folded(repository, session)?.map_or(Err(error), |snapshot| Ok(Some(snapshot)))
        }
        Ok(None) => folded(repository, session),
        result => result,
    }
}

fn overlaid(repository: &Repository, chain: &Chain) -> Result<Option<Snapshot>> {
    let Some(Content { opening, net }) = read(repository, chain)? else { return Ok(None) };
    if net.is_empty() {
        return Ok(None);
    }
    let base = opening.base;
    let mut writer = repository.overlay_writer();
    let roots = apply(&repository.reader(), &mut Sink::Memory(&mut writer), &base.roots, &net)?;
    let mut snapshot = net.snapshot(&base, roots);
    snapshot.id = chain.session;
    Ok(Some(snapshot))
}

/// The live snapshot that contains the chain of a session.
fn folded(repository: &Repository, session: SnapshotId) -> Result<Option<Snapshot>> {
    if let Some(Outcome::Committed(snapshot)) = repository.outcome(session)? {
        return Ok(Some(snapshot));
    }
    let live = repository.snapshots()?.into_live()?;
    Ok(live.into_iter().find(|snapshot| Chain::contained_in(snapshot) == Some(session)))
}
