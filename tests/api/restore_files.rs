//! Restores of directory trees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use packstone::backend::{Backend, Damage, LocalBackend, SimulatedBackend};
use packstone::compression::Compressor;
use packstone::format::{
    BlobEntry, BlobKind, Codec, FinishedPack, IndexContent, IndexedPack, ObjectPath, PackBuilder, RetentionClass,
    seal_frame,
};
use packstone::ops::{
    self, BackupOptions, BackupSummary, Change, ChangeSink, FilesSource, Overwrite, PathPattern, RestoreFilesOptions,
    RestoreFilesSummary, Source,
};
use packstone::progress::{Event, Observer, Silent};
use packstone::record::Entries;
use packstone::record::entry::{Body, Content, Entry, Owner, Time, child_key};
use packstone::repository::{Commit, Repository, WriterOptions, random};
use packstone::tree::Builder;
use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use crate::fixtures::{blocking, create_on, noise, open_on, options};

/// A tree, a repository, and where to restore to.
struct Place {
    folder: tempfile::TempDir,
    backend: Arc<dyn Backend>,
    repository: Repository,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = Arc::new(LocalBackend::create(folder.path().join("repository")).await.unwrap());
        Self::on(folder, backend).await
    }

    async fn on(folder: tempfile::TempDir, backend: Arc<dyn Backend>) -> Self {
        let repository = create_on(Arc::clone(&backend)).await;
        fs::create_dir(folder.path().join("tree")).unwrap();
        Self { folder, backend, repository }
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.tree().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    async fn backup(&self) -> BackupSummary {
        self.backup_with(options()).await
    }

    async fn backup_with(&self, options: BackupOptions) -> BackupSummary {
        let source = Source::Files(FilesSource::new(vec![self.tree()]));
        ops::backup(&self.repository, source, options, Arc::new(Silent)).await.unwrap()
    }

    /// The tree's content into `out`.
    fn part(&self) -> RestoreFilesOptions {
        RestoreFilesOptions { path: Some(self.tree()), memory_bytes: 1 << 20, ..RestoreFilesOptions::default() }
    }

    async fn restore(&self, backup: &BackupSummary, options: RestoreFilesOptions) -> RestoreFilesSummary {
        let restored = self.try_restore(backup, options, None).await.unwrap();
        assert_eq!(restored.problems, []);
        restored
    }

    async fn try_restore(
        &self,
        backup: &BackupSummary,
        options: RestoreFilesOptions,
        changes: Option<ChangeSink>,
    ) -> packstone::Result<RestoreFilesSummary> {
        let id = backup.snapshot.id;
        ops::restore_files(&self.repository, id, self.out(), options, changes, Arc::new(Silent)).await
    }
}

/// All that can be seen of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    device: u64,
    /// Its content, or what the link says.
    content: Vec<u8>,
    /// The first path with the same inode.
    same_as: Option<PathBuf>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Everything below a directory, with itself as the empty path.
fn see(top: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let path = top.join(&relative);
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mut content = Vec::new();
        if metadata.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            pending.extend(names.into_iter().rev().map(|name| relative.join(name)));
        } else if metadata.is_symlink() {
            content = fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
        } else if metadata.is_file() {
            content = fs::read(&path).unwrap();
        }
        let first = (!metadata.is_dir())
            .then(|| inodes.entry(metadata.ino()).or_insert_with(|| relative.clone()).clone())
            .filter(|first| *first != relative);
        let row = Seen {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            device: metadata.rdev(),
            content,
            same_as: first,
            xattrs: if metadata.is_symlink() { Vec::new() } else { xattrs(&path) },
        };
        seen.insert(relative, row);
    }
    seen
}

fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut all: Vec<_> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect();
    all.sort();
    all
}

