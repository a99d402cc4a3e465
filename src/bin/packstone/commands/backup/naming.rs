//! What snapshots are called.

use clap::Args;
use packstone::ops::BackupOptions;

/// The name of a job, of a machine, and tags.
#[derive(Args, Debug)]
pub struct Naming {
    /// Name of the backup job; snapshots of one host and label follow one another [default: the source]
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Tags for the snapshot, separated by commas (repeatable)
    #[arg(long, value_name = "TAG,...", value_delimiter = ',')]
    tag: Vec<String>,
    /// Name of the machine [default: this one's]
    #[arg(short = 'H', long, env = "PACKSTONE_HOST", hide_env_values = true)]
    host: Option<String>,
}

impl Naming {
    /// Options of backups that are named so.
    pub fn options(&self) -> BackupOptions {
        BackupOptions {
            host: self.host.clone(),
            label: self.label.clone(),
            tags: self.tag.iter().map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect(),
            ..BackupOptions::default()
        }
    }
}
