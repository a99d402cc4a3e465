//! The thread that sorts full batches and writes them out as runs while the next batch is being filled.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::arena::Arena;
use super::merge::Merge;
use super::run::{BUFFER_BYTES, Run, RunWriter};
use super::{SorterOptions, stopped};
use crate::error::{Error, Result};

/// Runs of one level are merged into one of the next when there are this many.
const FAN_IN: usize = 64;

/// The running thread.
pub struct Spiller {
    full: Sender<Arena>,
    empty: Receiver<Arena>,
    thread: JoinHandle<Result<Runs>>,
}

/// All runs written so far.
pub struct Runs {
    pub directory: PathBuf,
    pub runs: Vec<Run>,
    memory_bytes: usize,
    buffer: Vec<u8>,
}

impl Spiller {
    /// Starts the thread with one empty batch in hand.
    pub fn start(options: &SorterOptions) -> Result<Self> {
        let mut runs = Runs {
            directory: options.directory.clone().unwrap_or_else(std::env::temp_dir),
            runs: Vec::new(),
            memory_bytes: options.memory_bytes,
            buffer: Vec::with_capacity(BUFFER_BYTES + 4096),
        };
        let (full, full_batches) = channel::<Arena>();
        let (empty_batches, empty) = channel();
        empty_batches.send(Arena::default()).map_err(|_| stopped())?;
        let thread = std::thread::Builder::new()
            .name("sorter".to_owned())
            .spawn(move || {
                for mut batch in full_batches {
                    batch.sort();
                    runs.add(&batch)?;
                    batch.clear();
                    // The sorter may be waiting for no more batches.
                    let _ = empty_batches.send(batch);
                }
                Ok(runs)
            })
            .map_err(|error| Error::io("sorter", error))?;
        Ok(Self { full, empty, thread })
    }

    /// Hands over a full batch and waits for an empty one.
    pub fn swap(self, batch: Arena) -> Result<(Self, Arena)> {
        match self.full.send(batch).ok().and_then(|()| self.empty.recv().ok()) {
            Some(empty) => Ok((self, empty)),
            None => Err(self.finish().err().unwrap_or_else(stopped)),
        }
    }

    /// Waits for the last batch.
    pub fn finish(self) -> Result<Runs> {
        drop(self.full);
        drop(self.empty);
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Runs {
    /// Adds a sorted batch to the run it can follow, or as a run of its own.
    fn add(&mut self, batch: &Arena) -> Result<()> {
        let Some(first) = batch.get(0) else { return Ok(()) };
        let behind = (0..self.runs.len())
            .filter(|&i| self.runs[i].last.as_slice() <= first)
            .max_by(|&a, &b| self.runs[a].last.cmp(&self.runs[b].last));
        let mut writer = match behind {
            Some(i) => RunWriter::append(&self.directory, self.runs.swap_remove(i), &mut self.buffer),
            None => RunWriter::create(&self.directory, 0, &mut self.buffer)?,
        };
        for row in batch.iter() {
            writer.push(row)?;
        }
        self.runs.push(writer.finish()?);
        self.merge_full_levels()
    }

    fn merge_full_levels(&mut self) -> Result<()> {
        let mut level = 0;
        while self.runs.iter().any(|run| run.level >= level) {
            if self.runs.iter().filter(|run| run.level == level).count() >= FAN_IN {
                let (merging, rest) = std::mem::take(&mut self.runs).into_iter().partition(|run| run.level == level);
                self.runs = rest;
                let merged = merge(merging, &self.directory, self.memory_bytes / 4, &mut self.buffer)?;
                self.runs.push(merged);
            }
            level += 1;
        }
        Ok(())
    }
}

/// One run of several of the same level.
fn merge(runs: Vec<Run>, directory: &Path, memory_bytes: usize, buffer: &mut Vec<u8>) -> Result<Run> {
    let level = runs.iter().map(|run| run.level).max().unwrap_or(0);
    let mut writer = RunWriter::create(directory, level + 1, buffer)?;
    let mut rows = Merge::new(runs, memory_bytes, directory);
    while let Some(row) = rows.next()? {
        writer.push(row)?;
    }
    writer.finish()
}
