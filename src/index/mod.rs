//! Which pack and frame holds which blob.
use crate::error::Result;
use crate::format::{BlobEntry, FrameEntry, IndexedPack};
use crate::id::{BlobId, IndexId, PackId};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
/// Where.
#[derive(Clone, Debug)]
pub struct BlobLocation {
    /// pack
    pub pack: PackId,
    /// frame
    pub frame: FrameEntry,
    /// blob
    pub blob: BlobEntry,
    /// offset
    pub offset_in_frame: u32,
}
/// Index
#[derive(Default)]
pub struct Index {
    objects: HashMap<IndexId, Vec<IndexedPack>>,
    pending: Vec<IndexedPack>,
    condemned: HashSet<PackId>,
    map: HashMap<BlobId, Vec<BlobLocation>>,
}
impl Index {
    /// new
    pub fn new(_cache: Option<PathBuf>) -> Result<Self> {
        Ok(Self::default())
    }
    /// known
    pub fn known_objects(&self) -> Vec<IndexId> {
        self.objects.keys().copied().collect()
    }
    /// has
    pub fn has_object(&self, id: &IndexId) -> bool {
        self.objects.contains_key(id)
    }
    /// load
    pub fn load_cached(&mut self, _id: IndexId) -> Result<bool> {
        Ok(false)
    }
    /// add
    pub fn add_object(&mut self, id: IndexId, packs: &[IndexedPack]) -> Result<()> {
        self.objects.insert(id, packs.to_vec());
        for p in packs {
            self.put(p)
        }
        Ok(())
    }
    /// remove
    pub fn remove_object(&mut self, id: IndexId) {
        self.objects.remove(&id);
    }
    /// pending
    pub fn add_pending(&mut self, pack: IndexedPack) -> Result<()> {
        self.put(&pack);
        self.pending.push(pack);
        Ok(())
    }
    /// condemn
    pub fn condemn(&mut self, packs: &[PackId]) {
        self.condemned.extend(packs)
    }
    /// find
    pub fn find(&self, id: &BlobId) -> Result<Option<BlobLocation>> {
        Ok(self.map.get(id).and_then(|l| l.iter().find(|l| !self.condemned.contains(&l.pack))).cloned())
    }
    /// find
    pub fn find_whole(&self, id: &BlobId) -> Result<Option<BlobLocation>> {
        Ok(self
            .map
            .get(id)
            .and_then(|l| l.iter().find(|l| !self.condemned.contains(&l.pack) && l.frame.base.is_none()))
            .cloned())
    }
    /// has
    pub fn contains(&self, id: &BlobId) -> Result<bool> {
        Ok(self.find(id)?.is_some())
    }
    fn put(&mut self, p: &IndexedPack) {
        for f in &p.directory.frames {
            let mut o = 0;
            for b in &f.blobs {
                let v = self.map.entry(b.id).or_default();
                if !v.iter().any(|l| l.pack == p.id) {
                    v.push(BlobLocation { pack: p.id, frame: f.clone(), blob: *b, offset_in_frame: o });
                }
                o += b.stored_len;
            }
        }
    }
}
