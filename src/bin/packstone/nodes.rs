//! Entries of directory trees as lines and as JSON, with restic's names for fields.
//!
//! A name that is not UTF-8 is in JSON with U+FFFD for what is wrong and, beside it, whole in hexadecimal digits: `name_bytes`
//! and `path_bytes`.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use packstone::id::hex;
use packstone::record::entry::{self, Body, Entry, Time};
use serde_json::{Map, Value, json};

use crate::size;

/// restic's word for what an entry is.
pub fn kind(entry: &Entry) -> &'static str {
    match entry.body {
        Body::File { .. } => "file",
        Body::Directory => "dir",
        Body::Symlink { .. } => "symlink",
        Body::Fifo => "fifo",
        Body::Socket => "socket",
        Body::CharacterDevice { .. } => "chardev",
        Body::BlockDevice { .. } => "dev",
    }
}

/// `drwxr-xr-x`, like `ls` shows it.
pub fn permissions(entry: &Entry) -> String {
    let mode = entry.mode;
    let mut text = String::with_capacity(10);
    text.push(match entry.body {
        Body::File { .. } => '-',
        Body::Directory => 'd',
        Body::Symlink { .. } => 'l',
        Body::Fifo => 'p',
        Body::Socket => 's',
        Body::CharacterDevice { .. } => 'c',
        Body::BlockDevice { .. } => 'b',
    });
    for (shift, special, both, alone) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => both,
            (true, false) => alone,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// The number that restic's JSON has as mode: permissions in the low bits, the rest as Go's `os.FileMode` has it.
fn go_mode(entry: &Entry) -> u32 {
    let kind = match entry.body {
        Body::File { .. } => 0,
        Body::Directory => 1 << 31,
        Body::Symlink { .. } => 1 << 27,
        Body::BlockDevice { .. } => 1 << 26,
        Body::Fifo => 1 << 25,
        Body::Socket => 1 << 24,
        Body::CharacterDevice { .. } => 1 << 26 | 1 << 21,
    };
    let bit = |mask, go: u32| if entry.mode & mask != 0 { go } else { 0 };
    (entry.mode & 0o777) | kind | bit(0o4000, 1 << 23) | bit(0o2000, 1 << 22) | bit(0o1000, 1 << 20)
}

/// Fields of a path that `ls` and `find` share.
pub fn fields(key: &[u8], entry: &Entry) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    let path = entry::path_of_key(key);
    let name = entry::name_of(key);
    put("name", text(name));
    if let Some(bytes) = whole(name) {
        put("name_bytes", bytes);
    }
    put("type", json!(kind(entry)));
    put("path", text(path.as_os_str().as_bytes()));
    if let Some(bytes) = whole(path.as_os_str().as_bytes()) {
        put("path_bytes", bytes);
    }
    put("uid", json!(entry.owner.uid));
    put("gid", json!(entry.owner.gid));
    for (field, name) in [("user", &entry.owner.user), ("group", &entry.owner.group)] {
        if !name.is_empty() {
            put(field, json!(name));
        }
    }
    if let Body::File { size, .. } = entry.body {
        put("size", json!(size));
    }
    put("mode", json!(go_mode(entry)));
    put("permissions", json!(permissions(entry)));
    put("mtime", json!(rfc3339(entry.mtime)));
    if let Some(atime) = entry.atime {
        put("atime", json!(rfc3339(atime)));
    }
    put("ctime", json!(rfc3339(entry.ctime)));
    put("inode", json!(entry.inode));
    if let Some(link) = entry.link {
        put("device_id", json!(link.device));
        put("links", json!(link.count));
    }
    match &entry.body {
        Body::Symlink { target } => {
            put("linktarget", text(target));
            if let Some(bytes) = whole(target) {
                put("linktarget_bytes", bytes);
            }
        }
        Body::CharacterDevice { device } | Body::BlockDevice { device } => {
            put("device", json!(u64::from(device.major) << 32 | u64::from(device.minor)));
            put("device_major", json!(device.major));
            put("device_minor", json!(device.minor));
        }
        _ => {}
    }
    fields
}

/// Bytes as text, with U+FFFD for what is not UTF-8.
pub fn text(bytes: &[u8]) -> Value {
    json!(String::from_utf8_lossy(bytes))
}

/// Bytes that are not UTF-8, in hexadecimal digits.
pub fn whole(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).is_err().then(|| json!(hex(bytes)))
}

/// How names are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// As they are, for programs.
    Raw,
    /// With `\x..` for what is not UTF-8 and for control characters, which would harm a terminal.
    Escaped,
}

impl Names {
    /// Appends a path or a target.
    pub fn put(self, bytes: &[u8], line: &mut Vec<u8>) {
        if self == Self::Raw {
            line.extend_from_slice(bytes);
            return;
        }
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() {
                    line.extend_from_slice(c.escape_default().to_string().as_bytes());
                } else {
                    line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            for byte in chunk.invalid() {
                line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            }
        }
    }
}

/// How an entry is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub names: Names,
    pub long: bool,
    pub human_readable: bool,
}

impl Shape {
    /// Appends the line of a path.
    pub fn put(self, key: &[u8], entry: &Entry, line: &mut Vec<u8>) {
        if self.long {
            let mut fields = String::new();
            let shown = self.size(entry);
            let width = if self.human_readable { 10 } else { 9 };
            let time = local(entry.mtime);
            let owner = |name: &String, id: u32| if name.is_empty() { id.to_string() } else { name.clone() };
            let (user, group) = (owner(&entry.owner.user, entry.owner.uid), owner(&entry.owner.group, entry.owner.gid));
            write!(fields, "{} {user:>8} {group:>8} {shown:>width$} {time} ", permissions(entry))
                .expect("text can be appended to text");
            line.extend_from_slice(fields.as_bytes());
        }
        self.names.put(entry::path_of_key(key).as_os_str().as_bytes(), line);
        if let Body::Symlink { target } = &entry.body
            && self.long
        {
            line.extend_from_slice(b" -> ");
            self.names.put(target, line);
        }
        line.push(b'\n');
    }

    fn size(self, entry: &Entry) -> String {
        match entry.body {
            Body::CharacterDevice { device } | Body::BlockDevice { device } => {
                format!("{},{}", device.major, device.minor)
            }
            _ if self.human_readable => size::show(entry.size()),
            _ => entry.size().to_string(),
        }
    }
}

/// RFC 3339 with as many digits as there are.
pub fn rfc3339(time: Time) -> String {
    match Timestamp::new(time.seconds, time.nanos.cast_signed()) {
        Ok(moment) => moment.to_string(),
        Err(_) => format!("{} s", time.seconds),
    }
}

/// By the local clock, to the second.
fn local(time: Time) -> String {
    match Timestamp::new(time.seconds, 0) {
        Ok(moment) => moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{} s", time.seconds),
    }
}
