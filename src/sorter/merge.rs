//! Merging runs: a heap over their next rows.
//!
//! A run is opened when its first row is due, so runs whose ranges do not overlap cost neither buffers at the same time
//! nor comparisons.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use super::run::{BUFFER_BYTES, Run, RunReader};
use crate::error::Result;

const MIN_BUFFER_BYTES: usize = 16 << 10;

/// The rows of several runs in ascending order.
pub struct Merge {
    directory: PathBuf,
    cursors: Vec<Cursor>,
    /// A binary heap with the smallest row on top.
    heap: Vec<Top>,
    buffer_bytes: usize,
    /// The top row has been handed out.
    handed_out: bool,
    /// The top run ends before any other begins.
    alone: bool,
}

struct Cursor {
    row: Vec<u8>,
    from: From,
}

/// Boxed, because a cursor for each of many unopened runs should be small.
enum From {
    Unopened(Option<Box<Run>>),
    Open(Box<RunReader>),
}

#[derive(Clone, Copy)]
struct Top {
    head: u128,
    cursor: usize,
}

impl Merge {
    /// `memory_bytes` limits the read buffers.
    pub fn new(runs: Vec<Run>, memory_bytes: usize, directory: &Path) -> Self {
        let buffer_bytes = (memory_bytes / 2 / runs.len().max(1)).clamp(MIN_BUFFER_BYTES, BUFFER_BYTES);
        let mut runs = runs;
        // Ascending by first row is a heap.
        runs.sort_by(|a, b| a.first.cmp(&b.first));
        let cursors: Vec<_> = runs
            .into_iter()
            .map(|run| Cursor { row: run.first.clone(), from: From::Unopened(Some(Box::new(run))) })
            .collect();
        let heap = cursors.iter().enumerate().map(|(cursor, c)| Top { head: head(&c.row), cursor }).collect();
        Self { directory: directory.to_owned(), cursors, heap, buffer_bytes, handed_out: false, alone: false }
    }

    /// The next row, until there is none.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.handed_out {
            self.advance()?;
        }
        self.handed_out = true;
        Ok(self.heap.first().map(|top| self.cursors[top.cursor].row.as_slice()))
    }

    fn advance(&mut self) -> Result<()> {
        let Some(&Top { cursor: top, .. }) = self.heap.first() else { return Ok(()) };
        if let From::Unopened(run) = &mut self.cursors[top].from {
            let run = *run.take().expect("this cannot fail because a run is taken when its cursor is opened");
            self.alone = self.heap[1..].iter().take(2).all(|next| run.last <= self.cursors[next.cursor].row);
            let mut reader = Box::new(RunReader::open(run, self.buffer_bytes));
            let cursor = &mut self.cursors[top];
            cursor.row.clear();
            // This is the row just handed out.
            reader.read(&mut cursor.row, &self.directory)?;
            cursor.from = From::Open(reader);
        }
        let cursor = &mut self.cursors[top];
        let From::Open(reader) = &mut cursor.from else { return Ok(()) };
        if reader.read(&mut cursor.row, &self.directory)? {
            if !self.alone {
                self.heap[0].head = head(&cursor.row);
                self.sink();
            }
        } else {
            *cursor = Cursor { row: Vec::new(), from: From::Unopened(None) };
            self.alone = false;
            self.heap.swap_remove(0);
            self.sink();
        }
        Ok(())
    }

    /// Moves the top of the heap down to where it belongs.
    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child >= self.heap.len() {
                return;
            }
            if child + 1 < self.heap.len() && self.cmp(child + 1, child) == Ordering::Less {
                child += 1;
            }
            if self.cmp(child, at) != Ordering::Less {
                return;
            }
            self.heap.swap(child, at);
            at = child;
        }
    }

    fn cmp(&self, a: usize, b: usize) -> Ordering {
        let (a, b) = (self.heap[a], self.heap[b]);
        a.head.cmp(&b.head).then_with(|| self.cursors[a.cursor].row.cmp(&self.cursors[b.cursor].row))
    }
}

fn head(row: &[u8]) -> u128 {
    if let Some(head) = row.first_chunk() {
        return u128::from_be_bytes(*head);
    }
    let mut head = [0; 16];
    head[..row.len()].copy_from_slice(row);
    u128::from_be_bytes(head)
}
