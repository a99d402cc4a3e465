//! Trees of every kind, walked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{CWD, Dev, FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat};

use super::*;
use crate::record::entry::DeviceNumber;

/// Limits that even small trees meet.
fn tight(paths: &[PathBuf], options: &Options) -> Walk {
    Walk::with_limits(paths, options, Limits { threads: 2, held_bytes: 10_000 }, 3, 5).unwrap()
}

/// Paths below `base` without it, problems with a `!`.
fn names(base: &Path, steps: impl Iterator<Item = Step>) -> Vec<String> {
    let name = |path: &Path| path.strip_prefix(base).ok().map(|path| path.to_string_lossy().into_owned());
    let names = steps.filter_map(|step| match step {
        Step::Found(found) => name(&found.path),
        Step::Problem { path, .. } => name(&path).map(|name| name + "!"),
    });
    names.filter(|name| !name.is_empty()).collect()
}

fn plant(base: &Path, paths: &[&str]) {
    for path in paths {
        let at = base.join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        match path.strip_suffix('/') {
            Some(_) => fs::create_dir_all(at).unwrap(),
            None => fs::write(at, "x").unwrap(),
        }
    }
}

/// What is found below `folder` of these roots in it.
fn walked(folder: &Path, roots: &[&str], options: &Options) -> Vec<String> {
    let roots: Vec<PathBuf> = roots.iter().map(|root| folder.join(root)).collect();
    let loose = names(folder, Walk::new(&roots, options).unwrap());
    assert_eq!(names(folder, tight(&roots, options)), loose);
    loose
}

fn found(walk: Walk) -> Vec<Found> {
    walk.map(|step| match step {
        Step::Found(found) => found,
        Step::Problem { path, error } => panic!("{path:?}: {error}"),
    })
    .collect()
}

#[test]
fn roots_are_merged_and_led_to() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    plant(&base, &["a/b/x", "a/b!", "a/c", "a/d/e/f", "g/h", "other/x"]);
    symlink("a", base.join("link")).unwrap();
    let with = |roots: &[&str]| walked(&base, roots, &Options::default());
    assert_eq!(with(&["a/d/e", "a/b", "a/b/x", "a/b/"]), ["a", "a/b", "a/b/x", "a/d", "a/d/e", "a/d/e/f"]);
    assert_eq!(with(&["a"]), ["a", "a/b", "a/b/x", "a/b!", "a/c", "a/d", "a/d/e", "a/d/e/f"]);
    assert_eq!(with(&["link", "g/h", "none"]), ["none!", "g", "g/h", "link"]);
    assert_eq!(with(&["link/c", "a/c/none"]), ["a/c/none!", "link", "link/c"]);
    assert_eq!(with(&["link", "link/c"]), ["link/c!", "link"]);
    let all = found(Walk::new(&[base.join("link/b"), base.join("a")], &Options::default()).unwrap());
    assert_eq!((all[0].path.as_path(), all[0].key.as_slice()), (Path::new("/"), &b""[..]));
    assert!(all.iter().all(|found| path_of_key(&found.key) == found.path));
    let link = all.iter().find(|found| found.path == base.join("link")).unwrap();
    assert_eq!(link.stat.kind, Kind::Directory);

    for (paths, kind) in [
        (vec![base.join("none"), base.join("neither")], ErrorKind::NotFound),
        (vec![PathBuf::from("a")], ErrorKind::Usage),
        (Vec::new(), ErrorKind::Usage),
    ] {
        assert_eq!(Walk::new(&paths, &Options::default()).err().unwrap().kind(), kind, "{paths:?}");
    }
}

