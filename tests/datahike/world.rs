//! Real stores, and repositories to back them up to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packstone::backend::LocalBackend;
use packstone::datahike::{Head, Secret, Store, StoreKey};
use packstone::format::NamedRoot;
use packstone::ops::{self, BackupOptions, BackupSummary, DatahikeSource, DatomsSource, RestoreOptions, Source, View};
use packstone::progress::Silent;
use packstone::record::datom::{Value, edn};
use packstone::repository::{CreateOptions, Repository, Secret as RepositorySecret};
use packstone::source::datoms::Location;
use packstone::target::datoms::{self as target, Format};
use tempfile::TempDir;

/// A folder with a store of the fixtures in it.
pub struct Unpacked {
    folder: TempDir,
    name: String,
}

impl Unpacked {
    /// A store that stands in the repository.
    pub fn fixture(name: &str) -> Self {
        let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/datahike/{name}.tar.zst"));
        let name = if name == "a-small-history" { "store" } else { name };
        Self::of(&packed, name)
    }

    /// One folder of an archive.
    pub fn of(packed: &Path, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut decoder = zstd::stream::read::Decoder::new(std::fs::File::open(packed).unwrap()).unwrap();
        decoder.window_log_max(27).unwrap();
        for entry in tar::Archive::new(decoder).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().into_owned();
            let path = path.strip_prefix("./").unwrap_or(&path).to_string_lossy().into_owned();
            // Some archives name files twice, the second time as links to themselves.
            if entry.header().entry_type().is_hard_link() {
                continue;
            }
            if path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.'])) {
                entry.unpack_in(folder.path()).unwrap();
            }
        }
        Self { folder, name: name.to_owned() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    pub fn location(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    pub fn store(&self) -> Store {
        Store::open(&self.location(), self.secret()).unwrap()
    }

    /// The key of the one fixture that is encrypted.
    pub fn secret(&self) -> Option<Secret> {
        (self.name == "store-aes").then(|| Secret::text("s3cret"))
    }

    pub fn source(&self) -> DatahikeSource {
        DatahikeSource::new(self.location(), self.secret())
    }

    /// The head a branch had one commit ago: the bytes of its blob, and what they say.
    pub fn older_head(&self, branch: &str) -> (Vec<u8>, Head) {
        let store = self.store();
        let head = store.head(branch).unwrap();
        let [Value::Uuid(parent)] = head.parents.as_slice() else { panic!("one parent: {:?}", head.parents) };
        let blob = store.blob(StoreKey::address(parent)).unwrap().expect("the fixture keeps its commits");
        let older = Head::decode(branch, &blob).unwrap();
        // The value of the commit under the metadata of the branch.
        let now = std::fs::read(self.head_file(branch)).unwrap();
        let meta_len = u32::from_be_bytes(now[4..8].try_into().unwrap()) as usize;
        ([&now[..20 + meta_len], &blob.bytes].concat(), older)
    }

    pub fn head_file(&self, branch: &str) -> PathBuf {
        self.path().join(StoreKey::keyword(branch).file_name())
    }

    /// The heads of the main branch as files, oldest first, as far as their commits are kept and their nodes were not used
    /// again, each with its latest transaction.
    pub fn heads(&self, most: usize) -> Vec<(i64, Vec<u8>)> {
        let store = self.store();
        let now = std::fs::read(self.head_file("db")).unwrap();
        let meta_len = u32::from_be_bytes(now[4..8].try_into().unwrap()) as usize;
        let mut head = store.head("db").unwrap();
        let mut heads = vec![(head.max_tx, now.clone())];
        while heads.len() < most {
            let [Value::Uuid(parent)] = head.parents.as_slice() else { break };
            let Some(blob) = store.blob(StoreKey::address(parent)).unwrap() else { break };
            let Ok(older) = Head::decode("db", &blob) else { break };
            // The value of the older record under the metadata of the branch.
            heads.push((older.max_tx, [&now[..20 + meta_len], &blob.bytes].concat()));
            head = older;
        }
        heads.reverse();
        heads
    }

    /// Puts a head of the main branch in its place as Datahike does it.
    pub fn put_head(&self, bytes: &[u8]) {
        let new = self.head_file("db").with_extension("ksv.new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::rename(new, self.head_file("db")).unwrap();
    }

    /// Takes a branch back by one commit that has other datoms.
    pub fn rewind(&self, branch: &str) {
        let now = self.store().head(branch).unwrap();
        loop {
            let (bytes, older) = self.older_head(branch);
            std::fs::write(self.head_file(branch), bytes).unwrap();
            if older.eavt.address != now.eavt.address {
                return;
            }
        }
    }

    /// The database's own answer, where it came with the store.
    pub fn answer(&self, view: &str) -> Vec<String> {
        lines(&std::fs::read(self.folder.path().join(format!("{}.{view}.edn", self.name))).unwrap())
    }
}

/// A folder of all fixtures, beside the repository where the project is developed.
pub fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures");
    let folder = std::env::var_os("PACKSTONE_SHARED_FIXTURES").map_or(folder, PathBuf::from);
    if !folder.is_dir() {
        eprintln!("skipped: the large fixtures are not here");
        return None;
    }
    Some(folder)
}

/// Datoms of an answer, each as this program prints it, sorted.
pub fn lines(text: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut out = Vec::new();
        edn::print_datom(&edn::parse_datom_line(line).unwrap(), &mut out);
        lines.push(String::from_utf8(out).unwrap().trim_end().to_owned());
    }
    lines.sort();
    lines
}

