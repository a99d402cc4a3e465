//! Directory trees, written below one directory and nowhere else.
//!
//! Everything is done by the name of one component in an open directory, and directories are opened component by component
//! without following symbolic links: whatever stands in the target, and whatever a snapshot says, nothing outside is read
//! or changed. Paths may be longer than the system takes in one piece.

mod content;
mod directory;
mod found;
mod metadata;
mod name;
mod root;

pub use content::{Holes, punch};
pub use directory::{Directory, Names, Special};
pub use found::{Found, Kind};
pub use metadata::{Metadata, Node, Refused};
pub use name::check_key;
pub use root::Root;
