//! What a store in a bucket costs.

use packstone::datahike::{StoreKey, home};

use crate::place::{blobs, key, places};

#[test]
fn stamps_come_with_blobs_and_from_listings_where_that_is_cheaper() {
    let Some(place) = places().into_iter().find(|place| place.kind == "s3") else { return };
    let blobs = blobs(2600);
    home::create(&place.location).unwrap().put_many(blobs.clone().into_iter().collect()).unwrap();
    let opened = || home::open(&place.location).unwrap();
    let count = |home: &dyn packstone::datahike::Home, keys: &[StoreKey], expected: std::ops::RangeInclusive<u64>| {
        let before = home.traffic().requests;
        let stamps = home.stamps(keys).unwrap();
        let requests = home.traffic().requests - before;
        eprintln!("{} stamps: {requests} requests", keys.len());
        assert!(expected.contains(&requests), "{} stamps: {requests} requests", keys.len());
        for (key, stamp) in keys.iter().zip(&stamps) {
            assert_eq!(stamp.is_some(), blobs.contains_key(key), "{key}");
        }
        stamps
    };
    let all: Vec<_> = (0..2650).map(key).collect();
    let home = opened();
    let stamps = count(&*home, &all, 3..=4);
    // Few are asked for one by one, also where they are close together; most of a page's, by that page.
    count(&*home, &all[..8], 8..=8);
    count(&*home, &all[..20], 20..=20);
    count(&*home, &all[2500..], 3..=4);
    let mut sorted = all.clone();
    sorted.sort();
    count(&*home, &sorted[1000..1040], 1..=1);
    count(&*home, &[sorted[..30].to_vec(), sorted[..30].to_vec()].concat(), 1..=1);
    // One page tells that there are too many others: 30 keys of which the page holds about a third.
    let spread: Vec<_> = sorted.iter().step_by(88).copied().collect();
    count(&*opened(), &spread, 15..=27);
    // A blob comes with its stamp, the same one.
    let before = home.traffic().requests;
    let stamped = home.get_stamped(&all[..300]).unwrap();
    assert_eq!(home.traffic().requests - before, 300);
    for ((key, found), stamp) in all.iter().zip(stamped).zip(stamps) {
        let (stamp_with_blob, blob) = found.unwrap();
        assert_eq!((Some(stamp_with_blob), Some(&blob)), (stamp, blobs.get(key)), "{key}");
    }
}
