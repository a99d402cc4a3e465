//! Random directory trees, changed at random: after each backup the snapshot holds what stands on the disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use packstone::ops::{self, FilesSource, Source};
use packstone::progress::Silent;
use packstone::record::entry::{Body, Entry};
use packstone::repository::Repository;
use proptest::prelude::*;

use crate::files::{content, entries};
use crate::fixtures::{blocking, check_all, create, noise, options};

/// A change of a tree; one that makes no sense as things stand changes nothing.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new file in place of what was there.
    Write { path: PathBuf, len: usize, seed: u64 },
    /// Some bytes in a file, perhaps past its end.
    Edit { path: PathBuf, offset: u64, len: usize },
    /// Another length; what is added is a hole.
    SetLen { path: PathBuf, len: u64 },
    /// A directory.
    Directory { path: PathBuf },
    /// A symbolic link to anything.
    Symlink { path: PathBuf, target: PathBuf },
    /// Another name of a file.
    Link { path: PathBuf, to: PathBuf },
    /// Another place for something and all below it.
    Rename { path: PathBuf, to: PathBuf },
    /// A path and all below it.
    Remove { path: PathBuf },
    /// Permissions.
    Mode { path: PathBuf, mode: u32 },
    /// A time of last change.
    Time { path: PathBuf, seconds: u64 },
}

/// What stands at a path.
#[derive(Debug, PartialEq, Eq)]
pub struct Thing {
    /// Kind, and content or target.
    pub body: Form,
    /// Permissions.
    pub mode: u32,
    /// Time of last change, with nanoseconds.
    pub mtime: (i64, u32),
    /// For a file of several names: its inode and how many.
    pub link: Option<(u64, u64)>,
}

/// What a path is.
#[derive(PartialEq, Eq)]
pub enum Form {
    File(Vec<u8>),
    Directory,
    Symlink(Vec<u8>),
    Other,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(bytes) => write!(f, "file of {} bytes, {}", bytes.len(), blake3::hash(bytes)),
            Self::Directory => f.write_str("directory"),
            Self::Symlink(target) => write!(f, "link to {}", String::from_utf8_lossy(target)),
            Self::Other => f.write_str("something else"),
        }
    }
}

fn path() -> impl Strategy<Value = PathBuf> {
    let names: [&[u8]; 7] = [b"a", b"b", b"a.b", b"a b", b"\xff\xfe", b"new\nline", "ü".as_bytes()];
    let name = prop::sample::select(names.to_vec());
    prop::collection::vec(name, 1..4)
        .prop_map(|names| names.into_iter().map(|name| OsString::from_vec(name.to_vec())).collect())
}

/// Any change.
pub fn change() -> impl Strategy<Value = Change> {
    let len = prop_oneof![0..200usize, 1000..20_000usize, 200_000..600_000usize, 2_000_000..3_000_000usize];
    prop_oneof![
        4 => (path(), len.clone(), any::<u64>()).prop_map(|(path, len, seed)| Change::Write { path, len, seed }),
        2 => (path(), 0..3_000_000u64, 1..5000usize).prop_map(|(path, offset, len)| Change::Edit { path, offset, len }),
        1 => (path(), 0..4_000_000u64).prop_map(|(path, len)| Change::SetLen { path, len }),
        2 => path().prop_map(|path| Change::Directory { path }),
        1 => (path(), path()).prop_map(|(path, target)| Change::Symlink { path, target }),
        1 => (path(), path()).prop_map(|(path, to)| Change::Link { path, to }),
        1 => (path(), path()).prop_map(|(path, to)| Change::Rename { path, to }),
        1 => path().prop_map(|path| Change::Remove { path }),
        1 => (path(), 0..0o1000u32).prop_map(|(path, mode)| Change::Mode { path, mode: mode | 0o700 }),
        1 => (path(), 0..2_000_000_000u64).prop_map(|(path, seconds)| Change::Time { path, seconds }),
    ]
}

/// Does a change, as far as it makes sense.
pub fn apply(root: &Path, change: &Change) {
    // Whether it made sense shows in the tree.
    let _: std::io::Result<()> = attempt(root, change);
}

