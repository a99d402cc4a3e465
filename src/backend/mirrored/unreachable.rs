//! A place that could not be opened.

use std::ops::Range;

use bytes::Bytes;

use crate::backend::{Answer, Backend, ObjectStat, PutNew};
use crate::error::{Error, ErrorKind};
use crate::format::{ObjectPath, Sealed};

/// A backend of which every request fails for the same reason: an unplugged disk among mirrors is one that is down.
#[derive(Clone, Debug)]
pub struct Unreachable {
    location: String,
    reason: String,
}

impl Unreachable {
    /// What is at `location`, which failed like this.
    pub fn new(location: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { location: location.into(), reason: reason.into() }
    }

    fn fail<T: Send + 'static>(&self) -> Answer<'_, T> {
        Box::pin(async { Err(Error::new(ErrorKind::Failed, &self.location, &self.reason)) })
    }
}

impl Backend for Unreachable {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn put<'a>(&'a self, _: &'a ObjectPath, _: Sealed) -> Answer<'a, ()> {
        self.fail()
    }

    fn put_new<'a>(&'a self, _: &'a ObjectPath, _: Sealed) -> Answer<'a, PutNew> {
        self.fail()
    }

    fn replace<'a>(&'a self, _: &'a ObjectPath, _: Sealed) -> Answer<'a, ()> {
        self.fail()
    }

    fn get<'a>(&'a self, _: &'a ObjectPath, _: Option<Range<u64>>) -> Answer<'a, Bytes> {
        self.fail()
    }

    fn list<'a>(&'a self, _: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        self.fail()
    }

    fn stat<'a>(&'a self, _: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        self.fail()
    }

    fn delete<'a>(&'a self, _: &'a ObjectPath) -> Answer<'a, ()> {
        self.fail()
    }
}
