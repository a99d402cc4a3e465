//! What the fuzz targets share: fixed keys, hostile bodies sealed as a key holder would seal them, and claims about datoms.

#![allow(clippy::unwrap_used, reason = "a finding is a panic")]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use packstone::crypto::{Keyring, Keys, MasterKey, Purpose};
use packstone::format::ObjectPath;
use packstone::id::{LedgerId, RepositoryId, SnapshotId};
use packstone::record::datom::{Datom, Datoms, Digest, decode_key, encode_key};
use packstone::record::{RecordKind, Rows};
use packstone::source::datoms::{DatomSource, Location, OnError, Options};

/// The bytes `from`, `from + 1`, ...: the keys and ids of `format-spec/vectors` are made of them.
pub const fn counting<const N: usize>(from: u8) -> [u8; N] {
    let mut bytes = [0; N];
    let mut i = 0;
    while i < N {
        bytes[i] = from.wrapping_add(i as u8);
        i += 1;
    }
    bytes
}

/// The session of the vectors.
pub const SESSION: SnapshotId = SnapshotId::new(counting(0x70));

/// Number of the heartbeat of the vectors.
pub const HEARTBEAT: u32 = 3;

/// Number of the gc record of the vectors.
pub const GC_RECORD: u64 = 12;

/// The ledger record of the vectors.
pub const LEDGER: LedgerId = LedgerId::new(counting(0x90));

/// The keys of the vectors.
pub fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys::derive(RepositoryId::new(counting(0)), &keyring()))
}

/// The keyring of the vectors.
pub fn keyring() -> Keyring {
    Keyring::new(MasterKey::new(counting(0x20))).rotate(MasterKey::new(counting(0x40))).unwrap()
}

/// A kind of small sealed object.
#[derive(Clone, Copy)]
pub enum Object {
    /// At `sessions/<id>/0`.
    Session,
    /// At `sessions/<id>/3`.
    Heartbeat,
    /// At `snapshots/<id>`.
    Outcome,
    /// An index object, wherever it is.
    Index,
    /// At `gc/12`.
    Gc,
    /// At `ledger/<id>`.
    Ledger,
}

impl Object {
    fn code(self) -> u8 {
        match self {
            Self::Session => 3,
            Self::Heartbeat => 4,
            Self::Outcome => 5,
            Self::Index => 6,
            Self::Gc => 7,
            Self::Ledger => 8,
        }
    }

    fn purpose(self) -> Purpose {
        match self {
            Self::Index => Purpose::Index,
            _ => Purpose::Metadata,
        }
    }

    fn place(self) -> String {
        match self {
            Self::Session => ObjectPath::session(SESSION, 0).to_string(),
            Self::Heartbeat => ObjectPath::session(SESSION, HEARTBEAT).to_string(),
            Self::Outcome => ObjectPath::snapshot(SESSION).to_string(),
            Self::Index => String::new(),
            Self::Gc => ObjectPath::gc(GC_RECORD).to_string(),
            Self::Ledger => ObjectPath::ledger(LEDGER).to_string(),
        }
    }

    /// The object whose seal is right and whose body is anything.
    pub fn seal(self, body: &[u8]) -> Vec<u8> {
        let mut object = b"PSTN".to_vec();
        object.extend_from_slice(&[self.code(), 1]);
        object.extend_from_slice(&keys().newest_epoch().to_le_bytes());
        let associated = self.associated(&object);
        object.extend_from_slice(&keys().seal(self.purpose(), &associated, &[0; 32], &with_length(body)));
        object
    }

    /// The body of an object.
    pub fn open(self, object: &[u8]) -> Vec<u8> {
        let (head, sealed) = object.split_at(10);
        let epoch = u32::from_le_bytes(head[6..].try_into().unwrap());
        without_length(&keys().open(self.purpose(), epoch, &self.associated(head), sealed).unwrap())
    }

    fn associated(self, head: &[u8]) -> Vec<u8> {
        [head, keys().repository().as_bytes(), self.place().as_bytes()].concat()
    }
}

/// A body as it is sealed, unpadded.
pub fn with_length(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], body].concat()
}

fn without_length(plaintext: &[u8]) -> Vec<u8> {
    let len = u32::from_le_bytes(*plaintext.first_chunk().unwrap()) as usize;
    plaintext[4..4 + len].to_vec()
}

/// What the seal of a pack directory binds.
fn bound_to_directory(epoch: u32, frames_end: u64) -> Vec<u8> {
    [b"PSPACK\x01\x00directory", &epoch.to_le_bytes()[..], &frames_end.to_le_bytes()].concat()
}

/// The sealed directory of a pack whose frames end at `frames_end`, and the trailer behind it.
pub fn seal_directory(frames_end: u64, body: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let epoch = keys().newest_epoch();
    let sealed = keys().seal(Purpose::Metadata, &bound_to_directory(epoch, frames_end), &[0; 32], &with_length(body));
    let len = u32::try_from(sealed.len()).unwrap().to_le_bytes();
    (sealed, [&len[..], &epoch.to_le_bytes(), &[0; 32]].concat())
}

/// The body of the directory that `range` of a pack seals.
pub fn open_directory(pack: &[u8], range: std::ops::Range<u64>, epoch: u32) -> Vec<u8> {
    let sealed = &pack[range.start as usize..range.end as usize];
    without_length(&keys().open(Purpose::Metadata, epoch, &bound_to_directory(epoch, range.start), sealed).unwrap())
}

/// Whatever a source yields can be stored and comes back, or is refused.
pub fn check_stored(datom: &Datom<'_>) {
    let mut key = Vec::new();
    if encode_key(datom, &mut key).is_err() {
        return;
    }
    assert_eq!(decode_key(&key).as_ref(), Ok(datom), "the key does not give the datom");
    let _ = Digest::hash(datom);
    let mut rows = Rows::new();
    rows.push(&key, &[]);
    Datoms.summarize(&rows);
    assert_eq!(Datoms.decode(&Datoms.encode(&rows)), Ok(rows));
}

/// A folder of this process, where temporary files are kept; whoever starts the process removes it.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().unwrap().keep())
}

/// Reads whatever is at `path` to its end or its error.
pub fn read_datoms(path: &Path, allow_incomplete: bool) {
    let options = Options { on_error: OnError::Collect, allow_incomplete, ..Options::default() };
    if let Ok(mut source) = packstone::source::datoms::open(&Location::Path(path.to_owned()), &options) {
        read_all(source.as_mut());
    }
}

fn read_all(source: &mut dyn DatomSource) {
    let _ = source.read(&mut |datom| {
        check_stored(datom);
        Ok(())
    });
}
