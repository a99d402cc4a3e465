//! What every home does.

use std::thread;
use std::time::{Duration, Instant};

use packstone::ErrorKind;
use packstone::datahike::{StoreKey, home};

use crate::place::{blob, blobs, key, places};

#[test]
fn blobs_come_back_as_they_were_in_the_order_they_were_asked_for() {
    for place in places() {
        let home = home::create(&place.location).unwrap();
        let blobs = blobs(600);
        home.put_many(blobs.clone().into_iter().collect()).unwrap();
        home.put_many(Vec::new()).unwrap();
        let home = home::open(&place.location).unwrap();
        let mut keys: Vec<_> = blobs.keys().copied().collect();
        keys.reverse();
        keys.extend([key(1_000_000), key(3), key(3)]);
        let expected: Vec<_> = keys.iter().map(|key| blobs.get(key).cloned()).collect();
        assert_eq!(home.get_many(&keys).unwrap(), expected, "{}", place.kind);
        assert_eq!(home.get(key(7)).unwrap().as_ref(), blobs.get(&key(7)), "{}", place.kind);
        assert_eq!(home.get(key(1_000_001)).unwrap(), None, "{}", place.kind);
        let mut listed = home.list().unwrap();
        listed.sort();
        assert_eq!(listed, blobs.keys().copied().collect::<Vec<_>>(), "{}", place.kind);
        let traffic = home.traffic();
        let bytes: usize = expected.iter().flatten().map(|blob| blob.len()).sum();
        let bytes = bytes + blobs[&key(7)].len();
        assert_eq!((traffic.blobs_read, traffic.bytes_read), (603, bytes as u64), "{}", place.kind);
        assert!(traffic.requests > 1, "{}", place.kind);
    }
}

#[test]
fn a_place_without_anything_in_it_is_asked_like_any_other() {
    for place in places() {
        let home = home::create(&place.location).unwrap();
        assert_eq!(home.get(key(1)).unwrap(), None, "{}", place.kind);
        assert_eq!(home.get_many(&[key(1), key(2)]).unwrap(), [None, None], "{}", place.kind);
        assert_eq!(home.stamps(&[key(1)]).unwrap(), [None], "{}", place.kind);
        assert_eq!(home.list().unwrap(), [], "{}", place.kind);
        home.put_many(vec![(key(1), blob("a", b"b"))]).unwrap();
        assert_eq!(home.list().unwrap(), [key(1)], "{}", place.kind);
    }
}

#[test]
fn a_stamp_changes_when_its_blob_is_written_again_and_only_then() {
    for place in places() {
        let home = home::create(&place.location).unwrap();
        home.put_many(blobs(200).into_iter().collect()).unwrap();
        let keys: Vec<_> = (0..201).map(key).collect();
        let before = home.stamps(&keys).unwrap();
        assert_eq!(before.iter().filter(|stamp| stamp.is_some()).count(), 200, "{}", place.kind);
        assert_eq!(before.last(), Some(&None), "{}", place.kind);
        let stamped = home.get_stamped(&keys).unwrap();
        let stamps: Vec<_> = stamped.iter().map(|found| found.as_ref().map(|(stamp, _)| *stamp)).collect();
        assert_eq!(stamps, before, "{}", place.kind);
        // The same length, and a later time in the metadata.
        home.put_many(vec![(key(5), blob("metadata of 6", &[1; 30])), (key(200), blob("new", b""))]).unwrap();
        let after = home.stamps(&keys).unwrap();
        let changed: Vec<_> = (0..201).filter(|n| before[*n] != after[*n]).collect();
        assert_eq!(changed, [5, 200], "{}", place.kind);
        // Asked for by themselves they are the same.
        assert_eq!(home.stamps(&keys[3..7]).unwrap(), after[3..7], "{}", place.kind);
    }
}

#[test]
fn the_last_of_several_blobs_of_one_name_stays_and_a_large_one_fits() {
    for place in places() {
        let home = home::create(&place.location).unwrap();
        let large = blob("large", &vec![7; 9 << 20]);
        let twice = vec![(key(1), blob("a", b"first")), (key(2), large.clone()), (key(1), blob("b", b"second"))];
        home.put_many(twice).unwrap();
        assert_eq!(home.get(key(1)).unwrap(), Some(blob("b", b"second")), "{}", place.kind);
        assert_eq!(home.get(key(2)).unwrap(), Some(large), "{}", place.kind);
        assert_eq!(home.traffic().blobs_written, if place.kind == "s3" { 2 } else { 3 }, "{}", place.kind);
    }
}

