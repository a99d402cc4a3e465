//! The protocol as a model: who there is, which rules are kept, and what must always hold.
//!
//! Every action is one request to the object store or one decision; a process may stop for ever anywhere. A pruner may
//! condemn any packs. Sessions are fenced at any time: no clock decides what is safe.

use stateright::{Model, Property};

use super::state::{Blobs, Client, ClientStep, Outcome, Packs, Pruner, PrunerStep, SESSIONS, State};

/// The name of what must always hold.
pub const SAFE: &str = "every snapshot is present and indexed";

/// Whether a long backup may promise not to count on condemned packs, so that pruners need not wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    Never,
    /// After every reference to condemned packs was replaced.
    AfterPurging,
    /// Before, but the commit comes after.
    BeforePurging,
    /// And goes on as if nothing had been condemned.
    WithoutPurging,
}

/// Which packs that no index object lists may be condemned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    Never,
    /// Any, when no session was open after packs had been listed.
    WithoutSessions,
    /// Any.
    Any,
}

/// Which condemned packs a pruner removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removes {
    /// Those that it condemned itself.
    Own,
    /// Those of every record that was there when it listed sessions: whoever might count on them is among these.
    BeforeListing,
    /// Those of every record that is there when it looks for what to rescue.
    Now,
}

/// Who takes part, and the rules.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub clients: usize,
    pub pruners: usize,
    /// How often each pruner prunes.
    pub rounds: u8,
    /// What the clients back up.
    pub wanted: [Blobs; 2],
    /// The most packs that a pruner condemns at once.
    pub most_condemned: u32,
    pub acknowledge: Acknowledge,
    pub orphans: Orphans,
    /// A client takes its own packs for known even when they are condemned.
    pub trusts_own_packs: bool,
    /// A client reads the gc records before it commits and gives up when they condemn a pack of its own.
    pub checks_own_packs: bool,
    /// Snapshots are put only where nothing is; otherwise the fence is a separate object, read after the commit.
    pub conditional_put: bool,
    pub fences: bool,
    pub lists_sessions_first: bool,
    pub reads_before_registering: bool,
    /// The index is listed before the gc records, as may happen when both are listed at the same time.
    pub lists_index_first: bool,
    /// What was listed by an earlier run on the same machine makes up for that: its records count too, and where one of those
    /// that came since is gone, the index is listed again.
    pub remembers_records: bool,
    /// Snapshots are listed again after fencing.
    pub rescans: bool,
    /// A pruner starts again when another was faster.
    pub serialised: bool,
    /// A duplicate of the commit request may arrive at any later time.
    pub late_duplicate: bool,
    /// Snapshots are overwritten to be forgotten, not deleted.
    pub tombstones: bool,
    /// The second pruner finishes the first gc record instead of writing its own.
    pub adopts: bool,
    pub takes_back: bool,
    pub rescues_by_own_view: bool,
    /// gc records are removed as soon as their packs are gone and unlisted.
    pub drops_records: bool,
    pub removes: Removes,
    /// Listing the index while a pruner replaces index objects may show neither the old nor the new.
    pub torn_listings: bool,
    /// A pruner stops when the index lacks what a snapshot needs.
    pub stops_when_missing: bool,
}

impl Default for Protocol {
    fn default() -> Self {
        Self {
            clients: 1,
            pruners: 1,
            rounds: 1,
            wanted: [0b11, 0b01],
            most_condemned: 2,
            acknowledge: Acknowledge::Never,
            orphans: Orphans::Never,
            trusts_own_packs: false,
            checks_own_packs: false,
            conditional_put: true,
            fences: true,
            lists_sessions_first: false,
            reads_before_registering: false,
            lists_index_first: false,
            remembers_records: false,
            rescans: true,
            serialised: true,
            late_duplicate: false,
            tombstones: true,
            adopts: false,
            takes_back: false,
            rescues_by_own_view: false,
            drops_records: false,
            removes: Removes::Own,
            torn_listings: false,
            stops_when_missing: true,
        }
    }
}

/// A step of somebody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A client's next step.
    Client(usize),
    /// An earlier run on a client's machine lists gc records.
    Looks(usize),
    /// A client reads gc records again, to acknowledge them.
    Acknowledge(usize),
    /// The duplicate of a client's commit arrives.
    Duplicate(usize),
    /// A pruner's next step.
    Pruner(usize),
    /// The same steps, of which the listing of the index shows nothing.
    TornClient(usize),
    TornPruner(usize),
    /// A pruner decides what to condemn.
    Condemn(usize, Packs),
    /// Somebody forgets snapshot 0, and that of the first client where duplicates are tested.
    Forget,
}

impl Protocol {
    fn may_acknowledge(&self, state: &State, client: &Client) -> bool {
        self.acknowledge != Acknowledge::Never
            && client.step == ClientStep::Commits
            && client.acknowledges == 0
            && state.records_count > 0
    }

    fn acknowledge(&self, state: &mut State, i: usize) {
        let (newest, condemned) = (state.records_count, state.condemned());
        let client = &mut state.clients[i];
        client.acknowledges = newest;
        client.acknowledging = true;
        if self.acknowledge == Acknowledge::WithoutPurging {
            return;
        }
        client.condemned = condemned;
        // The index is read next, and what is then missing is uploaded again.
        client.step = ClientStep::OpensThird;
        if self.acknowledge == Acknowledge::BeforePurging {
            state.acknowledged[Self::session(i, client.attempt)] = newest;
        }
    }

