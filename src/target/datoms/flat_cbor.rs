//! Datahike's flat export (D.1): a CBOR sequence of datoms, to a file or a stream.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use tempfile::NamedTempFile;

use super::{DatomTarget, Description, Location, Options, Order, Written};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::cbor::{self, Dialect};
use crate::record::datom::{Datom, Value};

/// A target that writes a file under a temporary name beside its final one, or to standard output.
pub fn create(location: &Location, options: &Options, _: &Description) -> Result<Box<dyn DatomTarget>> {
    let output = match location {
        Location::Stdout => Output::Stream(BufWriter::with_capacity(1 << 18, io::stdout())),
        Location::Path(path) => {
            if !options.overwrite && path.symlink_metadata().is_ok() {
                return Err(Error::new(ErrorKind::AlreadyExists, path.display(), "already exists"));
            }
            let file = tempfile::Builder::new()
                .prefix(".packstone-")
                .tempfile_in(super::dump::parent(path))
                .map_err(|e| Error::io(path.display(), e))?;
            Output::File {
                writer: BufWriter::with_capacity(1 << 18, file),
                path: path.clone(),
                overwrite: options.overwrite,
            }
        }
    };
    Ok(Box::new(FlatCbor { output, record: Vec::new(), written: Written::default(), losses: [0; LOSSES.len()] }))
}

const LOSSES: [&str; 5] = [
    "negative zeros written without their sign",
    "big integers written as plain integers, to be told apart by schema",
    "lists written as arrays, like tuples",
    "characters written as strings",
    "doubles written as half floats, to be told from floats by schema",
];

enum Output {
    Stream(BufWriter<io::Stdout>),
    File { writer: BufWriter<NamedTempFile>, path: std::path::PathBuf, overwrite: bool },
}

struct FlatCbor {
    output: Output,
    record: Vec<u8>,
    written: Written,
    losses: [u64; LOSSES.len()],
}

impl DatomTarget for FlatCbor {
    fn order(&self) -> Order {
        Order::Transaction
    }

    fn put(&mut self, datom: &Datom<'_>) -> Result<()> {
        self.record.clear();
        cbor::encode_datom(Dialect::CljCbor, datom, &mut self.record).map_err(|why| refuse(datom, why))?;
        count_losses(&datom.v, &mut self.losses);
        let written = match &mut self.output {
            Output::Stream(writer) => writer.write_all(&self.record),
            Output::File { writer, .. } => writer.write_all(&self.record),
        };
        written.map_err(|e| Error::io("flat CBOR", e))?;
        self.written.datoms += 1;
        self.written.bytes += self.record.len() as u64;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Written> {
        let losses = LOSSES.iter().zip(self.losses).filter(|(_, count)| *count > 0);
        self.written.notes = losses.map(|(name, count)| ((*name).to_owned(), count)).collect::<BTreeMap<_, _>>();
        match self.output {
            Output::Stream(mut writer) => writer.flush().map_err(|e| Error::io("standard output", e))?,
            Output::File { writer, path, overwrite } => {
                let failed = |e| Error::io(path.display(), e);
                let file = writer.into_inner().map_err(|e| failed(e.into_error()))?;
                file.as_file().sync_all().map_err(failed)?;
                let kept = if overwrite { file.persist(&path) } else { file.persist_noclobber(&path) };
                kept.map_err(|e| failed(e.error))?;
                super::dump::sync_directory(super::dump::parent(&path))?;
            }
        }
        Ok(self.written)
    }
}

/// An error that names the datom.
pub(super) fn refuse(datom: &Datom<'_>, why: cbor::Unrepresentable) -> Error {
    let object = format!("datom [{} {:?} .. {} {}]", datom.e, datom.a, datom.t, datom.added);
    Error::new(ErrorKind::Data, object, format!("cannot be written in this format: {why}")).because(why)
}

fn count_losses(value: &Value<'_>, losses: &mut [u64; LOSSES.len()]) {
    match value {
        Value::Double(x) if *x == 0.0 || !x.is_finite() => {
            losses[0] += u64::from(*x == 0.0 && x.is_sign_negative());
            losses[4] += 1;
        }
        Value::Float(x) if *x == 0.0 && x.is_sign_negative() => losses[0] += 1,
        Value::BigInt(big) if big.bits() <= 64 => losses[1] += 1,
        Value::Char(_) => losses[3] += 1,
        Value::List(elements) => {
            losses[2] += 1;
            elements.iter().for_each(|element| count_losses(element, losses));
        }
        Value::Tuple(elements) | Value::Set(elements) => elements.iter().for_each(|e| count_losses(e, losses)),
        Value::Map(entries) => entries.iter().for_each(|(key, value)| {
            count_losses(key, losses);
            count_losses(value, losses);
        }),
        Value::Tagged(_, value) => count_losses(value, losses),
        _ => {}
    }
}