#[test]
fn what_is_removed_is_gone_and_what_is_absent_is_no_error() {
    for place in places() {
        let home = home::create(&place.location).unwrap();
        home.remove_many(&[key(1)]).unwrap();
        home.put_many(blobs(2300).into_iter().collect()).unwrap();
        let home = home::open(&place.location).unwrap();
        let (gone, kept): (Vec<u32>, Vec<u32>) = (0..2300).partition(|n| n % 9 != 0);
        let mut kept: Vec<_> = kept.into_iter().map(key).collect();
        kept.sort();
        let mut keys: Vec<_> = gone.into_iter().map(key).collect();
        keys.extend([key(1_000_000), key(1), StoreKey::keyword("db")]);
        let before = home.traffic().requests;
        home.remove_many(&keys).unwrap();
        let requests = home.traffic().requests - before;
        assert!((3..=6).contains(&requests), "{}: {requests} requests", place.kind);
        for home in [&home, &home::open(&place.location).unwrap()] {
            let mut listed = home.list().unwrap();
            listed.sort();
            assert!(listed == kept, "{}: {} blobs", place.kind, listed.len());
            assert!(home.get_many(&keys).unwrap().iter().all(Option::is_none), "{}", place.kind);
            assert!(home.stamps(&keys).unwrap().iter().all(Option::is_none), "{}", place.kind);
            assert_eq!(home.get(key(9)).unwrap().as_ref(), blobs(10).get(&key(9)), "{}", place.kind);
        }
        let before = home.traffic().requests;
        home.remove_many(&[]).unwrap();
        assert_eq!(home.traffic().requests, before, "{}", place.kind);
        home.remove_many(&keys).unwrap();
        home.remove_many(&[key(9)]).unwrap();
        home.put_many(vec![(key(1), blob("again", b"b"))]).unwrap();
        assert_eq!(home.get(key(1)).unwrap(), Some(blob("again", b"b")), "{}", place.kind);
        assert_eq!(home.list().unwrap().len(), kept.len(), "{}", place.kind);
    }
}

#[test]
fn a_change_is_noticed_soon_and_silence_ends_in_time() {
    for place in places() {
        let home = home::create(&place.location).unwrap();
        let head = StoreKey::keyword("db");
        home.put_many(vec![(head, blob("1", b"head"))]).unwrap();
        let seen = home.stamps(&[head]).unwrap()[0];
        let begun = Instant::now();
        assert!(!home.wait_for_change(head, seen, Duration::from_millis(120)).unwrap(), "{}", place.kind);
        assert!(begun.elapsed() >= Duration::from_millis(120), "{}", place.kind);
        let location = place.location.clone();
        let writer = thread::spawn(move || {
            let home = home::open(&location).unwrap();
            thread::sleep(Duration::from_millis(100));
            home.put_many(vec![(head, blob("2", b"head"))]).unwrap();
        });
        assert!(home.wait_for_change(head, seen, Duration::from_secs(20)).unwrap(), "{}", place.kind);
        writer.join().unwrap();
        assert!(home.wait_for_change(key(9), seen, Duration::ZERO).unwrap(), "{}: absence is a change", place.kind);
    }
}

#[test]
fn a_store_that_is_not_there_is_not_opened_and_one_that_is_not_made_again() {
    for place in places() {
        let missing = home::open(&place.location).err().unwrap();
        assert_eq!(missing.kind(), ErrorKind::NotFound, "{}: {missing}", place.kind);
        home::create(&place.location).unwrap().put_many(vec![(key(1), blob("a", b"b"))]).unwrap();
        let taken = home::create(&place.location).err().unwrap();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "{}: {taken}", place.kind);
        assert!(home::open(&place.location).is_ok(), "{}", place.kind);
    }
}

#[test]
fn an_address_that_makes_no_sense_is_refused() {
    for (address, part) in [
        ("ftp://host/x", "ftp"),
        ("h2:/tmp/x", "not known"),
        ("s3://bucket", "id is missing"),
        ("s3://key:hunter2@bucket/id", "AWS_ACCESS_KEY_ID"),
        ("s3://bucket/id?regoin=x", "regoin"),
        ("mysql://me@host", "database is missing"),
        ("redis://host/zero", "no number"),
        ("sqlite:", "file is missing"),
        ("sqlite:/nowhere/store.db", "no such file"),
        ("postgres://me@host/db?table=a;b", "no name of a table"),
        ("postgres://me@host/db?tabel=a", "option 1 has no meaning here; there are table"),
        ("postgres://me@host/db?sslmode=maybe", "verify-full"),
        ("sqlite:/tmp?poll-ms=0", "no such file"),
    ] {
        let error = home::open(address).err().unwrap().to_string();
        assert!(error.contains(part) && !error.contains("hunter2"), "{address}: {error}");
    }
}
