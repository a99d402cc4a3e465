//! Datahike's stores: konserve blobs, the places they are kept in, and what Datahike says with them.
//!
//! A store is a set of blobs under UUIDs, each the hash of a key ([`hasch`]). A [`home`] keeps them; a [`Blob`] is a header,
//! metadata and a value in Fressian. The [`Head`] of a branch names the roots of six indices, whose nodes ([`Node`]) are
//! blobs again; [`Walk`] goes through one index leaf by leaf. [`Store`] puts these together, for reading.

pub mod blob;
pub mod encode_head;
pub mod encode_node;
mod fields;
pub mod hasch;
pub mod head;
pub mod home;
mod java;
pub mod node;
pub mod order;
mod store;
mod unreadable;
pub mod verify;
pub mod walk;

pub use blob::{Blob, Compression, Secret};
pub use fields::field;
pub use head::{Head, IndexRoot, SchemaMeta, database_id};
pub use home::{Home, Stamp, StoreKey, Traffic};
pub use node::{Address, Branch, Child, Diff, Leaf, Node, Resolved, Slot, Slots};
pub use order::IndexOrder;
pub use store::Store;
pub use unreadable::Unreadable;
pub use walk::{NodeCache, NodeKey, Visitor, Walk, WalkStats};

/// Name of the branch every database has.
pub const MAIN_BRANCH: &str = "db";

/// The transaction of Datahike's own schema; the first transaction of a user is the next one.
pub const SYSTEM_TRANSACTION: i64 = 0x2000_0000;
