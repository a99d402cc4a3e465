//! POSIX tar, with extended headers for what the old ones cannot say.

use std::io::Write;
use std::ops::Range;

use ::tar::{EntryType, Header};

use super::{Item, Stream, copy, output, xattr, zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::files::Piece;
use crate::record::entry::{Body, Content, DeviceNumber, Entry, Time};

/// Everything in an archive is a multiple of this.
const BLOCK_BYTES: u64 = 512;
/// The longest name that an old header holds.
const NAME_MAX: usize = 100;
/// The longest name of an owner that an old header holds, without the NUL at its end.
const OWNER_MAX: usize = 31;
/// The highest id that an old header holds.
const ID_MAX: u32 = 0o7_777_777;
/// The largest size, and the last second, that an old header holds.
const NUMBER_MAX: u64 = 0o77_777_777_777;
/// Holes of files that have less of them are written as zeros.
const HOLES_MIN_BYTES: u64 = 64 << 10;

/// An archive on its way to `out`.
pub(super) struct TarStream<'a> {
    out: &'a mut dyn Write,
    entries: u64,
}

impl<'a> TarStream<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, entries: 0 }
    }

    /// A header with its extended one before it.
    fn put_headers(&mut self, mut header: Header, records: &[u8]) -> Result<()> {
        if !records.is_empty() {
            let mut extended = Header::new_ustar();
            put_text(&mut ustar(&mut extended).name, format!("PaxHeaders/{}", self.entries).as_bytes());
            extended.set_entry_type(EntryType::XHeader);
            extended.set_mode(0o644);
            extended.set_uid(0);
            extended.set_gid(0);
            extended.set_mtime(0);
            extended.set_size(records.len() as u64);
            extended.set_cksum();
            self.out.write_all(extended.as_bytes()).map_err(output)?;
            self.out.write_all(records).map_err(output)?;
            self.pad(records.len() as u64)?;
        }
        header.set_cksum();
        self.entries += 1;
        self.out.write_all(header.as_bytes()).map_err(output)
    }

    fn pad(&mut self, len: u64) -> Result<()> {
        zeros(len.next_multiple_of(BLOCK_BYTES) - len, self.out)
    }

    fn put_file(&mut self, item: &Item<'_>, mut header: Header, mut records: Records, size: u64) -> Result<()> {
        if let Some(data) = sparse_data(item, size)? {
            // The form that GNU tar calls 1.0: a list of the stretches with data stands before them.
            let map = sparse_map(&data, size);
            let stored = map.len() as u64 + data.iter().map(|range| range.end - range.start).sum::<u64>();
            records.put("GNU.sparse.major", b"1");
            records.put("GNU.sparse.minor", b"0");
            records.put("GNU.sparse.name", item.name);
            records.put("GNU.sparse.realsize", size.to_string().as_bytes());
            records.put_size(stored, &mut header);
            self.put_headers(header, &records.0)?;
            self.out.write_all(&map).map_err(output)?;
            let mut content = item.tree.content(item.entry)?;
            for range in &data {
                content.seek(range.start)?;
                let mut left = range.end - range.start;
                while left > 0 {
                    match content.next_piece(left)? {
                        Some(Piece::Data(bytes)) => {
                            self.out.write_all(&bytes).map_err(output)?;
                            left -= bytes.len() as u64;
                        }
                        _ => return Err(Error::new(ErrorKind::Failed, "extents of a file", "changed while read")),
                    }
                }
            }
            return self.pad(stored);
        }
        records.put_size(size, &mut header);
        self.put_headers(header, &records.0)?;
        copy(&mut item.tree.content(item.entry)?, self.out)?;
        self.pad(size)
    }
}

