//! Where the fold of a log is not the current view, and how to get from one to the other.

use super::key::{T, complete, log_key};
use super::stream::{Head, KeyStream};
use crate::error::{Error, ErrorKind, Result};
use crate::sorter::{Sorted, Sorter, SorterOptions};

/// What [`exceptions`] found.
#[non_exhaustive]
pub struct Exceptions {
    /// The exceptions as log keys, ascending.
    pub keys: Sorted,
    /// Datoms of the current view.
    pub current: u64,
    /// Datoms of the current view that the fold does not give, or gives at another t.
    pub not_folded: u64,
    /// Datoms that the fold gives for facts that the current view does not have.
    pub not_current: u64,
}

/// Compares a folded log with the current view, both as ascending view keys.
///
/// # Errors
/// [`ErrorKind::Data`] when the current view holds a retraction.
pub fn exceptions(folded: impl KeyStream, current: impl KeyStream, options: SorterOptions) -> Result<Exceptions> {
    let (mut folded, mut current) = (Head::new(folded), Head::new(current));
    folded.advance()?;
    current.advance()?;
    let mut out = ExceptionSink::new(options);
    let mut count = 0;
    let (mut fact, mut given, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(next) = [folded.fact(), current.fact()].into_iter().flatten().min() {
        fact.clear();
        fact.extend_from_slice(next);
        take_times(&mut folded, &fact, &mut given)?;
        take_times(&mut current, &fact, &mut wanted)?;
        count += wanted.len() as u64;
        out.compare(&fact, &given, &wanted)?;
    }
    let (keys, not_folded, not_current) = out.finish()?;
    Ok(Exceptions { keys, current: count, not_folded, not_current })
}

/// Moves the head past `fact`; `times` are then the distinct t at which a state holds it.
pub(super) fn take_times<S: KeyStream>(state: &mut Head<S>, fact: &[u8], times: &mut Vec<T>) -> Result<()> {
    times.clear();
    while state.is_about(fact) {
        if !state.asserts() {
            return Err(Error::new(ErrorKind::Data, "current view", "holds a retraction"));
        }
        if times.last() != Some(&state.t()) {
            times.push(state.t());
        }
        state.advance()?;
    }
    Ok(())
}

/// Collects exceptions.
pub(super) struct ExceptionSink {
    sorter: Sorter,
    key: Vec<u8>,
    log: Vec<u8>,
    not_folded: u64,
    not_current: u64,
}

impl ExceptionSink {
    pub fn new(options: SorterOptions) -> Self {
        Self { sorter: Sorter::new(options), key: Vec::new(), log: Vec::new(), not_folded: 0, not_current: 0 }
    }

    /// The fold gives a fact at the times `given`, the current view has it at `wanted`.
    pub fn compare(&mut self, fact: &[u8], given: &[T], wanted: &[T]) -> Result<()> {
        if given == wanted {
            return Ok(());
        }
        let has = !wanted.is_empty();
        for t in if has { wanted } else { given } {
            self.key.clear();
            self.key.extend_from_slice(fact);
            complete(&mut self.key, t, has);
            log_key(&self.key, &mut self.log)?;
            self.sorter.push(&self.log)?;
            *(if has { &mut self.not_folded } else { &mut self.not_current }) += 1;
        }
        Ok(())
    }

    /// The exceptions, how many assert and how many retract.
    pub fn finish(self) -> Result<(Sorted, u64, u64)> {
        Ok((self.sorter.finish()?, self.not_folded, self.not_current))
    }
}

/// The current view: the fold of a log put right by its exceptions, as view keys.
pub struct Current<F, X> {
    folded: Head<F>,
    exceptions: Head<X>,
    started: bool,
    datom: Vec<u8>,
}

impl<F: KeyStream, X: KeyStream> Current<F, X> {
    /// `folded` is what [`super::Fold`] gives, `exceptions` are view keys in ascending order.
    pub fn new(folded: F, exceptions: X) -> Self {
        Self { folded: Head::new(folded), exceptions: Head::new(exceptions), started: false, datom: Vec::new() }
    }
}

impl<F: KeyStream, X: KeyStream> KeyStream for Current<F, X> {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        if !self.started {
            self.started = true;
            self.folded.advance()?;
            self.exceptions.advance()?;
        }
        while let Some(fact) = self.exceptions.fact() {
            if self.folded.fact().is_some_and(|folded| folded < fact) {
                break;
            }
            while self.folded.is_about(fact) {
                self.folded.advance()?;
            }
            let has = self.exceptions.asserts();
            self.exceptions.take(&mut self.datom)?;
            if has {
                return Ok(Some(&self.datom));
            }
        }
        if self.folded.fact().is_none() {
            return Ok(None);
        }
        self.folded.take(&mut self.datom)?;
        Ok(Some(&self.datom))
    }
}
