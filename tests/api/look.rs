//! Looking inside snapshots of directory trees.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use packstone::ErrorKind;
use packstone::format::{NamedRoot, RetentionClass, Snapshot, Statistics, Status};
use packstone::id::{BlobId, SnapshotId};
use packstone::ops::{
    self, Case, Criteria, FileDiffOptions, FileTree, FilesSource, FindOptions, ListOptions, ListOrder, Pattern,
    SizeTest, SnapshotPath, Source, Wanted, What,
};
use packstone::progress::Silent;
use packstone::record::entry::{self, Body, Content, Entry, Owner, Time};
use packstone::record::{self, Entries, Extent, Extents, Reference, Subtree};
use packstone::repository::{Reader, Repository, Writer, WriterOptions};
use packstone::tree::{self, Builder, Next, Root, Visit};

use crate::fixtures::{blocking, create, noise, open, options};

fn key(path: &str) -> Vec<u8> {
    entry::key_of_path(Path::new(path)).unwrap()
}

fn plain(body: Body, seed: u64) -> Entry {
    let seconds = i64::try_from(seed % 1000).unwrap();
    Entry {
        body,
        mode: 0o755,
        owner: Owner::default(),
        mtime: Time { seconds, nanos: 5 },
        ctime: Time { seconds: 1_700_000_000, nanos: 7 },
        atime: None,
        inode: blake3_number(seed),
        link: None,
        xattrs: Vec::new(),
    }
}

fn blake3_number(seed: u64) -> u64 {
    u64::from_le_bytes(*blake3::hash(&seed.to_le_bytes()).as_bytes().first_chunk().unwrap())
}

fn directory(seed: u64) -> Entry {
    plain(Body::Directory, seed)
}

/// A file of this length whose only chunk is of its own.
fn file(writer: &mut Writer, seed: u64, len: usize) -> Entry {
    let bytes = noise(seed, len);
    let content = if len <= entry::INLINE_CONTENT_MAX {
        Content::Inline(bytes.into_bytes())
    } else {
        let id = writer.write_chunk(Bytes::from(bytes)).unwrap();
        Content::Extents(vec![Extent { offset: 0, length: u32::try_from(len).unwrap(), id }])
    };
    plain(Body::File { size: len as u64, content }, seed)
}

fn named(root: Root) -> NamedRoot {
    let Root { kind, id, level, records, row_bytes, summary } = root;
    NamedRoot { name: "files".to_owned(), kind, id, level, records, row_bytes, summary, digest: Vec::new() }
}

/// Stores a snapshot of these entries.
fn store(
    repository: &Repository,
    time_ms: i64,
    fill: impl FnOnce(&mut Writer) -> BTreeMap<Vec<u8>, Entry>,
) -> Snapshot {
    let mut writer = repository.writer(WriterOptions::default()).unwrap();
    let entries = fill(&mut writer);
    let parameters = repository.tree_parameters(&Entries);
    let mut builder = Builder::new(&parameters);
    for (key, entry) in &entries {
        let _ = builder.push(&mut writer, key, &entry.encode()).unwrap();
    }
    let root = builder.finish(&mut writer).unwrap();
    let snapshot = Snapshot {
        id: writer.id(),
        time_ms,
        host: "host".to_owned(),
        user: "user".to_owned(),
        label: "label".to_owned(),
        tags: Vec::new(),
        program: "test".to_owned(),
        sources: Vec::new(),
        status: Status::Complete,
        roots: vec![named(root)],
        parent: None,
        previous: None,
        cursor: Vec::new(),
        gc_checked: writer.gc_checked(),
        class: RetentionClass::Standard,
        skipped: Vec::new(),
        skipped_count: 0,
        statistics: Statistics::default(),
        properties: Vec::new(),
    };
    let commit = writer.commit(&snapshot).unwrap();
    assert!(matches!(commit, packstone::repository::Commit::Done), "{commit:?}");
    snapshot
}

async fn stored(
    repository: &Repository,
    time_ms: i64,
    fill: impl FnOnce(&mut Writer) -> BTreeMap<Vec<u8>, Entry> + Send + 'static,
) -> Snapshot {
    let repository = repository.clone();
    blocking(move || store(&repository, time_ms, fill)).await
}