/// A file of an answer, which may be compressed.
pub fn answer_file(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return lines(&bytes);
    }
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes.as_slice()), &mut text).unwrap();
    lines(&text)
}

/// Fressian writes negative zero as zero: what an answer says that the store cannot.
pub fn without_signs_of_zero(lines: &[String]) -> Vec<String> {
    let mut lines: Vec<_> =
        lines.iter().map(|line| line.replace(" -0.0 ", " 0.0 ").replace("\"-0.0\"", "\"0.0\"")).collect();
    lines.sort();
    lines
}

/// A repository with a folder of its own.
pub struct Home {
    pub folder: TempDir,
    pub repository: Repository,
}

impl Home {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = LocalBackend::create(folder.path().join("repository")).await.unwrap();
        let secret = RepositorySecret::key_file(vec![7; 32]);
        let repository = Repository::create(Arc::new(backend), secret, CreateOptions::default()).await.unwrap();
        Self { folder, repository }
    }

    pub async fn backup(&self, source: DatahikeSource) -> packstone::Result<BackupSummary> {
        let options = BackupOptions { label: Some("test".to_owned()), ..BackupOptions::default() };
        ops::backup(&self.repository, Source::Datahike(source), options, Arc::new(Silent)).await
    }

    /// Backs up a file or directory of datoms.
    pub async fn backup_datoms(&self, path: &Path) -> BackupSummary {
        let source = Source::Datoms(DatomsSource::new(Location::Path(path.to_owned())));
        let options = BackupOptions { label: Some("datoms".to_owned()), ..BackupOptions::default() };
        ops::backup(&self.repository, source, options, Arc::new(Silent)).await.unwrap()
    }

    /// The datoms of a branch of a snapshot, sorted.
    pub async fn restored(&self, summary: &BackupSummary, branch: Option<&str>, view: View) -> Vec<String> {
        let to = self.folder.path().join("out.edn");
        let options = RestoreOptions {
            branch: branch.map(str::to_owned),
            view,
            target: target::Options { format: Some(Format::Edn), overwrite: true, ..target::Options::default() },
            ..RestoreOptions::default()
        };
        let to_path = target::Location::Path(to.clone());
        ops::restore(&self.repository, summary.snapshot.id, to_path, options, Arc::new(Silent)).await.unwrap();
        let mut lines: Vec<_> = std::fs::read_to_string(to).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

pub fn root<'s>(summary: &'s BackupSummary, name: &str) -> &'s NamedRoot {
    summary.snapshot.roots.iter().find(|root| root.name == name).unwrap()
}

pub fn properties(summary: &BackupSummary) -> BTreeMap<String, String> {
    summary.snapshot.properties.iter().cloned().collect()
}

/// What differs, for messages that can be read.
pub fn assert_same(found: &[String], expected: &[String], what: &str) {
    if found != expected {
        let missing: Vec<_> = expected.iter().filter(|line| found.binary_search(line).is_err()).take(5).collect();
        let surplus: Vec<_> = found.iter().filter(|line| expected.binary_search(line).is_err()).take(5).collect();
        panic!("{what}: {} for {}; missing {missing:#?}, surplus {surplus:#?}", found.len(), expected.len());
    }
}
