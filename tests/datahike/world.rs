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

use crate::heads;
use crate::unpack::{packed, unpack};

/// A folder with a store of the fixtures in it.
pub struct Unpacked {
    folder: TempDir,
    name: String,
}

impl Unpacked {
    /// A store that stands in the repository.
    pub fn fixture(name: &str) -> Self {
        Self::of(&packed(name), if name == "a-small-history" { "store" } else { name })
    }

    /// One folder of an archive.
    pub fn of(packed: &Path, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        unpack(packed, name, folder.path());
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
        let now = std::fs::read(self.head_file(branch)).unwrap();
        (heads::as_head(&now, &blob.bytes), older)
    }

    pub fn head_file(&self, branch: &str) -> PathBuf {
        heads::head_file(&self.path(), branch)
    }

    /// The heads that the main branch has had, oldest first, each with its latest transaction.
    pub fn heads(&self, most: usize) -> Vec<(i64, Vec<u8>)> {
        heads::heads(&self.path(), &self.store(), most)
    }

    /// Puts a head of the main branch in its place as Datahike does it.
    pub fn put_head(&self, bytes: &[u8]) {
        heads::put_head(&self.path(), bytes);
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
