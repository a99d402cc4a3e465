//! The sorter against `sort` on vectors.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::{Sorter, SorterOptions};
use crate::error::ErrorKind;

fn sorted(rows: &[Vec<u8>], memory_bytes: usize) -> Vec<Vec<u8>> {
    let mut sorter = Sorter::new(SorterOptions { memory_bytes, directory: None });
    for row in rows {
        sorter.push(row).unwrap();
    }
    let mut sorted = sorter.finish().unwrap();
    assert_eq!(sorted.len(), rows.len() as u64);
    let mut out = Vec::new();
    while let Some(row) = sorted.next().unwrap() {
        out.push(row.to_vec());
    }
    assert!(sorted.next().unwrap().is_none());
    out
}

fn check(rows: Vec<Vec<u8>>) {
    let mut expected = rows.clone();
    expected.sort();
    for memory_bytes in [0, 4096, 1 << 26] {
        assert_eq!(sorted(&rows, memory_bytes), expected);
    }
}

/// Deterministic numbers without a pattern.
fn scatter(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0x7fb5_d329_728e_a185);
    (n ^ n >> 27).wrapping_mul(0x81da_def4_bc2d_d44d)
}

#[test]
fn many_runs_are_merged_in_several_passes() {
    // 256-byte batches of 16+24 bytes: 6 rows a run, so 20,000 rows are over 3,000 runs.
    check((0..20_000).map(|n| [scatter(n).to_be_bytes(), scatter(n + 1).to_be_bytes()].concat()).collect());
}

#[test]
fn ordered_and_nearly_ordered_rows_come_out_in_order() {
    check((0..5000u32).map(|n| n.to_be_bytes().to_vec()).collect());
    check((0..5000u32).rev().map(|n| n.to_be_bytes().to_vec()).collect());
    check((0..5000u32).map(|n| (n ^ 5).to_be_bytes().to_vec()).collect());
    check((0..5000u32).map(|n| (n / 3).to_be_bytes().to_vec()).collect());
}

#[test]
fn rows_longer_than_a_batch_and_empty_rows_are_kept() {
    check(vec![vec![7; 3 << 20], vec![], vec![7; 100_000], vec![8], vec![], vec![7; 3 << 20]]);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let options = SorterOptions { memory_bytes: 0, directory: Some("/nonexistent/runs".into()) };
    let mut sorter = Sorter::new(options);
    let error = (0..100_000u32).find_map(|n| sorter.push(&n.to_be_bytes()).err()).unwrap();
    assert_eq!((error.kind(), error.object()), (ErrorKind::NotFound, "/nonexistent/runs"));
    assert!(sorter.finish().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_rows_come_out_sorted(rows in prop::collection::vec(prop::collection::vec(0u8..3, 0..12), 0..400)) {
        check(rows);
    }

    #[test]
    fn rows_with_long_common_parts_come_out_sorted(
        rows in prop::collection::vec((0u8..3, 0u8..2, 0u8..3, 0usize..30), 0..300),
    ) {
        check(rows.into_iter().map(|(a, b, c, n)| [&[a, 9, 9, 9][..], &[b; 20], &vec![0; n], &[c]].concat()).collect());
    }
}
