//! A database that was written here, kept in step with what it was made of: differences into its indices.
//!
//! A commit writes the changed nodes of all indices under new addresses, then the head that names them; until then the
//! store is what it was. What the new head does without is removed one commit later, so that whoever reads meanwhile has
//! time to notice. Only blobs that were replaced here are ever removed.

mod branch;
mod check;
mod contents;
mod garbage;
mod index;
mod nodes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::blobs::Blobs;
use super::branch::{head, schema_blob};
use super::nodes::Shape;
use super::schema::{Properties, Schema};
use super::{Guard, write_heads};
use crate::datahike::encode_head::WrittenIndex;
use crate::datahike::node::Address;
use crate::datahike::{Home, IndexOrder, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Attribute, Datom, FactEvent, decode_key};
use branch::{Branch, Said, learn, roots};
use contents::keys;
use garbage::Garbage;
pub use garbage::{of_databases, reachable, unneeded};
use index::{Change, IndexEditor};
use nodes::{Cache, NodeReader, Nodes};

/// Where a datom stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// In the indices of what is true.
    pub current: bool,
    /// In the indices of what was.
    pub temporal: bool,
}

/// What a store has of one fact: t as it stands in keys, whether it asserts, and where it stands.
pub type FactPlaces = BTreeMap<([u8; 8], bool), Places>;

/// What becomes of a datom.
#[derive(Clone, Debug)]
pub struct DatomChange {
    /// The datom, as the key of a record, its value whole.
    pub datom: Vec<u8>,
    /// Where it stands.
    pub before: Places,
    /// Whether it is to be in the history ...
    pub history: bool,
    /// ... and in the current state.
    pub current: bool,
}

/// What becomes of a branch.
#[derive(Clone, Debug)]
pub struct BranchEdit {
    /// Its name, without the colon.
    pub branch: String,
    /// Properties of its new state, as a snapshot has them.
    pub properties: BTreeMap<String, String>,
    /// Its datoms that change.
    pub changes: Vec<DatomChange>,
}

/// What a commit wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// Blobs.
    pub blobs: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// Why a database cannot be edited and is to be written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite(pub String);

/// A commit that is being made.
struct NewCommit {
    blobs: Blobs,
    heads: Vec<super::Head>,
    /// What becomes of the branches: their schemas, and what is said about attributes where that has changed.
    branches: Vec<(String, Schema, Option<Said>)>,
    replaced: Vec<Address>,
    written: Vec<Address>,
}

/// A database that is edited.
pub struct Editor {
    store: Store,
    home: Arc<dyn Home>,
    location: String,
    branches: BTreeMap<String, Branch>,
    cache: Cache,
    garbage: Garbage,
}

impl Editor {
    /// The database in a store, which this program wrote and nothing has written since. `location` is where that is, as
    /// the database is told.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no database, [`ErrorKind::Data`] when Datahike has written to it.
    pub fn open(home: Arc<dyn Home>, location: &str) -> Result<Self> {
        let store = Store::new(Arc::clone(&home), None);
        let mut editor = Self {
            home,
            location: location.to_owned(),
            branches: BTreeMap::new(),
            cache: Cache::default(),
            garbage: Garbage::default(),
            store,
        };
        for name in editor.store.branches()? {
            let branch = Branch::open(&editor.store, &mut editor.cache, &name)?;
            editor.branches.insert(name, branch);
        }
        Ok(editor)
    }

    /// Names of the branches, without their colons.
    pub fn branches(&self) -> impl Iterator<Item = &str> {
        self.branches.keys().map(String::as_str)
    }

    /// Whether a branch keeps history; not where there is no such branch.
    pub fn keeps_history(&self, branch: &str) -> bool {
        self.branches.get(branch).is_some_and(|branch| branch.head.keeps_history())
    }

    /// The latest transaction of a branch.
    pub fn max_tx(&self, branch: &str) -> i64 {
        self.branches.get(branch).map_or(i64::MAX, |branch| branch.head.max_tx)
    }

    /// Whether the history takes the current datoms of an attribute from the current index.
    pub fn is_history_while_current(&self, branch: &str, attribute: &Attribute<'_>) -> bool {
        self.branches.get(branch).is_some_and(|branch| branch.schema.of(attribute).history_while_current())
    }

