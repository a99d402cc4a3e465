//! Entries and extents: rows of one form only, columns that give back the rows they were made of, no panic on any bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use packstone::error::DecodeError;
use packstone::id::BlobId;
use packstone::record::entry::{
    Body, Content, DeviceNumber, Entry, Head, INLINE_CONTENT_MAX, INLINE_EXTENTS_MAX, Kind, Link, Owner, Summary, Time,
    Xattr, XattrValue, child_key, key_of_path, name_of, parent_of, path_of_key,
};
use packstone::record::{Entries, Extent, Extents, RecordKind, Reference, Rows, Subtree};
use proptest::prelude::*;

fn id() -> impl Strategy<Value = BlobId> {
    any::<[u8; 32]>().prop_map(BlobId::new)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..300, any::<u64>(), Just(u64::MAX)]
}

fn time() -> impl Strategy<Value = Time> {
    let seconds = prop_oneof![
        Just(1_700_000_000),
        1_600_000_000_i64..1_700_000_000,
        -10_i64..10,
        Just(i64::MIN),
        Just(i64::MAX),
        any::<i64>()
    ];
    let nanos = prop_oneof![Just(0), Just(999_999_999), 0_u32..1_000_000_000];
    (seconds, nanos).prop_map(|(seconds, nanos)| Time { seconds, nanos })
}

fn owner() -> impl Strategy<Value = Owner> {
    let id = || prop_oneof![Just(0), Just(1000), any::<u32>()];
    let name = || prop_oneof![Just(String::new()), Just("root".to_owned()), "[a-zé]{0,6}"];
    (id(), id(), name(), name()).prop_map(|(uid, gid, user, group)| Owner { uid, gid, user, group })
}

fn xattrs() -> impl Strategy<Value = Vec<Xattr>> {
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20).prop_map(XattrValue::Inline),
        id().prop_map(XattrValue::Chunk)
    ];
    let set = prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..8), value, 0..3);
    let set = set.prop_map(|set| set.into_iter().map(|(name, value)| Xattr { name, value }).collect());
    prop_oneof![3 => Just(Vec::new()), 1 => set]
}

