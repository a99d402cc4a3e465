//! What earlier snapshots say about the paths that a walk finds: one pass over them, in constant memory.

use super::{FILES, began};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Snapshot;
use crate::ops::mark;
use crate::progress::{Event, Observer};
use crate::record::entry::Time;
use crate::repository::Reader;
use crate::tree::{KeyRange, TreeParameters, Walker};

/// The rows of up to two snapshots, looked up by ascending keys.
pub(super) struct Parents<'a> {
    /// The newest complete snapshot.
    complete: Option<Rows<'a>>,
    /// A partial one that is newer, and so is asked first.
    partial: Option<Rows<'a>>,
    observer: &'a dyn Observer,
}

/// A row of a parent.
pub(super) struct ParentRow<'a> {
    /// The entry.
    pub(super) value: &'a [u8],
    /// When the backup that read it began.
    pub(super) began: Time,
}

struct Rows<'a> {
    walker: Walker<'a>,
    began: Time,
    /// The row that the walker stands at, once it has begun.
    row: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether that row was asked for.
    found: bool,
    /// Rows that nobody asked for.
    passed: u64,
}

impl<'a> Parents<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        parameters: &'a TreeParameters,
        (complete, partial): (Option<&Snapshot>, Option<&Snapshot>),
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        let open = |snapshot: Option<&Snapshot>| match snapshot.map(|s| Rows::open(reader, parameters, s)) {
            Some(Err(error)) if error.kind() == ErrorKind::Damaged => {
                observer.event(Event::Note(&unreadable(&error)));
                Ok(None)
            }
            Some(result) => result,
            None => Ok(None),
        };
        Ok(Self { complete: open(complete)?, partial: open(partial)?, observer })
    }

    /// The row of a key, which must be above all that were asked for before.
    pub(super) fn find(&mut self, key: &[u8]) -> Result<Option<ParentRow<'_>>> {
        let in_partial = seek(&mut self.partial, Some(key), self.observer)?;
        let in_complete = seek(&mut self.complete, Some(key), self.observer)?;
        let rows = match (in_partial, in_complete) {
            (true, _) => &self.partial,
            (false, true) => &self.complete,
            (false, false) => return Ok(None),
        };
        let row = rows.as_ref().and_then(|rows| Some((rows, rows.row.as_ref()?)));
        Ok(row.map(|(rows, (_, value))| ParentRow { value, began: rows.began }))
    }

    /// How many paths of the complete snapshot nobody asked for, now that all others were.
    pub(super) fn removed(mut self) -> Result<u64> {
        seek(&mut self.complete, None, self.observer)?;
        Ok(self.complete.map_or(0, |rows| rows.passed))
    }
}

impl<'a> Rows<'a> {
    fn open(reader: &'a Reader, parameters: &'a TreeParameters, snapshot: &Snapshot) -> Result<Option<Self>> {
        let Some(root) = snapshot.roots.iter().find(|root| root.name == FILES) else { return Ok(None) };
        let walker = Walker::new(reader, parameters, &mark::root(root), KeyRange::all())?;
        let row = Some((Vec::new(), Vec::new()));
        let mut rows = Self { walker, began: began(snapshot), row, found: true, passed: 0 };
        rows.advance()?;
        Ok(Some(rows))
    }

    fn advance(&mut self) -> Result<()> {
        let Some((key, value)) = &mut self.row else { return Ok(()) };
        self.passed += u64::from(!self.found);
        self.found = false;
        match self.walker.next_record()? {
            Some((next_key, next_value)) => {
                key.clear();
                key.extend_from_slice(next_key);
                value.clear();
                value.extend_from_slice(next_value);
            }
            None => self.row = None,
        }
        Ok(())
    }

    /// Whether there is a row with this key; `None` is above all keys.
    fn seek(&mut self, key: Option<&[u8]>) -> Result<bool> {
        while let Some((at, _)) = &self.row {
            let order = key.map_or(std::cmp::Ordering::Less, |key| at.as_slice().cmp(key));
            if order.is_ge() {
                self.found |= order.is_eq();
                return Ok(order.is_eq());
            }
            self.advance()?;
        }
        Ok(false)
    }
}

/// As [`Rows::seek`]. A snapshot that turns out to be damaged is no reason to have no new one: it is left aside.
fn seek(rows: &mut Option<Rows<'_>>, key: Option<&[u8]>, observer: &dyn Observer) -> Result<bool> {
    let Some(known) = rows else { return Ok(false) };
    match known.seek(key) {
        Err(error) if error.kind() == ErrorKind::Damaged => {
            observer.event(Event::Note(&unreadable(&error)));
            *rows = None;
            Ok(false)
        }
        result => result,
    }
}

/// Says that a parent is left aside.
pub(super) fn unreadable(why: &Error) -> String {
    format!("the earlier snapshot cannot be compared with, so files are read whether they changed or not: {why}")
}
