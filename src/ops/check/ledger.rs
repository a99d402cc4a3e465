//! What parts of a check have done: each notes it in the ledger, where anybody reads how far all of them are.

use super::{Check, is_about_data};
use crate::error::Result;
use crate::format::{LedgerRecord, ObjectPath};
use crate::id::LedgerId;
use crate::ops::Shard;
use crate::repository::{Repository, machine, random};

/// Damage that a record names.
const NAMED: usize = 100;
/// Parts of a round without a name begin within so many milliseconds of each other.
const ROUND_MS: i64 = 3 * 24 * 3600 * 1000;

/// A check in parts: what each of them last said.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CheckRound {
    /// What its user calls it; may be empty.
    pub name: String,
    /// How many parts there are.
    pub shards: u32,
    /// The newest record of each part that has one, in the order of the parts.
    pub records: Vec<LedgerRecord>,
}

impl CheckRound {
    /// Parts that have not ended yet.
    pub fn missing(&self) -> Vec<u32> {
        let done = |k: &u32| self.records.iter().any(|record| record.shard == *k);
        (1..=self.shards).filter(|k| !done(k)).collect()
    }

    /// How much damage all parts found together.
    pub fn damage_count(&self) -> u64 {
        self.records.iter().map(|record| record.damage_count).sum()
    }

    /// When the first of its parts began: packs stored later may not have been read. Milliseconds since 1970.
    pub fn started_ms(&self) -> i64 {
        self.records.iter().map(|record| record.started_ms).min().unwrap_or_default()
    }

    /// When the last of its parts ended.
    pub fn ended_ms(&self) -> i64 {
        self.records.iter().map(|record| record.ended_ms).max().unwrap_or_default()
    }

    /// Whether all parts saw the same packs.
    pub fn is_of_one_state(&self) -> bool {
        self.records.windows(2).all(|two| two[0].index_state == two[1].index_state)
    }

    /// Packs and bytes that all parts read.
    pub fn read(&self) -> (u64, u64) {
        let add = |(packs, bytes), record: &LedgerRecord| (packs + record.packs_read, bytes + record.bytes_read);
        self.records.iter().fold((0, 0), add)
    }
}

/// Every check in parts that the ledger knows, the one whose last part ended last first. Old ones go with `prune`.
pub async fn check_rounds(repository: &Repository) -> Result<Vec<CheckRound>> {
    let repository = repository.clone();
    crate::ops::blocking(move || rounds(&repository)).await
}

fn rounds(repository: &Repository) -> Result<Vec<CheckRound>> {
    let mut records = Vec::new();
    for (path, _) in repository.store().list("ledger/")? {
        let Ok(id) = path.name().parse::<LedgerId>() else { continue };
        let whole = |object: &[u8]| LedgerRecord::open(repository.keys(), id, object).is_ok();
        let object = match repository.store().get_checked(&path, None, whole) {
            Ok(object) => object,
            // Removed by a pruner, or damaged, which `check` reports: it takes nothing from the others.
            Err(error) if is_about_data(&error) => continue,
            Err(error) => return Err(error),
        };
        records.extend(LedgerRecord::open(repository.keys(), id, &object));
    }
    Ok(together(records))
}

/// Records as rounds: those of the same name and number of parts, without a name also of about the same time.
fn together(mut records: Vec<LedgerRecord>) -> Vec<CheckRound> {
    records.sort_by_key(|record| (record.started_ms, record.id));
    let mut rounds: Vec<(CheckRound, i64)> = Vec::new();
    // Newest first, so that what a part said last is what stands.
    for record in records.into_iter().rev() {
        let begins_ms = record.started_ms;
        let belongs = |(round, newest_ms): &&mut (CheckRound, i64)| {
            (&round.name, round.shards) == (&record.round, record.shards)
                && (!record.round.is_empty() || newest_ms.saturating_sub(begins_ms) <= ROUND_MS)
        };
        match rounds.iter_mut().find(belongs) {
            Some((round, _)) if round.records.iter().any(|known| known.shard == record.shard) => {}
            Some((round, _)) => round.records.push(record),
            None => {
                let (name, shards) = (record.round.clone(), record.shards);
                rounds.push((CheckRound { name, shards, records: vec![record] }, begins_ms));
            }
        }
    }
    let mut rounds: Vec<CheckRound> = rounds.into_iter().map(|(round, _)| round).collect();
    rounds.iter_mut().for_each(|round| round.records.sort_by_key(|record| record.shard));
    rounds.sort_by_key(|round| std::cmp::Reverse(round.ended_ms()));
    rounds
}

