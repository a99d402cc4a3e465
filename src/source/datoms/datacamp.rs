//! datacamp's backup directory (E): a manifest, gzipped chunks of current datoms, and a marker that says it is whole.
//!
//! The rows of transaction 536870912, Datahike's own schema in databases with attribute references, are left out, as
//! Datahike's exports leave them out. Vectors come as lists, which become tuples.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::correct::{self, Notes, Schema};
use super::manifest::{self, Manifest, field};
use super::{DatomSource, Format, Options, Reading, View, dump};
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::id::hex;
use crate::record::datom::cbor::{self, Dialect};
use crate::record::datom::fressian::Reader;
use crate::record::datom::{Attribute, Datom, Value};

/// Name of the file that is written last.
pub const MARKER: &str = "complete.marker";
/// The transaction of Datahike's own schema.
const SYSTEM_TRANSACTION: i64 = 0x2000_0000;
/// Chunks are at most some 100 MiB as written; a bomb is larger.
const CHUNK_LIMIT: u64 = 1 << 30;

/// A source that reads the backup in a directory, or the only backup in a directory of backups.
pub fn open(path: &Path, options: &Options) -> Result<Box<dyn DatomSource>> {
    let directory = backup_directory(path)?;
    let mut reading = Reading::of(Format::Datacamp);
    reading.view = View::Current;
    if !directory.join(MARKER).is_file() {
        if !options.allow_incomplete {
            let message = format!("the backup was not finished: it has no {MARKER}");
            return Err(Error::new(ErrorKind::Data, directory.display(), message));
        }
        reading.notes.insert(format!("backups without {MARKER}"), 1);
    }
    let manifest_path = directory.join(dump::MANIFEST);
    let text = manifest::load(&manifest_path)?;
    let manifest = Manifest::parse(&manifest_path.display().to_string(), &text)?;
    let chunks = chunks(&manifest)?;
    let total = manifest.number("stats/datom-count")?;
    if manifest.number("stats/chunk-count")?.cast_unsigned() != chunks.len() as u64 {
        return Err(manifest.refuse("the manifest does not list as many chunks as it counts"));
    }
    if chunks.iter().map(|chunk| i128::from(chunk.count)).sum::<i128>() != i128::from(total) {
        return Err(manifest.refuse("the chunks do not add up to :stats/datom-count"));
    }
    for (property, key) in [
        ("max-t", "stats/max-tx"),
        ("max-eid", "stats/max-eid"),
        ("database", "database/id"),
        ("backup", "backup/id"),
        ("created", "backup/created-at"),
    ] {
        if let Some(text) = manifest.text(key) {
            reading.properties.insert(property.to_owned(), text);
        }
    }
    Ok(Box::new(Datacamp { directory, chunks, allow_incomplete: options.allow_incomplete, description: reading }))
}

/// The directory with the manifest: `path` itself or the only one up to two levels below it.
fn backup_directory(path: &Path) -> Result<PathBuf> {
    if path.join(dump::MANIFEST).is_file() || path.join("checkpoint.edn").is_file() {
        return Ok(path.to_owned());
    }
    let mut found = Vec::new();
    for child in subdirectories(path)? {
        if child.join(dump::MANIFEST).is_file() {
            found.push(child);
        } else {
            found.extend(subdirectories(&child)?.into_iter().filter(|c| c.join(dump::MANIFEST).is_file()));
        }
    }
    match found.as_slice() {
        [] => Err(Error::new(ErrorKind::NotFound, path.display(), "no datacamp backup here: no manifest.edn")),
        [only] => Ok(only.clone()),
        several => {
            let names: Vec<_> = several.iter().map(|p| p.display().to_string()).collect();
            let message = format!("several backups here, name one: {}", names.join(", "));
            Err(Error::new(ErrorKind::Usage, path.display(), message))
        }
    }
}

