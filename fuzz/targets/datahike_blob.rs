//! Blobs of Datahike's stores, and the heads, schemas and nodes in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::datahike::{Blob, Diff, Head, Node, SchemaMeta, Secret, hasch};

fuzz_target!(|data: &[u8]| {
    let Ok(blob) = Blob::decode(&data.to_vec().into(), Some(&Secret::text("s3cret"))) else { return };
    let _ = hasch::uuid(&blob.key);
    if let Ok(value) = blob.value() {
        let _ = hasch::uuid(&value);
    }
    let _ = Head::decode("db", &blob);
    let _ = SchemaMeta::decode(&blob);
    match Node::decode(&blob.bytes) {
        Ok(Node::Leaf(mut leaf)) => {
            let _ = hasch::of_datoms(&leaf.datoms);
            let diff = Diff::Leaf { absent: leaf.datoms.clone(), present: leaf.datoms.clone() };
            if leaf.apply(diff.into_owned()).is_ok() {
                assert!(leaf.datoms.len() <= data.len());
            }
        }
        Ok(Node::Branch(branch)) => assert_eq!(branch.keys.len(), branch.addresses.len()),
        Err(_) => {}
    }
});
