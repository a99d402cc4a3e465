//! The directories above the snapshots: which there are, and what they are called.

use std::collections::{BTreeMap, HashSet};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use packstone::format::Snapshot;

use crate::exit::{Failure, Result};

/// A directory above the snapshots, by its place in [`Names::directories`].
pub type DirectoryIndex = usize;

/// The directories above the snapshots; the first is the mount point.
pub struct Names {
    /// All of them.
    pub directories: Vec<Directory>,
    /// Where snapshots are shown: the path below the mount point, and the number of the snapshot.
    pub leaves: Vec<(String, usize)>,
}

/// A directory above the snapshots.
pub struct Directory {
    /// Its path below the mount point; empty for that itself.
    pub path: String,
    /// What is in it.
    pub children: BTreeMap<String, Child>,
}

/// What is in a directory above the snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Child {
    /// Another one.
    Directory(DirectoryIndex),
    /// The top of a snapshot's tree, by its place in [`Names::leaves`].
    Leaf(usize),
    /// A link to a sibling.
    Link(String),
}

impl Names {
    /// Of snapshots, oldest first.
    pub fn new(snapshots: &[Snapshot], template: Option<&str>) -> Result<Self> {
        let top = Directory { path: String::new(), children: BTreeMap::new() };
        let mut names = Self { directories: vec![top], leaves: Vec::new() };
        let ids = names.directory(0, "ids");
        let times = names.directory(0, "snapshots");
        let hosts = names.directory(0, "hosts");
        let tags = names.directory(0, "tags");
        for (number, snapshot) in snapshots.iter().enumerate() {
            let time = time(snapshot.time_ms, template)?;
            names.leaf(ids, &snapshot.id.short(), number);
            names.leaf(times, &time, number);
            let host = names.directory(hosts, &component(&snapshot.host));
            names.leaf(host, &time, number);
            for tag in snapshot.tags.iter().map(|tag| component(tag)).collect::<HashSet<_>>() {
                let tag = names.directory(tags, &tag);
                names.leaf(tag, &time, number);
            }
        }
        Ok(names)
    }

    fn directory(&mut self, parent: DirectoryIndex, name: &str) -> DirectoryIndex {
        if let Some(Child::Directory(index)) = self.directories[parent].children.get(name) {
            return *index;
        }
        let path = self.path(parent, name);
        let index = self.directories.len();
        self.directories.push(Directory { path, children: BTreeMap::new() });
        self.directories[parent].children.insert(name.to_owned(), Child::Directory(index));
        index
    }

    /// Snapshots come oldest first, so that the last one is the latest. A name that is taken gets a number.
    fn leaf(&mut self, parent: DirectoryIndex, name: &str, snapshot: usize) {
        let taken = |name: &str| self.directories[parent].children.contains_key(name);
        let mut unique = name.to_owned();
        for n in 1.. {
            if !taken(&unique) {
                break;
            }
            unique = format!("{name}-{n}");
        }
        let leaf = Child::Leaf(self.leaves.len());
        self.leaves.push((self.path(parent, &unique), snapshot));
        let children = &mut self.directories[parent].children;
        children.insert(unique.clone(), leaf);
        children.insert("latest".to_owned(), Child::Link(unique));
    }

    fn path(&self, parent: DirectoryIndex, name: &str) -> String {
        match self.directories[parent].path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}/{name}"),
        }
    }
}

/// A text as the name of a directory.
fn component(text: &str) -> String {
    match text {
        "" | "." | ".." | "latest" => format!("{text}_"),
        text => text.replace(['/', '\0'], "_"),
    }
}

/// A time as the name of a snapshot.
fn time(ms: i64, template: Option<&str>) -> Result<String> {
    let Ok(moment) = Timestamp::from_millisecond(ms) else { return Ok(format!("{ms}ms")) };
    let zoned = Zoned::new(moment, TimeZone::system());
    let Some(template) = template else {
        let zone = if zoned.offset().seconds() == 0 { "Z" } else { "%:z" };
        return Ok(zoned.strftime(&format!("%Y-%m-%dT%H:%M:%S{zone}")).to_string());
    };
    let refuse = |why: String| Failure::usage("--time-template", why);
    let name = jiff::fmt::strtime::format(template, &zoned).map_err(|e| refuse(e.to_string()))?;
    match name.as_str() {
        "" | "." | ".." | "latest" => Err(refuse(format!("`{name}` cannot be the name of a snapshot"))),
        name if name.contains(['/', '\0']) => Err(refuse(format!("`{name}` has a slash in it"))),
        name if name.len() > 200 => Err(refuse("gives too long a name".to_owned())),
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn times_are_names() {
        assert_eq!(time(1_769_860_800_000, Some("%Y/%m")).unwrap_err().code(), crate::exit::Code::Usage);
        assert_eq!(time(1_769_860_800_000, Some("")).unwrap_err().code(), crate::exit::Code::Usage);
        assert_eq!(time(1_769_860_800_000, Some("day-%j")).unwrap(), "day-031");
        assert!(time(1_769_860_800_000, None).unwrap().starts_with("2026-01-3"));
    }

    #[test]
    fn tags_and_hosts_are_single_components() {
        assert_eq!(component("a/b"), "a_b");
        assert_eq!(component(".."), ".._");
        assert_eq!(component("latest"), "latest_");
    }
}