/// Compares everything but the time of the target itself, which stays the user's own where it was there before.
fn assert_same(a: &Path, b: &Path) {
    let (mut a, mut b) = (see(a), see(b));
    for top in [&mut a, &mut b] {
        top.get_mut(Path::new("")).unwrap().mtime = (0, 0);
    }
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (path, row) in &a {
        let (mut row, mut other) = (row.clone(), b[path].clone());
        assert!(row.content == other.content, "content of {path:?}");
        (row.content, other.content) = (Vec::new(), Vec::new());
        assert_eq!(row, other, "{path:?}");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn age(path: &Path, seconds: i64, nanos: u32) {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, flags).unwrap();
}

/// A tree with something of every kind.
fn write_oddities(place: &Place) {
    for (name, length) in [("empty", 0), ("tiny", 5), ("small", 128), ("more", 129), ("page", 4096), ("some", 300_000)]
    {
        place.write(&format!("content/{name}"), noise(length as u64, length));
    }
    place.write("content/large", noise(77, 9_000_000));
    place.write("content/twice", noise(300_000, 300_000));
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"odd \xff\n-");
    fs::write(place.tree().join(odd), "odd").unwrap();
    fs::create_dir_all(place.tree().join("links/deeper")).unwrap();
    fs::create_dir(place.tree().join("nothing")).unwrap();
    let one = place.write("links/one", noise(5, 50_000));
    fs::hard_link(&one, place.tree().join("links/deeper/two")).unwrap();
    fs::hard_link(&one, place.tree().join("a-third")).unwrap();
    symlink("../nowhere", place.tree().join("links/dangling")).unwrap();
    symlink("/etc/passwd", place.tree().join("links/absolute")).unwrap();
    age(&place.tree().join("links/dangling"), -5, 123);
    let sparse = fs::File::create(place.tree().join("sparse")).unwrap();
    sparse.write_all_at(noise(6, 5000).as_bytes(), 5 << 20).unwrap();
    sparse.set_len(20 << 20).unwrap();
    fs::File::create(place.tree().join("hole")).unwrap().set_len(1 << 20).unwrap();
    let fifo = place.tree().join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
    rustix::fs::mknodat(CWD, place.tree().join("socket"), FileType::Socket, Mode::RWXU, 0).unwrap();
    for mode in [0o400, 0o4755, 0o2711, 0o1666, 0o000] {
        let path = place.write(&format!("modes/{mode:o}"), noise(u64::from(mode), 200));
        if is_root() || mode & 0o400 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    let named = place.write("xattrs", "x");
    for (name, value) in [("user.short", &b"v"[..]), ("user.empty", b""), ("user.long", &[7; 1000])] {
        // Not every file system has them.
        let _ = rustix::fs::lsetxattr(&named, name, value, XattrFlags::empty());
    }
    if is_root() {
        let device = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(CWD, place.tree().join("null"), FileType::CharacterDevice, Mode::RUSR, device).unwrap();
        std::os::unix::fs::lchown(place.tree().join("content/some"), Some(1234), Some(4321)).unwrap();
        std::os::unix::fs::lchown(place.tree().join("links/dangling"), Some(1234), Some(4321)).unwrap();
        std::os::unix::fs::lchown(place.tree().join("nothing"), Some(1234), Some(4321)).unwrap();
    }
    age(&place.tree().join("content/tiny"), -1_000_000_000, 999_999_999);
    age(&place.tree().join("content/page"), 9_000_000_000, 1);
    fs::set_permissions(place.tree().join("links/deeper"), fs::Permissions::from_mode(0o500)).unwrap();
    age(&place.tree().join("links/deeper"), 1_000_000_000, 5);
    age(&place.tree().join("content"), 1_000_000_001, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back() {
    let place = Place::new().await;
    write_oddities(&place);
    let backup = place.backup().await;
    let options = RestoreFilesOptions { verify: true, ..place.part() };
    let restored = place.restore(&backup, options.clone()).await;
    assert_same(&place.tree(), &place.out());
    let blocks = |name: &str| fs::metadata(place.out().join(name)).unwrap().blocks();
    assert!(blocks("sparse") < 2000 && blocks("hole") < 100, "holes stay holes");
    assert_eq!(restored.bytes_restored + restored.bytes_reused, restored.bytes_total);
    // Once more: there is nothing to do.
    let again = place.restore(&backup, options).await;
    assert_eq!((again.files_restored, again.bytes_restored, again.files_deleted), (0, 0, 0), "{again:?}");
    assert_same(&place.tree(), &place.out());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_path_the_whole_tree_comes_below_the_target() {
    let place = Place::new().await;
    place.write("dir/file", "content");
    let backup = place.backup().await;
    place.restore(&backup, RestoreFilesOptions::default()).await;
    let below = place.out().join(place.tree().strip_prefix("/").unwrap());
    assert_same(&place.tree(), &below);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_comes_by_its_name() {
    let place = Place::new().await;
    place.write("dir/file", noise(1, 200_000));
    place.write("dir/other", "x");
    let backup = place.backup().await;
    let path = Some(place.tree().join("dir/file"));
    place.restore(&backup, RestoreFilesOptions { path, ..RestoreFilesOptions::default() }).await;
    assert_eq!(fs::read_to_string(place.out().join("file")).unwrap(), noise(1, 200_000));
    assert_eq!(fs::read_dir(place.out()).unwrap().count(), 1);
    let path = Some(place.tree().join("dir/missing"));
    let missing = place.try_restore(&backup, RestoreFilesOptions { path, ..Default::default() }, None).await;
    assert_eq!(missing.unwrap_err().kind(), packstone::ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_corrected_and_nothing_else_written() {
    let place = Place::new().await;
    write_oddities(&place);
    let backup = place.backup().await;
    place.restore(&backup, place.part()).await;
    let large = fs::OpenOptions::new().write(true).open(place.out().join("content/large")).unwrap();
    large.write_all_at(b"something else", 4_000_000).unwrap();
    let hole = fs::OpenOptions::new().write(true).open(place.out().join("sparse")).unwrap();
    hole.write_all_at(&[1; 10_000], 1 << 20).unwrap();
    fs::OpenOptions::new().write(true).open(place.out().join("content/some")).unwrap().set_len(1000).unwrap();
    fs::write(place.out().join("content/tiny"), "longer than it was").unwrap();
    fs::remove_file(place.out().join("content/empty")).unwrap();
    fs::remove_file(place.out().join("fifo")).unwrap();
    fs::write(place.out().join("fifo"), "in the way").unwrap();
    fs::remove_file(place.out().join("links/dangling")).unwrap();
    symlink("elsewhere", place.out().join("links/dangling")).unwrap();
    fs::remove_dir(place.out().join("nothing")).unwrap();
    fs::write(place.out().join("nothing"), "in the way").unwrap();
    // A second name that leads out of the target, to something that must stay.
    fs::hard_link(place.out().join("content/twice"), place.folder.path().join("outside")).unwrap();
    fs::write(place.out().join("content/twice"), "changed").unwrap();
    let restored = place.restore(&backup, place.part()).await;
    assert_same(&place.tree(), &place.out());
    assert!(restored.bytes_restored < 7_000_000, "{restored:?}");
    assert_eq!(fs::read_to_string(place.folder.path().join("outside")).unwrap(), "changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_treated_as_asked() {
    let now = SystemTime::now();
    let old = now - Duration::from_secs(1000);
    // What is there: content, and whether it is older than the snapshot; what comes of it.
    let same_size = "CONTENT";
    for (overwrite, there, newer, expected) in [
        (Overwrite::Always, same_size, false, "content"),
        (Overwrite::Always, same_size, true, "content"),
        (Overwrite::IfChanged, same_size, true, "content"),
        (Overwrite::IfChanged, "longer than that", false, "content"),
        (Overwrite::IfNewer, same_size, true, same_size),
        (Overwrite::IfNewer, same_size, false, "content"),
        (Overwrite::Never, same_size, false, same_size),
        (Overwrite::Never, same_size, true, same_size),
    ] {
        let place = Place::new().await;
        let file = fs::File::open(place.write("file", "content")).unwrap();
        file.set_modified(now).unwrap();
        place.write("missing", "m");
        let backup = place.backup().await;
        fs::create_dir(place.out()).unwrap();
        fs::write(place.out().join("file"), there).unwrap();
        let time = if newer { now + Duration::from_secs(1000) } else { old };
        fs::File::open(place.out().join("file")).unwrap().set_modified(time).unwrap();
        let restored = place.restore(&backup, RestoreFilesOptions { overwrite, ..place.part() }).await;
        let case = format!("{overwrite:?} {there} {newer}");
        assert_eq!(fs::read_to_string(place.out().join("file")).unwrap(), expected, "{case}");
        assert_eq!(fs::read_to_string(place.out().join("missing")).unwrap(), "m", "{case}");
        assert_eq!(restored.files_skipped, u64::from(expected == there), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn size_and_time_are_trusted_only_if_asked() {
    let place = Place::new().await;
    let file = place.write("file", noise(1, 10_000));
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let backup = place.backup().await;
    fs::create_dir(place.out()).unwrap();
    fs::write(place.out().join("file"), noise(2, 10_000)).unwrap();
    fs::File::open(place.out().join("file")).unwrap().set_modified(time).unwrap();
    let trusting = RestoreFilesOptions { overwrite: Overwrite::IfChanged, ..place.part() };
    assert_eq!(place.restore(&backup, trusting).await.files_unchanged, 1);
    assert_eq!(fs::read_to_string(place.out().join("file")).unwrap(), noise(2, 10_000));
    assert_eq!(place.restore(&backup, place.part()).await.files_restored, 1);
    assert_eq!(fs::read_to_string(place.out().join("file")).unwrap(), noise(1, 10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_snapshot_does_not_have_is_deleted_if_asked() {
    let place = Place::new().await;
    place.write("dir/file", "content");
    place.write("was-dir", "a file");
    let backup = place.backup().await;
    let whole = || RestoreFilesOptions { memory_bytes: 1 << 20, ..RestoreFilesOptions::default() };
    place.restore(&backup, whole()).await;
    let below = place.out().join(place.tree().strip_prefix("/").unwrap());
    fs::create_dir_all(below.join("dir/extra/deep")).unwrap();
    fs::write(below.join("dir/extra/deep/file"), "x").unwrap();
    fs::write(below.join("dir/extra/kept.txt"), "x").unwrap();
    fs::remove_file(below.join("was-dir")).unwrap();
    fs::create_dir(below.join("was-dir")).unwrap();
    fs::write(below.join("was-dir/in the way"), "x").unwrap();
    let neighbour = below.parent().unwrap().join("not of the backup");
    fs::write(&neighbour, "x").unwrap();
    symlink("/", below.join("dir/to-root")).unwrap();
    // Not asked: all of it stays, and what is in the way is a problem.
    let kept = place.try_restore(&backup, whole(), None).await.unwrap();
    assert_eq!((kept.files_deleted, kept.problem_count, kept.is_damaged), (0, 1, false), "{kept:?}");
    assert!(kept.problems[0].0.ends_with("was-dir"), "{kept:?}");
    let exclude = vec![PathPattern { text: "*.TXT".to_owned(), any_case: true }];
    let deleted = place.restore(&backup, RestoreFilesOptions { delete: true, exclude, ..whole() }).await;
    assert!(below.join("dir/extra/kept.txt").exists() && !below.join("dir/extra/deep").exists());
    assert!(deleted.files_deleted >= 3, "{deleted:?}");
    place.restore(&backup, RestoreFilesOptions { delete: true, ..whole() }).await;
    assert_same(&place.tree(), &below);
    assert!(neighbour.exists(), "what only leads to the backup is not cleaned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_lists_and_changes_nothing() {
    let place = Place::new().await;
    write_oddities(&place);
    let backup = place.backup().await;
    let changes = Arc::new(Mutex::new(Vec::new()));
    let sink: ChangeSink = {
        let changes = changes.clone();
        Arc::new(move |change, path: &Path| {
            changes.lock().unwrap_or_else(PoisonError::into_inner).push((change, path.to_owned()));
        })
    };
    let dry = || RestoreFilesOptions { dry_run: true, delete: true, ..place.part() };
    let summary = place.try_restore(&backup, dry(), Some(sink.clone())).await.unwrap();
    assert!(!place.out().exists(), "not even the target");
    let listed = std::mem::take(&mut *changes.lock().unwrap());
    assert!(listed.iter().all(|(change, _)| *change == Change::New));
    assert_eq!(listed.len(), see(&place.tree()).len() - 1, "{summary:?}");
    place.restore(&backup, place.part()).await;
    fs::write(place.out().join("content/some"), "changed").unwrap();
    fs::remove_file(place.out().join("links/one")).unwrap();
    fs::write(place.out().join("extra"), "x").unwrap();
    age(&place.out(), 5, 5);
    let before = see(&place.out());
    place.try_restore(&backup, dry(), Some(sink)).await.unwrap();
    assert!(before == see(&place.out()));
    let mut listed = std::mem::take(&mut *changes.lock().unwrap());
    listed.retain(|(_, path)| !path.is_dir());
    listed.sort_by(|a, b| a.1.cmp(&b.1));
    let named = |change, name: &str| (change, place.out().join(name));
    let expected =
        [named(Change::Changed, "content/some"), named(Change::Deleted, "extra"), named(Change::New, "links/one")];
    assert_eq!(listed, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_links_lead_nowhere() {
    for level in ["", "a", "a/b", "a/b/file"] {
        let place = Place::new().await;
        place.write("a/b/file", noise(1, 100_000));
        place.write("a/b/tiny", "tiny");
        let backup = place.backup().await;
        let outside = place.folder.path().join("outside");
        fs::create_dir_all(outside.join("b")).unwrap();
        for name in ["file", "tiny", "b/file", "b/tiny"] {
            fs::write(outside.join(name), "outside").unwrap();
        }
        let before = see(&outside);
        if !level.is_empty() {
            let link = place.out().join(level);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(if level == "a/b/file" { outside.join("file") } else { outside.clone() }, &link).unwrap();
        }
        let options = RestoreFilesOptions { delete: true, verify: true, ..place.part() };
        place.restore(&backup, options).await;
        let mut after = see(&outside);
        // Reading it again may have touched nothing but times of reading, which are not seen.
        assert_eq!(after.remove(Path::new("")), before.get(Path::new("")).cloned(), "{level}");
        assert!(after.iter().all(|(path, seen)| before.get(path) == Some(seen)), "{level}");
        assert_same(&place.tree().join("a"), &place.out().join("a"));
    }
}

/// Commits a snapshot with these rows, whatever they are.
async fn commit(place: &Place, like: &BackupSummary, rows: Vec<(Vec<u8>, Entry)>) -> BackupSummary {
    let (repository, mut summary) = (place.repository.clone(), like.clone());
    blocking(move || {
        let mut writer = repository.writer(WriterOptions::default()).unwrap();
        let parameters = repository.tree_parameters(&Entries);
        let mut builder = Builder::new(&parameters);
        for (key, entry) in &rows {
            let _ = builder.push(&mut writer, key, &entry.encode()).unwrap();
        }
        let root = builder.finish(&mut writer).unwrap();
        let named = &mut summary.snapshot.roots[0];
        (named.id, named.level, named.records) = (root.id, root.level, root.records);
        (named.row_bytes, named.summary) = (root.row_bytes, root.summary);
        summary.snapshot.id = writer.id();
        assert!(matches!(writer.commit(&summary.snapshot).unwrap(), Commit::Done));
        summary
    })
    .await
}

fn entry(body: Body) -> Entry {
    let owner = Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        ..Owner::default()
    };
    let time = Time { seconds: 1_000_000_000, nanos: 1 };
    let mode = if body == Body::Directory { 0o755 } else { 0o644 };
    Entry { body, mode, owner, mtime: time, ctime: time, atime: None, inode: 1, link: None, xattrs: Vec::new() }
}

fn tiny() -> Entry {
    entry(Body::File { size: 4, content: Content::Inline(b"evil".to_vec()) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_snapshot_reaches_nothing_outside() {
    let place = Place::new().await;
    place.write("file", "x");
    let like = place.backup().await;
    let outside = place.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let link = entry(Body::Symlink { target: outside.clone().into_os_string().into_encoded_bytes() });
    let hostile = [
        vec![(b"..".to_vec(), entry(Body::Directory)), (child_key(b"..", b"evil"), tiny())],
        vec![(child_key(b"..", b"evil"), tiny())],
        vec![(b".".to_vec(), tiny())],
        vec![(b"/evil".to_vec(), tiny())],
        vec![(b"a/../../evil".to_vec(), tiny())],
        vec![(b"two\0\0names".to_vec(), tiny())],
        // Names that are all right, but one lies in what is a link.
        vec![(b"good".to_vec(), tiny()), (b"link".to_vec(), link), (child_key(b"link", b"evil"), tiny())],
    ];
    for mut rows in hostile {
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        let names: Vec<_> = rows.iter().map(|(key, _)| key.clone()).collect();
        let backup = commit(&place, &like, rows).await;
        let restored = place.try_restore(&backup, RestoreFilesOptions::default(), None).await.unwrap();
        assert!(restored.is_damaged && restored.problem_count >= 1, "{names:?} {restored:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{names:?}");
        assert!(!place.folder.path().join("evil").exists() && !Path::new("/evil").exists(), "{names:?}");
        for entry in fs::read_dir(place.out()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(name == "good" || name == "link", "{names:?} made {name:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_continues() {
    let place = Place::new().await;
    for n in 0..50 {
        place.write(&format!("dir{}/file{n}", n % 5), noise(n, 40_000));
    }
    place.write("large", noise(99, 12_000_000));
    let backup = place.backup().await;
    place.restore(&backup, place.part()).await;
    // As after an interruption: files that are missing, half written, and with their first content only.
    for n in 0..20 {
        let path = place.out().join(format!("dir{}/file{n}", n % 5));
        match n % 2 {
            0 => fs::remove_file(path).unwrap(),
            _ => fs::OpenOptions::new().write(true).open(path).unwrap().set_len(17).unwrap(),
        }
    }
    let large = fs::OpenOptions::new().write(true).open(place.out().join("large")).unwrap();
    large.set_len(6_000_000).unwrap();
    for overwrite in [Overwrite::IfChanged, Overwrite::Always] {
        let restored = place.restore(&backup, RestoreFilesOptions { overwrite, ..place.part() }).await;
        assert_same(&place.tree(), &place.out());
        assert!(restored.bytes_restored < 9_500_000, "{restored:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_choose() {
    let place = Place::new().await;
    for name in ["a/one.txt", "a/two.log", "b/c/three.TXT", "b/c/four.log", "d/five.txt", "top.txt"] {
        place.write(name, name);
    }
    let backup = place.backup().await;
    let pattern = |text: &str, any_case| PathPattern { text: text.to_owned(), any_case };
    let anchored = format!("{}/d", place.tree().display());
    for (include, exclude, expected) in [
        (vec![pattern("*.txt", false)], vec![], vec!["a/one.txt", "d/five.txt", "top.txt"]),
        (vec![pattern("*.txt", true)], vec![], vec!["a/one.txt", "b/c/three.TXT", "d/five.txt", "top.txt"]),
        (vec![pattern("b/", false)], vec![], vec!["b/c/four.log", "b/c/three.TXT"]),
        (
            vec![],
            vec![pattern("*.log", false), pattern(&anchored, false)],
            vec!["a/one.txt", "b/c/three.TXT", "top.txt"],
        ),
        (vec![pattern("*.txt", false)], vec![pattern("a", false)], vec!["d/five.txt", "top.txt"]),
        (vec![pattern("c", false), pattern("!four*", false)], vec![], vec!["b/c/three.TXT"]),
    ] {
        let _ = fs::remove_dir_all(place.out());
        let options = RestoreFilesOptions { include: include.clone(), exclude: exclude.clone(), ..place.part() };
        place.restore(&backup, options).await;
        let seen = see(&place.out());
        let files: Vec<_> =
            seen.keys().filter(|path| place.out().join(path).is_file()).map(|path| path.to_str().unwrap()).collect();
        assert_eq!(files, expected, "{include:?} {exclude:?}");
        for directory in seen.keys().filter(|path| !path.as_os_str().is_empty() && place.out().join(path).is_dir()) {
            let time = |top: PathBuf| fs::metadata(top.join(directory)).unwrap().modified().unwrap();
            assert_eq!(time(place.tree()), time(place.out()), "directories that lead there have their metadata");
            let leads = expected.iter().any(|file| Path::new(file).starts_with(directory));
            assert!(leads || include.is_empty(), "{directory:?}");
        }
    }
}

/// Changes a file as soon as the restore begins to verify.
struct Meddler(PathBuf);

impl Observer for Meddler {
    fn event(&self, event: Event<'_>) {
        if let Event::Stage { name: "verifying", .. } = event {
            let file = fs::OpenOptions::new().write(true).open(&self.0).unwrap();
            file.write_all_at(b"!", 12_345).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_finds_what_was_changed_meanwhile() {
    let place = Place::new().await;
    place.write("a", noise(1, 20_000));
    place.write("b", noise(2, 20_000));
    let backup = place.backup().await;
    let options = RestoreFilesOptions { verify: true, ..place.part() };
    let meddler = Arc::new(Meddler(place.out().join("b")));
    let restored =
        ops::restore_files(&place.repository, backup.snapshot.id, place.out(), options, None, meddler).await.unwrap();
    assert!(restored.is_damaged);
    assert_eq!(restored.problem_count, 1);
    assert_eq!(restored.problems[0].0, place.out().join("b").display().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named_and_the_rest_restored() {
    let backend = SimulatedBackend::new();
    let place = Place::on(tempfile::tempdir().unwrap(), Arc::new(backend.clone())).await;
    place.write("first", noise(1, 3_000_000));
    let first = place.backup().await;
    let packs = |backend: &SimulatedBackend| -> Vec<_> {
        backend.paths().into_iter().filter(|path| path.as_str().starts_with("packs/")).collect()
    };
    let known = packs(&backend);
    place.write("second", noise(2, 100_000));
    place.write("tiny", "tiny");
    let backup = place.backup().await;
    drop(first);
    let largest = {
        let stored = backend.snapshot();
        known.into_iter().max_by_key(|path| stored.get(path).map_or(0, |body| body.len())).unwrap()
    };
    assert!(backend.damage(&largest, Damage::Flip(1000)));
    let fresh = open_on(place.backend.clone()).await.unwrap();
    let options = RestoreFilesOptions { verify: true, ..place.part() };
    let restored =
        ops::restore_files(&fresh, backup.snapshot.id, place.out(), options, None, Arc::new(Silent)).await.unwrap();
    assert!(restored.is_damaged);
    assert_eq!(restored.problem_count, 1, "{restored:?}");
    assert!(restored.problems[0].0.ends_with("first"), "{restored:?}");
    assert!(restored.problems[0].1.contains(largest.as_str()), "{restored:?}");
    assert_eq!(fs::read_to_string(place.out().join("second")).unwrap(), noise(2, 100_000));
    assert_eq!(fs::metadata(place.out().join("first")).unwrap().mtime(), 0, "nothing takes it for whole");
    assert_eq!(restored.files_restored, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_is_read_in_few_requests() {
    let place = Place::new().await;
    for n in 0..400 {
        place.write(&format!("d{}/f{n}", n % 20), noise(n, 30_000));
    }
    place.write("large", noise(1000, 8_000_000));
    let backup = place.backup().await;
    let fresh = open_on(place.backend.clone()).await.unwrap();
    let before = fresh.store().requests();
    let id = backup.snapshot.id;
    ops::restore_files(&fresh, id, place.out(), place.part(), None, Arc::new(Silent)).await.unwrap();
    assert_same(&place.tree(), &place.out());
    let after = fresh.store().requests();
    let packs = backup.snapshot.statistics.packs_written;
    let (gets, bytes) = (after.get - before.get, after.read_bytes - before.read_bytes);
    assert!(gets <= 20 + packs * 8, "{gets} requests for {packs} packs");
    assert!(bytes <= backup.snapshot.statistics.bytes_stored * 11 / 10, "{bytes} bytes read");
}

/// Stores contents as deltas, all in one pack.
fn store_deltas(repository: &Repository, pairs: &[(String, String)]) {
    let keys = repository.keys();
    let mut pack = PackBuilder::new(BlobKind::Chunk, RetentionClass::Standard);
    for (base, content) in pairs {
        let (base, content) = (base.as_bytes(), content.as_bytes());
        let mut body = Vec::new();
        Compressor::default().compress_with_prefix(base, content, &mut body).unwrap();
        let length = u32::try_from(content.len()).unwrap();
        let id = keys.blob_id_chunk(content);
        let blob = BlobEntry { id, kind: BlobKind::Chunk, stored_len: length, content_len: length };
        let (kind, codec, base) = (BlobKind::Chunk, Codec::ZstdDelta, Some(keys.blob_id_chunk(base)));
        pack.add(seal_frame(keys, &random(), kind, codec, &body, content.len(), vec![blob], base).unwrap()).unwrap();
    }
    let FinishedPack { id, body, directory, size_bytes } = pack.finish(keys, &random());
    repository.store().put(&ObjectPath::pack(id), body).unwrap();
    let packs = vec![IndexedPack { id, size_bytes, directory }];
    repository.put_index(IndexContent { packs, replaces: Vec::new() }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_are_restored_and_their_bases_read_once() {
    let place = Place::new().await;
    let pairs: Vec<(String, String)> = (0..40)
        .map(|n| {
            let base = noise(n, 60_000);
            let content = base.replacen(&base[30_000..30_010], "something!", 1);
            (base, content)
        })
        .collect();
    for (n, (base, _)) in pairs.iter().enumerate() {
        place.write(&format!("file{n}"), base);
    }
    place.backup().await;
    let (repository, stored) = (place.repository.clone(), pairs.clone());
    blocking(move || store_deltas(&repository, &stored)).await;
    for (n, (_, content)) in pairs.iter().enumerate() {
        place.write(&format!("file{n}"), content);
    }
    let second = place.backup().await;
    assert!(second.snapshot.statistics.bytes_stored < 20_000, "the contents are known: {second:?}");
    let fresh = open_on(place.backend.clone()).await.unwrap();
    let before = fresh.store().requests();
    ops::restore_files(&fresh, second.snapshot.id, place.out(), place.part(), None, Arc::new(Silent)).await.unwrap();
    assert_same(&place.tree(), &place.out());
    let after = fresh.store().requests();
    assert!(after.get - before.get < 20, "{after:?}");
    assert!(after.read_bytes - before.read_bytes < 40 * 60_000, "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_a_pruner_moved_meanwhile_is_found_again() {
    let backend = SimulatedBackend::new();
    let place = Place::on(tempfile::tempdir().unwrap(), Arc::new(backend.clone())).await;
    place.write("file", noise(1, 500_000));
    place.write("gone", noise(2, 500_000));
    let first = place.backup().await;
    fs::remove_file(place.tree().join("gone")).unwrap();
    let second = place.backup().await;
    // This reader has loaded the index; then the pack is repacked and removed.
    let reader = open_on(place.backend.clone()).await.unwrap();
    crate::fixtures::forget(&place.repository, &first).await.unwrap();
    let pruner = place.repository.clone();
    let prune = Pruner(Mutex::new(Some(pruner)));
    let restored = ops::restore_files(&reader, second.snapshot.id, place.out(), place.part(), None, Arc::new(prune))
        .await
        .unwrap();
    assert_eq!(restored.problems, []);
    assert_same(&place.tree(), &place.out());
}

/// Prunes as soon as the restore, with its index loaded, begins.
struct Pruner(Mutex<Option<Repository>>);

impl Observer for Pruner {
    fn event(&self, event: Event<'_>) {
        let Event::Stage { .. } = event else { return };
        let Some(repository) = self.0.lock().unwrap().take() else { return };
        let options = ops::PruneOptions { max_unused_percent: 0.0, ..ops::PruneOptions::default() };
        let runtime = repository.store().runtime().clone();
        let prune = async move { ops::prune(&repository, options, Arc::new(Silent)).await };
        let report = std::thread::spawn(move || runtime.block_on(prune)).join().unwrap().unwrap();
        assert!(report.packs_removed > 0, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_datoms_holds_no_files() {
    let place = Place::new().await;
    let path = place.write("log.edn", "[1 :a/b 1 536870913 true]\n");
    let backup = crate::fixtures::backup(&place.repository, &path).await.unwrap();
    let refused = place.try_restore(&backup, RestoreFilesOptions::default(), None).await.unwrap_err();
    assert_eq!(refused.kind(), packstone::ErrorKind::Usage);
    assert!(!place.out().exists());
}
