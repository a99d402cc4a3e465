//! Snapshots and attributes as users name them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::id::SnapshotId;
use packstone::ops::{AttributeFilter, Filter, Summary, select};

fuzz_target!(|text: &str| {
    let snapshots: Vec<_> = (0..4u8)
        .map(|n| Summary {
            id: SnapshotId::new([n & 1; 16]),
            time_ms: i64::from(n),
            host: String::new(),
            label: String::new(),
            tags: Vec::new(),
            complete: n != 2,
        })
        .collect();
    let _ = select(text, &snapshots, &Filter::default());
    let _ = select(text, &[], &Filter::default());
    let _ = AttributeFilter::parse(&text.split(',').collect::<Vec<_>>());
});
