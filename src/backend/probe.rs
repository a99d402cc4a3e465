//! What a store truly honours, tried out on it.
//!
//! Objects under `probe/` are written, read, raced for and removed again, whatever the outcome. What a store refuses or gets
//! wrong is a finding; that it cannot be reached, or refuses its credentials, is an error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Barrier;

use crate::backend::{Backend, PutNew};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Sealed};

/// What the protocol wants of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Guarantee {
    /// An object is created only if it is not there.
    PutNew,
    /// Of several that create the same object at once exactly one succeeds.
    PutNewRacing,
    /// What was written is read, at once and in full; what was removed is gone.
    ReadAfterWrite,
    /// What was overwritten is read as it is now.
    Overwrite,
    /// What was written is listed.
    ListAfterWrite,
    /// What was removed is not listed.
    ListAfterDelete,
    /// Parts of an object can be read, also its end, and not more than there is.
    Ranges,
    /// Objects that go up in parts come down whole.
    BigObjects,
    /// The store says when an object was written, by a clock not far from this one.
    Clock,
}

impl Guarantee {
    /// In a few words.
    pub fn name(self) -> &'static str {
        match self {
            Self::PutNew => "create only if absent",
            Self::PutNewRacing => "one of 8 racing creates",
            Self::ReadAfterWrite => "read after write",
            Self::Overwrite => "read after overwrite",
            Self::ListAfterWrite => "list after write",
            Self::ListAfterDelete => "list after delete",
            Self::Ranges => "ranges",
            Self::BigObjects => "objects in parts",
            Self::Clock => "clock",
        }
    }

    /// As programs read it.
    pub fn key(self) -> &'static str {
        match self {
            Self::PutNew => "put_new",
            Self::PutNewRacing => "put_new_racing",
            Self::ReadAfterWrite => "read_after_write",
            Self::Overwrite => "overwrite",
            Self::ListAfterWrite => "list_after_write",
            Self::ListAfterDelete => "list_after_delete",
            Self::Ranges => "ranges",
            Self::BigObjects => "big_objects",
            Self::Clock => "clock",
        }
    }

    /// Whether exclusive pruning makes up for its lack.
    fn is_dispensable(self) -> bool {
        matches!(self, Self::PutNew | Self::PutNewRacing | Self::Clock)
    }
}

/// What was found about one guarantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub guarantee: Guarantee,
    /// Why it does not hold; `None` when it held.
    pub problem: Option<String>,
}

/// What a store is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// Backups and prunes may run side by side.
    Full,
    /// Nobody can be fenced: who prunes must be alone. Format-spec, chapter write order, without `put_new`.
    Weak,
    /// No repository may be kept there.
    Unfit,
}

/// What was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Probe {
    /// One finding for every guarantee.
    pub findings: Vec<Finding>,
    /// The store's clock less this machine's, as well as it can be told.
    pub clock_skew_ms: Option<i64>,
    /// Rounds of racing.
    pub rounds: u32,
}

impl Probe {
    /// What follows from the findings.
    pub fn fitness(&self) -> Fitness {
        let broken = || self.findings.iter().filter(|finding| finding.problem.is_some());
        if broken().next().is_none() {
            Fitness::Full
        } else if broken().all(|finding| finding.guarantee.is_dispensable()) {
            Fitness::Weak
        } else {
            Fitness::Unfit
        }
    }
}

/// Rounds of racing that no clock cuts short.
const LEAST_ROUNDS: u32 = 2;

/// How thoroughly to probe.
#[derive(Clone, Copy, Debug)]
pub struct ProbeOptions {
    /// Rounds of eight racing creates, at most.
    pub rounds: u32,
    /// After two rounds no further one is begun when this time has passed: some stores need seconds for one.
    pub racing_time: Duration,
    /// Length of the object that goes up in parts.
    pub big_bytes: usize,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self { rounds: 12, racing_time: Duration::from_secs(2), big_bytes: (16 << 20) + 4096 }
    }
}

/// How many race.
const RACERS: usize = 8;
/// A clock further off makes nonsense of how long a session has been idle.
const MOST_SKEW_MS: i64 = 12 * 3600 * 1000;
/// Names of objects: the racing ones come after all others.
const FIRST_RACE: u32 = 16;

