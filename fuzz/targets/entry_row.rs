//! Rows of entries and of extents, and summaries of entries.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::record::entry::{Entry, Head, Summary};
use packstone::record::{Entries, Extent, RecordKind, Rows};

fuzz_target!(|data: &[u8]| {
    let head = Head::parse(data);
    if let Ok(head) = &head {
        let _ = head.references(&mut Vec::new());
    }
    if let Ok(entry) = Entry::decode(data) {
        assert_eq!(entry.encode(), data);
        let head = head.expect("an entry begins with its head");
        assert_eq!((head.kind, head.size, head.mtime), (entry.body.kind(), entry.size(), entry.mtime));
        assert_eq!(head.xattrs().collect::<Vec<_>>(), entry.xattrs);
        let mut rows = Rows::new();
        rows.push(b"a", data);
        rows.push(b"b", data);
        assert_eq!(Entries.decode(&Entries.encode(&rows)), Ok(rows));
    }
    if let Some((key, value)) = data.split_at_checked(8)
        && let Ok(extent) = Extent::decode(key, value)
    {
        assert_eq!((&extent.key()[..], &extent.value()[..]), (key, value));
    }
    if let Ok(summary) = Summary::decode(data) {
        assert_eq!(summary.encode(), data);
    }
});
