//! A tree from a sorted stream, with one open node per level in memory.

use super::split::Splitter;
use super::{Child, Node, Root, TreeParameters, WriteNode, child, node, separator};
use crate::error::{DecodeError, Error, ErrorKind};
use crate::record::Rows;

/// The most bytes of a record: a leaf is cut after the record that fills it, and must stay under what readers take.
pub const MAX_RECORD_BYTES: usize = 16 << 20;

/// What became of a pushed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// It is in the tree.
    New,
    /// The record before it is the same; it is in the tree once.
    Duplicate,
}

/// Takes records in ascending order and writes nodes as they fill.
#[derive(Clone)]
pub struct Builder {
    parameters: TreeParameters,
    /// The open node of each level, leaves first.
    levels: Vec<OpenNode>,
    /// The last record of the last finished leaf.
    last: Option<(Vec<u8>, Vec<u8>)>,
    separator: Vec<u8>,
}

#[derive(Clone)]
struct OpenNode {
    level: u8,
    splitter: Splitter,
    rows: Rows,
    /// Finished nodes of this level, and the last of them.
    finished: u64,
    newest: Option<Child>,
}

impl Builder {
    /// Of an empty tree.
    pub fn new(parameters: &TreeParameters) -> Self {
        let levels = vec![OpenNode::new(parameters, 0)];
        Self { parameters: parameters.clone(), levels, last: None, separator: Vec::new() }
    }

    /// Adds a record after all others.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] when the key is not above the last one, unless key and value are the last record again.
    #[inline]
    pub fn push(&mut self, writer: &mut dyn WriteNode, key: &[u8], value: &[u8]) -> Result<Pushed, Error> {
        if let Some((last_key, last_value)) = self.last_record()
            && last_key >= key
        {
            return if (last_key, last_value) == (key, value) { Ok(Pushed::Duplicate) } else { Err(disorder(key)) };
        }
        if key.len().saturating_add(value.len()) > MAX_RECORD_BYTES {
            return Err(Error::new(ErrorKind::Data, name_of(key), "record over 16 MiB"));
        }
        if self.levels[0].push(key, value) {
            self.last = Some((key.to_vec(), value.to_vec()));
            self.finish_upwards(writer, 0)?;
        }
        Ok(Pushed::New)
    }

    /// The root of the whole tree; writes the nodes of the right edge.
    pub fn finish(mut self, writer: &mut dyn WriteNode) -> Result<Root, Error> {
        let kind = self.parameters.kind().code();
        for level in 0.. {
            let Some(open) = self.levels.get(level) else { break };
            if !open.rows.is_empty() {
                self.finish_node(writer, level)?;
            }
            if self.levels[level].finished == 1
                && let Some(top) = self.levels[level].newest.take()
            {
                return Ok(Root::of(kind, self.levels[level].level, top));
            }
        }
        Ok(Root::empty(kind))
    }

    /// The root of everything pushed so far; the build goes on as if nothing happened.
    pub fn checkpoint(&self, writer: &mut dyn WriteNode) -> Result<Root, Error> {
        self.clone().finish(writer)
    }

    /// Whether the next row of `level` would be the first of its node, and so on all levels below.
    pub(super) fn is_between_nodes(&self, level: u8) -> bool {
        self.levels.iter().take(usize::from(level) + 1).all(|open| open.rows.is_empty())
    }

    /// Adds a finished node of `level` and all that is below it, when the build is [`Self::is_between_nodes`] there.
    ///
    /// The node must have ended by the rule, not because the records did.
    pub(super) fn push_node(
        &mut self,
        writer: &mut dyn WriteNode,
        level: u8,
        separator: &[u8],
        child: Child,
    ) -> Result<(), Error> {
        let value = child.encode();
        let level = usize::from(level);
        self.open_level(level);
        for below in &mut self.levels[..level] {
            // A node that ended by the rule has two children or more.
            below.finished = below.finished.saturating_add(2);
        }
        self.levels[level].finished += 1;
        self.levels[level].newest = Some(child);
        self.open_level(level + 1);
        if self.levels[level + 1].push(separator, &value) {
            self.finish_upwards(writer, level + 1)?;
        }
        Ok(())
    }

    /// Finishes the node of `level`, and those above that are full with it.
    fn finish_upwards(&mut self, writer: &mut dyn WriteNode, mut level: usize) -> Result<(), Error> {
        while self.finish_node(writer, level)? {
            level += 1;
        }
        Ok(())
    }

    /// Writes the open node of `level` and adds it to the level above; says whether that one is full now.
    fn finish_node(&mut self, writer: &mut dyn WriteNode, level: usize) -> Result<bool, Error> {
        self.open_level(level + 1);
        let open = &mut self.levels[level];
        let node = Node { kind: self.parameters.kind().code(), level: open.level, rows: open.rows.clone() };
        open.rows.clear();
        self.separator.clear();
        let last_key = node.rows.key(node.rows.len() - 1);
        if level == 0 {
            separator::put(&mut self.separator, &self.parameters.keys, last_key);
        } else {
            self.separator.extend_from_slice(last_key);
        }
        let mut child = child::describe(&self.parameters, &node, crate::id::BlobId::new([0; 32]))
            .map_err(|why| Error::damaged("tree node", why))?;
        if child.summary.len() > child::MAX_SUMMARY_LEN {
            return Err(Error::damaged("tree node", DecodeError::TooLarge("summary")));
        }
        child.id = writer.write_node(node)?;
        let value = child.encode();
        open.finished += 1;
        open.newest = Some(child);
        Ok(self.levels[level + 1].push(&self.separator, &value))
    }

    fn open_level(&mut self, level: usize) {
        while self.levels.len() <= level {
            let next = u8::try_from(self.levels.len()).expect("levels halve, so that 2^64 records have at most 64");
            self.levels.push(OpenNode::new(&self.parameters, next));
        }
    }

    fn last_record(&self) -> Option<(&[u8], &[u8])> {
        let rows = &self.levels[0].rows;
        match rows.len().checked_sub(1) {
            Some(last) => Some((rows.key(last), rows.value(last))),
            None => self.last.as_ref().map(|(key, value)| (key.as_slice(), value.as_slice())),
        }
    }
}

impl OpenNode {
    fn new(parameters: &TreeParameters, level: u8) -> Self {
        let splitter = Splitter::new(&parameters.keys, level, parameters.target_bytes(level));
        Self { level, splitter, rows: Rows::new(), finished: 0, newest: None }
    }

    #[inline]
    fn push(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.rows.push(key, value);
        self.splitter.ends_after(key, node::cost(key, value))
    }
}

fn disorder(key: &[u8]) -> Error {
    Error::new(ErrorKind::Data, name_of(key), "keys do not ascend")
}

/// The start of a key, for messages.
pub(super) fn name_of(key: &[u8]) -> String {
    let start = key.get(..32).unwrap_or(key);
    format!("record {}{}", crate::id::hex(start), if start.len() < key.len() { "…" } else { "" })
}
