//! What a store honours and what lies about in a repository.

use std::collections::BTreeMap;

use crate::backend::{Fitness, Probe, ProbeOptions, probe};
use crate::error::Result;
use crate::format::ObjectPath;
use crate::repository::{ExclusiveMarker, OpenSession, Protocol, Repository, machine};

/// How to look.
#[derive(Clone, Copy, Debug, Default)]
pub struct DoctorOptions {
    /// How thoroughly the store is probed.
    pub probe: ProbeOptions,
    /// Run the weaker protocol from now on if the store does not honour what the full one needs.
    pub allow_weak: bool,
}

/// What was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct DoctorReport {
    /// What the store honours now.
    pub probe: Probe,
    /// What the repository goes by: as stored, or changed by this run.
    pub protocol: Protocol,
    /// Whether this run changed it.
    pub changed: bool,
    /// Objects and their bytes by folder.
    pub objects: BTreeMap<String, (u64, u64)>,
    /// What is no object of a repository.
    pub unknown: Vec<String>,
    /// Sessions that are running as far as can be told.
    pub open_sessions: Vec<OpenSession>,
    /// Sessions whose process has ended, or that showed no life for two days: the next prune closes them.
    pub stale_sessions: Vec<OpenSession>,
    /// Who works alone, or died doing so.
    pub exclusive: Vec<ExclusiveMarker>,
    /// Remains of probes that were cut short, removed.
    pub probes_removed: u64,
    /// Uploads that were begun more than a day ago and never ended, removed; or why they cannot be seen.
    pub uploads_removed: Result<u64>,
}

impl DoctorReport {
    /// Whether the repository may go on as it does.
    pub fn is_sound(&self) -> bool {
        match self.protocol {
            Protocol::Full => self.probe.fitness() == Fitness::Full,
            Protocol::Weak => self.probe.fitness() != Fitness::Unfit,
        }
    }
}

/// A probe takes seconds; one that is older was cut short.
const PROBE_MS: i64 = 3_600_000;
/// Sessions that showed no life for this long are as good as gone.
const IDLE_MS: i64 = 48 * 3_600_000;

/// Probes the store, and lists what is in the repository. Writes nothing but the probe's objects, which it
/// removes, with what other probes and uploads have left behind.
pub async fn doctor(repository: &Repository, options: DoctorOptions) -> Result<DoctorReport> {
    let probed = probe(repository.store().backend(), options.probe).await?;
    let repository = repository.clone();
    super::blocking(move || examine(&repository, probed, options)).await
}

fn examine(repository: &Repository, probe: Probe, options: DoctorOptions) -> Result<DoctorReport> {
    let stored = if repository.can_fence() { Protocol::Full } else { Protocol::Weak };
    let changed = options.allow_weak && stored == Protocol::Full && probe.fitness() == Fitness::Weak;
    if changed {
        repository.weaken()?;
    }
    let mut report = DoctorReport {
        probe,
        protocol: if changed { Protocol::Weak } else { stored },
        changed,
        objects: BTreeMap::new(),
        unknown: repository.store().list_unknown()?,
        open_sessions: Vec::new(),
        stale_sessions: Vec::new(),
        exclusive: repository.exclusive_markers()?,
        probes_removed: 0,
        uploads_removed: repository.store().clean_uploads(),
    };
    let now_ms = machine::now_ms();
    for (path, stat) in repository.store().list("")? {
        let folder = path.as_str().split('/').next().unwrap_or_default();
        if !(ObjectPath::FOLDERS.contains(&folder) || path == ObjectPath::config()) {
            report.unknown.push(path.to_string());
            continue;
        }
        if folder == "probe" && stat.modified_ms < now_ms.saturating_sub(PROBE_MS) {
            repository.store().delete(&path)?;
            report.probes_removed += 1;
            continue;
        }
        let (count, bytes) = report.objects.entry(folder.to_owned()).or_default();
        *count += 1;
        *bytes += stat.size_bytes;
    }
    for session in repository.open_sessions()? {
        let is_over = session.is_dead()
            || session.last_alive_ms < now_ms.saturating_sub(IDLE_MS)
            || repository.store().stat(&ObjectPath::snapshot(session.id))?.is_some();
        let sessions = if is_over { &mut report.stale_sessions } else { &mut report.open_sessions };
        sessions.push(session);
    }
    Ok(report)
}
