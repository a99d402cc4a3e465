//! Key slots under their right name, and keyrings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::crypto::{Keyring, SlotSecret};
use packstone::format::{KeySlot, SlotMethod};
use packstone::id::KeySlotId;
use packstone_fuzz::keys;

fuzz_target!(|data: &[u8]| {
    if let Ok(keyring) = Keyring::decode(data) {
        assert_eq!(&keyring.encode()[..], data);
    }
    open(data);
    // A byte of length for the public part, which so begins where it should.
    if let Some((len, rest)) = data.split_first() {
        open(&[&b"PSTN\x02\x01"[..], &u32::from(*len).to_le_bytes(), rest].concat());
    }
});

fn open(object: &[u8]) {
    let Ok(slot) = KeySlot::decode(KeySlotId::new(blake3::hash(object).into()), object) else { return };
    let _ = slot.description();
    // A password would be stretched for as long as the slot says: the bounds of that are tested, not fuzzed.
    if let SlotMethod::KeyFile = slot.method() {
        let _ = slot.open(keys().repository(), &SlotSecret::key_file(vec![0x5a; 64]));
    }
}
