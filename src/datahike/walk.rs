//! Going through one index from its root, leaf by leaf, in order; subtrees can be skipped.
//!
//! Nodes are read ahead, several at a time; what is kept in memory is bounded by the nodes on the way down and the ones
//! read ahead. A node that is gone or is not what its parent says is a [`WalkError::Node`]: whether the database has moved
//! on meanwhile is for the caller to find out.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::node::{Address, Child, Diff, Leaf, Node, Resolved, SlotHash};
use super::verify::{self, Verdict};
use super::{IndexRoot, Stamp, Store, StoreKey, Unreadable, hasch};
use crate::error::{DecodeError, Error, ErrorKind};
use crate::record::datom::{Datom, Value};

/// Nodes that are read at once, at most ...
const AHEAD_MAX: usize = 64;
/// ... and roughly their bytes.
const AHEAD_BYTES: u64 = 8 << 20;

/// What a node is, as its parent says: nodes with the same key were the same when both were read, unless the address was
/// used again in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeKey {
    /// Where it is stored; none for a root kept in the head.
    pub address: Option<Address>,
    /// Hash of the difference to what is stored, where there is one.
    pub slot: Option<SlotHash>,
}

/// A leaf as a walk hands it out.
#[derive(Clone, Copy, Debug)]
pub struct VisitedLeaf<'v, 'b> {
    /// What it is.
    pub key: NodeKey,
    /// Stamp of its blob, none for a root kept in the head.
    pub stamp: Option<Stamp>,
    /// Its datoms.
    pub datoms: &'v [Datom<'b>],
    /// Whether they are in the order of the index: not where a difference was put in.
    pub ordered: bool,
}

/// What goes along on a walk.
pub trait Visitor {
    /// Whether to leave out a node and all below. Asked once for each child when its parent has been read.
    fn skip(&mut self, _node: &NodeKey) -> bool {
        false
    }

    /// A branch, before its children.
    fn branch(&mut self, _node: &NodeKey, _stamp: Option<Stamp>, _children: &[NodeKey]) -> Result<(), Error> {
        Ok(())
    }

    /// A leaf.
    fn leaf(&mut self, leaf: &VisitedLeaf<'_, '_>) -> Result<(), Error>;
}

/// What a walk has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalkStats {
    /// Leaves read.
    pub leaves: u64,
    /// Branches read.
    pub branches: u64,
    /// Nodes skipped, each with all below.
    pub skipped: u64,
    /// Datoms handed out.
    pub datoms: u64,
    /// Nodes whose address was verified to be the hash of their content.
    pub verified: u64,
    /// Nodes whose address could not be verified: why, and how many.
    pub unverified: HashMap<&'static str, u64>,
    /// The first node that says it was written after [`Walk::written_by`].
    pub too_new: Option<NodeKey>,
}

/// Why a walk has ended early.
#[derive(Debug)]
pub enum WalkError {
    /// A node is gone or not what its parent says.
    Node {
        /// Which one.
        key: NodeKey,
        /// What is wrong with it; nothing where it is gone.
        why: Option<Unreadable>,
    },
    /// The home failed, or the visitor did.
    Stopped(Error),
}

impl WalkError {
    /// As an error about a node of `store`.
    pub fn into_error(self, store: &Store) -> Error {
        match self {
            Self::Stopped(error) => error,
            Self::Node { key, why } => {
                let address = key.address.map_or_else(|| "in the head".to_owned(), |address| hasch::spell(&address));
                let object = store.object(&format!("node {address}"));
                match why {
                    Some(why) => why.about(object),
                    None => Error::new(ErrorKind::Damaged, object, "no such blob"),
                }
            }
        }
    }
}

impl From<Error> for WalkError {
    fn from(error: Error) -> Self {
        Self::Stopped(error)
    }
}

/// Blobs of nodes in memory, for a walk that starts over: each is used again while its stamp is the same.
#[derive(Debug)]
pub struct NodeCache {
    blobs: HashMap<StoreKey, (Stamp, Bytes)>,
    left_bytes: usize,
}

impl NodeCache {
    /// A cache of at most so many bytes. What does not fit is not kept.
    pub fn new(limit_bytes: usize) -> Self {
        Self { blobs: HashMap::new(), left_bytes: limit_bytes }
    }

