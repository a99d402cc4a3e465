//! Items: any key with any value, stored as they are.

/// Any key with any value.
pub struct Items;
