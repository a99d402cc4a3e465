//! Snapshots, fences and tombstones that a key holder sealed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::format::Outcome;
use packstone_fuzz::{Object, SESSION, keys};

fuzz_target!(|data: &[u8]| {
    if let Ok(outcome) = Outcome::open(keys(), SESSION, &Object::Outcome.seal(data)) {
        let again = outcome.seal(keys(), SESSION, &[0; 32]);
        assert_eq!(Outcome::open(keys(), SESSION, again.bytes()), Ok(outcome));
    }
    let _ = Outcome::open(keys(), SESSION, data);
});
