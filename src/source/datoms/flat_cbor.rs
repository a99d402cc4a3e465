//! Datahike's flat export (D.1): a CBOR sequence of datoms and nothing else.
//!
//! clj-cbor drops types that only the schema knows, and the schema is among the datoms, so the sequence is read twice;
//! from a stream that means a copy in a temporary file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::correct::{self, Notes, Schema};
use super::{DatomSource, Format, OnError, Options, Reading, View, sequence};
use crate::error::{Error, Result};
use crate::record::datom::Datom;
use crate::record::datom::cbor::Dialect;

/// A source that reads a stream; gzip is recognised.
pub fn open(reader: Box<dyn Read + Send>, name: String, options: &Options) -> Result<Box<dyn DatomSource>> {
    let mut spool = tempfile::tempfile().map_err(|e| Error::io("temporary file", e))?;
    let mut reader = reader;
    io::copy(&mut reader, &mut spool).map_err(|e| Error::io(&name, e))?;
    Ok(Box::new(FlatCbor { file: spool, name, on_error: options.on_error }))
}

/// A source that reads a file in place.
pub fn open_path(path: &Path, options: &Options) -> Result<Box<dyn DatomSource>> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|e| Error::io(&name, e))?;
    Ok(Box::new(FlatCbor { file, name, on_error: options.on_error }))
}

struct FlatCbor {
    file: File,
    name: String,
    on_error: OnError,
}

impl FlatCbor {
    fn content(&mut self) -> Result<Box<dyn Read + '_>> {
        let name = self.name.clone();
        self.file.rewind().map_err(|e| Error::io(&name, e))?;
        let mut plain = BufReader::with_capacity(1 << 18, &self.file);
        let start = plain.fill_buf().map_err(|e| Error::io(&name, e))?;
        if start.starts_with(&[0x1f, 0x8b]) { Ok(Box::new(MultiGzDecoder::new(plain))) } else { Ok(Box::new(plain)) }
    }
}

impl DatomSource for FlatCbor {
    fn read(&mut self, sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>) -> Result<Reading> {
        let (name, on_error) = (self.name.clone(), self.on_error);
        let mut reading = Reading::of(Format::FlatCbor);
        let mut schema = Schema::default();
        let mut learn = |datom: Datom<'_>, _: &[u8], _: &mut Reading| {
            schema.learn(&datom);
            Ok(())
        };
        sequence::read(&mut *self.content()?, &name, Dialect::CljCbor, on_error, &mut reading, &mut learn)?;
        schema.settle();

        let mut reading = Reading::of(Format::FlatCbor);
        let mut notes = Notes::default();
        let mut hand_out = |datom: Datom<'_>, _: &[u8], reading: &mut Reading| {
            let datom = schema.correct(datom, &mut notes);
            sink(&datom)?;
            reading.datoms += 1;
            reading.retractions += u64::from(!datom.added);
            Ok(())
        };
        sequence::read(&mut *self.content()?, &name, Dialect::CljCbor, on_error, &mut reading, &mut hand_out)?;
        notes.add_to(&mut reading.notes);
        reading.bytes = self.file.metadata().map_err(|e| Error::io(&name, e))?.len();
        if reading.retractions > 0 {
            reading.view = View::History;
        }
        if schema.has_references() {
            correct::describe_references(reading.view == View::History, &mut reading.properties);
        }
        Ok(reading)
    }
}
