//! Packs: their place, length and directory always, their whole content where asked for.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;

use super::{Check, ReadData, is_about_data, sample};
use crate::error::{ErrorKind, Result};
use crate::format::{self, IndexedPack, ObjectPath};
use crate::id::{BlobId, PackId};
use crate::ops::pack_content::{self, BadFrame};
use crate::progress::Event;
use crate::repository::Wanted;

/// How many blobs a finding names.
const NAMED_BLOBS: usize = 8;

/// What is wrong with one pack.
struct Verdict {
    id: PackId,
    /// About the pack as a whole.
    problem: Option<String>,
    frames: Vec<BadFrame>,
    bytes_read: u64,
    /// It cannot be read before it has been thawed.
    is_cold: bool,
}

/// How a pack is looked at.
struct Planned {
    pack: Arc<IndexedPack>,
    /// Whether all of it is read.
    whole: bool,
    /// Where its directory is expected.
    tail: Range<u64>,
    /// What is wrong without reading anything.
    problem: Option<String>,
}

impl Check<'_> {
    pub(super) fn packs(&mut self, read_data: ReadData) -> Result<()> {
        let chosen = sample::choose(&self.indexed, read_data);
        let looked_at = |id: &&PackId| self.shard.is_none_or(|shard| shard.takes_pack(id));
        let packs: Vec<PackId> = self.indexed.keys().filter(looked_at).copied().collect();
        self.report.packs = packs.len() as u64;
        self.observer.event(Event::Stage { name: "checking packs", total: Some(self.report.packs) });
        for verdict in self.inspect_all(&packs, &chosen)? {
            if verdict.bytes_read > 0 {
                self.report.packs_read += 1;
                self.report.bytes_read += verdict.bytes_read;
            }
            self.report.packs_cold += u64::from(verdict.is_cold);
            self.judge(verdict);
        }
        Ok(())
    }

    /// Looks at packs, several at a time, each in memory at most once.
    fn inspect_all(&self, packs: &[PackId], chosen: &HashSet<PackId>) -> Result<Vec<Verdict>> {
        let plans = packs.iter().map(|id| self.plan(*id, chosen.contains(id)));
        let ahead = self.repository().store().read_ahead(plans);
        let done = AtomicUsize::new(0);
        let results: Mutex<Result<Vec<Verdict>>> = Mutex::new(Ok(Vec::new()));
        let failed = || results.lock().unwrap_or_else(PoisonError::into_inner).is_err();
        let work = || {
            while let Some((planned, mut answers)) = ahead.take() {
                if failed() {
                    return;
                }
                let verdict = planned.and_then(|planned| match planned {
                    Some(planned) => self.inspect(planned, answers.pop()),
                    None => Ok(None),
                });
                self.observer.event(Event::Progress { done: 1 + done.fetch_add(1, Ordering::Relaxed) as u64 });
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                match (verdict, &mut *results) {
                    (Ok(None), _) | (_, Err(_)) => {}
                    (Ok(Some(verdict)), Ok(verdicts)) => verdicts.push(verdict),
                    (Err(error), Ok(_)) => *results = Err(error),
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        let mut verdicts = results.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        verdicts.sort_by_key(|verdict| verdict.id);
        Ok(verdicts)
    }

    /// What is to be read of a pack: nothing when a pruner has condemned it meanwhile, or when what is known already says
    /// that it is not what it should be.
    fn plan(&self, id: PackId, whole: bool) -> (Result<Option<Planned>>, Vec<Wanted>) {
        let pack = self.repository().index().read().unwrap_or_else(PoisonError::into_inner).pack(&id);
        let pack = match pack {
            Ok(Some(pack)) => pack,
            Ok(None) => return (Ok(None), Vec::new()),
            Err(error) => return (Err(error), Vec::new()),
        };
        let (size_bytes, problem) = match self.stored.get(&id) {
            None => (0, Some("missing in the listing of packs".to_owned())),
            Some(size) if *size != pack.size_bytes => {
                (0, Some(format!("has {size} bytes, the index says {}", pack.size_bytes)))
            }
            Some(size) => (*size, None),
        };
        let frames_end = pack.directory.frames.last().map_or(0, |frame| frame.range().end);
        let tail = pack_content::tail(size_bytes, size_bytes.saturating_sub(frames_end));
        let range = if whole { 0..size_bytes } else { tail.clone() };
        let wanted = if problem.is_none() { vec![Wanted { path: ObjectPath::pack(id), range }] } else { Vec::new() };
        (Ok(Some(Planned { pack, whole, tail, problem })), wanted)
    }

    /// None when a pruner has condemned the pack meanwhile.
    fn inspect(&self, planned: Planned, read: Option<Result<Bytes>>) -> Result<Option<Verdict>> {
        let Planned { pack, whole, tail, problem } = planned;
        let (repository, id) = (self.repository(), pack.id);
        let problem = match (problem, &read) {
            (Some(problem), _) => Some(problem),
            (None, Some(Ok(bytes))) => {
                let tail_len = usize::try_from(tail.end - tail.start).map_or(bytes.len(), |len| len.min(bytes.len()));
                self.structure(&pack, &bytes.slice(bytes.len() - tail_len..))?
            }
            // What the index says of it is all that can be known for now; its place and length are right.
            (None, Some(Err(error))) if error.kind() == ErrorKind::Cold => {
                return Ok(Some(Verdict { id, problem: None, frames: Vec::new(), bytes_read: 0, is_cold: true }));
            }
            (None, Some(Err(error))) if is_about_data(error) => Some(format!("its directory: {}", error.message())),
            (None, _) => None,
        };
        if !whole && problem.is_none() {
            return match read {
                Some(Err(error)) => Err(error),
                _ => Ok(Some(Verdict { id, problem, frames: Vec::new(), bytes_read: 0, is_cold: false })),
            };
        }
        let read = read.filter(|read| whole && !matches!(read, Err(error) if error.kind() == ErrorKind::Damaged));
        // What is wrong with a pack harms those blobs that it does not give any more: all of it is read to know which.
        let is_whole = |bytes: &[u8]| format::verify_pack(repository.keys(), id, bytes).is_ok();
        let (store, path) = (repository.store(), ObjectPath::pack(id));
        let read = match read {
            Some(Ok(bytes)) if store.is_local() || is_whole(&bytes) => Ok(bytes),
            Some(Ok(_)) => store.get_again(&path, Some(0..pack.size_bytes)),
            Some(Err(error)) => Err(error),
            None => store.get_checked(&path, None, is_whole),
        };
        let verdict = match read {
            Ok(bytes) => {
                let whole = format::verify_pack(repository.keys(), id, &bytes).err();
                let frames = pack_content::bad_frames(&self.reader, &pack, &bytes)?;
                let problem = problem.or(whole.map(|why| why.to_string()));
                Verdict { id, problem, frames, bytes_read: bytes.len() as u64, is_cold: false }
            }
            Err(error) if error.kind() == ErrorKind::NotFound && repository.gc_records()?.condemned.contains(&id) => {
                return Ok(None);
            }
            Err(error) if is_about_data(&error) => {
                let problem = match error.kind() {
                    ErrorKind::NotFound => "the index lists it but it is missing".to_owned(),
                    _ => error.message().to_owned(),
                };
                let blobs = pack.directory.frames.iter().flat_map(|frame| frame.blobs.iter().map(|b| b.id)).collect();
                let all = BadFrame { offset: 0, blobs, why: problem.clone() };
                Verdict { id, problem: Some(problem), frames: vec![all], bytes_read: 0, is_cold: false }
            }
            Err(error) => return Err(error),
        };
        Ok(Some(verdict))
    }

    /// Compares a pack's own directory with the index.
    fn structure(&self, pack: &IndexedPack, tail: &Bytes) -> Result<Option<String>> {
        let repository = self.repository();
        let problem = |tail: &Bytes| match pack_content::directory_in(repository, pack.id, pack.size_bytes, tail) {
            Ok(directory) if directory == pack.directory => Ok(None),
            Ok(_) => Ok(Some("its directory is not what the index says".to_owned())),
            Err(error) if is_about_data(&error) => Ok(Some(format!("its directory: {}", error.message()))),
            Err(error) => Err(error),
        };
        let found = problem(tail)?;
        if found.is_none() || repository.store().is_local() {
            return Ok(found);
        }
        // It may have been spoilt on the way.
        let range = pack.size_bytes.saturating_sub(tail.len() as u64)..pack.size_bytes;
        problem(&repository.store().get_again(&ObjectPath::pack(pack.id), Some(range))?)
    }

    fn judge(&mut self, verdict: Verdict) {
        let Verdict { id, problem, frames, .. } = verdict;
        let path = ObjectPath::pack(id);
        if let Some(mirrored) = self.repository().store().mirrored()
            && (problem.is_some() || !frames.is_empty())
        {
            mirrored.suspect(&path);
        }
        let harmed: usize = frames.iter().map(|frame| frame.blobs.len()).sum();
        if let Some(problem) = problem {
            self.damage(&path, format!("{problem} ({harmed} blobs harmed)"));
        }
        for frame in frames {
            self.damage(&path, format!("frame at {}: {}: {}", frame.offset, blobs(&frame.blobs), frame.why));
            self.damaged.extend(frame.blobs);
        }
    }
}

/// Some blobs, as a finding names them.
fn blobs(ids: &[BlobId]) -> String {
    let mut names: Vec<String> = ids.iter().take(NAMED_BLOBS).map(ToString::to_string).collect();
    if ids.len() > NAMED_BLOBS {
        names.push(format!("and {} more", ids.len() - NAMED_BLOBS));
    }
    format!("blob {}", names.join(", "))
}
