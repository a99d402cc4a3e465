//! konserve's blobs: every header there is, and bytes that are none.

use bytes::Bytes;
use packstone::datahike::blob::{self, Blob, Compression, Encryption};
use packstone::datahike::{Home as _, Node, Secret, StoreKey, Unreadable, home::FileHome};
use packstone::error::DecodeError;
use packstone::record::datom::fressian::Reader;
use proptest::prelude::*;

use crate::world::Unpacked;

fn stored(unpacked: &Unpacked, key: StoreKey) -> Bytes {
    std::fs::read(unpacked.path().join(key.file_name())).unwrap().into()
}

/// A blob of a fixture: metadata and value as they stand.
fn parts() -> (Vec<u8>, Vec<u8>) {
    let head = stored(&Unpacked::fixture("store1607"), StoreKey::keyword("db"));
    let meta_len = u32::from_be_bytes(head[4..8].try_into().unwrap()) as usize;
    (head[20..20 + meta_len].to_vec(), head[20 + meta_len..].to_vec())
}

fn decode(bytes: Vec<u8>) -> Result<Blob, Unreadable> {
    Blob::decode(&bytes.into(), None)
}

#[test]
fn what_is_encoded_is_decoded() {
    let (meta, value) = parts();
    let secret = Secret::text("s3cret");
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        for encrypted in [false, true] {
            let encryption = Encryption { secret: &secret, meta_salt: [3; 64], value_salt: [200; 64] };
            let bytes: Bytes = blob::encode(&meta, &value, compression, encrypted.then_some(&encryption)).into();
            let key = encrypted.then_some(&secret);
            let blob = Blob::decode(&bytes, key).unwrap();
            assert_eq!(blob.bytes, value);
            assert_eq!(blob.key, packstone::record::datom::Value::Keyword("db".into()));
            assert!(blob.last_write.is_some() && !blob.binary);
            if encrypted {
                assert_eq!(Blob::decode(&bytes, None).unwrap_err(), Unreadable::NeedsKey);
                let wrong = Secret::text("wrong");
                assert_eq!(Blob::decode(&bytes, Some(&wrong)).unwrap_err(), Unreadable::WrongKey);
            }
        }
    }
}

#[test]
fn headers_of_every_age_are_understood() {
    let (meta, value) = parts();
    let modern = blob::encode(&meta, &value, Compression::None, None);
    let short = [&modern[..8], &modern[20..]].concat();
    assert_eq!(decode(short).unwrap().bytes, value);
    let mut script = modern.clone();
    script[4..8].copy_from_slice(&[u8::try_from(meta.len()).unwrap(), 0, 0, 0]);
    assert_eq!(decode(script).unwrap().bytes, value);
    let with = |at: usize, byte: u8| {
        let mut bytes = modern.clone();
        bytes[at] = byte;
        decode(bytes).unwrap_err()
    };
    assert_eq!(with(0, 2), Unreadable::Version(2));
    for id in [0, 2, 3, 9] {
        assert_eq!(with(1, id), Unreadable::Serializer(id));
    }
    assert_eq!(with(2, 3), Unreadable::Compressor(3));
    assert_eq!(with(3, 2), Unreadable::Encryptor(2));
    assert!(with(1, 3).to_string().contains("boring") && with(1, 0).to_string().contains("EDN"));
}

#[test]
fn lz4_without_an_end_mark_is_read_and_cut_off_is_not() {
    let (meta, value) = parts();
    let whole = blob::encode(&meta, &value, Compression::Lz4, None);
    assert_eq!(&whole[whole.len() - 4..], [0; 4]);
    let open = whole[..whole.len() - 4].to_vec();
    assert_eq!(decode(open.clone()).unwrap().bytes, value);
    let cut = decode(open[..open.len() - 20].to_vec());
    assert!(cut.and_then(|blob| blob.value().map(drop)).is_err());
}

