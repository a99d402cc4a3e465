//! Connections that break, and servers that go away.

use std::thread;
use std::time::{Duration, Instant};

use packstone::ErrorKind;
use packstone::datahike::home;

use crate::place::{Place, blobs, key, places};
use crate::proxy::Proxy;

/// Places behind proxies.
fn proxied() -> impl Iterator<Item = (Place, Proxy)> {
    places().into_iter().filter_map(|mut place| {
        let server = place.server.clone()?;
        let proxy = Proxy::to(&server);
        place.location = place.location.replace(&server, &proxy.address);
        Some((place, proxy))
    })
}

#[test]
fn a_connection_that_breaks_in_the_middle_of_an_answer_is_replaced() {
    for (place, proxy) in proxied() {
        let blobs = blobs(300);
        let home = home::create(&place.location).unwrap();
        home.put_many(blobs.clone().into_iter().collect()).unwrap();
        let keys: Vec<_> = blobs.keys().copied().collect();
        let expected: Vec<_> = blobs.values().cloned().map(Some).collect();
        for bytes in [0, 10_000, 100_000] {
            proxy.break_after(bytes);
            assert_eq!(home.get_many(&keys).unwrap(), expected, "{} after {bytes}", place.kind);
            assert!(proxy.has_broken(), "{} after {bytes}", place.kind);
        }
        proxy.break_after(0);
        assert_eq!(home.list().unwrap().len(), 300, "{}", place.kind);
        proxy.break_after(0);
        assert!(home.stamps(&keys).unwrap().iter().all(Option::is_some), "{}", place.kind);
        // A write whose answer is lost is done again.
        proxy.break_after(0);
        home.put_many(blobs.into_iter().take(5).collect()).unwrap();
        assert!(proxy.has_broken() && proxy.accepted() > 4, "{}", place.kind);
        // And so is a removal.
        proxy.break_after(0);
        home.remove_many(&keys[7..]).unwrap();
        assert!(proxy.has_broken(), "{}", place.kind);
        assert_eq!(home.list().unwrap().len(), 7, "{}", place.kind);
    }
}

#[test]
fn a_server_that_is_away_for_a_while_is_waited_for() {
    for (place, proxy) in proxied() {
        let home = home::create(&place.location).unwrap();
        home.put_many(blobs(3).into_iter().collect()).unwrap();
        proxy.set_down(true);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(700));
                proxy.set_down(false);
            });
            assert!(home.get(key(1)).unwrap().is_some(), "{}", place.kind);
        });
    }
}

#[test]
fn a_server_that_stays_away_ends_in_an_error_that_names_store_and_blob() {
    thread::scope(|scope| {
        for (place, proxy) in proxied() {
            scope.spawn(move || {
                let home = home::create(&place.location).unwrap();
                home.put_many(blobs(3).into_iter().collect()).unwrap();
                proxy.set_down(true);
                let begun = Instant::now();
                let error = home.get(key(1)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Transient, "{}: {error}", place.kind);
                let object = error.object();
                assert!(object.contains(&key(1).to_string()), "{}: {error}", place.kind);
                assert!(object.contains(place.kind.trim_start_matches("maria")) || place.kind == "mariadb", "{error}");
                assert!(!error.to_string().contains("testsecret"), "{error}");
                assert!(begun.elapsed() < Duration::from_secs(60), "{}", place.kind);
            });
        }
    });
}

/// A mistyped address is not waited for.
#[test]
fn a_server_that_never_was_is_refused_at_once() {
    for (place, proxy) in proxied().filter(|(place, _)| place.kind != "s3") {
        proxy.set_down(true);
        let begun = Instant::now();
        let error = home::open(&place.location).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Transient, "{}: {error}", place.kind);
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", place.kind);
    }
}