#[test]
fn every_kind_is_found_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
    fs::write(at(b"file\xff\n"), "abc").unwrap();
    fs::hard_link(at(b"file\xff\n"), at(b"hard")).unwrap();
    symlink("nowhere", at(b"link")).unwrap();
    fs::create_dir(at(b"directory")).unwrap();
    mknodat(CWD, at(b"fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(at(b"socket")).unwrap();
    let number: Dev = makedev(1, 3);
    let device = mknodat(CWD, at(b"null"), FileType::CharacterDevice, Mode::RUSR, number).is_ok();
    let found = found(Walk::new(&[folder.path().to_owned()], &Options::default()).unwrap());
    let kind = |name: &[u8]| found.iter().find(|found| found.path == at(name)).map(|found| found.stat.kind);
    for (name, expected) in [
        (&b"file\xff\n"[..], Kind::File),
        (b"hard", Kind::File),
        (b"link", Kind::Symlink),
        (b"directory", Kind::Directory),
        (b"fifo", Kind::Fifo),
        (b"socket", Kind::Socket),
    ] {
        assert_eq!(kind(name), Some(expected));
    }
    if device {
        assert_eq!(kind(b"null"), Some(Kind::CharacterDevice(DeviceNumber { major: 1, minor: 3 })));
    }
    let hard = found.iter().find(|found| found.path == at(b"hard")).unwrap();
    assert_eq!((hard.stat.links, hard.stat.size), (2, 3));
}

#[test]
fn paths_of_any_length() {
    let folder = tempfile::tempdir().unwrap();
    let (mut directory, mut path) =
        (openat(CWD, folder.path(), OFlags::PATH, Mode::empty()).unwrap(), folder.path().to_owned());
    let name = "n".repeat(200);
    for _ in 0..60 {
        mkdirat(&directory, &name, Mode::RWXU).unwrap();
        directory = openat(&directory, &name, OFlags::PATH, Mode::empty()).unwrap();
        path.push(&name);
    }
    let file = openat(&directory, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    rustix::io::write(&file, b"content").unwrap();
    let has_xattrs = rustix::fs::fsetxattr(&file, "user.a", b"1", rustix::fs::XattrFlags::empty()).is_ok();
    rustix::fs::symlinkat("target", &directory, "link").unwrap();
    for roots in [vec![folder.path().to_owned()], vec![path.join("file"), path.join("link")]] {
        let found = found(tight(&roots, &Options::default()));
        let [file, link] = &found[found.len() - 2..] else { panic!("{found:?}") };
        assert_eq!(file.path, path.join("file"));
        assert!(file.path.as_os_str().len() > 12_000);
        let mut content = Vec::new();
        crate::source::files::Reading::open(file).unwrap().read_whole(&mut content).unwrap();
        assert_eq!(content, b"content");
        let metadata = crate::source::files::Metadata::read(file).unwrap();
        let expected = [(b"user.a".to_vec(), b"1".to_vec())];
        assert!(!has_xattrs || metadata.xattrs.iter().any(|xattr| *xattr == expected[0]));
        assert_eq!(crate::source::files::Metadata::read(link).unwrap().target, b"target");
    }
}

#[test]
fn a_directory_of_more_names_than_memory_may_hold() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    for n in 0..3000 {
        let path = base.join(format!("{:x}", u32::wrapping_mul(n, 0x9e37_79b1)));
        match n % 100 {
            0 => plant(&path, &["inside"]),
            _ => fs::write(path, "").unwrap(),
        }
    }
    let limits = Limits { threads: 2, held_bytes: 1 << 20 };
    let walk = Walk::with_limits(std::slice::from_ref(&base), &Options::default(), limits, 64, 250).unwrap();
    let keys: Vec<Vec<u8>> = found(walk).into_iter().map(|found| found.key).collect();
    assert!(keys.is_sorted_by(|a, b| a < b));
    assert_eq!(keys.len(), base.components().count() + 3000 + 30);
}

#[test]
fn patterns_leave_out() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    plant(&base, &["a/x.o", "a/x.c", "a/y/x.o", "a/y/z", "b/y/z", "b/Y", "c/#x", "c/ü"]);
    let anchored = format!("{}/a/y", base.display());
    let table: [(&[&str], &[&str], &[&str]); 10] = [
        (&["*.o"], &[], &["a", "a/x.c", "a/y", "a/y/z", "b", "b/Y", "b/y", "b/y/z", "c", "c/#x", "c/ü"]),
        (&["y"], &[], &["a", "a/x.c", "a/x.o", "b", "b/Y", "c", "c/#x", "c/ü"]),
        (&[], &["Y"], &["a", "a/x.c", "a/x.o", "b", "c", "c/#x", "c/ü"]),
        (&["a/y", "c/"], &[], &["a", "a/x.c", "a/x.o", "b", "b/Y", "b/y", "b/y/z"]),
        (
            &["/a", "z/"],
            &[],
            &["a", "a/x.c", "a/x.o", "a/y", "a/y/x.o", "a/y/z", "b", "b/Y", "b/y", "b/y/z", "c", "c/#x", "c/ü"],
        ),
        (&[&anchored, "/**/c"], &[], &["a", "a/x.c", "a/x.o", "b", "b/Y", "b/y", "b/y/z"]),
        (&["*.o", "!a/*.o", "[bc]"], &[], &["a", "a/x.c", "a/x.o", "a/y", "a/y/z"]),
        (&["#x", "b"], &[], &["a", "a/x.c", "a/x.o", "a/y", "a/y/x.o", "a/y/z", "c", "c/ü"]),
        (&["a/**/x.o", "b", "c"], &[], &["a", "a/x.c", "a/y", "a/y/z"]),
        (&["?"], &[], &[]),
    ];
    for (excludes, iexcludes, expected) in table {
        let strings = |patterns: &[&str]| patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let options = Options { excludes: strings(excludes), iexcludes: strings(iexcludes), ..Options::default() };
        assert_eq!(walked(&base, &[""], &options), expected, "{excludes:?} {iexcludes:?}");
    }
    fs::write(base.join("patterns"), "\u{feff}# comment\r\n\r\n*.o\r\n  y\r\n").unwrap();
    let exclude_files = vec![base.join("patterns")];
    let options = Options { exclude_files, excludes: vec!["!a/y".into()], ..Options::default() };
    assert_eq!(walked(&base, &["a", "b"], &options), ["a", "a/x.c", "a/y", "a/y/z", "b", "b/Y"]);
    // Roots too: by what they are in, and against it.
    let options = Options { excludes: vec!["a".into(), "!a/y".into()], ..Options::default() };
    assert_eq!(walked(&base, &["a/x.c", "c"], &options), ["c", "c/#x", "c/ü"]);
    assert_eq!(walked(&base, &["a/y", ""], &options)[..4], ["a", "a/y", "a/y/x.o", "a/y/z"]);
    for bad in ["[a", "", "a/[b-a]"] {
        let options = Options { excludes: vec![bad.into()], ..Options::default() };
        let error = Walk::new(std::slice::from_ref(&base), &options).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains(bad), "{error}");
    }
}

