//! Whether the indices of a database hold the same datoms.

use std::sync::Arc;

use super::branch::{Branch, roots};
use crate::datahike::walk::VisitedLeaf;
use crate::datahike::{Home, IndexOrder, Store, Visitor, Walk};
use crate::error::{Error, Result};
use crate::record::datom::{Datom, Digest};

/// What is wrong with the indices of a branch: those by attribute must have the datoms of the one by entity, those by value
/// what it has of indexed attributes. Reads all of them.
pub(super) fn different(home: &Arc<dyn Home>, name: &str, branch: &Branch) -> Result<Option<String>> {
    let store = Store::new(Arc::clone(home), None);
    for temporal in [false, true] {
        let mut by_entity = Sums::default();
        for (order, _, root) in roots(&branch.head).into_iter().filter(|(_, of, _)| *of == temporal) {
            let indexed = |datom: &Datom<'_>| branch.schema.of(&datom.a).indexed;
            let mut sums = Sums::default();
            let mut add = Add { sums: &mut sums, order, indexed: &indexed, last: Vec::new(), ordered: true };
            let walk = Walk::new(&store).verifying(branch.shape.crypto_hash);
            walk.run(root, &mut add).map_err(|error| error.into_error(&store))?;
            let is_ordered = add.ordered;
            let is_same = match order {
                IndexOrder::Eavt => {
                    by_entity = sums;
                    true
                }
                IndexOrder::Aevt => sums == by_entity,
                IndexOrder::Avet => sums.all == by_entity.indexed,
            };
            let index = format!("index {}{} of :{name}", if temporal { "temporal-" } else { "" }, order.name());
            if !is_same {
                return Ok(Some(format!("{index} does not hold what the one by entity does")));
            }
            if !is_ordered {
                return Ok(Some(format!("{index} is not in order")));
            }
        }
    }
    Ok(None)
}

/// What the datoms of an index add up to: all, and those of indexed attributes.
#[derive(Default, PartialEq, Eq)]
struct Sums {
    all: Digest,
    indexed: Digest,
}

struct Add<'s> {
    sums: &'s mut Sums,
    order: IndexOrder,
    indexed: &'s dyn Fn(&Datom<'_>) -> bool,
    last: Vec<u8>,
    ordered: bool,
}

impl Visitor for Add<'_> {
    fn leaf(&mut self, leaf: &VisitedLeaf<'_, '_>) -> Result<()> {
        for datom in leaf.datoms {
            self.sums.all.add(datom);
            if (self.indexed)(datom) {
                self.sums.indexed.add(datom);
            }
            let mut key = Vec::with_capacity(self.last.len());
            self.order.put_key(datom, &mut key).map_err(|why| Error::damaged("datom", why))?;
            self.ordered &= self.last < key;
            self.last = key;
        }
        Ok(())
    }
}
