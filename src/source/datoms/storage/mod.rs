//! DataScript's storage: the nodes of its index, kept in a folder of EDN files or in a table of an SQLite database (as
//! Logseq does).
//!
//! Address 0 holds the root, address 1 the tail: transactions that are not yet in the index, to be replayed over it. All
//! other addresses hold nodes. The folder is written without any order, so whoever copies it while it is in use may get a
//! root without its nodes; here such a state is refused. SQLite gives a state that is whole.

mod folder;
mod node;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tail;

pub(super) use folder::is_folder;

use std::collections::HashSet;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Datom, Value, edn};
use crate::source::datoms::facts;
use crate::source::datoms::tally::Tally;
use crate::source::datoms::{DatomSource, Format, OnError, Options, Reading, View};
use node::{Content, Node, Root, Syntax};
use tail::Tail;

/// What an SQLite database begins with.
pub(super) const SQLITE: &[u8] = b"SQLite format 3\0";
const ROOT: i64 = 0;
const TAIL: i64 = 1;
/// A tree of this height has more datoms than there can be.
const LEVELS_MAX: u32 = 32;

/// Where contents are kept by their addresses.
trait Home: Send {
    /// What errors call it.
    fn name(&self) -> String;
    /// What errors call an address.
    fn place(&self, address: i64) -> String;
    /// What is at an address.
    fn get(&mut self, address: i64) -> Result<Option<Content>>;
    /// Begins a reading of one state, where that can be had.
    fn begin(&mut self) -> Result<()>;
    /// Whether the state read is sure to have been one: root and tail, as they were read, are still there.
    fn end(&mut self, root: &[u8], tail: &[u8]) -> Result<bool>;
}

/// A source that reads a folder.
pub(super) fn open_folder(path: &Path, options: &Options) -> Box<dyn DatomSource> {
    Box::new(Storage { home: Box::new(folder::Folder::new(path)), on_error: options.on_error })
}

/// A source that reads an SQLite database.
#[cfg(feature = "sqlite")]
pub(super) fn open_sqlite(path: &Path, options: &Options) -> Result<Box<dyn DatomSource>> {
    Ok(Box::new(Storage { home: Box::new(sqlite::Sqlite::open(path)?), on_error: options.on_error }))
}

/// Refuses: this program was built without SQLite.
#[cfg(not(feature = "sqlite"))]
pub(super) fn open_sqlite(path: &Path, _: &Options) -> Result<Box<dyn DatomSource>> {
    Err(Error::new(ErrorKind::Usage, path.display(), "an SQLite database, and this program was built without SQLite"))
}

struct Storage {
    home: Box<dyn Home>,
    on_error: OnError,
}

struct Walk<'w> {
    home: &'w mut dyn Home,
    syntax: Syntax,
    on_error: OnError,
    tail: &'w Tail,
    tally: &'w mut Tally,
    seen: HashSet<i64>,
}

impl Walk<'_> {
    /// Hands out the datoms below an address.
    fn node(&mut self, address: i64, height: u32, sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>) -> Result<()> {
        let place = self.home.place(address);
        let damaged = |why: String| Error::new(ErrorKind::Damaged, &place, why);
        if height == 0 {
            return Err(damaged("a tree that is too deep".to_owned()));
        }
        if !self.seen.insert(address) {
            return Err(damaged("two nodes name this one".to_owned()));
        }
        let Some(content) = self.home.get(address)? else {
            let why = "the node is missing: was the storage in use? copy or read it when nobody writes";
            return Err(damaged(why.to_owned()));
        };
        self.tally.reading.bytes += content.text.len() as u64;
        match content.node(self.syntax).map_err(damaged)? {
            Node::Branch(addresses) => {
                for child in addresses {
                    self.node(child, height - 1, sink)?;
                }
                Ok(())
            }
            Node::Leaf(keys) => {
                for key in keys {
                    self.datom(key, &place, sink)?;
                }
                Ok(())
            }
        }
    }

    fn datom(&mut self, key: Value<'_>, place: &str, sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>) -> Result<()> {
        match facts::datom(key, None) {
            Ok(datom) if self.tail.decides(&datom) => Ok(()),
            Ok(datom) => {
                self.tally.count(&datom);
                sink(&datom)
            }
            Err(why) if self.on_error == OnError::Collect => {
                self.tally.problem(place.to_owned(), why);
                Ok(())
            }
            Err(why) => Err(Error::new(ErrorKind::Data, place, why)),
        }
    }
}

impl DatomSource for Storage {
    fn read(&mut self, sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>) -> Result<Reading> {
        let home = self.home.as_mut();
        home.begin()?;
        let mut tally = Tally::new(Format::Storage);
        let Some(content) = home.get(ROOT)? else {
            return Err(Error::new(ErrorKind::Data, home.name(), "no DataScript database: nothing is at address 0"));
        };
        let root_text = content.text.clone();
        let syntax = content.syntax();
        let place = home.place(ROOT);
        let root = content.root().map_err(|why| Error::new(ErrorKind::Damaged, place, why))?;
        let tail_content = home.get(TAIL)?;
        let tail_text = tail_content.as_ref().map(|tail| tail.text.clone()).unwrap_or_default();
        let place = home.place(TAIL);
        let tail = match tail_content {
            Some(content) => Tail::read(&content, syntax).map_err(|why| Error::new(ErrorKind::Damaged, place, why))?,
            None => Tail::default(),
        };
        tally.reading.bytes += root_text.len() as u64 + tail_text.len() as u64;
        describe(&root, &tail, &mut tally);
        let mut walk = Walk {
            home: &mut *home,
            syntax,
            on_error: self.on_error,
            tail: &tail,
            tally: &mut tally,
            seen: HashSet::new(),
        };
        if let Some(address) = root.eavt {
            walk.node(address, LEVELS_MAX, sink)?;
        }
        for datom in tail.asserted() {
            tally.count(datom);
            sink(datom)?;
        }
        if !home.end(&root_text, &tail_text)? {
            let message = "the storage was written to while it was read: run again, when nobody writes";
            return Err(Error::new(ErrorKind::Data, home.name(), message));
        }
        tally.reading.view = View::Current;
        Ok(tally.finish())
    }
}

fn describe(root: &Root, tail: &Tail, tally: &mut Tally) {
    let properties = &mut tally.reading.properties;
    if let Some(schema) = root.schema.as_ref().filter(|schema| !matches!(schema, Value::Nil)) {
        let mut text = Vec::new();
        edn::print_value(schema, &mut text);
        properties.insert("schema".to_owned(), String::from_utf8_lossy(&text).into_owned());
    }
    if let Some(max_t) = root.max_tx.max(tail.max_t()) {
        properties.insert("max-t".to_owned(), max_t.to_string());
    }
    if tail.transactions() > 0 {
        tally.note("transactions of the tail, replayed over the index", tail.transactions());
    }
}

#[cfg(test)]
mod tests;
