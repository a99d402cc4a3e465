//! Streams of keys that lend one key at a time.

use super::key::{T, split_view};
use crate::error::Result;
use crate::record::datom::FactEvent;
use crate::sorter::Sorted;

/// Keys in ascending order.
pub trait KeyStream {
    /// The next key, until there is none.
    fn next(&mut self) -> Result<Option<&[u8]>>;
}

impl KeyStream for Sorted {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        Sorted::next(self)
    }
}

impl<S: KeyStream + ?Sized> KeyStream for &mut S {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        (**self).next()
    }
}

impl<S: KeyStream + ?Sized> KeyStream for Box<S> {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        (**self).next()
    }
}

/// The keys of an iterator, e.g. `Keys::new(keys.iter().map(Ok))`.
pub struct Keys<I, K> {
    keys: I,
    key: Option<K>,
}

impl<I: Iterator<Item = Result<K>>, K: AsRef<[u8]>> Keys<I, K> {
    /// The iterator must ascend.
    pub fn new(keys: I) -> Self {
        Self { keys, key: None }
    }
}

impl<I: Iterator<Item = Result<K>>, K: AsRef<[u8]>> KeyStream for Keys<I, K> {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        self.key = self.keys.next().transpose()?;
        Ok(self.key.as_ref().map(AsRef::as_ref))
    }
}

/// A stream of view keys and the key that is next in it.
pub(super) struct Head<S> {
    stream: S,
    key: Vec<u8>,
    live: bool,
}

impl<S: KeyStream> Head<S> {
    /// Stands before the first key; `advance` moves onto it.
    pub fn new(stream: S) -> Self {
        Self { stream, key: Vec::new(), live: false }
    }

    /// Reads the next key.
    pub fn advance(&mut self) -> Result<()> {
        self.live = false;
        self.key.clear();
        if let Some(key) = self.stream.next()? {
            split_view(key)?;
            self.key.extend_from_slice(key);
            self.live = true;
        }
        Ok(())
    }

    /// Puts the key into `out` and reads the next one.
    pub fn take(&mut self, out: &mut Vec<u8>) -> Result<()> {
        std::mem::swap(out, &mut self.key);
        self.advance()
    }

    /// The key; `None` at the end.
    pub fn key(&self) -> Option<&[u8]> {
        self.live.then_some(self.key.as_slice())
    }

    /// The fact of the key; `None` at the end.
    pub fn fact(&self) -> Option<&[u8]> {
        self.live.then(|| self.event().fact)
    }

    /// Whether the key is about this fact.
    pub fn is_about(&self, fact: &[u8]) -> bool {
        self.fact() == Some(fact)
    }

    /// t of the key; only where there is one.
    pub fn t(&self) -> T {
        self.event().t
    }

    /// Whether the key asserts; not at the end.
    pub fn asserts(&self) -> bool {
        self.live && self.event().asserts()
    }

    fn event(&self) -> FactEvent<'_> {
        FactEvent::of_view_key(&self.key).expect("this cannot fail because the key was split when it was read")
    }
}
