//! Datoms from text: EDN or JSON lines in one stream or in the files of a directory.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::edn::{self, TextError};
use crate::record::datom::{Datom, json};
use crate::source::datoms::input::Input;
use crate::source::datoms::tally::Tally;
use crate::source::datoms::{DatomSource, Format, OnError, Options, Reading, sniff};

/// A datom may have line feeds in its strings, but not more lines ...
const JOINED_LINES_MAX: u64 = 1000;
/// ... or bytes than this.
const JOINED_BYTES_MAX: usize = 16 << 20;

type ParseLine = for<'a> fn(&'a [u8]) -> Result<Option<Datom<'a>>, TextError>;

/// A source of lines.
pub(super) struct Lines {
    format: Format,
    /// Every file is in `format`, without asking it.
    forced: bool,
    on_error: OnError,
    first: Option<Input>,
    rest: std::vec::IntoIter<PathBuf>,
    others: u64,
}

impl Lines {
    /// A stream in this format, which is EDN or JSON.
    pub(super) fn stream(input: Input, format: Format, options: &Options) -> Self {
        let rest = Vec::new().into_iter();
        Self { format, forced: true, on_error: options.on_error, first: Some(input), rest, others: 0 }
    }

    /// Files in the order given, each sniffed; `others` lie beside them and are not read.
    pub(super) fn files(paths: Vec<PathBuf>, others: u64, options: &Options) -> Result<Self> {
        let mut rest = paths.into_iter();
        let mut first = rest.next().map(|path| Input::open(&path)).transpose()?;
        let format = match (options.format, &mut first) {
            (Some(format), _) => format,
            (None, Some(input)) => text_format(input)?,
            (None, None) => Format::Edn,
        };
        Ok(Self { format, forced: options.format.is_some(), on_error: options.on_error, first, rest, others })
    }

    fn read_stream(
        &self,
        mut input: Input,
        parse: ParseLine,
        tally: &mut Tally,
        sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>,
    ) -> Result<()> {
        let name = input.name().to_owned();
        let mut number = 0_u64;
        let mut joined = Vec::new();
        while let Some(line) = input.line()? {
            number += 1;
            let line = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
            match parse(line) {
                Ok(Some(datom)) => {
                    tally.count(&datom);
                    sink(&datom)?;
                }
                Ok(None) => {}
                Err(why) if why.is_unclosed() => {
                    joined.clear();
                    joined.extend_from_slice(line);
                    let lines = self.read_joined(&mut input, &mut joined, parse)?;
                    match parse(&joined) {
                        Ok(Some(datom)) => {
                            tally.count(&datom);
                            sink(&datom)?;
                        }
                        _ => self.read_apart(&joined, (&name, number), parse, tally, sink)?,
                    }
                    number += lines;
                }
                Err(why) => self.report(&why, (&name, number), tally)?,
            }
        }
        tally.reading.bytes += input.stored_bytes();
        Ok(())
    }

    /// Appends lines until they make a datom together, as strings with line feeds in them do, or cannot; returns how many.
    fn read_joined(&self, input: &mut Input, joined: &mut Vec<u8>, parse: ParseLine) -> Result<u64> {
        let mut lines = 0;
        while lines < JOINED_LINES_MAX && joined.len() < JOINED_BYTES_MAX {
            let Some(line) = input.line()? else { break };
            lines += 1;
            joined.push(b'\n');
            joined.extend_from_slice(line);
            let may_close = line.iter().any(|byte| b"\"])}".contains(byte));
            if may_close && !parse(joined).is_err_and(|why| why.is_unclosed()) {
                break;
            }
        }
        Ok(lines)
    }

    /// Lines that were taken for one datom and are none.
    fn read_apart(
        &self,
        joined: &[u8],
        (name, first): (&str, u64),
        parse: ParseLine,
        tally: &mut Tally,
        sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>,
    ) -> Result<()> {
        for (number, line) in (first..).zip(joined.split(|byte| *byte == b'\n')) {
            match parse(line) {
                Ok(Some(datom)) => {
                    tally.count(&datom);
                    sink(&datom)?;
                }
                Ok(None) => {}
                Err(why) => self.report(&why, (name, number), tally)?,
            }
        }
        Ok(())
    }

    /// A line that is no datom: the end of the reading, or one of those left out.
    fn report(&self, why: &TextError, (name, number): (&str, u64), tally: &mut Tally) -> Result<()> {
        if self.on_error == OnError::Abort {
            return Err(Error::new(ErrorKind::Data, format!("{name}:{number}:{}", why.column), &why.reason));
        }
        tally.problem(format!("{name}:{number}"), why);
        Ok(())
    }
}

/// The format of one file among others.
fn text_format(input: &mut Input) -> Result<Format> {
    match sniff::stream(input)? {
        format @ (Format::Edn | Format::Json) => Ok(format),
        _ => Err(Error::new(ErrorKind::Data, input.name(), "neither EDN nor JSON, unlike its name")),
    }
}

fn parser(format: Format) -> ParseLine {
    if format == Format::Json { json::parse_line } else { edn::parse_line }
}

impl DatomSource for Lines {
    fn read(&mut self, sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>) -> Result<Reading> {
        let mut tally = Tally::new(self.format);
        if let Some(input) = self.first.take() {
            self.read_stream(input, parser(self.format), &mut tally, sink)?;
        }
        while let Some(path) = self.rest.next() {
            let mut input = Input::open(&path)?;
            let format = if self.forced { self.format } else { text_format(&mut input)? };
            self.read_stream(input, parser(format), &mut tally, sink)?;
        }
        if self.others > 0 {
            tally.note("other files in the directory, which were not read", self.others);
        }
        Ok(tally.finish())
    }
}
