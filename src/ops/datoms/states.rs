//! A history for a source that has none: what to append to the parent's log so that it folds to the new state.
//!
//! The parent's state (its log folded, its exceptions applied) is compared with the new one, fact by fact. Where both are
//! the same nothing is appended, so an unchanged source changes nothing. A fact that appeared, or has another t, is
//! asserted at its own t. A fact that vanished is retracted at the t that replaced it: the smallest t, later than the
//! fact's own, of the facts of the same entity and attribute that appeared; otherwise at the source's latest t. Never at
//! the fact's own t or before, where the assertion would win: then it becomes an exception instead.
//!
//! A source without transactions (a dump of Datalevin) says nothing about t. Then a fact that was there keeps its t, and
//! what appeared or vanished did so at the latest t, which is one later than any before.
//!
//! Exceptions are made anew for the whole state. They remain where no appended event helps: an assertion that is older
//! than a retraction in the log, a t that went back, a fact that vanished without any later t.

use super::exceptions::{ExceptionSink, take_times};
use super::key::{T, complete, log_key};
use super::stream::{Head, KeyStream};
use crate::error::Result;
use crate::sorter::{Sorted, Sorter, SorterOptions};

/// Facts of one entity and attribute that may vanish at once and still be retracted at the t that replaced them.
const GROUP_FACTS: usize = 1 << 20;
/// Bytes of such facts.
const GROUP_BYTES: usize = 64 << 20;

/// How to compare states.
pub struct StateOptions<'a> {
    /// The source's latest t, in the form it has in keys.
    pub latest_t: [u8; 8],
    /// The source has no transactions: facts that the parent has keep their t, all others have the latest t, whatever t
    /// the state gives them.
    pub timeless: bool,
    /// Length of the attribute at the start of these bytes.
    pub attribute_len: &'a dyn Fn(&[u8]) -> usize,
    /// Twice: for the events and for the exceptions.
    pub sorter: SorterOptions,
}

/// What makes the parent's log one of the new state.
#[non_exhaustive]
pub struct Appended {
    /// Log keys to insert, ascending; the parent's log has none of them.
    pub events: Sorted,
    /// All exceptions of the new log, as log keys, ascending.
    pub exceptions: Sorted,
    /// Datoms of the new state.
    pub current: u64,
    /// Assertions among the events.
    pub asserted: u64,
    /// Retractions among the events.
    pub retracted: u64,
    /// Pairs of entity and attribute with over 2^20 facts (or 64 MiB of them) that vanished at once, or as many distinct t
    /// that appeared: all vanished facts of such a pair were retracted at the latest t.
    pub groups_too_large: u64,
}

/// Compares the parent with the new state; all three are ascending view keys.
///
/// # Errors
/// [`crate::error::ErrorKind::Data`] when the state holds a retraction.
pub fn append_state(
    log: impl KeyStream,
    parent_exceptions: impl KeyStream,
    state: impl KeyStream,
    options: StateOptions<'_>,
) -> Result<Appended> {
    append_within(log, parent_exceptions, state, options, GROUP_FACTS)
}