/// Tries the store out.
///
/// # Errors
/// When the store cannot be asked: no connection, no access, no room. What it answers wrongly is a finding.
pub async fn probe(backend: Arc<dyn Backend>, options: ProbeOptions) -> Result<Probe> {
    let mut id = [0; 8];
    getrandom::fill(&mut id).map_err(|e| Error::new(ErrorKind::Failed, "randomness", e))?;
    let run = Run { backend, id: u64::from_le_bytes(id), options };
    let probed = run.all().await;
    let cleaned = run.clean().await;
    let mut probe = probed?;
    let left = cleaned?;
    probe.set(Guarantee::ListAfterDelete, left.map(|path| format!("{path} is listed although it was removed")));
    probe.findings.sort_by_key(|finding| finding.guarantee);
    Ok(probe)
}

impl Probe {
    /// The first problem with a guarantee is the one that counts.
    fn set(&mut self, guarantee: Guarantee, problem: Option<String>) {
        match self.findings.iter_mut().find(|finding| finding.guarantee == guarantee) {
            Some(known) => known.problem = known.problem.take().or(problem),
            None => self.findings.push(Finding { guarantee, problem }),
        }
    }
}

struct Run {
    backend: Arc<dyn Backend>,
    id: u64,
    options: ProbeOptions,
}

/// Why a guarantee does not hold.
type Held = std::result::Result<(), String>;

impl Run {
    async fn all(&self) -> Result<Probe> {
        // The first request is a plain write: when that fails, nothing else means anything.
        self.backend.put(&self.path(0), body(0, 100)).await?;
        let mut probe = Probe { findings: Vec::new(), clock_skew_ms: None, rounds: 0 };
        let (creates, reads, big) = tokio::join!(self.creates(&mut probe.rounds), self.reads(), self.big());
        for (guarantee, held) in creates?.into_iter().chain(reads?) {
            probe.set(guarantee, held.err());
        }
        probe.set(Guarantee::BigObjects, big?.err());
        let (skew_ms, clock) = self.clock().await?;
        probe.clock_skew_ms = skew_ms;
        probe.set(Guarantee::Clock, clock.err());
        Ok(probe)
    }

    async fn creates(&self, rounds: &mut u32) -> Result<Vec<(Guarantee, Held)>> {
        let alone = self.create_alone().await?;
        if alone.is_err() {
            let racing = Err("not tried: it is not even honoured without a race".to_owned());
            return Ok(vec![(Guarantee::PutNew, alone), (Guarantee::PutNewRacing, racing)]);
        }
        let mut won = 0;
        let began = Instant::now();
        for round in 0..self.options.rounds {
            if round >= LEAST_ROUNDS && began.elapsed() >= self.options.racing_time {
                break;
            }
            *rounds = round + 1;
            match self.race(round).await? {
                Ok(winners) => won += winners,
                Err(problem) => {
                    return Ok(vec![(Guarantee::PutNew, alone), (Guarantee::PutNewRacing, Err(problem))]);
                }
            }
        }
        let racing = if won == 0 && self.options.rounds > 0 { Err("nobody ever won".to_owned()) } else { Ok(()) };
        Ok(vec![(Guarantee::PutNew, alone), (Guarantee::PutNewRacing, racing)])
    }

    async fn create_alone(&self) -> Result<Held> {
        let path = self.path(1);
        match answered(self.backend.put_new(&path, body(1, 2000)).await)? {
            Ok(PutNew::Created) => {}
            // What is between may have sent it twice: then it is there because of the first time.
            Ok(PutNew::Exists) => {
                let ours = self.holds(&path, &body(1, 2000), "an object that was not there was said to exist").await?;
                if ours.is_err() {
                    return Ok(ours);
                }
            }
            Err(problem) => return Ok(Err(problem)),
        }
        match answered(self.backend.put_new(&path, body(2, 2000)).await)? {
            Ok(PutNew::Exists) => self.holds(&path, &body(1, 2000), "what was there was overwritten").await,
            Ok(PutNew::Created) => Ok(Err("an object that was there was overwritten".to_owned())),
            Err(problem) => Ok(Err(problem)),
        }
    }

