//! The difference of one index as it is and as a table says it was.
//!
//! Both trees are descended from their roots. A node of the new tree that the table has, with the same slot and an
//! unchanged blob, is left out with all below it: nodes are written once, so what is below it is as unchanged as it is.
//! These shared nodes are left out of the old tree too. What the old tree's leaves hold must add up to what the table says,
//! so it does not matter what became of addresses meanwhile: an old node that was written again is noticed.

use std::collections::{HashMap, HashSet, VecDeque};

use super::leaves::{LeafReader, ReadLeaf};
use super::merge::{self, Difference, Leaves, Limits};
use super::record::{self, ReadBranch};
use super::shelf::{Content, Reference, Shelf, spell};
use super::table::{Entry, IndexTable};
use super::trouble::{FullReason, Trouble};
use crate::datahike::{IndexRoot, NodeKey};
use crate::record::datom::{Digest, decode_value};

/// What became of an index.
pub(super) struct Compared {
    pub(super) difference: Difference,
    pub(super) table: IndexTable,
}

/// How to compare.
pub(super) struct Terms {
    /// Addresses are hashes of content.
    pub(super) content_addresses: bool,
    /// Changed leaves that are compared in any case.
    pub(super) few_leaves: usize,
}

/// The reference to the top of an index.
pub(super) fn top(root: &IndexRoot) -> Option<Reference> {
    let address = if root.fused.is_some() { None } else { root.address };
    let key = NodeKey { address, slot: None };
    let there = root.fused.is_some() || address.is_some();
    there.then(|| Reference { key, diff: None, level: None, fused: root.fused.clone() })
}

/// The top of an index as it was.
fn old_top(old: &IndexTable) -> Result<Option<Reference>, Trouble> {
    let Some(node) = &old.fused else {
        return Ok(old.root.map(|key| Reference { key, diff: None, level: None, fused: None }));
    };
    let node = decode_value(node).map_err(|why| Trouble::Before(FullReason::Table(why.to_string())))?;
    let key = NodeKey { address: None, slot: None };
    Ok(Some(Reference { key, diff: None, level: None, fused: Some(node.into_owned()) }))
}

/// Compares an index with what it was.
pub(super) fn compare(
    shelf: &Shelf,
    old: &IndexTable,
    now: &IndexRoot,
    terms: &Terms,
    limits: &mut Limits,
) -> Result<Compared, Trouble> {
    let new = descend_new(shelf, top(now), old, terms)?;
    if new.leaves.len() > terms.few_leaves.max(old.nodes.len() / 2) {
        return Err(Trouble::Before(FullReason::Costly));
    }
    let (old_leaves, gone) = descend_old(shelf, old_top(old)?, old, &new.shared)?;
    let mut before = OldLeaves { shelf, old, rest: old_leaves.into(), total: Digest::new() };
    let mut after =
        NewLeaves { leaves: LeafReader::new(shelf, new.leaves.iter().cloned()), terms, entries: HashMap::new() };
    let difference = merge::difference(&mut before, &mut after, limits)?;
    let mut shared = Digest::new();
    new.shared.iter().filter_map(|key| old.nodes.get(key)).for_each(|entry| shared.merge(&entry.total));
    let mut old_total = before.total;
    old_total.merge(&shared);
    if old_total != old.total {
        return Err(Trouble::Before(FullReason::Table("the leaves of an index do not add up".to_owned())));
    }
    let mut total = shared;
    after.entries.values().for_each(|entry| total.merge(&entry.total));
    if now.count.is_some_and(|count| count != total.count) {
        let message = format!("an index holds {} datoms instead of the stated {:?}", total.count, now.count);
        return Err(Trouble::Now(message));
    }
    let mut table = record::begin_table(now).map_err(Trouble::Now)?;
    table.total = total;
    table.nodes.clone_from(&old.nodes);
    gone.iter().for_each(|key| {
        table.nodes.remove(key);
    });
    table.nodes.extend(after.entries.into_iter().filter(|(key, _)| key.address.is_some()));
    record::add_branches(&mut table, &new.branches);
    Ok(Compared { difference, table })
}

struct NewTree {
    /// In the order of the index.
    leaves: Vec<Reference>,
    /// Parents before children.
    branches: Vec<ReadBranch>,
    shared: HashSet<NodeKey>,
}

