//! Columns into rows: every column is found first, then all are read side by side, row after row.

use super::{ATIME, CTIME, EXTENTS, FORM_SHIFT, INLINE, LINK, TREE, WHOLE, XATTRS};
use crate::error::DecodeError;
use crate::id::BlobId;
use crate::record::Rows;
use crate::record::cursor::{Cursor, put_len, put_varint};
use crate::record::entry::head::{NAME_MAX, passed, take_class, take_device, take_link, take_tree, take_xattrs};
use crate::record::entry::row::{put_link, put_time};
use crate::record::entry::{INLINE_CONTENT_MAX, INLINE_EXTENTS_MAX, Kind, Time, key};
use crate::record::extent::take_spans;

/// No leaf has more bytes of rows than this.
const MAX_ROW_BYTES: usize = 64 << 20;
/// Every row has a class, two lengths, two numbers of the mtime and an inode, of at least a byte each.
const MIN_ROW_BYTES: usize = 6;

// format-spec records, columns of entries.
/// The rows of these columns.
pub(in crate::record::entry) fn decode(columns: &[u8]) -> Result<Rows, DecodeError> {
    let mut cursor = Cursor::new(columns);
    let count = cursor.count(columns.len() / MIN_ROW_BYTES, "rows")?;
    let classes_count = cursor.count(count, "classes")?;
    let xattrs_count = cursor.count(count, "sets of extended attributes")?;
    let xattrs = dictionary(&mut cursor, xattrs_count, |cursor| match take_xattrs(cursor)? {
        [0] => Err(DecodeError::Invalid("set of extended attributes")),
        xattrs => Ok(xattrs),
    })?;
    let classes = dictionary(&mut cursor, classes_count, Class::take)?;
    let mut numbers = Vec::with_capacity(count);
    let mut first_uses = FirstUses::default();
    for _ in 0..count {
        numbers.push(first_uses.number(&mut cursor, classes_count)?);
    }
    first_uses.finish(classes_count)?;
    let mut columns = Columns::find(cursor, &classes, &numbers, xattrs)?;
    let mut rows = Rows::new();
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for number in &numbers {
        columns.take_key(rows.is_empty(), &mut key)?;
        value.clear();
        columns.take_value(&classes[*number], &mut value)?;
        if rows.size_bytes() + key.len() + value.len() > MAX_ROW_BYTES {
            return Err(DecodeError::TooLarge("rows"));
        }
        rows.push(&key, &value);
    }
    columns.finish()?;
    Ok(rows)
}

/// What many rows have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Class<'a> {
    marks: u8,
    form: u8,
    kind: Kind,
    /// Kind, mode and owner, as in the row.
    row: &'a [u8],
}

impl<'a> Class<'a> {
    fn take(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let byte = cursor.byte()?;
        let (marks, form) = (byte & ((1 << FORM_SHIFT) - 1), byte >> FORM_SHIFT);
        let start = cursor.rest();
        let (kind, ..) = take_class(cursor)?;
        if form > TREE || (form != INLINE && kind != Kind::File) {
            return Err(DecodeError::Invalid("class of entries"));
        }
        Ok(Self { marks, form, kind, row: passed(start, cursor) })
    }

    fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }
}

/// Words of a dictionary, none twice.
fn dictionary<'a, W: Copy + Ord>(
    cursor: &mut Cursor<'a>,
    count: usize,
    take: impl Fn(&mut Cursor<'a>) -> Result<W, DecodeError>,
) -> Result<Vec<W>, DecodeError> {
    let words: Vec<W> = (0..count).map(|_| take(cursor)).collect::<Result<_, _>>()?;
    let mut sorted = words.clone();
    sorted.sort_unstable();
    match sorted.windows(2).all(|pair| pair[0] != pair[1]) {
        true => Ok(words),
        false => Err(DecodeError::Invalid("dictionary")),
    }
}

/// Words have numbers in the order of their first use, and each is used.
#[derive(Default)]
struct FirstUses {
    seen: usize,
}

impl FirstUses {
    #[inline]
    fn number(&mut self, cursor: &mut Cursor<'_>, words: usize) -> Result<usize, DecodeError> {
        let number = cursor.count(self.seen, "number of a word")?;
        if number == self.seen {
            self.seen += 1;
        }
        if number < words { Ok(number) } else { Err(DecodeError::TooLarge("number of a word")) }
    }

    fn finish(self, words: usize) -> Result<(), DecodeError> {
        if self.seen == words { Ok(()) } else { Err(DecodeError::Invalid("dictionary")) }
    }
}

/// A cursor in each column.
struct Columns<'a> {
    shared: Cursor<'a>,
    further: Cursor<'a>,
    mtimes: Times<'a>,
    ctimes: Times<'a>,
    atimes: Times<'a>,
    inodes: Cursor<'a>,
    last_inode: u64,
    sizes: Cursor<'a>,
    links: Cursor<'a>,
    xattrs: Vec<&'a [u8]>,
    xattr_numbers: Cursor<'a>,
    xattr_uses: FirstUses,
    others: Cursor<'a>,
    keys: Cursor<'a>,
    contents: Cursor<'a>,
    ids: Cursor<'a>,
}

