//! Entries and extents: rows of one form only, columns that give back the rows they were made of, no panic on any bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use packstone::id::BlobId;
use packstone::record::entry::{
    Body, Content, DeviceNumber, Entry, Head, INLINE_CONTENT_MAX, INLINE_EXTENTS_MAX, Kind, Link, Owner, Time, Xattr,
    XattrValue,
};
use packstone::record::{Extent, Extents, RecordKind, Reference, Subtree};
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
    fn columns_of_extents_give_back_their_rows(extents in extents(0..50)) {
        let mut rows = packstone::record::Rows::new();
        extents.iter().for_each(|extent| rows.push(&extent.key(), &extent.value()));
        prop_assert_eq!(Extents.decode(&Extents.encode(&rows)).unwrap(), rows);
    }

    #[test]
    fn columns_of_extents_have_one_form(extents in extents(1..5), at: prop::sample::Index, byte: u8) {
        let mut rows = packstone::record::Rows::new();
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