    fn keep(&mut self, key: StoreKey, stamp: Stamp, blob: &Bytes) {
        if let Some((_, old)) = self.blobs.remove(&key) {
            self.left_bytes += old.len();
        }
        if let Some(left) = self.left_bytes.checked_sub(blob.len()) {
            self.left_bytes = left;
            self.blobs.insert(key, (stamp, blob.clone()));
        }
    }
}

/// A walk through one index.
pub struct Walk<'w> {
    store: &'w Store,
    /// Compare nodes with their addresses: only where these are hashes of content.
    verify: bool,
    /// Milliseconds since 1970.
    written_by: Option<i64>,
    cache: Option<&'w mut NodeCache>,
    queue: VecDeque<Pending>,
    stats: WalkStats,
    mean_bytes: u64,
}

/// A node that is still to be visited.
struct Pending {
    key: NodeKey,
    diff: Option<Diff<'static>>,
    /// Levels above leaves; not known for the root.
    level: Option<u32>,
    blob: Option<(Stamp, Bytes)>,
    is_fetched: bool,
}

impl<'w> Walk<'w> {
    /// A walk through an index of `store`.
    pub fn new(store: &'w Store) -> Self {
        Self {
            store,
            verify: false,
            written_by: None,
            cache: None,
            queue: VecDeque::new(),
            stats: WalkStats::default(),
            mean_bytes: 64 << 10,
        }
    }

