//! Proofs, to a verifier for whom every node has the one id there is, so that ids stop nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::id::BlobId;
use packstone::tree::{Proof, ProofPath};

const ID: BlobId = BlobId::new([7; 32]);

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let mut proof = Proof { paths: vec![ProofPath { nodes: Vec::new() }] };
    // Each node: where it leads and whether a path begins (a byte), its length (two bytes), its bytes.
    while let Some((&[lead, low, high], behind)) = rest.split_first_chunk() {
        let (node, behind) = behind.split_at(behind.len().min(usize::from(u16::from_le_bytes([low, high]))));
        if lead >> 7 == 1 && proof.paths.len() < 4 {
            proof.paths.push(ProofPath { nodes: Vec::new() });
        }
        let path = proof.paths.last_mut().expect("there is always a path");
        path.nodes.push((node.to_vec(), u32::from(lead & 0x7f)));
        rest = behind;
    }
    let _ = proof.verify(Some(ID), rest, &|_| ID);
    let _ = proof.verify(Some(ID), b"key", &|_| ID);
    let _ = proof.verify(None, rest, &|_| ID);
});