pub(super) fn append_within(
    log: impl KeyStream,
    parent_exceptions: impl KeyStream,
    state: impl KeyStream,
    options: StateOptions<'_>,
    group_facts: usize,
) -> Result<Appended> {
    let (mut log, mut corrections, mut state) = (Head::new(log), Head::new(parent_exceptions), Head::new(state));
    log.advance()?;
    corrections.advance()?;
    state.advance()?;
    let mut out = Out {
        events: EventSink { sorter: Sorter::new(options.sorter.clone()), key: Vec::new(), log: Vec::new() },
        exceptions: ExceptionSink::new(options.sorter),
        latest_t: options.latest_t,
        asserted: 0,
        retracted: 0,
        groups_too_large: 0,
    };
    let mut group = Group::new(group_facts);
    let mut current = 0;
    let mut fact = Vec::new();
    let mut wanted = Vec::new();
    while let Some(next) = [log.fact(), corrections.fact(), state.fact()].into_iter().flatten().min() {
        fact.clear();
        fact.extend_from_slice(next);
        if !group.holds(&fact) {
            out.close(&mut group)?;
            let attribute_len = (options.attribute_len)(&fact[8..]);
            group.open(&fact[..fact.len().min(attribute_len.saturating_add(8))]);
        }
        take_times(&mut state, &fact, &mut wanted)?;
        if options.timeless && !wanted.is_empty() {
            wanted.clear();
            wanted.push(options.latest_t);
        }
        current += wanted.len() as u64;
        let correction = Correction::take(&mut corrections, &fact)?;
        let events = Events::take(&mut log, &fact, &wanted)?;
        if options.timeless && !wanted.is_empty() {
            let before = correction.state(&events);
            if !before.is_empty() {
                wanted.clear();
                wanted.extend_from_slice(before);
            }
        }
        out.compare(&mut group, &fact, &wanted, &correction, &events)?;
    }
    out.close(&mut group)?;
    let (exceptions, ..) = out.exceptions.finish()?;
    Ok(Appended {
        events: out.events.sorter.finish()?,
        exceptions,
        current,
        asserted: out.asserted,
        retracted: out.retracted,
        groups_too_large: out.groups_too_large,
    })
}

/// What the parent's exceptions say of one fact.
enum Correction {
    /// Nothing: the fold is right.
    None,
    /// The parent's state has it at these t, maybe none.
    Has(Vec<T>),
}

impl Correction {
    fn take<S: KeyStream>(exceptions: &mut Head<S>, fact: &[u8]) -> Result<Self> {
        let mut correction = Self::None;
        while exceptions.is_about(fact) {
            let times = match &mut correction {
                Self::Has(times) => times,
                none => {
                    *none = Self::Has(Vec::new());
                    continue;
                }
            };
            if exceptions.asserts() && times.last() != Some(&exceptions.t()) {
                times.push(exceptions.t());
            }
            exceptions.advance()?;
        }
        Ok(correction)
    }

    /// The t at which the parent's state has the fact.
    fn state<'s>(&'s self, events: &'s Events) -> &'s [T] {
        match self {
            Self::None => events.folded.as_slice(),
            Self::Has(times) => times,
        }
    }
}

/// What the log says of one fact.
struct Events {
    /// What its events fold to.
    folded: Option<T>,
    /// What they fold to when the fact is asserted at each wanted t as well.
    folded_with_wanted: Option<T>,
    /// The wanted t at which the log does not assert the fact.
    lacking: Vec<T>,
}

impl Events {
    fn take<S: KeyStream>(log: &mut Head<S>, fact: &[u8], wanted: &[T]) -> Result<Self> {
        let mut events = Self { folded: None, folded_with_wanted: None, lacking: Vec::new() };
        let mut wanted = wanted.iter().copied().peekable();
        while log.is_about(fact) {
            let (t, asserts) = (log.t(), log.asserts());
            while let Some(lacking) = wanted.next_if(|&wanted| (wanted, true) < (t, asserts)) {
                events.lacking.push(lacking);
                events.folded_with_wanted = Some(lacking);
            }
            wanted.next_if(|&wanted| (wanted, true) == (t, asserts));
            events.folded = asserts.then_some(t);
            events.folded_with_wanted = events.folded;
            log.advance()?;
        }
        for lacking in wanted {
            events.lacking.push(lacking);
            events.folded_with_wanted = Some(lacking);
        }
        Ok(events)
    }
}

/// Facts of one entity and attribute that wait for the end of their group.
struct Group {
    entity_attribute: Vec<u8>,
    vanished: Vec<Vanished>,
    vanished_bytes: usize,
    /// Every t at which a fact of the group appeared.
    appeared: Vec<T>,
    too_large: bool,
    facts_max: usize,
}

