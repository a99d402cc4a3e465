//! How fast datoms become keys and columns, and how small: `cargo bench --bench records -- datoms.edn`.
//!
//! The argument is a file of EDN lines `[e a v t op]` with keywords, strings, integers and instants. Compared with the CBOR of the same
//! datoms, gzipped, which is the format that databases export.

#![expect(clippy::print_stdout, reason = "the figures are the output")]
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::io::Write;
use std::time::{Duration, Instant};

use packstone::record::datom::{Attribute, Datom, Datoms, Value, decode_key, encode_key};
use packstone::record::{RecordKind, Rows};

fn main() {
    let Some(path) = std::env::args().skip(1).find(|argument| !argument.starts_with("--")) else {
        println!("no file of datoms given: nothing measured");
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let mut datoms: Vec<Datom<'static>> = split(&text).map(parse).collect();
    drop(text);
    let count = datoms.len();
    println!("{count} datoms");

    let mut keys: Vec<Vec<u8>> = vec![Vec::new(); count];
    let mut buffer = Vec::new();
    report(
        "encode key",
        count,
        time(|| {
            for datom in &datoms {
                buffer.clear();
                encode_key(std::hint::black_box(datom), &mut buffer).unwrap();
                std::hint::black_box(&buffer);
            }
        }),
    );
    for (datom, key) in datoms.iter().zip(&mut keys) {
        encode_key(datom, key).unwrap();
    }
    keys.sort_unstable();
    keys.dedup();
    report(
        "decode key",
        keys.len(),
        time(|| {
            for key in &keys {
                std::hint::black_box(decode_key(key).unwrap());
            }
        }),
    );

    let mut leaves = vec![Rows::new()];
    for key in &keys {
        if leaves.last().unwrap().size_bytes() >= Datoms.leaf_target_bytes() as usize {
            leaves.push(Rows::new());
        }
        leaves.last_mut().unwrap().push(key, &[]);
    }
    let row_bytes: usize = keys.iter().map(Vec::len).sum();
    println!("{} leaves, {:.1} bytes of row a datom", leaves.len(), row_bytes as f64 / keys.len() as f64);

    let mut columns = Vec::new();
    report("encode columns", keys.len(), time(|| columns = leaves.iter().map(|rows| Datoms.encode(rows)).collect()));
    let mut again: Vec<Rows> = Vec::new();
    report("decode columns", keys.len(), time(|| again = columns.iter().map(|c| Datoms.decode(c).unwrap()).collect()));
    assert!(again == leaves, "columns decode to the rows they were made of");

    let mut frame = Vec::new();
    let (mut stored, mut raw) = (0, 0);
    for leaf in &columns {
        raw += leaf.len();
        if !frame.is_empty() && frame.len() + leaf.len() > 200 << 10 {
            stored += zstd::bulk::compress(&frame, 3).unwrap().len();
            frame.clear();
        }
        frame.extend_from_slice(leaf);
    }
    stored += zstd::bulk::compress(&frame, 3).unwrap().len();

    datoms.sort_by_cached_key(|datom| {
        let mut key = Vec::new();
        encode_key(datom, &mut key).unwrap();
        key
    });
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    let mut cbor = Vec::new();
    for datom in &datoms {
        cbor.clear();
        put_cbor(datom, &mut cbor);
        gzip.write_all(&cbor).unwrap();
    }
    let gzipped = gzip.finish().unwrap().len();
    let each = |bytes: usize| bytes as f64 / keys.len() as f64;
    println!(
        "columns {:.2}, with zstd -3 {:.2}, CBOR with gzip -6 {:.2} bytes a datom",
        each(raw),
        each(stored),
        each(gzipped)
    );
    println!("ratio {:.3}", stored as f64 / gzipped as f64);
}

fn time(mut work: impl FnMut()) -> Duration {
    (0..3)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .min()
        .unwrap()
}

fn report(what: &str, count: usize, took: Duration) {
    println!("{what}: {:.2} million a second", count as f64 / took.as_secs_f64() / 1e6);
}

/// The datoms of a text; strings may hold newlines.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut end = 0;
        loop {
            end += rest.get(end..)?.find('\n')? + 1;
            let line = &rest[..end - 1];
            if line.ends_with(" true]") || line.ends_with(" false]") {
                rest = &rest[end..];
                return Some(line);
            }
        }
    })
}

/// A datom of an EDN line as the generator of the data writes it.
fn parse(line: &str) -> Datom<'static> {
    let line = line.strip_prefix('[').unwrap().strip_suffix(']').unwrap();
    let (e, rest) = line.split_once(' ').unwrap();
    let (a, rest) = rest.split_once(' ').unwrap();
    let (rest, op) = rest.rsplit_once(' ').unwrap();
    let (v, t) = rest.rsplit_once(' ').unwrap();
    let v = if let Some(text) = v.strip_prefix('"') {
        let mut bytes = Vec::new();
        let mut characters = text[..text.len() - 1].bytes();
        while let Some(c) = characters.next() {
            bytes.push(if c == b'\\' { characters.next().unwrap() } else { c });
        }
        Value::String(bytes.into())
    } else if let Some(name) = v.strip_prefix(':') {
        Value::Keyword(name.to_owned().into())
    } else if let Some(text) = v.strip_prefix("#inst \"") {
        let time: jiff::Timestamp = text[..text.len() - 1].replace("-00:00", "Z").parse().unwrap();
        Value::Instant(time.as_millisecond())
    } else {
        Value::Long(v.parse().unwrap())
    };
    let a = Attribute::Keyword(a[1..].to_owned().into());
    Datom { e: e.parse().unwrap(), a, v, t: t.parse().unwrap(), added: op == "true" }
}

fn put_cbor(datom: &Datom<'_>, out: &mut Vec<u8>) {
    let head = |kind: u8, number: u64, out: &mut Vec<u8>| match number {
        0..24 => out.push(kind << 5 | number as u8),
        24..0x100 => out.extend_from_slice(&[kind << 5 | 24, number as u8]),
        0x100..0x1_0000 => {
            out.push(kind << 5 | 25);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(kind << 5 | 26);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(kind << 5 | 27);
            out.extend_from_slice(&number.to_be_bytes());
        }
    };
    let long = |number: i64, out: &mut Vec<u8>| {
        if number < 0 { head(1, !number as u64, out) } else { head(0, number as u64, out) }
    };
    let keyword = |name: &str, out: &mut Vec<u8>| {
        head(6, 39, out);
        head(3, name.len() as u64 + 1, out);
        out.push(b':');
        out.extend_from_slice(name.as_bytes());
    };
    head(4, 5, out);
    long(datom.e, out);
    let Attribute::Keyword(name) = &datom.a else { panic!("only keywords in the file") };
    keyword(name, out);
    match &datom.v {
        Value::Long(number) => long(*number, out),
        Value::Instant(milliseconds) => {
            head(6, 1, out);
            out.push(0xfb);
            out.extend_from_slice(&(*milliseconds as f64 / 1000.0).to_be_bytes());
        }
        Value::Keyword(name) => keyword(name, out),
        Value::String(text) => {
            head(3, text.len() as u64, out);
            out.extend_from_slice(text);
        }
        _ => panic!("no other types in the file"),
    }
    long(datom.t, out);
    out.push(if datom.added { 0xf5 } else { 0xf4 });
}
