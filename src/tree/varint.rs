//! Unsigned LEB128 in its shortest form: the lengths and counts of nodes.

use crate::error::DecodeError;

/// Appends `n`, low seven bits first.
pub(super) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// How many bytes [`put`] appends.
pub(super) fn len(n: u64) -> usize {
    match n {
        0..0x80 => 1,
        _ => (64 - n.leading_zeros() as usize).div_ceil(7),
    }
}

/// Takes a number off the front; a longer form than necessary is refused.
pub(super) fn take(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut n = 0u64;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        let low = u64::from(byte & 0x7f);
        if (i == 9 && byte > 1) || (byte == 0 && i > 0) {
            return Err(DecodeError::Invalid("varint"));
        }
        n |= low << (7 * i);
        if byte < 0x80 {
            *bytes = bytes.get(i + 1..).unwrap_or_default();
            return Ok(n);
        }
    }
    Err(DecodeError::Truncated)
}

/// Takes as many bytes off the front as a length before them says.
pub(super) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let len = usize::try_from(take(bytes)?).map_err(|_| DecodeError::Truncated)?;
    let (taken, rest) = bytes.split_at_checked(len).ok_or(DecodeError::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back_and_longer_forms_do_not() {
        for shift in 0..64 {
            for n in [(1u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                let mut out = Vec::new();
                put(&mut out, n);
                assert_eq!(out.len(), len(n), "{n}");
                let mut rest = out.as_slice();
                assert_eq!(take(&mut rest), Ok(n));
                assert!(rest.is_empty());
                if out.len() < 10 {
                    *out.last_mut().expect("a varint has a byte") |= 0x80;
                    assert_eq!(take(&mut out.as_slice()), Err(DecodeError::Truncated));
                    out.push(0);
                    assert_eq!(take(&mut out.as_slice()), Err(DecodeError::Invalid("varint")));
                }
            }
        }
        assert_eq!(take(&mut [0xff; 10].as_slice()), Err(DecodeError::Invalid("varint")));
    }
}
