//! Nodes of an index: leaves of datoms and branches of addresses, in both generations Datahike has written.
//!
//! A branch may carry *slots*, differences that are not yet written into its children: a child is what is stored at its
//! address and its slot together.

mod resolve;

use std::collections::BTreeMap;

use super::fields::{elements, field, number};
use super::{SYSTEM_TRANSACTION, Unreadable};
use crate::error::DecodeError;
use crate::record::datom::{Attribute, Datom, Value, encode_value};

pub use resolve::{Child, Resolved};

/// The UUID a node is stored under.
pub type Address = [u8; 16];

/// Differences of the children of a branch, by their place.
pub type Slots<'b> = BTreeMap<usize, Slot<'b>>;

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'b> {
    /// Datoms.
    Leaf(Leaf<'b>),
    /// Other nodes.
    Branch(Branch<'b>),
}

/// A node of datoms, in the order of its index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leaf<'b> {
    /// The datoms.
    pub datoms: Vec<Datom<'b>>,
}

/// A node of nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch<'b> {
    /// 1 above leaves.
    pub level: u32,
    /// The last datom of each child.
    pub keys: Vec<Datom<'b>>,
    /// Where the children are stored.
    pub addresses: Vec<Address>,
    /// What children are different from what is stored.
    pub slots: Slots<'b>,
    /// Datoms below, where the node says so.
    pub subtree_count: Option<u64>,
}

/// What a child is different from what is stored at its address.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot<'b> {
    /// Datoms below the child, where the slot says so.
    pub count: Option<u64>,
    /// The difference; without one the child is as stored.
    pub diff: Option<Diff<'b>>,
    /// Hash of the difference: children with the same address and hash are the same, if the address was not reused.
    pub hash: Option<SlotHash>,
}

/// Hash of a difference.
pub type SlotHash = [u8; 16];

/// A difference to a stored node.
#[derive(Clone, Debug, PartialEq)]
pub enum Diff<'b> {
    /// To a leaf.
    Leaf {
        /// Datoms of the stored leaf that are gone.
        absent: Vec<Datom<'b>>,
        /// Datoms that are to be there.
        present: Vec<Datom<'b>>,
    },
    /// To a branch: these slots are there in place of its own.
    Branch(Slots<'b>),
}

impl<'b> Node<'b> {
    /// The node in the value of a blob.
    pub fn decode(bytes: &'b [u8]) -> Result<Self, Unreadable> {
        Self::from_value(super::blob::only_value(bytes)?)
    }

    /// The node a value stands for.
    pub fn from_value(value: Value<'b>) -> Result<Self, Unreadable> {
        let (tag, mut fields) = record(value)?;
        match tag {
            Tag::Leaf => Ok(Self::Leaf(Leaf { datoms: datoms(take(&mut fields, "keys")?)? })),
            Tag::Branch => branch(&mut fields).map(Self::Branch),
            Tag::Set => Err(Unreadable::Record("index root, where a node belongs".to_owned())),
        }
    }
}

/// What a record of an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Set,
    Leaf,
    Branch,
}

type Fields<'b> = Vec<(Value<'b>, Value<'b>)>;

/// The kind and the fields of a record of an index; everything else is refused by its name.
pub(super) fn record(value: Value<'_>) -> Result<(Tag, Fields<'_>), Unreadable> {
    let Value::Tagged(tag, fields) = value else { return Err(DecodeError::Invalid("node: not a record").into()) };
    let tag = match tag.as_ref() {
        "pss/set" | "datahike.index.PersistentSortedSet" => Tag::Set,
        "pss/leaf" | "datahike.index.PersistentSortedSet.Leaf" => Tag::Leaf,
        "pss/branch" | "datahike.index.PersistentSortedSet.Branch" => Tag::Branch,
        name if name.starts_with("hitchhiker.") || name.starts_with("datahike.index.hitchhiker_tree") => {
            return Err(Unreadable::Hitchhiker);
        }
        name if name.starts_with("datomic.") || name.starts_with("index-") => return Err(Unreadable::Datomic),
        name => return Err(Unreadable::Record(name.to_owned())),
    };
    match *fields {
        Value::Map(fields) => Ok((tag, fields)),
        _ => Err(DecodeError::Invalid("node: its fields are no map").into()),
    }
}

fn find<'b>(fields: &mut Fields<'b>, name: &str) -> Option<Value<'b>> {
    let at = fields.iter().position(|(key, _)| matches!(key, Value::Keyword(key) if key == name))?;
    Some(fields.swap_remove(at).1)
}

fn take<'b>(fields: &mut Fields<'b>, name: &str) -> Result<Value<'b>, Unreadable> {
    find(fields, name).ok_or_else(|| DecodeError::Invalid("node: a field is missing").into())
}

fn branch<'b>(fields: &mut Fields<'b>) -> Result<Branch<'b>, Unreadable> {
    let keys = datoms(take(fields, "keys")?)?;
    let addresses = take(fields, "addresses")?;
    let addresses = elements(&addresses).iter().map(|address| match address {
        Value::Uuid(address) => Ok(*address),
        _ => Err(DecodeError::Invalid("branch: an address that is no UUID")),
    });
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() || addresses.len() != keys.len() {
        return Err(DecodeError::Invalid("branch: not as many keys as addresses").into());
    }
    let level = match take(fields, "level")? {
        Value::Long(level @ 1..=64) => u32::try_from(level).map_err(|_| DecodeError::Invalid("branch: level"))?,
        _ => return Err(DecodeError::Invalid("branch: level").into()),
    };
    let subtree_count = match find(fields, "subtree-count") {
        Some(Value::Long(count)) => u64::try_from(count).ok(),
        _ => None,
    };
    let slots = match find(fields, "slots") {
        None | Some(Value::Nil) => Slots::new(),
        Some(slots) => self::slots(slots, addresses.len())?,
    };
    Ok(Branch { level, keys, addresses, slots, subtree_count })
}

