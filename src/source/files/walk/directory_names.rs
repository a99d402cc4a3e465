//! The names in a directory, in order, however many there are.
//!
//! Names are kept in one buffer without an allocation each. Past a limit they go to sorted runs in an unlinked temporary
//! file, which are merged while they are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::vec;

/// What is read at once of each run.
const BUFFER_BYTES: usize = 32 << 10;

/// Names one after the other, each with a NUL at its end.
#[derive(Default)]
pub(super) struct NameBuffer {
    bytes: Vec<u8>,
    names: Vec<Span>,
}

/// Where a name is.
#[derive(Clone, Copy)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

/// Takes names in any order.
pub(super) struct NameSorter {
    most: usize,
    buffer: NameBuffer,
    runs: Option<Runs>,
}

/// Sorted runs in a file.
struct Runs {
    file: File,
    ends: Vec<u64>,
}

/// Names ascending, each once.
pub(super) enum SortedNames {
    Memory(NameBuffer, vec::IntoIter<Span>),
    Merged(Merge),
}

impl NameBuffer {
    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn spans(&self) -> &[Span] {
        &self.names
    }

    /// A name without the NUL.
    pub fn name(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        &self.bytes[start..start + span.len as usize]
    }

    /// A name with the NUL.
    pub fn terminated(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        &self.bytes[start..=start + span.len as usize]
    }

    /// How much memory it holds.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.names.capacity() * size_of::<Span>()
    }

    /// Takes a name; `false` if there is no room for it.
    pub fn push(&mut self, name: &[u8]) -> bool {
        let (Ok(start), Ok(len)) = (u32::try_from(self.bytes.len()), u32::try_from(name.len())) else {
            return false;
        };
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.names.push(Span { start, len });
        true
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.names.clear();
    }

    /// Sorts, and drops what is there twice: a directory that changes may be said to have a name again.
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        let name = |span: &Span| &bytes[span.start as usize..][..span.len as usize];
        self.names.sort_unstable_by(|a, b| name(a).cmp(name(b)));
        self.names.dedup_by(|a, b| name(a) == name(b));
    }
}

impl NameSorter {
    /// Keeps up to `most` names in memory.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), buffer: NameBuffer::default(), runs: None }
    }

    pub fn push(&mut self, name: &[u8]) -> io::Result<()> {
        if self.buffer.len() >= self.most || !self.buffer.push(name) {
            self.spill()?;
            self.buffer.push(name);
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.buffer.sort();
        let runs = match &mut self.runs {
            Some(runs) => runs,
            none => none.insert(Runs { file: tempfile::tempfile()?, ends: Vec::new() }),
        };
        let mut end = runs.ends.last().copied().unwrap_or(0);
        let mut out = io::BufWriter::with_capacity(1 << 20, &runs.file);
        for &span in self.buffer.spans() {
            let name = self.buffer.terminated(span);
            out.write_all(name)?;
            end += name.len() as u64;
        }
        out.flush()?;
        runs.ends.push(end);
        self.buffer.clear();
        Ok(())
    }

    /// All of them, in order.
    pub fn finish(mut self) -> io::Result<SortedNames> {
        if self.runs.is_some() && self.buffer.len() > 0 {
            self.spill()?;
        }
        match self.runs {
            Some(runs) => Ok(SortedNames::Merged(Merge::new(runs)?)),
            None => {
                self.buffer.sort();
                Ok(SortedNames::of(self.buffer))
            }
        }
    }
}

impl SortedNames {
    /// Of names that are sorted.
    pub fn of(mut buffer: NameBuffer) -> Self {
        let spans = std::mem::take(&mut buffer.names);
        Self::Memory(buffer, spans.into_iter())
    }

    /// All of them in one buffer if they are in memory and no more than `most`.
    pub fn into_whole(self, most: usize) -> Result<NameBuffer, Self> {
        match self {
            Self::Memory(mut buffer, spans) if spans.len() <= most => {
                buffer.names = spans.collect();
                Ok(buffer)
            }
            other => Err(other),
        }
    }

