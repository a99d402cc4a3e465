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

async fn entries(repository: &Repository, summary: &BackupSummary) -> BTreeMap<PathBuf, Entry> {
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

fn content(repository: &Repository, entry: &Entry) -> Vec<u8> {
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