fn extents(count: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<Extent>> {
    let gap = prop_oneof![Just(0), 0_u64..1 << 40];
    let length = prop_oneof![1_u32..1 << 20, Just(u32::MAX)];
    prop::collection::vec((gap, length, id()), count).prop_map(|spans| {
        let mut end = 0;
        let place = |(gap, length, id)| {
            let extent = Extent { offset: end + gap, length, id };
            end = extent.end();
            extent
        };
        spans.into_iter().map(place).collect()
    })
}

/// A file; what does not belong into its entry is over [`INLINE_CONTENT_MAX`].
fn file() -> impl Strategy<Value = Body> {
    let whole = (INLINE_CONTENT_MAX as u32 + 1.., id()).prop_map(|(length, id)| {
        let content = Content::Extents(vec![Extent { offset: 0, length, id }]);
        Body::File { size: u64::from(length), content }
    });
    let inline = prop::collection::vec(any::<u8>(), 0..=INLINE_CONTENT_MAX)
        .prop_map(|bytes| Body::File { size: bytes.len() as u64, content: Content::Inline(bytes) });
    let parts = (extents(0..=INLINE_EXTENTS_MAX), 0_u64..1 << 20).prop_map(|(extents, hole)| {
        let size = extents.last().map_or(0, Extent::end).max(INLINE_CONTENT_MAX as u64 + 1) + hole;
        Body::File { size, content: Content::Extents(extents) }
    });
    let tree = (id(), any::<u8>(), INLINE_EXTENTS_MAX as u64 + 1.., number(), INLINE_CONTENT_MAX as u64 + 1..);
    let tree = tree.prop_map(|(id, level, records, row_bytes, size)| {
        let content = Content::Tree(Subtree { kind: 4, id, level, records, row_bytes, summary: Vec::new() });
        Body::File { size, content }
    });
    prop_oneof![3 => whole, 1 => inline, 1 => parts, 1 => tree]
}

fn body() -> impl Strategy<Value = Body> {
    let device = || (any::<u32>(), any::<u32>()).prop_map(|(major, minor)| DeviceNumber { major, minor });
    prop_oneof![
        4 => file(),
        1 => Just(Body::Directory),
        1 => prop::collection::vec(1_u8.., 0..40).prop_map(|target| Body::Symlink { target }),
        1 => prop_oneof![Just(Body::Fifo), Just(Body::Socket)],
        1 => device().prop_map(|device| Body::CharacterDevice { device }),
        1 => device().prop_map(|device| Body::BlockDevice { device }),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let mode = prop_oneof![Just(0o644), Just(0o755), 0_u32..0o10000];
    let ctime = prop_oneof![Just(None), time().prop_map(Some)];
    let link = (number(), number()).prop_map(|(device, count)| Link { device, count });
    let rare = (prop::option::weighted(0.2, time()), prop::option::weighted(0.2, link), xattrs());
    (body(), mode, owner(), time(), ctime, number(), rare).prop_map(
        |(body, mode, owner, mtime, ctime, inode, (atime, link, xattrs))| {
            let ctime = ctime.unwrap_or(mtime);
            Entry { body, mode, owner, mtime, ctime, atime, inode, link, xattrs }
        },
    )
}

/// A component of a path.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let any = prop::collection::vec(any::<u8>().prop_filter("no name holds them", |b| *b != 0 && *b != b'/'), 1..8);
    let name = prop_oneof!["[a-c]{1,3}".prop_map(String::into_bytes), any];
    name.prop_filter("not a name", |name| name != b"." && name != b"..")
}

/// Entries by key; many are like the one before.
fn entries() -> impl Strategy<Value = BTreeMap<Vec<u8>, Entry>> {
    let key = prop::collection::vec(name(), 0..4).prop_map(|names| names.join(&0));
    prop::collection::btree_map(key, (entry(), any::<u8>()), 1..30).prop_map(|entries| {
        let mut last: Option<Entry> = None;
        let like = |(key, (mut entry, same)): (_, (Entry, u8))| {
            if let Some(last) = last.take() {
                if same & 1 > 0 {
                    (entry.mode, entry.owner) = (last.mode, last.owner);
                }
                if same & 2 > 0 {
                    (entry.mtime, entry.ctime) = (last.mtime, last.ctime);
                }
                if same & 4 > 0 {
                    entry.xattrs = last.xattrs;
                }
            }
            last = Some(entry.clone());
            (key, entry)
        };
        entries.into_iter().map(like).collect()
    })
}

fn rows(entries: &BTreeMap<Vec<u8>, Entry>) -> Rows {
    let mut rows = Rows::new();
    entries.iter().for_each(|(key, entry)| rows.push(key, &entry.encode()));
    rows
}

fn chunks_of(entry: &Entry) -> Vec<Reference> {
    let mut found = Vec::new();
    for xattr in &entry.xattrs {
        if let XattrValue::Chunk(id) = xattr.value {
            found.push(Reference::Chunk(id));
        }
    }
    match &entry.body {
        Body::File { content: Content::Extents(extents), .. } => {
            found.extend(extents.iter().map(|e| Reference::Chunk(e.id)));
        }
        Body::File { content: Content::Tree(tree), .. } => found.push(Reference::Tree(tree.clone())),
        _ => {}
    }
    found
}

proptest! {
    #[test]
    fn a_row_gives_back_its_entry(entry in entry()) {
        prop_assert_eq!(Entry::decode(&entry.encode()).unwrap(), entry);
    }

    #[test]
    fn a_head_is_the_start_of_its_entry(entry in entry()) {
        let row = entry.encode();
        let head = Head::parse(&row).unwrap();
        prop_assert_eq!(head.kind, entry.body.kind());
        prop_assert_eq!(head.is_file(), head.kind == Kind::File);
        prop_assert_eq!(head.is_directory(), entry.is_directory());
        prop_assert_eq!((head.mode, head.uid, head.gid), (entry.mode, entry.owner.uid, entry.owner.gid));
        prop_assert_eq!((head.user, head.group), (entry.owner.user.as_str(), entry.owner.group.as_str()));
        prop_assert_eq!((head.mtime, head.ctime, head.atime), (entry.mtime, entry.ctime, entry.atime));
        prop_assert_eq!((head.inode, head.link, head.size), (entry.inode, entry.link, entry.size()));
        prop_assert_eq!(head.has_xattrs(), !entry.xattrs.is_empty());
        prop_assert_eq!(head.xattrs().collect::<Vec<_>>(), &entry.xattrs[..]);
        let mut references = Vec::new();
        head.references(&mut references).unwrap();
        prop_assert_eq!(references, chunks_of(&entry));
    }

    #[test]
    fn a_row_has_one_form(entry in entry(), at: prop::sample::Index, byte: u8) {
        let mut row = entry.encode();
        let at = at.index(row.len());
        row[at] = byte;
        if let Ok(changed) = Entry::decode(&row) {
            prop_assert_eq!(changed.encode(), row);
        }
    }

    #[test]
    fn arbitrary_rows_do_not_panic(bytes: Vec<u8>) {
        let _ = Head::parse(&bytes).map(|head| head.references(&mut Vec::new()));
        let _ = Entry::decode(&bytes);
        let _ = Extent::decode(&bytes, &bytes);
    }

    #[test]
    fn columns_give_back_their_rows(entries in entries()) {
        let rows = rows(&entries);
        prop_assert_eq!(Entries.decode(&Entries.encode(&rows)).unwrap(), rows);
    }

    #[test]
    fn columns_have_one_form(entries in entries(), at: prop::sample::Index, byte in prop_oneof![0_u8..20, any::<u8>()]) {
        let mut columns = Entries.encode(&rows(&entries));
        let at = at.index(columns.len());
        columns[at] = byte;
        if let Ok(rows) = Entries.decode(&columns) {
            prop_assert_eq!(Entries.encode(&rows), columns);
            for (key, value) in rows.iter() {
                prop_assert_eq!(Entry::decode(value).unwrap().encode(), value);
                prop_assert_eq!(key_of_path(&path_of_key(key)), Some(key.to_vec()));
            }
        }
    }

    #[test]
    fn arbitrary_columns_do_not_panic(bytes in prop::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..200)) {
        let _ = Extents.decode(&bytes);
        if let Ok(rows) = Entries.decode(&bytes) {
            prop_assert_eq!(Entries.encode(&rows), bytes);
        }
    }

    #[test]
    fn keys_give_back_their_paths(names in prop::collection::vec(name(), 0..6)) {
        let key = names.join(&0);
        prop_assert_eq!(key_of_path(&path_of_key(&key)), Some(key.clone()));
        prop_assert_eq!(name_of(&key), names.last().map_or(&b""[..], Vec::as_slice));
        let (Some(name), Some(parent)) = (names.last(), parent_of(&key)) else {
            prop_assert!(names.is_empty());
            return Ok(());
        };
        prop_assert_eq!(child_key(parent, name), key);
    }

    #[test]
    fn a_summary_of_parts_is_that_of_the_whole(entries in entries(), at: prop::sample::Index) {
        let whole = rows(&entries);
        let (mut left, mut right) = (Rows::new(), Rows::new());
        let at = at.index(whole.len());
        for (i, (key, value)) in whole.iter().enumerate() {
            if i < at { left.push(key, value) } else { right.push(key, value) }
        }
        let summary = Entries.summarize(&whole);
        prop_assert!(summary.len() <= 64);
        prop_assert_eq!(&Entries.merge(&[&Entries.summarize(&left), &Entries.summarize(&right)]).unwrap(), &summary);
        let files = entries.values().filter(|entry| entry.body.kind() == Kind::File);
        let found = Summary::decode(&summary).unwrap();
        prop_assert_eq!(found.files, files.clone().count() as u64);
        prop_assert_eq!(found.directories, entries.values().filter(|entry| entry.is_directory()).count() as u64);
        prop_assert_eq!(found.entries(), entries.len() as u64);
        prop_assert_eq!(found.largest, files.clone().map(Entry::size).max().unwrap_or(0));
        prop_assert_eq!(found.bytes, files.fold(0, |sum: u64, file| sum.saturating_add(file.size())));
        let seconds = || entries.values().map(|entry| entry.mtime.seconds);
        prop_assert_eq!(found.newest_mtime_seconds, seconds().max().unwrap());
        prop_assert_eq!(found.oldest_mtime_seconds, seconds().min().unwrap());
        prop_assert_eq!(found.encode(), summary);
    }

    #[test]
    fn a_summary_has_one_form(bytes in prop::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..60)) {
        if let Ok(summary) = Summary::decode(&bytes) {
            prop_assert_eq!(summary.encode(), bytes);
        }
    }

    #[test]
    fn columns_of_extents_give_back_their_rows(extents in extents(0..50)) {
        let mut rows = Rows::new();
        extents.iter().for_each(|extent| rows.push(&extent.key(), &extent.value()));
        prop_assert_eq!(Extents.decode(&Extents.encode(&rows)).unwrap(), rows);
    }

    #[test]
    fn columns_of_extents_have_one_form(extents in extents(1..5), at: prop::sample::Index, byte: u8) {
        let mut rows = Rows::new();
        extents.iter().for_each(|extent| rows.push(&extent.key(), &extent.value()));
        let mut columns = Extents.encode(&rows);
        let at = at.index(columns.len());
        columns[at] = byte;
        if let Ok(rows) = Extents.decode(&columns) {
            prop_assert_eq!(Extents.encode(&rows), columns);
        }
    }
}