#[test]
fn tags_and_sizes_leave_out() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    plant(
        &base,
        &["a/CACHEDIR.TAG", "a/x/y", "b/CACHEDIR.TAG", "b/x", "c/.no", "c/x", "d/.tag", "d/x/y", "e/.tag", "e/x"],
    );
    fs::write(base.join("b/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n# more").unwrap();
    fs::write(base.join("d/.tag"), "header: and more").unwrap();
    fs::write(base.join("c/large"), [0; 100]).unwrap();
    let options = Options {
        exclude_caches: true,
        exclude_if_present: vec![".no".into(), ".tag:header: and".into()],
        exclude_larger_than: Some(99),
        ..Options::default()
    };
    let expected = [
        "a",
        "a/CACHEDIR.TAG",
        "a/x",
        "a/x/y",
        "b",
        "b/CACHEDIR.TAG",
        "c",
        "c/.no",
        "d",
        "d/.tag",
        "e",
        "e/.tag",
        "e/x",
    ];
    assert_eq!(walked(&base, &[""], &options), expected);
    // Roots inside are there all the same, and no more than they.
    assert_eq!(walked(&base, &["d", "d/x", "c/large"], &options), ["c", "d", "d/.tag", "d/x", "d/x/y"]);
    for bad in ["", ":header", "a/b"] {
        let options = Options { exclude_if_present: vec![bad.into()], ..Options::default() };
        assert!(Walk::new(std::slice::from_ref(&base), &options).is_err(), "{bad:?}");
    }
}

