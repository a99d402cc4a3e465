//! Columns of entries.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::record::entry::{Entry, key_of_path, path_of_key};
use packstone::record::{Entries, RecordKind};

fuzz_target!(|data: &[u8]| {
    let Ok(rows) = Entries.decode(data) else { return };
    assert_eq!(Entries.encode(&rows), data);
    for (key, value) in rows.iter() {
        let entry = Entry::decode(value).expect("columns give rows of entries only");
        assert_eq!(entry.encode(), value);
        assert_eq!(key_of_path(&path_of_key(key)).as_deref(), Some(key));
    }
    let summary = Entries.summarize(&rows);
    assert_eq!(Entries.merge(&[&summary]), Ok(summary));
});