/// Directories `d0` ... with names that sort around the separator, files in each.
fn wide(directories: u64, files: u64) -> BTreeMap<Vec<u8>, Entry> {
    let mut entries = BTreeMap::from([(Vec::new(), directory(0))]);
    for d in 0..directories {
        let parent = key(&format!("/d{d}"));
        entries.insert(parent.clone(), directory(d));
        entries.insert([&parent[..], b"\x01x"].concat(), plain(Body::Fifo, d));
        for f in 0..files {
            let body = Body::File { size: 1000 + f, content: Content::Extents(Vec::new()) };
            entries.insert(entry::child_key(&parent, format!("f{f:05}").as_bytes()), plain(body, d * files + f));
        }
    }
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_listed_without_what_is_below_its_directories() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let repository = create(&path).await;
    let entries = wide(2, 150_000);
    let filled = entries.clone();
    let snapshot = stored(&repository, 1, move |_| filled).await;
    let read = |work: fn(&FileTree) -> usize| {
        let path = path.clone();
        async move {
            let repository = open(&path).await;
            blocking(move || {
                let tree = FileTree::open(&repository, snapshot.id).unwrap();
                let before = repository.store().requests().read_bytes;
                let count = work(&tree);
                (count, repository.store().requests().read_bytes - before)
            })
            .await
        }
    };
    let (listed, few) = read(|tree| tree.children(b"").unwrap().map(Result::unwrap).count()).await;
    let (walked, all) = read(|tree| tree.walk(b"").unwrap().map(Result::unwrap).count()).await;
    assert_eq!((listed, walked), (4, entries.len()));
    assert!(few * 2 < all, "{few} of {all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn children_are_those_of_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let mut entries = BTreeMap::from([(Vec::new(), directory(0))]);
    let mut directories = vec![Vec::new()];
    for seed in 1..30_000_u64 {
        let random = blake3_number(seed);
        // The first directories get the most.
        let pick = usize::try_from(random % 1000 * (random / 1000 % 1000) / 1000).unwrap() * directories.len() / 1000;
        let name = noise(random, 1 + usize::try_from(random % 9).unwrap());
        let name = if random.is_multiple_of(7) { [name.as_bytes(), b"\x01"].concat() } else { name.into_bytes() };
        let path = entry::child_key(&directories[pick], &name);
        if entries.contains_key(&path) {
            continue;
        }
        if random.is_multiple_of(11) {
            directories.push(path.clone());
            entries.insert(path, directory(seed));
        } else {
            entries.insert(path, plain(Body::Socket, seed));
        }
    }
    let filled = entries.clone();
    let snapshot = stored(&repository, 1, move |_| filled).await;
    blocking(move || {
        let tree = FileTree::open(&repository, snapshot.id).unwrap();
        let mut expected: HashMap<Vec<u8>, Vec<(Vec<u8>, Entry)>> = HashMap::new();
        for (key, entry) in &entries {
            if let Some(parent) = entry::parent_of(key) {
                expected.entry(parent.to_vec()).or_default().push((key.clone(), entry.clone()));
            }
        }
        for directory in &directories {
            let listed: Vec<_> = tree.children(directory).unwrap().map(Result::unwrap).collect();
            assert_eq!(listed, expected.remove(directory).unwrap_or_default());
        }
        let walked: BTreeMap<_, _> = tree.walk(b"").unwrap().map(Result::unwrap).collect();
        assert!(walked == entries);
    })
    .await;
}

/// A file of many extents with holes between them, and what it holds.
fn holey(writer: &mut Writer, extents_count: u64) -> (Entry, Vec<u8>) {
    let (mut bytes, mut extents) = (Vec::new(), Vec::new());
    for seed in 0..extents_count {
        let random = blake3_number(seed);
        if random.is_multiple_of(3) {
            let hole = if random.is_multiple_of(5) { 3 << 20 } else { random % 9000 };
            bytes.resize(bytes.len() + usize::try_from(hole).unwrap(), 0);
        }
        let chunk = noise(seed, 1 + usize::try_from(random % 5000).unwrap());
        let id = writer.write_chunk(Bytes::from(chunk.clone())).unwrap();
        let (offset, length) = (bytes.len() as u64, u32::try_from(chunk.len()).unwrap());
        extents.push(Extent { offset, length, id });
        bytes.extend_from_slice(chunk.as_bytes());
    }
    bytes.resize(bytes.len() + 100_000, 0);
    let parameters = writer.repository().tree_parameters(&Extents);
    let mut builder = Builder::new(&parameters);
    for extent in &extents {
        let _ = builder.push(writer, &extent.key(), &extent.value()).unwrap();
    }
    let Root { kind, id, level, records, row_bytes, summary } = builder.finish(writer).unwrap();
    let content = match extents.len() {
        0..=entry::INLINE_EXTENTS_MAX => Content::Extents(extents),
        _ => Content::Tree(Subtree { kind, id: id.unwrap(), level, records, row_bytes, summary }),
    };
    (plain(Body::File { size: bytes.len() as u64, content }, 1), bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_from_any_offset() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let model = Arc::new(Mutex::new(Vec::new()));
    let filled = model.clone();
    let snapshot = stored(&repository, 1, move |writer| {
        let mut entries = BTreeMap::new();
        for (name, extents) in [("/a", 0), ("/b", 9), ("/c", 17), ("/d", 120)] {
            let (entry, bytes) = holey(writer, extents);
            filled.lock().unwrap().push((key(name), bytes));
            entries.insert(key(name), entry);
        }
        let entry = file(writer, 5, 100);
        filled.lock().unwrap().push((key("/e"), noise(5, 100).into_bytes()));
        entries.insert(key("/e"), entry);
        entries
    })
    .await;
    let model = model.lock().unwrap().clone();
    blocking(move || {
        let tree = FileTree::open(&repository, snapshot.id).unwrap();
        for (key, expected) in &model {
            let entry = tree.entry(key).unwrap();
            let mut whole = Vec::new();
            tree.content(&entry).unwrap().read_to_end(&mut whole).unwrap();
            assert!(whole == *expected, "{key:?}");
            let mut one = tree.content(&entry).unwrap();
            for seed in 0..200 {
                let random = blake3_number(seed);
                let offset = usize::try_from(random).unwrap_or(usize::MAX) % (expected.len() + 10);
                let mut buffer = vec![1; usize::try_from(random % 20_000).unwrap()];
                let end = (offset + buffer.len()).min(expected.len());
                let wanted = expected.get(offset..end).unwrap_or_default();
                let len = tree.read_at(&entry, offset as u64, &mut buffer).unwrap();
                assert!(buffer[..len] == *wanted, "{key:?} {offset}");
                // The same from one reader that is moved about.
                one.seek(offset as u64).unwrap();
                let mut again = Vec::new();
                (&mut one).take(wanted.len() as u64).read_to_end(&mut again).unwrap();
                assert!(again == *wanted, "{key:?} {offset}");
            }
        }
        let error = tree.entry(&key("/x/y")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    })
    .await;
}

async fn listed(
    repository: &Repository,
    snapshot: SnapshotId,
    options: ListOptions,
) -> packstone::Result<Vec<PathBuf>> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let sink = found.clone();
    ops::ls(repository, snapshot, options, move |key, _| {
        sink.lock().unwrap().push(entry::path_of_key(key));
        Ok(())
    })
    .await?;
    Ok(found.lock().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_sorted_and_of_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let snapshot = stored(&repository, 1, |writer| {
        BTreeMap::from([
            (key("/"), directory(0)),
            (key("/a"), directory(500)),
            (key("/a/b"), directory(3)),
            (key("/a/b/c"), file(writer, 2, 10)),
            (key("/a/d"), file(writer, 900, 1000)),
            (key("/e"), file(writer, 1, 30)),
        ])
    })
    .await;
    let check = async |paths: &[&str], recursive, order, reverse, expected: &[&str]| {
        let paths = paths.iter().map(PathBuf::from).collect();
        let options = ListOptions { paths, recursive, order, reverse, ..ListOptions::default() };
        let found = listed(&repository, snapshot.id, options).await.unwrap();
        let expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
        assert_eq!(found, expected);
    };
    use ListOrder::{Path, Size, Time};
    check(&[], false, Path, false, &["/", "/a", "/a/b", "/a/b/c", "/a/d", "/e"]).await;
    check(&["/"], false, Path, false, &["/", "/a", "/e"]).await;
    check(&["/a"], false, Path, false, &["/a", "/a/b", "/a/d"]).await;
    check(&["a", "/a/b/", "/e"], false, Path, false, &["/a", "/a/b", "/a/d", "/a/b/c", "/e"]).await;
    check(&["/a", "/a/b"], true, Path, false, &["/a", "/a/b", "/a/b/c", "/a/d"]).await;
    check(&["/a/d"], false, Path, false, &["/a/d"]).await;
    check(&[], false, Path, true, &["/e", "/a/d", "/a/b/c", "/a/b", "/a", "/"]).await;
    check(&[], false, Size, false, &["/a/d", "/e", "/a/b/c", "/", "/a", "/a/b"]).await;
    check(&["/a"], true, Time, false, &["/a/d", "/a", "/a/b", "/a/b/c"]).await;
    check(&["/a"], true, Time, true, &["/a/b/c", "/a/b", "/a", "/a/d"]).await;
    let missing = ListOptions { paths: vec!["/a/x/y".into()], ..ListOptions::default() };
    let error = listed(&repository, snapshot.id, missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        format!("snapshot {}:/a/x/y: no such path; the nearest that there is: /a", snapshot.id.short())
    );
}

/// Five snapshots, each a little different from the one before.
async fn history(repository: &Repository) -> Vec<(Snapshot, BTreeMap<Vec<u8>, Entry>)> {
    let mut history = Vec::new();
    let mut entries: BTreeMap<Vec<u8>, Entry> = BTreeMap::new();
    for day in 0..5_u64 {
        let before = entries.clone();
        let shared = Arc::new(Mutex::new(BTreeMap::new()));
        let told = shared.clone();
        let snapshot = stored(repository, i64::try_from(day).unwrap(), move |writer| {
            let mut entries = before;
            entries.insert(Vec::new(), directory(0));
            for d in 0..20_u64 {
                entries.insert(key(&format!("/d{d}")), directory(d));
            }
            for n in 0..if day == 0 { 3000_u64 } else { 150 } {
                let random = blake3_number(day * 10_000 + n);
                let path = key(&format!("/d{}/file{}.{}", random % 20, random / 20 % 400, random % 3));
                if random.is_multiple_of(4) {
                    entries.remove(&path);
                } else {
                    let len = usize::try_from(random / 7 % 700).unwrap();
                    let entry = file(writer, random % 5000, len);
                    entries.insert(path, entry);
                }
            }
            told.lock().unwrap().clone_from(&entries);
            entries
        })
        .await;
        entries.clone_from(&shared.lock().unwrap());
        history.push((snapshot, entries.clone()));
    }
    history
}

async fn found(repository: &Repository, ids: Vec<SnapshotId>, options: FindOptions) -> Vec<(SnapshotId, Vec<Vec<u8>>)> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let sink = found.clone();
    ops::find(repository, ids, options, Arc::new(Silent), move |found| {
        let keys = found.paths().map(|path| path.unwrap().0.to_vec()).collect();
        sink.lock().unwrap().push((found.snapshot.id, keys));
        Ok(())
    })
    .await
    .unwrap();
    found.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_by_diffing_is_what_walking_would_find() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let history = history(&repository).await;
    let ids: Vec<_> = history.iter().rev().map(|(snapshot, _)| snapshot.id).collect();
    let seconds = |seconds| Time { seconds, nanos: 5 };
    let pattern = |text| vec![Pattern::parse(text, Case::Matters).unwrap()];
    type Matches = fn(&[u8], &Entry) -> bool;
    let cases: [(Criteria, Matches); 5] = [
        (Criteria { patterns: pattern("file1*.2"), ..Criteria::default() }, |key, _| {
            let name = String::from_utf8_lossy(entry::name_of(key));
            name.starts_with("file1") && name.ends_with(".2")
        }),
        (Criteria { patterns: pattern("/d3/*.1"), ..Criteria::default() }, |key, _| {
            key.starts_with(b"d3\0") && key.ends_with(b".1")
        }),
        (Criteria { sizes: vec![SizeTest::Above(650)], ..Criteria::default() }, |_, entry| entry.size() > 650),
        (Criteria { sizes: vec![SizeTest::Below(5), SizeTest::Above(2)], ..Criteria::default() }, |_, entry| {
            (3..5).contains(&entry.size())
        }),
        (Criteria { oldest: Some(seconds(990)), newest: Some(seconds(995)), ..Criteria::default() }, |_, entry| {
            (990..=995).contains(&entry.mtime.seconds)
        }),
    ];
    for (criteria, matches) in cases {
        let options = FindOptions { criteria, wanted: Wanted::default() };
        let got = found(&repository, ids.clone(), options).await;
        let expected = history.iter().map(|(snapshot, entries)| {
            let keys = entries.iter().filter(|(key, entry)| matches(key, entry)).map(|(key, _)| key.clone());
            (snapshot.id, keys.collect::<Vec<_>>())
        });
        let expected: Vec<_> = expected.filter(|(_, keys)| !keys.is_empty()).collect();
        assert!(!expected.is_empty());
        assert_eq!(got, expected);
    }
}

fn chunks(entry: &Entry) -> Vec<BlobId> {
    match &entry.body {
        Body::File { content: Content::Extents(extents), .. } => extents.iter().map(|extent| extent.id).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_found_by_the_blobs_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let history = history(&repository).await;
    let ids: Vec<_> = history.iter().map(|(snapshot, _)| snapshot.id).collect();
    let blob = history[2].1.values().flat_map(chunks).next().unwrap();
    let wanted = Wanted { blobs: vec![blob.to_string()[..20].parse().unwrap()], packs: Vec::new() };
    let got = found(&repository, ids.clone(), FindOptions { criteria: Criteria::default(), wanted }).await;
    let expected = history.iter().map(|(snapshot, entries)| {
        let keys = entries.iter().filter(|(_, entry)| chunks(entry).contains(&blob)).map(|(key, _)| key.clone());
        (snapshot.id, keys.collect::<Vec<_>>())
    });
    let expected: Vec<_> = expected.filter(|(_, keys)| !keys.is_empty()).collect();
    assert_eq!(got, expected);
    // The pack that holds the chunk holds others too; that of the root holds nodes.
    let (pack, together) = {
        let index = repository.index().read().unwrap();
        let location = index.find_anywhere(&blob).unwrap();
        let frames = &location.indexed_pack().directory.frames;
        let ids: HashSet<_> = frames.iter().flat_map(|frame| &frame.blobs).map(|blob| blob.id).collect();
        (location.pack(), ids)
    };
    let wanted = Wanted { blobs: Vec::new(), packs: vec![pack.to_string().parse().unwrap()] };
    let got = found(&repository, ids[2..3].to_vec(), FindOptions { criteria: Criteria::default(), wanted }).await;
    let holds = |entry: &Entry| chunks(entry).iter().any(|id| together.contains(id));
    let expected: Vec<_> = history[2].1.iter().filter(|(_, entry)| holds(entry)).map(|(key, _)| key.clone()).collect();
    assert_eq!(got, [(ids[2], expected)]);
}

type Changes = Vec<(PathBuf, What)>;

fn collector() -> (Arc<Mutex<Changes>>, impl FnMut(ops::FileChange<'_>) -> packstone::Result<()> + Send + 'static) {
    let found = Arc::new(Mutex::new(Vec::new()));
    let sink = found.clone();
    (found, move |change| {
        sink.lock().unwrap().push((entry::path_of_key(change.key), change.what));
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_those_of_the_models() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let history = history(&repository).await;
    let ((a, before), (b, after)) = (&history[0], &history[4]);
    let place =
        |snapshot: &Snapshot, path: Option<&str>| SnapshotPath { snapshot: snapshot.id, path: path.map(PathBuf::from) };
    for top in [None, Some("/d7")] {
        let within = key(top.unwrap_or("/"));
        let is_in = |key: &[u8]| within.is_empty() || key == within || key.starts_with(&[&within[..], &[0]].concat());
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).filter(|key| is_in(key)).collect();
        let mut expected = Vec::new();
        let mut changed_files = 0;
        for key in keys {
            let what = match (before.get(key), after.get(key)) {
                (None, _) => What::Added,
                (_, None) => What::Removed,
                (Some(a), Some(b)) if a == b => continue,
                (Some(a), Some(b)) => {
                    let content = a.body != b.body;
                    changed_files += u64::from(content);
                    let metadata = a.mtime != b.mtime;
                    if !content && !metadata {
                        continue;
                    }
                    What::Changed { kind: false, content, metadata }
                }
            };
            expected.push((entry::path_of_key(key), what));
        }
        let (found, sink) = collector();
        let options = FileDiffOptions { metadata: true, content: false };
        let summary = ops::diff_files(&repository, place(a, top), place(b, top), options, sink).await.unwrap();
        assert!(expected.len() > 10);
        assert_eq!(*found.lock().unwrap(), expected);
        assert_eq!(summary.changed_files, changed_files);
        if top.is_none() {
            let sets = |entries: &BTreeMap<Vec<u8>, Entry>| entries.values().flat_map(chunks).collect::<HashSet<_>>();
            let (a, b) = (sets(before), sets(after));
            assert!(summary.added.chunks >= b.difference(&a).count() as u64);
            assert!(summary.removed.chunks >= a.difference(&b).count() as u64);
            assert!(summary.added.nodes > 0 && summary.removed.nodes > 0);
        }
    }
    // Of different paths, what is below them is compared.
    let (found, sink) = collector();
    let options = FileDiffOptions::default();
    ops::diff_files(&repository, place(b, Some("/d1")), place(b, Some("/d2")), options, sink).await.unwrap();
    let below = |top: &str| {
        let top = [&key(top)[..], &[0]].concat();
        let found = after.iter().filter_map(|(key, entry)| Some((key.strip_prefix(&top[..])?, entry)));
        found.map(|(key, entry)| (entry::path_of_key(key), entry.body.clone())).collect::<BTreeMap<_, _>>()
    };
    let (one, two) = (below("/d1"), below("/d2"));
    let found: BTreeMap<_, _> = found.lock().unwrap().iter().cloned().collect();
    let paths: BTreeSet<_> = one.keys().chain(two.keys()).collect();
    for path in paths {
        let expected = match (one.get(path), two.get(path)) {
            (None, _) => Some(What::Added),
            (_, None) => Some(What::Removed),
            (a, b) if a == b => None,
            _ => Some(What::Changed { kind: false, content: true, metadata: false }),
        };
        assert_eq!(found.get(path), expected.as_ref(), "{path:?}");
    }
}

async fn back_up(repository: &Repository, path: &Path) -> SnapshotId {
    let source = Source::Files(FilesSource::new(vec![path.to_owned()]));
    ops::backup(repository, source, options(), Arc::new(Silent)).await.unwrap().snapshot.id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_compared_with_a_snapshot_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let top = folder.path().join("top");
    std::fs::create_dir_all(top.join("a")).unwrap();
    for (name, len) in [("a/gone", 10), ("a/small", 100), ("large", 3_000_000), ("same", 3_000_000)] {
        std::fs::write(top.join(name), noise(len as u64, len)).unwrap();
    }
    std::os::unix::fs::symlink("here", top.join("link")).unwrap();
    let snapshot = back_up(&repository, &top).await;
    let compare = async |path: Option<&str>, directory: PathBuf, content| {
        let (found, sink) = collector();
        let place = SnapshotPath { snapshot, path: path.map(PathBuf::from) };
        let options = FileDiffOptions { metadata: false, content };
        ops::diff_directory(&repository, place, directory, options, sink).await.unwrap();
        found.lock().unwrap().clone()
    };
    assert_eq!(compare(None, top.clone(), true).await, []);
    // Other bytes, the same size and time.
    for name in ["large", "a/small"] {
        let file = std::fs::File::options().write(true).open(top.join(name)).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"!", 50).unwrap();
        file.set_modified(modified).unwrap();
    }
    let changed = What::Changed { kind: false, content: true, metadata: false };
    assert_eq!(compare(None, top.clone(), false).await, []);
    let expected = [(top.join("a/small"), changed), (top.join("large"), changed)];
    assert_eq!(compare(None, top.clone(), true).await, expected);
    // Touched: read even without being told to.
    std::fs::File::options()
        .write(true)
        .open(top.join("large"))
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    std::fs::File::options()
        .write(true)
        .open(top.join("same"))
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    std::fs::remove_file(top.join("a/gone")).unwrap();
    std::fs::remove_file(top.join("link")).unwrap();
    std::os::unix::fs::symlink("there", top.join("link")).unwrap();
    std::fs::create_dir(top.join("new")).unwrap();
    let expected = [
        (top.join("a/gone"), What::Removed),
        (top.join("large"), changed),
        (top.join("link"), changed),
        (top.join("new"), What::Added),
    ];
    assert_eq!(compare(None, top.clone(), false).await, expected);
    // A copy elsewhere, compared with a part of the snapshot.
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::write(copy.join("small"), noise(100, 100)).unwrap();
    let part = top.join("a");
    let expected = [(PathBuf::from("/gone"), What::Removed)];
    assert_eq!(compare(part.to_str(), copy, false).await, expected);
}

/// All that a snapshot reaches, found the simplest way.
fn reached(reader: &Reader, snapshot: &Snapshot) -> HashSet<BlobId> {
    fn walk(reader: &Reader, root: &Root, found: &mut HashSet<BlobId>) {
        let kind = record::kind(root.kind).unwrap();
        let parameters = reader.repository().tree_parameters(kind);
        let mut references = Vec::new();
        tree::walk_nodes(reader, &parameters, root, &mut |visit| {
            if let Visit::Read { id, node } = visit {
                found.insert(id);
                if node.level == 0 {
                    node.rows.iter().for_each(|(key, value)| kind.references(key, value, &mut references).unwrap());
                }
            }
            Ok(Next::Descend)
        })
        .unwrap();
        for reference in references {
            match reference {
                Reference::Chunk(id) => drop(found.insert(id)),
                Reference::Tree(tree) => walk(reader, &Root::from(tree), found),
                Reference::List(_) => panic!("files have no lists"),
            }
        }
    }
    let mut found = HashSet::new();
    for NamedRoot { kind, id, level, records, row_bytes, summary, .. } in snapshot.roots.clone() {
        walk(reader, &Root { kind, id, level, records, row_bytes, summary }, &mut found);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_forgetting_frees_is_what_no_other_snapshot_reaches() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let history = history(&repository).await;
    let ids: Vec<_> = history.iter().map(|(snapshot, _)| snapshot.id).collect();
    let sizes = ops::snapshot_sizes(&repository, ids.clone(), Arc::new(Silent)).await.unwrap();
    let snapshots: Vec<_> = history.iter().map(|(snapshot, _)| snapshot.clone()).collect();
    let (shared, models) = (repository.clone(), history.clone());
    blocking(move || {
        let reader = shared.reader();
        let reached: Vec<_> = snapshots.iter().map(|snapshot| reached(&reader, snapshot)).collect();
        let index = shared.index().read().unwrap();
        let bytes = |id: &BlobId| {
            let location = index.find_anywhere(id).unwrap();
            let frame = location.frame();
            u64::from(frame.sealed_len) * u64::from(location.blob().stored_len) / u64::from(frame.raw_len)
        };
        for (i, size) in sizes.iter().enumerate() {
            let others = reached.iter().enumerate().filter(|(j, _)| *j != i);
            let others: HashSet<_> = others.flat_map(|(_, blobs)| blobs.iter().copied()).collect();
            let own: HashSet<_> = reached[i].difference(&others).collect();
            assert_eq!(size.snapshot.id, snapshots[i].id);
            assert_eq!((size.blobs, size.exclusive_blobs), (reached[i].len() as u64, own.len() as u64));
            assert_eq!(size.stored_bytes, reached[i].iter().map(bytes).sum::<u64>());
            assert_eq!(size.exclusive_bytes, own.iter().map(|id| bytes(id)).sum::<u64>());
            assert!(size.exclusive_bytes > 0 && size.exclusive_bytes < size.stored_bytes);
            let files = models[i].1.values().filter(|entry| matches!(entry.body, Body::File { .. }));
            assert_eq!(size.restore.files, files.clone().count() as u64);
            assert_eq!(size.restore.bytes, files.map(Entry::size).sum::<u64>());
        }
    })
    .await;
    let different: HashSet<_> = history
        .iter()
        .flat_map(|(_, entries)| entries.values())
        .filter_map(|entry| match &entry.body {
            Body::File { content: Content::Inline(bytes), .. } => Some((entry.size(), bytes.clone())),
            Body::File { content: Content::Extents(extents), .. } => {
                Some((entry.size(), extents[0].id.as_bytes().to_vec()))
            }
            _ => None,
        })
        .collect();
    let sum = ops::different_files(&repository, ids, 16 << 20, None, Arc::new(Silent)).await.unwrap();
    assert_eq!(sum.files, different.len() as u64);
    assert_eq!(sum.bytes, different.iter().map(|(size, _)| size).sum::<u64>());
}
