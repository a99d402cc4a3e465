//! Datoms as EDN or JSON, one a line.

use crate::error::Result;
use crate::record::datom::{Datom, edn, json};
use crate::target::datoms::output::Output;
use crate::target::datoms::{DatomTarget, Order, Written};

/// Appends a datom without a line feed.
pub(super) type PrintDatom = fn(&Datom<'_>, &mut Vec<u8>);

/// A target of lines.
pub(super) struct Lines {
    output: Output,
    print: PrintDatom,
    written: Written,
}

impl Lines {
    pub(super) fn edn(output: Output) -> Self {
        Self { output, print: edn::print_datom, written: Written::default() }
    }

    pub(super) fn json(output: Output) -> Self {
        Self { output, print: json::print_datom, written: Written::default() }
    }
}

impl DatomTarget for Lines {
    fn order(&self) -> Order {
        Order::Transaction
    }

    fn put(&mut self, datom: &Datom<'_>) -> Result<()> {
        let buffer = self.output.buffer();
        (self.print)(datom, buffer);
        buffer.push(b'\n');
        self.written.datoms += 1;
        self.output.flush_when_full()
    }

    fn finish(mut self: Box<Self>) -> Result<Written> {
        self.written.bytes = self.output.finish()?;
        Ok(self.written)
    }
}
