//! Datahike's dump directory (D.2): a manifest and numbered chunks of datoms, each with its hash.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::manifest::{self, Manifest, field};
use super::{DatomSource, Format, OnError, Options, Reading, View, sequence};
use crate::error::{Error, ErrorKind, Result};
use crate::id::hex;
use crate::record::datom::cbor::Dialect;
use crate::record::datom::{Datom, Digest, Value};

/// Name of the file that makes a directory a dump.
pub const MANIFEST: &str = "manifest.edn";
const VERSION: &str = "datahike.migrate/format-version";
const CAPABILITIES: [&str; 5] = ["cbor-seq", "history", "attribute-refs", "store-ref-blobs", "external-blobs"];
const TYPES: [&str; 26] = [
    "any",
    "bigdec",
    "bigint",
    "boolean",
    "bytes",
    "cardinality",
    "char",
    "double",
    "double-array",
    "float",
    "float-array",
    "instant",
    "keyword",
    "list",
    "long",
    "map",
    "number",
    "ref",
    "set",
    "store-ref",
    "string",
    "symbol",
    "tuple",
    "unique",
    "uuid",
    "valueType",
];

/// A source that reads the dump in a directory. The manifest is read and checked at once, the chunks when reading.
pub fn open(path: &Path, options: &Options) -> Result<Box<dyn DatomSource>> {
    let manifest_path = path.join(MANIFEST);
    let text = manifest::load(&manifest_path)?;
    let name = manifest_path.display().to_string();
    let manifest = Manifest::parse(&name, &text)?;
    check_version(&manifest, &name)?;
    let dump = Dump {
        directory: path.to_owned(),
        on_error: options.on_error,
        allow_incomplete: options.allow_incomplete,
        chunks: chunks(&manifest)?,
        digest: digest(&manifest)?,
        description: describe(&manifest)?,
    };
    dump.check_counts(&manifest)?;
    Ok(Box::new(dump))
}

struct Dump {
    directory: PathBuf,
    on_error: OnError,
    allow_incomplete: bool,
    chunks: Vec<Chunk>,
    digest: Option<Digest>,
    /// A reading with everything the manifest says.
    description: Reading,
}

struct Chunk {
    file: String,
    count: u64,
    stored_bytes: u64,
    raw_bytes: u64,
    sha256: String,
}

fn check_version(manifest: &Manifest<'_>, name: &str) -> Result<()> {
    match manifest.find(VERSION) {
        Some(Value::Long(1)) => {}
        Some(Value::Long(version)) => {
            let message = format!("a dump of format version {version}, newer than the version 1 that is known");
            return Err(Error::new(ErrorKind::Foreign, name, message));
        }
        _ => return Err(manifest.refuse(format!("not the manifest of a Datahike dump: no :{VERSION}"))),
    }
    match manifest.find("serialization") {
        Some(Value::Keyword(serialization)) if serialization == "cbor-seq" => {}
        _ => return Err(manifest.refuse("the serialization is not :cbor-seq")),
    }
    let Some(Value::Tuple(required) | Value::List(required) | Value::Set(required)) = manifest.find("requires") else {
        return Err(manifest.refuse("no list under :requires"));
    };
    for capability in required {
        let known = match capability {
            Value::Keyword(name) => match name.split_once('/') {
                Some(("datahike.migrate", name)) => CAPABILITIES.contains(&name),
                Some(("db.type", name)) => TYPES.contains(&name),
                _ => false,
            },
            _ => false,
        };
        if !known {
            let capability = manifest::print(capability);
            let message = format!("the dump requires {capability}, which this program does not know");
            return Err(Error::new(ErrorKind::Foreign, name, message));
        }
    }
    Ok(())
}

fn chunks(manifest: &Manifest<'_>) -> Result<Vec<Chunk>> {
    let Some(Value::Tuple(entries)) = manifest.find("chunks") else {
        return Err(manifest.refuse("no vector under :chunks"));
    };
    let mut names = HashSet::new();
    let mut chunks = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        let text = |key| match field(entry, key) {
            Some(Value::String(text)) => Ok(String::from_utf8_lossy(text).into_owned()),
            _ => Err(manifest.refuse(format!("chunk {}: no text under :{key}", i + 1))),
        };
        let number = |key| match field(entry, key) {
            Some(Value::Long(number)) => {
                u64::try_from(*number).map_err(|_| manifest.refuse(format!("chunk {}: negative :{key}", i + 1)))
            }
            _ => Err(manifest.refuse(format!("chunk {}: no number under :{key}", i + 1))),
        };
        let file = text("file")?;
        if !is_plain_name(&file) {
            let message = format!("chunk {}: the file name {file:?} climbs out of the dump", i + 1);
            return Err(manifest.refuse(message));
        }
        if !names.insert(file.clone()) {
            return Err(manifest.refuse(format!("chunk {}: {file} is listed twice", i + 1)));
        }
        chunks.push(Chunk {
            file,
            count: number("count")?,
            stored_bytes: number("bytes")?,
            raw_bytes: number("raw-bytes")?,
            sha256: text("sha256")?,
        });
    }
    Ok(chunks)
}

