//! Ten million small files, in metadata: `cargo bench --bench many_files -- [FILES] [FILES_IN_A_DIRECTORY]`.
//!
//! The entries are synthetic and have no content. They are backed up once into a repository on the local backend, then
//! again next to the walk through what is there, as an unchanged backup does; then one directory is listed and one name is
//! looked for everywhere. `benches/many_files.py` does the same with real files and the program.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark fails by panicking and prints its figures")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use packstone::backend::LocalBackend;
use packstone::format::{NamedRoot, RetentionClass, Snapshot, Statistics, Status};
use packstone::record::Entries;
use packstone::record::entry::{Body, Content, Entry, Owner, Time, child_key, children, key_of_path, name_of};
use packstone::repository::{Commit, CreateOptions, Reader, Repository, Secret, Writer, WriterOptions};
use packstone::tree::{Builder, KeyRange, Root, TreeParameters, Walker};

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let source = Synthetic {
        files: numbers.first().copied().unwrap_or(10_000_000),
        in_directory: numbers.get(1).copied().unwrap_or(1000),
    };
    let memory = Memory::watch();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    // Kept to the end: the backend works on its threads.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let repository = runtime.block_on(async {
        let backend = LocalBackend::create(&path).await.unwrap();
        Repository::create(Arc::new(backend), Secret::key_file(vec![1; 32]), CreateOptions::default()).await.unwrap()
    });
    let parameters = repository.tree_parameters(&Entries);

    let first = measured("first backup", source.files, &memory, || first(&repository, &parameters, &source));
    println!("  {} B of repository, {} levels", size_of(&path), first.level + 1);
    let stored = size_of(&path);
    let again =
        measured("unchanged backup", source.files, &memory, || unchanged(&repository, &parameters, &source, &first));
    assert!(again == first, "the same entries are the same tree");
    println!("  {} B added", size_of(&path) - stored);

    let reader = repository.reader();
    let directory = source.directory(source.directories() / 2);
    let inside = source.in_directory.min(source.files);
    let listed = measured("ls of one directory", inside, &memory, || list(&reader, &parameters, &first, &directory));
    assert_eq!(listed, inside, "entries of the directory");
    let name = source.name(source.files * 2 / 3);
    let found = measured("find by name", source.files, &memory, || find(&reader, &parameters, &first, name.as_bytes()));
    assert_eq!(found, 1, "every name is there once");
}

/// Files in directories in one directory, in the order of their keys.
struct Synthetic {
    files: u64,
    in_directory: u64,
}

impl Synthetic {
    fn directories(&self) -> u64 {
        self.files.div_ceil(self.in_directory)
    }

    fn directory(&self, n: u64) -> Vec<u8> {
        key_of_path(Path::new(&format!("/srv/mail/{n:06}"))).unwrap()
    }

    fn name(&self, n: u64) -> String {
        format!("{n:09}.{:08x}.eml", scatter(n) >> 32)
    }

    /// Calls back with key and encoded entry of everything.
    fn read(&self, mut each: impl FnMut(&[u8], &[u8])) {
        let mut value = Vec::new();
        for above in ["/", "/srv", "/srv/mail"] {
            entry(0, Body::Directory).encode_to(&mut value);
            each(&key_of_path(Path::new(above)).unwrap(), &value);
            value.clear();
        }
        let mut directory = Vec::new();
        for n in 0..self.files {
            if n % self.in_directory == 0 {
                directory = self.directory(n / self.in_directory);
                entry(n, Body::Directory).encode_to(&mut value);
                each(&directory, &value);
                value.clear();
            }
            entry(n, Body::File { size: 0, content: Content::Inline(Vec::new()) }).encode_to(&mut value);
            each(&child_key(&directory, self.name(n).as_bytes()), &value);
            value.clear();
        }
    }
}

/// An entry as files have them that were written one after the other and now and then changed.
fn entry(n: u64, body: Body) -> Entry {
    let chance = scatter(n);
    let mtime =
        Time { seconds: 1_600_000_000 + (n / 50 + chance % 1000).cast_signed(), nanos: (chance % 999_999_937) as u32 };
    Entry {
        body,
        mode: 0o644,
        owner: Owner { uid: 1000, gid: 1000, user: "mail".to_owned(), group: "mail".to_owned() },
        mtime,
        ctime: Time { seconds: mtime.seconds, nanos: mtime.nanos / 2 },
        atime: None,
        inode: 1_000_000 + n * 3 + chance % 3,
        link: None,
        xattrs: Vec::new(),
    }
}