impl Check<'_> {
    /// Records that do not open.
    pub(super) fn ledger(&mut self) -> Result<()> {
        for (path, _) in self.repository().store().list("ledger/")? {
            let Ok(id) = path.name().parse::<LedgerId>() else {
                self.note(path, "not an object of this repository");
                continue;
            };
            if let Some((_, Err(why))) = self.open_object(&path, |keys, object| LedgerRecord::open(keys, id, object))? {
                self.damage(path, why);
            }
        }
        Ok(())
    }

    /// Notes what was done, and looks how far the other parts are.
    pub(super) fn enter_into_ledger(&mut self, shard: Shard, round: &str, started_ms: i64) -> Result<()> {
        let mut index_state = blake3::Hasher::new();
        for id in self.indexed.keys() {
            index_state.update(id.as_bytes());
        }
        let damage = || self.report.findings.iter().filter(|finding| finding.is_damage);
        let record = LedgerRecord {
            id: LedgerId::new(random()),
            round: round.to_owned(),
            shard: shard.k(),
            shards: shard.n(),
            host: machine::Machine::this().host,
            program: machine::program(),
            started_ms,
            ended_ms: machine::now_ms(),
            index_state: *index_state.finalize().as_bytes(),
            packs_indexed: self.indexed.len() as u64,
            packs_read: self.report.packs_read,
            bytes_read: self.report.bytes_read,
            snapshots_walked: if self.walked { self.report.snapshots } else { 0 },
            damage_count: damage().count() as u64,
            damage: damage().take(NAMED).map(|found| (found.object.clone(), found.message.clone())).collect(),
            harmed: self.report.harmed.clone(),
        };
        let repository = self.repository();
        let object = record.seal(repository.keys(), &random());
        repository.store().put(&ObjectPath::ledger(record.id), object)?;
        self.report.round =
            rounds(repository)?.into_iter().find(|round| round.records.iter().any(|known| known.id == record.id));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(round: &str, shard: u32, started_ms: i64, damage_count: u64) -> LedgerRecord {
        LedgerRecord {
            id: LedgerId::new([u8::try_from(started_ms % 251).unwrap_or_default(); 16]),
            round: round.to_owned(),
            shard,
            shards: 3,
            host: String::new(),
            program: String::new(),
            started_ms,
            ended_ms: started_ms + 10,
            index_state: [0; 32],
            packs_indexed: 9,
            packs_read: 3,
            bytes_read: 30,
            snapshots_walked: 0,
            damage_count,
            damage: Vec::new(),
            harmed: Vec::new(),
        }
    }

    #[test]
    fn rounds_are_told_apart_by_name_and_by_time() {
        let week = 7 * 24 * 3600 * 1000;
        let rounds = together(vec![
            record("", 1, 0, 0),
            record("", 2, 100, 7),
            record("", 2, 200, 0),
            record("", 3, 300, 0),
            record("", 1, week, 1),
            record("named", 3, 0, 0),
            record("named", 1, 5 * week, 2),
        ]);
        let seen: Vec<_> =
            rounds.iter().map(|round| (round.name.as_str(), round.missing(), round.damage_count())).collect();
        assert_eq!(
            seen,
            [("named", vec![2], 2), ("", vec![2, 3], 1), ("", vec![], 0)],
            "the last word of a part counts"
        );
        assert_eq!((rounds[2].started_ms(), rounds[2].ended_ms(), rounds[2].read()), (0, 310, (9, 90)));
    }
}
