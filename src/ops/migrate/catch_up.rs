//! What leads from one snapshot of a database to another.

use crate::error::{Error, Result};
use crate::format::{NamedRoot, Snapshot};
use crate::ops::datoms::{KeyChanges, branches, find_roots};
use crate::ops::{mark, values};
use crate::record::datom::{Datoms, encode_key};
use crate::repository::Repository;
use crate::tree::{self, DiffItem};

/// Keys that may differ; beyond that the target is written whole.
const MAX_KEYS: usize = 500_000;

/// Keys with whole values, ascending: whether each is put or removed.
type Keys = Vec<(Vec<u8>, bool)>;

/// Why the target is to be written whole.
pub(super) type Whole = String;

/// What leads from one snapshot to another in each branch.
pub(super) fn between(
    repository: &Repository,
    from: &Snapshot,
    to: &Snapshot,
) -> Result<std::result::Result<Vec<(String, KeyChanges)>, Whole>> {
    let names = |snapshot| branches(snapshot).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (had, has) = (names(from), names(to));
    if had != has {
        return Ok(Err("the database has other branches than the target".to_owned()));
    }
    let mut keys = 0;
    let mut all = Vec::new();
    for branch in has {
        let (before, after) = (find_roots(from, Some(&branch))?, find_roots(to, Some(&branch))?);
        let log = tree_changes(repository, before.0, after.0, &mut keys)?;
        let exceptions = tree_changes(repository, before.1, after.1, &mut keys)?;
        let (Some(log), Some(exceptions)) = (log, exceptions) else {
            return Ok(Err(format!("over {MAX_KEYS} datoms are different")));
        };
        all.push((branch, KeyChanges { log, exceptions }));
    }
    Ok(Ok(all))
}

/// What changes in one tree; nothing where that is too much.
fn tree_changes(
    repository: &Repository,
    before: &NamedRoot,
    after: &NamedRoot,
    keys: &mut usize,
) -> Result<Option<Keys>> {
    let reader = repository.reader();
    let parameters = repository.tree_parameters(&Datoms);
    let mut changes = Vec::new();
    let mut is_too_much = false;
    tree::diff(&reader, &parameters, &mark::root(before), &mark::root(after), &mut |item| {
        let (key, put) = match item {
            DiffItem::Added { key, .. } => (key, true),
            DiffItem::Removed { key, .. } => (key, false),
            DiffItem::Changed { .. } => return Ok(()),
        };
        *keys += 1;
        is_too_much |= *keys > MAX_KEYS;
        if !is_too_much {
            let mut whole = Vec::with_capacity(key.len());
            encode_key(&values::datom(&reader, key)?, &mut whole).map_err(|e| Error::damaged("datom key", e))?;
            changes.push((whole, put));
        }
        Ok(())
    })?;
    changes.sort_unstable();
    Ok((!is_too_much).then_some(changes))
}
