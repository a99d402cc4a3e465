//! The blobs that a request is about, as errors name them.

use std::fmt;

use super::StoreKey;

/// Names the first, and says how many there are.
pub(super) struct Several<'a>(pub(super) &'a [StoreKey]);

impl fmt::Display for Several<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no blob"),
            [only] => write!(f, "{only}"),
            [first, more @ ..] => write!(f, "{first} and {} more", more.len()),
        }
    }
}
