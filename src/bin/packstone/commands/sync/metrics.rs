//! Counts of a run in the text format of Prometheus, in a file that is replaced whenever they change.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use packstone::Error;
use packstone::ops::SyncEvent;

use crate::exit::Result;
use crate::output::Output;

/// Upper bounds of the lag's buckets, in seconds.
const BUCKETS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0, 60.0];
/// The file is replaced at most this often while things happen.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether it is to be replaced.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Counts by repository.
pub struct Metrics {
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, Counts>,
    written: Option<Instant>,
    /// Whether anything has happened since.
    is_stale: bool,
}

#[derive(Clone, Default)]
struct Counts {
    transactions: u64,
    put: u64,
    removed: u64,
    segments: u64,
    bytes: u64,
    folds: u64,
    retries: u64,
    full_reads: u64,
    last_t: i64,
    last_durable: f64,
    lags: [u64; BUCKETS.len()],
    lag_count: u64,
    lag_sum: f64,
    up: bool,
}

impl Metrics {
    /// Nothing has happened in these repositories.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(file: Option<PathBuf>, repositories: &[String]) -> Result<Self> {
        let counts = |repository: &String| (repository.clone(), Counts::default());
        let state = State { repositories: repositories.iter().map(counts).collect(), ..State::default() };
        let metrics = Self { file, state: Mutex::new(state) };
        metrics.replace(&text(&metrics.lock().repositories)).map_err(|error| {
            let file = metrics.file.as_deref().unwrap_or(Path::new("metrics"));
            Error::io(file.display(), error)
        })?;
        Ok(metrics)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what happened.
    pub fn count(&self, repository: &str, event: &SyncEvent<'_>) {
        let mut state = self.lock();
        let counts = state.repositories.entry(repository.to_owned()).or_default();
        match event {
            SyncEvent::Following { .. } => counts.up = true,
            SyncEvent::Durable { t, transactions, put, removed, segments, bytes, lag } => {
                counts.up = true;
                counts.transactions += transactions;
                counts.put += put;
                counts.removed += removed;
                counts.segments += segments;
                counts.bytes += bytes;
                counts.last_t = *t;
                counts.last_durable = seconds_now();
                let lag = lag.as_secs_f64();
                counts.lag_count += 1;
                counts.lag_sum += lag;
                for (bucket, bound) in counts.lags.iter_mut().zip(BUCKETS) {
                    *bucket += u64::from(lag <= bound);
                }
            }
            SyncEvent::Folded { .. } => counts.folds += 1,
            SyncEvent::Lost { .. } => {
                counts.up = false;
                counts.full_reads += 1;
            }
            SyncEvent::Retrying { .. } => {
                counts.up = false;
                counts.retries += 1;
            }
            _ => {}
        }
        state.is_stale = true;
    }

    /// Replaces the file when something has happened, until it is `over`.
    pub fn keep_written(&self, over: impl Fn() -> bool) {
        while self.file.is_some() && !over() {
            thread::sleep(LOOK_EVERY);
            let mut state = self.lock();
            if state.is_stale && state.written.is_none_or(|at| at.elapsed() >= WRITE_EVERY) {
                (state.is_stale, state.written) = (false, Some(Instant::now()));
                // What cannot be written now is written next time, or reported in the end.
                let _ = self.replace(&text(&state.repositories));
            }
        }
    }

    /// A repository is followed no more.
    pub fn ended(&self, repository: &str, well: bool) {
        let mut state = self.lock();
        let counts = state.repositories.entry(repository.to_owned()).or_default();
        counts.up = false;
        counts.retries += u64::from(!well);
        state.is_stale = true;
    }

    /// Writes everything, and says so when that fails.
    pub fn write(&self, output: &Output) {
        let state = self.lock();
        let Some(file) = &self.file else { return };
        if let Err(error) = self.replace(&text(&state.repositories)) {
            output.problem(&file.display().to_string(), &error.to_string());
        }
    }

    fn replace(&self, text: &str) -> std::io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut name = file.file_name().unwrap_or_default().to_owned();
        // The collector reads only names that end in `.prom`.
        name.push(format!(".{}", std::process::id()));
        let temporary = file.with_file_name(name);
        std::fs::write(&temporary, text)?;
        std::fs::rename(temporary, file)
    }
}

fn seconds_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// One kind of number for every repository.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&Counts) -> f64,
}

const FAMILIES: [Family; 11] = [
    Family {
        name: "up",
        kind: "gauge",
        help: "Whether the database is followed",
        value: |c| f64::from(u8::from(c.up)),
    },
    Family {
        name: "transactions_total",
        kind: "counter",
        help: "Transactions made durable",
        value: |c| c.transactions as f64,
    },
    Family { name: "datoms_put_total", kind: "counter", help: "Datoms added", value: |c| c.put as f64 },
    Family { name: "datoms_removed_total", kind: "counter", help: "Datoms removed", value: |c| c.removed as f64 },
    Family { name: "segments_total", kind: "counter", help: "Segments written", value: |c| c.segments as f64 },
    Family { name: "segment_bytes_total", kind: "counter", help: "Bytes of segments", value: |c| c.bytes as f64 },
    Family { name: "folds_total", kind: "counter", help: "Snapshots made of segments", value: |c| c.folds as f64 },
    Family { name: "retries_total", kind: "counter", help: "Failed attempts", value: |c| c.retries as f64 },
    Family {
        name: "full_reads_total",
        kind: "counter",
        help: "Times the database was read anew",
        value: |c| c.full_reads as f64,
    },
    Family { name: "last_t", kind: "gauge", help: "Greatest durable transaction id", value: |c| c.last_t as f64 },
    Family {
        name: "last_durable_timestamp_seconds",
        kind: "gauge",
        help: "When a transaction was last made durable",
        value: |c| c.last_durable,
    },
];

fn text(repositories: &BTreeMap<String, Counts>) -> String {
    let mut text = String::new();
    for Family { name, kind, help, value } in &FAMILIES {
        let _ = writeln!(text, "# HELP packstone_sync_{name} {help}\n# TYPE packstone_sync_{name} {kind}");
        for (repository, counts) in repositories {
            let _ = writeln!(text, "packstone_sync_{name}{{repository=\"{}\"}} {}", escaped(repository), value(counts));
        }
    }
    let name = "packstone_sync_lag_seconds";
    let _ = writeln!(text, "# HELP {name} From noticing a transaction to its durability\n# TYPE {name} histogram");
    for (repository, counts) in repositories {
        let repository = escaped(repository);
        for (count, bound) in counts.lags.iter().zip(BUCKETS) {
            let _ = writeln!(text, "{name}_bucket{{repository=\"{repository}\",le=\"{bound}\"}} {count}");
        }
        let (count, sum) = (counts.lag_count, counts.lag_sum);
        let _ = writeln!(text, "{name}_bucket{{repository=\"{repository}\",le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum{{repository=\"{repository}\"}} {sum}");
        let _ = writeln!(text, "{name}_count{{repository=\"{repository}\"}} {count}");
    }
    text
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
