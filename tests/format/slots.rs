//! Key slots: who gets in, and what is said to who does not.

use packstone::crypto::{KdfParameters, SlotSecret};
use packstone::error::DecodeError;
use packstone::format::{KeySlot, SlotDescription, SlotError, SlotMethod};
use packstone::id::{KeySlotId, RepositoryId};

use super::fixture::{self, counting};

fn slot(secret: &SlotSecret) -> (KeySlotId, Vec<u8>) {
    let description = SlotDescription { label: "first".into(), ..SlotDescription::default() };
    let parameters = KdfParameters::insecure_for_tests();
    let (salt, random) = (counting(1), fixture::random());
    let (id, object) =
        KeySlot::create(fixture::repository(), &fixture::keyring(), secret, parameters, salt, random, description)
            .unwrap();
    (id, object.bytes().to_vec())
}

fn name(object: &[u8]) -> KeySlotId {
    KeySlotId::new(blake3::hash(object).into())
}

#[test]
fn the_right_secret_opens_and_every_other_is_refused_as_such() {
    let secrets = [SlotSecret::password("right"), SlotSecret::key_file(vec![1; 32])];
    let wrong = [SlotSecret::password("wrong"), SlotSecret::key_file(vec![2; 32])];
    for i in 0..2 {
        let (id, object) = slot(&secrets[i]);
        let slot = KeySlot::decode(id, &object).unwrap();
        assert_eq!(slot.open(fixture::repository(), &secrets[i]), Ok(fixture::keyring()));
        assert_eq!(slot.open(fixture::repository(), &wrong[i]), Err(SlotError::WrongSecret));
        assert_eq!(slot.open(RepositoryId::new([9; 16]), &secrets[i]), Err(SlotError::WrongSecret));
        assert_eq!(slot.open(fixture::repository(), &secrets[1 - i]), Err(SlotError::OtherKind));
        assert_eq!(slot.description().label, "first");
        assert!(matches!((i, slot.method()), (0, SlotMethod::Password(_)) | (1, SlotMethod::KeyFile)));
    }
}

#[test]
fn a_damaged_slot_is_not_mistaken_for_a_wrong_password() {
    let secret = SlotSecret::key_file(vec![1; 32]);
    let (id, object) = slot(&secret);
    for i in 0..object.len() {
        let mut damaged = object.clone();
        damaged[i] ^= 4;
        assert_eq!(KeySlot::decode(id, &damaged), Err(SlotError::Damaged(DecodeError::IdMismatch)));
        // Even renamed to fit, it never gives a keyring.
        if let Ok(slot) = KeySlot::decode(name(&damaged), &damaged) {
            assert!(slot.open(fixture::repository(), &secret).is_err(), "byte {i}");
        }
    }
    let mut damaged = object.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let slot = KeySlot::decode(name(&damaged), &damaged).unwrap();
    assert_eq!(slot.open(fixture::repository(), &secret), Err(SlotError::Damaged(DecodeError::Unauthentic)));
}

#[test]
fn parameters_have_bounds_in_both_directions() {
    let weak = KdfParameters { memory_kib: 8 << 10, passes: 1, lanes: 1 };
    let endless = KdfParameters { memory_kib: 64 << 10, passes: 65, lanes: 1 };
    let huge = KdfParameters { memory_kib: (4 << 20) + 1, passes: 1, lanes: 1 };
    for parameters in [weak, endless, huge, KdfParameters { lanes: 0, ..KdfParameters::default() }] {
        let refused = KeySlot::create(
            fixture::repository(),
            &fixture::keyring(),
            &SlotSecret::password("x"),
            parameters,
            counting(1),
            fixture::random(),
            SlotDescription::default(),
        );
        assert_eq!(refused, Err(SlotError::Unsupported(DecodeError::Invalid("Argon2id parameters"))));
    }
    assert_eq!(KdfParameters::default(), KdfParameters { memory_kib: 65_536, passes: 3, lanes: 4 });
    // A hostile slot is refused before any stretching.
    let (_, object) = slot(&SlotSecret::password("x"));
    let at = object.windows(3).position(|w| w == [0x80, 0x98, 0x01]).unwrap();
    let weak = [0x80, 0x80, 0x01, 1];
    let endless = [0x80, 0x98, 0x01, 127];
    for parameters in [weak, endless] {
        let mut hostile = object.clone();
        hostile[at..at + 4].copy_from_slice(&parameters);
        let refused = KeySlot::decode(name(&hostile), &hostile);
        assert_eq!(refused, Err(SlotError::Unsupported(DecodeError::Invalid("Argon2id parameters"))));
    }
}

#[test]
fn key_files_have_a_length_that_can_be_one() {
    for len in [0, 31, (1 << 20) + 1] {
        let (id, object) = slot(&SlotSecret::key_file(vec![1; 32]));
        let opened =
            KeySlot::decode(id, &object).unwrap().open(fixture::repository(), &SlotSecret::key_file(vec![1; len]));
        assert!(matches!(opened, Err(SlotError::UnfitSecret(_))));
    }
}
