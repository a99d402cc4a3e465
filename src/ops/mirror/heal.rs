//! Mending what reading has found missing or damaged.

use crate::error::Result;
use crate::format::ObjectPath;
use crate::repository::Repository;

/// An object that was noted while something was read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Healed {
    /// The object.
    pub path: ObjectPath,
    /// The mirror that had it as it should be, or why it was not mended.
    pub from: Result<String>,
}

/// What was mended while it was read, and what was noted then: without what is as it should be, or condemned by now.
pub(super) fn heal(repository: &Repository) -> Result<Vec<Healed>> {
    let mirrored = repository.mirrored()?;
    let mended = mirrored.take_mended().into_iter();
    let mut healed: Vec<_> = mended.map(|(path, name)| Healed { path, from: Ok(name) }).collect();
    for path in mirrored.take_suspects() {
        match repository.mend(&path) {
            Ok(None) => {}
            Ok(Some(name)) => healed.push(Healed { path, from: Ok(name) }),
            Err(error) => healed.push(Healed { path, from: Err(error) }),
        }
    }
    Ok(healed)
}
