//! One branch from one head, with the protocol that survives writers and collectors.
//!
//! A head names everything it is made of, and nothing of that changes while the head is the newest. So what is gone, or
//! not what it should be, either means that there is a newer head, and reading begins again there, or that it is being
//! written just now, or that the store is damaged. Only time tells the last two apart.

use std::thread;
use std::time::Duration;

use super::increment::{IndexTable, table_of};
use super::sane::{Index, Watcher};
use super::{BranchReading, Options, Part, Sink};
use crate::datahike::verify::{self, Verdict};
use crate::datahike::walk::{NodeKey, WalkError};
use crate::datahike::{Head, IndexRoot, Node, NodeCache, Store, StoreKey, Walk, WalkStats, hasch};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::Datom;

/// How often a node that is gone or unreadable is looked at again while the head stays, and how long apart.
const LOOKS: [Duration; 4] =
    [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(500)];
/// The pause after the first attempt that got no further; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Attempts in all, for each that may get no further.
const FRUITFUL_ATTEMPTS: u32 = 20;

pub(super) fn branch(store: &Store, options: &Options, branch: &str, sink: &mut dyn Sink) -> Result<BranchReading> {
    let mut cache = super::cache(options);
    let mut patience = Patience::new(options.attempts);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (head, written_by) = store.settled_head(branch, None)?;
        let mut counting = Counting { sink: &mut *sink, datoms: 0 };
        let stop = match attempt_head(store, &head, written_by, &mut cache, &mut counting) {
            Ok(mut reading) => {
                reading.attempts = attempt;
                reading.written_by = written_by;
                if attempt > 1 {
                    let note = format!("starts over reading branch :{branch}, as the database moved on");
                    reading.notes.push((note, u64::from(attempt - 1)));
                }
                return Ok(reading);
            }
            Err(stop) => stop,
        };
        let (error, node) = match stop {
            Stop::Failed(error) => return Err(error),
            Stop::Broken { error, node } => (error, node),
        };
        let has_moved = store.head(branch)?.bytes_hash != head.bytes_hash;
        let Some(pause) = patience.after(has_moved.then_some(counting.datoms)) else {
            if !has_moved {
                // Nothing that the database did is in the way.
                return Err(error);
            }
            let message = format!(
                "{}; gave up after {attempt} attempts, the last {} without getting further: raise the attempts, or let the \
                 collector keep what is newer than a backup takes",
                error.message(),
                patience.fruitless,
            );
            return Err(Error::new(ErrorKind::Failed, error.object(), message).because(error));
        };
        tracing::debug!(attempt, %error, "reading a branch starts over");
        if has_moved {
            thread::sleep(pause);
        } else {
            // What was read may be what is wrong.
            cache = super::cache(options);
            wait_for(store, branch, &head, node, error)?;
        }
    }
}

/// How long to go on beside a collector that takes away what is being read.
///
/// What an attempt has read is at hand for the next, so that later ones get further as long as they are faster than the
/// database changes. An attempt that got further than any before it is not counted, and those that did not are further
/// and further apart, so that one of them meets a database that rests.
struct Patience {
    attempts: u32,
    made: u32,
    /// The attempts in a row that got no further than one before.
    fruitless: u32,
    furthest: u64,
}

impl Patience {
    fn new(attempts: u32) -> Self {
        Self { attempts, made: 0, fruitless: 0, furthest: 0 }
    }

    /// What to wait after an attempt that failed; nothing when it was the last. It saw so many datoms before a newer head
    /// came; none where that does not count.
    fn after(&mut self, datoms: Option<u64>) -> Option<Duration> {
        self.made += 1;
        let got_further = datoms.is_some_and(|datoms| datoms > self.furthest) && self.made > 1;
        self.furthest = self.furthest.max(datoms.unwrap_or(0));
        self.fruitless = if got_further { 1 } else { self.fruitless + 1 };
        let most = self.attempts.saturating_mul(FRUITFUL_ATTEMPTS);
        let goes_on = self.fruitless < self.attempts && self.made < most;
        goes_on.then(|| FIRST_PAUSE.saturating_mul(1 << self.fruitless.saturating_sub(1).min(10)).min(LONGEST_PAUSE))
    }
}

