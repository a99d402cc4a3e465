//! The views of a datom database: current state and history, each made of the other, in streams of sorted keys.
//!
//! # Keys
//!
//! A *log key* is `t e a v op`, a *view key* the same parts as `e a v t op`; both sort as bytes. t and e take eight bytes
//! each, op one: 0 retracts, 1 asserts. `e a v` is the *fact*. Nothing here decodes values.
//!
//! # Fold
//!
//! The log's events about one fact, ascending by (t, op), are folded to what is true after the last of them: an assertion
//! makes the fact current since its t (a later assertion moves it to the later t), a retraction ends it. Within one t an
//! assertion wins over a retraction of the same fact, because it sorts behind it. A retraction of what never was asserted
//! does nothing.
//!
//! # Exceptions
//!
//! The current view of a real database is not always the fold of its history. Where they differ for a fact, the snapshot
//! keeps exceptions, which are log keys like any other: op 1 says that the current view has this datom (whatever the fold
//! gives for the fact), op 0 that the fold gives this datom and the current view does not have the fact at all.
//! [`Current`] of the log and its [`exceptions`] is exactly the current view.
//!
//! # Points in time
//!
//! `--as-of T` and `--until T` both take events with t <= T, `--since T` those with t > T; with `--current` what was taken
//! is folded. Where T reaches the log's greatest t and there is no `--since`, the current state is the current view,
//! exceptions applied. For an earlier T it is [`Past`]: the fold of the log's events up to T, where an exception with op 1
//! and t <= T counts as one more assertion. When a fact of an exception with op 0 ended is not known, so in the past it
//! has not.
//!
//! T may be given as a time, see [`TimePoint`]: it stands for the greatest t whose `:db/txInstant` is not after that
//! time. Instants that do not ascend with t therefore never hide a transaction that was complete at that time, but may
//! show one with a smaller t whose stated instant is later.

mod branches;
mod changes;
mod exceptions;
mod fold;
mod key;
mod merged;
mod order;
mod state_changes;
mod states;
mod stream;
mod time;

pub use branches::{
    branch_properties, branch_property, branches, consistency_point, find_roots, is_exceptions, root_names,
};
pub use changes::{KeyChanges, changed_state, key_changes};
pub use exceptions::{Current, exceptions};
pub use fold::{Fold, Past};
pub use key::{log_key, split};
pub use merged::{Merged, Parts};
pub use order::{DumpOrder, ViewOrder};
pub use state_changes::KnownState;
pub use states::{StateOptions, append_state};
pub use stream::KeyStream;
pub use time::{TimePoint, TimeResolver, Window};

use crate::record::datom;

/// Length of the attribute at the start of these bytes of a key; none where there is no attribute.
pub fn attribute_len(bytes: &[u8]) -> usize {
    datom::attribute_len(bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests;