#[test]
fn a_walk_of_one_file_system_keeps_mount_points() {
    // The one mount that every Linux has; a walk of `/` itself would be of all that is on the machine.
    let devices = ["/dev", "/dev/shm"].map(|path| Stat::of(Path::new(path)).map(|stat| stat.device).ok());
    let [Some(outer), Some(inner)] = devices else { return };
    if outer == inner {
        return;
    }
    let own = tempfile::tempdir_in("/dev/shm").unwrap();
    plant(own.path(), &["x"]);
    let options = Options { one_file_system: true, ..Options::default() };
    let below = |roots: &[&Path]| {
        let roots: Vec<PathBuf> = roots.iter().map(|&root| root.to_owned()).collect();
        let found = Walk::new(&roots, &options).unwrap().filter_map(|step| match step {
            Step::Found(found) => found.path.strip_prefix("/dev/shm").ok().map(Path::to_owned),
            Step::Problem { .. } => None,
        });
        let own = own.path().strip_prefix("/dev/shm").unwrap();
        found
            .map(|path| {
                path.strip_prefix(own).map_or(path.as_os_str().is_empty().to_string(), |p| p.display().to_string())
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(below(&[Path::new("/dev")]), ["true"]);
    assert_eq!(below(&[Path::new("/dev"), own.path()]), ["true", "", "x"]);
    assert!(below(&[Path::new("/dev"), Path::new("/dev/shm")]).contains(&"x".to_owned()));
}

#[test]
fn what_goes_away_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    for n in 0..400 {
        plant(&base, &[&format!("{n:03}/a/x"), &format!("{n:03}/b")]);
    }
    let mut walk = tight(std::slice::from_ref(&base), &Options::default());
    let (mut last, mut count) = (Vec::new(), 0);
    while let Some(step) = walk.next() {
        if let Step::Found(found) = step {
            assert!(found.key > last || found.key.is_empty());
            last = found.key;
        }
        count += 1;
        if count == 100 {
            for n in 200..400 {
                fs::remove_dir_all(base.join(format!("{n:03}"))).unwrap();
            }
        }
    }
    assert!((900..2000).contains(&count), "{count}");
    drop(Walk::new(&[base], &Options::default()).unwrap().take(3).collect::<Vec<_>>());
}

#[test]
fn a_directory_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    plant(&base, &["a/x", "b/x", "c/x"]);
    fs::set_permissions(base.join("b"), std::os::unix::fs::PermissionsExt::from_mode(0)).unwrap();
    if fs::read_dir(base.join("b")).is_err() {
        assert_eq!(walked(&base, &[""], &Options::default()), ["a", "a/x", "b", "b!", "c", "c/x"]);
    }
    fs::set_permissions(base.join("b"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn another_directory_of_the_same_name_is_not_entered() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    plant(&base, &["a/x", "b/y"]);
    let limits = Limits { threads: 0, held_bytes: 0 };
    let walk = Walk::with_limits(std::slice::from_ref(&base), &Options::default(), limits, 10, 10).unwrap();
    let steps = walk.inspect(|step| {
        if let Step::Found(found) = step
            && found.path == base.join("a")
        {
            fs::rename(&found.path, base.join("c")).unwrap();
            symlink("b", &found.path).unwrap();
        }
    });
    assert_eq!(names(&base, steps), ["a", "a!", "b", "b/y"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn keys_ascend_and_none_is_missing(
        paths in prop::collection::btree_set(prop::collection::vec("[a-c!\u{1}]{1,2}", 1..5), 1..40),
        roots in prop::collection::vec(prop::collection::vec("[a-c!\u{1}]{1,2}", 0..3), 1..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let mut model = BTreeSet::new();
        for path in &paths {
            let path: PathBuf = path.iter().collect();
            fs::create_dir_all(base.join(&path)).unwrap();
            model.extend(path.ancestors().map(|path| base.join(path)));
        }
        let roots: Vec<PathBuf> = roots.iter().map(|root| base.join(root.iter().collect::<PathBuf>())).collect();
        let there: Vec<&PathBuf> = roots.iter().filter(|root| model.contains(*root)).collect();
        let mut expected: Vec<Vec<u8>> = model
            .iter()
            .filter(|path| there.iter().any(|root| path.starts_with(root)))
            .chain(there.iter().copied())
            .flat_map(|path| path.ancestors())
            .map(|path| key_of_path(path).unwrap())
            .collect();
        expected.sort();
        expected.dedup();
        if there.is_empty() {
            prop_assert!(Walk::new(&roots, &Options::default()).is_err());
        } else {
            let found = tight(&roots, &Options::default()).filter_map(|step| match step {
                Step::Found(found) => Some(found.key),
                Step::Problem { .. } => None,
            });
            prop_assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }
}
