//! Backups of directory trees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use packstone::ops::{self, BackupOptions, BackupSummary, FilesSource, Source, StreamInput, StreamSource};
use packstone::progress::{Event, Observer, Silent};
use packstone::record::entry::{Body, Content, Entry, path_of_key};
use packstone::record::{Entries, Extent, Extents};
use packstone::repository::Repository;
use packstone::tree::{KeyRange, Root, Walker};
use packstone::{ErrorKind, source};

use crate::fixtures::{blocking, check_all, create, noise, open, options, verify};

/// Longer than the clock of a file system stands still, so that what was written before is known to be older.
fn settle() {
    std::thread::sleep(Duration::from_millis(50));
}

struct Place {
    _folder: tempfile::TempDir,
    repository: Repository,
    tree: PathBuf,
    options: source::files::Options,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = create(&folder.path().join("repository")).await;
        let tree = folder.path().join("tree");
        fs::create_dir(&tree).unwrap();
        Self { repository, tree, _folder: folder, options: source::files::Options::default() }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn source(&self) -> Source {
        let mut source = FilesSource::new(vec![self.tree.clone()]);
        source.options = self.options.clone();
        Source::Files(source)
    }

    async fn backup(&self) -> BackupSummary {
        self.backup_with(options()).await
    }

    async fn backup_with(&self, options: BackupOptions) -> BackupSummary {
        ops::backup(&self.repository, self.source(), options, Arc::new(Silent)).await.unwrap()
    }

    /// Entries below the tree, by path from there.
    async fn entries(&self, summary: &BackupSummary) -> BTreeMap<PathBuf, Entry> {
        let all = entries(&self.repository, summary).await;
        let below = |(path, entry): (PathBuf, Entry)| Some((path.strip_prefix(&self.tree).ok()?.to_owned(), entry));
        all.into_iter().filter_map(below).collect()
    }

    async fn content(&self, entry: &Entry) -> Vec<u8> {
        let (repository, entry) = (self.repository.clone(), entry.clone());
        blocking(move || content(&repository, &entry)).await
    }
}

/// All entries of a snapshot, by path.
pub async fn entries(repository: &Repository, summary: &BackupSummary) -> BTreeMap<PathBuf, Entry> {
    let (repository, root) = (repository.clone(), summary.snapshot.roots[0].clone());
    blocking(move || {
        assert_eq!(root.name, "files");
        let root = Root {
            kind: root.kind,
            id: root.id,
            level: root.level,
            records: root.records,
            row_bytes: root.row_bytes,
            summary: root.summary,
        };
        let reader = repository.reader();
        let parameters = repository.tree_parameters(&Entries);
        let mut walker = Walker::new(&reader, &parameters, &root, KeyRange::all()).unwrap();
        let mut all = BTreeMap::new();
        while let Some((key, value)) = walker.next_record().unwrap() {
            all.insert(path_of_key(key), Entry::decode(value).unwrap());
        }
        assert_eq!(all.len() as u64, root.records);
        all
    })
    .await
}

fn extents(repository: &Repository, entry: &Entry) -> Vec<Extent> {
    match &entry.body {
        Body::File { content: Content::Extents(extents), .. } => extents.clone(),
        Body::File { content: Content::Tree(tree), .. } => {
            let reader = repository.reader();
            let parameters = repository.tree_parameters(&Extents);
            let mut walker = Walker::new(&reader, &parameters, &Root::from(tree.clone()), KeyRange::all()).unwrap();
            let mut all = Vec::new();
            while let Some((key, value)) = walker.next_record().unwrap() {
                all.push(Extent::decode(key, value).unwrap());
            }
            all
        }
        _ => Vec::new(),
    }
}

/// The bytes of a file.
pub fn content(repository: &Repository, entry: &Entry) -> Vec<u8> {
    if let Body::File { content: Content::Inline(bytes), .. } = &entry.body {
        return bytes.clone();
    }
    let mut bytes = vec![0; usize::try_from(entry.size()).unwrap()];
    let reader = repository.reader();
    for extent in extents(repository, entry) {
        let chunk = reader.chunk(extent.id).unwrap();
        assert_eq!(chunk.len(), extent.length as usize);
        let start = usize::try_from(extent.offset).unwrap();
        bytes[start..start + chunk.len()].copy_from_slice(&chunk);
    }
    bytes
}