fn attempt(root: &Path, change: &Change) -> std::io::Result<()> {
    match change {
        Change::Write { path, len, seed } => {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap())?;
            fs::write(path, noise(*seed, *len))
        }
        Change::Edit { path, offset, len } => {
            let path = regular(root, path)?;
            fs::File::options().write(true).open(path)?.write_all_at(noise(*offset, *len).as_bytes(), *offset)
        }
        Change::SetLen { path, len } => fs::File::options().write(true).open(regular(root, path)?)?.set_len(*len),
        Change::Directory { path } => fs::create_dir_all(root.join(path)),
        Change::Symlink { path, target } => std::os::unix::fs::symlink(target, root.join(path)),
        Change::Link { path, to } => fs::hard_link(regular(root, path)?, root.join(to)),
        Change::Rename { path, to } => fs::rename(root.join(path), root.join(to)),
        Change::Remove { path } => {
            let path = root.join(path);
            if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
        }
        Change::Mode { path, mode } => fs::set_permissions(regular(root, path)?, fs::Permissions::from_mode(*mode)),
        Change::Time { path, seconds } => {
            let time = SystemTime::UNIX_EPOCH + Duration::new(*seconds, 123_456_789);
            fs::File::options().write(true).open(regular(root, path)?)?.set_modified(time)
        }
    }
}

/// The path of a regular file, not of a link to one.
fn regular(root: &Path, path: &Path) -> std::io::Result<PathBuf> {
    let path = root.join(path);
    if path.symlink_metadata()?.is_file() { Ok(path) } else { Err(std::io::ErrorKind::InvalidInput.into()) }
}

/// Everything below a directory, by path from there.
pub fn on_disk(root: &Path) -> BTreeMap<PathBuf, Thing> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let said = path.symlink_metadata().unwrap();
            let kind = said.file_type();
            let body = if kind.is_dir() {
                folders.push(path.clone());
                Form::Directory
            } else if kind.is_symlink() {
                Form::Symlink(fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
            } else if kind.is_fifo() || kind.is_socket() {
                Form::Other
            } else {
                Form::File(fs::read(&path).unwrap())
            };
            let several = said.nlink() > 1 && !kind.is_dir();
            let thing = Thing {
                body,
                mode: said.mode() & 0o7777,
                mtime: (said.mtime(), u32::try_from(said.mtime_nsec()).unwrap()),
                link: several.then(|| (said.ino(), said.nlink())),
            };
            all.insert(path.strip_prefix(root).unwrap().to_owned(), thing);
        }
    }
    all
}

/// What an entry says stands at its path.
fn said(repository: &Repository, entry: &Entry) -> Thing {
    let body = match &entry.body {
        Body::File { .. } => Form::File(content(repository, entry)),
        Body::Directory => Form::Directory,
        Body::Symlink { target } => Form::Symlink(target.clone()),
        _ => Form::Other,
    };
    Thing {
        body,
        mode: entry.mode,
        mtime: (entry.mtime.seconds, entry.mtime.nanos),
        link: entry.link.map(|link| (entry.inode, link.count)),
    }
}

async fn check(rounds: Vec<Vec<Change>>) {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for changes in rounds {
        changes.iter().for_each(|change| apply(&tree, change));
        let source = Source::Files(FilesSource::new(vec![tree.clone()]));
        let summary = ops::backup(&repository, source, options(), Arc::new(Silent)).await.unwrap();
        assert_eq!(summary.snapshot.skipped_count, 0);
        let entries = entries(&repository, &summary).await;
        let stored = blocking({
            let (repository, tree) = (repository.clone(), tree.clone());
            move || {
                let below = entries.iter().filter(|(path, _)| **path != tree && path.starts_with(&tree));
                below
                    .map(|(path, entry)| (path.strip_prefix(&tree).unwrap().to_owned(), said(&repository, entry)))
                    .collect::<BTreeMap<_, _>>()
            }
        });
        assert_eq!(stored.await, on_disk(&tree), "{changes:?}");
    }
    assert!(check_all(&repository).await.is_sound());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_holds_what_stands_on_the_disk(
        rounds in prop::collection::vec(prop::collection::vec(change(), 1..15), 1..5),
    ) {
        tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(check(rounds));
    }
}
