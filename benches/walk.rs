//! Paths a second through the walk: of a directory, by default `/usr`.

#![expect(clippy::print_stdout, reason = "figures are what a bench is for")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use packstone::Result;
use packstone::source::files::{Options, Step, Walk};
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<()> {
    // `cargo test` runs benches too: then a taste is enough.
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let paths: Vec<PathBuf> =
        std::env::args_os().skip(1).filter(|argument| argument != "--bench").map(PathBuf::from).collect();
    let default = if measuring { PathBuf::from("/usr") } else { PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src") };
    for path in if paths.is_empty() { vec![default] } else { paths } {
        for _ in 0..if measuring { 5 } else { 1 } {
            let (start, cpu) = (Instant::now(), cpu_time());
            let (mut found, mut problems) = (0u32, 0u32);
            for step in Walk::new(std::slice::from_ref(&path), &Options::default())? {
                match step {
                    Step::Found(_) => found += 1,
                    Step::Problem { .. } => problems += 1,
                }
            }
            let (wall, cpu) = (start.elapsed(), cpu_time() - cpu);
            println!(
                "{:40} {found:>8} paths, {problems} problems: wall {:.3} s, CPU {:.3} s, {:.2} us each",
                path.display(),
                wall.as_secs_f64(),
                cpu.as_secs_f64(),
                cpu.as_secs_f64() * 1e6 / f64::from(found.max(1)),
            );
        }
    }
    Ok(())
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
