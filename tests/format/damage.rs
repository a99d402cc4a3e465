//! Whatever happens to an object, its reader says so.

use packstone::error::DecodeError;
use packstone::format::*;
use packstone::id::{LedgerId, RepositoryId, SnapshotId};

use super::fixture;

type Open = Box<dyn Fn(&[u8]) -> Result<(), DecodeError>>;

/// Every small object with its reader.
fn objects() -> Vec<(&'static str, Vec<u8>, Open)> {
    fn open<T>(f: impl Fn(&[u8]) -> Result<T, DecodeError> + 'static) -> Open {
        Box::new(move |bytes| f(bytes).map(drop))
    }
    let (random, id) = (fixture::random(), fixture::session_id());
    let keys = fixture::keys;
    let (index_id, index) = fixture::index(&keys()).seal(&keys(), &random);
    let pack = fixture::pack(&keys());
    let mut objects: Vec<(&str, Sealed, Open)> = vec![
        ("config", fixture::config().encode(&keys()), open(move |b| Config::authenticate(b, &keys()))),
        ("session", fixture::session().seal(&keys(), &random), open(move |b| SessionRecord::open(&keys(), id, b))),
        (
            "heartbeat",
            fixture::heartbeat().seal(&keys(), id, &random),
            open(move |b| Heartbeat::open(&keys(), id, 3, b)),
        ),
        ("gc", fixture::gc().seal(&keys(), &random), open(move |b| GcRecord::open(&keys(), 12, b))),
        (
            "ledger",
            fixture::ledger().seal(&keys(), &random),
            open(move |b| LedgerRecord::open(&keys(), fixture::ledger().id, b)),
        ),
        ("mirror list", fixture::mirror_list().seal(&keys(), &random), open(move |b| MirrorList::open(&keys(), 2, b))),
        ("mirror mark", fixture::mirror_mark().seal(&keys(), &random), open(move |b| MirrorMark::open(&keys(), b))),
        ("index", index, open(move |b| IndexContent::open(&keys(), index_id, b))),
        ("pack", pack.body, open(move |b| verify_pack(&keys(), pack.id, b))),
    ];
    for (name, outcome) in fixture::outcomes() {
        objects.push((name, outcome.seal(&keys(), id, &random), open(move |b| Outcome::open(&keys(), id, b))));
    }
    objects.into_iter().map(|(name, object, open)| (name, object.bytes().to_vec(), open)).collect()
}

#[test]
fn every_damaged_byte_is_noticed() {
    for (name, object, open) in objects() {
        assert_eq!(open(&object), Ok(()), "{name}");
        for i in 0..object.len() {
            let mut damaged = object.clone();
            damaged[i] ^= 1 << (i % 8);
            assert!(open(&damaged).is_err(), "{name}: byte {i}");
        }
    }
}

#[test]
fn every_truncation_and_addition_is_noticed() {
    for (name, object, open) in objects() {
        for len in 0..object.len() {
            assert!(open(&object[..len]).is_err(), "{name}: {len} bytes");
        }
        assert!(open(&[&object[..], &[0]].concat()).is_err(), "{name}");
    }
}

#[test]
fn no_object_opens_as_another() {
    let all = objects();
    for (name, object, _) in &all {
        // The three outcomes of a session stand at one path: which of them is there is what put_new decides.
        let outcome = |name: &str| ["committed", "fenced", "forgotten"].contains(&name);
        for (other, _, open) in &all {
            let expected = name == other || (outcome(name) && outcome(other));
            assert_eq!(open(object).is_ok(), expected, "{name} as {other}");
        }
    }
}

#[test]
fn no_object_opens_at_another_place() {
    let (keys, random) = (fixture::keys(), fixture::random());
    let other = SnapshotId::new([0xff; 16]);
    let outcome = Outcome::Fenced { time_ms: 0, nonce: [0; 16] }.seal(&keys, fixture::session_id(), &random);
    assert_eq!(Outcome::open(&keys, other, outcome.bytes()), Err(DecodeError::Unauthentic));
    let session = fixture::session().seal(&keys, &random);
    assert_eq!(SessionRecord::open(&keys, other, session.bytes()), Err(DecodeError::Unauthentic));
    let heartbeat = fixture::heartbeat().seal(&keys, fixture::session_id(), &random);
    assert_eq!(Heartbeat::open(&keys, fixture::session_id(), 4, heartbeat.bytes()), Err(DecodeError::Unauthentic));
    assert_eq!(Heartbeat::open(&keys, other, 3, heartbeat.bytes()), Err(DecodeError::Unauthentic));
    let gc = fixture::gc().seal(&keys, &random);
    assert_eq!(GcRecord::open(&keys, 13, gc.bytes()), Err(DecodeError::Unauthentic));
    let ledger = fixture::ledger().seal(&keys, &random);
    assert_eq!(LedgerRecord::open(&keys, LedgerId::new([0xff; 16]), ledger.bytes()), Err(DecodeError::Unauthentic));
    let nonsense = LedgerRecord { shard: 17, ..fixture::ledger() }.seal(&keys, &random);
    let opened = LedgerRecord::open(&keys, fixture::ledger().id, nonsense.bytes());
    assert_eq!(opened, Err(DecodeError::Invalid("shard")));
    let committed = Outcome::Committed(Snapshot { id: other, ..fixture::snapshot() });
    let committed = committed.seal(&keys, fixture::session_id(), &random);
    assert_eq!(Outcome::open(&keys, fixture::session_id(), committed.bytes()), Err(DecodeError::IdMismatch));
}

#[test]
fn newer_versions_are_named_as_such() {
    let (keys, id) = (fixture::keys(), fixture::session_id());
    let mut object = fixture::session().seal(&keys, &fixture::random()).bytes().to_vec();
    object[5] = 9;
    assert_eq!(SessionRecord::open(&keys, id, &object), Err(DecodeError::UnknownVersion(9)));
    object[5] = 1;
    object[6] = 7;
    assert_eq!(SessionRecord::open(&keys, id, &object), Err(DecodeError::UnknownEpoch(7)));
    object[0] = b'X';
    assert_eq!(SessionRecord::open(&keys, id, &object), Err(DecodeError::BadMagic));
}

#[test]
fn damage_to_the_configuration_is_told_from_a_wrong_key() {
    let object = fixture::config().encode(&fixture::keys());
    let stranger = packstone::crypto::Keyring::new(packstone::crypto::MasterKey::new([1; 32]));
    let wrong = packstone::crypto::Keys::derive(fixture::repository(), &stranger);
    assert_eq!(Config::authenticate(object.bytes(), &wrong), Err(DecodeError::Unauthentic));
    let mut damaged = object.bytes().to_vec();
    damaged[20] ^= 1;
    assert_eq!(Config::authenticate(&damaged, &wrong), Err(DecodeError::Invalid("checksum")));
    assert_eq!(Config::decode_unauthenticated(&damaged), Err(DecodeError::Invalid("checksum")));
    let other = packstone::crypto::Keys::derive(RepositoryId::new([9; 16]), &fixture::keyring());
    assert_eq!(Config::authenticate(object.bytes(), &other), Err(DecodeError::Unauthentic));
}
