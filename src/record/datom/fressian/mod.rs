//! Fressian: the encoding of Datahike's stores and of datacamp's chunks.
//!
//! A document may refer back to what it already said (priority cache) and name its record types once (struct cache).
//! Some tags lie about how many components follow (`pvec`, `plist`, `irecord`): they carry a count of their own.

mod read;
mod text;
mod write;

pub use read::Reader;
pub use text::put_units;
pub use write::Writer;

#[cfg(test)]
mod tests;
