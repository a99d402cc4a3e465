//! Recognising the repositories of other programs by their layout, so that nobody is told "no repository" about a
//! perfectly good one.

use std::fs;
use std::path::Path;

/// The first bytes of our own `config`, whatever its version.
pub(in crate::backend) const CONFIG_MAGIC: &[u8; 4] = b"PSTN";

/// The program whose repository is at `path`, if it is one that we know and not ours.
pub fn detect_foreign(path: &Path) -> Option<&'static str> {
    let config = read_head(&path.join("config"));
    if config.as_deref().is_some_and(|head| head.starts_with(CONFIG_MAGIC)) {
        return None;
    }
    let folder = |name: &str| path.join(name).is_dir();
    if let Some(config) = &config {
        if contains(config, b"[repository]") && folder("data") {
            return Some("borg");
        }
        if folder("data") && folder("keys") && folder("snapshots") {
            return Some("restic or rustic");
        }
        if folder("chunks") && folder("snapshots") {
            return Some("duplicacy");
        }
    }
    if folder("items") && (path.join("repo.lock").exists() || path.join("meta/schema_version").exists()) {
        return Some("bupstash");
    }
    let mut names = fs::read_dir(path).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.any(|name| name.starts_with("kopia.repository")).then_some("kopia")
}

/// At most the first 4 KiB of a file; `None` when there is no such file.
pub(in crate::backend) fn read_head(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut head = Vec::new();
    fs::File::open(path).ok()?.take(4096).read_to_end(&mut head).ok()?;
    Some(head)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
