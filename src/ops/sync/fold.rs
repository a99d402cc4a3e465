//! What a chain of differences makes of the trees that it starts from.

use std::collections::BTreeMap;

use super::net::Net;
use crate::error::Result;
use crate::format::NamedRoot;
use crate::ops::edit::{Already, Sink, edit};
use crate::ops::mark;
use crate::record::RecordKind;
use crate::record::datom::{Datoms, Digest};
use crate::repository::Reader;
use crate::tree::Root;

/// The roots with the changes applied; `reader` must find everything that `roots` reach. A tree that changes and is not among
/// them begins empty.
pub(super) fn apply(
    reader: &Reader,
    sink: &mut Sink<'_>,
    roots: &[NamedRoot],
    changes: &Net,
) -> Result<Vec<NamedRoot>> {
    let mut named: BTreeMap<String, NamedRoot> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for root in roots {
        order.push(root.name.clone());
        named.insert(root.name.clone(), root.clone());
    }
    for (name, keys) in &changes.trees {
        let old = named.get(name).cloned().unwrap_or_else(|| {
            order.push(name.clone());
            mark::named(name, Root::empty(Datoms.code()), Digest::new().encode().to_vec())
        });
        sink.resemble(&mark::root(&old));
        let keys = keys.iter().map(|(key, put)| (key.as_slice(), *put));
        let new = edit(reader, sink, &old, keys, Already::Ignore)?.root;
        named.insert(name.clone(), new);
    }
    Ok(order.into_iter().filter_map(|name| named.remove(&name)).collect())
}
