//! Text in keys: escaped so that a zero byte ends it and that the order stays that of the bytes; and what WTF-8 is.
//!
//! `00` is written `01 01`, `01` is written `01 02`, all other bytes are themselves, and `00` ends the text. So no escaped
//! text is the start of another, and the end is found by looking for a zero.

use std::borrow::Cow;
use std::ffi::CStr;

use crate::error::DecodeError;

/// Appends `bytes` escaped, and the end.
pub(super) fn put_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.iter().all(|byte| *byte > 1) {
        out.extend_from_slice(bytes);
    } else {
        for byte in bytes {
            match byte {
                0 | 1 => out.extend_from_slice(&[1, byte + 1]),
                other => out.push(*other),
            }
        }
    }
    out.push(0);
}

/// Length of the escaped text at the start of `bytes`, its end included.
#[inline]
pub(super) fn escaped_len(bytes: &[u8]) -> Result<usize, DecodeError> {
    let text = CStr::from_bytes_until_nul(bytes).map_err(|_| DecodeError::Truncated)?;
    Ok(text.count_bytes() + 1)
}

/// The bytes of an escaped text without its end.
pub(super) fn unescape(escaped: &[u8]) -> Result<Cow<'_, [u8]>, DecodeError> {
    if escaped.iter().all(|byte| *byte > 1) {
        return Ok(Cow::Borrowed(escaped));
    }
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            0 => return Err(DecodeError::Invalid("escape")),
            1 => match rest.next() {
                Some(1) => 0,
                Some(2) => 1,
                _ => return Err(DecodeError::Invalid("escape")),
            },
            other => *other,
        });
    }
    Ok(Cow::Owned(bytes))
}

/// Whether `bytes` is WTF-8: UTF-8 in which surrogates may stand as three bytes unless a high one is followed by a low one.
pub fn is_wtf8(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut after_high = false;
    loop {
        let Err(error) = std::str::from_utf8(rest) else { return true };
        let valid = error.valid_up_to();
        let Some([0xed, second @ 0xa0..=0xbf, 0x80..=0xbf]) = rest.get(valid..valid + 3) else { return false };
        let high = *second < 0xb0;
        if !high && after_high && valid == 0 {
            return false;
        }
        after_high = high;
        rest = &rest[valid + 3..];
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn surrogates_stand_alone_only() {
        assert!(is_wtf8(b"plain \xe2\x82\xac"));
        assert!(is_wtf8(b"\xed\xa0\xbd"));
        assert!(is_wtf8(b"a\xed\xb8\x80b"));
        assert!(is_wtf8(b"\xed\xb8\x80\xed\xa0\xbd"));
        assert!(is_wtf8(b"\xed\xa0\xbd-\xed\xb8\x80"));
        assert!(!is_wtf8(b"\xed\xa0\xbd\xed\xb8\x80"));
        assert!(!is_wtf8(b"\xed\xa0"));
        assert!(!is_wtf8(b"\xff"));
        assert!(!is_wtf8(b"\xc0\x80"));
    }

    proptest! {
        #[test]
        fn escaping_keeps_order_and_ends_itself(
            a in prop::collection::vec(0_u8..4, 0..6),
            b in prop::collection::vec(0_u8..4, 0..6),
        ) {
            let (mut x, mut y) = (Vec::new(), Vec::new());
            put_escaped(&a, &mut x);
            put_escaped(&b, &mut y);
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
            prop_assert_eq!(a == b, x.starts_with(&y));
            prop_assert_eq!(escaped_len(&x).unwrap(), x.len());
            let text = unescape(&x[..x.len() - 1]).unwrap();
            prop_assert_eq!(text.as_ref(), &a[..]);
        }
    }
}
