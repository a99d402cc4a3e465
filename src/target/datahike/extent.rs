//! How far a branch reaches: what its head says of all its datoms.

use std::collections::BTreeMap;

use crate::datahike::{Head, SYSTEM_TRANSACTION, field};
use crate::record::datom::{Datom, Value};

/// The greatest of what the datoms of a branch have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) max_tx: i64,
    /// Of entities that are no transactions.
    pub(super) max_eid: i64,
    /// Of what current transactions say of their time, milliseconds since 1970. It dates the head.
    pub(super) latest_instant: Option<i64>,
}

impl Extent {
    /// Of no datoms.
    pub(super) fn new() -> Self {
        Self { max_tx: SYSTEM_TRANSACTION, max_eid: 0, latest_instant: None }
    }

    /// Of the datoms that a head is of.
    pub(super) fn of_head(head: &Head) -> Self {
        let latest_instant = match field(&head.meta, "datahike/updated-at") {
            Some(Value::Instant(ms)) => Some(*ms),
            _ => None,
        };
        Self { max_tx: head.max_tx, max_eid: head.max_eid, latest_instant }
    }

    /// Takes in a datom.
    pub(super) fn add(&mut self, datom: &Datom<'_>, is_current: bool) {
        self.max_tx = self.max_tx.max(datom.t);
        self.add_entity(datom.e);
        if let (Value::Instant(ms), true, true) = (&datom.v, datom.e == datom.t, is_current) {
            self.latest_instant = self.latest_instant.max(Some(*ms));
        }
    }

    /// Takes in what a snapshot says: the database may have had more than it has now.
    pub(super) fn add_properties(&mut self, properties: &BTreeMap<String, String>) {
        let number = |name: &str| properties.get(name).and_then(|text| text.parse::<i64>().ok());
        if let Some(t) = number("max-t") {
            self.max_tx = self.max_tx.max(t);
        }
        if let Some(e) = number("max-eid") {
            self.add_entity(e);
        }
    }

    fn add_entity(&mut self, e: i64) {
        if e < SYSTEM_TRANSACTION {
            self.max_eid = self.max_eid.max(e);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::datom::Attribute;

    fn instant(t: i64, ms: i64) -> Datom<'static> {
        Datom { e: t, a: Attribute::Keyword("db/txInstant".into()), v: Value::Instant(ms), t, added: true }
    }

    #[test]
    fn the_greatest_current_instant_dates_a_head_in_whatever_order_they_come() {
        let (first, last) = (SYSTEM_TRANSACTION + 1, SYSTEM_TRANSACTION + 2);
        let mut extent = Extent::new();
        extent.add(&instant(last, 10), true);
        extent.add(&instant(first, 30), true);
        extent.add(&instant(last, 50), false);
        extent.add(&instant(last, 20), true);
        assert_eq!((extent.latest_instant, extent.max_tx, extent.max_eid), (Some(30), last, 0));
    }

    #[test]
    fn properties_only_extend() {
        let mut extent = Extent { max_tx: 9, max_eid: 7, latest_instant: None };
        let say = |t: i64, e: i64| {
            BTreeMap::from([("max-t".to_owned(), t.to_string()), ("max-eid".to_owned(), e.to_string())])
        };
        extent.add_properties(&say(8, SYSTEM_TRANSACTION + 1));
        assert_eq!((extent.max_tx, extent.max_eid), (9, 7));
        extent.add_properties(&say(10, 8));
        assert_eq!((extent.max_tx, extent.max_eid), (10, 8));
    }
}
