//! Whether a node is what its address says, in databases whose addresses are hashes of content.

use super::hasch;
use super::node::{Address, Node};
use crate::record::datom::{Datom, Value};

/// What comparing a node with its address gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the node.
    Same,
    /// It is another one, or changed.
    Differs,
    /// It cannot be said.
    Unknown(&'static str),
}

/// Compares a node, as stored, with its address.
pub fn node(address: &Address, node: &Node<'_>) -> Verdict {
    let hash = match node {
        Node::Leaf(leaf) => match hasch::of_datoms(&leaf.datoms) {
            Ok(hash) => hash,
            Err(_) => return Verdict::Unknown("values that hasch has no documented form for"),
        },
        Node::Branch(branch) if !branch.slots.is_empty() => {
            return Verdict::Unknown("branches with unwritten differences");
        }
        Node::Branch(branch) => hasch::of_addresses(&branch.addresses),
    };
    match node {
        _ if hash == *address => Verdict::Same,
        Node::Leaf(leaf) if leaf.datoms.iter().any(is_written_in_several_ways) => {
            Verdict::Unknown("floating-point numbers, whose text depends on the version of Java")
        }
        _ => Verdict::Differs,
    }
}

/// Before JDK 19 some numbers had more digits than needed, and a store does not keep the sign of zero.
fn is_written_in_several_ways(datom: &Datom<'_>) -> bool {
    has_floats(&datom.v)
}

fn has_floats(value: &Value<'_>) -> bool {
    match value {
        Value::Double(_) | Value::Float(_) | Value::Doubles(_) | Value::Floats(_) => true,
        Value::Tuple(elements) | Value::List(elements) | Value::Set(elements) => elements.iter().any(has_floats),
        Value::Map(entries) => entries.iter().any(|(key, value)| has_floats(key) || has_floats(value)),
        _ => false,
    }
}
