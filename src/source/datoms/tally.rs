//! What is counted while datoms pass.

use std::fmt::Display;

use crate::record::datom::{Datom, Value};
use crate::source::datoms::{Format, Reading, View};

/// How many of the datoms left out are listed.
const PROBLEMS_MAX: usize = 1000;
/// Datahike's first transaction id; entities above are transactions.
const FIRST_TRANSACTION: i64 = 1 << 29;
const UNPRINTED: &str = "was printed as #object, without its content: kept as that";

/// A reading that is under way.
pub(super) struct Tally {
    pub(super) reading: Reading,
    max_t: Option<i64>,
    max_eid: Option<i64>,
}

impl Tally {
    pub(super) fn new(format: Format) -> Self {
        let reading = Reading::of(format);
        Self { reading, max_t: None, max_eid: None }
    }

    #[inline]
    pub(super) fn count(&mut self, datom: &Datom<'_>) {
        self.reading.datoms += 1;
        self.reading.retractions += u64::from(!datom.added);
        self.max_t = self.max_t.max(Some(datom.t));
        // Transactions are entities too; where their ids are above all others they do not count.
        if datom.t < FIRST_TRANSACTION || datom.e < FIRST_TRANSACTION {
            self.max_eid = self.max_eid.max(Some(datom.e));
        }
        if matches!(&datom.v, Value::Tagged(tag, _) if tag == "object") {
            self.problem(format!("datom of entity {} at t {}", datom.e, datom.t), UNPRINTED);
        }
    }

    pub(super) fn note(&mut self, what: &str, count: u64) {
        *self.reading.notes.entry(what.to_owned()).or_default() += count;
    }

    /// Lists a datom that is left out, or of which something is lost.
    pub(super) fn problem(&mut self, place: String, why: impl Display) {
        self.reading.problems_count += 1;
        if self.reading.problems.len() < PROBLEMS_MAX {
            self.reading.problems.push((place, why.to_string()));
        }
    }

    pub(super) fn finish(mut self) -> Reading {
        if self.reading.retractions > 0 && self.reading.view == View::Unstated {
            self.reading.view = View::History;
        }
        for (name, value) in [("max-t", self.max_t), ("max-eid", self.max_eid)] {
            if let Some(value) = value {
                let text = || value.to_string();
                self.reading.properties.entry(name.to_owned()).or_insert_with(text);
            }
        }
        self.reading
    }
}
