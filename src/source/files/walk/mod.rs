//! The walk.

mod ahead;
mod directory_names;
mod listing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ahead::{Ahead, Limits, Number};
use listing::{Listing, Rules};

use super::excludes::Excludes;
use super::roots::Roots;
use super::{Found, Kind, Options, Stat, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::record::entry::{key_of_path, parent_of, path_of_key};

/// Memory for listings that nobody has asked for yet: some 100,000 entries.
const HELD_BYTES: usize = 24 << 20;
/// Entries of a listing, and names of a directory in memory.
const ENTRIES_MAX: usize = 4096;
const NAMES_MAX: usize = 200_000;

/// Goes through directory trees in the order of keys.
///
/// Every path comes once, however often it or what it is in was asked for, and the directories that lead to the roots come
/// without what else is in them. Directories are listed ahead by threads of the walk, as far as a bounded memory holds them.
/// What vanishes after its directory was listed is left out as if it had gone before.
pub struct Walk {
    ahead: Ahead,
    problems: VecDeque<(PathBuf, io::Error)>,
    stack: Vec<Frame>,
}

/// Where the walk is in a listing.
struct Frame {
    number: Number,
    listing: Arc<Listing>,
    item: usize,
    /// How many of its directories were reached.
    descents: usize,
    /// The last of them is next.
    is_descending: bool,
    has_rest: bool,
}

impl Walk {
    /// Of these paths, which must be absolute, with the directories that lead to them.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for no path, a relative one, and a pattern that is none; if none of the paths can be reached, why the
    /// first cannot.
    pub fn new(paths: &[PathBuf], options: &Options) -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).clamp(2, 16);
        Self::with_limits(paths, options, Limits { threads, held_bytes: HELD_BYTES }, ENTRIES_MAX, NAMES_MAX)
    }

    fn with_limits(
        paths: &[PathBuf],
        options: &Options,
        limits: Limits,
        entries_max: usize,
        names_max: usize,
    ) -> Result<Self> {
        let excludes = Excludes::new(options)?;
        let (roots, problems) = reachable(paths, &excludes)?;
        let rules = Rules {
            roots,
            excludes,
            one_file_system: options.one_file_system,
            ignore_inode: options.ignore_inode,
            entries_max,
            names_max,
        };
        let ahead = Ahead::new(rules, limits);
        let (number, listing) = ahead.first();
        Ok(Self { ahead, problems, stack: vec![Frame::new(number, listing, false)] })
    }

    /// Enters the listing in a slot of the topmost one.
    fn enter(&mut self, slot: usize) -> Result<(), io::Error> {
        let Some(frame) = self.stack.last() else { return Ok(()) };
        let (number, listing) = self.ahead.take(frame.number, slot)?;
        let has_rest = self.ahead.has_rest(number);
        self.stack.push(Frame::new(number, listing, has_rest));
        Ok(())
    }

    fn leave(&mut self) {
        if let Some(frame) = self.stack.pop() {
            self.ahead.drop_listing(frame.number);
        }
    }
}

impl Iterator for Walk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some((path, error)) = self.problems.pop_front() {
            return Some(Step::Problem { path, error });
        }
        loop {
            let frame = self.stack.last_mut()?;
            if std::mem::take(&mut frame.is_descending) {
                let (slot, item) = (frame.descents - 1, frame.item - 1);
                if let Err(error) = self.enter(slot) {
                    let listing = &self.stack.last()?.listing;
                    return Some(Step::Problem { path: listing.path_of(&listing.items[item]), error });
                }
            } else if let Some(item) = frame.listing.items.get(frame.item) {
                let path = frame.listing.path_of(item);
                let descent = frame.listing.descents.get(frame.descents).filter(|d| d.item == frame.item);
                frame.is_descending = descent.is_some();
                let leads = descent.is_some_and(|descent| !descent.whole);
                frame.descents += usize::from(frame.is_descending);
                frame.item += 1;
                return Some(match &item.said {
                    Ok(stat) => Step::Found(Found { key: frame.listing.key_of(item), path, stat: stat.clone(), leads }),
                    Err(error) => Step::Problem { path, error: (*error).into() },
                });
            } else if frame.has_rest {
                let (slot, path) = (frame.listing.descents.len(), frame.listing.path.clone());
                // What continues a listing takes its place: a long directory is no deep one.
                let entered = self.enter(slot);
                let next = if entered.is_ok() { self.stack.pop() } else { None };
                self.leave();
                self.stack.extend(next);
                if let Err(error) = entered {
                    return Some(Step::Problem { path, error });
                }
            } else {
                self.leave();
            }
        }
    }
}

impl Frame {
    fn new(number: Number, listing: Arc<Listing>, has_rest: bool) -> Self {
        Self { number, listing, item: 0, descents: 0, is_descending: false, has_rest }
    }
}

/// The roots that are there and not left out, and what is wrong with others.
fn reachable(paths: &[PathBuf], excludes: &Excludes) -> Result<(Roots, VecDeque<(PathBuf, io::Error)>)> {
    let mut asked = Vec::with_capacity(paths.len());
    for path in paths {
        asked.push(key_of_path(path).ok_or_else(|| Error::new(ErrorKind::Usage, path.display(), "not absolute"))?);
    }
    if asked.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "", "no paths to back up"));
    }
    let asked = Roots::new(asked);
    let (mut keys, mut problems) = (Vec::new(), VecDeque::new());
    let mut is_any_there = false;
    for key in asked.keys() {
        let path = path_of_key(key);
        match Stat::of(&path).and_then(|stat| behind_no_link(&asked, key).map(|()| stat)) {
            Err(error) => problems.push_back((path, error)),
            Ok(stat) => {
                is_any_there = true;
                if !excludes.match_path_or_parents(&path, stat.kind == Kind::Directory) {
                    keys.push(key.clone());
                }
            }
        }
    }
    if !is_any_there && let Some((path, error)) = problems.pop_front() {
        return Err(Error::io(path.display(), error));
    }
    Ok((Roots::new(keys), problems))
}

/// A root inside another one is met on the way, unless a link that is kept as a link stands between.
fn behind_no_link(roots: &Roots, key: &[u8]) -> io::Result<()> {
    let parents: Vec<&[u8]> = std::iter::successors(parent_of(key), |key| parent_of(key)).collect();
    let outermost = parents.iter().rposition(|parent| roots.contains(parent));
    for parent in parents.iter().take(outermost.map_or(0, |at| at + 1)) {
        let path = path_of_key(parent);
        if Stat::of(&path)?.kind == Kind::Symlink {
            let link = path.display();
            return Err(io::Error::other(format!("is reached by the link {link}, which is backed up as a link")));
        }
    }
    Ok(())
}
