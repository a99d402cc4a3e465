//! Datahike's dump directory (D.2): numbered chunks, and last of all the manifest that makes it a dump.
//!
//! Datahike orders its records by (t, `db/txInstant` first, e, attribute, retraction first) and, within those, by the
//! text Java prints for the value. The datoms come with equal keys together but in our own order of values, so the few
//! of one such group are put in Java's order here (`group`).

mod group;
mod schema;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use self::group::Group;
use self::schema::Schema;
use super::{DatomTarget, Description, Location, Options, Order, Written};
use crate::error::{Error, ErrorKind, Result};
use crate::id::hex;
use crate::record::datom::cbor::{self, Dialect};
use crate::record::datom::{Datom, Digest, Value};

const MANIFEST: &str = "manifest.edn";
/// Entity ids from here on are transactions.
const FIRST_TRANSACTION: i64 = 0x2000_0000;

/// A target that writes a directory: into an empty one, or under a temporary name beside the final one.
pub fn create(location: &Location, options: &Options, description: &Description) -> Result<Box<dyn DatomTarget>> {
    let Location::Path(path) = location else {
        return Err(Error::new(ErrorKind::Usage, "standard output", "a dump is a directory, not a stream"));
    };
    let place = Place::prepare(path, options.overwrite)?;
    Ok(Box::new(Dump {
        place,
        gzip: options.dump_gzip,
        chunk_datoms: options.dump_chunk_datoms.max(1),
        description: description.clone(),
        chunk: None,
        chunks: Vec::new(),
        digest: Digest::new(),
        group: Group::default(),
        record: Vec::new(),
        schema: Schema::new(&description.properties),
        max_eid: 0,
        max_t: FIRST_TRANSACTION,
        lists: 0,
    }))
}

/// The directory a path lies in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|e| Error::io(path.display(), e))
}

/// Where the dump is written and where it ends up.
enum Place {
    /// An empty directory that was there; what is written before the manifest is removed again on failure.
    Empty { path: PathBuf, files: Vec<PathBuf>, finished: bool },
    /// Beside the final name.
    Beside { directory: TempDir, path: PathBuf },
}

