//! Why an increment cannot be told.

use std::fmt;

use crate::error::Error;

/// Why an increment cannot be told.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Something of the store as it is now: the database may have moved on meanwhile.
    Now(String),
    /// Something of the store as it was: it is gone, or not what the table says.
    Before(FullReason),
    /// The home failed.
    Stopped(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Stopped(error)
    }
}

/// Why the whole store must be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FullReason {
    /// Nothing is known of the parent's nodes.
    NoTable,
    /// History is kept now and was not before, or the other way round.
    History,
    /// What is history has changed with this attribute.
    Schema(String),
    /// A node of the parent is gone, or was written again.
    Gone(String),
    /// The table does not add up: it is damaged.
    Table(String),
    /// The store cannot be read as it should: what is wrong.
    Store(String),
    /// More datoms changed than can be compared in memory.
    TooMany,
    /// Most leaves changed, and would be read as they are and as they were.
    Costly,
    /// The database keeps no history, and what the change adds to that of its snapshots cannot be told without all of it:
    /// why.
    State(&'static str),
}

impl fmt::Display for FullReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable => f.write_str("what the parent snapshot knew of the store is not at hand"),
            Self::History => f.write_str("the parent snapshot is of a time when history was kept, or not, unlike now"),
            Self::Schema(attribute) => write!(f, "the schema of {attribute} changed what is history"),
            Self::Gone(node) => write!(f, "node {node} of the parent snapshot is gone or was written again"),
            Self::Table(what) => write!(f, "the table of the parent's nodes is damaged: {what}"),
            Self::Store(what) => write!(f, "{what}"),
            Self::State(what) => write!(f, "{what}"),
            Self::Costly => f.write_str("most of it changed, so that reading everything costs less than comparing"),
            Self::TooMany => f.write_str("too many datoms changed to be compared in memory"),
        }
    }
}
