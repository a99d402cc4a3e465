//! Summaries of subtrees, and digests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::record::datom::{Datoms, Digest, Summary};
use packstone::record::{Items, RecordKind};

fuzz_target!(|data: &[u8]| {
    let summaries: Vec<&[u8]> = data.chunks(Summary::LEN).collect();
    if let Ok(merged) = Datoms.merge(&summaries) {
        Summary::decode(&merged).expect("what was merged is a summary");
    }
    if let Ok(summary) = Summary::decode(data) {
        assert_eq!(summary.encode(), data);
    }
    if let Ok(digest) = Digest::decode(data) {
        assert_eq!(&digest.encode()[..], data);
    }
    let _ = Items.merge(&summaries);
});
