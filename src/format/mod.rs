//! The bytes of the repository, one file per chapter of `format-spec/`.

mod path;
mod sealed;

pub use path::ObjectPath;
pub use sealed::Sealed;
