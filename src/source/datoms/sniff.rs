//! Which format a file, stream or directory is in, told by its content.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Value, edn, json};
use crate::source::datoms::input::Input;
use crate::source::datoms::{Format, serializable, storage};

/// How far into a stream the first datom is looked for.
const SNIFF_BYTES: usize = 64 << 10;
/// The largest manifest that is read.
const MANIFEST_MAX_BYTES: u64 = 256 << 20;

/// What a directory holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Directory {
    /// One backup or dump, read as a whole.
    Whole(Format),
    /// Text files, read one after the other, and how many others lie beside them.
    Files(Vec<PathBuf>, u64),
}

/// The format of a stream, which is left where it is.
pub(super) fn stream(input: &mut Input) -> Result<Format> {
    let mut len = 512;
    loop {
        let bytes = input.peek(len)?;
        let ended = bytes.len() < len;
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let record = first_record(bytes, ended);
        if record.is_some() || ended || len >= SNIFF_BYTES {
            let found = format_of(bytes, record.unwrap_or(bytes));
            return found.map_err(|what| Error::new(ErrorKind::Data, input.name(), what));
        }
        len *= 4;
    }
}

/// The first line that holds more than whitespace and comments, if it is there as a whole.
fn first_record(bytes: &[u8], ended: bool) -> Option<&[u8]> {
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|&b| b == b'\n') {
        let line = rest[..end].trim_ascii();
        if !line.is_empty() && !line.starts_with(b";") {
            return Some(line);
        }
        rest = &rest[end + 1..];
    }
    let last = rest.trim_ascii();
    (ended && !last.is_empty() && !last.starts_with(b";")).then_some(last)
}

/// The format of a stream that begins with `bytes`, in which `record` is the first line with content.
fn format_of(bytes: &[u8], record: &[u8]) -> Result<Format, String> {
    if let Some(what) = foreign(bytes) {
        return Err(format!("{what}, not datoms"));
    }
    let record = record.trim_ascii();
    match record {
        [] => Ok(Format::Edn),
        [0x85, ..] => Ok(Format::FlatCbor),
        _ if record.starts_with(b"#datascript/DB") => Ok(Format::DataScript),
        [b'#', b':', ..] => Ok(Format::Datalevin),
        [b';' | b'#', ..] => Ok(Format::Edn),
        [b'{', rest @ ..] => object_format(rest.trim_ascii_start()),
        [b'[', rest @ ..] => array_format(record, rest.trim_ascii_start()),
        _ => Err("in no format that is known: datoms are EDN or JSON lines, or one of Datahike's exports".to_owned()),
    }
}

fn object_format(rest: &[u8]) -> Result<Format, String> {
    if rest.starts_with(b"\"~") || rest.starts_with(b"\"^") {
        return Ok(Format::Transit);
    }
    match rest.split_first() {
        None => Ok(Format::Json),
        Some((b'"', rest)) => {
            let key = rest.split(|byte| *byte == b'"').next().unwrap_or_default();
            let is_datascript = serializable::KEYS.iter().any(|known| known.as_bytes() == key);
            Ok(if is_datascript { Format::Serializable } else { Format::Json })
        }
        Some(_) => map_format(rest),
    }
}

/// The format of a text that begins with a map in EDN.
fn map_format(rest: &[u8]) -> Result<Format, String> {
    let key = rest.split(|byte| byte.is_ascii_whitespace() || b",}".contains(byte)).next().unwrap_or_default();
    match key {
        b":t" | b":tx" | b":data" | b":refs" | b":id->attr" | b":transactions" | b":start-t" | b":end-t" => {
            Ok(Format::Log)
        }
        b":e" | b":a" | b":v" | b":added" => Ok(Format::Log),
        b":dbi" | b":entries" => {
            Err("a dump of Datalevin's raw keys and values; dump the datoms with `dtlv -d DIR -g -f FILE dump`"
                .to_owned())
        }
        _ => Ok(Format::Datalevin),
    }
}

