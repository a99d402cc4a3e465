//! Items: any key with any value, stored as they are.