    /// How many won: one, or nobody, which loses nothing.
    async fn race(&self, round: u32) -> Result<std::result::Result<usize, String>> {
        let path = self.path(FIRST_RACE + round);
        let start = Arc::new(Barrier::new(RACERS));
        let racers: Vec<_> = (0..RACERS)
            .map(|racer| {
                let (backend, path, start) = (Arc::clone(&self.backend), path.clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    backend.put_new(&path, body(10 + racer, 2000)).await
                })
            })
            .collect();
        let mut winners = Vec::new();
        let mut failure = None;
        for (racer, task) in racers.into_iter().enumerate() {
            let racer_ended = task.await;
            let result =
                racer_ended.map_err(|e| Error::new(ErrorKind::Failed, &path, "a request was cancelled").because(e))?;
            match answered(result) {
                Ok(Ok(PutNew::Created)) => winners.push(racer),
                Ok(Ok(PutNew::Exists)) => {}
                // All may be told of a conflict, or find nothing to compare with: then nobody believes to have won.
                Ok(Err(problem)) => tracing::debug!(%path, problem, "a racer failed"),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        match winners[..] {
            [] => Ok(Ok(0)),
            [winner] => {
                let held = self.holds(&path, &body(10 + winner, 2000), "the winner's object was overwritten").await?;
                Ok(held.map(|()| 1))
            }
            _ => Ok(Err(format!("{} of {RACERS} succeeded in round {}", winners.len(), round + 1))),
        }
    }

    async fn reads(&self) -> Result<Vec<(Guarantee, Held)>> {
        let path = self.path(2);
        let (before, after) = (body(3, 10_000), body(4, 12_345));
        self.backend.put(&path, before.clone()).await?;
        let read = self.holds(&path, &before, "what was written is not what is read").await?;
        let list = self.is_listed(&path, before.len()).await?;
        self.backend.replace(&path, after.clone()).await?;
        let overwrite = self.holds(&path, &after, "what was overwritten is not what is read").await?;
        let ranges = self.ranges(&path, after.bytes()).await?;
        self.backend.delete(&path).await?;
        let gone = match self.backend.get(&path, None).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => answered::<()>(Err(error))?,
            Ok(_) => Err("what was removed can still be read".to_owned()),
        };
        let listed = self.backend.list("probe/").await?.into_iter().any(|(listed, _)| listed == path);
        let unlisted = if listed { Err(format!("{path} is listed although it was removed")) } else { Ok(()) };
        Ok(vec![
            (Guarantee::ReadAfterWrite, read.and(gone)),
            (Guarantee::Overwrite, overwrite),
            (Guarantee::ListAfterWrite, list),
            (Guarantee::ListAfterDelete, unlisted),
            (Guarantee::Ranges, ranges),
        ])
    }

    async fn is_listed(&self, path: &ObjectPath, len: usize) -> Result<Held> {
        let listed = match answered(self.backend.list("probe/").await)? {
            Ok(listed) => listed,
            Err(problem) => return Ok(Err(problem)),
        };
        Ok(match listed.iter().find(|(listed, _)| listed == path) {
            Some((_, stat)) if stat.size_bytes == len as u64 => Ok(()),
            Some((_, stat)) => Err(format!("{path} is listed with {} bytes instead of {len}", stat.size_bytes)),
            None => Err(format!("{path} was written and is not listed")),
        })
    }

    async fn ranges(&self, path: &ObjectPath, whole: &Bytes) -> Result<Held> {
        let len = whole.len();
        for range in [0..1, 100..5000, len - 1..len, len - 4096..len] {
            let got = self.backend.get(path, Some(range.start as u64..range.end as u64)).await;
            match answered(got)? {
                Ok(got) if got == whole[range.clone()] => {}
                Ok(got) => return Ok(Err(format!("{} other bytes for {range:?}", got.len()))),
                Err(problem) => return Ok(Err(problem)),
            }
        }
        let beyond = self.backend.get(path, Some(len as u64 - 10..len as u64 + 10)).await;
        Ok(if beyond.is_ok() { Err("bytes beyond the end were returned".to_owned()) } else { Ok(()) })
    }

