//! What snapshots reach: every node of their trees, every blob their records refer to, and the bases of deltas.

use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::format::{NamedRoot, Snapshot};
use crate::id::BlobId;
use crate::record::{self, Reference};
use crate::repository::{Reader, Writer};
use crate::tree::{self, Next, Node, Root, Visit};

/// Told of everything on the way.
pub(super) trait Reached {
    /// A blob is reached; whether what is below it shall be looked at. Not to be called `true` twice for one blob.
    fn blob(&mut self, id: BlobId) -> Result<bool>;

    /// A blob that could not be read, or is not what refers to it says.
    fn unreadable(&mut self, id: BlobId, error: Error) -> Result<()>;
}

/// Walks everything that a snapshot reaches.
pub(super) fn walk_snapshot(reader: &Reader, snapshot: &Snapshot, reached: &mut dyn Reached) -> Result<()> {
    snapshot.roots.iter().try_for_each(|root| walk_root(reader, root, reached))
}

/// Walks everything that a tree reaches.
pub(super) fn walk_root(reader: &Reader, named: &NamedRoot, reached: &mut dyn Reached) -> Result<()> {
    walk_tree(reader, &root(named), &format!("tree {}", named.name), reached)
}

fn walk_tree(reader: &Reader, root: &Root, name: &str, reached: &mut dyn Reached) -> Result<()> {
    let Some(top) = root.id else { return Ok(()) };
    let kind = record::kind(root.kind).map_err(|e| Error::damaged(name, e))?;
    let parameters = reader.repository().tree_parameters(kind);
    let mut references = Vec::new();
    let result = tree::walk_nodes(reader, &parameters, root, &mut |visit| match visit {
        Visit::Named { claim, .. } => Ok(if reached.blob(claim.id)? { Next::Descend } else { Next::Skip }),
        Visit::Read { node, .. } => {
            if node.level == 0 {
                references.clear();
                collect(node, kind, &mut references).map_err(|e| Error::damaged(name, e))?;
                for reference in &references {
                    walk_reference(reader, reference, reached)?;
                }
            }
            Ok(Next::Descend)
        }
        Visit::Unreadable { claim, error, .. } => {
            reached.unreadable(claim.id, error)?;
            Ok(Next::Skip)
        }
    });
    match result {
        Err(error) if error.kind() == ErrorKind::Damaged => reached.unreadable(top, error),
        result => result,
    }
}

/// Fails unless everything that these roots reach is known to the writer: stored, indexed and not condemned.
pub(super) fn require_known(writer: &mut Writer, roots: &[NamedRoot]) -> Result<()> {
    struct Known<'a> {
        writer: &'a Writer,
        seen: std::collections::HashSet<BlobId>,
    }
    impl Reached for Known<'_> {
        fn blob(&mut self, id: BlobId) -> Result<bool> {
            if self.writer.is_known(&id) {
                return Ok(self.seen.insert(id));
            }
            let message = "was removed by a pruner while this backup ran";
            Err(Error::new(ErrorKind::Busy, format!("blob {id}"), message))
        }

        fn unreadable(&mut self, _: BlobId, error: Error) -> Result<()> {
            Err(error)
        }
    }
    writer.flush()?;
    let reader = writer.repository().reader();
    let mut known = Known { writer, seen: std::collections::HashSet::new() };
    for root in roots {
        walk_root(&reader, root, &mut known)?;
    }
    writer.checked();
    Ok(())
}

/// A tree's root under a name, as snapshots hold it.
pub(super) fn named(name: &str, root: Root, digest: Vec<u8>) -> NamedRoot {
    NamedRoot {
        name: name.to_owned(),
        kind: root.kind,
        id: root.id,
        level: root.level,
        records: root.records,
        row_bytes: root.row_bytes,
        summary: root.summary,
        digest,
    }
}

/// The tree's root without its name.
pub(super) fn root(named: &NamedRoot) -> Root {
    Root {
        kind: named.kind,
        id: named.id,
        level: named.level,
        records: named.records,
        row_bytes: named.row_bytes,
        summary: named.summary.clone(),
    }
}

/// Walks everything that a reference reaches.
pub(super) fn walk_reference(reader: &Reader, reference: &Reference, reached: &mut dyn Reached) -> Result<()> {
    match reference {
        Reference::Chunk(id) => reached.blob(*id).map(drop),
        Reference::List(id) => {
            if !reached.blob(*id)? {
                return Ok(());
            }
            match list(reader, *id) {
                Ok(ids) => ids.into_iter().try_for_each(|id| reached.blob(id).map(drop)),
                Err(error) => reached.unreadable(*id, error),
            }
        }
        Reference::Tree(tree) => walk_tree(reader, &Root::from(tree.clone()), &format!("tree {}", tree.id), reached),
    }
}

/// The chunks that a chunk lists.
pub(super) fn list(reader: &Reader, id: BlobId) -> Result<Vec<BlobId>> {
    let list = reader.chunk(id)?;
    let (ids, rest) = list.as_chunks::<32>();
    if ids.is_empty() || !rest.is_empty() {
        return Err(Error::damaged(format!("blob {id}"), DecodeError::Invalid("list of chunks")));
    }
    Ok(ids.iter().map(|id| BlobId::new(*id)).collect())
}

fn collect(node: &Node, kind: &dyn record::RecordKind, references: &mut Vec<Reference>) -> Result<(), DecodeError> {
    node.rows.iter().try_for_each(|(key, value)| kind.references(key, value, references))
}
