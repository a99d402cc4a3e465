//! One konserve blob: header, metadata and value, the latter two each compressed and encrypted by itself.
//!
//! Encoding takes metadata and value already written in Fressian; the salts of encryption are arguments.

use std::fmt;
use std::io::{self, Read, Write as _};

use aes::Aes256;
use bytes::Bytes;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _};
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use super::fields::field;
use super::{Unreadable, hasch};
use crate::error::DecodeError;
use crate::record::datom::Value;
use crate::record::datom::fressian::Reader;

const VERSION: u8 = 1;
const FRESSIAN: u8 = 1;
const HEADER_LEN: usize = 20;
/// Header of blobs from konserve 0.6.0-alpha.
const SHORT_HEADER_LEN: usize = 8;
const SALT_LEN: usize = 64;
/// Metadata and values are at most this large when uncompressed ...
const BLOCK_LIMIT: u64 = 1 << 30;
/// ... and at most this large whatever their compressed size is; beyond, as much larger as LZ4 can make them.
const SMALL_BLOCK_LIMIT: u64 = 64 << 20;
const RATIO_LIMIT: u64 = 255;

/// How the blocks of a blob are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// An LZ4 frame.
    Lz4,
    /// A zstd frame that does not state its size.
    Zstd,
}

/// The key of an encrypted store: any Clojure value, most often a string.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A key that is a string.
    pub fn text(text: &str) -> Self {
        let coerced = hasch::coerce(&Value::String(text.as_bytes().into()));
        Self(Zeroizing::new(coerced.expect("a string has a form")))
    }

    /// A key that is any value.
    pub fn value(value: &Value<'_>) -> Result<Self, DecodeError> {
        Ok(Self(Zeroizing::new(hasch::coerce(value)?)))
    }

    /// The first `N` bytes of the hash of `[purpose salt secret]`.
    fn derive<const N: usize>(&self, purpose: &str, salt: &[u8; SALT_LEN]) -> Zeroizing<[u8; N]> {
        let mut numbers = hasch::Sequence::list();
        // Java's bytes have a sign.
        salt.iter().for_each(|byte| numbers.number(i64::from(byte.cast_signed())));
        let mut parts = hasch::Sequence::vector();
        parts.bytes(&hasch::coerce(&Value::String(purpose.as_bytes().into())).expect("a string has a form"));
        parts.bytes(&numbers.finish());
        parts.bytes(&self.0);
        let hash = Sha512::digest(parts.finish());
        Zeroizing::new(std::array::from_fn(|i| hash[i]))
    }

    fn cipher<C: cbc::cipher::KeyIvInit>(&self, salt: &[u8; SALT_LEN]) -> C {
        let key = self.derive::<32>("key", salt);
        let start = self.derive::<16>("initial-value", salt);
        C::new_from_slices(&key[..], &start[..]).expect("AES-256 takes 32 bytes of key and 16 to start with")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A blob as it was meant.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What it is stored under; its name is the hash of this.
    pub key: Value<'static>,
    /// When it was written, milliseconds since 1970.
    pub last_write: Option<i64>,
    /// Whether it says that it is never written again.
    pub immutable: bool,
    /// Whether the value is plain bytes rather than Fressian.
    pub binary: bool,
    /// The value, decrypted and uncompressed.
    pub bytes: Bytes,
}

impl Blob {
    /// The blob in these bytes.
    pub fn decode(stored: &Bytes, secret: Option<&Secret>) -> Result<Self, Unreadable> {
        let header: &[u8; SHORT_HEADER_LEN] = stored.first_chunk().ok_or(DecodeError::Truncated)?;
        let [version, serializer, compressor, encryptor, size @ ..] = *header;
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        if serializer != FRESSIAN {
            return Err(Unreadable::Serializer(serializer));
        }
        let compression = match compressor {
            0 => Compression::None,
            1 => Compression::Lz4,
            2 => Compression::Zstd,
            other => return Err(Unreadable::Compressor(other)),
        };
        let secret = match encryptor {
            0 => None,
            1 => Some(secret.ok_or(Unreadable::NeedsKey)?),
            other => return Err(Unreadable::Encryptor(other)),
        };
        // Writers in ClojureScript used to put the size into the first of the four bytes.
        let meta_len = match size {
            [len, 0, 0, 0] if len > 0 => u32::from(len),
            size => u32::from_be_bytes(size),
        };
        let reserved = stored.get(SHORT_HEADER_LEN..HEADER_LEN);
        let start = match reserved {
            Some(reserved) if reserved.iter().all(|byte| *byte == 0) => HEADER_LEN,
            _ => SHORT_HEADER_LEN,
        };
        let meta_len = usize::try_from(meta_len).map_err(|_| DecodeError::Truncated)?;
        let end = start.checked_add(meta_len).filter(|end| *end <= stored.len()).ok_or(DecodeError::Truncated)?;
        let meta = open(stored.slice(start..end), compression, secret)?;
        let (key, last_write, immutable, binary) = match metadata(&meta) {
            Err(_) if secret.is_some() => return Err(Unreadable::WrongKey),
            metadata => metadata?,
        };
        let bytes = open(stored.slice(end..), compression, secret)?;
        Ok(Self { key, last_write, immutable, binary, bytes })
    }

