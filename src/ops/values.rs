//! Datoms whose value is kept as a blob of its own, made whole again.

use std::borrow::Cow;

use super::mark;
use crate::error::{DecodeError, Error, Result};
use crate::record::datom::{self, Datom, Digest, Value, ValueReference};
use crate::repository::Reader;

/// The datom of a key, its value fetched where the key only refers to it.
pub(super) fn datom<'a>(reader: &Reader, key: &'a [u8]) -> Result<Datom<'a>> {
    let datom = datom::decode_key(key).map_err(|e| Error::damaged("datom key", e))?;
    match &datom.v {
        Value::Stored(reference) => {
            let encoded = fetch(reader, reference)?;
            let v = datom::decode_value(&encoded).map_err(|e| damaged(reference, e))?.into_owned();
            Ok(Datom { v, ..datom })
        }
        _ => Ok(datom),
    }
}

/// What the datom of a key contributes to the digest.
pub(super) fn hash(reader: &Reader, key: &[u8]) -> Result<u64> {
    Ok(Digest::hash(&datom(reader, key)?))
}

/// The canonical encoding of a value that is kept as a blob.
fn fetch(reader: &Reader, reference: &ValueReference) -> Result<Cow<'static, [u8]>> {
    let mut encoded = Vec::new();
    if reference.listed {
        for id in mark::list(reader, reference.id)? {
            encoded.extend_from_slice(&reader.chunk(id)?);
        }
    } else {
        encoded.extend_from_slice(&reader.chunk(reference.id)?);
    }
    if encoded.len() as u64 != reference.length || !encoded.starts_with(&reference.start) {
        return Err(damaged(reference, DecodeError::Invalid("reference to a value")));
    }
    Ok(Cow::Owned(encoded))
}

fn damaged(reference: &ValueReference, why: DecodeError) -> Error {
    Error::damaged(format!("blob {}", reference.id), why)
}
