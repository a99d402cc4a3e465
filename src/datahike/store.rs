//! A store, for reading: its blobs decrypted, its branches, heads and schemas.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::fields::elements;
use super::{Blob, Head, Home, MAIN_BRANCH, SchemaMeta, Secret, StoreKey, Unreadable, home};
use crate::error::{DecodeError, Error, ErrorKind, Result};
use crate::record::datom::Value;

/// The blob that lists the branches, for messages.
const BRANCHES: &str = ":branches";
/// How often a blob that does not decode is read again, as it may be written in place just now.
const READS: usize = 3;
/// A head that is still the newest after this time has outlived its millisecond.
const SETTLED_AFTER: Duration = Duration::from_millis(2);
/// How often a head is looked at until one stays for so long.
const SETTLING_LOOKS: u32 = 20;

/// A store.
#[derive(Clone)]
pub struct Store {
    home: Arc<dyn Home>,
    secret: Option<Secret>,
}

impl Store {
    /// The store at a location; `secret` is needed where it is encrypted.
    pub fn open(location: &str, secret: Option<Secret>) -> Result<Self> {
        Ok(Self::new(home::open(location)?, secret))
    }

    /// The store in a home.
    pub fn new(home: Arc<dyn Home>, secret: Option<Secret>) -> Self {
        Self { home, secret }
    }

    /// Where its blobs are.
    pub fn home(&self) -> &dyn Home {
        &*self.home
    }

    /// The blob in the bytes its home gave for `key`. One that says it belongs elsewhere is refused.
    pub fn decode(&self, key: StoreKey, stored: &Bytes) -> Result<Blob, Unreadable> {
        let blob = Blob::decode(stored, self.secret.as_ref())?;
        match StoreKey::of(&blob.key) {
            Ok(name) if name == key => Ok(blob),
            _ => Err(DecodeError::Invalid("blob: it says that it belongs under another name").into()),
        }
    }

    /// The blob under a name; nothing where it is absent.
    pub fn blob(&self, key: StoreKey) -> Result<Option<Blob>> {
        let what = key.to_string();
        self.read(key, &what, |blob| Ok(blob.clone()))
    }

    /// The name of an object of the store, for messages.
    pub fn object(&self, what: &str) -> String {
        format!("{}: {what}", self.home.name())
    }

    /// The names of all branches, the main one first. Older databases have no list: then it is the only one.
    pub fn branches(&self) -> Result<Vec<String>> {
        let key = StoreKey::keyword("branches");
        let decode = |blob: &Blob| {
            let value = blob.value()?;
            if !matches!(value, Value::Tuple(_) | Value::List(_) | Value::Set(_)) {
                return Err(DecodeError::Invalid("list of branches: neither a set nor a list").into());
            }
            let name = |branch: &Value<'_>| match branch {
                Value::Keyword(name) => Ok(name.clone().into_owned()),
                _ => Err(Unreadable::from(DecodeError::Invalid("list of branches: not keywords"))),
            };
            elements(&value).iter().map(name).collect::<Result<Vec<String>, _>>()
        };
        let mut listed = self.read(key, BRANCHES, decode)?;
        for _ in 0..READS {
            if listed.is_some() || !self.home.is_empty(key)? {
                break;
            }
            // It may be written just now.
            thread::sleep(SETTLED_AFTER);
            listed = self.read(key, BRANCHES, decode)?;
        }
        if listed.is_none() && self.home.is_empty(key)? {
            return Err(Error::new(ErrorKind::Damaged, self.object(BRANCHES), "the blob is empty"));
        }
        let mut branches = listed.unwrap_or_default();
        branches.retain(|branch| branch != MAIN_BRANCH);
        branches.sort();
        branches.insert(0, MAIN_BRANCH.to_owned());
        Ok(branches)
    }

    /// The head of a branch as it is now.
    pub fn head(&self, branch: &str) -> Result<Head> {
        let what = format!(":{branch}");
        self.read(StoreKey::keyword(branch), &what, |blob| Head::decode(branch, blob))?.ok_or_else(|| {
            let message = match branch {
                MAIN_BRANCH => "no such blob: the store holds no Datahike database",
                _ => "no such blob: the database has no such branch",
            };
            Error::new(ErrorKind::NotFound, self.object(&what), message)
        })
    }

    /// The head of a branch as it is now, and the time by which all that it is made of was written, in milliseconds since
    /// 1970: what is stored under the address of one of its nodes and says a later time is another node. A head that is
    /// known already, by its hash, is not looked at any longer.
    ///
    /// What a head is made of is written over, where addresses are used again, once the head after it is there. Times are
    /// in milliseconds; so where a head is still the newest when a millisecond has passed, what is written over it later
    /// says a later time than the head does. Where the branch never stands still for so long, nodes of the head's own
    /// millisecond are taken for later ones.
    pub fn settled_head(&self, branch: &str, known: Option<&[u8; 32]>) -> Result<(Head, Option<i64>)> {
        let key = [StoreKey::keyword(branch)];
        let mut look = 1;
        loop {
            let stamp = self.home.stamps(&key)?;
            let head = self.head(branch)?;
            let Some(written) = head.last_write.filter(|_| known != Some(&head.bytes_hash)) else {
                return Ok((head, None));
            };
            thread::sleep(SETTLED_AFTER);
            if self.home.stamps(&key)? == stamp {
                return Ok((head, Some(written)));
            }
            if look == SETTLING_LOOKS {
                return Ok((head, Some(written.saturating_sub(1))));
            }
            look += 1;
        }
    }

    /// The schema a head names, or holds itself.
    pub fn schema(&self, head: &Head) -> Result<SchemaMeta> {
        if let Some(schema) = &head.inline_schema {
            return Ok(schema.clone());
        }
        let uuid = head.schema_key.expect("a head without a schema names its blob");
        let what = format!("schema {}", super::hasch::spell(&uuid));
        self.read(StoreKey::address(&uuid), &what, SchemaMeta::decode)?
            .ok_or_else(|| Error::new(ErrorKind::Damaged, self.object(&what), "no such blob"))
    }

    /// Reads a blob and what is in it, a few times where it may be written just now.
    fn read<T>(&self, key: StoreKey, what: &str, decode: impl Fn(&Blob) -> Result<T, Unreadable>) -> Result<Option<T>> {
        let mut attempt = 1;
        loop {
            let Some(stored) = self.home.get(key)? else { return Ok(None) };
            match self.decode(key, &stored).and_then(|blob| decode(&blob)) {
                Ok(content) => return Ok(Some(content)),
                Err(why) if why.may_be_torn() && attempt < READS => attempt += 1,
                Err(why) => return Err(why.about(self.object(what))),
            }
        }
    }
}
