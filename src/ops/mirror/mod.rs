//! Mirrors: the same sealed objects in several places.
//!
//! The place that a repository was made in, its *primary*, decides; a mirror only ever receives. [`mirror_sync`] brings
//! one up to date in an order in which every moment is a sound, maybe older, repository: key slots and lists, packs, index
//! objects, gc records, snapshots and tombstones; then it removes what the primary has removed, in the reverse order. What is
//! missing is found by listing both sides, so a run that was cut short needs no journal to go on.
//!
//! Nothing is removed from a mirror because the primary merely does not list it: a pack must be condemned, an index object
//! replaced by others that the mirror has, a snapshot overwritten by its tombstone first.

mod bring_up;
mod heal;
mod listing;
mod placements;
mod plan;
mod status;
mod survey;
mod transfer;

use std::sync::Arc;

use crate::backend::{Backend, Mirror};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{MirrorList, MirrorMode, Placement};
use crate::progress::Observer;
use crate::repository::Repository;

pub use heal::Healed;
pub use status::MirrorStatus;

/// What to bring up to date, and how.
#[derive(Clone, Debug, Default)]
pub struct MirrorSyncOptions {
    /// These mirrors; all when empty.
    pub names: Vec<String>,
    /// Only mirrors of this mode.
    pub mode: Option<MirrorMode>,
    /// Count what is missing, copy and remove nothing.
    pub dry_run: bool,
    /// Read every pack of both sides, and replace what is not as it should be.
    pub read_data: bool,
    /// Also remove what the primary does not know and no gc record explains.
    pub delete_extra: bool,
}

/// What became of one mirror.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MirrorSyncReport {
    /// Its name.
    pub name: String,
    /// Packs copied to it.
    pub packs_copied: u64,
    /// Bytes of all objects copied to it.
    pub bytes_copied: u64,
    /// Index objects, gc records, key slots and lists copied to it.
    pub objects_copied: u64,
    /// Snapshots copied to it.
    pub snapshots_copied: u64,
    /// Snapshots that were overwritten by their tombstones.
    pub snapshots_forgotten: u64,
    /// Objects removed from it.
    pub removed: u64,
    /// Bytes of them.
    pub bytes_removed: u64,
    /// Packs that the mirror gave back to the primary.
    pub healed: u64,
    /// Packs in it that the primary does not know and no gc record explains; they were left alone.
    pub extra_packs: u64,
    /// Live snapshots in it that the primary does not know: nothing was removed.
    pub extra_snapshots: u64,
    /// Objects that no place holds as they should be, and why.
    pub damaged: Vec<(String, String)>,
    /// Why it is not up to date.
    pub error: Option<Error>,
}

/// A place that becomes a mirror.
pub struct NewMirror {
    /// How the list says it.
    pub placement: Placement,
    /// How the list says the primary, if there is no list yet.
    pub primary: Placement,
    /// The place.
    pub backend: Arc<dyn Backend>,
}

/// The newest list of placements.
pub async fn mirror_list(repository: &Repository) -> Result<Option<MirrorList>> {
    let repository = repository.clone();
    super::blocking(move || Ok(repository.mirrors()?.list)).await
}

/// Makes a place a mirror: it is entered into the list, then given a mark, the key slots and `config`. The rest is for
/// [`mirror_sync`]. A call that was cut short may be repeated.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when another repository is there, or one that has gone its own way.
pub async fn mirror_add(repository: &Repository, new: NewMirror) -> Result<MirrorList> {
    let repository = repository.clone();
    super::blocking(move || placements::add(&repository, &new)).await
}

/// Takes a mirror from the list. Its objects stay where they are.
pub async fn mirror_remove(repository: &Repository, name: String) -> Result<MirrorList> {
    let repository = repository.clone();
    super::blocking(move || placements::remove(&repository, &name)).await
}

/// Makes the mirror that was opened a primary: from now on it decides. The old primary must not be written any more; it can
/// become a mirror of this one.
pub async fn mirror_promote(repository: &Repository) -> Result<MirrorList> {
    let repository = repository.clone();
    super::blocking(move || placements::promote(&repository)).await
}

/// How far behind mirrors are: of these names, or all. Lists both sides and changes nothing.
pub async fn mirror_status(
    repository: &Repository,
    names: Vec<String>,
    observer: Arc<dyn Observer>,
) -> Result<Vec<MirrorStatus>> {
    let repository = repository.clone();
    super::blocking(move || status::status(&repository.with_own_index()?, &names, &*observer)).await
}

/// Brings mirrors up to date, one after another; one that fails does not stop the others.
///
/// # Errors
/// When the primary fails, or is itself a mirror. What is wrong with one mirror is in its report.
pub async fn mirror_sync(
    repository: &Repository,
    options: MirrorSyncOptions,
    observer: Arc<dyn Observer>,
) -> Result<Vec<MirrorSyncReport>> {
    let repository = repository.clone();
    super::blocking(move || bring_up::sync(&repository.with_own_index()?, &options, &*observer)).await
}

/// Mends what reading has found missing or damaged in the opened place, from its mirrors.
pub async fn mirror_heal(repository: &Repository) -> Result<Vec<Healed>> {
    let repository = repository.clone();
    super::blocking(move || heal::heal(&repository)).await
}

/// The mirrors of these names, or all.
fn chosen(repository: &Repository, names: &[String]) -> Result<Vec<Mirror>> {
    let mirrors = repository.mirrored()?.mirrors();
    if let Some(name) = names.iter().find(|name| !mirrors.iter().any(|mirror| mirror.name == **name)) {
        return Err(Error::new(ErrorKind::NotFound, format!("mirror {name}"), "there is none of this name"));
    }
    Ok(mirrors.into_iter().filter(|mirror| names.is_empty() || names.contains(&mirror.name)).collect())
}

/// A mirror is brought up to date from the primary, never from another mirror.
fn refuse_on_mirror(repository: &Repository) -> Result<()> {
    match repository.mirrors()?.mark {
        Some(mark) => {
            let message = format!("is the mirror {}: this is for the primary to do", mark.name);
            Err(Error::new(ErrorKind::Usage, repository.location(), message))
        }
        None => Ok(()),
    }
}