    /// Where the datoms of some facts stand. A fact is entity, attribute and value as view keys have them, the value whole.
    pub fn facts(&mut self, branch: &str, facts: &BTreeSet<Vec<u8>>) -> Result<BTreeMap<Vec<u8>, FactPlaces>> {
        let mut found: BTreeMap<Vec<u8>, FactPlaces> =
            facts.iter().map(|fact| (fact.clone(), FactPlaces::new())).collect();
        let mut prefixes = Vec::with_capacity(facts.len());
        for fact in facts {
            let record = [&[0; 8], fact.as_slice(), &[1]].concat();
            let (key, _) = keys(IndexOrder::Eavt, &decode(&record)?)?;
            prefixes.push(IndexOrder::without_time(&key).to_vec());
        }
        // Different values may be the same to an index: 1 and 1N.
        prefixes.sort_unstable();
        prefixes.dedup();
        for temporal in [false, true] {
            self.find(branch, (IndexOrder::Eavt, temporal), &prefixes, &mut |datom| {
                let event = FactEvent::of_key(datom).map_err(|e| Error::damaged("datom", e))?;
                if let Some(places) = found.get_mut(event.fact) {
                    let places = places.entry((event.t, event.asserts())).or_default();
                    if temporal { places.temporal = true } else { places.current = true }
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Makes changes in several branches and commits each; the main one last. `now` is in milliseconds since 1970; `guard` is
    /// asked before the heads are written.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when somebody else has written a head since it was read, [`ErrorKind::Damaged`] when an index is
    /// not what the others are.
    pub fn commit(
        &mut self,
        edits: Vec<BranchEdit>,
        now: i64,
        guard: Option<&Guard>,
    ) -> Result<Result<Committed, Rewrite>> {
        let mut new = NewCommit::new(Blobs::new(Arc::clone(&self.home), now));
        let prepared = self.prepare(edits, now, &mut new);
        if !matches!(prepared, Ok(Ok(()))) {
            // No head names what was written.
            self.garbage.replaced(std::mem::take(&mut new.written));
            return prepared.map(|prepared| prepared.map(|()| Committed::default()));
        }
        let NewCommit { mut blobs, mut heads, branches, replaced, .. } = new;
        write_heads(&mut blobs, &self.home.name(), &mut heads, now, guard)?;
        let (blobs, bytes) = blobs.finish()?;
        for (name, schema, said) in branches {
            let head = self.store.head(&name)?;
            if let Some(branch) = self.branches.get_mut(&name) {
                branch.head = head;
                branch.schema = schema;
                branch.said = said.unwrap_or(std::mem::take(&mut branch.said));
            }
        }
        self.garbage.replaced(replaced);
        if !self.has_content_addresses() {
            self.garbage.remove_older(&*self.home)?;
        }
        Ok(Ok(Committed { blobs, bytes }))
    }

    /// Writes everything but the heads.
    fn prepare(&mut self, edits: Vec<BranchEdit>, now: i64, new: &mut NewCommit) -> Result<Result<(), Rewrite>> {
        for edit in edits {
            let Some(branch) = self.branches.get(&edit.branch) else {
                return Ok(Err(Rewrite(format!("there is no branch :{}", edit.branch))));
            };
            let said = branch.said_after(&edit.changes)?;
            let schema = learn(said.as_ref().unwrap_or(&branch.said), branch.head.has_attribute_references())?;
            if let Some(why) = self.index_differently(&edit.branch, &schema)? {
                return Ok(Err(why));
            }
            let branch = self.branches.get(&edit.branch).expect("this cannot fail because it was found above");
            let config = branch.configuration(&edit, &schema, &self.location)?;
            let shape = Shape { seconds: u32::try_from(now.div_euclid(1000)).unwrap_or(0), ..branch.shape };
            let reader = NodeReader::new(&self.store, &mut self.cache);
            let mut nodes =
                Nodes { shape, reader, blobs: &mut new.blobs, replaced: &mut new.replaced, written: &mut new.written };
            let indices = edit_indices(&mut nodes, branch, &schema, &edit.changes)?;
            let (schema_key, blob) = schema_blob(&schema, shape, now)?;
            if branch.head.schema_key != Some(schema_key) {
                // Named by its content: it may be another branch's too, or come back. It is never removed here.
                new.blobs.put(blob)?;
            }
            new.replaced.extend(branch.head.commit);
            let state = branch.state(&edit, indices, schema_key)?;
            let head = head(edit.branch.clone(), config, state, shape, now)?;
            new.written.push(head.commit);
            new.heads.push(head);
            new.branches.push((edit.branch, schema, said));
        }
        for (name, ..) in &new.branches {
            let known = self.branches.get(name).map(|branch| branch.head.bytes_hash);
            if Some(self.store.head(name)?.bytes_hash) != known {
                let object = self.store.object(&format!(":{name}"));
                return Err(Error::new(ErrorKind::Busy, object, "somebody else has written to this database"));
            }
        }
        Ok(Ok(()))
    }

    /// Reads all indices of all branches; what is wrong with the first that does not hold what it should.
    pub fn different(&self) -> Result<Option<String>> {
        for (name, branch) in &self.branches {
            if let Some(why) = check::different(&self.home, name, branch)? {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// Removes all that was replaced.
    pub fn clean(&mut self) -> Result<()> {
        let reachable = match self.has_content_addresses() {
            // What has the same content has the same address, wherever it is.
            true => reachable(&self.home)?,
            false => BTreeSet::new(),
        };
        self.garbage.remove_all(&*self.home, &reachable)
    }

    /// Whether addresses are hashes of content.
    pub fn has_content_addresses(&self) -> bool {
        self.branches.values().any(|branch| branch.shape.crypto_hash)
    }

    fn find(
        &mut self,
        branch: &str,
        index: (IndexOrder, bool),
        prefixes: &[Vec<u8>],
        take: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let Some(branch) = self.branches.get(branch) else { return Ok(()) };
        branch.find(NodeReader::new(&self.store, &mut self.cache), index, prefixes, take)
    }

    /// Why some datoms that stay stand in other indices under a new schema; nothing where none does.
    fn index_differently(&mut self, name: &str, schema: &Schema) -> Result<Option<Rewrite>> {
        let Some(branch) = self.branches.get(name) else { return Ok(None) };
        let different: BTreeSet<Attribute<'static>> = schema.different(&branch.schema);
        for attribute in different {
            let prefix = IndexOrder::attribute_prefix(&attribute);
            let mut any = false;
            for temporal in [false, true] {
                self.find(name, (IndexOrder::Aevt, temporal), std::slice::from_ref(&prefix), &mut |_| {
                    any = true;
                    Ok(())
                })?;
            }
            if any {
                let what = match &attribute {
                    Attribute::Keyword(name) | Attribute::String(name) => format!(":{name}"),
                    Attribute::Id(id) => format!("attribute {id}"),
                };
                return Ok(Some(Rewrite(format!("the schema of {what} has changed, of which there are datoms"))));
            }
        }
        Ok(None)
    }
}

impl NewCommit {
    fn new(blobs: Blobs) -> Self {
        Self { blobs, heads: Vec::new(), branches: Vec::new(), replaced: Vec::new(), written: Vec::new() }
    }
}

/// Makes the changes in all indices.
fn edit_indices(
    nodes: &mut Nodes<'_>,
    branch: &Branch,
    schema: &Schema,
    changes: &[DatomChange],
) -> Result<Vec<WrittenIndex>> {
    let references = branch.head.has_attribute_references();
    let mut indices = Vec::new();
    for (order, temporal, root) in roots(&branch.head) {
        let mut wanted: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for change in changes {
            let datom = decode(&change.datom)?;
            let of: Properties = schema.of(&datom.a);
            if order == IndexOrder::Avet && !of.indexed {
                continue;
            }
            let (was, is) = match temporal {
                false => (change.before.current, change.current),
                true => (change.before.temporal, of.is_temporal(&datom, references, change.history, change.current)),
            };
            if was == is {
                continue;
            }
            let (key, record) = keys(order, &datom)?;
            if is {
                wanted.insert(key, Some(record));
            } else {
                // Another datom may be the same to the index, and is there now.
                wanted.entry(key).or_insert(None);
            }
        }
        let wanted: Vec<Change> = wanted.into_iter().collect();
        let before = root.address.ok_or_else(|| Error::new(ErrorKind::Damaged, "head", "an index has no address"))?;
        let (address, grown) = IndexEditor { order, nodes }.edit(before, &wanted)?;
        let count = root.count.unwrap_or(0).saturating_add_signed(grown);
        indices.push(WrittenIndex { temporal, order, address, count });
    }
    Ok(indices)
}

fn decode(record: &[u8]) -> Result<Datom<'_>> {
    decode_key(record).map_err(|e| Error::damaged("datom", e))
}

#[cfg(test)]
mod tests;
