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

/// Before JDK 19 some numbers had more digits than needed, and a store does not keep the sign of zero. Whole numbers that
/// have all their digits were always written alike.
fn is_written_in_several_ways(datom: &Datom<'_>) -> bool {
    has_doubtful_floats(&datom.v)
}

/// From here on not every whole number has a double, ...
const WHOLE_DOUBLES: f64 = 9_007_199_254_740_992.0;
/// ... and from here on not every one has a float.
const WHOLE_FLOATS: f32 = 16_777_216.0;

fn has_doubtful_floats(value: &Value<'_>) -> bool {
    match value {
        Value::Double(x) => *x == 0.0 || x.fract() != 0.0 || x.abs() >= WHOLE_DOUBLES,
        Value::Float(x) => *x == 0.0 || x.fract() != 0.0 || x.abs() >= WHOLE_FLOATS,
        Value::Doubles(_) | Value::Floats(_) => true,
        Value::Tuple(elements) | Value::List(elements) | Value::Set(elements) => {
            elements.iter().any(has_doubtful_floats)
        }
        Value::Map(entries) => {
            entries.iter().any(|(key, value)| has_doubtful_floats(key) || has_doubtful_floats(value))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::datahike::node::Leaf;
    use crate::record::datom::edn;

    fn verdict(address: &Address, lines: &[&str]) -> Verdict {
        let datoms = lines.iter().map(|line| edn::parse_datom_line(line.as_bytes()).unwrap()).collect();
        node(address, &Node::Leaf(Leaf { datoms }))
    }

    #[test]
    fn a_changed_text_beside_numbers_that_are_always_written_alike_is_found() {
        for number in ["1.0", "-9007199254740991.0", "1.0E10", "[2.0 100.0]"] {
            let number = format!("[1 :a/b {number} 536870913 true]");
            let sound = [number.as_str(), "[1 :a/c \"text\" 536870913 true]"];
            let datoms = sound.map(|line| edn::parse_datom_line(line.as_bytes()).unwrap());
            let address = hasch::of_datoms(&datoms).unwrap();
            assert_eq!(verdict(&address, &sound), Verdict::Same);
            assert_eq!(verdict(&address, &[sound[0], "[1 :a/c \"tent\" 536870913 true]"]), Verdict::Differs);
        }
        for number in ["0.0", "0.1", "2.0E23", "##NaN", "[1.0 0.5]"] {
            let number = format!("[1 :a/b {number} 536870913 true]");
            assert!(matches!(verdict(&[0; 16], &[&number]), Verdict::Unknown(_)), "{number}");
        }
    }
}