fn scatter(n: u64) -> u64 {
    let n = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n ^ (n >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn first(repository: &Repository, parameters: &TreeParameters, source: &Synthetic) -> Root {
    let mut writer = repository.writer(WriterOptions::default()).unwrap();
    let mut builder = Builder::new(parameters);
    source.read(|key, value| {
        let _ = builder.push(&mut writer, key, value).unwrap();
    });
    let root = builder.finish(&mut writer).unwrap();
    commit(writer, &root);
    root
}

/// Reads what is there beside the source and takes over what is the same.
fn unchanged(repository: &Repository, parameters: &TreeParameters, source: &Synthetic, parent: &Root) -> Root {
    let mut writer = repository.writer(WriterOptions::default()).unwrap();
    let reader = repository.reader();
    let mut walker = Walker::new(&reader, parameters, parent, KeyRange::all()).unwrap();
    let mut builder = Builder::new(parameters);
    let mut differ = 0;
    source.read(|key, value| {
        let same = walker.next_record().unwrap() == Some((key, value));
        differ += u64::from(!same);
        let _ = builder.push(&mut writer, key, value).unwrap();
    });
    assert_eq!(differ, 0, "nothing has changed");
    let root = builder.finish(&mut writer).unwrap();
    commit(writer, &root);
    root
}

fn list(reader: &Reader, parameters: &TreeParameters, root: &Root, directory: &[u8]) -> u64 {
    let (from, to) = children(directory);
    let mut walker = Walker::new(reader, parameters, root, KeyRange { from, to }).unwrap();
    let mut count = 0;
    while let Some((_, value)) = walker.next_record().unwrap() {
        Entry::decode(value).unwrap();
        count += 1;
    }
    count
}

fn find(reader: &Reader, parameters: &TreeParameters, root: &Root, name: &[u8]) -> u64 {
    let mut walker = Walker::new(reader, parameters, root, KeyRange::all()).unwrap();
    let mut count = 0;
    while let Some((leaf, rows)) = walker.next_leaf().unwrap() {
        count += rows.filter(|&row| name_of(leaf.rows.key(row)) == name).count() as u64;
    }
    count
}

fn commit(mut writer: Writer, root: &Root) {
    writer.flush().unwrap();
    let root = NamedRoot {
        name: "files".to_owned(),
        kind: root.kind,
        id: root.id,
        level: root.level,
        records: root.records,
        row_bytes: root.row_bytes,
        summary: root.summary.clone(),
        digest: Vec::new(),
    };
    let snapshot = Snapshot {
        id: writer.id(),
        time_ms: 0,
        host: "bench".to_owned(),
        user: String::new(),
        label: "bench".to_owned(),
        tags: Vec::new(),
        program: "bench".to_owned(),
        sources: Vec::new(),
        status: Status::Complete,
        roots: vec![root],
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
    assert!(matches!(writer.commit(&snapshot).unwrap(), Commit::Done), "nobody prunes here");
}

fn measured<T>(what: &str, files: u64, memory: &Memory, work: impl FnOnce() -> T) -> T {
    memory.forget();
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let result = work();
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{what}: {files} files, {seconds:.2} s, {:.2} CPU s, {:.2} M files/s, peak anonymous {} MiB",
        cpu_seconds() - cpu,
        files as f64 / seconds / 1e6,
        memory.peak_kib() >> 10,
    );
    result
}

/// The most anonymous memory of this process since [`Memory::forget`], looked at every 20 ms.
struct Memory(Arc<AtomicU64>);

impl Memory {
    fn watch() -> Self {
        let peak = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&peak);
        thread::spawn(move || {
            while let Some(peak) = watched.upgrade() {
                peak.fetch_max(anonymous_kib(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self(peak)
    }

    fn forget(&self) {
        self.0.store(anonymous_kib(), Ordering::Relaxed);
    }

    fn peak_kib(&self) -> u64 {
        self.0.load(Ordering::Relaxed).max(anonymous_kib())
    }
}

fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn size_of(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() { size_of(&entry.path()) } else { entry.metadata().unwrap().len() }
        })
        .sum()
}