/// Whether the name stays in its directory on any system.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0'])
}

fn digest(manifest: &Manifest<'_>) -> Result<Option<Digest>> {
    let Some(digest) = manifest.find("semantic-digest").filter(|digest| **digest != Value::Nil) else {
        return Ok(None);
    };
    if !matches!(field(digest, "algo"), Some(Value::Keyword(algorithm)) if algorithm == "xor64+sum64") {
        return Err(manifest.refuse("the semantic digest is not :xor64+sum64"));
    }
    let half = |key| match field(digest, key) {
        Some(Value::String(text)) => u64::from_str_radix(&String::from_utf8_lossy(text), 16)
            .map_err(|_| manifest.refuse(format!("semantic digest: bad :{key}"))),
        _ => Err(manifest.refuse(format!("semantic digest: no :{key}"))),
    };
    match field(digest, "count") {
        Some(Value::Long(count)) => {
            Ok(Some(Digest { xor: half("xor")?, sum: half("sum")?, count: count.cast_unsigned() }))
        }
        _ => Err(manifest.refuse("semantic digest: no :count")),
    }
}

fn describe(manifest: &Manifest<'_>) -> Result<Reading> {
    let mut reading = Reading::of(Format::Dump);
    reading.view = match manifest.find("history?") {
        Some(Value::Boolean(true)) => View::History,
        Some(Value::Boolean(false)) => View::Current,
        _ => return Err(manifest.refuse("no boolean under :history?")),
    };
    for (property, key) in [
        ("schema", "schema"),
        ("source-config", "source-config"),
        ("system-idents", "system-idents"),
        ("meta", "datahike/meta"),
    ] {
        if let Some(text) = manifest.text(key) {
            reading.properties.insert(property.to_owned(), text);
        }
    }
    if let Some(stats) = manifest.find("stats") {
        for (property, key) in [("max-t", "max-tx"), ("max-eid", "max-eid")] {
            if let Some(Value::Long(number)) = field(stats, key) {
                reading.properties.insert(property.to_owned(), number.to_string());
            }
        }
    }
    let blobs = match manifest.find("store-refs") {
        None | Some(Value::Nil) => 0,
        Some(Value::Tuple(refs) | Value::List(refs) | Value::Set(refs)) => refs.len() as u64,
        Some(Value::Map(refs)) => refs.len() as u64,
        Some(_) => 1,
    };
    if blobs > 0 {
        reading.notes.insert("blobs of store references in the dump, which are not read".to_owned(), blobs);
    }
    Ok(reading)
}

impl Dump {
    fn check_counts(&self, manifest: &Manifest<'_>) -> Result<()> {
        let listed = self.chunks.iter().try_fold(0u64, |sum, chunk| sum.checked_add(chunk.count));
        if self.digest.is_some_and(|digest| Some(digest.count) != listed) {
            return Err(manifest.refuse("the chunks do not add up to the count of the semantic digest"));
        }
        let Some(stats) = manifest.find("stats") else { return Err(manifest.refuse("no :stats")) };
        let (Some(Value::Long(dumped)), source) = (field(stats, "datom-count"), field(stats, "source-datom-count"))
        else {
            return Err(manifest.refuse("no :datom-count in :stats"));
        };
        if u64::try_from(*dumped).ok() != listed {
            return Err(manifest.refuse("the chunks do not add up to :datom-count"));
        }
        if let Some(Value::Long(source)) = source
            && dumped < source
            && !self.allow_incomplete
        {
            let message = format!("incomplete: {dumped} of the {source} datoms of the database were dumped");
            return Err(manifest.refuse(message));
        }
        Ok(())
    }

