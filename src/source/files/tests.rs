//! What is read of a path: content, attributes; and streams.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use rustix::fs::{XattrFlags, lsetxattr};

use super::*;
use crate::error::ErrorKind;

fn found(path: &Path) -> Found {
    Found { key: Vec::new(), path: path.to_owned(), stat: Stat::of(path).unwrap(), leads: false }
}

fn ranges(reading: &Reading) -> Vec<std::ops::Range<u64>> {
    let next = |from| reading.data_from(from).unwrap();
    std::iter::successors(next(0), |range| next(range.end)).collect()
}

#[test]
fn content_is_read_whole_and_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut buffer = vec![9; 100];
    for content in [Vec::new(), vec![7; 5000], vec![3; 300 << 10]] {
        fs::write(&path, &content).unwrap();
        let mut reading = Reading::open(&found(&path)).unwrap();
        reading.read_whole(&mut buffer).unwrap();
        assert!(buffer == content && reading.stat().size == content.len() as u64);
        let size = content.len() as u64;
        assert_eq!(ranges(&reading), Vec::from_iter((size > 0).then_some(0..size)));
        let mut part = [0; 10];
        assert_eq!(reading.read_at(&mut part, 1).unwrap(), content.len().saturating_sub(1).min(10));
        assert_eq!(reading.read_at(&mut part, 1 << 40).unwrap(), 0);
        assert!(!reading.has_changed().unwrap());
    }
}

#[test]
fn a_file_that_changes_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "12345").unwrap();
    let before = found(&path);
    let mut reading = Reading::open(&before).unwrap();
    File::options().append(true).open(&path).unwrap().write_all(b"678").unwrap();
    let mut buffer = Vec::new();
    reading.read_whole(&mut buffer).unwrap();
    assert_eq!((buffer.as_slice(), reading.has_changed().unwrap()), (&b"123456"[..], true));
    // Opened again it is read as it is by then.
    let mut reading = Reading::open(&before).unwrap();
    reading.read_whole(&mut buffer).unwrap();
    assert_eq!((buffer.as_slice(), reading.has_changed().unwrap()), (&b"12345678"[..], false));
    let mut reading = Reading::open(&before).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(2).unwrap();
    reading.read_whole(&mut buffer).unwrap();
    assert_eq!((buffer.as_slice(), reading.has_changed().unwrap()), (&b"12"[..], true));
}

#[test]
fn another_file_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "mine").unwrap();
    let before = found(&path);
    fs::rename(&path, folder.path().join("moved")).unwrap();
    assert_eq!(Reading::open(&before).err().unwrap().kind(), std::io::ErrorKind::NotFound);
    symlink("moved", &path).unwrap();
    assert!(Reading::open(&before).err().unwrap().to_string().contains("replaced"));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another").unwrap();
    assert!(Reading::open(&before).err().unwrap().to_string().contains("replaced"));
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(Reading::open(&before).err().unwrap().to_string().contains("replaced"));
}

#[test]
fn holes_are_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let file = File::create(&path).unwrap();
    file.write_all_at(&[1; 4096], 1 << 20).unwrap();
    file.write_all_at(&[1; 4096], 3 << 20).unwrap();
    file.set_len(5 << 20).unwrap();
    let reading = Reading::open(&found(&path)).unwrap();
    let ranges = ranges(&reading);
    // How finely holes are known is up to the file system, which may know none.
    assert!(ranges.is_sorted_by(|a, b| a.end < b.start) && ranges.iter().all(|range| range.end <= 5 << 20));
    for at in [1 << 20, (3 << 20) + 4095] {
        assert!(ranges.iter().any(|range| range.contains(&at)), "{ranges:?}");
    }
    let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    assert!(bytes == 5 << 20 || bytes <= 1 << 20, "{ranges:?}");
}

