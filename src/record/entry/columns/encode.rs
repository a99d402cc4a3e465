//! Rows into columns.

use std::collections::BTreeMap;

use super::{ATIME, CTIME, EXTENTS, FORM_SHIFT, INLINE, LINK, TREE, WHOLE, XATTRS};
use crate::record::Rows;
use crate::record::cursor::{common_prefix, put_len, put_varint, put_zigzag};
use crate::record::entry::Time;
use crate::record::entry::head::{ContentView, Head, RestView};
use crate::record::entry::row::put_link;

// format-spec records, columns of entries.
/// The columns of these rows.
pub(in crate::record::entry) fn encode(rows: &Rows) -> Vec<u8> {
    let mut columns = Columns::default();
    let mut previous: &[u8] = &[];
    for (key, value) in rows.iter() {
        columns.push_key(previous, key);
        let (head, rest) = Head::parse(value)
            .and_then(|head| Ok((head, head.rest()?)))
            .expect("rows of entries come from their encoder or decoder");
        columns.push(&head, &rest);
        previous = key;
    }
    columns.finish(rows.len())
}

#[derive(Default)]
struct Columns {
    classes: Dictionary,
    class: Vec<u8>,
    shared: Vec<u8>,
    further: Vec<u8>,
    mtimes: Times,
    ctimes: Times,
    atimes: Times,
    inodes: Vec<u8>,
    last_inode: u64,
    sizes: Vec<u8>,
    links: Vec<u8>,
    xattrs: Dictionary,
    others: Vec<u8>,
    keys: Vec<u8>,
    contents: Vec<u8>,
    ids: Vec<u8>,
}

impl Columns {
    fn push_key(&mut self, previous: &[u8], key: &[u8]) {
        let (shared, further) = key.split_at(common_prefix(previous, key));
        put_len(shared.len(), &mut self.shared);
        put_len(further.len(), &mut self.further);
        self.keys.extend_from_slice(further);
    }

    fn push(&mut self, head: &Head<'_>, rest: &RestView<'_>) {
        self.push_class(head, rest);
        self.mtimes.push(head.mtime);
        if head.ctime != head.mtime {
            self.ctimes.push(head.ctime);
        }
        if let Some(atime) = head.atime {
            self.atimes.push(atime);
        }
        put_zigzag(head.inode.wrapping_sub(self.last_inode).cast_signed(), &mut self.inodes);
        self.last_inode = head.inode;
        if let Some(link) = head.link {
            put_link(link, &mut self.links);
        }
        if head.has_xattrs() {
            self.xattrs.push(head.xattrs);
        }
        if head.is_file() {
            put_varint(head.size, &mut self.sizes);
        }
        self.push_rest(head.size, rest);
    }

    fn push_class(&mut self, head: &Head<'_>, rest: &RestView<'_>) {
        let form = match rest {
            RestView::File(content) => form(head.size, content),
            _ => 0,
        };
        let marks = [
            (head.ctime != head.mtime, CTIME),
            (head.atime.is_some(), ATIME),
            (head.link.is_some(), LINK),
            (head.has_xattrs(), XATTRS),
        ];
        let marks = marks.iter().filter(|(present, _)| *present).fold(0, |all, (_, mark)| all | mark);
        self.class.clear();
        self.class.push(marks | form << FORM_SHIFT);
        self.class.extend_from_slice(head.class);
        self.classes.push(&self.class[..]);
    }

    fn push_rest(&mut self, size: u64, rest: &RestView<'_>) {
        match rest {
            RestView::File(content) => match content {
                ContentView::Inline(bytes) => self.contents.extend_from_slice(bytes),
                ContentView::Extents(extents) => {
                    let (spans, ids) = extents.parts();
                    if form(size, content) == EXTENTS {
                        put_len(ids.len(), &mut self.others);
                        self.others.extend_from_slice(spans);
                    }
                    self.ids.extend_from_slice(ids.as_flattened());
                }
                ContentView::Tree(tree) => {
                    self.others.push(tree.level);
                    put_varint(tree.records, &mut self.others);
                    put_varint(tree.row_bytes, &mut self.others);
                    self.ids.extend_from_slice(tree.id.as_bytes());
                }
            },
            RestView::Symlink(target) => {
                put_len(target.len(), &mut self.others);
                self.contents.extend_from_slice(target);
            }
            RestView::CharacterDevice(device) | RestView::BlockDevice(device) => {
                put_varint(u64::from(device.major), &mut self.others);
                put_varint(u64::from(device.minor), &mut self.others);
            }
            RestView::Directory | RestView::Fifo | RestView::Socket => {}
        }
    }

    fn finish(self, rows: usize) -> Vec<u8> {
        let parts = [
            &self.classes.words,
            &self.classes.numbers,
            &self.shared,
            &self.further,
            &self.mtimes.seconds,
            &self.mtimes.nanos,
            &self.ctimes.seconds,
            &self.ctimes.nanos,
            &self.atimes.seconds,
            &self.atimes.nanos,
            &self.inodes,
            &self.sizes,
            &self.links,
            &self.xattrs.numbers,
            &self.others,
            &self.keys,
            &self.contents,
            &self.ids,
        ];
        let mut out =
            Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + self.xattrs.words.len() + 30);
        put_len(rows, &mut out);
        put_len(self.classes.known.len(), &mut out);
        put_len(self.xattrs.known.len(), &mut out);
        out.extend_from_slice(&self.xattrs.words);
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out
    }
}

/// How the content of a file of this size is stored.
fn form(size: u64, content: &ContentView<'_>) -> u8 {
    match content {
        ContentView::Inline(_) => INLINE,
        ContentView::Extents(extents) => {
            let (mut all, first) = (extents.iter(), extents.iter().next());
            let whole = first.is_some_and(|first| first.offset == 0 && first.end() == size) && all.nth(1).is_none();
            if whole { WHOLE } else { EXTENTS }
        }
        ContentView::Tree(_) => TREE,
    }
}

/// Words by number, in the order in which they first occur, and the numbers of all that occurred.
#[derive(Default)]
struct Dictionary {
    known: BTreeMap<Vec<u8>, usize>,
    words: Vec<u8>,
    numbers: Vec<u8>,
}

impl Dictionary {
    fn push(&mut self, word: &[u8]) {
        let next = self.known.len();
        let number = match self.known.get(word) {
            Some(number) => *number,
            None => {
                self.words.extend_from_slice(word);
                self.known.insert(word.to_vec(), next);
                next
            }
        };
        put_len(number, &mut self.numbers);
    }
}

/// Times, each as the difference from the one before.
#[derive(Default)]
struct Times {
    last: Time,
    seconds: Vec<u8>,
    nanos: Vec<u8>,
}

impl Times {
    fn push(&mut self, time: Time) {
        let seconds = time.seconds.wrapping_sub(self.last.seconds);
        put_zigzag(seconds, &mut self.seconds);
        match seconds {
            0 => put_zigzag(i64::from(time.nanos) - i64::from(self.last.nanos), &mut self.nanos),
            _ => put_varint(u64::from(time.nanos), &mut self.nanos),
        }
        self.last = time;
    }
}