#[test]
fn a_short_file_is_in_its_entry() {
    let mut entry = Entry {
        body: Body::File { size: 5, content: Content::Inline(b"hello".to_vec()) },
        mode: 0o644,
        owner: Owner::default(),
        mtime: Time::default(),
        ctime: Time::default(),
        atime: None,
        inode: 1,
        link: None,
        xattrs: Vec::new(),
    };
    assert_eq!(Entry::decode(&entry.encode()), Ok(entry.clone()));
    let extent = Extent { offset: 0, length: 5, id: BlobId::new([1; 32]) };
    entry.body = Body::File { size: 5, content: Content::Extents(vec![extent]) };
    assert!(Entry::decode(&entry.encode()).is_err());
}

#[test]
fn a_key_that_is_no_path_is_refused() {
    let value = Entry {
        body: Body::Fifo,
        mode: 0,
        owner: Owner::default(),
        mtime: Time::default(),
        ctime: Time::default(),
        atime: None,
        inode: 0,
        link: None,
        xattrs: Vec::new(),
    }
    .encode();
    let decoded = |keys: &[&[u8]]| {
        let mut rows = Rows::new();
        keys.iter().for_each(|key| rows.push(key, &value));
        Entries.decode(&Entries.encode(&rows)).map(|rows| rows.len())
    };
    assert_eq!(decoded(&[b"", b"a", b"a\0b", b"a\0b\0..c", b"a\0c", b"a.", b"a\xff"]), Ok(7));
    let bad: [&[u8]; 12] =
        [b".", b"..", b"a\0..", b"a\0.", b"..\0a", b"a/b", b"/", b"\0", b"\0a", b"a\0", b"a\0\0b", b"a\0b\0../../etc"];
    for key in bad {
        assert_eq!(decoded(&[key]), Err(DecodeError::Invalid("name in a path")), "{key:?}");
        assert_eq!(decoded(&[b"", key]), Err(DecodeError::Invalid("name in a path")), "{key:?}");
    }
    assert_eq!(decoded(&[b"a\0.x", b"a\0.x\0.."]), Err(DecodeError::Invalid("name in a path")));
    assert_eq!(decoded(&[b"a\0.-", b"a\0.."]), Err(DecodeError::Invalid("name in a path")));
}

#[test]
fn few_bytes_do_not_become_many_rows() {
    let owner = Owner { uid: 0, gid: 0, user: "u".repeat(4096), group: "g".repeat(4096) };
    let mut entry = Entry {
        body: Body::Fifo,
        mode: 0,
        owner,
        mtime: Time::default(),
        ctime: Time::default(),
        atime: None,
        inode: 0,
        link: None,
        xattrs: Vec::new(),
    };
    let columns = |entry: &Entry, count: u32| {
        let (mut rows, value) = (Rows::new(), entry.encode());
        (0..count).for_each(|i| rows.push(format!("{i:06}").as_bytes(), &value));
        Entries.encode(&rows)
    };
    let many = columns(&entry, 10_000);
    assert!(many.len() < 200_000);
    assert_eq!(Entries.decode(&many), Err(DecodeError::TooLarge("rows")));
    assert_eq!(Entries.decode(&columns(&entry, 5000)).unwrap().len(), 5000);
    entry.owner.user.push('u');
    assert!(Entries.decode(&columns(&Entry { owner: Owner::default(), ..entry.clone() }, 1)).is_ok());
    assert!(Entry::decode(&entry.encode()).is_err());
}