/// Counts the datoms of one attempt.
struct Counting<'s> {
    sink: &'s mut dyn Sink,
    datoms: u64,
}

impl Sink for Counting<'_> {
    fn start(&mut self, head: &Head) -> Result<()> {
        self.sink.start(head)
    }

    fn datom(&mut self, part: Part, datom: &Datom<'_>) -> Result<()> {
        self.datoms += 1;
        self.sink.datom(part, datom)
    }
}

/// Why reading from one head ended.
enum Stop {
    /// For good.
    Failed(Error),
    /// By what a newer head, or the end of a write, may cure.
    Broken { error: Error, node: Option<NodeKey> },
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn attempt_head(
    store: &Store,
    head: &Head,
    written_by: Option<i64>,
    cache: &mut NodeCache,
    sink: &mut dyn Sink,
) -> Result<BranchReading, Stop> {
    let schema = match store.schema(head) {
        Err(error) if error.kind() == ErrorKind::Damaged => return Err(Stop::Broken { error, node: None }),
        schema => schema?,
    };
    sink.start(head)?;
    let mut latest = i64::MIN;
    let mut notes = Vec::new();
    let mut temporal_table = None;
    let temporal = match &head.temporal_eavt {
        None => WalkStats::default(),
        Some(root) => {
            let index = Index { name: "temporal-eavt", root, written_by };
            let read = index_of(store, head, &index, cache, &mut |datom| sink.datom(Part::History, datom))?;
            latest = latest.max(read.latest_t);
            temporal_table = Some(read.table);
            read.stats
        }
    };
    let index = Index { name: "eavt", root: &head.eavt, written_by };
    let read = index_of(store, head, &index, cache, &mut |datom| {
        let in_history = head.keeps_history() && schema.is_history_while_current(&datom.a);
        sink.datom(if in_history { Part::CurrentAndHistory } else { Part::Current }, datom)
    })?;
    latest = latest.max(read.latest_t);
    compare_counts(store, head, &read.stats)?;
    if latest < head.max_tx {
        notes.push((format!("no datom is of the latest transaction {}", head.max_tx), 1));
    }
    for stats in [&temporal, &read.stats] {
        let unverified = stats.unverified.iter();
        notes.extend(unverified.map(|(why, count)| (format!("nodes whose address cannot be verified: {why}"), *count)));
    }
    let table = table_of(head, &schema, read.table, temporal_table);
    let (head, current) = (head.clone(), read.stats);
    Ok(BranchReading { head, schema, current, temporal, attempts: 1, notes, table, written_by: None })
}

struct IndexRead {
    stats: WalkStats,
    latest_t: i64,
    table: IndexTable,
}

fn index_of(
    store: &Store,
    head: &Head,
    index: &Index<'_>,
    cache: &mut NodeCache,
    take: &mut dyn FnMut(&Datom<'_>) -> Result<()>,
) -> Result<IndexRead, Stop> {
    let mut watcher = Watcher::new(store, head, index, take);
    let walk = Walk::new(store).verifying(head.has_content_addresses()).written_by(index.written_by).with_cache(cache);
    let walked = walk.run(index.root, &mut watcher);
    if let Some((error, node)) = watcher.broken.take() {
        return Err(Stop::Broken { error, node: Some(node) });
    }
    let stats = walked.map_err(|error| stop(store, error))?;
    let latest_t = watcher.latest_t;
    let table = watcher.recorder.finish(index.root)?;
    check_count(store, head, index, &stats)?;
    check_age(store, head, &stats)?;
    Ok(IndexRead { stats, latest_t, table })
}

fn stop(store: &Store, error: WalkError) -> Stop {
    match error {
        WalkError::Stopped(error) => Stop::Failed(error),
        WalkError::Node { key, ref why } => {
            let may_pass = why.as_ref().is_none_or(|why| why.may_be_torn());
            let error = error.into_error(store);
            if may_pass { Stop::Broken { error, node: Some(key) } } else { Stop::Failed(error) }
        }
    }
}

/// A node that is newer than what the head is made of is not the one it means, if there is a newer head: while a head is
/// the newest its addresses are not used again.
fn check_age(store: &Store, head: &Head, stats: &WalkStats) -> Result<(), Stop> {
    let Some(key) = stats.too_new else { return Ok(()) };
    if store.head(&head.branch)?.bytes_hash == head.bytes_hash {
        return Ok(());
    }
    let address = key.address.map_or_else(String::new, |address| hasch::spell(&address));
    let object = store.object(&format!("node {address}"));
    let error = Error::damaged(object, "was written after the head that names it: its address was used again");
    Err(Stop::Broken { error, node: Some(key) })
}

/// The root of an index says how many datoms there are.
fn check_count(store: &Store, head: &Head, index: &Index<'_>, stats: &WalkStats) -> Result<(), Stop> {
    match index.root.count {
        Some(count) if count != stats.datoms => {
            let message = format!("{} datoms, where its root says {count}", stats.datoms);
            let object = store.object(&format!("index {} of :{}", index.name, head.branch));
            Err(Stop::Broken { error: Error::new(ErrorKind::Damaged, object, message), node: None })
        }
        _ => Ok(()),
    }
}

/// Two indices hold the same datoms.
fn compare_counts(store: &Store, head: &Head, current: &WalkStats) -> Result<(), Stop> {
    let count = |root: &IndexRoot| root.count;
    match count(&head.aevt) {
        Some(count) if count != current.datoms => {
            let message = format!("{} datoms, but index aevt has {count}", current.datoms);
            let object = store.object(&format!("index eavt of :{}", head.branch));
            Err(Stop::Broken { error: Error::new(ErrorKind::Damaged, object, message), node: None })
        }
        _ => Ok(()),
    }
}

/// Waits until the head is another one or the node can be read; the error when neither happens.
fn wait_for(store: &Store, branch: &str, head: &Head, node: Option<NodeKey>, error: Error) -> Result<()> {
    let address = node.and_then(|node| node.address);
    for pause in LOOKS {
        thread::sleep(pause);
        if store.head(branch)?.bytes_hash != head.bytes_hash {
            return Ok(());
        }
        let Some(address) = address else { continue };
        let key = StoreKey::address(&address);
        let readable = match store.home().get(key)? {
            None => false,
            Some(stored) => store.decode(key, &stored).is_ok_and(|blob| {
                Node::decode(&blob.bytes).is_ok_and(|node| {
                    !head.has_content_addresses() || verify::node(&address, &node) != Verdict::Differs
                })
            }),
        };
        // A node that can be read now may still be the wrong one: reading once more tells.
        if readable {
            return Ok(());
        }
    }
    match address {
        // Without a node to look at, only reading again tells.
        None => Ok(()),
        Some(_) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many attempts there are, when each sees so many datoms of a newer head.
    fn attempts(limit: u32, mut seen: impl FnMut(u64) -> Option<u64>) -> u64 {
        let mut patience = Patience::new(limit);
        (1..).find(|n| patience.after(seen(*n)).is_none()).unwrap_or_default()
    }

    #[test]
    fn attempts_end_when_they_get_no_further_and_at_last_in_any_case() {
        assert_eq!(attempts(1, Some), 1);
        assert_eq!(attempts(5, |_| None), 5);
        assert_eq!(attempts(5, |_| Some(7)), 5);
        assert_eq!(attempts(5, |n| Some(n.min(10))), 14, "four more after the tenth");
        assert_eq!(attempts(3, |n| Some(if n % 2 == 0 { n } else { 1 })), 60);
        assert_eq!(attempts(5, Some), 100);
    }

    #[test]
    fn attempts_that_get_no_further_are_further_and_further_apart() {
        let mut patience = Patience::new(100);
        let pauses: Vec<_> = (0..12).filter_map(|_| patience.after(None)).collect();
        assert!(pauses.is_sorted() && pauses[0] == FIRST_PAUSE && pauses[11] == LONGEST_PAUSE, "{pauses:?}");
        assert!(patience.after(Some(1)).is_some_and(|pause| pause == FIRST_PAUSE));
    }
}
