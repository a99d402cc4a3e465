//! Differences put into the nodes that they are to.

use std::collections::HashSet;

use super::{Address, Diff, Leaf, Node, SlotHash, Slots};
use crate::datahike::Unreadable;
use crate::error::DecodeError;
use crate::record::datom::{Attribute, Datom, Value, encode_value};

/// A node with what its parent says of it put in.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolved<'b> {
    /// Datoms, in the order of the index unless a difference was put in.
    Leaf(Leaf<'b>),
    /// Other nodes.
    Branch {
        /// Of the children: 0 for leaves.
        level: u32,
        /// The last datom of each child, as stored.
        keys: Vec<Datom<'b>>,
        /// The children, in order.
        children: Vec<Child>,
    },
}

/// A child of a branch: what is stored at an address, and what it is different from that.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Where it is stored.
    pub address: Address,
    /// Hash of its difference.
    pub slot: Option<SlotHash>,
    /// Its difference.
    pub diff: Option<Diff<'static>>,
}

impl<'b> Node<'b> {
    /// The node with a difference to what is stored, at the level that its parent gives it.
    pub fn resolve(self, diff: Option<Diff<'static>>, level: Option<u32>) -> Result<Resolved<'b>, Unreadable> {
        let wrong = |what| Err(DecodeError::Invalid(what).into());
        match self {
            Self::Leaf(mut leaf) => {
                if level.is_some_and(|level| level != 0) {
                    return wrong("node: a leaf where its parent has a branch");
                }
                if let Some(diff) = diff {
                    leaf.apply(diff)?;
                }
                Ok(Resolved::Leaf(leaf))
            }
            Self::Branch(branch) => {
                if level.is_some_and(|level| level != branch.level) {
                    return wrong("node: a branch of another level than its parent has");
                }
                let mut slots: Slots<'static> = match diff {
                    None => branch.slots.into_iter().map(|(place, slot)| (place, slot.into_owned())).collect(),
                    Some(Diff::Branch(slots)) => slots,
                    Some(Diff::Leaf { absent, present }) if absent.is_empty() && present.is_empty() => Slots::new(),
                    Some(Diff::Leaf { .. }) => return wrong("slot: the difference to a leaf at a branch"),
                };
                if slots.last_key_value().is_some_and(|(place, _)| *place >= branch.addresses.len()) {
                    return wrong("slots: no such child");
                }
                let child = |(place, address)| {
                    let slot = slots.remove(&place);
                    Child { address, slot: slot.as_ref().and_then(|s| s.hash), diff: slot.and_then(|s| s.diff) }
                };
                let children = branch.addresses.into_iter().enumerate().map(child).collect();
                Ok(Resolved::Branch { level: branch.level.saturating_sub(1), keys: branch.keys, children })
            }
        }
    }
}

impl Leaf<'_> {
    /// Puts a difference into a leaf. Where it does, the order of the datoms is lost.
    pub fn apply(&mut self, diff: Diff<'_>) -> Result<(), Unreadable> {
        let (absent, present) = match diff {
            Diff::Leaf { absent, present } => (absent, present),
            Diff::Branch(slots) if slots.is_empty() => return Ok(()),
            Diff::Branch(_) => return Err(DecodeError::Invalid("slot: the difference to a branch at a leaf").into()),
        };
        let gone = absent.iter().map(identity).collect::<Result<HashSet<_>, _>>()?;
        let mut here = HashSet::new();
        let mut kept = Vec::with_capacity(self.datoms.len() + present.len());
        for datom in std::mem::take(&mut self.datoms) {
            let identity = identity(&datom)?;
            if !gone.contains(&identity) {
                here.insert(identity);
                kept.push(datom);
            }
        }
        for datom in present {
            if here.insert(identity(&datom)?) {
                kept.push(datom.into_owned());
            }
        }
        self.datoms = kept;
        Ok(())
    }
}

/// Bytes that are the same for the same datom only.
fn identity(datom: &Datom<'_>) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&datom.e.to_be_bytes());
    bytes.extend_from_slice(&datom.t.to_be_bytes());
    bytes.push(u8::from(datom.added));
    let attribute = match &datom.a {
        Attribute::Keyword(name) => Value::Keyword(name.as_ref().into()),
        Attribute::Id(id) => Value::Long(*id),
        Attribute::String(name) => Value::String(name.as_bytes().into()),
    };
    for value in [&attribute, &datom.v] {
        encode_value(value, &mut bytes).map_err(|_| DecodeError::Invalid("value of a datom"))?;
    }
    Ok(bytes)
}
