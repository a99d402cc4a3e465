//! The sizes at which content is cut.

use crate::error::DecodeError;

/// Sizes of chunks in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// No chunk but the last of a stream is shorter.
    pub min_bytes: usize,
    /// The usual size; a power of two.
    pub average_bytes: usize,
    /// No chunk is longer.
    pub max_bytes: usize,
}

impl Default for Sizes {
    /// 128 KiB, 512 KiB, 2 MiB: half the rewrite of a small edit that 1 MiB would cost, for 0.01 % more index.
    fn default() -> Self {
        Self { min_bytes: 128 << 10, average_bytes: 512 << 10, max_bytes: 2 << 20 }
    }
}

impl Sizes {
    /// Sizes as a configuration states them: even, ordered, an average from 1 KiB to 4 MiB that is a power of two.
    pub fn checked(min_bytes: u32, average_bytes: u32, max_bytes: u32) -> Result<Self, DecodeError> {
        let fits = average_bytes.is_power_of_two()
            && (1 << 10..=4 << 20).contains(&average_bytes)
            && (64..=1 << 20).contains(&min_bytes)
            && min_bytes < average_bytes
            && average_bytes < max_bytes
            && max_bytes <= 16 << 20
            && min_bytes.is_multiple_of(2)
            && max_bytes.is_multiple_of(2);
        if !fits {
            return Err(DecodeError::Invalid("chunk sizes"));
        }
        let size = |bytes: u32| usize::try_from(bytes).map_err(|_| DecodeError::TooLarge("chunk size"));
        Ok(Self { min_bytes: size(min_bytes)?, average_bytes: size(average_bytes)?, max_bytes: size(max_bytes)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ordered_even_sizes_are_taken() {
        assert_eq!(Sizes::checked(128 << 10, 512 << 10, 2 << 20), Ok(Sizes::default()));
        let wrong = [(0, 1024, 4096), (65, 1024, 4096), (64, 1000, 4096), (2048, 1024, 4096), (64, 1024, 1024)];
        for (min, average, max) in
            [&wrong[..], &[(64, 1024, 4097), (64, 8 << 20, 16 << 20), (64, 1024, u32::MAX)]].concat()
        {
            assert_eq!(Sizes::checked(min, average, max), Err(DecodeError::Invalid("chunk sizes")));
        }
    }
}