fn array_format(record: &[u8], rest: &[u8]) -> Result<Format, String> {
    match rest.first() {
        Some(b'"') if rest.starts_with(b"\"^ \"") || rest.starts_with(b"\"~") => return Ok(Format::Transit),
        Some(b'[' | b'{') | None => {
            // The first string of Transit is a keyword, a tag, or the sign of a map.
            let quote = rest.iter().position(|byte| *byte == b'"').map(|at| &rest[at + 1..]);
            return match (quote, rest) {
                (Some([b'~' | b'^', ..]), _) => Ok(Format::Transit),
                (_, [b'{', b':', ..]) => map_format(&rest[1..]),
                _ => Err("an array of datoms; write one datom a line".to_owned()),
            };
        }
        _ => {}
    }
    // A number, a comma, and a keyword as Transit spells it.
    let second = rest.iter().position(|byte| *byte == b'"').map(|at| rest.split_at(at));
    if let Some((before, [b'"', b'~', b':' | b'$', ..])) = second
        && before.iter().all(|byte| byte.is_ascii_digit() || b"-, ".contains(byte))
    {
        return Ok(Format::Transit);
    }
    // JSON separates by commas, which EDN may have too but does not print.
    if json::parse_line(record).is_ok() {
        return Ok(Format::Json);
    }
    if edn::parse_line(record).is_ok() {
        return Ok(Format::Edn);
    }
    let after_entity = rest.iter().find(|b| !b.is_ascii_digit() && !b.is_ascii_whitespace() && **b != b'-');
    Ok(if after_entity == Some(&b',') { Format::Json } else { Format::Edn })
}

/// The name of something else that begins with these bytes.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 13] = [
        (b"SQLite format 3\0", "an SQLite database"),
        (b"NPY", "data frozen by Nippy (only the JVM can thaw it: dump it as text, with Datalevin without --nippy)"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\xfd7zXZ\0", "an xz file"),
        (b"BZh", "a bzip2 file"),
        (b"\x1f\x8b", "a file compressed twice"),
        (b"\x28\xb5\x2f\xfd", "a file compressed twice"),
        (b"\x04\x22\x4d\x18", "an LZ4 file"),
        (b"\xff\xfe", "text in UTF-16"),
        (b"\xfe\xff", "text in UTF-16"),
        (b"\x7fELF", "a program"),
        (b"PGDMP", "a PostgreSQL dump"),
        (b"REDIS", "a Redis dump"),
    ];
    if bytes.get(16..20) == Some(&[0xde, 0xc0, 0xef, 0xbe]) {
        return Some("a file of LMDB (Datalevin's? dump it with `dtlv -d DIR -g -f FILE dump`)");
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Some("a tar archive; unpack it");
    }
    known.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, what)| *what)
}

/// What a directory holds, told by its manifest or the names in it.
pub(super) fn directory(path: &Path) -> Result<Directory> {
    let names = names(path)?;
    let has = |name: &str| names.iter().any(|n| n == name);
    let unknown = |what: &str| Err(Error::new(ErrorKind::Data, path.display(), what));
    if has("manifest.edn") {
        return Ok(Directory::Whole(manifest_format(&path.join("manifest.edn"))?));
    }
    if has("chunks") && (has("checkpoint.edn") || has("complete.marker")) {
        return Ok(Directory::Whole(Format::Datacamp));
    }
    let dump_chunk = |n: &String| n.starts_with("datoms-") && (n.ends_with(".cbor") || n.ends_with(".cbor.gz"));
    if names.iter().any(dump_chunk) {
        return Ok(Directory::Whole(Format::Dump));
    }
    if storage::is_folder(&names) {
        return Ok(Directory::Whole(Format::Storage));
    }
    let files: Vec<PathBuf> = names.iter().filter(|n| is_text(n)).map(|n| path.join(n)).collect();
    if !files.is_empty() {
        let others = names.iter().filter(|n| !n.starts_with('.') && !is_text(n)).count();
        return Ok(Directory::Files(files, others as u64));
    }
    if names.iter().any(|n| n.ends_with(".ksv")) {
        let message = format!("a Datahike file store, which is backed up as `datahike:{}`", path.display());
        return unknown(&message);
    }
    if has("data.mdb") {
        return unknown(
            "an LMDB environment (Datalevin's?); dump it with `dtlv -d DIR -g -f FILE dump` and back up the dump",
        );
    }
    let backups: Vec<_> = names.iter().filter(|n| is_datacamp(&path.join(n))).collect();
    if let Some(newest) = backups.last() {
        let n = backups.len();
        return unknown(&format!("{n} datacamp backups, of which one has to be named, such as the newest: {newest}"));
    }
    unknown("a directory without datoms: no manifest.edn and no .edn, .json or .jsonl files")
}

