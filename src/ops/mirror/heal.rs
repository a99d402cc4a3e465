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

/// What was noted and is as it should be, or condemned by now, is not in the answer.
pub(super) fn heal(repository: &Repository) -> Result<Vec<Healed>> {
    let mut healed = Vec::new();
    for path in repository.mirrored()?.take_suspects() {
        match repository.mend(&path) {
            Ok(None) => {}
            Ok(Some(name)) => healed.push(Healed { path, from: Ok(name) }),
            Err(error) => healed.push(Healed { path, from: Err(error) }),
        }
    }
    Ok(healed)
}