fn subdirectories(path: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| Error::io(path.display(), e))? {
        let path = entry.map_err(|e| Error::io(path.display(), e))?.path();
        if path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

struct Datacamp {
    directory: PathBuf,
    chunks: Vec<Chunk>,
    allow_incomplete: bool,
    description: Reading,
}

struct Chunk {
    id: i64,
    file: PathBuf,
    count: i64,
    sha256: String,
}

fn chunks(manifest: &Manifest<'_>) -> Result<Vec<Chunk>> {
    let Some(Value::Tuple(entries) | Value::List(entries)) = manifest.find("chunks") else {
        return Err(manifest.refuse("no vector under :chunks: not the manifest of a datacamp backup"));
    };
    entries
        .iter()
        .map(|entry| {
            let number = |key: &str| match field(entry, key) {
                Some(Value::Long(number)) if *number >= 0 => Ok(*number),
                _ => Err(manifest.refuse(format!("a chunk without :{key}"))),
            };
            let text = |key: &str| match field(entry, key) {
                Some(Value::String(text)) => Ok(String::from_utf8_lossy(text).into_owned()),
                _ => Err(manifest.refuse(format!("a chunk without :{key}"))),
            };
            Ok(Chunk {
                id: number("chunk/id")?,
                file: local_file(&text("chunk/s3-key")?).ok_or_else(|| {
                    manifest.refuse("a chunk whose :chunk/s3-key does not end in a folder and a file name")
                })?,
                count: number("chunk/datom-count")?,
                sha256: text("chunk/checksum")?,
            })
        })
        .collect()
}

/// Keys are relative on disk and absolute, with a prefix, in S3; the last two parts are the same in both.
fn local_file(key: &str) -> Option<PathBuf> {
    let (rest, file) = key.rsplit_once('/')?;
    let folder = rest.rsplit('/').next()?;
    (dump::is_plain_name(folder) && dump::is_plain_name(file)).then(|| Path::new(folder).join(file))
}

/// An error of the chunk or of whoever takes the datoms.
enum Stop {
    Chunk(DecodeError),
    Sink(Error),
}

impl From<DecodeError> for Stop {
    fn from(why: DecodeError) -> Self {
        Self::Chunk(why)
    }
}

impl Datacamp {
    /// The content of a chunk, `None` when it is missing and may be.
    fn load(&self, chunk: &Chunk, reading: &mut Reading) -> Result<Option<Vec<u8>>> {
        let path = self.directory.join(&chunk.file);
        let damaged = |message: String| Error::new(ErrorKind::Damaged, path.display(), message);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if self.allow_incomplete {
                    let note = format!("datoms of the missing chunk {}", chunk.file.display());
                    *reading.notes.entry(note).or_default() += chunk.count.cast_unsigned();
                    return Ok(None);
                }
                return Err(damaged("the chunk is missing".to_owned()));
            }
            file => file.map_err(|e| Error::io(path.display(), e))?,
        };
        let mut stored = Vec::new();
        file.take(CHUNK_LIMIT + 1).read_to_end(&mut stored).map_err(|e| Error::io(path.display(), e))?;
        if stored.len() as u64 > CHUNK_LIMIT {
            return Err(damaged("too large for a chunk".to_owned()));
        }
        if hex(&Sha256::digest(&stored)) != chunk.sha256.to_ascii_lowercase() {
            return Err(damaged("does not have the checksum the manifest gives".to_owned()));
        }
        reading.bytes += stored.len() as u64;
        if !stored.starts_with(&[0x1f, 0x8b]) {
            return Ok(Some(stored));
        }
        let mut content = Vec::new();
        let unzipped = MultiGzDecoder::new(stored.as_slice()).take(CHUNK_LIMIT + 1).read_to_end(&mut content);
        unzipped.map_err(|e| damaged(e.to_string()).because(e))?;
        if content.len() as u64 > CHUNK_LIMIT {
            return Err(damaged("too large for a chunk".to_owned()));
        }
        Ok(Some(content))
    }

    fn each_datom(&self, reading: &mut Reading, sink: &mut dyn FnMut(Datom<'_>) -> Result<()>) -> Result<()> {
        for chunk in &self.chunks {
            let Some(content) = self.load(chunk, reading)? else { continue };
            let mut count = 0;
            let mut on_datom = |datom: Datom<'_>| {
                count += 1;
                if datom.t == SYSTEM_TRANSACTION { Ok(()) } else { sink(datom).map_err(Stop::Sink) }
            };
            let rest = match content.first() {
                Some(0xa0..=0xbf) => cbor::decode_chunk(Dialect::CljCbor, &content, &mut on_datom),
                _ => {
                    Reader::new(&content).map_with_list("datoms", &mut |row| on_datom(datom(row).map_err(Stop::Chunk)?))
                }
            };
            let name = self.directory.join(&chunk.file);
            let rest = rest.map_err(|stop| match stop {
                Stop::Sink(error) => error,
                Stop::Chunk(why) => {
                    let message = format!("datom {}: {why}", count + 1);
                    Error::new(ErrorKind::Damaged, name.display(), message).because(why)
                }
            })?;
            let wrong = |message: String| Error::new(ErrorKind::Damaged, name.display(), message);
            let rest = Value::Map(rest);
            if field(&rest, "chunk/id") != Some(&Value::Long(chunk.id)) {
                return Err(wrong(format!("not chunk {}, for which the manifest names it", chunk.id)));
            }
            if count != chunk.count {
                return Err(wrong(format!("{count} datoms, not {} as the manifest says", chunk.count)));
            }
        }
        Ok(())
    }
}