    /// Compares nodes with their addresses, which must be hashes of content.
    pub fn verifying(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Takes note of a node written after this time, in milliseconds since 1970: where the root is older, its address was
    /// used again, or the writer's clock was put back.
    pub fn written_by(mut self, time_ms: Option<i64>) -> Self {
        self.written_by = time_ms;
        self
    }

    /// Keeps nodes in memory, and takes them from there.
    pub fn with_cache(mut self, cache: &'w mut NodeCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Walks from a root to the end.
    pub fn run(mut self, root: &IndexRoot, visitor: &mut dyn Visitor) -> Result<WalkStats, WalkError> {
        match (&root.fused, root.address) {
            (Some(node), address) => {
                let key = NodeKey { address: None, slot: None };
                self.fused(node, NodeKey { address, ..key }, visitor)?;
            }
            (None, Some(address)) => {
                let key = NodeKey { address: Some(address), slot: None };
                if visitor.skip(&key) {
                    self.stats.skipped += 1;
                } else {
                    self.queue.push_back(Pending { key, diff: None, level: None, blob: None, is_fetched: false });
                }
            }
            (None, None) => {}
        }
        while let Some(pending) = self.next()? {
            let key = pending.key;
            let torn = |why| WalkError::Node { key, why: Some(why) };
            let Some((stamp, stored)) = pending.blob else { return Err(WalkError::Node { key, why: None }) };
            let address = key.address.unwrap_or_default();
            let blob = self.store.decode(StoreKey::address(&address), &stored).map_err(torn)?;
            if blob.last_write.zip(self.written_by).is_some_and(|(written, by)| written > by) {
                self.stats.too_new.get_or_insert(key);
            }
            let node = Node::decode(&blob.bytes).map_err(torn)?;
            self.check(&address, &node).map_err(torn)?;
            self.visit(key, Some(stamp), node, pending.diff, pending.level, visitor)?;
        }
        Ok(self.stats)
    }

    /// A root that is kept in the head. It is never skipped, as it costs nothing.
    fn fused(&mut self, node: &Value<'static>, key: NodeKey, visitor: &mut dyn Visitor) -> Result<(), WalkError> {
        let node = Node::from_value(node.clone()).map_err(|why| WalkError::Node { key, why: Some(why) })?;
        self.visit(NodeKey { address: None, ..key }, None, node, None, None, visitor)
    }

    fn check(&mut self, address: &Address, node: &Node<'_>) -> Result<(), Unreadable> {
        if !self.verify {
            return Ok(());
        }
        match verify::node(address, node) {
            Verdict::Same => self.stats.verified += 1,
            Verdict::Differs => return Err(DecodeError::IdMismatch.into()),
            Verdict::Unknown(why) => *self.stats.unverified.entry(why).or_default() += 1,
        }
        Ok(())
    }

    fn visit(
        &mut self,
        key: NodeKey,
        stamp: Option<Stamp>,
        node: Node<'_>,
        diff: Option<Diff<'static>>,
        level: Option<u32>,
        visitor: &mut dyn Visitor,
    ) -> Result<(), WalkError> {
        let ordered = diff.is_none();
        match node.resolve(diff, level).map_err(|why| WalkError::Node { key, why: Some(why) })? {
            Resolved::Leaf(leaf) => self.leaf(key, stamp, &leaf, ordered, visitor),
            Resolved::Branch { level, children, .. } => self.branch(key, stamp, level, children, visitor),
        }
    }

    fn leaf(
        &mut self,
        key: NodeKey,
        stamp: Option<Stamp>,
        leaf: &Leaf<'_>,
        ordered: bool,
        visitor: &mut dyn Visitor,
    ) -> Result<(), WalkError> {
        self.stats.leaves += 1;
        self.stats.datoms += leaf.datoms.len() as u64;
        Ok(visitor.leaf(&VisitedLeaf { key, stamp, datoms: &leaf.datoms, ordered })?)
    }

    fn branch(
        &mut self,
        key: NodeKey,
        stamp: Option<Stamp>,
        level: u32,
        children: Vec<Child>,
        visitor: &mut dyn Visitor,
    ) -> Result<(), WalkError> {
        self.stats.branches += 1;
        let keys: Vec<_> =
            children.iter().map(|child| NodeKey { address: Some(child.address), slot: child.slot }).collect();
        visitor.branch(&key, stamp, &keys)?;
        let mut wanted = Vec::with_capacity(children.len());
        for (key, child) in keys.into_iter().zip(children) {
            if visitor.skip(&key) {
                self.stats.skipped += 1;
                continue;
            }
            wanted.push(Pending { key, diff: child.diff, level: Some(level), blob: None, is_fetched: false });
        }
        for pending in wanted.into_iter().rev() {
            self.queue.push_front(pending);
        }
        Ok(())
    }

    /// The next node in order, read together with those after it.
    fn next(&mut self) -> Result<Option<Pending>, WalkError> {
        if self.queue.front().is_some_and(|pending| !pending.is_fetched) {
            self.fetch()?;
        }
        Ok(self.queue.pop_front())
    }

    fn fetch(&mut self) -> Result<(), WalkError> {
        let ahead = usize::try_from(AHEAD_BYTES / self.mean_bytes.max(1)).unwrap_or(AHEAD_MAX).clamp(1, AHEAD_MAX);
        let places: Vec<usize> =
            (0..self.queue.len().min(2 * ahead)).filter(|&i| !self.queue[i].is_fetched).take(ahead).collect();
        let keys: Vec<StoreKey> =
            places.iter().map(|&i| StoreKey::address(&self.queue[i].key.address.unwrap_or_default())).collect();
        let found = self.read(&keys)?;
        let (mut count, mut bytes) = (0, 0);
        for (place, blob) in places.into_iter().zip(found) {
            if let Some((_, blob)) = &blob {
                count += 1;
                bytes += blob.len() as u64;
            }
            let pending = &mut self.queue[place];
            pending.blob = blob;
            pending.is_fetched = true;
        }
        self.mean_bytes = u64::checked_div(bytes, count).unwrap_or(self.mean_bytes);
        Ok(())
    }

    fn read(&mut self, keys: &[StoreKey]) -> Result<Vec<Option<(Stamp, Bytes)>>, WalkError> {
        let home = self.store.home();
        let Some(cache) = self.cache.as_deref_mut() else { return Ok(home.get_stamped(keys)?) };
        let mut found: Vec<Option<(Stamp, Bytes)>> = vec![None; keys.len()];
        let kept: Vec<usize> = (0..keys.len()).filter(|&i| cache.blobs.contains_key(&keys[i])).collect();
        if !kept.is_empty() {
            let names: Vec<_> = kept.iter().map(|&i| keys[i]).collect();
            for (&i, stamp) in kept.iter().zip(home.stamps(&names)?) {
                found[i] = cache.blobs.get(&keys[i]).filter(|(kept, _)| Some(*kept) == stamp).cloned();
            }
        }
        let missing: Vec<usize> = (0..keys.len()).filter(|&i| found[i].is_none()).collect();
        let names: Vec<_> = missing.iter().map(|&i| keys[i]).collect();
        for (i, blob) in missing.into_iter().zip(home.get_stamped(&names)?) {
            if let Some((stamp, blob)) = &blob {
                cache.keep(keys[i], *stamp, blob);
            }
            found[i] = blob;
        }
        Ok(found)
    }
}