    async fn big(&self) -> Result<Held> {
        let (path, whole) = (self.path(3), body(5, self.options.big_bytes));
        if let Err(problem) = answered(self.backend.put(&path, whole.clone()).await)? {
            return Ok(Err(problem));
        }
        let len = whole.len();
        match answered(self.backend.stat(&path).await)? {
            Ok(Some(stat)) if stat.size_bytes == len as u64 => {}
            Ok(stat) => return Ok(Err(format!("{len} bytes were written, and the store tells of {stat:?}"))),
            Err(problem) => return Ok(Err(problem)),
        }
        // Where the parts meet: everything that makes 4 KiB differ is seen there.
        for start in [0, (8 << 20) - 2048, (16 << 20) - 2048, len.saturating_sub(4096)] {
            let range = start.min(len)..(start + 4096).min(len);
            match answered(self.backend.get(&path, Some(range.start as u64..range.end as u64)).await)? {
                Ok(got) if got == whole.bytes()[range.clone()] => {}
                Ok(_) => return Ok(Err(format!("other bytes at {start}"))),
                Err(problem) => return Ok(Err(problem)),
            }
        }
        Ok(Ok(()))
    }

    async fn clock(&self) -> Result<(Option<i64>, Held)> {
        let path = self.path(4);
        let before_ms = now_ms();
        self.backend.put(&path, body(6, 100)).await?;
        let after_ms = now_ms();
        let stat = self.backend.stat(&path).await?;
        let Some(modified_ms) = stat.map(|stat| stat.modified_ms).filter(|ms| *ms > 0) else {
            return Ok((None, Err("the store does not say when an object was written".to_owned())));
        };
        // Many stores keep whole seconds.
        let skew_ms = match modified_ms {
            ms if ms < before_ms - 999 => ms - before_ms,
            ms if ms > after_ms => ms - after_ms,
            _ => 0,
        };
        let far = skew_ms.abs() > MOST_SKEW_MS;
        let held = if far { Err(format!("it is {} h off this machine's", skew_ms / 3_600_000)) } else { Ok(()) };
        Ok((Some(skew_ms), held))
    }

    async fn holds(&self, path: &ObjectPath, expected: &Sealed, otherwise: &str) -> Result<Held> {
        Ok(match answered(self.backend.get(path, None).await)? {
            Ok(got) if got == expected.bytes() => Ok(()),
            Ok(_) => Err(otherwise.to_owned()),
            Err(problem) => Err(problem),
        })
    }

    /// Removes whatever this run wrote; what is listed afterwards all the same.
    async fn clean(&self) -> Result<Option<ObjectPath>> {
        for n in (0..5).chain((0..self.options.rounds).map(|round| FIRST_RACE + round)) {
            self.backend.delete(&self.path(n)).await?;
        }
        let own = format!("probe/{:016x}-", self.id);
        let listed = self.backend.list("probe/").await?;
        Ok(listed.into_iter().map(|(path, _)| path).find(|path| path.as_str().starts_with(&own)))
    }

    fn path(&self, n: u32) -> ObjectPath {
        ObjectPath::probe(self.id, n)
    }
}