#[test]
fn attributes_are_read_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    symlink("file", folder.path().join("link")).unwrap();
    let set = |name: &str, value: &[u8]| lsetxattr(&path, name, value, XattrFlags::empty());
    if set("user.b", b"").is_err() {
        return;
    }
    set("user.a", &[5; 1000]).unwrap();
    // An access ACL that gives user 1 reading: version 2, then tag, permissions and id of each entry.
    let entries: [(u16, u16, u32); 5] = [(1, 6, !0), (2, 4, 1), (4, 4, !0), (0x10, 4, !0), (0x20, 4, !0)];
    let mut acl = vec![2, 0, 0, 0];
    for (tag, permissions, id) in entries {
        acl.extend([tag.to_le_bytes(), permissions.to_le_bytes()].as_flattened());
        acl.extend(id.to_le_bytes());
    }
    let has_acl = set("system.posix_acl_access", &acl).is_ok();
    let mut expected = vec![(b"user.a".to_vec(), vec![5; 1000]), (b"user.b".to_vec(), Vec::new())];
    if has_acl {
        expected.insert(0, (b"system.posix_acl_access".to_vec(), acl));
    }
    let file = found(&path);
    assert_eq!(Metadata::read(&file).unwrap(), Metadata { target: Vec::new(), xattrs: expected.clone() });
    assert_eq!(Metadata::read_open(&Reading::open(&file).unwrap()).unwrap().xattrs, expected);
    let link = Metadata::read(&found(&folder.path().join("link"))).unwrap();
    assert_eq!(link, Metadata { target: b"file".to_vec(), xattrs: Vec::new() });
    let directory = found(folder.path());
    lsetxattr(folder.path(), "user.d", b"1", XattrFlags::empty()).unwrap();
    assert_eq!(Metadata::read(&directory).unwrap().xattrs, [(b"user.d".to_vec(), b"1".to_vec())]);
    // A link to the directory in the place of another one is not taken for it.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let before = found(&other);
    fs::remove_dir(&other).unwrap();
    symlink(folder.path(), &other).unwrap();
    assert!(Metadata::read(&before).unwrap_err().to_string().contains("replaced"));
}

#[test]
fn owners_have_names() {
    let names = Names::new();
    let root = names.owner(0, 0);
    assert_eq!((root.uid, root.user.as_str()), (0, "root"));
    let nobody = names.owner(4_000_000_123, 4_000_000_124);
    assert_eq!(
        (nobody.uid, nobody.gid, nobody.user.as_str(), nobody.group.as_str()),
        (4_000_000_123, 4_000_000_124, "", "")
    );
}

#[test]
fn commands_are_read_and_their_failure_is_an_error() {
    let run = |script: &str| {
        let mut stream = Stream::command(&["sh", "-c", script].map(OsString::from)).unwrap();
        let mut output = String::new();
        stream.read_to_string(&mut output).unwrap();
        (output, stream.finish())
    };
    let (output, ended) = run("echo well");
    assert!(output == "well\n" && ended.is_ok());
    let (output, ended) = run("echo half; exit 7");
    let error = ended.unwrap_err();
    assert_eq!((output.as_str(), error.kind()), ("half\n", ErrorKind::Failed));
    assert!(error.to_string().contains("exit 7") && error.to_string().contains("exit status: 7"), "{error}");
    assert!(run("kill -9 $$").1.unwrap_err().to_string().contains("signal: 9"));
    assert_eq!(Stream::command(&[]).err().unwrap().kind(), ErrorKind::Usage);
    assert_eq!(Stream::command(&["/no/such/program".into()]).err().unwrap().kind(), ErrorKind::NotFound);
}

#[test]
fn a_command_does_not_outlive_its_stream() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let script = format!("echo started; exec sleep 1000 > {}", mark.display());
    let mut stream = Stream::command(&["sh", "-c", &script].map(OsString::from)).unwrap();
    stream.read_exact(&mut [0; 8]).unwrap();
    let start = std::time::Instant::now();
    drop(stream);
    assert!(start.elapsed().as_secs() < 100, "it was waited for, not ended");
}
