//! Blobs that are in no pack: made of sync segments, in memory, for whoever reads a state that no snapshot holds yet.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::Repository;
use crate::error::Result;
use crate::id::BlobId;
use crate::tree::{Node, WriteNode};

/// What one open repository holds in memory beside its packs; shared by its clones. Nothing of it is ever stored.
#[derive(Default)]
pub(super) struct Overlay(RwLock<HashMap<BlobId, Held>>);

enum Held {
    Chunk(Bytes),
    Node(Arc<Node>),
}

/// Puts blobs beside the packs, in memory only; readers of the same repository find them.
pub struct OverlayWriter {
    repository: Repository,
}

impl OverlayWriter {
    /// Holds a chunk and returns its id.
    pub fn write_chunk(&mut self, content: Bytes) -> BlobId {
        let id = self.repository.keys().blob_id_chunk(&content);
        self.hold(id, Held::Chunk(content));
        id
    }

    /// The repository whose readers find what is written.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    fn hold(&self, id: BlobId, held: Held) {
        let overlay = &self.repository.0.overlay.0;
        overlay.write().unwrap_or_else(PoisonError::into_inner).insert(id, held);
    }
}

impl WriteNode for OverlayWriter {
    fn write_node(&mut self, node: Node) -> Result<BlobId> {
        let id = self.repository.keys().blob_id_node(&node.canonical());
        self.hold(id, Held::Node(Arc::new(node)));
        Ok(id)
    }
}

impl Repository {
    /// Writes blobs that only readers of this open repository find.
    pub fn overlay_writer(&self) -> OverlayWriter {
        OverlayWriter { repository: self.clone() }
    }

    pub(super) fn overlaid_chunk(&self, id: &BlobId) -> Option<Bytes> {
        match self.0.overlay.0.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            Some(Held::Chunk(content)) => Some(content.clone()),
            _ => None,
        }
    }

    pub(super) fn overlaid_node(&self, id: &BlobId) -> Option<Arc<Node>> {
        match self.0.overlay.0.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            Some(Held::Node(node)) => Some(Arc::clone(node)),
            _ => None,
        }
    }
}