/// What the store answered, be it that it cannot or that something is not there; the other errors are no answers.
fn answered<T>(result: Result<T>) -> Result<std::result::Result<T, String>> {
    use ErrorKind::{AlreadyExists, Damaged, Failed, Foreign, NotFound, Usage};
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if matches!(error.kind(), AlreadyExists | Damaged | Failed | Foreign | NotFound | Usage) => {
            Ok(Err(error.message().to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// Bytes that differ everywhere from those of another number.
fn body(number: usize, len: usize) -> Sealed {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_derive_key("packstone probe").update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    Sealed::from_stored(bytes.into())
}

fn now_ms() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::ops::Range;
    use std::sync::Mutex;

    use super::*;
    use crate::backend::{Answer, ObjectStat, SimulatedBackend};

    /// How a store deceives.
    #[derive(Clone, Copy, PartialEq)]
    enum Lie {
        None,
        /// Looks, then writes: whoever races wins.
        LosesRaces,
        NoCondition,
        Unsupported,
        /// Says created, keeps the first.
        StaleReads,
        ListsLate,
        ListsRemoved,
        IgnoresRanges,
        CutsBigObjects,
        NoTime,
        WrongClock,
    }

    struct Liar {
        inner: SimulatedBackend,
        lie: Lie,
        first: Mutex<std::collections::HashMap<ObjectPath, Bytes>>,
        ever: Mutex<Vec<(ObjectPath, ObjectStat)>>,
    }

    impl Liar {
        fn new(lie: Lie) -> Arc<Self> {
            let (first, ever) = (Mutex::default(), Mutex::default());
            Arc::new(Self { inner: SimulatedBackend::new(), lie, first, ever })
        }
    }

    impl Backend for Liar {
        fn location(&self) -> String {
            "liar".to_owned()
        }

        fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
            Box::pin(async move {
                let keep = if self.lie == Lie::CutsBigObjects { body.len().min(16 << 20) } else { body.len() };
                self.first.lock().unwrap().entry(path.clone()).or_insert_with(|| body.bytes().clone());
                self.ever.lock().unwrap().push((path.clone(), ObjectStat { size_bytes: 1, modified_ms: 1 }));
                self.inner.put(path, Sealed::from_stored(body.bytes().slice(..keep))).await
            })
        }

        fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
            Box::pin(async move {
                match self.lie {
                    Lie::LosesRaces => {
                        if self.inner.stat(path).await?.is_some() {
                            return Ok(PutNew::Exists);
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        self.inner.put(path, body).await.map(|()| PutNew::Created)
                    }
                    Lie::NoCondition => self.inner.put(path, body).await.map(|()| PutNew::Created),
                    Lie::Unsupported => Err(Error::new(ErrorKind::Foreign, path, "cannot")),
                    _ => self.inner.put_new(path, body).await,
                }
            })
        }

        fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
            self.inner.replace(path, body)
        }

        fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
            Box::pin(async move {
                match self.lie {
                    Lie::IgnoresRanges => self.inner.get(path, None).await,
                    Lie::StaleReads if range.is_none() && self.first.lock().unwrap().contains_key(path) => {
                        Ok(self.first.lock().unwrap()[path].clone())
                    }
                    _ => self.inner.get(path, range).await,
                }
            })
        }

        fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
            Box::pin(async move {
                match self.lie {
                    Lie::ListsLate => Ok(Vec::new()),
                    Lie::ListsRemoved => Ok(self.ever.lock().unwrap().clone()),
                    _ => self.inner.list(prefix).await,
                }
            })
        }

        fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
            Box::pin(async move {
                let stat = self.inner.stat(path).await?;
                let modified_ms = match self.lie {
                    Lie::NoTime => 0,
                    Lie::WrongClock => now_ms() - 24 * 3_600_000,
                    _ => now_ms(),
                };
                Ok(stat.map(|stat| ObjectStat { modified_ms, ..stat }))
            })
        }

        fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
            self.inner.delete(path)
        }
    }

    #[test]
    fn every_lie_is_found_and_nothing_is_left() {
        use Guarantee::*;
        let expected = [
            (Lie::None, Fitness::Full, vec![]),
            (Lie::LosesRaces, Fitness::Weak, vec![PutNewRacing]),
            (Lie::NoCondition, Fitness::Weak, vec![PutNew, PutNewRacing]),
            (Lie::Unsupported, Fitness::Weak, vec![PutNew, PutNewRacing]),
            (Lie::StaleReads, Fitness::Unfit, vec![ReadAfterWrite, Overwrite]),
            (Lie::ListsLate, Fitness::Unfit, vec![ListAfterWrite]),
            (Lie::ListsRemoved, Fitness::Unfit, vec![ListAfterWrite, ListAfterDelete]),
            (Lie::IgnoresRanges, Fitness::Unfit, vec![Ranges, BigObjects]),
            (Lie::CutsBigObjects, Fitness::Unfit, vec![BigObjects]),
            (Lie::NoTime, Fitness::Weak, vec![Clock]),
            (Lie::WrongClock, Fitness::Weak, vec![Clock]),
        ];
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        for (lie, fitness, broken) in expected {
            let liar = Liar::new(lie);
            let probe =
                runtime.block_on(probe(liar.clone(), ProbeOptions { rounds: 3, ..Default::default() })).unwrap();
            let found: Vec<_> =
                probe.findings.iter().filter(|finding| finding.problem.is_some()).map(|f| f.guarantee).collect();
            assert_eq!((found, probe.fitness()), (broken, fitness), "{probe:?}");
            assert_eq!(probe.findings.len(), 9);
            assert!(runtime.block_on(liar.inner.list("")).unwrap().is_empty());
        }
    }
}
