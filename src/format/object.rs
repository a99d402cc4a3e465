//! The envelope of small sealed objects: `magic, kind, version, epoch | nonce, ciphertext, tag`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Sealed;
use crate::crypto::{Keys, Purpose, SEAL_OVERHEAD, padme};
use crate::error::DecodeError;

/// First bytes of every object but packs.
pub(in crate::format) const MAGIC: [u8; 4] = *b"PSTN";
/// Version of the envelope and of all public layouts.
pub(in crate::format) const VERSION: u8 = 1;
/// Version of the postcard bodies inside.
const BODY_VERSION: u8 = 2;
/// Magic, kind, version, epoch.
const HEAD_LEN: usize = 10;
/// Plaintexts are at least this long, so that all control objects look alike.
const MIN_PLAINTEXT_LEN: usize = 256;

/// The byte after the magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Kind {
    Config,
    KeySlot,
    Session,
    Heartbeat,
    Snapshot,
    Index,
    Gc,
    Ledger,
    MirrorList,
    MirrorMark,
    SyncOpening,
    SyncSegment,
}

impl Kind {
    pub(in crate::format) fn code(self) -> u8 {
        match self {
            Self::Config => 1,
            Self::KeySlot => 2,
            Self::Session => 3,
            Self::Heartbeat => 4,
            Self::Snapshot => 5,
            Self::Index => 6,
            Self::Gc => 7,
            Self::Ledger => 8,
            Self::MirrorList => 12,
            Self::MirrorMark => 13,
            Self::SyncOpening => 14,
            Self::SyncSegment => 15,
        }
    }

    fn purpose(self) -> Purpose {
        match self {
            Self::Index => Purpose::Index,
            Self::SyncOpening | Self::SyncSegment => Purpose::Sync,
            _ => Purpose::Metadata,
        }
    }
}

/// The first six bytes of an object of this kind.
pub(in crate::format) fn prefix(kind: Kind) -> [u8; 6] {
    let [a, b, c, d] = MAGIC;
    [a, b, c, d, kind.code(), VERSION]
}

/// The bytes behind the first six, which must be right.
pub(in crate::format) fn strip_prefix(kind: Kind, bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let (head, rest) = bytes.split_first_chunk::<6>().ok_or(DecodeError::Truncated)?;
    let [a, b, c, d, found, version] = *head;
    if [a, b, c, d] != MAGIC || found != kind.code() {
        return Err(DecodeError::BadMagic);
    }
    if version != VERSION { Err(DecodeError::UnknownVersion(version)) } else { Ok(rest) }
}

/// Seals `body`. `place` is the object's path, or empty when its name is its hash.
pub(in crate::format) fn seal<T: Serialize>(
    kind: Kind,
    keys: &Keys,
    place: &str,
    random: &[u8; 32],
    body: &T,
) -> Sealed {
    let plaintext = pad(&encode_body(body), 0);
    let mut head = prefix(kind).to_vec();
    head.extend_from_slice(&keys.newest_epoch().to_le_bytes());
    let sealed = keys.seal(kind.purpose(), &associated(&head, keys, place), random, &plaintext);
    head.extend_from_slice(&sealed);
    Sealed::new(head)
}

/// The body of an object that [`seal`] made for the same place.
pub(in crate::format) fn open<T: DeserializeOwned>(
    kind: Kind,
    keys: &Keys,
    place: &str,
    object: &[u8],
) -> Result<T, DecodeError> {
    strip_prefix(kind, object)?;
    let (head, sealed) = object.split_first_chunk::<HEAD_LEN>().ok_or(DecodeError::Truncated)?;
    let epoch = u32::from_le_bytes(*head.last_chunk().expect("the head has ten bytes"));
    let plaintext = keys.open(kind.purpose(), epoch, &associated(head, keys, place), sealed)?;
    decode_body(unpad(&plaintext)?)
}

fn associated(head: &[u8], keys: &Keys, place: &str) -> Vec<u8> {
    [head, keys.repository().as_bytes(), place.as_bytes()].concat()
}

/// A version byte, then postcard.
pub(in crate::format) fn encode_body<T: Serialize>(body: &T) -> Vec<u8> {
    postcard::to_extend(body, vec![BODY_VERSION])
        .expect("writing to a vector does not fail and these types state their lengths")
}

/// The inverse of [`encode_body`]; all bytes must be used.
pub(in crate::format) fn decode_body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (version, bytes) = bytes.split_first().ok_or(DecodeError::Truncated)?;
    if *version != BODY_VERSION {
        return Err(DecodeError::UnknownVersion(*version));
    }
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(DecodeError::TrailingBytes),
        Err(postcard::Error::DeserializeUnexpectedEnd) => Err(DecodeError::Truncated),
        Err(_) => Err(DecodeError::Invalid("body")),
    }
}

/// `length (u32) | body | zeros`, so long that this sealed, with `around` more bytes beside it, has a Padmé length.
pub(in crate::format) fn pad(body: &[u8], around: u64) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("no sealed object is near 4 GiB");
    let mut plaintext = Vec::with_capacity(body.len() + body.len() / 8 + MIN_PLAINTEXT_LEN);
    plaintext.extend_from_slice(&len.to_le_bytes());
    plaintext.extend_from_slice(body);
    let shortest = plaintext.len().max(if around == 0 { MIN_PLAINTEXT_LEN } else { 0 });
    let outside = around + u64::try_from(SEAL_OVERHEAD).expect("40 fits");
    let total = padme(u64::try_from(shortest).expect("a length fits 64 bits") + outside);
    plaintext.resize(usize::try_from(total - outside).expect("at most 12 % more than a length in memory"), 0);
    plaintext
}

/// The inverse of [`pad`].
pub(in crate::format) fn unpad(plaintext: &[u8]) -> Result<&[u8], DecodeError> {
    let (len, rest) = plaintext.split_first_chunk().ok_or(DecodeError::Truncated)?;
    let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| DecodeError::TooLarge("body"))?;
    let (body, zeros) = rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
    if zeros.iter().all(|byte| *byte == 0) { Ok(body) } else { Err(DecodeError::Invalid("padding")) }
}