    fn condemn(&self, state: &mut State, i: usize, chosen: Packs) {
        let pruner = &mut state.pruners[i];
        pruner.chosen = chosen;
        pruner.step = PrunerStep::Copies;
        if self.adopts && i == 1 {
            pruner.newest = 0;
            pruner.step = PrunerStep::ListsSessions;
        }
    }

    fn forget(&self, state: &mut State) {
        let left = if self.tombstones { Outcome::Forgotten } else { Outcome::Open };
        state.forgotten = true;
        state.outcomes[0] = left;
        let session = Self::session(0, state.clients[0].attempt);
        if self.late_duplicate && matches!(state.outcomes[session], Outcome::Committed(_)) {
            state.outcomes[session] = left;
        }
    }

    /// Steps that list the index while a pruner replaces index objects.
    fn torn_steps(&self, state: &State, actions: &mut Vec<Action>) {
        let replacing = state.pruners.iter().any(|pruner| pruner.step == PrunerStep::RemovesOldIndex);
        if !self.torn_listings || !replacing {
            return;
        }
        let lists = |client: &Client| client.step == ClientStep::OpensThird && !self.reads_before_registering;
        actions.extend((0..2).filter(|i| lists(&state.clients[*i])).map(Action::TornClient));
        let lists = |pruner: &Pruner| matches!(pruner.step, PrunerStep::ListsIndex | PrunerStep::LooksForNeeded);
        actions.extend((0..2).filter(|i| lists(&state.pruners[*i])).map(Action::TornPruner));
    }

    fn is_safe(&self, state: &State) -> bool {
        let readable = state.readable(state.indexed);
        (0..SESSIONS).all(|session| match state.outcomes[session] {
            // Without conditional put a snapshot counts once its client has reported it.
            Outcome::Committed(_) if !self.conditional_put && session > 0 && state.reported >> session & 1 == 0 => true,
            Outcome::Committed(needs) => needs & !readable == 0,
            _ => true,
        })
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    /// Pack 0 holds blobs 0 and 1, which snapshot 0 needs; pack 1 holds blob 0 again.
    fn init_states(&self) -> Vec<State> {
        let mut state = State { packs_count: 2, existing: 0b11, indexed: 0b11, ..State::default() };
        state.packs[..2].copy_from_slice(&[0b11, 0b01]);
        state.outcomes[0] = Outcome::Committed(0b11);
        for client in &mut state.clients[self.clients..] {
            client.step = ClientStep::Done;
        }
        for pruner in &mut state.pruners[self.pruners..] {
            pruner.step = PrunerStep::Done;
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (i, client) in state.clients.iter().enumerate() {
            if !matches!(client.step, ClientStep::Done | ClientStep::GaveUp) {
                actions.push(Action::Client(i));
            }
            let news = client.seen_count < state.records_count;
            if self.remembers_records && client.step == ClientStep::OpensFirst && client.attempt == 0 && news {
                actions.push(Action::Looks(i));
            }
            if client.duplicate {
                actions.push(Action::Duplicate(i));
            }
            if self.may_acknowledge(state, client) {
                actions.push(Action::Acknowledge(i));
            }
        }
        for (i, pruner) in state.pruners.iter().enumerate() {
            match pruner.step {
                PrunerStep::Done => {}
                PrunerStep::Chooses if self.adopts && i == 1 => {
                    if state.records_count > 0 {
                        actions.push(Action::Condemn(i, state.records[0]));
                    }
                }
                PrunerStep::Chooses => {
                    let sets = subsets(self.candidates(pruner)).filter(|set| set.count_ones() <= self.most_condemned);
                    actions.extend(sets.map(|set| Action::Condemn(i, set)));
                }
                _ => actions.push(Action::Pruner(i)),
            }
        }
        if !state.forgotten {
            actions.push(Action::Forget);
        }
        self.torn_steps(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Client(i) => self.step_client(&mut next, i)?,
            Action::Looks(i) => {
                (next.clients[i].seen_count, next.clients[i].seen) = (state.records_count, state.condemned());
            }
            Action::Acknowledge(i) => self.acknowledge(&mut next, i),
            Action::Duplicate(i) => {
                let session = Self::session(i, next.clients[i].attempt);
                if next.outcomes[session] == Outcome::Open {
                    next.outcomes[session] = Outcome::Committed(self.wanted[i]);
                }
                next.clients[i].duplicate = false;
            }
            Action::Pruner(i) => self.step_pruner(&mut next, i)?,
            Action::TornClient(i) | Action::TornPruner(i) => {
                let indexed = std::mem::take(&mut next.indexed);
                match action {
                    Action::TornClient(_) => self.step_client(&mut next, i)?,
                    _ => self.step_pruner(&mut next, i)?,
                }
                next.indexed = indexed;
            }
            Action::Condemn(i, chosen) => self.condemn(&mut next, i, chosen),
            Action::Forget => self.forget(&mut next),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |protocol: &Self, state: &State| protocol.is_safe(state)),
            Property::sometimes(super::RECLAIMED, |_, state: &State| {
                state.existing.count_ones() < u32::from(state.packs_count)
            }),
            Property::sometimes(super::COMMITTED, |protocol: &Self, state: &State| {
                state.clients[..protocol.clients].iter().all(|client| client.committed)
            }),
            Property::sometimes(super::RECOVERED, |_, state: &State| {
                state.clients.iter().any(|client| client.attempt == 1 && client.committed)
            }),
        ]
    }
}

/// Every set of some of these packs but the empty one.
fn subsets(packs: Packs) -> impl Iterator<Item = Packs> {
    std::iter::successors(Some(packs), move |set| Some((set.checked_sub(1)?) & packs)).take_while(|set| *set != 0)
}