    /// Chunks in the directory that the manifest does not know.
    fn check_directory(&self, reading: &mut Reading) -> Result<()> {
        let name = self.directory.display();
        for entry in std::fs::read_dir(&self.directory).map_err(|e| Error::io(&name, e))? {
            let file = entry.map_err(|e| Error::io(&name, e))?.file_name();
            let file = file.to_string_lossy();
            let is_chunk = file.starts_with("datoms-") && (file.ends_with(".cbor") || file.ends_with(".cbor.gz"));
            if !is_chunk || self.chunks.iter().any(|chunk| chunk.file == file) {
                continue;
            }
            if !self.allow_incomplete {
                let message = "a chunk that the manifest does not list";
                return Err(Error::new(ErrorKind::Data, self.directory.join(&*file).display(), message));
            }
            *reading.notes.entry("chunks that the manifest does not list, not read".to_owned()).or_default() += 1;
        }
        Ok(())
    }

    fn read_chunk(
        &self,
        chunk: &Chunk,
        reading: &mut Reading,
        digest: &mut Digest,
        sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>,
    ) -> Result<()> {
        let path = self.directory.join(&chunk.file);
        let name = path.display().to_string();
        let damaged = |message: String| Error::new(ErrorKind::Damaged, &name, message);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if self.allow_incomplete {
                    *reading.notes.entry(format!("datoms of the missing chunk {}", chunk.file)).or_default() +=
                        chunk.count;
                    return Ok(());
                }
                return Err(damaged("the chunk is missing".to_owned()));
            }
            file => file.map_err(|e| Error::io(&name, e))?,
        };
        let stored = file.metadata().map_err(|e| Error::io(&name, e))?.len();
        if stored != chunk.stored_bytes {
            return Err(damaged(format!("{stored} bytes long, not {} as the manifest says", chunk.stored_bytes)));
        }
        let plain = BufReader::with_capacity(1 << 18, file);
        let content: Box<dyn Read> =
            if chunk.file.ends_with(".gz") { Box::new(MultiGzDecoder::new(plain)) } else { Box::new(plain) };
        let mut hashing = Hashing { content, hash: Sha256::new() };
        let mut hand_out = |datom: Datom<'_>, record: &[u8], reading: &mut Reading| {
            digest.add_record(record);
            sink(&datom)?;
            reading.datoms += 1;
            reading.retractions += u64::from(!datom.added);
            Ok(())
        };
        let read = sequence::read(&mut hashing, &name, Dialect::Archival, self.on_error, reading, &mut hand_out);
        let totals = match read {
            // Bad bytes are told apart from a dump that never was right by the hash over all of them.
            Err(error) if error.object() == name && error.kind() != ErrorKind::Failed => {
                std::io::copy(&mut hashing, &mut std::io::sink()).map_err(|e| damaged(e.to_string()).because(e))?;
                if hex(&hashing.hash.finalize()) == chunk.sha256 {
                    return Err(error);
                }
                return Err(damaged(format!("does not have the hash the manifest gives; {}", error.message())));
            }
            totals => totals?,
        };
        if hex(&hashing.hash.finalize()) != chunk.sha256 {
            return Err(damaged("does not have the hash the manifest gives".to_owned()));
        }
        if totals.bytes != chunk.raw_bytes {
            return Err(damaged(format!("{} bytes, not {} as the manifest says", totals.bytes, chunk.raw_bytes)));
        }
        if totals.items != chunk.count {
            return Err(damaged(format!("{} datoms, not {} as the manifest says", totals.items, chunk.count)));
        }
        reading.bytes += stored;
        Ok(())
    }
}

impl DatomSource for Dump {
    fn read(&mut self, sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>) -> Result<Reading> {
        let mut reading = self.description.clone();
        self.check_directory(&mut reading)?;
        let mut digest = Digest::new();
        for chunk in &self.chunks {
            self.read_chunk(chunk, &mut reading, &mut digest, sink)?;
        }
        let complete = reading.problems_count == 0 && !reading.notes.keys().any(|note| note.contains("missing chunk"));
        if complete && self.digest.is_some_and(|expected| expected != digest) {
            let message = "the datoms do not have the semantic digest the manifest gives";
            return Err(Error::new(ErrorKind::Damaged, self.directory.display(), message));
        }
        Ok(reading)
    }
}

/// Hashes what is read.
struct Hashing<R> {
    content: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = self.content.read(buffer)?;
        self.hash.update(&buffer[..len]);
        Ok(len)
    }
}