/// Slots of a branch with `children` children.
fn slots(value: Value<'_>, children: usize) -> Result<Slots<'_>, Unreadable> {
    let Value::Map(entries) = value else { return Err(DecodeError::Invalid("slots: not a map").into()) };
    let mut slots = Slots::new();
    for (place, slot) in entries {
        let place = match place {
            Value::Long(place) => usize::try_from(place).ok().filter(|place| *place < children),
            _ => None,
        };
        let place = place.ok_or(DecodeError::Invalid("slots: no such child"))?;
        slots.insert(place, self::slot(slot)?);
    }
    Ok(slots)
}

fn slot(value: Value<'_>) -> Result<Slot<'_>, Unreadable> {
    let count = number(&value, "count").and_then(|count| u64::try_from(count).ok());
    let Value::Map(mut fields) = value else { return Err(DecodeError::Invalid("slot: not a map").into()) };
    let diff = match find(&mut fields, "diff") {
        None | Some(Value::Nil) => return Ok(Slot { count, diff: None, hash: None }),
        Some(diff) => diff,
    };
    let mut bytes = Vec::new();
    encode_value(&diff, &mut bytes).map_err(|_| DecodeError::Invalid("slot: difference"))?;
    let hash = blake3::hash(&bytes);
    let hash = *hash.as_bytes().first_chunk().expect("a hash is longer");
    let diff = match (field(&diff, "absent").is_some(), field(&diff, "present").is_some()) {
        // How many children there are is known where the difference is put in.
        (false, false) => Diff::Branch(slots(diff, usize::MAX)?),
        _ => {
            let Value::Map(mut fields) = diff else { return Err(DecodeError::Invalid("slot: difference").into()) };
            let mut part = |name| match find(&mut fields, name) {
                None | Some(Value::Nil) => Ok(Vec::new()),
                Some(value) => datoms(value),
            };
            Diff::Leaf { absent: part("absent")?, present: part("present")? }
        }
    };
    Ok(Slot { count, diff: Some(diff), hash: Some(hash) })
}

fn datoms(value: Value<'_>) -> Result<Vec<Datom<'_>>, Unreadable> {
    match value {
        Value::Tuple(datoms) | Value::List(datoms) => Ok(datoms.into_iter().map(datom).collect::<Result<_, _>>()?),
        _ => Err(DecodeError::Invalid("node: datoms are no list").into()),
    }
}

/// A datom of five parts, or of fewer, as older versions have written them.
fn datom(value: Value<'_>) -> Result<Datom<'_>, DecodeError> {
    let row = match value {
        Value::Tagged(tag, row) if tag == "datahike.datom.Datom" => *row,
        row => row,
    };
    let (Value::List(row) | Value::Tuple(row)) = row else { return Err(DecodeError::Invalid("datom: not a list")) };
    if !(3..=5).contains(&row.len()) {
        return Err(DecodeError::Invalid("datom: not of three to five parts"));
    }
    let mut row = row.into_iter();
    let mut part = || row.next();
    let (e, a, v) = (part(), part(), part().unwrap_or(Value::Nil));
    let t = part().unwrap_or(Value::Long(SYSTEM_TRANSACTION));
    let added = part().unwrap_or(Value::Boolean(true));
    let a = match a {
        Some(Value::Keyword(name)) => Attribute::Keyword(name),
        Some(Value::Long(id)) => Attribute::Id(id),
        Some(Value::String(name)) => match std::str::from_utf8(&name) {
            Ok(name) => Attribute::String(name.to_owned().into()),
            Err(_) => return Err(DecodeError::Invalid("datom: attribute")),
        },
        _ => return Err(DecodeError::Invalid("datom: attribute is neither keyword nor id")),
    };
    match (e, t, added) {
        _ if v == Value::Nil => Err(DecodeError::Invalid("datom: value is nil")),
        (Some(Value::Long(e)), Value::Long(t), Value::Boolean(added)) => match t {
            0.. => Ok(Datom { e, a, v, t, added }),
            // In memory a retraction has a negative transaction.
            _ => Ok(Datom {
                e,
                a,
                v,
                t: t.checked_neg().ok_or(DecodeError::Invalid("datom: transaction"))?,
                added: false,
            }),
        },
        _ => Err(DecodeError::Invalid("datom: entity, transaction or operation of the wrong type")),
    }
}

impl Slot<'_> {
    /// The same slot without anything borrowed.
    pub fn into_owned(self) -> Slot<'static> {
        Slot { count: self.count, diff: self.diff.map(Diff::into_owned), hash: self.hash }
    }
}

impl Diff<'_> {
    /// The same difference without anything borrowed.
    pub fn into_owned(self) -> Diff<'static> {
        let owned = |datoms: Vec<Datom<'_>>| datoms.into_iter().map(Datom::into_owned).collect();
        match self {
            Self::Leaf { absent, present } => Diff::Leaf { absent: owned(absent), present: owned(present) },
            Self::Branch(slots) => {
                Diff::Branch(slots.into_iter().map(|(place, slot)| (place, slot.into_owned())).collect())
            }
        }
    }
}
