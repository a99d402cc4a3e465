//! Which place listings and control objects come from.

use std::sync::Arc;

use super::Attached;
use crate::error::{Error, ErrorKind, Result};

/// What was decided so far.
pub(super) enum Access {
    /// The first place, or a mirror if that fails.
    Undecided,
    /// Something was written: the first place alone.
    Primary,
    /// The first place failed: this mirror alone, and nothing is written.
    Mirror { from: Arc<Attached>, why: String },
    /// As undecided, but nothing is written for this reason.
    ReadOnly(String),
}

/// The places to ask, in order.
pub(super) struct Attempts {
    pub(super) first: bool,
    pub(super) others: Vec<Arc<Attached>>,
}

impl Access {
    pub(super) fn begin_write(&mut self, location: &str) -> Result<()> {
        match self {
            Self::ReadOnly(reason) => Err(Error::new(ErrorKind::Failed, location, reason)),
            _ => self.insist(location),
        }
    }

    pub(super) fn insist(&mut self, location: &str) -> Result<()> {
        match self {
            Self::Undecided => *self = Self::Primary,
            Self::Primary | Self::ReadOnly(_) => {}
            Self::Mirror { from, why } => {
                let message = format!(
                    "cannot be reached, and its mirror {} can only be read: nothing was written ({why})",
                    from.mirror.name
                );
                return Err(Error::new(ErrorKind::Failed, location, message));
            }
        }
        Ok(())
    }

    pub(super) fn turn_to(&mut self, attached: &Arc<Attached>, why: &Error) -> bool {
        match self {
            Self::Primary => false,
            Self::Undecided | Self::ReadOnly(_) | Self::Mirror { .. } => {
                *self = Self::Mirror { from: Arc::clone(attached), why: why.to_string() };
                true
            }
        }
    }
}