impl<'a> Columns<'a> {
    /// Where each column begins, for rows of these classes.
    fn find(
        mut cursor: Cursor<'a>,
        classes: &[Class<'_>],
        numbers: &[usize],
        xattrs: Vec<&'a [u8]>,
    ) -> Result<Self, DecodeError> {
        let rows = numbers.len();
        let mut uses = vec![0_usize; classes.len()];
        numbers.iter().for_each(|number| uses[*number] += 1);
        let count = |which: &dyn Fn(&Class<'_>) -> bool| -> usize {
            classes.iter().zip(&uses).filter(|(class, _)| which(class)).map(|(_, uses)| uses).sum()
        };
        let (shared, further) = (column(&mut cursor, rows)?, column(&mut cursor, rows)?);
        let mtimes = Times::find(&mut cursor, rows)?;
        let ctimes = Times::find(&mut cursor, count(&|class| class.has(CTIME)))?;
        let atimes = Times::find(&mut cursor, count(&|class| class.has(ATIME)))?;
        let inodes = column(&mut cursor, rows)?;
        let sizes = column(&mut cursor, count(&|class| class.kind == Kind::File))?;
        let links = column(&mut cursor, count(&|class| class.has(LINK)).saturating_mul(2))?;
        let xattr_numbers = column(&mut cursor, count(&|class| class.has(XATTRS)))?;
        let start = cursor.rest();
        let mut ids_count = count(&|class| class.form == WHOLE || class.form == TREE);
        if classes.iter().any(Class::has_others) {
            for class in numbers.iter().map(|number| &classes[*number]) {
                ids_count += class.skip_others(&mut cursor)?;
            }
        }
        let others = Cursor::new(passed(start, &cursor));
        let keys_len = total(further, rows)?;
        let keys = Cursor::new(cursor.take(keys_len)?);
        let ids_len = ids_count.checked_mul(BlobId::LEN).ok_or(DecodeError::TooLarge("ids"))?;
        let contents_len = cursor.rest().len().checked_sub(ids_len).ok_or(DecodeError::Truncated)?;
        let contents = Cursor::new(cursor.take(contents_len)?);
        let (xattr_uses, last_inode, ids) = (FirstUses::default(), 0, cursor);
        Ok(Self {
            shared,
            further,
            mtimes,
            ctimes,
            atimes,
            inodes,
            last_inode,
            sizes,
            links,
            xattrs,
            xattr_numbers,
            xattr_uses,
            others,
            keys,
            contents,
            ids,
        })
    }

    /// Turns the key before into the next; there is none before the first.
    fn take_key(&mut self, is_first: bool, key: &mut Vec<u8>) -> Result<(), DecodeError> {
        let (shared, further) = (self.shared.varint()?, self.further.varint()?);
        let shared = usize::try_from(shared).map_err(|_| DecodeError::TooLarge("key"))?;
        let further = self.keys.take(usize::try_from(further).map_err(|_| DecodeError::TooLarge("key"))?)?;
        // Strictly ascending, and no byte of what is further could have been shared.
        let ascends = match (key.get(shared), further.first()) {
            (Some(old), Some(new)) => old < new,
            (None, Some(_)) => key.len() == shared,
            (None, None) => is_first && shared == 0,
            (Some(_), None) => false,
        };
        if !ascends {
            return Err(DecodeError::Invalid("key order"));
        }
        key.truncate(shared);
        key.extend_from_slice(further);
        key::check_after(key, shared)
    }

    /// Appends the value of the next row.
    fn take_value(&mut self, class: &Class<'_>, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        out.extend_from_slice(class.row);
        let mtime = self.mtimes.take()?;
        put_time(mtime, out);
        let ctime = if class.has(CTIME) { self.ctimes.take()? } else { mtime };
        if class.has(CTIME) && ctime == mtime {
            return Err(DecodeError::Invalid("ctime that is the mtime"));
        }
        put_time(ctime, out);
        out.push(u8::from(class.has(ATIME)));
        if class.has(ATIME) {
            put_time(self.atimes.take()?, out);
        }
        self.last_inode = self.last_inode.wrapping_add(self.inodes.zigzag()?.cast_unsigned());
        put_varint(self.last_inode, out);
        out.push(u8::from(class.has(LINK)));
        if class.has(LINK) {
            put_link(take_link(&mut self.links)?, out);
        }
        if class.has(XATTRS) {
            let number = self.xattr_uses.number(&mut self.xattr_numbers, self.xattrs.len())?;
            out.extend_from_slice(self.xattrs[number]);
        } else {
            out.push(0);
        }
        match class.kind {
            Kind::File => self.take_content(class.form, out),
            Kind::Symlink => {
                let len = self.others.count(NAME_MAX, "target of a link")?;
                put_len(len, out);
                out.extend_from_slice(self.contents.take(len)?);
                Ok(())
            }
            Kind::CharacterDevice | Kind::BlockDevice => {
                let device = take_device(&mut self.others)?;
                put_varint(u64::from(device.major), out);
                put_varint(u64::from(device.minor), out);
                Ok(())
            }
            Kind::Directory | Kind::Fifo | Kind::Socket => Ok(()),
        }
    }

    fn take_content(&mut self, form: u8, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let size = self.sizes.varint()?;
        put_varint(size, out);
        if (size <= INLINE_CONTENT_MAX as u64) != (form == INLINE) {
            return Err(DecodeError::Invalid("content of an entry"));
        }
        match form {
            INLINE => {
                out.push(0);
                let len = usize::try_from(size).map_err(|_| DecodeError::TooLarge("content in an entry"))?;
                out.extend_from_slice(self.contents.take(len)?);
            }
            WHOLE => {
                if u32::try_from(size).is_err() {
                    return Err(DecodeError::TooLarge("extent"));
                }
                out.extend_from_slice(&[1, 1, 0]);
                put_varint(size, out);
                out.extend_from_slice(self.ids.take(BlobId::LEN)?);
            }
            EXTENTS => {
                let count = self.others.count(INLINE_EXTENTS_MAX, "extents")?;
                let spans = take_spans(&mut self.others, count, size)?;
                let mut whole = Cursor::new(spans);
                if count == 1 && whole.varint()? == 0 && whole.varint()? == size {
                    return Err(DecodeError::Invalid("extent that is the whole file"));
                }
                out.push(1);
                put_len(count, out);
                out.extend_from_slice(spans);
                out.extend_from_slice(self.ids.take(count * BlobId::LEN)?);
            }
            _ => {
                let tree = take_tree(&mut self.others, BlobId::new(self.ids.array()?))?;
                out.push(2);
                out.extend_from_slice(tree.id.as_bytes());
                out.push(tree.level);
                put_varint(tree.records, out);
                put_varint(tree.row_bytes, out);
            }
        }
        Ok(())
    }

    /// Refuses what is left over.
    fn finish(self) -> Result<(), DecodeError> {
        self.xattr_uses.finish(self.xattrs.len())?;
        // All other columns are as long as they are because of the numbers in them.
        self.contents.finish()?;
        self.ids.finish()
    }
}

impl Class<'_> {
    fn has_others(&self) -> bool {
        let kinds = [Kind::Symlink, Kind::CharacterDevice, Kind::BlockDevice];
        self.form == EXTENTS || self.form == TREE || kinds.contains(&self.kind)
    }

