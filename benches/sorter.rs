//! Rows a second through the sorter: in memory and on disk, in order and shuffled.

#![expect(clippy::print_stdout, reason = "figures are what a bench is for")]

use std::time::Instant;

use packstone::Result;
use packstone::sorter::{Sorter, SorterOptions};

const ROW_BYTES: usize = 100;

fn main() -> Result<()> {
    // `cargo test` runs benches too: then a taste is enough.
    let scale = if std::env::args().any(|argument| argument == "--bench") { 1 } else { 1000 };
    measure("in memory, in order", 1_000_000 / scale, 512 << 20, |n| n)?;
    measure("in memory, shuffled", 1_000_000 / scale, 512 << 20, |n| scatter(n) % 1_000_000)?;
    measure("spilling, in order", 10_000_000 / scale, 256 << 20, |n| n)?;
    measure("spilling, nearly in order", 10_000_000 / scale, 256 << 20, |n| n ^ (scatter(n) & 0xff))?;
    measure("spilling, shuffled", 10_000_000 / scale, 256 << 20, |n| scatter(n) % 10_000_000)?;
    Ok(())
}

fn measure(name: &str, rows: u64, memory_bytes: usize, order: impl Fn(u64) -> u64) -> Result<()> {
    let start = Instant::now();
    let mut sorter = Sorter::new(SorterOptions { memory_bytes, directory: None });
    let mut row = [0; ROW_BYTES];
    for n in 0..rows {
        fill(&mut row, order(n));
        sorter.push(&row)?;
    }
    let pushed = start.elapsed();
    let mut sorted = sorter.finish()?;
    let mut count = 0u64;
    let mut last = [0; ROW_BYTES];
    while let Some(row) = sorted.next()? {
        assert!(last.as_slice() <= row, "rows in order");
        last.copy_from_slice(row);
        count += 1;
    }
    assert_eq!(count, rows);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{name:28} {rows:>9} rows of {ROW_BYTES} B: {:.2} M rows/s (pushing {:.2} s, all {seconds:.2} s)",
        rows as f64 / seconds / 1e6,
        pushed.as_secs_f64()
    );
    Ok(())
}

/// Like a log key: transaction (10 datoms each), entity, attribute, 70 bytes of value.
fn fill(row: &mut [u8; ROW_BYTES], n: u64) {
    row[..8].copy_from_slice(&(0x8000_0000_2000_0000 + n / 10).to_be_bytes());
    row[8..16].copy_from_slice(&(0x8000_0000_0000_0000 + n / 4).to_be_bytes());
    row[16..24].copy_from_slice(&scatter(n % 16).to_be_bytes());
    for i in 0..9 {
        row[24 + i * 8..32 + i * 8].copy_from_slice(&scatter(n + i as u64).to_be_bytes());
    }
}

fn scatter(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0x7fb5_d329_728e_a185);
    (n ^ n >> 27).wrapping_mul(0x81da_def4_bc2d_d44d)
}