    /// The value, which must be the only thing in its block.
    pub fn value(&self) -> Result<Value<'_>, Unreadable> {
        if self.binary {
            return Ok(Value::Bytes(self.bytes.as_ref().into()));
        }
        only_value(&self.bytes)
    }
}

/// The one value of a document.
pub(super) fn only_value(bytes: &[u8]) -> Result<Value<'_>, Unreadable> {
    let mut reader = Reader::new(bytes);
    let value = reader.value()?;
    if !reader.at_end() {
        return Err(DecodeError::TrailingBytes.into());
    }
    Ok(value)
}

type Metadata = (Value<'static>, Option<i64>, bool, bool);

fn metadata(bytes: &[u8]) -> Result<Metadata, Unreadable> {
    let map = only_value(bytes)?;
    let key = field(&map, "key").cloned().ok_or(DecodeError::Invalid("metadata: no key"))?;
    let time = field(&map, "last-write").or_else(|| field(&map, "konserve.core/timestamp"));
    let last_write = match time {
        Some(Value::Instant(time)) => Some(*time),
        _ => None,
    };
    let immutable = field(&map, "immutable?") == Some(&Value::Boolean(true));
    let binary = field(&map, "type") == Some(&Value::Keyword("binary".into()));
    Ok((key.into_owned(), last_write, immutable, binary))
}

/// A block decrypted and uncompressed.
fn open(block: Bytes, compression: Compression, secret: Option<&Secret>) -> Result<Bytes, Unreadable> {
    let block = match secret {
        Some(secret) => decrypt(&block, secret)?.into(),
        None => block,
    };
    let limit = BLOCK_LIMIT.min(SMALL_BLOCK_LIMIT.saturating_add(RATIO_LIMIT.saturating_mul(block.len() as u64)));
    let mut out = Vec::new();
    match compression {
        Compression::None => return Ok(block),
        Compression::Lz4 => {
            let mut decoder = lz4_flex::frame::FrameDecoder::new(block.as_ref()).take(limit + 1);
            match decoder.read_to_end(&mut out) {
                // Older writers did not close the frame; whether the value is whole its own encoding tells.
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    return Err(DecodeError::Invalid("LZ4 frame").into());
                }
                _ => {}
            }
        }
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::new(block.as_ref());
            let decoder = decoder.map_err(|_| DecodeError::Invalid("zstd frame"))?;
            let read = decoder.take(limit + 1).read_to_end(&mut out);
            read.map_err(|_| DecodeError::Invalid("zstd frame"))?;
        }
    }
    if out.len() as u64 > limit {
        return Err(DecodeError::TooLarge("value").into());
    }
    Ok(out.into())
}

fn decrypt(block: &[u8], secret: &Secret) -> Result<Vec<u8>, Unreadable> {
    let (salt, sealed) = block.split_first_chunk::<SALT_LEN>().ok_or(DecodeError::Truncated)?;
    if sealed.is_empty() || !sealed.len().is_multiple_of(16) {
        return Err(DecodeError::Truncated.into());
    }
    let cipher: cbc::Decryptor<Aes256> = secret.cipher(salt);
    cipher.decrypt_padded_vec::<Pkcs7>(sealed).map_err(|_| Unreadable::WrongKey)
}

/// What to encrypt a blob with: the key and a random salt for each of its blocks.
pub struct Encryption<'s> {
    /// The key.
    pub secret: &'s Secret,
    /// Salt of the metadata.
    pub meta_salt: [u8; SALT_LEN],
    /// Salt of the value.
    pub value_salt: [u8; SALT_LEN],
}

/// A blob of metadata and a value that are Fressian already.
pub fn encode(meta: &[u8], value: &[u8], compression: Compression, encryption: Option<&Encryption<'_>>) -> Vec<u8> {
    let meta = seal(meta, compression, encryption.map(|e| (e.secret, &e.meta_salt)));
    let value = seal(value, compression, encryption.map(|e| (e.secret, &e.value_salt)));
    let compressor = match compression {
        Compression::None => 0,
        Compression::Lz4 => 1,
        Compression::Zstd => 2,
    };
    let mut out = Vec::with_capacity(HEADER_LEN + meta.len() + value.len());
    out.extend_from_slice(&[VERSION, FRESSIAN, compressor, u8::from(encryption.is_some())]);
    let meta_len = u32::try_from(meta.len()).expect("metadata is a key and a time");
    out.extend_from_slice(&meta_len.to_be_bytes());
    out.extend_from_slice(&[0; HEADER_LEN - SHORT_HEADER_LEN]);
    out.extend_from_slice(&meta);
    out.extend_from_slice(&value);
    out
}

fn seal(block: &[u8], compression: Compression, encryption: Option<(&Secret, &[u8; SALT_LEN])>) -> Vec<u8> {
    const MEMORY: &str = "memory takes all that is written to it";
    let compressed = match compression {
        Compression::None => block.to_vec(),
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(block).expect(MEMORY);
            encoder.finish().expect(MEMORY)
        }
        Compression::Zstd => zstd::stream::encode_all(block, 3).expect(MEMORY),
    };
    let Some((secret, salt)) = encryption else { return compressed };
    let cipher: cbc::Encryptor<Aes256> = secret.cipher(salt);
    let mut out = salt.to_vec();
    out.extend_from_slice(&cipher.encrypt_padded_vec::<Pkcs7>(&compressed));
    out
}