fn is_datacamp(path: &Path) -> bool {
    path.join("chunks").is_dir() && (path.join("manifest.edn").is_file() || path.join("checkpoint.edn").is_file())
}

fn names(path: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::io(path.display(), error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn is_text(name: &str) -> bool {
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    !name.starts_with('.') && [".edn", ".json", ".jsonl", ".ndjson"].iter().any(|ending| plain.ends_with(ending))
}

fn manifest_format(path: &Path) -> Result<Format> {
    let failed = |error| Error::io(path.display(), error);
    let unknown = |why: &str| Err(Error::new(ErrorKind::Data, path.display(), why));
    if std::fs::metadata(path).map_err(failed)?.len() > MANIFEST_MAX_BYTES {
        return unknown("a manifest of more than 256 MiB");
    }
    let text = std::fs::read(path).map_err(failed)?;
    let manifest = match edn::parse_value(&text) {
        Ok(manifest) => manifest,
        Err(why) => return Err(Error::new(ErrorKind::Data, path.display(), "not a manifest").because(why)),
    };
    let has = |wanted: &str| match &manifest {
        Value::Map(entries) => entries.iter().any(|(key, _)| matches!(key, Value::Keyword(name) if name == wanted)),
        _ => false,
    };
    if has("datahike.migrate/format-version") {
        Ok(Format::Dump)
    } else if has("backup/id") {
        Ok(Format::Datacamp)
    } else {
        unknown("neither the manifest of a Datahike dump nor of a datacamp backup")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::{Format, stream};
    use crate::source::datoms::input::Input;

    /// The name of the format, or the message that refuses it.
    fn check(bytes: &[u8], expected: &str) {
        let source = std::io::Cursor::new(bytes.to_vec());
        let mut input = Input::new("x".to_owned(), Box::new(source)).unwrap();
        let found = stream(&mut input).map_or_else(|e| e.message().to_owned(), |format| format!("{format:?}"));
        assert!(found.contains(expected), "{:?}: {found}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn text_is_told_apart_by_its_first_datom() {
        for (bytes, expected) in [
            ("", "Edn"),
            ("\n\n; only a comment", "Edn"),
            ("[1 :a 2 3 true]", "Edn"),
            ("\u{feff}\n;c\n  [1 :a 2 3]\n", "Edn"),
            ("[1, :a, 2, 3, true]", "Edn"),
            ("#datahike/Datom [1 :a 2 3 true]", "Edn"),
            ("#datascript/DB {:schema nil}", "DataScript"),
            ("#:db{:ident {}}", "Datalevin"),
            ("{:t 1, :data []}", "Log"),
            ("[{:tx 1 :data []}]", "Log"),
            ("{:id->attr {}}", "Log"),
            ("{:dbi \"x\" :entries 5}", "raw keys"),
            ("{\"count\":5", "Serializable"),
            ("{\"keywords\" : []", "Serializable"),
            ("[1,\"~:a\",2,3,true]", "Transit"),
            ("[[1,\"~:a\",2,3]]", "Transit"),
            ("[\"~#datascript/DB\",[\"^ \"]]", "Transit"),
            ("{\"~:t\":5}", "Transit"),
            ("[1,\":a\",2,3,true]", "Json"),
            ("[1 , \"a\", 2, 3]", "Json"),
            ("[1 \"a\" 2 3]", "Edn"),
            ("{\"e\":1}", "Json"),
            ("{:opts 1}", "Datalevin"),
            ("[[1,2]]", "one datom a line"),
            ("[1,broken", "Json"),
            ("[1 broken", "Edn"),
            ("[\"^ \",\"~:a\",1]", "Transit"),
            ("[{\"a\":1}]", "one datom a line"),
            ("hello", "no format"),
        ] {
            check(bytes.as_bytes(), expected);
        }
    }

    #[test]
    fn other_things_are_named() {
        check(b"\x85\x01\x02\x03\x04\xf5", "FlatCbor");
        check(b"SQLite format 3\0...", "SQLite");
        check(b"NPY\0\x01", "Nippy");
        check(b"PK\x03\x04..", "ZIP");
        assert_ne!(Format::Edn, Format::Json);
    }
}