impl Place {
    fn prepare(path: &Path, overwrite: bool) -> Result<Self> {
        let failed = |e| Error::io(path.display(), e);
        match fs::read_dir(path) {
            Ok(mut entries) => match entries.next() {
                None => return Ok(Self::Empty { path: path.to_owned(), files: Vec::new(), finished: false }),
                Some(_) if !overwrite => {
                    return Err(Error::new(
                        ErrorKind::AlreadyExists,
                        path.display(),
                        "already exists and is not empty",
                    ));
                }
                Some(_) if !path.join(MANIFEST).is_file() => {
                    let message = "is not empty and not a dump that could be replaced";
                    return Err(Error::new(ErrorKind::AlreadyExists, path.display(), message));
                }
                Some(_) => {}
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let directory = tempfile::Builder::new().prefix(".packstone-").tempdir_in(parent(path)).map_err(failed)?;
        Ok(Self::Beside { directory, path: path.to_owned() })
    }

    fn directory(&self) -> &Path {
        match self {
            Self::Empty { path, .. } => path,
            Self::Beside { directory, .. } => directory.path(),
        }
    }

    fn create_file(&mut self, name: &str) -> Result<(File, PathBuf)> {
        let path = self.directory().join(name);
        let file = File::create_new(&path).map_err(|e| Error::io(path.display(), e))?;
        if let Self::Empty { files, .. } = self {
            files.push(path.clone());
        }
        Ok((file, path))
    }

    fn publish(&mut self) -> Result<()> {
        sync_directory(self.directory())?;
        match self {
            Self::Empty { finished, .. } => *finished = true,
            Self::Beside { directory, path } => {
                let failed = |e| Error::io(path.display(), e);
                // The old dump keeps its content under another name until the new one has taken its place.
                let old = match path.symlink_metadata() {
                    Ok(_) => {
                        let aside = tempfile::Builder::new().prefix(".packstone-old-").tempdir_in(parent(path));
                        let aside = aside.map_err(failed)?;
                        fs::rename(&path, aside.path()).map_err(failed)?;
                        Some(aside)
                    }
                    Err(_) => None,
                };
                if let Err(error) = fs::rename(directory.path(), &path) {
                    if let Some(aside) = old {
                        let _ = fs::rename(aside.keep(), &path);
                    }
                    return Err(failed(error));
                }
                directory.disable_cleanup(true);
                sync_directory(parent(path))?;
            }
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Empty { files, finished: false, .. } = self {
            for file in files {
                let _ = fs::remove_file(file);
            }
        }
    }
}

struct Dump {
    place: Place,
    gzip: bool,
    chunk_datoms: u64,
    description: Description,
    chunk: Option<Chunk>,
    chunks: Vec<Finished>,
    digest: Digest,
    group: Group,
    record: Vec<u8>,
    schema: Schema,
    max_eid: i64,
    max_t: i64,
    lists: u64,
}

struct Chunk {
    name: String,
    path: PathBuf,
    content: Content,
    hash: Sha256,
    count: u64,
    raw_bytes: u64,
}

enum Content {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

struct Finished {
    name: String,
    count: u64,
    stored_bytes: u64,
    raw_bytes: u64,
    sha256: String,
}

impl DatomTarget for Dump {
    fn order(&self) -> Order {
        Order::Dump
    }

    fn put(&mut self, datom: &Datom<'_>) -> Result<()> {
        self.schema.learn(datom);
        self.record.clear();
        let written = match self.schema.resolved(datom).map_err(|why| super::flat_cbor::refuse(datom, why))? {
            Some(resolved) => cbor::encode_datom(Dialect::Archival, &resolved, &mut self.record),
            None => cbor::encode_datom(Dialect::Archival, datom, &mut self.record),
        };
        written.map_err(|why| super::flat_cbor::refuse(datom, why))?;
        if !self.group.continues(datom) {
            self.write_group()?;
            self.group.begin(datom);
        }
        self.group.push(&self.record);
        self.lists += u64::from(matches!(datom.v, Value::List(_)));
        self.max_t = self.max_t.max(datom.t);
        if datom.e < FIRST_TRANSACTION {
            self.max_eid = self.max_eid.max(datom.e);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Written> {
        self.write_group()?;
        self.finish_chunk()?;
        let manifest = self.manifest();
        let (mut file, path) = self.place.create_file(MANIFEST)?;
        file.write_all(manifest.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| Error::io(path.display(), e))?;
        self.place.publish()?;
        let mut notes = BTreeMap::new();
        if self.lists > 0 {
            notes.insert("lists written as arrays, like tuples".to_owned(), self.lists);
        }
        let chunks: u64 = self.chunks.iter().map(|chunk| chunk.stored_bytes).sum();
        Ok(Written { datoms: self.digest.count, bytes: chunks + manifest.len() as u64, notes })
    }
}

impl Dump {
    fn write_group(&mut self) -> Result<()> {
        let mut group = std::mem::take(&mut self.group);
        group.sort();
        let written = group.records().try_for_each(|record| self.write(record));
        group.clear();
        self.group = group;
        written
    }

    fn write(&mut self, record: &[u8]) -> Result<()> {
        if self.chunk.as_ref().is_some_and(|chunk| chunk.count >= self.chunk_datoms) {
            self.finish_chunk()?;
        }
        let chunk = match &mut self.chunk {
            Some(chunk) => chunk,
            None => {
                let suffix = if self.gzip { ".gz" } else { "" };
                let name = format!("datoms-{:06}.cbor{suffix}", self.chunks.len() + 1);
                let (file, path) = self.place.create_file(&name)?;
                let file = BufWriter::with_capacity(1 << 18, file);
                let content = match self.gzip {
                    true => Content::Gzip(Box::new(GzEncoder::new(file, Compression::default()))),
                    false => Content::Plain(file),
                };
                self.chunk.insert(Chunk { name, path, content, hash: Sha256::new(), count: 0, raw_bytes: 0 })
            }
        };
        let written = match &mut chunk.content {
            Content::Plain(file) => file.write_all(record),
            Content::Gzip(file) => file.write_all(record),
        };
        written.map_err(|e| Error::io(chunk.path.display(), e))?;
        chunk.hash.update(record);
        chunk.count += 1;
        chunk.raw_bytes += record.len() as u64;
        self.digest.add_record(record);
        Ok(())
    }

    fn finish_chunk(&mut self) -> Result<()> {
        let Some(chunk) = self.chunk.take() else { return Ok(()) };
        let failed = |e| Error::io(chunk.path.display(), e);
        let file = match chunk.content {
            Content::Plain(file) => file,
            Content::Gzip(file) => file.finish().map_err(failed)?,
        };
        let file = file.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().map_err(failed)?;
        self.chunks.push(Finished {
            name: chunk.name,
            count: chunk.count,
            stored_bytes: file.metadata().map_err(failed)?.len(),
            raw_bytes: chunk.raw_bytes,
            sha256: hex(&chunk.hash.finalize()),
        });
        Ok(())
    }

    fn manifest(&self) -> String {
        let property = |name: &str| self.description.properties.get(name).cloned();
        let number = |name: &str| property(name).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        let chunks: Vec<_> = self
            .chunks
            .iter()
            .map(|chunk| {
                let Finished { name, count, stored_bytes, raw_bytes, sha256 } = chunk;
                format!(
                    "{{:file \"{name}\", :count {count}, :bytes {stored_bytes}, :raw-bytes {raw_bytes}, \
                     :sha256 \"{sha256}\"}}"
                )
            })
            .collect();
        let count = self.digest.count;
        let entries = [
            (":datahike.migrate/format-version", "1".to_owned()),
            (":history?", self.description.history.to_string()),
            (":serialization", ":cbor-seq".to_owned()),
            (":compression", if self.gzip { ":gzip" } else { ":none" }.to_owned()),
            (":requires", self.schema.requires(self.description.history)),
            (":source-config", self.schema.source_config(property("source-config"), self.description.history)),
            (":schema", property("schema").unwrap_or_else(|| self.schema.print())),
            (":system-idents", property("system-idents").unwrap_or_else(|| "{}".to_owned())),
            (
                ":stats",
                format!(
                    "{{:datom-count {count}, :source-datom-count {count}, :transformed? false, :max-eid {}, :max-tx {}}}",
                    self.max_eid.max(number("max-eid")),
                    self.max_t.max(number("max-t")),
                ),
            ),
            (
                ":semantic-digest",
                format!(
                    "{{:algo :xor64+sum64, :xor \"{:016x}\", :sum \"{:016x}\", :count {count}}}",
                    self.digest.xor, self.digest.sum
                ),
            ),
            (":store-refs", "nil".to_owned()),
            (":datahike/meta", property("meta").unwrap_or_else(|| "{}".to_owned())),
            (":chunks", format!("[{}]", chunks.join(" "))),
        ];
        let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key} {value}")).collect();
        format!("{{{}}}", entries.join(",\n "))
    }
}
