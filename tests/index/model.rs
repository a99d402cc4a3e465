//! Any sequence of changes leaves the index and a plain map agreeing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use packstone::format::IndexedPack;
use packstone::id::PackId;
use packstone::index::{Index, MarkSet};
use proptest::prelude::*;

use crate::packs::{blob, object, pack, pack_id};

const BLOBS: u32 = 60;

#[derive(Clone, Debug)]
enum Step {
    Object(u32, Vec<u32>),
    Pending(u32),
    Remove(u32),
    Condemn(u32),
}

/// The n-th pack always holds the same.
fn fixed_pack(n: u32) -> IndexedPack {
    let whole: Vec<u32> = (0..n % 7).map(|k| (n * 13 + k * 17) % BLOBS).collect();
    let deltas: Vec<(u32, u32)> = (0..n % 3).map(|k| ((n * 5 + k * 11) % BLOBS, (n * 3 + k) % BLOBS)).collect();
    pack(n, &whole, &deltas)
}

#[derive(Default)]
struct Model {
    objects: BTreeMap<u32, Vec<u32>>,
    pending: BTreeSet<u32>,
    condemned: BTreeSet<u32>,
}

impl Model {
    fn listed(&self) -> BTreeSet<u32> {
        self.objects.values().flatten().chain(&self.pending).copied().collect()
    }

    fn live(&self) -> BTreeSet<u32> {
        self.listed().difference(&self.condemned).copied().collect()
    }

    /// The packs with a whole copy and those with a delta (and its base).
    fn copies(&self, n: u32) -> (Vec<PackId>, Vec<(PackId, packstone::id::BlobId)>) {
        let (mut whole, mut deltas) = (Vec::new(), Vec::new());
        for pack in self.live() {
            for frame in &fixed_pack(pack).directory.frames {
                if frame.blobs.iter().any(|entry| entry.id == blob(n)) {
                    match frame.base {
                        None => whole.push(pack_id(pack)),
                        Some(base) => deltas.push((pack_id(pack), base)),
                    }
                }
            }
        }
        (whole, deltas)
    }

    fn contains(&self, n: u32) -> bool {
        let is_whole = |id| (0..BLOBS).any(|n| blob(n) == id && !self.copies(n).0.is_empty());
        let (whole, deltas) = self.copies(n);
        !whole.is_empty() || deltas.iter().any(|(_, base)| is_whole(*base))
    }
}

fn check(index: &Index, model: &Model) {
    let mut marks = MarkSet::new(index.ordinals());
    for n in 0..BLOBS {
        let id = blob(n);
        let (whole, deltas) = model.copies(n);
        assert_eq!(index.contains(&id), model.contains(n), "contains {n}");
        let found = index.find(&id);
        assert_eq!(found.is_some(), !(whole.is_empty() && deltas.is_empty()), "find {n}");
        if let Some(found) = found {
            assert_eq!(found.blob().id, id);
            assert_eq!(found.is_delta(), whole.is_empty(), "a whole copy of {n} is preferred");
            let known = whole.contains(&found.pack()) || deltas.iter().any(|(pack, _)| *pack == found.pack());
            assert!(known, "{n} is in the pack it was found in");
            let before = found.frame().blobs.iter().take_while(|entry| entry.id != id);
            assert_eq!(found.offset_in_frame(), before.map(|entry| u64::from(entry.stored_len)).sum::<u64>());
        }
        let copies: BTreeSet<PackId> = index.copies(&id).iter().map(|copy| copy.pack).collect();
        let expected: BTreeSet<PackId> = whole.iter().copied().chain(deltas.iter().map(|(pack, _)| *pack)).collect();
        assert_eq!(copies, expected, "copies of {n}");
        let ordinal = index.ordinal(&id);
        assert_eq!(ordinal.is_some(), !copies.is_empty());
        if let Some(ordinal) = ordinal {
            assert!(ordinal < index.ordinals());
            assert!(marks.insert(ordinal), "two blobs share the ordinal {ordinal}");
            assert!(index.copies(&id).iter().any(|copy| copy.ordinal == ordinal && copy.is_delta == whole.is_empty()));
        }
    }
    let packs: Vec<PackId> = index.packs().map(|pack| pack.unwrap().id).collect();
    let once: BTreeSet<PackId> = packs.iter().copied().collect();
    assert_eq!(packs.len(), once.len(), "a pack comes once");
    assert_eq!(once, model.live().into_iter().map(pack_id).collect());
    for n in 0..40 {
        let pack = index.pack(&pack_id(n)).unwrap();
        assert_eq!(pack.as_deref(), model.listed().contains(&n).then(|| fixed_pack(n)).as_ref(), "pack {n}");
    }
    let listed: HashSet<_> = index.objects().collect();
    let expected = model.objects.iter().flat_map(|(id, packs)| packs.iter().map(|n| (object(*id), pack_id(*n))));
    assert_eq!(listed, expected.collect());
    assert_eq!(index.known_objects(), &model.objects.keys().map(|id| object(*id)).collect::<HashSet<_>>());
}

