//! Nodes in both forms.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::record;
use packstone::tree::{Child, Node};

fuzz_target!(|data: &[u8]| {
    let _ = Child::decode(data).map(|child| assert_eq!(child.encode(), data));
    if let Ok(node) = Node::from_canonical(data) {
        assert_eq!(node.canonical(), data);
        // Leaves come this way in proofs only; whether their rows are of their kind is not looked at there.
        if node.level > 0 {
            check(&node);
        }
    }
    if let Ok(node) = Node::decode(data) {
        check(&node);
    }
});

fn check(node: &Node) {
    assert_eq!(Node::decode(&node.encode()).as_ref(), Ok(node));
    if node.level == 0
        && let Ok(kind) = record::kind(node.kind)
    {
        let summary = kind.summarize(&node.rows);
        assert_eq!(kind.merge(&[&summary]).as_ref(), Ok(&summary));
        for (key, value) in node.rows.iter() {
            let _ = kind.references(key, value, &mut Vec::new());
        }
    }
}