    /// Passes what `others` has for a row of this class; returns how many ids it has besides the one of its form.
    fn skip_others(&self, cursor: &mut Cursor<'_>) -> Result<usize, DecodeError> {
        match (self.kind, self.form) {
            (Kind::Symlink, _) => column(cursor, 1).map(|_| 0),
            (Kind::CharacterDevice | Kind::BlockDevice, _) => column(cursor, 2).map(|_| 0),
            (_, EXTENTS) => {
                let count = cursor.count(INLINE_EXTENTS_MAX, "extents")?;
                column(cursor, 2 * count).map(|_| count)
            }
            (_, TREE) => {
                cursor.byte()?;
                column(cursor, 2).map(|_| 0)
            }
            _ => Ok(0),
        }
    }
}

/// Passes so many numbers; returns a cursor that reads them.
fn column<'a>(cursor: &mut Cursor<'a>, count: usize) -> Result<Cursor<'a>, DecodeError> {
    let bytes = cursor.rest();
    let (mut left, mut len) = (count, 0_usize);
    while left > 0 {
        // So many bytes there are at least.
        let next = bytes.get(len..len.saturating_add(left)).ok_or(DecodeError::Truncated)?;
        len += left;
        left -= next.iter().filter(|byte| **byte < 0x80).count();
    }
    cursor.take(len).map(Cursor::new)
}

/// The sum of so many numbers.
fn total(mut numbers: Cursor<'_>, count: usize) -> Result<usize, DecodeError> {
    let mut sum = 0_usize;
    for _ in 0..count {
        let number = numbers.count(MAX_ROW_BYTES, "key")?;
        sum = sum.checked_add(number).ok_or(DecodeError::TooLarge("keys"))?;
    }
    Ok(sum)
}

/// Times, each as the difference from the one before.
struct Times<'a> {
    last: Time,
    seconds: Cursor<'a>,
    nanos: Cursor<'a>,
}

impl<'a> Times<'a> {
    fn find(cursor: &mut Cursor<'a>, count: usize) -> Result<Self, DecodeError> {
        Ok(Self { last: Time::default(), seconds: column(cursor, count)?, nanos: column(cursor, count)? })
    }

    #[inline]
    fn take(&mut self) -> Result<Time, DecodeError> {
        let seconds = self.seconds.zigzag()?;
        let nanos = match seconds {
            0 => i64::from(self.last.nanos).checked_add(self.nanos.zigzag()?).and_then(|n| u32::try_from(n).ok()),
            _ => u32::try_from(self.nanos.varint()?).ok(),
        };
        let nanos = nanos.filter(|nanos| *nanos < Time::NANOS).ok_or(DecodeError::Invalid("nanoseconds"))?;
        self.last = Time { seconds: self.last.seconds.wrapping_add(seconds), nanos };
        Ok(self.last)
    }
}