#[test]
fn real_lz4_nodes_are_read() {
    let unpacked = Unpacked::fixture("lz4-blobs");
    let mut nodes = 0;
    for entry in std::fs::read_dir(unpacked.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes: Bytes = std::fs::read(&path).unwrap().into();
        if bytes.is_empty() {
            continue;
        }
        assert_eq!(bytes[2], 1, "{path:?}");
        let blob = Blob::decode(&bytes, None).unwrap();
        let name = StoreKey::from_file_name(path.file_name().unwrap().to_str().unwrap()).unwrap();
        assert_eq!(StoreKey::of(&blob.key).unwrap(), name);
        nodes += usize::from(Node::decode(&blob.bytes).is_ok());
    }
    assert!(nodes > 0);
}

#[test]
fn every_blob_of_the_fixtures_has_the_name_of_its_key() {
    for name in ["a-small-history", "store-a", "store-aes", "store-bf8", "store-diffbuf", "store1607", "store1607hh"] {
        let unpacked = Unpacked::fixture(name);
        let store = unpacked.store();
        let keys = store.home().list().unwrap();
        assert!(keys.len() > 3, "{name}");
        for key in keys {
            let blob = store.blob(key).unwrap().unwrap();
            assert_eq!(StoreKey::of(&blob.key).unwrap(), key, "{name}");
            blob.value().unwrap();
        }
    }
}

#[test]
fn trailing_and_missing_bytes_are_noticed() {
    let (meta, value) = parts();
    let whole = blob::encode(&meta, &value, Compression::None, None);
    let longer = decode([whole.as_slice(), b"\x00"].concat()).unwrap();
    assert_eq!(longer.value().unwrap_err(), Unreadable::Decode(DecodeError::TrailingBytes));
    for len in 0..whole.len() {
        let cut = decode(whole[..len].to_vec());
        assert!(cut.and_then(|blob| blob.value().map(drop)).is_err(), "{len} bytes");
    }
}

#[test]
fn names_that_are_no_blobs_are_ignored() {
    let unpacked = Unpacked::fixture("store1607");
    let home = FileHome::open(unpacked.path()).unwrap();
    let before = home.list().unwrap().len();
    let key = StoreKey([9; 16]);
    for suffix in [".ksv.new", ".ksv.backup", ""] {
        std::fs::write(unpacked.path().join(format!("{key}{suffix}")), "x").unwrap();
    }
    std::fs::write(unpacked.path().join(".nfs000000000000000100000001"), "x").unwrap();
    std::fs::write(unpacked.path().join(key.file_name()), "").unwrap();
    assert_eq!(home.list().unwrap().len(), before);
    assert!(home.get(key).unwrap().is_none(), "an empty file is no blob");
    assert_eq!(home.stamps(&[key]).unwrap(), [None]);
}

#[test]
fn what_is_put_is_found_and_its_stamp_changes() {
    let folder = tempfile::tempdir().unwrap();
    let home = FileHome::create(folder.path().join("new")).unwrap();
    let (a, b) = (StoreKey([1; 16]), StoreKey([2; 16]));
    home.put_many(vec![(a, Bytes::from_static(b"one")), (b, Bytes::from_static(b"two"))]).unwrap();
    assert_eq!(home.get_many(&[a, b]).unwrap(), [Some(Bytes::from_static(b"one")), Some(Bytes::from_static(b"two"))]);
    let seen = home.stamps(&[a]).unwrap()[0];
    home.put_many(vec![(a, Bytes::from_static(b"eno"))]).unwrap();
    assert_ne!(home.stamps(&[a]).unwrap()[0], seen);
    assert_eq!(home.list().unwrap().len(), 2);
    assert_eq!(home.traffic().blobs_written, 3);
    assert!(FileHome::create(folder.path().join("new")).is_ok(), "what an interrupted restore left is gone on with");
    home.put_many(vec![(StoreKey::keyword("db"), Bytes::from_static(b"head"))]).unwrap();
    assert!(FileHome::create(folder.path().join("new")).is_err(), "a database is not taken");
}

