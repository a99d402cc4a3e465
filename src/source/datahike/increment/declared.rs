//! Whether all datoms of an attribute are new, by the index that has attributes first.
//!
//! With a declaration the current datoms of an attribute can become history. A schema can be retracted while datoms stay,
//! so that they may be older than the declaration, and then no changed leaf tells of them.

use super::compare::top;
use super::facts::split;
use super::merge::Difference;
use super::shelf::{Content, Reference, Shelf};
use super::trouble::{FullReason, Trouble};
use super::{canonical, spelled};
use crate::datahike::{Head, IndexOrder};
use crate::record::datom::{Attribute, attribute_len};

/// Refuses a newly declared attribute of which the current index had datoms before this difference.
pub(super) fn require_new(
    shelf: &Shelf,
    head: &Head,
    attribute: &Attribute<'_>,
    difference: &Difference,
) -> Result<(), Trouble> {
    let name = canonical(attribute);
    let changed = || Trouble::Before(FullReason::Schema(spelled(&name)));
    if count(&difference.removed, &name)? > 0 {
        return Err(changed());
    }
    let added = count(&difference.added, &name)?;
    match of_attribute(shelf, head, attribute, &name, added)? {
        Some(all) if all == added => Ok(()),
        _ => Err(changed()),
    }
}

/// How many datoms the current index by attribute has of one; `None` when they are more than `most`, or not where the
/// order of attributes has them.
fn of_attribute(
    shelf: &Shelf,
    head: &Head,
    attribute: &Attribute<'_>,
    name: &[u8],
    most: usize,
) -> Result<Option<usize>, Trouble> {
    let sought = IndexOrder::attribute_prefix(attribute);
    let mut found = 0;
    let mut stack: Vec<Reference> = top(&head.aevt).into_iter().collect();
    while let Some(reference) = stack.pop() {
        let (last, content) = shelf.read_by_attribute(&reference)?;
        match content {
            Content::Leaf(rows, _) => {
                found += count(&rows, name)?;
                if found > most {
                    return Ok(None);
                }
            }
            Content::Branch { children, has_slots, .. } => {
                if !last.is_sorted() {
                    return Ok(None);
                }
                // As where entities are sought: slots put datoms beside their place.
                let reach = usize::from(has_slots);
                let bound = |place: Option<usize>| place.and_then(|place| last.get(place));
                stack.extend(children.into_iter().enumerate().rev().filter_map(|(place, child)| {
                    let low = bound(place.checked_sub(1 + reach)).is_none_or(|low| *low <= sought);
                    let high = bound(Some(place + reach)).is_none_or(|high| sought <= *high);
                    (low && high).then_some(child)
                }));
            }
        }
    }
    Ok(Some(found))
}

fn count(keys: &[Vec<u8>], name: &[u8]) -> Result<usize, Trouble> {
    let mut found = 0;
    for key in keys {
        let fact = split(key)?.fact;
        let rest = fact.get(8..).unwrap_or_default();
        let len = attribute_len(rest).map_err(|_| Trouble::Now("a datom has no key".to_owned()))?;
        found += usize::from(rest.get(..len) == Some(name));
    }
    Ok(found)
}
