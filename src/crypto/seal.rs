//! XChaCha20-Poly1305 with a hedged nonce: `nonce (24) | ciphertext | tag (16)`.

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::error::DecodeError;

/// Bytes before the ciphertext.
pub const NONCE_LEN: usize = 24;
/// Bytes after the ciphertext.
pub const TAG_LEN: usize = 16;
/// What sealing adds to a length.
pub const SEAL_OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// A secret key of 32 bytes, wiped when dropped.
pub(in crate::crypto) type Key = Zeroizing<[u8; 32]>;

/// Seals `plaintext`.
///
/// The nonce is the start of a keyed hash of random bytes and the plaintext's hash: unique as long as the random bytes are,
/// and, should they ever repeat, still different for different plaintexts.
pub(in crate::crypto) fn seal(
    key: &Key,
    nonce_key: &Key,
    associated: &[u8],
    random: &[u8; 32],
    plaintext: &[u8],
) -> Vec<u8> {
    let hedge =
        blake3::Hasher::new_keyed(nonce_key).update(random).update(blake3::hash(plaintext).as_bytes()).finalize();
    let nonce: &[u8; NONCE_LEN] = hedge.as_bytes().first_chunk().expect("a hash has 32 bytes");
    let mut sealed = vec![0; plaintext.len() + SEAL_OVERHEAD];
    let (head, rest) = sealed.split_at_mut(NONCE_LEN);
    let (body, tail) = rest.split_at_mut(plaintext.len());
    head.copy_from_slice(nonce);
    let buffer = InOutBuf::new(plaintext, body).expect("both have the plaintext's length");
    let tag = XChaCha20Poly1305::new((&**key).into())
        .encrypt_inout_detached(&XNonce::from(*nonce), associated, buffer)
        .expect("no object is near the 256 GiB limit of the cipher");
    tail.copy_from_slice(&tag);
    sealed
}

/// Opens what [`seal`] made with the same key and associated data.
pub(in crate::crypto) fn open(key: &Key, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(DecodeError::Truncated)?;
    let (body, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(DecodeError::Truncated)?;
    let mut plaintext = vec![0; body.len()];
    let buffer = InOutBuf::new(body, &mut plaintext).expect("both have the ciphertext's length");
    XChaCha20Poly1305::new((&**key).into())
        .decrypt_inout_detached(&XNonce::from(*nonce), associated, buffer, &Tag::from(*tag))
        .map_err(|_| DecodeError::Unauthentic)?;
    Ok(plaintext)
}