#[test]
fn a_change_is_told_at_once_and_silence_is_too() {
    let folder = tempfile::tempdir().unwrap();
    let home = std::sync::Arc::new(FileHome::create(folder.path().join("new")).unwrap());
    let (head, other) = (StoreKey([1; 16]), StoreKey([2; 16]));
    home.put_many(vec![(head, Bytes::from_static(b"one"))]).unwrap();
    let seen = home.stamps(&[head]).unwrap()[0];
    let wait = |timeout| home.wait_for_change(head, seen, std::time::Duration::from_millis(timeout)).unwrap();
    let start = std::time::Instant::now();
    assert!(!wait(200));
    assert!(start.elapsed().as_millis() >= 200);
    let writer = {
        let home = home.clone();
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            home.put_many(vec![(other, Bytes::from_static(b"node"))]).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(100));
            home.put_many(vec![(head, Bytes::from_static(b"two"))]).unwrap();
        })
    };
    let start = std::time::Instant::now();
    assert!(wait(20_000));
    assert!(start.elapsed().as_millis() >= 100, "another blob is no change of this one");
    writer.join().unwrap();
    assert!(wait(0), "a change before the call is noticed");
}

#[test]
fn nodes_of_fewer_parts_are_tolerated_and_strange_ones_are_not() {
    // [1 :a 2] in an old leaf: a struct of one component, a map, a list of lists.
    let fressian = |row: &[u8]| {
        let tag = b"datahike.index.PersistentSortedSet.Leaf";
        let mut bytes = vec![0xef, 0xe3, u8::try_from(tag.len()).unwrap()];
        bytes.extend_from_slice(tag);
        bytes.extend_from_slice(&[0x01, 0xc0, 0xe6, 0xca, 0xf7, 0xde]);
        bytes.extend_from_slice(b"keys");
        bytes.push(0xe5);
        bytes.extend_from_slice(row);
        bytes
    };
    let three = fressian(&[0xe7, 1, 0xca, 0xf7, 0xdb, b'a', 2]);
    let Node::Leaf(leaf) = Node::decode(&three).unwrap() else { panic!("a leaf") };
    assert!(leaf.datoms[0].added && leaf.datoms[0].t == 536_870_912);
    let four = fressian(&[0xe8, 1, 0xca, 0xf7, 0xdb, b'a', 2, 7]);
    let Node::Leaf(leaf) = Node::decode(&four).unwrap() else { panic!("a leaf") };
    assert!(leaf.datoms[0].added && leaf.datoms[0].t == 7);
    for row in
        [&[0xe6, 1, 2][..], &[0xe7, 1, 0xca, 0xf7, 0xdb, b'a', 0xf7], &[0xe7, 0xf5, 0xca, 0xf7, 0xdb, b'a', 2], &[5]]
    {
        assert!(Node::decode(&fressian(row)).is_err(), "{row:x?}");
    }
    let mut hitchhiker = vec![0xef, 0xe3, 24];
    hitchhiker.extend_from_slice(b"hitchhiker.tree.DataNode");
    hitchhiker.extend_from_slice(&[0x01, 0xc0, 0xe4]);
    assert_eq!(Node::decode(&hitchhiker).unwrap_err(), Unreadable::Hitchhiker);
    assert!(Reader::new(&hitchhiker).value().is_ok());
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(at in 0_usize..4000, byte in any::<u8>(), len in 0_usize..6000) {
        let (meta, value) = parts();
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let mut bytes = blob::encode(&meta, &value, compression, None);
            bytes.truncate(len.max(1));
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(blob) = decode(bytes) {
                let _ = Node::decode(&blob.bytes);
                let _ = packstone::datahike::Head::decode("db", &blob);
                let _ = packstone::datahike::SchemaMeta::decode(&blob);
            }
        }
    }
}
