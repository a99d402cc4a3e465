//! The walk.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::{Found, Kind, Options, Stat, Step};
use crate::error::{Error, ErrorKind, Result};
use crate::record::entry::{child_key, key_of_path};

/// Goes through directory trees in the order of keys.
pub struct Walk {
    pending: Vec<(Vec<u8>, PathBuf)>,
}

impl Walk {
    /// Of these paths, which must be absolute, with the directories that lead to them.
    pub fn new(paths: &[PathBuf], _options: &Options) -> Result<Self> {
        let mut roots = std::collections::BTreeMap::new();
        for path in paths {
            let key = key_of_path(path).ok_or_else(|| Error::new(ErrorKind::Usage, path.display(), "not absolute"))?;
            roots.insert(key, path.clone());
        }
        Ok(Self { pending: roots.into_iter().rev().collect() })
    }
}

impl Iterator for Walk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let (key, path) = self.pending.pop()?;
        let stat = match Stat::of(&path) {
            Ok(stat) => stat,
            Err(error) => return Some(Step::Problem { path, error }),
        };
        if stat.kind == Kind::Directory {
            let mut names = Vec::new();
            match std::fs::read_dir(&path) {
                Ok(listing) => names.extend(listing.flatten().map(|e| e.file_name().into_vec())),
                Err(error) => return Some(Step::Problem { path, error }),
            }
            names.sort_unstable();
            for name in names.into_iter().rev() {
                self.pending.push((child_key(&key, &name), path.join(std::ffi::OsString::from_vec(name))));
            }
        }
        Some(Step::Found(Found { key, path, stat }))
    }
}