    /// How much memory it holds.
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Memory(buffer, spans) => buffer.held_bytes() + size_of_val(spans.as_slice()),
            Self::Merged(merge) => merge.readers.len() * BUFFER_BYTES,
        }
    }

    /// Moves up to `most` names to `out`; none at the end.
    pub fn next_batch(&mut self, most: usize, out: &mut NameBuffer) -> io::Result<()> {
        match self {
            Self::Memory(buffer, spans) => {
                for span in spans.by_ref().take(most) {
                    out.push(buffer.name(span));
                }
            }
            Self::Merged(merge) => while out.len() < most && merge.next(out)? {},
        }
        Ok(())
    }
}

/// Merges runs.
pub(super) struct Merge {
    file: File,
    readers: Vec<RunReader>,
    heads: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
    last: Vec<u8>,
}

struct RunReader {
    offset: u64,
    end: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl Merge {
    fn new(runs: Runs) -> io::Result<Self> {
        let (mut readers, mut heads) = (Vec::new(), BinaryHeap::new());
        let mut offset = 0;
        for end in runs.ends {
            let mut reader = RunReader { offset, end, buffer: Vec::new(), at: 0 };
            let mut head = Vec::new();
            if reader.next(&runs.file, &mut head)? {
                heads.push(Reverse((head, readers.len())));
            }
            readers.push(reader);
            offset = end;
        }
        Ok(Self { file: runs.file, readers, heads, last: Vec::new() })
    }

    /// Moves the next name to `out`; `false` at the end.
    fn next(&mut self, out: &mut NameBuffer) -> io::Result<bool> {
        while let Some(mut head) = self.heads.peek_mut() {
            let Reverse((name, run)) = &mut *head;
            // No name is empty.
            let fresh = *name != self.last;
            if fresh {
                out.push(name);
                self.last.clone_from(name);
            }
            if !self.readers[*run].next(&self.file, name)? {
                std::collections::binary_heap::PeekMut::pop(head);
            }
            if fresh {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl RunReader {
    fn next(&mut self, file: &File, name: &mut Vec<u8>) -> io::Result<bool> {
        name.clear();
        loop {
            let rest = &self.buffer[self.at..];
            if let Some(len) = rest.iter().position(|&byte| byte == 0) {
                name.extend_from_slice(&rest[..len]);
                self.at += len + 1;
                return Ok(true);
            }
            name.extend_from_slice(rest);
            let left = self.end - self.offset;
            if left == 0 {
                return Ok(false);
            }
            self.buffer.resize(usize::try_from(left).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES)), 0);
            file.read_exact_at(&mut self.buffer, self.offset)?;
            self.offset += self.buffer.len() as u64;
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn sorted(names: &[Vec<u8>], most: usize, batch: usize) -> Vec<Vec<u8>> {
        let mut sorter = NameSorter::new(most);
        for name in names {
            sorter.push(name).unwrap();
        }
        let mut sorted = sorter.finish().unwrap();
        let mut out = Vec::new();
        loop {
            let mut buffer = NameBuffer::default();
            sorted.next_batch(batch, &mut buffer).unwrap();
            if buffer.len() == 0 {
                return out;
            }
            out.extend(buffer.spans().iter().map(|&span| buffer.name(span).to_vec()));
        }
    }

    proptest! {
        #[test]
        fn names_come_out_ascending_and_once(
            names in prop::collection::vec(prop::collection::vec(1u8.., 1..6), 0..200), most in 1usize..80, batch in 1usize..50,
        ) {
            let expected: Vec<Vec<u8>> = names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(sorted(&names, most, batch), expected);
        }
    }

    #[test]
    fn runs_longer_than_a_buffer() {
        let names: Vec<Vec<u8>> =
            (0..20_000u32).map(|n| format!("{:08x}", n.wrapping_mul(0x9e37_79b1)).into()).collect();
        let expected: Vec<Vec<u8>> = names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        assert_eq!(sorted(&names, 9000, 777), expected);
    }
}
