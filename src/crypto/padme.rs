//! Padmé: lengths rounded up so that they say little about the content, at 12 % at most.

/// The padded length for `len` bytes: a number whose low bits are zero, below 1.12 · `len`.
///
/// With E = floor(log2 len) and S = floor(log2 E) + 1, the low E − S bits are cleared, rounding up. Lengths below 2 stay.
pub fn padme(len: u64) -> u64 {
    if len < 2 {
        return len;
    }
    let exponent = len.ilog2();
    let kept = exponent.checked_ilog2().map_or(0, |bits| bits + 1);
    let mask = (1u64 << exponent.saturating_sub(kept)) - 1;
    len.checked_add(mask).map_or(len, |sum| sum & !mask)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::padme;

    #[test]
    fn small_lengths_are_as_published() {
        let padded: Vec<_> = [0, 1, 2, 8, 9, 10, 17, 33, 100, 1000, 1 << 20].map(padme).to_vec();
        assert_eq!(padded, [0, 1, 2, 8, 10, 10, 18, 36, 104, 1024, 1 << 20]);
    }

    proptest! {
        #[test]
        fn overhead_is_bounded_and_padding_is_stable(len in prop_oneof![0u64..100_000, 0..1u64 << 50]) {
            let padded = padme(len);
            prop_assert!(padded >= len);
            prop_assert!((padded - len) as f64 <= 0.12 * len as f64);
            prop_assert_eq!(padme(padded), padded);
            prop_assert!(padme(len + 1) >= padded);
        }
    }
}