fn figure(summary: &BackupSummary, name: &str) -> u64 {
    let figures = &summary.snapshot.statistics.figures;
    figures.iter().find(|(of, _)| of == name).unwrap_or_else(|| panic!("no {name}")).1
}

/// New, changed and unmodified files.
fn files(summary: &BackupSummary) -> (u64, u64, u64) {
    (figure(summary, "files_new"), figure(summary, "files_changed"), figure(summary, "files_unmodified"))
}

/// Keeps what went wrong.
#[derive(Default)]
struct Problems(Mutex<Vec<String>>);

impl Observer for Problems {
    fn event(&self, event: Event<'_>) {
        if let Event::Problem { object, message } = event {
            self.0.lock().unwrap().push(format!("{object}: {message}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_in_the_snapshot_with_its_content() {
    let place = Place::new().await;
    let large = noise(3, 5 << 20).into_bytes();
    let contents: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("tiny", b"x".to_vec()),
        ("inline", vec![7; 128]),
        ("short", vec![7; 129]),
        ("a/b/c/deep", noise(1, 100_000).into_bytes()),
        ("several chunks", noise(2, 1_500_000).into_bytes()),
        ("large", large.clone()),
        ("very large", [large.clone(), large].concat()),
        ("a\nb/\u{fffd}", b"odd names".to_vec()),
    ];
    for (name, content) in &contents {
        place.write(name, content);
    }
    for number in 0..500 {
        place.write(&format!("many/{number}"), format!("file {number}, {}", noise(number, 300)));
    }
    let summary = place.backup().await;
    assert_eq!(files(&summary), (contents.len() as u64 + 500, 0, 0));
    let entries = place.entries(&summary).await;
    for (name, content) in contents {
        let entry = &entries[Path::new(name)];
        assert_eq!(place.content(entry).await, content, "{name}");
        let inline = matches!(entry.body, Body::File { content: Content::Inline(_), .. });
        assert_eq!(inline, content.len() <= 128, "{name}");
    }
    for number in 0..500 {
        let content = place.content(&entries[Path::new(&format!("many/{number}"))]).await;
        assert_eq!(content, format!("file {number}, {}", noise(number, 300)).into_bytes());
    }
    assert!(check_all(&place.repository).await.is_sound());
    verify(&place.repository, &summary).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_changed_is_not_read_and_gives_the_same_tree() {
    let place = Place::new().await;
    for number in 0..300 {
        place.write(&format!("{}/{number}", number % 7), noise(number, 1000));
    }
    let large = place.write("large", noise(1, 3 << 20));
    std::os::unix::fs::symlink("large", place.tree.join("link")).unwrap();
    settle();
    let first = place.backup().await;
    let second = place.backup().await;
    assert_eq!(files(&second), (0, 0, 301));
    assert_eq!(
        (figure(&second, "dirs_unmodified"), figure(&second, "others_unmodified")),
        (figure(&first, "dirs_new"), 1)
    );
    assert_eq!(second.snapshot.roots, first.snapshot.roots);
    assert_eq!(second.snapshot.statistics.bytes_read, 0);
    assert_eq!(second.snapshot.statistics.bytes_added, 0);
    assert_eq!(figure(&second, "total_bytes"), 300 * 1000 + (3 << 20));

    fs::write(&large, noise(1, (3 << 20) - 10)).unwrap();
    fs::remove_file(place.tree.join("3/3")).unwrap();
    place.write("3/new", "new");
    let third = place.backup().await;
    assert_eq!(files(&third), (1, 1, 299));
    assert_eq!(third.snapshot.statistics.records_removed, 1);
    assert_eq!(third.snapshot.statistics.bytes_read, (3 << 20) - 10 + 3);
    // Only the end of the large file differs.
    assert!(third.snapshot.statistics.bytes_added < 3 << 20, "{:?}", third.snapshot.statistics);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_read_when_forced() {
    let place = Place::new().await;
    place.write("a", noise(1, 1000));
    settle();
    let first = place.backup().await;
    let forced = place.backup_with(BackupOptions { parent: ops::Parent::None, ..options() }).await;
    assert_eq!(forced.snapshot.statistics.bytes_read, 1000);
    assert_eq!(place.entries(&forced).await, place.entries(&first).await);
    assert_eq!(forced.snapshot.parent, None);
}

/// Sets a file's mtime back to what it was.
fn keep_mtime(path: &Path, change: impl FnOnce()) {
    let before = fs::metadata(path).unwrap().modified().unwrap();
    change();
    fs::File::options().write(true).open(path).unwrap().set_modified(before).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_size_and_mtime_hide_shows_in_the_ctime() {
    let mut place = Place::new().await;
    let path = place.write("a", "one");
    settle();
    place.backup().await;
    keep_mtime(&path, || fs::write(&path, "two").unwrap());
    settle();
    place.options.ignore_ctime = true;
    let blind = place.backup().await;
    assert_eq!(place.content(&place.entries(&blind).await[Path::new("a")]).await, b"one");
    place.options.ignore_ctime = false;
    keep_mtime(&path, || fs::write(&path, "333").unwrap());
    let seeing = place.backup().await;
    assert_eq!(files(&seeing), (0, 1, 0));
    assert_eq!(place.content(&place.entries(&seeing).await[Path::new("a")]).await, b"333");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_place_of_another_shows_in_the_inode() {
    let mut place = Place::new().await;
    let path = place.write("a", noise(1, 500));
    settle();
    place.backup().await;
    keep_mtime(&path, || {
        fs::write(place.tree.join("b"), noise(2, 500)).unwrap();
        fs::rename(place.tree.join("b"), &path).unwrap();
    });
    settle();
    place.options.ignore_ctime = true;
    let summary = place.backup().await;
    assert_eq!(files(&summary), (0, 1, 0));
    assert_eq!(place.content(&place.entries(&summary).await[Path::new("a")]).await, noise(2, 500).into_bytes());
    keep_mtime(&path, || {
        fs::write(place.tree.join("b"), noise(3, 500)).unwrap();
        fs::rename(place.tree.join("b"), &path).unwrap();
    });
    place.options.ignore_inode = true;
    let summary = place.backup().await;
    assert_eq!(summary.snapshot.statistics.bytes_read, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_ctimes_ignored_new_metadata_is_kept_and_the_content_not_read() {
    let mut place = Place::new().await;
    place.options.ignore_ctime = true;
    let path = place.write("a", noise(1, 500));
    settle();
    place.backup().await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o751)).unwrap();
    let summary = place.backup().await;
    assert_eq!((files(&summary), summary.snapshot.statistics.bytes_read), ((0, 1, 0), 0));
    let entry = &place.entries(&summary).await[Path::new("a")];
    assert_eq!(entry.mode, 0o751);
    assert_eq!(place.content(entry).await, noise(1, 500).into_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_written_while_the_backup_began_is_read_again_by_the_next() {
    let place = Place::new().await;
    // Within one step of the clock a second change could hide behind the first. A busy machine may take longer than one.
    for attempt in 0..50 {
        place.write("a", noise(attempt, 500));
        place.backup().await;
        let second = place.backup().await;
        assert_eq!(files(&second), (0, 0, 1));
        if second.snapshot.statistics.bytes_read == 500 {
            return;
        }
    }
    panic!("never read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_one_file_are_read_once() {
    let place = Place::new().await;
    let first = place.write("a/first", noise(1, 200_000));
    for number in 0..50 {
        fs::create_dir_all(place.tree.join(format!("b{number}"))).unwrap();
        fs::hard_link(&first, place.tree.join(format!("b{number}/name"))).unwrap();
    }
    let large = place.write("c/large", noise(2, 4 << 20));
    fs::hard_link(&large, place.tree.join("d")).unwrap();
    settle();
    let summary = place.backup().await;
    assert_eq!(summary.snapshot.statistics.bytes_read, 200_000 + (4 << 20));
    assert_eq!(files(&summary), (53, 0, 0));
    let entries = place.entries(&summary).await;
    let entry = &entries[Path::new("b7/name")];
    assert_eq!(entry, &entries[Path::new("a/first")]);
    assert_eq!(entry.link.map(|link| link.count), Some(51));
    assert_eq!(place.content(&entries[Path::new("d")]).await, noise(2, 4 << 20).into_bytes());
    let again = place.backup().await;
    assert_eq!((files(&again), again.snapshot.statistics.bytes_read), ((0, 0, 53), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_stay_holes() {
    let place = Place::new().await;
    let path = place.tree.join("sparse");
    let mut expected = vec![0; 40 << 20];
    let file = fs::File::create(&path).unwrap();
    file.set_len(40 << 20).unwrap();
    for offset in [0, 7 << 20, (24 << 20) + 4096] {
        let data = noise(offset, 3 << 20).into_bytes();
        std::os::unix::fs::FileExt::write_all_at(&file, &data, offset).unwrap();
        let start = usize::try_from(offset).unwrap();
        expected[start..start + data.len()].copy_from_slice(&data);
    }
    drop(file);
    fs::File::create(place.tree.join("hole")).unwrap().set_len(1 << 20).unwrap();
    fs::File::create(place.tree.join("little hole")).unwrap().set_len(100).unwrap();
    let summary = place.backup().await;
    let entries = place.entries(&summary).await;
    let entry = &entries[Path::new("sparse")];
    assert!(place.content(entry).await == expected);
    let sparse = fs::metadata(&path).unwrap().blocks() * 512 < 20 << 20;
    if sparse {
        assert!(summary.snapshot.statistics.bytes_read < 10 << 20);
        assert_eq!(
            entries[Path::new("hole")].body,
            Body::File { size: 1 << 20, content: Content::Extents(Vec::new()) }
        );
    }
    assert_eq!(place.content(&entries[Path::new("hole")]).await, vec![0; 1 << 20]);
    let little = Body::File { size: 100, content: Content::Inline(vec![0; 100]) };
    assert_eq!(entries[Path::new("little hole")].body, little);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_pages_is_cut_at_runs_of_pages() {
    let place = Place::new().await;
    let mut pages = noise(1, 3 << 20).into_bytes();
    pages[..18].copy_from_slice(b"SQLite format 3\0\x10\0");
    let path = place.write("database", &pages);
    place.write("small", &pages[..200_000]);
    let summary = place.backup().await;
    let entries = place.entries(&summary).await;
    for (name, size) in [("database", 3 << 20), ("small", 200_000)] {
        let (repository, entry) = (place.repository.clone(), entries[Path::new(name)].clone());
        let extents = blocking(move || extents(&repository, &entry)).await;
        assert_eq!(extents.len(), usize::div_ceil(size, 64 << 10), "{name}");
        assert!(extents.iter().all(|extent| extent.offset % (64 << 10) == 0), "{name}");
    }
    pages[1_000_000] ^= 1;
    fs::write(&path, &pages).unwrap();
    let again = place.backup().await;
    let changed = &place.entries(&again).await[Path::new("database")];
    assert!(place.content(changed).await == pages);
    assert!(again.snapshot.statistics.bytes_added < 200_000, "{:?}", again.snapshot.statistics);
    // And of the run that changed, only its difference is stored.
    assert!(again.snapshot.statistics.bytes_stored < 20_000, "{:?}", again.snapshot.statistics);
}

/// Adds a byte to a file whenever it hears of progress.
struct Appending(PathBuf, Problems);

impl Observer for Appending {
    fn event(&self, event: Event<'_>) {
        self.1.event(event);
        if let Event::Files { .. } = event {
            let mut file = fs::File::options().append(true).open(&self.0).unwrap();
            std::io::Write::write_all(&mut file, b"x").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_all_the_time_is_reported() {
    let place = Place::new().await;
    // So long that progress is told of before it is read to its end.
    const LEN: usize = 96 << 20;
    let path = place.write("busy", vec![b'a'; LEN]);
    place.write("calm", "calm");
    let appending = Arc::new(Appending(path, Problems::default()));
    let summary = ops::backup(&place.repository, place.source(), options(), appending.clone()).await.unwrap();
    assert_eq!(summary.snapshot.skipped_count, 1);
    assert!(summary.snapshot.skipped[0].0.ends_with("busy") && summary.snapshot.skipped[0].1.contains("changed"));
    assert_eq!(appending.1.0.lock().unwrap().len(), 1);
    let entries = place.entries(&summary).await;
    let content = place.content(&entries[Path::new("busy")]).await;
    assert!(content.len() > LEN && content[..LEN].iter().all(|&byte| byte == b'a'));
    assert_eq!(place.content(&entries[Path::new("calm")]).await, b"calm");
    // What was stored of it is not taken for what it is now.
    let next = place.backup().await;
    assert_eq!((next.snapshot.skipped_count, figure(&next, "files_changed")), (0, 1));
}

/// Replaces a file when it first hears of something.
struct Replacing(PathBuf, Mutex<bool>);

impl Observer for Replacing {
    fn event(&self, _: Event<'_>) {
        let mut done = self.1.lock().unwrap();
        if !std::mem::replace(&mut *done, true) {
            fs::write(self.0.with_extension("new"), noise(9, 700)).unwrap();
            fs::rename(self.0.with_extension("new"), &self.0).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_replaced_meanwhile_is_stored_as_the_one_or_the_other() {
    let place = Place::new().await;
    let path = place.write("z", noise(1, 500));
    let replacing = Arc::new(Replacing(path, Mutex::new(false)));
    let summary = ops::backup(&place.repository, place.source(), options(), replacing).await.unwrap();
    assert_eq!(summary.snapshot.skipped_count, 0);
    let content = place.content(&place.entries(&summary).await[Path::new("z")]).await;
    assert!(content == noise(1, 500).as_bytes() || content == noise(9, 700).as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named_and_the_rest_stored() {
    let place = Place::new().await;
    place.write("good", "good");
    let hidden = place.write("hidden", noise(1, 500));
    settle();
    place.backup().await;
    let gone = place.tree.with_file_name("gone");
    fs::write(&gone, "here").unwrap();
    let mut source = FilesSource::new(vec![place.tree.clone(), gone.clone()]);
    source.options = place.options.clone();
    fs::remove_file(&gone).unwrap();
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o000)).unwrap();
    let superuser = fs::read(&hidden).is_ok();
    let problems = Arc::new(Problems::default());
    let summary = ops::backup(&place.repository, Source::Files(source), options(), problems.clone()).await.unwrap();
    let entries = place.entries(&summary).await;
    assert!(entries.contains_key(Path::new("good")));
    assert_eq!(entries.contains_key(Path::new("hidden")), superuser);
    assert_eq!(summary.snapshot.skipped_count, if superuser { 1 } else { 2 });
    assert_eq!(problems.0.lock().unwrap().len() as u64, summary.snapshot.skipped_count);

    let nothing = Source::Files(FilesSource::new(vec![gone]));
    let error = ops::backup(&place.repository, nothing, options(), Arc::new(Silent)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn stream(words: &[&str]) -> Source {
    let input = StreamInput::Command(words.iter().map(Into::into).collect());
    Source::Stream(StreamSource { input, name: PathBuf::from("/dumps/app.sql") })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_writes_is_a_file() {
    let place = Place::new().await;
    let backup =
        async |words: &[&str]| ops::backup(&place.repository, stream(words), options(), Arc::new(Silent)).await;
    let long = "head -c 5000000 /dev/zero | tr '\\0' x; echo end";
    for (script, content) in [
        ("printf %s short", b"short".to_vec()),
        ("true", Vec::new()),
        (long, {
            let mut content = vec![b'x'; 5_000_000];
            content.extend_from_slice(b"end\n");
            content
        }),
    ] {
        let summary = backup(&["sh", "-c", script]).await.unwrap();
        let entries = entries(&place.repository, &summary).await;
        assert_eq!(entries.len(), 3, "{:?}", entries.keys());
        let entry = &entries[Path::new("/dumps/app.sql")];
        assert_eq!((entry.mode, entry.size()), (0o600, content.len() as u64));
        assert!(place.content(entry).await == content, "{script}");
    }
    let same = backup(&["sh", "-c", long]).await.unwrap();
    assert_eq!((files(&same), same.snapshot.statistics.bytes_added), ((0, 0, 1), 0));
    let skip = BackupOptions { skip_if_unchanged: true, ..options() };
    let skipped = ops::backup(&place.repository, stream(&["sh", "-c", long]), skip, Arc::new(Silent)).await.unwrap();
    assert!(!skipped.committed);
    assert!(check_all(&place.repository).await.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_command_leaves_no_snapshot() {
    let place = Place::new().await;
    for words in [&["sh", "-c", "echo half; exit 3"][..], &["/nonexistent/program"], &[]] {
        let result = ops::backup(&place.repository, stream(words), options(), Arc::new(Silent)).await;
        assert!(result.is_err(), "{words:?}");
    }
    let repository = place.repository.clone();
    assert!(blocking(move || repository.snapshots().unwrap().into_live().unwrap()).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_and_stores_nothing() {
    let place = Place::new().await;
    place.write("a", noise(1, 500_000));
    place.write("b/c", noise(2, 3 << 20));
    let dry = place.backup_with(BackupOptions { dry_run: true, ..options() }).await;
    assert!(!dry.committed);
    assert_eq!(files(&dry), (2, 0, 0));
    let folder = place.tree.with_file_name("repository");
    let folders = fs::read_dir(folder.join("packs")).unwrap();
    let packs = folders.flat_map(|sub| fs::read_dir(sub.unwrap().path()).unwrap()).count();
    assert_eq!(packs, 0);
    let real = place.backup().await;
    // Not the roots: directories above may change meanwhile, as `/tmp` does.
    assert_eq!(real.snapshot.roots[0].records, dry.snapshot.roots[0].records);
    assert_eq!(real.snapshot.statistics.figures, dry.snapshot.statistics.figures);
    assert_eq!(real.snapshot.statistics.blobs_added, dry.snapshot.statistics.blobs_added);
    assert!(real.snapshot.statistics.bytes_added.abs_diff(dry.snapshot.statistics.bytes_added) < 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_snapshot_is_written_when_nothing_has_changed() {
    let place = Place::new().await;
    place.write("a", "a");
    settle();
    place.backup().await;
    let skip = BackupOptions { skip_if_unchanged: true, ..options() };
    assert!(!place.backup_with(skip.clone()).await.committed);
    place.write("a", "b");
    assert!(place.backup_with(skip).await.committed);
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_snapshots_are_continued() {
    let place = Place::new().await;
    for number in 0..2000 {
        place.write(&format!("{:02}/{number}", number / 100), noise(number, 2000));
    }
    settle();
    // A partial snapshot at every tick, and then the power fails: a damaged source stands for it.
    let often = BackupOptions { partial_every: Duration::ZERO, ..options() };
    let panicking: Arc<dyn Observer> = Arc::new(FailAfter(1200));
    let result = tokio::spawn({
        let (repository, source) = (place.repository.clone(), place.source());
        async move { ops::backup(&repository, source, often, panicking).await.map(drop) }
    });
    assert!(result.await.is_err());
    let repository = place.repository.clone();
    let left = blocking(move || repository.snapshots().unwrap().into_live().unwrap()).await;
    let partial = left.last().unwrap();
    assert_eq!(partial.status, packstone::format::Status::Partial);
    let records = partial.roots[0].records;
    assert!(records > 500, "{records}");
    let repository = open(&place.tree.with_file_name("repository")).await;
    let summary = ops::backup(&repository, place.source(), options(), Arc::new(Silent)).await.unwrap();
    let (new, _, unmodified) = files(&summary);
    assert_eq!(new + unmodified, 2000);
    assert!(unmodified > 400, "{unmodified}");
    assert_eq!(summary.snapshot.statistics.bytes_read, new * 2000);
    let left = blocking({
        let repository = repository.clone();
        move || repository.snapshots().unwrap().into_live().unwrap()
    });
    assert_eq!(left.await.len(), 1);
    assert!(check_all(&repository).await.is_sound());
}

/// Panics when so many files are stored.
struct FailAfter(u64);

impl Observer for FailAfter {
    fn event(&self, event: Event<'_>) {
        if let Event::Files { files, .. } = event {
            assert!(files < self.0, "as a test wants it");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_snapshot_and_the_complete_one_before_it_are_both_compared_with() {
    let place = Place::new().await;
    for number in 0..1500 {
        place.write(&format!("{number:04}"), noise(number, 500));
    }
    settle();
    place.backup().await;
    for number in 0..700 {
        place.write(&format!("{number:04}"), noise(number + 5000, 501));
    }
    settle();
    let often = BackupOptions { partial_every: Duration::ZERO, ..options() };
    let failing: Arc<dyn Observer> = Arc::new(FailAfter(1000));
    let result = tokio::spawn({
        let (repository, source) = (place.repository.clone(), place.source());
        async move { ops::backup(&repository, source, often, failing).await.map(drop) }
    });
    assert!(result.await.is_err());
    let summary = place.backup().await;
    let read = summary.snapshot.statistics.bytes_read;
    assert!(read < 300 * 501, "{read}");
    assert_eq!(figure(&summary, "total_files"), 1500);
    let entries = place.entries(&summary).await;
    for number in [0, 300, 699, 700, 1499] {
        let expected = if number < 700 { noise(number + 5000, 501) } else { noise(number, 500) };
        assert_eq!(place.content(&entries[Path::new(&format!("{number:04}"))]).await, expected.into_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_lost_chunks_gets_them_again() {
    let place = Place::new().await;
    place.write("a", noise(1, 400_000));
    place.write("b", noise(2, 3 << 20));
    settle();
    place.backup().await;
    let folder = place.tree.with_file_name("repository");
    // Packs of chunks are the large ones; the index is made anew from those that are left.
    for pack in fs::read_dir(folder.join("packs")).unwrap().flat_map(|sub| fs::read_dir(sub.unwrap().path()).unwrap()) {
        let pack = pack.unwrap();
        if pack.metadata().unwrap().len() > 300_000 {
            fs::remove_file(pack.path()).unwrap();
        }
    }
    let repository = open(&folder).await;
    ops::repair_index(&repository, false, Arc::new(Silent)).await.unwrap();
    let repository = open(&folder).await;
    let summary = ops::backup(&repository, place.source(), options(), Arc::new(Silent)).await.unwrap();
    assert_eq!(summary.snapshot.statistics.bytes_read, 400_000 + (3 << 20));
    verify(&repository, &summary).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_pages_are_cut_at_fixed_runs_where_the_user_says_so() {
    let mut place = Place::new().await;
    place.options.page_files = vec!["*.img".to_owned()];
    let (large, small) = (noise(1, 3 << 20), noise(2, 200_000));
    for (name, content) in [("a.img", &large), ("b.img", &small), ("large", &large)] {
        place.write(name, content);
    }
    let summary = place.backup().await;
    let entries = place.entries(&summary).await;
    let repository = place.repository.clone();
    blocking(move || {
        let lengths = |name: &str| -> Vec<u32> {
            extents(&repository, &entries[Path::new(name)]).iter().map(|extent| extent.length).collect()
        };
        assert_eq!(lengths("a.img"), [65_536; 48]);
        assert_eq!(lengths("b.img"), [65_536, 65_536, 65_536, 3392]);
        assert!(lengths("large").len() < 48);
        assert_eq!(content(&repository, &entries[Path::new("a.img")]), large.into_bytes());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_beside_the_way_to_a_tree_changes_nothing() {
    let place = Place::new().await;
    place.write("a", noise(1, 500));
    settle();
    let first = place.backup().await;
    settle();
    let above = place.tree.parent().unwrap().to_owned();
    fs::write(above.join("beside"), "").unwrap();
    let second = place.backup().await;
    assert_eq!(second.snapshot.roots[0].id, first.snapshot.roots[0].id);
    assert_eq!(second.snapshot.statistics.packs_written, 0);
    fs::set_permissions(&above, fs::Permissions::from_mode(0o751)).unwrap();
    let third = place.backup().await;
    assert_ne!(third.snapshot.roots[0].id, first.snapshot.roots[0].id, "other than times it is kept");
}