fn run(steps: &[Step], memory_limit: u64) {
    let cache = tempfile::tempdir().unwrap();
    let mut index = Index::new(Some(cache.path().to_owned()), memory_limit).unwrap();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Object(id, packs) => {
                let packs = model.objects.entry(*id).or_insert_with(|| packs.clone()).clone();
                let indexed: Vec<_> = packs.iter().map(|n| fixed_pack(*n)).collect();
                index.add_object(object(*id), &indexed).unwrap();
                model.pending.retain(|n| !packs.contains(n));
            }
            Step::Pending(n) => {
                index.add_pending(fixed_pack(*n)).unwrap();
                model.pending.insert(*n);
            }
            Step::Remove(id) => {
                index.remove_object(&object(*id)).unwrap();
                model.objects.remove(id);
            }
            Step::Condemn(n) => {
                index.condemn(&[pack_id(*n)]);
                model.condemned.insert(*n);
            }
        }
    }
    check(&index, &model);
    // Another run finds the same in the cache, without what was pending.
    let mut again = Index::new(Some(cache.path().to_owned()), memory_limit).unwrap();
    for id in model.objects.keys() {
        assert!(again.has_cached(&object(*id)) && again.load_cached(object(*id)).unwrap());
    }
    again.condemn(&model.condemned.iter().map(|n| pack_id(*n)).collect::<Vec<_>>());
    model.pending.clear();
    check(&again, &model);
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..60u32, proptest::collection::vec(0..40u32, 0..5)).prop_map(|(id, packs)| Step::Object(id, packs)),
        4 => (0..40u32).prop_map(Step::Pending),
        1 => (0..60u32).prop_map(Step::Remove),
        1 => (0..40u32).prop_map(Step::Condemn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn agrees_with_a_map(steps in proptest::collection::vec(step(), 0..80)) {
        run(&steps, 1 << 20);
    }

    #[test]
    fn agrees_with_a_map_when_nothing_fits_in_memory(steps in proptest::collection::vec(step(), 0..80)) {
        run(&steps, 0);
    }
}

#[test]
fn a_pack_of_more_blobs_than_a_slot_can_count_is_found_whole() {
    let numbers: Vec<u32> = (0..150_000).collect();
    let big = pack(1, &numbers, &[(200_000, 140_000)]);
    let mut index = Index::new(None, 64 << 20).unwrap();
    index.add_object(object(1), std::slice::from_ref(&big)).unwrap();
    for n in (0..150_000).step_by(997).chain([65_535, 65_536, 131_071, 131_072, 149_999, 200_000]) {
        assert_eq!(index.find(&blob(n)).unwrap().blob().id, blob(n));
        assert!(index.contains(&blob(n)));
    }
    assert!((300_000..301_000).all(|n| !index.contains(&blob(n))));
    assert_eq!(index.packs().count(), 1);
    // Merged shards hold the same.
    for n in 2..20 {
        index.add_object(object(n), &[pack(n, &[500_000 + n], &[])]).unwrap();
    }
    assert_eq!(index.find(&blob(500_007)).unwrap().pack(), pack_id(7));
    assert_eq!(index.packs().count(), 19);
}
