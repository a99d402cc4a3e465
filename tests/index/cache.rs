//! The cache can be lost, spoilt or out of date at any time.

use std::fs;
use std::path::PathBuf;

use packstone::index::Index;

use crate::packs::{blob, object, pack};

fn shard_path(cache: &tempfile::TempDir) -> PathBuf {
    cache.path().join("index").join(format!("{}.shard", object(1)))
}

fn cached() -> tempfile::TempDir {
    let cache = tempfile::tempdir().unwrap();
    let mut index = Index::new(Some(cache.path().to_owned()), 1 << 20).unwrap();
    index.add_object(object(1), &[pack(1, &(0..200).collect::<Vec<_>>(), &[(300, 5)])]).unwrap();
    cache
}

fn reopen(cache: &tempfile::TempDir) -> Index {
    Index::new(Some(cache.path().to_owned()), 1 << 20).unwrap()
}

/// Every changed byte is found when loading; the shard is then gone, and not loaded.
#[test]
fn a_damaged_shard_heals() {
    let cache = cached();
    let whole = fs::read(shard_path(&cache)).unwrap();
    for at in (0..whole.len()).step_by(13) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(shard_path(&cache), &bytes).unwrap();
        let mut index = reopen(&cache);
        assert!(!index.load_cached(object(1)).unwrap(), "byte {at}");
        assert!(!index.contains(&blob(7)));
        assert!(!index.has_cached(&object(1)), "byte {at}: the damaged file is gone");
    }
    let mut index = reopen(&cache);
    index.add_object(object(1), &[pack(1, &[7], &[])]).unwrap();
    assert!(reopen(&cache).load_cached(object(1)).unwrap());
}

#[test]
fn a_short_shard_is_not_there() {
    let cache = cached();
    let whole = fs::read(shard_path(&cache)).unwrap();
    for len in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        fs::write(shard_path(&cache), &whole[..len]).unwrap();
        assert!(!reopen(&cache).load_cached(object(1)).unwrap(), "{len} bytes");
        assert!(!shard_path(&cache).exists());
    }
}

#[test]
fn a_shard_of_another_object_is_refused() {
    let cache = cached();
    let other = cache.path().join("index").join(format!("{}.shard", object(2)));
    fs::copy(shard_path(&cache), &other).unwrap();
    assert!(!reopen(&cache).load_cached(object(2)).unwrap());
    assert!(!other.exists());
    assert!(reopen(&cache).load_cached(object(1)).unwrap());
}

#[test]
fn cleaning_keeps_what_is_known() {
    let cache = cached();
    let mut index = reopen(&cache);
    index.add_object(object(2), &[pack(2, &[900], &[])]).unwrap();
    assert_eq!(index.clean_cache().unwrap(), 1);
    assert!(!reopen(&cache).has_cached(&object(1)) && reopen(&cache).has_cached(&object(2)));
}

#[test]
fn without_a_cache_nothing_is_left_behind() {
    let mut index = Index::new(None, 0).unwrap();
    for n in 0..40 {
        index.add_pending(pack(n, &[n], &[])).unwrap();
    }
    assert!((0..40).all(|n| index.contains(&blob(n))));
    assert!(!index.has_cached(&object(1)) && !index.load_cached(object(1)).unwrap());
}
