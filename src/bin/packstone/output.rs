//! Everything that is printed: lines and tables for people, JSON for programs.
//!
//! Results go to standard output, unless that carries data (`dump`); errors, notes and progress go to standard error.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use comfy_table::{Cell, CellAlignment, Table, presets};
use packstone::Error;
use serde_json::{Value, json};

use crate::args::Global;
use crate::edn;
use crate::exit::{Code, Failure, Result};

/// Where and how to print.
#[derive(Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
    verbose: bool,
    /// Standard output carries data.
    data: AtomicBool,
    /// The namespace of results in EDN, where that is wanted.
    edn: OnceLock<&'static str>,
}

/// A column of a table.
#[derive(Clone, Copy)]
pub enum Column {
    Text(&'static str),
    Number(&'static str),
}

impl Output {
    /// As the command line asks.
    pub fn new(global: &Global) -> Arc<Self> {
        Arc::new(Self {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose > 0,
            data: AtomicBool::new(false),
            edn: OnceLock::new(),
        })
    }

    /// Whether programs read results, as JSON or as EDN.
    pub fn is_json(&self) -> bool {
        self.json || self.is_edn()
    }

    /// From now on results are EDN, if that is asked for, with the keys of documents in this namespace.
    pub fn speak(&self, format: Option<edn::Format>, namespace: &'static str) {
        if let Some(edn::Format::Edn) = format {
            self.edn.get_or_init(|| namespace);
        }
    }

    /// Whether results are EDN.
    pub fn is_edn(&self) -> bool {
        self.edn.get().is_some()
    }

    /// A document as programs read it, in one line.
    pub fn written(&self, value: &Value) -> String {
        match self.edn.get() {
            Some(namespace) => edn::text(&edn::document(value, namespace)),
            None => value.to_string(),
        }
    }

    /// A document of EDN's own.
    pub fn edn(&self, value: &packstone::record::datom::Value<'_>) -> Result<()> {
        self.print(&edn::text(value))
    }

    /// Whether only results and errors are wanted.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether details are wanted.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// From now on standard output carries data, and results go to standard error.
    pub fn keep_stdout_for_data(&self) {
        self.data.store(true, Ordering::Relaxed);
    }

    /// A line of a result, for people.
    pub fn line(&self, text: impl Display) -> Result<()> {
        if self.is_json() { Ok(()) } else { self.print(&text.to_string()) }
    }

    /// A line that `--quiet` leaves out.
    pub fn info(&self, text: impl Display) -> Result<()> {
        if self.quiet { Ok(()) } else { self.line(text) }
    }

    /// The one document, or one line of several, that programs read.
    pub fn json(&self, value: &Value) -> Result<()> {
        if self.is_json() { self.print(&self.written(value)) } else { Ok(()) }
    }

    /// A document with line breaks, also without `--json`.
    pub fn pretty(&self, value: &Value) -> Result<()> {
        if self.is_edn() { self.print(&self.written(value)) } else { self.print(&format!("{value:#}")) }
    }

    /// Bytes as they are.
    pub fn raw(&self, bytes: &[u8]) -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(stdout_failure)
    }

    /// A table: with lines on a terminal, else columns set apart by blanks.
    pub fn table(&self, columns: &[Column], rows: &[Vec<String>]) -> Result<()> {
        if self.is_json() {
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(if self.on_terminal() { presets::UTF8_HORIZONTAL_ONLY } else { presets::NOTHING });
        let alignment = |column: &Column| match column {
            Column::Text(_) => CellAlignment::Left,
            Column::Number(_) => CellAlignment::Right,
        };
        table.set_header(columns.iter().map(|column| {
            let (Column::Text(name) | Column::Number(name)) = column;
            Cell::new(name).set_alignment(alignment(column))
        }));
        for row in rows {
            let cells = row.iter().zip(columns);
            table.add_row(cells.map(|(text, column)| Cell::new(text).set_alignment(alignment(column))));
        }
        for column in table.column_iter_mut().filter(|_| !self.on_terminal()) {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Something worth knowing.
    pub fn note(&self, text: &str) {
        if self.json {
            Self::standard_error(&json!({ "message_type": "note", "message": text }).to_string());
        } else if !self.quiet {
            Self::standard_error(&format!("note: {text}"));
        }
    }

    /// What was met on the way: a line for people, or a message for programs.
    pub fn trouble(&self, text: &str, message: &Value) {
        if self.json {
            Self::standard_error(&message.to_string());
        } else if !self.quiet {
            Self::standard_error(&format!("note: {text}"));
        }
    }

    /// Something that the run survives but that its exit code shows.
    pub fn problem(&self, object: &str, message: &str) {
        if self.json {
            let value = json!({ "message_type": "error", "error": { "message": message }, "item": object });
            Self::standard_error(&value.to_string());
        } else {
            Self::standard_error(&format!("{} {object}: {message}", paint("33", "problem:")));
        }
    }

    /// What went wrong and what to do about it, for people.
    pub fn error(&self, text: &str, hint: Option<&str>) {
        if !self.json {
            Self::standard_error(&format!("{} {text}", paint("1;31", "error:")));
            if let Some(hint) = hint {
                self.hint(hint);
            }
        }
    }

    /// The same about one input of several, for programs.
    pub fn input_error(&self, object: &str, message: &str, hint: Option<&str>) {
        if self.json {
            let value = json!({ "message_type": "error", "error": { "message": message }, "item": object });
            Self::standard_error(&advised(value, hint).to_string());
        }
    }

    /// What to do about it, for people.
    pub fn hint(&self, text: &str) {
        if !self.json {
            Self::standard_error(&format!("{} {text}", paint("36", "hint:")));
        }
    }

    /// The last line that a program reads when the exit code is not 0.
    pub fn exit_error(&self, code: Code, message: &str, hint: Option<&str>) {
        if self.json {
            let value = json!({ "message_type": "exit_error", "code": code.number(), "message": message });
            Self::standard_error(&advised(value, hint).to_string());
        }
    }

    /// A line on standard error. When that has gone too there is nobody left to tell.
    pub fn standard_error(text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    fn on_terminal(&self) -> bool {
        std::io::stdout().is_terminal() && !self.data.load(Ordering::Relaxed)
    }

    fn print(&self, text: &str) -> Result<()> {
        if self.data.load(Ordering::Relaxed) {
            Self::standard_error(text);
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(stdout_failure)
    }
}

/// Colours `text` where standard error is a terminal that wants colours.
fn paint(colour: &str, text: &str) -> String {
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// A message for programs with what to do about it, where that is known.
fn advised(mut message: Value, hint: Option<&str>) -> Value {
    if let Some(hint) = hint {
        message["hint"] = json!(hint);
    }
    message
}

fn stdout_failure(error: std::io::Error) -> Failure {
    Error::io("standard output", error).into()
}

/// A number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 pack`, `2 packs`.
pub fn counted(number: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(number), if number == 1 { "" } else { "s" })
}
