//! Which snapshots to keep: restic's rules, so that its flags mean here what they mean there.
//!
//! [`apply`] decides about one group of snapshots (those of one host and label). A snapshot is kept when any rule keeps
//! it, and every rule that does is a reason. The policy without any rule keeps all complete ones.
//!
//! - `last n` keeps the n newest. `hourly n`, `daily n`, ... keep the newest snapshot of each of the n newest hours, days,
//!   ... that have one. While such a rule has counts left it keeps the oldest snapshot too, so that the kept history
//!   reaches back as far as it can. Weeks are those of ISO 8601; all calendar units are those of the given time zone.
//! - `within d` keeps everything younger than d, `within-daily d` the newest of every day younger than d, and so on. Ages
//!   are those before the group's newest complete snapshot that is not in the future, not those before now: a machine that
//!   was off for a month does not lose its history. Months that are too short end where they end: a month before March 31
//!   is the end of February.
//! - `tags` keeps what has all tags of one of the lists; `ids` keeps what it names.
//!
//! What is different from restic, or new:
//!
//! - The newest complete snapshot of a group is always kept, reason `newest snapshot`.
//! - `max_age` and `max_count` are upper bounds, applied after the rules: they remove what is older than `max_age` *before
//!   now*, and all but the `max_count` newest of what is left, even when a rule of time or number keeps it. They never
//!   remove what `tags` or `ids` keep, for that was asked for by name, nor the newest complete snapshot; such snapshots do
//!   count. With bounds alone everything within them is kept.
//! - Partial snapshots count for no rule and no bound. One is kept until there is a newer complete one, then removed,
//!   unless `tags` or `ids` keep it.
//!
//! Applying a policy again to what it kept, at the same time, removes nothing more.

mod duration;
mod policy;

pub use duration::{Duration, DurationError};
pub use policy::{Candidate, Count, Counters, Decision, KeepPolicy, apply, has_tags};

#[cfg(test)]
mod tests;