impl Stream for TarStream<'_> {
    fn put(&mut self, item: &Item<'_>) -> Result<Result<(), String>> {
        let entry = item.entry;
        let kind = match (&entry.body, item.same_as) {
            (Body::Socket, _) => return Ok(Err("tar cannot hold a socket".to_owned())),
            (_, Some(_)) => EntryType::Link,
            (Body::File { .. }, _) => EntryType::Regular,
            (Body::Directory, _) => EntryType::Directory,
            (Body::Symlink { .. }, _) => EntryType::Symlink,
            (Body::Fifo, _) => EntryType::Fifo,
            (Body::CharacterDevice { .. }, _) => EntryType::Char,
            (Body::BlockDevice { .. }, _) => EntryType::Block,
        };
        let mut header = Header::new_ustar();
        let mut records = Records::default();
        header.set_entry_type(kind);
        header.set_size(0);
        let mut name = if item.name.is_empty() { b".".to_vec() } else { item.name.to_vec() };
        if entry.is_directory() {
            name.push(b'/');
        }
        let target = match (&entry.body, item.same_as) {
            (_, Some(first)) => first,
            (Body::Symlink { target }, None) => target,
            _ => &[],
        };
        records.put_names(&name, target, &mut header);
        records.put_facts(entry, &mut header);
        if item.same_as.is_none() {
            for attribute in &entry.xattrs {
                let value = xattr(item.tree.reader(), attribute)?;
                records.put_bytes(&[b"SCHILY.xattr.", attribute.name.as_slice()].concat(), &value);
            }
        }
        match (&entry.body, item.same_as) {
            (Body::File { size, .. }, None) => self.put_file(item, header, records, *size)?,
            _ => self.put_headers(header, &records.0)?,
        }
        Ok(Ok(()))
    }

    fn finish(&mut self) -> Result<()> {
        zeros(2 * BLOCK_BYTES, self.out)
    }
}

/// Records of an extended header.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn put(&mut self, name: &str, value: &[u8]) {
        self.put_bytes(name.as_bytes(), value);
    }

    /// A record is `LENGTH NAME=VALUE` and a line feed, with its own length, digits included.
    fn put_bytes(&mut self, name: &[u8], value: &[u8]) {
        let rest = name.len() + value.len() + 3;
        let mut len = rest + 1;
        while rest + len.to_string().len() != len {
            len = rest + len.to_string().len();
        }
        self.0.extend_from_slice(len.to_string().as_bytes());
        self.0.push(b' ');
        self.0.extend_from_slice(name);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    fn put_names(&mut self, name: &[u8], target: &[u8], header: &mut Header) {
        let (long_name, long_target) = (name.len() > NAME_MAX, target.len() > NAME_MAX);
        let is_text = |bytes: &[u8], long: bool| !long || std::str::from_utf8(bytes).is_ok();
        if !is_text(name, long_name) || !is_text(target, long_target) {
            self.put("hdrcharset", b"BINARY");
        }
        if long_name {
            self.put("path", name);
        }
        if long_target {
            self.put("linkpath", target);
        }
        put_text(&mut ustar(header).name, name);
        put_text(&mut ustar(header).linkname, target);
    }

    fn put_facts(&mut self, entry: &Entry, header: &mut Header) {
        header.set_mode(entry.mode);
        let owner = &entry.owner;
        header.set_uid(u64::from(owner.uid.min(ID_MAX)));
        header.set_gid(u64::from(owner.gid.min(ID_MAX)));
        if owner.uid > ID_MAX {
            self.put("uid", owner.uid.to_string().as_bytes());
        }
        if owner.gid > ID_MAX {
            self.put("gid", owner.gid.to_string().as_bytes());
        }
        if !put_owner(&owner.user, &mut ustar(header).uname) {
            self.put("uname", owner.user.as_bytes());
        }
        if !put_owner(&owner.group, &mut ustar(header).gname) {
            self.put("gname", owner.group.as_bytes());
        }
        let seconds = u64::try_from(entry.mtime.seconds).unwrap_or(0).min(NUMBER_MAX);
        header.set_mtime(seconds);
        if entry.mtime.nanos != 0 || i64::try_from(seconds) != Ok(entry.mtime.seconds) {
            self.put("mtime", decimal(entry.mtime).as_bytes());
        }
        if let Some(atime) = entry.atime {
            self.put("atime", decimal(atime).as_bytes());
        }
        if let Body::CharacterDevice { device } | Body::BlockDevice { device } = entry.body {
            self.put_device(device, header);
        }
    }

    fn put_device(&mut self, device: DeviceNumber, header: &mut Header) {
        if !put_number(device.major, &mut ustar(header).dev_major) {
            self.put("SCHILY.devmajor", device.major.to_string().as_bytes());
        }
        if !put_number(device.minor, &mut ustar(header).dev_minor) {
            self.put("SCHILY.devminor", device.minor.to_string().as_bytes());
        }
    }

    fn put_size(&mut self, size: u64, header: &mut Header) {
        header.set_size(size.min(NUMBER_MAX));
        if size > NUMBER_MAX {
            self.put("size", size.to_string().as_bytes());
        }
    }
}

