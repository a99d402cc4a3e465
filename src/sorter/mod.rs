//! Sorting more byte strings than fit in memory: sorted runs in unlinked temporary files, merged.
//!
//! Rows are compared as bytes and duplicates come out next to each other. A payload may follow a key that delimits
//! itself: rows then still come out in the order of their keys. Rows pushed in order cost no sorting, and when they do
//! not fit in memory they end up in one file that is read back without comparing.
//!
//! ```
//! use packstone::sorter::{Sorter, SorterOptions};
//!
//! let mut sorter = Sorter::new(SorterOptions::default());
//! for row in ["pear", "apple", "fig"] {
//!     sorter.push(row.as_bytes())?;
//! }
//! let mut sorted = sorter.finish()?;
//! assert_eq!(sorted.next()?, Some("apple".as_bytes()));
//! # Ok::<(), packstone::Error>(())
//! ```

mod arena;
mod merge;
mod run;
mod spill;

use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};

use arena::Arena;
use merge::Merge;
use spill::Spiller;

/// How to sort.
#[derive(Clone, Debug)]
pub struct SorterOptions {
    /// Memory for rows and buffers. It holds two batches, one being filled while the other is sorted and written.
    pub memory_bytes: usize,
    /// Where runs are kept; by default the system's directory for temporary files. Nothing there has a name.
    pub directory: Option<PathBuf>,
}

impl Default for SorterOptions {
    fn default() -> Self {
        Self { memory_bytes: 128 << 20, directory: None }
    }
}

/// Takes rows in any order.
pub struct Sorter {
    options: SorterOptions,
    batch_bytes: usize,
    batch: Arena,
    spiller: Option<Spiller>,
    failed: bool,
    rows: u64,
}

impl Sorter {
    /// A sorter without rows; it allocates and opens nothing yet.
    pub fn new(options: SorterOptions) -> Self {
        // An eighth is left for what growing buffers leave behind in the allocator.
        let batches_bytes = (options.memory_bytes / 8 * 7).saturating_sub(2 * run::BUFFER_BYTES);
        let batch_bytes = (batches_bytes / 2).max(options.memory_bytes / 4).clamp(256, Arena::MAX_BYTES);
        Self { options, batch_bytes, batch: Arena::default(), spiller: None, failed: false, rows: 0 }
    }

    /// Takes one row.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`] names the directory that is full; nothing stays behind in it. After an error the rows are
    /// lost and every further call fails.
    pub fn push(&mut self, row: &[u8]) -> Result<()> {
        if self.batch.used_bytes() + row.len() > self.batch_bytes && !self.batch.is_empty() {
            self.spill()?;
        }
        if row.len() > Arena::MAX_BYTES {
            return Err(Error::new(ErrorKind::Data, "sorter", "a row of over 2 GiB"));
        }
        self.batch.push(row);
        self.rows += 1;
        Ok(())
    }

    /// Rows pushed so far.
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether no row was pushed.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// All rows in ascending order.
    pub fn finish(mut self) -> Result<Sorted> {
        if self.spiller.is_none() && !self.failed {
            self.batch.sort();
            return Ok(Sorted { rows: self.rows, from: From::Memory { batch: self.batch, next: 0 } });
        }
        if !self.batch.is_empty() {
            self.spill()?;
        }
        self.batch = Arena::default();
        let Some(spiller) = self.spiller.take() else { return Err(stopped()) };
        let runs = spiller.finish()?;
        Ok(Sorted {
            rows: self.rows,
            from: From::Runs(Merge::new(runs.runs, self.options.memory_bytes, &runs.directory)),
        })
    }

    /// Hands the batch to the spilling thread and goes on with an empty one.
    fn spill(&mut self) -> Result<()> {
        if self.failed {
            return Err(stopped());
        }
        let batch = std::mem::take(&mut self.batch);
        let spiller = match self.spiller.take() {
            Some(spiller) => spiller,
            None => Spiller::start(&self.options)?,
        };
        match spiller.swap(batch) {
            Ok((spiller, empty)) => {
                self.spiller = Some(spiller);
                self.batch = empty;
                Ok(())
            }
            Err(error) => {
                self.failed = true;
                Err(error)
            }
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Failed, "sorter", "used again after an error")
}

/// Rows in ascending order, read once.
pub struct Sorted {
    rows: u64,
    from: From,
}

enum From {
    Memory { batch: Arena, next: usize },
    Runs(Merge),
}

impl Sorted {
    /// The next row, until there is none.
    #[expect(clippy::should_implement_trait, reason = "an Iterator cannot lend its rows")]
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        match &mut self.from {
            From::Memory { batch, next } => {
                let row = batch.get(*next);
                *next += 1;
                Ok(row)
            }
            From::Runs(merge) => merge.next(),
        }
    }

    /// Hands every remaining row to `take`, until it fails.
    pub fn for_each(&mut self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while let Some(row) = self.next()? {
            take(row)?;
        }
        Ok(())
    }

    /// Rows in all, duplicates counted, those already read too.
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether there never was a row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

#[cfg(test)]
mod tests;
