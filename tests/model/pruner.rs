//! What a prune does, one request to the object store at a time.

use super::protocol::{Acknowledge, Orphans, Protocol, Removes};
use super::state::{Outcome, Packs, Pruner, PrunerStep, RECORDS, SESSIONS, State};

impl Protocol {
    /// The packs from which pruner `i` may choose any.
    pub fn candidates(&self, pruner: &Pruner) -> Packs {
        let unlisted = match self.orphans {
            Orphans::Never => 0,
            Orphans::WithoutSessions if pruner.sessions_open => 0,
            Orphans::WithoutSessions | Orphans::Any => pruner.packs & !pruner.index,
        };
        (pruner.index | unlisted) & !pruner.condemned
    }

    /// The next step of pruner `i` but its choice; `None` when there is none.
    pub fn step_pruner(&self, state: &mut State, i: usize) -> Option<()> {
        use PrunerStep::*;
        let mut pruner = state.pruners[i];
        pruner.step = match pruner.step {
            ReadsRecords => {
                pruner.newest = state.records_count;
                pruner.condemned = state.condemned();
                if self.lists_sessions_first {
                    pruner.sessions = state.registered;
                }
                if self.orphans == Orphans::Never { ListsSnapshots } else { ListsPacks }
            }
            ListsPacks => {
                pruner.packs = state.existing;
                ListsSnapshots
            }
            ListsSnapshots => {
                pruner.live = state.live();
                let open = (1..SESSIONS).any(|s| state.registered >> s & 1 == 1 && state.outcomes[s] == Outcome::Open);
                pruner.sessions_open = open && self.orphans == Orphans::WithoutSessions;
                ListsIndex
            }
            ListsIndex => {
                pruner.index = state.indexed;
                if self.misses_something(state, &pruner) { Done } else { Chooses }
            }
            Copies => {
                let kept = state.named(pruner.index & !pruner.condemned & !pruner.chosen);
                let moved = state.named(pruner.chosen & pruner.index) & pruner.live & !kept;
                if moved == 0 {
                    Condemns
                } else {
                    pruner.copy = state.put_pack(moved)?;
                    IndexesCopies
                }
            }
            IndexesCopies => {
                state.indexed |= 1 << pruner.copy;
                Condemns
            }
            Condemns if self.serialised && state.records_count != pruner.newest => {
                pruner = Pruner { rounds: pruner.rounds, ..Pruner::default() };
                ReadsRecords
            }
            Condemns if usize::from(state.records_count) == RECORDS => return None,
            Condemns => {
                state.records[usize::from(state.records_count)] = pruner.chosen;
                state.records_count += 1;
                if self.removes == Removes::BeforeListing {
                    pruner.chosen = state.condemned();
                }
                ListsSessions
            }
            ListsSessions => {
                if !self.lists_sessions_first {
                    pruner.sessions = state.registered;
                }
                if self.fences { Fences } else { Rescans }
            }
            Fences => {
                if self.fence_one(state, &pruner) {
                    Fences
                } else {
                    Rescans
                }
            }
            Rescans if !self.rescans => Unindexes,
            Rescans => {
                pruner.live = state.live();
                LooksForNeeded
            }
            LooksForNeeded => self.look_for_needed(state, &mut pruner),
            Rescues => {
                pruner.copy = state.put_pack(pruner.needed)?;
                IndexesRescued
            }
            IndexesRescued => {
                state.indexed |= 1 << pruner.copy;
                Unindexes
            }
            // The new index object is put first: until the old one is removed, entries are in either.
            Unindexes if self.torn_listings => RemovesOldIndex,
            Unindexes | RemovesOldIndex => {
                state.indexed &= !pruner.chosen;
                Deletes
            }
            Deletes => {
                state.existing &= !pruner.chosen;
                if self.drops_records { DropsRecords } else { self.next_round(&mut pruner) }
            }
            DropsRecords => {
                for n in 0..usize::from(state.records_count) {
                    if state.records[n] & (state.indexed | state.existing) == 0 {
                        state.records_dropped |= 1 << n;
                    }
                }
                self.next_round(&mut pruner)
            }
            Chooses | Done => return None,
        };
        state.pruners[i] = pruner;
        Some(())
    }

    /// Closes a session that might count on condemned packs; `false` when there is none left.
    fn fence_one(&self, state: &mut State, pruner: &Pruner) -> bool {
        for session in (1..SESSIONS).filter(|session| pruner.sessions >> session & 1 == 1) {
            let decided = if self.conditional_put {
                let promised = self.acknowledge != Acknowledge::Never && state.acknowledged[session] > pruner.newest;
                state.outcomes[session] != Outcome::Open || promised
            } else {
                (state.fences | state.reported) >> session & 1 == 1
            };
            if !decided {
                if self.conditional_put {
                    state.outcomes[session] = Outcome::Fenced;
                } else {
                    state.fences |= 1 << session;
                }
                return true;
            }
        }
        false
    }

    /// Whether a snapshot needs what the index, as it was just listed, does not have.
    fn misses_something(&self, state: &State, pruner: &Pruner) -> bool {
        self.stops_when_missing && pruner.live & !state.named(state.indexed) != 0
    }

    /// What snapshots came to need of the condemned packs that the index lists.
    fn look_for_needed(&self, state: &mut State, pruner: &mut Pruner) -> PrunerStep {
        if self.misses_something(state, pruner) {
            return PrunerStep::Done;
        }
        if self.removes == Removes::Now {
            pruner.chosen = state.condemned();
        }
        let dead = if self.rescues_by_own_view { pruner.condemned | pruner.chosen } else { state.condemned() };
        let kept = state.named(state.indexed & !dead);
        pruner.needed = state.named(pruner.chosen & state.indexed) & pruner.live & !kept;
        if pruner.needed == 0 {
            return PrunerStep::Unindexes;
        }
        if !self.takes_back {
            return PrunerStep::Rescues;
        }
        let packs = (0..state.packs.len()).filter(|p| state.packs[*p] & pruner.needed != 0);
        let spared = packs.fold(0, |spared: Packs, p| spared | 1 << p) & pruner.chosen;
        state.records.iter_mut().for_each(|record| *record &= !spared);
        pruner.chosen &= !spared;
        PrunerStep::Unindexes
    }

    fn next_round(&self, pruner: &mut Pruner) -> PrunerStep {
        let rounds = pruner.rounds + 1;
        if rounds == self.rounds {
            return PrunerStep::Done;
        }
        *pruner = Pruner { rounds, ..Pruner::default() };
        PrunerStep::ReadsRecords
    }
}
