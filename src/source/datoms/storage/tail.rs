//! The tail: transactions that are replayed over the index, with a negative t where they retract.

use std::collections::{BTreeMap, HashSet};

use super::node::{Content, Syntax};
use crate::record::datom::{Datom, Value, edn};
use crate::source::datoms::facts;

/// What the tail makes of the facts it is about.
#[derive(Default)]
pub(super) struct Tail {
    entities: HashSet<i64>,
    /// By fact, as text: the datom if the last word was an assertion.
    facts: BTreeMap<Vec<u8>, Option<Datom<'static>>>,
    max_t: Option<i64>,
    transactions: u64,
}

impl Tail {
    /// Reads `[[[e a v t] ...] ...]`.
    pub(super) fn read(content: &Content, syntax: Syntax) -> Result<Self, String> {
        const SHAPE: &str = "no tail of a DataScript storage, [[[e a v t] ...] ...]";
        let mut tail = Self::default();
        let (Value::Tuple(transactions) | Value::List(transactions)) = content.value(syntax)? else {
            return Err(SHAPE.to_owned());
        };
        for transaction in transactions {
            let (Value::Tuple(datoms) | Value::List(datoms)) = transaction else { return Err(SHAPE.to_owned()) };
            tail.transactions += 1;
            for value in datoms {
                let mut datom = facts::datom(value, None)?.into_owned();
                if datom.t < 0 {
                    datom.t = datom.t.checked_neg().ok_or("a transaction id beyond 64 bits")?;
                    datom.added = false;
                }
                tail.replay(datom);
            }
        }
        Ok(tail)
    }

    fn replay(&mut self, datom: Datom<'static>) {
        self.entities.insert(datom.e);
        self.max_t = self.max_t.max(Some(datom.t));
        let fact = fact(&datom);
        self.facts.insert(fact, datom.added.then_some(datom));
    }

    /// Whether a datom of the index is one that the tail has the last word on.
    pub(super) fn decides(&self, datom: &Datom<'_>) -> bool {
        self.entities.contains(&datom.e) && self.facts.contains_key(&fact(datom))
    }

    /// The datoms that the tail asserts in the end.
    pub(super) fn asserted(&self) -> impl Iterator<Item = &Datom<'static>> {
        self.facts.values().flatten()
    }

    pub(super) fn max_t(&self) -> Option<i64> {
        self.max_t
    }

    pub(super) fn transactions(&self) -> u64 {
        self.transactions
    }
}

/// Entity, attribute and value as text, the same for equal values only.
fn fact(datom: &Datom<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    let bare = Datom { e: datom.e, a: datom.a.clone(), v: Value::Nil, t: 0, added: true };
    edn::print_datom(&bare, &mut text);
    edn::print_value(&datom.v, &mut text);
    text
}