/// A row `[e a v tx added]`.
fn datom(row: Value<'_>) -> Result<Datom<'_>, DecodeError> {
    let (Value::List(row) | Value::Tuple(row)) = row else { return Err(DecodeError::Invalid("datom: not a list")) };
    let Ok([e, a, v, t, added]) = <[Value<'_>; 5]>::try_from(row) else {
        return Err(DecodeError::Invalid("datom: not a list of five"));
    };
    let a = match a {
        Value::Keyword(name) => Attribute::Keyword(name),
        Value::Long(id) => Attribute::Id(id),
        _ => return Err(DecodeError::Invalid("datom: attribute is neither keyword nor id")),
    };
    match (e, t, added) {
        _ if v == Value::Nil => Err(DecodeError::Invalid("datom: value is nil")),
        (Value::Long(e), Value::Long(t), Value::Boolean(added)) => Ok(Datom { e, a, v, t, added }),
        _ => Err(DecodeError::Invalid("datom: entity, transaction or operation of the wrong type")),
    }
}

/// datacamp's CBOR wraps doubles as `{:__type :double :value x}`.
fn unwrap_double(value: Value<'_>) -> Value<'_> {
    match &value {
        Value::Map(entries) if entries.len() == 2 => match (field(&value, "__type"), field(&value, "value")) {
            (Some(Value::Keyword(kind)), Some(Value::Double(double))) if kind == "double" => Value::Double(*double),
            (Some(Value::Keyword(kind)), Some(Value::Float(float))) if kind == "double" => {
                Value::Double(f64::from(*float))
            }
            (Some(Value::Keyword(kind)), Some(Value::Tagged(_, half))) if kind == "double" => (**half).clone(),
            _ => value,
        },
        _ => value,
    }
}

impl DatomSource for Datacamp {
    fn read(&mut self, sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>) -> Result<Reading> {
        let mut schema = Schema::default();
        self.each_datom(&mut self.description.clone(), &mut |datom| {
            schema.learn(&datom);
            Ok(())
        })?;
        schema.settle();
        let mut reading = self.description.clone();
        let mut notes = Notes::default();
        let (mut datoms, mut retractions) = (0, 0);
        self.each_datom(&mut reading, &mut |mut datom| {
            datom.v = unwrap_double(datom.v);
            let datom = schema.correct(datom, &mut notes);
            datoms += 1;
            retractions += u64::from(!datom.added);
            sink(&datom)
        })?;
        (reading.datoms, reading.retractions) = (datoms, retractions);
        let all: u64 = self.chunks.iter().map(|chunk| chunk.count.cast_unsigned()).sum();
        let missing: u64 = reading.notes.iter().filter(|(n, _)| n.contains("missing chunk")).map(|(_, c)| c).sum();
        let left_out = all - missing - datoms;
        if left_out > 0 {
            reading.notes.insert(format!("datoms of transaction {SYSTEM_TRANSACTION}, left out"), left_out);
        }
        notes.add_to(&mut reading.notes);
        if schema.has_references() {
            correct::describe_references(false, &mut reading.properties);
        }
        Ok(reading)
    }
}