fn ustar(header: &mut Header) -> &mut ::tar::UstarHeader {
    header.as_ustar_mut().expect("it was made as one")
}

/// As much as fits; the rest stays NUL.
fn put_text(place: &mut [u8], text: &[u8]) {
    let len = text.len().min(place.len());
    place[..len].copy_from_slice(&text[..len]);
}

/// Whether the name of an owner fits.
fn put_owner(name: &str, place: &mut [u8]) -> bool {
    let fits = name.len() <= OWNER_MAX && name.is_ascii();
    if fits {
        put_text(place, name.as_bytes());
    }
    fits
}

/// Whether the number of a device fits.
fn put_number(number: u32, place: &mut [u8]) -> bool {
    let fits = number <= ID_MAX;
    if fits {
        put_text(place, format!("{number:07o}").as_bytes());
    }
    fits
}

/// Seconds with a fraction; before 1970 that counts towards 1970 too.
fn decimal(time: Time) -> String {
    let Time { seconds, nanos } = time;
    let (sign, whole, fraction) = match (seconds < 0, nanos) {
        (false, nanos) => ("", seconds.unsigned_abs(), nanos),
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, nanos) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanos),
    };
    match fraction {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction:09}"),
    }
}

/// The stretches of a file that hold data, if enough of it is holes to write them as such.
fn sparse_data(item: &Item<'_>, size: u64) -> Result<Option<Vec<Range<u64>>>> {
    let Body::File { content, .. } = &item.entry.body else { return Ok(None) };
    if matches!(content, Content::Inline(_)) {
        return Ok(None);
    }
    let mut data: Vec<Range<u64>> = Vec::new();
    for extent in item.tree.extents(content, 0)? {
        let extent = extent?;
        match data.last_mut() {
            Some(last) if last.end == extent.offset => last.end = extent.end(),
            _ => data.push(extent.offset..extent.end()),
        }
    }
    let covered: u64 = data.iter().map(|range| range.end - range.start).sum();
    Ok((size.saturating_sub(covered) >= HOLES_MIN_BYTES).then_some(data))
}

/// Numbers in lines: how many stretches, then where each begins and how long it is; filled up to whole blocks.
fn sparse_map(data: &[Range<u64>], size: u64) -> Vec<u8> {
    // An empty stretch at the end says how long the file is where a hole ends it.
    let end = data.last().is_none_or(|last| last.end < size).then_some(size..size);
    let mut text = format!("{}\n", data.len() + usize::from(end.is_some()));
    for range in data.iter().chain(&end) {
        text.push_str(&format!("{}\n{}\n", range.start, range.end - range.start));
    }
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(512), 0);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_digits() {
        let mut records = Records::default();
        records.put("a", b"b");
        records.put("path", &[b'x'; 89]);
        records.put("path", &[b'x'; 90]);
        let text = String::from_utf8_lossy(&records.0).into_owned();
        let lens: Vec<_> =
            text.lines().map(|line| (line.split(' ').next().unwrap_or_default(), line.len() + 1)).collect();
        assert_eq!(lens, [("6", 6), ("98", 98), ("99", 99)]);
        let mut long = Records::default();
        long.put("path", &[b'x'; 91]);
        assert!(long.0.starts_with(b"101 path=") && long.0.len() == 101);
    }

    #[test]
    fn times_before_1970_count_backwards() {
        for (seconds, nanos, text) in [
            (0, 0, "0"),
            (5, 500_000_000, "5.500000000"),
            (-1, 0, "-1"),
            (-1, 500_000_000, "-0.500000000"),
            (-2, 1, "-1.999999999"),
        ] {
            assert_eq!(decimal(Time { seconds, nanos }), text);
        }
    }
}