struct Vanished {
    fact: Vec<u8>,
    /// What the log's events fold to; `None` needs no retraction.
    folded: T,
    /// The latest t at which the parent has the fact in fold or state; a retraction must be later.
    since: T,
}

impl Group {
    fn new(facts_max: usize) -> Self {
        Self {
            entity_attribute: Vec::new(),
            vanished: Vec::new(),
            vanished_bytes: 0,
            appeared: Vec::new(),
            too_large: false,
            facts_max,
        }
    }

    fn holds(&self, fact: &[u8]) -> bool {
        !self.entity_attribute.is_empty() && fact.starts_with(&self.entity_attribute)
    }

    fn open(&mut self, entity_attribute: &[u8]) {
        self.entity_attribute.clear();
        self.entity_attribute.extend_from_slice(entity_attribute);
        self.appeared.clear();
        self.too_large = false;
    }

    fn appear(&mut self, t: T) {
        if self.too_large || self.appeared.last() == Some(&t) {
            return;
        }
        self.appeared.push(t);
        if self.appeared.len() > 2 * self.facts_max {
            self.appeared.sort_unstable();
            self.appeared.dedup();
            self.too_large = self.appeared.len() > self.facts_max;
        }
    }

    fn vanish(&mut self, vanished: Vanished) {
        self.vanished_bytes += vanished.fact.len();
        self.vanished.push(vanished);
        self.too_large |= self.vanished.len() > self.facts_max || self.vanished_bytes > GROUP_BYTES;
    }
}

struct Out {
    events: EventSink,
    exceptions: ExceptionSink,
    latest_t: T,
    asserted: u64,
    retracted: u64,
    groups_too_large: u64,
}

impl Out {
    fn compare(
        &mut self,
        group: &mut Group,
        fact: &[u8],
        wanted: &[T],
        correction: &Correction,
        events: &Events,
    ) -> Result<()> {
        let before = correction.state(events);
        if before == wanted {
            return self.exceptions.compare(fact, events.folded.as_slice(), wanted);
        }
        if let Some(folded) = events.folded.filter(|_| wanted.is_empty()) {
            let since = before.iter().copied().fold(folded, T::max);
            group.vanish(Vanished { fact: fact.to_vec(), folded, since });
            // What waits is bounded: a group found too large needs no more waiting.
            return if group.too_large { self.resolve(group) } else { Ok(()) };
        }
        for &t in wanted.iter().filter(|t| !before.contains(t)) {
            group.appear(t);
        }
        for t in &events.lacking {
            self.events.push(fact, t, true)?;
            self.asserted += 1;
        }
        self.exceptions.compare(fact, events.folded_with_wanted.as_slice(), wanted)
    }

    fn close(&mut self, group: &mut Group) -> Result<()> {
        self.groups_too_large += u64::from(group.too_large);
        group.appeared.sort_unstable();
        self.resolve(group)
    }

    /// Retracts what waits in the group.
    fn resolve(&mut self, group: &mut Group) -> Result<()> {
        group.vanished_bytes = 0;
        for Vanished { fact, folded, since } in group.vanished.drain(..) {
            let replaced = if group.too_large { &[] } else { group.appeared.as_slice() };
            let replaced = replaced.get(replaced.partition_point(|&t| t <= since)).copied();
            match replaced.or(Some(self.latest_t).filter(|&t| t > since)) {
                Some(t) => {
                    self.events.push(&fact, &t, false)?;
                    self.retracted += 1;
                }
                None => self.exceptions.compare(&fact, &[folded], &[])?,
            }
        }
        Ok(())
    }
}

struct EventSink {
    sorter: Sorter,
    key: Vec<u8>,
    log: Vec<u8>,
}

impl EventSink {
    fn push(&mut self, fact: &[u8], t: &T, asserts: bool) -> Result<()> {
        self.key.clear();
        self.key.extend_from_slice(fact);
        complete(&mut self.key, t, asserts);
        log_key(&self.key, &mut self.log)?;
        self.sorter.push(&self.log)
    }
}
