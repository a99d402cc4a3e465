//! This machine and this moment: who makes a session, and whether its maker still lives.

use std::time::{SystemTime, UNIX_EPOCH};

/// What identifies a process on a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Host name.
    pub host: String,
    /// Changes with every boot; empty where the system does not tell.
    pub boot: String,
    /// Process id.
    pub process: u32,
}

impl Machine {
    /// This process.
    pub fn this() -> Self {
        Self { host: host_name(), boot: boot_id(), process: std::process::id() }
    }

    /// Whether a process of this machine is certainly gone: the machine was booted since, or no such process runs.
    pub fn is_dead(host: &str, boot: &str, process: u32) -> bool {
        let this = Self::this();
        if host != this.host || boot.is_empty() || this.boot.is_empty() {
            return false;
        }
        boot != this.boot || !runs(process)
    }
}

/// Milliseconds since 1970-01-01T00:00Z by this machine's clock.
pub fn now_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

/// The user that this process runs as, by name where the environment tells.
pub fn user_name() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn runs(process: u32) -> bool {
    let Some(pid) = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    // Anything but "no such process" means that it exists.
    rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}

/// Name and version of this program, as snapshots and sessions record it.
pub fn program() -> String {
    concat!("packstone ", env!("CARGO_PKG_VERSION")).to_owned()
}