/// The parts of the new tree that the old one has not.
fn descend_new(shelf: &Shelf, top: Option<Reference>, old: &IndexTable, terms: &Terms) -> Result<NewTree, Trouble> {
    let mut tree = NewTree { leaves: Vec::new(), branches: Vec::new(), shared: HashSet::new() };
    let Some(top) = top else { return Ok(tree) };
    let mut stack = Vec::new();
    if is_shared(shelf, std::slice::from_ref(&top), old, terms)?[0] {
        tree.shared.insert(top.key);
    } else {
        stack.push(top);
    }
    while let Some(reference) = stack.pop() {
        if reference.level == Some(0) {
            tree.leaves.push(reference);
            continue;
        }
        let (stamp, content) = shelf.read(&reference)?;
        let Content::Branch { children, .. } = content else {
            tree.leaves.push(reference);
            continue;
        };
        let stamp = stamp.filter(|_| !terms.content_addresses);
        let keys = children.iter().map(|child| child.key).collect();
        tree.branches.push(ReadBranch { key: reference.key, stamp, children: keys });
        let shared = is_shared(shelf, &children, old, terms)?;
        for (child, is_shared) in children.into_iter().zip(shared).rev() {
            if !is_shared {
                stack.push(child);
            } else if !tree.shared.insert(child.key) {
                return Err(Trouble::Now(format!("node {} stands in an index twice", spell(&child.key))));
            }
        }
    }
    shelf.skipped(tree.shared.len() as u64);
    Ok(tree)
}

/// Which of these the table has with the same content.
fn is_shared(shelf: &Shelf, references: &[Reference], old: &IndexTable, terms: &Terms) -> Result<Vec<bool>, Trouble> {
    let known: Vec<Option<&Entry>> = references.iter().map(|r| old.nodes.get(&r.key)).collect();
    if terms.content_addresses {
        return Ok(known.iter().map(Option::is_some).collect());
    }
    let addresses: Vec<_> =
        references.iter().zip(&known).filter(|(_, known)| known.is_some()).filter_map(|(r, _)| r.key.address).collect();
    let mut stamps = if addresses.is_empty() { Vec::new() } else { shelf.stamps(&addresses)? }.into_iter();
    let shared = references.iter().zip(known).map(|(reference, known)| match (known, reference.key.address) {
        (Some(entry), Some(_)) => stamps.next().flatten().is_some_and(|stamp| entry.stamp == Some(stamp)),
        _ => false,
    });
    Ok(shared.collect())
}

/// Leaves of the old tree that the new one has not, in order, and all nodes that it has not.
fn descend_old(
    shelf: &Shelf,
    top: Option<Reference>,
    old: &IndexTable,
    shared: &HashSet<NodeKey>,
) -> Result<(Vec<Reference>, HashSet<NodeKey>), Trouble> {
    let (mut leaves, mut gone) = (Vec::new(), HashSet::new());
    let mut stack: Vec<Reference> = top.into_iter().collect();
    while let Some(reference) = stack.pop() {
        if shared.contains(&reference.key) {
            continue;
        }
        let is_known = reference.fused.is_some() || old.nodes.contains_key(&reference.key);
        if !is_known || !gone.insert(reference.key) {
            return Err(Trouble::Before(FullReason::Gone(spell(&reference.key))));
        }
        if reference.level == Some(0) {
            leaves.push(reference);
            continue;
        }
        match open_old(shelf, &reference, old)? {
            Content::Branch { children, .. } => stack.extend(children.into_iter().rev()),
            Content::Leaf(..) => leaves.push(reference),
        }
    }
    Ok((leaves, gone))
}

/// A node of the old tree, if it is still what it was. Of leaves their datoms will tell.
fn open_old(shelf: &Shelf, reference: &Reference, old: &IndexTable) -> Result<Content, Trouble> {
    let gone = || Trouble::Before(FullReason::Gone(spell(&reference.key)));
    let stored = match (&reference.fused, reference.key.address) {
        (None, Some(address)) => {
            let stamp = old.nodes.get(&reference.key).and_then(|entry| entry.stamp);
            let blob = shelf.fetch_old(&address, stamp, reference.level != Some(0))?;
            Some(blob.ok_or_else(gone)?)
        }
        _ => None,
    };
    shelf.open(reference, stored.as_ref()).map_err(|_| gone())
}

struct OldLeaves<'a> {
    shelf: &'a Shelf,
    old: &'a IndexTable,
    rest: VecDeque<Reference>,
    total: Digest,
}

impl Leaves for OldLeaves<'_> {
    fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, Trouble> {
        let Some(reference) = self.rest.pop_front() else { return Ok(None) };
        let gone = || Trouble::Before(FullReason::Gone(spell(&reference.key)));
        let Content::Leaf(rows, total) = open_old(self.shelf, &reference, self.old)? else { return Err(gone()) };
        let known = self.old.nodes.get(&reference.key).map(|entry| entry.total);
        if reference.fused.is_none() && known != Some(total) {
            return Err(gone());
        }
        self.total.merge(&total);
        Ok(Some(rows))
    }
}

struct NewLeaves<'a> {
    leaves: LeafReader<'a>,
    terms: &'a Terms,
    entries: HashMap<NodeKey, Entry>,
}

impl Leaves for NewLeaves<'_> {
    fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, Trouble> {
        let Some(ReadLeaf { key, stamp, rows, total }) = self.leaves.next()? else { return Ok(None) };
        let stamp = stamp.filter(|_| !self.terms.content_addresses);
        if self.entries.insert(key, Entry { stamp, total }).is_some() {
            return Err(Trouble::Now(format!("node {} stands in an index twice", spell(&key))));
        }
        Ok(Some(rows))
    }
}
