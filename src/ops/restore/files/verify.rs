//! Reading again what was restored.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::gather::take_extent;
use super::rows::{put_key, take_key};
use super::run::Run;
use super::select::{Chosen, Selection, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Event;
use crate::record::entry::{self, Content, name_of, parent_of};
use crate::record::{Extent, Extents, Subtree};
use crate::sorter::Sorted;
use crate::target::files::{Directory, Kind, check_key};
use crate::tree::{KeyRange, Root, TreeParameters, Walker};

/// Paths that are compared together.
const PATHS_AT_ONCE: usize = 4096;
/// Extents of one file that are compared together.
const EXTENTS_AT_ONCE: usize = 16 << 10;

/// Compares what is there with the snapshot.
pub(super) struct Verifier<'a, 'r> {
    run: &'a Run<'r>,
    /// Paths that are known not to be as in the snapshot, in order.
    left_out: Sorted,
    next_left_out: Option<Vec<u8>>,
    paths: Vec<(Vec<u8>, entry::Body)>,
    done: u64,
}

impl Run<'_> {
    /// Reads everything chosen again and compares it, but for what was skipped or failed.
    pub(super) fn verify(&self, parameters: &TreeParameters, root: &Root, selection: &Selection) -> Result<()> {
        let total = self.report.bytes_total.load(Ordering::Relaxed);
        self.report.observer.event(Event::Stage { name: "verifying", total: Some(total) });
        let left_out = self.take_left_out()?;
        let mut verifier = Verifier { run: self, left_out, next_left_out: None, paths: Vec::new(), done: 0 };
        verifier.advance()?;
        selection.each(&self.reader, parameters, root, &mut |step| verifier.step(step))?;
        verifier.flush()
    }
}

impl Verifier<'_, '_> {
    fn step(&mut self, step: Step<'_>) -> Result<()> {
        self.run.report.go_on()?;
        // What cannot be read was told when it was to be restored.
        let Step::Chosen(Chosen { key, entry, is_mine, .. }) = step else { return Ok(()) };
        if !is_mine || check_key(key).is_err() {
            return Ok(());
        }
        while self.next_left_out.as_ref().is_some_and(|next| next.as_slice() < key) {
            self.advance()?;
        }
        if self.next_left_out.as_deref() == Some(key) {
            return Ok(());
        }
        self.paths.push((key.to_vec(), entry.body));
        if self.paths.len() >= PATHS_AT_ONCE { self.flush() } else { Ok(()) }
    }

    fn advance(&mut self) -> Result<()> {
        self.next_left_out = self.left_out.next()?.map(|row| take_key(row).0);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let paths = std::mem::take(&mut self.paths);
        let next = AtomicUsize::new(0);
        self.run.in_parallel(|| {
            while let Some((key, body)) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.run.is_as(key, body) {
                    Ok(true) => {}
                    Ok(false) => self.run.differs(key),
                    Err(error) => self.run.report.unreadable(&self.run.path(key), error),
                }
            }
        });
        for (_, body) in &paths {
            if let entry::Body::File { size, .. } = body {
                self.done += size;
            }
        }
        self.run.report.observer.event(Event::Progress { done: self.done });
        self.run.report.go_on()
    }
}

impl Run<'_> {
    fn differs(&self, key: &[u8]) {
        let error = Error::new(ErrorKind::Damaged, "", "is not what was restored: something else has changed it");
        self.report.damage(&self.path(key), &error);
    }

    /// Whether what stands at a key has this content.
    fn is_as(&self, key: &[u8], body: &entry::Body) -> Result<bool> {
        let named = |error| Error::io(self.path(key).display(), error);
        let directory = match self.find_directory(parent_of(key).unwrap_or_default()) {
            Ok(Some(directory)) => directory,
            Ok(None) => return Ok(false),
            Err(error) => return Err(named(error)),
        };
        if key.is_empty() {
            return Ok(true);
        }
        let Some(found) = directory.find(name_of(key)).map_err(named)? else { return Ok(false) };
        Ok(match (body, found.kind) {
            (entry::Body::Directory, Kind::Directory)
            | (entry::Body::Fifo, Kind::Fifo)
            | (entry::Body::Socket, Kind::Socket) => true,
            (entry::Body::CharacterDevice { device }, Kind::CharacterDevice(number))
            | (entry::Body::BlockDevice { device }, Kind::BlockDevice(number)) => *device == number,
            (entry::Body::Symlink { target }, Kind::Symlink) => {
                directory.read_symlink(name_of(key)).map_err(named)? == *target
            }
            (entry::Body::File { size, content }, Kind::File) if found.size == *size => {
                self.has_content(&directory, name_of(key), *size, content, &named)?
            }
            _ => false,
        })
    }

    fn has_content(
        &self,
        directory: &Directory,
        name: &[u8],
        size: u64,
        content: &Content,
        named: &dyn Fn(io::Error) -> Error,
    ) -> Result<bool> {
        let file = directory.open_file(name).map_err(named)?;
        match content {
            Content::Inline(bytes) => {
                let mut found = vec![0; bytes.len()];
                let read = std::os::unix::fs::FileExt::read_at(&file, &mut found, 0).map_err(named)?;
                Ok(read == bytes.len() && found == *bytes)
            }
            Content::Extents(extents) => self.reads_as(&file, extents, 0..size).map_err(named),
            Content::Tree(tree) => self.tree_reads_as(&file, tree, size, named),
        }
    }

    fn tree_reads_as(
        &self,
        file: &std::fs::File,
        tree: &Subtree,
        size: u64,
        named: &dyn Fn(io::Error) -> Error,
    ) -> Result<bool> {
        let parameters = self.reader.repository().tree_parameters(&Extents);
        let mut walker = Walker::new(&self.reader, &parameters, &Root::from(tree.clone()), KeyRange::all())?;
        let (mut reached, mut ended) = (0, false);
        while !ended {
            let (mut extents, start) = (Vec::new(), reached);
            while extents.len() < EXTENTS_AT_ONCE && !ended {
                match walker.next_record()? {
                    Some((key, value)) => {
                        take_extent(Extent::decode(key, value), size, &mut reached, &mut extents)?;
                    }
                    None => ended = true,
                }
            }
            let end = if ended { size } else { reached };
            if !self.reads_as(file, &extents, start..end).map_err(named)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Notes that a path is not to be compared.
    pub(super) fn leave_out(&self, key: &[u8]) {
        if !self.options.verify {
            return;
        }
        let mut row = Vec::with_capacity(key.len() + 2);
        put_key(key, &mut row);
        let pushed = self.left_out.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(&row);
        if let Err(error) = pushed {
            self.report.stop(error);
        }
    }
}
