//! The list of placements: adding to it, removing from it, and making a mirror the primary.

use super::listing::Listing;
use super::{NewMirror, refuse_on_mirror};
use crate::backend::PutNew;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{MirrorList, MirrorMark, MirrorMode, ObjectPath, Outcome, Placement, Sealed};
use crate::id::SnapshotId;
use crate::repository::{Repository, Store, machine, random};

/// How often a list is made again when another one was written meanwhile.
const ATTEMPTS: usize = 5;

pub(super) fn add(repository: &Repository, new: &NewMirror) -> Result<MirrorList> {
    let mirrored = repository.mirrored()?;
    mirrored.insist()?;
    refuse_on_mirror(repository)?;
    let name = &new.placement.name;
    if !Placement::is_name(name) {
        let message = "a name is 1 to 32 of the characters a-z, 0-9 and -";
        return Err(Error::new(ErrorKind::Usage, format!("mirror {name}"), message));
    }
    let primary = repository.place(mirrored.first().clone());
    let place = repository.place(new.backend.clone());
    expect_fit(repository, &primary, &place, name)?;
    let list = change(repository, |list| {
        let placements = match list {
            Some(list) => &mut list.placements,
            None => return Ok(vec![new.primary.clone(), new.placement.clone()]),
        };
        match placements.iter().position(|known| known.name == *name) {
            // The same again: a call that was cut short.
            Some(0) => Err(Error::new(ErrorKind::AlreadyExists, format!("mirror {name}"), "is the primary's name")),
            Some(i) if placements[i].address != new.placement.address => {
                let message = format!("is at {}", placements[i].address);
                Err(Error::new(ErrorKind::AlreadyExists, format!("mirror {name}"), message))
            }
            Some(i) => {
                placements[i] = new.placement.clone();
                Ok(placements.clone())
            }
            None => {
                placements.push(new.placement.clone());
                Ok(placements.clone())
            }
        }
    })?;
    prepare(repository, &primary, &place, name)?;
    Ok(list)
}

/// The mark and the lists first, `config` last: whoever opens the place finds that it is a mirror.
fn prepare(repository: &Repository, primary: &Store, place: &Store, name: &str) -> Result<()> {
    let mark = MirrorMark { name: name.to_owned(), time_ms: machine::now_ms() };
    place.replace(&ObjectPath::mirror_mark(), mark.seal(repository.keys(), &random()))?;
    for folder in ["mirrors/", "keys/"] {
        for (path, _) in primary.list(folder)? {
            if path != ObjectPath::mirror_mark()
                && let Some(bytes) = primary.find(&path)?
            {
                place.put(&path, Sealed::from_stored(bytes))?;
            }
        }
    }
    let config = Sealed::from_stored(primary.get(&ObjectPath::config(), None)?);
    match place.put_new(&ObjectPath::config(), config)? {
        PutNew::Created => Ok(()),
        PutNew::Exists => Err(Error::new(ErrorKind::AlreadyExists, place.location(), "another repository is there")),
    }
}

/// Refuses a place that holds anything else than this repository as it was at some time.
fn expect_fit(repository: &Repository, primary: &Store, place: &Store, name: &str) -> Result<()> {
    let refuse = |message: String| Err(Error::new(ErrorKind::AlreadyExists, place.location(), message));
    let config = ObjectPath::config();
    let marked = match place.find(&ObjectPath::mirror_mark())? {
        None => false,
        Some(object) => match MirrorMark::open(repository.keys(), &object) {
            Ok(mark) if mark.name == name => true,
            Ok(mark) => return refuse(format!("is already the mirror {}", mark.name)),
            Err(_) => return refuse("is a mirror of another repository".to_owned()),
        },
    };
    match place.find(&config)? {
        Some(found) if found != primary.get(&config, None)? => return refuse("another repository is there".to_owned()),
        None if !marked && !place.list("")?.is_empty() => return refuse("other objects are there".to_owned()),
        None => return Ok(()),
        Some(_) if marked => return Ok(()),
        Some(_) => {}
    }
    // A copy that somebody made by other means, or a former primary.
    if primary.stat(&ObjectPath::mirror_mark())?.is_none() && is_same_place(primary, place)? {
        return refuse("is the primary itself".to_owned());
    }
    if !place.list("sessions/")?.is_empty() {
        return refuse("a copy of this repository with open sessions is there".to_owned());
    }
    let (ours, theirs) = (Listing::of(primary)?, Listing::of(place)?);
    if let Some(path) = theirs.snapshots.keys().find(|path| !ours.snapshots.contains_key(*path)) {
        return refuse(format!("a copy of this repository is there that went its own way: it has {path}"));
    }
    for path in theirs.gc.keys() {
        if primary.find(path)? != place.find(path)? {
            return refuse(format!("a copy of this repository is there that went its own way: its {path} differs"));
        }
    }
    Ok(())
}

