//! Configurations whose hashes are right, and any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::format::Config;
use packstone_fuzz::{keys, with_length};

fuzz_target!(|data: &[u8]| {
    let mut object = [&b"PSTN\x01\x01"[..], &with_length(data)].concat();
    object.extend_from_slice(keys().config_mac(&object).as_bytes());
    object.extend_from_slice(blake3::hash(&object).as_bytes());
    let claimed = Config::decode_unauthenticated(&object);
    if let Ok(config) = Config::authenticate(&object, keys()) {
        assert_eq!(claimed.as_ref(), Ok(&config));
        assert_eq!(Config::authenticate(config.encode(keys()).bytes(), keys()), Ok(config));
    }
    let _ = Config::decode_unauthenticated(data);
    let mut hashed = data.to_vec();
    hashed.extend_from_slice(blake3::hash(data).as_bytes());
    let _ = Config::decode_unauthenticated(&hashed);
});
