//! The three parts of a blob: header, metadata, value.

use bytes::Bytes;

use crate::error::DecodeError;

/// The length of the header.
const HEADER_LEN: usize = 20;
/// Where the header says how long the metadata are.
const SIZE_AT: usize = 4;
/// Where the header has nothing but zeros: in headers of 8 bytes the metadata begin there.
const RESERVED_AT: usize = 8;

/// Header, metadata, value.
pub(super) type Parts = [Bytes; 3];

/// Takes a blob apart.
pub(super) fn split(blob: &Bytes) -> Result<Parts, DecodeError> {
    let (header_len, meta_len) = lengths(blob).ok_or(DecodeError::Truncated)?;
    let value_at = header_len.checked_add(meta_len).filter(|at| *at <= blob.len()).ok_or(DecodeError::Truncated)?;
    Ok([blob.slice(..header_len), blob.slice(header_len..value_at), blob.slice(value_at..)])
}

/// The lengths of header and metadata, by the first bytes of a blob.
pub(super) fn lengths(start: &[u8]) -> Option<(usize, usize)> {
    let size: [u8; 4] = start.get(SIZE_AT..RESERVED_AT)?.try_into().ok()?;
    // Writers in ClojureScript once wrote one byte.
    let meta_len = match size {
        [len, 0, 0, 0] => u32::from(len),
        _ => u32::from_be_bytes(size),
    };
    let is_whole = start.get(RESERVED_AT..HEADER_LEN).is_some_and(|reserved| reserved.iter().all(|byte| *byte == 0));
    Some((if is_whole { HEADER_LEN } else { RESERVED_AT }, usize::try_from(meta_len).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lens(blob: &[u8]) -> Result<[usize; 3], DecodeError> {
        split(&Bytes::copy_from_slice(blob)).map(|parts| parts.map(|part| part.len()))
    }

    #[test]
    fn a_blob_falls_into_its_three_parts() {
        let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 3];
        blob.extend([0; 12]);
        blob.extend(b"abcvalue");
        assert_eq!(lens(&blob), Ok([20, 3, 5]));
        assert_eq!(lens(&blob[..23]), Ok([20, 3, 0]));
        assert_eq!(lens(&blob[..22]), Err(DecodeError::Truncated));
        assert_eq!(lens(&[]), Err(DecodeError::Truncated));
        assert_eq!(lens(b"\x01\x01\0\0\0\0\0\x03metavalue-of-old-headers"), Ok([8, 3, 21]));
        assert_eq!(lens(b"\x01\x01\0\0\x03\0\0\0metavalue-of-old-headers"), Ok([8, 3, 21]));
        assert_eq!(lens(b"\x01\x01\0\0\xff\xff\xff\xffmetavalue-of-old-headers"), Err(DecodeError::Truncated));
    }
}