/// Whether what is written to one shows in the other.
fn is_same_place(one: &Store, other: &Store) -> Result<bool> {
    let path = ObjectPath::session(SnapshotId::new(random()), 0);
    one.put(&path, Sealed::from_stored(bytes::Bytes::copy_from_slice(&random::<32>())))?;
    let found = other.stat(&path).map(|found| found.is_some());
    one.delete(&path)?;
    found
}

pub(super) fn remove(repository: &Repository, name: &str) -> Result<MirrorList> {
    refuse_on_mirror(repository)?;
    change(repository, |list| {
        let missing = || Error::new(ErrorKind::NotFound, format!("mirror {name}"), "there is none of this name");
        let placements = &mut list.as_mut().ok_or_else(missing)?.placements;
        let at = placements.iter().skip(1).position(|known| known.name == name).ok_or_else(missing)?;
        placements.remove(at + 1);
        Ok(placements.clone())
    })
}

/// Writes the next list, made from the newest.
fn change(
    repository: &Repository,
    make: impl Fn(&mut Option<MirrorList>) -> Result<Vec<Placement>>,
) -> Result<MirrorList> {
    for _ in 0..ATTEMPTS {
        let mut newest = repository.mirrors()?.list;
        let n = newest.as_ref().map_or(0, |list| list.n) + 1;
        let placements = make(&mut newest)?;
        let list = MirrorList { n, time_ms: machine::now_ms(), placements, nonce: random() };
        if repository.put_mirror_list(&list)? {
            return Ok(list);
        }
    }
    Err(Error::new(ErrorKind::Busy, "mirrors", "others change the list of placements at the same time"))
}

pub(super) fn promote(repository: &Repository) -> Result<MirrorList> {
    let mirrors = repository.mirrors()?;
    let (Some(list), Some(mark)) = (mirrors.list, mirrors.mark) else {
        return Err(Error::new(ErrorKind::Usage, repository.location(), "is no mirror"));
    };
    let place = repository.place(repository.mirrored()?.first().clone());
    // Every committed snapshot must open: what decides must know what it holds.
    for listed in repository.snapshots()?.all {
        let _: Outcome = listed.outcome?;
    }
    let (mut promoted, rest): (Vec<_>, Vec<_>) = list.placements.into_iter().partition(|one| one.name == mark.name);
    if promoted.is_empty() {
        let (name, address) = (mark.name, place.location());
        promoted.push(Placement { name, address, mode: MirrorMode::Sync, options: Vec::new() });
    }
    // The old primary is not among them: it may hold what this one lacks, and would have to be added again.
    promoted.extend(rest.into_iter().skip(1));
    let list = MirrorList { n: list.n + 1, time_ms: machine::now_ms(), placements: promoted, nonce: random() };
    let path = ObjectPath::mirror_list(list.n);
    if place.put_new(&path, list.seal(repository.keys(), &random()))? == PutNew::Exists {
        return Err(Error::new(ErrorKind::Busy, path, "somebody else wrote it meanwhile"));
    }
    place.delete(&ObjectPath::mirror_mark())?;
    Ok(list)
}
